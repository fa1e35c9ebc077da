//! Requests as spans and as log records: the ids that the proxy passed on, the semantic conventions, the choice.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::receiver::{Attributes, Receiver, Taken, by_key};
use super::{Origin, PATIENCE, home, load};
use crate::harness::{Client, Daemon, wait};

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

#[test]
fn the_upstream_is_told_of_the_client_span() {
    let receiver = Receiver::http();
    let upstream = crate::origin::Origin::ok();
    let origin = Origin::start("unused");
    let text = format!(
        "[otlp]\nendpoint = '{}'\n[otlp.metrics]\nenabled = false\n[otlp.traces]\nratio = 1\n",
        receiver.url()
    );
    let home = home(&origin, &text);
    let config = std::fs::read_to_string(home.path("vestibule.toml")).unwrap();
    home.configure(&config.replace(&origin.address.to_string(), &upstream.address.to_string()));
    let daemon = home.run();
    assert_eq!(ask(&daemon, "/told", None).0, 200);
    let (server, client) = wait("its spans", PATIENCE, || spans(&receiver.taken(), "/told"));
    let client = client.expect("the upstream was asked");
    let told = upstream.request();
    let told = told.header("traceparent").expect("it is told").to_owned();
    assert_eq!(
        told,
        format!("00-{}-{}-01", hex(&server.trace_id), hex(&client.span_id))
    );
    assert!(server.parent_span_id.is_empty(), "the trace began here");
    assert_ne!(server.span_id, client.span_id);
}

#[test]
fn services_behind_may_be_told_the_ratios_decision() {
    let upstream = crate::origin::Origin::ok();
    let origin = Origin::start("unused");
    let receiver = Receiver::http();
    let text = format!(
        "[otlp]\nendpoint = '{}'\n[otlp.metrics]\nenabled = false\n[otlp.traces]\nratio = 0\nmark = 'ratio'\n",
        receiver.url()
    );
    let home = home(&origin, &text);
    let config = std::fs::read_to_string(home.path("vestibule.toml")).unwrap();
    home.configure(&config.replace(&origin.address.to_string(), &upstream.address.to_string()));
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
