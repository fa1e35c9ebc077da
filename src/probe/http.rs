//! Probing a URL.
//!
//! One connection for each request, with the phases taken apart: a name that resolves slowly, a handshake that hangs and
//! an upstream that thinks are different people's business.

use std::error::Error as _;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, LAST_MODIFIED, LOCATION, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::definition::{Expectations, HttpRequest, HttpVersion, HttpVersionNumber, Statuses, Url};
use super::journey;
use super::run::{Attempt, Failed};
use super::tcp::missing;
use crate::clock::Clock as _;
use crate::model::{ProbeFailure, ProbePhase, Timestamp};
use crate::net::mark::{self, Line};
use crate::net::stream::Stream;

/// Asks, follows redirects, and judges the last answer.
pub(super) async fn run(attempt: &mut Attempt<'_>, first: &Url) -> Result<(), Failed> {
    let most = attempt.manner.http.redirects;
    let (mut url, mut method) = (first.clone(), attempt.manner.http.method.clone());
    loop {
        let response = ask(attempt, &url, &method, first).await?;
        let status = response.status();
        attempt.seen.status = Some(status.as_u16());
        let location = location(&response).filter(|_| most > 0);
        let Some(location) = location else {
            return judge(attempt, response, &url).await;
        };
        if attempt.seen.redirects >= most {
            let detail = format!("more than {most} redirects, the last one to {location}");
            return Err(Failed::new(ProbeFailure::RedirectLoop, detail));
        }
        url = url.join(&location).ok_or_else(|| {
            let detail = format!("redirected to {location:?}, which is no URL of http or https");
            Failed::new(ProbeFailure::AssertHeader, detail)
        })?;
        if attempt.manner.stands_for.as_ref() == Some(&url.place) {
            url = Url {
                target: url.target,
                ..first.clone()
            };
        }
        attempt.seen.redirects += 1;
        // RFC 9110, 15.4.4; and what every browser does with a 301 or 302 that answers a POST (15.4.2).
        let becomes_get = status == StatusCode::SEE_OTHER && method != Method::HEAD
            || method == Method::POST && matches!(status.as_u16(), 301 | 302);
        if becomes_get {
            method = Method::GET;
        }
    }
}

fn location(response: &Response<Incoming>) -> Option<String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?;
    location.to_str().ok().map(ToOwned::to_owned)
}

/// Opens a connection and sends one request, up to the response's head.
async fn ask(
    attempt: &mut Attempt<'_>,
    url: &Url,
    method: &Method,
    first: &Url,
) -> Result<Response<Incoming>, Failed> {
    let wanted = attempt.manner.http.version;
    let at_home = url.place == first.place;
    let instead = attempt.manner.connect_to.filter(|_| at_home);
    attempt.seen.encrypted = false;
    let secrets = if at_home {
        authorization(&attempt.manner.http).await?
    } else {
        None
    };
    let tcp = attempt.connect(&url.place, instead).await?;
    let (stream, http2) = if url.tls {
        let alpn: &[&[u8]] = match wanted {
            HttpVersion::Any => &[b"h2", b"http/1.1"],
            HttpVersion::Http1 => &[b"http/1.1"],
            HttpVersion::Http2 => &[b"h2"],
        };
        let tls = attempt.handshake(tcp, &url.place, alpn).await?;
        let chosen = tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let http2 = chosen.as_deref() == Some(b"h2");
        // One that ignores what it is offered would be told in a version that it does not speak, and wait.
        if wanted == HttpVersion::Http2 && !http2 {
            let text = "the server does not choose HTTP/2 (ALPN)";
            return Err(Failed::new(ProbeFailure::AssertProtocol, text));
        }
        (Stream::Tls(Box::new(tls)), http2)
    } else {
        (Stream::Plain(tcp), wanted == HttpVersion::Http2)
    };
    let request = request(attempt, url, method, at_home, http2, secrets)?;
    let response = attempt
        .phase(
            ProbePhase::Processing,
            ProbeFailure::HttpTimeoutHeaders,
            exchange(stream, request, http2),
            |error| Failed::new(ProbeFailure::HttpReset, in_full(&error)),
        )
        .await?;
    let version = if response.version() == Version::HTTP_2 {
        "HTTP/2"
    } else if response.version() == Version::HTTP_10 {
        "HTTP/1.0"
    } else {
        "HTTP/1.1"
    };
    attempt.seen.http_version = Some(version.to_owned());
    if let Some(carried) = attempt.carried.as_mut() {
        carried.keep_cookies(url, response.headers());
    }
    let field = |name: &HeaderName| response.headers().get(name)?.to_str().ok();
    attempt.seen.content_length = field(&CONTENT_LENGTH).and_then(|text| text.parse().ok());
    attempt.seen.last_modified = field(&LAST_MODIFIED)
        .and_then(|text| httpdate::parse_http_date(text).ok())
        .map(Timestamp::from);
    Ok(response)
}

async fn exchange(
    stream: Stream,
    request: Request<Full<Bytes>>,
    http2: bool,
) -> Result<Response<Incoming>, hyper::Error> {
    let io = TokioIo::new(stream);
    // The tasks that drive the connections end with it, which ends with the response.
    if http2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        sender.send_request(request).await
    } else {
        let (mut sender, connection) = http1::handshake(io).await?;
        tokio::spawn(connection);
        sender.send_request(request).await
    }
}

fn request(
    attempt: &Attempt<'_>,
    url: &Url,
    method: &Method,
    at_home: bool,
    http2: bool,
    secrets: Option<HeaderValue>,
) -> Result<Request<Full<Bytes>>, Failed> {
    let settings = &attempt.manner.http;
    // What a journey was told stays with those who are asked for it, whoever redirects.
    let may_follow = at_home || attempt.carried.is_none();
    let has_body = !settings.body.is_empty() && *method == settings.method && may_follow;
    let body = if has_body {
        Bytes::from(settings.body.clone())
    } else {
        Bytes::new()
    };
    let mut headers = HeaderMap::new();
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("vestibule-probe/", env!("CARGO_PKG_VERSION"))),
    );
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    for (name, value) in &settings.headers {
        // Secrets stay with the host that they were written for.
        if at_home || !(*name == AUTHORIZATION || *name == COOKIE) {
            headers.insert(name, value.clone());
        }
    }
    if let Some(secrets) = secrets {
        headers.insert(AUTHORIZATION, secrets);
    }
    if let Some(carried) = attempt.carried.as_ref()
        && let Some(cookies) = carried.cookies(url, headers.get(COOKIE))
    {
        headers.insert(COOKIE, cookies);
    }
    let odd = |what: &str| Failed::new(ProbeFailure::Internal, format!("cannot ask for {what}"));
    let authority = match headers.get(HOST).filter(|_| at_home) {
        Some(host) => host.to_str().map_err(|_odd| odd("this Host"))?.to_owned(),
        None => url.authority(),
    };
    headers.remove(HOST);
    if let Some(key) = attempt.key {
        let line = Line {
            method: method.as_str(),
            host: authority.as_bytes(),
            path: url.path(),
        };
        let mark = key.sign(attempt.name, line, attempt.clock.now());
        let mark = HeaderValue::from_str(&mark).map_err(|_odd| odd("this name"))?;
        headers.insert(mark::HEADER, mark);
    }
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = method.clone();
    let uri = if http2 {
        let scheme = if url.tls { "https" } else { "http" };
        format!("{scheme}://{authority}{}", url.target)
    } else {
        let host = HeaderValue::from_str(&authority).map_err(|_odd| odd("this Host"))?;
        headers.insert(HOST, host);
        url.target.clone()
    };
    *request.uri_mut() = uri.parse().map_err(|_odd| odd(&uri))?;
    if has_body {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    *request.headers_mut() = headers;
    Ok(request)
}

/// The value of an Authorization header whose secret is in a file; read for each request, so that a rotated one is known at
/// once.
async fn authorization(settings: &HttpRequest) -> Result<Option<HeaderValue>, Failed> {
    let text = if let Some(path) = &settings.bearer_file {
        format!("Bearer {}", secret(path).await?)
    } else if let Some((user, path)) = &settings.basic {
        let pair = format!("{user}:{}", secret(path).await?);
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    } else {
        return Ok(None);
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_odd| {
        let detail = "the secret holds what no header may";
        Failed::new(ProbeFailure::NotPermitted, detail)
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

async fn secret(path: &Path) -> Result<String, Failed> {
    let text = tokio::fs::read_to_string(path).await.map_err(|error| {
        let detail = format!("the secret in {} cannot be read: {error}", path.display());
        Failed::new(ProbeFailure::NotPermitted, detail)
    })?;
    Ok(text.trim_end().to_owned())
}

/// Reads the body and holds the answer to what is expected.
async fn judge(
    attempt: &mut Attempt<'_>,
    response: Response<Incoming>,
    url: &Url,
) -> Result<(), Failed> {
    let (head, mut body) = response.into_parts();
    let most = attempt.manner.http.max_body;
    let keeps = looks_at_body(&attempt.manner.expect) || journey::look_at_body(attempt.captures);
    let mut bytes = Vec::new();
    let mut count = 0_u64;
    let reading = async {
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                count += data.len() as u64;
                if count > most {
                    break;
                }
                if keeps {
                    bytes.extend_from_slice(&data);
                }
            }
        }
        Ok::<_, hyper::Error>(())
    };
    let read = attempt
        .phase(
            ProbePhase::Transfer,
            ProbeFailure::HttpTimeoutBody,
            reading,
            |error| Failed::new(ProbeFailure::HttpReset, in_full(&error)),
        )
        .await;
    attempt.seen.body_bytes = count;
    let expect = &attempt.manner.expect;
    // The status first: when an error page also lacks a text or breaks off, the status is what to know.
    let status = head.status.as_u16();
    let wanted = if expect.statuses.is_empty() {
        &[Statuses::SUCCESS][..]
    } else {
        &expect.statuses
    };
    if !wanted.iter().any(|statuses| statuses.has(status)) {
        let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
        let location = head.headers.get(LOCATION).and_then(|it| it.to_str().ok());
        let hint = location.map_or_else(String::new, |to| {
            format!("; it leads to {to}, `redirects` says how many are followed")
        });
        let detail = format!(
            "{url} answered {status}, expected {}{hint}",
            wanted.join(" or ")
        );
        return Err(Failed::new(ProbeFailure::HttpStatus, detail));
    }
    protocol(
        attempt.seen.http_version.as_deref(),
        attempt.seen.encrypted,
        expect,
    )?;
    headers(&head.headers, expect)?;
    if count > most {
        let detail = format!("the body is larger than `max_body` of {most} bytes");
        return Err(Failed::new(ProbeFailure::TooLarge, detail));
    }
    read?;
    if let Some(missing) = missing(&bytes, expect) {
        let detail = format!("the body of {count} bytes: {missing}");
        return Err(Failed::new(ProbeFailure::AssertBody, detail));
    }
    json(&bytes, expect)?;
    match attempt.carried.as_mut() {
        Some(carried) => carried.capture(attempt.captures, &head.headers, &bytes),
        None => Ok(()),
    }
}

/// Whether the body must be kept: probes of large files that only ask for the status would fill the memory with them.
fn looks_at_body(expect: &Expectations) -> bool {
    !(expect.body.is_empty()
        && expect.body_lacks.is_empty()
        && expect.body_matches.is_empty()
        && expect.body_matches_none.is_empty()
        && expect.json.is_empty())
}

fn protocol(version: Option<&str>, encrypted: bool, expect: &Expectations) -> Result<(), Failed> {
    let versions = &expect.http_versions;
    let fits = |wanted: &HttpVersionNumber| Some(wanted.as_str()) == version;
    if !versions.is_empty() && !versions.iter().any(fits) {
        let wanted: Vec<_> = versions.iter().map(|wanted| wanted.as_str()).collect();
        let detail = format!(
            "it was answered in {}, expected {}",
            version.unwrap_or("no version of HTTP"),
            wanted.join(" or ")
        );
        return Err(Failed::new(ProbeFailure::AssertProtocol, detail));
    }
    match expect.encrypted {
        Some(wanted) if wanted != encrypted => {
            let detail = if encrypted {
                "it was answered over TLS, which it should not be"
            } else {
                "it was answered in plain text, and should be over TLS"
            };
            Err(Failed::new(ProbeFailure::AssertProtocol, detail))
        }
        Some(_) | None => Ok(()),
    }
}

fn json(bytes: &[u8], expect: &Expectations) -> Result<(), Failed> {
    if expect.json.is_empty() {
        return Ok(());
    }
    let failed = |detail: String| Failed::new(ProbeFailure::AssertJson, detail);
    let document = serde_json::from_slice(bytes)
        .map_err(|error| failed(format!("the body is no JSON: {error}")))?;
    let missing = expect.json.iter().find_map(|it| it.missing(&document));
    missing.map_or(Ok(()), |missing| Err(failed(missing)))
}

fn headers(headers: &HeaderMap, expect: &Expectations) -> Result<(), Failed> {
    for (name, text) in &expect.headers {
        let mut values = headers.get_all(name).iter();
        let contains = |value: &HeaderValue| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            value.contains(text.as_str())
        };
        if !values.any(contains) {
            let found: Vec<_> = headers.get_all(name).iter().collect();
            let detail = format!("header {name}: expected {text:?}, found {found:?}");
            return Err(Failed::new(ProbeFailure::AssertHeader, detail));
        }
    }
    for (patterns, wanted) in [
        (&expect.header_matches, true),
        (&expect.header_matches_none, false),
    ] {
        for (name, pattern) in patterns {
            let mut values = headers.get_all(name).iter();
            if values.any(|value| pattern.is_match(value.as_bytes())) != wanted {
                let found: Vec<_> = headers.get_all(name).iter().collect();
                let should = if wanted {
                    "should match"
                } else {
                    "should not match"
                };
                let detail = format!("header {name}: {found:?} {should} /{}/", pattern.as_str());
                return Err(Failed::new(ProbeFailure::AssertHeader, detail));
            }
        }
    }
    Ok(())
}

/// An error with all its causes: hyper's own texts end where they become interesting.
fn in_full(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::definition::{JsonExpectation, JsonPath, JsonWants, Pattern};

    #[test]
    fn a_body_is_kept_only_when_something_is_expected_of_it() {
        let mut expect = Expectations {
            encrypted: Some(true),
            headers: vec![(COOKIE, "a".to_owned())],
            ..Expectations::default()
        };
        assert!(!looks_at_body(&expect));
        let pattern = || vec![Pattern::try_new("a").unwrap()];
        let text = || vec!["a".to_owned()];
        let mut each = [(); 4].map(|()| expect.clone());
        each[0].body = text();
        each[1].body_lacks = text();
        each[2].body_matches = pattern();
        each[3].body_matches_none = pattern();
        for expect in each {
            assert!(looks_at_body(&expect), "{expect:?}");
        }
        let (path, wants) = (JsonPath::try_new("$.a").unwrap(), JsonWants::Found);
        expect.json = vec![JsonExpectation { path, wants }];
        assert!(looks_at_body(&expect));
    }
}
