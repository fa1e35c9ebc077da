//! What an order is busy with, how long that takes, and what comes between.

use std::fmt::Write as _;
use std::time::Duration;

use instant_acme::{Error, Problem};

use crate::clock::{Clock as _, SystemClock, Tick};

/// A part of the time that a certificate takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Finding the authority's directory, and our account with it.
    Account,
    /// The order, and what it asks to be shown.
    Order,
    /// Until all of that is shown.
    Present,
    /// Until the authority has seen it.
    Validate,
    /// Until the authority has signed.
    Finalize,
    /// Fetching the chain.
    Download,
    /// Until it is on disk and every worker has it.
    Install,
    /// Until it was shown in a handshake.
    Serve,
}

impl Phase {
    /// Its word in labels and text.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Order => "order",
            Self::Present => "present",
            Self::Validate => "validate",
            Self::Finalize => "finalize",
            Self::Download => "download",
            Self::Install => "install",
            Self::Serve => "serve",
        }
    }
}

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {text}", .phase.as_str())]
pub(super) struct Trouble {
    /// What was under way.
    pub(super) phase: Phase,
    /// In one line.
    pub(super) text: String,
    /// The authority does not know our account.
    pub(super) stranger: bool,
}

impl Trouble {
    pub(super) fn new(phase: Phase, text: impl std::fmt::Display) -> Self {
        Self {
            phase,
            text: one_line(&text.to_string()),
            stranger: false,
        }
    }

    pub(super) fn told(phase: Phase, error: &Error) -> Self {
        let (text, stranger) = match error {
            Error::Api(problem) => (said(problem), is(problem, "accountDoesNotExist")),
            Error::Other(error) => (error.to_string(), false),
            other => (other.to_string(), false),
        };
        Self {
            stranger,
            ..Self::new(phase, text)
        }
    }
}

/// Text of a stranger, for a log and a screen.
pub(super) fn one_line(text: &str) -> String {
    const LONGEST: usize = 300;
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(LONGEST).collect()
}

pub(super) fn said(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or("problem");
    let kind = kind.strip_prefix(ERRORS).unwrap_or(kind);
    let mut text = match &problem.detail {
        Some(detail) => format!("{kind}: {detail}"),
        None => kind.to_owned(),
    };
    for part in &problem.subproblems {
        write!(text, "; {part}").expect("writing to a string cannot fail");
    }
    text
}

/// RFC 8555, 6.7.
const ERRORS: &str = "urn:ietf:params:acme:error:";

pub(super) fn is(problem: &Problem, kind: &str) -> bool {
    let told = problem.r#type.as_deref();
    told.and_then(|told| told.strip_prefix(ERRORS)) == Some(kind)
}

/// How often a request is repeated whose nonce was rejected. The library has tried three times by then; a server that rejects
/// every second one must not keep us from a certificate.
const NONCES: usize = 6;

pub(super) async fn insist<T>(mut ask: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut left = NONCES;
    loop {
        match ask().await {
            Err(Error::Api(problem)) if is(&problem, "badNonce") && left > 0 => left -= 1,
            other => return other,
        }
    }
}

/// How long each phase took.
#[derive(Debug)]
pub(super) struct Stopwatch {
    clock: SystemClock,
    since: Tick,
    pub(super) phases: Vec<(Phase, Duration)>,
}

impl Stopwatch {
    pub(super) fn new(clock: SystemClock) -> Self {
        Self {
            clock,
            since: clock.tick(),
            phases: Vec::new(),
        }
    }

    /// A phase is over, and the next begins.
    pub(super) fn lap(&mut self, phase: Phase) {
        let now = self.clock.tick();
        let took = Duration::from_micros(now.micros_since(self.since));
        self.phases.push((phase, took));
        self.since = now;
    }
}
