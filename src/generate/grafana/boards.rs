//! What is on each dashboard.

use serde_json::Value;

use super::Look::{Bars, Heatmap, Lines, Stat, Table};
use super::Measure::{Bytes, BytesPerSecond, Count, PerSecond, Seconds, Share, Since, Times};
use super::{Board, Panel, listed, of, part, rate};
use crate::catalog::{
    ACCEPT_FAILURES, ACME_BUDGET, ACME_FAILURES, ACME_ORDERS, ACME_PHASE, ACME_PREFLIGHT,
    ACME_RENEWAL_DUE, ALERTS, BLIND_SPOTS, BREAKER_CIRCUIT, BREAKER_IN_FLIGHT, BREAKER_OPENED,
    BREAKER_PENDING, BREAKER_REFUSED, BUILD_INFO, CERT_ALERTS, CERT_LEFT, CERT_LIST_ENDS,
    CERT_NAME_MATCH, CERT_NOT_AFTER, CERT_NOT_BEFORE, CERT_REVOKED, CONFIG_APPLY,
    CONFIG_GENERATION, CONFIG_INFO, CONFIG_REFUSED, CONNECTIONS, DEGRADED, DROPPED, DURATION,
    ENCODED, ENDPOINT_CONNECT_FAILURES, ENDPOINT_HEALTH_CHANGES, ENDPOINT_HEALTHY,
    ENDPOINT_REQUESTS, ENDPOINT_RETRIED, EVENTS, FAULTS, HANDSHAKE_FAILURES, HANDSHAKES, IN_FLIGHT,
    NAME_ADDRESSES, NAME_LATE, NAME_LOOKUP, NAME_SERIAL, NAME_SERIAL_BEHIND, NAME_SERVERS,
    NAME_STALE, NAME_TTL, NOTIFICATIONS, OTLP_DROPPED, OTLP_LAST_SUCCESS, OTLP_QUEUE, OTLP_SENT,
    PREAMBLE_FAILURES, PROBE_COVERAGE, PROBE_DURATION, PROBE_FAILURES, PROBE_HURRIED, PROBE_LAG,
    PROBE_MISSED, PROBE_PHASE, PROBE_PLACED, PROBE_REQUESTS, PROBE_RUNS, PROBE_SLOTS,
    PROBE_SUCCESS, PROBE_VANTAGE, PROCESS_CPU, PROCESS_FDS, PROCESS_MAX_FDS, PROCESS_RSS,
    PROCESS_START, RATE_LIMIT_EVICTIONS, RATE_LIMITED, REQUEST_BYTES, REQUESTS, RESPONSE_BYTES,
    RESPONSES, RETRIES, RETRIES_REFUSED, ROUTE_INFO, SLO_BURN, SLO_EVENTS, SLO_INFO, SLO_OBJECTIVE,
    SLO_REMAINING, STORE_BACKLOG, STORE_SIZE, Series, TIME_TO_EMPTY, TUNNELS, WORKERS,
};
use crate::generate::{JOB, Plan};
use crate::slo::policy::Severity;

const BAD: (&str, &str, &str) = ("outcome", "=", "bad");
const VALID: (&str, &str, &str) = ("outcome", "=~", "good|bad");
const ROUTE: (&str, &str, &str) = ("route", "=~", "$route");
const SLO: (&str, &str, &str) = ("slo", "=~", "$slo");

/// Every dashboard.
pub(super) fn boards(plan: &Plan) -> Vec<Board> {
    vec![executive(), on_call(), debug(), slo(plan), outside(), own()]
}

fn routes() -> Value {
    let query = format!("label_values({}, route)", of(&REQUESTS, &[]));
    listed("route", "Route", &query)
}

fn slos() -> Value {
    let query = format!("label_values({}, slo)", of(&SLO_EVENTS, &[]));
    listed("slo", "SLO", &query)
}

/// Bad ÷ valid requests, in groups; a group without a valid request has none.
fn bad_ratio(by: &str, range: &str, more: &[(&str, &str, &str)]) -> String {
    let sum = |outcome| {
        let matchers = [&[outcome][..], more].concat();
        format!("sum{by} (increase({}[{range}]))", of(&REQUESTS, &matchers))
    };
    format!("{} / ({} > 0)", sum(BAD), sum(VALID))
}

fn percentile(share: &str, more: &[(&str, &str, &str)]) -> String {
    let name = format!("{}_bucket", DURATION.name);
    let buckets = part(&name, &DURATION, more);
    format!("histogram_quantile({share}, sum by (le, route) (rate({buckets}[$__rate_interval])))")
}

/// The series of every instance, one line for each of its own labels.
fn worst(series: &Series, by: &str, more: &[(&str, &str, &str)]) -> String {
    format!("min by ({by}) ({})", of(series, more))
}

fn most(series: &Series, by: &str, more: &[(&str, &str, &str)]) -> String {
    format!("max by ({by}) ({})", of(series, more))
}

// === Executive ===

fn executive() -> Board {
    let success = format!("1 - {}", bad_ratio("", "24h", &[]));
    let by_route = format!("1 - {}", bad_ratio(" by (route)", "24h", &[]));
    let volume = |by: &str| format!("sum by ({by}) ({})", rate(&REQUESTS, &[]));
    Board {
        uid: "vestibule-executive",
        title: "Vestibule / Executive",
        about: "Does the ingress keep its promises, and for how long will it?",
        from: "now-24h",
        variables: Vec::new(),
        rows: vec![
            (
                "The last 24 hours",
                vec![
                    Panel::new(Stat, "Success", Share, 6, "Good ÷ valid requests of the last 24 hours, all routes together. A client's fault is not valid.")
                        .query(success, "success").limits(0.999, 0.99),
                    Panel::new(Stat, "Requests", Count, 6, "Requests of the last 24 hours.")
                        .query(format!("sum(increase({}[24h]))", of(&REQUESTS, &[])), "requests"),
                    Panel::new(Stat, "Failed requests", Count, 6, "Requests of the last 24 hours that failed through the ingress or what is behind it.")
                        .query(format!("sum(increase({}[24h]))", of(&REQUESTS, &[BAD])), "failed"),
                    Panel::new(Stat, "Alerts that wake someone", Count, 6, "Pages that fire now, as Vestibule itself judges.")
                        .query(format!("sum({}) or vector(0)", of(&ALERTS, &[("severity", "=", Severity::Page.as_str()), ("state", "=", "firing")])), "firing").limits(1.0, 1.0),
                    Panel::new(Bars, "Success by route", Share, 12, "Good ÷ valid requests of the last 24 hours. Routes without a valid request are left out.")
                        .query(by_route, "{{route}}").limits(0.999, 0.99),
                    Panel::new(Lines, "Volume by route", PerSecond, 12, "Requests per second: the ten routes with the most.")
                        .query(format!("topk(10, {})", volume("route")), "{{route}}"),
                    Panel::new(Lines, "Volume by instance", PerSecond, 24, "Requests per second of each instance. Give scrape targets a region label to see regions.")
                        .query(volume("instance"), "{{instance}}"),
                ],
            ),
            (
                "Error budgets",
                vec![
                    Panel::new(Bars, "Budget left", Share, 12, "Share of each error budget that is left over its window. Below zero the promise is broken.")
                        .query(format!("sort({})", worst(&SLO_REMAINING, "slo", &[])), "{{slo}}").limits(0.25, 0.0),
                    Panel::new(Bars, "Burn rate over 6 hours", Times, 12, "How many times faster than sustainable a budget is spent: 1 empties it exactly at its window's end.")
                        .query(format!("sort_desc({})", most(&SLO_BURN, "slo", &[("window", "=", "6h")])), "{{slo}}").limits(1.0, 6.0),
                    Panel::new(Bars, "Time until a budget is empty", Seconds, 12, "If errors go on as they do now. An SLO whose budget lasts is left out.")
                        .query(format!("sort({})", worst(&TIME_TO_EMPTY, "slo", &[])), "{{slo}}").limits(259_200.0, 86_400.0),
                    Panel::new(Table, "Promises", Count, 12, "What is promised: objective in percent, window and policy.")
                        .query(format!("max by (slo, scope, sli, objective, window, policy) ({})", of(&SLO_INFO, &[])), ""),
                ],
            ),
            (
                "Where faults lie",
                vec![
                    Panel::new(Table, "Placed at", Count, 12, "Where the fault of each probe's last run lies, by what its vantages saw together.")
                        .query(most(&PROBE_PLACED, "probe, place", &[]), ""),
                    Panel::new(Bars, "By vantage", Count, 12, "1: the last run was well as seen from there; 0: it failed. Edge, our own listener, each endpoint, its port.")
                        .query(format!("sort({})", worst(&PROBE_VANTAGE, "probe, vantage, place", &[])), "{{probe}} {{vantage}} {{place}}"),
                    Panel::new(Lines, "Blind spots", Count, 12, "What probes do not see: a failure of users, a route without a probe, a vantage that cannot be asked.")
                        .query(most(&BLIND_SPOTS, "kind", &[]), "{{kind}}"),
                    Panel::new(Lines, "Runs in a hurry", Count, 12, "Runs in each interval of slots that were shorter than configured: the probe's route or SLO was in trouble.")
                        .query(format!("sum by (probe) (increase({}[$__rate_interval]))", of(&PROBE_HURRIED, &[])), "{{probe}}"),
                ],
            ),
            (
                "Names",
                vec![
                    Panel::new(Lines, "Who goes by old addresses", Seconds, 12, "For how long resolvers, clients and our own connections have gone by an address past its time to live.")
                        .query(most(&NAME_STALE, "name, by", &[]), "{{name}} {{by}}"),
                    Panel::new(Lines, "Late connections", Count, 12, "Connections of clients to addresses that a name left, made past their time to live.")
                        .query(format!("sum by (name) ({})", of(&NAME_LATE, &[])), "{{name}}"),
                    Panel::new(Lines, "Servers by what they answered", Count, 12, "Resolvers and authorities, by result. A stale answer is one that should have been let go of.")
                        .query(format!("sum by (source, result) ({})", of(&NAME_SERVERS, &[])), "{{source}} {{result}}"),
                    Panel::new(Lines, "Time to live", Seconds, 12, "The lowest that resolvers and authorities give. A move is seen everywhere after the authority's.")
                        .query(worst(&NAME_TTL, "name, source", &[]), "{{name}} {{source}}"),
                    Panel::new(Lines, "Time of a look-up", Seconds, 12, "Of the slowest server that answered, for both families of addresses.")
                        .query(most(&NAME_LOOKUP, "name, source", &[]), "{{name}} {{source}}"),
                    Panel::new(Lines, "Addresses", Count, 12, "That a name leads to, by resolvers and authorities and by family.")
                        .query(most(&NAME_ADDRESSES, "name, source, family", &[]), "{{name}} {{source}} {{family}}"),
                    Panel::new(Bars, "Serial numbers of zones", Count, 12, "The newest that an authority gave.")
                        .query(most(&NAME_SERIAL, "name", &[]), "{{name}}"),
                    Panel::new(Bars, "Authorities that lag", Count, 12, "How far the authority that is furthest behind is from its zone's newest serial number.")
                        .query(format!("sort_desc({})", most(&NAME_SERIAL_BEHIND, "name", &[])), "{{name}}"),
                ],
            ),
            (
                "Certificates",
                vec![
                    Panel::new(Bars, "Certificate calendar", Seconds, 24, "Time until each certificate ends, the next to end first. Below a day someone is paged.")
                        .query(format!("sort(min by (name) ({}) - time())", of(&CERT_NOT_AFTER, &[])), "{{name}}").limits(1_209_600.0, 86_400.0),
                ],
            ),
        ],
    }
}

// === On-call ===

fn on_call() -> Board {
    let endpoint = |outcome: &'static str, by: &str| {
        format!(
            "sum by ({by}) ({})",
            rate(&ENDPOINT_REQUESTS, &[("outcome", "=~", outcome)])
        )
    };
    let cpu = format!("{} / {}", rate(&PROCESS_CPU, &[]), of(&WORKERS, &[]));
    Board {
        uid: "vestibule-on-call",
        title: "Vestibule / On-call",
        about: "What fails, whose fault is it, and what changed?",
        from: "now-1h",
        variables: vec![routes()],
        rows: vec![
            (
                "Is it fine now?",
                vec![
                    Panel::new(Stat, "Bad requests", Share, 4, "Bad ÷ valid requests of the last five minutes on the chosen routes.")
                        .query(bad_ratio("", "5m", &[ROUTE]), "bad").limits(0.001, 0.01),
                    Panel::new(Stat, "Requests", PerSecond, 4, "Requests per second over the last five minutes on the chosen routes.")
                        .query(format!("sum(rate({}[5m]))", of(&REQUESTS, &[ROUTE])), "requests"),
                    Panel::new(Stat, "Fastest burn", Times, 4, "The highest burn rate over an hour among the SLOs of the chosen routes.")
                        .query(format!("max({})", of(&SLO_BURN, &[("window", "=", "1h"), ROUTE])), "burn").limits(1.0, 14.4),
                    Panel::new(Stat, "Firing alerts", Count, 4, "Alerts that fire, as Vestibule itself judges.")
                        .query(format!("sum({}) or vector(0)", of(&ALERTS, &[("state", "=", "firing")])), "firing").limits(1.0, 1.0),
                    Panel::new(Stat, "Failing endpoints", Count, 4, "Endpoints that an instance thinks do not work.")
                        .query(format!("count({} == 0) or vector(0)", of(&ENDPOINT_HEALTHY, &[])), "failing").limits(1.0, 1.0),
                    Panel::new(Stat, "Degraded parts", Count, 4, "Parts of Vestibule that do not work as they should though traffic goes on.")
                        .query(format!("sum({})", of(&DEGRADED, &[])), "degraded").limits(1.0, 1.0),
                ],
            ),
            (
                "Whose fault",
                vec![
                    Panel::new(Lines, "Requests by upstream", PerSecond, 12, "Requests per second by the upstream of the endpoint tried last.")
                        .query(endpoint("good|bad", "upstream"), "{{upstream}}"),
                    Panel::new(Lines, "Bad requests by endpoint", PerSecond, 12, "Requests per second that ended badly through the endpoint tried last: the ten worst.")
                        .query(format!("topk(10, {})", endpoint("bad", "upstream, endpoint")), "{{upstream}} {{endpoint}}"),
                    Panel::new(Lines, "Faults by side", PerSecond, 12, "Requests per second that were not good, by whose doing it was: downstream is the client, edge Vestibule, upstream the service.")
                        .query(format!("sum by (side) ({})", rate(&FAULTS, &[ROUTE])), "{{side}}"),
                    Panel::new(Lines, "Faults that spend budget", PerSecond, 12, "Requests per second that were bad, by what went wrong: the ten most frequent.")
                        .query(format!("topk(10, sum by (side, fault) ({}))", rate(&FAULTS, &[ROUTE, ("side", "!=", "downstream")])), "{{side}} {{fault}}"),
                    Panel::new(Bars, "Top 10 routes by budget spent", Times, 12, "The highest burn rates over an hour: a route is here for what it spends of its promise, not for the share of a few requests.")
                        .query(format!("topk(10, max by (route, slo) ({}))", of(&SLO_BURN, &[("window", "=", "1h")])), "{{route}} {{slo}}").limits(1.0, 14.4),
                    Panel::new(Bars, "Top 10 routes by bad requests", Count, 12, "Bad requests of the last hour.")
                        .query(format!("topk(10, sum by (route) (increase({}[1h])))", of(&REQUESTS, &[BAD])), "{{route}}"),
                    Panel::new(Table, "Owners", Count, 24, "Who answers for a route, and where its requests go.")
                        .query(format!("max by (route, upstream, owner) ({})", of(&ROUTE_INFO, &[ROUTE])), ""),
                ],
            ),
            (
                "What changed",
                vec![
                    Panel::new(Lines, "Configuration", Count, 8, "The generation in force: a step is a change that was applied.")
                        .query(of(&CONFIG_GENERATION, &[]), "{{instance}}"),
                    Panel::new(Lines, "Time to apply", Seconds, 8, "How long the last configuration took until every worker had it. Above 30 s it is too slow.")
                        .query(of(&CONFIG_APPLY, &[]), "{{instance}}").limits(10.0, 30.0),
                    Panel::new(Lines, "Events", Count, 8, "What happened in each interval: deploys, configurations, changes of health, alerts, starts.")
                        .query(format!("sum by (kind) (increase({}[$__rate_interval]))", of(&EVENTS, &[])), "{{kind}}"),
                ],
            ),
            (
                "The ingress itself",
                vec![
                    Panel::new(Lines, "CPU", Share, 8, "Share of one core for each worker. Above 70 % there is little left for a peak.")
                        .query(cpu, "{{instance}}").limits(0.7, 0.9),
                    Panel::new(Lines, "Memory", Bytes, 8, "Resident memory.")
                        .query(of(&PROCESS_RSS, &[]), "{{instance}}"),
                    Panel::new(Lines, "Connections and requests", Count, 8, "Open client connections, and requests being served.")
                        .query(of(&CONNECTIONS, &[]), "{{instance}} connections")
                        .query(of(&IN_FLIGHT, &[]), "{{instance}} in flight"),
                ],
            ),
        ],
    }
}

// === Debug ===

fn debug() -> Board {
    let buckets = part(&format!("{}_bucket", DURATION.name), &DURATION, &[ROUTE]);
    Board {
        uid: "vestibule-debug",
        title: "Vestibule / Debug",
        about: "Where the time goes, what was answered, and what went wrong on the way.",
        from: "now-1h",
        variables: vec![routes()],
        rows: vec![
            (
                "Latency",
                vec![
                    Panel::new(Heatmap, "Durations", Seconds, 12, "How long valid requests took, from their head to the last byte of the response.")
                        .query(format!("sum by (le) (increase({buckets}[$__rate_interval]))"), "{{le}}"),
                    Panel::new(Lines, "95th percentile by route", Seconds, 12, "Estimated within a bucket of the histogram. Whether a latency objective was met is counted exactly, in the SLO's own series.")
                        .query(percentile("0.95", &[ROUTE]), "{{route}}"),
                    Panel::new(Lines, "Median by route", Seconds, 12, "Estimated within a bucket of the histogram.")
                        .query(percentile("0.5", &[ROUTE]), "{{route}}"),
                    Panel::new(Lines, "99th percentile by route", Seconds, 12, "Estimated within a bucket of the histogram.")
                        .query(percentile("0.99", &[ROUTE]), "{{route}}"),
                ],
            ),
            (
                "Answers",
                vec![
                    Panel::new(Lines, "Answers by status class", PerSecond, 12, "Requests per second by the class of the status sent; none: nothing was sent.")
                        .query(format!("sum by (class) ({})", rate(&RESPONSES, &[ROUTE])), "{{class}}"),
                    Panel::new(Lines, "Faults", PerSecond, 12, "Requests per second that were not good, clients' doings too: the fifteen most frequent.")
                        .query(format!("topk(15, sum by (side, fault) ({}))", rate(&FAULTS, &[ROUTE])), "{{side}} {{fault}}"),
                    Panel::new(Lines, "Requests without a route", PerSecond, 12, "Requests per second that no route takes: scanners, or a rule that no longer matches.")
                        .query(format!("sum({})", rate(&FAULTS, &[("fault", "=", "no_route")])), "no route"),
                    Panel::new(Lines, "Paths with encoded separators", PerSecond, 12, "Requests per second whose path has an encoded separator, and whether they were refused or only reported.")
                        .query(format!("sum by (result) ({})", rate(&ENCODED, &[])), "{{result}}"),
                    Panel::new(Lines, "Bytes", BytesPerSecond, 24, "Bodies of requests and of responses.")
                        .query(format!("sum({})", rate(&REQUEST_BYTES, &[ROUTE])), "requests")
                        .query(format!("sum({})", rate(&RESPONSE_BYTES, &[ROUTE])), "responses"),
                ],
            ),
            (
                "The way to the service",
                vec![
                    Panel::new(Lines, "Connections not made", PerSecond, 6, "Attempts per second that got no connection to the endpoint: the ten worst.")
                        .query(format!("topk(10, sum by (upstream, endpoint) ({}))", rate(&ENDPOINT_CONNECT_FAILURES, &[])), "{{upstream}} {{endpoint}}"),
                    Panel::new(Lines, "Requests sent again", PerSecond, 6, "Attempts per second beyond each request's first; those that the retry budget refused.")
                        .query(format!("sum by (route) ({})", rate(&RETRIES, &[ROUTE])), "{{route}}")
                        .query(format!("sum({})", rate(&RETRIES_REFUSED, &[])), "refused"),
                    Panel::new(Lines, "Over a rate limit", PerSecond, 12, "Requests per second that were over a rate limit: answered 429, or only counted.")
                        .query(format!("sum by (limit) ({})", rate(&RATE_LIMITED, &[])), "{{limit}}"),
                    Panel::new(Lines, "Keys forgotten", PerSecond, 12, "Keys per second that a rate limit forgot before their time: raise its `keys` if this is not an attack.")
                        .query(format!("sum by (limit) ({})", rate(&RATE_LIMIT_EVICTIONS, &[])), "{{limit}}"),
                    Panel::new(Lines, "Failures that retries hid", PerSecond, 6, "Attempts per second that an endpoint failed and that were followed by another: the ten worst.")
                        .query(format!("topk(10, sum by (upstream, endpoint) ({}))", rate(&ENDPOINT_RETRIED, &[])), "{{upstream}} {{endpoint}}"),
                    Panel::new(Lines, "Health of endpoints", Count, 6, "1 when an endpoint is thought to work by every instance.")
                        .query(worst(&ENDPOINT_HEALTHY, "upstream, endpoint", &[]), "{{upstream}} {{endpoint}}"),
                    Panel::new(Lines, "Circuits", Count, 8, "1 while an upstream's circuit breaker is in this phase, and how often it opened in ten minutes.")
                        .query(most(&BREAKER_CIRCUIT, "upstream, phase", &[("phase", "!=", "closed")]), "{{upstream}} {{phase}}")
                        .query(format!("sum by (upstream) (increase({}[10m]))", of(&BREAKER_OPENED, &[])), "{{upstream}} opened"),
                    Panel::new(Lines, "Refused by a breaker", PerSecond, 8, "Requests per second that an upstream's breaker answered 503, by reason.")
                        .query(format!("sum by (upstream, reason) ({})", rate(&BREAKER_REFUSED, &[])), "{{upstream}} {{reason}}"),
                    Panel::new(Lines, "With upstreams that have a breaker", Count, 8, "Requests under way, and those of them that wait for a connection.")
                        .query(format!("sum by (upstream) ({})", of(&BREAKER_IN_FLIGHT, &[])), "{{upstream}}")
                        .query(format!("sum by (upstream) ({})", of(&BREAKER_PENDING, &[])), "{{upstream}} waiting"),
                    Panel::new(Lines, "Endpoints that come and go", Count, 24, "How often an endpoint was lost or came back in ten minutes, by its health checks or by how traffic fared: the ten most restless.")
                        .query(format!("topk(10, sum by (upstream, endpoint, by) (increase({}[10m])))", of(&ENDPOINT_HEALTH_CHANGES, &[])), "{{upstream}} {{endpoint}} by {{by}}"),
                ],
            ),
            (
                "The way from the client",
                vec![
                    Panel::new(Lines, "TLS handshakes", PerSecond, 8, "Handshakes per second by result.")
                        .query(format!("sum by (result) ({})", rate(&HANDSHAKES, &[])), "{{result}}"),
                    Panel::new(Lines, "TLS handshakes that failed", PerSecond, 8, "Handshakes per second by why they failed. Only certificates that clients refuse and our own defects are blamed on the service.")
                        .query(format!("sum by (reason) ({})", rate(&HANDSHAKE_FAILURES, &[])), "{{reason}}"),
                    Panel::new(Lines, "TLS handshakes beside requests", Times, 8, "Handshakes for each request: near zero when clients keep their connections, near one when each request pays for a handshake.")
                        .query(format!("sum({}) / (sum({}) > 0)", rate(&HANDSHAKES, &[]), rate(&REQUESTS, &[])), "handshakes per request"),
                    Panel::new(Lines, "Refused where a PROXY header is expected", PerSecond, 24, "Connections per second that were refused for want of a PROXY header that holds, by reason.")
                        .query(format!("sum by (reason) ({})", rate(&PREAMBLE_FAILURES, &[])), "{{reason}}"),
                ],
            ),
        ],
    }
}

// === SLO ===

fn slo(plan: &Plan) -> Board {
    let events = |result: &'static str| {
        format!(
            "sum by (slo) ({})",
            rate(&SLO_EVENTS, &[SLO, ("result", "=~", result)])
        )
    };
    let recorded = |name: &str| format!("{{__name__=~\"{name}\",slo=~\"$slo\"}}");
    // The highest and the lowest factor that anyone is alerted at.
    let factors = || {
        let rows = plan.slos.iter().flat_map(|slo| plan.rows(slo));
        rows.map(|row| f64::from(row.factor.0) / 1_000.0)
    };
    let highest = factors().fold(1.0, f64::max);
    let lowest = factors().fold(highest, f64::min);
    Board {
        uid: "vestibule-slo",
        title: "Vestibule / SLO",
        about: "One promise: how much of its budget is left, how fast it burns, and what its alerts do.",
        from: "now-7d",
        variables: vec![slos()],
        rows: vec![
            (
                "Now",
                vec![
                    Panel::new(Stat, "Budget left now", Share, 6, "Share of the error budget that is left over the SLO's window. Below zero the promise is broken.")
                        .query(worst(&SLO_REMAINING, "slo", &[SLO]), "{{slo}}").limits(0.25, 0.0),
                    Panel::new(Stat, "Objective", Share, 6, "The share of valid requests that must be good.")
                        .query(most(&SLO_OBJECTIVE, "slo", &[SLO]), "{{slo}}"),
                    Panel::new(Stat, "Burn over an hour", Times, 6, "How many times faster than sustainable the budget is spent.")
                        .query(most(&SLO_BURN, "slo", &[SLO, ("window", "=", "1h")]), "{{slo}}").limits(1.0, highest.max(1.0)),
                    Panel::new(Stat, "Time until it is empty", Seconds, 6, "If errors go on as they do now; empty when the budget lasts.")
                        .query(worst(&TIME_TO_EMPTY, "slo", &[SLO]), "{{slo}}").limits(259_200.0, 86_400.0),
                ],
            ),
            (
                "Budget",
                vec![
                    Panel::new(Lines, "Budget left", Share, 12, "Counted by each instance over the whole window, over restarts too.")
                        .query(worst(&SLO_REMAINING, "slo", &[SLO]), "{{slo}}").limits(0.25, 0.0),
                    Panel::new(Lines, "Budget left, by Prometheus", Share, 12, "The same from the samples that Prometheus keeps, all instances together. It needs samples as old as the window.")
                        .query(recorded("route:slo_error_budget_remaining:ratio.+"), "{{slo}}").limits(0.25, 0.0),
                ],
            ),
            (
                "Burn",
                vec![
                    Panel::new(Lines, "Burn rate by window", Times, 12, "An alert needs a long and a short window above its factor. The lines are the lowest and the highest factor of the policies.")
                        .query(most(&SLO_BURN, "slo, window", &[SLO]), "{{slo}} {{window}}").limits(lowest, highest),
                    Panel::new(Lines, "Bad ÷ valid, by Prometheus", Share, 12, "What the generated alerts compare: the recorded error ratios over 5 minutes, an hour and six hours.")
                        .query(recorded("route:slo_errors_per_request:ratio_rate(5m|1h|6h)"), "{{slo}} {{__name__}}"),
                    Panel::new(Lines, "Valid and bad events", PerSecond, 12, "Events per second that count for the SLO, and those that spend its budget.")
                        .query(events("good|bad"), "{{slo}} valid")
                        .query(events("bad"), "{{slo}} bad"),
                    Panel::new(Lines, "Alerts", Count, 12, "Alerts of the SLO that fire: judged by Vestibule once a second, and by Prometheus from its samples.")
                        .query(format!("sum by (slo, severity) ({}) or on () vector(0)", of(&ALERTS, &[SLO, ("state", "=", "firing")])), "Vestibule {{slo}} {{severity}}")
                        .query("sum by (slo, slo_severity) (ALERTS{alertname=~\"VestibuleErrorBudget.+\",alertstate=\"firing\",slo=~\"$slo\"}) or on () vector(0)", "Prometheus {{slo}} {{slo_severity}}"),
                    Panel::new(Table, "Promises", Count, 24, "Objective in percent, window and policy.")
                        .query(format!("max by (slo, scope, sli, objective, window, policy) ({})", of(&SLO_INFO, &[SLO])), ""),
                ],
            ),
        ],
    }
}

// === Outside ===

fn outside() -> Board {
    let slots = |by: &str| {
        format!(
            "sum by ({by}) (increase({}[$__rate_interval]))",
            of(&PROBE_SLOTS, &[])
        )
    };
    let durations = part(
        &format!("{}_bucket", PROBE_DURATION.name),
        &PROBE_DURATION,
        &[],
    );
    let slowest = format!(
        "histogram_quantile(0.95, sum by (le, probe) (rate({durations}[$__rate_interval])))"
    );
    let certificate = "source, name, place";
    Board {
        uid: "vestibule-outside",
        title: "Vestibule / Outside",
        about: "What do probes see, and how long do certificates live?",
        from: "now-6h",
        variables: Vec::new(),
        rows: vec![
            (
                "Probes",
                vec![
                    Panel::new(Bars, "Last run", Count, 12, "1: the last run was well; 0: it failed.")
                        .query(format!("sort({})", worst(&PROBE_SUCCESS, "probe", &[])), "{{probe}}"),
                    Panel::new(Lines, "Slots", Count, 12, "Slots in each interval by outcome. Missed ones are neither good nor bad.")
                        .query(slots("outcome"), "{{outcome}}"),
                    Panel::new(Lines, "Why probes fail", Count, 12, "Failed slots in each interval by reason.")
                        .query(format!("sum by (probe, reason) (increase({}[$__rate_interval]))", of(&PROBE_FAILURES, &[])), "{{probe}} {{reason}}"),
                    Panel::new(Lines, "Duration of runs", Seconds, 12, "The 95th percentile, failed runs included.")
                        .query(slowest, "{{probe}}"),
                    Panel::new(Lines, "Phases of the last run", Seconds, 24, "Where its time went, up to the phase that it failed in.")
                        .query(most(&PROBE_PHASE, "probe, phase", &[]), "{{probe}} {{phase}}"),
                ],
            ),
            (
                "Schedule",
                vec![
                    Panel::new(Lines, "Coverage", Share, 8, "Share of the last hour's slots that were run. Below 90 % a ratio of probes tells little.")
                        .query(worst(&PROBE_COVERAGE, "probe", &[]), "{{probe}}").limits(0.95, 0.9),
                    Panel::new(Lines, "Why slots are missed", Count, 8, "Slots in each interval that were not run, by reason.")
                        .query(format!("sum by (probe, reason) (increase({}[$__rate_interval]))", of(&PROBE_MISSED, &[])), "{{probe}} {{reason}}"),
                    Panel::new(Lines, "Delay behind the slot", Seconds, 8, "Of the last run's start.")
                        .query(most(&PROBE_LAG, "probe", &[]), "{{probe}}"),
                    Panel::new(Lines, "Runs under way", Count, 12, "At most 1000; further slots are missed as `overload`.")
                        .query(of(&PROBE_RUNS, &[]), "{{instance}}"),
                    Panel::new(Lines, "Marked requests", PerSecond, 12, "Requests of probes at the proxy. They count for no route.")
                        .query(rate(&PROBE_REQUESTS, &[]), "{{instance}}"),
                ],
            ),
            (
                "Certificates",
                vec![
                    Panel::new(Table, "What is wrong", Count, 12, "Certificates with which something is wrong, by what and how urgent.")
                        .query(format!("max by (name, source, kind, severity) ({})", of(&CERT_ALERTS, &[])), ""),
                    Panel::new(Bars, "Life left", Share, 12, "Share of each certificate's own life. A renewal is due at a third, or at half of a life below ten days.")
                        .query(format!("sort({})", worst(&CERT_LEFT, certificate, &[])), "{{name}} ({{source}})").limits(0.3, 0.15),
                    Panel::new(Bars, "Time left", Seconds, 12, "Until the end of each certificate's life.")
                        .query(format!("sort({} - time())", worst(&CERT_NOT_AFTER, certificate, &[])), "{{name}} ({{source}})").limits(172_800.0, 86_400.0),
                    Panel::new(Bars, "Age", Seconds, 12, "Since the beginning of each certificate's life.")
                        .query(format!("sort(time() - {})", most(&CERT_NOT_BEFORE, certificate, &[])), "{{name}} ({{source}})"),
                    Panel::new(Bars, "Revoked", Count, 12, "1: a list of its issuer has the certificate revoked; 0: none has.")
                        .query(format!("sort_desc({})", most(&CERT_REVOKED, "certificate", &[])), "{{certificate}}"),
                    Panel::new(Bars, "Time left of lists", Seconds, 12, "Until the list of revoked certificates ends that speaks of each certificate.")
                        .query(format!("sort({} - time())", worst(&CERT_LIST_ENDS, "certificate", &[])), "{{certificate}}").limits(86_400.0, 0.0),
                    Panel::new(Bars, "Hosts and their certificates", Count, 24, "1: the listener shows a certificate for the host that was asked for; 0: another's.")
                        .query(format!("sort({})", worst(&CERT_NAME_MATCH, certificate, &[])), "{{name}}"),
                ],
            ),
            (
                "Certificates that are issued here",
                vec![
                    Panel::new(Bars, "Time until renewal", Seconds, 12, "Until each certificate's renewal is due. Well below zero it does not succeed.")
                        .query(format!("sort({} - time())", worst(&ACME_RENEWAL_DUE, "certificate", &[])), "{{certificate}}").limits(0.0, -3_600.0),
                    Panel::new(Lines, "Orders", Count, 12, "Orders in each interval by result.")
                        .query(format!("sum by (certificate, result) (increase({}[$__rate_interval]))", of(&ACME_ORDERS, &[])), "{{certificate}} {{result}}"),
                    Panel::new(Lines, "Failures in a row", Count, 8, "Orders that failed since the last one that did not.")
                        .query(most(&ACME_FAILURES, "certificate", &[]), "{{certificate}}"),
                    Panel::new(Lines, "Budget left", Count, 8, "Certificates of each name that may be issued now by our own limit.")
                        .query(worst(&ACME_BUDGET, "certificate", &[]), "{{certificate}}"),
                    Panel::new(Bars, "Phases of the last order", Seconds, 8, "From the account to the first handshake that showed it.")
                        .query(most(&ACME_PHASE, "certificate, phase", &[]), "{{certificate}} {{phase}}"),
                    Panel::new(Bars, "Hosts that an authority would not find", Count, 24, "By the last pre-flight of each host: with one or more, the next renewal over plain HTTP fails.")
                        .query(most(&ACME_PREFLIGHT, "certificate, result", &[("result", "=", "failed")]), "{{certificate}}"),
                ],
            ),
        ],
    }
}

// === Self ===

fn own() -> Board {
    Board {
        uid: "vestibule-self",
        title: "Vestibule / Self",
        about: "Vestibule itself: is it there, does it have what it needs, does it lose anything?",
        from: "now-6h",
        variables: Vec::new(),
        rows: vec![
            (
                "Is it there?",
                vec![
                    Panel::new(Stat, "Reached", Count, 6, "Instances that answer the scraper.")
                        .query(format!("sum(up{{job=~\"$job\",job=\"{JOB}\"}})"), "up"),
                    Panel::new(Stat, "Version", Count, 6, "The version of each instance.")
                        .query(format!("count by (version) ({})", of(&BUILD_INFO, &[])), "{{version}}"),
                    Panel::new(Stat, "Started", Since, 6, "When the instance that started last did.")
                        .query(format!("max({}) * 1000", of(&PROCESS_START, &[])), "started"),
                    Panel::new(Stat, "Reloads refused", Count, 6, "Instances whose last reload was refused: what runs and what is on disk differ.")
                        .query(format!("sum({})", of(&CONFIG_REFUSED, &[])), "refused").limits(1.0, 1.0),
                    Panel::new(Lines, "Degraded parts", Count, 12, "1 while a part does not work as it should though traffic goes on.")
                        .query(most(&DEGRADED, "instance, part", &[]), "{{instance}} {{part}}"),
                    Panel::new(Lines, "Starts", Count, 12, "How often the start time changed within an hour.")
                        .query(format!("changes({}[1h])", of(&PROCESS_START, &[])), "{{instance}}").limits(1.0, 3.0),
                    Panel::new(Stat, "Configurations", Count, 24, "Instances by the hash of their configuration. More than one, and not all are told the same.")
                        .query(format!("count by (hash) ({})", of(&CONFIG_INFO, &[])), "{{hash}}"),
                ],
            ),
            (
                "Resources",
                vec![
                    Panel::new(Lines, "CPU", Share, 8, "Share of one core for each worker.")
                        .query(format!("{} / {}", rate(&PROCESS_CPU, &[]), of(&WORKERS, &[])), "{{instance}}").limits(0.7, 0.9),
                    Panel::new(Lines, "Memory", Bytes, 8, "Resident memory.")
                        .query(of(&PROCESS_RSS, &[]), "{{instance}}"),
                    Panel::new(Lines, "File descriptors", Share, 8, "Open ones of those that are allowed. Without a free one no connection is accepted.")
                        .query(format!("{} / {}", of(&PROCESS_FDS, &[]), of(&PROCESS_MAX_FDS, &[])), "{{instance}}").limits(0.6, 0.8),
                    Panel::new(Lines, "Connections", Count, 8, "Open client connections, and those that were upgraded.")
                        .query(of(&CONNECTIONS, &[]), "{{instance}} all")
                        .query(of(&TUNNELS, &[]), "{{instance}} upgraded"),
                    Panel::new(Lines, "Requests in flight", Count, 8, "Requests being served.")
                        .query(of(&IN_FLIGHT, &[]), "{{instance}}"),
                    Panel::new(Lines, "Connections not accepted", PerSecond, 8, "Connections per second that could not be accepted.")
                        .query(rate(&ACCEPT_FAILURES, &[]), "{{instance}}"),
                ],
            ),
            (
                "What it keeps and loses",
                vec![
                    Panel::new(Lines, "History", Bytes, 8, "Size of the history on disk.")
                        .query(of(&STORE_SIZE, &[]), "{{instance}}"),
                    Panel::new(Lines, "Minutes waiting to be written", Count, 8, "Above a few the disk does not keep up, or cannot be written.")
                        .query(of(&STORE_BACKLOG, &[]), "{{instance}}").limits(5.0, 30.0),
                    Panel::new(Lines, "Refused by bounded queues", Count, 8, "What each queue refused in each interval: lines of the access log, minutes of history.")
                        .query(format!("sum by (instance, queue) (increase({}[$__rate_interval]))", of(&DROPPED, &[])), "{{instance}} {{queue}}"),
                    Panel::new(Lines, "Time a scrape takes", Seconds, 12, "As Prometheus measures it.")
                        .query("scrape_duration_seconds{job=~\"$job\",instance=~\"$instance\"}", "{{instance}}"),
                    Panel::new(Lines, "Samples per scrape", Count, 12, "Label values come from the configuration or closed sets: it moves with the configuration, not with traffic.")
                        .query("scrape_samples_scraped{job=~\"$job\",instance=~\"$instance\"}", "{{instance}}"),
                    Panel::new(Lines, "Receivers of alerts told", Count, 24, "Attempts in each interval. A failed one is repeated until it arrives. Empty when nobody is to be told.")
                        .query(format!("sum by (instance, receiver, result) (increase({}[$__rate_interval]))", of(&NOTIFICATIONS, &[])), "{{instance}} {{receiver}} {{result}}"),
                ],
            ),
            (
                "What it sends by OTLP",
                vec![
                    Panel::new(Lines, "Taken by the receiver", PerSecond, 6, "Data points, spans and records per second.")
                        .query(format!("sum by (instance, signal) ({})", rate(&OTLP_SENT, &[])), "{{instance}} {{signal}}"),
                    Panel::new(Lines, "Lost on the way", Count, 6, "Data points, spans and records in each interval, by reason.")
                        .query(format!("sum by (instance, signal, reason) (increase({}[$__rate_interval]))", of(&OTLP_DROPPED, &[])), "{{instance}} {{signal}} {{reason}}"),
                    Panel::new(Lines, "Waiting for the receiver", Bytes, 6, "Encoded; at its bound, what comes newly is lost.")
                        .query(of(&OTLP_QUEUE, &[]), "{{instance}} {{signal}}"),
                    Panel::new(Lines, "Since the receiver took something", Seconds, 6, "Empty when nothing is exported.")
                        .query(format!("time() - {}", of(&OTLP_LAST_SUCCESS, &[])), "{{instance}} {{signal}}"),
                ],
            ),
        ],
    }
}
