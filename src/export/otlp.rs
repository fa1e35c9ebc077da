//! OTLP: measurements, spans and access records to an OpenTelemetry receiver.
//!
//! Everything here happens on one thread of its own, away from requests and from the second's tick. What it sends is
//! encoded once and waits in a bounded [`lane`](self) per signal; a receiver that is slow, broken or gone costs
//! memory up to that bound and then telemetry, counted by reason, never traffic. Lanes recover by themselves.
//!
//! Messages are those of `opentelemetry-proto`, because the SDK cannot take histograms and counters that somebody else
//! has counted. Spans are encoded by `opentelemetry-otlp`, which is given our lane as its HTTP client. The transport is
//! ours for both: one connection, one set of rules for retrying, one account of what was lost, HTTP and gRPC alike.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::model::TraceShare;

mod answer;
mod delivery;
mod exporter;
mod lane;
mod logs;
mod metrics;
mod record;
mod requests;
mod resource;
mod sampling;
mod spans;
mod transport;

pub use exporter::{Ask, Exporter, Inputs, RECORDS, StartError};
pub use metrics::{Baseline, Measured, Temporality, export_name};
pub use record::write_record;
pub use sampling::Sampling;

/// What is exported, and where to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Measurements; `None`: not exported.
    pub metrics: Option<Metrics>,
    /// Spans; `None`: not exported.
    pub traces: Option<Traces>,
    /// Access records; `None`: not exported.
    pub logs: Option<Receiver>,
    /// Who sends: attributes that every message carries.
    pub resource: Vec<(String, String)>,
    /// For what waits at the end of the process.
    pub flush: Duration,
    /// Encoded bytes of each signal that may wait for a receiver.
    pub queue_bytes: usize,
}

/// The export of measurements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where to.
    pub receiver: Receiver,
    /// How often.
    pub interval: Duration,
    /// What counters say.
    pub temporality: Temporality,
}

/// The export of spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// Where to.
    pub receiver: Receiver,
    /// Which.
    pub sampling: Sampling,
    /// Which traces that begin here are marked as sampled for those that follow.
    pub marked: TraceShare,
}

/// Where a signal goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path of an HTTP request; gRPC has its own.
    pub path: String,
    /// How the receiver is spoken to.
    pub protocol: Protocol,
    /// `https`.
    pub tls: bool,
    /// Roots that verify it instead of the system's.
    pub roots: Option<PathBuf>,
    /// Our certificate chain and key, for receivers that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Headers of every request. May hold secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether bodies are compressed with gzip.
    pub gzip: bool,
    /// For one attempt.
    pub timeout: Duration,
}

/// How a receiver is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC: HTTP/2, one unary call per batch.
    Grpc,
    /// OTLP/HTTP with binary protobuf.
    Http,
}

impl Protocol {
    /// The word of `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http/protobuf",
        }
    }
}

impl fmt::Display for Receiver {
    /// Without headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())?;
        match self.protocol {
            Protocol::Grpc => Ok(()),
            Protocol::Http => f.write_str(&self.path),
        }
    }
}

impl Receiver {
    fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }
}

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Measurements.
    Metrics,
    /// Spans.
    Traces,
    /// Access records.
    Logs,
}

impl Signal {
    /// Every signal, in the order of [`Signal::index`].
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Traces, Self::Logs];

    /// The signal's place in [`Signal::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The signal's word in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
            Self::Logs => "logs",
        }
    }

    /// The path that OTLP/HTTP appends to a base URL (OTLP 1.x, "OTLP/HTTP Request").
    pub const fn http_path(self) -> &'static str {
        match self {
            Self::Metrics => "/v1/metrics",
            Self::Traces => "/v1/traces",
            Self::Logs => "/v1/logs",
        }
    }

    const fn grpc_path(self) -> &'static str {
        match self {
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }
}

impl Config {
    /// Whether nothing is exported.
    pub fn is_off(&self) -> bool {
        self.metrics.is_none() && !self.wants_records()
    }

    /// Whether every request is of interest.
    pub fn wants_records(&self) -> bool {
        self.traces.is_some() || self.logs.is_some()
    }

    /// Which traces that begin here are marked as sampled.
    pub fn marked(&self) -> TraceShare {
        self.traces
            .as_ref()
            .map_or(TraceShare::ALL, |traces| traces.marked)
    }

    /// Which traces that begin here are exported, whatever becomes of the request; `None`: no trace is.
    pub fn exported(&self) -> Option<TraceShare> {
        let share = |traces: &Traces| traces.sampling.share;
        self.traces.as_ref().map(share)
    }

    /// Where a signal goes, if it is exported.
    fn receiver(&self, signal: Signal) -> Option<&Receiver> {
        match signal {
            Signal::Metrics => self.metrics.as_ref().map(|metrics| &metrics.receiver),
            Signal::Traces => self.traces.as_ref().map(|traces| &traces.receiver),
            Signal::Logs => self.logs.as_ref(),
        }
    }
}
