//! What the proxy is told: already resolved, nothing left to look up or to get wrong.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::elsewhere::{Moved, Redirect};
use crate::model::About;
use crate::routing::condition::{HeaderCondition, QueryCondition};
use crate::routing::matcher::{Listeners, Rule};
use crate::routing::pattern::{HostPattern, PathPattern};

/// Everything the data plane is told. Built by `config::resolve`, swapped whole on reload.
#[derive(Clone, Debug)]
pub struct Config {
    /// Worker threads; at least 1.
    pub workers: usize,
    /// Sockets to listen on; at least one.
    pub listeners: Vec<Listener>,
    /// Certificates, by name.
    pub certificates: Vec<Certificate>,
    /// Upstreams, by name.
    pub upstreams: Vec<Upstream>,
    /// Routes; ids are unique and none is `none`.
    pub routes: Vec<Route>,
    /// Rate limits, by name.
    pub rate_limits: Vec<RateLimit>,
    /// Limits on what clients may send.
    pub limits: Limits,
    /// Networks whose forwarding headers are believed; nobody's by default.
    pub trusted_proxies: Vec<Network>,
    /// How long requests in flight may go on after a stop was asked for.
    pub drain: Duration,
}

impl Config {
    /// The routes as the route model knows them, in their order.
    pub fn rules(&self) -> Vec<Rule> {
        self.routes.iter().map(|route| self.rule(route)).collect()
    }

    fn rule(&self, route: &Route) -> Rule {
        let listeners = self.listeners.iter().enumerate();
        let named = listeners.filter(|(_, listener)| route.listeners.contains(&listener.name));
        Rule {
            listeners: if route.listeners.is_empty() {
                Listeners::ALL
            } else {
                named.map(|(index, _)| index).collect()
            },
            hosts: route.hosts.clone(),
            path: route.path.clone(),
            methods: route.methods.clone(),
            headers: route.headers.clone(),
            query: route.query.clone(),
        }
    }
}

/// A socket to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Unique name.
    pub name: String,
    /// Where; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Names of the certificates it serves; empty: plain text.
    pub certificates: Vec<String>,
    /// Whether trusted proxies in front say by the PROXY protocol whose connections they hand on; then nobody else is
    /// served.
    pub proxy_protocol: bool,
    /// Whether it asks clients for a certificate; `None`: it does not.
    pub clients: Option<ClientCertificates>,
}

/// How clients' certificates are judged, and what upstreams are told of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// A handshake without one fails.
    pub required: bool,
    /// PEM: those who issue them.
    pub issuers: PathBuf,
    /// Lists of revoked ones.
    pub lists: Vec<PathBuf>,
    /// What upstreams are told.
    pub headers: Vec<IdentityHeader>,
}

/// A header that says who a client is by its certificate. Nobody but us may send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityHeader {
    /// The whole certificate (RFC 9440).
    Certificate,
    /// Whose it is.
    Subject,
    /// Who issued it.
    Issuer,
    /// Its number.
    Serial,
    /// Its SHA-256.
    Fingerprint,
    /// The names in it.
    Names,
}

impl IdentityHeader {
    /// The header's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "client-cert",
            Self::Subject => "x-client-cert-subject",
            Self::Issuer => "x-client-cert-issuer",
            Self::Serial => "x-client-cert-serial",
            Self::Fingerprint => "x-client-cert-fingerprint",
            Self::Names => "x-client-cert-names",
        }
    }

    /// Whether a header says who a client is by its certificate: ours, and those that others give that meaning.
    pub fn is_one(name: &str) -> bool {
        const BEGINNINGS: [&str; 7] = [
            "client-cert",
            "ssl-client-",
            "x-client-cert",
            "x-client-verify",
            "x-forwarded-client-cert",
            "x-forwarded-tls-client-cert",
            "x-ssl-",
        ];
        // Most headers begin otherwise, which is seen at once.
        matches!(name.as_bytes().first(), Some(b'c' | b's' | b'x'))
            && BEGINNINGS.iter().any(|it| name.starts_with(it))
    }
}

/// A certificate and its key, as files. Which hosts it serves is read from the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Unique name.
    pub name: String,
    /// PEM, leaf first.
    pub chain: PathBuf,
    /// PEM.
    pub key: PathBuf,
    /// Whether a certificate authority is asked for it while we run: then its file may not be there yet.
    pub issued: bool,
}

/// A named group of endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Unique name.
    pub name: String,
    /// Its endpoints; may be empty (answered 503).
    pub endpoints: Vec<Endpoint>,
    /// How its endpoints share its requests.
    pub balance: Balance,
    /// How long an endpoint that comes back is given less than its share; zero: it is not.
    pub slow_start: Duration,
    /// When fewer than this many of a hundred endpoints answer their health checks, the checks are not believed.
    pub panic_below: u8,
    /// How its certificates are verified, for `https` endpoints.
    pub tls: UpstreamTls,
    /// What its endpoints are asked again and again; `None`: nothing.
    pub health: Option<HealthCheck>,
    /// Failures in a row after which an endpoint is left alone for a while; `None`: it never is.
    pub eject_after: Option<u32>,
    /// When requests are refused instead of sent to it; `None`: never.
    pub breaker: Option<Breaker>,
    /// How long to wait for a connection, its TLS handshake included.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept. Shorter than what servers commonly keep theirs (5 s), so that a
    /// request is not sent into a connection that is being closed.
    pub idle_timeout: Duration,
    /// Unused connections kept per worker and endpoint.
    pub idle_connections: usize,
}

/// When requests are refused instead of sent to an upstream. Holds for all workers together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Attempts under way at most; `None`: any number.
    pub max_in_flight: Option<u32>,
    /// Those of them at most that wait for a connection; `None`: any number.
    pub max_pending: Option<u32>,
    /// Of a hundred attempts, how many must fail for the circuit to open; `None`: it never does.
    pub failure_percent: Option<u8>,
    /// Over which time that is judged.
    pub window: Duration,
    /// Attempts in that time below which nothing is judged.
    pub min_requests: u32,
    /// How long the circuit stays open at first.
    pub open_for: Duration,
    /// Trials that must go well for it to close again; at least 1.
    pub trials: u8,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            max_in_flight: None,
            max_pending: None,
            failure_percent: None,
            window: Duration::from_secs(10),
            min_requests: 20,
            open_for: Duration::from_secs(10),
            trials: 3,
        }
    }
}

/// How an upstream's endpoints share its requests. Each worker judges by what it has seen itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// In turn.
    #[default]
    RoundRobin,
    /// To the one of two with fewer requests in flight.
    LeastRequests,
    /// To the one of two that would answer sooner: by its latency, where peaks weigh at once and fade slowly, times its
    /// requests in flight.
    Latency,
    /// To the same one for the same key.
    Hash(HashKey),
}

impl std::fmt::Display for Balance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RoundRobin => f.write_str("in turn"),
            Self::LeastRequests => f.write_str("to the one of two with fewer requests in flight"),
            Self::Latency => f.write_str("to the one of two that would answer sooner"),
            Self::Hash(HashKey::Client) => f.write_str("the same for the same client"),
            Self::Hash(HashKey::Path) => f.write_str("the same for the same path"),
            Self::Hash(HashKey::Header(name)) => write!(f, "the same for the same `{name}`"),
            Self::Hash(HashKey::Cookie(name)) => write!(f, "the same for the same cookie `{name}`"),
        }
    }
}

/// What is the same for requests that belong to the same endpoint. A request without it goes by its client's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    Client,
    /// The path.
    Path,
    /// A header.
    Header(HeaderName),
    /// A cookie, by name.
    Cookie(String),
}

/// What endpoints are asked again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The question.
    pub probe: Probe,
    /// Between an answer and the next question, a tenth more or less.
    pub interval: Duration,
    /// For the whole of one question, connecting included.
    pub timeout: Duration,
    /// Good answers in a row that bring an endpoint back; at least 1.
    pub rise: u32,
    /// Bad answers in a row that take an endpoint away; at least 1.
    pub fall: u32,
}

/// What an endpoint is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Whether it can be connected to, TLS included.
    Tcp,
    /// A GET, to be answered with 2xx or 3xx.
    Http {
        /// The path.
        path: String,
    },
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it speaks TLS (`https`).
    pub tls: bool,
    /// Its host: a name or an address, IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its share of the requests beside the others'; at least 1.
    pub weight: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl Endpoint {
    /// As it is written in a configuration, with its weight if it has one.
    pub fn weighted(&self) -> String {
        match self.weight {
            1 => self.to_string(),
            weight => format!("{self} weight={weight}"),
        }
    }
}

/// How an upstream's certificates are verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM roots to trust instead of the system's.
    pub roots: Option<PathBuf>,
    /// The name to ask for and verify instead of the endpoint's host.
    pub server_name: Option<String>,
    /// Do not verify at all. For tests; `check` warns.
    pub insecure: bool,
}

/// A rule that selects requests and says where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Unique id; the label of everything measured about it.
    pub id: String,
    /// Names of the listeners it takes requests from; empty: all.
    pub listeners: Vec<String>,
    /// Hosts it takes; empty: any.
    pub hosts: Vec<HostPattern>,
    /// The path it takes.
    pub path: PathPattern,
    /// Methods it takes, upper case; empty: any.
    pub methods: Vec<String>,
    /// Headers a request must have.
    pub headers: Vec<HeaderCondition>,
    /// Query parameters a request must have.
    pub query: Vec<QueryCondition>,
    /// What becomes of a path with an encoded separator.
    pub encoded: Encoded,
    /// The name of its upstream; empty when it redirects every request.
    pub upstream: String,
    /// Where it sends every request instead.
    pub redirect: Option<Redirect>,
    /// Where paths have gone upstream.
    pub rewrite: Option<Moved>,
    /// What is told over TLS so that clients come by TLS alone (`Strict-Transport-Security`, RFC 6797).
    pub hsts: Option<HeaderValue>,
    /// Networks of clients it answers; empty: everybody.
    pub allow_from: Vec<Network>,
    /// Networks of clients it does not answer, whatever `allow_from` says.
    pub deny_from: Vec<Network>,
    /// Whether it answers only clients that have shown a certificate.
    pub certified: bool,
    /// Names of the rate limits that its requests are under.
    pub rate_limits: Vec<String>,
    /// What becomes of a request over plain text.
    pub https: Https,
    /// What is changed about a request's headers on the way upstream.
    pub request_headers: HeaderEdits,
    /// What is changed about a response's headers on the way to the client.
    pub response_headers: HeaderEdits,
    /// Whether a WebSocket upgrade may pass.
    pub websocket: bool,
    /// The Host header sent upstream: the client's, or the endpoint's.
    pub host_header: HostHeader,
    /// Its timeouts.
    pub timeouts: Timeouts,
    /// When a request that failed goes out again; `None`: only when it cannot have been acted on.
    pub retry: Option<Retry>,
    /// The largest request body in bytes.
    pub max_body_bytes: u64,
    /// Who answers for it.
    pub owner: Option<String>,
}

impl Route {
    /// Whether an SLO about `about` counts its requests.
    pub fn is_in(&self, about: &About) -> bool {
        match about {
            About::Limit(name) => self.rate_limits.contains(name),
            About::Route(_)
            | About::Upstream(_)
            | About::Owner(_)
            | About::Ingress
            | About::Parts => about.holds(&self.id, Some(&self.upstream), self.owner.as_deref()),
        }
    }
}

/// So many requests in a time, for each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Unique name.
    pub name: String,
    /// Who has a bucket of their own.
    pub key: LimitKey,
    /// How many in the long run.
    pub rate: Rate,
    /// How many at once; at least 1.
    pub burst: u32,
    /// Headers that a request must have for it to apply.
    pub headers: Vec<HeaderCondition>,
    /// Keys that are remembered.
    pub keys: usize,
    /// What is over it is counted and served all the same.
    pub report: bool,
}

/// Who has a bucket of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitKey {
    /// Each address; each /64 network of IPv6.
    Client,
    /// Each route.
    Route,
    /// Each value of a header; without it, each client.
    Header(HeaderName),
    /// There is one bucket.
    All,
}

/// So many requests in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
}

/// Why a text is not a [`Rate`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a rate: write a whole number from 1 to 1000000 and `/s`, `/m`, `/h` or `/d`")]
pub struct RateError(String);

/// The most a rate's number can be: at one a microsecond the clock is the limit.
const MAX_RATE: u32 = 1_000_000;
const RATE_UNITS: [(&str, Duration); 4] = [
    ("s", Duration::from_secs(1)),
    ("m", Duration::from_secs(60)),
    ("h", Duration::from_secs(3_600)),
    ("d", Duration::from_secs(86_400)),
];

impl Rate {
    /// `count` requests in `per`; `None` when it is none, or more than a million in a second.
    pub fn new(count: u32, per: Duration) -> Option<Self> {
        ((1..=MAX_RATE).contains(&count) && per >= Duration::from_secs(1))
            .then_some(Self { count, per })
    }

    /// Nanoseconds from one request to the next in the long run; at least 1,000.
    pub fn step_ns(self) -> u64 {
        let step = self.per.as_nanos() / u128::from(self.count);
        u64::try_from(step).unwrap_or(u64::MAX)
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = RATE_UNITS.iter().find(|(_, per)| *per == self.per);
        write!(f, "{}/{}", self.count, unit.map_or("s", |(unit, _)| unit))
    }
}

impl std::str::FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (count, unit) = text.split_once('/')?;
            let per = RATE_UNITS.iter().find(|(name, _)| *name == unit)?.1;
            // `parse` would take a sign.
            let digits = count.bytes().all(|byte| byte.is_ascii_digit());
            Self::new(count.parse().ok().filter(|_| digits)?, per)
        };
        read().ok_or_else(|| RateError(text.to_owned()))
    }
}

/// When a request that failed goes out again. Only one that may be repeated does, and that has no body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts beside the first; at least 1.
    pub attempts: u8,
    /// Whether one that was cut off before its response goes out again.
    pub reset: bool,
    /// Whether one that got no response in time does.
    pub timeout: bool,
    /// Statuses that are worth another attempt.
    pub statuses: Vec<u16>,
    /// How long each attempt waits for its response's head; `None`: as long as the route does.
    pub per_try: Option<Duration>,
    /// Retries for a hundred requests.
    pub budget_percent: u8,
}

/// What becomes of a path with an encoded separator, which some servers read as data and others as a separator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoded {
    /// It is answered 400.
    #[default]
    Refuse,
    /// It is passed on as data, and counted.
    Report,
    /// It is passed on as data.
    Keep,
}

impl Route {
    /// Whether it answers a client at this address.
    pub fn answers(&self, client: std::net::IpAddr) -> bool {
        let is_in = |networks: &[Network]| networks.iter().any(|it| it.contains(client));
        (self.allow_from.is_empty() || is_in(&self.allow_from)) && !is_in(&self.deny_from)
    }

    /// Whether it does not answer everybody.
    pub fn is_guarded(&self) -> bool {
        !self.allow_from.is_empty() || !self.deny_from.is_empty() || self.certified
    }
}

/// What becomes of a request over plain text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Https {
    /// It is served like any other.
    #[default]
    Any,
    /// It is answered 308, to the same place over TLS.
    Redirect,
}

/// What is changed about headers. Those that frame a message, speak of one connection or say who the client is cannot be
/// named; see [`HeaderEdits::is_editable`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Removed.
    pub remove: Vec<HeaderName>,
    /// Given this value, whatever it had.
    pub set: Vec<HeaderLine>,
    /// Given this value beside those it has.
    pub add: Vec<HeaderLine>,
}

impl HeaderEdits {
    /// Whether a header's own values go.
    pub fn replaces(&self, name: &HeaderName) -> bool {
        self.remove.contains(name) || self.set.iter().any(|line| line.name == *name)
    }

    /// Whether a header may be edited.
    pub fn is_editable(name: &HeaderName) -> bool {
        let name = name.as_str();
        let fixed = [
            "connection",
            "content-length",
            "expect",
            "forwarded",
            "host",
            "http2-settings",
            "keep-alive",
            "te",
            "traceparent",
            "tracestate",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "x-original-url",
            "x-real-ip",
            "x-request-id",
            "x-rewrite-url",
        ];
        let of_a_group = name.starts_with("proxy-")
            || name.starts_with("x-forwarded-")
            || IdentityHeader::is_one(name);
        // CGI-style servers read `_` as `-`.
        !(of_a_group || fixed.contains(&name) || name.contains('_'))
    }
}

/// A header and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderLine {
    /// Its name, in lower case.
    pub name: HeaderName,
    /// Its value.
    pub value: HeaderValue,
}

/// Which Host header the upstream sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostHeader {
    /// The client's.
    #[default]
    Client,
    /// The endpoint's own address.
    Endpoint,
}

/// How long each part of a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request being sent upstream to the response's head.
    pub first_byte: Duration,
    /// Without a byte in either direction while a body is on its way.
    pub idle: Duration,
    /// The whole exchange; `None`: as long as bytes keep flowing.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            total: None,
        }
    }
}

/// Limits on what clients may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For a connection's first byte, and for a request's head to arrive once its first byte has.
    pub header_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub keep_alive: Duration,
    /// How long a client may take none of the bytes waiting for it.
    pub client_idle: Duration,
    /// For a TLS handshake.
    pub handshake_timeout: Duration,
    /// Bytes of a request's head.
    pub max_header_bytes: usize,
    /// Headers of a request.
    pub max_headers: usize,
    /// Client connections per worker; further ones wait in the listen queue.
    pub max_connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            client_idle: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(5),
            max_header_bytes: 32 * 1024,
            max_headers: 100,
            max_connections: 16_384,
        }
    }
}

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: std::net::IpAddr,
    prefix: u8,
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Why a text is not a [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a network: write an address and a prefix length, like 10.0.0.0/8 or 2001:db8::/32"
)]
pub struct NetworkError(String);

impl std::str::FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NetworkError(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: std::net::IpAddr = address.parse().ok().ok_or_else(wrong)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|p| *p <= longest)
                .ok_or_else(wrong)?,
            None => longest,
        };
        Ok(Self { address, prefix })
    }
}

impl Network {
    /// Whether every address of its family lies in it.
    pub fn is_everything(&self) -> bool {
        self.prefix == 0
    }

    /// Whether `address` lies in this network. An IPv4 address written as IPv6 counts as IPv4.
    pub fn contains(&self, address: std::net::IpAddr) -> bool {
        use std::net::IpAddr::{V4, V6};
        match (self.address, address.to_canonical()) {
            (V4(network), V4(address)) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix))
                    .unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (V6(network), V6(address)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix))
                    .unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (V4(_), V6(_)) | (V6(_), V4(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "10.0.0.1", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                inside,
                "{network:?} {address}"
            );
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "::/129",
            "ten/8",
            "10.0.0.0/-1",
            "10.0.0.0/",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
