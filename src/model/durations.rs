//! Durations counted at fixed bounds, each decided from the raw duration.
//!
//! The bounds are those of the semantic conventions, and with them whatever is promised of a route: a ratio at a promised
//! bound is then as exact as the promise itself. A bound that is known stays, so that a counter never goes away or back
//! while the process lives.

use std::ops::AddAssign;

/// The bounds that every histogram of durations has, in microseconds (OpenTelemetry semantic conventions,
/// `http.server.request.duration`).
const STANDARD_US: [u64; 14] = [
    5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000,
    2_500_000, 5_000_000, 7_500_000, 10_000_000,
];

/// Bounds beyond the standard ones that are kept, whatever is promised in the life of a process.
pub const MAX_FURTHER_BOUNDS: usize = 32;

/// Counts of durations by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// Place *i*: those above standard bound *i* − 1 and up to standard bound *i*; the last place has no upper bound.
    standard: [u64; Self::PLACES],
    /// Bounds between the standard ones, in rising order.
    further: Vec<Further>,
}

/// A bound between two standard ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Further {
    bound_us: u64,
    /// The standard bucket that it divides.
    place: usize,
    /// How many of that bucket are up to the bound.
    ///
    /// A part of a standard bucket rather than a sum from zero: one who learns of a bound later than others can then
    /// not make it count less than the bound beneath it.
    count: u64,
}

impl Durations {
    /// Buckets that the standard bounds make.
    pub const PLACES: usize = STANDARD_US.len() + 1;

    /// Buckets that all bounds make, at most.
    pub const MOST_BUCKETS: usize = Self::PLACES + MAX_FURTHER_BOUNDS;

    /// The standard bucket of a duration, below [`Durations::PLACES`].
    pub fn place(micros: u64) -> usize {
        STANDARD_US.partition_point(|bound| *bound < micros)
    }

    /// Whether every histogram has this bound.
    pub fn is_standard(bound_us: u64) -> bool {
        STANDARD_US.contains(&bound_us)
    }

    /// Counts at this bound as well from now on. Bounds beyond [`MAX_FURTHER_BOUNDS`] are not counted at.
    pub fn know(&mut self, bound_us: u64) {
        if let Err(at) = self.find(bound_us)
            && self.further.len() < MAX_FURTHER_BOUNDS
            && !Self::is_standard(bound_us)
        {
            let further = Further {
                bound_us,
                place: Self::place(bound_us),
                count: 0,
            };
            self.further.insert(at, further);
        }
    }

    /// Whether it is counted at this bound.
    pub fn knows(&self, bound_us: u64) -> bool {
        Self::is_standard(bound_us) || self.find(bound_us).is_ok()
    }

    /// The bounds beside the standard ones, in rising order.
    pub fn further(&self) -> impl Iterator<Item = u64> + '_ {
        self.further.iter().map(|further| further.bound_us)
    }

    /// Counts one duration.
    pub fn record(&mut self, micros: u64) {
        let place = Self::place(micros);
        self.standard[place] = self.standard[place].saturating_add(1);
        for further in &mut self.further {
            if further.place == place && micros <= further.bound_us {
                further.count = further.count.saturating_add(1);
            }
        }
    }

    /// The place of a duration's bucket among those of [`Durations::cumulative`].
    pub fn bucket(&self, micros: u64) -> usize {
        let further = |further: &Further| further.bound_us < micros;
        Self::place(micros) + self.further.partition_point(further)
    }

    /// Forgets every count and further bound, keeping the memory.
    pub fn clear(&mut self) {
        self.standard.fill(0);
        self.further.clear();
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.standard
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Every bound in rising order with the number of durations up to it, which never falls; the last has no bound, and
    /// its number is [`Durations::count`].
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let mut further = self.further.iter().peekable();
        // Below the standard bucket under way, and in it so far.
        let (mut below, mut part) = (0_u64, 0);
        let mut place = 0;
        std::iter::from_fn(move || {
            let standard = *self.standard.get(place)?;
            if let Some(further) = further.next_if(|further| further.place == place) {
                // Whoever knew only one of two bounds for a while counted at one of them only.
                part = further.count.max(part).min(standard);
                return Some((Some(further.bound_us), below.saturating_add(part)));
            }
            place += 1;
            part = 0;
            below = below.saturating_add(standard);
            Some((STANDARD_US.get(place - 1).copied(), below))
        })
    }

    fn find(&self, bound_us: u64) -> Result<usize, usize> {
        self.further
            .binary_search_by_key(&bound_us, |further| further.bound_us)
    }
}

impl AddAssign<&Self> for Durations {
    fn add_assign(&mut self, other: &Self) {
        let Self { standard, further } = other;
        for (mine, theirs) in self.standard.iter_mut().zip(standard) {
            *mine = mine.saturating_add(*theirs);
        }
        for theirs in further {
            self.know(theirs.bound_us);
            if let Ok(at) = self.find(theirs.bound_us) {
                let mine = &mut self.further[at].count;
                *mine = mine.saturating_add(theirs.count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(bounds: &[u64], durations: &[u64]) -> Durations {
        let mut counted = Durations::default();
        for bound in bounds {
            counted.know(*bound);
        }
        for micros in durations {
            counted.record(*micros);
        }
        counted
    }

    fn up_to(counted: &Durations, bound: u64) -> Option<u64> {
        let mut found = counted.cumulative();
        found.find_map(|(known, count)| (known == Some(bound)).then_some(count))
    }

    #[test]
    fn a_promised_bound_is_counted_to_the_microsecond() {
        let durations = [1, 250_000, 250_001, 299_999, 300_000, 300_001, 500_000, 9];
        let counted = counted(&[300_000, 250_000, 20_000_000], &durations);
        assert_eq!(up_to(&counted, 250_000), Some(3));
        assert_eq!(up_to(&counted, 300_000), Some(6));
        assert_eq!(up_to(&counted, 500_000), Some(8));
        assert_eq!(up_to(&counted, 20_000_000), Some(8));
        assert_eq!(counted.cumulative().last(), Some((None, 8)));
        assert_eq!(counted.cumulative().count(), Durations::PLACES + 2);
        for micros in durations {
            let (bound, _) = counted.cumulative().nth(counted.bucket(micros)).unwrap();
            let beneath = counted.cumulative().take(counted.bucket(micros)).last();
            assert!(bound.is_none_or(|bound| micros <= bound), "{micros}");
            assert!(
                beneath.is_none_or(|(beneath, _)| beneath < Some(micros)),
                "{micros}"
            );
        }
    }

    #[test]
    fn a_bound_that_is_learnt_later_is_above_the_one_beneath_it_and_stays() {
        let mut all = counted(&[], &[7, 300_000, 260_000]);
        all.know(300_000);
        assert_eq!(up_to(&all, 300_000), Some(1));
        // One who has not heard of it yet.
        all += &counted(&[], &[260_000, 8]);
        all += &counted(&[300_000], &[260_000]);
        assert_eq!(up_to(&all, 250_000), Some(2));
        assert_eq!(up_to(&all, 300_000), Some(3));
        assert_eq!(up_to(&all, 500_000), Some(6));
    }

    #[test]
    fn bounds_do_not_grow_for_ever() {
        let bounds: Vec<u64> = (1..1_000).collect();
        let mut counted = counted(&bounds, &[3]);
        assert_eq!(
            counted.cumulative().count(),
            Durations::PLACES + MAX_FURTHER_BOUNDS
        );
        assert!(counted.knows(32) && counted.knows(5_000) && !counted.knows(33));
        counted.know(33);
        assert!(!counted.knows(33));
    }

    #[test]
    fn what_was_cleared_is_as_new() {
        let mut counted = counted(&[300_000], &[1, 2, 3]);
        counted.clear();
        assert_eq!(counted, Durations::default());
    }

    fn durations() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(0_u64..20_000_000, 0..60)
    }

    fn bounds() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(0_u64..20_000_000, 0..6)
    }

    proptest! {
        #[test]
        fn counts_never_fall_from_bound_to_bound_and_are_exact(
            bounds in bounds(),
            durations in durations(),
        ) {
            let counted = counted(&bounds, &durations);
            let mut before = (None, 0);
            for (bound, count) in counted.cumulative() {
                prop_assert!(before.1 <= count);
                if let Some(bound) = bound {
                    prop_assert!(before.0 < Some(bound));
                    let exact = durations.iter().filter(|micros| **micros <= bound).count();
                    prop_assert_eq!(count, exact as u64);
                }
                before = (bound, count);
            }
            prop_assert_eq!(before, (None, durations.len() as u64));
            prop_assert_eq!(counted.count(), durations.len() as u64);
        }

        /// Workers hear of a new configuration one after another.
        #[test]
        fn counts_never_fall_whoever_knew_which_bound(
            parts in prop::collection::vec((bounds(), durations()), 0..5),
        ) {
            let mut all = Durations::default();
            let mut before: Vec<(Option<u64>, u64)> = Vec::new();
            for (bounds, durations) in &parts {
                all += &counted(bounds, durations);
                let now: Vec<_> = all.cumulative().collect();
                prop_assert!(now.windows(2).all(|pair| pair[0].1 <= pair[1].1));
                for (bound, count) in &before {
                    let later = now.iter().find(|(known, _)| known == bound);
                    prop_assert!(later.is_some_and(|(_, later)| later >= count));
                }
                before = now;
            }
        }
    }
}
