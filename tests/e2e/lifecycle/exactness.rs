//! Counting to the last request: live, on the metrics page, on disk and after a restart.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use vestibule::model::{Counts, Tally};
use vestibule::store::Reader;

use super::harness::{Client, Daemon, Home, PATIENCE, of, stdout};
use super::origin::Origin;

/// The promise is 100,000 requests of which 137 fail.
const REQUESTS: usize = 100_000;
const FAILING: usize = 137;
/// Connections they come over.
const CONNECTIONS: usize = 8;
/// Good, but slower than the latency SLO wants. Far from its threshold on both sides, so that a busy machine cannot
/// make a quick one late.
const SLOW: usize = 16;
const SLOW_MS: u64 = 6_000;
/// Clients that leave before they are answered.
const LEAVING: usize = 23;
/// Requests with a body that is too large for the route.
const TOO_LARGE: usize = 20;
/// Requests that are none: counted under no route.
const MALFORMED: usize = 11;
/// Requests that no route takes.
const UNROUTED: usize = 7;

const GOOD: u64 = (REQUESTS - FAILING + SLOW) as u64;
const EXCLUDED: u64 = (LEAVING + TOO_LARGE) as u64;

#[test]
fn every_request_is_counted_once_and_outlives_the_process() {
    let origin = Origin::start("shop");
    let home = Home::new(&format!(
        r#"
        [proxy]
        workers = 2

        [access_log]
        output = "access.jsonl"

        [[listener]]
        name = "http"
        address = "127.0.0.1:0"

        [[upstream]]
        name = "shop"
        endpoints = ["http://{}"]

        [[route]]
        id = "shop"
        hosts = ["localhost"]
        upstream = "shop"
        max_body = "1KiB"

        [[slo]]
        id = "available"
        route = "shop"
        sli = "availability"
        objective = "99.9%"

        [[slo]]
        id = "fast"
        route = "shop"
        sli = "latency"
        under = "3s"
        objective = "95%"
        "#,
        origin.address
    ));
    let daemon = home.run();
    send(daemon.address());
    daemon.until("all requests to be counted", PATIENCE, |snapshot| {
        let counted = |route| of(&snapshot["routes"], "id", route)["requests"].as_u64();
        let (shop, none) = (counted("shop")?, counted("none")?);
        (shop >= GOOD + FAILING as u64 + EXCLUDED && none >= (MALFORMED + UNROUTED) as u64)
            .then_some(())
    });
    assert_counts(&home, &daemon);
    let metrics = daemon.metrics();
    let fault = |route, fault| {
        metrics.count(
            "vestibule_faults_total",
            &[("route", route), ("fault", fault)],
        )
    };
    assert_eq!(fault("shop", "upstream_5xx"), FAILING as u64);
    assert_eq!(fault("shop", "client_disconnect"), LEAVING as u64);
    assert_eq!(fault("shop", "body_too_large"), TOO_LARGE as u64);
    assert_eq!(fault("none", "request_invalid"), MALFORMED as u64);
    assert_eq!(fault("none", "no_route"), UNROUTED as u64);
    let histogram = "vestibule_request_duration_seconds_count";
    assert_eq!(
        metrics.count(histogram, &[("route", "shop")]),
        GOOD + FAILING as u64
    );
    let percentiles = route(&home, "shop");
    assert!(daemon.stop().success());

    // The log was flushed at the end, and holds what the percentiles were made of.
    let log = fs::read_to_string(home.path("access.jsonl")).unwrap();
    assert_percentiles(&log, &percentiles);

    let reader = Reader::open(&home.state()).unwrap();
    assert_eq!(
        reader.route_counts("shop").unwrap(),
        Counts {
            good: GOOD,
            bad: FAILING as u64,
            excluded: EXCLUDED
        }
    );
    assert_eq!(
        reader.route_counts("none").unwrap().excluded,
        (MALFORMED + UNROUTED) as u64
    );
    let ever = |slo| reader.slo_over(slo, 0, u64::MAX / 2).unwrap();
    assert_eq!(
        ever("available"),
        Tally {
            good: GOOD,
            bad: FAILING as u64
        }
    );
    assert_eq!(
        ever("fast"),
        Tally {
            good: GOOD - SLOW as u64,
            bad: SLOW as u64
        }
    );
    drop(reader);

    let daemon = home.run();
    assert_counts(&home, &daemon);
    assert_percentiles(&log, &route(&home, "shop"));
    // And it goes on from there.
    assert_eq!(
        Client::connect(daemon.address()).get("/").unwrap().status,
        200
    );
    daemon.until("one more", PATIENCE, |snapshot| {
        let good = of(&snapshot["routes"], "id", "shop")["good"].as_u64()?;
        (good == GOOD + 1).then_some(())
    });
    assert!(daemon.stop().success());
}

/// Sends everything; what each request was answered is checked here already.
fn send(address: SocketAddr) {
    let steady = (0..CONNECTIONS).map(|connection| {
        thread::spawn(move || {
            let mut client = Client::connect(address);
            for request in (connection..REQUESTS).step_by(CONNECTIONS) {
                // Spread evenly over time and connections.
                let fails = request * FAILING / REQUESTS != (request + 1) * FAILING / REQUESTS;
                let (path, status) = if fails { ("/fail", 500) } else { ("/", 200) };
                let answer = client.get(path).expect("every request is answered");
                assert_eq!(answer.status, status);
            }
        })
    });
    let slow = (0..SLOW).map(|_| {
        thread::spawn(move || {
            let answer = Client::connect(address).get(&format!("/delay/{SLOW_MS}"));
            assert_eq!(answer.expect("it is answered").status, 200);
        })
    });
    let odd = thread::spawn(move || {
        for _ in 0..LEAVING {
            let mut client = Client::connect(address);
            client
                .send("GET /delay/60000", &[], b"")
                .expect("it is connected");
            // Its request is under way when it leaves, or is not read before it has left: the same either way.
        }
        for _ in 0..TOO_LARGE {
            let answer = Client::connect(address).ask("POST /echo", &[], &[b'x'; 1_025]);
            assert_eq!(answer.expect("it is answered").status, 413);
        }
        for _ in 0..MALFORMED {
            let mut client = Client::connect(address);
            client
                .write(b"GET / HTTP/1.1\r\n\r\n")
                .expect("it is connected");
            assert_eq!(client.answer().expect("it is answered").status, 400);
        }
        for _ in 0..UNROUTED {
            let answer = Client::connect(address).ask("GET /", &["Host: elsewhere.test"], b"");
            assert_eq!(answer.expect("it is answered").status, 404);
        }
    });
    for thread in steady.chain(slow).chain([odd]).collect::<Vec<_>>() {
        thread.join().expect("every answer is as it should be");
    }
}

/// What `vestibule status --json` says of a route.
fn route(home: &Home, id: &str) -> Value {
    let status = home.vestibule(&["status", "--json"]);
    let snapshot: Value = serde_json::from_str(&stdout(&status)).expect("it is JSON");
    of(&snapshot["routes"], "id", id).clone()
}

fn assert_counts(home: &Home, daemon: &Daemon) {
    let status = home.vestibule(&["status", "--json"]);
    let snapshot: Value = serde_json::from_str(&stdout(&status)).expect("it is JSON");
    let metrics = daemon.metrics();
    for (route, good, bad, excluded) in [
        ("shop", GOOD, FAILING as u64, EXCLUDED),
        ("none", 0, 0, (MALFORMED + UNROUTED) as u64),
    ] {
        let view = of(&snapshot["routes"], "id", route);
        for (outcome, count) in [("good", good), ("bad", bad), ("excluded", excluded)] {
            assert_eq!(view[outcome], count, "{route} {outcome}: {view:#}");
            let labels = [("route", route), ("outcome", outcome)];
            assert_eq!(
                metrics.count("vestibule_requests_total", &labels),
                count,
                "{route} {outcome}"
            );
        }
        assert_eq!(view["requests"], good + bad + excluded);
    }
    for (slo, good, bad) in [
        ("available", GOOD, FAILING as u64),
        ("fast", GOOD - SLOW as u64, SLOW as u64),
    ] {
        let view = of(&snapshot["slos"], "id", slo);
        for (result, count) in [("good", good), ("bad", bad)] {
            assert_eq!(view[result], count, "{slo} {result}: {view:#}");
            let labels = [("slo", slo), ("result", result)];
            assert_eq!(metrics.count("vestibule_slo_events_total", &labels), count);
        }
    }
}

/// Percentiles against the sorted raw durations of the same requests. They are the very durations that were recorded,
/// so there is no noise of measuring between them: what remains is the histogram's own 1 %.
fn assert_percentiles(log: &str, route: &Value) {
    let mut durations: Vec<u64> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"))
        .filter(|line| line["route"] == "shop" && line["outcome"] != "excluded")
        .map(|line| line["duration_us"].as_u64().expect("a line has a duration"))
        .collect();
    assert_eq!(durations.len(), REQUESTS + SLOW);
    durations.sort_unstable();
    let late = Duration::from_millis(SLOW_MS / 2).as_micros() as u64;
    assert_eq!(
        durations.iter().filter(|micros| **micros > late).count(),
        SLOW,
        "the machine was too busy for this test"
    );
    for (percentile, key) in [(50, "p50_us"), (95, "p95_us"), (99, "p99_us")] {
        let rank = (durations.len() * percentile).div_ceil(100);
        let (raw, told) = (
            durations[rank - 1],
            route[key].as_u64().expect("there is one"),
        );
        assert!(
            told.abs_diff(raw) * 100 <= raw,
            "p{percentile}: {told} told, {raw} measured"
        );
    }
}
