//! TLS handshakes with clients of the last minute: what fails there is in no route's counts.

use std::collections::VecDeque;

use crate::model::Tally;

/// Seconds that are kept.
const KEPT_S: u64 = 60;

/// What happened lately.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// Since the start.
    known: Tally,
    /// Seconds with a handshake, oldest first.
    seconds: VecDeque<(u64, Tally)>,
}

impl Handshakes {
    /// Takes in what all workers completed and failed since the start, as of second `second`.
    pub(super) fn absorb(&mut self, second: u64, completed: u64, failed: u64) {
        let all = Tally {
            good: completed,
            bad: failed,
        };
        // A worker that has ended takes its counts along.
        let fresh = all - self.known;
        self.known = all;
        let kept = second.saturating_sub(KEPT_S)..=second;
        self.seconds.retain(|(at, _)| kept.contains(at));
        if fresh.valid() > 0 {
            match self.seconds.back_mut() {
                Some((at, tally)) if *at == second => *tally += fresh,
                _ => self.seconds.push_back((second, fresh)),
            }
        }
    }

    /// Those of the minute up to `now_secs`.
    pub(super) fn last_minute(&self, now_secs: u64) -> Tally {
        let oldest = (now_secs + 1).saturating_sub(KEPT_S);
        let inside = self.seconds.iter().filter(|(at, _)| *at >= oldest);
        inside.fold(Tally::default(), |sum, (_, tally)| sum + *tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_handshakes_is_known_and_no_more() {
        let mut handshakes = Handshakes::default();
        for second in 0..300 {
            handshakes.absorb(second, 2 * second, second / 2);
        }
        // A second is counted twice when somebody asks before it is over.
        handshakes.absorb(299, 600, 150);
        let minute = handshakes.last_minute(299);
        assert_eq!((minute.good, minute.bad), (122, 31));
        assert_eq!(handshakes.last_minute(500), Tally::default());
        // A worker has ended.
        handshakes.absorb(300, 300, 10);
        handshakes.absorb(301, 301, 10);
        assert_eq!(handshakes.last_minute(301).good, 119);
        assert!(handshakes.seconds.len() <= 61);
    }
}
