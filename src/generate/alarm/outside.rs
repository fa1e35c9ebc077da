//! What is seen from outside: certificates, probes; and who is told.

use super::{
    Alarm, CERTIFICATE_ENDS, CERTIFICATE_WRONG, OUTSIDE, PROBE_FAILS, RENEWAL_OVERDUE, SELF, proof,
};
use crate::catalog::{
    CERT_ALERTS, CERT_NOT_AFTER, CERT_NOT_BEFORE, NOTIFICATIONS, OTLP_DROPPED, PROBE_COVERAGE,
    PROBE_SUCCESS,
};
use crate::generate::promql::{matching, select};
use crate::slo::policy::Severity;

/// What the live alerts say of certificates. The page looks at the dates themselves and not at what Vestibule makes of
/// them, so that it is Prometheus's own judgement: below 24 hours, or 15 % of a shorter life (`cert::expiry`).
pub(super) fn certificates() -> Vec<Alarm> {
    let (after, before) = (CERT_NOT_AFTER.name, CERT_NOT_BEFORE.name);
    let alerts = |matchers: &[(&str, &str, &str)]| {
        let selected = matching(CERT_ALERTS.name, &CERT_ALERTS, matchers);
        format!("max by (name, source, kind) ({selected}) == 1")
    };
    vec![
        Alarm {
            name: CERTIFICATE_ENDS,
            severity: Some(Severity::Page),
            expr: format!(
                "min by (name, source, place) (\n  {after} + 1 - time()\n  <= clamp_max(0.15 * ({after} + 1 - {before}), 86400)\n)"
            ),
            lasts: None,
            summary: "A certificate ends within 24 hours, or has ended.",
            description: "{{ $value | humanizeDuration }} are left of certificate {{ $labels.name }}, as {{ $labels.source }} {{ $labels.place }} has it. Then clients refuse to connect, and no objective counts them.",
            dashboard: OUTSIDE,
            // 24 hours are left at the sixtieth minute.
            proof: proof(
                60,
                &[
                    (
                        "vestibule_certificate_not_after_seconds{name=\"shop\",source=\"file\",place=\"shop.pem\"}",
                        "89999+0x100",
                    ),
                    (
                        "vestibule_certificate_not_before_seconds{name=\"shop\",source=\"file\",place=\"shop.pem\"}",
                        "-7000000+0x100",
                    ),
                ],
            )
            .quiet(&[59]),
        },
        Alarm {
            name: CERTIFICATE_WRONG,
            severity: Some(Severity::Page),
            expr: alerts(&[("severity", "=", "page"), ("kind", "!~", "expiry|expired")]),
            lasts: Some("2m"),
            summary: "A certificate is shown that clients refuse.",
            description: "{{ $labels.name }} as {{ $labels.source }} has it: {{ $labels.kind }}; `vestibule certs` says more.",
            dashboard: OUTSIDE,
            proof: proof(
                6,
                &[(
                    "vestibule_certificate_alert_state{name=\"shop.example\",source=\"listener\",kind=\"name\",severity=\"page\"}",
                    "_ 1+0x8 _x20",
                )],
            )
            .quiet(&[2, 20]),
        },
        Alarm {
            name: RENEWAL_OVERDUE,
            severity: Some(Severity::Ticket),
            expr: alerts(&[("severity", "=~", "warn|ticket"), ("kind", "=", "expiry")]),
            lasts: Some("15m"),
            summary: "A certificate should have been renewed by now.",
            description: "The renewal of {{ $labels.name }}, as {{ $labels.source }} has it, is overdue; `vestibule certs` says how much of its life is left.",
            dashboard: OUTSIDE,
            proof: proof(
                20,
                &[(
                    "vestibule_certificate_alert_state{name=\"shop\",source=\"file\",kind=\"expiry\",severity=\"warn\"}",
                    "1+0x20 _x20",
                )],
            )
            .quiet(&[10, 30]),
        },
        Alarm {
            name: "VestibuleCertificateDoubtful",
            severity: Some(Severity::Ticket),
            expr: alerts(&[("severity", "=~", "warn|ticket"), ("kind", "!=", "expiry")]),
            lasts: Some("15m"),
            summary: "A certificate cannot be read, or is not what it should be.",
            description: "{{ $labels.name }} as {{ $labels.source }} has it: {{ $labels.kind }}; `vestibule certs` says more.",
            dashboard: OUTSIDE,
            proof: proof(
                20,
                &[(
                    "vestibule_certificate_alert_state{name=\"old.example\",source=\"listener\",kind=\"unreadable\",severity=\"warn\"}",
                    "1+0x20 _x20",
                )],
            )
            .quiet(&[10, 30]),
        },
    ]
}

/// What is seen from outside, and who is told.
pub(super) fn tickets() -> Vec<Alarm> {
    let ticket = Some(Severity::Ticket);
    let failed = select(&NOTIFICATIONS, &[("result", "failed")]);
    vec![
        Alarm {
            name: PROBE_FAILS,
            severity: ticket,
            expr: format!("max by (probe) ({}) == 0", PROBE_SUCCESS.name),
            lasts: Some("10m"),
            summary: "A probe has been failing for ten minutes.",
            description: "No run of probe {{ $labels.probe }} was well on any instance.",
            dashboard: OUTSIDE,
            proof: proof(
                14,
                &[(
                    "vestibule_probe_success{probe=\"shop-front\",instance=\"a\"}",
                    "1 1 0+0x15 1+0x20",
                )],
            )
            .quiet(&[8, 25]),
        },
        Alarm {
            name: "VestibuleProbesMissed",
            severity: ticket,
            expr: format!("max by (probe) ({}) < 0.9", PROBE_COVERAGE.name),
            lasts: Some("15m"),
            summary: "A probe is not run as often as it should be.",
            description: "Only {{ $value | humanizePercentage }} of the slots of probe {{ $labels.probe }} of the last hour were run: its ratio says little.",
            dashboard: OUTSIDE,
            proof: proof(
                20,
                &[(
                    "vestibule_probe_coverage_ratio{probe=\"shop-front\",instance=\"a\"}",
                    "0.5+0x25 1+0x20",
                )],
            )
            .quiet(&[10, 35]),
        },
        Alarm {
            name: "VestibuleNotificationsFail",
            severity: ticket,
            expr: format!("sum by (instance, receiver) (increase({failed}[10m])) > 0"),
            lasts: Some("10m"),
            summary: "A receiver of alerts cannot be told.",
            description: "{{ $labels.instance }} has failed for ten minutes to tell {{ $labels.receiver }} of its alerts. This one comes by Prometheus.",
            dashboard: SELF,
            proof: proof(
                20,
                &[(
                    "vestibule_notifications_total{instance=\"a\",receiver=\"pager\",result=\"failed\"}",
                    "0+1x25 25+0x30",
                )],
            )
            .quiet(&[8, 45]),
        },
        Alarm {
            name: "VestibuleTelemetryLost",
            severity: ticket,
            expr: format!("sum by (instance, signal) (increase({}[15m])) > 0", OTLP_DROPPED.name),
            lasts: Some("15m"),
            summary: "Telemetry is lost on its way to the receiver.",
            description: "{{ $labels.instance }} lost {{ $value | humanize }} items of {{ $labels.signal }} in 15 minutes. Requests are not affected.",
            dashboard: SELF,
            proof: proof(
                25,
                &[(
                    "vestibule_otlp_dropped_total{instance=\"a\",signal=\"traces\",reason=\"queue_full\"}",
                    "0+9x30 270+0x40",
                )],
            )
            .quiet(&[10, 60]),
        },
    ]
}
