//! How long thirty days of a hundred SLOs take to be judged again.
//!
//! `cargo bench --bench backtest` runs the four rows of the workbook over 43,200 minutes of each of 100 SLOs, some of which
//! have an outage a day, then finds the incidents and scores two profiles against them as `slo backtest` does, and prints
//! seconds. Then the same history is written to a database, and the program itself runs `slo backtest` over it: reading,
//! judging, scoring and printing. The goal is below ten seconds.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench measures time, prints it, and may die of anything unexpected"
)]

use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, params};
use vestibule::clock::SystemClock;

use vestibule::model::{About, Sli, Slo, Tally, Timestamp, Window};
use vestibule::slo::attribution::Piece;
use vestibule::slo::backtest::{Firing, Record, run};
use vestibule::slo::incident::{Counted, incidents};
use vestibule::slo::policy::{Policy, Share};
use vestibule::slo::score::{Score, Trouble};
use vestibule::store::{self, Config, MinuteBatch, SloMinute};

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
    whole();
}

/// The command as it is used, over a stored history.
fn whole() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    // Complete minutes up to the present one, so that nothing lies in the future.
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let end = now.as_secs() / 60;
    store(&Config::new(state.clone()), end - MINUTES, end);
    let mut config = format!(
        "[state]\ndir = {:?}\n[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:0\"\n[[upstream]]\nname = \"u\"\n\
         endpoints = [\"http://127.0.0.1:1\"]\n[[route]]\nid = \"r\"\nupstream = \"u\"\n",
        state.display().to_string()
    );
    for slo in 0..SLOS {
        write!(
            config,
            "[[slo]]\nid = \"slo-{slo}\"\nroute = \"r\"\nsli = \"availability\"\nobjective = \"99.9%\"\n"
        )
        .unwrap();
    }
    let file = dir.path().join("vestibule.toml");
    fs::write(&file, config).unwrap();
    let size = fs::metadata(state.join("history.db")).unwrap().len();
    for round in ["first", "again"] {
        let began = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["slo", "backtest", "--json", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let took = began.elapsed().as_secs_f64();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        println!(
            "`slo backtest` over a history of {} MiB, {round}: {took:.2} s",
            size >> 20
        );
    }
}

/// Thirty days of rows at once: what as many flushes would have left, without their wait.
fn store(config: &Config, from: u64, to: u64) {
    const PATIENCE: Duration = Duration::from_secs(120);
    let opened = store::open(config, SystemClock::new()).unwrap();
    let slos = (0..SLOS).map(|slo| SloMinute {
        slo: format!("slo-{slo}"),
        counted: String::new(),
        tally: minute(slo, 0),
    });
    let batch = MinuteBatch {
        minute: from,
        routes: Vec::new(),
        slos: slos.collect(),
    };
    opened.writer.minute(batch).unwrap();
    opened.writer.close(PATIENCE).unwrap();
    let mut db = Connection::open(config.dir.join("history.db")).unwrap();
    let transaction = db.transaction().unwrap();
    let ids = ids(&transaction, &config.dir);
    let mut sums: Vec<Tally> = (0..SLOS).map(|slo| minute(slo, 0)).collect();
    for place in 1..to - from {
        let at = from + place;
        for (slo, sum) in (0..SLOS).zip(&mut sums) {
            let Tally { good, bad } = minute(slo, place);
            *sum += minute(slo, place);
            let row = [at, ids[slo as usize], good, bad, sum.good, sum.bad];
            transaction
                .prepare_cached("INSERT INTO slo_minute VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
                .unwrap()
                .execute(rusqlite::params_from_iter(row.map(|n| n as i64)))
                .unwrap();
        }
        transaction
            .prepare_cached("INSERT INTO minute VALUES (?1)")
            .unwrap()
            .execute(params![at as i64])
            .unwrap();
    }
    transaction
        .execute("UPDATE slo SET last_minute = ?1", params![to as i64 - 1])
        .unwrap();
    transaction.commit().unwrap();
}

/// The rows' ids, in the order of the SLOs.
fn ids(db: &Transaction<'_>, dir: &Path) -> Vec<u64> {
    let id = |slo: u64| {
        let name = format!("slo-{slo}");
        let row = db.query_row("SELECT id FROM slo WHERE name = ?1", [name], |row| {
            row.get::<_, i64>(0)
        });
        row.unwrap_or_else(|error| panic!("{}: {error}", dir.display())) as u64
    };
    (0..SLOS).map(id).collect()
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
    let counted = |place: u64| (minute(number, place), true);
    Record::new(29_000_000, MINUTES, counted, Vec::new())
}

fn minute(number: u64, place: u64) -> Tally {
    let out = number.is_multiple_of(2) && place % 1_440 < 10;
    let bad = if out { 300 } else { place % 2 };
    Tally {
        good: 1_000 - bad,
        bad,
    }
}
