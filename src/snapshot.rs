//! The one read model: everything that is shown or exported, immutable, published once a second.
//!
//! The terminal UI, the admin API, the metrics page and `vestibule status` all read this and nothing else, so they
//! cannot disagree. Its JSON is a contract that others script against: fields are added, never renamed, and
//! [`SCHEMA`] says so when one must go. A missing number is `null`, never NaN and never zero.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{
    About, CertificateFacts, CircuitPhase, Durations, EndpointTally, Event, EventKind, Exemplar,
    Fault, Handshakes, Missed, PreambleFailure, ProbeFailure, ProbePhases, RouteSlot, Side,
    SlotRecord, Tally, Timestamp, Window,
};
use crate::slo::state::SloState;
use crate::triage::Verdict;
use crate::triage::blind::BlindSpot;
use crate::triage::placing::Placing;

mod alert;
mod detail;
mod explanation;
mod name;
mod spending;
mod vantage;

pub use alert::{AlertView, DeploySpend, DeployView, SilenceView};
pub use detail::{PartDetail, SloDetail, SpentPart};
pub use explanation::{Explanation, Slower, Unknown};
pub use name::{DroppedView, NameGauges, NameView, SaidView, SourceGauges};
pub use spending::{Spell, Spending};
pub use vantage::VantageView;
use vantage::by_phase;

/// The version of this JSON.
pub const SCHEMA: u32 = 1;

/// Everything that is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The version of this JSON, see [`SCHEMA`].
    pub schema: u32,
    /// Vestibule's version.
    pub version: String,
    /// This instance's name: the host's, unless configured.
    pub instance: String,
    /// When this was taken.
    pub at: Timestamp,
    /// When the process started.
    pub started_at: Timestamp,
    /// When the counts began: the age of the state directory.
    pub counting_since: Timestamp,
    /// Counts up with every snapshot.
    pub seq: u64,
    /// Whether this was put together from the history: then only counts and durations of routes and SLOs and events
    /// are of its time, and faults, endpoints, probes, certificates and the machine are not known.
    #[serde(default)]
    pub stored: bool,
    /// The worst incident's sentence, or "all well".
    pub verdict: Verdict,
    /// Further incidents, worst first.
    pub other_verdicts: Vec<Verdict>,
    /// All traffic together.
    pub edge: EdgeView,
    /// Every route, the one that costs the budget most first.
    pub routes: Vec<RouteView>,
    /// How many routes there are; more than `routes` holds when a reader asked for fewer.
    pub routes_total: u64,
    /// Every upstream, by name.
    pub upstreams: Vec<UpstreamView>,
    /// Every SLO, the one that empties first first.
    pub slos: Vec<SloView>,
    /// Every probe, by name.
    #[serde(default)]
    pub probes: Vec<ProbeView>,
    /// What probes do not see, what matters most first.
    #[serde(default)]
    pub blind_spots: Vec<BlindSpot>,
    /// Every name that is looked at, by name.
    #[serde(default)]
    pub names: Vec<NameView>,
    /// Every certificate, wherever it was seen, the most urgent first.
    #[serde(default)]
    pub certificates: Vec<CertificateView>,
    /// Certificates that are issued while we run, in the configuration's order.
    #[serde(default)]
    pub issuances: Vec<IssuanceView>,
    /// What is wrong with certificates, the most urgent first.
    #[serde(default)]
    pub certificate_alerts: Vec<CertificateAlertView>,
    /// Alerts that are pending, firing or lately resolved.
    pub alerts: Vec<AlertView>,
    /// What is kept from being told, and until when, oldest first.
    #[serde(default)]
    pub silences: Vec<SilenceView>,
    /// What deploys with a window spent, newest first.
    #[serde(default)]
    pub deploys: Vec<DeployView>,
    /// What happened, newest first, at most [`EVENTS`].
    pub events: Vec<Event>,
    /// What does not work as it should though traffic goes on; empty when all is well.
    pub degraded: Vec<Degradation>,
    /// The listening sockets.
    pub listeners: Vec<ListenerView>,
    /// The configuration in force.
    pub config: ConfigView,
    /// This process's own use of the machine.
    pub process: ProcessView,
    /// The history on disk.
    pub store: StoreView,
    /// Bounded queues and what they refused.
    pub queues: Vec<QueueView>,
    /// Who is told of alerts, in the configuration's order.
    #[serde(default)]
    pub receivers: Vec<ReceiverView>,
    /// What is exported by OTLP, and how that goes; empty when nothing is.
    #[serde(default)]
    pub exporters: Vec<ExporterView>,
    /// Counters for the metrics page; not part of the JSON.
    #[serde(skip)]
    pub totals: Totals,
}

/// How many events a snapshot carries at most.
pub const EVENTS: usize = 200;

/// A regular series of columns, oldest first. `null` is "not measured", which is not zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The start of the first column.
    pub start: Timestamp,
    /// A column's width in seconds.
    pub step_s: u64,
    /// Requests in each column.
    pub requests: Vec<Option<u64>>,
    /// Bad ones in each column.
    pub bad: Vec<Option<u64>>,
    /// The 99th percentile of each column in microseconds; `null` also when nothing succeeded.
    pub p99_us: Vec<Option<u64>>,
}

/// Rates and percentiles over one recent span.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// The span in seconds that was actually covered by data.
    pub covered_s: u64,
    /// Requests.
    pub requests: u64,
    /// Bad ones.
    pub bad: u64,
    /// Excluded ones.
    pub excluded: u64,
    /// Requests per second; `null` when nothing was covered.
    pub rate_per_s: Option<f64>,
    /// Bad ÷ valid; `null` without a valid request.
    pub bad_ratio: Option<f64>,
    /// Median in microseconds.
    pub p50_us: Option<u64>,
    /// 99th percentile in microseconds.
    pub p99_us: Option<u64>,
}

/// All traffic together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EdgeView {
    /// The last minute.
    pub now: Measure,
    /// The hour before the last minute, to compare with.
    pub before: Measure,
    /// The last hour in one-minute columns.
    pub series: Series,
    /// Requests being served.
    pub in_flight: u64,
    /// Open client connections.
    pub connections: u64,
    /// Bad and excluded requests of the last five minutes by fault, most frequent first.
    pub faults: Vec<FaultCount>,
}

/// How often a fault was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultCount {
    /// What.
    pub fault: Fault,
    /// Whose.
    pub side: Side,
    /// How often.
    pub count: u64,
}

/// How a thing stands: a word and a shape, never colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Healthy.
    Ok,
    /// No traffic, so nothing is known.
    None,
    /// Worth a look.
    Warn,
    /// Failing.
    Crit,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteView {
    /// Its id. `none` is what matched no route.
    pub id: String,
    /// How it stands.
    pub standing: Standing,
    /// The hosts it takes; empty is any.
    pub hosts: Vec<String>,
    /// The path it takes, as configured.
    pub path: String,
    /// Its upstream; `None` for `none`.
    pub upstream: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Requests since the counts began.
    pub requests: u64,
    /// Good ones.
    pub good: u64,
    /// Bad ones.
    pub bad: u64,
    /// Excluded ones.
    pub excluded: u64,
    /// Median of the last hour in microseconds.
    pub p50_us: Option<u64>,
    /// 95th percentile of the last hour in microseconds.
    pub p95_us: Option<u64>,
    /// 99th percentile of the last hour in microseconds.
    pub p99_us: Option<u64>,
    /// The last minute.
    pub now: Measure,
    /// The hour before the last minute, to compare with.
    pub before: Measure,
    /// The fastest burn over 5 minutes among its SLOs.
    pub burn_5m: Option<f64>,
    /// Its share of everything bad at the ingress over the last five minutes.
    pub share_of_bad: Option<f64>,
    /// Its SLOs.
    pub slos: Vec<String>,
    /// The last hour in one-minute columns.
    pub series: Series,
    /// Bad and excluded requests of the last five minutes by fault, most frequent first.
    pub faults: Vec<FaultCount>,
    /// What each endpoint did for it in the last five minutes.
    pub endpoints: Vec<EndpointShare>,
    /// Where the time went in the last five minutes.
    pub phases: Vec<PhaseView>,
}

/// What one endpoint did for one route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointShare {
    /// Its address.
    pub endpoint: String,
    /// Requests that ended well.
    pub good: u64,
    /// Requests that ended badly.
    pub bad: u64,
    /// Attempts that got no connection.
    pub connect_failures: u64,
    /// Attempts that failed and were followed by another.
    #[serde(default)]
    pub retried: u64,
}

/// One phase's time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseView {
    /// `edge`, `connect`, `wait` or `body`.
    pub phase: String,
    /// Requests that reached it.
    pub count: u64,
    /// Median in microseconds.
    pub p50_us: u64,
    /// 99th percentile in microseconds.
    pub p99_us: u64,
}

/// One upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamView {
    /// Its name.
    pub name: String,
    /// The version last announced by `vestibule deploy`.
    pub version: Option<String>,
    /// Its endpoints, in configured order.
    pub endpoints: Vec<EndpointView>,
    /// How its breaker stands; `null`: it has none.
    #[serde(default)]
    pub breaker: Option<BreakerView>,
    /// Median time to the head of all its responses over the last minute, in microseconds, within 7 %.
    #[serde(default)]
    pub p50_us: Option<u64>,
    /// 99th percentile of the same.
    #[serde(default)]
    pub p99_us: Option<u64>,
}

/// An upstream's breaker: whether requests pass, and how many are with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerView {
    /// Its circuit; `null`: it judges no failures.
    pub circuit: Option<CircuitPhase>,
    /// Since when it is so, as far as it changed since this process started.
    pub since: Option<Timestamp>,
    /// Attempts under way.
    pub in_flight: u64,
    /// Those of them that wait for a connection.
    pub pending: u64,
    /// Requests refused since this process started, by reason: `open`, `in_flight`, `pending`.
    pub refused: Vec<(String, u64)>,
    /// How often the circuit opened since this process started.
    pub opened: u64,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointView {
    /// Its address, as configured.
    pub address: String,
    /// Whether it is thought to work.
    pub healthy: bool,
    /// Since when it is so.
    pub since: Option<Timestamp>,
    /// Requests of the last minute that ended well.
    pub good: u64,
    /// Requests of the last minute that ended badly.
    pub bad: u64,
    /// Attempts of the last minute that got no connection.
    pub connect_failures: u64,
    /// Attempts of the last minute that failed and were followed by another.
    #[serde(default)]
    pub retried: u64,
    /// Whether it answers its health checks; `null`: it has none.
    #[serde(default)]
    pub answers_checks: Option<bool>,
    /// How often it was lost or came back in the last ten minutes: by its health checks or by how traffic fared, whichever
    /// saw more.
    #[serde(default)]
    pub changes_10m: u64,
    /// How often its health checks found it lost or back since this process started.
    #[serde(default)]
    pub changes_by_checks: u64,
    /// The same by how traffic fared.
    #[serde(default)]
    pub changes_by_traffic: u64,
    /// Worker threads that leave it alone because too many exchanges failed in a row.
    #[serde(default)]
    pub ejected_by: u64,
    /// Requests and tunnels on their way to it now.
    #[serde(default)]
    pub in_flight: u64,
    /// Median time to the head of its responses over the last minute, in microseconds, within 7 %.
    #[serde(default)]
    pub p50_us: Option<u64>,
    /// 99th percentile of the same.
    #[serde(default)]
    pub p99_us: Option<u64>,
}

impl Snapshot {
    /// Where an SLO is looked at closer: its route, or of several the one with the most bad requests of the last minute.
    pub fn spender(&self, slo: &SloView) -> Option<String> {
        let routes = self.routes.iter().filter(|route| self.counts(slo, route));
        let worst = routes.max_by_key(|route| (route.now.bad, route.now.requests));
        worst.map(|route| route.id.clone())
    }

    /// Whether an SLO counts the requests of `route`: by itself, or as a composite by one of its parts.
    pub fn counts(&self, slo: &SloView, route: &RouteView) -> bool {
        let is_part = |it: &&SloView| slo.parts.iter().any(|part| part.slo == it.id);
        let mut parts = self.slos.iter().filter(is_part);
        slo.holds(route) || parts.any(|part| part.holds(route))
    }
}

/// One SLO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SloView {
    /// Its id.
    pub id: String,
    /// The route it is about; empty when about several together.
    pub route: String,
    /// What it is about: `route:checkout`, `upstream:web`, `owner:payments`, `ingress`, or `parts` of a composite.
    #[serde(default)]
    pub scope: String,
    /// Who answers for that; `null`: nobody is named, or several are.
    #[serde(default)]
    pub owner: Option<String>,
    /// `availability`, `latency`, `connection`, `rate-limit`, `probe` or `composite`.
    pub sli: String,
    /// Which requests count as failed, with `availability`: `fault`, those that the edge or the upstream failed, or `all`,
    /// every one answered 4xx or 5xx as well.
    #[serde(default)]
    pub reading: Option<String>,
    /// Statuses of a client's errors that count as failures beside `fault`, rising.
    #[serde(default)]
    pub bad_status: Vec<u16>,
    /// What is weighed, of a composite; otherwise empty.
    #[serde(default)]
    pub parts: Vec<PartView>,
    /// How it is weighed, of a composite: by `minutes`, each the weighed mean of its parts' shares, or by `events`.
    #[serde(default)]
    pub weigh: Option<String>,
    /// What is counted, in words; counts of other words are of something else and are never summed with these.
    #[serde(default)]
    pub counted: String,
    /// The latency threshold in microseconds.
    pub under_us: Option<u64>,
    /// The slices of time that its requests are put together into; `null`: each request counts by itself.
    #[serde(default)]
    pub slices: Option<SlicesView>,
    /// The target in parts per million.
    pub objective_ppm: u32,
    /// The budget's window. With a calendar, its period's length by convention: `7d`, `30d` or `90d`.
    pub window: Window,
    /// The calendar's period that the budget is for; `null`: it rolls.
    #[serde(default)]
    pub period: Option<PeriodView>,
    /// The alerting policy's name.
    pub policy: String,
    /// Good events in the window: requests, seconds of a probe, slices, or millionths of slices.
    pub good: u64,
    /// Bad events in the window.
    pub bad: u64,
    /// Good ÷ valid in the window; `null` without a valid event.
    pub sli_ratio: Option<f64>,
    /// Share of the error budget that is left of the events counted; may be negative; `null` without a valid event.
    pub remaining_ratio: Option<f64>,
    /// The same, if history that is missing from the window had been good at the observed rate. Equal to
    /// `remaining_ratio` once the window is covered.
    #[serde(default)]
    pub expected_remaining_ratio: Option<f64>,
    /// Burn rate by window, `5m` to `30d`; `null` where nothing was valid.
    pub burn: BTreeMap<Window, Option<f64>>,
    /// How it stands.
    pub state: SloState,
    /// Share of the window that history covers, 0 to 1.
    pub coverage_ratio: f64,
    /// Seconds until the budget is empty at the current rate; `null`: not at this rate.
    pub time_to_empty_s: Option<u64>,
    /// Where a person finds what to do.
    pub runbook: Option<String>,
}

/// A part of a composite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartView {
    /// The SLO's id.
    pub slo: String,
    /// How much it weighs.
    pub weight: u32,
    /// What it counts, by its word: `availability`, `probe`, …
    #[serde(default)]
    pub sli: String,
    /// Its own good events in the window of its own budget.
    #[serde(default)]
    pub good: u64,
    /// Its own bad ones.
    #[serde(default)]
    pub bad: u64,
}

/// Slices of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlicesView {
    /// How long each is.
    pub every: Window,
    /// The share of its requests, in parts per million, that makes a slice good; `null`: each is worth its share, and events are
    /// millionths of slices.
    pub objective_ppm: Option<u32>,
    /// What one without a valid request is: `skip`, `good` or `bad`.
    pub empty: String,
}

/// A period of the calendar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeriodView {
    /// `week`, `month` or `quarter`.
    pub unit: String,
    /// The IANA time zone whose midnight it begins at.
    pub zone: String,
    /// When it began.
    pub from: Timestamp,
    /// When it ends, and the budget begins anew.
    pub to: Timestamp,
}

impl SloView {
    /// The budget's window in a few letters: `30d`, or `month` of the calendar.
    pub fn span(&self) -> String {
        match &self.period {
            None => self.window.to_string(),
            Some(period) => period.unit.clone(),
        }
    }

    /// What it is about, in a word: the route's id, or the scope of several together.
    pub fn about(&self) -> &str {
        if self.route.is_empty() {
            &self.scope
        } else {
            &self.route
        }
    }

    /// Whether it counts the requests of `route`, alone or with others.
    pub fn holds(&self, route: &RouteView) -> bool {
        match About::from_scope(&self.scope) {
            // An older daemon says no scope.
            None => self.route == route.id,
            Some(about) => {
                about.holds(&route.id, route.upstream.as_deref(), route.owner.as_deref())
            }
        }
    }

    /// Seconds until the budget of what was counted is empty: 0 when it is overspent, though with the missing history taken
    /// to have been good some would be left. What is exported beside `remaining_ratio` must be of the same budget.
    pub fn time_to_empty_of_counted_s(&self) -> Option<u64> {
        if self.remaining_ratio.is_some_and(|left| left <= 0.0) {
            Some(0)
        } else {
            self.time_to_empty_s
        }
    }
}

/// Someone who is told of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverView {
    /// Its name.
    pub name: String,
    /// `alertmanager`, `webhook` or `slack`.
    pub kind: String,
    /// Deliveries since this process started.
    pub delivered: u64,
    /// Attempts that failed since this process started.
    pub failed: u64,
    /// When it was last told something.
    pub last_delivered: Option<Timestamp>,
    /// Why the last attempt failed; `null` when it did not.
    pub last_error: Option<String>,
}

/// Something that does not work as it should though traffic goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degradation {
    /// Which part: `store`, `config`, `access_log`, …
    pub part: String,
    /// Since when.
    pub since: Timestamp,
    /// What is wrong and what it means.
    pub text: String,
}

/// One synthetic probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeView {
    /// Its name.
    pub name: String,
    /// What it is aimed at.
    pub target: String,
    /// The route that it looks at.
    pub route: Option<String>,
    /// Where a person finds what to do.
    pub runbook: Option<String>,
    /// From slot to slot, in seconds.
    pub every_s: u64,
    /// For a whole run, in milliseconds.
    pub timeout_ms: u64,
    /// Whether it is switched off.
    pub paused: bool,
    /// How it stands: `warn` after one failed run, `crit` after two in a row.
    pub standing: Standing,
    /// Since when it fails; `null`: it does not.
    pub failing_since: Option<Timestamp>,
    /// Slots of the last hour that were run and well.
    pub ok: u64,
    /// Slots of the last hour that failed.
    pub failed: u64,
    /// Slots of the last hour that were not run.
    pub missed: u64,
    /// Run ÷ all slots of the last hour; `null` when there was none.
    pub coverage_ratio: Option<f64>,
    /// Its next slot.
    pub next_at: Timestamp,
    /// The last one that was run.
    pub last: Option<ProbeSlotView>,
    /// Whether its route is looked at from elsewhere in the same slot.
    #[serde(default)]
    pub compare: bool,
    /// What was seen from there in the last slot that was run.
    #[serde(default)]
    pub views: Vec<VantageView>,
    /// Where the fault of the last run lies; `null`: that was well.
    #[serde(default)]
    pub placing: Option<Placing>,
}

/// How one slot of a probe ended, or several neighbouring ones that were missed for the same reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeSlotView {
    /// When it began by the schedule.
    pub at: Timestamp,
    /// How many slots this is about; more than one only when missed.
    pub slots: u64,
    /// `ok`, `fail` or `missed`.
    pub outcome: String,
    /// Why, unless it is well.
    pub reason: Option<String>,
    /// What happened, in one line; may be empty.
    pub detail: String,
    /// From the slot to the run's true start, in microseconds.
    pub lag_us: u64,
    /// How long the run took, in microseconds; `null` when missed.
    pub duration_us: Option<u64>,
    /// Microseconds by phase, those that were reached.
    pub phases: BTreeMap<String, u64>,
    /// The last response's status.
    pub status: Option<u16>,
    /// The address that was connected to, or tried.
    pub address: Option<String>,
}

impl ProbeSlotView {
    /// From the record of it.
    pub fn of(record: &SlotRecord) -> Self {
        let run = record.run.as_ref();
        Self {
            at: record.at,
            slots: record.slots,
            outcome: record.outcome.as_str().to_owned(),
            reason: record.outcome.reason().map(ToOwned::to_owned),
            detail: run.map(|run| run.detail.clone()).unwrap_or_default(),
            lag_us: record.lag_us,
            duration_us: run.map(|run| run.duration_us),
            phases: by_phase(run.map(|run| run.phases).unwrap_or_default()),
            status: run.and_then(|run| run.status),
            address: run.and_then(|run| run.address.clone()),
        }
    }
}

/// A certificate, at one of the places where it is seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertificateView {
    /// `file`: the configuration's; `issued`: one that is issued while we run, as it lies on disk; `listener`: what one of
    /// ours shows; `upstream`: what an endpoint shows us, where the proxy verifies it; `probe`: what a probe saw.
    pub source: String,
    /// The certificate's name in the configuration, the host that was asked for, the upstream, or the probe.
    pub name: String,
    /// The file, the listener, the endpoint or the probe's target.
    pub place: String,
    /// When it was last looked at.
    pub seen_at: Timestamp,
    /// What it says; `null` when there is none to be read.
    pub certificate: Option<CertificateFacts>,
    /// The rest of the chain.
    pub issuers: Vec<CertificateFacts>,
    /// Seconds left of its life; negative once it has expired.
    pub left_s: Option<i64>,
    /// Share of its life that is left; negative once it has expired.
    pub left_ratio: Option<f64>,
    /// When its renewal is due.
    pub renewal_due_at: Option<Timestamp>,
    /// Whether it speaks for the host that was asked for; `null` when none was.
    pub name_matches: Option<bool>,
    /// The certificate of the configuration that a listener should show for the host, by what lies on disk; `null`: none of
    /// the listener's is for it, or this is no listener.
    #[serde(default)]
    pub expected: Option<String>,
    /// Whether that is the one that is shown; `null` when none is expected or none is shown.
    #[serde(default)]
    pub as_expected: Option<bool>,
    /// Whether its issuer has revoked it; `null`: it is not of the configuration, or was not looked up yet.
    #[serde(default)]
    pub revocation: Option<RevocationView>,
    /// How urgent what is wrong is; `null`: nothing is.
    pub urgency: Option<Urgency>,
    /// What kind of thing is wrong: `expiry`, `expired`, `revoked`, `name`, `not_yet`, `untrusted`, `not_reloaded`, `unreadable`, `crl`: a
    /// list of revoked certificates cannot be used or is about to end, `issuance`: the authority does not issue it, or `preflight`: it would not find what it looks for.
    pub kind: Option<String>,
    /// What is wrong, in words.
    pub problem: Option<String>,
}

impl CertificateView {
    /// Says what is wrong, unless something more urgent is.
    pub fn say(&mut self, urgency: Urgency, kind: &str, problem: String) {
        if self.urgency.is_none_or(|before| before < urgency) {
            self.urgency = Some(urgency);
            self.kind = Some(kind.to_owned());
            self.problem = Some(problem);
        }
    }
}

/// Whether a certificate was revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationView {
    /// The lists that say so or not.
    pub lists: Vec<RevocationListView>,
    /// Why the lists that it names are not fetched; `null`: they are, or it names none.
    pub skipped: Option<String>,
}

/// What a list of revoked certificates says of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationListView {
    /// Its URL or file.
    pub place: String,
    /// When it was last read, or tried to be.
    pub read_at: Timestamp,
    /// When it was made; `null`: it could not be had yet.
    pub this_update: Option<Timestamp>,
    /// Until when another one will be made; `null`: it does not say.
    pub next_update: Option<Timestamp>,
    /// Since when the certificate is revoked; `null`: it is not.
    pub revoked_at: Option<Timestamp>,
    /// Why, in the word of RFC 5280.
    pub reason: Option<String>,
    /// Why it could not be read or is not believed; what was known before stays.
    pub error: Option<String>,
}

impl RevocationView {
    /// The list that has the certificate revoked.
    pub fn revoked(&self) -> Option<&RevocationListView> {
        self.lists.iter().find(|list| list.revoked_at.is_some())
    }

    /// Whether it is revoked; `None`: no list could be had.
    pub fn is_revoked(&self) -> Option<bool> {
        let mut had = self.lists.iter().filter(|list| list.this_update.is_some());
        had.next().map(|_| self.revoked().is_some())
    }

    /// When the first of its lists ends.
    pub fn next_update(&self) -> Option<Timestamp> {
        self.lists.iter().filter_map(|list| list.next_update).min()
    }
}

/// A certificate that is issued while we run, and how that goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IssuanceView {
    /// The certificate's name in the configuration.
    pub name: String,
    /// The name of the authority that issues it.
    pub authority: String,
    /// The authority's directory.
    pub directory: String,
    /// The hosts it is for.
    pub hosts: Vec<String>,
    /// How it is shown that they are ours: `http-01`, `tls-alpn-01` or `dns-01`.
    pub challenge: String,
    /// What is going on: `waiting`, or the phase of an order.
    pub state: String,
    /// When the one in use was issued; `null`: there is none.
    pub issued_at: Option<Timestamp>,
    /// When the next one will be ordered: when renewal is due, or after a pause when the last order failed.
    pub next_at: Option<Timestamp>,
    /// When renewal is due; `null`: at once.
    pub due_at: Option<Timestamp>,
    /// On whose word that is, in words.
    pub due_by: Option<String>,
    /// The authority's window for its renewal (RFC 9773), from and until.
    pub window: Option<(Timestamp, Timestamp)>,
    /// A page of the authority that says why.
    pub explanation: Option<String>,
    /// When the authority is asked again when to renew; `null`: it gives no such information.
    pub ask_at: Option<Timestamp>,
    /// Orders in a row that failed.
    pub failures: u64,
    /// Why the last order failed; `null`: it did not.
    pub error: Option<String>,
    /// When that was.
    pub error_at: Option<Timestamp>,
    /// How many certificates may still be issued now by our own limit.
    pub budget_left: u64,
    /// How long each phase of the last order took, in seconds, in order.
    pub phases: Vec<(String, f64)>,
    /// Issued since this process started.
    pub issued: u64,
    /// Orders that failed since this process started.
    pub failed: u64,
    /// What the last pre-flight of each host found, by host; empty before the first one, and with another challenge than `http-01`.
    #[serde(default)]
    pub preflights: Vec<PreflightView>,
}

impl IssuanceView {
    /// Hosts whose last pre-flight was well, and those whose was not.
    pub fn flown(&self) -> (u64, u64) {
        let failed = self.preflights.iter().filter(|it| it.error.is_some());
        let failed = failed.count() as u64;
        (self.preflights.len() as u64 - failed, failed)
    }
}

/// Whether an authority that asked now would find what it looks for at a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreflightView {
    /// The host.
    pub host: String,
    /// When that was looked at.
    pub at: Timestamp,
    /// The addresses and ports at which our own text was found; empty when it failed.
    pub addresses: Vec<String>,
    /// Pre-flights in a row that failed.
    pub failures: u64,
    /// Why the last one failed; `null`: it did not.
    pub error: Option<String>,
}

impl PreflightView {
    /// Failures in a row that are worth a ticket: one alone may be a hiccup.
    pub const TELLING: u64 = 2;

    /// Whether it has failed for long enough to be told.
    pub fn is_telling(&self) -> bool {
        self.failures >= Self::TELLING
    }
}

/// How urgent something is that has no error budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// Not as it should be.
    Warn,
    /// Someone looks at it in working hours.
    Ticket,
    /// Someone is woken.
    Page,
}

impl Urgency {
    /// Every one of them.
    pub const ALL: [Self; 3] = [Self::Warn, Self::Ticket, Self::Page];

    /// Its word in labels and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Ticket => "ticket",
            Self::Page => "page",
        }
    }
}

/// What is wrong with one certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertificateAlertView {
    /// Its id, stable: the certificate's fingerprint.
    pub id: String,
    /// How urgent.
    pub urgency: Urgency,
    /// What kind of thing is wrong, as in [`CertificateView::kind`].
    pub kind: String,
    /// Its name where it was seen first.
    pub name: String,
    /// Where that was, as in [`CertificateView::source`].
    pub source: String,
    /// Since when it is so.
    pub since: Timestamp,
    /// What is wrong, in words.
    pub text: String,
}

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerView {
    /// Its name.
    pub name: String,
    /// The address it is bound to.
    pub address: String,
    /// Whether it terminates TLS.
    pub tls: bool,
}

/// The configuration in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigView {
    /// Counts up with every configuration applied in this process.
    pub generation: u64,
    /// The same for every instance that is told the same by its file and environment: 16 hexadecimal digits.
    #[serde(default)]
    pub hash: String,
    /// Where it came from: a file, or `built in`.
    pub source: String,
    /// When it was applied.
    pub applied_at: Timestamp,
    /// From the request to reload until every worker had it, in milliseconds.
    pub apply_ms: u64,
    /// Why the last reload was refused; `null` once one is applied.
    pub refused: Option<String>,
}

/// This process's own use of the machine. `null`: the system does not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessView {
    /// CPU seconds used since the start.
    pub cpu_seconds: Option<f64>,
    /// CPU used over the last second; 1.0 is one core.
    pub cpu_ratio: Option<f64>,
    /// Processors that it may use, by affinity and control groups; 1.0 is one.
    #[serde(default)]
    pub cpus: Option<f64>,
    /// Resident memory.
    pub rss_bytes: Option<u64>,
    /// Memory that it may have, by control groups and what the machine has.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// The limit on them.
    pub max_fds: Option<u64>,
    /// Data-plane worker threads.
    pub workers: u64,
}

/// The history on disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoreView {
    /// The database file.
    pub path: String,
    /// Its size with its write-ahead log.
    pub size_bytes: u64,
    /// The byte budget.
    pub budget_bytes: u64,
    /// When a minute was last committed.
    pub flushed_at: Option<Timestamp>,
    /// Minutes waiting to be written.
    pub backlog: u64,
    /// Spans without history in the last 30 days, newest first, at most 20.
    pub gaps: Vec<Gap>,
}

/// A span in which nothing was measured: the process was down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

/// One bounded queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueView {
    /// Its name.
    pub queue: String,
    /// How many it holds at most.
    pub capacity: u64,
    /// What it refused since the start.
    pub dropped: u64,
}

/// One signal's export to an OTLP receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExporterView {
    /// `metrics`, `traces` or `logs`.
    pub signal: String,
    /// Where to.
    pub receiver: String,
    /// `http/protobuf` or `grpc`.
    pub protocol: String,
    /// Data points, spans or records that the receiver took since the start.
    pub sent: u64,
    /// Those that were lost since the start, by reason; every reason is there.
    pub dropped: BTreeMap<String, u64>,
    /// Encoded bytes that wait.
    pub queued_bytes: u64,
    /// How many may wait.
    pub queue_bytes: u64,
    /// When the receiver last took something.
    pub last_success: Option<Timestamp>,
    /// Since when every attempt fails; `null`: the last one did not.
    pub failing_since: Option<Timestamp>,
    /// What the last failure was, or what the receiver did not like.
    pub error: Option<String>,
}

/// What the metrics page needs beyond what is shown: counters since the process started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// By route id, in configured order; `none` first.
    pub routes: Vec<(String, RouteTotals)>,
    /// By upstream and endpoint.
    pub endpoints: Vec<(String, String, EndpointTally)>,
    /// Valid events by SLO id since the state directory began.
    pub slos: Vec<(String, Tally)>,
    /// What happened, in the order of [`EventKind::ALL`].
    pub events: [u64; EventKind::ALL.len()],
    /// By probe.
    pub probes: Vec<(String, ProbeTotals)>,
    /// Runs of probes under way.
    pub probe_runs: u64,
    /// Requests that carried a probe's mark, and count for no route.
    pub probe_requests: u64,
    /// Upgraded connections now.
    pub tunnels: u64,
    /// TLS handshakes completed.
    pub handshakes: u64,
    /// TLS handshakes that failed.
    pub handshakes_failed: u64,
    /// Both by how they ended, in the order of [`Handshake::ALL`](crate::model::Handshake::ALL).
    pub handshakes_by_end: Handshakes,
    /// Connections refused for want of a PROXY header that holds, indexed by [`PreambleFailure::index`].
    pub preamble_failures: [u64; PreambleFailure::COUNT],
    /// Paths with an encoded separator that were answered 400.
    pub encoded_refused: u64,
    /// Paths with an encoded separator that a route reports and passes on.
    pub encoded_reported: u64,
    /// Retries not made because their route's budget was spent.
    pub retries_refused: u64,
    /// Connections that could not be accepted.
    pub accept_failures: u64,
    /// By rate limit, in configured order.
    pub rate_limits: Vec<RateLimitTotals>,
}

/// One rate limit's counters since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimitTotals {
    /// Its name.
    pub name: String,
    /// Requests over it: answered 429, or only counted if it only reports.
    pub refused: u64,
    /// Keys forgotten before their time, for want of room.
    pub evicted: u64,
}

/// One probe's counters since the process started, and its last run.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeTotals {
    /// Slots that were well.
    pub ok: u64,
    /// Failed slots, indexed by [`ProbeFailure::index`].
    pub failures: [u64; ProbeFailure::COUNT],
    /// Missed slots, indexed by [`Missed::index`].
    pub missed: [u64; Missed::COUNT],
    /// Runs by duration.
    pub durations: Durations,
    /// The sum of durations in microseconds.
    pub duration_us: u64,
    /// The last run's phases.
    pub phases: ProbePhases,
    /// The last run's delay behind its slot, in microseconds.
    pub lag_us: u64,
    /// Runs of slots that were shorter than configured: the probe was in a hurry.
    pub hurried: u64,
}

impl Default for ProbeTotals {
    fn default() -> Self {
        Self {
            ok: 0,
            failures: [0; ProbeFailure::COUNT],
            missed: [0; Missed::COUNT],
            durations: Durations::default(),
            duration_us: 0,
            phases: ProbePhases::default(),
            lag_us: 0,
            hurried: 0,
        }
    }
}

/// One route's counters since the process started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteTotals {
    /// By fault, indexed by [`Fault::index`].
    pub faults: [u64; Fault::COUNT],
    /// By status class, see [`crate::model::RouteSlot::classes`].
    pub classes: [u64; 6],
    /// Valid requests by duration, at the standard bounds and at those of the route's SLOs.
    pub durations: Durations,
    /// Requests with an exported trace, the newest of each bucket of `durations` that has one; in no order.
    pub exemplars: Vec<Exemplar>,
    /// The sum of durations in microseconds.
    pub duration_us: u64,
    /// Request body bytes.
    pub bytes_in: u64,
    /// Response body bytes.
    pub bytes_out: u64,
    /// Attempts beyond the first.
    pub retries: u64,
}

impl RouteTotals {
    /// Adds one second's counts.
    pub fn add(&mut self, slot: &RouteSlot) {
        let add = |mine: &mut [u64], theirs: &[u64]| {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                *mine = mine.saturating_add(*theirs);
            }
        };
        add(&mut self.faults, &slot.faults);
        add(&mut self.classes, &slot.classes);
        self.durations += &slot.durations;
        for exemplar in slot.exemplars.iter().flatten() {
            self.exemplify(*exemplar);
        }
        self.duration_us = self.duration_us.saturating_add(slot.duration_us);
        self.bytes_in = self.bytes_in.saturating_add(slot.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(slot.bytes_out);
        self.retries = self.retries.saturating_add(slot.retries);
    }

    /// Keeps the newer one of those in the same bucket.
    fn exemplify(&mut self, exemplar: Exemplar) {
        let bucket = |exemplar: &Exemplar| self.durations.bucket(exemplar.duration_us);
        let wanted = bucket(&exemplar);
        let known = self
            .exemplars
            .iter()
            .position(|known| bucket(known) == wanted);
        match known.map(|place| &mut self.exemplars[place]) {
            Some(known) => *known = (*known).max(exemplar),
            None => self.exemplars.push(exemplar),
        }
    }
}
