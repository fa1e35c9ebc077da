//! What SLOs are about.

use crate::config::code::Code;
use crate::config::file::{self, File};
use crate::config::finding::{Finding, Findings, did_you_mean};
use crate::config::keys::{Item, Located};
use crate::model::Weighing;

pub(super) fn check(file: &File, findings: &mut Findings) {
    let ids: Vec<(&str, &Item<file::Slo>)> = file
        .slos
        .iter()
        .filter_map(|item| Some((item.value.id.as_ref()?.value.as_str(), item)))
        .collect();
    let is_complete = ids.len() == file.slos.len();
    for item in &file.slos {
        check_objective(item, findings);
        check_vital_keys(&item.value, findings);
        if is_composite(&item.value) {
            check_composite(item, findings);
            check_parts(item, &ids, is_complete, findings);
            continue;
        }
        check_about(item, findings);
        refuse_parts(&item.value, findings);
        if let Some(owner) = &item.value.owner {
            check_owner(owner, &file.routes, findings);
        }
        if let Some(limit) = &item.value.limit {
            check_limit(&item.value, limit, file, findings);
        }
    }
}

/// Few indicators have a target that goes without saying.
fn check_objective(item: &Item<file::Slo>, findings: &mut Findings) {
    if item.sound && item.value.objective.is_none() {
        let finding = Finding::new(
            Code::MissingKey,
            item.span.clone(),
            "`objective` is missing",
        )
        .reason("in this table")
        .help("add `objective`: a percentage like `99.9%`, above 0% and below 100%");
        findings.add(finding);
    }
}

/// An SLO is about exactly one thing. That two exclude each other is told where they are read.
fn check_about(item: &Item<file::Slo>, findings: &mut Findings) {
    let slo = &item.value;
    let named = [&slo.route, &slo.upstream, &slo.owner, &slo.limit];
    let is_said = named.iter().any(|name| name.is_some()) || slo.ingress.value;
    let sli = slo.sli.as_ref().map(|sli| sli.value);
    if sli.is_some_and(file::Indicator::is_of_the_edge) {
        return refuse_scope(slo, "what is promised of the edge itself", findings);
    }
    if sli == Some(file::Indicator::Health) {
        if let Some(route) = &slo.route {
            refuse_name("route", &route.span, "the health of endpoints", findings);
        }
        if let Some(owner) = &slo.owner {
            refuse_name("owner", &owner.span, "the health of endpoints", findings);
        }
    }
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
    let about_probe = sli == Some(file::Indicator::Probe);
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

/// What cannot be about some requests has no name of theirs.
fn refuse_scope(slo: &file::Slo, what: &str, findings: &mut Findings) {
    for (key, name) in [
        ("route", &slo.route),
        ("upstream", &slo.upstream),
        ("owner", &slo.owner),
        ("limit", &slo.limit),
    ] {
        if let Some(name) = name {
            refuse_name(key, &name.span, what, findings);
        }
    }
}

fn refuse_name(key: &str, span: &std::ops::Range<usize>, what: &str, findings: &mut Findings) {
    let message = format!("{what} has no `{key}`");
    let help = if what.contains("endpoints") {
        "take `upstream`, or `ingress = true` for all upstreams".to_owned()
    } else {
        format!("leave `{key}` out: it is about the whole ingress")
    };
    let finding = Finding::new(Code::Conflict, span.clone(), message)
        .reason("not counted by this")
        .help(help);
    findings.add(finding);
}

/// What only goes with some vital signs.
fn check_vital_keys(slo: &file::Slo, findings: &mut Findings) {
    use file::Indicator::{ConfigApply, Cpu, Memory};
    let Some(sli) = &slo.sli else { return };
    let most = slo.most.as_ref().map(|it| &it.span);
    let within = slo.within.as_ref().map(|it| &it.span);
    for (key, span, goes, with) in [
        (
            "most",
            most,
            matches!(sli.value, Cpu | Memory),
            "`sli = \"cpu\"` and `\"memory\"`",
        ),
        (
            "within",
            within,
            sli.value == ConfigApply,
            "`sli = \"config-apply\"`",
        ),
    ] {
        if let (Some(span), false) = (span, goes) {
            let message = format!("`{key}` only goes with {with}");
            let finding = Finding::new(Code::Conflict, span.clone(), message)
                .reason("says nothing here")
                .also(sli.span.clone(), "this is another indicator")
                .help(format!("leave `{key}` out"));
            findings.add(finding);
        }
    }
}

/// Whether its events are minutes of what its parts weigh.
pub(super) fn is_weighed_by_minutes(slo: &file::Slo) -> bool {
    let weigh = slo.weigh.as_ref().map(|weigh| weigh.value);
    is_composite(slo) && weigh != Some(Weighing::Events)
}

/// Whether its events are requests or attempts: not slots of a probe, nor slices of time.
fn counts_requests(slo: &file::Slo) -> bool {
    let sli = slo.sli.as_ref().map(|sli| sli.value);
    let is_timed = sli.is_some_and(|sli| {
        sli == file::Indicator::Probe || sli.is_vital() && sli != file::Indicator::TlsHandshake
    });
    !is_timed && slo.budgeting.value == file::Budgeting::Occurrences
}

fn is_composite(slo: &file::Slo) -> bool {
    let sli = slo.sli.as_ref();
    sli.is_some_and(|sli| sli.value == file::Indicator::Composite)
}

/// What only a composite has.
fn refuse_parts(slo: &file::Slo, findings: &mut Findings) {
    let weigh = slo.weigh.as_ref().map(|it| ("weigh", &it.span));
    let part = slo.parts.first().map(|it| ("part", &it.span));
    for (key, span) in weigh.into_iter().chain(part) {
        let message = format!("`{key}` only goes with `sli = \"composite\"`");
        let finding = Finding::new(Code::Conflict, span.clone(), message)
            .reason("says nothing here")
            .help(format!("leave `{key}` out, or set `sli = \"composite\"`"));
        findings.add(finding);
    }
}

/// A composite is about what its parts are about, and its events are minutes or theirs.
fn check_composite(item: &Item<file::Slo>, findings: &mut Findings) {
    let slo = &item.value;
    let name = |key, it: &Option<Located<String>>| it.as_ref().map(|it| (key, it.span.clone()));
    let ingress = slo
        .ingress
        .value
        .then(|| ("ingress", slo.ingress.span.clone()));
    let about = [
        name("route", &slo.route),
        name("upstream", &slo.upstream),
        name("owner", &slo.owner),
        name("limit", &slo.limit),
        ingress,
    ];
    for (key, span) in about.into_iter().flatten() {
        let message = format!("a composite has no `{key}` of its own");
        let finding = Finding::new(Code::Conflict, span, message)
            .reason("it is about what its parts are about")
            .help(format!("leave `{key}` out"));
        findings.add(finding);
    }
    if slo.budgeting.value != file::Budgeting::Occurrences {
        let message = "a composite is budgeted as `weigh` says";
        let finding = Finding::new(Code::Conflict, slo.budgeting.span.clone(), message)
            .reason("weighed by minutes it is slices of time already")
            .help("leave `budgeting` out");
        findings.add(finding);
    }
    if item.sound && slo.parts.is_empty() {
        let message = "a composite without a part weighs nothing";
        let finding = Finding::new(Code::MissingKey, item.span.clone(), message)
            .reason("in this table")
            .help("add a `[[slo.part]]` with `slo = \"..\"` for each SLO that is part of it");
        findings.add(finding);
    }
}

/// Every part is another SLO, once, and no composite.
fn check_parts(
    item: &Item<file::Slo>,
    ids: &[(&str, &Item<file::Slo>)],
    is_complete: bool,
    findings: &mut Findings,
) {
    let by_events = !is_weighed_by_minutes(&item.value);
    let mut seen: Vec<&Located<String>> = Vec::new();
    let parts = item.value.parts.iter();
    for part in parts.filter_map(|part| part.value.slo.as_ref()) {
        if let Some(first) = seen.iter().find(|it| it.value == part.value) {
            let message = format!("`{}` is part of the composite twice", part.value);
            let finding = Finding::new(Code::Duplicate, part.span.clone(), message)
                .reason("again here")
                .also(first.span.clone(), "first here")
                .help("keep one, with the `weight` of both");
            findings.add(finding);
        }
        seen.push(part);
        match ids.iter().find(|(id, _)| *id == part.value) {
            Some((_, slo)) if is_composite(&slo.value) => {
                let message = format!("`{}` is a composite itself", part.value);
                let finding = Finding::new(Code::Conflict, part.span.clone(), message)
                    .reason("a part must count something of its own")
                    .help("name its parts here instead, with their weights");
                findings.add(finding);
            }
            None if is_complete => {
                let message = format!("there is no SLO `{}`", part.value);
                let mut finding =
                    Finding::new(Code::UnknownName, part.span.clone(), message).reason("unknown");
                if findings.has_room() {
                    let known = ids.iter().filter(|(_, slo)| !is_composite(&slo.value));
                    let known = known.map(|(id, _)| *id);
                    finding = finding.help(match did_you_mean(&part.value, known) {
                        Some(meant) => format!("did you mean \"{meant}\"?"),
                        None => "add an `[[slo]]` of that id".to_owned(),
                    });
                }
                findings.add(finding);
            }
            Some((_, slo)) if by_events && !counts_requests(&slo.value) => {
                let message = format!("the events of `{}` are no requests", part.value);
                let finding = Finding::new(Code::Conflict, part.span.clone(), message)
                    .reason("they are seconds or slices of time")
                    .help("leave `weigh = \"events\"` out: each minute then counts by shares");
                findings.add(finding);
            }
            Some(_) | None => {}
        }
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

/// A rate limit is asked about rates alone, and must be there.
fn check_limit(slo: &file::Slo, limit: &Located<String>, file: &File, findings: &mut Findings) {
    if let Some(sli) = &slo.sli
        && sli.value != file::Indicator::RateLimit
        && !sli.value.is_of_the_edge()
    {
        let finding = Finding::new(
            Code::Conflict,
            limit.span.clone(),
            "`limit` only goes with `sli = \"rate-limit\"`",
        )
        .reason("a rate limit knows no more of requests")
        .also(sli.span.clone(), "this is another indicator")
        .help("take `route`, `upstream`, `owner` or `ingress`");
        findings.add(finding);
    }
    let limits = file.rate_limits.iter();
    let known: Vec<&str> = limits
        .filter_map(|it| Some(it.value.name.as_ref()?.value.as_str()))
        .collect();
    if known.contains(&limit.value.as_str()) {
        return;
    }
    let message = format!("there is no rate limit `{}`", limit.value);
    let mut finding =
        Finding::new(Code::UnknownName, limit.span.clone(), message).reason("unknown");
    if findings.has_room() {
        finding = finding.help(match did_you_mean(&limit.value, known) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => "add a `[[rate_limit]]` of that name".to_owned(),
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
