//! Whether a lookup's cost grows with the number of routes.
//!
//! `cargo bench --bench route` looks up the same requests in tables of 10 and of 10,000 routes, turn about, and prints
//! the ratio. Asking the large table for the same ten routes shows the algorithm; asking it for all of them in no order
//! adds what a processor's caches do not hold.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench measures time, prints it, and may die of anything unexpected"
)]

use std::hint::black_box;
use std::time::Instant;

use vestibule::routing::matcher::{Listeners, Matcher, Request, Rule};
use vestibule::routing::pattern::{HostPattern, PathPattern};

const FEW: usize = 10;
const MANY: usize = 10_000;
const BATCHES: usize = 300;
const BATCH: usize = 10_000;
/// As in a large installation: many hosts, each with some paths.
const PATHS_PER_HOST: usize = 5;

fn main() {
    let (few, many) = (matcher(FEW), matcher(MANY));
    let (same, all) = (requests(FEW), requests(MANY));
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..BATCHES {
        times[0].push(batch(&few, &same));
        times[1].push(batch(&many, &same));
        times[2].push(batch(&many, &all));
    }
    let ratio = |others: &[f64]| {
        let mut ratios: Vec<f64> = times[0]
            .iter()
            .zip(others)
            .map(|(few, many)| many / few)
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    };
    let (same_ratio, all_ratio) = (ratio(&times[1]), ratio(&times[2]));
    println!("ns per lookup, {BATCHES} batches of {BATCH}");
    for (what, times, ratio) in [
        ("10 routes", &times[0], 1.0),
        (
            "10,000 routes, the same ten asked for",
            &times[1],
            same_ratio,
        ),
        ("10,000 routes, all asked for", &times[2], all_ratio),
    ] {
        let mut times = times.clone();
        times.sort_unstable_by(f64::total_cmp);
        println!(
            "{what}: best {:.1}, median {:.1}, median ratio {ratio:.2}",
            times[0],
            times[times.len() / 2]
        );
    }
}

fn matcher(routes: usize) -> Matcher {
    let rule = |n: usize| Rule {
        hosts: vec![HostPattern::Exact(host(n))],
        path: PathPattern::try_prefix(&prefix(n)).unwrap(),
        methods: Vec::new(),
        listeners: Listeners::ALL,
        headers: Vec::new(),
        query: Vec::new(),
    };
    Matcher::new(&(0..routes).map(rule).collect::<Vec<_>>())
}

fn host(route: usize) -> String {
    format!("tenant-{}.shop.example", route / PATHS_PER_HOST)
}

fn prefix(route: usize) -> String {
    format!("/api/v{}", route % PATHS_PER_HOST)
}

/// Requests for `routes` routes, each as likely as any other.
fn requests(routes: usize) -> Vec<(usize, String, String)> {
    let mut state = 1_u64;
    let mut request = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let route = (state >> 33) as usize % routes;
        (
            route,
            host(route),
            format!("{}/items/{}", prefix(route), state >> 60),
        )
    };
    (0..BATCH).map(|_| request()).collect()
}

fn batch(matcher: &Matcher, requests: &[(usize, String, String)]) -> f64 {
    let headers = http::HeaderMap::new();
    let began = Instant::now();
    for (route, host, path) in requests {
        let found = matcher.find(&Request {
            listener: Listeners::ALL,
            host: black_box(host),
            path: black_box(path),
            query: None,
            method: "GET",
            headers: &headers,
        });
        assert_eq!(found, Some(*route));
    }
    began.elapsed().as_nanos() as f64 / requests.len() as f64
}
