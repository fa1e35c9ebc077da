//! Who may go to an upstream now: its circuit breaker, and how many at once.
//!
//! One gate stands for the whole process, so that a limit is the upstream's and not a worker's. Everything about it is a
//! few atomic numbers: a request neither waits for another nor allocates, and one whose upstream has no gate pays a look
//! at an empty option. What it refuses is answered 503 and booked on the upstream's side: it is the upstream that fails, or
//! is slower than what it is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::config::Breaker;
use crate::clock::Tick;
use crate::model::{CircuitPhase, Fault};

mod circuit;
mod recent;

use circuit::{Admission, Circuit};
use recent::Recent;

/// Stands before one upstream.
#[derive(Debug)]
pub(super) struct Gate {
    breaker: Breaker,
    circuit: AtomicU64,
    recent: Recent,
    in_flight: AtomicU32,
    pending: AtomicU32,
    refused: [AtomicU64; Reason::ALL.len()],
    /// How often the circuit opened.
    opened: AtomicU64,
    /// What it last opened for: failed attempts, and all.
    seen: AtomicU64,
}

/// Why a gate let somebody not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The circuit is open.
    Open,
    /// As many requests are with the upstream as may be.
    InFlight,
    /// As many requests wait for a connection as may.
    Pending,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Open, Self::InFlight, Self::Pending];

    /// The reason's word in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::InFlight => "in_flight",
            Self::Pending => "pending",
        }
    }

    const fn fault(self) -> Fault {
        match self {
            Self::Open => Fault::CircuitOpen,
            Self::InFlight | Self::Pending => Fault::UpstreamFull,
        }
    }
}

/// How a gate stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateCount {
    /// Its upstream.
    pub upstream: String,
    /// Whether requests pass; `None`: it judges no failures.
    pub phase: Option<CircuitPhase>,
    /// Attempts under way.
    pub in_flight: u64,
    /// Those of them that wait for a connection.
    pub pending: u64,
    /// Requests refused since the process started, in the order of [`Reason::ALL`].
    pub refused: [u64; Reason::ALL.len()],
    /// How often the circuit opened since the process started.
    pub opened: u64,
    /// Attempts that failed, and all attempts, when it last opened.
    pub seen: (u32, u32),
}

impl Gate {
    /// The gate of a new upstream: closed circuit, nobody under way.
    pub(super) fn new(breaker: &Breaker) -> Self {
        Self {
            breaker: breaker.clone(),
            circuit: AtomicU64::new(Circuit::default().packed()),
            recent: Recent::new(breaker.window),
            in_flight: AtomicU32::new(0),
            pending: AtomicU32::new(0),
            refused: Default::default(),
            opened: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        }
    }

    /// Whether it goes by the same settings as another.
    pub(super) fn goes_by(&self, other: &Self) -> bool {
        self.breaker == other.breaker
    }

    /// Goes on counting where `before` stopped, with settings of its own.
    pub(super) fn carry(&self, before: &Self) {
        let pairs = self.refused.iter().zip(&before.refused);
        for (own, known) in pairs.chain([(&self.opened, &before.opened)]) {
            own.store(known.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Lets an attempt pass.
    ///
    /// # Errors
    /// Why not, as a fault.
    pub(super) fn enter(self: &Arc<Self>, now: Tick) -> Result<Permit, Fault> {
        let trial = match self.admit(now) {
            Admission::Pass => None,
            Admission::Trial(round) => Some(round),
            Admission::Refuse => return Err(self.refuse(Reason::Open)),
        };
        // From here on a refusal gives everything back.
        let permit = Permit {
            gate: Arc::clone(self),
            trial,
            pending: false,
        };
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        if self
            .breaker
            .max_in_flight
            .is_some_and(|most| before >= most)
        {
            return Err(self.refuse(Reason::InFlight));
        }
        Ok(permit)
    }

    /// Whether nobody would be let through now.
    pub(super) fn is_open(&self, now: Tick) -> bool {
        let circuit = Circuit::unpacked(self.circuit.load(Ordering::Relaxed));
        self.breaker.failure_percent.is_some()
            && circuit.phase_at(millis(now)) == CircuitPhase::Open
    }

    /// Takes in how an attempt fared that is not the whole story: another endpoint is tried for the same request.
    pub(super) fn attempted(&self, good: bool, now: Tick) {
        let Some(percent) = self.breaker.failure_percent else {
            return;
        };
        self.recent.add(good, now);
        if good {
            return;
        }
        let (bad, all) = self.recent.sum(now);
        let enough = all >= self.breaker.min_requests;
        if enough && u64::from(bad) * 100 >= u64::from(all) * u64::from(percent) {
            let opens = |circuit: Circuit| circuit.trips(millis(now), self.breaker.open_for);
            if self.turn(opens) {
                self.has_opened(bad, all);
            }
        }
    }

    fn admit(&self, now: Tick) -> Admission {
        if self.breaker.failure_percent.is_none() {
            return Admission::Pass;
        }
        let mut admission = Admission::Pass;
        self.turn(|circuit| {
            let (judged, next) =
                circuit.admits(millis(now), self.breaker.trials, self.breaker.open_for);
            admission = judged;
            next
        });
        admission
    }

    /// A trial ended.
    fn tried(&self, round: u64, good: bool, now: Tick) {
        let (trials, open_for) = (self.breaker.trials, self.breaker.open_for);
        let judged = |circuit: Circuit| circuit.tried(round, good, millis(now), trials, open_for);
        if self.turn(judged) {
            if !good {
                self.has_opened(1, 1);
            } else if Circuit::unpacked(self.circuit.load(Ordering::Relaxed)).is_closed() {
                // What failed before says nothing about what works again.
                self.recent.clear();
            }
        }
    }

    fn has_opened(&self, bad: u32, all: u32) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let seen = u64::from(bad) << 32 | u64::from(all);
        self.seen.store(seen, Ordering::Relaxed);
    }

    /// Makes a step if there is one; whether it was made here.
    fn turn(&self, mut step: impl FnMut(Circuit) -> Option<Circuit>) -> bool {
        let packed = |it| step(Circuit::unpacked(it)).map(Circuit::packed);
        self.circuit
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, packed)
            .is_ok()
    }

    fn refuse(&self, reason: Reason) -> Fault {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
        reason.fault()
    }

    /// How it stands at `now`.
    pub(super) fn count(&self, upstream: &str, now: Tick) -> GateCount {
        let circuit = Circuit::unpacked(self.circuit.load(Ordering::Relaxed));
        let judges = self.breaker.failure_percent.is_some();
        let seen = self.seen.load(Ordering::Relaxed);
        GateCount {
            upstream: upstream.to_owned(),
            phase: judges.then(|| circuit.phase_at(millis(now))),
            in_flight: u64::from(self.in_flight.load(Ordering::Relaxed)),
            pending: u64::from(self.pending.load(Ordering::Relaxed)),
            refused: std::array::from_fn(|at| self.refused[at].load(Ordering::Relaxed)),
            opened: self.opened.load(Ordering::Relaxed),
            seen: ((seen >> 32) as u32, seen as u32),
        }
    }
}

/// An attempt that was let through, for as long as it is under way.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    /// It is one of those by which the circuit finds out whether the upstream works again: of this round.
    trial: Option<u64>,
    pending: bool,
}

impl Permit {
    /// It waits for a connection from here on, until [`Permit::connected`].
    ///
    /// # Errors
    /// Too many do already.
    pub(super) fn waits(&mut self) -> Result<(), Fault> {
        if self.pending {
            return Ok(());
        }
        let before = self.gate.pending.fetch_add(1, Ordering::Relaxed);
        self.pending = true;
        match self.gate.breaker.max_pending {
            Some(most) if before >= most => Err(self.gate.refuse(Reason::Pending)),
            Some(_) | None => Ok(()),
        }
    }

    /// It waits no more.
    pub(super) fn connected(&mut self) {
        if std::mem::take(&mut self.pending) {
            self.gate.pending.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A connection could not be made; another may be.
    pub(super) fn not_connected(&self, now: Tick) {
        self.gate.attempted(false, now);
    }

    /// It is known how it went.
    pub(super) fn ends(&mut self, good: bool, now: Tick) {
        match self.trial.take() {
            Some(round) => self.gate.tried(round, good, now),
            None => self.gate.attempted(good, now),
        }
    }

    /// No connection could be made to any endpoint. Each that failed is counted already.
    pub(super) fn ends_unconnected(&mut self, now: Tick) {
        if let Some(round) = self.trial.take() {
            self.gate.tried(round, false, now);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.connected();
        self.gate.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(round) = self.trial {
            // Its client left, say: another takes its turn.
            self.gate.turn(|circuit| circuit.abandons(round));
        }
    }
}

fn millis(now: Tick) -> u64 {
    now.micros_since(Tick::default()) / 1_000
}

/// Longest span of time that attempts are judged over.
pub const LONGEST_WINDOW: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::default().plus(Duration::from_millis(ms))
    }

    fn gate(breaker: &Breaker) -> Arc<Gate> {
        Arc::new(Gate::new(breaker))
    }

    fn judging() -> Arc<Gate> {
        gate(&Breaker {
            failure_percent: Some(50),
            min_requests: 10,
            trials: 2,
            ..Breaker::default()
        })
    }

    /// One attempt that is over at once.
    fn attempt(gate: &Arc<Gate>, good: bool, now: Tick) -> Result<(), Fault> {
        gate.enter(now)?.ends(good, now);
        Ok(())
    }

    #[test]
    fn it_opens_when_enough_of_enough_attempts_failed_and_not_before() {
        let gate = judging();
        for _ in 0..9 {
            attempt(&gate, false, at(1_000)).unwrap();
        }
        assert!(!gate.is_open(at(1_000)));
        attempt(&gate, false, at(1_001)).unwrap();
        assert_eq!(attempt(&gate, true, at(1_002)), Err(Fault::CircuitOpen));
        let count = gate.count("u", at(1_002));
        assert_eq!(count.phase, Some(CircuitPhase::Open));
        assert_eq!(
            (count.opened, count.seen, count.refused),
            (1, (10, 10), [1, 0, 0])
        );
        assert_eq!((count.in_flight, count.pending), (0, 0));
    }

    #[test]
    fn fewer_failures_than_the_share_open_nothing() {
        let gate = judging();
        for step in 0..100 {
            // A third fails.
            attempt(&gate, step % 3 != 0, at(2_000)).unwrap();
        }
        assert_eq!(gate.count("u", at(2_000)).opened, 0);
    }

    #[test]
    fn failures_are_forgotten_after_the_window() {
        let gate = judging();
        for _ in 0..9 {
            attempt(&gate, false, at(1_000)).unwrap();
        }
        for _ in 0..9 {
            attempt(&gate, false, at(12_000)).unwrap();
        }
        assert_eq!(gate.count("u", at(12_000)).opened, 0);
    }

    #[test]
    fn trials_close_it_again_or_keep_it_open_for_longer() {
        let gate = judging();
        for _ in 0..10 {
            attempt(&gate, false, at(0)).unwrap();
        }
        // Open for ten seconds, then two may try.
        assert!(attempt(&gate, true, at(9_999)).is_err());
        let (first, second) = (gate.enter(at(10_000)), gate.enter(at(10_000)));
        assert!(first.is_ok() && second.is_ok() && gate.enter(at(10_000)).is_err());
        assert_eq!(
            gate.count("u", at(10_000)).phase,
            Some(CircuitPhase::HalfOpen)
        );
        // One fails: open twice as long, and what the other finds is of a round that is over.
        first.unwrap().ends(false, at(10_100));
        second.unwrap().ends(true, at(10_200));
        assert!(attempt(&gate, true, at(30_099)).is_err());
        // One whose client leaves gives its turn to another.
        drop(gate.enter(at(30_100)).unwrap());
        for _ in 0..2 {
            attempt(&gate, true, at(30_200)).unwrap();
        }
        assert_eq!(
            gate.count("u", at(30_200)).phase,
            Some(CircuitPhase::Closed)
        );
        // A single failure does not open it: nothing of before is counted.
        attempt(&gate, false, at(30_300)).unwrap();
        assert!(!gate.is_open(at(30_300)));
        assert_eq!(gate.count("u", at(30_300)).opened, 2);
    }

    #[test]
    fn no_more_are_under_way_or_wait_than_may() {
        let gate = gate(&Breaker {
            max_in_flight: Some(2),
            max_pending: Some(1),
            ..Breaker::default()
        });
        let (mut first, mut second) = (gate.enter(at(0)).unwrap(), gate.enter(at(0)).unwrap());
        assert_eq!(gate.enter(at(0)).err(), Some(Fault::UpstreamFull));
        first.waits().unwrap();
        first.waits().unwrap();
        assert_eq!(second.waits(), Err(Fault::UpstreamFull));
        drop(second);
        first.connected();
        let count = gate.count("u", at(0));
        assert_eq!(
            (count.in_flight, count.pending, count.refused),
            (1, 0, [0, 1, 1])
        );
        assert_eq!(count.phase, None);
        drop(first);
        assert_eq!(gate.count("u", at(0)).in_flight, 0);
    }
}
