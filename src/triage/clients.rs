//! What clients do wrong: no budget pays for it, and who was woken by a graph of refusals wants to hear exactly that.
//!
//! One thing looks the same and is not: requests that match no route since the configuration changed. Those are ours.

use super::engine::{RECENT, blank, ratio, runbook};
use super::evidence::{Evidence, History, RouteEvidence};
use super::onset::{self, Onset};
use super::sentence::{changed, label};
use super::{Level, Locus, Strength, Suspect, Topic, Verdict, suspect, words};
use crate::model::{Counts, EventKind, Fault, Side, Tally, Timestamp};

/// Refused requests in the last minute below which nothing is said.
const ENOUGH: u64 = 60;
/// The share of a route's requests, in tenths, from which it is said.
const TENTHS: u64 = 3;
/// How many times the usual share it must be: some routes are always full of scanners.
const UNUSUAL: f64 = 3.0;
/// How far back the usual share is looked for, in seconds.
const BACK_S: u64 = 21_600;

/// The route whose clients do most wrong, and all others that are alike.
pub(super) fn verdict(now: Timestamp, evidence: &Evidence<'_>) -> Option<Verdict> {
    let mut odd: Vec<(&RouteEvidence<'_>, Onset)> = evidence
        .routes
        .iter()
        .filter(|route| {
            let minute = route.last_minute;
            minute.excluded >= ENOUGH && minute.excluded * 10 >= minute.requests() * TENTHS
        })
        .filter_map(|route| Some((route, unusual_since(now, route, evidence)?)))
        .collect();
    odd.sort_by_key(|(route, _)| std::cmp::Reverse(route.last_minute.excluded));
    let (route, onset) = *odd.first()?;
    let detail = (evidence.detail)(route.id);
    let faults = Fault::ALL.iter().zip(detail.faults_1m);
    let (fault, _) = faults
        .filter(|(fault, count)| fault.side() == Side::Downstream && *count > 0)
        .max_by_key(|(_, count)| *count)?;
    let mut suspects = suspect::besides_health(evidence.events, route, onset).into_iter();
    let suspect = suspects.next();
    let ours = matches!(
        fault,
        Fault::NoRoute | Fault::Misdirected | Fault::NotAllowed
    ) && suspect.as_ref().is_some_and(is_close_config);
    let (level, topic, side, who) = if ours {
        let who = "edge, not clients";
        (Level::Warn, Topic::Misroute, Locus::Edge, who)
    } else {
        let who = "clients, not edge";
        (Level::Ok, Topic::Clients, Locus::Client, who)
    };
    let minute = route.last_minute;
    let others = match &odd[1..] {
        [] => String::new(),
        [(one, _)] => format!(" and {}", one.id),
        more => format!(" and {} more routes", more.len()),
    };
    let share = ratio(minute.excluded, minute.requests()).unwrap_or_default();
    let per_s = minute.excluded as f64 / route.covered_s.max(1) as f64;
    let burn = route.slos.iter().filter_map(|slo| slo.burn_over(RECENT));
    let burn = burn.max_by(f64::total_cmp);
    let burning = match burn {
        Some(burn) if burn > 1.0 => format!("burning {}", words::multiple(burn)),
        Some(_) | None => "no budget pays for it".to_owned(),
    };
    let next_step = next_step(*fault, ours, route.id);
    let least = if onset.open { "at least " } else { "" };
    let began = Timestamp::from_secs(onset.secs);
    Some(Verdict {
        topic,
        side,
        route: Some(route.id.to_owned()),
        routes: odd.iter().map(|(route, _)| route.id.to_owned()).collect(),
        onset: Some(began),
        burn,
        fault: Some(fault.as_str().to_owned()),
        runbook: runbook(route),
        text: format!(
            "{}: {who}: {}{others} {} {} ({}, {}) since {least}{}; {}{burning}; {next_step}",
            label(level),
            route.id,
            words::percent(share),
            if is_gone(*fault) {
                "given up"
            } else {
                "refused"
            },
            words::per_second(per_s),
            fault.as_str(),
            words::time(began, now),
            changed(now, Some(onset), suspect.as_ref()),
        ),
        suspect,
        further_suspects: suspects.collect(),
        next_step,
        ..blank(level)
    })
}

/// Since when more than usual is refused; `None` when it is not more than usual.
fn unusual_since(
    now: Timestamp,
    route: &RouteEvidence<'_>,
    evidence: &Evidence<'_>,
) -> Option<Onset> {
    let range = now.as_secs().saturating_sub(BACK_S)..now.as_secs() + 1;
    let tally = |(start, counts): (u64, Counts)| {
        let tally = Tally {
            good: counts.valid(),
            bad: counts.excluded,
        };
        (start, tally)
    };
    let list = |counts: Vec<(u64, Counts)>| counts.into_iter().map(tally).collect();
    let history = History {
        seconds: list((evidence.seconds)(route.id, range.clone())),
        minutes: list((evidence.minutes)(route.id, range)),
    };
    let minute = route.last_minute;
    let share = ratio(minute.excluded, minute.requests())?;
    let is_unusual = onset::usual(&history.minutes) * UNUSUAL <= share;
    is_unusual
        .then(|| onset::find(&history, now.as_secs()))
        .flatten()
}

fn is_close_config(suspect: &Suspect) -> bool {
    suspect.event.kind == EventKind::Config
        && (suspect.strength == Strength::Strong || suspect.before_onset_s <= 60)
}

/// Whether the client went away, rather than having been refused.
const fn is_gone(fault: Fault) -> bool {
    matches!(fault, Fault::ClientDisconnect | Fault::ClientStalled)
}

fn next_step(fault: Fault, ours: bool, route: &str) -> String {
    if ours {
        return "ask `vestibule explain` about a refused URL of the access log, and revert the configuration if in doubt"
            .to_owned();
    }
    match fault {
        Fault::RateLimited => {
            format!("nothing to mend; see in the access log whom the rate limit of {route} meets")
        }
        fault if is_gone(fault) => {
            format!("nothing to mend; compare clients' timeouts with how long {route} takes")
        }
        _ => "nothing to mend; see in the access log who sends this, and limit or block it if it costs too much".to_owned(),
    }
}
