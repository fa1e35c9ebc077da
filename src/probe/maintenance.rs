//! Spans of time in which nobody expects a probe to be well.

use std::fmt;

use crate::model::Timestamp;

/// A span of time, once or every week. All times are UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// From the first instant up to the second.
    Once(Timestamp, Timestamp),
    /// Every week on these days, from a minute of the day up to another. An end that is not later is on the next day.
    Weekly {
        /// The first day, Monday is 0.
        first: u8,
        /// The last day, Monday is 0.
        last: u8,
        /// Minutes since midnight.
        from: u16,
        /// Minutes since midnight, up to 1440.
        to: u16,
    },
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const DAY_MINUTES: u64 = 1_440;
const WEEK_MINUTES: u64 = 7 * DAY_MINUTES;
/// 1 January 1970 was a Thursday.
const EPOCH_DAY: u64 = 3;

impl Maintenance {
    /// `Sun 02:00-04:00`, `Mon-Fri 22:00-06:00` or `2026-12-01T00:00:00Z/2026-12-01T06:00:00Z`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((from, to)) = text.split_once('/') {
            let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
            return (from < to).then_some(Self::Once(from, to));
        }
        let (days, hours) = text.split_once(' ')?;
        let day = |text: &str| {
            let place = DAYS.iter().position(|day| *day == text)?;
            u8::try_from(place).ok()
        };
        let (first, last) = match days.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(days)?, day(days)?),
        };
        let (from, to) = hours.trim().split_once('-')?;
        let (from, to) = (minute(from)?, minute(to)?);
        (from < DAY_MINUTES as u16).then_some(Self::Weekly {
            first,
            last,
            from,
            to,
        })
    }

    /// Whether `at` lies in it.
    pub fn covers(self, at: Timestamp) -> bool {
        match self {
            Self::Once(from, to) => from <= at && at < to,
            Self::Weekly {
                first,
                last,
                from,
                to,
            } => {
                let now = (at.as_secs() / 60 + EPOCH_DAY * DAY_MINUTES) % WEEK_MINUTES;
                let (from, to) = (u64::from(from), u64::from(to));
                let length = if to > from {
                    to - from
                } else {
                    to + DAY_MINUTES - from
                };
                let days = (u64::from(last) + 7 - u64::from(first)) % 7;
                (0..=days).any(|day| {
                    let begin = (u64::from(first) + day) * DAY_MINUTES + from;
                    (now + 2 * WEEK_MINUTES - begin) % WEEK_MINUTES < length
                })
            }
        }
    }
}

/// `02:30` in minutes.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse::<u16>().ok()).flatten()
    };
    let minutes = number(hour)? * 60 + number(minute).filter(|minute| *minute < 60)?;
    (u64::from(minutes) <= DAY_MINUTES).then_some(minutes)
}

impl fmt::Display for Maintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Once(from, to) => write!(f, "{from}/{to}"),
            Self::Weekly {
                first,
                last,
                from,
                to,
            } => {
                f.write_str(DAYS[usize::from(first) % 7])?;
                if first != last {
                    write!(f, "-{}", DAYS[usize::from(last) % 7])?;
                }
                let (hours, minutes) = ((from / 60, to / 60), (from % 60, to % 60));
                write!(
                    f,
                    " {:02}:{:02}-{:02}:{:02}",
                    hours.0, minutes.0, hours.1, minutes.1
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_covers_its_hours_and_no_others() {
        // 2026-11-23 was a Monday.
        for (window, inside, outside) in [
            (
                "Mon 02:00-04:00",
                "2026-11-23T02:00:00Z",
                "2026-11-23T04:00:00Z",
            ),
            (
                "Mon 02:00-04:00",
                "2026-11-30T03:59:59Z",
                "2026-11-24T03:00:00Z",
            ),
            (
                "Sun 22:00-06:00",
                "2026-11-23T05:59:59Z",
                "2026-11-23T06:00:00Z",
            ),
            (
                "Mon-Fri 00:00-24:00",
                "2026-11-27T23:59:59Z",
                "2026-11-28T00:00:00Z",
            ),
            (
                "Sat-Mon 10:00-11:00",
                "2026-11-22T10:30:00Z",
                "2026-11-24T10:30:00Z",
            ),
            (
                "2026-11-23T00:00:00.000Z/2026-11-23T01:00:00.000Z",
                "2026-11-23T00:00:00Z",
                "2026-11-23T01:00:00Z",
            ),
        ] {
            let parsed = Maintenance::parse(window).unwrap();
            assert_eq!(parsed.to_string(), window);
            assert!(parsed.covers(inside.parse().unwrap()), "{window} {inside}");
            assert!(
                !parsed.covers(outside.parse().unwrap()),
                "{window} {outside}"
            );
        }
        for text in [
            "",
            "Mon",
            "Mon 2:00-3:00",
            "Mon 24:00-25:00",
            "Foo 01:00-02:00",
            "2026/2025",
            "Mon 01:60-02:00",
        ] {
            assert_eq!(Maintenance::parse(text), None, "{text}");
        }
    }
}
