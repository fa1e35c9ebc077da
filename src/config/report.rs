//! What is wrong with a configuration, laid out for people and for programs.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceSpan};
use serde_json::{Value, json};

use super::code::{Code, Severity};
use super::finding::{Finding, Findings, Span};
use super::lint::Witnessed;

/// Everything found in one configuration: errors, or the warnings of one that holds.
#[derive(Clone)]
pub struct Report {
    /// The file's name and text, harmless to print.
    source: Arc<NamedSource<String>>,
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    omitted: usize,
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which rule.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// Why, told at its place.
    pub reason: Option<String>,
    /// What to do.
    pub help: Option<String>,
    /// A request that shows it.
    pub witness: Option<Witnessed>,
    /// Where; `None` when the file itself is the matter.
    pub position: Option<Position>,
    span: Option<Span>,
    also: Option<(Span, String)>,
}

/// A place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Report {
    pub(super) fn new(file: &str, text: &str, findings: Findings) -> Self {
        let (errors, omitted) = (findings.errors(), findings.omitted());
        let mut locate = Locator::new(text);
        let diagnostics = findings
            .into_sorted()
            .into_iter()
            .map(|finding| Diagnostic::new(finding, text, &mut locate))
            .collect();
        Self {
            source: Arc::new(NamedSource::new(file, harmless(text))),
            diagnostics,
            errors,
            omitted,
        }
    }

    /// How many errors there are; those beyond what is listed are counted as well.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// What was found, in the order of the file; at most 100.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Whether something of this severity or worse is listed.
    pub fn has(&self, severity: Severity) -> bool {
        let mut listed = self.diagnostics.iter();
        listed.any(|diagnostic| diagnostic.code.severity() <= severity)
    }

    /// The file it is about.
    pub fn file(&self) -> &str {
        self.source.name()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// The report as text that ends in a newline; empty when nothing was found.
    ///
    /// For a `terminal` it is drawn with lines and, unless `NO_COLOR` is set, in colour. Otherwise it is plain ASCII.
    pub fn render(&self, terminal: bool) -> String {
        self.draw(match (terminal, std::env::var_os("NO_COLOR")) {
            (false, _) => GraphicalTheme::none(),
            (true, Some(set)) if !set.is_empty() => GraphicalTheme::unicode_nocolor(),
            (true, _) => GraphicalTheme::unicode(),
        })
    }

    /// The report as JSON: the file, the counts, and each diagnostic with its severity, code, line, column, message,
    /// reason and help. Line and column are `null` when the file itself is the matter.
    pub fn to_json(&self) -> Value {
        let file = self.source.name();
        let diagnostics: Vec<_> = self
            .diagnostics
            .iter()
            .map(|diagnostic| {
                json!({
                    "severity": diagnostic.code.severity().as_str(),
                    "code": diagnostic.code.as_str(),
                    "file": file,
                    "line": diagnostic.position.map(|position| position.line),
                    "column": diagnostic.position.map(|position| position.column),
                    "message": diagnostic.message,
                    "reason": diagnostic.reason,
                    "help": diagnostic.help,
                    "witness": diagnostic.witness.as_ref().map(|witness| json!({
                        "request": witness.request,
                        "route": witness.route,
                    })),
                })
            })
            .collect();
        json!({
            "file": file,
            "errors": self.errors,
            "omitted": self.omitted,
            "diagnostics": diagnostics,
        })
    }

    fn draw(&self, theme: GraphicalTheme) -> String {
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_links(false)
            .with_width(WIDTH);
        let mut drawn = String::new();
        for diagnostic in &self.diagnostics {
            let shown = Shown {
                diagnostic,
                source: &self.source,
            };
            // Writing to a string cannot fail, and the spans lie within the text; were one not to, the message
            // still stands.
            if handler.render_report(&mut drawn, &shown).is_err() {
                drawn.push_str(&diagnostic.message);
            }
            drawn.push('\n');
        }
        if !self.is_empty() {
            drawn.push_str(&self.to_string());
            drawn.push('\n');
        }
        drawn
    }
}

/// Columns that messages are wrapped at.
const WIDTH: usize = 100;

/// One line: how much was found, and where.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = self.diagnostics.iter();
        let is_note = |it: &&Diagnostic| it.code.severity() == Severity::Note;
        let notes = listed.filter(is_note).count();
        let all = self.diagnostics.len() + self.omitted;
        let warnings = all.saturating_sub(self.errors + notes);
        let count = |count: usize, word: &str| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {word}{plural}")
        };
        let counts = [
            (self.errors, "error"),
            (warnings, "warning"),
            (notes, "note"),
        ];
        let counts = counts.iter().filter(|(number, _)| *number > 0);
        let mut counts: Vec<String> = counts.map(|(number, word)| count(*number, word)).collect();
        let last = counts.pop().unwrap_or_else(|| count(0, "error"));
        let found = if counts.is_empty() {
            last
        } else {
            format!("{} and {last}", counts.join(", "))
        };
        write!(f, "{found} in {}", self.source.name())?;
        if self.omitted > 0 {
            write!(f, ", {} of them not shown", self.omitted)?;
        }
        Ok(())
    }
}

/// As it is drawn where it will be read, so that a returned report explains itself.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(io::stderr().is_terminal()))
    }
}

impl Error for Report {}

impl Diagnostic {
    fn new(finding: Finding, text: &str, locate: &mut Locator<'_>) -> Self {
        let Finding {
            code,
            message,
            span,
            reason,
            also,
            help,
            witness,
        } = finding;
        Self {
            code,
            message,
            reason,
            help,
            witness,
            position: span.as_ref().map(|span| locate.position(span.start)),
            span: span.and_then(|span| visible(text, span)),
            also: also.and_then(|(span, reason)| Some((visible(text, span)?, reason))),
        }
    }
}

/// One line, without the file's name.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Position { line, column }) = self.position {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

/// Where offsets lie, asked for in rising order: a text of megabytes is walked once, not once per diagnostic.
struct Locator<'t> {
    text: &'t str,
    offset: usize,
    position: Position,
}

impl<'t> Locator<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            offset: 0,
            position: Position { line: 1, column: 1 },
        }
    }

    fn position(&mut self, offset: usize) -> Position {
        let passed = self.text.get(self.offset..offset).unwrap_or_default();
        for c in passed.chars() {
            if c == '\n' {
                self.position.line += 1;
                self.position.column = 1;
            } else {
                self.position.column += 1;
            }
        }
        self.offset += passed.len();
        self.position
    }
}

/// The part of `span` that can be shown: its first line, and only if what is printed around it is not endless.
fn visible(text: &str, span: Span) -> Option<Span> {
    /// Of the line before, the line itself and the line after together.
    const LONGEST_SNIPPET: usize = 1_000;
    let (before, from) = (text.get(..span.start)?, text.get(span.start..)?);
    let start = before.rmatch_indices('\n').nth(1).map_or(0, |(at, _)| at);
    let end = from.match_indices('\n').nth(1);
    let end = end.map_or(text.len(), |(at, _)| span.start + at);
    if end - start > LONGEST_SNIPPET {
        return None;
    }
    let line = from.find('\n').unwrap_or(from.len());
    Some(span.start..span.end.min(span.start + line).max(span.start))
}

/// `text` with nothing in it that a terminal would obey, at the same offsets.
fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => harmless.push(c),
            '\r' => harmless.push(' '),
            // Controls, and the marks that reorder what is read (U+202A to U+202E, U+2066 to U+2069).
            _ if c.is_control()
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                harmless.extend(std::iter::repeat_n('?', c.len_utf8()));
            }
            _ => harmless.push(c),
        }
    }
    harmless
}

/// A diagnostic beside its source, as miette wants to see it.
struct Shown<'a> {
    diagnostic: &'a Diagnostic,
    source: &'a NamedSource<String>,
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.diagnostic, f)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.diagnostic.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.code.severity() {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Note => miette::Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.diagnostic.help.as_ref()?;
        let Some(witness) = &self.diagnostic.witness else {
            return Some(Box::new(help));
        };
        let route = witness.route.as_ref();
        let taken = route.map_or("no route takes it".to_owned(), |id| {
            format!("goes to `{id}`")
        });
        Some(Box::new(format!(
            "{help}\ntry {}: {taken}",
            witness.request
        )))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.diagnostic.span.as_ref()?;
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let Diagnostic {
            span, reason, also, ..
        } = self.diagnostic;
        let labelled = |span: &Span, label: Option<String>| {
            LabeledSpan::new_primary_with_span(label, SourceSpan::from(span.clone()))
        };
        let place = labelled(span.as_ref()?, reason.clone());
        let other = also.as_ref().map(|(span, reason)| {
            LabeledSpan::new_with_span(Some(reason.clone()), SourceSpan::from(span.clone()))
        });
        Some(Box::new(std::iter::once(place).chain(other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str, finding: Finding) -> Report {
        let mut findings = Findings::default();
        findings.add(finding);
        Report::new("x.toml", text, findings)
    }

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let mut locate = Locator::new("ä=1\nbö = 2\n");
        for (offset, line, column) in [(0, 1, 1), (2, 1, 2), (5, 2, 1), (9, 2, 4), (99, 2, 4)] {
            assert_eq!(
                locate.position(offset),
                Position { line, column },
                "{offset}"
            );
        }
    }

    #[test]
    fn no_colour_and_no_control_character_reaches_a_file() {
        let text = "a = \"\u{1b}[2J\u{9b}1m\u{202e}\"\r\n";
        let finding = Finding::new(Code::InvalidValue, 4..text.len() - 2, "no");
        let drawn = report(text, finding).draw(GraphicalTheme::none());
        assert!(drawn.contains("config::invalid_value"), "{drawn}");
        assert!(
            !drawn.contains(|c: char| c.is_control() && c != '\n'),
            "{drawn:?}"
        );
        assert!(!drawn.contains('\u{202e}'));
        assert_eq!(harmless(text).len(), text.len());
    }

    #[test]
    fn colour_is_for_terminals() {
        let finding = Finding::new(Code::InvalidValue, 0..1, "no");
        let report = report("a = 1", finding);
        assert!(report.draw(GraphicalTheme::unicode()).contains('\u{1b}'));
        assert!(
            !report
                .draw(GraphicalTheme::unicode_nocolor())
                .contains('\u{1b}')
        );
    }

    #[test]
    fn an_endless_line_is_not_quoted() {
        let text = format!("a = \"{}\"", "x".repeat(1_000_000));
        let finding = Finding::new(Code::InvalidValue, 4..text.len(), "no");
        assert!(report(&text, finding).draw(GraphicalTheme::none()).len() < 1_000);
    }

    #[test]
    fn json_says_where_and_what() {
        let finding = Finding::new(Code::UnknownKey, 6..7, "b?").help("a");
        let json = report("a = 1\nb = 2\n", finding).to_json();
        let first = &json["diagnostics"][0];
        assert_eq!(first["code"], "config::unknown_key");
        assert_eq!(first["severity"], "error");
        assert_eq!((&first["line"], &first["column"]), (&json!(2), &json!(1)));
        assert_eq!(json["errors"], 1);
    }
}
