//! The burn rate: how many times faster than allowed the budget is spent (SRE Workbook, chapter 5).
//!
//! Burn rate = (bad ÷ valid) ÷ (1 − objective). At 1 a window's budget lasts exactly that window.

use super::policy::Factor;
use crate::model::{Objective, Span, Tally, Window};

/// The windows that burn rates are shown for, shortest first.
pub const WINDOWS: [Window; 8] = [
    Window::minutes(5),
    Window::minutes(30),
    Window::hours(1),
    Window::hours(2),
    Window::hours(6),
    Window::days(1),
    Window::days(3),
    Window::days(30),
];

/// The burn rate over `tally`; `None` without a valid event. For showing; decisions use [`exceeds`].
pub fn rate(tally: Tally, objective: Objective) -> Option<f64> {
    let valid = tally.valid();
    let spent = u128::from(tally.bad) * 1_000_000;
    let allowed = u128::from(objective.budget_ppm()) * u128::from(valid);
    (valid > 0).then(|| spent as f64 / allowed as f64)
}

/// Whether the burn rate over `tally` is strictly above `factor`. Exact; never without a valid event.
pub fn exceeds(tally: Tally, objective: Objective, factor: Factor) -> bool {
    // (bad ÷ valid) ÷ (ppm ÷ 10^6) > milli ÷ 10^3, multiplied out. The largest product is below 2^64 · 10^9 < 2^94 on
    // the left and 2^64 · 2^20 · 2^32 = 2^116 on the right.
    let spent = u128::from(tally.bad) * 1_000_000 * 1_000;
    let allowed =
        u128::from(factor.0) * u128::from(objective.budget_ppm()) * u128::from(tally.valid());
    tally.valid() > 0 && spent > allowed
}

/// Whether `span` holds enough history of `window` to be judged by itself: at least half.
pub const fn is_grown(span: Span, window: Window) -> bool {
    span.covered_s.saturating_mul(2) >= window.as_secs()
}

/// As [`exceeds`], but what the window lacks of history is taken to have been good, at the traffic that was seen.
///
/// So a young process needs exactly as much trouble as an old one with a clean past: a total outage exceeds 14.4 over
/// an hour at 99.9 % after 51.9 s, whether the process is a minute or a month old, and 15 % of errors after 346 s.
pub fn exceeds_young(span: Span, window: Window, objective: Objective, factor: Factor) -> bool {
    // The events seen, stretched to the whole window: valid · window ÷ covered.
    let Span { tally, covered_s } = span;
    let spent = (u128::from(tally.bad) * 1_000_000_000).saturating_mul(u128::from(covered_s));
    let allowed =
        (u128::from(factor.0) * u128::from(objective.budget_ppm()) * u128::from(tally.valid()))
            .saturating_mul(u128::from(window.as_secs()));
    tally.valid() > 0 && spent > allowed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn objective(text: &str) -> Objective {
        text.parse().unwrap()
    }

    const fn tally(good: u64, bad: u64) -> Tally {
        Tally { good, bad }
    }

    #[test]
    fn burn_rates_of_the_workbook() {
        for (target, good, bad, burn) in [
            ("99.9%", 999, 1, 1.0),
            ("99.9%", 9_856, 144, 14.4),
            ("99.9%", 0, 5, 1_000.0),
            // Ten requests an hour, one failure.
            ("99.9%", 9, 1, 100.0),
            ("99.5%", 82, 130, 122.64),
            ("99.9%", 10, 0, 0.0),
        ] {
            let read = rate(tally(good, bad), objective(target)).unwrap();
            assert!((read - burn).abs() < 0.005, "{target} {good}/{bad}: {read}");
        }
        assert_eq!(rate(tally(0, 0), objective("99.9%")), None);
    }

    #[test]
    fn exactly_the_factor_does_not_exceed_it() {
        let factor = Factor::milli(14_400);
        assert!(!exceeds(tally(98_560, 1_440), objective("99.9%"), factor));
        assert!(exceeds(tally(98_559, 1_441), objective("99.9%"), factor));
        assert!(!exceeds(tally(0, 0), objective("99.9%"), factor));
    }

    #[test]
    fn a_total_outage_exceeds_at_the_same_second_however_young_the_process() {
        let (hour, factor) = (Window::hours(1), Factor::milli(14_400));
        for age in [51, 52, 300, 1_700] {
            let fires = (0..=age).find(|outage| {
                let span = Span {
                    tally: tally((age - outage) * 50, outage * 50),
                    covered_s: age,
                };
                exceeds_young(span, hour, objective("99.9%"), factor)
            });
            assert_eq!(fires, (age >= 52).then_some(52), "{age}");
        }
    }

    proptest! {
        #[test]
        fn the_exact_comparison_agrees_with_the_rate_away_from_equality(
            good in 0_u64..1_000_000,
            bad in 0_u64..1_000_000,
            ppm in 1_u32..1_000_000,
            milli in 1_u32..100_000,
        ) {
            let objective = Objective::try_from_ppm(ppm).unwrap();
            let (tally, factor) = (tally(good, bad), f64::from(milli) / 1_000.0);
            if let Some(rate) = rate(tally, objective)
                && (rate / factor - 1.0).abs() > 1e-9
            {
                prop_assert_eq!(exceeds(tally, objective, Factor::milli(milli)), rate > factor);
            }
        }

        #[test]
        fn a_whole_window_is_judged_alike_young_or_old(
            good in 0_u64..1_000_000,
            bad in 0_u64..1_000_000,
            covered in 0_u64..=3_600,
        ) {
            let (hour, factor, objective) = (Window::hours(1), Factor::milli(6_000), objective("99.9%"));
            let (tally, full) = (tally(good, bad), covered == 3_600);
            let old = exceeds(tally, objective, factor);
            let young = exceeds_young(Span { tally, covered_s: covered }, hour, objective, factor);
            prop_assert!(!young || old, "the young are never judged more harshly");
            prop_assert!(!full || young == old);
        }
    }
}
