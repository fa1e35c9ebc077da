//! What is promised, of a route or of several together.

use std::fmt;
use std::time::Duration;

use super::{About, Calendar, Objective, Outcome, Slices, Vital, Window};

/// What counts as good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sli {
    /// Good unless it failed, as a [`Reading`] has it.
    Availability(Reading),
    /// Good when the whole request took at most `under`. Only requests that succeeded are valid: a failure is
    /// availability's business, and a fast failure must not look like speed.
    Latency {
        /// The longest good duration, inclusive.
        under: Duration,
    },
    /// Good when the attempt got a connection to its endpoint, a new one or one that was kept. An event is an attempt: one
    /// that another endpoint made up for is bad all the same.
    Connection,
    /// Good unless it was over a rate limit of its route. What its client or a rule stopped otherwise is not valid.
    RateLimit,
    /// What a synthetic probe finds; users' requests do not count. An event is a second: each slot that was run counts
    /// as long as it is, so that a probe that runs twice as often spends no more budget.
    Probe {
        /// The length of the probe's slots.
        every: Duration,
    },
    /// A vital sign of the edge or of endpoints; users' requests do not count.
    Vital(Vital),
    /// Other SLOs weighed together: the [`Slo::parts`].
    Composite(Weighing),
}

/// How the parts of a composite are weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighing {
    /// Each minute, every part that counted anything in it weighs its share by its weight; the minute is worth the sum.
    Minutes,
    /// Each event of a part counts as often as the part weighs.
    Events,
}

impl Weighing {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minutes => "minutes",
            Self::Events => "events",
        }
    }
}

/// An SLO that is part of a composite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its id.
    pub slo: String,
    /// How much it weighs, at least 1.
    pub weight: u32,
    /// What it counts, as [`Slo::counted`] says it.
    pub counted: String,
}

/// Which requests count as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Those with an edge or upstream fault, and those answered with one of the statuses in `also`. Another fault of the
    /// client is not valid.
    Fault {
        /// Statuses of a client's errors that count as failures all the same.
        also: ClientErrors,
    },
    /// Every one answered 4xx or 5xx, and those that the edge or the upstream failed without such an answer: 1 − (4xx +
    /// 5xx) ÷ total. Only what was never answered, by the client's doing, is not valid. It is never above
    /// [`Reading::Fault`].
    All,
}

impl Reading {
    /// A client's errors do not count.
    pub const FAULT: Self = Self::Fault {
        also: ClientErrors::NONE,
    };

    /// The reading's word in the configuration and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fault { .. } => "fault",
            Self::All => "all",
        }
    }

    /// Whether any answer that is the client's doing counts as a failure.
    pub fn counts_client_errors(self) -> bool {
        self != Self::FAULT
    }

    /// Whether a request was good; `None` when it is not valid.
    pub const fn is_good(self, outcome: Outcome, status: Option<u16>) -> Option<bool> {
        match (self, outcome, status) {
            (_, Outcome::Bad(_), _) => Some(false),
            (Self::Fault { also }, _, Some(status)) if also.holds(status) => Some(false),
            (Self::Fault { .. }, Outcome::Good, _) => Some(true),
            (Self::Fault { .. }, Outcome::Excluded(_), _) | (Self::All, _, None) => None,
            (Self::All, _, Some(status)) => Some(status < 400),
        }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::Fault { also } if *also != ClientErrors::NONE => write!(f, " +{also}"),
            Self::Fault { .. } | Self::All => Ok(()),
        }
    }
}

/// A set of statuses from 400 to 499: small, so that looking one up costs a request nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientErrors(u128);

impl ClientErrors {
    /// No status.
    pub const NONE: Self = Self(0);
    /// Every status from 400 to 499.
    pub const EVERY: Self = Self((1 << 100) - 1);

    /// The set of one status; `None` when it is no client's error.
    pub const fn one(status: u16) -> Option<Self> {
        match status {
            400..=499 => Some(Self(1 << (status - 400))),
            _ => None,
        }
    }

    /// Whether `status` is in it.
    pub const fn holds(self, status: u16) -> bool {
        matches!(Self::one(status), Some(Self(one)) if self.0 & one != 0)
    }

    /// What is in either.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether anything is in both.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Its statuses, rising.
    pub fn statuses(self) -> impl Iterator<Item = u16> {
        (400..500).filter(move |status| self.holds(*status))
    }
}

/// `4xx`, or the statuses with commas in between: `401,404`.
impl fmt::Display for ClientErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::EVERY {
            return f.write_str("4xx");
        }
        for (place, status) in self.statuses().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(f, "{comma}{status}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for ClientErrors {
    type Err = ClientErrorsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ClientErrorsError(text.to_owned());
        text.split(',').try_fold(Self::NONE, |all, part| {
            let statuses = match part {
                "4xx" => Self::EVERY,
                _ => part.parse().ok().and_then(Self::one).ok_or_else(refuse)?,
            };
            Ok(all.and(statuses))
        })
    }
}

/// Why a text is no [`ClientErrors`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a status from 400 to 499, and not `4xx`")]
pub struct ClientErrorsError(String);

impl Sli {
    /// Good unless an edge or upstream fault. A client's fault is not valid.
    pub const AVAILABILITY: Self = Self::Availability(Reading::FAULT);

    /// The indicator's word in labels and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Availability(_) => "availability",
            Self::Latency { .. } => "latency",
            Self::Connection => "connection",
            Self::RateLimit => "rate-limit",
            Self::Probe { .. } => "probe",
            Self::Vital(vital) => vital.as_str(),
            Self::Composite(_) => "composite",
        }
    }
}

/// A service-level objective: an indicator, what it is about, a target and the window it is promised over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slo {
    /// Unique name.
    pub id: String,
    /// What it is about.
    pub about: About,
    /// Who answers for what it is about; `None`: nobody is named, or several are.
    pub owner: Option<String>,
    /// What counts as good.
    pub sli: Sli,
    /// The slices of time that its requests are put together into; `None`: each request counts by itself.
    pub slices: Option<Slices>,
    /// What is weighed, with [`Sli::Composite`]; otherwise empty.
    pub parts: Vec<Part>,
    /// The probe that it counts, with [`Sli::Probe`]; otherwise `None`.
    pub probe: Option<String>,
    /// The share that must be good.
    pub objective: Objective,
    /// The rolling window of the error budget. With a calendar, its period's length by convention.
    pub window: Window,
    /// The calendar by whose periods the budget begins anew; `None`: it rolls.
    pub calendar: Option<Calendar>,
    /// The name of the alerting policy.
    pub policy: String,
    /// Where a person finds what to do.
    pub runbook: Option<String>,
}

impl Slo {
    /// The budget's window in words: `30d`, `calendar month in Europe/Berlin`.
    pub fn span(&self) -> String {
        match &self.calendar {
            None => self.window.to_string(),
            Some(calendar) => calendar.to_string(),
        }
    }

    /// What is counted, as a stable text: two SLOs with the same one count the same events. Objective, window and policy
    /// judge what was counted and are not in it. Counts of another text are of something else, and are not taken over.
    pub fn counted(&self) -> String {
        match self.slices {
            None => self.counted_requests(),
            Some(slices) => format!("{slices}, of {}", self.counted_requests()),
        }
    }

    /// The name that the requests of its slices are kept under, beside the slices.
    pub fn requests_id(id: &str) -> String {
        // No id has a slash.
        format!("{id}/requests")
    }

    /// `3 x checkout-available, 1 x web-fast`: the parts and their weights; empty when it has none.
    pub fn weights(&self) -> String {
        let parts = self.parts.iter();
        let parts = parts.map(|part| format!("{} x {}", part.weight, part.slo));
        parts.collect::<Vec<_>>().join(", ")
    }

    /// Makes known to each composite among `slos` what its parts count and, when that is one, who answers for all of them.
    pub fn compose(slos: &mut [Self]) {
        let known: Vec<(String, String, Option<String>)> = slos
            .iter()
            .map(|slo| (slo.id.clone(), slo.counted(), slo.owner.clone()))
            .collect();
        for slo in slos.iter_mut().filter(|slo| !slo.parts.is_empty()) {
            let mut owners: Vec<&Option<String>> = Vec::new();
            for part in &mut slo.parts {
                if let Some((_, counted, owner)) = known.iter().find(|(id, ..)| *id == part.slo) {
                    part.counted.clone_from(counted);
                    owners.push(owner);
                }
            }
            let first = owners.first().copied().cloned().flatten();
            slo.owner = first.filter(|first| {
                let mut owners = owners.iter();
                owners.all(|owner| owner.as_ref() == Some(first))
            });
        }
    }

    fn counted_requests(&self) -> String {
        let about = &self.about;
        match self.sli {
            Sli::Availability(reading) => format!("availability {reading} of {about}"),
            Sli::Latency { under } => {
                format!("latency up to {}us of {about}", under.as_micros())
            }
            Sli::Connection => format!("connections of attempts of {about}"),
            Sli::RateLimit => format!("requests within rate limits of {about}"),
            Sli::Probe { every } => {
                let probe = self.probe.as_deref().unwrap_or_default();
                format!("probe {probe} every {}s", every.as_secs())
            }
            Sli::Vital(vital) => vital.good(about),
            Sli::Composite(weighing) => {
                let parts = self.parts.iter().map(|part| {
                    let Part {
                        slo,
                        weight,
                        counted,
                    } = part;
                    format!("{weight} x {slo} ({counted})")
                });
                let parts: Vec<String> = parts.collect();
                format!("by {} {}", weighing.as_str(), parts.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Fault;

    #[test]
    fn a_set_of_statuses_is_read_as_it_is_written() {
        for text in ["401", "401,404,429", "4xx", "400,499"] {
            let read: ClientErrors = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
        }
        for text in ["", "399", "500", "4XX", "401,", "-401", "401 ,404"] {
            assert!(text.parse::<ClientErrors>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_reading_counts_what_it_says() {
        let also = "401,429".parse().unwrap();
        let readings = [Reading::FAULT, Reading::Fault { also }, Reading::All];
        let limited = Fault::RateLimited.outcome();
        let gone = Fault::ClientDisconnect.outcome();
        let reset = Fault::UpstreamReset.outcome();
        for (outcome, status, good) in [
            (Outcome::Good, Some(200), [Some(true); 3]),
            (Outcome::Good, Some(302), [Some(true); 3]),
            (
                Outcome::Good,
                Some(404),
                [Some(true), Some(true), Some(false)],
            ),
            (
                Outcome::Good,
                Some(401),
                [Some(true), Some(false), Some(false)],
            ),
            (limited, Some(429), [None, Some(false), Some(false)]),
            (
                Fault::NoRoute.outcome(),
                Some(404),
                [None, None, Some(false)],
            ),
            // Gone before an answer, and in the middle of one.
            (gone, None, [None, None, None]),
            (gone, Some(200), [None, None, Some(true)]),
            // Cut off after a good status, and before any.
            (reset, Some(200), [Some(false); 3]),
            (Fault::Drained.outcome(), None, [Some(false); 3]),
            (Fault::UpstreamStatus.outcome(), Some(503), [Some(false); 3]),
        ] {
            let read = readings.map(|reading| reading.is_good(outcome, status));
            assert_eq!(read, good, "{outcome:?} {status:?}");
        }
    }
}
