//! Hours of latency distributions out of their minutes.
//!
//! Counters reach their hour in the minute's own transaction. Distributions do not: merging one means decoding it, so
//! an hour is rolled up once, after it has ended, a few routes at a time. A watermark says how far that has come; it
//! moves in the transaction that writes the rows, so a crash repeats nothing and leaves nothing out.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::database::value_sum;
use super::schema::{immediate, meta, set_meta};
use super::value::{self, Blob, ROUTES, key, unkey};
use crate::model::Latency;

/// In `meta`, the watermark: every hour's key (hour and route) below it has been rolled up.
pub(super) const ROLLED: &str = "rolled";

/// The watermark at the beginning of `hour`.
pub(super) fn watermark(hour: i64) -> i64 {
    key(hour, 0)
}

/// How many routes are rolled up in one transaction: about 60 ms of work, so that a minute never waits long.
const ROUTES_PER_STEP: i64 = 64;

/// The watermark.
pub(super) fn rolled(connection: &Connection) -> rusqlite::Result<i64> {
    // Without one, which only someone else can have brought about, nothing has been rolled up.
    Ok(meta(connection, ROLLED)?.unwrap_or(0))
}

/// Rolls up some routes of the oldest hour before `hour` that needs it. Gives whether there may be more to do, and how
/// many distributions could not be read.
pub(super) fn step(connection: &mut Connection, hour: i64) -> rusqlite::Result<(bool, u64)> {
    let transaction = immediate(connection)?;
    let (open_hour, from) = unkey(rolled(&transaction)?);
    if open_hour >= hour {
        return Ok((false, 0));
    }
    if from == 0 {
        // Hours without traffic, or without the process, are passed over at once.
        let next: Option<i64> = transaction
            .prepare_cached("SELECT min(k) FROM latency_minute WHERE k >= ?1")?
            .query_row([key(open_hour * 60, 0)], |row| row.get(0))?;
        let next_hour = next.map_or(hour, |next| (unkey(next).0 / 60).min(hour));
        if next_hour > open_hour {
            set_meta(&transaction, ROLLED, watermark(next_hour))?;
            transaction.commit()?;
            return Ok((next_hour < hour, 0));
        }
    }
    let to = from + ROUTES_PER_STEP;
    let (sums, unreadable) = sums(&transaction, open_hour, (from, to - 1))?;
    for (route, sum) in &sums {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO latency_hour (k, total) VALUES (?1, ?2)")?
            .execute(params![key(open_hour, *route), sum.to_bytes()])?;
    }
    let routes: Option<i64> =
        transaction.query_row("SELECT max(id) FROM route", [], |row| row.get(0))?;
    let past_the_last = to > routes.unwrap_or(0) || to >= ROUTES;
    let next = if past_the_last {
        watermark(open_hour + 1)
    } else {
        key(open_hour, to)
    };
    set_meta(&transaction, ROLLED, next)?;
    transaction.commit()?;
    Ok((true, unreadable))
}

/// Adds a distribution to an hour that has been rolled up already; gives how many stored ones were unreadable.
pub(super) fn add(connection: &Connection, key: i64, new: &[u8]) -> rusqlite::Result<u64> {
    let stored = connection
        .prepare_cached("SELECT total FROM latency_hour WHERE k = ?1")?
        .query_row([key], |row| Ok(value::latency(row, 0)))
        .optional()?
        .unwrap_or(Blob::Absent);
    let (sum, unreadable) = value_sum(stored, Some(new));
    connection
        .prepare_cached("INSERT OR REPLACE INTO latency_hour (k, total) VALUES (?1, ?2)")?
        .execute(params![key, sum])?;
    Ok(u64::from(unreadable))
}

/// The distributions of one hour, by route, for the routes `first..=last`.
fn sums(
    connection: &Connection,
    hour: i64,
    (first, last): (i64, i64),
) -> rusqlite::Result<(BTreeMap<i64, Latency>, u64)> {
    let mut sums: BTreeMap<i64, Latency> = BTreeMap::new();
    let mut unreadable = 0;
    let mut statement = connection
        .prepare_cached("SELECT k, total FROM latency_minute WHERE k BETWEEN ?1 AND ?2")?;
    for minute in hour * 60..(hour + 1) * 60 {
        let mut rows = statement.query(params![key(minute, first), key(minute, last)])?;
        while let Some(row) = rows.next()? {
            let (_, route) = unkey(row.get(0)?);
            match value::latency(row, 1) {
                Blob::Absent => {}
                Blob::Read(latency) => sums.entry(route).or_default().merge(&latency),
                Blob::Unreadable => unreadable += 1,
            }
        }
    }
    Ok((sums, unreadable))
}
