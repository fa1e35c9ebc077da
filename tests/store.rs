//! The store across processes and on a disk that is full.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail it by panicking, as the test itself does"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use tempfile::TempDir;
use vestibule::clock::ManualClock;
use vestibule::model::{Counts, Latency, Tally, Timestamp};
use vestibule::snapshot::Gap;
use vestibule::store::{
    self, Config, FlushError, History, MinuteBatch, OpenError, Opened, Reader, RouteMinute,
    SloMinute, Writer,
};

const M0: u64 = 29_700_000;
const PATIENCE: Duration = Duration::from_secs(60);
const STATE_DIR: &str = "VESTIBULE_TEST_STATE_DIR";
const FIRST_MINUTE: &str = "VESTIBULE_TEST_FIRST_MINUTE";

/// A clock that a test holds on to.
fn watch(minute: u64) -> Arc<ManualClock> {
    let start = Timestamp::from_secs(minute * 60);
    Arc::new(ManualClock::new(start))
}

/// A minute large enough that a kill has a chance to come in its middle.
fn batch(minute: u64) -> MinuteBatch {
    let mut latency = Latency::new();
    for n in 0..500 {
        latency.record(1_000 + n * n);
    }
    let route = |n: u64| RouteMinute {
        route: format!("route-{n}"),
        counts: Counts {
            good: 1,
            ..Counts::default()
        },
        latency: Some(latency.clone()),
        ..RouteMinute::default()
    };
    MinuteBatch {
        minute,
        routes: (0..100).map(route).collect(),
        slos: vec![SloMinute {
            slo: "s".to_owned(),
            counted: String::new(),
            tally: Tally { good: 1, bad: 0 },
        }],
    }
}

fn minutes_of(history: &History) -> Vec<u64> {
    let mut minutes = Vec::new();
    history
        .slo_minutes(0, |row| {
            assert_eq!(row.tally, Tally { good: 1, bad: 0 });
            minutes.push(row.start_secs / 60);
        })
        .unwrap();
    minutes
}

#[test]
#[ignore = "the child process of `a_kill_while_writing_loses_no_acknowledged_minute`"]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(STATE_DIR) else {
        return;
    };
    let first: u64 = std::env::var(FIRST_MINUTE).unwrap().parse().unwrap();
    let clock = watch(first);
    let opened = store::open(&Config::new(PathBuf::from(dir)), clock.clone()).unwrap();
    for minute in first..first + 100_000 {
        clock.advance(Duration::from_secs(60));
        opened.writer.minute(batch(minute)).unwrap();
        opened.writer.flush(PATIENCE).unwrap();
        println!("wrote {minute}");
        std::io::stdout().flush().unwrap();
    }
}

/// The child, and the minutes it has acknowledged.
fn spawn_writer(dir: &Path, first: u64) -> (Child, Receiver<u64>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("child_that_writes_until_it_is_killed")
        .env(STATE_DIR, dir)
        .env(FIRST_MINUTE, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (acknowledge, acknowledged) = sync_channel(100_000);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let minute = line
                .rsplit_once("wrote ")
                .and_then(|(_, minute)| minute.parse().ok());
            if let Some(minute) = minute {
                acknowledge.send(minute).unwrap();
            }
        }
    });
    (child, acknowledged)
}

#[test]
fn a_kill_while_writing_loses_no_acknowledged_minute() {
    let dir = TempDir::new().unwrap();
    let config = Config::new(dir.path().to_owned());
    let mut all: Vec<u64> = Vec::new();
    let mut first = M0;
    for round in 0..4 {
        let (mut child, acknowledged) = spawn_writer(dir.path(), first);
        let mut seen: Vec<u64> = Vec::new();
        while seen.len() < 10 + 7 * round {
            seen.push(acknowledged.recv_timeout(PATIENCE).unwrap());
        }
        match store::open(&config, watch(first)) {
            Err(OpenError::Locked { pid, .. }) => assert_eq!(pid, Some(child.id())),
            other => panic!("the child has the directory: {other:?}"),
        }
        child.kill().unwrap();
        child.wait().unwrap();
        seen.extend(acknowledged.iter());
        all.extend(&seen);

        let reopened_at = all.last().unwrap() + 60;
        let opened = store::open(&config, watch(reopened_at)).unwrap();
        assert!(opened.history.unclean);
        let minutes = minutes_of(&opened.history);
        assert!(all.iter().all(|minute| minutes.contains(minute)));
        let last = *minutes.last().unwrap();
        let gap = Gap {
            from: Timestamp::from_secs((last + 1) * 60),
            to: Timestamp::from_secs(reopened_at * 60),
        };
        assert_eq!(opened.history.gaps[0], gap);
        let verdict: String = rusqlite::Connection::open(dir.path().join("history.db"))
            .unwrap()
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(verdict, "ok");
        let written = minutes.len() as u64;
        let reader = Reader::open(dir.path()).unwrap();
        assert_eq!(reader.slo_over("s", 0, u64::MAX).unwrap().good, written);
        assert_eq!(reader.route_counts("route-99").unwrap().good, written);
        opened.writer.close(PATIENCE).unwrap();
        all = minutes;
        first = reopened_at;
    }
}

/// A small file system of its own; `None` where that is not permitted.
struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let disk = Self { dir };
        let mounted = mount(&[
            "-t",
            "tmpfs",
            "-o",
            &format!("size={size},mode=0700"),
            "none",
            disk.dir.path().to_str().unwrap(),
        ]);
        mounted.then_some(disk)
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(mount(&["-o", &options, self.dir.path().to_str().unwrap()]));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a writer's thread may still be about to close its files.
        drop(
            Command::new("umount")
                .arg("-l")
                .arg(self.dir.path())
                .stderr(Stdio::null())
                .status(),
        );
    }
}

fn mount(arguments: &[&str]) -> bool {
    Command::new("mount")
        .args(arguments)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Writes minutes from `from` on until the disk refuses one, and gives that one.
fn fill(writer: &Writer, from: u64) -> u64 {
    for minute in from..from + 10_000 {
        writer.minute(batch(minute)).unwrap();
        match writer.flush(PATIENCE) {
            Ok(()) => {}
            Err(FlushError::Failed { backlog: 1, cause }) => {
                assert!(cause.contains("full"), "{cause}");
                return minute;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the disk never became full");
}

#[test]
fn a_full_disk_delays_minutes_and_then_loses_the_oldest_only() {
    let Some(disk) = SmallDisk::mount("2m") else {
        eprintln!("SKIPPED: not permitted to mount a small file system");
        return;
    };
    let config = Config::new(disk.dir.path().join("state"));
    let clock = watch(M0);
    let Opened { writer, .. } = store::open(&config, clock.clone()).unwrap();
    let refused = fill(&writer, M0);
    let status = writer.status();
    let (since, text) = status.last_error.expect("the status says so");
    assert_eq!(since, Timestamp::from_secs(M0 * 60));
    assert!(text.contains("full"), "{text}");
    assert_eq!((status.backlog, status.dropped), (1, 0));

    // Room again: the next minute takes the waiting one along.
    disk.remount("size=4m");
    writer.minute(batch(refused + 1)).unwrap();
    writer.flush(PATIENCE).unwrap();
    let status = writer.status();
    assert_eq!((status.backlog, status.last_error), (0, None));

    // Full for longer than the backlog reaches.
    let refused = fill(&writer, refused + 2);
    for minute in refused + 1..refused + 1 + Writer::CAPACITY + 4 {
        writer.minute(batch(minute)).unwrap();
        assert!(writer.flush(PATIENCE).is_err());
    }
    let status = writer.status();
    assert_eq!((status.backlog, status.dropped), (Writer::CAPACITY, 5));
    disk.remount("size=64m");
    writer.flush(PATIENCE).unwrap();
    assert_eq!(writer.status().backlog, 0);
    let end = refused + 1 + Writer::CAPACITY + 4;
    clock.advance(Duration::from_secs((end - M0) * 60));
    writer.close(PATIENCE).unwrap();

    let history = store::open(&config, watch(end)).unwrap().history;
    assert!(!history.unclean);
    let minutes = minutes_of(&history);
    let expected: Vec<u64> = (M0..refused).chain(refused + 5..end).collect();
    assert_eq!(minutes, expected);
    let lost = Gap {
        from: Timestamp::from_secs(refused * 60),
        to: Timestamp::from_secs((refused + 5) * 60),
    };
    assert_eq!(history.gaps, [lost]);
}

#[test]
fn a_file_system_that_is_read_only_is_named() {
    let Some(disk) = SmallDisk::mount("2m") else {
        eprintln!("SKIPPED: not permitted to mount a small file system");
        return;
    };
    disk.remount("ro");
    let dir = disk.dir.path().join("state");
    let error = store::open(&Config::new(dir), watch(M0)).unwrap_err();
    assert!(matches!(error, OpenError::Files { .. }), "{error}");
    assert!(error.to_string().contains("state"), "{error}");
}
