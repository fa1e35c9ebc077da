//! The alert state machine.

use serde::{Deserialize, Serialize};

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Its condition does not hold.
    Inactive,
    /// Its condition holds, but not yet long enough, or there is too little history to trust it.
    Pending,
    /// Its condition holds.
    Firing,
    /// Its condition held until a moment ago.
    Resolved,
}

impl AlertState {
    /// The state's word in JSON, labels and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}
