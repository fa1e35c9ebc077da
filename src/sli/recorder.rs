//! Where an observation becomes counts: one recorder per worker thread, nothing shared.
//!
//! Recording touches only memory that is already there. The shards it hands out every second come back to be filled
//! again, so once every route has been seen the request path allocates nothing on behalf of measuring (a test with a
//! counting allocator holds this).

use std::sync::Arc;

use crate::model::{
    Counts, Durations, EndpointKey, Exemplar, Fault, Latency, Observation, Outcome, Reading,
    RouteKey, RouteSlot, Sli, SloKey,
};

/// Which SLOs judge which route, by [`RouteKey::index`]. Made once per configuration, shared by all recorders.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<OfRoute>);

/// What is asked of one route's requests.
#[derive(Clone, Debug, Default)]
struct OfRoute {
    /// In the order of their SLOs, as slots keep them.
    rules: Vec<Rule>,
    /// What durations are counted at beside the standard bounds.
    bounds_us: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    slo: SloKey,
    by: By,
}

/// What a request is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Whether it failed.
    Failure(Reading),
    /// The longest good duration in microseconds; one that failed is not valid.
    Duration(u64),
    /// Whether it was over a rate limit.
    Limit,
    /// Whether its attempts got connections: counted attempt by attempt.
    Connection,
}

impl By {
    /// Whether a request was good; `None` when it is not valid.
    const fn is_good(
        self,
        outcome: Outcome,
        status: Option<u16>,
        duration_us: u64,
    ) -> Option<bool> {
        match (self, outcome) {
            (Self::Failure(reading), _) => reading.is_good(outcome, status),
            (Self::Duration(under_us), Outcome::Good) => Some(duration_us <= under_us),
            (Self::Limit, Outcome::Excluded(Fault::RateLimited)) => Some(false),
            (Self::Limit, Outcome::Good | Outcome::Bad(_)) => Some(true),
            (Self::Limit | Self::Duration(_), Outcome::Bad(_) | Outcome::Excluded(_))
            | (Self::Connection, _) => None,
        }
    }
}

impl Rules {
    /// From (route, SLO, what counts as good). An SLO about several routes is given once for each.
    pub fn new(slos: impl IntoIterator<Item = (RouteKey, SloKey, Sli)>) -> Self {
        let mut all = Self::default();
        for (route, slo, sli) in slos {
            let by = match sli {
                // Counted where probes are, once a second, and of its parts.
                Sli::Probe { .. } | Sli::Vital(_) | Sli::Composite(_) => continue,
                Sli::Connection => By::Connection,
                Sli::RateLimit => By::Limit,
                Sli::Availability(reading) => By::Failure(reading),
                Sli::Latency { under } => {
                    By::Duration(u64::try_from(under.as_micros()).unwrap_or(u64::MAX))
                }
            };
            let rules = &mut all.of_mut(route).rules;
            rules.push(Rule { slo, by });
            rules.sort_by_key(|rule| rule.slo);
        }
        all
    }

    /// Counts durations of a route at these bounds as well: at what is promised, and as an earlier configuration did.
    pub fn count_at(&mut self, route: RouteKey, bounds_us: impl IntoIterator<Item = u64>) {
        for bound_us in bounds_us {
            let known = &mut self.of_mut(route).bounds_us;
            if !Durations::is_standard(bound_us) && !known.contains(&bound_us) {
                known.push(bound_us);
            }
        }
    }

    fn of_mut(&mut self, route: RouteKey) -> &mut OfRoute {
        if self.0.len() <= route.index() {
            self.0.resize_with(route.index() + 1, OfRoute::default);
        }
        &mut self.0[route.index()]
    }

    /// The SLOs that count a route's attempts.
    fn of_connections(&self, route: RouteKey) -> impl Iterator<Item = SloKey> {
        let rules = self.0.get(route.index()).map(|it| it.rules.as_slice());
        let rules = rules.unwrap_or_default().iter();
        rules
            .filter(|rule| rule.by == By::Connection)
            .map(|rule| rule.slo)
    }

    fn of(&self, route: RouteKey) -> (&[Rule], &[u64]) {
        let of_route = self.0.get(route.index());
        of_route.map_or((&[], &[]), |found| (&found.rules, &found.bounds_us))
    }
}

/// What one worker saw since it was last asked: one slot share per active route.
pub type Shard = Vec<(RouteKey, Box<RouteSlot>)>;

/// Slots waiting to be filled again.
type Spare = Vec<Box<RouteSlot>>;

/// Counts one worker's observations.
#[derive(Debug, Default)]
pub struct Recorder {
    rules: Arc<Rules>,
    /// By [`RouteKey::index`]; `None`: not active since the last shard.
    active: Vec<Option<Box<RouteSlot>>>,
    touched: Vec<RouteKey>,
    spare: Spare,
}

impl Recorder {
    /// An empty recorder that judges by `rules`.
    pub fn new(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    /// Judges by other rules from now on. What was counted so far keeps its judgement.
    pub fn replace_rules(&mut self, rules: Arc<Rules>) {
        self.rules = rules;
    }

    /// Counts one observation.
    pub fn record(&mut self, observation: &Observation) {
        let Observation {
            route,
            endpoint,
            source: _,
            outcome,
            status,
            duration_us,
            phases,
            attempts,
            bytes_in,
            bytes_out,
        } = *observation;
        let slot = slot(&mut self.active, &mut self.touched, &mut self.spare, route);
        match outcome {
            Outcome::Good => slot.counts.good += 1,
            Outcome::Bad(fault) => {
                slot.counts.bad += 1;
                slot.faults[fault.index()] += 1;
            }
            Outcome::Excluded(fault) => {
                slot.counts.excluded += 1;
                slot.faults[fault.index()] += 1;
            }
        }
        slot.classes[status.map_or(0, |status| usize::from(status / 100).min(5))] += 1;
        slot.bytes_in += bytes_in;
        slot.bytes_out += bytes_out;
        slot.retries += u64::from(attempts.saturating_sub(1));
        if let Some(endpoint) = endpoint {
            let tally = entry(&mut slot.endpoints, endpoint);
            match outcome {
                Outcome::Good => tally.good += 1,
                Outcome::Bad(_) => tally.bad += 1,
                Outcome::Excluded(_) => {}
            }
        }
        let (rules, bounds_us) = self.rules.of(route);
        for rule in rules {
            let tally = entry(&mut slot.slos, rule.slo);
            match rule.by.is_good(outcome, status, duration_us) {
                Some(true) => tally.good += 1,
                Some(false) => tally.bad += 1,
                None => {}
            }
        }
        for bound_us in bounds_us {
            slot.durations.know(*bound_us);
        }
        if matches!(outcome, Outcome::Excluded(_)) {
            return;
        }
        slot.durations.record(duration_us);
        slot.duration_us = slot.duration_us.saturating_add(duration_us);
        slot.latency.get_or_insert_default().record(duration_us);
        for (latency, micros) in slot.phases.iter_mut().zip(phases) {
            if let Some(micros) = micros {
                latency.get_or_insert_default().record(u64::from(micros));
            }
        }
    }

    /// Counts an attempt that got no connection, whatever becomes of the request.
    pub fn connect_failure(&mut self, route: RouteKey, endpoint: EndpointKey) {
        let slot = slot(&mut self.active, &mut self.touched, &mut self.spare, route);
        entry(&mut slot.endpoints, endpoint).connect_failures += 1;
        for slo in self.rules.of_connections(route) {
            entry(&mut slot.slos, slo).bad += 1;
        }
    }

    /// Counts an attempt that got a connection, whatever becomes of the request.
    pub fn connected(&mut self, route: RouteKey) {
        let mut promised = self.rules.of_connections(route).peekable();
        if promised.peek().is_none() {
            return;
        }
        let slot = slot(&mut self.active, &mut self.touched, &mut self.spare, route);
        for slo in promised {
            entry(&mut slot.slos, slo).good += 1;
        }
    }

    /// Counts an attempt that its endpoint failed and that is followed by another.
    pub fn retried(&mut self, route: RouteKey, endpoint: EndpointKey) {
        let slot = slot(&mut self.active, &mut self.touched, &mut self.spare, route);
        entry(&mut slot.endpoints, endpoint).retried += 1;
    }

    /// Keeps a request that was just recorded as an example of its duration, unless there is one for this second. `make`
    /// is called only if there is none.
    pub fn exemplify(
        &mut self,
        route: RouteKey,
        duration_us: u64,
        make: impl FnOnce() -> Exemplar,
    ) {
        let slot = slot(&mut self.active, &mut self.touched, &mut self.spare, route);
        slot.exemplars[Durations::place(duration_us)].get_or_insert_with(make);
    }

    /// Hands out everything counted since the last call.
    pub fn take(&mut self) -> Shard {
        let Self {
            active,
            touched,
            rules: _,
            spare: _,
        } = self;
        let take = |route: RouteKey| {
            let slot = active.get_mut(route.index())?.take()?;
            Some((route, slot))
        };
        touched.drain(..).filter_map(take).collect()
    }

    /// Takes slots back to be filled again.
    pub fn recycle(&mut self, shard: Shard) {
        for (_, mut slot) in shard {
            clear(&mut slot);
            self.spare.push(slot);
        }
        // More than one second can use: a burst of many routes should not hold its memory for ever.
        self.spare.truncate(self.active.len().min(MAX_SPARE));
    }
}

/// Slots kept for reuse. One with every phase's distribution is about 120 KB.
const MAX_SPARE: usize = 256;

fn slot<'a>(
    active: &'a mut Vec<Option<Box<RouteSlot>>>,
    touched: &mut Vec<RouteKey>,
    spare: &mut Spare,
    route: RouteKey,
) -> &'a mut RouteSlot {
    if active.len() <= route.index() {
        active.resize_with(route.index() + 1, || None);
    }
    active[route.index()].get_or_insert_with(|| {
        touched.push(route);
        spare.pop().unwrap_or_default()
    })
}

/// The value of `key` in a list of a handful, made if absent, the list kept in key order.
fn entry<K: Ord + Copy, V: Default>(list: &mut Vec<(K, V)>, key: K) -> &mut V {
    let place = match list.iter().position(|(existing, _)| *existing >= key) {
        Some(place) if list[place].0 == key => place,
        Some(place) => {
            list.insert(place, (key, V::default()));
            place
        }
        None => {
            list.push((key, V::default()));
            list.len() - 1
        }
    };
    &mut list[place].1
}

fn clear(slot: &mut RouteSlot) {
    let RouteSlot {
        counts,
        faults,
        classes,
        slos,
        endpoints,
        latency,
        phases,
        durations,
        exemplars,
        duration_us,
        bytes_in,
        bytes_out,
        retries,
    } = slot;
    *counts = Counts::default();
    faults.fill(0);
    classes.fill(0);
    durations.clear();
    exemplars.fill(None);
    slos.clear();
    endpoints.clear();
    for latency in phases.iter_mut().chain([latency]).flatten() {
        Latency::clear(latency);
    }
    (*duration_us, *bytes_in, *bytes_out, *retries) = (0, 0, 0, 0);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{EndpointTally, Source, Tally, Timestamp};

    const ROUTE: RouteKey = RouteKey(1);
    const AVAILABLE: SloKey = SloKey(0);
    const FAST: SloKey = SloKey(1);

    fn recorder() -> Recorder {
        let under = Duration::from_millis(300);
        Recorder::new(Arc::new(Rules::new([
            (ROUTE, FAST, Sli::Latency { under }),
            (ROUTE, AVAILABLE, Sli::AVAILABILITY),
        ])))
    }

    fn observation(outcome: Outcome, duration_us: u64) -> Observation {
        Observation {
            route: ROUTE,
            endpoint: Some(EndpointKey(0)),
            source: Source::Proxy,
            outcome,
            status: Some(200),
            duration_us,
            phases: [Some(3), None, Some(40), Some(5)],
            attempts: 1,
            bytes_in: 1,
            bytes_out: 2,
        }
    }

    fn only(shard: &Shard) -> &RouteSlot {
        assert_eq!(shard.len(), 1);
        &shard[0].1
    }

    #[test]
    fn the_raw_duration_decides_a_latency_slo_to_the_microsecond() {
        let mut recorder = recorder();
        for micros in [1, 299_999, 300_000, 300_001, 5_000_000] {
            recorder.record(&observation(Outcome::Good, micros));
        }
        let shard = recorder.take();
        let slos = &only(&shard).slos;
        assert_eq!(slos[0], (AVAILABLE, Tally { good: 5, bad: 0 }));
        assert_eq!(slos[1], (FAST, Tally { good: 3, bad: 2 }));
    }

    #[test]
    fn durations_are_counted_at_what_is_promised_and_was_before() {
        let under = Duration::from_millis(300);
        let mut rules = Rules::new([(ROUTE, FAST, Sli::Latency { under })]);
        rules.count_at(ROUTE, [300_000, 700_000, 250_000]);
        let mut recorder = Recorder::new(Arc::new(rules));
        for micros in [260_000, 300_000, 300_001, 650_000] {
            recorder.record(&observation(Outcome::Good, micros));
        }
        let shard = recorder.take();
        let durations = &only(&shard).durations;
        assert_eq!(durations.further().collect::<Vec<_>>(), [300_000, 700_000]);
        let count = |bound| {
            let mut all = durations.cumulative();
            all.find_map(|(known, count)| (known == Some(bound)).then_some(count))
        };
        assert_eq!((count(300_000), count(700_000)), (Some(2), Some(4)));
    }

    #[test]
    fn one_exemplar_is_kept_of_each_bucket_and_none_after_it_was_handed_out() {
        let mut recorder = recorder();
        let exemplar = |duration_us| Exemplar {
            at: Timestamp::from_millis(duration_us),
            duration_us,
            trace_id: 1,
            span_id: 2,
        };
        for micros in [260_000, 270_000, 7] {
            recorder.record(&observation(Outcome::Good, micros));
            recorder.exemplify(ROUTE, micros, || exemplar(micros));
        }
        let shard = recorder.take();
        let kept: Vec<_> = only(&shard).exemplars.iter().flatten().collect();
        assert_eq!(kept, [&exemplar(7), &exemplar(260_000)]);
        recorder.recycle(shard);
        recorder.record(&observation(Outcome::Good, 20));
        assert_eq!(only(&recorder.take()).exemplars, [None; Durations::PLACES]);
    }

    #[test]
    fn attempts_count_for_connections_and_requests_for_rate_limits() {
        let (connections, limits) = (SloKey(0), SloKey(1));
        let mut recorder = Recorder::new(Arc::new(Rules::new([
            (ROUTE, connections, Sli::Connection),
            (ROUTE, limits, Sli::RateLimit),
        ])));
        // Two attempts without a connection, and a third one that made up for them.
        recorder.connect_failure(ROUTE, EndpointKey(0));
        recorder.connect_failure(ROUTE, EndpointKey(1));
        recorder.connected(ROUTE);
        recorder.record(&observation(Outcome::Good, 10));
        recorder.record(&observation(Fault::RateLimited.outcome(), 10));
        recorder.record(&observation(Fault::ClientDisconnect.outcome(), 10));
        recorder.record(&observation(Fault::UpstreamStatus.outcome(), 10));
        recorder.connected(RouteKey(7));
        let shard = recorder.take();
        let slos = &only(&shard).slos;
        assert_eq!(slos[0], (connections, Tally { good: 1, bad: 2 }));
        assert_eq!(slos[1], (limits, Tally { good: 2, bad: 1 }));
    }

    #[test]
    fn a_failure_is_no_latency_event_and_a_clients_fault_is_no_event_at_all() {
        let mut recorder = recorder();
        recorder.record(&observation(Fault::UpstreamReset.outcome(), 10));
        recorder.record(&observation(Fault::ClientDisconnect.outcome(), 10));
        let shard = recorder.take();
        let slot = only(&shard);
        assert_eq!(
            slot.counts,
            Counts {
                good: 0,
                bad: 1,
                excluded: 1
            }
        );
        assert_eq!(slot.slos[0], (AVAILABLE, Tally { good: 0, bad: 1 }));
        assert_eq!(slot.slos[1], (FAST, Tally::default()));
        assert_eq!(slot.faults.iter().sum::<u64>(), 2);
        assert_eq!(slot.latency.as_ref().map(Latency::count), Some(1));
    }

    #[test]
    fn a_recycled_slot_remembers_nothing() {
        let mut recorder = recorder();
        recorder.record(&observation(Fault::UpstreamReset.outcome(), 10));
        let used = recorder.take();
        recorder.recycle(used);
        recorder.record(&observation(Outcome::Good, 20));
        let shard = recorder.take();
        let slot = only(&shard);
        assert_eq!(
            slot.counts,
            Counts {
                good: 1,
                bad: 0,
                excluded: 0
            }
        );
        assert_eq!(slot.faults.iter().sum::<u64>(), 0);
        assert_eq!(
            slot.latency
                .as_ref()
                .and_then(|latency| latency.quantile(1.0)),
            Some(20)
        );
        assert_eq!(
            slot.endpoints,
            [(
                EndpointKey(0),
                EndpointTally {
                    good: 1,
                    bad: 0,
                    connect_failures: 0,
                    retried: 0,
                }
            )]
        );
    }

    #[test]
    fn nothing_is_handed_out_twice() {
        let mut recorder = recorder();
        recorder.record(&observation(Outcome::Good, 20));
        assert_eq!(recorder.take().len(), 1);
        assert!(recorder.take().is_empty());
    }
}
