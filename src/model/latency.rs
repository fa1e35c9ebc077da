//! A latency distribution: an HDR histogram of microseconds.
//!
//! One microsecond to ten minutes at two significant digits: a percentile read from it is within 1 % of the true
//! value, and one histogram is small enough to have one per route, worker and second. It is for percentiles only: an
//! SLO's good and bad are counted from the raw duration when it is recorded.

use std::io::Read;

use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// The longest duration kept apart, in microseconds; longer ones count as this long.
const HIGHEST_US: u64 = 600_000_000;
/// Significant decimal digits.
const DIGITS: u8 = 2;

/// A histogram of microseconds, `1..=600_000_000`, within 1 %.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency(Histogram<u64>);

/// Why a stored distribution could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum LatencyError {
    /// Not something [`Latency::to_bytes`] makes.
    #[error("not a latency distribution")]
    Foreign,
    /// Not a V2 HDR encoding.
    #[error("not an HDR histogram: {0:?}")]
    Decode(hdrhistogram::serialization::DeserializeError),
    /// It holds values that this type cannot.
    #[error("the stored histogram holds values beyond ten minutes: {0:?}")]
    Range(hdrhistogram::AdditionError),
}

/// The usual percentiles of a distribution, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half are at most this long.
    pub p50_us: u64,
    /// 90 % are at most this long.
    pub p90_us: u64,
    /// 95 % are at most this long.
    pub p95_us: u64,
    /// 99 % are at most this long.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// An empty distribution. Allocates its whole size (about 24 KB), so that recording never does.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, HIGHEST_US, DIGITS)
            .expect("the bounds are constants that HDR accepts");
        Self(histogram)
    }

    /// Counts one duration; 0 counts as 1 µs and anything beyond ten minutes as ten minutes.
    pub fn record(&mut self, micros: u64) {
        self.0.saturating_record(micros.max(1));
    }

    /// Adds everything `other` counted.
    pub fn merge(&mut self, other: &Self) {
        // Same bounds on both sides, so the addition cannot be refused.
        self.0
            .add(&other.0)
            .expect("all distributions share their bounds");
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// The duration that `quantile` (0 to 1) of all are at most as long as, in microseconds; `None` when empty.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        (!self.is_empty()).then(|| self.0.value_at_quantile(quantile))
    }

    /// The usual percentiles; `None` when empty.
    pub fn percentiles(&self) -> Option<Percentiles> {
        Some(Percentiles {
            p50_us: self.quantile(0.50)?,
            p90_us: self.quantile(0.90)?,
            p95_us: self.quantile(0.95)?,
            p99_us: self.quantile(0.99)?,
            max_us: self.0.max(),
        })
    }

    /// The non-empty buckets in rising order: (highest value of the bucket in microseconds, count).
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0
            .iter_recorded()
            .map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
    }

    /// How many took longer than `micros`: at least the first, at most the second. They differ by what is in the bucket that
    /// holds `micros`, since where in its bucket a duration lay is not kept; at the end of a bucket they are equal.
    ///
    /// Ten minutes and more are one bucket.
    pub fn longer_than(&self, micros: u64) -> (u64, u64) {
        let micros = micros.max(1);
        let (lowest, highest) = (
            self.0.lowest_equivalent(micros),
            self.0.highest_equivalent(micros),
        );
        let (mut least, mut most) = (0, 0);
        for bucket in self.0.iter_recorded() {
            let (value, count) = (bucket.value_iterated_to(), bucket.count_at_value());
            if value > highest {
                least += count;
            }
            if value > highest || (value >= lowest && micros < highest) {
                most += count;
            }
        }
        (least, most)
    }

    /// The bucket that holds `micros`: its shortest and its longest duration, in microseconds.
    pub fn bucket_of(&self, micros: u64) -> (u64, u64) {
        let micros = micros.max(1);
        (
            self.0.lowest_equivalent(micros),
            self.0.highest_equivalent(micros),
        )
    }

    /// The non-empty buckets in rising order: (the middle of the bucket in microseconds, count).
    pub(super) fn middles(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.0.iter_recorded().map(|bucket| {
            let middle = self.0.median_equivalent(bucket.value_iterated_to());
            (middle as f64, bucket.count_at_value())
        })
    }

    /// Adds `count` durations that fell into the bucket of `micros`.
    pub fn record_many(&mut self, micros: u64, count: u64) {
        self.0.saturating_record_n(micros.max(1), count);
    }

    /// The distribution as a deflated HDR V2 encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.0, &mut bytes)
            .expect("writing to memory cannot fail and the histogram is well formed");
        bytes
    }

    /// Reads what [`Latency::to_bytes`] wrote.
    ///
    /// # Errors
    /// When the bytes are not such an encoding. They come from a file that others may have touched.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LatencyError> {
        let plain = inflate(bytes).ok_or(LatencyError::Foreign)?;
        let stored: Histogram<u64> = Deserializer::new()
            .deserialize(&mut &*plain)
            .map_err(LatencyError::Decode)?;
        let mut latency = Self::new();
        // Re-recorded rather than taken over: a stored histogram may carry other bounds.
        latency.0.add(&stored).map_err(LatencyError::Range)?;
        Ok(latency)
    }
}

/// The plain V2 encoding inside a deflated one; `None` when it is not of our making.
///
/// The decoder trusts the lengths and bounds that an encoding claims: it would allocate gigabytes for a few forged
/// bytes, and negate the one integer that has no negative. Both are refused here.
fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    /// The cookies of the HDR encodings V2 deflated and V2 plain.
    const DEFLATED: [u8; 4] = 0x1c84_9314_u32.to_be_bytes();
    const PLAIN: [u8; 4] = 0x1c84_9313_u32.to_be_bytes();
    /// The plain header: cookie, payload length, offset, digits (4 bytes each), lowest, highest, ratio (8 each).
    const HEADER: usize = 40;
    /// Every count of ours at its longest, nine bytes, is less.
    const LONGEST: u64 = 64 << 10;

    let deflated = bytes.strip_prefix(&DEFLATED)?.get(4..)?;
    let mut plain = Vec::new();
    ZlibDecoder::new(deflated)
        .take(LONGEST)
        .read_to_end(&mut plain)
        .ok()?;
    let rest = plain.strip_prefix(&PLAIN)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (_offset, rest) = rest.split_first_chunk::<4>()?;
    let (digits, rest) = rest.split_first_chunk()?;
    let (lowest, rest) = rest.split_first_chunk()?;
    let (highest, _) = rest.split_first_chunk()?;
    let payload = plain.get(HEADER..)?;
    let ours = u32::from_be_bytes(*length) as usize == payload.len()
        && u32::from_be_bytes(*digits) == u32::from(DIGITS)
        && u64::from_be_bytes(*lowest) == 1
        && u64::from_be_bytes(*highest) == HIGHEST_US
        && !payload.windows(9).any(|varint| varint == [0xff; 9]);
    ours.then_some(plain)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_distribution_has_no_percentiles() {
        assert_eq!(Latency::new().percentiles(), None);
    }

    #[test]
    fn durations_out_of_range_are_counted_at_the_ends() {
        let mut latency = Latency::new();
        latency.record(0);
        latency.record(u64::MAX);
        assert_eq!(latency.count(), 2);
        assert!(
            latency
                .quantile(1.0)
                .is_some_and(|longest| longest >= HIGHEST_US)
        );
    }

    #[test]
    fn garbage_is_an_error_and_not_a_panic() {
        for bytes in [
            &b""[..],
            b"x",
            b"\x1c\x84\x93\x14\xff\xff\xff\xff",
            &[0; 64],
        ] {
            assert!(Latency::from_bytes(bytes).is_err());
        }
    }

    /// The deflated encoding around a plain one.
    fn deflated(plain: &[u8]) -> Vec<u8> {
        let mut deflate = ZlibEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(plain).unwrap();
        let stream = deflate.finish().unwrap();
        let cookie = 0x1c84_9314_u32.to_be_bytes();
        let length = (stream.len() as u32).to_be_bytes();
        [&cookie[..], &length, &stream].concat()
    }

    #[test]
    fn an_encoding_that_claims_to_be_huge_is_refused() {
        let mut plain = 0x1c84_9313_u32.to_be_bytes().to_vec();
        plain.extend(u32::MAX.to_be_bytes());
        plain.extend(0_u32.to_be_bytes());
        plain.extend(2_u32.to_be_bytes());
        plain.extend(1_u64.to_be_bytes());
        plain.extend(HIGHEST_US.to_be_bytes());
        plain.extend(1_f64.to_be_bytes());
        for (length, payload) in [(u32::MAX, &[0; 16][..]), (9, &[0xff; 9])] {
            plain[4..8].copy_from_slice(&length.to_be_bytes());
            assert!(matches!(
                Latency::from_bytes(&deflated(&[&plain, payload].concat())),
                Err(LatencyError::Foreign)
            ));
        }
    }

    proptest! {
        #[test]
        fn a_damaged_encoding_never_panics(
            raw in prop::collection::vec(1_u64..HIGHEST_US, 1..50),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut latency = Latency::new();
            for micros in raw {
                latency.record(micros);
            }
            // Damaged inside the deflated stream's payload, so that most of it gets as far as the decoder.
            let mut plain = inflate(&latency.to_bytes()).unwrap();
            for (place, byte) in damage {
                let place = place.index(plain.len());
                plain[place] = byte;
            }
            drop(Latency::from_bytes(&deflated(&plain)));
        }

        #[test]
        fn what_took_longer_lies_between_both_bounds_and_is_exact_at_the_end_of_a_bucket(
            raw in prop::collection::vec(1_u64..2_000_000, 0..300),
            micros in 1_u64..2_000_000,
        ) {
            let mut latency = Latency::new();
            for micros in &raw {
                latency.record(*micros);
            }
            let truth = |micros: u64| raw.iter().filter(|it| **it > micros).count() as u64;
            let (least, most) = latency.longer_than(micros);
            prop_assert!((least..=most).contains(&truth(micros)));
            let (lowest, highest) = latency.bucket_of(micros);
            prop_assert!((lowest..=highest).contains(&micros));
            prop_assert!((highest - lowest) as f64 <= micros as f64 * 0.01);
            prop_assert_eq!(latency.longer_than(highest), (truth(highest), truth(highest)));
        }

        #[test]
        fn percentiles_agree_with_the_sorted_list_within_one_percent(
            mut raw in prop::collection::vec(1_u64..500_000_000, 1..400),
        ) {
            let mut latency = Latency::new();
            for micros in &raw {
                latency.record(*micros);
            }
            raw.sort_unstable();
            for quantile in [0.5, 0.95, 0.99] {
                let rank = ((quantile * raw.len() as f64).ceil() as usize).clamp(1, raw.len());
                let (exact, read) = (raw[rank - 1] as f64, latency.quantile(quantile).unwrap() as f64);
                prop_assert!((read - exact).abs() <= exact * 0.01 + 1.0, "{read} for {exact}");
            }
        }

        #[test]
        fn a_distribution_survives_its_encoding(
            raw in prop::collection::vec(1_u64..HIGHEST_US, 0..100),
        ) {
            let mut latency = Latency::new();
            for micros in raw {
                latency.record(micros);
            }
            prop_assert_eq!(Latency::from_bytes(&latency.to_bytes()).unwrap(), latency);
        }
    }
}
