//! The daemon's verdict in fixed places: how bad and whose fault, which route, since when; what changed; how fast the
//! budget burns and what to do.

use ratatui::layout::Rect;

use super::super::app::Model;
use super::super::canvas::{Canvas, Span, span};
use super::super::fmt;
use super::super::theme::Role;
use super::super::words;
use crate::model::{Event, Timestamp};
use crate::snapshot::{SloView, Snapshot};
use crate::triage::{Level, Locus, Verdict};

/// How many rows it takes on a screen of `width`.
pub(crate) const fn height(width: u16) -> u16 {
    if width >= WIDE { 3 } else { 4 }
}

const WIDE: u16 = 100;

/// Draws it in `area`.
pub(crate) fn draw(canvas: &mut Canvas<'_>, area: Rect, model: &Model, snapshot: &Snapshot) {
    let parts = Parts::new(model, snapshot);
    let wide = area.width >= WIDE;
    let rows: Vec<(Vec<Span<'_>>, Vec<Span<'_>>)> = if !parts.is_trouble() {
        vec![
            (parts.calm(), Vec::new()),
            (parts.last_change(), Vec::new()),
            (parts.lowest_budget(), parts.next_step()),
        ]
    } else if wide {
        let mut since = parts.since();
        since.push(span(" ", Role::Text));
        let room = area.width.saturating_sub(canvas.measure(&since) + 2);
        let mut first = parts.headline();
        first.push(span("   ", Role::Text));
        for piece in parts.size().into_iter().chain(parts.scope()) {
            first.push(piece);
            // A whole piece less reads better than half a word.
            if canvas.measure(&first) > room {
                first.pop();
            }
        }
        vec![
            (first, since),
            (parts.changed(), parts.strength()),
            (parts.burning(), parts.next_step()),
        ]
    } else {
        let mut first = parts.headline();
        first.push(span("  ", Role::Text));
        first.extend(parts.size());
        let mut second = vec![span("  ", Role::Text)];
        second.extend(parts.since());
        second.extend(parts.scope());
        vec![
            (first, Vec::new()),
            (second, Vec::new()),
            (parts.changed(), parts.strength()),
            (parts.burning_shortly(), parts.next_step()),
        ]
    };
    for (row, (left, right)) in rows.iter().enumerate() {
        let Some(y) = row_of(area, row) else {
            return;
        };
        halves(canvas, area, y, left, right);
    }
}

/// Draws it alone, for a screen with no space for more; each thing said on a line of its own. Gives how many columns
/// of the first row it took.
pub(crate) fn draw_alone(
    canvas: &mut Canvas<'_>,
    area: Rect,
    model: &Model,
    snapshot: &Snapshot,
) -> u16 {
    let parts = Parts::new(model, snapshot);
    let mut rows = Vec::new();
    if parts.is_trouble() {
        rows.push(parts.badge(" "));
        rows.push(parts.route_and_size());
        let mut since = parts.since();
        since.extend(parts.scope());
        rows.push(since);
        rows.push(parts.changed_shortly());
        rows.push(parts.burning_shortly());
    } else {
        rows.push(parts.calm());
        rows.push(parts.last_change());
        rows.push(parts.lowest_budget());
    }
    if !parts.verdict.next_step.is_empty() {
        rows.push(parts.next_step());
    }
    let mut first = 0;
    for (row, spans) in rows.iter_mut().enumerate() {
        let Some(y) = row_of(area, row) else {
            break;
        };
        // Indentation is a luxury here.
        if let Some((text, _)) = spans.first_mut() {
            *text = text.trim_start().to_owned().into();
        }
        let used = canvas.spans(area.x, y, area.width, spans);
        if row == 0 {
            first = used;
        }
    }
    first
}

/// An event in words: `D 14:02:05 deploy checkout 4f9c2`.
pub(crate) fn event_spans(event: &Event, now: Timestamp) -> Vec<Span<'_>> {
    vec![
        span(event.kind.letter().to_string(), Role::Accent),
        span(
            format!(" {} {} ", fmt::moment(event.at, now), event.kind.as_str()),
            Role::Text,
        ),
        span(event.text.as_str(), Role::Text),
    ]
}

/// How an SLO's budget stands, in words.
pub(crate) fn left(slo: &SloView) -> String {
    fmt::or_none(slo.expected_remaining_ratio, |ratio| {
        format!("{} left", fmt::remaining(ratio))
    })
}

struct Parts<'a> {
    snapshot: &'a Snapshot,
    verdict: &'a Verdict,
    /// Which of how many.
    place: (usize, usize),
}

impl<'a> Parts<'a> {
    fn new(model: &Model, snapshot: &'a Snapshot) -> Self {
        let (verdict, index, count) = model.verdict(snapshot);
        Self {
            snapshot,
            verdict,
            place: (index, count),
        }
    }

    /// Whether there are answers to give; about clients' doing there are, though nothing is wrong here.
    fn is_trouble(&self) -> bool {
        matches!(self.verdict.severity, Level::Warn | Level::Crit)
            || self.verdict.side == Locus::Client
    }

    fn badge(&self, gap: &'static str) -> Vec<Span<'a>> {
        let status = words::level(self.verdict.severity);
        let mut spans = vec![span(status.text(), status.role), span(gap, Role::Text)];
        if let (index, count @ 2..) = self.place {
            spans.push(span(format!("{}/{count}{gap}", index + 1), Role::Muted));
        }
        if self.verdict.side != Locus::None {
            spans.push(span(words::locus(self.verdict.side), Role::Strong));
        }
        spans
    }

    fn headline(&self) -> Vec<Span<'a>> {
        let mut spans = self.badge("  ");
        let what = match &self.verdict.route {
            Some(route) => span(route.as_str(), Role::Strong),
            None => span(self.verdict.text.as_str(), Role::Text),
        };
        spans.push(span("   ", Role::Text));
        spans.push(what);
        if let more @ 1.. = self.verdict.routes.len().saturating_sub(1) {
            spans.push(span(format!(" +{more}"), Role::Muted));
        }
        spans
    }

    fn size(&self) -> Vec<Span<'a>> {
        let verdict = self.verdict;
        let role = match verdict.severity {
            Level::Crit => Role::Crit,
            _ => Role::Warn,
        };
        let mut spans = Vec::new();
        if let Some(ratio) = verdict.bad_ratio {
            spans.push(span(format!("{} bad", fmt::share(ratio)), role));
        }
        if let Some(rate) = verdict.bad_per_s {
            let dot = if spans.is_empty() { "" } else { " · " };
            spans.push(span(format!("{dot}{}/s", fmt::si(rate)), Role::Text));
        }
        spans
    }

    /// How much of all trouble this is, and of which kind; each piece begins with its own dot.
    fn scope(&self) -> Vec<Span<'a>> {
        let mut spans = Vec::new();
        if let Some(share) = self.verdict.share_of_bad {
            let text = format!(" · {} of all errors", fmt::share(share));
            spans.push(span(text, Role::Text));
        }
        if let Some(fault) = &self.verdict.fault {
            spans.push(span(format!(" · {fault}"), Role::Text));
        }
        spans
    }

    fn route_and_size(&self) -> Vec<Span<'a>> {
        let mut spans = Vec::new();
        if let Some(route) = &self.verdict.route {
            spans.push(span(route.as_str(), Role::Strong));
            spans.push(span("  ", Role::Text));
        }
        spans.extend(self.size());
        spans
    }

    fn since(&self) -> Vec<Span<'a>> {
        match self.verdict.onset {
            Some(onset) => {
                let at = fmt::moment(onset, self.snapshot.at);
                let ago = fmt::age(self.snapshot.at.since(onset));
                vec![
                    span("since ", Role::Muted),
                    span(at, Role::Text),
                    span(" · ", Role::Muted),
                    span(ago, Role::Strong),
                ]
            }
            None => vec![span("since: not found in the data", Role::Muted)],
        }
    }

    fn changed(&self) -> Vec<Span<'a>> {
        let mut spans = vec![span("  changed  ", Role::Muted)];
        match &self.verdict.suspect {
            Some(suspect) => {
                spans.extend(event_spans(&suspect.event, self.snapshot.at));
                let before = fmt::seconds(suspect.before_onset_s);
                spans.push(span(format!(", {before} before onset"), Role::Text));
                if !suspect.why.is_empty() {
                    spans.push(span("; ", Role::Muted));
                    spans.push(span(suspect.why.as_str(), Role::Muted));
                }
            }
            None => spans.push(span("no change found in the hour before", Role::Text)),
        }
        spans
    }

    fn changed_shortly(&self) -> Vec<Span<'a>> {
        match &self.verdict.suspect {
            Some(suspect) => {
                let mut spans = vec![span("SUSPECT ", Role::Accent)];
                spans.extend(event_spans(&suspect.event, self.snapshot.at));
                spans
            }
            None => vec![span("no change found in the hour before", Role::Text)],
        }
    }

    fn strength(&self) -> Vec<Span<'a>> {
        match &self.verdict.suspect {
            Some(suspect) => vec![
                span(words::strength(suspect.strength), Role::Accent),
                span(" ", Role::Text),
            ],
            None => Vec::new(),
        }
    }

    fn burning(&self) -> Vec<Span<'a>> {
        let verdict = self.verdict;
        let mut spans = vec![span("  burning  ", Role::Muted)];
        let Some(burn) = verdict.burn else {
            spans.push(span("no SLO here, so no budget burns", Role::Muted));
            return spans;
        };
        spans.push(span(fmt::burn(burn), Role::Strong));
        if let Some(id) = &verdict.slo {
            let mut on = format!(" on {id}");
            let slo = self.snapshot.slos.iter().find(|slo| slo.id == *id);
            if let Some(objective) = slo.and_then(objective) {
                on.push(' ');
                on.push_str(&objective);
            }
            spans.push(span(on, Role::Text));
        }
        if let Some(remaining) = verdict.remaining_ratio {
            let left = format!(" · {} of the budget left", fmt::remaining(remaining));
            spans.push(span(left, Role::Text));
        }
        if let Some(gone) = self.gone() {
            spans.push(span(" · ", Role::Muted));
            spans.push(span(gone, Role::Strong));
        }
        spans
    }

    /// The same with what matters most first, for where the end may be cut.
    fn burning_shortly(&self) -> Vec<Span<'a>> {
        let mut spans = vec![span("  burning  ", Role::Muted)];
        let Some(burn) = self.verdict.burn else {
            spans.push(span("no SLO here", Role::Muted));
            return spans;
        };
        spans.push(span(fmt::burn(burn), Role::Strong));
        if let Some(gone) = self.gone() {
            spans.push(span(format!(" · {gone}"), Role::Strong));
        }
        if let Some(remaining) = self.verdict.remaining_ratio {
            let left = format!(" · {} left", fmt::remaining(remaining));
            spans.push(span(left, Role::Text));
        }
        spans
    }

    /// When the budget will be gone, if it will.
    fn gone(&self) -> Option<String> {
        let overspent = self.verdict.remaining_ratio.is_some_and(|left| left <= 0.0);
        match self.verdict.time_to_empty_s {
            empty if overspent || empty == Some(0) => Some("gone".to_owned()),
            Some(secs) => Some(format!("gone in {}", fmt::seconds(secs))),
            None => None,
        }
    }

    fn next_step(&self) -> Vec<Span<'a>> {
        if self.verdict.next_step.is_empty() {
            return Vec::new();
        }
        let mut spans = vec![
            span("do  ", Role::Muted),
            span(self.verdict.next_step.as_str(), Role::Strong),
        ];
        spans.push(span(" ", Role::Text));
        spans
    }

    fn calm(&self) -> Vec<Span<'a>> {
        let status = words::level(self.verdict.severity);
        vec![
            span(status.text(), status.role),
            span("  ", Role::Text),
            span(self.said(), Role::Text),
        ]
    }

    /// The sentence without the word that the badge says already.
    fn said(&self) -> &'a str {
        let text = self.verdict.text.as_str();
        let rest = text
            .split_once(": ")
            .filter(|(word, _)| word.eq_ignore_ascii_case(self.verdict.severity.as_str()));
        rest.map_or(text, |(_, rest)| rest)
    }

    fn last_change(&self) -> Vec<Span<'a>> {
        let mut spans = vec![span("  last change  ", Role::Muted)];
        let last = self
            .snapshot
            .events
            .iter()
            .find(|event| event.kind.is_change());
        match last {
            Some(event) => spans.extend(event_spans(event, self.snapshot.at)),
            None => spans.push(span("none known", Role::Muted)),
        }
        spans
    }

    fn lowest_budget(&self) -> Vec<Span<'a>> {
        let mut spans = vec![span("  lowest budget  ", Role::Muted)];
        let measured = self
            .snapshot
            .slos
            .iter()
            .filter(|slo| slo.expected_remaining_ratio.is_some());
        let lowest = measured.min_by(|one, other| {
            let of = |slo: &SloView| slo.expected_remaining_ratio.unwrap_or(f64::INFINITY);
            of(one).total_cmp(&of(other))
        });
        match lowest {
            Some(slo) => {
                spans.push(span(slo.id.as_str(), Role::Text));
                spans.push(span(format!(" {}", left(slo)), Role::Text));
            }
            None if self.snapshot.slos.is_empty() => {
                spans.push(span("no SLO is configured", Role::Muted));
            }
            None => spans.push(span("no SLO has data yet", Role::Muted)),
        }
        spans
    }
}

/// The SLO's target in percent; `None` when it is none, which a broken daemon might send.
pub(crate) fn objective(slo: &SloView) -> Option<String> {
    crate::model::Objective::try_from_ppm(slo.objective_ppm)
        .ok()
        .map(|objective| objective.to_string())
}

fn row_of(area: Rect, row: usize) -> Option<u16> {
    let y = area.y.checked_add(u16::try_from(row).ok()?)?;
    (y < area.bottom()).then_some(y)
}

/// Draws `left` from the left and `right` to the right; the right side has its way up to half of the row.
fn halves(canvas: &mut Canvas<'_>, area: Rect, y: u16, left: &[Span<'_>], right: &[Span<'_>]) {
    let (wants_left, wants_right) = (canvas.measure(left), canvas.measure(right));
    let spare = area.width.saturating_sub(wants_left.saturating_add(2));
    let given = wants_right.min(spare.max(area.width / 2)).min(area.width);
    let x = area.right() - given;
    canvas.spans(x, y, given, right);
    let gap = if given == 0 { 0 } else { 2 };
    canvas.spans(area.x, y, area.width.saturating_sub(given + gap), left);
}
