//! Routes that grow slower by the day: no objective is missed yet, and nobody need be woken.

use super::engine::{blank, firing};
use super::evidence::Evidence;
use super::sentence::label;
use super::{Level, Topic, Verdict, words};
use crate::slo::alert::AlertKind;

/// The routes of which it is said, in one word for all. `told` are routes that have an incident already: whatever makes
/// them slow is part of that.
pub(super) fn verdict(evidence: &Evidence<'_>, told: &[String]) -> Option<Verdict> {
    let all = firing(evidence, AlertKind::Slowdown);
    let mut all = all.filter(|alert| alert.route.as_ref().is_none_or(|it| !told.contains(it)));
    let first = all.next()?;
    let others: Vec<String> = all.filter_map(|alert| alert.route.clone()).collect();
    let more = match others.len() {
        0 => String::new(),
        more => format!("; and {more} more routes"),
    };
    let next_step =
        "look for what has grown since: data, a cache, a queue, a leak in the upstream".to_owned();
    Some(Verdict {
        topic: Topic::Slowdown,
        route: first.route.clone(),
        routes: first.route.iter().cloned().chain(others).collect(),
        onset: Some(first.since),
        text: format!(
            "{}: {}{more}; {next_step}",
            label(Level::Warn),
            words::long(&first.text)
        ),
        next_step,
        runbook: first.runbook.clone(),
        ..blank(Level::Warn)
    })
}
