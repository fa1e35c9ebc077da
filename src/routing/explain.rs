//! Why a rule takes a request, and why the others do not.
//!
//! The same precedence as [`super::matcher`]'s, without any index: every rule is held against the request tier by tier.
//! Slow, and therefore a second opinion; tests hold the two to each other.

use std::cmp::Reverse;

use super::matcher::{Request, Rule};
use super::pattern::{HostPattern, PathPattern};

/// What decides between rules, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Whether the rule takes requests from this listener.
    Listener,
    /// The most characters of an exact host, then of a wildcard, then any host.
    Host,
    /// An exact path, then an expression, then the prefix with the most characters.
    Path,
    /// A rule that names the method before one that takes any.
    Method,
    /// The most headers.
    Headers,
    /// The most query parameters.
    Query,
    /// The first in the configuration.
    Order,
}

impl Tier {
    /// The tier's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Host => "host",
            Self::Path => "path",
            Self::Method => "method",
            Self::Headers => "headers",
            Self::Query => "query",
            Self::Order => "order",
        }
    }
}

/// How a rule stands to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes the request.
    Wins,
    /// It would take it, but the winner is better at this tier and equal at those before.
    Loses(Tier),
    /// It does not match at this tier, and does at those before.
    Misses(Tier),
}

/// How every rule stands to a request, by its place.
pub fn explain(rules: &[Rule], request: &Request<'_>) -> Vec<Standing> {
    let ranks: Vec<Result<Rank, Tier>> = rules.iter().map(|rule| rank(rule, request)).collect();
    let matching = ranks
        .iter()
        .enumerate()
        .filter_map(|(index, rank)| Some((*rank.as_ref().ok()?, index)));
    let best = matching.max_by_key(|(rank, index)| (*rank, Reverse(*index)));
    let standing = |(index, rank): (usize, &Result<Rank, Tier>)| match (rank, best) {
        (Err(tier), _) => Standing::Misses(*tier),
        (Ok(_), Some((_, winner))) if winner == index => Standing::Wins,
        (Ok(rank), Some((best, _))) => Standing::Loses(rank.differs_from(&best)),
        (Ok(_), None) => Standing::Wins,
    };
    ranks.iter().enumerate().map(standing).collect()
}

/// How well a rule that matches does so; greater is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    host: (u8, usize),
    path: (u8, usize),
    method: bool,
    headers: usize,
    query: usize,
}

impl Rank {
    fn differs_from(&self, best: &Self) -> Tier {
        let tiers = [
            (self.host != best.host, Tier::Host),
            (self.path != best.path, Tier::Path),
            (self.method != best.method, Tier::Method),
            (self.headers != best.headers, Tier::Headers),
            (self.query != best.query, Tier::Query),
        ];
        let first = tiers.iter().find(|(differs, _)| *differs);
        first.map_or(Tier::Order, |(_, tier)| *tier)
    }
}

/// How well `rule` matches, or the first tier at which it does not.
fn rank(rule: &Rule, request: &Request<'_>) -> Result<Rank, Tier> {
    if !rule.listeners.meets(request.listener) {
        return Err(Tier::Listener);
    }
    let hosts = rule.hosts.iter().filter(|host| host.takes(request.host));
    let host = hosts.map(|host| match host {
        HostPattern::Exact(name) => (2, name.len()),
        HostPattern::Below(domain) => (1, domain.len()),
    });
    let host = if rule.hosts.is_empty() {
        Some((0, 0))
    } else {
        host.max()
    };
    let host = host.ok_or(Tier::Host)?;
    if !rule.path.takes(request.path) {
        return Err(Tier::Path);
    }
    let path = match &rule.path {
        PathPattern::Exact(_) => (2, 0),
        PathPattern::Matching(_) => (1, 0),
        PathPattern::Prefix(prefix) => (0, prefix.len()),
    };
    let method = !rule.methods.is_empty();
    if method && !rule.methods.iter().any(|it| it == request.method) {
        return Err(Tier::Method);
    }
    if !rule.counted_headers().all(|it| it.takes(request.headers)) {
        return Err(Tier::Headers);
    }
    if !rule.counted_query().all(|it| it.takes(request.query)) {
        return Err(Tier::Query);
    }
    Ok(Rank {
        host,
        path,
        method,
        headers: rule.counted_headers().count(),
        query: rule.counted_query().count(),
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;
    use crate::routing::condition::Wanted;
    use crate::routing::matcher::{Listeners, Matcher};

    /// `=` before an exact path, `~` before an expression; then methods, headers and parameters by their sigils.
    fn rule(hosts: &[&str], path: &str, more: &[&str]) -> Rule {
        let path = match path.split_at(1) {
            ("=", path) => PathPattern::try_exact(path),
            ("~", path) => PathPattern::try_matching(path),
            _ => PathPattern::try_prefix(path),
        };
        let sigil = |sigil: char| more.iter().filter_map(move |it| it.strip_prefix(sigil));
        let listeners: Vec<usize> = sigil('@').map(|at| at.parse().unwrap()).collect();
        Rule {
            listeners: if listeners.is_empty() {
                Listeners::ALL
            } else {
                listeners.into_iter().collect()
            },
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            path: path.unwrap(),
            methods: sigil('!').map(str::to_owned).collect(),
            headers: sigil('#').map(|it| it.parse().unwrap()).collect(),
            query: sigil('?').map(|it| it.parse().unwrap()).collect(),
        }
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    #[test]
    fn the_more_specific_rule_wins_at_the_first_tier_that_differs() {
        let rules = [
            rule(&[], "/", &[]),
            rule(&["*.example.com"], "/", &[]),
            rule(&["shop.example.com"], "/", &[]),
            rule(&["shop.example.com"], "/cart", &[]),
            rule(&["shop.example.com"], "=/cart", &[]),
            rule(&["shop.example.com"], "/cart", &["!POST"]),
            rule(&["*.eu.example.com"], "/cart", &[]),
            rule(&["api.example.com"], "/v1/", &[]),
            rule(&["shop.example.com"], "~/cart/[0-9]+/pay", &[]),
            rule(&["shop.example.com"], "/cart", &["#x-canary: 1"]),
            rule(
                &["shop.example.com"],
                "/cart",
                &["#x-canary", "#x-b", "?v=2"],
            ),
            rule(&["shop.example.com"], "/cart", &["?v=2"]),
            rule(&["admin.example.com"], "/", &["@1"]),
        ];
        let matcher = Matcher::new(&rules);
        for (host, path, method, lines, wanted) in [
            ("other.test", "/x", "GET", &[][..], 0),
            ("a.example.com", "/x", "GET", &[], 1),
            ("a.b.example.com", "/x", "GET", &[], 1),
            ("example.com", "/x", "GET", &[], 0),
            ("shop.example.com", "/", "GET", &[], 2),
            ("shop.example.com", "/cart/1", "GET", &[], 3),
            ("shop.example.com", "/cart", "GET", &[], 4),
            ("shop.example.com", "/cart/", "GET", &[], 3),
            ("shop.example.com", "/cart/1", "POST", &[], 5),
            ("shop.example.com", "/cartoon", "GET", &[], 2),
            ("x.eu.example.com", "/cart/1", "GET", &[], 6),
            ("x.eu.example.com", "/other", "GET", &[], 1),
            ("api.example.com", "/v1", "GET", &[], 7),
            ("api.example.com", "/v1/x", "GET", &[], 7),
            ("api.example.com", "/v2", "GET", &[], 1),
            ("shop.example.com", "/cart/7/pay", "POST", &[], 8),
            ("shop.example.com", "/cart/7/pay/x", "GET", &[], 3),
            ("shop.example.com", "/cart/1", "GET", &["x-canary: 1"], 9),
            ("shop.example.com", "/cart/1", "POST", &["x-canary: 1"], 5),
            ("shop.example.com", "/cart/1?v=2", "GET", &[], 11),
            (
                "shop.example.com",
                "/cart/1?v=2",
                "GET",
                &["x-canary: 1"],
                9,
            ),
            (
                "shop.example.com",
                "/cart/1?v=2",
                "GET",
                &["x-canary: 1", "x-b: 1"],
                10,
            ),
            ("admin.example.com", "/", "GET", &[], 1),
        ] {
            let headers = headers(lines);
            let (path, query) = path
                .split_once('?')
                .map_or((path, None), |(p, q)| (p, Some(q)));
            let request = Request {
                listener: Listeners::one(0),
                host,
                path,
                query,
                method,
                headers: &headers,
            };
            let found = matcher.find(&request);
            assert_eq!(found, Some(wanted), "{method} {host}{path} {lines:?}");
            assert_eq!(explain(&rules, &request)[wanted], Standing::Wins);
        }
    }

    #[test]
    fn a_loser_is_told_what_it_lost_at() {
        let rules = [
            rule(&["a.test"], "/x/y", &["!GET"]),
            rule(&["a.test"], "/x", &[]),
            rule(&[], "/x/y", &[]),
            rule(&["a.test"], "/x/y", &[]),
            rule(&["a.test"], "/x/y", &["!GET"]),
            rule(&["b.test"], "/x", &[]),
            rule(&["a.test"], "/z", &[]),
            rule(&["a.test"], "/x/y", &["!POST"]),
            rule(&["a.test"], "/x/y", &["#x-a"]),
            rule(&["a.test"], "/x/y", &["?a"]),
            rule(&[], "/", &["@3"]),
        ];
        let headers = HeaderMap::new();
        let standings = explain(
            &rules,
            &Request {
                listener: Listeners::one(0),
                host: "a.test",
                path: "/x/y/z",
                query: None,
                method: "GET",
                headers: &headers,
            },
        );
        assert_eq!(
            standings,
            [
                Standing::Wins,
                Standing::Loses(Tier::Path),
                Standing::Loses(Tier::Host),
                Standing::Loses(Tier::Method),
                Standing::Loses(Tier::Order),
                Standing::Misses(Tier::Host),
                Standing::Misses(Tier::Path),
                Standing::Misses(Tier::Method),
                Standing::Misses(Tier::Headers),
                Standing::Misses(Tier::Query),
                Standing::Misses(Tier::Listener),
            ]
        );
    }

    /// The definition once more, in other words: rules are thrown out tier by tier until one is left. Shares no code with
    /// the matcher or the explanation beyond the patterns' texts.
    fn reference(rules: &[Rule], request: &Request<'_>) -> Option<usize> {
        let below = |domain: &str| request.host.ends_with(&format!(".{domain}"));
        let matches = |rule: &Rule| {
            let host = rule.hosts.is_empty()
                || rule.hosts.iter().any(|host| match host {
                    HostPattern::Exact(name) => name == request.host,
                    HostPattern::Below(domain) => below(domain),
                });
            let path = match &rule.path {
                PathPattern::Exact(path) => path == request.path,
                PathPattern::Matching(expression) => expression.takes(request.path.as_bytes()),
                PathPattern::Prefix(prefix) => {
                    format!("{}/", request.path).starts_with(&format!("{prefix}/"))
                }
            };
            let method =
                rule.methods.is_empty() || rule.methods.contains(&request.method.to_owned());
            let query: Vec<(&str, &str)> = request
                .query
                .map(|query| {
                    query
                        .split('&')
                        .map(|it| it.split_once('=').unwrap_or((it, "")))
                })
                .into_iter()
                .flatten()
                .collect();
            let wants = |wanted: &Wanted, value: &str| match wanted {
                Wanted::Any => true,
                Wanted::Exact(exact) => exact == value,
                Wanted::Matching(expression) => expression.takes(value.as_bytes()),
            };
            let headers = rule.counted_headers().all(|it| {
                let value = request.headers.get(&it.name);
                value.is_some_and(|value| wants(&it.wanted, value.to_str().unwrap()))
            });
            let query = rule.counted_query().all(|it| {
                let pair = query.iter().find(|(name, _)| *name == it.name);
                pair.is_some_and(|(_, value)| wants(&it.wanted, value))
            });
            rule.listeners.meets(request.listener) && host && path && method && headers && query
        };
        let mut left: Vec<usize> = (0..rules.len()).filter(|at| matches(&rules[*at])).collect();
        let mut keep_best = |key: &dyn Fn(&Rule) -> usize| {
            let best = left.iter().map(|at| key(&rules[*at])).max();
            left.retain(|at| Some(key(&rules[*at])) == best);
        };
        let longest = |rule: &Rule, exact: bool| {
            let lengths = rule.hosts.iter().map(|host| match host {
                HostPattern::Exact(name) if exact && name == request.host => name.len(),
                HostPattern::Below(domain) if !exact && below(domain) => domain.len(),
                HostPattern::Exact(_) | HostPattern::Below(_) => 0,
            });
            lengths.max().unwrap_or(0)
        };
        keep_best(&|rule| longest(rule, true));
        // Whoever matched exactly is as long as the host itself; a wildcard of the same rule no longer counts.
        keep_best(&|rule| {
            if longest(rule, true) > 0 {
                0
            } else {
                longest(rule, false)
            }
        });
        keep_best(&|rule| usize::from(matches!(rule.path, PathPattern::Exact(_))));
        keep_best(&|rule| usize::from(matches!(rule.path, PathPattern::Matching(_))));
        keep_best(&|rule| match &rule.path {
            PathPattern::Prefix(prefix) => prefix.len(),
            PathPattern::Exact(_) | PathPattern::Matching(_) => 0,
        });
        keep_best(&|rule| usize::from(!rule.methods.is_empty()));
        keep_best(&|rule| rule.counted_headers().count());
        keep_best(&|rule| rule.counted_query().count());
        left.first().copied()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn matcher_explanation_and_definition_agree(
            rules in prop::collection::vec(
                (
                    prop::collection::vec(
                        prop::sample::select(vec!["a.t", "b.a.t", "*.a.t", "*.t", "*.b.a.t"]), 0..3),
                    prop::sample::select(vec![
                        "/", "/x", "/x/", "/x/y", "/x/y/z", "=/x", "=/x/", "=/x/y", "=/",
                        "~/x/[a-z]+", "~/.*", "~/x",
                    ]),
                    prop::collection::vec(
                        prop::sample::select(vec![
                            "!GET", "!POST", "#x-a: 1", "#x-a", "#x-b ~ [0-9]", "?v=1", "?v", "?w ~ .",
                            "@0", "@1",
                        ]), 0..4),
                ), 0..10),
            host in prop::sample::select(vec!["a.t", "b.a.t", "c.b.a.t", "t", "q"]),
            path in prop::sample::select(
                vec!["/", "/x", "/x/", "/x/y", "/x/y/", "/x/y/z/w", "/xy", "/x/yz", "/q/x/y"]),
            method in prop::sample::select(vec!["GET", "POST", "DELETE"]),
            query in prop::sample::select(
                vec![None, Some(""), Some("v=1"), Some("v=2&w=3"), Some("w"), Some("w=1&v=1&v=2")]),
            lines in prop::collection::btree_set(
                prop::sample::select(vec!["x-a: 1", "x-b: 2"]), 0..3),
            listener in 0_usize..2,
        ) {
            let rules: Vec<Rule> =
                rules.iter().map(|(hosts, path, more)| rule(hosts, path, more)).collect();
            let headers = headers(&lines.into_iter().collect::<Vec<_>>());
            let listener = Listeners::one(listener);
            let request = Request { listener, host, path, query, method, headers: &headers };
            let found = Matcher::new(&rules).find(&request);
            prop_assert_eq!(found, reference(&rules, &request));
            let standings = explain(&rules, &request);
            let wins: Vec<usize> = (0..rules.len())
                .filter(|at| standings[*at] == Standing::Wins)
                .collect();
            prop_assert_eq!(wins, found.into_iter().collect::<Vec<_>>());
        }
    }
}
