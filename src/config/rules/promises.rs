//! What SLOs are about.

use crate::config::code::Code;
use crate::config::file::{self, File};
use crate::config::finding::{Finding, Findings, did_you_mean};
use crate::config::keys::{Item, Located};

pub(super) fn check(file: &File, findings: &mut Findings) {
    for item in &file.slos {
        check_about(item, findings);
        if let Some(owner) = &item.value.owner {
            check_owner(owner, &file.routes, findings);
        }
    }
}

/// An SLO is about exactly one thing. That two exclude each other is told where they are read.
fn check_about(item: &Item<file::Slo>, findings: &mut Findings) {
    let slo = &item.value;
    let named = [&slo.route, &slo.upstream, &slo.owner];
    let is_said = named.iter().any(|name| name.is_some()) || slo.ingress.value;
    if item.sound && !is_said {
        let finding = Finding::new(
            Code::MissingKey,
            item.span.clone(),
            "nothing says what the SLO is about",
        )
        .reason("in this table")
        .help("add one of `route`, `upstream`, `owner`, or `ingress = true` for all that comes in");
        findings.add(finding);
    }
    let about_probe = slo
        .sli
        .as_ref()
        .is_some_and(|sli| sli.value == file::Indicator::Probe);
    if item.sound && about_probe && slo.route.is_none() && is_said {
        let finding = Finding::new(
            Code::Conflict,
            item.span.clone(),
            "what a probe finds is about one route",
        )
        .reason("`sli = \"probe\"` without a `route`")
        .help("name the route that the probe asks for by `route`");
        findings.add(finding);
    }
}

/// Owners have no table of their own: who answers for no route is a slip of the pen.
fn check_owner(owner: &Located<String>, routes: &[Item<file::Route>], findings: &mut Findings) {
    let known: Vec<&str> = routes
        .iter()
        .filter_map(|route| route.value.owner.as_ref())
        .map(|owner| owner.value.as_str())
        .collect();
    if known.contains(&owner.value.as_str()) {
        return;
    }
    let message = format!("no route has the owner `{}`", owner.value);
    let mut finding =
        Finding::new(Code::UnknownName, owner.span.clone(), message).reason("unknown");
    if findings.has_room() {
        finding = finding.help(match did_you_mean(&owner.value, known) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => "give a route this `owner`, or name another".to_owned(),
        });
    }
    findings.add(finding);
}

/// Whether an SLO is about this route, alone or with others of its upstream or owner. One about the whole ingress does not
/// count: a route of few requests disappears in it.
pub(super) fn has_promise(route: &file::Route, slos: &[Item<file::Slo>]) -> bool {
    let same = |one: &Option<Located<String>>, other: &Option<Located<String>>| matches!((one, other), (Some(one), Some(other)) if one.value == other.value);
    slos.iter().map(|slo| &slo.value).any(|slo| {
        same(&slo.route, &route.id)
            || same(&slo.upstream, &route.upstream)
            || same(&slo.owner, &route.owner)
    })
}
