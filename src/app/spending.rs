//! What spent an SLO's budget, read from the history when somebody asks.

use std::path::PathBuf;
use std::sync::Arc;

use crate::admin;
use crate::model::{Objective, Tally, Timestamp};
use crate::slo::attribution::{self, Piece};
use crate::snapshot::{SloView, Snapshot, Spell, Spending};
use crate::store;

/// Spells told at most; the smaller ones count as the rest.
const SPELLS: usize = 20;
/// Columns of what was left.
const COLUMNS: u64 = 60;
/// Events among which a change is looked for.
const EVENTS: u32 = 2_000;

/// Reads it from the history in `dir`, with a connection for each question: they are few.
pub(super) fn reader(dir: PathBuf) -> admin::ReadSpending {
    Arc::new(move |snapshot, id| {
        let slo = snapshot.slos.iter().find(|slo| slo.id == id);
        let slo = slo.ok_or_else(|| format!("there is no SLO `{id}`"))?;
        let reader = store::Reader::open(&dir).map_err(|error| error.to_string())?;
        let to = snapshot.at.as_secs();
        let from = begun(slo, to);
        let mut pieces = Vec::new();
        let each = |start_secs, width_s, tally| {
            pieces.push(Piece {
                start_secs,
                width_s,
                tally,
            });
        };
        reader
            .slo_history((id, &slo.counted), from, to, each)
            .map_err(|error| error.to_string())?;
        let events = reader.events(EVENTS).map_err(|error| error.to_string())?;
        Ok(spending(snapshot, slo, &pieces, &events))
    })
}

/// When the budget's window that ends at `to` began.
fn begun(slo: &SloView, to: u64) -> u64 {
    let period = slo
        .period
        .as_ref()
        .map(|period| period.from.as_secs().min(to));
    period.unwrap_or(to.saturating_sub(slo.window.as_secs()))
}

fn spending(
    snapshot: &Snapshot,
    slo: &SloView,
    pieces: &[Piece],
    events: &[crate::model::Event],
) -> Spending {
    let total = pieces
        .iter()
        .fold(Tally::default(), |sum, piece| sum + piece.tally);
    let allowed_ppm = 1_000_000 - u64::from(slo.objective_ppm.min(1_000_000));
    // History that is missing from the window counts as good at the observed rate, as it does for what is left.
    let covered = slo.coverage_ratio.clamp(1e-6, 1.0);
    let allowed = total.valid() as f64 * allowed_ppm as f64 / 1e6 / covered;
    let share = |bad: u64| {
        if allowed > 0.0 {
            bad as f64 / allowed
        } else {
            0.0
        }
    };
    let of_it = snapshot.routes.iter();
    let of_it = of_it.filter(|route| snapshot.counts(slo, route));
    let (routes, upstreams): (Vec<&str>, Vec<Option<&str>>) = of_it
        .map(|route| (route.id.as_str(), route.upstream.as_deref()))
        .unzip();
    let upstreams: Vec<&str> = upstreams.into_iter().flatten().collect();
    let mut runs = match Objective::try_from_ppm(slo.objective_ppm) {
        Ok(objective) => {
            let slice = slo.slices.as_ref().map(|slices| slices.every);
            attribution::runs(pieces.iter().copied(), objective, slice)
        }
        // A snapshot of our own has none that is no objective.
        Err(_) => Vec::new(),
    };
    runs.sort_by_key(|run| std::cmp::Reverse(run.bad));
    runs.truncate(SPELLS);
    let in_runs: u64 = runs.iter().map(|run| run.bad).sum();
    let spells = runs.iter().map(|run| Spell {
        from: Timestamp::from_secs(run.from_secs),
        to: Timestamp::from_secs(run.to_secs),
        bad: run.bad,
        ratio: share(run.bad),
        event: attribution::change_before(run, events, &routes, &upstreams).cloned(),
    });
    let to = snapshot.at.as_secs();
    let step_s = (to - begun(slo, to)).div_ceil(COLUMNS).max(1);
    let start = to.saturating_sub(step_s * COLUMNS);
    Spending {
        slo: slo.id.clone(),
        at: snapshot.at,
        allowed,
        bad: total.bad,
        spells: spells.collect(),
        rest_ratio: (total.valid() > 0).then(|| share(total.bad.saturating_sub(in_runs))),
        left: left(pieces, start, step_s, share),
        start: Timestamp::from_secs(start),
        step_s,
        // Known to whoever counts them.
        parts: Vec::new(),
    }
}

/// What was left at the end of each column, as a share of the whole window's budget.
fn left(pieces: &[Piece], start: u64, step_s: u64, share: impl Fn(u64) -> f64) -> Vec<Option<f64>> {
    let mut pieces = pieces.iter().peekable();
    let mut sum = Tally::default();
    (1..=COLUMNS)
        .map(|column| {
            let end = start + column * step_s;
            while let Some(piece) = pieces.next_if(|piece| piece.start_secs < end) {
                sum += piece.tally;
            }
            (sum.valid() > 0).then(|| 1.0 - share(sum.bad))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_whole_until_something_spends_it_and_unknown_before_anything_was_counted() {
        let piece = |start_secs, good, bad| Piece {
            start_secs,
            width_s: 60,
            tally: Tally { good, bad },
        };
        let pieces = [piece(120, 100, 0), piece(300, 95, 5), piece(301, 100, 10)];
        let left = left(&pieces, 0, 60, |bad| bad as f64 / 20.0);
        assert_eq!(left.len(), 60);
        assert_eq!(
            left[..6],
            [None, None, Some(1.0), Some(1.0), Some(1.0), Some(0.25)]
        );
        assert_eq!(left[59], Some(0.25));
    }
}
