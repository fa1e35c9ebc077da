//! Whether probes that hang delay others: 200 probes every 5 s, of which 50 run into a black hole with a timeout of 10 s.
//!
//! `cargo bench --bench probe` prints how far behind their slots the other 150 were started, which slots were missed, and
//! fails when the goal is not reached: no slot missed, the 99th percentile of the delay below 50 ms. `BENCH_SECONDS` (30) says
//! for how long.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures time and prints it"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use vestibule::clock::{Clock as _, SystemClock};
use vestibule::model::{SlotOutcome, SlotRecord};
use vestibule::probe::definition::{Definition, Manner, Target};
use vestibule::probe::prepare::prepare;
use vestibule::probe::runner::Runner;
use vestibule::probe::schedule::Schedule;

const PROBES: usize = 200;
const HANGING: usize = 50;
const EVERY: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);
const GOAL: Duration = Duration::from_millis(50);

fn main() {
    let seconds = std::env::var("BENCH_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(30);
    let (answers, hangs) = (answering(), silent());
    let definitions: Vec<_> = (0..PROBES)
        .map(|number| {
            let is_hanging = number < HANGING;
            let place = if is_hanging { hangs } else { answers };
            let kind = if is_hanging { "hanging" } else { "fine" };
            let target = Target::parse(&format!("http://{place}/")).expect("a target");
            Definition {
                steps: Vec::new(),
                name: format!("{kind}-{number}"),
                target,
                every: EVERY,
                route: None,
                runbook: None,
                paused: false,
                maintenance: Vec::new(),
                manner: Manner::plain(TIMEOUT),
                compare: false,
                views: Vec::new(),
            }
        })
        .collect();
    let probes = prepare(definitions).expect("no roots are needed");
    let clock = SystemClock::new();
    let from = clock.now();
    let mut runner = Runner::start(probes, None, clock, from).expect("a thread");
    let began = Instant::now();
    let mut records: Vec<SlotRecord> = Vec::new();
    while began.elapsed() < Duration::from_secs(seconds) {
        thread::sleep(Duration::from_millis(200));
        records.extend(runner.take());
    }
    let until = clock.now();
    // What was begun within the time has ended then.
    let rest = Instant::now();
    while rest.elapsed() < TIMEOUT + Duration::from_secs(1) {
        thread::sleep(Duration::from_millis(200));
        records.extend(runner.take());
    }
    records.extend(runner.stop());
    let of = |kind: &str| {
        let due: u64 = (0..PROBES)
            .map(|number| format!("{kind}-{number}"))
            .filter(|name| records.iter().any(|record| record.probe == *name))
            .map(|name| Schedule::new(&name, EVERY).between(from, until))
            .sum();
        let seen = records
            .iter()
            .filter(|record| record.probe.starts_with(kind) && record.at <= until);
        let (mut lags, mut missed, mut failed) = (Vec::new(), 0, 0);
        for record in seen {
            match record.outcome {
                SlotOutcome::Ok => lags.push(record.lag_us),
                SlotOutcome::Fail(_) => {
                    failed += 1;
                    lags.push(record.lag_us);
                }
                SlotOutcome::Missed(_) => missed += record.slots,
            }
        }
        lags.sort_unstable();
        (due, lags, missed, failed)
    };
    let mut reached = true;
    for kind in ["fine", "hanging"] {
        let (due, lags, missed, failed) = of(kind);
        let at = |share: f64| {
            let place = (lags.len() as f64 * share) as usize;
            lags.get(place.min(lags.len().saturating_sub(1)))
                .copied()
                .unwrap_or(0)
        };
        let (p50, p99, most) = (at(0.5), at(0.99), at(1.0));
        println!(
            "{kind}: {due} slots due, {} run, {failed} failed, {missed} missed; lag p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            lags.len(),
            p50 as f64 / 1e3,
            p99 as f64 / 1e3,
            most as f64 / 1e3
        );
        if kind == "fine" {
            reached = missed == 0
                && failed == 0
                && due == lags.len() as u64
                && Duration::from_micros(p99) < GOAL;
        }
    }
    assert!(
        reached,
        "the goal is p99 below {GOAL:?} and no slot missed or failed"
    );
}

/// A server that answers everyone at once.
fn answering() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut heard = [0; 4_096];
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            // Whoever asked may have gone.
            if stream.read(&mut heard).is_ok() {
                drop(stream.write_all(answer));
            }
        }
    });
    address
}

/// A server that takes connections and says nothing.
fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let held: Vec<_> = listener.incoming().flatten().collect();
        drop(held);
    });
    address
}
