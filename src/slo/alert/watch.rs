//! Alerts of conditions that have no error budget: whoever sees one claims it each second, and the same state machine
//! that judges budgets makes an alert of it.
//!
//! A claim that is not repeated has ended, a minute later as with budgets. Over a restart alerts keep their state by
//! their id, and wait a while for their claim to come back: certificates are looked at again only after a moment.

use std::collections::BTreeMap;
use std::time::Duration;

use super::status::{AlertKind, AlertStatus, Transition};
use super::{Alert, AlertState, Condition};
use crate::model::Timestamp;
use crate::slo::policy::Severity;

/// Something is the matter now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The alert's id, stable and unique; begins with the kind's word and a colon.
    pub id: String,
    /// What was noticed.
    pub kind: AlertKind,
    /// How loudly it is to be said.
    pub severity: Severity,
    /// What it is about, in a word.
    pub about: String,
    /// The route it is about.
    pub route: Option<String>,
    /// Where a person finds what to do.
    pub runbook: Option<String>,
    /// What is the matter, in one line.
    pub text: String,
    /// How long it must be the matter before the alert fires; pending until then.
    pub lasts: Duration,
}

/// Every alert without a budget.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    known: BTreeMap<String, Known>,
    /// Alerts of an earlier process whose claim has not come back yet.
    waiting: BTreeMap<String, (AlertState, Timestamp)>,
    waiting_since: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Known {
    alert: Alert,
    /// As it was claimed last.
    claim: Claim,
    claimed_since: Timestamp,
}

/// How long after a start a restored alert waits for its claim: longer than the five minutes over which a surge counts,
/// of which a restart leaves none.
const RETURN: Duration = Duration::from_secs(330);

/// What one evaluation came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watched {
    /// Every alert that is not inactive, by id.
    pub alerts: Vec<AlertStatus>,
    /// What changed.
    pub transitions: Vec<Transition>,
}

impl Watch {
    /// Takes in everything that is the matter at `now`. Of two claims with one id the first counts.
    pub fn evaluate(&mut self, now: Timestamp, claims: Vec<Claim>) -> Watched {
        let mut claimed: BTreeMap<String, Claim> = BTreeMap::new();
        for claim in claims {
            claimed.entry(claim.id.clone()).or_insert(claim);
        }
        self.forget_waiting(now);
        for (id, claim) in &claimed {
            if !self.known.contains_key(id) {
                let alert = match self.waiting.remove(id) {
                    Some((state, since)) => Alert::restored(state, since),
                    None => Alert::default(),
                };
                let known = Known {
                    alert,
                    claim: claim.clone(),
                    claimed_since: now,
                };
                self.known.insert(id.clone(), known);
            }
        }
        let mut watched = Watched::default();
        for (id, known) in &mut self.known {
            let claim = claimed.remove(id);
            let is_claimed = claim.is_some();
            if let Some(claim) = claim {
                known.claim = claim;
            } else {
                known.claimed_since = now;
            }
            let proven = now.since(known.claimed_since) >= known.claim.lasts;
            let condition = Condition {
                long: is_claimed,
                short: is_claimed,
                proven,
            };
            if let Some(from) = known.alert.evaluate(now, condition) {
                watched.transitions.push(known.transition(from, now));
            }
            if known.alert.state() != AlertState::Inactive {
                watched.alerts.push(known.status());
            }
        }
        self.known
            .retain(|_, known| known.alert.state() != AlertState::Inactive);
        watched
    }

    /// The alerts that are not inactive, to be kept over a restart: (id, state, since when).
    pub fn export(&self) -> Vec<(String, AlertState, Timestamp)> {
        let known = self.known.iter().map(|(id, known)| {
            let Known { alert, .. } = known;
            (id.clone(), alert.state(), alert.since())
        });
        let waiting = self.waiting.iter();
        known
            .chain(waiting.map(|(id, (state, since))| (id.clone(), *state, *since)))
            .collect()
    }

    /// Takes up what [`Watch::export`] gave; ids of others are left alone. Nothing is announced again.
    pub fn restore(
        &mut self,
        states: impl IntoIterator<Item = (String, AlertState, Timestamp)>,
        now: Timestamp,
    ) {
        let is_ours = |id: &str| {
            let kinds = AlertKind::ALL.into_iter();
            let mut others = kinds.filter(|kind| *kind != AlertKind::Burn);
            id.split_once(':')
                .is_some_and(|(word, _)| others.any(|kind| kind.as_str() == word))
        };
        self.waiting = states
            .into_iter()
            .filter(|(id, state, _)| *state == AlertState::Firing && is_ours(id))
            .map(|(id, state, since)| (id, (state, since)))
            .collect();
        self.waiting_since = Some(now);
    }

    fn forget_waiting(&mut self, now: Timestamp) {
        let is_over = |since: Timestamp| now.since(since) >= RETURN || now < since;
        if self.waiting_since.is_none_or(is_over) {
            self.waiting.clear();
        }
    }
}

impl Known {
    fn status(&self) -> AlertStatus {
        let Claim {
            id,
            kind,
            severity,
            about,
            route,
            runbook,
            text,
            lasts: _,
        } = self.claim.clone();
        AlertStatus {
            id,
            kind,
            severity,
            state: self.alert.state(),
            since: self.alert.since(),
            about,
            slo: None,
            route,
            scope: None,
            burn: None,
            runbook,
            text,
        }
    }

    fn transition(&self, from: AlertState, at: Timestamp) -> Transition {
        let Claim {
            id,
            kind,
            severity,
            route,
            runbook,
            text,
            ..
        } = self.claim.clone();
        let (word, loud) = (kind.as_str().replace('_', " "), severity.as_str());
        let to = self.alert.state();
        let text = match to {
            AlertState::Firing => format!("{word} fires ({loud}): {text}"),
            AlertState::Pending => format!("{word} is pending ({loud}): {text}"),
            AlertState::Resolved => format!("{word} resolved ({loud}), it was: {text}"),
            AlertState::Inactive => format!("{word} is over ({loud}), it was: {text}"),
        };
        Transition {
            alert: id,
            kind,
            slo: None,
            route,
            severity,
            tier: None,
            from,
            to,
            at,
            burn_long: None,
            burn_short: None,
            runbook,
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(id: &str, lasts_s: u64) -> Claim {
        Claim {
            id: id.to_owned(),
            kind: AlertKind::Certificate,
            severity: Severity::Page,
            about: "shop".to_owned(),
            route: None,
            runbook: None,
            text: "ends soon".to_owned(),
            lasts: Duration::from_secs(lasts_s),
        }
    }

    fn run(
        watch: &mut Watch,
        seconds: std::ops::Range<u64>,
        claims: &[Claim],
    ) -> Vec<(u64, AlertState)> {
        let mut changes = Vec::new();
        for second in seconds {
            let watched = watch.evaluate(Timestamp::from_secs(second), claims.to_vec());
            changes.extend(watched.transitions.iter().map(|change| (second, change.to)));
        }
        changes
    }

    #[test]
    fn a_claim_fires_once_and_ends_a_minute_after_it_was_last_made() {
        let mut watch = Watch::default();
        let claims = [claim("certificate:a", 0), claim("certificate:a", 0)];
        assert_eq!(run(&mut watch, 0..100, &claims), [(0, AlertState::Firing)]);
        assert_eq!(
            run(&mut watch, 100..2_000, &[]),
            [(160, AlertState::Resolved), (1_060, AlertState::Inactive)]
        );
        assert!(watch.known.is_empty());
    }

    #[test]
    fn what_must_last_is_pending_first_and_what_does_not_last_never_fires() {
        let mut watch = Watch::default();
        let claims = [claim("degraded:store", 300)];
        assert_eq!(run(&mut watch, 0..299, &claims), [(0, AlertState::Pending)]);
        assert_eq!(
            run(&mut watch, 299..310, &[]),
            [(299, AlertState::Inactive)]
        );
        assert_eq!(
            run(&mut watch, 400..800, &claims),
            [(400, AlertState::Pending), (700, AlertState::Firing)]
        );
    }

    #[test]
    fn a_restart_neither_repeats_an_alert_nor_keeps_one_for_ever() {
        let mut watch = Watch::default();
        run(&mut watch, 0..10, &[claim("certificate:a", 0)]);
        let states = watch.export();
        assert_eq!(states.len(), 1);
        let mut next = Watch::default();
        let foreign = (
            "shop:page:fast".to_owned(),
            AlertState::Firing,
            Timestamp::default(),
        );
        next.restore(
            states.into_iter().chain([foreign]),
            Timestamp::from_secs(20),
        );
        assert_eq!(run(&mut next, 20..60, &[]), []);
        assert_eq!(next.export().len(), 1);
        assert_eq!(run(&mut next, 60..90, &[claim("certificate:a", 0)]), []);
        let mut late = Watch::default();
        late.restore(next.export(), Timestamp::from_secs(100));
        run(&mut late, 100..430, &[]);
        assert_eq!(late.export().len(), 1);
        run(&mut late, 430..431, &[]);
        assert_eq!(late.export(), []);
    }
}
