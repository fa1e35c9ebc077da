//! Trees of YAML that keys are taken out of, and tables of TOML that they go into.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A dollar sign begins a variable in a file of probes.
pub(super) fn escaped(text: &str) -> String {
    text.replace('$', "$$")
}

/// A scalar as it is written.
pub(super) fn said(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A table's lines under construction.
#[derive(Debug)]
pub(super) struct Writing {
    table: &'static str,
    pub(super) lines: Vec<(String, toml::Value)>,
    /// What could not be carried over.
    pub(super) left: Vec<String>,
}

impl Writing {
    /// A table of the array `table`.
    pub(super) const fn new(table: &'static str) -> Self {
        Self {
            table,
            lines: Vec::new(),
            left: Vec::new(),
        }
    }

    pub(super) fn put(&mut self, key: &str, value: impl Into<toml::Value>) {
        let value = match value.into() {
            toml::Value::String(text) => toml::Value::String(escaped(&text)),
            toml::Value::Array(items) => {
                let items = items.into_iter().map(|item| match item {
                    toml::Value::String(text) => toml::Value::String(escaped(&text)),
                    other => other,
                });
                toml::Value::Array(items.collect())
            }
            other => other,
        };
        self.lines.push((key.to_owned(), value));
    }

    /// A text whose variables are meant.
    pub(super) fn put_open(&mut self, key: &str, text: &str) {
        self.lines.push((key.to_owned(), text.into()));
    }

    /// Texts whose variables are meant.
    pub(super) fn put_open_list(&mut self, key: &str, list: Vec<String>) {
        if !list.is_empty() {
            self.lines.push((key.to_owned(), list.into()));
        }
    }

    pub(super) fn put_list(&mut self, key: &str, mut list: Vec<String>) {
        // Twice the same says nothing, and is refused.
        let mut seen = std::collections::HashSet::new();
        list.retain(|item| seen.insert(item.clone()));
        if !list.is_empty() {
            self.put(key, list);
        }
    }

    pub(super) fn leave(&mut self, key: &str, why: &str) {
        self.left.push(format!("{key}: {why}"));
    }

    pub(super) fn finish(&self) -> String {
        let lines = self
            .lines
            .iter()
            .map(|(key, value)| format!("{key} = {}\n", written(value)));
        format!("[[{}]]\n{}", self.table, lines.collect::<String>())
    }
}

/// A value on one line.
fn written(value: &toml::Value) -> String {
    match value {
        // A JSON string is one of TOML, which also wants this character escaped.
        toml::Value::String(text) => Value::from(text.as_str())
            .to_string()
            .replace('\u{7f}', "\\u007f"),
        toml::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(written).collect();
            format!("[{}]", items.join(", "))
        }
        toml::Value::Table(table) => {
            let keys = table
                .iter()
                .map(|(key, value)| format!("{key} = {}", written(value)));
            format!("{{ {} }}", keys.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// A table of YAML that keys are taken out of.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) path: String,
    keys: BTreeMap<String, Value>,
}

impl Tree {
    pub(super) fn new(path: &str, value: &Value) -> Self {
        let empty = Map::new();
        let keys = value.as_object().unwrap_or(&empty);
        Self {
            path: path.to_owned(),
            keys: keys
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        }
    }

    fn take<T>(&mut self, key: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let read = read(self.keys.get(key)?)?;
        self.keys.remove(key);
        Some(read)
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.take(key, |value| match value {
            Value::String(_) | Value::Number(_) => Some(said(value)),
            _ => None,
        })
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        // Where a flag is wanted, these words are flags as well; elsewhere they are texts.
        self.take(key, |value| match value.as_str() {
            None => value.as_bool(),
            Some("yes" | "on") => Some(true),
            Some("no" | "off") => Some(false),
            Some(_) => None,
        })
    }

    pub(super) fn list(&mut self, key: &str) -> Option<Vec<Value>> {
        self.take(key, |value| value.as_array().cloned())
    }

    /// A table below; empty when there is none.
    pub(super) fn table(&mut self, key: &str) -> Self {
        let found = self.take(key, |value| value.is_object().then(|| value.clone()));
        Self::new(
            &format!("{}{key}.", self.path),
            &found.unwrap_or(Value::Null),
        )
    }

    pub(super) fn map(self) -> BTreeMap<String, Value> {
        self.keys
    }

    /// What nobody took, in words. What is null says nothing.
    pub(super) fn rest(&self) -> Vec<String> {
        let left = self.keys.iter().filter(|(_, value)| !value.is_null());
        left.map(|(key, _)| format!("{}{key}: there is nothing like it here", self.path))
            .collect()
    }
}
