//! What is usual at an hour of the day: a route's requests by the hour over the last week.

use std::collections::VecDeque;

use crate::model::{Counts, Tally};

/// An hour, in seconds.
const HOUR_S: u64 = 3_600;
/// Days that are looked back.
const DAYS: u64 = 7;
/// Hours that are kept: a week, and the one begun.
const HOURS: u64 = DAYS * 24 + 1;

/// A route's valid requests by the hour. Hours without one are not kept, so that an idle route holds nothing, and a
/// busy one 4 KB.
#[derive(Clone, Debug, Default)]
pub struct HourRing(VecDeque<(u64, Tally)>);

impl HourRing {
    /// Counts what happened in second `second`, which may be late.
    pub fn add(&mut self, second: u64, counts: Counts) {
        if counts.valid() == 0 {
            return;
        }
        let hour = second / HOUR_S;
        let place = self.0.partition_point(|(start, _)| *start < hour);
        let tally = Tally {
            good: counts.good,
            bad: counts.bad,
        };
        match self.0.get_mut(place) {
            Some((start, sum)) if *start == hour => *sum += tally,
            Some(_) | None => self.0.insert(place, (hour, tally)),
        }
        // What lies in the future after the clock was set back goes as soon as it is too many.
        while self.0.len() as u64 > HOURS {
            self.0.pop_front();
        }
    }

    /// Valid requests of the hour of the day that `now_secs` lies in, on each of the last seven days together; none when
    /// nothing was counted there.
    pub fn usual(&self, now_secs: u64) -> Tally {
        let hour = now_secs / HOUR_S;
        let days = (1..=DAYS).filter_map(|day| {
            let wanted = hour.checked_sub(day * 24)?;
            let place = self.0.binary_search_by_key(&wanted, |(start, _)| *start);
            place.ok().map(|place| self.0[place].1)
        });
        days.fold(Tally::default(), |sum, tally| sum + tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(good: u64, bad: u64) -> Counts {
        Counts {
            good,
            bad,
            excluded: 3,
        }
    }

    #[test]
    fn the_usual_is_the_same_hour_of_the_last_seven_days() {
        let mut ring = HourRing::default();
        let noon = 100 * 86_400 + 12 * HOUR_S;
        for day in 0..10 {
            let start = noon - day * 86_400;
            ring.add(start, counts(100, day));
            ring.add(start + 1_800, counts(100, 0));
            ring.add(start + HOUR_S, counts(7, 7));
        }
        assert_eq!(
            ring.usual(noon + 60),
            Tally {
                good: 1_400,
                bad: 1 + 2 + 3 + 4 + 5 + 6 + 7
            }
        );
        assert_eq!(ring.usual(noon - HOUR_S), Tally::default());
        assert_eq!(ring.usual(60), Tally::default());
    }

    #[test]
    fn it_keeps_a_week_and_nothing_of_an_idle_route() {
        let mut ring = HourRing::default();
        for hour in 0..1_000 {
            ring.add(hour * HOUR_S, counts(1, 0));
            ring.add(hour * HOUR_S, Counts::default());
        }
        assert_eq!(ring.0.len() as u64, HOURS);
        let mut idle = HourRing::default();
        idle.add(5, counts(0, 0));
        assert!(idle.0.is_empty());
    }
}
