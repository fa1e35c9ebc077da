//! A table of things with a cursor. Only the rows on the screen are made.

use ratatui::layout::Rect;

use super::super::canvas::Canvas;
use super::super::theme::Role;
use super::table::{self, Column};

/// Columns before the first one, for the cursor.
const MARK: u16 = 3;

/// Draws the heads and, of `count` rows from `offset` on, those that fit; `row` makes one. Without any it says `empty`.
pub(crate) fn draw<T>(
    canvas: &mut Canvas<'_>,
    area: Rect,
    columns: &[Column<T>],
    (count, offset, cursor): (usize, usize, usize),
    empty: &str,
    row: impl Fn(usize) -> Option<T>,
) {
    if area.height == 0 {
        return;
    }
    if count == 0 {
        let room = area.width.saturating_sub(MARK);
        canvas.put(area.x + MARK, area.y, room, empty, Role::Text);
        return;
    }
    let fit = table::fit(columns, area.width.saturating_sub(MARK + 1));
    let x = area.x + MARK;
    fit.heads(canvas, (x, area.y), columns);
    for (y, place) in (area.y + 1..area.bottom()).zip(offset..count) {
        let Some(row) = row(place) else {
            continue;
        };
        fit.row(canvas, (x, y), columns, &row);
        if place == cursor {
            canvas.restyle(area.x, y, area.width, Role::Strong);
            canvas.put(area.x + 1, y, 1, "▸", Role::Accent);
        }
    }
}

/// What a title says of a list of `count` of which `rows` are shown from `offset` on.
pub(crate) fn range(count: usize, offset: usize, rows: usize) -> String {
    let to = (offset + rows).min(count);
    if to.saturating_sub(offset) >= count {
        return format!(" · {count}");
    }
    format!(" · {}–{to} of {count}", offset + 1)
}
