//! The exporter's thread: asks for measurements, encodes them, and keeps every lane moving.

use std::io;
use std::sync::Arc;
use std::sync::mpsc as ring;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::delivery::Delivery;
use super::lane::{Batch, Lane};
use super::metrics::{Baseline, Encoder, Measured, Temporality};
use super::requests::Requests;
use super::transport::{SetupError, Transport, encoded};
use super::{Config, Metrics, Signal};
use crate::clock::SystemClock;
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
        let mut deliveries = Vec::new();
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
            deliveries.push(Delivery {
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
            .spawn(move || runtime.block_on(work.run(deliveries, stopped)))?;
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
    async fn run(self, deliveries: Vec<Delivery>, mut stopped: oneshot::Receiver<Measured>) {
        let Self {
            lanes,
            config,
            asks,
            baseline,
            mut requests,
        } = self;
        let (ending, ends) = watch::channel(false);
        let mut ways = JoinSet::new();
        for delivery in deliveries {
            ways.spawn(delivery.run(ends.clone()));
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
        let all = async { while ways.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(config.flush, all).await.is_ok();
        if !in_time {
            ways.abort_all();
            while ways.join_next().await.is_some() {}
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
