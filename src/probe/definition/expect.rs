//! What must hold for a run to be well.

use std::fmt;
use std::time::Duration;

use http::HeaderName;
use regex::bytes::Regex;

use crate::model::ProbeFailure;

/// What must hold for a run to be well.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expectations {
    /// It must fail, and for this reason.
    pub failure: Option<ProbeFailure>,
    /// The status is one of these; empty is any 2xx.
    pub statuses: Vec<Statuses>,
    /// The header is there and its value contains the text, which may be empty.
    pub headers: Vec<(HeaderName, String)>,
    /// The body contains each of these.
    pub body: Vec<String>,
    /// The body contains none of these.
    pub body_lacks: Vec<String>,
    /// The body matches each of these.
    pub body_matches: Vec<Pattern>,
    /// The body matches none of these.
    pub body_matches_none: Vec<Pattern>,
    /// A value of the header matches.
    pub header_matches: Vec<(HeaderName, Pattern)>,
    /// No value of the header matches.
    pub header_matches_none: Vec<(HeaderName, Pattern)>,
    /// What the body says as JSON.
    pub json: Vec<JsonExpectation>,
    /// The version of HTTP is one of these, like `1.1`; empty is any.
    pub http_versions: Vec<HttpVersionNumber>,
    /// Whether the last answer came over TLS.
    pub encrypted: Option<bool>,
    /// What a resolver answers.
    pub answer: AnswerExpectation,
    /// The whole run takes at most this long.
    pub under: Option<Duration>,
    /// At least this share of the certificate's life is left, in thousandths.
    pub certificate_left: Option<u32>,
}

/// A version of HTTP that a server answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersionNumber {
    /// HTTP/1.0.
    V10,
    /// HTTP/1.1.
    V11,
    /// HTTP/2.
    V2,
}

impl HttpVersionNumber {
    /// As [`crate::model::ProbeRun::http_version`] has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V10 => "HTTP/1.0",
            Self::V11 => "HTTP/1.1",
            Self::V2 => "HTTP/2",
        }
    }
}

/// What a JSON document says in a place.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonExpectation {
    /// Where, as RFC 9535 writes it.
    pub path: JsonPath,
    /// What is to be there.
    pub wants: JsonWants,
}

/// What a query of a JSON document is to find.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonWants {
    /// Something.
    Found,
    /// Just so many nodes.
    Count(usize),
    /// Something, and all of it is this: a text as it is, anything else as compact JSON.
    Equals(String),
    /// Something, and all of it, written like that, matches.
    Matches(Pattern),
}

/// A query of a JSON document (RFC 9535).
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    text: String,
    path: serde_json_path::JsonPath,
}

impl JsonPath {
    /// Compiles it.
    ///
    /// # Errors
    /// When it is none.
    pub fn try_new(text: &str) -> Result<Self, serde_json_path::ParseError> {
        Ok(Self {
            text: text.to_owned(),
            path: serde_json_path::JsonPath::parse(text)?,
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl JsonPath {
    /// The first that it finds in `document`: a text as it is, anything else as compact JSON.
    pub fn first(&self, document: &serde_json::Value) -> Option<String> {
        self.path.query(document).first().map(said)
    }
}

fn said(node: &serde_json::Value) -> String {
    match node {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl JsonExpectation {
    /// What is wrong with `document`, in words; `None`: nothing.
    pub fn missing(&self, document: &serde_json::Value) -> Option<String> {
        let path = self.path.as_str();
        let found = self.path.path.query(document).all();
        if let JsonWants::Count(count) = &self.wants {
            let has = found.len();
            return (has != *count).then(|| format!("{path} finds {has}, expected {count}"));
        }
        if found.is_empty() {
            return Some(format!("{path} finds nothing"));
        }
        match &self.wants {
            JsonWants::Found | JsonWants::Count(_) => None,
            JsonWants::Equals(text) => {
                let other = found.iter().map(|node| said(node)).find(|is| is != text)?;
                Some(format!("{path} is {other:?}, expected {text:?}"))
            }
            JsonWants::Matches(pattern) => {
                let matches = |is: &String| pattern.is_match(is.as_bytes());
                let other = found
                    .iter()
                    .map(|node| said(node))
                    .find(|is| !matches(is))?;
                Some(format!(
                    "{path} is {other:?}, which /{}/ does not match",
                    pattern.as_str()
                ))
            }
        }
    }
}

/// What a resolver answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerExpectation {
    /// The response code is one of these, like `NOERROR`; empty is `NOERROR`.
    pub rcodes: Vec<String>,
    /// The data of each of these is among the answers.
    pub has: Vec<String>,
    /// Whether nothing else of the type that was asked for is among them.
    pub only: bool,
    /// Whether the server answers for its own zone (the AA flag).
    pub authoritative: Option<bool>,
    /// The time to live of every answer is at least this, in seconds.
    pub ttl_least: Option<u32>,
    /// And at most this.
    pub ttl_most: Option<u32>,
    /// Records of each section against regular expressions.
    pub records: Vec<RecordExpectation>,
    /// Whether an answer may be an old one that the resolver kept (extended errors 3 and 19, RFC 8914).
    pub may_be_stale: bool,
}

/// A section of a DNS message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsSection {
    /// Answers.
    Answer,
    /// Authorities.
    Authority,
    /// Additional records, without EDNS.
    Additional,
}

/// Which records of a section make a run fail.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordExpectation {
    /// The section.
    pub section: DnsSection,
    /// Which records, as a zone file writes them, with tabs between the fields.
    pub pattern: Pattern,
    /// When it fails.
    pub fails: RecordRule,
}

/// When records make a run fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordRule {
    /// Any of them matches.
    AnyMatches,
    /// All of them match.
    AllMatch,
    /// Any of them does not match.
    AnyDiffers,
    /// None of them matches.
    NoneMatches,
}

/// A status or a class of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses {
    /// The lowest.
    pub least: u16,
    /// The highest.
    pub most: u16,
}

impl Statuses {
    /// Any 2xx.
    pub const SUCCESS: Self = Self {
        least: 200,
        most: 299,
    };

    /// `200`, `2xx` or `200-204`.
    pub fn parse(text: &str) -> Option<Self> {
        let status = |text: &str| {
            let status: u16 = text.parse().ok()?;
            (text.len() == 3 && (100..=599).contains(&status)).then_some(status)
        };
        let (least, most) = if let Some((least, most)) = text.split_once('-') {
            (status(least)?, status(most)?)
        } else if let Some(class) = text.strip_suffix("xx") {
            let least = status(&format!("{class}00"))?;
            (least, least + 99)
        } else {
            (status(text)?, status(text)?)
        };
        (least <= most).then_some(Self { least, most })
    }

    /// Whether `status` is among them.
    pub const fn has(self, status: u16) -> bool {
        self.least <= status && status <= self.most
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, most } = *self;
        if least == most {
            write!(f, "{least}")
        } else if least % 100 == 0 && most == least + 99 {
            write!(f, "{}xx", least / 100)
        } else {
            write!(f, "{least}-{most}")
        }
    }
}

/// A regular expression over bytes.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles it.
    ///
    /// # Errors
    /// When it is none, or would take too much memory.
    pub fn try_new(text: &str) -> Result<Self, regex::Error> {
        Ok(Self(Regex::new(text)?))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// What it captures of `bytes`, put into `template` in the places of `${1}` and `${name}`; `None`: it does not match.
    pub fn expand(&self, bytes: &[u8], template: &str) -> Option<Vec<u8>> {
        let captures = self.0.captures(bytes)?;
        let mut expanded = Vec::new();
        captures.expand(template.as_bytes(), &mut expanded);
        Some(expanded)
    }

    /// What its first group captures of `bytes`, or all that it matches when it has none; `None`: it does not match.
    pub fn captured(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let captures = self.0.captures(bytes)?;
        let has_group = self.0.captures_len() > 1;
        Some(captures.get(has_group.into())?.as_bytes().to_vec())
    }

    /// Whether it matches somewhere in `bytes`. Takes time in proportion to them, whatever it is.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_one_a_class_or_a_range() {
        for (text, least, most) in [("204", 204, 204), ("3xx", 300, 399), ("200-206", 200, 206)] {
            let statuses = Statuses::parse(text).unwrap();
            assert_eq!((statuses.least, statuses.most), (least, most));
            assert_eq!(statuses.to_string(), text);
        }
        for text in ["", "20", "2x", "600", "xx", "204-200", "0200", "+20"] {
            assert_eq!(Statuses::parse(text), None, "{text}");
        }
    }
}
