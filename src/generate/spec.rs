//! The promises in the words of other tools: `OpenSLO` v1, and Sloth's `prometheus/v1`.
//!
//! What they cannot say stands in annotations that mean nothing to others, so that `vestibule slo import` gives the same
//! SLOs again: both formats know good and total events, but neither knows a policy of ours, and Sloth's knows no window.
//! `OpenSLO` has no condition over two windows, so it is given no alert policies.

use std::collections::BTreeMap;

use super::promql::{decimal, select};
use super::yaml::Yaml;
use super::{Plan, banner};
use crate::catalog::SLO_EVENTS;
use crate::model::{About, Calendar, CalendarUnit, Reading, Sli, Slices, Slo, Vital, Worth};
use crate::slo::guards::Guards;
use crate::slo::policy::{Factor, Policy, PolicyRow, Threshold};

/// What the names of our annotations begin with in `OpenSLO`.
pub const OF_OPENSLO: &str = "vestibule/";
/// The same in Sloth's format, whose annotations are Prometheus's.
pub const OF_SLOTH: &str = "vestibule_";
/// What the alerts of an exported promise are called in Sloth's format.
pub const SLOTHS_ALERT: &str = "VestibuleErrorBudgetBurns";

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

/// What the formats have no words for, as annotations without their prefix.
fn marks(plan: &Plan, slo: &Slo) -> Vec<(&'static str, String)> {
    let length = |time| humantime::format_duration(time).to_string();
    let mut marks = vec![("sli", slo.sli.as_str().to_owned())];
    marks.extend(slo.about.wide_scope().map(|scope| ("scope", scope)));
    match slo.sli {
        Sli::Availability(reading) => {
            if reading.counts_client_errors() {
                marks.push(("reading", reading.to_string()));
            }
        }
        Sli::Connection | Sli::RateLimit => {}
        Sli::Latency { under } => marks.push(("under", length(under))),
        Sli::Probe { every } => marks.push(("every", length(every))),
        Sli::Vital(vital) => match vital {
            Vital::Cpu { most } | Vital::Memory { most } => {
                marks.push(("most", format!("{most}%")));
            }
            Vital::Apply { within } => marks.push(("within", length(within))),
            Vital::Handshake | Vital::Health => {}
        },
        Sli::Composite(weighing) => {
            let parts = slo.parts.iter();
            let parts = parts.map(|part| format!("{} {}", part.weight, part.slo));
            marks.push(("weigh", weighing.as_str().to_owned()));
            marks.push(("parts", parts.collect::<Vec<_>>().join(", ")));
        }
    }
    marks.extend(slo.probe.clone().map(|probe| ("probe", probe)));
    match &slo.calendar {
        None => marks.push(("window", slo.window.to_string())),
        Some(Calendar { unit, zone }) => {
            marks.push(("window", unit.to_string()));
            marks.push(("zone", zone.to_string()));
        }
    }
    if let Some(Slices {
        every,
        worth,
        empty,
    }) = slo.slices
    {
        let worth = match worth {
            Worth::Whole(objective) => objective.to_string(),
            Worth::Share => "share".to_owned(),
        };
        marks.push(("slices", format!("{every} {worth} {}", empty.as_str())));
    }
    marks.push(("policy", slo.policy.clone()));
    let shipped = Policy::shipped();
    if shipped.iter().all(|policy| policy.name != slo.policy) {
        let policy = plan.policy(slo);
        let rows = policy.into_iter().flat_map(|policy| &policy.rows).map(row);
        marks.push(("rows", rows.collect::<Vec<_>>().join(", ")));
        marks.extend(policy.map(|policy| ("guards", guards(policy.guards))));
    }
    marks.extend(slo.runbook.clone().map(|page| ("runbook", page)));
    marks
}

/// `page fast 1h 5m 14.4`, or `2%` at its end, or `2%/13.44` when it may not come to less.
fn row(row: &PolicyRow) -> String {
    let factor = |factor: Factor| decimal(u64::from(factor.0), 3);
    let over = match row.over {
        Threshold::Burn(burn) => factor(burn),
        Threshold::Spend { share, least: None } => share.to_string(),
        Threshold::Spend {
            share,
            least: Some(least),
        } => format!("{share}/{}", factor(least)),
    };
    let (severity, tier) = (row.severity.as_str(), row.tier.as_str());
    format!("{severity} {tier} {} {} {over}", row.long, row.short)
}

/// `6 5 volume confidence`: bad events that a page and a ticket need, and what else is asked for.
fn guards(guards: Guards) -> String {
    let mut text = format!("{} {}", guards.page_min_bad, guards.ticket_min_bad);
    for (is_on, word) in [
        (guards.volume_weight, " volume"),
        (guards.confidence, " confidence"),
    ] {
        if is_on {
            text.push_str(word);
        }
    }
    text
}

/// Marks as the annotations of a format.
fn annotations(prefix: &str, marks: Vec<(&'static str, String)>) -> Vec<(String, Yaml)> {
    let annotation = |(key, text): (&str, String)| (format!("{prefix}{key}"), Yaml::Text(text));
    marks.into_iter().map(annotation).collect()
}

/// What a good request did not do.
fn failing(reading: Reading) -> String {
    match reading {
        Reading::All => "were not answered 4xx or 5xx".to_owned(),
        Reading::Fault { also } if reading.counts_client_errors() => {
            format!("did not fail and were not answered {also}")
        }
        Reading::Fault { .. } => "did not fail".to_owned(),
    }
}

fn about(slo: &Slo) -> String {
    let requests = requests(slo);
    match slo.slices {
        None => requests,
        // The series counts slices, so that to its reader they are occurrences.
        Some(slices) => format!("Time in {slices}. {requests}"),
    }
}

fn requests(slo: &Slo) -> String {
    match slo.sli {
        Sli::Availability(reading) => {
            let how = failing(reading);
            format!("Valid requests of {} that {how}.", slo.about)
        }
        Sli::Latency { under } => format!(
            "Requests of {} that took at most {}.",
            slo.about,
            humantime::format_duration(under)
        ),
        Sli::Probe { .. } => format!(
            "Seconds for which probe {} of {} succeeded.",
            slo.probe.as_deref().unwrap_or_default(),
            slo.about
        ),
        Sli::Connection => format!("Attempts of {} that got a connection.", slo.about),
        Sli::RateLimit => format!("Requests of {} within their rate limits.", slo.about),
        Sli::Vital(vital) => format!("Counted: {}.", vital.good(&slo.about)),
        Sli::Composite(weighing) => {
            format!("By {}: {}.", weighing.as_str(), slo.weights())
        }
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
    let mut known: BTreeMap<String, &Slo> = BTreeMap::new();
    for slo in &plan.slos {
        known.entry(service(slo)).or_insert(slo);
    }
    let services = known.into_iter().map(|(service, slo)| {
        let (about, owner) = (capital(&slo.about), owner(plan, slo));
        let about = owner.map_or_else(
            || format!("{about}."),
            |owner| format!("{about}, of {owner}."),
        );
        let owner = owner.map(|owner| ("owner", owner.to_owned()));
        let annotations = annotations(OF_OPENSLO, owner.into_iter().collect());
        let spec = vec![("description", Yaml::Text(about))];
        object("Service", &service, annotations, spec)
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
            ("metadata", named(&slo.id, Vec::new())),
            ("spec", Yaml::map([("ratioMetric", ratio)])),
        ]);
        let window = time_window(slo);
        let target = Yaml::map([
            ("displayName", Yaml::Text(format!("{} good", slo.objective))),
            ("target", Yaml::Word(objective(slo))),
        ]);
        let spec = vec![
            ("description", Yaml::Text(about(slo))),
            ("service", Yaml::Text(label(&service(slo)))),
            ("indicator", indicator),
            ("timeWindow", Yaml::List(vec![window])),
            ("budgetingMethod", Yaml::text("Occurrences")),
            ("objectives", Yaml::List(vec![target])),
        ];
        object(
            "SLO",
            &slo.id,
            annotations(OF_OPENSLO, marks(plan, slo)),
            spec,
        )
    });
    services.chain(slos).collect()
}

/// What others take for the service of a promise: the route, or the scope with a dash in it.
pub fn service(slo: &Slo) -> String {
    match &slo.about {
        About::Route(id) => id.clone(),
        wide @ (About::Upstream(_)
        | About::Owner(_)
        | About::Limit(_)
        | About::Ingress
        | About::Parts) => wide.scope().replacen(':', "-", 1),
    }
}

/// Who answers for it.
fn owner<'a>(plan: &'a Plan, slo: &'a Slo) -> Option<&'a str> {
    let place = slo.about.route().and_then(|route| plan.places.get(route));
    place
        .and_then(|place| place.owner.as_ref())
        .map(String::as_str)
        .or(slo.owner.as_deref())
}

/// What an SLO is about, as a sentence begins with it.
fn capital(about: &About) -> String {
    let text = about.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn time_window(slo: &Slo) -> Yaml {
    let Some(Calendar { unit, zone }) = &slo.calendar else {
        return Yaml::map([
            ("duration", Yaml::Text(slo.window.to_string())),
            ("isRolling", Yaml::Word("true".into())),
        ]);
    };
    let duration = match unit {
        CalendarUnit::Week => "1w",
        CalendarUnit::Month => "1M",
        CalendarUnit::Quarter => "1Q",
    };
    let calendar = Yaml::map([
        ("startTime", Yaml::text(CALENDAR_START)),
        ("timeZone", Yaml::Text(zone.to_string())),
    ]);
    Yaml::map([
        ("duration", Yaml::text(duration)),
        ("isRolling", Yaml::Word("false".into())),
        ("calendar", calendar),
    ])
}

/// Where periods of the calendar are counted from: a Monday that begins a month and a quarter.
pub const CALENDAR_START: &str = "2024-01-01 00:00:00";

fn object(
    kind: &str,
    name: &str,
    annotations: Vec<(String, Yaml)>,
    spec: Vec<(&str, Yaml)>,
) -> Yaml {
    Yaml::map([
        ("apiVersion", Yaml::text("openslo/v1")),
        ("kind", Yaml::text(kind)),
        ("metadata", named(name, annotations)),
        ("spec", Yaml::map(spec)),
    ])
}

fn named(name: &str, annotations: Vec<(String, Yaml)>) -> Yaml {
    let mut entries = vec![
        ("name", Yaml::Text(label(name))),
        ("displayName", Yaml::text(name)),
    ];
    if !annotations.is_empty() {
        entries.push(("annotations", Yaml::map(annotations)));
    }
    Yaml::map(entries)
}

/// A name as RFC 1123 has it: small letters, digits and dashes.
pub fn label(name: &str) -> String {
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
    let mut services: BTreeMap<String, Vec<&Slo>> = BTreeMap::new();
    for slo in &plan.slos {
        services.entry(service(slo)).or_default().push(slo);
    }
    let document = |(service, slos): (String, Vec<&Slo>)| {
        let mut entries = vec![
            ("version", Yaml::text("prometheus/v1")),
            ("service", Yaml::text(&service)),
        ];
        let owner = slos.first().and_then(|slo| owner(plan, slo));
        entries.extend(owner.map(|owner| ("labels", Yaml::map([("owner", Yaml::text(owner))]))));
        let slos = slos.into_iter().map(|slo| of_sloth(plan, slo)).collect();
        entries.push(("slos", Yaml::List(slos)));
        Yaml::map(entries)
    };
    services.into_iter().map(document).collect()
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
    let mut notes = vec![("runbook_url".to_owned(), Yaml::Text(runbook))];
    notes.extend(annotations(OF_SLOTH, marks(plan, slo)));
    // The SLO's name keeps the alerts of several apart.
    let loud = |severity: &str| {
        let labels = [
            ("severity", Yaml::text(severity)),
            ("slo", Yaml::text(&slo.id)),
        ];
        Yaml::map([("labels", Yaml::map(labels))])
    };
    let alerting = Yaml::map([
        ("name", Yaml::text(SLOTHS_ALERT)),
        ("annotations", Yaml::map(notes)),
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
