//! The route table.
//!
//! Precedence is the Gateway API's: the most specific host, then an exact path, then an expression, then the longest
//! prefix by whole elements; then a rule that names the method, then the most headers, then the most query parameters;
//! among equals the first configured. It is defined over all rules that match: when a more specific host, path or
//! method has no rule for a request, less specific ones are tried. Only the listener is no matter of degree: a rule that
//! names listeners takes nothing from another.
//!
//! A lookup hashes the host, its parent domains, and the path with its parents; how many routes there are does not
//! matter. What does cost is how many rules share one host and path, or one host with expressions: those are tried in
//! turn.

use http::HeaderMap;
use rustc_hash::FxHashMap;

use super::condition::{HeaderCondition, QueryCondition};
use super::expression::Expression;
use super::pattern::{HostPattern, PathPattern};

/// What one route asks of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Listeners it takes requests from.
    pub listeners: Listeners,
    /// Hosts it takes; empty: any.
    pub hosts: Vec<HostPattern>,
    /// The path it takes.
    pub path: PathPattern,
    /// Methods it takes, upper case; empty: any.
    pub methods: Vec<String>,
    /// Headers it needs, all of them. Of several with one name the first counts.
    pub headers: Vec<HeaderCondition>,
    /// Query parameters it needs, all of them. Of several with one name the first counts.
    pub query: Vec<QueryCondition>,
}

/// A set of listeners, by their place in the configuration; at most 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listeners(u64);

impl Listeners {
    /// Every listener.
    pub const ALL: Self = Self(u64::MAX);

    /// No listener.
    pub const NONE: Self = Self(0);

    /// The listener at place `index`; no listener at all from 64 on.
    pub fn one(index: usize) -> Self {
        let bit = u32::try_from(index)
            .ok()
            .and_then(|index| 1_u64.checked_shl(index));
        Self(bit.unwrap_or(0))
    }

    /// The listeners of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a rule for these takes a request from one of `other`: for all means from anywhere, also from a listener
    /// that the configuration no longer has.
    pub const fn meets(self, other: Self) -> bool {
        self.0 == Self::ALL.0 || self.0 & other.0 != 0
    }
}

impl FromIterator<usize> for Listeners {
    fn from_iter<I: IntoIterator<Item = usize>>(indices: I) -> Self {
        indices
            .into_iter()
            .fold(Self::NONE, |all, index| all.and(Self::one(index)))
    }
}

/// What is asked of the table.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The listener that it came in by; all of them when that makes no difference.
    pub listener: Listeners,
    /// In the form of [`super::target`].
    pub host: &'a str,
    /// In the form of [`super::target`].
    pub path: &'a str,
    /// As sent, without its `?`.
    pub query: Option<&'a str>,
    /// Upper case.
    pub method: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
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
    /// Best first.
    expressions: Vec<(Expression, Entry)>,
    prefix: FxHashMap<String, Vec<Entry>>,
    /// The longest prefix in bytes: what a path has beyond it need not be looked at, so that a long path of an
    /// attacker's costs no more than a short one.
    longest_prefix: usize,
}

/// Small, because a large table does not fit into the processor's caches: most rules ask for nothing beside host and path.
#[derive(Clone, Debug)]
struct Entry {
    rule: usize,
    /// `None`: nothing.
    asks: Option<Box<Asks>>,
}

/// What a rule asks for beside host and path.
#[derive(Clone, Debug)]
struct Asks {
    listeners: Listeners,
    methods: Vec<String>,
    headers: Vec<HeaderCondition>,
    query: Vec<QueryCondition>,
}

impl Matcher {
    /// Compiles rules; a match yields the rule's place in `rules`.
    pub fn new(rules: &[Rule]) -> Self {
        let mut matcher = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            let entry = Entry::new(index, rule);
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
        let named = matcher.exact_hosts.values_mut();
        for paths in named.chain(matcher.parent_domains.values_mut()) {
            paths.sort();
        }
        matcher.any_host.sort();
        matcher
    }

    /// The rule that takes a request.
    pub fn find(&self, request: &Request<'_>) -> Option<usize> {
        self.by_exact_host(request)
            .or_else(|| self.by_parent_domain(request))
            .or_else(|| self.any_host.find(request))
    }

    fn by_exact_host(&self, request: &Request<'_>) -> Option<usize> {
        if self.exact_hosts.is_empty() {
            return None;
        }
        self.exact_hosts.get(request.host)?.find(request)
    }

    fn by_parent_domain(&self, request: &Request<'_>) -> Option<usize> {
        if self.parent_domains.is_empty() {
            return None;
        }
        let mut rest = request.host;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(found) = self
                .parent_domains
                .get(parent)
                .and_then(|paths| paths.find(request))
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
        match path {
            PathPattern::Exact(path) => self.exact.entry(path.clone()).or_default().push(entry),
            PathPattern::Matching(expression) => {
                self.expressions.push((expression.clone(), entry));
            }
            PathPattern::Prefix(path) => {
                self.longest_prefix = self.longest_prefix.max(path.len());
                self.prefix.entry(path.clone()).or_default().push(entry);
            }
        }
    }

    /// Puts the best of equal paths first. A stable sort keeps the configured order otherwise.
    fn sort(&mut self) {
        for entries in self.exact.values_mut().chain(self.prefix.values_mut()) {
            entries.sort_by_key(Entry::rank);
        }
        self.expressions.sort_by_key(|(_, entry)| entry.rank());
    }

    fn find(&self, request: &Request<'_>) -> Option<usize> {
        let path = request.path;
        let pick = |entries: &Vec<Entry>| {
            let mut entries = entries.iter();
            entries
                .find(|entry| entry.takes(request))
                .map(|entry| entry.rule)
        };
        if !self.exact.is_empty()
            && let Some(rule) = self.exact.get(path).and_then(pick)
        {
            return Some(rule);
        }
        for (expression, entry) in &self.expressions {
            if entry.takes(request) && expression.takes(path.as_bytes()) {
                return Some(entry.rule);
            }
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

impl Entry {
    fn new(index: usize, rule: &Rule) -> Self {
        let asks = Asks {
            listeners: rule.listeners,
            methods: rule.methods.clone(),
            headers: rule.counted_headers().cloned().collect(),
            query: rule.counted_query().cloned().collect(),
        };
        let nothing = asks.listeners == Listeners::ALL
            && asks.methods.is_empty()
            && asks.headers.is_empty()
            && asks.query.is_empty();
        Self {
            rule: index,
            asks: (!nothing).then(|| Box::new(asks)),
        }
    }

    /// Lower is better.
    fn rank(&self) -> impl Ord + use<> {
        let asks = self.asks.as_ref();
        let count = |of: fn(&Asks) -> usize| std::cmp::Reverse(asks.map_or(0, |asks| of(asks)));
        (
            asks.is_none_or(|asks| asks.methods.is_empty()),
            count(|asks| asks.headers.len()),
            count(|asks| asks.query.len()),
        )
    }

    fn takes(&self, request: &Request<'_>) -> bool {
        self.asks.as_ref().is_none_or(|asks| asks.take(request))
    }
}

impl Asks {
    fn take(&self, request: &Request<'_>) -> bool {
        self.listeners.meets(request.listener)
            && (self.methods.is_empty() || self.methods.iter().any(|it| it == request.method))
            && self.headers.iter().all(|it| it.takes(request.headers))
            && self.query.iter().all(|it| it.takes(request.query))
    }
}

impl Rule {
    /// The headers that count: the first of each name.
    pub fn counted_headers(&self) -> impl Iterator<Item = &HeaderCondition> {
        let headers = &self.headers;
        headers.iter().enumerate().filter_map(|(at, condition)| {
            let earlier = headers.iter().take(at);
            let first = !earlier.clone().any(|other| other.name == condition.name);
            first.then_some(condition)
        })
    }

    /// The query parameters that count: the first of each name.
    pub fn counted_query(&self) -> impl Iterator<Item = &QueryCondition> {
        let query = &self.query;
        query.iter().enumerate().filter_map(|(at, condition)| {
            let earlier = query.iter().take(at);
            let first = !earlier.clone().any(|other| other.name == condition.name);
            first.then_some(condition)
        })
    }
}
