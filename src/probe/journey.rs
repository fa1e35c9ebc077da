//! Running a journey: its steps one after another, and what cleans up after them in any case.

use std::collections::BTreeMap;
use std::pin::pin;

use cookie_store::{CookieStore, RawCookie};
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use super::definition::{
    Capture, CaptureSource, JourneyStep, JsonWants, LONGEST_CAPTURE, Manner, Template, Url, Writing,
};
use super::run::{self, Attempt, Failed};
use crate::clock::Clock as _;
use crate::model::{ProbeFailure, ProbeRun, StepRun};

/// What one step leaves to the next.
#[derive(Debug, Default)]
pub(super) struct Carried {
    /// What servers want to be told again (RFC 6265). Forgotten with the run.
    cookies: CookieStore,
    /// Captured values by name.
    values: BTreeMap<String, String>,
}

impl Carried {
    /// Keeps the cookies of an answer.
    pub(super) fn keep_cookies(&mut self, url: &Url, headers: &HeaderMap) {
        let Ok(url) = url::Url::parse(&url.to_string()) else {
            return;
        };
        let cookies = headers.get_all(SET_COOKIE).iter().filter_map(|value| {
            let cookie = RawCookie::parse(value.to_str().ok()?.to_owned());
            cookie.ok()
        });
        self.cookies.store_response_cookies(cookies, &url);
    }

    /// The Cookie header of a request to `url`, after what is `written` there already; `None` when there is none.
    pub(super) fn cookies(&self, url: &Url, written: Option<&HeaderValue>) -> Option<HeaderValue> {
        let url = url::Url::parse(&url.to_string()).ok()?;
        let kept = self.cookies.get_request_values(&url);
        let mut pairs: Vec<String> = written
            .and_then(|value| Some(value.to_str().ok()?.to_owned()))
            .into_iter()
            .collect();
        pairs.extend(kept.map(|(name, value)| format!("{name}={value}")));
        let mut header = HeaderValue::from_str(&pairs.join("; ")).ok()?;
        header.set_sensitive(true);
        (!pairs.is_empty()).then_some(header)
    }

    /// A text in which no captured value can be read: the name stands in its place. Those of one to three characters
    /// are no secrets, and may be part of anything.
    fn hidden(&self, text: String) -> String {
        let mut values: Vec<(&String, &String)> = self.values.iter().collect();
        values.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        let mut text = text;
        for (name, value) in values.into_iter().filter(|(_, value)| value.len() > 3) {
            let one = BTreeMap::from([(name.clone(), value.clone())]);
            let place = format!("{{{{{name}}}}}");
            for writing in [Writing::Plain, Writing::Form, Writing::Json] {
                let written = Template(&place).filled(&one, writing).unwrap_or_default();
                if !written.is_empty() {
                    text = text.replace(&written, &place);
                }
            }
        }
        text
    }

    /// Takes what later steps need out of an answer.
    pub(super) fn capture(
        &mut self,
        captures: &[Capture],
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Failed> {
        for capture in captures {
            let failed = |why: String| {
                let detail = format!("{}: {why}", capture.name);
                Failed::new(ProbeFailure::AssertCapture, detail)
            };
            let found = find(&capture.source, headers, body).map_err(failed)?;
            if found.len() > LONGEST_CAPTURE {
                let why = format!("it is longer than {LONGEST_CAPTURE} bytes");
                return Err(failed(why));
            }
            self.values.insert(capture.name.clone(), found);
        }
        Ok(())
    }
}

/// The value, or why there is none. What was found is not told: it may be a secret.
fn find(source: &CaptureSource, headers: &HeaderMap, body: &[u8]) -> Result<String, String> {
    let not_text = |_odd| "what is found is no text".to_owned();
    match source {
        CaptureSource::Json(path) => {
            let document = serde_json::from_slice(body)
                .map_err(|error| format!("the body is no JSON: {error}"))?;
            let none = || format!("{} finds nothing", path.as_str());
            path.first(&document).ok_or_else(none)
        }
        CaptureSource::Header(name, pattern) => {
            let value = headers.get(name);
            let value = value.ok_or_else(|| format!("there is no header {name}"))?;
            match pattern {
                None => String::from_utf8(value.as_bytes().to_vec()).map_err(not_text),
                Some(pattern) => {
                    let none = || format!("/{}/ does not match header {name}", pattern.as_str());
                    let found = pattern.captured(value.as_bytes()).ok_or_else(none)?;
                    String::from_utf8(found).map_err(not_text)
                }
            }
        }
        CaptureSource::Body(pattern) => {
            let none = || format!("/{}/ does not match the body", pattern.as_str());
            let found = pattern.captured(body).ok_or_else(none)?;
            String::from_utf8(found).map_err(not_text)
        }
    }
}

/// Whether a value is looked for in the body.
pub(super) fn look_at_body(captures: &[Capture]) -> bool {
    captures
        .iter()
        .any(|capture| !matches!(capture.source, CaptureSource::Header(..)))
}

/// Does the steps until one fails or `stopped` is over, then those that clean up. `attempt` is the journey's own.
pub(super) async fn run(
    attempt: &mut Attempt<'_>,
    start: &Url,
    steps: &[JourneyStep],
    stopped: impl Future<Output = ()>,
) -> Result<(), Failed> {
    let mut carried = Carried::default();
    let mut stopped = pin!(stopped);
    let mut ended = Ok(());
    let began = attempt.clock.tick();
    for step in steps.iter().filter(|step| !step.cleanup) {
        ended = tokio::select! {
            biased;
            () = &mut stopped => {
                let detail = format!("broken off before the end of step {}", step.name);
                Err(Failed::new(ProbeFailure::Internal, detail))
            }
            ended = one(attempt, start, step, &mut carried) => ended,
        };
        if ended.is_err() {
            break;
        }
    }
    // What users would wait for ends here.
    attempt.lasted_us = Some(attempt.clock.tick().micros_since(began));
    attempt.begin_anew();
    for step in steps.iter().filter(|step| step.cleanup) {
        if !step
            .needs()
            .into_iter()
            .all(|name| carried.values.contains_key(name))
        {
            attempt.seen.steps.push(StepRun {
                name: step.name.clone(),
                cleanup: true,
                ..StepRun::default()
            });
            continue;
        }
        let cleaned = one(attempt, start, step, &mut carried).await;
        ended = ended.and(cleaned);
    }
    ended
}

async fn one(
    attempt: &mut Attempt<'_>,
    start: &Url,
    step: &JourneyStep,
    carried: &mut Carried,
) -> Result<(), Failed> {
    let (ended, seen) = match prepared(step, (start, attempt.manner), &carried.values) {
        Ok((url, manner)) => attempt.step(&manner, &url, &step.captures, carried).await,
        Err(failed) => (Err(failed), ProbeRun::default()),
    };
    let failure = ended.as_ref().err().map(Failed::failure);
    attempt.seen.steps.push(StepRun {
        name: step.name.clone(),
        cleanup: step.cleanup,
        duration_us: Some(seen.duration_us),
        status: seen.status,
        failure,
    });
    absorb(&mut attempt.seen, seen, step.cleanup);
    ended.map_err(|failed| {
        let failed = failed.said(|detail| carried.hidden(detail));
        failed.within(&format!("step {}", step.name))
    })
}

/// The journey has seen what its step has. What cleans up is not what users wait for, and takes nothing from their time.
fn absorb(whole: &mut ProbeRun, step: ProbeRun, cleanup: bool) {
    if cleanup {
        return;
    }
    for (sum, part) in whole.phases.iter_mut().zip(step.phases) {
        if let Some(us) = part {
            *sum.get_or_insert(0) += us;
        }
    }
    let chain = std::mem::take(&mut whole.chain);
    let (steps, phases) = (std::mem::take(&mut whole.steps), whole.phases);
    let redirects = whole.redirects.saturating_add(step.redirects);
    *whole = ProbeRun {
        chain: if chain.is_empty() { step.chain } else { chain },
        steps,
        phases,
        redirects,
        ..step
    };
}

/// Where a step leads and how it asks, with all values in their places.
fn prepared(
    step: &JourneyStep,
    (start, journey): (&Url, &Manner),
    values: &BTreeMap<String, String>,
) -> Result<(Url, Manner), Failed> {
    let fill = |text: &str, writing: Writing| {
        Template(text).filled(values, writing).map_err(|name| {
            let detail = format!("there is no value for {name} that can stand there");
            Failed::new(ProbeFailure::AssertCapture, detail)
        })
    };
    let target = fill(&step.target, Writing::Url)?;
    let url = step.url(start, &target).ok_or_else(|| {
        let detail = "the target is no URL of http or https once its values are in place";
        Failed::new(ProbeFailure::AssertCapture, detail)
    })?;
    let mut manner = step.manner.clone();
    if url.place != start.place {
        let is_told = step.target.starts_with("{{");
        keep_at_home(&mut manner, journey, is_told);
    }
    for (name, value) in &mut manner.http.headers {
        let Ok(text) = value.to_str() else { continue };
        let filled = fill(text, Writing::Plain)?;
        *value = HeaderValue::from_str(&filled).map_err(|_odd| {
            let detail = format!("what was captured for header {name} holds what no header may");
            Failed::new(ProbeFailure::AssertCapture, detail)
        })?;
    }
    let mut types = manner.http.headers.iter().filter(|it| it.0 == CONTENT_TYPE);
    let content_type = types.next().and_then(|(_, value)| value.to_str().ok());
    let writing = match content_type.map(str::to_ascii_lowercase) {
        Some(kind) if kind.contains("json") => Writing::Json,
        Some(kind) if kind.contains("x-www-form-urlencoded") => Writing::Form,
        Some(_) | None => Writing::Plain,
    };
    manner.http.body = fill(&manner.http.body, writing)?;
    let expect = &mut manner.expect;
    let texts = expect.headers.iter_mut().map(|(_, text)| text);
    let json = expect.json.iter_mut().filter_map(|it| match &mut it.wants {
        JsonWants::Equals(text) => Some(text),
        JsonWants::Found | JsonWants::Count(_) | JsonWants::Matches(_) => None,
    });
    for text in texts.chain(&mut expect.body).chain(json) {
        *text = fill(text, Writing::Plain)?;
    }
    Ok((url, manner))
}

/// The secrets of a journey, and where it connects to instead, are for its own host.
/// Where an answer said where to go (`is_told`), the step's own as well.
fn keep_at_home(manner: &mut Manner, journey: &Manner, is_told: bool) {
    manner.connect_to = None;
    manner.tls.server_name = None;
    manner.http.bearer_file = None;
    manner.http.basic = None;
    manner.http.headers.retain(|header| {
        let secret = header.0 == AUTHORIZATION || header.0 == COOKIE;
        header.0 != HOST && !journey.http.headers.contains(header) && !(secret && is_told)
    });
}

/// What one request of a journey comes to.
impl Attempt<'_> {
    async fn step(
        &self,
        manner: &Manner,
        url: &Url,
        captures: &[Capture],
        carried: &mut Carried,
    ) -> (Result<(), Failed>, ProbeRun) {
        let began = self.clock.tick();
        let mut attempt = self.within(manner, captures, carried);
        let ended = super::http::run(&mut attempt, url).await;
        let mut seen = attempt.seen;
        seen.duration_us = self.clock.tick().micros_since(began);
        let ended = ended.and_then(|()| run::judge(&manner.expect, &seen, self.clock));
        match run::turned(&manner.expect, ended) {
            Ok(_) => (Ok(()), seen),
            Err(failed) => (Err(failed), seen),
        }
    }
}
