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

/// What may be issued at `now` of what was `issued` at these moments, oldest first. `lifetime_ms` is that of the last one;
/// `None`: there was none.
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
    // One in the future is of a clock that was set back: it counts.
    let recent = issued.iter().filter(|at| at.plus(span) > now).count() as u64;
    match most.checked_sub(recent) {
        Some(left) if left > 0 => Left::Some(left),
        // `most` is at least 3: there is one that must age, the newest that is one too many.
        Some(_) | None => {
            let at = issued[issued.len() - most as usize];
            Left::NoneBefore(at.plus(span).min(now.plus(span)))
        }
    }
}

/// How long back issuances are to be remembered, and how many of them.
pub fn forget(now: Timestamp, issued: &mut Vec<Timestamp>) {
    issued.retain(|at| at.plus(WEEK) > now);
    let surplus = issued.len().saturating_sub(MOST_REMEMBERED);
    issued.drain(..surplus);
}

/// A day's worth of the shortest life there is, and more.
const MOST_REMEMBERED: usize = 30_000;

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
    fn what_is_older_than_a_week_is_forgotten() {
        let mut issued = vec![at(0), at(86_400)];
        forget(at(7 * 86_400 + 1), &mut issued);
        assert_eq!(issued, [at(86_400)]);
    }
}
