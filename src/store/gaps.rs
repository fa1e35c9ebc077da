//! Spans without history.

use rusqlite::Connection;

use super::value::count;
use crate::model::Timestamp;
use crate::snapshot::Gap;

/// Everything between two runs, and every minute missing within one, that ended after `since` and began
/// before `now`. Newest first.
///
/// A run that was killed reaches to its last minute on disk: what it counted after that is lost, and is a gap.
pub(super) fn gaps(
    connection: &Connection,
    since: Timestamp,
    now: Timestamp,
) -> rusqlite::Result<Vec<Gap>> {
    let mut gaps = between_runs(connection)?;
    gaps.extend(missing_minutes(connection)?);
    gaps.sort_unstable_by_key(|gap| (gap.from, gap.to));
    let mut merged: Vec<Gap> = Vec::new();
    for mut gap in gaps {
        gap.to = gap.to.min(now);
        if gap.to <= since || gap.from >= gap.to {
            continue;
        }
        match merged.last_mut() {
            Some(last) if gap.from <= last.to => last.to = last.to.max(gap.to),
            _ => merged.push(gap),
        }
    }
    merged.reverse();
    Ok(merged)
}

fn between_runs(connection: &Connection) -> rusqlite::Result<Vec<Gap>> {
    let mut statement = connection.prepare(
        "SELECT started_ms, max(alive_ms, coalesce(stopped_ms, 0)) FROM run ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    let mut gaps = Vec::new();
    let mut ended: Option<Timestamp> = None;
    while let Some(row) = rows.next()? {
        let at = |column| -> rusqlite::Result<Timestamp> {
            Ok(Timestamp::from_millis(count(row.get(column)?)))
        };
        if let Some(from) = ended {
            gaps.push(Gap { from, to: at(0)? });
        }
        ended = Some(at(1)?);
    }
    Ok(gaps)
}

fn missing_minutes(connection: &Connection) -> rusqlite::Result<Vec<Gap>> {
    let mut statement = connection.prepare(
        "SELECT previous, minute FROM \
         (SELECT minute, lag(minute) OVER (ORDER BY minute) AS previous FROM minute) \
         WHERE minute > previous + 1",
    )?;
    let gaps = statement.query_map([], |row| {
        let start = |minute: i64| Timestamp::from_secs(count(minute).saturating_mul(60));
        Ok(Gap {
            from: start(row.get::<_, i64>(0)?.saturating_add(1)),
            to: start(row.get(1)?),
        })
    })?;
    gaps.collect()
}
