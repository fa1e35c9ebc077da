//! When certificates end, where they are shown, and what is wrong with them.

use ratatui::layout::Rect;

use super::super::app::Model;
use super::super::canvas::{Canvas, Span, span};
use super::super::fmt;
use super::super::tab::Tab;
use super::super::theme::Role;
use super::super::widgets::table::{Cell, Column, Kind};
use super::super::widgets::{calendar, listing, rule};
use super::super::words::Status;
use crate::model::CertificateFacts;
use crate::snapshot::{CertificateView, Snapshot, Urgency};

/// From this width on the calendar has its place beside the list.
const WIDE: u16 = 100;
/// Rows of the detail below.
const BELOW: u16 = 8;
/// Weeks of the calendar above the list.
const WEEKS_ABOVE: u16 = 5;

/// The rows' ids.
pub(super) fn ids(snapshot: &Snapshot) -> Vec<String> {
    rows(snapshot).iter().map(Row::id).collect()
}

/// Where the parts are.
struct Plan {
    calendar: Option<Rect>,
    list: Rect,
    detail: Rect,
}

impl Plan {
    fn of(body: Rect, count: usize) -> Self {
        if body.width >= WIDE {
            let upper = super::share(body.height, count.max(10), BELOW);
            let left = calendar::WIDTH;
            return Self {
                calendar: Some(Rect::new(body.x, body.y, left, upper)),
                list: Rect::new(body.x + left, body.y, body.width - left, upper),
                detail: Rect::new(body.x, body.y + upper, body.width, body.height - upper),
            };
        }
        let above = if body.height >= 16 && body.width >= calendar::WIDTH {
            WEEKS_ABOVE + calendar::FRAME
        } else {
            0
        };
        let rest = body.height - above;
        let list = super::share(rest, count, BELOW.min(rest / 2).max(6));
        let calendar = Rect::new(body.x, body.y, body.width, above);
        Self {
            calendar: (above > 0).then_some(calendar),
            list: Rect::new(body.x, body.y + above, body.width, list),
            detail: Rect::new(body.x, body.y + above + list, body.width, rest - list),
        }
    }
}

/// How many rows of `body` the list takes.
pub(super) fn split(body: Rect, count: usize) -> u16 {
    Plan::of(body, count).list.height
}

/// Draws the screen.
pub(super) fn draw(canvas: &mut Canvas<'_>, body: Rect, model: &Model, snapshot: &Snapshot) {
    let rows = rows(snapshot);
    let Plan {
        calendar,
        list,
        detail,
    } = Plan::of(body, rows.len());
    let place = &model.places[Tab::Certs.index()];
    let cursor = place.cursor(&ids(snapshot));
    if let Some(area) = calendar {
        let facts = rows.iter().filter_map(|row| row.view.certificate.as_ref());
        let ends: Vec<_> = facts.map(|facts| facts.not_after).collect();
        let chosen = rows
            .get(cursor)
            .and_then(|row| row.view.certificate.as_ref());
        let chosen = chosen.map(|facts| facts.not_after);
        calendar::draw(canvas, area, snapshot.at, &ends, chosen);
    }
    let shown = usize::from(list.height.saturating_sub(super::LIST_FRAME));
    let title = [
        span("Certs", Role::Strong),
        span(listing::range(rows.len(), place.offset, shown), Role::Muted),
        span(heading(snapshot), Role::Muted),
    ];
    let remark = [span("what is wrong first, then by days left", Role::Muted)];
    rule::draw(canvas, (list.x, list.y), list.width, &title, &remark);
    let table = Rect::new(
        list.x,
        list.y + 1,
        list.width,
        list.height.saturating_sub(1),
    );
    listing::draw(
        canvas,
        table,
        &columns(),
        (rows.len(), place.offset, cursor),
        "No certificate is configured, shown or seen.",
        |index| rows.get(index),
    );
    if list.x > body.x {
        canvas.cell(list.x, list.y, "┬", Role::Muted);
        for y in list.y + 1..list.bottom() {
            canvas.cell(list.x, y, "│", Role::Muted);
        }
    }
    if let Some(row) = rows.get(cursor).filter(|_| detail.height >= 2) {
        draw_detail(canvas, detail, snapshot, row);
    }
}

/// One certificate, and everywhere it was seen.
struct Row<'a> {
    /// The most urgent view of it.
    view: &'a CertificateView,
    places: Vec<&'a CertificateView>,
}

impl Row<'_> {
    fn id(&self) -> String {
        match &self.view.certificate {
            Some(facts) => facts.sha256.clone(),
            None => format!(
                "{}:{}:{}",
                self.view.source, self.view.name, self.view.place
            ),
        }
    }

    fn status(&self) -> Status {
        match (self.view.urgency, self.view.kind.as_deref()) {
            (None, _) => Status::OK,
            (_, Some("expired")) => Status::EXPIRED,
            (_, Some("name" | "not_reloaded")) => Status::MISMATCH,
            (Some(Urgency::Page), _) => Status::CRIT,
            (Some(Urgency::Ticket | Urgency::Warn), _) => Status::WARN,
        }
    }

    fn left(&self) -> String {
        match self.view.left_s {
            Some(left @ 0..) => left_in_words(left),
            Some(_) => "over".to_owned(),
            None => fmt::NO_DATA.to_owned(),
        }
    }

    fn what(&self) -> String {
        match (&self.view.problem, &self.view.renewal_due_at) {
            (Some(problem), _) => problem.clone(),
            (None, Some(due)) if *due > self.view.seen_at => {
                format!("renewal due {}", date(&due.to_string()))
            }
            (None, Some(_)) => "renewal is due".to_owned(),
            (None, None) => String::new(),
        }
    }
}

/// Whole days while there are any: nobody renews by the hour before that.
fn left_in_words(secs: i64) -> String {
    let secs = secs.unsigned_abs();
    match secs / 86_400 {
        0 => fmt::seconds(secs),
        days => format!("{days}d"),
    }
}

/// The date of an instant as RFC 3339 writes it.
fn date(text: &str) -> String {
    text.get(..10).unwrap_or(text).to_owned()
}

/// In the snapshot's order, which has the most urgent first; each certificate once.
fn rows(snapshot: &Snapshot) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for view in &snapshot.certificates {
        let sha = view.certificate.as_ref().map(|facts| &facts.sha256);
        let known = rows.iter_mut().find(|row| {
            sha.is_some() && row.view.certificate.as_ref().map(|facts| &facts.sha256) == sha
        });
        match known {
            Some(row) => row.places.push(view),
            None => rows.push(Row {
                view,
                places: vec![view],
            }),
        }
    }
    rows
}

fn heading(snapshot: &Snapshot) -> String {
    match snapshot.certificate_alerts.len() {
        0 => ", nothing wrong".to_owned(),
        wrong => format!(", {wrong} need a person"),
    }
}

fn columns<'a>() -> [Column<&'a Row<'a>>; 6] {
    [
        Column {
            head: "STATUS",
            width: 10,
            rank: 0,
            kind: Kind::Left,
            cell: Cell::Fixed(|row: &&Row<'_>| {
                let status = row.status();
                vec![span(status.text(), status.role)]
            }),
        },
        Column {
            head: "LEFT",
            width: 6,
            rank: 0,
            kind: Kind::Right,
            cell: Cell::Text(|row: &&Row<'_>| row.left()),
        },
        Column {
            head: "NAME",
            width: 18,
            rank: 0,
            kind: Kind::Flexible(34),
            cell: Cell::Text(|row: &&Row<'_>| row.view.name.clone()),
        },
        Column {
            head: "ISSUER",
            width: 12,
            rank: 4,
            kind: Kind::Left,
            cell: Cell::Text(|row: &&Row<'_>| fmt::or_none(row.view.certificate.as_ref(), issuer)),
        },
        Column {
            head: "SEEN",
            width: 8,
            rank: 3,
            kind: Kind::Left,
            cell: Cell::Text(|row: &&Row<'_>| match row.places.len() {
                1 => row.view.source.clone(),
                places => format!("{places} places"),
            }),
        },
        Column {
            head: "WHAT",
            width: 20,
            rank: 2,
            kind: Kind::Flexible(70),
            cell: Cell::Text(|row: &&Row<'_>| row.what()),
        },
    ]
}

/// The issuer's common name, or all of it.
fn issuer(facts: &CertificateFacts) -> String {
    let common = facts
        .issuer
        .split(',')
        .find_map(|part| part.trim().strip_prefix("CN="));
    common.unwrap_or(&facts.issuer).to_owned()
}

fn draw_detail(canvas: &mut Canvas<'_>, area: Rect, snapshot: &Snapshot, row: &Row<'_>) {
    let title = [span(row.view.name.as_str(), Role::Strong)];
    rule::draw(canvas, (area.x, area.y), area.width, &title, &[]);
    let room = area.width.saturating_sub(2);
    let mut lines: Vec<Vec<Span<'_>>> = Vec::new();
    let mut line = |name: &'static str, text: String, role: Role| {
        lines.push(vec![
            span(format!("{name:<9}"), Role::Muted),
            span(text, role),
        ]);
    };
    if let Some(problem) = &row.view.problem {
        line("problem", problem.clone(), row.status().role);
    }
    match &row.view.certificate {
        Some(facts) => {
            let (from, to) = (facts.not_before.to_string(), facts.not_after.to_string());
            let share = row
                .view
                .left_ratio
                .map(|ratio| fmt::portion(ratio.max(0.0)));
            let share =
                share.map_or_else(String::new, |share| format!(", {share} of its life left"));
            line(
                "valid",
                format!("{} → {}{share}", date(&from), date(&to)),
                Role::Strong,
            );
            line("names", facts.names.join(", "), Role::Text);
            let issuers: Vec<String> = row
                .view
                .issuers
                .iter()
                .map(|it| it.subject.clone())
                .collect();
            let chain = if issuers.is_empty() {
                issuer(facts)
            } else {
                issuers.join(" › ")
            };
            line("chain", chain, Role::Text);
            line(
                "key",
                format!(
                    "{}, signed with {}, serial {}",
                    facts.key, facts.signature, facts.serial
                ),
                Role::Text,
            );
        }
        None => line("valid", "there is none to be read".to_owned(), Role::Warn),
    }
    for view in &row.places {
        let ago = fmt::age(snapshot.at.since(view.seen_at));
        let matches = match view.name_matches {
            Some(true) => ", for this name",
            Some(false) => ", NOT for this name",
            None => "",
        };
        let text = format!(
            "{} {} at {}{matches}, {ago} ago",
            view.source, view.name, view.place
        );
        line("seen", text, Role::Text);
    }
    for (y, line) in (area.y + 1..area.bottom()).zip(&lines) {
        canvas.spans(area.x + 1, y, room, line);
    }
}
