//! What stands below a route's chart: where its time goes, its endpoints, its faults, its SLOs.

use ratatui::layout::Rect;

use super::super::super::canvas::{Canvas, Span, span};
use super::super::super::fmt;
use super::super::super::theme::Role;
use super::super::super::widgets::table::{Cell, Column, Kind};
use super::super::super::widgets::{digest, table, verdict};
use super::super::super::words::{self, Status};
use crate::model::Window;
use crate::slo::policy::Tier;
use crate::snapshot::{
    AlertView, EndpointShare, FaultCount, PhaseView, RouteView, SloView, Snapshot,
};

/// The panes below the chart. Wide screens show all, narrow ones the chosen one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pane {
    #[default]
    Time,
    Endpoints,
    Faults,
    Slos,
}

impl Pane {
    pub(super) const ALL: [Self; 4] = [Self::Time, Self::Endpoints, Self::Faults, Self::Slos];

    pub(crate) const fn next(self) -> Self {
        match self {
            Self::Time => Self::Endpoints,
            Self::Endpoints => Self::Faults,
            Self::Faults => Self::Slos,
            Self::Slos => Self::Time,
        }
    }

    pub(crate) const fn previous(self) -> Self {
        match self {
            Self::Time => Self::Slos,
            Self::Endpoints => Self::Time,
            Self::Faults => Self::Endpoints,
            Self::Slos => Self::Faults,
        }
    }

    /// Its title where all are shown.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Time => "Where the time goes",
            Self::Endpoints => "Endpoints",
            Self::Faults => "Faults",
            Self::Slos => "SLOs",
        }
    }

    /// Its title where one is shown.
    pub(super) const fn tab(self) -> &'static str {
        match self {
            Self::Time => "Time",
            Self::Endpoints => "Endpoints",
            Self::Faults => "Faults",
            Self::Slos => "SLOs",
        }
    }
}

/// What a pane says when the history does not hold what it shows.
const NOT_STORED: &str = "not stored";

/// What a pane's title says on its right.
pub(super) fn remark(pane: Pane, route: &RouteView) -> Vec<Span<'static>> {
    let text = match pane {
        Pane::Time | Pane::Faults => "last 5m".to_owned(),
        Pane::Endpoints => format!("last 5m · {} in all", route.endpoints.len()),
        Pane::Slos => format!("{} in all", route.slos.len()),
    };
    vec![span(text, Role::Muted)]
}

/// Draws a pane without its title.
pub(super) fn draw(
    canvas: &mut Canvas<'_>,
    area: Rect,
    snapshot: &Snapshot,
    route: &RouteView,
    pane: Pane,
) {
    match pane {
        Pane::Time => {
            let longest = route.phases.iter().map(|phase| phase.p99_us).max();
            let rows: Vec<Time<'_>> = route
                .phases
                .iter()
                .map(|phase| Time {
                    phase,
                    longest: longest.unwrap_or(1).max(1),
                })
                .collect();
            list(
                canvas,
                area,
                &times(),
                &rows,
                "nothing passed through in 5m",
            );
        }
        Pane::Endpoints => {
            let rows: Vec<Endpoint<'_>> = route
                .endpoints
                .iter()
                .map(|share| Endpoint {
                    share,
                    healthy: digest::is_healthy(snapshot, route, &share.endpoint),
                })
                .collect();
            list(
                canvas,
                area,
                &endpoints(),
                &rows,
                if snapshot.stored {
                    NOT_STORED
                } else {
                    "no endpoint was asked in 5m"
                },
            );
        }
        Pane::Faults => {
            let total: u64 = route.faults.iter().map(|fault| fault.count).sum();
            let rows: Vec<FaultRow<'_>> = route
                .faults
                .iter()
                .map(|fault| FaultRow { fault, total })
                .collect();
            let none = if snapshot.stored {
                NOT_STORED
            } else {
                "no fault in 5m"
            };
            list(canvas, area, &faults(), &rows, none);
        }
        Pane::Slos => {
            let rows: Vec<&SloView> = digest::slos_of(snapshot, route).collect();
            let drawn = list(
                canvas,
                area,
                &slos(),
                &rows,
                "nothing is promised about this route",
            );
            let alerts = snapshot
                .alerts
                .iter()
                .filter(|alert| alert.route == route.id);
            for (y, alert) in (area.y + drawn..area.bottom()).zip(alerts) {
                canvas.spans(area.x, y, area.width, &alert_spans(snapshot, alert));
            }
        }
    }
}

/// Draws heads and rows, and says how many do not fit; gives how many screen rows it took.
fn list<T>(
    canvas: &mut Canvas<'_>,
    area: Rect,
    columns: &[Column<T>],
    rows: &[T],
    empty: &str,
) -> u16 {
    if area.height == 0 {
        return 0;
    }
    if rows.is_empty() {
        canvas.put(area.x, area.y, area.width, empty, Role::Muted);
        return 1;
    }
    let fit = table::fit(columns, area.width);
    fit.heads(canvas, (area.x, area.y), columns);
    let room = usize::from(area.height - 1);
    let shown = if rows.len() > room {
        room.saturating_sub(1)
    } else {
        rows.len()
    };
    let mut y = area.y + 1;
    for row in &rows[..shown] {
        fit.row(canvas, (area.x, y), columns, row);
        y += 1;
    }
    if shown < rows.len() && y < area.bottom() {
        let more = format!("{} more", rows.len() - shown);
        canvas.put(area.x, y, area.width, &more, Role::Muted);
        y += 1;
    }
    y - area.y
}

fn alert_spans<'a>(snapshot: &Snapshot, alert: &'a AlertView) -> Vec<Span<'a>> {
    let status = words::alert(alert.state);
    let since = fmt::age(snapshot.at.since(alert.since));
    let severity = alert.severity.as_str();
    let word = alert.tier.map_or(alert.kind.as_str(), Tier::as_str);
    let why = match (alert.long, alert.short, alert.factor) {
        (Some(long), Some(short), Some(factor)) => format!(
            "{long} {} {short} {}, limit {factor:.1}x",
            fmt::or_none(alert.burn_long, fmt::burn),
            fmt::or_none(alert.burn_short, fmt::burn),
        ),
        _ => fmt::visible(&alert.text).into_owned(),
    };
    vec![
        span(status.text(), status.role),
        span(format!(" {severity} {word}, {since}"), Role::Text),
        span(format!(" · {why}"), Role::Muted),
    ]
}

struct Time<'a> {
    phase: &'a PhaseView,
    longest: u64,
}

fn times<'a>() -> [Column<Time<'a>>; 5] {
    [
        Column {
            head: "PHASE",
            width: 8,
            rank: 0,
            kind: Kind::Left,
            cell: Cell::Fixed(|time| vec![span(time.phase.phase.clone(), Role::Text)]),
        },
        Column {
            head: "REACHED",
            width: 7,
            rank: 2,
            kind: Kind::Right,
            cell: Cell::Fixed(|time| plain(fmt::si(time.phase.count as f64))),
        },
        Column {
            head: "P50",
            width: 6,
            rank: 0,
            kind: Kind::Right,
            cell: Cell::Fixed(|time| plain(fmt::micros(time.phase.p50_us))),
        },
        Column {
            head: "P99",
            width: 6,
            rank: 0,
            kind: Kind::Right,
            cell: Cell::Fixed(|time| plain(fmt::micros(time.phase.p99_us))),
        },
        Column {
            head: "p50 █ to p99 ░",
            width: 14,
            rank: 1,
            kind: Kind::Chart(60),
            cell: Cell::Sized(|time, width| {
                let scale = |micros: u64| {
                    let columns = micros as f64 / time.longest as f64 * f64::from(width);
                    (columns.round() as usize).clamp(usize::from(micros > 0), usize::from(width))
                };
                let (median, tail) = (scale(time.phase.p50_us), scale(time.phase.p99_us));
                vec![
                    span("█".repeat(median), Role::Text),
                    span("░".repeat(tail.saturating_sub(median)), Role::Text),
                ]
            }),
        },
    ]
}

struct Endpoint<'a> {
    share: &'a EndpointShare,
    healthy: Option<bool>,
}

fn endpoints<'a>() -> [Column<Endpoint<'a>>; 6] {
    [
        Column {
            head: "HEALTH",
            width: 6,
            rank: 0,
            kind: Kind::Left,
            cell: Cell::Fixed(|endpoint| {
                let status = match endpoint.healthy {
                    Some(true) => Status::OK,
                    Some(false) => Status::FAIL,
                    None => Status::NONE,
                };
                vec![span(status.text(), status.role)]
            }),
        },
        Column {
            head: "ENDPOINT",
            width: 15,
            rank: 0,
            kind: Kind::Flexible(40),
            cell: Cell::Fixed(|endpoint| plain(endpoint.share.endpoint.clone())),
        },
        Column {
            head: "REQUESTS",
            width: 8,
            rank: 1,
            kind: Kind::Right,
            cell: Cell::Fixed(|endpoint| {
                plain(fmt::si((endpoint.share.good + endpoint.share.bad) as f64))
            }),
        },
        Column {
            head: "BAD%",
            width: 7,
            rank: 0,
            kind: Kind::Right,
            cell: Cell::Fixed(|endpoint| {
                let total = endpoint.share.good + endpoint.share.bad;
                let ratio = (total > 0).then(|| endpoint.share.bad as f64 / total as f64);
                vec![span(fmt::or_none(ratio, fmt::share), Role::Strong)]
            }),
        },
        Column {
            head: "NO CONN",
            width: 7,
            rank: 2,
            kind: Kind::Right,
            cell: Cell::Fixed(|endpoint| plain(fmt::si(endpoint.share.connect_failures as f64))),
        },
        Column {
            head: "RETRIED",
            width: 7,
            rank: 3,
            kind: Kind::Right,
            cell: Cell::Fixed(|endpoint| plain(fmt::si(endpoint.share.retried as f64))),
        },
    ]
}

struct FaultRow<'a> {
    fault: &'a FaultCount,
    total: u64,
}

fn faults<'a>() -> [Column<FaultRow<'a>>; 4] {
    [
        Column {
            head: "FAULT",
            width: 18,
            rank: 0,
            kind: Kind::Flexible(24),
            cell: Cell::Fixed(|row| plain(row.fault.fault.as_str().to_owned())),
        },
        Column {
            head: "WHOSE",
            width: 10,
            rank: 0,
            kind: Kind::Left,
            cell: Cell::Fixed(|row| plain(row.fault.side.as_str().to_owned())),
        },
        Column {
            head: "COUNT",
            width: 7,
            rank: 0,
            kind: Kind::Right,
            cell: Cell::Fixed(|row| vec![span(fmt::si(row.fault.count as f64), Role::Strong)]),
        },
        Column {
            head: "OF ALL",
            width: 7,
            rank: 1,
            kind: Kind::Right,
            cell: Cell::Fixed(|row| {
                let ratio = (row.total > 0).then(|| row.fault.count as f64 / row.total as f64);
                plain(fmt::or_none(ratio, fmt::share))
            }),
        },
    ]
}

fn slos<'a>() -> [Column<&'a SloView>; 9] {
    [
        Column {
            head: "STATUS",
            width: 10,
            rank: 0,
            kind: Kind::Left,
            cell: Cell::Fixed(|slo| {
                let status = words::slo(slo.state);
                vec![span(status.text(), status.role)]
            }),
        },
        Column {
            head: "SLO",
            width: 13,
            rank: 0,
            kind: Kind::Flexible(32),
            cell: Cell::Fixed(|slo| plain(slo.id.clone())),
        },
        Column {
            head: "TARGET",
            width: 7,
            rank: 4,
            kind: Kind::Right,
            cell: Cell::Fixed(|slo| plain(fmt::or_none(verdict::objective(slo), |text| text))),
        },
        Column {
            head: "SLI",
            width: 7,
            rank: 7,
            kind: Kind::Right,
            cell: Cell::Fixed(|slo| plain(fmt::or_none(slo.sli_ratio, fmt::success))),
        },
        Column {
            head: "LEFT",
            width: 6,
            rank: 0,
            kind: Kind::Right,
            cell: Cell::Fixed(|slo| {
                vec![span(
                    fmt::or_none(slo.expected_remaining_ratio, fmt::remaining),
                    Role::Strong,
                )]
            }),
        },
        burn("5m", 2, |slo| burn_of(slo, Window::minutes(5))),
        burn("1h", 3, |slo| burn_of(slo, Window::hours(1))),
        burn("6h", 5, |slo| burn_of(slo, Window::hours(6))),
        Column {
            head: "EMPTY",
            width: 6,
            rank: 1,
            kind: Kind::Right,
            cell: Cell::Fixed(|slo| {
                let empty = match (slo.time_to_empty_s, slo.expected_remaining_ratio) {
                    (_, Some(left)) if left <= 0.0 => "gone".to_owned(),
                    (Some(secs), _) => fmt::seconds(secs),
                    (None, _) => fmt::NO_DATA.to_owned(),
                };
                plain(empty)
            }),
        },
    ]
}

fn burn<'a>(
    head: &'static str,
    rank: u8,
    cell: fn(&&'a SloView) -> Vec<Span<'static>>,
) -> Column<&'a SloView> {
    Column {
        head,
        width: 5,
        rank,
        kind: Kind::Right,
        cell: Cell::Fixed(cell),
    }
}

fn burn_of(slo: &SloView, window: Window) -> Vec<Span<'static>> {
    let rate = slo.burn.get(&window).copied().flatten();
    plain(fmt::or_none(rate, fmt::burn))
}

fn plain(text: String) -> Vec<Span<'static>> {
    vec![span(text, Role::Text)]
}
