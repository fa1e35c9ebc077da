//! A text in front of the screen: the keys, or what to do.

use ratatui::layout::{Rect, Size};

use super::super::app::{Matter, Model, Page, Reading};
use super::super::canvas::{Canvas, Span, span};
use super::super::page;
use super::super::theme::Role;
use super::super::widgets::{rule, status};
use super::{explain, help};
use crate::generate;
use crate::slo::alert::AlertKind;
use crate::slo::policy::Severity;
use crate::triage::Topic;

/// Pieces of one line: where, how wide, what.
pub(crate) type Line = Vec<(u16, u16, Vec<Span<'static>>)>;

/// Draws the text.
pub(crate) fn draw(canvas: &mut Canvas<'_>, model: &Model, reading: &Reading) {
    let area = canvas.area();
    status::head(canvas, area, model);
    if area.height < 3 {
        return;
    }
    let title = match &reading.what {
        Page::Explain(route) => explain::title(route),
        Page::Help => help::title(model),
        Page::Runbook(matter) => vec![
            span("Runbook", Role::Strong),
            span(format!(" · {}", occasion(*matter)), Role::Muted),
        ],
    };
    let lines = lines(model, &reading.what, area.width);
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

/// What the runbook is for.
fn occasion(matter: Matter) -> String {
    let (topic, severity) = match matter {
        Matter::Alert(AlertKind::Burn, severity) => (Topic::Burn, severity),
        Matter::Alert(kind, severity) => {
            let loud = match severity {
                Severity::Page => "someone is paged",
                Severity::Ticket => "a ticket",
            };
            return format!("{loud}: {}", kind.as_str().replace('_', " "));
        }
        Matter::Verdict(topic, severity) => (topic, severity),
    };
    let what = match (topic, severity) {
        (Topic::Burn, Severity::Page) => "someone is paged: a budget burns fast",
        (Topic::Burn, Severity::Ticket) => "a ticket: a budget burns slowly",
        (Topic::Certificate, _) => "a certificate",
        (Topic::Misroute, _) => "requests go another way",
        (Topic::Silence, _) => "a busy route gets no request",
        (Topic::Slowdown, _) => "a route grows slower by the day",
        (Topic::Flapping, _) => "an endpoint comes and goes",
        (Topic::Outside, _) => "a probe fails",
        (Topic::Names, _) => "a name leads elsewhere",
        (Topic::Clients, _) => "what clients do wrong",
        (Topic::Handshakes, _) => "TLS handshakes fail",
        (Topic::Cpu, _) => "the processors are busy",
        (Topic::Memory, _) => "memory runs short",
        (Topic::Configuration, _) => "a configuration is refused or late",
        (Topic::Degraded, _) => "a part of Vestibule does not work",
    };
    what.to_owned()
}

/// How many lines a screen of `size` shows at once.
pub(crate) fn page(size: Size) -> usize {
    usize::from(size.height.saturating_sub(3))
}

/// The furthest line that may be the first; 0 when nothing is read.
pub(crate) fn last_line(model: &Model) -> u16 {
    let Some(reading) = &model.reading else {
        return 0;
    };
    let lines = lines(model, &reading.what, model.size.width);
    u16::try_from(lines.len().saturating_sub(page(model.size))).unwrap_or(u16::MAX)
}

fn lines(model: &Model, what: &Page, width: u16) -> Vec<Line> {
    match what {
        Page::Help => help::lines(model, width),
        Page::Explain(route) => {
            let room = width.saturating_sub(2);
            let lines = explain::lines(model, route, room);
            let lines = lines.into_iter().map(|spans| vec![(1, room, spans)]);
            lines.collect()
        }
        Page::Runbook(matter) => {
            let room = width.saturating_sub(2);
            let mut lines = own_runbook(model, room);
            let text = match matter {
                Matter::Alert(kind, severity) => generate::runbook_of(*kind, *severity),
                Matter::Verdict(topic, severity) => generate::runbook_about(*topic, *severity),
            };
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
