//! The one door to the screen's cells.
//!
//! Every piece of text passes here on its way to the buffer, whoever wrote it: it is made visible, held to ASCII when
//! asked, cut to its columns and clipped to the screen. So no path leads from an attacker's bytes to the terminal, and
//! no arithmetic of a layout can panic.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::fmt;
use super::mask;
use super::theme::{Role, Theme, ascii};

/// A piece of text and what it is.
pub(crate) type Span<'a> = (Cow<'a, str>, Role);

/// A span of text that lives elsewhere or is made here.
pub(crate) fn span<'a>(text: impl Into<Cow<'a, str>>, role: Role) -> Span<'a> {
    (text.into(), role)
}

/// A buffer to be painted on in roles.
pub(crate) struct Canvas<'a> {
    buffer: &'a mut Buffer,
    theme: Theme,
    /// Whether secrets of URLs are shown.
    unmasked: bool,
}

impl<'a> Canvas<'a> {
    pub(crate) fn new(buffer: &'a mut Buffer, theme: Theme) -> Self {
        Self {
            buffer,
            theme,
            unmasked: false,
        }
    }

    /// The same with the privacy mask taken off or left on.
    #[must_use]
    pub(crate) fn unmasked(self, unmasked: bool) -> Self {
        Self { unmasked, ..self }
    }

    pub(crate) fn area(&self) -> Rect {
        self.buffer.area
    }

    /// Paints `text` from column `x` of row `y` into at most `width` columns; gives how many it took.
    pub(crate) fn put(&mut self, x: u16, y: u16, width: u16, text: &str, role: Role) -> u16 {
        self.paint(x, y, width, text, self.theme.style(role))
    }

    /// Paints `text` so that it ends at the right edge of its `width` columns.
    pub(crate) fn put_right(&mut self, x: u16, y: u16, width: u16, text: &str, role: Role) {
        let text = self.prepared(text);
        let taken = u16::try_from(fmt::width(&text)).unwrap_or(u16::MAX);
        let shift = width.saturating_sub(taken);
        self.put(x.saturating_add(shift), y, width - shift, &text, role);
    }

    /// Paints spans one after the other into at most `width` columns; gives how many they took.
    pub(crate) fn spans(&mut self, x: u16, y: u16, width: u16, spans: &[Span<'_>]) -> u16 {
        let mut used = 0;
        for (text, role) in spans {
            if used >= width {
                break;
            }
            used += self.put(x.saturating_add(used), y, width - used, text, *role);
        }
        used
    }

    /// How many columns the spans would take uncut.
    pub(crate) fn measure(&self, spans: &[Span<'_>]) -> u16 {
        let total: usize = spans
            .iter()
            .map(|(text, _)| fmt::width(&self.prepared(text)))
            .sum();
        u16::try_from(total).unwrap_or(u16::MAX)
    }

    /// Paints `glyph` over `width` columns.
    pub(crate) fn fill(&mut self, x: u16, y: u16, width: u16, glyph: &'static str, role: Role) {
        for column in 0..width {
            self.cell(x.saturating_add(column), y, glyph, role);
        }
    }

    /// Paints one constant glyph of one column.
    pub(crate) fn cell(&mut self, x: u16, y: u16, glyph: &'static str, role: Role) {
        let style = self.theme.style(role);
        if let Some(cell) = self.buffer.cell_mut((x, y)) {
            let shown = match glyph.chars().next() {
                Some(c) if self.theme.ascii && !c.is_ascii() => ascii(c),
                _ => glyph,
            };
            cell.set_symbol(shown).set_style(style);
        }
    }

    /// Adds the look of `role` to what is already painted on `width` columns.
    pub(crate) fn restyle(&mut self, x: u16, y: u16, width: u16, role: Role) {
        let area = Rect::new(x, y, width, 1).intersection(self.buffer.area);
        self.buffer.set_style(area, self.theme.style(role));
    }

    fn paint(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style) -> u16 {
        let area = self.buffer.area;
        if y >= area.bottom() || x >= area.right() || y < area.y || x < area.x {
            return 0;
        }
        let width = width.min(area.right() - x);
        let text = self.prepared(text);
        let kept = fmt::cut(&text, usize::from(width));
        // The mark of a cut is one of our own glyphs, made after the text was held to ASCII.
        let kept = if self.theme.ascii {
            Cow::Owned(kept.replace('…', ascii('…')))
        } else {
            kept
        };
        let (end, _) = self
            .buffer
            .set_stringn(x, y, &kept, usize::from(width), style);
        end - x
    }

    fn prepared<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let text = fmt::visible(text);
        let text = match mask::masked(&text) {
            Cow::Owned(hidden) if !self.unmasked => Cow::Owned(hidden),
            Cow::Owned(_) | Cow::Borrowed(_) => text,
        };
        if !self.theme.ascii || text.is_ascii() {
            return text;
        }
        let mut plain = String::with_capacity(text.len());
        for c in text.chars() {
            if c.is_ascii() {
                plain.push(c);
            } else {
                plain.push_str(ascii(c));
            }
        }
        Cow::Owned(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn painting_outside_the_screen_changes_nothing() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 3, 2));
        let before = buffer.clone();
        let mut canvas = Canvas::new(&mut buffer, Theme::default());
        assert_eq!(canvas.put(3, 0, 5, "x", Role::Text), 0);
        assert_eq!(canvas.put(0, 2, 5, "x", Role::Text), 0);
        canvas.cell(9, 9, "█", Role::Crit);
        canvas.put_right(u16::MAX, 1, u16::MAX, "x", Role::Text);
        canvas.restyle(0, 7, 9, Role::Crit);
        assert_eq!(buffer, before);
    }

    #[test]
    fn in_ascii_no_cell_holds_anything_else() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 30, 2));
        let theme = Theme {
            ascii: true,
            ..Theme::default()
        };
        let mut canvas = Canvas::new(&mut buffer, theme);
        canvas.put(0, 0, 12, "■ CRIT – é … \u{1b}[2J and more", Role::Crit);
        canvas.fill(0, 1, 30, "█", Role::Text);
        assert!(buffer.content().iter().all(|cell| cell.symbol().is_ascii()));
    }
}
