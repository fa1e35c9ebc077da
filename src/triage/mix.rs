//! Requests that go another way since the configuration changed: nothing fails, and yet a route gets none of its own.
//!
//! For each change of the configuration, a route's requests of the ten minutes before are compared with those since. One
//! that had requests in nearly each of these minutes and has at most a tenth of them now has lost them, if somebody else
//! has them: the table in force gives the route's own request to another route or to none, or another route grew by as
//! much as this one, which was never quiet in the hour before, lost. A route that merely went quiet is not told here.

use super::engine::{blank, runbook};
use super::evidence::{Evidence, Proof, RouteEvidence};
use super::sentence::label;
use super::{Level, Locus, Strength, Suspect, Topic, Verdict, words};
use crate::model::{Counts, Event, EventKind, NO_ROUTE, Tally, Timestamp};

/// Before a change: minutes that are looked at, and how many of them must have had requests.
const MINUTES_BEFORE: u64 = 10;
const BUSY_MINUTES: usize = 8;
/// Requests in these minutes below which nothing is said.
const ENOUGH: u64 = 60;
/// Requests that must be missed since.
const MISSED: f64 = 20.0;
/// How far back changes are looked at, in seconds: as far as counts are kept by the minute, less the time before them.
const BACK_S: u64 = 5 * 3_600;
/// Since a change: how long at least and at most is looked at, in seconds.
const LEAST_S: u64 = 10;
const MOST_S: u64 = 300;
/// By how much what one route gained may differ from what another lost.
const ALIKE: f64 = 0.3;
const HOUR_S: u64 = 3_600;
/// Changes that are looked at, the newest.
const CHANGES: usize = 5;

/// The route that lost most of its requests.
pub(super) fn verdict(now: Timestamp, evidence: &Evidence<'_>) -> Option<Verdict> {
    let changes = evidence
        .events
        .iter()
        .filter(|event| event.kind == EventKind::Config && event.at <= now)
        .filter(|event| now.since(event.at).as_secs() <= BACK_S)
        .take(CHANGES);
    let mut lost: Vec<Shift<'_>> = changes
        .flat_map(|change| shifts(now, change, evidence))
        .collect();
    lost.sort_by(|a, b| b.before_per_s.total_cmp(&a.before_per_s));
    let first = lost.first()?;
    let others = match lost.len() - 1 {
        0 => String::new(),
        1 => format!(" and {}", lost[1].route.id),
        more => format!(" and {more} more routes"),
    };
    let route = first.route;
    let gone = match first.to.as_deref() {
        Some(to) => format!("they go to {to}"),
        None => "they match no route and are answered 404".to_owned(),
    };
    let explain = first.proof.as_ref().map_or_else(
        || "`vestibule explain` with one of its URLs".to_owned(),
        |proof| format!("`vestibule explain {}`", proof.request),
    );
    let next_step = format!(
        "run {explain}, and revert the configuration applied at {} if {} should take it",
        words::time(first.change.at, now),
        route.id
    );
    let began = Timestamp::from_secs(first.onset_secs);
    let suspect = first.suspect();
    let happened = words::event(first.change, now);
    let when = match suspect.before_onset_s {
        0 => "as it began".to_owned(),
        before => format!("{} before", words::duration(before)),
    };
    let owner = match route.owner {
        Some(owner) => format!(" (owner {})", words::plain(owner)),
        None => String::new(),
    };
    Some(Verdict {
        topic: Topic::Misroute,
        side: Locus::Edge,
        route: Some(route.id.to_owned()),
        routes: lost.iter().map(|shift| shift.route.id.to_owned()).collect(),
        onset: Some(began),
        suspect: Some(suspect),
        runbook: runbook(route),
        text: format!(
            "{}: edge, not upstream: {}{others} gets none of its requests any more ({} before) since {}: {gone}; suspect {happened}, {when}; no budget pays for it; {next_step}{owner}",
            label(Level::Warn),
            route.id,
            words::per_second(first.before_per_s),
            words::time(began, now),
        ),
        next_step,
        ..blank(Level::Warn)
    })
}

struct Shift<'a> {
    route: &'a RouteEvidence<'a>,
    change: &'a Event,
    /// Who gets them; `None`: no route.
    to: Option<String>,
    before_per_s: f64,
    /// Requests in the minutes before, and since.
    requests: (u64, u64),
    onset_secs: u64,
    proof: Option<Proof>,
}

impl Shift<'_> {
    fn suspect(&self) -> Suspect {
        let before_onset_s = self.onset_secs.saturating_sub(self.change.at.as_secs());
        let tally = |good| Tally { good, bad: 0 };
        Suspect {
            event: self.change.clone(),
            before_onset_s,
            strength: Strength::Strong,
            why: format!(
                "{} requests in the ten minutes before it, {} since",
                self.requests.0, self.requests.1
            ),
            before: tally(self.requests.0),
            since: tally(self.requests.1),
        }
    }
}

/// Routes that are said to have lost their requests by one change; more are no shadowed route but another matter.
const MOST_LOST: usize = 4;

/// The routes that lost their requests by `change`.
fn shifts<'a>(now: Timestamp, change: &'a Event, evidence: &'a Evidence<'_>) -> Vec<Shift<'a>> {
    let (now_s, at) = (now.as_secs(), change.at.as_secs());
    // The second of the change and the next belong to both.
    let from = (at + 2).max((now_s + 1).saturating_sub(MOST_S));
    let since_s = (now_s + 1).saturating_sub(from);
    if since_s < LEAST_S {
        return Vec::new();
    }
    let until = at - at % 60;
    let begin = until.saturating_sub(MINUTES_BEFORE * 60);
    let before_s = (until - begin).max(1) as f64;
    let before = |id: &str| -> (usize, u64) {
        let minutes = (evidence.minutes)(id, begin..until);
        let sum = minutes.iter().map(|(_, counts)| counts.requests()).sum();
        (minutes.len(), sum)
    };
    let since = |id: &str| -> u64 {
        let seconds = (evidence.seconds)(id, from..now_s + 1);
        seconds.iter().map(|(_, counts)| counts.requests()).sum()
    };
    let known: Vec<(&RouteEvidence<'_>, usize, u64)> = evidence
        .routes
        .iter()
        .map(|route| {
            let (minutes, requests) = before(route.id);
            (route, minutes, requests)
        })
        .collect();
    let all: u64 = known.iter().map(|(_, _, requests)| requests).sum();
    // When all traffic fades, each route may.
    let fades = if all == 0 {
        1.0
    } else {
        let rate = evidence.edge.requests() as f64 / 60.0;
        (rate / (all as f64 / before_s)).min(1.0)
    };
    let expected = |requests: u64| requests as f64 / before_s * fades * since_s as f64;
    let lost = known.iter().filter(|(route, minutes, requests)| {
        // The last minute is at hand; only who lost by it is looked at closer.
        route.id != NO_ROUTE
            && *minutes >= BUSY_MINUTES
            && *requests >= ENOUGH
            && expected(*requests) >= MISSED
            && since(route.id) as f64 * 10.0 <= expected(*requests)
    });
    // For each of them the whole table is looked through.
    lost.take(MOST_LOST)
        .filter_map(|(route, _, requests)| {
            let got = since(route.id);
            let missed = expected(*requests) - got as f64;
            let proof = (evidence.proof)(route.id);
            let grown = known.iter().filter(|(other, _, _)| other.id != route.id);
            let grown = grown.map(|(other, _, requests)| {
                let gain = since(other.id) as f64 - expected(*requests);
                (other.id, gain)
            });
            // The one that grew by just as much, if this one was never quiet in the hour before: a job that ends is none.
            let grown = grown.min_by(|a, b| (a.1 - missed).abs().total_cmp(&(b.1 - missed).abs()));
            let is_same = |gain: f64| (gain - missed).abs() <= missed * ALIKE;
            let hour = (evidence.minutes)(route.id, until.saturating_sub(HOUR_S)..until);
            let grown =
                grown.filter(|(_, gain)| is_same(*gain) && hour.len() as u64 * 60 >= HOUR_S);
            let named = |id: &str| (id != NO_ROUTE).then(|| id.to_owned());
            let to = match (&proof, grown) {
                (Some(proof), _) if proof.taken_by.as_deref() != Some(route.id) => {
                    proof.taken_by.clone()
                }
                (_, Some((id, _))) => named(id),
                (_, None) => return None,
            };
            Some(Shift {
                route,
                change,
                to,
                before_per_s: *requests as f64 / before_s,
                requests: (*requests, got),
                onset_secs: last_busy(route.id, at, *requests as f64 / before_s, evidence)
                    .unwrap_or(at),
                proof,
            })
        })
        .collect()
}

/// The second after the last one around a change at `at` in which a route got its usual requests; `None` when it is not
/// known to the second.
fn last_busy(id: &str, at: u64, usual_per_s: f64, evidence: &Evidence<'_>) -> Option<u64> {
    /// Requests that were under way count when they end.
    const AFTER_S: u64 = 30;
    let seconds = (evidence.seconds)(id, at.saturating_sub(60)..at + AFTER_S);
    let busy = |counts: &Counts| counts.requests() as f64 * 2.0 >= usual_per_s;
    let (last, _) = seconds.iter().rfind(|(_, counts)| busy(counts))?;
    Some(last + 1)
}
