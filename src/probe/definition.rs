//! What a probe is: its target, its schedule, and what is expected of the answer.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use regex::bytes::Regex;

use crate::model::ProbeFailure;

/// One probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Its unique name; a label.
    pub name: String,
    /// What it is aimed at.
    pub target: Target,
    /// From slot to slot.
    pub every: Duration,
    /// For the whole run.
    pub timeout: Duration,
    /// The route that it covers.
    pub route: Option<String>,
    /// Where a person finds what to do.
    pub runbook: Option<String>,
    /// Switched off: its slots are missed.
    pub paused: bool,
    /// Connect here instead of to what the target's name resolves to.
    pub connect_to: Option<SocketAddr>,
    /// Which addresses are taken.
    pub family: Family,
    /// How HTTP is spoken. Ignored by other targets.
    pub http: HttpRequest,
    /// What is said to a TCP service.
    pub send: Option<String>,
    /// How the server's chain is judged.
    pub tls: TlsSettings,
    /// What must hold for a run to be well.
    pub expect: Expectations,
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
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::Tcp(place) => write!(f, "tcp://{place}"),
            Self::Tls(place) => write!(f, "tls://{place}"),
        }
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, lower case, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// An `http://` or `https://` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether it is `https://`.
    pub tls: bool,
    /// The host and port.
    pub place: HostPort,
    /// The path and the query; begins with `/`.
    pub target: String,
}

impl Url {
    /// The host and port as the Host header has them: without the scheme's own port.
    pub fn authority(&self) -> String {
        let text = self.place.to_string();
        let own = if self.tls { ":443" } else { ":80" };
        text.strip_suffix(own).unwrap_or(&text).to_owned()
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(&*self.target, |(path, _)| path)
    }

    /// An absolute URL in text; `None` when it is not one. A fragment is not sent, and so left out.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split('#').next().unwrap_or_default();
        let uri: http::Uri = text.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let place = HostPort::new(authority.host(), || {
            let written = authority.as_str().strip_prefix(authority.host())?;
            match written.strip_prefix(':') {
                Some(port) => port.parse().ok(),
                None => Some(if tls { 443 } else { 80 }),
            }
        })?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        // `http://a?b` has no path.
        let slash = if target.starts_with('/') { "" } else { "/" };
        Some(Self {
            tls,
            place,
            target: format!("{slash}{target}"),
        })
    }

    /// What `reference`, a Location header, means when this URL answered with it (RFC 3986, 5.2).
    pub fn join(&self, reference: &str) -> Option<Self> {
        let reference = reference.split('#').next().unwrap_or_default();
        let scheme = if self.tls { "https" } else { "http" };
        if reference.contains("://") && !reference.starts_with('/') {
            return Self::parse(reference);
        }
        if let Some(rest) = reference.strip_prefix("//") {
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let target = if reference.is_empty() {
            self.target.clone()
        } else if reference.starts_with('/') {
            without_dots(reference)
        } else if reference.starts_with('?') {
            format!("{}{reference}", self.path())
        } else {
            let directory = self.path().rsplit_once('/').map_or("", |(above, _)| above);
            without_dots(&format!("{directory}/{reference}"))
        };
        Self::parse(&format!("{scheme}://{}{target}", self.place))
    }
}

/// RFC 3986, 5.2.4, for a path that begins with `/`, its query kept.
fn without_dots(target: &str) -> String {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut kept: Vec<&str> = Vec::new();
    let last = path.rsplit('/').next().unwrap_or_default();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let mut whole = format!("/{}", kept.join("/"));
    if matches!(last, "." | "..") && !whole.ends_with('/') {
        whole.push('/');
    }
    match query {
        Some(query) => format!("{whole}?{query}"),
        None => whole,
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

impl HostPort {
    /// `host`, perhaps in brackets, and the port that is looked for then; `None` when either is none.
    pub fn new(host: &str, port: impl FnOnce() -> Option<u16>) -> Option<Self> {
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let fits = if let Some(address) = bracketed {
            address.parse::<std::net::Ipv6Addr>().is_ok()
        } else {
            // Wider than DNS: service names in container networks have underscores.
            let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            (1..=253).contains(&host.len()) && host.chars().all(named)
        };
        let port = port().filter(|port| *port != 0)?;
        let host = bracketed.unwrap_or(host).to_ascii_lowercase();
        fits.then_some(Self { host, port })
    }

    /// `host:port` in text.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Self::new(host, || port.parse().ok())
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
}

/// How HTTP is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// Headers beside Host, User-Agent and Accept, which they replace.
    pub headers: Vec<(HeaderName, HeaderValue)>,
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

/// What must hold for a run to be well.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expectations {
    /// It must fail, and for this reason.
    pub failure: Option<ProbeFailure>,
    /// The status is one of these; empty is any 2xx.
    pub statuses: Vec<Statuses>,
    /// The header is there and its value contains the text, which may be empty.
    pub headers: Vec<(HeaderName, String)>,
    /// The body contains each of these.
    pub body: Vec<String>,
    /// The body contains none of these.
    pub body_lacks: Vec<String>,
    /// The body matches each of these.
    pub body_matches: Vec<Pattern>,
    /// The whole run takes at most this long.
    pub under: Option<Duration>,
    /// At least this share of the certificate's life is left, in thousandths.
    pub certificate_left: Option<u32>,
}

/// A status or a class of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses {
    /// The lowest.
    pub least: u16,
    /// The highest.
    pub most: u16,
}

impl Statuses {
    /// Any 2xx.
    pub const SUCCESS: Self = Self {
        least: 200,
        most: 299,
    };

    /// `200`, `2xx` or `200-204`.
    pub fn parse(text: &str) -> Option<Self> {
        let status = |text: &str| {
            let status: u16 = text.parse().ok()?;
            (text.len() == 3 && (100..=599).contains(&status)).then_some(status)
        };
        let (least, most) = if let Some((least, most)) = text.split_once('-') {
            (status(least)?, status(most)?)
        } else if let Some(class) = text.strip_suffix("xx") {
            let least = status(&format!("{class}00"))?;
            (least, least + 99)
        } else {
            (status(text)?, status(text)?)
        };
        (least <= most).then_some(Self { least, most })
    }

    /// Whether `status` is among them.
    pub const fn has(self, status: u16) -> bool {
        self.least <= status && status <= self.most
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, most } = *self;
        if least == most {
            write!(f, "{least}")
        } else if least % 100 == 0 && most == least + 99 {
            write!(f, "{}xx", least / 100)
        } else {
            write!(f, "{least}-{most}")
        }
    }
}

/// A regular expression over bytes.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles it.
    ///
    /// # Errors
    /// When it is none, or would take too much memory.
    pub fn try_new(text: &str) -> Result<Self, regex::Error> {
        Ok(Self(Regex::new(text)?))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it matches somewhere in `bytes`. Takes time in proportion to them, whatever it is.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_to_connect_and_what_to_ask_for() {
        for (text, place, authority, target) in [
            ("http://a", "a:80", "a", "/"),
            (
                "https://A.example/x?y#z",
                "a.example:443",
                "a.example",
                "/x?y",
            ),
            ("https://a:8443?y", "a:8443", "a:8443", "/?y"),
            ("http://[::1]:80/", "[::1]:80", "[::1]", "/"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(url.place.to_string(), place, "{text}");
            assert_eq!(
                (url.authority().as_str(), url.target.as_str()),
                (authority, target)
            );
            assert_eq!(Url::parse(&url.to_string()), Some(url));
        }
        for text in [
            "",
            "a",
            "ftp://a",
            "http://",
            "http://u:p@a",
            "http://a:0",
            "http://a:b",
            "/x",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_location_is_read_as_browsers_do() {
        // RFC 3986, 5.4.
        let base = Url::parse("http://a/b/c/d?q").unwrap();
        for (reference, url) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d?y"),
            ("g?y#s", "http://a/b/c/g?y"),
            ("", "http://a/b/c/d?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../../g", "http://a/g"),
            ("/./g/../h", "http://a/h"),
            ("https://x/y", "https://x/y"),
            ("/login?to=http://b", "http://a/login?to=http://b"),
        ] {
            let joined = base.join(reference).map(|url| url.to_string());
            assert_eq!(joined.as_deref(), Some(url), "{reference}");
        }
    }

    #[test]
    fn statuses_are_one_a_class_or_a_range() {
        for (text, least, most) in [("204", 204, 204), ("3xx", 300, 399), ("200-206", 200, 206)] {
            let statuses = Statuses::parse(text).unwrap();
            assert_eq!((statuses.least, statuses.most), (least, most));
            assert_eq!(statuses.to_string(), text);
        }
        for text in ["", "20", "2x", "600", "xx", "204-200", "0200", "+20"] {
            assert_eq!(Statuses::parse(text), None, "{text}");
        }
    }
}
