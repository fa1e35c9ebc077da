//! What a key's value may be. Each kind reads, writes and describes itself, so that the parser, the JSON Schema and the
//! reference cannot disagree.

use std::fmt::Display;

use serde_json::{Value, json};

use super::code::Code;
use super::finding::did_you_mean;

mod expectation;
mod quantity;
mod text;

pub(super) use expectation::{
    CAPTURE, DOMAIN, FAILURE, FIELD_NAME, HEADER, HEADER_PATTERN, HEADER_TEXT, IP, JSON_PATH,
    MAINTENANCE, PATTERN, RCODE, RECORD_TYPE, SHARE, STATUSES, STEP_TARGET, TARGET, TEXT,
};
pub(super) use quantity::{
    BurnRate, Count, Promised, Promising, Ratio, Size, Spanning, Time, burn_text, time_text,
};
pub(super) use text::{
    ACCESS_LOG, ADDRESS, ATTRIBUTE, BUDGET_SHARE, CLIENT_ERRORS, CONTACT, ENDPOINT, EXACT_PATH,
    FILE, FOLDER_NAME, HASH_KEY, HEADER_CONDITION, HEADER_LINE, HEADER_NAME, HEADER_PAIR, HOST,
    LIMIT_KEY, LINT, LOOPBACK, METHOD, NAME, NETWORK, OBJECTIVE, OWNER, PATH_PREFIX, PATH_REGEX,
    PERCENT, QUERY_CONDITION, RATE, RECEIVER, ReceiverUrl, SERVER_NAME, SERVICE, VARIABLE,
    WEB_PAGE, ZONE, read_header, read_receiver,
};

/// A scalar as the file has it, variables replaced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar<'a> {
    Text(&'a str),
    /// Digits, perhaps with a sign, in this radix.
    Integer(&'a str, u32),
    /// As written, underscores removed.
    Float(&'a str),
    Flag(bool),
}

/// Why a scalar is not of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    /// What is wrong; for [`Code::WrongType`] only what was found instead.
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Refusal {
    fn new(code: Code, message: impl Display) -> Self {
        Self {
            code,
            message: message.to_string(),
            help: None,
        }
    }

    fn invalid(message: impl Display) -> Self {
        Self::new(Code::InvalidValue, message)
    }

    fn help(mut self, help: impl Display) -> Self {
        self.help = Some(help.to_string());
        self
    }

    /// A scalar of another TOML type than `kind` takes.
    fn wrong_type(found: Scalar<'_>, kind: &impl Kind) -> Self {
        let found_string = matches!(found, Scalar::Text(_));
        let found = match found {
            Scalar::Text(_) => "a string",
            Scalar::Integer(..) => "an integer",
            Scalar::Float(_) => "a float",
            Scalar::Flag(_) => "a boolean",
        };
        let refusal = Self::new(Code::WrongType, found);
        match (found_string, kind.is_string()) {
            (true, false) => refusal.help("write it without quotes"),
            (false, true) => refusal.help("write it in quotes"),
            (true, true) | (false, false) => refusal,
        }
    }
}

/// A kind of value.
pub(super) trait Kind {
    type Value: PartialEq;

    /// Completes "expected …".
    fn expects(&self) -> String;
    /// What a JSON Schema says about it, without description and default.
    fn schema(&self) -> Value;
    /// Whether it is written as a TOML string.
    fn is_string(&self) -> bool {
        true
    }
    fn read(&self, scalar: Scalar<'_>) -> Result<Self::Value, Refusal>;
    /// `value` as TOML. Read again, it gives the same value.
    fn write(&self, value: &Self::Value) -> String;
}

/// A string schema. In an editor nobody knows what a variable holds, so a `${…}` satisfies any pattern.
fn string_schema(pattern: Option<&str>) -> Value {
    match pattern {
        Some(pattern) => {
            json!({ "type": "string", "pattern": format!(r"^({pattern})$|\$\{{") })
        }
        None => json!({ "type": "string" }),
    }
}

fn quoted(text: impl Display) -> String {
    toml::Value::String(text.to_string()).to_string()
}

// === Flag ===

/// `true` or `false`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag;

impl Kind for Flag {
    type Value = bool;

    fn expects(&self) -> String {
        "`true` or `false`".to_owned()
    }

    fn schema(&self) -> Value {
        json!({ "type": "boolean" })
    }

    fn is_string(&self) -> bool {
        false
    }

    fn read(&self, scalar: Scalar<'_>) -> Result<bool, Refusal> {
        match scalar {
            Scalar::Flag(flag) => Ok(flag),
            other => Err(Refusal::wrong_type(other, self)),
        }
    }

    fn write(&self, value: &bool) -> String {
        value.to_string()
    }
}

// === Word ===

/// One of a few words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Word<T> {
    fn words(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(word, _)| *word)
    }
}

impl<T: Copy + PartialEq> Kind for Word<T> {
    type Value = T;

    fn expects(&self) -> String {
        let words: Vec<_> = self.words().map(|word| format!("`{word}`")).collect();
        match words.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        }
    }

    fn schema(&self) -> Value {
        let words: Vec<_> = self.words().collect();
        json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": r"\$\{" }] })
    }

    fn read(&self, scalar: Scalar<'_>) -> Result<T, Refusal> {
        let Scalar::Text(text) = scalar else {
            return Err(Refusal::wrong_type(scalar, self));
        };
        self.0
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let refusal = Refusal::invalid(format!("`{text}` is not {}", self.expects()));
                match did_you_mean(text, self.words()) {
                    Some(meant) => refusal.help(format!("did you mean \"{meant}\"?")),
                    None => refusal,
                }
            })
    }

    fn write(&self, value: &T) -> String {
        self.0
            .iter()
            .find(|(_, other)| other == value)
            .map(|(word, _)| quoted(word))
            .unwrap_or_default()
    }
}
