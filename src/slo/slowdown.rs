//! Whether a route grows slower by the day: too slowly for any objective or baseline of an hour to notice, and yet it ends in
//! one (M2; a gradual growth of latency is a ticket).
//!
//! An hour is compared with the same hour of the day before, since most traffic has its day, and in the end with the same
//! hours a week before, since it has its week as well. Percentiles are compared and never averaged: what is said of a day is
//! the median over its hours.

use std::ops::Range;

/// Days that must each be slower than the day before.
const DAYS: u64 = 3;
/// Hours of a day of which something must be known, and of the same hours of the day it is compared with.
const LEAST_HOURS: usize = 12;
/// Requests of an hour below which its percentile tells little.
const LEAST_REQUESTS: u64 = 100;
/// How much slower a day must be than the day before, as the median over its hours, in per cent.
const BY_DAY_PERCENT: u64 = 2;
/// How much slower the last day must be than that before the growth, in per cent.
const IN_ALL_PERCENT: u64 = 10;
/// The share of a day's hours that must be slower than the day before: three of four. By chance 18 of 24 are in one of a
/// hundred days, and so three times in a row in one of a million.
const SLOWER_OF_FOUR: usize = 3;
/// Slower by less than this is not worth a word, in microseconds.
const LEAST_US: u64 = 1_000;
/// Hours of a day.
const DAY: u64 = 24;
/// Hours of a week.
const WEEK: u64 = 7 * DAY;

/// How long requests of one hour took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// 95 % took at most this long, in microseconds.
    pub p95_us: u64,
    /// Of how many.
    pub requests: u64,
}

/// A route that grows slower by the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slowdown {
    /// The median of the hours' 95th percentiles on the day before it began, in microseconds.
    pub before_us: u64,
    /// The same of the last day.
    pub now_us: u64,
}

impl Slowdown {
    /// By how much slower it has become, in per cent.
    pub const fn percent(self) -> u64 {
        (self.now_us.saturating_sub(self.before_us)).saturating_mul(100)
            / if self.before_us == 0 {
                1
            } else {
                self.before_us
            }
    }

    /// Whether a route has grown slower on each of the last three days up to hour `end` (in hours since the Unix epoch, not
    /// included), and by enough. Never when too little is known.
    pub fn find(end: u64, pace: impl Fn(u64) -> Option<Pace>) -> Option<Self> {
        let last_day = end.checked_sub(DAYS * DAY + DAY)? + DAYS * DAY..end;
        let grows = (0..DAYS).all(|day| {
            let hours = last_day.start - day * DAY..last_day.end - day * DAY;
            Pairs::of(hours, DAY, &pace).is_some_and(|pairs| pairs.grow())
        });
        if !grows {
            return None;
        }
        // A week that always grows slower up to its middle is no news.
        let last_week = Pairs::of(last_day.clone(), WEEK, &pace);
        if last_week.is_some_and(|pairs| !pairs.are_slower_by(IN_ALL_PERCENT)) {
            return None;
        }
        let pairs = Pairs::of(last_day, DAYS * DAY, &pace)?;
        let found = Self {
            before_us: median(pairs.0.iter().map(|(before, _)| *before))?,
            now_us: median(pairs.0.iter().map(|(_, now)| *now))?,
        };
        let is_worth_a_word = found.now_us.saturating_sub(found.before_us) >= LEAST_US;
        (pairs.are_slower_by(IN_ALL_PERCENT) && is_worth_a_word).then_some(found)
    }
}

/// The hours that [`Slowdown::find`] asks for.
pub fn hours_needed(end: u64) -> [Range<u64>; 2] {
    let since = |hours: u64| end.saturating_sub(hours);
    [since(WEEK + DAY)..since(WEEK), since((DAYS + 1) * DAY)..end]
}

/// The 95th percentiles of hours: before, and now.
struct Pairs(Vec<(u64, u64)>);

impl Pairs {
    /// Those of `hours` with those `back` hours before; `None` when they are too few.
    fn of(hours: Range<u64>, back: u64, pace: impl Fn(u64) -> Option<Pace>) -> Option<Self> {
        let known = |hour: u64| {
            let pace = pace(hour)?;
            (pace.requests >= LEAST_REQUESTS).then_some(pace.p95_us)
        };
        let pairs: Vec<(u64, u64)> = hours
            .filter_map(|hour| Some((known(hour.checked_sub(back)?)?, known(hour)?)))
            .collect();
        (pairs.len() >= LEAST_HOURS).then_some(Self(pairs))
    }

    fn grow(&self) -> bool {
        let slower = self.0.iter().filter(|(before, now)| now > before).count();
        slower * 4 >= self.0.len() * SLOWER_OF_FOUR && self.are_slower_by(BY_DAY_PERCENT)
    }

    /// Whether the median of how much slower they are is at least so many per cent: at least half of them are.
    fn are_slower_by(&self, percent: u64) -> bool {
        let by = |(before, now): &&(u64, u64)| {
            u128::from(*now) * 100 >= u128::from(*before) * u128::from(100 + percent)
        };
        self.0.iter().filter(by).count() * 2 >= self.0.len()
    }
}

fn median(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u64 = 490_000;

    /// A day with its peak, noise of a few per cent, and on each of the last `days` days `percent` more.
    fn growing(percent: u32, days: u64) -> impl Fn(u64) -> Option<Pace> {
        move |hour| {
            let daily = 200_000.0 + 50_000.0 * (hour as f64 / 24.0 * std::f64::consts::TAU).sin();
            let noise = 1.0 + ((hour * 2_654_435_761 % 1_000) as f64 / 1_000.0 - 0.5) * 0.04;
            let grown = (hour + days * DAY).saturating_sub(END) as f64 / 24.0;
            let p95 = daily * noise * (1.0 + f64::from(percent) / 100.0).powf(grown);
            Some(Pace {
                p95_us: p95 as u64,
                requests: 1_000,
            })
        }
    }

    #[test]
    fn five_per_cent_a_day_are_found_after_three_days_and_not_after_two() {
        let found = Slowdown::find(END, growing(5, 3)).unwrap();
        assert!((10..=20).contains(&found.percent()), "{found:?}");
        assert_eq!(Slowdown::find(END, growing(5, 2)), None);
        assert!(Slowdown::find(END, growing(5, 6)).is_some());
    }

    #[test]
    fn what_does_not_grow_or_hardly_is_not_found() {
        assert_eq!(Slowdown::find(END, growing(0, 3)), None);
        assert_eq!(Slowdown::find(END, growing(1, 30)), None);
    }

    #[test]
    fn a_step_that_lasts_is_a_change_and_no_growth() {
        let steady = growing(0, 0);
        for hours_ago in 1..100 {
            let stepped = |hour| {
                let mut pace = steady(hour)?;
                if hour >= END - hours_ago {
                    pace.p95_us = pace.p95_us * 3 / 2;
                }
                Some(pace)
            };
            assert_eq!(Slowdown::find(END, stepped), None, "{hours_ago} hours ago");
        }
    }

    #[test]
    fn a_week_that_always_goes_so_is_no_news() {
        // From Sunday to Wednesday 8 % a day, and back.
        let weekly = |hour: u64| {
            let into = (END - 1 - hour) / DAY % 7;
            let steps = into.abs_diff(3);
            Some(Pace {
                p95_us: 200_000 * (100 + 8 * steps) / 100,
                requests: 1_000,
            })
        };
        assert_eq!(Slowdown::find(END, weekly), None);
        let young = |hour| (hour >= END - 4 * DAY).then(|| weekly(hour)).flatten();
        assert!(
            Slowdown::find(END, young).is_some(),
            "of a week of which nothing is known"
        );
    }

    #[test]
    fn too_little_is_no_ground_for_a_word() {
        let with = |change: fn(u64, Pace) -> Option<Pace>| {
            let grows = growing(8, 4);
            Slowdown::find(END, move |hour| change(hour, grows(hour)?))
        };
        assert!(with(|_, pace| Some(pace)).is_some());
        let few = with(|_, pace| {
            Some(Pace {
                requests: LEAST_REQUESTS - 1,
                ..pace
            })
        });
        assert_eq!(few, None);
        assert_eq!(with(|hour, pace| (hour % 24 < 11).then_some(pace)), None);
        assert!(with(|hour, pace| (hour % 24 < 13).then_some(pace)).is_some());
        let fast = with(|_, pace| {
            Some(Pace {
                p95_us: pace.p95_us / 100,
                ..pace
            })
        });
        assert_eq!(fast, None, "from 2 ms by a few tenths");
        assert_eq!(Slowdown::find(5, growing(5, 3)), None);
    }

    #[test]
    fn no_hour_is_asked_for_beyond_those_that_are_said_to_be_needed() {
        let needed = hours_needed(END);
        let asked = |hour| {
            assert!(needed.iter().any(|hours| hours.contains(&hour)), "{hour}");
            growing(5, 4)(hour)
        };
        assert!(Slowdown::find(END, asked).is_some());
    }
}
