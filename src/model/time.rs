//! Wall-clock instants and the spans ratios are taken over.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A wall-clock instant: milliseconds since the Unix epoch, never negative. Written as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the Unix epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000
    }

    /// How long after `earlier` this is; zero when it is not later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This instant moved `by` into the future.
    #[must_use]
    pub const fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by.as_millis() as u64))
    }

    /// This instant moved `by` into the past, not below the epoch.
    #[must_use]
    pub const fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by.as_millis() as u64))
    }

    /// The time of day in UTC, `HH:MM:SS`.
    pub fn time_of_day(self) -> String {
        let secs = self.as_secs() % 86_400;
        format!("{:02}:{:02}:{:02}", secs / 3_600, secs / 60 % 60, secs % 60)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The last millisecond of the year 9999: the latest instant RFC 3339 can write.
const LATEST_MILLIS: u64 = 253_402_300_799_999;

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = UNIX_EPOCH + Duration::from_millis(self.0.min(LATEST_MILLIS));
        humantime::format_rfc3339_millis(time).fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = humantime::TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_rfc3339(text).map(Self::from)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A span that a ratio is taken over, in whole seconds, at least one. Written `5m`, `1h`, `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window(u32);

/// Why a text is not a [`Window`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a window: write a whole number and a unit, like 5m, 1h or 30d")]
pub struct WindowError(String);

impl Window {
    /// A window of `secs` seconds; zero becomes one.
    pub const fn from_secs(secs: u32) -> Self {
        Self(if secs == 0 { 1 } else { secs })
    }

    /// A window of `minutes` minutes.
    pub const fn minutes(minutes: u32) -> Self {
        Self::from_secs(minutes * 60)
    }

    /// A window of `hours` hours.
    pub const fn hours(hours: u32) -> Self {
        Self::from_secs(hours * 3_600)
    }

    /// A window of `days` days of 24 hours.
    pub const fn days(days: u32) -> Self {
        Self::from_secs(days * 86_400)
    }

    /// Its length in seconds.
    pub const fn as_secs(self) -> u64 {
        self.0 as u64
    }

    /// Its length.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

/// Units from the longest; a window is written in the longest one that divides it.
const UNITS: [(&str, u32); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, secs) in UNITS {
            if self.0.is_multiple_of(secs) {
                return write!(f, "{}{unit}", self.0 / secs);
            }
        }
        Ok(())
    }
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        UNITS
            .iter()
            .find_map(|(unit, secs)| {
                let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
                let total = count.checked_mul(*secs)?;
                (total > 0).then_some(Self(total))
            })
            .ok_or_else(|| WindowError(text.to_owned()))
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_written_in_the_longest_unit_that_divides_it() {
        for (window, text) in [
            (Window::minutes(5), "5m"),
            (Window::minutes(60), "1h"),
            (Window::hours(24), "1d"),
            (Window::from_secs(90), "90s"),
            (Window::days(30), "30d"),
        ] {
            assert_eq!(window.to_string(), text);
            assert_eq!(text.parse(), Ok(window));
        }
    }

    #[test]
    fn a_window_needs_a_number_a_unit_and_a_length() {
        for text in [
            "",
            "5",
            "m",
            "0m",
            "-1h",
            "1.5h",
            "99999999999d",
            "1 h",
            "1w",
        ] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_timestamp_survives_its_own_text() {
        let at = Timestamp::from_millis(1_795_420_960_123);
        assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
        assert_eq!(at.time_of_day(), "08:02:40".to_owned());
    }

    #[test]
    fn the_far_future_is_written_as_the_last_instant_that_can_be() {
        assert_eq!(
            Timestamp::from_millis(u64::MAX).to_string(),
            "9999-12-31T23:59:59.999Z"
        );
    }
}
