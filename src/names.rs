//! The names that traffic depends on: what each resolver says of them, what the authority for the zone says, and who still
//! goes by what it no longer says.
//!
//! [`look`] asks, [`ledger`] remembers and judges. An address that an authority has dropped may be given out by resolvers,
//! and gone to by clients and by our own connections, for as long as its last time to live. What goes on after that is
//! stale, and is named with how long.

use std::net::SocketAddr;
use std::time::Duration;

pub mod ledger;
pub mod look;

/// What looking at names is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether names are looked at at all.
    pub enabled: bool,
    /// Whom users ask; empty: whom this system asks (`/etc/resolv.conf`).
    pub resolvers: Vec<SocketAddr>,
    /// Who answers for zones that cannot be found by their NS records from here.
    pub authorities: Vec<Authority>,
    /// From one round to the next.
    pub every: Duration,
    /// How long after a time to live has ended somebody who still goes by it is told of.
    pub grace: Duration,
}

/// Who answers for a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The zone's name, in lower case, without the closing dot.
    pub zone: String,
    /// Its servers.
    pub servers: Vec<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: false,
            resolvers: Vec::new(),
            authorities: Vec::new(),
            every: EVERY,
            grace: GRACE,
        }
    }
}

/// From one round to the next, unless configured.
pub const EVERY: Duration = Duration::from_secs(15);
/// How long stale answers are not told of, unless configured: caches do not look at their clocks all the time.
pub const GRACE: Duration = Duration::from_secs(30);

/// What uses a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// A route takes requests for it.
    Route(String),
    /// A probe is aimed at it.
    Probe(String),
    /// An upstream's endpoint is there.
    Upstream(String),
}

impl Use {
    /// `route web`.
    pub fn in_words(&self) -> String {
        match self {
            Self::Route(of) => format!("route {of}"),
            Self::Probe(of) => format!("probe {of}"),
            Self::Upstream(of) => format!("upstream {of}"),
        }
    }
}

/// A name, and what uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// In lower case.
    pub name: String,
    /// What uses it; at least one.
    pub uses: Vec<Use>,
}

/// What is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// How.
    pub config: Config,
    /// Every name, once, in order.
    pub names: Vec<Name>,
}

/// Names that are looked at, at most.
pub const MOST_NAMES: usize = 1_000;
