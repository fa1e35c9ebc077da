//! Every exported series, once: name, kind, unit, labels with their bound, help.
//!
//! The metrics page is written through these constants, generated rules and dashboards ask for nothing else, and tests
//! hold that what is written, what is asked for and what stands here are the same set. Base units, `_total` on counters, one product prefix. Label values come from configuration or from
//! closed enums, never from requests.

/// What kind of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; survives restarts where it counts requests.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets with sum and count.
    Histogram,
}

impl Kind {
    /// The kind's word in the text exposition format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What a value is measured in; always a base unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// A number of things, or of nothing in particular: flags, versions.
    One,
    /// One thing divided by another: 1 is all of it, or exactly as much.
    Ratio,
    /// Seconds: a duration, or an instant as seconds since the epoch.
    Seconds,
}

impl Unit {
    /// What a series' name ends in before `_total`; `None` for plain numbers.
    pub const fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Bytes => Some("_bytes"),
            Self::One => None,
            Self::Ratio => Some("_ratio"),
            Self::Seconds => Some("_seconds"),
        }
    }
}

/// How many values a label can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// As many as the configuration names.
    Configured,
    /// A closed set of this size.
    Closed(usize),
    /// As many as this process has of something it made itself.
    Ours,
}

/// One label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// How many values it can have.
    pub bound: Bound,
}

/// One exported series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// Its name, unit and `_total` included.
    pub name: &'static str,
    /// What kind.
    pub kind: Kind,
    /// What it is measured in.
    pub unit: Unit,
    /// Its labels, in the order they are written.
    pub labels: &'static [Label],
    /// One sentence.
    pub help: &'static str,
}

const fn configured(name: &'static str) -> Label {
    Label {
        name,
        bound: Bound::Configured,
    }
}

const fn closed(name: &'static str, count: usize) -> Label {
    Label {
        name,
        bound: Bound::Closed(count),
    }
}

const fn ours(name: &'static str) -> Label {
    Label {
        name,
        bound: Bound::Ours,
    }
}

const ROUTE: Label = configured("route");
const SLO: Label = configured("slo");
const UPSTREAM: Label = configured("upstream");
const ENDPOINT: Label = configured("endpoint");
const PROBE: Label = configured("probe");
const CERTIFICATE: Label = configured("certificate");

macro_rules! catalog {
    ($($name:ident = $text:literal, $kind:ident, $unit:ident, [$($label:expr),*], $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $name: Series =
                Series { name: $text, kind: Kind::$kind, unit: Unit::$unit, labels: &[$($label),*], help: $help };
        )+

        /// Every series.
        pub const ALL: &[&Series] = &[$(&$name),+];
    };
}

catalog! {
    BUILD_INFO = "vestibule_build_info", Gauge, One, [ours("version")], "Always 1; the version of this process.";
    WORKERS = "vestibule_workers", Gauge, One, [], "Threads that serve requests.";
    ROUTE_INFO = "vestibule_route_info", Gauge, One, [ROUTE, UPSTREAM, configured("owner")],
        "Always 1; who answers for a route, and where its requests go.";
    REQUESTS = "vestibule_requests_total", Counter, One, [ROUTE, closed("outcome", 3)],
        "Requests by outcome since the state directory began: good, bad, or excluded as the client's doing.";
    FAULTS = "vestibule_faults_total", Counter, One,
        [ROUTE, closed("side", 3), closed("fault", crate::model::Fault::COUNT)],
        "Requests that were not good by whose fault it was and what, since this process started.";
    RESPONSES = "vestibule_responses_total", Counter, One, [ROUTE, closed("class", 6)],
        "Requests by class of the status sent since this process started; none: no response was sent.";
    DURATION = "vestibule_request_duration_seconds", Histogram, Seconds, [ROUTE],
        "Duration of valid requests, from their head to the last byte of the response, since this process started.";
    REQUEST_BYTES = "vestibule_request_body_bytes_total", Counter, Bytes, [ROUTE],
        "Request body bytes read since this process started.";
    RESPONSE_BYTES = "vestibule_response_body_bytes_total", Counter, Bytes, [ROUTE],
        "Response body bytes sent since this process started.";
    RETRIES = "vestibule_upstream_retries_total", Counter, One, [ROUTE],
        "Upstream attempts beyond each request's first since this process started.";
    RATE_LIMITED = "vestibule_rate_limited_requests_total", Counter, One, [configured("limit")],
        "Requests over the rate limit, answered 429 or only counted, since this process started.";
    RATE_LIMIT_EVICTIONS = "vestibule_rate_limit_evictions_total", Counter, One, [configured("limit")],
        "Keys that the rate limit forgot before their time for want of room, since this process started.";
    RETRIES_REFUSED = "vestibule_retries_refused_total", Counter, One, [],
        "Retries not made because their route's retry budget was spent, since this process started.";
    ENDPOINT_REQUESTS = "vestibule_endpoint_requests_total", Counter, One, [UPSTREAM, ENDPOINT, closed("outcome", 2)],
        "Requests by the endpoint tried last and by outcome since this process started.";
    ENDPOINT_CONNECT_FAILURES = "vestibule_endpoint_connect_failures_total", Counter, One, [UPSTREAM, ENDPOINT],
        "Attempts that got no connection to the endpoint since this process started.";
    ENDPOINT_RETRIED = "vestibule_endpoint_retried_total", Counter, One, [UPSTREAM, ENDPOINT],
        "Attempts that the endpoint failed and that were followed by another since this process started.";
    ENDPOINT_HEALTHY = "vestibule_endpoint_healthy", Gauge, One, [UPSTREAM, ENDPOINT],
        "1 when the endpoint is thought to work, 0 when it is not.";
    ENDPOINT_HEALTH_CHANGES = "vestibule_endpoint_health_changes_total", Counter, One, [UPSTREAM, ENDPOINT, closed("by", 2)],
        "How often the endpoint was lost or came back, by its health checks or by how traffic fared, since this process started.";
    BREAKER_CIRCUIT = "vestibule_breaker_circuit", Gauge, One, [UPSTREAM, closed("phase", 3)],
        "1 for the phase that the upstream's circuit breaker is in: closed, open, or half open while a few requests try it.";
    BREAKER_OPENED = "vestibule_breaker_opened_total", Counter, One, [UPSTREAM],
        "How often the upstream's circuit breaker opened since this process started.";
    BREAKER_REFUSED = "vestibule_breaker_refused_requests_total", Counter, One, [UPSTREAM, closed("reason", 3)],
        "Requests that the upstream's breaker refused, by reason, since this process started.";
    BREAKER_IN_FLIGHT = "vestibule_breaker_requests_in_flight", Gauge, One, [UPSTREAM],
        "Requests with an upstream that has a breaker, from the choice of an endpoint to the last byte.";
    BREAKER_PENDING = "vestibule_breaker_requests_pending", Gauge, One, [UPSTREAM],
        "Requests with an upstream that has a breaker that wait for a connection.";
    SLO_EVENTS = "vestibule_slo_events_total", Counter, One, [SLO, ROUTE, closed("result", 2)],
        "Valid events of the SLO by result since the state directory began, counted exactly.";
    SLO_INFO = "vestibule_slo_info", Gauge, One,
        [SLO, ROUTE, configured("scope"), closed("sli", 11), configured("objective"), configured("window"), configured("policy")],
        "Always 1; what is promised: of what (`route` is empty when about several together, `scope` never), the objective in percent, the budget's window, the alerting policy.";
    SLO_OBJECTIVE = "vestibule_slo_objective_ratio", Gauge, Ratio, [SLO, ROUTE],
        "The SLO's target.";
    SLO_REMAINING = "vestibule_slo_error_budget_remaining_ratio", Gauge, Ratio, [SLO, ROUTE],
        "Share of the error budget that is left over the SLO's window; may be negative; absent without a valid event.";
    TIME_TO_EMPTY = "vestibule_slo_time_to_empty_seconds", Gauge, Seconds, [SLO, ROUTE],
        "Seconds until the error budget is empty if errors go on as they do now; 0 when what was counted has overspent it, absent when it lasts.";
    SLO_BURN = "vestibule_slo_burn_rate_ratio", Gauge, Ratio, [SLO, ROUTE, closed("window", 8)],
        "Bad ratio over the window divided by the error budget; absent without a valid event in the window.";
    ALERTS = "vestibule_alert_state", Gauge, One,
        [SLO, ROUTE, closed("severity", 2), closed("burnrate_tier", 4), closed("state", 3), closed("kind", 5)],
        "1 for each alert that is pending, firing or lately resolved; those about certificates and parts have their own series.";
    PROBE_SLOTS = "vestibule_probe_slots_total", Counter, One, [PROBE, closed("outcome", 3)],
        "Slots of the probe by outcome since this process started; missed ones are neither good nor bad.";
    PROBE_FAILURES = "vestibule_probe_failures_total", Counter, One,
        [PROBE, closed("reason", crate::model::ProbeFailure::COUNT)],
        "Failed slots by reason since this process started; only reasons that were seen.";
    PROBE_MISSED = "vestibule_probe_missed_slots_total", Counter, One,
        [PROBE, closed("reason", crate::model::Missed::COUNT)],
        "Slots that were not run by reason since this process started.";
    PROBE_DURATION = "vestibule_probe_duration_seconds", Histogram, Seconds, [PROBE],
        "Duration of the probe's runs, failed ones included, since this process started.";
    PROBE_PHASE = "vestibule_probe_phase_seconds", Gauge, Seconds,
        [PROBE, closed("phase", crate::model::ProbePhase::COUNT)],
        "Time of the last run by phase, up to the one that it failed in; absent where it did not come to it.";
    PROBE_SUCCESS = "vestibule_probe_success", Gauge, One, [PROBE],
        "1 when the last run was well, 0 when it failed; absent before the first.";
    PROBE_COVERAGE = "vestibule_probe_coverage_ratio", Gauge, Ratio, [PROBE],
        "Share of the last hour's slots that were run; absent without a slot.";
    PROBE_LAG = "vestibule_probe_schedule_lag_seconds", Gauge, Seconds, [PROBE],
        "Delay of the last run's start behind its slot.";
    PROBE_VANTAGE = "vestibule_probe_vantage_success", Gauge, One,
        [PROBE, closed("vantage", crate::model::Vantage::ALL.len()), configured("place")],
        "1 when the last run was well as seen from this vantage, 0 when it failed there; only of probes that compare.";
    PROBE_PLACED = "vestibule_probe_fault_place", Gauge, One, [PROBE, closed("place", 6)],
        "1 for where the fault of the last run lies; absent while that was well.";
    PROBE_HURRIED = "vestibule_probe_hurried_runs_total", Counter, One, [PROBE],
        "Runs of slots that were shorter than configured, since this process started: the probe's route or SLO was in trouble.";
    BLIND_SPOTS = "vestibule_probe_blind_spots", Gauge, One, [closed("kind", 6)],
        "What probes do not see, by kind.";
    NAME_TTL = "vestibule_name_ttl_seconds", Gauge, Seconds, [configured("name"), closed("source", 2)],
        "For how long the name's answer may be kept, by the lowest that resolvers or authorities gave; absent without a record.";
    NAME_ADDRESSES = "vestibule_name_addresses", Gauge, One, [configured("name"), closed("source", 2), closed("family", 2)],
        "Addresses that the name leads to by resolvers and by authorities, by family.";
    NAME_SERVERS = "vestibule_name_servers", Gauge, One, [configured("name"), closed("source", 2), closed("result", 3)],
        "Resolvers and authorities asked for the name, by result: answered, stale or failed.";
    NAME_LOOKUP = "vestibule_name_lookup_seconds", Gauge, Seconds, [configured("name"), closed("source", 2)],
        "How long the slowest resolver or authority took to answer for the name; absent when none did.";
    NAME_STALE = "vestibule_name_stale_seconds", Gauge, Seconds, [configured("name"), closed("by", 3)],
        "For how long an address that the name left has been gone by past its time to live: by a resolver, clients or connections of our own; 0: nobody does.";
    NAME_LATE = "vestibule_name_late_connections", Gauge, One, [configured("name")],
        "Connections of clients to addresses that the name left, made past their time to live.";
    NAME_SERIAL = "vestibule_name_zone_serial", Gauge, One, [configured("name")],
        "The newest serial number of the name's zone that an authority gave.";
    NAME_SERIAL_BEHIND = "vestibule_name_zone_serial_behind", Gauge, One, [configured("name")],
        "How far the authority that is furthest behind is from the newest serial number; 0: all agree.";
    PROBE_RUNS = "vestibule_probe_runs_in_flight", Gauge, One, [], "Runs of probes under way.";
    PROBE_REQUESTS = "vestibule_probe_requests_total", Counter, One, [],
        "Requests that carried a probe's mark since this process started; they count for no route.";
    CERT_NOT_AFTER = "vestibule_certificate_not_after_seconds", Gauge, Seconds,
        [closed("source", 5), configured("name"), configured("place")],
        "Last second of the certificate's life, in seconds since the epoch, where it was seen: file, issued, listener, upstream or probe.";
    CERT_NOT_BEFORE = "vestibule_certificate_not_before_seconds", Gauge, Seconds,
        [closed("source", 5), configured("name"), configured("place")],
        "First instant of the certificate's life, in seconds since the epoch.";
    CERT_LEFT = "vestibule_certificate_left_ratio", Gauge, Ratio,
        [closed("source", 5), configured("name"), configured("place")],
        "Share of the certificate's life that is left; negative once it has expired.";
    CERT_NAME_MATCH = "vestibule_certificate_name_match", Gauge, One,
        [closed("source", 5), configured("name"), configured("place")],
        "1 when the listener shows a certificate for the host that was asked for, 0 when it is another's.";
    CERT_ALERTS = "vestibule_certificate_alert_state", Gauge, One,
        [configured("name"), closed("source", 5), closed("kind", 11), closed("severity", 3)],
        "1 for each certificate with which something is wrong, by what and how urgent.";
    CERT_REVOKED = "vestibule_certificate_revoked", Gauge, One, [CERTIFICATE],
        "1 when a list of its issuer has the certificate revoked, 0 when none has; absent while no list could be had.";
    CERT_LIST_ENDS = "vestibule_certificate_crl_next_update_seconds", Gauge, Seconds, [CERTIFICATE],
        "When the list of revoked certificates ends that says so, the first of several, in seconds since the epoch.";
    ACME_ORDERS = "vestibule_acme_orders_total", Counter, One, [CERTIFICATE, closed("result", 2)],
        "Orders of the certificate by result since this process started: issued or failed.";
    ACME_FAILURES = "vestibule_acme_failures_in_a_row", Gauge, One, [CERTIFICATE],
        "Orders of the certificate that failed since the last one that did not.";
    ACME_RENEWAL_DUE = "vestibule_acme_renewal_due_seconds", Gauge, Seconds, [CERTIFICATE],
        "When the certificate's renewal is due, in seconds since the epoch; absent while there is none to renew.";
    ACME_BUDGET = "vestibule_acme_budget_left", Gauge, One, [CERTIFICATE],
        "How many certificates of this name may be issued now by our own limit.";
    ACME_PHASE = "vestibule_acme_phase_seconds", Gauge, Seconds, [CERTIFICATE, closed("phase", 8)],
        "How long each phase of the certificate's last order took, up to the first handshake that showed it.";
    ACME_PREFLIGHT = "vestibule_acme_preflight_hosts", Gauge, One, [CERTIFICATE, closed("result", 2)],
        "Hosts of the certificate by whether its authority would find what it asks for over plain HTTP: ok or failed; absent before the first look.";
    EVENTS = "vestibule_events_total", Counter, One, [closed("kind", crate::model::EventKind::ALL.len())],
        "What happened, by kind, since this process started: deploys, configurations, changes of health, alerts.";
    IN_FLIGHT = "vestibule_requests_in_flight", Gauge, One, [], "Requests being served.";
    CONNECTIONS = "vestibule_connections", Gauge, One, [], "Open client connections.";
    TUNNELS = "vestibule_tunnels", Gauge, One, [], "Upgraded connections.";
    HANDSHAKES = "vestibule_tls_handshakes_total", Counter, One, [closed("result", 2)],
        "TLS handshakes with clients by result since this process started.";
    HANDSHAKE_FAILURES = "vestibule_tls_handshake_failures_total", Counter, One, [closed("reason", crate::model::Handshake::COUNT - 1)],
        "TLS handshakes with clients that failed, by reason, since this process started.";
    PREAMBLE_FAILURES = "vestibule_proxy_protocol_refused_total", Counter, One,
        [closed("reason", crate::model::PreambleFailure::COUNT)],
        "Connections refused where a PROXY header is expected, by reason, since this process started.";
    ENCODED = "vestibule_encoded_separators_total", Counter, One, [closed("result", 2)],
        "Paths with an encoded separator by what became of them since this process started.";
    ACCEPT_FAILURES = "vestibule_accept_failures_total", Counter, One, [],
        "Connections that could not be accepted since this process started.";
    DROPPED = "vestibule_queue_dropped_total", Counter, One, [ours("queue")],
        "What a bounded queue refused since this process started.";
    NOTIFICATIONS = "vestibule_notifications_total", Counter, One, [ours("receiver"), closed("result", 2)],
        "Attempts to tell a receiver of alerts by result since this process started.";
    DEGRADED = "vestibule_degraded", Gauge, One, [closed("part", PARTS.len())],
        "1 when this part does not work as it should though traffic goes on.";
    OTLP_SENT = "vestibule_otlp_sent_total", Counter, One, [closed("signal", 3)],
        "Data points, spans or records that the OTLP receiver took since this process started.";
    OTLP_DROPPED = "vestibule_otlp_dropped_total", Counter, One, [closed("signal", 3), closed("reason", 4)],
        "Data points, spans or records that were lost on the way to the OTLP receiver, by reason, since this process started.";
    OTLP_QUEUE = "vestibule_otlp_queue_bytes", Gauge, Bytes, [closed("signal", 3)],
        "Encoded bytes waiting for the OTLP receiver.";
    OTLP_LAST_SUCCESS = "vestibule_otlp_last_success_timestamp_seconds", Gauge, Seconds, [closed("signal", 3)],
        "When the OTLP receiver last took something, in seconds since the epoch; absent before the first time.";
    CONFIG_INFO = "vestibule_config_info", Gauge, One, [ours("hash")],
        "Always 1; the hash of the configuration in force, which instances that are told the same have alike.";
    CONFIG_GENERATION = "vestibule_config_generation", Gauge, One, [],
        "Counts up with every configuration applied in this process.";
    CONFIG_APPLY = "vestibule_config_apply_seconds", Gauge, Seconds, [],
        "Duration of the last configuration change, from the request to every worker having it.";
    CONFIG_REFUSED = "vestibule_config_last_reload_refused", Gauge, One, [],
        "1 when the last reload was refused and the configuration before it still runs.";
    STORE_SIZE = "vestibule_store_size_bytes", Gauge, Bytes, [], "Size of the history on disk.";
    STORE_BACKLOG = "vestibule_store_backlog", Gauge, One, [], "Minutes of history waiting to be written.";
    PROCESS_CPU = "process_cpu_seconds_total", Counter, Seconds, [], "CPU time used by this process.";
    PROCESS_RSS = "process_resident_memory_bytes", Gauge, Bytes, [], "Resident memory of this process.";
    PROCESS_FDS = "process_open_fds", Gauge, One, [], "Open file descriptors of this process.";
    PROCESS_MAX_FDS = "process_max_fds", Gauge, One, [], "Limit on open file descriptors of this process.";
    PROCESS_START = "process_start_time_seconds", Gauge, Seconds, [], "When this process started, in seconds since the epoch.";
}

/// The parts that [`DEGRADED`] speaks of; each is always present.
pub const PARTS: [&str; 9] = [
    "access_log",
    "admin",
    "config",
    "notify",
    "otlp",
    "probes",
    "silences",
    "store",
    "worker",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for series in ALL {
            assert_eq!(
                series.name.ends_with("_total"),
                series.kind == Kind::Counter,
                "{}",
                series.name
            );
            assert!(
                series.name.starts_with("vestibule_") || series.name.starts_with("process_"),
                "{}",
                series.name
            );
            assert!(series.help.ends_with('.'), "{}", series.name);
            let base = series.name.trim_end_matches("_total");
            let suffixes = [Unit::Bytes, Unit::Ratio, Unit::Seconds].map(Unit::suffix);
            assert_eq!(
                suffixes
                    .into_iter()
                    .flatten()
                    .find(|suffix| base.ends_with(suffix)),
                series.unit.suffix(),
                "{}",
                series.name
            );
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = ALL.iter().map(|series| series.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
