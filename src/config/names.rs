//! Who is called what, and who refers to whom.

use std::collections::{HashMap, HashSet};

use super::code::Code;
use super::finding::{Finding, Findings, Span, did_you_mean};
use super::keys::{Item, Located};

/// All names of one sort of thing.
pub(super) struct Names<'f> {
    sort: &'static str,
    places: HashMap<&'f str, Span>,
    /// Those that somebody referred to.
    used: HashSet<&'f str>,
    /// Names that stand in no file, for hints.
    shipped: Vec<&'f str>,
    /// Whether every name could be read. If not, a dangling reference may be the consequence of another mistake.
    complete: bool,
}

impl<'f> Names<'f> {
    /// Gathers the names of `items`, reporting those given twice.
    pub(super) fn gather<T>(
        sort: &'static str,
        items: &'f [Item<T>],
        name: impl Fn(&'f T) -> Option<&'f Located<String>>,
        findings: &mut Findings,
    ) -> Self {
        let mut names = Self {
            sort,
            places: HashMap::with_capacity(items.len()),
            used: HashSet::new(),
            shipped: Vec::new(),
            complete: true,
        };
        for item in items {
            let Some(name) = name(&item.value) else {
                names.complete = false;
                continue;
            };
            match names.places.get(name.value.as_str()) {
                None => {
                    names.places.insert(&name.value, name.span.clone());
                }
                Some(first) => {
                    let message = format!("another {sort} is called `{}`", name.value);
                    let finding = Finding::new(Code::Duplicate, name.span.clone(), message)
                        .reason("again here")
                        .also(first.clone(), "first here")
                        .help("rename one of them");
                    findings.add(finding);
                }
            }
        }
        names
    }

    /// Refuses to let the file give the names of what is `shipped`, and lets it refer to them.
    pub(super) fn with_shipped(
        mut self,
        shipped: impl IntoIterator<Item = &'f str>,
        findings: &mut Findings,
    ) -> Self {
        for name in shipped {
            if let Some(span) = self.places.get(name) {
                let message = format!("the {} `{name}` comes with Vestibule", self.sort);
                let finding = Finding::new(Code::Reserved, span.clone(), message)
                    .reason("taken")
                    .help("give it another name");
                findings.add(finding);
            }
            self.shipped.push(name);
        }
        self
    }

    /// Reports `name` if nothing is called so.
    pub(super) fn refer(&mut self, name: &'f Located<String>, findings: &mut Findings) {
        let text = name.value.as_str();
        if self.places.contains_key(text) || self.shipped.contains(&text) {
            self.used.insert(text);
            return;
        }
        if !self.complete {
            return;
        }
        let message = format!("there is no {} `{text}`", self.sort);
        let mut finding =
            Finding::new(Code::UnknownName, name.span.clone(), message).reason("unknown");
        if findings.has_room() {
            let known = self.places.keys().chain(&self.shipped).copied();
            finding = finding.help(match did_you_mean(text, known) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("add a `[[{}]]` of that name", self.sort.replace(' ', "_")),
            });
        }
        findings.add(finding);
    }

    /// Whether something refers to `name`.
    pub(super) fn is_used(&self, name: &str) -> bool {
        self.used.contains(name)
    }
}
