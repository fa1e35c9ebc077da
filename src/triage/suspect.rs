//! Which changes are most likely behind the trouble. A suspect, never "the cause".

use std::cmp::Reverse;
use std::time::Duration;

use super::evidence::{History, RouteEvidence};
use super::onset::{self, Onset};
use super::{Strength, Suspect, words};
use crate::model::{Event, EventKind, Tally, Timestamp};

/// How far before the onset a change is looked for.
const LOOK_BACK: Duration = Duration::from_secs(3_600);
/// How shortly before the onset a change must lie to be more than weakly suspected.
const SHORTLY: Duration = Duration::from_secs(300);
/// How much later than the onset a change may be told: who announces it and who measures have different clocks.
pub(super) const TOLERANCE_S: u64 = 5;

/// Suspects that are told at most: one, and three more.
const MOST: usize = 4;

/// The changes that may have made `route` fail at `onset`, the most suspected first; `failing` are the addresses that
/// carry the errors. Empty: no change was found in the hour before.
pub(super) fn find(
    events: &[Event],
    route: &RouteEvidence<'_>,
    failing: &[&str],
    onset: Onset,
) -> Vec<Suspect> {
    rank(events, onset, |event| relation(event, route, failing))
}

/// The same where the health of endpoints is not what is looked for: it is the trouble, or has nothing to do with it.
pub(super) fn besides_health(
    events: &[Event],
    route: &RouteEvidence<'_>,
    onset: Onset,
) -> Vec<Suspect> {
    rank(events, onset, |event| match event.kind {
        EventKind::Health => None,
        _ => relation(event, route, &[]),
    })
}

/// The same for what concerns no route in particular: changes of the configuration and of this process.
pub(super) fn of_anything(events: &[Event], onset: Onset) -> Vec<Suspect> {
    rank(events, onset, |event| match event.kind {
        EventKind::Config | EventKind::Process => Some(Relation::Everywhere),
        _ => None,
    })
}

fn rank(
    events: &[Event],
    onset: Onset,
    relation: impl Fn(&Event) -> Option<Relation>,
) -> Vec<Suspect> {
    let at = Timestamp::from_secs(onset.secs);
    let latest = at.plus(Duration::from_secs(TOLERANCE_S.max(onset.within_s)));
    let earliest = at.minus(LOOK_BACK);
    let mut found: Vec<(Relation, &Event)> = events
        .iter()
        .filter(|event| event.kind.is_change() && event.at >= earliest && event.at <= latest)
        .filter_map(|event| Some((relation(event)?, event)))
        // What fails is found unhealthy once it fails; only if that was before can it be more than an effect. And what
        // concerns something else is not suspected for the sake of a clock that may be wrong.
        .filter(|(relation, event)| {
            !matches!(relation, Relation::Effect | Relation::Elsewhere) || event.at < at
        })
        .collect();
    found.sort_by_key(|(relation, event)| (*relation, Reverse(event.at)));
    found.truncate(MOST);
    found
        .into_iter()
        .map(|(relation, event)| suspect(relation, event, at))
        .collect()
}

fn suspect(relation: Relation, event: &Event, onset: Timestamp) -> Suspect {
    let before = onset.since(event.at);
    let telling = matches!(
        relation,
        Relation::Deploy | Relation::Config | Relation::Name
    );
    let strong = telling && before <= SHORTLY;
    let before = if before.is_zero() {
        "as it began".to_owned()
    } else {
        format!("{} before", words::duration(before.as_secs()))
    };
    Suspect {
        event: event.clone(),
        before_onset_s: onset.since(event.at).as_secs(),
        strength: if strong {
            Strength::Strong
        } else {
            Strength::Weak
        },
        why: format!("{before}, {}", relation.why()),
        before: Tally::default(),
        since: Tally::default(),
    }
}

/// Says of each suspect how the SLO fared in the half hour before it and since.
pub(super) fn weigh(suspects: &mut [Suspect], history: &History, now: Timestamp) {
    /// How far before a change is compared, in seconds.
    const BEFORE_S: u64 = 1_800;
    for suspect in suspects {
        let at = suspect.event.at.as_secs();
        let begin = at.saturating_sub(BEFORE_S);
        suspect.before = onset::over(history, begin..at, now.as_secs());
        suspect.since = onset::over(history, at..now.as_secs() + 1, now.as_secs());
        let ratio = |tally: Tally| {
            (tally.valid() > 0).then(|| words::percent(tally.bad as f64 / tally.valid() as f64))
        };
        if let Some(since) = ratio(suspect.since) {
            let before = ratio(suspect.before).map_or_else(
                || "nothing before".to_owned(),
                |before| format!("{before} before"),
            );
            suspect.why = format!("{}; {since} bad since it, {before}", suspect.why);
        }
    }
}

/// How an event relates to a route in trouble, most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Relation {
    /// A new version of the route's own upstream.
    Deploy,
    /// The name of one of its endpoints leads elsewhere.
    Name,
    /// A configuration of this route or upstream.
    Config,
    /// A configuration, a deploy or a restart that says nothing about what it concerns.
    Everywhere,
    /// The health of an endpoint beside the failing ones: the load moved.
    Neighbour,
    /// The health of what fails: more likely an effect.
    Effect,
    /// A change of something else.
    Elsewhere,
}

impl Relation {
    const fn why(self) -> &'static str {
        match self {
            Self::Deploy => "a new version of its upstream",
            Self::Name => "the name of its endpoint leads elsewhere",
            Self::Config => "it concerns this route",
            Self::Everywhere => "it may concern every route",
            Self::Neighbour => "it concerns another endpoint of its upstream",
            Self::Effect => "it concerns what fails, so it may be an effect",
            Self::Elsewhere => "only that it came before: it concerns something else",
        }
    }
}

/// `None` for what cannot have to do with it: the health of another upstream.
fn relation(event: &Event, route: &RouteEvidence<'_>, failing: &[&str]) -> Option<Relation> {
    let scope = &event.scope;
    let is_scoped = scope.route.is_some() || scope.upstream.is_some() || scope.slo.is_some();
    let concerns = scope.route.as_deref() == Some(route.id)
        || (scope.upstream.is_some() && scope.upstream.as_deref() == route.upstream);
    match event.kind {
        EventKind::Health | EventKind::Name if !concerns => None,
        EventKind::Name => Some(Relation::Name),
        EventKind::Health => {
            let effect = scope
                .endpoint
                .as_deref()
                .is_none_or(|endpoint| failing.is_empty() || failing.contains(&endpoint));
            Some(if effect {
                Relation::Effect
            } else {
                Relation::Neighbour
            })
        }
        EventKind::Deploy if concerns => Some(Relation::Deploy),
        EventKind::Config | EventKind::Process if concerns => Some(Relation::Config),
        _ if is_scoped => Some(Relation::Elsewhere),
        _ => Some(Relation::Everywhere),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Scope;

    const ONSET: u64 = 50_560;

    fn event(kind: EventKind, before: i64, scope: Scope, text: &str) -> Event {
        Event {
            at: Timestamp::from_secs(ONSET.saturating_add_signed(-before)),
            kind,
            scope,
            text: text.to_owned(),
        }
    }

    fn upstream(name: &str) -> Scope {
        Scope {
            upstream: Some(name.to_owned()),
            ..Scope::default()
        }
    }

    fn endpoint(name: &str, address: &str) -> Scope {
        Scope {
            endpoint: Some(address.to_owned()),
            ..upstream(name)
        }
    }

    fn suspect(events: &[Event]) -> Option<(String, Strength)> {
        let route = RouteEvidence {
            id: "shop",
            upstream: Some("checkout"),
            ..RouteEvidence::default()
        };
        let onset = Onset {
            secs: ONSET,
            within_s: 1,
            open: false,
        };
        find(events, &route, &["10.0.4.31:80"], onset)
            .into_iter()
            .next()
            .map(|suspect| (suspect.event.text, suspect.strength))
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases")]
    fn the_most_telling_change_is_suspected() {
        use EventKind::{Alert, Config, Deploy, Health, Operator, Process};
        let none = Scope::default;
        for (what, events, expected) in [
            (
                "a deploy of the upstream over a later config and a health event",
                vec![
                    event(Health, 1, endpoint("checkout", "10.0.4.31:80"), "unhealthy"),
                    event(Config, 20, none(), "gen 118"),
                    event(Deploy, 35, upstream("checkout"), "v2"),
                ],
                Some(("v2", Strength::Strong)),
            ),
            (
                "the newest of two deploys",
                vec![
                    event(Deploy, 35, upstream("checkout"), "v3"),
                    event(Deploy, 1_800, upstream("checkout"), "v2"),
                ],
                Some(("v3", Strength::Strong)),
            ),
            (
                "a deploy long before only weakly",
                vec![event(Deploy, 1_800, upstream("checkout"), "v2")],
                Some(("v2", Strength::Weak)),
            ),
            (
                "not a rollback that came after",
                vec![
                    event(Deploy, -60, upstream("checkout"), "v1"),
                    event(Deploy, 35, upstream("checkout"), "v2"),
                ],
                Some(("v2", Strength::Strong)),
            ),
            (
                "nothing but a rollback after it is nothing",
                vec![event(Deploy, -60, upstream("checkout"), "v1")],
                None,
            ),
            (
                "one told a moment late",
                vec![event(Deploy, -4, upstream("checkout"), "v2")],
                Some(("v2", Strength::Strong)),
            ),
            (
                "a config for all over a deploy of something else",
                vec![
                    event(Deploy, 10, upstream("search"), "search v9"),
                    event(Config, 600, none(), "gen 118"),
                ],
                Some(("gen 118", Strength::Weak)),
            ),
            (
                "a deploy of something else only weakly",
                vec![event(Deploy, 10, upstream("search"), "search v9")],
                Some(("search v9", Strength::Weak)),
            ),
            (
                "the health of what fails over nothing",
                vec![event(
                    Health,
                    2,
                    endpoint("checkout", "10.0.4.31:80"),
                    "unhealthy",
                )],
                Some(("unhealthy", Strength::Weak)),
            ),
            (
                "not the health of what fails once it fails",
                vec![event(
                    Health,
                    -1,
                    endpoint("checkout", "10.0.4.31:80"),
                    "unhealthy",
                )],
                None,
            ),
            (
                "the health of its neighbour over its own",
                vec![
                    event(Health, 2, endpoint("checkout", "10.0.4.31:80"), "unhealthy"),
                    event(
                        Health,
                        30,
                        endpoint("checkout", "10.0.4.32:80"),
                        "neighbour gone",
                    ),
                ],
                Some(("neighbour gone", Strength::Weak)),
            ),
            (
                "a restart of ours",
                vec![event(Process, 90, none(), "started")],
                Some(("started", Strength::Weak)),
            ),
            (
                "nobody's reactions, nothing older than an hour, no health of others",
                vec![
                    event(Alert, 1, none(), "fires"),
                    event(Operator, 2, none(), "note"),
                    event(Health, 3, upstream("search"), "unhealthy"),
                    event(Deploy, 3_601, upstream("checkout"), "v2"),
                ],
                None,
            ),
        ] {
            let expected = expected.map(|(text, strength)| (text.to_owned(), strength));
            assert_eq!(suspect(&events), expected, "{what}");
        }
    }
}
