//! What was promised, as it is counted: the events of every SLO, by the second and over its budget's window.

use std::collections::HashMap;
use std::time::Duration;

use super::pipeline::of;
use super::restore;
use crate::model::{
    Calendar, Directory, Part, Period, RouteKey, Sli, Slo, SloKey, Span, Tally, Timestamp,
    Weighing, Window,
};
use crate::sli::composite::{Composite, MINUTE_S};
use crate::sli::ring::TallyRing;
use crate::sli::shares::Shares;
use crate::sli::slicer::Slicer;
use crate::store::{History, Origin, QueryError, SloMinute};
use crate::triage::evidence;

/// Every SLO, by [`SloKey::index`]. Those no longer configured keep their counters and are not shown.
#[derive(Debug, Default)]
pub(super) struct Promises(Vec<Promise>);

/// One SLO.
#[derive(Debug)]
struct Promise {
    configured: bool,
    ring: TallyRing,
    /// Puts its requests together when its events are slices of time.
    slicer: Option<Slicer>,
    /// Requests of the minute being filled, of slices.
    requests_minute: Tally,
    /// The calendar that its budget follows, and the period that is on.
    calendar: Option<(Calendar, Option<Period>)>,
    /// Since the state directory began.
    tally: Tally,
    /// The minute being filled.
    minute: Tally,
    /// Its latest requests by route, when it is about several.
    shares: Option<Shares>,
    /// What weighs its parts, and which they are, of a composite.
    composite: Option<(Composite, Vec<SloKey>)>,
}

/// How long ago the last gap ended when it is that of this start.
const GAP_ENDS: Duration = Duration::from_secs(2);

/// The longest window an SLO may have.
const LONGEST: Window = Window::days(92);

impl Promises {
    /// Counts for these SLOs from now on.
    pub(super) fn configure(&mut self, slos: &[(SloKey, Slo)]) {
        for promise in &mut self.0 {
            promise.configured = false;
        }
        for (key, slo) in slos {
            let promise = of(&mut self.0, key.index());
            promise.configured = true;
            promise.calendar = slo.calendar.clone().map(|calendar| (calendar, None));
            let Sli::Composite(weighing) = slo.sli else {
                // Another way to slice is another key, so that one that is there is of these.
                if let (Some(slices), None) = (slo.slices, &promise.slicer) {
                    promise.slicer = Some(Slicer::new(slices));
                }
                if slo.about.route().is_none() {
                    promise.shares.get_or_insert_default();
                }
                continue;
            };
            let key = |part: &Part| {
                let found = slos.iter().find(|(_, slo)| slo.id == part.slo);
                found.map(|(key, _)| *key)
            };
            let parts: Vec<SloKey> = slo.parts.iter().filter_map(key).collect();
            // Other parts, or parts that count something else, are another key.
            if promise.composite.is_none() {
                let weights = slo.parts.iter().map(|part| part.weight).collect();
                promise.composite = Some((Composite::new(weighing, weights), parts));
            }
        }
        for promise in self.0.iter_mut().filter(|promise| !promise.configured) {
            // What comes back begins with a slice that is not whole; meanwhile nothing is promised.
            (promise.slicer, promise.composite) = (None, None);
        }
    }

    /// Takes up what was counted since the state directory began.
    pub(super) fn carry(&mut self, slo: SloKey, tally: Tally) {
        of(&mut self.0, slo.index()).tally = tally;
    }

    /// Takes up what earlier runs left.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn restore(
        &mut self,
        history: &History,
        coverage: &restore::Coverage,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<(), QueryError> {
        for promise in &mut self.0 {
            promise.turn(now);
        }
        let origins: HashMap<&str, &Origin> = history
            .slos
            .iter()
            .zip(&history.origins)
            .map(|((id, _), origin)| (id.as_str(), origin))
            .collect();
        let is_own = |key: SloKey| {
            let origin = origins.get(directory.slo_id(key));
            origin.is_some_and(|origin| origin.is_of(directory.counted(key)))
        };
        let all = self.0.iter_mut().enumerate();
        let mut own: Vec<(SloKey, &mut Promise)> = all
            .map(|(index, promise)| (SloKey(index as u32), promise))
            .filter(|(key, _)| is_own(*key))
            .collect();
        let mut rings: HashMap<String, &mut TallyRing> = own
            .iter_mut()
            .map(|(key, promise)| (directory.slo_id(*key).to_owned(), &mut promise.ring))
            .collect();
        restore::slos(history, coverage, &mut rings, now)?;
        let own: Vec<SloKey> = own.into_iter().map(|(key, _)| key).collect();
        // A composite goes on from where its parts stood: what they judge now that was open then is new to it.
        let stood: Vec<Tally> = self.0.iter().map(|promise| promise.tally).collect();
        for key in &own {
            self.0[key.index()].resume(history, directory.slo_id(*key), now)?;
        }
        for key in own {
            self.resume_composite(key.index(), &stood, history, directory, now)?;
        }
        Ok(())
    }

    /// Takes up the minute that a composite was weighing when the process before this one ended, when every SLO `stood` there.
    fn resume_composite(
        &mut self,
        index: usize,
        stood: &[Tally],
        history: &History,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<(), QueryError> {
        let Some((mut composite, parts)) = self.0[index].composite.take() else {
            return Ok(());
        };
        let now_secs = now.as_secs();
        let stopped = stopped(history, now);
        let start = stopped - stopped % MINUTE_S;
        let mut minute = Vec::new();
        for part in &parts {
            minute.push(history.slo_over(directory.slo_id(*part), start, start + MINUTE_S)?);
        }
        let counted = parts.iter().map(|part| stood.get(part.index()).copied());
        let counted: Vec<Tally> = counted.map(Option::unwrap_or_default).collect();
        match composite.weighing() {
            Weighing::Minutes if start + MINUTE_S > now_secs => {
                let before = counted.iter().zip(&minute).map(|(all, it)| *all - *it);
                composite.resume(now_secs, before.collect());
            }
            Weighing::Minutes => {
                composite.resume(now_secs, counted);
                if stopped > start {
                    self.0[index].count(now_secs, composite.weigh(&minute));
                }
            }
            Weighing::Events => composite.resume(now_secs, counted),
        }
        self.0[index].composite = Some((composite, parts));
        Ok(())
    }

    /// How far each of these has come.
    fn counted_of(&self, parts: &[SloKey]) -> Vec<Tally> {
        let counted = parts.iter().map(|part| self.tally(*part));
        counted.map(Option::unwrap_or_default).collect()
    }

    /// Weighs what parts have counted up to second `now`.
    fn weigh(&mut self, now: u64, which: impl Fn(Weighing) -> bool) {
        for index in 0..self.0.len() {
            let Some((mut composite, parts)) = self.0[index].composite.take() else {
                continue;
            };
            if which(composite.weighing())
                && let Some((second, events)) = composite.advance(now, &self.counted_of(&parts))
            {
                self.0[index].count(second, events);
            }
            self.0[index].composite = Some((composite, parts));
        }
    }

    /// Counts requests of a second that came by `route`.
    pub(super) fn add(&mut self, second: u64, route: RouteKey, slo: SloKey, tally: Tally) {
        let promise = of(&mut self.0, slo.index());
        if let Some(shares) = &mut promise.shares {
            shares.add(second, route, tally);
        }
        promise.add(second, tally);
    }

    /// Counts requests of a second of which it is not known by which route they came.
    pub(super) fn ask(&mut self, second: u64, slo: SloKey, tally: Tally) {
        of(&mut self.0, slo.index()).add(second, tally);
    }

    /// Counts events of a second, as they are.
    pub(super) fn count(&mut self, second: u64, slo: SloKey, tally: Tally) {
        of(&mut self.0, slo.index()).count(second, tally);
    }

    /// Puts nothing together any more: what is told is events already.
    pub(super) fn are_of_the_past(&mut self) {
        for promise in &mut self.0 {
            (promise.slicer, promise.composite) = (None, None);
        }
    }

    /// Second `now` begins.
    pub(super) fn advance(&mut self, now: Timestamp) {
        for promise in &mut self.0 {
            promise.advance(now);
        }
        // Slices that were just judged are of the minute that is over.
        self.weigh(now.as_secs(), |_| true);
    }

    /// Events of an SLO in a window that ends now.
    pub(super) fn over(&self, slo: SloKey, window: Window, now: Timestamp) -> Span {
        let promise = self.0.get(slo.index());
        promise.map_or_else(Span::default, |promise| {
            promise.ring.over(window, now.as_secs())
        })
    }

    /// Valid events of an SLO since the state directory began.
    pub(super) fn tally(&self, slo: SloKey) -> Option<Tally> {
        self.0.get(slo.index()).map(|promise| promise.tally)
    }

    /// The same of every SLO there ever was, by its id.
    pub(super) fn tallies(&self, directory: &Directory) -> impl Iterator<Item = (String, Tally)> {
        let all = self.0.iter().enumerate();
        all.map(|(index, promise)| {
            let id = directory.slo_id(SloKey(index as u32));
            (id.to_owned(), promise.tally)
        })
    }

    /// The same of those in force.
    pub(super) fn in_force(&self, directory: &Directory) -> impl Iterator<Item = (String, Tally)> {
        let tallies = self.tallies(directory).zip(&self.0);
        tallies.filter_map(|(tally, promise)| promise.configured.then_some(tally))
    }

    /// What each route counted for an SLO in the last five minutes; empty when it is about one.
    pub(super) fn shares(&self, slo: SloKey) -> Vec<(RouteKey, Tally)> {
        let promise = self.0.get(slo.index());
        let shares = promise.and_then(|promise| promise.shares.as_ref());
        shares.map_or_else(Vec::new, Shares::of_routes)
    }

    /// Events of an SLO's history, for the search of an onset: by second and by minute.
    pub(super) fn history(&self, slo: SloKey) -> evidence::History {
        let promise = self.0.get(slo.index());
        promise.map_or_else(Default::default, |promise| evidence::History {
            seconds: promise.ring.seconds().collect(),
            minutes: promise.ring.minutes().collect(),
        })
    }

    /// Hands out the minute being filled, so that the rest of it adds to it later.
    pub(super) fn minute(&mut self, directory: &Directory, now: u64) -> Vec<SloMinute> {
        // What is handed out of parts is handed out of composites: nothing is left between two processes.
        self.weigh(now, |weighing| weighing == Weighing::Events);
        let mut minutes = Vec::new();
        for (index, promise) in self.0.iter_mut().enumerate() {
            let tally = std::mem::take(&mut promise.minute);
            let requests = std::mem::take(&mut promise.requests_minute);
            let key = SloKey(index as u32);
            let slo = directory.slo_id(key);
            // The last requests of what was replaced come late; its history is closed.
            let is_current = directory.find_slo(slo) == Some(key);
            if is_current && (promise.configured || tally.valid() > 0) {
                minutes.push(SloMinute {
                    slo: slo.to_owned(),
                    counted: directory.counted(key).to_owned(),
                    tally,
                });
            }
            if is_current && promise.slicer.is_some() {
                minutes.push(SloMinute {
                    slo: Slo::requests_id(slo),
                    counted: directory.counted(key).to_owned(),
                    tally: requests,
                });
            }
        }
        minutes
    }
}

/// When the process before this one ended; `now` when there was none, or no gap since.
fn stopped(history: &History, now: Timestamp) -> u64 {
    let gap = history
        .gaps
        .first()
        .filter(|gap| gap.to >= now.minus(GAP_ENDS));
    gap.map_or(now, |gap| gap.from).as_secs()
}

impl Default for Promise {
    fn default() -> Self {
        Self {
            configured: false,
            ring: TallyRing::new(LONGEST),
            slicer: None,
            requests_minute: Tally::default(),
            calendar: None,
            tally: Tally::default(),
            minute: Tally::default(),
            shares: None,
            composite: None,
        }
    }
}

impl Promise {
    /// Counts requests of a second: each by itself, or in its slice.
    fn add(&mut self, second: u64, tally: Tally) {
        if let Some(slicer) = &mut self.slicer {
            slicer.add(second, tally);
            self.requests_minute += tally;
        } else {
            self.count(second, tally);
        }
    }

    /// Counts events of a second.
    fn count(&mut self, second: u64, tally: Tally) {
        self.ring.add(second, tally);
        self.tally += tally;
        self.minute += tally;
    }

    /// Second `now` begins.
    fn advance(&mut self, now: Timestamp) {
        self.turn(now);
        self.ring.advance(now.as_secs());
        if let Some(shares) = &mut self.shares {
            shares.forget(now.as_secs());
        }
        let judged = self
            .slicer
            .as_mut()
            .and_then(|it| it.advance(now.as_secs()));
        if let Some((second, events)) = judged {
            self.count(second, events);
        }
    }

    /// Takes up the slice that was open when the process before this one ended, and judges it if it is over.
    fn resume(&mut self, history: &History, id: &str, now: Timestamp) -> Result<(), QueryError> {
        let Some(slicer) = &mut self.slicer else {
            return Ok(());
        };
        let rules = slicer.slices();
        let now_secs = now.as_secs();
        let stopped = stopped(history, now);
        let start = rules.start(stopped);
        let end = start + rules.every.as_secs();
        let requests = history.slo_over(&Slo::requests_id(id), start, end)?;
        if end > now_secs {
            slicer.resume(now_secs, requests);
        } else if stopped > start {
            self.count(now_secs, rules.judge(requests, false));
        }
        Ok(())
    }

    /// Keeps the counter at the beginning of the calendar's period that `now` is in.
    fn turn(&mut self, now: Timestamp) {
        if let Some((calendar, period)) = &mut self.calendar
            && !period.is_some_and(|period| period.holds(now))
        {
            let begun = calendar.period(now);
            self.ring.pin(begun.start_secs);
            *period = Some(begun);
        }
    }
}
