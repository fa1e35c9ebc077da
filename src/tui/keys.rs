//! The one table of keys. Input, the footer and the help screen are all read from it.
//!
//! Vim's keys and the arrows both work. No function keys, no Alt, and none of the chords that screen, tmux or the
//! terminal's flow control take for themselves. Nothing here changes anything on the other side.

use std::fmt;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::tab::Tab;

/// A key as the table names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A character, with Shift already in it.
    Char(char),
    /// Control and a letter.
    Ctrl(char),
    /// Enter.
    Enter,
    /// Escape.
    Esc,
    /// Backspace.
    Backspace,
    /// Tab.
    Tab,
    /// Shift and Tab.
    BackTab,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Home.
    Home,
    /// End.
    End,
}

impl Key {
    /// The key of a terminal's event; `None` for a release and for what no table row could name.
    pub fn from_event(event: KeyEvent) -> Option<Self> {
        if event.kind == KeyEventKind::Release
            || event
                .modifiers
                .intersects(KeyModifiers::ALT | KeyModifiers::SUPER | KeyModifiers::META)
        {
            return None;
        }
        let control = event.modifiers.contains(KeyModifiers::CONTROL);
        match event.code {
            KeyCode::Char(c) if control => Some(Self::Ctrl(c.to_ascii_lowercase())),
            KeyCode::Char(c) => Some(Self::Char(c)),
            KeyCode::Enter => Some(Self::Enter),
            KeyCode::Esc => Some(Self::Esc),
            KeyCode::Backspace => Some(Self::Backspace),
            KeyCode::Tab => Some(Self::Tab),
            KeyCode::BackTab => Some(Self::BackTab),
            KeyCode::Up => Some(Self::Up),
            KeyCode::Down => Some(Self::Down),
            KeyCode::PageUp => Some(Self::PageUp),
            KeyCode::PageDown => Some(Self::PageDown),
            KeyCode::Home => Some(Self::Home),
            KeyCode::End => Some(Self::End),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Char(' ') => f.write_str("Space"),
            Self::Char(c) => write!(f, "{c}"),
            Self::Ctrl(c) => write!(f, "^{c}"),
            Self::Enter => f.write_str("Enter"),
            Self::Esc => f.write_str("Esc"),
            Self::Backspace => f.write_str("Bksp"),
            Self::Tab => f.write_str("Tab"),
            Self::BackTab => f.write_str("⇧Tab"),
            Self::Up => f.write_str("↑"),
            Self::Down => f.write_str("↓"),
            Self::PageUp => f.write_str("PgUp"),
            Self::PageDown => f.write_str("PgDn"),
            Self::Home => f.write_str("Home"),
            Self::End => f.write_str("End"),
        }
    }
}

/// What has the keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// The triage screen, and the list of all routes.
    Triage,
    /// A route's detail.
    Route,
    /// The SLOs.
    Slos,
    /// The upstreams.
    Upstreams,
    /// The probes.
    Probes,
    /// The certificates.
    Certs,
    /// The changes.
    Changes,
    /// The alerts.
    Alerts,
    /// The executive summary.
    Exec,
    /// The help screen.
    Help,
    /// What differs.
    Explain,
    /// A runbook.
    Runbook,
    /// The filter being typed.
    Filter,
    /// The command being typed.
    Command,
}

impl Context {
    /// Every context.
    pub const ALL: [Self; 14] = [
        Self::Triage,
        Self::Route,
        Self::Slos,
        Self::Upstreams,
        Self::Probes,
        Self::Certs,
        Self::Changes,
        Self::Alerts,
        Self::Exec,
        Self::Help,
        Self::Explain,
        Self::Runbook,
        Self::Filter,
        Self::Command,
    ];
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Takes the typed filter and gives the keyboard back.
    Accept,
    /// One screen back, or drops the filter.
    Back,
    /// To the last row.
    Bottom,
    /// A minute back in the history.
    Earlier,
    /// A minute on in the history.
    Later,
    /// Back to what comes in.
    Live,
    /// To the minute of the event under the cursor.
    ToEvent,
    /// Types a command.
    Command,
    /// Completes what is typed.
    Complete,
    /// Copies what is under the cursor.
    Copy,
    /// The command given before.
    EarlierCommand,
    /// The command given after.
    LaterCommand,
    /// Gives up typing and drops the filter.
    Cancel,
    /// One row down.
    Down,
    /// Takes back the last typed character.
    Erase,
    /// Takes back everything typed.
    EraseAll,
    /// Writes what is shown to files.
    Evidence,
    /// Says what differs.
    Explain,
    /// Types a filter.
    Filter,
    /// Shows the keys.
    Help,
    /// Holds the display, or lets it go on.
    Hold,
    /// To the next event towards now.
    LaterEvent,
    /// The next incident.
    NextIncident,
    /// The next pane.
    NextPane,
    /// To the next event away from now.
    EarlierEvent,
    /// Opens the selected row.
    Open,
    /// One page down.
    PageDown,
    /// One page up.
    PageUp,
    /// The incident before.
    PreviousIncident,
    /// The pane before.
    PreviousPane,
    /// Takes the privacy mask off, or puts it on.
    Mask,
    /// Leaves.
    Quit,
    /// Paints everything anew.
    Redraw,
    /// Tries to connect at once.
    Retry,
    /// Turns the order round.
    Reverse,
    /// Shows what to do.
    Runbook,
    /// Shows a screen.
    Show(Tab),
    /// The next order.
    Sort,
    /// Stops the process for the shell.
    Suspend,
    /// Dark or light colours.
    Theme,
    /// To the first row.
    Top,
    /// One row up.
    Up,
}

/// Under which heading the help screen lists a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Moving about.
    Move,
    /// Time and events.
    Time,
    /// Looking closer.
    Look,
    /// The program.
    Program,
}

impl Group {
    /// Every heading, in the order of the help screen.
    pub const ALL: [Self; 4] = [Self::Move, Self::Look, Self::Time, Self::Program];

    /// The heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Move => "MOVE",
            Self::Look => "LOOK",
            Self::Time => "TIME",
            Self::Program => "PROGRAM",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Where it holds.
    pub contexts: &'static [Context],
    /// The keys.
    pub keys: &'static [Key],
    /// What they do.
    pub action: Action,
    /// Its heading.
    pub group: Group,
    /// What it does, in a few words, for the help screen.
    pub help: &'static str,
    /// What it does in one or two words, for the footer; empty keeps it out.
    pub short: &'static str,
}

impl Binding {
    /// Its keys as the help screen writes them: `j ↓`.
    pub fn label(&self) -> String {
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        keys.join(" ")
    }
}

use Context::{
    Alerts, Certs, Changes, Command, Exec, Explain, Filter, Help, Probes, Route, Runbook, Slos,
    Triage, Upstreams,
};
use Key::{Char, Ctrl};

const SCREENS: &[Context] = &[
    Triage, Route, Slos, Upstreams, Probes, Certs, Changes, Alerts, Exec,
];
const READING: &[Context] = &[
    Triage, Route, Slos, Upstreams, Probes, Certs, Changes, Alerts, Exec, Help, Explain, Runbook,
];
/// Where rows, lines or events are stepped through one by one.
const LISTS: &[Context] = &[
    Triage, Slos, Upstreams, Probes, Certs, Changes, Alerts, Help, Explain, Runbook,
];

/// Every key there is, in the order of the footer and of the help screen's columns.
#[rustfmt::skip]
pub const BINDINGS: &[Binding] = &[
    row(&[Triage], &[Key::Enter], Action::Open, Group::Look, "open the route", "open"),
    row(&[Triage], &[Char('/')], Action::Filter, Group::Look, "filter: text !text err>1% p99>2s is:crit", "filter"),
    row(&[Triage], &[Char('s')], Action::Sort, Group::Look, "next order", "sort"),
    row(&[Triage], &[Char('S')], Action::Reverse, Group::Look, "turn the order round", ""),
    row(&[Slos, Probes, Alerts], &[Key::Enter], Action::Open, Group::Look, "open its route", "route"),
    row(&[Upstreams], &[Key::Enter], Action::Open, Group::Look, "fold or unfold the group", "fold"),
    row(&[Changes], &[Key::Enter], Action::Open, Group::Look, "open what it is about", "open"),
    row(SCREENS, &[Char('x')], Action::Explain, Group::Look, "explain: in what bad requests differ", "explain"),
    row(&[Explain], &[Char('x')], Action::Back, Group::Look, "close the explanation", ""),
    row(SCREENS, &[Char('r')], Action::Runbook, Group::Look, "what to do: the runbook", "runbook"),
    row(&[Runbook], &[Char('r')], Action::Back, Group::Look, "close the runbook", ""),
    row(SCREENS, &[Char(' ')], Action::Hold, Group::Time, "hold the display, or go on live", "hold"),
    row(SCREENS, &[Char('[')], Action::Earlier, Group::Time, "a minute back in the stored history", "[ ] minute"),
    row(SCREENS, &[Char(']')], Action::Later, Group::Time, "a minute on", ""),
    row(SCREENS, &[Char('t')], Action::ToEvent, Group::Time, "to the minute of the event under the cursor", ""),
    row(SCREENS, &[Char('L')], Action::Live, Group::Time, "back to live", ""),
    row(SCREENS, &[Char('{')], Action::EarlierEvent, Group::Time, "to the event before", "{ } event"),
    row(SCREENS, &[Char('}')], Action::LaterEvent, Group::Time, "to the event after", ""),
    row(SCREENS, &[Char('<')], Action::PreviousIncident, Group::Time, "the incident before", ""),
    row(SCREENS, &[Char('>')], Action::NextIncident, Group::Time, "the next incident", ""),
    row(&[Route], &[Key::Tab], Action::NextPane, Group::Look, "next pane", "pane"),
    row(&[Route], &[Key::BackTab], Action::PreviousPane, Group::Look, "pane before", ""),
    row(LISTS, &[Char('j'), Key::Down], Action::Down, Group::Move, "down", ""),
    row(LISTS, &[Char('k'), Key::Up], Action::Up, Group::Move, "up", ""),
    row(&[Route], &[Char('j'), Key::Down], Action::Down, Group::Move, "next route of the list", "j k route"),
    row(&[Route], &[Char('k'), Key::Up], Action::Up, Group::Move, "route of the list before", ""),
    row(READING, &[Char('g'), Key::Home], Action::Top, Group::Move, "first row, and stay with the worst", ""),
    row(READING, &[Char('G'), Key::End], Action::Bottom, Group::Move, "last row", ""),
    row(LISTS, &[Key::PageDown, Ctrl('d')], Action::PageDown, Group::Move, "page down", ""),
    row(LISTS, &[Key::PageUp, Ctrl('u')], Action::PageUp, Group::Move, "page up", ""),
    row(READING, &[Key::Esc, Key::Backspace], Action::Back, Group::Move, "back; on the list drop the filter", "back"),
    row(READING, &[Char('1')], Action::Show(Tab::Triage), Group::Move, "triage: what is wrong", ""),
    row(READING, &[Char('2')], Action::Show(Tab::Routes), Group::Move, "every route", ""),
    row(READING, &[Char('3')], Action::Show(Tab::Slos), Group::Move, "SLOs and their budgets", ""),
    row(READING, &[Char('4')], Action::Show(Tab::Upstreams), Group::Move, "upstreams, endpoints, this process", ""),
    row(READING, &[Char('5')], Action::Show(Tab::Probes), Group::Move, "probes, outside against inside", ""),
    row(READING, &[Char('6')], Action::Show(Tab::Certs), Group::Move, "certificates and their calendar", ""),
    row(READING, &[Char('7')], Action::Show(Tab::Changes), Group::Move, "changes on one axis of time", ""),
    row(READING, &[Char('8')], Action::Show(Tab::Alerts), Group::Move, "alerts and what to do", ""),
    row(READING, &[Char('0')], Action::Show(Tab::Exec), Group::Move, "a day and a month in short", ""),
    row(READING, &[Char(':')], Action::Command, Group::Program, "a command; Tab completes, up recalls", ": command"),
    row(SCREENS, &[Char('y')], Action::Copy, Group::Program, "copy by way of the terminal", ""),
    row(READING, &[Char('e')], Action::Evidence, Group::Program, "evidence: Markdown, JSON and SVG files", "evidence"),
    row(READING, &[Char('p')], Action::Mask, Group::Program, "privacy mask off, or on", ""),
    row(READING, &[Char('?')], Action::Help, Group::Program, "the keys", "help"),
    row(READING, &[Char('q')], Action::Quit, Group::Program, "back, and from triage quit", "quit"),
    row(Context::ALL.as_slice(), &[Ctrl('c')], Action::Quit, Group::Program, "quit from anywhere", ""),
    row(SCREENS, &[Char('R')], Action::Retry, Group::Program, "connect again now", ""),
    row(READING, &[Char('T')], Action::Theme, Group::Program, "dark or light colours", ""),
    row(Context::ALL.as_slice(), &[Ctrl('l')], Action::Redraw, Group::Program, "paint everything anew", ""),
    row(Context::ALL.as_slice(), &[Ctrl('z')], Action::Suspend, Group::Program, "to the shell; fg comes back", ""),
    row(&[Command], &[Key::Enter], Action::Accept, Group::Program, "do it", "do"),
    row(&[Command], &[Key::Tab], Action::Complete, Group::Program, "complete", "complete"),
    row(&[Command], &[Key::Esc], Action::Cancel, Group::Program, "drop the command", "drop"),
    row(&[Command], &[Key::Up], Action::EarlierCommand, Group::Program, "the command before", ""),
    row(&[Command], &[Key::Down], Action::LaterCommand, Group::Program, "the command after", ""),
    row(&[Command], &[Key::Backspace], Action::Erase, Group::Program, "take back a character", ""),
    row(&[Command], &[Ctrl('u')], Action::EraseAll, Group::Program, "take back everything", ""),
    row(&[Filter], &[Key::Enter], Action::Accept, Group::Look, "keep the filter", "keep"),
    row(&[Filter], &[Key::Esc], Action::Cancel, Group::Look, "drop the filter", "drop"),
    row(&[Filter], &[Key::Backspace], Action::Erase, Group::Look, "take back a character", ""),
    row(&[Filter], &[Ctrl('u')], Action::EraseAll, Group::Look, "take back everything", ""),
];

/// What `key` does in `context`.
pub fn action(context: Context, key: Key) -> Option<Action> {
    rows(context)
        .find(|row| row.keys.contains(&key))
        .map(|row| row.action)
}

/// The rows that hold in `context`.
pub fn rows(context: Context) -> impl Iterator<Item = &'static Binding> {
    BINDINGS
        .iter()
        .filter(move |row| row.contexts.contains(&context))
}

const fn row(
    contexts: &'static [Context],
    keys: &'static [Key],
    action: Action,
    group: Group,
    help: &'static str,
    short: &'static str,
) -> Binding {
    Binding {
        contexts,
        keys,
        action,
        group,
        help,
        short,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_place() {
        for context in Context::ALL {
            let mut seen = HashSet::new();
            for key in rows(context).flat_map(|row| row.keys) {
                assert!(seen.insert(key), "{key} twice in {context:?}");
            }
        }
    }

    #[test]
    fn every_key_says_what_it_does_and_where() {
        for row in BINDINGS {
            assert!(!row.help.is_empty() && !row.keys.is_empty() && !row.contexts.is_empty());
        }
    }

    #[test]
    fn keys_that_multiplexers_and_flow_control_take_are_left_to_them() {
        for row in BINDINGS {
            for key in row.keys {
                assert!(!matches!(key, Ctrl('a' | 'b' | 's' | 'q' | 'w')), "{key}");
            }
        }
    }

    #[test]
    fn a_release_and_an_alt_chord_are_no_keys() {
        let mut event = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        assert_eq!(Key::from_event(event), Some(Char('q')));
        event.kind = KeyEventKind::Repeat;
        assert_eq!(Key::from_event(event), Some(Char('q')));
        event.kind = KeyEventKind::Release;
        assert_eq!(Key::from_event(event), None);
        let alt = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::ALT);
        assert_eq!(Key::from_event(alt), None);
        let control = KeyEvent::new(KeyCode::Char('L'), KeyModifiers::CONTROL);
        assert_eq!(Key::from_event(control), Some(Ctrl('l')));
    }
}
