//! Incidents found in a history: spells in which budgets were spent faster than they may be, put together.
//!
//! A spell (see [`super::attribution`]) counts when an alert of its SLO fired about it, or when it spent a noticeable share of
//! the budget. Spells of several SLOs that overlap, or lie within a few minutes of each other, are one incident.

use std::time::Duration;

use super::attribution::{Piece, Run, runs};
use super::policy::Share;
use crate::model::{Event, EventKind, Slices, Slo, Tally, Timestamp};

/// What one SLO counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// The SLO.
    pub slo: &'a Slo,
    /// Its history, in rising order.
    pub pieces: &'a [Piece],
}

/// What one incident did to one SLO.
#[derive(Clone, Debug, PartialEq)]
pub struct Damage<'a> {
    /// The SLO.
    pub slo: &'a Slo,
    /// Its valid events meanwhile.
    pub tally: Tally,
    /// The share of the budget that the bad ones are: of the window that ends with the spell, or of the calendar's period
    /// that it ends in; `None` without a budget.
    pub budget_ratio: Option<f64>,
    /// The slot with the highest share of bad events.
    pub worst: Piece,
}

/// Something that went wrong for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident<'a> {
    /// When it began, to a slot of the history.
    pub from: Timestamp,
    /// When it ended.
    pub to: Timestamp,
    /// Whom it hurt, the most first.
    pub damages: Vec<Damage<'a>>,
    /// The first alert about it.
    pub detected: Option<&'a Event>,
}

/// The least share of a budget that is worth a line when no alert fired.
pub const NOTICEABLE: Share = Share::ppm(10_000);
/// Bad events below which nothing that no alert told is an incident. Where events are slices of time, one is enough.
const ENOUGH: u64 = 10;
/// Quiet that does not tell two incidents apart.
const TOGETHER: Duration = Duration::from_secs(300);
/// An alert may come after what it is about is over: its window ends later.
const LATE: Duration = Duration::from_secs(600);

/// The incidents in what was counted, in rising order: spells that an alert among `events`, in any order, was about, or that
/// spent at least this share of the budget. `allowed` gives the bad events that an SLO's budget allows as of a moment: of the
/// window that ends then, or of the calendar's period that it lies in.
///
/// # Errors
/// What `allowed` fails with.
pub fn incidents<'a, E>(
    counted: &[Counted<'a>],
    events: &'a [Event],
    noticeable: Share,
    mut allowed: impl FnMut(&Slo, Timestamp) -> Result<f64, E>,
) -> Result<Vec<Incident<'a>>, E> {
    // Of thousands of spells and of events, few are about each other.
    let told: Vec<&Event> = events.iter().filter(|event| fires(event)).collect();
    let mut spells: Vec<(Run, Counted<'a>, f64)> = Vec::new();
    for one in counted {
        let slice = one.slo.slices.map(|slices| slices.every);
        for run in runs(one.pieces.iter().copied(), one.slo.objective, slice) {
            let is_told = told.iter().any(|event| is_about(event, &run, one.slo));
            if run.bad < enough(one.slo) && !is_told {
                continue;
            }
            let allowed = allowed(one.slo, Timestamp::from_secs(run.to_secs))?;
            let least = allowed * f64::from(noticeable.as_ppm()) / 1e6;
            if is_told || run.bad as f64 >= least {
                spells.push((run, *one, allowed));
            }
        }
    }
    spells.sort_by(|(a, one, _), (b, other, _)| {
        let place = a.from_secs.cmp(&b.from_secs);
        place.then_with(|| one.slo.id.cmp(&other.slo.id))
    });
    let mut incidents: Vec<Incident<'a>> = Vec::new();
    for (run, one, allowed) in spells {
        let (from, to) = (
            Timestamp::from_secs(run.from_secs),
            Timestamp::from_secs(run.to_secs),
        );
        match incidents.last_mut() {
            Some(last) if from <= last.to.plus(TOGETHER) => {
                last.to = last.to.max(to);
                take(last, damage(&run, &one, allowed));
            }
            Some(_) | None => incidents.push(Incident {
                from,
                to,
                damages: vec![damage(&run, &one, allowed)],
                detected: None,
            }),
        }
    }
    for incident in &mut incidents {
        let share = |damage: &Damage<'_>| damage.budget_ratio.unwrap_or_default();
        incident
            .damages
            .sort_by(|a, b| share(b).total_cmp(&share(a)));
        let hurt = &incident.damages;
        let about = told.iter().copied().filter(|event| {
            let slo = event.scope.slo.as_ref();
            slo.is_some_and(|slo| hurt.iter().any(|it| it.slo.id == *slo))
                && event.at >= incident.from
                && event.at <= incident.to.plus(LATE)
        });
        incident.detected = about.min_by_key(|event| event.at);
    }
    Ok(incidents)
}

/// Whether an event says that a budget's alert fires.
pub fn fires(event: &Event) -> bool {
    event.kind == EventKind::Alert && event.text.contains(" burn fires (")
}

/// Whether the event of an alert that fires is about a spell of an SLO.
fn is_about(event: &Event, run: &Run, slo: &Slo) -> bool {
    let from = Timestamp::from_secs(run.from_secs);
    let late = Timestamp::from_secs(run.to_secs).plus(LATE);
    event.scope.slo.as_ref() == Some(&slo.id) && event.at >= from && event.at <= late
}

/// Bad events that tell something. A slice is made of many requests, and may be one event or a million.
fn enough(slo: &Slo) -> u64 {
    slo.slices.map_or(ENOUGH, Slices::unit)
}

/// Adds a spell of an SLO that may have had one before in the same incident.
fn take<'a>(incident: &mut Incident<'a>, more: Damage<'a>) {
    let known = incident.damages.iter_mut();
    match known.into_iter().find(|it| it.slo.id == more.slo.id) {
        Some(known) => {
            known.tally += more.tally;
            known.budget_ratio = match (known.budget_ratio, more.budget_ratio) {
                (Some(one), Some(other)) => Some(one + other),
                (one, other) => one.or(other),
            };
            if share(more.worst.tally) > share(known.worst.tally) {
                known.worst = more.worst;
            }
        }
        None => incident.damages.push(more),
    }
}

fn damage<'a>(run: &Run, one: &Counted<'a>, allowed: f64) -> Damage<'a> {
    let inside = one.pieces.iter().filter(|piece| {
        piece.start_secs >= run.from_secs && piece.start_secs + piece.width_s <= run.to_secs
    });
    let tally = inside
        .clone()
        .fold(Tally::default(), |sum, piece| sum + piece.tally);
    let worst = inside.max_by(|a, b| share(a.tally).total_cmp(&share(b.tally)));
    Damage {
        slo: one.slo,
        tally,
        budget_ratio: (allowed > 0.0).then(|| run.bad as f64 / allowed),
        worst: *worst.expect("a run is made of pieces"),
    }
}

fn share(tally: Tally) -> f64 {
    tally.bad as f64 / tally.valid().max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::model::{About, EmptySlice, Scope, Sli, SloKey, Span, Window, Worth};
    use crate::slo::alert::AlertState;
    use crate::slo::engine::Engine;
    use crate::slo::policy::Policy;

    fn slo(id: &str) -> Slo {
        Slo {
            id: id.to_owned(),
            about: About::Route("r".to_owned()),
            owner: None,
            sli: Sli::AVAILABILITY,
            calendar: None,
            slices: None,
            parts: Vec::new(),
            probe: None,
            objective: "99%".parse().unwrap(),
            window: Window::days(30),
            policy: "workbook".to_owned(),
            runbook: None,
        }
    }

    /// Minutes with so many bad ones of a hundred.
    fn pieces(bad: &[(u64, u64)]) -> Vec<Piece> {
        let minute = |minute: u64| {
            let bad = bad.iter().find(|(at, _)| *at == minute);
            let bad = bad.map_or(0, |(_, bad)| *bad);
            Piece {
                start_secs: minute * 60,
                width_s: 60,
                tally: Tally {
                    good: 100 - bad,
                    bad,
                },
            }
        };
        (0..120).map(minute).collect()
    }

    fn firing(minute: u64, slo: &str) -> Event {
        Event {
            at: Timestamp::from_secs(minute * 60 + 30),
            kind: EventKind::Alert,
            scope: Scope {
                slo: Some(slo.to_owned()),
                ..Scope::default()
            },
            text: format!("{slo}: fast burn fires (page): …"),
        }
    }

    #[test]
    fn spells_that_overlap_are_one_incident_and_small_ones_are_none() {
        let (one, other) = (slo("one"), slo("other"));
        let mine = pieces(&[(10, 60), (11, 80), (12, 50), (40, 12), (90, 11)]);
        let others = pieces(&[(12, 30), (13, 30)]);
        let counted = [
            Counted {
                slo: &one,
                pieces: &mine,
            },
            Counted {
                slo: &other,
                pieces: &others,
            },
        ];
        let allowed = |slo: &Slo, _: Timestamp| -> Result<f64, Infallible> {
            Ok(if slo.id == "one" { 2_000.0 } else { 100.0 })
        };
        // What was told about the ninetieth minute makes it one, though it cost little.
        let events = [firing(91, "one"), firing(12, "one"), firing(13, "other")];
        let Ok(found) = incidents(&counted, &events, NOTICEABLE, allowed);
        let spans: Vec<_> = found
            .iter()
            .map(|it| (it.from.as_secs() / 60, it.to.as_secs() / 60))
            .collect();
        assert_eq!(spans, [(10, 14), (90, 91)]);
        let first = &found[0];
        let hurt: Vec<_> = first
            .damages
            .iter()
            .map(|it| (it.slo.id.as_str(), it.tally.bad, it.worst.start_secs / 60))
            .collect();
        assert_eq!(hurt.len(), 2);
        assert_eq!((hurt[0].0, hurt[0].1), ("other", 60));
        assert_eq!(hurt[1], ("one", 190, 11));
        assert_eq!(first.damages[0].budget_ratio, Some(0.6));
        assert_eq!(first.detected.map(|it| it.at.as_secs() / 60), Some(12));
    }

    #[test]
    fn one_bad_slice_is_an_incident_of_its_whole_length_in_whatever_unit_slices_count() {
        let slices = |worth| {
            Some(Slices {
                every: Window::minutes(30),
                worth,
                empty: EmptySlice::Skip,
            })
        };
        for (worth, good, bad) in [
            (Worth::Whole("99%".parse().unwrap()), 0, 1),
            (Worth::Share, 0, 1_000_000),
        ] {
            let slo = Slo {
                slices: slices(worth),
                ..slo("one")
            };
            // Of half an hour that ends with the sixtieth minute.
            let pieces = [Piece {
                start_secs: 59 * 60,
                width_s: 60,
                tally: Tally { good, bad },
            }];
            let counted = [Counted {
                slo: &slo,
                pieces: &pieces,
            }];
            let allowed = |_: &Slo, _| Ok::<f64, Infallible>(14.4 * bad as f64);
            let Ok(found) = incidents(&counted, &[], NOTICEABLE, allowed);
            let spans: Vec<_> = found
                .iter()
                .map(|it| (it.from.as_secs() / 60, it.to.as_secs() / 60))
                .collect();
            assert_eq!(spans, [(30, 60)], "{worth:?}");
        }
        // A slice that lost a fiftieth of its share burned too fast, and is little.
        let slo = Slo {
            slices: slices(Worth::Share),
            ..slo("one")
        };
        let pieces = [Piece {
            start_secs: 59 * 60,
            width_s: 60,
            tally: Tally {
                good: 980_000,
                bad: 20_000,
            },
        }];
        let counted = [Counted {
            slo: &slo,
            pieces: &pieces,
        }];
        let allowed = |_: &Slo, _| Ok::<f64, Infallible>(10_000.0);
        let Ok(found) = incidents(&counted, &[], NOTICEABLE, allowed);
        assert_eq!(found, []);
    }

    #[test]
    fn what_the_engine_says_of_a_firing_alert_is_recognised() {
        let mut engine = Engine::new(vec![(SloKey(0), slo("one"))], &Policy::shipped());
        let span = Span {
            tally: Tally { good: 0, bad: 99 },
            covered_s: 30 * 86_400,
        };
        let found = engine.evaluate(Timestamp::from_secs(1_000), &|_, _| span);
        let mut changes = found.transitions.iter();
        let fired = changes.find(|it| it.to == AlertState::Firing).unwrap();
        let event = Event {
            text: fired.text.clone(),
            ..firing(1, "one")
        };
        assert!(fires(&event), "{}", event.text);
        let over = Event {
            text: "one: fast burn resolved (page): …".to_owned(),
            ..event
        };
        assert!(!fires(&over));
    }
}
