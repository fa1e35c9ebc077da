//! The write connection: what a minute, an event and the alerts become.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::encoded::{Encoded, EncodedRoute, EncodedSlo, Latencies};
use super::family::{Addition, Around, Entry, Family};
use super::schema::{self, immediate, meta};
use super::value::{self, Blob, ROUTES, key, stored};
use super::{FILE, OpenError, QueryError};
use super::{parts, probe, rollup};
use crate::model::{Event, Scope, SlotRecord, Timestamp};

/// How many stored minutes may lie after the one that is written.
const SET_BACK: i64 = 1_440;

/// The longest text of an event or its scope that is kept, in bytes.
const LONGEST_TEXT: usize = 4 << 10;

/// The only connection that writes.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: Connection,
    path: PathBuf,
    slos: Family,
    routes: Family,
    /// What SLOs are known to be stored as counting, by name.
    counted: HashMap<String, String>,
    /// Stored distributions that could not be read and were replaced or left out of a sum.
    pub(super) unreadable: u64,
}

impl Database {
    /// Opens the file in `dir` and begins a run; also says whether the run before ended without saying so.
    pub(super) fn open(dir: &Path, now: Timestamp) -> Result<(Self, bool), OpenError> {
        let path = dir.join(FILE);
        let (connection, unclean) = schema::open(&path, now)?;
        let database = Self {
            connection,
            path,
            slos: Family::slos(),
            routes: Family::routes(),
            counted: HashMap::new(),
            unreadable: 0,
        };
        Ok((database, unclean))
    }

    /// An error met while the store was being opened.
    pub(super) fn open_error(&self, error: QueryError) -> OpenError {
        let QueryError { operation, source } = error;
        schema::failed(operation, &self.path)(source)
    }

    /// Adds a minute to what is stored of it, in one transaction. `now` bounds how far the run is known to reach.
    pub(super) fn write_minute(&mut self, batch: &Encoded, now: Timestamp) -> rusqlite::Result<()> {
        let Encoded {
            minute,
            routes,
            slos,
            latency_bytes: _,
        } = batch;
        let transaction = immediate(&mut self.connection)?;
        let minute = place(&transaction, *minute)?;
        let around = around(&transaction, minute)?;
        for (keeps, sql, slot) in [
            (
                around.keeps_minute,
                "INSERT OR IGNORE INTO minute VALUES (?1)",
                minute,
            ),
            (
                around.keeps_hour,
                "INSERT OR IGNORE INTO hour VALUES (?1)",
                minute / 60,
            ),
        ] {
            if keeps {
                transaction.prepare_cached(sql)?.execute([slot])?;
            }
        }
        let unknown = slos.iter().filter(|slo| {
            !slo.events.is_empty() && self.counted.get(&slo.name) != Some(&slo.events)
        });
        let unknown: Vec<&EncodedSlo> = unknown.collect();
        for slo in &unknown {
            set_aside(&transaction, slo)?;
        }
        add_slos(self.slos.entry(&transaction, minute, &around)?, slos)?;
        for slo in &unknown {
            transaction
                .prepare_cached("UPDATE slo SET counted = ?2 WHERE name = ?1")?
                .execute([&slo.name, &slo.events])?;
        }
        let entry = self.routes.entry(&transaction, minute, &around)?;
        let unreadable = add_routes(entry, routes)?;
        let end = (minute + 1).saturating_mul(60_000);
        transaction
            .prepare_cached(
                "UPDATE run SET alive_ms = max(alive_ms, ?1) WHERE id = (SELECT max(id) FROM run)",
            )?
            .execute([end.min(stored(now.as_millis()))])?;
        transaction.commit()?;
        let known = unknown
            .iter()
            .map(|slo| (slo.name.clone(), slo.events.clone()));
        self.counted.extend(known);
        self.unreadable += unreadable;
        Ok(())
    }

    /// Appends events.
    pub(super) fn write_events<'a>(
        &mut self,
        events: impl IntoIterator<Item = &'a Event>,
    ) -> rusqlite::Result<()> {
        let transaction = immediate(&mut self.connection)?;
        for event in events {
            let Event {
                at,
                kind,
                scope,
                text,
            } = event;
            let Scope {
                route,
                upstream,
                endpoint,
                slo,
                version,
            } = scope;
            transaction
                .prepare_cached(
                    "INSERT INTO event (at_ms, kind, route, upstream, endpoint, slo, version, text) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    stored(at.as_millis()),
                    kind.as_str(),
                    route.as_deref().map(clipped),
                    upstream.as_deref().map(clipped),
                    endpoint.as_deref().map(clipped),
                    slo.as_deref().map(clipped),
                    version.as_deref().map(clipped),
                    clipped(text)
                ])?;
        }
        transaction.commit()
    }

    /// Replaces all alert states.
    pub(super) fn write_alerts(&mut self, alerts: &[(String, String)]) -> rusqlite::Result<()> {
        let transaction = immediate(&mut self.connection)?;
        transaction.execute("DELETE FROM alert", [])?;
        for (id, state) in alerts {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO alert (id, state) VALUES (?1, ?2)")?
                .execute([id, state])?;
        }
        transaction.commit()
    }

    /// Adds slots of probes.
    pub(super) fn write_slots(&mut self, records: &[SlotRecord]) -> rusqlite::Result<()> {
        let transaction = immediate(&mut self.connection)?;
        probe::write(&transaction, records)?;
        transaction.commit()
    }

    /// Ends the run cleanly and folds the log into the file.
    pub(super) fn stop(&mut self, now: Timestamp) -> rusqlite::Result<()> {
        self.connection.execute(
            "UPDATE run SET stopped_ms = ?1 WHERE id = (SELECT max(id) FROM run)",
            [stored(now.as_millis())],
        )?;
        // The first column is 1 when a reader kept the log from being folded in; it is complete all the same.
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    /// The bytes of the file and its log on disk.
    pub(super) fn size_bytes(&self) -> u64 {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        [self.path.as_path(), Path::new(&log)]
            .into_iter()
            .filter_map(|path| path.metadata().ok())
            .map(|metadata| metadata.len())
            .sum()
    }
}

/// As much of an event's text as is kept: it may come from anyone who may announce a deploy.
fn clipped(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST_TEXT))
        .unwrap_or(text)
}

/// Gives what is stored under the SLO's name another one, `name#number`, which no configuration can have, if it counted
/// something else.
fn set_aside(connection: &Connection, slo: &EncodedSlo) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE slo SET name = name || '#' || id WHERE name = ?1 AND counted <> '' AND counted <> ?2",
        )?
        .execute([&slo.name, &slo.events])?;
    Ok(())
}

fn add_slos(mut entry: Entry<'_>, slos: &[EncodedSlo]) -> rusqlite::Result<()> {
    for slo in slos {
        let EncodedSlo {
            name,
            events: _,
            counted,
        } = slo;
        entry.add(Addition {
            name,
            counted,
            summed: &[],
        })?;
    }
    Ok(())
}

/// Gives how many distributions could not be added.
fn add_routes(mut entry: Entry<'_>, routes: &[EncodedRoute]) -> rusqlite::Result<u64> {
    let (connection, minute) = (entry.connection, entry.minute);
    let rolled = rollup::rolled(connection)?;
    let latencies_from = meta(connection, schema::LATENCIES_FROM)?.unwrap_or(0);
    let mut unreadable = 0;
    for route in routes {
        let EncodedRoute {
            name,
            counted,
            summed,
            latencies,
            bad_parts,
        } = route;
        let id = entry.add(Addition {
            name,
            counted,
            summed,
        })?;
        if entry.keeps_hour() {
            parts::write(connection, minute / 60, id, bad_parts)?;
        }
        let Some(latencies) = latencies else {
            continue;
        };
        if id >= ROUTES {
            unreadable += 1;
            continue;
        }
        if minute >= latencies_from {
            unreadable += add_latencies(connection, key(minute, id), latencies)?;
        }
        // An hour that was rolled up before this minute of it came.
        if key(minute / 60, id) < rolled
            && let Some(total) = &latencies[0]
        {
            unreadable += rollup::add(connection, key(minute / 60, id), total)?;
        }
    }
    Ok(unreadable)
}

/// The minute that counts are stored under. When the clock was set back further than a day of counted minutes, it is
/// the newest one: raising every later total each minute would take longer than a minute, and a machine that boots in
/// 1970 knows nothing better.
fn place(connection: &Connection, minute: i64) -> rusqlite::Result<i64> {
    let far_back = connection
        .prepare_cached("SELECT 1 FROM minute WHERE minute > ?1 LIMIT 1 OFFSET ?2")?
        .exists([minute, SET_BACK])?;
    if !far_back {
        return Ok(minute);
    }
    connection.query_row("SELECT max(minute) FROM minute", [], |row| row.get(0))
}

fn around(connection: &Connection, minute: i64) -> rusqlite::Result<Around> {
    let list = |sql: &str, slot: i64| -> rusqlite::Result<Vec<i64>> {
        connection
            .prepare_cached(sql)?
            .query_map([slot], |row| row.get(0))?
            .collect()
    };
    let from = |name: &str| -> rusqlite::Result<i64> { Ok(meta(connection, name)?.unwrap_or(0)) };
    let hour = minute / 60;
    Ok(Around {
        keeps_minute: minute >= from(schema::MINUTES_FROM)?,
        keeps_hour: hour >= from(schema::HOURS_FROM)?,
        later_minutes: list("SELECT minute FROM minute WHERE minute > ?1", minute)?,
        later_hours: list("SELECT hour FROM hour WHERE hour > ?1", hour)?,
    })
}

/// Adds a minute's distributions to what is stored under `key`; gives how many stored ones were unreadable.
fn add_latencies(
    connection: &Connection,
    key: i64,
    latencies: &Latencies,
) -> rusqlite::Result<u64> {
    let [total, edge, connect, wait, body] = latencies;
    let inserted = connection
        .prepare_cached(
            "INSERT INTO latency_minute (k, total, edge, connect, wait, body) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (k) DO NOTHING",
        )?
        .execute(params![key, total, edge, connect, wait, body])?;
    if inserted > 0 {
        return Ok(0);
    }
    let present = connection
        .prepare_cached("SELECT total, edge, connect, wait, body FROM latency_minute WHERE k = ?1")?
        .query_row([key], |row| Ok(merged(row, latencies)))
        .optional()?;
    let Some(([total, edge, connect, wait, body], unreadable)) = present else {
        return Ok(0);
    };
    connection
        .prepare_cached(
            "UPDATE latency_minute SET total = ?2, edge = ?3, connect = ?4, wait = ?5, body = ?6 WHERE k = ?1",
        )?
        .execute(params![key, total, edge, connect, wait, body])?;
    Ok(unreadable)
}

/// The stored distributions with `latencies` added, and how many stored ones were unreadable.
fn merged(row: &Row<'_>, latencies: &Latencies) -> (Latencies, u64) {
    let mut sums: Latencies = [const { None }; 5];
    let mut unreadable = 0;
    for (column, (sum, new)) in sums.iter_mut().zip(latencies).enumerate() {
        let (value, bad) = value_sum(value::latency(row, column), new.as_deref());
        *sum = value;
        unreadable += u64::from(bad);
    }
    (sums, unreadable)
}

/// A stored distribution with another added to it, and whether the stored one was unreadable and so replaced.
pub(super) fn value_sum(stored: Blob, new: Option<&[u8]>) -> (Option<Vec<u8>>, bool) {
    let owned = || new.map(<[u8]>::to_vec);
    match (stored, new) {
        (Blob::Absent, _) => (owned(), false),
        (Blob::Unreadable, _) => (owned(), true),
        (Blob::Read(stored), None) => (Some(stored.to_bytes()), false),
        (Blob::Read(mut stored), Some(bytes)) => match value::decoded(bytes) {
            Blob::Read(new) => {
                stored.merge(&new);
                (Some(stored.to_bytes()), false)
            }
            Blob::Absent | Blob::Unreadable => (Some(stored.to_bytes()), false),
        },
    }
}
