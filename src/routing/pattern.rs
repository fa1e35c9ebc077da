//! What a route asks of a request's host and path.

use std::fmt;
use std::str::FromStr;

use super::expression::{Expression, ExpressionError};
use super::target;

/// A host that a route takes: exact, or every name below a domain.
///
/// Lower case, without port or trailing dot. `*.example.com` takes `a.example.com` and `a.b.example.com`, not
/// `example.com` (Gateway API, `HTTPRoute` hostnames).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// Exactly this host.
    Exact(String),
    /// Any name that ends in `.` and this.
    Below(String),
}

/// Why a text is not a [`HostPattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostPatternError {
    /// Nothing, or an empty label.
    #[error("`{0}` has an empty label")]
    Empty(String),
    /// Longer than a DNS name can be.
    #[error("`{0}` is longer than the 253 characters of a DNS name")]
    TooLong(String),
    /// A character that no host name has.
    #[error(
        "`{0}` holds `{1}`, which no host name does: write letters, digits and `-`, international names as xn--…"
    )]
    Character(String, char),
    /// A `*` elsewhere than as the whole first label.
    #[error("`{0}`: `*` may only stand for the whole first label, as in `*.example.com`")]
    Wildcard(String),
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let (wildcard, rest) = match name.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, name.as_str()),
        };
        if rest.contains('*') {
            return Err(HostPatternError::Wildcard(text.to_owned()));
        }
        if rest.len() > 253 {
            return Err(HostPatternError::TooLong(text.to_owned()));
        }
        if rest.split('.').any(str::is_empty) {
            return Err(HostPatternError::Empty(text.to_owned()));
        }
        let odd = |c: &char| !(c.is_ascii_alphanumeric() || *c == '-' || *c == '.');
        if let Some(odd) = rest.chars().find(odd) {
            return Err(HostPatternError::Character(text.to_owned(), odd));
        }
        Ok(if wildcard {
            Self::Below(rest.to_owned())
        } else {
            Self::Exact(name)
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Below(domain) => write!(f, "*.{domain}"),
        }
    }
}

impl HostPattern {
    /// Whether it takes `host`, which is in the form of [`super::target`].
    pub fn takes(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Below(domain) => host
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        }
    }
}

/// A path that a route takes, case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathPattern {
    /// Exactly this path.
    Exact(String),
    /// Every path that the expression takes as a whole.
    Matching(Expression),
    /// This path and everything below it, by whole elements: `/foo` takes `/foo`, `/foo/` and `/foo/x`, not
    /// `/foobar`. Kept without a trailing `/`; the root is the empty string.
    Prefix(String),
}

/// Why a text is not a path of a [`PathPattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathPatternError {
    /// Not an expression.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// Does not begin at the root.
    #[error("`{0}` must begin with `/`")]
    Relative(String),
    /// Holds something that a request's normalised path never does, so it could never match.
    #[error(
        "`{0}` holds {1}, which a request's normalised path never does: the route could not match"
    )]
    NeverMatches(String, &'static str),
    /// Not the one form of this path, so it could never match.
    #[error("a request for `{0}` is read as `{1}`: the route could not match")]
    OtherForm(String, String),
}

impl PathPattern {
    /// A path to be matched exactly.
    pub fn try_exact(path: &str) -> Result<Self, PathPatternError> {
        check(path).map(|()| Self::Exact(path.to_owned()))
    }

    /// A path to be matched with everything below it.
    pub fn try_prefix(path: &str) -> Result<Self, PathPatternError> {
        check(path).map(|()| Self::Prefix(path.strip_suffix('/').unwrap_or(path).to_owned()))
    }

    /// An expression that takes whole paths.
    pub fn try_matching(expression: &str) -> Result<Self, PathPatternError> {
        Ok(Self::Matching(expression.parse()?))
    }

    /// Whether it takes `path`, which is in the form of [`super::target`].
    pub fn takes(&self, path: &str) -> bool {
        match self {
            Self::Exact(wanted) => wanted == path,
            Self::Matching(expression) => expression.takes(path.as_bytes()),
            Self::Prefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

fn check(path: &str) -> Result<(), PathPatternError> {
    if !path.starts_with('/') {
        return Err(PathPatternError::Relative(path.to_owned()));
    }
    let never = if path.contains("//") {
        Some("`//`")
    } else if path
        .split('/')
        .any(|element| element == "." || element == "..")
    {
        Some("a dot segment")
    } else if path.contains(['?', '#']) {
        Some("`?` or `#`")
    } else if path.bytes().any(|byte| !byte.is_ascii_graphic()) {
        Some("a space, a control or a non-ASCII character")
    } else {
        None
    };
    if let Some(what) = never {
        return Err(PathPatternError::NeverMatches(path.to_owned(), what));
    }
    match target::path(path) {
        Ok(form) if form.text == path => Ok(()),
        Ok(form) => Err(PathPatternError::OtherForm(
            path.to_owned(),
            form.text.into_owned(),
        )),
        Err(_) => Err(PathPatternError::NeverMatches(
            path.to_owned(),
            "what no path may hold",
        )),
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Matching(expression) => write!(f, "~ {expression}"),
            Self::Prefix(path) => write!(f, "{path}/*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_patterns_are_read_in_one_form() {
        for (text, written) in [
            ("Shop.Example.com.", "shop.example.com"),
            ("*.example.com", "*.example.com"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_is_no_host_says_why() {
        for text in [
            "",
            "*",
            "a..b",
            "a.*.b",
            "*.*.a",
            "a b",
            "a_b",
            "bücher.de",
            "a:80",
            "*a.b",
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_that_could_never_match_is_refused() {
        for path in [
            "",
            "api",
            "/a//b",
            "/a/../b",
            "/a?x",
            "/a#x",
            "/a b",
            "/ä",
            "/a%",
            "/caf%c3%a9",
            "/%61",
            "/a|b",
        ] {
            assert!(PathPattern::try_prefix(path).is_err(), "{path}");
        }
        assert_eq!(PathPattern::try_prefix("/").unwrap().to_string(), "/*");
        assert_eq!(
            PathPattern::try_prefix("/api/").unwrap().to_string(),
            "/api/*"
        );
        assert_eq!(
            PathPattern::try_exact("/api/").unwrap().to_string(),
            "/api/"
        );
    }

    #[test]
    fn patterns_take_what_they_say() {
        let host = |text: &str| text.parse::<HostPattern>().unwrap();
        assert!(host("*.a.test").takes("b.a.test"));
        assert!(host("*.a.test").takes("c.b.a.test"));
        assert!(!host("*.a.test").takes("a.test"));
        assert!(!host("*.a.test").takes("ba.test"));
        assert!(!host("*.a.test").takes(".a.test"));
        let prefix = PathPattern::try_prefix("/foo/").unwrap();
        assert!(prefix.takes("/foo") && prefix.takes("/foo/") && prefix.takes("/foo/x"));
        assert!(!prefix.takes("/foobar"));
        assert!(PathPattern::try_prefix("/").unwrap().takes("/"));
    }
}
