//! What happened, one lane for each kind, under the share of bad requests on the same axis of time.

use ratatui::layout::Rect;

use super::super::canvas::{Canvas, span};
use super::super::fmt;
use super::super::theme::Role;
use super::{bars, history};
use crate::model::{Event, EventKind, Timestamp};
use crate::snapshot::Series;

/// Columns for the names of lanes.
const LABEL: u16 = 12;
/// Least columns for what the newest event of a lane says.
const NOTE: u16 = 24;
/// Rows of bars above the lanes.
const BARS: u16 = 2;
/// What a full bar stands for at least.
const LEAST_FULL: f64 = 0.01;

/// The lanes of an hour.
pub(crate) struct Lanes<'a> {
    pub(crate) series: &'a Series,
    /// Newest first.
    pub(crate) events: &'a [Event],
    /// The place among `events` of the one under the cursor.
    pub(crate) event: Option<usize>,
    /// From when on bars are an alarm, and its look.
    pub(crate) alarm: Option<(Timestamp, Role)>,
}

impl Lanes<'_> {
    /// How many rows all lanes take; fewer leave them put together in one.
    pub(crate) fn rows(apart: bool) -> u16 {
        let lanes = if apart { EventKind::ALL.len() } else { 1 };
        BARS + u16::try_from(lanes).unwrap_or(1)
    }

    /// Draws the bars, and the lanes apart when there is space for all of them, else put together in one.
    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let columns = self.series.requests.len();
        let wide = area.width >= LABEL + NOTE + u16::try_from(columns).unwrap_or(u16::MAX);
        let space = area
            .width
            .saturating_sub(LABEL + if wide { NOTE } else { 1 });
        let fit = usize::from(space);
        let skipped = columns.saturating_sub(fit);
        let stretch = (fit / columns.max(1)).clamp(1, 2);
        let axis = Axis {
            x: area.x + LABEL,
            skipped,
            columns: columns - skipped,
            stretch: u16::try_from(stretch).unwrap_or(1),
        };
        let ratios: Vec<Option<f64>> = history::ratios(self.series).collect();
        let from = self.alarm.and_then(|(from, role)| {
            let column = self.column(from)?.saturating_sub(skipped);
            Some((column, role))
        });
        let bar_rows = BARS.min(area.height);
        canvas.put(
            area.x + 1,
            area.y + bar_rows.saturating_sub(1),
            LABEL - 1,
            "bad %",
            Role::Muted,
        );
        bars::Bars {
            values: ratios.get(skipped..).unwrap_or_default(),
            full: bars::full(&ratios, LEAST_FULL),
            role: Role::Text,
            stretch: axis.stretch,
            alarm: from,
        }
        .draw(canvas, Rect::new(axis.x, area.y, space, bar_rows));
        let y = area.y + bar_rows;
        let apart = area.height >= Self::rows(true);
        if !apart {
            if y < area.bottom() {
                canvas.put(area.x + 1, y, LABEL - 1, "events", Role::Muted);
                self.lane(canvas, y, &axis, |_| true);
            }
            return;
        }
        for (y, kind) in (y..area.bottom()).zip(EventKind::ALL) {
            let label = [
                span(format!("{:<8} ", kind.as_str()), Role::Muted),
                span(kind.letter().to_string(), Role::Accent),
            ];
            canvas.spans(area.x + 1, y, LABEL - 1, &label);
            let newest = self.lane(canvas, y, &axis, |event| event.kind == kind);
            if let (true, Some(event)) = (wide, newest) {
                let x = axis.x + axis.width() + 2;
                let room = area.right().saturating_sub(x + 1);
                canvas.put(x, y, room, &event.text, Role::Muted);
            }
        }
    }

    /// Draws one lane; gives the newest event in it.
    fn lane(
        &self,
        canvas: &mut Canvas<'_>,
        y: u16,
        axis: &Axis,
        wanted: impl Fn(&Event) -> bool,
    ) -> Option<&Event> {
        canvas.fill(axis.x, y, axis.width(), "·", Role::Muted);
        let mut newest = None;
        // From the oldest on, so that of several in one column the newest shows, and the one under the cursor last.
        let events = self.events.iter().enumerate().rev();
        let (here, others): (Vec<_>, Vec<_>) =
            events.partition(|(index, _)| self.event == Some(*index));
        for (index, event) in others.into_iter().chain(here) {
            let place = self
                .column(event.at)
                .and_then(|column| column.checked_sub(axis.skipped));
            let Some(place) = place.filter(|place| *place < axis.columns && wanted(event)) else {
                continue;
            };
            let x = u16::try_from(place)
                .unwrap_or(u16::MAX)
                .saturating_mul(axis.stretch);
            let role = if self.event == Some(index) {
                Role::Cursor
            } else {
                Role::Accent
            };
            canvas.put(axis.x.saturating_add(x), y, 1, letter(event.kind), role);
            if newest.is_none_or(|(known, _)| index < known) {
                newest = Some((index, event));
            }
        }
        newest.map(|(_, event)| event)
    }

    /// The column that holds `at`; `None` before the first.
    fn column(&self, at: Timestamp) -> Option<usize> {
        if at < self.series.start {
            return None;
        }
        let column = at.since(self.series.start).as_secs() / self.series.step_s.max(1);
        usize::try_from(column).ok()
    }
}

/// From when to when the lanes go, in words; empty without data.
pub(crate) fn span_of(series: &Series) -> String {
    let Some(last) = series.requests.len().checked_sub(1) else {
        return String::new();
    };
    let width = series.step_s.saturating_mul(last as u64);
    let end = series.start.plus(std::time::Duration::from_secs(width));
    format!(
        " · {} → {} UTC",
        fmt::minute(series.start),
        fmt::minute(end)
    )
}

const fn letter(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Deploy => "D",
        EventKind::Config => "C",
        EventKind::Health => "H",
        EventKind::Name => "N",
        EventKind::Probe => "P",
        EventKind::Certificate => "T",
        EventKind::Alert => "A",
        EventKind::Process => "V",
        EventKind::Operator => "O",
    }
}

/// Where columns are.
struct Axis {
    x: u16,
    /// Columns of the series that have no space.
    skipped: usize,
    columns: usize,
    stretch: u16,
}

impl Axis {
    fn width(&self) -> u16 {
        let columns = u16::try_from(self.columns).unwrap_or(u16::MAX);
        columns.saturating_mul(self.stretch)
    }
}
