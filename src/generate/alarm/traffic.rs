//! What requests, endpoints and clients are troubled by, and can wait for working hours.

use super::{
    Alarm, DEBUG, ENDPOINT_FLAPS, LATENCY_RISES, MISROUTES_SURGED, NAMES_DO_NOT_RESOLVE, ONCALL,
    Proof, SELF, proof,
};
use crate::catalog::{ACCEPT_FAILURES, DURATION, ENDPOINT_HEALTHY, FAULTS, HANDSHAKES, REQUESTS};
use crate::generate::promql::{matching, select};
use crate::model::Fault;
use crate::slo::policy::Severity;

#[expect(clippy::too_many_lines, reason = "a table of alerts")]
pub(super) fn tickets() -> Vec<Alarm> {
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
            name: LATENCY_RISES,
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
                quiet_at_min: &[],
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
            name: MISROUTES_SURGED,
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
            name: NAMES_DO_NOT_RESOLVE,
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
            name: ENDPOINT_FLAPS,
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
            name: super::HANDSHAKES_FAIL,
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
