//! The control loop: a second at a time, with whatever is asked in between.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::server::ProducesTickets;
use tokio::sync::{mpsc, oneshot, watch};

use super::certs;
use super::machine::Machine;
use super::names::{self, Looked};
use super::pipeline::Pipeline;
use super::slower::Slower;
use super::view::{self, Memory, Surroundings};
use super::workers::{Gathered, ListenerChange, Workers};
use super::{Reload, Signal, reload};
use crate::admin::{Deploy, DeployRefused, SilenceCommand};
use crate::cert::acme::issuer::{Issuer, Told};
use crate::cert::inventory::{Plan, Sight};
use crate::cert::revocation;
use crate::clock::{Clock, SystemClock, Tick};
use crate::config::Resolved;
use crate::export::accesslog;
use crate::export::otlp::{self, Ask, Exporter, Measured};
use crate::model::{Event, EventKind, Fault, RouteKey, RouteSlot, Scope, Timestamp};
use crate::names::Plan as NamePlan;
use crate::names::look::Sight as NameSight;
use crate::notify::Notifier;
use crate::probe::blackbox::Modules;
use crate::probe::prepare::prepare;
use crate::probe::runner::{self, Runner};
use crate::proxy::generation::Generation;
use crate::proxy::health::Checks;
use crate::proxy::observe::AccessSink;
use crate::proxy::shown::Shown;
use crate::slo::silence::{Silence, SilenceRefused};
use crate::snapshot::{
    ConfigView, ExporterView, Gap, ListenerView, QueueView, RateLimitTotals, SloDetail, Snapshot,
};

mod asked;

/// What a daemon is made of.
pub(super) struct Parts {
    pub(super) clock: SystemClock,
    pub(super) started_at: Timestamp,
    pub(super) counting_since: Timestamp,
    pub(super) gaps: Vec<Gap>,
    pub(super) resolved: Arc<Resolved>,
    /// Told of every configuration in force.
    pub(super) configured: watch::Sender<Arc<Resolved>>,
    pub(super) reload: Option<Reload>,
    pub(super) tickets: Arc<dyn ProducesTickets>,
    pub(super) generation: Arc<Generation>,
    pub(super) pipeline: Pipeline,
    pub(super) workers: Workers,
    pub(super) access_log: Option<accesslog::Writer>,
    pub(super) sink: Option<AccessSink>,
    pub(super) exporter: Option<Exporter>,
    pub(super) ring: Option<AccessSink>,
    pub(super) snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    pub(super) ready: watch::Sender<bool>,
    pub(super) notifier: Notifier,
    pub(super) runner: Runner,
    /// Why probes' requests cannot be told from users'.
    pub(super) mark_trouble: Option<String>,
    /// What certificates are looked at.
    pub(super) certificates: watch::Sender<Plan>,
    /// Of which certificates it is looked up whether they were revoked.
    pub(super) revocations: watch::Sender<revocation::Plan>,
    /// What names are looked up.
    pub(super) names: watch::Sender<BTreeSet<String>>,
    /// What names name servers are asked for.
    pub(super) inventory: watch::Sender<NamePlan>,
    /// Has certificates issued.
    pub(super) issuer: Issuer,
    /// What `/probe` can be asked for.
    pub(super) modules: watch::Sender<Arc<Modules>>,
}

/// What may be asked of a daemon while it runs.
pub(super) struct Channels {
    pub(super) signals: mpsc::Receiver<Signal>,
    pub(super) sights: mpsc::Receiver<Vec<Sight>>,
    pub(super) revoked: mpsc::Receiver<revocation::Known>,
    pub(super) looked: mpsc::Receiver<Looked>,
    pub(super) slower: mpsc::Receiver<Slower>,
    pub(super) name_sights: mpsc::Receiver<Vec<NameSight>>,
    pub(super) issued: mpsc::Receiver<Told>,
    pub(super) refreshes: mpsc::Receiver<oneshot::Sender<Arc<Snapshot>>>,
    pub(super) deploys: mpsc::Receiver<(Deploy, oneshot::Sender<Result<Event, DeployRefused>>)>,
    pub(super) silences: mpsc::Receiver<(
        SilenceCommand,
        oneshot::Sender<Result<Silence, SilenceRefused>>,
    )>,
    pub(super) details: mpsc::Receiver<(String, oneshot::Sender<Option<SloDetail>>)>,
    pub(super) asks: mpsc::Receiver<Ask>,
}

/// A running daemon.
pub(super) struct Daemon {
    clock: SystemClock,
    pipeline: Pipeline,
    workers: Workers,
    machine: Machine,
    around: Surroundings,
    configured: watch::Sender<Arc<Resolved>>,
    memory: Memory,
    reload: Option<Reload>,
    tickets: Arc<dyn ProducesTickets>,
    /// The one in force.
    generation: Arc<Generation>,
    /// What its listeners show, which changes with certificates that are issued.
    shown: Arc<Shown>,
    /// The health checks of that generation.
    checks: Checks,
    access_log: Option<accesslog::Writer>,
    sink: Option<AccessSink>,
    exporter: Option<Exporter>,
    ring: Option<AccessSink>,
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    ready: watch::Sender<bool>,
    notifier: Notifier,
    runner: Runner,
    mark_trouble: Option<String>,
    certificates: watch::Sender<Plan>,
    revocations: watch::Sender<revocation::Plan>,
    names: watch::Sender<BTreeSet<String>>,
    inventory: watch::Sender<NamePlan>,
    issuer: Issuer,
    modules: watch::Sender<Arc<Modules>>,
    seq: u64,
    /// The newest second that was ticked; the wall clock may go back behind it.
    ticked: u64,
    draining: Option<Tick>,
    /// What of the history could not be read at the start; that stays so.
    unread: Option<String>,
}

/// The access log as the proxy wants it.
pub(super) fn sink(writer: &accesslog::Writer) -> AccessSink {
    AccessSink {
        write: accesslog::write_line,
        batches: writer.batches.clone(),
        dropped: Arc::new(AtomicU64::new(0)),
    }
}

/// The exporter's ring of finished requests as the proxy wants it.
pub(super) fn ring(exporter: &Exporter) -> Option<AccessSink> {
    exporter.records.as_ref().map(|records| AccessSink {
        write: otlp::write_record,
        batches: records.clone(),
        dropped: Arc::new(AtomicU64::new(0)),
    })
}

impl Daemon {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
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
        } = parts;
        let config = ConfigView {
            generation: 1,
            hash: resolved.hash.clone(),
            source: resolved.source.clone(),
            applied_at: started_at,
            apply_ms: clock.now().since(started_at).as_millis() as u64,
            refused: None,
        };
        let around = Surroundings {
            config,
            gaps,
            ..Surroundings::new(resolved, started_at, counting_since)
        };
        Self {
            clock,
            pipeline,
            workers,
            machine: Machine::default(),
            around,
            configured,
            memory: Memory::default(),
            reload,
            tickets,
            shown: Arc::clone(generation.shown()),
            generation,
            checks: Checks::default(),
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
            seq: 0,
            ticked: 0,
            draining: None,
            unread: None,
        }
    }

    /// Notes the start and what did not work at it.
    pub(super) fn began(
        &mut self,
        store_trouble: Option<String>,
        admin_trouble: Option<String>,
        lapsed: usize,
    ) {
        let now = self.clock.now();
        let downtime = self
            .around
            .gaps
            .first()
            .filter(|gap| gap.to >= self.around.started_at.minus(Duration::from_secs(5)));
        let text = match downtime {
            Some(gap) => format!(
                "Vestibule {} started; nothing was measured since {}Z",
                env!("CARGO_PKG_VERSION"),
                gap.from.time_of_day()
            ),
            None => format!("Vestibule {} started", env!("CARGO_PKG_VERSION")),
        };
        self.pipeline.note(Event {
            at: now,
            kind: EventKind::Process,
            scope: Scope::default(),
            text,
        });
        let text = format!("{} applied, generation 1", self.around.resolved.source);
        self.pipeline.note(Event {
            at: now,
            kind: EventKind::Config,
            scope: Scope::default(),
            text,
        });
        if lapsed > 0 {
            let text = format!(
                "{lapsed} silences have lapsed: the process that kept them did not stop well"
            );
            self.pipeline.note(Event {
                at: now,
                kind: EventKind::Operator,
                scope: Scope::default(),
                text,
            });
        }
        self.unread.clone_from(&store_trouble);
        self.pipeline.degrade("store", now, store_trouble);
        self.pipeline.degrade("admin", now, admin_trouble);
        self.list();
    }

    /// Runs until stopped.
    pub(super) async fn run(mut self, mut channels: Channels) {
        self.checks = Checks::start(&self.generation, self.clock);
        self.second().await;
        self.ready.send_replace(true);
        loop {
            if self.until_next_second().is_zero() {
                self.second().await;
            }
            tokio::select! {
                biased;
                signal = channels.signals.recv() => match signal {
                    Some(Signal::Reload) => self.reload().await,
                    Some(Signal::Stop) if self.draining.is_none() => self.drain().await,
                    Some(Signal::Stop) | None => break,
                },
                () = tokio::time::sleep(self.until_next_second()) => self.second().await,
                Some(sights) = channels.sights.recv() => {
                    let now = self.clock.now();
                    self.pipeline.certs.absorb(now, sights);
                }
                Some(known) = channels.revoked.recv() => self.pipeline.certs.revoked = known,
                Some(looked) = channels.looked.recv() => {
                    let now = self.clock.now();
                    let moved = self.pipeline.names.absorb(now, looked, &self.around.resolved);
                    for event in moved {
                        self.pipeline.note(event);
                    }
                }
                Some(slower) = channels.slower.recv() => self.pipeline.slower = slower,
                Some(sights) = channels.name_sights.recv() => {
                    let now = self.clock.now();
                    self.pipeline.absorb_names(now, sights);
                }
                Some(told) = channels.issued.recv() => self.issued(told).await,
                Some(reply) = channels.refreshes.recv() => {
                    let snapshot = self.refresh().await;
                    // Whoever asked may have given up waiting.
                    drop(reply.send(snapshot));
                }
                Some((deploy, reply)) = channels.deploys.recv() => {
                    drop(reply.send(self.deploy(deploy)));
                }
                Some((command, reply)) = channels.silences.recv() => {
                    drop(reply.send(self.silence(command)));
                }
                Some((id, reply)) = channels.details.recv() => {
                    let snapshot = self.refresh().await;
                    let detail = view::detail(&self.pipeline, &self.around, &snapshot, &id);
                    drop(reply.send(detail));
                }
                Some(ask) = channels.asks.recv() => {
                    let snapshot = self.refresh().await;
                    // The exporter may be ending.
                    drop(ask.send(self.measured(snapshot)));
                }
                () = tokio::time::sleep(DRAIN_LOOK), if self.draining.is_some() => {
                    if self.is_drained().await {
                        break;
                    }
                }
            }
        }
        self.stop().await;
    }

    /// Zero when a second is over that was not counted yet, however long ago: whoever asks all the time for snapshots
    /// must not keep us from it.
    fn until_next_second(&self) -> Duration {
        let now = self.clock.now().as_millis();
        // A little into the second, so that the wall clock has surely turned when we wake. It may also have gone back.
        let next = (self.ticked + 1) * 1_000 + 2;
        Duration::from_millis(next.saturating_sub(now).min(1_002))
    }

    /// A second is over: count it, judge, publish.
    async fn second(&mut self) {
        let gathered = self.workers.gather().await;
        let now = self.clock.now();
        let over = now.as_secs().saturating_sub(1);
        self.take(over, &gathered);
        self.ticked = now.as_secs();
        let records = self.runner.take();
        self.pipeline.absorb_slots(now, records, false);
        self.pipeline.certs.issuances = self.issuer.views();
        self.pipeline.judge_certificates(now);
        self.around.process = self.machine.read(self.clock.tick(), self.workers.count());
        let upstreams = &self.around.resolved.proxy.upstreams;
        self.pipeline.feel(over, &self.around.process, upstreams);
        self.pipeline.limited(over, self.generation.limit_counts());
        self.pipeline.tick(now);
        self.pipeline.count_arrivals(now, &gathered);
        self.pipeline.checked(now, self.generation.standings());
        self.look_around(now, &gathered);
        self.pipeline.end_silences(now);
        self.pipeline.look(now);
        self.publish(now, gathered);
        self.runner.hurry(self.pipeline.hurried());
    }

    /// A snapshot that counts everything up to now.
    async fn refresh(&mut self) -> Arc<Snapshot> {
        let gathered = self.workers.gather().await;
        let now = self.clock.now();
        self.take(now.as_secs(), &gathered);
        self.publish(now, gathered)
    }

    fn measured(&self, snapshot: Arc<Snapshot>) -> Measured {
        Measured {
            snapshot,
            durations: self.pipeline.durations(),
        }
    }

    fn take(&mut self, second: u64, gathered: &Gathered) {
        self.pipeline.absorb(second, gathered);
    }

    fn publish(&mut self, now: Timestamp, mut gathered: Gathered) -> Arc<Snapshot> {
        let limits = self.generation.limit_counts();
        self.around.rate_limits = limits
            .map(|limit| RateLimitTotals {
                name: limit.name.to_owned(),
                refused: limit.refused,
                evicted: limit.evicted,
            })
            .collect();
        let gates = self.generation.gates(self.clock.tick());
        self.pipeline.gated(now, gates);
        self.pipeline.judge(now);
        self.seq += 1;
        let snapshot = Arc::new(view::snapshot(
            &self.pipeline,
            &self.around,
            &gathered,
            now,
            self.seq,
            &mut self.memory,
        ));
        self.workers.recycle(std::mem::take(&mut gathered.shards));
        self.snapshots.send_replace(Some(Arc::clone(&snapshot)));
        snapshot
    }

    /// What is looked at once a second besides traffic.
    fn look_around(&mut self, now: Timestamp, gathered: &Gathered) {
        let sinks = [
            ("access_log", accesslog::QUEUE, &self.sink),
            ("otlp_records", otlp::RECORDS, &self.ring),
        ];
        self.around.queues = sinks
            .into_iter()
            .filter_map(|(queue, capacity, sink)| {
                Some(QueueView {
                    queue: queue.to_owned(),
                    capacity: capacity as u64,
                    dropped: sink.as_ref()?.dropped.load(Ordering::Relaxed),
                })
            })
            .collect();
        self.around.queues.push(QueueView {
            queue: "probe_slots".to_owned(),
            capacity: runner::QUEUE as u64,
            dropped: self.runner.dropped(),
        });
        self.around.probe_runs = self.runner.in_flight() as u64;
        let trouble = if self.runner.is_gone() {
            Some("their thread has ended: no probe is run".to_owned())
        } else {
            let low = self.pipeline.probes.trouble(now);
            self.mark_trouble.clone().or(low)
        };
        self.pipeline.degrade("probes", now, trouble);
        if let Some(store) = &self.pipeline.store {
            let status = store.status();
            let trouble = status.last_error.map(|(_, error)| {
                format!(
                    "{error}; {} minutes wait in memory, up to {}",
                    status.backlog,
                    crate::store::Writer::CAPACITY
                )
            });
            self.pipeline
                .degrade("store", now, trouble.or_else(|| self.unread.clone()));
        }
        if let Some(exporter) = &self.exporter {
            self.around.exporters = exporter.view();
            let trouble = otlp_trouble(&self.around.exporters, now);
            self.pipeline.degrade("otlp", now, trouble);
        }
        let log = self
            .access_log
            .as_ref()
            .is_some_and(accesslog::Writer::is_failing);
        self.pipeline.degrade(
            "access_log",
            now,
            log.then(|| "lines cannot be written and are lost".to_owned()),
        );
        let trouble = self.pipeline.quiet.trouble();
        self.pipeline.degrade("silences", now, trouble);
        self.around.receivers = self.notifier.views();
        self.pipeline
            .degrade("notify", now, self.notifier.trouble());
        let gone = gathered.gone;
        let trouble = (gone > 0).then(|| {
            format!(
                "{gone} of {} proxy threads have ended",
                self.workers.count()
            )
        });
        self.pipeline.degrade("worker", now, trouble);
    }

    /// Applies the configuration as it is now, or says why it does not and goes on with the one in force.
    async fn reload(&mut self) {
        if let Some(log) = &self.access_log {
            log.reopen();
        }
        let Some(read) = &self.reload else {
            tracing::info!("there is no configuration file to read again");
            return;
        };
        let began = self.clock.tick();
        let applied = match read() {
            Ok(resolved) => self.apply(resolved).await,
            Err(why) => Err(why),
        };
        let now = self.clock.now();
        match applied {
            Ok((text, scope)) => {
                let config = &mut self.around.config;
                config.generation += 1;
                config.hash.clone_from(&self.around.resolved.hash);
                config.applied_at = now;
                config.apply_ms = self.clock.tick().micros_since(began) / 1_000;
                config.refused = None;
                let took = Duration::from_micros(self.clock.tick().micros_since(began));
                self.pipeline.vitals.applied(Ok(took));
                let text = format!("generation {} applied: {text}", config.generation);
                self.pipeline.note(Event {
                    at: now,
                    kind: EventKind::Config,
                    scope,
                    text,
                });
                self.pipeline.degrade("config", now, None);
            }
            Err(why) => {
                let text = format!(
                    "reload refused, generation {} stays: {why}",
                    self.around.config.generation
                );
                self.pipeline.note(Event {
                    at: now,
                    kind: EventKind::Config,
                    scope: Scope::default(),
                    text,
                });
                self.around.config.refused = Some(why.clone());
                self.pipeline.vitals.applied(Err(why.clone()));
                self.pipeline.degrade(
                    "config",
                    now,
                    Some(format!("the last reload was refused: {why}")),
                );
            }
        }
    }

    /// All that can fail comes first; then every worker is told.
    async fn apply(&mut self, resolved: Resolved) -> Result<(String, Scope), String> {
        let before = Arc::clone(&self.around.resolved);
        let generation =
            Generation::build(&resolved.proxy, &mut self.pipeline.directory, &self.tickets);
        let mut generation = generation.map_err(|error| error.to_string())?;
        generation.adopt(&self.generation);
        let generation = Arc::new(generation);
        let probes = prepare(resolved.probes.definitions.clone());
        let probes = probes.map_err(|error| error.to_string())?;
        let wanted: Vec<_> = resolved
            .proxy
            .listeners
            .iter()
            .map(|listener| (listener.name.clone(), listener.address))
            .collect();
        let change = ListenerChange::bind(self.workers.listening(), &wanted, self.workers.count());
        let change = change.map_err(|error| error.to_string())?;
        let rules = self
            .pipeline
            .configure(&resolved, &probes)
            .map_err(|error| error.to_string())?;
        // Orders that are open go on: what authorities look for stays where it is.
        let issued = resolved.acme.certificates.iter();
        let shown = generation
            .shown()
            .keeping(&self.shown, issued.map(|it| it.name.as_str()))
            .and_then(|shown| shown.with_answers(Arc::clone(self.shown.answers())));
        let shown = Arc::new(shown.map_err(|error| error.to_string())?);
        self.workers
            .swap(&generation, &shown, &Arc::new(rules), change)
            .await;
        let modules = Modules::new(&resolved.probes.modules);
        self.modules.send_replace(Arc::new(modules));
        // Where the listeners are now is known only now; the roots were there a moment ago.
        let probes = super::compared(&resolved, &self.workers).unwrap_or(probes);
        self.runner.replace(probes).await;
        self.generation = generation;
        self.checks = Checks::start(&self.generation, self.clock);
        let shown_before = std::mem::replace(&mut self.shown, shown);
        let renewed = self.shown.renewed(&shown_before);
        let mut text = reload::summary(&before, &resolved, &renewed);
        let waiting = reload::needs_restart(&before, &resolved);
        if !waiting.is_empty() {
            text = format!("{text}; needs a restart: {}", waiting.join(", "));
        }
        if before.receivers != resolved.receivers {
            self.notifier.replace(resolved.receivers.clone());
        }
        let scope = reload::scope(&before, &resolved);
        self.around.resolved = Arc::new(resolved);
        self.configured
            .send_replace(Arc::clone(&self.around.resolved));
        self.list();
        Ok((text, scope))
    }

    fn list(&mut self) {
        let configured = &self.around.resolved.proxy.listeners;
        let is_tls = |name: &str| {
            configured
                .iter()
                .any(|listener| listener.name == name && !listener.certificates.is_empty())
        };
        self.around.listeners = self
            .workers
            .listening()
            .iter()
            .map(|listening| ListenerView {
                name: listening.name.clone(),
                address: listening.address.to_string(),
                tls: is_tls(&listening.name),
            })
            .collect();
        self.pipeline.certs.matrix = certs::matrix(&self.around.resolved);
        let plan = certs::plan(&self.around.resolved, self.workers.listening());
        self.certificates.send_replace(plan);
        self.revocations
            .send_replace(certs::look_up(&self.around.resolved));
        self.names.send_if_modified(|names| {
            let wanted = names::wanted(&self.around.resolved);
            let differs = *names != wanted;
            *names = wanted;
            differs
        });
        let plan = names::plan(&self.around.resolved);
        self.pipeline.looked_up.plan(&plan.names);
        self.inventory.send_if_modified(|known| {
            let differs = *known != plan;
            *known = plan;
            differs
        });
        self.issuer.plan(certs::issue(
            &self.around.resolved,
            self.workers.listening(),
        ));
    }

    /// Does what those who have certificates issued ask for.
    async fn issued(&mut self, told: Told) {
        let now = self.clock.now();
        let shown = match told {
            Told::Answers { answers, done } => {
                let shown = self.shown.with_answers(answers);
                Some((shown, done))
            }
            Told::Issued {
                name,
                certificate,
                done,
            } => {
                let mut wanted = self.around.resolved.acme.certificates.iter();
                if wanted.any(|it| it.name == name) {
                    let shown = self.shown.with_certificate(&name, certificate);
                    Some((shown, done))
                } else {
                    // A reload was quicker.
                    None
                }
            }
            Told::Happened(text) => {
                self.pipeline.note(Event {
                    at: now,
                    kind: EventKind::Certificate,
                    scope: Scope::default(),
                    text,
                });
                None
            }
        };
        let Some((shown, done)) = shown else { return };
        match shown {
            Ok(shown) => {
                self.shown = Arc::new(shown);
                self.workers.show(&self.shown).await;
                // What is shown now is looked at now.
                self.certificates.send_modify(|_same| ());
                self.revocations.send_modify(|_same| ());
                // Whoever asked may have been let go of by a reload.
                done.send(()).unwrap_or_default();
            }
            Err(error) => tracing::error!(%error, "what was issued cannot be shown"),
        }
    }

    async fn drain(&mut self) {
        let limit = self.around.resolved.proxy.drain;
        tracing::info!(
            seconds = limit.as_secs(),
            "stopping: finishing what is under way"
        );
        self.ready.send_replace(false);
        self.draining = Some(self.clock.tick().plus(limit));
        self.workers.drain().await;
    }

    async fn is_drained(&mut self) -> bool {
        let gathered = self.workers.gather().await;
        let (open, now) = (gathered.connections, self.clock.now());
        self.take(now.as_secs(), &gathered);
        self.workers.recycle(gathered.shards);
        open == 0
            || self
                .draining
                .is_some_and(|deadline| self.clock.tick() >= deadline)
    }

    async fn stop(self) {
        let Self {
            clock,
            mut pipeline,
            generation,
            workers,
            access_log,
            sink,
            notifier,
            runner,
            exporter,
            issuer,
            around,
            seq,
            mut memory,
            ..
        } = self;
        let closing = tokio::task::spawn_blocking(move || issuer.close());
        notifier.finish();
        let last = workers.stop().await;
        let now = clock.now();
        pipeline.absorb(now.as_secs(), &last);
        pipeline.limited(now.as_secs(), generation.limit_counts());
        pipeline.tick(now);
        // Their trackers are gone by now and have recorded it.
        let cut = |(_, slot): &(RouteKey, Box<RouteSlot>)| slot.faults[Fault::Drained.index()];
        let text = match last.shards.iter().flatten().map(cut).sum::<u64>() {
            0 => "Vestibule stopped".to_owned(),
            cut => format!("Vestibule stopped; {cut} requests were cut off"),
        };
        pipeline.note(Event {
            at: now,
            kind: EventKind::Process,
            scope: Scope::default(),
            text,
        });
        // It waits for what cleans up after journeys; the admin API goes on meanwhile.
        let slots = tokio::task::spawn_blocking(move || runner.stop()).await;
        pipeline.absorb_slots(now, slots.unwrap_or_default(), true);
        // A panic of its thread has been told.
        drop(closing.await);
        if let Some(exporter) = exporter {
            pipeline.judge(now);
            let measured = Measured {
                snapshot: Arc::new(view::snapshot(
                    &pipeline,
                    &around,
                    &last,
                    now,
                    seq + 1,
                    &mut memory,
                )),
                durations: pipeline.durations(),
            };
            let finished = tokio::task::spawn_blocking(move || exporter.finish(measured)).await;
            if finished.is_err() {
                tracing::error!("the OTLP exporter ended in a panic");
            }
        }
        pipeline.hand_over_minute();
        if let Some(store) = pipeline.store.take()
            && let Err(error) = store.close(CLOSE)
        {
            tracing::error!(%error, "the last counts could not be stored");
        }
        // The workers' senders are gone with them; with this one the writer ends.
        drop(sink);
        if let Some(log) = access_log {
            log.finish();
        }
    }
}

/// What is wrong with the export, once it has been so for a while: a receiver may restart.
fn otlp_trouble(exporters: &[ExporterView], now: Timestamp) -> Option<String> {
    let failing: Vec<String> = exporters
        .iter()
        .filter(|exporter| {
            exporter
                .failing_since
                .is_some_and(|since| now.since(since) >= OTLP_PATIENCE)
        })
        .map(|exporter| {
            let error = exporter.error.as_deref().unwrap_or("unknown");
            format!(
                "{} do not reach {}: {error}",
                exporter.signal, exporter.receiver
            )
        })
        .collect();
    (!failing.is_empty()).then(|| failing.join("; "))
}

/// For a receiver to come back before it is worth a word.
const OTLP_PATIENCE: Duration = Duration::from_secs(30);
/// How often it is checked whether all connections have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(50);
/// For the store to write what waits.
const CLOSE: Duration = Duration::from_secs(10);
