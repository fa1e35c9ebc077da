//! Weeks, months and quarters as people in a place have them.
//!
//! A period runs from the first instant of its first day to the first instant of the next one's, in an IANA time zone whose
//! rules come with this program. So a month is 28 to 31 days long, an hour more or less where clocks are set in it, and where
//! midnight does not exist the day begins when the clocks have been set.

use std::fmt;
use std::str::FromStr;

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::{Timestamp, Window};

/// What an error budget begins anew with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// How long its periods are.
    pub unit: CalendarUnit,
    /// Where midnight is.
    pub zone: Zone,
}

/// How long a period of the calendar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalendarUnit {
    /// From Monday to Sunday.
    Week,
    /// A month.
    Month,
    /// From the first of January, April, July or October.
    Quarter,
}

impl CalendarUnit {
    /// Every unit, the shortest first.
    pub const ALL: [Self; 3] = [Self::Week, Self::Month, Self::Quarter];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
        }
    }

    /// How long such a period is by convention: what a policy's factors are meant for.
    pub const fn nominal(self) -> Window {
        match self {
            Self::Week => Window::days(7),
            Self::Month => Window::days(30),
            Self::Quarter => Window::days(90),
        }
    }

    /// Days of the longest one.
    pub const fn longest(self) -> Window {
        match self {
            Self::Week => Window::days(7),
            Self::Month => Window::days(31),
            Self::Quarter => Window::days(92),
        }
    }

    /// Days of the shortest one.
    pub const fn shortest(self) -> Window {
        match self {
            Self::Week => Window::days(7),
            Self::Month => Window::days(28),
            Self::Quarter => Window::days(90),
        }
    }

    /// The first day of the period that `date` is in.
    fn first_day(self, date: Date) -> Date {
        match self {
            Self::Week => {
                let since_monday = i32::from(date.weekday().to_monday_zero_offset());
                date.saturating_sub(since_monday.days())
            }
            Self::Month => date.first_of_month(),
            Self::Quarter => {
                let months = i32::from((date.month() - 1) % 3);
                date.first_of_month().saturating_sub(months.months())
            }
        }
    }

    /// The first day of the next period, where `first` is one of this.
    fn next(self, first: Date) -> Date {
        match self {
            Self::Week => first.saturating_add(7.days()),
            Self::Month => first.saturating_add(1.months()),
            Self::Quarter => first.saturating_add(3.months()),
        }
    }
}

/// `calendar month`, as the configuration has it.
impl fmt::Display for CalendarUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "calendar {}", self.as_str())
    }
}

impl FromStr for CalendarUnit {
    type Err = CalendarUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut units = Self::ALL.into_iter();
        units
            .find(|unit| unit.to_string() == text)
            .ok_or_else(|| CalendarUnitError(text.to_owned()))
    }
}

/// Why a text is no [`CalendarUnit`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `calendar week`, `calendar month` or `calendar quarter`")]
pub struct CalendarUnitError(String);

impl Calendar {
    /// The period that holds `at`.
    pub fn period(&self, at: Timestamp) -> Period {
        let secs = at.as_secs().min(LAST_SECOND);
        let period = self.period_by_date(secs);
        // Where clocks are set back over the midnight between two periods, the old date comes back for an hour.
        if secs >= period.end_secs {
            return self.period_by_date(period.end_secs);
        }
        period
    }

    fn period_by_date(&self, secs: u64) -> Period {
        let Self { unit, zone } = self;
        let first = unit.first_day(zone.date(secs));
        Period {
            start_secs: zone.midnight(first),
            end_secs: zone.midnight(unit.next(first)),
        }
    }
}

/// `calendar month in Europe/Berlin`
impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.unit, self.zone)
    }
}

/// In the year 9998: far enough from the end of the calendar for every period to have its own.
const LAST_SECOND: u64 = 253_350_000_000;

/// A stretch of time between two instants, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first second.
    pub start_secs: u64,
    /// The first second after it.
    pub end_secs: u64,
}

impl Period {
    /// Whether `at` lies in it.
    pub const fn holds(self, at: Timestamp) -> bool {
        self.start_secs <= at.as_secs() && at.as_secs() < self.end_secs
    }

    /// How long it is.
    pub fn length(self) -> Window {
        let secs = self.end_secs.saturating_sub(self.start_secs);
        Window::from_secs(u32::try_from(secs).unwrap_or(u32::MAX))
    }

    /// The window that begins with it and ends with the second `at`.
    pub fn elapsed(self, at: Timestamp) -> Window {
        let secs = (at.as_secs() + 1).saturating_sub(self.start_secs);
        Window::from_secs(u32::try_from(secs).unwrap_or(u32::MAX))
    }

    /// Seconds from `at` to its end.
    pub const fn left_s(self, at: Timestamp) -> u64 {
        self.end_secs.saturating_sub(at.as_secs())
    }
}

/// An IANA time zone.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Universal time.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// Its IANA name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// Every name there is.
    pub fn names() -> Vec<String> {
        let zones = TimeZoneDatabase::bundled();
        let names = zones.available().map(|name| name.as_str().to_owned());
        names.collect()
    }

    /// The first instant of a day that is written like `2026-11-23`; `None` when it is none, or before the Unix epoch.
    pub fn day(&self, text: &str) -> Option<Timestamp> {
        let date: Date = text.parse().ok()?;
        let is_day = text.len() == "2026-11-23".len() && (1971..9998).contains(&date.year());
        is_day.then(|| Timestamp::from_secs(self.midnight(date)))
    }

    /// The day of `at`, as `2026-11-23`.
    pub fn date_of(&self, at: Timestamp) -> String {
        self.date(at.as_secs().min(LAST_SECOND)).to_string()
    }

    fn date(&self, secs: u64) -> Date {
        let secs = i64::try_from(secs).unwrap_or_default();
        let at = jiff::Timestamp::from_second(secs)
            .expect("seconds are bounded far below the calendar's end");
        self.0.to_datetime(at).date()
    }

    /// The first second of a day.
    fn midnight(&self, date: Date) -> u64 {
        let start = self
            .0
            .to_timestamp(date.at(0, 0, 0, 0))
            .expect("dates are bounded far below the calendar's end");
        u64::try_from(start.as_second()).unwrap_or_default()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let zone = TimeZoneDatabase::bundled().get(text);
        let zone = zone.ok().filter(|zone| zone.iana_name() == Some(text));
        zone.map(Self).ok_or_else(|| ZoneError(text.to_owned()))
    }
}

/// Why a text is no [`Zone`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a time zone")]
pub struct ZoneError(String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn calendar(unit: CalendarUnit, zone: &str) -> Calendar {
        let zone = zone.parse().unwrap();
        Calendar { unit, zone }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_begins_at_its_midnight_and_is_written_as_it_is_read() {
        for (zone, day, begins) in [
            ("UTC", "2026-11-23", "2026-11-23T00:00:00Z"),
            ("Asia/Kolkata", "2026-11-23", "2026-11-22T18:30:00Z"),
            ("Pacific/Kiritimati", "2026-11-23", "2026-11-22T10:00:00Z"),
        ] {
            let zone: Zone = zone.parse().unwrap();
            assert_eq!(zone.day(day), Some(at(begins)));
            assert_eq!(zone.date_of(at(begins)), day);
            let before = at(begins).minus(std::time::Duration::from_secs(1));
            assert_eq!(zone.date_of(before), "2026-11-22");
        }
        for text in [
            "",
            "2026-13-01",
            "2026-11-23T00:00:00",
            "20261123",
            "yesterday",
            "0001-01-01",
        ] {
            assert_eq!(Zone::UTC.day(text), None, "{text}");
        }
    }

    #[test]
    fn periods_begin_and_end_at_midnight_where_people_are() {
        use CalendarUnit::{Month, Quarter, Week};
        for (unit, zone, inside, start, end, hours) in [
            (
                Month,
                "UTC",
                "2026-02-28T23:59:59Z",
                "2026-02-01T00:00:00Z",
                "2026-03-01T00:00:00Z",
                28 * 24,
            ),
            (
                Month,
                "UTC",
                "2024-02-29T00:00:00Z",
                "2024-02-01T00:00:00Z",
                "2024-03-01T00:00:00Z",
                29 * 24,
            ),
            // Clocks go forward, and back.
            (
                Month,
                "Europe/Berlin",
                "2026-03-15T00:00:00Z",
                "2026-02-28T23:00:00Z",
                "2026-03-31T22:00:00Z",
                31 * 24 - 1,
            ),
            (
                Month,
                "Europe/Berlin",
                "2026-10-15T00:00:00Z",
                "2026-09-30T22:00:00Z",
                "2026-10-31T23:00:00Z",
                31 * 24 + 1,
            ),
            // The first second of a month, and the last of the one before.
            (
                Month,
                "Asia/Kolkata",
                "2026-04-30T18:30:00Z",
                "2026-04-30T18:30:00Z",
                "2026-05-31T18:30:00Z",
                31 * 24,
            ),
            (
                Month,
                "Asia/Kolkata",
                "2026-04-30T18:29:59Z",
                "2026-03-31T18:30:00Z",
                "2026-04-30T18:30:00Z",
                30 * 24,
            ),
            (
                Week,
                "America/New_York",
                "2026-11-01T12:00:00Z",
                "2026-10-26T04:00:00Z",
                "2026-11-02T05:00:00Z",
                7 * 24 + 1,
            ),
            (
                Week,
                "UTC",
                "2026-11-23T00:00:00Z",
                "2026-11-23T00:00:00Z",
                "2026-11-30T00:00:00Z",
                7 * 24,
            ),
            (
                Quarter,
                "Europe/Berlin",
                "2026-12-31T22:59:59Z",
                "2026-09-30T22:00:00Z",
                "2026-12-31T23:00:00Z",
                92 * 24 + 1,
            ),
            (
                Quarter,
                "UTC",
                "2026-01-01T00:00:00Z",
                "2026-01-01T00:00:00Z",
                "2026-04-01T00:00:00Z",
                90 * 24,
            ),
        ] {
            let period = calendar(unit, zone).period(at(inside));
            let expected = Period {
                start_secs: at(start).as_secs(),
                end_secs: at(end).as_secs(),
            };
            assert_eq!(period, expected, "{unit} {zone} {inside}");
            assert_eq!(
                period.length(),
                Window::hours(hours),
                "{unit} {zone} {inside}"
            );
        }
    }

    #[test]
    fn a_day_without_midnight_begins_when_the_clocks_have_been_set() {
        // In Paraguay they went forward at the midnight that began the first of October 2023.
        let period =
            calendar(CalendarUnit::Month, "America/Asuncion").period(at("2023-10-15T00:00:00Z"));
        assert_eq!(period.start_secs, at("2023-10-01T04:00:00Z").as_secs());
    }

    #[test]
    fn zones_have_their_exact_names_and_units_their_words() {
        for name in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"] {
            let zone: Zone = name.parse().unwrap();
            assert_eq!(zone.to_string(), name);
        }
        for name in [
            "",
            "europe/berlin",
            "Europe/Berlín",
            "+01:00",
            "../etc/passwd",
            "CEST",
        ] {
            assert!(name.parse::<Zone>().is_err(), "{name}");
        }
        for unit in CalendarUnit::ALL {
            assert_eq!(unit.to_string().parse(), Ok(unit));
        }
    }

    proptest! {
        #[test]
        fn every_second_lies_in_its_period_and_periods_follow_without_a_gap(
            secs in 0_u64..300_000_000_000,
            zone in prop::sample::select(vec![
                "UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu", "Australia/Lord_Howe",
                "America/Sao_Paulo", "Asia/Beirut", "Africa/Cairo", "Antarctica/Troll", "America/Havana",
            ]),
            unit in prop::sample::select(CalendarUnit::ALL.to_vec()),
        ) {
            let calendar = calendar(unit, zone);
            let at = Timestamp::from_secs(secs);
            let period = calendar.period(at);
            prop_assert!(period.holds(Timestamp::from_secs(secs.min(LAST_SECOND))), "{period:?}");
            prop_assert!(period.length() <= Window::from_secs(unit.longest().as_secs() as u32 + 2 * 3_600));
            let next = calendar.period(Timestamp::from_secs(period.end_secs.min(LAST_SECOND)));
            if period.end_secs < LAST_SECOND {
                prop_assert_eq!(next.start_secs, period.end_secs);
            }
        }
    }
}
