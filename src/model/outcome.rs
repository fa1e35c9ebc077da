//! Good, bad or excluded; and when not good, whose doing and what.
//!
//! Everything the outside sees of a failure (the status sent, the log's flag, the metric's label, whether the budget
//! pays) is derived from one [`Fault`] in this file, so they cannot disagree.

use serde::{Deserialize, Serialize};

/// Who is to blame for a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The client, or the network between it and us. Never spends the error budget.
    Downstream,
    /// Ourselves.
    Edge,
    /// The service behind us, or the network between it and us.
    Upstream,
}

impl Side {
    /// The side's word in labels and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Downstream => "downstream",
            Self::Edge => "edge",
            Self::Upstream => "upstream",
        }
    }
}

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident = $label:literal, $side:ident, $status:expr;)+) => {
        /// What went wrong, as a closed set, so that a label made of it is bounded.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Fault {
            $($(#[$doc])* #[serde(rename = $label)] $variant,)+
        }

        impl Fault {
            /// Every fault, in the order of [`Fault::index`].
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many faults there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The fault's word in labels and logs (the semantic conventions' `error.type`).
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// Who is to blame for it.
            pub const fn side(self) -> Side {
                match self { $(Self::$variant => Side::$side,)+ }
            }

            /// The status answered when no response has begun. `None`: there is nobody to answer, or the
            /// upstream's own response is passed on.
            pub const fn status(self) -> Option<u16> {
                match self { $(Self::$variant => $status,)+ }
            }
        }
    };
}

faults! {
    /// The client closed or reset the connection before its request was answered in full.
    ClientDisconnect = "client_disconnect", Downstream, None;
    /// The client stopped reading the response, or sending its body, for longer than the idle timeout.
    ClientStalled = "client_stalled", Downstream, Some(408);
    /// The request broke the protocol: framing, host, target, header.
    RequestInvalid = "request_invalid", Downstream, Some(400);
    /// The request's head did not arrive in time.
    RequestTimeout = "request_timeout", Downstream, Some(408);
    /// The request's headers are larger than the limit.
    HeadersTooLarge = "headers_too_large", Downstream, Some(431);
    /// The request's body is larger than the limit.
    BodyTooLarge = "body_too_large", Downstream, Some(413);
    /// The host is not one that this connection's certificate covers.
    Misdirected = "misdirected", Downstream, Some(421);
    /// No route matches.
    NoRoute = "no_route", Downstream, Some(404);
    /// The route takes no requests from this client: not from its address, or not without a certificate.
    Forbidden = "forbidden", Downstream, Some(403);
    /// The client has made more requests than its rate limit allows.
    RateLimited = "rate_limited", Downstream, Some(429);
    /// The request asks for something this proxy does not do: CONNECT.
    NotAllowed = "not_allowed", Downstream, Some(405);
    /// A request was cut off because this process stopped before it was done.
    Drained = "drained", Edge, None;
    /// We are over a limit of our own.
    Overload = "overload", Edge, Some(503);
    /// A defect of ours.
    Internal = "internal", Edge, Some(500);
    /// The route's upstream has no endpoint to try.
    NoEndpoint = "no_endpoint", Upstream, Some(503);
    /// So many attempts at the upstream failed lately that its circuit breaker lets none through.
    CircuitOpen = "circuit_open", Upstream, Some(503);
    /// As many requests are with the upstream, or wait for a connection to it, as it is allowed.
    UpstreamFull = "upstream_full", Upstream, Some(503);
    /// The endpoint's name did not resolve.
    Dns = "dns", Upstream, Some(502);
    /// The endpoint refused the connection.
    ConnectRefused = "connect_refused", Upstream, Some(502);
    /// Connecting took longer than the connect timeout.
    ConnectTimeout = "connect_timeout", Upstream, Some(504);
    /// Connecting failed in another way: unreachable, reset.
    ConnectFailed = "connect_failed", Upstream, Some(502);
    /// The TLS handshake with the endpoint failed.
    TlsHandshake = "tls_handshake", Upstream, Some(502);
    /// No response head within the first-byte timeout.
    FirstByteTimeout = "first_byte_timeout", Upstream, Some(504);
    /// The response stopped arriving for longer than the idle timeout.
    IdleTimeout = "idle_timeout", Upstream, Some(504);
    /// The whole exchange took longer than the total timeout while waiting on the upstream.
    TotalTimeout = "total_timeout", Upstream, Some(504);
    /// The endpoint closed or reset the connection before its response was complete.
    UpstreamReset = "upstream_reset", Upstream, Some(502);
    /// The endpoint's response broke the protocol.
    UpstreamProtocol = "upstream_protocol", Upstream, Some(502);
    /// The endpoint answered 5xx; its response is passed on.
    UpstreamStatus = "upstream_5xx", Upstream, None;
}

impl Fault {
    /// The fault's place in [`Fault::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The outcome this fault makes: only a client's fault leaves the budget alone.
    pub const fn outcome(self) -> Outcome {
        match self.side() {
            Side::Downstream => Outcome::Excluded(self),
            Side::Edge | Side::Upstream => Outcome::Bad(self),
        }
    }
}

/// How one observation counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Valid and good.
    Good,
    /// Valid and bad: spends the error budget. Its fault is never the client's.
    Bad(Fault),
    /// Not valid: neither good nor bad. Its fault is the client's.
    Excluded(Fault),
}

impl Outcome {
    /// The fault, unless good.
    pub const fn fault(self) -> Option<Fault> {
        match self {
            Self::Good => None,
            Self::Bad(fault) | Self::Excluded(fault) => Some(fault),
        }
    }

    /// The outcome's word in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad(_) => "bad",
            Self::Excluded(_) => "excluded",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_fault_is_never_answered_as_a_gateways_and_never_bad() {
        for fault in Fault::ALL
            .iter()
            .filter(|fault| fault.side() == Side::Downstream)
        {
            assert_eq!(fault.outcome(), Outcome::Excluded(*fault));
            assert!(
                fault
                    .status()
                    .is_none_or(|status| (400..500).contains(&status)),
                "{fault:?}"
            );
        }
    }

    #[test]
    fn every_other_fault_is_bad_and_a_server_error() {
        for fault in Fault::ALL
            .iter()
            .filter(|fault| fault.side() != Side::Downstream)
        {
            assert_eq!(fault.outcome(), Outcome::Bad(*fault));
            assert!(
                fault
                    .status()
                    .is_none_or(|status| (500..600).contains(&status)),
                "{fault:?}"
            );
        }
    }

    #[test]
    fn an_index_leads_back_to_its_fault_and_labels_are_distinct() {
        let mut labels: Vec<&str> = Vec::new();
        for (index, fault) in Fault::ALL.iter().enumerate() {
            assert_eq!(fault.index(), index);
            labels.push(fault.as_str());
        }
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Fault::COUNT);
    }
}
