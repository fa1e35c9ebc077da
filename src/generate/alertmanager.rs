//! Routing, grouping and inhibition for Alertmanager 0.25 and later.

use std::collections::BTreeSet;

use super::yaml::Yaml;
use super::{ALERTS, Artifact, Plan, alarm, banner};
use crate::slo::policy::Severity;

const ABOUT: &str = "\
Routes, groups and inhibitions for Alertmanager 0.25 and later, complete but for who is told: the receivers are names
with nothing in them. Copy the file and give each its integration, or take over `route`, `inhibit_rules` and
`time_intervals` into the configuration that you have.

    amtool check-config alertmanager.yaml";

/// The file.
pub(super) fn alertmanager(plan: &Plan) -> Artifact {
    let owners: BTreeSet<&str> = plan
        .slos
        .iter()
        .filter_map(|slo| slo.owner.as_deref())
        .collect();
    let mut receivers = vec!["others".to_owned(), "vestibule-watchdog".to_owned()];
    let mut routes = vec![watchdog()];
    for team in owners.into_iter().map(Some).chain([None]) {
        let name = team.unwrap_or("vestibule");
        routes.push(of_team(name, team));
        receivers.extend([Severity::Page, Severity::Ticket].map(|loud| receiver(name, loud)));
    }
    let receivers = receivers.into_iter().collect::<BTreeSet<_>>().into_iter();
    let receivers = receivers.map(|name| Yaml::map([("name", Yaml::Text(name))]));
    let ours = Yaml::map([
        ("matchers", Yaml::texts(["alertname=~\"Vestibule.+\""])),
        (
            "receiver",
            Yaml::Text(receiver("vestibule", Severity::Ticket)),
        ),
        ("routes", Yaml::List(routes)),
    ]);
    let document = Yaml::map([
        (
            "route",
            Yaml::map([
                ("receiver", Yaml::text("others")),
                ("group_by", Yaml::texts(["alertname"])),
                ("group_wait", Yaml::Word("30s".into())),
                ("group_interval", Yaml::Word("5m".into())),
                ("repeat_interval", Yaml::Word("4h".into())),
                ("routes", Yaml::List(vec![ours])),
            ]),
        ),
        ("inhibit_rules", inhibitions(plan)),
        ("time_intervals", working_hours()),
        ("receivers", Yaml::List(receivers.collect())),
    ]);
    Artifact {
        path: format!("{ALERTS}/alertmanager.yaml"),
        text: banner(ABOUT) + &document.document(),
    }
}

/// Who is told of `team`'s alerts of a severity.
fn receiver(team: &str, severity: Severity) -> String {
    match severity {
        Severity::Page => format!("{team}-pages"),
        Severity::Ticket => format!("{team}-tickets"),
    }
}

/// What fires always goes where its absence is noticed.
fn watchdog() -> Yaml {
    Yaml::map([
        ("matchers", matchers(&[("alertname", "=", alarm::WATCHDOG)])),
        ("receiver", Yaml::text("vestibule-watchdog")),
        ("group_interval", Yaml::Word("1m".into())),
        ("repeat_interval", Yaml::Word("5m".into())),
    ])
}

/// A team's alerts: those about its routes, or with `owner` as `None` those about nobody's.
fn of_team(name: &str, owner: Option<&str>) -> Yaml {
    // What is one incident for people: everything about a promise of a route. An alert about no promise is one for what
    // it names.
    let together = ["slo", "route", "scope", "region"];
    let apart = [
        "alertname",
        "slo",
        "route",
        "scope",
        "upstream",
        "name",
        "probe",
        "instance",
        "region",
    ];
    let group_by = if owner.is_some() {
        &together[..]
    } else {
        &apart[..]
    };
    let page = Yaml::map([
        (
            "matchers",
            matchers(&[("slo_severity", "=", Severity::Page.as_str())]),
        ),
        ("receiver", Yaml::Text(receiver(name, Severity::Page))),
    ]);
    let ticket = Yaml::map([
        (
            "matchers",
            matchers(&[("slo_severity", "=", Severity::Ticket.as_str())]),
        ),
        ("receiver", Yaml::Text(receiver(name, Severity::Ticket))),
        ("repeat_interval", Yaml::Word("1d".into())),
        ("active_time_intervals", Yaml::texts(["working-hours"])),
    ]);
    let mut entries = Vec::new();
    entries.extend(owner.map(|owner| ("matchers", matchers(&[("owner", "=", owner)]))));
    entries.push(("receiver", Yaml::Text(receiver(name, Severity::Ticket))));
    entries.push(("group_by", Yaml::texts(group_by.iter().copied())));
    entries.push(("routes", Yaml::List(vec![page, ticket])));
    Yaml::map(entries)
}

fn matchers(matchers: &[(&str, &str, &str)]) -> Yaml {
    Yaml::texts(matchers.iter().map(|(label, operator, value)| {
        format!("{label}{operator}{}", super::promql::quoted(value))
    }))
}

/// Which alert makes which others superfluous. Labels that neither side has count as equal, which is meant: without a
/// `region` there is one.
fn inhibitions(plan: &Plan) -> Yaml {
    let rule = |source: Yaml, target: Yaml, equal: &[&str]| {
        Yaml::map([
            ("source_matchers", source),
            ("target_matchers", target),
            ("equal", Yaml::texts(equal.iter().copied())),
        ])
    };
    let named = |name: &str| matchers(&[("alertname", "=", name)]);
    let tier = |tier: &str, slower: &str| {
        rule(
            matchers(&[("burnrate_tier", "=", tier)]),
            matchers(&[("burnrate_tier", "=~", slower)]),
            &["slo", "route", "region"],
        )
    };
    let mut rules = vec![
        rule(
            named(alarm::OUTAGE),
            matchers(&[(
                "alertname",
                "=~",
                "VestibuleErrorBudgetBurns.+|VestibuleErrorsSurged|VestibuleEndpointFails",
            )]),
            &["region"],
        ),
        rule(
            named(alarm::DOWN),
            matchers(&[("alertname", "=", alarm::SLO_ABSENT)]),
            &["region"],
        ),
        rule(
            named(alarm::BURNS_FAST),
            matchers(&[("alertname", "=", alarm::SURGED)]),
            &["route", "region"],
        ),
        rule(
            named(alarm::CERTIFICATE_ENDS),
            matchers(&[("alertname", "=", alarm::RENEWAL_OVERDUE)]),
            &["name", "region"],
        ),
        tier("fast", "medium|slow|long"),
        tier("medium", "slow|long"),
        tier("slow", "long"),
    ];
    for (narrow, wide) in plan.widened() {
        let narrow: Vec<String> = narrow.iter().map(|slo| expression(slo)).collect();
        rules.push(rule(
            matchers(&[
                ("alertname", "=", alarm::BURNS_FAST),
                ("slo", "=~", &narrow.join("|")),
            ]),
            matchers(&[
                // A page of a wider promise is told all the same: the narrow one may be silenced, or burn for another reason.
                ("alertname", "=", alarm::BURNS_SLOWLY),
                ("slo", "=", wide),
            ]),
            &["owner", "region"],
        ));
    }
    Yaml::List(rules)
}

/// A name as an expression that takes nothing else.
fn expression(name: &str) -> String {
    name.replace('.', "\\.")
}

/// When tickets are told. Pages know no hours.
fn working_hours() -> Yaml {
    let times = Yaml::map([
        ("start_time", Yaml::text("08:00")),
        ("end_time", Yaml::text("18:00")),
    ]);
    let span = Yaml::map([
        ("weekdays", Yaml::texts(["monday:friday"])),
        ("times", Yaml::List(vec![times])),
    ]);
    Yaml::List(vec![Yaml::map([
        ("name", Yaml::text("working-hours")),
        ("time_intervals", Yaml::List(vec![span])),
    ])])
}
