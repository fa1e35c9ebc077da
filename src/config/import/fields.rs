//! Reading mappings so that nothing in them is passed over: what nobody took is noted.

use std::ops::Range;

use super::tree::{Key, Node, Place, Value};
use super::{Fate, Note, Source};
use crate::config::code::Code;
use crate::config::finding::{Finding, Findings};
use crate::config::report::Report;
use crate::generate::spec::Spec;

/// How many notes are kept; the last one says how many more there are.
const MOST_NOTES: usize = 1_000;

/// What is found while reading.
pub(super) struct Context<'s> {
    sources: &'s [Source],
    findings: Vec<Findings>,
    notes: Vec<(usize, Range<usize>, Note)>,
    more: usize,
}

impl<'s> Context<'s> {
    pub(super) fn new(sources: &'s [Source]) -> Self {
        Self {
            sources,
            findings: sources.iter().map(|_| Findings::default()).collect(),
            notes: Vec::new(),
            more: 0,
        }
    }

    /// Something is wrong with a file.
    pub(super) fn wrong(&mut self, file: usize, finding: Finding) {
        self.findings[file].add(finding);
    }

    /// Something is wrong with a value.
    pub(super) fn refuse(&mut self, node: &Node, code: Code, message: impl AsRef<str>) {
        self.refuse_at(&node.place, code, message);
    }

    fn refuse_at(&mut self, place: &Place, code: Code, message: impl AsRef<str>) {
        let finding = Finding::new(code, place.span.clone(), message);
        self.findings[place.file].add(finding);
    }

    pub(super) fn note_at(
        &mut self,
        place: &Place,
        fate: Fate,
        field: impl AsRef<str>,
        what: impl AsRef<str>,
    ) {
        if self.notes.len() >= MOST_NOTES {
            self.more += 1;
            return;
        }
        let note = Note {
            fate,
            file: self.sources[place.file].name.clone(),
            line: place.line,
            column: place.column,
            field: printable(field.as_ref()),
            what: printable(what.as_ref()),
        };
        self.notes.push((place.file, place.span.clone(), note));
    }

    /// A place that knows its file's name.
    pub(super) fn named(&self, place: &Place) -> Place {
        Place {
            file_name: self.sources[place.file].name.clone(),
            ..place.clone()
        }
    }

    /// The notes in the order of the files, and a report for each file that has an error.
    pub(super) fn finish(self) -> (Vec<Note>, Vec<Report>) {
        let mut notes = self.notes;
        notes.sort_by_key(|(file, span, _)| (*file, span.start));
        let mut notes: Vec<Note> = notes.into_iter().map(|(_, _, note)| note).collect();
        if let (Some(last), true) = (notes.last().cloned(), self.more > 0) {
            notes.push(Note {
                fate: Fate::Lost,
                field: "…".to_owned(),
                what: format!("{} more fields are not carried", self.more),
                ..last
            });
        }
        let reports = self
            .findings
            .into_iter()
            .zip(self.sources)
            .filter(|(findings, _)| findings.errors() > 0)
            .map(|(findings, source)| Report::new(&source.name, &source.text, findings));
        (notes, reports.collect())
    }
}

/// Text of a document on one line, without what a terminal would obey.
fn printable(text: &str) -> String {
    const LONGEST: usize = 300;
    let mut line: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

/// `text` as a name of a configuration: other characters become dashes, and there are at most 64.
pub(super) fn name(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = text
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .take(64)
        .collect();
    if name.is_empty() {
        "-".to_owned()
    } else {
        name
    }
}

/// The route of a service. `none` is what requests without a route are counted under.
pub(super) fn route(service: &str) -> String {
    match name(service).as_str() {
        "none" => "service-none".to_owned(),
        other => other.to_owned(),
    }
}

/// Whose document it is; one that is nobody's is refused.
pub(super) fn format_of(document: &Node, context: &mut Context<'_>) -> Option<Spec> {
    let Value::Map(entries) = &document.value else {
        let message = format!(
            "a document is a mapping, and this is {}",
            document.value.kind()
        );
        context.refuse(document, Code::WrongType, message);
        return None;
    };
    let entry = |wanted: &str| {
        let (_, node) = entries.iter().find(|(key, _)| key.text == wanted)?;
        match &node.value {
            Value::Text(text) => Some((node, text.as_str())),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    };
    let (node, help) = match (entry("apiVersion"), entry("version")) {
        (Some((_, "openslo/v1")), _) => return Some(Spec::OpenSlo),
        (None, Some((_, "prometheus/v1"))) => return Some(Spec::Sloth),
        (Some((node, version)), _) if version.starts_with("sloth.slok.dev/") => (
            node,
            "this is Sloth's Kubernetes resource: give its `spec` as a `prometheus/v1` document",
        ),
        (Some((node, version)), _) if version.starts_with("openslo/") => {
            (node, "only openslo/v1 is read")
        }
        (Some((node, _)), _) | (None, Some((node, _))) => (
            node,
            "a document begins with `apiVersion: openslo/v1` or `version: prometheus/v1`",
        ),
        (None, None) => (
            document,
            "a document begins with `apiVersion: openslo/v1` or `version: prometheus/v1`",
        ),
    };
    let finding = Finding::new(
        Code::InvalidValue,
        node.place.span.clone(),
        "this is neither OpenSLO v1 nor Sloth's prometheus/v1",
    );
    context.wrong(node.place.file, finding.help(help));
    None
}

/// The entries of a mapping that nobody has taken yet.
pub(super) struct Fields<'n> {
    pub(super) place: &'n Place,
    /// Its path in the document, empty at the top.
    pub(super) path: String,
    left: Vec<(&'n Key, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// The entries of `node`, which must be a mapping.
    pub(super) fn of(node: &'n Node, path: &str, context: &mut Context<'_>) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            let shown = if path.is_empty() { "a document" } else { path };
            let message = format!(
                "`{shown}` should be a mapping, and is {}",
                node.value.kind()
            );
            context.refuse(node, Code::WrongType, message);
            return None;
        };
        Some(Self {
            place: &node.place,
            path: path.to_owned(),
            left: entries.iter().map(|(key, node)| (key, node)).collect(),
        })
    }

    /// The path of an entry.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The entry, unless it is missing or null.
    pub(super) fn take(&mut self, key: &str) -> Option<&'n Node> {
        let at = self.left.iter().position(|(own, _)| own.text == key)?;
        let (_, node) = self.left.remove(at);
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    /// The entry as a text or number.
    pub(super) fn text(&mut self, key: &str, context: &mut Context<'_>) -> Option<&'n str> {
        let node = self.take(key)?;
        if let Value::Text(text) = &node.value {
            return Some(text);
        }
        let message = format!(
            "`{}` should be a text, and is {}",
            self.path(key),
            node.value.kind()
        );
        context.refuse(node, Code::WrongType, message);
        None
    }

    /// As [`Self::text`], of an entry that must be there.
    pub(super) fn required(&mut self, key: &str, context: &mut Context<'_>) -> Option<&'n str> {
        if self.has(key) {
            self.text(key, context)
        } else {
            self.missing(key, context);
            None
        }
    }

    /// The entry as a list; empty when it is not there.
    pub(super) fn list(&mut self, key: &str, context: &mut Context<'_>) -> &'n [Node] {
        let Some(node) = self.take(key) else {
            return &[];
        };
        if let Value::List(items) = &node.value {
            return items;
        }
        let message = format!(
            "`{}` should be a list, and is {}",
            self.path(key),
            node.value.kind()
        );
        context.refuse(node, Code::WrongType, message);
        &[]
    }

    /// The entry as a mapping.
    pub(super) fn map(&mut self, key: &str, context: &mut Context<'_>) -> Option<Self> {
        let path = self.path(key);
        let node = self.take(key)?;
        Self::of(node, &path, context)
    }

    /// Whether the entry is there and is not null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.place_of(key).is_some()
    }

    /// Where an entry that is there stands.
    pub(super) fn place_of(&self, key: &str) -> Option<&'n Place> {
        let is =
            |(own, node): &&(&Key, &Node)| own.text == key && !matches!(node.value, Value::Null);
        self.left.iter().find(is).map(|(own, _)| &own.place)
    }

    /// Says that a required entry is not there.
    pub(super) fn missing(&self, key: &str, context: &mut Context<'_>) {
        let at = self.place.span.start;
        let finding = Finding::new(
            Code::MissingKey,
            at..at,
            format!("`{}` is missing", self.path(key)),
        );
        context.wrong(self.place.file, finding);
    }

    /// The keys that are left and begin with `prefix`, without it, with their texts.
    pub(super) fn marked(&mut self, prefix: &str) -> Vec<(&'n str, &'n Node, &'n str)> {
        let mut found = Vec::new();
        self.left.retain(
            |(key, node)| match (key.text.strip_prefix(prefix), &node.value) {
                (Some(rest), Value::Text(text)) => {
                    found.push((rest, *node, text.as_str()));
                    false
                }
                _ => true,
            },
        );
        found
    }

    /// Notes each entry that is left as lost, with the reason `why` has for its key.
    pub(super) fn lose(self, context: &mut Context<'_>, why: impl Fn(&str) -> String) {
        for (key, node) in &self.left {
            if !matches!(node.value, Value::Null) {
                context.note_at(&key.place, Fate::Lost, self.path(&key.text), why(&key.text));
            }
        }
    }
}
