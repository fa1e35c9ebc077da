//! When a request goes out again, and the budget that keeps retries from becoming a storm.
//!
//! A request that cannot have been acted on, because no connection was made or the one it went into had been closed
//! already, is sent elsewhere without asking here. This is about those that may have been: they are repeated only when
//! doing so twice is like doing it once (RFC 9110, 9.2.2), when the route wants it, and while the budget lasts.

use http::StatusCode;

use super::config::Retry;
use super::exchange::Failure;
use crate::clock::Tick;
use crate::model::Fault;

/// Whether a route asks for another attempt after this answer.
pub(super) fn is_wanted(retry: &Retry, answer: Result<StatusCode, Failure>) -> bool {
    match answer {
        Ok(status) => retry.statuses.contains(&status.as_u16()),
        Err(Failure { fault, .. }) => match fault {
            Fault::UpstreamReset => retry.reset,
            Fault::FirstByteTimeout => retry.timeout,
            _ => false,
        },
    }
}

/// How many retries a route may make now, on one worker: every request adds its share, every retry takes one. So in a
/// total outage the upstream gets `1 + share` times its load, not a multiple of it (the token bucket of Finagle's
/// `RetryBudget`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Hundredths of a retry.
    tokens: u32,
    /// When a retry was last given for nothing.
    given: Tick,
}

/// What is saved up at most, and what there is at first: a handful of failures after a quiet time can all be retried.
const MOST: u32 = 10 * RETRY;
const RETRY: u32 = 100;
/// One retry in this time is free, so that a route with few requests is not without any.
const FREE_EVERY_US: u64 = 1_000_000;

impl Default for Budget {
    fn default() -> Self {
        Self {
            tokens: MOST,
            given: Tick::default(),
        }
    }
}

impl Budget {
    /// A request came.
    pub(super) fn earn(&mut self, percent: u8) {
        self.tokens = self.tokens.saturating_add(u32::from(percent)).min(MOST);
    }

    /// Takes one retry out; `false`: there is none.
    pub(super) fn spend(&mut self, now: Tick) -> bool {
        if self.tokens >= RETRY {
            self.tokens -= RETRY;
            return true;
        }
        let free = now.micros_since(self.given) >= FREE_EVERY_US;
        if free {
            self.given = now;
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn in_an_outage_the_load_grows_by_the_share_and_no_more() {
        let (mut budget, mut retries) = (Budget::default(), 0_u32);
        // 1,000 requests a second for a minute, each of which would be retried.
        for request in 0..60_000_u64 {
            let now = Tick::default().plus(Duration::from_millis(request));
            budget.earn(20);
            retries += u32::from(budget.spend(now));
        }
        assert!((12_000..12_100).contains(&retries), "{retries}");
    }

    #[test]
    fn a_quiet_route_has_a_retry_a_second() {
        let mut budget = Budget::default();
        let at = |ms| Tick::default().plus(Duration::from_millis(ms));
        for _ in 0..10 {
            assert!(budget.spend(at(5_000)));
        }
        assert!(budget.spend(at(5_000)));
        assert!(!budget.spend(at(5_500)));
        assert!(budget.spend(at(6_000)));
    }

    proptest! {
        #[test]
        fn more_is_never_spent_than_was_earned_saved_or_given(
            percent in 0_u8..=100,
            steps in prop::collection::vec((0_u64..200, any::<bool>()), 1..500),
        ) {
            let (mut budget, mut now) = (Budget::default(), Tick::default());
            let (mut requests, mut retries) = (0_u64, 0_u64);
            for (ms, fails) in steps {
                now = now.plus(Duration::from_millis(ms));
                requests += 1;
                budget.earn(percent);
                retries += u64::from(fails && budget.spend(now));
            }
            let given = now.micros_since(Tick::default()) / FREE_EVERY_US + 1;
            prop_assert!(retries <= 10 + requests * u64::from(percent) / 100 + given);
        }
    }
}
