//! A report as people read it.

use std::fmt::{self, Write as _};

use super::{Line, Report, SloReport};
use crate::model::Timestamp;
use crate::tui::markdown::cell;

/// Lines of a list that are printed; JSON has all.
const MOST: usize = 30;

/// For who reads one line.
pub(super) fn summary(report: &Report, slos: &[SloReport]) -> String {
    let all = slos.len();
    if all == 0 {
        return "Nothing is promised: no SLO is configured.".to_owned();
    }
    let mut text = format!("{} of {all} SLOs kept their objective", report.kept);
    if report.unknown > 0 {
        put(
            &mut text,
            format_args!(", of {} nothing was counted", report.unknown),
        );
    }
    let used = |slo: &&SloReport| slo.budget_used_ratio.unwrap_or_default();
    let missed = slos.iter().filter(|it| it.kept == Some(false));
    if let Some(worst) = missed.max_by(|a, b| used(a).total_cmp(&used(b))) {
        let sli = worst.sli_ratio.map_or_else(none, precise);
        put(
            &mut text,
            format_args!(
                "; worst is {} with {sli} of {} promised, {} of its budget",
                cell(&worst.slo),
                worst.objective,
                percent(used(&worst))
            ),
        );
    }
    let lasted: u64 = report.incidents.iter().map(|it| it.lasted_s).sum();
    match report.incidents.len() {
        0 => text.push_str("; no incident"),
        1 => put(&mut text, format_args!("; 1 incident of {}", lasts(lasted))),
        many => put(
            &mut text,
            format_args!("; {many} incidents of {} together", lasts(lasted)),
        ),
    }
    put(
        &mut text,
        format_args!(
            "; {} and {}; {} of the time was measured.",
            many(report.pages, "page"),
            many(report.tickets, "ticket"),
            percent(report.measured_ratio)
        ),
    );
    text
}

pub(super) fn markdown(report: &Report) -> String {
    let [first, last] = &report.days;
    let mut text = format!(
        "# Service levels, {} of {first} to {last}\n\n{}\n\n",
        report.unit, report.summary
    );
    span(&mut text, report);
    for owner in &report.owners {
        let name = owner
            .owner
            .as_deref()
            .map_or_else(|| "Without an owner".to_owned(), cell);
        put(&mut text, format_args!("\n## {name}\n\n"));
        slos(&mut text, &owner.slos);
    }
    incidents(&mut text, report);
    deploys(&mut text, report);
    for (title, lines) in [
        ("Probes", &report.probes),
        ("Certificates", &report.certificates),
    ] {
        events(&mut text, title, lines);
    }
    text
}

fn span(text: &mut String, report: &Report) {
    let Report {
        zone,
        from,
        to,
        complete,
        counting_since,
        gaps,
        ..
    } = report;
    put(
        text,
        format_args!(
            "From {} to {}, days as {} has them.",
            moment(*from),
            moment(*to),
            cell(zone)
        ),
    );
    if !complete {
        text.push_str(" It is not over: everything is so far.");
    }
    text.push('\n');
    if counting_since > from {
        put(
            text,
            format_args!(
                "\nThe history begins at {}; nothing is known of the time before.\n",
                moment(*counting_since)
            ),
        );
    }
    if let Some(since) = report.events_since {
        put(
            text,
            format_args!(
                "\nAlerts, deploys and other events are known since {} only.\n",
                moment(since)
            ),
        );
    }
    if !gaps.is_empty() {
        text.push_str("\nNot measured:\n\n");
        for gap in gaps.iter().take(MOST) {
            let lasted = lasts(gap.to.since(gap.from).as_secs());
            put(
                text,
                format_args!("- {} to {}, {lasted}\n", moment(gap.from), moment(gap.to)),
            );
        }
        more(text, gaps.len());
    }
}

fn slos(text: &mut String, slos: &[SloReport]) {
    text.push_str(
        "| SLO | objective | SLI | bad | of | budget used | before | left at the end | worst hour | worst day | pages | tickets |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let mut otherwise = Vec::new();
    for it in slos {
        if it.counted_otherwise {
            otherwise.push(it.slo.as_str());
        }
        let kept = if it.kept == Some(false) {
            "**missed** "
        } else {
            ""
        };
        let worst = |worst: &Option<super::Worst>| {
            worst.as_ref().map_or_else(none, |it| {
                let at: String = it.at.chars().take(16).collect();
                let zone = if at.contains('T') { "Z" } else { "" };
                format!(
                    "{} of {} bad, {}{zone}",
                    it.bad,
                    it.valid,
                    at.replace('T', " ")
                )
            })
        };
        put(
            text,
            format_args!(
                "| {} | {} over {} | {kept}{} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
                cell(&it.slo),
                it.objective,
                cell(&it.window),
                it.sli_ratio.map_or_else(none, precise),
                it.bad,
                it.valid,
                it.budget_used_ratio.map_or_else(none, percent),
                trend(it),
                it.left_ratio.map_or_else(none, percent),
                worst(&it.worst_hour),
                worst(&it.worst_day),
                it.pages,
                it.tickets
            ),
        );
    }
    text.push_str(
        "\nBudget used is of this period's own budget. Left at the end is of the SLO's window or period that ends then, with what is \
         missing of it taken to have been good.\n",
    );
    for slo in otherwise {
        put(
            text,
            format_args!(
                "\nOf {} something else was counted, which is left out.\n",
                cell(slo)
            ),
        );
    }
}

/// What the period before used, and which way it went.
fn trend(slo: &SloReport) -> String {
    let Some(before) = &slo.before else {
        return none();
    };
    let used = before.budget_used_ratio;
    let word = match slo.budget_used_ratio {
        None => "",
        Some(now) if (now - used).abs() < 0.01 => ", as before",
        Some(now) if now > used => ", worse",
        Some(_) => ", better",
    };
    format!("{}{word}", percent(used))
}

fn incidents(text: &mut String, report: &Report) {
    text.push_str("\n## Incidents\n\n");
    if report.incidents.is_empty() {
        text.push_str("None, as far as the history says.\n");
        return;
    }
    text.push_str(
        "| began | lasted | told after | SLOs | budget | changed before |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for it in report.incidents.iter().take(MOST) {
        let slos: Vec<String> = it.slos.iter().map(|slo| cell(slo)).collect();
        put(
            text,
            format_args!(
                "| {} | {} | {} | {} | {} | {} |\n",
                moment(it.began),
                lasts(it.lasted_s),
                it.detected_after_s
                    .map_or_else(|| "not told".to_owned(), lasts),
                slos.join(", "),
                it.budget_ratio.map_or_else(none, percent),
                it.changed
                    .as_ref()
                    .map_or_else(|| "nothing found".to_owned(), short)
            ),
        );
    }
    more(text, report.incidents.len());
    text.push_str(
        "\nWhat changed before is a suspect and no proof; `vestibule incident show` has each of them in full.\n",
    );
}

fn deploys(text: &mut String, report: &Report) {
    text.push_str("\n## Deploys\n\n");
    let announced = report.deploys_announced as u64;
    put(
        text,
        format_args!("{} announced.\n", many(announced, "deploy")),
    );
    let spent: Vec<_> = report
        .deploys
        .iter()
        .flat_map(|deploy| deploy.slos.iter().map(move |booked| (deploy, booked)))
        .filter(|(_, booked)| booked.valid > 0)
        .collect();
    if !spent.is_empty() {
        text.push_str(
            "\nIn their windows was spent what is in the figures above as well, and told apart here:\n\n\
             | deploy | window | SLO | bad | of | of the period's budget |\n| --- | --- | --- | --- | --- | --- |\n",
        );
    }
    for (deploy, booked) in spent.iter().take(MOST) {
        let until = deploy.until.map_or_else(
            || "open".to_owned(),
            |until| lasts(until.since(deploy.from).as_secs()),
        );
        put(
            text,
            format_args!(
                "| {} {} | {}, {until} | {} | {} | {} | {} |\n",
                cell(&deploy.upstream),
                cell(&deploy.version),
                moment(deploy.from),
                cell(&booked.slo),
                booked.bad,
                booked.valid,
                booked.budget_ratio.map_or_else(none, percent)
            ),
        );
    }
    more(text, spent.len());
}

fn events(text: &mut String, title: &str, lines: &[Line]) {
    if lines.is_empty() {
        return;
    }
    put(text, format_args!("\n## {title}\n\n"));
    for line in lines.iter().take(MOST) {
        put(
            text,
            format_args!("- {} {}\n", moment(line.at), cell(&line.text)),
        );
    }
    more(text, lines.len());
}

fn short(line: &Line) -> String {
    format!(
        "{} {} {}",
        moment(line.at),
        line.kind.as_str(),
        cell(&line.text)
    )
}

fn more(text: &mut String, all: usize) {
    if let more @ 1.. = all.saturating_sub(MOST) {
        put(
            text,
            format_args!("\nAnd {more} more, which are in the JSON.\n"),
        );
    }
}

fn many(count: u64, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}

fn none() -> String {
    "-".to_owned()
}

fn moment(at: Timestamp) -> String {
    let whole: String = at.to_string().chars().take(16).collect();
    format!("{}Z", whole.replace('T', " "))
}

/// A share of a budget or of time.
fn percent(ratio: f64) -> String {
    if ratio > 0.0 && ratio < 0.000_5 {
        "<0.1 %".to_owned()
    } else {
        format!("{:.1} %", ratio * 100.0)
    }
}

/// An SLI, cut and not rounded: what was missed by little must not look kept.
fn precise(ratio: f64) -> String {
    let millionths = (ratio * 1e6).floor();
    format!("{:.4} %", millionths / 1e4)
}

/// The two largest units.
fn lasts(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs} s"),
        60..3_600 => format!("{} min", secs / 60),
        3_600..86_400 => format!("{} h {} min", secs / 3_600, secs / 60 % 60),
        _ => format!("{} d {} h", secs / 86_400, secs / 3_600 % 24),
    }
}

fn put(text: &mut String, arguments: fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string cannot fail");
}
