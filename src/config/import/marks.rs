//! What Vestibule itself wrote beside a promise, in annotations that mean nothing to others.

use std::time::Duration;

use super::Imported;
use super::fields::{Context, Fields};
use super::tree::Node;
use crate::config::code::Code;
use crate::model::{Calendar, CalendarUnit, EmptySlice, Reading, Sli, Slices, Window, Worth, Zone};
use crate::slo::policy::{Factor, Policy, Row, Severity, Tier};

/// What the marks say; each is `None` when they do not.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    pub(super) sli: Option<Sli>,
    pub(super) probe: Option<String>,
    pub(super) window: Option<Window>,
    pub(super) calendar: Option<Calendar>,
    pub(super) slices: Option<Slices>,
    pub(super) policy: Option<String>,
    pub(super) runbook: Option<String>,
}

/// Takes the annotations that begin with `prefix`.
pub(super) fn read(
    annotations: &mut Fields<'_>,
    prefix: &str,
    context: &mut Context<'_>,
    imported: &mut Imported,
) -> Marks {
    let mut marks = Marks::default();
    let mut kind = None;
    let (mut unit, mut zone) = (None, None);
    let (mut under, mut every, mut rows, mut reading) = (None, None, None, None);
    for (key, node, text) in annotations.marked(prefix) {
        let duration = || humantime::parse_duration(text).ok();
        let understood = match key {
            "sli" => {
                kind = Some((node, text));
                true
            }
            "under" => {
                under = duration();
                under.is_some()
            }
            "every" => {
                every = duration();
                every.is_some()
            }
            "reading" => {
                reading = self::reading(text);
                reading.is_some()
            }
            "probe" => {
                marks.probe = Some(super::fields::name(text));
                true
            }
            "window" => {
                unit = text.parse::<CalendarUnit>().ok();
                marks.window = unit.map(CalendarUnit::nominal).or(text.parse().ok());
                marks.window.is_some()
            }
            "slices" => {
                marks.slices = slices(text);
                marks.slices.is_some()
            }
            "zone" => {
                zone = text.parse::<Zone>().ok();
                zone.is_some()
            }
            "policy" => {
                marks.policy = Some(super::fields::name(text));
                true
            }
            "rows" => {
                rows = text.split(", ").map(row).collect::<Option<Vec<Row>>>();
                rows.is_some()
            }
            "runbook" => {
                marks.runbook = Some(text.to_owned());
                true
            }
            _ => false,
        };
        if !understood {
            refuse(node, key, context);
        }
    }
    marks.calendar = unit.map(|unit| Calendar {
        unit,
        zone: zone.unwrap_or(Zone::UTC),
    });
    if let Some((node, kind)) = kind {
        marks.sli = match (kind, under, every, reading) {
            ("availability", None, None, reading) => {
                Some(Sli::Availability(reading.unwrap_or(Reading::FAULT)))
            }
            ("latency", Some(under), None, None) => Some(Sli::Latency { under }),
            ("probe", None, Some(every), None) if marks.probe.is_some() => {
                Some(Sli::Probe { every })
            }
            _ => None,
        };
        if marks.sli.is_none() {
            refuse(node, "sli", context);
        }
    }
    if let (Some(name), Some(rows)) = (&marks.policy, rows) {
        let policy = Policy {
            name: name.clone(),
            rows,
        };
        let known = |other: &Policy| other.name == *name;
        if !imported.policies.iter().any(known) && !Policy::shipped().iter().any(known) {
            imported.policies.push(policy);
        }
    }
    marks
}

fn refuse(node: &Node, key: &str, context: &mut Context<'_>) {
    let message = format!("Vestibule's annotation `{key}` does not say what it should");
    context.refuse(node, Code::InvalidValue, message);
}

/// `1m 99% skip`, `5m share bad`
fn slices(text: &str) -> Option<Slices> {
    let parts: Vec<&str> = text.split(' ').collect();
    let &[every, worth, empty] = parts.as_slice() else {
        return None;
    };
    let empties = [EmptySlice::Skip, EmptySlice::Good, EmptySlice::Bad];
    Some(Slices {
        every: every.parse().ok()?,
        worth: match worth {
            "share" => Worth::Share,
            objective => Worth::Whole(objective.parse().ok()?),
        },
        empty: empties.into_iter().find(|own| own.as_str() == empty)?,
    })
}

/// `all`, `fault`, `fault +401,429`
fn reading(text: &str) -> Option<Reading> {
    match text.split_once(" +") {
        None if text == Reading::All.as_str() => Some(Reading::All),
        None if text == Reading::FAULT.as_str() => Some(Reading::FAULT),
        Some((word, also)) if word == Reading::FAULT.as_str() => Some(Reading::Fault {
            also: also.parse().ok()?,
        }),
        None | Some(_) => None,
    }
}

/// `page fast 1h 5m 14.4`
fn row(text: &str) -> Option<Row> {
    let parts: Vec<&str> = text.split(' ').collect();
    let &[severity, tier, long, short, factor] = parts.as_slice() else {
        return None;
    };
    let severity = match severity {
        "page" => Severity::Page,
        "ticket" => Severity::Ticket,
        _ => return None,
    };
    let tiers = [Tier::Fast, Tier::Medium, Tier::Slow, Tier::Long];
    Some(Row {
        severity,
        tier: tiers.into_iter().find(|own| own.as_str() == tier)?,
        long: long.parse().ok()?,
        short: short.parse().ok()?,
        factor: Factor::milli(thousandths(factor)?),
    })
}

/// A number with at most three digits after the point, above 0, in thousandths.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let fraction: u32 = format!("{fraction:0<3}").parse().ok()?;
    let whole: u32 = whole.parse().ok()?;
    let all = whole.checked_mul(1_000)?.checked_add(fraction)?;
    (all > 0).then_some(all)
}

/// The longest good duration that a configuration takes.
pub(super) const LONGEST_UNDER: Duration = Duration::from_secs(600);
/// The shortest.
pub(super) const SHORTEST_UNDER: Duration = Duration::from_millis(1);
