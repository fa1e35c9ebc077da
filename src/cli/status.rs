//! `vestibule status`: the verdict for people without a screen, and for scripts.

use std::fmt::Write as _;

use http::Method;

use super::{Exit, complain, runtime, say};
use crate::admin::client::ask;
use crate::model::Timestamp;
use crate::net::address::Address;
use crate::snapshot::{ExporterView, Snapshot, Standing, Urgency};
use crate::triage::Level;
use crate::tui::fmt;

pub(super) fn status(address: &Address, json: bool) -> Exit {
    let asked = match runtime() {
        Ok(runtime) => runtime.block_on(ask(address, Method::GET, "/v1/snapshot", Vec::new())),
        Err(error) => {
            complain(&error.to_string());
            return Exit::Io;
        }
    };
    let answer = match asked {
        Ok(answer) => answer,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Unavailable;
        }
    };
    let snapshot: Snapshot = match serde_json::from_slice(&answer) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            complain(&format!(
                "the answer of {address} cannot be read, is it of another version? {error}"
            ));
            return Exit::Unavailable;
        }
    };
    if json {
        say(&String::from_utf8_lossy(&answer));
    } else {
        say(&lines(&snapshot));
    }
    let certificates = snapshot.certificate_alerts.iter();
    let certificates = certificates.map(|alert| alert.urgency).max();
    match snapshot.verdict.severity {
        // A certificate that fails clients fails them before they send a request that could be counted.
        _ if certificates == Some(Urgency::Page) => Exit::Crit,
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
    for alert in &snapshot.alerts {
        let (severity, tier, state) = (
            alert.severity.as_str(),
            alert.tier.as_str(),
            alert.state.as_str(),
        );
        put(
            &mut text,
            format_args!(
                "alert {} {severity} {tier} {state} since {}\n",
                alert.slo, alert.since
            ),
        );
    }
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
    for alert in &snapshot.certificate_alerts {
        let (urgency, since) = (alert.urgency.as_str(), alert.since);
        put(
            &mut text,
            format_args!(
                "certificate {urgency} since {since}: {}\n",
                fmt::visible(&alert.text)
            ),
        );
    }
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
        put(
            &mut text,
            format_args!("probe {} fails{since}, {reason}: {detail}\n", probe.name),
        );
    }
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
