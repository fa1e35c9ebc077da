//! One kind of alert for everything that may wake somebody: what it is, where it stands, and what changed.

use serde::{Deserialize, Serialize};

use super::AlertState;
use crate::model::Timestamp;
use crate::slo::policy::{Row, Severity, Tier};

/// What an alert has noticed.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// An error budget burns too fast, by a row of a policy.
    #[default]
    Burn,
    /// A route fails ten times as often as it usually does at this hour.
    Surge,
    /// A route that was busy a moment ago gets no request any more.
    NoData,
    /// A route grows slower by the day.
    Slowdown,
    /// Most requests through the ingress fail, on most of its routes.
    Outage,
    /// A certificate ends soon, or is not the right one.
    Certificate,
    /// A part of Vestibule does not work.
    Degraded,
    /// Vestibule ended without having been stopped.
    Crash,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Burn,
        Self::Surge,
        Self::NoData,
        Self::Slowdown,
        Self::Outage,
        Self::Certificate,
        Self::Degraded,
        Self::Crash,
    ];

    /// Its word in JSON, labels and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Burn => "burn",
            Self::Surge => "surge",
            Self::NoData => "no_data",
            Self::Slowdown => "slowdown",
            Self::Outage => "outage",
            Self::Certificate => "certificate",
            Self::Degraded => "degraded",
            Self::Crash => "crash",
        }
    }

    /// Whether what it notices is exported by series of its own: `vestibule_certificate_alert_state` and
    /// `vestibule_degraded`.
    pub const fn has_own_series(self) -> bool {
        matches!(self, Self::Certificate | Self::Degraded)
    }

    /// Whether no silence may mute it: what nobody may sleep through, however sure they were.
    pub const fn is_never_muted(self, severity: Severity) -> bool {
        match self {
            Self::Outage => true,
            Self::Certificate => matches!(severity, Severity::Page),
            Self::Burn
            | Self::Surge
            | Self::NoData
            | Self::Slowdown
            | Self::Degraded
            | Self::Crash => false,
        }
    }
}

/// One alert that is not inactive.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertStatus {
    /// Its id, stable: `<slo>:<severity>:<tier>` when a budget burns, otherwise its kind and what it is about.
    pub id: String,
    /// What it has noticed.
    pub kind: AlertKind,
    /// How loudly it speaks.
    pub severity: Severity,
    /// Where it stands.
    pub state: AlertState,
    /// Since when.
    pub since: Timestamp,
    /// What it is about, in a word: an SLO, a route, a certificate, a part.
    pub about: String,
    /// The SLO it is about; `None` when about none.
    pub slo: Option<String>,
    /// The route it is about; `None` when about none or all.
    pub route: Option<String>,
    /// Several routes together that it is about, as [`About::wide_scope`](crate::model::About::wide_scope) has it; `None` when
    /// about one, or about none.
    pub scope: Option<String>,
    /// The row of the policy and what it sees; `None` when no budget is concerned.
    pub burn: Option<RowStatus>,
    /// Where a person finds what to do.
    pub runbook: Option<String>,
    /// What is the matter, in one line.
    pub text: String,
}

/// A row of a policy and how fast the budget burns in its windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowStatus {
    /// The row.
    pub row: Row,
    /// Burn rate over the long window; `None` where nothing was valid.
    pub burn_long: Option<f64>,
    /// Burn rate over the short window; `None` where nothing was valid.
    pub burn_short: Option<f64>,
}

/// A change of an alert's state: to be logged, stored, shown and sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// The alert's id, as in [`AlertStatus::id`].
    pub alert: String,
    /// What it has noticed.
    pub kind: AlertKind,
    /// The SLO it is about; `None` when about none.
    pub slo: Option<String>,
    /// The route it is about; `None` when about none or all.
    pub route: Option<String>,
    /// How loudly it speaks.
    pub severity: Severity,
    /// How fast the budget burns when it fires; `None` when no budget is concerned.
    pub tier: Option<Tier>,
    /// Where it stood.
    pub from: AlertState,
    /// Where it stands.
    pub to: AlertState,
    /// When it changed.
    pub at: Timestamp,
    /// Burn rate over the long window; `None` where nothing was valid.
    pub burn_long: Option<f64>,
    /// Burn rate over the short window; `None` where nothing was valid.
    pub burn_short: Option<f64>,
    /// Where a person finds what to do.
    pub runbook: Option<String>,
    /// What happened and why, in one line.
    pub text: String,
}
