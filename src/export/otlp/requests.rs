//! Finished requests on their way to being spans and log records.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc as ring;
use std::time::Duration;

use tokio::sync::watch;

use super::exporter::StartError;
use super::lane::Lane;
use super::logs::Logs;
use super::record::records;
use super::sampling::Sampler;
use super::spans::Spans;
use super::{Config, Signal};
use crate::clock::{Clock as _, SystemClock};
use crate::snapshot::Snapshot;

/// Makes spans and log records of what the request threads leave behind.
pub(super) struct Requests {
    clock: SystemClock,
    received: ring::Receiver<Vec<u8>>,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    routes: Routes,
    sampler: Option<Sampler>,
    spans: Option<Spans>,
    logs: Option<Logs>,
    /// Who sends, but for the hash of the configuration.
    resource: Vec<(String, String)>,
    /// Looks since what was gathered was last handed over.
    looks: u32,
}

/// What routes are called and promise, as of one configuration.
#[derive(Default)]
struct Routes {
    generation: u64,
    routes: HashMap<Vec<u8>, Route>,
}

struct Route {
    /// As configured; `None` for requests that no route took.
    path: Option<String>,
    /// The strictest latency SLO.
    under_us: Option<u64>,
}

impl Requests {
    pub(super) fn try_new(
        config: &Config,
        lanes: &[Arc<Lane>],
        clock: SystemClock,
        received: ring::Receiver<Vec<u8>>,
        snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    ) -> Result<Self, StartError> {
        let lane = |signal| {
            lanes
                .iter()
                .find(|lane| lane.signal() == signal)
                .map(Arc::clone)
        };
        let traces = config.traces.as_ref();
        let spans = traces.zip(lane(Signal::Traces)).map(|(traces, lane)| {
            Spans::try_new(lane, traces.receiver.gzip, &config.resource).map_err(|error| {
                StartError::Receiver {
                    signal: Signal::Traces,
                    receiver: traces.receiver.to_string(),
                    why: error.to_string(),
                }
            })
        });
        let logs = config.logs.as_ref().zip(lane(Signal::Logs));
        Ok(Self {
            received,
            snapshots,
            routes: Routes::default(),
            sampler: traces.map(|traces| Sampler::new(traces.sampling, clock.tick())),
            spans: spans.transpose()?,
            logs: logs.map(|(receiver, lane)| Logs::new(lane, receiver.gzip, &config.resource)),
            resource: config.resource.clone(),
            clock,
            looks: 0,
        })
    }

    /// Waits a little and takes over what came.
    pub(super) async fn look(&mut self) {
        if self.spans.is_none() && self.logs.is_none() {
            return std::future::pending().await;
        }
        tokio::time::sleep(LOOK).await;
        self.take_over().await;
        self.looks += 1;
        if self.looks >= LOOKS {
            self.looks = 0;
            self.flush().await;
        }
    }

    /// Takes over everything that is left. Nobody adds to it any more.
    pub(super) async fn finish(&mut self) {
        self.take_over().await;
        self.flush().await;
    }

    /// Goes by the configuration in force. What was gathered under the one before leaves under its hash.
    async fn configured(&mut self) {
        let snapshot = self.snapshots.borrow_and_update().clone();
        let Some(snapshot) = snapshot else { return };
        if snapshot.config.generation == self.routes.generation {
            return;
        }
        self.flush().await;
        self.routes = Routes::of(&snapshot);
        let mut resource = self.resource.clone();
        resource.push((CONFIG_HASH.to_owned(), snapshot.config.hash.clone()));
        if let Some(spans) = &mut self.spans {
            spans.come_from(&resource);
        }
        if let Some(logs) = &mut self.logs {
            logs.come_from(&resource);
        }
    }

    async fn take_over(&mut self) {
        self.configured().await;
        let now = self.clock.tick();
        while let Ok(batch) = self.received.try_recv() {
            for record in records(&batch) {
                let route = self.routes.routes.get(record.route);
                let path = route.and_then(|route| route.path.as_deref());
                let under_us = route.and_then(|route| route.under_us);
                if let (Some(sampler), Some(spans)) = (&mut self.sampler, &mut self.spans)
                    && let Some(kept) = sampler.keep(&record, under_us, now)
                {
                    spans.push(&record, path, kept).await;
                }
                if let Some(logs) = &mut self.logs {
                    logs.push(&record, path);
                }
            }
            // Batches must leave while others are made.
            tokio::task::yield_now().await;
        }
    }

    async fn flush(&mut self) {
        if let Some(spans) = &mut self.spans {
            spans.flush().await;
        }
        if let Some(logs) = &mut self.logs {
            logs.flush();
        }
    }
}

/// Between two looks at what the request threads left.
const LOOK: Duration = Duration::from_millis(100);
/// Looks until a batch that is not full is sent anyway.
const LOOKS: u32 = 10;

/// The resource attribute of spans and log records that says which configuration served their requests. Measurements have
/// a series for it: backends that make labels of resource attributes would begin all of theirs anew with every reload.
const CONFIG_HASH: &str = "vestibule.config.hash";

impl Routes {
    fn of(snapshot: &Snapshot) -> Self {
        let routes = snapshot.routes.iter().map(|route| {
            let slos = snapshot.slos.iter().filter(|slo| slo.holds(route));
            let route_is = Route {
                path: (!route.path.is_empty()).then(|| route.path.clone()),
                under_us: slos.filter_map(|slo| slo.under_us).min(),
            };
            (route.id.clone().into_bytes(), route_is)
        });
        Self {
            generation: snapshot.config.generation,
            routes: routes.collect(),
        }
    }
}
