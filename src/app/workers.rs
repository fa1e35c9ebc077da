//! All data-plane threads as one.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::SystemClock;
use crate::model::{EndpointKey, Handshakes, PreambleFailure, TraceShare};
use crate::net::mark::MarkKey;
use crate::proxy::generation::Generation;
use crate::proxy::listener::{self, BindError, Bound};
use crate::proxy::observe::AccessSink;
use crate::proxy::shown::Shown;
use crate::proxy::worker::{Collected, EndpointLoad, Gone, Handle, Setup};
use crate::sli::recorder::{Rules, Shard};

/// The running workers and the sockets they listen on.
#[derive(Debug)]
pub(super) struct Workers {
    crew: Vec<Member>,
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
    /// By how they ended, since the start.
    pub(super) handshakes: Handshakes,
    /// By [`PreambleFailure::index`].
    pub(super) preambles_failed: [u64; PreambleFailure::COUNT],
    pub(super) encoded_refused: u64,
    pub(super) encoded_reported: u64,
    pub(super) retries_refused: u64,
    pub(super) accept_failures: u64,
    pub(super) probe_requests: u64,
    /// Connections by the address of ours that they came to, since the start.
    pub(super) arrivals: BTreeMap<IpAddr, u64>,
    /// Where unused connections to endpoints with a name lead.
    pub(super) kept: Vec<(EndpointKey, IpAddr, u64)>,
    /// What each worker says of endpoints.
    pub(super) endpoints: Vec<(EndpointKey, EndpointLoad)>,
    /// Workers that no longer answer.
    pub(super) gone: usize,
}

/// A worker that does not answer for this long is busy with one request's work; its counts come with a later collection.
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
        Ok(Self {
            crew: handles.into_iter().map(Member::new).collect(),
            listening,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.crew.len()
    }

    pub(super) fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// Takes what every worker counted since the last time.
    pub(super) async fn gather(&mut self) -> Gathered {
        let mut gathered = Gathered::default();
        for member in &mut self.crew {
            member.tell(&mut gathered).await;
        }
        gathered
    }

    /// Takes back what [`Workers::gather`] gave, once it has been counted.
    pub(super) fn recycle(&mut self, shards: Vec<Shard>) {
        for (member, shard) in self.crew.iter_mut().zip(shards) {
            member.spare.extend(shard);
        }
    }

    /// Serves by another generation: new listeners are opened, and those that are gone closed.
    pub(super) async fn swap(
        &mut self,
        generation: &Arc<Generation>,
        shown: &Arc<Shown>,
        rules: &Arc<Rules>,
        change: ListenerChange,
    ) {
        let ListenerChange { open, close } = change;
        self.listening
            .retain(|listening| !close.contains(&listening.name));
        self.listening.extend(open.iter().map(listening));
        let dealt = deal(self.crew.len(), open);
        for (member, sockets) in self.crew.iter().zip(dealt) {
            let swapped = member
                .handle
                .swap(
                    Arc::clone(generation),
                    Arc::clone(shown),
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

    /// Has every worker show something else.
    pub(super) async fn show(&mut self, shown: &Arc<Shown>) {
        for member in &self.crew {
            if let Err(Gone) = member.handle.show(Arc::clone(shown)).await {
                tracing::error!("a worker is gone and could not be told what to show");
            }
        }
    }

    /// Accepts no more connections, and ends those there are after their requests.
    pub(super) async fn drain(&self) {
        for member in &self.crew {
            // A worker that is gone has nothing left to drain.
            member.handle.drain().await.unwrap_or_default();
        }
    }

    /// Cuts off what is left; gives what was not collected yet.
    pub(super) async fn stop(self) -> Gathered {
        let mut gathered = Gathered::default();
        for member in self.crew {
            match member.handle.stop().await {
                Ok(collected) => gathered.add(collected),
                Err(Gone) => gathered.gone += 1,
            }
            // Asked before it was told to stop, it has answered before it stopped.
            if let Some(mut answer) = member.asked
                && let Ok(late) = answer.try_recv()
            {
                gathered.shards.push(late.shard);
            }
        }
        gathered
    }
}

/// One worker, and what is between it and us.
#[derive(Debug)]
struct Member {
    handle: Handle,
    /// Slots for it to fill again.
    spare: Shard,
    /// A question that it has not answered yet. It stays open: what it counted is told once, and would be lost with it.
    asked: Option<oneshot::Receiver<Collected>>,
    /// What it told last, without what is told once.
    last: Collected,
}

impl Member {
    fn new(handle: Handle) -> Self {
        Self {
            handle,
            spare: Shard::new(),
            asked: None,
            last: Collected::default(),
        }
    }

    /// Adds what it has to tell. A worker that is late tells it next time; until then it stands where it stood, and one
    /// that is gone has what it counted since the start, so that no counter falls.
    async fn tell(&mut self, gathered: &mut Gathered) {
        let answer = match self.asked.take() {
            Some(open) => Ok(open),
            None => self.handle.collect(std::mem::take(&mut self.spare)).await,
        };
        let Ok(mut answer) = answer else {
            return self.is_gone(gathered);
        };
        match tokio::time::timeout(PATIENCE, &mut answer).await {
            Ok(Ok(collected)) => {
                self.last = collected.standing();
                gathered.add(collected);
            }
            Ok(Err(_)) => self.is_gone(gathered),
            Err(_late) => {
                self.asked = Some(answer);
                gathered.add(self.last.standing());
            }
        }
    }

    fn is_gone(&self, gathered: &mut Gathered) {
        gathered.gone += 1;
        gathered.add(Collected {
            in_flight: 0,
            connections: 0,
            tunnels: 0,
            ..self.last.standing()
        });
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
            preambles_failed,
            encoded_refused,
            encoded_reported,
            retries_refused,
            accept_failures,
            probe_requests,
            arrivals,
            kept,
            endpoints,
        } = collected;
        self.shards.push(shard);
        self.in_flight += in_flight;
        self.connections += connections;
        self.tunnels += tunnels;
        for (sum, count) in self.handshakes.iter_mut().zip(handshakes) {
            *sum += count;
        }
        for (sum, failed) in self.preambles_failed.iter_mut().zip(preambles_failed) {
            *sum += failed;
        }
        self.encoded_refused += encoded_refused;
        self.encoded_reported += encoded_reported;
        self.retries_refused += retries_refused;
        self.accept_failures += accept_failures;
        self.probe_requests += probe_requests;
        for (address, count) in arrivals {
            *self.arrivals.entry(address).or_default() += count;
        }
        self.kept.extend(kept);
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
