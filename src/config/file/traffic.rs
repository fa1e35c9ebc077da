//! Where requests come in and where they go: listeners, certificates, upstreams and routes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::clients::ClientCertificates;
use super::elsewhere::{RouteHsts, RouteRedirect, RouteRewrite};
use super::{DAY, HOUR, MIB, MILLISECOND, SECOND, TIB};
use crate::config::finding::Span;
use crate::config::keys::{Keys, Located, Section};
use crate::config::kind::{
    ADDRESS, Count, ENDPOINT, EXACT_PATH, FILE, Flag, HASH_KEY, HEADER_CONDITION, HEADER_LINE,
    HEADER_NAME, HOST, METHOD, NAME, NETWORK, OWNER, PATH_PREFIX, PATH_REGEX, QUERY_CONDITION,
    SERVER_NAME, Size, Time, Word,
};
use crate::config::outline::Rule;
use crate::proxy::config::{
    Breaker, Encoded, Endpoint, HashKey, HeaderLine, HostHeader, Https, Network, Timeouts,
};
use crate::proxy::gate::LONGEST_WINDOW;
use crate::routing::condition::{HeaderCondition, QueryCondition};
use crate::routing::pattern::{HostPattern, PathPattern};

/// `[[listener]]`
#[derive(Clone, Debug)]
pub(in crate::config) struct Listener {
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) address: Option<Located<SocketAddr>>,
    pub(in crate::config) certificates: Vec<Located<String>>,
    pub(in crate::config) proxy_protocol: Located<bool>,
    pub(in crate::config) clients: ClientCertificates,
}

impl Section for Listener {
    const TITLE: &'static str = "`[[listener]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            name: keys.required("name", &NAME, "Its unique name."),
            address: keys.required(
                "address",
                &ADDRESS,
                "Where it listens. With port 0 the system chooses a port.",
            ),
            certificates: keys.list(
                "certificates",
                &NAME,
                1_000,
                "plain text",
                "Names of the certificates it serves. A client that asks for none of their hosts is refused.",
            ),
            proxy_protocol: keys.or(
                "proxy_protocol",
                &Flag,
                false,
                "Whether the `trusted_proxies` of `[proxy]` begin each connection with a PROXY header (version 1 or 2) that \
                 says whose it is. Then everybody else is refused, and so is who says it wrongly or not within \
                 `handshake_timeout`.",
            ),
            clients: keys.table(
                "client_certificates",
                "Whom a TLS listener asks for a certificate (mTLS), and what upstreams are told of it. Such a listener's \
                 connections carry requests for the name they were made for alone, all others are answered 421, and no \
                 session is resumed.",
            ),
        }
    }
}

/// `[[certificate]]`
#[derive(Clone, Debug)]
pub(in crate::config) struct Certificate {
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) chain_file: Option<Located<PathBuf>>,
    pub(in crate::config) key_file: Option<Located<PathBuf>>,
    pub(in crate::config) acme: Option<Located<String>>,
    pub(in crate::config) hosts: Vec<Located<HostPattern>>,
}

impl Section for Certificate {
    const TITLE: &'static str = "`[[certificate]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        let section = Self {
            name: keys.required("name", &NAME, "Its unique name."),
            chain_file: keys.optional(
                "chain_file",
                &FILE,
                "required unless `acme` is there",
                "The certificate and its intermediates as PEM, leaf first.",
            ),
            key_file: keys.optional(
                "key_file",
                &FILE,
                "required with `chain_file`",
                "The private key as PEM.",
            ),
            acme: keys.optional(
                "acme",
                &NAME,
                "it is read from `chain_file` and `key_file`",
                "The name of the `[[acme]]` that issues it.",
            ),
            hosts: keys.list(
                "hosts",
                &HOST,
                100,
                "required with `acme`",
                "The hosts that it is to be issued for.",
            ),
        };
        keys.rule(Rule::AtMostOne("chain_file", "acme"));
        section
    }
}

/// `[[upstream]]`
#[derive(Clone, Debug)]
pub(in crate::config) struct Upstream {
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) endpoints: Vec<Located<Endpoint>>,
    pub(in crate::config) connect_timeout: Located<Duration>,
    pub(in crate::config) idle_timeout: Located<Duration>,
    pub(in crate::config) idle_connections: Located<usize>,
    pub(in crate::config) eject_after: Located<usize>,
    pub(in crate::config) balance: Located<Balancing>,
    pub(in crate::config) hash_on: Option<Located<HashKey>>,
    pub(in crate::config) slow_start: Located<Duration>,
    pub(in crate::config) panic_below: Located<usize>,
    pub(in crate::config) tls: UpstreamTls,
    pub(in crate::config) health: UpstreamHealth,
    pub(in crate::config) breaker: UpstreamBreaker,
}

impl Section for Upstream {
    const TITLE: &'static str = "`[[upstream]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        let section = Self {
            name: keys.required("name", &NAME, "Its unique name."),
            endpoints: keys.list(
                "endpoints",
                &ENDPOINT,
                1_000,
                "its requests are answered 503",
                "The servers behind it, by `http://` or `https://`, host and port, without a path. ` weight=3` behind one \
                 gives it three times the share of one without.",
            ),
            balance: keys.or(
                "balance",
                &BALANCING,
                Balancing::RoundRobin,
                "Which endpoint takes a request. `round_robin`: each in turn. `least_requests`: of two drawn by weight the \
                 one with fewer requests in flight. `latency`: of two the one that would answer sooner, by its latency \
                 (peaks weigh at once and fade over 10 s) times its requests in flight; a failure counts as a second. \
                 `hash`: the same one for the same `hash_on`; when it is down, its keys alone move. Each worker judges by \
                 what it has seen itself.",
            ),
            hash_on: keys.optional(
                "hash_on",
                &HASH_KEY,
                "only with `balance = \"hash\"`, and required there",
                "What is the same for requests that belong to the same endpoint: `client` (its address), `path`, \
                 `header:NAME` or `cookie:NAME`. A request that has it not goes by its client's address.",
            ),
            slow_start: keys.or(
                "slow_start",
                &Time(Duration::ZERO..=HOUR),
                Duration::ZERO,
                "How long an endpoint that comes back, or is new, is given less than its share: a tenth at first, then \
                 more and more. Not with `hash`. Zero: it gets its share at once.",
            ),
            panic_below: keys.or(
                "panic_below",
                &Count(0..=100),
                50,
                "When fewer than this many of a hundred endpoints answer their health checks, the checks are not believed \
                 and all endpoints are tried alike: the few that are left would only be overrun. 0: they always are.",
            ),
            connect_timeout: keys.or(
                "connect_timeout",
                &Time(MILLISECOND..=HOUR),
                SECOND * 5,
                "How long to wait for a connection, its TLS handshake included.",
            ),
            idle_timeout: keys.or(
                "idle_timeout",
                &Time(MILLISECOND..=HOUR),
                SECOND * 4,
                "How long an unused connection is kept. Keep it below the servers' own keep-alive, commonly 5 s, so \
                 that no request is sent into a connection that is being closed.",
            ),
            idle_connections: keys.or(
                "idle_connections",
                &Count(0..=10_000),
                64,
                "Unused connections kept per worker and endpoint.",
            ),
            eject_after: keys.or(
                "eject_after",
                &Count(0..=1_000),
                0,
                "Failures in a row (5xx, resets, timeouts) after which a worker leaves an endpoint alone for 10 s, longer \
                 each time that it goes on. Never more than half of the endpoints are, and so never the only one. 0: \
                 no endpoint ever is.",
            ),
            tls: keys.table("tls", "How the certificates of `https` endpoints are verified."),
            health: keys.table(
                "health",
                "What every endpoint is asked again and again. One that does not answer is tried last; its standing shows \
                 in `vestibule_endpoint_healthy`, on the screens and as an event. Checks are not traffic: no SLO counts \
                 them.",
            ),
            breaker: keys.table(
                "breaker",
                "When requests are refused instead of sent to it. They are answered 503 with `Retry-After` and count as the \
                 upstream's doing. Limits hold for all workers together; nothing is limited unless it is written here.",
            ),
        };
        keys.rule(Rule::OnlyWith {
            key: "hash_on",
            of: "balance",
            value: "hash",
        });
        section
    }
}

/// How endpoints share requests, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Balancing {
    RoundRobin,
    LeastRequests,
    Latency,
    Hash,
}

const BALANCING: Word<Balancing> = Word(&[
    ("round_robin", Balancing::RoundRobin),
    ("least_requests", Balancing::LeastRequests),
    ("latency", Balancing::Latency),
    ("hash", Balancing::Hash),
]);

/// `[upstream.health]`
#[derive(Clone, Debug)]
pub(in crate::config) struct UpstreamHealth {
    pub(in crate::config) probe: Located<Question>,
    pub(in crate::config) path: Option<Located<PathPattern>>,
    pub(in crate::config) interval: Located<Duration>,
    pub(in crate::config) timeout: Located<Duration>,
    pub(in crate::config) rise: Located<usize>,
    pub(in crate::config) fall: Located<usize>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Question {
    Off,
    Tcp,
    Http,
}

const QUESTIONS: Word<Question> = Word(&[
    ("off", Question::Off),
    ("tcp", Question::Tcp),
    ("http", Question::Http),
]);

impl Section for UpstreamHealth {
    const TITLE: &'static str = "`upstream.health`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        let section = Self {
            probe: keys.or(
                "probe",
                &QUESTIONS,
                Question::Off,
                "The question. `tcp`: whether it can be connected to, TLS included. `http`: a GET, to be answered with 2xx \
                 or 3xx.",
            ),
            path: keys.optional(
                "path",
                &EXACT_PATH,
                "only with `probe = \"http\"`, and required there",
                "The path that is asked for.",
            ),
            interval: keys.or(
                "interval",
                &Time(MILLISECOND * 100..=HOUR),
                SECOND * 5,
                "Between an answer and the next question, a tenth more or less.",
            ),
            timeout: keys.or(
                "timeout",
                &Time(MILLISECOND * 10..=HOUR),
                SECOND * 2,
                "For the whole of one question, connecting included.",
            ),
            rise: keys.or("rise", &Count(1..=100), 2, "Good answers in a row that bring an endpoint back."),
            fall: keys.or("fall", &Count(1..=100), 3, "Bad answers in a row that take an endpoint away."),
        };
        keys.rule(Rule::OnlyWith {
            key: "path",
            of: "probe",
            value: "http",
        });
        section
    }
}

/// `[upstream.breaker]`
#[derive(Clone, Debug)]
pub(in crate::config) struct UpstreamBreaker {
    /// Where it is; `None`: nowhere.
    pub(in crate::config) written: Option<Span>,
    pub(in crate::config) max_in_flight: Option<Located<usize>>,
    pub(in crate::config) max_pending: Option<Located<usize>>,
    pub(in crate::config) failure_percent: Option<Located<usize>>,
    pub(in crate::config) window: Located<Duration>,
    pub(in crate::config) min_requests: Located<usize>,
    pub(in crate::config) open_for: Located<Duration>,
    pub(in crate::config) trials: Located<usize>,
}

impl Section for UpstreamBreaker {
    const TITLE: &'static str = "`upstream.breaker`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        let default = Breaker::default();
        Self {
            written: keys.written(),
            max_in_flight: keys.optional(
                "max_in_flight",
                &Count(1..=1_000_000),
                "any number",
                "Requests with it at a time, from the choice of an endpoint to the last byte of the response. One more is \
                 answered 503 (`upstream_full`).",
            ),
            max_pending: keys.optional(
                "max_pending",
                &Count(1..=1_000_000),
                "any number",
                "Those of them that wait for a connection. One more is answered 503 (`upstream_full`).",
            ),
            failure_percent: keys.optional(
                "failure_percent",
                &Count(1..=100),
                "it never opens",
                "When this many of a hundred attempts in `window` failed (5xx, reset, timeout, no connection), the circuit \
                 opens: requests are answered 503 (`circuit_open`) at once.",
            ),
            window: keys.or(
                "window",
                &Time(SECOND..=LONGEST_WINDOW),
                default.window,
                "The time over which `failure_percent` is judged, to a tenth of it.",
            ),
            min_requests: keys.or(
                "min_requests",
                &Count(1..=1_000_000),
                default.min_requests as usize,
                "Attempts in `window` below which nothing is judged.",
            ),
            open_for: keys.or(
                "open_for",
                &Time(MILLISECOND * 100..=HOUR),
                default.open_for,
                "How long the circuit stays open, before `trials` requests are let through to see whether it works again. \
                 Twice as long each time that one of them fails, up to sixteen times.",
            ),
            trials: keys.or(
                "trials",
                &Count(1..=100),
                usize::from(default.trials),
                "Requests that are let through at a time once `open_for` is over. When all of them went well the circuit \
                 closes; when one fails it opens again.",
            ),
        }
    }
}

/// `[upstream.tls]`
#[derive(Clone, Debug)]
pub(in crate::config) struct UpstreamTls {
    pub(in crate::config) roots_file: Option<Located<PathBuf>>,
    pub(in crate::config) server_name: Option<Located<String>>,
    pub(in crate::config) insecure: Located<bool>,
}

impl Section for UpstreamTls {
    const TITLE: &'static str = "`upstream.tls`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            roots_file: keys.optional(
                "roots_file",
                &FILE,
                "the system's roots",
                "Roots to trust as PEM, instead of the system's.",
            ),
            server_name: keys.optional(
                "server_name",
                &SERVER_NAME,
                "the endpoint's host",
                "The name to ask for and to verify.",
            ),
            insecure: keys.or(
                "insecure",
                &Flag,
                false,
                "Do not verify certificates at all. For tests only: whoever is on the way can read and change \
                 everything.",
            ),
        }
    }
}

/// `[[route]]`
#[derive(Clone, Debug)]
pub(in crate::config) struct Route {
    pub(in crate::config) id: Option<Located<String>>,
    pub(in crate::config) listeners: Vec<Located<String>>,
    pub(in crate::config) hosts: Vec<Located<HostPattern>>,
    pub(in crate::config) path: Located<PathPattern>,
    pub(in crate::config) methods: Vec<Located<String>>,
    pub(in crate::config) headers: Vec<Located<HeaderCondition>>,
    pub(in crate::config) query: Vec<Located<QueryCondition>>,
    pub(in crate::config) encoded: Located<Encoded>,
    pub(in crate::config) upstream: Option<Located<String>>,
    pub(in crate::config) allow_from: Vec<Located<Network>>,
    pub(in crate::config) deny_from: Vec<Located<Network>>,
    pub(in crate::config) certified: Located<bool>,
    pub(in crate::config) rate_limits: Vec<Located<String>>,
    pub(in crate::config) https: Located<Https>,
    pub(in crate::config) websocket: Located<bool>,
    pub(in crate::config) host_header: Located<HostHeader>,
    pub(in crate::config) max_body: Located<u64>,
    pub(in crate::config) owner: Option<Located<String>>,
    pub(in crate::config) timeouts: RouteTimeouts,
    pub(in crate::config) retry: RouteRetry,
    pub(in crate::config) redirect: RouteRedirect,
    pub(in crate::config) rewrite: RouteRewrite,
    pub(in crate::config) hsts: RouteHsts,
    pub(in crate::config) request_headers: RequestHeaders,
    pub(in crate::config) response_headers: ResponseHeaders,
}

const HOST_HEADERS: Word<HostHeader> = Word(&[
    ("client", HostHeader::Client),
    ("endpoint", HostHeader::Endpoint),
]);

const CLIENT_CERTIFICATE: Word<bool> = Word(&[("any", false), ("required", true)]);

const HTTPS: Word<Https> = Word(&[("any", Https::Any), ("redirect", Https::Redirect)]);

const ENCODED: Word<Encoded> = Word(&[
    ("refuse", Encoded::Refuse),
    ("report", Encoded::Report),
    ("keep", Encoded::Keep),
]);

impl Section for Route {
    const TITLE: &'static str = "`[[route]]`";

    #[expect(clippy::too_many_lines, reason = "a table: one entry per key")]
    fn read(keys: &mut Keys<'_, '_>) -> Self {
        let id = keys.required(
            "id",
            &NAME,
            "Its unique id: the label of everything measured about it. `none` is taken.",
        );
        let listeners = keys.list(
            "listeners",
            &NAME,
            64,
            "every listener",
            "Names of the listeners it takes requests from.",
        );
        let hosts = keys.list(
            "hosts",
            &HOST,
            32,
            "every host",
            "Hosts it takes, without port. `*.shop.example` takes every name below `shop.example`, not itself.",
        );
        let below = keys.or(
            "path",
            &PATH_PREFIX,
            PathPattern::Prefix(String::new()),
            "The path it takes, with everything below by whole elements: `/api` takes `/api` and `/api/x`, not \
             `/apis`.",
        );
        let exact = keys.optional(
            "path_exact",
            &EXACT_PATH,
            "`path` says",
            "The one path it takes, with nothing below.",
        );
        let matching = keys.optional(
            "path_regex",
            &PATH_REGEX,
            "`path` says",
            "A regular expression for the paths it takes, always held against the whole path and in linear time. The \
             path it sees has its one form: no dot segments, no `//`, `%XX` in upper case.",
        );
        keys.rule(Rule::AtMostOne("path", "path_exact"));
        keys.rule(Rule::AtMostOne("path", "path_regex"));
        keys.rule(Rule::AtMostOne("path_exact", "path_regex"));
        Self {
            id,
            listeners,
            hosts,
            path: exact.or(matching).unwrap_or(below),
            methods: keys.list(
                "methods",
                &METHOD,
                16,
                "every method",
                "Methods it takes, in upper case.",
            ),
            headers: keys.list(
                "headers",
                &HEADER_CONDITION,
                16,
                "whatever its headers",
                "Headers that a request must have, all of them. Values are case-sensitive; a header that is sent twice has \
                 the value `first, second`.",
            ),
            query: keys.list(
                "query",
                &QUERY_CONDITION,
                16,
                "whatever its query",
                "Query parameters that a request must have, all of them, compared decoded. Of several with one name the \
                 first counts.",
            ),
            encoded: keys.or(
                "encoded",
                &ENCODED,
                Encoded::default(),
                "What becomes of a path with an encoded separator (`%2F`, `%5C`, `%3F`, `%23`, `%3B`, `%00`), which some \
                 servers read as data and others as a separator: `refuse` answers 400; `keep` takes it as data, never as \
                 a separator, and passes it on; `report` does the same and counts it, to see who would be refused.",
            ),
            upstream: keys.optional(
                "upstream",
                &NAME,
                "required unless there is `redirect`",
                "The name of the upstream it goes to.",
            ),
            allow_from: keys.list(
                "allow_from",
                &NETWORK,
                1_000,
                "everybody",
                "Networks of the clients it answers; all others are answered 403. The client is whom `trusted_proxies` \
                 name, else the peer.",
            ),
            deny_from: keys.list(
                "deny_from",
                &NETWORK,
                1_000,
                "nobody",
                "Networks of clients that are answered 403, whatever `allow_from` says.",
            ),
            certified: keys.or(
                "client_certificate",
                &CLIENT_CERTIFICATE,
                false,
                "`required`: a client that has shown no certificate is answered 403. A listener of the route must have \
                 `client_certificates`.",
            ),
            rate_limits: keys.list(
                "rate_limits",
                &NAME,
                8,
                "no limit",
                "Names of the rate limits that its requests are under. One that is over any of them is answered 429, which \
                 is the client's doing and spends no budget.",
            ),
            https: keys.or(
                "https",
                &HTTPS,
                Https::default(),
                "What becomes of a request over plain text: `redirect` answers 308 to the same place at `https://`, without \
                 a port. What a trusted proxy received over TLS counts as such.",
            ),
            websocket: keys.or(
                "websocket",
                &Flag,
                false,
                "Whether a WebSocket upgrade may pass.",
            ),
            host_header: keys.or(
                "host_header",
                &HOST_HEADERS,
                HostHeader::default(),
                "Which Host header the upstream sees: the client's, or the endpoint's own address.",
            ),
            max_body: keys.or(
                "max_body",
                &Size(0..=TIB),
                64 * MIB,
                "The largest request body; a larger one is answered 413.",
            ),
            owner: keys.optional(
                "owner",
                &OWNER,
                "nobody is named",
                "Who answers for it: a team, a person, a channel. Shown in alerts.",
            ),
            timeouts: keys.table("timeouts", "How long each part of a request may take."),
            retry: keys.table(
                "retry",
                "When a request that failed goes out again. Every attempt that failed is counted at its endpoint, so \
                 retries hide nothing. One that cannot have been acted on (no connection, or one that had been closed \
                 already) is sent elsewhere without any of this.",
            ),
            redirect: keys.table(
                "redirect",
                "Where its requests are sent instead of an upstream. A request over plain text goes to `https` first if \
                 `https = \"redirect\"` says so.",
            ),
            rewrite: keys.table(
                "rewrite",
                "Where paths have gone upstream; logs and screens show them as they were asked for. The new path is looked \
                 up once more: if it belongs to a route that would not answer the client, neither does this one.",
            ),
            hsts: keys.table(
                "hsts",
                "What every response over TLS says so that clients come by TLS alone (`Strict-Transport-Security`).",
            ),
            request_headers: keys.table(
                "request_headers",
                "What is changed about a request's headers on the way upstream.",
            ),
            response_headers: keys.table(
                "response_headers",
                "What is changed about an upstream's response headers on the way to the client.",
            ),
        }
    }
}

/// `[route.request_headers]`
#[derive(Clone, Debug)]
pub(in crate::config) struct RequestHeaders {
    pub(in crate::config) remove: Vec<Located<HeaderName>>,
    pub(in crate::config) set: Vec<Located<HeaderLine>>,
}

impl Section for RequestHeaders {
    const TITLE: &'static str = "`route.request_headers`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            remove: keys.list("remove", &HEADER_NAME, 64, "none", "Headers that go."),
            set: keys.list(
                "set",
                &HEADER_LINE,
                64,
                "none",
                "Headers and the one value they get.",
            ),
        }
    }
}

/// `[route.response_headers]`
#[derive(Clone, Debug)]
pub(in crate::config) struct ResponseHeaders {
    pub(in crate::config) remove: Vec<Located<HeaderName>>,
    pub(in crate::config) set: Vec<Located<HeaderLine>>,
    pub(in crate::config) add: Vec<Located<HeaderLine>>,
}

impl Section for ResponseHeaders {
    const TITLE: &'static str = "`route.response_headers`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            remove: keys.list("remove", &HEADER_NAME, 64, "none", "Headers that go."),
            set: keys.list(
                "set",
                &HEADER_LINE,
                64,
                "none",
                "Headers and the one value they get.",
            ),
            add: keys.list(
                "add",
                &HEADER_LINE,
                64,
                "none",
                "Headers that get one value more, such as `vary: origin`.",
            ),
        }
    }
}

/// `[route.timeouts]`
#[derive(Clone, Debug)]
pub(in crate::config) struct RouteTimeouts {
    pub(in crate::config) first_byte: Located<Duration>,
    pub(in crate::config) idle: Located<Duration>,
    pub(in crate::config) total: Option<Located<Duration>>,
}

impl Section for RouteTimeouts {
    const TITLE: &'static str = "`route.timeouts`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        let default = Timeouts::default();
        Self {
            first_byte: keys.or(
                "first_byte",
                &Time(MILLISECOND..=DAY),
                default.first_byte,
                "From the request being sent upstream to the response's head.",
            ),
            idle: keys.or(
                "idle",
                &Time(MILLISECOND..=DAY),
                default.idle,
                "Without a byte in either direction while a body is on its way.",
            ),
            total: keys.optional(
                "total",
                &Time(MILLISECOND..=DAY),
                "as long as bytes keep flowing",
                "The whole exchange.",
            ),
        }
    }
}

/// `[route.retry]`
#[derive(Clone, Debug)]
pub(in crate::config) struct RouteRetry {
    pub(in crate::config) attempts: Located<usize>,
    on: Vec<Located<RetryOn>>,
    pub(in crate::config) per_try: Option<Located<Duration>>,
    pub(in crate::config) budget: Located<usize>,
}

/// What is worth another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum RetryOn {
    Reset,
    Timeout,
    Status(u16),
}

impl RetryOn {
    /// The status it stands for, if it is one.
    pub(in crate::config) const fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status),
            Self::Reset | Self::Timeout => None,
        }
    }
}

const RETRY_ON: Word<RetryOn> = Word(&[
    ("reset", RetryOn::Reset),
    ("timeout", RetryOn::Timeout),
    ("500", RetryOn::Status(500)),
    ("502", RetryOn::Status(502)),
    ("503", RetryOn::Status(503)),
    ("504", RetryOn::Status(504)),
]);

impl RouteRetry {
    /// What is worth another attempt.
    pub(in crate::config) fn on(&self) -> Vec<RetryOn> {
        if self.on.is_empty() {
            let statuses = [502, 503, 504].map(RetryOn::Status);
            return [&[RetryOn::Reset][..], &statuses].concat();
        }
        self.on.iter().map(|on| on.value).collect()
    }
}

impl Section for RouteRetry {
    const TITLE: &'static str = "`route.retry`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            attempts: keys.or(
                "attempts",
                &Count(0..=5),
                0,
                "Attempts beside the first, on another endpoint if there is one. Only for requests without a body whose \
                 method may be repeated (GET, HEAD, OPTIONS, TRACE, PUT, DELETE). 0: none.",
            ),
            on: keys.list(
                "on",
                &RETRY_ON,
                6,
                "`[\"reset\", \"502\", \"503\", \"504\"]`",
                "What is worth another attempt: `reset` (cut off before the response), `timeout` (no response within \
                 `per_try`), or a status.",
            ),
            per_try: keys.optional(
                "per_try",
                &Time(MILLISECOND..=DAY),
                "the route's `first_byte`",
                "How long each attempt waits for its response's head.",
            ),
            budget: keys.or(
                "budget",
                &Count(0..=100),
                20,
                "Retries for a hundred requests, per worker, ten saved up at most and one a second for free: what keeps \
                 retries from finishing off a service that is down. Those it refuses count in \
                 `vestibule_retries_refused_total`.",
            ),
        }
    }
}
