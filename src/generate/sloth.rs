//! What is recorded, under the names that Sloth gives it, so that dashboards made for it go on working.
//!
//! The figures are ours: what is left of a budget is weighted by requests, and an idle window has no figure instead of
//! one that is not a number.

use super::promql::{Recorded, decimal};
use super::rules::windows;
use super::spec::service;
use super::yaml::Yaml;
use super::{ALERTS, Artifact, Plan, banner};
use crate::model::{Slo, Window};
use crate::slo::policy::Severity;

const ABOUT: &str = "\
The recordings of the SLO under Sloth's names, for dashboards that ask for those. They read those of the SLO's own
file.";

/// A file for each SLO.
pub(super) fn rules(plan: &Plan) -> Vec<Artifact> {
    plan.slos.iter().map(|slo| file(plan, slo)).collect()
}

fn file(plan: &Plan, slo: &Slo) -> Artifact {
    let read = |what: Recorded, window| format!("max({})", what.of(slo, window));
    let mut rules: Vec<Yaml> = windows(plan, slo)
        .into_iter()
        // Over the SLO's own window it is what was spent, below.
        .filter(|window| *window != slo.window)
        .map(|window| {
            let name = format!("slo:sli_error:ratio_rate{window}");
            record(
                slo,
                &name,
                read(Recorded::Errors, window),
                window_label(window),
            )
        })
        .collect();
    let (whole, budget) = (
        slo.window,
        decimal(u64::from(slo.objective.budget_ppm()), 6),
    );
    let objective = decimal(u64::from(slo.objective.ppm()), 6);
    let spent = format!(
        "max({}) / (max({}) > 0)",
        Recorded::BadIncrease.of(slo, whole),
        Recorded::ValidIncrease.of(slo, whole)
    );
    let days = decimal(whole.as_secs() * 1_000 / 86_400, 3);
    let info = vec![
        ("sloth_mode", Yaml::text("vestibule")),
        (
            "sloth_objective",
            Yaml::text(slo.objective.to_string().trim_end_matches('%')),
        ),
        ("sloth_spec", Yaml::text("prometheus/v1")),
        ("sloth_version", Yaml::text("vestibule")),
    ];
    for (name, expr, more) in [
        (
            format!("slo:sli_error:ratio_rate{whole}"),
            spent.clone(),
            window_label(whole),
        ),
        (
            "slo:objective:ratio".to_owned(),
            format!("vector({objective})"),
            Vec::new(),
        ),
        (
            "slo:error_budget:ratio".to_owned(),
            format!("vector({budget})"),
            Vec::new(),
        ),
        (
            "slo:time_period:days".to_owned(),
            format!("vector({days})"),
            Vec::new(),
        ),
        (
            "slo:current_burn_rate:ratio".to_owned(),
            format!("{} / {budget}", read(Recorded::Errors, Window::minutes(5))),
            Vec::new(),
        ),
        (
            "slo:period_burn_rate:ratio".to_owned(),
            format!("{spent} / {budget}"),
            Vec::new(),
        ),
        (
            "slo:period_error_budget_remaining:ratio".to_owned(),
            read(Recorded::Remaining, whole),
            Vec::new(),
        ),
        ("sloth_slo_info".to_owned(), "vector(1)".to_owned(), info),
    ] {
        rules.push(record(slo, &name, expr, more));
    }
    let group = Yaml::map([
        ("name", Yaml::Text(format!("vestibule-sloth-{}", slo.id))),
        ("rules", Yaml::List(rules)),
    ]);
    let document = Yaml::map([("groups", Yaml::List(vec![group]))]);
    Artifact {
        path: format!("{ALERTS}/rules/sloth-{}.yaml", slo.id),
        text: banner(ABOUT) + &document.document(),
    }
}

fn window_label(window: Window) -> Vec<(&'static str, Yaml)> {
    vec![("sloth_window", Yaml::Text(window.to_string()))]
}

/// By which Sloth's dashboards know an SLO.
fn known_by(slo: &Slo) -> Vec<(&'static str, Yaml)> {
    let service = service(slo);
    vec![
        ("sloth_id", Yaml::Text(format!("{service}-{}", slo.id))),
        ("sloth_service", Yaml::text(&service)),
        ("sloth_slo", Yaml::text(&slo.id)),
    ]
}

/// What an alert has beside its own labels, so that dashboards made for Sloth count it.
pub(super) fn alert_labels(slo: &Slo, severity: Severity) -> Vec<(&'static str, Yaml)> {
    let mut labels = known_by(slo);
    labels.push(("sloth_severity", Yaml::text(severity.as_str())));
    labels
}

fn record(slo: &Slo, name: &str, expr: String, more: Vec<(&'static str, Yaml)>) -> Yaml {
    let mut labels = known_by(slo);
    labels.extend(more);
    Yaml::map([
        ("record", Yaml::text(name)),
        ("expr", Yaml::Block(expr)),
        ("labels", Yaml::map(labels)),
    ])
}
