//! A client's head, as far as it is one, goes upstream as exactly one head of HTTP/1.1: one host, one framing, no
//! hop-by-hop field, and no field by which a stranger could pretend to be someone else.
#![no_main]

use http::header::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use vestibule::proxy::fuzzing;
use vestibule::routing::target;

fuzz_target!(|bytes: &[u8]| {
    let mut slots = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut slots);
    let Ok(httparse::Status::Complete(_)) = request.parse(bytes) else {
        return;
    };
    let mut headers = HeaderMap::new();
    for header in request.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_bytes(header.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return;
        };
        headers.append(name, value);
    }
    let Ok(method) = request.method.unwrap_or_default().parse() else {
        return;
    };
    let raw = request.path.unwrap_or_default();
    let (raw, query) = raw
        .split_once('?')
        .map_or((raw, None), |(path, query)| (path, Some(query)));
    let Ok(path) = target::path(raw) else { return };
    let asked = match query {
        Some(query) => format!("{}?{query}", path.text),
        None => path.text.to_string(),
    };
    if asked.parse::<http::uri::PathAndQuery>().is_err() {
        return;
    }
    let host = headers
        .get("host")
        .and_then(|value| value.to_str().ok())
        .unwrap_or("a.example");
    let Ok(host) = target::host(host) else { return };
    let written = fuzzing::request_head(
        &method,
        &asked,
        host.as_bytes(),
        &headers,
        [192, 0, 2, 1].into(),
    );

    let mut slots = [httparse::EMPTY_HEADER; 128];
    let mut upstream = httparse::Request::new(&mut slots);
    let length = match upstream.parse(&written) {
        Ok(httparse::Status::Complete(length)) => length,
        other => panic!("{other:?}: {:?}", String::from_utf8_lossy(&written)),
    };
    assert_eq!(length, written.len(), "something follows the head");
    assert_eq!(upstream.method, Some(method.as_str()));
    assert_eq!(upstream.path, Some(asked.as_str()));
    let count = |name: &str| {
        let named = upstream
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        named.count()
    };
    for once in [
        "host",
        "x-request-id",
        "traceparent",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
    ] {
        assert_eq!(count(once), 1, "{once}");
    }
    assert!(count("content-length") + count("transfer-encoding") <= 1);
    for never in [
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "upgrade",
        "forwarded",
        "x-real-ip",
        "expect",
    ] {
        assert_eq!(count(never), 0, "{never}");
    }
    let forwarded = upstream
        .headers
        .iter()
        .find(|header| header.name == "x-forwarded-for");
    assert_eq!(
        forwarded.map(|header| header.value),
        Some(&b"192.0.2.1"[..])
    );
    assert!(
        upstream
            .headers
            .iter()
            .all(|header| !header.name.contains('_'))
    );
});
