//! In which part of a dimension bad requests gather, and how much speaks for it.
//!
//! A part is compared with what happened in the rest of its dimension at the same time, or with the time before. Few
//! requests differ by chance, so nothing is said of a difference that chance would make once in a thousand times.

use serde::{Deserialize, Serialize};

use super::Strength;
use crate::model::Tally;

/// A part in which requests are bad more often than elsewhere in its dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// `endpoint`, `version`, `route`, `upstream` or `time`.
    pub dimension: String,
    /// Which part of it: one name, or several that fare alike.
    pub parts: Vec<String>,
    /// How many parts the dimension has; 2 when it is a before and an after.
    pub of: u64,
    /// What happened there.
    pub there: Tally,
    /// What happened elsewhere.
    pub elsewhere: Tally,
    /// How many times as often requests are bad there as elsewhere, above 1; `null`: elsewhere none is.
    pub lift: Option<f64>,
    /// How much speaks for it.
    pub strength: Strength,
    /// What "there" and "elsewhere" are counted over, in words.
    pub over: String,
}

/// What comparing the parts of a dimension came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Compared {
    /// One part differs.
    Differs(Contrast),
    /// All fare alike, as far as so many requests can tell.
    Alike,
    /// There is nothing to compare with, or there are too few bad requests to compare.
    TooLittle(&'static str),
}

/// Bad requests below which nothing is compared.
const ENOUGH: u64 = 5;
/// The lift from which a part is said to differ at all, and strongly.
const WORTH_SAYING: f64 = 1.5;
const TELLING: f64 = 5.0;
/// How much of the bad requests a part carries that differs strongly: nine tenths.
const CARRIES: (u64, u64) = (9, 10);
/// Standard errors of the difference of two shares, from which on it is not chance: once in a thousand times.
const NOT_CHANCE: f64 = 3.1;

/// Compares the parts of a dimension with each other. Those whose share is at least half of the worst one's are told
/// together: they fail alike.
pub fn among(dimension: &str, over: &str, parts: &[(String, Tally)]) -> Compared {
    let with_requests: Vec<_> = parts.iter().filter(|(_, it)| it.valid() > 0).collect();
    if with_requests.len() < 2 {
        return Compared::TooLittle("there is only one that had requests");
    }
    let worst = with_requests
        .iter()
        .map(|(_, tally)| share(*tally))
        .fold(0.0, f64::max);
    let (failing, others): (Vec<_>, Vec<_>) = with_requests
        .into_iter()
        .partition(|(_, tally)| share(*tally) >= worst / 2.0);
    let sum = |them: &[&(String, Tally)]| {
        them.iter()
            .fold(Tally::default(), |sum, (_, tally)| sum + *tally)
    };
    let (there, elsewhere) = (sum(&failing), sum(&others));
    if there.bad < ENOUGH {
        return Compared::TooLittle("there are too few bad requests");
    }
    if others.is_empty() {
        return Compared::Alike;
    }
    let all = there.bad + elsewhere.bad;
    let carries = there.bad * CARRIES.1 >= all * CARRIES.0;
    let names = failing.iter().map(|(name, _)| name.clone()).collect();
    let of = u64::try_from(parts.len()).unwrap_or(u64::MAX);
    told(dimension, over, (names, of), (there, elsewhere), carries)
}

/// Compares what happened in one part with what happened beside or before it.
pub fn between(
    dimension: &str,
    over: &str,
    part: &str,
    there: Tally,
    elsewhere: Tally,
) -> Compared {
    if elsewhere.valid() == 0 {
        return Compared::TooLittle("there is nothing to compare with");
    }
    if there.bad < ENOUGH {
        return Compared::TooLittle("there are too few bad requests");
    }
    let names = (vec![part.to_owned()], 2);
    told(dimension, over, names, (there, elsewhere), true)
}

/// The most telling first: strong before weak, then by lift, those that are alone with it before all.
pub fn rank(contrasts: &mut [Contrast]) {
    let lift = |it: &Contrast| it.lift.unwrap_or(f64::INFINITY);
    contrasts.sort_by(|one, other| {
        let by_lift = lift(other).total_cmp(&lift(one));
        let by_bad = other.there.bad.cmp(&one.there.bad);
        other.strength.cmp(&one.strength).then(by_lift).then(by_bad)
    });
}

fn told(
    dimension: &str,
    over: &str,
    (parts, of): (Vec<String>, u64),
    (there, elsewhere): (Tally, Tally),
    carries: bool,
) -> Compared {
    let (much, little) = (share(there), share(elsewhere));
    let lift = (elsewhere.bad > 0).then(|| much / little);
    let is = |least: f64| lift.is_none_or(|lift| lift >= least);
    if !is(WORTH_SAYING) || errors_apart(there, elsewhere) < NOT_CHANCE {
        return Compared::Alike;
    }
    let strength = if is(TELLING) && carries {
        Strength::Strong
    } else {
        Strength::Weak
    };
    Compared::Differs(Contrast {
        dimension: dimension.to_owned(),
        parts,
        of,
        there,
        elsewhere,
        lift,
        strength,
        over: over.to_owned(),
    })
}

/// How many standard errors two shares lie apart, by the pooled test of two proportions; both have requests.
fn errors_apart(one: Tally, other: Tally) -> f64 {
    let together = share(one + other);
    let (n, m) = (one.valid() as f64, other.valid() as f64);
    let error = (together * (1.0 - together) * (1.0 / n + 1.0 / m)).sqrt();
    if error > 0.0 {
        (share(one) - share(other)) / error
    } else {
        0.0
    }
}

/// Bad ÷ valid; 0 of nothing.
fn share(tally: Tally) -> f64 {
    tally.bad as f64 / tally.valid().max(1) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(counts: &[(u64, u64)]) -> Vec<(String, Tally)> {
        let named = counts.iter().enumerate();
        named
            .map(|(place, (good, bad))| {
                let tally = Tally {
                    good: *good,
                    bad: *bad,
                };
                (place.to_string(), tally)
            })
            .collect()
    }

    #[test]
    fn a_part_differs_when_its_share_is_no_chance_and_is_alike_otherwise() {
        for (what, counts, expected) in [
            (
                "three of five fail",
                &[(0, 90), (0, 80), (0, 85), (98, 2), (97, 3)][..],
                Some((vec!["0", "1", "2"], Strength::Strong)),
            ),
            (
                "one is a little worse than the other",
                &[(900, 100), (960, 40)],
                Some((vec!["0"], Strength::Weak)),
            ),
            ("both fail", &[(0, 50), (0, 40)], None),
            ("a handful that chance can make", &[(95, 5), (99, 1)], None),
            ("one never had a request", &[(0, 50), (0, 0)], None),
            ("hardly any is bad", &[(100, 4), (100, 0)], None),
        ] {
            let compared = among("endpoint", "5m", &parts(counts));
            let found = match &compared {
                Compared::Differs(it) => Some((
                    it.parts.iter().map(String::as_str).collect::<Vec<_>>(),
                    it.strength,
                )),
                Compared::Alike | Compared::TooLittle(_) => None,
            };
            assert_eq!(found, expected, "{what}: {compared:?}");
        }
    }

    #[test]
    fn the_most_telling_comes_first() {
        let of = |there: (u64, u64), elsewhere: (u64, u64)| {
            let tally = |(good, bad)| Tally { good, bad };
            match between("d", "5m", "p", tally(there), tally(elsewhere)) {
                Compared::Differs(it) => it,
                other => panic!("{other:?}"),
            }
        };
        let mut all = vec![
            of((50, 50), (80, 20)),
            of((10, 90), (990, 10)),
            of((50, 50), (1_000, 0)),
        ];
        rank(&mut all);
        let lifts: Vec<Option<f64>> = all.iter().map(|it| it.lift).collect();
        assert_eq!(lifts[0], None, "bad nowhere else");
        assert!(lifts[1].is_some_and(|lift| lift > 80.0));
        assert!(lifts[2].is_some_and(|lift| lift < 3.0));
    }

    proptest! {
        /// Whatever the counts: a contrast's numbers are those of its parts and the rest, and its lift is finite.
        #[test]
        fn there_and_elsewhere_are_the_whole(
            counts in prop::collection::vec((0_u64..5_000, 0_u64..5_000), 0..9),
        ) {
            let parts = parts(&counts);
            let all = parts.iter().fold(Tally::default(), |sum, (_, it)| sum + *it);
            if let Compared::Differs(it) = among("d", "5m", &parts) {
                prop_assert_eq!(it.there + it.elsewhere, all);
                prop_assert!(it.lift.is_none_or(|lift| lift.is_finite() && lift >= 1.5));
                let of_it = parts.iter().filter(|(name, _)| it.parts.contains(name));
                let sum = of_it.fold(Tally::default(), |sum, (_, it)| sum + *it);
                prop_assert_eq!(it.there, sum);
            }
        }
    }
}
