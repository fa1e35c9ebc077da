//! What is opened, what is refused, and how it is said.

use super::*;

#[test]
fn a_second_store_on_the_same_directory_is_told_who_has_it() {
    let dir = TempDir::new().unwrap();
    let first = open_at(&dir, M0);
    let config = Config::new(dir.path().to_owned());
    let error = open(&config, clock_at(M0)).unwrap_err();
    let OpenError::Locked { pid, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*pid, Some(std::process::id()));
    assert!(error.to_string().contains(&std::process::id().to_string()));
    first.writer.close(PATIENCE).unwrap();
    open(&config, clock_at(M0)).unwrap();
}

#[test]
fn a_place_where_nothing_can_be_written_is_named() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let config = Config::new(dir.path().join("file").join("state"));
    let error = open(&config, clock_at(M0)).unwrap_err();
    assert!(matches!(error, OpenError::Files { .. }), "{error}");
    assert!(error.to_string().contains("state"), "{error}");
}

#[test]
fn only_the_owner_can_read_a_new_state_directory() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("a").join("b");
    let opened = open(&Config::new(state.clone()), clock_at(M0)).unwrap();
    opened.writer.minute(minute(M0, 1, 0)).unwrap();
    opened.writer.flush(PATIENCE).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for file in ["lock", FILE, "history.db-wal"] {
        assert_eq!(mode(&state.join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    let garbage = vec![b'x'; 8_192];
    fs::write(dir.path().join(FILE), &garbage).unwrap();
    let error = open(&Config::new(dir.path().to_owned()), clock_at(M0)).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("aside"), "{error}");
    assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), garbage);
}

#[test]
fn damage_inside_is_found_after_a_stop_that_was_not_clean() {
    let dir = TempDir::new().unwrap();
    write_run(&dir, M0, M0 + 50, (0..50).map(|m| minute(M0 + m, 1, 0)));
    let db = raw(&dir);
    db.execute("UPDATE run SET stopped_ms = NULL", []).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let page: i64 = db
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'slo_minute'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    drop(db);
    let path = dir.path().join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    let start = (page as usize - 1) * 4_096;
    bytes[start..start + 200].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let error = open(&Config::new(dir.path().to_owned()), clock_at(M0)).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
}

#[test]
fn a_newer_format_and_another_programs_file_are_refused_untouched() {
    let dir = TempDir::new().unwrap();
    write_run(&dir, M0, M0 + 1, [minute(M0, 1, 0)]);
    raw(&dir).pragma_update(None, "user_version", 99).unwrap();
    let config = Config::new(dir.path().to_owned());
    let error = open(&config, clock_at(M0)).unwrap_err();
    let OpenError::Newer { found: 99, .. } = error else {
        panic!("{error}");
    };

    let dir = TempDir::new().unwrap();
    raw(&dir).execute("CREATE TABLE theirs (x)", []).unwrap();
    let before = fs::read(dir.path().join(FILE)).unwrap();
    let config = Config::new(dir.path().to_owned());
    let error = open(&config, clock_at(M0)).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), before);
}

#[test]
fn rows_that_others_altered_are_left_out_and_counted() {
    let dir = TempDir::new().unwrap();
    let batch = MinuteBatch {
        minute: M0,
        routes: vec![route("r", 3, 0, &[5]), route("q", 3, 0, &[5])],
        slos: vec![slo("s", 3, 0)],
    };
    write_run(&dir, M0, M0 + 1, [batch.clone()]);
    let opened = open_at(&dir, M0 + 1);
    opened.writer.event(event(1, "fine")).unwrap();
    opened.writer.flush(PATIENCE).unwrap();
    opened.writer.close(PATIENCE).unwrap();
    let db = raw(&dir);
    db.execute_batch(
        "PRAGMA foreign_keys = off;
         UPDATE latency_minute SET total = x'1c84931400000000', body = zeroblob(100000) WHERE k & 1 = 1;
         INSERT INTO event (at_ms, kind, text) VALUES (5, 'nonsense', 'x'), (-5, 'deploy', 'y');
         UPDATE route SET good = -3 WHERE name = 'q';
         UPDATE slo SET name = cast(x'ff27' AS TEXT);
         INSERT INTO slo_minute VALUES (9223372036854775807, 77, 1, 1, 1, 1);
         INSERT INTO alert VALUES ('x', 'not json');",
    )
    .unwrap();
    drop(db);

    let opened = open_at(&dir, M0 + 2);
    let history = &opened.history;
    let texts: Vec<&str> = history.events.iter().map(|e| e.text.as_str()).collect();
    assert_eq!(texts, ["fine", "y"]);
    assert_eq!(history.slos, [("\u{fffd}'".to_owned(), tally(3, 0))]);
    assert_eq!(history.routes[0].1.good, 0);
    let loaded = history.slo_minutes(0, |_| {}).unwrap();
    assert_eq!((loaded.rows, loaded.skipped), (1, 1));
    let loaded = history.route_latencies(0, |_| {}).unwrap();
    assert_eq!((loaded.rows, loaded.skipped), (2, 2));
    // Adding to an unreadable distribution replaces it.
    opened.writer.minute(batch).unwrap();
    opened.writer.flush(PATIENCE).unwrap();
    assert!(opened.writer.status().unreadable > 0);
}

#[test]
fn an_old_format_is_brought_up_to_date_once() {
    let dir = TempDir::new().unwrap();
    write_run(&dir, M0, M0 + 1, [minute(M0, 1, 0)]);
    let old = Connection::open(dir.path().join(FILE)).unwrap();
    // As the first format had it.
    old.execute_batch(
        "DROP TABLE route_bad; DROP TABLE probe_slot; DROP TABLE probe; ALTER TABLE slo DROP COLUMN counted; \
         PRAGMA user_version = 1",
    )
    .unwrap();
    drop(old);
    let (connection, _) = schema::open(&dir.path().join(FILE), start_of(M0 + 1)).unwrap();
    let slots: i64 = connection
        .query_row("SELECT count(*) FROM probe_slot", [], |row| row.get(0))
        .unwrap();
    assert_eq!(slots, 0);
    let pragma = |name: &str| -> i64 {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .unwrap()
    };
    assert_eq!(pragma("user_version"), 4);
    assert_eq!(pragma("auto_vacuum"), 2, "incremental");
    assert_eq!(pragma("foreign_keys"), 1);
    let since: i64 = connection
        .query_row(
            "SELECT value FROM meta WHERE name = 'counting_since'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(since as u64, start_of(M0).as_millis());
}
