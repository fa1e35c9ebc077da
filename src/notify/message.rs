//! What is written to each kind of receiver.

use std::time::Duration;

use http::Uri;
use serde_json::{Map, Value, json};

use super::ledger::{Ledger, Notice, Status};
use super::{Kind, Receiver};
use crate::generate::{WATCHDOG, alertname};
use crate::model::Timestamp;
use crate::slo::alert::AlertKind;
use crate::slo::policy::{Severity, Tier};
use crate::snapshot::Snapshot;

/// How often Alertmanager is reminded of what fires.
pub(super) const REMIND: Duration = Duration::from_secs(60);
/// It takes what it is not reminded of for ended after this long: four reminders may be lost.
const FORGETS: Duration = Duration::from_secs(300);

/// Version of the webhook's JSON. Fields are added, never renamed.
const SCHEMA: u32 = 1;

/// Where a receiver's messages go. Alertmanager may be named by its root.
pub(super) fn url(receiver: &Receiver) -> Uri {
    let url = &receiver.url;
    if receiver.kind != Kind::Alertmanager || url.path().ends_with("/alerts") {
        return url.clone();
    }
    let mut parts = url.clone().into_parts();
    let path = format!("{}/api/v2/alerts", url.path().trim_end_matches('/'));
    parts.path_and_query = path.parse().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| url.clone())
}

/// The messages that tell `notices`, each to be sent in turn.
pub(super) fn messages(
    receiver: &Receiver,
    snapshot: &Snapshot,
    known: &Ledger,
    notices: &[Notice],
) -> Vec<Vec<u8>> {
    match receiver.kind {
        Kind::Alertmanager => {
            // What changes first, then what it is to be reminded of.
            let told = |notice: &&Notice| !notices.iter().any(|new| new.id == notice.id);
            let all = notices.iter().chain(known.firing().filter(told));
            let alerts = all.map(|notice| alertmanager(notice, &snapshot.instance, snapshot.at));
            let watchdog = receiver.watchdog.then(|| watchdog(snapshot));
            vec![bytes(&Value::Array(alerts.chain(watchdog).collect()))]
        }
        Kind::Webhook => {
            // Whatever arrives shows that alerting works; without news, a message says so.
            let watchdog = (receiver.watchdog && notices.is_empty()).then(|| {
                json!({
                    "schema": SCHEMA,
                    "status": "watchdog",
                    "instance": snapshot.instance,
                    "at": snapshot.at,
                    "text": ALIVE,
                })
            });
            let news = notices.iter().map(|notice| webhook(notice, snapshot));
            news.chain(watchdog)
                .map(|message| bytes(&message))
                .collect()
        }
        Kind::Slack => notices
            .iter()
            .map(|notice| bytes(&json!({ "text": slack(notice, &snapshot.instance) })))
            .collect(),
    }
}

/// What a watchdog says.
const ALIVE: &str = "Alerting works.";

/// The alert that always fires, as the generated rules have it.
fn watchdog(snapshot: &Snapshot) -> Value {
    json!({
        "labels": { "alertname": WATCHDOG, "severity": "none", "instance": snapshot.instance },
        "annotations": { "summary": ALIVE },
        "startsAt": snapshot.started_at.to_string(),
        "endsAt": snapshot.at.plus(FORGETS).to_string(),
    })
}

/// A message about nothing.
pub(super) fn test(receiver: &Receiver, instance: &str, now: Timestamp) -> Vec<u8> {
    let text = format!("A test by {instance}: nothing is wrong, and messages arrive.");
    bytes(&match receiver.kind {
        Kind::Alertmanager => json!([{
            "labels": { "alertname": "VestibuleTest", "severity": "none", "instance": instance },
            "annotations": { "summary": text },
            "startsAt": now.to_string(),
            "endsAt": now.plus(REMIND).to_string(),
        }]),
        Kind::Webhook => {
            json!({ "schema": SCHEMA, "status": "test", "instance": instance, "at": now, "text": text })
        }
        Kind::Slack => json!({ "text": text }),
    })
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("values of maps with texts for keys can be written")
}

/// One alert of Alertmanager's API v2. Its labels are those of the generated rules, so that both ways of alerting are
/// routed, grouped and silenced alike.
fn alertmanager(notice: &Notice, instance: &str, now: Timestamp) -> Value {
    let severity = match notice.severity {
        Severity::Page => "critical",
        Severity::Ticket => "warning",
    };
    // The generated rules name what they are about by these labels.
    let (name, part) = match notice.kind {
        AlertKind::Certificate => (&*notice.about, ""),
        AlertKind::Degraded => ("", &*notice.about),
        AlertKind::Burn
        | AlertKind::Surge
        | AlertKind::NoData
        | AlertKind::Slowdown
        | AlertKind::Outage
        | AlertKind::Crash => ("", ""),
    };
    let mut labels = Map::new();
    for (key, value) in [
        ("alertname", alertname(notice.kind, notice.severity)),
        ("severity", severity),
        ("slo_severity", notice.severity.as_str()),
        ("burnrate_tier", notice.tier.map_or("", Tier::as_str)),
        ("slo", &notice.slo),
        ("route", &notice.route),
        ("scope", &notice.scope),
        ("name", name),
        ("part", part),
        ("instance", instance),
        ("owner", notice.owner.as_deref().unwrap_or_default()),
    ] {
        if !value.is_empty() {
            labels.insert(key.to_owned(), value.into());
        }
    }
    let mut annotations = Map::new();
    annotations.insert("summary".to_owned(), notice.text.as_str().into());
    annotations.insert("description".to_owned(), description(notice).into());
    if let Some(runbook) = &notice.runbook {
        annotations.insert("runbook_url".to_owned(), runbook.as_str().into());
    }
    let ends = notice.until.unwrap_or_else(|| now.plus(FORGETS));
    json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": notice.since.to_string(),
        "endsAt": ends.to_string(),
    })
}

fn description(notice: &Notice) -> String {
    let Some(factor) = notice.factor else {
        return format!("{}: {}", notice.id, notice.text);
    };
    let burn =
        |rate: Option<f64>| rate.map_or_else(|| "unknown".to_owned(), |rate| format!("{rate:.1}"));
    format!(
        "{}: burn {} over the long window and {} over the short one, above {}.",
        notice.id,
        burn(notice.burn_long),
        burn(notice.burn_short),
        factor
    )
}

fn webhook(notice: &Notice, snapshot: &Snapshot) -> Value {
    json!({
        "schema": SCHEMA,
        "status": notice.status,
        "instance": snapshot.instance,
        "at": snapshot.at,
        // The same for every attempt to tell the same thing, and for nothing else.
        "dedup_key": format!("{}/{}/{}", snapshot.instance, notice.id, notice.since),
        "alert": notice,
        "verdict": {
            "severity": snapshot.verdict.severity,
            "side": snapshot.verdict.side,
            "route": snapshot.verdict.route,
            "text": snapshot.verdict.text,
        },
    })
}

fn slack(notice: &Notice, instance: &str) -> String {
    let word = match (notice.status, notice.severity) {
        (Status::Resolved, _) => ":large_green_circle: *resolved*",
        (Status::Firing, Severity::Page) => ":red_circle: *page*",
        (Status::Firing, Severity::Ticket) => ":large_orange_circle: *ticket*",
    };
    let mut text = format!("{word} `{}` {}", plain(&notice.id), plain(&notice.text));
    if let Some(runbook) = &notice.runbook {
        text += "\nrunbook: ";
        text += &plain(runbook);
    }
    text + "\n_" + &plain(instance) + "_"
}

/// Without the three characters that begin mentions and links.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver(kind: Kind, url: &str) -> Receiver {
        Receiver {
            name: "x".to_owned(),
            kind,
            url: url.parse().unwrap(),
            severities: vec![Severity::Page],
            key: None,
            token: None,
            roots: None,
            timeout: Duration::from_secs(10),
            watchdog: false,
        }
    }

    fn notice(status: Status) -> Notice {
        Notice {
            id: "s:page:fast".to_owned(),
            status,
            kind: AlertKind::Burn,
            about: "s".to_owned(),
            slo: "s".to_owned(),
            route: "<!channel>".to_owned(),
            scope: String::new(),
            owner: None,
            severity: Severity::Page,
            tier: Some(Tier::Fast),
            since: Timestamp::from_secs(1_000),
            until: (status == Status::Resolved).then(|| Timestamp::from_secs(2_000)),
            burn_long: None,
            burn_short: Some(20.0),
            factor: Some(14.4),
            runbook: None,
            text: "CRIT: <!channel> & more".to_owned(),
        }
    }

    #[test]
    fn alertmanager_may_be_named_by_its_root_or_its_endpoint() {
        for (given, expected) in [
            ("http://am:9093", "http://am:9093/api/v2/alerts"),
            ("http://am:9093/", "http://am:9093/api/v2/alerts"),
            ("https://am/prefix/", "https://am/prefix/api/v2/alerts"),
            ("http://am/api/v2/alerts", "http://am/api/v2/alerts"),
        ] {
            assert_eq!(
                url(&receiver(Kind::Alertmanager, given)).to_string(),
                expected
            );
        }
        let hook = "https://hooks.example/a/b?c=d";
        assert_eq!(url(&receiver(Kind::Webhook, hook)).to_string(), hook);
    }

    #[test]
    fn a_firing_alert_outlives_lost_reminders_and_a_resolved_one_has_ended() {
        let now = Timestamp::from_secs(5_000);
        let firing = alertmanager(&notice(Status::Firing), "i", now);
        assert_eq!(firing["endsAt"], "1970-01-01T01:28:20.000Z");
        assert!(
            firing["labels"].get("owner").is_none(),
            "Alertmanager refuses empty labels"
        );
        let resolved = alertmanager(&notice(Status::Resolved), "i", now);
        assert_eq!(resolved["endsAt"], "1970-01-01T00:33:20.000Z");
    }

    #[test]
    fn a_name_cannot_call_a_whole_channel() {
        let text = slack(&notice(Status::Firing), "i");
        assert!(!text.contains('<'), "{text}");
        assert!(text.contains("&lt;!channel&gt; &amp; more"), "{text}");
    }
}
