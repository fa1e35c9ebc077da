//! The first screen: what is wrong, since when, what changed, which routes pay for it.

use ratatui::layout::{Rect, Size};

use super::super::app::Model;
use super::super::canvas::{Canvas, span};
use super::super::theme::Role;
use super::super::widgets::{
    bars, changes, digest, health, history, routes, rule, status, tabs, verdict,
};
use crate::model::Timestamp;
use crate::snapshot::Snapshot;
use crate::triage::{Level, Verdict};

/// Draws the screen.
pub(crate) fn draw(canvas: &mut Canvas<'_>, model: &Model, snapshot: &Snapshot) {
    let area = canvas.area();
    let plan = Plan::of(Size::new(area.width, area.height));
    if plan.alone {
        draw_alone(canvas, area, model, snapshot);
        return;
    }
    status::head(canvas, area, model);
    let mut y = area.y + 1;
    let mut part = |height: u16| {
        let part = Rect::new(area.x, y, area.width, height);
        y += height;
        part
    };
    verdict::draw(canvas, part(plan.verdict), model, snapshot);
    tabs::draw(canvas, part(TABS), model, snapshot);
    let (said, _, _) = model.verdict(snapshot);
    if let Some(rows) = plan.edge {
        let edge = &snapshot.edge;
        history::History {
            title: "Edge",
            series: &edge.series,
            now: &edge.now,
            before: &edge.before,
            events: &snapshot.events,
            event: model.event_index(snapshot),
            alarm: alarm(said),
        }
        .draw(canvas, part(rows.total()), rows);
    }
    routes::draw(canvas, part(plan.routes), model, snapshot);
    if plan.lower > 0 {
        draw_lower(canvas, part(plan.lower), model, snapshot, plan.side_by_side);
    }
    if plan.digest > 0 {
        draw_digest(canvas, part(plan.digest), model, snapshot);
    }
    status::foot(canvas, area, model);
}

/// How many routes the list shows on a screen of `size`.
pub(crate) fn route_rows(size: Size) -> usize {
    let plan = Plan::of(size);
    usize::from(plan.routes.saturating_sub(routes::FRAME))
}

/// From when on bars are an alarm, and its look.
pub(crate) fn alarm(verdict: &Verdict) -> Option<(Timestamp, Role)> {
    let role = match verdict.severity {
        Level::Crit => Role::Crit,
        Level::Warn => Role::Warn,
        Level::Ok | Level::Unknown => return None,
    };
    Some((verdict.onset?, role))
}

/// The row of the screens' digits.
const TABS: u16 = 1;

/// The heights of the parts. Their sum is the screen's, at any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// No space for more than the verdict.
    alone: bool,
    verdict: u16,
    edge: Option<history::Rows>,
    routes: u16,
    lower: u16,
    /// Changes and health beside each other; else health is the last row below.
    side_by_side: bool,
    digest: u16,
}

impl Plan {
    fn of(size: Size) -> Self {
        let verdict = verdict::height(size.width);
        let body = size.height.saturating_sub(2 + verdict + TABS);
        if size.width < 48 || body < 6 {
            return Self {
                alone: true,
                verdict: size.height,
                edge: None,
                routes: 0,
                lower: 0,
                side_by_side: false,
                digest: 0,
            };
        }
        let rows = |bad, requests, p99| Some(history::Rows { bad, requests, p99 });
        let (edge, lower, digest) = match body {
            0..10 => (None, 0, 0),
            10..14 => (rows(1, 0, 0), 0, 0),
            14..17 => (rows(1, 0, 0), 4, 0),
            17..28 => (rows(1, 1, 1), 5, 0),
            28..40 => (rows(3, 1, 1), 8, 5),
            40..56 => (rows(4, 2, 2), 10, 5),
            56.. => (rows(5, 3, 3), 12, 5),
        };
        let others = edge.map_or(0, history::Rows::total) + lower + digest;
        Self {
            alone: false,
            verdict,
            edge,
            routes: body - others,
            lower,
            side_by_side: size.width >= 100,
            digest,
        }
    }
}

fn draw_alone(canvas: &mut Canvas<'_>, area: Rect, model: &Model, snapshot: &Snapshot) {
    let first = verdict::draw_alone(canvas, area, model, snapshot);
    let right = status::head_shortly(model);
    let width = canvas.measure(&right);
    if first + 1 + width <= area.width {
        canvas.spans(area.right() - width, area.y, width, &right);
    }
    // What else there is, once the verdict has had its six rows.
    if area.height >= 9 {
        let ratios: Vec<Option<f64>> = history::ratios(&snapshot.edge.series).collect();
        let skipped = ratios.len().saturating_sub(usize::from(area.width));
        let bars = bars::Bars {
            values: &ratios[skipped..],
            full: bars::full(&ratios, 0.01),
            role: Role::Text,
            stretch: 1,
            alarm: None,
        };
        bars.draw(
            canvas,
            Rect::new(area.x, area.y + 6, area.width, area.height - 8),
        );
    }
    if area.height >= 8 {
        let bottom = Rect::new(area.x, area.bottom() - 1, area.width, 1);
        if model.list.typing {
            status::foot(canvas, area, model);
        } else {
            health::draw_line(canvas, bottom, &health::parts(snapshot));
        }
    }
}

fn draw_lower(
    canvas: &mut Canvas<'_>,
    area: Rect,
    model: &Model,
    snapshot: &Snapshot,
    side_by_side: bool,
) {
    let (said, _, _) = model.verdict(snapshot);
    let parts = health::parts(snapshot);
    let count = snapshot.events.len();
    let remark = [span(format!("{count} kept   {{ }} step"), Role::Muted)];
    let title = [
        span("Changes", Role::Strong),
        span(" · newest first", Role::Muted),
    ];
    let cursor = model.event_index(snapshot);
    let inner = Rect::new(area.x, area.y + 1, area.width, area.height - 1);
    if side_by_side {
        let left = area.width * 3 / 5;
        rule::draw(canvas, (area.x, area.y), left, &title, &remark);
        let list = Rect::new(inner.x, inner.y, left - 1, inner.height);
        changes::draw(canvas, list, snapshot, said, cursor);
        let x = area.x + left;
        let heads = [span("Health", Role::Strong)];
        rule::draw(canvas, (x, area.y), area.width - left, &heads, &[]);
        canvas.cell(x, area.y, "┬", Role::Muted);
        for y in inner.y..inner.bottom() {
            canvas.cell(x, y, "│", Role::Muted);
        }
        let panel = Rect::new(x + 2, inner.y, area.width - left - 2, inner.height);
        health::draw(canvas, panel, &parts);
    } else {
        rule::draw(canvas, (area.x, area.y), area.width, &title, &remark);
        let list = Rect::new(
            inner.x,
            inner.y,
            inner.width,
            inner.height.saturating_sub(1),
        );
        changes::draw(canvas, list, snapshot, said, cursor);
        let line = Rect::new(inner.x, inner.bottom() - 1, inner.width, 1);
        health::draw_line(canvas, line, &parts);
    }
}

fn draw_digest(canvas: &mut Canvas<'_>, area: Rect, model: &Model, snapshot: &Snapshot) {
    let selected = model
        .list
        .rows
        .get(model.cursor())
        .and_then(|index| snapshot.routes.get(*index));
    let Some(route) = selected else {
        rule::draw(canvas, (area.x, area.y), area.width, &[], &[]);
        return;
    };
    let title = [
        span("Selected: ", Role::Strong),
        span(route.id.as_str(), Role::Strong),
        span(" · last 5m", Role::Muted),
    ];
    let remark = [span("Enter open", Role::Muted)];
    rule::draw(canvas, (area.x, area.y), area.width, &title, &remark);
    let inner = Rect::new(area.x, area.y + 1, area.width, area.height - 1);
    digest::draw(canvas, inner, snapshot, route);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_fill_any_screen_exactly() {
        for height in 0..=300 {
            for width in [0, 1, 40, 47, 48, 60, 80, 99, 100, 120, 300] {
                let plan = Plan::of(Size::new(width, height));
                let edge = plan.edge.map_or(0, history::Rows::total);
                let parts = plan.verdict + edge + plan.routes + plan.lower + plan.digest;
                let frame = if plan.alone { 0 } else { 2 + TABS };
                assert_eq!(parts + frame, height, "{width}x{height}: {plan:?}");
                assert!(
                    plan.alone || plan.routes > routes::FRAME,
                    "{width}x{height}"
                );
            }
        }
    }
}
