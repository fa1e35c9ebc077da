//! Requests that a rule takes if any rule does: what a claim about a route table is proved with.

use std::fmt::{self, Write as _};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::condition::Wanted;
use super::matcher::{Listeners, Matcher, Request, Rule};
use super::pattern::{HostPattern, PathPattern};

/// A request that can be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The listener it comes in by.
    pub listener: Listeners,
    /// Its method.
    pub method: String,
    /// Its host.
    pub host: String,
    /// Its path, in its one form.
    pub path: String,
    /// Its query, without `?`.
    pub query: Option<String>,
    /// Its headers.
    pub headers: HeaderMap,
}

impl Witness {
    /// As it is asked of a table.
    pub fn request(&self) -> Request<'_> {
        Request {
            listener: self.listener,
            host: &self.host,
            path: &self.path,
            query: self.query.as_deref(),
            method: &self.method,
            headers: &self.headers,
        }
    }

    /// As `vestibule explain` takes it: `METHOD URL`, and its headers as `-H`.
    pub fn asked(&self, scheme: &str) -> String {
        let mut asked = format!("{} {scheme}://{}{}", self.method, self.host, self.path);
        if let Some(query) = &self.query {
            asked.push('?');
            asked.push_str(query);
        }
        for (name, value) in &self.headers {
            let value = value.to_str().unwrap_or_default().replace('\'', r"'\''");
            write!(asked, " -H '{name}: {value}'").expect("writing to a string cannot fail");
        }
        asked
    }

    /// The same request for another path.
    #[must_use]
    pub fn at(&self, path: &str) -> Self {
        Self {
            path: path.to_owned(),
            ..self.clone()
        }
    }

    /// The same request with another method.
    #[must_use]
    pub fn by(&self, method: &str) -> Self {
        Self {
            method: method.to_owned(),
            ..self.clone()
        }
    }

    /// The same request to another host.
    #[must_use]
    pub fn to(&self, host: &str) -> Self {
        Self {
            host: host.to_owned(),
            ..self.clone()
        }
    }

    /// The same request with the headers and parameters of `other` as well; its own come first.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (name, value) in &other.headers {
            if !self.headers.contains_key(name) {
                both.headers.append(name.clone(), value.clone());
            }
        }
        both.query = match (&self.query, &other.query) {
            (Some(own), Some(other)) => Some(format!("{own}&{other}")),
            (own, other) => own.clone().or_else(|| other.clone()),
        };
        both
    }
}

/// As `vestibule explain` takes it, over plain text.
impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.asked("http"))
    }
}

/// Words, a host and a method that no rule of a table names. A request made of them meets only the rules that would take
/// any other word there as well.
#[derive(Clone, Debug)]
pub struct Samples {
    word: String,
    method: String,
    listeners: Vec<Listeners>,
}

impl Samples {
    /// What the `rules`, for requests that come in by so many `listeners`, do not name.
    pub fn new(rules: &[Rule], listeners: usize) -> Self {
        let mut named: Vec<String> = Vec::new();
        for rule in rules {
            named.extend(rule.hosts.iter().map(ToString::to_string));
            named.push(rule.path.to_string());
            let headers = rule.headers.iter().map(|it| &it.wanted);
            for wanted in headers.chain(rule.query.iter().map(|it| &it.wanted)) {
                if let Wanted::Exact(value) = wanted {
                    named.push(value.clone());
                }
            }
        }
        let is_named = |word: &str| named.iter().any(|name| name.contains(word));
        let words = std::iter::once("any".to_owned()).chain((1..).map(|n| format!("any{n}")));
        let methods = ["GET", "POST", "PUT", "DELETE", "PATCH"].map(str::to_owned);
        let methods = methods.into_iter().chain((1..).map(|n| format!("ANY{n}")));
        let all_alike = rules.iter().all(|rule| rule.listeners == Listeners::ALL);
        let names_method = |method: &String| rules.iter().any(|it| it.methods.contains(method));
        Self {
            // Both are endless and the rules are not.
            word: words
                .into_iter()
                .find(|word| !is_named(word))
                .unwrap_or_default(),
            method: methods
                .into_iter()
                .find(|it| !names_method(it))
                .unwrap_or_default(),
            listeners: if all_alike {
                vec![Listeners::ALL]
            } else {
                (0..listeners).map(Listeners::one).collect()
            },
        }
    }

    /// A host that `pattern` takes, and no more specific pattern.
    pub fn host(&self, pattern: Option<&HostPattern>) -> String {
        match pattern {
            None => format!("{}.example", self.word),
            Some(HostPattern::Exact(name)) => name.clone(),
            Some(HostPattern::Below(domain)) => format!("{}.{domain}", self.word),
        }
    }

    /// Paths that `pattern` takes, the one that the fewest others take first; empty when none is found.
    pub fn paths(&self, pattern: &PathPattern) -> Vec<String> {
        match pattern {
            PathPattern::Exact(path) => vec![path.clone()],
            PathPattern::Matching(expression) => {
                let deep = format!("/{0}/{0}", self.word);
                let all = [Some(deep), expression.sample()];
                let found = all.into_iter().flatten();
                found
                    .filter(|path| path.starts_with('/') && expression.takes(path.as_bytes()))
                    .collect()
            }
            PathPattern::Prefix(prefix) => {
                let word = &self.word;
                let mut paths = vec![
                    format!("{prefix}/{word}"),
                    format!("{prefix}/{word}/"),
                    format!("{prefix}/"),
                ];
                if !prefix.is_empty() {
                    paths.push(prefix.clone());
                }
                paths
            }
        }
    }

    /// Requests that match `rule`, for each of its listeners, hosts and methods. Empty when a condition has no sample.
    pub fn requests(&self, rule: &Rule) -> Vec<Witness> {
        let Some(bare) = self.bare(rule) else {
            return Vec::new();
        };
        let hosts = any_or_each(&rule.hosts);
        let methods = any_or_each(&rule.methods);
        let paths = self.paths(&rule.path);
        let mut requests = Vec::with_capacity(hosts.len() * methods.len() * paths.len());
        let listeners = self.listeners.iter().filter(|it| it.meets(rule.listeners));
        for listener in listeners {
            for host in &hosts {
                let listener = *listener;
                let bare = Witness {
                    listener,
                    ..bare.to(&self.host(*host))
                };
                for method in &methods {
                    let method = method.map_or(&self.method, |method| method);
                    requests.extend(paths.iter().map(|path| bare.by(method).at(path)));
                }
            }
        }
        requests
    }

    /// A request with nothing but the headers and parameters that `rule` needs.
    fn bare(&self, rule: &Rule) -> Option<Witness> {
        let value = |wanted: &Wanted| match wanted {
            Wanted::Any => Some(self.word.clone()),
            Wanted::Exact(_) | Wanted::Matching(_) => wanted.sample(),
        };
        let mut headers = HeaderMap::new();
        for header in rule.counted_headers() {
            let value = HeaderValue::from_str(&value(&header.wanted)?).ok()?;
            headers.insert(HeaderName::clone(&header.name), value);
        }
        let mut query = Vec::new();
        for parameter in rule.counted_query() {
            let value = encoded(&value(&parameter.wanted)?);
            query.push(format!("{}={value}", encoded(&parameter.name)));
        }
        Some(Witness {
            listener: rule.listeners,
            method: self.method.clone(),
            host: String::new(),
            path: "/".to_owned(),
            query: (!query.is_empty()).then(|| query.join("&")),
            headers,
        })
    }
}

/// What becomes of a rule in its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It takes this request.
    Takes(Witness),
    /// It takes nothing: this request matches it, and so does everything else that does match the rule at this place,
    /// which goes before it.
    Never(Witness, usize),
    /// No request was found that it takes, nor a proof that there is none.
    Unknown,
}

/// Whether the rule at `index` ever takes a request.
///
/// The requests tried meet only rules that take any word in their place. When one of those wins, it wins for everything
/// that the rule takes with this host and method, unless it is an expression: what that takes is not known from one
/// request.
pub fn reach(rules: &[Rule], index: usize, matcher: &Matcher, samples: &Samples) -> Reach {
    let mut shadow = None;
    let mut proved = true;
    for witness in samples.requests(&rules[index]) {
        match matcher.find(&witness.request()) {
            Some(winner) if winner == index => return Reach::Takes(witness),
            Some(winner) => {
                let wide = match (&rules[winner].path, &rules[index].path) {
                    (PathPattern::Matching(wide), PathPattern::Matching(narrow)) => {
                        wide == narrow || takes_everything(&rules[winner].path)
                    }
                    (PathPattern::Matching(_), PathPattern::Prefix(_)) => {
                        takes_everything(&rules[winner].path)
                    }
                    // A single path is a whole proof. One request of an expression's is not.
                    (_, PathPattern::Matching(_)) => false,
                    _ => true,
                };
                proved &= wide && asks_no_more(&rules[winner], &rules[index]);
                shadow.get_or_insert((witness, winner));
            }
            None => proved = false,
        }
    }
    match shadow {
        Some((witness, winner)) if proved => Reach::Never(witness, winner),
        Some(_) | None => Reach::Unknown,
    }
}

/// Whether whatever satisfies the headers and parameters of `narrow` satisfies those of `wide`.
fn asks_no_more(wide: &Rule, narrow: &Rule) -> bool {
    let implied = |wide: &Wanted, narrow: &Wanted| match (wide, narrow) {
        (Wanted::Any, _) => true,
        (Wanted::Matching(expression), Wanted::Exact(value)) => expression.takes(value.as_bytes()),
        (wide, narrow) => wide == narrow,
    };
    wide.counted_headers().all(|wide| {
        let mut narrow = narrow.counted_headers();
        narrow.any(|it| it.name == wide.name && implied(&wide.wanted, &it.wanted))
    }) && wide.counted_query().all(|wide| {
        let mut narrow = narrow.counted_query();
        narrow.any(|it| it.name == wide.name && implied(&wide.wanted, &it.wanted))
    })
}

/// Whether a path pattern takes everything there is, as far as a few odd paths can tell.
pub fn takes_everything(pattern: &PathPattern) -> bool {
    let odd = [
        "/",
        "/q",
        "/Q7/",
        "/q-_~.!$&'()*+,;=:@/%20",
        "/0/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f",
        "/abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    ];
    odd.iter().all(|path| pattern.takes(path))
}

fn any_or_each<T>(list: &[T]) -> Vec<Option<&T>> {
    if list.is_empty() {
        vec![None]
    } else {
        list.iter().map(Some).collect()
    }
}

/// `text` as part of a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    encoded
}

/// A request that the rule at `index` matches and that goes to another, with who takes it; when none is found, one that it
/// takes itself. `None` when it has no sample.
///
/// Tried are its own samples, and those at the hosts and paths that other rules name, which is where they overlap.
pub fn stray(
    rules: &[Rule],
    index: usize,
    matcher: &Matcher,
    samples: &Samples,
) -> Option<(Witness, Option<usize>)> {
    /// Requests tried at most: a table may have thousands of rules.
    const MOST: usize = 2_000;
    let rule = rules.get(index)?;
    let own = samples.requests(rule);
    let first = own.first()?.clone();
    let others = || {
        rules
            .iter()
            .enumerate()
            .filter(|(place, _)| *place != index)
    };
    let hosts = others().flat_map(|(_, other)| &other.hosts);
    let hosts = hosts.filter_map(|host| match host {
        HostPattern::Exact(name) => Some(name.as_str()),
        HostPattern::Below(_) => None,
    });
    let takes = |host: &&str| rule.hosts.is_empty() || rule.hosts.iter().any(|it| it.takes(host));
    let mut hosts: Vec<&str> = hosts.filter(takes).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let paths = others().flat_map(|(_, other)| samples.paths(&other.path));
    let mut paths: Vec<String> = paths.filter(|path| rule.path.takes(path)).collect();
    paths.sort_unstable();
    paths.dedup();
    let there = hosts.iter().map(|host| first.to(host));
    let there: Vec<Witness> = std::iter::once(first.clone()).chain(there).collect();
    let elsewhere = there
        .iter()
        .flat_map(|it| std::iter::once(it.clone()).chain(paths.iter().map(|path| it.at(path))));
    let tried = own.into_iter().chain(elsewhere).take(MOST);
    let strays = tried.map(|witness| {
        let taken_by = matcher.find(&witness.request());
        (witness, taken_by)
    });
    let found = strays
        .into_iter()
        .find(|(_, taken_by)| *taken_by != Some(index));
    Some(found.unwrap_or_else(|| {
        let taken_by = matcher.find(&first.request());
        (first, taken_by)
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(hosts: &[&str], path: &str, methods: &[&str], headers: &[&str]) -> Rule {
        let path = match path.split_at(1) {
            ("=", path) => PathPattern::try_exact(path),
            ("~", path) => PathPattern::try_matching(path),
            _ => PathPattern::try_prefix(path),
        };
        Rule {
            listeners: Listeners::ALL,
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            path: path.unwrap(),
            methods: methods.iter().map(ToString::to_string).collect(),
            headers: headers.iter().map(|it| it.parse().unwrap()).collect(),
            query: Vec::new(),
        }
    }

    #[test]
    fn a_request_that_goes_to_another_rule_is_found_where_they_overlap() {
        for (what, rules, found) in [
            (
                "the rule's own place",
                vec![
                    rule(&["a.test"], "/", &[], &[]),
                    rule(&["b.test"], "/", &[], &[]),
                ],
                ("a.test", "/", Some(0)),
            ),
            (
                "a host that another names",
                vec![
                    rule(&["*.example.com"], "/admin", &[], &[]),
                    rule(&["ops.example.com"], "/", &[], &[]),
                ],
                ("ops.example.com", "/admin", Some(1)),
            ),
            (
                "a longer path of another",
                vec![
                    rule(&["a.test"], "/", &[], &[]),
                    rule(&["a.test"], "=/cart", &[], &[]),
                ],
                ("a.test", "/cart", Some(1)),
            ),
        ] {
            let (matcher, samples) = (Matcher::new(&rules), Samples::new(&rules, 1));
            let (witness, taken_by) = stray(&rules, 0, &matcher, &samples).unwrap();
            assert_eq!(witness.host, found.0, "{what}");
            assert!(
                witness.path.starts_with(found.1),
                "{what}: {}",
                witness.path
            );
            assert_eq!(taken_by, found.2, "{what}");
        }
    }

    fn reaches(rules: &[Rule]) -> Vec<Reach> {
        let (matcher, samples) = (Matcher::new(rules), Samples::new(rules, 1));
        let all = 0..rules.len();
        all.map(|at| reach(rules, at, &matcher, &samples)).collect()
    }

    #[test]
    fn a_rule_behind_a_wider_one_never_takes_anything() {
        let found = reaches(&[
            rule(&["a.test"], "/x", &[], &[]),
            rule(&["a.test"], "/x", &[], &["x-a: 1"]),
            rule(&["a.test"], "/x", &["GET"], &[]),
            rule(&["a.test"], "/x", &["GET"], &["x-a"]),
            // Every header value that this one asks for satisfies the one before.
            rule(&["a.test"], "/x", &["GET"], &["x-a: 1"]),
            rule(&["b.test"], "~/.*", &[], &[]),
            rule(&["b.test"], "/y", &[], &[]),
        ]);
        let takes: Vec<bool> = found
            .iter()
            .map(|it| matches!(it, Reach::Takes(_)))
            .collect();
        assert_eq!(takes, [true, true, true, true, false, true, false]);
        let Reach::Never(witness, winner) = &found[4] else {
            panic!("{found:?}");
        };
        assert_eq!(*winner, 3);
        assert_eq!(witness.to_string(), "GET http://a.test/x/any -H 'x-a: 1'");
        assert!(matches!(&found[6], Reach::Never(_, 5)));
    }

    #[test]
    fn samples_are_words_that_nothing_names() {
        let rules = [
            rule(&["any.test"], "/any1", &["GET", "POST"], &["x-a: any2"]),
            rule(&["*.any3"], "/", &[], &[]),
        ];
        let samples = Samples::new(&rules, 1);
        assert_eq!(
            (samples.word.as_str(), samples.method.as_str()),
            ("any4", "PUT")
        );
        assert_eq!(samples.requests(&rules[1])[0].host, "any4.any3");
    }

    proptest! {
        /// A witness proves what it is said to prove, and a shadowed rule takes none of many requests.
        #[test]
        fn a_claim_holds_for_every_request(
            rules in prop::collection::vec(
                (
                    prop::collection::vec(
                        prop::sample::select(vec!["a.t", "b.a.t", "*.a.t", "*.t"]), 0..3),
                    prop::sample::select(vec!["/", "/x", "/x/y", "=/x", "=/x/", "~/x/[a-z]+", "~/.*"]),
                    prop::collection::vec(prop::sample::select(vec!["GET", "POST"]), 0..2),
                    prop::collection::vec(prop::sample::select(vec!["x-a: 1", "x-b", "x-a"]), 0..2),
                ), 1..8),
        ) {
            let rules: Vec<Rule> =
                rules.iter().map(|(h, p, m, c)| rule(h, p, m, c)).collect();
            let matcher = Matcher::new(&rules);
            for (index, found) in reaches(&rules).into_iter().enumerate() {
                match found {
                    Reach::Takes(witness) => {
                        prop_assert_eq!(matcher.find(&witness.request()), Some(index));
                    }
                    Reach::Never(witness, winner) => {
                        prop_assert_eq!(matcher.find(&witness.request()), Some(winner));
                        for host in ["a.t", "b.a.t", "c.a.t", "c.t", "q"] {
                            for path in ["/", "/x", "/x/", "/x/y", "/x/y/", "/x/Y", "/q", "/x/y/z"] {
                                for method in ["GET", "POST", "PUT"] {
                                    for a in [None, Some("1"), Some("2")] {
                                        for b in [None, Some("1")] {
                                            let mut headers = HeaderMap::new();
                                            for (name, value) in [("x-a", a), ("x-b", b)] {
                                                if let Some(value) = value {
                                                    headers.insert(name, HeaderValue::from_static(value));
                                                }
                                            }
                                            let request = Request {
                                                listener: Listeners::ALL, host, path, query: None,
                                                method, headers: &headers,
                                            };
                                            prop_assert_ne!(matcher.find(&request), Some(index));
                                        }
                                    }
                                }
                            }
                        }
                    }
                    Reach::Unknown => {}
                }
            }
        }
    }
}
