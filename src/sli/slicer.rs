//! From requests by the second to slices of time.
//!
//! A slice is judged once, when its last second is over. What arrives for the next one before that waits; what arrives after
//! it counts in the slice that is open, so that nothing is lost.

use crate::model::{Slices, Tally};

/// How far apart two calls of [`Slicer::advance`] may be and still count as measured without a break, in seconds.
const STALL_S: u64 = 10;

/// Puts one SLO's requests together into slices.
#[derive(Clone, Debug)]
pub struct Slicer {
    slices: Slices,
    open: Option<Open>,
    /// Of seconds that lie after the open slice.
    ahead: Tally,
}

/// The slice that is being filled.
#[derive(Clone, Copy, Debug)]
struct Open {
    start: u64,
    requests: Tally,
    /// Whether every second of it so far was measured.
    is_whole: bool,
    /// The second last told.
    now: u64,
}

impl Slicer {
    /// One that has seen nothing.
    pub const fn new(slices: Slices) -> Self {
        Self {
            slices,
            open: None,
            ahead: Tally { good: 0, bad: 0 },
        }
    }

    /// What it puts together.
    pub const fn slices(&self) -> Slices {
        self.slices
    }

    /// Goes on with a slice that an earlier process began, and of which it counted `requests`.
    pub fn resume(&mut self, now: u64, requests: Tally) {
        self.open = Some(Open {
            start: self.slices.start(now),
            requests,
            is_whole: false,
            now,
        });
    }

    /// Counts requests of a second.
    pub fn add(&mut self, second: u64, requests: Tally) {
        let end = self
            .open
            .map_or(0, |open| open.start + self.slices.every.as_secs());
        match &mut self.open {
            Some(open) if second < end => open.requests += requests,
            Some(_) | None => self.ahead += requests,
        }
    }

    /// Second `now` begins. Gives the slice that is over, as its last second and what it counts as; nothing when none is,
    /// or when it does not count.
    pub fn advance(&mut self, now: u64) -> Option<(u64, Tally)> {
        let start = self.slices.start(now);
        let Some(open) = &mut self.open else {
            // One that begins in the middle is not whole.
            self.begin(start, now, start == now);
            return None;
        };
        if start < open.start {
            // The clock was set back. What is open is judged for what it is, and as of now.
            let judged = self.slices.judge(open.requests, false);
            self.begin(start, now, false);
            return (judged.valid() > 0).then_some((now, judged));
        }
        let has_stalled = now > open.now + STALL_S;
        open.is_whole &= !has_stalled;
        open.now = open.now.max(now);
        if start <= open.start {
            return None;
        }
        let Open {
            start: over,
            requests,
            is_whole,
            ..
        } = *open;
        self.begin(start, now, !has_stalled || start == now);
        let judged = self.slices.judge(requests, is_whole);
        let last = over + self.slices.every.as_secs() - 1;
        (judged.valid() > 0).then_some((last, judged))
    }

    fn begin(&mut self, start: u64, now: u64, is_whole: bool) {
        self.open = Some(Open {
            start,
            requests: std::mem::take(&mut self.ahead),
            is_whole,
            now,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EmptySlice, Window, Worth};

    const GOOD: Tally = Tally { good: 1, bad: 0 };
    const BAD: Tally = Tally { good: 0, bad: 1 };

    fn slicer(empty: EmptySlice) -> Slicer {
        Slicer::new(Slices {
            every: Window::minutes(1),
            worth: Worth::Whole("50%".parse().unwrap()),
            empty,
        })
    }

    #[test]
    fn a_slice_is_judged_when_its_last_second_is_over() {
        let mut slicer = slicer(EmptySlice::Skip);
        let mut judged = Vec::new();
        for now in 600..=780 {
            // The second before is counted as this one begins.
            if now > 600 {
                let bad = (660..720).contains(&(now - 1)) && now % 3 > 0;
                slicer.add(now - 1, if bad { BAD } else { GOOD });
            }
            judged.extend(slicer.advance(now));
        }
        assert_eq!(judged, [(659, GOOD), (719, BAD), (779, GOOD)]);
    }

    #[test]
    fn what_comes_early_belongs_to_the_next_and_what_comes_late_to_the_open_one() {
        let mut slicer = slicer(EmptySlice::Bad);
        assert_eq!(slicer.advance(600), None);
        slicer.add(600, GOOD);
        slicer.add(660, BAD);
        assert_eq!(slicer.advance(605), None);
        for now in (610..660).step_by(5) {
            assert_eq!(slicer.advance(now), None);
        }
        assert_eq!(slicer.advance(660), Some((659, GOOD)));
        slicer.add(659, BAD);
        for now in (665..720).step_by(5) {
            assert_eq!(slicer.advance(now), None);
        }
        assert_eq!(slicer.advance(720), Some((719, BAD)));
    }

    #[test]
    fn only_a_slice_that_was_measured_whole_can_be_empty() {
        let mut slicer = slicer(EmptySlice::Bad);
        let mut judged = Vec::new();
        // Begun in the middle of a slice; away from 750 to 900; then a whole one.
        for now in (630..=750).chain(900..=1_020) {
            judged.extend(slicer.advance(now));
        }
        assert_eq!(judged, [(719, BAD), (959, BAD), (1_019, BAD)]);
        slicer.resume(1_025, GOOD);
        assert_eq!(slicer.advance(1_085), Some((1_079, GOOD)));
    }
}
