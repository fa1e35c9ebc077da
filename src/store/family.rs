//! Cumulative counters of things that have names: SLOs and routes, by the minute and by the hour.
//!
//! A row holds what its slot counted and the total at the slot's end, so the sum over a window is the total at its end
//! less the total at its beginning, whatever its length. The current totals live beside the name: they survive a thing
//! that is configured away, and the retention of its rows.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params, params_from_iter};

use super::value::{MOST, count, counts};
use crate::model::Counts;

/// The statements of one family. They differ in the columns alone.
#[derive(Debug)]
pub(super) struct Family {
    member: String,
    count: String,
    minute: Level,
    hour: Level,
}

/// The statements of one width of slot.
#[derive(Debug)]
struct Level {
    add: String,
    raise: String,
    at: String,
    last: String,
    first: String,
}

/// One SLO or route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// Its number.
    pub(super) id: i64,
    /// The first minute it was counted in.
    pub(super) first_minute: i64,
    /// The last minute it was counted in.
    pub(super) last_minute: i64,
    /// Everything it ever counted.
    pub(super) total: Counts,
}

/// What a slot adds to a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addition<'a> {
    pub(super) name: &'a str,
    /// Good, bad and, for a route, excluded.
    pub(super) counted: &'a [i64],
    /// Sums that are kept by the slot but not cumulatively.
    pub(super) summed: &'a [i64],
}

/// What lies around the minute that is written.
#[derive(Debug)]
pub(super) struct Around {
    /// Rows are kept of this minute: retention has not passed it.
    pub(super) keeps_minute: bool,
    /// Rows are kept of its hour.
    pub(super) keeps_hour: bool,
    /// Stored minutes that lie later, since the clock was set back. Almost always none.
    pub(super) later_minutes: Vec<i64>,
    /// Stored hours that lie later than its hour.
    pub(super) later_hours: Vec<i64>,
}

impl Family {
    /// SLOs: valid events only.
    pub(super) fn slos() -> Self {
        Self::new("slo", &["good", "bad"], &[])
    }

    /// Routes: all requests, and what they came to.
    pub(super) fn routes() -> Self {
        Self::new(
            "route",
            &["good", "bad", "excluded"],
            &["duration_us", "bytes_in", "bytes_out", "retries"],
        )
    }

    fn new(name: &str, counted: &[&str], summed: &[&str]) -> Self {
        let read = reading(counted, str::to_owned);
        let columns = counted.join(", ");
        let values = numbered(3, counted.len());
        let sums = adding(counted);
        Self {
            member: format!(
                "SELECT id, first_minute, last_minute, {read} FROM {name} WHERE name = ?1"
            ),
            count: format!(
                "INSERT INTO {name} (name, first_minute, last_minute, {columns}) VALUES (?1, ?2, ?2, {values}) \
                 ON CONFLICT (name) DO UPDATE SET first_minute = min(first_minute, ?2), \
                 last_minute = max(last_minute, ?2), {sums} RETURNING id, {read}"
            ),
            minute: Level::new(name, "minute", counted, summed),
            hour: Level::new(name, "hour", counted, summed),
        }
    }

    /// The member called `name`; `None` when it was never counted.
    pub(super) fn member(
        &self,
        connection: &Connection,
        name: &str,
    ) -> rusqlite::Result<Option<Member>> {
        connection
            .prepare_cached(&self.member)?
            .query_row([name], |row| {
                Ok(Member {
                    id: row.get(0)?,
                    first_minute: row.get(1)?,
                    last_minute: row.get(2)?,
                    total: counts(row, 3)?,
                })
            })
            .optional()
    }

    /// Ready to add to members in `minute`.
    pub(super) fn entry<'a>(
        &'a self,
        connection: &'a Connection,
        minute: i64,
        around: &'a Around,
    ) -> rusqlite::Result<Entry<'a>> {
        Ok(Entry {
            family: self,
            connection,
            minute,
            around,
            count: connection.prepare_cached(&self.count)?,
            add_to_minute: connection.prepare_cached(&self.minute.add)?,
            add_to_hour: connection.prepare_cached(&self.hour.add)?,
        })
    }

    /// What a member had counted by `secs`, as far as whole slots tell: by the minute where minutes are kept, else by
    /// the hour, rounded down to the slot. Where nothing was counted for a while, by the last slot before it.
    ///
    /// Before the oldest kept row it is what that row began from, so that a window reaching back beyond the retention
    /// sums what is left rather than everything that ever was.
    pub(super) fn cumulative(
        &self,
        connection: &Connection,
        member: &Member,
        secs: u64,
    ) -> rusqlite::Result<Counts> {
        let slots = |width: u64| i64::try_from(secs / width).unwrap_or(i64::MAX) - 1;
        let (minute, hour) = (slots(60), slots(3_600));
        if minute >= member.last_minute {
            return Ok(member.total);
        }
        if minute < member.first_minute {
            return Ok(Counts::default());
        }
        let id = member.id;
        if let Some(newest) = newest(connection, NEWEST_MINUTE, minute)? {
            // Dense rows: in all but odd cases the newest minute of any is also one of ours.
            if let Some(found) = self.minute.at(connection, newest, id)? {
                return Ok(found);
            }
            let its_hour = newest / 60;
            if let Some(found) = self.minute.last(connection, (its_hour * 60, newest), id)? {
                return Ok(found);
            }
            return self.sparse(connection, member, its_hour);
        }
        if let Some(newest) = newest(connection, NEWEST_HOUR, hour)?
            && let Some(found) = self.hour.at(connection, newest, id)?
        {
            return Ok(found);
        }
        self.sparse(connection, member, hour.saturating_add(1))
    }

    /// The same for a member that was absent for a while: by its last row before `hour`, else by what its first row
    /// since began from.
    fn sparse(
        &self,
        connection: &Connection,
        member: &Member,
        hour: i64,
    ) -> rusqlite::Result<Counts> {
        if let Some(found) = self.hour.last(connection, (0, hour - 1), member.id)? {
            return Ok(found);
        }
        let first = self.hour.first(connection, hour, member.id)?;
        Ok(first.unwrap_or(member.total))
    }
}

/// One minute's additions to one family. Holds its statements: looking them up for each of thousands of rows costs as
/// much as running them.
pub(super) struct Entry<'a> {
    family: &'a Family,
    pub(super) connection: &'a Connection,
    pub(super) minute: i64,
    around: &'a Around,
    count: CachedStatement<'a>,
    add_to_minute: CachedStatement<'a>,
    add_to_hour: CachedStatement<'a>,
}

impl Entry<'_> {
    /// Whether rows are kept of the minute's hour.
    pub(super) const fn keeps_hour(&self) -> bool {
        self.around.keeps_hour
    }

    /// Adds to a member's minute, its hour and its totals, and gives its number.
    pub(super) fn add(&mut self, addition: Addition<'_>) -> rusqlite::Result<i64> {
        let Addition {
            name,
            counted,
            summed,
        } = addition;
        // Read before the totals move.
        let before = self.before(name)?;
        let (id, total) = self.count(name, counted)?;
        let (by_minute, by_hour) = match before {
            None => (total, total),
            Some((by_minute, by_hour)) => {
                let added = from_slice(counted);
                (by_minute + added, by_hour + added)
            }
        };
        let around = self.around;
        if around.keeps_minute {
            let values = row([self.minute, id], counted, summed, by_minute);
            bind(&mut self.add_to_minute, 1, values)?;
            self.add_to_minute.raw_execute()?;
        }
        if around.keeps_hour {
            let values = row([self.minute / 60, id], counted, summed, by_hour);
            bind(&mut self.add_to_hour, 1, values)?;
            self.add_to_hour.raw_execute()?;
        }
        if counted.iter().any(|count| *count > 0) {
            let Family { minute, hour, .. } = self.family;
            minute.raise(self.connection, &around.later_minutes, id, counted)?;
            hour.raise(self.connection, &around.later_hours, id, counted)?;
        }
        Ok(id)
    }

    /// What a member had counted by the end of the minute, and of its hour; `None` when that is simply its total,
    /// since nothing stored lies later.
    fn before(&self, name: &str) -> rusqlite::Result<Option<(Counts, Counts)>> {
        if self.around.later_minutes.is_empty() && self.around.later_hours.is_empty() {
            return Ok(None);
        }
        let Some(member) = self.family.member(self.connection, name)? else {
            return Ok(Some((Counts::default(), Counts::default())));
        };
        let by = |secs| self.family.cumulative(self.connection, &member, secs);
        let by_minute = by(count(self.minute + 1) * 60)?;
        let by_hour = by(count(self.minute / 60 + 1) * 3_600)?;
        Ok(Some((by_minute, by_hour)))
    }

    fn count(&mut self, name: &str, counted: &[i64]) -> rusqlite::Result<(i64, Counts)> {
        let statement = &mut self.count;
        statement.raw_bind_parameter(1, name)?;
        statement.raw_bind_parameter(2, self.minute)?;
        bind(statement, 3, counted.iter().copied())?;
        let mut rows = statement.raw_query();
        let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        let counted = (row.get(0)?, counts(row, 1)?);
        // The statement is done, and its change made, only when it has been stepped to its end.
        while rows.next()?.is_some() {}
        Ok(counted)
    }
}

/// A row's values in the order of [`Level::add`].
fn row<'a>(
    key: [i64; 2],
    counted: &'a [i64],
    summed: &'a [i64],
    total: Counts,
) -> impl Iterator<Item = i64> + 'a {
    key.into_iter()
        .chain(counted.iter().copied())
        .chain(summed.iter().copied())
        .chain(to_array(total).into_iter().take(counted.len()))
}

fn bind(
    statement: &mut CachedStatement<'_>,
    first: usize,
    values: impl Iterator<Item = i64>,
) -> rusqlite::Result<()> {
    for (parameter, value) in (first..).zip(values) {
        statement.raw_bind_parameter(parameter, value)?;
    }
    Ok(())
}

impl Level {
    fn new(name: &str, slot: &str, counted: &[&str], summed: &[&str]) -> Self {
        let table = format!("{name}_{slot}");
        let cumulative: Vec<String> = counted.iter().map(|c| format!("cum_{c}")).collect();
        let own: Vec<&str> = counted.iter().chain(summed).copied().collect();
        let after = 3 + own.len();
        let adds = adding(&own);
        let sets: Vec<String> = cumulative
            .iter()
            .zip(after..)
            .map(|(column, parameter)| format!("{column} = ?{parameter}"))
            .collect();
        let reads = reading(counted, |column| format!("cum_{column}"));
        let begins = reading(counted, |column| format!("max(cum_{column} - {column}, 0)"));
        Self {
            add: format!(
                "INSERT INTO {table} ({slot}, {name}_id, {}, {}) VALUES (?1, ?2, {}) \
                 ON CONFLICT ({slot}, {name}_id) DO UPDATE SET {adds}, {}",
                own.join(", "),
                cumulative.join(", "),
                numbered(3, own.len() + cumulative.len()),
                sets.join(", "),
            ),
            raise: format!(
                "UPDATE {table} SET {} WHERE {slot} = ?1 AND {name}_id = ?2",
                adding(&cumulative)
            ),
            at: format!("SELECT {reads} FROM {table} WHERE {slot} = ?1 AND {name}_id = ?2"),
            last: format!(
                "SELECT {reads} FROM {table} WHERE {slot} BETWEEN ?1 AND ?2 AND {name}_id = ?3 \
                 ORDER BY {slot} DESC LIMIT 1"
            ),
            first: format!(
                "SELECT {begins} FROM {table} WHERE {slot} >= ?1 AND {name}_id = ?2 ORDER BY {slot} LIMIT 1"
            ),
        }
    }

    /// Adds to the totals of slots that lie later.
    fn raise(
        &self,
        connection: &Connection,
        slots: &[i64],
        id: i64,
        counted: &[i64],
    ) -> rusqlite::Result<()> {
        for slot in slots {
            let values = [*slot, id].into_iter().chain(counted.iter().copied());
            connection
                .prepare_cached(&self.raise)?
                .execute(params_from_iter(values))?;
        }
        Ok(())
    }

    fn at(&self, connection: &Connection, slot: i64, id: i64) -> rusqlite::Result<Option<Counts>> {
        connection
            .prepare_cached(&self.at)?
            .query_row(params![slot, id], whole)
            .optional()
    }

    /// By the last of the member's rows in `first..=last`.
    fn last(
        &self,
        connection: &Connection,
        (first, last): (i64, i64),
        id: i64,
    ) -> rusqlite::Result<Option<Counts>> {
        connection
            .prepare_cached(&self.last)?
            .query_row(params![first, last, id], whole)
            .optional()
    }

    /// What the member's first row from `slot` on began from.
    fn first(
        &self,
        connection: &Connection,
        slot: i64,
        id: i64,
    ) -> rusqlite::Result<Option<Counts>> {
        connection
            .prepare_cached(&self.first)?
            .query_row(params![slot, id], whole)
            .optional()
    }
}

/// The newest minute up to `?1` that was counted at all.
const NEWEST_MINUTE: &str = "SELECT max(minute) FROM minute WHERE minute <= ?1";
/// The newest hour up to `?1` that was counted at all.
const NEWEST_HOUR: &str = "SELECT max(hour) FROM hour WHERE hour <= ?1";

fn newest(connection: &Connection, sql: &str, slot: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(sql)?
        .query_row([slot], |row| row.get(0))
}

fn whole(row: &Row<'_>) -> rusqlite::Result<Counts> {
    counts(row, 0)
}

fn to_array(counts: Counts) -> [i64; 3] {
    let Counts {
        good,
        bad,
        excluded,
    } = counts;
    [good, bad, excluded].map(super::value::stored)
}

fn from_slice(counted: &[i64]) -> Counts {
    let at = |place: usize| count(counted.get(place).copied().unwrap_or(0));
    Counts {
        good: at(0),
        bad: at(1),
        excluded: at(2),
    }
}

/// `good, bad, excluded` as a list to select, with zero for the one a family does not count.
fn reading(counted: &[&str], column: impl Fn(&str) -> String) -> String {
    let mut columns: Vec<String> = counted.iter().map(|counted| column(counted)).collect();
    columns.resize(3, "0".to_owned());
    columns.join(", ")
}

/// `column = column + ?n` for each, numbered from 3 and kept from overflowing.
fn adding(columns: &[impl AsRef<str>]) -> String {
    let each: Vec<String> = columns
        .iter()
        .zip(3..)
        .map(|(column, parameter)| {
            let column = column.as_ref();
            format!("{column} = min({column}, {MOST}) + ?{parameter}")
        })
        .collect();
    each.join(", ")
}

/// `?first, ?first+1, …`
fn numbered(first: usize, how_many: usize) -> String {
    let each: Vec<String> = (first..first + how_many).map(|n| format!("?{n}")).collect();
    each.join(", ")
}
