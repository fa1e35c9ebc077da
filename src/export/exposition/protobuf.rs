//! The protobuf format: one page with classic buckets, native histograms and exemplars.
//!
//! Native histograms have no other way to Prometheus. One scrape takes the buckets that it understands: the native ones,
//! the classic ones beside or instead of them.

use bytes::Bytes;
use prost::Message as _;
use prost::encoding::{encode_varint, message};

use super::messages::{
    Bucket, BucketSpan, Exemplar, ExemplarLabel, Histogram, LabelPair, Metric, MetricFamily,
    MetricType, Timestamp, Value,
};
use super::page::{self, Number, Page, exemplar_labels};
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
    /// Filled anew for each sample, in the memory that it has.
    metric: Metric,
}

impl Messages {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            page: Vec::with_capacity(capacity),
            family: Vec::new(),
            series: None,
            metric: Metric::default(),
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
            encode_varint(self.family.len() as u64, &mut self.page);
            self.page.extend_from_slice(&self.family);
        }
        self.family.clear();
    }

    /// Encodes the metric with these values of labels.
    fn push(&mut self, labels: &[&str]) {
        let (series, has_samples) = self.series.as_mut().expect("a series was begun");
        *has_samples = true;
        debug_assert_eq!(
            series.labels.len(),
            labels.len(),
            "{}: one value per label",
            series.name
        );
        let pairs = &mut self.metric.label;
        pairs.resize_with(labels.len(), LabelPair::default);
        for ((pair, label), value) in pairs.iter_mut().zip(series.labels).zip(labels) {
            set(&mut pair.name, label.name);
            set(&mut pair.value, value);
        }
        message::encode(METRIC, &self.metric, &mut self.family);
    }
}

impl Page for Messages {
    fn begin(&mut self, series: &'static Series) {
        self.end();
        let kind = match series.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        let unit = series.unit.suffix();
        let head = MetricFamily {
            name: Some(series.name.to_owned()),
            help: Some(series.help.to_owned()),
            kind: Some(kind.into()),
            metric: Vec::new(),
            unit: unit.map(|unit| unit.trim_start_matches('_').to_owned()),
        };
        head.encode_raw(&mut self.family);
        self.series = Some((series, false));
        let none: Metric = Metric {
            label: std::mem::take(&mut self.metric.label),
            ..Metric::default()
        };
        self.metric = none;
    }

    fn sample(&mut self, labels: &[&str], value: impl Into<Number>) {
        let value = Some(Value {
            value: Some(match value.into() {
                Number::Count(count) => count as f64,
                Number::Level(level) => level,
                Number::Millionths(millionths) => millionths as f64 / 1e6,
            }),
        });
        match self.series.map(|(series, _)| series.kind) {
            Some(Kind::Counter) => self.metric.counter = value,
            _ => self.metric.gauge = value,
        }
        self.push(labels);
    }

    fn histogram(&mut self, labels: &[&str], histogram: &page::Histogram<'_>) {
        self.metric.histogram = Some(of(histogram));
        self.push(labels);
    }
}

/// The number of `MetricFamily.metric`.
const METRIC: u32 = 4;

/// The text's memory is used again.
fn set(text: &mut Option<String>, value: &str) {
    let text = text.get_or_insert_default();
    text.clear();
    text.push_str(value);
}

fn of(histogram: &page::Histogram<'_>) -> Histogram {
    let exemplars = histogram.by_bucket().map(|found| found.map(exemplar));
    let bucket = |((bound, count), exemplar): ((Option<u64>, u64), &Option<Exemplar>)| Bucket {
        cumulative_count: Some(count),
        upper_bound: Some(bound.map_or(f64::INFINITY, |micros| micros as f64 / 1e6)),
        exemplar: exemplar.clone(),
    };
    let classic = Histogram {
        sample_count: Some(histogram.durations.count()),
        sample_sum: Some(histogram.sum_us as f64 / 1e6),
        bucket: histogram
            .durations
            .cumulative()
            .zip(&exemplars)
            .map(bucket)
            .collect(),
        ..Histogram::default()
    };
    let Some(exponential) = histogram.exponential else {
        return classic;
    };
    let mut oldest_first: Vec<Exemplar> = exemplars.into_iter().flatten().collect();
    let instant = |exemplar: &Exemplar| {
        let at = exemplar.timestamp.unwrap_or_default();
        (at.seconds, at.nanos)
    };
    oldest_first.sort_by_key(instant);
    let (positive_span, positive_delta) = spans(exponential);
    Histogram {
        schema: Some(SCALE),
        // What tells a native histogram without a duration yet from none. All of ours are longer.
        zero_threshold: Some(ZERO_THRESHOLD),
        zero_count: Some(0),
        positive_span,
        positive_delta,
        exemplars: oldest_first,
        ..classic
    }
}

/// The width of the zero bucket that Prometheus' own libraries begin with, 2⁻¹²⁸.
const ZERO_THRESHOLD: f64 = f64::from_bits((1_023 - 128) << 52);

/// So many empty buckets between two others cost less than beginning another span.
const GAP: usize = 2;

/// Buckets as spans of neighbours and differences of counts. Prometheus' bucket *i* ends where OpenTelemetry's bucket *i*
/// begins, so that its numbers are one higher.
fn spans(exponential: &Exponential) -> (Vec<BucketSpan>, Vec<i64>) {
    let (mut spans, mut deltas): (Vec<BucketSpan>, Vec<i64>) = (Vec::new(), Vec::new());
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
            None => spans.push(BucketSpan {
                offset: Some(first + 1),
                length: Some(0),
            }),
            Some(span) if empty <= GAP => {
                *span.length.get_or_insert_default() += empty as u32;
                for _ in 0..empty {
                    deltas.push(-before);
                    before = 0;
                }
            }
            Some(_) => spans.push(BucketSpan {
                offset: Some(empty as i32),
                length: Some(0),
            }),
        }
        if let Some(span) = spans.last_mut() {
            *span.length.get_or_insert_default() += 1;
        }
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        deltas.push(count.wrapping_sub(before));
        (before, empty) = (count, 0);
    }
    (spans, deltas)
}

fn exemplar(exemplar: &model::Exemplar) -> Exemplar {
    let millis = exemplar.at.as_millis();
    Exemplar {
        label: exemplar_labels(exemplar)
            .map(|(name, value)| ExemplarLabel {
                name: Some(Bytes::from_static(name.as_bytes())),
                value: Some(value.into()),
            })
            .into(),
        value: Some(exemplar.duration_us as f64 / 1e6),
        timestamp: Some(Timestamp {
            seconds: (millis / 1_000) as i64,
            nanos: (millis % 1_000 * 1_000_000) as i32,
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog;
    use crate::model::{Durations, Latency};

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
    fn unfolded(spans: &[BucketSpan], deltas: &[i64]) -> Vec<(i32, i64)> {
        let mut deltas = deltas.iter();
        let (mut index, mut count) = (0, 0);
        let mut buckets = Vec::new();
        for span in spans {
            index += span.offset();
            for _ in 0..span.length() {
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
            &page::Histogram {
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
        let message = of(&page::Histogram {
            durations: &Durations::default(),
            sum_us: 0,
            exponential: Some(&exponential),
            exemplars: &[],
        });
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
