//! Kinds that measure something: counts, durations, sizes, windows, burn rates.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Kind, Refusal, Scalar, quoted, string_schema};
use crate::config::code::Code;
use crate::model::{CalendarUnit, Window};
use crate::slo::policy::Factor;

// === Count ===

/// A whole number within a range.
#[derive(Clone, Debug)]
pub(in crate::config) struct Count(pub(in crate::config) RangeInclusive<u64>);

impl Kind for Count {
    type Value = usize;

    fn expects(&self) -> String {
        format!("a whole number from {} to {}", self.0.start(), self.0.end())
    }

    fn schema(&self) -> Value {
        json!({ "type": "integer", "minimum": self.0.start(), "maximum": self.0.end() })
    }

    fn is_string(&self) -> bool {
        false
    }

    fn read(&self, scalar: Scalar<'_>) -> Result<usize, Refusal> {
        let Scalar::Integer(digits, radix) = scalar else {
            return Err(Refusal::wrong_type(scalar, self));
        };
        u64::from_str_radix(digits, radix)
            .ok()
            .filter(|count| self.0.contains(count))
            .and_then(|count| usize::try_from(count).ok())
            .ok_or_else(|| out_of_range(digits, self.0.start(), self.0.end()))
    }

    fn write(&self, value: &usize) -> String {
        value.to_string()
    }
}

fn out_of_range(given: impl Display, least: impl Display, most: impl Display) -> Refusal {
    Refusal::new(
        Code::Range,
        format!("`{given}` is out of range: it must be from {least} to {most}"),
    )
}

// === Time ===

/// A duration within a range.
#[derive(Clone, Debug)]
pub(in crate::config) struct Time(pub(in crate::config) RangeInclusive<Duration>);

impl Kind for Time {
    type Value = Duration;

    fn expects(&self) -> String {
        let (least, most) = (time_text(*self.0.start()), time_text(*self.0.end()));
        format!("a duration like `300ms`, `30s` or `5m`, from {least} to {most}")
    }

    fn schema(&self) -> Value {
        string_schema(Some(r"0|(\d+ *[a-zA-Z]+ *)+"))
    }

    fn read(&self, scalar: Scalar<'_>) -> Result<Duration, Refusal> {
        let Scalar::Text(text) = scalar else {
            return Err(Refusal::wrong_type(scalar, self));
        };
        let time = humantime::parse_duration(text).map_err(|error| {
            let refusal = Refusal::invalid(format!("`{text}` is not a duration: {error}"));
            if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
                refusal.help(format!("add a unit: \"{text}s\" or \"{text}ms\""))
            } else {
                refusal.help("write a number and a unit: ms, s, m, h or d")
            }
        })?;
        if self.0.contains(&time) {
            Ok(time)
        } else {
            let (least, most) = (time_text(*self.0.start()), time_text(*self.0.end()));
            Err(out_of_range(text, least, most))
        }
    }

    fn write(&self, value: &Duration) -> String {
        quoted(time_text(*value))
    }
}

/// A duration in the longest unit that divides it; finer than a millisecond, in several.
pub(in crate::config) fn time_text(time: Duration) -> String {
    const UNITS: [(&str, u128); 5] = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    if !time.subsec_nanos().is_multiple_of(1_000_000) {
        return humantime::format_duration(time).to_string();
    }
    let millis = time.as_millis();
    UNITS
        .iter()
        .find(|(unit, length)| {
            // Zero is `0s`, not `0d`.
            millis.is_multiple_of(*length) && (millis > 0 || *unit == "s")
        })
        .map(|(unit, length)| format!("{}{unit}", millis / length))
        .unwrap_or_default()
}

// === Size ===

/// A number of bytes within a range.
#[derive(Clone, Debug)]
pub(in crate::config) struct Size(pub(in crate::config) RangeInclusive<u64>);

/// Longest first, so that `MiB` is not taken for `B`.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl Kind for Size {
    type Value = u64;

    fn expects(&self) -> String {
        let (least, most) = (size_text(*self.0.start()), size_text(*self.0.end()));
        format!("a size like `64KiB`, `10MiB` or `2GiB`, from {least} to {most}")
    }

    fn schema(&self) -> Value {
        string_schema(Some(r"\d+ *([KMGT]iB|[kMGT]?B)"))
    }

    fn read(&self, scalar: Scalar<'_>) -> Result<u64, Refusal> {
        let Scalar::Text(text) = scalar else {
            return Err(Refusal::wrong_type(scalar, self));
        };
        let refuse = || {
            Refusal::invalid(format!("`{text}` is not a size"))
                .help("write a whole number and a unit: B, KiB, MiB, GiB or TiB")
        };
        let (number, unit) = SIZE_UNITS
            .iter()
            .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?.trim_end(), *bytes)))
            .ok_or_else(refuse)?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refuse());
        }
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .filter(|bytes| self.0.contains(bytes))
            .ok_or_else(|| out_of_range(text, size_text(*self.0.start()), size_text(*self.0.end())))
    }

    fn write(&self, value: &u64) -> String {
        quoted(size_text(*value))
    }
}

/// A size in the largest binary unit that divides it.
fn size_text(bytes: u64) -> String {
    SIZE_UNITS
        .iter()
        .filter(|(unit, _)| unit.ends_with("iB"))
        .find(|(_, length)| bytes > 0 && bytes.is_multiple_of(*length))
        .map_or_else(
            || format!("{bytes}B"),
            |(unit, length)| format!("{}{unit}", bytes / length),
        )
}

// === Span of a window ===

/// A window within a range.
#[derive(Clone, Debug)]
pub(in crate::config) struct Spanning(pub(in crate::config) RangeInclusive<Window>);

impl Kind for Spanning {
    type Value = Window;

    fn expects(&self) -> String {
        let (least, most) = (self.0.start(), self.0.end());
        format!("a window like `5m`, `1h` or `30d`, from {least} to {most}")
    }

    fn schema(&self) -> Value {
        string_schema(Some(r"[1-9]\d*[smhd]"))
    }

    fn read(&self, scalar: Scalar<'_>) -> Result<Window, Refusal> {
        let Scalar::Text(text) = scalar else {
            return Err(Refusal::wrong_type(scalar, self));
        };
        let window: Window = text.parse().map_err(Refusal::invalid)?;
        if self.0.contains(&window) {
            Ok(window)
        } else {
            Err(out_of_range(text, self.0.start(), self.0.end()))
        }
    }

    fn write(&self, value: &Window) -> String {
        quoted(value)
    }
}

// === What a budget is for ===

/// The stretch of time that an error budget is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Promised {
    Rolling(Window),
    Calendar(CalendarUnit),
}

impl Promised {
    /// The longest that it can be.
    pub(in crate::config) const fn longest(self) -> Window {
        match self {
            Self::Rolling(window) => window,
            Self::Calendar(unit) => unit.longest(),
        }
    }

    /// The shortest that it can be.
    pub(in crate::config) const fn shortest(self) -> Window {
        match self {
            Self::Rolling(window) => window,
            Self::Calendar(unit) => unit.shortest(),
        }
    }
}

impl Display for Promised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rolling(window) => window.fmt(f),
            Self::Calendar(unit) => unit.fmt(f),
        }
    }
}

/// A rolling window within a range, or a unit of the calendar.
#[derive(Clone, Debug)]
pub(in crate::config) struct Promising(pub(in crate::config) RangeInclusive<Window>);

impl Kind for Promising {
    type Value = Promised;

    fn expects(&self) -> String {
        let (least, most) = (self.0.start(), self.0.end());
        format!(
            "a window like `7d` or `30d`, from {least} to {most}, or `calendar week`, `calendar month` or `calendar quarter`"
        )
    }

    fn schema(&self) -> Value {
        string_schema(Some(r"[1-9]\d*[smhd]|calendar (week|month|quarter)"))
    }

    fn read(&self, scalar: Scalar<'_>) -> Result<Promised, Refusal> {
        if let Scalar::Text(text) = scalar
            && text.starts_with("calendar")
        {
            let unit = text.parse().map_err(Refusal::invalid)?;
            return Ok(Promised::Calendar(unit));
        }
        Spanning(self.0.clone()).read(scalar).map(Promised::Rolling)
    }

    fn write(&self, value: &Promised) -> String {
        quoted(value)
    }
}

// === Burn rate ===

/// A burn rate: a number with at most three digits after the point, kept exactly.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct BurnRate;

/// The highest burn rate there is: everything fails against an objective of 99.9999 %.
const HIGHEST_BURN_MILLI: u32 = 1_000_000_000;

impl Kind for BurnRate {
    type Value = Factor;

    fn expects(&self) -> String {
        "a burn rate like `14.4`, above 0, with at most three digits after the point".to_owned()
    }

    fn schema(&self) -> Value {
        json!({ "type": "number", "exclusiveMinimum": 0, "maximum": HIGHEST_BURN_MILLI / 1_000 })
    }

    fn is_string(&self) -> bool {
        false
    }

    fn read(&self, scalar: Scalar<'_>) -> Result<Factor, Refusal> {
        let (Scalar::Integer(text, 10) | Scalar::Float(text)) = scalar else {
            return Err(Refusal::wrong_type(scalar, self));
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let whole = whole.strip_prefix('+').unwrap_or(whole);
        if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
            return Err(Refusal::invalid(format!("`{text}` is not a burn rate"))
                .help("write it plainly, like 14.4 or 6"));
        }
        format!("{whole}{fraction:0<3}")
            .parse()
            .ok()
            .filter(|milli| (1..=HIGHEST_BURN_MILLI).contains(milli))
            .map(Factor::milli)
            .ok_or_else(|| out_of_range(text, "0.001", HIGHEST_BURN_MILLI / 1_000))
    }

    fn write(&self, value: &Factor) -> String {
        burn_text(*value)
    }
}

// === Ratio ===

/// A share from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Ratio;

impl Kind for Ratio {
    type Value = f64;

    fn expects(&self) -> String {
        "a share from 0 to 1, like `0.01`".to_owned()
    }

    fn schema(&self) -> Value {
        json!({ "type": "number", "minimum": 0, "maximum": 1 })
    }

    fn is_string(&self) -> bool {
        false
    }

    fn read(&self, scalar: Scalar<'_>) -> Result<f64, Refusal> {
        let (Scalar::Integer(text, 10) | Scalar::Float(text)) = scalar else {
            return Err(Refusal::wrong_type(scalar, self));
        };
        text.parse()
            .ok()
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or_else(|| out_of_range(text, 0, 1))
    }

    fn write(&self, value: &f64) -> String {
        value.to_string()
    }
}

/// A burn rate without needless zeros.
pub(in crate::config) fn burn_text(factor: Factor) -> String {
    let Factor(milli) = factor;
    let (whole, fraction) = (milli / 1_000, milli % 1_000);
    if fraction == 0 {
        return whole.to_string();
    }
    let digits = format!("{fraction:03}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads_back<K: Kind>(kind: &K, text: &str) -> bool
    where
        K::Value: PartialEq,
    {
        let read = |text: &str| kind.read(Scalar::Text(text)).ok();
        let Some(value) = read(text) else {
            return false;
        };
        let written = kind.write(&value);
        read(written.trim_matches('"')) == Some(value)
    }

    #[test]
    fn durations_sizes_and_windows_are_written_as_they_are_read() {
        let time = Time(Duration::ZERO..=Duration::from_secs(86_400 * 100));
        for (text, written) in [
            ("300ms", "\"300ms\""),
            ("90s", "\"90s\""),
            ("5m", "\"5m\""),
            ("1m 30s", "\"90s\""),
            ("14d", "\"14d\""),
            ("0", "\"0s\""),
            ("0s", "\"0s\""),
        ] {
            assert!(reads_back(&time, text), "{text}");
            let value = time.read(Scalar::Text(text)).unwrap();
            assert_eq!(time.write(&value), written);
        }
        let size = Size(0..=u64::MAX);
        for (text, bytes, written) in [
            ("10MiB", 10 << 20, "\"10MiB\""),
            ("1024 B", 1024, "\"1KiB\""),
            ("2kB", 2_000, "\"2000B\""),
            ("0B", 0, "\"0B\""),
        ] {
            assert_eq!(size.read(Scalar::Text(text)), Ok(bytes), "{text}");
            assert_eq!(size.write(&bytes), written);
            assert!(reads_back(&size, text), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        let size = Size(0..=u64::MAX);
        for text in [
            "",
            "10",
            "MiB",
            "-1MiB",
            "1.5MiB",
            "10 mib",
            "99999999TiB",
            "+1B",
        ] {
            assert!(size.read(Scalar::Text(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_burn_rate_is_exact() {
        for (scalar, milli) in [
            (Scalar::Float("14.4"), 14_400),
            (Scalar::Float("0.001"), 1),
            (Scalar::Float("+2.50"), 2_500),
            (Scalar::Integer("6", 10), 6_000),
        ] {
            assert_eq!(
                BurnRate.read(scalar),
                Ok(Factor::milli(milli)),
                "{scalar:?}"
            );
        }
        for scalar in [
            Scalar::Float("0.0"),
            Scalar::Float("-1.0"),
            Scalar::Float("1.0001"),
            Scalar::Float("1e3"),
            Scalar::Float("nan"),
            Scalar::Float("inf"),
            Scalar::Integer("0", 10),
            Scalar::Integer("6", 16),
            Scalar::Integer("99999999999", 10),
            Scalar::Text("6"),
        ] {
            assert!(BurnRate.read(scalar).is_err(), "{scalar:?}");
        }
        assert_eq!(burn_text(Factor::milli(14_400)), "14.4");
        assert_eq!(burn_text(Factor::milli(1_005)), "1.005");
    }

    #[test]
    fn a_ratio_is_a_share() {
        for (text, share) in [("0.01", 0.01), ("1.0", 1.0), ("0.0", 0.0)] {
            assert_eq!(Ratio.read(Scalar::Float(text)), Ok(share));
        }
        assert_eq!(Ratio.read(Scalar::Integer("1", 10)), Ok(1.0));
        for text in ["-0.1", "1.1", "nan", "inf"] {
            assert!(Ratio.read(Scalar::Float(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_count_stays_in_its_range_in_any_radix() {
        let count = Count(1..=100);
        assert_eq!(
            count.read(Scalar::Integer("ff", 16)).map_err(|r| r.code),
            Err(Code::Range)
        );
        assert_eq!(count.read(Scalar::Integer("10", 16)), Ok(16));
        for digits in ["0", "101", "-1", "99999999999999999999999"] {
            assert!(count.read(Scalar::Integer(digits, 10)).is_err(), "{digits}");
        }
    }
}
