//! What a probe is: its target, its schedule, and what is expected of the answer.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

mod expect;
mod journey;
mod place;

pub use expect::{
    AnswerExpectation, DnsSection, Expectations, HttpVersionNumber, JsonExpectation, JsonPath,
    JsonWants, Pattern, RecordExpectation, RecordRule, Statuses,
};
pub use journey::{
    Capture, CaptureSource, JourneyStep, LONGEST_CAPTURE, MOST_CAPTURES, MOST_STEPS, Template,
    Writing, is_name,
};
pub use place::{HostPort, Url};

use super::maintenance::Maintenance;
use crate::model::{Missed, Timestamp, Vantage};

/// One probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Its unique name; a label.
    pub name: String,
    /// What it is aimed at.
    pub target: Target,
    /// From slot to slot.
    pub every: Duration,
    /// The route that it covers.
    pub route: Option<String>,
    /// Where a person finds what to do.
    pub runbook: Option<String>,
    /// Switched off: its slots are missed.
    pub paused: bool,
    /// When its slots are missed because nobody expects it to be well.
    pub maintenance: Vec<Maintenance>,
    /// How it asks, and what it expects.
    pub manner: Manner,
    /// Its steps, when it is a journey: they are asked one after another, and the target only says where they begin.
    pub steps: Vec<JourneyStep>,
    /// Whether it is run more often while its route is in trouble.
    pub hurry: bool,
    /// Whether its route is looked at from elsewhere in the same slot.
    pub compare: bool,
    /// From where, and how it is asked there. Who knows the route's listeners and endpoints fills them in.
    pub views: Vec<View>,
}

/// A look at the same route from another vantage.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// From where.
    pub vantage: Vantage,
    /// The listener or the endpoint, as people know it.
    pub at: String,
    /// What is asked there.
    pub target: Target,
    /// How, and what is expected.
    pub manner: Manner,
}

impl Definition {
    /// The longest that a run may last: what cleans up after a journey has as much time again.
    pub fn longest(&self) -> Duration {
        let cleans_up = self.steps.iter().any(|step| step.cleanup);
        self.manner.timeout * if cleans_up { 2 } else { 1 }
    }

    /// Why it is not to be run at `at`; `None` when it is.
    pub fn off(&self, at: Timestamp) -> Option<Missed> {
        if self.paused {
            Some(Missed::Paused)
        } else if self.maintenance.iter().any(|span| span.covers(at)) {
            Some(Missed::Maintenance)
        } else {
            None
        }
    }
}

/// How a probe asks, whatever it is aimed at, and what it expects.
#[derive(Clone, Debug, PartialEq)]
pub struct Manner {
    /// For the whole run.
    pub timeout: Duration,
    /// Connect here instead of to what the target's name resolves to.
    pub connect_to: Option<SocketAddr>,
    /// Who is asked for the name's addresses; `None`: whom the system asks.
    pub resolver: Option<SocketAddr>,
    /// Which addresses are taken.
    pub family: Family,
    /// The address of this machine to connect from.
    pub source: Option<IpAddr>,
    /// How HTTP is spoken. Ignored by other targets.
    pub http: HttpRequest,
    /// What is said to a TCP service, and heard from it.
    pub dialogue: Dialogue,
    /// What a resolver is asked.
    pub question: Question,
    /// The gRPC service whose health is asked for; empty: the server's.
    pub grpc_service: String,
    /// How the server's chain is judged.
    pub tls: TlsSettings,
    /// What must hold for a run to be well.
    pub expect: Expectations,
    /// Whom the target stands for: a redirect to there is followed to the target, as this vantage's answer.
    pub stands_for: Option<HostPort>,
}

impl Manner {
    /// Nothing special, within this time.
    pub fn plain(timeout: Duration) -> Self {
        Self {
            timeout,
            connect_to: None,
            resolver: None,
            family: Family::default(),
            source: None,
            http: HttpRequest::default(),
            dialogue: Dialogue::default(),
            question: Question::default(),
            grpc_service: String::new(),
            tls: TlsSettings::default(),
            expect: Expectations::default(),
            stands_for: None,
        }
    }
}

/// What a probe is aimed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A URL.
    Http(Url),
    /// A port that takes connections, and perhaps answers.
    Tcp(HostPort),
    /// A port that speaks TLS.
    Tls(HostPort),
    /// A resolver or an authority for a zone.
    Dns(HostPort),
    /// A gRPC server; with TLS or without.
    Grpc(HostPort, bool),
    /// A URL that takes `WebSocket` connections; `tls` is `wss://`.
    WebSocket(Url),
    /// A host that answers echo requests.
    Icmp(String),
}

impl Target {
    /// A target in text, like `https://shop.example/` or `dns://192.0.2.1`; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let with_port =
            |port: u16| HostPort::parse(rest).or_else(|| HostPort::new(rest, || Some(port)));
        Some(match scheme {
            "http" | "https" => Self::Http(Url::parse(text)?),
            "tcp" => Self::Tcp(HostPort::parse(rest)?),
            "tls" => Self::Tls(HostPort::parse(rest)?),
            "dns" => Self::Dns(with_port(53)?),
            "grpc" => Self::Grpc(HostPort::parse(rest)?, false),
            "grpcs" => Self::Grpc(HostPort::parse(rest)?, true),
            "ws" => Self::WebSocket(Url::parse(&format!("http://{rest}"))?),
            "wss" => Self::WebSocket(Url::parse(&format!("https://{rest}"))?),
            "icmp" => Self::Icmp(HostPort::new(rest, || Some(1))?.host),
            _ => return None,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::Tcp(place) => write!(f, "tcp://{place}"),
            Self::Tls(place) => write!(f, "tls://{place}"),
            Self::Dns(place) => write!(f, "dns://{place}"),
            Self::Grpc(place, false) => write!(f, "grpc://{place}"),
            Self::Grpc(place, true) => write!(f, "grpcs://{place}"),
            Self::WebSocket(url) => {
                let scheme = if url.tls { "wss" } else { "ws" };
                write!(f, "{scheme}://{}{}", url.authority(), url.target)
            }
            Self::Icmp(host) if host.contains(':') => write!(f, "icmp://[{host}]"),
            Self::Icmp(host) => write!(f, "icmp://{host}"),
        }
    }
}

/// Which addresses of a name are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// The first one that the resolver gives.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// IPv4, and IPv6 when there is none.
    PreferV4,
    /// IPv6, and IPv4 when there is none.
    PreferV6,
}

/// How HTTP is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// Headers beside Host, User-Agent and Accept, which they replace.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// A file whose content is sent as `Authorization: Bearer`; read anew for each run.
    pub bearer_file: Option<PathBuf>,
    /// A user, and the file of the password that is sent with it (RFC 7617); read anew for each run.
    pub basic: Option<(String, PathBuf)>,
    /// The body.
    pub body: String,
    /// Redirects that are followed; with none, a redirect's own status is judged.
    pub redirects: u32,
    /// Which version is spoken.
    pub version: HttpVersion,
    /// The largest body that is read, in bytes.
    pub max_body: u64,
}

impl Default for HttpRequest {
    fn default() -> Self {
        Self {
            method: Method::GET,
            headers: Vec::new(),
            bearer_file: None,
            basic: None,
            body: String::new(),
            redirects: 0,
            version: HttpVersion::default(),
            max_body: 1 << 20,
        }
    }
}

/// Which version of HTTP is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// What the server prefers over TLS; HTTP/1.1 in plain text.
    #[default]
    Any,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2; in plain text with prior knowledge.
    Http2,
}

/// What is said to a TCP service and heard from it, step by step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dialogue {
    /// What is said once the steps are done.
    pub send: Option<String>,
    /// The way to TLS, before all else, of a protocol that has one.
    pub starttls: Option<StartTls>,
    /// What is heard and said, in this order.
    pub steps: Vec<Step>,
}

/// One step of a dialogue: hear, say, perhaps shake hands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Lines are read until one matches.
    pub expect: Option<Pattern>,
    /// What is said then. `${1}` and `${name}` are what the line's match captured.
    pub send: Option<String>,
    /// Whether TLS begins then.
    pub starttls: bool,
}

/// A protocol that turns a plain connection into an encrypted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTls {
    /// RFC 3207.
    Smtp,
    /// RFC 9051, 6.2.1.
    Imap,
    /// RFC 2595, 4.
    Pop3,
    /// RFC 4217, 4.
    Ftp,
    /// `SSLRequest` of the `PostgreSQL` protocol, 3.0.
    Postgres,
}

/// What a resolver is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name; the root when it is empty.
    pub name: String,
    /// The type of records, like `AAAA`.
    pub kind: String,
    /// Whether it may ask others (the RD flag).
    pub recurse: bool,
    /// Over TCP, not UDP.
    pub tcp: bool,
}

impl Default for Question {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: "A".to_owned(),
            recurse: true,
            tcp: false,
        }
    }
}

/// How a server's chain is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// The name that is asked for and verified instead of the target's host.
    pub server_name: Option<String>,
    /// A file of roots instead of the system's.
    pub roots: Option<PathBuf>,
    /// Take any chain.
    pub insecure: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_it_is_written() {
        for text in [
            "https://shop.example/health?x=1",
            "tcp://[::1]:5432",
            "tls://mail.example:993",
            "dns://192.0.2.1:53",
            "grpc://a:1",
            "grpcs://a:1",
            "ws://a/chat",
            "wss://a:8443/chat",
            "icmp://[::1]",
            "icmp://a.example",
        ] {
            assert_eq!(Target::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            Target::parse("dns://[::1]").unwrap().to_string(),
            "dns://[::1]:53"
        );
        for text in [
            "",
            "a",
            "tcp://a",
            "tcp://a:1/x",
            "udp://a:1",
            "ws://",
            "icmp://a:1",
            "icmp://",
        ] {
            assert_eq!(Target::parse(text), None, "{text}");
        }
    }
}
