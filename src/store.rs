//! History on disk: what outlives the process.
//!
//! One `SQLite` file, written by one thread, one transaction a minute. Nothing here is on the request path, and no
//! caller ever waits for the disk: [`Writer`] takes values and returns; what cannot be written now is kept in a bounded
//! backlog and written later. Readers have their own connections ([`Reader`]).
//!
//! Rows are clustered by time first, so that a minute is one run of pages whatever the number of routes, and each row
//! carries the cumulative count beside its own: a window's sum is the difference of two look-ups. Counters are exact
//! and outlive everything but their retention; latency distributions are what gives way when the byte budget is short.
//!
//! Left out: network file systems (`SQLite`'s log needs shared memory and working locks) and more than one process on
//! one directory, which the lock refuses.

mod database;
mod encoded;
mod error;
mod family;
mod gaps;
mod history;
mod lock;
mod parts;
mod probe;
mod query;
mod queue;
mod retention;
mod rollup;
mod schema;
mod value;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

pub use encoded::{BadPart, MinuteBatch, RouteMinute, SloMinute};
pub use error::{FlushError, OpenError, QueryError, Refused};
pub use history::{History, LatencyRow, Loaded, Origin, RouteRow, SloRow};
pub use query::Reader;
pub use writer::{Writer, WriterStatus};

use crate::clock::Clock;

/// What the store is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The state directory; the database is `history.db` in it.
    pub dir: PathBuf,
    /// How long one-minute counters are kept.
    pub minutes: Duration,
    /// How long one-minute latency distributions are kept.
    pub minute_latencies: Duration,
    /// How long one-hour counters and latency distributions are kept. At least the longest SLO window.
    pub hours: Duration,
    /// How large the database may grow; beyond it the oldest latency distributions go first, counters never. The
    /// write-ahead log, at most 64 MiB between two transactions, comes on top.
    pub max_bytes: u64,
}

impl Config {
    /// The defaults, in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            dir,
            minutes: DAY * 14,
            minute_latencies: DAY * 2,
            hours: DAY * 92,
            max_bytes: 2 << 30,
        }
    }
}

/// An opened store.
#[derive(Debug)]
pub struct Opened {
    /// Where new minutes and events go.
    pub writer: Writer,
    /// What earlier runs left.
    pub history: History,
}

/// Opens the store in `config.dir`, making it when there is none, and starts the writer's thread.
///
/// The directory stays locked until that thread has ended, see [`Writer::close`]. `clock` dates this run, the status
/// and failures.
///
/// After a stop that was not clean the whole file is checked first, which reads it once.
///
/// # Errors
/// Each says what failed, on which path, and what to do. Nothing is deleted or repaired on the way; a caller can go on
/// without a store.
pub fn open<C: Clock + Send + 'static>(config: &Config, clock: C) -> Result<Opened, OpenError> {
    let now = clock.now();
    let lock = lock::Lock::take(&config.dir)?;
    let (database, unclean) = database::Database::open(&config.dir, now)?;
    let reader = Reader::open(&config.dir).map_err(|error| database.open_error(error))?;
    let history =
        History::load(reader, now, unclean).map_err(|error| database.open_error(error))?;
    let writer = Writer::start(config.clone(), database, lock, clock)?;
    Ok(Opened { writer, history })
}

/// Reads the history in `dir` as it is, whoever writes to it; takes no lock and changes nothing.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn read(dir: &std::path::Path, now: crate::model::Timestamp) -> Result<History, QueryError> {
    History::load(Reader::open(dir)?, now, false)
}

/// The database file in the state directory.
const FILE: &str = "history.db";

#[cfg(test)]
mod tests;
