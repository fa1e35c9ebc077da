//! Every exported series, once: name, kind, labels with their bound, help.
//!
//! The metrics page is written through these constants, and a test holds that what is written and what stands here are
//! the same set. Base units, `_total` on counters, one product prefix. Label values come from configuration or from
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

macro_rules! catalog {
    ($($name:ident = $text:literal, $kind:ident, [$($label:expr),*], $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $name: Series =
                Series { name: $text, kind: Kind::$kind, labels: &[$($label),*], help: $help };
        )+

        /// Every series.
        pub const ALL: &[&Series] = &[$(&$name),+];
    };
}

catalog! {
    BUILD_INFO = "vestibule_build_info", Gauge, [ours("version")], "Always 1; the version of this process.";
    REQUESTS = "vestibule_requests_total", Counter, [ROUTE, closed("outcome", 3)],
        "Requests by outcome since the state directory began: good, bad, or excluded as the client's doing.";
    FAULTS = "vestibule_faults_total", Counter,
        [ROUTE, closed("side", 3), closed("fault", crate::model::Fault::COUNT)],
        "Requests that were not good by whose fault it was and what, since this process started.";
    RESPONSES = "vestibule_responses_total", Counter, [ROUTE, closed("class", 6)],
        "Requests by class of the status sent since this process started; none: no response was sent.";
    DURATION = "vestibule_request_duration_seconds", Histogram, [ROUTE],
        "Duration of valid requests, from their head to the last byte of the response, since this process started.";
    REQUEST_BYTES = "vestibule_request_body_bytes_total", Counter, [ROUTE],
        "Request body bytes read since this process started.";
    RESPONSE_BYTES = "vestibule_response_body_bytes_total", Counter, [ROUTE],
        "Response body bytes sent since this process started.";
    RETRIES = "vestibule_upstream_retries_total", Counter, [ROUTE],
        "Upstream attempts beyond each request's first since this process started.";
    ENDPOINT_REQUESTS = "vestibule_endpoint_requests_total", Counter, [UPSTREAM, ENDPOINT, closed("outcome", 2)],
        "Requests by the endpoint tried last and by outcome since this process started.";
    ENDPOINT_CONNECT_FAILURES = "vestibule_endpoint_connect_failures_total", Counter, [UPSTREAM, ENDPOINT],
        "Attempts that got no connection to the endpoint since this process started.";
    ENDPOINT_HEALTHY = "vestibule_endpoint_healthy", Gauge, [UPSTREAM, ENDPOINT],
        "1 when the endpoint is thought to work, 0 when it is not.";
    SLO_EVENTS = "vestibule_slo_events_total", Counter, [SLO, ROUTE, closed("result", 2)],
        "Valid events of the SLO by result since the state directory began, counted exactly.";
    SLO_OBJECTIVE = "vestibule_slo_objective_ratio", Gauge, [SLO, ROUTE],
        "The SLO's target.";
    SLO_REMAINING = "vestibule_slo_error_budget_remaining_ratio", Gauge, [SLO, ROUTE],
        "Share of the error budget that is left over the SLO's window; may be negative; absent without a valid event.";
    SLO_BURN = "vestibule_slo_burn_rate_ratio", Gauge, [SLO, ROUTE, closed("window", 8)],
        "Bad ratio over the window divided by the error budget; absent without a valid event in the window.";
    ALERTS = "vestibule_alert_state", Gauge,
        [SLO, ROUTE, closed("severity", 2), closed("burnrate_tier", 4), closed("state", 3)],
        "1 for each alert that is pending, firing or lately resolved.";
    IN_FLIGHT = "vestibule_requests_in_flight", Gauge, [], "Requests being served.";
    CONNECTIONS = "vestibule_connections", Gauge, [], "Open client connections.";
    TUNNELS = "vestibule_tunnels", Gauge, [], "Upgraded connections.";
    HANDSHAKES = "vestibule_tls_handshakes_total", Counter, [closed("result", 2)],
        "TLS handshakes with clients by result since this process started.";
    ACCEPT_FAILURES = "vestibule_accept_failures_total", Counter, [],
        "Connections that could not be accepted since this process started.";
    DROPPED = "vestibule_queue_dropped_total", Counter, [ours("queue")],
        "What a bounded queue refused since this process started.";
    DEGRADED = "vestibule_degraded", Gauge, [closed("part", PARTS.len())],
        "1 when this part does not work as it should though traffic goes on.";
    CONFIG_GENERATION = "vestibule_config_generation", Gauge, [],
        "Counts up with every configuration applied in this process.";
    CONFIG_APPLY = "vestibule_config_apply_seconds", Gauge, [],
        "Duration of the last configuration change, from the request to every worker having it.";
    CONFIG_REFUSED = "vestibule_config_last_reload_refused", Gauge, [],
        "1 when the last reload was refused and the configuration before it still runs.";
    STORE_SIZE = "vestibule_store_size_bytes", Gauge, [], "Size of the history on disk.";
    STORE_BACKLOG = "vestibule_store_backlog", Gauge, [], "Minutes of history waiting to be written.";
    PROCESS_CPU = "process_cpu_seconds_total", Counter, [], "CPU time used by this process.";
    PROCESS_RSS = "process_resident_memory_bytes", Gauge, [], "Resident memory of this process.";
    PROCESS_FDS = "process_open_fds", Gauge, [], "Open file descriptors of this process.";
    PROCESS_MAX_FDS = "process_max_fds", Gauge, [], "Limit on open file descriptors of this process.";
    PROCESS_START = "process_start_time_seconds", Gauge, [], "When this process started, in seconds since the epoch.";
}

/// The parts that [`DEGRADED`] speaks of; each is always present.
pub const PARTS: [&str; 5] = ["access_log", "admin", "config", "store", "worker"];

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
