//! Long work: how far it is, and how it is broken off.

use std::io::{self, IsTerminal as _, Write as _};

use tokio::signal::unix::{SignalKind, signal};

/// Over when somebody asks us to stop.
pub(super) async fn interrupted() {
    let terminate = signal(SignalKind::terminate());
    let terminated = async {
        match terminate {
            Ok(mut terminate) => terminate.recv().await,
            Err(_none) => std::future::pending().await,
        }
    };
    tokio::select! {
        Ok(()) = tokio::signal::ctrl_c() => {}
        _told = terminated => {}
    }
}

/// How far it is, on a terminal that somebody looks at; gone with it.
pub(super) struct Progress {
    all: usize,
    shown: bool,
}

impl Progress {
    pub(super) fn new(all: usize) -> Self {
        let progress = Self {
            all,
            shown: all > 1 && io::stderr().is_terminal(),
        };
        progress.show(0);
        progress
    }

    pub(super) fn show(&self, done: usize) {
        if self.shown {
            // Whoever cannot be told still gets the results.
            drop(write!(io::stderr(), "\r{done} of {} probes", self.all));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            drop(write!(io::stderr(), "\r\x1b[K"));
        }
    }
}
