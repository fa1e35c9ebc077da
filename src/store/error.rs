//! What can go wrong, with the operation and the path it went wrong on.

use std::io;
use std::path::PathBuf;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be made or used.
    #[error("cannot {operation} `{path}`: {source}", path = path.display())]
    Files {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process holds the directory.
    #[error(
        "the state directory `{dir}` is in use by {holder}: stop that one, or give this one a directory of its own",
        dir = dir.display(),
        holder = holder(*pid)
    )]
    Locked {
        /// The state directory.
        dir: PathBuf,
        /// The other process; `None` when it left no readable number.
        pid: Option<u32>,
    },
    /// The database is damaged.
    #[error(
        "`{path}` is damaged ({detail}). It was left as it is: move it and its -wal and -shm files aside to begin a new \
         history, or put a backup in its place",
        path = path.display()
    )]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What the check found.
        detail: String,
    },
    /// A newer version of this program wrote the database.
    #[error(
        "`{path}` has format {found} and this version knows up to {known}: run the newer version again, or move the \
         file aside to begin a new history",
        path = path.display()
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The format it has.
        found: i64,
        /// The newest format this version knows.
        known: i64,
    },
    /// The file is another program's database.
    #[error(
        "`{path}` is a database of another program: choose another state directory",
        path = path.display()
    )]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// The database refused.
    #[error("cannot {operation} `{path}`: {source}", path = path.display())]
    Database {
        /// What was tried.
        operation: &'static str,
        /// The database file.
        path: PathBuf,
        /// Why it failed.
        source: rusqlite::Error,
    },
    /// The writer's thread cannot be started.
    #[error("cannot start the store's thread: {0}")]
    Thread(io::Error),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {source}")]
pub struct QueryError {
    /// What was tried.
    pub operation: &'static str,
    /// Why it failed.
    pub source: rusqlite::Error,
}

/// Names the operation that a database error happened in.
pub(super) fn doing(operation: &'static str) -> impl Fn(rusqlite::Error) -> QueryError {
    move |source| QueryError { operation, source }
}

/// Why a value was not taken: the writer has been closed, or its thread has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store is closed")]
pub struct Refused;

/// Why not everything is on disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlushError {
    /// The disk refused; what could not be written waits for the next minute.
    #[error("{backlog} minutes could not be written: {cause}")]
    Failed {
        /// Minutes still waiting.
        backlog: u64,
        /// What the database said.
        cause: String,
    },
    /// The thread did not get to it in time.
    #[error("the store did not finish in time")]
    Deadline,
    /// The writer has been closed before, or its thread has died.
    #[error("the store is closed")]
    Closed,
}
