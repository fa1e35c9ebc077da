//! The route table.
//!
//! Precedence is the Gateway API's: the most specific host, then an exact path, then the longest prefix by whole
//! elements, then a rule that names the method; among equals the first configured. When a more specific host has no
//! rule for the path, less specific hosts are tried: precedence is defined over all rules that match.
//!
//! A lookup hashes the host, its parent domains, and the path with its parents; how many routes there are does not
//! matter.

use rustc_hash::FxHashMap;

use super::pattern::{HostPattern, PathPattern};

/// What one route asks of a request.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Hosts it takes; empty: any.
    pub hosts: Vec<HostPattern>,
    /// The path it takes.
    pub path: PathPattern,
    /// Methods it takes, upper case; empty: any.
    pub methods: Vec<String>,
}

/// A compiled set of rules.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    exact_hosts: FxHashMap<String, Paths>,
    parent_domains: FxHashMap<String, Paths>,
    any_host: Paths,
}

/// The rules of one host pattern.
#[derive(Clone, Debug, Default)]
struct Paths {
    exact: FxHashMap<String, Vec<Entry>>,
    prefix: FxHashMap<String, Vec<Entry>>,
    /// The longest prefix in bytes: what a path has beyond it need not be looked at, so that a long path of an
    /// attacker's costs no more than a short one.
    longest_prefix: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    rule: usize,
    methods: Vec<String>,
}

impl Matcher {
    /// Compiles rules; a match yields the rule's place in `rules`.
    pub fn new(rules: &[Rule]) -> Self {
        let mut matcher = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            let entry = Entry {
                rule: index,
                methods: rule.methods.clone(),
            };
            if rule.hosts.is_empty() {
                matcher.any_host.add(&rule.path, entry);
                continue;
            }
            for host in &rule.hosts {
                let paths = match host {
                    HostPattern::Exact(host) => matcher.exact_hosts.entry(host.clone()),
                    HostPattern::Below(domain) => matcher.parent_domains.entry(domain.clone()),
                };
                paths.or_default().add(&rule.path, entry.clone());
            }
        }
        matcher
    }

    /// The rule that takes a request, both `host` and `path` in the form of [`super::target`].
    pub fn find(&self, host: &str, path: &str, method: &str) -> Option<usize> {
        self.by_exact_host(host, path, method)
            .or_else(|| self.by_parent_domain(host, path, method))
            .or_else(|| self.any_host.find(path, method))
    }

    fn by_exact_host(&self, host: &str, path: &str, method: &str) -> Option<usize> {
        if self.exact_hosts.is_empty() {
            return None;
        }
        self.exact_hosts.get(host)?.find(path, method)
    }

    fn by_parent_domain(&self, host: &str, path: &str, method: &str) -> Option<usize> {
        if self.parent_domains.is_empty() {
            return None;
        }
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(found) = self
                .parent_domains
                .get(parent)
                .and_then(|paths| paths.find(path, method))
            {
                return Some(found);
            }
            rest = parent;
        }
        None
    }
}

impl Paths {
    fn add(&mut self, path: &PathPattern, entry: Entry) {
        let entries = match path {
            PathPattern::Exact(path) => self.exact.entry(path.clone()),
            PathPattern::Prefix(path) => {
                self.longest_prefix = self.longest_prefix.max(path.len());
                self.prefix.entry(path.clone())
            }
        }
        .or_default();
        entries.push(entry);
        // Rules that name a method win over those that take any; a stable sort keeps the configured order otherwise.
        entries.sort_by_key(|entry| entry.methods.is_empty());
    }

    fn find(&self, path: &str, method: &str) -> Option<usize> {
        let pick = |entries: &Vec<Entry>| {
            let takes = |entry: &&Entry| {
                entry.methods.is_empty() || entry.methods.iter().any(|wanted| wanted == method)
            };
            entries.iter().find(takes).map(|entry| entry.rule)
        };
        if !self.exact.is_empty()
            && let Some(rule) = self.exact.get(path).and_then(pick)
        {
            return Some(rule);
        }
        let mut prefix = self.first_candidate(path);
        loop {
            if let Some(rule) = self.prefix.get(prefix).and_then(pick) {
                return Some(rule);
            }
            prefix = prefix.rsplit_once('/')?.0;
        }
    }

    /// The longest parent of `path` (or itself) that could be a prefix in this table.
    fn first_candidate<'a>(&self, path: &'a str) -> &'a str {
        if path.len() <= self.longest_prefix {
            return path.strip_suffix('/').unwrap_or(path);
        }
        // Paths in their one form are ASCII, so any byte is a character boundary.
        let head = path.get(..=self.longest_prefix).unwrap_or(path);
        match head.rfind('/') {
            Some(end) => head.get(..end).unwrap_or(head),
            None => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(hosts: &[&str], path: &str, methods: &[&str]) -> Rule {
        let path = match path.strip_prefix('=') {
            Some(path) => PathPattern::try_exact(path),
            None => PathPattern::try_prefix(path),
        };
        Rule {
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            path: path.unwrap(),
            methods: methods.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn the_more_specific_rule_wins() {
        let matcher = Matcher::new(&[
            rule(&[], "/", &[]),
            rule(&["*.example.com"], "/", &[]),
            rule(&["shop.example.com"], "/", &[]),
            rule(&["shop.example.com"], "/cart", &[]),
            rule(&["shop.example.com"], "=/cart", &[]),
            rule(&["shop.example.com"], "/cart", &["POST"]),
            rule(&["*.eu.example.com"], "/cart", &[]),
            rule(&["api.example.com"], "/v1/", &[]),
        ]);
        for (host, path, method, wanted) in [
            ("other.test", "/x", "GET", 0),
            ("a.example.com", "/x", "GET", 1),
            ("a.b.example.com", "/x", "GET", 1),
            ("example.com", "/x", "GET", 0),
            ("shop.example.com", "/", "GET", 2),
            ("shop.example.com", "/cart/1", "GET", 3),
            ("shop.example.com", "/cart", "GET", 4),
            ("shop.example.com", "/cart/", "GET", 3),
            ("shop.example.com", "/cart/1", "POST", 5),
            ("shop.example.com", "/cartoon", "GET", 2),
            ("x.eu.example.com", "/cart/1", "GET", 6),
            ("x.eu.example.com", "/other", "GET", 1),
            ("api.example.com", "/v1", "GET", 7),
            ("api.example.com", "/v1/x", "GET", 7),
            ("api.example.com", "/v2", "GET", 1),
        ] {
            assert_eq!(
                matcher.find(host, path, method),
                Some(wanted),
                "{method} {host}{path}"
            );
        }
    }

    #[test]
    fn no_rule_is_no_match() {
        let matcher = Matcher::new(&[rule(&["a.test"], "/x", &["GET"])]);
        for (host, path, method) in [
            ("b.test", "/x", "GET"),
            ("a.test", "/y", "GET"),
            ("a.test", "/x", "POST"),
        ] {
            assert_eq!(matcher.find(host, path, method), None);
        }
    }

    #[test]
    fn among_equals_the_first_configured_wins() {
        let matcher = Matcher::new(&[rule(&[], "/a", &[]), rule(&[], "/a", &[])]);
        assert_eq!(matcher.find("h", "/a/b", "GET"), Some(0));
    }

    /// The precedence written as a score over all rules, without any index.
    fn naive(rules: &[Rule], host: &str, path: &str, method: &str) -> Option<usize> {
        let host_rank = |rule: &Rule| {
            if rule.hosts.is_empty() {
                return Some((0, 0));
            }
            let rank = |pattern: &HostPattern| match pattern {
                HostPattern::Exact(name) => (name == host).then_some((2, name.len())),
                HostPattern::Below(domain) => host
                    .ends_with(&format!(".{domain}"))
                    .then_some((1, domain.len())),
            };
            rule.hosts.iter().filter_map(rank).max()
        };
        let path_rank = |rule: &Rule| match &rule.path {
            PathPattern::Exact(exact) => (exact == path).then_some((1, exact.len())),
            PathPattern::Prefix(prefix) => {
                let below = path.strip_prefix(prefix.as_str());
                below
                    .filter(|rest| rest.is_empty() || rest.starts_with('/'))
                    .map(|_| (0, prefix.len()))
            }
        };
        let method_rank = |rule: &Rule| {
            (rule.methods.is_empty() || rule.methods.iter().any(|wanted| wanted == method))
                .then_some(usize::from(!rule.methods.is_empty()))
        };
        let ranked = rules.iter().enumerate().filter_map(|(index, rule)| {
            Some((
                host_rank(rule)?,
                path_rank(rule)?,
                method_rank(rule)?,
                std::cmp::Reverse(index),
            ))
        });
        ranked
            .max()
            .map(|(_, _, _, std::cmp::Reverse(index))| index)
    }

    proptest! {
        #[test]
        fn the_index_agrees_with_the_definition(
            rules in prop::collection::vec(
                (
                    prop::collection::vec(
                        prop::sample::select(vec!["a.t", "b.a.t", "*.a.t", "*.t", "*.b.a.t"]), 0..3),
                    prop::sample::select(
                        vec!["/", "/x", "/x/", "/x/y", "/x/y/z", "=/x", "=/x/", "=/x/y", "=/"]),
                    prop::sample::select(vec![vec![], vec!["GET"], vec!["POST", "PUT"]]),
                ), 0..8),
            host in prop::sample::select(vec!["a.t", "b.a.t", "c.b.a.t", "t", "q"]),
            path in prop::sample::select(
                vec!["/", "/x", "/x/", "/x/y", "/x/y/", "/x/y/z/w", "/xy", "/x/yz", "/q/x/y"]),
            method in prop::sample::select(vec!["GET", "POST", "DELETE"]),
        ) {
            let rules: Vec<Rule> =
                rules.iter().map(|(hosts, path, methods)| rule(hosts, path, methods)).collect();
            prop_assert_eq!(
                Matcher::new(&rules).find(host, path, method),
                naive(&rules, host, path, method)
            );
        }
    }
}
