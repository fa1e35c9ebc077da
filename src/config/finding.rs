//! What the reader and the rules found, before it is laid out for people.

use std::ops::Range;

use super::code::{Code, Severity};
use super::lint::Witnessed;

/// Bytes of the configuration's text.
pub(super) type Span = Range<usize>;

/// How many findings are kept; the rest is only counted. A file that is wrong ten thousand times over is not
/// understood better by a report that long.
const KEPT: usize = 100;

/// Characters of a message that are kept: a message may quote a value of any length.
const LONGEST_TEXT: usize = 400;

/// One broken rule.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) code: Code,
    /// What is wrong.
    pub(super) message: String,
    /// Where; `None` when the file itself is the matter.
    pub(super) span: Option<Span>,
    /// Why it is wrong, told at its place.
    pub(super) reason: Option<String>,
    /// Another place that belongs to it, and why.
    pub(super) also: Option<(Span, String)>,
    /// What to do.
    pub(super) help: Option<String>,
    /// A request that shows it.
    pub(super) witness: Option<Witnessed>,
}

impl Finding {
    pub(super) fn new(code: Code, span: Span, message: impl AsRef<str>) -> Self {
        Self {
            span: Some(span),
            ..Self::about_the_file(code, message)
        }
    }

    pub(super) fn about_the_file(code: Code, message: impl AsRef<str>) -> Self {
        Self {
            code,
            message: printable(message.as_ref()),
            span: None,
            reason: None,
            also: None,
            help: None,
            witness: None,
        }
    }

    pub(super) fn reason(mut self, reason: impl AsRef<str>) -> Self {
        self.reason = Some(printable(reason.as_ref()));
        self
    }

    pub(super) fn also(mut self, span: Span, reason: impl AsRef<str>) -> Self {
        self.also = Some((span, printable(reason.as_ref())));
        self
    }

    pub(super) fn help(mut self, help: impl AsRef<str>) -> Self {
        self.help = Some(printable(help.as_ref()));
        self
    }

    pub(super) fn set_reason(&mut self, reason: impl AsRef<str>) -> &mut Self {
        self.reason = Some(printable(reason.as_ref()));
        self
    }

    pub(super) fn set_also(&mut self, span: Span, reason: impl AsRef<str>) -> &mut Self {
        self.also = Some((span, printable(reason.as_ref())));
        self
    }

    pub(super) fn set_witness(&mut self, witness: Option<Witnessed>) -> &mut Self {
        self.witness = witness;
        self
    }

    pub(super) fn maybe_help(self, help: Option<impl AsRef<str>>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }
}

/// Everything found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    errors: usize,
    omitted: usize,
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        if finding.code.severity() == Severity::Error {
            self.errors += 1;
        }
        if self.kept.len() < KEPT {
            self.kept.push(finding);
        } else {
            self.omitted += 1;
        }
    }

    /// How many errors were found, those beyond what is kept included.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    /// How many findings were only counted.
    pub(super) fn omitted(&self) -> usize {
        self.omitted
    }

    /// Whether looking for a helpful hint is still worth its time.
    pub(super) fn has_room(&self) -> bool {
        self.kept.len() < KEPT
    }

    /// The findings kept, in the order of the file.
    pub(super) fn into_sorted(mut self) -> Vec<Finding> {
        self.kept
            .sort_by_key(|finding| finding.span.as_ref().map_or(0, |span| span.start));
        self.kept
    }
}

/// The name in `known` that `wrong` was probably meant to be.
pub(super) fn did_you_mean<'n>(
    wrong: &str,
    known: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    // Names are at most this long, and the comparison's cost is the product of both lengths.
    const LONGEST_NAME: usize = 64;
    if wrong.len() > LONGEST_NAME {
        return None;
    }
    // A third of the letters may be off: `upstrem` is `upstream`, `api` is not `app`-anything.
    let tolerance = (wrong.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter(|name| name.len() <= LONGEST_NAME)
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `text` cut to a readable length and with nothing that a terminal would obey: it may quote the file.
fn printable(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(LONGEST_TEXT)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(LONGEST_TEXT).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_recognised_and_a_far_one_is_not() {
        let known = ["upstream", "hosts", "path", "path_exact"];
        for (wrong, meant) in [
            ("upstrem", Some("upstream")),
            ("host", Some("hosts")),
            ("paht", Some("path")),
            ("retries", None),
            ("", None),
        ] {
            assert_eq!(did_you_mean(wrong, known), meant, "{wrong}");
        }
    }

    #[test]
    fn findings_beyond_the_bound_are_counted() {
        let mut findings = Findings::default();
        for _ in 0..KEPT + 7 {
            findings.add(Finding::new(Code::UnknownKey, 0..1, "x"));
        }
        assert_eq!((findings.errors(), findings.omitted()), (KEPT + 7, 7));
        assert!(!findings.has_room());
        assert_eq!(findings.into_sorted().len(), KEPT);
    }

    #[test]
    fn a_quoted_value_can_neither_flood_nor_steer_a_terminal() {
        let finding = Finding::new(
            Code::InvalidValue,
            0..1,
            format!("\u{1b}[2J{}", "x".repeat(10_000)),
        );
        assert!(finding.message.chars().count() <= LONGEST_TEXT + 1);
        assert!(!finding.message.contains('\u{1b}'));
    }
}
