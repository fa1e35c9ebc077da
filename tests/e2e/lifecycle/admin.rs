//! The admin API: who may ask, and what is answered.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use vestibule::catalog;

use super::harness::{Client, Daemon, Home, PATIENCE, fetched, of, skip, wait};
use super::origin::Origin;

fn start(origin: &Origin) -> (Home, Daemon) {
    let home = Home::new(&format!(
        r#"
        [admin]
        listen = "127.0.0.1:0"

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
        objective = "99.9%"

        [[slo]]
        id = "fast"
        route = "web"
        sli = "latency"
        under = "300ms"
        objective = "95%"
        "#,
        origin.address
    ));
    let daemon = home.run();
    (home, daemon)
}

fn loopback(daemon: &Daemon) -> SocketAddr {
    wait("the admin API's address", PATIENCE, || {
        let log = daemon.log();
        let (_, rest) = log.split_once("admin API listens on http://")?;
        rest.split_whitespace().next()?.parse().ok()
    })
}

#[test]
fn the_socket_is_for_its_owner_alone() {
    let origin = Origin::start("web");
    let (home, daemon) = start(&origin);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(daemon.socket()), 0o600);
    assert_eq!(mode(&home.state()), 0o700);
    assert_eq!(mode(&home.state().join("history.db")), 0o600);
    assert!(daemon.stop().success());
}

#[test]
fn over_tcp_only_programs_of_this_machine_are_answered() {
    let origin = Origin::start("web");
    let (_home, daemon) = start(&origin);
    let address = loopback(&daemon);
    let port = address.port();
    let ask = |line: &str, headers: &[&str], body: &[u8]| {
        Client::connect(address).ask(line, headers, body).unwrap()
    };
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        for host in [format!("Host: {host}"), format!("Host: {host}:{port}")] {
            assert_eq!(ask("GET /v1/snapshot", &[&host], b"").status, 200, "{host}");
        }
    }
    for host in [
        "evil.test",
        "localhost.evil.test",
        "127.0.0.1.evil.test",
        "[::2]",
        "10.0.0.1",
    ] {
        let header = format!("Host: {host}:{port}");
        for line in [
            "GET /v1/snapshot",
            "GET /metrics",
            "GET /",
            "POST /v1/deploys",
        ] {
            let refused = ask(line, &[&header], b"");
            assert_eq!(refused.status, 403, "{line} {host}");
            assert_eq!(
                refused.header("content-type"),
                Some("application/problem+json")
            );
        }
    }
    for origin in [
        "Origin: http://localhost",
        "Origin: null",
        "Origin: https://evil.test",
    ] {
        assert_eq!(
            ask("GET /v1/snapshot", &[origin], b"").status,
            403,
            "{origin}"
        );
    }
    // An image or a link of a page has no Origin, and only the browser says whose it is.
    for (site, status) in [
        ("cross-site", 403),
        ("same-site", 403),
        ("same-origin", 403),
        ("none", 200),
    ] {
        let header = format!("Sec-Fetch-Site: {site}");
        let probe = format!("GET /probe?target=http://127.0.0.1:{port}/healthz");
        for line in ["GET /v1/snapshot", &probe] {
            assert_eq!(ask(line, &[&header], b"").status, status, "{line} {site}");
        }
    }
    let deploy = br#"{"upstream":"web","version":"v1"}"#;
    for kind in [
        &[][..],
        &["Content-Type: text/plain"],
        &["Content-Type: application/x-www-form-urlencoded"],
    ] {
        assert_eq!(
            ask("POST /v1/deploys", kind, deploy).status,
            415,
            "{kind:?}"
        );
    }
    let json = ["Content-Type: application/json"];
    for (body, status) in [
        (&b"{"[..], 400),
        (br#"{"upstream":"web","version":""}"#, 400),
        (br#"{"upstream":"web","version":"v1","more":1}"#, 400),
        (br#"{"upstream":"other","version":"v1"}"#, 404),
        (&[b' '; 70_000], 413),
        (deploy, 201),
    ] {
        assert_eq!(ask("POST /v1/deploys", &json, body).status, status);
    }
    let deploys = daemon.snapshot();
    let deploys = deploys["events"].as_array().unwrap().iter();
    assert_eq!(deploys.filter(|event| event["kind"] == "deploy").count(), 1);
    assert!(daemon.stop().success());
}

#[test]
fn asking_changes_nothing() {
    let origin = Origin::start("web");
    let (_home, daemon) = start(&origin);
    let before = daemon.snapshot();
    for line in [
        "GET /",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
        "GET /v1/snapshot?routes=1",
        "GET /v1/events?limit=1",
    ] {
        assert_eq!(daemon.ask(line).status, 200, "{line}");
    }
    for line in [
        "GET /v1/deploys?upstream=web&version=v1",
        "POST /v1/snapshot",
        "DELETE /metrics",
    ] {
        let refused = daemon.ask(line);
        assert_eq!(refused.status, 405, "{line}");
        assert_eq!(
            refused.header("content-type"),
            Some("application/problem+json")
        );
    }
    for line in ["GET /v2/snapshot", "GET /v1/", "GET /../etc/passwd"] {
        let missing = daemon.ask(line);
        assert_eq!(missing.status, 404, "{line}");
        assert_eq!(
            missing.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(missing.json()["status"], 404);
    }
    let after = daemon.snapshot();
    for key in ["events", "routes_total", "config", "upstreams"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    assert_eq!(
        of(&after["routes"], "id", "none")["requests"],
        0,
        "admin requests are no traffic"
    );
    assert!(daemon.stop().success());
}

#[test]
fn a_stream_tells_every_second_until_its_reader_leaves() {
    let origin = Origin::start("web");
    let (_home, daemon) = start(&origin);
    let mut reader = Client::over(UnixStream::connect(daemon.socket()).unwrap());
    reader.send("GET /v1/stream?routes=1", &[], b"").unwrap();
    let head = reader.head().unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), Some("application/x-ndjson"));
    let mut last = 0;
    for _ in 0..3 {
        let line = reader.chunk().unwrap().expect("it goes on");
        assert_eq!(line.last(), Some(&b'\n'));
        let snapshot: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(snapshot["schema"], 1);
        assert_eq!(snapshot["routes"].as_array().unwrap().len(), 1);
        assert_eq!(snapshot["routes_total"], 2);
        let seq = snapshot["seq"].as_u64().unwrap();
        assert!(seq > last);
        last = seq;
    }
    // More readers than are served at a time may come and go without using up what there is.
    drop(reader);
    for _ in 0..100 {
        let mut reader = Client::over(UnixStream::connect(daemon.socket()).unwrap());
        reader.send("GET /v1/stream", &[], b"").unwrap();
        assert_eq!(reader.head().unwrap().status, 200);
    }
    assert!(daemon.stop().success());
}

#[test]
fn the_metrics_page_is_what_the_catalog_says_and_what_prometheus_accepts() {
    let origin = Origin::start("web");
    let (_home, daemon) = start(&origin);
    let mut client = Client::connect(daemon.address());
    for path in ["/", "/fail", "/"] {
        client.get(path).unwrap();
    }
    let page = daemon.metrics().page;
    let types: Vec<(&str, &str)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let catalogued: BTreeSet<(&str, &str)> = catalog::ALL
        .iter()
        .map(|series| (series.name, series.kind.as_str()))
        .collect();
    assert_eq!(types.len(), catalogued.len(), "each once");
    assert_eq!(types.into_iter().collect::<BTreeSet<_>>(), catalogued);
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let named = |known: &&&catalog::Series| {
            let part = name.strip_prefix(known.name);
            part.is_some_and(|part| ["", "_bucket", "_sum", "_count"].contains(&part))
        };
        let series = catalog::ALL.iter().find(named);
        let series = series.unwrap_or_else(|| panic!("not in the catalog: {line}"));
        let mut expected: BTreeSet<&str> = series.labels.iter().map(|label| label.name).collect();
        if name.ends_with("_bucket") {
            expected.insert("le");
        }
        let labels: BTreeSet<&str> = labels
            .trim_end_matches('}')
            .split("\",")
            .filter_map(|label| Some(label.split_once('=')?.0))
            .collect();
        assert_eq!(labels, expected, "{line}");
    }

    let newer = fetched("promtool-3");
    if newer.is_none() {
        skip("promtool-3 is not installed");
    }
    for tool in std::iter::once("promtool".into()).chain(newer) {
        assert_no_word_of_promtool(&tool, &page);
    }
    assert!(daemon.stop().success());
}

fn assert_no_word_of_promtool(tool: &Path, page: &str) {
    let promtool = Command::new(tool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        return skip("promtool is not installed");
    };
    promtool
        .stdin
        .take()
        .expect("it is piped")
        .write_all(page.as_bytes())
        .expect("it reads");
    let checked = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(
        checked.status.success() && said.is_empty(),
        "{}: {said}",
        tool.display()
    );
}
