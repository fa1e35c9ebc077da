//! The one sentence: how bad, whose fault, which route, since when, what changed, how fast the budget burns, what to do.

mod advice;
pub mod answers;
pub mod blind;
mod certificate;
mod clients;
pub mod contrast;
pub mod engine;
pub mod evidence;
mod flapping;
mod mix;
mod onset;
mod outside;
pub mod placing;
mod sentence;
mod side;
mod slowdown;
mod stale;
mod suspect;
mod vitals;
mod words;

use serde::{Deserialize, Serialize};

use crate::model::{Event, Fault, Tally, Timestamp};

/// How bad things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// All SLOs within budget.
    Ok,
    /// Not known: no data, or too little history.
    Unknown,
    /// Something to look at in working hours.
    Warn,
    /// Something to wake for.
    Crit,
}

impl Level {
    /// The level's word in JSON and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Crit => "crit",
        }
    }
}

/// Where the fault lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Locus {
    /// Nothing is wrong.
    None,
    /// Ourselves.
    Edge,
    /// The service behind us.
    Upstream,
    /// The clients.
    Client,
    /// Names or the network between us and the service.
    Network,
    /// A certificate.
    Certificate,
    /// The evidence does not say.
    Unknown,
}

impl Locus {
    /// The locus's word in JSON and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Edge => "edge",
            Self::Upstream => "upstream",
            Self::Client => "client",
            Self::Network => "network",
            Self::Certificate => "certificate",
            Self::Unknown => "unknown",
        }
    }
}

/// What a verdict is about, by which the page that says what to do is found.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// An error budget, or requests that fail without one.
    #[default]
    Burn,
    /// A certificate.
    Certificate,
    /// Requests that go another way than they did, or none.
    Misroute,
    /// A busy route that gets no request any more.
    Silence,
    /// A route that grows slower by the day.
    Slowdown,
    /// An endpoint that comes and goes.
    Flapping,
    /// What only probes see.
    Outside,
    /// A name that leads elsewhere than somebody goes.
    Names,
    /// What clients do wrong.
    Clients,
    /// TLS handshakes with clients.
    Handshakes,
    /// Processors.
    Cpu,
    /// Memory.
    Memory,
    /// Configurations that are refused or late.
    Configuration,
    /// A part of ourselves.
    Degraded,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 14] = [
        Self::Burn,
        Self::Certificate,
        Self::Misroute,
        Self::Silence,
        Self::Slowdown,
        Self::Flapping,
        Self::Outside,
        Self::Names,
        Self::Clients,
        Self::Handshakes,
        Self::Cpu,
        Self::Memory,
        Self::Configuration,
        Self::Degraded,
    ];
}

/// The side that most of `faults` blame, as a verdict says it; [`Locus::Unknown`] of none.
pub fn side_of_faults(faults: &[(Fault, u64)]) -> Locus {
    side::of_faults(faults)
}

/// How much speaks for a suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strength {
    /// Only that it came before.
    Weak,
    /// It came shortly before and concerns the same route or upstream.
    Strong,
}

/// The change most likely behind the trouble. A suspect, never "the cause".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// What happened.
    pub event: Event,
    /// How long before the onset, in seconds.
    pub before_onset_s: u64,
    /// How much speaks for it.
    pub strength: Strength,
    /// Why, in a few words.
    pub why: String,
    /// What the SLO counted in the half hour before it.
    #[serde(default)]
    pub before: Tally,
    /// What the SLO counted since, up to now.
    #[serde(default)]
    pub since: Tally,
}

impl Suspect {
    /// How many times as often events are bad since as before; `None` without a valid event on either side, or when
    /// none was bad before.
    pub fn lift(&self) -> Option<f64> {
        let ratio = |tally: Tally| {
            let valid = tally.valid();
            (valid > 0).then(|| tally.bad as f64 / valid as f64)
        };
        let (before, since) = (ratio(self.before)?, ratio(self.since)?);
        (before > 0.0).then(|| since / before)
    }
}

/// What tells bad requests from good ones: a part of a dimension in which they gather while others do well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `endpoint`, `version` or `route`.
    pub dimension: String,
    /// Which of them.
    pub part: String,
    /// What happened there.
    pub there: Tally,
    /// What happened elsewhere in the dimension at the same time; for a version, what happened before it.
    pub elsewhere: Tally,
}

/// What is seen from outside of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// The probe; `None`: none looks there.
    pub probe: Option<String>,
    /// Where its vantages place the fault; `None`: it sees none.
    pub place: Option<placing::FaultPlace>,
    /// What it finds, in words. May hold untrusted text.
    pub text: String,
}

/// One incident's sentence, and its parts for those who lay it out themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How bad.
    pub severity: Level,
    /// What it is about.
    #[serde(default)]
    pub topic: Topic,
    /// Whose fault.
    pub side: Locus,
    /// The worst route; `None` when nothing is wrong.
    pub route: Option<String>,
    /// Every route concerned, the worst first.
    #[serde(default)]
    pub routes: Vec<String>,
    /// The SLO that burns fastest.
    pub slo: Option<String>,
    /// Every SLO that it speaks for, that one first: those of its routes, and those about several routes that burn with them.
    #[serde(default)]
    pub slos: Vec<String>,
    /// When it began, found in the data.
    pub onset: Option<Timestamp>,
    /// The change most likely behind it; `None`: no change found in the hour before.
    pub suspect: Option<Suspect>,
    /// Further changes that might be, the likeliest first, at most three.
    #[serde(default)]
    pub further_suspects: Vec<Suspect>,
    /// What tells bad requests from good ones; `None`: nothing that is known.
    #[serde(default)]
    pub differs: Option<Difference>,
    /// Burn rate of the short window of the worst SLO.
    pub burn: Option<f64>,
    /// Share of the error budget that is left, may be negative. History that is missing from the window counts as good
    /// at the observed rate, so that a young process does not call its first errors a month's.
    pub remaining_ratio: Option<f64>,
    /// Seconds until the budget is empty at this rate; `None`: not at this rate.
    pub time_to_empty_s: Option<u64>,
    /// Bad share of valid requests on the route over the last minute.
    pub bad_ratio: Option<f64>,
    /// Bad requests per second on the route over the last minute.
    pub bad_per_s: Option<f64>,
    /// This route's share of everything bad at the ingress over the last minute.
    pub share_of_bad: Option<f64>,
    /// The most frequent fault's word, like `upstream_5xx`.
    pub fault: Option<String>,
    /// What probes say of it; `None`: no probe is configured, or none has anything to add.
    #[serde(default)]
    pub outside: Option<Outside>,
    /// What to do.
    pub next_step: String,
    /// Where to read how.
    pub runbook: Option<String>,
    /// The sentence.
    pub text: String,
}
