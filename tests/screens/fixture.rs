//! One incident and one quiet day, the same for every test of the terminal UI, so that the numbers on all screens agree.

use std::collections::BTreeMap;
use std::time::Duration;

use vestibule::model::{Event, EventKind, Fault, Scope, Side, Timestamp, Window};
use vestibule::slo::alert::{AlertKind, AlertState};
use vestibule::slo::policy::{Severity, Tier};
use vestibule::slo::state::SloState;
use vestibule::snapshot::{
    AlertView, ConfigView, EdgeView, EndpointShare, EndpointView, FaultCount, Gap, ListenerView,
    Measure, PhaseView, ProcessView, QueueView, RouteView, SCHEMA, Series, SloView, Snapshot,
    Standing, StoreView, UpstreamView,
};
use vestibule::triage::{Level, Locus, Strength, Suspect, Verdict};

/// When the snapshot is taken.
pub(crate) fn at() -> Timestamp {
    "2026-11-23T14:12:32Z"
        .parse()
        .expect("a moment in RFC 3339")
}

fn clock(time: &str) -> Timestamp {
    format!("2026-11-23T{time}Z")
        .parse()
        .expect("a moment in RFC 3339")
}

/// A deploy of checkout breaks it: 14:02:05 the deploy, 14:02:40 the onset, 14:12:32 now.
pub(crate) fn incident() -> Snapshot {
    let mut snapshot = all_well();
    let deploy = event(
        "14:02:05",
        EventKind::Deploy,
        "checkout 3be01 → 4f9c2 by ci#8841",
    );
    snapshot.events = vec![
        event(
            "14:09:45",
            EventKind::Alert,
            "checkout-avail page fast FIRING",
        ),
        event(
            "14:03:02",
            EventKind::Health,
            "checkout 10.0.4.31:8443 fails its check: 500",
        ),
        deploy.clone(),
        event(
            "13:44:20",
            EventKind::Config,
            "generation 118 applied in 412ms",
        ),
        event(
            "13:31:00",
            EventKind::Config,
            "generation 117 applied in 398ms",
        ),
        event(
            "13:01:00",
            EventKind::Operator,
            "mira ran `vestibule check`",
        ),
    ];
    snapshot.verdict = checkout_fails(deploy);
    snapshot.other_verdicts = vec![login_is_low()];
    let bad = |minute: usize| match minute {
        50 => 2_600,
        51.. => 7_800,
        _ => 70,
    };
    snapshot.edge.now.bad = 7_880;
    snapshot.edge.now.bad_ratio = Some(0.0156);
    snapshot.edge.series = series(505_000, bad, 209_000);
    snapshot.edge.faults = vec![faults(Fault::UpstreamStatus, 38_412)];

    break_checkout(&mut snapshot.routes[0]);
    snapshot.routes[1].standing = Standing::Warn;
    snapshot.routes[1].now = measure(1_100.0, 0.000_8, 22_000, 96_000);
    snapshot.routes[1].share_of_bad = Some(0.008);

    for (endpoint, healthy) in snapshot.upstreams[1]
        .endpoints
        .iter_mut()
        .zip([false, false, true, true, false])
    {
        endpoint.healthy = healthy;
    }
    snapshot.slos[1].state = SloState::Low;
    snapshot.slos[1].remaining_ratio = Some(0.041);
    snapshot.slos[1].expected_remaining_ratio = Some(0.041);
    let slo = &mut snapshot.slos[0];
    slo.state = SloState::Critical;
    slo.sli_ratio = Some(0.998_43);
    slo.remaining_ratio = Some(0.686);
    slo.expected_remaining_ratio = Some(0.686);
    slo.burn = burns([122.6, 20.2, 3.4, 0.5]);
    slo.time_to_empty_s = Some(14_520);
    snapshot.alerts = vec![AlertView {
        id: "checkout-avail:page:fast".to_owned(),
        kind: AlertKind::Burn,
        about: "checkout-avail".to_owned(),
        owner: None,
        slo: "checkout-avail".to_owned(),
        route: "checkout".to_owned(),
        severity: Severity::Page,
        tier: Some(Tier::Fast),
        state: AlertState::Firing,
        since: clock("14:09:45"),
        long: Some(Window::hours(1)),
        short: Some(Window::minutes(5)),
        burn_long: Some(20.2),
        burn_short: Some(122.6),
        factor: Some(14.4),
        runbook: None,
        text: String::new(),
        silenced_by: None,
    }];
    snapshot.queues[0].dropped = 214;
    snapshot
}

fn break_checkout(checkout: &mut RouteView) {
    checkout.standing = Standing::Crit;
    checkout.bad = 81_412;
    checkout.now = measure(212.0, 0.613, 14_000, 268_000);
    checkout.before = measure(211.0, 0.000_2, 84_000, 311_000);
    checkout.burn_5m = Some(122.6);
    checkout.share_of_bad = Some(0.991);
    checkout.series = series(
        12_700,
        |minute| match minute {
            50 => 2_600,
            51.. => 7_790,
            _ => 2,
        },
        300_000,
    );
    checkout.faults = vec![
        faults(Fault::UpstreamStatus, 38_412),
        faults(Fault::ConnectRefused, 121),
        faults(Fault::ClientDisconnect, 14),
    ];
    checkout.endpoints = vec![
        share("10.0.4.31:8443", 0, 12_902, 88),
        share("10.0.4.32:8443", 0, 12_744, 33),
        share("10.0.4.35:8443", 0, 12_870, 0),
        share("10.0.4.33:8443", 12_311, 290, 0),
        share("10.0.4.34:8443", 12_288, 315, 0),
    ];
}

fn checkout_fails(deploy: Event) -> Verdict {
    Verdict {
        severity: Level::Crit,
        side: Locus::Upstream,
        route: Some("checkout".to_owned()),
        slo: Some("checkout-avail".to_owned()),
        onset: Some(clock("14:02:40")),
        suspect: Some(Suspect {
            event: deploy,
            before_onset_s: 35,
            strength: Strength::Strong,
            why: "same upstream".to_owned(),
        }),
        burn: Some(122.6),
        remaining_ratio: Some(0.686),
        time_to_empty_s: Some(14_520),
        bad_ratio: Some(0.613),
        bad_per_s: Some(130.0),
        share_of_bad: Some(0.991),
        fault: Some("upstream_5xx".to_owned()),
        next_step: "roll back checkout".to_owned(),
        runbook: Some("alerts/runbooks/checkout.md".to_owned()),
        text: "CRIT: upstream checkout fails 61.3% of route checkout since 14:02:40.".to_owned(),
    }
}

fn login_is_low() -> Verdict {
    Verdict {
        severity: Level::Warn,
        side: Locus::Unknown,
        route: Some("login".to_owned()),
        slo: Some("login-avail".to_owned()),
        onset: None,
        suspect: None,
        burn: Some(0.1),
        remaining_ratio: Some(0.041),
        time_to_empty_s: None,
        bad_ratio: Some(0.0),
        bad_per_s: Some(0.0),
        share_of_bad: Some(0.0),
        fault: None,
        next_step: "hold deploys of login".to_owned(),
        runbook: None,
        text: "WARN: login-avail has 4.1% of its budget left.".to_owned(),
    }
}

/// Nothing is wrong.
pub(crate) fn all_well() -> Snapshot {
    let routes = vec![
        route(
            "checkout",
            "shop.example.com",
            "/checkout/*",
            212.0,
            84_000,
            311_000,
        ),
        route(
            "cart",
            "shop.example.com",
            "/cart/*",
            1_100.0,
            22_000,
            89_000,
        ),
        route(
            "catalog",
            "api.example.com",
            "/v1/catalog/*",
            3_420.0,
            18_000,
            216_000,
        ),
        route("www", "www.example.com", "/*", 2_930.0, 6_000, 41_000),
        route("login", "login.example.com", "/*", 58.0, 31_000, 120_000),
        route(
            "search",
            "api.example.com",
            "/v1/search",
            640.0,
            45_000,
            402_000,
        ),
        idle("reindex", "admin.example.com", "/reindex"),
        idle("none", "", ""),
    ];
    let upstreams = ["catalog", "checkout", "shop", "www"]
        .into_iter()
        .map(|name| UpstreamView {
            name: name.to_owned(),
            version: None,
            endpoints: (31..36)
                .map(|host| EndpointView {
                    address: format!("10.0.4.{host}:8443"),
                    healthy: true,
                    since: Some(clock("08:00:00")),
                    good: 2_500,
                    bad: 0,
                    connect_failures: 0,
                    retried: 0,
                    answers_checks: Some(true),
                    ejected_by: 0,
                    in_flight: 3,
                    p50_us: Some(13_000),
                    p99_us: Some(211_000),
                })
                .collect(),
            p50_us: Some(14_000),
            p99_us: Some(268_000),
        })
        .collect();
    Snapshot {
        schema: SCHEMA,
        version: "0.1.0".to_owned(),
        instance: "prod-edge".to_owned(),
        at: at(),
        started_at: "2026-11-02T10:00:00Z"
            .parse()
            .expect("a moment in RFC 3339"),
        counting_since: "2026-10-24T00:00:00Z"
            .parse()
            .expect("a moment in RFC 3339"),
        seq: 4_711,
        verdict: Verdict {
            severity: Level::Ok,
            side: Locus::None,
            route: None,
            slo: None,
            onset: None,
            suspect: None,
            burn: None,
            remaining_ratio: None,
            time_to_empty_s: None,
            bad_ratio: None,
            bad_per_s: None,
            share_of_bad: None,
            fault: None,
            next_step: String::new(),
            runbook: None,
            text: "All 3 SLOs within budget.".to_owned(),
        },
        other_verdicts: Vec::new(),
        edge: EdgeView {
            now: measure(8_420.0, 0.000_14, 17_000, 209_000),
            before: measure(8_390.0, 0.000_14, 17_000, 212_000),
            series: series(505_000, |_| 70, 209_000),
            in_flight: 66,
            connections: 4_102,
            faults: Vec::new(),
        },
        routes_total: routes.len() as u64,
        routes,
        upstreams,
        slos: vec![
            slo("checkout-avail", "checkout", 995_000, 0.714),
            slo("login-avail", "login", 999_000, 0.412),
            slo("www-avail", "www", 999_500, 0.973),
        ],
        probes: Vec::new(),
        certificates: Vec::new(),
        certificate_alerts: Vec::new(),
        alerts: Vec::new(),
        silences: Vec::new(),
        deploys: Vec::new(),
        events: vec![event(
            "13:44:20",
            EventKind::Config,
            "generation 118 applied in 412ms",
        )],
        degraded: Vec::new(),
        listeners: ["web", "web-tls"]
            .into_iter()
            .map(|name| ListenerView {
                name: name.to_owned(),
                address: "0.0.0.0:443".to_owned(),
                tls: true,
            })
            .collect(),
        config: ConfigView {
            generation: 118,
            hash: "5f1d7a0c93b2e846".to_owned(),
            source: "/etc/vestibule.toml".to_owned(),
            applied_at: clock("13:44:20"),
            apply_ms: 412,
            refused: None,
        },
        process: ProcessView {
            cpu_seconds: Some(9_120.0),
            cpu_ratio: Some(0.21),
            rss_bytes: Some(148 << 20),
            open_fds: Some(4_300),
            max_fds: Some(131_072),
            workers: 4,
        },
        store: StoreView {
            path: "/var/lib/vestibule/history.db".to_owned(),
            size_bytes: 312 << 20,
            budget_bytes: 2 << 30,
            flushed_at: Some(clock("14:12:00")),
            backlog: 0,
            gaps: vec![Gap {
                from: clock("02:00:00"),
                to: clock("02:03:00"),
            }],
        },
        totals: vestibule::snapshot::Totals::default(),
        receivers: Vec::new(),
        exporters: Vec::new(),
        queues: vec![QueueView {
            queue: "access_log".to_owned(),
            capacity: 8_192,
            dropped: 0,
        }],
    }
}

/// `count` routes with traffic, the worst first.
#[allow(dead_code, reason = "each test binary uses a part of these fixtures")]
pub(crate) fn crowd(count: usize) -> Snapshot {
    let mut snapshot = incident();
    let worst = snapshot.routes[0].clone();
    snapshot.routes = (0..count)
        .map(|number| {
            let mut route = worst.clone();
            if number > 0 {
                route.id = format!("route-{number:04}");
                route.standing = Standing::Ok;
                route.now = measure(900.0 - number as f64 / 2.0, 0.000_1, 9_000, 40_000);
                route.now.requests += number as u64;
            }
            route
        })
        .collect();
    snapshot.routes_total = count as u64;
    snapshot
}

pub(crate) fn measure(rate: f64, bad_ratio: f64, p50_us: u64, p99_us: u64) -> Measure {
    let requests = (rate * 60.0) as u64;
    let bad = (requests as f64 * bad_ratio).round() as u64;
    Measure {
        covered_s: 60,
        requests,
        bad,
        excluded: 0,
        rate_per_s: Some(rate),
        bad_ratio: (requests > 0).then(|| bad as f64 / requests as f64),
        p50_us: Some(p50_us),
        p99_us: Some(p99_us),
    }
}

fn series(requests: u64, bad: impl Fn(usize) -> u64, p99_us: u64) -> Series {
    let wave = |minute: usize, size: u64| size * [0, 3, 1, 4, 2, 5, 1, 3][minute % 8] / 100;
    Series {
        start: clock("13:13:00"),
        step_s: 60,
        requests: (0..60)
            .map(|minute| Some(requests - wave(minute, requests)))
            .collect(),
        bad: (0..60).map(|minute| Some(bad(minute))).collect(),
        p99_us: (0..60)
            .map(|minute| Some(p99_us - wave(minute * 3, p99_us * 4)))
            .collect(),
    }
}

fn route(id: &str, host: &str, path: &str, rate: f64, p50_us: u64, p99_us: u64) -> RouteView {
    let per_minute = (rate * 60.0) as u64;
    RouteView {
        id: id.to_owned(),
        standing: Standing::Ok,
        hosts: vec![host.to_owned()],
        path: path.to_owned(),
        upstream: Some(if id == "search" { "catalog" } else { id }.to_owned()),
        owner: Some("payments".to_owned()),
        requests: per_minute * 40_000,
        good: per_minute * 39_999,
        bad: per_minute,
        excluded: 0,
        p50_us: Some(p50_us),
        p95_us: Some(p99_us / 2),
        p99_us: Some(p99_us),
        now: measure(rate, 0.000_1, p50_us, p99_us),
        before: measure(rate, 0.000_1, p50_us, p99_us + 4_000),
        burn_5m: Some(0.1),
        share_of_bad: Some(0.002),
        slos: vec![format!("{id}-avail")],
        series: series(per_minute, |minute| u64::from(minute % 7 == 0), p99_us),
        faults: Vec::new(),
        endpoints: vec![share("10.0.4.31:8443", per_minute * 5, 1, 0)],
        phases: [
            ("edge", 100, 400),
            ("connect", 400, 1_100),
            ("wait", 13_000, 251_000),
            ("body", 200, 9_000),
        ]
        .into_iter()
        .map(|(phase, p50_us, p99_us)| PhaseView {
            phase: phase.to_owned(),
            count: per_minute * if phase == "connect" { 1 } else { 5 },
            p50_us,
            p99_us,
        })
        .collect(),
    }
}

fn idle(id: &str, host: &str, path: &str) -> RouteView {
    let mut route = route(id, host, path, 0.0, 0, 0);
    route.standing = Standing::None;
    route.now = Measure {
        covered_s: 60,
        rate_per_s: Some(0.0),
        ..Measure::default()
    };
    route.before = Measure::default();
    route.burn_5m = None;
    route.share_of_bad = None;
    route.series = Series {
        start: clock("13:13:00"),
        step_s: 60,
        requests: vec![Some(0); 60],
        bad: vec![Some(0); 60],
        p99_us: vec![None; 60],
    };
    route.hosts.retain(|host| !host.is_empty());
    route.slos.clear();
    route.endpoints.clear();
    route.phases.clear();
    route
}

fn slo(id: &str, route: &str, objective_ppm: u32, remaining: f64) -> SloView {
    SloView {
        id: id.to_owned(),
        route: route.to_owned(),
        sli: "availability".to_owned(),
        under_us: None,
        objective_ppm,
        window: Window::days(30),
        policy: "workbook".to_owned(),
        good: 999_000,
        bad: 1_000,
        sli_ratio: Some(0.999_9),
        remaining_ratio: Some(remaining),
        expected_remaining_ratio: Some(remaining),
        burn: burns([0.1, 0.1, 0.9, 0.4]),
        state: SloState::Ok,
        coverage_ratio: 1.0,
        time_to_empty_s: None,
        runbook: None,
    }
}

fn burns(rates: [f64; 4]) -> BTreeMap<Window, Option<f64>> {
    let windows = [
        Window::minutes(5),
        Window::hours(1),
        Window::hours(6),
        Window::days(3),
    ];
    windows.into_iter().zip(rates.map(Some)).collect()
}

fn share(endpoint: &str, good: u64, bad: u64, connect_failures: u64) -> EndpointShare {
    EndpointShare {
        endpoint: endpoint.to_owned(),
        good,
        bad,
        connect_failures,
        retried: 0,
    }
}

fn faults(fault: Fault, count: u64) -> FaultCount {
    FaultCount {
        fault,
        side: match fault {
            Fault::ClientDisconnect => Side::Downstream,
            _ => fault.side(),
        },
        count,
    }
}

fn event(time: &str, kind: EventKind, text: &str) -> Event {
    Event {
        at: clock(time),
        kind,
        scope: Scope::default(),
        text: text.to_owned(),
    }
}

/// The snapshot that comes `after` the given one.
#[allow(dead_code, reason = "each test binary uses a part of these fixtures")]
pub(crate) fn later(snapshot: &Snapshot, after: Duration) -> Snapshot {
    let mut later = snapshot.clone();
    later.at = snapshot.at.plus(after);
    later.seq += after.as_secs().max(1);
    later
}
