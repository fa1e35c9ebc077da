//! The engine against the SRE Workbook's figures, over restarts, idle spells and random incidents.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::RefCell;
use std::collections::BTreeMap;

use vestibule::model::{About, Sli, Slo, SloKey, Span, Tally, Timestamp, Window};
use vestibule::sli::ring::{Point, TallyRing};
use vestibule::slo::alert::{AlertState, Transition};
use vestibule::slo::burn;
use vestibule::slo::engine::{Engine, Evaluation};
use vestibule::slo::guards::Guards;
use vestibule::slo::policy::{Factor, Policy, PolicyRow, Severity, Threshold, Tier};
use vestibule::slo::state::SloState;

const KEY: SloKey = SloKey(0);
/// A second far enough from the epoch for thirty days of history.
const START: u64 = 100_000_000;
const MONTH: Window = Window::days(30);

fn slo(objective: &str) -> Slo {
    Slo {
        id: "checkout-avail".to_owned(),
        about: About::Route("checkout".to_owned()),
        owner: None,
        sli: Sli::AVAILABILITY,
        slices: None,
        parts: Vec::new(),
        probe: None,
        objective: objective.parse().unwrap(),
        window: MONTH,
        calendar: None,
        policy: "workbook".to_owned(),
        runbook: None,
    }
}

fn engine(objective: &str) -> Engine {
    Engine::new(vec![(KEY, slo(objective))], &Policy::shipped())
}

/// Events by the second from [`START`] on, after a clean past of `past_s` seconds at the rate of the first second.
/// Sums are exact, so that the figures are the engine's alone.
struct Exact {
    past_s: u64,
    past: Tally,
    /// Everything before each second.
    sums: RefCell<Vec<Tally>>,
}

impl Exact {
    fn new(past_s: u64, rate: u64) -> Self {
        Self {
            past_s,
            past: Tally { good: rate, bad: 0 },
            sums: RefCell::new(vec![Tally::default()]),
        }
    }

    fn push(&self, tally: Tally) {
        let mut sums = self.sums.borrow_mut();
        let last = *sums.last().unwrap();
        sums.push(last + tally);
    }

    fn over(&self, window: Window) -> Span {
        let sums = self.sums.borrow();
        let seconds = sums.len() as u64 - 1;
        let inside = window.as_secs().min(seconds);
        let before = (window.as_secs() - inside).min(self.past_s);
        let past = Tally {
            good: self.past.good * before,
            bad: 0,
        };
        Span {
            tally: past + (*sums.last().unwrap() - sums[(seconds - inside) as usize]),
            covered_s: inside + before,
        }
    }
}

/// Runs the engine second by second over `traffic` and gives what changed, by seconds since [`START`].
fn run(
    engine: &mut Engine,
    exact: &Exact,
    seconds: std::ops::Range<u64>,
    traffic: impl Fn(u64) -> Tally,
) -> Vec<(u64, Transition)> {
    let mut changes = Vec::new();
    for second in seconds {
        exact.push(traffic(second));
        // A second is judged when it is over.
        let elapsed = second + 1;
        let now = Timestamp::from_secs(START + elapsed);
        let evaluation = engine.evaluate(now, &|_, window| exact.over(window));
        assert_finite(&evaluation);
        changes.extend(
            evaluation
                .transitions
                .into_iter()
                .map(|change| (elapsed, change)),
        );
    }
    changes
}

fn assert_finite(evaluation: &Evaluation) {
    let finite = |number: Option<f64>| number.is_none_or(f64::is_finite);
    for slo in &evaluation.slos {
        assert!(
            finite(slo.sli_ratio) && finite(slo.remaining_ratio),
            "{slo:?}"
        );
        assert!(finite(slo.expected_remaining_ratio), "{slo:?}");
        assert!(slo.coverage_ratio.is_finite());
        assert!(slo.burn.iter().all(|(_, burn)| finite(*burn)), "{slo:?}");
    }
    for change in &evaluation.transitions {
        assert!(finite(change.burn_long) && finite(change.burn_short));
        assert!(!change.text.contains("NaN"), "{}", change.text);
    }
}

/// The first second at which the alert `id` goes to `to`.
fn first(changes: &[(u64, Transition)], id: &str, to: AlertState) -> Option<u64> {
    changes
        .iter()
        .find(|(_, change)| change.alert.ends_with(id) && change.to == to)
        .map(|(second, _)| *second)
}

/// `per_mille` of `rate` requests are bad while `bad` says so.
fn errors(rate: u64, per_mille: u64, lasts: std::ops::Range<u64>) -> impl Fn(u64) -> Tally {
    move |second| {
        let bad = if lasts.contains(&second) {
            rate * per_mille / 1_000
        } else {
            0
        };
        Tally {
            good: rate - bad,
            bad,
        }
    }
}

/// Longer than any window.
const LONG: u64 = 40 * 86_400;

#[test]
fn detection_takes_as_long_as_the_workbook_says() {
    // t = W · k · (1 − objective) ÷ error ratio, and strictly above the factor.
    for (what, per_mille, id, seconds) in [
        ("total outage, 51.8 s", 1_000, "page:fast", 52),
        ("15 % errors, 345.6 s", 150, "page:fast", 346),
        ("2 % errors, 2592 s", 20, "page:fast", 2_593),
        (
            "1 % errors by the six-hour row, 12960 s",
            10,
            "page:medium",
            12_961,
        ),
    ] {
        let exact = Exact::new(LONG, 100);
        let changes = run(
            &mut engine("99.9%"),
            &exact,
            0..seconds + 60,
            errors(100, per_mille, 0..LONG),
        );
        assert_eq!(
            first(&changes, id, AlertState::Firing),
            Some(seconds),
            "{what}"
        );
    }
}

#[test]
fn ten_minutes_of_errors_page_and_the_page_ends_when_they_do() {
    let exact = Exact::new(LONG, 100);
    let changes = run(
        &mut engine("99.9%"),
        &exact,
        0..4_000,
        errors(100, 150, 0..600),
    );
    assert_eq!(first(&changes, "page:fast", AlertState::Firing), Some(346));
    // The short window is clear 271.2 s after the errors end, and stays so for a minute.
    assert_eq!(
        first(&changes, "page:fast", AlertState::Resolved),
        Some(600 + 272 + 60)
    );
}

#[test]
fn the_long_window_alone_clears_an_hour_later() {
    let exact = Exact::new(LONG, 100);
    let objective = "99.9%".parse().unwrap();
    let last = (0..6_000_u64)
        .filter(|second| {
            exact.push(errors(100, 150, 0..600)(*second));
            let hour = exact.over(Window::hours(1));
            burn::exceeds(hour.tally, objective, Factor::milli(14_400))
        })
        .last();
    // 54.24 minutes after the errors end.
    assert_eq!(last.map(|second| second + 1), Some(600 + 3_254));
}

/// An engine with one row of its own for 99.9 %.
fn by_one_row(long: Window, short: Window, milli: u32) -> Engine {
    let policy = Policy {
        name: "own".to_owned(),
        rows: vec![PolicyRow {
            severity: Severity::Page,
            tier: Tier::Fast,
            long,
            short,
            over: Threshold::Burn(Factor::milli(milli)),
        }],
        guards: Guards::default(),
    };
    let slo = Slo {
        policy: "own".to_owned(),
        ..slo("99.9%")
    };
    Engine::new(vec![(KEY, slo)], &[policy])
}

#[test]
fn the_windows_that_the_workbook_tries_first_detect_as_it_says() {
    for (what, mut engine, seconds) in [
        (
            "10 minutes at the budget's own rate, 0.6 s",
            by_one_row(Window::minutes(10), Window::minutes(1), 1_000),
            1,
        ),
        (
            "36 hours of it, 129.6 s",
            by_one_row(Window::hours(36), Window::hours(3), 1_000),
            130,
        ),
        (
            "36 times too fast over an hour, 129.6 s",
            by_one_row(Window::hours(1), Window::minutes(5), 36_000),
            130,
        ),
    ] {
        let exact = Exact::new(LONG, 100);
        let traffic = errors(100, 1_000, 0..LONG);
        let changes = run(&mut engine, &exact, 0..200, traffic);
        let fired = first(&changes, "page:fast", AlertState::Firing);
        assert_eq!(fired, Some(seconds), "{what}");
    }
}

#[test]
fn an_hour_at_36_times_too_fast_clears_after_58_minutes() {
    let mut engine = by_one_row(Window::hours(1), Window::minutes(59), 36_000);
    let exact = Exact::new(LONG, 100);
    // Long enough that both windows hold nothing else.
    let traffic = errors(100, 1_000, 0..3_600);
    let changes = run(&mut engine, &exact, 0..8_000, traffic);
    let resolved = first(&changes, "page:fast", AlertState::Resolved);
    // The shorter one leaves first: 59 minutes less 3.6 % of them are 3412.56 s, and a minute passes.
    assert_eq!(resolved, Some(3_600 + 3_413 + 60));
    let objective = "99.9%".parse().unwrap();
    let exact = Exact::new(LONG, 100);
    let last = (0..8_000_u64)
        .filter(|second| {
            exact.push(errors(100, 1_000, 0..3_600)(*second));
            let hour = exact.over(Window::hours(1));
            burn::exceeds(hour.tally, objective, Factor::milli(36_000))
        })
        .last();
    // 57.84 minutes after the errors end.
    assert_eq!(last.map(|second| second + 1), Some(3_600 + 3_470));
}

/// What is left of the budget at the end of `traffic` in the live engine.
fn left_after(objective: &str, rate: u64, seconds: u64, traffic: impl Fn(u64) -> Tally) -> f64 {
    let exact = Exact::new(LONG, rate);
    for second in 0..seconds {
        exact.push(traffic(second));
    }
    let now = Timestamp::from_secs(START + seconds);
    let evaluation = engine(objective).evaluate(now, &|_, window| exact.over(window));
    evaluation.slos[0].remaining_ratio.unwrap()
}

#[test]
fn budgets_are_spent_as_the_workbook_says() {
    let near = |found: f64, spent: f64, what: &str| {
        let found = 1.0 - found;
        assert!((found - spent).abs() < 5e-5, "{what}: {found}");
    };
    let all = |seconds| left_after("99.9%", 100, seconds, errors(100, 1_000, 0..LONG));
    near(
        all(3_600),
        1.3889,
        "an hour's wait in a total outage, 140 %",
    );
    let spikes = |count: u64| {
        left_after("99.9%", 100, count * 600, |second| {
            errors(100, 1_000, 0..300)(second % 600)
        })
    };
    near(spikes(3), 0.3472, "three spikes of five minutes, 35 %");
    near(spikes(1), 0.1157, "one of them, almost 12 %");
    for (what, objective, per_mille, seconds) in [
        ("35 times too fast, 20.57 h", "99.9%", 35, 74_057),
        ("a total outage at 99.999 %, 25.92 s", "99.999%", 1_000, 25),
        ("a rollout that breaks 1 %, 43.2 min", "99.999%", 10, 2_592),
    ] {
        let left =
            |seconds| left_after(objective, 1_000, seconds, errors(1_000, per_mille, 0..LONG));
        assert!(left(seconds) >= 0.0, "{what}: {}", left(seconds));
        assert!(left(seconds + 1) < 0.0, "{what}: {}", left(seconds + 1));
    }
}

#[test]
fn a_total_outage_pages_within_a_minute_of_a_fresh_start() {
    for healthy in [0, 15, 120] {
        let exact = Exact::new(0, 50);
        let changes = run(
            &mut engine("99.9%"),
            &exact,
            0..healthy + 60,
            errors(50, 1_000, healthy..LONG),
        );
        let fired = first(&changes, "page:fast", AlertState::Firing);
        assert_eq!(fired, Some(healthy + 52), "after {healthy} healthy seconds");
    }
}

#[test]
fn fifteen_seconds_of_nothing_but_errors_and_then_silence_page_within_a_minute() {
    let exact = Exact::new(0, 50);
    let changes = run(&mut engine("99.9%"), &exact, 0..60, |second| Tally {
        good: 0,
        bad: if second < 15 { 50 } else { 0 },
    });
    assert_eq!(first(&changes, "page:fast", AlertState::Firing), Some(52));
}

#[test]
fn a_fresh_start_needs_no_less_trouble_than_a_long_history() {
    // A start-up hiccup: fifteen seconds of errors are 0.6 % of a month's budget, and nobody is woken for that.
    let exact = Exact::new(0, 50);
    let changes = run(
        &mut engine("99.9%"),
        &exact,
        0..3_600,
        errors(50, 1_000, 0..15),
    );
    let fired = changes
        .iter()
        .any(|(_, change)| change.to == AlertState::Firing);
    assert!(!fired, "{changes:?}");
    assert!(
        changes
            .iter()
            .any(|(_, change)| change.to == AlertState::Pending)
    );
}

#[test]
fn a_handful_of_errors_at_low_traffic_after_a_fresh_start_pages_nobody() {
    let exact = Exact::new(0, 0);
    let mut engine = engine("99.9%");
    let changes = run(&mut engine, &exact, 0..7_200, |second| Tally {
        good: u64::from(second % 30 == 0),
        bad: u64::from([40, 400, 4_000, 6_000].contains(&second)),
    });
    assert_eq!(changes, []);
}

#[test]
fn ten_requests_an_hour_with_one_failure_disturb_nobody() {
    let exact = Exact::new(0, 0);
    let mut engine = engine("99.9%");
    // Four days of one request every six minutes, of which one a day fails.
    for step in 0..4 * 240_u64 {
        let bad = u64::from(step % 240 == 100);
        exact.push(Tally { good: 1 - bad, bad });
        for _ in 1..360 {
            exact.push(Tally::default());
        }
        let now = Timestamp::from_secs(START + (step + 1) * 360);
        let evaluation = engine.evaluate(now, &|_, window| exact.over(window));
        assert_finite(&evaluation);
        for change in &evaluation.transitions {
            assert_ne!(change.to, AlertState::Firing, "{change:?}");
        }
        assert!(evaluation.slos[0].state < SloState::Rising);
    }
}

#[test]
fn without_guards_one_failure_of_ten_pages_as_the_bare_formula_says() {
    let exact = Exact::new(0, 0);
    let unguarded = Policy {
        guards: Guards::OFF,
        ..Policy::workbook()
    };
    let mut engine = Engine::new(vec![(KEY, slo("99.9%"))], &[unguarded]);
    let changes = run(&mut engine, &exact, 0..60, |second| Tally {
        good: u64::from(second % 6 == 0),
        bad: u64::from(second == 33),
    });
    assert_eq!(first(&changes, "page:fast", AlertState::Firing), Some(34));
}

#[test]
fn idle_minutes_poison_nothing() {
    let exact = Exact::new(LONG, 20);
    let mut engine = engine("99.9%");
    let changes = run(&mut engine, &exact, 0..3_600, |second| Tally {
        good: if (600..1_800).contains(&second) {
            0
        } else {
            20
        },
        bad: 0,
    });
    assert_eq!(changes, []);
    let evaluation = engine.evaluate(Timestamp::from_secs(START + 3_601), &|_, window| {
        exact.over(window)
    });
    assert_eq!(evaluation.slos[0].state, SloState::Ok);
    assert_eq!(evaluation.slos[0].remaining_ratio, Some(1.0));
}

#[test]
fn an_slo_that_never_saw_a_request_is_neither_met_nor_missed() {
    let mut engine = engine("99.9%");
    let idle = Span {
        tally: Tally::default(),
        covered_s: 86_400,
    };
    let evaluation = engine.evaluate(Timestamp::from_secs(START), &|_, _| idle);
    assert_finite(&evaluation);
    let slo = &evaluation.slos[0];
    assert_eq!(slo.state, SloState::NoData);
    assert_eq!(
        (slo.sli_ratio, slo.remaining_ratio, slo.time_to_empty_s),
        (None, None, None)
    );
    assert!(slo.burn.iter().all(|(_, burn)| burn.is_none()));
}

#[test]
fn an_alert_whose_traffic_stops_resolves_and_says_so() {
    let exact = Exact::new(LONG, 50);
    let changes = run(&mut engine("99.9%"), &exact, 0..800, |second| Tally {
        good: 0,
        bad: if second < 120 { 50 } else { 0 },
    });
    let (second, resolved) = changes
        .iter()
        .find(|(_, change)| {
            change.alert.ends_with("page:fast") && change.to == AlertState::Resolved
        })
        .unwrap();
    // The last bad second leaves the short window 300 s after it, and a minute passes.
    assert_eq!(*second, 120 + 300 + 60);
    assert!(
        resolved.text.contains("no requests over 5m"),
        "{}",
        resolved.text
    );
}

#[test]
fn the_words_follow_the_windows() {
    let exact = Exact::new(LONG, 100);
    let mut engine = engine("99.9%");
    let expected = [
        (1, SloState::Ok),
        (10, SloState::Rising),
        (60, SloState::Critical),
        (100, SloState::Critical),
        // Five minutes after the errors ended; the half hour and the hour are still over their factors.
        (410, SloState::Recovering),
        (1_500, SloState::Recovering),
        (8_000, SloState::Ok),
    ];
    for second in 0..8_000_u64 {
        exact.push(errors(100, 1_000, 1..100)(second));
        let now = Timestamp::from_secs(START + second + 1);
        let state = engine.evaluate(now, &|_, window| exact.over(window)).slos[0].state;
        if let Some((_, word)) = expected.iter().find(|(at, _)| *at == second + 1) {
            assert_eq!(state, *word, "after {} s", second + 1);
        }
    }
}

#[test]
fn a_young_history_is_warming_unless_it_alarms() {
    let exact = Exact::new(0, 100);
    let mut engine = engine("99.9%");
    let mut state = |seconds: std::ops::Range<u64>, per_mille| {
        let now = Timestamp::from_secs(START + seconds.end);
        run(
            &mut engine,
            &exact,
            seconds,
            errors(100, per_mille, 0..LONG),
        );
        engine.evaluate(now, &|_, window| exact.over(window)).slos[0].state
    };
    assert_eq!(state(0..60, 0), SloState::Warming);
    assert_eq!(state(60..70, 1_000), SloState::Rising);
    assert_eq!(state(70..120, 1_000), SloState::Critical);
}

#[test]
fn little_budget_is_low_until_it_ages_out() {
    for (bad, state) in [
        (800, SloState::Ok),
        (950, SloState::Low),
        (2_000, SloState::Low),
    ] {
        let read = |_, window: Window| {
            let whole = window == MONTH;
            Span {
                tally: Tally {
                    good: if whole { 1_000_000 - bad } else { 100 },
                    bad: if whole { bad } else { 0 },
                },
                covered_s: window.as_secs(),
            }
        };
        let evaluation = engine("99.9%").evaluate(Timestamp::from_secs(START), &read);
        assert_eq!(evaluation.slos[0].state, state, "{bad}");
    }
}

/// As the application does it: a ring that is fed every second, and the engine that reads it.
struct Live {
    ring: TallyRing,
    engine: Engine,
    minutes: BTreeMap<u64, Tally>,
}

impl Live {
    fn new(objective: &str) -> Self {
        Self {
            ring: TallyRing::new(MONTH),
            engine: engine(objective),
            minutes: BTreeMap::new(),
        }
    }

    fn second(&mut self, now: u64, tally: Tally) -> Vec<Transition> {
        self.ring.advance(now);
        self.ring.add(now, tally);
        *self.minutes.entry(now - now % 60).or_default() += tally;
        let ring = &self.ring;
        self.engine
            .evaluate(Timestamp::from_secs(now), &|_, window| {
                ring.over(window, now)
            })
            .transitions
    }

    /// The process ends and another takes up what was stored.
    fn restart(self, now: u64) -> Self {
        let states = self.engine.export();
        let mut next = Self::new("99.9%");
        let points = self.minutes.iter().map(|(start, tally)| Point {
            start_secs: *start,
            width_s: 60,
            tally: *tally,
        });
        next.ring.restore(points, now);
        next.engine.restore(states);
        next.minutes = self.minutes;
        next
    }
}

#[test]
fn the_ring_detects_as_fast_as_exact_sums_to_within_its_step() {
    let mut live = Live::new("99.9%");
    let points = (0..6_000).map(|minute| Point {
        start_secs: START + minute * 60,
        width_s: 60,
        tally: Tally {
            good: 3_000,
            bad: 0,
        },
    });
    let begin = START + 6_000 * 60;
    live.ring.restore(points, begin);
    let fired = (0..70).find(|second| {
        let outage = Tally { good: 0, bad: 50 };
        let changes = live.second(begin + second, outage);
        changes
            .iter()
            .any(|change| change.alert.ends_with("page:fast"))
    });
    // 51.84 s, and up to a minute more at the hour's old edge.
    assert!(
        fired.is_some_and(|second| (51..=53).contains(&second)),
        "{fired:?}"
    );
}

#[test]
fn a_restart_in_an_outage_says_nothing_twice() {
    let mut live = Live::new("99.9%");
    let outage = Tally { good: 0, bad: 50 };
    let mut fired = Vec::new();
    for second in 0..7_200 {
        live.second(START + second, Tally { good: 50, bad: 0 });
    }
    let begin = START + 7_200;
    for second in 0..600 {
        fired.extend(live.second(begin + second, outage));
        if second == 300 || second == 480 {
            live = live.restart(begin + second + 1);
        }
    }
    let pages: Vec<_> = fired
        .iter()
        .filter(|change| change.alert == "checkout-avail:page:fast")
        .map(|change| change.to)
        .collect();
    assert_eq!(pages, [AlertState::Firing], "{fired:#?}");
    // And it ends as it would have without the restarts.
    let mut resolved = None;
    for second in 600..1_200 {
        let changes = live.second(begin + second, Tally { good: 50, bad: 0 });
        if changes.iter().any(|change| {
            change.alert == "checkout-avail:page:fast" && change.to == AlertState::Resolved
        }) {
            resolved = Some(second);
        }
    }
    let resolved = resolved.unwrap();
    assert!(
        (600 + 290 + 60..=600 + 300 + 62).contains(&resolved),
        "{resolved}"
    );
}

#[test]
fn a_reload_keeps_states_and_resolves_what_is_gone() {
    let exact = Exact::new(LONG, 50);
    let mut engine = engine("99.9%");
    run(&mut engine, &exact, 0..60, errors(50, 1_000, 0..LONG));
    let firing = engine.export();
    assert!(
        firing
            .iter()
            .any(|(id, state, _)| id.ends_with("page:fast") && *state == AlertState::Firing)
    );
    let mut other = slo("99.95%");
    other.runbook = Some("https://runbooks.example/checkout".to_owned());
    engine.replace(vec![(KEY, other)], &Policy::shipped());
    assert_eq!(engine.export(), firing);
    engine.replace(Vec::new(), &Policy::shipped());
    let changes = run(&mut engine, &exact, 60..62, errors(50, 1_000, 0..LONG));
    let gone: Vec<_> = changes
        .iter()
        .map(|(_, change)| (change.alert.as_str(), change.to))
        .collect();
    assert_eq!(gone, [("checkout-avail:page:fast", AlertState::Resolved)]);
}

#[test]
fn a_stored_alert_that_is_no_longer_configured_resolves() {
    let mut engine = engine("99.9%");
    let at = Timestamp::from_secs(START);
    engine.restore([
        (
            "gone:with:colons:page:fast".to_owned(),
            AlertState::Firing,
            at,
        ),
        ("quiet:page:fast".to_owned(), AlertState::Resolved, at),
        ("not an id".to_owned(), AlertState::Firing, at),
    ]);
    let changes = engine.evaluate(at, &|_, _| Span::default()).transitions;
    let told: Vec<_> = changes
        .iter()
        .map(|change| (change.slo.as_deref().unwrap_or_default(), change.to))
        .collect();
    assert_eq!(told, [("gone:with:colons", AlertState::Resolved)]);
}

/// A small generator, so that a run is repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // Knuth's MMIX constants; the high bits are the random ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Hours of random incidents, pauses and idle spells. Every second: states change only along their edges, what holds
/// fires, and what fires held within the last minute.
#[test]
fn random_incidents_never_break_the_alerts_rules() {
    use AlertState::{Firing, Inactive, Pending, Resolved};
    for seed in 0..12 {
        let mut random = Random(seed);
        let exact = Exact::new(if seed % 2 == 0 { LONG } else { 0 }, 20);
        let mut engine = engine("99.9%");
        let rows = Policy::workbook().rows_over(MONTH);
        let objective = "99.9%".parse().unwrap();
        let mut states: BTreeMap<String, AlertState> = BTreeMap::new();
        let mut held: BTreeMap<String, u64> = BTreeMap::new();
        let (mut rate, mut per_mille) = (20, 0);
        for second in 0..6_000_u64 {
            if random.below(200) == 0 {
                rate = [0, 1, 20, 500][random.below(4) as usize];
                per_mille = [0, 0, 5, 30, 200, 1_000][random.below(6) as usize];
            }
            let bad = (0..rate)
                .filter(|_| random.below(1_000) < per_mille)
                .count() as u64;
            exact.push(Tally {
                good: rate - bad,
                bad,
            });
            let now = Timestamp::from_secs(START + second);
            let evaluation = engine.evaluate(now, &|_, window| exact.over(window));
            assert_finite(&evaluation);
            for change in &evaluation.transitions {
                let before = states.insert(change.alert.clone(), change.to);
                assert_eq!(
                    change.from,
                    before.unwrap_or(Inactive),
                    "seed {seed}, {second} s"
                );
                let edge = (change.from, change.to);
                assert!(
                    matches!(
                        edge,
                        (Inactive, Pending | Firing)
                            | (Pending | Resolved, Inactive | Firing)
                            | (Firing, Resolved)
                    ),
                    "seed {seed}, {second} s: {edge:?}"
                );
            }
            for row in &rows {
                let id = format!(
                    "checkout-avail:{}:{}",
                    row.severity.as_str(),
                    row.tier.as_str()
                );
                let (long, short) = (exact.over(row.long), exact.over(row.short));
                let over = |span: Span| burn::exceeds(span.tally, objective, row.factor);
                let both = over(long) && over(short);
                if both {
                    held.insert(id.clone(), second);
                }
                let state = states.get(&id).copied().unwrap_or(Inactive);
                let grown = burn::is_grown(long, row.long);
                let whole = exact.over(MONTH);
                let usual = burn::exceeds_by_volume(long, whole, objective, row.factor);
                if both && grown && usual && long.tally.bad >= 10 {
                    assert_eq!(state, Firing, "seed {seed}, {second} s: {id}");
                }
                if state == Firing {
                    let last = held.get(&id).copied().unwrap_or_default();
                    assert!(second - last < 60 + 1, "seed {seed}, {second} s: {id}");
                }
            }
        }
    }
}
