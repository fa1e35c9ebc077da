//! Tables that drop columns by rank, not by hand-written layouts.

use super::super::canvas::{Canvas, Span, span};
use super::super::theme::Role;

/// A column of rows that are `T`.
pub(crate) struct Column<T: ?Sized> {
    pub(crate) head: &'static str,
    /// Columns of the screen; for the flexible one the least that is worth showing.
    pub(crate) width: u16,
    /// 0 always stays; the highest goes first when space is short.
    pub(crate) rank: u8,
    pub(crate) kind: Kind,
    pub(crate) cell: Cell<T>,
}

/// What is in a column.
pub(crate) enum Cell<T: ?Sized> {
    /// The same at any width.
    Fixed(fn(&T) -> Vec<Span<'static>>),
    /// Plain text, the same at any width.
    Text(fn(&T) -> String),
    /// Made for the width it got.
    Sized(fn(&T, u16) -> Vec<Span<'static>>),
}

/// How a column uses its space.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text, from the left.
    Left,
    /// Numbers, to the right.
    Right,
    /// Takes what is left, up to this much.
    Flexible(u16),
    /// Takes what even the flexible one does not, up to this much.
    Chart(u16),
}

/// Columns that fit: each one's index, start and width.
pub(crate) struct Fit(Vec<(usize, u16, u16)>);

const GAP: u16 = 2;

/// Chooses the columns for `width` and gives each its place.
pub(crate) fn fit<T: ?Sized>(columns: &[Column<T>], width: u16) -> Fit {
    let mut ranks: Vec<u8> = columns.iter().map(|column| column.rank).collect();
    ranks.sort_unstable();
    let needed = |rank: u8| -> u16 {
        columns
            .iter()
            .filter(|column| column.rank <= rank)
            .map(|column| column.width + GAP)
            .sum::<u16>()
            .saturating_sub(GAP)
    };
    let rank = ranks
        .into_iter()
        .filter(|rank| needed(*rank) <= width)
        .max()
        .unwrap_or(0);
    let mut spare = width.saturating_sub(needed(rank));
    let mut widths: Vec<(usize, u16)> = columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.rank <= rank)
        .map(|(index, column)| (index, column.width))
        .collect();
    for wanted in [true, false] {
        for (index, width) in &mut widths {
            let most = match columns[*index].kind {
                Kind::Flexible(most) if wanted => most,
                Kind::Chart(most) if !wanted => most,
                _ => continue,
            };
            let more = most.saturating_sub(*width).min(spare);
            *width += more;
            spare -= more;
        }
    }
    let mut x = 0;
    Fit(widths
        .into_iter()
        .map(|(index, width)| {
            let start = x;
            x += width + GAP;
            (index, start, width)
        })
        .collect())
}

impl Fit {
    /// Draws the heads.
    pub(crate) fn heads<T: ?Sized>(
        &self,
        canvas: &mut Canvas<'_>,
        (x, y): (u16, u16),
        columns: &[Column<T>],
    ) {
        for (index, start, width) in &self.0 {
            let column = &columns[*index];
            if column.kind == Kind::Right {
                canvas.put_right(x + start, y, *width, column.head, Role::Muted);
            } else {
                canvas.put(x + start, y, *width, column.head, Role::Muted);
            }
        }
    }

    /// Draws one row.
    pub(crate) fn row<T: ?Sized>(
        &self,
        canvas: &mut Canvas<'_>,
        (x, y): (u16, u16),
        columns: &[Column<T>],
        row: &T,
    ) {
        for (index, start, width) in &self.0 {
            let column = &columns[*index];
            let cell = match column.cell {
                Cell::Fixed(cell) => cell(row),
                Cell::Text(cell) => vec![span(cell(row), Role::Text)],
                Cell::Sized(cell) => cell(row, *width),
            };
            let shift = if column.kind == Kind::Right {
                width.saturating_sub(canvas.measure(&cell))
            } else {
                0
            };
            canvas.spans(x + start + shift, y, width - shift, &cell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column<()>; 4] = [
        column("NAME", 10, 0, Kind::Flexible(30)),
        column("A", 6, 1, Kind::Right),
        column("B", 6, 2, Kind::Right),
        column("CHART", 5, 3, Kind::Chart(20)),
    ];

    const fn column(head: &'static str, width: u16, rank: u8, kind: Kind) -> Column<()> {
        Column {
            head,
            width,
            rank,
            kind,
            cell: Cell::Fixed(|()| Vec::new()),
        }
    }

    #[test]
    fn the_least_important_column_goes_first_and_space_goes_to_the_name() {
        for (width, places) in [
            (0, vec![(0, 0, 10)]),
            (17, vec![(0, 0, 17)]),
            (18, vec![(0, 0, 10), (1, 12, 6)]),
            (30, vec![(0, 0, 14), (1, 16, 6), (2, 24, 6)]),
            (40, vec![(0, 0, 17), (1, 19, 6), (2, 27, 6), (3, 35, 5)]),
            (90, vec![(0, 0, 30), (1, 32, 6), (2, 40, 6), (3, 48, 20)]),
        ] {
            assert_eq!(fit(&COLUMNS, width).0, places, "{width}");
        }
    }
}
