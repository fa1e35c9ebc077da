//! A YAML document as a tree of what import reads: text, lists and mappings, each with its place.
//!
//! Aliases, merge keys and tags are refused: no specification needs them, and an alias can make a small text large.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span as Marks};

use crate::config::code::Code;
use crate::config::finding::Finding;

/// How deep values may lie in each other.
const DEEPEST: usize = 32;

/// How many values a file may have.
const MOST_VALUES: usize = 100_000;

/// Where something stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Its file's place in the list of sources.
    pub(super) file: usize,
    /// Its file's name; filled in by those who tell of it.
    pub(super) file_name: String,
    /// In bytes.
    pub(super) span: Range<usize>,
    /// From 1.
    pub(super) line: usize,
    /// In characters, from 1.
    pub(super) column: usize,
}

/// One value.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing.
    Null,
    /// Text, a number or a flag, as it is written.
    Text(String),
    List(Vec<Node>),
    /// Keys are distinct.
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) text: String,
}

impl Value {
    /// What kind of value it is, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Text(_) => "a text or number",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// What is still open.
enum Open {
    List(Place, Vec<Node>),
    /// With the key whose value comes next.
    Map(Place, Vec<(Key, Node)>, Option<Key>),
}

/// The documents of a file that are not empty.
pub(super) fn read(file: usize, text: &str) -> Result<Vec<Node>, Box<Finding>> {
    if text.len() > super::LARGEST_SPEC {
        let message = "the file is larger than 1 MiB";
        return Err(Finding::about_the_file(Code::TooLarge, message).into());
    }
    // The parser counts characters.
    let bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(text.len());
    let place = |marks: &Marks| {
        let (start, end) = (byte(marks.start.index()), byte(marks.end.index()));
        Place {
            file,
            file_name: String::new(),
            span: start..end.max(start),
            line: marks.start.line().max(1),
            column: marks.start.col() + 1,
        }
    };
    let mut documents = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut values = 0_usize;
    for event in Parser::new_from_str(text) {
        let (event, marks) = event.map_err(|error| {
            let at = byte(error.marker().index());
            Finding::new(Code::Syntax, at..at, "this is not YAML").reason(error.info())
        })?;
        let place = place(&marks);
        values += 1;
        if values > MOST_VALUES {
            let message = "the file has more than 100,000 values";
            return Err(Finding::new(Code::TooMany, place.span, message).into());
        }
        let tagged = |place: &Place| {
            Finding::new(Code::Syntax, place.span.clone(), "tags are not read here")
                .help("leave the tag out")
        };
        let done = match event {
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => continue,
            Event::Alias(_) => {
                let message = "aliases are not read here";
                return Err(Finding::new(Code::Syntax, place.span, message)
                    .help("write the value out, or expand the file with `yq 'explode(.)'`")
                    .into());
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => return Err(tagged(&place).into()),
            Event::Scalar(text, style, _, None) => {
                let empty = matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if style == ScalarStyle::Plain && empty {
                    Value::Null
                } else {
                    Value::Text(text.into_owned())
                };
                Node { place, value }
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= DEEPEST => {
                let message = format!("values lie more than {DEEPEST} deep in each other");
                return Err(Finding::new(Code::TooMany, place.span, message).into());
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(place, Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(place, Vec::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(place, items)) => Node {
                    place,
                    value: Value::List(items),
                },
                Some(Open::Map(place, entries, _)) => Node {
                    place,
                    value: Value::Map(entries),
                },
                None => continue,
            },
        };
        match open.last_mut() {
            None => documents.push(done),
            Some(Open::List(_, items)) => items.push(done),
            Some(Open::Map(_, entries, waiting)) => match waiting.take() {
                Some(key) => entries.push((key, done)),
                None => *waiting = Some(key(done, entries)?),
            },
        }
    }
    documents.retain(|document| !matches!(document.value, Value::Null));
    Ok(documents)
}

fn key(node: Node, before: &[(Key, Node)]) -> Result<Key, Box<Finding>> {
    let Node { place, value } = node;
    let Value::Text(text) = value else {
        let message = format!("a key is a text, and this is {}", value.kind());
        return Err(Finding::new(Code::WrongType, place.span, message).into());
    };
    if text == "<<" {
        let message = "merge keys are not read here";
        return Err(Finding::new(Code::Syntax, place.span, message)
            .help("write the keys out")
            .into());
    }
    // Mappings of specifications are small; a file of one with very many keys is refused before it takes long.
    if before.len() >= MOST_KEYS {
        let message = format!("a mapping has more than {MOST_KEYS} keys");
        return Err(Finding::new(Code::TooMany, place.span, message).into());
    }
    if let Some((first, _)) = before.iter().find(|(key, _)| key.text == text) {
        let message = format!("the key `{text}` is given twice");
        return Err(Finding::new(Code::Duplicate, place.span, message)
            .also(first.place.span.clone(), "first here")
            .into());
    }
    Ok(Key { place, text })
}

/// How many keys a mapping may have.
const MOST_KEYS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_its_documents_with_their_places() {
        let documents = read(0, "# ä\na: 1\n---\n- x\n- {b: ~}\n---\n").unwrap();
        assert_eq!(documents.len(), 2);
        let Value::Map(entries) = &documents[0].value else {
            panic!("a mapping");
        };
        let (key, node) = &entries[0];
        assert_eq!(
            (key.text.as_str(), key.place.line, key.place.column),
            ("a", 2, 1)
        );
        assert_eq!(node.place.span, 8..9);
        assert!(matches!(&node.value, Value::Text(text) if text == "1"));
        let Value::List(items) = &documents[1].value else {
            panic!("a list");
        };
        assert_eq!(items.len(), 2);
    }

    #[test]
    fn what_is_too_much_or_too_clever_is_refused_at_its_place() {
        let deep = "[".repeat(40) + &"]".repeat(40);
        let many = "- 1\n".repeat(100_001);
        let keys = (0..1_002).fold(String::new(), |text, n| text + &format!("k{n}: 1\n"));
        let large = "# ".to_owned() + &"x".repeat(1 << 20);
        for (text, message) in [
            (deep.as_str(), "more than 32 deep"),
            (many.as_str(), "more than 100,000 values"),
            (keys.as_str(), "more than 1000 keys"),
            (large.as_str(), "larger than 1 MiB"),
            ("a: &x 1\nb: *x\n", "aliases are not read"),
            ("a: !!str 1\n", "tags are not read"),
            ("a: 1\n<<: {b: 1}\n", "merge keys are not read"),
            ("a: 1\na: 2\n", "`a` is given twice"),
            ("[a]: 1\n", "a key is a text"),
            ("a: [1\n", "not YAML"),
        ] {
            let finding = read(0, text).unwrap_err();
            assert!(finding.message.contains(message), "{}", finding.message);
        }
    }
}
