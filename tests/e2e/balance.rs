//! Which endpoint of an upstream takes a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::{Client, lines};
use crate::daemon::{Daemon, until};
use crate::origin::{Conn, OK, Origin, Then};
use crate::wire::Message;

/// One worker, so that there is one turn.
fn daemon(endpoints: &[String], upstream: &str) -> Daemon {
    Daemon::start(&format!(
        "[proxy]\nworkers = 1\n\
         [[upstream]]\nname = 'u'\nendpoints = {endpoints:?}\n{upstream}\n\
         [[route]]\nid = 'r'\nupstream = 'u'\n"
    ))
}

fn ask(client: &mut Client, times: usize, headers: &[&str]) {
    for _ in 0..times {
        client.send(lines("GET / HTTP/1.1", headers));
        assert_eq!(client.response().status(), 200);
    }
}

fn counts<const N: usize>(origins: &[Origin; N]) -> [usize; N] {
    origins.each_ref().map(|origin| origin.requests().len())
}

#[test]
fn in_turn_each_endpoint_gets_as_much_as_its_weight() {
    let origins = [Origin::ok(), Origin::ok(), Origin::ok()];
    let weights = [1, 2, 5];
    let endpoints: Vec<String> = origins
        .iter()
        .zip(weights)
        .map(|(origin, weight)| format!("{} weight={weight}", origin.url()))
        .collect();
    let daemon = daemon(&endpoints, "");
    ask(&mut Client::connect(daemon.address()), 80, &[]);
    assert_eq!(counts(&origins), [10, 20, 50]);
    daemon.counted(&[("r good", 80)]);
}

/// Answers, but holds back what asks for `/held` until it is let go.
fn holding(free: &Arc<AtomicBool>) -> Origin {
    let free = Arc::clone(free);
    Origin::start(move |request: &Message, conn: &mut Conn| {
        if request.target() == "/held" {
            until("it is let go", || free.load(Ordering::SeqCst).then_some(()));
        }
        conn.send(OK);
        Then::KeepOpen
    })
}

#[test]
fn whoever_has_the_fewest_requests_in_flight_gets_the_next() {
    let free = Arc::new(AtomicBool::new(false));
    let origins = [holding(&free), holding(&free)];
    let endpoints = origins.each_ref().map(Origin::url);
    let daemon = daemon(&endpoints, "balance = 'least_requests'");
    let mut held = Client::connect(daemon.address());
    held.send("GET /held HTTP/1.1\r\nhost: a.test\r\n\r\n");
    let busy = until("one of them is busy", || {
        origins
            .iter()
            .position(|origin| !origin.requests().is_empty())
    });
    // Of two the other is always one of the two drawn, and always has less to do.
    ask(&mut Client::connect(daemon.address()), 20, &[]);
    let mut expected = [20, 20];
    expected[busy] = 1;
    assert_eq!(counts(&origins), expected);
    free.store(true, Ordering::SeqCst);
    assert_eq!(held.response().status(), 200);
    // Nothing is in flight any more: both are drawn alike.
    ask(&mut Client::connect(daemon.address()), 60, &[]);
    let after = counts(&origins);
    assert!(after[busy] > 1 + 5, "{after:?}");
    daemon.counted(&[("r good", 81)]);
}

#[test]
fn an_endpoint_that_fails_fast_is_not_taken_for_a_quick_one() {
    let broken = Origin::answering("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n");
    let origins = [broken, Origin::ok()];
    let daemon = daemon(&origins.each_ref().map(Origin::url), "balance = 'latency'");
    let mut client = Client::connect(daemon.address());
    for _ in 0..50 {
        client.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n");
        client.response();
    }
    let [broken, sound] = counts(&origins);
    assert!(broken <= 2 && sound >= 48, "{broken} {sound}");
}

#[test]
fn the_same_key_goes_to_the_same_endpoint_and_moves_only_when_that_is_gone() {
    let well = Arc::new(AtomicBool::new(true));
    let answer = |well: &Arc<AtomicBool>| {
        let well = Arc::clone(well);
        Origin::start(move |request: &Message, conn: &mut Conn| {
            let is_check = request.target() == "/healthz";
            conn.send(if is_check && !well.load(Ordering::SeqCst) {
                "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"
            } else {
                OK
            });
            Then::KeepOpen
        })
    };
    let always = Arc::new(AtomicBool::new(true));
    let origins = [answer(&well), answer(&always), answer(&always)];
    let daemon = daemon(
        &origins.each_ref().map(Origin::url),
        "balance = 'hash'\nhash_on = 'cookie:user'\n\
         health = { probe = 'http', path = '/healthz', interval = '100ms', fall = 1 }",
    );
    let traffic = || {
        origins.each_ref().map(|origin| {
            let users = |it: &Message| Some(it.header("cookie")?.split_once("user=")?.1.to_owned());
            origin
                .requests()
                .iter()
                .filter_map(users)
                .collect::<Vec<_>>()
        })
    };
    let mut client = Client::connect(daemon.address());
    let users: Vec<String> = (0..12)
        .map(|user| format!("cookie: theme=dark; user={user}"))
        .collect();
    for _ in 0..3 {
        for user in &users {
            ask(&mut client, 1, &[user]);
        }
    }
    let before = traffic();
    for seen in &before {
        // Three of each of its users, and no others'.
        assert!(!seen.is_empty() && seen.len() % 3 == 0, "{before:?}");
        let own: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!(own.len() * 3, seen.len(), "{before:?}");
    }
    well.store(false, Ordering::SeqCst);
    until("it is down", || {
        let up = [("endpoint", &*origins[0].url())];
        (daemon.metrics().sum("vestibule_endpoint_healthy", &up) == 0).then_some(())
    });
    for user in &users {
        ask(&mut client, 1, &[user]);
    }
    let after = traffic();
    assert_eq!(after[0], before[0]);
    for (before, after) in before.iter().zip(&after).skip(1) {
        let own: std::collections::BTreeSet<_> = before.iter().collect();
        let kept = after[before.len()..]
            .iter()
            .filter(|user| own.contains(user));
        assert_eq!(kept.count(), own.len());
    }
}

#[test]
fn checks_that_take_most_endpoints_away_are_not_believed() {
    let sick = || {
        Origin::start(|request: &Message, conn: &mut Conn| {
            let is_check = request.target() == "/healthz";
            conn.send(if is_check {
                "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"
            } else {
                OK
            });
            Then::KeepOpen
        })
    };
    let origins = [sick(), sick(), Origin::ok()];
    let health = "health = { probe = 'http', path = '/healthz', interval = '100ms', fall = 1 }";
    for (panic_below, expected) in [(50, [4, 4, 4]), (20, [0, 0, 12])] {
        let daemon = daemon(
            &origins.each_ref().map(Origin::url),
            &format!("panic_below = {panic_below}\n{health}"),
        );
        until("two are down", || {
            (daemon.metrics().sum("vestibule_endpoint_healthy", &[]) == 1).then_some(())
        });
        let traffic = || {
            origins.each_ref().map(|origin| {
                let requests = origin.requests();
                requests.iter().filter(|it| it.target() == "/").count()
            })
        };
        let before = traffic();
        ask(&mut Client::connect(daemon.address()), 12, &[]);
        let after = traffic();
        let got: Vec<usize> = after
            .iter()
            .zip(before)
            .map(|(after, before)| after - before)
            .collect();
        assert_eq!(got, expected, "panic_below = {panic_below}");
    }
}
