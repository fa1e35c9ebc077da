//! Refilling memory from the store when a process starts.

use std::collections::BTreeMap;
use std::collections::HashMap;

use crate::model::{Counts, Latency, Tally, Timestamp};
use crate::sli::blame::{BlameRing, Dimension};
use crate::sli::ring::{HourRing, Point, RouteRing, TallyRing};
use crate::store::{History, QueryError};

/// How far back one-minute rows are read for SLOs: a little more than the longest window that is read to the minute.
const SLO_MINUTES_S: u64 = 26 * HOUR_S;
/// How far back hours are read: the longest window that an SLO may have.
const SLO_HOURS_S: u64 = 92 * 86_400;
/// How far back one-minute rows are read for routes.
const ROUTE_MINUTES_S: u64 = 6 * HOUR_S;
/// How far back latencies are read.
const LATENCIES_S: u64 = HOUR_S;
/// How far back route hours are read.
const WEEK_S: u64 = 7 * 86_400;
const HOUR_S: u64 = 3_600;
const MINUTE_S: u64 = 60;

/// What was measured when: the age of the counts less the gaps.
pub(super) struct Coverage {
    since: u64,
    until: u64,
    /// (from, to) in seconds, rising.
    gaps: Vec<(u64, u64)>,
}

impl Coverage {
    pub(super) fn new(history: &History, now: Timestamp) -> Self {
        // A second of which a part was measured is measured: what was counted in it must have its place.
        let mut gaps: Vec<_> = history
            .gaps
            .iter()
            .map(|gap| (rounded_up(gap.from), gap.to.as_secs()))
            .filter(|(from, to)| from < to)
            .collect();
        gaps.sort_unstable();
        Self {
            since: history.counting_since.as_secs(),
            until: rounded_up(now),
            gaps,
        }
    }

    /// Seconds measured in `width` seconds from `start`.
    fn measured(&self, start: u64, width: u64) -> u64 {
        let (from, to) = (start.max(self.since), (start + width).min(self.until));
        let mut measured = to.saturating_sub(from);
        // Gaps are few; those that ended before are skipped by a search.
        let first = self.gaps.partition_point(|(_, end)| *end <= from);
        for (gap_from, gap_to) in self
            .gaps
            .iter()
            .skip(first)
            .take_while(|(gap_from, _)| *gap_from < to)
        {
            measured =
                measured.saturating_sub((*gap_to).min(to).saturating_sub((*gap_from).max(from)));
        }
        measured
    }

    /// The slots of `width` seconds from `from` to `to` that were measured, with how much of each.
    fn slots(&self, from: u64, to: u64, width: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let from = from.max(self.since / width * width);
        (from..to).step_by(width as usize).filter_map(move |start| {
            let measured = self.measured(start, width);
            (measured > 0).then_some((start, measured))
        })
    }
}

/// A moment in seconds, rounded up.
fn rounded_up(at: Timestamp) -> u64 {
    at.as_millis().div_ceil(1_000)
}

/// Refills SLO rings, by id. Ids that the store does not know are left alone: their history begins now.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn slos(
    history: &History,
    coverage: &Coverage,
    rings: &mut HashMap<String, &mut TallyRing>,
    now: Timestamp,
) -> Result<(), QueryError> {
    let now = rounded_up(now);
    let minutes_from = now.saturating_sub(SLO_MINUTES_S) / HOUR_S * HOUR_S;
    let hours_from = now.saturating_sub(SLO_HOURS_S) / HOUR_S * HOUR_S;
    let mut rows: Vec<BTreeMap<u64, Tally>> = vec![BTreeMap::new(); history.slos.len()];
    history.slo_hours(hours_from, |row| {
        if row.start_secs < minutes_from {
            *rows[row.slo].entry(row.start_secs).or_default() += row.tally;
        }
    })?;
    history.slo_minutes(minutes_from, |row| {
        *rows[row.slo].entry(row.start_secs).or_default() += row.tally;
    })?;
    let slots = |coverage: &Coverage| -> Vec<(u64, u64)> {
        let hours = coverage.slots(hours_from, minutes_from, HOUR_S);
        hours
            .chain(coverage.slots(minutes_from, now, MINUTE_S))
            .collect()
    };
    let since_ever = slots(coverage);
    for (((id, _), origin), rows) in history.slos.iter().zip(&history.origins).zip(rows) {
        let Some(ring) = rings.get_mut(id) else {
            continue;
        };
        // What is promised only since lately was not measured before.
        let since_then = (origin.since_secs > coverage.since).then(|| {
            slots(&Coverage {
                since: origin.since_secs,
                until: coverage.until,
                gaps: coverage.gaps.clone(),
            })
        });
        let slots = since_then.as_ref().unwrap_or(&since_ever);
        let point = |&(start_secs, width_s): &(u64, u64)| Point {
            start_secs,
            width_s,
            tally: rows.get(&start_secs).copied().unwrap_or_default(),
        };
        let mut points: Vec<Point> = slots.iter().map(point).collect();
        if let Some(pinned) = ring.pinned() {
            let before = |from| history.slo_over(id, from, pinned);
            cut(&mut points, pinned, before)?;
        }
        ring.restore(points, now);
    }
    Ok(())
}

/// Cuts the hour that `at` lies in: `before` gives what was counted from its first second to there. A period of the calendar
/// begins at a quarter of an hour in some places.
fn cut(
    points: &mut Vec<Point>,
    at: u64,
    before: impl Fn(u64) -> Result<Tally, QueryError>,
) -> Result<(), QueryError> {
    let holds = |point: &Point| point.start_secs < at && at < point.start_secs + point.width_s;
    let Some(place) = points.iter().position(holds) else {
        return Ok(());
    };
    let Point {
        start_secs,
        width_s,
        tally,
    } = points[place];
    let before = before(start_secs)?;
    points[place] = Point {
        start_secs,
        width_s: at - start_secs,
        tally: before,
    };
    let after = Point {
        start_secs: at,
        width_s: start_secs + width_s - at,
        tally: tally - before,
    };
    points.insert(place + 1, after);
    Ok(())
}

/// Refills route rings, by id.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn routes(
    history: &History,
    coverage: &Coverage,
    rings: &mut HashMap<String, &mut RouteRing>,
    now: Timestamp,
) -> Result<(), QueryError> {
    let now = now.as_secs();
    let from = now.saturating_sub(ROUTE_MINUTES_S) / MINUTE_S * MINUTE_S;
    let mut rows: Vec<BTreeMap<u64, (Counts, Option<Latency>)>> =
        vec![BTreeMap::new(); history.routes.len()];
    history.route_minutes(from, |row| {
        rows[row.route].entry(row.start_secs).or_default().0 += row.counts;
    })?;
    history.route_latencies(now.saturating_sub(LATENCIES_S), |row| {
        rows[row.route].entry(row.start_secs).or_default().1 = row.latency;
    })?;
    let slots: Vec<u64> = coverage
        .slots(from, now, MINUTE_S)
        .map(|(start, _)| start)
        .collect();
    for ((id, _), mut rows) in history.routes.iter().zip(rows) {
        let Some(ring) = rings.get_mut(id) else {
            continue;
        };
        let row = |start: &u64| {
            let (counts, latency) = rows.remove(start).unwrap_or_default();
            (*start, counts, latency)
        };
        ring.restore(slots.iter().map(row), now);
    }
    Ok(())
}

/// Refills what is usual for routes, by id.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn hours(
    history: &History,
    rings: &mut HashMap<String, &mut HourRing>,
    now: Timestamp,
) -> Result<(), QueryError> {
    let from = now.as_secs().saturating_sub(WEEK_S) / HOUR_S * HOUR_S;
    history.route_hours(from, |(route, start_secs, counts)| {
        if let Some(ring) = rings.get_mut(&history.routes[route].0) {
            ring.add(start_secs, counts);
        }
    })?;
    Ok(())
}

/// Refills what routes' bad requests were, by id.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn blame(
    history: &History,
    rings: &mut HashMap<String, &mut BlameRing>,
    now: Timestamp,
) -> Result<(), QueryError> {
    let from = now.as_secs().saturating_sub(SLO_HOURS_S);
    history.bad_parts(from, |(route, start_secs, part)| {
        let ring = rings.get_mut(&history.routes[route].0);
        if let (Some(ring), Some(dimension)) = (ring, Dimension::parse(&part.dimension)) {
            ring.at(start_secs).add(dimension, &part.part, part.count);
        }
    })
}

/// Refills the ring of all traffic together.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn edge(
    history: &History,
    coverage: &Coverage,
    ring: &mut RouteRing,
    now: Timestamp,
) -> Result<(), QueryError> {
    let now = now.as_secs();
    let from = now.saturating_sub(ROUTE_MINUTES_S) / MINUTE_S * MINUTE_S;
    let mut rows: BTreeMap<u64, (Counts, Option<Latency>)> = BTreeMap::new();
    history.route_minutes(from, |row| {
        rows.entry(row.start_secs).or_default().0 += row.counts;
    })?;
    history.route_latencies(now.saturating_sub(LATENCIES_S), |row| {
        if let Some(latency) = row.latency {
            rows.entry(row.start_secs)
                .or_default()
                .1
                .get_or_insert_default()
                .merge(&latency);
        }
    })?;
    let slots: Vec<u64> = coverage
        .slots(from, now, MINUTE_S)
        .map(|(start, _)| start)
        .collect();
    ring.restore(
        slots.iter().map(|start| {
            let (counts, latency) = rows.remove(start).unwrap_or_default();
            (*start, counts, latency)
        }),
        now,
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_the_age_less_the_gaps() {
        let coverage = Coverage {
            since: 100,
            until: 1_000,
            gaps: vec![(200, 230), (290, 400)],
        };
        for (start, width, measured) in [
            (0, 60, 0),
            (60, 60, 20),
            (120, 60, 60),
            (180, 60, 30),
            (240, 60, 50),
            (300, 60, 0),
            (960, 60, 40),
            (1_020, 60, 0),
        ] {
            assert_eq!(coverage.measured(start, width), measured, "{start}");
        }
        let slots: Vec<_> = coverage.slots(0, 420, 60).collect();
        assert_eq!(
            slots,
            [(60, 20), (120, 60), (180, 30), (240, 50), (360, 20)]
        );
    }

    #[test]
    fn what_was_counted_in_part_of_a_second_has_its_place() {
        // Begun at 100.2 s, stopped at 100.9 s, here again at 101.2 s.
        let coverage = Coverage {
            since: 100,
            until: rounded_up(Timestamp::from_millis(101_200)),
            gaps: Vec::new(),
        };
        let slots: Vec<_> = coverage.slots(0, 102, 60).collect();
        assert_eq!(slots, [(60, 2)]);
        assert_eq!(rounded_up(Timestamp::from_millis(101_000)), 101);
    }
}
