//! Draws the verdict: which routes are in trouble, what they have in common, and the sentence for each incident.
//!
//! A route is in trouble when an alert of it fires, when one of its SLOs is critical, rising or low on budget, or when
//! its last minute alone burns so fast that one of these is to be expected. Routes of one upstream that fail through
//! its fault are one incident, and so are all that fail through the edge's.
//!
//! An SLO about several routes is no incident of its own: it is told at the route that spends most of it, with that route's
//! own trouble if it has any.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::advice::{self, Findings};
use super::evidence::{Detail, EndpointEvidence, Evidence, History, RouteEvidence};
use super::onset::{self, Onset};
use super::sentence::{label, sentence};
use super::{
    Difference, Level, Locus, Suspect, Topic, Verdict, certificate, clients, flapping, mix,
    outside, side, slowdown, stale, suspect, vitals, words,
};
use crate::model::{About, Counts, Event, EventKind, Fault, Side, Sli, Tally, Timestamp, Window};
use crate::slo::alert::{AlertKind, AlertState, AlertStatus};
use crate::slo::burn;
use crate::slo::engine::SloStatus;
use crate::slo::policy::{Factor, Severity};
use crate::slo::state::SloState;

/// One sentence for each incident, worst first; never empty: without an incident it says how all is well, or why that
/// is not known.
pub fn verdicts(now: Timestamp, evidence: &Evidence<'_>) -> Vec<Verdict> {
    let mut incidents: BTreeMap<(Locus, &str), Vec<Trouble<'_>>> = BTreeMap::new();
    for trouble in troubles(evidence) {
        incidents.entry(trouble.group()).or_default().push(trouble);
    }
    let in_trouble: Vec<String> = incidents
        .values()
        .flatten()
        .map(|trouble| trouble.route.id.to_owned())
        .collect();
    // Upstreams that an incident is told of already.
    let failing: Vec<String> = incidents
        .values()
        .flatten()
        .filter_map(|trouble| trouble.route.upstream.map(str::to_owned))
        .collect();
    let told: Vec<String> = incidents
        .values()
        .flatten()
        .map(|trouble| trouble.route.id.to_owned())
        .collect();
    let mut verdicts: Vec<Verdict> = incidents
        .into_values()
        .map(|mut troubles| {
            troubles.sort_by(|a, b| b.weight().total_cmp(&a.weight()));
            troubles.sort_by_key(|trouble| std::cmp::Reverse(trouble.level));
            incident(now, &troubles, evidence)
        })
        .collect();
    verdicts.extend(vitals::verdicts(now, evidence));
    verdicts.extend(unwatched(evidence));
    verdicts.extend(certificate::verdict(now, evidence));
    let shift = mix::verdict(now, evidence);
    let lost: Vec<String> = shift.iter().flat_map(|it| it.routes.clone()).collect();
    verdicts.extend(shift);
    verdicts.extend(silent(now, evidence, &lost));
    verdicts.extend(outside::verdict(now, evidence, &told));
    verdicts.extend(stale::verdicts(now, evidence));
    verdicts.extend(flapping::verdict(now, evidence, &failing));
    verdicts.extend(slowdown::verdict(evidence, &in_trouble));
    verdicts.extend(clients::verdict(now, evidence));
    verdicts.extend(degraded(evidence));
    verdicts.sort_by(|a, b| {
        let weight = |verdict: &Verdict| verdict.bad_per_s.unwrap_or_default();
        (b.severity.cmp(&a.severity)).then(weight(b).total_cmp(&weight(a)))
    });
    // What clients do wrong does not make unknown whether all is well.
    if verdicts.iter().all(|it| it.severity == Level::Ok) {
        let calm = calm(now, evidence);
        if verdicts.is_empty() || calm.severity != Level::Ok {
            verdicts.insert(0, calm);
        }
    }
    verdicts
}

/// The window that "burning" is said over.
pub(super) const RECENT: Window = Window::minutes(5);

/// Every route in trouble, by its own SLOs or by those it shares with others.
fn troubles<'a>(evidence: &'a Evidence<'_>) -> Vec<Trouble<'a>> {
    let mut troubles: Vec<Trouble<'a>> = evidence
        .routes
        .iter()
        .filter_map(|route| Trouble::of(route, evidence))
        .collect();
    if evidence.wide.is_empty() {
        return troubles;
    }
    let known: HashMap<&str, &RouteEvidence<'_>> =
        evidence.routes.iter().map(|it| (it.id, it)).collect();
    for wide in &evidence.wide {
        let routes: Vec<(Tally, &RouteEvidence<'_>)> = wide
            .routes
            .iter()
            .filter_map(|(id, tally)| Some((*tally, *known.get(id)?)))
            .collect();
        let minute = routes.iter().fold(Counts::default(), |mut sum, (_, it)| {
            sum += it.last_minute;
            sum
        });
        let level = match judged(&wide.alerts, wide.slo) {
            level if fails_now(minute, wide.slo) => level.max(Level::Warn),
            level => level,
        };
        if level <= Level::Unknown {
            continue;
        }
        let is_only_low = is_only_low(wide.slo, level);
        let told = if is_only_low { 1 } else { usize::MAX };
        for (counted, route) in spenders(routes).into_iter().take(told) {
            // Of what is looked back on it is not known which route counted what.
            let recent = if counted.valid() > 0 {
                counted
            } else {
                wide.by.recent
            };
            let own = troubles.iter_mut().find(|it| it.route.id == route.id);
            match own {
                // What burns is told rather than what is merely low.
                Some(own) if own.is_only_low && !is_only_low => {
                    let before = own.slo;
                    *own = Trouble::with(route, (level, wide.slo, wide.by), recent, evidence);
                    own.wider.push(before);
                }
                Some(own) => {
                    own.level = own.level.max(level);
                    own.wider.push(wide.slo);
                }
                None => {
                    let slos = (level, wide.slo, wide.by);
                    troubles.push(Trouble::with(route, slos, recent, evidence));
                }
            }
        }
    }
    troubles
}

/// Which routes an SLO about several is told at: the one that spends most of it, and those that spend at least a tenth as
/// much through the same upstream, which are the same trouble. The busiest when nothing was bad lately.
fn spenders<'a>(
    mut routes: Vec<(Tally, &'a RouteEvidence<'a>)>,
) -> Vec<(Tally, &'a RouteEvidence<'a>)> {
    /// The share of what the first spends from which another is told with it.
    const TOLD: u64 = 10;
    routes.sort_by_key(|(tally, route)| {
        std::cmp::Reverse((tally.bad, route.last_minute.bad, tally.valid()))
    });
    let Some((most, first)) = routes.first().copied() else {
        return Vec::new();
    };
    let with_it = routes.iter().skip(1).filter(|(tally, route)| {
        tally.bad > 0
            && tally.bad.saturating_mul(TOLD) >= most.bad
            && route.upstream.is_some()
            && route.upstream == first.upstream
    });
    [(most, first)]
        .into_iter()
        .chain(with_it.copied())
        .collect()
}

/// One route in trouble, looked at closer.
pub(super) struct Trouble<'a> {
    pub(super) route: &'a RouteEvidence<'a>,
    /// The SLO that speaks loudest.
    pub(super) slo: &'a SloStatus,
    /// That one, or of a composite the part that spends most of it: what the route is described by.
    pub(super) by: &'a SloStatus,
    /// Those about several routes that this one spends most of, without the loudest.
    pub(super) wider: Vec<&'a SloStatus>,
    level: Level,
    /// The SLO's events of the last five minutes, on this route.
    pub(super) recent: Tally,
    detail: Detail,
    side: Locus,
    faults: Vec<(Fault, u64)>,
    /// Whether there is little budget left and nothing burns it just now.
    pub(super) is_only_low: bool,
    /// Whether most of what is bad are errors of clients, which this SLO counts.
    pub(super) is_refused: bool,
}

impl<'a> Trouble<'a> {
    /// `None` when nothing is wrong with `route`.
    fn of(route: &'a RouteEvidence<'a>, evidence: &Evidence<'_>) -> Option<Self> {
        let (level, slo) = route
            .slos
            .iter()
            .map(|slo| (level(route, slo), *slo))
            .max_by(|(a, one), (b, other)| {
                let burn = |slo: &SloStatus| slo.burn_over(RECENT).unwrap_or_default();
                a.cmp(b)
                    .then(one.state.cmp(&other.state))
                    .then(burn(one).total_cmp(&burn(other)))
            })
            .filter(|(level, _)| *level > Level::Unknown)?;
        Some(Self::with(route, (level, slo, slo), slo.recent, evidence))
    }

    /// `route` in trouble by `slo`.
    fn with(
        route: &'a RouteEvidence<'a>,
        (level, slo, by): (Level, &'a SloStatus, &'a SloStatus),
        recent: Tally,
        evidence: &Evidence<'_>,
    ) -> Self {
        let detail = (evidence.detail)(route.id);
        let faults = side::faults(&detail);
        let is_only_low = is_only_low(slo, level);
        let is_refused = is_refused(by, recent, &detail);
        let side = match by.slo.sli {
            Sli::Availability(_) if is_refused => Locus::Client,
            // When users see it too, their faults say whose it is.
            // Vital signs are told apart; here they are only what else burns.
            Sli::Availability(_) | Sli::Probe { .. } | Sli::Vital(_) | Sli::Composite(_) => {
                side::of_faults(&faults)
            }
            Sli::Latency { .. } => side::of_phases(&detail.phases_p50_us),
            Sli::Connection => match side::of_faults(&faults) {
                // Other attempts made up for it.
                Locus::Unknown => Locus::Upstream,
                side => side,
            },
            Sli::RateLimit => Locus::Client,
        };
        let side = match side {
            Locus::Unknown => side_of_probes(route.id, evidence),
            known => known,
        };
        Self {
            route,
            slo,
            by,
            wider: Vec::new(),
            level,
            recent,
            detail,
            side,
            faults,
            is_only_low,
            is_refused,
        }
    }

    /// What it is one incident with.
    fn group(&self) -> (Locus, &'a str) {
        match (self.side, self.route.upstream) {
            _ if self.is_only_low || self.is_slow() => (Locus::None, &self.slo.slo.id),
            (Locus::Edge, _) => (Locus::Edge, ""),
            (side @ (Locus::Upstream | Locus::Network), Some(upstream)) => (side, upstream),
            (side, _) => (side, self.route.id),
        }
    }

    /// Among equals the one that spends more.
    fn weight(&self) -> f64 {
        self.route.last_minute.bad as f64 + self.slo.burn_over(RECENT).unwrap_or_default() / 1e6
    }

    /// Whether nothing failed in the last minute any more, though there was traffic.
    pub(super) fn is_over(&self) -> bool {
        if self.is_probed() || self.is_refused || self.is_hidden() {
            return self.recent.bad == 0 && self.recent.good > 0;
        }
        let minute = self.route.last_minute;
        !self.is_slow() && minute.bad == 0 && minute.valid() > 0
    }

    /// Whether it is about being slow rather than failing.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self.by.slo.sli, Sli::Latency { .. })
    }

    /// Whether it is about what need not have failed any request of a user's.
    pub(super) fn is_hidden(&self) -> bool {
        matches!(self.by.slo.sli, Sli::Connection | Sli::RateLimit)
    }

    /// Whether it is about what a probe found.
    pub(super) fn is_probed(&self) -> bool {
        matches!(self.by.slo.sli, Sli::Probe { .. })
    }

    fn onset(&self, now: Timestamp, history: &History) -> Option<Onset> {
        if self.is_only_low {
            return None;
        }
        onset::find(history, now.as_secs())
    }
}

/// Whether there is little budget left and nothing burns it just now.
pub(super) fn is_only_low(slo: &SloStatus, level: Level) -> bool {
    slo.state == SloState::Low
        && level == Level::Warn
        && slo.burn_over(RECENT).is_none_or(|burn| burn <= 1.0)
}

/// Whose it is by the probes of a route, when what users met does not say.
fn side_of_probes(route: &str, evidence: &Evidence<'_>) -> Locus {
    let probes = evidence.probes.iter();
    let mut sides = probes
        .filter(|probe| probe.route == Some(route) && probe.placing.is_some())
        .map(|probe| probe.place().side())
        .filter(|side| *side != Locus::Unknown);
    let first = sides.next();
    // Two that disagree say nothing.
    first
        .filter(|first| sides.all(|it| it == *first))
        .unwrap_or(Locus::Unknown)
}

/// Whether most bad events of the last five minutes are no failures of the edge or the upstream, but errors of clients.
fn is_refused(slo: &SloStatus, recent: Tally, detail: &Detail) -> bool {
    let Sli::Availability(reading) = slo.slo.sli else {
        return false;
    };
    let faults = Fault::ALL.iter().zip(&detail.faults_5m);
    let failed = faults.filter(|(fault, _)| fault.side() != Side::Downstream);
    let failed: u64 = failed.map(|(_, count)| count).sum();
    // Slices are fewer than the requests that failed in them.
    let failed = match slo.slo.slices {
        None => failed.saturating_mul(2),
        Some(_) if failed > 0 => return false,
        Some(_) => 0,
    };
    reading.counts_client_errors() && recent.bad > failed
}

/// How bad an SLO makes things by its alerts and its state.
pub(super) fn judged(alerts: &[&AlertStatus], slo: &SloStatus) -> Level {
    let fires = |severity| {
        alerts.iter().any(|alert| {
            alert.slo.as_ref() == Some(&slo.slo.id)
                && alert.state == AlertState::Firing
                && alert.severity == severity
        })
    };
    match slo.state {
        _ if fires(Severity::Page) => Level::Crit,
        SloState::Critical => Level::Crit,
        SloState::Rising | SloState::Low => Level::Warn,
        _ if fires(Severity::Ticket) => Level::Warn,
        SloState::Ok | SloState::Recovering => Level::Ok,
        SloState::NoData | SloState::Warming => Level::Unknown,
    }
}

/// How bad one SLO of `route` makes things.
fn level(route: &RouteEvidence<'_>, slo: &SloStatus) -> Level {
    let surges = slo.slo.sli == Sli::AVAILABILITY
        && route
            .alerts
            .iter()
            .any(|alert| alert.kind == AlertKind::Surge && alert.state == AlertState::Firing);
    match judged(&route.alerts, slo) {
        _ if surges => Level::Crit,
        level if fails_now(route.last_minute, slo) => level.max(Level::Warn),
        level => level,
    }
}

/// Whether the last minute alone burns as fast as the workbook's fastest row: five minutes of an availability of 99 %
/// hide a total outage for its first 43 seconds, in which "all well" would be wrong.
fn fails_now(last_minute: Counts, slo: &SloStatus) -> bool {
    /// Bad requests below which a minute tells nothing.
    const ENOUGH: u64 = 10;
    const FAST: Factor = Factor::milli(14_400);
    let Counts { good, bad, .. } = last_minute;
    match slo.slo.sli {
        Sli::Availability(_) => {
            bad >= ENOUGH && burn::exceeds(Tally { good, bad }, slo.slo.objective, FAST)
        }
        Sli::Latency { .. }
        | Sli::Connection
        | Sli::RateLimit
        | Sli::Probe { .. }
        | Sli::Vital(_)
        | Sli::Composite(_) => false,
    }
}

/// The verdict on routes that are in trouble together, worst first; at least one.
fn incident(now: Timestamp, troubles: &[Trouble<'_>], evidence: &Evidence<'_>) -> Verdict {
    let worst = &troubles[0];
    let (route, slo) = (worst.route, worst.slo);
    let culprits = side::culprits(&worst.detail.endpoints);
    // Those that carry the errors; when none stands out, all that have any.
    let failing: Vec<&str> = worst
        .detail
        .endpoints
        .iter()
        .filter(|endpoint| culprits.is_empty() && endpoint.bad + endpoint.connect_failures > 0)
        .chain(culprits.iter().copied())
        .map(|endpoint| endpoint.address.as_str())
        .collect();
    let history = (evidence.history)(slo.key);
    let onset = worst.onset(now, &history);
    let mut suspects = onset.map_or_else(Vec::new, |onset| {
        suspect::find(evidence.events, route, &failing, onset)
    });
    suspect::weigh(&mut suspects, &history, now);
    let deployed_since = onset.and_then(|onset| deployed_since(evidence.events, route, onset));
    // With another version running since, the suspect's is not to be told from it any more.
    let telling = suspects.first().filter(|_| deployed_since.is_none());
    let differs = differs(worst, &culprits, telling, evidence);
    let mut suspects = suspects.into_iter();
    let suspect = suspects.next();
    let side = side_of(worst, suspect.as_ref());
    let minute = route.last_minute;
    let fault = (!worst.is_slow() && !worst.is_refused && !worst.is_hidden())
        .then(|| worst.faults.first())
        .flatten();
    // What fails the handshakes is known: it is what is to be told, whatever else has changed.
    let shown = evidence.certificates.iter().find(|it| {
        let upstream = route.upstream;
        let is_it = upstream.is_some_and(|upstream| it.upstreams.contains(&upstream));
        is_it
            && fault.is_some_and(|(fault, _)| *fault == Fault::TlsHandshake)
            && it.kind != "expiry"
    });
    let side = if shown.is_some() {
        Locus::Certificate
    } else {
        side
    };
    let next_step = if let Some(known) = shown {
        format!(
            "have the certificate of {} renewed there: {}",
            route.upstream.unwrap_or(route.id),
            known.text
        )
    } else if worst.is_only_low {
        let until = match &slo.slo.calendar {
            None => "old errors age out".to_owned(),
            Some(calendar) => format!("the {} is over", calendar.unit.as_str()),
        };
        format!("hold back risky changes to {} until {until}", about(worst))
    } else {
        advice::next_step(&Findings {
            route,
            side,
            fault: fault.map(|(fault, _)| *fault),
            suspect: suspect.as_ref(),
            deployed_since,
            culprits: &culprits,
            endpoints: &worst.detail.endpoints,
            is_over: worst.is_over(),
            now,
        })
    };
    let mut verdict = Verdict {
        topic: Topic::Burn,
        severity: worst.level,
        side,
        route: Some(route.id.to_owned()),
        routes: ids(troubles),
        slo: Some(slo.slo.id.clone()),
        slos: spoken_for(troubles),
        onset: onset.map(|onset| Timestamp::from_secs(onset.secs)),
        suspect,
        further_suspects: suspects.collect(),
        differs,
        burn: slo.burn_over(RECENT),
        remaining_ratio: slo.expected_remaining_ratio,
        time_to_empty_s: slo.time_to_empty_s,
        bad_ratio: ratio(minute.bad, minute.valid()),
        bad_per_s: (route.covered_s > 0).then(|| minute.bad as f64 / route.covered_s as f64),
        share_of_bad: ratio(minute.bad, evidence.edge.bad),
        fault: fault.map(|(fault, _)| fault.as_str().to_owned()),
        outside: outside::of_trouble(worst, evidence),
        next_step,
        runbook: slo
            .slo
            .runbook
            .clone()
            .or_else(|| route.runbook.map(str::to_owned)),
        text: String::new(),
    };
    let only = (!culprits.is_empty()).then(|| {
        let named = advice::addresses(culprits.iter().map(|endpoint| endpoint.address.as_str()));
        let tried = worst.detail.endpoints.len();
        format!(", only {named} ({} of {tried} endpoints)", culprits.len())
    });
    verdict.text = sentence(now, troubles, &verdict, onset, only.as_deref());
    verdict
}

/// What the SLO that speaks loudest is about.
pub(super) fn about(worst: &Trouble<'_>) -> String {
    match &worst.slo.slo.about {
        About::Route(id) => id.clone(),
        wide @ (About::Upstream(_) | About::Owner(_) | About::Limit(_) | About::Ingress) => {
            wide.to_string()
        }
        About::Parts => worst.slo.slo.id.clone(),
    }
}

/// Every SLO that these speak for, the loudest first.
fn spoken_for(troubles: &[Trouble<'_>]) -> Vec<String> {
    let mut slos: Vec<String> = Vec::new();
    for trouble in troubles {
        for slo in [trouble.slo].iter().chain(&trouble.wider) {
            if !slos.contains(&slo.slo.id) {
                slos.push(slo.slo.id.clone());
            }
        }
    }
    slos
}

/// The routes in trouble, each once.
fn ids(troubles: &[Trouble<'_>]) -> Vec<String> {
    troubles
        .iter()
        .map(|trouble| trouble.route.id.to_owned())
        .collect()
}

/// Whose it is, now that it is known what changed: a service that cannot be connected to since its name leads elsewhere
/// is not there any more.
fn side_of(worst: &Trouble<'_>, suspect: Option<&Suspect>) -> Locus {
    let unreached = worst.faults.first().is_some_and(|(fault, _)| {
        matches!(
            fault,
            Fault::Dns
                | Fault::ConnectRefused
                | Fault::ConnectTimeout
                | Fault::ConnectFailed
                | Fault::TlsHandshake
        )
    });
    let moved = suspect.is_some_and(|it| it.event.kind == EventKind::Name);
    if worst.side == Locus::Upstream && unreached && moved {
        Locus::Network
    } else {
        worst.side
    }
}

/// What tells the bad requests from the good ones: some endpoints, a new version, or one route of several of its upstream.
fn differs(
    worst: &Trouble<'_>,
    culprits: &[&EndpointEvidence],
    suspect: Option<&Suspect>,
    evidence: &Evidence<'_>,
) -> Option<Difference> {
    if worst.is_slow() || worst.is_only_low {
        return None;
    }
    if !culprits.is_empty() {
        let of = |is_culprit: bool| {
            let them = worst.detail.endpoints.iter();
            let them = them.filter(|it| culprits.contains(it) == is_culprit);
            them.fold(Tally::default(), |sum, it| {
                sum + Tally {
                    good: it.good,
                    bad: it.bad,
                }
            })
        };
        return Some(Difference {
            dimension: "endpoint".to_owned(),
            part: advice::addresses(culprits.iter().map(|it| it.address.as_str())),
            there: of(true),
            elsewhere: of(false),
        });
    }
    let deploy = suspect.filter(|it| it.event.kind == EventKind::Deploy);
    if let (Some(deploy), Some(version)) = (deploy, worst.route.version)
        && deploy.event.scope.upstream.as_deref() == worst.route.upstream
        && deploy.lift().is_none_or(|lift| lift >= TELLING)
    {
        return Some(Difference {
            dimension: "version".to_owned(),
            part: version.to_owned(),
            there: deploy.since,
            elsewhere: deploy.before,
        });
    }
    let tally = |counts: Counts| Tally {
        good: counts.good,
        bad: counts.bad,
    };
    let beside = evidence
        .routes
        .iter()
        .filter(|it| it.id != worst.route.id && it.upstream == worst.route.upstream)
        .fold(Tally::default(), |sum, it| sum + tally(it.last_minute));
    let there = tally(worst.route.last_minute);
    let much = ratio(there.bad, there.valid())?;
    let little = ratio(beside.bad, beside.valid())?;
    (worst.route.upstream.is_some() && much >= TELLING * little).then(|| Difference {
        dimension: "route".to_owned(),
        part: worst.route.id.to_owned(),
        there,
        elsewhere: beside,
    })
}

/// How many times as often requests must be bad in one part for it to tell them apart.
const TELLING: f64 = 5.0;

/// The newest deploy of the route's upstream after the onset: a rollback or a try at a fix, never a suspect.
fn deployed_since<'e>(
    events: &'e [Event],
    route: &RouteEvidence<'_>,
    onset: Onset,
) -> Option<&'e Event> {
    let began = Timestamp::from_secs(onset.secs);
    // As much later as the suspect's tolerance reaches, so that no deploy is both.
    let after = began.plus(Duration::from_secs(
        onset.within_s.max(suspect::TOLERANCE_S),
    ));
    events.iter().find(|event| {
        event.kind == EventKind::Deploy
            && event.at > after
            && event.scope.upstream.is_some()
            && event.scope.upstream.as_deref() == route.upstream
    })
}

/// Where a person finds what to do about a route: at one of its SLOs, or at itself.
pub(super) fn runbook(route: &RouteEvidence<'_>) -> Option<String> {
    let mut slos = route.slos.iter();
    let of_slo = slos.find_map(|slo| slo.slo.runbook.clone());
    of_slo.or_else(|| route.runbook.map(str::to_owned))
}

/// `None` of nothing.
pub(super) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// A route that no SLO covers and that fails: it spends nobody's budget, and yet it should not go unsaid.
fn unwatched(evidence: &Evidence<'_>) -> Option<Verdict> {
    /// Bad requests a minute, and their share, below which nothing is said.
    const ENOUGH: u64 = 10;
    let wide = evidence.wide.iter().flat_map(|wide| &wide.routes);
    let covered: HashSet<&str> = wide.map(|(id, _)| *id).collect();
    let route = evidence
        .routes
        .iter()
        .filter(|route| route.slos.is_empty() && !covered.contains(route.id))
        .filter(|route| {
            let minute = route.last_minute;
            minute.bad >= ENOUGH && minute.bad * 2 >= minute.valid()
        })
        .max_by_key(|route| route.last_minute.bad)?;
    let minute = route.last_minute;
    let detail = (evidence.detail)(route.id);
    let faults = side::faults(&detail);
    let bad_ratio = ratio(minute.bad, minute.valid());
    let next_step = format!("give {} an SLO, or see why it fails", route.id);
    Some(Verdict {
        severity: Level::Warn,
        side: side::of_faults(&faults),
        route: Some(route.id.to_owned()),
        routes: vec![route.id.to_owned()],
        bad_ratio,
        bad_per_s: (route.covered_s > 0).then(|| minute.bad as f64 / route.covered_s as f64),
        share_of_bad: ratio(minute.bad, evidence.edge.bad),
        fault: faults.first().map(|(fault, _)| fault.as_str().to_owned()),
        runbook: route.runbook.map(str::to_owned),
        text: format!(
            "{}: {} {} bad ({}/{}) and no SLO covers it; {next_step}",
            label(Level::Warn),
            route.id,
            words::percent(bad_ratio.unwrap_or_default()),
            minute.bad,
            minute.valid(),
        ),
        next_step,
        ..blank(Level::Warn)
    })
}

/// Alerts of `kind` that fire.
pub(super) fn firing<'a>(
    evidence: &'a Evidence<'_>,
    kind: AlertKind,
) -> impl Iterator<Item = &'a AlertStatus> {
    let of_kind =
        move |alert: &&AlertStatus| alert.kind == kind && alert.state == AlertState::Firing;
    evidence.alerts.iter().copied().filter(of_kind)
}

/// A busy route that gets no request any more: nothing fails, because nothing arrives.
/// `told` are routes of which it is known where their requests went.
fn silent(now: Timestamp, evidence: &Evidence<'_>, told: &[String]) -> Option<Verdict> {
    let all = firing(evidence, AlertKind::NoData);
    let mut all = all.filter(|alert| alert.route.as_ref().is_none_or(|it| !told.contains(it)));
    let worst = all.next()?;
    let more = match all.count() {
        0 => String::new(),
        more => format!(" and {more} more routes"),
    };
    let next_step =
        "check what is in front of this proxy: names, load balancer, firewall".to_owned();
    Some(Verdict {
        topic: Topic::Silence,
        side: Locus::Network,
        route: worst.route.clone(),
        routes: worst.route.iter().cloned().collect(),
        onset: Some(worst.since),
        text: format!(
            "{}: silence: {}{more} got no request for ten minutes after a busy hour, told {}; {next_step}",
            label(Level::Warn),
            words::plain(&worst.about),
            words::time(worst.since, now),
        ),
        next_step,
        runbook: worst.runbook.clone(),
        ..blank(Level::Warn)
    })
}

/// A part of ourselves does not work though traffic goes on.
fn degraded(evidence: &Evidence<'_>) -> Option<Verdict> {
    let first = evidence.degraded.first()?;
    let more = match evidence.degraded.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let next_step = "see Vestibule's own log".to_owned();
    Some(Verdict {
        topic: Topic::Degraded,
        side: Locus::Edge,
        text: format!(
            "{}: traffic is fine, but {}{more}; {next_step}",
            label(Level::Warn),
            words::plain(first)
        ),
        next_step,
        ..blank(Level::Warn)
    })
}

/// No incident: all well, or not known.
fn calm(now: Timestamp, evidence: &Evidence<'_>) -> Verdict {
    let slos: Vec<&SloStatus> = evidence
        .routes
        .iter()
        .flat_map(|route| route.slos.iter().copied())
        .chain(evidence.wide.iter().map(|wide| wide.slo))
        .chain(evidence.vitals.iter().map(|vital| vital.slo))
        .collect();
    let count = |state: SloState| slos.iter().filter(|slo| slo.state == state).count();
    let (silent, warming) = (count(SloState::NoData), count(SloState::Warming));
    let (all, recovering) = (slos.len(), count(SloState::Recovering));
    let (level, what) = if all == 0 {
        (Level::Unknown, "no SLO is configured".to_owned())
    } else if silent == all {
        (
            Level::Unknown,
            format!("no data: no requests for {}", counted(all)),
        )
    } else if warming > 0 {
        let what = format!(
            "warming up: too little history for {warming} of {}; nothing burns so far",
            counted(all)
        );
        (Level::Unknown, what)
    } else if silent > 0 {
        let judged = all - silent;
        let what = format!(
            "{judged} of {} within budget, {silent} without requests",
            counted(all)
        );
        (Level::Ok, what)
    } else if all == 1 {
        (Level::Ok, "the only SLO is within budget".to_owned())
    } else {
        (Level::Ok, format!("all {} within budget", counted(all)))
    };
    let recovering = match recovering {
        0 => String::new(),
        some => format!(", {some} recovering"),
    };
    let idle = if level == Level::Ok && evidence.edge.requests() == 0 {
        "; no requests in the last minute"
    } else {
        ""
    };
    let change = evidence
        .events
        .iter()
        .filter(|event| event.kind.is_change())
        .max_by_key(|event| event.at);
    let change = match change {
        Some(event) => format!("last change {}", words::event(event, now)),
        None => "no change known".to_owned(),
    };
    let next_step = match (level, all) {
        (Level::Ok, _) => "nothing to do".to_owned(),
        (_, 0) => "configure an SLO".to_owned(),
        (_, all) if silent == all => "check that traffic reaches this proxy".to_owned(),
        _ => "wait for more history".to_owned(),
    };
    Verdict {
        text: format!("{}: {what}{recovering}{idle}; {change}", label(level)),
        next_step,
        ..blank(level)
    }
}

/// `1 SLO`, `6 SLOs`.
fn counted(slos: usize) -> String {
    if slos == 1 {
        "1 SLO".to_owned()
    } else {
        format!("{slos} SLOs")
    }
}

/// A verdict that says nothing yet.
pub(super) fn blank(severity: Level) -> Verdict {
    Verdict {
        severity,
        topic: Topic::Burn,
        side: if severity == Level::Unknown {
            Locus::Unknown
        } else {
            Locus::None
        },
        route: None,
        routes: Vec::new(),
        slo: None,
        slos: Vec::new(),
        onset: None,
        suspect: None,
        further_suspects: Vec::new(),
        differs: None,
        burn: None,
        remaining_ratio: None,
        time_to_empty_s: None,
        bad_ratio: None,
        bad_per_s: None,
        share_of_bad: None,
        fault: None,
        outside: None,
        next_step: String::new(),
        runbook: None,
        text: String::new(),
    }
}
