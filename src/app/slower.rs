//! Which routes grow slower by the day, looked for in the history once an hour is over.
//!
//! Days are too long to be kept in memory by route and hour, and an answer may be late by minutes: so the history is read,
//! an hour at a time, beside everything else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::{Clock, SystemClock};
use crate::model::Latency;
use crate::slo::slowdown::{self, Pace, Slowdown};
use crate::store::{QueryError, Reader};

/// From one round to the next. Less than a restarted alert waits for what made it fire.
const EVERY: Duration = Duration::from_secs(240);
/// When there was nothing to be read: hours that were over at a start are put together after its first minute.
const RETRY: Duration = Duration::from_secs(10);
/// Between two hours that are read: at a start they are many, and others need the processor.
const BREATH: Duration = Duration::from_millis(20);
const HOUR_S: u64 = 3_600;

/// Routes that grow slower, by id.
pub(super) type Slower = BTreeMap<String, Slowdown>;

/// Reads the history in `dir` and tells, until nobody listens any more.
pub(super) async fn run(dir: PathBuf, clock: SystemClock, tell: mpsc::Sender<Slower>) {
    let mut hours = Hours::default();
    loop {
        let now = clock.now().as_secs() / HOUR_S;
        // What cannot be read now may be read in the next round; the store says itself when it is in trouble.
        let read = hours.read(&dir, now).await;
        let Ok(Some(end)) = read else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        if tell.send(hours.slower(end)).await.is_err() {
            return;
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// How long requests took, by route and hour.
#[derive(Debug, Default)]
struct Hours {
    routes: BTreeMap<String, BTreeMap<u64, Pace>>,
    /// Hours that have been read: what is not among their routes had no request.
    read: Vec<u64>,
}

impl Hours {
    /// Reads what is not known yet of the hours before `now`; gives the end of those that are there.
    async fn read(&mut self, dir: &Path, now: u64) -> Result<Option<u64>, QueryError> {
        // An hour is put together some minutes after its end.
        let mut end = now;
        while !self.learn(dir, end.saturating_sub(1)).await? {
            end = end.saturating_sub(1);
            if end + 2 < now || end == 0 {
                return Ok(None);
            }
        }
        let needed = slowdown::hours_needed(end);
        for hour in needed.iter().flat_map(Clone::clone) {
            self.learn(dir, hour).await?;
        }
        let is_needed = |hour: &u64| needed.iter().any(|hours| hours.contains(hour));
        self.read.retain(is_needed);
        for paces in self.routes.values_mut() {
            paces.retain(|hour, _| is_needed(hour));
        }
        self.routes.retain(|_, paces| !paces.is_empty());
        Ok(Some(end))
    }

    /// Whether an hour is known, after it was read if it was not.
    async fn learn(&mut self, dir: &Path, hour: u64) -> Result<bool, QueryError> {
        if self.read.contains(&hour) {
            return Ok(true);
        }
        let dir = dir.to_owned();
        let reading = tokio::task::spawn_blocking(move || Reader::open(&dir)?.hour_latencies(hour));
        let found = match reading.await {
            Ok(found) => found?,
            // It ends with the process.
            Err(_) => None,
        };
        let Some(found) = found else {
            return Ok(false);
        };
        self.read.push(hour);
        for (route, latency) in found {
            if let Some(pace) = pace(&latency) {
                self.routes.entry(route).or_default().insert(hour, pace);
            }
        }
        tokio::time::sleep(BREATH).await;
        Ok(true)
    }

    fn slower(&self, end: u64) -> Slower {
        let slower = self.routes.iter().filter_map(|(route, paces)| {
            let found = Slowdown::find(end, |hour| paces.get(&hour).copied())?;
            Some((route.clone(), found))
        });
        slower.collect()
    }
}

fn pace(latency: &Latency) -> Option<Pace> {
    let percentiles = latency.percentiles()?;
    Some(Pace {
        p95_us: percentiles.p95_us,
        requests: latency.count(),
    })
}
