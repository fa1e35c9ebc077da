//! Requests that are asked about, as people and access logs write them.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

/// A request that is asked about.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) method: Method,
    /// Whether it comes over TLS.
    pub(super) tls: bool,
    /// As the client names it, perhaps with a port.
    pub(super) authority: String,
    /// The name of the listener it comes in by; `None`: the one that its scheme and port lead to.
    pub(super) listener: Option<String>,
    /// The port it names.
    pub(super) port: Option<u16>,
    /// Path and query as the client sends them.
    pub(super) target: Uri,
    pub(super) headers: HeaderMap,
}

/// Why a text is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AskedError {
    #[error("`{0}` is not a URL like http://shop.example/cart")]
    Url(String),
    #[error("`{0}` is not a method")]
    Method(String),
    #[error("`{0}` is not a header like `x-canary: always`")]
    Header(String),
    #[error("`{0}` is neither `[METHOD] URL` nor a line of the access log")]
    Line(String),
}

impl Asked {
    /// Reads a method, a URL and headers like `name: value`.
    pub(super) fn new(method: &str, url: &str, headers: &[String]) -> Result<Self, AskedError> {
        let wrong = || AskedError::Url(url.to_owned());
        let (tls, rest) = if let Some(rest) = url.strip_prefix("https://") {
            (true, rest)
        } else {
            (false, url.strip_prefix("http://").ok_or_else(wrong)?)
        };
        // What follows `#` stays with the client.
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let slash = if target.starts_with('/') { "" } else { "/" };
        let target = format!("{slash}{target}");
        let port = authority.rsplit_once(':').map(|(_, port)| port);
        let mut asked = Self {
            method: Method::from_bytes(method.as_bytes())
                .ok()
                .ok_or_else(|| AskedError::Method(method.to_owned()))?,
            tls,
            listener: None,
            authority: authority.to_owned(),
            port: port.and_then(|port| port.parse().ok()),
            target: target.parse().ok().ok_or_else(wrong)?,
            headers: HeaderMap::new(),
        };
        for header in headers {
            asked.add_header(header)?;
        }
        Ok(asked)
    }

    fn add_header(&mut self, header: &str) -> Result<(), AskedError> {
        let wrong = || AskedError::Header(header.to_owned());
        let (name, value) = header.split_once(':').ok_or_else(wrong)?;
        let name = HeaderName::from_bytes(name.trim().as_bytes())
            .ok()
            .ok_or_else(wrong)?;
        let value = HeaderValue::from_str(value.trim()).ok().ok_or_else(wrong)?;
        if name == http::header::HOST {
            value
                .to_str()
                .unwrap_or_default()
                .clone_into(&mut self.authority);
        } else {
            self.headers.append(name, value);
        }
        Ok(())
    }

    /// Reads a line: `URL`, `METHOD URL`, both perhaps with ` -H 'name: value'` behind, or one of the access log. `None`
    /// for an empty line and a comment.
    pub(super) fn from_line(line: &str) -> Result<Option<Self>, AskedError> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        if line.starts_with('{') {
            return Self::from_log(line).map(Some);
        }
        let (request, headers) = line.split_once(" -H ").unwrap_or((line, ""));
        let headers: Vec<String> = headers
            .split(" -H ")
            .map(|header| header.trim().trim_matches(['\'', '"']).to_owned())
            .filter(|header| !header.is_empty())
            .collect();
        let words: Vec<&str> = request.split_whitespace().collect();
        match words.as_slice() {
            [url] => Self::new("GET", url, &headers),
            [method, url] => Self::new(method, url, &headers),
            _ => Err(AskedError::Line(line.to_owned())),
        }
        .map(Some)
    }

    fn from_log(line: &str) -> Result<Self, AskedError> {
        let wrong = || AskedError::Line(line.to_owned());
        let record: serde_json::Value = serde_json::from_str(line).ok().ok_or_else(wrong)?;
        let text = |key: &str| record[key].as_str().ok_or_else(wrong);
        let url = format!("{}://{}{}", text("scheme")?, text("host")?, text("path")?);
        Self::new(text("method")?, &url, &[])
    }
}

/// As it can be asked again.
impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(
            f,
            "{} {scheme}://{}{}",
            self.method, self.authority, self.target
        )?;
        for (name, value) in &self.headers {
            write!(f, " -H '{name}: {}'", value.to_str().unwrap_or_default())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_url_a_method_and_a_url_or_a_line_of_the_log() {
        for (line, asked) in [
            ("http://a.test", "GET http://a.test/"),
            (
                "https://a.test:8443/x?y=1#z",
                "GET https://a.test:8443/x?y=1",
            ),
            ("http://a.test?y", "GET http://a.test/?y"),
            ("POST http://a.test/x", "POST http://a.test/x"),
            (
                "GET http://a.test/x -H 'x-a: 1' -H \"x-b: 2\"",
                "GET http://a.test/x -H 'x-a: 1' -H 'x-b: 2'",
            ),
            (
                "GET http://1.2.3.4/ -H 'Host: a.test'",
                "GET http://a.test/",
            ),
            (
                r#"{"method":"PUT","scheme":"https","host":"a.test","path":"/x","status":200}"#,
                "PUT https://a.test/x",
            ),
        ] {
            let read = Asked::from_line(line).unwrap().unwrap();
            assert_eq!(read.to_string(), asked, "{line}");
            assert_eq!(Asked::from_line(asked).unwrap(), Some(read));
        }
        assert_eq!(Asked::from_line("  # comment"), Ok(None));
        for line in [
            "a.test/x",
            "GET a b c",
            "{}",
            "G\u{e4}T http://a/",
            "http://a/ -H x",
        ] {
            assert!(Asked::from_line(line).is_err(), "{line}");
        }
    }
}
