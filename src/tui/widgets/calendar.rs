//! Weeks, and how many certificates end on each day.

use ratatui::layout::Rect;

use super::super::canvas::{Canvas, span};
use super::super::theme::Role;
use super::rule;
use crate::model::Timestamp;

/// Columns it takes.
pub(crate) const WIDTH: u16 = LABEL + 7 * CELL + 1;
/// Rows that are no weeks: the title and the names of days.
pub(crate) const FRAME: u16 = 2;

const LABEL: u16 = 5;
const CELL: u16 = 5;
const DAY_S: u64 = 86_400;
/// Days from a Monday to the epoch, a Thursday.
const EPOCH_DAY: u64 = 3;
/// An end so near is said as loudly as the alert that is about it.
const SOON_DAYS: u64 = 14;

/// Draws as many weeks as fit from the one that has `now` on. `ends` are counted by day (UTC); `chosen` is marked.
pub(crate) fn draw(
    canvas: &mut Canvas<'_>,
    area: Rect,
    now: Timestamp,
    ends: &[Timestamp],
    chosen: Option<Timestamp>,
) {
    let day_of = |at: Timestamp| at.as_secs() / DAY_S;
    let today = day_of(now);
    let monday = today.saturating_sub(weekday(today));
    let weeks = u64::from(area.height.saturating_sub(FRAME));
    let title = [
        span("Calendar", Role::Strong),
        span(format!(" · {weeks} weeks, UTC"), Role::Muted),
    ];
    rule::draw(canvas, (area.x, area.y), area.width, &title, &[]);
    for (place, name) in (0..).zip(["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"]) {
        let x = area.x + LABEL + place * CELL + 1;
        canvas.put(x, area.y + 1, 2, name, Role::Muted);
    }
    for (y, week) in (area.y + FRAME..area.bottom()).zip(0..weeks) {
        let first = monday + 7 * week;
        // Named by its Thursday, as ISO 8601 counts weeks: the month that most of it is in.
        canvas.put(
            area.x + 1,
            y,
            LABEL - 1,
            month(first + EPOCH_DAY),
            Role::Muted,
        );
        for place in 0..7 {
            let day = first + place;
            let ending = ends.iter().filter(|end| day_of(**end) == day).count();
            let (mut text, mut role) = (day_of_month(day), Role::Muted);
            if ending > 0 {
                text = format!("{text}·{}", ending.min(9));
                role = if day <= today + SOON_DAYS {
                    Role::Warn
                } else {
                    Role::Strong
                };
            }
            if day == today {
                text = format!("[{text}]");
                role = Role::Strong;
            }
            if chosen.is_some_and(|chosen| day_of(chosen) == day) {
                role = Role::Cursor;
            }
            let shift = u16::from(day != today);
            let x = area.x + LABEL + u16::try_from(place).unwrap_or(0) * CELL + shift;
            canvas.put(x, y, CELL + 1 - shift, &text, role);
        }
    }
}

/// 0 is Monday.
const fn weekday(day: u64) -> u64 {
    (day + EPOCH_DAY) % 7
}

fn date(day: u64) -> String {
    Timestamp::from_secs(day * DAY_S).to_string()
}

fn day_of_month(day: u64) -> String {
    date(day).get(8..10).unwrap_or_default().to_owned()
}

fn month(day: u64) -> &'static str {
    let names = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let number: usize = date(day)
        .get(5..7)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    names.get(number.wrapping_sub(1)).copied().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_names_and_dates() {
        // 2026-11-23 is a Monday.
        let day = "2026-11-23T14:00:00Z"
            .parse::<Timestamp>()
            .unwrap()
            .as_secs()
            / DAY_S;
        assert_eq!(weekday(day), 0);
        assert_eq!(weekday(day + 6), 6);
        assert_eq!(
            (day_of_month(day + 9), month(day + 9)),
            ("02".to_owned(), "Dec")
        );
    }
}
