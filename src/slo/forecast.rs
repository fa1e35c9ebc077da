//! When the budget will be empty.

use crate::model::{Objective, Span, Tally, Window};

/// Seconds until the budget of `window` is empty if errors go on as in `recent`, rounded down.
///
/// The workbook's R · P ÷ burn rate, where R is the share that is left and P the window, in whole numbers until the
/// last division. What `span` lacks of history is taken to have been good at the traffic that was seen, so that a
/// young process does not report an empty budget after its first errors. It is the earliest such time: in a rolling
/// window old errors age out meanwhile, which is not foreseen here.
///
/// `Some(0)` when it is empty already. `None` when it will not be empty at this rate: `recent` burns at 1 or below, or
/// there was nothing valid to tell.
pub fn time_to_empty_s(
    span: Span,
    window: Window,
    objective: Objective,
    recent: Tally,
) -> Option<u64> {
    let left = expected_left(span, window, objective)?;
    if left <= 0 {
        return Some(0);
    }
    let ppm = i128::from(objective.budget_ppm());
    let (valid, bad) = (i128::from(recent.valid()), i128::from(recent.bad));
    if bad * MILLION <= ppm * valid {
        return None;
    }
    // left ÷ (valid per second · bad share now), where `left` is in millionths of an event, times the seconds covered.
    let spent_per_s = MILLION * i128::from(span.tally.valid());
    let seconds = left.saturating_mul(valid) / spent_per_s.saturating_mul(bad);
    Some(u64::try_from(seconds).unwrap_or(u64::MAX))
}

/// The share of the whole window's budget that is left, where what `span` lacks of history is taken to have been good
/// at the traffic that was seen. `None` without a valid event. Equal to the plain remaining share once the window is
/// covered.
pub fn expected_remaining_ratio(span: Span, window: Window, objective: Objective) -> Option<f64> {
    let left = expected_left(span, window, objective)?;
    let whole =
        f64::from(objective.budget_ppm()) * span.tally.valid() as f64 * window.as_secs() as f64;
    Some(left as f64 / whole)
}

const MILLION: i128 = 1_000_000;

/// Budget left of the whole window, in millionths of an event times the seconds covered.
fn expected_left(span: Span, window: Window, objective: Objective) -> Option<i128> {
    let Span { tally, covered_s } = span;
    if tally.valid() == 0 {
        return None;
    }
    // Seconds in which something was counted were measured, whatever the caller says.
    let covered = i128::from(covered_s.clamp(1, window.as_secs()));
    let allowed = i128::from(objective.budget_ppm())
        .saturating_mul(i128::from(tally.valid()))
        .saturating_mul(i128::from(window.as_secs()));
    let spent = (MILLION * i128::from(tally.bad)).saturating_mul(covered);
    Some(allowed.saturating_sub(spent))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MONTH: Window = Window::days(30);

    fn objective() -> Objective {
        "99.9%".parse().unwrap()
    }

    fn full(good: u64, bad: u64) -> Span {
        Span {
            tally: Tally { good, bad },
            covered_s: MONTH.as_secs(),
        }
    }

    #[test]
    fn an_untouched_budget_lasts_the_window_over_the_burn_rate() {
        // Bad per hundred thousand at 99.9 %: burn rate times a hundred.
        for (bad, seconds) in [
            (200, 15 * 86_400),
            // Five times is six days, exactly.
            (500, 6 * 86_400),
            (1_000, 3 * 86_400),
            (3_500, 74_057),
            (100_000, 2_592),
        ] {
            let recent = Tally {
                good: 100_000 - bad,
                bad,
            };
            let read = time_to_empty_s(full(1_000_000, 0), MONTH, objective(), recent);
            assert_eq!(read, Some(seconds), "{bad}");
        }
    }

    #[test]
    fn what_is_spent_already_shortens_the_time() {
        let recent = Tally {
            good: 99_000,
            bad: 1_000,
        };
        let half = full(999_500, 500);
        assert_eq!(
            time_to_empty_s(half, MONTH, objective(), recent),
            Some(3 * 86_400 / 2)
        );
        let none = full(999_000, 1_000);
        assert_eq!(time_to_empty_s(none, MONTH, objective(), recent), Some(0));
    }

    #[test]
    fn at_a_burn_rate_of_one_or_less_it_does_not_empty() {
        for (good, bad) in [(999, 1), (1_000, 0), (0, 0)] {
            let recent = Tally { good, bad };
            assert_eq!(
                time_to_empty_s(full(1_000_000, 10), MONTH, objective(), recent),
                None
            );
        }
        let empty = full(0, 0);
        assert_eq!(
            time_to_empty_s(empty, MONTH, objective(), Tally { good: 0, bad: 9 }),
            None
        );
    }

    #[test]
    fn a_young_process_in_its_first_outage_has_most_of_the_month_left() {
        let span = Span {
            tally: Tally {
                good: 0,
                bad: 3_000,
            },
            covered_s: 60,
        };
        let left = expected_remaining_ratio(span, MONTH, objective()).unwrap();
        assert!((left - (1.0 - 60.0 / 2_592.0)).abs() < 1e-9, "{left}");
        // 1000 times too fast empties a month in 43.2 minutes, one of which has passed.
        assert_eq!(
            time_to_empty_s(span, MONTH, objective(), span.tally),
            Some(2_592 - 60)
        );
    }

    proptest! {
        #[test]
        fn no_counts_panic_and_more_errors_never_last_longer(
            good in any::<u64>(),
            bad in any::<u64>(),
            covered_s in any::<u64>(),
            recent in (any::<u64>(), 0..u64::MAX),
            ppm in 1_u32..1_000_000,
        ) {
            let objective = Objective::try_from_ppm(ppm).unwrap();
            let span = Span { tally: Tally { good, bad }, covered_s };
            let last = |bad| {
                let recent = Tally { good: recent.0 / 2, bad };
                time_to_empty_s(span, MONTH, objective, recent).unwrap_or(u64::MAX)
            };
            let (fewer, more) = (last(recent.1 / 4), last(recent.1 / 2));
            prop_assert!(more <= fewer);
        }
    }
}
