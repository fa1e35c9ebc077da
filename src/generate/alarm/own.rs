//! What Vestibule itself is troubled by, and can wait for working hours.

use super::{Alarm, Proof, SELF, proof};
use crate::catalog::{
    BUILD_INFO, CONFIG_APPLY, CONFIG_REFUSED, DEGRADED, DROPPED, PROCESS_CPU, PROCESS_FDS,
    PROCESS_MAX_FDS, PROCESS_RSS, ROUTE_INFO, WORKERS,
};
use crate::generate::JOB;
use crate::generate::promql::select;
use crate::slo::policy::Severity;

#[expect(clippy::too_many_lines, reason = "a table of alerts")]
pub(super) fn tickets() -> Vec<Alarm> {
    let ticket = Some(Severity::Ticket);
    let cpu = format!("rate({}[10m])", select(&PROCESS_CPU, &[("job", JOB)]));
    let files = |series| select(series, &[("job", JOB)]);
    vec![
        Alarm {
            name: super::CPU_HIGH,
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
            name: super::MEMORY_GROWS,
            severity: ticket,
            expr: {
                let now = select(&PROCESS_RSS, &[("job", JOB)]);
                format!("{now} > 2 * ({now} offset 1d)\nand {now} > 268435456")
            },
            lasts: Some("1h"),
            summary: "Vestibule uses twice the memory of a day ago.",
            description: "{{ $labels.instance }} holds {{ $value | humanize1024 }}B, more than twice as much as at this time yesterday.",
            dashboard: SELF,
            proof: Proof {
                step_min: 5,
                fires_at_min: 1_560,
                quiet_at_min: &[1_440, 1_470],
                series: &[(
                    "process_resident_memory_bytes{job=\"vestibule\",instance=\"a\"}",
                    "2e8+0x287 5e8+0x40",
                )],
            },
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
            name: super::DEGRADED,
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
            name: super::APPLIED_SLOWLY,
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
