//! What the terminal UI knows, and how it changes. No terminal, no socket and no clock: time comes with the message.

use std::sync::Arc;
use std::time::Duration;

use ratatui::layout::Size;

use super::conn::{Feed, Link};
use super::filter::Filter;
use super::keys::{self, Action, Context, Key};
use super::list::{List, Reorder};
use super::screens::{help, route::Pane, triage};
use super::theme::Theme;
use crate::clock::Tick;
use crate::model::Event;
use crate::net::address::Address;
use crate::slo::alert::AlertState;
use crate::snapshot::Snapshot;
use crate::triage::Verdict;

/// Everything the screen is a function of.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) address: Address,
    pub(crate) theme: Theme,
    pub(crate) size: Size,
    pub(crate) now: Tick,
    pub(crate) link: Link,
    /// The newest snapshot and when it arrived.
    pub(crate) latest: Option<(Arc<Snapshot>, Tick)>,
    /// The one shown instead, while the display is held.
    pub(crate) held: Option<Arc<Snapshot>>,
    pub(crate) screen: Screen,
    /// The help screen's first line, while it is open.
    pub(crate) help: Option<u16>,
    pub(crate) list: List,
    /// The pane of a route's detail that narrow screens show.
    pub(crate) pane: Pane,
    /// The event under the cursor; `None` is the suspect.
    pub(crate) event: Option<Event>,
    /// Which incident is shown, from the worst.
    pub(crate) incident: usize,
}

/// What is behind the help screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Screen {
    Triage,
    /// A route's detail, by its id.
    Route(String),
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A second went by, or a part of one.
    Clock,
    /// The line to the daemon has news.
    Feed(Feed),
    /// A key was pressed or repeats.
    Key(Key),
    /// The terminal has this size now.
    Resize(Size),
}

/// Something to be done outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Leave.
    Quit,
    /// Forget what is on the screen and paint it anew.
    Redraw,
    /// Try to connect at once.
    Retry,
    /// Stop for the shell.
    Suspend,
}

impl Model {
    /// Before anything is known.
    pub fn new(address: Address, theme: Theme, size: Size, now: Tick) -> Self {
        Self {
            address,
            theme,
            size,
            now,
            link: Link::Connecting,
            latest: None,
            held: None,
            screen: Screen::Triage,
            help: None,
            list: List::default(),
            pane: Pane::default(),
            event: None,
            incident: 0,
        }
    }

    /// How everything looks.
    pub fn theme(&self) -> Theme {
        self.theme
    }

    /// What has the keyboard.
    pub fn context(&self) -> Context {
        if self.list.typing {
            Context::Filter
        } else if self.help.is_some() {
            Context::Help
        } else {
            match self.screen {
                Screen::Triage => Context::Triage,
                Screen::Route(_) => Context::Route,
            }
        }
    }

    /// The id of the route under the cursor; `None` when the list is empty.
    pub fn selected(&self) -> Option<&str> {
        let snapshot = self.shown()?;
        let index = *self.list.rows.get(self.cursor())?;
        snapshot.routes.get(index).map(|route| route.id.as_str())
    }

    /// The snapshot on the screen: the newest, or the held one.
    pub(crate) fn shown(&self) -> Option<&Arc<Snapshot>> {
        self.held
            .as_ref()
            .or_else(|| self.latest.as_ref().map(|(snapshot, _)| snapshot))
    }

    /// How long ago the newest snapshot arrived.
    pub(crate) fn age(&self) -> Option<Duration> {
        let (_, at) = self.latest.as_ref()?;
        Some(Duration::from_micros(self.now.micros_since(*at)))
    }

    /// Whether what is shown as new is old: the line is down, or silent for longer than a snapshot ever takes.
    pub(crate) fn is_stale(&self) -> bool {
        self.latest.is_some()
            && (matches!(self.link, Link::Lost { .. })
                || self.age().is_some_and(|age| age >= STALE_AFTER))
    }

    /// The incident on the screen, its number from 0 and how many there are.
    pub(crate) fn verdict<'s>(&self, snapshot: &'s Snapshot) -> (&'s Verdict, usize, usize) {
        let count = 1 + snapshot.other_verdicts.len();
        let index = self.incident.min(count - 1);
        let verdict = match index.checked_sub(1) {
            None => &snapshot.verdict,
            Some(other) => &snapshot.other_verdicts[other],
        };
        (verdict, index, count)
    }

    /// The place of the event under the cursor among the snapshot's events.
    pub(crate) fn event_index(&self, snapshot: &Snapshot) -> Option<usize> {
        let wanted = match &self.event {
            Some(event) => event,
            None => &self.verdict(snapshot).0.suspect.as_ref()?.event,
        };
        snapshot.events.iter().position(|event| event == wanted)
    }

    /// The cursor's row.
    pub(crate) fn cursor(&self) -> usize {
        let (Some(snapshot), Some(selected)) = (self.shown(), &self.list.selected) else {
            return 0;
        };
        self.list
            .rows
            .iter()
            .position(|index| snapshot.routes[*index].id == *selected)
            .unwrap_or(0)
    }

    /// How many alerts are firing in the newest snapshot that were not when the display was held.
    pub(crate) fn alerts_since_hold(&self) -> usize {
        let (Some(held), Some((latest, _))) = (&self.held, &self.latest) else {
            return 0;
        };
        let firing = |snapshot: &Snapshot, id: &str| {
            snapshot
                .alerts
                .iter()
                .any(|alert| alert.id == id && alert.state == AlertState::Firing)
        };
        latest
            .alerts
            .iter()
            .filter(|alert| alert.state == AlertState::Firing && !firing(held, &alert.id))
            .count()
    }
}

/// Two snapshots may be late before it is worth a word.
const STALE_AFTER: Duration = Duration::from_secs(3);

/// Takes `msg` in, which came at `now`, and says what to do outside.
pub fn update(model: &mut Model, msg: Msg, now: Tick) -> Vec<Effect> {
    model.now = now;
    let effects = match msg {
        Msg::Clock => Vec::new(),
        Msg::Resize(size) => {
            model.size = size;
            vec![Effect::Redraw]
        }
        Msg::Feed(feed) => {
            model.link = feed.link;
            model.latest = feed.snapshot;
            if model.held.is_none() {
                model.refresh(Reorder::WhenDue);
            }
            Vec::new()
        }
        Msg::Key(key) => model.key(key),
    };
    model.keep_in_view();
    effects
}

impl Model {
    fn key(&mut self, key: Key) -> Vec<Effect> {
        self.list.touched_at = Some(self.now);
        let context = self.context();
        let Some(action) = keys::action(context, key) else {
            if let (Context::Filter, Key::Char(c)) = (context, key)
                && self.list.typed.chars().count() < LONGEST_FILTER
            {
                self.list.typed.push(c);
                self.refilter();
            }
            return Vec::new();
        };
        self.act(context, action)
    }

    fn act(&mut self, context: Context, action: Action) -> Vec<Effect> {
        match action {
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
            Action::Quit if context == Context::Filter => return vec![Effect::Quit],
            Action::Quit if self.help.is_none() && self.screen == Screen::Triage => {
                return vec![Effect::Quit];
            }
            Action::Back | Action::Quit => self.back(),
            Action::Help => {
                self.help = match self.help {
                    None => Some(0),
                    Some(_) => None,
                }
            }
            Action::Open => {
                if let Some(id) = self.selected().map(str::to_owned) {
                    self.list.selected = Some(id.clone());
                    self.screen = Screen::Route(id);
                }
            }
            Action::Hold => self.hold(),
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

    fn back(&mut self) {
        if self.help.take().is_some() {
            return;
        }
        match self.screen {
            Screen::Route(_) => self.screen = Screen::Triage,
            Screen::Triage => {
                self.list.typed.clear();
                self.refilter();
            }
        }
    }

    fn hold(&mut self) {
        if self.held.take().is_some() {
            self.refresh(Reorder::Now);
        } else {
            self.held = self
                .latest
                .as_ref()
                .map(|(snapshot, _)| Arc::clone(snapshot));
        }
    }

    /// Moves by `by` rows, or the help by lines.
    fn step(&mut self, by: isize) {
        if let Some(line) = self.help {
            let last = help::last_line(self);
            let moved = isize::from(i16::try_from(line).unwrap_or(i16::MAX)).saturating_add(by);
            self.help = Some(u16::try_from(moved.max(0)).unwrap_or(u16::MAX).min(last));
            return;
        }
        if self.list.rows.is_empty() {
            return;
        }
        let last = self.list.rows.len() - 1;
        let row = self.cursor().saturating_add_signed(by).min(last);
        let id = self
            .shown()
            .map(|shown| shown.routes[self.list.rows[row]].id.clone());
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
        let rows = match self.help {
            Some(_) => help::page(self),
            None => triage::route_rows(self.size),
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

    /// Rebuilds the rows from the shown snapshot.
    fn refresh(&mut self, reorder: Reorder) {
        if let Some(shown) = self.shown().cloned() {
            self.list.refresh(&shown, self.now, reorder);
        }
    }

    fn keep_in_view(&mut self) {
        let cursor = self.cursor();
        let rows = triage::route_rows(self.size).max(1);
        let list = &mut self.list;
        list.cursor_hint = cursor;
        let furthest = list.rows.len().saturating_sub(rows);
        list.offset = list
            .offset
            .clamp((cursor + 1).saturating_sub(rows), cursor)
            .min(furthest);
        if let Some(line) = self.help {
            self.help = Some(line.min(help::last_line(self)));
        }
    }
}

/// Nobody types more by hand.
const LONGEST_FILTER: usize = 200;
