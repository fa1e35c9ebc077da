//! All data-plane threads as one.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::SystemClock;
use crate::model::{EndpointKey, TraceShare};
use crate::net::mark::MarkKey;
use crate::proxy::generation::Generation;
use crate::proxy::listener::{self, BindError, Bound};
use crate::proxy::observe::AccessSink;
use crate::proxy::worker::{Collected, EndpointLoad, Gone, Handle, Setup};
use crate::sli::recorder::{Rules, Shard};

/// The running workers and the sockets they listen on.
#[derive(Debug)]
pub(super) struct Workers {
    handles: Vec<Handle>,
    /// One emptied shard per worker, to be filled again.
    spare: Vec<Shard>,
    listening: Vec<Listening>,
}

/// What every worker does with every request, whatever the configuration says of its route.
#[derive(Clone, Debug)]
pub(super) struct Habits {
    /// Who wants a record of it: the access log, the exporter.
    pub(super) logs: Vec<AccessSink>,
    /// Which traces that begin here are marked as sampled.
    pub(super) traces: TraceShare,
    /// Which of them are exported; `None`: no trace is.
    pub(super) exported: Option<TraceShare>,
    /// Knows probes' requests; `None`: all are users'.
    pub(super) marks: Option<MarkKey>,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listening {
    pub(super) name: String,
    /// The address asked for.
    pub(super) asked: SocketAddr,
    /// The address it has.
    pub(super) address: SocketAddr,
}

/// What all workers told together.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// One per worker that answered.
    pub(super) shards: Vec<Shard>,
    pub(super) in_flight: u64,
    pub(super) connections: u64,
    pub(super) tunnels: u64,
    pub(super) handshakes: u64,
    pub(super) handshakes_failed: u64,
    pub(super) encoded_refused: u64,
    pub(super) encoded_reported: u64,
    pub(super) retries_refused: u64,
    pub(super) accept_failures: u64,
    pub(super) probe_requests: u64,
    /// What each worker says of endpoints.
    pub(super) endpoints: Vec<(EndpointKey, EndpointLoad)>,
    /// Workers that no longer answer.
    pub(super) gone: usize,
}

/// A worker that does not answer for this long is busy with one request's work; its counts come with the next
/// collection.
const PATIENCE: Duration = Duration::from_millis(500);

impl Workers {
    /// Binds every listener and starts every worker.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(super) fn start(
        count: usize,
        clock: SystemClock,
        generation: &Arc<Generation>,
        rules: &Arc<Rules>,
        bound: Vec<Bound>,
        habits: Habits,
    ) -> io::Result<Self> {
        let listening = bound.iter().map(listening).collect();
        let handles = deal(count, bound)
            .into_iter()
            .enumerate()
            .map(|(index, sockets)| {
                Handle::start(Setup {
                    index,
                    clock,
                    generation: Arc::clone(generation),
                    rules: Arc::clone(rules),
                    sockets,
                    logs: habits.logs.clone(),
                    traces: habits.traces,
                    exported: habits.exported,
                    marks: habits.marks.clone(),
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        // The access log ends when the last of its senders does: none may outlive the workers.
        drop(habits);
        let spare = handles.iter().map(|_| Shard::new()).collect();
        Ok(Self {
            handles,
            spare,
            listening,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.handles.len()
    }

    pub(super) fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// Takes what every worker counted since the last time.
    pub(super) async fn gather(&mut self) -> Gathered {
        let mut gathered = Gathered::default();
        for (handle, spare) in self.handles.iter().zip(&mut self.spare) {
            match tokio::time::timeout(PATIENCE, handle.collect(std::mem::take(spare))).await {
                Ok(Ok(collected)) => gathered.add(collected),
                Ok(Err(Gone)) => gathered.gone += 1,
                Err(_late) => {}
            }
        }
        gathered
    }

    /// Takes back what [`Workers::gather`] gave, once it has been counted.
    pub(super) fn recycle(&mut self, shards: Vec<Shard>) {
        for (spare, shard) in self.spare.iter_mut().zip(shards) {
            spare.extend(shard);
        }
    }

    /// Serves by another generation: new listeners are opened, and those that are gone closed.
    pub(super) async fn swap(
        &mut self,
        generation: &Arc<Generation>,
        rules: &Arc<Rules>,
        change: ListenerChange,
    ) {
        let ListenerChange { open, close } = change;
        self.listening
            .retain(|listening| !close.contains(&listening.name));
        self.listening.extend(open.iter().map(listening));
        let dealt = deal(self.handles.len(), open);
        for (handle, sockets) in self.handles.iter().zip(dealt) {
            let swapped = handle
                .swap(
                    Arc::clone(generation),
                    Arc::clone(rules),
                    sockets,
                    close.clone(),
                )
                .await;
            if let Err(Gone) = swapped {
                tracing::error!("a worker is gone and could not be told of the new configuration");
            }
        }
    }

    /// Accepts no more connections, and ends those there are after their requests.
    pub(super) async fn drain(&self) {
        for handle in &self.handles {
            // A worker that is gone has nothing left to drain.
            handle.drain().await.unwrap_or_default();
        }
    }

    /// Cuts off what is left; gives what was not collected yet.
    pub(super) async fn stop(self) -> Gathered {
        let mut gathered = Gathered::default();
        for handle in self.handles {
            match handle.stop().await {
                Ok(collected) => gathered.add(collected),
                Err(Gone) => gathered.gone += 1,
            }
        }
        gathered
    }
}

impl Gathered {
    fn add(&mut self, collected: Collected) {
        let Collected {
            shard,
            in_flight,
            connections,
            tunnels,
            handshakes,
            handshakes_failed,
            encoded_refused,
            encoded_reported,
            retries_refused,
            accept_failures,
            probe_requests,
            endpoints,
        } = collected;
        self.shards.push(shard);
        self.in_flight += in_flight;
        self.connections += connections;
        self.tunnels += tunnels;
        self.handshakes += handshakes;
        self.handshakes_failed += handshakes_failed;
        self.encoded_refused += encoded_refused;
        self.encoded_reported += encoded_reported;
        self.retries_refused += retries_refused;
        self.accept_failures += accept_failures;
        self.probe_requests += probe_requests;
        self.endpoints.extend(endpoints);
    }
}

/// Which listeners come and go with a new configuration. The new ones are bound already.
#[derive(Debug, Default)]
pub(super) struct ListenerChange {
    open: Vec<Bound>,
    close: Vec<String>,
}

impl ListenerChange {
    /// Binds what `wanted` (name, address) has and `current` has not.
    ///
    /// # Errors
    /// When an address cannot be bound; what was bound for this change is let go of.
    pub(super) fn bind(
        current: &[Listening],
        wanted: &[(String, SocketAddr)],
        workers: usize,
    ) -> Result<Self, BindError> {
        let stays = |name: &str, address: SocketAddr| {
            current
                .iter()
                .any(|listening| listening.name == name && listening.asked == address)
        };
        let open = wanted
            .iter()
            .filter(|(name, address)| !stays(name, *address))
            .map(|(name, address)| listener::bind(name, *address, workers))
            .collect::<Result<Vec<_>, _>>()?;
        let goes = |listening: &&Listening| {
            !wanted
                .iter()
                .any(|(name, address)| *name == listening.name && *address == listening.asked)
        };
        let close = current
            .iter()
            .filter(goes)
            .map(|listening| listening.name.clone())
            .collect();
        Ok(Self { open, close })
    }
}

fn listening(bound: &Bound) -> Listening {
    Listening {
        name: bound.name.clone(),
        asked: bound.asked,
        address: bound.address,
    }
}

/// One socket of each listener to each worker.
fn deal(workers: usize, bound: Vec<Bound>) -> Vec<Vec<(String, TcpListener)>> {
    let mut dealt: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
    for Bound { name, sockets, .. } in bound {
        for (worker, socket) in dealt.iter_mut().zip(sockets) {
            worker.push((name.clone(), socket));
        }
    }
    dealt
}
