//! The cursor of a list of things that have ids: it follows its thing, and stays where it was when that is gone.

/// Where the cursor of one list is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// The id under the cursor; `None` is whichever comes first.
    selected: Option<String>,
    /// The cursor's row, for when its thing disappears.
    hint: usize,
    /// The first row on the screen.
    pub(crate) offset: usize,
}

impl Place {
    /// The cursor's row among `ids`.
    pub(crate) fn cursor(&self, ids: &[String]) -> usize {
        let Some(selected) = &self.selected else {
            return 0;
        };
        let last = ids.len().saturating_sub(1);
        let found = ids.iter().position(|id| id == selected);
        found.unwrap_or(self.hint.min(last))
    }

    /// Moves the cursor by `by` rows. At the very top it belongs to the place, not to the thing: the most urgent stays
    /// under it.
    pub(crate) fn step(&mut self, ids: &[String], by: isize) {
        let Some(last) = ids.len().checked_sub(1) else {
            return;
        };
        let row = self.cursor(ids).saturating_add_signed(by).min(last);
        self.hint = row;
        self.selected = (by != isize::MIN).then(|| ids[row].clone());
    }

    /// Puts the cursor on `id`.
    pub(crate) fn select(&mut self, id: String) {
        self.selected = Some(id);
    }

    /// Keeps the cursor on a screen of `rows` rows.
    pub(crate) fn keep_in_view(&mut self, ids: &[String], rows: usize) {
        let cursor = self.cursor(ids);
        let rows = rows.max(1);
        self.hint = cursor;
        self.offset = self
            .offset
            .clamp((cursor + 1).saturating_sub(rows), cursor)
            .min(ids.len().saturating_sub(rows));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &str) -> Vec<String> {
        names.chars().map(String::from).collect()
    }

    #[test]
    fn the_cursor_follows_its_thing_and_stays_where_it_was_when_that_is_gone() {
        let mut place = Place::default();
        let abc = ids("abc");
        assert_eq!(place.cursor(&abc), 0);
        place.step(&abc, 1);
        assert_eq!(place.cursor(&abc), 1);
        assert_eq!(place.cursor(&ids("bca")), 0, "it moved with b");
        place.keep_in_view(&abc, 2);
        assert_eq!(place.cursor(&ids("xyz")), 1, "b is gone");
        assert_eq!(place.cursor(&ids("x")), 0);
        assert_eq!(place.cursor(&[]), 0);
        place.step(&abc, isize::MIN);
        assert_eq!(
            place.cursor(&ids("cab")),
            0,
            "at the top it stays at the top"
        );
    }

    #[test]
    fn the_cursor_stays_on_the_screen() {
        let (mut place, many) = (Place::default(), ids("abcdefghij"));
        place.step(&many, 7);
        place.keep_in_view(&many, 3);
        assert_eq!(place.offset, 5);
        place.step(&many, -1);
        place.keep_in_view(&many, 3);
        assert_eq!(place.offset, 5, "it moves no more than it must");
        place.keep_in_view(&many, 30);
        assert_eq!(place.offset, 0);
    }
}
