//! A target, kept as an integer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The share of valid events that must be good, in parts per million: `1..=999_999`.
///
/// 100 % is not an objective: its error budget is zero, and a burn rate would divide by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Objective(u32);

/// Why something is not an [`Objective`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectiveError {
    /// Not a percentage.
    #[error("`{0}` is not a percentage: write it like 99.9%")]
    NotAPercentage(String),
    /// At or below 0 %, or at or above 100 %.
    #[error(
        "{0} is out of range: an objective lies between 0% and 100%, both excluded, since 100% leaves no error budget"
    )]
    OutOfRange(String),
    /// More than four digits after the point.
    #[error("`{0}` is finer than one part per million: keep at most four digits after the point")]
    TooFine(String),
}

/// One whole, in parts per million.
const WHOLE: u32 = 1_000_000;

impl Objective {
    /// From parts per million.
    pub fn try_from_ppm(ppm: u32) -> Result<Self, ObjectiveError> {
        if (1..WHOLE).contains(&ppm) {
            Ok(Self(ppm))
        } else {
            Err(ObjectiveError::OutOfRange(format!("{ppm} ppm")))
        }
    }

    /// The objective in parts per million.
    pub const fn ppm(self) -> u32 {
        self.0
    }

    /// The error budget in parts per million: what may be bad. At least 1.
    pub const fn budget_ppm(self) -> u32 {
        WHOLE - self.0
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / 10_000, self.0 % 10_000);
        if fraction == 0 {
            write!(f, "{whole}%")
        } else {
            let digits = format!("{fraction:04}");
            write!(f, "{whole}.{}%", digits.trim_end_matches('0'))
        }
    }
}

impl FromStr for Objective {
    type Err = ObjectiveError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ObjectiveError::NotAPercentage(text.to_owned());
        let number = text.strip_suffix('%').ok_or_else(malformed)?.trim_end();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(malformed());
        }
        if fraction.len() > 4 {
            return Err(ObjectiveError::TooFine(text.to_owned()));
        }
        let out_of_range = || ObjectiveError::OutOfRange(text.to_owned());
        let whole: u32 = whole
            .parse()
            .ok()
            .filter(|whole| *whole < 100)
            .ok_or_else(out_of_range)?;
        let fraction: u32 = format!("{fraction:0<4}")
            .parse()
            .ok()
            .ok_or_else(malformed)?;
        let ppm = whole * 10_000 + fraction;
        if ppm == 0 {
            Err(out_of_range())
        } else {
            Self::try_from_ppm(ppm)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read_and_written_exactly() {
        for (text, ppm) in [
            ("99.9%", 999_000),
            ("99.99%", 999_900),
            ("95%", 950_000),
            ("0.0001%", 1),
        ] {
            let objective: Objective = text.parse().unwrap();
            assert_eq!(
                (objective.ppm(), objective.to_string().as_str()),
                (ppm, text)
            );
        }
    }

    #[test]
    fn a_text_that_is_no_objective_says_why() {
        for text in ["100%", "0%", "101%"] {
            assert!(
                matches!(
                    text.parse::<Objective>(),
                    Err(ObjectiveError::OutOfRange(_))
                ),
                "{text}"
            );
        }
        for text in ["99.9", "", "%", "-1%", "1e1%", "9 9%", ".9%", "99.%"] {
            assert!(
                matches!(
                    text.parse::<Objective>(),
                    Err(ObjectiveError::NotAPercentage(_))
                ),
                "{text}"
            );
        }
        assert!(matches!(
            "99.99999%".parse::<Objective>(),
            Err(ObjectiveError::TooFine(_))
        ));
    }
}
