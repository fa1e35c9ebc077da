//! Things that happened: everything that lies on the change rail.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A new version of a service went live, as told by its deployer.
    Deploy,
    /// A configuration was applied or refused.
    Config,
    /// An endpoint became unhealthy or healthy.
    Health,
    /// The name of an endpoint leads to other addresses than before.
    #[serde(rename = "dns")]
    Name,
    /// A synthetic probe began to fail, or works again.
    Probe,
    /// A certificate nears its end, does not fit, or is well again.
    #[serde(rename = "cert")]
    Certificate,
    /// An alert changed state.
    Alert,
    /// Vestibule itself: started, stopped, was down, is degraded.
    Process,
    /// A person did something.
    Operator,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Deploy,
        Self::Config,
        Self::Health,
        Self::Name,
        Self::Probe,
        Self::Certificate,
        Self::Alert,
        Self::Process,
        Self::Operator,
    ];

    /// The kind's word in labels, rows and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Config => "config",
            Self::Health => "health",
            Self::Name => "dns",
            Self::Probe => "probe",
            Self::Certificate => "cert",
            Self::Alert => "alert",
            Self::Process => "process",
            Self::Operator => "operator",
        }
    }

    /// The kind's letter on the change rail.
    pub const fn letter(self) -> char {
        match self {
            Self::Deploy => 'D',
            Self::Config => 'C',
            Self::Health => 'H',
            Self::Name => 'N',
            Self::Probe => 'P',
            Self::Certificate => 'T',
            Self::Alert => 'A',
            Self::Process => 'V',
            Self::Operator => 'O',
        }
    }

    /// Whether an event of this kind can be the reason of what came after it. Alerts and people's reactions follow
    /// trouble, and probes and certificates' dates show it; they do not make it.
    pub const fn is_change(self) -> bool {
        match self {
            Self::Deploy | Self::Config | Self::Health | Self::Name | Self::Process => true,
            Self::Certificate | Self::Alert | Self::Operator | Self::Probe => false,
        }
    }
}

/// What an event is about. A missing part means "all".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The route concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The upstream concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The endpoint's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The SLO concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<String>,
    /// The version deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What kind.
    pub kind: EventKind,
    /// What about.
    #[serde(default)]
    pub scope: Scope,
    /// One line for people; may hold untrusted text, to be made harmless where it is shown.
    pub text: String,
}
