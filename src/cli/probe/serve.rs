//! `vestibule probe serve`: the blackbox-compatible endpoint without a daemon.

use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{DEFAULT_DIR, ServeArguments, mark_key};
use crate::cli::{DEFAULT_FILE, Exit, complain, runtime, say};
use crate::clock::SystemClock;
use crate::config::Probes;
use crate::probe::blackbox::{Blackbox, MAX_ASKED, Modules};
use crate::probe::serve;

/// Serves until it is stopped.
pub(super) fn serve(arguments: ServeArguments) -> Result<Exit, Exit> {
    let ServeArguments {
        place,
        listen,
        key_file,
    } = arguments;
    let named = place.dir.is_some() || place.config.is_some();
    let found = named || Path::new(DEFAULT_FILE).exists() || Path::new(DEFAULT_DIR).exists();
    // Without any file there is still the module that needs none.
    let probes = if found {
        place.probes()?
    } else {
        Probes::default()
    };
    let key = mark_key(key_file.as_deref())?;
    let runtime = runtime().map_err(|error| {
        complain(&error.to_string());
        Exit::Io
    })?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            complain(&format!("cannot listen on {listen}: {error}"));
            Exit::Unavailable
        })?;
        let bound = listener.local_addr().unwrap_or(listen);
        let modules = Modules::new(&probes.modules);
        let known: Vec<_> = modules.names().collect();
        say(&format!(
            "answering on http://{bound}/probe; modules: {}\n",
            known.join(", ")
        ));
        let (_keep, in_force) = watch::channel(Arc::new(modules));
        let blackbox = Blackbox::new(in_force, SystemClock::new(), key, MAX_ASKED);
        tokio::select! {
            () = serve::serve(listener, blackbox) => {}
            _stopped = tokio::signal::ctrl_c() => {}
        }
        Ok(Exit::Ok)
    })
}
