//! What a snapshot shows of one ring, whoever's it is.

use super::{LATELY_S, MINUTE_S};
use crate::model::{Counts, EndpointKey, EndpointTally, Fault, Percentiles, Phase, Timestamp};
use crate::sli::ring::RouteRing;
use crate::snapshot::{FaultCount, Measure, PhaseView, Series};

/// Columns of a series.
const COLUMNS: usize = 60;
/// A column's width in seconds.
const COLUMN_S: u64 = 60;

/// Everything that is shown of a ring.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    /// The last minute.
    pub(super) now: Measure,
    /// The hour before the last minute.
    pub(super) before: Measure,
    /// The last hour.
    pub(super) hour: Option<Percentiles>,
    /// The last hour in columns.
    pub(super) series: Series,
    /// Bad requests of the last five minutes.
    pub(super) bad_lately: u64,
    /// Faults of the last five minutes, most frequent first.
    pub(super) faults: Vec<FaultCount>,
    /// What endpoints did in the last five minutes.
    pub(super) endpoints: Vec<(EndpointKey, EndpointTally)>,
    /// Where the time of the last five minutes went.
    pub(super) phases: Vec<PhaseView>,
}

impl Measured {
    /// At second `now_secs`.
    pub(super) fn of(ring: &RouteRing, now_secs: u64) -> Self {
        let before = ring.hour_before(now_secs);
        let series = ring.series(now_secs, COLUMNS, COLUMN_S);
        Self {
            now: measure(
                ring.counts_over(MINUTE_S, now_secs),
                ring.covered_over(MINUTE_S, now_secs),
                ring.latency_over_last_minute(now_secs),
            ),
            before: measure(before.counts, before.covered_s, before.latency),
            hour: ring.latency_over_hour(),
            series: Series {
                start: Timestamp::from_secs(series.start_secs),
                step_s: series.step_s,
                requests: series.requests,
                bad: series.bad,
                p99_us: series.p99_us,
            },
            bad_lately: ring.counts_over(LATELY_S, now_secs).bad,
            faults: faults(&ring.faults_over_5m(now_secs)),
            endpoints: ring.endpoints_over(LATELY_S, now_secs),
            phases: phases(ring, now_secs),
        }
    }
}

fn measure(counts: Counts, covered_s: u64, latency: Option<Percentiles>) -> Measure {
    Measure {
        covered_s,
        requests: counts.requests(),
        bad: counts.bad,
        excluded: counts.excluded,
        rate_per_s: (covered_s > 0).then(|| counts.requests() as f64 / covered_s as f64),
        bad_ratio: (counts.valid() > 0).then(|| counts.bad as f64 / counts.valid() as f64),
        p50_us: latency.map(|latency| latency.p50_us),
        p99_us: latency.map(|latency| latency.p99_us),
    }
}

fn faults(counts: &[u64; Fault::COUNT]) -> Vec<FaultCount> {
    let mut faults: Vec<FaultCount> = Fault::ALL
        .iter()
        .zip(counts)
        .filter(|(_, count)| **count > 0)
        .map(|(fault, count)| FaultCount {
            fault: *fault,
            side: Fault::side(*fault),
            count: *count,
        })
        .collect();
    faults.sort_by_key(|fault| (std::cmp::Reverse(fault.count), fault.fault));
    faults
}

fn phases(ring: &RouteRing, now_secs: u64) -> Vec<PhaseView> {
    let times = Phase::ALL.into_iter().zip(ring.phases_over_5m(now_secs));
    times
        .filter_map(|(phase, time)| {
            let time = time?;
            Some(PhaseView {
                phase: phase.as_str().to_owned(),
                count: time.count,
                p50_us: time.percentiles.p50_us,
                p99_us: time.percentiles.p99_us,
            })
        })
        .collect()
}
