//! What waits to be sent: one bounded lane per signal, and the account of what became of everything that entered it.
//!
//! When a lane is full, what comes newly is refused: what waits is older and nearer to being sent, and throwing it away
//! would make every item wait and then be lost. Cumulative measurements are the exception: a newer batch says
//! everything that the one it replaces said.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::Signal;
use crate::model::Timestamp;
use crate::snapshot::ExporterView;

/// One encoded message.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// Protobuf, compressed if so configured.
    pub(super) body: Bytes,
    /// Data points, spans or records in it.
    pub(super) items: u64,
}

/// Why items were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The lane was full.
    QueueFull,
    /// The receiver refused the batch for good.
    Refused,
    /// The receiver took the batch without them.
    Rejected,
    /// The process ended first.
    Shutdown,
}

impl Reason {
    pub(super) const ALL: [Self; 4] = [
        Self::QueueFull,
        Self::Refused,
        Self::Rejected,
        Self::Shutdown,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Shutdown => "shutdown",
        }
    }
}

/// One signal's way out.
#[derive(Debug)]
pub(crate) struct Lane {
    signal: Signal,
    receiver: String,
    protocol: &'static str,
    most_bytes: usize,
    /// A newer batch takes the place of those that wait.
    supersedes: bool,
    // A std mutex: nothing awaits inside, and only the exporter's thread and, once a second, control take it.
    state: Mutex<State>,
    /// Something was added, or the end has come.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Batch>,
    waiting_bytes: usize,
    closing: bool,
    sent: u64,
    dropped: [u64; Reason::ALL.len()],
    last_success: Option<Timestamp>,
    failing_since: Option<Timestamp>,
    error: Option<String>,
}

impl Lane {
    pub(super) fn new(
        signal: Signal,
        receiver: &super::Receiver,
        most_bytes: usize,
        supersedes: bool,
    ) -> Self {
        Self {
            signal,
            receiver: receiver.to_string(),
            protocol: receiver.protocol.as_str(),
            most_bytes,
            supersedes,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(super) fn signal(&self) -> Signal {
        self.signal
    }

    /// Items to gather into one batch: so few that several of the largest batches fit.
    pub(super) fn batch_items(&self) -> usize {
        (self.most_bytes / LARGEST_ITEM).clamp(1, BATCH)
    }

    /// Adds a batch, or counts it as lost.
    pub(super) fn push(&self, batch: Batch) {
        {
            let mut state = self.state();
            if self.supersedes {
                state.waiting.clear();
                state.waiting_bytes = 0;
            }
            if state.waiting_bytes + batch.body.len() > self.most_bytes {
                state.drop_items(Reason::QueueFull, batch.items);
                return;
            }
            state.waiting_bytes += batch.body.len();
            state.waiting.push_back(batch);
        }
        self.changed.notify_one();
    }

    /// The next batch; waits for it. `None`: nothing waits and nothing will come.
    pub(super) async fn next(&self) -> Option<Batch> {
        loop {
            {
                let mut state = self.state();
                if let Some(batch) = state.waiting.pop_front() {
                    state.waiting_bytes -= batch.body.len();
                    return Some(batch);
                }
                if state.closing {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Whether a batch that is being tried again has been made pointless by a newer one.
    pub(super) fn is_superseded(&self) -> bool {
        self.supersedes && !self.state().waiting.is_empty()
    }

    /// Nothing more will be added.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.changed.notify_one();
    }

    /// The receiver took a batch, but for `rejected` of its items.
    pub(super) fn sent(&self, now: Timestamp, items: u64, rejected: u64, message: &str) {
        let mut state = self.state();
        let rejected = rejected.min(items);
        state.sent += items - rejected;
        state.drop_items(Reason::Rejected, rejected);
        state.last_success = Some(now);
        state.failing_since = None;
        state.error =
            (rejected > 0).then(|| format!("{rejected} of {items} items rejected: {message}"));
    }

    /// An attempt failed.
    pub(super) fn failed(&self, now: Timestamp, error: String) {
        let mut state = self.state();
        state.failing_since.get_or_insert(now);
        state.error = Some(error);
    }

    /// Items are lost.
    pub(super) fn lost(&self, reason: Reason, items: u64) {
        self.state().drop_items(reason, items);
    }

    /// Counts everything that still waits as lost, and says how much the end of the process cost in all.
    pub(super) fn abandon(&self) -> u64 {
        let mut state = self.state();
        let items = state.waiting.drain(..).map(|batch| batch.items).sum();
        state.waiting_bytes = 0;
        state.drop_items(Reason::Shutdown, items);
        state.dropped[Reason::Shutdown as usize]
    }

    /// What is shown of it.
    pub(crate) fn view(&self) -> ExporterView {
        let state = self.state();
        ExporterView {
            signal: self.signal.as_str().to_owned(),
            receiver: self.receiver.clone(),
            protocol: self.protocol.to_owned(),
            sent: state.sent,
            dropped: Reason::ALL
                .iter()
                .zip(state.dropped)
                .map(|(reason, count)| (reason.as_str().to_owned(), count))
                .collect(),
            queued_bytes: state.waiting_bytes as u64,
            queue_bytes: self.most_bytes as u64,
            last_success: state.last_success,
            failing_since: state.failing_since,
            error: state.error.clone(),
        }
    }

    /// Nothing panics while it is held, and counters are good for use even if something had.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Items of one batch, at most.
const BATCH: usize = 512;
/// Of which that is a generous share of the lane: four times what a log record of a usual request takes, uncompressed.
const LARGEST_ITEM: usize = 4 << 10;

impl State {
    fn drop_items(&mut self, reason: Reason, items: u64) {
        self.dropped[reason as usize] += items;
    }
}
