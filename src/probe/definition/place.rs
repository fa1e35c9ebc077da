//! Where a probe goes: URLs, hosts and ports.

use std::fmt;

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

    /// A host, an address without brackets, and a port; `None` when either is none.
    pub fn of(host: &str, port: u16) -> Option<Self> {
        if host.contains(':') {
            Self::new(&format!("[{host}]"), || Some(port))
        } else {
            Self::new(host, || Some(port))
        }
    }

    /// `host:port` in text.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Self::new(host, || port.parse().ok())
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
}
