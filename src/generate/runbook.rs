//! A page for every alert: what it means and what to do, and its rules as this configuration has them.

use std::fmt::Write as _;

use super::alarm::{self, Alarm};
use super::{ALERTS, Artifact, MARK, Plan, rules};
use crate::slo::policy::Severity;
use crate::triage::Topic;

/// The page of an alert. One page may serve several.
fn prose(name: &str) -> &'static str {
    match name {
        alarm::BURNS_FAST => include_str!("../../docs/runbooks/budget-burn-fast.md"),
        alarm::BURNS_SLOWLY => include_str!("../../docs/runbooks/budget-burn-slow.md"),
        alarm::SLO_ABSENT => include_str!("../../docs/runbooks/slo-absent.md"),
        alarm::OUTAGE => include_str!("../../docs/runbooks/ingress-outage.md"),
        alarm::DOWN => include_str!("../../docs/runbooks/down.md"),
        alarm::CERTIFICATE_ENDS
        | alarm::RENEWAL_OVERDUE
        | alarm::CERTIFICATE_WRONG
        | "VestibuleCertificateDoubtful" => {
            include_str!("../../docs/runbooks/certificates.md")
        }
        alarm::WATCHDOG => include_str!("../../docs/runbooks/watchdog.md"),
        "VestibuleCrashLoops" | alarm::CRASHED => include_str!("../../docs/runbooks/crash-loop.md"),
        alarm::SURGED => include_str!("../../docs/runbooks/errors-surged.md"),
        alarm::LATENCY_RISES => include_str!("../../docs/runbooks/latency-rises.md"),
        alarm::NO_REQUESTS => include_str!("../../docs/runbooks/route-silent.md"),
        alarm::MISROUTES_SURGED => include_str!("../../docs/runbooks/misroutes.md"),
        "VestibuleOverloaded" => include_str!("../../docs/runbooks/overloaded.md"),
        alarm::NAMES_DO_NOT_RESOLVE => include_str!("../../docs/runbooks/names.md"),
        "VestibuleEndpointFails" | alarm::ENDPOINT_FLAPS => {
            include_str!("../../docs/runbooks/endpoint.md")
        }
        alarm::HANDSHAKES_FAIL => include_str!("../../docs/runbooks/tls-handshakes.md"),
        "VestibuleConnectionsNotAccepted" | "VestibuleFileDescriptorsLow" => {
            include_str!("../../docs/runbooks/connections.md")
        }
        alarm::CPU_HIGH => include_str!("../../docs/runbooks/cpu.md"),
        alarm::DEGRADED => include_str!("../../docs/runbooks/degraded.md"),
        "VestibuleReloadRefused" => include_str!("../../docs/runbooks/reload-refused.md"),
        "VestibuleConfigDrifts" | alarm::APPLIED_SLOWLY => {
            include_str!("../../docs/runbooks/config-change.md")
        }
        alarm::MEMORY_GROWS => include_str!("../../docs/runbooks/memory.md"),
        "VestibuleNotificationsFail" => include_str!("../../docs/runbooks/notifications.md"),
        alarm::PROBE_FAILS | "VestibuleProbesMissed" => {
            include_str!("../../docs/runbooks/probes.md")
        }
        "VestibuleTelemetryLost" => include_str!("../../docs/runbooks/telemetry-lost.md"),
        "VestibuleQueueDrops" => include_str!("../../docs/runbooks/queue-drops.md"),
        _ => "",
    }
}

/// What to do about an alert of this name, in its own words, without the rules of a configuration; empty when there is no
/// page.
pub(super) fn of(name: &str) -> String {
    unlinked(prose(name))
}

/// What to do about what a verdict is about.
pub(super) fn about(topic: Topic, severity: Severity) -> String {
    let name = alarm::alert_about(topic, severity);
    name.map_or_else(
        || unlinked(include_str!("../../docs/runbooks/clients.md")),
        of,
    )
}

/// Every page.
pub(super) fn runbooks(plan: &Plan) -> Vec<Artifact> {
    let mut pages: Vec<Artifact> = alarm::alarms().iter().map(fixed).collect();
    pages.push(page(
        alarm::BURNS_FAST,
        "Someone is paged.",
        &of_rows(plan, Severity::Page),
    ));
    pages.push(page(
        alarm::BURNS_SLOWLY,
        "A ticket.",
        &of_rows(plan, Severity::Ticket),
    ));
    let absent = "```promql\nabsent(vestibule_slo_events_total{slo=\"…\"})    # for 10m, for each SLO\n```\n";
    pages.push(page(alarm::SLO_ABSENT, "A ticket.", absent));
    let own = "Only Vestibule itself notices; no rule of Prometheus does.\n";
    pages.push(page(alarm::NO_REQUESTS, "A ticket.", own));
    pages.push(page(alarm::CRASHED, "Someone is paged.", own));
    pages
}

fn fixed(alarm: &Alarm) -> Artifact {
    let loud = match alarm.severity {
        Some(Severity::Page) => "Someone is paged.",
        Some(Severity::Ticket) => "A ticket.",
        None => "For machines.",
    };
    let lasts = alarm
        .lasts
        .map_or_else(String::new, |lasts| format!("    # for {lasts}"));
    page(
        alarm.name,
        loud,
        &format!("```promql\n{}{lasts}\n```\n", alarm.expr),
    )
}

/// The rows of every SLO's policy that are of one severity, and each rule once as an example.
fn of_rows(plan: &Plan, severity: Severity) -> String {
    let mut text = String::from(
        "| SLO | about | owner | objective | tier | long window | short window | burns more than |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let mut example = None;
    for slo in &plan.slos {
        let rows = plan.rows(slo);
        for row in rows.iter().filter(|row| row.severity == severity) {
            let owner = slo.owner.as_deref().unwrap_or_default();
            let factor = super::promql::decimal(u64::from(row.factor.0), 3);
            writeln!(
                text,
                "| `{}` | `{}` | {owner} | {} over {} | {} | {} | {} | {factor} times too fast |",
                slo.id,
                slo.about
                    .route()
                    .map_or_else(|| slo.about.scope(), ToOwned::to_owned),
                slo.objective,
                slo.window,
                row.tier.as_str(),
                row.long,
                row.short
            )
            .expect("writing to a string cannot fail");
            example.get_or_insert_with(|| rules::condition(slo, row, plan.guards(slo)));
        }
    }
    example.map_or_else(
        || "No SLO has such a row.\n".to_owned(),
        |example| format!("{text}\nThe first of them, written out:\n\n```promql\n{example}\n```\n"),
    )
}

fn page(name: &str, loud: &str, rule: &str) -> Artifact {
    let prose = unlinked(prose(name));
    let prose = prose.trim_end();
    Artifact {
        path: format!("{ALERTS}/runbooks/{name}.md"),
        text: format!("<!-- {MARK} -->\n\n{prose}\n\n## The rule\n\n`{name}`. {loud}\n\n{rule}"),
    }
}

/// The text without links to files beside it, which are not where the page goes.
fn unlinked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        out.push_str(before);
        let link_of_words = link.split_once("](").and_then(|(words, after)| {
            let (target, after) = after.split_once(')')?;
            let plain = !words.contains(['[', '\n']) && !target.contains("://");
            plain.then_some((words, after))
        });
        if let Some((words, after)) = link_of_words {
            out.push_str(words);
            rest = after;
        } else {
            out.push('[');
            rest = link;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::alert::AlertKind;

    #[test]
    fn there_is_something_to_do_about_every_verdict() {
        for topic in Topic::ALL {
            let page = about(topic, Severity::Ticket);
            assert!(page.contains("## What to do"), "{topic:?}");
        }
    }

    #[test]
    fn every_alert_has_a_page_of_its_own_words() {
        let names = alarm::alarms().into_iter().map(|alarm| alarm.name);
        let severities = [Severity::Page, Severity::Ticket];
        let own = AlertKind::ALL.into_iter();
        let own = own.flat_map(|kind| severities.map(|it| alarm::alertname(kind, it)));
        for name in names.chain(own).chain([alarm::SLO_ABSENT]) {
            let prose = prose(name);
            for part in [
                "# ",
                "## What it means",
                "## First look",
                "## What to do",
                "## When it is over",
            ] {
                assert!(prose.contains(part), "{name}: {part}");
            }
        }
    }

    #[test]
    fn links_to_files_beside_a_page_are_words() {
        assert_eq!(
            unlinked("see [the docs](../config.md#x), a[0] and [web](https://a.b/c)"),
            "see the docs, a[0] and [web](https://a.b/c)"
        );
    }
}
