//! What clients send who mean harm: bytes that two readers could read in two ways, and frames that cost only us.
//!
//! Whatever it is, it is the client's doing: never a 5xx, never a request that an upstream takes for whole, never one smuggled
//! behind another.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use crate::client::{Client, dial, get, lines};
use crate::daemon::{Daemon, until};
use crate::origin::Origin;

/// A POST with these fields and what follows them.
fn post(fields: &[&str], rest: &str) -> Vec<u8> {
    (lines("POST / HTTP/1.1", fields) + rest).into_bytes()
}

/// A request line and a Host.
fn line(first: &str) -> Vec<u8> {
    lines(first, &[]).into_bytes()
}

fn with_host(host: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\n{host}\r\n\r\n").into_bytes()
}

/// Sends each, with a request behind it that must never be one, and asserts that it is answered so, once, and that the
/// connection ends.
fn refused(cases: &[(String, Vec<u8>)], status: u16) {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    for (name, bytes) in cases {
        let mut client = Client::connect(daemon.address());
        client.push(&[bytes, get("/second").as_bytes()].concat());
        let answer = client.try_response("POST");
        let answer = answer.unwrap_or_else(|| panic!("{name}: an answer"));
        assert_eq!(answer.status(), status, "{name}");
        assert_eq!(client.rest(), b"", "{name}: nothing more is answered");
    }
    daemon.until_unconnected();
    let metrics = daemon.metrics();
    let blamed = |side| metrics.sum("vestibule_faults_total", &[("side", side)]);
    let counts = [blamed("downstream"), blamed("edge"), blamed("upstream")];
    assert_eq!(counts, [cases.len() as u64, 0, 0]);
    for seen in origin.requests() {
        assert!(!seen.whole && seen.target() == "/", "{seen:?}");
    }
}

fn named(name: &str, values: &[&str], of: impl Fn(&str) -> Vec<u8>) -> Vec<(String, Vec<u8>)> {
    let case = |value: &&str| (format!("{name} {value:?}"), of(value));
    values.iter().map(case).collect()
}

#[test]
fn codings_and_lengths_that_can_be_read_in_two_ways_are_refused() {
    let codings = [
        "\x0bchunked",
        "\x0cchunked",
        "chunked\0",
        ",chunked",
        "chunked,",
        "xchunked",
        "chunked, chunked",
        "chunked;q=1",
        "identity",
        "identity, chunked",
        "gzip, chunked",
        "",
        "chunked\r\n identity",
        "chunked\r\ntransfer-encoding: identity",
    ];
    let lengths = [
        "+5",
        "-0",
        "0x5",
        "1_0",
        "05",
        "00",
        "5,5",
        "5, 5",
        "18446744073709551616",
        "5 5",
        "",
        "5x",
        "5\x0b",
        "5\r\ncontent-length: 6",
    ];
    let mut cases = named("coding", &codings, |coding| {
        post(&[&format!("transfer-encoding: {coding}")], "0\r\n\r\n")
    });
    cases.extend(named("length", &lengths, |length| {
        post(&[&format!("content-length: {length}")], "hello")
    }));
    cases.push((
        "a space before the colon".to_owned(),
        post(&["transfer-encoding : chunked"], "0\r\n\r\n"),
    ));
    refused(&cases, 400);
}

#[test]
fn chunks_that_can_be_read_in_two_ways_are_refused() {
    let chunks = [
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "1_0\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\rhello\r0\r\r",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a\nX\r\nhello\r\n0\r\n\r\n",
    ];
    let mut cases = named("chunk", &chunks, |chunk| {
        post(&["transfer-encoding: chunked"], chunk)
    });
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(64 * 1024));
    let long = post(&["transfer-encoding: chunked"], &long);
    cases.push(("a long extension".to_owned(), long));
    refused(&cases, 400);
}

#[test]
fn request_lines_hosts_and_fields_that_can_be_read_in_two_ways_are_refused() {
    let first = [
        "GET  / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.2",
        "GET / HTTP/9.9",
        "GET / http/1.1",
        "GET /",
        "GET * HTTP/1.1",
        "get / HTTP/1.1",
        "G{T / HTTP/1.1",
        "/ HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://b.test/ HTTP/1.1",
        "GET http://u@shop.test/ HTTP/1.1",
        "GET ftp://shop.test/ HTTP/1.1",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1",
    ];
    let hosts = [
        "x: y",
        "host: a.test\r\nhost: a.test",
        "host: a.test\r\nhost: b.test",
        "host:",
        "host: a.test,b.test",
        "host: u@a.test",
        "host: a.test/x",
        "host: a.test:8x",
        "host: a.test:99999",
        "host: a test",
        "host: :80",
        "host: a..test",
        " host: a.test",
    ];
    let fields = [
        "x: a\0b",
        "x: a\rb",
        "x: a\x01b",
        "x: a\x7fb",
        "x\x01: a",
        "x : a",
        "xa",
        ": a",
        "x: a\r\n b",
    ];
    let mut cases = named("line", &first, line);
    cases.extend(named("host", &hosts, with_host));
    cases.extend(named("field", &fields, |field| {
        lines("GET / HTTP/1.1", &[field]).into_bytes()
    }));
    refused(&cases, 400);
    refused(&named("line", &["CONNECT a.test:443 HTTP/1.1"], line), 405);
}

#[test]
fn of_a_pipeline_what_came_before_a_bad_request_is_answered_and_nothing_after_it() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    let good: String = (0..9).map(|at| get(&format!("/{at}"))).collect();
    let bad = lines("GET /bad HTTP/1.1", &["x : y"]);
    client.push((good + &bad + &get("/after").repeat(90)).as_bytes());
    for _ in 0..9 {
        assert_eq!(client.response().status(), 200);
    }
    assert_eq!(client.response().status(), 400);
    assert_eq!(client.rest(), b"");
    let targets = origin.requests();
    let targets: Vec<_> = targets.iter().map(|it| it.target().to_owned()).collect();
    let expected: Vec<_> = (0..9).map(|at| format!("/{at}")).collect();
    assert_eq!(targets, expected);
}

#[test]
fn a_request_is_the_same_at_whatever_byte_it_is_split() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    let chunked = "3;x=y\r\nabc\r\n2 \r\nde\r\n0\r\nx-t: 1\r\n\r\n";
    let whole = post(&["transfer-encoding: chunked", "te: trailers"], chunked);
    let mut client = Client::connect(daemon.address());
    for split in 1..whole.len() {
        client.send(&whole[..split]);
        client.send(&whole[split..]);
        assert_eq!(client.response().status(), 200, "{split}");
    }
    let mut slow = Client::connect(daemon.address());
    for byte in &whole {
        slow.send([*byte]);
    }
    assert_eq!(slow.response().status(), 200);
    for seen in origin.requests() {
        assert!(seen.whole && seen.body == b"abcde", "{seen:?}");
    }
    assert_eq!(origin.requests().len(), whole.len());
}

#[test]
fn fields_that_connection_names_go_only_if_nobody_relies_on_them() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    client.send(lines(
        "GET / HTTP/1.1",
        &[
            "connection: x-forwarded-for, authorization, cookie, host, cache-control, x-mine",
            "authorization: Basic eA==",
            "cookie: a=b",
            "cache-control: no-cache",
            "x-mine: 1",
            "x_forwarded_for: 1.1.1.1",
            "upgrade: h2c",
            "http2-settings: AAMAAABk",
        ],
    ));
    assert_eq!(client.response().status(), 200);
    let seen = &origin.requests()[0];
    assert_eq!(seen.header("authorization"), Some("Basic eA=="));
    assert_eq!(seen.header("cookie"), Some("a=b"));
    assert_eq!(seen.header("cache-control"), Some("no-cache"));
    assert_eq!(seen.header("host"), Some("shop.test"));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    for gone in ["x-mine", "x_forwarded_for", "upgrade", "http2-settings"] {
        assert!(!seen.has(gone), "{gone}");
    }
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short");
    let head = [&length.to_be_bytes()[1..], &[kind, flags]].concat();
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// `GET http://a.test/`, compressed without a table.
const GET: &[u8] = b"\x82\x86\x84\x41\x06a.test";
const POST: &[u8] = b"\x83\x86\x84\x41\x06a.test";
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The frames of a flood, by their number.
type Frames<'a> = &'a dyn Fn(u32) -> Vec<u8>;

/// How many frames are taken before the connection ends, if it does before `most`.
fn taken(to: SocketAddr, frames: Frames<'_>, most: u32) -> Option<u32> {
    /// Sent at a time: the count is exact to so many.
    const BATCH: u32 = 20;
    let mut socket = dial(to);
    let timeout = Some(Duration::from_millis(1));
    socket.set_read_timeout(timeout).expect("it takes one");
    let begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    socket.write_all(begin).expect("it is connected");
    let settings = frame(4, 0, 0, b"");
    socket.write_all(&settings).expect("it is connected");
    let mut answers = [0; 64 * 1024];
    for first in (0..most).step_by(BATCH as usize) {
        let batch: Vec<u8> = (first..first + BATCH).flat_map(frames).collect();
        if socket.write_all(&batch).is_err() {
            return Some(first);
        }
        match socket.read(&mut answers) {
            Ok(1..) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(0) | Err(_) => return Some(first + BATCH),
        }
    }
    None
}

#[test]
fn frames_that_cost_only_us_end_the_connection() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    let to = daemon.address();
    let request = |at: u32| frame(HEADERS, END_STREAM | END_HEADERS, 2 * at + 1, GET);
    let after = |at: u32, rest: Vec<u8>| [request(at), rest].concat();
    let opened = |at: u32, open: Vec<u8>, rest: Vec<u8>| if at == 0 { open } else { rest };
    let body = || frame(HEADERS, END_HEADERS, 1, POST);
    let own = |at: u32| [&(2 * at + 1).to_be_bytes()[..], &[16]].concat();
    let floods: [(&str, Frames<'_>, u32); 15] = [
        (
            "streams that are reset at once",
            &|at| after(at, frame(3, 0, 2 * at + 1, &[0, 0, 0, 8])),
            1_000,
        ),
        (
            "windows of nothing",
            &|at| after(at, frame(8, 0, 2 * at + 1, &[0; 4])),
            1_000,
        ),
        (
            "windows beyond any",
            &|at| after(at, frame(8, 0, 2 * at + 1, &[0x7f, 255, 255, 255])),
            1_000,
        ),
        (
            "bodies after the end",
            &|at| after(at, frame(0, 0, 2 * at + 1, b"x")),
            1_000,
        ),
        (
            "streams that depend on themselves",
            &|at| after(at, frame(2, 0, 2 * at + 1, &own(at))),
            1_000,
        ),
        (
            "priorities of another length",
            &|at| after(at, frame(2, 0, 2 * at + 1, b"abc")),
            1_000,
        ),
        (
            "empty continuations",
            &|at| opened(at, frame(HEADERS, 0, 1, GET), frame(9, 0, 1, b"")),
            64,
        ),
        (
            "continuations",
            &|at| {
                let field = [&b"\x40\x01a\x64"[..], &[b'b'; 100]].concat();
                opened(at, frame(HEADERS, 0, 1, GET), frame(9, 0, 1, &field))
            },
            64,
        ),
        (
            "empty bodies",
            &|at| opened(at, body(), frame(0, 0, 1, b"")),
            1_000,
        ),
        (
            "padding",
            &|at| opened(at, body(), frame(0, 8, 1, &[5, 0, 0, 0, 0, 0])),
            1_000,
        ),
        ("pings", &|_| frame(6, 0, 0, b"12345678"), 1_100),
        (
            "settings",
            &|_| frame(4, 0, 0, &[0, 4, 0, 0, 255, 255]),
            1_100,
        ),
        (
            "priorities",
            &|at| frame(2, 0, 2 * (at % 100) + 1, &[0, 0, 0, 0, 16]),
            1_100,
        ),
        ("frames of no kind", &|_| frame(99, 0, 0, b"x"), 1_100),
        (
            "more streams than are allowed",
            &|at| frame(HEADERS, END_HEADERS, 2 * at + 1, POST),
            1_000,
        ),
    ];
    for (name, frames, most) in floods {
        let count = taken(to, frames, 20_000);
        assert!(count.is_some_and(|it| it <= most), "{name}: {count:?}");
    }
    assert!(
        origin.requests().len() <= 400,
        "{}",
        origin.requests().len()
    );
    // Others are served, and what was refused is nobody's fault but the client's.
    assert_eq!(Client::connect(to).get("/").status(), 200);
    until("the client's fault", || {
        let metrics = daemon.metrics();
        let of = |key, value| metrics.sum("vestibule_faults_total", &[(key, value)]);
        let blamed = of("side", "edge") + of("side", "upstream") == 0;
        (blamed && of("fault", "request_invalid") >= 4).then_some(())
    });
}

#[test]
fn a_stream_of_many_headers_is_refused_as_it_is_over_http1() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut socket = dial(daemon.address());
    let begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // One field put into the table, then named a hundred times by one byte each.
    let bomb = [GET, b"\x40\x01a\x01b", &[0xbe; 100]].concat();
    let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb);
    let ping = frame(6, 0, 0, b"12345678");
    let all = [&begin[..], &frame(4, 0, 0, b""), &request, &ping].concat();
    socket.write_all(&all).expect("it is connected");
    daemon.counted(&[("none downstream/headers_too_large", 1)]);
    assert_eq!(origin.connections(), 0);
}
