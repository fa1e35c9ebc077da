//! How many attempts failed lately: a ring of counters, each an atomic word of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Tick;

/// Attempts of the last span of time, to a tenth of it.
#[derive(Debug)]
pub(super) struct Recent {
    pieces: [AtomicU64; PIECES as usize],
    piece_us: u64,
}

const PIECES: u64 = 10;
const COUNT_BITS: u32 = 20;
const MOST: u64 = (1 << COUNT_BITS) - 1;

impl Recent {
    pub(super) fn new(window: Duration) -> Self {
        let micros = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        Self {
            pieces: Default::default(),
            piece_us: (micros / PIECES).max(1),
        }
    }

    pub(super) fn add(&self, good: bool, now: Tick) {
        let number = self.number(now);
        let piece = &self.pieces[(number % PIECES) as usize];
        let counted = |word: u64| {
            let (of, bad, all) = taken_apart(word);
            let (bad, all) = if of == epoch(number) {
                (bad, all)
            } else {
                (0, 0)
            };
            let bad = (bad + u64::from(!good)).min(MOST);
            let all = (all + 1).min(MOST);
            Some(epoch(number) << (2 * COUNT_BITS) | bad << COUNT_BITS | all)
        };
        // The closure always gives a value.
        let _before = piece.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
    }

    /// Attempts that failed, and all.
    pub(super) fn sum(&self, now: Tick) -> (u32, u32) {
        let number = self.number(now);
        let (mut bad, mut all) = (0, 0);
        for back in 0..PIECES.min(number + 1) {
            let number = number - back;
            let word = self.pieces[(number % PIECES) as usize].load(Ordering::Relaxed);
            let (of, of_bad, of_all) = taken_apart(word);
            if of == epoch(number) {
                bad += of_bad;
                all += of_all;
            }
        }
        // Ten times twenty bits.
        (bad as u32, all as u32)
    }

    pub(super) fn clear(&self) {
        for piece in &self.pieces {
            piece.store(0, Ordering::Relaxed);
        }
    }

    fn number(&self, now: Tick) -> u64 {
        now.micros_since(Tick::default()) / self.piece_us
    }
}

/// What tells a piece apart from those that had its place before; never 0, which is nobody's.
fn epoch(number: u64) -> u64 {
    (number / PIECES) % ((1 << 24) - 1) + 1
}

fn taken_apart(word: u64) -> (u64, u64, u64) {
    (
        word >> (2 * COUNT_BITS),
        word >> COUNT_BITS & MOST,
        word & MOST,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a list of everything that happened.
        #[test]
        fn it_counts_what_happened_within_the_window(
            steps in prop::collection::vec((0_u64..400, any::<bool>()), 1..200),
        ) {
            let recent = Recent::new(Duration::from_secs(1));
            let (mut now, mut all) = (0, Vec::new());
            for (passed, good) in steps {
                now += passed;
                recent.add(good, Tick::from_micros(now * 1_000));
                all.push((now / 100, good));
                let inside = |at: u64| at + 10 > now / 100;
                let of = |bad_only: bool| {
                    all.iter().filter(|(at, good)| inside(*at) && !(bad_only && *good)).count() as u32
                };
                prop_assert_eq!(recent.sum(Tick::from_micros(now * 1_000)), (of(true), of(false)));
            }
        }
    }
}
