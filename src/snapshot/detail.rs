//! One SLO in full: what is left of its budget, and what spent it.

use serde::{Deserialize, Serialize};

use super::{AlertView, DeployView, SloView};

/// One SLO in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SloDetail {
    /// As the snapshot has it.
    pub slo: SloView,
    /// How many events of the window may be bad, in whole events rounded down.
    pub allowed: u64,
    /// What spent the budget. The parts of each dimension sum to the bad events of the window.
    pub spent: Vec<SpentPart>,
    /// Its alerts that are not inactive.
    pub alerts: Vec<AlertView>,
    /// Deploys with a window that counted it, newest first.
    pub deploys: Vec<DeployView>,
}

/// Some of an SLO's bad events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpentPart {
    /// How they are told apart: `day` and `route`; of requests that failed also `kind`, `status`, `endpoint` and
    /// `version`.
    pub dimension: String,
    /// Which ones. `earlier` are those of which only the number is known.
    pub part: String,
    /// How many.
    pub bad: u64,
    /// Their share of all bad events of the window, 0 to 1.
    pub share: f64,
}
