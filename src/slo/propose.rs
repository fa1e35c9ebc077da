//! What could be promised of a route, from what it did.
//!
//! A promise is worth making when it was kept with room to spare and when its budget is large enough to tell something:
//! proposed is the strictest objective, or the shortest threshold, of a list of human figures of which the time seen would
//! have used at most half of the budget, and whose budget holds at least ten events. Nothing is proposed from a few days or
//! a few requests.

use std::time::Duration;

use super::whatif::Bounds;
use crate::model::{Counts, Objective};

/// Objectives that people promise, in parts per million, the strictest first.
const OBJECTIVES_PPM: [u32; 8] = [
    999_900, 999_500, 999_000, 995_000, 990_000, 980_000, 950_000, 900_000,
];

/// Thresholds that people promise, in milliseconds.
const FIGURES_MS: [u64; 38] = [
    5, 10, 15, 20, 25, 30, 40, 50, 60, 75, 100, 120, 150, 200, 250, 300, 400, 500, 600, 750, 1_000,
    1_200, 1_500, 2_000, 2_500, 3_000, 4_000, 5_000, 6_000, 7_500, 10_000, 12_000, 15_000, 20_000,
    25_000, 30_000, 45_000, 60_000,
];

/// The share of requests under the threshold that is proposed: the founding target of latency at the edge is a 95th
/// percentile.
const FAST_PPM: u32 = 950_000;

/// Bad events that a budget must hold before it tells anything.
const LEAST_BUDGET: u64 = 10;
/// The share of the budget that the time seen may have used: one in this many.
const ROOM: u64 = 2;
/// The share of requests whose duration must be known: all but one in this many.
const UNKNOWN: u64 = 10;

/// The thresholds, rising.
pub fn figures() -> impl Iterator<Item = Duration> {
    FIGURES_MS.into_iter().map(Duration::from_millis)
}

/// What is proposed, or why nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// This.
    Proposed(T),
    /// Too little was seen to tell.
    Insufficient(Lack),
    /// What was seen is too bad to promise any of it: even the mildest figure would have used more than half of its budget.
    Unfit,
}

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Days with requests.
    Days {
        /// Seen.
        seen: u64,
        /// Needed.
        needed: u64,
    },
    /// Valid requests.
    Requests {
        /// Seen.
        seen: u64,
        /// Needed for the mildest figure.
        needed: u64,
    },
    /// Distributions: so many requests are not in any.
    Durations {
        /// Requests whose duration is not known.
        unknown: u64,
        /// All of them.
        all: u64,
    },
}

/// An availability that could be promised of what `counts` saw on so many `days`; at most `strictest`.
pub fn availability(
    counts: Counts,
    (days, least_days): (u64, u64),
    strictest: Objective,
) -> Answer<Objective> {
    if let Some(lack) = too_short(days, least_days) {
        return Answer::Insufficient(lack);
    }
    let objectives = OBJECTIVES_PPM
        .into_iter()
        .filter(|ppm| *ppm <= strictest.ppm())
        .filter_map(|ppm| Objective::try_from_ppm(ppm).ok());
    let bounds = Bounds {
        valid: counts.valid(),
        least: counts.bad,
        most: counts.bad,
    };
    let mut is_enough = false;
    for objective in objectives {
        if needed(objective) > bounds.valid {
            continue;
        }
        is_enough = true;
        if has_room(bounds, objective) {
            return Answer::Proposed(objective);
        }
    }
    if is_enough {
        Answer::Unfit
    } else {
        let mildest = OBJECTIVES_PPM.into_iter().min().unwrap_or_default();
        let needed = Objective::try_from_ppm(mildest.min(strictest.ppm())).map_or(0, needed);
        Answer::Insufficient(Lack::Requests {
            seen: bounds.valid,
            needed,
        })
    }
}

/// A latency that could be promised: a threshold, and the share of requests under it. `slower` gives what each of
/// [`figures`] would have come to, rising; `unknown` are requests whose duration is not known.
pub fn latency(
    slower: &[(Duration, Bounds)],
    unknown: u64,
    (days, least_days): (u64, u64),
) -> Answer<(Duration, Objective)> {
    if let Some(lack) = too_short(days, least_days) {
        return Answer::Insufficient(lack);
    }
    let objective =
        Objective::try_from_ppm(FAST_PPM).expect("95 % is an objective, as the constant says");
    let valid = slower.first().map_or(0, |(_, bounds)| bounds.valid);
    if unknown > (valid + unknown) / UNKNOWN {
        return Answer::Insufficient(Lack::Durations {
            unknown,
            all: valid + unknown,
        });
    }
    if valid < needed(objective) {
        return Answer::Insufficient(Lack::Requests {
            seen: valid,
            needed: needed(objective),
        });
    }
    slower
        .iter()
        .find(|(_, bounds)| has_room(*bounds, objective))
        .map_or(Answer::Unfit, |(under, _)| {
            Answer::Proposed((*under, objective))
        })
}

fn too_short(days: u64, least: u64) -> Option<Lack> {
    (days < least).then_some(Lack::Days {
        seen: days,
        needed: least,
    })
}

/// Valid events whose budget holds enough.
fn needed(objective: Objective) -> u64 {
    let ppm = u64::from(objective.budget_ppm()).max(1);
    (LEAST_BUDGET * 1_000_000).div_ceil(ppm)
}

/// Whether at most half of the budget was used, whatever is not known.
fn has_room(bounds: Bounds, objective: Objective) -> bool {
    let spent = u128::from(bounds.most) * 1_000_000 * u128::from(ROOM);
    spent <= u128::from(bounds.valid) * u128::from(objective.budget_ppm())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(good: u64, bad: u64) -> Counts {
        Counts {
            good,
            bad,
            excluded: 7,
        }
    }

    fn objective(text: &str) -> Objective {
        text.parse().unwrap()
    }

    #[test]
    fn the_strictest_objective_that_was_kept_with_room_is_proposed() {
        let proposed = |text: &str| Answer::Proposed(objective(text));
        let requests = |seen| Answer::Insufficient(Lack::Requests { seen, needed: 100 });
        for (good, bad, days, expected) in [
            (1_000_000, 0, 28, proposed("99.9%")),
            (999_500, 500, 28, proposed("99.9%")),
            (999_499, 501, 28, proposed("99.5%")),
            (990_000, 10_000, 28, proposed("98%")),
            (940_000, 60_000, 28, Answer::Unfit),
            // Of 6,720 requests 99.9 % allow less than seven failures.
            (6_720, 0, 28, proposed("99.5%")),
            (100, 0, 28, proposed("90%")),
            (99, 0, 28, requests(99)),
            (0, 0, 28, requests(0)),
            (
                1_000_000,
                0,
                6,
                Answer::Insufficient(Lack::Days { seen: 6, needed: 7 }),
            ),
        ] {
            let read = availability(counts(good, bad), (days, 7), objective("99.9%"));
            assert_eq!(read, expected, "{bad} of {}", good + bad);
        }
        let strict = availability(counts(1_000_000, 0), (28, 7), objective("99.99%"));
        assert_eq!(strict, proposed("99.99%"));
    }

    #[test]
    fn the_shortest_threshold_with_room_is_proposed_by_what_is_certain() {
        let slower = |most: &[u64]| -> Vec<(Duration, Bounds)> {
            let bounds = most.iter().map(|most| Bounds {
                valid: 1_000,
                least: 0,
                most: *most,
            });
            figures().zip(bounds).collect()
        };
        let answer = |most: &[u64], unknown| latency(&slower(most), unknown, (28, 7));
        let ms = Duration::from_millis;
        assert_eq!(
            answer(&[900, 26, 25, 3], 0),
            Answer::Proposed((ms(15), objective("95%")))
        );
        assert_eq!(answer(&[900, 26], 0), Answer::Unfit);
        let lack = Lack::Durations {
            unknown: 112,
            all: 1_112,
        };
        assert_eq!(answer(&[1], 112), Answer::Insufficient(lack));
        assert_eq!(
            latency(&[], 0, (28, 7)),
            Answer::Insufficient(Lack::Requests {
                seen: 0,
                needed: 200
            })
        );
    }

    proptest! {
        /// What is proposed was kept, and nothing stricter of the list was with room.
        #[test]
        fn what_is_proposed_would_have_been_kept(good in 0_u64..2_000_000, bad in 0_u64..100_000) {
            let answer = availability(counts(good, bad), (30, 7), objective("99.99%"));
            if let Answer::Proposed(found) = answer {
                let allowed = |it: Objective| (good + bad) as f64 * f64::from(it.budget_ppm()) / 1e6;
                prop_assert!(allowed(found) >= 10.0 - 1e-6);
                prop_assert!(bad as f64 <= allowed(found) / 2.0 + 1e-6);
                for ppm in OBJECTIVES_PPM.into_iter().filter(|ppm| *ppm > found.ppm()) {
                    let stricter = allowed(Objective::try_from_ppm(ppm).unwrap());
                    prop_assert!(stricter < 10.0 || bad as f64 > stricter / 2.0);
                }
            }
        }
    }
}
