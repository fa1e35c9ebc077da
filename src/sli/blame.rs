//! What the bad requests of a route were: by kind, by status, by endpoint, by version, by deploy. Each dimension is a partition: its
//! parts sum to the whole, whatever is known of them.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::model::{EndpointKey, Fault, Outcome, RouteSlot};

/// How bad requests are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dimension {
    /// The fault's word.
    Kind,
    /// The status that was answered: `5xx` when it was the upstream's own, `none` when there was none.
    Status,
    /// The endpoint whose fault it was; `none` when it was no endpoint's.
    Endpoint,
    /// The upstream's version at that moment; `unknown` while none was announced.
    Version,
    /// How the moment lies to the upstream's deploys, see [`DeployPhase`].
    Deploy,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 5] = [
        Self::Kind,
        Self::Status,
        Self::Endpoint,
        Self::Version,
        Self::Deploy,
    ];

    /// Its word in JSON, rows and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Status => "status",
            Self::Endpoint => "endpoint",
            Self::Version => "version",
            Self::Deploy => "deploy",
        }
    }

    /// The dimension of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

/// How a moment lies to the deploys of an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeployPhase {
    /// None was announced yet.
    #[default]
    Before,
    /// In the window that one asked for.
    InWindow,
    /// Within an hour after one, or after the end of its window.
    HourAfter,
    /// Later.
    Later,
}

impl DeployPhase {
    /// Its word as a part.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::InWindow => "in_window",
            Self::HourAfter => "hour_after",
            Self::Later => "later",
        }
    }
}

/// Parts of a dimension that are kept apart in an hour; further ones are `other`.
pub const MOST_PARTS: usize = 64;
/// The part of what is known of no part.
pub const NONE: &str = "none";
/// The part of versions that were never announced.
pub const UNKNOWN: &str = "unknown";
/// The part of what came after too many parts.
pub const OTHER: &str = "other";

/// Bad requests by dimension and part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blame(BTreeMap<Dimension, BTreeMap<String, u64>>);

impl Blame {
    /// Counts the bad requests of `slot`. `endpoint` names a key, `version` is what runs at the route's upstream, and
    /// `phase` how the second lies to its deploys.
    pub fn count<'a>(
        &mut self,
        slot: &RouteSlot,
        endpoint: impl Fn(EndpointKey) -> &'a str,
        version: Option<&str>,
        phase: DeployPhase,
    ) {
        let bad = slot.counts.bad;
        if bad == 0 {
            return;
        }
        let mut left = bad;
        for (fault, count) in Fault::ALL.iter().zip(slot.faults) {
            if count > 0 && matches!(fault.outcome(), Outcome::Bad(_)) {
                let count = count.min(left);
                left -= count;
                self.add(Dimension::Kind, fault.as_str(), count);
                let status = match (fault, fault.status()) {
                    (_, Some(status)) => status.to_string(),
                    (Fault::UpstreamStatus, None) => "5xx".to_owned(),
                    (_, None) => NONE.to_owned(),
                };
                self.add(Dimension::Status, &status, count);
            }
        }
        self.add(Dimension::Kind, NONE, left);
        self.add(Dimension::Status, NONE, left);
        let mut left = bad;
        for (key, tally) in &slot.endpoints {
            let count = tally.bad.min(left);
            left -= count;
            self.add(Dimension::Endpoint, endpoint(*key), count);
        }
        self.add(Dimension::Endpoint, NONE, left);
        self.add(Dimension::Version, version.unwrap_or(UNKNOWN), bad);
        self.add(Dimension::Deploy, phase.as_str(), bad);
    }

    /// Adds `count` to a part, or to `other` when there are too many parts.
    pub fn add(&mut self, dimension: Dimension, part: &str, count: u64) {
        if count == 0 {
            return;
        }
        let parts = self.0.entry(dimension).or_default();
        let part = if parts.contains_key(part) || parts.len() < MOST_PARTS {
            part
        } else {
            OTHER
        };
        let sum = parts.entry(part.to_owned()).or_default();
        *sum = sum.saturating_add(count);
    }

    /// How many requests were bad: every dimension is a partition of them.
    pub fn bad(&self) -> u64 {
        let kinds = self.0.get(&Dimension::Kind);
        kinds.map_or(0, |parts| parts.values().sum())
    }

    /// Adds everything `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (dimension, part, count) in other.parts() {
            self.add(dimension, part, count);
        }
    }

    /// Every part, by dimension and name.
    pub fn parts(&self) -> impl Iterator<Item = (Dimension, &str, u64)> {
        self.0.iter().flat_map(|(dimension, parts)| {
            let parts = parts.iter();
            parts.map(move |(part, count)| (*dimension, part.as_str(), *count))
        })
    }

    /// The sum of a dimension's parts.
    pub fn sum(&self, dimension: Dimension) -> u64 {
        let parts = self.0.get(&dimension);
        parts.map_or(0, |parts| parts.values().sum())
    }
}

/// An hour, in seconds.
const HOUR_S: u64 = 3_600;
/// Hours that are kept: the longest window, and the one begun.
const HOURS: usize = 92 * 24 + 1;

/// A route's bad requests by the hour. Hours without one are not kept.
#[derive(Clone, Debug, Default)]
pub struct BlameRing(VecDeque<(u64, Blame)>);

impl BlameRing {
    /// The hour that `second` lies in, to be counted into.
    pub fn at(&mut self, second: u64) -> &mut Blame {
        let hour = second / HOUR_S;
        let place = self.0.partition_point(|(start, _)| *start < hour);
        if self.0.get(place).is_none_or(|(start, _)| *start != hour) {
            self.0.insert(place, (hour, Blame::default()));
        }
        // What is oldest goes, and is never the hour that is asked for unless that is the oldest of too many.
        let place = if self.0.len() > HOURS && place > 0 {
            self.0.pop_front();
            place - 1
        } else {
            place
        };
        &mut self.0[place].1
    }

    /// What was counted in the hours that lie wholly in the `secs` seconds before `now_secs`, and in the one begun.
    pub fn over(&self, secs: u64, now_secs: u64) -> Blame {
        let from = now_secs.saturating_sub(secs).div_ceil(HOUR_S);
        let to = now_secs / HOUR_S;
        let mut sum = Blame::default();
        let inside = self.0.iter().filter(|(hour, _)| (from..=to).contains(hour));
        for (_, blame) in inside {
            sum.merge(blame);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Counts, EndpointTally};

    const NAMES: [&str; 3] = ["a:1", "b:1", "c:1"];

    fn slot() -> impl Strategy<Value = RouteSlot> {
        let faults = prop::collection::vec((0..Fault::COUNT, 1_u64..20), 0..6);
        let endpoints = prop::collection::vec(0_u64..40, 0..3);
        (faults, endpoints).prop_map(|(faults, endpoints)| {
            let mut slot = RouteSlot::default();
            for (index, count) in faults {
                slot.faults[index] += count;
                match Fault::ALL[index].outcome() {
                    Outcome::Bad(_) => slot.counts.bad += count,
                    Outcome::Good | Outcome::Excluded(_) => slot.counts.excluded += count,
                }
            }
            let mut left = slot.counts.bad;
            for (key, bad) in endpoints.into_iter().enumerate() {
                let bad = bad.min(left);
                left -= bad;
                let tally = EndpointTally {
                    bad,
                    ..EndpointTally::default()
                };
                slot.endpoints.push((EndpointKey(key as u32), tally));
            }
            slot
        })
    }

    proptest! {
        /// Whatever happened, whenever, the parts of each dimension sum to the bad requests.
        #[test]
        fn parts_sum_to_the_whole(
            slots in prop::collection::vec((0_u64..40, slot(), 0_usize..100), 0..60),
        ) {
            let mut ring = BlameRing::default();
            let mut bad = 0;
            for (hour, slot, version) in &slots {
                let version = format!("v{version}");
                let name = |key: EndpointKey| NAMES[key.index()];
                ring.at(hour * HOUR_S + 7).count(slot, name, Some(&version), DeployPhase::Later);
                bad += slot.counts.bad;
            }
            let blame = ring.over(92 * 24 * HOUR_S, 40 * HOUR_S);
            for dimension in Dimension::ALL {
                prop_assert_eq!(blame.sum(dimension), bad, "{:?}", dimension);
            }
        }
    }

    #[test]
    fn bad_requests_are_told_apart_by_what_is_known_of_them() {
        let mut slot = RouteSlot {
            counts: Counts {
                good: 5,
                bad: 10,
                excluded: 3,
            },
            ..RouteSlot::default()
        };
        slot.faults[Fault::UpstreamStatus.index()] = 6;
        slot.faults[Fault::ConnectTimeout.index()] = 1;
        slot.faults[Fault::Overload.index()] = 3;
        slot.faults[Fault::ClientDisconnect.index()] = 3;
        let tally = EndpointTally {
            bad: 7,
            ..EndpointTally::default()
        };
        slot.endpoints = vec![(EndpointKey(1), tally)];
        let mut blame = Blame::default();
        blame.count(
            &slot,
            |key| NAMES[key.index()],
            None,
            DeployPhase::HourAfter,
        );
        let said: Vec<String> = blame
            .parts()
            .map(|(dimension, part, count)| format!("{} {part} {count}", dimension.as_str()))
            .collect();
        assert_eq!(
            said,
            [
                "kind connect_timeout 1",
                "kind overload 3",
                "kind upstream_5xx 6",
                "status 503 3",
                "status 504 1",
                "status 5xx 6",
                "endpoint b:1 7",
                "endpoint none 3",
                "version unknown 10",
                "deploy hour_after 10",
            ]
        );
    }

    #[test]
    fn too_many_versions_are_other_and_an_old_hour_is_left_out() {
        let mut ring = BlameRing::default();
        for version in 0..MOST_PARTS + 10 {
            let blame = ring.at(10 * HOUR_S);
            blame.add(Dimension::Version, &version.to_string(), 1);
        }
        let all = ring.over(3_600 * 3, 12 * HOUR_S);
        assert_eq!(all.sum(Dimension::Version), MOST_PARTS as u64 + 10);
        let names: Vec<&str> = all.parts().map(|(_, part, _)| part).collect();
        assert_eq!(names.len(), MOST_PARTS + 1);
        assert!(names.contains(&OTHER));
        assert_eq!(ring.over(3_600, 12 * HOUR_S), Blame::default());
        for hour in 0..HOURS as u64 + 20 {
            ring.at(hour * HOUR_S);
        }
        assert_eq!(ring.0.len(), HOURS);
    }
}
