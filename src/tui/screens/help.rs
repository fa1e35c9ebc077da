//! The keys, as the table has them.

use ratatui::layout::{Rect, Size};

use super::super::app::{Model, Screen};
use super::super::canvas::{Canvas, Span, span};
use super::super::keys::{self, Context, Group};
use super::super::theme::Role;
use super::super::widgets::{rule, status};
use super::super::words;

/// Draws the screen from its line `first` on.
pub(crate) fn draw(canvas: &mut Canvas<'_>, model: &Model, first: u16) {
    let area = canvas.area();
    status::head(canvas, area, model);
    if area.height < 3 {
        return;
    }
    let title = [
        span("Help", Role::Strong),
        span(
            match context(model) {
                Context::Route => " · a route",
                Context::Triage | Context::Help | Context::Filter => " · the list of routes",
            },
            Role::Muted,
        ),
    ];
    let lines = lines(model, area.width);
    let rows = page(model);
    let mut remark = vec![span("Esc close", Role::Muted)];
    if lines.len() > rows {
        let to = (usize::from(first) + rows).min(lines.len());
        let text = format!("   {}–{to} of {}  j k", first + 1, lines.len());
        remark.push(span(text, Role::Muted));
    }
    rule::draw(canvas, (area.x, area.y + 1), area.width, &title, &remark);
    let inner = Rect::new(area.x, area.y + 2, area.width, area.height - 3);
    let visible = lines.iter().skip(usize::from(first));
    for (y, line) in (inner.y..inner.bottom()).zip(visible) {
        for (x, width, spans) in line {
            canvas.spans(inner.x + x, y, *width, spans);
        }
    }
    status::foot(canvas, area, model);
}

/// How many lines the screen shows at once.
pub(crate) fn page(model: &Model) -> usize {
    usize::from(model.size.height.saturating_sub(3))
}

/// The furthest line that may be the first.
pub(crate) fn last_line(model: &Model) -> u16 {
    let Size { width, .. } = model.size;
    let lines = lines(model, width).len().saturating_sub(page(model));
    u16::try_from(lines).unwrap_or(u16::MAX)
}

/// Pieces of one line: where, how wide, what.
type Line = Vec<(u16, u16, Vec<Span<'static>>)>;

const COLUMN: u16 = 56;
const KEYS: u16 = 14;

/// The keys of the screen behind the help.
fn context(model: &Model) -> Context {
    match model.screen {
        Screen::Triage => Context::Triage,
        Screen::Route(_) => Context::Route,
    }
}

fn lines(model: &Model, width: u16) -> Vec<Line> {
    let columns = usize::from((width / COLUMN).clamp(1, 2));
    let column = width / u16::try_from(columns).unwrap_or(1);
    let blocks: Vec<Vec<Vec<Span<'static>>>> = Group::ALL
        .into_iter()
        .map(|group| block(context(model), group))
        .collect();
    let mut lines: Vec<Line> = Vec::new();
    for side_by_side in blocks.chunks(columns) {
        let height = side_by_side.iter().map(Vec::len).max().unwrap_or(0);
        for row in 0..height {
            let mut line = Line::new();
            for (x, block) in (0..).step_by(usize::from(column)).zip(side_by_side) {
                if let Some(spans) = block.get(row) {
                    line.push((x + 1, column.saturating_sub(2), spans.clone()));
                }
            }
            lines.push(line);
        }
        lines.push(Line::new());
    }
    lines.extend(legend(width));
    lines
}

fn block(context: Context, group: Group) -> Vec<Vec<Span<'static>>> {
    let rows = keys::rows(context).filter(|row| row.group == group);
    let rows = rows.map(|row| {
        let label = row.label();
        vec![
            span(
                format!("{label:<width$}", width = usize::from(KEYS)),
                Role::Accent,
            ),
            span(row.help, Role::Text),
        ]
    });
    std::iter::once(vec![span(group.title(), Role::Strong)])
        .chain(rows)
        .collect()
}

fn legend(width: u16) -> Vec<Line> {
    let mut lines = vec![vec![(
        1,
        width.saturating_sub(1),
        vec![span("WORDS", Role::Strong)],
    )]];
    let mut line: Vec<Span<'static>> = Vec::new();
    let mut used = 0;
    for status in words::LEGEND {
        let text = format!("{}   ", status.text());
        // Every one is made of one-column characters.
        let columns = u16::try_from(text.chars().count()).unwrap_or(u16::MAX);
        if used + columns > width.saturating_sub(2) && !line.is_empty() {
            lines.push(vec![(
                1,
                width.saturating_sub(1),
                std::mem::take(&mut line),
            )]);
            used = 0;
        }
        used += columns;
        line.push(span(text, status.role));
    }
    lines.push(vec![(1, width.saturating_sub(1), line)]);
    for text in [
        "A dot in a chart is a measured zero; an empty column was not measured; – is no data.",
        "BAD is what the ingress or its upstreams got wrong; what clients got wrong is excluded.",
    ] {
        lines.push(vec![(
            1,
            width.saturating_sub(1),
            vec![span(text, Role::Muted)],
        )]);
    }
    lines
}
