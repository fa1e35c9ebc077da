//! How long thirty days of a hundred SLOs take to be judged again.
//!
//! `cargo bench --bench backtest` runs the four rows of the workbook over 43,200 minutes of each of 100 SLOs, some of which
//! have an outage a day, then finds the incidents and scores two profiles against them as `slo backtest` does, and prints
//! seconds; the goal is below ten. Reading the history comes on top.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench measures time, prints it, and may die of anything unexpected"
)]

use std::convert::Infallible;
use std::time::Instant;

use vestibule::model::{About, Sli, Slo, Tally, Timestamp, Window};
use vestibule::slo::attribution::Piece;
use vestibule::slo::backtest::{Firing, Record, run};
use vestibule::slo::incident::{Counted, incidents};
use vestibule::slo::policy::{Policy, Share};
use vestibule::slo::score::{Score, Trouble};

const SLOS: u64 = 100;
const MINUTES: u64 = 30 * 1_440;

fn main() {
    let slo = Slo {
        id: "s".to_owned(),
        about: About::Route("r".to_owned()),
        owner: None,
        sli: Sli::AVAILABILITY,
        slices: None,
        parts: Vec::new(),
        probe: None,
        objective: "99.9%".parse().unwrap(),
        window: Window::days(30),
        calendar: None,
        policy: "workbook".to_owned(),
        runbook: None,
    };
    let records: Vec<Record> = (0..SLOS).map(record).collect();
    let began = Instant::now();
    let firings: usize = records
        .iter()
        .map(|record| run(&slo, &Policy::workbook(), record).len())
        .sum();
    println!(
        "backtest of 30 days x {SLOS} SLOs: {:.2} s, {firings} firings",
        began.elapsed().as_secs_f64()
    );
    let began = Instant::now();
    let profiles = Policy::shipped();
    let (troubles, scored) = compared(&slo, &records, &profiles);
    println!(
        "the same by {} profiles, scored against {troubles} incidents: {:.2} s, {scored} caught",
        profiles.len(),
        began.elapsed().as_secs_f64()
    );
}

/// How many incidents there are in the records, and how many all profiles together caught.
fn compared(slo: &Slo, records: &[Record], profiles: &[Policy]) -> (usize, u64) {
    let mut troubles = Vec::new();
    for (place, record) in records.iter().enumerate() {
        let pieces: Vec<Piece> = record.pieces().filter(|it| it.tally.bad > 0).collect();
        let counted = [Counted {
            slo,
            pieces: &pieces,
        }];
        let allowed = |slo: &Slo, at: Timestamp| Ok::<f64, Infallible>(record.allowed(slo, at));
        let Ok(found) = incidents(&counted, &[], Share::ppm(20_000), allowed);
        troubles.extend(found.iter().map(|it| Trouble {
            from: it.from,
            to: it.to,
            slos: vec![place],
        }));
    }
    let caught = profiles.iter().map(|policy| {
        let firings = records.iter().map(|record| run(slo, policy, record));
        let firings: Vec<Vec<Firing>> = firings.collect();
        let numbered = firings.iter().enumerate();
        let all: Vec<(usize, &Firing)> = numbered
            .flat_map(|(place, of_slo)| of_slo.iter().map(move |it| (place, it)))
            .collect();
        Score::new(&troubles, &all).caught
    });
    (troubles.len(), caught.sum())
}

/// A thousand requests a minute, one in 2,000 bad; every other SLO fails for ten minutes a day.
fn record(number: u64) -> Record {
    let minute = |place: u64| {
        let out = number.is_multiple_of(2) && place % 1_440 < 10;
        let bad = if out { 300 } else { place % 2 };
        (
            Tally {
                good: 1_000 - bad,
                bad,
            },
            true,
        )
    };
    Record::new(29_000_000, MINUTES, minute, Vec::new())
}
