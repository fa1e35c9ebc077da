//! Alerts, and what keeps them from being told.

use serde::{Deserialize, Serialize};

use crate::model::{Timestamp, Window};
use crate::slo::alert::{AlertKind, AlertState};
use crate::slo::policy::{Severity, Tier};
use crate::slo::silence::Matcher;

/// One alert that is not inactive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertView {
    /// Its id, stable: SLO, severity and tier when a budget burns, otherwise its kind and what it is about.
    pub id: String,
    /// What it has noticed.
    #[serde(default)]
    pub kind: AlertKind,
    /// What it is about, in a word: an SLO, a route, a certificate, a part of Vestibule.
    #[serde(default)]
    pub about: String,
    /// The SLO it is about; empty when about none.
    pub slo: String,
    /// The route it is about; empty when about none or all.
    pub route: String,
    /// Several routes together that it is about: `upstream:web`, `owner:payments`, `ingress`; empty otherwise.
    #[serde(default)]
    pub scope: String,
    /// Who answers for the route; `null`: nobody is named.
    #[serde(default)]
    pub owner: Option<String>,
    /// `page` or `ticket`.
    pub severity: Severity,
    /// `fast`, `medium`, `slow` or `long`; `null`, as the four below, unless a budget burns.
    pub tier: Option<Tier>,
    /// Where it stands.
    pub state: AlertState,
    /// Since when.
    pub since: Timestamp,
    /// The long window.
    pub long: Option<Window>,
    /// The short window.
    pub short: Option<Window>,
    /// Burn over the long window.
    pub burn_long: Option<f64>,
    /// Burn over the short window.
    pub burn_short: Option<f64>,
    /// The burn rate both must exceed.
    pub factor: Option<f64>,
    /// Where a person finds what to do.
    pub runbook: Option<String>,
    /// What is the matter, in one line.
    #[serde(default)]
    pub text: String,
    /// The id of the silence that keeps it from being told; `null`: it is told.
    #[serde(default)]
    pub silenced_by: Option<String>,
}

/// A silence in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceView {
    /// Its id, unique in the state directory.
    pub id: String,
    /// What an alert must match, all of it: `slo=checkout`, `route=~"a|b"`.
    pub matchers: Vec<Matcher>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When it began.
    pub from: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
    /// The upstream whose deploy it belongs to; `null`: a person made it.
    pub deploy: Option<String>,
    /// The ids of the alerts that it mutes now.
    pub muted: Vec<String>,
}

/// What a deploy with a window spent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeployView {
    /// The upstream that got a new version.
    pub upstream: String,
    /// The version.
    pub version: String,
    /// When its window began.
    pub from: Timestamp,
    /// When it ended; `null` while it is open.
    pub until: Option<Timestamp>,
    /// What was counted in the window, for each SLO of the upstream's routes.
    pub slos: Vec<DeploySpend>,
}

/// What one SLO counted in a deploy's window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploySpend {
    /// The SLO.
    pub slo: String,
    /// Good events.
    pub good: u64,
    /// Bad ones. They are in the SLO's budget as all others are.
    pub bad: u64,
    /// Their share of the whole budget of the SLO's window, where what is missing of its history is taken to have been as
    /// busy as what was measured; `null` without a valid event in it.
    pub budget_ratio: Option<f64>,
}
