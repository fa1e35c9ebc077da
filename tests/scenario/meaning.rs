//! What a person reads of each recorded incident: six answers, each in its place on the first screen and in the lines of
//! `vestibule status`.

#[path = "../screens/fixture.rs"]
mod fixture;

use std::sync::Arc;

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Rect, Size};
use vestibule::clock::Tick;
use vestibule::model::Timestamp;
use vestibule::net::address::Address;
use vestibule::snapshot::Snapshot;
use vestibule::triage::Verdict;
use vestibule::triage::answers;
use vestibule::tui::app::{Model, Msg, update};
use vestibule::tui::conn::{Feed, Link};
use vestibule::tui::theme::Theme;
use vestibule::tui::view;

use super::{World, scenarios, second};

/// The verdicts on a recorded incident at a moment that something is expected at.
fn told(name: &str, at: &str) -> (Vec<Verdict>, Timestamp) {
    let all = scenarios();
    let of_name = all
        .iter()
        .find(|(file, _)| file.file_stem().unwrap() == name);
    let (_, scenario) = of_name.unwrap_or_else(|| panic!("there is no {name}"));
    let mut world = World::new(scenario);
    let mut evaluation = None;
    for now in second(&scenario.start)..=second(at) {
        evaluation = Some(world.step(now));
    }
    let now = second(at);
    (
        world.verdicts(now, &evaluation.unwrap()),
        Timestamp::from_secs(now),
    )
}

fn shown(verdicts: Vec<Verdict>, at: Timestamp) -> Snapshot {
    let mut snapshot = fixture::all_well();
    let mut verdicts = verdicts.into_iter();
    snapshot.at = at;
    snapshot.verdict = verdicts.next().unwrap();
    snapshot.other_verdicts = verdicts.collect();
    snapshot
}

fn rows(snapshot: Snapshot, width: u16, height: u16) -> Vec<String> {
    let now = Tick::from_micros(1_000_000_000);
    let address = Address::Socket("/run/vestibule.sock".into());
    let mut model = Model::new(address, Theme::default(), Size::new(width, height), now);
    let feed = Feed {
        snapshot: Some((Arc::new(snapshot), now)),
        link: Link::Live,
    };
    update(&mut model, Msg::Feed(feed), now);
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    view(&model, &mut buffer);
    let row = |y| -> String {
        let cells = (0..width).filter_map(|x| buffer.cell((x, y)).map(Cell::symbol));
        cells.collect()
    };
    (0..height).map(row).collect()
}

/// A recorded incident, when somebody looks, and its six answers as words that must be read.
struct Incident {
    file: &'static str,
    at: &'static str,
    /// The side, in the words of the screen.
    whose: &'static str,
    route: &'static str,
    since: &'static str,
    changed: &'static str,
    how_fast: &'static str,
    next: &'static str,
}

const NO_CHANGE: &str = "no change found in the hour before";

const INCIDENTS: [Incident; 8] = [
    Incident {
        file: "bad_deploy",
        at: "14:12:32",
        whose: "UPSTREAM, not edge",
        route: "checkout",
        since: "14:02:40",
        changed: "checkout v2",
        how_fast: "123x",
        next: "roll back checkout v2 to v1",
    },
    Incident {
        file: "one_bad_endpoint",
        at: "14:10:00",
        whose: "UPSTREAM, not edge",
        route: "checkout",
        since: "14:05:00",
        changed: NO_CHANGE,
        how_fast: "67.0x",
        next: "take 10.0.4.31:80 out of checkout",
    },
    Incident {
        file: "expired_certificate",
        at: "14:12:00",
        whose: "CERTIFICATE",
        route: "checkout",
        since: "14:10:00",
        changed: "generation 12",
        how_fast: "no SLO here, so no budget burns",
        next: "renew it, reload",
    },
    Incident {
        file: "old_address",
        at: "14:07:00",
        whose: "NETWORK, not edge",
        route: "checkout",
        since: "14:05:10",
        changed: "checkout.internal leads to 10.0.9.9",
        how_fast: "74.0x",
        next: "mend the record of",
    },
    Incident {
        file: "edge_overload",
        at: "14:10:00",
        whose: "EDGE, not upstream",
        route: "catalog",
        since: "14:05:00",
        changed: NO_CHANGE,
        how_fast: "300x",
        next: "find which limit of the edge is reached",
    },
    Incident {
        file: "flapping_checks",
        at: "14:06:00",
        whose: "UPSTREAM, not edge",
        route: "checkout",
        since: "14:02:00",
        changed: "checkout v2",
        how_fast: "0",
        next: "raise the timeout of the health check",
    },
    Incident {
        file: "shadowed_route",
        at: "14:06:00",
        whose: "EDGE, not upstream",
        route: "admin",
        since: "14:05:00",
        changed: "generation 119",
        how_fast: "no SLO here, so no budget burns",
        next: "vestibule explain GET",
    },
    Incident {
        file: "client_junk",
        at: "14:15:00",
        whose: "CLIENT, not edge",
        route: "checkout",
        since: "14:05:00",
        changed: NO_CHANGE,
        how_fast: "0",
        next: "nothing to mend",
    },
];

/// How much of `words` a narrow screen must still show of what is cut at its end.
const LEAST: usize = 11;

fn begins(words: &str) -> &str {
    words.get(..LEAST).unwrap_or(words)
}

#[test]
fn the_first_screen_answers_six_questions_about_each_incident_in_their_places() {
    for incident in INCIDENTS {
        let (verdicts, at) = told(incident.file, incident.at);
        let snapshot = shown(verdicts, at);
        let wide = rows(snapshot.clone(), 160, 40);
        let narrow = rows(snapshot, 80, 24);
        // Below the head: whose, which and since; what changed; how fast and what to do.
        for (row, needed) in [
            (
                1,
                [incident.whose, incident.route, incident.since].as_slice(),
            ),
            (2, &["changed", incident.changed]),
            (3, &["burning", incident.how_fast, "do  ", incident.next]),
        ] {
            for words in needed {
                let line = &wide[row];
                assert!(
                    line.contains(words),
                    "{}: no {words:?} in\n{line}",
                    incident.file
                );
            }
        }
        for (row, needed) in [
            (1, [incident.whose, begins(incident.route)].as_slice()),
            (2, &[incident.since]),
            (3, &["changed", begins(incident.changed)]),
            (
                4,
                &[
                    "burning",
                    begins(incident.how_fast),
                    "do  ",
                    begins(incident.next),
                ],
            ),
        ] {
            for words in needed {
                let line = &narrow[row];
                assert!(
                    line.contains(words),
                    "{}: no {words:?} in\n{line}",
                    incident.file
                );
            }
        }
    }
}

#[test]
fn each_of_the_six_lines_answers_its_question() {
    for incident in INCIDENTS {
        let (verdicts, at) = told(incident.file, incident.at);
        let said = answers::of(&verdicts[0], at);
        let side = incident.whose.to_lowercase();
        let side = side.split([',', ' ']).next().unwrap();
        let needed = [
            side,
            incident.route,
            incident.since,
            incident.changed,
            incident.how_fast,
            incident.next,
        ];
        for ((question, answer), words) in answers::QUESTIONS.iter().zip(&said).zip(needed) {
            let words = words.trim_start_matches("no SLO here, so ");
            assert!(
                answer.contains(words),
                "{}: {question}: no {words:?} in {answer}",
                incident.file
            );
        }
    }
}

#[test]
fn of_several_incidents_the_worst_comes_first_and_none_is_left_out() {
    let (verdicts, _) = told("several_at_once", "14:12:32");
    let told: Vec<_> = verdicts
        .iter()
        .map(|it| (it.severity.as_str(), it.side.as_str()))
        .collect();
    let expected = [
        ("crit", "upstream"),
        ("warn", "certificate"),
        ("warn", "upstream"),
        ("ok", "client"),
    ];
    assert_eq!(told, expected);
}
