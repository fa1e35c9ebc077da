//! A latency distribution in base-2 exponential buckets, as OpenTelemetry and Prometheus' native histograms have it.
//!
//! Bucket *i* holds durations in seconds in (baseⁱ, baseⁱ⁺¹] with base = 2^(2^−scale) (OpenTelemetry metrics data
//! model, "Exponential Scale"). The scale is fixed at 3: neighbouring bounds are 9 % apart, and everything that
//! [`Latency`] can hold fits into a row of 240 counts, a twelfth of its memory. Made from [`Latency`], whose buckets
//! are narrower than 0.8 %, so that a duration near a bound may be counted next door, but none is lost.

use super::Latency;

/// The scale: eight buckets for each doubling.
pub const SCALE: i32 = 3;

/// Durations counted in exponential buckets since some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exponential {
    /// By bucket, from [`Exponential::OFFSET`] on; as long as needed.
    counts: Vec<u64>,
}

impl Exponential {
    /// The index of the first bucket: the one of a microsecond.
    pub const OFFSET: i32 = -160;
    /// Ten minutes and HDR's rounding beyond it are in bucket 73.
    const LAST: i32 = 79;

    /// Adds everything `latency` counted.
    pub fn add(&mut self, latency: &Latency) {
        for (micros, count) in latency.middles() {
            let place =
                (index(micros / 1e6).clamp(Self::OFFSET, Self::LAST) - Self::OFFSET) as usize;
            if self.counts.len() <= place {
                self.counts.resize(place + 1, 0);
            }
            self.counts[place] = self.counts[place].saturating_add(count);
        }
    }

    /// What was counted since `earlier`, which is this distribution at an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.counts.iter().copied().chain(std::iter::repeat(0));
        let counts = self.counts.iter().zip(before);
        Self {
            counts: counts
                .map(|(now, before)| now.saturating_sub(before))
                .collect(),
        }
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The first bucket that is not empty, and the counts from there to the last one that is not; `None` when nothing
    /// was counted.
    pub fn buckets(&self) -> Option<(i32, &[u64])> {
        let first = self.counts.iter().position(|count| *count > 0)?;
        let last = self.counts.iter().rposition(|count| *count > 0)?;
        Some((Self::OFFSET + first as i32, &self.counts[first..=last]))
    }
}

/// The bucket of a positive, finite number.
fn index(value: f64) -> i32 {
    let bits = value.to_bits();
    let exponent = ((bits >> MANTISSA) & 0x7ff) as i32 - 1_023;
    if bits & ((1 << MANTISSA) - 1) == 0 {
        // A power of two is the upper bound of its bucket, and a rounded logarithm may land on either side of it.
        return (exponent << SCALE) - 1;
    }
    (value.log2() * f64::from(1 << SCALE)).ceil() as i32 - 1
}

/// Bits of a double's fraction.
const MANTISSA: u32 = 52;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bound(index: i32) -> f64 {
        (f64::from(index) / f64::from(1 << SCALE)).exp2()
    }

    #[test]
    fn a_power_of_two_belongs_to_the_bucket_that_it_closes() {
        for exponent in -20..10 {
            assert_eq!(index(f64::from(exponent).exp2()), (exponent << SCALE) - 1);
        }
    }

    #[test]
    fn the_ends_of_what_can_be_measured_have_buckets_of_their_own() {
        let mut latency = Latency::new();
        latency.record(0);
        latency.record(u64::MAX);
        let mut buckets = Exponential::default();
        buckets.add(&latency);
        let (first, counts) = buckets.buckets().unwrap();
        assert_eq!(first, Exponential::OFFSET);
        assert!(first + (counts.len() as i32) <= Exponential::LAST);
        assert_eq!(buckets.count(), 2);
    }

    #[test]
    fn nothing_counted_has_no_buckets() {
        assert_eq!(Exponential::default().buckets(), None);
    }

    proptest! {
        #[test]
        fn every_value_lies_within_the_bounds_of_its_bucket(value in 1e-6_f64..1e3) {
            let index = index(value);
            // A part in 10^12 for the bounds, which are rounded themselves.
            prop_assert!(bound(index) * (1.0 - 1e-12) < value && value <= bound(index + 1) * (1.0 + 1e-12));
        }

        #[test]
        fn no_duration_is_lost_and_parts_add_up(
            first in prop::collection::vec(1_u64..600_000_000, 0..200),
            second in prop::collection::vec(1_u64..600_000_000, 0..200),
        ) {
            let latency = |durations: &[u64]| {
                let mut latency = Latency::new();
                for micros in durations {
                    latency.record(*micros);
                }
                latency
            };
            let mut early = Exponential::default();
            early.add(&latency(&first));
            let mut late = early.clone();
            late.add(&latency(&second));
            prop_assert_eq!(late.count(), (first.len() + second.len()) as u64);
            prop_assert_eq!(late.since(&early).count(), second.len() as u64);
        }
    }
}
