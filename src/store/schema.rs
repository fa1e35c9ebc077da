//! The tables, and how a file comes to have them.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};

use super::value::stored;
use super::{OpenError, parts, probe, rollup};
use crate::model::Timestamp;

/// What each format version adds to the one before. Only ever appended to: a file somewhere has every prefix of it.
const MIGRATIONS: [&str; 4] = [FIRST, probe::TABLES, parts::TABLE, COUNTED];

const FIRST: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- One row per life of the process. `alive_ms` is how far its counts are known to reach; `stopped_ms` is missing after
-- a stop that was not clean.
CREATE TABLE run (
  id INTEGER PRIMARY KEY, started_ms INTEGER NOT NULL, alive_ms INTEGER NOT NULL, stopped_ms INTEGER
) STRICT;

-- Which minutes and hours were counted at all.
CREATE TABLE minute (minute INTEGER PRIMARY KEY) STRICT;
CREATE TABLE hour (hour INTEGER PRIMARY KEY) STRICT;

-- Names to numbers, with the totals since the history began.
CREATE TABLE slo (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, first_minute INTEGER NOT NULL, last_minute INTEGER NOT NULL,
  good INTEGER NOT NULL, bad INTEGER NOT NULL
) STRICT;
CREATE TABLE route (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, first_minute INTEGER NOT NULL, last_minute INTEGER NOT NULL,
  good INTEGER NOT NULL, bad INTEGER NOT NULL, excluded INTEGER NOT NULL
) STRICT;

-- Counters, clustered by time. The cum_ columns are the totals at the slot's end.
CREATE TABLE slo_minute (
  minute INTEGER NOT NULL, slo_id INTEGER NOT NULL REFERENCES slo,
  good INTEGER NOT NULL, bad INTEGER NOT NULL, cum_good INTEGER NOT NULL, cum_bad INTEGER NOT NULL,
  PRIMARY KEY (minute, slo_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE slo_hour (
  hour INTEGER NOT NULL, slo_id INTEGER NOT NULL REFERENCES slo,
  good INTEGER NOT NULL, bad INTEGER NOT NULL, cum_good INTEGER NOT NULL, cum_bad INTEGER NOT NULL,
  PRIMARY KEY (hour, slo_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE route_minute (
  minute INTEGER NOT NULL, route_id INTEGER NOT NULL REFERENCES route,
  good INTEGER NOT NULL, bad INTEGER NOT NULL, excluded INTEGER NOT NULL,
  duration_us INTEGER NOT NULL, bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL, retries INTEGER NOT NULL,
  cum_good INTEGER NOT NULL, cum_bad INTEGER NOT NULL, cum_excluded INTEGER NOT NULL,
  PRIMARY KEY (minute, route_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE route_hour (
  hour INTEGER NOT NULL, route_id INTEGER NOT NULL REFERENCES route,
  good INTEGER NOT NULL, bad INTEGER NOT NULL, excluded INTEGER NOT NULL,
  duration_us INTEGER NOT NULL, bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL, retries INTEGER NOT NULL,
  cum_good INTEGER NOT NULL, cum_bad INTEGER NOT NULL, cum_excluded INTEGER NOT NULL,
  PRIMARY KEY (hour, route_id)
) STRICT, WITHOUT ROWID;

-- Distributions, only of slots that had any; k is slot << 20 | route. Apart from the counters because a WITHOUT ROWID
-- tree with large rows is a slow tree.
CREATE TABLE latency_minute (
  k INTEGER PRIMARY KEY, total BLOB, edge BLOB, connect BLOB, wait BLOB, body BLOB
) STRICT;
CREATE TABLE latency_hour (k INTEGER PRIMARY KEY, total BLOB NOT NULL) STRICT;

CREATE TABLE event (
  id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, kind TEXT NOT NULL,
  route TEXT, upstream TEXT, endpoint TEXT, slo TEXT, version TEXT, text TEXT NOT NULL
) STRICT;
CREATE INDEX event_at ON event (at_ms);

CREATE TABLE alert (id TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// What an SLO's counts are of, in words; empty when it was counted before this was kept.
const COUNTED: &str = "ALTER TABLE slo ADD COLUMN counted TEXT NOT NULL DEFAULT '';";

/// How to select what an SLO counts: a file that no writer has opened since lacks the column.
pub(super) fn counted(connection: &Connection) -> rusqlite::Result<&'static str> {
    let is_there = connection.query_row(
        "SELECT count(*) FROM pragma_table_info('slo') WHERE name = 'counted'",
        [],
        |row| Ok(row.get::<_, i64>(0)? > 0),
    )?;
    Ok(if is_there { "counted" } else { "''" })
}

/// Marks a file as ours ('VSTB'), so that no other program's database is ever written to.
const APPLICATION: i64 = 0x5653_5442;

/// How long a statement waits for another connection's lock. Only a person with a shell can hold one that long.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// How many lives of the process are remembered; one that crashes every second must not fill the disk with them.
const RUNS: i64 = 1_000;

/// An opened file whose tables are up to date, and whether the run before it ended without saying so.
pub(super) fn open(path: &Path, now: Timestamp) -> Result<(Connection, bool), OpenError> {
    // Made beforehand for its owner only; SQLite gives its log the same permissions.
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| OpenError::Files {
            operation: "open the history",
            path: path.to_owned(),
            source,
        })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(failed("open the history", path))?;
    recognise(&connection, path)?;
    configure(&connection).map_err(failed("set up the history", path))?;
    migrate(&mut connection, now).map_err(failed("bring the tables up to date in", path))?;
    let unclean = unclean(&connection).map_err(failed("read the last run from", path))?;
    if unclean {
        check(&connection, path)?;
    }
    begin_run(&mut connection, now).map_err(failed("begin a run in", path))?;
    Ok((connection, unclean))
}

/// Names the operation and the file, and tells damage from other trouble.
pub(super) fn failed(
    operation: &'static str,
    path: &Path,
) -> impl Fn(rusqlite::Error) -> OpenError {
    let path: PathBuf = path.to_owned();
    move |source| match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => OpenError::Corrupt {
            path: path.clone(),
            detail: source.to_string(),
        },
        _ => OpenError::Database {
            operation,
            path: path.clone(),
            source,
        },
    }
}

/// Refuses what is not ours or newer than us, before anything is written to it.
fn recognise(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let read = |pragma: &str| -> Result<i64, OpenError> {
        connection
            .pragma_query_value(None, pragma, |row| row.get(0))
            .map_err(failed("read the format of", path))
    };
    let (application, found) = (read("application_id")?, read("user_version")?);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed("read the tables of", path))?;
    if application != APPLICATION && (application, found, tables) != (0, 0, 0) {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
        });
    }
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    Ok(())
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Takes effect only before the first table and before the write-ahead log is switched on.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // A process crash loses nothing; a power cut may lose the last minutes but cannot damage the file.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 4_000, |_| Ok(()))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

fn migrate(connection: &mut Connection, now: Timestamp) -> rusqlite::Result<()> {
    let transaction = immediate(connection)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let applied = usize::try_from(version).unwrap_or(0);
    for migration in MIGRATIONS.iter().skip(applied) {
        transaction.execute_batch(migration)?;
    }
    if applied == 0 {
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        set_meta(&transaction, COUNTING_SINCE, stored(now.as_millis()))?;
        let hour = stored(now.as_secs() / 3_600);
        set_meta(&transaction, rollup::ROLLED, rollup::watermark(hour))?;
    }
    if applied < MIGRATIONS.len() {
        transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    }
    transaction.commit()
}

/// In `meta`: the moment the history was made, in milliseconds.
pub(super) const COUNTING_SINCE: &str = "counting_since";
/// In `meta`: minutes before this one have no counter rows any more. None is added there again, so that what is kept
/// by the minute has no holes but those of the process.
pub(super) const MINUTES_FROM: &str = "minutes_from";
/// In `meta`: the same for hours.
pub(super) const HOURS_FROM: &str = "hours_from";
/// In `meta`: minutes before this one have no distributions any more, at most their hour has.
pub(super) const LATENCIES_FROM: &str = "latencies_from";

/// A value of the `meta` table.
pub(super) fn meta(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// Sets a value of the `meta` table.
pub(super) fn set_meta(connection: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?
        .execute(params![name, value])?;
    Ok(())
}

fn unclean(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT count(*) FROM run WHERE id = (SELECT max(id) FROM run) AND stopped_ms IS NULL",
        [],
        |row| Ok(row.get::<_, i64>(0)? > 0),
    )
}

/// Reads the whole file and refuses it when it does not hold together.
fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(failed("check", path))?;
    if verdict == "ok" {
        Ok(())
    } else {
        Err(OpenError::Corrupt {
            path: path.to_owned(),
            detail: verdict,
        })
    }
}

fn begin_run(connection: &mut Connection, now: Timestamp) -> rusqlite::Result<()> {
    let transaction = immediate(connection)?;
    let at = stored(now.as_millis());
    transaction.execute(
        "INSERT INTO run (started_ms, alive_ms) VALUES (?1, ?1)",
        [at],
    )?;
    transaction.execute(
        "DELETE FROM run WHERE id <= (SELECT max(id) FROM run) - ?1",
        [RUNS],
    )?;
    transaction.commit()
}

/// A transaction that holds the write lock from its beginning, so that it cannot fail half-way for want of it.
pub(super) fn immediate(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}
