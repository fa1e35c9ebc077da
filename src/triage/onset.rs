//! When trouble began, found in the data.
//!
//! The onset is where the run of bad events starts that lasts until now: the start that makes the sum of
//! `bad − θ · valid` from there to now the largest, with θ half way between the ratio before and the ratio now. A blip
//! that a longer stretch of good events separates from the run does not pay for that stretch and is left out; a pause
//! within the run that is shorter than what precedes it is taken in. The time of an alert plays no part.

use std::ops::Range;

use super::evidence::History;
use crate::model::Tally;

/// When trouble began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Onset {
    /// The second, since the Unix epoch.
    pub(super) secs: u64,
    /// How far off it may be, in seconds.
    pub(super) within_s: u64,
    /// Whether trouble reaches back to where the history begins, so that it may be older.
    pub(super) open: bool,
}

/// The onset of what is bad at `now`; `None` when nothing of the last five minutes is.
pub(super) fn find(history: &History, now: u64) -> Option<Onset> {
    let steps = steps(history, now);
    let level = level(&steps, now)?;
    let before = usual(&history.minutes).min(level / 2.0);
    let threshold = f64::midpoint(level, before);
    let (mut sum, mut best, mut start) = (0.0, 0.0, None);
    for (place, step) in steps.iter().enumerate().rev() {
        sum += step.tally.bad as f64 - threshold * step.tally.valid() as f64;
        if sum > best {
            (best, start) = (sum, Some(place));
        }
    }
    let start = start?;
    let step = steps[start];
    // Within a minute the share of its level tells how much of it was bad.
    let bad_s = |step: &Step| {
        let share = ratio(step.tally).unwrap_or_default() / level;
        (share.min(1.0) * step.width as f64).round() as u64
    };
    // The minute before may hold the beginning, too short to have been taken into the run.
    let before = start
        .checked_sub(1)
        .map(|place| steps[place])
        .filter(|before| before.width > 1 && before.start + before.width == step.start)
        .map(|before| bad_s(&before))
        .filter(|bad_s| *bad_s >= MIN_BAD_S);
    let (secs, within_s) = match before {
        Some(bad_s) => (step.start - bad_s, ROUGHLY_S),
        None if step.width > 1 => (step.start + step.width - bad_s(&step), ROUGHLY_S),
        None => (step.start, 1),
    };
    Some(Onset {
        secs,
        within_s,
        open: start == 0,
    })
}

/// What happened in the steps that lie wholly within `range`: seconds as far as those are kept, minutes before that.
pub(super) fn over(history: &History, range: Range<u64>, now: u64) -> Tally {
    steps(history, now)
        .iter()
        .filter(|step| step.start >= range.start && step.start + step.width <= range.end)
        .fold(Tally::default(), |sum, step| sum + step.tally)
}

/// How far off an onset may be that was found in a minute, in seconds.
const ROUGHLY_S: u64 = 20;
/// Bad seconds in the minute before a run that make it part of the run; fewer are a blip or chance.
const MIN_BAD_S: u64 = 3;

#[derive(Clone, Copy, Debug)]
struct Step {
    start: u64,
    width: u64,
    tally: Tally,
}

/// Minutes for what is old and seconds for what is recent, oldest first, each event once. The minute in which the
/// seconds begin is cut in two.
fn steps(history: &History, now: u64) -> Vec<Step> {
    let History { seconds, minutes } = history;
    let first = seconds.first().map_or(now + 1, |(second, _)| *second);
    let begun = first - first % 60;
    let held = seconds
        .iter()
        .take_while(|(second, _)| *second < begun + 60)
        .fold(Tally::default(), |sum, (_, tally)| sum + *tally);
    let minutes = minutes
        .iter()
        .filter(|(start, _)| *start < first)
        .map(|(start, tally)| {
            let (width, tally) = if *start == begun {
                (first - begun, *tally - held)
            } else {
                (60, *tally)
            };
            Step {
                start: *start,
                width,
                tally,
            }
        })
        .filter(|step| step.tally.valid() > 0);
    let seconds = seconds
        .iter()
        .filter(|(second, _)| *second <= now)
        .map(|(second, tally)| Step {
            start: *second,
            width: 1,
            tally: *tally,
        });
    minutes.chain(seconds).collect()
}

/// The bad ratio now: over the last minute or the last five, whichever is worse, so that neither a young incident nor
/// one that eases off is overlooked. `None` when nothing is bad.
fn level(steps: &[Step], now: u64) -> Option<f64> {
    let over = |secs: u64| {
        let sum = steps
            .iter()
            .filter(|step| step.start + secs > now)
            .fold(Tally::default(), |sum, step| sum + step.tally);
        ratio(sum)
    };
    [over(60), over(300)]
        .into_iter()
        .flatten()
        .reduce(f64::max)
        .filter(|level| *level > 0.0)
}

/// The bad ratio that a quarter of the minutes stay below: what is usual, unless trouble has lasted for most of them.
pub(super) fn usual(minutes: &[(u64, Tally)]) -> f64 {
    let mut ratios: Vec<f64> = minutes
        .iter()
        .filter_map(|(_, tally)| ratio(*tally))
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 4).copied().unwrap_or_default()
}

fn ratio(tally: Tally) -> Option<f64> {
    let valid = tally.valid();
    (valid > 0).then(|| tally.bad as f64 / valid as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 100_000;

    /// A history of six hours up to [`NOW`] in which `bad` of a hundred requests are bad in each second.
    fn history(bad: impl Fn(u64) -> u64) -> History {
        let mut history = History::default();
        for second in NOW - 21_600..=NOW {
            let bad = bad(second);
            let tally = Tally {
                good: 100 - bad,
                bad,
            };
            if second + 600 > NOW {
                history.seconds.push((second, tally));
            }
            let minute = second - second % 60;
            match history.minutes.last_mut() {
                Some((start, sum)) if *start == minute => *sum += tally,
                _ => history.minutes.push((minute, tally)),
            }
        }
        history
    }

    #[test]
    fn the_onset_is_the_first_second_of_the_run() {
        for (what, onset, bad) in [
            ("a total outage", NOW - 40, 100),
            ("a partial one", NOW - 300, 61),
            ("a slight one", NOW - 500, 2),
            ("one that has just begun", NOW - 1, 100),
        ] {
            let found = find(
                &history(|second| if second >= onset { bad } else { 0 }),
                NOW,
            );
            let found = found.unwrap();
            assert_eq!((found.secs, found.open), (onset, false), "{what}");
        }
    }

    #[test]
    fn blips_before_it_and_pauses_within_it_do_not_move_it() {
        let onset = NOW - 400;
        let found = find(
            &history(|second| match second {
                // Three seconds of errors, twenty seconds earlier.
                _ if (onset - 23..onset - 20).contains(&second) => 100,
                // Ten good seconds.
                _ if (onset + 100..onset + 110).contains(&second) => 0,
                _ if second >= onset => 60,
                _ => 0,
            }),
            NOW,
        );
        assert_eq!(found.unwrap().secs, onset);
    }

    #[test]
    fn a_usual_level_of_errors_is_not_the_beginning() {
        let onset = NOW - 200;
        let found = find(
            &history(|second| if second >= onset { 60 } else { 35 }),
            NOW,
        );
        assert_eq!(found.unwrap().secs, onset);
    }

    #[test]
    fn beyond_ten_minutes_the_minute_is_divided_by_its_share() {
        for ago in [590, 610, 630, 700, 1_234, 3_333, 9_999] {
            let onset = NOW - ago;
            let found = find(&history(|second| if second >= onset { 61 } else { 0 }), NOW);
            let found = found.unwrap();
            assert!(
                found.secs.abs_diff(onset) <= found.within_s,
                "{ago}: {found:?}"
            );
        }
    }

    #[test]
    fn trouble_as_old_as_the_history_may_be_older() {
        assert!(find(&history(|_| 50), NOW).unwrap().open);
        let young = History {
            seconds: (NOW - 20..=NOW)
                .map(|second| (second, Tally { good: 0, bad: 50 }))
                .collect(),
            minutes: vec![(
                NOW - 40,
                Tally {
                    good: 0,
                    bad: 1_050,
                },
            )],
        };
        let found = find(&young, NOW).unwrap();
        assert_eq!((found.secs, found.open), (NOW - 20, true));
    }

    #[test]
    fn without_errors_there_is_no_onset() {
        assert_eq!(find(&history(|_| 0), NOW), None);
        assert_eq!(
            find(&history(|second| u64::from(second < NOW - 900)), NOW),
            None
        );
        assert_eq!(find(&History::default(), NOW), None);
    }
}
