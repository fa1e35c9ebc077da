//! A screen as a picture: SVG of its cells, for a bundle of evidence and for documents.

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::theme::Palette;

/// A cell, in pixels.
const WIDTH: f64 = 8.4;
const HEIGHT: f64 = 18.0;
/// Around the screen.
const MARGIN: f64 = 10.0;
/// From a row's top to the line that its letters stand on.
const BASELINE: f64 = 13.5;

/// The screen in `buffer` as an SVG document. Its text stays text, so that it can be searched and read aloud.
pub fn svg(buffer: &Buffer, palette: Palette) -> String {
    let (paper, ink) = match palette {
        Palette::Dark => ("#1e1e2e", "#e6e6e6"),
        Palette::Light => ("#fdf6e3", "#222222"),
        Palette::Plain => ("#ffffff", "#000000"),
    };
    let area = buffer.area;
    let width = f64::from(area.width) * WIDTH + 2.0 * MARGIN;
    let height = f64::from(area.height) * HEIGHT + 2.0 * MARGIN;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"14\" fill=\"{ink}\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"{paper}\"/>\n"
    );
    for y in area.y..area.bottom() {
        let mut x = area.x;
        while x < area.right() {
            let run = run(buffer, x, y);
            draw(&mut text, &run, (x - area.x, y - area.y), (paper, ink));
            x += run.columns.max(1);
        }
    }
    text.push_str("</svg>\n");
    text
}

/// Neighbouring cells that look alike.
struct Run<'b> {
    first: Option<&'b Cell>,
    text: String,
    columns: u16,
}

fn run(buffer: &Buffer, x: u16, y: u16) -> Run<'_> {
    let first = buffer.cell((x, y));
    let look = |cell: &Cell| (cell.fg, cell.bg, cell.modifier);
    let mut run = Run {
        first,
        text: String::new(),
        columns: 0,
    };
    for column in x..buffer.area.right() {
        match (buffer.cell((column, y)), first) {
            (Some(cell), Some(first)) if look(cell) == look(first) => {
                run.text.push_str(cell.symbol());
                run.columns += 1;
            }
            _ => break,
        }
    }
    run
}

fn draw(svg: &mut String, run: &Run<'_>, (x, y): (u16, u16), (paper, ink): (&str, &str)) {
    let Some(cell) = run.first else {
        return;
    };
    let reversed = cell.modifier.contains(Modifier::REVERSED);
    let front = colour(cell.fg).unwrap_or_else(|| ink.to_owned());
    let back = colour(cell.bg);
    let (front, back) = if reversed {
        (back.unwrap_or_else(|| paper.to_owned()), Some(front))
    } else {
        (front, back)
    };
    let (left, top) = (
        MARGIN + f64::from(x) * WIDTH,
        MARGIN + f64::from(y) * HEIGHT,
    );
    let wide = f64::from(run.columns) * WIDTH;
    if let Some(back) = back {
        put(
            svg,
            format_args!(
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{HEIGHT}\" fill=\"{back}\"/>\n"
            ),
        );
    }
    if run.text.trim().is_empty() {
        return;
    }
    let mut look = String::new();
    if cell.fg != Color::Reset || reversed {
        put(&mut look, format_args!(" fill=\"{front}\""));
    }
    for (modifier, attribute) in [
        (Modifier::BOLD, " font-weight=\"bold\""),
        (Modifier::DIM, " opacity=\"0.65\""),
        (Modifier::UNDERLINED, " text-decoration=\"underline\""),
    ] {
        if cell.modifier.contains(modifier) {
            look.push_str(attribute);
        }
    }
    let baseline = top + BASELINE;
    put(
        svg,
        format_args!(
            "<text x=\"{left:.1}\" y=\"{baseline:.1}\" textLength=\"{wide:.1}\" xml:space=\"preserve\"{look}>{}</text>\n",
            escaped(&run.text)
        ),
    );
}

/// A colour of the 6x6x6 cube, which is all that our palettes take; `None`: the default.
fn colour(colour: Color) -> Option<String> {
    let Color::Indexed(index) = colour else {
        return None;
    };
    let place = index.checked_sub(16).filter(|place| *place < 216)?;
    let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
    let (red, green, blue) = (place / 36, place / 6 % 6, place % 6);
    Some(format!(
        "#{:02x}{:02x}{:02x}",
        level(red),
        level(green),
        level(blue)
    ))
}

/// Text as XML has it. The screen holds no control characters.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            _ => safe.push(c),
        }
    }
    safe
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a String takes all");
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    #[test]
    fn a_screen_becomes_runs_of_text_in_its_colours_and_no_markup_of_others() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 2));
        let badge = Style::new()
            .fg(Color::Indexed(16))
            .bg(Color::Indexed(203))
            .add_modifier(Modifier::BOLD);
        buffer.set_string(0, 0, "CRIT", badge);
        buffer.set_string(5, 0, "<b>&", Style::new());
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        buffer.set_string(0, 1, "x", reversed);
        let svg = svg(&buffer, Palette::Dark);
        assert!(svg.starts_with("<svg xmlns"), "{svg}");
        assert!(svg.contains("fill=\"#ff5f5f\"/>"), "{svg}");
        assert!(svg.contains("fill=\"#000000\" font-weight=\"bold\">CRIT</text>"));
        assert!(svg.contains("&lt;b&gt;&amp;"));
        assert!(!svg.contains("<b>"));
        assert!(svg.contains("fill=\"#1e1e2e\">x</text>"), "{svg}");
    }
}
