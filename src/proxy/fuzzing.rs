//! Doors for the fuzzers of `tests/fuzz`, into what the proxy keeps to itself.

use std::net::IpAddr;

use bytes::BytesMut;
use http::{HeaderMap, Method};

use super::config::{HeaderEdits, Network};
use super::headers::{BodyFraming, Client, RequestHead, write_request};
use super::identity::{IdSource, TraceContext};
use super::preamble;
use crate::model::TraceShare;

/// Whether `bytes` are a PROXY header of version 1, and of version 2.
pub fn preamble(bytes: &[u8]) -> (bool, bool) {
    preamble::reads(bytes)
}

/// Who the client is, by its peer's address and its forwarding headers, and whether those were believed.
///
/// # Panics
/// When a trusted network is none.
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[&str]) -> (IpAddr, bool) {
    let trusted: Vec<Network> = trusted
        .iter()
        .map(|network| network.parse().expect("a network"))
        .collect();
    let client = Client::new(peer, headers, &trusted);
    (client.address, client.trusted)
}

/// The head that goes upstream for a request of a stranger at `peer`, without a body.
pub fn request_head(
    method: &Method,
    target: &str,
    host: &[u8],
    headers: &HeaderMap,
    peer: IpAddr,
) -> BytesMut {
    let ids = IdSource::from_system(TraceShare::new(1.0));
    let traceparent = headers.get("traceparent").map(http::HeaderValue::as_bytes);
    let mut written = BytesMut::new();
    write_request(
        &mut written,
        &RequestHead {
            method,
            target,
            host,
            client_host: host,
            headers,
            client: Client::new(peer, headers, &[]),
            scheme: "http",
            request_id: b"0",
            trace: &TraceContext::continue_or_begin(traceparent, &ids),
            framing: BodyFraming::None,
            websocket: false,
            edits: &HeaderEdits::default(),
            identity: None,
            identity_believed: false,
        },
    );
    written
}
