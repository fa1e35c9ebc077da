//! Between our integers and the file's, and out of rows that others may have altered.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::model::{Counts, Latency, Tally};

/// The largest count kept. Two of them still add up within `SQLite`'s integers, so that a sum written in SQL can never
/// overflow into a float.
pub(super) const MOST: i64 = (1 << 62) - 1;

/// The largest encoding of a distribution that is looked at. Ours are a few KiB.
const LARGEST_BLOB: usize = 64 << 10;

/// A count as it is stored.
pub(super) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(MOST).min(MOST)
}

/// A stored count; a negative one, which only someone else can have written, is none.
pub(super) fn count(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

/// Good, bad and excluded from three neighbouring columns.
pub(super) fn counts(row: &Row<'_>, first: usize) -> rusqlite::Result<Counts> {
    Ok(Counts {
        good: count(row.get(first)?),
        bad: count(row.get(first + 1)?),
        excluded: count(row.get(first + 2)?),
    })
}

/// Without the excluded ones.
pub(super) fn tally(counts: Counts) -> Tally {
    let Counts { good, bad, .. } = counts;
    Tally { good, bad }
}

/// A text, readable whatever its bytes; `None` when the column holds none.
pub(super) fn text(row: &Row<'_>, column: usize) -> Option<String> {
    match row.get_ref(column).ok()? {
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => None,
    }
}

/// A stored distribution, as far as it can be read.
pub(super) enum Blob {
    /// There is none.
    Absent,
    /// It was read.
    Read(Box<Latency>),
    /// It is not a distribution.
    Unreadable,
}

/// The distribution in a column.
pub(super) fn latency(row: &Row<'_>, column: usize) -> Blob {
    match row.get_ref(column) {
        Ok(ValueRef::Null) => Blob::Absent,
        Ok(ValueRef::Blob(bytes)) => decoded(bytes),
        Ok(ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Text(_)) | Err(_) => {
            Blob::Unreadable
        }
    }
}

/// The distribution in `bytes`.
pub(super) fn decoded(bytes: &[u8]) -> Blob {
    if bytes.len() > LARGEST_BLOB {
        return Blob::Unreadable;
    }
    Latency::from_bytes(bytes).map_or(Blob::Unreadable, |latency| Blob::Read(Box::new(latency)))
}

/// The bits of a distribution's key that hold the route.
const ROUTE_BITS: u32 = 20;
/// The first route number that no key can hold.
pub(super) const ROUTES: i64 = 1 << ROUTE_BITS;
/// The last minute that is stored, in the year 9999; later ones count as it.
pub(super) const LAST_MINUTE: u64 = 253_402_300_799 / 60;

/// The key of a route's distribution: the slot (a minute or an hour) first, so that time is the file's order.
pub(super) fn key(slot: i64, route: i64) -> i64 {
    (slot << ROUTE_BITS) | route
}

/// The slot and the route of a key.
pub(super) fn unkey(key: i64) -> (i64, i64) {
    (key >> ROUTE_BITS, key & (ROUTES - 1))
}
