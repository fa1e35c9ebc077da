//! A text in front of the screen: the keys, or what to do.

use ratatui::layout::{Rect, Size};

use super::super::app::{Model, Page, Reading};
use super::super::canvas::{Canvas, Span, span};
use super::super::page;
use super::super::theme::Role;
use super::super::widgets::{rule, status};
use super::help;
use crate::generate;
use crate::slo::alert::AlertKind;
use crate::slo::policy::Severity;

/// Pieces of one line: where, how wide, what.
pub(crate) type Line = Vec<(u16, u16, Vec<Span<'static>>)>;

/// Draws the text.
pub(crate) fn draw(canvas: &mut Canvas<'_>, model: &Model, reading: Reading) {
    let area = canvas.area();
    status::head(canvas, area, model);
    if area.height < 3 {
        return;
    }
    let title = match reading.what {
        Page::Help => help::title(model),
        Page::Runbook(severity) => vec![
            span("Runbook", Role::Strong),
            span(
                match severity {
                    Severity::Page => " · someone is paged: a budget burns fast",
                    Severity::Ticket => " · a ticket: a budget burns slowly",
                },
                Role::Muted,
            ),
        ],
    };
    let lines = lines(model, reading.what, area.width);
    let first = usize::from(reading.line);
    let rows = page(model.size);
    let mut remark = vec![span("Esc close", Role::Muted)];
    if lines.len() > rows {
        let to = (first + rows).min(lines.len());
        let text = format!("   {}–{to} of {}  j k", first + 1, lines.len());
        remark.push(span(text, Role::Muted));
    }
    rule::draw(canvas, (area.x, area.y + 1), area.width, &title, &remark);
    let inner = Rect::new(area.x, area.y + 2, area.width, area.height - 3);
    for (y, line) in (inner.y..inner.bottom()).zip(lines.iter().skip(first)) {
        for (x, width, spans) in line {
            canvas.spans(inner.x + x, y, *width, spans);
        }
    }
    status::foot(canvas, area, model);
}

/// How many lines a screen of `size` shows at once.
pub(crate) fn page(size: Size) -> usize {
    usize::from(size.height.saturating_sub(3))
}

/// The furthest line that may be the first; 0 when nothing is read.
pub(crate) fn last_line(model: &Model) -> u16 {
    let Some(reading) = model.reading else {
        return 0;
    };
    let lines = lines(model, reading.what, model.size.width);
    u16::try_from(lines.len().saturating_sub(page(model.size))).unwrap_or(u16::MAX)
}

fn lines(model: &Model, what: Page, width: u16) -> Vec<Line> {
    match what {
        Page::Help => help::lines(model, width),
        Page::Runbook(severity) => {
            let room = width.saturating_sub(2);
            let mut lines = own_runbook(model, room);
            let text = generate::runbook_of(AlertKind::Burn, severity);
            lines.extend(page::lines(&text, room.min(LEGIBLE)));
            lines
                .into_iter()
                .map(|spans| vec![(1, room, spans)])
                .collect()
        }
    }
}

/// Longer lines are hard to read at any hour.
const LEGIBLE: u16 = 100;

/// Where the SLO's own runbook is, which whoever configured it trusts more than ours.
fn own_runbook(model: &Model, room: u16) -> Vec<Vec<Span<'static>>> {
    let Some(snapshot) = model.shown() else {
        return Vec::new();
    };
    let (verdict, ..) = model.verdict(snapshot);
    let Some(place) = verdict.runbook.as_deref().filter(|_| room > 0) else {
        return Vec::new();
    };
    vec![
        vec![
            span("Your own runbook: ", Role::Strong),
            span(place.to_owned(), Role::Accent),
        ],
        Vec::new(),
    ]
}
