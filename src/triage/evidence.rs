//! What the verdict is drawn from: facts that others gathered.

use std::ops::Range;

use super::placing::Placing;
use crate::model::{Counts, Event, Fault, Handshakes, Phase, SloKey, Tally, Timestamp};
use crate::slo::alert::AlertStatus;
use crate::slo::engine::SloStatus;

/// Everything that is known at one moment.
pub struct Evidence<'a> {
    /// Every route that has an SLO or saw traffic in the last minute.
    pub routes: Vec<RouteEvidence<'a>>,
    /// Every SLO about several routes together.
    pub wide: Vec<WideEvidence<'a>>,
    /// Every SLO of a vital sign, or of several whose worst is one.
    pub vitals: Vec<VitalEvidence<'a>>,
    /// All requests of the last minute.
    pub edge: Counts,
    /// What happened, newest first; at least the last two hours.
    pub events: &'a [Event],
    /// Every alert that is not inactive.
    pub alerts: Vec<&'a AlertStatus>,
    /// What does not work as it should though traffic goes on, each in one line: "store: the disk is full".
    pub degraded: Vec<String>,
    /// What is wrong with certificates, by the id of the alert about it.
    pub certificates: Vec<CertificateEvidence<'a>>,
    /// TLS handshakes of the last minute: completed and failed.
    pub handshakes: Tally,
    /// Those of the last five minutes by how they ended, in the order of [`Handshake::ALL`](crate::model::Handshake::ALL).
    pub handshakes_by_end: Handshakes,
    /// Endpoints whose health has changed in the last ten minutes.
    pub unsteady: Vec<Unsteady<'a>>,
    /// Every probe that is run.
    pub probes: Vec<ProbeEvidence<'a>>,
    /// Who goes by addresses that names no longer lead to.
    pub names: Vec<NameEvidence<'a>>,
    /// A route's requests by the second in a range of seconds, at most ten minutes back, and without idle ones. Asked only
    /// for routes in trouble, and after changes of the configuration.
    pub seconds: &'a ReadCounts<'a>,
    /// The same by the minute, by each minute's first second, at most six hours back.
    pub minutes: &'a ReadCounts<'a>,
    /// A request that a route takes if any does, and which route takes it. Asked only for routes whose requests stay
    /// away.
    pub proof: &'a dyn Fn(&str) -> Option<Proof>,
    /// Looks closer at a route, by its id. Asked only for routes in trouble.
    pub detail: &'a dyn Fn(&str) -> Detail,
    /// The history of an SLO's events. Asked only for SLOs in trouble.
    pub history: &'a dyn Fn(SloKey) -> History,
}

/// Reads a route's requests in a range of seconds, by its id: each step's first second and its requests, oldest first.
pub type ReadCounts<'a> = dyn Fn(&str, Range<u64>) -> Vec<(u64, Counts)> + 'a;

/// One route.
#[derive(Clone, Debug, Default)]
pub struct RouteEvidence<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its upstream; `None` when it has none.
    pub upstream: Option<&'a str>,
    /// The version that runs there, as last announced by a deploy; `None` when never announced.
    pub version: Option<&'a str>,
    /// The version announced before that one.
    pub previous_version: Option<&'a str>,
    /// Who answers for it.
    pub owner: Option<&'a str>,
    /// Where a person finds what to do; used when the SLO names nothing.
    pub runbook: Option<&'a str>,
    /// How its SLOs stand.
    pub slos: Vec<&'a SloStatus>,
    /// Alerts about it that are not inactive.
    pub alerts: Vec<&'a AlertStatus>,
    /// Its requests of the last minute.
    pub last_minute: Counts,
    /// How many seconds of the last minute were measured.
    pub covered_s: u64,
}

/// An SLO about several routes together.
#[derive(Clone, Debug)]
pub struct WideEvidence<'a> {
    /// How it stands.
    pub slo: &'a SloStatus,
    /// That one, or of a composite the part that spends most of it.
    pub by: &'a SloStatus,
    /// Alerts about it that are not inactive.
    pub alerts: Vec<&'a AlertStatus>,
    /// The routes of `by`, each with what it counted of the SLO's requests in the last five minutes.
    pub routes: Vec<(&'a str, Tally)>,
}

/// An SLO of a vital sign.
#[derive(Clone, Debug)]
pub struct VitalEvidence<'a> {
    /// How it stands.
    pub slo: &'a SloStatus,
    /// That one, or of a composite the part that spends most of it.
    pub by: &'a SloStatus,
    /// Alerts about it that are not inactive.
    pub alerts: Vec<&'a AlertStatus>,
    /// How the sign stands now, in words: `now 1.82 of 2`. Empty: not known. May hold untrusted text.
    pub now: String,
    /// Endpoints that are out of service now, when it is about their health.
    pub out: Vec<String>,
}

/// A closer look at one route.
#[derive(Clone, Debug)]
pub struct Detail {
    /// Bad and excluded requests of the last minute by [`Fault::index`].
    pub faults_1m: [u64; Fault::COUNT],
    /// Bad and excluded requests of the last five minutes by [`Fault::index`].
    pub faults_5m: [u64; Fault::COUNT],
    /// What each endpoint of the upstream did for it in the last five minutes; also those that did nothing.
    pub endpoints: Vec<EndpointEvidence>,
    /// The median time that requests of the last five minutes spent in each phase, in microseconds, by
    /// [`Phase::index`]; `None` where none came to it.
    pub phases_p50_us: [Option<u64>; Phase::ALL.len()],
}

impl Default for Detail {
    fn default() -> Self {
        Self {
            faults_1m: [0; Fault::COUNT],
            faults_5m: [0; Fault::COUNT],
            endpoints: Vec::new(),
            phases_p50_us: [None; Phase::ALL.len()],
        }
    }
}

/// What one endpoint did for one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointEvidence {
    /// Its address.
    pub address: String,
    /// Requests that ended well.
    pub good: u64,
    /// Requests that ended badly through its fault.
    pub bad: u64,
    /// Attempts that got no connection.
    pub connect_failures: u64,
    /// Where its name leads; `None`: it is an address, or the name was not looked up yet.
    pub leads: Option<Leads>,
}

/// Where the name of an endpoint leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leads {
    /// The name.
    pub name: String,
    /// Its addresses when it was last looked up; empty: it does not resolve.
    pub to: Vec<String>,
}

/// What is wrong with one certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateEvidence<'a> {
    /// The id of the alert about it, without how urgent it is.
    pub alert: String,
    /// `expired`, `expiry`, `name`, … as the snapshot says it.
    pub kind: String,
    /// When it began, as its dates say; `None` when those have nothing to do with it.
    pub began: Option<Timestamp>,
    /// Routes that are reached with it.
    pub routes: Vec<&'a str>,
    /// The upstreams that show it to us.
    pub upstreams: Vec<&'a str>,
    /// Whether we show it to clients, or are to.
    pub is_ours: bool,
    /// Where that is, and what is wrong, in words.
    pub text: String,
}

/// Somebody who goes by an address that a name no longer leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameEvidence<'a> {
    /// The name.
    pub name: String,
    /// Since when nobody should.
    pub since: Timestamp,
    /// Who, and for how long, in words.
    pub text: String,
    /// What uses the name, in words.
    pub uses: Vec<String>,
    /// The first route of these.
    pub route: Option<&'a str>,
}

/// What one probe finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeEvidence<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is aimed at.
    pub target: &'a str,
    /// The route that it looks at.
    pub route: Option<&'a str>,
    /// Where a person finds what to do.
    pub runbook: Option<&'a str>,
    /// From slot to slot, in seconds.
    pub every_s: u64,
    /// Whether it was run at all.
    pub was_run: bool,
    /// Since when it fails; `None`: not twice in a row.
    pub failing_since: Option<Timestamp>,
    /// Where the fault of its last run lies; `None`: that was well.
    pub placing: Option<Placing>,
}

/// An endpoint whose health has changed in the last ten minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsteady<'a> {
    /// Its upstream.
    pub upstream: &'a str,
    /// Its address.
    pub address: &'a str,
    /// How often it was lost or came back in the last ten minutes.
    pub changes: u64,
    /// When it began: the first of the changes between which ten minutes never passed.
    pub since: Timestamp,
    /// What its health checks ask; `None`: it has none, and what flaps is how traffic fares.
    pub check: Option<CheckEvidence<'a>>,
    /// The 99th percentile of the time to the head of its responses in the last minute, in microseconds.
    pub p99_us: Option<u64>,
}

/// An endpoint's health checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckEvidence<'a> {
    /// For one question, in microseconds.
    pub timeout_us: u64,
    /// Bad answers in a row that take the endpoint away.
    pub fall: u32,
    /// Why a check failed last; `None`: none has.
    pub failed: Option<&'a str>,
}

/// Which route takes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// As `vestibule explain` takes it.
    pub request: String,
    /// The route that takes it; `None`: none does.
    pub taken_by: Option<String>,
}

/// An SLO's events over time, oldest first. Steps without an event may be left out.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By the second, up to ten minutes: (second since the Unix epoch, its events).
    pub seconds: Vec<(u64, Tally)>,
    /// By the minute, up to hours: (first second since the Unix epoch, its events). Holds the seconds too.
    pub minutes: Vec<(u64, Tally)>,
}
