//! What the data plane does with a request, worked out from a configuration alone: the same route model, the same reading
//! of hosts and paths, the same certificates.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::asked::Asked;
use crate::config::Resolved;
use crate::model::Fault;
use crate::net::certificate::{CertificateError, ServerCertificate};
use crate::net::tls::CertificateStore;
use crate::proxy::config::{
    Breaker, ClientCertificates, Encoded, Endpoint, HeaderEdits, HeaderLine, HostHeader, Https,
    Listener, Network, Retry, Route, Upstream,
};
use crate::proxy::elsewhere::TO_TLS;
use crate::routing::explain::{self, Standing, Tier};
use crate::routing::matcher::{Listeners, Matcher, Request, Rule};
use crate::routing::pattern::PathPattern;
use crate::routing::target;

/// A configuration that can be asked.
pub(super) struct Table {
    pub(super) resolved: Resolved,
    rules: Vec<Rule>,
    matcher: Matcher,
    /// Their places, by name.
    upstreams: HashMap<String, usize>,
    /// By listener; without an entry it speaks plain text.
    stores: HashMap<String, CertificateStore>,
    /// Their names, by what they are served for.
    names: HashMap<*const ServerCertificate, String>,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Decision {
    /// The listener's name; `None`: none speaks the scheme.
    pub(super) listener: Option<String>,
    pub(super) certificate: Option<Shown>,
    /// In the form that is matched; `None`: it has none.
    pub(super) host: Option<String>,
    /// In the form that is matched and forwarded; `None`: it has none.
    pub(super) path: Option<String>,
    pub(super) query: Option<String>,
    /// The id of the route that takes it, also when it then refuses it.
    pub(super) route: Option<String>,
    pub(super) refused: Option<Refused>,
    /// What is done to it, in order.
    pub(super) policy: Vec<Step>,
    pub(super) upstream: Option<Destination>,
}

/// The certificate that a client is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) covers: Vec<String>,
}

/// Why a request goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Refused {
    /// The status answered; `None`: no response is made.
    pub(super) status: Option<u16>,
    /// The fault it is counted as; `None`: it is not a request yet.
    pub(super) fault: Option<Fault>,
    pub(super) reason: String,
}

/// One thing that is done to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    pub(super) what: &'static str,
    pub(super) value: String,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Destination {
    pub(super) name: String,
    pub(super) endpoints: Vec<String>,
}

/// How a route stands to a request, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Candidate {
    pub(super) route: String,
    /// `wins`, `loses` or `misses`.
    pub(super) standing: &'static str,
    /// Where it was decided; `None` for the winner.
    pub(super) tier: Option<&'static str>,
    pub(super) why: String,
}

impl Table {
    /// Compiles what a configuration says about requests.
    pub(super) fn new(resolved: Resolved) -> Result<Self, CertificateError> {
        let mut loaded = HashMap::new();
        let mut names = HashMap::new();
        for certificate in &resolved.proxy.certificates {
            let read = match ServerCertificate::load(&certificate.chain, &certificate.key) {
                Ok(read) => Arc::new(read),
                // Not issued yet.
                Err(_) if certificate.issued => continue,
                Err(error) => return Err(error),
            };
            names.insert(Arc::as_ptr(&read), certificate.name.clone());
            loaded.insert(certificate.name.as_str(), read);
        }
        let stores = resolved
            .proxy
            .listeners
            .iter()
            .filter(|listener| !listener.certificates.is_empty())
            .map(|listener| {
                let names = listener.certificates.iter();
                let of_listener: Vec<_> = names
                    .filter_map(|name| loaded.get(name.as_str()).map(Arc::clone))
                    .collect();
                (listener.name.clone(), CertificateStore::new(&of_listener))
            })
            .collect();
        let rules = resolved.proxy.rules();
        let upstreams = resolved.proxy.upstreams.iter().enumerate();
        Ok(Self {
            upstreams: upstreams.map(|(at, it)| (it.name.clone(), at)).collect(),
            matcher: Matcher::new(&rules),
            rules,
            stores,
            names,
            resolved,
        })
    }

    /// The rules, in the order of the routes.
    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What becomes of a request.
    pub(super) fn decide(&self, asked: &Asked) -> Decision {
        let host = target::host(&asked.authority).ok();
        let path = target::path(asked.target.path());
        let mut decision = Decision {
            listener: None,
            certificate: None,
            host: host.as_deref().map(str::to_owned),
            path: path
                .as_ref()
                .ok()
                .map(|path| path.text.clone().into_owned()),
            query: asked.target.query().map(str::to_owned),
            route: None,
            refused: None,
            policy: Vec::new(),
            upstream: None,
        };
        decision.refused = self
            .walk(asked, host.as_deref(), &path, &mut decision)
            .err();
        decision
    }

    /// The way of a request, as far as it comes.
    fn walk(
        &self,
        asked: &Asked,
        host: Option<&str>,
        path: &Result<target::Path<'_>, target::TargetError>,
        decision: &mut Decision,
    ) -> Result<(), Refused> {
        let listener = self.listener(asked).ok_or_else(|| {
            let speaks = if asked.tls { "TLS" } else { "plain text" };
            let named = asked.listener.as_ref().map(|name| format!(" `{name}`"));
            let named = named.unwrap_or_default();
            Refused::before_http(format!("there is no listener{named} that speaks {speaks}"))
        })?;
        decision.listener = Some(listener.name.clone());
        if let Some(store) = self.stores.get(&listener.name) {
            let shown = host.and_then(|host| store.find(host)).ok_or_else(|| {
                Refused::before_http(format!(
                    "no certificate of listener `{}` covers the host, so the TLS handshake is refused",
                    listener.name
                ))
            })?;
            decision.certificate = Some(Shown {
                name: self
                    .names
                    .get(&Arc::as_ptr(shown))
                    .cloned()
                    .unwrap_or_default(),
                covers: shown.names.clone(),
            });
        }
        if asked.method == http::Method::CONNECT {
            return Err(Refused::by(Fault::NotAllowed, &"CONNECT is not spoken"));
        }
        let path = path
            .as_ref()
            .map_err(|error| Refused::by(Fault::RequestInvalid, error))?;
        let host =
            host.ok_or_else(|| Refused::by(Fault::RequestInvalid, &target::TargetError::Host))?;
        let request = self.request(asked, host, &path.text, listener);
        let found = self
            .matcher
            .find(&request)
            .map(|at| &self.resolved.proxy.routes[at]);
        decision.route = found.map(|route| route.id.clone());
        let to_tls = |route: &Route| {
            let elsewhere = route.https == Https::Redirect && !asked.tls;
            elsewhere.then_some(TO_TLS)
        };
        if let Some(route) = found
            && let Some(redirect) = to_tls(route).or_else(|| route.redirect.clone())
        {
            let scheme = if asked.tls { "https" } else { "http" };
            let place = redirect.place(scheme, host, &path.text, asked.target.query());
            decision.policy = guards(route, listener);
            return Err(Refused {
                status: Some(redirect.status.as_u16()),
                fault: None,
                reason: format!("redirected to {place}"),
            });
        }
        let encoded = found.map(|route| route.encoded).unwrap_or_default();
        if path.encoded_separator && encoded == Encoded::Refuse {
            let reason = "the path has an encoded separator, and the route refuses those";
            return Err(Refused::by(Fault::RequestInvalid, &reason));
        }
        let route = found.ok_or_else(|| Refused::by(Fault::NoRoute, &"no route takes it"))?;
        let upstream = self.upstreams.get(&route.upstream);
        let upstream = upstream.map(|at| &self.resolved.proxy.upstreams[*at]);
        if route.certified && listener.clients.is_none() {
            decision.policy = guards(route, listener);
            let reason = "the route wants a client's certificate, and the listener asks for none";
            return Err(Refused::by(Fault::Forbidden, &reason));
        }
        decision.policy = policy(route, listener, upstream, path.encoded_separator);
        if let Some(moved) = &route.rewrite {
            let value = moved.path(&path.text);
            let there = self.matcher.find(&Request {
                path: &value,
                ..request
            });
            let there = there.map(|at| &self.resolved.proxy.routes[at]);
            let guard = there.filter(|it| it.id != route.id && it.is_guarded());
            let value = guard.map_or(value.clone(), |guard| {
                format!("{value}, by the guards of route `{}`", guard.id)
            });
            let what = "path upstream";
            decision.policy.push(Step { what, value });
        }
        let endpoints = upstream.map_or(&[][..], |upstream| &upstream.endpoints);
        decision.upstream = Some(Destination {
            name: route.upstream.clone(),
            endpoints: endpoints.iter().map(Endpoint::weighted).collect(),
        });
        if endpoints.is_empty() {
            let reason = "the route's upstream has no endpoints";
            return Err(Refused::by(Fault::NoEndpoint, &reason));
        }
        Ok(())
    }

    /// How every route stands to a request: the winner, then those that match, then the others; within these, those that
    /// came furthest first. Empty when the request has no host or path to be matched by.
    pub(super) fn candidates(&self, asked: &Asked) -> Vec<Candidate> {
        let (Some(listener), Ok(host), Ok(path)) = (
            self.listener(asked),
            target::host(&asked.authority),
            target::path(asked.target.path()),
        ) else {
            return Vec::new();
        };
        let request = self.request(asked, &host, &path.text, listener);
        let standings = explain::explain(&self.rules, &request);
        let winner = standings.iter().position(|it| *it == Standing::Wins);
        let mut order: Vec<usize> = (0..standings.len()).collect();
        order.sort_by_key(|at| match standings[*at] {
            Standing::Wins => (0, None),
            Standing::Loses(tier) => (1, Some(std::cmp::Reverse(tier))),
            Standing::Misses(tier) => (2, Some(std::cmp::Reverse(tier))),
        });
        let candidate = |at: usize| {
            let rule = &self.rules[at];
            let (standing, tier, why) = match standings[at] {
                Standing::Wins => ("wins", None, describe(rule)),
                Standing::Loses(tier) => {
                    let winner = winner.map(|at| &self.rules[at]);
                    ("loses", Some(tier), lost(rule, winner, tier, &request))
                }
                Standing::Misses(tier) => ("misses", Some(tier), missed(rule, tier, &request)),
            };
            Candidate {
                route: self.resolved.proxy.routes[at].id.clone(),
                standing,
                tier: tier.map(Tier::as_str),
                why,
            }
        };
        order.into_iter().map(candidate).collect()
    }

    fn request<'a>(
        &self,
        asked: &'a Asked,
        host: &'a str,
        path: &'a str,
        listener: &Listener,
    ) -> Request<'a> {
        let mut listeners = self.resolved.proxy.listeners.iter();
        let place = listeners.position(|it| it.name == listener.name);
        Request {
            listener: place.map_or(Listeners::NONE, Listeners::one),
            host,
            path,
            query: asked.target.query(),
            method: asked.method.as_str(),
            headers: &asked.headers,
        }
    }

    /// The listener that is named, or else the first that speaks what is asked, on the port that is asked if there is
    /// one.
    fn listener(&self, asked: &Asked) -> Option<&Listener> {
        let listeners = || {
            let all = self.resolved.proxy.listeners.iter();
            all.filter(|it| it.certificates.is_empty() != asked.tls)
        };
        if let Some(name) = &asked.listener {
            return listeners().find(|listener| listener.name == *name);
        }
        listeners()
            .find(|listener| asked.port == Some(listener.address.port()))
            .or_else(|| listeners().next())
    }
}

impl Refused {
    fn by(fault: Fault, reason: &impl ToString) -> Self {
        Self {
            status: fault.status(),
            fault: Some(fault),
            reason: reason.to_string(),
        }
    }

    fn before_http(reason: String) -> Self {
        Self {
            status: None,
            fault: None,
            reason,
        }
    }
}

/// Whom a route answers.
fn guards(route: &Route, listener: &Listener) -> Vec<Step> {
    let list = |networks: &[Network]| {
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        networks.join(", ")
    };
    let mut steps = Vec::new();
    if listener.proxy_protocol {
        steps.push(Step {
            what: "client address",
            value: "told by trusted proxies by a PROXY header, others are refused".to_owned(),
        });
    }
    if let Some(value) = listener.clients.as_ref().map(judged) {
        let what = "client certificate";
        steps.push(Step { what, value });
    }
    if route.certified {
        let value = "must have been shown, else 403".to_owned();
        let what = "client certificate";
        steps.push(Step { what, value });
    }
    if !route.deny_from.is_empty() {
        let value = format!("not {}, else 403", list(&route.deny_from));
        steps.push(Step {
            what: "client",
            value,
        });
    }
    if !route.allow_from.is_empty() {
        let value = format!("only {}, else 403", list(&route.allow_from));
        steps.push(Step {
            what: "client",
            value,
        });
    }
    steps
}

/// How clients' certificates are judged.
fn judged(clients: &ClientCertificates) -> String {
    let asked = if clients.required {
        "required"
    } else {
        "asked for"
    };
    let lists = match clients.lists.len() {
        0 => String::new(),
        1 => ", and not revoked by 1 list".to_owned(),
        count => format!(", and not revoked by {count} lists"),
    };
    format!(
        "{asked}, verified by {}{lists}, for this host alone, else 421",
        clients.issuers.display()
    )
}

/// What edits do, in words.
fn edits(edits: &HeaderEdits) -> Option<String> {
    let lines = |word: &str, lines: &[HeaderLine]| {
        let write = |line: &HeaderLine| {
            format!(
                "{word} `{}: {}`",
                line.name,
                line.value.to_str().unwrap_or_default()
            )
        };
        lines.iter().map(write).collect::<Vec<_>>()
    };
    let mut all: Vec<String> = edits
        .remove
        .iter()
        .map(|name| format!("without `{name}`"))
        .collect();
    all.extend(lines("with", &edits.set));
    all.extend(lines("and", &edits.add));
    (!all.is_empty()).then(|| all.join(", "))
}

/// What a route does to a request, in the order it is done.
fn policy(
    route: &Route,
    listener: &Listener,
    upstream: Option<&Upstream>,
    encoded: bool,
) -> Vec<Step> {
    let mut steps = guards(route, listener);
    let mut step = |what, value: String| steps.push(Step { what, value });
    if encoded {
        let value = match route.encoded {
            Encoded::Keep => "passed on as data",
            Encoded::Report => "passed on as data, and counted",
            Encoded::Refuse => "answered 400",
        };
        step("encoded separator", value.to_owned());
    }
    if !route.rate_limits.is_empty() {
        step(
            "rate limits",
            format!("{}, else 429", route.rate_limits.join(", ")),
        );
    }
    step(
        "body",
        format!("at most {} bytes, else 413", route.max_body_bytes),
    );
    let websocket = if route.websocket {
        "may pass"
    } else {
        "does not pass"
    };
    step("websocket upgrade", websocket.to_owned());
    let host = match route.host_header {
        HostHeader::Client => "the client's",
        HostHeader::Endpoint => "the endpoint's address",
    };
    step("host header", host.to_owned());
    if let Some(edits) = edits(&route.request_headers) {
        step("request headers", edits);
    }
    let told = listener.clients.as_ref().map_or(&[][..], |it| &it.headers);
    if !told.is_empty() {
        let names: Vec<_> = told.iter().map(|it| format!("`{}`", it.name())).collect();
        step("client identity", format!("told as {}", names.join(", ")));
    }
    if let Some(upstream) = upstream {
        if upstream.endpoints.len() > 1 {
            step("endpoint", upstream.balance.to_string());
        }
        step(
            "connect",
            format!("within {:?}, else 504", upstream.connect_timeout),
        );
        if let Some(breaker) = &upstream.breaker {
            step("breaker", describe_breaker(breaker));
        }
        if upstream.endpoints.iter().any(|endpoint| endpoint.tls) {
            let verified = if upstream.tls.insecure {
                "NOT verified".to_owned()
            } else {
                let roots = upstream.tls.roots.as_ref();
                roots.map_or("verified by the system's roots".to_owned(), |roots| {
                    format!("verified by {}", roots.display())
                })
            };
            step("upstream certificate", verified);
        }
    }
    step(
        "first byte",
        format!("within {:?}, else 504", route.timeouts.first_byte),
    );
    if let Some(retry) = &route.retry {
        step("retry", describe_retry(retry));
    }
    step("idle", format!("at most {:?}", route.timeouts.idle));
    let total = route.timeouts.total;
    let total = total.map_or("as long as bytes keep flowing".to_owned(), |total| {
        format!("at most {total:?}")
    });
    step("whole exchange", total);
    if let Some(edits) = edits(&route.response_headers) {
        step("response headers", edits);
    }
    if let Some(hsts) = route.hsts.as_ref().and_then(|it| it.to_str().ok()) {
        step(
            "over TLS",
            format!("with `strict-transport-security: {hsts}`"),
        );
    }
    steps
}

fn describe_breaker(breaker: &Breaker) -> String {
    let mut parts = Vec::new();
    if let Some(most) = breaker.max_in_flight {
        parts.push(format!("at most {most} requests at a time"));
    }
    if let Some(most) = breaker.max_pending {
        parts.push(format!("at most {most} that wait for a connection"));
    }
    if let Some(percent) = breaker.failure_percent {
        parts.push(format!(
            "open for {:?} when {percent} of a hundred of at least {} fail in {:?}",
            breaker.open_for, breaker.min_requests, breaker.window
        ));
    }
    format!("{}, else 503", parts.join(", "))
}

fn describe_retry(retry: &Retry) -> String {
    let mut on: Vec<String> = Vec::new();
    on.extend(retry.reset.then(|| "reset".to_owned()));
    on.extend(retry.timeout.then(|| "timeout".to_owned()));
    on.extend(retry.statuses.iter().map(ToString::to_string));
    let per_try = retry
        .per_try
        .map_or(String::new(), |it| format!(", each within {it:?}"));
    format!(
        "up to {} times after {}{per_try}, {} for a hundred requests",
        retry.attempts,
        on.join(", "),
        retry.budget_percent
    )
}

/// What a rule asks for.
pub(super) fn describe(rule: &Rule) -> String {
    let mut parts = vec![hosts(rule), rule.path.to_string()];
    if !rule.methods.is_empty() {
        parts.push(rule.methods.join(","));
    }
    parts.extend(rule.headers.iter().map(|it| format!("[{it}]")));
    parts.extend(rule.query.iter().map(|it| format!("[?{it}]")));
    parts.join(" ")
}

fn hosts(rule: &Rule) -> String {
    if rule.hosts.is_empty() {
        return "every host".to_owned();
    }
    let hosts: Vec<String> = rule.hosts.iter().map(ToString::to_string).collect();
    hosts.join(",")
}

/// Why a rule that matches does not win.
fn lost(rule: &Rule, winner: Option<&Rule>, tier: Tier, request: &Request<'_>) -> String {
    let Some(winner) = winner else {
        return String::new();
    };
    // The pattern that made it match, not the whole list.
    let host = |rule: &Rule| {
        let mut matching: Vec<String> = rule
            .hosts
            .iter()
            .filter(|host| host.takes(request.host))
            .map(ToString::to_string)
            .collect();
        matching.sort_by_key(|host| (host.starts_with("*."), std::cmp::Reverse(host.len())));
        matching
            .into_iter()
            .next()
            .unwrap_or_else(|| "every host".to_owned())
    };
    match tier {
        Tier::Listener => String::new(),
        Tier::Host => format!("{} is less specific than {}", host(rule), host(winner)),
        Tier::Path => match (&rule.path, &winner.path) {
            (PathPattern::Prefix(_), PathPattern::Prefix(_)) => {
                format!("{} is shorter than {}", rule.path, winner.path)
            }
            (_, PathPattern::Exact(_)) => format!("{} is exactly the path", winner.path),
            (_, PathPattern::Matching(_) | PathPattern::Prefix(_)) => {
                format!("the expression {} goes before a prefix", winner.path)
            }
        },
        Tier::Method => format!("the winner names {}", request.method),
        Tier::Headers => format!(
            "{} headers asked for, the winner asks for {}",
            rule.counted_headers().count(),
            winner.counted_headers().count()
        ),
        Tier::Query => format!(
            "{} query parameters asked for, the winner asks for {}",
            rule.counted_query().count(),
            winner.counted_query().count()
        ),
        Tier::Order => "as specific as the winner, which stands before it".to_owned(),
    }
}

/// Why a rule does not match.
fn missed(rule: &Rule, tier: Tier, request: &Request<'_>) -> String {
    match tier {
        Tier::Listener => "not for this listener".to_owned(),
        Tier::Host => format!("{} is not {}", request.host, hosts(rule)),
        Tier::Path => format!("{} is not {}", request.path, rule.path),
        Tier::Method => format!("{} is not {}", request.method, rule.methods.join(",")),
        Tier::Headers => {
            let mut asked = rule.counted_headers();
            let missing = asked.find(|it| !it.takes(request.headers));
            missing.map_or_else(String::new, |it| format!("the headers lack `{it}`"))
        }
        Tier::Query => {
            let mut asked = rule.counted_query();
            let missing = asked.find(|it| !it.takes(request.query));
            missing.map_or_else(String::new, |it| format!("the query lacks `{it}`"))
        }
        Tier::Order => String::new(),
    }
}
