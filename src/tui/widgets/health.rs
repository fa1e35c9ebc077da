//! How the parts stand, one line each: endpoints, promises, alerts, and Vestibule itself.

use ratatui::layout::Rect;

use super::super::canvas::{Canvas, Span, span};
use super::super::fmt;
use super::super::theme::Role;
use super::super::words::{self, Status};
use crate::model::Timestamp;
use crate::slo::alert::AlertState;
use crate::slo::state::SloState;
use crate::snapshot::{ExporterView, ReceiverView, Snapshot};

/// One part.
pub(crate) struct Part {
    name: &'static str,
    status: Status,
    text: String,
}

/// Every part, in fixed places; what is degraded comes first, for it has no place of its own.
pub(crate) fn parts(snapshot: &Snapshot) -> Vec<Part> {
    if snapshot.stored {
        let rest = Part {
            name: "the rest",
            status: Status::NONE,
            text: "not stored".to_owned(),
        };
        return vec![slos(snapshot), alerts(snapshot), rest];
    }
    let mut parts = degraded(snapshot);
    parts.push(upstreams(snapshot));
    parts.push(slos(snapshot));
    parts.push(alerts(snapshot));
    parts.push(store(snapshot));
    parts.push(config(snapshot));
    parts.push(process(snapshot));
    if let Some(queues) = queues(snapshot) {
        parts.push(queues);
    }
    parts.push(traffic(snapshot));
    parts
}

/// This process's own parts: what is degraded first, then configuration, machine, traffic, history, and who is told.
pub(crate) fn own_parts(snapshot: &Snapshot) -> Vec<Part> {
    let mut parts = degraded(snapshot);
    parts.push(config(snapshot));
    parts.push(process(snapshot));
    parts.push(traffic(snapshot));
    parts.push(store(snapshot));
    parts.push(queues(snapshot).unwrap_or_else(|| Part {
        name: "queues",
        status: Status::OK,
        text: format!("{} queues, nothing dropped", snapshot.queues.len()),
    }));
    parts.extend(
        snapshot
            .receivers
            .iter()
            .map(|receiver| receiver_part(receiver, snapshot)),
    );
    parts.extend(
        snapshot
            .exporters
            .iter()
            .map(|exporter| exporter_part(exporter, snapshot)),
    );
    parts
}

fn receiver_part(receiver: &ReceiverView, snapshot: &Snapshot) -> Part {
    let ago = |at: Timestamp| fmt::age(snapshot.at.since(at));
    let told = match receiver.last_delivered {
        Some(at) => format!("told {} ago", ago(at)),
        None => "told nothing yet".to_owned(),
    };
    let (status, trouble) = match &receiver.last_error {
        Some(error) => (Status::FAIL, format!("{error}{DOT}")),
        None => (Status::OK, String::new()),
    };
    Part {
        name: "receiver",
        status,
        text: format!("{} ({}){DOT}{trouble}{told}", receiver.name, receiver.kind),
    }
}

fn exporter_part(exporter: &ExporterView, snapshot: &Snapshot) -> Part {
    let ago = |at: Timestamp| fmt::age(snapshot.at.since(at));
    let dropped: u64 = exporter.dropped.values().sum();
    let (status, how) = match (exporter.failing_since, exporter.last_success) {
        (Some(since), _) => (Status::FAIL, format!("failing for {}", ago(since))),
        (None, Some(at)) => (Status::OK, format!("sent {} ago", ago(at))),
        (None, None) => (Status::NONE, "nothing sent yet".to_owned()),
    };
    let status = if status == Status::OK && dropped > 0 {
        Status::WARN
    } else {
        status
    };
    let mut text = format!("{} to {}{DOT}{how}", exporter.signal, exporter.receiver);
    if dropped > 0 {
        text = format!("{text}{DOT}dropped {}", fmt::grouped(dropped));
    }
    Part {
        name: "otlp",
        status,
        text,
    }
}

/// Draws as many as fit, one to a row. What is not well comes first when some must go.
pub(crate) fn draw(canvas: &mut Canvas<'_>, area: Rect, parts: &[Part]) {
    for (y, part) in (area.y..area.bottom()).zip(fitting(parts, usize::from(area.height))) {
        canvas.put(area.x, y, 9, part.name, Role::Muted);
        let spans = [
            span(part.status.text(), part.status.role),
            span(format!("  {}", part.text), Role::Text),
        ];
        canvas.spans(area.x + 11, y, area.width.saturating_sub(12), &spans);
    }
}

/// Draws them in one row: the words of what is not well, the names of what is.
pub(crate) fn draw_line(canvas: &mut Canvas<'_>, area: Rect, parts: &[Part]) {
    let mut spans: Vec<Span<'_>> = vec![span(" ", Role::Text)];
    let (well, unwell): (Vec<&Part>, Vec<&Part>) =
        parts.iter().partition(|part| part.status == Status::OK);
    for part in unwell {
        spans.push(span(format!("{} ", part.name), Role::Muted));
        spans.push(span(part.status.text(), part.status.role));
        spans.push(span(format!(" {}", part.text), Role::Text));
        spans.push(span(" · ", Role::Muted));
    }
    if !well.is_empty() {
        let names: Vec<&str> = well.iter().map(|part| part.name).collect();
        spans.push(span(Status::OK.text(), Role::Text));
        spans.push(span(format!(" {}", names.join(", ")), Role::Muted));
    }
    canvas.spans(area.x, area.y, area.width, &spans);
}

fn degraded(snapshot: &Snapshot) -> Vec<Part> {
    let degraded = snapshot.degraded.iter();
    degraded
        .map(|degraded| Part {
            name: "degraded",
            status: Status::WARN,
            text: format!("{}: {}", degraded.part, degraded.text),
        })
        .collect()
}

const DOT: &str = " · ";

fn fitting(parts: &[Part], rows: usize) -> Vec<&Part> {
    if parts.len() <= rows {
        return parts.iter().collect();
    }
    let mut kept: Vec<&Part> = parts
        .iter()
        .filter(|part| part.status != Status::OK)
        .collect();
    kept.truncate(rows);
    let well = parts.iter().filter(|part| part.status == Status::OK);
    let room = rows - kept.len();
    kept.extend(well.take(room));
    kept
}

fn upstreams(snapshot: &Snapshot) -> Part {
    let mut failing = Vec::new();
    let mut well = 0;
    for upstream in &snapshot.upstreams {
        let down = upstream
            .endpoints
            .iter()
            .filter(|endpoint| !endpoint.healthy);
        match down.count() {
            0 => well += 1,
            down => failing.push(format!(
                "{} {down}/{} down",
                upstream.name,
                upstream.endpoints.len()
            )),
        }
    }
    let total = snapshot.upstreams.len();
    if failing.is_empty() {
        return match total {
            0 => Part {
                name: "upstreams",
                status: Status::NONE,
                text: "none configured".to_owned(),
            },
            _ => Part {
                name: "upstreams",
                status: Status::OK,
                text: format!("all endpoints of {total} up"),
            },
        };
    }
    Part {
        name: "upstreams",
        status: Status::FAIL,
        text: format!("{} · {well} ok", failing.join(", ")),
    }
}

fn slos(snapshot: &Snapshot) -> Part {
    let name = "slos";
    let Some(worst) = snapshot.slos.iter().map(|slo| slo.state).max() else {
        return Part {
            name,
            status: Status::NONE,
            text: "none configured".to_owned(),
        };
    };
    let total = snapshot.slos.len();
    let of = |state: SloState| {
        snapshot
            .slos
            .iter()
            .filter(|slo| slo.state == state)
            .count()
    };
    let status = words::slo(worst);
    let text = if worst == SloState::Ok {
        format!("all {total} within budget")
    } else {
        format!("{} of {total} · {} ok", of(worst), of(SloState::Ok))
    };
    Part { name, status, text }
}

fn alerts(snapshot: &Snapshot) -> Part {
    let name = "alerts";
    let slos = |state: AlertState| -> Vec<&str> {
        let alerts = snapshot.alerts.iter();
        let alerts = alerts.filter(|alert| alert.state == state);
        alerts.map(|alert| alert.about.as_str()).collect()
    };
    let (firing, pending) = (slos(AlertState::Firing), slos(AlertState::Pending));
    if firing.is_empty() && pending.is_empty() {
        return Part {
            name,
            status: Status::OK,
            text: "none firing".to_owned(),
        };
    }
    let (state, which) = if firing.is_empty() {
        (AlertState::Pending, &pending)
    } else {
        (AlertState::Firing, &firing)
    };
    let mut text = vec![which.len().to_string(), which.join(", ")];
    if state == AlertState::Firing && !pending.is_empty() {
        text.push(format!("{} pending", pending.len()));
    }
    Part {
        name,
        status: words::alert(state),
        text: text.join(DOT),
    }
}

fn store(snapshot: &Snapshot) -> Part {
    let store = &snapshot.store;
    let size = fmt::bytes(store.size_bytes);
    let mut text = vec![match store.budget_bytes {
        0 => size,
        budget => format!("{size} of {}", fmt::bytes(budget)),
    }];
    text.push(match store.flushed_at {
        Some(at) => format!("{} ago", fmt::age(snapshot.at.since(at))),
        None => "nothing saved yet".to_owned(),
    });
    // A minute waits while the one before is written; more than that is a queue.
    let status = if store.backlog > 1 {
        text.push(format!("{} minutes wait", store.backlog));
        Status::WARN
    } else {
        Status::OK
    };
    Part {
        name: "store",
        status,
        text: text.join(DOT),
    }
}

fn config(snapshot: &Snapshot) -> Part {
    let config = &snapshot.config;
    let applied = fmt::moment(config.applied_at, snapshot.at);
    let (status, text) = match &config.refused {
        Some(why) => (Status::WARN, format!("last reload refused: {why}")),
        None => (
            Status::OK,
            format!(
                "gen {}, {applied}, {}ms",
                config.generation,
                fmt::grouped(config.apply_ms)
            ),
        ),
    };
    Part {
        name: "config",
        status,
        text,
    }
}

fn process(snapshot: &Snapshot) -> Part {
    let process = &snapshot.process;
    let mut text = vec![
        format!("cpu {}", fmt::or_none(process.cpu_ratio, fmt::portion)),
        fmt::or_none(process.rss_bytes, fmt::bytes),
    ];
    let mut status = Status::OK;
    if let (Some(open), Some(most @ 1..)) = (process.open_fds, process.max_fds) {
        let ratio = open as f64 / most as f64;
        text.push(format!("fd {}", fmt::portion(ratio)));
        // Connections are refused once they are gone, without another warning.
        if ratio >= 0.8 {
            status = Status::WARN;
        }
    }
    Part {
        name: "process",
        status,
        text: text.join(DOT),
    }
}

fn queues(snapshot: &Snapshot) -> Option<Part> {
    let dropping: Vec<String> = snapshot
        .queues
        .iter()
        .filter(|queue| queue.dropped > 0)
        .map(|queue| format!("{} dropped {}", queue.queue, fmt::grouped(queue.dropped)))
        .collect();
    (!dropping.is_empty()).then(|| Part {
        name: "queues",
        status: Status::WARN,
        text: dropping.join(", "),
    })
}

fn traffic(snapshot: &Snapshot) -> Part {
    let edge = &snapshot.edge;
    let mut text = vec![
        format!("{} conns", fmt::grouped(edge.connections)),
        format!("{} in flight", fmt::grouped(edge.in_flight)),
    ];
    let status = match snapshot.listeners.len() {
        0 => {
            text.push("no listener".to_owned());
            Status::WARN
        }
        _ if edge.now.requests == 0 => Status::NONE,
        _ => Status::OK,
    };
    Part {
        name: "traffic",
        status,
        text: text.join(DOT),
    }
}
