//! What is the same on every screen: how fresh the data is, the verdict, the screens' digits, and the keys.

use ratatui::layout::{Rect, Size};

use super::super::app::Model;
use super::super::canvas::Canvas;
use super::super::widgets::{status, tabs, verdict};
use crate::snapshot::Snapshot;

/// Draws the frame; gives what is left for the screen.
pub(crate) fn draw(canvas: &mut Canvas<'_>, model: &Model, snapshot: &Snapshot) -> Rect {
    let area = canvas.area();
    let rows = Rows::of(Size::new(area.width, area.height));
    status::head(canvas, area, model);
    status::foot(canvas, area, model);
    let mut y = area.y.saturating_add(1);
    if rows.verdict > 0 {
        let place = Rect::new(area.x, y, area.width, rows.verdict);
        verdict::draw(canvas, place, model, snapshot);
        y += rows.verdict;
    }
    if rows.tabs > 0 {
        tabs::draw(canvas, Rect::new(area.x, y, area.width, 1), model, snapshot);
        y += rows.tabs;
    }
    Rect::new(area.x, y, area.width, rows.body)
}

/// How many rows a screen of `size` has between the frame's.
pub(crate) fn body(size: Size) -> u16 {
    Rows::of(size).body
}

/// Heights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rows {
    verdict: u16,
    tabs: u16,
    body: u16,
}

impl Rows {
    fn of(size: Size) -> Self {
        // The sentence stays in sight unless the screen has no space for both.
        let verdict = if size.height < 14 {
            0
        } else {
            verdict::height(size.width)
        };
        let tabs = u16::from(size.height >= 12 && size.width >= 48);
        Self {
            verdict,
            tabs,
            body: size.height.saturating_sub(2 + verdict + tabs),
        }
    }
}
