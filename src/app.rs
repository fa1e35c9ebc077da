//! The daemon: parts put together, kept running, changed and stopped.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::admin;
use crate::cert::acme::issuer::{Issuer, PreflightRefused, Preflights, RenewRefused, Renewals};
use crate::cert::inventory::{self, Plan};
use crate::cert::revocation;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Resolved};
use crate::export::{accesslog, otlp};
use crate::model::{Full, Timestamp};
use crate::net::mark::MarkKey;
use crate::net::tls::{TlsError, ticketer};
use crate::notify::Notifier;
use crate::probe::blackbox::{Answer, Blackbox, MAX_ASKED_OF_DAEMON, Modules};
use crate::probe::prepare::{PrepareError, prepare};
use crate::probe::run::Probe;
use crate::probe::runner::Runner;
use crate::proxy::generation::{BuildError, Generation};
use crate::proxy::listener::{self, BindError};
use crate::slo::booking::Booking;
use crate::snapshot::{ProbeSlotView, Snapshot};
use crate::store::{self, OpenError};
use crate::triage::Verdict;

mod alerts;
mod breakers;
mod certs;
mod handshakes;
mod health;
mod loads;
mod machine;
mod names;
mod pages;
mod past;
mod pipeline;
mod probes;
mod promises;
mod quiet;
mod reload;
mod restore;
mod slower;
mod spending;
mod supervise;
mod tiers;
mod view;
mod vitals;
mod workers;

use alerts::Crash;
use pipeline::Pipeline;
use quiet::Quiet;
use supervise::Daemon;
use workers::{Habits, Workers};

/// Where a new configuration comes from when a reload is asked for.
/// Says in one line why there is none to be had.
pub type Reload = Box<dyn Fn() -> Result<Resolved, String> + Send>;

/// What a daemon is run with.
pub struct Options {
    /// The configuration to begin with.
    pub resolved: Resolved,
    /// Reads it anew; `None`: there is nothing to reload.
    pub reload: Option<Reload>,
    /// What the operating system asks of us.
    pub signals: mpsc::Receiver<Signal>,
    /// Told every new snapshot.
    pub snapshots: watch::Sender<Option<Arc<Snapshot>>>,
}

/// What the operating system, or whoever plays its part, asks of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Read the configuration again (SIGHUP).
    Reload,
    /// Finish what is under way and stop; a second one stops at once (SIGTERM, SIGINT).
    Stop,
}

/// Why a daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another instance holds the state directory.
    #[error("{0}")]
    Locked(OpenError),
    /// The history cannot be used as it is, and going on without it would lose it.
    #[error("{0}")]
    History(OpenError),
    /// Certificates, roots, names.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin API.
    #[error(transparent)]
    Admin(#[from] admin::ListenError),
    /// A probe's roots.
    #[error(transparent)]
    Probe(#[from] PrepareError),
    /// The access log.
    #[error("cannot open the access log: {0}")]
    AccessLog(io::Error),
    /// The export of telemetry.
    #[error(transparent)]
    Otlp(#[from] otlp::StartError),
    /// A thread.
    #[error("cannot start: {0}")]
    Thread(io::Error),
}

impl From<TlsError> for RunError {
    fn from(error: TlsError) -> Self {
        Self::Build(error.into())
    }
}

impl From<Full> for RunError {
    fn from(error: Full) -> Self {
        Self::Build(error.into())
    }
}

/// Requests for a fresh snapshot and deploys that may wait.
const REQUESTS: usize = 64;

/// Runs a daemon until it is told to stop. Serves once this has begun to be polled and has bound its sockets.
///
/// # Errors
/// When it cannot start. Nothing was served then.
#[expect(
    clippy::too_many_lines,
    reason = "a start is one sequence, and any step may end it"
)]
pub async fn run(options: Options) -> Result<(), RunError> {
    let Options {
        resolved,
        reload,
        signals,
        snapshots,
    } = options;
    let resolved = Arc::new(resolved);
    let (configured, resolved_in_force) = watch::channel(Arc::clone(&resolved));
    let clock = SystemClock::new();
    let started_at = clock.now();
    let Remembered {
        writer,
        history,
        trouble: mut store_trouble,
    } = remember(&resolved.store, clock)?;
    let mut pipeline = Pipeline::new(writer);
    let probes = prepare(resolved.probes.definitions.clone())?;
    let rules = Arc::new(pipeline.configure(&resolved, &probes)?);
    // What cannot be known to have ended well is taken to have ended badly: then everybody is told.
    let crashed = history.as_ref().is_none_or(|history| history.unclean);
    let (quiet, lapsed) = Quiet::load(&resolved.store.dir, crashed);
    pipeline.quiet = quiet;
    let mut gaps = Vec::new();
    let mut counting_since = started_at;
    if let Some(history) = history {
        counting_since = history.counting_since;
        pipeline.crash = history.unclean.then(|| crash(&history, started_at));
        if let Err(error) = pipeline.restore(&history, started_at) {
            store_trouble = Some(format!("{error}; windows begin anew"));
        }
        gaps = history.gaps;
    }
    let tickets = ticketer()?;
    let generation = Arc::new(Generation::build(
        &resolved.proxy,
        &mut pipeline.directory,
        &tickets,
    )?);
    let mut bound = Vec::new();
    for listener in &resolved.proxy.listeners {
        bound.push(listener::bind(
            &listener.name,
            listener.address,
            resolved.proxy.workers,
        )?);
    }
    let (admin, admin_trouble) = match admin::listen(&resolved.admin).await {
        Ok(admin) => {
            let trouble = admin.trouble();
            (Some(admin), trouble)
        }
        Err(error @ admin::ListenError::Unix { .. }) => (None, Some(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let access_log = accesslog::Writer::start(&resolved.access_log).map_err(RunError::AccessLog)?;
    let sink = access_log.as_ref().map(supervise::sink);
    let (marks, mark_trouble) = match MarkKey::load_or_make(&resolved.probes.key_file) {
        Ok(key) => (Some(key), None),
        Err(error) => {
            let path = resolved.probes.key_file.display();
            let trouble = format!("no key at {path}: {error}; probes' requests count as users'");
            (None, (!probes.is_empty()).then_some(trouble))
        }
    };
    let (ask, asks) = mpsc::channel(1);
    let inputs = otlp::Inputs {
        asks: ask.clone(),
        snapshots: snapshots.subscribe(),
        baseline: pipeline.baseline(),
    };
    let exporter = otlp::Exporter::start(&resolved.otlp, clock, inputs)?;
    let ring = exporter.as_ref().and_then(supervise::ring);
    let habits = Habits {
        logs: sink.iter().chain(&ring).cloned().collect(),
        traces: resolved.otlp.marked(),
        exported: resolved.otlp.exported(),
        marks: marks.clone(),
    };
    let workers = Workers::start(
        resolved.proxy.workers,
        clock,
        &generation,
        &rules,
        bound,
        habits,
    )
    .map_err(RunError::Thread)?;
    if let Some(address) = admin.as_ref().and_then(admin::Bound::tcp_address) {
        tracing::info!("admin API listens on http://{address}");
    }
    let (modules, in_force) = watch::channel(Arc::new(Modules::new(&resolved.probes.modules)));
    // Without a key: whoever asks chooses the target, which could use the mark for other traffic.
    let blackbox = Blackbox::new(in_force, clock, None, MAX_ASKED_OF_DAEMON);
    let probes = compared(&resolved, &workers)?;
    let runner = Runner::start(probes, marks, clock, started_at).map_err(RunError::Thread)?;
    let (certificates, plans) = watch::channel(Plan::default());
    // A round that nobody has taken in yet is enough.
    let (tell_sights, sights) = mpsc::channel(1);
    let looking = tokio::spawn(inventory::run(plans, tell_sights));
    let (revocations, plans) = watch::channel(certs::look_up(&resolved));
    let (tell_revoked, revoked) = mpsc::channel(1);
    let looking_out = tokio::spawn(revocation::run(plans, tell_revoked, clock));
    let (names, wanted) = watch::channel(names::wanted(&resolved));
    let (tell_names, looked) = mpsc::channel(1);
    let looking_up = tokio::spawn(names::run(wanted, tell_names));
    let (tell_slower, slower) = mpsc::channel(1);
    let comparing = tokio::spawn(slower::run(resolved.store.dir.clone(), clock, tell_slower));
    let (inventory, planned) = watch::channel(crate::names::Plan::default());
    let (tell_names, name_sights) = mpsc::channel(1);
    let asking = tokio::spawn(crate::names::look::run(planned, tell_names, clock));
    let (issuer, told) = Issuer::start(clock).map_err(RunError::Thread)?;
    let (refresh, refreshes) = mpsc::channel(REQUESTS);
    let (deploy, deploys) = mpsc::channel(REQUESTS);
    let (silence, silences) = mpsc::channel(REQUESTS);
    let (detail, details) = mpsc::channel(REQUESTS);
    let (ready, is_ready) = watch::channel(false);
    let metrics = pages::read(refresh.clone(), ask, snapshots.subscribe());
    let api = admin.map(|admin| {
        tokio::spawn(admin.serve(admin::Handlers {
            snapshots: snapshots.subscribe(),
            refresh,
            deploys: deploy,
            silences: silence,
            details: detail,
            slots: read_slots(resolved.store.dir.clone()),
            metrics,
            probe: run_probe(blackbox),
            spending: spending::reader(resolved.store.dir.clone()),
            renew: renew(issuer.renewals()),
            preflight: preflight(issuer.preflights()),
            past: past::reader(resolved.store.dir.clone(), resolved_in_force),
            ready: is_ready,
        }))
    });
    let notifier = Notifier::start(
        resolved.receivers.clone(),
        &resolved.store.dir,
        clock,
        snapshots.subscribe(),
    )
    .map_err(RunError::Thread)?;
    let mut daemon = Daemon::new(supervise::Parts {
        clock,
        started_at,
        counting_since,
        gaps,
        resolved,
        configured,
        reload,
        tickets,
        generation,
        pipeline,
        workers,
        access_log,
        sink,
        exporter,
        ring,
        snapshots,
        ready,
        notifier,
        runner,
        mark_trouble,
        certificates,
        revocations,
        names,
        inventory,
        issuer,
        modules,
    });
    daemon.began(store_trouble, admin_trouble, lapsed.len());
    let channels = supervise::Channels {
        signals,
        sights,
        revoked,
        looked,
        slower,
        name_sights,
        issued: told,
        refreshes,
        deploys,
        silences,
        details,
        asks,
    };
    Box::pin(daemon.run(channels)).await;
    looking.abort();
    looking_out.abort();
    looking_up.abort();
    comparing.abort();
    asking.abort();
    if let Some(api) = api {
        // Dropping its future removes the socket.
        api.abort();
        drop(api.await);
    }
    Ok(())
}

/// The probes of a configuration, with what they look at besides now that it is known where we listen.
fn compared(resolved: &Resolved, workers: &Workers) -> Result<Vec<Arc<Probe>>, PrepareError> {
    let bound = |name: &str| {
        let mut listening = workers.listening().iter();
        listening.find(|it| it.name == name).map(|it| it.address)
    };
    let definitions = &resolved.probes.definitions;
    prepare(config::with_views(definitions, &resolved.proxy, bound))
}

/// The history, if it can be had, and what is wrong with it.
struct Remembered {
    writer: Option<store::Writer>,
    history: Option<store::History>,
    trouble: Option<String>,
}

/// Opens the history, or says why there is none. What must not be overwritten ends the start.
fn remember(config: &store::Config, clock: SystemClock) -> Result<Remembered, RunError> {
    match store::open(config, clock) {
        Ok(store::Opened { writer, history }) => Ok(Remembered {
            writer: Some(writer),
            history: Some(history),
            trouble: None,
        }),
        Err(error @ OpenError::Locked { .. }) => Err(RunError::Locked(error)),
        Err(
            error @ (OpenError::Corrupt { .. }
            | OpenError::Newer { .. }
            | OpenError::Foreign { .. }),
        ) => Err(RunError::History(error)),
        // A directory that cannot be written: traffic matters more than its history.
        Err(
            error @ (OpenError::Files { .. } | OpenError::Database { .. } | OpenError::Thread(_)),
        ) => {
            let trouble = Some(format!("{error}; history is kept in memory only"));
            Ok(Remembered {
                writer: None,
                history: None,
                trouble,
            })
        }
    }
}

/// What is known of a process that ended without having been stopped.
fn crash(history: &store::History, started_at: Timestamp) -> Crash {
    let since = history
        .gaps
        .first()
        .filter(|gap| gap.to.plus(Duration::from_secs(5)) >= started_at);
    let gone = since.map_or_else(String::new, |gap| {
        format!("; nothing was measured since {}Z", gap.from.time_of_day())
    });
    Crash {
        started_at,
        text: format!("the process before this one was killed, crashed or lost power{gone}"),
    }
}

/// Reads slots of probes from the history in `dir`, with a connection for each question: they are few.
fn read_slots(dir: PathBuf) -> admin::ReadSlots {
    Arc::new(move |probe, limit| {
        let reader = store::Reader::open(&dir).map_err(|error| error.to_string())?;
        let records = reader
            .probe_slots(probe, limit)
            .map_err(|error| error.to_string())?;
        Ok(records.iter().map(ProbeSlotView::of).collect())
    })
}

/// Has a certificate renewed now.
fn renew(renewals: Renewals) -> admin::Renew {
    Arc::new(move |name| {
        let renewals = renewals.clone();
        Box::pin(async move {
            renewals.renew(name).await.map_err(|refused| {
                let is_unknown = matches!(refused, RenewRefused::Unknown { .. });
                (is_unknown, refused.to_string())
            })
        })
    })
}

/// Looks whether a certificate could be renewed.
fn preflight(preflights: Preflights) -> admin::Preflight {
    Arc::new(move |name| {
        let preflights = preflights.clone();
        Box::pin(async move {
            preflights.fly(name).await.map_err(|refused| {
                let is_unknown = matches!(refused, PreflightRefused::Unknown { .. });
                (is_unknown, refused.to_string())
            })
        })
    })
}

/// Answers `/probe` with the modules in force.
fn run_probe(blackbox: Blackbox) -> admin::RunProbe {
    Arc::new(move |query, timeout| {
        let blackbox = blackbox.clone();
        Box::pin(async move {
            let Answer { status, body } = blackbox.answer(&query, timeout.as_deref()).await;
            (status, body)
        })
    })
}

/// What the verdicts were at `at`, the worst first, from the history in the configuration's state directory alone. Faults and
/// endpoints are not in it, so the side is known from its events only.
///
/// # Errors
/// In one line, when the history cannot be read.
pub fn told_at(resolved: &Arc<Resolved>, at: Timestamp) -> Result<Vec<Verdict>, String> {
    past::verdicts(resolved, at)
}

/// What deploys with a window spent, newest first, as it is kept in the state directory `dir`; the newest hundred. A window that
/// is open has not spent anything yet.
///
/// # Errors
/// When what is kept cannot be read.
pub fn booked(dir: &Path) -> io::Result<Vec<Booking>> {
    quiet::booked(dir)
}

/// A message about a started daemon, for people who started it by hand.
pub fn greeting(resolved: &Resolved, snapshot: &Snapshot) -> String {
    let mut lines: Vec<String> = snapshot
        .listeners
        .iter()
        .map(|listener| {
            let scheme = if listener.tls { "https" } else { "http" };
            format!(
                "listening on {scheme}://{} ({})",
                listener.address, listener.name
            )
        })
        .collect();
    lines.push(format!(
        "watch it: vestibule top --connect {}",
        resolved.admin.socket.display()
    ));
    lines.join("\n")
}
