//! Imported promises as text of a configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{Imported, Promise, Service};
use crate::config::kind::{Kind, OWNER, Scalar, WEB_PAGE};
use crate::generate::spec::label;
use crate::model::{About, Reading, Sli, Slices, Vital, Window, Worth};
use crate::slo::guards::Guards;
use crate::slo::policy::{DEFAULT_POLICY, Factor, Policy, Threshold};

const HEAD: &str = "\
# Written by `vestibule slo import`. What is left to say is who answers: give each upstream its endpoints, and each route
# the hosts and paths of its requests. `vestibule check` says what else a file lacks.

[[listener]]
name = \"http\"
address = \"127.0.0.1:8080\"
";

/// How long counts are kept unless a configuration says otherwise.
const KEPT: Window = Window::days(92);

/// A whole configuration.
pub(super) fn whole(imported: &Imported) -> String {
    let mut text = HEAD.to_owned();
    let mut routes: BTreeMap<&str, Service> = BTreeMap::new();
    for promise in &imported.promises {
        let Some(route) = promise.slo.about.route() else {
            continue;
        };
        let service = imported.services.get(route).cloned().unwrap_or_default();
        routes.insert(route, service);
    }
    let mut taken = BTreeSet::new();
    for (place, (route, service)) in routes.into_iter().enumerate() {
        let name = quoted(route);
        let mut host = format!("{}.example", host(route));
        if !taken.insert(host.clone()) {
            host = format!("r{place}.{host}");
        }
        let host = quoted(&host);
        put(
            &mut text,
            &format!("\n[[upstream]]\nname = {name}\nendpoints = []\n\n"),
        );
        remark(&mut text, service.about.as_deref());
        put(
            &mut text,
            &format!("[[route]]\nid = {name}\nhosts = [{host}]\nupstream = {name}\n"),
        );
        if let Some(owner) = service
            .owner
            .filter(|owner| OWNER.read(Scalar::Text(owner)).is_ok())
        {
            put(&mut text, &format!("owner = {}\n", quoted(&owner)));
        }
    }
    if let Some(longest) = imported.longest().filter(|longest| *longest > KEPT) {
        put(
            &mut text,
            &format!("\n# As long as the longest window.\n[history]\nhours = \"{longest}\"\n"),
        );
    }
    text + &tables(imported, &Policy::shipped())
}

/// The tables of the promises, and of the policies that are not `known`.
pub(super) fn tables(imported: &Imported, known: &[Policy]) -> String {
    let mut text = String::new();
    for promise in &imported.promises {
        slo(&mut text, promise);
    }
    for policy in &imported.policies {
        let has = |other: &Policy| other.name == policy.name;
        let used = imported.slos().any(|slo| slo.policy == policy.name);
        if used && !known.iter().any(has) {
            self::policy(&mut text, policy);
        }
    }
    text
}

fn slo(text: &mut String, promise: &Promise) {
    let slo = &promise.slo;
    text.push('\n');
    remark(text, promise.about.as_deref());
    put(
        text,
        &format!(
            "[[slo]]\nid = {}\n{}sli = \"{}\"\n",
            quoted(&slo.id),
            match &slo.about {
                About::Route(id) => format!("route = {}\n", quoted(id)),
                About::Upstream(name) => format!("upstream = {}\n", quoted(name)),
                About::Owner(name) => format!("owner = {}\n", quoted(name)),
                About::Limit(name) => format!("limit = {}\n", quoted(name)),
                About::Ingress => "ingress = true\n".to_owned(),
                About::Parts => String::new(),
            },
            slo.sli.as_str()
        ),
    );
    match slo.sli {
        Sli::Availability(Reading::All) => put(text, "reading = \"all\"\n"),
        Sli::Availability(reading @ Reading::Fault { also }) if reading.counts_client_errors() => {
            // "4xx" for all of them, or one by one.
            let also: Vec<String> = also.to_string().split(',').map(quoted).collect();
            put(text, &format!("bad_status = [{}]\n", also.join(", ")));
        }
        Sli::Composite(weighing) => {
            put(text, &format!("weigh = \"{}\"\n", weighing.as_str()));
        }
        Sli::Availability(Reading::Fault { .. })
        | Sli::Latency { .. }
        | Sli::Connection
        | Sli::RateLimit
        | Sli::Probe { .. } => {}
        Sli::Vital(vital) => match vital {
            Vital::Cpu { most } | Vital::Memory { most } => {
                put(text, &format!("most = \"{most}%\"\n"));
            }
            Vital::Apply { within } => {
                put(
                    text,
                    &format!("within = \"{}\"\n", humantime::format_duration(within)),
                );
            }
            Vital::Handshake | Vital::Health => {}
        },
    }
    if let Sli::Latency { under } = slo.sli {
        put(
            text,
            &format!("under = \"{}\"\n", humantime::format_duration(under)),
        );
    }
    if let Some(probe) = &slo.probe {
        put(text, &format!("probe = {}\n", quoted(probe)));
    }
    put(
        text,
        &format!(
            "objective = \"{}\"\nwindow = \"{}\"\n",
            slo.objective,
            match &slo.calendar {
                None => slo.window.to_string(),
                Some(calendar) => calendar.unit.to_string(),
            }
        ),
    );
    if let Some(calendar) = &slo.calendar {
        put(text, &format!("zone = \"{}\"\n", calendar.zone));
    }
    if let Some(Slices {
        every,
        worth,
        empty,
    }) = slo.slices.filter(|_| slo.parts.is_empty())
    {
        let budgeting = match worth {
            Worth::Whole(objective) => format!("timeslices\"\nslice_objective = \"{objective}"),
            Worth::Share => "ratio-timeslices".to_owned(),
        };
        put(
            text,
            &format!(
                "budgeting = \"{budgeting}\"\nslice = \"{every}\"\nempty_slice = \"{}\"\n",
                empty.as_str()
            ),
        );
    }
    if slo.policy != DEFAULT_POLICY {
        put(text, &format!("policy = {}\n", quoted(&slo.policy)));
    }
    if let Some(runbook) = &slo.runbook {
        put(text, &format!("runbook = {}\n", quoted(runbook)));
    }
    for part in &slo.parts {
        let (slo, weight) = (quoted(&part.slo), part.weight);
        put(
            text,
            &format!("\n[[slo.part]]\nslo = {slo}\nweight = {weight}\n"),
        );
    }
}

fn policy(text: &mut String, policy: &Policy) {
    put(
        text,
        &format!("\n[[policy]]\nname = {}\n", quoted(&policy.name)),
    );
    let (guards, usual) = (policy.guards, Guards::default());
    for (key, value, is_usual) in [
        (
            "page_min_bad",
            guards.page_min_bad.to_string(),
            guards.page_min_bad == usual.page_min_bad,
        ),
        (
            "ticket_min_bad",
            guards.ticket_min_bad.to_string(),
            guards.ticket_min_bad == usual.ticket_min_bad,
        ),
        (
            "volume_weight",
            guards.volume_weight.to_string(),
            guards.volume_weight == usual.volume_weight,
        ),
        (
            "confidence",
            guards.confidence.to_string(),
            guards.confidence == usual.confidence,
        ),
    ] {
        if !is_usual {
            put(text, &format!("{key} = {value}\n"));
        }
    }
    for row in &policy.rows {
        let factor = |key: &str, factor: Factor| {
            format!("{key} = {}.{:03}\n", factor.0 / 1_000, factor.0 % 1_000)
        };
        let over = match row.over {
            Threshold::Burn(burn) => factor("factor", burn),
            Threshold::Spend { share, least } => {
                let least = least.map(|least| factor("least", least));
                format!("spend = \"{share}\"\n{}", least.unwrap_or_default())
            }
        };
        put(
            text,
            &format!(
                "\n[[policy.row]]\nseverity = \"{}\"\ntier = \"{}\"\nlong = \"{}\"\nshort = \"{}\"\n{over}",
                row.severity.as_str(),
                row.tier.as_str(),
                row.long,
                row.short,
            ),
        );
    }
}

fn put(text: &mut String, more: &str) {
    text.write_str(more)
        .expect("writing to a string cannot fail");
}

/// A comment of at most three lines.
fn remark(text: &mut String, about: Option<&str>) {
    for line in about.unwrap_or_default().lines().take(3) {
        let line: String = line.chars().filter(|c| !c.is_control()).take(118).collect();
        put(text, &format!("# {}\n", line.trim()));
    }
}

/// A string of TOML that nothing is expanded in.
fn quoted(text: &str) -> String {
    toml::Value::String(text.replace('$', "$$")).to_string()
}

/// A label of a host name for a route.
fn host(route: &str) -> String {
    let label: String = label(route).chars().take(63).collect();
    let label = label.trim_matches('-');
    if label.is_empty() {
        "service".to_owned()
    } else {
        label.to_owned()
    }
}

/// Whether a configuration takes `url` as a runbook.
pub(super) fn is_web_page(url: &str) -> bool {
    WEB_PAGE.read(Scalar::Text(url)).is_ok()
}
