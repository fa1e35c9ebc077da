//! What leaves by OTLP and on the metrics page, read by receivers that take nothing on trust.

#![allow(
    clippy::unwrap_used,
    reason = "a receiver that cannot do its part ends the test"
)]

mod metrics;
mod page;
mod peers;
mod receiver;
mod requests;
mod trouble;

use crate::harness::{Client, Daemon, Home, PATIENCE};
use crate::lifecycle::origin::Origin;

/// One route with two SLOs to `origin`, exported as `otlp` says.
fn home(origin: &Origin, otlp: &str) -> Home {
    home_of(&[&format!("http://{}", origin.address)], otlp)
}

/// The same to `endpoints`.
fn home_of(endpoints: &[&str], otlp: &str) -> Home {
    Home::new(&format!(
        r#"
        [instance]
        name = "edge-7"

        [proxy]
        workers = 2

        [[listener]]
        name = "http"
        address = "127.0.0.1:0"

        [[upstream]]
        name = "shop"
        endpoints = {endpoints:?}

        [[route]]
        id = "shop"
        hosts = ["localhost"]
        path = "/"
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
        under = "300ms"
        objective = "90%"

        {otlp}
        "#
    ))
}

/// So many good requests and so many bad ones.
fn load(daemon: &Daemon, good: usize, bad: usize) {
    let mut client = Client::connect(daemon.address());
    for (path, count, status) in [("/", good, 200), ("/fail", bad, 500)] {
        for _ in 0..count {
            assert_eq!(client.get(path).expect("an answer").status, status);
        }
    }
}

/// Good, bad and excluded requests of route `shop`, as the snapshot has them.
fn counted(daemon: &Daemon) -> [u64; 3] {
    let snapshot = daemon.snapshot();
    let routes = snapshot["routes"].as_array().expect("a list");
    let shop = routes
        .iter()
        .find(|route| route["id"] == "shop")
        .expect("it is there");
    ["good", "bad", "excluded"].map(|outcome| shop[outcome].as_u64().expect("a number"))
}
