//! Where parts meet once a second: shards become slots, slots fill rings and the store, the engine judges, triage says
//! the sentence, and the snapshot is published.
//!
//! Everything here runs on one thread and owns what it touches; time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::alerts::{self, Crash};
use super::breakers::Breakers;
use super::certs::Certs;
use super::handshakes::Handshakes;
use super::health::Health;
use super::loads::Loads;
use super::names::Names;
use super::probes::{Absorbed, Probes};
use super::promises::Promises;
use super::quiet::{Ended, Quiet};
use super::restore;
use super::slower::Slower;
use super::tiers::Tiers;
use super::vitals::Vitals;
use super::workers::Gathered;
use crate::config::Resolved;
use crate::export::otlp::Baseline;
use crate::model::{
    About, Counts, Directory, EndpointKey, EndpointTally, Event, EventKind, Exponential, Full,
    MAX_FURTHER_BOUNDS, NO_ROUTE, RouteKey, RouteSlot, Scope, Sli, Slo, SloKey, SlotRecord, Tally,
    Timestamp, Window,
};
use crate::names::Use;
use crate::names::ledger::Ledger;
use crate::names::look::Sight as NameSight;
use crate::probe::run::Probe;
use crate::proxy::config::Upstream;
use crate::proxy::gate::GateCount;
use crate::proxy::health::Checked;
use crate::proxy::limit::LimitCount;
use crate::sli::blame::{Blame, BlameRing, DeployPhase};
use crate::sli::recorder::Rules;
use crate::sli::ring::{HourRing, RouteRing};
use crate::slo::alert::{AlertState, AlertStatus, Transition, Watch, Watched};
use crate::slo::engine::{Engine, Evaluation};
use crate::slo::usual::SILENCE_S;
use crate::snapshot::{Degradation, ProcessView, RouteTotals};
use crate::store::{BadPart, History, MinuteBatch, Origin, QueryError, RouteMinute, Writer};

/// Everything that is known, and who is told.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) directory: Directory,
    /// By [`RouteKey::index`]. Routes no longer configured keep their counters and are not shown.
    pub(super) routes: Vec<RouteState>,
    pub(super) promises: Promises,
    /// By [`EndpointKey::index`], since the process started.
    pub(super) endpoints: Vec<EndpointTally>,
    /// All traffic together.
    pub(super) edge: RouteRing,
    pub(super) evaluation: Evaluation,
    pub(super) health: Health,
    pub(super) loads: Loads,
    pub(super) breakers: Breakers,
    pub(super) names: Names,
    /// Routes that grow slower by the day.
    pub(super) slower: Slower,
    /// What name servers say.
    pub(super) looked_up: Ledger,
    pub(super) handshakes: Handshakes,
    pub(super) vitals: Vitals,
    tiers: Tiers,
    pub(super) probes: Probes,
    pub(super) certs: Certs,
    /// Newest first.
    pub(super) events: VecDeque<Event>,
    /// Since the process started, in the order of [`EventKind::ALL`].
    pub(super) happened: [u64; EventKind::ALL.len()],
    /// By upstream: the version that runs and the one before.
    pub(super) versions: HashMap<String, (String, Option<String>)>,
    /// By upstream: when its last deploy was.
    deployed: HashMap<String, Timestamp>,
    pub(super) degraded: BTreeMap<&'static str, Degradation>,
    pub(super) store: Option<Writer>,
    /// How the process before this one ended, when that was not a stop.
    pub(super) crash: Option<Crash>,
    pub(super) quiet: Quiet,
    engine: Engine,
    watch: Watch,
    /// Alerts that no budget makes.
    watched: Vec<AlertStatus>,
    /// The second whose traffic the health of endpoints has not seen yet.
    fresh_endpoints: BTreeMap<EndpointKey, EndpointTally>,
    /// The minute being filled, in minutes since the epoch.
    minute: Option<u64>,
    /// The second last ticked.
    now_secs: u64,
}

/// One route.
#[derive(Debug, Default)]
pub(super) struct RouteState {
    pub(super) configured: bool,
    pub(super) ring: RouteRing,
    /// What is usual.
    pub(super) hours: HourRing,
    /// What its bad requests were.
    pub(super) blame: BlameRing,
    /// Those of the minute being filled.
    blame_minute: Blame,
    /// Its upstream; `None` when not configured.
    upstream: Option<String>,
    /// Since when it gets no request though it was busy.
    pub(super) silent_since: Option<u64>,
    /// Since the state directory began.
    pub(super) counts: Counts,
    /// Since the process started.
    pub(super) totals: RouteTotals,
    /// Durations since the process started, without those of the minute being filled.
    durations: Exponential,
    /// The minute being filled.
    minute: RouteSlot,
}

/// Events kept in memory.
const EVENTS: usize = 1_000;

impl Pipeline {
    pub(super) fn new(store: Option<Writer>) -> Self {
        Self {
            directory: Directory::default(),
            routes: Vec::new(),
            promises: Promises::default(),
            endpoints: Vec::new(),
            edge: RouteRing::default(),
            evaluation: Evaluation::default(),
            health: Health::default(),
            loads: Loads::default(),
            breakers: Breakers::default(),
            names: Names::default(),
            slower: Slower::default(),
            looked_up: Ledger::default(),
            handshakes: Handshakes::default(),
            vitals: Vitals::default(),
            tiers: Tiers::default(),
            probes: Probes::default(),
            certs: Certs::default(),
            events: VecDeque::new(),
            happened: [0; EventKind::ALL.len()],
            versions: HashMap::new(),
            deployed: HashMap::new(),
            degraded: BTreeMap::new(),
            store,
            crash: None,
            quiet: Quiet::default(),
            engine: Engine::new(Vec::new(), &[]),
            watch: Watch::default(),
            watched: Vec::new(),
            fresh_endpoints: BTreeMap::new(),
            minute: None,
            now_secs: 0,
        }
    }

    /// Watches the routes and SLOs of a configuration. Those that stay keep their history by name.
    ///
    /// # Errors
    /// When too many names were seen; nothing is changed then.
    pub(super) fn configure(
        &mut self,
        resolved: &Resolved,
        probes: &[Arc<Probe>],
    ) -> Result<Rules, Full> {
        let mut slos: Vec<(SloKey, Slo)> = Vec::new();
        let mut rules = Vec::new();
        // What was counted so far this minute is of what was promised before.
        self.hand_over_minute();
        for slo in &resolved.slos {
            let key = self.directory.slo(&slo.id, &slo.counted())?;
            // What a limit was asked it counts itself.
            let is_counted = !matches!(slo.about, About::Limit(_));
            for route in self.routes_of(resolved, &slo.about)? {
                rules.extend(is_counted.then_some((route, key, slo.sli)));
            }
            slos.push((key, slo.clone()));
        }
        let mut routes = vec![RouteKey::NONE];
        for route in &resolved.proxy.routes {
            routes.push(self.directory.route(&route.id)?);
        }
        for state in &mut self.routes {
            state.configured = false;
        }
        for key in routes {
            of(&mut self.routes, key.index()).configured = true;
        }
        for slo in &resolved.slos {
            // There at zero before the first request, and for as long as the process lives. Of several routes together it
            // is counted, but no bucket of each of them ends there.
            if let (Sli::Latency { under }, Some(route)) = (slo.sli, slo.about.route()) {
                let route = self.directory.route(route)?;
                let durations = &mut of(&mut self.routes, route.index()).totals.durations;
                let under_us = u64::try_from(under.as_micros()).unwrap_or(u64::MAX);
                durations.know(under_us);
                if !durations.knows(under_us) {
                    let route = self.directory.route_id(route);
                    tracing::warn!(
                        route,
                        under_us,
                        most = MAX_FURTHER_BOUNDS,
                        "no bucket ends at this bound until a restart: the route has had too many"
                    );
                }
            }
        }
        for route in &resolved.proxy.routes {
            let key = self.directory.route(&route.id)?;
            of(&mut self.routes, key.index()).upstream =
                Some(route.upstream.clone()).filter(|name| !name.is_empty());
        }
        self.promises.configure(&slos);
        self.probes.configure(probes, &slos);
        self.vitals.configure(&slos);
        self.tiers.configure(&slos);
        self.engine.replace(slos, &resolved.policies);
        let mut rules = Rules::new(rules);
        for (index, state) in self.routes.iter().enumerate() {
            // Also at what is no longer promised: what has been counted goes on.
            rules.count_at(RouteKey(index as u32), state.totals.durations.further());
        }
        Ok(rules)
    }

    /// Every route whose requests count for an SLO about `about`.
    fn routes_of(&mut self, resolved: &Resolved, about: &About) -> Result<Vec<RouteKey>, Full> {
        let mut routes = Vec::new();
        if *about == About::Ingress {
            routes.push(RouteKey::NONE);
        }
        let of_it = resolved.proxy.routes.iter().filter(|it| it.is_in(about));
        for route in of_it {
            routes.push(self.directory.route(&route.id)?);
        }
        Ok(routes)
    }

    /// Takes up what earlier runs left.
    ///
    /// # Errors
    /// When the store cannot be read; memory is then as if there were none.
    pub(super) fn restore(&mut self, history: &History, now: Timestamp) -> Result<(), QueryError> {
        self.events = history.events.iter().take(EVENTS).cloned().collect();
        for event in history.events.iter().rev() {
            self.note_version(event);
        }
        for (id, counts) in &history.routes {
            if let Ok(key) = self.directory.route(id) {
                of(&mut self.routes, key.index()).counts = *counts;
            }
        }
        for ((id, tally), origin) in history.slos.iter().zip(&history.origins) {
            if let Some(key) = self.key_of(id, origin) {
                self.promises.carry(key, *tally);
            }
        }
        let alerts: Vec<_> = history
            .alerts
            .iter()
            .filter_map(|(id, text)| {
                let (state, since): (AlertState, Timestamp) = serde_json::from_str(text).ok()?;
                Some((id.clone(), state, since))
            })
            .collect();
        self.watch.restore(alerts.iter().cloned(), now);
        self.engine.restore(alerts.iter().cloned());
        self.probes.restore(history, now)?;
        let coverage = restore::Coverage::new(history, now);
        self.promises
            .restore(history, &coverage, &self.directory, now)?;
        let directory = &self.directory;
        let mut rings = by_route(&mut self.routes, directory, |state| &mut state.ring);
        restore::routes(history, &coverage, &mut rings, now)?;
        self.restore_silence(&alerts);
        let directory = &self.directory;
        let mut rings = by_route(&mut self.routes, directory, |state| &mut state.hours);
        restore::hours(history, &mut rings, now)?;
        let mut rings = by_route(&mut self.routes, directory, |state| &mut state.blame);
        restore::blame(history, &mut rings, now)?;
        restore::edge(history, &coverage, &mut self.edge, now)
    }

    /// The key of an SLO that is stored; `None` when there is another of its id now, or no room for its name.
    fn key_of(&mut self, id: &str, origin: &Origin) -> Option<SloKey> {
        match self.directory.find_slo(id) {
            Some(key) => origin.is_of(self.directory.counted(key)).then_some(key),
            None => self.directory.slo(id, &origin.counted).ok(),
        }
    }

    /// A route that was silent still is, unless requests came since: the busy hour before may be long forgotten.
    pub(super) fn restore_silence(&mut self, alerts: &[(String, AlertState, Timestamp)]) {
        for (id, state, since) in alerts {
            let (Some(route), AlertState::Firing) = (id.strip_prefix("no_data:"), state) else {
                continue;
            };
            if let Ok(key) = self.directory.route(route) {
                let state = of(&mut self.routes, key.index());
                let quiet = (since.as_secs() + 1).saturating_sub(SILENCE_S) / 60 * 60;
                let mut minutes = state.ring.minutes(quiet..u64::MAX);
                let is_silent = minutes.all(|(_, counts)| counts.requests() == 0);
                state.silent_since = is_silent.then_some(quiet);
            }
        }
    }

    /// Counts what the workers gathered, as having happened in second `second`.
    pub(super) fn absorb(&mut self, second: u64, gathered: &Gathered) {
        self.loads.absorb(second, &gathered.endpoints);
        let shaken = self.handshakes.absorb(second, gathered.handshakes);
        for (slo, tally) in self.vitals.handshakes(shaken) {
            self.promises.count(second, slo, tally);
        }
        let mut all = RouteSlot::default();
        for (key, slot) in gathered.shards.iter().flatten() {
            let state = of(&mut self.routes, key.index());
            state.ring.add(second, slot);
            state.hours.add(second, slot.counts);
            if slot.counts.bad > 0 {
                let upstream = state.upstream.as_ref();
                let version = upstream.and_then(|upstream| self.versions.get(upstream));
                let version = version.map(|(version, _)| version.as_str());
                let phase = upstream.map_or_else(DeployPhase::default, |upstream| {
                    let deployed = self.deployed.get(upstream).copied();
                    // A deploy within this second belongs to it.
                    let end = Timestamp::from_millis(second.saturating_mul(1_000) + 999);
                    self.quiet.phase(upstream, deployed, end)
                });
                let mut blame = Blame::default();
                let name = |endpoint| self.directory.endpoint_name(endpoint).1;
                blame.count(slot, name, version, phase);
                state.blame.at(second).merge(&blame);
                state.blame_minute.merge(&blame);
            }
            state.counts += slot.counts;
            state.totals.add(slot);
            state.minute.merge(slot);
            for (slo, tally) in &slot.slos {
                self.promises.add(second, *key, *slo, *tally);
            }
            for (endpoint, tally) in &slot.endpoints {
                *of(&mut self.endpoints, endpoint.index()) += *tally;
                *self.fresh_endpoints.entry(*endpoint).or_default() += *tally;
            }
            all.merge(slot);
        }
        if all.counts.requests() > 0 {
            self.edge.add(second, &all);
        }
    }

    /// Counts what probes found, as having happened in second `second`, and hands it to the store now and then, or
    /// `at_once`.
    pub(super) fn absorb_slots(&mut self, now: Timestamp, records: Vec<SlotRecord>, at_once: bool) {
        for record in records {
            let Absorbed { tallies, events } = self.probes.absorb(record);
            for (slo, tally) in tallies {
                let second = now.as_secs().saturating_sub(1);
                self.promises.count(second, slo, tally);
            }
            for event in events {
                self.note(event);
            }
        }
        self.probes.second(now);
        let records = self.probes.due_for_store(now, at_once);
        if let Some(store) = &self.store
            && !records.is_empty()
        {
            // Refused only when the store is closed, which its status says.
            store.slots(records).unwrap_or_default();
        }
    }

    /// Counts what rate limits came to, as having happened in second `second`.
    pub(super) fn limited<'a>(
        &mut self,
        second: u64,
        counts: impl Iterator<Item = LimitCount<'a>>,
    ) {
        for (slo, tally) in self.tiers.absorb(counts) {
            self.promises.ask(second, slo, tally);
        }
    }

    /// Counts what a second that is over says of vital signs.
    pub(super) fn feel(&mut self, second: u64, process: &ProcessView, upstreams: &[Upstream]) {
        let tallies = (self.vitals).second(process, &self.health, upstreams, &self.directory);
        for (slo, tally) in tallies {
            self.promises.count(second, slo, tally);
        }
    }

    /// Judges certificates as of `now`, announcing what changed.
    pub(super) fn judge_certificates(&mut self, now: Timestamp) {
        for event in self.certs.judge(now, &self.probes) {
            self.note(event);
        }
    }

    /// The probes that should look more often: of routes and SLOs whose alerts are pending or fire.
    pub(super) fn hurried(&self) -> BTreeSet<String> {
        let loud =
            |alert: &&AlertStatus| matches!(alert.state, AlertState::Pending | AlertState::Firing);
        let mut routes = BTreeSet::new();
        let mut slos = BTreeSet::new();
        for alert in self.alerts().filter(loud) {
            routes.extend(alert.route.as_deref());
            let id = alert.slo.as_deref();
            slos.extend(id.and_then(|id| self.directory.find_slo(id)));
        }
        self.probes.hurried(&routes, &slos)
    }

    /// What name servers said.
    pub(super) fn absorb_names(&mut self, now: Timestamp, sights: Vec<NameSight>) {
        for (uses, text) in self.looked_up.absorb(now, sights) {
            let upstream = uses.iter().find_map(|it| match it {
                Use::Upstream(name) => Some(name.clone()),
                Use::Route(_) | Use::Probe(_) => None,
            });
            self.note(Event {
                at: now,
                kind: EventKind::Name,
                scope: Scope {
                    upstream,
                    ..Scope::default()
                },
                text,
            });
        }
    }

    /// Who came where, and where our own connections lead.
    pub(super) fn count_arrivals(&mut self, now: Timestamp, gathered: &Gathered) {
        let arrivals: Vec<_> = gathered.arrivals.iter().map(|it| (*it.0, *it.1)).collect();
        self.looked_up.arrivals(now, &arrivals);
        let kept = gathered.kept.iter().map(|(endpoint, to, count)| {
            let (_, address) = self.directory.endpoint_name(*endpoint);
            let host = address.split_once("://").map_or(address, |(_, rest)| rest);
            let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
            (host, *to, *count)
        });
        let kept: Vec<_> = kept.collect();
        self.looked_up.kept(&kept);
    }

    /// What health checks say now; a change is an event.
    pub(super) fn checked(
        &mut self,
        now: Timestamp,
        standings: impl Iterator<Item = (EndpointKey, Checked)>,
    ) {
        for (endpoint, up) in self.health.checked(now, standings) {
            let (upstream, address) = self.directory.endpoint_name(endpoint);
            let text = if up {
                format!("{address} of {upstream} answers its health checks again")
            } else {
                let why = self.health.failed(endpoint).unwrap_or("too many failed");
                format!("{address} of {upstream} does not answer its health checks: {why}")
            };
            let scope = Scope {
                upstream: Some(upstream.to_owned()),
                endpoint: Some(address.to_owned()),
                ..Scope::default()
            };
            self.note(Event {
                at: now,
                kind: EventKind::Health,
                scope,
                text,
            });
        }
    }

    /// How the gates of upstreams stand now; a circuit that opened or closed is an event.
    pub(super) fn gated(&mut self, now: Timestamp, gates: impl Iterator<Item = GateCount>) {
        for event in self.breakers.absorb(now, gates) {
            self.note(event);
        }
    }

    /// A second is over: `now_secs` begins.
    pub(super) fn tick(&mut self, now: Timestamp) {
        let now_secs = now.as_secs();
        for change in self
            .health
            .second(now, &std::mem::take(&mut self.fresh_endpoints))
        {
            let (upstream, address) = self.directory.endpoint_name(change.endpoint);
            let seen = change.seen;
            let failures = seen.failures();
            let text = if change.healthy {
                format!("{address} of {upstream} works again")
            } else {
                format!(
                    "{address} of {upstream} is failing: {failures} failures, {} good in 10s",
                    seen.good
                )
            };
            let scope = Scope {
                upstream: Some(upstream.to_owned()),
                endpoint: Some(address.to_owned()),
                ..Scope::default()
            };
            self.note(Event {
                at: now,
                kind: EventKind::Health,
                scope,
                text,
            });
        }
        self.now_secs = now_secs;
        for state in &mut self.routes {
            state.ring.advance(now_secs);
        }
        self.promises.advance(now);
        self.edge.advance(now_secs);
        let minute = now_secs / 60;
        if self.minute.is_some_and(|begun| begun != minute) {
            self.hand_over_minute();
        }
        self.minute = Some(minute);
    }

    /// Judges everything as of `now`, announcing what changed.
    pub(super) fn judge(&mut self, now: Timestamp) {
        let promises = &self.promises;
        let read = |key, window| promises.over(key, window, now);
        self.evaluation = self.engine.evaluate(now, &read);
        let transitions = std::mem::take(&mut self.evaluation.transitions);
        self.announce(&transitions);
    }

    /// Ends the silences and the windows of deploys whose time is over, and says so.
    pub(super) fn end_silences(&mut self, now: Timestamp) {
        let (directory, promises) = (&self.directory, &self.promises);
        let read = |id: &str| promises.tally(directory.find_slo(id)?);
        let Ended { silences, deploys } = self.quiet.second(now, read);
        for silence in silences {
            self.note(Event {
                at: now,
                kind: EventKind::Operator,
                scope: Scope::default(),
                text: format!(
                    "silence {} of {} is over: {}",
                    silence.id, silence.owner, silence.reason
                ),
            });
        }
        for deploy in deploys {
            let spent = deploy.slos.iter().filter_map(|booked| {
                let Tally { good, bad } = booked.spent?;
                (good + bad > 0).then(|| format!("{} {bad} bad of {}", booked.slo, good + bad))
            });
            let spent: Vec<String> = spent.collect();
            let spent = if spent.is_empty() {
                "nothing was spent".to_owned()
            } else {
                spent.join(", ")
            };
            self.note(Event {
                at: now,
                kind: EventKind::Operator,
                scope: Scope {
                    upstream: Some(deploy.upstream.clone()),
                    version: Some(deploy.version.clone()),
                    ..Scope::default()
                },
                text: format!(
                    "the window of deploy {} {} is over: {spent}",
                    deploy.upstream, deploy.version
                ),
            });
        }
    }

    /// Bad events of an SLO in a window that ends now.
    pub(super) fn bad_over(&self, slo: SloKey, window: Window, now: Timestamp) -> u64 {
        self.tally_over(slo, window, now).bad
    }

    /// Valid events of an SLO in a window that ends now.
    pub(super) fn tally_over(&self, slo: SloKey, window: Window, now: Timestamp) -> Tally {
        self.promises.over(slo, window, now).tally
    }

    /// What the bad requests of each of `routes` in a window that ends now were.
    pub(super) fn blames(
        &self,
        routes: &HashSet<&str>,
        window: Window,
        now: Timestamp,
    ) -> Vec<(&str, Blame)> {
        let named = self.routes.iter().enumerate().map(|(place, state)| {
            let id = self.directory.route_id(RouteKey(place as u32));
            (id, state)
        });
        named
            .filter(|(id, _)| routes.contains(id))
            .map(|(id, state)| (id, state.blame.over(window.as_secs(), now.as_secs())))
            .collect()
    }

    /// Valid events of an SLO since the state directory began; `None` when there is no such SLO.
    pub(super) fn counted(&self, slo: &str) -> Option<Tally> {
        self.promises.tally(self.directory.find_slo(slo)?)
    }

    /// Looks for what is the matter besides budgets as of `now`, announcing what changed.
    pub(super) fn look(&mut self, now: Timestamp) {
        let claims = alerts::claims(self, now);
        let Watched {
            alerts,
            transitions,
        } = self.watch.evaluate(now, claims);
        self.watched = alerts;
        self.announce(&transitions);
    }

    /// Every alert that is not inactive, of whatever kind.
    pub(super) fn alerts(&self) -> impl Iterator<Item = &AlertStatus> {
        self.watched.iter().chain(&self.evaluation.alerts)
    }

    fn announce(&mut self, transitions: &[Transition]) {
        if transitions.is_empty() {
            return;
        }
        for transition in transitions {
            self.note(announcement(transition));
        }
        if let Some(store) = &self.store {
            let state = |(id, state, since): (String, AlertState, Timestamp)| {
                serde_json::to_string(&(state, since))
                    .ok()
                    .map(|text| (id, text))
            };
            // Refused only when the store is closed, which its status says.
            store
                .alerts(
                    self.engine
                        .export()
                        .into_iter()
                        .chain(self.watch.export())
                        .filter_map(state)
                        .collect(),
                )
                .unwrap_or_default();
        }
    }

    /// Judges everything as of `now` and tells nobody: for what is looked back on.
    pub(super) fn judge_silently(&mut self, now: Timestamp) {
        let promises = &self.promises;
        let read = |key, window| promises.over(key, window, now);
        self.evaluation = self.engine.evaluate(now, &read);
        self.evaluation.transitions.clear();
    }

    /// Something happened: it is shown, stored and may become a suspect.
    pub(super) fn note(&mut self, event: Event) {
        tracing::info!(kind = event.kind.as_str(), "{}", event.text);
        self.note_version(&event);
        let kinds = EventKind::ALL.iter().zip(&mut self.happened);
        for (_, count) in kinds.filter(|(kind, _)| **kind == event.kind) {
            *count = count.saturating_add(1);
        }
        if let Some(store) = &self.store {
            // Refused only when the store is closed, which its status says.
            store.event(event.clone()).unwrap_or_default();
        }
        self.events.push_front(event);
        self.events.truncate(EVENTS);
    }

    /// A part does not work, or works again.
    pub(super) fn degrade(&mut self, part: &'static str, now: Timestamp, trouble: Option<String>) {
        let before = self.degraded.remove(part);
        match (before, trouble) {
            (Some(before), Some(text)) => {
                self.degraded.insert(part, Degradation { text, ..before });
            }
            (None, Some(text)) => {
                let event = format!("{} is degraded: {text}", part.replace('_', " "));
                self.degraded.insert(
                    part,
                    Degradation {
                        part: part.to_owned(),
                        since: now,
                        text,
                    },
                );
                self.note(Event {
                    at: now,
                    kind: EventKind::Process,
                    scope: Scope::default(),
                    text: event,
                });
            }
            (Some(_), None) => {
                let text = format!("{} works again", part.replace('_', " "));
                self.note(Event {
                    at: now,
                    kind: EventKind::Process,
                    scope: Scope::default(),
                    text,
                });
            }
            (None, None) => {}
        }
    }

    /// Gives the minute being filled to the store, so that the rest of it adds to it later.
    pub(super) fn hand_over_minute(&mut self) {
        let Some(minute) = self.minute else { return };
        let mut batch = MinuteBatch {
            minute,
            routes: Vec::new(),
            slos: self.promises.minute(&self.directory, self.now_secs),
        };
        for (index, state) in self.routes.iter_mut().enumerate() {
            let slot = std::mem::take(&mut state.minute);
            let blame = std::mem::take(&mut state.blame_minute);
            let parts = blame.parts().map(|(dimension, part, count)| BadPart {
                dimension: dimension.as_str().to_owned(),
                part: part.to_owned(),
                count,
            });
            let parts = parts.collect();
            if let Some(latency) = &slot.latency {
                state.durations.add(latency);
            }
            if state.configured || slot.counts.requests() > 0 {
                batch.routes.push(RouteMinute {
                    route: self.directory.route_id(RouteKey(index as u32)).to_owned(),
                    counts: slot.counts,
                    latency: slot.latency,
                    phases: slot.phases,
                    duration_us: slot.duration_us,
                    bytes_in: slot.bytes_in,
                    bytes_out: slot.bytes_out,
                    retries: slot.retries,
                    bad_parts: parts,
                });
            }
        }
        if let Some(store) = &self.store {
            // Refused only when the store is closed, which its status says.
            store.minute(batch).unwrap_or_default();
        }
    }

    /// Durations of every configured route since the process started.
    pub(super) fn durations(&self) -> Vec<(String, Exponential)> {
        let configured = self
            .routes
            .iter()
            .enumerate()
            .filter(|(_, state)| state.configured);
        let durations = configured.map(|(index, state)| {
            let mut durations = state.durations.clone();
            if let Some(latency) = &state.minute.latency {
                durations.add(latency);
            }
            let id = self.directory.route_id(RouteKey(index as u32));
            (id.to_owned(), durations)
        });
        durations.collect()
    }

    /// What was counted up to now since the state directory began.
    pub(super) fn baseline(&self) -> Baseline {
        let routes = self.routes.iter().enumerate().map(|(index, state)| {
            let id = self.directory.route_id(RouteKey(index as u32));
            (id.to_owned(), state.counts)
        });
        Baseline {
            routes: routes.collect(),
            slos: self.promises.tallies(&self.directory).collect(),
        }
    }

    fn note_version(&mut self, event: &Event) {
        if let (EventKind::Deploy, Some(upstream), Some(version)) =
            (event.kind, &event.scope.upstream, &event.scope.version)
        {
            self.deployed.insert(upstream.clone(), event.at);
            let before = self.versions.remove(upstream).map(|(version, _)| version);
            self.versions
                .insert(upstream.clone(), (version.clone(), before));
        }
    }
}

fn announcement(transition: &Transition) -> Event {
    Event {
        at: transition.at,
        kind: EventKind::Alert,
        scope: Scope {
            route: transition.route.clone().filter(|route| route != NO_ROUTE),
            slo: transition.slo.clone(),
            ..Scope::default()
        },
        text: transition.text.clone(),
    }
}

/// The entry at `index`, the table grown to it if need be.
pub(super) fn of<T: Default>(table: &mut Vec<T>, index: usize) -> &mut T {
    if table.len() <= index {
        table.resize_with(index + 1, T::default);
    }
    &mut table[index]
}
/// A part of every route's state, by the route's id.
fn by_route<'a, T>(
    routes: &'a mut [RouteState],
    directory: &Directory,
    part: impl Fn(&'a mut RouteState) -> &'a mut T,
) -> HashMap<String, &'a mut T> {
    let named = routes.iter_mut().enumerate();
    named
        .map(|(index, state)| {
            let id = directory.route_id(RouteKey(index as u32));
            (id.to_owned(), part(state))
        })
        .collect()
}

#[cfg(test)]
mod tests;
