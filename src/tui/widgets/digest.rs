//! The selected route in four lines: what fails, where, in which part of its time, and what was promised.

use ratatui::layout::Rect;

use super::super::canvas::{Canvas, Span, span};
use super::super::fmt;
use super::super::theme::Role;
use super::super::words;
use super::verdict;
use crate::snapshot::{RouteView, SloView, Snapshot};

/// Draws it in `area`, most telling line first.
pub(crate) fn draw(canvas: &mut Canvas<'_>, area: Rect, snapshot: &Snapshot, route: &RouteView) {
    let lines = [
        (
            "faults",
            if snapshot.stored {
                not_stored()
            } else {
                faults(route)
            },
        ),
        (
            "endpoints",
            if snapshot.stored {
                not_stored()
            } else {
                endpoints(snapshot, route)
            },
        ),
        ("time p50", phases(route)),
        ("slos", slos(snapshot, route)),
    ];
    for (y, (name, spans)) in (area.y..area.bottom()).zip(lines) {
        canvas.put(area.x + 1, y, 10, name, Role::Muted);
        canvas.spans(area.x + 13, y, area.width.saturating_sub(14), &spans);
    }
}

/// The SLOs of a route, in its order.
pub(crate) fn slos_of<'s>(
    snapshot: &'s Snapshot,
    route: &'s RouteView,
) -> impl Iterator<Item = &'s SloView> {
    route
        .slos
        .iter()
        .filter_map(|id| snapshot.slos.iter().find(|slo| slo.id == *id))
}

/// Whether the endpoint at `address` of the route's upstream is thought to work; `None` when it is not known.
pub(crate) fn is_healthy(snapshot: &Snapshot, route: &RouteView, address: &str) -> Option<bool> {
    let name = route.upstream.as_deref()?;
    let upstream = snapshot
        .upstreams
        .iter()
        .find(|upstream| upstream.name == name)?;
    let endpoint = upstream
        .endpoints
        .iter()
        .find(|endpoint| endpoint.address == address)?;
    Some(endpoint.healthy)
}

fn not_stored() -> Vec<Span<'static>> {
    vec![span("not stored", Role::Muted)]
}

fn faults(route: &RouteView) -> Vec<Span<'_>> {
    if route.faults.is_empty() {
        return vec![span("none in 5m", Role::Muted)];
    }
    let mut spans = Vec::new();
    for fault in &route.faults {
        spans.push(span(fault.fault.as_str(), Role::Text));
        let count = fmt::grouped(fault.count);
        spans.push(span(format!(" {count} "), Role::Strong));
        spans.push(span(format!("{}   ", fault.side.as_str()), Role::Muted));
    }
    spans
}

fn endpoints<'a>(snapshot: &Snapshot, route: &'a RouteView) -> Vec<Span<'a>> {
    if route.endpoints.is_empty() {
        return vec![span("none asked in 5m", Role::Muted)];
    }
    let mut spans = Vec::new();
    for endpoint in &route.endpoints {
        let healthy = is_healthy(snapshot, route, &endpoint.endpoint);
        if healthy == Some(false) {
            spans.push(span("■ FAIL ", Role::Crit));
        }
        spans.push(span(endpoint.endpoint.as_str(), Role::Text));
        let total = endpoint.good + endpoint.bad;
        let share = if total == 0 {
            fmt::NO_DATA.to_owned()
        } else {
            fmt::share(endpoint.bad as f64 / total as f64)
        };
        spans.push(span(format!(" {share} bad"), Role::Strong));
        spans.push(span(
            format!(" of {}   ", fmt::si(total as f64)),
            Role::Muted,
        ));
    }
    spans
}

fn phases(route: &RouteView) -> Vec<Span<'_>> {
    if route.phases.is_empty() {
        return vec![span(fmt::NO_DATA, Role::Muted)];
    }
    let mut spans = Vec::new();
    for phase in &route.phases {
        spans.push(span(format!("{} ", phase.phase), Role::Muted));
        spans.push(span(
            format!("{}   ", fmt::micros(phase.p50_us)),
            Role::Text,
        ));
    }
    spans
}

fn slos<'a>(snapshot: &'a Snapshot, route: &'a RouteView) -> Vec<Span<'a>> {
    let mut spans = Vec::new();
    for slo in slos_of(snapshot, route) {
        let status = words::slo(slo.state);
        spans.push(span(status.text(), status.role));
        spans.push(span(format!(" {} ", slo.id), Role::Text));
        if let Some(objective) = verdict::objective(slo) {
            spans.push(span(format!("{objective}, "), Role::Muted));
        }
        spans.push(span(format!("{}   ", verdict::left(slo)), Role::Text));
    }
    if spans.is_empty() {
        spans.push(span("none promised", Role::Muted));
    }
    spans
}
