//! One route: its numbers, its hour, where its time goes, which endpoints and faults, and what was promised.

mod panes;

use ratatui::layout::Rect;

pub(crate) use self::panes::Pane;
use super::super::app::Model;
use super::super::canvas::{Canvas, Span, span};
use super::super::fmt;
use super::super::theme::Role;
use super::super::widgets::{history, rule};
use super::super::words;
use super::{explain, frame, triage};
use crate::snapshot::{Measure, RouteView, Snapshot};

/// Draws the screen of the route called `id`.
pub(crate) fn draw(canvas: &mut Canvas<'_>, model: &Model, snapshot: &Snapshot, id: &str) {
    let body = frame::draw(canvas, model, snapshot);
    if body.height == 0 {
        return;
    }
    let Some(route) = snapshot.routes.iter().find(|route| route.id == id) else {
        title(canvas, body, id, &[]);
        let gone = "This route is no longer in the configuration. Esc goes back.";
        if body.height > 1 {
            canvas.put(body.x + 1, body.y + 1, body.width, gone, Role::Text);
        }
        return;
    };
    title(canvas, body, id, &origin(route));
    let mut y = body.y + 1;
    for spans in summary(snapshot, route, body.width) {
        if y < body.bottom() {
            canvas.spans(body.x + 1, y, body.width.saturating_sub(1), &spans);
            y += 1;
        }
    }
    let explained = snapshot.explanation(id);
    let differs = explained.as_ref().and_then(explain::first);
    if let Some(differs) = differs.filter(|_| y < body.bottom()) {
        canvas.spans(body.x + 1, y, body.width.saturating_sub(1), &differs);
        y += 1;
    }
    let rest = body.bottom().saturating_sub(y);
    let rows = match rest {
        0..6 => None,
        6..16 => Some((1, 1, 1)),
        16..24 => Some((3, 2, 2)),
        24..30 => Some((5, 3, 3)),
        30.. => Some((7, 4, 4)),
    };
    if let Some((bad, requests, p99)) = rows {
        let rows = history::Rows { bad, requests, p99 };
        let (said, _, _) = model.verdict(snapshot);
        let concerned = said.route.as_deref() == Some(route.id.as_str());
        history::History {
            title: "Last hour",
            series: &route.series,
            now: &route.now,
            before: &route.before,
            events: &snapshot.events,
            event: model.event_index(snapshot),
            alarm: triage::alarm(said).filter(|_| concerned),
        }
        .draw(canvas, Rect::new(body.x, y, body.width, rest), rows);
        y += rows.total();
    }
    let rest = Rect::new(body.x, y, body.width, body.bottom().saturating_sub(y));
    if body.width >= 100 {
        four_panes(canvas, rest, snapshot, route);
    } else {
        one_pane(canvas, rest, snapshot, route, model.pane);
    }
}

fn title(canvas: &mut Canvas<'_>, body: Rect, id: &str, remark: &[Span<'_>]) {
    let title = [
        span("Routes › ", Role::Muted),
        span(id.to_owned(), Role::Strong),
    ];
    rule::draw(canvas, (body.x, body.y), body.width, &title, remark);
}

fn origin(route: &RouteView) -> Vec<Span<'_>> {
    let mut spans = Vec::new();
    if let Some(owner) = &route.owner {
        spans.push(span(format!("owner {owner} · "), Role::Muted));
    }
    match &route.upstream {
        Some(upstream) => spans.push(span(format!("upstream {upstream}"), Role::Muted)),
        None => spans.push(span("no upstream", Role::Muted)),
    }
    spans
}

fn summary<'a>(snapshot: &Snapshot, route: &'a RouteView, width: u16) -> Vec<Vec<Span<'a>>> {
    let status = words::standing(route.standing);
    let now = &route.now;
    let mut first = vec![
        span(status.text(), status.role),
        span("  ", Role::Text),
        span(fmt::or_none(now.bad_ratio, fmt::share), Role::Strong),
        span(format!(" bad{}", counts(now)), Role::Text),
    ];
    let mut also = |text: String| {
        first.push(span(" · ", Role::Muted));
        first.push(span(text, Role::Text));
    };
    also(format!("{} req/s", fmt::or_none(now.rate_per_s, fmt::si)));
    also(format!("p50 {}", fmt::or_none(now.p50_us, fmt::micros)));
    also(format!("p99 {}", fmt::or_none(now.p99_us, fmt::micros)));
    if let Some(burn) = route.burn_5m {
        also(format!("burn {}", fmt::burn(burn)));
    }
    if let Some(share) = route.share_of_bad {
        also(format!("{} of all errors", fmt::share(share)));
    }
    let takes = if route.hosts.is_empty() {
        "any host".to_owned()
    } else {
        route.hosts.join(", ")
    };
    let since = fmt::age(snapshot.at.since(snapshot.counting_since));
    let mut second = vec![
        span("takes ", Role::Muted),
        span(format!("{takes} {}", route.path), Role::Text),
        span(format!("   in {since}: "), Role::Muted),
        span(
            format!(
                "{} requests, {} bad, {} excluded",
                fmt::si(route.requests as f64),
                fmt::si(route.bad as f64),
                fmt::si(route.excluded as f64)
            ),
            Role::Text,
        ),
    ];
    if width >= 100 {
        second.push(span("   in 1h: ", Role::Muted));
        let p95 = fmt::or_none(route.p95_us, fmt::micros);
        second.push(span(format!("p95 {p95}"), Role::Text));
    }
    vec![first, second]
}

/// The numbers behind a share of few requests.
fn counts(measure: &Measure) -> String {
    let valid = measure.requests.saturating_sub(measure.excluded);
    match valid {
        1..1_000 => format!(" ({} of {valid})", measure.bad),
        _ => String::new(),
    }
}

fn four_panes(canvas: &mut Canvas<'_>, area: Rect, snapshot: &Snapshot, route: &RouteView) {
    let left = area.width / 2;
    let endpoints = u16::try_from(route.endpoints.len()).unwrap_or(u16::MAX);
    let phases = u16::try_from(route.phases.len()).unwrap_or(u16::MAX);
    let wanted = endpoints.max(phases).max(4).saturating_add(2);
    // Below stay at least a title and three rows, as long as there is any space.
    let upper = wanted.min(area.height.saturating_sub(5).max(area.height.min(6)));
    for (row, panes) in [[Pane::Time, Pane::Endpoints], [Pane::Faults, Pane::Slos]]
        .into_iter()
        .enumerate()
    {
        let (y, height) = if row == 0 {
            (area.y, upper)
        } else {
            (area.y + upper, area.height - upper)
        };
        if height == 0 {
            continue;
        }
        for (side, which) in panes.into_iter().enumerate() {
            let (x, width) = if side == 0 {
                (area.x, left)
            } else {
                (area.x + left, area.width - left)
            };
            let heads = [span(which.title(), Role::Strong)];
            rule::draw(canvas, (x, y), width, &heads, &panes::remark(which, route));
            let shift = if side == 0 { 1 } else { 2 };
            if side == 1 {
                canvas.cell(x, y, if row == 0 { "┬" } else { "┼" }, Role::Muted);
                for y in y + 1..y + height {
                    canvas.cell(x, y, "│", Role::Muted);
                }
            }
            let inner = Rect::new(x + shift, y + 1, width - shift - 1, height - 1);
            panes::draw(canvas, inner, snapshot, route, which);
        }
    }
}

fn one_pane(
    canvas: &mut Canvas<'_>,
    area: Rect,
    snapshot: &Snapshot,
    route: &RouteView,
    chosen: Pane,
) {
    if area.height == 0 {
        return;
    }
    let mut tabs = vec![span("Tab: ", Role::Muted)];
    for pane in Pane::ALL {
        if pane == chosen {
            tabs.push(span(format!("[{}]", pane.tab()), Role::Accent));
        } else {
            tabs.push(span(format!(" {} ", pane.tab()), Role::Muted));
        }
    }
    rule::draw(
        canvas,
        (area.x, area.y),
        area.width,
        &tabs,
        &panes::remark(chosen, route),
    );
    let inner = Rect::new(
        area.x + 1,
        area.y + 1,
        area.width.saturating_sub(2),
        area.height - 1,
    );
    panes::draw(canvas, inner, snapshot, route, chosen);
}
