//! The view from outside, beside what the ingress itself measured at the same time.

use ratatui::layout::Rect;

use super::super::app::Model;
use super::super::canvas::{Canvas, Span, span};
use super::super::fmt;
use super::super::tab::Tab;
use super::super::theme::Role;
use super::super::widgets::table::{Cell, Column, Kind};
use super::super::widgets::{listing, rule};
use super::super::words::Status;
use crate::model::{ProbePhase, Timestamp, Vantage};
use crate::snapshot::{ProbeSlotView, ProbeView, RouteView, Snapshot, Standing};
use crate::triage::placing::FaultPlace;

/// Rows below the list that say something.
const BELOW: u16 = 8;

/// The rows' ids.
pub(super) fn ids(snapshot: &Snapshot) -> Vec<String> {
    let rows = rows(snapshot);
    rows.iter().map(|row| row.probe.name.clone()).collect()
}

/// How many rows of `body` the list takes.
pub(super) fn split(body: u16, count: usize) -> u16 {
    super::share(body, count, BELOW.min(body / 2).max(6))
}

/// Draws the screen.
pub(super) fn draw(canvas: &mut Canvas<'_>, body: Rect, model: &Model, snapshot: &Snapshot) {
    let rows = rows(snapshot);
    let list = split(body.height, rows.len());
    let place = &model.places[Tab::Probes.index()];
    let cursor = place.cursor(&ids(snapshot));
    let title = [
        span("Probes", Role::Strong),
        span(heading(snapshot), Role::Muted),
    ];
    let remark = [span("counts of the last 1h   Enter route", Role::Muted)];
    rule::draw(canvas, (body.x, body.y), body.width, &title, &remark);
    let table = Rect::new(body.x, body.y + 1, body.width, list.saturating_sub(1));
    listing::draw(
        canvas,
        table,
        &columns(),
        (rows.len(), place.offset, cursor),
        "No probe is configured: nobody looks from outside.",
        |index| rows.get(index).copied(),
    );
    let rest = Rect::new(
        body.x,
        body.y + list,
        body.width,
        body.height.saturating_sub(list),
    );
    if let Some(row) = rows.get(cursor).filter(|_| rest.height >= 2) {
        let slots = model.asked.slots(&row.probe.name);
        draw_detail(canvas, rest, snapshot, row.probe, slots);
    }
}

/// One row.
#[derive(Clone, Copy)]
struct Row<'a> {
    probe: &'a ProbeView,
    at: Timestamp,
}

/// Failing ones first.
fn rows(snapshot: &Snapshot) -> Vec<Row<'_>> {
    let at = snapshot.at;
    let mut rows: Vec<Row<'_>> = snapshot
        .probes
        .iter()
        .map(|probe| Row { probe, at })
        .collect();
    rows.sort_by_key(|row| match row.probe.standing {
        Standing::Crit => 0,
        Standing::Warn => 1,
        Standing::Ok | Standing::None => 2,
    });
    rows
}

fn heading(snapshot: &Snapshot) -> String {
    let total = snapshot.probes.len();
    let of = |standing| {
        let probes = snapshot.probes.iter();
        probes.filter(|probe| probe.standing == standing).count()
    };
    match (of(Standing::Crit), of(Standing::Warn)) {
        (0, 0) if !snapshot.blind_spots.is_empty() => {
            let spots = snapshot.blind_spots.len();
            format!(" · {total}, none fails, {spots} blind spots")
        }
        (0, 0) => format!(" · {total}, none fails"),
        (failing, 0) => format!(" · {total}, {failing} failing"),
        (0, once) => format!(" · {total}, {once} failed once"),
        (failing, once) => format!(" · {total}, {failing} failing, {once} failed once"),
    }
}

impl Row<'_> {
    fn status(&self) -> Status {
        let probe = self.probe;
        match probe.standing {
            _ if probe.paused => Status::PAUSED,
            Standing::Crit => Status::FAIL,
            Standing::Warn => Status::WARN,
            // A slot that should have been there is worth saying: silence is not success.
            Standing::Ok | Standing::None if self.is_late() => Status::LATE,
            Standing::Ok => Status::OK,
            Standing::None => Status::NONE,
        }
    }

    fn is_late(&self) -> bool {
        self.probe.last.as_ref().is_some_and(|last| {
            let allowed = 2 * self.probe.every_s + self.probe.timeout_ms / 1_000;
            self.at.since(last.at).as_secs() > allowed
        })
    }

    fn phase(&self, phase: ProbePhase) -> String {
        let last = self.probe.last.as_ref();
        let micros = last.and_then(|last| last.phases.get(phase.as_str()).copied());
        fmt::or_none(micros, fmt::micros)
    }

    fn message(&self) -> String {
        let Some(last) = &self.probe.last else {
            return "not run yet".to_owned();
        };
        match (&last.reason, last.detail.as_str()) {
            (None, _) => String::new(),
            (Some(reason), "") => reason.clone(),
            (Some(_), detail) => detail.to_owned(),
        }
    }
}

fn columns<'a>() -> [Column<Row<'a>>; 10] {
    [
        Column {
            head: "STATUS",
            width: 8,
            rank: 0,
            kind: Kind::Left,
            cell: Cell::Fixed(|row: &Row<'_>| {
                let status = row.status();
                vec![span(status.text(), status.role)]
            }),
        },
        Column {
            head: "PROBE",
            width: 16,
            rank: 0,
            kind: Kind::Flexible(22),
            cell: Cell::Text(|row: &Row<'_>| row.probe.name.clone()),
        },
        number("LAST", 6, 1, |row| {
            let last = row.probe.last.as_ref();
            fmt::or_none(last, |last| fmt::age(row.at.since(last.at)))
        }),
        number("TOOK", 6, 2, |row| {
            let took = row.probe.last.as_ref().and_then(|last| last.duration_us);
            fmt::or_none(took, fmt::micros)
        }),
        number("DNS", 6, 6, |row| row.phase(ProbePhase::Resolve)),
        number("CONN", 6, 6, |row| row.phase(ProbePhase::Connect)),
        number("TLS", 6, 6, |row| row.phase(ProbePhase::Tls)),
        number("WAIT", 6, 5, |row| row.phase(ProbePhase::Processing)),
        number("OK/FAIL", 9, 3, |row| {
            let probe = row.probe;
            match probe.ok + probe.failed + probe.missed {
                0 => fmt::NO_DATA.to_owned(),
                _ => format!("{}/{}", probe.ok, probe.failed),
            }
        }),
        Column {
            head: "MESSAGE",
            width: 20,
            rank: 4,
            kind: Kind::Flexible(60),
            cell: Cell::Text(Row::message),
        },
    ]
}

const fn number<'a>(
    head: &'static str,
    width: u16,
    rank: u8,
    cell: fn(&Row<'a>) -> String,
) -> Column<Row<'a>> {
    Column {
        head,
        width,
        rank,
        kind: Kind::Right,
        cell: Cell::Text(cell),
    }
}

type Slots<'a> = Option<Result<&'a [ProbeSlotView], &'a str>>;

fn draw_detail(
    canvas: &mut Canvas<'_>,
    area: Rect,
    snapshot: &Snapshot,
    probe: &ProbeView,
    slots: Slots<'_>,
) {
    let route = probe
        .route
        .as_ref()
        .and_then(|id| snapshot.routes.iter().find(|route| route.id == *id));
    let title = [
        span(probe.name.as_str(), Role::Strong),
        span(": outside and inside", Role::Muted),
    ];
    let says = [span(conclusion(probe, route), Role::Strong)];
    rule::draw(canvas, (area.x, area.y), area.width, &title, &says);
    let room = area.width.saturating_sub(2);
    let mut lines = vec![outside(probe), inside(route)];
    if probe.compare {
        lines.insert(1, vantages(probe));
    }
    if canvas.measure(&title) + canvas.measure(&says) + 10 > area.width {
        lines.insert(0, says.to_vec());
    }
    lines.push(strip(probe, slots, room));
    lines.push(vec![span(
        "legend   | well   x failed   · not run: neither good nor bad   newest right",
        Role::Muted,
    )]);
    let mut unseen = snapshot.blind_spots.iter();
    let unseen = unseen.find(|spot| {
        let of_probe = spot.probe.as_ref() == Some(&probe.name);
        of_probe || (spot.probe.is_none() && spot.route == probe.route)
    });
    if let Some(spot) = unseen {
        lines.push(vec![
            span("blind    ", Role::Muted),
            span(spot.text.as_str(), Role::Warn),
        ]);
    }
    if let Some(since) = probe.failing_since {
        lines.push(vec![
            span("fails    ", Role::Muted),
            span(
                format!(
                    "since {} · {}",
                    fmt::moment(since, snapshot.at),
                    fmt::age(snapshot.at.since(since))
                ),
                Role::Crit,
            ),
        ]);
    }
    lines.push(vec![
        span("target   ", Role::Muted),
        span(probe.target.as_str(), Role::Text),
        span(
            format!(
                "  every {}, timeout {}",
                fmt::seconds(probe.every_s),
                fmt::micros(probe.timeout_ms.saturating_mul(1_000))
            ),
            Role::Muted,
        ),
    ]);
    if let Some(runbook) = &probe.runbook {
        lines.push(vec![
            span("runbook  ", Role::Muted),
            span(runbook.as_str(), Role::Accent),
        ]);
    }
    for (y, line) in (area.y + 1..area.bottom()).zip(&lines) {
        canvas.spans(area.x + 1, y, room, line);
    }
}

/// A route of which this share is bad fails for some, whatever a probe sees.
const INSIDE_BAD: f64 = 0.05;

/// What the two views say together.
fn conclusion(probe: &ProbeView, route: Option<&RouteView>) -> &'static str {
    let fails = probe.standing >= Standing::Warn;
    let place = probe.placing.as_ref().map(|placing| placing.place);
    let place = place.filter(|place| *place != FaultPlace::Unknown);
    let inside = route.and_then(|route| route.now.bad_ratio);
    match (fails, inside.map(|ratio| ratio >= INSIDE_BAD)) {
        _ if probe.paused => "paused: nobody looks from outside",
        _ if probe.last.is_none() => "not run yet",
        (true, _) if place.is_some() => match place {
            Some(FaultPlace::Dns) => "the name leads nowhere, or elsewhere",
            Some(FaultPlace::Network) => "between whoever asks and this ingress",
            Some(FaultPlace::Tls) => "a certificate, or the handshake",
            Some(FaultPlace::Ingress) => "this ingress: what is behind it is well",
            Some(FaultPlace::Upstream) => "the service: it fails when asked directly",
            Some(FaultPlace::Unknown) | None => "fails",
        },
        (true, Some(true)) => "both fail → not the network in front",
        (true, Some(false)) => "only outside fails → name, network or TLS in front of us",
        (true, None) => "fails; nothing inside to compare with",
        (false, Some(true)) => "users fail, the probe does not: it does not ask what they ask",
        (false, Some(false)) => "both are well",
        (false, None) => "well; no traffic inside to compare with",
    }
}

fn outside(probe: &ProbeView) -> Vec<Span<'_>> {
    let mut spans = vec![span("outside  ", Role::Muted)];
    let Some(last) = &probe.last else {
        spans.push(span("not run yet", Role::Text));
        return spans;
    };
    match last.status {
        Some(status) => spans.push(span(format!("{status} "), Role::Strong)),
        None => spans.push(span(format!("{} ", last.outcome), Role::Strong)),
    }
    spans.push(span(
        fmt::or_none(last.duration_us, fmt::micros),
        Role::Text,
    ));
    for phase in ProbePhase::ALL {
        if let Some(micros) = last.phases.get(phase.as_str()) {
            spans.push(span(format!("  {} ", phase.as_str()), Role::Muted));
            spans.push(span(fmt::micros(*micros), Role::Text));
        }
    }
    if let Some(address) = &last.address {
        spans.push(span("  to ", Role::Muted));
        spans.push(span(address.as_str(), Role::Text));
    }
    spans
}

/// What was seen from each vantage of the last run, on one line.
fn vantages(probe: &ProbeView) -> Vec<Span<'_>> {
    let mut spans = vec![span("from     ", Role::Muted)];
    let Some(last) = probe.last.as_ref().filter(|_| !probe.views.is_empty()) else {
        spans.push(span("not compared yet", Role::Muted));
        return spans;
    };
    let mut say = |vantage: Vantage, failed: Option<&str>, what: String| {
        spans.push(span(format!("{} ", vantage.as_str()), Role::Muted));
        let role = if failed.is_some() {
            Role::Crit
        } else {
            Role::Text
        };
        spans.push(span(failed.unwrap_or("ok").to_owned(), role));
        spans.push(span(format!(" {what}  "), Role::Muted));
    };
    let took = fmt::or_none(last.duration_us, fmt::micros);
    say(Vantage::Edge, last.reason.as_deref(), took);
    for vantage in [Vantage::Ingress, Vantage::Upstream, Vantage::Tcp] {
        let of_it = || probe.views.iter().filter(|view| view.vantage == vantage);
        let failing = of_it().filter(|view| view.reason.is_some()).count();
        let worst = of_it().max_by_key(|view| (view.reason.is_some(), view.duration_us));
        let Some(worst) = worst else { continue };
        let what = match (failing, of_it().count()) {
            (0, _) | (_, 1) => fmt::micros(worst.duration_us),
            (failing, all) => format!("{failing}/{all} {}", worst.at),
        };
        say(vantage, worst.reason.as_deref(), what);
    }
    spans
}

fn inside(route: Option<&RouteView>) -> Vec<Span<'_>> {
    let mut spans = vec![span("inside   ", Role::Muted)];
    let Some(route) = route else {
        spans.push(span(
            "it names no route, so there is nothing to compare with",
            Role::Muted,
        ));
        return spans;
    };
    let now = &route.now;
    spans.push(span(route.id.as_str(), Role::Text));
    spans.push(span(" bad ", Role::Muted));
    spans.push(span(fmt::or_none(now.bad_ratio, fmt::share), Role::Strong));
    spans.push(span(" of ", Role::Muted));
    spans.push(span(
        format!("{} req/s", fmt::or_none(now.rate_per_s, fmt::si)),
        Role::Text,
    ));
    spans.push(span("  p50 ", Role::Muted));
    spans.push(span(fmt::or_none(now.p50_us, fmt::micros), Role::Text));
    spans.push(span("  p99 ", Role::Muted));
    spans.push(span(fmt::or_none(now.p99_us, fmt::micros), Role::Text));
    if let Some(fault) = route.faults.first() {
        spans.push(span(
            format!("  mostly {}", fault.fault.as_str()),
            Role::Text,
        ));
    }
    spans
}

/// The newest slots, one column each, newest right.
fn strip(probe: &ProbeView, slots: Slots<'_>, room: u16) -> Vec<Span<'static>> {
    let mut spans = vec![span("slots    ", Role::Muted)];
    let slots = match slots {
        None => {
            spans.push(span("asking the history", Role::Muted));
            return spans;
        }
        Some(Err(why)) => {
            spans.push(span("no answer: ", Role::Warn));
            spans.push(span(why.to_owned(), Role::Text));
            return spans;
        }
        Some(Ok(slots)) => slots,
    };
    let most = usize::from(room.saturating_sub(9)).min(120);
    let mut marks: Vec<(&str, Role)> = Vec::with_capacity(most);
    for slot in slots {
        let mark = match slot.outcome.as_str() {
            "ok" => ("|", Role::Text),
            "fail" => ("x", Role::Crit),
            _ => ("·", Role::Muted),
        };
        let times = usize::try_from(slot.slots).unwrap_or(usize::MAX);
        marks.extend(std::iter::repeat_n(mark, times.min(most - marks.len())));
    }
    if marks.is_empty() {
        spans.push(span("none stored yet", Role::Muted));
        return spans;
    }
    let back = probe.every_s.saturating_mul(marks.len() as u64);
    marks.reverse();
    for (mark, role) in marks {
        spans.push(span(mark, role));
    }
    spans.push(span(format!("  {}", fmt::seconds(back)), Role::Muted));
    spans
}
