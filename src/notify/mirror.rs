//! Alertmanager's copies of our silences, so that its state and ours agree: it is told of every alert, and mutes those
//! that are muted here.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Uri;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::message::url;
use super::{FIRST_RETRY, LAST_RETRY, Receiver};
use crate::generate::{CERTIFICATE_ENDS, CERTIFICATE_WRONG, OUTAGE, WATCHDOG, alertname};
use crate::model::Timestamp;
use crate::slo::alert::AlertKind;
use crate::slo::policy::Severity;
use crate::slo::silence::{Label, Matcher};
use crate::snapshot::SilenceView;

/// The copies that each receiver has, by its name and by our silence's id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Mirrors(BTreeMap<String, BTreeMap<String, Mirrored>>);

/// One copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mirrored {
    /// Its id there.
    id: String,
    /// When it ends there by itself.
    until: Timestamp,
}

/// What makes a receiver's copies those of now.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Make one.
    Make {
        /// Our silence's id.
        ours: String,
        /// When it ends.
        until: Timestamp,
        /// What is asked.
        body: Value,
    },
    /// End one.
    End {
        /// Our silence's id.
        ours: String,
        /// Its id there.
        theirs: String,
    },
}

impl Mirrors {
    /// What is to be done at `receiver` so that it has `silences` and no others of ours. Copies that ended there by
    /// themselves are forgotten.
    pub(super) fn steps(
        &mut self,
        receiver: &str,
        silences: &[SilenceView],
        instance: &str,
        now: Timestamp,
    ) -> Vec<Step> {
        let known = self.0.entry(receiver.to_owned()).or_default();
        known.retain(|_, copy| now < copy.until);
        let is_wanted = |id: &String| silences.iter().any(|silence| silence.id == *id);
        let ended = known.iter().filter(|(ours, _)| !is_wanted(ours));
        let ended = ended.map(|(ours, copy)| Step::End {
            ours: ours.clone(),
            theirs: copy.id.clone(),
        });
        let missing = silences
            .iter()
            .filter(|silence| now < silence.until && !known.contains_key(&silence.id));
        let made = missing.map(|silence| Step::Make {
            ours: silence.id.clone(),
            until: silence.until,
            body: body(silence, instance),
        });
        ended.chain(made).collect()
    }

    /// Notes that a step was done; `theirs` is the id that was given to a new copy.
    pub(super) fn done(&mut self, receiver: &str, step: &Step, theirs: String) {
        let known = self.0.entry(receiver.to_owned()).or_default();
        match step {
            Step::Make { ours, until, .. } => {
                let copy = Mirrored {
                    id: theirs,
                    until: *until,
                };
                known.insert(ours.clone(), copy);
            }
            Step::End { ours, .. } => drop(known.remove(ours)),
        }
    }
}

/// Steps that failed at a receiver, which are not tried again at once.
#[derive(Debug, Default)]
pub(super) struct Postponed {
    steps: Vec<Step>,
    at: Timestamp,
    wait: Duration,
}

impl Postponed {
    /// Whether just these failed a moment ago. With a new one among them all are tried.
    pub(super) fn holds(&self, steps: &[Step], now: Timestamp) -> bool {
        self.steps == steps && self.at <= now && now.since(self.at) < self.wait
    }

    /// Some of these failed: they wait twice as long each time, and for as long as is `asked` at least.
    pub(super) fn failed(&mut self, steps: Vec<Step>, now: Timestamp, asked: Duration) {
        let wait = (self.wait * 2).clamp(FIRST_RETRY, LAST_RETRY).max(asked);
        let at = now;
        *self = Self { steps, at, wait };
    }
}

/// Where copies are made.
pub(super) fn silences(receiver: &Receiver) -> Uri {
    beside(receiver, "/silences")
}

/// Where the copy of this id is ended.
pub(super) fn silence(receiver: &Receiver, id: &str) -> Uri {
    beside(receiver, &format!("/silence/{id}"))
}

/// The resource beside the one that takes alerts.
fn beside(receiver: &Receiver, resource: &str) -> Uri {
    let alerts = url(receiver);
    let mut parts = alerts.clone().into_parts();
    let base = alerts.path().trim_end_matches("/alerts");
    parts.path_and_query = format!("{base}{resource}").parse().ok();
    Uri::from_parts(parts).unwrap_or(alerts)
}

/// As Alertmanager's API v2 has it. Only what this instance says is muted, and never what no silence mutes.
fn body(silence: &SilenceView, instance: &str) -> Value {
    let never = [OUTAGE, CERTIFICATE_ENDS, CERTIFICATE_WRONG, WATCHDOG].join("|");
    let mut matchers = vec![
        json!({ "name": "instance", "value": instance, "isRegex": false, "isEqual": true }),
        json!({ "name": "alertname", "value": never, "isRegex": true, "isEqual": false }),
    ];
    matchers.extend(silence.matchers.iter().map(matcher));
    json!({
        "matchers": matchers,
        "startsAt": silence.from.to_string(),
        "endsAt": silence.until.to_string(),
        "createdBy": silence.owner,
        "comment": format!("{} (Vestibule's silence {} at {instance})", silence.reason, silence.id),
    })
}

fn matcher(matcher: &Matcher) -> Value {
    let name = match matcher.label() {
        Label::Slo => "slo",
        Label::Route => "route",
        Label::Scope => "scope",
        Label::Owner => "owner",
        Label::Severity => "slo_severity",
        Label::Tier => "burnrate_tier",
        Label::Name => "name",
        Label::Part => "part",
        // There it is told by the alert's name.
        Label::Kind => return kinds(matcher),
    };
    let (value, is_regex) = matcher.value();
    json!({ "name": name, "value": value, "isRegex": is_regex, "isEqual": matcher.is_equal() })
}

fn kinds(matcher: &Matcher) -> Value {
    let taken = AlertKind::ALL
        .into_iter()
        .filter(|kind| matcher.takes(kind.as_str()));
    let names = taken.flat_map(|kind| {
        [Severity::Page, Severity::Ticket].map(|severity| alertname(kind, severity))
    });
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    json!({ "name": "alertname", "value": names.join("|"), "isRegex": true, "isEqual": true })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(id: &str, matchers: &[&str]) -> SilenceView {
        SilenceView {
            id: id.to_owned(),
            matchers: matchers.iter().map(|text| text.parse().unwrap()).collect(),
            owner: "ada".to_owned(),
            reason: "x".to_owned(),
            from: Timestamp::from_secs(100),
            until: Timestamp::from_secs(200),
            deploy: None,
            muted: Vec::new(),
        }
    }

    #[test]
    fn copies_follow_ours_and_are_forgotten_when_their_time_is_over() {
        let mut mirrors = Mirrors::default();
        let at = Timestamp::from_secs;
        let ours = [silence("a", &["slo=x"])];
        let steps = mirrors.steps("am", &ours, "i", at(110));
        let [step @ Step::Make { .. }] = &steps[..] else {
            panic!("{steps:?}");
        };
        mirrors.done("am", step, "theirs".to_owned());
        assert_eq!(mirrors.steps("am", &ours, "i", at(120)), []);
        let end = Step::End {
            ours: "a".to_owned(),
            theirs: "theirs".to_owned(),
        };
        assert_eq!(mirrors.steps("am", &[], "i", at(130)), [end]);
        assert_eq!(mirrors.steps("am", &[], "i", at(200)), []);
    }

    #[test]
    fn what_was_refused_waits_and_holds_up_nothing_new() {
        let at = Timestamp::from_secs;
        let step = |id: &str| Step::End {
            ours: id.to_owned(),
            theirs: "theirs".to_owned(),
        };
        let mut postponed = Postponed::default();
        assert!(!postponed.holds(&[step("a")], at(100)), "nothing failed");
        postponed.failed(vec![step("a")], at(100), Duration::ZERO);
        postponed.failed(vec![step("a")], at(101), Duration::ZERO);
        assert!(postponed.holds(&[step("a")], at(102)));
        assert!(
            !postponed.holds(&[step("a")], at(103)),
            "two seconds are over"
        );
        assert!(!postponed.holds(&[step("a"), step("b")], at(102)));
        assert!(
            !postponed.holds(&[step("a")], at(50)),
            "the clock was set back"
        );
        postponed.failed(vec![step("a")], at(103), Duration::from_secs(300));
        assert!(postponed.holds(&[step("a")], at(402)));
        postponed.failed(vec![step("a")], at(403), Duration::ZERO);
        assert!(!postponed.holds(&[step("a")], at(463)), "at most a minute");
    }

    #[test]
    fn a_copy_mutes_what_ours_mutes_and_no_outage() {
        let text = body(
            &silence("a", &["severity=ticket", "kind=burn", "route=~a|b"]),
            "edge-1",
        );
        let matchers = text["matchers"].as_array().unwrap();
        let said: Vec<String> = matchers
            .iter()
            .map(|matcher| {
                let sign = if matcher["isEqual"] == true { "=" } else { "!" };
                let tilde = if matcher["isRegex"] == true { "~" } else { "" };
                let (name, value) = (matcher["name"].as_str(), matcher["value"].as_str());
                format!("{}{sign}{tilde}{}", name.unwrap(), value.unwrap())
            })
            .collect();
        assert_eq!(
            said,
            [
                "instance=edge-1",
                "alertname!~VestibuleIngressOutage|VestibuleCertificateEnds|VestibuleCertificateWrong|VestibuleWatchdog",
                "slo_severity=ticket",
                "alertname=~VestibuleErrorBudgetBurnsFast|VestibuleErrorBudgetBurnsSlowly",
                "route=~a|b"
            ]
        );
    }
}
