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

/// As [`exceeds`], but of the traffic that is usual: whether the bad events in `long` are more than `factor` times what the
/// objective allows of the requests that its measured seconds hold on average over the `whole` window of the SLO.
///
/// The same as weighing the burn rate by (valid in `long` ÷ its length) ÷ (valid in `whole` ÷ its length). True when
/// nothing is known of the whole.
pub fn exceeds_by_volume(long: Span, whole: Span, objective: Objective, factor: Factor) -> bool {
    if whole.tally.valid() == 0 || whole.covered_s == 0 {
        return true;
    }
    // bad > factor · budget · (valid of the whole ÷ its seconds) · seconds of the window.
    let spent =
        (u128::from(long.tally.bad) * 1_000_000_000).saturating_mul(u128::from(whole.covered_s));
    let allowed = (u128::from(factor.0)
        * u128::from(objective.budget_ppm())
        * u128::from(whole.tally.valid()))
    .saturating_mul(u128::from(long.covered_s));
    spent > allowed
}

/// The square of the number of standard deviations that one-sided confidence is taken at, in ten-thousandths: 3.09, which
/// is 99.9 %.
pub const Z_SQUARED_E4: u32 = 95_481;

/// As [`exceeds`], but not by chance: whether Wilson's lower bound of bad ÷ valid is above `factor` times the budget.
///
/// The bound is above *q* exactly when bad ÷ valid is, and (bad − valid·q)² > z²·valid·q·(1 − q) (E. B. Wilson, 1927): no
/// root is drawn, and the comparison is exact.
pub fn exceeds_surely(tally: Tally, objective: Objective, factor: Factor) -> bool {
    const ONE: u128 = 1_000_000_000;
    let threshold = u128::from(factor.0) * u128::from(objective.budget_ppm());
    if threshold >= ONE {
        return false;
    }
    let valid = u128::from(tally.valid());
    let over = (u128::from(tally.bad) * ONE).saturating_sub(valid * threshold);
    // At most 2^64 · 2^58, and z² takes it to 2^126.
    let variance = valid * threshold * (ONE - threshold);
    let (whole, rest) = (variance / 10_000, variance % 10_000);
    let z_squared = u128::from(Z_SQUARED_E4);
    let needed = whole * z_squared + rest * z_squared / 10_000;
    // A square too large for the type is larger than anything that is needed.
    over > 0 && over.checked_mul(over).is_none_or(|square| square > needed)
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
    fn a_quiet_hour_counts_by_its_share_of_the_traffic() {
        let (objective, month) = (objective("95%"), 30 * 86_400);
        let span = |valid: u64, bad, covered_s| Span {
            tally: tally(valid - bad, bad),
            covered_s,
        };
        // 90,000 requests a month, and an hour of 120 with 100 bad: 2.22 % of the budget, more than 2 %.
        let whole = span(90_000, 100, month);
        for (bad, percent, exceeds) in [
            (100, 2_000, true),
            (100, 2_300, false),
            (90, 2_000, false),
            (91, 2_000, true),
        ] {
            // A share of the month's budget in an hour is 720 times as high a factor.
            let factor = Factor::milli(percent * 720 / 100);
            let hour = span(120, bad, 3_600);
            let found = exceeds_by_volume(hour, whole, objective, factor);
            assert_eq!(found, exceeds, "{bad} {percent}");
        }
        let nothing = span(0, 0, 0);
        assert!(exceeds_by_volume(
            nothing,
            nothing,
            objective,
            Factor::milli(1)
        ));
    }

    #[test]
    fn so_many_must_fail_before_it_is_no_chance() {
        let (objective, factor) = (objective("99.9%"), Factor::milli(14_400));
        for (valid, least) in [
            (10, 2),
            (100, 6),
            (1_000, 27),
            (10_000, 181),
            (100_000, 1_557),
        ] {
            let found =
                (0..=valid).find(|bad| exceeds_surely(tally(valid - bad, *bad), objective, factor));
            assert_eq!(found, Some(least), "of {valid}");
        }
        assert!(exceeds_surely(tally(0, u64::MAX), objective, factor));
        assert!(!exceeds_surely(tally(0, 0), objective, factor));
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
        fn wilsons_bound_is_what_the_books_say(
            good in 0_u64..1_000_000,
            bad in 0_u64..1_000_000,
            ppm in 1_u32..1_000_000,
            milli in 1_u32..100_000,
        ) {
            let objective = Objective::try_from_ppm(ppm).unwrap();
            let threshold = f64::from(milli) / 1e3 * f64::from(objective.budget_ppm()) / 1e6;
            let n = (good + bad) as f64;
            let (p, z2) = (bad as f64 / n, 9.5481);
            let bound = (p + z2 / (2.0 * n) - (z2 * (p * (1.0 - p) / n + z2 / (4.0 * n * n))).sqrt())
                / (1.0 + z2 / n);
            if n > 0.0 && threshold < 1.0 && (bound / threshold - 1.0).abs() > 1e-6 {
                let found = exceeds_surely(tally(good, bad), objective, Factor::milli(milli));
                prop_assert_eq!(found, bound > threshold);
            }
        }

        #[test]
        fn even_traffic_weighs_nothing(
            good in 0_u64..1_000_000,
            bad in 0_u64..1_000_000,
            hours in 1_u64..720,
            milli in 1_u32..100_000,
        ) {
            let (objective, factor) = (objective("99.9%"), Factor::milli(milli));
            let long = Span { tally: tally(good, bad), covered_s: 3_600 };
            let whole = Span {
                tally: tally((good + bad) * hours, 0),
                covered_s: 3_600 * hours,
            };
            prop_assert!(
                good + bad == 0
                    || exceeds_by_volume(long, whole, objective, factor)
                        == exceeds(long.tally, objective, factor)
            );
        }

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
