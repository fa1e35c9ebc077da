//! Rules about what is elsewhere: redirects, rewrites, and what is said of TLS.

use std::time::Duration;

use crate::config::code::Code;
use crate::config::file::{File, Route, RouteHsts};
use crate::config::finding::{Finding, Findings};
use crate::config::keys::Item;
use crate::routing::pattern::PathPattern;

pub(super) fn check(file: &File, findings: &mut Findings) {
    for route in &file.routes {
        destination(route, findings);
        prefixes(&route.value, findings);
        strictness(&route.value.hsts, findings);
    }
}

/// An upstream or a redirect, and not both.
fn destination(route: &Item<Route>, findings: &mut Findings) {
    let Route {
        upstream,
        redirect,
        rewrite,
        ..
    } = &route.value;
    match (upstream, redirect.changes()) {
        (Some(upstream), Some(redirect)) => {
            let message = "a route that redirects sends nothing upstream";
            let finding = Finding::new(Code::Conflict, upstream.span.clone(), message)
                .reason("never asked")
                .also(redirect.clone(), "redirects")
                .help("leave `upstream` or `redirect` out");
            findings.add(finding);
        }
        (None, None) if route.sound => {
            let finding = Finding::new(
                Code::MissingKey,
                route.span.clone(),
                "`upstream` is missing",
            )
            .reason("in this table")
            .help("add `upstream`, or what a `redirect` changes: `scheme`, `host`, `path` or `prefix`");
            findings.add(finding);
        }
        (Some(_), None) | (None, Some(_) | None) => {}
    }
    let rewrites = rewrite.path.as_ref().or(rewrite.prefix.as_ref());
    if let (Some(rewrite), Some(redirect)) = (rewrites, redirect.changes()) {
        let message = "a route that redirects has no path to rewrite";
        let finding = Finding::new(Code::Conflict, rewrite.span.clone(), message)
            .reason("never used")
            .also(redirect.clone(), "redirects")
            .help("leave `rewrite` out");
        findings.add(finding);
    }
}

/// Only a prefix can have another in its place.
fn prefixes(route: &Route, findings: &mut Findings) {
    if matches!(route.path.value, PathPattern::Prefix(_)) {
        return;
    }
    for prefix in [&route.redirect.prefix, &route.rewrite.prefix]
        .into_iter()
        .flatten()
    {
        let message = "`prefix` only goes with the route's `path`";
        let finding = Finding::new(Code::Conflict, prefix.span.clone(), message)
            .reason("has no prefix to stand in the place of")
            .also(route.path.span.clone(), "takes whole paths")
            .help("write `path` instead of `prefix`, or give the route a `path`");
        findings.add(finding);
    }
}

/// What browsers ask for before they build a host in (hstspreload.org).
const PRELOADED: Duration = Duration::from_secs(365 * 86_400);

fn strictness(hsts: &RouteHsts, findings: &mut Findings) {
    let flags = [("preload", &hsts.preload), ("subdomains", &hsts.subdomains)];
    match &hsts.max_age {
        None => {
            if let Some((key, flag)) = flags.into_iter().find(|(_, flag)| flag.value) {
                let finding =
                    Finding::new(Code::MissingKey, flag.span.clone(), "`max_age` is missing")
                        .reason(format!("`{key}` says nothing without it"))
                        .help("add `max_age = \"1h\"`, and more once all is well");
                findings.add(finding);
            }
        }
        Some(age) => {
            if hsts.preload.value && (age.value < PRELOADED || !hsts.subdomains.value) {
                let message = "no browser builds this host in";
                let finding = Finding::new(Code::Conflict, hsts.preload.span.clone(), message)
                    .reason("needs `subdomains = true` and a `max_age` of 365d or more")
                    .also(age.span.clone(), "remembered for so long")
                    .help("leave `preload` out until then");
                findings.add(finding);
            }
        }
    }
}
