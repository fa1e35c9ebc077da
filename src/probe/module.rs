//! A manner of probing without a target: whoever asks for it by name says what it is aimed at.

use std::time::Duration;

use http::HeaderValue;
use http::header::HOST;

use super::definition::{Definition, Family, HostPort, Manner, Target, Url};

/// A manner of probing, and which protocol it speaks.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Its unique name.
    pub name: String,
    /// What it speaks.
    pub prober: Prober,
    /// How it asks, and what it expects.
    pub manner: Manner,
}

/// What a module speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prober {
    /// HTTP; whether over TLS is the target's business.
    Http,
    /// Plain TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// DNS.
    Dns,
    /// gRPC's health service in plain text.
    Grpc,
    /// gRPC's health service over TLS.
    Grpcs,
    /// `WebSocket`; whether over TLS is the target's business.
    WebSocket,
    /// Echo requests.
    Icmp,
}

/// Why a module cannot be aimed at a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AimError {
    /// It is none of this kind.
    #[error("`{0}` is no target for this module: {1}")]
    Target(String, &'static str),
    /// A host name was given beside a configured one.
    #[error(
        "the parameter `hostname` conflicts with the Host header that the module sends: leave one of them out"
    )]
    Host,
    /// It is no host's name.
    #[error("`{0}` is no host name")]
    Name(String),
}

/// The module that is meant when none is named.
pub const DEFAULT: &str = "http_2xx";

impl Module {
    /// What is there without being written: a GET that is answered with any 2xx.
    pub fn standard() -> Self {
        let mut manner = Manner::plain(LONGEST);
        manner.family = Family::PreferV6;
        manner.http.redirects = 10;
        manner.http.max_body = 64 << 20;
        Self {
            name: DEFAULT.to_owned(),
            prober: Prober::Http,
            manner,
        }
    }

    /// The probe that it is when it is aimed at `target`. `hostname` is the Host header, or the name asked for in TLS.
    ///
    /// # Errors
    /// When it cannot be aimed there.
    pub fn aim(&self, target: &str, hostname: Option<&str>) -> Result<Definition, AimError> {
        let mut manner = self.manner.clone();
        if let Some(name) = hostname {
            match self.prober {
                Prober::Http | Prober::WebSocket => {
                    let headers = &mut manner.http.headers;
                    if headers.iter().any(|(header, _)| *header == HOST) {
                        return Err(AimError::Host);
                    }
                    let value = HeaderValue::from_str(name);
                    let value = value.map_err(|_odd| AimError::Name(name.to_owned()))?;
                    headers.push((HOST, value));
                }
                Prober::Tls | Prober::Tcp | Prober::Grpcs => {
                    manner.tls.server_name.get_or_insert(name.to_owned());
                }
                Prober::Dns | Prober::Grpc | Prober::Icmp => {}
            }
        }
        let refused = |why| AimError::Target(target.to_owned(), why);
        Ok(Definition {
            steps: Vec::new(),
            name: self.name.clone(),
            target: self.target(target).map_err(refused)?,
            every: manner.timeout,
            route: None,
            runbook: None,
            paused: false,
            maintenance: Vec::new(),
            manner,
            hurry: false,
            compare: false,
            views: Vec::new(),
        })
    }

    fn target(&self, text: &str) -> Result<Target, &'static str> {
        let bare = |scheme: &str| {
            let rest = text.split_once("://").filter(|(found, _)| *found == scheme);
            rest.map_or(text, |(_, rest)| rest)
        };
        let url = |plain: &str, tls: &str| {
            let text = match text.split_once("://") {
                Some((scheme, rest)) if scheme == plain => format!("http://{rest}"),
                Some((scheme, rest)) if scheme == tls => format!("https://{rest}"),
                Some((_, _)) => text.to_owned(),
                None => format!("http://{text}"),
            };
            Url::parse(&text).ok_or("write a URL or a host, without user name and password")
        };
        let place = |scheme: &str| HostPort::parse(bare(scheme)).ok_or("write `host:port`");
        Ok(match self.prober {
            Prober::Http => Target::Http(url("http", "https")?),
            Prober::WebSocket => Target::WebSocket(url("ws", "wss")?),
            Prober::Tcp => Target::Tcp(place("tcp")?),
            Prober::Tls => Target::Tls(place("tls")?),
            Prober::Grpc => Target::Grpc(place("grpc")?, false),
            Prober::Grpcs => Target::Grpc(place("grpcs")?, true),
            Prober::Dns => {
                let text = format!("dns://{}", bare("dns"));
                Target::parse(&text).ok_or("write a server, perhaps with a port")?
            }
            Prober::Icmp => {
                let host = bare("icmp");
                // An IPv6 address is written without brackets here.
                let bracketed = format!("[{host}]");
                let found = Target::parse(&format!("icmp://{host}"))
                    .or_else(|| Target::parse(&format!("icmp://{bracketed}")));
                found.ok_or("write a host without a port")?
            }
        })
    }
}

/// The longest time that anybody waits for a probe.
pub const LONGEST: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_aimed_as_its_protocol_writes_places() {
        for (prober, text, target) in [
            (Prober::Http, "a.example", "http://a.example/"),
            (Prober::Http, "https://a.example/x", "https://a.example/x"),
            (Prober::Tcp, "[::1]:25", "tcp://[::1]:25"),
            (Prober::Tls, "a:1", "tls://a:1"),
            (Prober::Dns, "192.0.2.1", "dns://192.0.2.1:53"),
            (Prober::Dns, "a:5353", "dns://a:5353"),
            (Prober::Grpcs, "a:1", "grpcs://a:1"),
            (Prober::WebSocket, "wss://a/x", "wss://a/x"),
            (Prober::Icmp, "::1", "icmp://[::1]"),
            (Prober::Icmp, "a", "icmp://a"),
        ] {
            let module = Module {
                prober,
                ..Module::standard()
            };
            assert_eq!(module.aim(text, None).unwrap().target.to_string(), target);
        }
        for (prober, text) in [
            (Prober::Http, "http://u:p@a/"),
            (Prober::Tcp, "a"),
            (Prober::Icmp, "a:1"),
            (Prober::Icmp, ""),
        ] {
            let module = Module {
                prober,
                ..Module::standard()
            };
            assert!(module.aim(text, None).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_name_is_a_header_or_a_name_for_tls_and_never_both() {
        let mut module = Module::standard();
        let aimed = module.aim("127.0.0.1", Some("a.example")).unwrap();
        assert_eq!(aimed.manner.http.headers.len(), 1);
        module.manner = aimed.manner;
        assert_eq!(module.aim("127.0.0.1", Some("b")), Err(AimError::Host));
        module.prober = Prober::Tls;
        let aimed = module.aim("127.0.0.1:1", Some("b")).unwrap();
        assert_eq!(aimed.manner.tls.server_name.as_deref(), Some("b"));
    }
}
