//! What a route asks of a request beside host, path and method: headers and query parameters.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use http::{HeaderMap, HeaderName};

use super::expression::{Expression, ExpressionError};

/// What is asked of a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wanted {
    /// That there is one.
    Any,
    /// Exactly this, case-sensitive.
    Exact(String),
    /// That an expression takes the whole of it.
    Matching(Expression),
}

impl Wanted {
    fn takes(&self, value: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(wanted) => wanted.as_bytes() == value,
            Self::Matching(expression) => expression.takes(value),
        }
    }

    /// A value that is taken; `None` when none is found.
    pub fn sample(&self) -> Option<String> {
        match self {
            Self::Any => Some("1".to_owned()),
            Self::Exact(value) => Some(value.clone()),
            Self::Matching(expression) => expression.sample(),
        }
    }
}

/// A header that a request must have. Written `x-canary`, `x-canary: always` or `x-canary ~ beta-[0-9]+`.
///
/// A field that is sent more than once is one value, its lines joined by `, ` (RFC 9110, 5.3): whoever repeats a field
/// cannot satisfy one reader with the first line and another with the last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderCondition {
    /// Its name, in lower case.
    pub name: HeaderName,
    /// What is asked of its value.
    pub wanted: Wanted,
}

/// A query parameter that a request must have. Written `debug`, `version=2` or `version ~ [0-9]+`.
///
/// Parameters are parted by `&`; name and value are compared with `%…` and `+` decoded. Of several with the same name the
/// first counts (Gateway API, `HTTPQueryParamMatch`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryCondition {
    /// Its name.
    pub name: String,
    /// What is asked of its value.
    pub wanted: Wanted,
}

/// Why a text is not a condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// No name, or one with characters that no such name has.
    #[error("`{0}` does not begin with a name of letters, digits and `-`")]
    Name(String),
    /// A field that routes ask for elsewhere.
    #[error("`{0}` is asked for by `hosts`")]
    Host(String),
    /// Neither a value nor an expression follows the name.
    #[error(
        "`{text}`: after the name write `{sign}` and a value, or `~` and a regular expression, or nothing"
    )]
    Shape {
        /// The whole text.
        text: String,
        /// What stands before a value.
        sign: char,
    },
    /// A value that no request could have.
    #[error("`{0}`: the value holds a control or a non-ASCII character")]
    Value(String),
    /// No expression.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
}

impl HeaderCondition {
    /// Whether a request with these headers satisfies it.
    pub fn takes(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(&self.name).iter();
        let Some(first) = lines.next() else {
            return false;
        };
        let Some(second) = lines.next() else {
            return self.wanted.takes(first.as_bytes());
        };
        let mut joined = first.as_bytes().to_vec();
        for line in std::iter::once(second).chain(lines) {
            joined.extend_from_slice(b", ");
            joined.extend_from_slice(line.as_bytes());
        }
        self.wanted.takes(&joined)
    }
}

impl QueryCondition {
    /// Whether a request with this query, as it was sent and without its `?`, satisfies it.
    pub fn takes(&self, query: Option<&str>) -> bool {
        let parameters = query.unwrap_or_default().split('&');
        let mut pairs = parameters.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        // `a=1&&b=2` has an empty pair, which has no name.
        pairs
            .find(|(name, _)| !name.is_empty() && *decoded(name) == *self.name.as_bytes())
            .is_some_and(|(_, value)| self.wanted.takes(&decoded(value)))
    }
}

/// `text` with `%…` and `+` decoded; a broken `%` stands for itself.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text.as_bytes());
    }
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, digit(tail.first()), digit(tail.get(1))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            (b'+', ..) => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    Cow::Owned(decoded)
}

impl FromStr for HeaderCondition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let (name, wanted) = read(text, fits, ':')?;
        let name = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .ok_or_else(|| ConditionError::Name(text.to_owned()))?;
        if name == http::header::HOST {
            return Err(ConditionError::Host(text.to_owned()));
        }
        Ok(Self { name, wanted })
    }
}

impl FromStr for QueryCondition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '[' | ']');
        let (name, wanted) = read(text, fits, '=')?;
        let name = name.to_owned();
        Ok(Self { name, wanted })
    }
}

/// A name of characters that `fits`, and what is wanted of it; a value follows `sign`.
fn read(text: &str, fits: fn(char) -> bool, sign: char) -> Result<(&str, Wanted), ConditionError> {
    let end = text.find(|c| !fits(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return Err(ConditionError::Name(text.to_owned()));
    }
    let rest = rest.trim_start();
    let wanted = if rest.is_empty() {
        Wanted::Any
    } else if let Some(expression) = rest.strip_prefix('~') {
        Wanted::Matching(expression.trim().parse()?)
    } else if let Some(value) = rest.strip_prefix(sign) {
        let value = value.trim();
        if !value
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ')
        {
            return Err(ConditionError::Value(text.to_owned()));
        }
        Wanted::Exact(value.to_owned())
    } else {
        let text = text.to_owned();
        return Err(ConditionError::Shape { text, sign });
    };
    Ok((name, wanted))
}

impl fmt::Display for HeaderCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_str())?;
        match &self.wanted {
            Wanted::Any => Ok(()),
            Wanted::Exact(value) => write!(f, ": {value}"),
            Wanted::Matching(expression) => write!(f, " ~ {expression}"),
        }
    }
}

impl fmt::Display for QueryCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.wanted {
            Wanted::Any => Ok(()),
            Wanted::Exact(value) => write!(f, "={value}"),
            Wanted::Matching(expression) => write!(f, " ~ {expression}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_header_is_asked_for_by_presence_value_or_expression() {
        let mut headers = HeaderMap::new();
        headers.insert("x-canary", HeaderValue::from_static("Always"));
        headers.insert("x-twice", HeaderValue::from_static("a"));
        headers.append("x-twice", HeaderValue::from_static("b"));
        for (text, taken) in [
            ("X-Canary", true),
            ("x-canary: Always", true),
            ("x-canary:Always", true),
            ("x-canary: always", false),
            ("x-canary ~ (?i)always", true),
            ("x-canary ~ Alw", false),
            ("x-other", false),
            ("x-twice", true),
            ("x-twice: a", false),
            ("x-twice: b", false),
            ("x-twice: a, b", true),
        ] {
            let condition: HeaderCondition = text.parse().unwrap();
            assert_eq!(condition.takes(&headers), taken, "{text}");
        }
    }

    #[test]
    fn a_parameter_is_read_decoded_and_its_first_value_counts() {
        for (text, query, taken) in [
            ("version=2", Some("version=2"), true),
            ("version=2", Some("a=1&version=2&version=3"), true),
            ("version=2", Some("version=3&version=2"), false),
            ("version=2", Some("vers%69on=%32"), true),
            ("q=a b", Some("q=a+b"), true),
            ("q=a b", Some("q=a%20b"), true),
            ("debug", Some("debug"), true),
            ("debug", Some("debug="), true),
            ("debug", Some("a=debug"), false),
            ("debug", None, false),
            ("version ~ [0-9]+", Some("version=17"), true),
            ("version ~ [0-9]+", Some("version=x"), false),
            ("q=%", Some("q=%"), true),
            ("a[]=1", Some("a%5B%5D=1"), true),
        ] {
            let condition: QueryCondition = text.parse().unwrap();
            assert_eq!(condition.takes(query), taken, "{text} {query:?}");
        }
    }

    #[test]
    fn what_is_no_condition_says_why() {
        for text in [
            "",
            ": x",
            "x y",
            "x = y",
            "x ~ (",
            "x_y: 1",
            "host: a",
            "x: \u{e4}",
        ] {
            assert!(text.parse::<HeaderCondition>().is_err(), "{text}");
        }
        for text in ["", "=1", "a: 1", "a ~ [", "a b"] {
            assert!(text.parse::<QueryCondition>().is_err(), "{text}");
        }
    }

    #[test]
    fn written_again_it_is_the_same() {
        for text in ["x-a", "x-a: b c", "x-a ~ [0-9]+"] {
            let condition: HeaderCondition = text.parse().unwrap();
            assert_eq!(condition.to_string(), text);
        }
        for text in ["a", "a=b c", "a ~ [0-9]+"] {
            let condition: QueryCondition = text.parse().unwrap();
            assert_eq!(condition.to_string(), text);
        }
    }
}
