//! Everything as it was: the snapshot of an earlier minute, from the history and the configuration of now.
//!
//! Memory is refilled as at a start, but as of then, and judged by the same engine and the same verdict. What the
//! history does not hold is not there: faults, endpoints, probes, certificates and the machine of then. A snapshot that
//! is made so says that it is stored.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::pipeline::Pipeline;
use super::view::{self, Memory, Surroundings};
use super::workers::Gathered;
use crate::admin;
use crate::config::Resolved;
use crate::model::{EventKind, RouteKey, RouteSlot, SloKey, Timestamp};
use crate::sli::recorder::Shard;
use crate::snapshot::{AlertView, Snapshot};
use crate::store::{History, QueryError};
use crate::triage::Verdict;

const MINUTE: Duration = Duration::from_secs(60);

/// Reads it from the history in `dir`, with a connection for each question: they are few.
pub(super) fn reader(dir: PathBuf, configured: watch::Receiver<Arc<Resolved>>) -> admin::ReadPast {
    Arc::new(move |live, at| {
        let resolved = Arc::clone(&configured.borrow());
        past(&dir, &resolved, live, at)
    })
}

fn past(
    dir: &Path,
    resolved: &Arc<Resolved>,
    live: &Snapshot,
    at: Timestamp,
) -> Result<Snapshot, String> {
    // The end of the last minute that was over then.
    let at = Timestamp::from_secs(at.as_secs() / 60 * 60);
    if at <= live.counting_since {
        let since = live.counting_since;
        return Err(format!(
            "nothing is stored of then: the history begins at {since}"
        ));
    }
    // What ended before this process began was written when its predecessor stopped.
    let reaches_to = live.store.flushed_at.unwrap_or(live.started_at);
    if at > reaches_to {
        return Err(format!(
            "not stored yet: the history reaches to {reaches_to}"
        ));
    }
    let history = History::read(dir, at).map_err(|error| error.to_string())?;
    let (pipeline, last) = rebuilt(resolved, &history, at)?;
    let around = Surroundings {
        listeners: live.listeners.clone(),
        config: live.config.clone(),
        gaps: history.gaps.clone(),
        ..Surroundings::new(Arc::clone(resolved), live.started_at, live.counting_since)
    };
    let mut memory = Memory::default();
    let gathered = Gathered::default();
    let mut snapshot = view::snapshot(&pipeline, &around, &gathered, last, live.seq, &mut memory);
    snapshot.at = at;
    snapshot.stored = true;
    snapshot.store = live.store.clone();
    date_alerts(&mut snapshot);
    Ok(snapshot)
}

/// What the verdicts were at the end of the minute before `at`, the worst first, from the history alone: of a daemon that runs
/// or one that has stopped.
///
/// # Errors
/// In one line, when the history cannot be read.
pub(super) fn verdicts(resolved: &Arc<Resolved>, at: Timestamp) -> Result<Vec<Verdict>, String> {
    let at = Timestamp::from_secs(at.as_secs() / 60 * 60);
    let dir = &resolved.store.dir;
    let history = History::read(dir, at).map_err(|error| error.to_string())?;
    let (pipeline, last) = rebuilt(resolved, &history, at)?;
    let since = history.counting_since;
    let around = Surroundings {
        gaps: history.gaps.clone(),
        ..Surroundings::new(Arc::clone(resolved), since, since)
    };
    let mut memory = Memory::default();
    let gathered = Gathered::default();
    let snapshot = view::snapshot(&pipeline, &around, &gathered, last, 0, &mut memory);
    let mut verdicts = vec![snapshot.verdict];
    verdicts.extend(snapshot.other_verdicts);
    Ok(verdicts)
}

/// Memory as of `at`, judged at the last second that was over: its last minute is the one that ends at `at`.
fn rebuilt(
    resolved: &Resolved,
    history: &History,
    at: Timestamp,
) -> Result<(Pipeline, Timestamp), String> {
    let mut pipeline = Pipeline::new(None);
    pipeline
        .configure(resolved, &[])
        .map_err(|error| error.to_string())?;
    refill(&mut pipeline, resolved, history, at).map_err(|error| error.to_string())?;
    let last = at.minus(Duration::from_secs(1));
    pipeline.judge_silently(last);
    Ok((pipeline, last))
}

/// Refills memory as of `at`: all but the last minute as at a start, and the last minute as if it had just been counted.
fn refill(
    pipeline: &mut Pipeline,
    resolved: &Resolved,
    history: &History,
    at: Timestamp,
) -> Result<(), QueryError> {
    let begun = at.minus(MINUTE);
    // The slices of then are stored as well.
    pipeline.promises.are_of_the_past();
    pipeline.restore(history, begun)?;
    for state in &mut pipeline.routes {
        state.counts = crate::model::Counts::default();
    }
    let mut slots: BTreeMap<RouteKey, Box<RouteSlot>> = BTreeMap::new();
    // A name that the directory has no room for has no place on a screen either.
    let key = |pipeline: &mut Pipeline, place: usize| {
        let (id, _) = &history.routes[place];
        pipeline.directory.route(id).ok()
    };
    for (place, (id, _)) in history.routes.iter().enumerate() {
        if let Some(key) = key(pipeline, place) {
            let state = super::pipeline::of(&mut pipeline.routes, key.index());
            state.counts = history.route_until(id, begun)?;
        }
    }
    history.route_minutes(begun.as_secs(), |row| {
        if let Some(key) = key(pipeline, row.route) {
            let slot = slots.entry(key).or_default();
            slot.counts = row.counts;
            slot.duration_us = row.duration_us;
            slot.bytes_in = row.bytes_in;
            slot.bytes_out = row.bytes_out;
            slot.retries = row.retries;
        }
    })?;
    history.route_latencies(begun.as_secs(), |row| {
        if let Some(key) = key(pipeline, row.route) {
            let slot = slots.entry(key).or_default();
            slot.latency = row.latency;
            slot.phases = row.phases;
        }
    })?;
    let mut tallies: Vec<(SloKey, crate::model::Tally)> = Vec::new();
    history.slo_minutes(begun.as_secs(), |row| {
        let (id, _) = &history.slos[row.slo];
        let slo = resolved.slos.iter().find(|slo| slo.id == *id);
        let own = slo.filter(|slo| history.origins[row.slo].is_of(&slo.counted()));
        if let (Some(_), Some(slo)) = (own, pipeline.directory.find_slo(id)) {
            tallies.push((slo, row.tally));
        }
    })?;
    for second in begun.as_secs()..at.as_secs() {
        pipeline.tick(Timestamp::from_secs(second));
    }
    let shard: Shard = slots.into_iter().collect();
    let gathered = Gathered {
        shards: vec![shard],
        ..Gathered::default()
    };
    pipeline.absorb(at.as_secs() - 1, &gathered);
    for (slo, tally) in tallies {
        pipeline.promises.count(at.as_secs() - 1, slo, tally);
    }
    Ok(())
}

/// An alert that is judged anew does not know since when it stands so; the event of its last change does.
fn date_alerts(snapshot: &mut Snapshot) {
    let Snapshot { alerts, events, .. } = snapshot;
    for AlertView { slo, since, .. } in alerts {
        let mut about = events.iter().filter(|event| {
            event.kind == EventKind::Alert && event.scope.slo.as_ref() == Some(slo)
        });
        if let Some(event) = about.next() {
            *since = event.at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock, Tick};
    use crate::model::{Counts, Event, Latency, Scope, Tally, Window};
    use crate::store::{self, Config, MinuteBatch, RouteMinute, SloMinute};
    use crate::triage::Level;

    /// Some minute at the beginning of an hour.
    const M0: u64 = 29_700_000;

    #[derive(Clone)]
    struct Watch(Arc<ManualClock>);

    impl Clock for Watch {
        fn tick(&self) -> Tick {
            self.0.tick()
        }
        fn now(&self) -> Timestamp {
            self.0.now()
        }
    }

    fn end_of(minute: u64) -> Timestamp {
        Timestamp::from_secs((M0 + minute + 1) * 60)
    }

    fn resolved(dir: &Path) -> Arc<Resolved> {
        let text = format!(
            "state = {{ dir = {dir:?} }}\n[[listener]]\nname = 'l'\naddress = '127.0.0.1:0'\n\
             [[upstream]]\nname = 'u'\nendpoints = ['http://a']\n\
             [[route]]\nid = 'r'\nupstream = 'u'\n\
             [[slo]]\nid = 's'\nroute = 'r'\nsli = 'availability'\nobjective = '99.9%'\nwindow = '30d'\n"
        );
        let read = crate::config::parse("t", &text, Path::new(""), &|_| None);
        Arc::new(read.expect("it is valid"))
    }

    /// Ninety minutes of a hundred requests each; from the sixtieth on half of them are bad.
    fn written(dir: &Path) {
        let watch = Watch(Arc::new(ManualClock::new(Timestamp::from_secs(M0 * 60))));
        let opened = store::open(&Config::new(dir.to_owned()), watch.clone()).unwrap();
        watch.0.advance(Duration::from_secs(90 * 60));
        for minute in 0..90 {
            let bad = if minute < 60 { 0 } else { 50 };
            let mut latency = Latency::new();
            latency.record_many(1_000 * (1 + minute), 100);
            let batch = MinuteBatch {
                minute: M0 + minute,
                routes: vec![RouteMinute {
                    route: "r".to_owned(),
                    counts: Counts {
                        good: 100 - bad,
                        bad,
                        excluded: 0,
                    },
                    latency: Some(latency),
                    ..RouteMinute::default()
                }],
                slos: vec![SloMinute {
                    slo: "s".to_owned(),
                    counted: String::new(),
                    tally: Tally {
                        good: 100 - bad,
                        bad,
                    },
                }],
            };
            opened.writer.minute(batch).unwrap();
            opened.writer.flush(Duration::from_secs(30)).unwrap();
        }
        for minute in [20, 59] {
            let event = Event {
                at: end_of(minute),
                kind: EventKind::Deploy,
                scope: Scope {
                    upstream: Some("u".to_owned()),
                    version: Some(minute.to_string()),
                    ..Scope::default()
                },
                text: format!("u {minute}"),
            };
            opened.writer.event(event).unwrap();
        }
        opened.writer.close(Duration::from_secs(30)).unwrap();
    }

    fn live(resolved: &Arc<Resolved>) -> Snapshot {
        let mut pipeline = Pipeline::new(None);
        pipeline.configure(resolved, &[]).unwrap();
        let since = Timestamp::from_secs(M0 * 60);
        let around = Surroundings::new(Arc::clone(resolved), end_of(89), since);
        let gathered = Gathered::default();
        view::snapshot(
            &pipeline,
            &around,
            &gathered,
            end_of(90),
            7,
            &mut Memory::default(),
        )
    }

    #[test]
    fn a_minute_is_shown_as_it_was_and_nothing_that_came_later() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path());
        let resolved = resolved(dir.path());
        let live = live(&resolved);
        let at = |minute: u64| past(dir.path(), &resolved, &live, end_of(minute));

        let calm = at(40).unwrap();
        assert!(calm.stored);
        assert_eq!(calm.at, end_of(40));
        assert_eq!(calm.verdict.severity, Level::Ok, "{}", calm.verdict.text);
        let route = calm.routes.iter().find(|route| route.id == "r").unwrap();
        assert_eq!((route.requests, route.bad), (4_100, 0));
        assert_eq!((route.now.requests, route.now.covered_s), (100, 60));
        assert_eq!(route.now.bad_ratio, Some(0.0));
        assert!(
            route
                .now
                .p50_us
                .is_some_and(|us| us.abs_diff(41_000) < 1_000)
        );
        let told: Vec<&str> = calm.events.iter().map(|it| it.text.as_str()).collect();
        assert_eq!(told, ["u 20"]);

        let broken = at(64).unwrap();
        assert_eq!(
            broken.verdict.severity,
            Level::Crit,
            "{}",
            broken.verdict.text
        );
        let route = broken.routes.iter().find(|route| route.id == "r").unwrap();
        assert_eq!((route.bad, route.now.bad), (250, 50));
        let columns = &route.series.bad;
        assert_eq!(columns.iter().flatten().sum::<u64>(), 250);
        let slo = &broken.slos[0];
        assert_eq!((slo.good, slo.bad), (6_250, 250));
        let burn = slo.burn[&Window::minutes(5)].unwrap();
        assert!((burn - 500.0).abs() < 1.0, "{burn}");
        assert!(!broken.alerts.is_empty());
        let suspect = broken
            .verdict
            .suspect
            .as_ref()
            .map(|it| it.event.text.as_str());
        assert_eq!(suspect, Some("u 59"));
    }

    #[test]
    fn what_is_not_stored_is_refused_and_not_shown_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path());
        let resolved = resolved(dir.path());
        let live = live(&resolved);
        for (at, why) in [
            (Timestamp::from_secs(M0 * 60 - 60), "the history begins at"),
            (end_of(90), "the history reaches to"),
        ] {
            let refused = past(dir.path(), &resolved, &live, at).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn a_calendars_period_holds_what_came_since_its_midnight_however_it_is_stored() {
        // Monday 2026-06-22 begins in Kolkata at 18:30 in universal time, in the middle of an hour.
        const MIDNIGHT: u64 = M0 + 18 * 60 + 30;
        let dir = tempfile::tempdir().unwrap();
        let watch = Watch(Arc::new(ManualClock::new(Timestamp::from_secs(M0 * 60))));
        let opened = store::open(&Config::new(dir.path().to_owned()), watch.clone()).unwrap();
        let days = Duration::from_secs(3 * 86_400);
        watch.0.advance(days);
        let much_later = M0 + 3 * 1_440 - 10;
        for minute in (MIDNIGHT - 25..MIDNIGHT + 25).chain([much_later]) {
            let batch = MinuteBatch {
                minute,
                routes: Vec::new(),
                slos: vec![SloMinute {
                    slo: "s".to_owned(),
                    counted: String::new(),
                    tally: Tally { good: 99, bad: 1 },
                }],
            };
            opened.writer.minute(batch).unwrap();
            opened.writer.flush(Duration::from_secs(30)).unwrap();
        }
        opened.writer.close(Duration::from_secs(30)).unwrap();
        let text = format!(
            "state = {{ dir = {:?} }}\n[[listener]]\nname = 'l'\naddress = '127.0.0.1:0'\n\
             [[upstream]]\nname = 'u'\nendpoints = ['http://a']\n\
             [[route]]\nid = 'r'\nupstream = 'u'\n\
             [[slo]]\nid = 's'\nroute = 'r'\nsli = 'availability'\nobjective = '99.9%'\n\
             window = 'calendar week'\nzone = 'Asia/Kolkata'\n",
            dir.path()
        );
        let resolved = crate::config::parse("t", &text, Path::new(""), &|_| None);
        let resolved = Arc::new(resolved.expect("it is valid"));
        let mut live = live(&resolved);
        live.started_at = Timestamp::from_secs((much_later + 10) * 60);
        let counted = |minute: u64| {
            let at = Timestamp::from_secs((minute + 1) * 60);
            let snapshot = past(dir.path(), &resolved, &live, at).unwrap();
            let slo = &snapshot.slos[0];
            let period = slo.period.clone().unwrap();
            (slo.good, slo.bad, period.from.as_secs() / 60)
        };
        // By the minute, of the week before and of this one; by the hour, cut in the middle.
        assert_eq!(counted(MIDNIGHT - 1), (25 * 99, 25, MIDNIGHT - 7 * 1_440));
        assert_eq!(counted(MIDNIGHT), (99, 1, MIDNIGHT));
        assert_eq!(counted(MIDNIGHT + 9), (990, 10, MIDNIGHT));
        assert_eq!(counted(much_later), (26 * 99, 26, MIDNIGHT));
    }
}
