//! One finished request as the access log sees it.

use std::net::IpAddr;

use super::{Attempt, Observation, Timestamp};

/// Everything one access line says, borrowed for as long as it takes to write it.
#[derive(Clone, Copy, Debug)]
pub struct AccessRecord<'a> {
    /// When the request ended.
    pub at: Timestamp,
    /// What became of it.
    pub observation: &'a Observation,
    /// The route's id.
    pub route: &'a str,
    /// The endpoint's address, of the one tried last; empty when none was tried.
    pub endpoint: &'a str,
    /// What was tried, by the endpoints' addresses.
    pub attempts: &'a [Attempt<&'a str>],
    /// The client, as far as forwarding headers may be believed.
    pub client: IpAddr,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: &'a str,
    /// The method.
    pub method: &'a str,
    /// The host asked for, as sent. Untrusted.
    pub host: &'a [u8],
    /// The path, without the query, which may hold secrets. Untrusted.
    pub path: &'a str,
    /// The user agent. Untrusted.
    pub user_agent: &'a [u8],
    /// The request's id, ours or a well-formed one of the client's.
    pub request_id: &'a str,
    /// The trace it belongs to: 32 hexadecimal digits.
    pub trace_id: &'a str,
    /// The span of serving it: 16 hexadecimal digits. Those named to upstreams follow from it (`attempt_span`).
    pub span_id: &'a str,
    /// The client's span; empty when the trace began here.
    pub parent_id: &'a str,
    /// Whether the trace is marked as sampled.
    pub sampled: bool,
}

/// Appends one line, its line feed included, to a buffer.
pub type WriteAccessLine = fn(&mut Vec<u8>, &AccessRecord<'_>);
