//! What is let go, when, and in what order.
//!
//! After each minute one pass of small transactions: hours are rolled up, what is older than its retention is deleted,
//! what exceeds the byte budget is given up, and freed pages go back to the file system. A pass stops whenever there is
//! something to write, and deletes at most an hour of minutes and a day of hours: a clock that is wrong for one minute
//! cannot delete the history.

use rusqlite::{Connection, params};

use super::Config;
use super::database::Database;
use super::rollup;
use super::schema::{HOURS_FROM, LATENCIES_FROM, MINUTES_FROM, immediate, set_meta};
use super::value::{key, stored, unkey};
use crate::model::Timestamp;

/// Events that are kept at most.
const EVENTS: i64 = 10_000;
/// Minutes deleted in one transaction.
const MINUTES_PER_STEP: i64 = 10;
/// Hours of distributions given up for the budget in one transaction.
const HOURS_PER_STEP: i64 = 6;
/// Pages given back in one transaction: 1 MiB.
const PAGES_PER_STEP: i64 = 256;

/// One pass over everything that may be let go.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// The minute written last: what retentions count back from.
    pub(super) present: i64,
    task: usize,
    steps: u32,
    /// What the byte budget did; filled by the pass.
    pub(super) budget: Budget,
}

/// What the byte budget came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Budget {
    /// Distributions older than this were given up though their retention was not over; the newest such moment.
    pub(super) given_up_before: Option<Timestamp>,
    /// Nothing that may go is left, and it is still too much.
    pub(super) exceeded: bool,
}

/// Kinds of work, in the order of a pass.
#[derive(Clone, Copy, Debug)]
enum Task {
    RollUp,
    Minutes,
    MinuteLatencies,
    Hours,
    Events,
    Squeeze,
    Vacuum,
}

impl Task {
    /// In this order: rolled-up minutes may go, and pages are given back once everything that goes has gone.
    const ALL: [Self; 7] = [
        Self::RollUp,
        Self::Minutes,
        Self::MinuteLatencies,
        Self::Hours,
        Self::Events,
        Self::Squeeze,
        Self::Vacuum,
    ];

    /// How many transactions a pass gives it.
    const fn steps(self) -> u32 {
        match self {
            Self::RollUp => 1_000,
            Self::Minutes | Self::MinuteLatencies => 60 / MINUTES_PER_STEP as u32,
            Self::Hours => 24,
            Self::Events => 1,
            Self::Squeeze => 200,
            Self::Vacuum => 64,
        }
    }
}

impl Pass {
    /// Does one small piece and says whether there may be more.
    pub(super) fn step(
        &mut self,
        database: &mut Database,
        config: &Config,
    ) -> rusqlite::Result<bool> {
        let Some(task) = Task::ALL.get(self.task).copied() else {
            return Ok(false);
        };
        let more = self.work(task, database, config)?;
        self.steps += 1;
        if !more || self.steps >= task.steps() {
            self.task += 1;
            self.steps = 0;
        }
        Ok(true)
    }

    fn work(
        &mut self,
        task: Task,
        database: &mut Database,
        config: &Config,
    ) -> rusqlite::Result<bool> {
        let connection = &mut database.connection;
        let hour = self.present / 60;
        match task {
            Task::RollUp => {
                let (more, unreadable) = rollup::step(connection, hour)?;
                database.unreadable += unreadable;
                Ok(more)
            }
            Task::Minutes => {
                let keep = stored(config.minutes.as_secs() / 60);
                drop_minutes(connection, self.present - keep)
            }
            Task::MinuteLatencies => {
                let keep = stored(config.minute_latencies.as_secs() / 60);
                let gone = drop_minute_latencies(connection, self.present - keep)?;
                Ok(gone.is_some())
            }
            Task::Hours => drop_hours(connection, hour - stored(config.hours.as_secs() / 3_600)),
            Task::Events => {
                let oldest = (hour * 3_600 - stored(config.hours.as_secs())).saturating_mul(1_000);
                drop_events(connection, oldest)
            }
            Task::Squeeze => self.squeeze(connection, config.max_bytes),
            Task::Vacuum => vacuum(connection, config.max_bytes),
        }
    }

    /// Gives up the oldest distributions while the rows need more than `max_bytes`: minutes first, since their hours
    /// remain, then hours.
    fn squeeze(&mut self, connection: &mut Connection, max_bytes: u64) -> rusqlite::Result<bool> {
        let pages = Pages::read(connection)?;
        if (pages.total - pages.free).saturating_mul(pages.bytes) <= stored(max_bytes) {
            return Ok(false);
        }
        let gone = match drop_minute_latencies(connection, self.present)? {
            Some(minute) => Some(minute),
            None => drop_hour_latencies(connection, self.present / 60)?.map(|hour| hour * 60),
        };
        if let Some(minute) = gone {
            let before = Timestamp::from_secs(u64::try_from(minute * 60).unwrap_or(0));
            self.budget.given_up_before = self.budget.given_up_before.max(Some(before));
        }
        self.budget.exceeded = gone.is_none();
        Ok(gone.is_some())
    }
}

/// Deletes the oldest minutes' counters before `bound`, some of them.
fn drop_minutes(connection: &mut Connection, bound: i64) -> rusqlite::Result<bool> {
    let transaction = immediate(connection)?;
    let oldest: Option<i64> =
        transaction.query_row("SELECT min(minute) FROM minute", [], |row| row.get(0))?;
    let Some(oldest) = oldest.filter(|oldest| *oldest < bound) else {
        return Ok(false);
    };
    let before = bound.min(oldest + MINUTES_PER_STEP);
    for sql in [
        "DELETE FROM slo_minute WHERE minute < ?1",
        "DELETE FROM route_minute WHERE minute < ?1",
        "DELETE FROM minute WHERE minute < ?1",
    ] {
        transaction.execute(sql, [before])?;
    }
    set_meta(&transaction, MINUTES_FROM, before)?;
    transaction.commit()?;
    Ok(true)
}

/// Deletes the oldest minutes' distributions before `bound`, some of them, but none whose hour has not been rolled up.
/// Gives the minute up to which they are gone; `None` when nothing was there to delete.
fn drop_minute_latencies(connection: &mut Connection, bound: i64) -> rusqlite::Result<Option<i64>> {
    let transaction = immediate(connection)?;
    let (rolled_hour, _) = unkey(rollup::rolled(&transaction)?);
    let bound = bound.min(rolled_hour * 60);
    let oldest: Option<i64> =
        transaction.query_row("SELECT min(k) FROM latency_minute", [], |row| row.get(0))?;
    let Some(oldest) = oldest.map(|k| unkey(k).0).filter(|oldest| *oldest < bound) else {
        return Ok(None);
    };
    let before = bound.min(oldest + MINUTES_PER_STEP);
    transaction.execute("DELETE FROM latency_minute WHERE k < ?1", [key(before, 0)])?;
    set_meta(&transaction, LATENCIES_FROM, before)?;
    transaction.commit()?;
    Ok(Some(before))
}

/// Deletes the oldest hour's rows when it is before `bound`.
fn drop_hours(connection: &mut Connection, bound: i64) -> rusqlite::Result<bool> {
    let transaction = immediate(connection)?;
    let oldest: Option<i64> =
        transaction.query_row("SELECT min(hour) FROM hour", [], |row| row.get(0))?;
    let Some(oldest) = oldest.filter(|oldest| *oldest < bound) else {
        return Ok(false);
    };
    for sql in [
        "DELETE FROM slo_hour WHERE hour <= ?1",
        "DELETE FROM route_hour WHERE hour <= ?1",
        "DELETE FROM route_bad WHERE hour <= ?1",
        "DELETE FROM hour WHERE hour <= ?1",
    ] {
        transaction.execute(sql, [oldest])?;
    }
    transaction.execute(
        "DELETE FROM latency_hour WHERE k < ?1",
        [key(oldest + 1, 0)],
    )?;
    set_meta(&transaction, HOURS_FROM, oldest + 1)?;
    transaction.commit()?;
    Ok(true)
}

/// Deletes the oldest hours' distributions before `bound`, some of them; gives the hour up to which they are gone.
fn drop_hour_latencies(connection: &mut Connection, bound: i64) -> rusqlite::Result<Option<i64>> {
    let oldest: Option<i64> =
        connection.query_row("SELECT min(k) FROM latency_hour", [], |row| row.get(0))?;
    let Some(oldest) = oldest.map(|k| unkey(k).0).filter(|oldest| *oldest < bound) else {
        return Ok(None);
    };
    let before = bound.min(oldest + HOURS_PER_STEP);
    connection.execute("DELETE FROM latency_hour WHERE k < ?1", [key(before, 0)])?;
    Ok(Some(before))
}

/// Deletes events from before `oldest_ms` and beyond the number kept.
fn drop_events(connection: &mut Connection, oldest_ms: i64) -> rusqlite::Result<bool> {
    connection.execute(
        "DELETE FROM event WHERE at_ms < ?1 OR id <= (SELECT max(id) FROM event) - ?2",
        params![oldest_ms, EVENTS],
    )?;
    Ok(false)
}

/// Gives some free pages back to the file system. Not while they are few: the next minutes will fill them again.
fn vacuum(connection: &mut Connection, max_bytes: u64) -> rusqlite::Result<bool> {
    let pages = Pages::read(connection)?;
    let too_large = pages.total.saturating_mul(pages.bytes) > stored(max_bytes);
    let many = pages.free > (pages.total / 8).max(PAGES_PER_STEP);
    if pages.free == 0 || !(too_large || many) {
        return Ok(false);
    }
    // The pragma frees one page per row it gives, so it has to be stepped to its end.
    let mut statement =
        connection.prepare_cached(&format!("PRAGMA incremental_vacuum({PAGES_PER_STEP})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(true)
}

/// The file's pages.
struct Pages {
    total: i64,
    free: i64,
    bytes: i64,
}

impl Pages {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
        Ok(Self {
            total: pragma("page_count")?,
            free: pragma("freelist_count")?,
            bytes: pragma("page_size")?,
        })
    }
}
