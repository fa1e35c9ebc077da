//! What the bad requests of each route were, by the hour.

use rusqlite::{Connection, params};

use super::BadPart;
use super::value::{count, stored, text};

/// The table, as the third format has it. Rows are few: only hours with bad requests have any.
pub(super) const TABLE: &str = "
CREATE TABLE route_bad (
  hour INTEGER NOT NULL, route_id INTEGER NOT NULL REFERENCES route, dimension TEXT NOT NULL, part TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (hour, route_id, dimension, part)
) STRICT, WITHOUT ROWID;
";

/// Adds to an hour.
pub(super) fn write(
    connection: &Connection,
    hour: i64,
    route: i64,
    parts: &[BadPart],
) -> rusqlite::Result<()> {
    for BadPart {
        dimension,
        part,
        count,
    } in parts
    {
        connection
            .prepare_cached(
                "INSERT INTO route_bad (hour, route_id, dimension, part, count) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT DO UPDATE SET count = count + excluded.count",
            )?
            .execute(params![hour, route, dimension, part, stored(*count)])?;
    }
    Ok(())
}

/// Hands on every part from `first_hour` on, as (hour, the route's number, what); rows that are none are left out.
pub(super) fn read(
    connection: &Connection,
    first_hour: i64,
    mut each: impl FnMut(u64, i64, BadPart),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT hour, route_id, dimension, part, count FROM route_bad WHERE hour >= ?1 ORDER BY hour",
    )?;
    let mut rows = statement.query([first_hour])?;
    while let Some(row) = rows.next()? {
        if let (Some(dimension), Some(part)) = (text(row, 2), text(row, 3)) {
            let part = BadPart {
                dimension,
                part,
                count: count(row.get(4)?),
            };
            each(count(row.get(0)?), row.get(1)?, part);
        }
    }
    Ok(())
}
