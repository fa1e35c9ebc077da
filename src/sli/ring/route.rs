//! One route's last hours, for showing.
//!
//! | kept | for | used for |
//! | --- | --- | --- |
//! | counts by the second | 10 min | rates, the search for an onset |
//! | faults, endpoints, latency by ten seconds | 1 min | "now" |
//! | faults, endpoints, phases by the minute | 6 min | "the last five minutes" |
//! | latency by the minute, and their sum | 1 h | percentiles, series |
//! | counts by the minute | 6 h | "before", series |
//!
//! Only what saw traffic is kept: a route that is idle for six hours holds nothing. A busy one with 300 distinct
//! latency buckets a minute takes about 180 KB, a quiet one with twenty about 40 KB.
//!
//! Everything is kept by wall-clock time, since people read it. When the clock is set back, what lies in the future by
//! more than a minute is dropped; judging does not depend on it (see [`super::TallyRing`]).

use std::collections::VecDeque;
use std::ops::Range;

use super::coverage::Coverage;
use super::distribution::Distribution;
use crate::model::{
    Counts, EndpointKey, EndpointTally, Fault, Latency, Percentiles, Phase, RouteSlot,
};

/// A minute, in seconds.
const MINUTE_S: u64 = 60;
/// The width of the parts that "the last minute" is made of, in seconds.
const PART_S: u64 = 10;
/// How long counts are kept by the second.
const SECONDS_S: u64 = 600;
/// How long faults, endpoints and phases are kept by the minute: five minutes and the one begun.
const DETAILS_S: u64 = 360;
/// How long latencies are kept by the minute.
const LATENCIES_S: u64 = 3_600;
/// How long counts are kept by the minute.
const MINUTES_S: u64 = 21_600;
/// How far ahead of the clock something may lie before the clock is taken to have been set back.
const AHEAD_S: u64 = 60;

/// One route's requests over time.
#[derive(Clone, Debug, Default)]
pub struct RouteRing {
    now: u64,
    coverage: Coverage,
    seconds: VecDeque<(u64, Counts)>,
    parts: VecDeque<Step<Detail>>,
    minutes: VecDeque<Step<Minute>>,
    /// The sum of the minutes' latencies.
    hour: Distribution,
    /// Counts whatever is not just another second without traffic.
    changes: u64,
}

/// A state of a ring that only whole minutes can change, see [`RouteRing::mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    changes: u64,
    minute: u64,
    /// Grows over the first minute after a gap.
    covered_s: u64,
}

/// A route's hour before its last minute, in whole minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PastHour {
    /// Its requests.
    pub counts: Counts,
    /// How many of its seconds were measured.
    pub covered_s: u64,
    /// How long valid requests took; `None` when there was none. The old edge is within two minutes.
    pub latency: Option<Percentiles>,
}

/// Regular columns, oldest first; the last one holds the newest second and may still go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteSeries {
    /// The first second of the first column.
    pub start_secs: u64,
    /// A column's width in seconds.
    pub step_s: u64,
    /// Requests; `None` where nothing was measured, which is not zero.
    pub requests: Vec<Option<u64>>,
    /// Bad ones; `None` where nothing was measured.
    pub bad: Vec<Option<u64>>,
    /// The 99th percentile in microseconds; `None` also where no valid request ended.
    pub p99_us: Vec<Option<u64>>,
}

/// How long requests spent in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseTime {
    /// Requests that reached it.
    pub count: u64,
    /// How long.
    pub percentiles: Percentiles,
}

impl RouteRing {
    /// Says that the process is measuring in second `now_secs`. Called once a second, traffic or not.
    pub fn advance(&mut self, now_secs: u64) {
        if now_secs.saturating_add(AHEAD_S) < self.now {
            self.forget_future(now_secs);
        }
        if now_secs != self.now && now_secs != self.now.saturating_add(1) {
            self.changes += 1;
        }
        self.now = now_secs;
        self.coverage.advance(now_secs);
        self.forget_past();
    }

    /// Counts what the route did in second `second`: the newest one or a slightly late one.
    pub fn add(&mut self, second: u64, slot: &RouteSlot) {
        if second > self.now {
            self.advance(second);
        }
        if second.saturating_add(SECONDS_S) <= self.now {
            return;
        }
        self.changes += 1;
        *step(&mut self.seconds, second) += slot.counts;
        let latency = slot.latency.as_ref().map(Distribution::of);
        if second.saturating_add(MINUTE_S + PART_S) > self.now {
            let part = &mut step_of(&mut self.parts, second, PART_S).value;
            part.add_slot(slot, latency.as_ref());
        }
        let minute = &mut step_of(&mut self.minutes, second, MINUTE_S).value;
        minute.counts += slot.counts;
        if second.saturating_add(DETAILS_S) > self.now {
            let detail = minute.detail.get_or_insert_default();
            detail.add_slot(slot, None);
            detail.add_phases(slot);
        }
        let sum = minute.latency.get_or_insert_default();
        if let Some(latency) = latency {
            sum.add(&latency);
            minute.p99_us = sum.quantile(0.99);
            self.hour.add(&latency);
        }
    }

    /// Where the ring stands at second `now_secs`, if nothing but whole minutes can change what it answers: it saw no
    /// traffic for longer than anything is kept by less. As long as two marks of one ring are equal, so is everything
    /// that it answers. `None`: what it answers may change with every second.
    pub fn mark(&self, now_secs: u64) -> Option<Mark> {
        let newest = self.seconds.back();
        let quiet = newest.is_none_or(|(start, _)| start.saturating_add(DETAILS_S) <= now_secs);
        (quiet && now_secs == self.now).then(|| Mark {
            changes: self.changes,
            minute: now_secs / MINUTE_S,
            covered_s: self.covered_over(MINUTE_S, now_secs),
        })
    }

    /// Requests of the last `secs` seconds up to second `now_secs`: to the second up to ten minutes, beyond that to
    /// the minute at the old edge, and at most six hours.
    pub fn counts_over(&self, secs: u64, now_secs: u64) -> Counts {
        let until = now_secs.saturating_add(1);
        let from = until.saturating_sub(secs);
        let sum = |sum: Counts, counts: &Counts| sum + *counts;
        if secs <= SECONDS_S {
            between(&self.seconds, from..until, |(start, _)| *start)
                .map(|(_, counts)| counts)
                .fold(Counts::default(), sum)
        } else {
            between(&self.minutes, floor(from, MINUTE_S)..until, |step| {
                step.start
            })
            .map(|step| &step.value.counts)
            .fold(Counts::default(), sum)
        }
    }

    /// How many of the last `secs` seconds up to second `now_secs` were measured.
    pub fn covered_over(&self, secs: u64, now_secs: u64) -> u64 {
        let until = now_secs.saturating_add(1);
        self.coverage.within(until.saturating_sub(secs), until)
    }

    /// How long valid requests of the last minute took; `None` when there was none. The old edge is within ten seconds.
    pub fn latency_over_last_minute(&self, now_secs: u64) -> Option<Percentiles> {
        let parts = self.parts_over(MINUTE_S, now_secs);
        merged(parts.map(|detail| &detail.latency)).percentiles()
    }

    /// How long valid requests of the last five minutes took; `None` when there was none. The old edge is within a
    /// minute.
    pub fn latency_over_five_minutes(&self, now_secs: u64) -> Option<Percentiles> {
        let minutes = self.minutes_over(5 * MINUTE_S, now_secs);
        merged(minutes.filter_map(|minute| minute.latency.as_ref())).percentiles()
    }

    /// How long valid requests of the last hour took; `None` when there was none. The old edge is within a minute.
    pub fn latency_over_hour(&self) -> Option<Percentiles> {
        self.hour.percentiles()
    }

    /// The hour up to the last whole minute of which nothing is in the last minute before second `now_secs`.
    pub fn hour_before(&self, now_secs: u64) -> PastHour {
        let until = floor(now_secs, MINUTE_S).saturating_sub(MINUTE_S);
        let from = until.saturating_sub(LATENCIES_S);
        let minutes = between(&self.minutes, from..until, |step| step.start);
        let newer = between(&self.minutes, until..u64::MAX, |step| step.start);
        // Its minutes are few; those of the hour are many.
        let mut latency = self.hour.clone();
        for minute in newer.filter_map(|step| step.value.latency.as_ref()) {
            latency.subtract(minute);
        }
        PastHour {
            counts: minutes.fold(Counts::default(), |sum, step| sum + step.value.counts),
            covered_s: self.coverage.within(from, until),
            latency: latency.percentiles(),
        }
    }

    /// Bad and excluded requests of the last minute by [`Fault::index`]. The old edge is within ten seconds.
    pub fn faults_over_1m(&self, now_secs: u64) -> [u64; Fault::COUNT] {
        sum_faults(self.parts_over(MINUTE_S, now_secs))
    }

    /// Bad and excluded requests of the last five minutes by [`Fault::index`]. The old edge is within a minute.
    pub fn faults_over_5m(&self, now_secs: u64) -> [u64; Fault::COUNT] {
        sum_faults(self.details_over(5 * MINUTE_S, now_secs))
    }

    /// What each endpoint did in the last `secs` seconds, in key order: up to a minute within ten seconds at the old
    /// edge, beyond that within a minute and at most five minutes.
    pub fn endpoints_over(&self, secs: u64, now_secs: u64) -> Vec<(EndpointKey, EndpointTally)> {
        let mut sum = Vec::new();
        let mut add = |detail: &Detail| add_endpoints(&mut sum, &detail.endpoints);
        if secs <= MINUTE_S {
            self.parts_over(secs, now_secs).for_each(&mut add);
        } else {
            self.details_over(secs, now_secs).for_each(&mut add);
        }
        sum
    }

    /// How long requests of the last five minutes spent in each phase, by [`Phase::index`]; `None` where none came to
    /// it. The old edge is within a minute.
    pub fn phases_over_5m(&self, now_secs: u64) -> [Option<PhaseTime>; Phase::ALL.len()] {
        Phase::ALL.map(|phase| {
            let details = self.details_over(5 * MINUTE_S, now_secs);
            let merged = merged(details.map(|detail| &detail.phases[phase.index()]));
            Some(PhaseTime {
                count: merged.count(),
                percentiles: merged.percentiles()?,
            })
        })
    }

    /// `columns` columns of `step_s` seconds each, the last of which holds second `now_secs`. Columns begin at
    /// multiples of `step_s`, which is rounded up to whole minutes.
    pub fn series(&self, now_secs: u64, columns: usize, step_s: u64) -> RouteSeries {
        let step_s = step_s.max(1).div_ceil(MINUTE_S) * MINUTE_S;
        let last = floor(now_secs, step_s);
        let start_secs = last.saturating_sub((columns as u64).saturating_sub(1) * step_s);
        let mut series = RouteSeries {
            start_secs,
            step_s,
            ..RouteSeries::default()
        };
        for start in (0..columns as u64).map(|column| start_secs + column * step_s) {
            let span = start..start.saturating_add(step_s);
            let covered = self.coverage.within(span.start, span.end) > 0;
            let mut counts = Counts::default();
            let mut minutes = between(&self.minutes, span, |step| step.start);
            let first = minutes.next();
            let p99_us = if step_s == MINUTE_S {
                counts = first.map_or(counts, |step| step.value.counts);
                first.and_then(|step| step.value.p99_us)
            } else {
                let mut latencies = Distribution::default();
                for minute in first.into_iter().chain(minutes) {
                    counts += minute.value.counts;
                    if let Some(latency) = &minute.value.latency {
                        latencies.add(latency);
                    }
                }
                latencies.quantile(0.99)
            };
            series.requests.push(covered.then(|| counts.requests()));
            series.bad.push(covered.then_some(counts.bad));
            series.p99_us.push(p99_us);
        }
        series
    }

    /// Counts by the second within `range`, at most ten minutes back. Seconds without a request are left out.
    pub fn seconds(&self, range: Range<u64>) -> impl Iterator<Item = (u64, Counts)> + '_ {
        between(&self.seconds, range, |(start, _)| *start).copied()
    }

    /// Counts by the minute within `range`, by each minute's first second, at most six hours back. Minutes without a
    /// request are left out.
    pub fn minutes(&self, range: Range<u64>) -> impl Iterator<Item = (u64, Counts)> + '_ {
        between(&self.minutes, range, |step| step.start).map(|step| (step.start, step.value.counts))
    }

    /// Replaces everything by one-minute rows from the store, oldest first, as it stands at `now_secs`. A minute that
    /// has no row was not measured, so an idle one needs its row of zeros.
    pub fn restore(
        &mut self,
        rows: impl IntoIterator<Item = (u64, Counts, Option<Latency>)>,
        now_secs: u64,
    ) {
        *self = Self {
            now: now_secs,
            changes: self.changes + 1,
            ..Self::default()
        };
        for (start_secs, counts, latency) in rows {
            if start_secs >= now_secs || start_secs.saturating_add(MINUTES_S) <= now_secs {
                continue;
            }
            self.coverage
                .push(start_secs, (start_secs + MINUTE_S).min(now_secs));
            if counts.requests() == 0 && latency.is_none() {
                continue;
            }
            let minute = &mut step_of(&mut self.minutes, start_secs, MINUTE_S).value;
            minute.counts += counts;
            if let Some(latency) = latency
                && start_secs.saturating_add(LATENCIES_S) > now_secs
            {
                let latency = Distribution::of(&latency);
                let sum = minute.latency.get_or_insert_default();
                sum.add(&latency);
                minute.p99_us = sum.quantile(0.99);
                self.hour.add(&latency);
            }
        }
        self.forget_past();
    }

    fn parts_over(&self, secs: u64, now: u64) -> impl Iterator<Item = &Detail> {
        let until = now.saturating_add(1);
        let from = floor(until.saturating_sub(secs), PART_S);
        between(&self.parts, from..until, |step| step.start).map(|step| &step.value)
    }

    fn minutes_over(&self, secs: u64, now: u64) -> impl Iterator<Item = &Minute> {
        let until = now.saturating_add(1);
        let from = floor(until.saturating_sub(secs), MINUTE_S);
        between(&self.minutes, from..until, |step| step.start).map(|step| &step.value)
    }

    fn details_over(&self, secs: u64, now: u64) -> impl Iterator<Item = &Detail> {
        self.minutes_over(secs, now)
            .filter_map(|minute| minute.detail.as_deref())
    }

    /// Drops what is older than it is kept. Each queue is looked at from its old end only, so an idle route costs a
    /// few comparisons.
    fn forget_past(&mut self) {
        let now = self.now;
        let old = |start: u64, kept: u64| start.saturating_add(kept) <= now;
        while self
            .seconds
            .front()
            .is_some_and(|(start, _)| old(*start, SECONDS_S))
        {
            self.seconds.pop_front();
        }
        while self
            .parts
            .front()
            .is_some_and(|step| old(step.start, MINUTE_S + PART_S))
        {
            self.parts.pop_front();
        }
        // What is stripped stays stripped, so both walks end where the last ones began.
        let minutes = &mut self.minutes;
        let stripped = minutes.partition_point(|step| old(step.start, DETAILS_S));
        for step in minutes.range_mut(..stripped).rev() {
            if step.value.detail.take().is_none() {
                break;
            }
        }
        let stripped = minutes.partition_point(|step| old(step.start, MINUTE_S + LATENCIES_S));
        for step in minutes.range_mut(..stripped).rev() {
            match step.value.latency.take() {
                Some(latency) => {
                    step.value.p99_us = None;
                    self.hour.subtract(&latency);
                }
                None => break,
            }
        }
        while minutes
            .front()
            .is_some_and(|step| old(step.start, MINUTE_S + MINUTES_S))
        {
            minutes.pop_front();
        }
        self.coverage
            .keep(now.saturating_sub(MINUTES_S + MINUTE_S), u64::MAX);
    }

    /// Drops what lies after `now`: the clock was set back.
    fn forget_future(&mut self, now: u64) {
        self.seconds.retain(|(start, _)| *start <= now);
        self.parts.retain(|step| step.start <= now);
        self.minutes.retain(|step| step.start <= now);
        self.hour = merged(
            self.minutes
                .iter()
                .filter_map(|step| step.value.latency.as_ref()),
        );
        self.coverage.keep(0, now);
        self.changes += 1;
    }
}

/// Something that happened from `start` on.
#[derive(Clone, Debug)]
struct Step<T> {
    start: u64,
    value: T,
}

/// What is kept of a minute.
#[derive(Clone, Debug, Default)]
struct Minute {
    counts: Counts,
    /// `None` once it is too old to be kept.
    latency: Option<Distribution>,
    /// Of `latency`; `None` when there is nothing in it.
    p99_us: Option<u64>,
    /// `None` once it is too old to be kept.
    detail: Option<Box<Detail>>,
}

/// What is kept for a few minutes only.
#[derive(Clone, Debug)]
struct Detail {
    faults: [u64; Fault::COUNT],
    endpoints: Vec<(EndpointKey, EndpointTally)>,
    latency: Distribution,
    phases: [Distribution; Phase::ALL.len()],
}

impl Default for Detail {
    fn default() -> Self {
        Self {
            faults: [0; Fault::COUNT],
            endpoints: Vec::new(),
            latency: Distribution::default(),
            phases: Default::default(),
        }
    }
}

impl Detail {
    fn add_slot(&mut self, slot: &RouteSlot, latency: Option<&Distribution>) {
        for (mine, theirs) in self.faults.iter_mut().zip(slot.faults) {
            *mine = mine.saturating_add(theirs);
        }
        add_endpoints(&mut self.endpoints, &slot.endpoints);
        if let Some(latency) = latency {
            self.latency.add(latency);
        }
    }

    fn add_phases(&mut self, slot: &RouteSlot) {
        for (mine, theirs) in self.phases.iter_mut().zip(&slot.phases) {
            if let Some(theirs) = theirs {
                mine.add(&Distribution::of(theirs));
            }
        }
    }
}

fn add_endpoints(
    sum: &mut Vec<(EndpointKey, EndpointTally)>,
    endpoints: &[(EndpointKey, EndpointTally)],
) {
    for (key, tally) in endpoints {
        match sum.binary_search_by_key(key, |(key, _)| *key) {
            Ok(place) => sum[place].1 += *tally,
            Err(place) => sum.insert(place, (*key, *tally)),
        }
    }
}

fn sum_faults<'a>(details: impl Iterator<Item = &'a Detail>) -> [u64; Fault::COUNT] {
    let mut sum = [0_u64; Fault::COUNT];
    for detail in details {
        for (mine, theirs) in sum.iter_mut().zip(detail.faults) {
            *mine = mine.saturating_add(theirs);
        }
    }
    sum
}

fn merged<'a>(distributions: impl Iterator<Item = &'a Distribution>) -> Distribution {
    let mut sum = Distribution::default();
    for distribution in distributions {
        sum.add(distribution);
    }
    sum
}

const fn floor(second: u64, width: u64) -> u64 {
    second - second % width
}

/// The counts of second `start`, made if absent; the list stays in order.
fn step(list: &mut VecDeque<(u64, Counts)>, start: u64) -> &mut Counts {
    let place = list.partition_point(|(second, _)| *second < start);
    if list.get(place).is_none_or(|(second, _)| *second != start) {
        list.insert(place, (start, Counts::default()));
    }
    &mut list[place].1
}

/// The step of `width` seconds that holds `second`, made if absent; the list stays in order.
fn step_of<T: Default>(list: &mut VecDeque<Step<T>>, second: u64, width: u64) -> &mut Step<T> {
    let start = floor(second, width);
    let place = list.partition_point(|step| step.start < start);
    if list.get(place).is_none_or(|step| step.start != start) {
        let value = T::default();
        list.insert(place, Step { start, value });
    }
    &mut list[place]
}

/// The part of an ordered list whose starts lie in `range`.
fn between<T>(
    list: &VecDeque<T>,
    range: Range<u64>,
    start: impl Fn(&T) -> u64,
) -> impl Iterator<Item = &T> {
    let from = list.partition_point(|item| start(item) < range.start);
    let until = list.partition_point(|item| start(item) < range.end);
    list.range(from..until.max(from))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slot(good: u64, bad: u64, micros: u64) -> RouteSlot {
        let mut slot = RouteSlot {
            counts: Counts {
                good,
                bad,
                excluded: 0,
            },
            ..RouteSlot::default()
        };
        slot.faults[Fault::UpstreamStatus.index()] = bad;
        slot.endpoints.push((
            EndpointKey(1),
            EndpointTally {
                good,
                bad,
                connect_failures: 0,
                retried: 0,
            },
        ));
        let mut latency = Latency::new();
        latency.record_many(micros, good);
        slot.phases[Phase::Wait.index()] = Some(latency.clone());
        slot.latency = Some(latency);
        slot
    }

    const START: u64 = 6_000;

    #[test]
    fn rates_are_exact_to_the_second() {
        let mut ring = RouteRing::default();
        for second in START..START + 120 {
            ring.add(second, &slot(2, 1, 1_000));
        }
        let now = START + 119;
        assert_eq!(ring.counts_over(60, now).bad, 60);
        assert_eq!(ring.counts_over(7, now).good, 14);
        assert_eq!(ring.covered_over(60, now), 60);
        assert_eq!(ring.covered_over(3_600, now), 120);
        assert_eq!(ring.seconds(now - 4..now + 1).count(), 5);
    }

    #[test]
    fn each_span_sees_its_own_latency() {
        let mut ring = RouteRing::default();
        for second in START..START + 3_600 {
            let micros = match second - START {
                ..3_300 => 1_000,
                3_300..3_540 => 10_000,
                _ => 100_000,
            };
            ring.add(second, &slot(1, 0, micros));
        }
        let now = START + 3_599;
        let near = |latency: Option<Percentiles>, micros: u64| {
            latency.unwrap().p50_us.abs_diff(micros) <= micros / 100
        };
        assert!(near(ring.latency_over_last_minute(now), 100_000));
        assert!(near(ring.latency_over_five_minutes(now), 10_000));
        assert!(near(ring.latency_over_hour(), 1_000));
        let wait = ring.phases_over_5m(now)[Phase::Wait.index()].unwrap();
        assert_eq!(wait.count, 300);
        assert_eq!(ring.phases_over_5m(now)[Phase::Connect.index()], None);
    }

    #[test]
    fn the_hour_before_has_nothing_of_the_last_minute() {
        let mut ring = RouteRing::default();
        for second in START..START + 7_200 {
            ring.add(second, &slot(1, 0, 1_000));
        }
        for second in START + 7_200..START + 7_320 {
            // One slow and bad minute, seen at its every second.
            let (good, bad) = (u64::from(second < START + 7_260), 1);
            ring.add(second, &slot(good, bad, 900_000));
            if second < START + 7_260 {
                let before = ring.hour_before(second);
                assert_eq!((before.counts.bad, before.counts.good), (0, 3_600));
                assert_eq!(before.covered_s, 3_600);
                assert!(before.latency.unwrap().max_us < 1_100, "{second}");
            }
        }
        let before = ring.hour_before(START + 7_320);
        assert_eq!(before.counts.bad, 60, "the slow minute is past by then");
        assert!(before.latency.unwrap().max_us > 800_000);
        assert_eq!(RouteRing::default().hour_before(START), PastHour::default());
    }

    #[test]
    fn what_leaves_the_hour_leaves_its_percentiles() {
        let mut ring = RouteRing::default();
        ring.add(START, &slot(1_000, 0, 900_000));
        for second in START + 60..START + 3_800 {
            ring.advance(second);
        }
        ring.add(START + 3_800, &slot(1, 0, 500));
        assert!(ring.latency_over_hour().unwrap().max_us < 1_000);
    }

    #[test]
    fn faults_and_endpoints_age_out() {
        let mut ring = RouteRing::default();
        ring.add(START, &slot(5, 3, 1_000));
        let index = Fault::UpstreamStatus.index();
        for (later, in_minute, in_five) in [(59, 3, 3), (80, 0, 3), (299, 0, 3), (420, 0, 0)] {
            ring.advance(START + later);
            let now = START + later;
            assert_eq!(ring.faults_over_1m(now)[index], in_minute, "{later}");
            assert_eq!(ring.faults_over_5m(now)[index], in_five, "{later}");
            assert_eq!(
                ring.endpoints_over(60, now).len(),
                usize::from(in_minute > 0)
            );
            assert_eq!(
                ring.endpoints_over(300, now).len(),
                usize::from(in_five > 0)
            );
        }
    }

    #[test]
    fn a_column_nobody_measured_is_empty_and_an_idle_one_is_zero() {
        let mut ring = RouteRing::default();
        ring.advance(START);
        for second in START + 240..START + 360 {
            ring.advance(second);
        }
        ring.add(START + 359, &slot(9, 1, 1_000));
        let series = ring.series(START + 359, 7, 60);
        assert_eq!(series.start_secs, START - 60);
        assert_eq!(
            series.requests,
            [None, Some(0), None, None, None, Some(0), Some(10)]
        );
        assert_eq!(series.bad.last(), Some(&Some(1)));
        assert_eq!(series.p99_us.iter().flatten().count(), 1);
    }

    #[test]
    fn an_idle_route_holds_nothing() {
        let mut ring = RouteRing::default();
        for second in START..START + 60 {
            ring.add(second, &slot(9, 1, 1_000));
        }
        for second in (START + 60..START + 60 + 22_000).step_by(7) {
            ring.advance(second);
        }
        assert!(ring.seconds.is_empty() && ring.parts.is_empty() && ring.minutes.is_empty());
        assert_eq!(ring.hour, Distribution::default());
    }

    #[test]
    fn a_clock_set_back_leaves_nothing_in_the_future() {
        let mut ring = RouteRing::default();
        for second in START..START + 600 {
            ring.add(second, &slot(1, 0, 1_000));
        }
        ring.advance(START + 100);
        ring.add(START + 100, &slot(1, 0, 1_000));
        let now = START + 100;
        // Second 100 was counted before the step and again after it; both happened.
        assert_eq!(ring.counts_over(600, now).good, 102);
        assert_eq!(ring.seconds.back().unwrap().0, now);
    }

    #[test]
    fn restored_minutes_are_shown_again() {
        let mut latency = Latency::new();
        latency.record_many(5_000, 60);
        let counts = Counts {
            good: 60,
            bad: 0,
            excluded: 0,
        };
        let now = START + 600 + 30;
        let rows = (0..10).map(|minute| {
            let idle = minute == 4;
            let counts = if idle { Counts::default() } else { counts };
            (
                START + minute * 60,
                counts,
                (!idle).then(|| latency.clone()),
            )
        });
        let mut ring = RouteRing::default();
        ring.restore(rows, now);
        ring.advance(now);
        assert_eq!(ring.counts_over(3_600, now).good, 540);
        assert_eq!(ring.latency_over_hour(), latency.percentiles());
        let series = ring.series(now, 12, 60);
        assert_eq!(series.requests[0], None);
        assert_eq!(series.requests[5], Some(0));
        assert_eq!(series.requests[6], Some(60));
        assert_eq!(ring.minutes(START..now).count(), 9);
    }

    proptest! {
        // A case is up to an hour of seconds, each asked for everything.
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn equal_marks_are_equal_answers(
            steps in prop::collection::vec((prop_oneof![8 => Just(1_u64), 1 => 2_u64..400], 0_u64..40), 1..600),
            restored in any::<bool>(),
        ) {
            let (mut ring, mut now) = (RouteRing::default(), START);
            if restored {
                let mut latency = Latency::new();
                latency.record_many(5_000, 60);
                let counts = Counts { good: 60, bad: 0, excluded: 0 };
                let rows = (0..90).map(|minute| (START - 5_400 + minute * 60, counts, Some(latency.clone())));
                ring.restore(rows, now);
            }
            let answers = |ring: &RouteRing, now| (
                (ring.counts_over(60, now), ring.counts_over(300, now), ring.covered_over(60, now)),
                (ring.latency_over_last_minute(now), ring.latency_over_hour(), ring.hour_before(now)),
                (ring.faults_over_5m(now), ring.endpoints_over(300, now), ring.phases_over_5m(now)),
                ring.series(now, 60, 60),
            );
            let mut last = None;
            for (step, event) in steps {
                now += step;
                // Asked for between two seconds, as a refresh does, or after the second began.
                if event != 1 {
                    ring.advance(now);
                }
                if event == 0 {
                    ring.add(now - 1, &slot(1, 1, 1_000));
                }
                let marked = ring.mark(now).map(|mark| (mark, answers(&ring, now)));
                if let (Some((mark, answers)), Some((last_mark, last_answers))) = (&marked, &last)
                    && mark == last_mark
                {
                    prop_assert_eq!(answers, last_answers);
                }
                last = marked.or(last);
            }
        }
    }

    proptest! {
        #[test]
        fn the_hour_is_always_the_sum_of_its_minutes(
            steps in prop::collection::vec((0_u64..400, 1_u64..9, 1_u64..1_000_000), 1..80),
        ) {
            let (mut ring, mut now) = (RouteRing::default(), START);
            for (step, good, micros) in steps {
                now += step;
                ring.add(now, &slot(good, 0, micros));
                let sum = merged(ring.minutes.iter().filter_map(|step| step.value.latency.as_ref()));
                prop_assert_eq!(&ring.hour, &sum);
                let details = ring.minutes.iter().filter(|step| step.value.detail.is_some());
                prop_assert!(details.count() <= 7);
            }
        }

        #[test]
        fn no_order_of_times_panics(
            steps in prop::collection::vec((any::<bool>(), prop_oneof![0_u64..30_000, any::<u64>(), u64::MAX - 90..=u64::MAX]), 1..60),
        ) {
            let mut ring = RouteRing::default();
            for (add, second) in steps {
                if add {
                    ring.add(second, &slot(1, 1, 1_000));
                } else {
                    ring.advance(second);
                }
                ring.counts_over(60, second);
                ring.counts_over(3_600, second);
                ring.series(second, 60, 60);
                ring.hour_before(second);
                ring.mark(second);
            }
        }
    }
}
