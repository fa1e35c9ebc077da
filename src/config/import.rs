//! Promises written for other tools, as a configuration: `OpenSLO` v1, and Sloth's `prometheus/v1`.
//!
//! Vestibule counts requests itself, so a query is never carried: what it asks for is recognised as an availability or a
//! latency, or the SLO is left out. Whatever is not in the result is in the notes: what was put in other words, and what
//! is lost. A document that its own format would refuse is an error, and nothing is imported.
//!
//! The documents are untrusted: their size, depth and number of values are bounded ([`LARGEST_SPEC`] and `tree`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::code::Code;
use super::finding::{Finding, Findings};
use super::report::Report;
use crate::generate::spec::Spec;
use crate::model::{About, Sli, Slo, Window};
use crate::slo::policy::{DEFAULT_POLICY, Policy};

mod draft;
mod fields;
mod marks;
mod openslo;
mod query;
mod sloth;
mod tree;

use fields::Context;
use tree::Place;

/// The largest file of promises that is read, in bytes.
pub const LARGEST_SPEC: usize = 1 << 20;

/// A file to import: its name and its text.
#[derive(Clone, Debug)]
pub struct Source {
    /// What notes and errors call it.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// What became of something that is not carried as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is there in other words.
    Changed,
    /// It is not there.
    Lost,
}

impl Fate {
    /// The fate's word in JSON and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Lost => "lost",
        }
    }
}

/// One thing that is not carried as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Changed or lost.
    pub fate: Fate,
    /// The file's name.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The field, like `slos[0].alerting.name`.
    pub field: String,
    /// What became of it, in plain words.
    pub what: String,
}

impl Note {
    /// The note as JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "fate": self.fate.as_str(),
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "field": self.field,
            "what": self.what,
        })
    }
}

/// One line.
impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            fate,
            file,
            line,
            column,
            field,
            what,
        } = self;
        let fate = fate.as_str();
        write!(f, "{file}:{line}:{column}: {fate}: {field}: {what}")
    }
}

/// A promise as a document has it.
#[derive(Clone, Debug)]
struct Promise {
    slo: Slo,
    /// What the document says it is about.
    about: Option<String>,
    /// Whose it is, when several have its name.
    service: String,
    place: Place,
}

/// A service: a route to be.
#[derive(Clone, Debug, Default)]
struct Service {
    owner: Option<String>,
    about: Option<String>,
}

/// What was imported.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    promises: Vec<Promise>,
    services: BTreeMap<String, Service>,
    policies: Vec<Policy>,
    /// Everything that is not carried as it is written, in the order of the files.
    pub notes: Vec<Note>,
}

/// Reads documents of both formats, or with `only` of one.
///
/// # Errors
/// Everything that is wrong with the files, one report for each that has an error.
pub fn import(sources: &[Source], only: Option<Spec>) -> Result<Imported, Vec<Report>> {
    let mut context = Context::new(sources);
    let mut documents = Vec::new();
    for (file, source) in sources.iter().enumerate() {
        match tree::read(file, &source.text) {
            Ok(found) if found.is_empty() => context.wrong(
                file,
                Finding::about_the_file(Code::MissingKey, "there is no document in this file"),
            ),
            Ok(found) => documents.extend(found),
            Err(finding) => context.wrong(file, *finding),
        }
    }
    let mut imported = Imported::default();
    let (mut of_openslo, mut of_sloth) = (Vec::new(), Vec::new());
    for document in &documents {
        match fields::format_of(document, &mut context) {
            Some(spec) if only.is_some_and(|only| only != spec) => {
                let message = match spec {
                    Spec::OpenSlo => "this document is OpenSLO's, and --format says sloth",
                    Spec::Sloth => "this document is Sloth's, and --format says openslo",
                };
                context.refuse(document, Code::InvalidValue, message);
            }
            Some(Spec::OpenSlo) => of_openslo.push(document),
            Some(Spec::Sloth) => of_sloth.push(document),
            None => {}
        }
    }
    openslo::read(&of_openslo, &mut context, &mut imported);
    for document in of_sloth {
        sloth::read(document, &mut context, &mut imported);
    }
    imported.tell_apart(&mut context);
    imported.define(&mut context);
    imported.compose(&mut context);
    let (notes, reports) = context.finish();
    if reports.is_empty() {
        imported.notes = notes;
        Ok(imported)
    } else {
        Err(reports)
    }
}

impl Imported {
    /// The promises, as a configuration would resolve them.
    pub fn slos(&self) -> impl Iterator<Item = &Slo> {
        self.promises.iter().map(|promise| &promise.slo)
    }

    /// Whether something is lost.
    pub fn has_losses(&self) -> bool {
        self.notes.iter().any(|note| note.fate == Fate::Lost)
    }

    /// Leaves out what needs something that no document has: SLOs of probes their definition, those of an upstream, an
    /// owner or a rate limit the routes that lead there, belong to them or have it.
    pub fn without_surroundings(&mut self) {
        let stands_alone = |promise: &Promise| {
            !matches!(promise.slo.sli, Sli::Probe { .. })
                && match &promise.slo.about {
                    About::Route(_) | About::Ingress | About::Parts => true,
                    About::Upstream(_) | About::Owner(_) | About::Limit(_) => false,
                }
        };
        let (kept, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.promises)
            .into_iter()
            .partition(stands_alone);
        self.promises = kept;
        for promise in left.into_iter().chain(self.without_parts()) {
            let what = match &promise.slo.probe {
                Some(probe) => format!(
                    "left out: it counts probe `{probe}`, which is defined beside the configuration; import with --into"
                ),
                None if promise.slo.about == About::Parts => format!(
                    "left out: not all of its parts are imported ({})",
                    promise.slo.weights()
                ),
                None => format!(
                    "left out: it is about {}, whose routes no document names; import with --into",
                    promise.slo.about
                ),
            };
            self.notes.push(Note {
                fate: Fate::Lost,
                file: promise.place.file_name,
                line: promise.place.line,
                column: promise.place.column,
                field: promise.slo.id,
                what,
            });
        }
    }

    /// Takes out the composites of which a part is not imported, or is a composite itself.
    fn without_parts(&mut self) -> Vec<Promise> {
        let parts = self.slos().filter(|slo| slo.about != About::Parts);
        let known: BTreeSet<String> = parts.map(|slo| slo.id.clone()).collect();
        let (kept, left) = std::mem::take(&mut self.promises)
            .into_iter()
            .partition(|promise| {
                let mut parts = promise.slo.parts.iter();
                parts.all(|part| known.contains(&part.slo))
            });
        self.promises = kept;
        left
    }

    /// Weighs what can be: composites know what their parts count, and those without all of their parts are left out.
    fn compose(&mut self, context: &mut Context<'_>) {
        for promise in self.without_parts() {
            let what = format!(
                "left out: not all of its parts are imported ({})",
                promise.slo.weights()
            );
            context.note_at(&promise.place, Fate::Lost, "parts", what);
        }
        let mut slos: Vec<Slo> = self.slos().cloned().collect();
        Slo::compose(&mut slos);
        for (promise, slo) in self.promises.iter_mut().zip(slos) {
            promise.slo.parts = slo.parts;
        }
    }

    /// A whole configuration with a route for each service: `vestibule check` takes it, though it has no endpoints yet.
    pub fn draft(&self) -> String {
        draft::whole(self)
    }

    /// The tables to append to a configuration that has a route for each service.
    pub fn tables(&self, known: &[Policy]) -> String {
        draft::tables(self, known)
    }

    /// Gives promises of one name the name of their service too.
    fn tell_apart(&mut self, context: &mut Context<'_>) {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for promise in &self.promises {
            *seen.entry(promise.slo.id.clone()).or_default() += 1;
        }
        let mut taken: BTreeSet<String> = seen
            .iter()
            .filter(|(_, count)| **count == 1)
            .map(|(id, _)| id.clone())
            .collect();
        for promise in &mut self.promises {
            if seen[&promise.slo.id] == 1 {
                continue;
            }
            let base = fields::name(&format!("{}-{}", promise.service, promise.slo.id));
            let mut id = base.clone();
            let mut number = 1_u32;
            while !taken.insert(id.clone()) {
                number += 1;
                // A name has at most 64 characters, all of them ASCII.
                let short: String = base.chars().take(53).collect();
                id = format!("{short}-{number}");
            }
            let what = format!(
                "several SLOs are called `{}`: this one is `{id}`",
                promise.slo.id
            );
            context.note_at(&promise.place, Fate::Changed, "name", what);
            promise.slo.id = id;
        }
    }

    /// Every policy that is named is one: Vestibule's own, or one that a document defines.
    fn define(&mut self, context: &mut Context<'_>) {
        let shipped = Policy::shipped();
        for promise in &mut self.promises {
            let name = &promise.slo.policy;
            let known = |policy: &Policy| policy.name == *name;
            if shipped.iter().any(known) || self.policies.iter().any(known) {
                continue;
            }
            let what = format!(
                "policy `{name}` is not defined in the document: `{DEFAULT_POLICY}` instead"
            );
            context.note_at(&promise.place, Fate::Lost, "policy", what);
            DEFAULT_POLICY.clone_into(&mut promise.slo.policy);
        }
    }

    /// The longest window, which history must hold.
    fn longest(&self) -> Option<Window> {
        self.slos().map(|slo| slo.window).max()
    }
}

/// Reads the file at `path` for [`import`].
///
/// # Errors
/// That it cannot be read, is too large, or is no text.
pub fn load_spec(path: &Path) -> Result<Source, Report> {
    let name = path.display().to_string();
    let refuse = |code, message: String| {
        let mut findings = Findings::default();
        findings.add(Finding::about_the_file(code, message));
        Report::new(&name, "", findings)
    };
    let bytes = super::read_file(path)
        .map_err(|error| refuse(Code::Unreadable, format!("cannot read the file: {error}")))?;
    if bytes.len() > LARGEST_SPEC {
        return Err(refuse(
            Code::TooLarge,
            "the file is larger than 1 MiB".to_owned(),
        ));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| refuse(Code::Unreadable, format!("the file is not UTF-8: {error}")))?;
    Ok(Source { name, text })
}

#[cfg(test)]
mod tests;
