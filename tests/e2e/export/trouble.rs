//! A receiver that is gone, slow, busy or mad: traffic does not notice, memory is bounded, what is lost is counted, and
//! all is well again by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::Value;
use vestibule::store::Reader;

use super::receiver::{Manner, Receiver};
use super::{Origin, PATIENCE, counted, home, load};
use crate::harness::{Client, Daemon, stdout, wait};

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

/// Log records that were lost on their way, for whatever reason.
fn lost(daemon: &Daemon) -> u64 {
    let snapshot = daemon.snapshot();
    let queues = snapshot["queues"].as_array().expect("a list");
    let unread = queues.iter().find(|it| it["queue"] == "otlp_records");
    let unread = unread.expect("it is there")["dropped"].as_u64().unwrap();
    let dropped = exporter(daemon, "logs")["dropped"].clone();
    let dropped = dropped.as_object().expect("an object").values();
    unread + dropped.map(|count| count.as_u64().unwrap()).sum::<u64>()
}

#[test]
fn every_record_is_taken_or_counted_as_lost_whatever_the_receiver_does_under_load() {
    let receiver = Receiver::http();
    let address = receiver.address;
    let origin = Origin::start("shop");
    let home = home(
        &origin,
        &format!(
            "[otlp]\nendpoint = '{}'\nqueue_size = '256KiB'\ncompression = 'none'\ntimeout = '2s'\n\
             [otlp.metrics]\nenabled = false\n[otlp.traces]\nenabled = false\n[otlp.logs]\nenabled = true\n",
            receiver.url()
        ),
    );
    let daemon = home.run();
    let rss = |daemon: &Daemon| daemon.snapshot()["process"]["rss_bytes"].as_u64().unwrap();
    load(&daemon, 100, 0);
    let (mut made, before) = (100, rss(&daemon));
    for manner in [
        Manner::Takes,
        Manner::Answers(429, Some(1)),
        Manner::Dawdles(300),
        Manner::Answers(400, None),
        Manner::Babbles,
        Manner::Answers(503, None),
    ] {
        receiver.set(manner);
        // Each is answered as it should be, and what waits stays within its bound.
        load(&daemon, 400, 20);
        made += 420;
        let queued = exporter(&daemon, "logs")["queued_bytes"].as_u64();
        assert!(queued <= Some(256 << 10), "{manner:?}: {queued:?}");
    }
    let taken_before = receiver.taken().records.len() as u64;
    drop(receiver);
    load(&daemon, 400, 20);
    made += 420;
    let receiver = Receiver::at(address);
    let mut taken = 0;
    wait("all of them to be accounted for", PATIENCE, || {
        taken = taken_before + receiver.taken().records.len() as u64;
        let lost = lost(&daemon);
        assert!(taken + lost <= made, "{taken} and {lost} of {made}");
        (taken + lost == made).then_some(())
    });
    assert!(taken > 300, "hardly any was taken: {taken} of {made}");
    assert!(lost(&daemon) > 0, "there was too little load");
    let after = rss(&daemon);
    assert!(
        after < before + (64 << 20),
        "from {before} to {after} bytes"
    );
    wait("recovery", PATIENCE, || {
        exporter(&daemon, "logs")["failing_since"]
            .is_null()
            .then_some(())
    });
}

#[test]
fn a_stop_under_load_loses_nothing_that_was_counted() {
    let receiver = Receiver::http();
    // Whatever is sent waits a little.
    receiver.set(Manner::Dawdles(20));
    let origin = Origin::start("shop");
    let home = home(
        &origin,
        &format!(
            "[otlp]\nendpoint = '{}'\nflush = '30s'\n[otlp.metrics]\ninterval = '1s'\ntemporality = 'delta'\n\
             [otlp.traces]\nratio = 1\n[otlp.logs]\nenabled = true\n",
            receiver.url()
        ),
    );
    let mut daemon = home.run();
    let (address, stopping) = (daemon.address(), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stopping.load(Ordering::Relaxed) {
                    // Those that come when it has stopped are refused.
                    let Ok(mut client) = Client::try_connect(address) else {
                        return;
                    };
                    while client.get("/").is_ok() {}
                }
            });
        }
        wait("some load", PATIENCE, || {
            (counted(&daemon)[0] > 500).then_some(())
        });
        daemon.signal(Signal::TERM);
        let status = daemon.ended();
        stopping.store(true, Ordering::Relaxed);
        assert!(status.success());
    });
    let counts = Reader::open(&home.state()).unwrap().route_counts("shop");
    let counts = counts.unwrap();
    let taken = receiver.taken();
    assert_eq!(taken.shop(), [counts.good, counts.bad, counts.excluded]);
    let all = counts.good + counts.bad + counts.excluded;
    let of_shop = taken.records.iter();
    let of_shop = of_shop.filter(|record| {
        let attributes = super::receiver::by_key(&record.attributes).unwrap();
        attributes["vestibule.route"] == "shop"
    });
    assert_eq!(of_shop.count() as u64, all, "log records");
    assert!(taken.spans.len() as u64 >= 2 * counts.good, "spans");
}
