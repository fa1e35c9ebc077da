//! What happened, newest first.

use ratatui::layout::Rect;

use super::super::canvas::{Canvas, span};
use super::super::fmt;
use super::super::theme::Role;
use super::super::words;
use crate::snapshot::Snapshot;
use crate::triage::Verdict;

/// Draws the list in `area`, the event under the cursor kept in sight.
pub(crate) fn draw(
    canvas: &mut Canvas<'_>,
    area: Rect,
    snapshot: &Snapshot,
    verdict: &Verdict,
    cursor: Option<usize>,
) {
    if snapshot.events.is_empty() {
        canvas.put(
            area.x + 2,
            area.y,
            area.width,
            "nothing happened yet",
            Role::Muted,
        );
        return;
    }
    let rows = usize::from(area.height);
    let last = snapshot.events.len().saturating_sub(rows);
    let first = cursor
        .map_or(0, |cursor| (cursor + 1).saturating_sub(rows))
        .min(last);
    let listed = snapshot.events.iter().enumerate().skip(first);
    for (y, (index, event)) in (area.y..area.bottom()).zip(listed) {
        let here = cursor == Some(index);
        canvas.put(area.x, y, 1, if here { "▸" } else { " " }, Role::Accent);
        let suspect = verdict
            .suspect
            .as_ref()
            .filter(|suspect| suspect.event == *event);
        let right = suspect.map_or("", |suspect| words::strength(suspect.strength));
        let taken = u16::try_from(right.len()).unwrap_or(0);
        let text = if here { Role::Strong } else { Role::Text };
        let spans = [
            span(
                format!("{:<8}  ", fmt::moment(event.at, snapshot.at)),
                Role::Muted,
            ),
            span(event.kind.letter().to_string(), Role::Accent),
            span(format!(" {:<8} ", event.kind.as_str()), Role::Muted),
            span(event.text.as_str(), text),
        ];
        let gap = if taken > 0 { taken + 2 } else { 1 };
        let room = area.width.saturating_sub(1 + gap);
        canvas.spans(area.x + 1, y, room, &spans);
        if taken > 0 && area.width > taken + 1 {
            canvas.put(area.right() - taken - 1, y, taken, right, Role::Accent);
        }
    }
}
