//! Running probes on their schedules, on a thread of their own.
//!
//! Nothing here shares a thread with the proxy, and no probe waits for another: each has its own ledger, its own clock
//! and its own bound on runs under way. What they find goes through a bounded channel to whoever counts it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, LocalSet};
use tokio_util::sync::CancellationToken;

use super::run::Probe;
use super::schedule::{Circumstances, Due, Ledger, Schedule, ScheduleTime, parts};
use crate::clock::{Clock as _, SystemClock};
use crate::model::{ProbeFailure, ProbeRun, SlotOutcome, SlotRecord, Timestamp};
use crate::net::mark::MarkKey;

/// Runs under way at a time, of all probes together; further slots are missed as `overload`.
pub const MAX_IN_FLIGHT: usize = 1_000;
/// Records that may wait to be counted.
pub const QUEUE: usize = 10_000;
/// Names that may be looked up at a time: the system's resolver takes a thread for each.
const MAX_LOOKUPS: usize = 256;
/// For what cleans up after journeys that are broken off when the thread ends.
pub const CLEANUP_TIME: Duration = Duration::from_secs(5);
/// A clock that is set is noticed after this long, however far away the next slot is.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// The thread that runs probes.
#[derive(Debug)]
pub struct Runner {
    orders: mpsc::Sender<Vec<Arc<Probe>>>,
    hurried: watch::Sender<BTreeSet<String>>,
    records: mpsc::Receiver<SlotRecord>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    in_flight: AtomicUsize,
    dropped: AtomicU64,
}

impl Runner {
    /// Starts the thread, with `probes`. Slots after `from` are theirs.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(
        probes: Vec<Arc<Probe>>,
        key: Option<MarkKey>,
        clock: SystemClock,
        from: Timestamp,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_LOOKUPS)
            .thread_name("probe-dns")
            .build()?;
        // One is being carried out while the next waits; a third order waits for its sender.
        let (orders, received) = mpsc::channel(1);
        let (tell, records) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let (hurried, hurry) = watch::channel(BTreeSet::new());
        let context = Context {
            clock,
            key,
            hurried: hurry,
            tell,
            shared: Arc::clone(&shared),
            stopped: CancellationToken::new(),
            journeys: Cell::new(0),
            ended: Notify::new(),
        };
        let thread = std::thread::Builder::new()
            .name("probe".to_owned())
            .spawn(move || {
                LocalSet::new().block_on(
                    &runtime,
                    supervise(probes, Rc::new(context), received, from),
                );
                // A name that is being looked up cannot be interrupted, and need not be waited for.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            orders,
            hurried,
            records,
            shared,
            thread: Some(thread),
        })
    }

    /// Runs these probes from now on. Those that stay keep their place in their schedule, and runs under way end as
    /// they were begun.
    pub async fn replace(&self, probes: Vec<Arc<Probe>>) {
        if self.orders.send(probes).await.is_err() {
            tracing::error!("the thread that runs probes has ended");
        }
    }

    /// What ended since it was last asked.
    pub fn take(&mut self) -> Vec<SlotRecord> {
        let mut records = Vec::new();
        while let Ok(record) = self.records.try_recv() {
            records.push(record);
        }
        records
    }

    /// These probes, by name, are run more often from their next whole interval on, the others as often as they say.
    pub fn hurry(&self, names: BTreeSet<String>) {
        self.hurried.send_if_modified(|known| {
            let differs = *known != names;
            *known = names;
            differs
        });
    }

    /// Runs under way.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// Records lost because too many waited.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Whether the thread has ended by itself.
    pub fn is_gone(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends the thread; gives what was not taken yet. Runs under way are let go of: their slots have no record, and are
    /// `down` at the next start. What cleans up after journeys is waited for, at most [`CLEANUP_TIME`].
    pub fn stop(mut self) -> Vec<SlotRecord> {
        let Self { orders, thread, .. } = &mut self;
        // Without a sender the thread ends.
        *orders = mpsc::channel(1).0;
        if let Some(thread) = thread.take() {
            drop(thread.join());
        }
        self.take()
    }
}

struct Context {
    clock: SystemClock,
    key: Option<MarkKey>,
    /// Probes that are to be run more often.
    hurried: watch::Receiver<BTreeSet<String>>,
    tell: mpsc::Sender<SlotRecord>,
    shared: Arc<Shared>,
    /// Breaks journeys off.
    stopped: CancellationToken,
    /// Runs under way of journeys that clean up.
    journeys: Cell<usize>,
    /// One of these has ended.
    ended: Notify,
}

/// A probe that is being kept.
struct Kept {
    probe: Arc<Probe>,
    ledger: Rc<RefCell<Ledger>>,
    task: AbortHandle,
}

async fn supervise(
    probes: Vec<Arc<Probe>>,
    context: Rc<Context>,
    mut orders: mpsc::Receiver<Vec<Arc<Probe>>>,
    from: Timestamp,
) {
    let mut kept = HashMap::new();
    install(&mut kept, probes, &context, from);
    while let Some(probes) = orders.recv().await {
        let now = context.clock.now();
        install(&mut kept, probes, &context, now);
    }
    for kept in kept.into_values() {
        kept.task.abort();
    }
    context.stopped.cancel();
    let cleaned_up = async {
        while context.journeys.get() > 0 {
            context.ended.notified().await;
        }
    };
    if tokio::time::timeout(CLEANUP_TIME, cleaned_up)
        .await
        .is_err()
    {
        let journeys = context.journeys.get();
        tracing::warn!(journeys, "journeys were not cleaned up after in time");
    }
}

fn install(
    kept: &mut HashMap<String, Kept>,
    probes: Vec<Arc<Probe>>,
    context: &Rc<Context>,
    from: Timestamp,
) {
    let mut before = std::mem::take(kept);
    for probe in probes {
        let definition = probe.definition();
        let name = definition.name.clone();
        let schedule = Schedule::new(&name, definition.every);
        let old = match before.remove(&name) {
            Some(old) if old.probe.definition() == definition => {
                kept.insert(name, old);
                continue;
            }
            old => old,
        };
        let decided = match &old {
            // The same slots: none is decided twice and none is forgotten.
            Some(old) if old.ledger.borrow().schedule() == schedule => {
                old.ledger.borrow().decided()
            }
            Some(_) | None => from,
        };
        let fresh = Ledger::new(schedule, definition.longest(), decided);
        let ledger = match &old {
            Some(old) if old.ledger.borrow().schedule() == schedule => {
                fresh.at_the_pace_of(&old.ledger.borrow())
            }
            Some(_) | None => fresh,
        };
        if let Some(old) = old {
            old.task.abort();
        }
        let ledger = Rc::new(RefCell::new(ledger));
        let task = tokio::task::spawn_local(keep(
            Arc::clone(&probe),
            Rc::clone(&ledger),
            Rc::clone(context),
        ));
        kept.insert(
            name,
            Kept {
                probe,
                ledger,
                task: task.abort_handle(),
            },
        );
    }
    for gone in before.into_values() {
        gone.task.abort();
    }
}

/// Decides one probe's slots for as long as it is configured.
async fn keep(probe: Arc<Probe>, ledger: Rc<RefCell<Ledger>>, context: Rc<Context>) {
    let clock = context.clock;
    let mut time = ScheduleTime::new(clock.now(), clock.tick());
    let mut jumped = false;
    loop {
        let (now, has_jumped) = time.read(clock.now(), clock.tick());
        jumped |= has_jumped;
        let next = ledger.borrow().next();
        if now < next {
            let sleep = next.since(now).min(LONGEST_SLEEP);
            tokio::time::sleep(sleep).await;
            continue;
        }
        let around = Circumstances {
            off: probe.definition().off(now),
            overloaded: context.shared.in_flight.load(Ordering::Relaxed) >= MAX_IN_FLIGHT,
            clock_jumped: std::mem::take(&mut jumped),
        };
        let definition = probe.definition();
        let hurries = definition.hurry && context.hurried.borrow().contains(&definition.name);
        let (due, every) = {
            let mut ledger = ledger.borrow_mut();
            ledger.pace(if hurries { parts(definition.every) } else { 1 });
            let due = ledger.due(now, around);
            (due, ledger.every())
        };
        for due in due {
            match due {
                Due::Missed {
                    first,
                    slots,
                    every,
                    why,
                } => context.tell(SlotRecord {
                    probe: probe.definition().name.clone(),
                    at: first,
                    slots,
                    every,
                    outcome: SlotOutcome::Missed(why),
                    lag_us: 0,
                    run: None,
                }),
                Due::Start(slot) => {
                    let lag = now.since(slot);
                    // Not aborted with this task: what was begun has an end.
                    drop(tokio::task::spawn_local(run_slot(
                        Arc::clone(&probe),
                        Rc::clone(&ledger),
                        Rc::clone(&context),
                        (slot, every, lag),
                    )));
                }
            }
        }
    }
}

async fn run_slot(
    probe: Arc<Probe>,
    ledger: Rc<RefCell<Ledger>>,
    context: Rc<Context>,
    (slot, every, lag): (Timestamp, Duration, Duration),
) {
    let width = probe.width();
    context.shared.in_flight.fetch_add(width, Ordering::Relaxed);
    let (running, clock, key) = (Arc::clone(&probe), context.clock, context.key.clone());
    let stopped = context.stopped.clone();
    let cleans_up = probe.definition().steps.iter().any(|step| step.cleanup);
    if cleans_up {
        context.journeys.set(context.journeys.get() + 1);
    }
    // In a task of its own, so that even a defect of ours ends as a failed slot.
    let ended = tokio::spawn(async move {
        let stopped = stopped.cancelled();
        running.run_until(clock, key.as_ref(), stopped).await
    });
    let ended = ended.await;
    if cleans_up {
        context.journeys.set(context.journeys.get() - 1);
        context.ended.notify_one();
        if context.stopped.is_cancelled() {
            // Perhaps broken off, which says nothing about the target.
            return;
        }
    }
    let run = ended.unwrap_or_else(|error| ProbeRun {
        failure: Some(ProbeFailure::Internal),
        detail: error.to_string(),
        ..ProbeRun::default()
    });
    context.shared.in_flight.fetch_sub(width, Ordering::Relaxed);
    ledger.borrow_mut().ended();
    context.tell(SlotRecord {
        probe: probe.definition().name.clone(),
        at: slot,
        slots: 1,
        every,
        outcome: run.outcome(),
        lag_us: lag.as_micros() as u64,
        run: Some(run),
    });
}

impl Context {
    fn tell(&self, record: SlotRecord) {
        if self.tell.try_send(record).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
