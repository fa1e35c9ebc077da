//! What probes that are compared find from other vantages than the edge.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{ProbePhase, ProbePhases, Vantage, ViewRun};

/// What a probe found from another vantage than the edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VantageView {
    /// `ingress`, `upstream` or `tcp`.
    pub vantage: Vantage,
    /// The listener or the endpoint.
    pub at: String,
    /// Why it failed; `null`: it was well.
    pub reason: Option<String>,
    /// What happened, in one line; may be empty.
    pub detail: String,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// Microseconds by phase, those that were reached.
    pub phases: BTreeMap<String, u64>,
    /// The last response's status.
    pub status: Option<u16>,
    /// The address that was connected to, or tried.
    pub address: Option<String>,
}

impl VantageView {
    /// From what was found.
    pub fn of(view: &ViewRun) -> Self {
        Self {
            vantage: view.vantage,
            at: view.at.clone(),
            reason: view.failure.map(|failure| failure.as_str().to_owned()),
            detail: view.detail.clone(),
            duration_us: view.duration_us,
            phases: by_phase(view.phases),
            status: view.status,
            address: view.address.clone(),
        }
    }
}

/// The phases that were reached, by their words.
pub(super) fn by_phase(phases: ProbePhases) -> BTreeMap<String, u64> {
    let phases = ProbePhase::ALL.iter().zip(phases);
    phases
        .filter_map(|(phase, us)| Some((phase.as_str().to_owned(), us?)))
        .collect()
}
