//! Measurements: the same numbers as everywhere else, to the request.

use std::collections::BTreeSet;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use vestibule::catalog::{self, Kind};
use vestibule::export::otlp::export_name;
use vestibule::net::tls::provider;

use super::receiver::{Manner, Receiver};
use super::{PATIENCE, counted, home, load};
use crate::harness::{try_wait, wait};
use crate::lifecycle::origin::Origin;

#[test]
fn a_receiver_counts_what_status_counts() {
    for (receiver, more) in [
        (Receiver::http(), ""),
        (Receiver::http(), "compression = 'none'"),
        (Receiver::grpc(), "protocol = 'grpc'"),
        (Receiver::grpc(), "protocol = 'grpc'\ncompression = 'none'"),
    ] {
        let origin = Origin::start("shop");
        let home = home(
            &origin,
            &format!(
                "[otlp]\nendpoint = '{}'\nheaders = ['x-tenant=a b']\nresource = ['team=web']\n{more}\n\
                 [otlp.metrics]\ninterval = '1s'\n",
                receiver.url()
            ),
        );
        let daemon = home.run();
        load(&daemon, 300, 7);
        let status = counted(&daemon);
        assert_eq!(status, [300, 7, 0]);
        wait("the receiver to have it all", PATIENCE, || {
            (receiver.taken().shop() == status).then_some(())
        });
        load(&daemon, 5, 1);
        wait("the rest", PATIENCE, || {
            (receiver.taken().shop() == [305, 8, 0]).then_some(())
        });
        let taken = receiver.taken();
        assert_eq!(taken.headers["x-tenant"], "a b");
        for (key, value) in [
            ("service.name", "vestibule"),
            ("service.instance.id", "edge-7"),
            ("team", "web"),
        ] {
            assert_eq!(taken.resource[key], value);
        }
        let slo = |result| [("slo", "available"), ("route", "shop"), ("result", result)];
        assert_eq!(
            taken.number("vestibule.slo_events", &slo("good")),
            Some(305)
        );
        assert_eq!(taken.number("vestibule.slo_events", &slo("bad")), Some(8));
        let fault = [
            ("route", "shop"),
            ("side", "upstream"),
            ("fault", "upstream_5xx"),
        ];
        assert_eq!(taken.number("vestibule.faults", &fault), Some(8));
        let of_shop = taken
            .histograms
            .iter()
            .find(|((_, attributes), _)| attributes["route"] == "shop");
        let ((name, attributes), (count, _)) = of_shop.expect("there are durations");
        assert_eq!(name, "http.server.request.duration");
        assert_eq!(attributes["http.route"], "/*");
        assert_eq!(*count, 313);
        assert_eq!(taken.units[name], "s");
    }
}

#[test]
fn whatever_the_page_shows_but_histograms_is_sent_as_well() {
    let receiver = Receiver::http();
    let origin = Origin::start("shop");
    let otlp = format!(
        "[otlp]\nendpoint = '{}'\n[otlp.metrics]\ninterval = '1s'\n[probes]\ndir = 'synthetic'\n",
        receiver.url()
    );
    let home = home(&origin, &otlp);
    std::fs::create_dir(home.path("synthetic")).unwrap();
    let probes = format!(
        "[[probe]]\nname = 'home'\ntarget = 'http://{}/'\nevery = '1s'\n\
         [[probe]]\nname = 'nobody'\ntarget = 'tcp://127.0.0.1:1'\nevery = '1s'\n",
        origin.address
    );
    std::fs::write(home.path("synthetic/all.toml"), probes).unwrap();
    let daemon = home.run();
    load(&daemon, 20, 3);
    let mut missing = Vec::new();
    let all = try_wait(PATIENCE, || {
        let shown = daemon.metrics();
        let taken = receiver.taken();
        let sent: BTreeSet<&str> = taken.numbers.keys().map(|(name, _)| &**name).collect();
        let numbers = catalog::ALL.iter().filter(|it| it.kind != Kind::Histogram);
        missing = numbers
            // What is 0 on the page may be what is not sent until it ever happened.
            .filter(|it| {
                shown.page.contains(&format!("\n{}", it.name)) && shown.sum(it.name, &[]) > 0
            })
            .filter(|it| !sent.contains(&*export_name(it).0))
            .map(|it| it.name)
            .collect();
        let ran = shown.page.contains("\nvestibule_probe_phase_seconds{");
        (ran && missing.is_empty()).then_some(())
    });
    assert!(all.is_some(), "{missing:?}");
}

#[test]
fn differences_add_up_to_the_same_and_begin_anew_with_each_run() {
    let receiver = Receiver::http();
    let origin = Origin::start("shop");
    let otlp = format!("[otlp]\nendpoint = '{}'\n", receiver.url());
    let delta = "[otlp.metrics]\ninterval = '1s'\ntemporality = 'delta'\n";
    let home = home(&origin, &format!("{otlp}{delta}"));
    let daemon = home.run();
    load(&daemon, 40, 2);
    wait("the first", PATIENCE, || {
        (receiver.taken().shop() == [40, 2, 0]).then_some(())
    });
    load(&daemon, 10, 0);
    assert!(daemon.stop().success());
    assert_eq!(
        receiver.taken().shop(),
        [50, 2, 0],
        "what was not sent yet went out at the end"
    );
    let daemon = home.run();
    load(&daemon, 3, 1);
    assert!(daemon.stop().success());
    assert_eq!(
        receiver.taken().shop(),
        [53, 3, 0],
        "what an earlier run sent is not sent again"
    );
}

#[test]
fn the_last_counts_are_sent_before_the_process_ends() {
    for protocol in ["http/protobuf", "grpc"] {
        let receiver = if protocol == "grpc" {
            Receiver::grpc()
        } else {
            Receiver::http()
        };
        let origin = Origin::start("shop");
        let otlp = format!(
            "[otlp]\nendpoint = '{}'\nprotocol = '{protocol}'\n",
            receiver.url()
        );
        let home = home(&origin, &format!("{otlp}[otlp.metrics]\ninterval = '1h'\n"));
        let daemon = home.run();
        load(&daemon, 20, 4);
        assert!(daemon.stop().success());
        assert_eq!(receiver.taken().shop(), [20, 4, 0]);
    }
}

#[test]
fn a_receiver_that_hangs_does_not_keep_the_process_from_ending() {
    let receiver = Receiver::http();
    receiver.set(Manner::Hangs);
    let origin = Origin::start("shop");
    let otlp = format!("[otlp]\nendpoint = '{}'\nflush = '300ms'\n", receiver.url());
    let home = home(&origin, &otlp);
    let daemon = home.run();
    load(&daemon, 2, 0);
    assert!(daemon.stop().success());
    let log = std::fs::read_to_string(home.path("log")).expect("there is a log");
    assert!(log.contains("not sent before the process ended"), "{log}");
}

#[test]
fn standard_variables_are_enough() {
    let receiver = Receiver::http();
    let origin = Origin::start("shop");
    let home = home(&origin, "");
    let mut command = home.command(&["run"]);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url())
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20eA")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "1000")
        .env("OTEL_SERVICE_NAME", "edge");
    let daemon = home.run_command(command);
    load(&daemon, 9, 0);
    wait("all of it", PATIENCE, || {
        (receiver.taken().shop() == [9, 0, 0]).then_some(())
    });
    let taken = receiver.taken();
    assert_eq!(taken.resource["service.name"], "edge");
    assert_eq!(taken.headers["authorization"], "Basic eA");
}

#[test]
fn receiver_and_sender_know_each_other_by_certificates() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let issue = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap(), key)
    };
    let (server, server_key) = issue("localhost");
    let (client, client_key) = issue("edge-7");
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    for (protocol, alpn) in [("http/protobuf", "http/1.1"), ("grpc", "h2")] {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![server.der().clone()],
                server_key.serialize_der().try_into().unwrap(),
            )
            .unwrap();
        tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let receiver = Receiver::tls(tls, protocol == "grpc");
        let origin = Origin::start("shop");
        let home = home(
            &origin,
            &format!(
                "[otlp]\nendpoint = 'https://localhost:{}'\nprotocol = '{protocol}'\nroots_file = 'root.pem'\n\
                 certificate_file = 'client.pem'\nkey_file = 'key.pem'\n[otlp.metrics]\ninterval = '1s'\n",
                receiver.address.port()
            ),
        );
        for (file, pem) in [
            ("root.pem", root.pem()),
            ("client.pem", client.pem()),
            ("key.pem", client_key.serialize_pem()),
        ] {
            std::fs::write(home.path(file), pem).unwrap();
        }
        let daemon = home.run();
        load(&daemon, 6, 0);
        wait("all of it", PATIENCE, || {
            (receiver.taken().shop() == [6, 0, 0]).then_some(())
        });
        drop(daemon);
    }
}
