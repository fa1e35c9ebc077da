//! Markdown as lines of a screen: headings, paragraphs, lists, code and tables, as far as our own pages use them.

use super::canvas::{Span, span};
use super::fmt;
use super::theme::Role;

/// The lines of `text`, none wider than `width`.
pub(crate) fn lines(text: &str, width: u16) -> Vec<Vec<Span<'static>>> {
    let mut page = Lines {
        width: usize::from(width).max(10),
        done: Vec::new(),
        paragraph: String::new(),
    };
    let mut in_code = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with("```") {
            page.end_paragraph();
            in_code = !in_code;
        } else if in_code {
            let code = format!("    {}", fmt::cut(line, page.width.saturating_sub(4)));
            page.done.push(vec![span(code, Role::Accent)]);
        } else if trimmed.is_empty() {
            page.end_paragraph();
            page.gap();
        } else if let Some(title) = trimmed.strip_prefix('#') {
            page.end_paragraph();
            page.gap();
            let title = title.trim_start_matches('#').trim().to_owned();
            page.done.push(vec![span(title, Role::Strong)]);
        } else if trimmed.starts_with('|') {
            page.end_paragraph();
            page.row(trimmed);
        } else {
            if is_item(trimmed) {
                page.end_paragraph();
            }
            if !page.paragraph.is_empty() {
                page.paragraph.push(' ');
            }
            page.paragraph.push_str(trimmed);
        }
    }
    page.end_paragraph();
    while page.done.last().is_some_and(Vec::is_empty) {
        page.done.pop();
    }
    page.done
}

/// The lines below the heading called `title`, up to the next heading; empty when there is none.
pub(crate) fn section<'t>(text: &'t str, title: &str) -> &'t str {
    let heading = format!("## {title}\n");
    let Some((_, rest)) = text.split_once(heading.as_str()) else {
        return "";
    };
    rest.split_once("\n## ")
        .map_or(rest, |(section, _)| section)
}

/// `text` in lines of at most `width` columns, broken between words where that is possible.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    hanging(text, width, 0)
}

/// The same with every line but the first indented.
fn hanging(text: &str, width: usize, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let (mut used, mut has_word) = (0, false);
    for word in text.split_whitespace() {
        let wide = fmt::width(word);
        if has_word && used + 1 + wide > width {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            (used, has_word) = (indent, false);
        }
        if has_word {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += wide;
        has_word = true;
    }
    if has_word {
        lines.push(line);
    }
    lines
}

struct Lines {
    width: usize,
    done: Vec<Vec<Span<'static>>>,
    paragraph: String,
}

impl Lines {
    fn gap(&mut self) {
        if self.done.last().is_some_and(|line| !line.is_empty()) {
            self.done.push(Vec::new());
        }
    }

    fn end_paragraph(&mut self) {
        let text = plain(&std::mem::take(&mut self.paragraph));
        let indent = text
            .split_once(' ')
            .filter(|_| is_item(&text))
            .map_or(0, |(mark, _)| mark.len() + 1);
        let lines = hanging(&text, self.width, indent);
        let lines = lines.into_iter().map(|line| vec![span(line, Role::Text)]);
        self.done.extend(lines);
    }

    /// One row of a table: its cells one after the other, since their columns rarely fit.
    fn row(&mut self, row: &str) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let is_rule = cells
            .iter()
            .all(|cell| !cell.is_empty() && cell.chars().all(|c| matches!(c, '-' | ':')));
        if is_rule {
            // What stood above was the heads.
            if let Some(heads) = self.done.last_mut() {
                for (_, role) in heads {
                    *role = Role::Muted;
                }
            }
            return;
        }
        let text = plain(&cells.join(" → "));
        let lines = hanging(&format!("· {text}"), self.width, 2);
        let lines = lines.into_iter().map(|line| vec![span(line, Role::Text)]);
        self.done.extend(lines);
    }
}

/// Whether a line begins an item of a list.
fn is_item(line: &str) -> bool {
    let numbered = |mark: &str| {
        mark.strip_suffix('.')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    line.split_once(' ')
        .is_some_and(|(mark, _)| mark == "-" || mark == "*" || numbered(mark))
}

/// Without the marks of weight and code, which cells cannot show.
fn plain(text: &str) -> String {
    text.replace("**", "").replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(markdown: &str, width: u16) -> Vec<String> {
        let line = |spans: Vec<Span<'static>>| spans.into_iter().map(|(text, _)| text).collect();
        lines(markdown, width).into_iter().map(line).collect()
    }

    #[test]
    fn paragraphs_lists_code_and_tables_become_lines() {
        let markdown = "# Title\n\nSome **bold** text that\ngoes on.\n\n1. First thing to\n   do.\n2. Second.\n\n\
                        | a | b |\n| --- | --- |\n| `x` | y |\n\n```sh\nrun it\n```\n";
        assert_eq!(
            text(markdown, 14),
            [
                "Title",
                "",
                "Some bold text",
                "that goes on.",
                "",
                "1. First thing",
                "   to do.",
                "2. Second.",
                "",
                "· a → b",
                "· x → y",
                "",
                "    run it",
            ]
        );
    }

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let markdown = "# T\n\n## One\n\na\n\n## Two\n\nb\n";
        assert_eq!(section(markdown, "One").trim(), "a");
        assert_eq!(section(markdown, "Two").trim(), "b");
        assert_eq!(section(markdown, "Three"), "");
    }

    #[test]
    fn our_own_pages_fit_any_width() {
        use crate::generate::runbook_of;
        use crate::slo::alert::AlertKind;
        use crate::slo::policy::Severity;
        for severity in [Severity::Page, Severity::Ticket] {
            let page = runbook_of(AlertKind::Burn, severity);
            assert!(!section(&page, "What to do").is_empty());
            for width in [1, 20, 80, 300] {
                assert!(lines(&page, width).len() > 10);
            }
        }
    }
}
