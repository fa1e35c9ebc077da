//! Whether an endpoint works, judged by what traffic met there.
//!
//! Pure and slow on purpose: it says when an endpoint's state changed, for people to read beside the errors. Which
//! endpoint a request tries next is the proxy's own, faster decision.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::{EndpointKey, EndpointTally, Timestamp};
use crate::proxy::health::Checked;

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
    checked: Option<Checked>,
    changed: Option<Timestamp>,
    by_checks: Flaps,
    by_traffic: Flaps,
}

/// When an endpoint was lost or came back.
#[derive(Debug, Default)]
struct Flaps {
    /// The last ten minutes, oldest first.
    lately: VecDeque<Timestamp>,
    /// The first of those between which ten minutes never passed.
    since: Timestamp,
    /// Since the process started.
    all: u64,
}

/// How far back flaps are counted.
const LATELY: Duration = Duration::from_secs(600);
/// Changes of ten minutes that are kept; more are not worth telling apart.
const FLAPS: usize = 1_000;

impl Flaps {
    fn count(&mut self, now: Timestamp, changes: u64) {
        if changes == 0 {
            return;
        }
        if self.lately(now).next().is_none() {
            self.since = now;
        }
        self.all = self.all.saturating_add(changes);
        let kept = usize::try_from(changes).unwrap_or(FLAPS).min(FLAPS);
        self.lately.extend(std::iter::repeat_n(now, kept));
        while self.lately.len() > FLAPS {
            self.lately.pop_front();
        }
    }

    /// Those of the last ten minutes.
    fn lately(&self, now: Timestamp) -> impl Iterator<Item = Timestamp> {
        let earliest = now.minus(LATELY);
        let lately = self.lately.iter().copied();
        lately.filter(move |at| *at > earliest)
    }
}

/// How restless an endpoint was in the last ten minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unrest {
    /// How often it was lost or came back.
    pub(super) changes: u64,
    /// The first of the run that these belong to: of changes between which ten minutes never passed.
    pub(super) since: Timestamp,
    /// Whether its health checks found that, or how traffic fared.
    pub(super) by_checks: bool,
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
                endpoint.by_traffic.count(now, 1);
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
        standings: impl Iterator<Item = (EndpointKey, Checked)>,
    ) -> Vec<(EndpointKey, bool)> {
        let standings: BTreeMap<EndpointKey, Checked> = standings.collect();
        for (key, endpoint) in &mut self.0 {
            if !standings.contains_key(key) {
                endpoint.checked = None;
            }
        }
        let mut changes = Vec::new();
        for (key, checked) in standings {
            let endpoint = self.0.entry(key).or_default();
            let up = checked.up;
            let before = endpoint.checked.replace(checked.clone());
            let counted = before.as_ref().map_or(0, |before| before.changes);
            // Checks that began anew count from zero.
            let since = checked.changes.checked_sub(counted);
            endpoint
                .by_checks
                .count(now, since.unwrap_or(checked.changes));
            // One that is new is believed to work, and so not news when it does.
            if before.is_none_or(|before| before.up) != up {
                endpoint.changed = Some(now);
                changes.push((key, up));
            }
        }
        changes
    }

    /// Whether an endpoint answers its health checks; `None`: it has none.
    pub(super) fn answers(&self, endpoint: EndpointKey) -> Option<bool> {
        self.0.get(&endpoint)?.checked.as_ref().map(|it| it.up)
    }

    /// Why a health check of an endpoint failed last; `None`: none has, or it has no checks.
    pub(super) fn failed(&self, endpoint: EndpointKey) -> Option<&str> {
        let checked = self.0.get(&endpoint)?.checked.as_ref()?;
        checked.failed.as_deref()
    }

    /// How restless an endpoint was in the ten minutes before `now`; `None`: not at all. Checks and traffic may see the same
    /// change, so the one that saw more speaks.
    pub(super) fn unrest(&self, endpoint: EndpointKey, now: Timestamp) -> Option<Unrest> {
        let endpoint = self.0.get(&endpoint)?;
        let of = |flaps: &Flaps, by_checks| {
            let changes = flaps.lately(now).count() as u64;
            (changes > 0).then_some(Unrest {
                changes,
                since: flaps.since,
                by_checks,
            })
        };
        let checks = of(&endpoint.by_checks, true);
        let traffic = of(&endpoint.by_traffic, false);
        checks
            .into_iter()
            .chain(traffic)
            .max_by_key(|it| (it.changes, it.by_checks))
    }

    /// How often an endpoint was lost or came back since the process started: by its health checks, and by how traffic
    /// fared.
    pub(super) fn flaps(&self, endpoint: EndpointKey) -> (u64, u64) {
        let endpoint = self.0.get(&endpoint);
        endpoint.map_or((0, 0), |it| (it.by_checks.all, it.by_traffic.all))
    }

    /// Whether an endpoint is in service, of which something is known just now: it has checks, carries traffic, or has been
    /// given up. `None` of one that nobody has looked at.
    pub(super) fn stands(&self, endpoint: EndpointKey) -> Option<bool> {
        let it = self.0.get(&endpoint)?;
        let is_used = || {
            it.seconds
                .iter()
                .any(|tally| *tally != EndpointTally::default())
        };
        let is_known = it.checked.is_some() || it.failing_since.is_some() || is_used();
        is_known.then(|| self.of(endpoint).0)
    }

    /// Whether an endpoint is thought to work, and since when if that ever changed. One never tried is.
    pub(super) fn of(&self, endpoint: EndpointKey) -> (bool, Option<Timestamp>) {
        self.0.get(&endpoint).map_or((true, None), |endpoint| {
            let works = endpoint.failing_since.is_none()
                && endpoint.checked.as_ref().is_none_or(|it| it.up);
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
            let checked = |up| Checked {
                up,
                ..Checked::default()
            };
            let standings = up.map(|up| (KEY, checked(up))).into_iter();
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
    fn flaps_are_counted_to_the_last_one_and_forgotten_after_ten_minutes() {
        let mut health = Health::default();
        let mut check = |second, changes| {
            let checked = Checked {
                up: changes % 2 == 0,
                changes,
                failed: None,
            };
            let now = Timestamp::from_secs(second);
            health.checked(now, std::iter::once((KEY, checked)));
            (
                health
                    .unrest(KEY, now)
                    .map(|it| (it.changes, it.since.as_secs())),
                health.flaps(KEY),
            )
        };
        for (second, changes, lately, all) in [
            (1_000, 0, None, 0),
            (1_001, 1, Some((1, 1_001)), 1),
            // Three within a second.
            (1_010, 4, Some((4, 1_001)), 4),
            // Checks that begin anew.
            (1_020, 1, Some((5, 1_001)), 5),
            (1_601, 1, Some((4, 1_001)), 5),
            (1_700, 1, None, 5),
            (1_800, 2, Some((1, 1_800)), 6),
        ] {
            assert_eq!(
                check(second, changes),
                (lately, (all, 0)),
                "second {second}"
            );
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
