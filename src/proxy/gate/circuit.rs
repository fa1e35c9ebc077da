//! A circuit breaker's state and its steps. Pure, and small enough for one atomic word.

use std::time::Duration;

use crate::model::CircuitPhase;

/// A circuit's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Circuit {
    phase: Phase,
    /// Times it opened in a row without closing.
    opens: u64,
    /// Trials of this round that were let through, and those that went well.
    started: u64,
    passed: u64,
    /// When it may try again, or a round of trials has taken too long, in milliseconds since the process's fixed moment. Names
    /// the round.
    until_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Closed,
    Open,
    HalfOpen,
}

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Pass,
    /// It passes as a trial of this round.
    Trial(u64),
    Refuse,
}

/// Each time that its trials fail it stays open twice as long, up to so many times.
const MOST_DOUBLINGS: u32 = 4;

const PHASE_BITS: u32 = 2;
const OPENS_BITS: u32 = 4;
const TRIAL_BITS: u32 = 8;
const FIXED_BITS: u32 = PHASE_BITS + OPENS_BITS + 2 * TRIAL_BITS;

impl Circuit {
    pub(super) const fn packed(self) -> u64 {
        let mut word = self.until_ms;
        word = word << TRIAL_BITS | self.passed;
        word = word << TRIAL_BITS | self.started;
        word = word << OPENS_BITS | self.opens;
        word << PHASE_BITS | self.phase as u64
    }

    pub(super) const fn unpacked(word: u64) -> Self {
        const fn bits(word: u64, from: u32, count: u32) -> u64 {
            word >> from & ((1 << count) - 1)
        }
        Self {
            phase: match bits(word, 0, PHASE_BITS) {
                0 => Phase::Closed,
                1 => Phase::Open,
                _ => Phase::HalfOpen,
            },
            opens: bits(word, PHASE_BITS, OPENS_BITS),
            started: bits(word, PHASE_BITS + OPENS_BITS, TRIAL_BITS),
            passed: bits(word, PHASE_BITS + OPENS_BITS + TRIAL_BITS, TRIAL_BITS),
            until_ms: word >> FIXED_BITS,
        }
    }

    pub(super) const fn is_closed(self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    pub(super) const fn phase_at(self, now_ms: u64) -> CircuitPhase {
        match self.phase {
            Phase::Closed => CircuitPhase::Closed,
            Phase::Open if now_ms < self.until_ms => CircuitPhase::Open,
            // The next request is a trial.
            Phase::Open | Phase::HalfOpen => CircuitPhase::HalfOpen,
        }
    }

    /// What becomes of an attempt, and the state after it if that is another.
    ///
    /// A round of trials that has not ended within `open_for`, because a client takes its time to send or nobody answers,
    /// gives way to the next.
    pub(super) fn admits(
        self,
        now_ms: u64,
        trials: u8,
        open_for: Duration,
    ) -> (Admission, Option<Self>) {
        match self.phase {
            Phase::Closed => (Admission::Pass, None),
            Phase::Open if now_ms < self.until_ms => (Admission::Refuse, None),
            Phase::Open | Phase::HalfOpen
                if matches!(self.phase, Phase::Open) || now_ms >= self.until_ms =>
            {
                let next = Self {
                    phase: Phase::HalfOpen,
                    started: 1,
                    passed: 0,
                    until_ms: after(now_ms, open_for, 0),
                    ..self
                };
                (Admission::Trial(next.until_ms), Some(next))
            }
            Phase::HalfOpen if self.started < u64::from(trials) => {
                let next = Self {
                    started: self.started + 1,
                    ..self
                };
                (Admission::Trial(self.until_ms), Some(next))
            }
            Phase::Open | Phase::HalfOpen => (Admission::Refuse, None),
        }
    }

    /// Too many attempts failed: it opens, if it was closed.
    pub(super) fn trips(self, now_ms: u64, open_for: Duration) -> Option<Self> {
        self.is_closed().then(|| self.opened(now_ms, open_for))
    }

    /// A trial ended.
    pub(super) fn tried(
        self,
        round: u64,
        good: bool,
        now_ms: u64,
        trials: u8,
        open_for: Duration,
    ) -> Option<Self> {
        if !self.is_in(round) {
            return None;
        }
        if !good {
            return Some(self.opened(now_ms, open_for));
        }
        let passed = self.passed + 1;
        Some(if passed >= u64::from(trials) {
            Self::default()
        } else {
            Self { passed, ..self }
        })
    }

    /// A trial ended without a result.
    pub(super) fn abandons(self, round: u64) -> Option<Self> {
        self.is_in(round).then(|| Self {
            started: self.started.saturating_sub(1),
            ..self
        })
    }

    fn is_in(self, round: u64) -> bool {
        self.phase == Phase::HalfOpen && self.until_ms == round
    }

    fn opened(self, now_ms: u64, open_for: Duration) -> Self {
        let opens = self.opens.min(u64::from(MOST_DOUBLINGS));
        Self {
            phase: Phase::Open,
            opens: (opens + 1).min(u64::from(MOST_DOUBLINGS)),
            started: 0,
            passed: 0,
            until_ms: after(now_ms, open_for, opens),
        }
    }
}

/// So long after `now_ms`, doubled so many times.
fn after(now_ms: u64, time: Duration, doublings: u64) -> u64 {
    let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let at = now_ms.saturating_add(time_ms.saturating_mul(1 << doublings));
    // Room for more than a century.
    at.min((1 << (64 - FIXED_BITS)) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_word_holds_a_state(
            phase in 0_u64..3,
            opens in 0_u64..16,
            started in 0_u64..256,
            passed in 0_u64..256,
            until_ms in 0_u64..1 << 42,
        ) {
            let phase = [Phase::Closed, Phase::Open, Phase::HalfOpen][phase as usize];
            let state = Circuit { phase, opens, started, passed, until_ms };
            prop_assert_eq!(Circuit::unpacked(state.packed()), state);
        }

        /// Whatever is asked of it in whatever order, never are more trials under way than may be, and a circuit that is
        /// not closed lets nobody through but those.
        #[test]
        fn trials_are_few(
            steps in prop::collection::vec((0_u8..4, 0_u64..3_000, any::<bool>()), 1..300),
            trials in 1_u8..5,
        ) {
            let (mut circuit, mut now) = (Circuit::default(), 0);
            let mut under_way: Vec<u64> = Vec::new();
            let second = Duration::from_secs(1);
            for (what, passed, good) in steps {
                now += passed;
                match (what, under_way.pop()) {
                    (0, round) => {
                        under_way.extend(round);
                        circuit = circuit.trips(now, second).unwrap_or(circuit);
                    }
                    (1, Some(round)) => {
                        circuit = circuit.tried(round, good, now, trials, second).unwrap_or(circuit);
                    }
                    (2, Some(round)) => circuit = circuit.abandons(round).unwrap_or(circuit),
                    (_, round) => {
                        under_way.extend(round);
                        let (admission, next) = circuit.admits(now, trials, second);
                        match admission {
                            Admission::Pass => prop_assert!(circuit.is_closed()),
                            Admission::Trial(round) => under_way.push(round),
                            Admission::Refuse => prop_assert!(!circuit.is_closed()),
                        }
                        circuit = next.unwrap_or(circuit);
                    }
                }
                let of_this = under_way.iter().filter(|it| circuit.is_in(**it)).count();
                prop_assert!(of_this <= usize::from(trials));
            }
        }
    }

    /// Clients that take their time to send must not keep a service that works again from everybody.
    #[test]
    fn trials_that_do_not_end_give_way_to_the_next() {
        let second = Duration::from_secs(1);
        let opened = Circuit::default().trips(0, second).unwrap();
        let (admission, next) = opened.admits(1_000, 1, second);
        let Admission::Trial(first) = admission else {
            panic!("{admission:?}");
        };
        let half_open = next.unwrap();
        assert_eq!(half_open.admits(1_999, 1, second).0, Admission::Refuse);
        let (admission, next) = half_open.admits(2_000, 1, second);
        assert!(matches!(admission, Admission::Trial(round) if round != first));
        // The one that comes late decides nothing any more.
        assert_eq!(next.unwrap().tried(first, false, 2_500, 1, second), None);
    }
}
