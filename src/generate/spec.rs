//! The promises in the words of other tools: `OpenSLO` v1, and Sloth's `prometheus/v1`.
//!
//! What they cannot say is left out: both know good and total events and a window, neither knows the guards of the alerts,
//! and `OpenSLO` has no condition over two windows, so it is given no alert policies.

use std::collections::{BTreeMap, BTreeSet};

use super::promql::{decimal, select};
use super::yaml::Yaml;
use super::{Plan, banner};
use crate::catalog::SLO_EVENTS;
use crate::model::{Sli, Slo};

/// A format for promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spec {
    /// `openslo/v1`: a service for each route and an SLO for each promise.
    OpenSlo,
    /// Sloth's `prometheus/v1`: one document for each route.
    Sloth,
}

/// Every promise, as YAML documents.
pub fn specify(plan: &Plan, spec: Spec) -> String {
    let documents = match spec {
        Spec::OpenSlo => openslo(plan),
        Spec::Sloth => sloth(plan),
    };
    let documents: Vec<String> = documents.iter().map(Yaml::document).collect();
    banner("The promises of a Vestibule configuration, counted from its own series.")
        + &documents.join("---\n")
}

fn about(slo: &Slo) -> String {
    match slo.sli {
        Sli::Availability => format!("Valid requests of route {} that did not fail.", slo.route),
        Sli::Latency { under } => format!(
            "Requests of route {} that took at most {}.",
            slo.route,
            humantime::format_duration(under)
        ),
        Sli::Probe { .. } => format!(
            "Seconds for which probe {} of route {} succeeded.",
            slo.probe.as_deref().unwrap_or_default(),
            slo.route
        ),
    }
}

/// Events per second over a window that the reader puts in: what those who make rules of either format look for.
fn rate(labels: &[(&str, &str)]) -> Yaml {
    let selector = select(&SLO_EVENTS, labels);
    Yaml::Text(format!("sum(rate({selector}[{{{{.window}}}}]))"))
}

fn objective(slo: &Slo) -> String {
    decimal(u64::from(slo.objective.ppm()), 6)
}

fn openslo(plan: &Plan) -> Vec<Yaml> {
    let routes: BTreeSet<&str> = plan.slos.iter().map(|slo| slo.route.as_str()).collect();
    let services = routes.into_iter().map(|route| {
        let owner = plan.owners.get(route);
        let about = owner.map_or_else(
            || format!("Route {route}."),
            |owner| format!("Route {route}, of {owner}."),
        );
        object("Service", route, vec![("description", Yaml::Text(about))])
    });
    let slos = plan.slos.iter().map(|slo| {
        let query = |labels: &[(&str, &str)]| {
            let source = Yaml::map([
                ("type", Yaml::text("Prometheus")),
                ("spec", Yaml::map([("query", rate(labels))])),
            ]);
            Yaml::map([("metricSource", source)])
        };
        let ratio = Yaml::map([
            ("counter", Yaml::Word("true".into())),
            ("good", query(&[("slo", &slo.id), ("result", "good")])),
            ("total", query(&[("slo", &slo.id)])),
        ]);
        let indicator = Yaml::map([
            ("metadata", named(&slo.id)),
            ("spec", Yaml::map([("ratioMetric", ratio)])),
        ]);
        let window = Yaml::map([
            ("duration", Yaml::Text(slo.window.to_string())),
            ("isRolling", Yaml::Word("true".into())),
        ]);
        let target = Yaml::map([
            ("displayName", Yaml::Text(format!("{} good", slo.objective))),
            ("target", Yaml::Word(objective(slo))),
        ]);
        let spec = vec![
            ("description", Yaml::Text(about(slo))),
            ("service", Yaml::Text(label(&slo.route))),
            ("indicator", indicator),
            ("timeWindow", Yaml::List(vec![window])),
            ("budgetingMethod", Yaml::text("Occurrences")),
            ("objectives", Yaml::List(vec![target])),
        ];
        object("SLO", &slo.id, spec)
    });
    services.chain(slos).collect()
}

fn object(kind: &str, name: &str, spec: Vec<(&str, Yaml)>) -> Yaml {
    Yaml::map([
        ("apiVersion", Yaml::text("openslo/v1")),
        ("kind", Yaml::text(kind)),
        ("metadata", named(name)),
        ("spec", Yaml::map(spec)),
    ])
}

fn named(name: &str) -> Yaml {
    Yaml::map([
        ("name", Yaml::Text(label(name))),
        ("displayName", Yaml::text(name)),
    ])
}

/// A name as RFC 1123 has it: small letters, digits and dashes.
fn label(name: &str) -> String {
    let small = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    name.chars()
        .map(small)
        .collect::<String>()
        .trim_matches('-')
        .to_owned()
}

fn sloth(plan: &Plan) -> Vec<Yaml> {
    let mut routes: BTreeMap<&str, Vec<&Slo>> = BTreeMap::new();
    for slo in &plan.slos {
        routes.entry(&slo.route).or_default().push(slo);
    }
    let document = |(route, slos): (&str, Vec<&Slo>)| {
        let mut entries = vec![
            ("version", Yaml::text("prometheus/v1")),
            ("service", Yaml::text(route)),
        ];
        let owner = plan.owners.get(route);
        entries.extend(owner.map(|owner| ("labels", Yaml::map([("owner", Yaml::text(owner))]))));
        let slos = slos.into_iter().map(|slo| of_sloth(plan, slo)).collect();
        entries.push(("slos", Yaml::List(slos)));
        Yaml::map(entries)
    };
    routes.into_iter().map(document).collect()
}

fn of_sloth(plan: &Plan, slo: &Slo) -> Yaml {
    let events = Yaml::map([
        ("error_query", rate(&[("slo", &slo.id), ("result", "bad")])),
        ("total_query", rate(&[("slo", &slo.id)])),
    ]);
    let runbook = slo
        .runbook
        .clone()
        .unwrap_or_else(|| plan.runbook(super::alarm::BURNS_FAST));
    // The SLO's name keeps the alerts of several apart.
    let loud = |severity: &str| {
        let labels = [
            ("severity", Yaml::text(severity)),
            ("slo", Yaml::text(&slo.id)),
        ];
        Yaml::map([("labels", Yaml::map(labels))])
    };
    let alerting = Yaml::map([
        ("name", Yaml::text("VestibuleErrorBudgetBurns")),
        (
            "annotations",
            Yaml::map([("runbook_url", Yaml::Text(runbook))]),
        ),
        ("page_alert", loud("critical")),
        ("ticket_alert", loud("warning")),
    ]);
    let percent = slo.objective.to_string();
    Yaml::map([
        ("name", Yaml::text(&slo.id)),
        (
            "objective",
            Yaml::Word(percent.trim_end_matches('%').to_owned()),
        ),
        ("description", Yaml::Text(about(slo))),
        ("sli", Yaml::map([("events", events)])),
        ("alerting", alerting),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_labels_of_rfc_1123() {
        for (name, written) in [("a.b_C-d", "a-b-c-d"), ("-x-", "x"), ("9", "9")] {
            assert_eq!(label(name), written);
        }
    }
}
