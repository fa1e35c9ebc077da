//! The real daemon behind one listener, and what it counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{self, Home, try_wait, wait};
use crate::metrics::{Ledger, Metrics};

/// How long anything may take on a loaded machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A running daemon and its directory.
pub(crate) struct Daemon {
    // Before the directory, so that it ends before that goes.
    running: harness::Daemon,
    home: Home,
    listeners: BTreeMap<String, SocketAddr>,
}

impl Daemon {
    /// Starts it with a configuration to which listener `http`, one worker and an access log are added.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary directory"), config)
    }

    /// One route `r` to the given endpoints, with further keys of the route.
    pub(crate) fn routing(endpoints: &[String], route: &str) -> Self {
        Self::start(&format!("{}{route}\n", one_route(endpoints)))
    }

    /// The same with the configuration's other files already in `dir`.
    pub(crate) fn start_in(dir: tempfile::TempDir, config: &str) -> Self {
        let mut text = format!(
            "access_log.output = 'access.log'\n{config}\n\
             [[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n"
        );
        if !config.contains("workers =") {
            text.push_str("[proxy]\nworkers = 1\n");
        }
        let home = Home::in_dir(dir, &text);
        let running = home.run();
        let snapshot = running.snapshot();
        let listeners = snapshot["listeners"].as_array().expect("a list");
        let address = |listener: &Value| {
            let text = |key: &str| listener[key].as_str().expect("a text").to_owned();
            (text("name"), text("address").parse().expect("an address"))
        };
        Self {
            listeners: listeners.iter().map(address).collect(),
            running,
            home,
        }
    }

    /// The directory of its configuration.
    pub(crate) fn dir(&self) -> PathBuf {
        self.home.path("")
    }

    /// The admin API's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.home.state().join("vestibule.sock")
    }

    /// Where listener `http` listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener("http")
    }

    /// Where a listener listens.
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        self.listeners[name]
    }

    /// The snapshot; counts everything that ended before the question.
    pub(crate) fn snapshot(&self) -> Value {
        self.running.snapshot()
    }

    /// What `vestibule status` says.
    pub(crate) fn status(&self) -> String {
        let status = self.home.vestibule(&["status"]);
        String::from_utf8_lossy(&status.stdout).into_owned()
    }

    /// What `vestibule status --json` prints.
    pub(crate) fn status_json(&self) -> Value {
        let status = self.home.vestibule(&["status", "--json"]);
        serde_json::from_slice(&status.stdout).expect("it is JSON")
    }

    /// The metrics page, counted as of the question.
    pub(crate) fn metrics(&self) -> Metrics {
        self.running.metrics()
    }

    /// The access log's lines so far, each checked to be a JSON object.
    pub(crate) fn access_log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.home.path("access.log")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _part)| whole);
        let lines = whole.lines().map(|line| {
            assert!(line.bytes().all(|byte| matches!(byte, 0x20..=0x7e)));
            let value: Value = serde_json::from_str(line).expect("a line is JSON");
            assert!(value.is_object(), "{line}");
            value
        });
        lines.collect()
    }

    /// Waits until the access log has so many lines; there must never be more.
    pub(crate) fn lines(&self, count: usize) -> Vec<Value> {
        let lines = until("access lines", || {
            let lines = self.access_log();
            (lines.len() >= count).then_some(lines)
        });
        assert_eq!(lines.len(), count, "{lines:#?}");
        lines
    }

    /// What the system tells it.
    pub(crate) fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.running.pid()));
        let statm = statm.expect("the system has /proc");
        let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
        pages.map_or(0, |pages: u64| pages * rustix::param::page_size() as u64)
    }

    /// Waits until nothing is being served and asserts that exactly this was counted, once each, in the metrics and in
    /// the access log.
    pub(crate) fn counted(&self, expected: &[(&str, u64)]) -> Metrics {
        let expected: Ledger = expected
            .iter()
            .map(|(what, count)| ((*what).to_owned(), *count))
            .collect();
        let total: u64 = expected.values().sum();
        let mut last = String::new();
        let settled = try_wait(DEADLINE, || {
            let metrics = self.metrics();
            let ledger = metrics.ledger();
            let in_flight = metrics.sum("vestibule_requests_in_flight", &[]);
            last = format!("{ledger:#?}, {in_flight} in flight");
            (ledger.values().sum::<u64>() >= total && in_flight == 0).then_some(metrics)
        });
        let metrics =
            settled.unwrap_or_else(|| panic!("expected {expected:#?}, got {last}, {}", self.log()));
        assert_eq!(metrics.ledger(), expected, "{}", self.log());
        let total = usize::try_from(total).expect("a small number");
        let mut logged = Ledger::new();
        for line in self.lines(total) {
            *logged.entry(entry(&line)).or_default() += 1;
        }
        assert_eq!(logged, expected, "the access log agrees");
        metrics
    }

    /// The access log, for a failure's message.
    fn log(&self) -> String {
        self.access_log().iter().fold(String::new(), |mut all, l| {
            writeln!(all, "{l}").expect("writing to memory cannot fail");
            all
        })
    }

    /// Waits until no client is connected any more.
    pub(crate) fn until_unconnected(&self) {
        until("end of all connections", || {
            (self.metrics().sum("vestibule_connections", &[]) == 0).then_some(())
        });
    }
}

/// A configuration with one route `r` to upstream `u`; further keys of the route may follow it.
pub(crate) fn one_route(endpoints: &[String]) -> String {
    format!(
        "[[upstream]]\nname = 'u'\nendpoints = {endpoints:?}\n\
         [[route]]\nid = 'r'\nupstream = 'u'\n"
    )
}

/// Calls `look` until it finds something; fails at the deadline.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait(what, DEADLINE, look)
}

/// An access line's place in the ledger.
fn entry(line: &Value) -> String {
    let text = |key: &str| line[key].as_str().expect("a text");
    let route = text("route");
    if text("outcome") == "good" {
        format!("{route} good")
    } else {
        format!("{route} {}/{}", text("side"), text("error.type"))
    }
}
