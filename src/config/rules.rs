//! What the keys of a file mean together: names, references, and what could never work.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::code::Code;
use super::file::{self, File};
use super::finding::{Finding, Findings, Span};
use super::keys::{Item, Located};
use super::kind::{Promised, burn_text, time_text};
use super::names::Names;
use super::pem::{self, Section};
use super::resolve;
use crate::model::{Objective, Reading, Window};
use crate::routing::pattern::{HostPattern, PathPattern};
use crate::slo::policy::{Policy, Row};

mod clients;
mod elsewhere;
mod issued;
mod promises;

/// Holds `file` to the rules between its keys. Warnings only come once nothing is wrong: before that, half of them
/// would be consequences of the errors.
pub(super) fn check(
    file: &File,
    base: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    findings: &mut Findings,
) {
    let names = check_names(file, findings);
    check_listener_addresses(&file.listeners, findings);
    check_routes(&file.routes, findings);
    check_endpoints(&file.upstreams, findings);
    check_health(&file.upstreams, findings);
    check_policies(&file.policies, findings);
    issued::check(file, findings);
    elsewhere::check(file, findings);
    clients::check(file, base, findings);
    clients::check_preambles(file, findings);
    check_breakers(file, findings);
    check_files(file, base, findings);
    check_windows(file, findings);
    promises::check(file, findings);
    check_readings(&file.slos, findings);
    check_zones(&file.slos, findings);
    check_slices(file, findings);
    check_slo_policies(file, findings);
    if findings.errors() == 0 {
        warn(file, &names, findings);
        let (_, complaints) = super::otlp::resolve(&file.otlp, base, "", env);
        for complaint in complaints {
            findings.add(Finding::about_the_file(Code::Environment, complaint));
        }
    }
}

/// The names that something may be left unused under.
struct AllNames<'f> {
    certificates: Names<'f>,
    authorities: Names<'f>,
    upstreams: Names<'f>,
    policies: Names<'f>,
    limits: Names<'f>,
}

fn check_names<'f>(file: &'f File, findings: &mut Findings) -> AllNames<'f> {
    let mut listeners = Names::gather("listener", &file.listeners, |it| it.name.as_ref(), findings);
    Names::gather("notify", &file.receivers, |it| it.name.as_ref(), findings);
    Names::gather("SLO", &file.slos, |it| it.id.as_ref(), findings);
    let mut certificates = Names::gather(
        "certificate",
        &file.certificates,
        |it| it.name.as_ref(),
        findings,
    );
    let mut authorities = Names::gather("acme", &file.authorities, |it| it.name.as_ref(), findings);
    for name in file
        .certificates
        .iter()
        .filter_map(|it| it.value.acme.as_ref())
    {
        authorities.refer(name, findings);
    }
    let mut upstreams = Names::gather("upstream", &file.upstreams, |it| it.name.as_ref(), findings);
    let mut limits = Names::gather(
        "rate limit",
        &file.rate_limits,
        |it| it.name.as_ref(),
        findings,
    );
    let mut routes = Names::gather("route", &file.routes, |it| it.id.as_ref(), findings);
    let mut policies = Names::gather("policy", &file.policies, |it| it.name.as_ref(), findings)
        .with_shipped(SHIPPED_POLICIES, findings);
    for listener in &file.listeners {
        for name in &listener.value.certificates {
            certificates.refer(name, findings);
        }
    }
    for route in &file.routes {
        for name in &route.value.listeners {
            listeners.refer(name, findings);
        }
        for name in &route.value.rate_limits {
            limits.refer(name, findings);
        }
        if let Some(name) = &route.value.upstream {
            upstreams.refer(name, findings);
        }
    }
    for slo in &file.slos {
        if let Some(id) = &slo.value.route {
            routes.refer(id, findings);
        }
        if let Some(name) = &slo.value.upstream {
            upstreams.refer(name, findings);
        }
        policies.refer(&slo.value.policy, findings);
    }
    AllNames {
        certificates,
        authorities,
        upstreams,
        policies,
        limits,
    }
}

/// The names of [`Policy::shipped`].
const SHIPPED_POLICIES: [&str; 2] = ["workbook", "hourly"];

fn check_listener_addresses(listeners: &[Item<file::Listener>], findings: &mut Findings) {
    let mut seen: HashMap<_, &Span> = HashMap::new();
    for address in listeners.iter().filter_map(|it| it.value.address.as_ref()) {
        // Port 0 is another port every time.
        if address.value.port() == 0 {
            continue;
        }
        if let Some(first) = seen.insert(address.value, &address.span) {
            let message = format!("two listeners have the address `{}`", address.value);
            let finding = Finding::new(Code::Duplicate, address.span.clone(), message)
                .reason("again here")
                .also(first.clone(), "first here");
            findings.add(finding);
        }
    }
}

fn check_routes(routes: &[Item<file::Route>], findings: &mut Findings) {
    // By host, path and method, where `None` is any, and everything else that is asked: what two routes cannot share.
    type Match<'f> = (
        Option<&'f HostPattern>,
        &'f PathPattern,
        Option<&'f str>,
        Vec<String>,
    );
    let mut taken: HashMap<Match<'_>, &Item<file::Route>> = HashMap::new();
    for route in routes {
        if let Some(id) = route.value.id.as_ref().filter(|id| id.value == "none") {
            let finding = Finding::new(
                Code::Reserved,
                id.span.clone(),
                "the route id `none` is taken",
            )
            .reason("stands for requests that no route takes")
            .help("give it another id");
            findings.add(finding);
        }
        if !route.sound {
            continue;
        }
        let hosts = any_or_each(&route.value.hosts, |host| host);
        let methods = any_or_each(&route.value.methods, String::as_str);
        let conditions = conditions(&route.value);
        let clash = hosts.iter().find_map(|host| {
            methods.iter().find_map(|method| {
                let asked = (*host, &route.value.path.value, *method, conditions.clone());
                let first = taken.insert(asked, route)?;
                Some((*host, *method, first))
            })
        });
        if let Some((host, method, first)) = clash {
            let id = |route: &Item<file::Route>| {
                let id = route.value.id.as_ref();
                id.map(|id| id.value.clone()).unwrap_or_default()
            };
            let message = format!(
                "routes `{}` and `{}` both take {} {} on {}",
                id(first),
                id(route),
                method.unwrap_or("every method of"),
                match &route.value.path.value {
                    PathPattern::Exact(path) => path.clone(),
                    other @ (PathPattern::Matching(_) | PathPattern::Prefix(_)) => {
                        other.to_string()
                    }
                },
                host.map_or_else(|| "every host".to_owned(), ToString::to_string),
            );
            let finding = Finding::new(Code::SameMatch, route.span.clone(), message)
                .reason("could never be chosen")
                .also(first.span.clone(), "takes the same")
                .help(
                    "tell them apart by `hosts`, `path`, `methods`, `headers` or `query`, or remove one",
                );
            findings.add(finding);
        }
    }
}

/// Listeners, headers and parameters that a route asks for, in one order.
fn conditions(route: &file::Route) -> Vec<String> {
    let listeners = route.listeners.iter().map(|it| format!("@{}", it.value));
    let headers = route.headers.iter().map(|it| it.value.to_string());
    let query = route.query.iter().map(|it| format!("?{}", it.value));
    let mut all: Vec<String> = listeners.chain(headers).chain(query).collect();
    all.sort();
    all
}

fn any_or_each<'f, T, U: ?Sized>(
    list: &'f [Located<T>],
    of: impl Fn(&'f T) -> &'f U,
) -> Vec<Option<&'f U>> {
    if list.is_empty() {
        vec![None]
    } else {
        list.iter().map(|item| Some(of(&item.value))).collect()
    }
}

/// The same server with two weights is one server too many.
fn check_endpoints(upstreams: &[Item<file::Upstream>], findings: &mut Findings) {
    for upstream in upstreams {
        let mut seen: HashMap<String, &Span> = HashMap::new();
        for endpoint in &upstream.value.endpoints {
            let address = endpoint.value.to_string();
            if let Some(first) = seen.get(&address) {
                let message = format!("`{address}` is in `endpoints` twice");
                let finding = Finding::new(Code::Duplicate, endpoint.span.clone(), message)
                    .reason("again here")
                    .also((*first).clone(), "first here");
                findings.add(finding);
            } else {
                seen.insert(address, &endpoint.span);
            }
        }
    }
}

/// A check that has everything but a question is meant to ask one.
fn check_health(upstreams: &[Item<file::Upstream>], findings: &mut Findings) {
    for upstream in upstreams {
        let health = &upstream.value.health;
        if let Some(path) = &health.path
            && health.probe.value == file::Question::Off
        {
            let finding = Finding::new(
                Code::Conflict,
                path.span.clone(),
                "there is a `path` and no `probe` that asks for it",
            )
            .reason("never asked for")
            .help("add `probe = \"http\"`, or leave the path out");
            findings.add(finding);
        }
    }
}

fn check_policies(policies: &[Item<file::Policy>], findings: &mut Findings) {
    for policy in policies {
        let mut tiers: Vec<&Located<_>> = Vec::new();
        if policy.sound && policy.value.rows.is_empty() && policy.value.rows_of.is_none() {
            let finding = Finding::new(
                Code::MissingKey,
                policy.span.clone(),
                "a policy without a row never speaks",
            )
            .reason("in this table")
            .help("add a `[[policy.row]]`, or take those of another by `rows_of = \"workbook\"`");
            findings.add(finding);
        }
        for item in &policy.value.rows {
            let row = &item.value;
            if item.sound && row.factor.is_none() && row.spend.is_none() {
                let message = "neither `factor` nor `spend` says what must be exceeded";
                let finding = Finding::new(Code::MissingKey, item.span.clone(), message)
                    .reason("in this table")
                    .help("add `factor = 14.4`, or the share of the budget, `spend = \"2%\"`");
                findings.add(finding);
            }
            if let (Some(long), Some(short)) = (&row.long, &row.short)
                && short.value >= long.value
            {
                let message = format!(
                    "the short window {} is not shorter than the long one {}",
                    short.value, long.value
                );
                let finding = Finding::new(Code::ShortWindow, short.span.clone(), message)
                    .reason("must end soon after the trouble does")
                    .also(long.span.clone(), "long window")
                    .help("a twelfth of the long window is common");
                findings.add(finding);
            }
            let Some(tier) = &row.tier else { continue };
            match tiers.iter().find(|other| other.value == tier.value) {
                None => tiers.push(tier),
                Some(first) => {
                    let message = format!("two rows have the tier `{}`", tier.value.as_str());
                    let finding = Finding::new(Code::Duplicate, tier.span.clone(), message)
                        .reason("again here")
                        .also(first.span.clone(), "first here")
                        .help("give each row of a policy its own tier");
                    findings.add(finding);
                }
            }
        }
    }
}

/// A breaker that is written limits something.
fn check_breakers(file: &File, findings: &mut Findings) {
    for upstream in &file.upstreams {
        let breaker = &upstream.value.breaker;
        let limits = breaker.max_in_flight.is_some() || breaker.max_pending.is_some();
        if let (Some(span), false) = (
            &breaker.written,
            limits || breaker.failure_percent.is_some(),
        ) {
            let message = "the breaker limits nothing";
            let finding = Finding::new(Code::MissingKey, span.clone(), message)
                .reason("none of its limits is given")
                .help("add `failure_percent`, `max_in_flight` or `max_pending`");
            findings.add(finding);
        }
    }
}

fn check_files(file: &File, base: &Path, findings: &mut Findings) {
    let mut check = |path: &Option<Located<PathBuf>>, section| {
        if let Some(path) = path
            && let Err(error) = pem::check(&base.join(&path.value), section)
        {
            let written = path.value.display();
            let finding = match error {
                pem::Error::Unreadable(error) => {
                    let message = format!("cannot read `{written}`: {error}");
                    let finding = Finding::new(Code::UnreadableFile, path.span.clone(), message);
                    if path.value.is_relative() {
                        finding.help(
                            "a relative path starts in the directory of the configuration file",
                        )
                    } else {
                        finding
                    }
                }
                pem::Error::Absent => {
                    let message = format!("`{written}` holds no {} in PEM form", section.as_str());
                    Finding::new(Code::Pem, path.span.clone(), message).help(section.begins())
                }
            };
            findings.add(finding);
        }
    };
    for certificate in &file.certificates {
        check(&certificate.value.chain_file, Section::Certificate);
        check(&certificate.value.key_file, Section::PrivateKey);
    }
    for listener in &file.listeners {
        check(&listener.value.clients.ca_file, Section::Certificate);
    }
    for authority in &file.authorities {
        check(&authority.value.roots_file, Section::Certificate);
    }
    for upstream in &file.upstreams {
        check(&upstream.value.tls.roots_file, Section::Certificate);
    }
    check(&file.otlp.roots_file, Section::Certificate);
    check(&file.otlp.certificate_file, Section::Certificate);
    check(&file.otlp.key_file, Section::PrivateKey);
}

fn check_windows(file: &File, findings: &mut Findings) {
    let hours = &file.history.hours;
    let windows = file
        .slos
        .iter()
        .map(|slo| {
            let window = &slo.value.window;
            (
                "the SLO's window",
                window.value.longest(),
                window.span.clone(),
            )
        })
        .chain(
            file.policies
                .iter()
                .flat_map(|policy| &policy.value.rows)
                .filter_map(|row| row.value.long.as_ref())
                .map(|long| ("the alert's window", long.value, long.span.clone())),
        );
    for (what, window, span) in windows {
        if window.duration() <= hours.value {
            continue;
        }
        let kept = time_text(hours.value);
        let message = format!("{what} of {window} is longer than history is kept");
        let mut finding = Finding::new(Code::WindowBeyondHistory, span, message)
            .reason(format!("history is kept for {kept}"))
            .help(format!(
                "set `hours = \"{window}\"` in `[history]`, or shorten it"
            ));
        // A default stands nowhere in particular.
        if hours.span.start > 0 {
            finding = finding.also(hours.span.clone(), "kept this long");
        }
        findings.add(finding);
    }
}

/// What says how an availability is read says nothing about anything else, and nothing that is said already.
fn check_readings(slos: &[Item<file::Slo>], findings: &mut Findings) {
    for slo in slos {
        let slo = &slo.value;
        let Some(sli) = &slo.sli else { continue };
        let first_status = slo.bad_status.first();
        if sli.value != file::Indicator::Availability {
            let reading = slo.reading.as_ref().map(|it| ("reading", &it.span));
            let status = first_status.map(|it| ("bad_status", &it.span));
            for (key, span) in reading.into_iter().chain(status) {
                let message = format!("`{key}` only goes with `sli = \"availability\"`");
                let finding = Finding::new(Code::Conflict, span.clone(), message)
                    .reason("says nothing here")
                    .also(sli.span.clone(), "this is another indicator")
                    .help(format!("leave `{key}` out"));
                findings.add(finding);
            }
        } else if let (Some(reading), Some(status)) = (&slo.reading, first_status)
            && reading.value == Reading::All
        {
            let message = "`reading = \"all\"` already counts every 4xx as bad";
            let finding = Finding::new(Code::Conflict, status.span.clone(), message)
                .reason("counted anyway")
                .also(reading.span.clone(), "counts them all")
                .help("leave `bad_status` out, or set `reading = \"fault\"`");
            findings.add(finding);
        }
        for (place, status) in slo.bad_status.iter().enumerate() {
            let earlier = &slo.bad_status[..place];
            if let Some(first) = earlier.iter().find(|it| it.value.meets(status.value)) {
                let message = format!("`{}` and `{}` overlap", first.value, status.value);
                let finding = Finding::new(Code::Duplicate, status.span.clone(), message)
                    .reason("again here")
                    .also(first.span.clone(), "first here")
                    .help("keep one of them");
                findings.add(finding);
            }
        }
    }
}

/// A rolling window has no midnight.
fn check_zones(slos: &[Item<file::Slo>], findings: &mut Findings) {
    for slo in slos {
        let file::Slo { window, zone, .. } = &slo.value;
        if let (Some(zone), Promised::Rolling(_)) = (zone, window.value) {
            let message = "`zone` only goes with a calendar window";
            let finding = Finding::new(Code::Conflict, zone.span.clone(), message)
                .reason("says nothing here")
                .help("leave it out, or set `window = \"calendar month\"`");
            findings.add(finding);
        }
    }
}

/// Slices need a length and a word for the empty ones; a probe's slots are slices already.
fn check_slices(file: &File, findings: &mut Findings) {
    for item in &file.slos {
        let slo = &item.value;
        let sliced = slo.budgeting.value != file::Budgeting::Occurrences;
        let slice = slo.slice.as_ref().map(|slice| &slice.span);
        let empty = slo.empty_slice.as_ref().map(|empty| &empty.span);
        for (key, span) in [("slice", slice), ("empty_slice", empty)] {
            match (span, sliced) {
                (Some(span), false) => {
                    let message = format!("`{key}` only goes with slices of time");
                    let finding = Finding::new(Code::Conflict, span.clone(), message)
                        .reason("says nothing here")
                        .help("leave it out, or set `budgeting = \"timeslices\"`");
                    findings.add(finding);
                }
                // One that was refused has been told.
                (None, true) if item.sound => {
                    let message = format!("`{key}` is missing");
                    let finding = Finding::new(Code::MissingKey, item.span.clone(), message)
                        .reason("slices of time need it")
                        .help(match key {
                            "slice" => "add `slice = \"1m\"`",
                            _ => "say what a slice without a request is: `empty_slice = \"skip\"`, `\"good\"` or `\"bad\"`",
                        });
                    findings.add(finding);
                }
                (Some(_), true) | (None, _) => {}
            }
        }
        if let (true, Some(sli)) = (sliced, &slo.sli)
            && (sli.value == file::Indicator::Probe || sli.value.is_vital())
        {
            let (message, reason) = if sli.value == file::Indicator::Probe {
                (
                    "a probe's slots are slices of time already",
                    "counts seconds anyway",
                )
            } else {
                (
                    "what no request is asked for is not put into slices",
                    "counts its own events",
                )
            };
            let finding = Finding::new(Code::Conflict, slo.budgeting.span.clone(), message)
                .reason(reason)
                .help("leave `budgeting` out");
            findings.add(finding);
        }
        if let (true, Some(slice)) = (sliced, &slo.slice)
            && (slice.value.as_secs() % 60 != 0 || 86_400 % slice.value.as_secs() != 0)
        {
            let message = format!("slices of {} do not divide a day", slice.value);
            let finding = Finding::new(Code::InvalidValue, slice.span.clone(), message)
                .reason("no whole minutes that divide a day")
                .help("take 1m, 5m, 10m, 15m, 30m or 1h");
            findings.add(finding);
        }
    }
    for (slo, _, policy) in judged(file) {
        let Some(row) = policy.rows.iter().min_by_key(|row| row.short) else {
            continue;
        };
        if promises::is_weighed_by_minutes(slo) && row.short < Window::minutes(2) {
            let message = format!(
                "the shortest window of policy `{}`, {}, holds less than two minutes",
                policy.name, row.short
            );
            let finding = Finding::new(Code::Conflict, slo.policy.span.clone(), message)
                .reason("a composite is weighed by minutes")
                .help("take a `[[policy]]` with longer windows, or `weigh = \"events\"`");
            findings.add(finding);
        }
        let Some(slice) = &slo.slice else {
            continue;
        };
        if slice.value.as_secs() * 2 > row.short.as_secs() {
            let message = format!(
                "the shortest window of policy `{}`, {}, holds less than two slices of {}",
                policy.name, row.short, slice.value
            );
            let finding = Finding::new(Code::Conflict, slice.span.clone(), message)
                .reason("some such windows hold no whole slice, and the alert comes and goes")
                .also(slo.policy.span.clone(), "judged by this policy")
                .help("take shorter slices, or a `[[policy]]` with longer windows");
            findings.add(finding);
        }
    }
}

/// An SLO whose policy could never speak is an error: it looks guarded and is not.
fn check_slo_policies(file: &File, findings: &mut Findings) {
    for (slo, objective, policy) in judged(file) {
        if !policy.rows.is_empty()
            && policy
                .rows_over(slo.window.value.longest())
                .iter()
                .all(|row| never_fires(row, objective.value))
        {
            let finding = Finding::new(
                Code::PolicyNeverFires,
                slo.policy.span.clone(),
                format!(
                    "policy `{}` can never fire for an objective of {}",
                    policy.name, objective.value
                ),
            )
            .reason("silent even in a total outage")
            .also(objective.span.clone(), highest_burn(objective.value))
            .help("raise the objective, or write a `[[policy]]` with lower factors");
            findings.add(finding);
        }
    }
}

/// Each SLO that could be read, with the policy it names.
fn judged(file: &File) -> impl Iterator<Item = (&file::Slo, &Located<Objective>, Policy)> {
    let shipped = Policy::shipped();
    file.slos.iter().filter_map(move |slo| {
        let slo = &slo.value;
        let name = &slo.policy.value;
        let custom = || {
            let mut policies = file.policies.iter().filter(|policy| policy.sound);
            policies
                .find(|policy| {
                    policy
                        .value
                        .name
                        .as_ref()
                        .is_some_and(|it| it.value == *name)
                })
                .and_then(|policy| resolve::policy(&policy.value))
        };
        let policy = shipped
            .iter()
            .find(|policy| policy.name == *name)
            .cloned()
            .or_else(custom)?;
        Some((slo, slo.objective.as_ref()?, policy))
    })
}

/// Whether `row` stays silent even when every request fails: the burn rate is then 1 ÷ budget, and must exceed the
/// factor (SRE Workbook, chapter 5: a burn rate cannot be above the inverse of the budget).
fn never_fires(row: &Row, objective: Objective) -> bool {
    // Thousandths times millionths: 1 is 10^9.
    u64::from(row.factor.0) * u64::from(objective.budget_ppm()) >= 1_000_000_000
}

fn highest_burn(objective: Objective) -> String {
    let highest = 1_000_000.0 / f64::from(objective.budget_ppm());
    format!("burns at most {highest:.1} times too fast")
}

fn warn(file: &File, names: &AllNames<'_>, findings: &mut Findings) {
    for (slo, objective, policy) in judged(file) {
        let rows = policy.rows_over(slo.window.value.longest());
        for row in rows.iter().filter(|row| never_fires(row, objective.value)) {
            let message = format!(
                "the {} row of policy `{}` (factor {}) can never fire for an objective of {}",
                row.tier.as_str(),
                policy.name,
                burn_text(row.factor),
                objective.value,
            );
            let finding = Finding::new(Code::RowNeverFires, objective.span.clone(), message)
                .reason(highest_burn(objective.value))
                .help("raise the objective, or write a `[[policy]]` with lower factors");
            findings.add(finding);
        }
    }
    for upstream in &file.upstreams {
        let insecure = &upstream.value.tls.insecure;
        if insecure.value {
            let finding = Finding::new(
                Code::InsecureUpstream,
                insecure.span.clone(),
                "this upstream's certificates are not verified",
            )
            .reason("whoever is on the way can read and change everything")
            .help("name the issuer in `roots_file` instead");
            findings.add(finding);
        }
        if upstream.value.endpoints.is_empty() {
            let finding = Finding::new(
                Code::NoEndpoints,
                upstream.span.clone(),
                "this upstream has no endpoints",
            )
            .reason("its requests are answered 503")
            .help("add `endpoints = [\"http://10.0.0.1:8080\"]`");
            findings.add(finding);
        }
    }
    if file.routes.is_empty() {
        let finding = Finding::about_the_file(
            Code::NoRoutes,
            "there is no route: every request is answered 404",
        )
        .help("add a `[[route]]`");
        findings.add(finding);
    }
    for route in &file.routes {
        // A redirect has nothing behind it that could fail.
        let redirects = route.value.redirect.changes().is_some();
        if let Some(id) = &route.value.id
            && !redirects
            && !promises::has_promise(&route.value, &file.slos)
        {
            let message = format!("no SLO is about route `{}`", id.value);
            let finding = Finding::new(Code::RouteWithoutSlo, id.span.clone(), message)
                .reason("is measured, but nothing ever alerts")
                .help(format!("add an `[[slo]]` with `route = \"{}\"`", id.value));
            findings.add(finding);
        }
    }
    let certificates = file.certificates.iter().map(|it| it.value.name.as_ref());
    warn_unused("certificate", certificates, &names.certificates, findings);
    let authorities = file.authorities.iter().map(|it| it.value.name.as_ref());
    warn_unused("acme", authorities, &names.authorities, findings);
    let upstreams = file.upstreams.iter().map(|it| it.value.name.as_ref());
    warn_unused("upstream", upstreams, &names.upstreams, findings);
    let policies = file.policies.iter().map(|it| it.value.name.as_ref());
    let limits = file.rate_limits.iter().map(|it| it.value.name.as_ref());
    warn_unused("rate limit", limits, &names.limits, findings);
    warn_unused("policy", policies, &names.policies, findings);
}

fn warn_unused<'f>(
    sort: &str,
    given: impl Iterator<Item = Option<&'f Located<String>>>,
    names: &Names<'_>,
    findings: &mut Findings,
) {
    for name in given.flatten().filter(|name| !names.is_used(&name.value)) {
        let message = format!("nothing refers to the {sort} `{}`", name.value);
        let finding = Finding::new(Code::Unused, name.span.clone(), message).reason("unused");
        findings.add(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_shipped_policies_are_those_that_are_shipped() {
        let shipped: Vec<_> = Policy::shipped().into_iter().map(|it| it.name).collect();
        assert_eq!(shipped, SHIPPED_POLICIES);
    }

    #[test]
    fn a_row_fires_as_long_as_a_total_outage_exceeds_its_factor() {
        // Thresholds of the workbook's factors: 93.06 %, 83.3 %, 66.7 %; 1 fires for any objective.
        let workbook = Policy::workbook();
        for (objective, silent) in [
            ("99.9%", 0),
            ("93.06%", 0),
            ("93.05%", 1),
            ("83.4%", 1),
            ("83.3%", 2),
            ("66.7%", 2),
            ("66.6%", 3),
            ("0.0001%", 3),
        ] {
            let objective: Objective = objective.parse().unwrap();
            let rows = workbook.rows_over(Window::days(30)).into_iter();
            assert_eq!(
                rows.filter(|row| never_fires(row, objective)).count(),
                silent,
                "{objective}"
            );
        }
    }
}
