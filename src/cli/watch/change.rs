//! What differs between two snapshots that a person should hear of. Numbers that merely move are no change.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use crate::model::{Event, EventKind, Timestamp};
use crate::slo::policy::Tier;
use crate::snapshot::{AlertView, Degradation, SloView, Snapshot};
use crate::triage::Verdict;
use crate::tui::fmt;

/// Something that changed, or how it stands at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// When it was seen, or happened.
    pub(super) at: Timestamp,
    /// `verdict`, `alert`, `slo`, `degraded`, `event` or `connection`.
    pub(super) kind: &'static str,
    /// What it is about; empty when about everything.
    pub(super) about: String,
    /// How that stands now, in one word.
    pub(super) state: String,
    /// The same as a sentence. May hold untrusted text.
    pub(super) text: String,
}

impl Change {
    pub(super) fn new(
        at: Timestamp,
        kind: &'static str,
        about: &str,
        state: &str,
        text: String,
    ) -> Self {
        Self {
            at,
            kind,
            about: about.to_owned(),
            state: state.to_owned(),
            text,
        }
    }
}

/// How things stand at first: the verdicts, and what is not as it should be.
pub(super) fn standing(now: &Snapshot) -> Vec<Change> {
    let at = now.at;
    let others = now.other_verdicts.iter();
    std::iter::once(verdict(at, &now.verdict, ""))
        .chain(others.map(|other| verdict(at, other, "also ")))
        .chain(now.degraded.iter().map(|it| degraded(at, it)))
        .chain(now.alerts.iter().map(|it| alert(at, it)))
        .collect()
}

/// What changed between two snapshots.
pub(super) fn changes(before: &Snapshot, now: &Snapshot) -> Vec<Change> {
    let at = now.at;
    // What happened comes before what it led to.
    let mut told = events(before, now);
    told.extend(parts_degraded(before, now));
    told.extend(slos(before, now));
    told.extend(alerts(before, now));
    if sameness(&before.verdict) != sameness(&now.verdict) {
        told.push(verdict(at, &now.verdict, ""));
    }
    let known: HashSet<_> = before.other_verdicts.iter().map(sameness).collect();
    let new = now.other_verdicts.iter();
    let new = new.filter(|other| !known.contains(&sameness(other)));
    told.extend(new.map(|other| verdict(at, other, "also ")));
    let still: HashSet<_> = std::iter::once(&now.verdict)
        .chain(&now.other_verdicts)
        .map(sameness)
        .collect();
    let over = before.other_verdicts.iter();
    let over = over.filter(|other| !still.contains(&sameness(other)));
    told.extend(over.map(|other| verdict(at, other, "over: ")));
    told
}

/// What makes a verdict another one. Its suspect is a part of it; its numbers are not.
fn sameness(verdict: &Verdict) -> impl Eq + Hash + '_ {
    let suspect = verdict.suspect.as_ref();
    (
        verdict.severity,
        verdict.topic as u8,
        verdict.side,
        verdict.route.as_deref(),
        verdict.slo.as_deref(),
        suspect.map(|it| (it.event.at, it.event.text.as_str())),
    )
}

fn verdict(at: Timestamp, verdict: &Verdict, also: &str) -> Change {
    let route = verdict.route.as_deref().unwrap_or_default();
    let text = format!("{also}{}", verdict.text);
    Change::new(at, "verdict", route, verdict.severity.as_str(), text)
}

/// Events that were not there, the oldest first. Alerts are told by their states.
fn events(before: &Snapshot, now: &Snapshot) -> Vec<Change> {
    let key = |event: &Event| (event.at, event.kind, event.text.clone());
    let known: HashSet<_> = before.events.iter().map(key).collect();
    let new = now.events.iter().rev();
    let new = new.filter(|it| it.kind != EventKind::Alert && !known.contains(&key(it)));
    new.map(|event| {
        let (kind, scope) = (event.kind.as_str(), &event.scope);
        let about = [&scope.route, &scope.slo, &scope.endpoint, &scope.upstream];
        let about = about.into_iter().flatten().next();
        let text = format!("{kind}: {}", event.text);
        let about = about.map(String::as_str).unwrap_or_default();
        Change::new(event.at, "event", about, kind, text)
    })
    .collect()
}

fn parts_degraded(before: &Snapshot, now: &Snapshot) -> Vec<Change> {
    let parts = |snapshot: &Snapshot| -> HashSet<String> {
        snapshot.degraded.iter().map(|it| it.part.clone()).collect()
    };
    let (old, new) = (parts(before), parts(now));
    let began = now.degraded.iter().filter(|it| !old.contains(&it.part));
    let ended = before.degraded.iter().filter(|it| !new.contains(&it.part));
    let ended = ended.map(|it| {
        let text = format!("{} works again", it.part);
        Change::new(now.at, "degraded", &it.part, "ok", text)
    });
    began.map(|it| degraded(now.at, it)).chain(ended).collect()
}

fn degraded(at: Timestamp, it: &Degradation) -> Change {
    let text = format!("DEGRADED {}: {}", it.part, it.text);
    Change::new(at, "degraded", &it.part, "degraded", text)
}

fn slos(before: &Snapshot, now: &Snapshot) -> Vec<Change> {
    let known: HashMap<&str, &SloView> = before.slos.iter().map(|it| (&*it.id, it)).collect();
    let changed = now.slos.iter().filter_map(|slo| {
        let was = known.get(slo.id.as_str())?.state;
        (was != slo.state).then(|| {
            let left = fmt::or_none(slo.expected_remaining_ratio, fmt::remaining);
            let (is, was) = (slo.state.as_str(), was.as_str());
            let text = format!("SLO {} {is}, was {was}, {left} of its budget left", slo.id);
            Change::new(now.at, "slo", &slo.id, is, text)
        })
    });
    changed.collect()
}

fn alerts(before: &Snapshot, now: &Snapshot) -> Vec<Change> {
    let known: HashMap<&str, &AlertView> = before.alerts.iter().map(|it| (&*it.id, it)).collect();
    let still: HashSet<&str> = now.alerts.iter().map(|it| it.id.as_str()).collect();
    let changed = now.alerts.iter().filter(|it| {
        let was = known.get(it.id.as_str());
        was.is_none_or(|was| was.state != it.state || was.silenced_by != it.silenced_by)
    });
    let gone = before.alerts.iter().filter(|it| !still.contains(&*it.id));
    let gone = gone.map(|it| {
        let text = format!("alert {} is over", named(it));
        Change::new(now.at, "alert", &it.id, "inactive", text)
    });
    changed.map(|it| alert(now.at, it)).chain(gone).collect()
}

fn alert(at: Timestamp, alert: &AlertView) -> Change {
    let state = alert.state.as_str();
    let silenced = alert.silenced_by.as_ref();
    let silenced = silenced.map_or("", |_| ", silenced");
    let why = if alert.text.is_empty() {
        String::new()
    } else {
        format!(": {}", alert.text)
    };
    let text = format!("alert {} {state}{silenced}{why}", named(alert));
    Change::new(at, "alert", &alert.id, state, text)
}

/// `checkout-avail page fast`.
fn named(alert: &AlertView) -> String {
    let word = alert.tier.map_or(alert.kind.as_str(), Tier::as_str);
    format!("{} {} {word}", alert.about, alert.severity.as_str())
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Scope;
    use crate::slo::state::SloState;
    use crate::snapshot::{ConfigView, EdgeView, ProcessView, SCHEMA, StoreView};
    use crate::triage::Level;

    /// A daemon of one SLO, all of which is well.
    pub(in crate::cli::watch) fn snapshot() -> Snapshot {
        let slo = json!({
            "id": "s", "route": "r", "sli": "availability", "objective_ppm": 999_000, "window": "30d",
            "good": 1_000, "bad": 0, "sli_ratio": 1.0, "remaining_ratio": 1.0, "expected_remaining_ratio": 1.0,
            "coverage_ratio": 1.0, "burn": {}, "time_to_empty_s": null, "state": "ok", "under_us": null,
            "counted": "", "policy": "workbook", "runbook": null,
        });
        let value = json!({
            "schema": SCHEMA, "version": "0", "instance": "edge-a", "at": "2026-11-23T14:00:00Z",
            "started_at": "2026-11-23T13:00:00Z", "counting_since": "2026-11-23T13:00:00Z", "seq": 1,
            "verdict": {
                "severity": "ok", "side": "none", "route": null, "slo": null, "onset": null, "suspect": null,
                "burn": null, "remaining_ratio": null, "time_to_empty_s": null, "bad_ratio": null, "bad_per_s": null,
                "share_of_bad": null, "fault": null, "next_step": "", "runbook": null, "text": "OK: all is well",
            },
            "other_verdicts": [], "edge": EdgeView::default(), "routes": [], "routes_total": 0, "upstreams": [],
            "slos": [slo], "alerts": [], "events": [], "degraded": [], "listeners": [],
            "config": ConfigView::default(), "process": ProcessView::default(), "store": StoreView::default(),
            "queues": [],
        });
        serde_json::from_value(value).expect("it is a snapshot")
    }

    fn told(before: &Snapshot, now: &Snapshot) -> Vec<(&'static str, String)> {
        let changes = changes(before, now).into_iter();
        changes.map(|it| (it.kind, it.text)).collect()
    }

    #[test]
    fn at_first_it_says_how_things_stand() {
        let mut now = snapshot();
        now.degraded.push(Degradation {
            part: "store".to_owned(),
            since: now.at,
            text: "the disk is full".to_owned(),
        });
        let lines: Vec<String> = standing(&now).into_iter().map(|it| it.text).collect();
        assert_eq!(
            lines,
            ["OK: all is well", "DEGRADED store: the disk is full"]
        );
    }

    #[test]
    fn what_becomes_otherwise_is_told_once_and_numbers_that_move_are_not() {
        let calm = snapshot();
        let mut moved = calm.clone();
        moved.seq += 1;
        moved.edge.now.requests += 100;
        moved.slos[0].good += 100;
        moved.verdict.text = "OK: all is well, 3 more requests".to_owned();
        assert_eq!(told(&calm, &moved), []);

        let mut wrong = calm.clone();
        wrong.verdict.severity = Level::Crit;
        wrong.verdict.route = Some("r".to_owned());
        wrong.verdict.text = "CRIT: r fails".to_owned();
        wrong.slos[0].state = SloState::Critical;
        wrong.events.push(Event {
            at: wrong.at,
            kind: EventKind::Deploy,
            scope: Scope::default(),
            text: "u 2".to_owned(),
        });
        let said = told(&calm, &wrong);
        assert_eq!(
            said,
            [
                ("event", "deploy: u 2".to_owned()),
                (
                    "slo",
                    "SLO s critical, was ok, 100% of its budget left".to_owned()
                ),
                ("verdict", "CRIT: r fails".to_owned()),
            ]
        );
        let mut later = wrong.clone();
        later.verdict.bad_ratio = Some(0.7);
        later.verdict.text = "CRIT: r fails 70%".to_owned();
        assert_eq!(told(&wrong, &later), []);
        let over = told(&later, &calm);
        assert_eq!(
            over.last(),
            Some(&("verdict", "OK: all is well".to_owned()))
        );
    }
}
