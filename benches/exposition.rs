//! What rendering the metrics page costs with 1,000 routes, in each of its formats. `cargo bench --bench exposition` prints
//! figures and judges nothing.
//!
//! Every route has two SLOs, an upstream of its own, durations of all kinds and exemplars: no page is larger.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures time and prints it"
)]

#[path = "../tests/screens/fixture.rs"]
mod fixture;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use vestibule::export::exposition::{Format, render};
use vestibule::export::otlp::Measured;
use vestibule::model::{EndpointTally, Exemplar, Exponential, Latency, Tally, Timestamp};
use vestibule::snapshot::RouteTotals;

const ROUTES: usize = 1_000;
const PAGES: usize = 200;

fn main() {
    let measured = measured();
    println!("{ROUTES} routes with two SLOs each, {PAGES} pages");
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        let size = render(format, &measured).len();
        let mut times: Vec<f64> = (0..PAGES)
            .map(|_| {
                let began = Instant::now();
                black_box(render(format, black_box(&measured)));
                began.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_unstable_by(f64::total_cmp);
        println!(
            "{format:?}: best {:.2} ms, p50 {:.2} ms, p99 {:.2} ms; {size} bytes",
            times[0],
            times[PAGES / 2],
            times[PAGES * 99 / 100]
        );
    }
}

fn measured() -> Measured {
    let mut snapshot = fixture::crowd(ROUTES);
    let (slo, upstream) = (snapshot.slos[0].clone(), snapshot.upstreams[0].clone());
    snapshot.upstreams.clear();
    let (mut totals, mut exponential) = (Vec::new(), Vec::new());
    snapshot.slos.clear();
    for (salt, route) in (0_u64..).zip(&mut snapshot.routes) {
        // Distinct, and as long as people's are.
        route.id = format!("storefront-{salt}");
        route.upstream = Some(route.id.clone());
        let (durations, counts) = durations(salt);
        totals.push((route.id.clone(), durations));
        exponential.push((route.id.clone(), counts));
        let endpoint = format!("http://10.0.{}.{}:8080", salt / 250, salt % 250);
        let tally = EndpointTally {
            good: salt * 997,
            bad: salt,
            connect_failures: salt / 7,
            ..EndpointTally::default()
        };
        let named = (route.id.clone(), endpoint.clone(), tally);
        snapshot.totals.endpoints.push(named);
        let mut view = upstream.clone();
        view.name.clone_from(&route.id);
        view.endpoints.truncate(1);
        view.endpoints[0].address = endpoint;
        snapshot.upstreams.push(view);
        for kind in ["availability", "latency"] {
            let mut slo = slo.clone();
            slo.id = format!("{}-{kind}", route.id);
            slo.route.clone_from(&route.id);
            let (good, bad) = (salt * 12_345, salt * 3);
            let named = (slo.id.clone(), Tally { good, bad });
            snapshot.totals.slos.push(named);
            snapshot.slos.push(slo);
        }
    }
    snapshot.totals.routes = totals;
    Measured {
        snapshot: Arc::new(snapshot),
        durations: exponential,
    }
}

/// What a route's counters are after a while, and its durations in exponential buckets.
fn durations(salt: u64) -> (RouteTotals, Exponential) {
    let mut totals = RouteTotals {
        classes: [1, 0, 123_456, 789, 1_234, salt],
        duration_us: 9_876_543_210 + salt,
        bytes_in: 123_456_789,
        bytes_out: 98_765_432_100 + salt,
        retries: salt,
        ..RouteTotals::default()
    };
    totals.durations.know(300_000);
    let mut latency = Latency::new();
    for n in 0..2_000_u64 {
        // From below a millisecond to several seconds, most of them short.
        let micros = 400 + (n * n * n * (salt % 7 + 1)) % 4_000_000 / (1 + n % 13);
        totals.durations.record(micros);
        latency.record(micros);
        let bucket = totals.durations.bucket(micros);
        let is_new = totals
            .exemplars
            .iter()
            .all(|known: &Exemplar| totals.durations.bucket(known.duration_us) != bucket);
        if is_new {
            totals.exemplars.push(Exemplar {
                at: Timestamp::from_millis(1_795_420_960_000 + n),
                duration_us: micros,
                trace_id: u128::from(n) << 64 | u128::from(salt),
                span_id: n,
            });
        }
    }
    let mut exponential = Exponential::default();
    exponential.add(&latency);
    (totals, exponential)
}
