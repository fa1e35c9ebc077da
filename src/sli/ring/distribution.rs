//! A latency distribution that takes as little memory as it holds.

use crate::model::{Latency, Percentiles};

/// The non-empty buckets of a [`Latency`], in rising order, at eight bytes each instead of its fixed 24 KB.
///
/// A minute of one route fills a few dozen to a few hundred buckets. Its percentiles are exactly those of the
/// [`Latency`] it was made of. A bucket counts up to four billion, which no route reaches within an hour.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Distribution(Vec<(u32, u32)>);

impl Distribution {
    pub(super) fn of(latency: &Latency) -> Self {
        let narrow = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Self(
            latency
                .buckets()
                .map(|(value, count)| (narrow(value), narrow(count)))
                .collect(),
        )
    }

    /// Adds everything `other` counted.
    pub(super) fn add(&mut self, other: &Self) {
        let mut from = 0;
        for (value, count) in &other.0 {
            from += self.0[from..].partition_point(|(mine, _)| mine < value);
            match self.0.get_mut(from) {
                Some((mine, sum)) if mine == value => *sum = sum.saturating_add(*count),
                Some(_) | None => self.0.insert(from, (*value, *count)),
            }
        }
    }

    /// Takes away what was added before.
    pub(super) fn subtract(&mut self, other: &Self) {
        let mut from = 0;
        for (value, count) in &other.0 {
            from += self.0[from..].partition_point(|(mine, _)| mine < value);
            if let Some((mine, sum)) = self.0.get_mut(from)
                && mine == value
            {
                *sum = sum.saturating_sub(*count);
            }
        }
        self.0.retain(|(_, count)| *count > 0);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// The duration that `quantile` (0 to 1) of all are at most as long as, in microseconds; `None` when empty.
    pub(super) fn quantile(&self, quantile: f64) -> Option<u64> {
        self.quantiles([quantile]).map(|[value]| value)
    }

    /// The usual percentiles; `None` when empty.
    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        let [p50_us, p90_us, p95_us, p99_us] = self.quantiles([0.50, 0.90, 0.95, 0.99])?;
        Some(Percentiles {
            p50_us,
            p90_us,
            p95_us,
            p99_us,
            max_us: u64::from(self.0.last()?.0),
        })
    }

    /// Several quantiles, which must rise, in one walk.
    fn quantiles<const N: usize>(&self, quantiles: [f64; N]) -> Option<[u64; N]> {
        let all = self.count() as f64;
        let (mut buckets, mut seen) = (self.0.iter(), 0);
        let mut value = None;
        let found = quantiles.map(|quantile| {
            // As HDR counts, so that both agree to the microsecond.
            let rank = ((quantile * all).ceil() as u64).max(1);
            while seen < rank
                && let Some((next, count)) = buckets.next()
            {
                seen += u64::from(*count);
                value = Some(u64::from(*next));
            }
            value
        });
        value?;
        Some(found.map(Option::unwrap_or_default))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn latency(durations: &[u64]) -> Latency {
        let mut latency = Latency::new();
        for micros in durations {
            latency.record(*micros);
        }
        latency
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_the_full_histogram(
            a in prop::collection::vec(1_u64..700_000_000, 0..200),
            b in prop::collection::vec(1_u64..700_000_000, 0..200),
        ) {
            let mut both = latency(&a);
            both.merge(&latency(&b));
            let mut sparse = Distribution::of(&latency(&a));
            sparse.add(&Distribution::of(&latency(&b)));
            prop_assert_eq!(&sparse, &Distribution::of(&both));
            prop_assert_eq!(sparse.percentiles(), both.percentiles());
            sparse.subtract(&Distribution::of(&latency(&a)));
            prop_assert_eq!(sparse, Distribution::of(&latency(&b)));
        }
    }
}
