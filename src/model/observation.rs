//! One finished request or probe: the seam between whatever sees traffic and everything that judges it.

use super::{EndpointKey, Outcome, RouteKey};

/// Where an observation comes from. Sources are never summed silently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A user's request through our proxy.
    Proxy,
    /// A synthetic probe.
    Probe,
}

/// A part of a request's time. The parts do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// From the request's head to the choice of an endpoint.
    Edge,
    /// Opening a connection to the endpoint, its TLS handshake included. Absent on a reused connection.
    Connect,
    /// From having a connection to the response's head, sending the request included.
    Wait,
    /// From the response's head to the last byte handed to the client's connection.
    Body,
}

impl Phase {
    /// Every phase, in the order of [`Phase::index`].
    pub const ALL: [Self; 4] = [Self::Edge, Self::Connect, Self::Wait, Self::Body];

    /// The phase's place in [`Phase::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The phase's word in labels and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Connect => "connect",
            Self::Wait => "wait",
            Self::Body => "body",
        }
    }
}

/// Microseconds spent in each phase that the request reached, indexed by [`Phase::index`].
pub type Phases = [Option<u32>; Phase::ALL.len()];

/// One finished request. Exactly one is made per request: at its end, at its error, or when it is dropped.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// The route that matched, or [`RouteKey::NONE`].
    pub route: RouteKey,
    /// The endpoint that was tried last; `None` when none was.
    pub endpoint: Option<EndpointKey>,
    /// Who saw it.
    pub source: Source,
    /// How it counts.
    pub outcome: Outcome,
    /// The status sent to the client; `None` when none was.
    pub status: Option<u16>,
    /// From the request's head to the last byte of the response, in microseconds.
    pub duration_us: u64,
    /// Where that time went.
    pub phases: Phases,
    /// Upstream attempts made, the successful one included; 0 when none was.
    pub attempts: u8,
    /// Bytes of request body read.
    pub bytes_in: u64,
    /// Bytes of response body handed to the client's connection.
    pub bytes_out: u64,
}
