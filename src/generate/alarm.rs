//! The alerts that do not depend on an SLO: the ingress as a whole, its backends, and Vestibule itself.
//!
//! Each comes with the samples that make it fire, from which its unit test is made.

use crate::catalog::{PROCESS_START, REQUESTS};
use crate::generate::JOB;
use crate::generate::promql::{matching, select};
use crate::slo::alert::AlertKind;
use crate::slo::policy::Severity;
use crate::triage::Topic;

mod outside;
mod own;
mod traffic;

/// The page alert of an SLO's policy.
pub(super) const BURNS_FAST: &str = "VestibuleErrorBudgetBurnsFast";
/// The ticket alert of an SLO's policy.
pub(super) const BURNS_SLOWLY: &str = "VestibuleErrorBudgetBurnsSlowly";
/// No series of an SLO arrives.
pub(super) const SLO_ABSENT: &str = "VestibuleSloMetricAbsent";
/// The whole ingress fails: more than any route's alert.
pub const OUTAGE: &str = "VestibuleIngressOutage";
/// A route fails far more often than usual.
pub(super) const SURGED: &str = "VestibuleErrorsSurged";
/// A part of Vestibule does not work as it should.
pub(super) const DEGRADED: &str = "VestibuleDegraded";
/// A certificate is about to end.
pub const CERTIFICATE_ENDS: &str = "VestibuleCertificateEnds";
/// A certificate is shown that clients refuse.
pub const CERTIFICATE_WRONG: &str = "VestibuleCertificateWrong";
/// A renewal is overdue.
pub(super) const RENEWAL_OVERDUE: &str = "VestibuleCertificateRenewalOverdue";
/// A busy route gets no request any more. Only Vestibule itself notices.
pub(super) const NO_REQUESTS: &str = "VestibuleRouteSilent";
/// A route grows slower by the day. Vestibule compares percentiles by the hour, the rule the mean of a day.
pub(super) const LATENCY_RISES: &str = "VestibuleLatencyRises";
/// The process before this one was not stopped. Only Vestibule itself notices.
pub(super) const CRASHED: &str = "VestibuleCrashed";
/// Many more requests than usual match no route.
pub(super) const MISROUTES_SURGED: &str = "VestibuleMisroutesSurged";
/// The names of endpoints lead nowhere.
pub(super) const NAMES_DO_NOT_RESOLVE: &str = "VestibuleNamesDoNotResolve";
/// An endpoint comes and goes.
pub(super) const ENDPOINT_FLAPS: &str = "VestibuleEndpointFlaps";
/// A probe fails.
pub(super) const PROBE_FAILS: &str = "VestibuleProbeFails";
/// Handshakes with clients fail.
pub(super) const HANDSHAKES_FAIL: &str = "VestibuleTlsHandshakesFail";
/// The processors are busy.
pub(super) const CPU_HIGH: &str = "VestibuleCpuHigh";
/// Memory grows.
pub(super) const MEMORY_GROWS: &str = "VestibuleMemoryGrows";
/// A configuration took long.
pub(super) const APPLIED_SLOWLY: &str = "VestibuleConfigAppliedSlowly";
/// No Vestibule answers the scraper.
pub(super) const DOWN: &str = "VestibuleDown";
/// Fires always, so that its absence shows that alerting itself is broken.
pub const WATCHDOG: &str = "VestibuleWatchdog";

/// The name of an alert: that of the generated rule that notices the same.
pub const fn alertname(kind: AlertKind, severity: Severity) -> &'static str {
    match (kind, severity) {
        (AlertKind::Burn, Severity::Page) => BURNS_FAST,
        (AlertKind::Burn, Severity::Ticket) => BURNS_SLOWLY,
        (AlertKind::Surge, _) => SURGED,
        (AlertKind::NoData, _) => NO_REQUESTS,
        (AlertKind::Slowdown, _) => LATENCY_RISES,
        (AlertKind::Outage, _) => OUTAGE,
        (AlertKind::Certificate, Severity::Page) => CERTIFICATE_ENDS,
        (AlertKind::Certificate, Severity::Ticket) => RENEWAL_OVERDUE,
        (AlertKind::Degraded, _) => DEGRADED,
        (AlertKind::Crash, _) => CRASHED,
    }
}

/// The name of the alert whose page says what to do about a verdict; `None` when no alert is about such a thing.
pub(super) const fn alert_about(topic: Topic, severity: Severity) -> Option<&'static str> {
    Some(match topic {
        Topic::Burn => alertname(AlertKind::Burn, severity),
        Topic::Certificate => CERTIFICATE_ENDS,
        Topic::Misroute => MISROUTES_SURGED,
        Topic::Silence => NO_REQUESTS,
        Topic::Slowdown => LATENCY_RISES,
        Topic::Flapping => ENDPOINT_FLAPS,
        Topic::Outside => PROBE_FAILS,
        Topic::Degraded => DEGRADED,
        Topic::Names => NAMES_DO_NOT_RESOLVE,
        Topic::Handshakes => HANDSHAKES_FAIL,
        Topic::Cpu => CPU_HIGH,
        Topic::Memory => MEMORY_GROWS,
        Topic::Configuration => APPLIED_SLOWLY,
        Topic::Clients => return None,
    })
}

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
    /// When it does not, beside the first sample.
    pub(super) quiet_at_min: &'static [u64],
    /// Series and their values, as promtool reads them.
    pub(super) series: &'static [(&'static str, &'static str)],
}

const fn proof(fires_at_min: u64, series: &'static [(&'static str, &'static str)]) -> Proof {
    Proof {
        step_min: 1,
        fires_at_min,
        quiet_at_min: &[],
        series,
    }
}

impl Proof {
    const fn quiet(mut self, minutes: &'static [u64]) -> Self {
        self.quiet_at_min = minutes;
        self
    }
}

const ONCALL: &str = "vestibule-on-call";
const SELF: &str = "vestibule-self";
const DEBUG: &str = "vestibule-debug";
const OUTSIDE: &str = "vestibule-outside";

/// Every alert that does not depend on an SLO, loudest first.
pub(super) fn alarms() -> Vec<Alarm> {
    let mut all = pages();
    all.extend(outside::certificates());
    all.extend(traffic::tickets());
    all.extend(outside::tickets());
    all.extend(own::tickets());
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
            name: SURGED,
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
