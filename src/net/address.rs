//! Where a daemon's admin API is to be found, as people write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a daemon's admin API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Socket(PathBuf),
    /// Plain HTTP, for loopback.
    Url {
        /// A name or an IP address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
}

/// Why a text is not an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing.
    #[error("an empty address: give a socket's path, or http://host:port")]
    Empty,
    /// TLS is not spoken here.
    #[error("`{0}`: only plain http:// is spoken here; use the unix socket, or a tunnel to it")]
    Tls(String),
    /// A URL without host and port, or with more than that.
    #[error("`{0}` is not of the form http://host:port")]
    Url(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || AddressError::Url(text.to_owned());
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.starts_with("https://") {
            return Err(AddressError::Tls(text.to_owned()));
        }
        let Some(rest) = text.strip_prefix("http://") else {
            return Ok(Self::Socket(PathBuf::from(text)));
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority.rsplit_once(':').ok_or_else(malformed)?;
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let name = bracketed.unwrap_or(host);
        let odd = |c: char| {
            !c.is_ascii_graphic() || "/?#@[]".contains(c) || (bracketed.is_none() && c == ':')
        };
        if name.is_empty() || name.contains(odd) {
            return Err(malformed());
        }
        let port = port.parse().ok().ok_or_else(malformed)?;
        Ok(Self::Url {
            host: name.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Url { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Self::Url { host, port } => write!(f, "http://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_path_or_a_plain_url() {
        let url = |host: &str, port| Address::Url {
            host: host.to_owned(),
            port,
        };
        for (text, address) in [
            ("/run/v.sock", Address::Socket("/run/v.sock".into())),
            ("state/v.sock", Address::Socket("state/v.sock".into())),
            ("http://127.0.0.1:9090", url("127.0.0.1", 9090)),
            ("http://[::1]:9090/", url("::1", 9090)),
            ("http://localhost:1", url("localhost", 1)),
        ] {
            let parsed: Address = text.parse().unwrap();
            assert_eq!(parsed, address);
            assert_eq!(parsed.to_string().parse(), Ok(address));
        }
        for text in [
            "",
            "https://a:1",
            "http://a",
            "http://:1",
            "http://a:b",
            "http://a:1/x",
            "http://u@a:1",
            "http://a b:1",
            "http://::1:9",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
