//! The last hour of the edge or of a route: bad share, requests, p99 and the change rail, one time axis for all.

use ratatui::layout::Rect;

use super::super::canvas::{Canvas, span};
use super::super::fmt;
use super::super::theme::Role;
use super::{bars, rule};
use crate::model::{Event, EventKind, Timestamp};
use crate::snapshot::{Measure, Series};

/// What is drawn.
pub(crate) struct History<'a> {
    /// The pane's title, before the span of time.
    pub(crate) title: &'a str,
    pub(crate) series: &'a Series,
    pub(crate) now: &'a Measure,
    pub(crate) before: &'a Measure,
    /// Newest first.
    pub(crate) events: &'a [Event],
    /// The event under the cursor.
    pub(crate) event: Option<usize>,
    /// When trouble began and how it looks; bars from then on look so.
    pub(crate) alarm: Option<(Timestamp, Role)>,
}

/// How many rows each part has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) bad: u16,
    pub(crate) requests: u16,
    pub(crate) p99: u16,
}

impl Rows {
    /// All rows, with the title and the rail.
    pub(crate) const fn total(self) -> u16 {
        2 + self.bad + self.requests + self.p99
    }
}

const LABEL: u16 = 9;
/// The columns of now, before and change, and their separator.
const PANEL: u16 = 48;
const NUMBER: u16 = 11;
const WIDE: u16 = 100;
const BAD: &str = "bad %";
/// Requests and p99 keep away from the top and out of the way of what is bad.
const HEADROOM: f64 = 1.6;
/// Full height is the worst of the hour, but not less: a hundredth of a percent must not look like an outage.
const LEAST_FULL_BAD: f64 = 0.01;

impl History<'_> {
    /// Draws it at the top of `area`.
    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>, area: Rect, rows: Rows) {
        let wide = area.width >= WIDE;
        let side = if wide { PANEL } else { NUMBER };
        let space = area.width.saturating_sub(LABEL + side);
        let columns = self.series.requests.len();
        // Wide screens give each column more space; narrow ones show the newest.
        let stretch = space
            .checked_div(u16::try_from(columns).unwrap_or(u16::MAX))
            .unwrap_or(1)
            .max(1);
        let skipped = columns.saturating_sub(usize::from(space / stretch));
        let panel = area.x + LABEL + space;
        self.heads(canvas, area, panel, wide, skipped);

        let chart_x = area.x + LABEL;
        let mut y = area.y + 1;
        let alarm = self
            .alarm
            .map(|(from, role)| (self.column(from).unwrap_or(0).saturating_sub(skipped), role));
        let mut part =
            |canvas: &mut Canvas<'_>, label: &str, height: u16, values: &[Option<f64>]| {
                let bad = label == BAD;
                let (floor, headroom, role) = if bad {
                    (LEAST_FULL_BAD, 1.0, Role::Text)
                } else {
                    (0.0, if height == 1 { HEADROOM } else { 1.0 }, Role::Muted)
                };
                let alarm = alarm.filter(|_| bad);
                if height == 0 || y + height > area.bottom() {
                    return None;
                }
                let values = values.get(skipped..).unwrap_or_default();
                let bottom = y + height - 1;
                canvas.put(area.x + 1, bottom, LABEL - 1, label, Role::Muted);
                bars::Bars {
                    values,
                    full: bars::full(values, floor) * headroom,
                    role,
                    stretch,
                    alarm,
                }
                .draw(canvas, Rect::new(chart_x, y, space, height));
                if wide {
                    for row in 0..height {
                        canvas.cell(panel, y + row, "│", Role::Muted);
                    }
                }
                y += height;
                Some(bottom)
            };

        let ratios: Vec<Option<f64>> = ratios(self.series).collect();
        if let Some(bottom) = part(canvas, BAD, rows.bad, &ratios) {
            self.bad(canvas, panel, bottom, wide, area.right());
        }
        let requests: Vec<Option<f64>> = self
            .series
            .requests
            .iter()
            .map(|count| count.map(|count| count as f64))
            .collect();
        if let Some(bottom) = part(canvas, "req/s", rows.requests, &requests) {
            let (now, before) = (self.now.rate_per_s, self.before.rate_per_s);
            compare(canvas, panel, bottom, wide, now, before, &fmt::si);
        }
        let p99: Vec<Option<f64>> = self
            .series
            .p99_us
            .iter()
            .map(|micros| micros.map(|micros| micros as f64))
            .collect();
        if let Some(bottom) = part(canvas, "p99", rows.p99, &p99) {
            let as_float = |micros: Option<u64>| micros.map(|micros| micros as f64);
            let show = |micros: f64| fmt::micros(micros as u64);
            let (now, before) = (as_float(self.now.p99_us), as_float(self.before.p99_us));
            compare(canvas, panel, bottom, wide, now, before, &show);
        }
        if y < area.bottom() {
            let rail = Rail {
                x: chart_x,
                y,
                columns: columns - skipped,
                skipped,
                stretch,
            };
            canvas.put(area.x + 1, y, LABEL - 1, "events", Role::Muted);
            let kinds = self.rail(canvas, &rail);
            legend(canvas, panel, y, wide, &kinds);
        }
    }

    fn heads(&self, canvas: &mut Canvas<'_>, area: Rect, panel: u16, wide: bool, skipped: usize) {
        let (series, y) = (self.series, area.y);
        let mut title = vec![span(self.title.to_owned(), Role::Strong)];
        if !series.requests.is_empty() {
            let from = moved(series, skipped);
            let last = moved(series, series.requests.len() - 1);
            let (from, last) = (fmt::minute(from), fmt::minute(last));
            let step = fmt::seconds(series.step_s);
            let step = step.strip_suffix("00s").unwrap_or(&step);
            title.push(span(
                format!(" · {from} → {last} UTC, {step} a column"),
                Role::Muted,
            ));
        }
        rule::draw(canvas, (area.x, y), area.width, &title, &[]);
        if wide {
            canvas.cell(panel, y, "┬", Role::Muted);
            for (start, width, head) in [(2, 9, "now"), (12, 10, "before"), (24, 8, "change")] {
                let width = width.min(u16::try_from(head.len()).unwrap_or(width)) + 2;
                canvas.put(
                    panel + start + 1,
                    y,
                    width,
                    &format!(" {head} "),
                    Role::Muted,
                );
            }
        } else if area.width > LABEL + NUMBER {
            canvas.put_right(area.right() - 7, y, 5, " now ", Role::Muted);
        }
    }

    fn bad(&self, canvas: &mut Canvas<'_>, panel: u16, y: u16, wide: bool, right: u16) {
        let (now, before) = (self.now.bad_ratio, self.before.bad_ratio);
        let role = match self.alarm {
            Some((_, role)) if now.is_some_and(|now| now > 0.0) => role,
            _ => Role::Strong,
        };
        numbers(canvas, panel, y, wide, (now, role), before, &fmt::share);
        if !wide {
            return;
        }
        let mut text = match (now, before) {
            (Some(now), Some(before)) => {
                let mut text = fmt::points(now, before);
                if before > 0.0 && now / before >= 2.0 {
                    text.push_str(" ▲ ");
                    text.push_str(&fmt::times(now / before));
                }
                text
            }
            _ => String::new(),
        };
        // Few requests make a share look more certain than it is.
        let valid = self.now.requests.saturating_sub(self.now.excluded);
        if valid < 1_000 && now.is_some() {
            text = format!("{text}  {} of {valid}", self.now.bad);
        }
        let x = panel + 25;
        canvas.put(
            x,
            y,
            right.saturating_sub(x + 1),
            text.trim_start(),
            Role::Text,
        );
    }

    /// The column that holds `at`; `None` before the first.
    fn column(&self, at: Timestamp) -> Option<usize> {
        if at < self.series.start {
            return None;
        }
        let column = at.since(self.series.start).as_secs() / self.series.step_s.max(1);
        usize::try_from(column).ok()
    }

    fn rail(&self, canvas: &mut Canvas<'_>, rail: &Rail) -> Vec<EventKind> {
        let width = u16::try_from(rail.columns)
            .unwrap_or(u16::MAX)
            .saturating_mul(rail.stretch);
        canvas.fill(rail.x, rail.y, width, "·", Role::Muted);
        let mut shown: Vec<Option<usize>> = vec![None; rail.columns];
        let mut kinds = Vec::new();
        for (index, event) in self.events.iter().enumerate() {
            let Some(column) = self.column(event.at) else {
                continue;
            };
            let Some(slot) = column
                .checked_sub(rail.skipped)
                .and_then(|column| shown.get_mut(column))
            else {
                continue;
            };
            if !kinds.contains(&event.kind) {
                kinds.push(event.kind);
            }
            // Of several in one column the one under the cursor shows, else what is likeliest to matter.
            let rank = |index: usize| (self.event == Some(index), weight(self.events[index].kind));
            if slot.is_none_or(|other| rank(index) > rank(other)) {
                *slot = Some(index);
            }
        }
        for (column, index) in shown.into_iter().enumerate() {
            if let Some(index) = index {
                let x = u16::try_from(column)
                    .unwrap_or(u16::MAX)
                    .saturating_mul(rail.stretch);
                let role = if self.event == Some(index) {
                    Role::Cursor
                } else {
                    Role::Accent
                };
                let letter = self.events[index].kind.letter().to_string();
                canvas.put(rail.x.saturating_add(x), rail.y, 1, &letter, role);
            }
        }
        kinds
    }
}

fn legend(canvas: &mut Canvas<'_>, panel: u16, y: u16, wide: bool, kinds: &[EventKind]) {
    let mut spans = Vec::new();
    for kind in EventKind::ALL.iter().filter(|kind| kinds.contains(kind)) {
        spans.push(span(kind.letter().to_string(), Role::Accent));
        if wide {
            spans.push(span(format!(" {}  ", kind.as_str()), Role::Muted));
        }
    }
    if wide {
        canvas.cell(panel, y, "│", Role::Muted);
        canvas.spans(panel + 3, y, PANEL - 4, &spans);
    } else {
        let width = canvas.measure(&spans).min(NUMBER - 1);
        canvas.spans(panel + NUMBER - 1 - width, y, width, &spans);
    }
}
/// Bad ÷ requests of each column; `None` where nothing was measured or asked.
pub(crate) fn ratios(series: &Series) -> impl Iterator<Item = Option<f64>> + '_ {
    series
        .requests
        .iter()
        .enumerate()
        .map(|(column, requests)| {
            let bad = series.bad.get(column).copied().flatten()?;
            match requests {
                Some(0) | None => None,
                Some(requests) => Some(bad as f64 / *requests as f64),
            }
        })
}

struct Rail {
    x: u16,
    y: u16,
    columns: usize,
    skipped: usize,
    stretch: u16,
}

const fn weight(kind: EventKind) -> u8 {
    match kind {
        EventKind::Deploy => 5,
        EventKind::Config => 4,
        EventKind::Process => 3,
        EventKind::Health | EventKind::Name => 2,
        EventKind::Alert | EventKind::Probe | EventKind::Certificate => 1,
        EventKind::Operator => 0,
    }
}

fn moved(series: &Series, columns: usize) -> Timestamp {
    let secs = series.step_s.saturating_mul(columns as u64);
    series.start.plus(std::time::Duration::from_secs(secs))
}

/// Draws now, before and the difference in percent.
fn compare(
    canvas: &mut Canvas<'_>,
    panel: u16,
    y: u16,
    wide: bool,
    now: Option<f64>,
    before: Option<f64>,
    show: &dyn Fn(f64) -> String,
) {
    numbers(canvas, panel, y, wide, (now, Role::Strong), before, show);
    if let (true, Some(now), Some(before)) = (wide, now, before)
        && let Some(change) = fmt::change(now, before)
    {
        let flat = (now / before - 1.0).abs() < 0.05;
        let text = format!("{change}{}", if flat { " flat" } else { "" });
        canvas.put(panel + 25, y, PANEL - 26, &text, Role::Text);
    }
}

fn numbers(
    canvas: &mut Canvas<'_>,
    panel: u16,
    y: u16,
    wide: bool,
    (now, role): (Option<f64>, Role),
    before: Option<f64>,
    show: &dyn Fn(f64) -> String,
) {
    let now = fmt::or_none(now, show);
    if wide {
        canvas.put_right(panel + 1, y, 9, &now, role);
        canvas.put_right(panel + 11, y, 11, &fmt::or_none(before, show), Role::Muted);
    } else {
        canvas.put_right(panel + 1, y, NUMBER - 2, &now, role);
    }
}
