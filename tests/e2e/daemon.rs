//! The real daemon on ports of the system's choice, and what it says about itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use vestibule::clock::{Clock as _, SystemClock};

use crate::wire::Reader;

/// How long anything may take on a loaded machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A running daemon. Killed when it goes.
pub(crate) struct Daemon {
    child: Child,
    dir: tempfile::TempDir,
    listeners: BTreeMap<String, SocketAddr>,
}

/// What was counted: by `route good` or `route side/fault`, only what is not zero.
pub(crate) type Ledger = BTreeMap<String, u64>;

impl Daemon {
    /// Starts it with a configuration to which listener `http`, one worker, an access log and a state directory are
    /// added.
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
            "state.dir = 'state'\naccess_log.output = 'access.log'\n{config}\n\
             [[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n"
        );
        if !config.contains("workers =") {
            text.push_str("[proxy]\nworkers = 1\n");
        }
        let file = dir.path().join("vestibule.toml");
        std::fs::write(&file, &text).expect("it can be written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["run", "--config"])
            .arg(&file)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let said = said(&mut child);
        let mut daemon = Self {
            child,
            dir,
            listeners: BTreeMap::new(),
        };
        await_greeting(&said, &text);
        daemon.listeners = daemon.read_listeners();
        daemon
    }

    /// Where listener `http` listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener("http")
    }

    /// Where a listener listens.
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        self.listeners[name]
    }

    /// Its directory, with its configuration.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn socket(&self) -> PathBuf {
        self.dir().join("state/vestibule.sock")
    }

    fn read_listeners(&self) -> BTreeMap<String, SocketAddr> {
        let snapshot = self.snapshot();
        let listeners = snapshot["listeners"].as_array().expect("a list");
        let address = |listener: &Value| {
            let text = |key: &str| listener[key].as_str().expect("a text").to_owned();
            (text("name"), text("address").parse().expect("an address"))
        };
        listeners.iter().map(address).collect()
    }

    /// What the admin API answers; counts everything that ended before the question.
    pub(crate) fn ask(&self, path: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).expect("the admin socket is there");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it listens");
        let mut reader = Reader::new(stream);
        let mut answer = reader.head().expect("it answers");
        reader.body(&mut answer, true);
        assert_eq!(answer.status(), 200, "{}", answer.text());
        answer.text()
    }

    /// The snapshot.
    pub(crate) fn snapshot(&self) -> Value {
        serde_json::from_str(&self.ask("/v1/snapshot")).expect("it is JSON")
    }

    /// What `vestibule status --json` prints.
    pub(crate) fn status_json(&self) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["status", "--json", "--connect"])
            .arg(self.socket())
            .output()
            .expect("the program starts");
        serde_json::from_slice(&output.stdout).expect("it is JSON")
    }

    /// The metrics page.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::parse(&self.ask("/metrics"))
    }

    /// The access log's lines so far, each checked to be a JSON object.
    pub(crate) fn access_log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir().join("access.log")).unwrap_or_default();
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

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()));
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
        let settled = try_until(|| {
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

impl Drop for Daemon {
    fn drop(&mut self) {
        // Dead already, perhaps; then there is nothing to kill.
        drop(self.child.kill());
        drop(self.child.wait());
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
    try_until(look).unwrap_or_else(|| panic!("no {what} within {DEADLINE:?}"))
}

fn try_until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let clock = SystemClock::new();
    let deadline = clock.tick().plus(DEADLINE);
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if clock.tick() >= deadline {
            return None;
        }
        // Only so that looking does not take the processor from what is looked at.
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// The lines that the daemon writes to standard error, as they come.
fn said(child: &mut Child) -> Receiver<String> {
    let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let (say, said) = sync_channel(1_000);
    thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            // Goes on reading when nobody listens, so that the daemon is never blocked.
            drop(say.try_send(line));
        }
    });
    said
}

/// Waits for the daemon's last greeting line: it serves then.
fn await_greeting(said: &Receiver<String>, config: &str) {
    let mut all = String::new();
    while let Ok(line) = said.recv_timeout(DEADLINE) {
        if line.contains("watch it:") {
            return;
        }
        all.push_str(&line);
        all.push('\n');
    }
    panic!("the daemon did not start:\n{all}\nwith\n{config}");
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

/// A scrape of the metrics page.
#[derive(Debug)]
pub(crate) struct Metrics(Vec<(String, BTreeMap<String, String>, u64)>);

impl Metrics {
    fn parse(page: &str) -> Self {
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let pairs = labels.trim_end_matches('}').split("\",");
            let pairs = pairs.filter_map(|pair| pair.split_once("=\""));
            let labels = pairs.map(|(name, value)| {
                let value = value.trim_end_matches('"');
                (name.to_owned(), value.to_owned())
            });
            let value: f64 = value.parse().expect("a value is a number");
            (name.to_owned(), labels.collect(), value as u64)
        };
        Self(samples.map(sample).collect())
    }

    /// The sum of all samples of a series with these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let wanted = |found: &BTreeMap<String, String>| {
            let has = |(name, value): &(&str, &str)| found.get(*name).is_some_and(|v| v == value);
            labels.iter().all(has)
        };
        let named = self.0.iter().filter(|(found, _, _)| found == name);
        let mut samples = named.filter(|(_, found, _)| wanted(found)).peekable();
        assert!(
            samples.peek().is_some() || !labels.is_empty(),
            "there is a series {name}"
        );
        samples.map(|(_, _, value)| value).sum()
    }

    /// What was counted. Asserts that outcomes and faults agree.
    fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::new();
        let mut sums = BTreeMap::new();
        for (name, labels, value) in &self.0 {
            let label = |name: &str| labels[name].as_str();
            match name.as_str() {
                "vestibule_requests_total" => {
                    let (route, outcome) = (label("route"), label("outcome"));
                    *sums.entry((route, outcome)).or_insert(0_i64) += value.cast_signed();
                    if outcome == "good" && *value > 0 {
                        ledger.insert(format!("{route} good"), *value);
                    }
                }
                "vestibule_faults_total" if *value > 0 => {
                    let (route, side) = (label("route"), label("side"));
                    ledger.insert(format!("{route} {side}/{}", label("fault")), *value);
                    let outcome = if side == "downstream" {
                        "excluded"
                    } else {
                        "bad"
                    };
                    *sums.entry((route, outcome)).or_insert(0) -= value.cast_signed();
                }
                _ => {}
            }
        }
        sums.retain(|(_, outcome), difference| *outcome != "good" && *difference != 0);
        assert!(sums.is_empty(), "outcomes and faults differ: {sums:?}");
        ledger
    }
}
