//! Endpoints that are asked how they are, and endpoints that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::Client;
use crate::daemon::{Daemon, until};
use crate::origin::{Conn, OK, Origin, Then};
use crate::wire::Message;

const BAD: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

/// Answers everything, and its health checks as `well` says.
fn asked(well: &Arc<AtomicBool>) -> Origin {
    let well = Arc::clone(well);
    Origin::start(move |request: &Message, conn: &mut Conn| {
        let is_check = request.target() == "/healthz";
        conn.send(if is_check && !well.load(Ordering::SeqCst) {
            BAD
        } else {
            OK
        });
        Then::KeepOpen
    })
}

/// Requests that were no health checks.
fn traffic(origin: &Origin) -> usize {
    let requests = origin.requests();
    requests
        .iter()
        .filter(|it| it.target() != "/healthz")
        .count()
}

fn healthy(daemon: &Daemon, origin: &Origin) -> u64 {
    daemon
        .metrics()
        .sum("vestibule_endpoint_healthy", &[("endpoint", &origin.url())])
}

fn ask(daemon: &Daemon, times: usize) {
    let mut client = Client::connect(daemon.address());
    for _ in 0..times {
        client.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n");
        assert!(client.response().status() < 600);
    }
}

const CHECKED: &str = "health = { probe = 'http', path = '/healthz', interval = '100ms', timeout = '5s', rise = 2, fall = 2 }";

#[test]
fn an_endpoint_that_fails_its_checks_gets_no_traffic_until_it_answers_them_again() {
    let (well, always) = (
        Arc::new(AtomicBool::new(true)),
        Arc::new(AtomicBool::new(true)),
    );
    let (sick, sound) = (asked(&well), asked(&always));
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'u'\nendpoints = {:?}\n{CHECKED}\n\
         [[route]]\nid = 'r'\nupstream = 'u'\n",
        [sick.url(), sound.url()]
    ));
    until("checks of both", || {
        (sick.requests().len() > 1 && sound.requests().len() > 1).then_some(())
    });
    ask(&daemon, 10);
    assert_eq!((traffic(&sick), traffic(&sound)), (5, 5));

    well.store(false, Ordering::SeqCst);
    until("it is down", || {
        (healthy(&daemon, &sick) == 0).then_some(())
    });
    ask(&daemon, 10);
    assert_eq!((traffic(&sick), traffic(&sound)), (5, 15));

    well.store(true, Ordering::SeqCst);
    until("it is up", || (healthy(&daemon, &sick) == 1).then_some(()));
    ask(&daemon, 10);
    assert_eq!((traffic(&sick), traffic(&sound)), (10, 20));
    let events = daemon.snapshot()["events"].to_string();
    assert!(
        events.contains("does not answer its health checks"),
        "{events}"
    );
    assert!(
        events.contains("answers its health checks again"),
        "{events}"
    );
    // Checks are not traffic.
    daemon.counted(&[("r good", 30)]);
}

#[test]
fn an_endpoint_that_comes_and_goes_is_counted_exactly_and_told() {
    let well = Arc::new(AtomicBool::new(true));
    let origin = asked(&well);
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'u'\nendpoints = {:?}\n{CHECKED}\n\
         [[route]]\nid = 'r'\nupstream = 'u'\n\
         [[slo]]\nid = 's'\nroute = 'r'\nsli = 'availability'\nobjective = '99%'\nwindow = '30d'\n",
        [origin.url()]
    ));
    for change in 0..6 {
        let up = change % 2 == 1;
        well.store(up, Ordering::SeqCst);
        until("it changes", || {
            (healthy(&daemon, &origin) == u64::from(up)).then_some(())
        });
    }
    let changes = daemon.metrics().sum(
        "vestibule_endpoint_health_changes_total",
        &[("endpoint", &origin.url()), ("by", "checks")],
    );
    assert_eq!(changes, 6);
    let said = daemon.status();
    for needed in [
        "flaps: 6 changes in 10m",
        "last: it answered 500",
        "  whose     upstream",
        "  do        read the log of",
    ] {
        assert!(said.contains(needed), "no {needed:?} in {said}");
    }
}

#[test]
fn a_lone_endpoint_keeps_its_traffic_whatever_its_checks_say() {
    let origin = asked(&Arc::new(AtomicBool::new(false)));
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'u'\nendpoints = {:?}\neject_after = 1\n{CHECKED}\n\
         [[route]]\nid = 'r'\nupstream = 'u'\n",
        [origin.url()]
    ));
    until("it is down", || {
        (healthy(&daemon, &origin) == 0).then_some(())
    });
    ask(&daemon, 3);
    assert_eq!(traffic(&origin), 3);
    daemon.counted(&[("r good", 3)]);
}

#[test]
fn a_connection_is_all_that_a_tcp_check_asks_for() {
    let origin = Origin::ok();
    let gone = {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.local_addr().expect("it has an address")
    };
    let gone = format!("http://{gone}");
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'u'\nendpoints = {:?}\nhealth = {{ probe = 'tcp', interval = '100ms' }}\n\
         [[route]]\nid = 'r'\nupstream = 'u'\n",
        [origin.url(), gone.clone()]
    ));
    until("it is down", || {
        let healthy = daemon
            .metrics()
            .sum("vestibule_endpoint_healthy", &[("endpoint", &gone)]);
        (healthy == 0).then_some(())
    });
    assert_eq!(healthy(&daemon, &origin), 1);
    ask(&daemon, 4);
    // The one that is gone was not even tried.
    let metrics = daemon.counted(&[("r good", 4)]);
    assert_eq!(
        metrics.sum("vestibule_endpoint_connect_failures_total", &[]),
        0
    );
}

#[test]
fn an_endpoint_that_fails_too_often_in_a_row_is_left_alone_but_never_more_than_half() {
    let (bad, good) = (Origin::answering(BAD), Origin::ok());
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'u'\nendpoints = {:?}\neject_after = 3\n\
         [[route]]\nid = 'r'\nupstream = 'u'\n",
        [bad.url(), good.url()]
    ));
    ask(&daemon, 20);
    assert_eq!((bad.requests().len(), good.requests().len()), (3, 17));
    let upstream = &daemon.snapshot()["upstreams"][0];
    let [left_alone, working] = [0, 1].map(|place| &upstream["endpoints"][place]);
    assert_eq!(left_alone["ejected_by"], 1, "{upstream}");
    assert_eq!(working["ejected_by"], 0, "{upstream}");
    for endpoint in [left_alone, working] {
        assert_eq!(endpoint["in_flight"], 0, "{upstream}");
        assert_eq!(endpoint["answers_checks"], serde_json::Value::Null);
        assert!(endpoint["p99_us"].as_u64() > Some(0), "{upstream}");
    }
    daemon.counted(&[("r good", 17), ("r upstream/upstream_5xx", 3)]);

    let all_bad = [(); 4].map(|()| Origin::answering(BAD));
    let urls = all_bad.each_ref().map(Origin::url);
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'u'\nendpoints = {urls:?}\neject_after = 2\n\
         [[route]]\nid = 'r'\nupstream = 'u'\n",
    ));
    ask(&daemon, 40);
    let counts = all_bad.each_ref().map(|it| it.requests().len());
    let left_alone = counts.iter().filter(|count| **count == 2).count();
    assert_eq!(
        (left_alone, counts.iter().sum::<usize>()),
        (2, 40),
        "{counts:?}"
    );
}
