//! What history costs: a minute's flush, a judgement's look-ups, a start.
//!
//! `cargo bench --bench store` prints figures and judges nothing: disks differ. The rows are those of 1,000 busy
//! routes and 1,000 SLOs.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures time, prints it, and may die of anything unexpected"
)]

use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use vestibule::clock::SystemClock;
use vestibule::model::{Counts, Latency, Tally};
use vestibule::store::{self, Config, MinuteBatch, Opened, Reader, RouteMinute, SloMinute};

const ROUTES: u64 = 1_000;
const MINUTES: u64 = 200;
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::new(dir.path().to_owned());
    // Complete minutes up to the present one, so that nothing lies in the future.
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let end = now.as_secs() / 60;

    for busy in [0, ROUTES / 10, ROUTES] {
        let dir = tempfile::tempdir().unwrap();
        flush(&Config::new(dir.path().to_owned()), end, busy);
    }

    let before = 3 * 1_440;
    fill(&config, end - before, end);
    judge(&config, end);
    start(&config, end - before);
}

/// Minutes of 1,000 routes and SLOs, of which `busy` have distributions, in five parts each.
fn flush(config: &Config, end: u64, busy: u64) {
    let Opened { writer, .. } = store::open(config, SystemClock::new()).unwrap();
    let mut latency = Latency::new();
    for n in 0..600 {
        latency.record(800 + n * n % 90_000);
    }
    let mut whole = Vec::new();
    let mut pushed = Vec::new();
    for minute in end - MINUTES..end {
        let batch = batch(minute, busy, &latency);
        let began = Instant::now();
        writer.minute(batch).unwrap();
        pushed.push(began.elapsed());
        writer.flush(PATIENCE).unwrap();
        whole.push(began.elapsed());
    }
    let size = writer.status().size_bytes;
    writer.close(PATIENCE).unwrap();
    println!(
        "flush, {busy} of {ROUTES} routes busy: {}; handing over {}; {} KiB a minute",
        spread(&mut whole),
        spread(&mut pushed),
        size / MINUTES / 1_024
    );
}

fn batch(minute: u64, busy: u64, latency: &Latency) -> MinuteBatch {
    let route = |n: u64| {
        let some = || (n < busy).then(|| latency.clone());
        RouteMinute {
            route: format!("route-{n}"),
            counts: Counts {
                good: 600,
                bad: n % 3,
                excluded: 1,
            },
            latency: some(),
            phases: [some(), some(), some(), some()],
            duration_us: 12_345_678,
            bytes_in: 1_000_000,
            bytes_out: 90_000_000,
            retries: 2,
            bad_parts: Vec::new(),
        }
    };
    let slo = |n: u64| SloMinute {
        slo: format!("slo-{n}"),
        counted: String::new(),
        tally: Tally {
            good: 600,
            bad: n % 3,
        },
    };
    MinuteBatch {
        minute,
        routes: (0..ROUTES).map(route).collect(),
        slos: (0..ROUTES).map(slo).collect(),
    }
}

/// Three days of rows at once: what thousands of flushes would have left, without their wait.
fn fill(config: &Config, from: u64, to: u64) {
    let Opened { writer, .. } = store::open(config, SystemClock::new()).unwrap();
    let idle = Latency::new();
    writer.minute(batch(from, 0, &idle)).unwrap();
    writer.close(PATIENCE).unwrap();
    let mut db = Connection::open(config.dir.join("history.db")).unwrap();
    let transaction = db.transaction().unwrap();
    let totals = |sql: &str, slot: u64, each: u64, count: u64| {
        let mut insert = transaction.prepare_cached(sql).unwrap();
        for id in 1..=ROUTES {
            let bad = id % 3;
            let row = [slot, id, 600 * each, bad * each, 600 * count, bad * count];
            insert
                .execute(rusqlite::params_from_iter(row.map(|n| n as i64)))
                .unwrap();
        }
    };
    for minute in from + 1..to {
        let count = minute - from + 1;
        totals(
            "INSERT OR REPLACE INTO slo_minute VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            minute,
            1,
            count,
        );
        transaction
            .execute("INSERT INTO minute VALUES (?1)", params![minute as i64])
            .unwrap();
        if minute % 60 == 59 {
            totals(
                "INSERT OR REPLACE INTO slo_hour VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                minute / 60,
                60,
                count,
            );
            let hour = minute / 60;
            transaction
                .execute(
                    "INSERT OR IGNORE INTO hour VALUES (?1)",
                    params![hour as i64],
                )
                .unwrap();
        }
    }
    transaction
        .execute(
            "UPDATE slo SET good = 600 * ?1, bad = (id % 3) * ?1, last_minute = ?2",
            params![(to - from) as i64, to as i64 - 1],
        )
        .unwrap();
    transaction.commit().unwrap();
}

/// All windows of all SLOs, as a judgement from disk would ask for them.
fn judge(config: &Config, end: u64) {
    let windows = [5, 30, 60, 120, 360, 1_440, 3 * 1_440, 30 * 1_440_u64];
    let reader = Reader::open(&config.dir).unwrap();
    for round in ["first", "again"] {
        let began = Instant::now();
        let mut bad = 0;
        for n in 0..ROUTES {
            let slo = format!("slo-{n}");
            for window in windows {
                let from = (end - window) * 60;
                bad += reader.slo_over(&slo, from, end * 60).unwrap().bad;
            }
        }
        println!(
            "burn rates, {round}: {} windows in {:.1?} (bad: {bad})",
            ROUTES * windows.len() as u64,
            began.elapsed()
        );
    }
}

/// What a start reads.
fn start(config: &Config, from: u64) {
    for (what, clean) in [("after a clean stop", true), ("after a kill", false)] {
        if !clean {
            let db = Connection::open(config.dir.join("history.db")).unwrap();
            db.execute("UPDATE run SET stopped_ms = NULL", []).unwrap();
        }
        let began = Instant::now();
        let Opened { writer, history } = store::open(config, SystemClock::new()).unwrap();
        println!(
            "open {what}: {:.1?}, {} MiB",
            began.elapsed(),
            writer.status().size_bytes >> 20
        );
        if clean {
            let began = Instant::now();
            let mut sum = Tally::default();
            let loaded = history
                .slo_minutes(from * 60, |row| sum += row.tally)
                .unwrap();
            println!(
                "load: {} SLO minutes in {:.1?} (bad: {})",
                loaded.rows,
                began.elapsed(),
                sum.bad
            );
        }
        drop(history);
        writer.close(PATIENCE).unwrap();
    }
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    format!("p50 {:.1?}, p99 {:.1?}", at(50), at(99))
}
