//! The shape of `vestibule.toml`: every table and every key, once.
//!
//! Each `read` below is at the same time the parser, the JSON Schema and the reference of its table; see
//! [`keys`](super::keys). What keys mean together is [`resolve`](super::resolve)'s.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::keys::{Item, Keys, Located, Section};
use super::kind::{
    ACCESS_LOG, Count, FILE, Flag, LINT, LOOPBACK, NAME, NETWORK, OWNER, Size, Time, WEB_PAGE,
};
use super::lint::Lint;
use crate::export::accesslog;
use crate::proxy::config::{Limits, Network};
use crate::store;

mod acme;
mod clients;
mod dns;
mod elsewhere;
mod export;
mod notify;
mod promise;
mod rate;
mod revocation;
mod synthetic;
mod traffic;

pub(super) use acme::Authority;
pub(super) use clients::{Ask, ClientCertificates};
pub(super) use dns::{Dns, DnsAuthority};
pub(super) use elsewhere::RouteHsts;
pub(super) use export::{Otlp, OtlpLogs, OtlpMetrics, OtlpTraces};
pub(super) use notify::Receiver;
pub(super) use promise::{
    Budgeting, Indicator, MOST_MIN_BAD, Part, Policy, PolicyRow, Shipped, Slo,
};
pub(super) use rate::RateLimit;
pub(super) use revocation::Revocation;
pub(super) use synthetic::{
    Answer, CaptureTable, Expect, JourneyTable, JsonTable, Manner, Module, Probe, ProbeFile,
    StepTable,
};
pub(super) use traffic::{
    Balancing, Certificate, Listener, Question, RetryOn, Route, RouteRetry, Upstream,
    UpstreamBreaker, UpstreamHealth,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
pub(in crate::config) const DAY: Duration = Duration::from_secs(86_400);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Routes, upstreams, certificates and SLOs, each.
const MOST_THINGS: usize = 10_000;

/// The whole file.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) instance: Instance,
    pub(super) state: State,
    pub(super) listeners: Vec<Item<Listener>>,
    pub(super) certificates: Vec<Item<Certificate>>,
    pub(super) authorities: Vec<Item<Authority>>,
    pub(super) upstreams: Vec<Item<Upstream>>,
    pub(super) routes: Vec<Item<Route>>,
    pub(super) rate_limits: Vec<Item<RateLimit>>,
    pub(super) slos: Vec<Item<Slo>>,
    pub(super) policies: Vec<Item<Policy>>,
    pub(super) proxy: Proxy,
    pub(super) limits: ClientLimits,
    pub(super) history: History,
    pub(super) admin: Admin,
    pub(super) access_log: AccessLog,
    pub(super) generate: Generate,
    pub(super) receivers: Vec<Item<Receiver>>,
    pub(super) allowed: Vec<Item<Allow>>,
    pub(super) probes: Probes,
    pub(super) revocation: Revocation,
    pub(super) dns: Dns,
    pub(super) otlp: Otlp,
}

impl Section for File {
    const TITLE: &'static str = "the configuration";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            instance: keys.table("instance", "This Vestibule among others."),
            state: keys.table("state", "What outlives a restart."),
            listeners: keys.tables(
                "listener",
                1,
                64,
                "A socket to listen on. With certificates it speaks TLS, without them plain text.",
            ),
            certificates: keys.tables(
                "certificate",
                0,
                MOST_THINGS,
                "A certificate and its key: either files, which are read at the start and at each reload, or issued and \
                 renewed while Vestibule runs. Which hosts it serves is read from the certificate.",
            ),
            authorities: keys.tables(
                "acme",
                0,
                100,
                "A certificate authority that issues certificates by ACME (RFC 8555). Only the `hosts` of a \
                 `[[certificate]]` are ever asked for, whatever clients ask for.",
            ),
            upstreams: keys.tables(
                "upstream",
                0,
                MOST_THINGS,
                "A named group of endpoints that requests are forwarded to.",
            ),
            routes: keys.tables(
                "route",
                0,
                MOST_THINGS,
                "A rule that selects requests and says where they go. The most specific route takes a request, wherever \
                 it stands in the file. A request that no route takes is answered 404 and counted under the route \
                 `none`.",
            ),
            rate_limits: keys.tables(
                "rate_limit",
                0,
                100,
                "How many requests who may make. Routes name the limits that they are under. Buckets are shared by all \
                 workers, and outlive a reload that does not change them.",
            ),
            slos: keys.tables(
                "slo",
                0,
                MOST_THINGS,
                "A service-level objective: what is promised about a route, and when its breach wakes someone.",
            ),
            policies: keys.tables(
                "policy",
                0,
                100,
                "When a burn rate is worth an alert. Two policies need no configuration: `workbook` (the multi-window \
                 rows of the SRE Workbook, chapter 5) and `hourly` (pages at five and at ten times over an hour).",
            ),
            proxy: keys.table("proxy", "The data plane as a whole."),
            limits: keys.table("limits", "What clients may send, and how slowly."),
            history: keys.table(
                "history",
                "How long measurements are kept on disk. Every SLO's window must fit into `hours`.",
            ),
            admin: keys.table(
                "admin",
                "The admin API, which `vestibule status` and `vestibule top` read.",
            ),
            access_log: keys.table("access_log", "One line of JSON per request."),
            generate: keys.table(
                "generate",
                "What `vestibule generate` writes: alerting rules, dashboards, runbooks, and where their links lead.",
            ),
            receivers: keys.tables(
                "notify",
                0,
                100,
                "Someone who is told when an alert fires and when it ends. `vestibule notify test` tries them.",
            ),
            allowed: keys.tables(
                "allow",
                0,
                1_000,
                "What `vestibule check` would complain about and is meant so. docs/lints.md lists the lints.",
            ),
            probes: keys.table(
                "probes",
                "Synthetic probes. What a file of them holds is in [probes.md](probes.md).",
            ),
            revocation: keys.table(
                "revocation",
                "Lists of revoked certificates (CRL). What they say of certificates of the configuration is in `vestibule \
                 certs`, and one that is revoked is a page.",
            ),
            dns: keys.table("dns", "The names that traffic depends on."),
            otlp: keys.table(
                "otlp",
                "Telemetry for an OpenTelemetry receiver. The standard `OTEL_*` variables hold where the file says \
                 nothing; `OTEL_SDK_DISABLED=true` switches everything off.",
            ),
        }
    }
}

/// `[instance]`
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) name: Option<Located<String>>,
}

impl Section for Instance {
    const TITLE: &'static str = "`[instance]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            name: keys.optional(
                "name",
                &NAME,
                "the host's name",
                "Its name in alerts, exports and on screens.",
            ),
        }
    }
}

/// `[state]`
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) dir: Located<PathBuf>,
}

impl Section for State {
    const TITLE: &'static str = "`[state]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            dir: keys.or(
                "dir",
                &FILE,
                PathBuf::from("vestibule-state"),
                "The directory of the history and of the admin socket. Made when it is not there.",
            ),
        }
    }
}

/// `[proxy]`
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    pub(super) workers: Option<Located<usize>>,
    pub(super) trusted_proxies: Vec<Located<Network>>,
    pub(super) drain: Located<Duration>,
}

impl Section for Proxy {
    const TITLE: &'static str = "`[proxy]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            workers: keys.optional(
                "workers",
                &Count(1..=1_024),
                "one per core",
                "Threads that serve requests.",
            ),
            trusted_proxies: keys.list(
                "trusted_proxies",
                &NETWORK,
                1_000,
                "nobody",
                "Networks of proxies in front of this one whose forwarding headers are believed.",
            ),
            drain: keys.or(
                "drain",
                &Time(Duration::ZERO..=HOUR),
                SECOND * 30,
                "How long requests in flight may go on after a stop was asked for.",
            ),
        }
    }
}

/// `[limits]`
#[derive(Clone, Debug)]
pub(super) struct ClientLimits {
    pub(super) header_timeout: Located<Duration>,
    pub(super) keep_alive: Located<Duration>,
    pub(super) client_idle: Located<Duration>,
    pub(super) handshake_timeout: Located<Duration>,
    pub(super) max_header_size: Located<u64>,
    pub(super) max_headers: Located<usize>,
    pub(super) max_connections: Located<usize>,
}

impl Section for ClientLimits {
    const TITLE: &'static str = "`[limits]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        let default = Limits::default();
        Self {
            header_timeout: keys.or(
                "header_timeout",
                &Time(MILLISECOND..=HOUR),
                default.header_timeout,
                "For a request's head to arrive once its first byte has.",
            ),
            keep_alive: keys.or(
                "keep_alive",
                &Time(MILLISECOND..=HOUR),
                default.keep_alive,
                "How long a connection may wait for its next request.",
            ),
            client_idle: keys.or(
                "client_idle",
                &Time(MILLISECOND..=HOUR),
                default.client_idle,
                "How long a client may take none of the bytes that wait for it.",
            ),
            handshake_timeout: keys.or(
                "handshake_timeout",
                &Time(MILLISECOND..=HOUR),
                default.handshake_timeout,
                "For a TLS handshake.",
            ),
            max_header_size: keys.or(
                "max_header_size",
                &Size(8 * KIB..=MIB),
                default.max_header_bytes as u64,
                "The largest head of a request; a larger one is answered 431.",
            ),
            max_headers: keys.or(
                "max_headers",
                &Count(1..=1_000),
                default.max_headers,
                "The most headers of a request.",
            ),
            max_connections: keys.or(
                "max_connections",
                &Count(1..=1_000_000),
                default.max_connections,
                "Client connections per worker; further ones wait in the listen queue.",
            ),
        }
    }
}

/// `[history]`
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) minutes: Located<Duration>,
    pub(super) minute_latencies: Located<Duration>,
    pub(super) hours: Located<Duration>,
    pub(super) max_size: Located<u64>,
}

impl Section for History {
    const TITLE: &'static str = "`[history]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        let default = store::Config::new(PathBuf::new());
        Self {
            minutes: keys.or(
                "minutes",
                &Time(HOUR..=DAY * 366),
                default.minutes,
                "How long counts are kept by the minute.",
            ),
            minute_latencies: keys.or(
                "minute_latencies",
                &Time(HOUR..=DAY * 366),
                default.minute_latencies,
                "How long latency distributions are kept by the minute. They are the bulk of the history.",
            ),
            hours: keys.or(
                "hours",
                &Time(HOUR..=DAY * 3_660),
                default.hours,
                "How long counts and latency distributions are kept by the hour.",
            ),
            max_size: keys.or(
                "max_size",
                &Size(16 * MIB..=TIB),
                default.max_bytes,
                "How large the history may grow. Beyond it the oldest latency distributions go first; counts stay.",
            ),
        }
    }
}

/// `[admin]`
#[derive(Clone, Debug)]
pub(super) struct Admin {
    pub(super) socket: Option<Located<PathBuf>>,
    pub(super) listen: Option<Located<SocketAddr>>,
}

impl Section for Admin {
    const TITLE: &'static str = "`[admin]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            socket: keys.optional(
                "socket",
                &FILE,
                "`vestibule.sock` in the state directory",
                "Its unix socket.",
            ),
            listen: keys.optional(
                "listen",
                &LOOPBACK,
                "the unix socket only",
                "A loopback address to listen on as well, for scrapers.",
            ),
        }
    }
}

/// `[[allow]]`
#[derive(Clone, Debug)]
pub(super) struct Allow {
    pub(super) lints: Vec<Located<Lint>>,
    pub(super) about: Option<Located<String>>,
}

impl Section for Allow {
    const TITLE: &'static str = "`[[allow]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        // Whoever reads the file later needs it; the program does not.
        keys.required("reason", &OWNER, "Why it is meant so.");
        Self {
            lints: keys.list("lints", &LINT, 100, "nothing is allowed", "Ids of lints."),
            about: keys.optional(
                "about",
                &NAME,
                "wherever they are found",
                "The id or name of the route, upstream, certificate or SLO that they are allowed for.",
            ),
        }
    }
}

/// `[access_log]`
#[derive(Clone, Debug)]
pub(super) struct AccessLog {
    pub(super) output: Located<accesslog::Config>,
}

impl Section for AccessLog {
    const TITLE: &'static str = "`[access_log]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            output: keys.or(
                "output",
                &ACCESS_LOG,
                accesslog::Config::default(),
                "Where lines go. A file is appended to, and reopened on SIGHUP.",
            ),
        }
    }
}

/// `[generate]`
#[derive(Clone, Debug)]
pub(super) struct Generate {
    pub(super) grafana: Located<String>,
    pub(super) runbooks: Option<Located<String>>,
    pub(super) sloth: Located<bool>,
}

impl Section for Generate {
    const TITLE: &'static str = "`[generate]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            grafana: keys.or(
                "grafana",
                &WEB_PAGE,
                "http://localhost:3000".to_owned(),
                "Where people reach the Grafana that has the dashboards.",
            ),
            runbooks: keys.optional(
                "runbooks",
                &WEB_PAGE,
                "their path as files, `alerts/runbooks`",
                "Where the generated runbooks are published. An SLO's own `runbook` goes before.",
            ),
            sloth: keys.or(
                "sloth",
                &Flag,
                false,
                "Whether SLOs are recorded under the names that Sloth uses as well, for dashboards made for it.",
            ),
        }
    }
}

/// `[probes]`
#[derive(Clone, Debug)]
pub(super) struct Probes {
    pub(super) dir: Option<Located<PathBuf>>,
    pub(super) key_file: Option<Located<PathBuf>>,
}

impl Section for Probes {
    const TITLE: &'static str = "`[probes]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            dir: keys.optional(
                "dir",
                &FILE,
                "no probes are run",
                "The directory of files of probes: every `*.toml` in it is read.",
            ),
            key_file: keys.optional(
                "key_file",
                &FILE,
                "`probe.key` in the state directory",
                "The key by which probes' requests are marked, and known by the proxy, so that they stay out of users' \
                 SLOs. Made when it is not there; share it among instances that probe each other.",
            ),
        }
    }
}
