//! What the verdict is drawn from: facts that others gathered.

use crate::model::{Counts, Event, Fault, Phase, SloKey, Tally};
use crate::slo::alert::AlertStatus;
use crate::slo::engine::SloStatus;

/// Everything that is known at one moment.
pub struct Evidence<'a> {
    /// Every route that has an SLO or saw traffic in the last minute.
    pub routes: Vec<RouteEvidence<'a>>,
    /// All requests of the last minute.
    pub edge: Counts,
    /// What happened, newest first; at least the last two hours.
    pub events: &'a [Event],
    /// Every alert that is not inactive.
    pub alerts: Vec<&'a AlertStatus>,
    /// What does not work as it should though traffic goes on, each in one line: "store: the disk is full".
    pub degraded: Vec<String>,
    /// Looks closer at a route, by its id. Asked only for routes in trouble.
    pub detail: &'a dyn Fn(&str) -> Detail,
    /// The history of an SLO's events. Asked only for SLOs in trouble.
    pub history: &'a dyn Fn(SloKey) -> History,
}

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
}

/// An SLO's events over time, oldest first. Steps without an event may be left out.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By the second, up to ten minutes: (second since the Unix epoch, its events).
    pub seconds: Vec<(u64, Tally)>,
    /// By the minute, up to hours: (first second since the Unix epoch, its events). Holds the seconds too.
    pub minutes: Vec<(u64, Tally)>,
}
