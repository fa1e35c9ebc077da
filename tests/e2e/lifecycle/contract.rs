//! `vestibule status --json`: what others script against.

use std::time::Duration;

use serde_json::{Map, Value};

use super::harness::{Client, Home, PATIENCE, of, stdout};
use super::origin::Origin;

#[test]
fn a_url_alone_gives_every_field_that_is_promised() {
    let origin = Origin::start("web");
    let home = Home::new("");
    let url = format!("http://{}", origin.address);
    let daemon = home.run_with(
        &[&url, "--listen", "127.0.0.1:0"],
        &home.state().join("vestibule.sock"),
    );
    // Nobody has asked for anything: nothing is known, and nothing is not a number.
    let status = home.vestibule(&["status", "--json"]);
    assert_eq!(status.status.code(), Some(3), "{}", stdout(&status));
    let snapshot = parse(&stdout(&status));
    assert_promised(&snapshot);
    assert_eq!(snapshot["verdict"]["severity"], "unknown");
    for slo in snapshot["slos"].as_array().unwrap() {
        assert_eq!(slo["remaining_ratio"], Value::Null);
        assert_eq!(slo["state"], "no_data");
    }

    let routes: Vec<&str> = names(&snapshot["routes"], "id");
    assert!(routes.contains(&"default") && routes.contains(&"none") && routes.len() == 2);
    assert_eq!(names(&snapshot["slos"], "id").len(), 2);
    for (id, sli, under_us, ppm) in [
        ("default-availability", "availability", Value::Null, 999_000),
        ("default-latency", "latency", Value::from(300_000), 950_000),
    ] {
        let slo = of(&snapshot["slos"], "id", id);
        assert_eq!(slo["sli"], sli);
        assert_eq!(slo["under_us"], under_us);
        assert_eq!(slo["objective_ppm"], ppm);
        assert_eq!(slo["window"], "30d");
        assert_eq!(slo["route"], "default");
    }

    let mut client = Client::connect(daemon.address());
    for _ in 0..20 {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    let snapshot = daemon.until("the requests", PATIENCE, |snapshot| {
        let route = of(&snapshot["routes"], "id", "default");
        (route["good"] == 20).then(|| snapshot.clone())
    });
    assert_promised(&snapshot);
    let route = of(&snapshot["routes"], "id", "default");
    for key in ["p50_us", "p95_us", "p99_us"] {
        assert!(route[key].as_u64().unwrap() > 0, "{route:#}");
    }
    let slo = of(&snapshot["slos"], "id", "default-availability");
    assert_eq!(slo["remaining_ratio"], 1.0);
    assert_eq!(slo["burn"]["5m"], 0.0);
    assert!(daemon.stop().success());
}

#[test]
fn the_exit_code_says_how_things_stand() {
    let origin = Origin::start("web");
    let home = Home::new(&format!(
        r#"
        [[listener]]
        name = "http"
        address = "127.0.0.1:0"

        [[upstream]]
        name = "web"
        endpoints = ["http://{}"]

        [[route]]
        id = "web"
        upstream = "web"

        [[slo]]
        id = "available"
        route = "web"
        sli = "availability"
        objective = "99%"
        policy = "quick"

        # So short that this test sees every word of it.
        [[policy]]
        name = "quick"

        [[policy.row]]
        severity = "page"
        tier = "fast"
        long = "20s"
        short = "10s"
        factor = 2.0
        "#,
        origin.address
    ));
    let status = |expected: i32, word: &str| {
        let plain = home.vestibule(&["status"]);
        assert_eq!(plain.status.code(), Some(expected), "{}", stdout(&plain));
        assert!(stdout(&plain).starts_with(word), "{}", stdout(&plain));
    };

    let nobody = home.vestibule(&["status"]);
    assert_eq!(nobody.status.code(), Some(69));
    assert!(stdout(&nobody).is_empty());

    let daemon = home.run();
    status(3, "UNKNOWN");
    let mut client = Client::connect(daemon.address());
    // Half of the long window is enough history.
    daemon.until("all well", PATIENCE, |snapshot| {
        client.get("/").expect("it is answered");
        (snapshot["verdict"]["severity"] == "ok").then_some(())
    });
    status(0, "OK");

    origin.set_broken(true);
    for _ in 0..30 {
        assert_eq!(client.get("/").unwrap().status, 500);
    }
    daemon.until("an incident", PATIENCE, |snapshot| {
        client.get("/").expect("it is answered");
        (snapshot["verdict"]["severity"] == "crit").then_some(())
    });
    status(2, "CRIT");
    let incident = parse(&stdout(&home.vestibule(&["status", "--json"])));
    assert_promised(&incident);
    assert_eq!(incident["alerts"][0]["state"], "firing");
    let metrics = daemon.metrics();
    let alert = [
        ("slo", "available"),
        ("severity", "page"),
        ("state", "firing"),
    ];
    assert_eq!(metrics.count("vestibule_alert_state", &alert), 1);

    // A configuration that is refused is something to look at, and nothing to wake for.
    origin.set_broken(false);
    home.configure("nonsense");
    daemon.signal(rustix::process::Signal::HUP);
    daemon.until(
        "the incident to pass",
        Duration::from_secs(150),
        |snapshot| {
            client.get("/").expect("it is answered");
            (snapshot["verdict"]["severity"] == "warn").then_some(())
        },
    );
    status(1, "WARN");
    let resolved = daemon.snapshot();
    assert_promised(&resolved);
    assert_eq!(resolved["alerts"][0]["state"], "resolved");
    assert!(daemon.stop().success());
}

fn parse(text: &str) -> Value {
    // JSON has no way to write them; a writer that does would fail here or be caught as text.
    let value = serde_json::from_str(text).expect("it is JSON");
    for word in ["NaN", "Infinity", "nan", "inf,", "inf}"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
    value
}

fn names<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    let list = list.as_array().expect("it is a list");
    list.iter()
        .filter_map(|entry| entry[key].as_str())
        .collect()
}

/// Every field that is promised is there, of its type; `null` only where a number may not be known.
fn assert_promised(snapshot: &Value) {
    assert_eq!(snapshot["schema"], 1);
    let verdict = fields(&snapshot["verdict"]);
    assert!(["ok", "unknown", "warn", "crit"].contains(&text(verdict, "severity")));
    text(verdict, "side");
    assert!(!text(verdict, "text").is_empty());
    assert!(verdict["route"].is_string() || verdict["route"].is_null());
    assert!(verdict["onset"].is_string() || verdict["onset"].is_null());
    for route in list(snapshot, "routes") {
        text(route, "id");
        let sum: u64 = ["good", "bad", "excluded"]
            .map(|key| whole(route, key))
            .iter()
            .sum();
        assert_eq!(sum, whole(route, "requests"));
        for key in ["p50_us", "p95_us", "p99_us"] {
            assert!(route[key].is_u64() || route[key].is_null(), "{route:?}");
        }
    }
    for slo in list(snapshot, "slos") {
        for key in ["id", "route", "window", "state"] {
            text(slo, key);
        }
        for key in ["objective_ppm", "good", "bad"] {
            whole(slo, key);
        }
        let remaining = &slo["remaining_ratio"];
        assert!(remaining.is_f64() || remaining.is_null(), "{slo:?}");
        let burn = fields(&slo["burn"]);
        for window in ["5m", "1h", "6h", "3d"] {
            assert!(burn[window].is_f64() || burn[window].is_null(), "{slo:?}");
        }
    }
    for alert in list(snapshot, "alerts") {
        for key in ["id", "kind", "about", "slo", "severity", "state", "since"] {
            text(alert, key);
        }
        // Only a budget burns by tiers.
        assert_eq!(
            alert["tier"].is_string(),
            alert["kind"] == "burn",
            "{alert:?}"
        );
    }
    assert!(!list(snapshot, "events").is_empty(), "at least the start");
    for event in list(snapshot, "events") {
        for key in ["at", "kind", "text"] {
            text(event, key);
        }
    }
}

fn fields(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("it has fields")
}

fn list<'a>(snapshot: &'a Value, key: &str) -> Vec<&'a Map<String, Value>> {
    let list = snapshot[key].as_array().expect("it is a list");
    list.iter().map(fields).collect()
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> &'a str {
    let value = object.get(key).and_then(Value::as_str);
    value.unwrap_or_else(|| panic!("{key} is a text in {object:?}"))
}

fn whole(object: &Map<String, Value>, key: &str) -> u64 {
    let value = object.get(key).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("{key} is a whole number in {object:?}"))
}
