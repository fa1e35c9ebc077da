//! Routes: what is never reached, what takes more than it looks like, and what takes less.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Hits, Lint, Subject};
use crate::config::file;
use crate::config::keys::Item;
use crate::proxy::config::Encoded;
use crate::routing::explain::{self, Standing};
use crate::routing::pattern::{HostPattern, PathPattern};
use crate::routing::target;
use crate::routing::witness::{Reach, Witness, reach, takes_everything};

pub(super) fn check(subject: &Subject<'_>, hits: &mut Hits) {
    for (at, item) in subject.routes() {
        never_taken(subject, at, item, hits);
        catch_all(subject, at, item, hits);
        wildcard_host(subject, at, item, hits);
        path(subject, at, item, hits);
        methods(subject, at, item, hits);
        doubled(subject, at, item, hits);
    }
    overlaps(subject, hits);
    without_default(subject, hits);
    case_twins(subject, hits);
    fragile_ties(subject, hits);
}

fn never_taken(subject: &Subject<'_>, at: usize, item: &Item<file::Route>, hits: &mut Hits) {
    let found = reach(&subject.rules, at, &subject.matcher, &subject.samples);
    if let Reach::Never(witness, winner) = found {
        let id = subject.id(at);
        let first = subject.id(winner);
        let message = format!("route `{id}` never takes a request: `{first}` goes before it");
        hits.add(Lint::R002, id, item.span.clone(), message)
            .set_reason("never taken")
            .set_also(subject.file.routes[winner].span.clone(), "takes all of it")
            .set_witness(subject.witnessed(&witness));
    }
}

/// Paths that services serve for their operators.
const SENSITIVE_PATHS: [&str; 9] = [
    "/admin",
    "/metrics",
    "/actuator/env",
    "/debug/pprof/",
    "/server-status",
    "/.git/config",
    "/.env",
    "/swagger",
    "/wp-admin",
];

fn catch_all(subject: &Subject<'_>, at: usize, item: &Item<file::Route>, hits: &mut Hits) {
    let redirects = subject.proxy.routes[at].redirect.is_some();
    if redirects || !takes_everything(&subject.rules[at].path) {
        return;
    }
    let Some(request) = unconditional(subject, at) else {
        return;
    };
    let taken: Vec<Witness> = SENSITIVE_PATHS
        .iter()
        .map(|path| request.at(path))
        .filter(|witness| subject.is_taken_by(witness, at))
        .collect();
    if let Some(first) = taken.first() {
        let id = subject.id(at);
        let paths: Vec<&str> = taken.iter().map(|it| it.path.as_str()).collect();
        let message = format!("route `{id}` also takes {}", paths.join(", "));
        hits.add(Lint::R005, id, item.span.clone(), message)
            .set_reason("takes every path")
            .set_witness(subject.witnessed(first));
    }
}

/// A request of a route that asks for no headers and parameters, by GET if it takes that: those that anybody sends.
fn unconditional(subject: &Subject<'_>, at: usize) -> Option<Witness> {
    let rule = &subject.rules[at];
    let takes_get = rule.methods.is_empty() || rule.methods.iter().any(|it| it == "GET");
    if !rule.headers.is_empty() || !rule.query.is_empty() {
        return None;
    }
    let request = subject.samples.requests(rule).into_iter().next()?;
    Some(if takes_get {
        request.by("GET")
    } else {
        request
    })
}

/// First labels of hosts that are served to operators.
const SENSITIVE_LABELS: [&str; 8] = [
    "admin",
    "internal",
    "grafana",
    "prometheus",
    "kibana",
    "vault",
    "jenkins",
    "argocd",
];

fn wildcard_host(subject: &Subject<'_>, at: usize, item: &Item<file::Route>, hits: &mut Hits) {
    let Some(request) = unconditional(subject, at) else {
        return;
    };
    for host in &item.value.hosts {
        let HostPattern::Below(domain) = &host.value else {
            continue;
        };
        let hosts = SENSITIVE_LABELS
            .iter()
            .map(|label| format!("{label}.{domain}"));
        let taken: Vec<Witness> = hosts
            .map(|host| request.to(&host))
            .filter(|witness| subject.is_taken_by(witness, at))
            .collect();
        if let Some(first) = taken.first() {
            let id = subject.id(at);
            let names: Vec<&str> = taken.iter().map(|it| it.host.as_str()).collect();
            let message = format!("route `{id}` also takes {}", names.join(", "));
            hits.add(Lint::R010, id, host.span.clone(), message)
                .set_reason("takes every name below")
                .set_witness(subject.witnessed(first));
        }
    }
}

fn path(subject: &Subject<'_>, at: usize, item: &Item<file::Route>, hits: &mut Hits) {
    let (id, path) = (subject.id(at), &item.value.path);
    let request = subject
        .samples
        .requests(&subject.rules[at])
        .into_iter()
        .next();
    match &path.value {
        PathPattern::Prefix(prefix) => {
            let written = subject.text.get(path.span.clone()).unwrap_or_default();
            let slash = written.trim_end_matches(['"', '\'']).ends_with('/');
            if slash && !prefix.is_empty() && written.starts_with(['"', '\'']) {
                let message = format!("`{prefix}/` takes `{prefix}` as well");
                let found = hits
                    .add(Lint::R006, id, path.span.clone(), message)
                    .set_reason("the last `/` says nothing");
                if let Some(request) = &request {
                    found.set_witness(subject.witnessed(&request.at(prefix)));
                }
            }
        }
        PathPattern::Exact(exact) if exact.len() > 1 && !exact.ends_with('/') => {
            let twin = request.as_ref().map(|it| it.at(&format!("{exact}/")));
            let winner = twin
                .as_ref()
                .and_then(|it| subject.matcher.find(&it.request()));
            if let (Some(twin), Some(winner)) = (twin, winner)
                && subject.proxy.routes[winner].upstream != subject.proxy.routes[at].upstream
            {
                let message = format!("`{exact}/` goes to route `{}`", subject.id(winner));
                hits.add(Lint::R008, id, path.span.clone(), message)
                    .set_reason("only without a `/` behind")
                    .set_witness(subject.witnessed(&twin));
            }
        }
        PathPattern::Exact(_) => {}
        PathPattern::Matching(expression) => {
            let message = if takes_everything(&path.value) {
                Some(format!("`{expression}` takes every path"))
            } else if subject.samples.paths(&path.value).is_empty() {
                let why = "paths begin with `/`";
                Some(format!(
                    "no path was found that `{expression}` takes: {why}"
                ))
            } else {
                None
            };
            if let Some(message) = message {
                let found = hits.add(Lint::R007, id, path.span.clone(), message);
                if let Some(request) = &request {
                    found.set_witness(subject.witnessed(request));
                }
            }
        }
    }
    let (PathPattern::Exact(text) | PathPattern::Prefix(text)) = &path.value else {
        return;
    };
    let encoded = target::path(text).is_ok_and(|path| path.encoded_separator);
    if encoded && item.value.encoded.value == Encoded::Refuse {
        let message = format!("route `{id}` answers every request for `{text}` with 400");
        let found = hits
            .add(Lint::R016, id, path.span.clone(), message)
            .set_reason("an encoded separator");
        if let Some(request) = &request {
            found.set_witness(subject.witnessed(request));
        }
    }
}

fn methods(subject: &Subject<'_>, at: usize, item: &Item<file::Route>, hits: &mut Hits) {
    let (id, methods) = (subject.id(at), &item.value.methods);
    let names = |name: &str| methods.iter().any(|it| it.value == name);
    let missing = if names("GET") && !names("HEAD") {
        "HEAD"
    } else if ["POST", "PUT", "PATCH", "DELETE"]
        .iter()
        .any(|it| names(it))
        && !names("OPTIONS")
    {
        "OPTIONS"
    } else {
        return;
    };
    let Some(request) = subject
        .samples
        .requests(&subject.rules[at])
        .into_iter()
        .next()
    else {
        return;
    };
    let witness = request.by(missing);
    let winner = subject.matcher.find(&witness.request());
    let upstream = |route: usize| &subject.proxy.routes[route].upstream;
    let goes = match winner {
        Some(winner) if upstream(winner) == upstream(at) => return,
        Some(winner) => format!("goes to route `{}`", subject.id(winner)),
        None => "is answered 404".to_owned(),
    };
    let span = methods
        .first()
        .map_or(item.span.clone(), |it| it.span.clone());
    hits.add(
        Lint::R017,
        id,
        span,
        format!("{missing} of what route `{id}` takes {goes}"),
    )
    .set_reason(format!("{missing} is not among them"))
    .set_witness(subject.witnessed(&witness));
}

fn doubled(subject: &Subject<'_>, at: usize, item: &Item<file::Route>, hits: &mut Hits) {
    let id = subject.id(at);
    let headers = item.value.headers.iter();
    let headers = headers.map(|it| (format!("header `{}`", it.value.name), &it.span));
    let query = item.value.query.iter();
    let query = query.map(|it| (format!("parameter `{}`", it.value.name), &it.span));
    let mut seen = HashMap::new();
    for (name, span) in headers.chain(query) {
        if let Some(first) = seen.get(&name) {
            let message = format!("route `{id}` asks for the {name} twice");
            hits.add(Lint::R018, id, Clone::clone(span), message)
                .set_reason("ignored")
                .set_also(Clone::clone(*first), "this one counts");
        } else {
            seen.insert(name, span);
        }
    }
}

/// Lookups that all comparisons of routes with hosts may take together: enough for every table but the largest, which
/// are looked through in part.
const MOST_LOOKUPS: usize = 500_000;

fn overlaps(subject: &Subject<'_>, hits: &mut Hits) {
    let patterns: BTreeSet<&HostPattern> =
        subject.rules.iter().flat_map(|rule| &rule.hosts).collect();
    let hosts: Vec<String> = patterns
        .iter()
        .map(|pattern| subject.samples.host(Some(pattern)))
        .collect();
    let mut left = MOST_LOOKUPS;
    for (at, item) in subject.routes() {
        let rule = &subject.rules[at];
        let deep = match &rule.path {
            PathPattern::Exact(path) | PathPattern::Prefix(path) => path.len(),
            PathPattern::Matching(_) => 0,
        };
        if deep == 0
            || rule
                .hosts
                .iter()
                .any(|it| matches!(it, HostPattern::Exact(_)))
        {
            continue;
        }
        let Some(request) = subject.samples.requests(rule).into_iter().next() else {
            continue;
        };
        for host in &hosts {
            if left == 0 {
                return;
            }
            left -= 1;
            if !rule.hosts.is_empty() && !rule.hosts.iter().any(|it| it.takes(host)) {
                continue;
            }
            let witness = request.to(host);
            let Some(winner) = subject.matcher.find(&witness.request()) else {
                continue;
            };
            let shorter = match &subject.rules[winner].path {
                PathPattern::Prefix(path) => path.len() < deep,
                PathPattern::Exact(_) | PathPattern::Matching(_) => false,
            };
            let routes = &subject.proxy.routes;
            if winner != at && shorter && routes[winner].upstream != routes[at].upstream {
                let (id, other) = (subject.id(at), subject.id(winner));
                let message =
                    format!("on {host} the route `{other}` goes before the longer path of `{id}`");
                hits.add(Lint::R003, id, item.value.path.span.clone(), message)
                    .set_reason("longer, but for any host")
                    .set_also(subject.file.routes[winner].span.clone(), "names the host")
                    .set_witness(subject.witnessed(&witness));
                break;
            }
        }
    }
}

/// Hosts that a message lists.
const LISTED: usize = 5;

fn without_default(subject: &Subject<'_>, hits: &mut Hits) {
    let mut open: BTreeMap<String, (usize, Witness)> = BTreeMap::new();
    for (at, _) in subject.routes() {
        let rule = &subject.rules[at];
        let Some(request) = subject.samples.requests(rule).into_iter().next() else {
            continue;
        };
        let patterns = rule.hosts.iter().map(Some);
        let patterns: Vec<_> = if rule.hosts.is_empty() {
            vec![None]
        } else {
            patterns.collect()
        };
        for pattern in patterns {
            let mut witness = request.to(&subject.samples.host(pattern)).at("/");
            witness.headers.clear();
            witness.query = None;
            "GET".clone_into(&mut witness.method);
            if subject.matcher.find(&witness.request()).is_none() {
                let name = pattern.map_or("every other host".to_owned(), ToString::to_string);
                open.entry(name).or_insert((at, witness));
            }
        }
    }
    let Some((at, witness)) = open.values().next() else {
        return;
    };
    let mut names: Vec<&str> = open.keys().take(LISTED).map(String::as_str).collect();
    if open.len() > LISTED {
        names.push("…");
    }
    let message = format!("there is no route for every path of {}", names.join(", "));
    let span = subject.file.routes[*at].span.clone();
    hits.add(Lint::R011, subject.id(*at), span, message)
        .set_reason("takes some paths of it")
        .set_witness(subject.witnessed(witness));
}

fn case_twins(subject: &Subject<'_>, hits: &mut Hits) {
    let mut seen: HashMap<(Option<&HostPattern>, String), usize> = HashMap::new();
    for (at, item) in subject.routes() {
        let rule = &subject.rules[at];
        let (PathPattern::Exact(path) | PathPattern::Prefix(path)) = &rule.path else {
            continue;
        };
        let hosts: Vec<_> = if rule.hosts.is_empty() {
            vec![None]
        } else {
            rule.hosts.iter().map(Some).collect()
        };
        for host in hosts {
            let first = *seen.entry((host, path.to_ascii_lowercase())).or_insert(at);
            let other = match &subject.rules[first].path {
                PathPattern::Exact(path) | PathPattern::Prefix(path) => path,
                PathPattern::Matching(_) => continue,
            };
            if other != path {
                let (id, first_id) = (subject.id(at), subject.id(first));
                let message = format!("`{path}` of `{id}` and `{other}` of `{first_id}`");
                let found = hits
                    .add(Lint::R009, id, item.value.path.span.clone(), message)
                    .set_reason("the same but for its case")
                    .set_also(
                        subject.file.routes[first].value.path.span.clone(),
                        "as this",
                    );
                if let Some(request) = subject.samples.requests(rule).into_iter().next() {
                    found.set_witness(subject.witnessed(&request));
                }
                break;
            }
        }
    }
}

/// Routes that share everything the table sorts by and are compared with each other; beyond it, only with these.
const MOST_PEERS: usize = 50;

fn fragile_ties(subject: &Subject<'_>, hits: &mut Hits) {
    type Key<'a> = (Option<&'a HostPattern>, String, bool, usize, usize);
    let mut groups: HashMap<Key<'_>, Vec<usize>> = HashMap::new();
    let mut told = BTreeSet::new();
    for (at, item) in subject.routes() {
        let rule = &subject.rules[at];
        let path = match &rule.path {
            // All expressions are equal.
            PathPattern::Matching(_) => "~".to_owned(),
            path @ (PathPattern::Exact(_) | PathPattern::Prefix(_)) => path.to_string(),
        };
        let hosts: Vec<_> = if rule.hosts.is_empty() {
            vec![None]
        } else {
            rule.hosts.iter().map(Some).collect()
        };
        for host in hosts {
            let key = (
                host,
                path.clone(),
                rule.methods.is_empty(),
                rule.counted_headers().count(),
                rule.counted_query().count(),
            );
            let peers = groups.entry(key).or_default();
            for first in peers.iter().copied() {
                if subject.proxy.routes[first].upstream == subject.proxy.routes[at].upstream {
                    continue;
                }
                if let Some(witness) = both(subject, first, at, host)
                    && told.insert((first, at))
                {
                    let (id, first_id) = (subject.id(at), subject.id(first));
                    let message =
                        format!("`{first_id}` goes before `{id}` only because it stands before it");
                    hits.add(Lint::R020, id, item.span.clone(), message)
                        .set_reason("as specific as the other")
                        .set_also(subject.file.routes[first].span.clone(), "stands first")
                        .set_witness(subject.witnessed(&witness));
                }
            }
            if peers.len() < MOST_PEERS {
                peers.push(at);
            }
        }
    }
}

/// A request that both rules would take and that goes to the first of them.
fn both(
    subject: &Subject<'_>,
    first: usize,
    second: usize,
    host: Option<&HostPattern>,
) -> Option<Witness> {
    let rules = [subject.rules[first].clone(), subject.rules[second].clone()];
    let host = subject.samples.host(host);
    let [of_first, of_second] = [&rules[0], &rules[1]].map(|rule| {
        let requests = subject.samples.requests(rule).into_iter();
        let requests = requests.map(|it| it.to(&host));
        requests.collect::<Vec<_>>()
    });
    let other = of_second.first()?;
    of_first
        .iter()
        .chain(&of_second)
        .map(|request| {
            let mut both = of_first
                .first()
                .map_or_else(|| request.clone(), |it| it.with(other));
            both.path.clone_from(&request.path);
            both.method.clone_from(&request.method);
            both.listener = request.listener;
            both
        })
        .find(|witness| {
            let standings = explain::explain(&rules, &witness.request());
            let both = standings
                .iter()
                .all(|it| !matches!(it, Standing::Misses(_)));
            both && subject.matcher.find(&witness.request()) == Some(first)
        })
}
