//! Taking the terminal and giving it back, whatever happens.

use std::io;
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::queue;
use ratatui::crossterm::style::{Attribute, SetAttribute};
use ratatui::crossterm::terminal::{
    EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};

use super::out;

/// The terminal, taken: raw, on the alternate screen, without a cursor. Dropped, it is given back.
#[derive(Debug)]
pub(crate) struct Term(());

/// Whether the terminal is taken. Global because the panic hook is, and there is one terminal.
static TAKEN: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

impl Term {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When there is none, or it refuses.
    pub(crate) fn take() -> io::Result<Self> {
        HOOK.call_once(|| {
            let report = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                // First the screen, so that the report is not lost with it.
                give_back();
                report(info);
            }));
        });
        let term = Self(());
        term.enter()?;
        Ok(term)
    }

    /// Takes the terminal again after [`Term::leave`], or after someone else had it.
    ///
    /// # Errors
    /// When it refuses.
    #[expect(clippy::unused_self, reason = "only who took the terminal may")]
    pub(crate) fn enter(&self) -> io::Result<()> {
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::Release);
        let mut bytes = Vec::new();
        queue!(bytes, EnterAlternateScreen, Hide)?;
        out::write_all(&bytes)
    }

    /// Gives the terminal back for a while.
    #[expect(clippy::unused_self, reason = "only who took the terminal may")]
    pub(crate) fn leave(&self) {
        give_back();
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if !TAKEN.swap(false, Ordering::AcqRel) {
        return;
    }
    let mut bytes = Vec::new();
    let queued = queue!(
        bytes,
        EndSynchronizedUpdate,
        SetAttribute(Attribute::Reset),
        LeaveAlternateScreen,
        Show
    );
    // A terminal that is gone cannot be restored and need not be.
    drop(queued.and_then(|()| out::write_all(&bytes)));
    drop(disable_raw_mode());
}
