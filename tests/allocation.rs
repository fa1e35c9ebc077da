//! Nothing on the request path allocates on behalf of measuring, once every route has been seen.
//!
//! Counted by an allocator that wraps the system's: a single allocation anywhere below the measured calls fails.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use vestibule::export::accesslog::write_line;
use vestibule::export::otlp::write_record;
use vestibule::model::WriteAccessLine;
use vestibule::model::{
    AccessRecord, Attempts, EndpointKey, Exemplar, Fault, Observation, Outcome, RouteKey, Sli,
    SloKey, Source, Tally, Timestamp,
};
use vestibule::sli::recorder::{Recorder, Rules};

/// Fewer than the recorder keeps spare slots for.
const ROUTES: u32 = 50;
const ENDPOINTS: u32 = 3;

fn rules() -> Arc<Rules> {
    let under = Duration::from_millis(300);
    Arc::new(Rules::new((0..ROUTES).flat_map(|route| {
        let own = [
            Sli::AVAILABILITY,
            Sli::Latency { under },
            Sli::Connection,
            Sli::RateLimit,
        ];
        (0..)
            .zip(own)
            .map(move |(place, sli)| (RouteKey(route), SloKey(4 * route + place), sli))
    })))
}

/// A second's worth: every route, endpoint and way to end.
fn second() -> Vec<Observation> {
    let outcomes = [
        Outcome::Good,
        Fault::UpstreamReset.outcome(),
        Fault::ClientDisconnect.outcome(),
        Fault::NoRoute.outcome(),
    ];
    let mut observations = Vec::new();
    for route in 0..ROUTES {
        for endpoint in 0..ENDPOINTS {
            for (salt, outcome) in (1_u64..).zip(outcomes) {
                observations.push(Observation {
                    route: RouteKey(route),
                    endpoint: Some(EndpointKey(endpoint)),
                    source: Source::Proxy,
                    outcome,
                    status: Some(200),
                    // From microseconds to beyond what a distribution can tell apart.
                    duration_us: salt * 7_u64.pow(endpoint * 5),
                    phases: [Some(3), Some(u32::MAX), Some(40), Some(5)],
                    attempts: 2,
                    bytes_in: 10,
                    bytes_out: 1_000,
                });
            }
        }
    }
    observations
}

fn record_all(recorder: &mut Recorder, observations: &[Observation]) {
    for observation in observations {
        recorder.record(black_box(observation));
        recorder.exemplify(observation.route, observation.duration_us, || Exemplar {
            at: Timestamp::from_millis(1_795_420_960_123),
            duration_us: observation.duration_us,
            trace_id: 1,
            span_id: 1,
        });
        recorder.connect_failure(observation.route, EndpointKey(0));
        recorder.connected(observation.route);
    }
}

#[test]
fn recording_allocates_nothing_once_every_route_has_been_seen() {
    let mut recorder = Recorder::new(rules());
    let observations = second();
    record_all(&mut recorder, &observations);
    let counted = allocation_counter::measure(|| record_all(&mut recorder, &observations));
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

#[test]
fn recording_allocates_nothing_after_shards_have_come_back() {
    let mut recorder = Recorder::new(rules());
    let observations = second();
    // As in operation: while one shard is being counted elsewhere, the next is filled; then the first comes back.
    let mut away = Vec::new();
    for _ in 0..3 {
        record_all(&mut recorder, &observations);
        recorder.recycle(std::mem::take(&mut away));
        away = recorder.take();
    }
    for cycle in 0..5 {
        let counted = allocation_counter::measure(|| record_all(&mut recorder, &observations));
        assert_eq!(counted.count_total, 0, "cycle {cycle}: {counted:?}");
        recorder.recycle(std::mem::take(&mut away));
        away = recorder.take();
        assert_eq!(away.len(), ROUTES as usize);
    }
}

/// What attempts count for must not be made anew by the first of a second either, with a request still under way.
#[test]
fn counting_connections_allocates_nothing_whichever_comes_first() {
    let mut recorder = Recorder::new(rules());
    record_all(&mut recorder, &second());
    let connect_all = |recorder: &mut Recorder| {
        for route in 0..ROUTES {
            recorder.connected(black_box(RouteKey(route)));
            recorder.connect_failure(RouteKey(route), EndpointKey(0));
            recorder.connected(RouteKey(route));
        }
    };
    let mut away = Vec::new();
    for _ in 0..3 {
        record_all(&mut recorder, &second());
        recorder.recycle(std::mem::take(&mut away));
        away = recorder.take();
    }
    for cycle in 0..3 {
        recorder.recycle(std::mem::take(&mut away));
        let counted = allocation_counter::measure(|| connect_all(&mut recorder));
        assert_eq!(counted.count_total, 0, "cycle {cycle}: {counted:?}");
        away = recorder.take();
        let slot = &away[0].1;
        let tally = slot.slos.iter().find(|it| it.0 == SloKey(2)).map(|it| it.1);
        assert_eq!(tally, Some(Tally { good: 2, bad: 1 }));
    }
}

#[test]
fn an_access_line_and_a_record_are_written_into_the_memory_there_is() {
    let observations = second();
    let mut lines = Vec::with_capacity(8 * 1024);
    let mut longest = 0;
    let mut write_all = || {
        for (millis, observation) in (1_795_420_960_123..).zip(&observations) {
            for write in [write_line as WriteAccessLine, write_record] {
                lines.clear();
                let mut attempts = Attempts::default();
                attempts.begin(20, millis);
                attempts.failed(Fault::ConnectRefused, millis);
                attempts.begin(21, millis);
                attempts.answered(200);
                attempts.end(observation.outcome.fault());
                let addresses = ["http://10.0.0.20:8080", "http://10.0.0.21:8080"];
                let attempts = attempts.map(|endpoint: usize| addresses[endpoint - 20]);
                let record = AccessRecord {
                    at: Timestamp::from_millis(millis),
                    observation,
                    route: "checkout",
                    endpoint: attempts.last().unwrap_or_default(),
                    attempts: attempts.as_slice(),
                    client: std::net::Ipv6Addr::from_bits(u128::from(millis) << 60).into(),
                    scheme: "https",
                    protocol: "HTTP/2.0",
                    method: "GET",
                    host: b"shop.example",
                    path: "/checkout/\"quoted\"",
                    user_agent: b"Mozilla/5.0 \xff\n",
                    request_id: "00c0ffee00c0ffee00c0ffee00c0ffee",
                    trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
                    span_id: "00f067aa0ba902b7",
                    parent_id: "",
                    sampled: true,
                };
                write(&mut lines, &record);
                longest = longest.max(lines.len());
            }
        }
    };
    // Each thread keeps the text of the second under way, for which it makes room once.
    write_all();
    let counted = allocation_counter::measure(&mut write_all);
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert!(longest > 300, "{longest}");
}

#[test]
fn the_counter_sees_an_allocation() {
    let counted = allocation_counter::measure(|| drop(black_box(Box::new(1))));
    assert_eq!(counted.count_total, 1);
}
