//! Which request goes where, as what, and which is refused.

use crate::client::{Client, get, lines, post};
use crate::daemon::{Daemon, one_route};
use crate::origin::{Conn, OK, Origin, Then};
use crate::wire::Message;

/// Answers with the request's target.
fn echo_target(request: &Message, conn: &mut Conn) -> Then {
    let target = request.target();
    let length = target.len();
    conn.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{target}"
    ));
    Then::KeepOpen
}

#[test]
fn host_and_path_choose_the_route_and_the_path_is_forwarded_in_its_one_form() {
    let (web, api) = (Origin::start(echo_target), Origin::start(echo_target));
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'web'\nendpoints = ['{}']\n\
         [[upstream]]\nname = 'api'\nendpoints = ['{}']\n\
         [[route]]\nid = 'web'\nhosts = ['shop.test', '*.shop.test']\nupstream = 'web'\n\
         [[route]]\nid = 'api'\nhosts = ['shop.test']\npath = '/api'\nupstream = 'api'\n\
         [[route]]\nid = 'exact'\nhosts = ['shop.test']\npath_exact = '/live'\nupstream = 'api'\nmethods = ['GET']\n",
        web.url(),
        api.url()
    ));
    let mut client = Client::connect(daemon.address());
    let mut expected = [("web good", 0), ("api good", 0), ("exact good", 0)];
    for (asked, host, route, forwarded) in [
        ("/", "shop.test", 0, "/"),
        ("/api", "shop.test", 1, "/api"),
        ("/api/x?a=/../b%2f", "shop.test", 1, "/api/x?a=/../b%2f"),
        ("/apis", "shop.test", 0, "/apis"),
        ("/a/../api/x", "shop.test", 1, "/api/x"),
        ("/%61pi/x", "shop.test", 1, "/api/x"),
        ("//api//x", "shop.test", 1, "/api/x"),
        ("/./api/", "SHOP.test:8080", 1, "/api/"),
        ("/api/../../../live", "shop.test", 9, ""),
        ("/caf%c3%a9", "shop.test", 0, "/caf%C3%A9"),
        ("/live", "shop.test.", 2, "/live"),
        ("/api", "a.shop.test", 0, "/api"),
        ("http://shop.test/api?x", "shop.test", 1, "/api?x"),
        ("http://shop.test", "shop.test", 0, "/"),
        ("http://shop.test?x=1", "shop.test", 0, "/?x=1"),
    ] {
        client.send(format!("GET {asked} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        let answer = client.response();
        if route == 9 {
            assert_eq!(answer.status(), 400, "{asked}");
            client = Client::connect(daemon.address());
            continue;
        }
        assert_eq!(
            (answer.status(), &*answer.text()),
            (200, forwarded),
            "{asked}"
        );
        expected[route].1 += 1;
    }
    let [web_good, api_good, exact_good] = expected;
    daemon.counted(&[
        web_good,
        api_good,
        exact_good,
        ("none downstream/request_invalid", 1),
    ]);
    assert_eq!(web.requests().len() as u64, web_good.1);
    assert_eq!(api.requests().len() as u64, api_good.1 + exact_good.1);
}

#[test]
fn what_cannot_be_routed_is_answered_here_and_never_reaches_an_upstream() {
    let origin = Origin::ok();
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'u'\nendpoints = ['{}']\n\
         [[route]]\nid = 'r'\nhosts = ['shop.test']\npath = '/in'\nmax_body = '16B'\nupstream = 'u'\n",
        origin.url()
    ));
    let shop = "host: shop.test\r\n";
    let cases: &[(&str, String, u16, &str)] = &[
        (
            "an encoded slash",
            format!("GET /in/a%2fb HTTP/1.1\r\n{shop}\r\n"),
            400,
            "request_invalid",
        ),
        (
            "an encoded backslash",
            format!("GET /in/a%5cb HTTP/1.1\r\n{shop}\r\n"),
            400,
            "request_invalid",
        ),
        (
            "an encoded NUL",
            format!("GET /in/%00 HTTP/1.1\r\n{shop}\r\n"),
            400,
            "request_invalid",
        ),
        (
            "a broken encoding",
            format!("GET /in/%4 HTTP/1.1\r\n{shop}\r\n"),
            400,
            "request_invalid",
        ),
        (
            "a path above the root",
            format!("GET /../in HTTP/1.1\r\n{shop}\r\n"),
            400,
            "request_invalid",
        ),
        (
            "no host",
            "GET /in HTTP/1.1\r\n\r\n".to_owned(),
            400,
            "request_invalid",
        ),
        (
            "two hosts",
            format!("GET /in HTTP/1.1\r\n{shop}{shop}\r\n"),
            400,
            "request_invalid",
        ),
        (
            "an empty host",
            "GET /in HTTP/1.1\r\nhost:\r\n\r\n".to_owned(),
            400,
            "request_invalid",
        ),
        (
            "a list of hosts",
            "GET /in HTTP/1.1\r\nhost: shop.test, b\r\n\r\n".to_owned(),
            400,
            "request_invalid",
        ),
        (
            "a host with a path",
            "GET /in HTTP/1.1\r\nhost: shop.test/x\r\n\r\n".to_owned(),
            400,
            "request_invalid",
        ),
        (
            "a user in the host",
            "GET /in HTTP/1.1\r\nhost: a@shop.test\r\n\r\n".to_owned(),
            400,
            "request_invalid",
        ),
        (
            "a target of another host",
            format!("GET http://other.test/in HTTP/1.1\r\n{shop}\r\n"),
            400,
            "request_invalid",
        ),
        (
            "a target without Host",
            "GET http://shop.test/in HTTP/1.1\r\n\r\n".to_owned(),
            400,
            "request_invalid",
        ),
        (
            "an asterisk",
            format!("OPTIONS * HTTP/1.1\r\n{shop}\r\n"),
            400,
            "request_invalid",
        ),
        (
            "an unknown host",
            "GET /in HTTP/1.1\r\nhost: b.test\r\n\r\n".to_owned(),
            404,
            "no_route",
        ),
        (
            "an unknown path",
            format!("GET /out HTTP/1.1\r\n{shop}\r\n"),
            404,
            "no_route",
        ),
        (
            "CONNECT",
            "CONNECT shop.test:443 HTTP/1.1\r\nhost: shop.test:443\r\n\r\n".to_owned(),
            405,
            "not_allowed",
        ),
        (
            "CONNECT elsewhere",
            "CONNECT 10.0.0.1:22 HTTP/1.1\r\nhost: 10.0.0.1:22\r\n\r\n".to_owned(),
            405,
            "not_allowed",
        ),
    ];
    for (name, request, status, fault) in cases {
        let mut client = Client::connect(daemon.address());
        client.send(request);
        let answer = client.response();
        assert_eq!(answer.status(), *status, "{name}");
        assert_eq!(
            answer.text(),
            format!("{status} {}\n", fault.replace('_', " ")),
            "{name}"
        );
        assert!(answer.has("x-request-id"), "{name}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{name}");
    }
    let count = |wanted: &str| {
        cases
            .iter()
            .filter(|(_, _, _, fault)| *fault == wanted)
            .count() as u64
    };
    let metrics = daemon.counted(&[
        // Whether an encoded separator may pass is its route's to say, so the route refuses it.
        ("r downstream/request_invalid", 3),
        (
            "none downstream/request_invalid",
            count("request_invalid") - 3,
        ),
        ("none downstream/no_route", count("no_route")),
        ("none downstream/not_allowed", count("not_allowed")),
    ]);
    assert_eq!(
        metrics.sum("vestibule_responses_total", &[("class", "4xx")]),
        cases.len() as u64
    );
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_body_beyond_its_limit_is_refused_declared_or_chunked() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "max_body = '16B'");
    let mut client = Client::connect(daemon.address());
    client.send(post("/", "0123456789abcdef"));
    assert_eq!(client.response().status(), 200, "exactly the limit");

    client.send(post("/", "0123456789abcdefg"));
    let answer = client.response();
    assert_eq!(
        (answer.status(), &*answer.text()),
        (413, "413 body too large\n")
    );
    assert_eq!(client.rest(), b"", "the connection ends with it");
    assert_eq!(origin.requests().len(), 1, "only the first came through");

    let mut client = Client::connect(daemon.address());
    client.send(lines("POST / HTTP/1.1", &["transfer-encoding: chunked"]));
    client.send("10\r\n0123456789abcdef\r\n1\r\ng\r\n0\r\n\r\n");
    assert_eq!(client.response().status(), 413);
    daemon.counted(&[("r good", 1), ("r downstream/body_too_large", 2)]);
    let broken = &origin.until_requests(2)[1];
    assert!(!broken.whole, "never a clean end upstream: {broken:?}");
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "max_body = '1KiB'");
    let mut client = Client::connect(daemon.address());
    let length = 4 << 20;
    client.send(lines(
        "POST / HTTP/1.1",
        &[&format!("content-length: {length}")],
    ));
    let sent = client.push(&vec![b'x'; length]);
    // Whoever writes everything before reading must not find a reset instead of the answer.
    assert_eq!(
        client.response().status(),
        413,
        "after {sent} bytes of {length}"
    );
    assert_eq!(sent, length, "what nobody wants is taken all the same");
    assert_eq!(client.rest(), b"", "and the connection ends");
    daemon.until_unconnected();
    daemon.counted(&[("r downstream/body_too_large", 1)]);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn forwarding_headers_are_ours_and_hop_by_hop_ones_end_here() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: x-hop\r\nconnection: x-hop-too\r\nkeep-alive: timeout=5\r\n\
         x-hop: 1\r\nx-hop-too: 1\r\nx-request-id: theirs\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nserver: it\r\n\r\n",
    );
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    client.send(lines(
        "GET /x?q=1 HTTP/1.1",
        &[
            "connection: x-secret, keep-alive",
            "x-secret: 1",
            "keep-alive: 300",
            "proxy-connection: keep-alive",
            "proxy-authorization: Basic x",
            "te: gzip",
            "upgrade: h2c",
            "http2-settings: AAMAAABkAAQAAP__",
            "forwarded: for=10.0.0.1",
            "x-forwarded-for: 10.0.0.1",
            "x-forwarded-host: evil.test",
            "x-forwarded-proto: https",
            "x_forwarded_for: 10.0.0.1",
            "x-real-ip: 10.0.0.1",
            "authorization: Basic y",
            "cookie: c=3",
            "accept: text/*",
            "accept: */*",
            "x-request-id: mine-1",
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "tracestate: a=b",
        ],
    ));
    let answer = client.response();
    assert_eq!(
        answer.header("x-request-id"),
        Some("mine-1"),
        "ours, not the upstream's"
    );
    assert_eq!(answer.all("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
    for gone in ["x-hop", "x-hop-too", "keep-alive", "connection"] {
        assert!(!answer.has(gone), "{gone} in {:?}", answer.headers);
    }
    assert_eq!(answer.header("server"), Some("it"));

    let mut seen = origin.request().headers;
    let trace = seen.iter().position(|(name, _)| name == "traceparent");
    let (_, trace) = seen.remove(trace.expect("it is traced"));
    assert!(
        trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
        "{trace}"
    );
    assert!(
        !trace.contains("00f067aa0ba902b7") && trace.ends_with("-01"),
        "{trace}"
    );
    seen.sort();
    let expected = [
        ("accept", "*/*"),
        ("accept", "text/*"),
        ("authorization", "Basic y"),
        ("cookie", "c=3"),
        ("host", "shop.test"),
        ("tracestate", "a=b"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "shop.test"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "mine-1"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(seen, expected);
    assert_eq!(origin.request().first_line, "GET /x?q=1 HTTP/1.1");

    // Nothing given: an id and a trace are made, returned and logged.
    let answer = client.get("/y");
    let seen = origin.requests().remove(1);
    let id = seen.header("x-request-id").expect("one was made");
    assert_eq!(id.len(), 32);
    assert_eq!(
        answer.header("x-request-id"),
        Some("theirs").filter(|_| false).or(Some(id))
    );
    let trace = seen.header("traceparent").expect("one was begun");
    daemon.counted(&[("r good", 2)]);
    let lines = daemon.access_log();
    assert_eq!(lines[0]["request_id"], "mine-1");
    assert_eq!(lines[0]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(lines[1]["request_id"], id);
    assert_eq!(
        lines[1]["trace_id"],
        trace.split('-').nth(1).expect("an id")
    );
    assert_eq!(lines[1]["path"], "/y");
}

#[test]
fn a_broken_trace_begins_anew_without_the_state_of_the_old_one() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    client.send(lines(
        "GET / HTTP/1.1",
        &[
            "traceparent: 00-nonsense",
            "tracestate: a=b",
            "x-request-id: no good",
        ],
    ));
    let answer = client.response();
    let seen = origin.request();
    assert!(
        seen.header("traceparent")
            .is_some_and(|trace| trace.len() == 55)
    );
    assert!(
        !seen.has("tracestate"),
        "it belongs to a trace that nobody knows"
    );
    assert_ne!(answer.header("x-request-id"), Some("no good"));
    assert_eq!(answer.header("x-request-id"), seen.header("x-request-id"));
}

#[test]
fn trusted_proxies_are_believed_about_the_client() {
    let origin = Origin::ok();
    let daemon = Daemon::start(&format!(
        "{}[proxy]\nworkers = 1\ntrusted_proxies = ['127.0.0.0/8', '10.0.0.0/8']\n",
        one_route(&[origin.url()])
    ));
    let mut client = Client::connect(daemon.address());
    client.send(lines(
        "GET / HTTP/1.1",
        &[
            "x-forwarded-for: 198.51.100.1, 203.0.113.9, 10.1.1.1",
            "x-forwarded-proto: https",
            "x-forwarded-host: outside.test",
        ],
    ));
    assert_eq!(client.response().status(), 200);
    let seen = origin.request();
    assert_eq!(
        seen.header("x-forwarded-for"),
        Some("198.51.100.1, 203.0.113.9, 10.1.1.1, 127.0.0.1")
    );
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-host"), Some("outside.test"));
    assert_eq!(daemon.lines(1)[0]["client"], "203.0.113.9");
}

#[test]
fn the_endpoints_own_name_can_be_the_host_upstream() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "host_header = 'endpoint'");
    assert_eq!(Client::connect(daemon.address()).get("/").status(), 200);
    let seen = origin.request();
    assert_eq!(
        seen.header("host"),
        Some(origin.address.to_string().as_str())
    );
    assert_eq!(seen.header("x-forwarded-host"), Some("shop.test"));
}

#[test]
fn what_is_no_request_is_refused_and_counted_once_as_the_clients() {
    let origin = Origin::ok();
    let daemon = Daemon::start(&format!(
        "{}[limits]\nmax_header_size = '8KiB'\nmax_headers = 10\n",
        one_route(&[origin.url()])
    ));
    let large = lines("GET / HTTP/1.1", &[&format!("x: {}", "a".repeat(9 * 1024))]);
    let many = lines("GET / HTTP/1.1", &["x: 1"; 12]);
    let cases: &[(&str, &[u8], u16)] = &[
        ("garbage", b"\x00\x01\x02garbage\r\n\r\n", 400),
        (
            "TLS on a plain port",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            400,
        ),
        ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 400),
        (
            "a version of its own",
            b"GET / HTTP/3.7\r\nhost: a\r\n\r\n",
            400,
        ),
        (
            "a space in the name",
            b"GET / HTTP/1.1\r\nhost: a\r\nx y: 1\r\n\r\n",
            400,
        ),
        (
            "a space before the colon",
            b"GET / HTTP/1.1\r\nhost: a\r\nx : 1\r\n\r\n",
            400,
        ),
        (
            "a folded field",
            b"GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n y\r\n\r\n",
            400,
        ),
        (
            "a NUL in a value",
            b"GET / HTTP/1.1\r\nhost: a\r\nx: \x001\r\n\r\n",
            400,
        ),
        (
            "two lengths",
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            400,
        ),
        (
            "a length with a sign",
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\na",
            400,
        ),
        (
            "an unknown coding",
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\na",
            400,
        ),
        (
            "chunked not last",
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "chunked in HTTP/1.0",
            b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("a large field", large.as_bytes(), 431),
        ("many fields", many.as_bytes(), 431),
    ];
    for (name, bytes, status) in cases {
        let mut client = Client::connect(daemon.address());
        client.send(bytes);
        let answer = client
            .try_response("GET")
            .unwrap_or_else(|| panic!("{name}: an answer"));
        assert_eq!(answer.status(), *status, "{name}");
        assert_eq!(client.rest(), b"", "{name}: the connection ends");
    }
    let count = |wanted: u16| {
        cases
            .iter()
            .filter(|(_, _, status)| *status == wanted)
            .count() as u64
    };
    daemon.counted(&[
        ("none downstream/request_invalid", count(400)),
        ("none downstream/headers_too_large", count(431)),
    ]);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_second_coding_is_refused_because_its_name_would_be_lost() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    for coding in [
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
    ] {
        let mut client = Client::connect(daemon.address());
        client.send(lines("POST / HTTP/1.1", &[coding]));
        client.send("2\r\nab\r\n0\r\n\r\n");
        assert_eq!(client.response().status(), 400, "{coding}");
    }
    daemon.counted(&[("none downstream/request_invalid", 2)]);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn length_and_chunked_together_are_read_as_chunked_alone_and_end_the_connection() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    for fields in [
        ["content-length: 5", "transfer-encoding: chunked"],
        ["transfer-encoding: chunked", "content-length: 5"],
    ] {
        let mut client = Client::connect(daemon.address());
        client.send(lines("POST / HTTP/1.1", &fields));
        // By the length, `GET /smuggled` would be the next request.
        client.send(format!("0\r\n\r\n{}", get("/smuggled")));
        assert_eq!(client.response().status(), 200);
        assert_eq!(client.rest(), b"", "nothing after it is answered");
    }
    daemon.counted(&[("r good", 2)]);
    for seen in origin.requests() {
        assert_eq!(seen.header("transfer-encoding"), Some("chunked"));
        assert!(!seen.has("content-length") && seen.body.is_empty() && seen.target() == "/");
    }
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn a_broken_chunk_is_the_clients_and_never_ends_well_upstream() {
    let origin = Origin::start(|_, conn| {
        conn.send(OK);
        Then::KeepOpen
    });
    let daemon = Daemon::routing(&[origin.url()], "");
    for chunk in [
        "zz\r\nab\r\n",
        "2\r\nabXX0\r\n\r\n",
        "fffffffffffffffff\r\n",
    ] {
        let mut client = Client::connect(daemon.address());
        client.send(lines("POST / HTTP/1.1", &["transfer-encoding: chunked"]));
        client.send(format!("2\r\nok\r\n{chunk}"));
        assert_eq!(client.response().status(), 400, "{chunk:?}");
        assert_eq!(client.rest(), b"");
    }
    daemon.counted(&[("r downstream/request_invalid", 3)]);
    for seen in origin.until_requests(3) {
        assert!(!seen.whole, "{seen:?}");
    }
}

#[test]
fn what_strangers_write_stays_harmless_in_the_log_and_on_screens() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    let agent = "\x1b]0;owned\x07 \"}\\ \u{202e}";
    // A raw escape in a value is no field at all.
    client.send(lines(
        "GET /%1b[2J%0aGET HTTP/1.1",
        &["user-agent: \"}\\n\\ \u{e9}"],
    ));
    assert_eq!(client.response().status(), 400, "a raw bracket");
    let mut client = Client::connect(daemon.address());
    client.send(lines(
        "GET /%1b%5b2J%0a%22 HTTP/1.1",
        &["user-agent: \"}\\n\\ \u{e9}\u{202e}"],
    ));
    assert_eq!(client.response().status(), 200);
    let mut client = Client::connect(daemon.address());
    client.send(lines("GET / HTTP/1.1", &[&format!("user-agent: {agent}")]));
    assert_eq!(client.response().status(), 400);
    daemon.counted(&[("r good", 1), ("none downstream/request_invalid", 2)]);
    let line = &daemon.access_log()[1];
    assert_eq!(line["path"], "/%1B%5B2J%0A%22");
    assert!(
        line["user_agent"]
            .as_str()
            .is_some_and(|agent| agent.starts_with("\"}\\n\\ "))
    );
    let status = daemon.status_json();
    assert!(!status.to_string().contains('\x1b'));
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let origin = Origin::start(echo_target);
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    let all: String = (0..20).map(|number| get(&format!("/{number}"))).collect();
    client.send(&all);
    for number in 0..20 {
        assert_eq!(client.response().text(), format!("/{number}"));
    }
    // With a body between two of them.
    client.send(format!("{}{}{}", get("/a"), post("/b", "body"), get("/c")));
    for target in ["/a", "/b", "/c"] {
        assert_eq!(client.response().text(), target);
    }
    daemon.counted(&[("r good", 23)]);
    assert_eq!(
        origin.connections(),
        1,
        "one upstream connection carried them"
    );
}

#[test]
fn an_old_client_is_served_as_it_asks() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let origin = Origin::answering(chunked);
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    client.send("GET /old HTTP/1.0\r\n\r\n");
    let answer = client.response();
    assert_eq!(
        (answer.text().as_str(), answer.chunks),
        ("ok", None),
        "ends with the connection"
    );
    let seen = origin.request();
    assert_eq!(seen.first_line, "GET /old HTTP/1.1");
    daemon.counted(&[("r good", 1)]);
    assert_eq!(daemon.access_log()[0]["protocol"], "HTTP/1.0");

    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nhost: shop.test\r\nconnection: keep-alive\r\n\r\n");
        assert_eq!(client.response().text(), "ok");
    }
    daemon.counted(&[("r good", 2)]);
}
