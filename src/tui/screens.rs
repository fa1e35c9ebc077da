//! The screens, one file each.

mod alerts;
mod certs;
mod changes;
mod exec;
pub(crate) mod explain;
mod frame;
mod help;
mod probes;
pub(crate) mod reading;
pub(crate) mod route;
mod slos;
pub(crate) mod triage;
pub(crate) mod upstreams;

use ratatui::layout::Rect;

use super::app::{Model, Screen};
use super::canvas::{Canvas, span};
use super::page;
use super::tab::Tab;
use super::theme::Role;
use super::widgets::{routes, rule};
use crate::snapshot::Snapshot;

/// Draws the screen that is shown.
pub(crate) fn draw(canvas: &mut Canvas<'_>, model: &Model, snapshot: &Snapshot) {
    let tab = match &model.screen {
        Screen::Route(id) => return route::draw(canvas, model, snapshot, id),
        Screen::Tab(Tab::Triage) => return triage::draw(canvas, model, snapshot),
        Screen::Tab(tab) => *tab,
    };
    let body = frame::draw(canvas, model, snapshot);
    if body.height == 0 {
        return;
    }
    if snapshot.stored && !is_stored(tab) {
        let title = [span(tab.title(), Role::Strong)];
        rule::draw(canvas, (body.x, body.y), body.width, &title, &[]);
        let room = body.width.saturating_sub(3);
        for (y, line) in
            (body.y + 1..body.bottom()).zip(page::wrapped(NOT_STORED, usize::from(room)))
        {
            canvas.put(body.x + 2, y, room, &line, Role::Text);
        }
        return;
    }
    match tab {
        Tab::Routes => routes::draw(canvas, body, model, snapshot),
        Tab::Slos => slos::draw(canvas, body, model, snapshot),
        Tab::Upstreams => upstreams::draw(canvas, body, model, snapshot),
        Tab::Probes => probes::draw(canvas, body, model, snapshot),
        Tab::Certs => certs::draw(canvas, body, model, snapshot),
        Tab::Changes => changes::draw(canvas, body, model, snapshot),
        Tab::Alerts => alerts::draw(canvas, body, model, snapshot),
        Tab::Exec => exec::draw(canvas, body, snapshot),
        // It has its own frame.
        Tab::Triage => {}
    }
}

/// Whether the history holds what a screen shows.
const fn is_stored(tab: Tab) -> bool {
    match tab {
        Tab::Triage | Tab::Routes | Tab::Slos | Tab::Changes | Tab::Alerts | Tab::Exec => true,
        Tab::Upstreams | Tab::Probes | Tab::Certs => false,
    }
}

const NOT_STORED: &str = "The history does not hold this: it has the counts and durations of routes and SLOs by the \
                          minute, and events. L goes back to live.";

/// The ids of a screen's rows in their order; empty where rows are no things with ids.
pub(crate) fn ids(model: &Model, snapshot: &Snapshot, tab: Tab) -> Vec<String> {
    match tab {
        Tab::Slos => snapshot.slos.iter().map(|slo| slo.id.clone()).collect(),
        Tab::Upstreams => upstreams::ids(model, snapshot),
        Tab::Probes => probes::ids(snapshot),
        Tab::Certs => certs::ids(snapshot),
        Tab::Alerts => alerts::ids(snapshot),
        Tab::Triage | Tab::Routes | Tab::Changes | Tab::Exec => Vec::new(),
    }
}

/// How many of its `count` rows a screen shows at once.
pub(crate) fn rows(model: &Model, snapshot: &Snapshot, tab: Tab, count: usize) -> usize {
    let size = model.size;
    let body = frame::body(size);
    let part = match tab {
        Tab::Triage | Tab::Routes => return route_rows(model),
        Tab::Changes => return changes::rows(size),
        Tab::Exec => return 1,
        Tab::Slos => slos::split(body, count),
        Tab::Upstreams => upstreams::split(body, snapshot, count),
        Tab::Probes => probes::split(body, count),
        Tab::Certs => certs::split(Rect::new(0, 0, size.width, body), count),
        Tab::Alerts => alerts::split(body, count),
    };
    usize::from(part.saturating_sub(LIST_FRAME))
}

/// How many routes the list of routes shows at once.
pub(crate) fn route_rows(model: &Model) -> usize {
    match model.screen {
        Screen::Tab(Tab::Routes) => {
            usize::from(frame::body(model.size).saturating_sub(routes::FRAME))
        }
        Screen::Tab(_) | Screen::Route(_) => triage::route_rows(model.size),
    }
}

/// Rows of a list that are no things: its title and its heads.
const LIST_FRAME: u16 = 2;

/// How many rows of `body` a list of `count` things takes, when what is below wants `below` of them. A list that is
/// short leaves more; nothing is below where there is no space for both.
fn share(body: u16, count: usize, below: u16) -> u16 {
    let wanted = u16::try_from(count)
        .unwrap_or(u16::MAX)
        .max(1)
        .saturating_add(LIST_FRAME);
    if body < below + LIST_FRAME + 3 {
        return body;
    }
    wanted.min(body - below)
}
