//! Which change is most likely behind the trouble. A suspect, never "the cause".

use std::cmp::Reverse;
use std::time::Duration;

use super::evidence::RouteEvidence;
use super::onset::Onset;
use super::{Strength, Suspect, words};
use crate::model::{Event, EventKind, Timestamp};

/// How far before the onset a change is looked for.
const LOOK_BACK: Duration = Duration::from_secs(3_600);
/// How shortly before the onset a change must lie to be more than weakly suspected.
const SHORTLY: Duration = Duration::from_secs(300);
/// How much later than the onset a change may be told: who announces it and who measures have different clocks.
pub(super) const TOLERANCE_S: u64 = 5;

/// The change most suspected of having made `route` fail at `onset`; `failing` are the addresses that carry the
/// errors. `None`: no change was found in the hour before.
pub(super) fn find(
    events: &[Event],
    route: &RouteEvidence<'_>,
    failing: &[&str],
    onset: Onset,
) -> Option<Suspect> {
    let at = Timestamp::from_secs(onset.secs);
    let latest = at.plus(Duration::from_secs(TOLERANCE_S.max(onset.within_s)));
    let earliest = at.minus(LOOK_BACK);
    let (relation, event) = events
        .iter()
        .filter(|event| event.kind.is_change() && event.at >= earliest && event.at <= latest)
        .filter_map(|event| Some((relation(event, route, failing)?, event)))
        // What fails is found unhealthy once it fails; only if that was before can it be more than an effect.
        .filter(|(relation, event)| *relation != Relation::Effect || event.at < at)
        .max_by_key(|(relation, event)| (Reverse(*relation), event.at))?;
    let before = at.since(event.at);
    let strong = matches!(relation, Relation::Deploy | Relation::Config) && before <= SHORTLY;
    let before = if before.is_zero() {
        "as it began".to_owned()
    } else {
        format!("{} before", words::duration(before.as_secs()))
    };
    Some(Suspect {
        event: event.clone(),
        before_onset_s: at.since(event.at).as_secs(),
        strength: if strong {
            Strength::Strong
        } else {
            Strength::Weak
        },
        why: format!("{before}, {}", relation.why()),
    })
}

/// How an event relates to a route in trouble, most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Relation {
    /// A new version of the route's own upstream.
    Deploy,
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
        EventKind::Health if !concerns => None,
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
