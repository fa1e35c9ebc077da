//! In what a route's bad and slow requests differ from the others, ranked, with the counts behind it.

use super::super::app::Model;
use super::super::canvas::{Span, span};
use super::super::fmt;
use super::super::page;
use super::super::theme::Role;
use crate::model::Tally;
use crate::snapshot::{Explanation, FaultCount, Slower};
use crate::triage::Strength;
use crate::triage::contrast::Contrast;

/// What its title says.
pub(super) fn title(route: &str) -> Vec<Span<'static>> {
    vec![
        span("Explain", Role::Strong),
        span(format!(" · {route}"), Role::Muted),
    ]
}

type Lines = Vec<Vec<Span<'static>>>;

/// Columns before what a line says.
const INDENT: u16 = 12;

/// Every line of it, none wider than `room`.
pub(super) fn lines(model: &Model, route: &str, room: u16) -> Lines {
    let explained = model
        .shown()
        .and_then(|shown| Some((shown, shown.explanation(route)?)));
    let Some((shown, explained)) = explained else {
        return told("This route is no longer in the configuration.", room);
    };
    let mut lines = Lines::new();
    let begin = |lines: &mut Lines, title: &'static str| {
        if !lines.is_empty() {
            lines.push(Vec::new());
        }
        lines.push(vec![span(title, Role::Strong)]);
    };
    begin(
        &mut lines,
        "WHERE BAD REQUESTS GATHER, THE MOST TELLING FIRST",
    );
    if explained.differs.is_empty() {
        lines.extend(told(
            "nowhere more than elsewhere, by what is measured",
            room,
        ));
    }
    for (number, contrast) in (1..).zip(&explained.differs) {
        lines.extend(differs(number, contrast, room));
    }
    lines.extend(
        explained
            .remarks
            .iter()
            .map(|remark| vec![span(format!("! {remark}"), Role::Warn)]),
    );
    if !explained.slower.is_empty() {
        begin(&mut lines, "WHERE THE TIME GOES");
        lines.extend(explained.slower.iter().flat_map(|it| slower(it, room)));
    }
    begin(&mut lines, "WHAT WENT WRONG IN 5 MINUTES");
    if shown.stored {
        lines.extend(told("the history does not hold this", room));
    } else if explained.faults.is_empty() {
        lines.extend(told("nothing", room));
    }
    lines.extend(faults(&explained.faults));
    begin(&mut lines, "WHAT DOES NOT DIFFER, OR IS NOT KNOWN");
    lines.extend(others(&explained, room));
    lines
}

/// The most telling one in one line, for a route's own screen.
pub(super) fn first(explained: &Explanation) -> Option<Vec<Span<'static>>> {
    let contrast = explained.differs.first()?;
    Some(vec![
        span("differs ", Role::Muted),
        span(format!("{} ", contrast.dimension), Role::Text),
        span(named(contrast), Role::Strong),
        span(format!(": {}", counts(contrast)), Role::Text),
        span(format!(" · {}", lift(contrast)), Role::Text),
        span(format!("  {}", strength(contrast.strength)), Role::Accent),
    ])
}

fn differs(number: usize, contrast: &Contrast, room: u16) -> Lines {
    let head = vec![
        span(
            format!("{number:>2} {:<9}", strength(contrast.strength)),
            Role::Accent,
        ),
        span(format!("{} ", contrast.dimension), Role::Text),
        span(named(contrast), Role::Strong),
        span(format!("  {}", lift(contrast)), Role::Strong),
    ];
    let mut lines = vec![head];
    let text = format!("{}; {}", counts(contrast), contrast.over);
    lines.extend(indented(&text, room));
    lines
}

/// `10.0.4.31:8443, 10.0.4.32:8443 (2 of 5)`.
fn named(contrast: &Contrast) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<&str> = contrast
        .parts
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect();
    let more = contrast.parts.len().saturating_sub(SHOWN);
    let names = match more {
        0 => shown.join(", "),
        _ => format!("{} and {more} more", shown.join(", ")),
    };
    if contrast.of > 2 {
        format!("{names} ({} of {})", contrast.parts.len(), contrast.of)
    } else {
        names
    }
}

/// `100% of 38,516 bad, elsewhere 2.4% of 25,204`.
fn counts(contrast: &Contrast) -> String {
    let elsewhere = match contrast.dimension.as_str() {
        "time" | "version" => "before",
        _ => "elsewhere",
    };
    format!(
        "{} bad, {elsewhere} {}",
        share(contrast.there),
        share(contrast.elsewhere)
    )
}

fn share(tally: Tally) -> String {
    let ratio = tally.bad as f64 / tally.valid().max(1) as f64;
    format!("{} of {}", fmt::share(ratio), fmt::grouped(tally.valid()))
}

fn lift(contrast: &Contrast) -> String {
    match contrast.lift {
        Some(lift) => fmt::times(lift),
        None => "only there".to_owned(),
    }
}

const fn strength(strength: Strength) -> &'static str {
    match strength {
        Strength::Weak => "weak",
        Strength::Strong => "strong",
    }
}

fn slower(it: &Slower, room: u16) -> Lines {
    let (there, elsewhere) = (fmt::micros(it.there_us), fmt::micros(it.elsewhere_us));
    let against = match it.dimension.as_str() {
        "phase" => "of",
        _ => "against",
    };
    let mut lines = vec![vec![
        span(format!("   {:<9}", it.dimension), Role::Text),
        span(it.part.clone(), Role::Strong),
        span(format!("  {there} {against} {elsewhere}"), Role::Strong),
    ]];
    lines.extend(indented(&it.over, room));
    lines
}

fn faults(faults: &[FaultCount]) -> Lines {
    let all: u64 = faults.iter().map(|fault| fault.count).sum();
    let line = |fault: &FaultCount| {
        let ratio = fault.count as f64 / all.max(1) as f64;
        vec![
            span(format!("   {:<20}", fault.fault.as_str()), Role::Text),
            span(
                format!("{:>9}  {:>6}", fmt::grouped(fault.count), fmt::share(ratio)),
                Role::Strong,
            ),
            span(format!("  {}", fault.side.as_str()), Role::Muted),
        ]
    };
    faults.iter().map(line).collect()
}

fn others(explained: &Explanation, room: u16) -> Lines {
    let alike = explained.alike.iter();
    let alike = alike.map(|dimension| (dimension.as_str(), "no difference"));
    let unknown = explained.unknown.iter();
    let unknown = unknown.map(|it| (it.dimension.as_str(), it.why.as_str()));
    alike
        .chain(unknown)
        .flat_map(|(dimension, why)| {
            let mut lines = indented(why, room);
            if let Some(first) = lines.first_mut() {
                *first = vec![
                    span(format!("   {dimension:<9}"), Role::Text),
                    span(why_of(first), Role::Muted),
                ];
            }
            lines
        })
        .collect()
}

/// What a line of [`indented`] says without its indent.
fn why_of(line: &[Span<'static>]) -> String {
    line.iter()
        .map(|(text, _)| text.trim_start())
        .collect::<String>()
}

fn told(text: &str, room: u16) -> Lines {
    let width = usize::from(room.saturating_sub(3)).max(10);
    page::wrapped(text, width)
        .into_iter()
        .map(|line| vec![span(format!("   {line}"), Role::Muted)])
        .collect()
}

fn indented(text: &str, room: u16) -> Lines {
    let width = usize::from(room.saturating_sub(INDENT)).max(20);
    let indent = " ".repeat(usize::from(INDENT));
    page::wrapped(text, width)
        .into_iter()
        .map(|line| vec![span(format!("{indent}{line}"), Role::Muted)])
        .collect()
}
