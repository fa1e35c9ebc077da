//! What counting one observation costs, and what writing its access line costs.
//!
//! `cargo bench --bench record` prints nanoseconds per observation: the best and the median of many batches, since
//! everything else on the machine can only add to them.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures time and prints it"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vestibule::export::accesslog::write_line;
use vestibule::model::{
    AccessRecord, Attempt, EndpointKey, Observation, Outcome, RouteKey, Sli, SloKey, Source,
    Timestamp,
};
use vestibule::sli::recorder::{Recorder, Rules};

const BATCHES: usize = 400;
/// One batch is long against the clock's own cost and short against a time slice.
const BATCH: usize = 8_192;
/// Two on availability, two on latency.
const SLOS_PER_ROUTE: u32 = 4;

fn main() {
    println!(
        "ns per observation: good, four phases, {SLOS_PER_ROUTE} SLOs; {BATCHES} batches of {BATCH}"
    );
    for routes in [1, 16, 256] {
        let mut recorder = Recorder::new(rules(routes));
        let observations = observations(routes);
        let spread = batches(|| {
            for observation in &observations {
                recorder.record(black_box(observation));
            }
        });
        println!("record, {routes} routes: {spread}");
    }
    let observations = observations(1);
    let mut lines = Vec::with_capacity(BATCH * 1_024);
    let spread = batches(|| {
        lines.clear();
        for observation in &observations {
            write_line(&mut lines, &access_record(black_box(observation)));
        }
    });
    println!("access line: {spread}; {} bytes", lines.len() / BATCH);
}

fn rules(routes: u32) -> Arc<Rules> {
    let mut rules = Vec::new();
    for route in 0..routes {
        for n in 0..SLOS_PER_ROUTE {
            let under = Duration::from_millis(u64::from(50 * n));
            let sli = if n.is_multiple_of(2) {
                Sli::AVAILABILITY
            } else {
                Sli::Latency { under }
            };
            rules.push((RouteKey(route), SloKey(route * SLOS_PER_ROUTE + n), sli));
        }
    }
    Arc::new(Rules::new(rules))
}

/// Durations as traffic has them, most short and some long, in no order a branch predictor could learn.
fn observations(routes: u32) -> Vec<Observation> {
    let mut state = 1_u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let observation = |_| {
        let wait = 200 + (1 << (random() % 17)) + random() % 100;
        let (edge, connect, body) = (5 + random() % 20, 100 + random() % 900, 20 + random() % 200);
        Observation {
            route: RouteKey((random() % u64::from(routes)) as u32),
            endpoint: Some(EndpointKey((random() % 3) as u32)),
            source: Source::Proxy,
            outcome: Outcome::Good,
            status: Some(200),
            duration_us: edge + connect + wait + body,
            phases: [edge, connect, wait, body].map(|micros| Some(micros as u32)),
            attempts: 1,
            bytes_in: 0,
            bytes_out: 1_024,
        }
    };
    (0..BATCH).map(observation).collect()
}

const ATTEMPT: Attempt<&str> = Attempt {
    endpoint: "http://10.0.0.21:8080",
    ordinal: 0,
    began_us: 12,
    ended_us: None,
    status: Some(200),
    fault: None,
};

fn access_record(observation: &Observation) -> AccessRecord<'_> {
    AccessRecord {
        at: Timestamp::from_millis(1_795_420_960_123 + observation.duration_us / 64),
        observation,
        route: "checkout",
        endpoint: ATTEMPT.endpoint,
        attempts: &[ATTEMPT],
        client: [192, 0, 2, 7].into(),
        scheme: "https",
        protocol: "HTTP/1.1",
        method: "GET",
        host: b"shop.example",
        path: "/checkout/cart/items",
        user_agent: b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        request_id: "00c0ffee00c0ffee00c0ffee00c0ffee",
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
        span_id: "00f067aa0ba902b7",
        parent_id: "",
        sampled: true,
    }
}

/// Runs `batch` many times; the text says nanoseconds per item.
fn batches(mut batch: impl FnMut()) -> String {
    let mut times: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let began = Instant::now();
            batch();
            began.elapsed().as_nanos() as f64 / BATCH as f64
        })
        .collect();
    times.sort_unstable_by(f64::total_cmp);
    format!("best {:.1}, median {:.1}", times[0], times[times.len() / 2])
}
