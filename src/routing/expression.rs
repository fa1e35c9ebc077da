//! Regular expressions that match a whole text in time linear in its length.
//!
//! Each is compiled to a table (a DFA) when the configuration is read, within a bound of its size: a search then neither
//! allocates nor locks nor backtracks, whatever text a client sends. What would need a larger table is refused.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use regex_automata::Input;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_syntax::hir::{Class, Hir, HirKind};

/// An expression that takes a text only as a whole: `/a/[0-9]+` takes `/a/1`, neither `/a/1/b` nor `/x/a/1`.
///
/// The syntax is that of the `regex` crate, over ASCII: no look-around, no back-references. Two are equal when they are
/// written alike.
#[derive(Clone)]
pub struct Expression {
    text: String,
    table: Arc<dense::DFA<Vec<u32>>>,
}

/// Why a text is not an [`Expression`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// Longer than an expression may be written.
    #[error("the expression is longer than {LONGEST} bytes")]
    TooLong,
    /// Not an expression.
    #[error("`{0}` is not a regular expression: {1}")]
    Syntax(String, String),
    /// Its table would be larger than it may be.
    #[error("`{0}` would need a table of more than 256 KiB: make its repetitions smaller")]
    TooLarge(String),
}

/// Bytes of an expression's text.
const LONGEST: usize = 1_024;
/// Bytes of an expression's table, and of what is built on the way to it.
const LARGEST: usize = 256 * 1_024;

impl Expression {
    /// Whether it takes the whole of `text`.
    pub fn takes(&self, text: &[u8]) -> bool {
        let input = Input::new(text).anchored(regex_automata::Anchored::Yes);
        // A search gives up only on bytes that it was told to give up on, and it was told of none.
        self.table
            .try_search_fwd(&input)
            .is_ok_and(|found| found.is_some())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A short text that it takes; `None` when none is found, as for one that takes nothing.
    pub fn sample(&self) -> Option<String> {
        let tree = regex_syntax::ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .build()
            .parse(&self.text)
            .ok()?;
        let mut sample = Vec::new();
        push_sample(&tree, &mut sample)?;
        let sample = String::from_utf8(sample).ok()?;
        self.takes(sample.as_bytes()).then_some(sample)
    }
}

impl FromStr for Expression {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > LONGEST {
            return Err(ExpressionError::TooLong);
        }
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        // By itself first: `a)(b` only looks like an expression once it stands in brackets.
        syntax::parse_with(text, &syntax).map_err(|error| {
            let why = match &error {
                regex_syntax::Error::Parse(error) => error.kind().to_string(),
                regex_syntax::Error::Translate(error) => error.kind().to_string(),
                other => other.to_string(),
            };
            ExpressionError::Syntax(text.to_owned(), why)
        })?;
        let built = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Anchored)
                    .dfa_size_limit(Some(LARGEST))
                    .determinize_size_limit(Some(LARGEST)),
            )
            .thompson(thompson::Config::new().nfa_size_limit(Some(LARGEST)))
            .syntax(syntax)
            .build(&format!(r"(?:{text})\z"));
        match built {
            Ok(table) => Ok(Self {
                text: text.to_owned(),
                table: Arc::new(table),
            }),
            Err(error) if error.is_size_limit_exceeded() => {
                Err(ExpressionError::TooLarge(text.to_owned()))
            }
            Err(error) => Err(ExpressionError::Syntax(text.to_owned(), error.to_string())),
        }
    }
}

/// Appends a short text that `tree` takes; `None` when it takes none.
fn push_sample(tree: &Hir, sample: &mut Vec<u8>) -> Option<()> {
    match tree.kind() {
        // An assertion is taken at its word; the whole sample is tried afterwards.
        HirKind::Empty | HirKind::Look(_) => Some(()),
        HirKind::Literal(literal) => {
            sample.extend_from_slice(&literal.0);
            Some(())
        }
        HirKind::Class(Class::Bytes(class)) => {
            let all = || class.iter().flat_map(|range| range.start()..=range.end());
            let readable = all().find(u8::is_ascii_alphanumeric);
            let printable = || all().find(u8::is_ascii_graphic);
            sample.push(readable.or_else(printable).or_else(|| all().next())?);
            Some(())
        }
        HirKind::Class(Class::Unicode(class)) => {
            let first = class.iter().next()?.start();
            sample.extend_from_slice(first.encode_utf8(&mut [0; 4]).as_bytes());
            Some(())
        }
        HirKind::Repetition(repetition) => {
            // Bounded by the size of the table that was built of it.
            for _ in 0..repetition.min {
                push_sample(&repetition.sub, sample)?;
            }
            Some(())
        }
        HirKind::Capture(capture) => push_sample(&capture.sub, sample),
        HirKind::Concat(parts) => {
            for part in parts {
                push_sample(part, sample)?;
            }
            Some(())
        }
        HirKind::Alternation(choices) => {
            let length = sample.len();
            choices.iter().find_map(|choice| {
                sample.truncate(length);
                push_sample(choice, sample)
            })
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl PartialOrd for Expression {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Expression {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for Expression {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression(text: &str) -> Expression {
        text.parse().unwrap()
    }

    #[test]
    fn it_takes_whole_texts_only() {
        for (text, taken, left) in [
            (
                "/a/[0-9]+",
                &["/a/1", "/a/42"][..],
                &["/a/", "/a/1/", "x/a/1"][..],
            ),
            ("a|ab", &["a", "ab"], &["abc", "b"]),
            ("^/x$", &["/x"], &["/x/", "/y"]),
            ("(?i)beta", &["beta", "BETA"], &["bet", "betaa"]),
            ("", &[""], &["a"]),
            (".*", &["", "abc"], &["a\nb"]),
        ] {
            for taken in taken {
                assert!(expression(text).takes(taken.as_bytes()), "{text} {taken}");
            }
            for left in left {
                assert!(!expression(text).takes(left.as_bytes()), "{text} {left}");
            }
        }
        assert!(!expression("/a.").takes(b"/a/\xff\xfe"));
    }

    #[test]
    fn what_is_none_says_why() {
        for text in ["(", "a)(b", "a{2,1}", "[z-a]", r"(a)\1", "(?=a)"] {
            let error = text.parse::<Expression>().unwrap_err();
            assert!(
                matches!(error, ExpressionError::Syntax(..)),
                "{text}: {error}"
            );
        }
        let long = "a".repeat(LONGEST + 1);
        assert_eq!(long.parse::<Expression>(), Err(ExpressionError::TooLong));
    }

    #[test]
    fn one_that_would_eat_the_memory_is_refused_quickly() {
        for text in ["(a|b)*a(a|b){24}", "a{100000}", "((a{100}){100}){100}"] {
            let error = text.parse::<Expression>().unwrap_err();
            let refused = matches!(
                error,
                ExpressionError::TooLarge(_) | ExpressionError::Syntax(..)
            );
            assert!(refused, "{text}: {error}");
        }
    }

    #[test]
    fn a_sample_is_taken() {
        for text in [
            "/users/[0-9]+/avatar",
            "/(a|b)/x{3}",
            "(?i)/Shop",
            "/.*",
            r"/\w+\.(png|jpg)",
            "^/x$",
        ] {
            let expression = expression(text);
            let sample = expression.sample().unwrap();
            assert!(expression.takes(sample.as_bytes()), "{text} {sample}");
        }
        assert_eq!(expression("a$b").sample(), None);
    }
}
