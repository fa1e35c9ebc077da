//! `vestibule slo list` and `vestibule slo show`.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::cli::daemon::fetch;
use crate::cli::{Exit, complain, say};
use crate::model::{Objective, Timestamp};
use crate::net::address::Address;
use crate::snapshot::{DeployView, PartDetail, PartView, SloDetail, SloView, SpentPart};
use crate::tui::fmt;

pub(super) fn list(address: &Address, json: bool) -> Exit {
    let (answer, slos): (Bytes, Vec<SloView>) = match fetch(address, "/v1/slos") {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    if json {
        say(&String::from_utf8_lossy(&answer));
    } else if slos.is_empty() {
        say("nothing is promised: no SLO is configured\n");
    } else {
        say(&table(&slos));
    }
    exit(slos.iter())
}

pub(super) fn show(address: &Address, id: &str, json: bool) -> Exit {
    // What has other characters is no id, and would be another path.
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if id.is_empty() || !id.bytes().all(is_id) {
        complain(&format!("`{id}` is no id of an SLO"));
        return Exit::Usage;
    }
    let path = format!("/v1/slos/{id}");
    let (answer, detail): (Bytes, SloDetail) = match fetch(address, &path) {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    if json {
        say(&String::from_utf8_lossy(&answer));
    } else {
        say(&page(&detail));
    }
    exit(std::iter::once(&detail.slo))
}

fn exit<'a>(mut slos: impl Iterator<Item = &'a SloView>) -> Exit {
    let is_breached = |slo: &SloView| slo.expected_remaining_ratio.is_some_and(|left| left < 0.0);
    if slos.any(is_breached) {
        Exit::Unknown
    } else {
        Exit::Ok
    }
}

fn table(slos: &[SloView]) -> String {
    let head = [
        "STATE",
        "SLO",
        "ABOUT",
        "OBJECTIVE",
        "WINDOW",
        "LEFT",
        "BURN 5M",
        "BURN 1H",
        "EMPTY IN",
    ];
    let mut rows = vec![head.map(ToOwned::to_owned)];
    rows.extend(slos.iter().map(|slo| {
        [
            slo.state.as_str().to_owned(),
            slo.id.clone(),
            slo.about().to_owned(),
            objective(slo),
            slo.span(),
            percent(slo.expected_remaining_ratio),
            burn(slo, "5m"),
            burn(slo, "1h"),
            slo.time_to_empty_s.map_or_else(|| "-".to_owned(), lasts),
        ]
    }));
    let mut widths = [0; 9];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        put(&mut text, format_args!("{}\n", line.trim_end()));
    }
    text
}

fn page(detail: &SloDetail) -> String {
    let SloDetail {
        slo,
        allowed,
        lately_from,
        spent,
        parts,
        alerts,
        deploys,
    } = detail;
    let mut text = String::new();
    put(
        &mut text,
        format_args!(
            "{} on {}: {} {} over {}, {}\n",
            slo.id,
            slo.about(),
            objective(slo),
            slo.sli,
            span(slo),
            slo.state.as_str()
        ),
    );
    put(
        &mut text,
        format_args!(
            "budget   {} of {allowed} bad events spent, {} left of those counted, {} of the whole window's\n",
            slo.bad,
            percent(slo.remaining_ratio),
            percent(slo.expected_remaining_ratio)
        ),
    );
    put(
        &mut text,
        format_args!(
            "counted  {}: {} good, {} bad; {} of the window was measured\n",
            slo.counted,
            slo.good,
            slo.bad,
            percent(Some(slo.coverage_ratio))
        ),
    );
    text.push_str(&weighed(slo, parts));
    let mut burns: Vec<_> = slo.burn.iter().collect();
    burns.sort_by_key(|(window, _)| **window);
    let burns: Vec<String> = burns
        .into_iter()
        .map(|(window, burn)| format!("{window} {}", multiple(*burn)))
        .collect();
    put(&mut text, format_args!("burn     {}\n", burns.join("  ")));
    if let Some(secs) = slo.time_to_empty_s {
        put(
            &mut text,
            format_args!("empty in {} at this rate\n", lasts(secs)),
        );
    }
    for alert in alerts {
        let (severity, state) = (alert.severity.as_str(), alert.state.as_str());
        put(
            &mut text,
            format_args!(
                "alert    {severity} {state} since {}: {}\n",
                alert.since,
                fmt::visible(&alert.text)
            ),
        );
    }
    let mut dimension = "";
    for part in spent {
        if part.dimension != dimension {
            dimension = &part.dimension;
            put(&mut text, format_args!("\nspent by {dimension}\n"));
        }
        put(
            &mut text,
            format_args!(
                "  {:>9}  {:>6}  {}{}\n",
                part.bad,
                percent(Some(part.share)),
                fmt::visible(&part.part),
                unusual(part, *lately_from)
            ),
        );
    }
    if !deploys.is_empty() {
        put(
            &mut text,
            format_args!("\nbooked to deploys, and counted above\n"),
        );
    }
    for deploy in deploys {
        put(&mut text, format_args!("{}\n", booked(deploy)));
    }
    text
}

/// What a composite weighs, and how each of it fares; empty for anything else.
fn weighed(slo: &SloView, details: &[PartDetail]) -> String {
    if slo.parts.is_empty() {
        return String::new();
    }
    let weights = slo.parts.iter();
    let weights: Vec<String> = weights
        .map(|part| format!("{} x {}", part.weight, part.slo))
        .collect();
    let by = slo.weigh.as_deref().unwrap_or("minutes");
    let mut text = format!("parts    by {by}: {}\n", weights.join(", "));
    // The daemon gives the worst by its weight first.
    let kind = |id: &str| slo.parts.iter().find(|it| it.slo == id).map(|it| &*it.sli);
    let widest = |of: fn(&PartView) -> &str| slo.parts.iter().map(|it| of(it).len()).max();
    let ids = widest(|it| &it.slo).unwrap_or(0);
    let slis = widest(|it| &it.sli).unwrap_or(0);
    for part in details {
        let id = &part.slo;
        let sli = kind(id).unwrap_or("");
        put(
            &mut text,
            format_args!(
                "  {id:<ids$}  {sli:<slis$}  {} good, {} bad, {}; {} bad in the last 5m; {} by its own objective\n",
                part.good,
                part.bad,
                percent(part.bad_ratio.map(|bad| 1.0 - bad)),
                percent(part.bad_ratio_5m),
                part.state.as_str()
            ),
        );
    }
    text
}

/// `30d`, or `the month from 2026-10-31T23:00:00.000Z to 2026-11-30T23:00:00.000Z (Europe/Berlin)`.
fn span(slo: &SloView) -> String {
    match &slo.period {
        None => slo.window.to_string(),
        Some(period) => format!(
            "the {} from {} to {} ({})",
            period.unit, period.from, period.to, period.zone
        ),
    }
}

/// `, since 13:00:00Z 412 of them, 390 more than usual`; nothing when there are hardly more than usual.
fn unusual(part: &SpentPart, since: Timestamp) -> String {
    match (part.lately, part.excess) {
        (Some(lately), Some(excess)) if excess >= 1.0 => format!(
            ", since {}Z {lately} of them, {excess:.0} more than usual",
            since.time_of_day()
        ),
        _ => String::new(),
    }
}

fn booked(deploy: &DeployView) -> String {
    let until = deploy
        .until
        .map_or_else(|| "now".to_owned(), |until| until.to_string());
    let spent = deploy.slos.iter().map(|spend| {
        format!(
            "{} bad of {}, {} of the budget",
            spend.bad,
            spend.good + spend.bad,
            percent(spend.budget_ratio)
        )
    });
    let spent: Vec<String> = spent.collect();
    format!(
        "  {} {}  {} to {until}: {}",
        fmt::visible(&deploy.upstream),
        fmt::visible(&deploy.version),
        deploy.from,
        spent.join("; ")
    )
}

fn objective(slo: &SloView) -> String {
    Objective::try_from_ppm(slo.objective_ppm).map_or_else(
        |_| format!("{} ppm", slo.objective_ppm),
        |objective| objective.to_string(),
    )
}

fn burn(slo: &SloView, window: &str) -> String {
    let window = window.parse().ok();
    multiple(window.and_then(|window| slo.burn.get(&window).copied().flatten()))
}

fn multiple(burn: Option<f64>) -> String {
    burn.map_or_else(|| "-".to_owned(), |burn| format!("{burn:.1}x"))
}

fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.1}%", ratio * 100.0))
}

/// The two largest units.
fn lasts(secs: u64) -> String {
    match secs {
        0 => "0 s, it is spent".to_owned(),
        1..60 => format!("{secs} s"),
        60..3_600 => format!("{}m{:02}s", secs / 60, secs % 60),
        3_600..86_400 => format!("{}h{:02}m", secs / 3_600, secs / 60 % 60),
        _ => format!("{}d{:02}h", secs / 86_400, secs / 3_600 % 24),
    }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string cannot fail");
}
