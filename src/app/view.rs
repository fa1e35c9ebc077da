//! From what the pipeline knows to the one snapshot that everyone reads.

use std::sync::Arc;

use super::pipeline::Pipeline;
use super::workers::Gathered;
use crate::config::Resolved;
use crate::model::{
    Calendar, EndpointKey, Handshake, NO_ROUTE, Part, Reading, Sli, Tally, Timestamp, Window, Worth,
};
use crate::slo::alert::{AlertKind, AlertStatus};
use crate::slo::booking::Booked;
use crate::slo::budget::Budget;
use crate::slo::burn;
use crate::slo::engine::SloStatus;
use crate::slo::policy::Severity;
use crate::snapshot::{
    AlertView, ConfigView, DeploySpend, DeployView, EVENTS, EdgeView, ExporterView, Gap,
    ListenerView, PartView, PeriodView, ProcessView, QueueView, RateLimitTotals, ReceiverView,
    SCHEMA, SilenceView, SlicesView, SloView, Snapshot, StoreView, Totals,
};
use crate::triage::blind::{self, BlindSpot, Traffic};

mod detail;
mod evidence;
mod measured;
mod routes;
mod upstreams;

pub(super) use detail::detail;
use measured::Measured;
pub(super) use routes::Memory;
use routes::Route;

/// What the snapshot says besides what the pipeline knows.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) started_at: Timestamp,
    pub(super) counting_since: Timestamp,
    pub(super) resolved: Arc<Resolved>,
    pub(super) listeners: Vec<ListenerView>,
    pub(super) config: ConfigView,
    pub(super) process: ProcessView,
    pub(super) gaps: Vec<Gap>,
    /// Who is told of alerts.
    pub(super) receivers: Vec<ReceiverView>,
    /// Queues apart from the store's.
    pub(super) queues: Vec<QueueView>,
    /// Runs of probes under way.
    pub(super) probe_runs: u64,
    pub(super) rate_limits: Vec<RateLimitTotals>,
    pub(super) exporters: Vec<ExporterView>,
}

impl Surroundings {
    /// With nothing known but what is configured, and since when it runs and counts.
    pub(super) fn new(
        resolved: Arc<Resolved>,
        started_at: Timestamp,
        counting_since: Timestamp,
    ) -> Self {
        Self {
            started_at,
            counting_since,
            resolved,
            listeners: Vec::new(),
            config: ConfigView::default(),
            process: ProcessView::default(),
            gaps: Vec::new(),
            receivers: Vec::new(),
            queues: Vec::new(),
            probe_runs: 0,
            rate_limits: Vec::new(),
            exporters: Vec::new(),
        }
    }
}

/// Gaps shown at most.
const GAPS: usize = 20;
/// How far back gaps are shown.
const GAPS_BACK: Window = Window::days(30);
const MINUTE_S: u64 = 60;
/// "Lately", in seconds: what faults, endpoints and shares are counted over.
const LATELY_S: u64 = 300;

/// Everything as of `now`. `memory` is that of the snapshot before.
pub(super) fn snapshot(
    pipeline: &Pipeline,
    around: &Surroundings,
    gathered: &Gathered,
    now: Timestamp,
    seq: u64,
    memory: &mut Memory,
) -> Snapshot {
    let view = View {
        pipeline,
        around,
        now_secs: now.as_secs(),
        routes: routes::in_force(pipeline, around),
    };
    let mut verdicts = view.verdicts(now);
    let verdict = verdicts.remove(0);
    let routes = routes::views(&view, memory);
    Snapshot {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: around.resolved.instance.clone(),
        at: now,
        started_at: around.started_at,
        counting_since: around.counting_since,
        seq,
        stored: false,
        verdict,
        other_verdicts: verdicts,
        edge: view.edge(gathered),
        routes_total: routes.len() as u64,
        routes,
        upstreams: upstreams::views(&view),
        slos: view.slos(),
        probes: pipeline.probes.views(now),
        blind_spots: view.blind_spots(now),
        names: pipeline.looked_up.views(now),
        certificates: pipeline.certs.views(),
        issuances: pipeline.certs.issuances.clone(),
        certificate_alerts: pipeline.certs.alerts(),
        alerts: view.alerts(now),
        silences: view.silences(now),
        deploys: view.deploys(),
        events: pipeline.events.iter().take(EVENTS).cloned().collect(),
        degraded: pipeline.degraded.values().cloned().collect(),
        listeners: around.listeners.clone(),
        config: around.config.clone(),
        process: around.process.clone(),
        store: view.store(),
        queues: view.queues(),
        receivers: around.receivers.clone(),
        exporters: around.exporters.clone(),
        totals: view.totals(gathered),
    }
}

struct View<'a> {
    pipeline: &'a Pipeline,
    around: &'a Surroundings,
    now_secs: u64,
    routes: Vec<Route<'a>>,
}

impl View<'_> {
    fn address(&self, key: EndpointKey) -> &str {
        self.pipeline.directory.endpoint_name(key).1
    }

    fn edge(&self, gathered: &Gathered) -> EdgeView {
        let Measured {
            now,
            before,
            series,
            faults,
            ..
        } = Measured::of(&self.pipeline.edge, self.now_secs);
        EdgeView {
            now,
            before,
            series,
            in_flight: gathered.in_flight,
            connections: gathered.connections,
            faults,
        }
    }

    /// What probes do not see.
    fn blind_spots(&self, now: Timestamp) -> Vec<BlindSpot> {
        let looks = self.pipeline.probes.looks(now);
        if looks.is_empty() {
            return Vec::new();
        }
        let traffic = self.routes.iter().map(|route| {
            let measured = Measured::of(&route.state.ring, self.now_secs).now;
            Traffic {
                route: route.id,
                valid: measured.requests.saturating_sub(measured.excluded),
                bad: measured.bad,
                p50_us: measured.p50_us,
            }
        });
        // What no route takes is nobody's to look at.
        let traffic: Vec<_> = traffic.filter(|it| it.route != NO_ROUTE).collect();
        blind::blind_spots(&traffic, &looks)
    }

    fn slos(&self) -> Vec<SloView> {
        let all = &self.pipeline.evaluation.slos;
        let mut slos: Vec<SloView> = all.iter().map(|status| slo(status, all)).collect();
        slos.sort_by(|a, b| {
            let soonest = |slo: &SloView| slo.time_to_empty_s.unwrap_or(u64::MAX);
            b.state
                .cmp(&a.state)
                .then(soonest(a).cmp(&soonest(b)))
                .then(a.id.cmp(&b.id))
        });
        slos
    }

    /// Who answers for what an alert is about.
    fn owner(&self, alert: &AlertStatus) -> Option<&str> {
        if let Some(route) = alert.route.as_deref() {
            return self.routes.iter().find(|it| it.id == route)?.owner();
        }
        let id = alert.slo.as_ref()?;
        let mut slos = self.around.resolved.slos.iter();
        slos.find(|slo| slo.id == *id)?.owner.as_deref()
    }

    /// The loudest first, and among equals an outage of everything.
    fn alerts(&self, now: Timestamp) -> Vec<AlertView> {
        let shown = |status| {
            let owner = self.owner(status);
            let silence = self.pipeline.quiet.muting(status, owner, now);
            AlertView {
                silenced_by: silence.map(|silence| silence.id.clone()),
                ..alert(status, owner)
            }
        };
        let mut alerts: Vec<AlertView> = self.pipeline.alerts().map(shown).collect();
        alerts.sort_by_key(|alert| {
            let quieter = alert.severity != Severity::Page;
            (quieter, alert.kind != AlertKind::Outage)
        });
        alerts
    }

    fn silences(&self, now: Timestamp) -> Vec<SilenceView> {
        let alerts: Vec<_> = self.pipeline.alerts().collect();
        let quiet = &self.pipeline.quiet;
        let silences = quiet.silences().iter().map(|silence| {
            let muted = alerts.iter().filter(|alert| {
                let by = quiet.muting(alert, self.owner(alert), now);
                by.is_some_and(|by| by.id == silence.id)
            });
            SilenceView {
                id: silence.id.clone(),
                matchers: silence.matchers.clone(),
                owner: silence.owner.clone(),
                reason: silence.reason.clone(),
                from: silence.from,
                until: silence.until,
                deploy: silence.deploy.clone(),
                muted: muted.map(|alert| alert.id.clone()).collect(),
            }
        });
        silences.collect()
    }

    fn deploys(&self) -> Vec<DeployView> {
        let spend = |booked: &Booked| {
            let Tally { good, bad } = booked.so_far(self.pipeline.counted(&booked.slo));
            let slos = &self.pipeline.evaluation.slos;
            let status = slos.iter().find(|status| status.slo.id == booked.slo);
            let budget = status.map(|status| Budget::new(status.slo.objective, status.tally));
            // What is missing of the window is taken to be as busy as what was measured.
            let covered = status.map_or(0.0, |status| status.coverage_ratio);
            DeploySpend {
                slo: booked.slo.clone(),
                good,
                bad,
                budget_ratio: budget
                    .and_then(|budget| budget.share_of(bad))
                    .map(|share| share * covered),
            }
        };
        let deploys = self.pipeline.quiet.deploys();
        deploys
            .map(|booking| DeployView {
                upstream: booking.upstream.clone(),
                version: booking.version.clone(),
                from: booking.from,
                until: booking.until,
                slos: booking.slos.iter().map(spend).collect(),
            })
            .collect()
    }

    fn store(&self) -> StoreView {
        let config = &self.around.resolved.store;
        let status = self
            .pipeline
            .store
            .as_ref()
            .map(crate::store::Writer::status)
            .unwrap_or_default();
        let oldest = Timestamp::from_secs(self.now_secs).minus(GAPS_BACK.duration());
        StoreView {
            path: config.dir.join("history.db").display().to_string(),
            size_bytes: status.size_bytes,
            budget_bytes: config.max_bytes,
            flushed_at: status.flushed_at,
            backlog: status.backlog,
            gaps: self
                .around
                .gaps
                .iter()
                .filter(|gap| gap.to > oldest)
                .take(GAPS)
                .copied()
                .collect(),
        }
    }

    fn queues(&self) -> Vec<QueueView> {
        let status = self
            .pipeline
            .store
            .as_ref()
            .map(crate::store::Writer::status)
            .unwrap_or_default();
        let mut queues = vec![
            QueueView {
                queue: "store_minutes".to_owned(),
                capacity: crate::store::Writer::CAPACITY,
                dropped: status.dropped,
            },
            QueueView {
                queue: "store_latencies".to_owned(),
                capacity: crate::store::Writer::CAPACITY,
                dropped: status.dropped_latencies,
            },
            QueueView {
                queue: "store_probe_slots".to_owned(),
                capacity: crate::store::Writer::SLOTS,
                dropped: status.dropped_slots,
            },
        ];
        queues.extend(self.around.queues.iter().cloned());
        queues
    }

    fn totals(&self, gathered: &Gathered) -> Totals {
        let pipeline = self.pipeline;
        let directory = &pipeline.directory;
        let endpoints = self
            .around
            .resolved
            .proxy
            .upstreams
            .iter()
            .flat_map(|upstream| {
                upstream.endpoints.iter().map(|endpoint| {
                    let address = endpoint.to_string();
                    let key = directory.find_endpoint(&upstream.name, &address);
                    let tally = key
                        .and_then(|key| pipeline.endpoints.get(key.index()))
                        .copied()
                        .unwrap_or_default();
                    (upstream.name.clone(), address, tally)
                })
            });
        Totals {
            probes: pipeline.probes.totals(),
            probe_runs: self.around.probe_runs,
            probe_requests: gathered.probe_requests,
            routes: self
                .routes
                .iter()
                .map(|route| (route.id.to_owned(), route.state.totals.clone()))
                .collect(),
            endpoints: endpoints.collect(),
            slos: pipeline.promises.in_force(directory).collect(),
            events: pipeline.happened,
            tunnels: gathered.tunnels,
            handshakes: gathered.handshakes[Handshake::Ok.index()],
            handshakes_failed: gathered.handshakes.iter().skip(1).sum(),
            handshakes_by_end: gathered.handshakes,
            preamble_failures: gathered.preambles_failed,
            encoded_refused: gathered.encoded_refused,
            encoded_reported: gathered.encoded_reported,
            retries_refused: gathered.retries_refused,
            accept_failures: gathered.accept_failures,
            rate_limits: self.around.rate_limits.clone(),
        }
    }
}

fn slo(status: &SloStatus, all: &[SloStatus]) -> SloView {
    let slo = &status.slo;
    SloView {
        id: slo.id.clone(),
        route: slo.about.route().unwrap_or_default().to_owned(),
        scope: slo.about.scope(),
        owner: slo.owner.clone(),
        sli: slo.sli.as_str().to_owned(),
        reading: match slo.sli {
            Sli::Availability(reading) => Some(reading.as_str().to_owned()),
            Sli::Latency { .. }
            | Sli::Connection
            | Sli::RateLimit
            | Sli::Probe { .. }
            | Sli::Vital(_)
            | Sli::Composite(_) => None,
        },
        bad_status: match slo.sli {
            Sli::Availability(Reading::Fault { also }) => also.statuses().collect(),
            Sli::Availability(Reading::All)
            | Sli::Latency { .. }
            | Sli::Connection
            | Sli::RateLimit
            | Sli::Probe { .. }
            | Sli::Vital(_)
            | Sli::Composite(_) => Vec::new(),
        },
        parts: slo.parts.iter().map(|it| part(it, all)).collect(),
        weigh: match slo.sli {
            Sli::Composite(weighing) => Some(weighing.as_str().to_owned()),
            Sli::Availability(_)
            | Sli::Latency { .. }
            | Sli::Connection
            | Sli::RateLimit
            | Sli::Probe { .. }
            | Sli::Vital(_) => None,
        },
        counted: slo.counted(),
        slices: slo.slices.map(|slices| SlicesView {
            every: slices.every,
            objective_ppm: match slices.worth {
                Worth::Whole(objective) => Some(objective.ppm()),
                Worth::Share => None,
            },
            empty: slices.empty.as_str().to_owned(),
        }),
        under_us: match slo.sli {
            Sli::Availability(_)
            | Sli::Connection
            | Sli::RateLimit
            | Sli::Probe { .. }
            | Sli::Vital(_)
            | Sli::Composite(_) => None,
            Sli::Latency { under } => Some(under.as_micros() as u64),
        },
        objective_ppm: slo.objective.ppm(),
        window: slo.window,
        period: slo.calendar.as_ref().zip(status.period).map(
            |(Calendar { unit, zone }, period)| PeriodView {
                unit: unit.as_str().to_owned(),
                zone: zone.to_string(),
                from: Timestamp::from_secs(period.start_secs),
                to: Timestamp::from_secs(period.end_secs),
            },
        ),
        policy: slo.policy.clone(),
        good: status.tally.good,
        bad: status.tally.bad,
        sli_ratio: status.sli_ratio,
        remaining_ratio: status.remaining_ratio,
        expected_remaining_ratio: status.expected_remaining_ratio,
        burn: burn::WINDOWS
            .into_iter()
            .map(|window| (window, status.burn_over(window)))
            .collect(),
        state: status.state,
        coverage_ratio: status.coverage_ratio,
        time_to_empty_s: status.time_to_empty_s,
        runbook: slo.runbook.clone(),
    }
}

/// A part of a composite, with what it counts by itself.
fn part(part: &Part, all: &[SloStatus]) -> PartView {
    let of_it = all.iter().find(|it| it.slo.id == part.slo);
    let tally = of_it.map(|it| it.tally).unwrap_or_default();
    PartView {
        slo: part.slo.clone(),
        weight: part.weight,
        sli: of_it.map_or("", |it| it.slo.sli.as_str()).to_owned(),
        good: tally.good,
        bad: tally.bad,
    }
}

fn alert(status: &AlertStatus, owner: Option<&str>) -> AlertView {
    let AlertStatus {
        id,
        kind,
        severity,
        state,
        since,
        about,
        slo,
        route,
        scope,
        burn,
        runbook,
        text,
    } = status.clone();
    AlertView {
        id,
        kind,
        about,
        slo: slo.unwrap_or_default(),
        route: route.unwrap_or_default(),
        scope: scope.unwrap_or_default(),
        owner: owner.map(ToOwned::to_owned),
        severity,
        tier: burn.map(|burn| burn.row.tier),
        state,
        since,
        long: burn.map(|burn| burn.row.long),
        short: burn.map(|burn| burn.row.short),
        burn_long: burn.and_then(|burn| burn.burn_long),
        burn_short: burn.and_then(|burn| burn.burn_short),
        factor: burn.map(|burn| f64::from(burn.row.factor.0) / 1_000.0),
        runbook,
        text,
        silenced_by: None,
    }
}
