//! Everything that happened, on one axis of time with what went wrong.

use std::time::Duration;

use ratatui::layout::{Rect, Size};

use super::super::app::Model;
use super::super::canvas::{Canvas, Span, span};
use super::super::fmt;
use super::super::page;
use super::super::theme::Role;
use super::super::widgets::lanes::{self, Lanes};
use super::super::widgets::{changes, rule};
use super::super::words;
use super::{frame, triage};
use crate::model::{Event, Timestamp};
use crate::snapshot::{Series, Snapshot};

/// How long before and after an event is compared.
const AROUND: Duration = Duration::from_secs(300);

/// The heights of the parts.
struct Plan {
    lanes: u16,
    list: u16,
    detail: u16,
}

impl Plan {
    fn of(body: u16) -> Self {
        let apart = Lanes::rows(true) + 1;
        let lanes = match body {
            0..8 => 0,
            8..22 => Lanes::rows(false) + 1,
            22.. => apart,
        };
        let detail = match body {
            0..14 => 0,
            14..30 => 4,
            30.. => 7,
        };
        Self {
            lanes,
            list: body - lanes - detail,
            detail,
        }
    }
}

/// How many events the list shows at once.
pub(super) fn rows(size: Size) -> usize {
    usize::from(Plan::of(frame::body(size)).list.saturating_sub(1))
}

/// Draws the screen.
pub(super) fn draw(canvas: &mut Canvas<'_>, body: Rect, model: &Model, snapshot: &Snapshot) {
    let plan = Plan::of(body.height);
    let (said, ..) = model.verdict(snapshot);
    let cursor = model.event_index(snapshot);
    let mut y = body.y;
    let mut part = |height: u16| {
        let part = Rect::new(body.x, y, body.width, height);
        y += height;
        part
    };
    let series = &snapshot.edge.series;
    let title = [
        span("Changes", Role::Strong),
        span(lanes::span_of(series), Role::Muted),
    ];
    let remark = [span("{ } event   Enter open", Role::Muted)];
    let area = part(plan.lanes);
    if plan.lanes > 0 {
        rule::draw(canvas, (area.x, area.y), area.width, &title, &remark);
        let inner = Rect::new(area.x, area.y + 1, area.width, area.height - 1);
        Lanes {
            series,
            events: &snapshot.events,
            event: cursor,
            alarm: triage::alarm(said),
        }
        .draw(canvas, inner);
    }
    let list = part(plan.list);
    let count = snapshot.events.len();
    let heads = [
        span("Newest first", Role::Strong),
        span(format!(" · {count} kept"), Role::Muted),
    ];
    rule::draw(canvas, (list.x, list.y), list.width, &heads, &[]);
    let inner = Rect::new(
        list.x,
        list.y + 1,
        list.width,
        list.height.saturating_sub(1),
    );
    changes::draw(canvas, inner, snapshot, said, cursor);
    let detail = part(plan.detail);
    if plan.detail > 0
        && let Some(event) = cursor.and_then(|cursor| snapshot.events.get(cursor))
    {
        draw_detail(canvas, detail, model, snapshot, event);
    }
}

fn draw_detail(
    canvas: &mut Canvas<'_>,
    area: Rect,
    model: &Model,
    snapshot: &Snapshot,
    event: &Event,
) {
    let at = fmt::moment(event.at, snapshot.at);
    let ago = fmt::age(snapshot.at.since(event.at));
    let title = [
        span(event.kind.letter().to_string(), Role::Accent),
        span(format!(" {} {at}", event.kind.as_str()), Role::Strong),
        span(format!(" · {ago} ago"), Role::Muted),
    ];
    rule::draw(canvas, (area.x, area.y), area.width, &title, &[]);
    let room = area.width.saturating_sub(2);
    let mut lines: Vec<Vec<Span<'_>>> = page::wrapped(&event.text, usize::from(room))
        .into_iter()
        .take(usize::from(area.height.saturating_sub(3)).max(1))
        .map(|line| vec![span(line, Role::Text)])
        .collect();
    let (said, ..) = model.verdict(snapshot);
    match said.suspect.as_ref().filter(|it| it.event == *event) {
        Some(suspect) => lines.push(vec![
            span(words::strength(suspect.strength), Role::Accent),
            span(format!(": {}. Not proof.", suspect.why), Role::Text),
        ]),
        None => lines.push(about(event)),
    }
    lines.push(around(snapshot, event));
    for (y, line) in (area.y + 1..area.bottom()).zip(&lines) {
        canvas.spans(area.x + 1, y, room, line);
    }
}

/// What it concerns.
fn about(event: &Event) -> Vec<Span<'_>> {
    let scope = &event.scope;
    let parts = [
        ("route", &scope.route),
        ("upstream", &scope.upstream),
        ("endpoint", &scope.endpoint),
        ("SLO", &scope.slo),
        ("version", &scope.version),
    ];
    let mut spans = vec![span("about ", Role::Muted)];
    for (name, value) in parts {
        if let Some(value) = value {
            spans.push(span(format!("{name} "), Role::Muted));
            spans.push(span(value.as_str(), Role::Text));
            spans.push(span("  ", Role::Text));
        }
    }
    if spans.len() == 1 {
        spans.push(span("everything", Role::Text));
    }
    spans
}

/// What went wrong just before it and just after.
fn around(snapshot: &Snapshot, event: &Event) -> Vec<Span<'static>> {
    let of_slo = || {
        let id = event.scope.slo.as_ref()?;
        let slo = snapshot.slos.iter().find(|slo| slo.id == *id)?;
        snapshot.spender(slo)
    };
    let by_upstream = || {
        let upstream = event.scope.upstream.as_ref()?;
        let mut routes = snapshot.routes.iter();
        let route = routes.find(|route| route.upstream.as_ref() == Some(upstream))?;
        Some(route.id.clone())
    };
    let id = event
        .scope
        .route
        .clone()
        .or_else(of_slo)
        .or_else(by_upstream);
    let route = id.and_then(|id| snapshot.routes.iter().find(|route| route.id == id));
    let (name, series) = match route {
        Some(route) => (route.id.as_str(), &route.series),
        None => ("all traffic", &snapshot.edge.series),
    };
    let before = bad_between(series, event.at.minus(AROUND), event.at);
    let after = bad_between(series, event.at, event.at.plus(AROUND));
    let share = |ratio: Option<f64>| fmt::or_none(ratio, fmt::share);
    vec![
        span(format!("{name}: bad "), Role::Muted),
        span(share(before), Role::Strong),
        span(" in the 5m before, ", Role::Muted),
        span(share(after), Role::Strong),
        span(" in the 5m after", Role::Muted),
    ]
}

/// Bad ÷ requests of the columns that begin in the span; `None` where nothing was asked or measured.
fn bad_between(series: &Series, from: Timestamp, to: Timestamp) -> Option<f64> {
    let step = Duration::from_secs(series.step_s);
    let (mut requests, mut bad, mut start) = (0_u64, 0_u64, series.start);
    for (asked, failed) in series.requests.iter().zip(&series.bad) {
        // A column that an event falls into is neither before nor after.
        if start >= from && start.plus(step) <= to {
            requests += asked.unwrap_or(0);
            bad += failed.unwrap_or(0);
        }
        start = start.plus(step);
    }
    (requests > 0).then(|| bad as f64 / requests as f64)
}
