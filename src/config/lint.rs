//! What a configuration that holds probably does not mean: each lint has a stable id, proves itself with a request where
//! one can prove it, and says what to do.
//!
//! They run when somebody asks (`vestibule check`), not when a daemon reads its file. What is meant so is written down as
//! an `[[allow]]` with its reason.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use super::Resolved;
use super::code::{Code, Severity};
use super::file::{self, File};
use super::finding::{Finding, Findings, Span};
use super::keys::Item;
use crate::model::{Slo, Timestamp};
use crate::net::certificate::{self, Facts};
use crate::proxy::config as proxy;
use crate::routing::matcher::{Listeners, Matcher, Rule};
use crate::routing::witness::{Samples, Witness};
use crate::slo::policy::Policy;

mod alerting;
mod elsewhere;
mod operations;
mod page;
mod resilience;
mod routes;
mod security;
mod tls;

pub use page::page;

macro_rules! lints {
    ($($id:ident = $severity:ident, $title:literal, $why:literal, $fix:literal;)+) => {
        /// A lint, by its id. Ids are stable and never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the title of each stands in the table that this is made of")]
        pub enum Lint { $($id,)+ }

        impl Lint {
            /// Every lint, in the order of ids.
            pub const ALL: &'static [Self] = &[$(Self::$id,)+];

            /// Its id.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$id => stringify!($id),)+ }
            }

            /// How much it matters.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$id => Severity::$severity,)+ }
            }

            /// What was found, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$id => $title,)+ }
            }

            /// Why it matters.
            pub const fn why(self) -> &'static str {
                match self { $(Self::$id => $why,)+ }
            }

            /// What to do.
            pub const fn fix(self) -> &'static str {
                match self { $(Self::$id => $fix,)+ }
            }
        }
    };
}

lints! {
    R002 = Warning, "A route never takes a request",
        "Every request that matches it matches a more specific or earlier route too. Whoever wrote it believes that it works.",
        "remove it, or make it more specific than the route that goes before it";
    R003 = Note, "A host's short path goes before another route's longer one",
        "Hosts are compared before paths, so on that host the longer path is never looked at, and its requests go to another upstream.",
        "name the host in the route with the longer path, too";
    R004 = Warning, "A host can be reached through no listener",
        "All listeners of the route speak TLS, and none has a certificate for the host: the handshake is refused.",
        "add a certificate for the host to a listener, or a plain-text listener";
    R005 = Note, "A catch-all takes paths that are rarely meant for everybody",
        "Consoles, metrics and dot files that a service happens to serve are open to whoever reaches the listener.",
        "route what is meant to be public, or give these paths a route to where they are answered 404";
    R006 = Note, "A trailing `/` that says nothing",
        "`path` takes whole elements, so `/api/` takes `/api` as well, which the `/` looks like it excludes.",
        "leave the `/` out; `path_exact` tells the two apart";
    R007 = Warning, "An expression that takes every path, or none",
        "An expression is always held against the whole path. One that takes everything goes before every prefix of the host.",
        "write `path = \"/\"` for every path; begin expressions with `/`";
    R008 = Note, "The same path with a `/` behind goes elsewhere",
        "Clients and servers add a trailing `/` as they like, and then another upstream answers.",
        "use `path`, or add a route for the other spelling";
    R009 = Warning, "Two paths differ only in their case",
        "Paths are case-sensitive: which route takes a request depends on how somebody typed it.",
        "keep one spelling";
    R010 = Note, "A wildcard takes hosts that are rarely meant for everybody",
        "A name like `admin` below the domain leads to this route's upstream as soon as somebody asks for it.",
        "give these hosts routes of their own";
    R011 = Note, "A host without a route for every path",
        "What no route takes is answered 404 and counted under the route `none`, where no objective sees it.",
        "if that is not meant, add a route without `path` for the host";
    R014 = Note, "A rewrite that drops part of the path",
        "Every path that the route takes becomes the same one upstream.",
        "use `prefix` to keep what follows, or `path_exact` in the route";
    R015 = Error, "A redirect that leads back to itself",
        "Clients follow it until they give up, and call it a loop.",
        "lead to a path, host or scheme that another route takes";
    R016 = Warning, "A path that its own route refuses",
        "It holds an encoded separator, which the route answers 400: it could never be served.",
        "set `encoded = \"keep\"`, or write the path without it";
    R017 = Note, "GET without HEAD, or writes without OPTIONS",
        "Link checkers and caches send HEAD, browsers send OPTIONS before a write from another origin; here they go elsewhere or are answered 404.",
        "add the method";
    R018 = Warning, "A name is asked for twice",
        "Of several conditions for one header or parameter the first counts; the others are ignored.",
        "write one expression with `|` instead";
    R020 = Warning, "The order in the file decides between two upstreams",
        "Both routes are equally specific for this request. Moving one in the file moves traffic.",
        "ask for one thing more in the route that should win";
    L101 = Note, "Practically no timeout",
        "A request may hold its connection and the upstream's for as long as bytes trickle or for many minutes.",
        "set `timeouts.total`, or shorter `first_byte` and `idle`";
    L102 = Warning, "An inner timeout is not shorter than the outer one",
        "The outer one always ends first, so the inner one never tells which part was slow.",
        "make the inner timeout shorter than the outer one";
    L103 = Warning, "Retries for requests that are never repeated",
        "A request whose method may not be repeated (POST, PATCH) is never retried, whatever `retry` says, and this route \
         takes no others.",
        "leave `retry` out, or add the methods it is meant for";
    L104 = Warning, "The attempts do not fit into the whole",
        "All attempts together may take longer than `total` allows, so the last ones are cut off or never made.",
        "shorten `per_try`, make fewer attempts, or raise `total`";
    L105 = Warning, "Retries without a budget that holds",
        "When everything fails, every request is sent again: a service that is down gets a multiple of its load just when it \
         tries to come back.",
        "keep `budget` at 20 or so";
    L106 = Note, "Several endpoints, and nothing asks them how they are",
        "One that hangs keeps its share of the requests until each of them times out.",
        "add `health`, or at least `eject_after`";
    L107 = Note, "A health check that changes its mind at one answer",
        "One lost packet or one slow second takes an endpoint away or brings a sick one back, and moves its load about.",
        "set `rise` and `fall` to 2 or more";
    L110 = Note, "A rate limit by something that anybody can make up",
        "Whoever changes the header with every request has a bucket for every request.",
        "put a limit with `key = \"client\"` on the route as well";
    L111 = Note, "Request bodies of a GiB and more",
        "One client can keep an upstream busy with a body that nobody wants.",
        "set `max_body` to what the service takes";
    L112 = Note, "A drain that is shorter than requests may take",
        "A stop or a deploy cuts requests off that their route allows; they count against the edge.",
        "raise `proxy.drain`, or lower `timeouts.total`";
    L113 = Note, "Connections are kept longer than servers commonly keep theirs",
        "A request may be sent into a connection that the server is closing (Node.js and others close after 5 s).",
        "set `idle_timeout` below the servers' own keep-alive";
    T201 = Warning, "A host has no certificate on any TLS listener",
        "It is served over plain text alone, although there is TLS here.",
        "add a certificate for the host";
    T202 = Error, "A certificate has expired, is not valid yet, or soon expires",
        "Clients refuse it. A healthy renewal happens with a third of the lifetime left; this one has less than a tenth.",
        "renew it";
    T204 = Warning, "A certificate's chain has a gap",
        "Clients that do not know the issuer already cannot verify it; browsers often can, so it goes unnoticed.",
        "put every intermediate behind the leaf, in order";
    T205 = Warning, "A weak key or signature",
        "Clients refuse RSA keys below 2048 bits and signatures with MD5 or SHA-1.",
        "issue a new certificate";
    T207 = Note, "A host is served over plain text though it has a certificate",
        "Whoever follows an old link or types the name sends cookies and forms in the clear.",
        "set `https = \"redirect\"`, and `hsts` once all is well";
    T208 = Note, "Routes with and without clients' certificates on one listener",
        "Whoever reaches the open routes shares a listener with those who must show a certificate: one route too broad, and the guard is gone.",
        "give what is guarded a listener of its own with `client_certificates`";
    T211 = Warning, "A private key that others can read",
        "Whoever has an account on this machine can take it.",
        "chmod 600, owned by the user that runs Vestibule";
    T212 = Warning, "A host has a certificate on some of its TLS listeners only",
        "On the others the handshake is refused.",
        "add the certificate to the others, or name the route's `listeners`";
    T213 = Warning, "A wildcard for a public suffix",
        "No issuer signs one, and one that does would speak for everybody below it.",
        "name the hosts";
    T216 = Note, "A certificate for hosts that no route takes",
        "It has to be renewed and guarded for nothing, or a route is missing.",
        "remove it, or add the route";
    T217 = Warning, "No listener for what an authority asks to be shown",
        "With `http-01` it asks a plain listener, with `tls-alpn-01` a TLS listener, and there is none: unless something in front answers it, no certificate is ever issued.",
        "add the listener, or use another `challenge`";
    T218 = Warning, "A route for clients with certificates that nobody is asked for",
        "Every one of its requests over such a listener is answered 403.",
        "add `client_certificates` to the listener, or name the route's `listeners`";
    S301 = Error, "An upstream that is Vestibule itself",
        "The admin API has no authentication and would be open to every client of the route; a listener would forward to itself until the descriptors are used up.",
        "name the service's own address";
    S302 = Warning, "Everybody's forwarding headers are believed",
        "Whoever sends X-Forwarded-For chooses the address that is logged and passed on.",
        "name the networks of the proxies in front";
    S304 = Warning, "A guarded path can be reached by another spelling",
        "The guard stands on one spelling; another takes a route without it to the same upstream, which may read both alike.",
        "guard the other route as well, or send it to another upstream";
    S305 = Warning, "A more specific route drops the guard",
        "Its paths lie within those of a route that answers some clients only, and it answers everybody.",
        "give it the same `allow_from` and `deny_from`";
    S307 = Note, "Any Host is passed on",
        "A route without `hosts` passes whatever host the client names to the service, which may build links and password mails from it.",
        "name the `hosts`, or set `host_header = \"endpoint\"`";
    S313 = Warning, "An upstream at a link-local or metadata address",
        "These addresses answer with credentials of the machine on most clouds.",
        "name the service's own address";
    S316 = Error, "A rewrite leads past a guard",
        "The path that it asks the upstream for belongs to a route that answers some clients only. The proxy answers 403 then, so the \
         route does not do what it looks like.",
        "give the route the same guard, or rewrite to another path";
    A501 = Warning, "An alert fires inside the budget",
        "Its row asks for a burn rate below 1: at that rate the budget lasts longer than its window, and somebody is told all the same.",
        "raise `factor` or `spend` to what comes to 1 or more over the SLO's window, or set `least = 1`";
    A502 = Warning, "An alert that looks back further than its promise",
        "The row's long window is not shorter than the SLO's: by the time that it is judged, the whole budget may be gone.",
        "give the SLO a policy with shorter windows";
    A506 = Warning, "A blend whose probe leaves minutes out",
        "A composite is weighed minute by minute, and the slots of this probe are longer: all seconds of a slot count in the minute \
         in which it ends, and in the minutes between nothing comes from outside.",
        "set the probe's `every` to a minute or less; 30s gives each minute two slots";
    A507 = Warning, "A probe that is too rare for its promise",
        "A failed slot spends as much budget as it is long. Where that is more than a tenth of the budget, or an alert's shortest \
         window holds fewer than ten slots, one hiccup looks like an outage, and an outage like a hiccup.",
        "lower the probe's `every`, or promise less";
    O401 = Note, "A route nobody answers for",
        "Alerts and screens show the owner; without one, whoever is woken has to ask around.",
        "add `owner`";
    O410 = Note, "An objective without a runbook",
        "Its alerts wake somebody without a word on what to do.",
        "add `runbook`";
}

/// Why a text is not a [`Lint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no lint")]
pub struct LintError(String);

impl FromStr for Lint {
    type Err = LintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.iter().copied();
        all.find(|lint| lint.id() == text)
            .ok_or_else(|| LintError(text.to_owned()))
    }
}

/// A request that shows what a lint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// As `vestibule explain` takes it.
    pub request: String,
    /// The id of the route that takes it; `None`: no route does.
    pub route: Option<String>,
}

/// Runs every lint over a file that holds, as of `now`; what is allowed is left out.
pub(super) fn run(
    text: &str,
    file: &File,
    resolved: &Resolved,
    now: Timestamp,
    findings: &mut Findings,
) {
    let rules = resolved.proxy.rules();
    let certificates = &resolved.proxy.certificates;
    let facts: Vec<Option<Facts>> = certificates
        .iter()
        .map(|it| certificate::facts(&it.chain).ok())
        .collect();
    let known = certificates.iter().zip(&facts);
    let known = known.map(|(it, facts)| (it.name.as_str(), facts.as_ref()));
    let known: HashMap<&str, Option<&Facts>> = known.collect();
    let listeners = resolved.proxy.listeners.iter();
    let covered = listeners.map(|it| (it.name.clone(), Covered::of(it, &known)));
    let subject = Subject {
        covered: covered.collect(),
        text,
        file,
        proxy: &resolved.proxy,
        policies: &resolved.policies,
        slos: &resolved.slos,
        admin: &resolved.admin,
        matcher: Matcher::new(&rules),
        samples: Samples::new(&rules, resolved.proxy.listeners.len()),
        rules,
        facts,
        now,
    };
    let mut hits = Hits::default();
    routes::check(&subject, &mut hits);
    elsewhere::check(&subject, &mut hits);
    resilience::check(&subject, &mut hits);
    tls::check(&subject, &mut hits);
    security::check(&subject, &mut hits);
    alerting::check(&subject, &mut hits);
    operations::check(&subject, &mut hits);
    hits.hand_over(&file.allowed, findings);
}

/// What lints look at.
struct Subject<'a> {
    text: &'a str,
    file: &'a File,
    proxy: &'a proxy::Config,
    policies: &'a [Policy],
    slos: &'a [Slo],
    admin: &'a crate::admin::Config,
    rules: Vec<Rule>,
    matcher: Matcher,
    samples: Samples,
    /// Of each certificate; `None`: it cannot be read, which is told elsewhere.
    facts: Vec<Option<Facts>>,
    /// By listener.
    covered: HashMap<String, Covered>,
    now: Timestamp,
}

impl Subject<'_> {
    /// The route's id.
    fn id(&self, route: usize) -> &str {
        &self.proxy.routes[route].id
    }

    /// The route's tables.
    fn routes(&self) -> impl Iterator<Item = (usize, &Item<file::Route>)> {
        self.file.routes.iter().enumerate()
    }

    /// The listeners that a route takes requests from.
    fn listeners(&self, route: usize) -> impl Iterator<Item = (usize, &proxy::Listener)> {
        let taken = self.rules[route].listeners;
        let all = self.proxy.listeners.iter().enumerate();
        all.filter(move |(at, _)| Listeners::one(*at).meets(taken))
    }

    /// Whether a certificate of this listener speaks for `host`.
    fn covers(&self, listener: &proxy::Listener, host: &str) -> bool {
        let covered = self.covered.get(&listener.name);
        covered.is_some_and(|covered| covered.covers(host))
    }

    /// How a request reaches a listener that it may come in by; `None`: a TLS handshake for its host is refused.
    fn scheme(&self, witness: &Witness) -> Option<&'static str> {
        let listeners = self.proxy.listeners.iter().enumerate();
        let mut reached = listeners.filter(|(at, _)| Listeners::one(*at).meets(witness.listener));
        let mut plain = reached.clone();
        if plain.any(|(_, it)| it.certificates.is_empty()) {
            return Some("http");
        }
        let covered = reached.any(|(_, it)| self.covers(it, &witness.host));
        covered.then_some("https")
    }

    /// Whether the route at `route` takes a request that can be sent.
    fn is_taken_by(&self, witness: &Witness, route: usize) -> bool {
        self.scheme(witness).is_some() && self.matcher.find(&witness.request()) == Some(route)
    }

    /// A request as it can be asked, with the route that takes it; `None` when it cannot be sent.
    fn witnessed(&self, witness: &Witness) -> Option<Witnessed> {
        let scheme = self.scheme(witness)?;
        let taken = self.matcher.find(&witness.request());
        Some(Witnessed {
            request: witness.asked(scheme),
            route: taken.map(|route| self.id(route).to_owned()),
        })
    }
}

/// The hosts that a listener's certificates speak for. Sets, because there may be ten thousand of either.
#[derive(Default)]
struct Covered {
    names: HashSet<String>,
    /// A certificate cannot be read; what it speaks for gets the benefit of the doubt.
    unknown: bool,
}

impl Covered {
    fn of(listener: &proxy::Listener, certificates: &HashMap<&str, Option<&Facts>>) -> Self {
        let mut covered = Self::default();
        for name in &listener.certificates {
            match certificates.get(name.as_str()).copied().flatten() {
                Some(facts) => covered.names.extend(facts.names.iter().cloned()),
                None => covered.unknown = true,
            }
        }
        covered
    }

    fn covers(&self, host: &str) -> bool {
        let wildcard = || {
            let (_, parent) = host.split_once('.')?;
            Some(self.names.contains(&format!("*.{parent}")))
        };
        self.unknown || self.names.contains(host) || wildcard() == Some(true)
    }
}

/// Everything found.
#[derive(Default)]
struct Hits(Vec<Hit>);

struct Hit {
    lint: Lint,
    /// What it is about: a route's id, the name of an upstream or certificate, or nothing.
    about: String,
    finding: Finding,
}

impl Hits {
    /// Notes that `lint` was found at `span`, about the thing called `about`.
    fn add(&mut self, lint: Lint, about: &str, span: Span, message: String) -> &mut Finding {
        let finding = Finding::new(Code::Lint(lint), span, message).help(lint.fix());
        self.0.push(Hit {
            lint,
            about: about.to_owned(),
            finding,
        });
        &mut self.0.last_mut().expect("one was just added").finding
    }

    /// Hands over what is not allowed, and the allowances that allow nothing.
    fn hand_over(self, allowed: &[Item<file::Allow>], findings: &mut Findings) {
        let mut used = vec![false; allowed.len()];
        for hit in self.0 {
            let allows = |allow: &Item<file::Allow>| {
                let about = allow.value.about.as_ref();
                allow.value.lints.iter().any(|it| it.value == hit.lint)
                    && about.is_none_or(|about| about.value == hit.about)
            };
            let mut silent = false;
            for (at, allow) in allowed.iter().enumerate() {
                if allows(allow) {
                    used[at] = true;
                    silent = true;
                }
            }
            if !silent {
                findings.add(hit.finding);
            }
        }
        for (allow, used) in allowed.iter().zip(used) {
            if !used {
                let message = "this allows nothing: what it names was not found";
                let finding = Finding::new(Code::Unused, allow.span.clone(), message)
                    .reason("unused")
                    .help("remove it");
                findings.add(finding);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lead_back_to_their_lints_and_rise_within_their_group() {
        for lint in Lint::ALL {
            assert_eq!(lint.id().parse(), Ok(*lint));
        }
        for pair in Lint::ALL.windows(2) {
            let [before, after] = [pair[0].id(), pair[1].id()];
            let same_group = before.as_bytes()[0] == after.as_bytes()[0];
            assert!(!same_group || before < after, "{before} {after}");
        }
        assert!("R999".parse::<Lint>().is_err());
    }

    #[test]
    fn every_lint_says_what_why_and_what_to_do() {
        for lint in Lint::ALL {
            assert!(lint.why().ends_with('.'), "{}", lint.id());
            assert!(
                !lint.title().ends_with('.') && !lint.fix().ends_with('.'),
                "{}",
                lint.id()
            );
        }
    }
}
