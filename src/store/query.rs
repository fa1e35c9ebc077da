//! Reading while the writer writes.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

use super::error::doing;
use super::family::Family;
use super::value::{self, Blob, count, key, tally, unkey};
use super::{FILE, QueryError, probe, rollup, schema};
use crate::model::{Counts, Event, EventKind, Latency, Scope, SlotRecord, Tally, Timestamp};

/// A read-only connection. Each call sees one consistent moment and holds nothing afterwards, since a reader that
/// stays keeps the log from being folded into the file.
///
/// Spans are `from_secs` to `to_secs` since the Unix epoch, both rounded down to whole slots: minutes as long as they
/// are kept, hours before that.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
    slos: Family,
    routes: Family,
}

impl Reader {
    /// Opens the history in `dir`, which must exist; needs no lock and disturbs nobody.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn open(dir: &Path) -> Result<Self, QueryError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(dir.join(FILE), flags).and_then(|connection| {
            connection.busy_timeout(schema::BUSY)?;
            connection.set_prepared_statement_cache_capacity(32);
            Ok(connection)
        });
        Ok(Self {
            connection: opened.map_err(doing("open the history"))?,
            slos: Family::slos(),
            routes: Family::routes(),
        })
    }

    /// Valid events of an SLO in the span; none when it was never counted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn slo_over(&self, slo: &str, from_secs: u64, to_secs: u64) -> Result<Tally, QueryError> {
        self.over(&self.slos, slo, (from_secs, to_secs))
            .map(tally)
            .map_err(doing("read an SLO's counts"))
    }

    /// What an SLO counted in the span, slot by slot in rising order: the start in seconds since the Unix epoch, the
    /// width in seconds, and its valid events. Hours in which nothing was bad stay whole; others, and one that begins before
    /// the span, come by the minute as long as minutes are kept. Slots without a valid event are left out.
    ///
    /// Rows are looked up one by one, since they are clustered by time and other SLOs' lie between: for a month some
    /// 700, and 60 for each hour that had anything bad.
    ///
    /// # Errors
    /// When the database cannot be read.
    ///
    /// Nothing when the SLO's history is not of what `counted` says; an empty text says nothing.
    pub fn slo_history(
        &self,
        (slo, counted): (&str, &str),
        from_secs: u64,
        to_secs: u64,
        each: impl FnMut(u64, u64, Tally),
    ) -> Result<(), QueryError> {
        if !self
            .is_of(slo, counted)
            .map_err(doing("read what an SLO counts"))?
        {
            return Ok(());
        }
        self.slots_of(slo, (from_secs, to_secs), each)
            .map_err(doing("read an SLO's history"))
    }

    /// A route's requests in the span; none when it was never counted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn route_over(
        &self,
        route: &str,
        from_secs: u64,
        to_secs: u64,
    ) -> Result<Counts, QueryError> {
        self.over(&self.routes, route, (from_secs, to_secs))
            .map_err(doing("read a route's counts"))
    }

    /// A route's requests since the history began; none when it was never counted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn route_counts(&self, route: &str) -> Result<Counts, QueryError> {
        self.routes
            .member(&self.connection, route)
            .map(|member| member.map_or_else(Counts::default, |member| member.total))
            .map_err(doing("read a route's totals"))
    }

    /// A route's total durations in the span; stored distributions that cannot be read are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn route_latency(
        &self,
        route: &str,
        from_secs: u64,
        to_secs: u64,
    ) -> Result<Latency, QueryError> {
        self.latency_over(route, (from_secs, to_secs))
            .map_err(doing("read a route's latencies"))
    }

    /// How long the valid requests of each route took in one hour, in hours since the Unix epoch, by the route's id. Not yet
    /// whole for the hour that goes on, and for a while after it: then `None`. Stored distributions that cannot be read are
    /// left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn hour_latencies(&self, hour: u64) -> Result<Option<Vec<(String, Latency)>>, QueryError> {
        self.latencies_of(value::stored(hour))
            .map_err(doing("read an hour's latencies"))
    }

    fn latencies_of(&self, hour: i64) -> rusqlite::Result<Option<Vec<(String, Latency)>>> {
        let view = self.connection.unchecked_transaction()?;
        if rollup::rolled(&view)? < rollup::watermark(hour.saturating_add(1)) {
            return Ok(None);
        }
        let mut statement = view.prepare_cached(HOUR_OF_ALL)?;
        let mut rows = statement.query([hour, value::ROUTES])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let id = value::text(row, 0);
            if let (Some(id), Blob::Read(latency)) = (id, value::latency(row, 1)) {
                found.push((id, *latency));
            }
        }
        Ok(Some(found))
    }

    /// The newest `limit` events, newest first. Rows that are no events are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn events(&self, limit: u32) -> Result<Vec<Event>, QueryError> {
        self.events_until(Timestamp::from_millis(i64::MAX as u64), limit)
    }

    /// The newest `limit` events that are not later than `at`, newest first. Rows that are no events are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn events_until(&self, at: Timestamp, limit: u32) -> Result<Vec<Event>, QueryError> {
        let at = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
        let read = || -> rusqlite::Result<Vec<Event>> {
            let mut statement = self.connection.prepare_cached(
                "SELECT at_ms, kind, route, upstream, endpoint, slo, version, text FROM event \
                 WHERE at_ms <= ?2 ORDER BY at_ms DESC, id DESC LIMIT ?1",
            )?;
            let mut rows = statement.query(rusqlite::params![limit, at])?;
            let mut events = Vec::new();
            while let Some(row) = rows.next()? {
                events.extend(event(row));
            }
            Ok(events)
        };
        read().map_err(doing("read events"))
    }

    /// The newest `limit` records of a probe's slots, newest first. Rows that are none are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn probe_slots(&self, probe: &str, limit: u32) -> Result<Vec<SlotRecord>, QueryError> {
        probe::newest(&self.connection, probe, limit).map_err(doing("read a probe's slots"))
    }

    /// Whether what is stored of an SLO counts what `counted` says, as far as either says anything.
    fn is_of(&self, slo: &str, counted: &str) -> rusqlite::Result<bool> {
        let column = schema::counted(&self.connection)?;
        let sql = format!(
            "SELECT count(*) = 0 FROM slo WHERE name = ?1 AND ?2 <> '' AND {column} <> '' AND {column} <> ?2"
        );
        self.connection
            .prepare_cached(&sql)?
            .query_row([slo, counted], |row| row.get(0))
    }

    fn slots_of(
        &self,
        slo: &str,
        (from, to): (u64, u64),
        mut each: impl FnMut(u64, u64, Tally),
    ) -> rusqlite::Result<()> {
        let view = self.connection.unchecked_transaction()?;
        let Some(member) = self.slos.member(&view, slo)? else {
            return Ok(());
        };
        let by_minute = schema::meta(&view, schema::MINUTES_FROM)?.unwrap_or(0);
        let slot = |sql: &str, at: i64| -> rusqlite::Result<Option<Tally>> {
            view.prepare_cached(sql)?
                .query_row([at, member.id], |row| Ok(tally(value::counts(row, 0)?)))
                .optional()
        };
        let hour = |secs: u64| i64::try_from(secs / 3_600).unwrap_or(i64::MAX);
        let first_minute = i64::try_from(from / 60).unwrap_or(i64::MAX);
        let first = hour(from).max(member.first_minute / 60);
        let last = hour(to).min(member.last_minute / 60);
        let mut tell = |at: i64, width: u64, tally: Tally| {
            let start = u64::try_from(at).unwrap_or(0).saturating_mul(width);
            if tally.valid() > 0 && start.saturating_add(width) > from && start < to {
                each(start, width, tally);
            }
        };
        for hour in first..=last {
            let Some(whole) = slot(SLO_HOUR, hour)? else {
                continue;
            };
            // Of an hour that begins before the span, only a part belongs to it, and only that part's minutes are needed.
            let begins = first_minute.max(hour * 60);
            if begins < by_minute || whole.bad == 0 && begins == hour * 60 {
                tell(hour, 3_600, whole);
                continue;
            }
            for minute in hour * 60..(hour + 1) * 60 {
                if let Some(counted) = slot(SLO_MINUTE, minute)? {
                    tell(minute, 60, counted);
                }
            }
        }
        Ok(())
    }

    fn over(
        &self,
        family: &Family,
        name: &str,
        (from, to): (u64, u64),
    ) -> rusqlite::Result<Counts> {
        let view = self.connection.unchecked_transaction()?;
        let Some(member) = family.member(&view, name)? else {
            return Ok(Counts::default());
        };
        let end = family.cumulative(&view, &member, to)?;
        let begin = family.cumulative(&view, &member, from)?;
        Ok(end - begin)
    }

    fn latency_over(&self, route: &str, (from, to): (u64, u64)) -> rusqlite::Result<Latency> {
        let mut sum = Latency::new();
        let view = self.connection.unchecked_transaction()?;
        let Some(member) = self.routes.member(&view, route)? else {
            return Ok(sum);
        };
        let kept = Kept::read(&view)?;
        let whole = |secs: u64| i64::try_from(secs / 60).unwrap_or(i64::MAX);
        let mut minute = whole(from).max(kept.first_minute);
        let end = whole(to).min(kept.end_minute);
        while minute < end {
            let hour = minute / 60;
            let next_hour = (hour + 1) * 60;
            let at_edge = minute % 60 != 0 || minute < kept.first_by_minute;
            let by_hour = key(hour, member.id) < kept.rolled
                && next_hour <= end
                && (!at_edge || minute < kept.first_by_minute);
            let next = next_hour.min(end);
            if by_hour {
                add(&view, &mut sum, HOUR, key(hour, member.id))?;
            } else {
                for minute in minute..next {
                    add(&view, &mut sum, MINUTE, key(minute, member.id))?;
                }
            }
            minute = next;
        }
        Ok(sum)
    }
}

const SLO_HOUR: &str = "SELECT good, bad, 0 FROM slo_hour WHERE hour = ?1 AND slo_id = ?2";
const SLO_MINUTE: &str = "SELECT good, bad, 0 FROM slo_minute WHERE minute = ?1 AND slo_id = ?2";
const MINUTE: &str = "SELECT total FROM latency_minute WHERE k = ?1";
const HOUR: &str = "SELECT total FROM latency_hour WHERE k = ?1";
/// The distributions of an hour, each with its route; ?2 is how many route numbers an hour's keys hold.
const HOUR_OF_ALL: &str = "SELECT route.name, latency_hour.total FROM latency_hour \
    JOIN route ON route.id = latency_hour.k - ?1 * ?2 WHERE k BETWEEN ?1 * ?2 AND (?1 + 1) * ?2 - 1";

fn add(connection: &Connection, sum: &mut Latency, sql: &str, key: i64) -> rusqlite::Result<()> {
    let stored = connection
        .prepare_cached(sql)?
        .query_row([key], |row| Ok(value::latency(row, 0)))
        .optional()?;
    if let Some(Blob::Read(latency)) = stored {
        sum.merge(&latency);
    }
    Ok(())
}

/// Which distributions there are.
struct Kept {
    /// The first minute there is anything of.
    first_minute: i64,
    /// Before this minute there are only hours.
    first_by_minute: i64,
    /// The minute after the last.
    end_minute: i64,
    rolled: i64,
}

impl Kept {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let slot = |sql: &str| -> rusqlite::Result<Option<i64>> {
            let key: Option<i64> = connection.query_row(sql, [], |row| row.get(0))?;
            Ok(key.map(|key| unkey(key).0))
        };
        let first = slot("SELECT min(k) FROM latency_minute")?;
        let first_hour = slot("SELECT min(k) FROM latency_hour")?;
        let last = slot("SELECT max(k) FROM latency_minute")?;
        let last_hour = slot("SELECT max(k) FROM latency_hour")?;
        let first = first.unwrap_or(i64::MAX);
        let by_hour = |hour: Option<i64>| hour.map(|hour| hour * 60);
        Ok(Self {
            first_minute: by_hour(first_hour).map_or(first, |minute| minute.min(first)),
            first_by_minute: schema::meta(connection, schema::LATENCIES_FROM)?.unwrap_or(0),
            end_minute: last
                .map(|minute| minute + 1)
                .max(by_hour(last_hour).map(|minute| minute + 60))
                .unwrap_or(0),
            rolled: rollup::rolled(connection)?,
        })
    }
}

/// The event in a row; `None` when it is none.
fn event(row: &Row<'_>) -> Option<Event> {
    let kind = value::text(row, 1)?;
    Some(Event {
        at: Timestamp::from_millis(count(row.get(0).ok()?)),
        kind: EventKind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind)?,
        scope: Scope {
            route: value::text(row, 2),
            upstream: value::text(row, 3),
            endpoint: value::text(row, 4),
            slo: value::text(row, 5),
            version: value::text(row, 6),
        },
        text: value::text(row, 7)?,
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::database::Database;
    use super::super::encoded::Encoded;
    use super::super::{MinuteBatch, SloMinute};
    use super::*;

    /// The first minute of an hour.
    const M0: u64 = 29_700_000;

    #[test]
    fn of_an_hour_that_begins_before_the_span_only_its_minutes_in_the_span_are_told() {
        let dir = TempDir::new().unwrap();
        let (mut database, _) = Database::open(dir.path(), Timestamp::from_secs(M0 * 60)).unwrap();
        // Two in the first hour, one in the second.
        for (minute, bad) in [(M0 + 10, 7), (M0 + 40, 2), (M0 + 70, 0)] {
            let slos = ["some_bad", "all_good"].map(|slo| SloMinute {
                slo: slo.to_owned(),
                counted: String::new(),
                tally: Tally {
                    good: 10,
                    bad: if slo == "some_bad" { bad } else { 0 },
                },
            });
            let batch = MinuteBatch {
                minute,
                slos: slos.into(),
                routes: Vec::new(),
            };
            let end = Timestamp::from_secs((minute + 1) * 60);
            database.write_minute(&Encoded::from(batch), end).unwrap();
        }
        let told = |slo: &str, from: u64| {
            let mut told = Vec::new();
            let each = |start: u64, width, Tally { good, bad }| {
                told.push(((start / 60).saturating_sub(M0), width, good, bad));
            };
            let reader = Reader::open(dir.path()).unwrap();
            reader
                .slo_history((slo, ""), from, (M0 + 90) * 60, each)
                .unwrap();
            told
        };
        let (inside, before) = ((M0 + 30) * 60 + 5, M0 * 60);
        let second = (60, 3_600, 10, 0);
        assert_eq!(told("some_bad", inside), [(40, 60, 10, 2), second]);
        assert_eq!(told("all_good", inside), [(40, 60, 10, 0), second]);
        assert_eq!(told("all_good", before), [(0, 3_600, 20, 0), second]);
        // The oldest minutes go: those that the span needs are still there, then they are not.
        for (kept_from, first) in [(20, (40, 60, 10, 2)), (35, (0, 3_600, 20, 9))] {
            let sql = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)";
            let kept_from = i64::try_from(M0 + kept_from).unwrap();
            let connection = &database.connection;
            let set = connection.execute(sql, rusqlite::params![schema::MINUTES_FROM, kept_from]);
            assert_eq!(set.unwrap(), 1);
            assert_eq!(told("some_bad", inside), [first, second]);
        }
    }
}
