//! What is handed over is what is read back.

use super::*;

#[test]
fn everything_written_is_there_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let name = "Robert'); DROP TABLE route;-- \u{1f980}\n";
    let opened = open_at(&dir, M0);
    assert_eq!(opened.history.counting_since, start_of(M0));
    let full = RouteMinute {
        route: name.to_owned(),
        counts: Counts {
            good: 7,
            bad: 2,
            excluded: 1,
        },
        latency: Some(latency(&[900, 1_000, 50_000])),
        phases: [
            Some(latency(&[5])),
            None,
            Some(latency(&[800])),
            Some(latency(&[70, 71])),
        ],
        duration_us: 51_900,
        bytes_in: 11,
        bytes_out: 12,
        retries: 3,
        bad_parts: Vec::new(),
    };
    let batch = MinuteBatch {
        minute: M0,
        routes: vec![full.clone(), route("idle", 0, 0, &[])],
        slos: vec![slo("avail'ability", 7, 2)],
    };
    opened.writer.minute(batch).unwrap();
    opened.writer.event(event(M0 * 60, "first")).unwrap();
    opened.writer.event(event(M0 * 60 + 9, "second")).unwrap();
    let alerts = vec![("a'1".to_owned(), "{\"state\":\"firing\"}".to_owned())];
    opened
        .writer
        .alerts(vec![("gone".to_owned(), String::new())])
        .unwrap();
    opened.writer.flush(PATIENCE).unwrap();
    opened.writer.alerts(alerts.clone()).unwrap();
    opened.writer.close(PATIENCE).unwrap();

    let history = open_at(&dir, M0 + 10).history;
    assert_eq!(history.counting_since, start_of(M0));
    assert!(!history.unclean);
    assert_eq!(history.skipped, 0);
    assert_eq!(history.alerts, alerts);
    assert_eq!(
        history.events,
        [event(M0 * 60 + 9, "second"), event(M0 * 60, "first")]
    );
    assert_eq!(history.slos, [("avail'ability".to_owned(), tally(7, 2))]);
    assert_eq!(history.routes[0], (name.to_owned(), full.counts));
    let mut slos = Vec::new();
    history.slo_minutes(M0 * 60, |row| slos.push(row)).unwrap();
    let expected = SloRow {
        slo: 0,
        start_secs: M0 * 60,
        tally: tally(7, 2),
    };
    assert_eq!(slos, [expected]);
    let mut hours = Vec::new();
    history.slo_hours(M0 * 60, |row| hours.push(row)).unwrap();
    assert_eq!(hours, [expected], "the hour holds what its minute holds");
    let mut routes = Vec::new();
    history.route_minutes(0, |row| routes.push(row)).unwrap();
    let busy = RouteRow {
        route: 0,
        start_secs: M0 * 60,
        counts: full.counts,
        duration_us: 51_900,
        bytes_in: 11,
        bytes_out: 12,
        retries: 3,
    };
    assert!(routes.contains(&busy), "{routes:?}");
    let mut latencies = Vec::new();
    let loaded = history
        .route_latencies(0, |row| latencies.push(row))
        .unwrap();
    assert_eq!(
        loaded,
        Loaded {
            rows: 1,
            skipped: 0
        }
    );
    assert_eq!(latencies[0].latency, full.latency);
    assert_eq!(latencies[0].phases, full.phases);
}

#[test]
fn streams_begin_where_they_are_asked_to() {
    let dir = TempDir::new().unwrap();
    write_run(&dir, M0, M0 + 90, (0..90).map(|m| minute(M0 + m, 1, 0)));
    let history = open_at(&dir, M0 + 90).history;
    let first = |since: u64| {
        let mut first = None;
        history
            .slo_minutes(since, |row| {
                first.get_or_insert(row.start_secs);
            })
            .unwrap();
        first
    };
    assert_eq!(first((M0 + 3) * 60), Some((M0 + 3) * 60));
    assert_eq!(first((M0 + 3) * 60 + 1), Some((M0 + 4) * 60));
    assert_eq!(first(u64::MAX), None);
    let loaded = history.slo_hours(M0 * 60 + 1, |_| {}).unwrap();
    assert_eq!(loaded.rows, 1);
}

#[test]
fn a_disk_that_is_full_costs_nothing_once_there_is_room() {
    let dir = TempDir::new().unwrap();
    let (mut database, _) = database::Database::open(dir.path(), start_of(M0)).unwrap();
    let first = Encoded::from(minute(M0, 1, 0));
    database.write_minute(&first, start_of(M0 + 1)).unwrap();
    let full = |database: &database::Database, pages: i64| {
        database
            .connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .unwrap();
    };
    full(&database, 1);
    let wide = MinuteBatch {
        minute: M0 + 1,
        routes: (0..500)
            .map(|n| route(&format!("r{n}"), 1, 0, &[5]))
            .collect(),
        slos: vec![slo("s", 1, 0)],
    };
    let wide = Encoded::from(wide);
    let error = database.write_minute(&wide, start_of(M0 + 2)).unwrap_err();
    assert_eq!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DiskFull)
    );
    full(&database, 1 << 30);
    database.write_minute(&wide, start_of(M0 + 2)).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.slo_over("s", 0, u64::MAX).unwrap(), tally(2, 0));
    assert_eq!(reader.route_counts("r499").unwrap().good, 1);
}

#[test]
fn a_closed_writer_takes_nothing_more() {
    let dir = TempDir::new().unwrap();
    let writer = open_at(&dir, M0).writer;
    writer.close(PATIENCE).unwrap();
    assert_eq!(writer.minute(minute(M0, 1, 0)), Err(Refused));
    assert_eq!(writer.event(event(1, "late")), Err(Refused));
    assert_eq!(writer.flush(PATIENCE), Err(FlushError::Closed));
    assert_eq!(writer.close(PATIENCE), Ok(()), "closing twice is closing");
}

#[test]
fn dropping_the_last_handle_writes_what_waits() {
    let dir = TempDir::new().unwrap();
    let writer = open_at(&dir, M0).writer;
    let other = writer.clone();
    drop(writer);
    other.minute(minute(M0, 4, 0)).unwrap();
    drop(other);
    // The thread ends by itself; whoever opens next finds the directory free and the minute there.
    let config = Config::new(dir.path().to_owned());
    let history = (0..3_000)
        .find_map(|_| {
            let opened = open(&config, clock_at(M0 + 1)).ok();
            if opened.is_none() {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened
        })
        .expect("the directory becomes free")
        .history;
    assert_eq!(history.slos, [("s".to_owned(), tally(4, 0))]);
    assert!(!history.unclean);
}

#[test]
fn an_event_of_any_length_is_kept_in_part() {
    let dir = TempDir::new().unwrap();
    let mut desk = Desk::new(Config::new(dir.path().to_owned()));
    let text = "\u{1f980}".repeat(10_000);
    desk.database.write_events(&[event(1, &text)]).unwrap();
    let events = Reader::open(dir.path()).unwrap().events(9).unwrap();
    assert_eq!(events[0].text.len(), 4_096);
    assert!(text.starts_with(&events[0].text));
}

#[test]
fn what_bad_requests_were_adds_up_by_the_hour() {
    let dir = TempDir::new().unwrap();
    let part = |dimension: &str, count| BadPart {
        dimension: dimension.to_owned(),
        part: "it's".to_owned(),
        count,
    };
    let opened = open_at(&dir, M0);
    for minute in [M0, M0 + 1] {
        let batch = MinuteBatch {
            minute,
            routes: vec![RouteMinute {
                bad_parts: vec![part("kind", 2), part("status", 1), part("status", 1)],
                ..route("web", 0, 2, &[])
            }],
            slos: Vec::new(),
        };
        opened.writer.minute(batch).unwrap();
    }
    opened.writer.close(PATIENCE).unwrap();
    let history = open_at(&dir, M0 + 10).history;
    let mut parts = Vec::new();
    history.bad_parts(0, |row| parts.push(row)).unwrap();
    let expected = ["kind", "status"].map(|dimension| (0, M0 * 60, part(dimension, 4)));
    assert_eq!(parts, expected);
}
