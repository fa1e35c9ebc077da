//! One minute of counts: as it is handed over, and as it waits for the disk.

use super::value::{LAST_MINUTE, stored};
use crate::model::{Counts, Latency, Phase, Tally};

/// What one minute came to. Every configured SLO and route is in it, idle ones with zeros: a missing row means "not
/// measured".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MinuteBatch {
    /// Whole minutes since the Unix epoch.
    pub minute: u64,
    /// Every route.
    pub routes: Vec<RouteMinute>,
    /// Every SLO.
    pub slos: Vec<SloMinute>,
}

/// What one minute came to on one route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteMinute {
    /// The route's id.
    pub route: String,
    /// Requests by outcome.
    pub counts: Counts,
    /// Total durations of valid requests; `None` when there was none.
    pub latency: Option<Latency>,
    /// Durations of each phase, indexed by [`Phase::index`]; `None` when no request reached it.
    pub phases: [Option<Latency>; Phase::ALL.len()],
    /// The sum of total durations behind `latency`, in microseconds.
    pub duration_us: u64,
    /// Request body bytes read.
    pub bytes_in: u64,
    /// Response body bytes sent.
    pub bytes_out: u64,
    /// Upstream attempts beyond each request's first.
    pub retries: u64,
    /// Its bad requests, told apart.
    pub bad_parts: Vec<BadPart>,
}

/// Some of a route's bad requests. Each dimension is a partition of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadPart {
    /// How they are told apart.
    pub dimension: String,
    /// Which ones.
    pub part: String,
    /// How many.
    pub count: u64,
}

/// What one minute came to for one SLO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SloMinute {
    /// The SLO's id.
    pub slo: String,
    /// What it counts (see [`crate::model::Slo::counted`]); empty when that is not known. Another text than that of what
    /// is stored under the id begins its history anew, and what is stored is kept under another name.
    pub counted: String,
    /// Its valid events.
    pub tally: Tally,
}

impl MinuteBatch {
    /// Gives up the distributions, which are nearly all of a batch's memory.
    pub(super) fn strip(&mut self) {
        for route in &mut self.routes {
            route.latency = None;
            route.phases = [const { None }; Phase::ALL.len()];
        }
    }
}

/// A distribution in its stored form: the total and the four phases.
pub(super) type Latencies = [Option<Vec<u8>>; 1 + Phase::ALL.len()];

/// A batch as it waits for the disk: small, since a distribution is 24 KB in memory and a few hundred bytes encoded.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) minute: i64,
    pub(super) routes: Vec<EncodedRoute>,
    pub(super) slos: Vec<EncodedSlo>,
    /// The bytes of all distributions in it.
    pub(super) latency_bytes: usize,
}

#[derive(Debug)]
pub(super) struct EncodedRoute {
    pub(super) name: String,
    /// Good, bad, excluded.
    pub(super) counted: [i64; 3],
    /// Duration in microseconds, bytes in, bytes out, retries.
    pub(super) summed: [i64; 4],
    /// `None` when nothing was measured.
    pub(super) latencies: Option<Latencies>,
    pub(super) bad_parts: Vec<BadPart>,
}

#[derive(Debug)]
pub(super) struct EncodedSlo {
    pub(super) name: String,
    pub(super) events: String,
    /// Good, bad.
    pub(super) counted: [i64; 2],
}

impl Encoded {
    /// Gives up the distributions and says whether there were any.
    pub(super) fn strip(&mut self) -> bool {
        let any = self.latency_bytes > 0;
        for route in &mut self.routes {
            route.latencies = None;
        }
        self.latency_bytes = 0;
        any
    }
}

impl From<MinuteBatch> for Encoded {
    fn from(batch: MinuteBatch) -> Self {
        let MinuteBatch {
            minute,
            routes,
            slos,
        } = batch;
        let routes: Vec<EncodedRoute> = routes.into_iter().map(EncodedRoute::from).collect();
        let latency_bytes = routes
            .iter()
            .filter_map(|route| route.latencies.as_ref())
            .flatten()
            .flatten()
            .map(Vec::len)
            .sum();
        Self {
            minute: stored(minute.min(LAST_MINUTE)),
            routes,
            slos: slos.into_iter().map(EncodedSlo::from).collect(),
            latency_bytes,
        }
    }
}

impl From<RouteMinute> for EncodedRoute {
    fn from(route: RouteMinute) -> Self {
        let RouteMinute {
            route: name,
            counts,
            latency,
            phases,
            duration_us,
            bytes_in,
            bytes_out,
            retries,
            bad_parts,
        } = route;
        let Counts {
            good,
            bad,
            excluded,
        } = counts;
        let encode = |latency: Option<Latency>| {
            latency
                .filter(|latency| !latency.is_empty())
                .map(|latency| latency.to_bytes())
        };
        let [edge, connect, wait, body] = phases;
        let latencies = [latency, edge, connect, wait, body].map(encode);
        Self {
            name,
            counted: [good, bad, excluded].map(stored),
            summed: [duration_us, bytes_in, bytes_out, retries].map(stored),
            latencies: latencies.iter().any(Option::is_some).then_some(latencies),
            bad_parts,
        }
    }
}

impl From<SloMinute> for EncodedSlo {
    fn from(slo: SloMinute) -> Self {
        let SloMinute {
            slo: name,
            counted: events,
            tally,
        } = slo;
        let Tally { good, bad } = tally;
        Self {
            name,
            events,
            counted: [good, bad].map(stored),
        }
    }
}
