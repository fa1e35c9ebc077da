//! History in memory: what was counted, kept just finely enough to be summed over any window at once.
//!
//! - [`TallyRing`]: one SLO's good and bad events, for judging. Months of it, read in constant time.
//! - [`RouteRing`]: one route's requests, latencies, faults and endpoints, for showing. Hours of it.
//! - [`HourRing`]: one route's week by the hour, to know what is usual.
//!
//! All are fed once a second and are told the time; both are refilled from the store when the process starts. They
//! know when they were *not* measuring: a gap is not an idle hour.

mod coverage;
mod distribution;
mod hours;
mod route;
mod tally;

pub use hours::HourRing;
pub use route::{Mark, PastHour, PhaseTime, RouteRing, RouteSeries};
pub use tally::{Point, TallyRing};

/// How far apart two calls of `advance` may be and still count as measured without a break, in seconds. A busy machine
/// may delay the caller while the workers go on counting; a process that was stopped or a machine that slept is away
/// for longer.
const STALL_S: u64 = 10;
