//! Numbers, times and foreign text, as a screen shows them.
//!
//! Three significant digits and a unit on every number. What is not zero never prints as zero, what is not whole never
//! prints as 100 %, and `–` is no data, which is not zero. Text that others wrote is made visible before it is
//! measured: an escape sequence in a path is evidence, not a command to the terminal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::model::Timestamp;

/// What stands for "no data".
pub(crate) const NO_DATA: &str = "–";

/// `value` shown by `show`, or the sign for no data.
pub(crate) fn or_none<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| NO_DATA.to_owned(), show)
}

/// A plain number with three significant digits and a multiplier: `0`, `0.93`, `12.3`, `212`, `8.42k`, `1.05M`.
pub(crate) fn si(value: f64) -> String {
    scaled(value, 1_000.0, &["", "k", "M", "G", "T", "P"])
}

/// Bytes: `512B`, `148MiB`.
pub(crate) fn bytes(value: u64) -> String {
    scaled(
        value as f64,
        1_024.0,
        &["B", "KiB", "MiB", "GiB", "TiB", "PiB"],
    )
}

/// A whole number with its thousands apart: `1,048`.
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share of bad ones: `0`, `<0.001%`, `0.014%`, `1.56%`, `61.3%`, and `100%` only for the whole.
pub(crate) fn share(ratio: f64) -> String {
    if ratio.is_nan() {
        return NO_DATA.to_owned();
    }
    if ratio <= 0.0 {
        return "0".to_owned();
    }
    if ratio >= 1.0 {
        return "100%".to_owned();
    }
    let percent = ratio * 100.0;
    if percent < 0.001 {
        return "<0.001%".to_owned();
    }
    let (places, step) = if percent < 0.0995 {
        (3, 1_000.0)
    } else if percent < 9.995 {
        (2, 100.0)
    } else {
        (1, 10.0)
    };
    // The nearest, but never the whole: 99.96 % bad is not all of them.
    let rounded = ((percent * step).round() / step).min(100.0 - 1.0 / step);
    format!("{rounded:.places$}%")
}

/// A share that people care to have in full, rounded down: `99.843%`, and `100%` only without a single bad one.
pub(crate) fn success(ratio: f64) -> String {
    if ratio.is_nan() {
        return NO_DATA.to_owned();
    }
    if ratio >= 1.0 {
        return "100%".to_owned();
    }
    // A nudge of a billionth, so that 99.9 % does not become 99.899 % by its binary form.
    let thousandths = ((ratio.max(0.0) * 100.0 + 1e-9) * 1_000.0).floor() / 1_000.0;
    format!("{:.3}%", thousandths.min(99.999))
}

/// How much of a budget something spent, which may be more than the whole: `<0.1%`, `2.8%`, `340%`, `12x`.
pub(crate) fn share_of_budget(ratio: f64) -> String {
    if ratio.is_nan() {
        NO_DATA.to_owned()
    } else if ratio <= 0.0 {
        "0".to_owned()
    } else if ratio < 0.001 {
        "<0.1%".to_owned()
    } else if ratio < 0.999_5 {
        format!("{:.1}%", ratio * 100.0)
    } else if ratio < 9.995 {
        format!("{:.0}%", ratio * 100.0)
    } else {
        format!("{}x", si(ratio))
    }
}

/// What is left of a budget, rounded down, negative when overspent: `68.6%`, `-3.1%`, `-12x` when many times over.
pub(crate) fn remaining(ratio: f64) -> String {
    if ratio.is_nan() {
        return NO_DATA.to_owned();
    }
    if ratio >= 1.0 {
        return "100%".to_owned();
    }
    if ratio <= -10.0 {
        return format!("-{}x", si(-ratio));
    }
    let tenths = ((ratio * 100.0 + 1e-9) * 10.0).floor() / 10.0;
    if tenths == 0.0 && ratio > 0.0 {
        return "<0.1%".to_owned();
    }
    format!("{:.1}%", tenths + 0.0)
}

/// How much of a resource is used, which may be more than one whole: `0`, `<1%`, `21%`, `340%`.
pub(crate) fn portion(ratio: f64) -> String {
    if ratio <= 0.0 {
        "0".to_owned()
    } else if ratio < 0.01 {
        "<1%".to_owned()
    } else {
        format!("{:.0}%", ratio * 100.0)
    }
}

/// A burn rate: `0`, `<0.1x`, `0.8x`, `20.2x`, `122x`.
pub(crate) fn burn(rate: f64) -> String {
    if rate.is_nan() {
        NO_DATA.to_owned()
    } else if rate <= 0.0 {
        "0".to_owned()
    } else if rate < 0.05 {
        "<0.1x".to_owned()
    } else if rate < 99.95 {
        format!("{rate:.1}x")
    } else if rate < 9_999.5 {
        format!("{rate:.0}x")
    } else {
        format!("{}x", si(rate))
    }
}

/// A duration of `micros` microseconds: `850µs`, `13.4ms`, `1.31s`, `2m05s`.
pub(crate) fn micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..999_500 => format!("{}ms", digits(micros as f64 / 1e3)),
        999_500..59_950_000 => format!("{}s", digits(micros as f64 / 1e6)),
        _ => age(Duration::from_micros(micros)),
    }
}

/// How long something lasts, in its two largest units: `4s`, `9m52s`, `4h02m`, `6d02h`.
pub(crate) fn age(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0..60 => format!("{secs}s"),
        60..3_600 => format!("{}m{:02}s", secs / 60, secs % 60),
        3_600..86_400 => format!("{}h{:02}m", secs / 3_600, secs / 60 % 60),
        86_400..8_640_000 => format!("{}d{:02}h", secs / 86_400, secs / 3_600 % 24),
        _ => format!("{}d", grouped(secs / 86_400)),
    }
}

/// [`age`] of whole seconds.
pub(crate) fn seconds(secs: u64) -> String {
    age(Duration::from_secs(secs))
}

/// A moment as seen at `now`: the time of day, or month, day and time when a day or more away. Eight columns or eleven.
pub(crate) fn moment(at: Timestamp, now: Timestamp) -> String {
    if now.since(at).as_secs() < 86_400 && at.since(now).as_secs() < 86_400 {
        return at.time_of_day();
    }
    // RFC 3339 is ASCII, so these are whole characters: `2026-11-23T14:02:05.000Z`.
    let full = at.to_string();
    match (full.get(5..10), full.get(11..16)) {
        (Some(date), Some(time)) => format!("{date} {time}"),
        _ => full,
    }
}

/// A time of day to the minute, `14:12`.
pub(crate) fn minute(at: Timestamp) -> String {
    let secs = at.as_secs() % 86_400;
    format!("{:02}:{:02}", secs / 3_600, secs / 60 % 60)
}

/// How far `now` lies from `before`, both shares, in percentage points: `+1.55pp`, `0pp`.
pub(crate) fn points(now: f64, before: f64) -> String {
    let difference = (now - before) * 100.0;
    if difference == 0.0 {
        return "0pp".to_owned();
    }
    let sign = if difference < 0.0 { '-' } else { '+' };
    let size = difference.abs();
    if size < 0.01 {
        format!("{sign}<0.01pp")
    } else {
        format!("{sign}{}pp", digits(size))
    }
}

/// How far `now` lies from `before` in percent: `+0.4%`, `-14%`; `None` when there is nothing to compare with.
pub(crate) fn change(now: f64, before: f64) -> Option<String> {
    if before <= 0.0 || !before.is_finite() || !now.is_finite() {
        return None;
    }
    let percent = (now / before - 1.0) * 100.0;
    Some(if percent == 0.0 {
        "0%".to_owned()
    } else if percent.abs() < 0.05 {
        format!("{}<0.1%", if percent < 0.0 { '-' } else { '+' })
    } else if percent.abs() < 9.95 {
        format!("{percent:+.1}%")
    } else if percent < 999.5 {
        format!("{percent:+.0}%")
    } else {
        times(now / before)
    })
}

/// How many times as much: `2.1x`, `111x`.
pub(crate) fn times(factor: f64) -> String {
    if factor < 99.95 {
        format!("{factor:.1}x")
    } else if factor < 999.5 {
        format!("{factor:.0}x")
    } else {
        ">1,000x".to_owned()
    }
}

/// `text` with everything that could move the cursor, hide, or turn round made visible: ESC as `␛`, a tab as `\t`, a
/// bidirectional override as `<U+202E>`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) && !has_pile(text) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for grapheme in text.graphemes(true) {
        let mut marks = 0;
        for (place, c) in grapheme.chars().enumerate() {
            match c {
                '\t' => shown.push_str("\\t"),
                '\n' => shown.push_str("\\n"),
                '\r' => shown.push_str("\\r"),
                '\u{7f}' => shown.push('␡'),
                // The control pictures begin at U+2400 in the order of the controls.
                '\0'..='\u{1f}' => {
                    shown.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('?'));
                }
                _ if !is_plain(c) => {
                    write!(shown, "<U+{:04X}>", u32::from(c)).expect("a String takes all");
                }
                // A lone mark has nothing to stand on and would slip onto a neighbour's cell.
                _ if place == 0 && c.width() == Some(0) => {
                    write!(shown, "<U+{:04X}>", u32::from(c)).expect("a String takes all");
                }
                _ if place > 0 && c.width() == Some(0) => {
                    marks += 1;
                    if marks <= MARKS {
                        shown.push(c);
                    }
                }
                _ => shown.push(c),
            }
        }
    }
    Cow::Owned(shown)
}

/// How many columns `text` takes. It must be [`visible`] already.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// `text` cut by grapheme to at most `columns`, the cut marked with `…`. It must be [`visible`] already.
pub(crate) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    // Bytes bound columns from above for everything but a few wide characters, and most text is short ASCII.
    if text.len() <= columns && text.is_ascii() || text.width() <= columns {
        return Cow::Borrowed(text);
    }
    if columns == 0 {
        return Cow::Borrowed("");
    }
    let mut kept = String::with_capacity(columns + 4);
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        let wide = grapheme.width();
        if used + wide + 1 > columns {
            break;
        }
        used += wide;
        kept.push_str(grapheme);
    }
    kept.push('…');
    Cow::Owned(kept)
}

/// Combining marks kept on one character: enough for Vietnamese, too few to climb over other rows.
const MARKS: usize = 3;

fn is_plain(c: char) -> bool {
    match c {
        ' '..='~' => true,
        // Controls, the soft hyphen, zero-width and direction controls, separators, joiners, variation selectors, the
        // byte-order mark, tags.
        '\0'..='\u{9f}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => false,
        _ => true,
    }
}

/// Whether a character carries more marks than are kept, or a mark stands alone.
fn has_pile(text: &str) -> bool {
    if text.is_ascii() {
        return false;
    }
    let mut marks = MARKS;
    for c in text.chars() {
        if c.width() == Some(0) {
            marks += 1;
            if marks > MARKS {
                return true;
            }
        } else {
            marks = 0;
        }
    }
    false
}

fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    if value.is_nan() {
        return NO_DATA.to_owned();
    }
    if value <= 0.0 {
        return "0".to_owned();
    }
    let mut value = value;
    let mut unit = 0;
    // Half a unit below the next power already rounds to four digits.
    while value >= base - 0.5 && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    if unit == 0 && value < 0.01 {
        return "<0.01".to_owned();
    }
    let text = if unit == 0 && value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        digits(value)
    };
    format!("{text}{}", units[unit])
}

/// Three significant digits of a number between 0.01 and 1,023.
fn digits(value: f64) -> String {
    if value < 9.995 {
        format!("{value:.2}")
    } else if value < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_keep_three_digits_and_their_unit() {
        let table: &[(String, &str)] = &[
            (si(0.0), "0"),
            (si(0.004), "<0.01"),
            (si(0.93), "0.93"),
            (si(12.34), "12.3"),
            (si(212.0), "212"),
            (si(999.4), "999"),
            (si(999.6), "1.00k"),
            (si(8_420.0), "8.42k"),
            (si(1_050_000.0), "1.05M"),
            (bytes(0), "0"),
            (bytes(512), "512B"),
            (bytes(148 << 20), "148MiB"),
            (grouped(1_048), "1,048"),
            (grouped(999), "999"),
            (grouped(1_234_567), "1,234,567"),
            (micros(850), "850µs"),
            (micros(13_400), "13.4ms"),
            (micros(999_600), "1.00s"),
            (micros(1_310_000), "1.31s"),
            (micros(125_000_000), "2m05s"),
            (seconds(4), "4s"),
            (seconds(592), "9m52s"),
            (seconds(14_520), "4h02m"),
            (seconds(6 * 86_400 + 7_200), "6d02h"),
            (burn(122.6), "123x"),
            (burn(20.24), "20.2x"),
            (burn(0.01), "<0.1x"),
            (burn(0.0), "0"),
            (points(0.0156, 0.00014), "+1.55pp"),
            (points(0.01, 0.01), "0pp"),
            (or_none(None, si), "–"),
        ];
        for (shown, expected) in table {
            assert_eq!(shown, expected);
        }
        assert_eq!(change(209.0, 212.0).as_deref(), Some("-1.4%"));
        assert_eq!(change(14.0, 100.0).as_deref(), Some("-86%"));
        assert_eq!(change(1.0, 0.0), None);
    }

    #[test]
    fn a_success_is_rounded_down_and_never_up_to_the_whole() {
        assert_eq!(success(0.999_999_9), "99.999%");
        assert_eq!(success(0.999), "99.900%");
        assert_eq!(success(0.998_439), "99.843%");
        assert_eq!(success(1.0), "100%");
        assert_eq!(remaining(0.6869), "68.6%");
        assert_eq!(remaining(-0.031), "-3.1%");
        assert_eq!(remaining(0.0004), "<0.1%");
        assert_eq!(remaining(-447.3), "-447x");
    }

    #[test]
    fn a_share_that_is_not_all_is_not_shown_as_all() {
        assert_eq!(share(0.999_9), "99.9%");
        assert_eq!(share(1.0), "100%");
        assert_eq!(share(0.613), "61.3%");
        assert_eq!(share(0.000_14), "0.014%");
        assert_eq!(share(1e-9), "<0.001%");
    }

    #[test]
    fn what_others_wrote_cannot_drive_the_terminal() {
        for (raw, shown) in [
            ("/plain/path", "/plain/path"),
            ("/\u{1b}[2J", "/␛[2J"),
            ("a\tb\r\n", "a\\tb\\r\\n"),
            ("\u{9b}31m", "<U+009B>31m"),
            ("x\u{202e}y", "x<U+202E>y"),
            ("\u{7}", "␇"),
            ("\u{301}", "<U+0301>"),
            ("é", "é"),
            ("❤\u{fe0f}", "❤<U+FE0F>"),
        ] {
            assert_eq!(visible(raw), shown, "{raw:?}");
        }
        let piled = format!("a{}", "\u{301}".repeat(500));
        assert_eq!(visible(&piled).chars().count(), 1 + MARKS);
    }

    proptest! {
        #[test]
        fn no_control_survives_and_a_cut_fits(raw in any::<String>(), columns in 0_usize..40) {
            let shown = visible(&raw);
            prop_assert!(shown.chars().all(|c| !c.is_control()));
            prop_assert!(width(&cut(&shown, columns)) <= columns);
        }

        #[test]
        fn what_is_not_zero_never_prints_as_zero(value in 1e-12_f64..1e12) {
            let zero = |text: &str| !text.contains('<') && !text.chars().any(|c| ('1'..='9').contains(&c));
            prop_assert!(!zero(&si(value)), "{}", si(value));
            prop_assert!(!zero(&share(value)), "{}", share(value));
            prop_assert!(!zero(&burn(value)), "{}", burn(value));
        }
    }
}
