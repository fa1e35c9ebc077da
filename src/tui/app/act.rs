//! What each key does to the model.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::command::{self, Order};
use super::super::evidence::Bundle;
use super::super::filter::Filter;
use super::super::fmt;
use super::super::keys::{self, Action, Context, Key};
use super::super::list::Reorder;
use super::super::mask;
use super::super::screens::{self, reading};
use super::super::tab::Tab;
use super::Past;
use super::{Effect, Line, Matter, Model, Page, Reading, Screen};
use crate::model::Timestamp;
use crate::slo::alert::AlertState;
use crate::slo::policy::Severity;
use crate::snapshot::Snapshot;
use crate::triage::{Topic, Verdict};

/// Nobody types more by hand.
const LONGEST_FILTER: usize = 200;
/// The history is by the minute.
const MINUTE_S: u64 = 60;
/// Commands that are remembered.
const GIVEN: usize = 50;
/// Ways back that are remembered.
const TRAIL: usize = 16;

impl Model {
    pub(super) fn key(&mut self, key: Key) -> Vec<Effect> {
        self.list.touched_at = Some(self.now);
        let context = self.context();
        let Some(action) = keys::action(context, key) else {
            if let Key::Char(c) = key {
                self.type_in(context, c);
            }
            return Vec::new();
        };
        self.act(context, action)
    }

    fn act(&mut self, context: Context, action: Action) -> Vec<Effect> {
        match action {
            Action::Accept if context == Context::Command => return self.give(),
            Action::Cancel if context == Context::Command => self.line = None,
            Action::Erase if context == Context::Command => self.erase(),
            Action::EraseAll if context == Context::Command => self.line = Some(Line::default()),
            Action::Command => self.line = Some(Line::default()),
            Action::Complete => self.complete(),
            Action::EarlierCommand => self.recall(1),
            Action::LaterCommand => self.recall(-1),
            Action::Copy => return self.copy().into_iter().collect(),
            Action::Evidence => return self.evidence().into_iter().collect(),
            Action::Mask => self.unmasked = !self.unmasked,
            Action::Accept => self.list.typing = false,
            Action::Cancel => {
                self.list.typing = false;
                self.list.typed.clear();
                self.refilter();
            }
            Action::Erase => {
                if self.list.typed.pop().is_none() {
                    self.list.typing = false;
                }
                self.refilter();
            }
            Action::EraseAll => {
                self.list.typed.clear();
                self.refilter();
            }
            Action::Filter => self.list.typing = true,
            Action::Quit if matches!(context, Context::Filter | Context::Command) => {
                return vec![Effect::Quit];
            }
            Action::Quit if self.reading.is_none() && self.is_home() => return vec![Effect::Quit],
            Action::Back | Action::Quit => self.back(),
            Action::Help => self.read(Page::Help),
            Action::Explain => self.explain(None),
            Action::Runbook => {
                let matter = self.matter();
                self.read(Page::Runbook(matter));
            }
            Action::Open => self.open(),
            Action::Show(tab) => self.show(tab),
            Action::Hold => self.hold(),
            Action::Earlier => self.look_back_by(-1),
            Action::Later => self.look_back_by(1),
            Action::ToEvent => self.look_at_event(),
            Action::Live => self.live(),
            Action::Sort => {
                self.list.sort = self.list.sort.next();
                self.list.reversed = false;
                self.refresh(Reorder::Now);
            }
            Action::Reverse => {
                self.list.reversed = !self.list.reversed;
                self.refresh(Reorder::Now);
            }
            Action::EarlierEvent => self.step_event(1),
            Action::LaterEvent => self.step_event(-1),
            Action::PreviousIncident => {
                self.incident = self.incident.saturating_sub(1);
                self.event = None;
            }
            Action::NextIncident => {
                let count = self
                    .shown()
                    .map_or(1, |shown| 1 + shown.other_verdicts.len());
                self.incident = (self.incident + 1).min(count - 1);
                self.event = None;
            }
            Action::NextPane => self.pane = self.pane.next(),
            Action::PreviousPane => self.pane = self.pane.previous(),
            Action::Theme => self.theme.palette = self.theme.palette.toggled(),
            Action::Up => self.step(-1),
            Action::Down => self.step(1),
            Action::PageUp => self.step(-self.page()),
            Action::PageDown => self.step(self.page()),
            Action::Top => self.step(isize::MIN),
            Action::Bottom => self.step(isize::MAX),
            Action::Redraw => return vec![Effect::Redraw],
            Action::Retry => return vec![Effect::Retry],
            Action::Suspend => return vec![Effect::Suspend],
        }
        Vec::new()
    }

    /// A character that is no key of the context.
    fn type_in(&mut self, context: Context, c: char) {
        match (context, &mut self.line) {
            (Context::Filter, _) if self.list.typed.chars().count() < LONGEST_FILTER => {
                self.list.typed.push(c);
                self.refilter();
            }
            (Context::Command, Some(line)) if line.typed.chars().count() < LONGEST_FILTER => {
                line.typed.push(c);
                line.problem = None;
            }
            _ => {}
        }
    }

    fn erase(&mut self) {
        if let Some(line) = &mut self.line {
            line.problem = None;
            if line.typed.pop().is_none() {
                self.line = None;
            }
        }
    }

    fn complete(&mut self) {
        let shown = self.shown().cloned();
        if let Some(line) = &mut self.line {
            line.typed = command::completed(&line.typed, shown.as_deref());
            line.problem = None;
        }
    }

    /// Takes a command up again that was given `by` before the one that is there.
    fn recall(&mut self, by: isize) {
        let Some(line) = &mut self.line else {
            return;
        };
        line.back = line.back.saturating_add_signed(by).min(self.given.len());
        let place = self.given.len() - line.back;
        line.typed = self.given.get(place).cloned().unwrap_or_default();
        line.problem = None;
    }

    /// Does what was typed, or says what is wrong with it.
    fn give(&mut self) -> Vec<Effect> {
        let Some(line) = self.line.take() else {
            return Vec::new();
        };
        let typed = line.typed.trim().to_owned();
        if typed.is_empty() {
            return Vec::new();
        }
        match command::parse(&typed, self.shown().map(|shown| &**shown)) {
            Ok(order) => {
                self.given.retain(|before| *before != typed);
                self.given.push(typed);
                if self.given.len() > GIVEN {
                    self.given.remove(0);
                }
                self.obey(order)
            }
            Err(problem) => {
                self.line = Some(Line {
                    problem: Some(problem),
                    ..line
                });
                Vec::new()
            }
        }
    }

    fn obey(&mut self, order: Order) -> Vec<Effect> {
        match order {
            Order::Show(tab) => self.show(tab),
            Order::Route(id) => {
                self.reading = None;
                self.open_route(Some(id));
            }
            Order::Upstream(name) => {
                self.reading = None;
                self.places[Tab::Upstreams.index()].select(name);
                self.go(Screen::Tab(Tab::Upstreams));
            }
            Order::Filter(text) => {
                self.list.typed = text;
                self.refilter();
                if !matches!(self.screen, Screen::Tab(Tab::Triage | Tab::Routes)) {
                    self.show(Tab::Routes);
                }
            }
            Order::Sort(sort) => {
                self.list.sort = sort;
                self.list.reversed = false;
                self.refresh(Reorder::Now);
            }
            Order::Hold => self.hold(),
            Order::At(time) => {
                if let Some(problem) = self.look_at_time(&time) {
                    self.notice = Some((problem, self.now));
                }
            }
            Order::Live => self.live(),
            Order::Explain(route) => self.explain(route),
            Order::Runbook => {
                let matter = self.matter();
                self.read(Page::Runbook(matter));
            }
            Order::Copy => return self.copy().into_iter().collect(),
            Order::Evidence => return self.evidence().into_iter().collect(),
            Order::Mask => self.unmasked = !self.unmasked,
            Order::Theme => self.theme.palette = self.theme.palette.toggled(),
            Order::Help => self.read(Page::Help),
            Order::Quit => return vec![Effect::Quit],
        }
        Vec::new()
    }

    /// What is shown, to be kept.
    fn evidence(&mut self) -> Option<Effect> {
        let bundle = Bundle::of(self);
        if bundle.is_none() {
            let told = "there is nothing to keep yet".to_owned();
            self.notice = Some((told, self.now));
        }
        bundle.map(|bundle| Effect::Keep(Box::new(bundle)))
    }

    /// What is under the cursor, as it is shown, and harmless wherever it is put in.
    fn copy(&mut self) -> Option<Effect> {
        let shown = self.shown().cloned()?;
        let text = match (&self.screen, self.tab()) {
            (Screen::Route(id), _) => id.clone(),
            (_, Tab::Triage) => self.verdict(&shown).0.text.clone(),
            (_, Tab::Routes) => self.selected()?.to_owned(),
            (_, Tab::Changes) => {
                let event = &shown.events[self.event_index(&shown)?];
                format!("{} {} {}", event.at, event.kind.as_str(), event.text)
            }
            (_, Tab::Upstreams) => {
                let id = self.selected_in(Tab::Upstreams)?;
                screens::upstreams::endpoint_of(&id).to_owned()
            }
            (_, tab) => self.selected_in(tab)?,
        };
        let text = match mask::masked(&text) {
            Cow::Owned(hidden) if !self.unmasked => hidden,
            Cow::Owned(_) | Cow::Borrowed(_) => text,
        };
        // What others wrote must not become a command where it is pasted.
        let text = fmt::visible(&text).into_owned();
        let told = format!("sent to the terminal's clipboard: {text}");
        self.notice = Some((told, self.now));
        Some(Effect::Copy(text))
    }

    /// Whether there is nowhere to go back to.
    fn is_home(&self) -> bool {
        self.screen == Screen::Tab(Tab::Triage) && self.trail.is_empty()
    }

    /// Shows a screen as if from the start: the way back leads to triage.
    pub(super) fn show(&mut self, tab: Tab) {
        self.reading = None;
        self.trail.clear();
        self.screen = Screen::Tab(tab);
    }

    /// Goes on to another screen, from which there is a way back.
    fn go(&mut self, screen: Screen) {
        if self.trail.len() >= TRAIL {
            self.trail.remove(0);
        }
        self.trail.push(std::mem::replace(&mut self.screen, screen));
    }

    fn back(&mut self) {
        if self.reading.take().is_some() {
            return;
        }
        let lists_routes = matches!(self.screen, Screen::Tab(Tab::Triage | Tab::Routes));
        if let Some(before) = self.trail.pop() {
            self.screen = before;
        } else if lists_routes && !self.list.typed.is_empty() {
            self.list.typed.clear();
            self.refilter();
        } else {
            self.screen = Screen::Tab(Tab::Triage);
        }
    }

    /// Opens a text, or closes it when it is open.
    fn read(&mut self, what: Page) {
        let is_open = self
            .reading
            .as_ref()
            .is_some_and(|reading| reading.what == what);
        self.reading = (!is_open).then_some(Reading { what, line: 0 });
    }

    /// Says in what the bad requests of `route` differ, or of what is looked at.
    fn explain(&mut self, route: Option<String>) {
        if let Some(route) = route.or_else(|| self.looked_at()) {
            self.read(Page::Explain(route));
        } else {
            let told = "nothing is wrong; open a route to have it explained";
            self.notice = Some((told.to_owned(), self.now));
        }
    }

    /// The route that is looked at: the one on the screen or under the cursor, else the worst of the incident shown.
    pub(in crate::tui) fn looked_at(&self) -> Option<String> {
        let shown = self.shown()?;
        let known = |id: &String| shown.routes.iter().any(|route| route.id == *id);
        let worst = || self.verdict(shown).0.route.clone();
        let under_cursor = match &self.screen {
            Screen::Route(id) => Some(id.clone()),
            // An untouched cursor means the incident, not the first of the list.
            Screen::Tab(Tab::Triage) if self.list.selected.is_none() => worst(),
            Screen::Tab(Tab::Triage | Tab::Routes) => self.selected().map(str::to_owned),
            Screen::Tab(tab) => self.route_under_cursor(*tab, shown),
        };
        under_cursor.filter(known).or_else(worst).filter(known)
    }

    /// The route that the row under the cursor is about.
    fn route_under_cursor(&self, tab: Tab, shown: &Snapshot) -> Option<String> {
        let id = self.selected_in(tab)?;
        let slo = |id: &str| shown.slos.iter().find(|slo| slo.id == id);
        match tab {
            Tab::Slos => slo(&id).and_then(|slo| shown.spender(slo)),
            Tab::Alerts => {
                let alert = shown.alerts.iter().find(|alert| alert.id == id)?;
                match slo(&alert.slo) {
                    Some(slo) => shown.spender(slo),
                    None => Some(alert.route.clone()),
                }
            }
            Tab::Probes => {
                let probe = shown.probes.iter().find(|probe| probe.name == id)?;
                probe.route.clone()
            }
            Tab::Triage | Tab::Routes | Tab::Upstreams | Tab::Certs | Tab::Changes | Tab::Exec => {
                None
            }
        }
    }

    /// What is looked at, from which its runbook follows.
    fn matter(&self) -> Matter {
        let Some(shown) = self.shown() else {
            return Matter::Verdict(Topic::Burn, Severity::Page);
        };
        if self.screen == Screen::Tab(Tab::Alerts)
            && let Some(id) = self.selected_in(Tab::Alerts)
            && let Some(alert) = shown.alerts.iter().find(|alert| alert.id == id)
        {
            return Matter::Alert(alert.kind, alert.severity);
        }
        let (verdict, ..) = self.verdict(shown);
        let topic = match self.screen {
            Screen::Tab(Tab::Certs) => Topic::Certificate,
            Screen::Tab(Tab::Probes) => Topic::Outside,
            _ => verdict.topic,
        };
        Matter::Verdict(topic, Self::loudness(shown, verdict))
    }

    /// Whether someone is to be woken for a verdict.
    fn loudness(shown: &Snapshot, verdict: &Verdict) -> Severity {
        let about = |slo: &String| verdict.slo.as_ref().is_none_or(|wanted| wanted == slo);
        let alerts = shown
            .alerts
            .iter()
            .filter(|alert| alert.state != AlertState::Resolved && about(&alert.slo));
        let mut severities = alerts.map(|alert| alert.severity);
        // A ticket's page is for when nothing louder is wrong.
        if severities.clone().count() > 0 && severities.all(|it| it == Severity::Ticket) {
            return Severity::Ticket;
        }
        Severity::Page
    }

    /// The id under the cursor of a list other than that of routes.
    pub(in crate::tui) fn selected_in(&self, tab: Tab) -> Option<String> {
        let shown = self.shown()?;
        let mut ids = screens::ids(self, shown, tab);
        let cursor = self.places[tab.index()].cursor(&ids);
        (cursor < ids.len()).then(|| ids.swap_remove(cursor))
    }

    fn open(&mut self) {
        let Some(shown) = self.shown().cloned() else {
            return;
        };
        let tab = self.tab();
        match tab {
            Tab::Triage | Tab::Routes => {
                let route = self.selected().map(str::to_owned);
                return self.open_route(route);
            }
            Tab::Changes => return self.open_event(),
            Tab::Slos | Tab::Upstreams | Tab::Probes | Tab::Certs | Tab::Alerts | Tab::Exec => {}
        }
        if tab == Tab::Upstreams {
            return self.fold();
        }
        let route = self.route_under_cursor(tab, &shown);
        self.open_route(route);
    }

    /// Folds the upstream under the cursor, or unfolds it.
    fn fold(&mut self) {
        let Some(id) = self.selected_in(Tab::Upstreams) else {
            return;
        };
        let upstream = screens::upstreams::upstream_of(&id);
        if !self.turned.remove(upstream) {
            self.turned.insert(upstream.to_owned());
        }
        self.places[Tab::Upstreams.index()].select(upstream.to_owned());
    }

    pub(super) fn open_route(&mut self, route: Option<String>) {
        let Some(id) = route else {
            return;
        };
        let known = self
            .shown()
            .is_some_and(|shown| shown.routes.iter().any(|route| route.id == id));
        if known {
            self.list.selected = Some(id.clone());
            self.go(Screen::Route(id));
        }
    }

    /// Goes to what the event under the cursor is about.
    fn open_event(&mut self) {
        let Some(shown) = self.shown() else {
            return;
        };
        let Some(event) = self.event_index(shown).map(|index| &shown.events[index]) else {
            return;
        };
        let by_slo = |id: &String| {
            let slo = shown.slos.iter().find(|slo| slo.id == *id)?;
            shown.spender(slo)
        };
        let scope = event.scope.clone();
        let route = scope.route.or_else(|| scope.slo.as_ref().and_then(by_slo));
        match (route, scope.upstream) {
            (Some(route), _) => self.open_route(Some(route)),
            (None, Some(upstream)) => {
                let id = match scope.endpoint {
                    Some(endpoint) => screens::upstreams::id_of(&upstream, &endpoint),
                    None => upstream,
                };
                self.places[Tab::Upstreams.index()].select(id);
                self.go(Screen::Tab(Tab::Upstreams));
            }
            (None, None) => {}
        }
    }

    /// Looks back on the end of the minute that holds `at`; the present is not the past.
    fn look_at(&mut self, at: Timestamp) {
        let Some((latest, _)) = &self.latest else {
            return;
        };
        let newest = latest.at.as_secs() / MINUTE_S * MINUTE_S;
        let wanted = at.as_secs() / MINUTE_S * MINUTE_S;
        if wanted > newest {
            return self.live();
        }
        self.held = None;
        let shown = self.past.take().and_then(|past| past.shown);
        self.past = Some(Past {
            at: Timestamp::from_secs(wanted),
            shown,
            problem: None,
            asked: None,
        });
        self.refresh(Reorder::Now);
    }

    /// Looks so many minutes further on or back.
    fn look_back_by(&mut self, minutes: i64) {
        let from = match (&self.past, self.shown()) {
            (Some(past), _) => past.at,
            (None, Some(shown)) => shown.at,
            (None, None) => return,
        };
        let secs = from
            .as_secs()
            .saturating_add_signed(minutes * MINUTE_S as i64);
        self.look_at(Timestamp::from_secs(secs));
    }

    /// Looks at the end of the minute in which the event under the cursor happened.
    fn look_at_event(&mut self) {
        let at = self
            .shown()
            .and_then(|shown| Some(shown.events[self.event_index(shown)?].at));
        if let Some(at) = at {
            self.look_at(at.plus(std::time::Duration::from_secs(MINUTE_S)));
        }
    }

    /// Looks at a time of day, at a span ago, or at a moment in full; says what is wrong with it.
    fn look_at_time(&mut self, text: &str) -> Option<String> {
        let now = self.latest.as_ref().map(|(latest, _)| latest.at)?;
        match command::moment(text, now) {
            Some(at) => {
                self.look_at(at);
                None
            }
            None => Some(format!(
                "`{text}` is no time: 14:02, -30m or 2026-11-23T14:02:00Z"
            )),
        }
    }

    /// Back to what comes in.
    fn live(&mut self) {
        self.past = None;
        self.held = None;
        self.refresh(Reorder::Now);
    }

    fn hold(&mut self) {
        if self.past.is_some() {
            return self.live();
        }
        if self.held.take().is_some() {
            self.refresh(Reorder::Now);
        } else {
            self.held = self
                .latest
                .as_ref()
                .map(|(snapshot, _)| Arc::clone(snapshot));
        }
    }

    /// Moves by `by` rows, or what is read by lines.
    fn step(&mut self, by: isize) {
        let last = reading::last_line(self);
        if let Some(reading) = &mut self.reading {
            let line = isize::from(i16::try_from(reading.line).unwrap_or(i16::MAX));
            let moved = line.saturating_add(by).max(0);
            reading.line = u16::try_from(moved).unwrap_or(u16::MAX).min(last);
            return;
        }
        if matches!(self.screen, Screen::Route(_)) {
            return self.step_route(by);
        }
        match self.tab() {
            Tab::Triage | Tab::Routes => self.step_route(by),
            Tab::Changes => self.step_event(by),
            tab => {
                if let Some(shown) = self.shown().cloned() {
                    let ids = screens::ids(self, &shown, tab);
                    self.places[tab.index()].step(&ids, by);
                }
            }
        }
    }

    fn step_route(&mut self, by: isize) {
        if self.list.rows.is_empty() {
            return;
        }
        let last = self.list.rows.len() - 1;
        let row = self.cursor().saturating_add_signed(by).min(last);
        let id = self
            .shown()
            .and_then(|shown| shown.routes.get(*self.list.rows.get(row)?))
            .map(|route| route.id.clone());
        // At the very top the cursor belongs to the place, not to the route: the worst stays under it.
        self.list.selected = if by == isize::MIN { None } else { id.clone() };
        if let (Screen::Route(shown), Some(id)) = (&mut self.screen, id) {
            *shown = id;
        }
        if self.list.lingers {
            self.refresh(Reorder::WhenDue);
        }
    }

    fn step_event(&mut self, by: isize) {
        let Some(shown) = self.shown() else {
            return;
        };
        let Some(last) = shown.events.len().checked_sub(1) else {
            return;
        };
        let next = match self.event_index(shown) {
            Some(index) => index.saturating_add_signed(by).min(last),
            None => 0,
        };
        self.event = Some(shown.events[next].clone());
    }

    fn page(&self) -> isize {
        let rows = match (&self.reading, self.shown()) {
            (Some(_), _) => reading::page(self.size),
            (None, Some(shown)) => {
                let tab = self.tab();
                let count = screens::ids(self, shown, tab).len();
                screens::rows(self, shown, tab, count)
            }
            (None, None) => 1,
        };
        isize::try_from(rows).unwrap_or(1).max(1)
    }

    fn refilter(&mut self) {
        self.list.filter = Filter::parse(&self.list.typed);
        // The person changed the question: a route that is no answer goes at once.
        let kept = self.list.selected.take();
        self.refresh(Reorder::Now);
        if let (Some(kept), Some(shown)) = (kept, self.shown())
            && self
                .list
                .rows
                .iter()
                .any(|index| shown.routes[*index].id == kept)
        {
            self.list.selected = Some(kept);
        }
    }
}
