//! What every format of the page can be told.

use crate::catalog::Series;
use crate::model::{Durations, Exemplar, Exponential};

/// A page under way. Series come one after another, each with all of its samples.
pub(super) trait Page {
    /// The samples that follow are of this series.
    fn begin(&mut self, series: &'static Series);

    /// One sample, with a value for each of the series' labels.
    fn sample(&mut self, labels: &[&str], value: impl Into<Number>);

    /// One histogram, with a value for each of the series' labels.
    fn histogram(&mut self, labels: &[&str], histogram: &Histogram<'_>);

    /// A series of one sample without labels.
    fn one(&mut self, series: &'static Series, value: impl Into<Number>) {
        self.begin(series);
        self.sample(&[], value);
    }

    /// The same of something that may not be known.
    fn maybe(&mut self, series: &'static Series, value: Option<impl Into<Number>>) {
        self.begin(series);
        if let Some(value) = value {
            self.sample(&[], value);
        }
    }
}

/// A sample's value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    /// A number of things.
    Count(u64),
    /// Any number.
    Level(f64),
    /// So many millionths: microseconds as seconds, parts per million as a ratio. Written to the last digit.
    Millionths(u64),
}

impl From<u64> for Number {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<bool> for Number {
    fn from(flag: bool) -> Self {
        Self::Count(u64::from(flag))
    }
}

impl From<f64> for Number {
    fn from(level: f64) -> Self {
        Self::Level(level)
    }
}

/// Durations as every format may show them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Histogram<'a> {
    /// At fixed bounds.
    pub(super) durations: &'a Durations,
    /// Their sum in microseconds.
    pub(super) sum_us: u64,
    /// The same durations in exponential buckets, where they are kept so.
    pub(super) exponential: Option<&'a Exponential>,
    /// At most one of each bucket of `durations`.
    pub(super) exemplars: &'a [Exemplar],
}

impl<'a> Histogram<'a> {
    /// The exemplar of each bucket of `durations`, in their order.
    pub(super) fn by_bucket(&self) -> [Option<&'a Exemplar>; Durations::MOST_BUCKETS] {
        let mut by_bucket = [None; Durations::MOST_BUCKETS];
        for exemplar in self.exemplars {
            by_bucket[self.durations.bucket(exemplar.duration_us)] = Some(exemplar);
        }
        by_bucket
    }
}

/// The labels of an exemplar, which OpenMetrics and OpenTelemetry name alike.
pub(super) fn exemplar_labels(exemplar: &Exemplar) -> [(&'static str, String); 2] {
    [
        ("trace_id", hex(exemplar.trace_id, 32)),
        ("span_id", hex(exemplar.span_id.into(), 16)),
    ]
}

/// So many digits. There are many to write: `format!` would take half of a page's time.
fn hex(number: u128, digits: usize) -> String {
    let digit = |place: usize| {
        let nibble = (number >> (4 * place)) as u32 & 15;
        char::from_digit(nibble, 16).unwrap_or('0')
    };
    let mut text = String::with_capacity(digits);
    text.extend((0..digits).rev().map(digit));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_all_their_digits() {
        assert_eq!(hex(0x00f0_67aa_0ba9_02b7, 16), "00f067aa0ba902b7");
        assert_eq!(hex(1, 32), format!("{:032x}", 1));
        assert_eq!(hex(u128::MAX - 5, 32), format!("{:032x}", u128::MAX - 5));
    }
}
