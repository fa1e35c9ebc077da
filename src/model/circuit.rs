//! How a circuit breaker stands.

use serde::{Deserialize, Serialize};

/// Whether an upstream's circuit breaker lets requests through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitPhase {
    /// Every request passes.
    #[default]
    Closed,
    /// None does: too many failed.
    Open,
    /// A few do, to see whether the upstream works again.
    HalfOpen,
}

impl CircuitPhase {
    /// Every phase.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The phase's word in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}
