//! What lies between the callers and the writer's thread: bounded, and never waited for on behalf of the disk.
//!
//! A mutex rather than a channel, because the bound is not a number of messages: batches give up their distributions
//! before their counters, alert states replace one another, and a flush needs no place in the queue. It is held for
//! moves of a few pointers, never during a write.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::encoded::MinuteBatch;
use super::writer::WriterStatus;
use super::{FlushError, Refused};
use crate::model::{Event, SlotRecord};

/// Batches that may wait with their distributions, which are tens of megabytes each on a busy proxy.
const WHOLE_BATCHES: usize = 2;
/// Minutes that may wait for the thread. The thread itself may hold as many again.
pub(super) const MINUTES: usize = 60;
/// Events that may wait.
pub(super) const EVENTS: usize = 1_000;
/// Slots of probes that may wait.
pub(super) const SLOTS: usize = 20_000;

/// The queue and what is known of the thread behind it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Told when there is work.
    work: Condvar,
    /// Told when the thread has done something.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Work,
    status: WriterStatus,
    /// The number of the last flush that was asked for.
    asked: u64,
    /// The number of the last flush that was tried, and what came of it.
    tried: u64,
    outcome: Option<FlushError>,
    closing: bool,
    stopped: bool,
}

/// What the thread takes over at once.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) minutes: VecDeque<MinuteBatch>,
    pub(super) events: VecDeque<Event>,
    pub(super) slots: Vec<SlotRecord>,
    pub(super) alerts: Option<Vec<(String, String)>>,
    /// The number of a flush that waits; zero when none does.
    pub(super) flush: u64,
    pub(super) close: bool,
}

impl Queue {
    pub(super) fn push_minute(&self, mut batch: MinuteBatch) -> Result<(), Refused> {
        let mut state = self.open()?;
        if state.waiting.minutes.len() >= WHOLE_BATCHES {
            batch.strip();
            state.status.dropped_latencies += 1;
        }
        if state.waiting.minutes.len() >= MINUTES {
            state.waiting.minutes.pop_front();
            state.status.dropped += 1;
        }
        state.waiting.minutes.push_back(batch);
        self.work.notify_one();
        Ok(())
    }

    pub(super) fn push_event(&self, event: Event) -> Result<(), Refused> {
        let mut state = self.open()?;
        if state.waiting.events.len() >= EVENTS {
            state.waiting.events.pop_front();
            state.status.dropped_events += 1;
        }
        state.waiting.events.push_back(event);
        self.work.notify_one();
        Ok(())
    }

    pub(super) fn push_slots(&self, records: Vec<SlotRecord>) -> Result<(), Refused> {
        let mut state = self.open()?;
        let room = SLOTS.saturating_sub(state.waiting.slots.len());
        state.status.dropped_slots += records.len().saturating_sub(room) as u64;
        state.waiting.slots.extend(records.into_iter().take(room));
        self.work.notify_one();
        Ok(())
    }

    pub(super) fn replace_alerts(&self, alerts: Vec<(String, String)>) -> Result<(), Refused> {
        self.open()?.waiting.alerts = Some(alerts);
        self.work.notify_one();
        Ok(())
    }

    /// Waits until everything pushed before has been tried.
    pub(super) fn flush(&self, within: Duration) -> Result<(), FlushError> {
        let mut state = self.open().map_err(|Refused| FlushError::Closed)?;
        state.asked += 1;
        let asked = state.asked;
        state.waiting.flush = asked;
        self.work.notify_one();
        let (state, _) = self
            .done
            .wait_timeout_while(state, within, |state| state.tried < asked && !state.stopped)
            .unwrap_or_else(PoisonError::into_inner);
        if state.tried >= asked {
            state.outcome.clone().map_or(Ok(()), Err)
        } else if state.stopped {
            Err(FlushError::Closed)
        } else {
            Err(FlushError::Deadline)
        }
    }

    /// Takes nothing more, and waits until the thread has ended.
    pub(super) fn close(&self, within: Duration) -> Result<(), FlushError> {
        self.begin_close();
        let (state, _) = self
            .done
            .wait_timeout_while(self.lock(), within, |state| !state.stopped)
            .unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            state.outcome.clone().map_or(Ok(()), Err)
        } else {
            Err(FlushError::Deadline)
        }
    }

    /// Takes nothing more.
    pub(super) fn begin_close(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.waiting.close = true;
        self.work.notify_one();
    }

    pub(super) fn status(&self) -> WriterStatus {
        let state = self.lock();
        let mut status = state.status.clone();
        status.backlog += state.waiting.minutes.len() as u64;
        status
    }

    /// The thread's side: waits for work and takes all there is.
    pub(super) fn take(&self) -> Work {
        let mut state = self
            .work
            .wait_while(self.lock(), |state| state.waiting.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.waiting)
    }

    /// The thread's side: whether something waits.
    pub(super) fn has_work(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// The thread's side: changes what is known of it.
    pub(super) fn report(&self, change: impl FnOnce(&mut WriterStatus)) {
        change(&mut self.lock().status);
    }

    /// The thread's side: everything up to flush number `flush` has been tried.
    pub(super) fn tried(&self, flush: u64, outcome: Option<FlushError>) {
        let mut state = self.lock();
        state.tried = state.tried.max(flush);
        state.outcome = outcome;
        self.done.notify_all();
    }

    /// The thread's side: it has ended, one way or the other.
    pub(super) fn stopped(&self, outcome: Option<FlushError>) {
        let mut state = self.lock();
        state.closing = true;
        state.stopped = true;
        state.outcome = outcome;
        self.done.notify_all();
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, Refused> {
        let state = self.lock();
        if state.closing {
            Err(Refused)
        } else {
            Ok(state)
        }
    }

    /// The state is whole after every statement, so a thread that died while holding it has not spoilt it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn is_empty(&self) -> bool {
        let Self {
            minutes,
            events,
            slots,
            alerts,
            flush,
            close,
        } = self;
        let nothing = minutes.is_empty() && events.is_empty() && slots.is_empty();
        nothing && alerts.is_none() && *flush == 0 && !close
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Latency;
    use crate::store::RouteMinute;

    fn batch(minute: u64) -> MinuteBatch {
        let route = RouteMinute {
            latency: Some(Latency::new()),
            ..RouteMinute::default()
        };
        MinuteBatch {
            minute,
            routes: vec![route],
            slos: Vec::new(),
        }
    }

    #[test]
    fn minutes_that_wait_give_up_latencies_before_counters_and_the_oldest_first() {
        let queue = Queue::default();
        for minute in 0..MINUTES as u64 + 3 {
            queue.push_minute(batch(minute)).unwrap();
        }
        let status = queue.status();
        assert_eq!((status.backlog, status.dropped), (MINUTES as u64, 3));
        assert_eq!(
            status.dropped_latencies,
            (MINUTES + 3 - WHOLE_BATCHES) as u64
        );
        let work = queue.take();
        let minutes: Vec<u64> = work.minutes.iter().map(|batch| batch.minute).collect();
        assert_eq!(minutes, (3..MINUTES as u64 + 3).collect::<Vec<_>>());
        assert!(work.minutes[0].routes[0].latency.is_none());
    }

    #[test]
    fn alert_states_replace_one_another() {
        let queue = Queue::default();
        let alerts = |id: &str| vec![(id.to_owned(), String::new())];
        queue.replace_alerts(alerts("old")).unwrap();
        queue.replace_alerts(alerts("new")).unwrap();
        assert_eq!(queue.take().alerts, Some(alerts("new")));
    }

    #[test]
    fn nobody_waits_longer_than_asked_or_for_a_thread_that_has_died() {
        let queue = Queue::default();
        let soon = Duration::from_millis(1);
        assert_eq!(queue.flush(soon), Err(FlushError::Deadline));
        assert_eq!(queue.close(soon), Err(FlushError::Deadline));
        queue.stopped(Some(FlushError::Closed));
        assert_eq!(queue.close(Duration::MAX), Err(FlushError::Closed));
        assert_eq!(queue.push_minute(batch(0)), Err(Refused));
    }
}
