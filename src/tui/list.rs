//! The list of routes: which are in it, in which order, and where the cursor is.
//!
//! Rows that jump about can neither be read nor aimed at: the order changes at most every few seconds and never under
//! the hand, and the cursor follows its route.

use std::time::Duration;

use rustc_hash::FxHashMap;

use super::filter::Filter;
use crate::clock::Tick;
use crate::snapshot::{RouteView, Snapshot};

/// The list of routes: which, in which order, and where the cursor is.
#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    /// Indices into the shown snapshot's routes.
    pub(crate) rows: Vec<usize>,
    /// The selected route; `None` is whichever comes first.
    pub(crate) selected: Option<String>,
    /// Whether the selected route is only kept because it is selected: the filter no longer wants it.
    pub(crate) lingers: bool,
    /// The first row on the screen.
    pub(crate) offset: usize,
    pub(crate) sort: Sort,
    pub(crate) reversed: bool,
    pub(crate) filter: Filter,
    /// The filter as typed.
    pub(crate) typed: String,
    /// Whether it is being typed.
    pub(crate) typing: bool,
    /// Where each route stood when the list was last put in order.
    places: FxHashMap<String, usize>,
    /// The cursor's row, for when its route disappears.
    pub(crate) cursor_hint: usize,
    sorted_at: Option<Tick>,
    /// When a key was last pressed.
    pub(crate) touched_at: Option<Tick>,
}

/// The orders of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    /// The daemon's: what costs the budget most.
    #[default]
    Impact,
    Errors,
    Rate,
    P99,
    Burn,
    Name,
}

/// When the list's order may change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reorder {
    Now,
    WhenDue,
}

/// Rows that jump about cannot be read, nor aimed at.
const REORDER_EVERY: Duration = Duration::from_secs(5);
const REST_AFTER_KEY: Duration = Duration::from_secs(3);

impl List {
    /// Rebuilds the rows from the shown snapshot.
    pub(crate) fn refresh(&mut self, shown: &Snapshot, now: Tick, reorder: Reorder) {
        let since = |at: Option<Tick>| at.map(|at| Duration::from_micros(now.micros_since(at)));
        let due = since(self.sorted_at).is_none_or(|since| since >= REORDER_EVERY)
            && since(self.touched_at).is_none_or(|since| since >= REST_AFTER_KEY);
        let selected = self.selected.as_deref();
        let mut wanted: Vec<(usize, bool)> = shown
            .routes
            .iter()
            .enumerate()
            .map(|(index, route)| (index, self.filter.keeps(route)))
            .filter(|(index, kept)| {
                *kept || selected.is_some_and(|id| shown.routes[*index].id == id)
            })
            .collect();
        self.lingers = wanted.iter().any(|(_, kept)| !kept);
        if due || reorder == Reorder::Now {
            self.sort.sort(&mut wanted, &shown.routes);
            if self.reversed {
                wanted.reverse();
            }
            self.sorted_at = Some(now);
            self.places = places(&wanted, &shown.routes);
        } else {
            // Known routes keep their places; new ones queue up behind, in the daemon's order.
            wanted.sort_by_cached_key(|(index, _)| {
                let id = shown.routes[*index].id.as_str();
                self.places.get(id).copied().unwrap_or(usize::MAX)
            });
        }
        // A selected route that is gone leaves the cursor where it was.
        let gone = selected.is_some_and(|id| shown.routes.iter().all(|route| route.id != id));
        let row = self.cursor_hint;
        self.rows = wanted.into_iter().map(|(index, _)| index).collect();
        if gone {
            self.selected = self
                .rows
                .get(row.min(self.rows.len().saturating_sub(1)))
                .map(|index| shown.routes[*index].id.clone());
        }
    }
}

fn places(rows: &[(usize, bool)], routes: &[RouteView]) -> FxHashMap<String, usize> {
    rows.iter()
        .enumerate()
        .map(|(place, (index, _))| (routes[*index].id.clone(), place))
        .collect()
}

impl Sort {
    /// Every order.
    pub(crate) const ALL: [Self; 6] = [
        Self::Impact,
        Self::Errors,
        Self::Rate,
        Self::P99,
        Self::Burn,
        Self::Name,
    ];

    /// Its word in commands.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Impact => "impact",
            Self::Errors => "errors",
            Self::Rate => "rate",
            Self::P99 => "p99",
            Self::Burn => "burn",
            Self::Name => "name",
        }
    }

    pub(crate) const fn next(self) -> Self {
        match self {
            Self::Impact => Self::Errors,
            Self::Errors => Self::Rate,
            Self::Rate => Self::P99,
            Self::P99 => Self::Burn,
            Self::Burn => Self::Name,
            Self::Name => Self::Impact,
        }
    }

    /// What the list is sorted by, in words.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Impact => "budget impact",
            Self::Errors => "bad share",
            Self::Rate => "requests",
            Self::P99 => "p99",
            Self::Burn => "burn",
            Self::Name => "name",
        }
    }

    /// Largest first, without data last; equal ones in the daemon's order.
    fn sort(self, rows: &mut [(usize, bool)], routes: &[RouteView]) {
        let by = |number: fn(&RouteView) -> Option<f64>, rows: &mut [(usize, bool)]| {
            let of = |row: &(usize, bool)| number(&routes[row.0]).unwrap_or(f64::NEG_INFINITY);
            rows.sort_by(|one, other| of(other).total_cmp(&of(one)));
        };
        match self {
            Self::Impact => {}
            Self::Errors => by(|route| route.now.bad_ratio, rows),
            Self::Rate => by(|route| route.now.rate_per_s, rows),
            Self::P99 => by(|route| route.now.p99_us.map(|micros| micros as f64), rows),
            Self::Burn => by(|route| route.burn_5m, rows),
            Self::Name => rows.sort_by(|one, other| routes[one.0].id.cmp(&routes[other.0].id)),
        }
    }
}
