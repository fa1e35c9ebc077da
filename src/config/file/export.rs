//! `[otlp]`: what is exported to an OpenTelemetry receiver.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::{HOUR, KIB, MIB, MILLISECOND, SECOND};
use crate::config::keys::{Keys, Located, Section};
use crate::config::kind::{
    ATTRIBUTE, Count, FILE, Flag, HEADER_PAIR, NAME, RECEIVER, Ratio, ReceiverUrl, Size, Time, Word,
};
use crate::export::otlp::{Protocol, Temporality};

/// `[otlp]`
#[derive(Clone, Debug)]
pub(in crate::config) struct Otlp {
    pub(in crate::config) endpoint: Option<Located<ReceiverUrl>>,
    pub(in crate::config) protocol: Option<Located<Protocol>>,
    pub(in crate::config) headers: Vec<Located<(HeaderName, HeaderValue)>>,
    pub(in crate::config) gzip: Option<Located<bool>>,
    pub(in crate::config) timeout: Option<Located<Duration>>,
    pub(in crate::config) roots_file: Option<Located<PathBuf>>,
    pub(in crate::config) certificate_file: Option<Located<PathBuf>>,
    pub(in crate::config) key_file: Option<Located<PathBuf>>,
    pub(in crate::config) service_name: Option<Located<String>>,
    pub(in crate::config) resource: Vec<Located<(String, String)>>,
    pub(in crate::config) queue_size: Located<u64>,
    pub(in crate::config) flush: Located<Duration>,
    pub(in crate::config) metrics: OtlpMetrics,
    pub(in crate::config) traces: OtlpTraces,
    pub(in crate::config) logs: OtlpLogs,
}

const PROTOCOL: Word<Protocol> =
    Word(&[("http/protobuf", Protocol::Http), ("grpc", Protocol::Grpc)]);

const COMPRESSION: Word<bool> = Word(&[("gzip", true), ("none", false)]);

impl Section for Otlp {
    const TITLE: &'static str = "`[otlp]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            endpoint: keys.optional(
                "endpoint",
                &RECEIVER,
                "`OTEL_EXPORTER_OTLP_ENDPOINT`, else nothing is exported",
                "The receiver of all signals. Over HTTP, `/v1/metrics` and its like are appended.",
            ),
            protocol: keys.optional(
                "protocol",
                &PROTOCOL,
                "`OTEL_EXPORTER_OTLP_PROTOCOL`, else `http/protobuf`",
                "How the receiver is spoken to.",
            ),
            headers: keys.list(
                "headers",
                &HEADER_PAIR,
                64,
                "`OTEL_EXPORTER_OTLP_HEADERS`",
                "Headers of every request, as `name=value`; keep secrets in variables.",
            ),
            gzip: keys.optional(
                "compression",
                &COMPRESSION,
                "`OTEL_EXPORTER_OTLP_COMPRESSION`, else `gzip`",
                "How messages are compressed.",
            ),
            timeout: keys.optional(
                "timeout",
                &Time(MILLISECOND..=SECOND * 300),
                "`OTEL_EXPORTER_OTLP_TIMEOUT`, else `10s`",
                "For one attempt. Failed ones are repeated after 1 to 30 seconds, or when the receiver says so.",
            ),
            roots_file: keys.optional(
                "roots_file",
                &FILE,
                "`OTEL_EXPORTER_OTLP_CERTIFICATE`, else the system's",
                "PEM certificates of the issuers that an https:// receiver is verified by.",
            ),
            certificate_file: keys.optional(
                "certificate_file",
                &FILE,
                "`OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`",
                "Our PEM certificate chain, for receivers that ask for one.",
            ),
            key_file: keys.optional(
                "key_file",
                &FILE,
                "`OTEL_EXPORTER_OTLP_CLIENT_KEY`",
                "The PEM key of `certificate_file`.",
            ),
            service_name: keys.optional(
                "service_name",
                &NAME,
                "`OTEL_SERVICE_NAME`, else `vestibule`",
                "The resource attribute `service.name`.",
            ),
            resource: keys.list(
                "resource",
                &ATTRIBUTE,
                64,
                "`OTEL_RESOURCE_ATTRIBUTES`, to which these are added",
                "Further resource attributes, as `key=value`. `service.instance.id` is the instance's name.",
            ),
            queue_size: keys.or(
                "queue_size",
                &Size(64 * KIB..=256 * MIB),
                8 * MIB,
                "How much of each signal may wait for the receiver. Beyond it, new telemetry is dropped and counted.",
            ),
            flush: keys.or(
                "flush",
                &Time(Duration::ZERO..=SECOND * 60),
                SECOND * 5,
                "For what waits when Vestibule stops.",
            ),
            metrics: keys.table("metrics", "Measurements: durations, outcomes, SLOs, and how Vestibule itself fares."),
            traces: keys.table(
                "traces",
                "Requests as spans: one of serving them, and one of asking the upstream.",
            ),
            logs: keys.table(
                "logs",
                "Requests as log records, with the ids of their traces. They are as many as requests.",
            ),
        }
    }
}

/// `[otlp.metrics]`
#[derive(Clone, Debug)]
pub(in crate::config) struct OtlpMetrics {
    pub(in crate::config) enabled: Option<Located<bool>>,
    pub(in crate::config) endpoint: Option<Located<ReceiverUrl>>,
    pub(in crate::config) interval: Option<Located<Duration>>,
    pub(in crate::config) temporality: Option<Located<Temporality>>,
}

const TEMPORALITY: Word<Temporality> = Word(&[
    ("cumulative", Temporality::Cumulative),
    ("delta", Temporality::Delta),
]);

impl Section for OtlpMetrics {
    const TITLE: &'static str = "`[otlp.metrics]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            enabled: keys.optional(
                "enabled",
                &Flag,
                "`OTEL_METRICS_EXPORTER`, else when there is an endpoint",
                "Whether they are exported.",
            ),
            endpoint: keys.optional(
                "endpoint",
                &RECEIVER,
                "`OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`, else that of `[otlp]`",
                "The receiver of measurements, its path included.",
            ),
            interval: keys.optional(
                "interval",
                &Time(SECOND..=HOUR),
                "`OTEL_METRIC_EXPORT_INTERVAL`, else `15s`",
                "How often they are sent.",
            ),
            temporality: keys.optional(
                "temporality",
                &TEMPORALITY,
                "`OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`, else `cumulative`",
                "Whether counters say everything since they began, or what was added since the message before.",
            ),
        }
    }
}

/// `[otlp.traces]`
#[derive(Clone, Debug)]
pub(in crate::config) struct OtlpTraces {
    pub(in crate::config) enabled: Option<Located<bool>>,
    pub(in crate::config) endpoint: Option<Located<ReceiverUrl>>,
    pub(in crate::config) ratio: Option<Located<f64>>,
    pub(in crate::config) keep_per_second: Located<usize>,
    pub(in crate::config) slow: Option<Located<Duration>>,
    pub(in crate::config) marks_all: Located<bool>,
}

const MARKS: Word<bool> = Word(&[("all", true), ("ratio", false)]);

impl Section for OtlpTraces {
    const TITLE: &'static str = "`[otlp.traces]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            enabled: keys.optional(
                "enabled",
                &Flag,
                "`OTEL_TRACES_EXPORTER`, else when there is an endpoint",
                "Whether they are exported.",
            ),
            endpoint: keys.optional(
                "endpoint",
                &RECEIVER,
                "`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, else that of `[otlp]`",
                "The receiver of spans, its path included.",
            ),
            ratio: keys.optional(
                "ratio",
                &Ratio,
                "`OTEL_TRACES_SAMPLER` with `OTEL_TRACES_SAMPLER_ARG`, else `0.01`",
                "The share of traces that begin here which is exported. Of a trace that a client began, its own \
                 decision holds.",
            ),
            keep_per_second: keys.or(
                "keep_per_second",
                &Count(0..=10_000),
                10,
                "How many requests a second are exported although not sampled, because they were bad or slow.",
            ),
            slow: keys.optional(
                "slow",
                &Time(MILLISECOND..=HOUR),
                "what a latency SLO of the route calls slow",
                "Requests longer than this are slow on any route.",
            ),
            marks_all: keys.or(
                "mark",
                &MARKS,
                true,
                "Which traces that begin here are marked as sampled for the services behind: `all`, so that those go on \
                 tracing what they did, or only the `ratio`, so that traces are whole.",
            ),
        }
    }
}

/// `[otlp.logs]`
#[derive(Clone, Debug)]
pub(in crate::config) struct OtlpLogs {
    pub(in crate::config) enabled: Option<Located<bool>>,
    pub(in crate::config) endpoint: Option<Located<ReceiverUrl>>,
}

impl Section for OtlpLogs {
    const TITLE: &'static str = "`[otlp.logs]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            enabled: keys.optional(
                "enabled",
                &Flag,
                "`OTEL_LOGS_EXPORTER`, else `false`",
                "Whether they are exported.",
            ),
            endpoint: keys.optional(
                "endpoint",
                &RECEIVER,
                "`OTEL_EXPORTER_OTLP_LOGS_ENDPOINT`, else that of `[otlp]`",
                "The receiver of log records, its path included.",
            ),
        }
    }
}
