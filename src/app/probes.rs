//! What is known of the probes: how each one stands, what it came to, and which SLOs it spends.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    CertificateFacts, Event, EventKind, Missed, Scope, Slo, SloKey, SlotOutcome, SlotRecord, Tally,
    Timestamp, Vantage, ViewRun,
};
use crate::probe::run::Probe;
use crate::probe::schedule::{Schedule, parts, slots_while_down};
use crate::snapshot::{ProbeSlotView, ProbeTotals, ProbeView, Standing, VantageView};
use crate::store::{History, QueryError};
use crate::triage::blind::Look;
use crate::triage::evidence::ProbeEvidence;
use crate::triage::placing::{FaultPlace, Placing, place};

/// All probes of the configuration in force.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// By name.
    states: BTreeMap<String, State>,
    /// The SLOs that count a probe, by its name.
    slos: HashMap<String, Vec<SloKey>>,
    /// Records that the store has not got yet.
    unsaved: Vec<SlotRecord>,
    saved_at: Timestamp,
}

/// One probe.
#[derive(Debug)]
struct State {
    probe: Arc<Probe>,
    totals: ProbeTotals,
    /// The newest records, newest first.
    recent: VecDeque<SlotRecord>,
    /// Outcomes of the last hour by minute, oldest first.
    minutes: VecDeque<(u64, Minute)>,
    /// Failed runs since the last good one, and the other way round.
    failed_in_a_row: u32,
    good_in_a_row: u32,
    /// Since when it fails, once that has been told.
    failing_since: Option<Timestamp>,
    /// When it first failed since it was last well [`CALM`] times in a row.
    alarmed_at: Option<Timestamp>,
    /// Whether it is in a hurry for that.
    is_alarmed: bool,
    /// The last chain that was seen, and when.
    chain: Option<(Timestamp, Vec<CertificateFacts>)>,
    /// What was seen from elsewhere in the last run; `None` before the first one of this process.
    views: Option<Vec<ViewRun>>,
    /// Where the fault of the last run lies.
    placing: Option<Placing>,
    /// The addresses at which it was well, the newest last.
    well_at: Vec<String>,
    /// Since when it is known here.
    since: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    /// Seconds of slots that were run, and of those that should have been.
    run_s: u64,
    due_s: u64,
    ok: u64,
    failed: u64,
    missed: u64,
    /// Those missed on purpose, or while there was no process to ask.
    excused: u64,
}

/// Records kept in memory of each probe.
const RECENT: usize = 60;
/// What coverage is taken over.
const HOUR_MINUTES: u64 = 60;
/// Runs in a row that make a standing: one alone may be a hiccup, and is counted all the same.
const IN_A_ROW: u32 = 2;
/// Good runs in a row after which a probe that failed is in no hurry of its own any more.
const CALM: u32 = 5;
/// And the longest that it is: what fails for longer is an alert's business, and is not asked more often for ever.
const ALARM: Duration = Duration::from_secs(600);
/// How often records go to the store. What is lost with a process that is killed is at most this old.
const SAVE: Duration = Duration::from_secs(5);
/// Below this share of slots that were run, nobody should trust a probe's ratio.
const LOW_COVERAGE: f64 = 0.9;
/// Addresses at which a probe was well that are remembered: names take turns among some.
const WELL_AT: usize = 16;
/// Runs a minute that probes which hurry may make beyond their usual ones, all of them together.
const HURRIED_RUNS: u64 = 1_200;
/// Slots below which a share tells nothing.
const ENOUGH_SLOTS: u64 = 10;

/// What a record changed.
#[derive(Debug, Default)]
pub(super) struct Absorbed {
    /// What it spends, by SLO.
    pub(super) tallies: Vec<(SloKey, Tally)>,
    /// What is to be told.
    pub(super) events: Vec<Event>,
}

impl Probes {
    /// Watches these probes. Those that stay keep what is known of them.
    pub(super) fn configure(&mut self, probes: &[Arc<Probe>], slos: &[(SloKey, Slo)]) {
        let mut before = std::mem::take(&mut self.states);
        for probe in probes {
            let name = &probe.definition().name;
            let state = match before.remove(name) {
                Some(state) => State {
                    probe: Arc::clone(probe),
                    ..state
                },
                None => State::new(Arc::clone(probe)),
            };
            self.states.insert(name.clone(), state);
        }
        self.slos.clear();
        for (key, slo) in slos {
            if let Some(probe) = &slo.probe {
                self.slos.entry(probe.clone()).or_default().push(*key);
            }
        }
    }

    /// Takes up what earlier runs left, and writes the slots that passed since as missed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn restore(&mut self, history: &History, now: Timestamp) -> Result<(), QueryError> {
        let just_ended = history
            .gaps
            .first()
            .filter(|gap| gap.to.plus(Duration::from_secs(5)) >= now);
        let died = just_ended.map_or(now, |gap| gap.from);
        let mut down = Vec::new();
        for (name, state) in &mut self.states {
            let records = history.probe_slots(name, RECENT as u32)?;
            let definition = state.probe.definition();
            if let Some(last) = records.first() {
                let end = last
                    .at
                    .plus(last.every * last.slots.saturating_sub(1) as u32);
                // One that was not configured when the process ended has missed nothing.
                let slack = last.every + definition.manner.timeout + SAVE + Duration::from_secs(90);
                let schedule = Schedule::new(name, definition.every);
                let missed = slots_while_down(schedule, (end, last.every), now);
                let missed = missed.into_iter().filter(|_| end.plus(slack) >= died);
                for (first, slots, every) in missed {
                    down.push(SlotRecord {
                        probe: name.clone(),
                        at: first,
                        slots,
                        every,
                        outcome: SlotOutcome::Missed(Missed::Down),
                        lag_us: 0,
                        run: None,
                    });
                }
            }
            for record in records.into_iter().rev() {
                state.remember(record);
            }
        }
        for record in down {
            if let Some(state) = self.states.get_mut(&record.probe) {
                state.count(&record);
                state.remember(record.clone());
            }
            self.unsaved.push(record);
        }
        Ok(())
    }

    /// Counts how a slot ended.
    pub(super) fn absorb(&mut self, record: SlotRecord) -> Absorbed {
        let mut absorbed = Absorbed::default();
        if let Some(state) = self.states.get_mut(&record.probe) {
            state.count(&record);
            state.compare(&record);
            absorbed.events.extend(state.judge(&record));
            state.remember(record.clone());
            let seconds = record.every.as_secs();
            let tally = match record.outcome {
                SlotOutcome::Ok => Some(Tally {
                    good: seconds,
                    bad: 0,
                }),
                SlotOutcome::Fail(_) => Some(Tally {
                    good: 0,
                    bad: seconds,
                }),
                SlotOutcome::Missed(_) => None,
            };
            let slos = self.slos.get(&record.probe).into_iter().flatten();
            absorbed.tallies.extend(
                slos.zip(tally.into_iter().cycle())
                    .map(|(key, tally)| (*key, tally)),
            );
        }
        self.unsaved.push(record);
        absorbed
    }

    /// Those that are to be run more often: those that have just failed, of routes in trouble, and what SLOs in trouble count. No more than their budget
    /// allows, by name, so that it is the same ones each second.
    pub(super) fn hurried(
        &self,
        routes: &BTreeSet<&str>,
        slos: &BTreeSet<SloKey>,
    ) -> BTreeSet<String> {
        let mut left = HURRIED_RUNS;
        let mut hurried = BTreeSet::new();
        for (name, state) in &self.states {
            let definition = state.probe.definition();
            let of_route = definition.route.as_deref();
            let mut of_slos = self.slos.get(name).into_iter().flatten();
            let is_called = state.is_alarmed
                || of_route.is_some_and(|route| routes.contains(route))
                || of_slos.any(|slo| slos.contains(slo));
            let more = u64::from(parts(definition.every) - 1);
            let runs = 60 * more * state.probe.width() as u64;
            let runs = runs / definition.every.as_secs().max(1);
            if definition.hurry && is_called && more > 0 && runs <= left {
                left -= runs;
                hurried.insert(name.clone());
            }
        }
        hurried
    }

    /// Second `now` begins.
    pub(super) fn second(&mut self, now: Timestamp) {
        for state in self.states.values_mut() {
            state.since.get_or_insert(now);
            let alarmed = state.alarmed_at;
            state.is_alarmed = alarmed.is_some_and(|at| now.since(at) < ALARM);
        }
    }

    /// What the store should have by now; empty most of the time.
    pub(super) fn due_for_store(&mut self, now: Timestamp, at_once: bool) -> Vec<SlotRecord> {
        if !at_once && now.since(self.saved_at) < SAVE {
            return Vec::new();
        }
        self.saved_at = now;
        std::mem::take(&mut self.unsaved)
    }

    /// Every chain that a probe saw lately: the probe, when, whom it asked for, and the chain.
    pub(super) fn chains(
        &self,
    ) -> impl Iterator<Item = (&Arc<Probe>, Timestamp, &[CertificateFacts])> {
        self.states.values().filter_map(|state| {
            let (at, chain) = state.chain.as_ref()?;
            Some((&state.probe, *at, chain.as_slice()))
        })
    }

    /// Of each probe that is run, whether it fails. What one found before a pause or maintenance tells nothing about now.
    pub(super) fn failing(&self) -> impl Iterator<Item = bool> {
        let run = self.states.values().filter(|state| {
            let has_run = state.recent.iter().any(|record| record.run.is_some());
            has_run && !state.is_off()
        });
        run.map(|state| state.failing_since.is_some())
    }

    /// What each finds, for the verdict.
    pub(super) fn evidence<'a>(&'a self, targets: &'a [String]) -> Vec<ProbeEvidence<'a>> {
        let states = self.states.iter().zip(targets);
        states
            .filter(|((_, state), _)| !state.is_off())
            .map(|((name, state), target)| {
                let definition = state.probe.definition();
                ProbeEvidence {
                    name,
                    target,
                    route: definition.route.as_deref(),
                    runbook: definition.runbook.as_deref(),
                    every_s: definition.every.as_secs(),
                    was_run: state.recent.iter().any(|record| record.run.is_some()),
                    failing_since: state.failing_since,
                    placing: state.placing.clone(),
                }
            })
            .collect()
    }

    /// What each is aimed at, by name.
    pub(super) fn targets(&self) -> Vec<String> {
        let states = self.states.values();
        states
            .map(|state| state.probe.definition().target.to_string())
            .collect()
    }

    /// How each looks, for what none of them sees.
    pub(super) fn looks(&self, now: Timestamp) -> Vec<Look<'_>> {
        self.states
            .iter()
            .map(|(name, state)| state.look(name, now))
            .collect()
    }

    /// Which probes ran too few of their slots, in words; `None` when all ran enough.
    pub(super) fn trouble(&self, now: Timestamp) -> Option<String> {
        let low: Vec<String> = self
            .states
            .iter()
            .filter_map(|(name, state)| {
                let share = state.coverage(now).filter(|share| *share < LOW_COVERAGE)?;
                Some(format!("{name} {:.0} %", share * 100.0))
            })
            .collect();
        let (first, more) = (low.first()?, low.len() - 1);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        Some(format!(
            "too few slots were run in the last hour: {first}{more}"
        ))
    }

    /// How each one stands, by name.
    pub(super) fn views(&self, now: Timestamp) -> Vec<ProbeView> {
        self.states
            .iter()
            .map(|(name, state)| state.view(name, now))
            .collect()
    }

    /// What each came to since the process started, by name.
    pub(super) fn totals(&self) -> Vec<(String, ProbeTotals)> {
        self.states
            .iter()
            .map(|(name, state)| (name.clone(), state.totals.clone()))
            .collect()
    }
}

impl State {
    fn new(probe: Arc<Probe>) -> Self {
        Self {
            probe,
            totals: ProbeTotals::default(),
            recent: VecDeque::new(),
            minutes: VecDeque::new(),
            failed_in_a_row: 0,
            good_in_a_row: 0,
            failing_since: None,
            alarmed_at: None,
            is_alarmed: false,
            chain: None,
            views: None,
            placing: None,
            well_at: Vec::new(),
            since: None,
        }
    }

    /// Places the fault of a run, or remembers where it was well.
    fn compare(&mut self, record: &SlotRecord) {
        let Some(run) = &record.run else { return };
        self.placing = place(run, &self.well_at);
        self.views = Some(run.views.clone());
        if let (None, Some(address)) = (run.failure, &run.address) {
            self.well_at.retain(|known| known != address);
            self.well_at.push(address.clone());
            if self.well_at.len() > WELL_AT {
                self.well_at.remove(0);
            }
        }
    }

    /// Whether nobody expects it to be run now.
    fn is_off(&self) -> bool {
        let off = [Missed::Paused, Missed::Maintenance].map(SlotOutcome::Missed);
        let newest = self.recent.front();
        self.probe.definition().paused || newest.is_some_and(|newest| off.contains(&newest.outcome))
    }

    fn look<'a>(&'a self, name: &'a str, now: Timestamp) -> Look<'a> {
        let definition = self.probe.definition();
        let last = self.recent.iter().find(|record| record.run.is_some());
        // A run is on record when it has ended.
        let slack = definition.every * 2 + definition.longest() + SAVE;
        let is_young = self.since.is_none_or(|since| now.since(since) < slack);
        let mut took: Vec<u64> = self
            .recent
            .iter()
            .filter(|record| record.outcome == SlotOutcome::Ok)
            .filter_map(|record| Some(record.run.as_ref()?.duration_us))
            .collect();
        took.sort_unstable();
        let missing = [Vantage::Ingress, Vantage::Upstream]
            .into_iter()
            .filter(|vantage| {
                let seen = self.views.as_deref();
                definition.compare
                    && seen.is_some_and(|seen| !seen.iter().any(|view| view.vantage == *vantage))
            });
        Look {
            name,
            route: definition.route.as_deref(),
            is_off: self.is_off(),
            is_fresh: is_young || last.is_some_and(|last| now.since(last.at) < slack),
            is_well: last.map(|last| last.outcome == SlotOutcome::Ok),
            fails: self.failing_since.is_some(),
            p50_us: took.get(took.len() / 2).copied(),
            missing: missing.collect(),
        }
    }

    fn count(&mut self, record: &SlotRecord) {
        let minute = record.at.as_secs() / 60;
        if self
            .minutes
            .back()
            .is_none_or(|(newest, _)| *newest < minute)
        {
            self.minutes.push_back((minute, Minute::default()));
        }
        while self.minutes.len() as u64 > HOUR_MINUTES + 1 {
            self.minutes.pop_front();
        }
        // A run that took long belongs to an earlier minute, or to none that is kept.
        let its = self.minutes.iter().rposition(|(start, _)| *start <= minute);
        let mut nowhere = Minute::default();
        let counts = its.map_or(&mut nowhere, |its| &mut self.minutes[its].1);
        let totals = &mut self.totals;
        let seconds = record.every.as_secs().saturating_mul(record.slots);
        match record.outcome {
            SlotOutcome::Missed(Missed::Paused | Missed::Maintenance | Missed::Down) => {}
            SlotOutcome::Missed(_) => counts.due_s += seconds,
            SlotOutcome::Ok | SlotOutcome::Fail(_) => {
                counts.run_s += seconds;
                counts.due_s += seconds;
            }
        }
        match record.outcome {
            SlotOutcome::Ok => {
                totals.ok += 1;
                counts.ok += 1;
            }
            SlotOutcome::Fail(failure) => {
                totals.failures[failure.index()] += 1;
                counts.failed += 1;
            }
            SlotOutcome::Missed(why) => {
                totals.missed[why.index()] += record.slots;
                counts.missed += record.slots;
                if matches!(why, Missed::Paused | Missed::Maintenance | Missed::Down) {
                    counts.excused += record.slots;
                }
            }
        }
        if let Some(run) = &record.run {
            totals.hurried += u64::from(record.every < self.probe.definition().every);
            totals.durations.record(run.duration_us);
            totals.duration_us = totals.duration_us.saturating_add(run.duration_us);
            totals.lag_us = record.lag_us;
            totals.phases = run.phases;
        }
    }

    /// Two in a row are a standing, and worth telling when it is another one.
    fn judge(&mut self, record: &SlotRecord) -> Option<Event> {
        let name = &record.probe;
        let text = match record.outcome {
            SlotOutcome::Missed(_) => return None,
            SlotOutcome::Ok => {
                self.good_in_a_row = self.good_in_a_row.saturating_add(1);
                self.failed_in_a_row = 0;
                if self.good_in_a_row >= CALM {
                    self.alarmed_at = None;
                }
                let since = self
                    .failing_since
                    .filter(|_| self.good_in_a_row >= IN_A_ROW)?;
                self.failing_since = None;
                format!(
                    "probe {name} works again; it failed since {}Z",
                    since.time_of_day()
                )
            }
            SlotOutcome::Fail(failure) => {
                self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
                self.good_in_a_row = 0;
                self.alarmed_at.get_or_insert(record.at);
                if self.failed_in_a_row < IN_A_ROW || self.failing_since.is_some() {
                    return None;
                }
                let first = self.recent.iter().find(|record| record.run.is_some());
                self.failing_since = Some(first.map_or(record.at, |first| first.at));
                let detail = record.run.as_ref().map_or("", |run| run.detail.as_str());
                let placing = self.placing.as_ref();
                match placing.filter(|it| it.place != FaultPlace::Unknown) {
                    Some(Placing { place, why, .. }) => {
                        format!("probe {name} fails, placed at {}: {why}", place.as_str())
                    }
                    None => format!("probe {name} fails, {}: {detail}", failure.as_str()),
                }
            }
        };
        Some(Event {
            at: record.at,
            kind: EventKind::Probe,
            scope: Scope {
                route: self.probe.definition().route.clone(),
                ..Scope::default()
            },
            text,
        })
    }

    fn remember(&mut self, mut record: SlotRecord) {
        if let Some(run) = &mut record.run
            && !run.chain.is_empty()
        {
            self.chain = Some((record.at, std::mem::take(&mut run.chain)));
        }
        self.recent.push_front(record);
        self.recent.truncate(RECENT);
    }

    fn over_hour(&self, now: Timestamp) -> Minute {
        let from = (now.as_secs() / 60).saturating_sub(HOUR_MINUTES);
        let mut sum = Minute::default();
        for (_, minute) in self.minutes.iter().filter(|(start, _)| *start >= from) {
            sum.run_s += minute.run_s;
            sum.due_s += minute.due_s;
            sum.ok += minute.ok;
            sum.failed += minute.failed;
            sum.missed += minute.missed;
            sum.excused += minute.excused;
        }
        sum
    }

    /// Of the last hour's slots that should have been run, the share that was; `None` while there are too few to tell.
    fn coverage(&self, now: Timestamp) -> Option<f64> {
        let Minute {
            run_s,
            due_s,
            ok,
            failed,
            missed,
            excused,
        } = self.over_hour(now);
        let due = ok + failed + missed - excused;
        // By time: slots of a probe that hurries are shorter.
        (due >= ENOUGH_SLOTS && due_s > 0).then(|| run_s as f64 / due_s as f64)
    }

    fn view(&self, name: &str, now: Timestamp) -> ProbeView {
        let definition = self.probe.definition();
        let hour = self.over_hour(now);
        let due = hour.ok + hour.failed + hour.missed;
        let last_run = self.recent.iter().find(|record| record.run.is_some());
        let standing = match last_run.map(|record| record.outcome) {
            _ if definition.paused => Standing::None,
            _ if self.failing_since.is_some() => Standing::Crit,
            Some(SlotOutcome::Fail(_)) => Standing::Warn,
            Some(SlotOutcome::Ok) => Standing::Ok,
            Some(SlotOutcome::Missed(_)) | None => Standing::None,
        };
        let schedule = Schedule::new(name, definition.every);
        ProbeView {
            name: name.to_owned(),
            target: definition.target.to_string(),
            route: definition.route.clone(),
            runbook: definition.runbook.clone(),
            every_s: definition.every.as_secs(),
            timeout_ms: definition.manner.timeout.as_millis() as u64,
            paused: definition.paused,
            standing,
            failing_since: self.failing_since,
            ok: hour.ok,
            failed: hour.failed,
            missed: hour.missed,
            coverage_ratio: (due > 0).then(|| (hour.ok + hour.failed) as f64 / due as f64),
            next_at: schedule.after(now),
            last: last_run.map(ProbeSlotView::of),
            compare: definition.compare,
            views: self.views.iter().flatten().map(VantageView::of).collect(),
            placing: self.placing.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{About, ProbeFailure, ProbeRun};

    fn probe(name: &str) -> Arc<Probe> {
        use crate::probe::definition::{Definition, HostPort, Manner, Target};
        let target = Target::Tcp(HostPort::parse("127.0.0.1:1").unwrap());
        let definition = Definition {
            steps: Vec::new(),
            name: name.to_owned(),
            target,
            every: Duration::from_secs(30),
            route: Some("web".to_owned()),
            runbook: None,
            paused: false,
            maintenance: Vec::new(),
            manner: Manner::plain(Duration::from_secs(1)),
            hurry: false,
            compare: false,
            views: Vec::new(),
        };
        crate::probe::prepare::prepare(vec![definition])
            .unwrap()
            .remove(0)
    }

    fn record(slot: u64, outcome: SlotOutcome) -> SlotRecord {
        let run = ProbeRun {
            detail: "why".to_owned(),
            duration_us: 7,
            ..ProbeRun::default()
        };
        SlotRecord {
            probe: "a".to_owned(),
            at: Timestamp::from_secs(1_000_020 + slot * 30),
            slots: 1,
            every: Duration::from_secs(30),
            outcome,
            lag_us: 0,
            run: (!matches!(outcome, SlotOutcome::Missed(_))).then_some(run),
        }
    }

    fn slo() -> Slo {
        Slo {
            id: "s".to_owned(),
            about: About::Route("web".to_owned()),
            owner: None,
            sli: crate::model::Sli::Probe {
                every: Duration::from_secs(30),
            },
            slices: None,
            parts: Vec::new(),
            probe: Some("a".to_owned()),
            objective: "99%".parse().unwrap(),
            window: crate::model::Window::days(30),
            calendar: None,
            policy: "workbook".to_owned(),
            runbook: None,
        }
    }

    fn probes() -> Probes {
        let slo = slo();
        let mut probes = Probes::default();
        probes.configure(&[probe("a")], &[(SloKey(3), slo)]);
        probes
    }

    const FAIL: SlotOutcome = SlotOutcome::Fail(ProbeFailure::HttpStatus);

    #[test]
    fn a_slot_counts_as_long_as_it_is_and_a_missed_one_not_at_all() {
        let mut probes = probes();
        for (outcome, tally) in [
            (SlotOutcome::Ok, Some((30, 0))),
            (FAIL, Some((0, 30))),
            (SlotOutcome::Missed(Missed::Late), None),
        ] {
            let tally = tally.map(|(good, bad)| (SloKey(3), Tally { good, bad }));
            let absorbed = probes.absorb(record(0, outcome));
            assert_eq!(
                absorbed.tallies,
                tally.into_iter().collect::<Vec<_>>(),
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn two_failures_in_a_row_are_told_once_and_so_is_the_recovery() {
        let mut probes = probes();
        let told: Vec<String> = [
            SlotOutcome::Ok,
            FAIL,
            SlotOutcome::Ok,
            FAIL,
            FAIL,
            FAIL,
            SlotOutcome::Ok,
            FAIL,
            SlotOutcome::Ok,
            SlotOutcome::Ok,
            SlotOutcome::Ok,
        ]
        .into_iter()
        .zip(0..)
        .flat_map(|(outcome, slot)| {
            let events = probes.absorb(record(slot, outcome)).events;
            events
                .into_iter()
                .map(move |event| format!("{slot} {}", event.text))
        })
        .collect();
        assert_eq!(
            told,
            [
                "4 probe a fails, http_status: why",
                "9 probe a works again; it failed since 13:48:30Z"
            ]
        );
    }

    #[test]
    fn a_probe_in_maintenance_is_no_sign_of_an_outage() {
        let mut probes = probes();
        let mut seen = |slot, outcome| {
            probes.absorb(record(slot, outcome));
            probes.failing().collect::<Vec<_>>()
        };
        let maintained = SlotOutcome::Missed(Missed::Maintenance);
        seen(0, FAIL);
        assert_eq!(seen(1, FAIL), [true]);
        assert_eq!(seen(2, SlotOutcome::Missed(Missed::Late)), [true]);
        assert_eq!(seen(3, maintained), [false; 0]);
        assert_eq!(seen(4, FAIL), [true]);
    }

    #[test]
    fn a_probe_hurries_with_its_route_or_its_slo_within_a_budget() {
        let hurrying = |name: &str, every: u64, hurry: bool| {
            let mut definition = probe(name).definition().clone();
            definition.hurry = hurry;
            definition.every = Duration::from_secs(every);
            definition
        };
        let mut definitions = vec![
            hurrying("a", 30, true),
            hurrying("b", 30, false),
            hurrying("c", 1, true),
        ];
        // Thirty runs more a minute each: not all of them fit.
        definitions.extend((0..60).map(|it| hurrying(&format!("d{it:02}"), 2, true)));
        definitions[0].route = None;
        let prepared = crate::probe::prepare::prepare(definitions).unwrap();
        let mut probes = probes();
        let slo = (
            SloKey(3),
            Slo {
                probe: Some("a".to_owned()),
                ..slo()
            },
        );
        probes.configure(&prepared, &[slo]);
        let none = BTreeSet::new();
        assert!(probes.hurried(&none, &BTreeSet::new()).is_empty());
        let by_slo = probes.hurried(&none, &BTreeSet::from([SloKey(3)]));
        assert_eq!(by_slo, BTreeSet::from(["a".to_owned()]));
        let by_route = probes.hurried(&BTreeSet::from(["web"]), &BTreeSet::new());
        // One that is run each second cannot, and `b` may not.
        assert_eq!(by_route.len(), 40, "{by_route:?}");
        assert!(by_route.iter().all(|name| name.starts_with('d')));
    }

    #[test]
    fn a_probe_that_fails_hurries_by_itself_until_it_is_well_five_times_or_ten_minutes_are_over() {
        let mut definition = probe("a").definition().clone();
        definition.hurry = true;
        let mut probes = Probes::default();
        let prepared = crate::probe::prepare::prepare(vec![definition]).unwrap();
        probes.configure(&prepared, &[]);
        let none = (BTreeSet::new(), BTreeSet::new());
        let mut hurries = |slot: u64, outcome| {
            probes.absorb(record(slot, outcome));
            probes.second(record(slot, outcome).at);
            !probes.hurried(&none.0, &none.1).is_empty()
        };
        assert!(!hurries(0, SlotOutcome::Ok));
        assert!(hurries(1, FAIL), "the first failure may be the beginning");
        for slot in 2..6 {
            assert!(hurries(slot, SlotOutcome::Ok), "{slot}");
        }
        assert!(!hurries(6, SlotOutcome::Ok), "the fifth good one");
        assert!(hurries(10, FAIL) && hurries(29, FAIL));
        assert!(!hurries(30, FAIL), "ten minutes");
        assert!(
            !hurries(31, SlotOutcome::Ok) && !hurries(32, FAIL),
            "it goes on"
        );
    }

    #[test]
    fn a_slot_of_a_probe_that_hurries_counts_for_its_own_length() {
        let mut probes = probes();
        let short = SlotRecord {
            every: Duration::from_secs(5),
            ..record(0, FAIL)
        };
        let absorbed = probes.absorb(short);
        let tally = Tally { good: 0, bad: 5 };
        assert_eq!(absorbed.tallies, [(SloKey(3), tally)]);
    }

    #[test]
    fn coverage_is_what_was_run_of_what_should_have_been() {
        let mut probes = probes();
        let now = record(40, FAIL).at;
        for slot in 0..20 {
            let late = SlotOutcome::Missed(Missed::Late);
            probes.absorb(record(
                slot,
                if slot % 4 == 0 { late } else { SlotOutcome::Ok },
            ));
        }
        // Nobody could have run these.
        let down = SlotRecord {
            slots: 20,
            ..record(20, SlotOutcome::Missed(Missed::Down))
        };
        probes.absorb(down);
        let state = &probes.states["a"];
        assert_eq!(state.coverage(now), Some(0.75));
        assert_eq!(
            probes.trouble(now).unwrap(),
            "too few slots were run in the last hour: a 75 %"
        );
        let view = &probes.views(now)[0];
        assert_eq!((view.ok, view.failed, view.missed), (15, 0, 25));
        assert_eq!(view.coverage_ratio, Some(0.375));
    }
}
