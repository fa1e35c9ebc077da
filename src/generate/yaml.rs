//! YAML, as much of it as is written here.

use std::fmt::Write as _;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Yaml {
    /// Text: quoted where it could be read as something else.
    Text(String),
    /// A number or a flag, as it is written.
    Word(String),
    /// Text of several lines, kept line by line.
    Block(String),
    /// A list; an empty one is written `[]`.
    List(Vec<Self>),
    /// A mapping in this order.
    Map(Vec<(String, Self)>),
}

impl Yaml {
    /// A mapping.
    pub(super) fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
        )
    }

    /// Text.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A list of texts.
    pub(super) fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(Self::text).collect())
    }

    /// The value of a mapping's key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else {
            return None;
        };
        let entry = entries.iter().find(|(known, _)| known == key);
        entry.map(|(_, value)| value)
    }

    /// The document.
    pub(super) fn document(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out
    }

    /// Writes the value as lines of its own, `indent` spaces in.
    fn write(&self, out: &mut String, indent: usize) {
        match self {
            Self::Map(entries) => {
                for (key, value) in entries {
                    pad(out, indent);
                    out.push_str(&scalar(key));
                    out.push(':');
                    value.follow(out, indent);
                }
            }
            Self::List(items) => {
                for item in items {
                    pad(out, indent);
                    out.push('-');
                    item.follow_dash(out, indent);
                }
            }
            Self::Text(_) | Self::Word(_) | Self::Block(_) => self.follow(out, indent),
        }
    }

    /// Writes the value after a key.
    fn follow(&self, out: &mut String, indent: usize) {
        match self {
            Self::Text(text) => line(out, &format!(" {}", scalar(text))),
            Self::Word(word) => line(out, &format!(" {word}")),
            Self::Block(text) => {
                line(out, " |-");
                for text in text.lines() {
                    if !text.is_empty() {
                        pad(out, indent + 2);
                    }
                    line(out, text);
                }
            }
            Self::List(items) if items.is_empty() => line(out, " []"),
            Self::Map(entries) if entries.is_empty() => line(out, " {}"),
            Self::List(_) | Self::Map(_) => {
                out.push('\n');
                self.write(out, indent + 2);
            }
        }
    }

    /// Writes the value after the dash of a list.
    fn follow_dash(&self, out: &mut String, indent: usize) {
        match self {
            Self::Map(entries) if !entries.is_empty() => {
                let mut inner = String::new();
                self.write(&mut inner, indent + 2);
                out.push(' ');
                out.push_str(inner.trim_start_matches(' '));
            }
            _ => self.follow(out, indent),
        }
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// Text on one line: plain where nobody can take it for something else, quoted otherwise.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_reserved = reserved.contains(&text.to_ascii_lowercase().as_str());
    if begins && !is_reserved && !text.ends_with(':') && text.chars().all(plain) {
        return text.to_owned();
    }
    if text.contains('"') && !text.contains(|c: char| c == '\'' || c.is_control()) {
        return format!("'{text}'");
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => {
                write!(quoted, "\\x{:02x}", c as u32).expect("writing to a string cannot fail");
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_laid_out_as_people_write_it() {
        let document = Yaml::map([
            ("name", Yaml::text("a-b")),
            ("empty", Yaml::List(Vec::new())),
            (
                "rules",
                Yaml::List(vec![
                    Yaml::map([
                        ("expr", Yaml::Block("a\nand b".into())),
                        ("for", Yaml::Word("5m".into())),
                    ]),
                    Yaml::map([("labels", Yaml::map([("k", Yaml::text("v w"))]))]),
                ]),
            ),
            ("list", Yaml::texts(["x", "y: z"])),
        ]);
        let expected = "name: a-b\nempty: []\nrules:\n  - expr: |-\n      a\n      and b\n    for: 5m\n  \
                        - labels:\n      k: \"v w\"\nlist:\n  - x\n  - \"y: z\"\n";
        assert_eq!(document.document(), expected);
    }

    #[test]
    fn what_could_be_read_as_something_else_is_quoted() {
        for (text, written) in [
            ("plain", "plain"),
            ("https://a.b/c", "https://a.b/c"),
            ("a:", "\"a:\""),
            ("a=\"b\"", "'a=\"b\"'"),
            ("it's \"b\"", "\"it's \\\"b\\\"\""),
            ("no", "\"no\""),
            ("5m", "\"5m\""),
            ("", "\"\""),
            ("a\"b\\\n\u{1}", "\"a\\\"b\\\\\\n\\x01\""),
            ("# c", "\"# c\""),
        ] {
            assert_eq!(scalar(text), written);
        }
    }
}
