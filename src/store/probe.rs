//! Slots of probes: one row for each that was run, and one for each span of neighbouring ones that were missed for the
//! same reason.
//!
//! SLOs on probes are kept with all others, so these rows may go before their windows end: they are for looking at, and
//! for knowing after a restart which slot was the last.

use rusqlite::{Connection, Row, params};

use super::value::{count, stored, text};
use crate::model::{ProbeFailure, ProbePhase, ProbeRun, SlotOutcome, SlotRecord, Timestamp};

/// Rows kept of each probe: a week at one every 30 seconds.
pub(super) const MOST_ROWS: i64 = 20_000;
/// Rows written to a probe before it is looked at how many there are.
const ROWS_PER_LOOK: u64 = 500;

/// The tables, as the second format has it. Certificates are not kept with each row: the snapshot has those in force.
pub(super) const TABLES: &str = "
CREATE TABLE probe (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, written INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One slot that was run, or `slots` neighbouring ones from `at_ms` that were missed for one reason.
CREATE TABLE probe_slot (
  probe_id INTEGER NOT NULL REFERENCES probe, at_ms INTEGER NOT NULL,
  slots INTEGER NOT NULL, every_ms INTEGER NOT NULL, outcome TEXT NOT NULL, reason TEXT,
  lag_us INTEGER NOT NULL, duration_us INTEGER, resolve_us INTEGER, connect_us INTEGER, tls_us INTEGER,
  processing_us INTEGER, transfer_us INTEGER, status INTEGER, address TEXT, detail TEXT,
  PRIMARY KEY (probe_id, at_ms)
) STRICT, WITHOUT ROWID;
";

/// Writes records, and lets go of the oldest of those that have too many. A slot that is there already stays as it is:
/// the first outcome is the one.
pub(super) fn write(connection: &Connection, records: &[SlotRecord]) -> rusqlite::Result<()> {
    for record in records {
        let (id, written): (i64, i64) = connection
            .prepare_cached(
                "INSERT INTO probe (name, written) VALUES (?1, 1) \
                 ON CONFLICT (name) DO UPDATE SET written = written + 1 RETURNING id, written",
            )?
            .query_row([&record.probe], |row| Ok((row.get(0)?, row.get(1)?)))?;
        insert(connection, id, record)?;
        if count(written).is_multiple_of(ROWS_PER_LOOK) {
            connection
                .prepare_cached(
                    "DELETE FROM probe_slot WHERE probe_id = ?1 AND at_ms < coalesce(\
                     (SELECT at_ms FROM probe_slot WHERE probe_id = ?1 ORDER BY at_ms DESC LIMIT 1 OFFSET ?2), 0)",
                )?
                .execute([id, MOST_ROWS - 1])?;
        }
    }
    Ok(())
}

fn insert(connection: &Connection, id: i64, record: &SlotRecord) -> rusqlite::Result<()> {
    let SlotRecord {
        probe: _,
        at,
        slots,
        every,
        outcome,
        lag_us,
        run,
    } = record;
    let run = run.as_ref();
    let phase = |phase: ProbePhase| run.and_then(|run| run.phases[phase.index()]).map(stored);
    let said = |run: &ProbeRun| (!run.detail.is_empty()).then(|| run.detail.clone());
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO probe_slot (probe_id, at_ms, slots, every_ms, outcome, reason, lag_us, duration_us, \
             resolve_us, connect_us, tls_us, processing_us, transfer_us, status, address, detail) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            id,
            stored(at.as_millis()),
            stored(*slots),
            stored(every.as_millis() as u64),
            outcome.as_str(),
            outcome.reason(),
            stored(*lag_us),
            run.map(|run| stored(run.duration_us)),
            phase(ProbePhase::Resolve),
            phase(ProbePhase::Connect),
            phase(ProbePhase::Tls),
            phase(ProbePhase::Processing),
            phase(ProbePhase::Transfer),
            run.and_then(|run| run.status),
            run.and_then(|run| run.address.clone()),
            run.and_then(said),
        ])?;
    Ok(())
}

/// The newest `limit` records of a probe, newest first. Rows that are none are left out.
pub(super) fn newest(
    connection: &Connection,
    probe: &str,
    limit: u32,
) -> rusqlite::Result<Vec<SlotRecord>> {
    let mut statement = connection.prepare_cached(
        "SELECT at_ms, slots, every_ms, outcome, reason, lag_us, duration_us, resolve_us, connect_us, tls_us, \
         processing_us, transfer_us, status, address, detail \
         FROM probe_slot WHERE probe_id = (SELECT id FROM probe WHERE name = ?1) ORDER BY at_ms DESC LIMIT ?2",
    )?;
    let mut rows = statement.query(params![probe, limit])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.extend(record(row, probe));
    }
    Ok(records)
}

fn record(row: &Row<'_>, probe: &str) -> Option<SlotRecord> {
    let number = |column: usize| row.get::<_, i64>(column).ok().map(count);
    let outcome = SlotOutcome::parse(&text(row, 3)?, text(row, 4).as_deref())?;
    let failure: Option<ProbeFailure> = match outcome {
        SlotOutcome::Fail(failure) => Some(failure),
        SlotOutcome::Ok | SlotOutcome::Missed(_) => None,
    };
    let run = number(6).map(|duration_us| ProbeRun {
        failure,
        detail: text(row, 14).unwrap_or_default(),
        duration_us,
        phases: [number(7), number(8), number(9), number(10), number(11)],
        address: text(row, 13),
        status: number(12).and_then(|status| u16::try_from(status).ok()),
        ..ProbeRun::default()
    });
    Some(SlotRecord {
        probe: probe.to_owned(),
        at: Timestamp::from_millis(number(0)?),
        slots: number(1)?,
        every: std::time::Duration::from_millis(number(2)?),
        outcome,
        lag_us: number(5)?,
        run,
    })
}
