//! What judging costs each second: many SLOs, each over the windows that burn rates are shown for and its own.
//!
//! ```text
//! cargo bench --bench engine -- [SLOS]
//! ```
//!
//! The promise is 1,000 SLOs over 8 windows in less than 5 ms, with rings that hold a month of history.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement is timed and printed"
)]

use std::time::{Duration, Instant};

use vestibule::model::{
    About, Calendar, CalendarUnit, Sli, Slo, SloKey, Tally, Timestamp, Window, Zone,
};
use vestibule::sli::ring::{Point, TallyRing};
use vestibule::slo::engine::Engine;
use vestibule::slo::policy::Policy;

/// A month of hours, and the last day by the minute.
const NOW: u64 = 1_800_000_000;
const HOURS: u64 = 29 * 24;
const MINUTES: u64 = 1_440;
const ROUNDS: u32 = 200;
const PROMISED: Duration = Duration::from_millis(5);

fn main() {
    let count = std::env::args().find_map(|argument| argument.parse().ok());
    let count: u32 = count.unwrap_or(1_000);
    let rings: Vec<TallyRing> = (0..count).map(ring).collect();
    for (name, calendar) in [
        ("rolling", None),
        (
            "calendar",
            Some(Calendar {
                unit: CalendarUnit::Month,
                zone: Zone::UTC,
            }),
        ),
    ] {
        let slos = (0..count).map(|key| (SloKey(key), slo(key, calendar.clone())));
        let mut engine = Engine::new(slos.collect(), &Policy::shipped());
        let mut took = Vec::new();
        let mut seen = 0;
        for round in 0..ROUNDS {
            let now = NOW + u64::from(round);
            let read = |key: SloKey, window: Window| rings[key.index()].over(window, now);
            let began = Instant::now();
            let evaluation = engine.evaluate(Timestamp::from_secs(now), &read);
            took.push(began.elapsed());
            seen += evaluation.slos.len();
        }
        took.sort();
        let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
        let verdict = if median < PROMISED { "kept" } else { "MISSED" };
        println!(
            "{count} SLOs, {name}: median {median:?}, worst {worst:?} of {ROUNDS} seconds; below {PROMISED:?}: {verdict} ({seen} judged)"
        );
    }
}

fn slo(key: u32, calendar: Option<Calendar>) -> Slo {
    Slo {
        id: format!("slo-{key}"),
        about: About::Route(format!("route-{key}")),
        owner: None,
        sli: Sli::AVAILABILITY,
        slices: None,
        parts: Vec::new(),
        probe: None,
        objective: "99.9%".parse().expect("an objective"),
        window: Window::days(30),
        calendar,
        policy: "workbook".to_owned(),
        runbook: None,
    }
}

/// A month of traffic that is its own for each SLO; one in ten burns just now.
fn ring(key: u32) -> TallyRing {
    let mut ring = TallyRing::new(Window::days(92));
    let begin = NOW - MINUTES * 60 - HOURS * 3_600;
    let tally = |step: u64| Tally {
        good: 1_000 + step % 7,
        bad: u64::from((step + u64::from(key)).is_multiple_of(13)),
    };
    let hours = (0..HOURS).map(|hour| Point {
        start_secs: begin + hour * 3_600,
        width_s: 3_600,
        tally: tally(hour),
    });
    let minutes = (0..MINUTES).map(|minute| Point {
        start_secs: NOW - (MINUTES - minute) * 60,
        width_s: 60,
        tally: tally(minute),
    });
    ring.restore(hours.chain(minutes), NOW);
    for second in NOW..NOW + u64::from(ROUNDS) {
        let bad = if key.is_multiple_of(10) { 50 } else { 0 };
        ring.add(second, Tally { good: 50, bad });
    }
    ring
}
