//! The seconds in which the process was measuring.

use std::collections::VecDeque;

use super::STALL_S;

/// Spans of measured seconds, oldest first, neither touching nor overlapping. As short as there were few gaps.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage(VecDeque<(u64, u64)>);

impl Coverage {
    /// Second `now` is being measured; so were the few since the last call, unless there are more than a few.
    pub(super) fn advance(&mut self, now: u64) {
        match self.0.back_mut() {
            Some((_, until)) if now < *until => {}
            Some((_, until)) if now - *until < STALL_S => *until = now.saturating_add(1),
            Some(_) | None => self.0.push_back((now, now.saturating_add(1))),
        }
    }

    /// Seconds `from..until` were measured. Spans are given oldest first; what is not later than the last is left out.
    pub(super) fn push(&mut self, from: u64, until: u64) {
        match self.0.back_mut() {
            Some((_, last)) if from <= *last => *last = until.max(*last),
            Some(_) | None => self.0.push_back((from, until)),
        }
    }

    /// Forgets everything before `from` and from `until` on.
    pub(super) fn keep(&mut self, from: u64, until: u64) {
        while self.0.front().is_some_and(|span| span.1 <= from) {
            self.0.pop_front();
        }
        while self.0.back().is_some_and(|span| span.0 >= until) {
            self.0.pop_back();
        }
        if let Some(last) = self.0.back_mut() {
            last.1 = last.1.min(until);
        }
    }

    /// How many of the seconds `from..until` were measured.
    pub(super) fn within(&self, from: u64, until: u64) -> u64 {
        self.0
            .iter()
            .map(|(start, end)| (*end).min(until).saturating_sub((*start).max(from)))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_break_of_more_than_a_few_seconds_is_a_gap() {
        let mut coverage = Coverage::default();
        for now in [100, 101, 105, 200, 201, 200] {
            coverage.advance(now);
        }
        assert_eq!(coverage.within(0, 1_000), 6 + 2);
        assert_eq!(coverage.within(104, 201), 2 + 1);
        assert_eq!(coverage.0.len(), 2);
    }

    #[test]
    fn what_is_old_or_in_the_future_is_forgotten() {
        let mut coverage = Coverage::default();
        for span in [(0, 60), (60, 120), (600, 660), (720, 780)] {
            coverage.push(span.0, span.1);
        }
        coverage.keep(120, 640);
        assert_eq!(coverage.within(0, 1_000), 40);
    }
}
