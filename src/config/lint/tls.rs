//! Certificates, and the hosts they are for.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;

use super::{Hits, Lint, Subject};
use crate::cert::acme::Challenge;
use crate::config::file;
use crate::config::finding::Span;
use crate::config::keys::Item;
use crate::proxy::config::{Https, Listener};
use crate::routing::pattern::HostPattern;

pub(super) fn check(subject: &Subject<'_>, hits: &mut Hits) {
    let routed = Routed::of(subject);
    for (at, item) in subject.file.certificates.iter().enumerate() {
        let certificate = &subject.proxy.certificates[at];
        let name = certificate.name.as_str();
        let span = |located: Option<&Span>| located.cloned().unwrap_or(item.span.clone());
        let chain = span(item.value.chain_file.as_ref().map(|it| &it.span));
        let key = span(item.value.key_file.as_ref().map(|it| &it.span));
        one(subject, at, name, &chain, &routed, hits);
        let mode = std::fs::metadata(&certificate.key).map(|it| it.permissions().mode());
        if let Ok(mode) = mode
            && mode & 0o044 != 0
        {
            let message = format!("the key of `{name}` has mode {:o}", mode & 0o777);
            hits.add(Lint::T211, name, key, message)
                .set_reason("group or others may read it");
        }
    }
    challenges(subject, hits);
    hosts(subject, hits);
    certified(subject, hits);
}

/// Whether a listener could answer what authorities ask.
fn challenges(subject: &Subject<'_>, hits: &mut Hits) {
    let listeners = &subject.proxy.listeners;
    for item in &subject.file.certificates {
        let (Some(name), Some(acme)) = (&item.value.name, &item.value.acme) else {
            continue;
        };
        let named = |it: &&Item<file::Authority>| {
            let known = it.value.name.as_ref();
            known.is_some_and(|known| known.value == acme.value)
        };
        let Some(authority) = subject.file.authorities.iter().find(named) else {
            continue;
        };
        let challenge = authority.value.challenge.value;
        let wanted = match challenge {
            Challenge::Http if listeners.iter().all(|it| !it.certificates.is_empty()) => "plain",
            Challenge::TlsAlpn if listeners.iter().all(|it| it.certificates.is_empty()) => "TLS",
            Challenge::Http | Challenge::TlsAlpn | Challenge::Dns => continue,
        };
        let message = format!(
            "certificate `{}` is issued by `{}`, and there is no {wanted} listener",
            name.value,
            challenge.as_str()
        );
        hits.add(Lint::T217, &name.value, acme.span.clone(), message)
            .set_reason("cannot be convinced");
    }
}

/// Routes that want certificates of their clients, and listeners that do not ask for any.
fn certified(subject: &Subject<'_>, hits: &mut Hits) {
    let guarded = |at: usize| subject.proxy.routes[at].certified;
    if !(0..subject.proxy.routes.len()).any(guarded) {
        return;
    }
    // By listener, the first route that answers without.
    let mut open = vec![None; subject.proxy.listeners.len()];
    for (at, item) in subject.routes().filter(|(at, _)| !guarded(*at)) {
        for (place, _) in subject.listeners(at) {
            open[place].get_or_insert((at, item));
        }
    }
    for (at, item) in subject.routes().filter(|(at, _)| guarded(*at)) {
        let id = subject.id(at);
        let span = &item.value.certified.span;
        let not_asking: Vec<String> = subject
            .listeners(at)
            .filter(|(_, listener)| listener.clients.is_none())
            .map(|(_, listener)| format!("`{}`", listener.name))
            .collect();
        if !not_asking.is_empty() {
            let message = format!(
                "listener {} asks nobody for the certificate that route `{id}` wants",
                not_asking.join(", ")
            );
            let mut requests = subject.samples.requests(&subject.rules[at]).into_iter();
            let witness = requests.next().and_then(|it| subject.witnessed(&it));
            hits.add(Lint::T218, id, span.clone(), message)
                .set_reason("answered 403")
                .set_witness(witness);
        }
        let shared = subject.listeners(at).find_map(|(place, listener)| {
            let optional = listener.clients.as_ref().is_some_and(|it| !it.required);
            open[place]
                .filter(|_| optional)
                .map(|open| (listener, open))
        });
        if let Some((listener, (other, open))) = shared {
            let message = format!(
                "routes `{id}` and `{}` share listener `{}`, and only one wants a certificate",
                subject.id(other),
                listener.name
            );
            hits.add(Lint::T208, id, span.clone(), message)
                .set_reason("wants one")
                .set_also(open.span.clone(), "answers without");
        }
    }
}

/// The hosts that routes take. Sets, because there may be ten thousand of them and of certificates.
#[derive(Default)]
struct Routed<'a> {
    any: bool,
    hosts: HashSet<&'a str>,
    /// What follows the first label of those.
    parents: HashSet<&'a str>,
    /// Domains that wildcards stand below.
    domains: HashSet<&'a str>,
}

impl<'a> Routed<'a> {
    fn of(subject: &'a Subject<'_>) -> Self {
        let mut routed = Self::default();
        for rule in &subject.rules {
            routed.any |= rule.hosts.is_empty();
            for host in &rule.hosts {
                match host {
                    HostPattern::Exact(host) => {
                        routed.hosts.insert(host);
                        routed
                            .parents
                            .extend(host.split_once('.').map(|(_, parent)| parent));
                    }
                    HostPattern::Below(domain) => {
                        routed.domains.insert(domain);
                    }
                }
            }
        }
        routed
    }

    /// Whether a route takes a host that a certificate names so.
    fn takes(&self, name: &str) -> bool {
        let (own, mut rest) = match name.strip_prefix("*.") {
            Some(domain) => (self.parents.contains(domain), name),
            None => (self.hosts.contains(name), name),
        };
        if self.any || own {
            return true;
        }
        while let Some((_, parent)) = rest.split_once('.') {
            if self.domains.contains(parent) {
                return true;
            }
            rest = parent;
        }
        false
    }
}

const DAY: i64 = 86_400;

/// What one certificate says about itself.
fn one(
    subject: &Subject<'_>,
    at: usize,
    name: &str,
    span: &Span,
    routed: &Routed<'_>,
    hits: &mut Hits,
) {
    let Some(facts) = &subject.facts[at] else {
        return;
    };
    let now = i64::try_from(subject.now.as_secs()).unwrap_or(i64::MAX);
    let (left, lifetime) = (
        facts.not_after.saturating_sub(now),
        facts.not_after.saturating_sub(facts.not_before),
    );
    let message = if now < facts.not_before {
        let days = (facts.not_before - now + DAY - 1) / DAY;
        Some(format!(
            "certificate `{name}` is not valid for another {days} days"
        ))
    } else if left <= 0 {
        Some(format!(
            "certificate `{name}` expired {} days ago",
            -left / DAY
        ))
    } else if left < lifetime / 10 {
        let (left, all) = (left / DAY, lifetime / DAY);
        Some(format!(
            "certificate `{name}` expires in {left} of its {all} days"
        ))
    } else {
        None
    };
    if let Some(message) = message {
        hits.add(Lint::T202, name, span.clone(), message);
    }
    if let Some(gap) = &facts.gap {
        let message = format!("the chain of certificate `{name}` has a gap: {gap}");
        hits.add(Lint::T204, name, span.clone(), message);
    }
    if let Some(weakness) = &facts.weakness {
        let message = format!("certificate `{name}` has {weakness}");
        hits.add(Lint::T205, name, span.clone(), message);
    }
    for wildcard in facts.names.iter().filter_map(|it| it.strip_prefix("*.")) {
        if is_public_suffix(wildcard) {
            let message = format!("certificate `{name}` names `*.{wildcard}`");
            hits.add(Lint::T213, name, span.clone(), message);
        }
    }
    if !facts.names.iter().any(|name| routed.takes(name)) {
        let names = facts.names.join(", ");
        let message = format!("no route takes a host of certificate `{name}`: {names}");
        hits.add(Lint::T216, name, span.clone(), message);
    }
}

/// Whether everybody can have names below `domain`: a top-level domain, or one of the usual second levels of countries.
fn is_public_suffix(domain: &str) -> bool {
    const SECOND: [&str; 8] = ["ac", "co", "com", "edu", "gov", "net", "or", "org"];
    match domain.split_once('.') {
        None => true,
        Some((second, country)) => country.len() == 2 && SECOND.contains(&second),
    }
}

/// Hosts without a certificate where one is needed.
fn hosts(subject: &Subject<'_>, hits: &mut Hits) {
    for (at, item) in subject.routes() {
        let id = subject.id(at);
        let tls: Vec<&Listener> = subject
            .listeners(at)
            .map(|(_, listener)| listener)
            .filter(|listener| !listener.certificates.is_empty())
            .collect();
        if tls.is_empty() {
            continue;
        }
        let plain = subject.listeners(at).count() > tls.len();
        for host in &item.value.hosts {
            // A certificate's wildcard stands for one label, so one label is asked for.
            let asked = subject.samples.host(Some(&host.value));
            let (with, without): (Vec<&Listener>, Vec<&Listener>) = tls
                .iter()
                .partition(|listener| subject.covers(listener, &asked));
            let redirect = subject.proxy.routes[at].redirect.as_ref();
            let open = subject.proxy.routes[at].https == Https::Any
                && redirect.and_then(|it| it.scheme) != Some("https");
            if plain && !with.is_empty() && open {
                let message = format!("route `{id}` serves `{}` over plain text, too", host.value);
                let mut requests = subject.samples.requests(&subject.rules[at]).into_iter();
                let witness = requests.next().map(|it| it.to(&asked));
                hits.add(Lint::T207, id, host.span.clone(), message)
                    .set_reason("has a certificate")
                    .set_witness(witness.and_then(|it| subject.witnessed(&it)));
            }
            let lint = match (with.is_empty(), plain) {
                (true, false) => Lint::R004,
                (true, true) => Lint::T201,
                (false, _) if !without.is_empty() => Lint::T212,
                (false, _) => continue,
            };
            let names: Vec<String> = without.iter().map(|it| format!("`{}`", it.name)).collect();
            let message = format!(
                "no certificate of listener {} covers `{}`, which route `{id}` takes",
                names.join(", "),
                host.value
            );
            let found = hits
                .add(lint, id, host.span.clone(), message)
                .set_reason("no certificate for it");
            let mut witness = subject.samples.requests(&subject.rules[at]).into_iter();
            if let (Lint::R004, Some(witness)) = (lint, witness.next()) {
                found.set_witness(Some(super::Witnessed {
                    request: witness.to(&asked).asked("https"),
                    route: None,
                }));
            }
        }
    }
}
