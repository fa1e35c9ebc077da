//! Requests that go out again, and those that must not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::{Client, get, post};
use crate::daemon::{Daemon, until};
use crate::origin::{Conn, OK, Origin, Then};
use crate::wire::Message;

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

/// One worker, so that there is one turn and one budget.
fn daemon(endpoints: &[String], retry: &str) -> Daemon {
    Daemon::start(&format!(
        "[proxy]\nworkers = 1\n\
         [[upstream]]\nname = 'u'\nendpoints = {endpoints:?}\n\
         [[route]]\nid = 'r'\nupstream = 'u'\nretry = {{ {retry} }}\n"
    ))
}

fn count(origin: &Origin) -> usize {
    origin.requests().len()
}

#[test]
fn a_status_that_is_worth_it_is_retried_elsewhere_and_counted_where_it_happened() {
    let (broken, sound) = (Origin::answering(UNAVAILABLE), Origin::ok());
    let daemon = daemon(&[broken.url(), sound.url()], "attempts = 1");
    let mut client = Client::connect(daemon.address());
    for _ in 0..10 {
        client.send(get("/"));
        assert_eq!(client.response().status(), 200);
    }
    assert_eq!((count(&broken), count(&sound)), (5, 10));
    // Users saw ten good answers, the endpoint's five failures are its own.
    let metrics = daemon.counted(&[("r good", 10)]);
    let of = |origin: &Origin, name: &str| metrics.sum(name, &[("endpoint", &origin.url())]);
    assert_eq!(of(&broken, "vestibule_endpoint_retried_total"), 5);
    assert_eq!(of(&sound, "vestibule_endpoint_retried_total"), 0);
    assert_eq!(of(&sound, "vestibule_endpoint_requests_total"), 10);
    assert_eq!(metrics.sum("vestibule_upstream_retries_total", &[]), 5);
    assert_eq!(
        daemon
            .lines(10)
            .iter()
            .filter(|it| it["attempts"] == 2)
            .count(),
        5
    );
}

#[test]
fn what_may_not_be_repeated_is_not() {
    let (broken, sound) = (Origin::answering(UNAVAILABLE), Origin::ok());
    let daemon = daemon(&[broken.url(), sound.url()], "attempts = 3");
    let requests = [
        post("/", ""),
        post("/", "body"),
        // It may be repeated, but its body is gone.
        post("/", "body").replacen("POST", "PUT", 1),
    ];
    let mut bad = 0;
    for request in requests.iter().cycle().take(12) {
        let mut client = Client::connect(daemon.address());
        client.send(request);
        bad += u64::from(client.response().status() == 503);
    }
    assert_eq!(bad, 6);
    assert_eq!((count(&broken), count(&sound)), (6, 6));
    daemon.counted(&[("r good", 6), ("r upstream/upstream_5xx", 6)]);
}

#[test]
fn in_an_outage_the_budget_holds_and_the_last_answer_is_passed_on() {
    let broken = [
        Origin::answering(UNAVAILABLE),
        Origin::answering(UNAVAILABLE),
    ];
    let daemon = daemon(
        &broken.each_ref().map(Origin::url),
        "attempts = 5, budget = 20",
    );
    let mut client = Client::connect(daemon.address());
    for _ in 0..500 {
        client.send(get("/"));
        assert_eq!(client.response().status(), 503);
    }
    let sent: usize = broken.iter().map(count).sum();
    // A fifth more, the ten saved up, and one for each second that this took.
    assert!((600..=640).contains(&sent), "{sent}");
    let metrics = daemon.counted(&[("r upstream/upstream_5xx", 500)]);
    let retried = metrics.sum("vestibule_endpoint_retried_total", &[]);
    assert_eq!(retried as usize, sent - 500);
    assert!(metrics.sum("vestibule_retries_refused_total", &[]) >= 390);
}

#[test]
fn a_slow_attempt_is_given_up_for_another_when_the_route_says_so() {
    let slow = Origin::start(|request: &Message, conn: &mut Conn| {
        assert_eq!(request.target(), "/");
        // Whatever it would say comes when nobody listens any more.
        drop(conn.drain());
        Then::Close
    });
    let sound = Origin::ok();
    let daemon = daemon(
        &[slow.url(), sound.url()],
        "attempts = 1, on = ['timeout'], per_try = '100ms'",
    );
    let mut client = Client::connect(daemon.address());
    for _ in 0..4 {
        client.send(get("/"));
        assert_eq!(client.response().status(), 200);
    }
    assert_eq!((count(&slow), count(&sound)), (2, 4));
    daemon.counted(&[("r good", 4)]);
}

#[test]
fn a_lone_endpoint_is_asked_again_after_it_cut_a_request_off() {
    let seen = Arc::new(AtomicUsize::new(0));
    let origin = {
        let seen = Arc::clone(&seen);
        Origin::start(move |_: &Message, conn: &mut Conn| {
            if seen.fetch_add(1, Ordering::SeqCst) == 0 {
                conn.reset();
                return Then::Close;
            }
            conn.send(OK);
            Then::KeepOpen
        })
    };
    let daemon = daemon(&[origin.url()], "attempts = 1");
    let mut client = Client::connect(daemon.address());
    client.send(get("/"));
    assert_eq!(client.response().status(), 200);
    until("both attempts", || {
        (seen.load(Ordering::SeqCst) == 2).then_some(())
    });
    let metrics = daemon.counted(&[("r good", 1)]);
    assert_eq!(metrics.sum("vestibule_endpoint_retried_total", &[]), 1);
}
