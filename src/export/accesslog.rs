//! The access log: one JSON line per request, written off the request threads.

use std::path::PathBuf;

/// Where access lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Config {
    /// Nowhere.
    #[default]
    Off,
    /// Standard output.
    Stdout,
    /// A file, appended to, reopened on SIGHUP.
    File(PathBuf),
}
