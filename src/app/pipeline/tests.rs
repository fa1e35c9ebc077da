//! Slices of time, from the second to the store and back.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::store::{self, Config};

/// A whole day in universal time, in seconds.
const START: u64 = 20_600 * 86_400;
const PATIENCE: Duration = Duration::from_secs(30);

fn resolved(dir: &Path, slices: &str) -> Resolved {
    let text = format!(
        "state = {{ dir = {dir:?} }}\n[[listener]]\nname = 'l'\naddress = '127.0.0.1:0'\n\
         [[upstream]]\nname = 'u'\nendpoints = ['http://a']\n[[route]]\nid = 'r'\nupstream = 'u'\n\
         [[slo]]\nid = 's'\nroute = 'r'\nsli = 'availability'\nobjective = '99%'\n{slices}\n"
    );
    crate::config::parse("t", &text, Path::new(""), &|_| None).expect("it is valid")
}

/// Runs a process from second `from` to `to`: one tick a second, with the requests of the second before.
fn run(dir: &Path, slices: &str, (from, to): (u64, u64), requests: &dyn Fn(u64) -> Tally) -> Tally {
    let watch = Arc::new(ManualClock::new(Timestamp::from_secs(START + from)));
    let opened = store::open(&Config::new(dir.to_owned()), watch.clone()).unwrap();
    let mut pipeline = Pipeline::new(Some(opened.writer));
    let resolved = resolved(dir, slices);
    pipeline.configure(&resolved, &[]).unwrap();
    pipeline.restore(&opened.history, watch.now()).unwrap();
    drop(opened.history);
    let slo = pipeline.directory.find_slo("s").unwrap();
    let route = pipeline.directory.route("r").unwrap();
    for second in from..to {
        pipeline.tick(Timestamp::from_secs(START + second));
        watch.advance(Duration::from_secs(1));
        let mut slot = Box::<RouteSlot>::default();
        slot.slos.push((slo, requests(second)));
        let gathered = Gathered {
            shards: vec![vec![(route, slot)]],
            ..Gathered::default()
        };
        pipeline.absorb(START + second, &gathered);
    }
    let end = Timestamp::from_secs(START + to);
    pipeline.tick(end);
    pipeline.judge_silently(end);
    let told = pipeline.evaluation.slos[0].tally;
    pipeline.hand_over_minute();
    pipeline.store.take().unwrap().close(PATIENCE).unwrap();
    told
}

/// Nobody in minute 3; half of minute 1 fails, and one of a hundred in minute 4.
fn requests(second: u64) -> Tally {
    let bad = match second / 60 {
        1 => u64::from(second % 60 < 30) * 10,
        3 => return Tally::default(),
        4 => u64::from(second.is_multiple_of(10)),
        _ => 0,
    };
    Tally {
        good: 10 - bad,
        bad,
    }
}

const BY_TARGET: &str =
    "budgeting = 'timeslices'\nslice = '1m'\nslice_objective = '99%'\nempty_slice = 'bad'";
const BY_SHARE: &str = "budgeting = 'ratio-timeslices'\nslice = '1m'\nempty_slice = 'skip'";

#[test]
fn slices_are_the_same_whenever_the_process_was_started_again() {
    for (slices, expected) in [
        // Minutes 0, 2 and 4 are good, 4 exactly at its target; 1 is bad, and 3 by what was said of empty ones.
        (BY_TARGET, Tally { good: 3, bad: 2 }),
        (
            BY_SHARE,
            Tally {
                good: 3_490_000,
                bad: 510_000,
            },
        ),
    ] {
        for stops in [&[][..], &[90], &[60], &[45, 100, 250], &[119, 121, 299]] {
            let dir = tempfile::tempdir().unwrap();
            let mut from = 0;
            let mut told = Tally::default();
            for stop in stops.iter().copied().chain([300]) {
                told = run(dir.path(), slices, (from, stop), &requests);
                from = stop;
            }
            assert_eq!(told, expected, "{slices} {stops:?}");
            // What is told is what the stored requests come to.
            let reader = store::Reader::open(dir.path()).unwrap();
            let promised = resolved(dir.path(), slices).slos[0].slices.unwrap();
            let minutes = (0..5).map(|minute| {
                let from = START + minute * 60;
                let stored = reader.slo_over("s/requests", from, from + 60).unwrap();
                promised.judge(stored, true)
            });
            let sum = minutes.fold(Tally::default(), |sum, slice| sum + slice);
            assert_eq!(sum, expected, "{slices} {stops:?}");
        }
    }
}

#[test]
fn a_slice_in_which_the_process_stopped_counts_as_what_was_seen_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let failing = |_: u64| Tally { good: 0, bad: 5 };
    let first = run(dir.path(), BY_TARGET, (0, 80), &failing);
    assert_eq!(first, Tally { good: 0, bad: 1 });
    // Away for five minutes: the slice it stopped in was bad as far as it was seen, those it missed are not known.
    let fine = |_: u64| Tally { good: 5, bad: 0 };
    let second = run(dir.path(), BY_TARGET, (380, 500), &fine);
    assert_eq!(second, Tally { good: 2, bad: 2 });
}

/// Runs a process from second `from` to `to` with two promises of which composites are made, and tells what those are.
fn run_weighed(dir: &Path, (from, to): (u64, u64)) -> [Tally; 2] {
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(START + from)));
    let opened = store::open(&Config::new(dir.to_owned()), clock.clone()).unwrap();
    let mut pipeline = Pipeline::new(Some(opened.writer));
    let route = |id: &str| {
        format!(
            "[[route]]\nid = '{id}'\npath = '/{id}'\nupstream = 'u'\n\
             [[slo]]\nid = 'of-{id}'\nroute = '{id}'\nsli = 'availability'\nobjective = '99%'\n"
        )
    };
    let composite = |weigh: &str| {
        format!(
            "[[slo]]\nid = 'by-{weigh}'\nsli = 'composite'\nweigh = '{weigh}'\nobjective = '99%'\n\
             [[slo.part]]\nslo = 'of-a'\nweight = 3\n[[slo.part]]\nslo = 'of-b'\n"
        )
    };
    let text = format!(
        "state = {{ dir = {dir:?} }}\n[[listener]]\nname = 'l'\naddress = '127.0.0.1:0'\n\
         [[upstream]]\nname = 'u'\nendpoints = ['http://a']\n{}{}{}{}",
        route("a"),
        route("b"),
        composite("minutes"),
        composite("events")
    );
    let resolved = crate::config::parse("t", &text, Path::new(""), &|_| None).expect("it is valid");
    pipeline.configure(&resolved, &[]).unwrap();
    pipeline.restore(&opened.history, clock.now()).unwrap();
    drop(opened.history);
    let part = |pipeline: &mut Pipeline, id: &str| {
        let slo = pipeline.directory.find_slo(&format!("of-{id}")).unwrap();
        (pipeline.directory.route(id).unwrap(), slo)
    };
    let parts = [part(&mut pipeline, "a"), part(&mut pipeline, "b")];
    for second in from..to {
        pipeline.tick(Timestamp::from_secs(START + second));
        clock.advance(Duration::from_secs(1));
        // The second part has requests in every other minute only, and half of them fail.
        let b = match second / 60 % 2 {
            0 => Tally { good: 1, bad: 1 },
            _ => Tally::default(),
        };
        let shard = parts
            .into_iter()
            .zip([requests(second), b])
            .map(|((route, slo), tally)| {
                let mut slot = Box::<RouteSlot>::default();
                slot.slos.push((slo, tally));
                (route, slot)
            })
            .collect();
        let gathered = Gathered {
            shards: vec![shard],
            ..Gathered::default()
        };
        pipeline.absorb(START + second, &gathered);
    }
    let end = Timestamp::from_secs(START + to);
    pipeline.tick(end);
    pipeline.judge_silently(end);
    let told = ["by-minutes", "by-events"].map(|id| {
        let mut slos = pipeline.evaluation.slos.iter();
        slos.find(|status| status.slo.id == id).unwrap().tally
    });
    pipeline.hand_over_minute();
    pipeline.store.take().unwrap().close(PATIENCE).unwrap();
    told
}

#[test]
fn composites_are_the_same_whenever_the_process_was_started_again() {
    // By minutes: (3 × 1 + 0.5) ÷ 4; half, alone; the same as the first; nobody; (3 × 0.99 + 0.5) ÷ 4.
    let by_minutes = Tally {
        good: 875_000 + 500_000 + 875_000 + 867_500,
        bad: 125_000 + 500_000 + 125_000 + 132_500,
    };
    // 240 seconds of ten requests, of which 300 and 6 failed, three times, and 180 seconds of one good and one bad.
    let by_events = Tally {
        good: 3 * (2_400 - 306) + 180,
        bad: 3 * 306 + 180,
    };
    for stops in [&[][..], &[90], &[60], &[45, 100, 250], &[119, 121, 299]] {
        let dir = tempfile::tempdir().unwrap();
        let (mut from, mut told) = (0, [Tally::default(); 2]);
        for stop in stops.iter().copied().chain([300]) {
            told = run_weighed(dir.path(), (from, stop));
            from = stop;
        }
        assert_eq!(told, [by_minutes, by_events], "{stops:?}");
    }
}
