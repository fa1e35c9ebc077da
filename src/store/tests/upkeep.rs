//! What is rolled up and what is let go.

use super::*;

#[test]
fn hours_of_latencies_outlive_their_minutes() {
    let dir = TempDir::new().unwrap();
    let mut config = Config::new(dir.path().to_owned());
    config.minute_latencies = Duration::from_secs(3_600);
    config.minutes = Duration::from_secs(3_600);
    let mut desk = Desk::new(config);
    for m in 0..200 {
        desk.write(MinuteBatch {
            minute: M0 + m,
            routes: vec![
                route("a", 1, 0, &[1_000 + m]),
                route("b", 1, 0, &[9_000]),
                route("idle", 0, 0, &[]),
            ],
            slos: vec![slo("s", 1, 1)],
        });
    }
    // A minute of an hour that has been rolled up since.
    desk.write(MinuteBatch {
        minute: M0 + 30,
        routes: vec![route("a", 1, 0, &[77])],
        slos: vec![slo("s", 5, 0)],
    });
    // Minutes M0+139 to M0+199.
    assert_eq!(desk.count("SELECT count(*) FROM latency_minute"), 61 * 2);
    assert_eq!(desk.count("SELECT count(*) FROM slo_minute"), 61);
    assert_eq!(desk.count("SELECT count(*) FROM latency_hour"), 3 * 2);
    let reader = Reader::open(dir.path()).unwrap();
    let mut expected = latency(&[77]);
    for m in 0..200 {
        expected.record(1_000 + m);
    }
    let span = |from: u64, to: u64| {
        reader
            .route_latency("a", (M0 + from) * 60, (M0 + to) * 60)
            .unwrap()
    };
    assert_eq!(span(0, 200), expected);
    assert_eq!(span(60, 120).count(), 60);
    assert_eq!(span(180, 200).count(), 20);
    assert_eq!(
        span(25, 120).count(),
        121,
        "minutes that have gone widen to their hour"
    );
    assert_eq!(
        reader.slo_over("s", M0 * 60, (M0 + 200) * 60).unwrap(),
        tally(205, 200)
    );
    assert_eq!(
        reader.slo_over("s", M0 * 60, (M0 + 60) * 60).unwrap(),
        tally(65, 60)
    );
    assert_eq!(
        reader
            .slo_over("s", (M0 + 60) * 60, (M0 + 190) * 60)
            .unwrap(),
        tally(130, 130)
    );
}

#[test]
fn a_window_that_reaches_beyond_the_retention_sums_what_is_left() {
    let dir = TempDir::new().unwrap();
    let mut config = Config::new(dir.path().to_owned());
    config.minutes = Duration::from_secs(3_600);
    config.hours = Duration::from_secs(2 * 3_600);
    let mut desk = Desk::new(config);
    for m in 0..360 {
        desk.write(minute(M0 + m, 1, 0));
    }
    let reader = Reader::open(dir.path()).unwrap();
    let left = reader
        .slo_over("s", (M0 + 1) * 60, (M0 + 360) * 60)
        .unwrap();
    assert_eq!(left, tally(180, 0), "three hours of rows are left");
    assert_eq!(reader.route_counts("r").unwrap().good, 360);
}

#[test]
fn one_minute_of_a_wrong_clock_deletes_no_more_than_an_hour() {
    let dir = TempDir::new().unwrap();
    let mut desk = Desk::new(Config::new(dir.path().to_owned()));
    for m in 0..200 {
        desk.write(minute(M0 + m, 1, 0));
    }
    let in_ten_years = M0 + 10 * 365 * 1_440;
    desk.write(minute(in_ten_years, 1, 0));
    desk.write(minute(M0 + 200, 1, 0));
    assert_eq!(desk.count("SELECT count(*) FROM minute"), 200 + 2 - 60);
    let reader = Reader::open(dir.path()).unwrap();
    let recent = reader
        .slo_over("s", (M0 + 100) * 60, (M0 + 201) * 60)
        .unwrap();
    assert_eq!(recent, tally(101, 0));
}

#[test]
fn the_byte_budget_takes_the_oldest_latencies_and_never_counters() {
    let dir = TempDir::new().unwrap();
    let mut config = Config::new(dir.path().to_owned());
    config.max_bytes = 400 << 10;
    let mut desk = Desk::new(config);
    let spread: Vec<u64> = (0..400).map(|n| 1_000 + n * n * 37).collect();
    for m in 0..360 {
        desk.write(MinuteBatch {
            minute: M0 + m,
            routes: (0..4)
                .map(|n| route(&format!("r{n}"), 400, 0, &spread))
                .collect(),
            slos: vec![slo("s", 1, 0)],
        });
    }
    let pages =
        desk.count("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size");
    let minutes = desk.count("SELECT count(*) FROM latency_minute");
    assert_eq!(desk.count("SELECT count(*) FROM slo_minute"), 360);
    assert_eq!(desk.count("SELECT count(*) FROM route_minute"), 4 * 360);
    assert_eq!(desk.count("SELECT count(*) FROM latency_hour"), 4 * 5);
    assert!(minutes >= 4 * 60, "the hour under way stays, {minutes}");
    assert!(minutes < 4 * 360, "{minutes}");
    assert!(pages <= 400 << 10, "{pages} bytes");
    assert!(!desk.budget.exceeded);

    desk.config.max_bytes = 1;
    desk.write(minute(M0 + 360, 1, 0));
    assert_eq!(desk.count("SELECT count(*) FROM latency_minute"), 0);
    assert_eq!(desk.count("SELECT count(*) FROM latency_hour"), 0);
    assert_eq!(desk.count("SELECT count(*) FROM slo_minute"), 361);
    assert!(desk.budget.exceeded);
    assert_eq!(
        desk.budget.given_up_before,
        Some(start_of(M0 + 360)),
        "status says from when on latencies are left"
    );
}
