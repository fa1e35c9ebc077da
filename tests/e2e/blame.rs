//! Upstreams that fail in every way: whose fault it is, what the client sees, and that it is counted once.

use std::thread;
use std::time::Duration;

use crate::client::{Client, get, lines, post};
use crate::daemon::Daemon;
use crate::origin::{Conn, Nobody, OK, Origin, Then};
use crate::wire::Message;

/// Short enough to wait for, long enough for a loaded machine to answer within.
const TIMEOUTS: &str = "timeouts = { first_byte = '300ms', idle = '300ms' }";

/// What a client sees of a failure.
enum Sees {
    /// An answer of ours with this status.
    Status(u16),
    /// The upstream's response, visibly cut off after these bytes of body.
    Cut(&'static str),
}

/// One way to fail: its name, what the origin does after a request, what the client sees, and the fault.
type Failing = (&'static str, fn(&mut Conn), Sees, &'static str);

const FAILING: &[Failing] = &[
    (
        "closes before the head",
        |_| {},
        Sees::Status(502),
        "upstream_reset",
    ),
    (
        "resets before the head",
        Conn::reset,
        Sees::Status(502),
        "upstream_reset",
    ),
    (
        "closes within the head",
        |conn| {
            conn.send("HTTP/1.1 200 OK\r\ncontent-le");
        },
        Sees::Status(502),
        "upstream_reset",
    ),
    (
        "says nothing",
        stall,
        Sees::Status(504),
        "first_byte_timeout",
    ),
    (
        "stalls within the head",
        |conn| {
            conn.send("HTTP/1.1 200 OK\r\n");
            stall(conn);
        },
        Sees::Status(504),
        "first_byte_timeout",
    ),
    (
        "drips its head",
        drip_head,
        Sees::Status(504),
        "first_byte_timeout",
    ),
    (
        "only ever continues",
        |conn| {
            conn.send("HTTP/1.1 100 Continue\r\n\r\n");
            stall(conn);
        },
        Sees::Status(504),
        "first_byte_timeout",
    ),
    (
        "speaks garbage",
        |conn| {
            conn.send("SSH-2.0-OpenSSH\r\n\r\n");
        },
        Sees::Status(502),
        "upstream_protocol",
    ),
    (
        "speaks HTTP/2",
        |conn| {
            conn.send(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80");
        },
        Sees::Status(502),
        "upstream_protocol",
    ),
    (
        "never ends its headers",
        endless_headers,
        Sees::Status(502),
        "upstream_protocol",
    ),
    (
        "has too many headers",
        |conn| drop(conn.send(format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: 1\r\n".repeat(200)))),
        Sees::Status(502),
        "upstream_protocol",
    ),
    (
        "floods with interim responses",
        |conn| {
            conn.send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100));
        },
        Sees::Status(502),
        "upstream_protocol",
    ),
    (
        "switches protocols unasked",
        |conn| {
            conn.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
            stall(conn);
        },
        Sees::Status(502),
        "upstream_protocol",
    ),
    (
        "frames in two ways",
        |conn| {
            {
                conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
            };
        },
        Sees::Status(502),
        "upstream_protocol",
    ),
    (
        "gives two lengths",
        |conn| {
            {
                conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok");
            };
        },
        Sees::Status(502),
        "upstream_protocol",
    ),
    (
        "has an impossible status",
        |conn| {
            conn.send("HTTP/1.1 099 Odd\r\n\r\n");
        },
        Sees::Status(502),
        "upstream_protocol",
    ),
    (
        "truncates a known length",
        |conn| {
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        },
        Sees::Cut("half"),
        "upstream_reset",
    ),
    (
        "resets within a known length",
        |conn| {
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
            await_client(conn);
            conn.reset();
        },
        Sees::Cut("half"),
        "upstream_reset",
    ),
    (
        "stalls within a known length",
        |conn| {
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
            stall(conn);
        },
        Sees::Cut("half"),
        "idle_timeout",
    ),
    (
        "closes within a chunk",
        |conn| {
            conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf");
        },
        Sees::Cut("half"),
        "upstream_reset",
    ),
    (
        "closes before the last chunk",
        |conn| {
            {
                conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n");
            };
        },
        Sees::Cut("half"),
        "upstream_reset",
    ),
    (
        "closes within the trailers",
        |conn| {
            {
                conn.send(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nx: 1\r\n",
            );
            };
        },
        Sees::Cut("half"),
        "upstream_reset",
    ),
    (
        "stalls before the last chunk",
        |conn| {
            conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n");
            stall(conn);
        },
        Sees::Cut("half"),
        "idle_timeout",
    ),
    (
        "sends a bad chunk",
        |conn| {
            drop(
                conn.send(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
                ),
            );
        },
        Sees::Cut("half"),
        "upstream_protocol",
    ),
    (
        "sends a chunk longer than it said",
        |conn| {
            {
                conn.send(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf and more\r\n",
                );
            };
        },
        Sees::Cut("half"),
        "upstream_protocol",
    ),
    (
        "resets a body without length",
        |conn| {
            conn.send("HTTP/1.1 200 OK\r\n\r\nhalf");
            await_client(conn);
            conn.reset();
        },
        Sees::Cut("half"),
        "upstream_reset",
    ),
];

/// Until the daemon gives up.
fn stall(conn: &mut Conn) {
    conn.drain();
}

/// A reset overtakes what was sent before it; so wait until that has reached the client, who says so with a request to
/// another path of the same origin.
fn await_client(conn: &mut Conn) {
    conn.until_requests(2);
}

fn drip_head(conn: &mut Conn) {
    for byte in "HTTP/1.1 200 OK\r\nx: ".bytes().chain([b'a'; 10_000]) {
        if !conn.send([byte]) {
            break;
        }
        thread::park_timeout(Duration::from_millis(20));
    }
}

fn endless_headers(conn: &mut Conn) {
    conn.send("HTTP/1.1 200 OK\r\n");
    while conn.send(format!("x: {}\r\n", "a".repeat(8_000))) {}
}

#[test]
fn every_way_an_upstream_fails_is_visible_blamed_on_it_and_counted_once() {
    for (name, fail, sees, fault) in FAILING {
        let origin = Origin::start(move |request, conn| {
            if request.target() == "/other" {
                conn.send(OK);
                return Then::KeepOpen;
            }
            fail(conn);
            Then::Close
        });
        let daemon = Daemon::routing(&[origin.url()], TIMEOUTS);
        let mut client = Client::connect(daemon.address());
        client.send(get("/"));
        let mut others = 0;
        match sees {
            Sees::Status(status) => {
                let answer = client.response();
                assert_eq!(answer.status(), *status, "{name}");
                assert_eq!(
                    answer.text(),
                    format!("{status} {}\n", fault.replace('_', " ")),
                    "{name}"
                );
                // The client's connection is none the worse for it.
                assert_eq!(client.get("/other").status(), 200, "{name}");
                others = 1;
            }
            Sees::Cut(body) => {
                let mut answer = client.head();
                assert_eq!(answer.status(), 200, "{name}");
                if name.contains("reset") {
                    // The upstream's reset waits for this.
                    let part = client.take(if answer.has("content-length") { 4 } else { 9 });
                    assert!(String::from_utf8_lossy(&part).contains(body), "{name}");
                    assert_eq!(
                        Client::connect(daemon.address()).get("/other").status(),
                        200
                    );
                    others = 1;
                    let rest = client.rest();
                    assert_eq!(String::from_utf8_lossy(&rest), "", "{name}: no last chunk");
                } else {
                    client.body(&mut answer);
                    assert!(!answer.whole, "{name}: must not look complete: {answer:?}");
                    assert_eq!(answer.text(), *body, "{name}");
                }
            }
        }
        let (good, blamed) = ("r good", format!("r upstream/{fault}"));
        let expected = [(blamed.as_str(), 1), (good, others)];
        let metrics = daemon.counted(if others == 0 {
            &expected[..1]
        } else {
            &expected
        });
        let endpoint = [("endpoint", origin.url()), ("outcome", "bad".to_owned())];
        let endpoint = [
            (endpoint[0].0, endpoint[0].1.as_str()),
            (endpoint[1].0, endpoint[1].1.as_str()),
        ];
        assert_eq!(
            metrics.sum("vestibule_endpoint_requests_total", &endpoint),
            1,
            "{name}"
        );
        let sent = origin
            .requests()
            .iter()
            .filter(|request| request.target() == "/")
            .count();
        assert_eq!(sent, 1, "{name}: it was sent once");
    }
}

#[test]
fn an_upstream_that_answers_5xx_is_to_blame_and_its_answer_is_passed_on() {
    let origin =
        Origin::answering("HTTP/1.1 503 Busy\r\nretry-after: 9\r\ncontent-length: 4\r\n\r\nbusy");
    let daemon = Daemon::routing(&[origin.url()], "");
    let answer = Client::connect(daemon.address()).get("/");
    assert_eq!((answer.status(), &*answer.text()), (503, "busy"));
    assert_eq!(answer.header("retry-after"), Some("9"));
    daemon.counted(&[("r upstream/upstream_5xx", 1)]);

    let origin = Origin::answering("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    let daemon = Daemon::routing(&[origin.url()], "");
    assert_eq!(Client::connect(daemon.address()).get("/").status(), 404);
    daemon.counted(&[("r good", 1)]);
}

#[test]
fn who_cannot_be_connected_to_is_named() {
    let nobody = Nobody::new();
    for (endpoints, status, fault) in [
        (vec![nobody.url()], 502, "connect_refused"),
        (vec!["http://name.invalid:80".to_owned()], 502, "dns"),
        (vec![], 503, "no_endpoint"),
    ] {
        let daemon = Daemon::routing(&endpoints, "");
        let mut client = Client::connect(daemon.address());
        let answer = client.get("/");
        assert_eq!(answer.status(), status, "{fault}");
        assert!(
            !answer.text().contains("127.0.0.1"),
            "addresses are not the client's business"
        );
        assert_eq!(client.get("/").status(), status, "the connection goes on");
        daemon.counted(&[(&format!("r upstream/{fault}"), 2)]);
    }
}

#[test]
fn connecting_takes_no_longer_than_its_timeout() {
    // A full listen queue: the kernel drops further handshakes.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let listener = listener.expect("a socket");
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&any.into()).expect("a free port");
    listener.listen(0).expect("it listens");
    let address = listener
        .local_addr()
        .expect("an address")
        .as_socket()
        .expect("of IP");
    let _queued: Vec<_> = (0..4)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let socket = socket.expect("a socket");
            socket.set_nonblocking(true).expect("it can be");
            // In progress, that is.
            drop(socket.connect(&address.into()));
            socket
        })
        .collect();
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'u'\nendpoints = ['http://{address}']\nconnect_timeout = '300ms'\n\
         [[route]]\nid = 'r'\nupstream = 'u'\n"
    ));
    assert_eq!(Client::connect(daemon.address()).get("/").status(), 504);
    daemon.counted(&[("r upstream/connect_timeout", 1)]);
}

#[test]
fn another_endpoint_is_tried_when_one_refuses_and_both_are_told_apart() {
    let (nobody, origin) = (Nobody::new(), Origin::ok());
    let daemon = Daemon::routing(&[nobody.url(), origin.url()], "");
    let mut client = Client::connect(daemon.address());
    for number in 0..4 {
        // Nothing was sent, so even a POST may go elsewhere.
        let request = if number % 2 == 0 {
            get("/")
        } else {
            post("/", "body")
        };
        client.send(request);
        assert_eq!(client.response().status(), 200);
    }
    let metrics = daemon.counted(&[("r good", 4)]);
    let retries = metrics.sum("vestibule_upstream_retries_total", &[("route", "r")]);
    let refused = metrics.sum(
        "vestibule_endpoint_connect_failures_total",
        &[("endpoint", &nobody.url())],
    );
    assert!(
        retries >= 1,
        "the refusing endpoint comes first at least once"
    );
    assert_eq!(retries, refused);
    assert_eq!(
        metrics.sum(
            "vestibule_endpoint_requests_total",
            &[("endpoint", &origin.url())]
        ),
        4
    );
    assert_eq!(origin.requests().len(), 4);
}

/// Answers the first request of a connection, and lets go of it when the second arrives.
fn let_go_of_the_second(request: &Message, conn: &mut Conn) -> Then {
    if conn.number == 0 && request.target() != "/first" {
        return Then::Close;
    }
    conn.send(OK);
    Then::KeepOpen
}

#[test]
fn a_stale_connection_costs_an_idempotent_request_nothing() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let origin = Origin::start(let_go_of_the_second);
        let daemon = Daemon::routing(&[origin.url()], "");
        let mut client = Client::connect(daemon.address());
        assert_eq!(client.get("/first").status(), 200);
        client.send(lines(&format!("{method} /second HTTP/1.1"), &[]));
        assert_eq!(client.response_to(method).status(), 200, "{method}");
        let metrics = daemon.counted(&[("r good", 2)]);
        assert_eq!(
            metrics.sum("vestibule_upstream_retries_total", &[]),
            1,
            "{method}"
        );
        assert_eq!(origin.requests().len(), 3, "{method}: sent again once");
        assert_eq!(daemon.access_log()[1]["attempts"], 2);
    }
}

#[test]
fn a_stale_connection_fails_what_may_not_be_repeated() {
    for (name, request) in [
        ("POST", post("/second", "body")),
        ("POST without a body", post("/second", "")),
        (
            "PUT with a body",
            lines("PUT /second HTTP/1.1", &["content-length: 2"]) + "ab",
        ),
        (
            "PATCH",
            lines("PATCH /second HTTP/1.1", &["content-length: 0"]),
        ),
    ] {
        let origin = Origin::start(let_go_of_the_second);
        let daemon = Daemon::routing(&[origin.url()], "");
        let mut client = Client::connect(daemon.address());
        assert_eq!(client.get("/first").status(), 200);
        client.send(request);
        assert_eq!(client.response().status(), 502, "{name}");
        let metrics = daemon.counted(&[("r good", 1), ("r upstream/upstream_reset", 1)]);
        assert_eq!(
            metrics.sum("vestibule_upstream_retries_total", &[]),
            0,
            "{name}"
        );
        assert_eq!(origin.requests().len(), 2, "{name}: never sent twice");
    }
}

#[test]
fn a_fresh_connection_that_fails_is_no_reason_to_repeat() {
    let origin = Origin::start(|_, _| Then::Close);
    let daemon = Daemon::routing(&[origin.url()], "");
    assert_eq!(Client::connect(daemon.address()).get("/").status(), 502);
    daemon.counted(&[("r upstream/upstream_reset", 1)]);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn a_second_stale_connection_is_not_tried_again() {
    // Every connection answers once and drops its second request.
    let origin = Origin::start(|request, conn| {
        if request.target() == "/first" {
            conn.send(OK);
            return Then::KeepOpen;
        }
        Then::Close
    });
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    assert_eq!(client.get("/first").status(), 200);
    assert_eq!(client.get("/second").status(), 502);
    let metrics = daemon.counted(&[("r good", 1), ("r upstream/upstream_reset", 1)]);
    assert_eq!(metrics.sum("vestibule_upstream_retries_total", &[]), 1);
    assert_eq!(origin.requests().len(), 3);
}

#[test]
fn a_connection_closed_while_idle_is_not_used() {
    let origin = Origin::start(|_, conn| {
        conn.send(OK);
        Then::Close
    });
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    for number in 1..=5 {
        client.send(post("/", "body"));
        assert_eq!(client.response().status(), 200);
        // Its end has been sent; a snapshot's round trip through the worker lets the worker see it.
        origin.until_ended(number);
        daemon.counted(&[("r good", number as u64)]);
    }
    assert_eq!(origin.connections(), 5);
}

#[test]
fn a_connection_that_says_close_or_says_too_much_is_not_used_again() {
    for (name, response) in [
        (
            "close",
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        ),
        (
            "an old one",
            "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        ),
        (
            "two responses",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        ),
        (
            "a body after 204",
            "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok",
        ),
    ] {
        let origin = Origin::answering(response);
        let daemon = Daemon::routing(&[origin.url()], "");
        let mut client = Client::connect(daemon.address());
        for _ in 0..3 {
            let answer = client.get("/");
            assert!(matches!(&*answer.text(), "ok" | ""), "{name}: {answer:?}");
        }
        daemon.counted(&[("r good", 3)]);
        assert_eq!(origin.connections(), 3, "{name}");
    }
}

#[test]
fn interim_responses_are_swallowed() {
    let origin = Origin::answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    for _ in 0..2 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(client.interim, [0; 0]);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn the_whole_exchange_has_its_limit() {
    let origin = Origin::start(|request, conn| {
        if request.target() == "/head" {
            conn.drain();
            return Then::Close;
        }
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
        while conn.send("x") {
            thread::park_timeout(Duration::from_millis(20));
        }
        Then::Close
    });
    let daemon = Daemon::routing(&[origin.url()], "timeouts = { total = '400ms' }");
    assert_eq!(Client::connect(daemon.address()).get("/head").status(), 504);
    let answer = Client::connect(daemon.address()).get("/drip");
    assert!(!answer.whole && !answer.body.is_empty());
    daemon.counted(&[("r upstream/total_timeout", 2)]);
}

#[test]
fn an_answer_before_the_whole_request_is_passed_on() {
    let origin = Origin::raw(|conn| {
        conn.head();
        conn.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\nconnection: close\r\n\r\nnope");
        conn.drain();
    });
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    client.send(lines("POST / HTTP/1.1", &["content-length: 1000000"]));
    let answer = client.response();
    assert_eq!((answer.status(), &*answer.text()), (403, "nope"));
    daemon.counted(&[("r good", 1)]);
}
