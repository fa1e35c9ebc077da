//! What is on the page: every series of the catalog, from one snapshot.
//!
//! Every counter is there from the first scrape after its route was configured, at zero if need be: one born with its
//! first errors would hide them from `rate`. What is not known is absent rather than NaN.

use std::collections::HashMap;

use super::page::{Histogram, Number, Page};
use crate::catalog;
use crate::export::otlp::Measured;
use crate::model::{
    CircuitPhase, EventKind, Exponential, Fault, Handshake, Missed, Objective, PreambleFailure,
    ProbeFailure, ProbePhase,
};
use crate::slo::alert::AlertState;
use crate::slo::policy::Tier;
use crate::snapshot::{NameGauges, RouteTotals, Snapshot};
use crate::triage::blind::BlindKind;

/// Writes all of them.
pub(super) fn write(page: &mut impl Page, measured: &Measured) {
    let snapshot = &*measured.snapshot;
    page.begin(&catalog::BUILD_INFO);
    page.sample(&[&snapshot.version], 1_u64);
    requests(page, snapshot);
    durations(page, measured);
    endpoints(page, snapshot);
    breakers(page, snapshot);
    slos(page, snapshot);
    alerts(page, snapshot);
    probes(page, snapshot);
    names(page, snapshot);
    certificates(page, snapshot);
    issuances(page, snapshot);
    edge(page, snapshot);
    exporters(page, snapshot);
    own(page, snapshot);
}

fn requests(page: &mut impl Page, snapshot: &Snapshot) {
    page.begin(&catalog::ROUTE_INFO);
    for route in &snapshot.routes {
        let upstream = route.upstream.as_deref().unwrap_or_default();
        let owner = route.owner.as_deref().unwrap_or_default();
        page.sample(&[&route.id, upstream, owner], 1_u64);
    }
    page.begin(&catalog::REQUESTS);
    for route in &snapshot.routes {
        for (outcome, count) in [
            ("good", route.good),
            ("bad", route.bad),
            ("excluded", route.excluded),
        ] {
            page.sample(&[&route.id, outcome], count);
        }
    }
    let routes = &snapshot.totals.routes;
    page.begin(&catalog::FAULTS);
    for (route, totals) in routes {
        for (fault, count) in Fault::ALL.iter().zip(totals.faults) {
            page.sample(&[route, fault.side().as_str(), fault.as_str()], count);
        }
    }
    page.begin(&catalog::RESPONSES);
    for (route, totals) in routes {
        for (class, count) in ["none", "1xx", "2xx", "3xx", "4xx", "5xx"]
            .iter()
            .zip(totals.classes)
        {
            page.sample(&[route, class], count);
        }
    }
    for (series, value) in [
        (
            &catalog::REQUEST_BYTES,
            (|totals| totals.bytes_in) as fn(&RouteTotals) -> u64,
        ),
        (&catalog::RESPONSE_BYTES, |totals| totals.bytes_out),
        (&catalog::RETRIES, |totals| totals.retries),
    ] {
        page.begin(series);
        for (route, totals) in routes {
            page.sample(&[route], value(totals));
        }
    }
}

fn durations(page: &mut impl Page, measured: &Measured) {
    let exponential: HashMap<&str, &Exponential> = measured
        .durations
        .iter()
        .map(|(route, durations)| (route.as_str(), durations))
        .collect();
    page.begin(&catalog::DURATION);
    for (route, totals) in &measured.snapshot.totals.routes {
        let histogram = Histogram {
            durations: &totals.durations,
            sum_us: totals.duration_us,
            exponential: exponential.get(route.as_str()).copied(),
            exemplars: &totals.exemplars,
        };
        page.histogram(&[route], &histogram);
    }
}

fn endpoints(page: &mut impl Page, snapshot: &Snapshot) {
    page.begin(&catalog::ENDPOINT_REQUESTS);
    for (upstream, endpoint, tally) in &snapshot.totals.endpoints {
        page.sample(&[upstream, endpoint, "good"], tally.good);
        page.sample(&[upstream, endpoint, "bad"], tally.bad);
    }
    page.begin(&catalog::ENDPOINT_CONNECT_FAILURES);
    for (upstream, endpoint, tally) in &snapshot.totals.endpoints {
        page.sample(&[upstream, endpoint], tally.connect_failures);
    }
    page.begin(&catalog::ENDPOINT_RETRIED);
    for (upstream, endpoint, tally) in &snapshot.totals.endpoints {
        page.sample(&[upstream, endpoint], tally.retried);
    }
    page.begin(&catalog::ENDPOINT_HEALTHY);
    for upstream in &snapshot.upstreams {
        for endpoint in &upstream.endpoints {
            let labels = [upstream.name.as_str(), endpoint.address.as_str()];
            page.sample(&labels, u64::from(endpoint.healthy));
        }
    }
    page.begin(&catalog::ENDPOINT_HEALTH_CHANGES);
    for upstream in &snapshot.upstreams {
        for endpoint in &upstream.endpoints {
            let (name, address) = (upstream.name.as_str(), endpoint.address.as_str());
            page.sample(&[name, address, "checks"], endpoint.changes_by_checks);
            page.sample(&[name, address, "traffic"], endpoint.changes_by_traffic);
        }
    }
}

fn breakers(page: &mut impl Page, snapshot: &Snapshot) {
    let all = || {
        let upstreams = snapshot.upstreams.iter();
        upstreams.filter_map(|it| Some((it.name.as_str(), it.breaker.as_ref()?)))
    };
    let judging = || all().filter_map(|(name, breaker)| Some((name, breaker, breaker.circuit?)));
    page.begin(&catalog::BREAKER_CIRCUIT);
    for (name, _, circuit) in judging() {
        for phase in CircuitPhase::ALL {
            page.sample(&[name, phase.as_str()], u64::from(circuit == phase));
        }
    }
    page.begin(&catalog::BREAKER_OPENED);
    for (name, breaker, _) in judging() {
        page.sample(&[name], breaker.opened);
    }
    page.begin(&catalog::BREAKER_REFUSED);
    for (name, breaker) in all() {
        for (reason, count) in &breaker.refused {
            page.sample(&[name, reason], *count);
        }
    }
    page.begin(&catalog::BREAKER_IN_FLIGHT);
    for (name, breaker) in all() {
        page.sample(&[name], breaker.in_flight);
    }
    page.begin(&catalog::BREAKER_PENDING);
    for (name, breaker) in all() {
        page.sample(&[name], breaker.pending);
    }
}

fn slos(page: &mut impl Page, snapshot: &Snapshot) {
    let routes: HashMap<&str, &str> = snapshot
        .slos
        .iter()
        .map(|slo| (slo.id.as_str(), slo.route.as_str()))
        .collect();
    page.begin(&catalog::SLO_EVENTS);
    for (slo, tally) in &snapshot.totals.slos {
        let route = routes.get(slo.as_str()).copied().unwrap_or_default();
        page.sample(&[slo, route, "good"], tally.good);
        page.sample(&[slo, route, "bad"], tally.bad);
    }
    page.begin(&catalog::SLO_INFO);
    for slo in &snapshot.slos {
        let objective = Objective::try_from_ppm(slo.objective_ppm);
        let objective = objective.map_or_else(|_| String::new(), |objective| objective.to_string());
        let labels = [
            slo.id.as_str(),
            &slo.route,
            &slo.scope,
            &slo.sli,
            objective.trim_end_matches('%'),
            &slo.span(),
            &slo.policy,
        ];
        page.sample(&labels, 1);
    }
    page.begin(&catalog::SLO_OBJECTIVE);
    for slo in &snapshot.slos {
        let objective = Number::Millionths(u64::from(slo.objective_ppm));
        page.sample(&[&slo.id, &slo.route], objective);
    }
    page.begin(&catalog::SLO_REMAINING);
    for slo in &snapshot.slos {
        if let Some(remaining) = slo.remaining_ratio {
            page.sample(&[&slo.id, &slo.route], remaining);
        }
    }
    page.begin(&catalog::TIME_TO_EMPTY);
    for slo in &snapshot.slos {
        if let Some(left) = slo.time_to_empty_of_counted_s() {
            page.sample(&[&slo.id, &slo.route], left);
        }
    }
    page.begin(&catalog::SLO_BURN);
    for slo in &snapshot.slos {
        for (window, burn) in &slo.burn {
            if let Some(burn) = burn {
                page.sample(&[&slo.id, &slo.route, &window.to_string()], *burn);
            }
        }
    }
}

fn alerts(page: &mut impl Page, snapshot: &Snapshot) {
    page.begin(&catalog::ALERTS);
    for alert in snapshot
        .alerts
        .iter()
        .filter(|alert| alert.state != AlertState::Inactive && !alert.kind.has_own_series())
    {
        let labels = [
            &*alert.slo,
            &*alert.route,
            alert.severity.as_str(),
            alert.tier.map_or("", Tier::as_str),
            alert.state.as_str(),
            alert.kind.as_str(),
        ];
        page.sample(&labels, 1);
    }
}

fn probes(page: &mut impl Page, snapshot: &Snapshot) {
    let totals = &snapshot.totals.probes;
    page.begin(&catalog::PROBE_SLOTS);
    for (probe, totals) in totals {
        let sum = |counts: &[u64]| counts.iter().sum::<u64>();
        for (outcome, count) in [
            ("ok", totals.ok),
            ("fail", sum(&totals.failures)),
            ("missed", sum(&totals.missed)),
        ] {
            page.sample(&[probe, outcome], count);
        }
    }
    page.begin(&catalog::PROBE_FAILURES);
    for (probe, totals) in totals {
        let seen = ProbeFailure::ALL.iter().zip(totals.failures);
        for (failure, count) in seen.filter(|(_, count)| *count > 0) {
            page.sample(&[probe, failure.as_str()], count);
        }
    }
    page.begin(&catalog::PROBE_MISSED);
    for (probe, totals) in totals {
        for (why, count) in Missed::ALL.iter().zip(totals.missed) {
            page.sample(&[probe, why.as_str()], count);
        }
    }
    page.begin(&catalog::PROBE_DURATION);
    for (probe, totals) in totals {
        let histogram = Histogram {
            durations: &totals.durations,
            sum_us: totals.duration_us,
            exponential: None,
            exemplars: &[],
        };
        page.histogram(&[probe], &histogram);
    }
    page.begin(&catalog::PROBE_PHASE);
    for (probe, totals) in totals {
        for (phase, us) in ProbePhase::ALL.iter().zip(totals.phases) {
            if let Some(us) = us {
                page.sample(&[probe, phase.as_str()], Number::Millionths(us));
            }
        }
    }
    page.begin(&catalog::PROBE_SUCCESS);
    for probe in &snapshot.probes {
        if let Some(last) = &probe.last {
            let success = u64::from(last.outcome == "ok");
            page.sample(&[&probe.name], success);
        }
    }
    page.begin(&catalog::PROBE_COVERAGE);
    for probe in &snapshot.probes {
        if let Some(coverage) = probe.coverage_ratio {
            page.sample(&[&probe.name], coverage);
        }
    }
    page.begin(&catalog::PROBE_LAG);
    for (probe, totals) in totals {
        page.sample(&[probe], Number::Millionths(totals.lag_us));
    }
    page.begin(&catalog::PROBE_VANTAGE);
    for probe in &snapshot.probes {
        for view in &probe.views {
            let success = u64::from(view.reason.is_none());
            page.sample(&[&*probe.name, view.vantage.as_str(), &view.at], success);
        }
    }
    page.begin(&catalog::PROBE_PLACED);
    for probe in &snapshot.probes {
        if let Some(placing) = &probe.placing {
            page.sample(&[&*probe.name, placing.place.as_str()], 1_u64);
        }
    }
    page.begin(&catalog::PROBE_HURRIED);
    for (probe, totals) in totals {
        page.sample(&[probe], totals.hurried);
    }
    page.begin(&catalog::BLIND_SPOTS);
    for kind in BlindKind::ALL {
        let of_it = snapshot.blind_spots.iter().filter(|it| it.kind == kind);
        page.sample(&[kind.as_str()], of_it.count() as u64);
    }
    page.one(&catalog::PROBE_RUNS, snapshot.totals.probe_runs);
    page.one(&catalog::PROBE_REQUESTS, snapshot.totals.probe_requests);
}

/// What is known of the names that traffic depends on.
fn names(page: &mut impl Page, snapshot: &Snapshot) {
    let all: Vec<(&str, NameGauges)> = snapshot
        .names
        .iter()
        .map(|it| (it.name.as_str(), it.gauges()))
        .collect();
    page.begin(&catalog::NAME_TTL);
    for (name, gauges) in &all {
        for (source, by) in gauges.by_source() {
            if let Some(ttl) = by.ttl_s {
                page.sample(&[name, source], u64::from(ttl));
            }
        }
    }
    page.begin(&catalog::NAME_ADDRESSES);
    for (name, gauges) in &all {
        for (source, by) in gauges.by_source() {
            page.sample(&[name, source, "ipv4"], by.ipv4);
            page.sample(&[name, source, "ipv6"], by.ipv6);
        }
    }
    page.begin(&catalog::NAME_SERVERS);
    for (name, gauges) in &all {
        for (source, by) in gauges.by_source() {
            for (result, count) in [
                ("answered", by.answered),
                ("stale", by.stale),
                ("failed", by.failed),
            ] {
                page.sample(&[name, source, result], count);
            }
        }
    }
    page.begin(&catalog::NAME_LOOKUP);
    for (name, gauges) in &all {
        for (source, by) in gauges.by_source() {
            if let Some(us) = by.slowest_us {
                page.sample(&[name, source], Number::Millionths(us));
            }
        }
    }
    page.begin(&catalog::NAME_STALE);
    for (name, gauges) in &all {
        for (by, secs) in gauges.stale() {
            page.sample(&[name, by], secs);
        }
    }
    page.begin(&catalog::NAME_LATE);
    for (name, gauges) in &all {
        page.sample(&[name], gauges.late_connections);
    }
    page.begin(&catalog::NAME_SERIAL);
    for (name, gauges) in &all {
        if let Some((newest, _)) = gauges.serial {
            page.sample(&[name], u64::from(newest));
        }
    }
    page.begin(&catalog::NAME_SERIAL_BEHIND);
    for (name, gauges) in &all {
        if let Some((_, behind)) = gauges.serial {
            page.sample(&[name], u64::from(behind));
        }
    }
}

fn certificates(page: &mut impl Page, snapshot: &Snapshot) {
    let seen = || {
        snapshot.certificates.iter().filter_map(|view| {
            let labels = [&*view.source, &*view.name, &*view.place];
            Some((labels, view, view.certificate.as_ref()?))
        })
    };
    page.begin(&catalog::CERT_NOT_AFTER);
    for (labels, _, facts) in seen() {
        page.sample(&labels, facts.not_after.as_secs());
    }
    page.begin(&catalog::CERT_NOT_BEFORE);
    for (labels, _, facts) in seen() {
        page.sample(&labels, facts.not_before.as_secs());
    }
    page.begin(&catalog::CERT_LEFT);
    for (labels, view, _) in seen() {
        if let Some(left) = view.left_ratio {
            page.sample(&labels, left);
        }
    }
    page.begin(&catalog::CERT_NAME_MATCH);
    for (labels, view, _) in seen() {
        if let Some(matches) = view.name_matches {
            page.sample(&labels, u64::from(matches));
        }
    }
    let kept = || {
        let kept = snapshot.certificates.iter();
        let kept = kept.filter(|view| matches!(&*view.source, "file" | "issued"));
        kept.filter_map(|view| Some(([&*view.name], view.revocation.as_ref()?)))
    };
    page.begin(&catalog::CERT_REVOKED);
    for (labels, known) in kept() {
        if let Some(is_revoked) = known.is_revoked() {
            page.sample(&labels, u64::from(is_revoked));
        }
    }
    page.begin(&catalog::CERT_LIST_ENDS);
    for (labels, known) in kept() {
        if let Some(next) = known.next_update() {
            page.sample(&labels, next.as_secs());
        }
    }
    page.begin(&catalog::CERT_ALERTS);
    for alert in &snapshot.certificate_alerts {
        let labels = [
            &*alert.name,
            &*alert.source,
            &*alert.kind,
            alert.urgency.as_str(),
        ];
        page.sample(&labels, 1);
    }
}

fn issuances(page: &mut impl Page, snapshot: &Snapshot) {
    let all = &snapshot.issuances;
    page.begin(&catalog::ACME_ORDERS);
    for it in all {
        page.sample(&[&*it.name, "issued"], it.issued);
        page.sample(&[&*it.name, "failed"], it.failed);
    }
    page.begin(&catalog::ACME_FAILURES);
    for it in all {
        page.sample(&[&*it.name], it.failures);
    }
    page.begin(&catalog::ACME_RENEWAL_DUE);
    for it in all {
        if let Some(due) = it.due_at {
            page.sample(&[&*it.name], due.as_secs());
        }
    }
    page.begin(&catalog::ACME_BUDGET);
    for it in all {
        page.sample(&[&*it.name], it.budget_left);
    }
    page.begin(&catalog::ACME_PHASE);
    for it in all {
        for (phase, secs) in &it.phases {
            page.sample(&[&*it.name, phase], *secs);
        }
    }
    page.begin(&catalog::ACME_PREFLIGHT);
    for it in all.iter().filter(|it| !it.preflights.is_empty()) {
        let (ok, failed) = it.flown();
        page.sample(&[&*it.name, "ok"], ok);
        page.sample(&[&*it.name, "failed"], failed);
    }
}

fn edge(page: &mut impl Page, snapshot: &Snapshot) {
    let totals = &snapshot.totals;
    page.begin(&catalog::EVENTS);
    for (kind, count) in EventKind::ALL.iter().zip(totals.events) {
        page.sample(&[kind.as_str()], count);
    }
    page.one(&catalog::IN_FLIGHT, snapshot.edge.in_flight);
    page.one(&catalog::CONNECTIONS, snapshot.edge.connections);
    page.one(&catalog::TUNNELS, totals.tunnels);
    page.begin(&catalog::HANDSHAKES);
    page.sample(&["ok"], totals.handshakes);
    page.sample(&["failed"], totals.handshakes_failed);
    page.begin(&catalog::HANDSHAKE_FAILURES);
    for (how, count) in Handshake::ALL.iter().zip(totals.handshakes_by_end).skip(1) {
        page.sample(&[how.as_str()], count);
    }
    page.begin(&catalog::PREAMBLE_FAILURES);
    for (reason, count) in PreambleFailure::ALL.iter().zip(totals.preamble_failures) {
        page.sample(&[reason.as_str()], count);
    }
    page.begin(&catalog::ENCODED);
    page.sample(&["refused"], totals.encoded_refused);
    page.sample(&["reported"], totals.encoded_reported);
    page.begin(&catalog::RATE_LIMITED);
    for limit in &totals.rate_limits {
        page.sample(&[&limit.name], limit.refused);
    }
    page.begin(&catalog::RATE_LIMIT_EVICTIONS);
    for limit in &totals.rate_limits {
        page.sample(&[&limit.name], limit.evicted);
    }
    page.one(&catalog::RETRIES_REFUSED, totals.retries_refused);
    page.one(&catalog::ACCEPT_FAILURES, totals.accept_failures);
    page.begin(&catalog::DROPPED);
    for queue in &snapshot.queues {
        page.sample(&[&queue.queue], queue.dropped);
    }
    page.begin(&catalog::NOTIFICATIONS);
    for receiver in &snapshot.receivers {
        for (result, count) in [
            ("delivered", receiver.delivered),
            ("failed", receiver.failed),
        ] {
            page.sample(&[&receiver.name, result], count);
        }
    }
    page.begin(&catalog::DEGRADED);
    for part in catalog::PARTS {
        let degraded = snapshot
            .degraded
            .iter()
            .any(|degradation| degradation.part == part);
        page.sample(&[part], u64::from(degraded));
    }
}

fn exporters(page: &mut impl Page, snapshot: &Snapshot) {
    let exporters = &snapshot.exporters;
    page.begin(&catalog::OTLP_SENT);
    for exporter in exporters {
        page.sample(&[&exporter.signal], exporter.sent);
    }
    page.begin(&catalog::OTLP_DROPPED);
    for exporter in exporters {
        for (reason, count) in &exporter.dropped {
            page.sample(&[&exporter.signal, reason], *count);
        }
    }
    page.begin(&catalog::OTLP_QUEUE);
    for exporter in exporters {
        page.sample(&[&exporter.signal], exporter.queued_bytes);
    }
    page.begin(&catalog::OTLP_LAST_SUCCESS);
    for exporter in exporters {
        if let Some(at) = exporter.last_success {
            let seconds = at.as_millis() as f64 / 1_000.0;
            page.sample(&[&exporter.signal], seconds);
        }
    }
}

fn own(page: &mut impl Page, snapshot: &Snapshot) {
    page.begin(&catalog::CONFIG_INFO);
    page.sample(&[&snapshot.config.hash], 1_u64);
    page.one(&catalog::CONFIG_GENERATION, snapshot.config.generation);
    page.one(
        &catalog::CONFIG_APPLY,
        snapshot.config.apply_ms as f64 / 1_000.0,
    );
    page.one(
        &catalog::CONFIG_REFUSED,
        u64::from(snapshot.config.refused.is_some()),
    );
    page.one(&catalog::STORE_SIZE, snapshot.store.size_bytes);
    page.one(&catalog::STORE_BACKLOG, snapshot.store.backlog);
    let process = &snapshot.process;
    page.one(&catalog::WORKERS, process.workers);
    page.maybe(&catalog::PROCESS_CPU, process.cpu_seconds);
    page.maybe(&catalog::PROCESS_RSS, process.rss_bytes);
    page.maybe(&catalog::PROCESS_FDS, process.open_fds);
    page.maybe(&catalog::PROCESS_MAX_FDS, process.max_fds);
    page.one(
        &catalog::PROCESS_START,
        snapshot.started_at.as_millis() as f64 / 1_000.0,
    );
}
