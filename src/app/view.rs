//! From what the pipeline knows to the one snapshot that everyone reads.

use std::collections::HashMap;
use std::sync::Arc;

use super::pipeline::{Pipeline, RouteState};
use super::workers::Gathered;
use crate::config::Resolved;
use crate::model::{
    Counts, EndpointKey, EndpointTally, Fault, Phase, RouteKey, Sli, SloKey, Timestamp, Window,
};
use crate::sli::ring::RouteRing;
use crate::slo::burn;
use crate::slo::engine::{AlertStatus, SloStatus};
use crate::slo::state::SloState;
use crate::snapshot::{
    AlertView, ConfigView, EVENTS, EdgeView, EndpointShare, EndpointView, FaultCount, Gap,
    ListenerView, Measure, PhaseView, ProcessView, QueueView, RouteView, SCHEMA, Series, SloView,
    Snapshot, Standing, StoreView, Totals, UpstreamView,
};
use crate::triage::engine::verdicts;
use crate::triage::evidence::{Detail, EndpointEvidence, Evidence, RouteEvidence};

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
    /// Queues apart from the store's.
    pub(super) queues: Vec<QueueView>,
}

/// Gaps shown at most.
const GAPS: usize = 20;
/// How far back gaps are shown.
const GAPS_BACK: Window = Window::days(30);
/// Columns of a series.
const COLUMNS: usize = 60;
/// A column's width in seconds.
const COLUMN_S: u64 = 60;
const MINUTE_S: u64 = 60;
const HOUR_S: u64 = 3_600;
/// "Lately", in seconds: what faults, endpoints and shares are counted over.
const LATELY_S: u64 = 300;

/// Everything as of `now`.
pub(super) fn snapshot(
    pipeline: &Pipeline,
    around: &Surroundings,
    gathered: &Gathered,
    now: Timestamp,
    seq: u64,
) -> Snapshot {
    let view = View {
        pipeline,
        around,
        now_secs: now.as_secs(),
    };
    let mut verdicts = view.verdicts(now);
    let verdict = verdicts.remove(0);
    let routes = view.routes();
    Snapshot {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: around.resolved.instance.clone(),
        at: now,
        started_at: around.started_at,
        counting_since: around.counting_since,
        seq,
        verdict,
        other_verdicts: verdicts,
        edge: view.edge(gathered),
        routes_total: routes.len() as u64,
        routes,
        upstreams: view.upstreams(),
        slos: view.slos(),
        alerts: pipeline.evaluation.alerts.iter().map(alert).collect(),
        events: pipeline.events.iter().take(EVENTS).cloned().collect(),
        degraded: pipeline.degraded.values().cloned().collect(),
        listeners: around.listeners.clone(),
        config: around.config.clone(),
        process: around.process.clone(),
        store: view.store(),
        queues: view.queues(),
        totals: view.totals(gathered),
    }
}

struct View<'a> {
    pipeline: &'a Pipeline,
    around: &'a Surroundings,
    now_secs: u64,
}

impl View<'_> {
    fn verdicts(&self, now: Timestamp) -> Vec<crate::triage::Verdict> {
        let pipeline = self.pipeline;
        let mut routes = Vec::new();
        for (id, state, upstream, owner) in self.configured() {
            let versions = upstream.and_then(|upstream| pipeline.versions.get(upstream));
            let slos: Vec<&SloStatus> = pipeline
                .evaluation
                .slos
                .iter()
                .filter(|slo| slo.slo.route == id)
                .collect();
            routes.push(RouteEvidence {
                id,
                upstream,
                version: versions.map(|(version, _)| version.as_str()),
                previous_version: versions.and_then(|(_, before)| before.as_deref()),
                owner,
                runbook: None,
                slos,
                alerts: pipeline
                    .evaluation
                    .alerts
                    .iter()
                    .filter(|alert| alert.slo.route == id)
                    .collect(),
                last_minute: state.ring.counts_over(MINUTE_S, self.now_secs),
                covered_s: state.ring.covered_over(MINUTE_S, self.now_secs),
            });
        }
        let events: Vec<_> = pipeline.events.iter().cloned().collect();
        let degraded = pipeline.degraded.values();
        let evidence = Evidence {
            routes,
            edge: pipeline.edge.counts_over(MINUTE_S, self.now_secs),
            events: &events,
            degraded: degraded
                .map(|degradation| format!("{}: {}", degradation.part, degradation.text))
                .collect(),
            detail: &|id| self.detail(id),
            history: &|key| pipeline.history(key),
        };
        verdicts(now, &evidence)
    }

    /// Routes in force: id, state, upstream, owner. `none` comes first.
    fn configured(&self) -> impl Iterator<Item = (&str, &RouteState, Option<&str>, Option<&str>)> {
        let configured: HashMap<&str, &crate::proxy::config::Route> = self
            .around
            .resolved
            .proxy
            .routes
            .iter()
            .map(|route| (route.id.as_str(), route))
            .collect();
        let states = self
            .pipeline
            .routes
            .iter()
            .enumerate()
            .filter(|(_, state)| state.configured);
        states.map(move |(index, state)| {
            let id = self.pipeline.directory.route_id(RouteKey(index as u32));
            let route = configured.get(id);
            let upstream = route.map(|route| route.upstream.as_str());
            (
                id,
                state,
                upstream,
                route.and_then(|route| route.owner.as_deref()),
            )
        })
    }

    fn detail(&self, id: &str) -> Detail {
        let Some((_, state, upstream, _)) = self.configured().find(|(found, ..)| *found == id)
        else {
            return Detail::default();
        };
        let tried = state.ring.endpoints_over(LATELY_S, self.now_secs);
        let endpoints = self
            .around
            .resolved
            .proxy
            .upstreams
            .iter()
            .filter(|found| Some(found.name.as_str()) == upstream);
        let endpoints = endpoints
            .flat_map(|upstream| &upstream.endpoints)
            .map(|endpoint| {
                let address = endpoint.to_string();
                let tally = tried
                    .iter()
                    .find(|(key, _)| self.address(*key) == address)
                    .map(|(_, tally)| *tally);
                let EndpointTally {
                    good,
                    bad,
                    connect_failures,
                } = tally.unwrap_or_default();
                EndpointEvidence {
                    address,
                    good,
                    bad,
                    connect_failures,
                }
            });
        Detail {
            faults_1m: state.ring.faults_over_1m(self.now_secs),
            faults_5m: state.ring.faults_over_5m(self.now_secs),
            endpoints: endpoints.collect(),
            phases_p50_us: state
                .ring
                .phases_over_5m(self.now_secs)
                .map(|phase| Some(phase?.percentiles.p50_us)),
        }
    }

    fn address(&self, key: EndpointKey) -> &str {
        self.pipeline.directory.endpoint_name(key).1
    }

    fn edge(&self, gathered: &Gathered) -> EdgeView {
        let ring = &self.pipeline.edge;
        EdgeView {
            now: self.last_minute(ring),
            before: self.hour_before(ring),
            series: self.series(ring),
            in_flight: gathered.in_flight,
            connections: gathered.connections,
            faults: faults(&ring.faults_over_5m(self.now_secs)),
        }
    }

    fn routes(&self) -> Vec<RouteView> {
        let edge_bad = self.pipeline.edge.counts_over(LATELY_S, self.now_secs).bad;
        let details: HashMap<&str, &crate::proxy::config::Route> = self
            .around
            .resolved
            .proxy
            .routes
            .iter()
            .map(|route| (route.id.as_str(), route))
            .collect();
        let mut routes: Vec<RouteView> = self
            .configured()
            .map(|(id, state, upstream, owner)| {
                let slos: Vec<&SloStatus> = self
                    .pipeline
                    .evaluation
                    .slos
                    .iter()
                    .filter(|slo| slo.slo.route == id)
                    .collect();
                let now = self.last_minute(&state.ring);
                let hour = state.ring.latency_over_hour();
                let lately = state.ring.counts_over(LATELY_S, self.now_secs);
                let burns = slos
                    .iter()
                    .filter_map(|slo| slo.burn_over(Window::minutes(5)));
                let route = details.get(id);
                RouteView {
                    id: id.to_owned(),
                    standing: standing(&slos, &now),
                    hosts: route
                        .map(|route| route.hosts.iter().map(ToString::to_string).collect())
                        .unwrap_or_default(),
                    path: route
                        .map(|route| route.path.to_string())
                        .unwrap_or_default(),
                    upstream: upstream.map(ToOwned::to_owned),
                    owner: owner.map(ToOwned::to_owned),
                    requests: state.counts.requests(),
                    good: state.counts.good,
                    bad: state.counts.bad,
                    excluded: state.counts.excluded,
                    p50_us: hour.map(|hour| hour.p50_us),
                    p95_us: hour.map(|hour| hour.p95_us),
                    p99_us: hour.map(|hour| hour.p99_us),
                    now,
                    before: self.hour_before(&state.ring),
                    burn_5m: burns.max_by(f64::total_cmp),
                    share_of_bad: (edge_bad > 0).then(|| lately.bad as f64 / edge_bad as f64),
                    slos: slos.iter().map(|slo| slo.slo.id.clone()).collect(),
                    series: self.series(&state.ring),
                    faults: faults(&state.ring.faults_over_5m(self.now_secs)),
                    endpoints: self.shares(&state.ring),
                    phases: phases(&state.ring, self.now_secs),
                }
            })
            .collect();
        let impact = |route: &RouteView| {
            (
                route.burn_5m.unwrap_or(0.0),
                route.now.bad,
                route.now.requests,
            )
        };
        routes.sort_by(|a, b| {
            let ((a_burn, a_bad, a_all), (b_burn, b_bad, b_all)) = (impact(a), impact(b));
            b_burn
                .total_cmp(&a_burn)
                .then(b_bad.cmp(&a_bad))
                .then(b_all.cmp(&a_all))
                .then(a.id.cmp(&b.id))
        });
        routes
    }

    fn shares(&self, ring: &RouteRing) -> Vec<EndpointShare> {
        ring.endpoints_over(LATELY_S, self.now_secs)
            .into_iter()
            .map(
                |(
                    key,
                    EndpointTally {
                        good,
                        bad,
                        connect_failures,
                    },
                )| EndpointShare {
                    endpoint: self.address(key).to_owned(),
                    good,
                    bad,
                    connect_failures,
                },
            )
            .collect()
    }

    fn last_minute(&self, ring: &RouteRing) -> Measure {
        let latency = ring.latency_over_last_minute(self.now_secs);
        let (counts, covered) = (
            ring.counts_over(MINUTE_S, self.now_secs),
            ring.covered_over(MINUTE_S, self.now_secs),
        );
        measure(counts, covered, latency)
    }

    /// The hour before the last minute. Its percentiles are the hour's, the last minute included.
    fn hour_before(&self, ring: &RouteRing) -> Measure {
        let until = self.now_secs.saturating_sub(MINUTE_S);
        measure(
            ring.counts_over(HOUR_S, until),
            ring.covered_over(HOUR_S, until),
            ring.latency_over_hour(),
        )
    }

    fn series(&self, ring: &RouteRing) -> Series {
        let series = ring.series(self.now_secs, COLUMNS, COLUMN_S);
        Series {
            start: Timestamp::from_secs(series.start_secs),
            step_s: series.step_s,
            requests: series.requests,
            bad: series.bad,
            p99_us: series.p99_us,
        }
    }

    fn upstreams(&self) -> Vec<UpstreamView> {
        let lately = self.pipeline.edge.endpoints_over(MINUTE_S, self.now_secs);
        let upstreams = &self.around.resolved.proxy.upstreams;
        upstreams
            .iter()
            .map(|upstream| UpstreamView {
                name: upstream.name.clone(),
                version: self
                    .pipeline
                    .versions
                    .get(&upstream.name)
                    .map(|(version, _)| version.clone()),
                endpoints: upstream
                    .endpoints
                    .iter()
                    .map(|endpoint| {
                        let address = endpoint.to_string();
                        let key = self
                            .pipeline
                            .directory
                            .find_endpoint(&upstream.name, &address);
                        let (healthy, since) =
                            key.map_or((true, None), |key| self.pipeline.health.of(key));
                        let tally = lately
                            .iter()
                            .find(|(found, _)| Some(*found) == key)
                            .map(|(_, tally)| *tally);
                        let EndpointTally {
                            good,
                            bad,
                            connect_failures,
                        } = tally.unwrap_or_default();
                        EndpointView {
                            address,
                            healthy,
                            since,
                            good,
                            bad,
                            connect_failures,
                        }
                    })
                    .collect(),
            })
            .collect()
    }

    fn slos(&self) -> Vec<SloView> {
        let mut slos: Vec<SloView> = self.pipeline.evaluation.slos.iter().map(slo).collect();
        slos.sort_by(|a, b| {
            let soonest = |slo: &SloView| slo.time_to_empty_s.unwrap_or(u64::MAX);
            b.state
                .cmp(&a.state)
                .then(soonest(a).cmp(&soonest(b)))
                .then(a.id.cmp(&b.id))
        });
        slos
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
        ];
        queues.extend(self.around.queues.iter().cloned());
        queues
    }

    fn totals(&self, gathered: &Gathered) -> Totals {
        let pipeline = self.pipeline;
        let directory = &pipeline.directory;
        let slos = pipeline
            .slos
            .iter()
            .enumerate()
            .filter(|(_, state)| state.configured);
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
            routes: self
                .configured()
                .map(|(id, state, ..)| (id.to_owned(), state.totals.clone()))
                .collect(),
            endpoints: endpoints.collect(),
            slos: slos
                .map(|(index, state)| {
                    (
                        directory.slo_id(SloKey(index as u32)).to_owned(),
                        state.tally,
                    )
                })
                .collect(),
            tunnels: gathered.tunnels,
            handshakes: gathered.handshakes,
            handshakes_failed: gathered.handshakes_failed,
            accept_failures: gathered.accept_failures,
        }
    }
}

fn measure(counts: Counts, covered_s: u64, latency: Option<crate::model::Percentiles>) -> Measure {
    Measure {
        covered_s,
        requests: counts.requests(),
        bad: counts.bad,
        excluded: counts.excluded,
        rate_per_s: (covered_s > 0).then(|| counts.requests() as f64 / covered_s as f64),
        bad_ratio: (counts.valid() > 0).then(|| counts.bad as f64 / counts.valid() as f64),
        p50_us: latency.map(|latency| latency.p50_us),
        p99_us: latency.map(|latency| latency.p99_us),
    }
}

fn faults(counts: &[u64; Fault::COUNT]) -> Vec<FaultCount> {
    let mut faults: Vec<FaultCount> = Fault::ALL
        .iter()
        .zip(counts)
        .filter(|(_, count)| **count > 0)
        .map(|(fault, count)| FaultCount {
            fault: *fault,
            side: Fault::side(*fault),
            count: *count,
        })
        .collect();
    faults.sort_by_key(|fault| (std::cmp::Reverse(fault.count), fault.fault));
    faults
}

fn phases(ring: &RouteRing, now_secs: u64) -> Vec<PhaseView> {
    let times = Phase::ALL.into_iter().zip(ring.phases_over_5m(now_secs));
    times
        .filter_map(|(phase, time)| {
            let time = time?;
            Some(PhaseView {
                phase: phase.as_str().to_owned(),
                count: time.count,
                p50_us: time.percentiles.p50_us,
                p99_us: time.percentiles.p99_us,
            })
        })
        .collect()
}

/// A route without an SLO stands badly when one in twenty of its last minute's requests failed.
const BAD_WITHOUT_SLO: f64 = 0.05;

fn standing(slos: &[&SloStatus], now: &Measure) -> Standing {
    match slos.iter().map(|slo| slo.state).max() {
        Some(SloState::Critical) => Standing::Crit,
        Some(SloState::Rising | SloState::Low | SloState::Recovering) => Standing::Warn,
        _ if now.requests == 0 => Standing::None,
        None if now.bad_ratio.is_some_and(|ratio| ratio >= BAD_WITHOUT_SLO) => Standing::Warn,
        Some(SloState::Ok | SloState::Warming | SloState::NoData) | None => Standing::Ok,
    }
}

fn slo(status: &SloStatus) -> SloView {
    let slo = &status.slo;
    SloView {
        id: slo.id.clone(),
        route: slo.route.clone(),
        sli: slo.sli.as_str().to_owned(),
        under_us: match slo.sli {
            Sli::Availability => None,
            Sli::Latency { under } => Some(under.as_micros() as u64),
        },
        objective_ppm: slo.objective.ppm(),
        window: slo.window,
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

fn alert(status: &AlertStatus) -> AlertView {
    let AlertStatus {
        id,
        slo,
        row,
        state,
        since,
        burn_long,
        burn_short,
    } = status;
    AlertView {
        id: id.clone(),
        slo: slo.id.clone(),
        route: slo.route.clone(),
        severity: row.severity,
        tier: row.tier,
        state: *state,
        since: *since,
        long: row.long,
        short: row.short,
        burn_long: *burn_long,
        burn_short: *burn_short,
        factor: f64::from(row.factor.0) / 1_000.0,
        runbook: slo.runbook.clone(),
    }
}
