//! The JSON Schema of the file, for editors.

use serde_json::{Map, Value, json};

use super::file::File;
use super::keys::outline;
use super::outline::{Entry, Outline, Presence, Rule, Shape};

/// The JSON Schema (draft 2020-12) of `vestibule.toml`.
///
/// It is as strict as a schema can be; names that refer to each other, files and the like are `vestibule check`'s.
pub fn schema() -> Value {
    let mut schema = table(&outline::<File>());
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "vestibule.toml",
        "description": "The configuration of Vestibule.",
    });
    merge(&mut schema, head);
    schema
}

fn table(outline: &Outline) -> Value {
    let required: Vec<_> = outline
        .entries
        .iter()
        .filter(|entry| matches!(entry.presence, Presence::Required))
        .map(|entry| entry.key)
        .collect();
    let properties: Map<_, _> = outline
        .entries
        .iter()
        .map(|entry| (entry.key.to_owned(), property(entry)))
        .collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        merge(&mut schema, json!({ "required": required }));
    }
    let rules: Vec<_> = outline.rules.iter().map(rule).collect();
    if !rules.is_empty() {
        merge(&mut schema, json!({ "allOf": rules }));
    }
    schema
}

fn property(entry: &Entry) -> Value {
    let mut property = match &entry.shape {
        Shape::Value { schema, .. } => schema.clone(),
        Shape::List { schema, most, .. } => json!({
            "type": "array",
            "items": schema,
            "maxItems": most,
            "uniqueItems": true,
        }),
        Shape::Table(outline) => table(outline),
        Shape::Tables {
            outline,
            least,
            most,
        } => json!({
            "type": "array",
            "items": table(outline),
            "minItems": least,
            "maxItems": most,
        }),
    };
    merge(&mut property, json!({ "description": description(entry) }));
    if let Presence::Default(default) = &entry.presence {
        merge(&mut property, json!({ "default": from_toml(default) }));
    }
    property
}

fn description(entry: &Entry) -> String {
    let doc = entry.doc;
    match (&entry.shape, &entry.presence) {
        (Shape::Value { expects, .. }, presence) => {
            let otherwise = match presence {
                Presence::Otherwise(otherwise) => format!(" Without it: {otherwise}."),
                Presence::Required | Presence::Default(_) => String::new(),
            };
            format!("{doc} Expects {expects}.{otherwise}")
        }
        (Shape::List { expects, .. }, Presence::Otherwise(otherwise)) => {
            format!("{doc} Expects a list; each item is {expects}. Without it: {otherwise}.")
        }
        (Shape::List { .. } | Shape::Table(_) | Shape::Tables { .. }, _) => doc.to_owned(),
    }
}

fn rule(rule: &Rule) -> Value {
    match rule {
        Rule::AtMostOne(first, second) => json!({ "not": { "required": [first, second] } }),
        Rule::OnlyWith { key, of, value } => json!({
            "if": { "properties": { *of: { "const": value } }, "required": [of] },
            "then": { "required": [key] },
            // A variable may turn out to be the value.
            "else": {
                "if": { "properties": { *of: { "pattern": r"\$\{" } } },
                "else": { "properties": { *key: false } },
            },
        }),
    }
}

/// A default as the reference prints it, as JSON.
fn from_toml(literal: &str) -> Value {
    let value: toml::Value = literal.parse().expect("a kind writes its values as TOML");
    serde_json::to_value(value).expect("scalars are JSON as well")
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}
