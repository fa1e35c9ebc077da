//! The one thread that writes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::database::Database;
use super::encoded::{Encoded, MinuteBatch};
use super::lock::Lock;
use super::queue::{self, Queue, Work};
use super::retention::Pass;
use super::{Config, FlushError, OpenError, Refused};
use crate::clock::Clock;
use crate::model::{Event, SlotRecord, Timestamp};

/// Bytes of encoded distributions that may wait for a disk that refuses; beyond it the oldest minutes keep their
/// counters only.
const LATENCY_BYTES: usize = 64 << 20;

/// A handle to the thread. Clones share it; when the last is dropped the thread writes what it has and ends.
#[derive(Clone, Debug)]
pub struct Writer(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    // Shared with the thread, which must not keep itself alive through the handle.
    queue: Arc<Queue>,
}

/// How writing goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriterStatus {
    /// When a minute was last committed; `None` before the first.
    pub flushed_at: Option<Timestamp>,
    /// Minutes waiting to be written.
    pub backlog: u64,
    /// Minutes lost since the start because too many waited.
    pub dropped: u64,
    /// Minutes whose latency distributions, but not their counters, were lost for the same reason.
    pub dropped_latencies: u64,
    /// Events lost for the same reason.
    pub dropped_events: u64,
    /// Slots of probes lost for the same reason.
    pub dropped_slots: u64,
    /// Distributions that were left out: stored ones that could not be read, and those of a millionth route.
    pub unreadable: u64,
    /// The database's size with its log, in bytes.
    pub size_bytes: u64,
    /// Latency distributions older than this were given up for the byte budget; `None` when none were.
    pub given_up_before: Option<Timestamp>,
    /// The counters alone exceed the byte budget.
    pub over_budget: bool,
    /// Since when writing fails, and why; `None` while it works.
    pub last_error: Option<(Timestamp, String)>,
}

impl Writer {
    /// How many minutes wait at most while the disk refuses.
    pub const CAPACITY: u64 = queue::MINUTES as u64;
    /// How many slots of probes do.
    pub const SLOTS: u64 = queue::SLOTS as u64;

    /// Hands a minute over. Never waits: when two are waiting already, further ones come without their distributions,
    /// and when [`Writer::CAPACITY`] are, the oldest is lost; both are counted.
    ///
    /// A minute that is stored already is added to.
    ///
    /// # Errors
    /// When the writer has been closed.
    pub fn minute(&self, batch: MinuteBatch) -> Result<(), Refused> {
        self.0.queue.push_minute(batch)
    }

    /// Hands an event over. Never waits.
    ///
    /// # Errors
    /// When the writer has been closed.
    pub fn event(&self, event: Event) -> Result<(), Refused> {
        self.0.queue.push_event(event)
    }

    /// Hands slots of probes over. Never waits.
    ///
    /// # Errors
    /// When the writer has been closed.
    pub fn slots(&self, records: Vec<SlotRecord>) -> Result<(), Refused> {
        self.0.queue.push_slots(records)
    }

    /// Replaces all alert states, each an id and a text that only the caller understands. Never waits.
    ///
    /// # Errors
    /// When the writer has been closed.
    pub fn alerts(&self, alerts: Vec<(String, String)>) -> Result<(), Refused> {
        self.0.queue.replace_alerts(alerts)
    }

    /// Waits until everything handed over is committed, at most `within`.
    ///
    /// # Errors
    /// When the disk refuses, the time is over, or the writer has been closed.
    pub fn flush(&self, within: Duration) -> Result<(), FlushError> {
        self.0.queue.flush(within)
    }

    /// Writes what waits, marks the run as cleanly ended, folds the log in and frees the directory; waits for that at
    /// most `within`. Nothing is taken afterwards.
    ///
    /// # Errors
    /// When the disk refuses or the time is over; the thread then still goes on as long as the process does.
    pub fn close(&self, within: Duration) -> Result<(), FlushError> {
        self.0.queue.close(within)
    }

    /// How writing goes. Never waits for the disk.
    pub fn status(&self) -> WriterStatus {
        self.0.queue.status()
    }

    /// Starts the thread. It owns the connection and the directory's lock, so that the lock is held exactly as long
    /// as something may write.
    pub(super) fn start<C: Clock + Send + 'static>(
        config: Config,
        database: Database,
        lock: Lock,
        clock: C,
    ) -> Result<Self, OpenError> {
        let queue = Arc::new(Queue::default());
        let size_bytes = database.size_bytes();
        queue.report(|status| status.size_bytes = size_bytes);
        let ending = Ending {
            queue: Arc::clone(&queue),
            outcome: Some(FlushError::Closed),
        };
        let worker = Worker {
            config,
            database,
            clock,
            queue: Arc::clone(&queue),
            minutes: VecDeque::new(),
            events: VecDeque::new(),
            slots: Vec::new(),
            alerts: None,
            pass: None,
        };
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                let mut ending = ending;
                let outcome = worker.run();
                // Freed before anyone is told, so that whoever waits for the end can open the directory again.
                drop(lock);
                ending.outcome = outcome;
            })
            .map_err(OpenError::Thread)?;
        Ok(Self(Arc::new(Handle { queue })))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.begin_close();
    }
}

/// Tells the callers that the thread has ended, also when it panics.
struct Ending {
    queue: Arc<Queue>,
    outcome: Option<FlushError>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.queue.stopped(self.outcome.take());
    }
}

/// The thread's own things.
struct Worker<C> {
    config: Config,
    database: Database,
    clock: C,
    queue: Arc<Queue>,
    /// What waits for the disk, oldest first.
    minutes: VecDeque<Encoded>,
    events: VecDeque<Event>,
    slots: Vec<SlotRecord>,
    alerts: Option<Vec<(String, String)>>,
    /// The tidying under way.
    pass: Option<Pass>,
}

impl<C: Clock> Worker<C> {
    /// Writes until closed; gives what could not be written.
    fn run(mut self) -> Option<FlushError> {
        loop {
            let work = self.queue.take();
            let (flush, close) = (work.flush, work.close);
            // A disk that refuses is asked again when a minute is over or someone waits, not for every event.
            let try_again = flush > 0 || close || !work.minutes.is_empty();
            self.accept(work);
            let failing = self.queue.status().last_error.is_some();
            let (written, error) = if failing && !try_again {
                (None, None)
            } else {
                self.write()
            };
            let outcome = self.outcome(error);
            if close {
                return outcome.or_else(|| self.stop());
            }
            self.queue.tried(flush, outcome);
            if let Some(minute) = written {
                // A pass that was interrupted goes on where it was, so that a busy queue cannot starve its end.
                self.pass.get_or_insert_default().present = minute;
            }
            self.tidy();
        }
    }

    /// Takes work over in its stored form, within bounds.
    fn accept(&mut self, work: Work) {
        let Work {
            minutes,
            events,
            slots,
            alerts,
            flush: _,
            close: _,
        } = work;
        self.minutes.extend(minutes.into_iter().map(Encoded::from));
        self.events.extend(events);
        self.alerts = alerts.or(self.alerts.take());
        let lost_minutes = self.minutes.len().saturating_sub(queue::MINUTES);
        self.minutes.drain(..lost_minutes);
        let lost_events = self.events.len().saturating_sub(queue::EVENTS);
        self.events.drain(..lost_events);
        self.slots.extend(slots);
        let lost_slots = self.slots.len().saturating_sub(queue::SLOTS);
        self.slots.drain(..lost_slots);
        let lost_latencies = self.strip_oldest();
        let backlog = self.minutes.len() as u64;
        self.queue.report(|status| {
            status.backlog = backlog;
            status.dropped += lost_minutes as u64;
            status.dropped_events += lost_events as u64;
            status.dropped_slots += lost_slots as u64;
            status.dropped_latencies += lost_latencies;
        });
    }

    /// Gives up the oldest waiting distributions while there are too many bytes of them; gives of how many minutes.
    fn strip_oldest(&mut self) -> u64 {
        let mut bytes: usize = self.minutes.iter().map(|minute| minute.latency_bytes).sum();
        let mut lost = 0;
        for minute in &mut self.minutes {
            if bytes <= LATENCY_BYTES {
                break;
            }
            bytes -= minute.latency_bytes;
            lost += u64::from(minute.strip());
        }
        lost
    }

    /// Writes what waits until something refuses; gives the last minute written.
    fn write(&mut self) -> (Option<i64>, Option<rusqlite::Error>) {
        let mut written = None;
        let result = self.write_all(&mut written);
        let (now, size_bytes) = (self.clock.now(), self.database.size_bytes());
        let (backlog, unreadable) = (self.minutes.len() as u64, self.database.unreadable);
        let failure = result.as_ref().err().map(ToString::to_string);
        self.queue.report(|status| {
            status.backlog = backlog;
            status.size_bytes = size_bytes;
            status.unreadable = unreadable;
            if written.is_some() {
                status.flushed_at = Some(now);
            }
            status.last_error = failure.map(|text| {
                let since = status.last_error.take().map_or(now, |(since, _)| since);
                (since, text)
            });
        });
        (written, result.err())
    }

    fn write_all(&mut self, written: &mut Option<i64>) -> rusqlite::Result<()> {
        while let Some(minute) = self.minutes.front() {
            self.database.write_minute(minute, self.clock.now())?;
            *written = Some(minute.minute);
            self.minutes.pop_front();
        }
        if !self.events.is_empty() {
            self.database.write_events(&self.events)?;
            self.events.clear();
        }
        if !self.slots.is_empty() {
            self.database.write_slots(&self.slots)?;
            self.slots.clear();
        }
        if let Some(alerts) = &self.alerts {
            self.database.write_alerts(alerts)?;
            self.alerts = None;
        }
        Ok(())
    }

    fn outcome(&self, error: Option<rusqlite::Error>) -> Option<FlushError> {
        error.map(|error| FlushError::Failed {
            backlog: self.minutes.len() as u64,
            cause: error.to_string(),
        })
    }

    fn stop(&mut self) -> Option<FlushError> {
        let result = self.database.stop(self.clock.now());
        self.outcome(result.err())
    }

    /// Rolls up, deletes and gives back, a piece at a time, until done or until there is something to write.
    fn tidy(&mut self) {
        let Some(pass) = &mut self.pass else {
            return;
        };
        let result = loop {
            match pass.step(&mut self.database, &self.config) {
                Ok(true) if self.queue.has_work() => return,
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let budget = pass.budget;
        self.pass = None;
        let (now, size_bytes) = (self.clock.now(), self.database.size_bytes());
        let unreadable = self.database.unreadable;
        self.queue.report(|status| {
            status.size_bytes = size_bytes;
            status.unreadable = unreadable;
            status.given_up_before = status.given_up_before.max(budget.given_up_before);
            status.over_budget = budget.exceeded;
            if let Err(error) = result {
                status.last_error = Some((now, error.to_string()));
            }
        });
    }
}
