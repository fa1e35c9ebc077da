//! What earlier runs left: read once, when a process starts, to refill its memory.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::Row;
use rustc_hash::FxBuildHasher;

use super::error::doing;
use super::gaps::gaps;
use super::query::Reader;
use super::value::{self, Blob, count, counts, tally, unkey};
use super::{BadPart, QueryError, parts, schema};
use crate::model::{Counts, Event, Latency, Phase, SlotRecord, Tally, Timestamp};
use crate::snapshot::Gap;

/// How many events are handed on.
const EVENTS: u32 = 1_000;
/// How far back gaps are looked for.
const GAPS: Duration = Duration::from_secs(92 * 86_400);

/// The history as it was when the store was opened. The small things are here, the large ones stream: millions of
/// rows are handed on one by one and never gathered. The streams read the file as it is when they are asked, so they
/// belong before the first minute is handed to the writer; then this can be dropped.
///
/// Rows that cannot be read, since others may have altered the file, are left out and counted.
#[derive(Debug)]
pub struct History {
    /// When the counts began: when the state directory was made.
    pub counting_since: Timestamp,
    /// The run before this one ended without saying so; the file has been checked since.
    pub unclean: bool,
    /// Every route ever counted, with its requests since the counts began.
    pub routes: Vec<(String, Counts)>,
    /// Every SLO ever counted, with its valid events since the counts began; not those whose id counts something else
    /// now.
    pub slos: Vec<(String, Tally)>,
    /// What each of them counts, and since when, in the same order.
    pub origins: Vec<Origin>,
    /// The newest 1,000 events, newest first.
    pub events: Vec<Event>,
    /// Alert states by id, as they were last handed over.
    pub alerts: Vec<(String, String)>,
    /// Spans without history in the last 92 days, newest first; the newest may end now. Also those of a few seconds.
    pub gaps: Vec<Gap>,
    /// Rows of the above that were left out.
    pub skipped: u64,
    reader: Reader,
    /// What begins at or after this second is not read.
    until_secs: u64,
    route_places: Places,
    slo_places: Places,
}

/// From a stored number to a place in the list of names.
type Places = HashMap<i64, usize, FxBuildHasher>;

/// What an SLO's counts are of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// What is counted (see [`crate::model::Slo::counted`]); empty when that was not kept yet.
    pub counted: String,
    /// The beginning of the first minute that it was counted in, in seconds since the Unix epoch.
    pub since_secs: u64,
}

impl Origin {
    /// Whether these are counts of what `counted` says.
    pub fn is_of(&self, counted: &str) -> bool {
        self.counted.is_empty() || self.counted == counted
    }
}

/// What an SLO counted in one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SloRow {
    /// Its place in [`History::slos`].
    pub slo: usize,
    /// The slot's beginning, in seconds since the Unix epoch.
    pub start_secs: u64,
    /// Its valid events.
    pub tally: Tally,
}

/// What a route counted in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRow {
    /// Its place in [`History::routes`].
    pub route: usize,
    /// The minute's beginning, in seconds since the Unix epoch.
    pub start_secs: u64,
    /// Requests by outcome.
    pub counts: Counts,
    /// The sum of total durations of valid requests, in microseconds.
    pub duration_us: u64,
    /// Request body bytes read.
    pub bytes_in: u64,
    /// Response body bytes sent.
    pub bytes_out: u64,
    /// Upstream attempts beyond each request's first.
    pub retries: u64,
}

/// A route's distributions of one minute.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyRow {
    /// Its place in [`History::routes`].
    pub route: usize,
    /// The minute's beginning, in seconds since the Unix epoch.
    pub start_secs: u64,
    /// Total durations of valid requests; `None` when there was none.
    pub latency: Option<Latency>,
    /// Durations of each phase, indexed by [`Phase::index`].
    pub phases: [Option<Latency>; Phase::ALL.len()],
}

/// What a stream came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Rows handed on.
    pub rows: u64,
    /// Rows, or distributions in them, that could not be read and were left out.
    pub skipped: u64,
}

impl History {
    /// SLO minutes that begin at or after `since_secs`, in rising order. Minutes in which an SLO counted nothing are
    /// left out: what was not measured at all is in [`History::gaps`].
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn slo_minutes(
        &self,
        since_secs: u64,
        each: impl FnMut(SloRow),
    ) -> Result<Loaded, QueryError> {
        let sql = "SELECT minute, slo_id, good, bad, 0 FROM slo_minute \
                   WHERE minute >= ?1 AND minute <= ?2 AND (good <> 0 OR bad <> 0) ORDER BY minute";
        self.slo_rows(sql, (since_secs, 60), each)
            .map_err(doing("read SLO minutes"))
    }

    /// The same by the hour, from the first hour that begins at or after `since_secs`. The newest hour may not be over.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn slo_hours(
        &self,
        since_secs: u64,
        each: impl FnMut(SloRow),
    ) -> Result<Loaded, QueryError> {
        let sql = "SELECT hour, slo_id, good, bad, 0 FROM slo_hour \
                   WHERE hour >= ?1 AND hour <= ?2 AND (good <> 0 OR bad <> 0) ORDER BY hour";
        self.slo_rows(sql, (since_secs, 3_600), each)
            .map_err(doing("read SLO hours"))
    }

    /// Route minutes that begin at or after `since_secs`, in rising order, without those that had no request.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn route_minutes(
        &self,
        since_secs: u64,
        mut each: impl FnMut(RouteRow),
    ) -> Result<Loaded, QueryError> {
        let sql = "SELECT minute, route_id, good, bad, excluded, duration_us, bytes_in, bytes_out, retries \
                   FROM route_minute \
                   WHERE minute >= ?1 AND minute <= ?2 AND (good <> 0 OR bad <> 0 OR excluded <> 0) ORDER BY minute";
        let parse = |row: &Row<'_>| -> rusqlite::Result<Option<RouteRow>> {
            let Some(route) = self.route_places.get(&row.get(1)?).copied() else {
                return Ok(None);
            };
            Ok(Some(RouteRow {
                route,
                start_secs: start(row.get(0)?, 60),
                counts: counts(row, 2)?,
                duration_us: count(row.get(5)?),
                bytes_in: count(row.get(6)?),
                bytes_out: count(row.get(7)?),
                retries: count(row.get(8)?),
            }))
        };
        let span = (first_slot(since_secs, 60), self.last(60));
        self.stream(sql, span, |row, loaded| {
            take(parse(row), loaded, &mut each);
        })
        .map_err(doing("read route minutes"))
    }

    /// Valid requests of a route by the hour, from the first hour that begins at or after `since_secs`, as (place in
    /// [`History::routes`], the hour's beginning in seconds, its requests). The newest hour may not be over.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn route_hours(
        &self,
        since_secs: u64,
        mut each: impl FnMut((usize, u64, Counts)),
    ) -> Result<Loaded, QueryError> {
        let sql = "SELECT hour, route_id, good, bad, excluded FROM route_hour \
                   WHERE hour BETWEEN ?1 AND ?2 AND (good <> 0 OR bad <> 0) ORDER BY hour";
        let parse = |row: &Row<'_>| -> rusqlite::Result<Option<(usize, u64, Counts)>> {
            let Some(route) = self.route_places.get(&row.get(1)?).copied() else {
                return Ok(None);
            };
            Ok(Some((route, start(row.get(0)?, 3_600), counts(row, 2)?)))
        };
        let span = (first_slot(since_secs, 3_600), self.last(3_600));
        self.stream(sql, span, |row, loaded| {
            take(parse(row), loaded, &mut each);
        })
        .map_err(doing("read route hours"))
    }

    /// What the bad requests of routes were in the hours that begin at or after `since_secs`, as (place in
    /// [`History::routes`], the hour's beginning in seconds, what), in rising order. The newest hour may not be over.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn bad_parts(
        &self,
        since_secs: u64,
        mut each: impl FnMut((usize, u64, BadPart)),
    ) -> Result<(), QueryError> {
        let (first, last) = (first_slot(since_secs, 3_600), self.last(3_600));
        parts::read(&self.reader.connection, first, |hour, route, part| {
            let is_read = i64::try_from(hour).is_ok_and(|hour| hour <= last);
            if let Some(place) = self.route_places.get(&route).filter(|_| is_read) {
                each((*place, hour.saturating_mul(3_600), part));
            }
        })
        .map_err(doing("read what bad requests were"))
    }

    /// Distributions of the minutes that begin at or after `since_secs`, in rising order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn route_latencies(
        &self,
        since_secs: u64,
        mut each: impl FnMut(LatencyRow),
    ) -> Result<Loaded, QueryError> {
        let sql = "SELECT k, total, edge, connect, wait, body FROM latency_minute WHERE k >= ?1 AND k <= ?2 ORDER BY k";
        self.stream(sql, self.latency_keys(since_secs), |row, loaded| {
            let place = |(minute, route): (i64, i64)| {
                let route = self.route_places.get(&route).copied()?;
                Some((route, start(minute, 60)))
            };
            let Some((route, start_secs)) = row.get(0).ok().map(unkey).and_then(place) else {
                loaded.skipped += 1;
                return;
            };
            let mut latency = |column| match value::latency(row, column) {
                Blob::Absent => None,
                Blob::Read(latency) => Some(*latency),
                Blob::Unreadable => {
                    loaded.skipped += 1;
                    None
                }
            };
            let read = LatencyRow {
                route,
                start_secs,
                latency: latency(1),
                phases: [latency(2), latency(3), latency(4), latency(5)],
            };
            loaded.rows += 1;
            each(read);
        })
        .map_err(doing("read route latencies"))
    }

    /// Total durations of the minutes that begin at or after `since_secs`, in rising order, as (place in
    /// [`History::routes`], the minute's beginning in seconds, its distribution): [`History::route_latencies`] without the
    /// phases, which take most of the time.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn route_durations(
        &self,
        since_secs: u64,
        mut each: impl FnMut((usize, u64, Latency)),
    ) -> Result<Loaded, QueryError> {
        let sql = "SELECT k, total FROM latency_minute WHERE k >= ?1 AND k <= ?2 ORDER BY k";
        let span = self.latency_keys(since_secs);
        self.stream(sql, span, |row, loaded| {
            let key = row.get(0).ok().map(unkey);
            let place = key.and_then(|(minute, route)| {
                let route = self.route_places.get(&route).copied()?;
                Some((route, start(minute, 60)))
            });
            match (place, value::latency(row, 1)) {
                (Some((route, start_secs)), Blob::Read(latency)) => {
                    loaded.rows += 1;
                    each((route, start_secs, *latency));
                }
                (Some(_), Blob::Absent) => {}
                (None, _) | (_, Blob::Unreadable) => loaded.skipped += 1,
            }
        })
        .map_err(doing("read route latencies"))
    }

    /// The keys of the minutes' distributions from `since_secs` on that are read.
    fn latency_keys(&self, since_secs: u64) -> (i64, i64) {
        let last = match self.last(60) {
            i64::MAX => i64::MAX,
            minute => value::key(minute + 1, 0) - 1,
        };
        (value::key(first_slot(since_secs, 60), 0), last)
    }

    /// How far the counts of the newest run are known to reach; `None` before there was one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn reaches_to(&self) -> Result<Option<Timestamp>, QueryError> {
        let sql = "SELECT max(max(alive_ms, coalesce(stopped_ms, 0))) FROM run";
        let read = self.reader.connection.query_row(sql, [], |row| row.get(0));
        let millis: Option<i64> = read.map_err(doing("read how far the counts reach"))?;
        Ok(millis.map(|millis| Timestamp::from_millis(count(millis))))
    }

    /// Valid events of an SLO between two moments; none when it was never counted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn slo_over(&self, slo: &str, from_secs: u64, to_secs: u64) -> Result<Tally, QueryError> {
        self.reader.slo_over(slo, from_secs, to_secs)
    }

    /// The newest `limit` records of a probe's slots, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn probe_slots(&self, probe: &str, limit: u32) -> Result<Vec<SlotRecord>, QueryError> {
        self.reader.probe_slots(probe, limit)
    }

    /// The history in `dir` as it was at `at`: what came later is left out, but for the totals and the alerts' states,
    /// which are those of now. Needs no lock and disturbs nobody.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn read(dir: &Path, at: Timestamp) -> Result<Self, QueryError> {
        let mut history = Self::load(Reader::open(dir)?, at, false)?;
        history.until_secs = at.as_secs();
        history.events = history.reader.events_until(at, EVENTS)?;
        history.alerts.clear();
        Ok(history)
    }

    /// A route's requests from the beginning of the history to `at`; none when it was never counted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn route_until(&self, route: &str, at: Timestamp) -> Result<Counts, QueryError> {
        self.reader.route_over(route, 0, at.as_secs())
    }

    /// Reads the small things.
    pub(super) fn load(reader: Reader, now: Timestamp, unclean: bool) -> Result<Self, QueryError> {
        let mut history = Self {
            counting_since: now,
            unclean,
            routes: Vec::new(),
            slos: Vec::new(),
            origins: Vec::new(),
            events: reader.events(EVENTS)?,
            alerts: Vec::new(),
            gaps: Vec::new(),
            skipped: 0,
            reader,
            until_secs: u64::MAX,
            route_places: Places::default(),
            slo_places: Places::default(),
        };
        history.load_names().map_err(doing("read the totals"))?;
        history
            .load_alerts()
            .map_err(doing("read the alert states"))?;
        let connection = &history.reader.connection;
        let since = schema::meta(connection, schema::COUNTING_SINCE)
            .map_err(doing("read the beginning"))?;
        history.counting_since = since.map_or(now, |millis| Timestamp::from_millis(count(millis)));
        history.gaps = gaps(connection, now.minus(GAPS), now).map_err(doing("look for gaps"))?;
        Ok(history)
    }

    fn load_names(&mut self) -> rusqlite::Result<()> {
        let named = |row: &Row<'_>| -> Option<(i64, String, Counts)> {
            Some((row.get(0).ok()?, value::text(row, 1)?, counts(row, 2).ok()?))
        };
        let connection = &self.reader.connection;
        let mut statement =
            connection.prepare("SELECT id, name, good, bad, excluded FROM route ORDER BY name")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let Some((id, name, total)) = named(row) else {
                self.skipped += 1;
                continue;
            };
            self.route_places.insert(id, self.routes.len());
            self.routes.push((name, total));
        }
        let counted = schema::counted(connection)?;
        // A name with a `#` was set aside, one with a `/` belongs to another.
        let mut statement = connection.prepare(&format!(
            "SELECT id, name, good, bad, 0, {counted}, first_minute FROM slo \
             WHERE instr(name, '#') = 0 AND instr(name, '/') = 0 ORDER BY name"
        ))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let Some((id, name, total)) = named(row) else {
                self.skipped += 1;
                continue;
            };
            self.slo_places.insert(id, self.slos.len());
            self.slos.push((name, tally(total)));
            self.origins.push(Origin {
                counted: value::text(row, 5).unwrap_or_default(),
                since_secs: start(row.get(6).unwrap_or_default(), 60),
            });
        }
        Ok(())
    }

    fn load_alerts(&mut self) -> rusqlite::Result<()> {
        let mut statement = self
            .reader
            .connection
            .prepare("SELECT id, state FROM alert ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            match (value::text(row, 0), value::text(row, 1)) {
                (Some(id), Some(state)) => self.alerts.push((id, state)),
                (None, _) | (_, None) => self.skipped += 1,
            }
        }
        Ok(())
    }

    fn slo_rows(
        &self,
        sql: &str,
        (since_secs, width): (u64, u64),
        mut each: impl FnMut(SloRow),
    ) -> rusqlite::Result<Loaded> {
        let parse = |row: &Row<'_>| -> rusqlite::Result<Option<SloRow>> {
            let Some(slo) = self.slo_places.get(&row.get(1)?).copied() else {
                return Ok(None);
            };
            Ok(Some(SloRow {
                slo,
                start_secs: start(row.get(0)?, width),
                tally: tally(counts(row, 2)?),
            }))
        };
        let last = self.last(width);
        self.stream(sql, (first_slot(since_secs, width), last), |row, loaded| {
            take(parse(row), loaded, &mut each);
        })
    }

    /// The last slot that is read; the one that `until_secs` lies in is left out: part of it came later.
    fn last(&self, width: u64) -> i64 {
        match self.until_secs {
            u64::MAX => i64::MAX,
            secs => first_slot(secs / width * width, width) - 1,
        }
    }

    fn stream(
        &self,
        sql: &str,
        (first, last): (i64, i64),
        mut each: impl FnMut(&Row<'_>, &mut Loaded),
    ) -> rusqlite::Result<Loaded> {
        let mut loaded = Loaded::default();
        let mut statement = self.reader.connection.prepare(sql)?;
        let mut rows = statement.query([first, last])?;
        while let Some(row) = rows.next()? {
            each(row, &mut loaded);
        }
        Ok(loaded)
    }
}

/// Hands a row on, or counts it as left out.
fn take<T>(parsed: rusqlite::Result<Option<T>>, loaded: &mut Loaded, each: &mut impl FnMut(T)) {
    if let Ok(Some(row)) = parsed {
        loaded.rows += 1;
        each(row);
    } else {
        loaded.skipped += 1;
    }
}

/// The first slot that begins at or after `secs`.
fn first_slot(secs: u64, width: u64) -> i64 {
    // Far beyond any stored slot, and small enough to be shifted into a key.
    const END: i64 = 1 << 42;
    i64::try_from(secs.div_ceil(width)).unwrap_or(END).min(END)
}

/// The beginning of a stored slot, in seconds.
fn start(slot: i64, width: u64) -> u64 {
    count(slot).saturating_mul(width)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::database::Database;
    use super::super::encoded::Encoded;
    use super::super::{MinuteBatch, RouteMinute};
    use super::*;

    #[test]
    fn what_bad_requests_were_later_is_not_read() {
        const HOUR: u64 = 3_600;
        let dir = TempDir::new().unwrap();
        let begin = 495_000 * HOUR;
        let (mut database, _) = Database::open(dir.path(), Timestamp::from_secs(begin)).unwrap();
        for hour in 0..3 {
            let minute = (begin + hour * HOUR) / 60;
            let bad = Counts {
                bad: 1,
                ..Counts::default()
            };
            let part = BadPart {
                dimension: "kind".to_owned(),
                part: "timeout".to_owned(),
                count: 1,
            };
            let route = RouteMinute {
                route: "web".to_owned(),
                counts: bad,
                bad_parts: vec![part],
                ..RouteMinute::default()
            };
            let batch = MinuteBatch {
                minute,
                routes: vec![route],
                slos: Vec::new(),
            };
            let end = Timestamp::from_secs((minute + 1) * 60);
            database.write_minute(&Encoded::from(batch), end).unwrap();
        }
        // As its neighbours: the hour that the moment lies in is left out as well.
        for (at, hours) in [(HOUR / 2, 0), (HOUR, 1), (HOUR * 5 / 2, 2), (3 * HOUR, 3)] {
            let history = History::read(dir.path(), Timestamp::from_secs(begin + at)).unwrap();
            let (mut parts, mut counts) = (Vec::new(), Vec::new());
            history.bad_parts(0, |(_, at, _)| parts.push(at)).unwrap();
            history
                .route_hours(0, |(_, at, _)| counts.push(at))
                .unwrap();
            assert_eq!(parts.len(), hours, "{at}");
            assert_eq!(parts, counts, "{at}");
        }
    }
}
