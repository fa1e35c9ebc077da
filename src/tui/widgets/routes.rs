//! The list of routes. Only the rows on the screen are made.

use ratatui::layout::Rect;

use super::super::app::Model;
use super::super::canvas::{Canvas, Span, span};
use super::super::fmt;
use super::super::theme::Role;
use super::super::words;
use super::table::{Cell, Column, Kind};
use super::{bars, history, rule, table};
use crate::snapshot::{RouteView, Series, Snapshot, Standing};

/// Rows that are not routes: the title and the heads.
pub(crate) const FRAME: u16 = 2;

/// Draws the list in `area`.
pub(crate) fn draw(canvas: &mut Canvas<'_>, area: Rect, model: &Model, snapshot: &Snapshot) {
    let list = &model.list;
    let rows = usize::from(area.height.saturating_sub(FRAME));
    let from = list.offset;
    let to = (from + rows).min(list.rows.len());
    let mut title = vec![
        span("Routes by ", Role::Strong),
        span(list.sort.title(), Role::Strong),
    ];
    if list.reversed {
        title.push(span(", reversed", Role::Strong));
    }
    let (kept, total) = (list.rows.len(), snapshot.routes_total);
    let mut count = match (to - from == kept, kept as u64 == total) {
        (true, true) => format!(" · all {kept}"),
        (true, false) => format!(" · {kept}"),
        (false, _) => format!(" · {}–{to} of {}", from + 1, fmt::grouped(kept as u64)),
    };
    if kept as u64 != total {
        count.push_str(" of ");
        count.push_str(&fmt::grouped(total));
    }
    title.push(span(count, Role::Muted));
    let remark = if list.typed.is_empty() {
        vec![span("/ filter   s sort", Role::Muted)]
    } else {
        vec![
            span("filter ", Role::Muted),
            span(list.typed.as_str(), Role::Accent),
            span("  Esc drop", Role::Muted),
        ]
    };
    rule::draw(canvas, (area.x, area.y), area.width, &title, &remark);
    if area.height < FRAME {
        return;
    }
    if snapshot.routes.is_empty() || list.rows.is_empty() {
        let text = if snapshot.routes.is_empty() {
            "No route is configured."
        } else {
            "No route matches the filter. Esc drops it."
        };
        canvas.put(
            area.x + 3,
            area.y + 1,
            area.width.saturating_sub(3),
            text,
            Role::Text,
        );
        return;
    }
    let fit = table::fit(&COLUMNS, area.width.saturating_sub(MARK + 1));
    let x = area.x + MARK;
    fit.heads(canvas, (x, area.y + 1), &COLUMNS);
    let cursor = model.cursor();
    let visible = list.rows.iter().enumerate().skip(from).take(rows);
    for (y, (row, index)) in (area.y + FRAME..area.bottom()).zip(visible) {
        let Some(route) = snapshot.routes.get(*index) else {
            continue;
        };
        fit.row(canvas, (x, y), &COLUMNS, route);
        if row == cursor {
            canvas.restyle(area.x, y, area.width, Role::Strong);
            canvas.put(area.x + 1, y, 1, "▸", Role::Accent);
            if list.lingers {
                canvas.restyle(area.x, y, area.width, Role::Muted);
            }
        }
    }
}

/// A route's id, and what it takes.
pub(crate) fn label(route: &RouteView) -> Vec<Span<'static>> {
    let mut spans = vec![span(route.id.clone(), Role::Text)];
    let host = match route.hosts.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    };
    if !host.is_empty() || !route.path.is_empty() {
        spans.push(span(format!("  {host}{}", route.path), Role::Muted));
    }
    spans
}

/// The look of a route's bad share.
pub(crate) fn alarm(standing: Standing) -> Role {
    match standing {
        Standing::Crit => Role::Crit,
        Standing::Warn => Role::Warn,
        Standing::Ok | Standing::None => Role::Text,
    }
}

const MARK: u16 = 3;

const COLUMNS: [Column<RouteView>; 11] = [
    Column {
        head: "STATUS",
        width: 6,
        rank: 0,
        kind: Kind::Left,
        cell: Cell::Fixed(|route| {
            let status = words::standing(route.standing);
            vec![span(status.text(), status.role)]
        }),
    },
    Column {
        head: "ROUTE",
        width: 22,
        rank: 0,
        kind: Kind::Flexible(48),
        cell: Cell::Fixed(label),
    },
    number("REQ/S", 6, 2, |route| {
        plain(fmt::or_none(route.now.rate_per_s, fmt::si))
    }),
    number("BAD%", 7, 1, |route| {
        let role = alarm(route.standing);
        vec![span(fmt::or_none(route.now.bad_ratio, fmt::share), role)]
    }),
    number("BAD/S", 6, 6, |route| {
        let per_s = match route.now.covered_s {
            0 => None,
            covered => Some(route.now.bad as f64 / covered as f64),
        };
        plain(fmt::or_none(per_s, fmt::si))
    }),
    number("P50", 6, 8, |route| {
        plain(fmt::or_none(route.now.p50_us, fmt::micros))
    }),
    number("P99", 6, 4, |route| {
        plain(fmt::or_none(route.now.p99_us, fmt::micros))
    }),
    number("vs 1h", 7, 9, |route| {
        let change = match (route.now.p99_us, route.before.p99_us) {
            (Some(now), Some(before)) => fmt::change(now as f64, before as f64),
            _ => None,
        };
        vec![span(fmt::or_none(change, |change| change), Role::Muted)]
    }),
    number("BURN5m", 6, 3, |route| {
        plain(fmt::or_none(route.burn_5m, fmt::burn))
    }),
    number("SHARE", 7, 7, |route| {
        plain(fmt::or_none(route.share_of_bad, fmt::share))
    }),
    Column {
        head: "bad in 1h",
        width: 10,
        rank: 5,
        kind: Kind::Chart(60),
        cell: Cell::Sized(trend),
    },
];

const fn number(
    head: &'static str,
    width: u16,
    rank: u8,
    cell: fn(&RouteView) -> Vec<Span<'static>>,
) -> Column<RouteView> {
    Column {
        head,
        width,
        rank,
        kind: Kind::Right,
        cell: Cell::Fixed(cell),
    }
}

fn plain(text: String) -> Vec<Span<'static>> {
    vec![span(text, Role::Text)]
}

/// The bad share of the hour, several columns put together where space is short. They are put together by the clock,
/// so that the picture moves once in several minutes and not with every one.
fn trend(route: &RouteView, width: u16) -> Vec<Span<'static>> {
    let series = &route.series;
    if !series.requests.iter().flatten().any(|count| *count > 0) {
        return vec![span("no traffic", Role::Muted)];
    }
    let values = grouped(series, usize::from(width));
    let full = bars::full(&values, 0.01);
    vec![span(bars::spark(&values, full), alarm(route.standing))]
}

fn grouped(series: &Series, columns: usize) -> Vec<Option<f64>> {
    let ratios: Vec<Option<f64>> = history::ratios(series).collect();
    let together = ratios.len().div_ceil(columns.max(1)).max(1) as u64;
    if together == 1 {
        return ratios;
    }
    let step = series.step_s.max(1);
    let first = series.start.as_secs() / step;
    let mut groups: Vec<(u64, u64, Option<u64>)> = Vec::with_capacity(columns + 1);
    for (column, requests) in series.requests.iter().enumerate() {
        let group = (first + column as u64) / together;
        if groups.last().is_none_or(|(last, ..)| *last != group) {
            groups.push((group, 0, None));
        }
        let bad = series.bad.get(column).copied().flatten();
        if let (Some(requests), Some(bad), Some((_, sum_bad, sum))) =
            (requests, bad, groups.last_mut())
        {
            *sum_bad += bad;
            *sum = Some(sum.unwrap_or(0) + requests);
        }
    }
    let surplus = groups.len().saturating_sub(columns);
    groups
        .into_iter()
        .skip(surplus)
        .map(|(_, bad, requests)| match requests {
            None | Some(0) => None,
            Some(requests) => Some(bad as f64 / requests as f64),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn minutes_are_put_together_by_the_clock() {
        let series = |start| Series {
            start: Timestamp::from_secs(start),
            step_s: 60,
            requests: vec![Some(10); 12],
            bad: vec![Some(0), Some(0), Some(0), Some(0), Some(0), Some(10)]
                .into_iter()
                .chain(vec![Some(0); 6])
                .collect(),
            p99_us: Vec::new(),
        };
        // 12 columns into 2: six together, first from minute 0, then from minute 1.
        assert_eq!(grouped(&series(0), 2), [Some(1.0 / 6.0), Some(0.0)]);
        assert_eq!(grouped(&series(60), 2).len(), 2);
    }
}
