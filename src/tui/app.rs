//! What the terminal UI knows, and how it changes. No terminal, no socket and no clock: time comes with the message.

mod act;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ratatui::layout::Size;

use super::ask::{Answer, Asked, Question};
use super::conn::{Feed, Link};
use super::evidence::Bundle;
use super::keys::{Context, Key};
use super::list::{List, Reorder};
use super::place::Place;
use super::screens::route::Pane;
use super::screens::{self, reading};
use super::tab::Tab;
use super::theme::Theme;
use crate::clock::Tick;
use crate::model::{Event, Timestamp};
use crate::net::address::Address;
use crate::slo::alert::{AlertKind, AlertState};
use crate::slo::policy::Severity;
use crate::snapshot::Snapshot;
use crate::triage::{Topic, Verdict};

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
    /// The moment that is looked back on.
    pub(crate) past: Option<Past>,
    pub(crate) screen: Screen,
    /// The screens that led here, oldest first.
    pub(crate) trail: Vec<Screen>,
    /// What is read in front of the screen.
    pub(crate) reading: Option<Reading>,
    pub(crate) list: List,
    /// The cursors of the lists other than that of routes, by [`Tab::index`].
    pub(crate) places: [Place; Tab::ALL.len()],
    /// Upstreams that are shown otherwise than by themselves: folded though failing, or unfolded though well.
    pub(crate) turned: BTreeSet<String>,
    /// The command being typed.
    pub(crate) line: Option<Line>,
    /// Commands that were given, oldest first.
    pub(crate) given: Vec<String>,
    /// What is said in the last row for a moment, and since when.
    pub(crate) notice: Option<(String, Tick)>,
    /// What was asked of the daemon beside the stream.
    pub(crate) asked: Asked,
    /// The pane of a route's detail that narrow screens show.
    pub(crate) pane: Pane,
    /// The event under the cursor; `None` is the suspect.
    pub(crate) event: Option<Event>,
    /// Which incident is shown, from the worst.
    pub(crate) incident: usize,
    /// Whether the privacy mask is off.
    pub(crate) unmasked: bool,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Screen {
    Tab(Tab),
    /// A route's detail, by its id.
    Route(String),
}

/// A moment that is looked back on.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    /// The end of the minute that is wanted.
    pub(crate) at: Timestamp,
    /// Everything as it was then, or at the moment looked at before while this one is on its way.
    pub(crate) shown: Option<Arc<Snapshot>>,
    /// Why it cannot be had.
    pub(crate) problem: Option<String>,
    /// When it was asked for; `None`: that is still to be done.
    pub(crate) asked: Option<Tick>,
}

/// A command being typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) typed: String,
    /// What was wrong with it when it was given.
    pub(crate) problem: Option<String>,
    /// How far back in what was given it was taken from; 0 is not at all.
    pub(crate) back: usize,
}

/// A text in front of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) what: Page,
    /// The first line shown.
    pub(crate) line: u16,
}

/// What a runbook is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matter {
    /// An alert.
    Alert(AlertKind, Severity),
    /// What a verdict is about.
    Verdict(Topic, Severity),
}

/// Which text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// In what the bad requests of this route differ.
    Explain(String),
    /// The keys.
    Help,
    /// What to do about this.
    Runbook(Matter),
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
    /// The daemon answered, or why it did not.
    Answered(Question, Result<Answer, String>),
    /// Evidence was written to these files, or why it could not.
    Kept(Result<Vec<PathBuf>, String>),
    /// The terminal has this size now.
    Resize(Size),
}

/// Something to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask the daemon.
    Ask(Question),
    /// Let the terminal copy this text.
    Copy(String),
    /// Write this evidence to files.
    Keep(Box<Bundle>),
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
            past: None,
            screen: Screen::Tab(Tab::Triage),
            trail: Vec::new(),
            reading: None,
            list: List::default(),
            places: Default::default(),
            turned: BTreeSet::new(),
            line: None,
            given: Vec::new(),
            notice: None,
            asked: Asked::default(),
            pane: Pane::default(),
            event: None,
            incident: 0,
            unmasked: false,
        }
    }

    /// How everything looks.
    pub fn theme(&self) -> Theme {
        self.theme
    }

    /// What has the keyboard.
    pub fn context(&self) -> Context {
        if self.line.is_some() {
            Context::Command
        } else if self.list.typing {
            Context::Filter
        } else if let Some(reading) = &self.reading {
            match reading.what {
                Page::Explain(_) => Context::Explain,
                Page::Help => Context::Help,
                Page::Runbook(_) => Context::Runbook,
            }
        } else {
            self.behind()
        }
    }

    /// What has the keyboard when nothing is typed or read.
    pub(crate) fn behind(&self) -> Context {
        match self.screen {
            Screen::Tab(Tab::Triage | Tab::Routes) => Context::Triage,
            Screen::Tab(Tab::Slos) => Context::Slos,
            Screen::Tab(Tab::Upstreams) => Context::Upstreams,
            Screen::Tab(Tab::Probes) => Context::Probes,
            Screen::Tab(Tab::Certs) => Context::Certs,
            Screen::Tab(Tab::Changes) => Context::Changes,
            Screen::Tab(Tab::Alerts) => Context::Alerts,
            Screen::Tab(Tab::Exec) => Context::Exec,
            Screen::Route(_) => Context::Route,
        }
    }

    /// The screen that has a digit and is shown, or led to what is.
    pub(crate) fn tab(&self) -> Tab {
        match &self.screen {
            Screen::Tab(tab) => *tab,
            Screen::Route(_) => Tab::Routes,
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
        let past = self.past.as_ref().and_then(|past| past.shown.as_ref());
        past.or(self.held.as_ref())
            .or_else(|| self.latest.as_ref().map(|(snapshot, _)| snapshot))
    }

    /// Whether what is shown does not change with what comes in.
    pub(crate) fn is_frozen(&self) -> bool {
        let looks_back = self.past.as_ref().is_some_and(|past| past.shown.is_some());
        looks_back || self.held.is_some()
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

/// After how many microseconds a moment that could not be had is asked for again.
const AGAIN_US: u64 = 5_000_000;

/// How long a notice stands, in microseconds.
const NOTICE_US: u64 = 4_000_000;

/// Two snapshots may be late before it is worth a word.
const STALE_AFTER: Duration = Duration::from_secs(3);

/// Takes `msg` in, which came at `now`, and says what to do outside.
pub fn update(model: &mut Model, msg: Msg, now: Tick) -> Vec<Effect> {
    model.now = now;
    let over = |(_, since): &(String, Tick)| now.micros_since(*since) >= NOTICE_US;
    if model.notice.as_ref().is_some_and(over) {
        model.notice = None;
    }
    let mut effects = match msg {
        Msg::Clock => Vec::new(),
        Msg::Resize(size) => {
            model.size = size;
            vec![Effect::Redraw]
        }
        Msg::Feed(feed) => {
            model.link = feed.link;
            model.latest = feed.snapshot;
            if !model.is_frozen() {
                model.refresh(Reorder::WhenDue);
            }
            Vec::new()
        }
        Msg::Key(key) => model.key(key),
        Msg::Kept(kept) => {
            let told = match kept {
                Ok(files) => files
                    .first()
                    .map(|file| format!("evidence: {}, .json, .svg", file.display()))
                    .unwrap_or_default(),
                Err(why) => format!("evidence could not be written: {why}"),
            };
            model.notice = Some((told, now));
            Vec::new()
        }
        Msg::Answered(question, answer) => {
            match question {
                Question::Past(secs) => model.take_past(secs, answer),
                Question::Slots(_) | Question::Spending(_) => model.asked.take(&question, answer),
            }
            Vec::new()
        }
    };
    model.keep_in_view();
    effects.extend(model.wanted().map(Effect::Ask));
    effects
}

impl Model {
    /// What the screen wants to know and a snapshot does not say.
    fn wanted(&mut self) -> Option<Question> {
        // A daemon that is away cannot answer, and is asked again once it is back.
        if !matches!(self.link, Link::Live) {
            return None;
        }
        let now = self.now;
        if let Some(past) = &mut self.past {
            // A key held down asks for the minute it stops at, and for few on the way.
            let due = match past.asked {
                None => true,
                Some(at) => past.problem.is_some() && now.micros_since(at) >= AGAIN_US,
            };
            if due {
                past.asked = Some(now);
                return Some(Question::Past(past.at.as_secs()));
            }
            return None;
        }
        let Screen::Tab(tab) = self.screen else {
            return None;
        };
        match tab {
            Tab::Slos => {
                let slo = self.selected_in(tab)?;
                self.asked.wants_spending(&slo, now)
            }
            Tab::Probes => {
                let probe = self.selected_in(tab)?;
                self.asked.wants_slots(&probe, now)
            }
            Tab::Triage
            | Tab::Routes
            | Tab::Upstreams
            | Tab::Certs
            | Tab::Changes
            | Tab::Alerts
            | Tab::Exec => None,
        }
    }

    /// Takes the answer for the end of minute `secs` in; one that is no longer wanted is only a picture on the way.
    fn take_past(&mut self, secs: u64, answer: Result<Answer, String>) {
        let Some(past) = &mut self.past else {
            return;
        };
        let is_wanted = past.at.as_secs() == secs;
        match answer {
            Ok(Answer::Past(snapshot)) => {
                past.shown = Some(snapshot);
                if is_wanted {
                    past.problem = None;
                }
            }
            Err(why) if is_wanted => past.problem = Some(why),
            // Not what was asked, or no longer wanted.
            Ok(Answer::Slots(_) | Answer::Spending(_)) | Err(_) => {}
        }
        self.refresh(Reorder::Now);
    }

    /// Rebuilds the rows from the shown snapshot.
    fn refresh(&mut self, reorder: Reorder) {
        if let Some(shown) = self.shown().cloned() {
            self.list.refresh(&shown, self.now, reorder);
        }
    }

    fn keep_in_view(&mut self) {
        let cursor = self.cursor();
        let rows = screens::route_rows(self).max(1);
        let list = &mut self.list;
        list.cursor_hint = cursor;
        let furthest = list.rows.len().saturating_sub(rows);
        list.offset = list
            .offset
            .clamp((cursor + 1).saturating_sub(rows), cursor)
            .min(furthest);
        if let Some(shown) = self.shown().cloned() {
            let tab = self.tab();
            let ids = screens::ids(self, &shown, tab);
            let rows = screens::rows(self, &shown, tab, ids.len());
            self.places[tab.index()].keep_in_view(&ids, rows);
        }
        let furthest = reading::last_line(self);
        if let Some(reading) = &mut self.reading {
            reading.line = reading.line.min(furthest);
        }
    }
}
