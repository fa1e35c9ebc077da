//! Requests as log records: what the access log says, in OpenTelemetry's words, and to which trace it belongs.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::lane::{Batch, Lane};
use super::metrics::SCHEMA;
use super::record::{Record, host_and_port};
use super::resource::{attribute, resource, scope, text};
use super::transport::encoded;
use crate::model::{Outcome, Phase};

/// Gathers log records into batches.
#[derive(Debug)]
pub(super) struct Logs {
    lane: Arc<Lane>,
    gzip: bool,
    resource: Resource,
    waiting: Vec<LogRecord>,
}

impl Logs {
    pub(super) fn new(lane: Arc<Lane>, gzip: bool, attributes: &[(String, String)]) -> Self {
        Self {
            lane,
            gzip,
            resource: resource(attributes),
            waiting: Vec::new(),
        }
    }

    /// Who sends from now on. Nothing may be waiting.
    pub(super) fn come_from(&mut self, attributes: &[(String, String)]) {
        self.resource = resource(attributes);
    }

    /// Adds a request. `path` is its route's, as configured.
    pub(super) fn push(&mut self, record: &Record<'_>, path: Option<&str>) {
        self.waiting.push(log_record(record, path));
        if self.waiting.len() >= self.lane.batch_items() {
            self.flush();
        }
    }

    /// Hands over what there is.
    pub(super) fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let log_records = std::mem::take(&mut self.waiting);
        let items = log_records.len() as u64;
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(self.resource.clone()),
                scope_logs: vec![ScopeLogs {
                    scope: Some(scope()),
                    log_records,
                    schema_url: SCHEMA.to_owned(),
                }],
                schema_url: SCHEMA.to_owned(),
            }],
        };
        let body = encoded(request.encode_to_vec(), self.gzip);
        self.lane.push(Batch { body, items });
    }
}

fn log_record(record: &Record<'_>, path: Option<&str>) -> LogRecord {
    let (severity, severity_text) = match record.outcome {
        Outcome::Bad(_) => (SeverityNumber::Error, "ERROR"),
        Outcome::Good | Outcome::Excluded(_) => (SeverityNumber::Info, "INFO"),
    };
    let (_, time) = record.span_ns();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let number = |key: &str, value: u64| attribute(key, Value::IntValue(value as i64));
    let mut attributes = vec![
        text("http.request.method", record.known_method()),
        text("url.scheme", said(record.scheme)),
        text("url.path", said(record.path)),
        text("network.protocol.version", record.version()),
        text("client.address", record.client.to_string()),
        text("user_agent.original", said(record.user_agent)),
        text("vestibule.route", said(record.route)),
        text("vestibule.outcome", record.outcome.as_str()),
        text("vestibule.request_id", said(record.request_id)),
        text("vestibule.endpoint", said(record.endpoint())),
        number("vestibule.duration_us", record.duration_us),
        number("vestibule.attempts", u64::from(record.attempts_made)),
        number("http.request.body.size", record.bytes_in),
        number("http.response.body.size", record.bytes_out),
    ];
    let (host, port) = host_and_port(record.host);
    attributes.push(text("server.address", host));
    attributes.extend(port.map(|port| number("server.port", u64::from(port))));
    attributes.extend(path.map(|path| text("http.route", path)));
    attributes.extend(
        record
            .status
            .map(|status| number("http.response.status_code", u64::from(status))),
    );
    attributes.extend(record.error_type().map(|error| text("error.type", error)));
    let side = record.outcome.fault().map(|fault| fault.side().as_str());
    attributes.extend(side.map(|side| text("vestibule.side", side)));
    for (phase, micros) in Phase::ALL.iter().zip(record.phases) {
        let key = || format!("vestibule.phase.{}_us", phase.as_str());
        attributes.extend(micros.map(|micros| number(&key(), u64::from(micros))));
    }
    attributes.retain(is_said);
    let status = record
        .status
        .map_or("-".to_owned(), |status| status.to_string());
    let line = format!("{} {} {status}", record.known_method(), said(record.path));
    LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time,
        severity_number: severity.into(),
        severity_text: severity_text.to_owned(),
        body: Some(AnyValue {
            value: Some(Value::StringValue(line)),
        }),
        attributes,
        flags: u32::from(record.sampled),
        trace_id: bytes(record.trace_id).unwrap_or_default(),
        span_id: record
            .server_span()
            .map_or_else(Vec::new, |span| span.to_be_bytes().to_vec()),
        event_name: "vestibule.request".to_owned(),
        ..LogRecord::default()
    }
}

/// Requests that could not be read have neither method nor path nor host.
fn is_said(attribute: &KeyValue) -> bool {
    let value = attribute
        .value
        .as_ref()
        .and_then(|value| value.value.as_ref());
    !matches!(value, Some(Value::StringValue(text)) if text.is_empty())
}

/// The bytes of hexadecimal digits; `None` when they are none.
fn bytes(hex: &[u8]) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    hex.chunks(2).map(pair).collect()
}
