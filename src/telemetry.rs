//! Our own log: to standard error, as text or JSON, by the level that `RUST_LOG` names.

use std::fs::File;
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One object per line.
    Json,
}

/// Sends the log to standard error.
pub fn to_stderr(format: Format) {
    let builder = fmt().with_env_filter(filter()).with_writer(io::stderr);
    let set = match format {
        Format::Text => builder
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .try_init(),
        Format::Json => builder.json().try_init(),
    };
    // Set already: by a test harness that runs several commands in one process.
    drop(set);
}

/// Sends the log from `level` on to standard error, for people.
pub fn to_stderr_from(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    drop(
        builder
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .try_init(),
    );
}

/// Sends the log to a file, for when the terminal is taken by the user interface.
pub fn to_file(file: File) {
    let builder = fmt()
        .with_env_filter(filter())
        .with_writer(file)
        .with_ansi(false);
    drop(builder.with_target(false).try_init());
}

/// A log that cannot be written must not end what it tells of: without this the subscriber panics when standard error
/// is on a full disk.
fn fmt() -> tracing_subscriber::fmt::SubscriberBuilder {
    tracing_subscriber::fmt().log_internal_errors(false)
}

fn filter() -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"))
}
