//! A receiver that is gone, slow, busy or mad: traffic does not notice, memory is bounded, what is lost is counted, and
//! all is well again by itself.

use serde_json::Value;

use super::receiver::{Manner, Receiver};
use super::{Origin, PATIENCE, counted, home, load};
use crate::harness::{Daemon, stdout, wait};

/// What is said of the export of a signal.
fn exporter(daemon: &Daemon, signal: &str) -> Value {
    let snapshot = daemon.snapshot();
    let exporters = snapshot["exporters"].as_array().expect("a list");
    exporters
        .iter()
        .find(|it| it["signal"] == signal)
        .expect("it is exported")
        .clone()
}

#[test]
fn whatever_a_receiver_does_counts_arrive_once_it_behaves() {
    for manner in [
        Manner::Answers(429, Some(1)),
        Manner::Answers(503, None),
        Manner::Answers(400, None),
        Manner::Hangs,
        Manner::Babbles,
    ] {
        let receiver = Receiver::http();
        receiver.set(manner);
        let origin = Origin::start("shop");
        let home = home(
            &origin,
            &format!(
                "[otlp]\nendpoint = '{}'\ntimeout = '300ms'\n[otlp.metrics]\ninterval = '1s'\n",
                receiver.url()
            ),
        );
        let daemon = home.run();
        wait("it to be turned away", PATIENCE, || {
            // `taken` would complain about what is wrong; nothing was taken at all.
            (receiver.taken().turned_away > 0).then_some(())
        });
        load(&daemon, 50, 3);
        wait("word of the failure", PATIENCE, || {
            exporter(&daemon, "metrics")["failing_since"]
                .as_str()
                .map(|_| ())
        });
        let said =
            stdout(&home.vestibule(&["status", "--connect", daemon.socket().to_str().unwrap()]));
        assert!(
            said.contains("otlp metrics http://127.0.0.1:") && said.contains("FAILING"),
            "{said}"
        );
        assert!(!said.contains('\u{1b}'), "{said}");
        assert_eq!(receiver.taken().batches, 0, "{manner:?}");
        receiver.set(Manner::Takes);
        wait("recovery", PATIENCE, || {
            (receiver.taken().shop() == [50, 3, 0]).then_some(())
        });
        let after = wait("word of the recovery", PATIENCE, || {
            let exporter = exporter(&daemon, "metrics");
            (exporter["failing_since"].is_null() && !exporter["last_success"].is_null())
                .then_some(exporter)
        });
        let refused = after["dropped"]["refused"].as_u64().expect("a number");
        assert_eq!(
            refused > 0,
            manner == Manner::Answers(400, None),
            "{manner:?}: {after}"
        );
        assert_eq!(counted(&daemon), [50, 3, 0]);
    }
}

#[test]
fn a_receiver_that_comes_back_elsewhen_finds_everything() {
    let receiver = Receiver::http();
    let address = receiver.address;
    let origin = Origin::start("shop");
    let home = home(
        &origin,
        &format!(
            "[otlp]\nendpoint = '{}'\n[otlp.metrics]\ninterval = '1s'\n",
            receiver.url()
        ),
    );
    let daemon = home.run();
    load(&daemon, 10, 0);
    wait("the first counts", PATIENCE, || {
        (receiver.taken().shop() == [10, 0, 0]).then_some(())
    });
    drop(receiver);
    load(&daemon, 10, 1);
    wait("word of the failure", PATIENCE, || {
        exporter(&daemon, "metrics")["failing_since"]
            .as_str()
            .map(|_| ())
    });
    let receiver = Receiver::at(address);
    wait("all of it", PATIENCE, || {
        (receiver.taken().shop() == [20, 1, 0]).then_some(())
    });
}

#[test]
fn differences_wait_for_a_receiver_as_far_as_the_queue_reaches_and_the_rest_is_counted() {
    let receiver = Receiver::http();
    receiver.set(Manner::Answers(503, None));
    let origin = Origin::start("shop");
    let home = home(
        &origin,
        &format!(
            "[otlp]\nendpoint = '{}'\nqueue_size = '64KiB'\ncompression = 'none'\n\
             resource = ['padding={}']\n[otlp.metrics]\ninterval = '1s'\ntemporality = 'delta'\n",
            receiver.url(),
            "x".repeat(40_000)
        ),
    );
    let daemon = home.run();
    let dropped = wait("the queue to be full", PATIENCE, || {
        load(&daemon, 1, 0);
        let exporter = exporter(&daemon, "metrics");
        assert!(
            exporter["queued_bytes"].as_u64() <= Some(64 << 10),
            "{exporter}"
        );
        exporter["dropped"]["queue_full"]
            .as_u64()
            .filter(|dropped| *dropped > 0)
    });
    let labels = [("signal", "metrics"), ("reason", "queue_full")];
    let shown = daemon
        .metrics()
        .count("vestibule_otlp_dropped_total", &labels);
    assert!(shown >= dropped, "{shown} on the page");
    receiver.set(Manner::Takes);
    wait("recovery", PATIENCE, || {
        (receiver.taken().shop()[0] > 0).then_some(())
    });
}

#[test]
fn what_a_receiver_takes_only_in_part_is_counted() {
    let receiver = Receiver::http();
    receiver.set(Manner::TakesBut(3));
    let origin = Origin::start("shop");
    let home = home(
        &origin,
        &format!(
            "[otlp]\nendpoint = '{}'\n[otlp.metrics]\ninterval = '1s'\n",
            receiver.url()
        ),
    );
    let daemon = home.run();
    let exporter = wait("a loss", PATIENCE, || {
        let exporter = exporter(&daemon, "metrics");
        (exporter["dropped"]["rejected"].as_u64() >= Some(3)).then_some(exporter)
    });
    assert!(
        exporter["error"].as_str().unwrap().contains("too many"),
        "{exporter}"
    );
    assert!(exporter["sent"].as_u64() > Some(0), "{exporter}");
}
