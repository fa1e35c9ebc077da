//! The responses we make ourselves, and the body type that hyper sends.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::exchange::UpstreamBody;
use super::headers::X_REQUEST_ID;
use super::limit::Quota;
use super::observe::Tracker;
use crate::model::Fault;

/// A response's body.
#[derive(Debug)]
pub(super) enum ResponseBody {
    /// None, or one already sent.
    Empty,
    /// A few bytes of our own.
    Ours(Bytes),
    /// The upstream's, as it arrives. Boxed: it is large, and hyper moves bodies about.
    Upstream(Box<UpstreamBody>),
}

/// Why a response could not be completed: hyper cuts the connection or resets the stream, so that the client sees that
/// it is not whole.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the response could not be completed: {}", .0.as_str())]
pub(super) struct Incomplete(pub(super) Fault);

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Incomplete;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Incomplete>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Ours(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Ours(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Upstream(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Ours(bytes) => bytes.is_empty(),
            Self::Upstream(body) => body.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Ours(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Upstream(body) => body
                .remaining()
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

/// Answers that what is asked for is elsewhere, and records it: a good answer.
pub(super) fn redirect(
    mut tracker: Tracker,
    status: StatusCode,
    location: &str,
) -> Response<ResponseBody> {
    let Ok(location) = HeaderValue::from_str(location) else {
        // Host and path in their one form, and a query that was parsed, hold no control.
        return fault(tracker, Fault::Internal);
    };
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    if let Ok(id) = HeaderValue::from_bytes(tracker.facts().request_id.as_bytes()) {
        headers.insert(X_REQUEST_ID, id);
    }
    tracker.status(status.as_u16());
    tracker.complete();
    response
}

/// Answers a certificate authority that asks whether a name is ours (RFC 8555, 8.3), and records it: a good answer.
pub(super) fn validation(mut tracker: Tracker, text: Bytes) -> Response<ResponseBody> {
    let length = HeaderValue::from(text.len());
    let body = if tracker.facts().method == http::Method::HEAD {
        ResponseBody::Empty
    } else {
        tracker.bytes_out(text.len());
        ResponseBody::Ours(text)
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    tracker.status(StatusCode::OK.as_u16());
    tracker.complete();
    response
}

/// Says what a client's rate limit leaves it (`RateLimit-*` as of draft-ietf-httpapi-ratelimit-headers-03, the form that
/// clients know), and when to come again if it is over it (RFC 9110, 10.2.3).
pub(super) fn quota(response: &mut Response<ResponseBody>, quota: Quota, over: bool) {
    let headers = response.headers_mut();
    headers.insert(RATE_LIMIT, HeaderValue::from(quota.burst));
    headers.insert(RATE_REMAINING, HeaderValue::from(quota.remaining));
    headers.insert(RATE_RESET, HeaderValue::from(quota.reset_s));
    if over {
        headers.insert(RETRY_AFTER, HeaderValue::from(quota.reset_s.max(1)));
    }
}

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATE_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATE_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Answers a request that failed before a response began, and records it.
///
/// What the client is told is the status and the fault's word, no more: addresses and causes are for the log.
pub(super) fn fault(mut tracker: Tracker, fault: Fault) -> Response<ResponseBody> {
    let Some(status) = fault.status() else {
        // There is nobody to answer, as a rule. A client that only stopped sending can still read, and must not read
        // that all went well.
        tracker.fail(fault);
        let mut response = Response::new(ResponseBody::Empty);
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        return response;
    };
    tracker.status(status);
    let text = format!("{status} {}\n", fault.as_str().replace('_', " "));
    let head = tracker.facts().method == http::Method::HEAD;
    let request_id = HeaderValue::from_bytes(tracker.facts().request_id.as_bytes());
    if !head {
        tracker.bytes_out(text.len());
    }
    tracker.fail(fault);
    let length = HeaderValue::from(text.len());
    let body = if head {
        ResponseBody::Empty
    } else {
        ResponseBody::Ours(text.into())
    };
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = request_id {
        headers.insert(X_REQUEST_ID, id);
    }
    if status == 503 {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if matches!(
        fault,
        // What follows a CONNECT may be meant for the other end of a tunnel.
        Fault::RequestInvalid | Fault::ClientStalled | Fault::BodyTooLarge | Fault::NotAllowed
    ) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
