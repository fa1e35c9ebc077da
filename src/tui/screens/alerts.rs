//! What fires, what is about to, and what to do.

use ratatui::layout::Rect;

use super::super::app::Model;
use super::super::canvas::{Canvas, Span, span};
use super::super::fmt;
use super::super::page;
use super::super::tab::Tab;
use super::super::theme::Role;
use super::super::widgets::table::{Cell, Column, Kind};
use super::super::widgets::{listing, rule, verdict};
use super::super::words::{self, Status};
use crate::generate;
use crate::model::{Timestamp, Window};
use crate::slo::alert::{AlertKind, AlertState};
use crate::slo::policy::Severity;
use crate::snapshot::{AlertView, CertificateAlertView, Snapshot, Urgency};

/// Rows below the list that say something.
const BELOW: u16 = 9;
/// From this width on the runbook has its place beside the detail.
const WIDE: u16 = 100;

/// The rows' ids.
pub(super) fn ids(snapshot: &Snapshot) -> Vec<String> {
    rows(snapshot)
        .into_iter()
        .map(|row| row.id().to_owned())
        .collect()
}

/// How many rows of `body` the list takes.
pub(super) fn split(body: u16, count: usize) -> u16 {
    super::share(body, count, BELOW.min(body / 2).max(6))
}

/// Draws the screen.
pub(super) fn draw(canvas: &mut Canvas<'_>, body: Rect, model: &Model, snapshot: &Snapshot) {
    let rows = rows(snapshot);
    let list = split(body.height, rows.len());
    let place = &model.places[Tab::Alerts.index()];
    let cursor = place.cursor(&ids(snapshot));
    let title = [
        span("Alerts", Role::Strong),
        span(heading(snapshot), Role::Muted),
    ];
    let remark = [span("Enter route   r runbook", Role::Muted)];
    rule::draw(canvas, (body.x, body.y), body.width, &title, &remark);
    let table = Rect::new(body.x, body.y + 1, body.width, list.saturating_sub(1));
    let empty = if snapshot.slos.is_empty() {
        "Nothing can fire: no SLO is configured."
    } else {
        "Nothing fires, and nothing is about to."
    };
    listing::draw(
        canvas,
        table,
        &columns(),
        (rows.len(), place.offset, cursor),
        empty,
        |index| rows.get(index).copied(),
    );
    let rest = Rect::new(
        body.x,
        body.y + list,
        body.width,
        body.height.saturating_sub(list),
    );
    if rest.height < 2 {
        return;
    }
    match rows.get(cursor) {
        Some(row) => draw_detail(canvas, rest, snapshot, row),
        None => draw_receivers(canvas, rest, snapshot),
    }
}

/// One row: an alert, or what is the matter with a certificate.
#[derive(Clone, Copy)]
struct Row<'a> {
    what: What<'a>,
    at: Timestamp,
}

#[derive(Clone, Copy)]
enum What<'a> {
    Alert(&'a AlertView),
    Certificate(&'a CertificateAlertView),
}

impl<'a> Row<'a> {
    fn id(&self) -> &'a str {
        match self.what {
            What::Alert(alert) => &alert.id,
            What::Certificate(alert) => &alert.id,
        }
    }

    fn status(&self) -> Status {
        match self.what {
            What::Alert(alert) => words::alert(alert.state),
            What::Certificate(alert) if alert.urgency >= Urgency::Ticket => {
                words::alert(AlertState::Firing)
            }
            What::Certificate(_) => Status::WARN,
        }
    }

    /// The most urgent first.
    fn rank(&self) -> (u8, u8) {
        let severity = |severity| match severity {
            Severity::Page => 0,
            Severity::Ticket => 1,
        };
        match self.what {
            What::Alert(alert) => {
                let state = match alert.state {
                    AlertState::Firing => 0,
                    AlertState::Pending => 1,
                    AlertState::Resolved => 2,
                    AlertState::Inactive => 3,
                };
                (state, severity(alert.severity))
            }
            What::Certificate(alert) => match alert.urgency {
                Urgency::Page => (0, 0),
                Urgency::Ticket => (0, 1),
                Urgency::Warn => (1, 1),
            },
        }
    }
}

fn rows(snapshot: &Snapshot) -> Vec<Row<'_>> {
    let at = snapshot.at;
    // A certificate's alert says what the certificate says, which says it earlier: with a warning.
    let told = |alert: &&AlertView| alert.kind != AlertKind::Certificate;
    let alerts = snapshot.alerts.iter().filter(told).map(What::Alert);
    let certificates = snapshot.certificate_alerts.iter().map(What::Certificate);
    let mut rows: Vec<Row<'_>> = alerts
        .chain(certificates)
        .map(|what| Row { what, at })
        .collect();
    rows.sort_by_key(Row::rank);
    rows
}

/// What sort of alert it is, and whether it is kept from being told.
fn sort(alert: &AlertView) -> String {
    let sort = match alert.tier {
        Some(tier) => format!("{} burn", tier.as_str()),
        None => alert.kind.as_str().replace('_', " "),
    };
    match alert.silenced_by {
        Some(_) => format!("{sort}, silenced"),
        None => sort,
    }
}

fn heading(snapshot: &Snapshot) -> String {
    let rows = rows(snapshot);
    let firing = rows.iter().filter(|row| row.rank().0 == 0).count();
    let pending = rows.iter().filter(|row| row.rank().0 == 1).count();
    let resolved = rows.iter().filter(|row| row.rank().0 == 2).count();
    let mut text = format!(" · {firing} firing");
    for (count, word) in [(pending, "pending"), (resolved, "resolved lately")] {
        if count > 0 {
            text = format!("{text}, {count} {word}");
        }
    }
    text
}

fn columns<'a>() -> [Column<Row<'a>>; 6] {
    [
        Column {
            head: "STATE",
            width: 10,
            rank: 0,
            kind: Kind::Left,
            cell: Cell::Fixed(|row: &Row<'_>| {
                let status = row.status();
                vec![span(status.text(), status.role)]
            }),
        },
        Column {
            head: "LOUD",
            width: 6,
            rank: 1,
            kind: Kind::Left,
            cell: Cell::Text(|row: &Row<'_>| {
                match row.what {
                    What::Alert(alert) => alert.severity.as_str(),
                    What::Certificate(alert) => alert.urgency.as_str(),
                }
                .to_owned()
            }),
        },
        Column {
            head: "ABOUT",
            width: 22,
            rank: 0,
            kind: Kind::Flexible(40),
            cell: Cell::Fixed(|row: &Row<'_>| match row.what {
                What::Alert(alert) => vec![
                    span(alert.about.clone(), Role::Text),
                    span(format!("  {}", sort(alert)), Role::Muted),
                ],
                What::Certificate(alert) => vec![
                    span(alert.name.clone(), Role::Text),
                    span(format!("  certificate, {}", alert.source), Role::Muted),
                ],
            }),
        },
        Column {
            head: "ROUTE",
            width: 10,
            rank: 4,
            kind: Kind::Left,
            cell: Cell::Text(|row: &Row<'_>| match row.what {
                What::Alert(alert) => alert.route.clone(),
                What::Certificate(_) => String::new(),
            }),
        },
        Column {
            head: "VALUE",
            width: 22,
            rank: 2,
            kind: Kind::Flexible(60),
            cell: Cell::Text(|row: &Row<'_>| match row.what {
                What::Alert(alert) => match (alert.long, alert.factor) {
                    (Some(long), Some(factor)) => format!(
                        "{long} {} of {}",
                        fmt::or_none(alert.burn_long, fmt::burn),
                        fmt::burn(factor)
                    ),
                    _ => alert.text.clone(),
                },
                What::Certificate(alert) => alert.text.clone(),
            }),
        },
        Column {
            head: "FOR",
            width: 7,
            rank: 3,
            kind: Kind::Right,
            cell: Cell::Text(|row: &Row<'_>| {
                let since = match row.what {
                    What::Alert(alert) => alert.since,
                    What::Certificate(alert) => alert.since,
                };
                fmt::age(row.at.since(since))
            }),
        },
    ]
}

fn draw_detail(canvas: &mut Canvas<'_>, area: Rect, snapshot: &Snapshot, row: &Row<'_>) {
    let lines = match row.what {
        What::Alert(alert) => burn_lines(snapshot, alert),
        What::Certificate(alert) => certificate_lines(snapshot, alert),
    };
    let title = [span(row.id().to_owned(), Role::Strong)];
    let runbook = match row.what {
        What::Alert(alert) => {
            let text = generate::runbook_of(alert.kind, alert.severity);
            page::section(&text, "What to do").to_owned()
        }
        What::Certificate(_) => CERTIFICATE.to_owned(),
    };
    let own = match row.what {
        What::Alert(alert) => alert.runbook.as_deref(),
        What::Certificate(_) => None,
    };
    if area.width >= WIDE {
        let left = area.width / 2;
        rule::draw(canvas, (area.x, area.y), left, &title, &[]);
        put_lines(
            canvas,
            Rect::new(area.x + 1, area.y + 1, left - 2, area.height - 1),
            &lines,
        );
        let x = area.x + left;
        let width = area.width - left;
        let heads = [span("What to do", Role::Strong)];
        let remark = [span("r all of it", Role::Muted)];
        rule::draw(canvas, (x, area.y), width, &heads, &remark);
        canvas.cell(x, area.y, "┬", Role::Muted);
        for y in area.y + 1..area.bottom() {
            canvas.cell(x, y, "│", Role::Muted);
        }
        let inner = Rect::new(x + 2, area.y + 1, width - 3, area.height - 1);
        put_runbook(canvas, inner, &runbook, own);
        return;
    }
    let remark = [span("r runbook", Role::Muted)];
    rule::draw(canvas, (area.x, area.y), area.width, &title, &remark);
    let inner = Rect::new(
        area.x + 1,
        area.y + 1,
        area.width.saturating_sub(2),
        area.height - 1,
    );
    let taken = put_lines(canvas, inner, &lines);
    let rest = Rect::new(inner.x, inner.y + taken, inner.width, inner.height - taken);
    put_runbook(canvas, rest, &runbook, own);
}

/// For what has no page of its own.
const CERTIFICATE: &str = "1. Look at what is shown: `6` has the chain, the dates and the places.\n\
    2. Renew it where it is issued, put the files in place, and reload: `kill -HUP`.\n\
    3. `vestibule certs` must then say that it is served.\n";

fn put_lines(canvas: &mut Canvas<'_>, area: Rect, lines: &[Vec<Span<'_>>]) -> u16 {
    for (y, line) in (area.y..area.bottom()).zip(lines) {
        canvas.spans(area.x, y, area.width, line);
    }
    u16::try_from(lines.len())
        .unwrap_or(u16::MAX)
        .min(area.height)
}

fn put_runbook(canvas: &mut Canvas<'_>, area: Rect, text: &str, own: Option<&str>) {
    let mut lines: Vec<Vec<Span<'_>>> = Vec::new();
    if let Some(own) = own {
        lines.push(vec![span("yours  ", Role::Muted), span(own, Role::Accent)]);
    }
    lines.extend(page::lines(text, area.width));
    put_lines(canvas, area, &lines);
}

fn burn_lines<'a>(snapshot: &'a Snapshot, alert: &'a AlertView) -> Vec<Vec<Span<'a>>> {
    let mut lines = Vec::new();
    if let Some(factor) = alert.factor {
        let windows = [
            (alert.long, alert.burn_long),
            (alert.short, alert.burn_short),
        ];
        let known = windows
            .into_iter()
            .filter_map(|(window, burn)| Some((window?, burn)));
        lines.extend(known.map(|(window, burn)| condition(window, burn, factor)));
    } else {
        lines.push(vec![span(alert.text.as_str(), Role::Strong)]);
    }
    if let Some(silence) = &alert.silenced_by {
        lines.push(vec![span(
            format!("silenced by {silence}: nobody is told"),
            Role::Warn,
        )]);
    }
    let ago = fmt::age(snapshot.at.since(alert.since));
    let status = words::alert(alert.state);
    lines.push(vec![
        span(status.text(), status.role),
        span(
            format!(" since {} · {ago}", fmt::moment(alert.since, snapshot.at)),
            Role::Text,
        ),
    ]);
    lines.push(vec![span(
        match alert.state {
            AlertState::Firing => match alert.short {
                Some(short) => format!("clears about a minute after the last {short} burn less"),
                None => "clears when it is no longer so".to_owned(),
            },
            AlertState::Pending => "too little history yet to trust it".to_owned(),
            AlertState::Resolved | AlertState::Inactive => "over".to_owned(),
        },
        Role::Muted,
    )]);
    if let Some(slo) = snapshot.slos.iter().find(|slo| slo.id == alert.slo) {
        let mut spans = vec![
            span("budget ", Role::Muted),
            span(verdict::left(slo), Role::Strong),
        ];
        if let Some(secs) = slo.time_to_empty_s {
            let gone = format!(" · gone in {}", fmt::seconds(secs));
            spans.push(span(gone, Role::Strong));
        }
        lines.push(spans);
    }
    lines.extend(told(snapshot));
    lines
}

fn condition(window: Window, burn: Option<f64>, factor: f64) -> Vec<Span<'static>> {
    let holds = burn.is_some_and(|burn| burn > factor);
    let (word, role) = if holds {
        ("TRUE", Role::Crit)
    } else {
        ("not so", Role::Muted)
    };
    vec![
        span(format!("burn {:<4}", window.to_string()), Role::Muted),
        span(fmt::or_none(burn, fmt::burn), Role::Strong),
        span(format!(" over {}  ", fmt::burn(factor)), Role::Text),
        span(word, role),
    ]
}

fn certificate_lines<'a>(
    snapshot: &'a Snapshot,
    alert: &'a CertificateAlertView,
) -> Vec<Vec<Span<'a>>> {
    let ago = fmt::age(snapshot.at.since(alert.since));
    let mut lines = vec![
        vec![span(alert.text.as_str(), Role::Strong)],
        vec![span(
            format!("{} · known for {ago}", alert.kind),
            Role::Text,
        )],
    ];
    lines.extend(told(snapshot));
    lines
}

/// Who has been told, and who could not be.
fn told(snapshot: &Snapshot) -> Vec<Vec<Span<'_>>> {
    if snapshot.receivers.is_empty() {
        return vec![vec![span(
            "nobody is told: no receiver is configured",
            Role::Warn,
        )]];
    }
    let receivers = snapshot.receivers.iter();
    receivers
        .map(|receiver| {
            let mut spans = vec![
                span("told ", Role::Muted),
                span(receiver.name.as_str(), Role::Text),
            ];
            match (&receiver.last_error, receiver.last_delivered) {
                (Some(error), _) => {
                    spans.push(span(" FAIL ", Role::Crit));
                    spans.push(span(error.as_str(), Role::Text));
                }
                (None, Some(at)) => {
                    let at = fmt::moment(at, snapshot.at);
                    spans.push(span(format!(" {at}"), Role::Text));
                }
                (None, None) => spans.push(span(" nothing yet", Role::Muted)),
            }
            spans
        })
        .collect()
}

fn draw_receivers(canvas: &mut Canvas<'_>, area: Rect, snapshot: &Snapshot) {
    let title = [span("Who would be told", Role::Strong)];
    rule::draw(canvas, (area.x, area.y), area.width, &title, &[]);
    let inner = Rect::new(
        area.x + 1,
        area.y + 1,
        area.width.saturating_sub(2),
        area.height - 1,
    );
    put_lines(canvas, inner, &told(snapshot));
}
