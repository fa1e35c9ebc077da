//! A latency distribution that costs less than a kilobyte: for things that there may be thousands of per worker.
//!
//! Eight buckets for each doubling, from one microsecond to ten minutes. A percentile read from it is within 7 % of the
//! true value: enough to see which endpoint is the slow one. What is promised or charted is read from
//! [`Latency`](super::Latency), which is ten times as exact and thirty times as large.

/// Buckets: those below eight microseconds one by one, then eight for each doubling up to 2³⁰ µs.
const BUCKETS: usize = 8 * 28;

/// Durations counted in logarithmic buckets of fixed memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread([u32; BUCKETS]);

impl Default for Spread {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Spread {
    /// Counts one duration; anything beyond eighteen minutes counts as that long.
    pub fn record(&mut self, micros: u64) {
        let count = &mut self.0[bucket(micros)];
        *count = count.saturating_add(1);
    }

    /// Adds everything `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// The duration that `quantile` (0 to 1) of all are at most about as long as, in microseconds; `None` when empty.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let total = self.count();
        // Below a thousand million counts a double is exact to the unit.
        let rank = ((quantile * total as f64).ceil() as u64).clamp(1, total.max(1));
        let mut below = 0;
        self.0.iter().enumerate().find_map(|(index, count)| {
            below += u64::from(*count);
            (*count > 0 && below >= rank).then(|| middle(index))
        })
    }
}

fn bucket(micros: u64) -> usize {
    if micros < 8 {
        return micros as usize;
    }
    let doubling = micros.ilog2() as usize;
    let eighth = (micros >> (doubling - 3)) as usize & 7;
    ((doubling - 2) * 8 + eighth).min(BUCKETS - 1)
}

fn middle(index: usize) -> u64 {
    if index < 8 {
        return index as u64;
    }
    let (doubling, eighth) = (index / 8 + 2, index as u64 % 8);
    let width = 1_u64 << (doubling - 3);
    (8 + eighth) * width + width / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_counted_has_no_percentile_and_the_longest_is_kept() {
        let mut spread = Spread::default();
        assert_eq!(spread.quantile(0.5), None);
        spread.record(u64::MAX);
        assert!(spread.quantile(0.5).is_some_and(|us| us >= 600_000_000));
    }

    proptest! {
        #[test]
        fn percentiles_are_within_seven_percent(
            mut raw in prop::collection::vec(0_u64..600_000_000, 1..400),
            cut in 0_usize..400,
        ) {
            let (mut one, mut other) = (Spread::default(), Spread::default());
            for (place, micros) in raw.iter().enumerate() {
                if place < cut { one.record(*micros) } else { other.record(*micros) }
            }
            one.merge(&other);
            prop_assert_eq!(one.count(), raw.len() as u64);
            raw.sort_unstable();
            for quantile in [0.5, 0.99, 1.0] {
                let rank = ((quantile * raw.len() as f64).ceil() as usize).clamp(1, raw.len());
                let (exact, read) = (raw[rank - 1] as f64, one.quantile(quantile).unwrap() as f64);
                prop_assert!((read - exact).abs() <= exact * 0.07 + 1.0, "{read} for {exact}");
            }
        }
    }
}
