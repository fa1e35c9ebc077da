//! The first line: who is watched, how fresh it is, and what stands between the reader and live data. And the last:
//! the keys.

use std::time::Duration;

use ratatui::layout::Rect;

use super::super::app::{Line, Model, Past};
use super::super::canvas::{Canvas, Span, span};
use super::super::command;
use super::super::conn::Link;
use super::super::fmt;
use super::super::keys::{self, Context};
use super::super::theme::Role;
use super::super::words::Status;
use crate::clock::Tick;
use crate::model::Timestamp;

const WIDE: u16 = 100;

/// Draws the first line at the top of `area`.
pub(crate) fn head(canvas: &mut Canvas<'_>, area: Rect, model: &Model) {
    let wide = area.width >= WIDE;
    let mut left = vec![span(" vestibule ", Role::Muted)];
    if let Some(snapshot) = model.shown() {
        left.push(span(snapshot.instance.as_str(), Role::Strong));
        left.push(span("  ", Role::Text));
    }
    if wide {
        left.push(span(" ", Role::Text));
    }
    left.extend(freshness(model));
    if !model.list.typed.is_empty() {
        left.push(span("   filter ", Role::Muted));
        left.push(span(model.list.typed.as_str(), Role::Accent));
    }
    let right = if wide {
        if model.unmasked {
            "UNMASKED   read-only   ? help "
        } else {
            "read-only   ? help "
        }
    } else if model.is_stale() || model.held.is_some() || model.past.is_some() {
        // What is wrong with the data needs the space.
        if model.unmasked { "UNMASKED " } else { "" }
    } else if model.unmasked {
        "UNMASKED  ? help "
    } else {
        "? help "
    };
    let right_width = u16::try_from(right.len()).unwrap_or(0);
    let room = area.width.saturating_sub(right_width + 1);
    let used = canvas.spans(area.x, area.y, room, &left);
    if used <= room && area.width > right_width {
        canvas.put_right(
            area.right() - right_width,
            area.y,
            right_width,
            right,
            Role::Muted,
        );
    }
}

/// The same in as few words as possible, to the right of a row.
pub(crate) fn head_shortly(model: &Model) -> Vec<Span<'static>> {
    let Some(snapshot) = model.shown() else {
        return Vec::new();
    };
    let at = format!("{}Z", snapshot.at.time_of_day());
    match () {
        () if model.is_stale() => {
            let age = fmt::age(model.age().unwrap_or_default());
            vec![span(
                format!("{} {age}", Status::STALE.text()),
                Status::STALE.role,
            )]
        }
        () if model.past.is_some() => {
            vec![
                span(Status::PAST.text(), Status::PAST.role),
                span(format!(" {at}"), Role::Text),
            ]
        }
        () if model.held.is_some() => {
            vec![
                span(Status::HELD.text(), Status::HELD.role),
                span(format!(" {at}"), Role::Text),
            ]
        }
        () => vec![span(at, Role::Muted)],
    }
}

/// Why nothing can be shown yet, in words for the line below [`without_data`].
pub(crate) fn why_without(model: &Model) -> Option<&str> {
    match &model.link {
        Link::Lost { why, .. } => Some(why),
        Link::Connecting | Link::Live => None,
    }
}

/// What is shown when there is nothing to show.
pub(crate) fn without_data(model: &Model) -> Vec<Span<'static>> {
    match &model.link {
        Link::Connecting => vec![
            span(Status::NONE.text(), Role::Strong),
            span(format!("  connecting to {}", model.address), Role::Text),
        ],
        Link::Live => vec![span(Status::NONE.text(), Role::Strong)],
        Link::Lost { .. } => {
            let mut spans = vec![span("✕ DOWN", Role::CritBadge), span("  ", Role::Text)];
            spans.extend(again(model));
            spans
        }
    }
}

fn freshness(model: &Model) -> Vec<Span<'_>> {
    let Some((latest, _)) = &model.latest else {
        return Vec::new();
    };
    let mut spans = Vec::new();
    if let Some(past) = &model.past {
        spans.extend(looking_back(past, latest.at));
        if !model.is_stale() {
            return spans;
        }
        spans.push(span("   ", Role::Text));
    }
    if let Some(held) = &model.held {
        let behind = latest.at.since(held.at);
        spans.push(span(Status::HELD.text(), Status::HELD.role));
        spans.push(span(
            format!(" at {}Z", held.at.time_of_day()),
            Role::Strong,
        ));
        if behind > Duration::ZERO {
            let waits = format!("  {} of newer data waiting", fmt::age(behind));
            spans.push(span(waits, Role::Text));
        }
        match model.alerts_since_hold() {
            0 => {}
            1 => spans.push(span(", 1 new alert", Role::Strong)),
            more => spans.push(span(format!(", {more} new alerts"), Role::Strong)),
        }
        spans.push(span("  Space live", Role::Muted));
        if !model.is_stale() {
            return spans;
        }
        spans.push(span("   ", Role::Text));
    }
    let age = fmt::age(model.age().unwrap_or_default());
    if model.is_stale() {
        spans.push(span(Status::STALE.text(), Status::STALE.role));
        spans.push(span(format!(" {age}  "), Role::Strong));
        match &model.link {
            Link::Lost { .. } => spans.extend(lost(model)),
            Link::Connecting | Link::Live => {
                spans.push(span("nothing new from the daemon", Role::Text));
            }
        }
    } else {
        spans.push(span("LIVE ", Role::Strong));
        spans.push(span(format!("{}Z", latest.at.time_of_day()), Role::Text));
        spans.push(span(format!("  age {age}"), Role::Muted));
    }
    spans
}

/// Which moment is looked back on, and whether it is there.
fn looking_back(past: &Past, now: Timestamp) -> Vec<Span<'_>> {
    let ago = fmt::age(now.since(past.at));
    let mut spans = vec![
        span(Status::PAST.text(), Status::PAST.role),
        span(format!(" {}Z", fmt::moment(past.at, now)), Role::Strong),
        span(format!("  {ago} ago"), Role::Text),
    ];
    let there = past.shown.as_ref().map(|shown| shown.at);
    match (&past.problem, there) {
        (Some(why), _) => {
            spans.push(span("  ", Role::Text));
            spans.push(span(why.as_str(), Role::Warn));
        }
        (None, Some(there)) if there == past.at => {
            spans.push(span("  stored minutes", Role::Muted));
        }
        (None, Some(there)) => {
            let text = format!("  on its way; this is {}Z", fmt::moment(there, now));
            spans.push(span(text, Role::Warn));
        }
        (None, None) => spans.push(span("  on its way; this is live", Role::Warn)),
    }
    spans.push(span("  L live", Role::Muted));
    spans
}

fn lost(model: &Model) -> Vec<Span<'static>> {
    let Link::Lost { why, .. } = &model.link else {
        return Vec::new();
    };
    let mut spans = vec![span(format!("{why}. "), Role::Text)];
    spans.extend(again(model));
    spans
}

fn again(model: &Model) -> Vec<Span<'static>> {
    let Link::Lost {
        why: _,
        attempt,
        retry_at,
    } = &model.link
    else {
        return Vec::new();
    };
    let when = when(model.now, *retry_at);
    let mut spans = vec![span(format!("Try {attempt} {when}."), Role::Text)];
    if model.size.width >= WIDE {
        spans.push(span("  R now", Role::Muted));
    }
    spans
}

fn when(now: Tick, at: Tick) -> String {
    // Rounded up: "in 0s" says less than "in 1s" and is as wrong.
    let secs = at.micros_since(now).div_ceil(1_000_000);
    if secs == 0 {
        "now".to_owned()
    } else {
        format!("in {secs}s")
    }
}

/// Draws the last line at the bottom of `area`: the keys that matter here, or the filter being typed.
pub(crate) fn foot(canvas: &mut Canvas<'_>, area: Rect, model: &Model) {
    let Some(y) = area.bottom().checked_sub(1).filter(|y| *y >= area.y) else {
        return;
    };
    if let Some(line) = &model.line {
        command(canvas, area, y, model, line);
        return;
    }
    if model.list.typing {
        filter(canvas, area, y, model);
        return;
    }
    if let Some((notice, _)) = &model.notice {
        let room = area.width.saturating_sub(1);
        canvas.put(area.x + 1, y, room, notice, Role::Strong);
        return;
    }
    let mut x = area.x + 1;
    for row in keys::rows(model.context()).filter(|row| !row.short.is_empty()) {
        // A row of two keys carries both in its words.
        let spans = match row.short.rsplit_once(' ') {
            Some((keys, what)) => [
                span(keys, Role::Strong),
                span(format!(" {what}"), Role::Muted),
            ],
            None => [
                span(row.keys[0].to_string(), Role::Strong),
                span(format!(" {}", row.short), Role::Muted),
            ],
        };
        let width = canvas.measure(&spans);
        if x + width > area.right() {
            break;
        }
        canvas.spans(x, y, width, &spans);
        x += width + 2;
    }
}

fn command(canvas: &mut Canvas<'_>, area: Rect, y: u16, model: &Model, line: &Line) {
    let mut right: Vec<Span<'_>> = Vec::new();
    if let Some(problem) = &line.problem {
        right.push(span(problem.as_str(), Role::Warn));
    } else {
        let snapshot = model.shown().map(|shown| &**shown);
        let candidates = command::candidates(&line.typed, snapshot);
        let shown: Vec<&str> = candidates
            .iter()
            .take(CANDIDATES)
            .map(|whole| whole.rsplit(' ').next().unwrap_or(whole))
            .collect();
        right.push(span(shown.join("  "), Role::Muted));
        if candidates.len() > CANDIDATES {
            right.push(span(
                format!("  {} more", candidates.len() - CANDIDATES),
                Role::Muted,
            ));
        }
    }
    right.push(span(" ", Role::Text));
    typed(canvas, area, y, (" :", &line.typed), &right);
}

/// Candidates shown beside what is typed.
const CANDIDATES: usize = 6;

fn filter(canvas: &mut Canvas<'_>, area: Rect, y: u16, model: &Model) {
    let mut right: Vec<Span<'_>> = Vec::new();
    if let Some(problem) = &model.list.filter.problem {
        right.push(span(problem.as_str(), Role::Warn));
    } else {
        let total = model.shown().map_or(0, |snapshot| snapshot.routes.len());
        let kept = model.list.rows.len();
        right.push(span(format!("{kept} of {total}"), Role::Strong));
    }
    for row in keys::rows(Context::Filter).filter(|row| !row.short.is_empty()) {
        right.push(span(format!("  {}", row.keys[0]), Role::Strong));
        right.push(span(format!(" {}", row.short), Role::Muted));
    }
    right.push(span(" ", Role::Text));
    typed(canvas, area, y, (" /", &model.list.typed), &right);
}

/// Draws what is being typed after its sign, and `right` to the right of it.
fn typed(
    canvas: &mut Canvas<'_>,
    area: Rect,
    y: u16,
    (sign, typed): (&'static str, &str),
    right: &[Span<'_>],
) {
    let width = canvas.measure(right).min(area.width * 2 / 3);
    let room = area.width.saturating_sub(width + 3);
    // The end is where the typing happens, so a long line loses its beginning.
    let most = usize::from(room.saturating_sub(2));
    let excess = typed.chars().count().saturating_sub(most);
    let tail: String = typed.chars().skip(excess).collect();
    let used = canvas.spans(
        area.x,
        y,
        room,
        &[span(sign, Role::Accent), span(tail, Role::Strong)],
    );
    canvas.cell(area.x + used, y, " ", Role::Cursor);
    canvas.spans(area.right() - width, y, width, right);
}
