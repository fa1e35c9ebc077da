//! Names: somebody goes by an address that the authority for the zone dropped longer ago than anybody may remember it.

use super::engine::blank;
use super::evidence::{Evidence, NameEvidence};
use super::sentence::label;
use super::{Level, Locus, Topic, Verdict, words};
use crate::model::Timestamp;

/// Names that are told of; the rest is counted.
const MOST: usize = 3;

/// One for each name, the one that somebody has been behind on for longest first.
pub(super) fn verdicts(now: Timestamp, evidence: &Evidence<'_>) -> Vec<Verdict> {
    let mut names: Vec<(&str, Vec<&NameEvidence<'_>>)> = Vec::new();
    for found in &evidence.names {
        match names.iter_mut().find(|(name, _)| *name == found.name) {
            Some((_, all)) => all.push(found),
            None => names.push((&found.name, vec![found])),
        }
    }
    let more = match names.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" ({more} more names)"),
    };
    let told = names.into_iter().take(MOST);
    told.filter_map(|(_, all)| verdict(now, &all, &more))
        .collect()
}

fn verdict(now: Timestamp, all: &[&NameEvidence<'_>], more: &str) -> Option<Verdict> {
    let first = all.iter().min_by_key(|found| found.since)?;
    let used = match first.uses.as_slice() {
        [] => String::new(),
        uses => format!(", for {}", uses.join(", ")),
    };
    let what: Vec<String> = all.iter().map(|found| words::long(&found.text)).collect();
    let next_step = "see who says what: `vestibule names`".to_owned();
    Some(Verdict {
        topic: Topic::Names,
        side: Locus::Network,
        route: first.route.map(str::to_owned),
        routes: first.route.iter().map(|it| (*it).to_owned()).collect(),
        onset: Some(first.since),
        text: format!(
            "{}: names: {}{}, since {}{more}; {next_step}",
            label(Level::Warn),
            what.join("; "),
            words::plain(&used),
            words::time(first.since, now),
        ),
        next_step,
        ..blank(Level::Warn)
    })
}
