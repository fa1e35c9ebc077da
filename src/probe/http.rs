//! Probing a URL.
//!
//! One connection for each request, with the phases taken apart: a name that resolves slowly, a handshake that hangs and
//! an upstream that thinks are different people's business.

use std::error::Error as _;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::definition::{HttpVersion, Statuses, Url};
use super::run::{Attempt, Failed};
use super::tcp::missing;
use crate::clock::Clock as _;
use crate::model::{ProbeFailure, ProbePhase};
use crate::net::mark::{self, Line};
use crate::net::stream::Stream;

/// Asks, follows redirects, and judges the last answer.
pub(super) async fn run(attempt: &mut Attempt<'_>, first: &Url) -> Result<(), Failed> {
    let most = attempt.probe.http.redirects;
    let (mut url, mut method) = (first.clone(), attempt.probe.http.method.clone());
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
    let wanted = attempt.probe.http.version;
    let at_home = url.place == first.place;
    let instead = attempt.probe.connect_to.filter(|_| at_home);
    let tcp = attempt.connect(&url.place, instead).await?;
    let (stream, http2) = if url.tls {
        let alpn: &[&[u8]] = match wanted {
            HttpVersion::Any => &[b"h2", b"http/1.1"],
            HttpVersion::Http1 => &[b"http/1.1"],
            HttpVersion::Http2 => &[b"h2"],
        };
        let tls = attempt.handshake(tcp, &url.place, alpn).await?;
        let chosen = tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let http2 = chosen.as_deref() == Some(b"h2") || wanted == HttpVersion::Http2;
        (Stream::Tls(Box::new(tls)), http2)
    } else {
        (Stream::Plain(tcp), wanted == HttpVersion::Http2)
    };
    let request = request(attempt, url, method, at_home, http2)?;
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
) -> Result<Request<Full<Bytes>>, Failed> {
    let settings = &attempt.probe.http;
    let has_body = !settings.body.is_empty() && *method == settings.method;
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
        let mark = key.sign(&attempt.probe.name, line, attempt.clock.now());
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

/// Reads the body and holds the answer to what is expected.
async fn judge(
    attempt: &mut Attempt<'_>,
    response: Response<Incoming>,
    url: &Url,
) -> Result<(), Failed> {
    let (head, mut body) = response.into_parts();
    let most = attempt.probe.http.max_body;
    let mut bytes = Vec::new();
    let mut count = 0_u64;
    let reading = async {
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                count += data.len() as u64;
                if count > most {
                    break;
                }
                bytes.extend_from_slice(&data);
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
    let expect = &attempt.probe.expect;
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
    for (name, text) in &expect.headers {
        let mut values = head.headers.get_all(name).iter();
        let contains = |value: &HeaderValue| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            value.contains(text.as_str())
        };
        if !values.any(contains) {
            let found: Vec<_> = head.headers.get_all(name).iter().collect();
            let detail = format!("header {name}: expected {text:?}, found {found:?}");
            return Err(Failed::new(ProbeFailure::AssertHeader, detail));
        }
    }
    if count > most {
        let detail = format!("the body is larger than `max_body` of {most} bytes");
        return Err(Failed::new(ProbeFailure::TooLarge, detail));
    }
    read?;
    match missing(&bytes, expect) {
        None => Ok(()),
        Some(missing) => Err(Failed::new(
            ProbeFailure::AssertBody,
            format!("the body of {count} bytes: {missing}"),
        )),
    }
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
