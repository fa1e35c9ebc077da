//! What was promised, how much of each budget is left, how fast it goes, and what spent it.

use ratatui::layout::Rect;

use super::super::app::Model;
use super::super::canvas::{Canvas, Span, span};
use super::super::fmt;
use super::super::tab::Tab;
use super::super::theme::Role;
use super::super::widgets::table::{Cell, Column, Kind};
use super::super::widgets::{bars, listing, rule, verdict};
use super::super::words;
use crate::model::Window;
use crate::slo::burn;
use crate::slo::state::SloState;
use crate::snapshot::{SloView, Snapshot, Spell, Spending, SpentPart};

/// Rows below the list that say something.
const BELOW: u16 = 9;
/// From this width on what spent the budget has its place beside the burn rates.
const WIDE: u16 = 100;
/// Columns of a budget's bar.
const BAR: usize = 10;

/// How many rows of `body` the list takes.
pub(super) fn split(body: u16, count: usize) -> u16 {
    super::share(body, count, BELOW.min(body / 2).max(6))
}

/// Draws the screen.
pub(super) fn draw(canvas: &mut Canvas<'_>, body: Rect, model: &Model, snapshot: &Snapshot) {
    let slos = &snapshot.slos;
    let list = split(body.height, slos.len());
    let place = &model.places[Tab::Slos.index()];
    let ids = super::ids(model, snapshot, Tab::Slos);
    let cursor = place.cursor(&ids);
    let title = [span("SLO", Role::Strong), span(heading(slos), Role::Muted)];
    let remark = [span("the one that empties first is first", Role::Muted)];
    rule::draw(canvas, (body.x, body.y), body.width, &title, &remark);
    let table = Rect::new(body.x, body.y + 1, body.width, list.saturating_sub(1));
    listing::draw(
        canvas,
        table,
        &columns(),
        (slos.len(), place.offset, cursor),
        "No SLO is configured: nothing is promised, so nothing can burn.",
        |index| slos.get(index),
    );
    let rest = Rect::new(
        body.x,
        body.y + list,
        body.width,
        body.height.saturating_sub(list),
    );
    let Some(slo) = slos.get(cursor).filter(|_| rest.height >= 2) else {
        return;
    };
    let asked = model.asked.spending(&slo.id);
    if rest.width >= WIDE {
        let left = rest.width / 2;
        draw_burns(
            canvas,
            Rect::new(rest.x, rest.y, left, rest.height),
            slo,
            asked,
        );
        let right = Rect::new(rest.x + left, rest.y, rest.width - left, rest.height);
        draw_spent(canvas, right, snapshot, slo, asked);
        canvas.cell(right.x, right.y, "┬", Role::Muted);
        for y in right.y + 1..right.bottom() {
            canvas.cell(right.x, y, "│", Role::Muted);
        }
    } else {
        draw_spent(canvas, rest, snapshot, slo, asked);
    }
}

fn heading(slos: &[SloView]) -> String {
    let spending = slos.iter().filter(|slo| slo.state >= SloState::Low).count();
    match (slos.len(), spending) {
        (total, 0) => format!(" · {total}, all within budget"),
        (total, spending) => format!(" · {total}, {spending} in trouble"),
    }
}

/// What is left of a budget, as a bar.
fn bar(remaining: Option<f64>) -> String {
    let Some(remaining) = remaining else {
        return " ".repeat(BAR);
    };
    let whole = (remaining.clamp(0.0, 1.0) * BAR as f64).floor() as usize;
    // A budget that is not empty is never drawn empty.
    let whole = if remaining > 0.0 { whole.max(1) } else { 0 };
    format!("{}{}", "█".repeat(whole), "░".repeat(BAR - whole))
}

fn columns<'a>() -> [Column<&'a SloView>; 12] {
    [
        Column {
            head: "STATUS",
            width: 12,
            rank: 0,
            kind: Kind::Left,
            cell: Cell::Fixed(|slo: &&SloView| {
                let status = words::slo(slo.state);
                vec![span(status.text(), status.role)]
            }),
        },
        Column {
            head: "SLO",
            width: 16,
            rank: 0,
            kind: Kind::Flexible(36),
            cell: Cell::Fixed(|slo: &&SloView| vec![span(slo.id.clone(), Role::Text)]),
        },
        Column {
            head: "ABOUT",
            width: 12,
            rank: 8,
            kind: Kind::Left,
            cell: Cell::Text(|slo: &&SloView| slo.about().to_owned()),
        },
        number("TARGET", 7, 3, |slo| {
            fmt::or_none(verdict::objective(slo), |objective| objective)
        }),
        number("MEASURED", 8, 6, |slo| {
            fmt::or_none(slo.sli_ratio, fmt::success)
        }),
        Column {
            head: "BUDGET",
            width: BAR as u16,
            rank: 5,
            kind: Kind::Left,
            cell: Cell::Fixed(|slo: &&SloView| {
                let status = words::slo(slo.state);
                vec![span(bar(slo.expected_remaining_ratio), status.role)]
            }),
        },
        number("LEFT", 6, 1, |slo| {
            fmt::or_none(slo.expected_remaining_ratio, fmt::remaining)
        }),
        number("5m", 6, 2, |slo| burn_over(slo, Window::minutes(5))),
        number("1h", 6, 2, |slo| burn_over(slo, Window::hours(1))),
        number("6h", 6, 4, |slo| burn_over(slo, Window::hours(6))),
        number("3d", 6, 7, |slo| burn_over(slo, Window::days(3))),
        number("EMPTY IN", 8, 1, |slo| empty_in(slo)),
    ]
}

const fn number<'a>(
    head: &'static str,
    width: u16,
    rank: u8,
    cell: fn(&&'a SloView) -> String,
) -> Column<&'a SloView> {
    Column {
        head,
        width,
        rank,
        kind: Kind::Right,
        cell: Cell::Text(cell),
    }
}

fn burn_over(slo: &SloView, window: Window) -> String {
    fmt::or_none(slo.burn.get(&window).copied().flatten(), fmt::burn)
}

fn empty_in(slo: &SloView) -> String {
    match (slo.time_to_empty_s, slo.expected_remaining_ratio) {
        (_, Some(left)) if left <= 0.0 => "gone".to_owned(),
        (Some(0), _) => "gone".to_owned(),
        (Some(secs), _) => fmt::seconds(secs),
        (None, None) => fmt::NO_DATA.to_owned(),
        (None, Some(_)) => "never".to_owned(),
    }
}

type Asked<'a> = Option<Result<&'a Spending, &'a str>>;

fn draw_burns(canvas: &mut Canvas<'_>, area: Rect, slo: &SloView, asked: Asked<'_>) {
    let title = [
        span(slo.id.as_str(), Role::Strong),
        span(format!(" · budget of {}", slo.span()), Role::Muted),
    ];
    rule::draw(canvas, (area.x, area.y), area.width, &title, &[]);
    let room = area.width.saturating_sub(2);
    let mut y = area.y + 1;
    // The chart gets what the burn rates leave.
    let table = u16::try_from(burn::WINDOWS.len().div_ceil(2)).unwrap_or(0) + 1;
    let chart = (area.bottom() - y).saturating_sub(table);
    if let (Some(Ok(spending)), 2..) = (asked, chart) {
        let rows = chart.min(12) - 1;
        let skipped = spending.left.len().saturating_sub(usize::from(room));
        let values = spending.left.get(skipped..).unwrap_or_default();
        let clamped: Vec<Option<f64>> = values
            .iter()
            .map(|left| left.map(|left| left.clamp(0.0, 1.0)))
            .collect();
        let stretch = (usize::from(room) / clamped.len().max(1)).clamp(1, 2);
        bars::Bars {
            values: &clamped,
            full: 1.0,
            role: words::slo(slo.state).role,
            stretch: u16::try_from(stretch).unwrap_or(1),
            alarm: None,
        }
        .draw(canvas, Rect::new(area.x + 1, y, room, rows));
        let (from, to) = (spending.start, spending.at);
        let axis = format!(
            "{} → now, full height is the whole budget",
            fmt::moment(from, to)
        );
        canvas.put(area.x + 1, y + rows, room, &axis, Role::Muted);
        y += rows + 1;
    }
    let head = match slo.coverage_ratio {
        whole if whole >= 1.0 => "burn over".to_owned(),
        part => format!(
            "burn over    {} of the window has history",
            fmt::portion(part)
        ),
    };
    if y < area.bottom() {
        canvas.put(area.x + 1, y, room, &head, Role::Muted);
    }
    let half = burn::WINDOWS.len().div_ceil(2);
    for (place, window) in burn::WINDOWS.into_iter().enumerate() {
        let row = u16::try_from(place % half).unwrap_or(0);
        let column = u16::try_from(place / half).unwrap_or(0) * (room / 2);
        if y + 1 + row >= area.bottom() {
            continue;
        }
        let text = burn_over(slo, window);
        let spans = [
            span(format!("{:>4} ", window.to_string()), Role::Muted),
            span(format!("{text:>8}"), Role::Text),
        ];
        canvas.spans(area.x + 1 + column, y + 1 + row, room / 2, &spans);
    }
}

fn draw_spent(
    canvas: &mut Canvas<'_>,
    area: Rect,
    snapshot: &Snapshot,
    slo: &SloView,
    asked: Asked<'_>,
) {
    let mut title = vec![span("What spent it", Role::Strong)];
    if area.width < WIDE / 2 {
        title = vec![span("Spent", Role::Strong)];
    }
    if let Some(Ok(spending)) = asked
        && spending.allowed > 0.0
        && spending.bad > 0
    {
        let spent = spending.bad as f64 / spending.allowed;
        title.push(span(
            format!(
                " · {} of the budget of {}",
                fmt::share_of_budget(spent),
                slo.id
            ),
            Role::Muted,
        ));
    }
    rule::draw(canvas, (area.x, area.y), area.width, &title, &[]);
    let lines = match asked {
        None => vec![vec![span("asking the history", Role::Muted)]],
        Some(Err(why)) => vec![vec![
            span("no answer: ", Role::Warn),
            span(why.to_owned(), Role::Text),
        ]],
        Some(Ok(spending)) if spending.bad == 0 && slo.bad > 0 => vec![vec![span(
            "nothing stored of it yet: the history is written once a minute",
            Role::Muted,
        )]],
        Some(Ok(spending)) => spent_lines(snapshot, spending),
    };
    let inner = Rect::new(
        area.x + 2,
        area.y + 1,
        area.width.saturating_sub(3),
        area.height - 1,
    );
    for (y, line) in (inner.y..inner.bottom()).zip(lines) {
        canvas.spans(inner.x, y, inner.width, &line);
    }
}

fn spent_lines(snapshot: &Snapshot, spending: &Spending) -> Vec<Vec<Span<'static>>> {
    if spending.bad == 0 {
        return vec![vec![span(
            "nothing: not one bad event in the window",
            Role::Text,
        )]];
    }
    let mut lines: Vec<Vec<Span<'static>>> = spending
        .spells
        .iter()
        .map(|spell| spell_line(snapshot, spell))
        .collect();
    if let Some(rest) = spending.rest_ratio.filter(|rest| *rest > 0.0) {
        lines.push(vec![
            span(format!("{:>6}  ", fmt::share_of_budget(rest)), Role::Strong),
            span(
                "here and there, never faster than the budget allows",
                Role::Muted,
            ),
        ]);
    }
    lines.extend(parts_lines(&spending.parts));
    lines
}

/// Of each way to tell bad events apart, the part that most are, and how many more than usual they are lately.
fn parts_lines(parts: &[SpentPart]) -> Vec<Vec<Span<'static>>> {
    let mut lines = Vec::new();
    let mut told = "";
    // One day or one route says nothing that is not on the screen already.
    for part in parts
        .iter()
        .filter(|it| !matches!(it.dimension.as_str(), "day" | "route"))
    {
        if part.dimension == told {
            continue;
        }
        told = &part.dimension;
        let mut line = vec![
            span(format!("{:>6}  ", fmt::share(part.share)), Role::Strong),
            span(format!("{:<9}", part.dimension), Role::Muted),
            span(part.part.clone(), Role::Text),
        ];
        if let Some(excess) = part.excess.filter(|excess| *excess >= 1.0) {
            let more = format!("  +{} lately", fmt::si(excess));
            line.push(span(more, Role::Muted));
        }
        lines.push(line);
    }
    if !lines.is_empty() {
        lines.insert(0, vec![span("most of them", Role::Muted)]);
    }
    lines
}

fn spell_line(snapshot: &Snapshot, spell: &Spell) -> Vec<Span<'static>> {
    let lasted = fmt::age(spell.to.since(spell.from));
    let goes_on = snapshot.at.since(spell.to).as_secs() < 120;
    let mut spans = vec![
        span(
            format!("{:>6}  ", fmt::share_of_budget(spell.ratio)),
            Role::Strong,
        ),
        span(
            format!("{:<11}  ", fmt::moment(spell.from, snapshot.at)),
            Role::Text,
        ),
        span(format!("{lasted:>6}  "), Role::Muted),
    ];
    if goes_on {
        spans.push(span("now  ", Role::Accent));
    }
    match &spell.event {
        Some(event) => {
            spans.push(span(event.kind.letter().to_string(), Role::Accent));
            spans.push(span(format!(" {}", event.text), Role::Text));
        }
        None => spans.push(span("no change shortly before", Role::Muted)),
    }
    spans
}
