//! Every screen as text, at every size that has a layout of its own, and laws that hold for any keys at any size.

mod budget;
mod fixture;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::style::Color;
use vestibule::clock::Tick;
use vestibule::model::Tally;
use vestibule::net::address::Address;
use vestibule::snapshot::{Snapshot, Standing};
use vestibule::tui::app::{Effect, Model, Msg, update};
use vestibule::tui::ask::{Answer, Question};
use vestibule::tui::conn::{Feed, Link};
use vestibule::tui::evidence::Bundle;
use vestibule::tui::keys::{BINDINGS, Key};
use vestibule::tui::picture::svg;
use vestibule::tui::tab::Tab;
use vestibule::tui::theme::{Palette, Theme};
use vestibule::tui::view;

/// A person, a daemon and a clock around a model.
struct Desk {
    model: Model,
    now: Tick,
}

impl Desk {
    fn new(width: u16, height: u16) -> Self {
        Self::with(Theme::default(), width, height)
    }

    fn with(theme: Theme, width: u16, height: u16) -> Self {
        let now = Tick::from_micros(1_000_000_000);
        let address = Address::Socket("/run/vestibule.sock".into());
        Self {
            model: Model::new(address, theme, Size::new(width, height), now),
            now,
        }
    }

    fn showing(snapshot: Snapshot, width: u16, height: u16) -> Self {
        let mut desk = Self::new(width, height);
        desk.feed(snapshot);
        desk
    }

    fn tell(&mut self, msg: Msg) -> Vec<Effect> {
        update(&mut self.model, msg, self.now)
    }

    fn feed(&mut self, snapshot: Snapshot) {
        let feed = Feed {
            snapshot: Some((Arc::new(snapshot), self.now)),
            link: Link::Live,
        };
        self.tell(Msg::Feed(feed));
    }

    fn wait(&mut self, by: Duration) {
        self.now = self.now.plus(by);
        self.tell(Msg::Clock);
    }

    fn press(&mut self, key: Key) -> Vec<Effect> {
        self.tell(Msg::Key(key))
    }

    fn type_in(&mut self, text: &str) {
        for c in text.chars() {
            self.press(Key::Char(c));
        }
    }

    fn paint(&self, width: u16, height: u16) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        view(&self.model, &mut buffer);
        buffer
    }

    fn text(&self, width: u16, height: u16) -> String {
        lines(&self.paint(width, height)).join("\n")
    }
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let area = buffer.area;
    (area.y..area.bottom())
        .map(|y| {
            let row: String = (area.x..area.right())
                .filter_map(|x| buffer.cell((x, y)).map(ratatui::buffer::Cell::symbol))
                .collect();
            row.trim_end().to_owned()
        })
        .collect()
}

const SIZES: [(u16, u16); 4] = [(120, 36), (80, 24), (60, 20), (40, 10)];
/// Those that every screen with a digit is held to.
const ALL_SIZES: [(u16, u16); 5] = [(200, 60), (120, 36), (80, 24), (60, 20), (40, 10)];

macro_rules! same_as_before {
    ($name:expr, $desk:expr, $width:expr, $height:expr) => {
        insta::assert_snapshot!(
            format!("{}_{}x{}", $name, $width, $height),
            $desk.text($width, $height)
        );
    };
}

#[test]
fn triage_in_an_incident() {
    for (width, height) in SIZES {
        let desk = Desk::showing(fixture::incident(), width, height);
        same_as_before!("incident", desk, width, height);
    }
    let desk = Desk::showing(fixture::crowd(1_000), 200, 60);
    same_as_before!("incident", desk, 200, 60);
}

#[test]
fn triage_when_all_is_well() {
    for (width, height) in SIZES {
        let desk = Desk::showing(fixture::all_well(), width, height);
        same_as_before!("all_well", desk, width, height);
    }
}

#[test]
fn triage_before_the_first_snapshot_and_when_there_is_nobody() {
    for (width, height) in SIZES {
        let mut desk = Desk::new(width, height);
        same_as_before!("connecting", desk, width, height);
        let link = Link::Lost {
            why: "cannot connect to /run/vestibule.sock: No such file or directory".to_owned(),
            attempt: 3,
            retry_at: desk.now.plus(Duration::from_secs(2)),
        };
        desk.tell(Msg::Feed(Feed {
            snapshot: None,
            link,
        }));
        same_as_before!("nobody", desk, width, height);
    }
}

#[test]
fn triage_of_a_daemon_that_has_seen_nothing() {
    let mut snapshot = fixture::all_well();
    snapshot.edge = vestibule::snapshot::EdgeView::default();
    snapshot.routes.clear();
    snapshot.routes_total = 0;
    snapshot.slos.clear();
    snapshot.events.clear();
    snapshot.upstreams.clear();
    let (width, height) = (80, 24);
    let desk = Desk::showing(snapshot, width, height);
    same_as_before!("nothing_seen", desk, width, height);
}

#[test]
fn triage_of_a_lost_daemon_keeps_its_last_data() {
    for (width, height) in SIZES {
        let mut desk = Desk::showing(fixture::incident(), width, height);
        desk.now = desk.now.plus(Duration::from_secs(4));
        let snapshot = Some((
            Arc::new(fixture::incident()),
            Tick::from_micros(1_000_000_000),
        ));
        let link = Link::Lost {
            why: "daemon closed the connection".to_owned(),
            attempt: 3,
            retry_at: desk.now.plus(Duration::from_millis(1_700)),
        };
        desk.tell(Msg::Feed(Feed { snapshot, link }));
        same_as_before!("stale", desk, width, height);
    }
}

#[test]
fn triage_filtered_and_held() {
    for (width, height) in SIZES {
        let mut desk = Desk::showing(fixture::incident(), width, height);
        desk.press(Key::Char('/'));
        desk.type_in("shop err>1%");
        same_as_before!("filtering", desk, width, height);
        desk.press(Key::Enter);
        desk.press(Key::Char(' '));
        let mut later = fixture::later(&fixture::incident(), Duration::from_secs(43));
        later.alerts[0].id.push_str("/another");
        desk.feed(later);
        same_as_before!("filtered_held", desk, width, height);
    }
}

#[test]
fn the_second_incident_has_its_own_verdict() {
    let (width, height) = (120, 36);
    let mut desk = Desk::showing(fixture::incident(), width, height);
    desk.press(Key::Char('>'));
    let text = desk.text(width, height);
    let rows: Vec<&str> = text.lines().collect();
    assert!(
        rows[1].starts_with("▲ WARN  2/2  side UNKNOWN   login"),
        "{}",
        rows[1]
    );
    assert!(
        rows[2].contains("no change found in the hour before"),
        "{}",
        rows[2]
    );
}

#[test]
fn a_route_in_detail() {
    for (width, height) in SIZES {
        let mut desk = Desk::showing(fixture::incident(), width, height);
        desk.press(Key::Enter);
        same_as_before!("route", desk, width, height);
    }
    let (width, height) = (80, 24);
    let mut desk = Desk::showing(fixture::incident(), width, height);
    desk.press(Key::Enter);
    for pane in ["endpoints", "faults", "slos"] {
        desk.press(Key::Tab);
        same_as_before!(format!("route_{pane}"), desk, width, height);
    }
}

/// What the daemon answers to the questions of a screen.
fn answered(desk: &mut Desk, effects: Vec<Effect>) -> usize {
    let mut count = 0;
    for effect in effects {
        let Effect::Ask(question) = effect else {
            continue;
        };
        let answer = match &question {
            Question::Slots(_) => Ok(Answer::Slots(fixture::slots())),
            Question::Spending(_) => Ok(Answer::Spending(fixture::spending())),
            Question::Past(_) => Err("nothing is stored of then".to_owned()),
        };
        desk.tell(Msg::Answered(question, answer));
        count += 1;
    }
    count
}

#[test]
fn every_screen_with_a_digit_in_an_incident() {
    for tab in Tab::ALL.into_iter().filter(|tab| *tab != Tab::Triage) {
        for ascii in [false, true] {
            let theme = Theme {
                palette: if ascii { Palette::Plain } else { Palette::Dark },
                ascii,
            };
            for (width, height) in ALL_SIZES {
                let mut desk = Desk::with(theme, width, height);
                desk.feed(fixture::incident());
                let effects = desk.press(Key::Char(tab.digit()));
                answered(&mut desk, effects);
                let buffer = desk.paint(width, height);
                let cells = buffer.content().iter();
                assert!(!ascii || cells.clone().all(|cell| cell.symbol().is_ascii()));
                let name = tab.title().to_lowercase();
                let name = if ascii { format!("{name}_ascii") } else { name };
                same_as_before!(name, desk, width, height);
            }
        }
    }
}

#[test]
fn every_screen_with_a_digit_when_nothing_is_configured() {
    let mut nothing = fixture::all_well();
    nothing.edge = vestibule::snapshot::EdgeView::default();
    nothing.routes.clear();
    nothing.slos.clear();
    nothing.events.clear();
    nothing.upstreams.clear();
    nothing.probes.clear();
    nothing.certificates.clear();
    nothing.alerts.clear();
    let mut desk = Desk::showing(nothing, 80, 24);
    for (tab, says) in [
        (Tab::Routes, "No route is configured."),
        (Tab::Slos, "No SLO is configured"),
        (Tab::Upstreams, "No upstream is configured."),
        (Tab::Probes, "No probe is configured"),
        (Tab::Certs, "No certificate is configured"),
        (Tab::Changes, "nothing happened yet"),
        (Tab::Alerts, "no SLO is configured"),
        (Tab::Exec, "no SLO has data"),
    ] {
        assert_eq!(
            desk.press(Key::Char(tab.digit())),
            [],
            "nothing to ask about"
        );
        let text = desk.text(80, 24);
        assert!(text.contains(says), "{tab:?}: no {says:?} in\n{text}");
    }
}

/// What each screen must say in the incident that all of them show, whatever its size.
#[test]
fn every_screen_answers_its_question() {
    let cases: [(Tab, &[&str]); 7] = [
        (
            Tab::Upstreams,
            &[
                "■ FAIL",
                "checkout  3/5 failing",
                "◐ EJECTED",
                "answer their health check and fail traffic",
                "100%",
            ],
        ),
        (
            Tab::Changes,
            &[
                "▸14:02:05  D deploy",
                "SUSPECT strong",
                "checkout: bad 0.01",
                "61.3%",
            ],
        ),
        (
            Tab::Alerts,
            &[
                "1h 20.2x of 14.4x",
                "■ FIRING",
                "▲ PENDING",
                "burn 1h  20.2x over 14.4x  TRUE",
                "told pager 14:09:46",
                "told chat FAIL the server answered 503",
                "Stop the spending",
            ],
        ),
        (
            Tab::Slos,
            &[
                "■ CRITICAL",
                "68.6%",
                "4h02m",
                "21.0%",
                "api 77aa1",
                "no change shortly before",
                "now  D checkout",
            ],
        ),
        (
            Tab::Probes,
            &[
                "■ FAIL",
                "500 instead of 200",
                "both fail → not the network",
                "xxxxxxxxxx",
                "not run yet",
            ],
        ),
        (Tab::Certs, &["▲ WARN", "8d", "api", "02·1", "[23]"]),
        (Tab::Exec, &["■ MISSED", "checkout", "deploy", "8d"]),
    ];
    for (tab, says) in cases {
        for (width, height) in [(120, 36), (80, 24)] {
            let mut desk = Desk::showing(fixture::incident(), width, height);
            let effects = desk.press(Key::Char(tab.digit()));
            answered(&mut desk, effects);
            let text = desk.text(width, height);
            for said in says {
                assert!(
                    text.contains(said),
                    "{tab:?} {width}x{height}: no {said:?} in\n{text}"
                );
            }
        }
    }
}

#[test]
fn a_screen_asks_once_and_keeps_the_answer_while_it_is_new() {
    let mut desk = Desk::showing(fixture::incident(), 120, 36);
    let effects = desk.press(Key::Char('5'));
    assert_eq!(answered(&mut desk, effects), 1);
    assert_eq!(desk.press(Key::Char('k')), []);
    let effects = desk.press(Key::Char('j'));
    assert_eq!(effects, [Effect::Ask(Question::Slots("www-eu".to_owned()))]);
    assert!(desk.text(120, 36).contains("asking the history"));
    let Some(Effect::Ask(question)) = effects.into_iter().next() else {
        panic!("it asked");
    };
    desk.tell(Msg::Answered(
        question,
        Err("the history cannot be read".to_owned()),
    ));
    assert!(
        desk.text(120, 36)
            .contains("no answer: the history cannot be read")
    );
    desk.now = desk.now.plus(Duration::from_secs(16));
    let effects = desk.tell(Msg::Clock);
    assert_eq!(effects.len(), 1, "it is asked again");
}

#[test]
fn a_runbook_is_read_and_closed() {
    for (width, height) in SIZES {
        let mut desk = Desk::showing(fixture::incident(), width, height);
        desk.press(Key::Char('r'));
        same_as_before!("runbook", desk, width, height);
        desk.press(Key::Char('j'));
        desk.press(Key::Char('r'));
        assert!(!desk.text(width, height).contains("Runbook"));
    }
    let mut desk = Desk::showing(fixture::incident(), 120, 36);
    for key in ['8', 'j', 'r'] {
        desk.press(Key::Char(key));
    }
    assert!(
        desk.text(120, 36).contains("someone is paged"),
        "a certificate keeps the verdict's page"
    );
    desk.press(Key::Esc);
    for key in ['j', 'r'] {
        desk.press(Key::Char(key));
    }
    let text = desk.text(120, 36);
    assert!(text.contains("a ticket: a budget burns slowly"), "{text}");
}

#[test]
fn what_differs_is_explained_with_the_counts_behind_it() {
    let mut incident = fixture::incident();
    let suspect = incident.verdict.suspect.as_mut().expect("there is one");
    suspect.before = Tally {
        good: 379_800,
        bad: 60,
    };
    suspect.since = Tally {
        good: 57_200,
        bad: 73_400,
    };
    for (width, height) in ALL_SIZES {
        let mut desk = Desk::showing(incident.clone(), width, height);
        assert_eq!(desk.press(Key::Char('x')), []);
        same_as_before!("explain", desk, width, height);
        desk.press(Key::Char('x'));
        assert!(!desk.text(width, height).contains("Explain"));
    }
    let theme = Theme {
        palette: Palette::Plain,
        ascii: true,
    };
    for (width, height) in ALL_SIZES {
        let mut desk = Desk::with(theme, width, height);
        desk.feed(incident.clone());
        desk.press(Key::Char('x'));
        let buffer = desk.paint(width, height);
        assert!(buffer.content().iter().all(|cell| cell.symbol().is_ascii()));
        same_as_before!("explain_ascii", desk, width, height);
    }
}

#[test]
fn what_is_explained_is_what_is_looked_at() {
    let explained = |keys: &[Key]| {
        let mut desk = Desk::showing(fixture::incident(), 120, 36);
        for key in keys {
            desk.press(*key);
        }
        desk.press(Key::Char('x'));
        desk.text(120, 36).lines().nth(1).map(str::to_owned)
    };
    for (keys, route) in [
        (&[][..], "checkout"),
        (&[Key::Char('j')], "cart"),
        (&[Key::Enter, Key::Char('j')], "cart"),
        (&[Key::Char('>')], "login"),
        (&[Key::Char('3')], "checkout"),
        // A certificate is no route's: what is explained is the incident.
        (&[Key::Char('6')], "checkout"),
    ] {
        let title = explained(keys).unwrap_or_default();
        let wanted = format!("Explain · {route}");
        assert!(title.contains(&wanted), "{keys:?}: {title}");
    }
    let mut desk = Desk::showing(fixture::all_well(), 120, 36);
    desk.press(Key::Char('x'));
    assert!(
        desk.text(120, 36)
            .contains("nothing is wrong; open a route")
    );
    desk.press(Key::Char(':'));
    desk.type_in("explain cart");
    desk.press(Key::Enter);
    assert!(desk.text(120, 36).contains("Explain · cart"));
}

fn kept(desk: &mut Desk) -> Bundle {
    match desk.press(Key::Char('e')).into_iter().next() {
        Some(Effect::Keep(bundle)) => *bundle,
        other => panic!("nothing is kept: {other:?}"),
    }
}

#[test]
fn evidence_holds_the_screen_and_what_it_was_drawn_from() {
    let mut desk = Desk::new(120, 36);
    assert_eq!(desk.press(Key::Char('e')), [], "there is nothing yet");
    desk.wait(Duration::from_secs(5));
    desk.feed(fixture::incident());
    let screen = desk.text(120, 36);
    let bundle = kept(&mut desk);
    assert_eq!(bundle.stem, "vestibule-evidence-2026-11-23T141232Z");
    assert!(bundle.markdown.contains(&screen));
    insta::assert_snapshot!("evidence", bundle.markdown);
    let json: serde_json::Value = serde_json::from_str(&bundle.json).expect("it is JSON");
    assert_eq!(json["snapshot"]["verdict"]["route"], "checkout");
    assert_eq!(json["explanation"]["differs"][0]["dimension"], "endpoint");
    assert!(bundle.svg.contains("61.3%") && bundle.svg.ends_with("</svg>\n"));

    let files = vec!["/tmp/a.md".into()];
    desk.tell(Msg::Kept(Ok(files)));
    assert!(
        desk.text(120, 36)
            .contains("evidence: /tmp/a.md, .json, .svg")
    );
    desk.tell(Msg::Kept(Err("/x: no space left".to_owned())));
    assert!(
        desk.text(120, 36)
            .contains("could not be written: /x: no space")
    );
}

#[test]
fn what_may_be_secret_is_masked_on_screens_and_in_evidence_until_somebody_says_so() {
    let mut snapshot = fixture::incident();
    snapshot.events[0].text = "asked https://me:pw@a.example/pay?card=4111".to_owned();
    snapshot.verdict.text = "CRIT: /pay?card=4111 fails".to_owned();
    let mut desk = Desk::showing(snapshot, 120, 36);
    for unmasked in [false, true] {
        desk.press(Key::Char('7'));
        let screen = desk.text(120, 36);
        let bundle = kept(&mut desk);
        for text in [&screen, &bundle.markdown, &bundle.json, &bundle.svg] {
            assert_eq!(text.contains("4111"), unmasked, "{text}");
            let is_told = text.contains("me:pw") || text.contains("me\\:pw");
            assert_eq!(is_told, unmasked, "{text}");
        }
        assert_eq!(screen.contains("UNMASKED"), unmasked);
        desk.press(Key::Char('p'));
    }
}

#[test]
fn evidence_is_written_over_nothing() {
    let directory = tempfile::tempdir().expect("there is room");
    let mut desk = Desk::showing(fixture::incident(), 80, 24);
    let bundle = kept(&mut desk);
    let first = bundle.write(directory.path()).expect("it can be written");
    let second = bundle.write(directory.path()).expect("it can be written");
    assert!(first[0].ends_with("vestibule-evidence-2026-11-23T141232Z.md"));
    assert!(second[2].ends_with("vestibule-evidence-2026-11-23T141232Z-2.svg"));
    for (path, text) in first
        .iter()
        .zip([&bundle.markdown, &bundle.json, &bundle.svg])
    {
        let written = std::fs::read_to_string(path).expect("it was written");
        assert_eq!(written, *text);
    }
    assert!(bundle.write(&directory.path().join("nowhere")).is_err());
}

/// The README's pictures are these screens.
#[test]
fn the_pictures_of_the_readme_are_what_is_drawn() {
    let cases: [(&str, &[Key]); 2] = [("top-triage", &[]), ("top-slo", &[Key::Char('3')])];
    for (name, keys) in cases {
        let mut desk = Desk::showing(fixture::incident(), 120, 36);
        for key in keys {
            let effects = desk.press(*key);
            answered(&mut desk, effects);
        }
        let drawn = svg(&desk.paint(120, 36), Palette::Dark);
        let path = format!("{}/docs/pictures/{name}.svg", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &drawn).expect("the tree can be written");
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == drawn,
            "{path} is stale; UPDATE_GOLDEN=1 draws it anew"
        );
    }
}

#[test]
fn help() {
    for (width, height) in SIZES {
        let mut desk = Desk::showing(fixture::incident(), width, height);
        desk.press(Key::Char('?'));
        same_as_before!("help", desk, width, height);
    }
}

#[test]
fn ascii() {
    let theme = Theme {
        palette: Palette::Plain,
        ascii: true,
    };
    for (width, height) in [(120, 36), (80, 24)] {
        let mut desk = Desk::with(theme, width, height);
        desk.feed(fixture::incident());
        let buffer = desk.paint(width, height);
        assert!(buffer.content().iter().all(|cell| cell.symbol().is_ascii()));
        same_as_before!("ascii", desk, width, height);
    }
}

#[test]
fn what_an_attacker_writes_reaches_no_cell_as_a_control() {
    let mut snapshot = fixture::incident();
    let nasty = "\u{1b}[2J\u{9b}31m\u{202e}abc\r\n\u{7}é\u{301}\u{301}\u{301}\u{301}\u{301}";
    snapshot.instance = nasty.to_owned();
    snapshot.verdict.text = nasty.to_owned();
    snapshot.verdict.next_step = nasty.to_owned();
    snapshot.events[0].text = nasty.to_owned();
    snapshot.routes[0].id = nasty.to_owned();
    snapshot.routes[0].path = nasty.to_owned();
    snapshot.routes[0].endpoints[0].endpoint = nasty.to_owned();
    for (width, height) in SIZES {
        let mut desk = Desk::showing(snapshot.clone(), width, height);
        let digits = Tab::ALL.map(|tab| Key::Char(tab.digit()));
        for key in [Key::Esc, Key::Enter].into_iter().chain(digits) {
            desk.press(key);
            for cell in desk.paint(width, height).content() {
                let harmless = cell.symbol().chars().all(|c| !c.is_control());
                assert!(harmless && !cell.symbol().contains('\u{202e}'), "{cell:?}");
            }
        }
    }
    let desk = Desk::showing(snapshot, 120, 36);
    assert!(
        desk.text(120, 36).contains("␛[2J"),
        "the evidence stays visible"
    );
}

#[test]
fn without_colour_every_row_that_is_not_ok_carries_its_word() {
    let theme = Theme {
        palette: Palette::Plain,
        ascii: false,
    };
    let snapshot = fixture::incident();
    for (width, height) in [(120, 36), (80, 24), (60, 20)] {
        let mut desk = Desk::with(theme, width, height);
        desk.feed(snapshot.clone());
        let buffer = desk.paint(width, height);
        for cell in buffer.content() {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
        }
        let lines = lines(&buffer);
        let head = lines
            .iter()
            .position(|line| line.contains("STATUS") && line.contains("ROUTE"))
            .expect("the list has heads");
        let mut checked = 0;
        // The list's rows come in the snapshot's order.
        for (line, route) in lines[head + 1..].iter().zip(&snapshot.routes) {
            let word = match route.standing {
                Standing::Ok => "OK",
                Standing::None => "NONE",
                Standing::Warn => "WARN",
                Standing::Crit => "CRIT",
            };
            if line.contains(&format!(" {}", route.id)) {
                assert!(line.contains(word), "{width}x{height}: {line}");
                checked += usize::from(route.standing != Standing::Ok);
            }
        }
        assert!(
            checked >= 2,
            "{width}x{height}: only {checked} rows were looked at"
        );
        for word in ["■ CRIT", "FAIL", "FIRING"] {
            let said = lines.iter().any(|line| line.contains(word));
            assert!(said || width < 80, "{width}x{height}: {word}");
        }
    }
}

#[test]
fn rows_rest_after_a_key_and_follow_their_route() {
    let mut desk = Desk::showing(fixture::incident(), 120, 36);
    desk.press(Key::Char('j'));
    assert_eq!(desk.model.selected(), Some("cart"));
    // The daemon now says that www is worst.
    let mut other = fixture::incident();
    other.routes.swap(0, 3);
    let first_row = |desk: &Desk| desk.text(120, 36).lines().nth(14).map(str::to_owned);
    desk.now = desk.now.plus(Duration::from_secs(1));
    desk.feed(other.clone());
    assert!(
        first_row(&desk).is_some_and(|row| row.contains("checkout")),
        "it moved under the hand"
    );
    assert_eq!(desk.model.selected(), Some("cart"));
    desk.now = desk.now.plus(Duration::from_secs(6));
    desk.feed(other);
    assert!(
        first_row(&desk).is_some_and(|row| row.contains("www")),
        "{:?}",
        first_row(&desk)
    );
    assert_eq!(desk.model.selected(), Some("cart"));
}

#[test]
fn an_untouched_cursor_stays_with_the_worst() {
    let mut desk = Desk::showing(fixture::incident(), 120, 36);
    let mut other = fixture::incident();
    other.routes.swap(0, 3);
    desk.wait(Duration::from_secs(6));
    desk.feed(other);
    assert_eq!(desk.model.selected(), Some("www"));
}

#[test]
fn a_selected_route_that_the_filter_no_longer_wants_stays_until_the_cursor_moves() {
    let mut desk = Desk::showing(fixture::incident(), 120, 36);
    desk.press(Key::Char('/'));
    desk.type_in("rate>1000");
    desk.press(Key::Enter);
    assert_eq!(desk.model.selected(), Some("cart"));
    desk.press(Key::Char('j'));
    assert_eq!(desk.model.selected(), Some("catalog"));
    let mut quiet = fixture::incident();
    quiet.routes[2].now.rate_per_s = Some(3.0);
    desk.wait(Duration::from_secs(9));
    desk.feed(quiet);
    assert_eq!(desk.model.selected(), Some("catalog"));
    desk.press(Key::Char('j'));
    assert_ne!(desk.model.selected(), Some("catalog"));
    assert!(!desk.text(120, 36).contains(" catalog  api"), "it is gone");
}

#[test]
fn keys_lead_where_the_table_says() {
    type Step = (Key, &'static str);
    let cases: &[(&str, &[Step])] = &[
        (
            "a route opens, and q goes back before it quits",
            &[
                (Key::Enter, "Routes › checkout"),
                (Key::Char('q'), "Routes by budget impact"),
            ],
        ),
        (
            "in a route j goes to the next one",
            &[
                (Key::Enter, "Routes › checkout"),
                (Key::Char('j'), "Routes › cart"),
            ],
        ),
        (
            "a digit shows its screen, Enter leads on and Esc back",
            &[
                (Key::Char('3'), "SLO · 3, 2 in trouble"),
                (Key::Enter, "Routes › checkout"),
                (Key::Esc, "SLO · 3"),
                (
                    Key::Char('4'),
                    "Upstreams · 4 upstreams, 20 endpoints, 3 failing",
                ),
                (Key::Char('q'), "Routes by budget impact"),
                (Key::Char('7'), "Changes · 13:13"),
                (Key::Enter, "Upstreams · 4 upstreams"),
                (Key::Esc, "Changes · 13:13"),
                (Key::Char('0'), "Volume by route"),
                (Key::Char('2'), "Routes by budget impact"),
            ],
        ),
        (
            "an upstream folds and unfolds",
            &[
                (Key::Char('4'), "▾ checkout"),
                (Key::Enter, "▸ checkout"),
                (Key::Enter, "▾ checkout"),
            ],
        ),
        (
            "help closes with the key that opened it",
            &[(Key::Char('?'), "Help"), (Key::Char('?'), "Routes by")],
        ),
        (
            "the order changes and turns round",
            &[
                (Key::Char('s'), "Routes by bad share"),
                (Key::Char('S'), "bad share, reversed"),
            ],
        ),
        (
            "held until the same key again",
            &[
                (Key::Char(' '), "‖ HELD at 14:12:32Z"),
                (Key::Char(' '), "LIVE 14:12:32Z"),
            ],
        ),
        (
            "a filter is typed, kept and dropped",
            &[
                (Key::Char('/'), " of 8  Enter keep"),
                (Key::Char('c'), "7 of 8  Enter keep"),
                (Key::Enter, "filter c"),
                (Key::Esc, "all 8"),
            ],
        ),
    ];
    for (name, steps) in cases {
        let mut desk = Desk::showing(fixture::incident(), 120, 36);
        for (key, expected) in *steps {
            let effects = desk.press(*key);
            let quiet = effects.iter().all(|it| matches!(it, Effect::Ask(_)));
            assert!(quiet, "{name}: {effects:?}");
            let text = desk.text(120, 36);
            assert!(
                text.contains(expected),
                "{name}: no {expected:?} after {key} in\n{text}"
            );
        }
    }
}

#[test]
fn a_command_is_typed_completed_given_and_recalled() {
    let mut desk = Desk::showing(fixture::incident(), 120, 36);
    let foot = |desk: &Desk| desk.text(120, 36).lines().last().map(str::to_owned);
    desk.press(Key::Char(':'));
    desk.type_in("rou");
    assert!(
        foot(&desk).is_some_and(|foot| foot.contains(":rou") && foot.contains("route  routes"))
    );
    desk.type_in("te ch");
    desk.press(Key::Tab);
    assert!(foot(&desk).is_some_and(|foot| foot.contains(":route checkout")));
    desk.press(Key::Enter);
    assert!(desk.text(120, 36).contains("Routes › checkout"));
    desk.press(Key::Char(':'));
    desk.type_in("rout chekout");
    desk.press(Key::Enter);
    assert!(foot(&desk).is_some_and(|foot| foot.contains("did you mean `route`")));
    desk.press(Key::Up);
    assert!(foot(&desk).is_some_and(|foot| foot.contains(":route checkout")));
    desk.press(Key::Esc);
    desk.press(Key::Char(':'));
    desk.type_in("filter is:crit");
    desk.press(Key::Enter);
    assert_eq!(desk.model.selected(), Some("checkout"));
    assert!(
        desk.text(120, 36)
            .contains("Routes by budget impact · 1 of 8")
    );
    desk.press(Key::Char(':'));
    desk.type_in("quit");
    assert_eq!(desk.press(Key::Enter), [Effect::Quit]);
}

#[test]
fn what_is_copied_is_harmless_and_told() {
    let mut snapshot = fixture::incident();
    snapshot.routes[0].id = "x\r\nrm -rf".to_owned();
    let mut desk = Desk::showing(snapshot, 120, 36);
    desk.press(Key::Char('2'));
    assert_eq!(
        desk.press(Key::Char('y')),
        [Effect::Copy("x\\r\\nrm -rf".to_owned())]
    );
    assert!(
        desk.text(120, 36)
            .contains("sent to the terminal's clipboard")
    );
    desk.wait(Duration::from_secs(5));
    assert!(
        !desk
            .text(120, 36)
            .contains("sent to the terminal's clipboard")
    );
}

#[test]
fn what_is_copied_is_masked_as_what_is_shown() {
    let mut snapshot = fixture::incident();
    snapshot.routes[0].id = "https://shop.test/cart?card=4111".to_owned();
    let mut desk = Desk::showing(snapshot, 120, 36);
    desk.press(Key::Char('2'));
    let copied = |desk: &mut Desk| match desk.press(Key::Char('y')).as_slice() {
        [Effect::Copy(text)] => text.clone(),
        other => panic!("{other:?}"),
    };
    assert!(!copied(&mut desk).contains("4111"));
    desk.press(Key::Char('p'));
    assert_eq!(copied(&mut desk), "https://shop.test/cart?card=4111");
}

#[test]
fn events_are_walked_from_the_suspect() {
    let mut desk = Desk::showing(fixture::incident(), 120, 36);
    let marked = |desk: &Desk| {
        let text = desk.text(120, 36);
        let line = text
            .lines()
            .find(|line| line.starts_with('▸'))
            .map(str::to_owned);
        line.unwrap_or_default()
    };
    assert!(marked(&desk).contains("deploy"), "{}", marked(&desk));
    desk.press(Key::Char('{'));
    assert!(marked(&desk).contains("generation 118"));
    desk.press(Key::Char('}'));
    desk.press(Key::Char('}'));
    assert!(marked(&desk).contains("fails its check"));
}

#[test]
fn quitting_retrying_and_stopping_are_asked_of_the_outside() {
    for (key, effect) in [
        (Key::Char('q'), Effect::Quit),
        (Key::Ctrl('c'), Effect::Quit),
        (Key::Char('R'), Effect::Retry),
        (Key::Ctrl('l'), Effect::Redraw),
        (Key::Ctrl('z'), Effect::Suspend),
    ] {
        let mut desk = Desk::showing(fixture::incident(), 80, 24);
        assert_eq!(desk.press(key), [effect]);
    }
    let mut desk = Desk::showing(fixture::incident(), 80, 24);
    desk.press(Key::Char('/'));
    assert_eq!(
        desk.press(Key::Char('q')),
        [],
        "a letter is text while typing"
    );
    assert_eq!(desk.press(Key::Ctrl('c')), [Effect::Quit]);
}

/// What may happen to a terminal UI.
#[derive(Clone, Debug)]
enum Happening {
    Press(Key),
    Resize(u16, u16),
    Feed(usize),
    Wait(u64),
    Lose,
}

fn happening() -> impl Strategy<Value = Happening> {
    let keys: Vec<Key> = BINDINGS
        .iter()
        .flat_map(|row| row.keys)
        .copied()
        .chain("checkout err>1% p99<2s !x".chars().map(Key::Char))
        .collect();
    prop_oneof![
        6 => prop::sample::select(keys).prop_map(Happening::Press),
        2 => (1_u16..=300, 1_u16..=100).prop_map(|(w, h)| Happening::Resize(w, h)),
        2 => (0_usize..40).prop_map(Happening::Feed),
        1 => (0_u64..10).prop_map(Happening::Wait),
        1 => Just(Happening::Lose),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_keys_at_any_size_leave_a_frame_and_a_valid_selection(
        happenings in prop::collection::vec(happening(), 1..40),
    ) {
        let mut desk = Desk::new(80, 24);
        let (mut width, mut height) = (80, 24);
        let mut known: Vec<String> = Vec::new();
        for happening in happenings {
            match happening {
                Happening::Press(key) => {
                    desk.press(key);
                }
                Happening::Resize(w, h) => {
                    (width, height) = (w, h);
                    desk.tell(Msg::Resize(Size::new(w, h)));
                }
                Happening::Feed(routes) => {
                    let snapshot = fixture::crowd(routes);
                    known.extend(snapshot.routes.iter().map(|route| route.id.clone()));
                    desk.feed(snapshot);
                }
                Happening::Wait(secs) => desk.wait(Duration::from_secs(secs)),
                Happening::Lose => {
                    let link = Link::Lost {
                        why: "gone".to_owned(),
                        attempt: 1,
                        retry_at: desk.now,
                    };
                    desk.tell(Msg::Feed(Feed { snapshot: None, link }));
                }
            }
            desk.paint(width, height);
            if let Some(selected) = desk.model.selected() {
                prop_assert!(known.iter().any(|id| id == selected), "{selected}");
            }
        }
    }

    #[test]
    fn every_screen_fits_every_size(width in 1_u16..=300, height in 1_u16..=100) {
        let tabs = Tab::ALL.map(|tab| [Key::Char(tab.digit())]);
        let more: [&[Key]; 6] = [
            &[],
            &[Key::Char('x')],
            &[Key::Enter],
            &[Key::Char('?')],
            &[Key::Char('r')],
            &[Key::Char('/'), Key::Char('c')],
        ];
        for keys in more.into_iter().chain(tabs.iter().map(<[Key; 1]>::as_slice)) {
            let mut desk = Desk::showing(fixture::incident(), width, height);
            for key in keys {
                let effects = desk.press(*key);
                answered(&mut desk, effects);
            }
            desk.paint(width, height);
        }
    }
}
