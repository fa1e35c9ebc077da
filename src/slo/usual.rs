//! What is unusual for a route at this hour, whatever is promised about it: sudden errors, sudden silence.
//!
//! Both have a floor in counts, so that a quiet route's first failure and a quiet minute stay unsaid.

use super::burn;
use super::policy::Factor;
use crate::model::{Objective, Tally};

/// Bad requests within five minutes below which nothing surges.
pub const SURGE_FLOOR: u64 = 50;
/// How many times as often as usual is sudden.
const TIMES: u128 = 10;
/// Below this share of bad requests nothing surges, in percent.
const LEAST_PERCENT: u128 = 1;
/// Bad requests that a usual hour is credited with at least. Having seen none of n fail bounds their share by 3 ÷ n
/// with 95 % confidence (the rule of three): after so few requests, silence about errors proves little.
const CREDIT: u64 = 3;

/// Whether `recent`, the last five minutes, fails at least ten times as often as `usual`, the same hour of the days
/// before, does: in one of a hundred requests at least, and more often than `objective` allows if one is promised.
/// Exact; never when nothing usual is known.
pub fn surges(recent: Tally, usual: Tally, objective: Option<Objective>) -> bool {
    let share = |part: u64, whole: u64| u128::from(part) * u128::from(whole);
    let breaks = |objective| burn::exceeds(recent, objective, Factor::milli(1_000));
    usual.valid() > 0
        && recent.bad >= SURGE_FLOOR
        && u128::from(recent.bad) * 100 >= LEAST_PERCENT * u128::from(recent.valid())
        && share(recent.bad, usual.valid())
            >= TIMES.saturating_mul(share(usual.bad.max(CREDIT), recent.valid()))
        && objective.is_none_or(breaks)
}

/// For so long there must be no request, in seconds.
pub const SILENCE_S: u64 = 600;
/// For so long before that there must have been requests in every minute, in minutes.
pub const BUSY_MINUTES: u64 = 60;
/// Requests in those minutes below which silence means nothing.
pub const BUSY_FLOOR: u64 = 600;

/// Whether a route that had `requests` in an hour, some in each of `busy_minutes` of it, and then none in ten minutes
/// of which `covered_s` seconds were measured, has fallen silent. A job that runs for half an hour has not: it leaves
/// minutes empty.
pub const fn is_silent(
    requests: u64,
    busy_minutes: u64,
    requests_since: u64,
    covered_s: u64,
) -> bool {
    requests_since == 0
        && covered_s >= SILENCE_S
        && busy_minutes >= BUSY_MINUTES
        && requests >= BUSY_FLOOR
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(valid: u64, bad: u64) -> Tally {
        Tally {
            good: valid - bad,
            bad,
        }
    }

    #[test]
    fn errors_surge_when_ten_times_as_often_as_usual_and_above_the_floor() {
        for (what, recent, usual, surging) in [
            (
                "from 1 to 10: below the floor",
                tally(600, 10),
                tally(7_200, 12),
                false,
            ),
            ("from 10 to 100", tally(600, 100), tally(7_200, 120), true),
            ("from 10 to 99", tally(600, 99), tally(7_200, 120), false),
            (
                "a usually failing route",
                tally(600, 300),
                tally(7_200, 1_200),
                false,
            ),
            (
                "none ever failed, many seen",
                tally(600, 60),
                tally(7_200, 0),
                true,
            ),
            (
                "none failed of the few seen",
                tally(600, 60),
                tally(200, 0),
                false,
            ),
            (
                "nothing usual is known",
                tally(600, 600),
                tally(0, 0),
                false,
            ),
            (
                "many, and yet one in a thousand",
                tally(100_000, 100),
                tally(1_000_000, 0),
                false,
            ),
        ] {
            assert_eq!(surges(recent, usual, None), surging, "{what}");
        }
        let promised = |text: &str| {
            surges(
                tally(6_000, 100),
                tally(72_000, 3),
                Some(text.parse().unwrap()),
            )
        };
        assert!(promised("99.9%"));
        assert!(!promised("95%"), "within what is promised it is no trouble");
    }

    #[test]
    fn the_largest_counts_do_not_overflow() {
        let most = Tally {
            good: 0,
            bad: u64::MAX,
        };
        assert!(!surges(most, most, None));
    }

    #[test]
    fn a_busy_route_falls_silent_and_a_job_that_ends_does_not() {
        for (what, requests, minutes, since, covered, silent) in [
            ("busy, then nothing", 7_200, 60, 0, 600, true),
            ("one straggler", 7_200, 60, 1, 600, false),
            ("a job of half an hour", 7_200, 30, 0, 600, false),
            ("a request a minute", 60, 60, 0, 600, false),
            ("we were down for half of it", 7_200, 60, 0, 300, false),
        ] {
            assert_eq!(
                is_silent(requests, minutes, since, covered),
                silent,
                "{what}"
            );
        }
    }
}
