//! What Vestibule itself wrote beside a promise, in annotations that mean nothing to others.

use std::time::Duration;

use super::Imported;
use super::fields::{Context, Fields};
use super::tree::Node;
use crate::config::code::Code;
use crate::config::file::MOST_MIN_BAD;
use crate::config::kind::{Kind, PERCENT, Scalar};
use crate::model::{
    About, Calendar, CalendarUnit, EmptySlice, Part, Reading, Sli, Slices, Vital, Weighing, Window,
    Worth, Zone,
};
use crate::slo::guards::Guards;
use crate::slo::policy::{Factor, Policy, PolicyRow, Severity, Threshold, Tier};

/// What the marks say; each is `None` when they do not.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    pub(super) sli: Option<Sli>,
    pub(super) probe: Option<String>,
    pub(super) about: Option<About>,
    pub(super) parts: Vec<Part>,
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
    let (mut kind, mut lines) = (None, Lines::default());
    let (mut unit, mut zone) = (None, None);
    let (mut under, mut every, mut rows, mut reading) = (None, None, None, None);
    let (mut guards, mut weigh) = (None, None);
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
            "most" | "within" => lines.read(key, text),
            "reading" => {
                reading = self::reading(text);
                reading.is_some()
            }
            "parts" => {
                marks.parts = parts(text).unwrap_or_default();
                !marks.parts.is_empty()
            }
            "weigh" => {
                weigh = [Weighing::Minutes, Weighing::Events]
                    .into_iter()
                    .find(|own| own.as_str() == text);
                weigh.is_some()
            }
            "scope" => {
                marks.about = About::from_scope(text);
                marks.about.is_some()
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
                rows = text
                    .split(", ")
                    .map(row)
                    .collect::<Option<Vec<PolicyRow>>>();
                rows.is_some()
            }
            "guards" => {
                guards = guards_of(text);
                guards.is_some()
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
        let vital = lines.of(kind).map(Sli::Vital);
        marks.sli = vital.or_else(|| marks.indicator(kind, (under, every), reading, weigh));
        if marks.sli.is_none() {
            refuse(node, "sli", context);
        }
    }
    if let (Some(name), Some(rows)) = (&marks.policy, rows) {
        imported.define_policy(Policy {
            name: name.clone(),
            rows,
            guards: guards.unwrap_or_default(),
        });
    }
    marks
}

impl Marks {
    /// The indicator that the marks describe; `None` when they do not fit together.
    fn indicator(
        &self,
        kind: &str,
        (under, every): (Option<Duration>, Option<Duration>),
        reading: Option<Reading>,
        weigh: Option<Weighing>,
    ) -> Option<Sli> {
        match (kind, under, every, reading) {
            ("availability", None, None, reading) => {
                Some(Sli::Availability(reading.unwrap_or(Reading::FAULT)))
            }
            ("latency", Some(under), None, None) => Some(Sli::Latency { under }),
            ("connection", None, None, None) => Some(Sli::Connection),
            ("rate-limit", None, None, None) => Some(Sli::RateLimit),
            ("probe", None, Some(every), None) if self.probe.is_some() => {
                Some(Sli::Probe { every })
            }
            ("composite", None, None, None) if !self.parts.is_empty() => weigh.map(Sli::Composite),
            _ => None,
        }
    }
}

/// Where vital signs turn bad.
#[derive(Debug, Default)]
struct Lines {
    most: Option<u8>,
    within: Option<Duration>,
}

impl Lines {
    /// Takes what `key` says; whether it is understood.
    fn read(&mut self, key: &str, text: &str) -> bool {
        if key == "most" {
            self.most = PERCENT.read(Scalar::Text(text)).ok();
            return self.most.is_some();
        }
        let within = humantime::parse_duration(text).ok();
        self.within = within.filter(|within| *within <= LONGEST_WITHIN);
        self.within.is_some()
    }

    /// The vital sign of this kind; `None` when there is none, or another line.
    fn of(&self, kind: &str) -> Option<Vital> {
        match (kind, self.most, self.within) {
            ("tls-handshake", None, None) => Some(Vital::Handshake),
            ("cpu", Some(most), None) => Some(Vital::Cpu { most }),
            ("memory", Some(most), None) => Some(Vital::Memory { most }),
            ("config-apply", None, Some(within)) => Some(Vital::Apply { within }),
            ("health", None, None) => Some(Vital::Health),
            _ => None,
        }
    }
}

impl Imported {
    /// Takes up a policy that a document brings along, unless there is one of its name.
    fn define_policy(&mut self, policy: Policy) {
        let known = |other: &Policy| other.name == policy.name;
        if !self.policies.iter().any(known) && !Policy::shipped().iter().any(known) {
            self.policies.push(policy);
        }
    }
}

fn refuse(node: &Node, key: &str, context: &mut Context<'_>) {
    let message = format!("Vestibule's annotation `{key}` does not say what it should");
    context.refuse(node, Code::InvalidValue, message);
}

/// `3 checkout-available, 1 web-fast`
fn parts(text: &str) -> Option<Vec<Part>> {
    let part = |text: &str| {
        let (weight, slo) = text.split_once(' ')?;
        Some(Part {
            slo: super::fields::name(slo),
            weight: weight
                .parse()
                .ok()
                .filter(|weight| (1..=1_000).contains(weight))?,
            counted: String::new(),
        })
    };
    text.split(", ").map(part).collect()
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

/// `6 5 volume confidence`
fn guards_of(text: &str) -> Option<Guards> {
    let mut parts = text.split(' ');
    let mut count = || {
        let count: u64 = parts.next()?.parse().ok()?;
        (count <= MOST_MIN_BAD).then_some(count)
    };
    let mut guards = Guards {
        page_min_bad: count()?,
        ticket_min_bad: count()?,
        volume_weight: false,
        ..Guards::default()
    };
    for word in parts {
        match word {
            "volume" => guards.volume_weight = true,
            "confidence" => guards.confidence = true,
            _ => return None,
        }
    }
    Some(guards)
}

/// `14.4`, `2%` or `2%/13.44`
fn threshold(text: &str) -> Option<Threshold> {
    let factor = |text| thousandths(text).map(Factor::milli);
    let (share, least) = text
        .split_once('/')
        .map_or((text, None), |(share, least)| (share, Some(least)));
    if !share.ends_with('%') {
        return factor(text).map(Threshold::Burn);
    }
    let least = match least {
        Some(least) => Some(factor(least)?),
        None => None,
    };
    let share = share.parse().ok()?;
    Some(Threshold::Spend { share, least })
}

/// `page fast 1h 5m 14.4`
fn row(text: &str) -> Option<PolicyRow> {
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
    Some(PolicyRow {
        severity,
        tier: tiers.into_iter().find(|own| own.as_str() == tier)?,
        long: long.parse().ok()?,
        short: short.parse().ok()?,
        over: threshold(factor)?,
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
/// The longest time that a configuration may be given to be in force.
const LONGEST_WITHIN: Duration = Duration::from_secs(3_600);
/// The shortest.
pub(super) const SHORTEST_UNDER: Duration = Duration::from_millis(1);
