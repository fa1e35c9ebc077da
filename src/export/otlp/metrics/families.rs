//! What is measured: the catalog's series, but for durations, from one snapshot.

use std::collections::HashMap;

use crate::catalog::{self, Series};
use crate::model::{EventKind, Fault, Objective, Timestamp};
use crate::slo::alert::AlertState;
use crate::snapshot::Snapshot;

/// One series' points.
pub(super) struct Family {
    pub(super) series: &'static Series,
    /// Values of the series' labels, and the value.
    pub(super) points: Vec<(Vec<String>, Value)>,
    /// When its counters began; gauges have no beginning.
    pub(super) since: Timestamp,
}

/// A point's value.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Count(u64),
    Level(f64),
}

/// Every series but durations.
pub(super) fn families(snapshot: &Snapshot) -> Vec<Family> {
    let mut all = Families {
        families: Vec::with_capacity(32),
        started_at: snapshot.started_at,
    };
    all.requests(snapshot);
    all.endpoints(snapshot);
    all.slos(snapshot);
    all.edge(snapshot);
    all.own(snapshot);
    all.families
}

struct Families {
    families: Vec<Family>,
    started_at: Timestamp,
}

impl Families {
    fn begin(&mut self, series: &'static Series) {
        let since = self.started_at;
        self.families.push(Family {
            series,
            points: Vec::new(),
            since,
        });
    }

    /// Counts that earlier runs began.
    fn begin_since(&mut self, series: &'static Series, since: Timestamp) {
        self.families.push(Family {
            series,
            points: Vec::new(),
            since,
        });
    }

    fn count(&mut self, values: &[&str], count: u64) {
        self.point(values, Value::Count(count));
    }

    /// Only what ever happened.
    fn count_some(&mut self, values: &[&str], count: u64) {
        if count > 0 {
            self.count(values, count);
        }
    }

    fn level(&mut self, values: &[&str], level: f64) {
        self.point(values, Value::Level(level));
    }

    fn one(&mut self, series: &'static Series, count: u64) {
        self.begin(series);
        self.count(&[], count);
    }

    fn point(&mut self, values: &[&str], value: Value) {
        let family = self.families.last_mut().expect("a family was begun");
        debug_assert_eq!(
            family.series.labels.len(),
            values.len(),
            "{}",
            family.series.name
        );
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        family.points.push((values, value));
    }

    fn requests(&mut self, snapshot: &Snapshot) {
        self.begin(&catalog::ROUTE_INFO);
        for route in &snapshot.routes {
            let upstream = route.upstream.as_deref().unwrap_or_default();
            let owner = route.owner.as_deref().unwrap_or_default();
            self.count(&[&route.id, upstream, owner], 1);
        }
        self.begin_since(&catalog::REQUESTS, snapshot.counting_since);
        for route in &snapshot.routes {
            self.count(&[&route.id, "good"], route.good);
            self.count(&[&route.id, "bad"], route.bad);
            self.count(&[&route.id, "excluded"], route.excluded);
        }
        let routes = &snapshot.totals.routes;
        self.begin(&catalog::FAULTS);
        for (route, totals) in routes {
            for (fault, count) in Fault::ALL.iter().zip(totals.faults) {
                self.count_some(&[route, fault.side().as_str(), fault.as_str()], count);
            }
        }
        self.begin(&catalog::RESPONSES);
        for (route, totals) in routes {
            let classes = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
            for (class, count) in classes.iter().zip(totals.classes) {
                self.count_some(&[route, class], count);
            }
        }
        self.begin(&catalog::REQUEST_BYTES);
        for (route, totals) in routes {
            self.count(&[route], totals.bytes_in);
        }
        self.begin(&catalog::RESPONSE_BYTES);
        for (route, totals) in routes {
            self.count(&[route], totals.bytes_out);
        }
        self.begin(&catalog::RETRIES);
        for (route, totals) in routes {
            self.count(&[route], totals.retries);
        }
    }

    fn endpoints(&mut self, snapshot: &Snapshot) {
        let endpoints = &snapshot.totals.endpoints;
        self.begin(&catalog::ENDPOINT_REQUESTS);
        for (upstream, endpoint, tally) in endpoints {
            self.count(&[upstream, endpoint, "good"], tally.good);
            self.count(&[upstream, endpoint, "bad"], tally.bad);
        }
        self.begin(&catalog::ENDPOINT_CONNECT_FAILURES);
        for (upstream, endpoint, tally) in endpoints {
            self.count(&[upstream, endpoint], tally.connect_failures);
        }
        self.begin(&catalog::ENDPOINT_RETRIED);
        for (upstream, endpoint, tally) in endpoints {
            self.count(&[upstream, endpoint], tally.retried);
        }
        self.begin(&catalog::ENDPOINT_HEALTHY);
        for upstream in &snapshot.upstreams {
            for endpoint in &upstream.endpoints {
                let healthy = u64::from(endpoint.healthy);
                self.count(&[&upstream.name, &endpoint.address], healthy);
            }
        }
    }

    fn slos(&mut self, snapshot: &Snapshot) {
        let routes: HashMap<&str, &str> = snapshot
            .slos
            .iter()
            .map(|slo| (slo.id.as_str(), slo.route.as_str()))
            .collect();
        self.begin_since(&catalog::SLO_EVENTS, snapshot.counting_since);
        for (slo, tally) in &snapshot.totals.slos {
            let route = routes.get(slo.as_str()).copied().unwrap_or_default();
            self.count(&[slo, route, "good"], tally.good);
            self.count(&[slo, route, "bad"], tally.bad);
        }
        self.begin(&catalog::SLO_INFO);
        for slo in &snapshot.slos {
            let objective = Objective::try_from_ppm(slo.objective_ppm);
            let objective =
                objective.map_or_else(|_| String::new(), |objective| objective.to_string());
            let (percent, window) = (objective.trim_end_matches('%'), slo.window.to_string());
            self.count(
                &[&slo.id, &slo.route, &slo.sli, percent, &window, &slo.policy],
                1,
            );
        }
        self.begin(&catalog::TIME_TO_EMPTY);
        for slo in &snapshot.slos {
            if let Some(left) = slo.time_to_empty_s {
                self.count(&[&slo.id, &slo.route], left);
            }
        }
        self.begin(&catalog::SLO_OBJECTIVE);
        for slo in &snapshot.slos {
            self.level(&[&slo.id, &slo.route], f64::from(slo.objective_ppm) / 1e6);
        }
        self.begin(&catalog::SLO_REMAINING);
        for slo in &snapshot.slos {
            if let Some(remaining) = slo.remaining_ratio {
                self.level(&[&slo.id, &slo.route], remaining);
            }
        }
        self.begin(&catalog::SLO_BURN);
        for slo in &snapshot.slos {
            for (window, burn) in &slo.burn {
                if let Some(burn) = burn {
                    self.level(&[&slo.id, &slo.route, &window.to_string()], *burn);
                }
            }
        }
        self.begin(&catalog::ALERTS);
        for alert in &snapshot.alerts {
            if alert.state != AlertState::Inactive {
                let (severity, tier, state) = (
                    alert.severity.as_str(),
                    alert.tier.as_str(),
                    alert.state.as_str(),
                );
                self.count(&[&alert.slo, &alert.route, severity, tier, state], 1);
            }
        }
    }

    fn edge(&mut self, snapshot: &Snapshot) {
        let totals = &snapshot.totals;
        self.begin(&catalog::EVENTS);
        for (kind, count) in EventKind::ALL.iter().zip(totals.events) {
            self.count(&[kind.as_str()], count);
        }
        self.begin(&catalog::ENCODED);
        self.count(&["refused"], totals.encoded_refused);
        self.count(&["reported"], totals.encoded_reported);
        self.one(&catalog::IN_FLIGHT, snapshot.edge.in_flight);
        self.one(&catalog::CONNECTIONS, snapshot.edge.connections);
        self.one(&catalog::TUNNELS, totals.tunnels);
        self.begin(&catalog::HANDSHAKES);
        self.count(&["ok"], totals.handshakes);
        self.count(&["failed"], totals.handshakes_failed);
        self.one(&catalog::RETRIES_REFUSED, totals.retries_refused);
        self.begin(&catalog::RATE_LIMITED);
        for limit in &totals.rate_limits {
            self.count(&[&limit.name], limit.refused);
        }
        self.begin(&catalog::RATE_LIMIT_EVICTIONS);
        for limit in &totals.rate_limits {
            self.count(&[&limit.name], limit.evicted);
        }
        self.one(&catalog::ACCEPT_FAILURES, totals.accept_failures);
    }

    fn own(&mut self, snapshot: &Snapshot) {
        self.begin(&catalog::DROPPED);
        for queue in &snapshot.queues {
            self.count(&[&queue.queue], queue.dropped);
        }
        self.begin(&catalog::DEGRADED);
        for part in catalog::PARTS {
            let degraded = snapshot.degraded.iter().any(|it| it.part == part);
            self.count(&[part], u64::from(degraded));
        }
        self.begin(&catalog::OTLP_SENT);
        for exporter in &snapshot.exporters {
            self.count(&[&exporter.signal], exporter.sent);
        }
        self.begin(&catalog::OTLP_DROPPED);
        for exporter in &snapshot.exporters {
            for (reason, count) in &exporter.dropped {
                self.count(&[&exporter.signal, reason], *count);
            }
        }
        self.begin(&catalog::CONFIG_INFO);
        self.count(&[&snapshot.config.hash], 1);
        self.one(&catalog::CONFIG_GENERATION, snapshot.config.generation);
        self.one(
            &catalog::CONFIG_REFUSED,
            u64::from(snapshot.config.refused.is_some()),
        );
        self.one(&catalog::STORE_SIZE, snapshot.store.size_bytes);
        self.one(&catalog::STORE_BACKLOG, snapshot.store.backlog);
        let process = &snapshot.process;
        self.one(&catalog::WORKERS, process.workers);
        self.begin(&catalog::PROCESS_CPU);
        if let Some(seconds) = process.cpu_seconds {
            self.level(&[], seconds);
        }
        self.begin(&catalog::PROCESS_RSS);
        if let Some(bytes) = process.rss_bytes {
            self.count(&[], bytes);
        }
    }
}
