//! What is promised about a route.

use std::time::Duration;

use super::{Objective, Window};

/// What counts as good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sli {
    /// Good unless an edge or upstream fault. A client's fault is not valid.
    Availability,
    /// Good when the whole request took at most `under`. Only requests that succeeded are valid: a failure is
    /// availability's business, and a fast failure must not look like speed.
    Latency {
        /// The longest good duration, inclusive.
        under: Duration,
    },
    /// What a synthetic probe finds; users' requests do not count. An event is a second: each slot that was run counts
    /// as long as it is, so that a probe that runs twice as often spends no more budget.
    Probe {
        /// The length of the probe's slots.
        every: Duration,
    },
}

impl Sli {
    /// The indicator's word in labels and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Availability => "availability",
            Self::Latency { .. } => "latency",
            Self::Probe { .. } => "probe",
        }
    }
}

/// A service-level objective: an indicator of one route, a target and the window it is promised over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slo {
    /// Unique name.
    pub id: String,
    /// The id of the route it is about.
    pub route: String,
    /// What counts as good.
    pub sli: Sli,
    /// The probe that it counts, with [`Sli::Probe`]; otherwise `None`.
    pub probe: Option<String>,
    /// The share that must be good.
    pub objective: Objective,
    /// The rolling window of the error budget.
    pub window: Window,
    /// The name of the alerting policy.
    pub policy: String,
    /// Where a person finds what to do.
    pub runbook: Option<String>,
}
