//! Slots of probes.

use std::time::Duration;

use super::*;
use crate::model::{Missed, ProbeFailure, ProbeRun, SlotOutcome, SlotRecord, Timestamp};
use crate::store::probe::{MOST_ROWS, write};

fn record(probe: &str, second: u64, outcome: SlotOutcome) -> SlotRecord {
    let failure = match outcome {
        SlotOutcome::Fail(failure) => Some(failure),
        SlotOutcome::Ok | SlotOutcome::Missed(_) => None,
    };
    let run = ProbeRun {
        failure,
        detail: failure.map_or("", |_| "why").to_owned(),
        duration_us: 7,
        phases: [None, Some(3), None, Some(4), None],
        address: Some("127.0.0.1:80".to_owned()),
        status: Some(200),
        ..ProbeRun::default()
    };
    let is_missed = matches!(outcome, SlotOutcome::Missed(_));
    SlotRecord {
        probe: probe.to_owned(),
        at: Timestamp::from_secs(second),
        slots: if is_missed { 9 } else { 1 },
        every: Duration::from_secs(30),
        outcome,
        lag_us: 5,
        run: (!is_missed).then_some(run),
    }
}

#[test]
fn slots_are_read_back_as_they_were_and_the_first_outcome_stays() {
    let dir = TempDir::new().unwrap();
    let opened = open_at(&dir, M0);
    let (ok, fail, down) = (
        SlotOutcome::Ok,
        SlotOutcome::Fail(ProbeFailure::TlsExpired),
        SlotOutcome::Missed(Missed::Down),
    );
    let records = vec![
        record("a", 30, ok),
        record("a", 60, fail),
        record("a", 90, down),
    ];
    opened.writer.slots(records.clone()).unwrap();
    let again = vec![record("a", 60, ok), record("b", 60, ok)];
    opened.writer.slots(again).unwrap();
    opened.writer.flush(PATIENCE).unwrap();
    let mut read = opened.history.probe_slots("a", 10).unwrap();
    read.reverse();
    assert_eq!(read, records);
    assert_eq!(
        opened.history.probe_slots("a", 1).unwrap(),
        [records[2].clone()]
    );
    assert_eq!(opened.history.probe_slots("c", 1).unwrap(), []);
}

#[test]
fn the_oldest_slots_of_a_probe_go_when_there_are_too_many() {
    let dir = TempDir::new().unwrap();
    drop(open_at(&dir, M0));
    let connection = Connection::open(dir.path().join(FILE)).unwrap();
    let most = MOST_ROWS as u64;
    let records: Vec<_> = (0..most + 600)
        .map(|second| record("a", second, SlotOutcome::Ok))
        .collect();
    connection.execute_batch("BEGIN").unwrap();
    write(&connection, &[record("quiet", 1, SlotOutcome::Ok)]).unwrap();
    write(&connection, &records).unwrap();
    connection.execute_batch("COMMIT").unwrap();
    let count = |sql: &str| -> u64 {
        let count: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        count as u64
    };
    let rows = count("SELECT count(*) FROM probe_slot WHERE probe_id = 2");
    assert!((most..most + 500).contains(&rows), "{rows}");
    assert_eq!(
        count("SELECT count(*) FROM probe_slot WHERE probe_id = 1"),
        1
    );
    assert_eq!(
        count("SELECT max(at_ms) FROM probe_slot") / 1_000,
        most + 599,
        "the newest stays"
    );
}
