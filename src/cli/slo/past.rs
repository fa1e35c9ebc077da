//! What was counted, by SLO, as the commands that look back on it read it: once, whatever they ask.

use std::collections::{BTreeMap, HashSet};

use crate::model::{Slo, Tally, Timestamp};
use crate::slo::backtest::Record;
use crate::store::{History, Origin, QueryError};

/// What was counted.
pub(super) struct Past {
    /// The first minute that is judged, in minutes since the epoch.
    first: u64,
    /// The minute after the last.
    end: u64,
    /// Of each SLO that was asked for and is known.
    slos: BTreeMap<String, Counted>,
    unmeasured: Unmeasured,
    /// SLOs of which something else was counted, which is left out.
    otherwise: HashSet<String>,
}

#[derive(Default)]
struct Counted {
    /// The minute before which it was not counted.
    since: u64,
    /// Minutes with an event, rising.
    minutes: Vec<(u64, Tally)>,
    /// Before the first minute, by the hour's first second.
    hours: Vec<(u64, Tally)>,
}

const HOUR_S: u64 = 3_600;

impl Past {
    /// `None` when nothing was counted.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub(super) fn read(
        history: &History,
        days: Option<u64>,
        now: Timestamp,
        slos: &[&Slo],
    ) -> Result<Option<Self>, QueryError> {
        let own = |id: &String| slos.iter().find(|slo| slo.id == *id);
        let is_other =
            |id: &String, origin: &Origin| own(id).is_some_and(|slo| !origin.is_of(&slo.counted()));
        let stored = || history.slos.iter().map(|(id, _)| id).zip(&history.origins);
        let wanted: Vec<bool> = stored()
            .map(|(id, origin)| own(id).is_some() && !is_other(id, origin))
            .collect();
        let back = days.map_or(now.as_secs(), |days| days * 86_400);
        let since = now.as_secs().saturating_sub(back);
        let mut counted: Vec<Counted> = stored()
            .map(|(_, origin)| Counted {
                since: origin.since_secs / 60,
                ..Counted::default()
            })
            .collect();
        let (mut first, mut end) = (u64::MAX, 0);
        history.slo_minutes(since, |row| {
            let minute = row.start_secs / 60;
            (first, end) = (first.min(minute), end.max(minute + 1));
            if wanted[row.slo] {
                counted[row.slo].minutes.push((minute, row.tally));
            }
        })?;
        if end == 0 {
            return Ok(None);
        }
        history.slo_hours(0, |row| {
            if wanted[row.slo] {
                counted[row.slo].hours.push((row.start_secs, row.tally));
            }
        })?;
        let begun = first / 60 * HOUR_S;
        let mut hours = counted.iter().flat_map(|it| &it.hours);
        if hours.any(|(start, _)| *start < begun) {
            // Minutes that are gone are in the hour of the first one: it is taken whole, and judged is what follows.
            first = first.div_ceil(60).saturating_mul(60).min(end);
        }
        let first_s = first * 60;
        for of_slo in &mut counted {
            of_slo.hours.retain(|(start, _)| start + HOUR_S <= first_s);
        }
        let known = stored().zip(counted).zip(&wanted);
        let known = known.filter(|((_, counted), wanted)| **wanted && !counted.minutes.is_empty());
        Ok(Some(Self {
            first,
            end,
            slos: known
                .map(|(((id, _), counted), _)| (id.clone(), counted))
                .collect(),
            unmeasured: Unmeasured::of(history),
            otherwise: stored()
                .filter(|(id, origin)| is_other(id, origin))
                .map(|(id, _)| id.clone())
                .collect(),
        }))
    }

    /// The beginning of the first minute that is judged.
    pub(super) fn from(&self) -> Timestamp {
        Timestamp::from_secs(self.first * 60)
    }

    /// The end of the last.
    pub(super) fn to(&self) -> Timestamp {
        Timestamp::from_secs(self.end * 60)
    }

    /// Spans of it in which nothing was measured, rising, to the minute.
    pub(super) fn gaps(&self) -> Vec<(Timestamp, Timestamp)> {
        let cut = |minute: u64| Timestamp::from_secs(minute.clamp(self.first, self.end) * 60);
        let gaps = self.unmeasured.0.iter();
        let gaps = gaps.map(|(from, to)| (cut(*from), cut(*to)));
        gaps.filter(|(from, to)| from < to).collect()
    }

    /// Whether something else was counted for this SLO.
    pub(super) fn is_otherwise(&self, slo: &str) -> bool {
        self.otherwise.contains(slo)
    }

    /// The record of an SLO, which is handed out once; `None` when nothing was counted for it.
    pub(super) fn take(&mut self, id: &str) -> Option<Record> {
        let Counted {
            since,
            minutes,
            hours: known,
        } = self.slos.remove(id)?;
        let is_measured = |minute: u64| minute >= since && self.unmeasured.is_measured(minute);
        // Hours without an event have no row, and are measured all the same.
        let mut hours = Vec::new();
        if let Some((oldest, _)) = known.first() {
            let counted: BTreeMap<u64, Tally> = known.iter().copied().collect();
            for start in (*oldest..self.first * 60).step_by(HOUR_S as usize) {
                let measured = (start / 60..start / 60 + 60).filter(|minute| is_measured(*minute));
                let tally = counted.get(&start).copied().unwrap_or_default();
                hours.push((start, tally, measured.count() as u64 * 60));
            }
        }
        let mut minutes = minutes.into_iter().peekable();
        let minute = |place: u64| {
            let minute = self.first + place;
            while minutes.next_if(|(start, _)| *start < minute).is_some() {}
            let found = minutes.next_if(|(start, _)| *start == minute);
            let tally = found.map_or_else(Tally::default, |(_, tally)| tally);
            (tally, tally.valid() > 0 || is_measured(minute))
        };
        let record = Record::new(self.first, self.end - self.first, minute, hours);
        Some(record)
    }
}

/// Minutes in which nothing was measured: the first of each span and the one after its last, rising.
pub(super) struct Unmeasured(Vec<(u64, u64)>);

impl Unmeasured {
    pub(super) fn of(history: &History) -> Self {
        let gaps = history.gaps.iter().rev().map(|gap| {
            // A minute of which less than half was missed counts as measured.
            let (from, to) = (gap.from.as_secs() + 30, gap.to.as_secs() + 30);
            (from / 60, to / 60)
        });
        Self(gaps.filter(|(from, to)| from < to).collect())
    }

    pub(super) fn is_measured(&self, minute: u64) -> bool {
        let ended = self.0.partition_point(|(_, to)| *to <= minute);
        self.0.get(ended).is_none_or(|(from, _)| *from > minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_measured_unless_a_gap_holds_it() {
        let gaps = Unmeasured(vec![(3, 5), (9, 10)]);
        let measured: Vec<u64> = (0..12).filter(|it| gaps.is_measured(*it)).collect();
        assert_eq!(measured, [0, 1, 2, 5, 6, 7, 8, 10, 11]);
        assert!(Unmeasured(Vec::new()).is_measured(0));
    }
}
