//! The alerts that do not depend on an SLO: the ingress as a whole, its backends, and Vestibule itself.
//!
//! Each comes with the samples that make it fire, from which its unit test is made.

use crate::catalog::{
    ACCEPT_FAILURES, BUILD_INFO, CONFIG_APPLY, CONFIG_REFUSED, DEGRADED, DROPPED, DURATION,
    ENDPOINT_HEALTHY, FAULTS, HANDSHAKES, PROCESS_CPU, PROCESS_FDS, PROCESS_MAX_FDS, PROCESS_START,
    REQUESTS, ROUTE_INFO, WORKERS,
};
use crate::generate::JOB;
use crate::generate::promql::{matching, select};
use crate::model::Fault;
use crate::slo::policy::Severity;

/// The page alert of an SLO's policy.
pub const BURNS_FAST: &str = "VestibuleErrorBudgetBurnsFast";
/// The ticket alert of an SLO's policy.
pub const BURNS_SLOWLY: &str = "VestibuleErrorBudgetBurnsSlowly";
/// No series of an SLO arrives.
pub(super) const SLO_ABSENT: &str = "VestibuleSloMetricAbsent";
/// The whole ingress fails: more than any route's alert.
pub(super) const OUTAGE: &str = "VestibuleIngressOutage";
/// No Vestibule answers the scraper.
pub(super) const DOWN: &str = "VestibuleDown";
/// Fires always, so that its absence shows that alerting itself is broken.
pub(super) const WATCHDOG: &str = "VestibuleWatchdog";

/// One alert.
#[derive(Clone, Debug)]
pub(super) struct Alarm {
    /// Its name.
    pub(super) name: &'static str,
    /// How loudly it speaks; `None` is not for people.
    pub(super) severity: Option<Severity>,
    /// When it is true.
    pub(super) expr: String,
    /// How long it must be true.
    pub(super) lasts: Option<&'static str>,
    /// One static sentence.
    pub(super) summary: &'static str,
    /// What is going on; a template.
    pub(super) description: &'static str,
    /// The dashboard to open.
    pub(super) dashboard: &'static str,
    /// What makes it fire.
    pub(super) proof: Proof,
}

/// Samples that make an alert fire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof {
    /// Minutes between two samples.
    pub(super) step_min: u64,
    /// When it fires, in minutes from the first sample.
    pub(super) fires_at_min: u64,
    /// Series and their values, as promtool reads them.
    pub(super) series: &'static [(&'static str, &'static str)],
}

const fn proof(fires_at_min: u64, series: &'static [(&'static str, &'static str)]) -> Proof {
    Proof {
        step_min: 1,
        fires_at_min,
        series,
    }
}

const ONCALL: &str = "vestibule-on-call";
const SELF: &str = "vestibule-self";
const DEBUG: &str = "vestibule-debug";

/// Every alert that does not depend on an SLO, loudest first.
pub(super) fn alarms() -> Vec<Alarm> {
    let mut all = pages();
    all.extend(traffic_tickets());
    all.extend(own_tickets());
    all.push(Alarm {
        name: WATCHDOG,
        severity: None,
        expr: "vector(1)".to_owned(),
        lasts: None,
        summary: "Alerting works.",
        description: "This alert fires always. Send it to a service that reports when it stops coming.",
        dashboard: SELF,
        proof: proof(1, &[]),
    });
    all
}

fn pages() -> Vec<Alarm> {
    let page = Some(Severity::Page);
    let bad = select(&REQUESTS, &[("outcome", "bad")]);
    let valid = matching(REQUESTS.name, &REQUESTS, &[("outcome", "=~", "good|bad")]);
    let up = format!("up{{job=\"{JOB}\"}}");
    vec![
        Alarm {
            name: OUTAGE,
            severity: page,
            expr: format!(
                "sum(rate({bad}[5m])) / (sum(rate({valid}[5m])) > 0) > 0.5\nand sum(increase({bad}[5m])) > 29.5"
            ),
            lasts: Some("1m"),
            summary: "Most requests through the ingress fail.",
            description: "{{ $value | humanizePercentage }} of all valid requests of the last five minutes were bad, over all routes together.",
            dashboard: ONCALL,
            proof: proof(
                8,
                &[
                    (
                        "vestibule_requests_total{route=\"a\",outcome=\"good\"}",
                        "0+10x20",
                    ),
                    (
                        "vestibule_requests_total{route=\"a\",outcome=\"bad\"}",
                        "0+30x20",
                    ),
                ],
            ),
        },
        Alarm {
            name: DOWN,
            severity: page,
            expr: format!("{up} == 0\nor absent({up})"),
            lasts: Some("1m"),
            summary: "Vestibule does not answer its scraper.",
            description: "{{ if $labels.instance }}{{ $labels.instance }} was{{ else }}No instance was{{ end }} reached for a minute. If the process is gone, so is everything it stood in front of.",
            dashboard: SELF,
            proof: proof(5, &[("up{job=\"vestibule\",instance=\"a\"}", "1 1 0+0x10")]),
        },
        Alarm {
            name: "VestibuleCrashLoops",
            severity: page,
            expr: format!(
                "changes({}[15m]) > 2",
                select(&PROCESS_START, &[("job", JOB)])
            ),
            lasts: None,
            summary: "Vestibule starts over and over.",
            description: "{{ $labels.instance }} was started {{ $value }} times in 15 minutes.",
            dashboard: SELF,
            proof: proof(
                8,
                &[(
                    "process_start_time_seconds{job=\"vestibule\",instance=\"a\"}",
                    "1 2 3 4+0x10",
                )],
            ),
        },
        Alarm {
            name: "VestibuleErrorsSurged",
            severity: page,
            expr: {
                let bad = |rest: &str| format!("sum by (route) (rate({bad}{rest}))");
                let valid = |rest: &str| format!("(sum by (route) (rate({valid}{rest})) > 0)");
                format!(
                    "{} / {} > 0.01\nand {} / {} > 10 * {} / {}\nand {} * 300 > 49.5",
                    bad("[5m]"),
                    valid("[5m]"),
                    bad("[5m]"),
                    valid("[5m]"),
                    bad("[1h] offset 5m"),
                    valid("[1h] offset 5m"),
                    bad("[5m]"),
                )
            },
            lasts: None,
            summary: "A route fails ten times as often as in the hour before.",
            description: "{{ $value | humanizePercentage }} of the valid requests of route {{ $labels.route }} were bad in the last five minutes, more than ten times the share of the hour before that.",
            dashboard: ONCALL,
            proof: proof(
                66,
                &[
                    (
                        "vestibule_requests_total{route=\"a\",outcome=\"good\"}",
                        "0+1000x80",
                    ),
                    (
                        "vestibule_requests_total{route=\"a\",outcome=\"bad\"}",
                        "0+1x62 162+100x10",
                    ),
                ],
            ),
        },
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of alerts")]
fn traffic_tickets() -> Vec<Alarm> {
    let ticket = Some(Severity::Ticket);
    let of_fault = |fault: Fault| select(&FAULTS, &[("fault", fault.as_str())]);
    let failed = select(&HANDSHAKES, &[("result", "failed")]);
    let no_route = of_fault(Fault::NoRoute);
    let mean = |offset: &str| {
        let part = |part: &str| {
            let name = format!("{}_{part}", DURATION.name);
            format!(
                "sum by (route) (rate({}[1d]{offset}))",
                matching(&name, &DURATION, &[])
            )
        };
        format!("{} / ({} > 0)", part("sum"), part("count"))
    };
    vec![
        Alarm {
            name: "VestibuleLatencyRises",
            severity: ticket,
            expr: format!(
                "{} > 1.15 * {}\nand sum by (route) (increase({}_count[1d])) > 999.5",
                mean(""),
                mean(" offset 3d"),
                DURATION.name
            ),
            lasts: Some("1h"),
            summary: "A route grows slower by the day.",
            description: "Valid requests of route {{ $labels.route }} took {{ $value | humanizeDuration }} on average over a day, more than 15 % longer than three days before.",
            dashboard: DEBUG,
            proof: Proof {
                step_min: 5,
                fires_at_min: 6_480,
                series: &[
                    (
                        "vestibule_request_duration_seconds_sum{route=\"a\"}",
                        "0+10x864 8645+20x500",
                    ),
                    (
                        "vestibule_request_duration_seconds_count{route=\"a\"}",
                        "0+100x1364",
                    ),
                ],
            },
        },
        Alarm {
            name: "VestibuleMisroutesSurged",
            severity: ticket,
            expr: format!(
                "sum(rate({no_route}[15m])) > 0.05 * sum(rate({}[15m]))\nand sum(rate({no_route}[15m])) > 5 * sum(rate({no_route}[1d] offset 15m))\nand sum(increase({no_route}[15m])) > 99.5",
                REQUESTS.name
            ),
            lasts: None,
            summary: "Many more requests than usual match no route.",
            description: "{{ $value | humanize }} requests a second match no route, five times as many as over the day before.",
            dashboard: DEBUG,
            proof: proof(
                78,
                &[
                    (
                        "vestibule_requests_total{route=\"a\",outcome=\"good\"}",
                        "0+100x100",
                    ),
                    (
                        "vestibule_faults_total{route=\"none\",side=\"downstream\",fault=\"no_route\"}",
                        "0+1x60 91+30x30",
                    ),
                ],
            ),
        },
        Alarm {
            name: "VestibuleOverloaded",
            severity: ticket,
            expr: format!(
                "sum by (route) (increase({}[5m])) > 9.5",
                of_fault(Fault::Overload)
            ),
            lasts: None,
            summary: "Vestibule refuses requests because it is over a limit of its own.",
            description: "{{ $value | humanize }} requests of route {{ $labels.route }} were refused in five minutes.",
            dashboard: SELF,
            proof: proof(
                8,
                &[(
                    "vestibule_faults_total{route=\"a\",side=\"edge\",fault=\"overload\"}",
                    "0+5x20",
                )],
            ),
        },
        Alarm {
            name: "VestibuleNamesDoNotResolve",
            severity: ticket,
            expr: format!(
                "sum by (route) (increase({}[15m])) > 4.5",
                of_fault(Fault::Dns)
            ),
            lasts: None,
            summary: "The names of a route's endpoints do not resolve.",
            description: "{{ $value | humanize }} requests of route {{ $labels.route }} failed in 15 minutes because an endpoint's name did not resolve.",
            dashboard: DEBUG,
            proof: proof(
                10,
                &[(
                    "vestibule_faults_total{route=\"a\",side=\"upstream\",fault=\"dns\"}",
                    "0+1x30",
                )],
            ),
        },
        Alarm {
            name: "VestibuleEndpointFails",
            severity: ticket,
            expr: format!(
                "max by (upstream, endpoint) ({}) == 0",
                ENDPOINT_HEALTHY.name
            ),
            lasts: Some("10m"),
            summary: "An endpoint has been failing for ten minutes.",
            description: "No instance thinks that {{ $labels.endpoint }} of {{ $labels.upstream }} works.",
            dashboard: ONCALL,
            proof: proof(
                14,
                &[(
                    "vestibule_endpoint_healthy{upstream=\"a\",endpoint=\"http://b:1\"}",
                    "1 1 0+0x30",
                )],
            ),
        },
        Alarm {
            name: "VestibuleEndpointFlaps",
            severity: ticket,
            expr: format!(
                "max by (upstream, endpoint) (changes({}[15m])) > 5",
                ENDPOINT_HEALTHY.name
            ),
            lasts: None,
            summary: "An endpoint fails and works again over and over.",
            description: "{{ $labels.endpoint }} of {{ $labels.upstream }} changed its health {{ $value }} times in 15 minutes.",
            dashboard: ONCALL,
            proof: proof(
                10,
                &[(
                    "vestibule_endpoint_healthy{upstream=\"a\",endpoint=\"http://b:1\"}",
                    "1 0 1 0 1 0 1 0 1 0 1+0x10",
                )],
            ),
        },
        Alarm {
            name: "VestibuleTlsHandshakesFail",
            severity: ticket,
            expr: format!(
                "sum(rate({failed}[30m])) / (sum(rate({}[30m])) > 0) > 0.05\nand sum(increase({failed}[30m])) > 49.5",
                HANDSHAKES.name
            ),
            lasts: Some("5m"),
            summary: "Many TLS handshakes with clients fail.",
            description: "{{ $value | humanizePercentage }} of the handshakes of the last half hour failed.",
            dashboard: DEBUG,
            proof: proof(
                40,
                &[
                    ("vestibule_tls_handshakes_total{result=\"ok\"}", "0+20x60"),
                    (
                        "vestibule_tls_handshakes_total{result=\"failed\"}",
                        "0+5x60",
                    ),
                ],
            ),
        },
        Alarm {
            name: "VestibuleConnectionsNotAccepted",
            severity: ticket,
            expr: format!("increase({}[15m]) > 0", ACCEPT_FAILURES.name),
            lasts: None,
            summary: "Connections of clients could not be accepted.",
            description: "{{ $labels.instance }} could not accept {{ $value | humanize }} connections in 15 minutes.",
            dashboard: SELF,
            proof: proof(10, &[("vestibule_accept_failures_total", "0 0 5+0x20")]),
        },
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of alerts")]
fn own_tickets() -> Vec<Alarm> {
    let ticket = Some(Severity::Ticket);
    let cpu = format!("rate({}[10m])", select(&PROCESS_CPU, &[("job", JOB)]));
    let files = |series| select(series, &[("job", JOB)]);
    vec![
        Alarm {
            name: "VestibuleCpuHigh",
            severity: ticket,
            expr: format!("{cpu} / {} > 0.7", select(&WORKERS, &[("job", JOB)])),
            lasts: Some("10m"),
            summary: "Vestibule uses more than 70 % of the CPU it can use.",
            description: "{{ $labels.instance }} uses {{ $value | humanizePercentage }} of one core for each of its workers.",
            dashboard: SELF,
            proof: proof(
                25,
                &[
                    (
                        "process_cpu_seconds_total{job=\"vestibule\",instance=\"a\"}",
                        "0+100x40",
                    ),
                    (
                        "vestibule_workers{job=\"vestibule\",instance=\"a\"}",
                        "2+0x40",
                    ),
                ],
            ),
        },
        Alarm {
            name: "VestibuleFileDescriptorsLow",
            severity: ticket,
            expr: format!(
                "{} / {} > 0.8",
                files(&PROCESS_FDS),
                files(&PROCESS_MAX_FDS)
            ),
            lasts: Some("5m"),
            summary: "Vestibule runs out of file descriptors.",
            description: "{{ $labels.instance }} has {{ $value | humanizePercentage }} of its file descriptors open. Without a free one no connection is accepted.",
            dashboard: SELF,
            proof: proof(
                8,
                &[
                    (
                        "process_open_fds{job=\"vestibule\",instance=\"a\"}",
                        "900+0x20",
                    ),
                    (
                        "process_max_fds{job=\"vestibule\",instance=\"a\"}",
                        "1024+0x20",
                    ),
                ],
            ),
        },
        Alarm {
            name: "VestibuleDegraded",
            severity: ticket,
            expr: format!("{} == 1", DEGRADED.name),
            lasts: Some("5m"),
            summary: "A part of Vestibule does not work as it should, though traffic goes on.",
            description: "The part {{ $labels.part }} of {{ $labels.instance }} is degraded; `vestibule status` says why.",
            dashboard: SELF,
            proof: proof(
                8,
                &[(
                    "vestibule_degraded{part=\"store\",instance=\"a\"}",
                    "0 1+0x20",
                )],
            ),
        },
        Alarm {
            name: "VestibuleReloadRefused",
            severity: ticket,
            expr: format!("{} == 1", CONFIG_REFUSED.name),
            lasts: Some("5m"),
            summary: "The last reload was refused, and the configuration before it still runs.",
            description: "What {{ $labels.instance }} runs and what is on its disk differ; a restart would fail.",
            dashboard: SELF,
            proof: proof(
                8,
                &[(
                    "vestibule_config_last_reload_refused{instance=\"a\"}",
                    "0 1+0x20",
                )],
            ),
        },
        Alarm {
            name: "VestibuleConfigDrifts",
            severity: ticket,
            expr: format!(
                "count by (route, upstream, owner) ({})\n  < on () group_left () count({})",
                ROUTE_INFO.name, BUILD_INFO.name
            ),
            lasts: Some("15m"),
            summary: "Instances run different configurations.",
            description: "Only {{ $value }} of the instances have route {{ $labels.route }} as it goes to {{ $labels.upstream }}.",
            dashboard: SELF,
            proof: proof(
                20,
                &[
                    (
                        "vestibule_build_info{version=\"1\",instance=\"a\"}",
                        "1+0x30",
                    ),
                    (
                        "vestibule_build_info{version=\"1\",instance=\"b\"}",
                        "1+0x30",
                    ),
                    (
                        "vestibule_route_info{route=\"r\",upstream=\"u\",owner=\"o\",instance=\"a\"}",
                        "1+0x30",
                    ),
                ],
            ),
        },
        Alarm {
            name: "VestibuleConfigAppliedSlowly",
            severity: ticket,
            expr: format!("{} > 30", CONFIG_APPLY.name),
            lasts: None,
            summary: "The last configuration took more than 30 seconds to apply.",
            description: "{{ $labels.instance }} took {{ $value | humanizeDuration }} until every worker had it.",
            dashboard: SELF,
            proof: proof(
                4,
                &[(
                    "vestibule_config_apply_seconds{instance=\"a\"}",
                    "1 1 31+0x9",
                )],
            ),
        },
        Alarm {
            name: "VestibuleQueueDrops",
            severity: ticket,
            expr: format!("increase({}[15m]) > 0", DROPPED.name),
            lasts: None,
            summary: "A bounded queue refused something.",
            description: "The queue {{ $labels.queue }} of {{ $labels.instance }} refused {{ $value | humanize }} entries in 15 minutes.",
            dashboard: SELF,
            proof: proof(
                10,
                &[(
                    "vestibule_queue_dropped_total{queue=\"store\"}",
                    "0 0 5+0x20",
                )],
            ),
        },
    ]
}
