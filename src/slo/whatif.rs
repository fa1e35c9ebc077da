//! What another threshold would have come to, from stored distributions, with bounds that hold.
//!
//! Two things are not kept: where in its bucket a duration lay, and which durations were those of requests that failed, which
//! are no events of a latency objective. Both widen the bounds and neither is guessed. An hour whose distribution does not
//! hold exactly the requests that were counted in it is left out, and said to be.

use std::ops::AddAssign;

use crate::model::{Counts, Latency, Objective, Tally};

/// How many events were bad, at least and at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Valid events.
    pub valid: u64,
    /// Bad ones at least.
    pub least: u64,
    /// Bad ones at most.
    pub most: u64,
}

impl Bounds {
    /// Of what was counted exactly.
    pub const fn exact(tally: Tally) -> Self {
        Self {
            valid: tally.valid(),
            least: tally.bad,
            most: tally.bad,
        }
    }

    /// Requests that succeeded and took longer than `under_us`, where `counts` are those of the same time. `None` when the
    /// distribution is not of exactly these requests.
    pub fn slower_than(under_us: u64, latency: &Latency, counts: Counts) -> Option<Self> {
        if latency.count() != counts.valid() {
            return None;
        }
        let (least, most) = latency.longer_than(under_us);
        Some(Self {
            valid: counts.good,
            // Each that failed may have been one of the slow ones, or none.
            least: least.saturating_sub(counts.bad),
            most: most.min(counts.good),
        })
    }

    /// Whether the count is exact.
    pub const fn is_exact(self) -> bool {
        self.least == self.most
    }

    /// The share of the budget of these events that was spent, at least and at most; `None` without a valid event.
    pub fn budget_used(self, objective: Objective) -> Option<(f64, f64)> {
        let allowed = self.valid as f64 * f64::from(objective.budget_ppm()) / 1e6;
        (self.valid > 0).then(|| (self.least as f64 / allowed, self.most as f64 / allowed))
    }

    /// Good ÷ valid, at least and at most; `None` without a valid event.
    pub fn sli(self) -> Option<(f64, f64)> {
        let good = |bad: u64| self.valid.saturating_sub(bad) as f64 / self.valid as f64;
        (self.valid > 0).then(|| (good(self.most), good(self.least)))
    }
}

impl AddAssign for Bounds {
    fn add_assign(&mut self, other: Self) {
        self.valid = self.valid.saturating_add(other.valid);
        self.least = self.least.saturating_add(other.least);
        self.most = self.most.saturating_add(other.most);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_does_not_hold_all_requests_tells_nothing() {
        let mut latency = Latency::new();
        latency.record(10);
        let counts = |good, bad| Counts {
            good,
            bad,
            excluded: 3,
        };
        assert!(Bounds::slower_than(5, &latency, counts(1, 0)).is_some());
        assert_eq!(Bounds::slower_than(5, &latency, counts(2, 0)), None);
        assert_eq!(Bounds::slower_than(5, &latency, counts(0, 0)), None);
        assert_eq!(Bounds::default().budget_used("99%".parse().unwrap()), None);
        assert_eq!(Bounds::default().sli(), None);
    }

    proptest! {
        /// Whatever is in the buckets, and whichever of it failed.
        #[test]
        fn the_truth_lies_between_the_bounds(
            requests in prop::collection::vec((1_u64..1_000_000, any::<bool>()), 1..300),
            under in 1_u64..1_000_000,
        ) {
            let mut latency = Latency::new();
            let (mut counts, mut truth) = (Counts::default(), 0);
            for (micros, failed) in &requests {
                latency.record(*micros);
                if *failed {
                    counts.bad += 1;
                } else {
                    counts.good += 1;
                    truth += u64::from(*micros > under);
                }
            }
            let bounds = Bounds::slower_than(under, &latency, counts).unwrap();
            prop_assert_eq!(bounds.valid, counts.good);
            prop_assert!(bounds.least <= truth && truth <= bounds.most, "{:?} of {}", bounds, truth);
            let (_, end) = latency.bucket_of(under);
            if counts.bad == 0 {
                prop_assert!(Bounds::slower_than(end, &latency, counts).unwrap().is_exact());
            }
        }
    }
}
