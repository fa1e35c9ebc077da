//! What is promised of the edge itself and of endpoints, rather than of requests.

use std::fmt;
use std::time::Duration;

/// A vital sign: what is counted beside requests, by whoever looks after the process once a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vital {
    /// An event is a TLS handshake with a client: good when it was completed, bad when the client refused the certificate
    /// or it failed here. See [`Handshake::is_good`](super::Handshake::is_good).
    Handshake,
    /// An event is a second: good when the process used at most this much of the processors that its workers can use.
    Cpu {
        /// In whole percent.
        most: u8,
    },
    /// An event is a second: good when the process held at most this much of the memory that it may have.
    Memory {
        /// In whole percent.
        most: u8,
    },
    /// An event is a configuration that somebody wanted applied: good when every worker served by it in time.
    Apply {
        /// The longest good time.
        within: Duration,
    },
    /// An event is a second of an endpoint: good when it was in service all through, bad when it was not or when that
    /// changed.
    Health,
}

impl Vital {
    /// The line that a process should stay under unless told otherwise: of processors, and of memory.
    pub const MOST: u8 = 70;
    /// How soon a configuration should be in force unless told otherwise.
    pub const WITHIN: Duration = Duration::from_secs(30);

    /// The indicator's word in labels and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "tls-handshake",
            Self::Cpu { .. } => "cpu",
            Self::Memory { .. } => "memory",
            Self::Apply { .. } => "config-apply",
            Self::Health => "health",
        }
    }

    /// What a good event is, with `about` in it: `seconds with at most 70% of its processors used`.
    pub fn good(self, about: impl fmt::Display) -> String {
        match self {
            Self::Handshake => "TLS handshakes that did not fail by the edge's doing".to_owned(),
            Self::Cpu { most } => {
                format!("seconds in which the edge used at most {most}% of its processors")
            }
            Self::Memory { most } => {
                format!("seconds in which the edge held at most {most}% of its memory")
            }
            Self::Apply { within } => format!(
                "configurations applied within {}",
                humantime::format_duration(within)
            ),
            Self::Health => format!("seconds of endpoints of {about} in service"),
        }
    }

    /// What a bad event is, after a share: `of the TLS handshakes failed by the edge's doing`.
    pub fn bad(self, about: impl fmt::Display) -> String {
        match self {
            Self::Handshake => "of the TLS handshakes failed by the edge's doing".to_owned(),
            Self::Cpu { most } => {
                format!("of the time the edge used over {most}% of its processors")
            }
            Self::Memory { most } => {
                format!("of the time the edge held over {most}% of its memory")
            }
            Self::Apply { within } => format!(
                "of the configurations were refused or took longer than {}",
                humantime::format_duration(within)
            ),
            Self::Health => {
                format!("of the time endpoints of {about} were out of service or changed")
            }
        }
    }
}
