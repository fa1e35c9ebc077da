//! Incidents as people read them: a table, and a page of Markdown for each.

use std::fmt::{self, Write as _};

use super::found::{Damage, Part, Report, Told};
use crate::model::{Event, EventKind, Timestamp};
use crate::triage::answers;
use crate::tui::markdown::cell;

/// One line for each, the newest first.
pub(super) fn list(report: &Report) -> String {
    if report.incidents.is_empty() {
        return format!(
            "no incident since {}\n",
            report.from.max(report.counting_since)
        );
    }
    let mut rows =
        vec![["NAME", "LASTED", "ROUTES", "BAD", "BUDGET", "TOLD AFTER"].map(ToOwned::to_owned)];
    rows.extend(report.incidents.iter().rev().map(|told| {
        let bad: u64 = told.damages.iter().map(|it| it.bad).sum();
        [
            told.id.clone(),
            lasts(told.lasted_s),
            routes(&told.damages).join(", "),
            bad.to_string(),
            worst_share(&told.damages),
            told.detected_after_s.map_or("not told".to_owned(), lasts),
        ]
    }));
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths);
        let cells = cells.map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        put(&mut text, format_args!("{}\n", line.trim_end()));
    }
    text
}

/// A page for each, the oldest first.
pub(super) fn markdown(report: &Report) -> String {
    if report.incidents.is_empty() {
        return format!(
            "# No incident\n\nNothing went wrong between {} and {}, as far as the history says.\n",
            report.from, report.to
        );
    }
    let pages: Vec<String> = report.incidents.iter().map(incident).collect();
    pages.join("\n")
}

fn incident(told: &Told) -> String {
    let mut text = format!("# Incident of {}\n\n", told.id);
    facts(&mut text, told);
    if let Some(verdict) = &told.verdict {
        put(&mut text, format_args!("\n## What was said\n\n"));
        let at = told.ended;
        put(
            &mut text,
            format_args!("| question | answer |\n| --- | --- |\n"),
        );
        for (question, answer) in answers::QUESTIONS.iter().zip(answers::of(verdict, at)) {
            put(
                &mut text,
                format_args!("| {question} | {} |\n", cell(&answer)),
            );
        }
        put(
            &mut text,
            format_args!(
                "\nJudged again from the stored history, by the minute; what the requests were is known by the hour.\n"
            ),
        );
    }
    costs(&mut text, &told.damages);
    changes(&mut text, "What changed before", &told.changed_before);
    changes(&mut text, "What was done", &told.done);
    timeline(&mut text, told);
    parts(&mut text, &told.parts);
    minutes(&mut text, told);
    put(
        &mut text,
        format_args!(
            "\n## For people to fill in\n\n- What did users notice?\n- Why did it happen, and why was it not caught before?\n\
             - What went well, what did not, where were we lucky?\n- What will be done, by whom, until when?\n"
        ),
    );
    text
}

fn facts(text: &mut String, told: &Told) {
    let mut owners: Vec<&str> = Vec::new();
    for owner in told.damages.iter().filter_map(|it| it.owner.as_deref()) {
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }
    let detected = match (told.detected, told.detected_after_s) {
        (Some(at), Some(after)) => format!("{}, {} after it began", moment(at), lasts(after)),
        _ => "no alert fired".to_owned(),
    };
    // The health of what fails is most often what it looks like.
    let mut before = told.changed_before.iter();
    let likely = told.verdict.as_ref().and_then(|it| it.suspect.as_ref());
    let likely = likely.map(|suspect| &suspect.event);
    let likely = likely.or_else(|| before.find(|it| it.kind != EventKind::Health));
    let changed = likely.map_or_else(
        || "no change found in the hour before".to_owned(),
        |event| {
            format!(
                "{} {} {}",
                moment(event.at),
                event.kind.as_str(),
                event.text
            )
        },
    );
    let done = match told.done.as_slice() {
        [] => "nothing that was told to Vestibule".to_owned(),
        [first, rest @ ..] => {
            let more = match rest.len() {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            format!(
                "{} {} {}{more}",
                moment(first.at),
                first.kind.as_str(),
                first.text
            )
        }
    };
    put(text, format_args!("| fact | |\n| --- | --- |\n"));
    for (fact, value) in [
        ("began", format!("{} (to the minute)", moment(told.began))),
        ("detected", detected),
        ("ended", moment(told.ended)),
        ("lasted", lasts(told.lasted_s)),
        ("routes", routes(&told.damages).join(", ")),
        (
            "owners",
            if owners.is_empty() {
                "none named".to_owned()
            } else {
                owners.join(", ")
            },
        ),
        ("budget spent", worst_share(&told.damages)),
        ("changed before", changed),
        ("done", done),
    ] {
        put(text, format_args!("| {fact} | {} |\n", cell(&value)));
    }
    if let Some(alert) = &told.alert {
        put(text, format_args!("\nThe first alert: {}\n", cell(alert)));
    }
}

fn costs(text: &mut String, damages: &[Damage]) {
    put(
        text,
        format_args!(
            "\n## What it cost\n\n| SLO | about | bad | of | budget | worst minute |\n| --- | --- | --- | --- | --- | --- |\n"
        ),
    );
    for it in damages {
        put(
            text,
            format_args!(
                "| {} | {} | {} | {} | {} | {} bad at {} |\n",
                it.slo,
                it.about(),
                it.bad,
                it.good + it.bad,
                it.budget_ratio.map_or("none".to_owned(), percent),
                percent(it.worst_ratio),
                moment(it.worst_at)
            ),
        );
        // Below what they are weighed into, which is not their sum.
        for part in &it.parts {
            let (bad, valid) = (part.bad, part.good + part.bad);
            put(
                text,
                format_args!(
                    "| · {} x {} | | {bad} | {valid} | | |\n",
                    part.weight, part.slo
                ),
            );
        }
    }
}

fn changes(text: &mut String, title: &str, events: &[Event]) {
    put(text, format_args!("\n## {title}\n\n"));
    if events.is_empty() {
        put(text, format_args!("Nothing is known.\n"));
    }
    for event in events {
        put(text, format_args!("- {}\n", line(event)));
    }
}

fn timeline(text: &mut String, told: &Told) {
    put(text, format_args!("\n## Timeline\n\n"));
    let mut lines: Vec<(Timestamp, String)> =
        told.timeline.iter().map(|it| (it.at, line(it))).collect();
    lines.push((told.began, format!("{} **it began**", moment(told.began))));
    lines.push((told.ended, format!("{} **it ended**", moment(told.ended))));
    lines.sort_by_key(|(at, _)| *at);
    for (_, line) in lines {
        put(text, format_args!("- {line}\n"));
    }
}

fn parts(text: &mut String, parts: &[Part]) {
    if parts.is_empty() {
        return;
    }
    put(
        text,
        format_args!(
            "\n## What bad requests were\n\nOf the whole hours that it lies in; the parts of each dimension sum to all of them.\n\n\
             | route | by | part | bad | share |\n| --- | --- | --- | --- | --- |\n"
        ),
    );
    for it in parts {
        put(
            text,
            format_args!(
                "| {} | {} | {} | {} | {} |\n",
                it.route,
                it.dimension,
                cell(&it.name),
                it.bad,
                percent(it.share)
            ),
        );
    }
}

fn minutes(text: &mut String, told: &Told) {
    /// Minutes printed; JSON has all.
    const MOST: usize = 120;
    put(
        text,
        format_args!(
            "\n## By the minute\n\n| minute | SLO | bad | of |\n| --- | --- | --- | --- |\n"
        ),
    );
    for it in told.minutes.iter().take(MOST) {
        put(
            text,
            format_args!(
                "| {} | {} | {} | {} |\n",
                moment(it.at),
                it.slo,
                it.bad,
                it.good + it.bad
            ),
        );
    }
    if let more @ 1.. = told.minutes.len().saturating_sub(MOST) {
        put(
            text,
            format_args!("\nAnd {more} more, which are in the JSON.\n"),
        );
    }
}

fn line(event: &Event) -> String {
    format!(
        "{} {}: {}",
        moment(event.at),
        event.kind.as_str(),
        cell(&event.text)
    )
}

fn routes(damages: &[Damage]) -> Vec<&str> {
    let mut routes: Vec<&str> = Vec::new();
    for it in damages {
        let own = it.parts.is_empty().then_some(it.about());
        let parts = it.parts.iter().map(|part| {
            let route = part.scope.strip_prefix("route:");
            route.unwrap_or(&part.scope)
        });
        for about in own.into_iter().chain(parts) {
            if !routes.contains(&about) {
                routes.push(about);
            }
        }
    }
    routes
}

/// What the SLO that was hurt most lost.
fn worst_share(damages: &[Damage]) -> String {
    let worst = damages.first();
    worst
        .and_then(|it| Some((it, it.budget_ratio?)))
        .map_or_else(
            || "none".to_owned(),
            |(it, ratio)| format!("{} of {}", percent(ratio), it.slo),
        )
}

fn moment(at: Timestamp) -> String {
    let whole: String = at.to_string().chars().take(19).collect();
    format!("{}Z", whole.replace('T', " "))
}

fn percent(ratio: f64) -> String {
    if ratio > 0.0 && ratio < 0.000_1 {
        "<0.01 %".to_owned()
    } else {
        format!("{:.2} %", ratio * 100.0)
    }
}

/// The two largest units.
fn lasts(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs} s"),
        60..3_600 => format!("{}m{:02}s", secs / 60, secs % 60),
        3_600..86_400 => format!("{}h{:02}m", secs / 3_600, secs / 60 % 60),
        _ => format!("{}d{:02}h", secs / 86_400, secs / 3_600 % 24),
    }
}

fn put(text: &mut String, arguments: fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string cannot fail");
}
