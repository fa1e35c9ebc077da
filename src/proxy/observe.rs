//! Exactly one observation per request.
//!
//! A `Tracker` is made when a request's head arrives and travels with it: through routing, the upstream attempts and
//! into the response's body. Whoever learns the outcome says so; if nobody does, because hyper dropped the request
//! when the client went away, dropping the tracker says that. Either way it records once.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

use http::{HeaderValue, Method, Version};

use super::connection::{ConnectionState, OpenRequest};
use super::generation::Generation;
use super::identity::{RequestId, TraceContext};
use super::worker::{Serving, Worker};
use crate::clock::{Clock, Tick};
use crate::model::{
    AccessRecord, Attempts, EndpointKey, Exemplar, Fault, NO_ROUTE, Observation, Outcome, Phase,
    Phases, RouteKey, Source, WriteAccessLine,
};

/// What is known of a request before it is routed.
#[derive(Debug)]
pub(super) struct RequestFacts {
    pub(super) client: IpAddr,
    pub(super) tls: bool,
    pub(super) version: Version,
    pub(super) method: Method,
    pub(super) host: HeaderValue,
    /// The path in its one form, without the query.
    pub(super) path: PathText,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) request_id: RequestId,
    pub(super) trace: TraceContext,
    /// It carries the mark of a probe, and is no user's.
    pub(super) is_probe: bool,
}

/// A path kept for the log: shared with the request's target when that is already in its one form.
#[derive(Debug)]
pub(super) enum PathText {
    Shared(http::uri::PathAndQuery),
    Owned(String),
}

impl PathText {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Shared(target) => target.path(),
            Self::Owned(path) => path,
        }
    }
}

/// Follows one request to its end.
#[derive(Debug)]
pub(super) struct Tracker {
    worker: Rc<Worker>,
    generation: Rc<Serving>,
    /// The connection owes this request an answer until the tracker goes.
    open: OpenRequest,
    /// `None` once recorded.
    state: Option<State>,
}

#[derive(Debug)]
struct State {
    started: Tick,
    /// When the phase now under way began.
    phase_began: Tick,
    facts: RequestFacts,
    /// Index into the generation's routes.
    route: Option<usize>,
    /// By index into the upstream's endpoints.
    attempts: Attempts<u32>,
    status: Option<u16>,
    phases: Phases,
    bytes_in: u64,
    bytes_out: u64,
}

impl Tracker {
    pub(super) fn new(
        connection: &Rc<ConnectionState>,
        generation: Rc<Serving>,
        started: Tick,
        facts: RequestFacts,
    ) -> Self {
        let worker = Rc::clone(&connection.worker);
        worker.in_flight.set(worker.in_flight.get() + 1);
        let state = State {
            started,
            phase_began: started,
            facts,
            route: None,
            attempts: Attempts::default(),
            status: None,
            phases: Phases::default(),
            bytes_in: 0,
            bytes_out: 0,
        };
        Self {
            worker,
            generation,
            open: OpenRequest::new(connection),
            state: Some(state),
        }
    }

    pub(super) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    pub(super) fn generation(&self) -> &Generation {
        &self.generation
    }

    pub(super) fn facts(&self) -> &RequestFacts {
        &self
            .state
            .as_ref()
            .expect("asked for before the end is recorded")
            .facts
    }

    pub(super) fn started(&self) -> Tick {
        self.state
            .as_ref()
            .map_or(Tick::default(), |state| state.started)
    }

    pub(super) fn routed(&mut self, route: usize) {
        if let Some(state) = &mut self.state {
            state.route = Some(route);
        }
    }

    /// An attempt at an endpoint begins: when the phase before it ended.
    pub(super) fn attempt(&mut self, endpoint: usize) {
        if let Some(state) = &mut self.state {
            let began = state.phase_began.micros_since(state.started);
            let endpoint = u32::try_from(endpoint).unwrap_or(u32::MAX);
            state.attempts.begin(endpoint, began);
        }
    }

    /// When the phase under way began.
    pub(super) fn phase_began(&self) -> Tick {
        self.state
            .as_ref()
            .map_or(Tick::default(), |state| state.phase_began)
    }

    /// The attempt under way has an answer.
    pub(super) fn attempt_answered(&mut self, status: u16) {
        if let Some(state) = &mut self.state {
            state.attempts.answered(status);
        }
    }

    /// The attempt under way came to nothing, when the last phase ended.
    pub(super) fn attempt_failed(&mut self, fault: Fault) {
        if let Some(state) = &mut self.state {
            let ended = state.phase_began.micros_since(state.started);
            state.attempts.failed(fault, ended);
        }
    }

    /// The attempt under way is given up for another, when the last phase ended.
    pub(super) fn attempt_ended(&mut self) {
        if let Some(state) = &mut self.state {
            let ended = state.phase_began.micros_since(state.started);
            state.attempts.ended(ended);
        }
    }

    /// What the upstream is told of the trace at the attempt under way.
    pub(super) fn trace_of_attempt(&self) -> TraceContext {
        let made = self.state.as_ref().map_or(0, |state| state.attempts.made());
        self.facts().trace.of_attempt(made.saturating_sub(1))
    }

    /// The phase under way ends now; time of the same phase in an earlier attempt is added.
    pub(super) fn phase_ends(&mut self, phase: Phase) {
        self.phase_ended(phase, self.worker.clock.tick());
    }

    /// [`Tracker::phase_ends`] for one who has just read the clock.
    pub(super) fn phase_ended(&mut self, phase: Phase, now: Tick) {
        if let Some(state) = &mut self.state {
            state.end_phase(phase, now);
        }
    }

    /// An attempt got no connection.
    pub(super) fn connect_failed(&mut self, endpoint: EndpointKey) {
        if self.facts().is_probe {
            return;
        }
        let route = self.route_key();
        self.worker
            .recorder
            .borrow_mut()
            .connect_failure(route, endpoint);
    }

    /// An attempt got a connection, a new one or one that was kept.
    pub(super) fn connected(&mut self) {
        if self.facts().is_probe {
            return;
        }
        let route = self.route_key();
        self.worker.recorder.borrow_mut().connected(route);
    }

    /// An attempt failed, and another follows.
    pub(super) fn retried(&mut self, endpoint: EndpointKey) {
        if self.facts().is_probe {
            return;
        }
        let route = self.route_key();
        self.worker.recorder.borrow_mut().retried(route, endpoint);
    }

    pub(super) fn status(&mut self, status: u16) {
        if let Some(state) = &mut self.state {
            state.status = Some(status);
        }
    }

    pub(super) fn bytes_in(&mut self, bytes: u64) {
        if let Some(state) = &mut self.state {
            state.bytes_in = bytes;
        }
    }

    /// The request's body was read to its end.
    pub(super) fn body_is_read(&mut self) {
        self.open.connection().body_unread.set(false);
    }

    /// More of the response's body is asked for.
    pub(super) fn body_is_asked(&mut self) {
        self.open.is_asked();
    }

    /// A piece of the response's body is handed over.
    pub(super) fn hands_over(&mut self, bytes: usize) {
        self.open.hands_over();
        self.bytes_out(bytes);
    }

    pub(super) fn bytes_out(&mut self, bytes: usize) {
        if let Some(state) = &mut self.state {
            state.bytes_out += bytes as u64;
        }
    }

    /// The response went out whole; 5xx of the upstream is its fault all the same.
    pub(super) fn complete(&mut self) {
        self.completed(self.worker.clock.tick());
    }

    /// [`Tracker::complete`] for one who has just read the clock.
    pub(super) fn completed(&mut self, now: Tick) {
        let status = self.state.as_ref().and_then(|state| state.status);
        let outcome = match status {
            Some(status) if status >= 500 => Outcome::Bad(Fault::UpstreamStatus),
            _ => Outcome::Good,
        };
        self.finish(outcome, now);
    }

    pub(super) fn fail(&mut self, fault: Fault) {
        self.finish(fault.outcome(), self.worker.clock.tick());
    }

    /// Trace and span of a request that is an example of its duration.
    fn exported(&self, facts: &RequestFacts, outcome: Outcome) -> Option<(u128, u64)> {
        let share = self.worker.exported?;
        match outcome {
            Outcome::Good | Outcome::Bad(_) => facts.trace.exported(share),
            // In no histogram.
            Outcome::Excluded(_) => None,
        }
    }

    fn route_key(&self) -> RouteKey {
        let route = self.state.as_ref().and_then(|state| state.route);
        route.map_or(RouteKey::NONE, |route| self.generation.routes[route].key)
    }

    fn finish(&mut self, outcome: Outcome, now: Tick) {
        let route_key = self.route_key();
        let Some(mut state) = self.state.take() else {
            return;
        };
        if state.phases[Phase::Wait.index()].is_some() {
            state.end_phase(Phase::Body, now);
        }
        let route = state.route.map(|route| &self.generation.routes[route]);
        state.attempts.end(outcome.fault());
        let upstream = route.and_then(|route| route.upstream);
        let endpoints = upstream.map(|upstream| &self.generation.upstreams[upstream].endpoints);
        let endpoint = |place: u32| endpoints?.get(place as usize);
        let last = state.attempts.last().and_then(endpoint);
        let observation = Observation {
            route: route_key,
            endpoint: last.map(|endpoint| endpoint.key),
            source: if state.facts.is_probe {
                Source::Probe
            } else {
                Source::Proxy
            },
            outcome,
            status: state.status,
            duration_us: now.micros_since(state.started),
            phases: state.phases,
            attempts: state.attempts.made(),
            bytes_in: state.bytes_in,
            bytes_out: state.bytes_out,
        };
        match observation.source {
            Source::Proxy => {
                let mut recorder = self.worker.recorder.borrow_mut();
                recorder.record(&observation);
                if let Some((trace_id, span_id)) = self.exported(&state.facts, outcome) {
                    let (clock, duration_us) = (&self.worker.clock, observation.duration_us);
                    recorder.exemplify(route_key, duration_us, || Exemplar {
                        at: clock.now(),
                        duration_us,
                        trace_id,
                        span_id,
                    });
                }
            }
            // What a probe came to is counted by who sent it. Here it would be a user that never was.
            Source::Probe => {
                let seen = &self.worker.probe_requests;
                seen.set(seen.get() + 1);
            }
        }
        self.worker.in_flight.set(self.worker.in_flight.get() - 1);
        if !self.worker.logs.is_empty() {
            let facts = &state.facts;
            let named = |place| endpoint(place).map_or("", |endpoint| &*endpoint.address);
            let attempts = state.attempts.map(named);
            self.worker.log(&AccessRecord {
                at: self.worker.clock.now(),
                observation: &observation,
                route: route.map_or(NO_ROUTE, |route| &route.route.id),
                endpoint: attempts.last().unwrap_or_default(),
                attempts: attempts.as_slice(),
                client: facts.client,
                scheme: scheme(facts.tls),
                protocol: protocol(facts.version),
                method: facts.method.as_str(),
                host: facts.host.as_bytes(),
                path: facts.path.as_str(),
                user_agent: facts
                    .user_agent
                    .as_ref()
                    .map_or(b"", |agent| agent.as_bytes()),
                request_id: facts.request_id.as_str(),
                trace_id: facts.trace.trace_id(),
                span_id: facts.trace.span_id(),
                parent_id: facts.trace.parent_id(),
                sampled: facts.trace.is_sampled(),
            });
        }
    }
}

impl State {
    fn end_phase(&mut self, phase: Phase, now: Tick) {
        let spent = u32::try_from(now.micros_since(self.phase_began)).unwrap_or(u32::MAX);
        let total = self.phases[phase.index()].get_or_insert(0);
        *total = total.saturating_add(spent);
        self.phase_began = now;
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        if self.state.is_none() {
            return;
        }
        // Nobody said how it ended: hyper let go of the request because its connection is gone, or we are stopping,
        // or a defect of ours is unwinding this task (the others go on).
        let fault = if std::thread::panicking() {
            Fault::Internal
        } else if self.worker.cutting.get() {
            Fault::Drained
        } else if self.open.client_stalled() {
            Fault::ClientStalled
        } else {
            Fault::ClientDisconnect
        };
        self.fail(fault);
    }
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        // hyper serves nothing else.
        _ => "HTTP/1.1",
    }
}

/// `http` or `https`.
pub(super) const fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

/// A request that never became one: hyper could not read its head. Counted under no route, and logged with what little
/// is known.
pub(super) fn unreadable(connection: &ConnectionState, fault: Fault) {
    let worker = &connection.worker;
    let http2 = connection.http2.get();
    let observation = Observation {
        route: RouteKey::NONE,
        endpoint: None,
        source: Source::Proxy,
        outcome: fault.outcome(),
        // Frames of HTTP/2 that are refused belong to no request that could be answered.
        status: fault.status().filter(|_| !http2),
        duration_us: 0,
        phases: Phases::default(),
        attempts: 0,
        bytes_in: 0,
        bytes_out: 0,
    };
    worker.recorder.borrow_mut().record(&observation);
    if !worker.logs.is_empty() {
        worker.log(&AccessRecord {
            at: worker.clock.now(),
            observation: &observation,
            route: NO_ROUTE,
            endpoint: "",
            attempts: &[],
            client: connection.peer,
            scheme: scheme(connection.tls.is_some()),
            protocol: protocol(if http2 {
                Version::HTTP_2
            } else {
                Version::HTTP_11
            }),
            method: "",
            host: b"",
            path: "",
            user_agent: b"",
            request_id: "",
            trace_id: "",
            span_id: "",
            parent_id: "",
            sampled: false,
        });
    }
}

/// Where finished access lines go: a bounded channel to whoever writes them.
#[derive(Clone, Debug)]
pub struct AccessSink {
    /// Makes one line.
    pub write: WriteAccessLine,
    /// Takes batches of whole lines.
    pub batches: SyncSender<Vec<u8>>,
    /// Lines that were refused because the writer could not keep up. Shared by all workers, touched only then.
    pub dropped: Arc<AtomicU64>,
}

/// One worker's lines that are not handed over yet.
#[derive(Debug)]
pub(super) struct LogBuffer {
    sink: AccessSink,
    lines: Vec<u8>,
    count: u64,
}

/// Handed over when it is this full, or ten times a second.
const BATCH: usize = 128 * 1024;

impl LogBuffer {
    pub(super) fn new(sink: AccessSink) -> RefCell<Self> {
        RefCell::new(Self {
            sink,
            lines: Vec::with_capacity(BATCH + 4_096),
            count: 0,
        })
    }

    pub(super) fn write(&mut self, record: &AccessRecord<'_>) {
        (self.sink.write)(&mut self.lines, record);
        self.count += 1;
        if self.lines.len() >= BATCH {
            self.flush();
        }
    }

    /// Hands the lines over; never waits.
    pub(super) fn flush(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let lines = std::mem::replace(&mut self.lines, Vec::with_capacity(BATCH + 4_096));
        match self.sink.batches.try_send(lines) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.sink.dropped.fetch_add(self.count, Ordering::Relaxed);
            }
        }
        self.count = 0;
    }
}
