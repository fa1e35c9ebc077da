//! The Prometheus text exposition format, version 0.0.4.
//!
//! Every counter is there from the first scrape after its route was configured, at zero if need be: one born with its
//! first errors would hide them from `rate`. What is not known is absent rather than NaN.

use std::fmt::Write as _;

use crate::catalog::{self, Series};
use crate::model::{
    DURATION_BOUNDS_US, EventKind, Fault, Missed, Objective, ProbeFailure, ProbePhase,
};
use crate::slo::alert::AlertState;
use crate::snapshot::{RouteTotals, Snapshot};

/// The content type of [`text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics page.
pub fn text(snapshot: &Snapshot) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    page.one(&catalog::BUILD_INFO, &[&snapshot.version], 1);
    requests(&mut page, snapshot);
    endpoints(&mut page, snapshot);
    slos(&mut page, snapshot);
    alerts(&mut page, snapshot);
    probes(&mut page, snapshot);
    certificates(&mut page, snapshot);
    edge(&mut page, snapshot);
    exporters(&mut page, snapshot);
    own(&mut page, snapshot);
    page.0
}

fn requests(page: &mut Page, snapshot: &Snapshot) {
    page.head(&catalog::ROUTE_INFO);
    for route in &snapshot.routes {
        let upstream = route.upstream.as_deref().unwrap_or_default();
        let owner = route.owner.as_deref().unwrap_or_default();
        page.sample(&catalog::ROUTE_INFO, &[&route.id, upstream, owner], 1);
    }
    page.head(&catalog::REQUESTS);
    for route in &snapshot.routes {
        for (outcome, count) in [
            ("good", route.good),
            ("bad", route.bad),
            ("excluded", route.excluded),
        ] {
            page.sample(&catalog::REQUESTS, &[&route.id, outcome], count);
        }
    }
    let routes = &snapshot.totals.routes;
    page.head(&catalog::FAULTS);
    for (route, totals) in routes {
        for (fault, count) in Fault::ALL.iter().zip(totals.faults) {
            page.sample(
                &catalog::FAULTS,
                &[route, fault.side().as_str(), fault.as_str()],
                count,
            );
        }
    }
    page.head(&catalog::RESPONSES);
    for (route, totals) in routes {
        for (class, count) in ["none", "1xx", "2xx", "3xx", "4xx", "5xx"]
            .iter()
            .zip(totals.classes)
        {
            page.sample(&catalog::RESPONSES, &[route, class], count);
        }
    }
    page.head(&catalog::DURATION);
    for (route, totals) in routes {
        page.durations(
            &catalog::DURATION,
            route,
            &totals.durations,
            totals.duration_us,
        );
    }
    for (series, value) in [
        (
            &catalog::REQUEST_BYTES,
            (|totals| totals.bytes_in) as fn(&RouteTotals) -> u64,
        ),
        (&catalog::RESPONSE_BYTES, |totals| totals.bytes_out),
        (&catalog::RETRIES, |totals| totals.retries),
    ] {
        page.head(series);
        for (route, totals) in routes {
            page.sample(series, &[route], value(totals));
        }
    }
}

fn endpoints(page: &mut Page, snapshot: &Snapshot) {
    page.head(&catalog::ENDPOINT_REQUESTS);
    for (upstream, endpoint, tally) in &snapshot.totals.endpoints {
        page.sample(
            &catalog::ENDPOINT_REQUESTS,
            &[upstream, endpoint, "good"],
            tally.good,
        );
        page.sample(
            &catalog::ENDPOINT_REQUESTS,
            &[upstream, endpoint, "bad"],
            tally.bad,
        );
    }
    page.head(&catalog::ENDPOINT_CONNECT_FAILURES);
    for (upstream, endpoint, tally) in &snapshot.totals.endpoints {
        page.sample(
            &catalog::ENDPOINT_CONNECT_FAILURES,
            &[upstream, endpoint],
            tally.connect_failures,
        );
    }
    page.head(&catalog::ENDPOINT_RETRIED);
    for (upstream, endpoint, tally) in &snapshot.totals.endpoints {
        let labels = [upstream.as_str(), endpoint.as_str()];
        page.sample(&catalog::ENDPOINT_RETRIED, &labels, tally.retried);
    }
    page.head(&catalog::ENDPOINT_HEALTHY);
    for upstream in &snapshot.upstreams {
        for endpoint in &upstream.endpoints {
            let labels = [upstream.name.as_str(), endpoint.address.as_str()];
            page.sample(
                &catalog::ENDPOINT_HEALTHY,
                &labels,
                u64::from(endpoint.healthy),
            );
        }
    }
}

fn slos(page: &mut Page, snapshot: &Snapshot) {
    let route_of = |id: &str| {
        snapshot
            .slos
            .iter()
            .find(|slo| slo.id == id)
            .map_or("", |slo| slo.route.as_str())
    };
    page.head(&catalog::SLO_EVENTS);
    for (slo, tally) in &snapshot.totals.slos {
        let route = route_of(slo);
        page.sample(&catalog::SLO_EVENTS, &[slo, route, "good"], tally.good);
        page.sample(&catalog::SLO_EVENTS, &[slo, route, "bad"], tally.bad);
    }
    page.head(&catalog::SLO_INFO);
    for slo in &snapshot.slos {
        let objective = Objective::try_from_ppm(slo.objective_ppm);
        let objective = objective.map_or_else(|_| String::new(), |objective| objective.to_string());
        let labels = [
            slo.id.as_str(),
            &slo.route,
            &slo.sli,
            objective.trim_end_matches('%'),
            &slo.window.to_string(),
            &slo.policy,
        ];
        page.sample(&catalog::SLO_INFO, &labels, 1);
    }
    page.head(&catalog::SLO_OBJECTIVE);
    for slo in &snapshot.slos {
        // Written from the integer, so that 99.9 % is 0.999 and not the nearest binary fraction spelled out.
        let objective = format!("0.{:06}", slo.objective_ppm);
        page.sample(
            &catalog::SLO_OBJECTIVE,
            &[&slo.id, &slo.route],
            objective.trim_end_matches('0'),
        );
    }
    page.head(&catalog::SLO_REMAINING);
    for slo in &snapshot.slos {
        if let Some(remaining) = slo.remaining_ratio {
            page.sample(&catalog::SLO_REMAINING, &[&slo.id, &slo.route], remaining);
        }
    }
    page.head(&catalog::TIME_TO_EMPTY);
    for slo in &snapshot.slos {
        if let Some(left) = slo.time_to_empty_s {
            page.sample(&catalog::TIME_TO_EMPTY, &[&slo.id, &slo.route], left);
        }
    }
    page.head(&catalog::SLO_BURN);
    for slo in &snapshot.slos {
        for (window, burn) in &slo.burn {
            if let Some(burn) = burn {
                page.sample(
                    &catalog::SLO_BURN,
                    &[&slo.id, &slo.route, &window.to_string()],
                    burn,
                );
            }
        }
    }
}

fn alerts(page: &mut Page, snapshot: &Snapshot) {
    page.head(&catalog::ALERTS);
    for alert in snapshot
        .alerts
        .iter()
        .filter(|alert| alert.state != AlertState::Inactive)
    {
        let labels = [
            &*alert.slo,
            &*alert.route,
            alert.severity.as_str(),
            alert.tier.as_str(),
            alert.state.as_str(),
        ];
        page.sample(&catalog::ALERTS, &labels, 1);
    }
}

fn probes(page: &mut Page, snapshot: &Snapshot) {
    let totals = &snapshot.totals.probes;
    page.head(&catalog::PROBE_SLOTS);
    for (probe, totals) in totals {
        let sum = |counts: &[u64]| counts.iter().sum::<u64>();
        for (outcome, count) in [
            ("ok", totals.ok),
            ("fail", sum(&totals.failures)),
            ("missed", sum(&totals.missed)),
        ] {
            page.sample(&catalog::PROBE_SLOTS, &[probe, outcome], count);
        }
    }
    page.head(&catalog::PROBE_FAILURES);
    for (probe, totals) in totals {
        let seen = ProbeFailure::ALL.iter().zip(totals.failures);
        for (failure, count) in seen.filter(|(_, count)| *count > 0) {
            page.sample(&catalog::PROBE_FAILURES, &[probe, failure.as_str()], count);
        }
    }
    page.head(&catalog::PROBE_MISSED);
    for (probe, totals) in totals {
        for (why, count) in Missed::ALL.iter().zip(totals.missed) {
            page.sample(&catalog::PROBE_MISSED, &[probe, why.as_str()], count);
        }
    }
    page.head(&catalog::PROBE_DURATION);
    for (probe, totals) in totals {
        page.durations(
            &catalog::PROBE_DURATION,
            probe,
            &totals.durations,
            totals.duration_us,
        );
    }
    page.head(&catalog::PROBE_PHASE);
    for (probe, totals) in totals {
        for (phase, us) in ProbePhase::ALL.iter().zip(totals.phases) {
            if let Some(us) = us {
                page.sample(&catalog::PROBE_PHASE, &[probe, phase.as_str()], seconds(us));
            }
        }
    }
    page.head(&catalog::PROBE_SUCCESS);
    for probe in &snapshot.probes {
        if let Some(last) = &probe.last {
            let success = u64::from(last.outcome == "ok");
            page.sample(&catalog::PROBE_SUCCESS, &[&probe.name], success);
        }
    }
    page.head(&catalog::PROBE_COVERAGE);
    for probe in &snapshot.probes {
        if let Some(coverage) = probe.coverage_ratio {
            page.sample(&catalog::PROBE_COVERAGE, &[&probe.name], coverage);
        }
    }
    page.head(&catalog::PROBE_LAG);
    for (probe, totals) in totals {
        page.sample(&catalog::PROBE_LAG, &[probe], seconds(totals.lag_us));
    }
    page.one(&catalog::PROBE_RUNS, &[], snapshot.totals.probe_runs);
    page.one(
        &catalog::PROBE_REQUESTS,
        &[],
        snapshot.totals.probe_requests,
    );
}

fn certificates(page: &mut Page, snapshot: &Snapshot) {
    let seen = || {
        snapshot.certificates.iter().filter_map(|view| {
            let labels = [&*view.source, &*view.name, &*view.place];
            Some((labels, view, view.certificate.as_ref()?))
        })
    };
    page.head(&catalog::CERT_NOT_AFTER);
    for (labels, _, facts) in seen() {
        page.sample(&catalog::CERT_NOT_AFTER, &labels, facts.not_after.as_secs());
    }
    page.head(&catalog::CERT_NOT_BEFORE);
    for (labels, _, facts) in seen() {
        page.sample(
            &catalog::CERT_NOT_BEFORE,
            &labels,
            facts.not_before.as_secs(),
        );
    }
    page.head(&catalog::CERT_LEFT);
    for (labels, view, _) in seen() {
        if let Some(left) = view.left_ratio {
            page.sample(&catalog::CERT_LEFT, &labels, left);
        }
    }
    page.head(&catalog::CERT_NAME_MATCH);
    for (labels, view, _) in seen() {
        if let Some(matches) = view.name_matches {
            page.sample(&catalog::CERT_NAME_MATCH, &labels, u64::from(matches));
        }
    }
    page.head(&catalog::CERT_ALERTS);
    for alert in &snapshot.certificate_alerts {
        let labels = [
            &*alert.name,
            &*alert.source,
            &*alert.kind,
            alert.urgency.as_str(),
        ];
        page.sample(&catalog::CERT_ALERTS, &labels, 1);
    }
}

fn edge(page: &mut Page, snapshot: &Snapshot) {
    let totals = &snapshot.totals;
    page.head(&catalog::EVENTS);
    for (kind, count) in EventKind::ALL.iter().zip(totals.events) {
        page.sample(&catalog::EVENTS, &[kind.as_str()], count);
    }
    page.one(&catalog::IN_FLIGHT, &[], snapshot.edge.in_flight);
    page.one(&catalog::CONNECTIONS, &[], snapshot.edge.connections);
    page.one(&catalog::TUNNELS, &[], totals.tunnels);
    page.head(&catalog::HANDSHAKES);
    page.sample(&catalog::HANDSHAKES, &["ok"], totals.handshakes);
    page.sample(&catalog::HANDSHAKES, &["failed"], totals.handshakes_failed);
    page.head(&catalog::ENCODED);
    page.sample(&catalog::ENCODED, &["refused"], totals.encoded_refused);
    page.sample(&catalog::ENCODED, &["reported"], totals.encoded_reported);
    page.head(&catalog::RATE_LIMITED);
    for limit in &totals.rate_limits {
        page.sample(&catalog::RATE_LIMITED, &[&limit.name], limit.refused);
    }
    page.head(&catalog::RATE_LIMIT_EVICTIONS);
    for limit in &totals.rate_limits {
        page.sample(
            &catalog::RATE_LIMIT_EVICTIONS,
            &[&limit.name],
            limit.evicted,
        );
    }
    page.one(&catalog::RETRIES_REFUSED, &[], totals.retries_refused);
    page.one(&catalog::ACCEPT_FAILURES, &[], totals.accept_failures);
    page.head(&catalog::DROPPED);
    for queue in &snapshot.queues {
        page.sample(&catalog::DROPPED, &[&queue.queue], queue.dropped);
    }
    page.head(&catalog::NOTIFICATIONS);
    for receiver in &snapshot.receivers {
        for (result, count) in [
            ("delivered", receiver.delivered),
            ("failed", receiver.failed),
        ] {
            page.sample(&catalog::NOTIFICATIONS, &[&receiver.name, result], count);
        }
    }
    page.head(&catalog::DEGRADED);
    for part in catalog::PARTS {
        let degraded = snapshot
            .degraded
            .iter()
            .any(|degradation| degradation.part == part);
        page.sample(&catalog::DEGRADED, &[part], u64::from(degraded));
    }
}

fn exporters(page: &mut Page, snapshot: &Snapshot) {
    let exporters = &snapshot.exporters;
    page.head(&catalog::OTLP_SENT);
    for exporter in exporters {
        page.sample(&catalog::OTLP_SENT, &[&exporter.signal], exporter.sent);
    }
    page.head(&catalog::OTLP_DROPPED);
    for exporter in exporters {
        for (reason, count) in &exporter.dropped {
            page.sample(&catalog::OTLP_DROPPED, &[&exporter.signal, reason], count);
        }
    }
    page.head(&catalog::OTLP_QUEUE);
    for exporter in exporters {
        page.sample(
            &catalog::OTLP_QUEUE,
            &[&exporter.signal],
            exporter.queued_bytes,
        );
    }
    page.head(&catalog::OTLP_LAST_SUCCESS);
    for exporter in exporters {
        if let Some(at) = exporter.last_success {
            let seconds = at.as_millis() as f64 / 1_000.0;
            page.sample(&catalog::OTLP_LAST_SUCCESS, &[&exporter.signal], seconds);
        }
    }
}

fn own(page: &mut Page, snapshot: &Snapshot) {
    page.one(&catalog::CONFIG_GENERATION, &[], snapshot.config.generation);
    page.one(
        &catalog::CONFIG_APPLY,
        &[],
        snapshot.config.apply_ms as f64 / 1_000.0,
    );
    page.one(
        &catalog::CONFIG_REFUSED,
        &[],
        u64::from(snapshot.config.refused.is_some()),
    );
    page.one(&catalog::STORE_SIZE, &[], snapshot.store.size_bytes);
    page.one(&catalog::STORE_BACKLOG, &[], snapshot.store.backlog);
    let process = &snapshot.process;
    page.one(&catalog::WORKERS, &[], process.workers);
    page.maybe(&catalog::PROCESS_CPU, process.cpu_seconds);
    page.maybe(&catalog::PROCESS_RSS, process.rss_bytes);
    page.maybe(&catalog::PROCESS_FDS, process.open_fds);
    page.maybe(&catalog::PROCESS_MAX_FDS, process.max_fds);
    page.one(
        &catalog::PROCESS_START,
        &[],
        snapshot.started_at.as_millis() as f64 / 1_000.0,
    );
}

struct Page(String);

impl Page {
    fn head(&mut self, series: &Series) {
        let Series {
            name,
            kind,
            unit: _,
            labels: _,
            help,
        } = series;
        self.line(format_args!(
            "# HELP {name} {help}\n# TYPE {name} {}\n",
            kind.as_str()
        ));
    }

    fn one(&mut self, series: &Series, labels: &[&str], value: impl std::fmt::Display) {
        self.head(series);
        self.sample(series, labels, value);
    }

    fn maybe(&mut self, series: &Series, value: Option<impl std::fmt::Display>) {
        self.head(series);
        if let Some(value) = value {
            self.sample(series, &[], value);
        }
    }

    fn sample(&mut self, series: &Series, values: &[&str], value: impl std::fmt::Display) {
        self.name(series.name, series, values, None);
        self.line(format_args!(" {value}\n"));
    }

    fn durations(&mut self, series: &Series, of: &str, counts: &[u64], sum_us: u64) {
        let (bucket, sum, count) = (
            format!("{}_bucket", series.name),
            format!("{}_sum", series.name),
            format!("{}_count", series.name),
        );
        let mut below = 0;
        for (place, in_bucket) in counts.iter().enumerate() {
            below += in_bucket;
            let le = DURATION_BOUNDS_US
                .get(place)
                .map_or("+Inf".to_owned(), |bound| seconds(*bound));
            self.name(&bucket, series, &[of], Some(&le));
            self.line(format_args!(" {below}\n"));
        }
        self.name(&sum, series, &[of], None);
        self.line(format_args!(" {}\n", seconds(sum_us)));
        self.name(&count, series, &[of], None);
        self.line(format_args!(" {below}\n"));
    }

    fn name(&mut self, name: &str, series: &Series, values: &[&str], le: Option<&str>) {
        debug_assert_eq!(
            series.labels.len(),
            values.len(),
            "{name}: one value per label"
        );
        self.0.push_str(name);
        let labels = series
            .labels
            .iter()
            .map(|label| label.name)
            .zip(values.iter().copied());
        for (place, (label, value)) in labels.chain(le.map(|le| ("le", le))).enumerate() {
            self.0.push(if place == 0 { '{' } else { ',' });
            self.line(format_args!("{label}=\""));
            for character in value.chars() {
                match character {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        if !values.is_empty() || le.is_some() {
            self.0.push('}');
        }
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        self.0
            .write_fmt(text)
            .expect("writing to a string cannot fail");
    }
}

/// Microseconds as seconds, exactly: `0.25`, `10`, `0.000001`.
fn seconds(micros: u64) -> String {
    let (whole, fraction) = (micros / 1_000_000, micros % 1_000_000);
    if fraction == 0 {
        return whole.to_string();
    }
    let digits = format!("{fraction:06}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_written_exactly() {
        for (micros, text) in [
            (5_000, "0.005"),
            (10_000_000, "10"),
            (1, "0.000001"),
            (2_500_000, "2.5"),
            (0, "0"),
        ] {
            assert_eq!(seconds(micros), text);
        }
    }

    #[test]
    fn a_label_value_cannot_break_out_of_its_quotes() {
        let mut page = Page(String::new());
        page.sample(&catalog::RETRIES, &["a\"} 1\n\\"], 0);
        assert_eq!(
            page.0,
            "vestibule_upstream_retries_total{route=\"a\\\"} 1\\n\\\\\"} 0\n"
        );
    }

    #[test]
    fn durations_are_cumulative_and_end_at_infinity() {
        let mut totals = RouteTotals::default();
        (
            totals.durations[0],
            totals.durations[3],
            totals.durations[14],
            totals.duration_us,
        ) = (2, 1, 1, 1_500_000);
        let mut page = Page(String::new());
        page.durations(
            &catalog::DURATION,
            "r",
            &totals.durations,
            totals.duration_us,
        );
        let value = |le: &str| {
            let line = page
                .0
                .lines()
                .find(|line| line.contains(&format!("le=\"{le}\"")))
                .unwrap();
            line.rsplit_once(' ').unwrap().1.to_owned()
        };
        assert_eq!(
            (value("0.005"), value("0.05"), value("10"), value("+Inf")),
            ("2".into(), "3".into(), "3".into(), "4".into())
        );
        assert!(
            page.0.contains("_sum{route=\"r\"} 1.5\n")
                && page.0.contains("_count{route=\"r\"} 4\n")
        );
    }
}
