//! TLS handshakes with clients of the last minutes: what fails there is in no route's counts.

use std::collections::VecDeque;

use crate::model::{Handshake, Handshakes as Counts, Tally};

/// Seconds that are kept.
const KEPT_S: u64 = 300;
/// The last minute.
const MINUTE_S: u64 = 60;

/// What happened lately.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// Since the start.
    known: Counts,
    /// Seconds with a handshake, oldest first.
    seconds: VecDeque<(u64, Counts)>,
}

impl Handshakes {
    /// Takes in what all workers counted since the start, as of second `second`, and gives what of it is new: good, and
    /// failed by our doing.
    pub(super) fn absorb(&mut self, second: u64, all: Counts) -> Tally {
        let mut fresh = all;
        for (fresh, known) in fresh.iter_mut().zip(self.known) {
            // A worker that has ended takes its counts along.
            *fresh = fresh.saturating_sub(known);
        }
        self.known = all;
        let kept = second.saturating_sub(KEPT_S)..=second;
        self.seconds.retain(|(at, _)| kept.contains(at));
        if fresh.iter().any(|count| *count > 0) {
            match self.seconds.back_mut() {
                Some((at, counts)) if *at == second => add(counts, &fresh),
                _ => self.seconds.push_back((second, fresh)),
            }
        }
        blamed(&fresh)
    }

    /// Those of the minute up to `now_secs`: completed, and failed by whosever doing.
    pub(super) fn last_minute(&self, now_secs: u64) -> Tally {
        let counts = self.since((now_secs + 1).saturating_sub(MINUTE_S));
        let good = counts[Handshake::Ok.index()];
        Tally {
            good,
            bad: counts.iter().sum::<u64>() - good,
        }
    }

    /// Those of the five minutes up to `now_secs`, by how they ended.
    pub(super) fn lately(&self, now_secs: u64) -> Counts {
        self.since((now_secs + 1).saturating_sub(KEPT_S))
    }

    fn since(&self, oldest: u64) -> Counts {
        let mut sum = Counts::default();
        for (_, counts) in self.seconds.iter().filter(|(at, _)| *at >= oldest) {
            add(&mut sum, counts);
        }
        sum
    }
}

fn add(sum: &mut Counts, counts: &Counts) {
    for (sum, count) in sum.iter_mut().zip(counts) {
        *sum += count;
    }
}

/// Good ones, and those that failed by our doing.
fn blamed(counts: &Counts) -> Tally {
    let all = Handshake::ALL.iter().zip(counts);
    all.fold(Tally::default(), |sum, (how, count)| {
        sum + match how.is_good() {
            Some(true) => Tally {
                good: *count,
                bad: 0,
            },
            Some(false) => Tally {
                good: 0,
                bad: *count,
            },
            None => Tally::default(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(ok: u64, refused: u64, left: u64) -> Counts {
        let mut counts = Counts::default();
        counts[Handshake::Ok.index()] = ok;
        counts[Handshake::ClientRefused.index()] = refused;
        counts[Handshake::ClientGone.index()] = left;
        counts
    }

    #[test]
    fn a_minute_of_handshakes_is_known_and_no_more() {
        let mut handshakes = Handshakes::default();
        for second in 0..300 {
            handshakes.absorb(second, counts(2 * second, second / 2, 0));
        }
        // A second is counted twice when somebody asks before it is over.
        handshakes.absorb(299, counts(600, 150, 0));
        let minute = handshakes.last_minute(299);
        assert_eq!((minute.good, minute.bad), (122, 31));
        assert_eq!(handshakes.last_minute(500), Tally::default());
        // A worker has ended.
        handshakes.absorb(300, counts(300, 10, 0));
        handshakes.absorb(301, counts(301, 10, 0));
        assert_eq!(handshakes.last_minute(301).good, 119);
        assert!(handshakes.seconds.len() <= 301);
    }

    #[test]
    fn a_client_that_breaks_off_is_seen_and_not_blamed_on_us() {
        let mut handshakes = Handshakes::default();
        assert_eq!(
            handshakes.absorb(1, counts(10, 2, 500)),
            Tally { good: 10, bad: 2 }
        );
        assert_eq!(
            handshakes.absorb(1, counts(11, 2, 900)),
            Tally { good: 1, bad: 0 }
        );
        assert_eq!(handshakes.last_minute(1).bad, 902);
        assert_eq!(handshakes.lately(200), counts(11, 2, 900));
    }
}
