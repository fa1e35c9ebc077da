//! The exporter's thread: asks for measurements, encodes them, and keeps every lane moving.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc as ring;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::answer::Answer;
use super::lane::{Batch, Lane, Reason};
use super::logs::Logs;
use super::metrics::{Baseline, Encoder, Measured, Temporality};
use super::record::records;
use super::sampling::Sampler;
use super::spans::Spans;
use super::transport::{SetupError, Transport, encoded};
use super::{Config, Metrics, Signal};
use crate::clock::{Clock as _, SystemClock};
use crate::snapshot::{ExporterView, Snapshot};

/// A request for everything measured up to now.
pub type Ask = oneshot::Sender<Measured>;

/// The running exporter.
#[derive(Debug)]
pub struct Exporter {
    lanes: Vec<Arc<Lane>>,
    /// Takes batches of records; `None` when nobody wants them.
    pub records: Option<ring::SyncSender<Vec<u8>>>,
    /// Given the last measurements, the thread sends what it has and ends.
    stop: oneshot::Sender<Measured>,
    thread: JoinHandle<()>,
}

/// What the exporter reads.
#[derive(Debug)]
pub struct Inputs {
    /// Where measurements are asked for.
    pub asks: mpsc::Sender<Ask>,
    /// Everything shown, for what routes are called and promise.
    pub snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// What had been counted before this process.
    pub baseline: Baseline,
}

/// Batches of records that may wait to be looked at: at most about 8 MB.
pub const RECORDS: usize = 256;

/// Why exporting could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// TLS files, names.
    #[error("cannot export {signal} to {receiver}: {why}", signal = signal.as_str())]
    Receiver {
        /// What was to be exported.
        signal: Signal,
        /// Where to.
        receiver: String,
        /// Why not.
        why: String,
    },
    /// The thread.
    #[error("cannot start the OTLP exporter: {0}")]
    Thread(#[from] io::Error),
}

impl Exporter {
    /// Starts the thread; `None` when nothing is exported.
    ///
    /// # Errors
    /// When a receiver's TLS cannot be set up or the thread cannot be started.
    pub fn start(
        config: &Config,
        clock: SystemClock,
        inputs: Inputs,
    ) -> Result<Option<Self>, StartError> {
        if config.is_off() {
            return Ok(None);
        }
        let mut lanes = Vec::new();
        let mut ways = Vec::new();
        for signal in Signal::ALL {
            let Some(receiver) = config.receiver(signal) else {
                continue;
            };
            let supersedes = signal == Signal::Metrics
                && config
                    .metrics
                    .as_ref()
                    .is_some_and(|metrics| metrics.temporality == Temporality::Cumulative);
            let lane = Arc::new(Lane::new(signal, receiver, config.queue_bytes, supersedes));
            let transport = Transport::try_new(signal, receiver.clone());
            let transport = transport.map_err(|error: SetupError| StartError::Receiver {
                signal,
                receiver: receiver.to_string(),
                why: error.to_string(),
            })?;
            lanes.push(Arc::clone(&lane));
            ways.push(Way {
                lane,
                transport,
                timeout: receiver.timeout,
                clock,
            });
        }
        let (stop, stopped) = oneshot::channel();
        let (sender, received) = ring::sync_channel(RECORDS);
        let requests = Requests::try_new(config, &lanes, clock, received, inputs.snapshots)?;
        let work = Work {
            lanes: lanes.clone(),
            config: config.clone(),
            asks: inputs.asks,
            baseline: inputs.baseline,
            requests,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("otlp".to_owned())
            .spawn(move || runtime.block_on(work.run(ways, stopped)))?;
        Ok(Some(Self {
            lanes,
            records: config.wants_records().then_some(sender),
            stop,
            thread,
        }))
    }

    /// How each signal fares.
    pub fn view(&self) -> Vec<ExporterView> {
        self.lanes.iter().map(|lane| lane.view()).collect()
    }

    /// Sends the last measurements and all that waits, for at most the configured time. Blocks.
    pub fn finish(self, last: Measured) {
        // A thread that panicked has nothing more to send.
        drop(self.stop.send(last));
        drop(self.thread.join());
    }
}

struct Work {
    lanes: Vec<Arc<Lane>>,
    config: Config,
    asks: mpsc::Sender<Ask>,
    baseline: Baseline,
    requests: Requests,
}

impl Work {
    async fn run(self, ways: Vec<Way>, mut stopped: oneshot::Receiver<Measured>) {
        let Self {
            lanes,
            config,
            asks,
            baseline,
            mut requests,
        } = self;
        let (ending, ends) = watch::channel(false);
        let mut deliveries = JoinSet::new();
        for way in ways {
            deliveries.spawn(way.deliver(ends.clone()));
        }
        let lane = |signal| lanes.iter().find(|lane| lane.signal() == signal);
        let mut measurements =
            config
                .metrics
                .as_ref()
                .zip(lane(Signal::Metrics))
                .map(|(metrics, lane)| Measurements {
                    encoder: Encoder::new(&config.resource, metrics.temporality, baseline),
                    metrics,
                    lane,
                });
        let mut measured = std::pin::pin!(next(&asks, config.metrics.as_ref()));
        let last = loop {
            tokio::select! {
                biased;
                last = &mut stopped => break last.ok(),
                measured_now = &mut measured => match (measured_now, &mut measurements) {
                    (Some(now), Some(measurements)) => {
                        measurements.push(&now);
                        measured.set(next(&asks, config.metrics.as_ref()));
                    }
                    (None, _) | (_, None) => break (&mut stopped).await.ok(),
                },
                () = requests.look() => {}
            }
        };
        if let (Some(last), Some(measurements)) = (last, &mut measurements) {
            measurements.push(&last);
        }
        requests.finish().await;
        for lane in &lanes {
            lane.close();
        }
        ending.send_replace(true);
        let all = async { while deliveries.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(config.flush, all).await.is_ok();
        if !in_time {
            deliveries.abort_all();
            while deliveries.join_next().await.is_some() {}
        }
        for lane in &lanes {
            let items = lane.abandon();
            if items > 0 {
                tracing::warn!(
                    signal = lane.signal().as_str(),
                    items,
                    "not sent before the process ended"
                );
            }
        }
    }
}

/// The next measurements, after the interval. `None`: nobody measures any more. Never, when they are not exported.
async fn next(asks: &mpsc::Sender<Ask>, metrics: Option<&Metrics>) -> Option<Measured> {
    let Some(metrics) = metrics else {
        return std::future::pending().await;
    };
    tokio::time::sleep(metrics.interval).await;
    let (ask, answer) = oneshot::channel();
    asks.send(ask).await.ok()?;
    answer.await.ok()
}

struct Measurements<'a> {
    encoder: Encoder,
    metrics: &'a Metrics,
    lane: &'a Lane,
}

impl Measurements<'_> {
    fn push(&mut self, measured: &Measured) {
        let (message, items) = self.encoder.encode(measured);
        let body = encoded(message, self.metrics.receiver.gzip);
        self.lane.push(Batch { body, items });
    }
}

/// Finished requests on their way to being spans and log records.
struct Requests {
    clock: SystemClock,
    received: ring::Receiver<Vec<u8>>,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    routes: Routes,
    sampler: Option<Sampler>,
    spans: Option<Spans>,
    logs: Option<Logs>,
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
    fn try_new(
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
            clock,
            looks: 0,
        })
    }

    /// Waits a little and takes over what came.
    async fn look(&mut self) {
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
    async fn finish(&mut self) {
        self.take_over().await;
        self.flush().await;
    }

    async fn take_over(&mut self) {
        self.routes
            .update(self.snapshots.borrow_and_update().as_deref());
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

impl Routes {
    fn update(&mut self, snapshot: Option<&Snapshot>) {
        let Some(snapshot) =
            snapshot.filter(|snapshot| snapshot.config.generation != self.generation)
        else {
            return;
        };
        self.generation = snapshot.config.generation;
        let routes = snapshot.routes.iter().map(|route| {
            let slos = snapshot.slos.iter().filter(|slo| slo.route == route.id);
            let route_is = Route {
                path: (!route.path.is_empty()).then(|| route.path.clone()),
                under_us: slos.filter_map(|slo| slo.under_us).min(),
            };
            (route.id.clone().into_bytes(), route_is)
        });
        self.routes = routes.collect();
    }
}

/// From a lane to its receiver.
struct Way {
    lane: Arc<Lane>,
    transport: Transport,
    timeout: Duration,
    clock: SystemClock,
}

/// A batch in the hands of [`Way::deliver`]: lost with the process unless somebody says otherwise.
struct Held<'a> {
    lane: &'a Lane,
    items: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.lane.lost(Reason::Shutdown, self.items);
    }
}

impl Way {
    /// Sends batch after batch until the lane is closed and empty.
    async fn deliver(mut self, mut ends: watch::Receiver<bool>) {
        let lane = Arc::clone(&self.lane);
        while let Some(batch) = lane.next().await {
            let mut held = Held {
                lane: &lane,
                items: batch.items,
            };
            let mut failures = 0;
            loop {
                let answer = tokio::time::timeout(self.timeout, self.transport.send(&batch)).await;
                let answer = answer.unwrap_or_else(|_late| Answer::Later {
                    error: format!("no answer within {:?}", self.timeout),
                    after: None,
                });
                let now = self.clock.now();
                match answer {
                    Answer::Taken { rejected, message } => {
                        if rejected > 0 || !message.is_empty() {
                            tracing::warn!(
                                signal = lane.signal().as_str(),
                                rejected,
                                message,
                                "the OTLP receiver complains"
                            );
                        }
                        lane.sent(now, batch.items, rejected, &message);
                        break;
                    }
                    Answer::Refused { error } => {
                        tracing::warn!(
                            signal = lane.signal().as_str(),
                            items = batch.items,
                            error,
                            "the OTLP receiver refuses"
                        );
                        lane.failed(now, error);
                        lane.lost(Reason::Refused, batch.items);
                        break;
                    }
                    Answer::Later { error, after } => {
                        tracing::debug!(
                            signal = lane.signal().as_str(),
                            error,
                            "an OTLP export is tried again"
                        );
                        lane.failed(now, error);
                        let ending = *ends.borrow();
                        let wait = wait(
                            failures,
                            after,
                            ending,
                            self.clock
                                .tick()
                                .micros_since(crate::clock::Tick::default()),
                        );
                        failures += 1;
                        tokio::select! {
                            () = tokio::time::sleep(wait) => {}
                            // A last try at once; whoever asked for patience gets it even now.
                            _ = ends.changed(), if !ending && after.is_none() => {}
                        }
                        if lane.is_superseded() {
                            break;
                        }
                    }
                }
            }
            held.items = 0;
        }
    }
}

/// How long to wait after so many failures before: twice as long each time, between half of it and all of it, so that
/// many instances do not come back at the same moment. `chance` is any number.
fn wait(failures: u32, after: Option<Duration>, ending: bool, chance: u64) -> Duration {
    let most = if ending { LONGEST_AT_THE_END } else { LONGEST };
    let backoff = FIRST.saturating_mul(1 << failures.min(10)).min(most);
    let mixed = chance.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let share = mixed as f64 / f64::from(1 << 24);
    let jittered = backoff.mul_f64(0.5 + share / 2.0);
    jittered.max(after.unwrap_or_default().min(LONGEST_ASKED))
}

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// While the process waits for its end.
const LONGEST_AT_THE_END: Duration = Duration::from_millis(500);
/// A receiver may ask for so much patience and no more: a wrong number must not end exporting.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_stay_within_bounds_and_respect_the_receiver() {
        for chance in [0, 1, 77, u64::MAX] {
            for failures in [0, 1, 5, 31, u32::MAX] {
                let wait = wait(failures, None, false, chance);
                assert!(wait >= FIRST / 2 && wait <= LONGEST, "{wait:?}");
            }
            let asked = Duration::from_secs(60);
            assert_eq!(wait(0, Some(asked), false, chance), asked);
            assert_eq!(wait(0, Some(Duration::MAX), false, chance), LONGEST_ASKED);
            assert!(wait(9, None, true, chance) <= LONGEST_AT_THE_END);
        }
    }
}
