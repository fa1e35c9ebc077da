//! Requests as spans and as log records: the ids that the proxy passed on, the semantic conventions, the choice.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::receiver::{Attributes, Receiver, Taken, by_key};
use super::{Home, Origin, PATIENCE, home, home_of, load};
use crate::harness::{Client, Daemon, wait};
use crate::origin::Nobody;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |digit: u8| char::from_digit(digit.into(), 16).unwrap();
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

fn attributes(span: &Span) -> Attributes {
    by_key(&span.attributes).unwrap()
}

/// The SERVER and CLIENT spans of the request to `path`.
fn spans(taken: &Taken, path: &str) -> Option<(Span, Option<Span>)> {
    let server = taken
        .spans
        .iter()
        .find(|span| span.kind() == SpanKind::Server && attributes(span)["url.path"] == path)?;
    let client = taken
        .spans
        .iter()
        .find(|span| span.parent_span_id == server.span_id);
    Some((server.clone(), client.cloned()))
}

fn ask(daemon: &Daemon, path: &str, traceparent: Option<&str>) -> (u16, String) {
    let mut client = Client::connect(daemon.address());
    let header = traceparent.map(|value| format!("traceparent: {value}"));
    let headers: Vec<&str> = header.iter().map(String::as_str).collect();
    let answer = client
        .ask(&format!("GET {path}"), &headers, b"")
        .expect("an answer");
    (answer.status, answer.text())
}

#[test]
fn a_request_is_a_span_of_serving_it_and_one_of_asking_the_upstream() {
    for grpc in [false, true] {
        let receiver = if grpc {
            Receiver::grpc()
        } else {
            Receiver::http()
        };
        let protocol = if grpc { "grpc" } else { "http/protobuf" };
        let origin = Origin::start("shop");
        let home = home(
            &origin,
            &format!(
                "[otlp]\nendpoint = '{}'\nprotocol = '{protocol}'\n[otlp.metrics]\nenabled = false\n\
                 [otlp.traces]\nratio = 0\nkeep_per_second = 100\n[otlp.logs]\nenabled = true\n",
                receiver.url()
            ),
        );
        let daemon = home.run();
        let sampled = format!("00-{TRACE}-{PARENT}-01");
        let dropped = format!("00-{TRACE}-{PARENT}-00");
        assert_eq!(ask(&daemon, "/sampled?secret=1", Some(&sampled)).0, 200);
        assert_eq!(ask(&daemon, "/unsampled", Some(&dropped)).0, 200);
        assert_eq!(ask(&daemon, "/begun", None).0, 200);
        assert_eq!(ask(&daemon, "/fail", Some(&dropped)).0, 500);
        assert_eq!(ask(&daemon, "/delay/400", None).0, 200);
        wait("all records", PATIENCE, || {
            (receiver.taken().records.len() >= 5).then_some(())
        });
        wait("three requests' spans", PATIENCE, || {
            (receiver.taken().spans.len() >= 6).then_some(())
        });
        assert!(daemon.stop().success());
        let taken = receiver.taken();
        assert_eq!((taken.spans.len(), taken.records.len()), (6, 5));

        let (server, client) = spans(&taken, "/sampled").expect("its parent was sampled");
        let client = client.expect("the upstream was asked");
        assert_eq!(hex(&server.trace_id), TRACE);
        assert_eq!(hex(&server.parent_span_id), PARENT);
        assert_eq!(server.name, "GET /*");
        assert_eq!(client.kind(), SpanKind::Client);
        assert_eq!(client.name, "GET");
        assert_eq!(client.trace_id, server.trace_id);
        assert!(client.start_time_unix_nano >= server.start_time_unix_nano);
        assert!(client.end_time_unix_nano <= server.end_time_unix_nano);
        let of_server = attributes(&server);
        for (key, value) in [
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("http.route", "/*"),
            ("url.scheme", "http"),
            ("network.protocol.version", "1.1"),
            ("server.address", "localhost"),
            ("client.address", "127.0.0.1"),
            ("vestibule.route", "shop"),
            ("vestibule.outcome", "good"),
            ("vestibule.sampled_by", "parent"),
        ] {
            assert_eq!(of_server[key], value, "{key}");
        }
        assert!(!of_server.contains_key("error.type"));
        let of_client = attributes(&client);
        assert_eq!(of_client["server.port"], origin.address.port().to_string());
        assert_eq!(
            of_client["url.full"],
            format!("http://{}/sampled", origin.address)
        );

        assert!(spans(&taken, "/unsampled").is_none(), "its parent was not");
        assert!(
            spans(&taken, "/begun").is_none(),
            "none of those begun here is"
        );
        let (server, client) = spans(&taken, "/fail").expect("errors are kept");
        for span in [&server, &client.expect("the upstream failed")] {
            assert_eq!(attributes(span)["error.type"], "500");
            assert_eq!(
                span.status.as_ref().map(|status| status.code),
                Some(2),
                "an error"
            );
        }
        assert_eq!(attributes(&server)["vestibule.sampled_by"], "error");
        let (server, _) = spans(&taken, "/delay/400").expect("slower than the SLO allows");
        assert_eq!(attributes(&server)["vestibule.sampled_by"], "slo");
        assert!(server.end_time_unix_nano - server.start_time_unix_nano >= 400_000_000);
        let all = taken
            .spans
            .iter()
            .flat_map(|span| attributes(span).into_values());
        assert!(all.into_iter().all(|value| !value.contains("secret")));

        let records: BTreeMap<String, _> = taken
            .records
            .iter()
            .map(|record| {
                (
                    by_key(&record.attributes).unwrap()["url.path"].clone(),
                    record,
                )
            })
            .collect();
        let record = records["/sampled"];
        assert_eq!(hex(&record.trace_id), TRACE);
        assert_eq!(record.flags, 1);
        let (server, _) = spans(&taken, "/sampled").unwrap();
        assert_eq!(record.span_id, server.span_id);
        assert_eq!(records["/fail"].severity_text, "ERROR");
        assert_eq!(
            by_key(&records["/fail"].attributes).unwrap()["http.response.status_code"],
            "500"
        );
    }
}

/// One route to `endpoints`, every request of which leaves spans with `receiver`.
fn traced(endpoints: &[&str], receiver: &Receiver) -> Home {
    let otlp = format!(
        "[otlp]\nendpoint = '{}'\n[otlp.metrics]\nenabled = false\n[otlp.traces]\nratio = 1\n",
        receiver.url()
    );
    home_of(endpoints, &otlp)
}

/// Waits for the SERVER span of the request to `path` and, in order, the CLIENT spans below it.
fn traces(receiver: &Receiver, path: &str) -> (Span, Vec<Span>) {
    wait("the request's spans", PATIENCE, || {
        let taken = receiver.taken();
        let (server, _) = spans(&taken, path)?;
        let below = |span: &&Span| span.parent_span_id == server.span_id;
        let mut clients: Vec<Span> = taken.spans.iter().filter(below).cloned().collect();
        clients.sort_by_key(|span| span.start_time_unix_nano);
        Some((server, clients))
    })
}

/// The status code of a span that is an error.
const ERROR: i32 = 2;

fn is_error(span: &Span) -> bool {
    span.status
        .as_ref()
        .is_some_and(|status| status.code == ERROR)
}

#[test]
fn each_attempt_is_a_span_of_its_own_and_the_upstream_is_told_of_it() {
    let receiver = Receiver::http();
    let (nobody, upstream) = (Nobody::new(), crate::origin::Origin::ok());
    let home = traced(&[&nobody.url(), &upstream.url()], &receiver);
    let daemon = home.run();
    // Either endpoint may be the first to be tried.
    let paths: Vec<String> = (0..8).map(|n| format!("/{n}")).collect();
    for path in &paths {
        assert_eq!(ask(&daemon, path, None).0, 200);
    }
    let (mut once, mut twice) = (0, 0);
    for (path, told) in paths.iter().zip(upstream.until_requests(paths.len())) {
        let (server, clients) = traces(&receiver, path);
        assert!(server.parent_span_id.is_empty(), "the trace began here");
        assert!(!is_error(&server) && !attributes(&server).contains_key("error.type"));
        let last = clients.last().expect("the upstream was asked");
        assert_eq!(
            told.header("traceparent").expect("it is told"),
            format!("00-{}-{}-01", hex(&server.trace_id), hex(&last.span_id))
        );
        let of_last = attributes(last);
        assert_eq!(of_last["server.port"], upstream.address.port().to_string());
        assert_eq!(of_last["http.response.status_code"], "200");
        assert!(!is_error(last));
        assert!(last.end_time_unix_nano <= server.end_time_unix_nano);
        if clients.len() == 1 {
            once += 1;
            assert!(!of_last.contains_key("http.request.resend_count"));
            continue;
        }
        twice += 1;
        let [first, last] = &clients[..] else {
            panic!("{clients:#?}")
        };
        assert_eq!(of_last["http.request.resend_count"], "1");
        assert_ne!(first.span_id, last.span_id);
        let of_first = attributes(first);
        assert_eq!(of_first["error.type"], "connect_refused");
        assert_eq!(of_first["url.full"], format!("{}{path}", nobody.url()));
        assert!(is_error(first) && !of_first.contains_key("http.response.status_code"));
        assert!(!of_first.contains_key("http.request.resend_count"));
        assert!(first.start_time_unix_nano >= server.start_time_unix_nano);
        assert!(first.end_time_unix_nano <= last.start_time_unix_nano);
    }
    assert!(once > 0 && twice > 0, "{once} and {twice}");
}

#[test]
fn whose_error_it_is_depends_on_who_looks() {
    use crate::origin::{Origin, Then};
    let receiver = Receiver::http();
    let upstream = Origin::start(|request, conn| {
        let answer = match request.target() {
            "/absent" => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "/failing" => "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
            "/cut" => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
            _ => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nslow",
        };
        conn.send(answer);
        match request.target() {
            "/cut" => Then::Close,
            "/left" => {
                conn.drain();
                Then::Close
            }
            _ => Then::KeepOpen,
        }
    });
    let home = traced(&[&upstream.url()], &receiver);
    let daemon = home.run();
    assert_eq!(ask(&daemon, "/absent", None).0, 404);
    assert_eq!(ask(&daemon, "/failing", None).0, 503);
    for path in ["/cut", "/left"] {
        let mut client = Client::connect(daemon.address());
        client.send(&format!("GET {path}"), &[], b"").unwrap();
        assert_eq!(client.head().expect("a head").status, 200);
        if path == "/cut" {
            assert!(client.bytes(100).is_err(), "it is not whole");
        }
    }
    // Path, status of both; then of the SERVER and of the CLIENT span whether it is an error, and its type.
    for (path, status, server_is, client_is) in [
        ("/absent", "404", (false, None), (true, Some("404"))),
        ("/failing", "503", (true, Some("503")), (true, Some("503"))),
        (
            "/cut",
            "200",
            (true, Some("upstream_reset")),
            (true, Some("upstream_reset")),
        ),
        (
            "/left",
            "200",
            (false, Some("client_disconnect")),
            (false, None),
        ),
    ] {
        let (server, clients) = traces(&receiver, path);
        let [client] = &clients[..] else {
            panic!("{path}: {clients:#?}")
        };
        for (span, (error, kind)) in [(&server, server_is), (client, client_is)] {
            let attributes = attributes(span);
            assert_eq!(attributes["http.response.status_code"], status, "{path}");
            let found = attributes.get("error.type").map(String::as_str);
            assert_eq!((is_error(span), found), (error, kind), "{path}: {span:#?}");
        }
    }
}

#[test]
fn spans_and_records_say_by_which_configuration_a_request_was_served() {
    let receiver = Receiver::http();
    let origin = Origin::start("shop");
    let home = home(
        &origin,
        &format!(
            "[otlp]\nendpoint = '{}'\n[otlp.metrics]\nenabled = false\n[otlp.traces]\nratio = 1\n\
             [otlp.logs]\nenabled = true\n",
            receiver.url()
        ),
    );
    let daemon = home.run();
    let hash = || {
        let snapshot = daemon.snapshot();
        snapshot["config"]["hash"].as_str().unwrap().to_owned()
    };
    let told = |path: &str| {
        assert_eq!(ask(&daemon, path, None).0, 200);
        wait("its span and record", PATIENCE, || {
            let taken = receiver.taken();
            let of_record = taken.record_hashes.get(path)?.clone();
            let of_span = taken.span_hashes.get(path)?.clone();
            Some([of_span, of_record])
        })
    };
    let before = hash();
    assert_eq!(told("/before"), [before.clone(), before.clone()]);
    let config = std::fs::read_to_string(home.path("vestibule.toml")).unwrap();
    home.configure(&config.replace("99.9%", "99.8%"));
    daemon.signal(rustix::process::Signal::HUP);
    let after = daemon.until("the reload", PATIENCE, |snapshot| {
        let hash = snapshot["config"]["hash"].as_str().unwrap();
        (hash != before).then(|| hash.to_owned())
    });
    assert_eq!(told("/after"), [after.clone(), after]);
}

#[test]
fn services_behind_may_be_told_the_ratios_decision() {
    let upstream = crate::origin::Origin::ok();
    let receiver = Receiver::http();
    let otlp = format!(
        "[otlp]\nendpoint = '{}'\n[otlp.metrics]\nenabled = false\n[otlp.traces]\nratio = 0\nmark = 'ratio'\n",
        receiver.url()
    );
    let home = home_of(&[&upstream.url()], &otlp);
    let daemon = home.run();
    assert_eq!(ask(&daemon, "/", None).0, 200);
    let told = upstream.request();
    assert!(
        told.header("traceparent")
            .expect("it is told")
            .ends_with("-00")
    );
}

#[test]
fn a_receiver_that_is_gone_costs_spans_and_records_but_no_request() {
    let receiver = Receiver::http();
    let url = receiver.url();
    drop(receiver);
    let origin = Origin::start("shop");
    let home = home(
        &origin,
        &format!(
            "[otlp]\nendpoint = '{url}'\nqueue_size = '64KiB'\nflush = '200ms'\ncompression = 'none'\n\
             [otlp.traces]\nratio = 1\n[otlp.logs]\nenabled = true\n"
        ),
    );
    let daemon = home.run();
    wait("losses", PATIENCE, || {
        load(&daemon, 300, 3);
        let snapshot = daemon.snapshot();
        let exporters = snapshot["exporters"].as_array().unwrap().clone();
        let lost = |signal: &str| {
            let exporter = exporters.iter().find(|it| it["signal"] == signal).unwrap();
            assert!(
                exporter["queued_bytes"].as_u64() <= Some(64 << 10),
                "{exporter}"
            );
            exporter["dropped"]["queue_full"].as_u64() > Some(0)
        };
        (lost("traces") && lost("logs")).then_some(())
    });
    assert!(daemon.stop().success());
}
