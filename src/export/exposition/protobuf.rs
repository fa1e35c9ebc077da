//! The protobuf format: one page with classic buckets, native histograms and exemplars.
//!
//! Native histograms have no other way to Prometheus. One scrape takes the buckets that it understands: the native ones,
//! the classic ones beside or instead of them.

use super::page::{Histogram, Number, Page, exemplar_labels};
use super::wire::{double, nested, signed, string, unsigned, varint, zigzag};
use crate::catalog::{Kind, Series};
use crate::model::{self, Exponential, SCALE};

/// A page of messages.
#[derive(Debug)]
pub(super) struct Messages {
    page: Vec<u8>,
    /// The family under way, encoded: the fields of a message may come in any order and in parts.
    family: Vec<u8>,
    /// The series begun last, and whether it has samples.
    series: Option<(&'static Series, bool)>,
}

impl Messages {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            page: Vec::with_capacity(capacity),
            family: Vec::new(),
            series: None,
        }
    }

    /// The whole page.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.end();
        self.page
    }

    /// Hands the family under way over, if it has samples: one that has none is malformed for some readers.
    fn end(&mut self) {
        if let Some((_, true)) = self.series.take() {
            varint(&mut self.page, self.family.len() as u64);
            self.page.extend_from_slice(&self.family);
        }
        self.family.clear();
    }

    /// Writes a metric with these values of labels, and what `fill` says of it.
    fn metric(&mut self, labels: &[&str], fill: impl FnOnce(&'static Series, &mut Vec<u8>)) {
        let (series, has_samples) = self.series.as_mut().expect("a series was begun");
        *has_samples = true;
        debug_assert_eq!(
            series.labels.len(),
            labels.len(),
            "{}: one value per label",
            series.name
        );
        nested(&mut self.family, field::FAMILY_METRIC, |out| {
            for (label, value) in series.labels.iter().zip(labels) {
                pair(out, field::METRIC_LABEL, label.name, value);
            }
            fill(series, out);
        });
    }
}

impl Page for Messages {
    fn begin(&mut self, series: &'static Series) {
        self.end();
        let family = &mut self.family;
        string(family, field::FAMILY_NAME, series.name);
        string(family, field::FAMILY_HELP, series.help);
        unsigned(family, field::FAMILY_TYPE, type_of(series.kind));
        if let Some(unit) = series.unit.suffix() {
            string(family, field::FAMILY_UNIT, unit.trim_start_matches('_'));
        }
        self.series = Some((series, false));
    }

    fn sample(&mut self, labels: &[&str], value: impl Into<Number>) {
        let value = match value.into() {
            Number::Count(count) => count as f64,
            Number::Level(level) => level,
            Number::Millionths(millionths) => millionths as f64 / 1e6,
        };
        self.metric(labels, |series, out| {
            let kind = match series.kind {
                Kind::Counter => field::METRIC_COUNTER,
                _ => field::METRIC_GAUGE,
            };
            nested(out, kind, |out| double(out, field::VALUE, value));
        });
    }

    fn histogram(&mut self, labels: &[&str], histogram: &Histogram<'_>) {
        self.metric(labels, |_, out| {
            nested(out, field::METRIC_HISTOGRAM, |out| {
                write_histogram(out, histogram);
            });
        });
    }
}

/// The numbers of the fields that we write, of `io.prometheus.client` (Prometheus' `metrics.proto`). All of them are
/// optional there, so that one at zero is told from one that is absent.
mod field {
    pub(super) const FAMILY_NAME: u32 = 1;
    pub(super) const FAMILY_HELP: u32 = 2;
    pub(super) const FAMILY_TYPE: u32 = 3;
    pub(super) const FAMILY_METRIC: u32 = 4;
    pub(super) const FAMILY_UNIT: u32 = 5;

    pub(super) const METRIC_LABEL: u32 = 1;
    pub(super) const METRIC_GAUGE: u32 = 2;
    pub(super) const METRIC_COUNTER: u32 = 3;
    pub(super) const METRIC_HISTOGRAM: u32 = 7;

    pub(super) const PAIR_NAME: u32 = 1;
    pub(super) const PAIR_VALUE: u32 = 2;

    /// Of `Gauge` and `Counter`.
    pub(super) const VALUE: u32 = 1;

    pub(super) const HISTOGRAM_COUNT: u32 = 1;
    pub(super) const HISTOGRAM_SUM: u32 = 2;
    pub(super) const HISTOGRAM_BUCKET: u32 = 3;
    // From here on it is the native histogram.
    pub(super) const HISTOGRAM_SCHEMA: u32 = 5;
    pub(super) const HISTOGRAM_ZERO_THRESHOLD: u32 = 6;
    pub(super) const HISTOGRAM_ZERO_COUNT: u32 = 7;
    pub(super) const HISTOGRAM_POSITIVE_SPAN: u32 = 12;
    pub(super) const HISTOGRAM_POSITIVE_DELTA: u32 = 13;
    /// Those of the native histogram; classic buckets have their own.
    pub(super) const HISTOGRAM_EXEMPLAR: u32 = 16;

    pub(super) const BUCKET_COUNT: u32 = 1;
    pub(super) const BUCKET_BOUND: u32 = 2;
    pub(super) const BUCKET_EXEMPLAR: u32 = 3;

    pub(super) const SPAN_OFFSET: u32 = 1;
    pub(super) const SPAN_LENGTH: u32 = 2;

    pub(super) const EXEMPLAR_LABEL: u32 = 1;
    pub(super) const EXEMPLAR_VALUE: u32 = 2;
    pub(super) const EXEMPLAR_TIMESTAMP: u32 = 3;

    pub(super) const TIMESTAMP_SECONDS: u32 = 1;
    pub(super) const TIMESTAMP_NANOS: u32 = 2;
}

/// `MetricType`.
const fn type_of(kind: Kind) -> u64 {
    match kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Histogram => 4,
    }
}

/// A `LabelPair`.
fn pair(out: &mut Vec<u8>, place: u32, name: &str, value: &str) {
    nested(out, place, |out| {
        string(out, field::PAIR_NAME, name);
        string(out, field::PAIR_VALUE, value);
    });
}

fn write_histogram(out: &mut Vec<u8>, histogram: &Histogram<'_>) {
    unsigned(out, field::HISTOGRAM_COUNT, histogram.durations.count());
    double(out, field::HISTOGRAM_SUM, histogram.sum_us as f64 / 1e6);
    let exemplars = histogram.by_bucket();
    for ((bound, count), exemplar) in histogram.durations.cumulative().zip(exemplars) {
        let bound = bound.map_or(f64::INFINITY, |micros| micros as f64 / 1e6);
        nested(out, field::HISTOGRAM_BUCKET, |out| {
            unsigned(out, field::BUCKET_COUNT, count);
            double(out, field::BUCKET_BOUND, bound);
            if let Some(exemplar) = exemplar {
                write_exemplar(out, field::BUCKET_EXEMPLAR, exemplar);
            }
        });
    }
    let Some(exponential) = histogram.exponential else {
        return;
    };
    signed(out, field::HISTOGRAM_SCHEMA, SCALE.into());
    // What tells a native histogram without a duration yet from none. All of ours are longer.
    double(out, field::HISTOGRAM_ZERO_THRESHOLD, ZERO_THRESHOLD);
    unsigned(out, field::HISTOGRAM_ZERO_COUNT, 0);
    let (spans, deltas) = spans(exponential);
    for (offset, length) in spans {
        nested(out, field::HISTOGRAM_POSITIVE_SPAN, |out| {
            signed(out, field::SPAN_OFFSET, offset.into());
            unsigned(out, field::SPAN_LENGTH, length.into());
        });
    }
    if !deltas.is_empty() {
        nested(out, field::HISTOGRAM_POSITIVE_DELTA, |out| {
            for delta in deltas {
                varint(out, zigzag(delta));
            }
        });
    }
    let mut oldest_first = exemplars;
    oldest_first.sort_unstable();
    for exemplar in oldest_first.into_iter().flatten() {
        write_exemplar(out, field::HISTOGRAM_EXEMPLAR, exemplar);
    }
}

fn write_exemplar(out: &mut Vec<u8>, place: u32, exemplar: &model::Exemplar) {
    nested(out, place, |out| {
        for (name, value) in exemplar_labels(exemplar) {
            pair(out, field::EXEMPLAR_LABEL, name, &value);
        }
        double(
            out,
            field::EXEMPLAR_VALUE,
            exemplar.duration_us as f64 / 1e6,
        );
        let millis = exemplar.at.as_millis();
        nested(out, field::EXEMPLAR_TIMESTAMP, |out| {
            unsigned(out, field::TIMESTAMP_SECONDS, millis / 1_000);
            unsigned(out, field::TIMESTAMP_NANOS, millis % 1_000 * 1_000_000);
        });
    });
}

/// The width of the zero bucket that Prometheus' own libraries begin with, 2⁻¹²⁸.
const ZERO_THRESHOLD: f64 = f64::from_bits((1_023 - 128) << 52);

/// So many empty buckets between two others cost less than beginning another span.
const GAP: usize = 2;

/// Buckets as spans of neighbours (offset and length; the offset of the first span is the index of its first bucket, of
/// others the distance from the span before) and differences of counts. Prometheus' bucket *i* ends where
/// OpenTelemetry's bucket *i* begins, so that its numbers are one higher.
fn spans(exponential: &Exponential) -> (Vec<(i32, u32)>, Vec<i64>) {
    let (mut spans, mut deltas): (Vec<(i32, u32)>, Vec<i64>) = (Vec::new(), Vec::new());
    let Some((first, counts)) = exponential.buckets() else {
        return (spans, deltas);
    };
    let (mut before, mut empty) = (0_i64, 0_usize);
    for count in counts {
        if *count == 0 {
            empty += 1;
            continue;
        }
        match spans.last_mut() {
            None => spans.push((first + 1, 0)),
            Some((_, length)) if empty <= GAP => {
                *length += empty as u32;
                for _ in 0..empty {
                    deltas.push(-before);
                    before = 0;
                }
            }
            Some(_) => spans.push((empty as i32, 0)),
        }
        if let Some((_, length)) = spans.last_mut() {
            *length += 1;
        }
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        deltas.push(count.wrapping_sub(before));
        (before, empty) = (count, 0);
    }
    (spans, deltas)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::super::messages::{
        Exemplar, Histogram as ReadHistogram, MetricFamily, MetricType, Timestamp as ReadTimestamp,
    };
    use super::*;
    use crate::catalog;
    use crate::model::{Durations, Latency, Timestamp};

    /// What a reader makes of a page.
    fn read(page: &[u8]) -> Vec<MetricFamily> {
        let mut rest = page;
        let mut families = Vec::new();
        while !rest.is_empty() {
            families.push(MetricFamily::decode_length_delimited(&mut rest).unwrap());
        }
        families
    }

    /// Index and count of the buckets that are not empty.
    fn unfolded(spans: &[(i32, u32)], deltas: &[i64]) -> Vec<(i32, i64)> {
        let mut deltas = deltas.iter();
        let (mut index, mut count) = (0, 0);
        let mut buckets = Vec::new();
        for (offset, length) in spans {
            index += offset;
            for _ in 0..*length {
                count += deltas.next().unwrap();
                assert!(count >= 0);
                if count > 0 {
                    buckets.push((index, count));
                }
                index += 1;
            }
        }
        assert_eq!(deltas.next(), None);
        buckets
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let mut page = Messages::with_capacity(0);
        page.begin(&catalog::RETRIES);
        page.sample(&["a"], 7_u64);
        page.sample(&["b\"\n"], 0_u64);
        // Without a sample, it is not there.
        page.begin(&catalog::SLO_BURN);
        page.one(&catalog::STORE_SIZE, 1_u64);
        let mut durations = Durations::default();
        durations.record(3_000);
        page.begin(&catalog::DURATION);
        page.histogram(
            &["a"],
            &Histogram {
                durations: &durations,
                sum_us: 3_000,
                exponential: None,
                exemplars: &[],
            },
        );
        let families = read(&page.finish());
        let names: Vec<&str> = families.iter().map(MetricFamily::name).collect();
        assert_eq!(
            names,
            [
                "vestibule_upstream_retries_total",
                "vestibule_store_size_bytes",
                "vestibule_request_duration_seconds"
            ]
        );
        let retries = &families[0];
        assert_eq!(retries.kind(), MetricType::Counter);
        let values: Vec<(&str, f64)> = retries
            .metric
            .iter()
            .map(|metric| {
                assert!(metric.gauge.is_none() && metric.histogram.is_none());
                let value = metric.counter.unwrap().value.unwrap();
                assert_eq!(metric.label[0].name(), "route");
                (metric.label[0].value(), value)
            })
            .collect();
        assert_eq!(values, [("a", 7.0), ("b\"\n", 0.0)]);
        assert_eq!(
            (families[1].kind(), families[1].unit()),
            (MetricType::Gauge, "bytes")
        );
        assert!(families[1].metric[0].label.is_empty() && families[1].metric[0].counter.is_none());
        let classic = families[2].metric[0].histogram.as_ref().unwrap();
        assert_eq!((classic.sample_count(), classic.sample_sum()), (1, 0.003));
        assert_eq!(classic.schema, None);
        assert_eq!(classic.bucket.len(), Durations::PLACES);
        assert!(classic.bucket.last().unwrap().upper_bound().is_infinite());
    }

    #[test]
    fn exemplars_are_in_their_bucket_and_oldest_first_in_the_native_histogram() {
        let exemplar = |at, duration_us, id| model::Exemplar {
            at: Timestamp::from_millis(at),
            duration_us,
            trace_id: id,
            span_id: 1,
        };
        let (slow, quick) = (
            exemplar(1_700_000_000_250, 2_000_000, 7),
            exemplar(1_700_000_001_000, 3_000, u128::MAX),
        );
        let (mut durations, mut latency) = (Durations::default(), Latency::new());
        for micros in [slow.duration_us, quick.duration_us] {
            durations.record(micros);
            latency.record(micros);
        }
        let mut exponential = Exponential::default();
        exponential.add(&latency);
        let mut encoded = Vec::new();
        write_histogram(
            &mut encoded,
            &Histogram {
                durations: &durations,
                sum_us: 2_003_000,
                exponential: Some(&exponential),
                exemplars: &[quick, slow],
            },
        );
        let read = ReadHistogram::decode(&encoded[..]).unwrap();
        let trace = |exemplar: &Exemplar| exemplar.label[0].value.clone().unwrap();
        let native: Vec<(f64, _)> = read
            .exemplars
            .iter()
            .map(|exemplar| (exemplar.value(), exemplar.timestamp.unwrap()))
            .collect();
        let instant = |seconds, nanos| ReadTimestamp { seconds, nanos };
        assert_eq!(
            native,
            [
                (2.0, instant(1_700_000_000, 250_000_000)),
                (0.003, instant(1_700_000_001, 0))
            ]
        );
        let classic: Vec<_> = read
            .bucket
            .iter()
            .filter_map(|bucket| Some((bucket.upper_bound(), trace(bucket.exemplar.as_ref()?))))
            .collect();
        assert_eq!(classic[0], (0.005, "f".repeat(32).into()));
        assert_eq!(classic[1], (2.5, format!("{:032x}", 7).into()));
    }

    #[test]
    fn a_bucket_ends_where_prometheus_says_that_it_does() {
        // One second is the upper bound of Prometheus' bucket 0 (its native histograms' specification, "Buckets").
        let mut latency = Latency::new();
        latency.record_many(1_000_000, 2);
        latency.record_many(2_000_000, 3);
        let mut exponential = Exponential::default();
        exponential.add(&latency);
        let (spans, deltas) = spans(&exponential);
        let found: Vec<i32> = unfolded(&spans, &deltas)
            .iter()
            .map(|(at, _)| *at)
            .collect();
        // HDR's middle of either is a little more than itself.
        assert_eq!(found, [1, 9]);
        assert_eq!(spans.len(), 2);
    }

    #[test]
    fn a_native_histogram_without_a_duration_is_one_all_the_same() {
        let exponential = Exponential::default();
        let mut encoded = Vec::new();
        write_histogram(
            &mut encoded,
            &Histogram {
                durations: &Durations::default(),
                sum_us: 0,
                exponential: Some(&exponential),
                exemplars: &[],
            },
        );
        let message = ReadHistogram::decode(&encoded[..]).unwrap();
        assert_eq!(message.schema, Some(3));
        assert!(message.zero_threshold() > 0.0);
        assert!(message.positive_span.is_empty() && message.positive_delta.is_empty());
    }

    proptest! {
        #[test]
        fn spans_and_differences_hold_every_bucket(
            durations in prop::collection::vec(1_u64..600_000_000, 0..300),
        ) {
            let mut latency = Latency::new();
            for micros in &durations {
                latency.record(*micros);
            }
            let mut exponential = Exponential::default();
            exponential.add(&latency);
            let (spans, deltas) = spans(&exponential);
            let found = unfolded(&spans, &deltas);
            let (first, counts) = exponential.buckets().unwrap_or_default();
            let wanted: Vec<(i32, i64)> = (first + 1..)
                .zip(counts)
                .filter(|(_, count)| **count > 0)
                .map(|(index, count)| (index, *count as i64))
                .collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
