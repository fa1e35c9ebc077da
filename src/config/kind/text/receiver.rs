//! Where telemetry goes, and what is said along with it.

use std::fmt;

use http::{HeaderName, HeaderValue, Uri};

use super::{Refusal, Text};

/// The URL of an OTLP receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct ReceiverUrl {
    pub(in crate::config) tls: bool,
    /// Without brackets.
    pub(in crate::config) host: String,
    pub(in crate::config) port: u16,
    /// Without the slash at its end; empty when there is none.
    pub(in crate::config) path: String,
}

impl fmt::Display for ReceiverUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tls,
            host,
            port,
            path,
        } = self;
        let scheme = if *tls { "https" } else { "http" };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}{path}")
        } else {
            write!(f, "{scheme}://{host}:{port}{path}")
        }
    }
}

/// Where telemetry goes.
pub(in crate::config) const RECEIVER: Text<ReceiverUrl> = Text {
    expects: "a URL like `http://127.0.0.1:4318`",
    pattern: Some(r"https?://[^?#@ ]+"),
    read: |text| read_receiver(text).map_err(Refusal::invalid),
    write: ToString::to_string,
};

/// Reads a receiver's URL, or says why it is none.
pub(in crate::config) fn read_receiver(text: &str) -> Result<ReceiverUrl, String> {
    // Not quoted: whoever writes a user name here writes a password beside it.
    if text.contains('@') {
        return Err("a receiver's URL has no user name and no password: use `headers`".to_owned());
    }
    let refuse = |why: &str| format!("`{text}` is not a receiver's URL: {why}");
    let tls = match text.split_once("://") {
        Some(("http", _)) => false,
        Some(("https", _)) => true,
        _ => return Err(refuse("it must begin with http:// or https://")),
    };
    let uri: Uri = text
        .parse()
        .map_err(|_malformed| refuse("it is malformed"))?;
    if uri.query().is_some() || text.contains('#') {
        return Err(refuse("it must have no query and no fragment"));
    }
    let host = uri.host().unwrap_or_default();
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if host.is_empty() {
        return Err(refuse("it has no host"));
    }
    let port = match uri.authority().and_then(http::uri::Authority::port) {
        Some(port) if port.as_u16() > 0 => port.as_u16(),
        Some(_) => return Err(refuse("there is no port 0")),
        None if tls => 443,
        None => 80,
    };
    Ok(ReceiverUrl {
        tls,
        host: host.to_owned(),
        port,
        path: uri.path().trim_end_matches('/').to_owned(),
    })
}

/// A header of every request. Its value is a secret more often than not, so no message shows it.
pub(in crate::config) const HEADER_PAIR: Text<(HeaderName, HeaderValue)> = Text {
    expects: "a header like `authorization=Bearer ${TOKEN}`",
    pattern: Some("[A-Za-z0-9_-]+=.*"),
    read: |text| {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Refusal::invalid("a header is written `name=value`"))?;
        read_header(name, value).map_err(Refusal::invalid)
    },
    write: |(name, value)| format!("{name}={}", String::from_utf8_lossy(value.as_bytes())),
};

/// Reads a header, or says why it is none.
pub(in crate::config) fn read_header(
    name: &str,
    value: &str,
) -> Result<(HeaderName, HeaderValue), String> {
    let name: HeaderName = name
        .trim()
        .parse()
        .map_err(|_malformed| "a header has a name that no header can have".to_owned())?;
    let mut value = HeaderValue::from_str(value.trim()).map_err(|_malformed| {
        format!("the value of header `{name}` has characters that no header can have")
    })?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// An attribute of this instance.
pub(in crate::config) const ATTRIBUTE: Text<(String, String)> = Text {
    expects: "an attribute like `deployment.environment.name=production`",
    pattern: Some("[^=]+=.*"),
    read: |text| match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(Refusal::invalid(format!(
            "`{text}` is not an attribute: write `key=value`"
        ))),
    },
    write: |(key, value)| format!("{key}={value}"),
};
