//! Kinds of text that say who takes a request, and how many of whose.

use std::net::Ipv6Addr;

use http::{HeaderName, Uri};

use super::{Refusal, Text};
use crate::proxy::config::{Endpoint, HashKey, LimitKey, Rate};

/// The address of a server.
pub(in crate::config) const ENDPOINT: Text<Endpoint> = Text {
    expects: "a URL like `http://10.0.0.1:8080`, with or without a weight like ` weight=3` behind it",
    pattern: Some(r"https?://[^/?#@ ]+/?( +weight=[0-9]+)?"),
    read: read_endpoint,
    write: Endpoint::weighted,
};

/// The most an endpoint's share may outweigh another's.
const MAX_WEIGHT: u16 = 100;

/// The URL and the weight of what is written for an endpoint.
fn weighted(text: &str) -> Result<(&str, u16), Refusal> {
    let Some((url, weight)) = text.split_once(' ') else {
        return Ok((text, 1));
    };
    let weight = weight.trim().strip_prefix("weight=");
    let weight = weight.and_then(|weight| weight.parse().ok());
    match weight.filter(|weight| (1..=MAX_WEIGHT).contains(weight)) {
        Some(weight) => Ok((url, weight)),
        None => Err(Refusal::invalid(format!(
            "`{text}` is not an endpoint: only a weight from 1 to {MAX_WEIGHT} may follow the URL"
        ))
        .help(format!("write \"{url} weight=3\""))),
    }
}

fn read_endpoint(text: &str) -> Result<Endpoint, Refusal> {
    // Not quoted: whoever writes a user name here writes a password beside it.
    if text.contains('@') {
        return Err(
            Refusal::invalid("an endpoint has no user name and no password")
                .help("leave out everything up to the @"),
        );
    }
    let (text, weight) = weighted(text)?;
    let refuse = |why: &str| Refusal::invalid(format!("`{text}` is not an endpoint: {why}"));
    let no_scheme = || {
        refuse("it must begin with http:// or https://").help(format!("write \"http://{text}\""))
    };
    if !text.contains("://") {
        return Err(no_scheme());
    }
    let uri: Uri = text
        .parse()
        .ok()
        .ok_or_else(|| refuse("it is not a URL").help("write it like \"http://10.0.0.1:8080\""))?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        Some(_) | None => return Err(refuse("only http:// and https:// are spoken")),
    };
    let whole = uri.path().is_empty() || uri.path() == "/";
    if !whole || uri.query().is_some() || text.contains('#') {
        return Err(refuse("it has a path")
            .help("end it after the host and port: the path that is sent is the client's"));
    }
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    let host = uri.host().unwrap_or_default();
    let port = match authority.strip_prefix(host) {
        Some("") => Some(if tls { 443 } else { 80 }),
        Some(_) | None => uri.port_u16().filter(|port| *port != 0),
    };
    let port = port.ok_or_else(|| refuse("its port is not from 1 to 65535"))?;
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let (host, fits) = if let Some(address) = bracketed {
        (address, address.parse::<Ipv6Addr>().is_ok())
    } else {
        // Wider than DNS: service names in container networks have underscores.
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        (
            host,
            (1..=253).contains(&host.len()) && host.chars().all(named),
        )
    };
    if !fits {
        return Err(refuse("its host is neither a name nor an address"));
    }
    Ok(Endpoint {
        tls,
        host: host.to_owned(),
        port,
        weight,
    })
}

/// What requests have in common that belong to the same endpoint.
pub(in crate::config) const HASH_KEY: Text<HashKey> = Text {
    expects: "`client`, `path`, `header:NAME` or `cookie:NAME`",
    pattern: Some(r"client|path|header:[A-Za-z0-9-]+|cookie:[!#$%&'*+.^_`|~A-Za-z0-9-]+"),
    read: read_hash_key,
    write: |key| match key {
        HashKey::Client => "client".to_owned(),
        HashKey::Path => "path".to_owned(),
        HashKey::Header(name) => format!("header:{name}"),
        HashKey::Cookie(name) => format!("cookie:{name}"),
    },
};

fn read_hash_key(text: &str) -> Result<HashKey, Refusal> {
    let refuse = || {
        Refusal::invalid(format!("`{text}` is nothing that requests have in common"))
            .help("write `client`, `path`, `header:NAME` or `cookie:NAME`")
    };
    match text.split_once(':') {
        None if text == "client" => Ok(HashKey::Client),
        None if text == "path" => Ok(HashKey::Path),
        Some(("header", name)) => HeaderName::from_bytes(name.as_bytes())
            .map(HashKey::Header)
            .ok()
            .ok_or_else(refuse),
        // A cookie's name is a token, as a header's is (RFC 6265, 4.1.1), but keeps its case.
        Some(("cookie", name)) if HeaderName::from_bytes(name.as_bytes()).is_ok() => {
            Ok(HashKey::Cookie(name.to_owned()))
        }
        None | Some(_) => Err(refuse()),
    }
}

/// Who has a bucket of their own.
pub(in crate::config) const LIMIT_KEY: Text<LimitKey> = Text {
    expects: "`client`, `header:NAME`, `route` or `all`",
    pattern: Some("client|route|all|header:[A-Za-z0-9-]+"),
    read: |text| match text {
        "client" => Ok(LimitKey::Client),
        "route" => Ok(LimitKey::Route),
        "all" => Ok(LimitKey::All),
        _ => text
            .strip_prefix("header:")
            .and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok())
            .map(LimitKey::Header)
            .ok_or_else(|| {
                Refusal::invalid(format!("`{text}` is nothing that requests are counted by"))
                    .help("write `client`, `header:NAME`, `route` or `all`")
            }),
    },
    write: |key| match key {
        LimitKey::Client => "client".to_owned(),
        LimitKey::Route => "route".to_owned(),
        LimitKey::All => "all".to_owned(),
        LimitKey::Header(name) => format!("header:{name}"),
    },
};

/// So many requests in a time.
pub(in crate::config) const RATE: Text<Rate> = Text {
    expects: "a rate like `100/s`, `30/m` or `1000/h`",
    pattern: Some("[0-9]+/[smhd]"),
    read: |text| text.parse().map_err(Refusal::invalid),
    write: ToString::to_string,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_scheme_host_and_port() {
        for (text, tls, host, port) in [
            ("http://10.0.0.1:8080", false, "10.0.0.1", 8080),
            ("https://api.internal", true, "api.internal", 443),
            ("http://web_1/", false, "web_1", 80),
            ("http://[::1]:3000", false, "::1", 3000),
            ("https://[2001:db8::1]", true, "2001:db8::1", 443),
        ] {
            let endpoint = read_endpoint(text).unwrap();
            assert_eq!(
                (endpoint.tls, endpoint.host.as_str(), endpoint.port),
                (tls, host, port),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            "10.0.0.1:8080",
            "localhost",
            "ftp://a",
            "unix:///run/a",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:",
            "http://a:99999",
            "http://a/path",
            "http://a?b",
            "http://a#b",
            "http://user:secret@a",
            "http://a b",
            "http://[::1",
            "http://[nope]",
        ] {
            assert!(read_endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_weight_may_follow() {
        for (text, weight) in [
            ("http://a:80", Some(1)),
            ("http://a:80 weight=3", Some(3)),
            ("http://a:80   weight=100", Some(100)),
            ("http://a:80 weight=0", None),
            ("http://a:80 weight=101", None),
            ("http://a:80 weight=-1", None),
            ("http://a:80 weight", None),
            ("http://a:80 backup", None),
            ("http://a:80 weight=1 weight=2", None),
        ] {
            let read = read_endpoint(text).ok();
            assert_eq!(read.as_ref().map(|it| it.weight), weight, "{text}");
            if let Some(endpoint) = read {
                assert_eq!(
                    read_endpoint(&(ENDPOINT.write)(&endpoint)).ok(),
                    Some(endpoint)
                );
            }
        }
    }

    #[test]
    fn what_requests_have_in_common_is_read_and_written() {
        for text in ["client", "path", "header:x-user", "cookie:SESSION_id"] {
            assert_eq!((HASH_KEY.write)(&read_hash_key(text).unwrap()), text);
        }
        for text in [
            "",
            "ip",
            "client:",
            "header:",
            "header:a b",
            "cookie:",
            "cookie:a=b",
            "query:q",
        ] {
            assert!(read_hash_key(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_read_and_written() {
        for (text, step_ns) in [
            ("1/s", 1_000_000_000),
            ("1000000/s", 1_000),
            ("300000/s", 3_333),
            ("30/m", 2_000_000_000),
            ("1/d", 86_400_000_000_000),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.step_ns(), rate.to_string().as_str()), (step_ns, text));
        }
        for text in [
            "",
            "10",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "1/w",
            "1000001/s",
            "10 /s",
            "/s",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
