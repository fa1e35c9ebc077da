//! Unit tests of the rules, for `promtool test rules`.
//!
//! For every SLO the incidents that burn-rate rules are known to get wrong, and for every other alert the samples that
//! make it fire. They look back at what the alerts did through the series `ALERTS`, a few steps away from each change.

use super::alarm::{self, Alarm};
use super::promql::{Recorded, quoted, select};
use super::rules;
use super::shape::{Course, MARGIN, Shape, Stretch, clear_steps, minutes};
use super::yaml::Yaml;
use super::{Artifact, Plan, banner};
use crate::catalog::SLO_EVENTS;
use crate::model::{Objective, Slices, Slo, Tally, Window};
use crate::slo::policy::{Factor, Row};

const ABOUT: &str = "\
Unit tests of the rules beside them:

    promtool test rules *.yaml

What is expected of an SLO's alerts is what the running Vestibule does with the same traffic.";

/// Every file of tests.
pub(super) fn tests(plan: &Plan) -> Vec<Artifact> {
    let mut files = vec![ingress(), slow_alarms()];
    for slo in &plan.slos {
        files.push(incidents(plan, slo));
        files.extend(slow_burn(plan, slo));
    }
    files
}

fn file(name: &str, rules: &str, step_min: u64, tests: Vec<Yaml>) -> Artifact {
    let document = Yaml::map([
        (
            "rule_files",
            Yaml::texts([format!("../rules/{rules}.yaml")]),
        ),
        ("evaluation_interval", Yaml::Word(minutes(step_min))),
        ("tests", Yaml::List(tests)),
    ]);
    Artifact {
        path: format!("alerts/tests/{name}.yaml"),
        text: banner(ABOUT) + &document.document(),
    }
}

fn test(name: &str, step_min: u64, series: Vec<(String, String)>, asked: Vec<Asked>) -> Yaml {
    let series = series.into_iter().map(|(series, values)| {
        Yaml::map([
            ("series", Yaml::Text(series)),
            ("values", Yaml::Text(values)),
        ])
    });
    let asked = asked.into_iter().map(
        |Asked {
             at_min,
             expr,
             value,
         }| {
            let samples = value.map(|value| {
                Yaml::map([
                    ("labels", Yaml::text("{}")),
                    ("value", Yaml::Word(value.into())),
                ])
            });
            Yaml::map([
                ("expr", Yaml::Block(expr)),
                ("eval_time", Yaml::Word(minutes(at_min))),
                ("exp_samples", Yaml::List(samples.into_iter().collect())),
            ])
        },
    );
    Yaml::map([
        ("name", Yaml::text(name)),
        ("interval", Yaml::Word(minutes(step_min))),
        ("input_series", Yaml::List(series.collect())),
        ("promql_expr_test", Yaml::List(asked.collect())),
    ])
}

/// What a query gives at a time: one value without labels, or nothing.
struct Asked {
    at_min: u64,
    expr: String,
    value: Option<&'static str>,
}

impl Asked {
    /// Whether alerts with these labels fire.
    fn firing(at_min: u64, matchers: &str, fires: bool) -> Self {
        Self {
            at_min,
            expr: format!("clamp_max(count(ALERTS{{alertstate=\"firing\",{matchers}}}), 1)"),
            value: fires.then_some("1"),
        }
    }
}

// === Alerts of an SLO ===

/// Events in a minute, enough that every share of them is a whole number or near one.
const RATE: u64 = 60_000;

/// Traffic of `minutes`, of which `factor` times too much is bad.
fn burning(minutes: u64, objective: Objective, factor: f64) -> Tally {
    let valid = RATE * minutes;
    let share = factor * f64::from(objective.budget_ppm()) / 1_000_000.0;
    let bad = ((valid as f64 * share).ceil() as u64).min(valid);
    Tally {
        good: valid - bad,
        bad,
    }
}

fn factor(factor: Factor) -> f64 {
    f64::from(factor.0) / 1_000.0
}

fn in_minutes(window: Window) -> u64 {
    window.as_secs().div_ceil(60)
}

fn series(slo: &Slo, shape: &Shape) -> Vec<(String, String)> {
    let labels = |result| {
        [
            ("slo", slo.id.as_str()),
            ("route", slo.about.route().unwrap_or_default()),
            ("result", result),
        ]
    };
    vec![
        (
            select(&SLO_EVENTS, &labels("good")),
            shape.series(|tally| tally.good),
        ),
        (
            select(&SLO_EVENTS, &labels("bad")),
            shape.series(|tally| tally.bad),
        ),
    ]
}

/// What the engine says of each row's alert, asked clear of its changes.
fn judged(plan: &Plan, slo: &Slo, rows: &[Row], shape: &Shape) -> Vec<Asked> {
    let mut asked = Vec::new();
    for (row, course) in rows.iter().zip(shape.judged(slo, rows, plan.guards(slo))) {
        let matchers = format!(
            "slo={},slo_severity=\"{}\",burnrate_tier=\"{}\"",
            quoted(&slo.id),
            row.severity.as_str(),
            row.tier.as_str()
        );
        for step in clear_steps(&course) {
            let at = step as u64 * shape.step_min;
            asked.push(Asked::firing(at, &matchers, course[step]));
        }
    }
    asked.sort_by_key(|asked| asked.at_min);
    asked
}

#[expect(
    clippy::too_many_lines,
    reason = "the list of incidents, one after another"
)]
fn incidents(plan: &Plan, slo: &Slo) -> Artifact {
    let rows = plan.rows(slo);
    // A slice that counts by its share is many events.
    let unit = slo.slices.map_or(1, Slices::unit);
    let shape = |stretches: Vec<Stretch>| Shape {
        step_min: 1,
        stretches: stretches.into_iter().map(|it| it.times(unit)).collect(),
    };
    let quiet = burning(1, slo.objective, 0.5);
    let mut tests = Vec::new();
    let mut add = |name: &str, stretches: Vec<Stretch>, more: Vec<Asked>| {
        let shape = shape(stretches);
        let mut asked = judged(plan, slo, &rows, &shape);
        asked.extend(more);
        tests.push(test(name, 1, series(slo, &shape), asked));
    };

    let absent = format!(
        "alertname=\"{}\",slo={}",
        alarm::SLO_ABSENT,
        quoted(&slo.id)
    );
    add(
        "quiet: half of what the budget allows is bad",
        vec![Stretch::Events(90, quiet)],
        vec![Asked::firing(90, &absent, false)],
    );
    if let Some(loudest) = rows.first() {
        let burn = burning(1, slo.objective, factor(loudest.factor) * 10.0);
        let (long, short) = (in_minutes(loudest.long), in_minutes(loudest.short));
        add(
            "fast burn: ten times what the loudest row allows, and its end",
            vec![
                Stretch::Events(30, quiet),
                Stretch::Events(long / 4 + 5, burn),
                Stretch::Events(short + 20, quiet),
            ],
            Vec::new(),
        );
        let dead = Tally { good: 0, bad: RATE };
        add(
            "newborn counter: a new route fails from its first request",
            vec![Stretch::Missing(20), Stretch::Events(long / 2 + 20, dead)],
            Vec::new(),
        );
    }
    add(
        "reset: the counters begin again at zero",
        vec![
            Stretch::Events(30, quiet),
            Stretch::Reset,
            Stretch::Events(30, quiet),
        ],
        [31, 33, 60]
            .map(|at_min| Asked {
                at_min,
                expr: format!("count({} > 0)", Recorded::Valid.of(slo, Window::minutes(5))),
                value: Some("1"),
            })
            .into(),
    );
    let (recent, whole) = (
        Recorded::Errors.of(slo, Window::minutes(5)),
        Recorded::Remaining.of(slo, slo.window),
    );
    let ask = |at_min, expr: String, value| Asked {
        at_min,
        expr,
        value,
    };
    add(
        "idle gap: no request for half an hour is neither good nor bad",
        vec![
            Stretch::Events(30, quiet),
            Stretch::Events(30, Tally::default()),
            Stretch::Events(10, quiet),
        ],
        vec![
            ask(50, format!("count({recent})"), None),
            ask(50, format!("count({whole})"), Some("1")),
            ask(50, format!("count({whole} != {whole})"), None),
            ask(70, format!("count({recent})"), Some("1")),
            ask(70, format!("count({whole} != {whole})"), None),
        ],
    );
    let one = |good, bad| Tally { good, bad };
    let hour = [Stretch::Events(1, one(1, 0)), Stretch::Events(5, one(0, 0))];
    let mut low: Vec<Stretch> = hour.iter().copied().cycle().take(20).collect();
    low.extend([Stretch::Events(1, one(0, 1)), Stretch::Events(5, one(0, 0))]);
    low.extend(hour.iter().copied().cycle().take(20));
    add(
        "low traffic: one of ten requests an hour fails",
        low,
        Vec::new(),
    );
    let dead = [Stretch::Events(1, one(0, 1)), Stretch::Events(5, one(0, 0))];
    let mut low: Vec<Stretch> = hour.iter().copied().cycle().take(20).collect();
    low.extend(dead.iter().copied().cycle().take(24));
    low.extend(hour.iter().copied().cycle().take(10));
    add(
        "low traffic: every request fails for more than an hour of ten requests",
        low,
        Vec::new(),
    );
    add(
        "nothing is measured",
        vec![Stretch::Missing(30)],
        vec![
            Asked::firing(5, &absent, false),
            Asked::firing(30, &absent, true),
        ],
    );
    tests.extend(annotated(plan, slo));
    let name = format!("slo-{}", slo.id);
    file(&name, &name, 1, tests)
}

/// A total outage from the first request on, of which every word of the alerts is known: all of 100 % is bad.
fn annotated(plan: &Plan, slo: &Slo) -> Option<Yaml> {
    let rows = plan.rows(slo);
    let loudest = rows.first()?;
    let shape = Shape {
        step_min: 1,
        stretches: vec![Stretch::Events(
            in_minutes(loudest.long) / 2 + 10,
            Tally { good: 0, bad: RATE },
        )],
    };
    let courses = shape.judged(slo, &rows, plan.guards(slo));
    let last = shape.steps() as usize;
    let is_clear = |course: &Course| (last - MARGIN..=last).all(|at| course[at] == course[last]);
    let name = rules::burn_name(loudest.severity);
    let mut alerts = Vec::new();
    for (row, course) in rows.iter().zip(&courses) {
        if row.severity != loudest.severity {
            continue;
        }
        if !is_clear(course) {
            return None;
        }
        if course[last] {
            let alert = rules::burn(plan, slo, row);
            let labels = alert.get("labels")?.clone();
            let annotations = alert.get("annotations")?.clone();
            alerts.push(Yaml::map([
                ("exp_labels", labels),
                ("exp_annotations", expanded(annotations)),
            ]));
        }
    }
    let asked = Yaml::map([
        ("eval_time", Yaml::Word(minutes(last as u64))),
        ("alertname", Yaml::text(name)),
        ("exp_alerts", Yaml::List(alerts)),
    ]);
    let series = series(slo, &shape).into_iter().map(|(series, values)| {
        Yaml::map([
            ("series", Yaml::Text(series)),
            ("values", Yaml::Text(values)),
        ])
    });
    Some(Yaml::map([
        (
            "name",
            Yaml::text("what the loudest alert says in a total outage"),
        ),
        ("interval", Yaml::Word("1m".into())),
        ("input_series", Yaml::List(series.collect())),
        ("alert_rule_test", Yaml::List(vec![asked])),
    ]))
}

/// Annotations with their one template expanded for a value of 1.
fn expanded(annotations: Yaml) -> Yaml {
    match annotations {
        Yaml::Map(entries) => Yaml::Map(
            entries
                .into_iter()
                .map(|(key, value)| (key, expanded(value)))
                .collect(),
        ),
        Yaml::Text(text) => Yaml::Text(text.replace("{{ $value | humanizePercentage }}", "100%")),
        other => other,
    }
}

/// The slowest row, in a file of its own with longer steps where its windows allow.
fn slow_burn(plan: &Plan, slo: &Slo) -> Option<Artifact> {
    let rows = plan.rows(slo);
    let slowest = rows.last()?;
    let step_min = if in_minutes(slowest.short) >= 30 {
        5
    } else {
        1
    };
    let burn = burning(step_min, slo.objective, factor(slowest.factor) * 1.2);
    let quiet = burning(step_min, slo.objective, 0.5);
    let shape = Shape {
        step_min,
        stretches: vec![
            Stretch::Events(in_minutes(slowest.long) / 2 / step_min + 10, burn),
            Stretch::Events(in_minutes(slowest.short) / step_min + 10, quiet),
        ],
    };
    // Rows with a window that holds fewer than two samples cannot be read at this step.
    let readable: Vec<Row> = rows
        .iter()
        .filter(|row| in_minutes(row.short) >= 2 * step_min)
        .copied()
        .collect();
    let asked = judged(plan, slo, &readable, &shape);
    let name = "slow burn: a fifth more than the slowest row allows, until long after it fires";
    let mut tests = vec![test(name, step_min, series(slo, &shape), asked)];
    tests.extend(quiet_spell(plan, slo, &readable, step_min));
    let (name, rules) = (format!("slow-{}", slo.id), format!("slo-{}", slo.id));
    Some(file(&name, &rules, step_min, tests))
}

/// Little traffic that fails after much that did not; `None` when it would take too many steps.
fn quiet_spell(plan: &Plan, slo: &Slo, rows: &[Row], step_min: u64) -> Option<Yaml> {
    /// More take promtool many seconds.
    const MOST_STEPS: u64 = 500;
    let loudest = rows.first()?;
    let burn = burning(step_min, slo.objective, factor(loudest.factor) * 4.0);
    let quiet = burning(step_min, slo.objective, 0.5);
    let tenth = Tally {
        good: burn.good / 10,
        bad: burn.bad / 10,
    };
    let steps = in_minutes(loudest.long) / step_min;
    let shape = Shape {
        step_min,
        stretches: vec![
            Stretch::Events(3 * steps, quiet),
            Stretch::Events(steps + steps / 2, tenth),
        ],
    };
    if shape.steps() > MOST_STEPS {
        return None;
    }
    let asked = judged(plan, slo, rows, &shape);
    let name = "a quiet spell: a tenth of the traffic, and four times what the loudest row allows";
    Some(test(name, step_min, series(slo, &shape), asked))
}

// === Other alerts ===

fn named(alarm: &Alarm) -> String {
    format!("alertname=\"{}\"", alarm.name)
}

fn proven(alarm: &Alarm) -> Yaml {
    let series = alarm.proof.series.iter();
    let series = series.map(|(series, values)| ((*series).to_owned(), (*values).to_owned()));
    let at = alarm.proof.fires_at_min;
    let mut asked = vec![Asked::firing(at, &named(alarm), true)];
    if alarm.severity.is_some() {
        asked.insert(0, Asked::firing(0, &named(alarm), false));
    }
    let quiet = alarm.proof.quiet_at_min.iter();
    asked.extend(quiet.map(|at| Asked::firing(*at, &named(alarm), false)));
    asked.sort_by_key(|asked| asked.at_min);
    test(
        &format!("{} fires", alarm.name),
        alarm.proof.step_min,
        series.collect(),
        asked,
    )
}

fn ingress() -> Artifact {
    let quick = alarm::alarms();
    let quick = quick.iter().filter(|alarm| alarm.proof.step_min == 1);
    let mut tests: Vec<Yaml> = quick.map(proven).collect();
    let series = QUIET
        .iter()
        .map(|(series, values)| ((*series).to_owned(), (*values).to_owned()));
    let nobody = format!("alertname!=\"{}\"", alarm::WATCHDOG);
    tests.push(test(
        "all is well for an hour and a half",
        1,
        series.collect(),
        [10, 60, 90]
            .map(|at| Asked::firing(at, &nobody, false))
            .into(),
    ));
    file("vestibule", "vestibule", 1, tests)
}

fn slow_alarms() -> Artifact {
    let slow = alarm::alarms();
    let slow = slow.iter().filter(|alarm| alarm.proof.step_min == 5);
    file("vestibule-slow", "vestibule", 5, slow.map(proven).collect())
}

/// An ingress on a good day: some requests fail, as they do.
const QUIET: &[(&str, &str)] = &[
    ("up{job=\"vestibule\",instance=\"a\"}", "1+0x100"),
    (
        "vestibule_build_info{version=\"1\",instance=\"a\",job=\"vestibule\"}",
        "1+0x100",
    ),
    (
        "vestibule_route_info{route=\"r\",upstream=\"u\",owner=\"\",instance=\"a\",job=\"vestibule\"}",
        "1+0x100",
    ),
    (
        "vestibule_requests_total{route=\"r\",outcome=\"good\"}",
        "0+1000x100",
    ),
    (
        "vestibule_requests_total{route=\"r\",outcome=\"bad\"}",
        "0+1x100",
    ),
    (
        "vestibule_requests_total{route=\"r\",outcome=\"excluded\"}",
        "0+5x100",
    ),
    (
        "vestibule_faults_total{route=\"none\",side=\"downstream\",fault=\"no_route\"}",
        "0+5x100",
    ),
    (
        "vestibule_faults_total{route=\"r\",side=\"upstream\",fault=\"dns\"}",
        "0+0x100",
    ),
    (
        "vestibule_faults_total{route=\"r\",side=\"edge\",fault=\"overload\"}",
        "0+0x100",
    ),
    (
        "vestibule_request_duration_seconds_sum{route=\"r\"}",
        "0+100x100",
    ),
    (
        "vestibule_request_duration_seconds_count{route=\"r\"}",
        "0+1000x100",
    ),
    (
        "vestibule_endpoint_healthy{upstream=\"u\",endpoint=\"http://u:1\"}",
        "1+0x100",
    ),
    (
        "vestibule_tls_handshakes_total{result=\"ok\"}",
        "0+1000x100",
    ),
    (
        "vestibule_tls_handshakes_total{result=\"failed\"}",
        "0+1x100",
    ),
    ("vestibule_accept_failures_total", "0+0x100"),
    (
        "vestibule_certificate_not_after_seconds{name=\"c\",source=\"file\",place=\"c.pem\"}",
        "7000000+0x100",
    ),
    (
        "vestibule_certificate_not_before_seconds{name=\"c\",source=\"file\",place=\"c.pem\"}",
        "-700000+0x100",
    ),
    ("vestibule_probe_success{probe=\"p\"}", "1 1 0 1+0x97"),
    ("vestibule_probe_coverage_ratio{probe=\"p\"}", "0.98+0x100"),
    (
        "vestibule_notifications_total{receiver=\"n\",result=\"failed\"}",
        "0 1 1+0x98",
    ),
    (
        "vestibule_otlp_dropped_total{signal=\"logs\",reason=\"queue_full\"}",
        "0+0x100",
    ),
    (
        "process_resident_memory_bytes{job=\"vestibule\",instance=\"a\"}",
        "5e8+0x100",
    ),
    ("vestibule_degraded{part=\"store\"}", "0+0x100"),
    ("vestibule_config_last_reload_refused", "0+0x100"),
    ("vestibule_config_apply_seconds", "0.02+0x100"),
    ("vestibule_queue_dropped_total{queue=\"store\"}", "0+0x100"),
    (
        "vestibule_workers{job=\"vestibule\",instance=\"a\"}",
        "2+0x100",
    ),
    (
        "process_cpu_seconds_total{job=\"vestibule\",instance=\"a\"}",
        "0+20x100",
    ),
    (
        "process_open_fds{job=\"vestibule\",instance=\"a\"}",
        "40+0x100",
    ),
    (
        "process_max_fds{job=\"vestibule\",instance=\"a\"}",
        "1024+0x100",
    ),
    (
        "process_start_time_seconds{job=\"vestibule\",instance=\"a\"}",
        "1000+0x100",
    ),
];
