//! What is the matter besides budgets: everything that may become an alert is claimed here, once a second.

use std::collections::HashMap;
use std::time::Duration;

use super::pipeline::{Pipeline, RouteState};
use crate::model::{About, NO_ROUTE, Objective, RouteKey, Sli, Tally, Timestamp};
use crate::slo::alert::{AlertKind, Claim};
use crate::slo::outage::{LOOK_S, Outage};
use crate::slo::policy::Severity;
use crate::slo::slowdown::Slowdown;
use crate::slo::usual::{self, BUSY_MINUTES, SILENCE_S};
use crate::snapshot::Urgency;

/// An outage must last for so long: one bad instant is none, and routes' own alerts wait for it meanwhile.
const OUTAGE_LASTS: Duration = Duration::from_secs(15);
/// For so long a part may be degraded before it is worth a word: most recover by themselves.
const DEGRADED_LASTS: Duration = Duration::from_secs(300);
/// For so long after the start it is said that the process before ended in a crash.
const CRASH_SAID: Duration = Duration::from_secs(600);
/// A route that was silent for so long is not missed any more, in seconds.
const MISSED_S: u64 = 86_400;
const MINUTE_S: u64 = 60;
const RECENT_S: u64 = 300;
const HOUR_S: u64 = 3_600;

/// How an earlier process ended.
#[derive(Clone, Debug)]
pub(super) struct Crash {
    /// When this one started.
    pub(super) started_at: Timestamp,
    /// What is known of it, in one line.
    pub(super) text: String,
}

/// Everything that is the matter at `now`.
pub(super) fn claims(pipeline: &mut Pipeline, now: Timestamp) -> Vec<Claim> {
    let now_secs = now.as_secs();
    let mut claims = Vec::new();
    claims.extend(crash(pipeline, now));
    claims.extend(outage(pipeline, now_secs));
    claims.extend(certificates(pipeline));
    claims.extend(degraded(pipeline));
    let promises = promises(pipeline);
    let places: Vec<usize> = (0..pipeline.routes.len()).collect();
    for place in places {
        let id = pipeline
            .directory
            .route_id(RouteKey(place as u32))
            .to_owned();
        let state = &mut pipeline.routes[place];
        if !state.configured || id == NO_ROUTE {
            state.silent_since = None;
            continue;
        }
        let promise = promises.get(&id);
        claims.extend(surge(&id, state, promise, now_secs));
        claims.extend(silence(&id, state, promise, now_secs));
        let slowdown = pipeline.slower.get(&id);
        claims.extend(slowdown.map(|found| slower(&id, *found, promise)));
    }
    claims
}

/// What is promised of a route's availability: the strictest objective, and where to read on.
type Promise = (Objective, Option<String>);

fn promises(pipeline: &Pipeline) -> HashMap<String, Promise> {
    let mut promises: HashMap<String, Promise> = HashMap::new();
    for status in &pipeline.evaluation.slos {
        let slo = &status.slo;
        let (Sli::AVAILABILITY, About::Route(route)) = (slo.sli, &slo.about) else {
            continue;
        };
        let promise = (slo.objective, slo.runbook.clone());
        let known = promises
            .entry(route.clone())
            .or_insert_with(|| promise.clone());
        if slo.objective > known.0 {
            *known = promise;
        }
    }
    promises
}

fn surge(id: &str, state: &RouteState, promise: Option<&Promise>, now_secs: u64) -> Option<Claim> {
    let valid = |secs| {
        let counts = state.ring.counts_over(secs, now_secs);
        Tally {
            good: counts.good,
            bad: counts.bad,
        }
    };
    let recent = valid(RECENT_S);
    if recent.bad < usual::SURGE_FLOOR {
        return None;
    }
    let mut usually = state.hours.usual(now_secs);
    if usually.valid() == 0 {
        // A young history has no day before: the hour before will do.
        usually = valid(RECENT_S + HOUR_S) - recent;
    }
    let surges = usual::surges(recent, usually, promise.map(|(objective, _)| *objective));
    surges.then(|| Claim {
        id: format!("surge:{id}"),
        kind: AlertKind::Surge,
        severity: Severity::Page,
        about: id.to_owned(),
        route: Some(id.to_owned()),
        runbook: promise.and_then(|(_, runbook)| runbook.clone()),
        text: format!(
            "{id} fails ten times as often as usual at this hour: {} of {} requests in 5 minutes, usually {} of {}",
            recent.bad,
            recent.valid(),
            usually.bad,
            usually.valid()
        ),
        lasts: Duration::ZERO,
    })
}

fn silence(
    id: &str,
    state: &mut RouteState,
    promise: Option<&Promise>,
    now_secs: u64,
) -> Option<Claim> {
    let ring = &state.ring;
    if ring.counts_over(MINUTE_S, now_secs).requests() > 0 {
        state.silent_since = None;
        return None;
    }
    if state.silent_since.is_none() {
        // Whole minutes, and the one that goes on.
        let quiet = (now_secs + 1).saturating_sub(SILENCE_S) / MINUTE_S * MINUTE_S;
        let busy = ring.minutes(quiet.saturating_sub(BUSY_MINUTES * MINUTE_S)..quiet);
        let (minutes, requests) = busy.fold((0, 0), |(minutes, sum), (_, counts)| {
            let requests = counts.requests();
            (minutes + u64::from(requests > 0), sum + requests)
        });
        let since = ring.minutes(quiet..u64::MAX);
        let since: u64 = since.map(|(_, counts)| counts.requests()).sum();
        let covered = ring.covered_over(SILENCE_S, now_secs);
        state.silent_since = usual::is_silent(requests, minutes, since, covered).then_some(quiet);
    }
    let since = state.silent_since?;
    (now_secs.saturating_sub(since) < MISSED_S).then(|| Claim {
        id: format!("no_data:{id}"),
        kind: AlertKind::NoData,
        severity: Severity::Ticket,
        about: id.to_owned(),
        route: Some(id.to_owned()),
        runbook: promise.and_then(|(_, runbook)| runbook.clone()),
        text: format!(
            "{id} got no request since {}Z, after a busy hour: does traffic still reach this proxy?",
            Timestamp::from_secs(since).time_of_day()
        ),
        lasts: Duration::ZERO,
    })
}

fn slower(id: &str, found: Slowdown, promise: Option<&Promise>) -> Claim {
    Claim {
        id: format!("slowdown:{id}"),
        kind: AlertKind::Slowdown,
        severity: Severity::Ticket,
        about: id.to_owned(),
        route: Some(id.to_owned()),
        runbook: promise.and_then(|(_, runbook)| runbook.clone()),
        text: format!(
            "{id} grows slower by the day: 95% of its requests took {} four days ago, {} over the last day (+{}%)",
            humantime::format_duration(rounded(found.before_us)),
            humantime::format_duration(rounded(found.now_us)),
            found.percent()
        ),
        lasts: Duration::ZERO,
    }
}

/// To whole milliseconds.
const fn rounded(micros: u64) -> Duration {
    Duration::from_millis(micros.saturating_add(500) / 1_000)
}

fn outage(pipeline: &Pipeline, now_secs: u64) -> Option<Claim> {
    let routes = pipeline.routes.iter().enumerate();
    let routes = routes.filter(|(place, state)| {
        state.configured && pipeline.directory.route_id(RouteKey(*place as u32)) != NO_ROUTE
    });
    let lately = routes.map(|(_, state)| {
        let counts = state.ring.counts_over(LOOK_S, now_secs);
        Tally {
            good: counts.good,
            bad: counts.bad,
        }
    });
    let outage = Outage::of(lately, pipeline.probes.failing())?;
    Some(Claim {
        id: "outage:ingress".to_owned(),
        kind: AlertKind::Outage,
        severity: Severity::Page,
        about: "ingress".to_owned(),
        route: None,
        runbook: None,
        text: outage.text(),
        lasts: OUTAGE_LASTS,
    })
}

fn certificates(pipeline: &Pipeline) -> impl Iterator<Item = Claim> {
    pipeline.certs.alerts().into_iter().filter_map(|alert| {
        let severity = match alert.urgency {
            Urgency::Warn => return None,
            Urgency::Ticket => Severity::Ticket,
            Urgency::Page => Severity::Page,
        };
        Some(Claim {
            // A ticket that becomes a page is another alert, or nobody would be woken.
            id: format!("{}:{}", alert.id, severity.as_str()),
            kind: AlertKind::Certificate,
            severity,
            about: alert.name,
            route: None,
            runbook: None,
            text: alert.text,
            lasts: Duration::ZERO,
        })
    })
}

fn degraded(pipeline: &Pipeline) -> impl Iterator<Item = Claim> {
    pipeline.degraded.values().map(|degradation| {
        // Without its threads a proxy serves less and less, or nobody.
        let (severity, lasts) = if degradation.part == "worker" {
            (Severity::Page, Duration::ZERO)
        } else {
            (Severity::Ticket, DEGRADED_LASTS)
        };
        Claim {
            id: format!("degraded:{}", degradation.part),
            kind: AlertKind::Degraded,
            severity,
            about: degradation.part.clone(),
            route: None,
            runbook: None,
            text: format!("{}: {}", degradation.part, degradation.text),
            lasts,
        }
    })
}

fn crash(pipeline: &Pipeline, now: Timestamp) -> Option<Claim> {
    let crash = pipeline.crash.as_ref()?;
    (now.since(crash.started_at) < CRASH_SAID).then(|| Claim {
        id: "crash:vestibule".to_owned(),
        kind: AlertKind::Crash,
        severity: Severity::Page,
        about: "vestibule".to_owned(),
        route: None,
        runbook: None,
        text: crash.text.clone(),
        lasts: Duration::ZERO,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::pipeline::of;
    use crate::model::RouteSlot;
    use crate::slo::alert::AlertState;

    #[test]
    fn a_route_that_was_silent_before_a_restart_still_is_until_a_request_comes() {
        let fired = Timestamp::from_secs(1_000_019);
        let mut one = RouteSlot::default();
        one.counts.good = 1;
        let missed = |state, request_at: Option<u64>| {
            let mut pipeline = Pipeline::new(None);
            let key = pipeline.directory.route("web").unwrap();
            let route = of(&mut pipeline.routes, key.index());
            route.configured = true;
            if let Some(second) = request_at {
                route.ring.add(second, &one);
            }
            pipeline.restore_silence(&[("no_data:web".to_owned(), state, fired)]);
            let claims = claims(&mut pipeline, Timestamp::from_secs(1_003_600));
            let mut ids = claims.into_iter().map(|claim| (claim.id, claim.text));
            ids.find(|(id, _)| id == "no_data:web")
                .map(|(_, text)| text)
        };
        let text = missed(AlertState::Firing, None).unwrap();
        assert!(text.contains("since 13:37:00Z"), "{text}");
        assert!(missed(AlertState::Firing, Some(999_400)).is_some());
        assert_eq!(missed(AlertState::Firing, Some(1_000_500)), None);
        assert_eq!(missed(AlertState::Resolved, None), None);
    }
}
