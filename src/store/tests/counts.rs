//! Every window of every SLO and route is right, whatever the clock and the configuration did.

use super::*;

#[test]
fn a_restart_continues_the_totals_exactly() {
    let dir = TempDir::new().unwrap();
    write_run(&dir, M0, M0 + 2, [minute(M0, 10, 1), minute(M0 + 1, 20, 2)]);
    write_run(
        &dir,
        M0 + 2,
        M0 + 4,
        [minute(M0 + 2, 30, 3), minute(M0 + 3, 40, 4)],
    );
    let reader = Reader::open(dir.path()).unwrap();
    let over = |from: u64, to: u64| {
        reader
            .slo_over("s", (M0 + from) * 60, (M0 + to) * 60)
            .unwrap()
    };
    assert_eq!(over(0, 4), tally(100, 10));
    assert_eq!(over(1, 3), tally(50, 5));
    assert_eq!(over(3, 4), tally(40, 4));
    assert_eq!(over(4, 9), tally(0, 0));
    let total = reader.route_counts("r").unwrap();
    assert_eq!((total.good, total.bad, total.excluded), (100, 10, 4));
    assert_eq!(reader.route_over("r", 0, u64::MAX).unwrap(), total);
    assert_eq!(reader.slo_over("never", 0, u64::MAX).unwrap(), tally(0, 0));
}

#[test]
fn a_minute_that_is_there_already_is_added_to() {
    let dir = TempDir::new().unwrap();
    let part = |good, micros: &[u64]| MinuteBatch {
        minute: M0,
        routes: vec![route("r", good, 0, micros)],
        slos: vec![slo("s", good, 0)],
    };
    write_run(&dir, M0, M0, [part(5, &[100, 200])]);
    write_run(&dir, M0, M0 + 2, [part(7, &[300]), minute(M0 + 1, 1, 1)]);
    let reader = Reader::open(dir.path()).unwrap();
    let (from, mid, to) = (M0 * 60, (M0 + 1) * 60, (M0 + 2) * 60);
    assert_eq!(reader.slo_over("s", from, mid).unwrap(), tally(12, 0));
    assert_eq!(reader.slo_over("s", mid, to).unwrap(), tally(1, 1));
    assert_eq!(
        reader.route_latency("r", from, to).unwrap(),
        latency(&[100, 200, 300])
    );
}

#[test]
fn a_clock_set_back_keeps_every_window_right() {
    let dir = TempDir::new().unwrap();
    let batches = [
        minute(M0, 1, 0),
        minute(M0 + 61, 10, 0),
        minute(M0 + 62, 100, 0),
        // Back by an hour, into a minute that was never written, then on.
        minute(M0 + 1, 1_000, 5),
        minute(M0 + 61, 10_000, 0),
        minute(M0 + 63, 100_000, 0),
    ];
    write_run(&dir, M0, M0 + 64, batches);
    let reader = Reader::open(dir.path()).unwrap();
    let cases = [
        (0, 1, tally(1, 0)),
        (1, 2, tally(1_000, 5)),
        (0, 60, tally(1_001, 5)),
        (61, 62, tally(10_010, 0)),
        (62, 64, tally(100_100, 0)),
        (0, 64, tally(111_111, 5)),
    ];
    for (from, to, expected) in cases {
        let found = reader
            .slo_over("s", (M0 + from) * 60, (M0 + to) * 60)
            .unwrap();
        assert_eq!(found, expected, "{from}..{to}");
    }
    let mut hours = Vec::new();
    drop(reader);
    let history = open_at(&dir, M0 + 64).history;
    history.slo_hours(0, |row| hours.push(row.tally)).unwrap();
    assert_eq!(hours, [tally(1_001, 5), tally(110_110, 0)]);
}

#[test]
fn a_clock_set_back_by_days_counts_into_the_newest_minute() {
    let dir = TempDir::new().unwrap();
    let mut desk = Desk::new(Config::new(dir.path().to_owned()));
    desk.write(minute(M0, 1, 0));
    desk.database
        .connection
        .execute(
            "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 1999) \
             INSERT INTO minute SELECT ?1 + n FROM n",
            [M0 as i64],
        )
        .unwrap();
    desk.write(minute(M0 + 2_000, 10, 0));
    desk.write(minute(17, 100, 0));
    let reader = Reader::open(dir.path()).unwrap();
    let over = |from: u64, to: u64| reader.slo_over("s", from * 60, to * 60).unwrap();
    assert_eq!(over(M0 + 2_000, M0 + 2_001), tally(110, 0));
    assert_eq!(over(0, M0 + 2_000), tally(1, 0));
}

#[test]
fn an_slo_that_was_away_for_a_while_keeps_its_count() {
    let dir = TempDir::new().unwrap();
    let other = |m| MinuteBatch {
        minute: m,
        routes: Vec::new(),
        slos: vec![slo("other", 1, 0)],
    };
    let batches = (0..5)
        .map(|m| minute(M0 + m, 2, 1))
        .chain((5..200).map(|m| other(M0 + m)))
        .chain([minute(M0 + 200, 7, 0)]);
    write_run(&dir, M0, M0 + 201, batches);
    let reader = Reader::open(dir.path()).unwrap();
    for (from, to, expected) in [
        (0, 3, tally(6, 3)),
        (4, 5, tally(2, 1)),
        (5, 30, tally(0, 0)),
        (70, 150, tally(0, 0)),
        (150, 201, tally(7, 0)),
        (0, 201, tally(17, 5)),
    ] {
        let found = reader
            .slo_over("s", (M0 + from) * 60, (M0 + to) * 60)
            .unwrap();
        assert_eq!(found, expected, "{from}..{to}");
    }
    assert_eq!(
        reader.slo_over("other", 0, (M0 + 5) * 60).unwrap(),
        tally(0, 0)
    );
}

#[test]
fn the_time_between_two_runs_is_a_gap() {
    let dir = TempDir::new().unwrap();
    write_run(&dir, M0, M0 + 2, [minute(M0, 1, 0), minute(M0 + 1, 1, 0)]);
    write_run(
        &dir,
        M0 + 10,
        M0 + 20,
        [
            minute(M0 + 10, 1, 0),
            minute(M0 + 14, 1, 0),
            minute(M0 + 19, 1, 0),
        ],
    );
    let gap = |from, to| Gap {
        from: start_of(M0 + from),
        to: start_of(M0 + to),
    };
    let gaps = open_at(&dir, M0 + 25).history.gaps;
    assert_eq!(gaps, [gap(20, 25), gap(15, 19), gap(11, 14), gap(2, 10)]);
}

#[test]
fn counts_beyond_all_reason_saturate() {
    let dir = TempDir::new().unwrap();
    let mut desk = Desk::new(Config::new(dir.path().to_owned()));
    for m in [0, 0, 1, 2, 1] {
        desk.write(minute(M0 + m, u64::MAX, u64::MAX));
    }
    let reader = Reader::open(dir.path()).unwrap();
    assert!(reader.slo_over("s", 0, u64::MAX).unwrap().good > 1 << 61);
    assert!(reader.route_counts("r").unwrap().bad > 1 << 61);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Minutes in any order, with repeats, holes and SLOs that come and go.
    #[test]
    fn every_window_equals_a_naive_recount(
        batches in prop::collection::vec(
            (0_u64..400, prop::collection::vec((0_usize..4, 0_u64..50, 0_u64..50), 0..5)),
            1..40,
        ),
        windows in prop::collection::vec((0_u64..420, 0_u64..420), 1..12),
    ) {
        let dir = TempDir::new().unwrap();
        let (mut database, _) = database::Database::open(dir.path(), start_of(M0)).unwrap();
        for (m, slos) in &batches {
            let batch = MinuteBatch {
                minute: M0 + m,
                routes: slos.iter().map(|(n, good, bad)| route(&n.to_string(), *good, *bad, &[1 + *good])).collect(),
                slos: slos.iter().map(|(n, good, bad)| slo(&n.to_string(), *good, *bad)).collect(),
            };
            database.write_minute(&Encoded::from(batch), start_of(M0 + 500)).unwrap();
            rollup::step(&mut database.connection, ((M0 + m) / 60) as i64).unwrap();
        }
        let reader = Reader::open(dir.path()).unwrap();
        for (a, b) in windows {
            let (from, to) = (a.min(b), a.max(b));
            for n in 0..4_usize {
                let (mut counted, mut requests) = (tally(0, 0), 0);
                for (_, slos) in batches.iter().filter(|(m, _)| (from..to).contains(m)) {
                    for (_, good, bad) in slos.iter().filter(|(which, ..)| *which == n) {
                        counted += tally(*good, *bad);
                        requests += 1;
                    }
                }
                let (from, to) = ((M0 + from) * 60 + 7, (M0 + to) * 60 + 59);
                let name = n.to_string();
                prop_assert_eq!(reader.slo_over(&name, from, to).unwrap(), counted);
                let routed = reader.route_over(&name, from, to).unwrap();
                prop_assert_eq!((routed.good, routed.bad, routed.excluded), (counted.good, counted.bad, requests));
                prop_assert_eq!(reader.route_latency(&name, from, to).unwrap().count(), requests);
            }
        }
    }
}

#[test]
fn what_counts_something_else_begins_anew_and_the_old_counts_are_set_aside() {
    let dir = TempDir::new().unwrap();
    let of = |at: u64, counted: &str, good| MinuteBatch {
        minute: at,
        routes: Vec::new(),
        slos: vec![SloMinute {
            slo: "s".to_owned(),
            counted: counted.to_owned(),
            tally: tally(good, 0),
        }],
    };
    // Counted before it was kept of what; that is taken to be the first one's.
    write_run(&dir, M0, M0 + 3, [of(M0, "", 1), of(M0 + 1, "all", 2)]);
    let history = |now| {
        let opened = open_at(&dir, now);
        let told = (opened.history.slos.clone(), opened.history.origins.clone());
        opened.writer.close(PATIENCE).unwrap();
        told
    };
    let (slos, origins) = history(M0 + 3);
    assert_eq!(slos, [("s".to_owned(), tally(3, 0))]);
    assert_eq!(
        (origins[0].counted.as_str(), origins[0].since_secs),
        ("all", M0 * 60)
    );
    assert!(origins[0].is_of("all") && !origins[0].is_of("some"));
    write_run(
        &dir,
        M0 + 3,
        M0 + 6,
        [
            of(M0 + 3, "all", 4),
            of(M0 + 4, "some", 8),
            of(M0 + 5, "some", 16),
        ],
    );
    let (slos, origins) = history(M0 + 6);
    assert_eq!(slos, [("s".to_owned(), tally(24, 0))]);
    assert_eq!(
        (origins[0].counted.as_str(), origins[0].since_secs),
        ("some", (M0 + 4) * 60)
    );
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.slo_over("s", 0, u64::MAX).unwrap(), tally(24, 0));
    let told = |counted: &str| {
        let mut sum = 0;
        let each = |_, _, tally: Tally| sum += tally.good;
        reader
            .slo_history(("s", counted), 0, u64::MAX / 2, each)
            .unwrap();
        sum
    };
    assert_eq!((told("some"), told("all"), told("")), (24, 0, 24));
    let aside: i64 = raw(&dir)
        .query_row(
            "SELECT good FROM slo WHERE name LIKE 's#%' AND counted = 'all'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(aside, 7);
}
