//! The store's promises, kept through its public face; what needs other processes or a full disk is in
//! `tests/store.rs`.

mod counts;
mod opening;
mod slots;
mod upkeep;
mod writing;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::encoded::Encoded;
use super::retention::Pass;
use super::schema;
use super::*;
use crate::clock::ManualClock;
use crate::model::{Counts, Event, EventKind, Latency, Scope, Tally, Timestamp};
use crate::snapshot::Gap;

/// Some minute at the beginning of an hour.
const M0: u64 = 29_700_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// A clock that a test holds on to.
fn clock_at(minute: u64) -> Arc<ManualClock> {
    Arc::new(ManualClock::new(start_of(minute)))
}

fn start_of(minute: u64) -> Timestamp {
    Timestamp::from_secs(minute * 60)
}

fn open_at(dir: &TempDir, minute: u64) -> Opened {
    open(&Config::new(dir.path().to_owned()), clock_at(minute)).unwrap()
}

/// Opens a store whose run lasts to the end of `minute`, writes the batches, and closes it.
fn write_run(dir: &TempDir, from: u64, to: u64, batches: impl IntoIterator<Item = MinuteBatch>) {
    let watch = clock_at(from);
    let opened = open(&Config::new(dir.path().to_owned()), watch.clone()).unwrap();
    watch.advance(Duration::from_secs((to - from) * 60));
    for batch in batches {
        opened.writer.minute(batch).unwrap();
        opened.writer.flush(PATIENCE).unwrap();
    }
    opened.writer.close(PATIENCE).unwrap();
}

fn tally(good: u64, bad: u64) -> Tally {
    Tally { good, bad }
}

fn latency(micros: &[u64]) -> Latency {
    let mut latency = Latency::new();
    for micros in micros {
        latency.record(*micros);
    }
    latency
}

/// A minute of one route `r` and one SLO `s`.
fn minute(minute: u64, good: u64, bad: u64) -> MinuteBatch {
    MinuteBatch {
        minute,
        routes: vec![route("r", good, bad, &[])],
        slos: vec![slo("s", good, bad)],
    }
}

fn slo(name: &str, good: u64, bad: u64) -> SloMinute {
    SloMinute {
        slo: name.to_owned(),
        counted: String::new(),
        tally: tally(good, bad),
    }
}

fn route(name: &str, good: u64, bad: u64, micros: &[u64]) -> RouteMinute {
    RouteMinute {
        route: name.to_owned(),
        counts: Counts {
            good,
            bad,
            excluded: 1,
        },
        latency: (!micros.is_empty()).then(|| latency(micros)),
        ..RouteMinute::default()
    }
}

fn event(at: u64, text: &str) -> Event {
    Event {
        at: Timestamp::from_secs(at),
        kind: EventKind::Deploy,
        scope: Scope {
            upstream: Some("it's \"up\"; DROP TABLE event".to_owned()),
            ..Scope::default()
        },
        text: text.to_owned(),
    }
}

fn raw(dir: &TempDir) -> Connection {
    Connection::open(dir.path().join(FILE)).unwrap()
}

/// A store without its thread: every minute is followed by a whole pass of tidying.
struct Desk {
    database: database::Database,
    config: Config,
    budget: retention::Budget,
}

impl Desk {
    fn new(config: Config) -> Self {
        let (database, _) = database::Database::open(&config.dir, start_of(M0)).unwrap();
        Self {
            database,
            config,
            budget: retention::Budget::default(),
        }
    }

    fn write(&mut self, batch: MinuteBatch) {
        let minute = batch.minute;
        self.database
            .write_minute(&Encoded::from(batch), start_of(minute + 1))
            .unwrap();
        let mut pass = Pass::default();
        pass.present = minute as i64;
        while pass.step(&mut self.database, &self.config).unwrap() {}
        self.budget = pass.budget;
    }

    fn count(&self, sql: &str) -> i64 {
        self.database
            .connection
            .query_row(sql, [], |row| row.get(0))
            .unwrap()
    }
}
