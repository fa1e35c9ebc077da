//! When a burn rate is worth waking someone for: the one table that the live engine and generated rules read.
//!
//! A row fires when the burn rate over both its windows is strictly above its factor. The long window says the spend
//! matters, the short one that it is still going on (SRE Workbook, chapter 5).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::guards::Guards;
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

/// A share of an error budget, in parts per million: `1..=1_000_000`. Written `2%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

/// Why a text is not a [`Share`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a share of a budget: write it like 2%, above 0% and at most 100%, with at most four digits after the point"
)]
pub struct ShareError(String);

impl Share {
    /// From parts per million, at least one, at most all.
    pub const fn ppm(ppm: u32) -> Self {
        Self(match ppm {
            0 => 1,
            1..=1_000_000 => ppm,
            _ => 1_000_000,
        })
    }

    /// The share in parts per million.
    pub const fn as_ppm(self) -> u32 {
        self.0
    }

    /// The burn rate that spends this share of the budget of `window` within `long`: share × window ÷ long, to the nearest
    /// thousandth (SRE Workbook, chapter 5).
    pub const fn burn(self, window: Window, long: Window) -> Factor {
        let milli = self.0 as u64 * window.as_secs();
        let scale = 1_000 * long.as_secs();
        let milli = (milli + scale / 2) / scale;
        Factor(if milli == 0 {
            1
        } else if milli > u32::MAX as u64 {
            // Never fires, which is told.
            u32::MAX
        } else {
            milli as u32
        })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{}.{:04}", self.0 / 10_000, self.0 % 10_000);
        write!(f, "{}%", digits.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let number = text.strip_suffix('%')?.trim_end();
            let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
            let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
            let fits = (1..=3).contains(&whole.len()) && (1..=4).contains(&fraction.len());
            if !fits || !digits(whole) || !digits(fraction) {
                return None;
            }
            let ppm: u32 = format!("{whole}{fraction:0<4}").parse().ok()?;
            (1..=1_000_000).contains(&ppm).then_some(Self(ppm))
        };
        parse().ok_or_else(|| ShareError(text.to_owned()))
    }
}

/// What must be exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// This burn rate, whatever the SLO's window.
    Burn(Factor),
    /// The burn rate that spends this share of the SLO's budget within the row's long window.
    Spend {
        /// The share of the budget of the SLO's whole window.
        share: Share,
        /// The lowest burn rate that it may come to, for SLOs with short windows; `None`: whatever it comes to.
        least: Option<Factor>,
    },
}

/// One line of a policy, which becomes a [`Row`] for each SLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyRow {
    /// How loudly.
    pub severity: Severity,
    /// How fast.
    pub tier: Tier,
    /// The window that says it matters.
    pub long: Window,
    /// The window that says it still goes on.
    pub short: Window,
    /// What must be exceeded over both.
    pub over: Threshold,
}

impl PolicyRow {
    /// The row for a calendar's period of `length` in a promise whose periods are `nominal` long. A share of the budget is
    /// one of this period's; a factor is meant for the nominal length (see [`Row::over`]).
    #[must_use]
    pub fn within(self, length: Window, nominal: Window) -> Row {
        match self.over {
            Threshold::Burn(_) => self.over(nominal).over(length, nominal),
            Threshold::Spend { .. } => self.over(length),
        }
    }

    /// The row for an SLO with a budget over `window`.
    pub const fn over(self, window: Window) -> Row {
        let Self {
            severity,
            tier,
            long,
            short,
            over,
        } = self;
        let factor = match over {
            Threshold::Burn(factor) => factor,
            Threshold::Spend { share, least } => {
                let factor = share.burn(window, long);
                match least {
                    Some(least) if factor.0 < least.0 => least,
                    Some(_) | None => factor,
                }
            }
        };
        Row {
            severity,
            tier,
            long,
            short,
            factor,
        }
    }
}

/// A line that comes to the same for every SLO.
impl From<Row> for PolicyRow {
    fn from(row: Row) -> Self {
        let Row {
            severity,
            tier,
            long,
            short,
            factor,
        } = row;
        Self {
            severity,
            tier,
            long,
            short,
            over: Threshold::Burn(factor),
        }
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
    pub rows: Vec<PolicyRow>,
    /// What must be given beside a row's burn rate.
    pub guards: Guards,
}

/// The policy an SLO has when it names none.
pub const DEFAULT_POLICY: &str = "workbook";

impl Policy {
    /// The workbook's: 2 % of the budget in 1 h and 5 % in 6 h page, 10 % in 1 d and 10 % in 3 d are tickets: over 30 days
    /// 14.4, 6, 3 and 1 times too fast (SRE Workbook, chapter 5, table 5-8).
    ///
    /// An SLO with a window of less than four weeks is judged by what four weeks come to: two hundredths of a week's
    /// budget are soon spent, and spending them is no emergency.
    pub fn workbook() -> Self {
        use Severity::{Page, Ticket};
        use Tier::{Fast, Long, Medium, Slow};
        let (minutes, hours, days) = (Window::minutes, Window::hours, Window::days);
        let row = |severity, tier, long, short, percent: u32| {
            let share = Share::ppm(percent * 10_000);
            // Not below 1: such a row would fire although the budget lasts.
            let least = share.burn(Window::days(28), long).max(LASTING);
            PolicyRow {
                severity,
                tier,
                long,
                short,
                over: Threshold::Spend {
                    share,
                    least: Some(least),
                },
            }
        };
        Self {
            name: DEFAULT_POLICY.to_owned(),
            rows: vec![
                row(Page, Fast, hours(1), minutes(5), 2),
                row(Page, Medium, hours(6), minutes(30), 5),
                row(Ticket, Slow, days(1), hours(2), 10),
                row(Ticket, Long, days(3), hours(6), 10),
            ],
            guards: Guards::default(),
        }
    }

    /// Burning five times too fast over an hour pages, ten times is an incident. More eager than the workbook: it
    /// pages after 0.7 % of a 30-day budget.
    pub fn hourly() -> Self {
        let row = |tier, milli| PolicyRow {
            severity: Severity::Page,
            tier,
            long: Window::hours(1),
            short: Window::minutes(5),
            over: Threshold::Burn(Factor::milli(milli)),
        };
        Self {
            name: "hourly".to_owned(),
            rows: vec![row(Tier::Fast, 10_000), row(Tier::Medium, 5_000)],
            guards: Guards::default(),
        }
    }

    /// The policies that need no configuration.
    pub fn shipped() -> Vec<Self> {
        vec![Self::workbook(), Self::hourly()]
    }

    /// Its rows for an SLO with a budget over `window`, loudest first.
    pub fn rows_over(&self, window: Window) -> Vec<Row> {
        self.rows.iter().map(|row| row.over(window)).collect()
    }
}

/// The burn rate at which a budget lasts exactly its window.
pub const LASTING: Factor = Factor::milli(1_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workbooks_factors_follow_the_window() {
        for (days, factors) in [
            (30, [14_400, 6_000, 3_000, 1_000]),
            (28, [13_440, 5_600, 2_800, 1_000]),
            (31, [14_880, 6_200, 3_100, 1_033]),
            (90, [43_200, 18_000, 9_000, 3_000]),
            // As four weeks.
            (7, [13_440, 5_600, 2_800, 1_000]),
        ] {
            let rows = Policy::workbook().rows_over(Window::days(days));
            let found: Vec<u32> = rows.iter().map(|row| row.factor.0).collect();
            assert_eq!(found, factors, "{days} days");
        }
    }

    #[test]
    fn a_share_of_a_week_is_what_the_week_comes_to() {
        let week = Window::days(7);
        for (percent, hours, milli) in [(2, 1, 3_360), (5, 6, 1_400), (10, 24, 700), (10, 72, 233)]
        {
            let share = Share::ppm(percent * 10_000);
            let factor = share.burn(week, Window::hours(hours));
            assert_eq!(factor, Factor::milli(milli), "{percent} % in {hours} h");
        }
    }

    #[test]
    fn shares_are_read_and_written_exactly() {
        for (text, ppm) in [
            ("2%", 20_000),
            ("0.5%", 5_000),
            ("100%", 1_000_000),
            ("0.0001%", 1),
        ] {
            let share: Share = text.parse().unwrap();
            assert_eq!((share, share.to_string().as_str()), (Share::ppm(ppm), text));
        }
        for text in [
            "0%", "100.1%", "2", "%", "", "-1%", "1.23456%", "2e1%", ".5%", "5.%",
        ] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_factor_follows_the_length_of_the_month() {
        let fast = Policy::workbook().rows_over(Window::days(30))[0];
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
