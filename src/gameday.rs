//! Game days: a fault that was announced, in one process, to see that everything says what it should and when.
//!
//! As in the demo nothing is played: the daemon is the one that `run` starts, the fault is real, and what is looked at is the
//! [`Snapshot`] that everybody reads. A game day is a script of expectations, each with the moment at which it should come
//! true. What came of it is the [`Timeline`], as a document for people and as JSON.

use std::fmt::Write as _;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::app::{self, Options as AppOptions, Reload, RunError, Signal};
use crate::config::Resolved;
use crate::model::Timestamp;
use crate::snapshot::Snapshot;

mod load;
mod road;
pub mod tls_expiry;

/// Why a game day could not be held.
#[derive(Debug, thiserror::Error)]
pub enum GamedayError {
    /// Something of the machine: a directory, a socket, a thread.
    #[error("the game day cannot be held: {0}")]
    Io(#[from] io::Error),
    /// The daemon.
    #[error(transparent)]
    Run(#[from] RunError),
    /// What it is held with could not be made.
    #[error("the game day cannot be prepared: {0}")]
    Preparation(String),
    /// Somebody ended it.
    #[error("the game day was interrupted; nothing of it is left")]
    Interrupted,
}

/// Where a game day keeps what it needs.
#[derive(Debug)]
struct Scratch {
    dir: PathBuf,
    is_ours: bool,
}

impl Scratch {
    /// `wanted`, or a directory that is removed when this is dropped.
    fn make(wanted: Option<&Path>) -> io::Result<Self> {
        if let Some(dir) = wanted {
            std::fs::create_dir_all(dir)?;
            return Ok(Self {
                dir: dir.to_owned(),
                is_ours: false,
            });
        }
        let dir = std::env::temp_dir().join(format!("vestibule-gameday-{}", std::process::id()));
        // Nobody else's: keys are kept there.
        DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(Self { dir, is_ours: true })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.is_ours {
            // What cannot be removed is left for the system to tidy up.
            drop(std::fs::remove_dir_all(&self.dir));
        }
    }
}

/// What ends a game day early: Ctrl-C, or being told to stop.
struct Interruption {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Interruption {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }

    async fn came(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What was expected, what came of it, and what else happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timeline {
    /// The game day's name.
    pub game_day: &'static str,
    /// The version of Vestibule.
    pub version: &'static str,
    /// What was done, in a sentence.
    pub about: String,
    /// When it began.
    pub began_at: Timestamp,
    /// When it was over.
    pub ended_at: Timestamp,
    /// Whether everything came as expected and in order.
    pub held: bool,
    /// In the order in which they should come.
    pub expectations: Vec<Expectation>,
    /// What else happened: events, and changes of the verdict.
    pub moments: Vec<Moment>,
}

/// Something that should come true.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expectation {
    /// What.
    pub what: String,
    /// When; `null`: after the one before it.
    pub expected_at: Option<Timestamp>,
    /// How much later or earlier it may come, in seconds.
    pub tolerance_s: f64,
    /// When it came; `null`: it did not.
    pub seen_at: Option<Timestamp>,
    /// Whether it came, in time and after the one before it.
    pub held: bool,
}

impl Expectation {
    /// Says when it should come, once that is known.
    fn expect(&mut self, at: Timestamp, tolerance: Duration) {
        self.expected_at = Some(at);
        self.tolerance_s = tolerance.as_secs_f64();
    }

    fn next(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            expected_at: None,
            tolerance_s: 0.0,
            seen_at: None,
            held: false,
        }
    }

    /// By how many seconds it came late; negative: early.
    pub fn late_s(&self) -> Option<f64> {
        let (expected, seen) = (self.expected_at?, self.seen_at?);
        Some((seen.as_millis() as f64 - expected.as_millis() as f64) / 1_000.0)
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}

impl Timeline {
    fn begun(game_day: &'static str, about: String, at: Timestamp) -> Self {
        Self {
            game_day,
            version: env!("CARGO_PKG_VERSION"),
            about,
            began_at: at,
            ended_at: at,
            held: false,
            expectations: Vec::new(),
            moments: Vec::new(),
        }
    }

    /// Notes that the expectation at `place` has come true, the first time.
    fn saw(&mut self, place: usize, at: Timestamp) -> bool {
        let Some(expectation) = self.expectations.get_mut(place) else {
            return false;
        };
        let is_first = expectation.seen_at.is_none();
        expectation.seen_at.get_or_insert(at);
        is_first
    }

    /// Notes what the game day itself did.
    fn did(&mut self, at: Timestamp, what: impl Into<String>, tell: &mut dyn FnMut(&Moment)) {
        let moment = Moment {
            at,
            text: what.into(),
        };
        tell(&moment);
        self.moments.push(moment);
    }

    /// Says of each expectation whether it held, and of the whole.
    fn judge(&mut self, ended_at: Timestamp) {
        let mut before = Timestamp::default();
        for expectation in &mut self.expectations {
            let in_time = expectation
                .late_s()
                .is_none_or(|late| late.abs() <= expectation.tolerance_s);
            let in_order = expectation.seen_at.is_some_and(|seen| seen >= before);
            expectation.held = in_time && in_order;
            before = expectation.seen_at.unwrap_or(before);
        }
        self.ended_at = ended_at;
        self.held = self.expectations.iter().all(|it| it.held);
        self.moments.sort_by_key(|moment| moment.at);
    }

    /// The document for people.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let word = if self.held { "held" } else { "did not hold" };
        put(
            &mut text,
            format_args!(
                "# Game day `{}`: {word}\n\n{}\n\nFrom {} to {}, Vestibule {}.\n\n",
                self.game_day, self.about, self.began_at, self.ended_at, self.version
            ),
        );
        text.push_str("## What was expected\n\n| what | expected | seen | late | held |\n| --- | --- | --- | --- | --- |\n");
        for it in &self.expectations {
            let time = |at: Option<Timestamp>, none: &str| {
                at.map_or_else(|| none.to_owned(), |at| format!("{}Z", at.time_of_day()))
            };
            let late = it.late_s().map_or_else(String::new, |late| {
                format!("{late:+.1} s of ±{:.0} s", it.tolerance_s)
            });
            put(
                &mut text,
                format_args!(
                    "| {} | {} | {} | {late} | {} |\n",
                    it.what,
                    time(it.expected_at, "then"),
                    time(it.seen_at, "never"),
                    if it.held { "yes" } else { "**no**" }
                ),
            );
        }
        text.push_str("\n## What happened\n\n");
        for moment in &self.moments {
            let said = moment.text.replace('|', "\\|");
            put(
                &mut text,
                format_args!("- {}Z {said}\n", moment.at.time_of_day()),
            );
        }
        text
    }

    /// Writes `NAME-TIME.md` and `NAME-TIME.json` into `dir`; gives where.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, dir: &Path) -> io::Result<[PathBuf; 2]> {
        std::fs::create_dir_all(dir)?;
        let stamp: String = self
            .began_at
            .to_string()
            .chars()
            .take_while(|c| *c != '.')
            .filter(|c| !matches!(c, '-' | ':'))
            .collect();
        let place = |kind: &str| dir.join(format!("gameday-{}-{stamp}Z.{kind}", self.game_day));
        let paths = [place("md"), place("json")];
        std::fs::write(&paths[0], self.markdown())?;
        std::fs::write(&paths[1], serde_json::to_vec_pretty(self)?)?;
        Ok(paths)
    }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string cannot fail");
}

/// A daemon that a game day is held on.
struct Stage {
    daemon: JoinHandle<Result<(), RunError>>,
    signals: mpsc::Sender<Signal>,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    verdict: String,
    told: Timestamp,
    interruption: Interruption,
}

impl Stage {
    fn start(resolved: Resolved, reload: Option<Reload>) -> io::Result<Self> {
        let interruption = Interruption::listen()?;
        let (show, snapshots) = watch::channel(None);
        let (signals, heard) = mpsc::channel(4);
        let daemon = tokio::spawn(app::run(AppOptions {
            resolved,
            reload,
            signals: heard,
            snapshots: show,
        }));
        Ok(Self {
            daemon,
            signals,
            snapshots,
            verdict: String::new(),
            told: Timestamp::default(),
            interruption,
        })
    }

    /// The next snapshot. What happened since the last one goes into `timeline`, and to `tell`.
    async fn next(
        &mut self,
        timeline: &mut Timeline,
        tell: &mut dyn FnMut(&Moment),
    ) -> Result<Arc<Snapshot>, GamedayError> {
        let snapshot = loop {
            tokio::select! {
                changed = self.snapshots.changed() => {
                    if changed.is_err() {
                        return Err(self.ended().await);
                    }
                    let newest = self.snapshots.borrow_and_update().clone();
                    if let Some(snapshot) = newest {
                        break snapshot;
                    }
                }
                ended = &mut self.daemon => return Err(why(ended)),
                () = self.interruption.came() => return Err(GamedayError::Interrupted),
            }
        };
        let news = snapshot.events.iter().rev();
        for event in news.filter(|event| event.at > self.told) {
            let moment = Moment {
                at: event.at,
                text: event.text.clone(),
            };
            tell(&moment);
            timeline.moments.push(moment);
        }
        self.told = snapshot.events.first().map_or(self.told, |event| event.at);
        let sentence = &snapshot.verdict.text;
        if *sentence != self.verdict {
            self.verdict.clone_from(sentence);
            timeline.moments.push(Moment {
                at: snapshot.at,
                text: format!("verdict: {sentence}"),
            });
        }
        Ok(snapshot)
    }

    async fn ended(&mut self) -> GamedayError {
        why((&mut self.daemon).await)
    }

    async fn signal(&self, signal: Signal) {
        // A daemon that has ended says so with the next snapshot.
        self.signals.send(signal).await.unwrap_or_default();
    }

    async fn stop(self) {
        if self.daemon.is_finished() {
            return;
        }
        // Twice: the second does not wait for requests under way.
        self.signal(Signal::Stop).await;
        self.signal(Signal::Stop).await;
        drop(self.daemon.await);
    }
}

fn why(ended: Result<Result<(), RunError>, tokio::task::JoinError>) -> GamedayError {
    match ended {
        Ok(Err(error)) => error.into(),
        Ok(Ok(())) => GamedayError::Preparation("the daemon ended".to_owned()),
        Err(error) => io::Error::other(error).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_700_000_000 + secs)
    }

    fn expected() -> Timeline {
        let mut timeline = Timeline::begun("test", "a test".to_owned(), at(0));
        let tolerance = Duration::from_secs(2);
        timeline.expectations = ["first", "second", "third"].map(Expectation::next).into();
        timeline.expectations[0].expect(at(10), tolerance);
        timeline.expectations[1].expect(at(20), tolerance);
        timeline
    }

    #[test]
    fn everything_in_time_and_in_order_holds() {
        let mut timeline = expected();
        for (place, secs) in [(0, 11), (1, 19), (2, 19), (0, 50)] {
            timeline.saw(place, at(secs));
        }
        timeline.judge(at(60));
        assert!(timeline.held);
        assert!(
            timeline
                .markdown()
                .contains("| first | 22:13:30Z | 22:13:31Z | +1.0 s of ±2 s | yes |")
        );
    }

    #[test]
    fn what_is_late_out_of_order_or_missing_does_not_hold() {
        for (seen, held) in [
            ([Some(13), Some(20), Some(21)], [false, true, true]),
            ([Some(10), Some(20), Some(19)], [true, true, false]),
            ([Some(10), None, Some(11)], [true, false, true]),
        ] {
            let mut timeline = expected();
            for (place, secs) in seen.into_iter().enumerate() {
                if let Some(secs) = secs {
                    timeline.saw(place, at(secs));
                }
            }
            timeline.judge(at(60));
            let says: Vec<bool> = timeline.expectations.iter().map(|it| it.held).collect();
            assert_eq!(says, held);
            assert!(!timeline.held);
        }
    }
}
