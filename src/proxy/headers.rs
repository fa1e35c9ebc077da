//! The only place that edits headers: what goes upstream, what comes back.
//!
//! The request's head is written straight from the client's headers, so leaving one out costs nothing and no map is
//! changed. Hop-by-hop fields end here (RFC 9110, 7.6.1); what clients could use to pretend to be someone else is
//! replaced unless they are trusted; forwarding fields are ours.

use std::fmt::Write as _;
use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method};

use super::certified::Identity;
use super::config::{HeaderEdits, IdentityHeader, Network};
use super::identity::TraceContext;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The header that carries a request's id.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C trace context.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Who the client is and how far its own word is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// The other end of the connection.
    pub(super) peer: IpAddr,
    /// The client: the peer, or whom trusted proxies name.
    pub(super) address: IpAddr,
    /// Whether the peer's forwarding headers are believed.
    pub(super) trusted: bool,
}

impl Client {
    /// Walks `X-Forwarded-For` from the right past trusted proxies; the first address that is not one is the client.
    pub(super) fn new(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        if !is_trusted(peer) {
            return Self {
                peer,
                address: peer,
                trusted: false,
            };
        }
        let mut address = peer;
        let named = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let named = named.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        for item in named {
            let parsed = std::str::from_utf8(item.trim_ascii())
                .ok()
                .and_then(|text| text.parse().ok());
            let Some(parsed) = parsed else { break };
            address = parsed;
            if !is_trusted(parsed) {
                break;
            }
        }
        Self {
            peer,
            address,
            trusted: true,
        }
    }
}

/// How the request's body is framed upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunked.
    Chunked,
}

/// What a request's head upstream is made of.
#[derive(Debug)]
pub(super) struct RequestHead<'a> {
    pub(super) method: &'a Method,
    /// Path and query, in the form that was matched.
    pub(super) target: &'a str,
    pub(super) host: &'a [u8],
    /// What the client asked for.
    pub(super) client_host: &'a [u8],
    pub(super) headers: &'a HeaderMap,
    pub(super) client: Client,
    /// Who the client is by its certificate.
    pub(super) identity: Option<&'a Identity>,
    /// Whether what the client says of its certificate is believed: a trusted proxy in front has asked for it.
    pub(super) identity_believed: bool,
    pub(super) scheme: &'a str,
    pub(super) request_id: &'a [u8],
    pub(super) trace: &'a TraceContext,
    pub(super) framing: BodyFraming,
    /// Whether a WebSocket upgrade is asked for.
    pub(super) websocket: bool,
    /// What the route changes.
    pub(super) edits: &'a HeaderEdits,
}

/// Writes a request's head.
pub(super) fn write_request(out: &mut BytesMut, head: &RequestHead<'_>) {
    let RequestHead {
        method,
        target,
        host,
        client_host,
        headers,
        client,
        identity,
        identity_believed,
        scheme,
        request_id,
        trace,
        framing,
        websocket,
        edits,
    } = head;
    out.put_slice(method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    field(out, "host", host);
    for (name, value) in *headers {
        let stale = !trace.is_continued() && *name == TRACESTATE;
        if !stale
            && !edits.replaces(name)
            && *name != COOKIE
            && !is_ours(name)
            && (client.trusted || !name.as_str().starts_with("x-forwarded-"))
            && (*identity_believed || !IdentityHeader::is_one(name.as_str()))
            && !is_hop_by_hop(name, headers)
        {
            field(out, name.as_str(), value.as_bytes());
        }
    }
    if !edits.replaces(&COOKIE) {
        cookies(out, headers);
    }
    for line in edits.set.iter().chain(&edits.add) {
        field(out, line.name.as_str(), line.value.as_bytes());
    }
    forwarding(out, headers, *client, client_host, scheme);
    if let Some(identity) = identity {
        out.put_slice(identity.lines());
    }
    field(out, X_REQUEST_ID.as_str(), request_id);
    field(out, TRACEPARENT.as_str(), trace.as_bytes());
    match framing {
        BodyFraming::None if matches!(**method, Method::POST | Method::PUT | Method::PATCH) => {
            field(out, "content-length", b"0");
        }
        BodyFraming::None => {}
        BodyFraming::Length(length) => field(
            out,
            "content-length",
            itoa::Buffer::new().format(*length).as_bytes(),
        ),
        BodyFraming::Chunked => field(out, "transfer-encoding", b"chunked"),
    }
    if *websocket {
        field(out, "connection", b"upgrade");
        field(out, "upgrade", b"websocket");
    } else if has_token(headers, &TE, b"trailers") {
        // TE is hop by hop: what follows is our own willingness to pass trailers on.
        field(out, "connection", b"te");
        field(out, "te", b"trailers");
    }
    out.put_slice(b"\r\n");
}

fn field(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// Writes the one Cookie field: HTTP/2 clients send it in pieces, which compress better, and servers of HTTP/1 know one
/// (RFC 9113, 8.2.3).
fn cookies(out: &mut BytesMut, headers: &HeaderMap) {
    let mut pieces = headers.get_all(COOKIE).iter();
    let Some(first) = pieces.next() else { return };
    out.put_slice(b"cookie: ");
    out.put_slice(first.as_bytes());
    for piece in pieces {
        out.put_slice(b"; ");
        out.put_slice(piece.as_bytes());
    }
    out.put_slice(b"\r\n");
}

fn forwarding(out: &mut BytesMut, headers: &HeaderMap, client: Client, host: &[u8], scheme: &str) {
    out.put_slice(b"x-forwarded-for: ");
    if client.trusted {
        for value in headers.get_all(X_FORWARDED_FOR) {
            out.put_slice(value.as_bytes());
            out.put_slice(b", ");
        }
    }
    write!(out, "{}", client.peer).expect("writing to memory cannot fail");
    out.put_slice(b"\r\n");
    let believed = |name: HeaderName| {
        headers
            .get(name)
            .filter(|_| client.trusted)
            .map(HeaderValue::as_bytes)
    };
    field(
        out,
        "x-forwarded-proto",
        believed(X_FORWARDED_PROTO).unwrap_or(scheme.as_bytes()),
    );
    field(
        out,
        "x-forwarded-host",
        believed(X_FORWARDED_HOST).unwrap_or(host),
    );
}

/// Fields that we write ourselves, and fields by which a client could pretend to be someone else.
fn is_ours(name: &HeaderName) -> bool {
    match name.as_str() {
        "host" | "content-length" | "expect" | "forwarded" | "x-forwarded-for"
        | "x-forwarded-proto" | "x-forwarded-host" | "x-forwarded-port" | "x-real-ip"
        | "x-original-url" | "x-rewrite-url" | "x-request-id" | "traceparent" => true,
        // CGI-style servers read `_` as `-`: such a name could stand in for one that we have just removed.
        other => other.contains('_'),
    }
}

/// Whether a field speaks of one connection only: the standard ones, and those that `Connection` names.
fn is_hop_by_hop(name: &HeaderName, headers: &HeaderMap) -> bool {
    is_standard_hop_by_hop(name)
        || (may_be_named(name) && has_token(headers, &CONNECTION, name.as_str().as_bytes()))
}

fn is_standard_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// `Connection` may not take away fields that others rely on for identity, authority or caching.
fn may_be_named(name: &HeaderName) -> bool {
    !matches!(
        name.as_str(),
        "authorization" | "cookie" | "cache-control" | "set-cookie" | "content-type" | "origin"
    )
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    headers.get_all(name).iter().any(|value| {
        let mut items = value.as_bytes().split(|byte| *byte == b',');
        items.any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
    })
}

/// Whether a request's body has no transfer coding but `chunked`. Another one would be lost with its name: the field
/// ends here, and the body goes on as it is.
pub(super) fn is_coded_plainly(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    codings
        .next()
        .is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        && codings.next().is_none()
}

/// Whether a body's length is written without zeros before it, which not everybody reads as decimals.
pub(super) fn is_long_plainly(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    length.is_none_or(|length| length == b"0" || !length.starts_with(b"0"))
}

/// Whether the client asks for a WebSocket (RFC 6455, 4.1).
pub(super) fn wants_websocket(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::GET
        && has_token(headers, &UPGRADE, b"websocket")
        && has_token(headers, &CONNECTION, b"upgrade")
}

/// Whether a 101 really opens the WebSocket that was asked for.
pub(super) fn opens_websocket(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, b"websocket")
        && has_token(headers, &CONNECTION, b"upgrade")
        && headers
            .get("sec-websocket-accept")
            .is_some_and(|accept| accept.len() == ACCEPT)
}

/// Base64 of a SHA-1.
const ACCEPT: usize = 28;

/// Leaves only what the client may see.
pub(super) fn clean_response(headers: &mut HeaderMap) {
    // There may be several; looked up one by one, so that the usual single one costs no list.
    let mut line = 0;
    while let Some(named) = headers.get_all(CONNECTION).iter().nth(line).cloned() {
        line += 1;
        for item in named.as_bytes().split(|byte| *byte == b',') {
            if let Ok(name) = HeaderName::from_bytes(item.trim_ascii())
                && may_be_named(&name)
                && name != CONNECTION
            {
                headers.remove(name);
            }
        }
    }
    headers.remove(CONNECTION);
    // Looking first is cheaper than removing eight names from a map that has none of them.
    if headers.keys().any(is_standard_hop_by_hop) {
        for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
            headers.remove(name);
        }
    }
}

/// Makes a route's changes to a response's headers.
pub(super) fn edit_response(headers: &mut HeaderMap, edits: &HeaderEdits) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for line in &edits.set {
        headers.insert(line.name.clone(), line.value.clone());
    }
    for line in &edits.add {
        headers.append(line.name.clone(), line.value.clone());
    }
}

/// Says that a host is to be asked over TLS alone, whatever the upstream says of it.
pub(super) fn tell_hsts(headers: &mut HeaderMap, hsts: &HeaderValue) {
    headers.insert(http::header::STRICT_TRANSPORT_SECURITY, hsts.clone());
}

/// Whether a request came over TLS: to us, or to a proxy in front whose word is taken.
pub(super) fn came_over_tls(tls: bool, client: Client, headers: &HeaderMap) -> bool {
    let told = || headers.get(X_FORWARDED_PROTO).map(HeaderValue::as_bytes);
    tls || (client.trusted && told() == Some(b"https"))
}

/// Leaves only trailers that may be trailers: nothing that frames, routes, or authenticates (RFC 9110, 6.5.1).
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    for name in [
        CONNECTION,
        CONTENT_LENGTH,
        EXPECT,
        FORWARDED,
        HOST,
        KEEP_ALIVE,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        X_FORWARDED_FOR,
        X_FORWARDED_HOST,
        X_FORWARDED_PROTO,
        http::header::AUTHORIZATION,
        COOKIE,
        http::header::SET_COOKIE,
        http::header::CACHE_CONTROL,
        http::header::CONTENT_ENCODING,
        http::header::CONTENT_TYPE,
    ] {
        trailers.remove(name);
    }
}

/// Writes the trailer section of a chunked request.
pub(super) fn write_trailers(out: &mut BytesMut, trailers: &mut HeaderMap) {
    clean_trailers(trailers);
    out.put_slice(b"0\r\n");
    for (name, value) in &*trailers {
        // Servers that merge trailers into headers must not be told there what they are not told here.
        let pretends = is_ours(name)
            || name.as_str().starts_with("x-forwarded-")
            || IdentityHeader::is_one(name.as_str())
            || is_standard_hop_by_hop(name);
        if !pretends {
            field(out, name.as_str(), value.as_bytes());
        }
    }
    out.put_slice(b"\r\n");
}

/// The value of the first cookie with this name (RFC 6265, 4.2.1).
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(COOKIE).iter();
    let mut pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        value.strip_prefix(b"=")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::identity::IdSource;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        fields.iter().map(field).collect()
    }

    fn written(headers: &HeaderMap, trusted: &[&str], websocket: bool) -> Vec<String> {
        let trusted: Vec<Network> = trusted
            .iter()
            .map(|network| network.parse().unwrap())
            .collect();
        let mut out = BytesMut::new();
        let parent = headers.get(TRACEPARENT).map(HeaderValue::as_bytes);
        let trace = TraceContext::continue_or_begin(
            parent,
            &IdSource::from_system(crate::model::TraceShare::ALL),
        );
        write_request(
            &mut out,
            &RequestHead {
                method: &Method::GET,
                target: "/x?y=1",
                host: b"up.test",
                client_host: b"shop.test",
                headers,
                client: Client::new("192.0.2.7".parse().unwrap(), headers, &trusted),
                identity: None,
                identity_believed: !trusted.is_empty(),
                scheme: "https",
                request_id: b"id-1",
                trace: &trace,
                framing: BodyFraming::None,
                websocket,
                edits: &HeaderEdits::default(),
            },
        );
        let text = String::from_utf8(out.to_vec()).unwrap();
        assert!(text.ends_with("\r\n\r\n"));
        let span = text.find("traceparent: ").unwrap();
        // Its span differs from time to time.
        text.replace(text.get(span..span + 68).unwrap(), "traceparent: tp")
            .trim_end()
            .split("\r\n")
            .map(ToOwned::to_owned)
            .collect()
    }

    #[test]
    fn a_stranger_cannot_pretend_and_hop_by_hop_ends_here() {
        let headers = map(&[
            ("host", "shop.test"),
            ("accept", "*/*"),
            ("connection", "close, x-secret, authorization"),
            ("x-secret", "1"),
            ("authorization", "Basic x"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("expect", "100-continue"),
            ("forwarded", "for=10.0.0.1"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("x-request-id", "theirs"),
        ]);
        assert_eq!(
            written(&headers, &[], false),
            [
                "GET /x?y=1 HTTP/1.1",
                "host: up.test",
                "accept: */*",
                "authorization: Basic x",
                "x-forwarded-for: 192.0.2.7",
                "x-forwarded-proto: https",
                "x-forwarded-host: shop.test",
                "x-request-id: id-1",
                "traceparent: tp",
            ]
        );
    }

    #[test]
    fn the_state_of_a_trace_goes_on_only_with_its_trace() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (parent, goes_on) in [(parent, true), ("00-nonsense", false)] {
            let headers = map(&[("traceparent", parent), ("tracestate", "a=b")]);
            let lines = written(&headers, &[], false);
            assert_eq!(lines.contains(&"tracestate: a=b".to_owned()), goes_on);
        }
    }

    #[test]
    fn a_trusted_proxy_is_believed() {
        let headers = map(&[
            ("x-forwarded-for", "203.0.113.9, 10.1.1.1"),
            ("x-forwarded-proto", "http"),
        ]);
        let lines = written(&headers, &["192.0.2.0/24"], false);
        assert!(lines.contains(&"x-forwarded-for: 203.0.113.9, 10.1.1.1, 192.0.2.7".to_owned()));
        assert!(lines.contains(&"x-forwarded-proto: http".to_owned()));
    }

    #[test]
    fn the_client_is_the_first_from_the_right_that_no_one_vouches_for() {
        let trusted = [
            "192.0.2.0/24".parse().unwrap(),
            "10.0.0.0/8".parse().unwrap(),
        ];
        for (peer, forwarded, client) in [
            ("203.0.113.1", "1.1.1.1", "203.0.113.1"),
            ("192.0.2.7", "1.1.1.1, 203.0.113.9, 10.1.1.1", "203.0.113.9"),
            ("192.0.2.7", "1.1.1.1, rubbish", "192.0.2.7"),
            ("192.0.2.7", "10.9.9.9", "10.9.9.9"),
        ] {
            let headers = map(&[("x-forwarded-for", forwarded)]);
            let found = Client::new(peer.parse().unwrap(), &headers, &trusted).address;
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{forwarded}");
        }
    }

    #[test]
    fn a_websocket_opens_only_with_a_whole_answer() {
        let accept = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let whole = [("upgrade", "WebSocket"), ("connection", "Upgrade"), accept];
        assert!(opens_websocket(&map(&whole)));
        for missing in 0..whole.len() {
            let mut part = whole.to_vec();
            part.remove(missing);
            assert!(!opens_websocket(&map(&part)));
        }
        let asking = map(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ]);
        assert!(wants_websocket(&Method::GET, &asking) && !wants_websocket(&Method::POST, &asking));
        assert!(written(&asking, &[], true).contains(&"upgrade: websocket".to_owned()));
        assert!(
            !written(&asking, &[], false)
                .iter()
                .any(|line| line.starts_with("upgrade"))
        );
    }

    #[test]
    fn a_response_keeps_what_is_the_clients() {
        let mut headers = map(&[
            ("connection", "keep-alive, x-hop, set-cookie"),
            ("connection", "connection, x-hop-too"),
            ("connection", "x-hop-last"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("x-hop", "1"),
            ("x-hop-too", "1"),
            ("x-hop-last", "1"),
            ("set-cookie", "a=b"),
            ("content-length", "5"),
        ]);
        clean_response(&mut headers);
        assert_eq!(
            headers,
            map(&[("set-cookie", "a=b"), ("content-length", "5")])
        );
    }
}
