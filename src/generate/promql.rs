//! `PromQL`: the only place that writes selectors, from the catalog, and names recorded series.

use crate::catalog::Series;
use crate::model::{Slo, Window};
use crate::slo::policy::Factor;

/// One instant selector: the series with labels equal to values.
///
/// `job` and `instance`, which Prometheus adds, may be asked for beside the series' own labels.
pub(super) fn select(series: &Series, labels: &[(&str, &str)]) -> String {
    let matchers: Vec<(&str, &str, &str)> = labels
        .iter()
        .map(|(label, value)| (*label, "=", *value))
        .collect();
    matching(series.name, series, &matchers)
}

/// One instant selector of `name`, which is `series` or a part of it like its `_sum`, by (label, operator, value).
pub(super) fn matching(name: &str, series: &Series, matchers: &[(&str, &str, &str)]) -> String {
    let matchers: Vec<String> = matchers
        .iter()
        .map(|(label, operator, value)| {
            let own = series.labels.iter().any(|own| own.name == *label);
            debug_assert!(
                own || ["job", "instance", "le"].contains(label),
                "{name} has no label {label}"
            );
            format!("{label}{operator}{}", quoted(value))
        })
        .collect();
    if matchers.is_empty() {
        name.to_owned()
    } else {
        format!("{name}{{{}}}", matchers.join(","))
    }
}

/// A string of `PromQL`.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The labels that say what an SLO is about.
pub(super) fn about(slo: &Slo) -> (&'static str, String) {
    match slo.about.route() {
        Some(route) => ("route", route.to_owned()),
        None => ("scope", slo.about.scope()),
    }
}

/// The series that rules record for each SLO, with the labels `slo` and `route`, or `scope` when it is about more than one
/// route; the name begins with `route` all the same, so that one query shows them together. Names are `level:metric:operations`
/// (Prometheus documentation, "Recording rules").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// Bad events per second.
    Bad,
    /// Valid events per second.
    Valid,
    /// Bad ÷ valid; absent without a valid event.
    Errors,
    /// Share of the window from which samples are there.
    Coverage,
    /// How many bad events, over an alert's long window or the SLO's.
    BadIncrease,
    /// How many valid events, over the SLO's window.
    ValidIncrease,
    /// Valid events per second that are usual: the mean over what there is of the SLO's window.
    Usual,
    /// Share of the error budget that is left over the SLO's window; absent without a valid event.
    Remaining,
}

impl Recorded {
    /// The name for a window.
    pub(super) fn name(self, window: Window) -> String {
        match self {
            Self::Bad => format!("route:slo_bad_events:rate{window}"),
            Self::Valid => format!("route:slo_valid_events:rate{window}"),
            Self::Errors => format!("route:slo_errors_per_request:ratio_rate{window}"),
            Self::Coverage => format!("route:slo_coverage:ratio{window}"),
            Self::BadIncrease => format!("route:slo_bad_events:increase{window}"),
            Self::ValidIncrease => format!("route:slo_valid_events:increase{window}"),
            Self::Usual => format!("route:slo_valid_events:usual_rate{window}"),
            Self::Remaining => format!("route:slo_error_budget_remaining:ratio{window}"),
        }
    }

    /// The series of one SLO.
    pub(super) fn of(self, slo: &Slo, window: Window) -> String {
        format!("{}{{slo={}}}", self.name(window), quoted(&slo.id))
    }
}

/// The bad ratio at which an SLO burns `factor` times too fast, exactly: 14.4 at 99.95 % is `0.0072`.
pub(super) fn threshold(slo: &Slo, factor: Factor) -> String {
    // Thousandths times millionths; at most 2^32 · 10^6.
    decimal(
        u64::from(factor.0) * u64::from(slo.objective.budget_ppm()),
        9,
    )
}

/// `units` ÷ 10^`places`, exactly and as short as possible.
pub(super) fn decimal(units: u64, places: usize) -> String {
    let scale = 10_u64.pow(places as u32);
    let (whole, fraction) = (units / scale, units % scale);
    if fraction == 0 {
        return whole.to_string();
    }
    let digits = format!("{fraction:0places$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    #[test]
    fn decimals_are_exact_and_short() {
        for (units, places, text) in [
            (7_200_000, 9, "0.0072"),
            (14_400_000, 9, "0.0144"),
            (500, 6, "0.0005"),
            (1_000_000_000, 9, "1"),
            (14_400, 3, "14.4"),
        ] {
            assert_eq!(decimal(units, places), text);
        }
    }

    #[test]
    fn a_selector_cannot_be_broken_out_of() {
        assert_eq!(
            select(&catalog::SLO_EVENTS, &[("slo", "a\"}\\")]),
            "vestibule_slo_events_total{slo=\"a\\\"}\\\\\"}"
        );
    }

    #[test]
    #[should_panic(expected = "has no label colour")]
    fn a_label_that_is_not_in_the_catalog_is_refused() {
        select(&catalog::SLO_EVENTS, &[("colour", "blue")]);
    }
}
