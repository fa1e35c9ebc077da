//! `/probe?target=&module=`: probes that Prometheus asks for, with the names and labels that `blackbox_exporter` gives them,
//! so that dashboards and rules written for it go on working.
//!
//! Where that program goes blind this one does not: phases that were reached are kept when a later one fails, certificates
//! are described also when they are refused, and why a probe failed is a label. What is added has names of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::{Semaphore, watch};

use super::module::{self, Module};
use super::prepare::Roots;
use super::run::Probe;
use crate::clock::SystemClock;
use crate::net::mark::MarkKey;

mod page;

pub use page::{CONTENT_TYPE, SERIES};

/// The modules of a configuration.
#[derive(Debug, Default)]
pub struct Modules {
    by_name: BTreeMap<String, Module>,
    // Read once for all modules; held for as long as it takes to look one up or to read a file of them.
    roots: Mutex<Roots>,
}

impl Modules {
    /// These, and the one that is there without being written.
    pub fn new(modules: &[Module]) -> Self {
        let standard = Module::standard();
        let all = std::iter::once(&standard).chain(modules);
        Self {
            by_name: all.map(|it| (it.name.clone(), it.clone())).collect(),
            roots: Mutex::default(),
        }
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

/// Who answers.
#[derive(Clone, Debug)]
pub struct Blackbox {
    modules: watch::Receiver<Arc<Modules>>,
    clock: SystemClock,
    key: Option<MarkKey>,
    room: Arc<Semaphore>,
    most: usize,
}

/// Probes that a server of its own runs for askers at a time; more are refused, so that targets that hang cannot take all
/// there is.
pub const MAX_ASKED: usize = 200;
/// The same for a daemon, whose admin API has connections for others to be kept free.
pub const MAX_ASKED_OF_DAEMON: usize = 32;

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200, also for a probe that failed; 400 for a question that is none.
    pub status: StatusCode,
    /// Text.
    pub body: String,
}

impl Answer {
    fn refuse(status: StatusCode, why: impl Into<String>) -> Self {
        let mut body = why.into();
        body.push('\n');
        Self { status, body }
    }
}

impl Blackbox {
    /// Answers with the modules in force, `most` questions at a time. With `key`, requests are marked.
    pub fn new(
        modules: watch::Receiver<Arc<Modules>>,
        clock: SystemClock,
        key: Option<MarkKey>,
        most: usize,
    ) -> Self {
        Self {
            modules,
            clock,
            key,
            room: Arc::new(Semaphore::new(most)),
            most,
        }
    }

    /// Runs the probe that a query asks for. `scrape_timeout` is the header `X-Prometheus-Scrape-Timeout-Seconds`.
    pub async fn answer(&self, query: &str, scrape_timeout: Option<&str>) -> Answer {
        let parameters = parameters(query);
        let parameter = |name: &str| {
            let value = parameters.get(name).map(String::as_str);
            value.filter(|value| !value.is_empty())
        };
        let bad = |why: String| Answer::refuse(StatusCode::BAD_REQUEST, why);
        let modules = Arc::clone(&self.modules.borrow());
        let name = parameter("module").unwrap_or(module::DEFAULT);
        let Some(module) = modules.by_name.get(name) else {
            let known: Vec<_> = modules.names().collect();
            return bad(format!(
                "Unknown module {name:?}; there are: {}",
                known.join(", ")
            ));
        };
        let Some(target) = parameter("target") else {
            return bad("Target parameter is missing".to_owned());
        };
        let patience = match scrape_timeout.map(patience) {
            Some(None) => return bad("The scrape timeout is no number of seconds".to_owned()),
            Some(Some(patience)) => patience,
            None => module::LONGEST,
        };
        let mut definition = match module.aim(target, parameter("hostname")) {
            Ok(definition) => definition,
            Err(error) => return bad(error.to_string()),
        };
        definition.manner.timeout = definition.manner.timeout.min(patience);
        let Ok(_room) = self.room.try_acquire() else {
            let why = format!("{} probes are under way", self.most);
            return Answer::refuse(StatusCode::SERVICE_UNAVAILABLE, why);
        };
        let with_roots = Arc::clone(&modules);
        let preparing = tokio::task::spawn_blocking(move || {
            let mut roots = with_roots
                .roots
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let trust = roots.of(&definition);
            trust.map(|trust| Probe::new(definition, trust, Vec::new()))
        });
        let probe = match preparing.await {
            Ok(Ok(probe)) => probe,
            Ok(Err(error)) => {
                return Answer::refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
            }
            Err(error) => {
                return Answer::refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
            }
        };
        let run = probe.run(self.clock, self.key.as_ref()).await;
        let mut body = page::metrics(probe.definition(), &run);
        if parameter("debug") == Some("true") {
            body = page::debug(module, probe.definition(), &run, &body);
        }
        Answer {
            status: StatusCode::OK,
            body,
        }
    }
}

/// What is kept back of a scrape's time for the answer to arrive.
const OFFSET: Duration = Duration::from_millis(500);

/// How long a probe may take so that its answer arrives within a scrape's timeout; `None` when that is none.
fn patience(seconds: &str) -> Option<Duration> {
    let seconds: f64 = seconds.parse().ok()?;
    let whole = Duration::try_from_secs_f64(seconds).ok()?;
    let left = whole.checked_sub(OFFSET).filter(|left| !left.is_zero());
    // Without room for both, all of it.
    let left = left.unwrap_or(whole);
    (!left.is_zero()).then_some(left.min(module::LONGEST))
}

/// A query's parameters; of those with one name the first, as forms are read (application/x-www-form-urlencoded).
fn parameters(query: &str) -> HashMap<String, String> {
    let mut parameters = HashMap::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters
            .entry(decoded(name))
            .or_insert_with(|| decoded(value));
    }
    parameters
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let mut ahead = rest.clone();
                if let (Some(high), Some(low)) = (hex(ahead.next()), hex(ahead.next())) {
                    bytes.push((high * 16 + low) as u8);
                    rest = ahead;
                } else {
                    bytes.push(b'%');
                }
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_forms_are() {
        let read = parameters("target=http%3A%2F%2Fa%2F%3Fx%3D1&module=a+b&debug&target=2&x=%zz%4");
        assert_eq!(read["target"], "http://a/?x=1");
        assert_eq!((&*read["module"], &*read["debug"]), ("a b", ""));
        assert_eq!(read["x"], "%zz%4");
    }

    #[test]
    fn a_probe_ends_before_its_scrape_does() {
        for (header, millis) in [
            ("10", Some(9_500)),
            ("0.4", Some(400)),
            ("0.5", Some(500)),
            ("1e9", Some(120_000)),
            ("0", None),
            ("-1", None),
            ("NaN", None),
            ("x", None),
        ] {
            assert_eq!(
                patience(header),
                millis.map(Duration::from_millis),
                "{header}"
            );
        }
    }
}
