//! What one second of traffic came to.
//!
//! Merging is associative and commutative: shards of workers, seconds of a minute and minutes of an hour all add up
//! the same way, whatever the order.

use std::collections::BTreeMap;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

use super::{Durations, EndpointKey, Exemplar, Fault, Latency, Phase, RouteKey, SloKey};

/// Valid events of an SLO, counted exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Events that met the objective's condition.
    pub good: u64,
    /// Events that did not.
    pub bad: u64,
}

impl Tally {
    /// Valid events: good and bad.
    pub const fn valid(self) -> u64 {
        self.good.saturating_add(self.bad)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.good = self.good.saturating_add(other.good);
        self.bad = self.bad.saturating_add(other.bad);
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

/// The difference of two cumulative tallies; a counter that went back counts as zero.
impl Sub for Tally {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            good: self.good.saturating_sub(earlier.good),
            bad: self.bad.saturating_sub(earlier.bad),
        }
    }
}

/// Valid events of an SLO over a window, and how much of the window was measured at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The events.
    pub tally: Tally,
    /// Seconds of the window in which the process was measuring, at most the window's length. Idle seconds are
    /// covered, seconds in which the process was down are not.
    pub covered_s: u64,
}

/// Requests of a route by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Valid and good.
    pub good: u64,
    /// Valid and bad.
    pub bad: u64,
    /// Not valid: the client's doing.
    pub excluded: u64,
}

impl Counts {
    /// All requests, excluded ones too.
    pub const fn requests(self) -> u64 {
        self.good
            .saturating_add(self.bad)
            .saturating_add(self.excluded)
    }

    /// Good and bad ones.
    pub const fn valid(self) -> u64 {
        self.good.saturating_add(self.bad)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.good = self.good.saturating_add(other.good);
        self.bad = self.bad.saturating_add(other.bad);
        self.excluded = self.excluded.saturating_add(other.excluded);
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

/// The difference of two cumulative counts; a counter that went back counts as zero.
impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            good: self.good.saturating_sub(earlier.good),
            bad: self.bad.saturating_sub(earlier.bad),
            excluded: self.excluded.saturating_sub(earlier.excluded),
        }
    }
}

/// What one endpoint did for one route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointTally {
    /// Requests whose last attempt went to it and ended well.
    pub good: u64,
    /// Requests whose last attempt went to it and ended badly through its fault.
    pub bad: u64,
    /// Attempts that could not get a connection to it, later successful elsewhere or not.
    pub connect_failures: u64,
    /// Attempts that it failed and that were followed by another, so that the client may not have noticed.
    pub retried: u64,
}

impl EndpointTally {
    /// Everything that failed, whether the client noticed or not.
    pub const fn failures(self) -> u64 {
        let seen = self.bad.saturating_add(self.connect_failures);
        seen.saturating_add(self.retried)
    }
}

impl AddAssign for EndpointTally {
    fn add_assign(&mut self, other: Self) {
        self.good = self.good.saturating_add(other.good);
        self.bad = self.bad.saturating_add(other.bad);
        self.connect_failures = self.connect_failures.saturating_add(other.connect_failures);
        self.retried = self.retried.saturating_add(other.retried);
    }
}

/// One route's share of a slot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteSlot {
    /// Requests by outcome.
    pub counts: Counts,
    /// Requests by fault, indexed by [`Fault::index`]; good ones are in none.
    pub faults: [u64; Fault::COUNT],
    /// Responses by status class; index 0 is "no response was sent", 1 to 5 are 1xx to 5xx.
    pub classes: [u64; 6],
    /// Events of each SLO on this route. Every SLO of the route is present, with zeros if need be.
    pub slos: Vec<(SloKey, Tally)>,
    /// Requests by endpoint, only those that were tried.
    pub endpoints: Vec<(EndpointKey, EndpointTally)>,
    /// Total durations of valid requests; `None` when there was none.
    pub latency: Option<Latency>,
    /// Durations of each phase, indexed by [`Phase::index`]; `None` when no request reached it.
    pub phases: [Option<Latency>; Phase::ALL.len()],
    /// Valid requests by duration.
    pub durations: Durations,
    /// Traces of valid requests, by [`Durations::place`].
    pub exemplars: [Option<Exemplar>; Durations::PLACES],
    /// The sum of total durations behind `latency`, in microseconds.
    pub duration_us: u64,
    /// Request body bytes read.
    pub bytes_in: u64,
    /// Response body bytes sent.
    pub bytes_out: u64,
    /// Upstream attempts beyond each request's first.
    pub retries: u64,
}

impl RouteSlot {
    /// Adds everything `other` counted.
    pub fn merge(&mut self, other: &Self) {
        let Self {
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
        } = other;
        self.counts += *counts;
        for (mine, theirs) in self.faults.iter_mut().zip(faults) {
            *mine = mine.saturating_add(*theirs);
        }
        for (mine, theirs) in self.classes.iter_mut().zip(classes) {
            *mine = mine.saturating_add(*theirs);
        }
        self.durations += durations;
        for (mine, theirs) in self.exemplars.iter_mut().zip(exemplars) {
            // None is older than any.
            *mine = (*mine).max(*theirs);
        }
        for (key, tally) in slos {
            *entry(&mut self.slos, *key) += *tally;
        }
        for (key, tally) in endpoints {
            *entry(&mut self.endpoints, *key) += *tally;
        }
        merge_latency(&mut self.latency, latency.as_ref());
        for (mine, theirs) in self.phases.iter_mut().zip(phases) {
            merge_latency(mine, theirs.as_ref());
        }
        self.duration_us = self.duration_us.saturating_add(*duration_us);
        self.bytes_in = self.bytes_in.saturating_add(*bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(*bytes_out);
        self.retries = self.retries.saturating_add(*retries);
    }
}

/// The value of `key` in a short list kept in key order, made if absent.
fn entry<K: Ord + Copy, V: Default>(list: &mut Vec<(K, V)>, key: K) -> &mut V {
    let place = match list.binary_search_by_key(&key, |(key, _)| *key) {
        Ok(place) => place,
        Err(place) => {
            list.insert(place, (key, V::default()));
            place
        }
    };
    &mut list[place].1
}

fn merge_latency(mine: &mut Option<Latency>, theirs: Option<&Latency>) {
    // A recycled distribution is present but empty; it must not make one here.
    let theirs = theirs.filter(|theirs| !theirs.is_empty());
    match (mine.as_mut(), theirs) {
        (Some(mine), Some(theirs)) => mine.merge(theirs),
        (None, Some(theirs)) => *mine = Some(theirs.clone()),
        (Some(_) | None, None) => {}
    }
}

/// One second of all traffic: every route that saw any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slot {
    /// The second it began, since the Unix epoch.
    pub start_secs: u64,
    /// Routes that saw traffic.
    pub routes: BTreeMap<RouteKey, RouteSlot>,
}

impl Slot {
    /// An empty slot that begins at `start_secs`.
    pub fn new(start_secs: u64) -> Self {
        Self {
            start_secs,
            routes: BTreeMap::new(),
        }
    }

    /// Adds everything `other` counted; the start stays.
    pub fn merge(&mut self, other: &Self) {
        for (key, route) in &other.routes {
            self.routes.entry(*key).or_default().merge(route);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Timestamp;

    fn slot() -> impl Strategy<Value = Slot> {
        let route = (
            0_u64..9,
            0_u64..9,
            0_u64..9,
            prop::collection::vec(1_u64..1_000_000, 0..4),
            0_u32..3,
        );
        prop::collection::btree_map(0_u32..4, route, 0..4).prop_map(|routes| {
            let mut slot = Slot::new(7);
            for (key, (good, bad, excluded, durations, endpoint)) in routes {
                let mut route = RouteSlot {
                    counts: Counts {
                        good,
                        bad,
                        excluded,
                    },
                    ..RouteSlot::default()
                };
                route.faults[endpoint as usize] = bad;
                route.slos.push((SloKey(key), Tally { good, bad }));
                route.endpoints.push((
                    EndpointKey(endpoint),
                    EndpointTally {
                        good,
                        bad,
                        connect_failures: 0,
                        retried: 0,
                    },
                ));
                route.durations.know(300_000);
                for micros in durations {
                    route.latency.get_or_insert_default().record(micros);
                    route.durations.record(micros);
                    route.exemplars[Durations::place(micros)] = Some(Exemplar {
                        at: Timestamp::from_millis(micros),
                        duration_us: micros,
                        trace_id: u128::from(good),
                        span_id: bad,
                    });
                    route.duration_us += micros;
                }
                slot.routes.insert(RouteKey(key), route);
            }
            slot
        })
    }

    fn sum(a: &Slot, b: &Slot) -> Slot {
        let mut sum = a.clone();
        sum.merge(b);
        sum
    }

    proptest! {
        #[test]
        fn merging_is_associative_and_commutative(a in slot(), b in slot(), c in slot()) {
            prop_assert_eq!(sum(&sum(&a, &b), &c), sum(&a, &sum(&b, &c)));
            prop_assert_eq!(sum(&a, &b), sum(&b, &a));
        }
    }
}
