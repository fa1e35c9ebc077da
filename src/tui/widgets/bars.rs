//! Columns of eighths.
//!
//! A value that is not zero is at least an eighth high, so that one failure in a thousand is seen; a measured zero is a
//! dot, and what was not measured stays empty.

use ratatui::layout::Rect;

use super::super::canvas::Canvas;
use super::super::theme::Role;

/// A chart's numbers.
pub(crate) struct Bars<'a> {
    /// The values from the left.
    pub(crate) values: &'a [Option<f64>],
    /// What is full height.
    pub(crate) full: f64,
    /// How they look.
    pub(crate) role: Role,
    /// How many columns each value takes.
    pub(crate) stretch: u16,
    /// From which value on the bars are an alarm, and how they look then.
    pub(crate) alarm: Option<(usize, Role)>,
}

impl Bars<'_> {
    /// Draws the bars from the left edge of `area`, in its whole height.
    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        if area.height == 0 {
            return;
        }
        for (place, value) in self.values.iter().enumerate() {
            let x = place * usize::from(self.stretch);
            let Ok(x) = u16::try_from(x) else {
                return;
            };
            if x >= area.width {
                return;
            }
            let role = match self.alarm {
                Some((from, role)) if place >= from => role,
                _ => self.role,
            };
            let width = self.stretch.min(area.width - x);
            let bottom = area.bottom() - 1;
            match value {
                None => {}
                Some(value) if *value <= 0.0 => {
                    canvas.fill(area.x + x, bottom, width, "·", Role::Muted);
                }
                Some(value) => {
                    let mut left = eighths(*value, self.full, area.height);
                    for row in 0..area.height {
                        let here = left.min(8);
                        if here == 0 {
                            break;
                        }
                        canvas.fill(area.x + x, bottom - row, width, EIGHTHS[here], role);
                        left -= here;
                    }
                }
            }
        }
    }
}

/// The values as one line of text, one column each.
pub(crate) fn spark(values: &[Option<f64>], full: f64) -> String {
    values
        .iter()
        .map(|value| match value {
            None => " ",
            Some(value) if *value <= 0.0 => "·",
            Some(value) => EIGHTHS[eighths(*value, full, 1)],
        })
        .collect()
}

/// The largest of the values, but not less than `floor`.
pub(crate) fn full(values: &[Option<f64>], floor: f64) -> f64 {
    values.iter().flatten().copied().fold(floor, f64::max)
}

const EIGHTHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

fn eighths(value: f64, full: f64, rows: u16) -> usize {
    let most = usize::from(rows) * 8;
    if full <= 0.0 {
        return 1;
    }
    // A float that is too large saturates, and NaN becomes 0.
    ((value / full * most as f64).round() as usize).clamp(1, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_failure_is_seen_and_a_gap_stays_a_gap() {
        let values = [Some(1.0), Some(0.001), Some(0.0), None, Some(0.5)];
        assert_eq!(spark(&values, 1.0), "█▁· ▄");
        assert_eq!(spark(&[Some(f64::NAN), Some(9.0)], 1.0), "▁█");
    }
}
