//! An OTLP receiver that decodes and checks everything it is sent, and misbehaves as it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// Attributes, sorted by key.
pub(super) type Attributes = BTreeMap<String, String>;

/// What the receiver does with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Takes it.
    Takes,
    /// Answers this status, perhaps with `Retry-After`.
    Answers(u16, Option<u64>),
    /// Takes it but for so many items.
    TakesBut(i64),
    /// Takes it after so many milliseconds.
    Dawdles(u64),
    /// Never answers.
    Hangs,
    /// Answers with something that is not HTTP.
    Babbles,
}

/// Everything that was taken.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) batches: usize,
    /// Refused, unanswered and babbled at.
    pub(super) turned_away: usize,
    pub(super) headers: HeaderMap,
    pub(super) resource: Attributes,
    /// The newest value of cumulative points and the sum of deltas, by name and attributes.
    pub(super) numbers: BTreeMap<(String, Attributes), f64>,
    /// Count and sum of exponential histograms likewise.
    pub(super) histograms: BTreeMap<(String, Attributes), (u64, f64)>,
    pub(super) units: BTreeMap<String, String>,
    pub(super) spans: Vec<Span>,
    pub(super) records: Vec<LogRecord>,
    /// By path, the hash of the configuration that the SERVER span's resource names.
    pub(super) span_hashes: BTreeMap<String, String>,
    /// The same of log records.
    pub(super) record_hashes: BTreeMap<String, String>,
    /// Start and time of each stream's newest point.
    times: BTreeMap<(String, Attributes), (u64, u64)>,
    /// What was wrong. Looked at by every question, since a panic on the receiver's thread would be overheard.
    wrong: Vec<String>,
}

struct Shared {
    taken: Mutex<Taken>,
    manner: Mutex<Manner>,
    grpc: bool,
}

/// A running receiver.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    pub(super) fn http() -> Self {
        Self::start("127.0.0.1:0".parse().unwrap(), false, None)
    }

    pub(super) fn grpc() -> Self {
        Self::start("127.0.0.1:0".parse().unwrap(), true, None)
    }

    pub(super) fn tls(tls: rustls::ServerConfig, grpc: bool) -> Self {
        Self::start("127.0.0.1:0".parse().unwrap(), grpc, Some(Arc::new(tls)))
    }

    /// Where another one was.
    pub(super) fn at(address: SocketAddr) -> Self {
        Self::start(address, false, None)
    }

    fn start(address: SocketAddr, grpc: bool, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let shared = Arc::new(Shared {
            taken: Mutex::default(),
            manner: Mutex::new(Manner::Takes),
            grpc,
        });
        let (stop, stopped) = oneshot::channel();
        let (told, tells) = std::sync::mpsc::sync_channel(1);
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_reuseaddr(true).unwrap();
                socket.bind(address).unwrap();
                let listener = socket.listen(64).unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                let accept = async {
                    loop {
                        let (stream, _) = listener.accept().await.unwrap();
                        let (shared, tls) = (Arc::clone(&serving), tls.clone());
                        tokio::spawn(async move {
                            match tls {
                                None => serve(stream, shared).await,
                                Some(tls) => {
                                    // A client without a certificate fails here.
                                    if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await
                                    {
                                        serve(stream, shared).await;
                                    }
                                }
                            }
                        });
                    }
                };
                tokio::select! { () = accept => {}, _ = stopped => {} }
            });
        });
        Self {
            address: tells.recv().unwrap(),
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// As `otlp.endpoint`.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn set(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// What was taken so far.
    ///
    /// # Panics
    /// When anything in it was wrong.
    pub(super) fn taken(&self) -> MutexGuard<'_, Taken> {
        let taken = self
            .shared
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        assert!(taken.wrong.is_empty(), "{:#?}", taken.wrong);
        taken
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

impl Taken {
    /// A number by its attributes.
    pub(super) fn number(&self, name: &str, attributes: &[(&str, &str)]) -> Option<u64> {
        self.numbers
            .get(&(name.to_owned(), self::attributes(attributes)))
            .map(|value| *value as u64)
    }

    /// Good, bad and excluded requests of route `shop`.
    pub(super) fn shop(&self) -> [u64; 3] {
        ["good", "bad", "excluded"].map(|outcome| {
            self.number(
                "vestibule.requests",
                &[("route", "shop"), ("outcome", outcome)],
            )
            .unwrap_or(0)
        })
    }
}

fn attributes(pairs: &[(&str, &str)]) -> Attributes {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, shared: Arc<Shared>) {
    if *shared.manner.lock().unwrap() == Manner::Babbles {
        let mut stream = stream;
        shared.taken.lock().unwrap().turned_away += 1;
        drop(tokio::io::AsyncWriteExt::write_all(&mut stream, b"\x16\x03garbage\0\r\n\r\n").await);
        return;
    }
    let grpc = shared.grpc;
    let answer = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    let stream = TokioIo::new(stream);
    // A connection that its client closes has ended well.
    if grpc {
        drop(
            http2::Builder::new(TokioExecutor::new())
                .serve_connection(stream, answer)
                .await,
        );
    } else {
        drop(http1::Builder::new().serve_connection(stream, answer).await);
    }
}

type Body = BoxBody<Bytes, Infallible>;

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let manner = *shared.manner.lock().unwrap();
    if !matches!(
        manner,
        Manner::Takes | Manner::TakesBut(_) | Manner::Dawdles(_)
    ) {
        shared.taken.lock().unwrap().turned_away += 1;
    }
    let rejected = match manner {
        Manner::Takes => 0,
        Manner::Dawdles(millis) => {
            tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
            0
        }
        Manner::TakesBut(rejected) => rejected,
        Manner::Hangs => std::future::pending().await,
        // Only new connections are babbled at; this one is ended.
        Manner::Babbles => {
            return Response::builder()
                .status(502)
                .header("connection", "close")
                .body(full(""))
                .unwrap();
        }
        Manner::Answers(status, after) => {
            let mut response = Response::builder().status(status);
            if let Some(after) = after {
                response = response.header("retry-after", after);
            }
            return response.body(full("no\x1b[2J")).unwrap();
        }
    };
    let message = plain(&head.headers, &body, shared.grpc);
    let mut taken = shared.taken.lock().unwrap();
    if let Err(why) = message.and_then(|message| {
        take(
            &mut taken,
            head.uri.path(),
            &head.headers,
            &message,
            shared.grpc,
        )
    }) {
        taken.wrong.push(why);
    }
    taken.batches += 1;
    taken.headers = head.headers;
    let response = ExportMetricsServiceResponse {
        partial_success: (rejected > 0).then(|| ExportMetricsPartialSuccess {
            rejected_data_points: rejected,
            error_message: "too many".to_owned(),
        }),
    };
    let response = response.encode_to_vec();
    if shared.grpc {
        let mut framed = vec![0];
        framed.extend((response.len() as u32).to_be_bytes());
        framed.extend(response);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let parts = [
            Ok(Frame::data(Bytes::from(framed))),
            Ok(Frame::trailers(trailers)),
        ];
        let body = StreamBody::new(Frames(parts.into_iter())).boxed();
        return Response::builder()
            .header("content-type", "application/grpc")
            .body(body)
            .unwrap();
    }
    Response::builder()
        .header("content-type", "application/x-protobuf")
        .body(full(response))
        .unwrap()
}

/// An iterator as a stream.
struct Frames<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Frames<I> {
    type Item = I::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

/// The message in a request's body.
fn plain(headers: &HeaderMap, body: &[u8], grpc: bool) -> Result<Vec<u8>, String> {
    let field = |name: &str| {
        headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    };
    let (wanted, encoding) = if grpc {
        ("application/grpc", field("grpc-encoding"))
    } else {
        ("application/x-protobuf", field("content-encoding"))
    };
    if field("content-type") != wanted {
        return Err(format!("the content type is {}", field("content-type")));
    }
    let (compressed, body) = if grpc {
        if field("te") != "trailers" {
            return Err("gRPC without te: trailers".to_owned());
        }
        let (flag, rest) = body.split_first().ok_or("an empty message")?;
        let (length, message) = rest.split_first_chunk().ok_or("half a prefix")?;
        if u32::from_be_bytes(*length) as usize != message.len() {
            return Err("the message is not as long as its prefix says".to_owned());
        }
        (*flag == 1, message)
    } else {
        (encoding == "gzip", body)
    };
    if !compressed {
        return Ok(body.to_vec());
    }
    if encoding != "gzip" {
        return Err(format!("compressed as {encoding:?}"));
    }
    let mut message = Vec::new();
    let read = flate2::read::GzDecoder::new(body).read_to_end(&mut message);
    read.map(|_| message)
        .map_err(|error| format!("not gzip: {error}"))
}

/// Decodes a message; one with fields that nobody knows is longer than what is known of it.
fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, String> {
    let message = M::decode(bytes).map_err(|error| format!("not protobuf: {error}"))?;
    if message.encoded_len() == bytes.len() {
        Ok(message)
    } else {
        Err("there are fields that no OTLP message has".to_owned())
    }
}

fn take(
    taken: &mut Taken,
    path: &str,
    headers: &HeaderMap,
    message: &[u8],
    grpc: bool,
) -> Result<(), String> {
    if !headers.contains_key("user-agent") {
        return Err("there is no user agent".to_owned());
    }
    let of = |http: &str, service: &str| {
        path == if grpc {
            format!("/opentelemetry.proto.collector.{service}/Export")
        } else {
            http.to_owned()
        }
    };
    if of("/v1/metrics", "metrics.v1.MetricsService") {
        take_metrics(taken, &decode(message)?)
    } else if of("/v1/traces", "trace.v1.TraceService") {
        take_spans(taken, decode(message)?)
    } else if of("/v1/logs", "logs.v1.LogsService") {
        take_records(taken, decode(message)?)
    } else {
        Err(format!("nothing is at {path}"))
    }
}

/// Attributes by key. No key may be empty or there twice.
pub(super) fn by_key(attributes: &[KeyValue]) -> Result<Attributes, String> {
    let mut map = Attributes::new();
    for KeyValue { key, value, .. } in attributes {
        let value = match value {
            Some(AnyValue {
                value: Some(Value::StringValue(text)),
            }) => text.clone(),
            Some(AnyValue {
                value: Some(Value::IntValue(number)),
            }) => number.to_string(),
            Some(AnyValue {
                value: Some(Value::BoolValue(flag)),
            }) => flag.to_string(),
            Some(AnyValue {
                value: Some(Value::DoubleValue(number)),
            }) => number.to_string(),
            other => return Err(format!("attribute {key} is {other:?}")),
        };
        if key.is_empty() || map.insert(key.clone(), value).is_some() {
            return Err(format!("attribute {key:?} is there twice or has no name"));
        }
    }
    Ok(map)
}

fn take_resource(taken: &mut Taken, resource: Option<&Resource>) -> Result<(), String> {
    let resource = resource.ok_or("there is no resource")?;
    taken.resource = by_key(&resource.attributes)?;
    for key in ["service.name", "service.instance.id", "service.version"] {
        if !taken.resource.contains_key(key) {
            return Err(format!("the resource has no {key}"));
        }
    }
    Ok(())
}

fn take_metrics(taken: &mut Taken, request: &ExportMetricsServiceRequest) -> Result<(), String> {
    for resource in &request.resource_metrics {
        take_resource(taken, resource.resource.as_ref())?;
        for scope in &resource.scope_metrics {
            if scope
                .scope
                .as_ref()
                .is_none_or(|scope| scope.name.is_empty() || scope.version.is_empty())
            {
                return Err("the scope has no name or no version".to_owned());
            }
            let mut names = BTreeSet::new();
            for metric in &scope.metrics {
                let name = &metric.name;
                if name.is_empty() || !names.insert(name) || metric.description.is_empty() {
                    return Err(format!(
                        "{name:?} is there twice, or without name or description"
                    ));
                }
                taken.units.insert(name.clone(), metric.unit.clone());
                take_metric(
                    taken,
                    name,
                    metric.data.as_ref().ok_or("a metric without data")?,
                )?;
            }
        }
    }
    Ok(())
}

/// Cumulative, as OTLP numbers it.
const CUMULATIVE: i32 = 2;
const DELTA: i32 = 1;

fn take_metric(taken: &mut Taken, name: &str, data: &Data) -> Result<(), String> {
    match data {
        Data::Gauge(gauge) => {
            for point in &gauge.data_points {
                let (key, value) = number(name, &point.attributes, point.value)?;
                taken.numbers.insert(key, value);
            }
        }
        Data::Sum(sum) => {
            if !sum.is_monotonic {
                return Err(format!("{name} is not monotonic"));
            }
            for point in &sum.data_points {
                let (key, value) = number(name, &point.attributes, point.value)?;
                let times = (point.start_time_unix_nano, point.time_unix_nano);
                taken.check_times(&key, times, sum.aggregation_temporality)?;
                let known = taken.numbers.entry(key.clone()).or_default();
                match sum.aggregation_temporality {
                    CUMULATIVE if value < *known => {
                        return Err(format!("{key:?} fell from {known} to {value}"));
                    }
                    CUMULATIVE => *known = value,
                    DELTA if value < 0.0 => return Err(format!("{key:?} is {value}")),
                    DELTA => *known += value,
                    other => return Err(format!("{name} has temporality {other}")),
                }
            }
        }
        Data::ExponentialHistogram(histogram) => {
            for point in &histogram.data_points {
                let key = (name.to_owned(), by_key(&point.attributes)?);
                let times = (point.start_time_unix_nano, point.time_unix_nano);
                taken.check_times(&key, times, histogram.aggregation_temporality)?;
                let positive = point
                    .positive
                    .as_ref()
                    .ok_or("a histogram without buckets")?;
                let inside: u64 = positive.bucket_counts.iter().sum();
                let sum = point.sum.ok_or("a histogram without a sum")?;
                if inside + point.zero_count != point.count || point.negative.is_some() {
                    return Err(format!(
                        "{key:?}: {inside} in buckets, {} counted",
                        point.count
                    ));
                }
                let base = f64::exp2(f64::exp2(f64::from(-point.scale)));
                let bound = |index: i32| base.powi(positive.offset + index);
                // No distribution can have a sum outside of what its buckets allow, but for HDR's percent.
                let (mut least, mut most) = (0.0, 0.0);
                for (index, count) in (0..).zip(&positive.bucket_counts) {
                    least += bound(index) * *count as f64;
                    most += bound(index + 1) * *count as f64;
                }
                if sum < least * 0.99 - 1e-6 || sum > most * 1.01 + 1e-6 {
                    return Err(format!(
                        "{key:?}: a sum of {sum}, buckets allow {least} to {most}"
                    ));
                }
                let known = taken.histograms.entry(key.clone()).or_default();
                if histogram.aggregation_temporality == DELTA {
                    *known = (known.0 + point.count, known.1 + sum);
                } else if point.count < known.0 {
                    return Err(format!("{key:?} fell from {} to {}", known.0, point.count));
                } else {
                    *known = (point.count, sum);
                }
            }
        }
        Data::Histogram(_) | Data::Summary(_) => return Err(format!("{name} is not of our kinds")),
    }
    Ok(())
}

fn number(
    name: &str,
    attributes: &[KeyValue],
    value: Option<Number>,
) -> Result<((String, Attributes), f64), String> {
    let value = match value {
        Some(Number::AsInt(value)) => value as f64,
        Some(Number::AsDouble(value)) => value,
        None => return Err(format!("{name} has no value")),
    };
    if !value.is_finite() {
        return Err(format!("{name} is {value}"));
    }
    Ok(((name.to_owned(), by_key(attributes)?), value))
}

impl Taken {
    /// A point covers a span, and the points of a stream follow each other without overlap.
    fn check_times(
        &mut self,
        key: &(String, Attributes),
        times: (u64, u64),
        temporality: i32,
    ) -> Result<(), String> {
        let (start, time) = times;
        if start == 0 || start >= time {
            return Err(format!("{key:?} spans from {start} to {time}"));
        }
        if let Some((start_before, time_before)) = self.times.insert(key.clone(), times) {
            let follows = if temporality == DELTA {
                start >= time_before
            } else {
                start == start_before
            };
            if !follows || time <= time_before {
                return Err(format!(
                    "{key:?}: {start} to {time} after {start_before} to {time_before}"
                ));
            }
        }
        Ok(())
    }
}

fn take_spans(taken: &mut Taken, request: ExportTraceServiceRequest) -> Result<(), String> {
    for resource in request.resource_spans {
        take_resource(taken, resource.resource.as_ref())?;
        for span in resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans)
        {
            let hash = taken.resource.get("vestibule.config.hash").cloned();
            if let (Some(path), Some(hash)) = (by_key(&span.attributes)?.remove("url.path"), hash) {
                taken.span_hashes.insert(path, hash);
            }
            let ids = span.trace_id.len() == 16
                && span.span_id.len() == 8
                && matches!(span.parent_span_id.len(), 0 | 8);
            let zero = |id: &[u8]| id.iter().all(|byte| *byte == 0);
            if !ids || zero(&span.trace_id) || zero(&span.span_id) {
                return Err(format!("span {} has malformed ids", span.name));
            }
            if span.start_time_unix_nano == 0 || span.end_time_unix_nano < span.start_time_unix_nano
            {
                return Err(format!("span {} ends before it starts", span.name));
            }
            taken.spans.push(span);
        }
    }
    Ok(())
}

fn take_records(taken: &mut Taken, request: ExportLogsServiceRequest) -> Result<(), String> {
    for resource in request.resource_logs {
        take_resource(taken, resource.resource.as_ref())?;
        for record in resource
            .scope_logs
            .into_iter()
            .flat_map(|scope| scope.log_records)
        {
            let hash = taken.resource.get("vestibule.config.hash").cloned();
            if let (Some(path), Some(hash)) = (by_key(&record.attributes)?.remove("url.path"), hash)
            {
                taken.record_hashes.insert(path, hash);
            }
            if record.time_unix_nano == 0 || record.severity_number == 0 {
                return Err("a record without time or severity".to_owned());
            }
            taken.records.push(record);
        }
    }
    Ok(())
}
