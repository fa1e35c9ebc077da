//! The only reader of time. Everything else is handed a [`Tick`] or a [`Timestamp`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::model::Timestamp;

/// A monotonic instant: microseconds since some fixed moment of this process. Never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

impl Tick {
    /// From microseconds since the process's fixed moment.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since `earlier`; zero when it is not earlier.
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This tick, `by` later.
    #[must_use]
    pub const fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by.as_micros() as u64))
    }
}

/// A source of time.
pub trait Clock {
    /// The monotonic time, for durations and deadlines.
    fn tick(&self) -> Tick;
    /// The wall-clock time, for slots, events and people. May jump.
    fn now(&self) -> Timestamp;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn tick(&self) -> Tick {
        (**self).tick()
    }

    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// Starts counting ticks now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads time"
    )]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// The moment of `tick` as timers want it.
    pub fn instant(&self, tick: Tick) -> Instant {
        self.origin + Duration::from_micros(tick.0)
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn tick(&self) -> Tick {
        // Several times a request: 64 bits hold half a million years, and `as_micros` would divide 128.
        let since = self.origin.elapsed();
        Tick(since.as_secs() * 1_000_000 + u64::from(since.subsec_micros()))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads time"
    )]
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

/// A clock that stands still until told otherwise.
#[derive(Debug, Default)]
pub struct ManualClock {
    // Atomic so that a test can move the clock while the code under test holds a shared reference.
    wall_millis: AtomicU64,
    tick_micros: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            wall_millis: AtomicU64::new(now.as_millis()),
            tick_micros: AtomicU64::new(0),
        }
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        self.wall_millis
            .fetch_add(by.as_millis() as u64, Ordering::Relaxed);
        self.tick_micros
            .fetch_add(by.as_micros() as u64, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn tick(&self) -> Tick {
        Tick(self.tick_micros.load(Ordering::Relaxed))
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.wall_millis.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_never_yields_a_negative_duration() {
        assert_eq!(Tick::from_micros(5).micros_since(Tick::from_micros(9)), 0);
    }

    #[test]
    fn a_manual_clock_moves_both_times_together() {
        let clock = ManualClock::new(Timestamp::from_secs(100));
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(clock.tick().micros_since(Tick::default()), 1_500_000);
        assert_eq!(clock.now(), Timestamp::from_millis(101_500));
    }
}
