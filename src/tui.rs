//! The terminal UI: an ordinary client of the admin API that draws what the snapshot says.
//!
//! Elm style: [`app::update`] changes the model and says what to do outside, [`view`] paints the model into a buffer,
//! and everything that waits or writes is in [`run`]. It draws on change and not on a timer, at most once per wake-up
//! and never while the terminal still takes the frame before. It holds nothing that the daemon needs and changes
//! nothing there: losing it, or being lost by it, costs freshness only.

pub mod app;
pub mod ask;
mod canvas;
mod clipboard;
mod command;
pub mod conn;
pub mod evidence;
mod filter;
pub(crate) mod fmt;
pub mod keys;
mod list;
pub(crate) mod markdown;
mod mask;
pub mod out;
mod page;
pub mod picture;
mod place;
mod screens;
pub mod tab;
mod term;
pub mod theme;
mod widgets;
mod words;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::crossterm;
use ratatui::crossterm::event::Event;
use ratatui::layout::Size;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::sleep;

use self::app::{Effect, Model, Msg};
use self::ask::Question;
use self::canvas::Canvas;
use self::conn::{Feed, Link};
use self::evidence::Bundle;
use self::keys::Key;
use self::out::{Frames, Writer};
use self::screens::reading;
use self::term::Term;
use self::theme::{Palette, Role, Theme};
use self::widgets::status;
use crate::clock::{Clock, SystemClock, Tick};
use crate::net::address::Address;

/// What the terminal UI needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the daemon's admin API listens.
    pub address: Address,
    /// Holds every cell to ASCII, for terminals without UTF-8.
    pub ascii: bool,
    /// No colour: weight, underline and reverse only. Set when `NO_COLOR` is.
    pub no_color: bool,
    /// Colours for a light background.
    pub light: bool,
    /// The directory that evidence is written to.
    pub evidence: PathBuf,
}

/// Why the terminal UI could not run, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input or the output is a file or a pipe.
    #[error("top needs a terminal to draw on; `vestibule status` prints the same as plain lines")]
    NotATerminal,
    /// The terminal cannot move its cursor.
    #[error("TERM=dumb cannot show a screen; `vestibule status` prints the same as plain lines")]
    Dumb,
    /// The terminal refused.
    #[error("the terminal failed: {0}")]
    Terminal(#[from] io::Error),
    /// The task that talks to the daemon ended, which it never should.
    #[error("the connection's task ended: {0}")]
    Connection(#[from] tokio::task::JoinError),
}

/// Shows the daemon at `config.address` until a person quits or a signal comes. To be called on a current-thread
/// runtime with everything enabled; gives the terminal back before it returns.
///
/// # Errors
/// When there is no terminal, or it fails. A daemon that cannot be reached is shown, not returned.
pub async fn run(config: Config) -> Result<(), Error> {
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return Err(Error::Dumb);
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Error::NotATerminal);
    }
    // With NO_COLOR set, crossterm writes a full reset for each colour, which takes the weight and the reverse of our
    // own colourless theme with it. Whether there is colour is the theme's affair.
    crossterm::style::force_color_output(true);

    let clock = SystemClock::new();
    let theme = Theme {
        palette: match (config.no_color, config.light) {
            (true, _) => Palette::Plain,
            (false, true) => Palette::Light,
            (false, false) => Palette::Dark,
        },
        ascii: config.ascii,
    };
    let retry = Arc::new(Notify::new());
    let (feed_tx, mut feed) = watch::channel(Feed {
        snapshot: None,
        link: Link::Connecting,
    });
    let mut following = tokio::spawn(conn::follow(
        config.address.clone(),
        clock,
        feed_tx,
        Arc::clone(&retry),
    ));
    let (answers, mut answered) = mpsc::channel(ANSWERS);
    let mut signals = Signals::new()?;

    let term = Term::take()?;
    let size = terminal_size();
    let model = Model::new(config.address, theme, size, clock.tick());
    let mut session = Session {
        clock,
        model,
        frames: Frames::new(size),
        writer: Writer::start()?,
        term,
        retry,
        answers,
        evidence: config.evidence,
        beside: Vec::new(),
        drawn_at: None,
        dirty: true,
    };
    let mut input = read_input()?;
    let ended = loop {
        session.draw_if_due()?;
        if session.writer.is_broken() {
            break Ok(());
        }
        let wake = session.next_wake();
        let writing = !session.writer.is_idle();
        let flow = tokio::select! {
            biased;
            told = signals.next() => match told {
                Told::Leave => break Ok(()),
                Told::Resumed => {
                    session.resume()?;
                    Flow::Go
                }
            },
            event = input.recv() => match event {
                Some(event) => session.take_input(event, &mut input),
                // The terminal is gone.
                None => break Ok(()),
            },
            changed = feed.changed() => match changed {
                Ok(()) => {
                    let news = feed.borrow_and_update().clone();
                    session.take(Msg::Feed(news))
                }
                Err(_) => match (&mut following).await {
                    Ok(()) => break Ok(()),
                    Err(error) => break Err(Error::from(error)),
                },
            },
            Some(answer) = answered.recv() => session.take(answer),
            () = session.writer.written(), if writing => Flow::Go,
            () = sleep(wake) => session.take(Msg::Clock),
        };
        match flow {
            Flow::Go => {}
            Flow::End => break Ok(()),
            Flow::Suspend => {
                // What is still on its way would land on the shell's screen.
                session.writer.drained().await;
                session.suspend()?;
            }
        }
    };
    following.abort();
    session.writer.drained().await;
    ended
}

/// Paints `model` into `buffer`, whatever its size.
pub fn view(model: &Model, buffer: &mut Buffer) {
    let mut canvas = Canvas::new(buffer, model.theme()).unmasked(model.unmasked);
    let area = canvas.area();
    if area.is_empty() {
        return;
    }
    if let Some(reading) = &model.reading {
        reading::draw(&mut canvas, model, reading);
        return;
    }
    let Some(snapshot) = model.shown() else {
        status::head(&mut canvas, area, model);
        let y = if area.height > 3 { area.y + 2 } else { area.y };
        let spans = status::without_data(model);
        let width = area.width.saturating_sub(1);
        canvas.spans(area.x + 1, y, width, &spans);
        if let Some(why) = status::why_without(model) {
            canvas.put(area.x + 1, y + 1, width, why, Role::Text);
        }
        if area.height > 4 {
            status::foot(&mut canvas, area, model);
        }
        return;
    };
    screens::draw(&mut canvas, model, snapshot);
}

/// Answers that may wait to be taken in; their tasks then wait.
const ANSWERS: usize = 8;

/// Whether the loop goes on.
enum Flow {
    Go,
    End,
    Suspend,
}

struct Session {
    clock: SystemClock,
    model: Model,
    frames: Frames,
    writer: Writer,
    term: Term,
    retry: Arc<Notify>,
    /// What comes of what is done beside everything else.
    answers: mpsc::Sender<Msg>,
    evidence: PathBuf,
    /// What goes to the terminal before the next frame and is no picture.
    beside: Vec<u8>,
    drawn_at: Option<Tick>,
    dirty: bool,
}

/// Ages change by the second.
const CLOCK: Duration = Duration::from_secs(1);
/// While snapshots come each second they bring the new age with them; the clock only steps in when one is late.
const CLOCK_WHILE_LIVE: Duration = Duration::from_millis(1_500);
/// At most thirty frames a second, however fast keys repeat.
const BETWEEN_FRAMES: Duration = Duration::from_millis(33);

impl Session {
    fn take(&mut self, msg: Msg) -> Flow {
        self.dirty = true;
        let effects = app::update(&mut self.model, msg, self.clock.tick());
        for effect in effects {
            match effect {
                Effect::Quit => return Flow::End,
                Effect::Redraw => {
                    self.model.size = terminal_size();
                    self.frames.reset(self.model.size);
                }
                Effect::Copy(text) => self.copy(&text),
                Effect::Keep(bundle) => self.keep(*bundle),
                Effect::Retry => self.retry.notify_one(),
                Effect::Suspend => return Flow::Suspend,
                Effect::Ask(question) => self.ask(question),
            }
        }
        Flow::Go
    }

    /// Lets the terminal copy `text`, with the next frame.
    fn copy(&mut self, text: &str) {
        if let Some(bytes) = clipboard::osc52(text) {
            self.beside = bytes;
        }
    }

    /// Asks the daemon, beside everything else.
    fn ask(&self, question: Question) {
        let (address, answers) = (self.model.address.clone(), self.answers.clone());
        tokio::spawn(async move {
            let answer = ask::ask(&address, &question).await;
            // Nobody listens any more once the program is leaving.
            let answer = Msg::Answered(question, answer);
            answers.send(answer).await.unwrap_or_default();
        });
    }

    /// Writes evidence, beside everything else: a disk may hang.
    fn keep(&self, bundle: Bundle) {
        let (dir, answers) = (self.evidence.clone(), self.answers.clone());
        tokio::task::spawn_blocking(move || {
            let kept = bundle.write(&dir);
            let kept = kept.map_err(|error| format!("{}: {error}", dir.display()));
            answers.blocking_send(Msg::Kept(kept)).unwrap_or_default();
        });
    }

    /// Takes an event and all that came with it, so that a burst of keys or sizes is one frame.
    fn take_input(&mut self, event: Event, input: &mut mpsc::Receiver<Event>) -> Flow {
        let mut next = Some(event);
        while let Some(event) = next {
            let msg = match event {
                Event::Key(key) => Key::from_event(key).map(Msg::Key),
                Event::Resize(width, height) => Some(Msg::Resize(Size::new(width, height))),
                Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_) => None,
            };
            if let Some(msg) = msg {
                match self.take(msg) {
                    Flow::Go => {}
                    flow @ (Flow::End | Flow::Suspend) => return flow,
                }
            }
            next = input.try_recv().ok();
        }
        Flow::Go
    }

    fn draw_if_due(&mut self) -> Result<(), Error> {
        let now = self.clock.tick();
        let rested = self
            .drawn_at
            .is_none_or(|at| Duration::from_micros(now.micros_since(at)) >= BETWEEN_FRAMES);
        if !self.dirty || !rested || !self.writer.is_idle() {
            return Ok(());
        }
        // Asked for each frame: a change of size is told by a signal, which can come before anyone listens for it, and a
        // picture of the wrong size is garbage until the next one.
        let size = terminal_size();
        if size != self.model.size {
            app::update(&mut self.model, Msg::Resize(size), now);
            self.frames.reset(size);
        }
        let model = &self.model;
        let frame = self.frames.frame(|buffer| view(model, buffer))?;
        let mut bytes = std::mem::take(&mut self.beside);
        bytes.extend(frame);
        if !bytes.is_empty() {
            self.writer.write(bytes);
        }
        self.drawn_at = Some(now);
        self.dirty = false;
        Ok(())
    }

    /// How long until something changes by itself.
    fn next_wake(&self) -> Duration {
        if self.dirty && self.writer.is_idle() {
            BETWEEN_FRAMES
        } else if matches!(self.model.link, Link::Live) && !self.model.is_stale() {
            CLOCK_WHILE_LIVE
        } else {
            CLOCK
        }
    }

    /// Ctrl-Z is a key in raw mode; what the terminal would have done with it is done here.
    fn suspend(&mut self) -> Result<(), Error> {
        self.term.leave();
        // The whole group, as the terminal would. In a group that no shell waits for, the system ignores it, and we go
        // on at once.
        let stopped = rustix::process::kill_current_process_group(rustix::process::Signal::TSTP);
        // Stopped here; `fg` goes on from here.
        self.term.enter()?;
        self.repaint();
        stopped.map_err(io::Error::from)?;
        Ok(())
    }

    /// After a stop that was not ours, the terminal may look any way.
    fn resume(&mut self) -> Result<(), Error> {
        self.term.leave();
        self.term.enter()?;
        self.repaint();
        Ok(())
    }

    fn repaint(&mut self) {
        self.model.size = terminal_size();
        self.frames.reset(self.model.size);
        self.dirty = true;
    }
}

/// The signals that matter while the terminal is taken.
struct Signals {
    terminate: Signal,
    hangup: Signal,
    interrupt: Signal,
    resumed: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            resumed: signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Leave,
            _ = self.hangup.recv() => Told::Leave,
            _ = self.interrupt.recv() => Told::Leave,
            _ = self.resumed.recv() => Told::Resumed,
        }
    }
}

/// What a signal says.
enum Told {
    Leave,
    /// The shell brought us back to the foreground.
    Resumed,
}

fn terminal_size() -> Size {
    // One that does not say is taken for the smallest common one.
    let (width, height) = match rustix::termios::tcgetwinsize(io::stdout()) {
        // Serial lines say 0x0.
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        Ok(_) | Err(_) => (80, 24),
    };
    // A screen past these bounds is a mistake, and its buffer would be memory.
    Size::new(width.min(1_000), height.min(500))
}

/// Reads the terminal on a thread of its own, which ends with the process: a blocked read cannot be called back.
fn read_input() -> io::Result<mpsc::Receiver<Event>> {
    let (events, input) = mpsc::channel(64);
    thread::Builder::new()
        .name("tui-in".to_owned())
        .spawn(move || {
            while let Ok(event) = crossterm::event::read() {
                if events.blocking_send(event).is_err() {
                    return;
                }
            }
        })?;
    Ok(input)
}
