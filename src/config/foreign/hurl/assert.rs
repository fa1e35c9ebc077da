//! What is asserted and captured, in our words.

use super::super::table::{Writing, escaped};
use crate::probe::definition::Template;

/// What a step expects.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) statuses: Vec<String>,
    pub(super) body_matches: Vec<String>,
    least_status: Option<u16>,
    most_status: Option<u16>,
    headers: Vec<String>,
    header_matches: Vec<String>,
    body: Vec<String>,
    body_lacks: Vec<String>,
    json: Vec<toml::Table>,
    versions: Vec<String>,
    under_ms: Option<u64>,
}

/// A value as it is written: a text, or a number or a word.
struct Value {
    text: String,
    rest: String,
}

/// `"text"`, `/pattern/`, or a word; and what follows.
fn value(text: &str) -> Option<Value> {
    let text = text.trim_start();
    let mut chars = text.chars();
    let quote = chars.next()?;
    if quote != '"' && quote != '/' {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (word, rest) = text.split_at_checked(end)?;
        return Some(Value {
            text: word.to_owned(),
            rest: rest.trim().to_owned(),
        });
    }
    let mut out = String::new();
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => {
                return Some(Value {
                    text: out,
                    rest: chars.as_str().trim().to_owned(),
                });
            }
            '\\' => match (quote, chars.next()?) {
                ('"', 'n') => out.push('\n'),
                ('"', 't') => out.push('\t'),
                ('"', 'r') => out.push('\r'),
                ('"', other) | ('/', other @ '/') => out.push(other),
                (_, other) => out.extend(['\\', other]),
            },
            c => out.push(c),
        }
    }
    None
}

/// A value as a part of a regular expression; `None`: a captured value cannot be one.
fn literal(text: &str) -> Option<String> {
    Template(text)
        .names()
        .next()
        .is_none()
        .then(|| regex::escape(text))
}

/// What is predicated: a pattern over all of a text, when it can be one.
fn pattern(predicate: &str, wanted: &str) -> Option<String> {
    Some(match predicate {
        "==" => format!("^{}$", literal(wanted)?),
        "contains" => literal(wanted)?,
        "startsWith" => format!("^{}", literal(wanted)?),
        "endsWith" => format!("{}$", literal(wanted)?),
        "matches" => wanted.to_owned(),
        _ => return None,
    })
}

impl Expected {
    /// Takes an assertion; `None`: there is nothing like it here.
    pub(super) fn take(&mut self, line: &str) -> Option<()> {
        let (query, rest) = line.split_once(char::is_whitespace)?;
        match query {
            "status" => self.status(rest.trim()),
            "duration" => {
                let (predicate, wanted) = rest.trim().split_once(char::is_whitespace)?;
                let ms: u64 = wanted.trim().parse().ok()?;
                let ms = match predicate {
                    "<" | "<=" => ms,
                    _ => return None,
                };
                self.under_ms = Some(self.under_ms.map_or(ms, |other| other.min(ms)));
                Some(())
            }
            "version" => {
                let wanted = value(rest.trim().strip_prefix("==")?)?.text;
                let version = if wanted == "2" || wanted == "2.0" {
                    "2"
                } else {
                    &wanted
                };
                self.versions.push(version.to_owned());
                Some(())
            }
            "header" => {
                let name = value(rest)?;
                if name.rest == "exists" {
                    self.headers.push(format!("{}:", name.text));
                    return Some(());
                }
                let (predicate, wanted) = name.rest.split_once(char::is_whitespace)?;
                let wanted = value(wanted)?;
                let mut left = Vec::new();
                self.header(&name.text, predicate, &wanted.text, &mut left);
                (left.is_empty() && wanted.rest.is_empty()).then_some(())
            }
            "jsonpath" => {
                let path = value(rest)?;
                self.json(&path.text, &path.rest)
            }
            "body" => {
                let rest = rest.trim();
                if let Some(rest) = rest.strip_prefix("not contains") {
                    self.body_lacks.push(value(rest)?.text);
                    return Some(());
                }
                let (predicate, wanted) = rest.split_once(char::is_whitespace)?;
                let wanted = value(wanted)?;
                match predicate {
                    _ if !wanted.rest.is_empty() => return None,
                    "contains" => self.body.push(wanted.text),
                    _ => self.body_matches.push(pattern(predicate, &wanted.text)?),
                }
                Some(())
            }
            _ => None,
        }
    }

    fn status(&mut self, rest: &str) -> Option<()> {
        let (predicate, wanted) = rest.split_once(char::is_whitespace)?;
        let wanted: u16 = wanted
            .trim()
            .parse()
            .ok()
            .filter(|it| (101..=598).contains(it))?;
        let (least, most) = match predicate {
            "==" => {
                self.statuses.push(wanted.to_string());
                return Some(());
            }
            "<" => (100, wanted - 1),
            "<=" => (100, wanted),
            ">" => (wanted + 1, 599),
            ">=" => (wanted, 599),
            _ => return None,
        };
        self.least_status = Some(self.least_status.map_or(least, |it| it.max(least)));
        self.most_status = Some(self.most_status.map_or(most, |it| it.min(most)));
        Some(())
    }

    /// What is expected of a header.
    pub(super) fn header(
        &mut self,
        name: &str,
        predicate: &str,
        wanted: &str,
        left: &mut Vec<String>,
    ) {
        match pattern(predicate, wanted) {
            Some(text) if predicate == "contains" && text == wanted => {
                self.headers.push(format!("{name}: {wanted}"));
            }
            Some(pattern) => self.header_matches.push(format!("{name}: {pattern}")),
            None if matches!(predicate, "==" | "contains") => {
                // With a captured value, at least that it is in there.
                self.headers.push(format!("{name}: {wanted}"));
            }
            None => left.push(format!(
                "header {name} {predicate}: there is nothing like it here"
            )),
        }
    }

    fn json(&mut self, path: &str, rest: &str) -> Option<()> {
        let mut table = toml::Table::new();
        let put = |table: &mut toml::Table, key: &str, value: toml::Value| {
            table.insert(key.to_owned(), value);
        };
        put(&mut table, "path", escaped(path).into());
        if rest == "not exists" {
            put(&mut table, "count", 0.into());
        } else if let Some(count) = rest.strip_prefix("count ==") {
            let count: i64 = count.trim().parse().ok()?;
            let all = if path.ends_with(']') {
                path.to_owned()
            } else {
                format!("{path}[*]")
            };
            put(&mut table, "path", escaped(&all).into());
            put(&mut table, "count", count.into());
        } else if rest != "exists" {
            let (predicate, wanted) = rest.split_once(char::is_whitespace)?;
            let wanted = value(wanted)?;
            if !wanted.rest.is_empty() {
                return None;
            }
            if predicate == "==" {
                put(&mut table, "equals", wanted.text.into());
            } else {
                put(
                    &mut table,
                    "matches",
                    escaped(&pattern(predicate, &wanted.text)?).into(),
                );
            }
        }
        self.json.push(table);
        Some(())
    }

    /// Writes all of it; `open` makes variables of values that nobody captured.
    pub(super) fn write(mut self, open: &dyn Fn(&str) -> String, out: &mut Writing) {
        if let (Some(least), Some(most)) = (self.least_status, self.most_status) {
            // What was asked for by number is among them, or contradicts them.
            self.statuses.retain(|status| status != "100-599");
            if self.statuses.is_empty() {
                self.statuses.push(format!("{least}-{most}"));
            }
        }
        out.put_list("expect.status", self.statuses);
        out.put_open_list(
            "expect.headers",
            self.headers.iter().map(|it| open(it)).collect(),
        );
        out.put_list("expect.header_matches", self.header_matches);
        out.put_open_list("expect.body", self.body.iter().map(|it| open(it)).collect());
        out.put_list("expect.body_lacks", self.body_lacks);
        out.put_list("expect.body_matches", self.body_matches);
        out.put_list("expect.http_version", self.versions);
        if let Some(under) = self.under_ms {
            out.put("expect.under", format!("{under}ms"));
        }
        if !self.json.is_empty() {
            let tables = self.json.into_iter().map(|mut table| {
                if let Some(toml::Value::String(text)) = table.get_mut("equals") {
                    *text = open(text);
                }
                toml::Value::Table(table)
            });
            out.lines.push((
                "expect.json".to_owned(),
                toml::Value::Array(tables.collect()),
            ));
        }
    }
}

/// What is captured, as a table; `None`: there is nothing like it here.
pub(super) fn capture(name: &str, query: &str) -> Option<toml::Table> {
    let (kind, rest) = query.split_once(char::is_whitespace)?;
    let mut table = toml::Table::new();
    table.insert("name".to_owned(), name.into());
    let mut put = |key: &str, text: &str| {
        table.insert(key.to_owned(), escaped(text).into());
    };
    let first = value(rest)?;
    match (kind, first.rest.as_str()) {
        ("jsonpath", "") => put("json", &first.text),
        ("header", "") => put("header", &first.text),
        ("header", filter) => {
            put("header", &first.text);
            put("matches", &regex_filter(filter)?);
        }
        ("regex", "") => put("matches", &first.text),
        ("cookie", "") => {
            put("header", "set-cookie");
            put("matches", &format!("^{}=([^;]*)", literal(&first.text)?));
        }
        ("body", _) => put("matches", &regex_filter(rest)?),
        _ => return None,
    }
    Some(table)
}

/// `regex "…"`, the only filter that there is.
fn regex_filter(text: &str) -> Option<String> {
    let pattern = value(text.trim().strip_prefix("regex")?)?;
    pattern.rest.is_empty().then_some(pattern.text)
}
