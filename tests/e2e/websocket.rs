//! Upgrades to a socket: bytes both ways after a 101 that was asked for and is one, and HTTP in every other case.

use std::io::{Read, Write};

use http::Method;

use crate::client::{Client, lines};
use crate::daemon::Daemon;
use crate::http2::{Http2, empty, request, run};
use crate::origin::{Conn, OK, Origin, Then};
use crate::wire::Message;

/// What a browser sends (RFC 6455, 1.2), and the answer to it.
pub(crate) const UPGRADE: [&str; 4] = [
    "connection: keep-alive, Upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
];
pub(crate) const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

const ALLOWED: &str = "websocket = true";

/// A text frame (RFC 6455, 5.2), masked as a client's is.
fn masked(text: &str) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let length = u8::try_from(text.len()).expect("a short text") | 0x80;
    let mut frame = vec![0x81, length];
    frame.extend(mask);
    frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    frame
}

/// The same as a server sends it.
fn plain(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    let mut frame = vec![0x81, length];
    frame.extend(text.bytes());
    frame
}

fn ask(target: &str) -> String {
    lines(&format!("GET {target} HTTP/1.1"), &UPGRADE)
}

/// Opens a socket, says `greeting` in the same breath, then gives every byte back until the client is done.
fn echo_after(greeting: &[u8]) -> impl Fn(&Message, &mut Conn) -> Then + Send + Sync + 'static {
    let opening = [SWITCHING.as_bytes(), greeting].concat();
    move |_, conn| {
        conn.send(&opening);
        conn.echo();
        Then::Close
    }
}

/// Sends `bytes` and expects them back.
fn expect_back<S: Read + Write>(client: &mut Client<S>, bytes: &[u8]) {
    client.send(bytes);
    assert_eq!(client.take(bytes.len()), bytes);
}

#[test]
fn frames_pass_both_ways_from_the_first_byte_after_the_101() {
    let greeting = plain("welcome");
    let origin = Origin::start(echo_after(&greeting));
    let daemon = Daemon::routing(&[origin.url()], ALLOWED);
    let mut client = Client::connect(daemon.address());
    // An eager client's first frame comes in the packet of its request.
    let first = masked("hello");
    client.send([ask("/chat").as_bytes(), &first].concat());
    let answer = client.response();
    assert_eq!(answer.status(), 101);
    for (name, value) in [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "chat"),
    ] {
        let found = answer.header(name).map(str::to_ascii_lowercase);
        assert_eq!(found, Some(value.to_ascii_lowercase()), "{name}");
    }
    assert!(!answer.has("content-length") && !answer.has("transfer-encoding"));
    assert_eq!(client.take(greeting.len()), greeting, "came with the 101");
    assert_eq!(client.take(first.len()), first, "came with the request");
    expect_back(&mut client, &masked("again"));
    // More than any buffer on the way holds, and nothing of it is HTTP to anyone.
    let large: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    for piece in large.chunks(100_000) {
        expect_back(&mut client, piece);
    }
    expect_back(
        &mut client,
        b"GET /smuggled HTTP/1.1\r\nhost: shop.test\r\n\r\n",
    );

    let seen = origin.request();
    for field in UPGRADE {
        let (name, value) = field.split_once(": ").expect("a field");
        let found = seen.header(name).map(str::to_ascii_lowercase);
        let value = value.trim_start_matches("keep-alive, ");
        assert_eq!(found, Some(value.to_ascii_lowercase()), "{name}");
    }
    // It was counted when it opened, and does not count again when it closes.
    let metrics = daemon.counted(&[("r good", 1)]);
    assert_eq!(metrics.sum("vestibule_tunnels", &[]), 1);
    assert_eq!(daemon.access_log()[0]["status"], 101);
    client.half_close();
    assert_eq!(client.rest(), b"");
    origin.until_ended(1);
    daemon.until_unconnected();
    let metrics = daemon.counted(&[("r good", 1)]);
    assert_eq!(metrics.sum("vestibule_tunnels", &[]), 0);
}

#[test]
fn a_socket_ends_with_either_side_or_with_silence() {
    let origin = Origin::start(|request, conn| {
        conn.send(SWITCHING);
        if request.target() == "/goodbye" {
            conn.send(plain("goodbye"));
        } else {
            conn.drain();
        }
        Then::Close
    });
    let daemon = Daemon::routing(
        &[origin.url()],
        &format!("{ALLOWED}\ntimeouts = {{ idle = '400ms' }}"),
    );
    let mut client = Client::connect(daemon.address());
    client.send(ask("/goodbye"));
    assert_eq!(client.response().status(), 101);
    assert_eq!(client.rest(), plain("goodbye"), "and the end after it");

    let mut client = Client::connect(daemon.address());
    client.send(ask("/reset"));
    assert_eq!(client.response().status(), 101);
    client.reset();
    origin.until_ended(2);

    let mut client = Client::connect(daemon.address());
    client.send(ask("/silence"));
    assert_eq!(client.response().status(), 101);
    assert_eq!(client.rest(), b"", "let go of when nothing moves");
    origin.until_ended(3);
    daemon.until_unconnected();
    daemon.counted(&[("r good", 3)]);
}

#[test]
fn an_upstream_that_does_not_switch_answers_as_to_any_request() {
    let origin = Origin::start(|request, conn| {
        conn.send(match request.target() {
            "/ok" => OK,
            "/chunked" => {
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
            }
            "/upgrade-required" => {
                "HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\nok"
            }
            "/forbidden" => "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nok",
            "/failing" => "HTTP/1.1 503 Unavailable\r\ncontent-length: 2\r\n\r\nok",
            target => panic!("{target}"),
        });
        Then::KeepOpen
    });
    let daemon = Daemon::routing(&[origin.url()], ALLOWED);
    let mut client = Client::connect(daemon.address());
    for (target, status) in [
        ("/ok", 200),
        ("/chunked", 200),
        ("/upgrade-required", 426),
        ("/forbidden", 403),
        ("/failing", 503),
    ] {
        client.send(ask(target));
        let answer = client.response();
        assert_eq!(
            (answer.status(), &*answer.text()),
            (status, "ok"),
            "{target}"
        );
        assert!(!answer.has("upgrade"), "{target}: {:?}", answer.headers);
    }
    // The connection stayed HTTP all the while, on both sides.
    assert_eq!(client.get("/ok").status(), 200);
    let metrics = daemon.counted(&[("r good", 5), ("r upstream/upstream_5xx", 1)]);
    assert_eq!(metrics.sum("vestibule_tunnels", &[]), 0);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_101_that_was_not_asked_for_or_is_not_whole_is_the_upstreams_fault() {
    let without = |gone: &str| -> String {
        let kept = SWITCHING.split_inclusive("\r\n");
        kept.filter(|line| !line.starts_with(gone)).collect()
    };
    let asking = ask("/");
    let post: String = asking.replace("GET ", "POST ");
    for (name, route, request, answer) in [
        (
            "not asked for",
            ALLOWED,
            lines("GET / HTTP/1.1", &[]),
            SWITCHING.to_owned(),
        ),
        (
            "not allowed on the route",
            "",
            asking.clone(),
            SWITCHING.to_owned(),
        ),
        ("asked for by a POST", ALLOWED, post, SWITCHING.to_owned()),
        (
            "another protocol was asked for",
            ALLOWED,
            asking.replace("upgrade: websocket", "upgrade: h2c"),
            SWITCHING.to_owned(),
        ),
        ("no Upgrade", ALLOWED, asking.clone(), without("Upgrade")),
        (
            "no Connection",
            ALLOWED,
            asking.clone(),
            without("Connection"),
        ),
        (
            "no accept",
            ALLOWED,
            asking.clone(),
            without("Sec-WebSocket-Accept"),
        ),
        (
            "another protocol",
            ALLOWED,
            asking.clone(),
            SWITCHING.replace("Upgrade: websocket", "Upgrade: h2c"),
        ),
        (
            "half an accept",
            ALLOWED,
            asking.clone(),
            SWITCHING.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "s3pPLMBi"),
        ),
    ] {
        let origin = Origin::start(move |request, conn| {
            if request.target() == "/other" {
                conn.send(OK);
                return Then::KeepOpen;
            }
            conn.send(&answer);
            conn.drain();
            Then::Close
        });
        let daemon = Daemon::routing(&[origin.url()], route);
        let mut client = Client::connect(daemon.address());
        client.send(&request);
        let refusal = client.response();
        assert_eq!(refusal.status(), 502, "{name}");
        assert_eq!(refusal.text(), "502 upstream protocol\n", "{name}");
        // It is still HTTP for the client, on another connection for the upstream.
        assert_eq!(client.get("/other").status(), 200, "{name}");
        let metrics = daemon.counted(&[("r good", 1), ("r upstream/upstream_protocol", 1)]);
        assert_eq!(metrics.sum("vestibule_tunnels", &[]), 0, "{name}");
        assert_eq!(origin.connections(), 2, "{name}");
    }
}

#[test]
fn an_upgrade_that_may_not_pass_is_not_asked_for_upstream() {
    let origin = Origin::ok();
    let body = lines(
        "GET /body HTTP/1.1",
        &[&UPGRADE[..], &["content-length: 2"]].concat(),
    ) + "ab";
    for (name, route, request) in [
        ("not allowed on the route", "", ask("/")),
        (
            "HTTP/1.0",
            ALLOWED,
            ask("/").replace("HTTP/1.1", "HTTP/1.0"),
        ),
        (
            "Connection does not say so",
            ALLOWED,
            ask("/").replace("keep-alive, Upgrade", "keep-alive"),
        ),
        // Bytes of a body and bytes of a socket could not be told apart.
        ("a request with a body", ALLOWED, body),
    ] {
        let daemon = Daemon::routing(&[origin.url()], route);
        let mut client = Client::connect(daemon.address());
        client.send(request);
        assert_eq!(client.response().status(), 200, "{name}");
        daemon.counted(&[("r good", 1)]);
        let requests = origin.requests();
        let seen = requests.last().expect("it came through");
        assert!(
            !seen.has("upgrade") && !seen.has("connection"),
            "{name}: {seen:?}"
        );
    }
    let daemon = Daemon::routing(&[origin.url()], ALLOWED);
    run(async {
        let mut client = Http2::connect(daemon.address()).await;
        // HTTP/2 has no Upgrade (RFC 9113, 8.6); the extended CONNECT that takes its place is not offered.
        let mut connect = request(Method::CONNECT, "/chat", empty());
        *connect.uri_mut() = "shop.test:80".parse().expect("an authority");
        assert_eq!(client.ask(connect).await.status, 405);
        assert_eq!(client.get("/").await.status, 200);
    });
    daemon.counted(&[("r good", 1), ("none downstream/not_allowed", 1)]);
}

#[test]
fn a_failed_upgrade_is_no_way_past_the_rules() {
    // Who takes the 200 for a 101 goes on to send bytes; they are requests like any other.
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], &format!("{ALLOWED}\npath = '/public'"));
    let mut client = Client::connect(daemon.address());
    client.send(ask("/public"));
    client.send("GET /private HTTP/1.1\r\nhost: shop.test\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    assert_eq!(client.response().status(), 404);
    daemon.counted(&[("r good", 1), ("none downstream/no_route", 1)]);
    assert_eq!(origin.requests().len(), 1);
}
