//! What a backtest came to, as people read it.

use std::fmt::{self, Write as _};

use super::truth::Source;
use super::{Detected, Fired, Outcome, ProfileOutcome, SloOutcome, Told};
use crate::tui::fmt::visible;

/// Rows of gaps, incidents and the like that are printed; JSON has all.
const MOST: usize = 30;

pub(super) fn text(outcome: &Outcome) -> String {
    let mut text = String::new();
    span(&mut text, outcome);
    truth(&mut text, outcome);
    scores(&mut text, outcome);
    incidents(&mut text, outcome);
    slos(&mut text, outcome);
    text
}

fn span(text: &mut String, outcome: &Outcome) {
    let Outcome { from, to, .. } = outcome;
    let all = to.since(*from).as_secs();
    let days = |secs: u64| secs as f64 / 86_400.0;
    put(
        text,
        format_args!(
            "judged by the minute from {from} to {to}, {:.1} days",
            days(all)
        ),
    );
    if outcome.gaps.is_empty() {
        text.push_str(", all of which were measured\n");
    } else {
        let measured = days(outcome.measured_s);
        put(
            text,
            format_args!(", of which {measured:.1} were measured\n"),
        );
    }
    for gap in outcome.gaps.iter().take(MOST) {
        let lasts = length(gap.to.since(gap.from).as_secs());
        put(
            text,
            format_args!("  not measured: {} to {}, {lasts}\n", gap.from, gap.to),
        );
    }
    more(text, outcome.gaps.len(), "gaps");
    if let Some(objective) = &outcome.objective {
        put(
            text,
            format_args!("every SLO is judged by {objective} instead of its own objective\n"),
        );
    }
}

fn truth(text: &mut String, outcome: &Outcome) {
    let many = outcome.incidents.len();
    let incidents = if many == 1 { "incident" } else { "incidents" };
    match &outcome.truth {
        Source::File { file } => put(
            text,
            format_args!("\nheld against {many} {incidents} of {}\n", file.display()),
        ),
        Source::History { least_budget_ratio } => put(
            text,
            format_args!(
                "\nheld against {many} {incidents} found in this history: spells that burned too fast and spent at least {} of a budget;\n\
                 no alert takes part in finding them, and what no SLO counts is not among them\n",
                percent(*least_budget_ratio)
            ),
        ),
    }
    for it in outcome.left_out.iter().take(MOST) {
        put(
            text,
            format_args!(
                "  left out, nothing of it was measured: {}, {} to {}\n",
                visible(&it.name),
                it.from,
                it.to
            ),
        );
    }
    more(text, outcome.left_out.len(), "that are left out");
}

fn scores(text: &mut String, outcome: &Outcome) {
    let mut rows = vec![
        [
            "PROFILE",
            "DETECTED AFTER",
            "BUDGET SPENT",
            "PRECISION",
            "RECALL",
            "PAGES/WEEK",
            "TICKETS/WEEK",
            "PAGED FOR",
            "TICKETS FOR",
        ]
        .map(ToOwned::to_owned)
        .to_vec(),
    ];
    let ratio = |value: Option<f64>| value.map_or_else(none, percent);
    let rate = |value: Option<f64>| value.map_or_else(none, |it| format!("{it:.1}"));
    rows.extend(outcome.profiles.iter().map(|it| {
        vec![
            label(it),
            it.detection_s.map_or_else(none, length),
            ratio(it.detection_budget_ratio),
            ratio(it.precision),
            match it.recall {
                Some(recall) => {
                    format!(
                        "{} ({}/{})",
                        percent(recall),
                        it.caught,
                        it.detections.len()
                    )
                }
                None => none(),
            },
            rate(it.pages_per_week),
            rate(it.tickets_per_week),
            length(it.paging_s),
            length(it.ticketing_s),
        ]
    }));
    text.push('\n');
    text.push_str(&table(&rows));
}

fn incidents(text: &mut String, outcome: &Outcome) {
    if outcome.incidents.is_empty() {
        return;
    }
    let mut head: Vec<String> = ["INCIDENT", "LASTED", "BUDGET", "SLOS"]
        .map(ToOwned::to_owned)
        .to_vec();
    head.extend(outcome.profiles.iter().map(|it| label(it).to_uppercase()));
    let mut rows = vec![head];
    for (place, it) in outcome.incidents.iter().enumerate().take(MOST) {
        let mut row = vec![
            visible(&it.name).into_owned(),
            length(it.seconds),
            it.budget_ratio.map_or_else(none, percent),
            match it.slos.as_slice() {
                [one] => one.clone(),
                many => format!("{} SLOs", many.len()),
            },
        ];
        let cells = outcome.profiles.iter().map(|it| &it.detections[place]);
        row.extend(cells.map(cell));
        rows.push(row);
    }
    text.push('\n');
    text.push_str(&table(&rows));
    more(text, outcome.incidents.len(), "incidents");
    for it in outcome
        .incidents
        .iter()
        .filter(|it| it.measured_ratio < 1.0)
    {
        put(
            text,
            format_args!(
                "only {} of {} was measured\n",
                percent(it.measured_ratio),
                visible(&it.name)
            ),
        );
    }
}

fn cell(detected: &Detected) -> String {
    let told = |told: &Told| {
        let budget = told
            .budget_ratio
            .map_or_else(String::new, |ratio| format!(", {}", percent(ratio)));
        format!("{}{budget}", length(told.after_s))
    };
    match (&detected.page, &detected.ticket) {
        (Some(page), _) => told(page),
        (None, Some(ticket)) => format!("ticket only, {}", told(ticket)),
        (None, None) => "missed".to_owned(),
    }
}

/// What there is of each SLO; and with one profile, each time that it fired.
fn slos(text: &mut String, outcome: &Outcome) {
    let single = match outcome.profiles.as_slice() {
        [one] => Some(one),
        _ => None,
    };
    text.push('\n');
    for (place, slo) in outcome.slos.iter().enumerate() {
        let SloOutcome {
            slo: id,
            policy,
            objective,
            known,
            counted_otherwise,
            good,
            bad,
        } = slo;
        let policy = single.map_or(policy, |it| &it.slos[place].policy);
        let of = good + bad;
        let firings = single.map(|it| it.slos[place].firings.as_slice());
        let what = match (known, firings) {
            (false, _) if *counted_otherwise => {
                "what was counted is something else, and is not judged by this".to_owned()
            }
            (false, _) => "nothing was counted for it".to_owned(),
            (true, None) => format!("{bad} bad of {of}"),
            (true, Some([])) => format!("nothing fires; {bad} bad of {of}"),
            (true, Some(many)) => format!("fires {} times; {bad} bad of {of}", many.len()),
        };
        put(
            text,
            format_args!("{id}  {objective} by {policy}: {what}\n"),
        );
        for firing in firings.unwrap_or_default() {
            fired(text, firing);
        }
    }
    if single.is_none() {
        text.push_str("(with a single --policy, each time that it fires is listed)\n");
    }
}

fn fired(text: &mut String, firing: &Fired) {
    let until = firing
        .until
        .map_or_else(|| "the end".to_owned(), |until| until.to_string());
    let budget = firing.budget_ratio.map_or_else(String::new, |ratio| {
        format!(", {} of the budget", percent(ratio))
    });
    put(
        text,
        format_args!(
            "  {:<6}  {} to {until}  {}  after {} bad{budget}\n",
            firing.severity.as_str(),
            firing.from,
            firing.alert,
            firing.bad,
        ),
    );
}

fn label(profile: &ProfileOutcome) -> String {
    if profile.own && profile.profile != super::OWN {
        format!("{} (own)", profile.profile)
    } else {
        profile.profile.clone()
    }
}

fn more(text: &mut String, all: usize, what: &str) {
    if let more @ 1.. = all.saturating_sub(MOST) {
        put(
            text,
            format_args!("  and {more} more {what}, which are in the JSON\n"),
        );
    }
}

fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let cells = cells.map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn none() -> String {
    "-".to_owned()
}

fn percent(ratio: f64) -> String {
    if ratio > 0.0 && ratio < 0.000_5 {
        "<0.1%".to_owned()
    } else {
        format!("{:.1}%", ratio * 100.0)
    }
}

/// The two largest units.
fn length(seconds: u64) -> String {
    let (large, small) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3_600 => ((seconds / 60, 'm'), (seconds % 60, 's')),
        3_600..86_400 => ((seconds / 3_600, 'h'), (seconds / 60 % 60, 'm')),
        _ => ((seconds / 86_400, 'd'), (seconds / 3_600 % 24, 'h')),
    };
    match (large, small) {
        ((count, unit), (0, _)) => format!("{count}{unit}"),
        ((count, unit), (more, less)) => format!("{count}{unit} {more}{less}"),
    }
}

fn put(text: &mut String, arguments: fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_told_in_its_two_largest_units() {
        for (seconds, told) in [
            (0, "0s"),
            (59, "59s"),
            (180, "3m"),
            (181, "3m 1s"),
            (3_600, "1h"),
            (5_280, "1h 28m"),
            (86_400, "1d"),
            (48 * 86_400 + 41_184, "48d 11h"),
        ] {
            assert_eq!(length(seconds), told);
        }
    }
}
