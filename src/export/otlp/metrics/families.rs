//! What is measured: the catalog's series, but for histograms, from one snapshot.

use std::collections::HashMap;

use crate::catalog::{self, Series};
use crate::model::{
    CircuitPhase, EventKind, Fault, Handshake, Missed, Objective, PreambleFailure, ProbeFailure,
    ProbePhase, Timestamp,
};
use crate::slo::alert::AlertState;
use crate::slo::policy::Tier;
use crate::snapshot::{NameGauges, Snapshot};
use crate::triage::blind::BlindKind;

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
    all.breakers(snapshot);
    all.slos(snapshot);
    all.probes(snapshot);
    all.certificates(snapshot);
    all.issuances(snapshot);
    all.names(snapshot);
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
        self.begin(&catalog::ENDPOINT_HEALTH_CHANGES);
        for upstream in &snapshot.upstreams {
            for endpoint in &upstream.endpoints {
                let (name, address) = (upstream.name.as_str(), endpoint.address.as_str());
                self.count(&[name, address, "checks"], endpoint.changes_by_checks);
                self.count(&[name, address, "traffic"], endpoint.changes_by_traffic);
            }
        }
    }

    fn breakers(&mut self, snapshot: &Snapshot) {
        let all = || {
            let upstreams = snapshot.upstreams.iter();
            upstreams.filter_map(|it| Some((it.name.as_str(), it.breaker.as_ref()?)))
        };
        let judging =
            || all().filter_map(|(name, breaker)| Some((name, breaker, breaker.circuit?)));
        self.begin(&catalog::BREAKER_CIRCUIT);
        for (name, _, circuit) in judging() {
            for phase in CircuitPhase::ALL {
                let level = f64::from(u8::from(circuit == phase));
                self.level(&[name, phase.as_str()], level);
            }
        }
        self.begin(&catalog::BREAKER_OPENED);
        for (name, breaker, _) in judging() {
            self.count(&[name], breaker.opened);
        }
        self.begin(&catalog::BREAKER_REFUSED);
        for (name, breaker) in all() {
            for (reason, count) in &breaker.refused {
                self.count(&[name, reason], *count);
            }
        }
        self.begin(&catalog::BREAKER_IN_FLIGHT);
        for (name, breaker) in all() {
            self.level(&[name], breaker.in_flight as f64);
        }
        self.begin(&catalog::BREAKER_PENDING);
        for (name, breaker) in all() {
            self.level(&[name], breaker.pending as f64);
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
            let (percent, window) = (objective.trim_end_matches('%'), slo.span());
            self.count(
                &[
                    &slo.id,
                    &slo.route,
                    &slo.scope,
                    &slo.sli,
                    percent,
                    &window,
                    &slo.policy,
                ],
                1,
            );
        }
        self.begin(&catalog::TIME_TO_EMPTY);
        for slo in &snapshot.slos {
            if let Some(left) = slo.time_to_empty_of_counted_s() {
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
            if alert.state != AlertState::Inactive && !alert.kind.has_own_series() {
                let (severity, tier, state) = (
                    alert.severity.as_str(),
                    alert.tier.map_or("", Tier::as_str),
                    alert.state.as_str(),
                );
                let kind = alert.kind.as_str();
                self.count(&[&alert.slo, &alert.route, severity, tier, state, kind], 1);
            }
        }
    }

    fn probes(&mut self, snapshot: &Snapshot) {
        let totals = &snapshot.totals.probes;
        self.begin(&catalog::PROBE_SLOTS);
        for (probe, totals) in totals {
            self.count(&[probe, "ok"], totals.ok);
            self.count(&[probe, "fail"], totals.failures.iter().sum());
            self.count(&[probe, "missed"], totals.missed.iter().sum());
        }
        self.begin(&catalog::PROBE_FAILURES);
        for (probe, totals) in totals {
            for (failure, count) in ProbeFailure::ALL.iter().zip(totals.failures) {
                self.count_some(&[probe, failure.as_str()], count);
            }
        }
        self.begin(&catalog::PROBE_MISSED);
        for (probe, totals) in totals {
            for (why, count) in Missed::ALL.iter().zip(totals.missed) {
                self.count_some(&[probe, why.as_str()], count);
            }
        }
        self.begin(&catalog::PROBE_PHASE);
        for (probe, totals) in totals {
            for (phase, us) in ProbePhase::ALL.iter().zip(totals.phases) {
                if let Some(us) = us {
                    self.level(&[probe, phase.as_str()], us as f64 / 1e6);
                }
            }
        }
        self.begin(&catalog::PROBE_LAG);
        for (probe, totals) in totals {
            self.level(&[probe], totals.lag_us as f64 / 1e6);
        }
        self.begin(&catalog::PROBE_SUCCESS);
        for probe in &snapshot.probes {
            if let Some(last) = &probe.last {
                self.count(&[&probe.name], u64::from(last.outcome == "ok"));
            }
        }
        self.begin(&catalog::PROBE_COVERAGE);
        for probe in &snapshot.probes {
            if let Some(coverage) = probe.coverage_ratio {
                self.level(&[&probe.name], coverage);
            }
        }
        self.begin(&catalog::PROBE_VANTAGE);
        for probe in &snapshot.probes {
            for view in &probe.views {
                let labels = [&*probe.name, view.vantage.as_str(), &view.at];
                self.count(&labels, u64::from(view.reason.is_none()));
            }
        }
        self.begin(&catalog::PROBE_PLACED);
        for probe in &snapshot.probes {
            if let Some(placing) = &probe.placing {
                self.count(&[&probe.name, placing.place.as_str()], 1);
            }
        }
        self.begin(&catalog::PROBE_HURRIED);
        for (probe, totals) in totals {
            self.count(&[probe], totals.hurried);
        }
        self.begin(&catalog::BLIND_SPOTS);
        for kind in BlindKind::ALL {
            let of_it = snapshot.blind_spots.iter().filter(|it| it.kind == kind);
            self.count(&[kind.as_str()], of_it.count() as u64);
        }
        self.one(&catalog::PROBE_RUNS, snapshot.totals.probe_runs);
        self.one(&catalog::PROBE_REQUESTS, snapshot.totals.probe_requests);
    }

    fn names(&mut self, snapshot: &Snapshot) {
        let all: Vec<(&str, NameGauges)> = snapshot
            .names
            .iter()
            .map(|it| (it.name.as_str(), it.gauges()))
            .collect();
        self.begin(&catalog::NAME_TTL);
        for (name, gauges) in &all {
            for (source, by) in gauges.by_source() {
                if let Some(ttl) = by.ttl_s {
                    self.count(&[name, source], ttl.into());
                }
            }
        }
        self.begin(&catalog::NAME_ADDRESSES);
        for (name, gauges) in &all {
            for (source, by) in gauges.by_source() {
                self.count(&[name, source, "ipv4"], by.ipv4);
                self.count(&[name, source, "ipv6"], by.ipv6);
            }
        }
        self.begin(&catalog::NAME_SERVERS);
        for (name, gauges) in &all {
            for (source, by) in gauges.by_source() {
                self.count(&[name, source, "answered"], by.answered);
                self.count(&[name, source, "stale"], by.stale);
                self.count(&[name, source, "failed"], by.failed);
            }
        }
        self.begin(&catalog::NAME_LOOKUP);
        for (name, gauges) in &all {
            for (source, by) in gauges.by_source() {
                if let Some(us) = by.slowest_us {
                    self.level(&[name, source], us as f64 / 1e6);
                }
            }
        }
        self.begin(&catalog::NAME_STALE);
        for (name, gauges) in &all {
            for (by, secs) in gauges.stale() {
                self.count(&[name, by], secs);
            }
        }
        self.begin(&catalog::NAME_LATE);
        for (name, gauges) in &all {
            self.count(&[name], gauges.late_connections);
        }
        self.begin(&catalog::NAME_SERIAL);
        for (name, gauges) in &all {
            if let Some((newest, _)) = gauges.serial {
                self.count(&[name], newest.into());
            }
        }
        self.begin(&catalog::NAME_SERIAL_BEHIND);
        for (name, gauges) in &all {
            if let Some((_, behind)) = gauges.serial {
                self.count(&[name], behind.into());
            }
        }
    }

    fn certificates(&mut self, snapshot: &Snapshot) {
        let seen = || {
            snapshot.certificates.iter().filter_map(|view| {
                let labels = [&*view.source, &*view.name, &*view.place];
                Some((labels, view, view.certificate.as_ref()?))
            })
        };
        self.begin(&catalog::CERT_NOT_AFTER);
        for (labels, _, facts) in seen() {
            self.count(&labels, facts.not_after.as_secs());
        }
        self.begin(&catalog::CERT_NOT_BEFORE);
        for (labels, _, facts) in seen() {
            self.count(&labels, facts.not_before.as_secs());
        }
        self.begin(&catalog::CERT_LEFT);
        for (labels, view, _) in seen() {
            if let Some(left) = view.left_ratio {
                self.level(&labels, left);
            }
        }
        self.begin(&catalog::CERT_NAME_MATCH);
        for (labels, view, _) in seen() {
            if let Some(matches) = view.name_matches {
                self.count(&labels, u64::from(matches));
            }
        }
        let kept = || {
            let kept = snapshot.certificates.iter();
            let kept = kept.filter(|view| matches!(&*view.source, "file" | "issued"));
            kept.filter_map(|view| Some(([&*view.name], view.revocation.as_ref()?)))
        };
        self.begin(&catalog::CERT_REVOKED);
        for (labels, known) in kept() {
            if let Some(is_revoked) = known.is_revoked() {
                self.count(&labels, u64::from(is_revoked));
            }
        }
        self.begin(&catalog::CERT_LIST_ENDS);
        for (labels, known) in kept() {
            if let Some(next) = known.next_update() {
                self.count(&labels, next.as_secs());
            }
        }
        self.begin(&catalog::CERT_ALERTS);
        for alert in &snapshot.certificate_alerts {
            let urgency = alert.urgency.as_str();
            self.count(&[&alert.name, &alert.source, &alert.kind, urgency], 1);
        }
    }

    fn issuances(&mut self, snapshot: &Snapshot) {
        let all = &snapshot.issuances;
        self.begin(&catalog::ACME_ORDERS);
        for it in all {
            self.count(&[&it.name, "issued"], it.issued);
            self.count(&[&it.name, "failed"], it.failed);
        }
        self.begin(&catalog::ACME_FAILURES);
        for it in all {
            self.count(&[&it.name], it.failures);
        }
        self.begin(&catalog::ACME_RENEWAL_DUE);
        for it in all {
            if let Some(due) = it.due_at {
                self.count(&[&it.name], due.as_secs());
            }
        }
        self.begin(&catalog::ACME_BUDGET);
        for it in all {
            self.count(&[&it.name], it.budget_left);
        }
        self.begin(&catalog::ACME_PHASE);
        for it in all {
            for (phase, secs) in &it.phases {
                self.level(&[&it.name, phase], *secs);
            }
        }
        self.begin(&catalog::ACME_PREFLIGHT);
        for it in all.iter().filter(|it| !it.preflights.is_empty()) {
            let (ok, failed) = it.flown();
            self.count(&[&it.name, "ok"], ok);
            self.count(&[&it.name, "failed"], failed);
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
        self.begin(&catalog::HANDSHAKE_FAILURES);
        let ends = Handshake::ALL.iter().zip(totals.handshakes_by_end);
        for (how, count) in ends.skip(1) {
            self.count(&[how.as_str()], count);
        }
        self.begin(&catalog::PREAMBLE_FAILURES);
        for (reason, count) in PreambleFailure::ALL.iter().zip(totals.preamble_failures) {
            self.count(&[reason.as_str()], count);
        }
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
        self.begin(&catalog::NOTIFICATIONS);
        for receiver in &snapshot.receivers {
            self.count(&[&receiver.name, "delivered"], receiver.delivered);
            self.count(&[&receiver.name, "failed"], receiver.failed);
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
        self.begin(&catalog::OTLP_QUEUE);
        for exporter in &snapshot.exporters {
            self.count(&[&exporter.signal], exporter.queued_bytes);
        }
        self.begin(&catalog::OTLP_LAST_SUCCESS);
        for exporter in &snapshot.exporters {
            if let Some(at) = exporter.last_success {
                self.level(&[&exporter.signal], at.as_millis() as f64 / 1e3);
            }
        }
        self.begin(&catalog::BUILD_INFO);
        self.count(&[&snapshot.version], 1);
        self.begin(&catalog::CONFIG_APPLY);
        self.level(&[], snapshot.config.apply_ms as f64 / 1e3);
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
        self.begin(&catalog::PROCESS_FDS);
        if let Some(open) = process.open_fds {
            self.count(&[], open);
        }
        self.begin(&catalog::PROCESS_MAX_FDS);
        if let Some(most) = process.max_fds {
            self.count(&[], most);
        }
        self.begin(&catalog::PROCESS_START);
        self.level(&[], snapshot.started_at.as_millis() as f64 / 1e3);
    }
}
