//! `vestibule run` and `vestibule demo`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::{DEFAULT_FILE, DemoArguments, Exit, LogFormat, RunArguments, complain, fancy, runtime};
use crate::app::{self, Options, RunError, Signal};
use crate::config::{self, Report, Resolved};
use crate::demo;
use crate::export::otlp;
use crate::snapshot::Snapshot;
use crate::telemetry;

pub(super) fn run(arguments: RunArguments) -> Exit {
    telemetry::to_stderr(match arguments.log_format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    });
    let RunArguments {
        url,
        config,
        listen,
        state_dir,
        log_format: _,
    } = arguments;
    let overrides = move |mut resolved: Resolved| {
        if let Some(address) = listen {
            resolved.override_listen(address)?;
        }
        if let Some(dir) = &state_dir {
            resolved.override_state_dir(dir.clone());
        }
        Ok::<_, config::OverrideError>(resolved)
    };
    let (resolved, reload): (_, Option<app::Reload>) = if let Some(url) = url {
        match config::for_url(&url, None, None) {
            Ok(resolved) => (resolved, None),
            Err(error) => {
                complain(&if looks_like_a_file(&url) {
                    format!("`{url}` is not a URL; if it is a file: vestibule run --config {url}")
                } else {
                    error.to_string()
                });
                return Exit::Usage;
            }
        }
    } else {
        let file = config.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        match load(&file) {
            Ok(resolved) => {
                let overrides = overrides.clone();
                let again = move || {
                    let read = config::load(&file).map_err(|report| in_one_line(&report))?;
                    overrides(read).map_err(|error| error.to_string())
                };
                (resolved, Some(Box::new(again)))
            }
            Err(exit) => return exit,
        }
    };
    let resolved = match overrides(resolved) {
        Ok(resolved) => resolved,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Usage;
        }
    };
    serve(resolved, reload)
}

/// Whether what was given as a URL is rather the name of a configuration file.
fn looks_like_a_file(text: &str) -> bool {
    let path = Path::new(text);
    !text.contains("://") && (path.extension().is_some_and(|end| end == "toml") || path.is_file())
}

fn load(file: &Path) -> Result<Resolved, Exit> {
    let explain = |report: &Report| complain(&format!("{report}\n{}", report.render(fancy())));
    match config::load(file) {
        Ok(resolved) => {
            if !resolved.warnings.is_empty() {
                explain(&resolved.warnings);
            }
            Ok(resolved)
        }
        Err(report) => {
            explain(&report);
            if !file.exists() {
                complain(
                    "to try it without a file: vestibule run http://127.0.0.1:3000, or vestibule demo",
                );
            }
            Err(Exit::Config)
        }
    }
}

/// The first mistake, and how many there are.
fn in_one_line(report: &Report) -> String {
    match report.diagnostics().first() {
        Some(first) => format!("{report}: {}", first.message),
        None => report.to_string(),
    }
}

fn serve(resolved: Resolved, reload: Option<app::Reload>) -> Exit {
    let served = runtime().map_err(RunError::Thread).and_then(|runtime| {
        let served = runtime.block_on(async {
            let (snapshots, mut watched) = watch::channel(None::<Arc<Snapshot>>);
            let signals = listen_for_signals().map_err(RunError::Thread)?;
            let greeting = resolved.clone();
            let greet = tokio::spawn(async move {
                if watched.changed().await.is_ok()
                    && let Some(snapshot) = watched.borrow_and_update().clone()
                {
                    complain(app::greeting(&greeting, &snapshot).trim_end());
                }
            });
            // Boxed: it is the whole daemon.
            let served = Box::pin(app::run(Options {
                resolved,
                reload,
                signals,
                snapshots,
            }))
            .await;
            greet.abort();
            served
        });
        // A name that is still being looked up need not be waited for.
        runtime.shutdown_timeout(Duration::from_secs(1));
        served
    });
    match served {
        Ok(()) => Exit::Ok,
        Err(error) => {
            complain(&error.to_string());
            exit_of(&error)
        }
    }
}

pub(super) fn demo(arguments: DemoArguments) -> Exit {
    let DemoArguments {
        headless,
        seconds,
        state_dir,
    } = arguments;
    let headless = headless || !std::io::stdout().is_terminal();
    match demo::run(demo::Options {
        headless,
        seconds,
        state_dir,
    }) {
        Ok(()) => Exit::Ok,
        Err(demo::DemoError::Run(error)) => {
            complain(&error.to_string());
            exit_of(&error)
        }
        Err(error) => {
            complain(&error.to_string());
            Exit::Warn
        }
    }
}

fn exit_of(error: &RunError) -> Exit {
    match error {
        RunError::Locked(_) => Exit::Busy,
        RunError::Build(_)
        | RunError::Probe(_)
        | RunError::Otlp(otlp::StartError::Receiver { .. }) => Exit::Config,
        RunError::History(_)
        | RunError::Bind(_)
        | RunError::Admin(_)
        | RunError::AccessLog(_)
        | RunError::Otlp(otlp::StartError::Thread(_))
        | RunError::Thread(_) => Exit::Io,
    }
}

/// Signals in the daemon's words.
fn listen_for_signals() -> std::io::Result<mpsc::Receiver<Signal>> {
    let (told, signals) = mpsc::channel(4);
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            let signal = tokio::select! {
                _ = hangup.recv() => Signal::Reload,
                _ = terminate.recv() => Signal::Stop,
                _ = interrupt.recv() => Signal::Stop,
            };
            if told.send(signal).await.is_err() {
                break;
            }
        }
    });
    Ok(signals)
}
