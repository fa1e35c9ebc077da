//! Upstreams that are not asked for a while, and those that have enough to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::{Client, get};
use crate::daemon::{Daemon, until};
use crate::origin::{Conn, OK, Origin, Then};
use crate::wire::Message;

const BAD: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

/// Two workers: a breaker is the upstream's, not a worker's.
fn daemon(endpoint: &str, breaker: &str) -> Daemon {
    Daemon::start(&format!(
        "[proxy]\nworkers = 2\n\
         [[upstream]]\nname = 'u'\nendpoints = [{endpoint:?}]\nbreaker = {{ {breaker} }}\n\
         [[route]]\nid = 'r'\nupstream = 'u'\n"
    ))
}

fn ask(daemon: &Daemon) -> Message {
    let mut client = Client::connect(daemon.address());
    client.send(get("/"));
    client.response()
}

#[test]
fn a_circuit_opens_keeps_requests_from_a_broken_upstream_and_closes_when_it_works() {
    let works = Arc::new(AtomicBool::new(false));
    let origin = {
        let works = Arc::clone(&works);
        Origin::start(move |_: &Message, conn: &mut Conn| {
            conn.send(if works.load(Ordering::SeqCst) {
                OK
            } else {
                BAD
            });
            Then::KeepOpen
        })
    };
    let daemon = daemon(
        &origin.url(),
        "failure_percent = 50, min_requests = 10, window = '10s', open_for = '1s', trials = 2",
    );
    for _ in 0..10 {
        assert_eq!(ask(&daemon).status(), 500);
    }
    for _ in 0..20 {
        let refused = ask(&daemon);
        assert_eq!(
            (refused.status(), refused.header("retry-after")),
            (503, Some("1"))
        );
    }
    // Nobody was asked for those.
    assert_eq!(origin.requests().len(), 10);
    daemon.counted(&[
        ("r upstream/upstream_5xx", 10),
        ("r upstream/circuit_open", 20),
    ]);
    works.store(true, Ordering::SeqCst);
    until("the circuit closes", || {
        (ask(&daemon).status() == 200).then_some(())
    });
    for _ in 0..10 {
        assert_eq!(ask(&daemon).status(), 200);
    }
    let metrics = daemon.metrics();
    let of_u = |name| metrics.sum(name, &[("upstream", "u")]);
    assert_eq!(of_u("vestibule_breaker_opened_total"), 1);
    assert_eq!(of_u("vestibule_breaker_requests_in_flight"), 0);
    let refused = [("upstream", "u"), ("reason", "open")];
    assert!(metrics.sum("vestibule_breaker_refused_requests_total", &refused) >= 20);
    let closed = [("upstream", "u"), ("phase", "closed")];
    assert_eq!(metrics.sum("vestibule_breaker_circuit", &closed), 1);
    let snapshot = daemon.snapshot();
    let upstream = &snapshot["upstreams"][0];
    assert_eq!(upstream["breaker"]["circuit"], "closed", "{upstream}");
    let events = snapshot["events"].as_array().expect("events").iter();
    let told: Vec<_> = events.filter(|it| it["kind"] == "health").collect();
    for text in [
        "the circuit breaker of u opened: 10 of 10 attempts failed",
        "the circuit breaker of u is closed again",
    ] {
        assert!(told.iter().any(|it| it["text"] == text), "{told:?}");
    }
}

#[test]
fn no_more_requests_are_with_an_upstream_than_its_breaker_allows() {
    let origin = Origin::start(|_: &Message, conn: &mut Conn| {
        // It answers when it is left.
        drop(conn.drain());
        Then::Close
    });
    let daemon = daemon(&origin.url(), "max_in_flight = 3");
    let mut waiting: Vec<Client> = (0..3).map(|_| Client::connect(daemon.address())).collect();
    for client in &mut waiting {
        client.send(get("/"));
    }
    let upstream = [("upstream", "u")];
    until("three are under way", || {
        (daemon
            .metrics()
            .sum("vestibule_breaker_requests_in_flight", &upstream)
            == 3)
            .then_some(())
    });
    let refused = ask(&daemon);
    assert_eq!(
        (refused.status(), refused.header("retry-after")),
        (503, Some("1"))
    );
    // Those who leave make room.
    drop(waiting);
    daemon.counted(&[
        ("r downstream/client_disconnect", 3),
        ("r upstream/upstream_full", 1),
    ]);
    until("nobody is under way", || {
        (daemon
            .metrics()
            .sum("vestibule_breaker_requests_in_flight", &upstream)
            == 0)
            .then_some(())
    });
}

#[test]
fn few_may_wait_for_a_connection() {
    // It takes connections and says nothing, so that no handshake ends.
    let silent = Origin::raw(|conn: &mut Conn| drop(conn.drain()));
    let daemon = Daemon::start(&format!(
        "[proxy]\nworkers = 1\n\
         [[upstream]]\nname = 'u'\nendpoints = ['{}']\nconnect_timeout = '30s'\n\
         tls.insecure = true\nbreaker = {{ max_pending = 2 }}\n\
         [[route]]\nid = 'r'\nupstream = 'u'\n",
        silent.url().replace("http", "https")
    ));
    let mut waiting: Vec<Client> = (0..2).map(|_| Client::connect(daemon.address())).collect();
    for client in &mut waiting {
        client.send(get("/"));
    }
    until("two wait", || {
        (daemon
            .metrics()
            .sum("vestibule_breaker_requests_pending", &[("upstream", "u")])
            == 2)
            .then_some(())
    });
    assert_eq!(ask(&daemon).status(), 503);
    drop(waiting);
    daemon.counted(&[
        ("r downstream/client_disconnect", 2),
        ("r upstream/upstream_full", 1),
    ]);
}
