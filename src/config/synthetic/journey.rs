//! Journeys: whether each step has what it needs, and what probing is told of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::built::{expectations, plain};
use crate::config::code::Code;
use crate::config::file::{CaptureTable, JourneyTable, Probe};
use crate::config::finding::{Finding, Findings, Span, did_you_mean};
use crate::config::keys::Located;
use crate::probe::definition::{
    Capture, CaptureSource, HttpRequest, JourneyStep, Manner, Target, Template,
};

pub(super) fn check(probe: &Probe, findings: &mut Findings) {
    let Some(first) = probe.steps.first() else {
        return;
    };
    if let Some(target) = &probe.target
        && !matches!(target.value, Target::Http(_))
    {
        let message = "a journey goes with `http://` and `https://` targets only";
        let finding = Finding::new(Code::Conflict, first.span.clone(), message)
            .also(target.span.clone(), "aimed at this");
        findings.add(finding);
    }
    if probe.steps.iter().all(|step| step.value.cleanup.value) {
        let message =
            "every step cleans up, and none does anything that there is to clean up after";
        findings.add(Finding::new(Code::Conflict, first.span.clone(), message));
    }
    own_request(probe, findings);
    let mut names: BTreeMap<&str, &Span> = BTreeMap::new();
    // Those that clean up come last, whatever their place in the file.
    let (cleanup, others): (Vec<_>, Vec<_>) = probe
        .steps
        .iter()
        .map(|item| &item.value)
        .partition(|step| step.cleanup.value);
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for step in others.into_iter().chain(cleanup) {
        if let Some(name) = &step.name
            && let Some(first) = names.insert(&name.value, &name.span)
        {
            let message = format!("another step of this journey is called `{}`", name.value);
            let finding = Finding::new(Code::Duplicate, name.span.clone(), message);
            findings.add(
                finding
                    .reason("again here")
                    .also(first.clone(), "first here"),
            );
        }
        values(step, &known, findings);
        limits(step, probe.manner.timeout.value, findings);
        for capture in &step.captures {
            source(&capture.value, &capture.span, findings);
            known.extend(capture.value.name.as_ref().map(|name| name.value.as_str()));
        }
    }
}

/// A journey asks for its steps, so that what its own request would be and would be answered is never looked at.
fn own_request(probe: &Probe, findings: &mut Findings) {
    let expect = &probe.manner.expect;
    let spans = [
        expect.status.first().map(|it| &it.span),
        expect.headers.first().map(|it| &it.span),
        expect.body.first().map(|it| &it.span),
        expect.body_lacks.first().map(|it| &it.span),
        expect.body_matches.first().map(|it| &it.span),
        expect.body_matches_none.first().map(|it| &it.span),
        expect.header_matches.first().map(|it| &it.span),
        expect.header_matches_none.first().map(|it| &it.span),
        expect.json_written.as_ref(),
        expect.http_version.first().map(|it| &it.span),
        expect.encrypted.as_ref().map(|it| &it.span),
        probe.manner.http.body.as_ref().map(|it| &it.span),
    ];
    for span in spans.into_iter().flatten() {
        let message =
            "this goes into a step: a journey asks for its steps instead of for its target";
        findings.add(Finding::new(Code::Conflict, span.clone(), message));
    }
}

/// Every value that a step needs was captured before.
fn values(step: &JourneyTable, known: &BTreeSet<&str>, findings: &mut Findings) {
    let headers = step
        .headers
        .iter()
        .filter_map(|header| Some((header.value.1.to_str().ok()?, &header.span)));
    let expected = step
        .expect
        .headers
        .iter()
        .map(|header| (header.value.1.as_str(), &header.span));
    let json = step
        .expect
        .json
        .iter()
        .filter_map(|it| it.value.equals.as_ref());
    let texts = step
        .target
        .iter()
        .chain(&step.body)
        .chain(&step.expect.body)
        .chain(json);
    let texts = texts.map(|text| (text.value.as_str(), &text.span));
    for (text, span) in texts.chain(headers).chain(expected) {
        let unknown = Template(text).names().find(|name| !known.contains(name));
        if let Some(name) = unknown {
            let message = format!("no earlier step captures `{name}`");
            let help = did_you_mean(name, known.iter().copied())
                .map(|meant| format!("did you mean `{{{{{meant}}}}}`?"));
            let finding = Finding::new(Code::UnknownName, span.clone(), message).maybe_help(help);
            findings.add(finding);
        }
    }
}

fn limits(step: &JourneyTable, timeout: Duration, findings: &mut Findings) {
    let expect = &step.expect;
    if let Some(under) = expect.under.as_ref().filter(|under| under.value > timeout) {
        let message = "`under` is longer than the journey's `timeout`, so it could never be broken";
        findings.add(Finding::new(Code::Conflict, under.span.clone(), message));
    }
    if let Some(span) = &expect.answer_written {
        let message = "this only goes with `dns://` targets";
        findings.add(Finding::new(Code::Conflict, span.clone(), message));
    }
}

fn source(capture: &CaptureTable, span: &Span, findings: &mut Findings) {
    if capture.json.is_none() && capture.header.is_none() && capture.matches.is_none() {
        let message = "it is not said where the value is";
        let finding = Finding::new(Code::MissingKey, span.clone(), message);
        findings.add(finding.help("write `json`, `header` or `matches`"));
    }
}

/// A step of a journey that otherwise asks like `journey`; `None` when a required key is missing.
pub(super) fn step(table: JourneyTable, journey: &Manner) -> Option<JourneyStep> {
    let JourneyTable {
        name,
        target,
        cleanup,
        method,
        headers,
        body,
        redirects,
        captures,
        expect,
    } = table;
    let written = plain(headers);
    let mut all = journey.http.headers.clone();
    all.retain(|(name, _)| !written.iter().any(|(other, _)| other == name));
    all.extend(written);
    let captures: Option<Vec<_>> = captures.into_iter().map(|it| captured(it.value)).collect();
    Some(JourneyStep {
        name: name?.value,
        target: target?.value,
        cleanup: cleanup.value,
        captures: captures?,
        manner: Manner {
            http: HttpRequest {
                method: method.value.parse().ok()?,
                headers: all,
                body: body.map(text).unwrap_or_default(),
                redirects: redirects.value as u32,
                ..journey.http.clone()
            },
            expect: expectations(expect)?,
            ..journey.clone()
        },
    })
}

fn text(located: Located<String>) -> String {
    located.value
}

fn captured(table: CaptureTable) -> Option<Capture> {
    let CaptureTable {
        name,
        json,
        header,
        matches,
    } = table;
    let pattern = matches.map(|pattern| pattern.value);
    let source = match (json, header, pattern) {
        (Some(path), ..) => CaptureSource::Json(path.value),
        (None, Some(header), pattern) => CaptureSource::Header(header.value, pattern),
        (None, None, pattern) => CaptureSource::Body(pattern?),
    };
    Some(Capture {
        name: name?.value,
        source,
    })
}
