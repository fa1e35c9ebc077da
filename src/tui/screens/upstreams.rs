//! Upstreams and their endpoints, and this process itself.

use ratatui::layout::Rect;

use super::super::app::Model;
use super::super::canvas::{Canvas, Span, span};
use super::super::fmt;
use super::super::tab::Tab;
use super::super::theme::Role;
use super::super::widgets::table::{Cell, Column, Kind};
use super::super::widgets::{health, listing, rule};
use super::super::words::Status;
use crate::model::{CircuitPhase, Timestamp};
use crate::snapshot::{EndpointView, Snapshot, UpstreamView};

/// Between an upstream's name and an endpoint's address in an id. No name has it.
const APART: char = '\n';
/// The last minute, in which endpoints are counted.
const MINUTE_S: f64 = 60.0;

/// The id of an endpoint's row.
pub(crate) fn id_of(upstream: &str, endpoint: &str) -> String {
    format!("{upstream}{APART}{endpoint}")
}

/// The upstream of a row's id.
pub(crate) fn upstream_of(id: &str) -> &str {
    id.split_once(APART).map_or(id, |(upstream, _)| upstream)
}

/// The endpoint of a row's id, or the upstream of one that has none.
pub(crate) fn endpoint_of(id: &str) -> &str {
    id.split_once(APART).map_or(id, |(_, endpoint)| endpoint)
}

/// The rows' ids.
pub(super) fn ids(model: &Model, snapshot: &Snapshot) -> Vec<String> {
    rows(model, snapshot)
        .into_iter()
        .map(|row| match row.endpoint {
            Some(endpoint) => id_of(&row.upstream.name, &endpoint.address),
            None => row.upstream.name.clone(),
        })
        .collect()
}

/// How many rows of `body` the list takes.
pub(super) fn split(body: u16, snapshot: &Snapshot, count: usize) -> u16 {
    let parts = u16::try_from(health::own_parts(snapshot).len()).unwrap_or(u16::MAX);
    let below = (parts.saturating_add(2)).min(body / 2).max(6);
    super::share(body, count, below)
}

/// Draws the screen.
pub(super) fn draw(canvas: &mut Canvas<'_>, body: Rect, model: &Model, snapshot: &Snapshot) {
    let rows = rows(model, snapshot);
    let list = split(body.height, snapshot, rows.len());
    let place = &model.places[Tab::Upstreams.index()];
    let ids = ids(model, snapshot);
    let cursor = place.cursor(&ids);
    let title = [
        span("Upstreams", Role::Strong),
        span(heading(snapshot), Role::Muted),
    ];
    let remark = [span("last 1m   Enter fold", Role::Muted)];
    rule::draw(canvas, (body.x, body.y), body.width, &title, &remark);
    let table = Rect::new(body.x, body.y + 1, body.width, list.saturating_sub(1));
    listing::draw(
        canvas,
        table,
        &columns(),
        (rows.len(), place.offset, cursor),
        "No upstream is configured.",
        |index| rows.get(index).copied(),
    );
    let mut y = body.y + list;
    if y >= body.bottom() {
        return;
    }
    let room = body.width.saturating_sub(2);
    if let Some(advice) = advice(rows.get(cursor).copied(), snapshot) {
        canvas.spans(body.x + 1, y, room, &[span(advice, Role::Warn)]);
        y += 1;
    }
    if y + 1 >= body.bottom() {
        return;
    }
    let config = &snapshot.config;
    let title = [
        span("Controller ", Role::Strong),
        span(snapshot.instance.as_str(), Role::Strong),
        span(
            format!(
                " · {}, generation {}",
                fmt::visible(&snapshot.version),
                config.generation
            ),
            Role::Muted,
        ),
    ];
    let up = fmt::age(snapshot.at.since(snapshot.started_at));
    let remark = [span(format!("up {up}"), Role::Muted)];
    rule::draw(canvas, (body.x, y), body.width, &title, &remark);
    let inner = Rect::new(body.x + 1, y + 1, room, body.bottom() - y - 1);
    health::draw(canvas, inner, &health::own_parts(snapshot));
}

/// One row: an upstream, or one of its endpoints.
#[derive(Clone, Copy)]
struct Row<'a> {
    upstream: &'a UpstreamView,
    /// `None`: the upstream itself.
    endpoint: Option<&'a EndpointView>,
    /// Whether the upstream's endpoints are shown.
    open: bool,
    at: Timestamp,
}

/// Upstreams in trouble come first, and unfolded.
fn rows<'a>(model: &Model, snapshot: &'a Snapshot) -> Vec<Row<'a>> {
    let mut upstreams: Vec<&UpstreamView> = snapshot.upstreams.iter().collect();
    upstreams.sort_by_key(|upstream| !is_troubled(upstream));
    let mut rows = Vec::new();
    for upstream in upstreams {
        let open = is_troubled(upstream) != model.turned.contains(&upstream.name);
        let row = |endpoint| Row {
            upstream,
            endpoint,
            open,
            at: snapshot.at,
        };
        rows.push(row(None));
        if open {
            rows.extend(
                upstream
                    .endpoints
                    .iter()
                    .map(|endpoint| row(Some(endpoint))),
            );
        }
    }
    rows
}

fn is_troubled(upstream: &UpstreamView) -> bool {
    let troubled = |endpoint: &EndpointView| !endpoint.healthy || endpoint.ejected_by > 0;
    is_cut_off(upstream) || upstream.endpoints.iter().any(troubled)
}

/// Its circuit breaker keeps requests from it.
fn is_cut_off(upstream: &UpstreamView) -> bool {
    let circuit = upstream.breaker.as_ref().and_then(|it| it.circuit);
    matches!(circuit, Some(CircuitPhase::Open | CircuitPhase::HalfOpen))
}

fn heading(snapshot: &Snapshot) -> String {
    let endpoints: usize = snapshot.upstreams.iter().map(|it| it.endpoints.len()).sum();
    let all = snapshot.upstreams.iter().flat_map(|it| &it.endpoints);
    let failing = all.filter(|endpoint| !endpoint.healthy).count();
    let failing = match failing {
        0 => String::new(),
        failing => format!(", {failing} failing"),
    };
    format!(
        " · {} upstreams, {endpoints} endpoints{failing}",
        snapshot.upstreams.len()
    )
}

/// What the picture means, where it is not plain to see.
fn advice(row: Option<Row<'_>>, snapshot: &Snapshot) -> Option<String> {
    let upstream = row
        .map(|row| row.upstream)
        .filter(|upstream| is_troubled(upstream))
        .or_else(|| snapshot.upstreams.iter().find(|it| is_troubled(it)))?;
    let name = &upstream.name;
    let failing = || upstream.endpoints.iter().filter(|it| !it.healthy);
    let blind = failing()
        .filter(|it| it.answers_checks == Some(true))
        .count();
    let (down, all) = (failing().count(), upstream.endpoints.len());
    if blind > 0 {
        return Some(format!(
            "! {name}: {blind} answer their health check and fail traffic: the check does not see what is broken"
        ));
    }
    if down > 0 && down == all {
        return Some(format!(
            "! {name}: all {all} endpoints fail, so the machines are the least likely reason"
        ));
    }
    if down > 0 && failing().all(|it| it.answers_checks.is_none()) {
        return Some(format!(
            "! {name}: no health check, so failing endpoints keep their traffic; `health` in its configuration ends that"
        ));
    }
    None
}

/// Changes in ten minutes from which an endpoint's restlessness is worth a word.
const RESTLESS: u64 = 4;

impl Row<'_> {
    fn status(&self) -> Status {
        let of = |endpoint: &EndpointView| match endpoint {
            it if !it.healthy => Status::FAIL,
            it if it.ejected_by > 0 => Status::EJECTED,
            it if it.good + it.bad == 0 && it.answers_checks != Some(true) => Status::NONE,
            _ => Status::OK,
        };
        if let Some(endpoint) = self.endpoint {
            return of(endpoint);
        }
        if is_cut_off(self.upstream) {
            return Status::FAIL;
        }
        let each = || self.upstream.endpoints.iter().map(of);
        for status in [Status::FAIL, Status::EJECTED, Status::OK] {
            if each().any(|found| found == status) {
                return status;
            }
        }
        Status::NONE
    }

    fn name(&self) -> Vec<Span<'static>> {
        if let Some(endpoint) = self.endpoint {
            return vec![span(format!("  {}", endpoint.address), Role::Text)];
        }
        let endpoints = &self.upstream.endpoints;
        let failing = endpoints.iter().filter(|it| !it.healthy).count();
        let total = endpoints.len();
        let count = match failing {
            0 => format!("  {total}/{total}"),
            failing => format!("  {failing}/{total} failing"),
        };
        vec![
            span(if self.open { "▾ " } else { "▸ " }, Role::Muted),
            span(self.upstream.name.clone(), Role::Text),
            span(count, Role::Muted),
        ]
    }

    fn endpoints(&self) -> &[EndpointView] {
        match self.endpoint {
            Some(endpoint) => std::slice::from_ref(endpoint),
            None => &self.upstream.endpoints,
        }
    }

    fn sum(&self, of: fn(&EndpointView) -> u64) -> u64 {
        self.endpoints().iter().map(of).sum()
    }

    fn bad_ratio(&self) -> Option<f64> {
        let (good, bad) = (self.sum(|it| it.good), self.sum(|it| it.bad));
        (good + bad > 0).then(|| bad as f64 / (good + bad) as f64)
    }

    fn check(&self) -> String {
        let Some(endpoint) = self.endpoint else {
            let circuit = self.upstream.breaker.as_ref().and_then(|it| it.circuit);
            return match circuit {
                Some(CircuitPhase::Open) => "circuit open".to_owned(),
                Some(CircuitPhase::HalfOpen) => "circuit half open".to_owned(),
                Some(CircuitPhase::Closed) | None => String::new(),
            };
        };
        let mut text = match endpoint.answers_checks {
            Some(true) => "pass",
            Some(false) => "fail",
            None => "no check",
        }
        .to_owned();
        if endpoint.ejected_by > 0 {
            text = format!("{text}, left alone by {}", endpoint.ejected_by);
        }
        if endpoint.changes_10m >= RESTLESS {
            text = format!("{text}, {} changes in 10m", endpoint.changes_10m);
        }
        text
    }

    fn since(&self) -> Option<Timestamp> {
        match self.endpoint {
            Some(endpoint) => endpoint.since,
            None if is_cut_off(self.upstream) => {
                self.upstream.breaker.as_ref().and_then(|it| it.since)
            }
            None => self
                .upstream
                .endpoints
                .iter()
                .filter(|endpoint| !endpoint.healthy)
                .filter_map(|endpoint| endpoint.since)
                .min(),
        }
    }
}

fn columns<'a>() -> [Column<Row<'a>>; 10] {
    [
        Column {
            head: "STATUS",
            width: 9,
            rank: 0,
            kind: Kind::Left,
            cell: Cell::Fixed(|row: &Row<'_>| {
                let status = row.status();
                vec![span(status.text(), status.role)]
            }),
        },
        Column {
            head: "UPSTREAM / ENDPOINT",
            width: 25,
            rank: 0,
            kind: Kind::Flexible(44),
            cell: Cell::Fixed(|row: &Row<'_>| row.name()),
        },
        left("VERSION", 8, 6, |row| {
            let version = row.upstream.version.clone();
            match row.endpoint {
                Some(_) => String::new(),
                None => fmt::or_none(version, |version| version),
            }
        }),
        number("REQ/S", 6, 2, |row| {
            let all = row.sum(|it| it.good) + row.sum(|it| it.bad);
            vec![span(fmt::si(all as f64 / MINUTE_S), Role::Text)]
        }),
        number("BAD%", 7, 1, |row| {
            let role = match row.status() {
                Status::FAIL => Role::Crit,
                Status::EJECTED => Role::Warn,
                _ => Role::Text,
            };
            vec![span(fmt::or_none(row.bad_ratio(), fmt::share), role)]
        }),
        number("NO CONN", 7, 5, |row| {
            let failures = row.sum(|it| it.connect_failures);
            let role = if failures > 0 { Role::Warn } else { Role::Text };
            vec![span(fmt::si(failures as f64), role)]
        }),
        number("P50", 6, 7, |row| {
            let p50 = row.endpoint.map_or(row.upstream.p50_us, |it| it.p50_us);
            vec![span(fmt::or_none(p50, fmt::micros), Role::Text)]
        }),
        number("P99", 6, 3, |row| {
            let p99 = row.endpoint.map_or(row.upstream.p99_us, |it| it.p99_us);
            vec![span(fmt::or_none(p99, fmt::micros), Role::Text)]
        }),
        number("ON WAY", 6, 4, |row| {
            vec![span(fmt::si(row.sum(|it| it.in_flight) as f64), Role::Text)]
        }),
        left("CHECK", 24, 4, |row| {
            let since = row.since().map(|since| fmt::age(row.at.since(since)));
            match (row.check(), since) {
                (check, Some(since)) if check.is_empty() => format!("since {since}"),
                (check, Some(since)) => format!("{check} · {since}"),
                (check, None) => check,
            }
        }),
    ]
}

const fn number<'a>(
    head: &'static str,
    width: u16,
    rank: u8,
    cell: fn(&Row<'a>) -> Vec<Span<'static>>,
) -> Column<Row<'a>> {
    Column {
        head,
        width,
        rank,
        kind: Kind::Right,
        cell: Cell::Fixed(cell),
    }
}

fn left<'a>(
    head: &'static str,
    width: u16,
    rank: u8,
    cell: fn(&Row<'a>) -> String,
) -> Column<Row<'a>> {
    Column {
        head,
        width,
        rank,
        kind: Kind::Left,
        cell: Cell::Text(cell),
    }
}
