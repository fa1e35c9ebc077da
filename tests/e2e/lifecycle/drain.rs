//! Stopping without cutting anyone off, and saying so when someone was.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use vestibule::store::Reader;

use super::harness::{Client, Home, PATIENCE, told, wait};
use super::origin::Origin;

fn config(origin: &Origin, drain: &str) -> String {
    format!(
        r#"
        [proxy]
        workers = 2
        drain = "{drain}"

        [access_log]
        output = "access.jsonl"

        [[listener]]
        name = "http"
        address = "127.0.0.1:0"

        [[upstream]]
        name = "web"
        endpoints = ["http://{}"]

        [[route]]
        id = "web"
        upstream = "web"
        websocket = true
        "#,
        origin.address
    )
}

/// An upgrade as a browser asks for it.
const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

#[test]
fn what_is_under_way_is_finished_before_the_process_ends() {
    let origin = Origin::start("web");
    let home = Home::new(&config(&origin, "50s"));
    let mut daemon = home.run();
    let address = daemon.address();

    let mut download = Client::connect(address);
    download.send("GET /drip/40/100", &[], b"").unwrap();
    assert_eq!(download.head().unwrap().status, 200);
    let mut upload = Client::connect(address);
    upload
        .send("POST /echo", &["Transfer-Encoding: chunked"], b"")
        .unwrap();
    upload.write(b"5\r\nhello\r\n").unwrap();
    let mut tunnel = Client::connect(address);
    tunnel.send("GET /socket", &UPGRADE, b"").unwrap();
    assert_eq!(tunnel.head().unwrap().status, 101);
    tunnel.write(b"before").unwrap();
    assert_eq!(tunnel.bytes(6).unwrap(), b"before");
    let idle = Client::connect(address);
    daemon.until("all to be under way", PATIENCE, |snapshot| {
        (snapshot["edge"]["in_flight"].as_u64()? >= 2
            && snapshot["edge"]["connections"].as_u64()? == 4)
            .then_some(())
    });

    daemon.signal(Signal::TERM);
    wait("new connections to be refused", PATIENCE, || {
        TcpStream::connect(address).is_err().then_some(())
    });
    assert_eq!(daemon.ask("GET /readyz").status, 503);
    assert_eq!(daemon.ask("GET /healthz").status, 200);
    drop(idle);

    upload.write(b"6\r\n world\r\n0\r\n\r\n").unwrap();
    let answer = upload.answer().unwrap();
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "hello world")
    );
    tunnel.write(b"after").unwrap();
    assert_eq!(tunnel.bytes(5).unwrap(), b"after");
    let mut received = 0;
    while let Some(chunk) = download.chunk().unwrap() {
        received += chunk.len();
    }
    assert_eq!(received, 40 * 1_024);
    drop(tunnel);
    // Well before the deadline: nothing is left to wait for.
    let finished = Instant::now();
    assert!(daemon.ended().success());
    assert!(finished.elapsed() < Duration::from_secs(20));
    let kept = Reader::open(&home.state()).unwrap();
    assert_eq!(kept.route_counts("web").unwrap().bad, 0);
    assert_eq!(kept.route_counts("web").unwrap().good, 3);
}

#[test]
fn what_is_not_done_by_the_deadline_is_cut_and_counted() {
    let origin = Origin::start("web");
    let home = Home::new(&config(&origin, "1s"));
    let mut daemon = home.run();
    let address = daemon.address();
    let mut download = Client::connect(address);
    download.send("GET /drip/100000/20", &[], b"").unwrap();
    assert_eq!(download.head().unwrap().status, 200);
    let mut waiting = Client::connect(address);
    waiting.send("GET /delay/600000", &[], b"").unwrap();
    daemon.until("both to be under way", PATIENCE, |snapshot| {
        (snapshot["edge"]["in_flight"] == 2).then_some(())
    });
    let asked = Instant::now();
    daemon.signal(Signal::TERM);
    assert!(daemon.ended().success());
    assert!(asked.elapsed() >= Duration::from_secs(1));
    assert!(asked.elapsed() < Duration::from_secs(20));
    // Neither looks complete to its client.
    assert!(waiting.answer().is_err());
    while let Ok(chunk) = download.chunk() {
        assert!(
            chunk.is_some(),
            "a cut download must not end as a whole one does"
        );
    }
    let log = fs::read_to_string(home.path("access.jsonl")).unwrap();
    let cut = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["error.type"] == "drained" && line["side"] == "edge");
    assert_eq!(cut.count(), 2);
    assert_eq!(
        Reader::open(&home.state())
            .unwrap()
            .route_counts("web")
            .unwrap()
            .bad,
        2
    );
    let daemon = home.run();
    assert!(told(
        &daemon.snapshot(),
        "process",
        "2 requests were cut off"
    ));
    assert!(daemon.stop().success());
}

#[test]
fn a_second_signal_does_not_wait() {
    let origin = Origin::start("web");
    let home = Home::new(&config(&origin, "50s"));
    let mut daemon = home.run();
    let mut waiting = Client::connect(daemon.address());
    waiting.send("GET /delay/600000", &[], b"").unwrap();
    daemon.until("it to be under way", PATIENCE, |snapshot| {
        (snapshot["edge"]["in_flight"] == 1).then_some(())
    });
    let asked = Instant::now();
    daemon.signal(Signal::TERM);
    wait("the drain to begin", PATIENCE, || {
        (daemon.ask("GET /readyz").status == 503).then_some(())
    });
    daemon.signal(Signal::INT);
    assert!(daemon.ended().success());
    assert!(asked.elapsed() < Duration::from_secs(30));
    assert_eq!(
        Reader::open(&home.state())
            .unwrap()
            .route_counts("web")
            .unwrap()
            .bad,
        1
    );
}
