//! A route's hours: requests and, where they are still kept, their distribution.

use crate::model::{Counts, Latency};
use crate::store::{History, QueryError, Reader};

/// An hour in seconds.
pub(super) const HOUR_S: u64 = 3_600;

/// An hour in which a route had requests.
pub(super) struct Hour {
    /// Its first second.
    pub(super) start_secs: u64,
    /// Its requests.
    pub(super) counts: Counts,
    /// How long they took.
    pub(super) latency: Latency,
}

/// The hours between two moments, as (first second, end): from the first whole one; the last may have been cut.
pub(super) fn spans(from_secs: u64, to_secs: u64) -> impl Iterator<Item = (u64, u64)> {
    let first = from_secs.div_ceil(HOUR_S).saturating_mul(HOUR_S);
    let starts = (first..to_secs).step_by(HOUR_S as usize);
    starts.map(move |start| (start, (start + HOUR_S).min(to_secs)))
}

/// Reads the hours of a route one by one, as many as there are: a distribution is large.
///
/// # Errors
/// When the history cannot be read.
pub(super) fn each(
    reader: &Reader,
    route: &str,
    (from_secs, to_secs): (u64, u64),
    mut each: impl FnMut(Hour),
) -> Result<(), QueryError> {
    for (start_secs, end) in spans(from_secs, to_secs) {
        let counts = reader.route_over(route, start_secs, end)?;
        if counts.valid() > 0 {
            let latency = reader.route_latency(route, start_secs, end)?;
            each(Hour {
                start_secs,
                counts,
                latency,
            });
        }
    }
    Ok(())
}

/// When the counts of the history end, to the whole minute: nothing is known of what comes later.
pub(super) fn ends(history: &History) -> Result<Option<u64>, QueryError> {
    let mut end = None;
    // By the hour at first, so that not every minute there is has to be read.
    let mut hour = None;
    history.route_hours(0, |(_, start, _)| hour = Some(start))?;
    if let Some(hour) = hour {
        history.route_minutes(hour, |row| end = Some(row.start_secs + 60))?;
    }
    Ok(end.or(hour.map(|hour| hour + HOUR_S)))
}
