//! How often a certificate may be issued, whatever else goes wrong.
//!
//! Authorities limit how many certificates the same names get, and a loop that renews again and again locks everybody out
//! for a week. So there is a bound of our own, below theirs, that counts what was asked for and outlives a restart.

use std::time::Duration;

use crate::model::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);
/// The span of the public authorities' limit on the same set of names.
const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// Longer-lived certificates come under that limit.
const LONG_MS: u64 = 10 * 86_400_000;
/// What is taken for the life of a certificate that was never issued.
const UNKNOWN_MS: u64 = 90 * 86_400_000;

/// Three and three times what a certificate of this lifetime needs, each day.
pub const fn a_day(lifetime_ms: u64) -> u64 {
    3 + 3 * 86_400_000 / if lifetime_ms == 0 { 1 } else { lifetime_ms }
}

/// The most of a certificate of more than ten days in a week: a public authority's limit.
pub const A_WEEK: u64 = 5;

/// What may still be issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// So many at once.
    Some(u64),
    /// None before this.
    NoneBefore(Timestamp),
}

/// What may be issued at `now` of what was `issued` at these moments, in any order. `lifetime_ms` is that of the last one;
/// `None`: there was none.
///
/// A clock that is set blocks nothing for longer than it would have been otherwise: what lies in the future is taken to have
/// been now.
pub fn left(now: Timestamp, issued: &[Timestamp], lifetime_ms: Option<u64>) -> Left {
    let lifetime_ms = lifetime_ms.unwrap_or(UNKNOWN_MS);
    let day = within(now, issued, DAY, a_day(lifetime_ms));
    if lifetime_ms < LONG_MS {
        return day;
    }
    match (day, within(now, issued, WEEK, A_WEEK)) {
        (Left::Some(a), Left::Some(b)) => Left::Some(a.min(b)),
        (Left::NoneBefore(a), Left::NoneBefore(b)) => Left::NoneBefore(a.max(b)),
        (none @ Left::NoneBefore(_), Left::Some(_))
        | (Left::Some(_), none @ Left::NoneBefore(_)) => none,
    }
}

fn within(now: Timestamp, issued: &[Timestamp], span: Duration, most: u64) -> Left {
    let recent = issued.iter().map(|at| (*at).min(now));
    let mut recent: Vec<Timestamp> = recent.filter(|at| at.plus(span) > now).collect();
    recent.sort_unstable();
    match most.checked_sub(recent.len() as u64) {
        Some(left) if left > 0 => Left::Some(left),
        // `most` is at least 3: there is one that must age, the newest that is one too many.
        Some(_) | None => {
            let at = recent[recent.len() - most as usize];
            Left::NoneBefore(at.plus(span))
        }
    }
}

/// Brings what is remembered in order at `now`: oldest first, nothing in the future, and no more than is needed.
///
/// A clock that is set back finds issuances ahead of it. They were made: so they are kept, and age from now on, or they would
/// count for as long as the clock was wrong. A clock that runs ahead for a moment would have everything forgotten: so the
/// newest ones stay, however old they seem.
pub fn tidy(now: Timestamp, issued: &mut Vec<Timestamp>) {
    for at in &mut *issued {
        *at = (*at).min(now);
    }
    issued.sort_unstable();
    let old = issued.partition_point(|at| at.plus(WEEK) <= now);
    let surplus = issued.len().saturating_sub(MOST_REMEMBERED);
    let forgotten = old.min(issued.len().saturating_sub(LEAST_REMEMBERED));
    issued.drain(..forgotten.max(surplus));
}

/// A day's worth of the shortest life there is, and more.
const MOST_REMEMBERED: usize = 30_000;
/// More than a week's worth of a long life.
const LEAST_REMEMBERED: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000_000 + secs)
    }

    #[test]
    fn three_a_day_and_five_a_week_of_a_certificate_of_90_days() {
        let life = Some(90 * DAY_MS);
        let mut issued = Vec::new();
        for left_before in [3, 2, 1] {
            assert_eq!(left(at(0), &issued, life), Left::Some(left_before));
            issued.push(at(0));
        }
        assert_eq!(left(at(0), &issued, life), Left::NoneBefore(at(86_400)));
        assert_eq!(left(at(86_400), &issued, life), Left::Some(2));
        issued.extend([at(86_400), at(86_400)]);
        let week = Left::NoneBefore(at(7 * 86_400));
        assert_eq!(left(at(2 * 86_400), &issued, life), week);
        assert_eq!(left(at(7 * 86_400), &issued, life), Left::Some(3));
    }

    #[test]
    fn a_life_of_a_minute_needs_more_and_gets_three_times_what_it_needs() {
        assert_eq!(a_day(60_000), 3 + 3 * 1_440);
        let issued: Vec<_> = (0..2_880).map(|minute| at(minute * 30)).collect();
        assert_eq!(
            left(at(86_400), &issued, Some(60_000)),
            Left::Some(4_323 - 2_879)
        );
    }

    #[test]
    fn a_clock_that_is_set_back_frees_nothing_and_blocks_for_a_day_at_most() {
        let issued = vec![at(500_000); 3];
        let none = Left::NoneBefore(at(86_400));
        assert_eq!(left(at(0), &issued, Some(6 * DAY_MS)), none);
    }

    #[test]
    fn a_clock_that_was_ahead_blocks_nothing_after_a_day_of_the_right_time() {
        // Three were issued while the clock was a year ahead.
        let mut issued = vec![at(31_536_000), at(31_536_060), at(31_536_120)];
        let life = Some(6 * DAY_MS);
        for now in [0, 3_600, 86_399] {
            tidy(at(now), &mut issued);
            assert_eq!(
                left(at(now), &issued, life),
                Left::NoneBefore(at(86_400)),
                "{now}"
            );
        }
        tidy(at(86_400), &mut issued);
        assert_eq!(left(at(86_400), &issued, life), Left::Some(3));
    }

    #[test]
    fn a_clock_that_runs_ahead_for_a_moment_makes_nothing_forgotten() {
        let life = Some(90 * DAY_MS);
        let mut issued = vec![at(0), at(60), at(120)];
        tidy(at(31_536_000), &mut issued);
        tidy(at(180), &mut issued);
        assert_eq!(left(at(180), &issued, life), Left::NoneBefore(at(86_400)));
    }

    #[test]
    fn in_what_order_issuances_are_remembered_does_not_matter() {
        let life = Some(6 * DAY_MS);
        let issued = [at(5_000), at(100), at(9_000)];
        let none = Left::NoneBefore(at(100 + 86_400));
        assert_eq!(left(at(10_000), &issued, life), none);
    }

    #[test]
    fn what_is_older_than_a_week_is_forgotten_beyond_a_few() {
        let mut issued: Vec<_> = (0..40).map(|hour| at(hour * 3_600)).collect();
        tidy(at(7 * 86_400 + 10 * 3_600), &mut issued);
        assert_eq!(issued.first(), Some(&at(11 * 3_600)));
        tidy(at(30 * 86_400), &mut issued);
        assert_eq!(issued.len(), LEAST_REMEMBERED);
        assert_eq!(issued.last(), Some(&at(39 * 3_600)));
    }

    proptest::proptest! {
        /// Wherever a clock jumps: never more within the clock's right day than a day's budget and what is left is told
        /// truly, and nothing is blocked for longer than a week of any time.
        #[test]
        fn no_jump_blocks_for_ever(times in proptest::collection::vec(0_u64..40_000_000, 0..60), now in 0_u64..40_000_000) {
            let life = Some(90 * DAY_MS);
            let mut issued: Vec<_> = times.into_iter().map(at).collect();
            tidy(at(now), &mut issued);
            proptest::prop_assert!(issued.is_sorted() && issued.iter().all(|it| *it <= at(now)));
            if let Left::NoneBefore(then) = left(at(now), &issued, life) {
                proptest::prop_assert!(then > at(now) && then <= at(now).plus(WEEK));
                tidy(then, &mut issued);
                proptest::prop_assert!(matches!(left(then, &issued, life), Left::Some(1..)));
            }
        }
    }
}
