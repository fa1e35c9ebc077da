//! Measurements as OTLP metrics.
//!
//! Durations are `http.server.request.duration` of the HTTP semantic conventions, as an exponential histogram. Every
//! other series is one of the catalog under a name that Prometheus' translation turns back into the
//! catalog's own, so that rules and dashboards read the same whichever way the series came. Counters carry the moment
//! that they began to count, so that a restart is not mistaken for a loss, and nothing is sent for a fault or status
//! that never was.

use std::collections::HashMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::resource::{resource, scope, text};
use crate::catalog::{self, Kind, Series, Unit};
use crate::model::{Counts, Exponential, SCALE, Tally, Timestamp};
use crate::snapshot::Snapshot;

mod families;

use families::{Family, Value, families};

/// Everything measured up to one moment.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What is shown.
    pub snapshot: Arc<Snapshot>,
    /// Durations of valid requests by route since this process started.
    pub durations: Vec<(String, Exponential)>,
}

/// What a counter's points say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Temporality {
    /// Everything since it began to count. A lost message loses nothing.
    #[default]
    Cumulative,
    /// What was added since the message before.
    Delta,
}

/// What earlier runs had counted when this process started.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    /// By route.
    pub routes: Vec<(String, Counts)>,
    /// By SLO.
    pub slos: Vec<(String, Tally)>,
}

/// The name and the unit (UCUM) that a catalog's series has in OTLP.
pub fn export_name(series: &Series) -> (String, &'static str) {
    match series.name {
        "vestibule_request_duration_seconds" => return (DURATION.to_owned(), "s"),
        "process_cpu_seconds_total" => return ("process.cpu.time".to_owned(), "s"),
        "process_resident_memory_bytes" => return ("process.memory.usage".to_owned(), "By"),
        _ => {}
    }
    let name = series.name.strip_suffix("_total").unwrap_or(series.name);
    let suffix = series.unit.suffix().unwrap_or_default();
    let name = name.strip_suffix(suffix).unwrap_or(name);
    let unit = match series.unit {
        Unit::Bytes => "By",
        Unit::One => "",
        Unit::Ratio => "1",
        Unit::Seconds => "s",
    };
    (name.replacen('_', ".", 1), unit)
}

/// HTTP semantic conventions, "Metric: `http.server.request.duration`".
const DURATION: &str = "http.server.request.duration";

/// Makes messages of measurements, one after another.
#[derive(Debug)]
pub(super) struct Encoder {
    resource: Resource,
    temporality: Temporality,
    /// What the message before said, for differences. Empty when cumulative.
    before: HashMap<(&'static str, String), u64>,
    durations_before: HashMap<String, (Exponential, u64)>,
    /// When this process started, from which the first differences are.
    began: Timestamp,
    /// The time of the message before.
    last: Option<Timestamp>,
}

impl Encoder {
    pub(super) fn new(
        attributes: &[(String, String)],
        temporality: Temporality,
        baseline: Baseline,
    ) -> Self {
        let mut before = HashMap::new();
        if temporality == Temporality::Delta {
            for (
                route,
                Counts {
                    good,
                    bad,
                    excluded,
                },
            ) in baseline.routes
            {
                for (outcome, count) in [("good", good), ("bad", bad), ("excluded", excluded)] {
                    before.insert((catalog::REQUESTS.name, key([&route, outcome])), count);
                }
            }
            for (slo, Tally { good, bad }) in baseline.slos {
                for (result, count) in [("good", good), ("bad", bad)] {
                    before.insert((catalog::SLO_EVENTS.name, key([&slo, result])), count);
                }
            }
        }
        Self {
            resource: resource(attributes),
            temporality,
            before,
            durations_before: HashMap::new(),
            began: Timestamp::default(),
            last: None,
        }
    }

    /// One message, and how many data points it has.
    pub(super) fn encode(&mut self, measured: &Measured) -> (Vec<u8>, u64) {
        let snapshot = &*measured.snapshot;
        // Points of one series must have rising times, whatever the wall clock does.
        let time = match self.last {
            Some(last) if snapshot.at <= last => Timestamp::from_millis(last.as_millis() + 1),
            _ => snapshot
                .at
                .max(Timestamp::from_millis(snapshot.started_at.as_millis() + 1)),
        };
        self.began = snapshot.started_at;
        let mut metrics = vec![self.durations(measured, time)];
        for family in families(snapshot) {
            if let Some(metric) = self.metric(family, time) {
                metrics.push(metric);
            }
        }
        self.last = Some(time);
        let points = metrics.iter().map(points).sum();
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope()),
                    metrics,
                    schema_url: SCHEMA.to_owned(),
                }],
                schema_url: SCHEMA.to_owned(),
            }],
        };
        (request.encode_to_vec(), points)
    }

    fn metric(&mut self, family: Family, time: Timestamp) -> Option<Metric> {
        let Family {
            series,
            points,
            since,
        } = family;
        if points.is_empty() {
            return None;
        }
        let is_counter = series.kind == Kind::Counter;
        let start = match (is_counter, self.temporality) {
            (false, _) => 0,
            (true, Temporality::Cumulative) => nanos(since),
            (true, Temporality::Delta) => nanos(self.last.unwrap_or(self.began)),
        };
        let data_points = points
            .into_iter()
            .filter_map(|(values, value)| {
                let value = match value {
                    Value::Count(count) if is_counter => {
                        Number::AsInt(clamped(self.counted(series, &values, count)?))
                    }
                    Value::Count(count) => Number::AsInt(clamped(count)),
                    Value::Level(level) => Number::AsDouble(level),
                };
                let labels = series.labels.iter().zip(values);
                Some(NumberDataPoint {
                    attributes: labels
                        .map(|(label, value)| text(label.name, value))
                        .collect(),
                    start_time_unix_nano: start,
                    time_unix_nano: nanos(time),
                    value: Some(value),
                    ..NumberDataPoint::default()
                })
            })
            .collect();
        let (name, unit) = export_name(series);
        Some(Metric {
            name,
            description: series.help.to_owned(),
            unit: unit.to_owned(),
            data: Some(if is_counter {
                Data::Sum(Sum {
                    data_points,
                    aggregation_temporality: self.temporality().into(),
                    is_monotonic: true,
                })
            } else {
                Data::Gauge(Gauge { data_points })
            }),
            ..Metric::default()
        })
    }

    /// What a counter's point says. `None`: nothing was added since the message before.
    fn counted(&mut self, series: &'static Series, values: &[String], count: u64) -> Option<u64> {
        if self.temporality == Temporality::Cumulative {
            return Some(count);
        }
        let identity = if series.name == catalog::SLO_EVENTS.name {
            // Its route follows from it, and may change with a reload.
            key([&values[0], &values[2]])
        } else {
            key(values)
        };
        let before = self
            .before
            .insert((series.name, identity), count)
            .unwrap_or(0);
        let added = count.saturating_sub(before);
        (added > 0).then_some(added)
    }

    fn durations(&mut self, measured: &Measured, time: Timestamp) -> Metric {
        let snapshot = &*measured.snapshot;
        let sums: HashMap<&str, u64> = snapshot
            .totals
            .routes
            .iter()
            .map(|(route, totals)| (route.as_str(), totals.duration_us))
            .collect();
        let paths: HashMap<&str, &str> = snapshot
            .routes
            .iter()
            .map(|route| (route.id.as_str(), route.path.as_str()))
            .collect();
        let start = match self.temporality {
            Temporality::Cumulative => snapshot.started_at,
            Temporality::Delta => self.last.unwrap_or(snapshot.started_at),
        };
        let mut data_points = Vec::with_capacity(measured.durations.len());
        for (route, durations) in &measured.durations {
            let sum_us = sums.get(route.as_str()).copied().unwrap_or(0);
            let (durations, sum_us) = match self.temporality {
                Temporality::Cumulative => (durations.clone(), sum_us),
                Temporality::Delta => {
                    let now = (durations.clone(), sum_us);
                    let before = self.durations_before.insert(route.clone(), now);
                    let (before, before_us) = before.unwrap_or_default();
                    let added = durations.since(&before);
                    if added.count() == 0 {
                        continue;
                    }
                    (added, sum_us.saturating_sub(before_us))
                }
            };
            let mut attributes = vec![text("route", route.as_str())];
            if let Some(path) = paths.get(route.as_str()).filter(|path| !path.is_empty()) {
                attributes.push(text("http.route", *path));
            }
            let (offset, counts) = durations.buckets().unwrap_or_default();
            data_points.push(ExponentialHistogramDataPoint {
                attributes,
                start_time_unix_nano: nanos(start),
                time_unix_nano: nanos(time),
                count: durations.count(),
                sum: Some(sum_us as f64 / 1e6),
                scale: SCALE,
                positive: Some(Buckets {
                    offset,
                    bucket_counts: counts.to_vec(),
                }),
                ..ExponentialHistogramDataPoint::default()
            });
        }
        Metric {
            name: DURATION.to_owned(),
            description: "Duration of valid HTTP server requests.".to_owned(),
            unit: "s".to_owned(),
            data: Some(Data::ExponentialHistogram(ExponentialHistogram {
                data_points,
                aggregation_temporality: self.temporality().into(),
            })),
            ..Metric::default()
        }
    }

    fn temporality(&self) -> AggregationTemporality {
        match self.temporality {
            Temporality::Cumulative => AggregationTemporality::Cumulative,
            Temporality::Delta => AggregationTemporality::Delta,
        }
    }
}

/// The semantic conventions that names and attributes are from.
pub(super) const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

fn key<'a>(values: impl IntoIterator<Item = impl AsRef<str> + 'a>) -> String {
    let mut key = String::new();
    for value in values {
        key.push_str(value.as_ref());
        // In no name.
        key.push('\0');
    }
    key
}

fn points(metric: &Metric) -> u64 {
    let points = match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        // Not of our making.
        Some(Data::Histogram(_) | Data::Summary(_)) | None => 0,
    };
    points as u64
}

fn clamped(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn nanos(at: Timestamp) -> u64 {
    at.as_millis().saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Prometheus' OTLP translation makes of a name (its "UTF-8 escaping with suffixes").
    fn translated(name: &str, unit: &str, kind: Kind) -> String {
        let mut text = name.replace('.', "_");
        for (code, suffix) in [("s", "_seconds"), ("By", "_bytes")] {
            if unit == code && !text.ends_with(suffix) {
                text.push_str(suffix);
            }
        }
        match kind {
            Kind::Counter => text.push_str("_total"),
            Kind::Gauge if unit == "1" => text.push_str("_ratio"),
            Kind::Gauge | Kind::Histogram => {}
        }
        text
    }

    #[test]
    fn a_name_comes_back_as_the_catalogs() {
        for series in catalog::ALL {
            let (name, unit) = export_name(series);
            if name.starts_with("vestibule.") {
                assert_eq!(translated(&name, unit, series.kind), series.name);
            }
        }
    }
}
