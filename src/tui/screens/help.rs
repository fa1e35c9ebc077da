//! The keys, as the table has them.

use super::super::app::Model;
use super::super::canvas::{Span, span};
use super::super::command;
use super::super::keys::{self, Context, Group};
use super::super::theme::Role;
use super::super::words;
use super::reading::Line;

/// What its title says.
pub(crate) fn title(model: &Model) -> Vec<Span<'static>> {
    let of = match model.behind() {
        Context::Route => " · a route",
        Context::Slos => " · SLOs",
        Context::Upstreams => " · upstreams",
        Context::Probes => " · probes",
        Context::Certs => " · certificates",
        Context::Changes => " · changes",
        Context::Alerts => " · alerts",
        Context::Exec => " · executive summary",
        Context::Triage
        | Context::Help
        | Context::Explain
        | Context::Runbook
        | Context::Filter
        | Context::Command => " · the list of routes",
    };
    vec![span("Help", Role::Strong), span(of, Role::Muted)]
}

const COLUMN: u16 = 56;
const KEYS: u16 = 14;

/// Every line of it on a screen of `width`.
pub(crate) fn lines(model: &Model, width: u16) -> Vec<Line> {
    let columns = usize::from((width / COLUMN).clamp(1, 2));
    let column = width / u16::try_from(columns).unwrap_or(1);
    let blocks: Vec<Vec<Vec<Span<'static>>>> = Group::ALL
        .into_iter()
        .map(|group| block(model.behind(), group))
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
    lines.extend(commands(width));
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

fn commands(width: u16) -> Vec<Line> {
    let room = width.saturating_sub(1);
    let screens = "a screen's name shows it";
    let all = std::iter::once((":slo".to_owned(), screens)).chain(command::all());
    let rows = all.map(|(name, help)| {
        let keys = usize::from(KEYS);
        let spans = vec![
            span(format!("{name:<keys$} "), Role::Accent),
            span(help, Role::Text),
        ];
        vec![(1, room, spans)]
    });
    std::iter::once(vec![(1, room, vec![span("COMMANDS", Role::Strong)])])
        .chain(rows)
        .chain(std::iter::once(Line::new()))
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
