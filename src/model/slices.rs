//! Budgets of time slices: not requests are good or bad, but stretches of time.

use std::fmt;

use super::{Objective, Tally, Window};

/// How the events of an SLO are put together into slices of time (`OpenSLO`: budgeting methods `Timeslices` and
/// `RatioTimeslices`). Slices begin at whole multiples of their length since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slices {
    /// How long each is.
    pub every: Window,
    /// What one is worth.
    pub worth: Worth,
    /// What one without a valid event is.
    pub empty: EmptySlice,
}

/// What a slice with valid events is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// One event: good when at least this share of its requests was.
    Whole(Objective),
    /// The share of its requests that was good, in [`MILLION`] events: so every slice weighs the same, however many
    /// requests it had.
    Share,
}

/// What a slice without a valid event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptySlice {
    /// Not valid.
    Skip,
    /// Good.
    Good,
    /// Bad.
    Bad,
}

impl EmptySlice {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Good => "good",
            Self::Bad => "bad",
        }
    }
}

/// The events that a slice counts as by its share.
pub const MILLION: u64 = 1_000_000;

impl Slices {
    /// Minutes of a composite: each worth what its parts weigh, and none without an event.
    pub const WEIGHED: Self = Self {
        every: Window::minutes(1),
        worth: Worth::Share,
        empty: EmptySlice::Skip,
    };

    /// The events that one slice counts as.
    pub const fn unit(self) -> u64 {
        match self.worth {
            Worth::Whole(_) => 1,
            Worth::Share => MILLION,
        }
    }

    /// The beginning of the slice that `second` lies in.
    pub const fn start(self, second: u64) -> u64 {
        second - second % self.every.as_secs()
    }

    /// What a slice with these requests counts as, in integers; nothing when it does not count. A slice of which a part was
    /// not measured is not known to be empty, and is left out if nothing was seen in it.
    pub fn judge(self, requests: Tally, is_whole: bool) -> Tally {
        let unit = self.unit();
        let all = |is_good: bool| Tally {
            good: if is_good { unit } else { 0 },
            bad: if is_good { 0 } else { unit },
        };
        let valid = requests.valid();
        if valid == 0 {
            return match self.empty {
                EmptySlice::Good if is_whole => all(true),
                EmptySlice::Bad if is_whole => all(false),
                EmptySlice::Good | EmptySlice::Bad | EmptySlice::Skip => Tally::default(),
            };
        }
        match self.worth {
            Worth::Whole(objective) => {
                let good = u128::from(requests.good) * u128::from(MILLION);
                all(good >= u128::from(valid) * u128::from(objective.ppm()))
            }
            Worth::Share => {
                // Rounded to the nearest millionth.
                let share = u128::from(requests.good) * u128::from(MILLION) + u128::from(valid / 2);
                let good = u64::try_from(share / u128::from(valid)).unwrap_or(MILLION);
                Tally {
                    good: good.min(MILLION),
                    bad: MILLION - good.min(MILLION),
                }
            }
        }
    }
}

/// `slices of 1m, good from 99%, empty ones skip`
impl fmt::Display for Slices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            every,
            worth,
            empty,
        } = self;
        write!(f, "slices of {every}, ")?;
        match worth {
            Worth::Whole(objective) => write!(f, "good from {objective}")?,
            Worth::Share => f.write_str("by their share")?,
        }
        write!(f, ", empty ones {}", empty.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn tally(good: u64, bad: u64) -> Tally {
        Tally { good, bad }
    }

    #[test]
    fn a_slice_is_good_from_its_target_on_and_exactly_there() {
        let slices = Slices {
            every: Window::minutes(1),
            worth: Worth::Whole("99%".parse().unwrap()),
            empty: EmptySlice::Skip,
        };
        for (requests, judged) in [
            (tally(99, 1), tally(1, 0)),
            (tally(98, 1), tally(0, 1)),
            (tally(990_000_000_000_000, 10_000_000_000_001), tally(0, 1)),
            (tally(0, 1), tally(0, 1)),
            (tally(0, 0), tally(0, 0)),
        ] {
            assert_eq!(slices.judge(requests, true), judged, "{requests:?}");
        }
    }

    #[test]
    fn a_slice_by_its_share_weighs_a_million_whatever_its_traffic() {
        let slices = Slices {
            every: Window::minutes(1),
            worth: Worth::Share,
            empty: EmptySlice::Skip,
        };
        for (requests, judged) in [
            (tally(3, 1), tally(750_000, 250_000)),
            (tally(2, 1), tally(666_667, 333_333)),
            (tally(u64::MAX / 2, 0), tally(MILLION, 0)),
            (tally(0, 7), tally(0, MILLION)),
        ] {
            assert_eq!(slices.judge(requests, true), judged, "{requests:?}");
        }
    }

    #[test]
    fn an_empty_slice_is_what_was_said_of_it_and_an_unmeasured_one_is_not_empty() {
        for (empty, judged) in [
            (EmptySlice::Skip, tally(0, 0)),
            (EmptySlice::Good, tally(1, 0)),
            (EmptySlice::Bad, tally(0, 1)),
        ] {
            let slices = Slices {
                every: Window::minutes(1),
                worth: Worth::Whole("99%".parse().unwrap()),
                empty,
            };
            assert_eq!(slices.judge(tally(0, 0), true), judged);
            assert_eq!(slices.judge(tally(0, 0), false), tally(0, 0));
            assert_eq!(slices.judge(tally(1, 0), false), tally(1, 0));
        }
    }
}
