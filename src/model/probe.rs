//! What a synthetic probe found, slot by slot.
//!
//! A probe is run in slots of its own schedule, and every slot ends in exactly one [`SlotOutcome`]. A result keeps
//! whatever was reached before a failure: phases, status, certificates.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::certificate::CertificateFacts;
use super::words::words;

words! {
    /// Why a probe failed, as a closed set, so that a label made of it is bounded.
    ProbeFailure {
        /// The name does not exist, or has no address.
        DnsNxdomain = "dns_nxdomain",
        /// The name could not be looked up.
        DnsServfail = "dns_servfail",
        /// Looking the name up took too long.
        DnsTimeout = "dns_timeout",
        /// The connection was refused.
        ConnectRefused = "connect_refused",
        /// Connecting took too long.
        ConnectTimeout = "connect_timeout",
        /// There is no way to the address.
        ConnectUnreachable = "connect_unreachable",
        /// The server broke the handshake off, or what it said is not TLS.
        TlsAlert = "tls_alert",
        /// A certificate of the chain has expired.
        TlsExpired = "tls_expired",
        /// A certificate of the chain is not valid yet.
        TlsNotYet = "tls_not_yet",
        /// The certificate speaks for other names.
        TlsName = "tls_name",
        /// The server sent its certificate alone, and its issuer is no root that is trusted: an intermediate
        /// certificate is missing, or the issuer is private.
        TlsIncomplete = "tls_incomplete",
        /// The chain ends in no root that is trusted.
        TlsUntrusted = "tls_untrusted",
        /// The handshake took too long.
        TlsTimeout = "tls_timeout",
        /// No response head in time.
        HttpTimeoutHeaders = "http_timeout_headers",
        /// The body did not arrive whole in time.
        HttpTimeoutBody = "http_timeout_body",
        /// The connection was closed or reset before the response was whole, or the response is not HTTP.
        HttpReset = "http_reset",
        /// The status is not an expected one.
        HttpStatus = "http_status",
        /// The body, or what a TCP service said, is not as expected.
        AssertBody = "assert_body",
        /// A journey's answer holds not what a later step needs of it.
        AssertCapture = "assert_capture",
        /// A header is not as expected.
        AssertHeader = "assert_header",
        /// The body is no JSON, or does not say what is expected.
        AssertJson = "assert_json",
        /// The version of HTTP is not an expected one, or TLS was used where none is expected or the other way round.
        AssertProtocol = "assert_protocol",
        /// The resolver answered, and not what is expected: another code, other records, another time to live.
        AssertAnswer = "assert_answer",
        /// The resolver answered with what it should have let go of (extended errors 3 and 19, RFC 8914).
        DnsStale = "dns_stale",
        /// The gRPC server answered that the service is not serving, or with an error.
        GrpcUnhealthy = "grpc_unhealthy",
        /// The server did not switch to `WebSocket`, or did not answer a ping.
        WebsocketRefused = "websocket_refused",
        /// No echo reply in time.
        IcmpTimeout = "icmp_timeout",
        /// This process may not do what the probe needs: open an ICMP socket, read a file of secrets.
        NotPermitted = "not_permitted",
        /// It took longer than expected.
        AssertLatency = "assert_latency",
        /// The certificate is valid but not as expected: too little of its life is left.
        AssertCertificate = "assert_certificate",
        /// It succeeded, and was expected to fail.
        AssertFailure = "assert_failure",
        /// More redirects than allowed.
        RedirectLoop = "redirect_loop",
        /// The body is larger than is read.
        TooLarge = "too_large",
        /// A defect of ours, or this machine has no descriptor, port or memory left.
        Internal = "internal",
    }
}

words! {
    /// Why a slot was not run.
    Missed {
        /// Earlier runs of the same probe have not ended.
        Overlap = "overlap",
        /// Too many probes are under way.
        Overload = "overload",
        /// This process did not get to it in time.
        Late = "late",
        /// The probe is switched off.
        Paused = "paused",
        /// The slot lies in one of the probe's spans of maintenance.
        Maintenance = "maintenance",
        /// This process was not running.
        Down = "down",
        /// The wall clock was set forward past it, or the machine slept.
        Clock = "clock",
    }
}

words! {
    /// A part of a probe's time. The parts do not overlap; over redirects they are summed.
    ProbePhase {
        /// Looking up the name.
        Resolve = "resolve",
        /// Opening the connection.
        Connect = "connect",
        /// The TLS handshake.
        Tls = "tls",
        /// From the request's first byte to the response's head; for TCP, to the first byte received; for DNS and ICMP,
        /// to the answer.
        Processing = "processing",
        /// From the response's head to the last byte of its body.
        Transfer = "transfer",
    }
}

words! {
    /// From where a route is looked at. Compared in the same slot, they tell where a fault lies.
    Vantage {
        /// Where users come in: the public name, whatever is in front of this ingress.
        Edge = "edge",
        /// This ingress's own listener, asked the same.
        Ingress = "ingress",
        /// An endpoint of the route's upstream, asked what the ingress would ask.
        Upstream = "upstream",
        /// An endpoint of the route's upstream: whether it takes a connection.
        Tcp = "tcp",
    }
}

/// Microseconds spent in each phase that was reached, the one it failed in included. Indexed by [`ProbePhase::index`].
pub type ProbePhases = [Option<u64>; ProbePhase::COUNT];

/// How a slot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotOutcome {
    /// Everything was as expected.
    Ok,
    /// It failed.
    Fail(ProbeFailure),
    /// It was not run: neither good nor bad.
    Missed(Missed),
}

impl SlotOutcome {
    /// The outcome's word in labels, rows and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Fail(_) => "fail",
            Self::Missed(_) => "missed",
        }
    }

    /// Why, unless it is well.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Ok => None,
            Self::Fail(failure) => Some(failure.as_str()),
            Self::Missed(why) => Some(why.as_str()),
        }
    }

    /// The outcome whose [`SlotOutcome::as_str`] and [`SlotOutcome::reason`] these are.
    pub fn parse(word: &str, reason: Option<&str>) -> Option<Self> {
        match (word, reason) {
            ("ok", None) => Some(Self::Ok),
            ("fail", Some(reason)) => ProbeFailure::parse(reason).map(Self::Fail),
            ("missed", Some(reason)) => Missed::parse(reason).map(Self::Missed),
            _ => None,
        }
    }
}

/// One run of a probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRun {
    /// Why it failed; `None`: everything was as expected.
    pub failure: Option<ProbeFailure>,
    /// What happened, in one line; empty when there is nothing to say. May hold untrusted text.
    pub detail: String,
    /// From its true start to its end, in microseconds.
    pub duration_us: u64,
    /// Where the time went, as far as it got.
    pub phases: ProbePhases,
    /// The address that was connected to, or tried last.
    pub address: Option<String>,
    /// The status of the last response.
    pub status: Option<u16>,
    /// `HTTP/1.1` or `HTTP/2`.
    pub http_version: Option<String>,
    /// Redirects that were followed.
    pub redirects: u32,
    /// Bytes of the last response's body, or of what a TCP service said.
    pub body_bytes: u64,
    /// `TLSv1.2` or `TLSv1.3`.
    pub tls_version: Option<String>,
    /// The cipher suite.
    pub tls_cipher: Option<String>,
    /// The chain as the server sent it, its own certificate first; there also when it was refused.
    pub chain: Vec<CertificateFacts>,
    /// Whether the last answer came over TLS.
    #[serde(default)]
    pub encrypted: bool,
    /// The length of the last response's body as its head says.
    #[serde(default)]
    pub content_length: Option<u64>,
    /// When what was answered last changed, as the response's head says.
    #[serde(default)]
    pub last_modified: Option<Timestamp>,
    /// Until when the chain can be verified: of each way from the server's certificate to a trusted root the certificate
    /// that ends first, and of these the one that ends last. `None` when the chain was not verified.
    #[serde(default)]
    pub verified_until: Option<Timestamp>,
    /// What a resolver answered.
    #[serde(default)]
    pub answer: Option<DnsAnswer>,
    /// What a gRPC server says of the service: `grpc.health.v1.HealthCheckResponse.ServingStatus`.
    #[serde(default)]
    pub serving: Option<u32>,
    /// The status of a gRPC call.
    #[serde(default)]
    pub grpc_status: Option<u32>,
    /// The steps of a journey, as far as it got.
    #[serde(default)]
    pub steps: Vec<StepRun>,
    /// How many hops an echo reply could still have made; `None` where the kernel does not say.
    #[serde(default)]
    pub hop_limit: Option<u8>,
    /// What was seen from elsewhere in the same slot; empty when it is not compared.
    #[serde(default)]
    pub views: Vec<ViewRun>,
}

/// What a probe that is compared found from one vantage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewRun {
    /// From where it looked.
    pub vantage: Vantage,
    /// The listener or the endpoint, as people know it.
    pub at: String,
    /// Why it failed; `None`: everything was as expected.
    pub failure: Option<ProbeFailure>,
    /// What happened, in one line; empty when there is nothing to say. May hold untrusted text.
    pub detail: String,
    /// From its true start to its end, in microseconds.
    pub duration_us: u64,
    /// Where the time went, as far as it got.
    pub phases: ProbePhases,
    /// The status of the last response.
    pub status: Option<u16>,
    /// The address that was connected to, or tried.
    pub address: Option<String>,
}

impl ViewRun {
    /// What `run` found from `vantage` at `at`.
    pub fn of(vantage: Vantage, at: &str, run: ProbeRun) -> Self {
        Self {
            vantage,
            at: at.to_owned(),
            failure: run.failure,
            detail: run.detail,
            duration_us: run.duration_us,
            phases: run.phases,
            status: run.status,
            address: run.address,
        }
    }
}

/// What one step of a journey found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRun {
    /// Its name.
    pub name: String,
    /// Whether it cleans up.
    pub cleanup: bool,
    /// How long it took, in microseconds; `None` when what it needs was not captured, so that it was left out.
    pub duration_us: Option<u64>,
    /// The status of its last response.
    pub status: Option<u16>,
    /// Why it failed; `None`: everything was as expected.
    pub failure: Option<ProbeFailure>,
}

/// What a resolver answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsAnswer {
    /// The response code, like `NOERROR`.
    pub rcode: String,
    /// Whether the server answers for its own zone (the AA flag).
    pub authoritative: bool,
    /// The records that answer.
    pub answers: Vec<DnsRecord>,
    /// How many name the zone's authorities.
    pub authorities: u32,
    /// How many come in addition, without EDNS.
    pub additionals: u32,
    /// The serial number of the SOA record among the answers.
    pub serial: Option<u32>,
    /// Extended errors (RFC 8914): the code, and what the server says of it. Untrusted.
    pub extended_errors: Vec<(u16, String)>,
}

impl DnsAnswer {
    /// Whether the server says that it should have let go of what it answers (RFC 8914: "Stale Answer", "Stale NXDOMAIN
    /// Answer").
    pub fn is_stale(&self) -> bool {
        self.extended_errors
            .iter()
            .any(|(code, _)| matches!(code, 3 | 19))
    }
}

/// One record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsRecord {
    /// Whose it is.
    pub name: String,
    /// Its type, like `AAAA`.
    pub kind: String,
    /// Its time to live, in seconds.
    pub ttl: u32,
    /// Its data as a zone file writes it.
    pub data: String,
}

impl ProbeRun {
    /// How the slot ends that this run was for.
    pub const fn outcome(&self) -> SlotOutcome {
        match self.failure {
            None => SlotOutcome::Ok,
            Some(failure) => SlotOutcome::Fail(failure),
        }
    }
}

/// How one slot, or several neighbouring ones that were missed for the same reason, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotRecord {
    /// The probe's name.
    pub probe: String,
    /// When the slot, or the first of them, began by the schedule.
    pub at: Timestamp,
    /// How many slots this is about; more than one only when missed.
    pub slots: u64,
    /// The distance from slot to slot.
    pub every: Duration,
    /// How it ended.
    pub outcome: SlotOutcome,
    /// From the slot to the run's true start, in microseconds; zero when missed.
    pub lag_us: u64,
    /// What the run found; `None` when missed.
    pub run: Option<ProbeRun>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_read_back_from_its_words() {
        let failures = ProbeFailure::ALL
            .iter()
            .map(|failure| SlotOutcome::Fail(*failure));
        let missed = Missed::ALL.iter().map(|why| SlotOutcome::Missed(*why));
        for outcome in failures.chain(missed).chain([SlotOutcome::Ok]) {
            let read = SlotOutcome::parse(outcome.as_str(), outcome.reason());
            assert_eq!(read, Some(outcome));
        }
        assert_eq!(SlotOutcome::parse("ok", Some("late")), None);
        assert_eq!(SlotOutcome::parse("missed", Some("tls_name")), None);
    }
}
