//! When a burn rate is worth waking someone for: the one table that the live engine and generated rules read.
//!
//! A row fires when the burn rate over both its windows is strictly above its factor. The long window says the spend
//! matters, the short one that it is still going on (SRE Workbook, chapter 5).

use serde::{Deserialize, Serialize};

use crate::model::Window;

/// How loudly an alert speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Someone looks at it in working hours.
    Ticket,
    /// Someone is woken.
    Page,
}

impl Severity {
    /// The severity's word in labels and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Page => "page",
        }
    }
}

/// How fast the budget burns when a row fires; stable names, so that a receiver can let the faster inhibit the slower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Over days.
    Long,
    /// Within a day or so.
    Slow,
    /// Within hours.
    Medium,
    /// Within the hour.
    Fast,
}

impl Tier {
    /// The tier's word in labels and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Long => "long",
            Self::Slow => "slow",
            Self::Medium => "medium",
            Self::Fast => "fast",
        }
    }
}

/// A burn-rate threshold in thousandths, so that 14.4 is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Factor(pub u32);

impl Factor {
    /// From thousandths: `Factor::milli(14_400)` is 14.4.
    pub const fn milli(thousandths: u32) -> Self {
        Self(thousandths)
    }
}

/// One row: fires when the burn rate over both windows is strictly above the factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// How loudly.
    pub severity: Severity,
    /// How fast.
    pub tier: Tier,
    /// The window that says it matters.
    pub long: Window,
    /// The window that says it still goes on.
    pub short: Window,
    /// The burn rate that must be exceeded.
    pub factor: Factor,
}

impl Row {
    /// The row for a period of the calendar: its factor is meant for one of `nominal` length, so that it stands for a share
    /// of the budget, and a longer period's budget lasts longer. Of the workbook's 14.4, meant for 30 days, 28 days make
    /// 13.44 and 31 days 14.88. Rounded to a thousandth.
    #[must_use]
    pub fn over(self, length: Window, nominal: Window) -> Self {
        let (factor, nominal_s) = (u64::from(self.factor.0), nominal.as_secs());
        let scaled = (factor * length.as_secs() + nominal_s / 2) / nominal_s;
        Self {
            factor: Factor(u32::try_from(scaled).unwrap_or(u32::MAX)),
            ..self
        }
    }
}

/// A named set of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name in the configuration.
    pub name: String,
    /// Its rows, loudest first.
    pub rows: Vec<Row>,
}

/// The policy an SLO has when it names none.
pub const DEFAULT_POLICY: &str = "workbook";

impl Policy {
    /// The workbook's: 2 % of a 30-day budget in 1 h and 5 % in 6 h page, 10 % in 1 d and 10 % in 3 d are tickets
    /// (SRE Workbook, chapter 5, table 5-8).
    pub fn workbook() -> Self {
        use Severity::{Page, Ticket};
        use Tier::{Fast, Long, Medium, Slow};
        let (minutes, hours, days) = (Window::minutes, Window::hours, Window::days);
        let row = |severity, tier, long, short, milli| Row {
            severity,
            tier,
            long,
            short,
            factor: Factor::milli(milli),
        };
        Self {
            name: DEFAULT_POLICY.to_owned(),
            rows: vec![
                row(Page, Fast, hours(1), minutes(5), 14_400),
                row(Page, Medium, hours(6), minutes(30), 6_000),
                row(Ticket, Slow, days(1), hours(2), 3_000),
                row(Ticket, Long, days(3), hours(6), 1_000),
            ],
        }
    }

    /// Burning five times too fast over an hour pages, ten times is an incident. More eager than the workbook: it
    /// pages after 0.7 % of a 30-day budget.
    pub fn hourly() -> Self {
        let row = |tier, milli| Row {
            severity: Severity::Page,
            tier,
            long: Window::hours(1),
            short: Window::minutes(5),
            factor: Factor::milli(milli),
        };
        Self {
            name: "hourly".to_owned(),
            rows: vec![row(Tier::Fast, 10_000), row(Tier::Medium, 5_000)],
        }
    }

    /// The policies that need no configuration.
    pub fn shipped() -> Vec<Self> {
        vec![Self::workbook(), Self::hourly()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_follows_the_length_of_the_month() {
        let fast = Policy::workbook().rows[0];
        for (length, milli) in [
            (Window::days(28), 13_440),
            (Window::days(29), 13_920),
            (Window::days(30), 14_400),
            (Window::days(31), 14_880),
            // Clocks set forward, and back.
            (Window::hours(31 * 24 - 1), 14_860),
            (Window::hours(31 * 24 + 1), 14_900),
        ] {
            assert_eq!(
                fast.over(length, Window::days(30)).factor,
                Factor(milli),
                "{length}"
            );
        }
    }
}
