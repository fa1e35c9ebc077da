//! The screens and their digits, and on which of them something is wrong.

use ratatui::layout::Rect;

use super::super::app::{Model, Screen};
use super::super::canvas::{Canvas, Span, span};
use super::super::tab::Tab;
use super::super::theme::Role;
use crate::slo::alert::AlertState;
use crate::snapshot::{Snapshot, Standing, Urgency};

/// From this width on titles are written out.
const WIDE: u16 = 100;

/// Draws them in one row.
pub(crate) fn draw(canvas: &mut Canvas<'_>, area: Rect, model: &Model, snapshot: &Snapshot) {
    let wide = area.width >= WIDE;
    let current = match &model.screen {
        Screen::Tab(tab) => *tab,
        Screen::Route(_) => Tab::Routes,
    };
    let mut spans: Vec<Span<'_>> = Vec::with_capacity(2 * Tab::ALL.len());
    for tab in Tab::ALL {
        let (title, gap) = if wide || tab == current {
            (tab.title(), " ")
        } else {
            (tab.short(), "")
        };
        let count = trouble(tab, snapshot);
        let (open, close) = if tab == current {
            ("[", "]")
        } else {
            (" ", " ")
        };
        let role = if tab == current {
            Role::Accent
        } else {
            Role::Muted
        };
        spans.push(span(format!("{open}{}{gap}{title}", tab.digit()), role));
        if count > 0 {
            spans.push(span(format!("·{count}"), Role::Crit));
        }
        spans.push(span(close, role));
        if wide {
            spans.push(span(" ", Role::Muted));
        }
    }
    canvas.spans(area.x, area.y, area.width, &spans);
}

/// How many things on a screen need a person.
fn trouble(tab: Tab, snapshot: &Snapshot) -> usize {
    match tab {
        Tab::Upstreams => {
            let endpoints = snapshot.upstreams.iter().flat_map(|it| &it.endpoints);
            endpoints.filter(|endpoint| !endpoint.healthy).count()
        }
        Tab::Probes => {
            let probes = snapshot.probes.iter();
            probes.filter(|it| it.standing == Standing::Crit).count()
        }
        Tab::Certs => {
            let alerts = snapshot.certificate_alerts.iter();
            alerts.filter(|it| it.urgency >= Urgency::Ticket).count()
        }
        Tab::Alerts => {
            let burns = snapshot.alerts.iter();
            let certificates = snapshot.certificate_alerts.iter();
            burns.filter(|it| it.state == AlertState::Firing).count()
                + certificates
                    .filter(|it| it.urgency >= Urgency::Ticket)
                    .count()
        }
        Tab::Triage | Tab::Routes | Tab::Slos | Tab::Changes | Tab::Exec => 0,
    }
}
