//! One SLO in full: what is left of its budget, and what spent it.

use serde::{Deserialize, Serialize};

use super::{AlertView, DeployView, SloView};
use crate::model::Timestamp;
use crate::slo::state::SloState;

/// One SLO in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SloDetail {
    /// As the snapshot has it.
    pub slo: SloView,
    /// How many events of the window may be bad, in whole events rounded down.
    pub allowed: u64,
    /// Since when events count as those of lately: the beginning of the hour before the one begun.
    #[serde(default)]
    pub lately_from: Timestamp,
    /// What spent the budget. The parts of each dimension sum to the bad events of the window.
    pub spent: Vec<SpentPart>,
    /// Of a composite each part, over the composite's window, that with the largest weighed bad share first; empty otherwise.
    #[serde(default)]
    pub parts: Vec<PartDetail>,
    /// Its alerts that are not inactive.
    pub alerts: Vec<AlertView>,
    /// Deploys with a window that counted it, newest first.
    pub deploys: Vec<DeployView>,
}

/// How one part of a composite fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartDetail {
    /// The SLO's id.
    pub slo: String,
    /// What it is about, as a scope.
    pub scope: String,
    /// How much it weighs.
    pub weight: u32,
    /// How it stands by its own objective.
    pub state: SloState,
    /// Its good events in the composite's window.
    pub good: u64,
    /// Its bad ones.
    pub bad: u64,
    /// Bad ÷ valid of these; `null` without a valid one.
    pub bad_ratio: Option<f64>,
    /// The same of the last five minutes.
    pub bad_ratio_5m: Option<f64>,
}

/// Some of an SLO's bad events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpentPart {
    /// How they are told apart: `day` and `route`; of requests that failed also `kind`, `status`, `endpoint`, `version` and
    /// `deploy`.
    pub dimension: String,
    /// Which ones. `earlier` are those of which only the number is known.
    pub part: String,
    /// How many.
    pub bad: u64,
    /// Their share of all bad events of the window, 0 to 1.
    pub share: f64,
    /// How many of them since [`SloDetail::lately_from`]; `null` for a day.
    #[serde(default)]
    pub lately: Option<u64>,
    /// How many more these are than the window before leads to expect at as many valid events, negative when fewer. The
    /// parts of a dimension sum to what the whole exceeds it by. `null` for a day, and when nothing was valid before.
    #[serde(default)]
    pub excess: Option<f64>,
}
