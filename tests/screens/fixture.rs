//! One incident and one quiet day, the same for every test of the terminal UI, so that the numbers on all screens agree.

use std::collections::BTreeMap;
use std::time::Duration;

use vestibule::model::{
    CertificateFacts, Event, EventKind, Fault, Scope, Side, Tally, Timestamp, Window,
};
use vestibule::slo::alert::{AlertKind, AlertState};
use vestibule::slo::policy::{Severity, Tier};
use vestibule::slo::state::SloState;
use vestibule::snapshot::{
    AlertView, CertificateAlertView, CertificateView, ConfigView, EdgeView, EndpointShare,
    EndpointView, FaultCount, Gap, ListenerView, Measure, PhaseView, ProbeSlotView, ProbeView,
    ProcessView, QueueView, ReceiverView, RouteView, SCHEMA, Series, SloView, Snapshot, Spell,
    Spending, SpentPart, Standing, StoreView, UpstreamView, Urgency,
};
use vestibule::triage::{Level, Locus, Strength, Suspect, Topic, Verdict};

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
    let mut deploy = event(
        "14:02:05",
        EventKind::Deploy,
        "checkout 3be01 → 4f9c2 by ci#8841",
    );
    deploy.scope.upstream = Some("checkout".to_owned());
    deploy.scope.version = Some("4f9c2".to_owned());
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
        scope: String::new(),
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
    await_history(&mut snapshot);
    fail_the_probe(&mut snapshot);
    end_a_certificate(&mut snapshot);
    snapshot.receivers = vec![
        receiver("pager", "alertmanager", None),
        receiver("chat", "slack", Some("the server answered 503")),
    ];
    break_endpoints(&mut snapshot);
    snapshot
}

fn await_history(snapshot: &mut Snapshot) {
    snapshot.alerts.push(AlertView {
        id: "checkout-avail/ticket/slow".to_owned(),
        severity: Severity::Ticket,
        tier: Some(Tier::Slow),
        state: AlertState::Pending,
        long: Some(Window::days(3)),
        short: Some(Window::hours(6)),
        burn_long: Some(1.2),
        burn_short: Some(3.4),
        factor: Some(1.0),
        ..snapshot.alerts[0].clone()
    });
}

fn fail_the_probe(snapshot: &mut Snapshot) {
    let failing = &mut snapshot.probes[0];
    failing.standing = Standing::Crit;
    failing.failing_since = Some(clock("14:02:42"));
    (failing.ok, failing.failed) = (101, 19);
    if let Some(last) = &mut failing.last {
        "fail".clone_into(&mut last.outcome);
        last.reason = Some("http_status".to_owned());
        "500 instead of 200".clone_into(&mut last.detail);
        last.status = Some(500);
    }
}

fn end_a_certificate(snapshot: &mut Snapshot) {
    let mut api = certificate(
        "file",
        "api",
        "/etc/tls/api.pem",
        facts("api.example.com", "1f", "2026-12-02T08:11:00Z"),
    );
    api.urgency = Some(Urgency::Ticket);
    api.kind = Some("expiry".to_owned());
    api.problem = Some("8days left, ends 2026-12-02T08:11:00.000Z".to_owned());
    snapshot.certificates.insert(0, api);
    snapshot.certificate_alerts = vec![CertificateAlertView {
        id: format!("certificate:{}", "1f".repeat(32)),
        urgency: Urgency::Ticket,
        kind: "expiry".to_owned(),
        name: "api".to_owned(),
        source: "file".to_owned(),
        since: clock("08:11:00"),
        text: "api (file): 8days left, ends 2026-12-02T08:11:00.000Z".to_owned(),
    }];
}

fn break_endpoints(snapshot: &mut Snapshot) {
    for endpoint in &mut snapshot.upstreams[1].endpoints {
        if !endpoint.healthy {
            (endpoint.good, endpoint.bad) = (0, 2_540);
            endpoint.since = Some(clock("14:03:02"));
            (endpoint.p50_us, endpoint.p99_us) = (Some(13_000), Some(19_000));
        }
    }
    snapshot.upstreams[1].version = Some("4f9c2".to_owned());
    snapshot.upstreams[2].endpoints[4].ejected_by = 2;
    for endpoint in &mut snapshot.upstreams[3].endpoints {
        (
            endpoint.good,
            endpoint.in_flight,
            endpoint.p50_us,
            endpoint.p99_us,
        ) = (0, 0, None, None);
        endpoint.answers_checks = None;
    }
    (snapshot.upstreams[3].p50_us, snapshot.upstreams[3].p99_us) = (None, None);
}

fn receiver(name: &str, kind: &str, error: Option<&str>) -> ReceiverView {
    ReceiverView {
        name: name.to_owned(),
        kind: kind.to_owned(),
        delivered: 12,
        failed: u64::from(error.is_some()),
        last_delivered: error.is_none().then(|| clock("14:09:46")),
        last_error: error.map(ToOwned::to_owned),
    }
}

/// What spent the budget of `checkout-avail`.
#[allow(dead_code, reason = "each test binary uses a part of these fixtures")]
pub(crate) fn spending() -> Spending {
    let spell = |from: &str, minutes: u64, ratio: f64, text: Option<&str>| {
        let from: Timestamp = from.parse().expect("RFC 3339");
        Spell {
            from,
            to: from.plus(Duration::from_secs(60 * minutes)),
            bad: (ratio * 100_000.0) as u64,
            ratio,
            event: text.map(|text| Event {
                at: from,
                kind: EventKind::Deploy,
                scope: Scope::default(),
                text: text.to_owned(),
            }),
        }
    };
    Spending {
        slo: "checkout-avail".to_owned(),
        at: at(),
        allowed: 100_000.0,
        bad: 31_400,
        spells: vec![
            spell(
                "2026-11-09T02:10:00Z",
                24,
                0.21,
                Some("api 77aa1 by ci#8102"),
            ),
            spell("2026-11-15T19:32:00Z", 11, 0.049, None),
            spell(
                "2026-11-23T14:02:00Z",
                10,
                0.028,
                Some("checkout 3be01 → 4f9c2 by ci#8841"),
            ),
        ],
        rest_ratio: Some(0.027),
        left: (0..60)
            .map(|column| match column {
                0..4 => None,
                4..31 => Some(0.985 - f64::from(column) / 2_000.0),
                31..45 => Some(0.76 - f64::from(column) / 2_000.0),
                45..59 => Some(0.71),
                _ => Some(0.686),
            })
            .collect(),
        start: "2026-10-24T14:00:00Z".parse().expect("RFC 3339"),
        step_s: 43_200,
        parts: [
            ("day", "2026-11-09", 21_000, None),
            ("kind", "upstream_5xx", 30_100, Some(2_790.4)),
            ("kind", "connect_refused", 1_300, Some(-3.0)),
            ("endpoint", "10.0.4.31:8443", 17_400, Some(2_310.0)),
            ("endpoint", "10.0.4.32:8443", 14_000, Some(480.0)),
            ("deploy", "hour_after", 29_000, Some(2_800.0)),
        ]
        .map(|(dimension, part, bad, excess)| SpentPart {
            dimension: dimension.to_owned(),
            part: part.to_owned(),
            bad,
            share: bad as f64 / 31_400.0,
            lately: excess.map(|_| 2_800),
            excess,
        })
        .into(),
    }
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
        topic: Topic::Burn,
        severity: Level::Crit,
        side: Locus::Upstream,
        route: Some("checkout".to_owned()),
        routes: vec!["checkout".to_owned()],
        slo: Some("checkout-avail".to_owned()),
        slos: Vec::new(),
        onset: Some(clock("14:02:40")),
        suspect: Some(Suspect {
            event: deploy,
            before_onset_s: 35,
            strength: Strength::Strong,
            why: "same upstream".to_owned(),
            before: Tally::default(),
            since: Tally::default(),
        }),
        further_suspects: Vec::new(),
        differs: None,
        burn: Some(122.6),
        remaining_ratio: Some(0.686),
        time_to_empty_s: Some(14_520),
        bad_ratio: Some(0.613),
        bad_per_s: Some(130.0),
        share_of_bad: Some(0.991),
        fault: Some("upstream_5xx".to_owned()),
        outside: None,
        next_step: "roll back checkout".to_owned(),
        runbook: Some("alerts/runbooks/checkout.md".to_owned()),
        text: "CRIT: upstream checkout fails 61.3% of route checkout since 14:02:40.".to_owned(),
    }
}

fn login_is_low() -> Verdict {
    Verdict {
        topic: Topic::Burn,
        severity: Level::Warn,
        side: Locus::Unknown,
        route: Some("login".to_owned()),
        routes: vec!["login".to_owned()],
        slo: Some("login-avail".to_owned()),
        slos: Vec::new(),
        onset: None,
        suspect: None,
        further_suspects: Vec::new(),
        differs: None,
        burn: Some(0.1),
        remaining_ratio: Some(0.041),
        time_to_empty_s: None,
        bad_ratio: Some(0.0),
        bad_per_s: Some(0.0),
        share_of_bad: Some(0.0),
        fault: None,
        outside: None,
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
                    changes_10m: 0,
                    changes_by_checks: 0,
                    changes_by_traffic: 0,
                    ejected_by: 0,
                    in_flight: 3,
                    p50_us: Some(13_000),
                    p99_us: Some(211_000),
                })
                .collect(),
            breaker: None,
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
        stored: false,
        verdict: Verdict {
            topic: Topic::Burn,
            severity: Level::Ok,
            side: Locus::None,
            route: None,
            routes: Vec::new(),
            slo: None,
            slos: Vec::new(),
            onset: None,
            suspect: None,
            further_suspects: Vec::new(),
            differs: None,
            burn: None,
            remaining_ratio: None,
            time_to_empty_s: None,
            bad_ratio: None,
            bad_per_s: None,
            share_of_bad: None,
            fault: None,
            outside: None,
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
        blind_spots: Vec::new(),
        names: Vec::new(),
        probes: vec![
            probe("checkout-eu", "checkout"),
            probe("www-eu", "www"),
            never_run("dns-ap"),
        ],
        certificates: certificates(),
        issuances: Vec::new(),
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
            cpus: Some(4.0),
            rss_bytes: Some(148 << 20),
            memory_bytes: Some(2 << 30),
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

/// A probe that is well.
fn probe(name: &str, route: &str) -> ProbeView {
    let phases = [
        ("resolve", 3_000),
        ("connect", 11_000),
        ("tls", 24_000),
        ("processing", 93_000),
    ];
    ProbeView {
        name: name.to_owned(),
        target: format!("https://{route}.example.com/healthz"),
        route: Some(route.to_owned()),
        runbook: None,
        every_s: 30,
        timeout_ms: 5_000,
        paused: false,
        standing: Standing::Ok,
        failing_since: None,
        ok: 120,
        failed: 0,
        missed: 0,
        coverage_ratio: Some(1.0),
        next_at: clock("14:12:53"),
        last: Some(ProbeSlotView {
            at: clock("14:12:23"),
            slots: 1,
            outcome: "ok".to_owned(),
            reason: None,
            detail: String::new(),
            lag_us: 900,
            duration_us: Some(131_000),
            phases: phases
                .into_iter()
                .map(|(phase, us)| (phase.to_owned(), us))
                .collect(),
            status: Some(200),
            address: Some("203.0.113.7:443".to_owned()),
        }),
        compare: false,
        views: Vec::new(),
        placing: None,
    }
}

fn never_run(name: &str) -> ProbeView {
    ProbeView {
        route: None,
        standing: Standing::None,
        ok: 0,
        coverage_ratio: None,
        last: None,
        ..probe(name, "www")
    }
}

/// The newest slots of the probe that fails in the incident.
#[allow(dead_code, reason = "each test binary uses a part of these fixtures")]
pub(crate) fn slots() -> Vec<ProbeSlotView> {
    let well = probe("checkout-eu", "checkout").last.expect("it was run");
    (0..60_u64)
        .map(|back| {
            let mut slot = well.clone();
            slot.at = well.at.minus(Duration::from_secs(30 * back));
            match back {
                0..20 => {
                    "fail".clone_into(&mut slot.outcome);
                    slot.reason = Some("http_status".to_owned());
                }
                40..43 => "missed".clone_into(&mut slot.outcome),
                _ => {}
            }
            slot
        })
        .collect()
}

fn facts(name: &str, sha: &str, until: &str) -> CertificateFacts {
    CertificateFacts {
        subject: format!("CN={name}"),
        issuer: "C=US, O=Let's Encrypt, CN=E6".to_owned(),
        serial: "04a1b2c3".to_owned(),
        names: vec![name.to_owned(), format!("www.{name}")],
        not_before: "2026-09-03T08:11:00Z".parse().expect("RFC 3339"),
        not_after: until.parse().expect("RFC 3339"),
        key: "EC P-256".to_owned(),
        signature: "ecdsa-with-SHA384".to_owned(),
        sha256: sha.repeat(32),
        key_sha256: sha.repeat(32),
        ..CertificateFacts::default()
    }
}

fn certificate(source: &str, name: &str, place: &str, facts: CertificateFacts) -> CertificateView {
    let left_ms = facts.left_ms(at());
    CertificateView {
        source: source.to_owned(),
        name: name.to_owned(),
        place: place.to_owned(),
        seen_at: clock("14:12:00"),
        left_s: Some(left_ms / 1_000),
        left_ratio: Some(left_ms as f64 / facts.lifetime_ms() as f64),
        renewal_due_at: Some(facts.not_after.minus(Duration::from_secs(30 * 86_400))),
        name_matches: (source == "listener").then_some(true),
        expected: None,
        as_expected: None,
        revocation: None,
        urgency: None,
        kind: None,
        problem: None,
        issuers: vec![CertificateFacts {
            subject: "CN=E6".to_owned(),
            ..CertificateFacts::default()
        }],
        certificate: Some(facts),
    }
}

fn certificates() -> Vec<CertificateView> {
    let shop = || facts("shop.example.com", "5a", "2026-12-15T08:11:00Z");
    let www = || facts("www.example.com", "7c", "2027-01-07T00:00:00Z");
    vec![
        certificate("file", "shop", "/etc/tls/shop.pem", shop()),
        certificate("listener", "shop.example.com", "web-tls", shop()),
        certificate("listener", "www.example.com", "web-tls", www()),
    ]
}

fn slo(id: &str, route: &str, objective_ppm: u32, remaining: f64) -> SloView {
    SloView {
        id: id.to_owned(),
        route: route.to_owned(),
        scope: format!("route:{route}"),
        owner: None,
        sli: "availability".to_owned(),
        reading: Some("fault".to_owned()),
        bad_status: Vec::new(),
        slices: None,
        parts: Vec::new(),
        weigh: None,
        counted: format!("availability fault of route {route}"),
        under_us: None,
        objective_ppm,
        window: Window::days(30),
        period: None,
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

fn burns([minutes, hour, hours, days]: [f64; 4]) -> BTreeMap<Window, Option<f64>> {
    let windows = [
        Window::minutes(5),
        Window::hours(1),
        Window::hours(6),
        Window::days(1),
        Window::days(3),
    ];
    let rates = [minutes, hour, hours, hours / 2.0, days];
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

/// `base` at second `second`: rates waver, and every minute the hour moves on by one column.
#[allow(dead_code, reason = "each test binary uses a part of these fixtures")]
pub(crate) fn second(base: &Snapshot, second: u64) -> Snapshot {
    let mut snapshot = later(base, Duration::from_secs(second));
    let waver =
        |rate: f64, salt: u64| rate * (1.0 + ((second * 7 + salt * 13) % 17) as f64 / 400.0);
    let minutes = second / 60;
    let shift = |series: &mut Series| {
        series.start = series.start.plus(Duration::from_secs(minutes * 60));
        let by = minutes as usize % series.requests.len();
        series.requests.rotate_left(by);
        series.bad.rotate_left(by);
        series.p99_us.rotate_left(by);
    };
    shift(&mut snapshot.edge.series);
    let edge = &mut snapshot.edge.now;
    edge.rate_per_s = edge.rate_per_s.map(|rate| waver(rate, 1));
    for (salt, route) in (0..).zip(&mut snapshot.routes) {
        shift(&mut route.series);
        route.now.rate_per_s = route.now.rate_per_s.map(|rate| waver(rate, salt));
        route.now.p99_us = route
            .now
            .p99_us
            .map(|micros| waver(micros as f64, salt) as u64);
    }
    snapshot
}
