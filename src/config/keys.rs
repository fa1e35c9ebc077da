//! Reading a table key by key, and knowing afterwards everything there was to know about it.
//!
//! A [`Section`] is read by asking for each of its keys with its kind, its default and its documentation. That one
//! function is the definition of the section: what it asks for is what the file may hold, so a key never asked for is
//! an unknown one; and asking an empty table, with somebody taking notes, yields the [`Outline`] that the JSON Schema
//! and the reference are written from.
//!
//! Nothing here stops at the first mistake. A value that is refused is reported and then absent.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::code::Code;
use super::expand::{ExpandError, expand};
use super::finding::{Finding, Findings, Span, did_you_mean};
use super::kind::{Kind, Refusal, Scalar};
use super::outline::{Outline, Presence, Rule, Shape};

/// A table of the file.
pub(super) trait Section: Sized {
    /// What the table is called in messages.
    const TITLE: &'static str;

    /// Asks for every key the table has.
    fn read(keys: &mut Keys<'_, '_>) -> Self;
}

/// A value and where it stands. A default stands where its table begins.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// One table of an array of tables.
#[derive(Clone, Debug)]
pub(super) struct Item<T> {
    pub(super) value: T,
    /// Its header.
    pub(super) span: Span,
    /// Whether everything in it could be read.
    pub(super) sound: bool,
}

/// What is shared by everything read from one file.
pub(super) struct Reading<'a> {
    pub(super) text: &'a str,
    /// What is read in the place of a table that is not there.
    pub(super) nothing: &'a DeTable<'a>,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) findings: Findings,
}

/// Reads the document's root table.
pub(super) fn read<'a, S: Section>(root: &'a DeTable<'a>, reading: &mut Reading<'a>) -> S {
    Keys::new(root, 0..0, reading).finish()
}

/// Everything `S` would ask for.
pub(super) fn outline<S: Section>() -> Outline {
    let nothing = DeTable::new();
    let mut reading = Reading {
        text: "",
        nothing: &nothing,
        env: &|_| None,
        findings: Findings::default(),
    };
    let mut keys = Keys::new(&nothing, 0..0, &mut reading);
    keys.notes = Some(Outline::default());
    S::read(&mut keys);
    keys.notes.unwrap_or_default()
}

/// A table being read.
pub(super) struct Keys<'a, 'r> {
    table: &'a DeTable<'a>,
    header: Span,
    asked: Vec<&'static str>,
    reading: &'r mut Reading<'a>,
    /// Taken only while the outline is made.
    notes: Option<Outline>,
}

/// What a key turned out to be.
enum Answer<T> {
    Absent,
    Given(Located<T>),
    Refused,
}

impl<'a, 'r> Keys<'a, 'r> {
    fn new(table: &'a DeTable<'a>, header: Span, reading: &'r mut Reading<'a>) -> Self {
        Self {
            table,
            header,
            asked: Vec::new(),
            reading,
            notes: None,
        }
    }

    /// Where the table is written; `None`: it is not, and all its defaults hold.
    pub(super) fn written(&self) -> Option<Span> {
        (!std::ptr::eq(self.table, self.reading.nothing)).then(|| self.header.clone())
    }

    fn finish<S: Section>(mut self) -> S {
        let section = S::read(&mut self);
        self.refuse_unasked(S::TITLE);
        section
    }

    /// A value that must be there.
    pub(super) fn required<K: Kind>(
        &mut self,
        key: &'static str,
        kind: &K,
        doc: &'static str,
    ) -> Option<Located<K::Value>> {
        self.note_value(key, kind, Presence::Required, doc);
        match self.answer(key, kind) {
            Answer::Given(value) => Some(value),
            Answer::Refused => None,
            Answer::Absent => {
                let message = format!("`{key}` is missing");
                let finding = Finding::new(Code::MissingKey, self.header.clone(), message)
                    .reason("in this table")
                    .help(format!("add `{key}`: {}", kind.expects()));
                self.reading.findings.add(finding);
                None
            }
        }
    }

    /// A value that something else stands in for, as `otherwise` says, when it is not there.
    pub(super) fn optional<K: Kind>(
        &mut self,
        key: &'static str,
        kind: &K,
        otherwise: &'static str,
        doc: &'static str,
    ) -> Option<Located<K::Value>> {
        self.note_value(key, kind, Presence::Otherwise(otherwise), doc);
        match self.answer(key, kind) {
            Answer::Given(value) => Some(value),
            Answer::Absent | Answer::Refused => None,
        }
    }

    /// A value, or `default`.
    pub(super) fn or<K: Kind>(
        &mut self,
        key: &'static str,
        kind: &K,
        default: K::Value,
        doc: &'static str,
    ) -> Located<K::Value> {
        self.note_value(key, kind, Presence::Default(kind.write(&default)), doc);
        match self.answer(key, kind) {
            Answer::Given(value) => value,
            Answer::Absent | Answer::Refused => Located {
                value: default,
                span: self.header.clone(),
            },
        }
    }

    /// At most `most` values, none of them twice; empty means what `otherwise` says.
    pub(super) fn list<K: Kind>(
        &mut self,
        key: &'static str,
        kind: &K,
        most: usize,
        otherwise: &'static str,
        doc: &'static str,
    ) -> Vec<Located<K::Value>> {
        if let Some(notes) = &mut self.notes {
            let shape = Shape::List {
                expects: kind.expects(),
                schema: kind.schema(),
                most,
            };
            notes.add(key, doc, Presence::Otherwise(otherwise), shape);
        }
        let Some(value) = self.ask(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            self.refuse_type(key, value, &format!("a list, each item {}", kind.expects()));
            return Vec::new();
        };
        self.refuse_too_many(key, &value.span(), items.len(), most);
        let mut values: Vec<Located<K::Value>> = Vec::new();
        for item in items.iter().take(most) {
            let Some(read) = self.scalar(key, item, kind) else {
                continue;
            };
            if let Some(first) = values.iter().find(|other| other.value == read.value) {
                let finding = Finding::new(
                    Code::Duplicate,
                    read.span.clone(),
                    format!("{} is in `{key}` twice", kind.write(&read.value)),
                )
                .reason("again here")
                .also(first.span.clone(), "first here");
                self.reading.findings.add(finding);
            } else {
                values.push(read);
            }
        }
        values
    }

    /// A table; with all its defaults when it is not there.
    pub(super) fn table<S: Section>(&mut self, key: &'static str, doc: &'static str) -> S {
        if let Some(notes) = &mut self.notes {
            let presence = Presence::Otherwise("all its defaults");
            notes.add(key, doc, presence, Shape::Table(outline::<S>()));
        }
        if let Some(value) = self.ask(key) {
            if let DeValue::Table(table) = value.get_ref() {
                return Keys::new(table, value.span(), self.reading).finish();
            }
            self.refuse_type(key, value, "a table");
        }
        Keys::new(self.reading.nothing, self.header.clone(), self.reading).finish()
    }

    /// An array of `least` to `most` tables.
    pub(super) fn tables<S: Section>(
        &mut self,
        key: &'static str,
        least: usize,
        most: usize,
        doc: &'static str,
    ) -> Vec<Item<S>> {
        if let Some(notes) = &mut self.notes {
            let presence = if least > 0 {
                Presence::Required
            } else {
                Presence::Otherwise("none")
            };
            let outline = outline::<S>();
            notes.add(
                key,
                doc,
                presence,
                Shape::Tables {
                    outline,
                    least,
                    most,
                },
            );
        }
        let value = self.ask(key);
        let span = value.map_or_else(|| self.header.clone(), Spanned::span);
        let items = match value.map(|value| (value, value.get_ref())) {
            None => &[][..],
            Some((_, DeValue::Array(items))) => items,
            Some((value, _)) => {
                self.refuse_type(key, value, &format!("`[[{key}]]` tables"));
                return Vec::new();
            }
        };
        if items.len() < least {
            let message = format!("there is no `[[{key}]]`");
            // The document itself has no header to point at.
            let finding = if span.is_empty() {
                Finding::about_the_file(Code::MissingKey, message)
            } else {
                Finding::new(Code::MissingKey, span, message).reason("in this table")
            };
            let finding = finding.help(format!("add a `[[{key}]]` table"));
            self.reading.findings.add(finding);
            return Vec::new();
        }
        self.refuse_too_many(key, &span, items.len(), most);
        let mut sections = Vec::with_capacity(items.len().min(most));
        for item in items.iter().take(most) {
            let DeValue::Table(table) = item.get_ref() else {
                self.refuse_type(key, item, "a table");
                continue;
            };
            let errors = self.reading.findings.errors();
            let value = Keys::new(table, item.span(), self.reading).finish();
            sections.push(Item {
                value,
                span: item.span(),
                sound: self.reading.findings.errors() == errors,
            });
        }
        sections
    }

    /// Holds the table to a relation between two keys that were asked for.
    pub(super) fn rule(&mut self, rule: Rule) {
        if let Some(notes) = &mut self.notes {
            notes.rules.push(rule);
        }
        match rule {
            Rule::AtMostOne(first, second) => {
                let (Some(first_span), Some(second_span)) =
                    (self.key_span(first), self.key_span(second))
                else {
                    return;
                };
                let message = format!("`{first}` and `{second}` exclude each other");
                let finding = Finding::new(Code::Conflict, second_span, message)
                    .reason(format!("`{second}` here"))
                    .also(first_span, format!("`{first}` here"))
                    .help("keep one of them");
                self.reading.findings.add(finding);
            }
            Rule::OnlyWith { key, of, value } => {
                let Some(found) = self.text(of) else {
                    return;
                };
                match (self.key_span(key), found == value) {
                    (Some(span), false) => {
                        let message = format!("`{key}` only goes with `{of} = \"{value}\"`");
                        let finding = Finding::new(Code::Conflict, span, message)
                            .reason(format!("`{of}` is \"{found}\""))
                            .help(format!("leave `{key}` out, or set `{of} = \"{value}\"`"));
                        self.reading.findings.add(finding);
                    }
                    (None, true) => {
                        let message = format!("`{key}` is missing");
                        let finding = Finding::new(Code::MissingKey, self.header.clone(), message)
                            .reason(format!("`{of} = \"{value}\"` needs it"))
                            .help(format!("add `{key}`"));
                        self.reading.findings.add(finding);
                    }
                    (Some(_), true) | (None, false) => {}
                }
            }
        }
    }

    fn note_value<K: Kind>(
        &mut self,
        key: &'static str,
        kind: &K,
        presence: Presence,
        doc: &'static str,
    ) {
        if let Some(notes) = &mut self.notes {
            let shape = Shape::Value {
                expects: kind.expects(),
                schema: kind.schema(),
            };
            notes.add(key, doc, presence, shape);
        }
    }

    fn ask(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.table.get(key)
    }

    fn answer<K: Kind>(&mut self, key: &'static str, kind: &K) -> Answer<K::Value> {
        match self.ask(key) {
            None => Answer::Absent,
            Some(value) => match self.scalar(key, value, kind) {
                Some(read) => Answer::Given(read),
                None => Answer::Refused,
            },
        }
    }

    fn scalar<K: Kind>(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        kind: &K,
    ) -> Option<Located<K::Value>> {
        let span = value.span();
        let read = match value.get_ref() {
            DeValue::String(text) => match expand(text, self.reading.env) {
                Ok(text) => kind.read(Scalar::Text(&text)),
                Err(error) => {
                    self.refuse_variable(&span, &error);
                    return None;
                }
            },
            DeValue::Integer(number) => kind.read(Scalar::Integer(number.as_str(), number.radix())),
            DeValue::Float(number) => kind.read(Scalar::Float(number.as_str())),
            DeValue::Boolean(flag) => kind.read(Scalar::Flag(*flag)),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                self.refuse_type(key, value, &kind.expects());
                return None;
            }
        };
        match read {
            Ok(value) => Some(Located { value, span }),
            Err(Refusal {
                code,
                message,
                help,
            }) => {
                let message = match code {
                    Code::WrongType => format!("`{key}` cannot be {message}"),
                    _ => message,
                };
                let finding = Finding::new(code, span, message)
                    .reason(format!("expected {}", kind.expects()))
                    .maybe_help(help);
                self.reading.findings.add(finding);
                None
            }
        }
    }

    /// The text of a key that is a string, variables replaced.
    fn text(&self, key: &str) -> Option<String> {
        let text = self.table.get(key)?.get_ref().as_str()?;
        Some(expand(text, self.reading.env).ok()?.into_owned())
    }

    /// Where `key` is written, if it is.
    pub(super) fn key_span(&self, key: &str) -> Option<Span> {
        Some(self.table.get_key_value(key)?.0.span())
    }

    fn refuse_type(&mut self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        let message = format!("`{key}` cannot be {found}");
        let finding = Finding::new(Code::WrongType, value.span(), message)
            .reason(format!("expected {expected}"));
        self.reading.findings.add(finding);
    }

    fn refuse_too_many(&mut self, key: &str, span: &Span, found: usize, most: usize) {
        if found > most {
            let message = format!("{found} `{key}` are too many");
            let finding = Finding::new(Code::TooMany, span.clone(), message)
                .reason(format!("at most {most}"));
            self.reading.findings.add(finding);
        }
    }

    fn refuse_variable(&mut self, value: &Span, error: &ExpandError) {
        // Narrowed to the variable, unless the string is written with escapes and so cannot be searched.
        let source = self.reading.text.get(value.clone()).unwrap_or_default();
        let within = |needle: &str, length: usize| match source.find(needle) {
            Some(at) => value.start + at..value.start + at + length,
            None => value.clone(),
        };
        let finding = match error {
            ExpandError::Malformed => {
                let message = "this `${…}` is not a variable";
                Finding::new(Code::Variable, value.clone(), message)
                    .help("write ${NAME} or ${NAME:-default}; a plain dollar sign is $$")
            }
            ExpandError::Unset(name) => {
                let (start, message) = (
                    format!("${{{name}"),
                    format!("the environment variable `{name}` is not set"),
                );
                Finding::new(Code::VariableUnset, within(&start, start.len()), message)
                    .reason("and it has no default here")
                    .help(format!("set it, or write ${{{name}:-default}}"))
            }
        };
        self.reading.findings.add(finding);
    }

    fn refuse_unasked(&mut self, title: &str) {
        for (key, _) in self.table {
            let name = key.get_ref();
            if self.asked.iter().any(|asked| asked == name) {
                continue;
            }
            let message = format!("`{name}` is not a key of {title}");
            let mut finding = Finding::new(Code::UnknownKey, key.span(), message).reason("unknown");
            if self.reading.findings.has_room() {
                let help = match did_you_mean(name, self.asked.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("it takes {}", listed(&self.asked)),
                };
                finding = finding.help(help);
            }
            self.reading.findings.add(finding);
        }
    }
}

fn listed(keys: &[&str]) -> String {
    let quoted: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    quoted.join(", ")
}
