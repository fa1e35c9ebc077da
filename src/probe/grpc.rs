//! Asking a gRPC server whether a service is healthy: one call of `grpc.health.v1.Health/Check` over HTTP/2, with TLS or
//! with prior knowledge.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue, TE, USER_AGENT};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;

use super::definition::HostPort;
use super::run::{Attempt, Failed};
use crate::model::{ProbeFailure, ProbePhase};
use crate::net::stream::Stream;

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `SERVING`, of UNKNOWN, SERVING, `NOT_SERVING` and `SERVICE_UNKNOWN`.
const SERVING: u32 = 1;
const WORDS: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const PATH: &str = "/grpc.health.v1.Health/Check";
/// A compressed flag and a length.
const PREFIX: usize = 5;
/// The answer has two bytes; a page that is no gRPC may be longer.
const MOST_ANSWER: usize = 4 << 10;

/// Asks.
pub(super) async fn run(
    attempt: &mut Attempt<'_>,
    place: &HostPort,
    tls: bool,
) -> Result<(), Failed> {
    let tcp = attempt.connect(place, attempt.manner.connect_to).await?;
    let stream = if tls {
        let tls = attempt.handshake(tcp, place, &[b"h2"]).await?;
        Stream::Tls(Box::new(tls))
    } else {
        Stream::Plain(tcp)
    };
    let scheme = if tls { "https" } else { "http" };
    let service = attempt.manner.grpc_service.clone();
    let body = framed(&HealthCheckRequest { service });
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{scheme}://{place}{PATH}"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(
            USER_AGENT,
            concat!("vestibule-probe/", env!("CARGO_PKG_VERSION")),
        )
        .body(Full::new(body))
        .map_err(|error| Failed::new(ProbeFailure::Internal, error.to_string()))?;
    let exchange = async {
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    let reset = |error: hyper::Error| Failed::new(ProbeFailure::HttpReset, error.to_string());
    let response = attempt
        .phase(
            ProbePhase::Processing,
            ProbeFailure::HttpTimeoutHeaders,
            exchange,
            reset,
        )
        .await?;
    let (head, body) = response.into_parts();
    attempt.seen.status = Some(head.status.as_u16());
    attempt.seen.http_version = Some("HTTP/2".to_owned());
    let reading = Limited::new(body, MOST_ANSWER).collect();
    let body = attempt
        .phase(
            ProbePhase::Transfer,
            ProbeFailure::HttpTimeoutBody,
            reading,
            |error| Failed::new(ProbeFailure::HttpReset, error.to_string()),
        )
        .await?;
    let unhealthy = |detail: String| Err(Failed::new(ProbeFailure::GrpcUnhealthy, detail));
    if head.status != 200 {
        let detail = format!("it answered {} as HTTP, which is no gRPC", head.status);
        return Err(Failed::new(ProbeFailure::HttpStatus, detail));
    }
    // An answer without a message has its status among the headers.
    let status = body
        .trailers()
        .and_then(status)
        .or_else(|| status(&head.headers));
    let Some((code, message)) = status else {
        return unhealthy("the answer has no grpc-status".to_owned());
    };
    attempt.seen.grpc_status = Some(code);
    if code != 0 {
        return unhealthy(format!("grpc-status {code} {message}"));
    }
    let bytes = body.to_bytes();
    attempt.seen.body_bytes = bytes.len() as u64;
    let answer = bytes.get(PREFIX..).map(HealthCheckResponse::decode);
    let Some(Ok(answer)) = answer else {
        return unhealthy("the answer is no HealthCheckResponse".to_owned());
    };
    let serving = serving(&answer);
    attempt.seen.serving = Some(serving);
    if serving == SERVING {
        return Ok(());
    }
    let word = WORDS
        .get(serving as usize)
        .copied()
        .unwrap_or("an unknown status");
    unhealthy(format!("the service is {word}"))
}

/// What the server says; a number that the protocol cannot mean is none that is known.
fn serving(answer: &HealthCheckResponse) -> u32 {
    u32::try_from(answer.status).unwrap_or(u32::MAX)
}

/// Length-prefixed, not compressed.
fn framed(message: &impl prost::Message) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.encoded_len());
    framed.put_u8(0);
    framed.put_u32(message.encoded_len() as u32);
    framed.put(message.encode_to_vec().as_slice());
    framed.freeze()
}

fn status(headers: &HeaderMap) -> Option<(u32, String)> {
    let text = |name: &str| headers.get(name).map(HeaderValue::to_str);
    let code = text("grpc-status")?.ok()?.parse().ok()?;
    let message = text("grpc-message")
        .and_then(Result::ok)
        .unwrap_or_default();
    Some((code, message.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_number_means_serving() {
        for status in [-1, -2, 0, 2, 3, 4, i32::MIN, i32::MAX] {
            assert_ne!(
                serving(&HealthCheckResponse { status }),
                SERVING,
                "{status}"
            );
        }
        assert_eq!(serving(&HealthCheckResponse { status: 1 }), SERVING);
    }
}
