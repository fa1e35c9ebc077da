//! A frame's way to the terminal.
//!
//! A frame is the difference to the one before, encoded into one piece of bytes between the marks of a synchronized
//! update (DEC private mode 2026), and written at once by a thread of its own. While the thread is still writing, no
//! frame is made: a slow line delays the picture, never the program, and what it then shows is the newest.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::crossterm::queue;
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate,
};
use ratatui::layout::{Rect, Size};
use tokio::sync::Notify;

/// What is on the screen, and what comes next.
#[derive(Debug)]
pub struct Frames {
    shown: Buffer,
    next: Buffer,
    /// Nothing is known about the screen: paint every cell.
    unknown: bool,
}

impl Frames {
    /// For a screen of `size`, of which nothing is known.
    pub fn new(size: Size) -> Self {
        let area = Rect::new(0, 0, size.width, size.height);
        Self {
            shown: Buffer::empty(area),
            next: Buffer::empty(area),
            unknown: true,
        }
    }

    /// Forgets what is on the screen, which has `size` now.
    pub fn reset(&mut self, size: Size) {
        let area = Rect::new(0, 0, size.width, size.height);
        self.shown.resize(area);
        self.next.resize(area);
        self.unknown = true;
    }

    /// Lets `paint` fill an empty buffer and gives the bytes that turn the screen into it; empty when it is so already.
    ///
    /// # Errors
    /// None in practice: it writes to memory. The encoder's signature has one.
    pub fn frame(&mut self, paint: impl FnOnce(&mut Buffer)) -> io::Result<Vec<u8>> {
        self.next.reset();
        paint(&mut self.next);
        if self.unknown {
            self.shown.reset();
        }
        let changes = self.shown.diff(&self.next);
        if changes.is_empty() && !self.unknown {
            return Ok(Vec::new());
        }
        let mut bytes = Vec::with_capacity(16 + changes.len() * 4);
        queue!(bytes, BeginSynchronizedUpdate)?;
        if self.unknown {
            queue!(bytes, Clear(ClearType::All))?;
        }
        CrosstermBackend::new(&mut bytes).draw(changes.into_iter())?;
        queue!(bytes, EndSynchronizedUpdate)?;
        self.unknown = false;
        std::mem::swap(&mut self.shown, &mut self.next);
        Ok(bytes)
    }
}

/// The thread that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    frames: SyncSender<Vec<u8>>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// A frame is handed over and not yet written.
    busy: AtomicBool,
    /// The terminal takes no more: it is gone.
    broken: AtomicBool,
    /// Told after each frame.
    done: Notify,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start() -> io::Result<Self> {
        // One place is enough: nothing is handed over while `busy`.
        let (frames, handed) = sync_channel(1);
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::Builder::new()
            .name("tui-out".to_owned())
            .spawn(move || write_frames(&handed, &shared))?;
        Ok(Self { frames, state })
    }

    /// Whether a frame may be handed over.
    pub(crate) fn is_idle(&self) -> bool {
        !self.state.busy.load(Ordering::Acquire)
    }

    /// Whether the terminal is gone.
    pub(crate) fn is_broken(&self) -> bool {
        self.state.broken.load(Ordering::Acquire)
    }

    /// Hands a frame over; to be called when idle.
    pub(crate) fn write(&self, frame: Vec<u8>) {
        self.state.busy.store(true, Ordering::Release);
        match self.frames.try_send(frame) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.state.broken.store(true, Ordering::Release);
            }
        }
    }

    /// Returns after a frame was written.
    pub(crate) async fn written(&self) {
        self.state.done.notified().await;
    }

    /// Waits until nothing is being written, at most [`DRAIN_LIMIT`]: a stuck terminal must not keep us from leaving.
    pub(crate) async fn drained(&self) {
        let idle = async {
            while !self.is_idle() {
                self.written().await;
            }
        };
        // Out of time is as good as drained: the caller leaves either way.
        drop(tokio::time::timeout(DRAIN_LIMIT, idle).await);
    }
}

const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// Writes all of `bytes` to the terminal, past the lock of `std::io::stdout`: a panic while that lock is held must still
/// be able to restore the screen.
pub(crate) fn write_all(mut bytes: &[u8]) -> io::Result<()> {
    let stdout = io::stdout();
    while !bytes.is_empty() {
        match rustix::io::write(stdout.as_fd(), bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn write_frames(handed: &Receiver<Vec<u8>>, state: &State) {
    while let Ok(frame) = handed.recv() {
        if write_all(&frame).is_err() {
            state.broken.store(true, Ordering::Release);
        }
        state.busy.store(false, Ordering::Release);
        state.done.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use ratatui::style::Style;

    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[test]
    fn a_frame_is_bracketed_and_holds_only_what_changed() {
        let mut frames = Frames::new(Size::new(20, 2));
        let first = frames
            .frame(|buffer| buffer.set_string(0, 0, "one two", Style::new()))
            .unwrap();
        let first = text(&first);
        assert!(first.starts_with("\u{1b}[?2026h\u{1b}[2J"));
        assert!(first.ends_with("\u{1b}[?2026l"));
        let second = frames
            .frame(|buffer| buffer.set_string(0, 0, "one 2wo", Style::new()))
            .unwrap();
        let second = text(&second);
        assert!(
            second.contains('2') && !second.contains("one"),
            "{second:?}"
        );
    }

    #[test]
    fn the_same_picture_again_is_no_bytes() {
        let mut frames = Frames::new(Size::new(9, 1));
        let mut paint = || {
            frames
                .frame(|buffer| buffer.set_string(0, 0, "x", Style::new()))
                .unwrap()
        };
        assert!(!paint().is_empty());
        assert!(paint().is_empty());
    }

    #[test]
    fn after_a_reset_everything_is_painted_again() {
        let mut frames = Frames::new(Size::new(9, 1));
        let paint = |buffer: &mut Buffer| buffer.set_string(0, 0, "x", Style::new());
        frames.frame(paint).unwrap();
        frames.reset(Size::new(5, 1));
        assert!(text(&frames.frame(paint).unwrap()).contains("\u{1b}[2J"));
    }
}
