//! A data-plane thread: its own runtime, sockets, upstream connections and recorder. Requests never leave it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::spawn_local;

use super::connection;
use super::generation::Generation;
use super::identity::IdSource;
use super::observe::{AccessSink, LogBuffer};
use super::pool::Pools;
use super::retry::Budget;
use super::shown::Shown;
use super::socket;
use crate::clock::{Clock, SystemClock};
use crate::model::{
    AccessRecord, EndpointKey, Handshake, Handshakes, PreambleFailure, Spread, TraceShare,
};
use crate::net::mark::MarkKey;
use crate::sli::recorder::{Recorder, Rules, Shard};

/// What all of a worker's connections share. On one thread, so plain cells do.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) clock: SystemClock,
    pub(super) recorder: RefCell<Recorder>,
    pub(super) pools: Pools,
    pub(super) ids: IdSource,
    /// Everyone who wants a record of each request.
    pub(super) logs: Vec<RefCell<LogBuffer>>,
    /// Which traces that begin here are exported; `None`: none is, whoever began it.
    pub(super) exported: Option<TraceShare>,
    /// Where small pieces become one before they are written; never held beyond that.
    pub(super) flat: RefCell<Vec<u8>>,
    /// Behind an `Rc` of its own: requests hold on to it without touching a count that other threads touch.
    generation: RefCell<Rc<Serving>>,
    /// What its listeners show: may be newer than the generation.
    shown: RefCell<Arc<Shown>>,
    /// Knows probes' requests.
    pub(super) marks: Option<MarkKey>,
    /// Requests that were a probe's.
    pub(super) probe_requests: Cell<u64>,
    pub(super) in_flight: Cell<u64>,
    pub(super) tunnels: Cell<u64>,
    pub(super) handshakes: Cell<Handshakes>,
    preambles_failed: Cell<[u64; PreambleFailure::COUNT]>,
    /// Paths with an encoded separator that were answered 400.
    pub(super) encoded_refused: Cell<u64>,
    /// Those that were passed on and are to be counted.
    pub(super) encoded_reported: Cell<u64>,
    pub(super) retries_refused: Cell<u64>,
    /// By [`RouteKey::index`](crate::model::RouteKey::index).
    pub(super) retries: RefCell<Vec<Budget>>,
    connections: Cell<u64>,
    /// Connections by the address of ours that they came to, since the start.
    arrivals: RefCell<BTreeMap<IpAddr, u64>>,
    accept_failures: Cell<u64>,
    /// No new requests on a connection after the one it serves.
    pub(super) draining: Cell<bool>,
    /// Told once, when draining begins.
    pub(super) drain: Notify,
    /// What is dropped from now on is dropped by us.
    pub(super) cutting: Cell<bool>,
    /// Told once, when the rest is cut off.
    pub(super) cut: Notify,
    /// Told when a connection ends.
    ended: Notify,
}

/// The generation in force on one worker.
#[derive(Debug)]
pub(super) struct Serving(Arc<Generation>);

impl std::ops::Deref for Serving {
    type Target = Generation;

    fn deref(&self) -> &Generation {
        &self.0
    }
}

impl Worker {
    pub(super) fn generation(&self) -> Rc<Serving> {
        Rc::clone(&self.generation.borrow())
    }

    /// What a certificate authority finds at `path` over plain HTTP; `None`: it looks for nothing there.
    pub(super) fn answer_at(&self, path: &str) -> Option<Bytes> {
        self.shown.borrow().answers().at(path).cloned()
    }
}

/// What a worker is started with.
#[derive(Debug)]
pub struct Setup {
    /// Names the thread.
    pub index: usize,
    /// The clock all workers share.
    pub clock: SystemClock,
    /// What it serves by.
    pub generation: Arc<Generation>,
    /// What it judges by.
    pub rules: Arc<Rules>,
    /// Its sockets, by listener name.
    pub sockets: Vec<(String, StdListener)>,
    /// Who wants a record of each request: the access log, the exporter.
    pub logs: Vec<AccessSink>,
    /// Which traces that begin here are marked as sampled.
    pub traces: TraceShare,
    /// Which traces that begin here are exported; `None`: none is, whoever began it.
    pub exported: Option<TraceShare>,
    /// Knows probes' requests; `None`: all are users'.
    pub marks: Option<MarkKey>,
}

/// A running worker.
#[derive(Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    thread: JoinHandle<()>,
}

/// What a worker tells when asked.
#[derive(Debug, Default)]
pub struct Collected {
    /// What was counted since it was last asked.
    pub shard: Shard,
    /// Requests being served.
    pub in_flight: u64,
    /// Open client connections.
    pub connections: u64,
    /// Upgraded connections.
    pub tunnels: u64,
    /// TLS handshakes since the start, by how they ended.
    pub handshakes: Handshakes,
    /// Connections refused for want of a PROXY header that holds, since the start, by [`PreambleFailure::index`].
    pub preambles_failed: [u64; PreambleFailure::COUNT],
    /// Paths with an encoded separator that were answered 400, since the start.
    pub encoded_refused: u64,
    /// Paths with an encoded separator that were passed on and are to be counted, since the start.
    pub encoded_reported: u64,
    /// Retries that were not made because the budget was spent, since the start.
    pub retries_refused: u64,
    /// Connections that could not be accepted since the start.
    pub accept_failures: u64,
    /// Requests of probes since the start. They are in no shard.
    pub probe_requests: u64,
    /// Connections by the address of ours that they came to, since the start.
    pub arrivals: Vec<(IpAddr, u64)>,
    /// Where unused connections to endpoints with a name lead, and how many do.
    pub kept: Vec<(EndpointKey, IpAddr, u64)>,
    /// Endpoints that carry something, are left alone, or have answered since it was last asked.
    pub endpoints: Vec<(EndpointKey, EndpointLoad)>,
}

/// What one worker says of an endpoint that it has to do with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointLoad {
    /// Requests and tunnels on their way to it.
    pub in_flight: u64,
    /// Whether this worker leaves it alone because too many exchanges failed in a row.
    pub ejected: bool,
    /// How long it took to answer since this was last asked; `None`: it did not answer once.
    pub waits: Option<Box<Spread>>,
}

impl Collected {
    /// The same but for what is told only once.
    #[must_use]
    pub fn standing(&self) -> Self {
        Self {
            shard: Shard::new(),
            endpoints: Vec::new(),
            arrivals: self.arrivals.clone(),
            kept: self.kept.clone(),
            ..*self
        }
    }
}

/// A worker no longer answers: its thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a proxy worker has ended unexpectedly")]
pub struct Gone;

#[derive(Debug)]
enum Command {
    Collect {
        recycle: Shard,
        reply: oneshot::Sender<Collected>,
    },
    Swap {
        generation: Arc<Generation>,
        shown: Arc<Shown>,
        rules: Arc<Rules>,
        open: Vec<(String, StdListener)>,
        close: Vec<String>,
        reply: oneshot::Sender<()>,
    },
    Show {
        shown: Arc<Shown>,
        reply: oneshot::Sender<()>,
    },
    Drain,
    Stop {
        reply: oneshot::Sender<Collected>,
    },
}

/// Commands come from one task that waits for each answer; more than a few waiting would mean the worker is stuck.
const COMMANDS: usize = 8;

impl Handle {
    /// Starts a worker thread.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made, or a socket cannot be registered.
    pub fn start(setup: Setup) -> io::Result<Self> {
        let (commands, received) = mpsc::channel(COMMANDS);
        let runtime = Builder::new_current_thread();
        let (started, outcome) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(format!("worker-{}", setup.index))
            .spawn(move || run(runtime, setup, received, &started))?;
        // A closed channel means that the thread died before it could say why.
        outcome
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the worker thread died while starting")))?;
        Ok(Self { commands, thread })
    }

    /// Asks for what the worker counted; `recycle` is a shard it may fill again. The answer must be waited for: what it
    /// brings is told once.
    ///
    /// # Errors
    /// When the worker has ended.
    pub async fn collect(&self, recycle: Shard) -> Result<oneshot::Receiver<Collected>, Gone> {
        self.send(|reply| Command::Collect { recycle, reply }).await
    }

    /// Serves new requests by another generation, with sockets added and removed. Requests under way keep theirs.
    ///
    /// # Errors
    /// When the worker has ended.
    pub async fn swap(
        &self,
        generation: Arc<Generation>,
        shown: Arc<Shown>,
        rules: Arc<Rules>,
        open: Vec<(String, StdListener)>,
        close: Vec<String>,
    ) -> Result<(), Gone> {
        self.ask(|reply| Command::Swap {
            generation,
            shown,
            rules,
            open,
            close,
            reply,
        })
        .await
    }

    /// Shows new connections something else; routes and sockets stay as they are.
    ///
    /// # Errors
    /// When the worker has ended.
    pub async fn show(&self, shown: Arc<Shown>) -> Result<(), Gone> {
        self.ask(|reply| Command::Show { shown, reply }).await
    }

    /// Accepts no more connections and ends those there are after their requests.
    ///
    /// # Errors
    /// When the worker has ended.
    pub async fn drain(&self) -> Result<(), Gone> {
        self.commands.send(Command::Drain).await.or(Err(Gone))
    }

    /// Cuts off what is left, ends the thread and gives what it had not handed out yet.
    ///
    /// # Errors
    /// When the worker has ended by itself.
    pub async fn stop(self) -> Result<Collected, Gone> {
        let last = self.ask(|reply| Command::Stop { reply }).await;
        // It has answered or died; either way it is done, and joining it only reaps it.
        drop(self.thread.join());
        last
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Gone> {
        self.send(command).await?.await.or(Err(Gone))
    }

    async fn send<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<oneshot::Receiver<T>, Gone> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.or(Err(Gone))?;
        Ok(answer)
    }
}

fn run(
    mut runtime: Builder,
    setup: Setup,
    commands: mpsc::Receiver<Command>,
    started: &std::sync::mpsc::SyncSender<io::Result<()>>,
) {
    let runtime = match runtime.enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => return drop(started.send(Err(error))),
    };
    let Setup {
        index: _,
        clock,
        generation,
        rules,
        sockets,
        logs,
        traces,
        exported,
        marks,
    } = setup;
    let worker = Rc::new(Worker {
        clock,
        recorder: RefCell::new(Recorder::new(rules)),
        pools: Pools::new(setup.index),
        ids: IdSource::from_system(traces),
        logs: logs.into_iter().map(LogBuffer::new).collect(),
        exported,
        flat: RefCell::new(Vec::with_capacity(socket::COPY)),
        shown: RefCell::new(Arc::clone(generation.shown())),
        generation: RefCell::new(Rc::new(Serving(generation))),
        in_flight: Cell::new(0),
        tunnels: Cell::new(0),
        handshakes: Cell::new(Handshakes::default()),
        preambles_failed: Cell::new([0; PreambleFailure::COUNT]),
        encoded_refused: Cell::new(0),
        encoded_reported: Cell::new(0),
        retries_refused: Cell::new(0),
        retries: RefCell::default(),
        connections: Cell::new(0),
        arrivals: RefCell::default(),
        accept_failures: Cell::new(0),
        marks,
        probe_requests: Cell::new(0),
        draining: Cell::new(false),
        drain: Notify::new(),
        cutting: Cell::new(false),
        cut: Notify::new(),
        ended: Notify::new(),
    });
    let last = runtime.block_on(work(Rc::clone(&worker), sockets, commands, started));
    // Dropping the runtime drops what is still being served; each request's tracker then records that we cut it off.
    worker.cutting.set(true);
    worker.pools.clear();
    drop(runtime);
    for log in &worker.logs {
        log.borrow_mut().flush();
    }
    if let Some(reply) = last {
        // Whoever asked may have given up waiting.
        drop(reply.send(worker.collected()));
    }
}

async fn work(
    worker: Rc<Worker>,
    sockets: Vec<(String, StdListener)>,
    mut commands: mpsc::Receiver<Command>,
    started: &std::sync::mpsc::SyncSender<io::Result<()>>,
) -> Option<oneshot::Sender<Collected>> {
    let mut listeners = Listeners::default();
    let mut opened = Ok(());
    for (name, socket) in sockets {
        opened = opened.and_then(|()| listeners.open(&worker, name, socket));
    }
    // The starter waits for this; it cannot have gone.
    drop(started.send(opened));
    spawn_local(keep_house(Rc::clone(&worker)));
    while let Some(command) = commands.recv().await {
        match command {
            Command::Collect { recycle, reply } => {
                worker.recorder.borrow_mut().recycle(recycle);
                drop(reply.send(worker.collected()));
            }
            Command::Swap {
                generation,
                shown,
                rules,
                open,
                close,
                reply,
            } => {
                worker.generation.replace(Rc::new(Serving(generation)));
                worker.shown.replace(shown);
                worker.recorder.borrow_mut().replace_rules(rules);
                for name in close {
                    listeners.close(&name);
                }
                for (name, socket) in open {
                    if let Err(error) = listeners.open(&worker, name, socket) {
                        tracing::error!(%error, "a bound socket could not be registered");
                    }
                }
                // Whoever asked may have given up waiting.
                reply.send(()).unwrap_or_default();
            }
            Command::Show { shown, reply } => {
                worker.shown.replace(shown);
                // Whoever asked may have given up waiting.
                reply.send(()).unwrap_or_default();
            }
            Command::Drain => {
                worker.draining.set(true);
                listeners.close_all();
                worker.drain.notify_waiters();
            }
            Command::Stop { reply } => {
                worker.cutting.set(true);
                worker.cut.notify_waiters();
                return Some(reply);
            }
        }
    }
    None
}

/// How often access lines are handed over though their buffer is not full.
const LOG_EVERY: Duration = Duration::from_millis(100);
/// Every so many of those, old connections are let go of.
const SWEEP_EVERY: u32 = 10;

async fn keep_house(worker: Rc<Worker>) {
    let mut ticks = tokio::time::interval(LOG_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count = 0_u32;
    loop {
        ticks.tick().await;
        for log in &worker.logs {
            log.borrow_mut().flush();
        }
        count = count.wrapping_add(1);
        if count.is_multiple_of(SWEEP_EVERY) {
            worker.pools.sweep(worker.clock.tick());
        }
    }
}

impl Worker {
    /// Tells everyone who wants to know of a finished request.
    pub(super) fn log(&self, record: &AccessRecord<'_>) {
        for log in &self.logs {
            log.borrow_mut().write(record);
        }
    }

    /// Counts a connection refused for want of a PROXY header that holds.
    pub(super) fn preamble_failed(&self, failure: PreambleFailure) {
        let mut failed = self.preambles_failed.get();
        failed[failure.index()] += 1;
        self.preambles_failed.set(failed);
    }

    fn collected(&self) -> Collected {
        Collected {
            shard: self.recorder.borrow_mut().take(),
            in_flight: self.in_flight.get(),
            connections: self.connections.get(),
            tunnels: self.tunnels.get(),
            handshakes: self.handshakes.get(),
            preambles_failed: self.preambles_failed.get(),
            encoded_refused: self.encoded_refused.get(),
            encoded_reported: self.encoded_reported.get(),
            retries_refused: self.retries_refused.get(),
            accept_failures: self.accept_failures.get(),
            probe_requests: self.probe_requests.get(),
            arrivals: self
                .arrivals
                .borrow()
                .iter()
                .map(|it| (*it.0, *it.1))
                .collect(),
            kept: self.pools.kept(),
            endpoints: self.pools.loads(self.clock.tick()),
        }
    }
}

/// Addresses of ours that connections are counted by; more are not told apart.
const MOST_ADDRESSES: usize = 256;

impl Worker {
    /// A TLS handshake has ended.
    pub(super) fn shook_hands(&self, how: Handshake) {
        let mut all = self.handshakes.get();
        all[how.index()] += 1;
        self.handshakes.set(all);
    }

    /// A connection has come to this address of ours.
    fn arrived(&self, address: IpAddr) {
        let mut arrivals = self.arrivals.borrow_mut();
        if let Some(count) = arrivals.get_mut(&address) {
            *count += 1;
        } else if arrivals.len() < MOST_ADDRESSES {
            arrivals.insert(address, 1);
        }
    }
}

/// The accepting tasks, by listener.
#[derive(Default)]
struct Listeners(Vec<(String, Rc<Notify>)>);

impl Listeners {
    fn open(&mut self, worker: &Rc<Worker>, name: String, socket: StdListener) -> io::Result<()> {
        let listener = TcpListener::from_std(socket)?;
        let stop = Rc::new(Notify::new());
        spawn_local(accept(
            Rc::clone(worker),
            listener,
            Rc::from(name.as_str()),
            Rc::clone(&stop),
        ));
        self.0.push((name, stop));
        Ok(())
    }

    fn close(&mut self, name: &str) {
        self.0.retain(|(existing, stop)| {
            let keep = existing != name;
            if !keep {
                stop.notify_one();
            }
            keep
        });
    }

    fn close_all(&mut self) {
        for (_, stop) in self.0.drain(..) {
            stop.notify_one();
        }
    }
}

/// After a failure to accept (no descriptors left, say) trying again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

async fn accept(worker: Rc<Worker>, listener: TcpListener, name: Rc<str>, stop: Rc<Notify>) {
    // On one address all arrive there; on every one, each has to be asked.
    let bound = listener.local_addr().map(|address| address.ip());
    let only = bound.ok().filter(|ip| !ip.is_unspecified());
    let start = |worker: &Rc<Worker>, name: &Rc<str>, stream: TcpStream, peer: SocketAddr| {
        let asked = || {
            stream
                .local_addr()
                .map(|address| address.ip().to_canonical())
        };
        if let Some(address) = only.or_else(|| asked().ok())
            // Whoever comes from here asks for itself: our own looks and probes.
            && peer.ip().to_canonical() != address
        {
            worker.arrived(address);
        }
        start(worker, name, stream, peer);
    };
    // A reload that removes the listener takes its certificates away before its socket: nobody is served without them.
    let guarded = |worker: &Worker| {
        worker.shown.borrow().listener(&name).is_some()
            || worker.generation().expects_preamble(&name)
    };
    let mut was_guarded = guarded(&worker);
    let mut start = |stream: TcpStream, peer: SocketAddr| {
        let is_guarded = guarded(&worker);
        if was_guarded && !is_guarded && !worker.generation().has_listener(&name) {
            return;
        }
        was_guarded = is_guarded;
        start(&worker, &name, stream, peer);
    };
    loop {
        let full = worker.connections.get() >= worker.generation().limits.max_connections as u64;
        tokio::select! {
            biased;
            () = stop.notified() => break,
            () = worker.ended.notified(), if full => {}
            accepted = listener.accept(), if !full => match accepted {
                Ok((stream, peer)) => start(stream, peer),
                Err(error) => {
                    worker.accept_failures.set(worker.accept_failures.get() + 1);
                    tracing::debug!(%error, listener = &*name, "a connection could not be accepted");
                    if !is_about_one_connection(&error) {
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            },
        }
    }
    // Connections that the kernel had already completed would be reset with the socket.
    while let Some(Ok((stream, peer))) = accept_now(&listener).await {
        start(stream, peer);
    }
}

async fn accept_now(listener: &TcpListener) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    std::future::poll_fn(|cx| match listener.poll_accept(cx) {
        std::task::Poll::Ready(accepted) => std::task::Poll::Ready(Some(accepted)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

fn start(worker: &Rc<Worker>, listener: &Rc<str>, stream: TcpStream, peer: SocketAddr) {
    let tls = worker.shown.borrow().listener(listener).cloned();
    let listener = Rc::clone(listener);
    let open = OpenConnection::new(worker);
    spawn_local(async move {
        connection::serve(Rc::clone(&open.0), stream, peer, listener, tls).await;
        drop(open);
    });
}

/// Counts a connection for as long as it lives, a panic in it included.
struct OpenConnection(Rc<Worker>);

impl OpenConnection {
    fn new(worker: &Rc<Worker>) -> Self {
        worker.connections.set(worker.connections.get() + 1);
        Self(Rc::clone(worker))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
        self.0.ended.notify_one();
    }
}

/// Runs HTTP/2's tasks on the worker's own thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}
