//! `vestibule status`: the verdict for people without a screen, and for scripts.

use std::fmt::Write as _;

use bytes::Bytes;

use super::daemon::fetch;
use super::{Exit, say};
use crate::model::Timestamp;
use crate::net::address::Address;
use crate::slo::alert::AlertKind;
use crate::slo::policy::Tier;
use crate::snapshot::{ExporterView, Snapshot, Standing, Urgency};
use crate::triage::{Level, Locus, answers};
use crate::tui::fmt;

pub(super) fn status(address: &Address, json: bool) -> Exit {
    let (answer, snapshot): (Bytes, Snapshot) = match fetch(address, "/v1/snapshot") {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    if json {
        say(&String::from_utf8_lossy(&answer));
    } else {
        say(&lines(&snapshot));
    }
    exit(snapshot.verdict.severity)
}

/// The exit code that says how bad things are.
pub(super) const fn exit(severity: Level) -> Exit {
    match severity {
        Level::Ok => Exit::Ok,
        Level::Warn => Exit::Warn,
        Level::Crit => Exit::Crit,
        Level::Unknown => Exit::Unknown,
    }
}

/// Routes shown; the rest is counted.
const ROUTES: usize = 8;
/// Changes shown.
const EVENTS: usize = 3;

fn lines(snapshot: &Snapshot) -> String {
    let mut text = format!("{}\n", fmt::visible(&snapshot.verdict.text));
    if snapshot.verdict.side != Locus::None {
        let said = answers::of(&snapshot.verdict, snapshot.at);
        for (question, answer) in answers::QUESTIONS.iter().zip(said) {
            put(
                &mut text,
                format_args!("  {question:<8}  {}\n", fmt::visible(&answer)),
            );
        }
    }
    for verdict in &snapshot.other_verdicts {
        put(
            &mut text,
            format_args!("also {}\n", fmt::visible(&verdict.text)),
        );
    }
    for degradation in &snapshot.degraded {
        put(
            &mut text,
            format_args!(
                "DEGRADED {}: {}\n",
                degradation.part,
                fmt::visible(&degradation.text)
            ),
        );
    }
    alerts(&mut text, snapshot);
    for route in snapshot
        .routes
        .iter()
        .filter(|route| route.standing != Standing::None)
        .take(ROUTES)
    {
        let now = &route.now;
        let bad = now
            .bad_ratio
            .map_or("–".to_owned(), |ratio| format!("{:.2}%", ratio * 100.0));
        let rate = now
            .rate_per_s
            .map_or("–".to_owned(), |rate| format!("{rate:.1}/s"));
        let p99 = now.p99_us.map_or("–".to_owned(), |us| {
            format!("{:.1}ms", us as f64 / 1_000.0)
        });
        put(
            &mut text,
            format_args!("route {}  {rate}  bad {bad}  p99 {p99}\n", route.id),
        );
    }
    let warnings = snapshot.certificate_alerts.iter();
    // What is worth more is among the alerts.
    for alert in warnings.filter(|alert| alert.urgency == Urgency::Warn) {
        let (urgency, since) = (alert.urgency.as_str(), alert.since);
        put(
            &mut text,
            format_args!(
                "certificate {urgency} since {since}: {}\n",
                fmt::visible(&alert.text)
            ),
        );
    }
    probes(&mut text, snapshot);
    for exporter in &snapshot.exporters {
        put(
            &mut text,
            format_args!("{}\n", export_line(exporter, snapshot)),
        );
    }
    for event in snapshot.events.iter().take(EVENTS) {
        put(
            &mut text,
            format_args!(
                "{}  {}  {}\n",
                event.at,
                event.kind.as_str(),
                fmt::visible(&event.text)
            ),
        );
    }
    text
}

/// Probes that fail, with what they see from where, and what none of them sees.
fn probes(text: &mut String, snapshot: &Snapshot) {
    for probe in snapshot
        .probes
        .iter()
        .filter(|probe| probe.standing > Standing::None)
    {
        let last = probe.last.as_ref();
        let reason = last
            .and_then(|last| last.reason.as_deref())
            .unwrap_or_default();
        let detail = last
            .map(|last| fmt::visible(&last.detail))
            .unwrap_or_default();
        let since = probe
            .failing_since
            .map_or_else(String::new, |since| format!(" since {since}"));
        let placing = probe.placing.as_ref().filter(|_| probe.compare);
        let placed = placing.map_or_else(String::new, |placing| {
            format!(", placed at {}", placing.place.as_str())
        });
        put(
            text,
            format_args!(
                "probe {} fails{since}{placed}, {reason}: {detail}\n",
                probe.name
            ),
        );
        for view in &probe.views {
            let (vantage, at) = (view.vantage.as_str(), fmt::visible(&view.at));
            let seen = view.reason.as_deref().unwrap_or("ok");
            put(text, format_args!("  {vantage:<8}  {seen}  {at}\n"));
        }
    }
    for spot in &snapshot.blind_spots {
        put(
            text,
            format_args!("blind spot: {}\n", fmt::visible(&spot.text)),
        );
    }
}

/// What fires, fired lately or is about to.
fn alerts(text: &mut String, snapshot: &Snapshot) {
    for alert in &snapshot.alerts {
        let (severity, state) = (alert.severity.as_str(), alert.state.as_str());
        let word = alert.tier.map_or(alert.kind.as_str(), Tier::as_str);
        // A budget's sentence is the verdict; of the others only the alert says what is the matter.
        let why = match alert.kind {
            AlertKind::Burn => String::new(),
            _ => format!(": {}", fmt::visible(&alert.text)),
        };
        let silence = alert.silenced_by.as_ref();
        let silence = silence.and_then(|id| snapshot.silences.iter().find(|it| it.id == *id));
        let muted = silence.map_or_else(String::new, |silence| {
            let owner = fmt::visible(&silence.owner);
            format!(" (silenced by {owner} until {})", silence.until)
        });
        put(
            text,
            format_args!(
                "alert {} {severity} {word} {state} since {}{muted}{why}\n",
                fmt::visible(&alert.about),
                alert.since
            ),
        );
    }
}

/// How a signal's export goes.
fn export_line(exporter: &ExporterView, snapshot: &Snapshot) -> String {
    let ago = |at: Timestamp| fmt::age(snapshot.at.since(at));
    let goes = match (exporter.failing_since, exporter.last_success) {
        (Some(since), _) => format!("FAILING for {}", ago(since)),
        (None, Some(at)) => format!("ok, last {} ago", ago(at)),
        (None, None) => "nothing sent yet".to_owned(),
    };
    let dropped: u64 = exporter.dropped.values().sum();
    let error = exporter
        .error
        .as_ref()
        .map_or_else(String::new, |error| format!("  {}", fmt::visible(error)));
    format!(
        "otlp {} {}  {goes}  sent {}  dropped {dropped}{error}",
        exporter.signal,
        fmt::visible(&exporter.receiver),
        exporter.sent,
    )
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string cannot fail");
}
