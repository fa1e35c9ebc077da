//! What a section may hold: what asking for its keys leaves behind in notes.

use serde_json::Value;

/// What a section may hold.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) entries: Vec<Entry>,
    pub(super) rules: Vec<Rule>,
}

/// One key of a section.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: &'static str,
    /// Sentences of Markdown.
    pub(super) doc: &'static str,
    pub(super) presence: Presence,
    pub(super) shape: Shape,
}

/// Whether a key must be there, and what holds when it is not.
#[derive(Debug)]
pub(super) enum Presence {
    Required,
    /// This value, as TOML.
    Default(String),
    /// What happens then, in words.
    Otherwise(&'static str),
}

/// What stands behind a key.
#[derive(Debug)]
pub(super) enum Shape {
    /// One value: what is expected, and its JSON Schema.
    Value { expects: String, schema: Value },
    /// A list of at most so many values, none twice.
    List {
        expects: String,
        schema: Value,
        most: usize,
    },
    /// A table.
    Table(Outline),
    /// An array of tables.
    Tables {
        outline: Outline,
        least: usize,
        most: usize,
    },
}

/// A relation between two keys of a section.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// Not both.
    AtMostOne(&'static str, &'static str),
    /// `key` belongs to exactly this `value` of the key `of`: it must be there with it and not without.
    OnlyWith {
        key: &'static str,
        of: &'static str,
        value: &'static str,
    },
}

impl Outline {
    pub(super) fn add(
        &mut self,
        key: &'static str,
        doc: &'static str,
        presence: Presence,
        shape: Shape,
    ) {
        self.entries.push(Entry {
            key,
            doc,
            presence,
            shape,
        });
    }
}
