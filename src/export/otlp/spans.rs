//! Requests as spans: a SERVER span of our serving it, and below it a CLIENT span of each attempt at an upstream, whose
//! id is the one that the upstream was sent then.
//!
//! Attributes and statuses are those of the stable HTTP semantic conventions. Queries are left out: they may hold
//! secrets.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};

use super::lane::{Batch, Lane};
use super::record::{Record, host_and_port};
use super::sampling::Kept;
use super::transport::encoded;
use crate::model::{Attempt, Outcome, Phase};

/// Gathers spans into batches.
#[derive(Debug)]
pub(super) struct Spans {
    exporter: SpanExporter,
    client: Encoded,
    scope: InstrumentationScope,
    waiting: Vec<SpanData>,
}

impl Spans {
    pub(super) fn try_new(
        lane: Arc<Lane>,
        gzip: bool,
        attributes: &[(String, String)],
    ) -> Result<Self, ExporterBuildError> {
        let client = Encoded {
            lane,
            gzip,
            items: Arc::default(),
        };
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client.clone())
            // Nobody is asked there: the client only takes over what was encoded.
            .with_endpoint("http://localhost/v1/traces")
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .build()?;
        exporter.set_resource(&resource(attributes));
        Ok(Self {
            exporter,
            client,
            scope: InstrumentationScope::builder("vestibule")
                .with_version(env!("CARGO_PKG_VERSION"))
                .with_schema_url(super::metrics::SCHEMA)
                .build(),
            waiting: Vec::new(),
        })
    }

    /// Who sends from now on. Nothing may be waiting.
    pub(super) fn come_from(&mut self, attributes: &[(String, String)]) {
        self.exporter.set_resource(&resource(attributes));
    }

    /// Adds the spans of a request. `path` is its route's, as configured.
    pub(super) async fn push(&mut self, record: &Record<'_>, path: Option<&str>, kept: Kept) {
        let Some(ids) = Ids::of(record) else { return };
        let server = self.server(record, &ids, path, kept);
        self.waiting.push(server);
        for attempt in record.attempts() {
            let client = self.client(record, &ids, &attempt);
            self.waiting.extend(client);
        }
        if self.waiting.len() >= self.client.lane.batch_items() {
            self.flush().await;
        }
    }

    /// Hands over what there is.
    pub(super) async fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let spans = std::mem::take(&mut self.waiting);
        let items = spans.len() as u64;
        self.client.items.store(items, Ordering::Relaxed);
        if let Err(error) = self.exporter.export(spans).await {
            tracing::error!(%error, items, "spans cannot be encoded");
            self.client.lane.lost(super::lane::Reason::Refused, items);
        }
    }

    fn server(&self, record: &Record<'_>, ids: &Ids, path: Option<&str>, kept: Kept) -> SpanData {
        let method = record.known_method();
        let shown = if method == "_OTHER" { "HTTP" } else { method };
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("url.scheme", text(record.scheme)),
            KeyValue::new("url.path", text(record.path)),
            KeyValue::new("network.protocol.version", record.version()),
            KeyValue::new("client.address", record.client.to_string()),
            KeyValue::new("vestibule.route", text(record.route)),
            KeyValue::new("vestibule.outcome", record.outcome.as_str()),
            KeyValue::new("vestibule.sampled_by", kept.as_str()),
        ];
        if method == "_OTHER" {
            attributes.push(KeyValue::new(
                "http.request.method_original",
                text(record.method),
            ));
        }
        let (host, port) = host_and_port(record.host);
        attributes.push(KeyValue::new("server.address", host));
        attributes.extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
        if !record.user_agent.is_empty() {
            attributes.push(KeyValue::new(
                "user_agent.original",
                text(record.user_agent),
            ));
        }
        attributes.extend(path.map(|path| KeyValue::new("http.route", path.to_owned())));
        attributes.extend(status_code(record.status));
        attributes.extend(
            record
                .error_type()
                .map(|error| KeyValue::new("error.type", error)),
        );
        let side = record.outcome.fault().map(|fault| fault.side().as_str());
        attributes.extend(side.map(|side| KeyValue::new("vestibule.side", side)));
        for (phase, micros) in Phase::ALL.iter().zip(record.phases) {
            let key = match phase {
                Phase::Edge => "vestibule.phase.edge_us",
                Phase::Connect => "vestibule.phase.connect_us",
                Phase::Wait => "vestibule.phase.wait_us",
                Phase::Body => "vestibule.phase.body_us",
            };
            attributes.extend(micros.map(|micros| KeyValue::new(key, i64::from(micros))));
        }
        // 4xx is no error of the server (HTTP semantic conventions, "Status").
        let failed = matches!(record.outcome, Outcome::Bad(_))
            || record.status.is_some_and(|status| status >= 500);
        let (start, end) = record.span_ns();
        SpanData {
            span_context: ids.context(ids.server),
            parent_span_id: ids.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: ids.parent.is_some(),
            span_kind: SpanKind::Server,
            name: match path {
                Some(path) => format!("{shown} {path}").into(),
                None => shown.into(),
            },
            attributes,
            status: status(failed),
            ..self.span(ids, start, end)
        }
    }

    fn client(&self, record: &Record<'_>, ids: &Ids, attempt: &Attempt<&[u8]>) -> Option<SpanData> {
        let Attempt {
            endpoint,
            ordinal,
            began_us,
            ended_us,
            status: answered,
            fault,
        } = *attempt;
        let method = record.known_method();
        let shown = if method == "_OTHER" { "HTTP" } else { method };
        let (host, port) = host_and_port(endpoint);
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            // Without the query, which may hold secrets.
            KeyValue::new(
                "url.full",
                format!("{}{}", text(endpoint), text(record.path)),
            ),
            KeyValue::new("network.protocol.version", "1.1"),
            KeyValue::new("server.address", host),
        ];
        attributes.extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
        if method == "_OTHER" {
            attributes.push(KeyValue::new(
                "http.request.method_original",
                text(record.method),
            ));
        }
        if ordinal > 0 {
            attributes.push(KeyValue::new(
                "http.request.resend_count",
                i64::from(ordinal),
            ));
        }
        attributes.extend(status_code(answered));
        // 4xx is an error for whoever asked, who are we. An attempt that we gave up since nobody waits for it any more is
        // none (HTTP semantic conventions, "Status").
        let error = match (fault, answered) {
            (Some(fault), _) => Some(fault.as_str().to_owned()),
            (None, Some(status)) if status >= 400 => Some(status.to_string()),
            (None, _) => None,
        };
        let failed = error.is_some();
        attributes.extend(error.map(|error| KeyValue::new("error.type", error)));
        let (start, end) = record.span_ns();
        let since_start = |micros: u32| start.saturating_add(u64::from(micros) * 1_000).min(end);
        Some(SpanData {
            span_context: ids.context(SpanId::from(record.attempt_span(attempt)?)),
            parent_span_id: ids.server,
            parent_span_is_remote: false,
            span_kind: SpanKind::Client,
            name: shown.into(),
            attributes,
            status: status(failed),
            ..self.span(
                ids,
                since_start(began_us),
                ended_us.map_or(end, since_start),
            )
        })
    }

    /// What all spans have alike.
    fn span(&self, ids: &Ids, start: u64, end: u64) -> SpanData {
        SpanData {
            span_context: ids.context(ids.server),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "".into(),
            start_time: time(start),
            end_time: time(end),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

fn resource(attributes: &[(String, String)]) -> Resource {
    let attributes = attributes.iter();
    let attributes = attributes.map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty()
        .with_attributes(attributes)
        .build()
}

struct Ids {
    trace: TraceId,
    server: SpanId,
    parent: Option<SpanId>,
    sampled: bool,
}

impl Ids {
    fn of(record: &Record<'_>) -> Option<Self> {
        let hex = |text| std::str::from_utf8(text).ok();
        Some(Self {
            trace: TraceId::from_hex(hex(record.trace_id)?).ok()?,
            server: SpanId::from(record.server_span()?),
            parent: hex(record.parent_id)
                .filter(|parent| !parent.is_empty())
                .and_then(|parent| SpanId::from_hex(parent).ok()),
            sampled: record.sampled,
        })
    }

    fn context(&self, span: SpanId) -> SpanContext {
        let flags = TraceFlags::default().with_sampled(self.sampled);
        SpanContext::new(self.trace, span, flags, false, TraceState::default())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn status_code(status: Option<u16>) -> Option<KeyValue> {
    status.map(|status| KeyValue::new("http.response.status_code", i64::from(status)))
}

/// Without a description: `error.type` says more.
fn status(failed: bool) -> Status {
    if failed {
        Status::error("")
    } else {
        Status::Unset
    }
}

fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

/// Takes over what `opentelemetry-otlp` has encoded.
#[derive(Clone, Debug)]
struct Encoded {
    lane: Arc<Lane>,
    gzip: bool,
    /// Spans in what is being encoded. Atomic because the client must be shareable; only one thread uses it.
    items: Arc<AtomicU64>,
}

impl HttpClient for Encoded {
    // Written out as its macro would, which is not worth a dependency.
    fn send_bytes<'client, 'future>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'client: 'future,
        Self: 'future,
    {
        let body = encoded(request.into_body().to_vec(), self.gzip);
        let items = self.items.load(Ordering::Relaxed);
        self.lane.push(Batch { body, items });
        Box::pin(std::future::ready(Ok(Response::new(Bytes::new()))))
    }
}
