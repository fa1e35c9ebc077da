//! Numbers, times and foreign text as the sentence has them.
//!
//! Three significant digits, a unit on every number, nothing that is not zero printed as zero, and nothing short of
//! all printed as all.

use crate::model::{Event, Timestamp};

/// A share of 0 to 1 as a percentage: `61.3%`, `0.08%`, `<0.01%`; `100%` only when it is all.
pub(super) fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if percent <= 0.0 {
        "0%".to_owned()
    } else if percent < 0.01 {
        "<0.01%".to_owned()
    } else if percent < 9.995 {
        format!("{percent:.2}%")
    } else if percent < 99.95 {
        format!("{percent:.1}%")
    } else if percent < 100.0 {
        "99.9%".to_owned()
    } else {
        "100%".to_owned()
    }
}

/// A share of all errors, where a whole number is enough: `99% of all errors`, `<1% of all errors`; `all errors` only
/// when it is all.
pub(super) fn of_all_errors(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if percent >= 100.0 {
        "all errors".to_owned()
    } else if percent < 1.0 {
        "<1% of all errors".to_owned()
    } else {
        format!("{:.0}% of all errors", percent.floor())
    }
}

/// A rate: `130/s`, `8.4/s`, `0.05/s`, `<0.01/s`, `0/s`.
pub(super) fn per_second(rate: f64) -> String {
    if rate >= 100.0 {
        format!("{rate:.0}/s")
    } else if rate >= 1.0 {
        format!("{rate:.1}/s")
    } else if rate <= 0.0 {
        "0/s".to_owned()
    } else if rate >= 0.01 {
        format!("{rate:.2}/s")
    } else {
        "<0.01/s".to_owned()
    }
}

/// A burn rate: `122x`, `14.5x`, `0.3x`, `<0.1x`.
pub(super) fn multiple(burn: f64) -> String {
    if burn >= 99.95 {
        format!("{burn:.0}x")
    } else if burn <= 0.0 || burn >= 0.05 {
        format!("{burn:.1}x")
    } else {
        "<0.1x".to_owned()
    }
}

/// A duration in its two largest units: `35 s`, `9m52s`, `4h02m`, `6d02h`.
pub(super) fn duration(secs: u64) -> String {
    const DAY: u64 = 86_400;
    match secs {
        ..60 => format!("{secs} s"),
        60..3_600 => format!("{}m{:02}s", secs / 60, secs % 60),
        3_600..DAY => format!("{}h{:02}m", secs / 3_600, secs / 60 % 60),
        _ => format!("{}d{:02}h", secs / DAY, secs / 3_600 % 24),
    }
}

/// A latency threshold: `300ms`, `1.5s`, `850µs`.
pub(super) fn latency(micros: u128) -> String {
    match micros {
        ..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => format!("{}ms", micros as f64 / 1_000.0),
        _ => format!("{}s", micros as f64 / 1_000_000.0),
    }
}

/// A time of day in UTC, with the date when it is not within a day of `now`: `14:02:40Z`, `2026-11-22 14:02:40Z`.
pub(super) fn time(at: Timestamp, now: Timestamp) -> String {
    let time = at.time_of_day();
    if now.since(at).as_secs() < 86_400 && at.since(now).as_secs() < 86_400 {
        return format!("{time}Z");
    }
    let whole = at.to_string();
    let date = whole.split('T').next().unwrap_or_default();
    format!("{date} {time}Z")
}

/// An event for the sentence: its kind, its text unless that begins with the kind, and when.
pub(super) fn event(event: &Event, now: Timestamp) -> String {
    let (kind, text, at) = (event.kind.as_str(), plain(&event.text), time(event.at, now));
    let names_itself = text
        .get(..kind.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(kind));
    if text.is_empty() {
        format!("{kind} {at}")
    } else if names_itself {
        format!("{text} {at}")
    } else {
        format!("{kind} {text} {at}")
    }
}

/// Foreign text on one line: control characters and line breaks become spaces, and eighty characters are enough.
pub(super) fn plain(text: &str) -> String {
    cut(text, 80)
}

/// The same for what is a sentence already.
pub(super) fn long(text: &str) -> String {
    cut(text, 240)
}

fn cut(text: &str, most: usize) -> String {
    let mut plain: String = text
        .trim()
        .chars()
        .take(most)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    if text.trim().chars().nth(most).is_some() {
        plain.push('…');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventKind, Scope};

    #[test]
    fn what_is_not_zero_is_not_printed_as_zero_and_what_is_not_all_not_as_all() {
        for (ratio, text) in [
            (0.0, "0%"),
            (0.000_001, "<0.01%"),
            (0.000_8, "0.08%"),
            (0.099_96, "10.0%"),
            (0.613, "61.3%"),
            (0.999_999, "99.9%"),
            (1.0, "100%"),
        ] {
            assert_eq!(percent(ratio), text);
        }
        for (ratio, text) in [
            (0.004, "<1% of all errors"),
            (0.999, "99% of all errors"),
            (1.0, "all errors"),
        ] {
            assert_eq!(of_all_errors(ratio), text);
        }
        assert_eq!(per_second(0.001), "<0.01/s");
        assert_eq!(multiple(0.01), "<0.1x");
        assert_eq!(multiple(122.6), "123x");
    }

    #[test]
    fn durations_have_two_units() {
        for (secs, text) in [
            (35, "35 s"),
            (592, "9m52s"),
            (14_520, "4h02m"),
            (6 * 86_400, "6d00h"),
        ] {
            assert_eq!(duration(secs), text);
        }
        assert_eq!(latency(300_000), "300ms");
        assert_eq!(latency(1_500_000), "1.5s");
    }

    #[test]
    fn a_time_of_another_day_has_its_date() {
        let at = Timestamp::from_secs(1_795_420_960);
        assert_eq!(time(at, Timestamp::from_secs(1_795_421_000)), "08:02:40Z");
        assert_eq!(
            time(at, Timestamp::from_secs(1_795_421_000 + 86_400)),
            "2026-11-23 08:02:40Z"
        );
    }

    #[test]
    fn foreign_text_stays_on_its_line() {
        assert_eq!(plain(" a\n\u{1b}[2Jb "), "a  [2Jb");
        assert_eq!(plain(&"ä".repeat(99)).chars().count(), 81);
        let deploy = |text: &str| Event {
            at: Timestamp::from_secs(50_525),
            kind: EventKind::Deploy,
            scope: Scope::default(),
            text: text.to_owned(),
        };
        let now = Timestamp::from_secs(50_600);
        assert_eq!(
            event(&deploy("checkout v2"), now),
            "deploy checkout v2 14:02:05Z"
        );
        assert_eq!(
            event(&deploy("Deploy checkout"), now),
            "Deploy checkout 14:02:05Z"
        );
        assert_eq!(event(&deploy(""), now), "deploy 14:02:05Z");
        assert_eq!(event(&deploy("äöü€€"), now), "deploy äöü€€ 14:02:05Z");
    }
}
