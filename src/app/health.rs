//! Whether an endpoint works, judged by what traffic met there.
//!
//! Pure and slow on purpose: it says when an endpoint's state changed, for people to read beside the errors. Which
//! endpoint a request tries next is the proxy's own, faster decision.

use std::collections::{BTreeMap, VecDeque};

use crate::model::{EndpointKey, EndpointTally, Timestamp};

/// Seconds that a judgement looks back.
const WINDOW: usize = 10;
/// Failures in the window below which nothing is said: a few are noise.
const MIN_FAILURES: u64 = 5;
/// Working requests in the window after which a failed endpoint is believed again.
const MIN_GOOD: u64 = 3;

/// All endpoints that ever saw a request.
#[derive(Debug, Default)]
pub(super) struct Health(BTreeMap<EndpointKey, Endpoint>);

#[derive(Debug, Default)]
struct Endpoint {
    seconds: VecDeque<EndpointTally>,
    failing_since: Option<Timestamp>,
    /// What its health checks say; `None`: it has none.
    answers: Option<bool>,
    changed: Option<Timestamp>,
}

/// An endpoint's state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) endpoint: EndpointKey,
    pub(super) healthy: bool,
    /// What the window held.
    pub(super) seen: EndpointTally,
}

impl Health {
    /// Takes in one second of traffic and says what changed.
    pub(super) fn second(
        &mut self,
        now: Timestamp,
        tallies: &BTreeMap<EndpointKey, EndpointTally>,
    ) -> Vec<Change> {
        for key in tallies.keys() {
            self.0.entry(*key).or_default();
        }
        let mut changes = Vec::new();
        for (key, endpoint) in &mut self.0 {
            endpoint
                .seconds
                .push_back(tallies.get(key).copied().unwrap_or_default());
            if endpoint.seconds.len() > WINDOW {
                endpoint.seconds.pop_front();
            }
            let mut seen = EndpointTally::default();
            for second in &endpoint.seconds {
                seen += *second;
            }
            if let Some(healthy) = endpoint.judge(seen) {
                endpoint.failing_since = (!healthy).then_some(now);
                endpoint.changed = Some(now);
                changes.push(Change {
                    endpoint: *key,
                    healthy,
                    seen,
                });
            }
        }
        changes
    }

    /// Takes in what health checks say now of every endpoint that has them, and says whose answer changed.
    pub(super) fn checked(
        &mut self,
        now: Timestamp,
        standings: impl Iterator<Item = (EndpointKey, bool)>,
    ) -> Vec<(EndpointKey, bool)> {
        let standings: BTreeMap<EndpointKey, bool> = standings.collect();
        for (key, endpoint) in &mut self.0 {
            if !standings.contains_key(key) {
                endpoint.answers = None;
            }
        }
        let mut changes = Vec::new();
        for (key, up) in standings {
            let endpoint = self.0.entry(key).or_default();
            // One that is new is believed to work, and so not news when it does.
            if endpoint.answers.replace(up).unwrap_or(true) != up {
                endpoint.changed = Some(now);
                changes.push((key, up));
            }
        }
        changes
    }

    /// Whether an endpoint answers its health checks; `None`: it has none.
    pub(super) fn answers(&self, endpoint: EndpointKey) -> Option<bool> {
        self.0.get(&endpoint)?.answers
    }

    /// Whether an endpoint is thought to work, and since when if that ever changed. One never tried is.
    pub(super) fn of(&self, endpoint: EndpointKey) -> (bool, Option<Timestamp>) {
        self.0.get(&endpoint).map_or((true, None), |endpoint| {
            let works = endpoint.failing_since.is_none() && endpoint.answers != Some(false);
            (works, endpoint.changed)
        })
    }
}

impl Endpoint {
    /// The new state, if it is one.
    fn judge(&self, seen: EndpointTally) -> Option<bool> {
        let failures = seen.failures();
        if self.failing_since.is_none() {
            // Half of what reached it or more.
            (failures >= MIN_FAILURES && failures >= seen.good).then_some(false)
        } else {
            (seen.good >= MIN_GOOD && failures * 4 <= seen.good).then_some(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: EndpointKey = EndpointKey(0);

    fn feed(health: &mut Health, seconds: &[(u64, u64, u64)]) -> Vec<(usize, bool)> {
        let mut found = Vec::new();
        for (at, (good, bad, connect_failures)) in seconds.iter().copied().enumerate() {
            let tally = EndpointTally {
                good,
                bad,
                connect_failures,
                retried: 0,
            };
            let changes = health.second(
                Timestamp::from_secs(at as u64),
                &BTreeMap::from([(KEY, tally)]),
            );
            found.extend(changes.into_iter().map(|change| (at, change.healthy)));
        }
        found
    }

    #[test]
    fn an_endpoint_that_fails_is_said_once_and_its_return_once() {
        let mut seconds = vec![(10, 0, 0); 5];
        seconds.extend([(0, 20, 0); 12]);
        seconds.extend([(20, 0, 0); 20]);
        let found = feed(&mut Health::default(), &seconds);
        assert_eq!(
            found
                .iter()
                .map(|(_, healthy)| *healthy)
                .collect::<Vec<_>>(),
            [false, true]
        );
        assert!(found[0].0 <= 9 && found[1].0 >= 20, "{found:?}");
    }

    #[test]
    fn a_few_failures_among_many_good_ones_say_nothing() {
        assert_eq!(feed(&mut Health::default(), &[(100, 6, 0); 30]), []);
        assert_eq!(
            feed(&mut Health::default(), &[(0, 1, 0), (0, 1, 0), (0, 1, 0)]),
            []
        );
    }

    #[test]
    fn refused_connections_count_as_failures() {
        assert_eq!(feed(&mut Health::default(), &[(0, 0, 5)]), [(0, false)]);
    }

    #[test]
    fn health_checks_are_news_when_their_answer_changes() {
        let mut health = Health::default();
        let mut told = |up: Option<bool>| {
            let standings = up.map(|up| (KEY, up)).into_iter();
            let changes = health.checked(Timestamp::from_secs(1), standings);
            (changes.len(), health.of(KEY).0)
        };
        for (up, expected) in [
            (Some(true), (0, true)),
            (Some(false), (1, false)),
            (Some(false), (0, false)),
            (Some(true), (1, true)),
            (Some(false), (1, false)),
            // A reload took the checks away: nothing is known any more.
            (None, (0, true)),
        ] {
            assert_eq!(told(up), expected, "{up:?}");
        }
    }

    #[test]
    fn silence_is_not_recovery() {
        let mut health = Health::default();
        feed(&mut health, &[(0, 9, 0)]);
        assert_eq!(feed(&mut health, &[(0, 0, 0); 60]), []);
        assert!(!health.of(KEY).0);
    }
}
