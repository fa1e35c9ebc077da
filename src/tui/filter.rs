//! What a person types after `/`, and which routes it keeps.
//!
//! Words apart by spaces must all hold. A word is text to be found in the id, host, path, upstream or owner; `!` turns
//! it round; `err>1%`, `p99>500ms`, `rate>=10`, `burn>2` compare with the last minute; `up:`, `host:`, `owner:` and
//! `is:` look in one place. A comparison with what was not measured holds for nobody.

use crate::snapshot::RouteView;

use super::words;

/// A parsed filter.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filter {
    terms: Vec<(bool, Term)>,
    /// What is wrong with it, when a word could not be understood; that word then keeps everything.
    pub(crate) problem: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Text(String),
    In(Place, String),
    Compare(Number, Comparison, f64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Upstream,
    Host,
    Owner,
    Standing,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    BadRatio,
    P50,
    P99,
    Rate,
    Burn,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    AtLeast,
    AtMost,
    Above,
    Below,
}

impl Filter {
    /// Reads what was typed. Never fails: half a comparison is a [`Filter::problem`] until its other half is typed.
    pub(crate) fn parse(typed: &str) -> Self {
        let mut filter = Self::default();
        for word in typed.split_whitespace() {
            let (kept, word) = match word.strip_prefix('!') {
                Some(rest) => (false, rest),
                None => (true, word),
            };
            if word.is_empty() {
                continue;
            }
            match term(word) {
                Ok(term) => filter.terms.push((kept, term)),
                Err(problem) => filter.problem = Some(problem),
            }
        }
        filter
    }

    /// Whether it keeps `route`.
    pub(crate) fn keeps(&self, route: &RouteView) -> bool {
        self.terms
            .iter()
            .all(|(kept, term)| term.holds(route) == *kept)
    }
}

impl Term {
    fn holds(&self, route: &RouteView) -> bool {
        match self {
            Self::Text(text) => {
                contains(&route.id, text)
                    || contains(&route.path, text)
                    || route.hosts.iter().any(|host| contains(host, text))
                    || optional(route.upstream.as_ref(), text)
                    || optional(route.owner.as_ref(), text)
            }
            Self::In(Place::Upstream, text) => optional(route.upstream.as_ref(), text),
            Self::In(Place::Host, text) => route.hosts.iter().any(|host| contains(host, text)),
            Self::In(Place::Owner, text) => optional(route.owner.as_ref(), text),
            Self::In(Place::Standing, text) => contains(words::standing(route.standing).word, text),
            Self::Compare(number, comparison, with) => {
                number.of(route).is_some_and(|value| match comparison {
                    Comparison::AtLeast => value >= *with,
                    Comparison::AtMost => value <= *with,
                    Comparison::Above => value > *with,
                    Comparison::Below => value < *with,
                })
            }
        }
    }
}

impl Number {
    fn of(self, route: &RouteView) -> Option<f64> {
        match self {
            Self::BadRatio => route.now.bad_ratio,
            Self::P50 => route.now.p50_us.map(|micros| micros as f64),
            Self::P99 => route.now.p99_us.map(|micros| micros as f64),
            Self::Rate => route.now.rate_per_s,
            Self::Burn => route.burn_5m,
        }
    }
}

const PLACES: [(&str, Place); 4] = [
    ("up", Place::Upstream),
    ("host", Place::Host),
    ("owner", Place::Owner),
    ("is", Place::Standing),
];

const NUMBERS: [(&str, Number); 6] = [
    ("err", Number::BadRatio),
    ("bad", Number::BadRatio),
    ("p50", Number::P50),
    ("p99", Number::P99),
    ("rate", Number::Rate),
    ("burn", Number::Burn),
];

// Longer signs first, so that `>=` is not read as `>`.
const COMPARISONS: [(&str, Comparison); 4] = [
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    (">", Comparison::Above),
    ("<", Comparison::Below),
];

fn term(word: &str) -> Result<Term, String> {
    for (sign, comparison) in COMPARISONS {
        if let Some((name, value)) = word.split_once(sign) {
            let Some((_, number)) = NUMBERS.iter().find(|(known, _)| *known == name) else {
                return Err(format!("`{name}` is not one of err p50 p99 rate burn"));
            };
            return quantity(*number, value)
                .map(|value| Term::Compare(*number, comparison, value))
                .ok_or_else(|| format!("{name}{sign} wants a number, like {}", example(*number)));
        }
    }
    if let Some((name, text)) = word.split_once(':')
        && let Some((_, place)) = PLACES.iter().find(|(known, _)| *known == name)
    {
        return Ok(Term::In(*place, text.to_lowercase()));
    }
    Ok(Term::Text(word.to_lowercase()))
}

fn quantity(number: Number, text: &str) -> Option<f64> {
    let (digits, factor) = match number {
        // A bare number is percent too: nobody types 0.01.
        Number::BadRatio => (text.strip_suffix('%').unwrap_or(text), 0.01),
        Number::P50 | Number::P99 => [("µs", 1.0), ("us", 1.0), ("ms", 1e3), ("s", 1e6)]
            .into_iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
            .unwrap_or((text, 1e3)),
        Number::Rate => match text.strip_suffix('k') {
            Some(digits) => (digits, 1e3),
            None => (text, 1.0),
        },
        Number::Burn => (text.strip_suffix('x').unwrap_or(text), 1.0),
    };
    let value: f64 = digits.parse().ok()?;
    value.is_finite().then_some(value * factor)
}

const fn example(number: Number) -> &'static str {
    match number {
        Number::BadRatio => "1%",
        Number::P50 | Number::P99 => "500ms",
        Number::Rate => "10",
        Number::Burn => "2",
    }
}

fn optional(text: Option<&String>, needle: &str) -> bool {
    text.is_some_and(|text| contains(text, needle))
}

/// Whether `text` holds `needle`, which is in lower case already.
fn contains(text: &str, needle: &str) -> bool {
    text.to_lowercase().contains(needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Measure, Series, Standing};

    fn route() -> RouteView {
        RouteView {
            id: "checkout".to_owned(),
            standing: Standing::Crit,
            hosts: vec!["Shop.example.com".to_owned()],
            path: "/checkout/*".to_owned(),
            upstream: Some("payments".to_owned()),
            owner: None,
            requests: 0,
            good: 0,
            bad: 0,
            excluded: 0,
            p50_us: None,
            p95_us: None,
            p99_us: None,
            now: Measure {
                bad_ratio: Some(0.613),
                p99_us: Some(268_000),
                rate_per_s: Some(212.0),
                ..Measure::default()
            },
            before: Measure::default(),
            burn_5m: None,
            share_of_bad: None,
            slos: Vec::new(),
            series: Series::default(),
            faults: Vec::new(),
            endpoints: Vec::new(),
            phases: Vec::new(),
        }
    }

    #[test]
    fn words_keep_what_they_describe() {
        for (typed, kept) in [
            ("", true),
            ("check", true),
            ("CHECK shop", true),
            ("check cart", false),
            ("!cart", true),
            ("!check", false),
            ("up:pay", true),
            ("up:check", false),
            ("owner:x", false),
            ("is:crit", true),
            ("err>1%", true),
            ("err>61", true),
            ("err<1%", false),
            ("!err<1%", true),
            ("p99>200ms", true),
            ("p99>=1s", false),
            ("rate>=212", true),
            // Not measured: neither above nor below.
            ("burn>0", false),
            ("burn<9", false),
        ] {
            assert_eq!(Filter::parse(typed).keeps(&route()), kept, "{typed}");
        }
    }

    #[test]
    fn half_a_comparison_says_what_it_wants_and_hides_nothing() {
        for typed in ["err>", "p99>fast", "size>1"] {
            let filter = Filter::parse(typed);
            assert!(filter.problem.is_some(), "{typed}");
            assert!(filter.keeps(&route()), "{typed}");
        }
    }
}
