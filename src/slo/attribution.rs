//! What spent a budget: the spells in which it went faster than it may, and the change shortly before each.
//!
//! A spell is a run of slots each of which burns faster than 1 (its bad share exceeds what the objective allows), with
//! no more than a few minutes of quiet in between. What is bad outside of spells is background. The change before a
//! spell is a hint and no proof: it is the latest one within ten minutes that concerns the same route or upstream, or
//! everything.

use std::time::Duration;

use crate::model::{Event, EventKind, Objective, Tally, Timestamp, Window};

/// How many more of `lately` bad events there are than `before` leads to expect: b − N · e₀, where N is what was valid
/// lately and e₀ the share that were bad in this way of what was valid before.
///
/// N is that of the SLO, whatever the part: each of its events might have become bad in this way. So the excesses of a
/// dimension's parts sum to the excess of the whole. Negative when there are fewer than usual; `None` when nothing was
/// valid before.
pub fn excess(lately: u64, valid_lately: u64, before: u64, valid_before: u64) -> Option<f64> {
    (valid_before > 0).then(|| {
        let usual = before as f64 / valid_before as f64;
        lately as f64 - valid_lately as f64 * usual
    })
}

/// What an SLO counted in one slot of its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The slot's beginning, in seconds since the Unix epoch.
    pub start_secs: u64,
    /// Its width in seconds.
    pub width_s: u64,
    /// Its valid events.
    pub tally: Tally,
}

/// A run of slots that burned too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its beginning, in seconds since the Unix epoch.
    pub from_secs: u64,
    /// Its end.
    pub to_secs: u64,
    /// Bad events in it.
    pub bad: u64,
}

/// Quiet that does not end a run, in seconds.
const QUIET_S: u64 = 300;

/// The runs in `pieces`, which are in rising order, in rising order.
///
/// With slices of time, `slice` long, an event is counted in the second in which its slice ends, and is about all of it: a run
/// begins with the slice, and two bad slices with none in between are one run, however long they are.
pub fn runs(
    pieces: impl IntoIterator<Item = Piece>,
    objective: Objective,
    slice: Option<Window>,
) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for piece in pieces.into_iter().filter(|it| is_fast(it.tally, objective)) {
        let Piece {
            start_secs,
            width_s,
            tally,
        } = piece;
        let to_secs = start_secs.saturating_add(width_s);
        let from_secs = match slice.map(Window::as_secs) {
            // Slices begin at multiples of their length.
            Some(slice_s @ 1..) => start_secs / slice_s * slice_s,
            Some(0) | None => start_secs,
        };
        match runs.last_mut() {
            Some(run) if from_secs <= run.to_secs.saturating_add(QUIET_S) => {
                run.to_secs = to_secs;
                run.bad = run.bad.saturating_add(tally.bad);
            }
            Some(_) | None => runs.push(Run {
                from_secs,
                to_secs,
                bad: tally.bad,
            }),
        }
    }
    runs
}

/// Whether more of `tally` is bad than the objective allows, exactly.
fn is_fast(tally: Tally, objective: Objective) -> bool {
    let allowed = 1_000_000 - u128::from(objective.ppm());
    u128::from(tally.bad) * 1_000_000 > u128::from(tally.valid()) * allowed
}

/// How far before a run a change is looked for.
const BEFORE: Duration = Duration::from_secs(600);
/// How much later than its first slot's beginning a change may be told: slots are a minute wide.
const AFTER: Duration = Duration::from_secs(60);

/// The change shortly before `run` among `events`, of whatever concerns one of `routes`, one of `upstreams`, or everything.
pub fn change_before<'e>(
    run: &Run,
    events: &'e [Event],
    routes: &[&str],
    upstreams: &[&str],
) -> Option<&'e Event> {
    let from = Timestamp::from_secs(run.from_secs);
    let (earliest, latest) = (from.minus(BEFORE), from.plus(AFTER));
    let rank = |event: &Event| {
        let scope = &event.scope;
        let among = |name: &Option<String>, known: &[&str]| {
            let name = name.as_deref();
            name.is_some_and(|name| known.contains(&name))
        };
        let mine = among(&scope.route, routes) || among(&scope.upstream, upstreams);
        let scoped = scope.route.is_some() || scope.upstream.is_some() || scope.slo.is_some();
        match event.kind {
            EventKind::Deploy if mine => Some(3),
            EventKind::Name if mine => Some(2),
            EventKind::Config | EventKind::Process if mine || !scoped => Some(2),
            // An endpoint that fails is more likely what the spell looks like than why it is.
            EventKind::Health if mine => Some(1),
            EventKind::Deploy
            | EventKind::Config
            | EventKind::Process
            | EventKind::Health
            | EventKind::Name
            | EventKind::Probe
            | EventKind::Certificate
            | EventKind::Alert
            | EventKind::Operator => None,
        }
    };
    events
        .iter()
        .filter(|event| event.at >= earliest && event.at <= latest)
        .filter_map(|event| Some(((rank(event)?, event.at), event)))
        .max_by_key(|(key, _)| *key)
        .map(|(_, event)| event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Scope;

    fn piece(minute: u64, good: u64, bad: u64) -> Piece {
        Piece {
            start_secs: minute * 60,
            width_s: 60,
            tally: Tally { good, bad },
        }
    }

    fn objective() -> Objective {
        Objective::try_from_ppm(990_000).unwrap()
    }

    #[test]
    fn the_excess_is_what_exceeds_the_usual_share() {
        for (what, counts, expected) in [
            ("as usual", (10, 1_000, 100, 10_000), Some(0.0)),
            ("five times as many", (50, 1_000, 100, 10_000), Some(40.0)),
            ("never before", (50, 1_000, 0, 10_000), Some(50.0)),
            ("gone", (0, 1_000, 100, 10_000), Some(-10.0)),
            ("nothing to compare with", (50, 1_000, 0, 0), None),
        ] {
            let (lately, valid_lately, before, valid_before) = counts;
            assert_eq!(
                excess(lately, valid_lately, before, valid_before),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn a_run_goes_on_over_a_short_quiet_and_ends_after_a_long_one() {
        let pieces = [
            piece(0, 99, 1),
            piece(1, 90, 10),
            piece(2, 100, 0),
            piece(4, 90, 5),
            piece(20, 0, 7),
        ];
        let run = |from: u64, to: u64, bad| Run {
            from_secs: from * 60,
            to_secs: to * 60,
            bad,
        };
        // One in a hundred is exactly what is allowed, and no run.
        assert_eq!(
            runs(pieces, objective(), None),
            [run(1, 5, 15), run(20, 21, 7)]
        );
    }

    #[test]
    fn bad_slices_that_follow_each_other_are_one_run_from_the_beginning_of_the_first() {
        let slice = |minutes: u64, number: u64, good, bad| {
            // Counted in its last minute.
            piece((number + 1) * minutes - 1, good, bad)
        };
        for (minutes, expected) in [
            (1, &[(10, 13, 2)][..]),
            // One good slice in between is quiet of five minutes, and is more than that.
            (5, &[(50, 65, 2)]),
            (10, &[(100, 110, 1), (120, 130, 1)]),
            (60, &[(600, 660, 1), (720, 780, 1)]),
        ] {
            let pieces = [
                slice(minutes, 9, 1, 0),
                slice(minutes, 10, 0, 1),
                slice(minutes, 11, 1, 0),
                slice(minutes, 12, 0, 1),
            ];
            let expected: Vec<Run> = expected
                .iter()
                .map(|(from, to, bad)| Run {
                    from_secs: from * 60,
                    to_secs: to * 60,
                    bad: *bad,
                })
                .collect();
            let found = runs(pieces, objective(), Some(Window::minutes(minutes as u32)));
            assert_eq!(found, expected, "slices of {minutes} minutes");
        }
        let outage = (10..16).map(|number| slice(10, number, 0, 1));
        let whole = Run {
            from_secs: 6_000,
            to_secs: 9_600,
            bad: 6,
        };
        assert_eq!(
            runs(outage, objective(), Some(Window::minutes(10))),
            [whole]
        );
    }

    use EventKind::{Alert, Config, Deploy, Health};

    #[test]
    fn the_nearest_change_of_the_same_thing_is_named_and_no_other() {
        let event = |secs, kind, upstream: Option<&str>| Event {
            at: Timestamp::from_secs(secs),
            kind,
            scope: Scope {
                upstream: upstream.map(ToOwned::to_owned),
                ..Scope::default()
            },
            text: secs.to_string(),
        };
        let run = Run {
            from_secs: 6_000,
            to_secs: 6_060,
            bad: 1,
        };
        let named = |events: &[Event]| {
            change_before(&run, events, &["r"], &["u"]).map(|event| event.text.clone())
        };
        let cases: [(&[Event], Option<&str>); 6] = [
            (&[], None),
            (&[event(5_900, Deploy, Some("other"))], None),
            (&[event(5_000, Deploy, Some("u"))], None),
            (&[event(5_990, Alert, None)], None),
            (
                &[
                    event(5_990, Health, Some("u")),
                    event(5_950, Config, None),
                    event(5_900, Deploy, Some("u")),
                ],
                Some("5900"),
            ),
            (
                &[event(6_030, Config, None), event(5_980, Config, None)],
                Some("6030"),
            ),
        ];
        for (events, expected) in cases {
            assert_eq!(named(events).as_deref(), expected, "{events:?}");
        }
    }
}
