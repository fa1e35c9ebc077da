//! The line above a pane: its title on the left, a remark on the right.

use super::super::canvas::{Canvas, Span};
use super::super::theme::Role;

/// Draws `─ title ───── remark ─` over `width` columns. The remark gives way when both do not fit.
pub(crate) fn draw(
    canvas: &mut Canvas<'_>,
    (x, y): (u16, u16),
    width: u16,
    title: &[Span<'_>],
    remark: &[Span<'_>],
) {
    canvas.fill(x, y, width, "─", Role::Muted);
    if width < 6 {
        return;
    }
    let titled = canvas.measure(title).min(width - 4);
    if titled > 0 {
        canvas.put(x + 1, y, 1, " ", Role::Text);
        canvas.spans(x + 2, y, titled, title);
        canvas.put(x + 2 + titled, y, 1, " ", Role::Text);
    }
    let remarked = canvas.measure(remark);
    // At least three columns of line stay between the two, or they read as one sentence.
    if remarked > 0 && titled + remarked + 10 <= width {
        let start = x + width - 3 - remarked;
        canvas.put(start, y, 1, " ", Role::Text);
        canvas.spans(start + 1, y, remarked, remark);
        canvas.put(start + 1 + remarked, y, 1, " ", Role::Text);
    }
}
