//! Roles, and what each looks like; the glyphs, and their plain forms.
//!
//! Healthy things have no colour. Three hues remain: warn, crit and accent, from the fixed part of the 256-colour
//! cube, which tmux, SSH and themes leave alone. They stay apart for every common colour blindness, and no meaning
//! rests on them: each state also has its word and its shape.

use ratatui::style::{Color, Modifier, Style};

/// What a piece of text is, from which its look follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Ordinary text, and everything that is well.
    Text,
    /// What matters at first glance.
    Strong,
    /// Labels, rules and what recedes.
    Muted,
    /// Worth a look.
    Warn,
    /// Failing.
    Crit,
    /// Focus, letters on the rail, "this one".
    Accent,
    /// The verdict's word when worth a look.
    WarnBadge,
    /// The verdict's word when failing.
    CritBadge,
    /// The cursor in a line being typed.
    Cursor,
}

/// Which set of colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Palette {
    /// For a dark background.
    #[default]
    Dark,
    /// For a light background.
    Light,
    /// No colour at all: weight, underline and reverse only.
    Plain,
}

/// How everything looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Theme {
    /// Its colours.
    pub palette: Palette,
    /// Whether every cell is held to ASCII.
    pub ascii: bool,
}

impl Theme {
    /// How `role` looks.
    #[expect(clippy::match_same_arms, reason = "a table, in the order of the roles")]
    pub fn style(self, role: Role) -> Style {
        let plain = Style::new();
        match (role, self.palette.hues()) {
            (Role::Text, _) => plain,
            (Role::Strong, _) => plain.add_modifier(Modifier::BOLD),
            // Dim is an attribute: index 8 is the background in some common themes.
            (Role::Muted, Some(_)) => plain.add_modifier(Modifier::DIM),
            (Role::Muted, None) => plain,
            (Role::Warn, Some(hues)) => plain.fg(Color::Indexed(hues.warn)),
            (Role::Warn, None) => plain.add_modifier(Modifier::BOLD),
            (Role::Crit, Some(hues)) => plain
                .fg(Color::Indexed(hues.crit))
                .add_modifier(Modifier::BOLD),
            (Role::Crit | Role::CritBadge, None) => {
                plain.add_modifier(Modifier::BOLD.union(Modifier::REVERSED))
            }
            (Role::Accent, Some(hues)) => plain.fg(Color::Indexed(hues.accent)),
            (Role::Accent, None) => plain.add_modifier(Modifier::UNDERLINED),
            (Role::WarnBadge, Some(_)) => badge(BADGE_WARN),
            (Role::WarnBadge, None) => plain.add_modifier(Modifier::BOLD),
            (Role::CritBadge, Some(_)) => badge(BADGE_CRIT),
            (Role::Cursor, _) => plain.add_modifier(Modifier::REVERSED),
        }
    }
}

impl Palette {
    const fn hues(self) -> Option<Hues> {
        match self {
            Self::Dark => Some(Hues {
                warn: 220,
                crit: 203,
                accent: 75,
            }),
            Self::Light => Some(Hues {
                warn: 130,
                crit: 88,
                accent: 25,
            }),
            Self::Plain => None,
        }
    }

    /// The other coloured one; no colour stays none.
    #[must_use]
    pub const fn toggled(self) -> Self {
        match self {
            Self::Dark => Self::Light,
            Self::Light => Self::Dark,
            Self::Plain => Self::Plain,
        }
    }
}

/// Indices of the xterm 256-colour cube.
struct Hues {
    warn: u8,
    crit: u8,
    accent: u8,
}

// A badge sets both colours, so that it reads on any background.
const BADGE_INK: u8 = 16;
const BADGE_WARN: u8 = 220;
const BADGE_CRIT: u8 = 203;

fn badge(background: u8) -> Style {
    Style::new()
        .fg(Color::Indexed(BADGE_INK))
        .bg(Color::Indexed(background))
        .add_modifier(Modifier::BOLD)
}

/// What stands for `glyph` where only ASCII may be shown: as wide as it, but for the few that need two.
#[expect(
    clippy::match_same_arms,
    reason = "a table, in the order of the glyphs"
)]
pub(crate) const fn ascii(glyph: char) -> &'static str {
    match glyph {
        '─' | '–' => "-",
        '│' | '┃' | '▏' => "|",
        '┬' | '┴' | '┼' => "+",
        '▸' | '›' | '→' => ">",
        '▾' => "v",
        '◂' => "<",
        '×' => "x",
        '≥' => ">",
        '░' => ".",
        '▒' => ":",
        '▓' => "%",
        '▁' => "_",
        '▂' => ",",
        '▃' => "-",
        '▄' => "=",
        '▅' => "+",
        '▆' => "*",
        '▇' => "%",
        '█' => "#",
        '·' => ".",
        '…' => "~",
        'µ' => "u",
        '‖' => "|",
        '↑' => "^",
        '↓' => "v",
        '←' => "<",
        '⇧' => "S-",
        '␛' => "^[",
        // Shapes only repeat a word.
        '●' | '■' | '▲' | '▼' | '○' | '◌' | '◐' | '✕' => " ",
        _ => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The colour of an index of the cube, as xterm and everyone after it has it.
    fn rgb(index: u8) -> [f64; 3] {
        let index = index - 16;
        let level = |step: u8| {
            if step == 0 {
                0.0
            } else {
                f64::from(55 + 40 * step)
            }
        };
        [level(index / 36), level(index / 6 % 6), level(index % 6)]
    }

    /// Relative luminance (WCAG 2.2).
    fn luminance(rgb: [f64; 3]) -> f64 {
        let [r, g, b] = rgb.map(|channel| {
            let channel = channel / 255.0;
            if channel <= 0.04045 {
                channel / 12.92
            } else {
                ((channel + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn every_hue_can_be_read_on_its_background() {
        let dark = [30.0, 30.0, 46.0];
        let light = [253.0, 246.0, 227.0];
        for (palette, background) in [(Palette::Dark, dark), (Palette::Light, light)] {
            let hues = palette.hues().unwrap();
            for hue in [hues.warn, hues.crit, hues.accent] {
                let contrast = contrast(rgb(hue), background);
                assert!(contrast > 4.3, "{palette:?} {hue}: {contrast:.1}");
            }
        }
        for badge in [BADGE_WARN, BADGE_CRIT] {
            assert!(contrast(rgb(BADGE_INK), rgb(badge)) > 7.0);
        }
    }

    #[test]
    fn without_colour_nothing_has_one() {
        let theme = Theme {
            palette: Palette::Plain,
            ascii: false,
        };
        for role in [
            Role::Text,
            Role::Strong,
            Role::Muted,
            Role::Warn,
            Role::Crit,
            Role::Accent,
            Role::WarnBadge,
            Role::CritBadge,
            Role::Cursor,
        ] {
            let style = theme.style(role);
            assert_eq!((style.fg, style.bg), (None, None), "{role:?}");
        }
    }
}
