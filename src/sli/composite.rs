//! Several SLOs weighed into one.
//!
//! A composite has no requests of its own: it looks at how far its parts' counters have come. By minutes, each part that
//! counted anything in a minute weighs its share of good events by its weight, and the minute is worth the sum; a part
//! without an event leaves the weighing, so that a quiet one neither helps nor hurts. By events, each part's events
//! count as often as it weighs.
//!
//! Counters only ever grow, so nothing is weighed twice, and what arrives late is weighed when it arrives.

use crate::model::{MILLION, Tally, Weighing};

/// The length of what is weighed at once, in seconds.
pub const MINUTE_S: u64 = 60;

/// Weighs the parts of one SLO.
#[derive(Clone, Debug)]
pub struct Composite {
    weighing: Weighing,
    /// One for each part.
    weights: Vec<u32>,
    open: Option<Open>,
}

/// What is being weighed.
#[derive(Clone, Debug)]
struct Open {
    /// The first second of its minute.
    start: u64,
    /// How far each part had come when it began.
    from: Vec<Tally>,
    /// The second last told.
    now: u64,
}

impl Composite {
    /// One that has seen nothing.
    pub const fn new(weighing: Weighing, weights: Vec<u32>) -> Self {
        Self {
            weighing,
            weights,
            open: None,
        }
    }

    /// How it weighs.
    pub const fn weighing(&self) -> Weighing {
        self.weighing
    }

    /// Goes on with a minute that an earlier process began, when each part had come as far as `from`.
    pub fn resume(&mut self, now: u64, from: Vec<Tally>) {
        self.open = Some(Open {
            start: start(now),
            from,
            now,
        });
    }

    /// Second `now` begins and each part has come as far as `counted`. Gives what is to be counted and its second.
    pub fn advance(&mut self, now: u64, counted: &[Tally]) -> Option<(u64, Tally)> {
        let Some(open) = &mut self.open else {
            self.resume(now, counted.to_vec());
            return None;
        };
        let is_set_back = now < open.start;
        let is_due = match self.weighing {
            Weighing::Events => true,
            Weighing::Minutes => is_set_back || start(now) > open.start,
        };
        if !is_due {
            open.now = now;
            return None;
        }
        let last = match self.weighing {
            _ if is_set_back => now,
            Weighing::Events => open.now,
            Weighing::Minutes => open.start + MINUTE_S - 1,
        };
        let since: Vec<Tally> = counted
            .iter()
            .zip(&open.from)
            .map(|(counted, from)| Tally {
                good: counted.good.saturating_sub(from.good),
                bad: counted.bad.saturating_sub(from.bad),
            })
            .collect();
        self.resume(now, counted.to_vec());
        let weighed = self.weigh(&since);
        (weighed.valid() > 0).then_some((last, weighed))
    }

    /// What these events of the parts, in their order, come to.
    pub fn weigh(&self, parts: &[Tally]) -> Tally {
        let weighted = self.weights.iter().zip(parts);
        match self.weighing {
            Weighing::Events => weighted.fold(Tally::default(), |sum, (weight, part)| {
                let weight = u64::from(*weight);
                sum + Tally {
                    good: part.good.saturating_mul(weight),
                    bad: part.bad.saturating_mul(weight),
                }
            }),
            Weighing::Minutes => {
                let (mut sum, mut weights) = (0_u128, 0_u128);
                for (weight, part) in weighted.filter(|(_, part)| part.valid() > 0) {
                    let weight = u128::from(*weight);
                    sum += weight * share(*part);
                    weights += weight;
                }
                if weights == 0 {
                    return Tally::default();
                }
                let good = u64::try_from((sum + weights / 2) / weights).unwrap_or(MILLION);
                Tally {
                    good: good.min(MILLION),
                    bad: MILLION - good.min(MILLION),
                }
            }
        }
    }
}

/// Good ÷ valid in millionths, to the nearest; there is a valid event.
fn share(part: Tally) -> u128 {
    let valid = u128::from(part.valid());
    (u128::from(part.good) * u128::from(MILLION) + valid / 2) / valid
}

const fn start(second: u64) -> u64 {
    second - second % MINUTE_S
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn tally(good: u64, bad: u64) -> Tally {
        Tally { good, bad }
    }

    #[test]
    fn a_minute_is_worth_the_weighed_shares_of_the_parts_that_had_events() {
        let composite = Composite::new(Weighing::Minutes, vec![3, 1]);
        for (parts, worth) in [
            ([tally(90, 10), tally(1, 1)], tally(800_000, 200_000)),
            // Whatever the traffic: weights are of parts, not of requests.
            (
                [tally(9, 1), tally(500_000, 500_000)],
                tally(800_000, 200_000),
            ),
            ([tally(0, 0), tally(1, 3)], tally(250_000, 750_000)),
            ([tally(7, 0), tally(0, 0)], tally(MILLION, 0)),
            ([tally(2, 1), tally(2, 1)], tally(666_667, 333_333)),
            ([tally(0, 0), tally(0, 0)], tally(0, 0)),
        ] {
            assert_eq!(composite.weigh(&parts), worth, "{parts:?}");
        }
    }

    #[test]
    fn by_events_each_counts_as_often_as_its_part_weighs() {
        let mut composite = Composite::new(Weighing::Events, vec![3, 1]);
        assert_eq!(composite.advance(60, &[tally(5, 5), tally(0, 0)]), None);
        let counted = [tally(7, 6), tally(0, 4)];
        assert_eq!(composite.advance(61, &counted), Some((60, tally(6, 7))));
        assert_eq!(composite.advance(62, &counted), None);
    }

    #[test]
    fn a_minute_is_judged_when_it_is_over_and_goes_on_after_a_restart() {
        let mut composite = Composite::new(Weighing::Minutes, vec![1]);
        assert_eq!(composite.advance(130, &[tally(10, 0)]), None);
        assert_eq!(composite.advance(179, &[tally(10, 1)]), None);
        let mut again = Composite::new(Weighing::Minutes, vec![1]);
        again.resume(150, vec![tally(10, 0)]);
        for composite in [&mut composite, &mut again] {
            assert_eq!(
                composite.advance(180, &[tally(13, 1)]),
                Some((179, tally(750_000, 250_000)))
            );
            assert_eq!(composite.advance(240, &[tally(13, 1)]), None);
        }
    }

    #[test]
    fn a_clock_that_was_set_back_loses_no_event() {
        let mut composite = Composite::new(Weighing::Minutes, vec![1]);
        composite.advance(600, &[tally(0, 0)]);
        assert_eq!(
            composite.advance(70, &[tally(1, 1)]),
            Some((70, tally(500_000, 500_000)))
        );
    }

    proptest! {
        /// However events are spread over seconds and parts, by events the sum is exact.
        #[test]
        fn weighed_by_events_it_is_the_weighed_sum_of_its_parts(
            weights in prop::collection::vec(1_u32..1_000, 1..5),
            seconds in prop::collection::vec(prop::collection::vec((0_u64..50, 0_u64..50), 5), 1..40),
        ) {
            let mut composite = Composite::new(Weighing::Events, weights.clone());
            let mut counted = vec![Tally::default(); weights.len()];
            composite.advance(0, &counted);
            let mut sum = Tally::default();
            for (second, events) in (1_u64..).zip(&seconds) {
                for (counted, (good, bad)) in counted.iter_mut().zip(events) {
                    *counted += tally(*good, *bad);
                }
                sum += composite.advance(second, &counted).map_or_else(Tally::default, |(_, it)| it);
            }
            prop_assert_eq!(sum, composite.weigh(&counted));
        }

        /// Whatever the parts counted: a minute is one minute, and never better than its best part nor worse than its worst.
        #[test]
        fn a_minute_lies_between_its_parts(
            parts in prop::collection::vec((1_u32..1_000, 0_u64..1_000, 0_u64..1_000), 1..6),
        ) {
            let composite = Composite::new(Weighing::Minutes, parts.iter().map(|it| it.0).collect());
            let tallies: Vec<Tally> = parts.iter().map(|it| tally(it.1, it.2)).collect();
            let weighed = composite.weigh(&tallies);
            let shares = || tallies.iter().filter(|it| it.valid() > 0).map(|it| share(*it));
            if let (Some(least), Some(most)) = (shares().min(), shares().max()) {
                prop_assert_eq!(weighed.valid(), MILLION);
                let good = u128::from(weighed.good);
                prop_assert!(least <= good && good <= most);
            } else {
                prop_assert_eq!(weighed, Tally::default());
            }
        }
    }
}
