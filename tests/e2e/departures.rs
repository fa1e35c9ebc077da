//! Clients that leave or stall: never the upstream's fault, counted once, nothing left behind.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::client::{Client, get, lines, post};
use crate::daemon::{Daemon, one_route, until};
use crate::origin::{OK, Origin, Then};

fn with_limits(origin: &Origin, limits: &str) -> Daemon {
    Daemon::start(&format!(
        "{}timeouts = {{ idle = '300ms' }}\n[limits]\n{limits}\n",
        one_route(&[origin.url()])
    ))
}

#[test]
fn a_client_that_leaves_before_the_head_is_counted_as_gone() {
    let origin = Origin::raw(|conn| {
        conn.request();
        conn.drain();
    });
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    client.send(get("/closes"));
    origin.until_requests(1);
    drop(client);
    origin.until_ended(1);
    let mut client = Client::connect(daemon.address());
    client.send(get("/resets"));
    origin.until_requests(2);
    client.reset();
    origin.until_ended(2);
    let metrics = daemon.counted(&[("r downstream/client_disconnect", 2)]);
    assert_eq!(
        metrics.sum("vestibule_responses_total", &[("class", "none")]),
        2
    );
    assert_eq!(
        origin.connections(),
        2,
        "what it left behind is not used again"
    );
    daemon.until_unconnected();
}

#[test]
fn a_client_that_has_left_before_its_request_is_read_is_counted_as_gone() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "max_body = '16B'");
    // While it stands still, requests and their ends arrive together.
    daemon.signal(Signal::STOP);
    for _ in 0..10 {
        Client::connect(daemon.address()).send(get("/"));
        Client::connect(daemon.address()).send(get("/%4"));
    }
    daemon.signal(Signal::CONT);
    daemon.counted(&[
        ("r downstream/client_disconnect", 10),
        ("none downstream/request_invalid", 10),
    ]);
    daemon.until_unconnected();
}

#[test]
fn a_client_that_leaves_within_a_response_is_counted_as_gone() {
    let origin = Origin::raw(|conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
            while conn.send([b'x'; 10_000]) {}
        }
    });
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    client.send(get("/"));
    assert_eq!(client.head().status(), 200);
    client.take(100_000);
    client.reset();
    origin.until_ended(1);
    let mut client = Client::connect(daemon.address());
    client.send(get("/"));
    client.head();
    client.take(100_000);
    drop(client);
    origin.until_ended(2);
    daemon.counted(&[("r downstream/client_disconnect", 2)]);
    assert_eq!(daemon.access_log()[0]["status"], 200);
    daemon.until_unconnected();
}

#[test]
fn a_client_that_leaves_within_its_request_is_counted_as_gone() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    for (name, fields, part) in [
        ("of known length", "content-length: 10", "half"),
        ("chunked", "transfer-encoding: chunked", "4\r\nhalf\r\n"),
        ("within a chunk", "transfer-encoding: chunked", "9\r\nhalf"),
    ] {
        let before = origin.requests().len();
        let mut client = Client::connect(daemon.address());
        client.send(lines("POST / HTTP/1.1", &[fields]) + part);
        drop(client);
        let seen = &origin.until_requests(before + 1)[before];
        assert!(
            !seen.whole,
            "{name}: never looks complete upstream: {seen:?}"
        );
    }
    daemon.counted(&[("r downstream/client_disconnect", 3)]);
    assert_eq!(origin.connections(), 3, "no connection is used again");
    // The origin is as good as before.
    assert_eq!(Client::connect(daemon.address()).get("/").status(), 200);
}

#[test]
fn a_request_broken_off_by_half_closing_is_never_answered_with_success() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    client.send(lines("POST / HTTP/1.1", &["content-length: 10"]) + "half");
    client.half_close();
    if let Some(answer) = client.try_response("POST") {
        assert!(answer.status() >= 400, "{answer:?}");
    }
    daemon.counted(&[("r downstream/client_disconnect", 1)]);
}

#[test]
fn a_client_that_stops_sending_its_body_is_told_so() {
    let origin = Origin::ok();
    let daemon = with_limits(&origin, "");
    let mut client = Client::connect(daemon.address());
    client.send(lines("POST / HTTP/1.1", &["content-length: 10"]) + "half");
    let answer = client.response();
    assert_eq!(
        (answer.status(), &*answer.text()),
        (408, "408 client stalled\n")
    );
    assert_eq!(client.rest(), b"");
    daemon.counted(&[("r downstream/client_stalled", 1)]);
    assert!(!origin.until_requests(1)[0].whole);
}

#[test]
fn a_slow_but_steady_body_is_no_stall() {
    let origin = Origin::ok();
    let daemon = with_limits(&origin, "");
    let mut client = Client::connect(daemon.address());
    client.send(lines("POST / HTTP/1.1", &["content-length: 8"]));
    for byte in b"steadily" {
        thread::park_timeout(Duration::from_millis(100));
        client.send([*byte]);
    }
    assert_eq!(client.response().status(), 200);
    assert_eq!(origin.request().text(), "steadily");
    daemon.counted(&[("r good", 1)]);
}

#[test]
fn a_client_that_takes_nothing_is_let_go_of() {
    let origin = Origin::raw(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        while conn.send([b'x'; 10_000]) {}
    });
    let daemon = with_limits(&origin, "client_idle = '300ms'");
    let mut client = Client::connect_narrow(daemon.address());
    client.send(get("/"));
    // Reads nothing more.
    origin.until_ended(1);
    daemon.counted(&[("r downstream/client_stalled", 1)]);
    daemon.until_unconnected();
    let rest = client.rest();
    assert!(rest.len() < 1_000_000_000, "it cannot have come whole");
}

#[test]
fn an_upstream_is_read_no_faster_than_its_client_reads() {
    let origin = Origin::start(|_, conn| {
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n");
        let piece = [b'x'; 100_000];
        for _ in 0..1_000 {
            if !conn.send(piece) {
                break;
            }
            conn.count(piece.len());
        }
        Then::Close
    });
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect_narrow(daemon.address());
    client.send(get("/"));
    client.head();
    // Wait until the origin is stuck: two looks, far apart for a machine, that see the same.
    let mut before = usize::MAX;
    let stuck = until("back-pressure", || {
        thread::park_timeout(Duration::from_millis(300));
        let now = origin.counted();
        (std::mem::replace(&mut before, now) == now && now > 0).then_some(now)
    });
    assert!(
        stuck < 30_000_000,
        "{stuck} bytes went to a client that reads nothing"
    );
    assert!(daemon.resident_bytes() < 100 << 20);
    assert_eq!(daemon.snapshot()["edge"]["in_flight"], 1);
    assert_eq!(client.take(100_000_000).len(), 100_000_000);
    daemon.counted(&[("r good", 1)]);
}

#[test]
fn a_head_that_does_not_arrive_is_answered_and_counted() {
    let origin = Origin::ok();
    let daemon = with_limits(&origin, "header_timeout = '400ms'\nkeep_alive = '30s'");
    let heads: [&[u8]; 4] = [
        b"PO",
        b"P",
        b"GET / HTTP/1.1\r\nhost: shop.test\r\nx: ",
        b"GET / HTTP/1.1\r\n\r",
    ];
    for head in heads {
        let mut client = Client::connect(daemon.address());
        client.send(head);
        assert_eq!(client.response().status(), 408, "{head:?}");
        assert_eq!(client.rest(), b"");
    }
    // The second request of a connection.
    let mut client = Client::connect(daemon.address());
    assert_eq!(client.get("/").status(), 200);
    client.send("GET / HTTP/1.1\r\n");
    assert_eq!(client.response().status(), 408);
    // Dripping does not help.
    let mut client = Client::connect(daemon.address());
    client.send("GET / HTTP/1.1\r\nx: ");
    let cut = (0..200).any(|_| {
        thread::park_timeout(Duration::from_millis(50));
        client.push(b"a") == 0
    });
    assert!(cut, "a byte now and then keeps it open");
    let metrics = daemon.counted(&[("r good", 1), ("none downstream/request_timeout", 6)]);
    assert_eq!(
        metrics.sum(
            "vestibule_responses_total",
            &[("route", "none"), ("class", "4xx")]
        ),
        6
    );
    daemon.until_unconnected();
}

#[test]
fn a_connection_without_a_request_just_ends_and_counts_as_none() {
    let origin = Origin::ok();
    let daemon = with_limits(&origin, "header_timeout = '300ms'\nkeep_alive = '300ms'");
    let mut silent = Client::connect(daemon.address());
    assert_eq!(silent.rest(), b"");
    drop(Client::connect(daemon.address()));
    Client::connect(daemon.address()).reset();
    let mut used = Client::connect(daemon.address());
    assert_eq!(used.get("/").status(), 200);
    assert_eq!(used.rest(), b"", "it ends quietly after keep_alive");
    let mut posted = Client::connect(daemon.address());
    posted.send(post("/", "body"));
    assert_eq!(posted.response().status(), 200);
    assert_eq!(posted.rest(), b"");
    daemon.counted(&[("r good", 2)]);
}

#[test]
fn a_body_that_comes_after_its_refusal_does_not_count_as_a_late_head() {
    let origin = Origin::ok();
    let daemon = Daemon::start(&format!(
        "{}path = '/in'\n[limits]\nheader_timeout = '300ms'\nkeep_alive = '30s'\n",
        one_route(&[origin.url()])
    ));
    let mut client = Client::connect(daemon.address());
    client.send(lines("POST /out HTTP/1.1", &["content-length: 4"]));
    assert_eq!(client.response().status(), 404);
    // It may have been closed already.
    client.push(b"body");
    let rest = client.rest();
    assert_eq!(String::from_utf8_lossy(&rest), "", "nothing else was asked");
    daemon.counted(&[("none downstream/no_route", 1)]);
    daemon.until_unconnected();
}

#[test]
fn a_head_broken_off_by_leaving_is_no_request() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    client.send("GET / HTTP/1.1\r\nhost: ");
    drop(client);
    let mut client = Client::connect(daemon.address());
    client.send("GET / HTTP/1.1\r\nhost: ");
    client.reset();
    daemon.until_unconnected();
    daemon.counted(&[]);
}

#[test]
fn a_connection_left_dirty_is_not_used_for_the_next_client() {
    let origin = Origin::start(|request, conn| {
        if request.target() == "/slow" {
            // The answer comes after its client has left, and would be the next client's.
            conn.until_requests(2);
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow");
        } else {
            conn.send(OK);
        }
        Then::KeepOpen
    });
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    client.send(get("/slow"));
    origin.until_requests(1);
    drop(client);
    daemon.counted(&[("r downstream/client_disconnect", 1)]);
    assert_eq!(Client::connect(daemon.address()).get("/fast").text(), "ok");
    assert_eq!(Client::connect(daemon.address()).get("/fast").text(), "ok");
    daemon.counted(&[("r good", 2), ("r downstream/client_disconnect", 1)]);
}

#[test]
fn a_client_that_pauses_longer_than_a_burst_goes_on_where_it_was() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut whole = Client::connect(daemon.address());
    let mut halved = Client::connect(daemon.address());
    assert_eq!(whole.get("/before").status(), 200);
    // The beginning of the next head comes in the same piece as the request before it.
    let next = get("/next");
    let (begun, rest) = next.split_at(20);
    halved.send(format!("{}{begun}", get("/first")));
    assert_eq!(halved.response().status(), 200);
    // Nothing tells from outside when a connection is parked; a pause longer than that is what a person makes.
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(whole.get("/after").status(), 200);
    halved.send(rest);
    assert_eq!(halved.response().status(), 200);
    daemon.counted(&[("r good", 4)]);
    assert_eq!(origin.requests()[3].target(), "/next");
}

#[test]
fn a_client_that_leaves_while_nothing_is_asked_leaves_nothing_behind() {
    let origin = Origin::ok();
    let daemon = with_limits(&origin, "keep_alive = '2s'");
    let mut client = Client::connect(daemon.address());
    assert_eq!(client.get("/").status(), 200);
    assert_eq!(client.rest(), b"", "it is let go of after keep_alive");
    daemon.until_unconnected();
    daemon.counted(&[("r good", 1)]);
}
