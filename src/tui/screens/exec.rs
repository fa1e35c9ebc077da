//! A day and a month in a few lines, for those who ask whether promises are kept.

use ratatui::layout::Rect;

use super::super::canvas::{Canvas, Span, span};
use super::super::fmt;
use super::super::theme::Role;
use super::super::widgets::table::{self, Cell, Column, Kind};
use super::super::widgets::{bars, rule, verdict};
use super::super::words::{self, Status};
use crate::model::{EventKind, Timestamp, Window};
use crate::snapshot::{RouteView, SloView, Snapshot};

const DAY: Window = Window::days(1);
/// Certificates that end within this are named.
const CERTIFICATES_S: i64 = 30 * 86_400;

/// Draws the screen.
pub(super) fn draw(canvas: &mut Canvas<'_>, body: Rect, snapshot: &Snapshot) {
    let facts = facts(snapshot);
    let slos = u16::try_from(snapshot.slos.len())
        .unwrap_or(u16::MAX)
        .max(1);
    // The facts always have their place; promises come before volumes.
    let fixed = u16::try_from(facts.len()).unwrap_or(0) + 1;
    let spare = body.height.saturating_sub(fixed);
    let volumes = if spare >= 10 { (spare / 3).max(4) } else { 0 };
    let promises = (slos.saturating_add(2)).min(spare - volumes);
    let mut y = body.y;
    let mut part = |height: u16| {
        let part = Rect::new(body.x, y, body.width, height);
        y += height;
        part
    };
    draw_facts(canvas, part(fixed.min(body.height)), snapshot, &facts);
    let area = part(promises);
    if area.height >= 2 {
        let title = [
            span("Promises", Role::Strong),
            span(" · rolling", Role::Muted),
        ];
        rule::draw(canvas, (area.x, area.y), area.width, &title, &[]);
        draw_table(
            canvas,
            area,
            &promise_columns(),
            &snapshot.slos,
            "No SLO is configured.",
        );
    }
    let area = part(body.bottom().saturating_sub(body.y + fixed + promises));
    if area.height >= 3 && volumes > 0 {
        let title = [
            span("Volume by route", Role::Strong),
            span(" · last hour", Role::Muted),
        ];
        rule::draw(canvas, (area.x, area.y), area.width, &title, &[]);
        let total: u64 = snapshot.routes.iter().map(volume).sum();
        let mut routes: Vec<Volume<'_>> = snapshot
            .routes
            .iter()
            .filter(|route| volume(route) > 0)
            .map(|route| Volume { route, total })
            .collect();
        routes.sort_by_key(|it| std::cmp::Reverse(volume(it.route)));
        draw_table(
            canvas,
            area,
            &volume_columns(),
            &routes,
            "No request in the last hour.",
        );
    }
}

fn draw_table<T>(
    canvas: &mut Canvas<'_>,
    area: Rect,
    columns: &[Column<T>],
    rows: &[T],
    empty: &str,
) {
    if rows.is_empty() {
        canvas.put(
            area.x + 2,
            area.y + 1,
            area.width.saturating_sub(2),
            empty,
            Role::Text,
        );
        return;
    }
    let fit = table::fit(columns, area.width.saturating_sub(3));
    fit.heads(canvas, (area.x + 2, area.y + 1), columns);
    for (y, row) in (area.y + 2..area.bottom()).zip(rows) {
        fit.row(canvas, (area.x + 2, y), columns, row);
    }
}

/// Good ÷ valid over `window`, from the burn rate, which is the bad share in units of what the objective allows.
fn success(slo: &SloView, window: Window) -> Option<f64> {
    let burn = slo.burn.get(&window).copied().flatten()?;
    let allowed = 1.0 - f64::from(slo.objective_ppm) / 1e6;
    Some((1.0 - burn * allowed).clamp(0.0, 1.0))
}

fn kept(slo: &SloView, window: Window) -> Option<Status> {
    // In units of the promise itself, so that rounding cannot decide.
    let burn = slo.burn.get(&window).copied().flatten()?;
    Some(if burn <= 1.0 {
        Status::MET
    } else {
        Status::MISSED
    })
}

fn facts(snapshot: &Snapshot) -> Vec<(&'static str, Vec<Span<'static>>)> {
    let mut facts = Vec::new();
    let day = snapshot.slos.iter().filter_map(|slo| kept(slo, DAY));
    let (met, missed): (Vec<Status>, Vec<Status>) = day.partition(|kept| *kept == Status::MET);
    facts.push((
        "24h",
        match (met.len(), missed.len()) {
            (0, 0) => vec![span("no SLO has data", Role::Muted)],
            (met, 0) => vec![
                span(Status::MET.text(), Status::MET.role),
                span(format!("  all {met} promises with data"), Role::Text),
            ],
            (met, missed) => vec![
                span(Status::MISSED.text(), Status::MISSED.role),
                span(
                    format!("  {missed} of {} promises with data", met + missed),
                    Role::Text,
                ),
            ],
        },
    ));
    let (said, open) = (&snapshot.verdict, snapshot.other_verdicts.len());
    let mut incident = match (said.route.as_ref(), said.onset) {
        (Some(route), Some(onset)) => {
            let since = fmt::age(snapshot.at.since(onset));
            vec![span(format!("{route}, {since}"), Role::Strong)]
        }
        (Some(route), None) => vec![span(route.clone(), Role::Strong)],
        (None, _) => vec![span("none", Role::Text)],
    };
    if open > 0 {
        incident.push(span(format!("  and {open} more"), Role::Text));
    }
    facts.push(("open", incident));
    facts.push(("changes", changes(snapshot)));
    facts.push(("certs", certificates(snapshot)));
    facts.push((
        "history",
        vec![span(
            format!(
                "counting for {}, {} spans without it in 30d",
                fmt::age(snapshot.at.since(snapshot.counting_since)),
                snapshot.store.gaps.len()
            ),
            Role::Text,
        )],
    ));
    facts
}

fn changes(snapshot: &Snapshot) -> Vec<Span<'static>> {
    let recent = |at: Timestamp| snapshot.at.since(at).as_secs() < DAY.as_secs();
    let mut spans = Vec::new();
    for kind in EventKind::ALL {
        let events = snapshot.events.iter();
        let count = events.filter(|it| it.kind == kind && recent(it.at)).count();
        if count > 0 {
            spans.push(span(format!("{count} "), Role::Strong));
            spans.push(span(format!("{}  ", kind.as_str()), Role::Muted));
        }
    }
    if spans.is_empty() {
        spans.push(span("none in 24h", Role::Text));
    }
    spans
}

fn certificates(snapshot: &Snapshot) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    for view in &snapshot.certificates {
        let Some(left) = view.left_s.filter(|left| *left < CERTIFICATES_S) else {
            continue;
        };
        if spans.len() >= 6 {
            spans.push(span("…", Role::Muted));
            break;
        }
        let role = if view.urgency.is_some() {
            Role::Warn
        } else {
            Role::Text
        };
        let days = left.div_euclid(86_400);
        spans.push(span(view.name.clone(), role));
        spans.push(span(format!(" {days}d  "), Role::Muted));
    }
    if spans.is_empty() {
        let text = if snapshot.certificates.is_empty() {
            "none known"
        } else {
            "none ends within 30 days"
        };
        spans.push(span(text, Role::Text));
    }
    spans
}

fn draw_facts(
    canvas: &mut Canvas<'_>,
    area: Rect,
    snapshot: &Snapshot,
    facts: &[(&'static str, Vec<Span<'static>>)],
) {
    if area.height == 0 {
        return;
    }
    let title = [
        span("Exec", Role::Strong),
        span(
            format!(" · rolling 24h to {}", fmt::minute(snapshot.at)),
            Role::Muted,
        ),
        span(" UTC", Role::Muted),
    ];
    rule::draw(canvas, (area.x, area.y), area.width, &title, &[]);
    for (y, (name, spans)) in (area.y + 1..area.bottom()).zip(facts) {
        canvas.put(area.x + 2, y, 9, name, Role::Muted);
        canvas.spans(area.x + 11, y, area.width.saturating_sub(12), spans);
    }
}

fn promise_columns() -> [Column<SloView>; 8] {
    [
        Column {
            head: "24h",
            width: 8,
            rank: 0,
            kind: Kind::Left,
            cell: Cell::Fixed(|slo| {
                let kept = kept(slo, DAY).unwrap_or(Status::NONE);
                vec![span(kept.text(), kept.role)]
            }),
        },
        Column {
            head: "PROMISE",
            width: 16,
            rank: 0,
            kind: Kind::Flexible(40),
            cell: Cell::Text(|slo| slo.id.clone()),
        },
        promise("TARGET", 7, 2, |slo| {
            fmt::or_none(verdict::objective(slo), |objective| objective)
        }),
        promise("24h", 8, 1, |slo| {
            fmt::or_none(success(slo, DAY), fmt::success)
        }),
        promise("3d", 8, 4, |slo| {
            fmt::or_none(success(slo, Window::days(3)), fmt::success)
        }),
        promise("WINDOW", 8, 3, |slo| {
            fmt::or_none(slo.sli_ratio, fmt::success)
        }),
        promise("BUDGET", 7, 2, |slo| {
            fmt::or_none(slo.expected_remaining_ratio, fmt::remaining)
        }),
        Column {
            head: "STATE",
            width: 12,
            rank: 3,
            kind: Kind::Left,
            cell: Cell::Fixed(|slo| {
                let status = words::slo(slo.state);
                vec![span(status.text(), status.role)]
            }),
        },
    ]
}

const fn promise(
    head: &'static str,
    width: u16,
    rank: u8,
    cell: fn(&SloView) -> String,
) -> Column<SloView> {
    Column {
        head,
        width,
        rank,
        kind: Kind::Right,
        cell: Cell::Text(cell),
    }
}

struct Volume<'a> {
    route: &'a RouteView,
    total: u64,
}

fn volume(route: &RouteView) -> u64 {
    route.series.requests.iter().flatten().sum()
}

fn volume_columns<'a>() -> [Column<Volume<'a>>; 5] {
    [
        Column {
            head: "ROUTE",
            width: 16,
            rank: 0,
            kind: Kind::Flexible(40),
            cell: Cell::Text(|it: &Volume<'_>| it.route.id.clone()),
        },
        amount("REQUESTS", 8, 0, |it| fmt::si(volume(it.route) as f64)),
        amount("SHARE", 7, 1, |it| {
            fmt::share(volume(it.route) as f64 / it.total.max(1) as f64)
        }),
        amount("BAD%", 7, 1, |it| {
            let bad: u64 = it.route.series.bad.iter().flatten().sum();
            fmt::share(bad as f64 / volume(it.route).max(1) as f64)
        }),
        Column {
            head: "REQUESTS BY THE MINUTE",
            width: 22,
            rank: 2,
            kind: Kind::Chart(60),
            cell: Cell::Sized(|it: &Volume<'_>, width| {
                let requests = &it.route.series.requests;
                let skipped = requests.len().saturating_sub(usize::from(width));
                let values: Vec<Option<f64>> = requests[skipped..]
                    .iter()
                    .map(|count| count.map(|count| count as f64))
                    .collect();
                vec![span(
                    bars::spark(&values, bars::full(&values, 1.0)),
                    Role::Text,
                )]
            }),
        },
    ]
}

const fn amount<'a>(
    head: &'static str,
    width: u16,
    rank: u8,
    cell: fn(&Volume<'a>) -> String,
) -> Column<Volume<'a>> {
    Column {
        head,
        width,
        rank,
        kind: Kind::Right,
        cell: Cell::Text(cell),
    }
}
