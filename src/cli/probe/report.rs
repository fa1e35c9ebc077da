//! Results of probes, for people and for the programs that read them.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::model::{ProbePhase, ProbeRun, StepRun, ViewRun};
use crate::probe::definition::Definition;
use crate::snapshot::ProbeSlotView;
use crate::triage::placing::{Placing, place};
use crate::tui::fmt;

/// A probe, and how it went.
#[derive(Debug)]
pub(super) struct Finished {
    name: String,
    target: String,
    /// `None`: it is paused.
    pub(super) run: Option<ProbeRun>,
}

impl Finished {
    pub(super) fn new(definition: &Definition) -> Self {
        Self {
            name: definition.name.clone(),
            target: definition.target.to_string(),
            run: None,
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.failure.is_some())
    }

    fn word(&self) -> &'static str {
        match &self.run {
            None => "paused",
            Some(run) if run.failure.is_some() => "FAIL",
            Some(_) => "ok",
        }
    }

    /// The reason and the detail of a failure, or what is to be said of a success.
    fn explanation(&self) -> String {
        let Some(run) = &self.run else {
            return String::new();
        };
        let detail = fmt::visible(&run.detail);
        let placing = place(run, &[]).filter(|_| !run.views.is_empty());
        match (run.failure, placing) {
            (Some(_), Some(Placing { place, why, .. })) => {
                format!("placed at {}: {}", place.as_str(), fmt::visible(&why))
            }
            (Some(failure), None) => format!("{}: {detail}", failure.as_str()),
            (None, _) => detail.into_owned(),
        }
    }
}

/// A line for each probe, and how many went how.
pub(super) fn text(finished: &[Finished]) -> String {
    let width = finished.iter().map(|it| it.name.len()).max().unwrap_or(0);
    let wide = finished.iter().map(|it| it.target.len()).max().unwrap_or(0);
    let mut text = String::new();
    for probe in finished {
        let took = probe.run.as_ref().map_or_else(String::new, |run| {
            let phases: String = phases(run).fold(String::new(), |text, (phase, us)| {
                format!("{text}  {} {}", phase.as_str(), millis(us))
            });
            format!("{:>9} ms{phases}", millis(run.duration_us))
        });
        put(
            &mut text,
            format_args!(
                "{:<6}  {:<width$}  {:<wide$}{took}\n",
                probe.word(),
                probe.name,
                probe.target
            ),
        );
        for step in probe.run.iter().flat_map(|run| &run.steps) {
            put(
                &mut text,
                format_args!("        {:<width$}  {}\n", "", line(step)),
            );
        }
        for view in probe.run.iter().flat_map(|run| &run.views) {
            put(
                &mut text,
                format_args!("        {:<width$}  {}\n", "", seen(view)),
            );
        }
        let explanation = probe.explanation();
        if !explanation.is_empty() {
            put(
                &mut text,
                format_args!("        {:<width$}  {explanation}\n", ""),
            );
        }
    }
    let (ok, failed, paused) = counts(finished);
    put(&mut text, format_args!("{ok} ok, {failed} failed"));
    if paused > 0 {
        put(&mut text, format_args!(", {paused} paused"));
    }
    text.push('\n');
    text
}

/// How a step of a journey went.
fn line(step: &StepRun) -> String {
    let Some(us) = step.duration_us else {
        return format!("-     {}: left out, nothing to clean up after", step.name);
    };
    let word = if step.failure.is_some() { "FAIL" } else { "ok" };
    let status = step
        .status
        .map_or_else(String::new, |status| format!("  {status}"));
    format!("{word:<4}  {}{status}  {} ms", step.name, millis(us))
}

/// What was seen from another vantage.
fn seen(view: &ViewRun) -> String {
    let word = if view.failure.is_some() { "FAIL" } else { "ok" };
    let status = view
        .status
        .map_or_else(String::new, |status| format!("  {status}"));
    let why = view.failure.map_or_else(String::new, |failure| {
        format!("  {}: {}", failure.as_str(), fmt::visible(&view.detail))
    });
    let (vantage, at) = (view.vantage.as_str(), fmt::visible(&view.at));
    let took = millis(view.duration_us);
    format!("{word:<4}  {vantage:<8}  {at}{status}  {took} ms{why}")
}

/// Everything, as JSON.
pub(super) fn json(finished: &[Finished]) -> String {
    let probes: Vec<Value> = finished
        .iter()
        .map(|probe| {
            let mut value = json!({
                "name": probe.name,
                "target": probe.target,
                "outcome": match &probe.run {
                    None => "missed",
                    Some(run) => run.outcome().as_str(),
                },
            });
            if let (Value::Object(value), Some(run)) = (&mut value, &probe.run) {
                value.extend(run_json(run));
            }
            value
        })
        .collect();
    let (ok, failed, paused) = counts(finished);
    let whole = json!({ "ok": ok, "failed": failed, "paused": paused, "probes": probes });
    format!("{whole:#}\n")
}

/// What a run found, as the members of a JSON object.
pub(super) fn run_json(run: &ProbeRun) -> serde_json::Map<String, Value> {
    let ProbeRun {
        failure,
        detail,
        duration_us,
        phases: _,
        address,
        status,
        http_version,
        redirects,
        body_bytes,
        tls_version,
        tls_cipher,
        chain,
        encrypted,
        content_length,
        last_modified,
        verified_until,
        answer,
        serving,
        grpc_status,
        steps,
        hop_limit,
        views,
    } = run;
    let phases: serde_json::Map<String, Value> = phases(run)
        .map(|(phase, us)| (format!("{}_us", phase.as_str()), us.into()))
        .collect();
    let value = json!({
        "reason": failure,
        "detail": detail,
        "duration_us": duration_us,
        "phases": phases,
        "address": address,
        "status": status,
        "http_version": http_version,
        "redirects": redirects,
        "body_bytes": body_bytes,
        "tls_version": tls_version,
        "tls_cipher": tls_cipher,
        "chain": chain,
        "encrypted": encrypted,
        "content_length": content_length,
        "last_modified": last_modified,
        "verified_until": verified_until,
        "answer": answer,
        "serving": serving,
        "grpc_status": grpc_status,
        "hop_limit": hop_limit,
        "steps": steps,
        "views": views,
        "placing": place(run, &[]),
    });
    match value {
        Value::Object(members) => members,
        _ => serde_json::Map::new(),
    }
}

/// TAP version 14.
pub(super) fn tap(finished: &[Finished]) -> String {
    let mut text = format!("TAP version 14\n1..{}\n", finished.len());
    for (place, probe) in finished.iter().enumerate() {
        let number = place + 1;
        let not = if probe.has_failed() { "not " } else { "" };
        let skip = if probe.run.is_none() {
            " # SKIP paused"
        } else {
            ""
        };
        // `#` begins a directive.
        let target = probe.target.replace('#', "\\#");
        put(
            &mut text,
            format_args!("{not}ok {number} - {} {target}{skip}\n", probe.name),
        );
        if let Some(run) = &probe.run {
            put(
                &mut text,
                format_args!("  ---\n  duration_ms: {}\n", millis(run.duration_us)),
            );
            if let Some(failure) = run.failure {
                // A JSON string is a YAML one as well.
                let detail = Value::from(run.detail.as_str());
                put(
                    &mut text,
                    format_args!("  reason: {}\n  message: {detail}\n", failure.as_str()),
                );
            }
            text.push_str("  ...\n");
        }
    }
    text
}

/// `JUnit` XML, as CI servers read it: one suite, one case for each probe.
pub(super) fn junit(finished: &[Finished]) -> String {
    let (_, failed, paused) = counts(finished);
    let seconds = |us: u64| format!("{:.6}", us as f64 / 1e6);
    let whole: u64 = finished
        .iter()
        .filter_map(|probe| Some(probe.run.as_ref()?.duration_us))
        .sum();
    let numbers = format!(
        "tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"{paused}\" time=\"{}\"",
        finished.len(),
        seconds(whole)
    );
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {numbers}>\n  <testsuite name=\"vestibule probe\" {numbers}>\n"
    );
    for probe in finished {
        let took = probe.run.as_ref().map_or(0, |run| run.duration_us);
        put(
            &mut text,
            format_args!(
                "    <testcase name=\"{}\" classname=\"{}\" time=\"{}\"",
                escaped(&probe.name),
                escaped(&probe.target),
                seconds(took)
            ),
        );
        match &probe.run {
            None => text.push_str("><skipped message=\"paused\"/></testcase>\n"),
            Some(run) => match run.failure {
                None => text.push_str("/>\n"),
                Some(failure) => put(
                    &mut text,
                    format_args!(
                        "><failure type=\"{}\" message=\"{}\"/></testcase>\n",
                        failure.as_str(),
                        escaped(&run.detail)
                    ),
                ),
            },
        }
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

/// A line for each definition.
pub(super) fn list(definitions: &[&Definition]) -> String {
    let width = definitions
        .iter()
        .map(|it| it.name.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for probe in definitions {
        let route = probe
            .route
            .as_ref()
            .map_or_else(String::new, |route| format!("  route {route}"));
        let paused = if probe.paused { "  paused" } else { "" };
        let compared = if probe.compare { ", compared" } else { "" };
        put(
            &mut text,
            format_args!(
                "{:<width$}  every {:<5}  {}{route}{compared}{paused}\n",
                probe.name,
                humantime::format_duration(probe.every).to_string(),
                probe.target
            ),
        );
    }
    text
}

/// The definitions as JSON, without what is sent: it may hold secrets.
pub(super) fn list_json(definitions: &[&Definition]) -> String {
    let probes: Vec<Value> = definitions
        .iter()
        .map(|probe| {
            json!({
                "name": probe.name,
                "target": probe.target.to_string(),
                "every_s": probe.every.as_secs(),
                "timeout_ms": probe.manner.timeout.as_millis() as u64,
                "route": probe.route,
                "runbook": probe.runbook,
                "paused": probe.paused,
                "compare": probe.compare,
                "views": probe.views.iter().map(|view| {
                    json!({
                        "vantage": view.vantage,
                        "at": view.at,
                        "target": view.target.to_string(),
                    })
                }).collect::<Vec<_>>(),
            })
        })
        .collect();
    format!("{:#}\n", json!({ "probes": probes }))
}

/// A line for each slot.
pub(super) fn history(slots: &[ProbeSlotView]) -> String {
    let mut text = String::new();
    for slot in slots {
        let what = match (slot.duration_us, &slot.reason) {
            (Some(us), None) => format!("{:>9} ms", millis(us)),
            (Some(us), Some(reason)) => {
                format!(
                    "{:>9} ms  {reason}: {}",
                    millis(us),
                    fmt::visible(&slot.detail)
                )
            }
            (None, reason) => {
                let reason = reason.as_deref().unwrap_or_default();
                match slot.slots {
                    1 => reason.to_owned(),
                    slots => format!("{reason}, {slots} slots"),
                }
            }
        };
        put(
            &mut text,
            format_args!("{}  {:<6}  {what}\n", slot.at, slot.outcome),
        );
    }
    text
}

fn phases(run: &ProbeRun) -> impl Iterator<Item = (ProbePhase, u64)> {
    let phases = ProbePhase::ALL.iter().zip(run.phases);
    phases.filter_map(|(phase, us)| Some((*phase, us?)))
}

fn counts(finished: &[Finished]) -> (usize, usize, usize) {
    let failed = finished.iter().filter(|probe| probe.has_failed()).count();
    let paused = finished.iter().filter(|probe| probe.run.is_none()).count();
    (finished.len() - failed - paused, failed, paused)
}

fn millis(us: u64) -> String {
    format!("{:.1}", us as f64 / 1_000.0)
}

/// For XML: what it may not hold at all is replaced.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProbeFailure;

    fn finished() -> Vec<Finished> {
        let probe = |name: &str, run: Option<ProbeRun>| Finished {
            name: name.to_owned(),
            target: "http://a/?x#y&\"".to_owned(),
            run,
        };
        let ok = ProbeRun {
            duration_us: 1_500,
            ..ProbeRun::default()
        };
        let failed = ProbeRun {
            failure: Some(ProbeFailure::AssertBody),
            detail: "<b>\u{1b}[31m \"no\" # &".to_owned(),
            duration_us: 2_500_000,
            ..ProbeRun::default()
        };
        vec![
            probe("a", Some(ok)),
            probe("b", Some(failed)),
            probe("c", None),
        ]
    }

    #[test]
    fn tap_numbers_its_tests_and_quotes_what_it_tells() {
        assert_eq!(
            tap(&finished()),
            "TAP version 14\n1..3\n\
             ok 1 - a http://a/?x\\#y&\"\n  ---\n  duration_ms: 1.5\n  ...\n\
             not ok 2 - b http://a/?x\\#y&\"\n  ---\n  duration_ms: 2500.0\n  reason: assert_body\n  \
             message: \"<b>\\u001b[31m \\\"no\\\" # &\"\n  ...\n\
             ok 3 - c http://a/?x\\#y&\" # SKIP paused\n"
        );
    }

    #[test]
    fn junit_holds_no_text_that_could_be_taken_for_markup() {
        let text = junit(&finished());
        assert!(
            text.contains(
                "tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"2.501500\""
            )
        );
        assert!(text.contains("message=\"&lt;b&gt;\u{fffd}[31m &quot;no&quot; # &amp;\""));
        assert!(text.contains("<skipped message=\"paused\"/>"));
    }

    #[test]
    fn what_a_server_said_cannot_steer_a_terminal() {
        assert!(!text(&finished()).contains('\u{1b}'));
    }
}
