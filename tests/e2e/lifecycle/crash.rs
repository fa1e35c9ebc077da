//! What happens when the process or its disk is taken away.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use vestibule::model::Timestamp;
use vestibule::store::Reader;

use super::harness::{Client, Home, PATIENCE, of, stderr, told, wait};
use super::origin::Origin;

/// How long until a minute is over and stored.
const MINUTE: Duration = Duration::from_secs(100);

fn config(origin: &Origin, more: &str) -> String {
    format!(
        r#"
        {more}
        [proxy]
        workers = 2

        [[listener]]
        name = "http"
        address = "127.0.0.1:0"

        [[upstream]]
        name = "web"
        endpoints = ["http://{}"]

        [[route]]
        id = "web"
        upstream = "web"

        [[slo]]
        id = "available"
        route = "web"
        sli = "availability"
        objective = "99.9%"
        "#,
        origin.address
    )
}

#[test]
fn a_kill_under_load_loses_nothing_that_was_committed_and_shows_its_gap() {
    let origin = Origin::start("web");
    let home = Home::new(&config(&origin, ""));
    let daemon = home.run();
    let load = Load::start(daemon.address());
    let flushed = daemon.until("a minute to be stored", MINUTE, |snapshot| {
        snapshot["store"]["flushed_at"].as_str().map(str::to_owned)
    });
    let flushed: Timestamp = flushed.parse().unwrap();
    let stored = Reader::open(&home.state()).unwrap();
    let before = stored.route_counts("web").unwrap();
    drop(stored);
    assert!(before.good > 0);
    // More that no minute has taken yet, and writing under way: each deploy is stored at once.
    daemon.until("more than what is stored", PATIENCE, |snapshot| {
        let deployed = daemon.try_ask(
            "POST /v1/deploys",
            &["Content-Type: application/json"],
            br#"{"upstream":"web","version":"v1"}"#,
        );
        deployed.expect("it is taken");
        let counted = of(&snapshot["routes"], "id", "web")["good"].as_u64()?;
        (counted > before.good + 50).then_some(())
    });
    daemon.kill();
    assert!(load.stop() > before.good);

    let committed = Reader::open(&home.state())
        .unwrap()
        .route_counts("web")
        .unwrap();
    assert!(committed.good >= before.good);
    let daemon = home.run();
    let snapshot = daemon.snapshot();
    let route = of(&snapshot["routes"], "id", "web");
    assert_eq!(route["good"], committed.good);
    assert_eq!(route["bad"], committed.bad);
    let slo = of(&snapshot["slos"], "id", "available");
    assert_eq!(slo["good"], committed.good);
    let events = [("slo", "available"), ("result", "good")];
    assert_eq!(
        daemon
            .metrics()
            .count("vestibule_slo_events_total", &events),
        committed.good
    );
    // The gap begins with the last minute that was stored and ends with the new start.
    let gap = &snapshot["store"]["gaps"][0];
    let at = |key: &str| -> Timestamp { gap[key].as_str().unwrap().parse().unwrap() };
    let started: Timestamp = snapshot["started_at"].as_str().unwrap().parse().unwrap();
    assert!(at("from") <= flushed.plus(Duration::from_secs(61)), "{gap}");
    assert!(
        at("from") >= flushed.minus(Duration::from_secs(61)),
        "{gap}"
    );
    assert!(at("to").since(started) < Duration::from_secs(5), "{gap}");
    let said = format!("nothing was measured since {}Z", at("from").time_of_day());
    assert!(
        told(&snapshot, "process", &said),
        "{:#}",
        snapshot["events"]
    );
    assert!(daemon.stop().success());
}

#[test]
fn a_second_daemon_on_the_same_state_is_told_who_holds_it() {
    let origin = Origin::start("web");
    let home = Home::new(&config(&origin, ""));
    let daemon = home.run();
    let second = home.vestibule(&["run"]);
    assert_eq!(second.status.code(), Some(75));
    let said = stderr(&second);
    assert!(
        said.contains(&format!("process {}", daemon.pid())),
        "{said}"
    );
    assert!(said.contains("vestibule-state"), "{said}");
    // The first one was not disturbed, and what the second left does not matter to a third.
    assert_eq!(
        Client::connect(daemon.address()).get("/").unwrap().status,
        200
    );
    assert!(daemon.stop().success());
    assert!(home.run().stop().success());
}

#[test]
fn traffic_goes_on_without_a_state_directory() {
    let origin = Origin::start("web");
    let home = Home::new(&config(
        &origin,
        "state = { dir = \"blocked/state\" }\nadmin = { socket = \"admin.sock\" }",
    ));
    fs::write(home.path("blocked"), "a file where a directory should be").unwrap();
    let daemon = home.run_with(&[], &home.path("admin.sock"));
    let mut client = Client::connect(daemon.address());
    for _ in 0..20 {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    let snapshot = daemon.until("the requests", PATIENCE, |snapshot| {
        let route = of(&snapshot["routes"], "id", "web");
        (route["good"] == 20).then(|| snapshot.clone())
    });
    let store = of(&snapshot["degraded"], "part", "store");
    let text = store["text"].as_str().unwrap();
    assert!(
        text.contains("blocked/state") && text.contains("memory only"),
        "{text}"
    );
    let metrics = daemon.metrics();
    assert_eq!(metrics.count("vestibule_degraded", &[("part", "store")]), 1);
    assert_eq!(metrics.count("vestibule_degraded", &[("part", "admin")]), 0);
    assert!(told(&snapshot, "process", "store is degraded"));
    assert!(daemon.stop().success());
}

#[test]
fn without_a_place_for_its_socket_the_admin_api_answers_over_tcp() {
    let origin = Origin::start("web");
    let home = Home::new(&config(
        &origin,
        "state = { dir = \"blocked/state\" }\nadmin = { listen = \"127.0.0.1:0\" }",
    ));
    fs::write(home.path("blocked"), "a file where a directory should be").unwrap();
    let daemon = home.start_with(&[], &home.path("nowhere.sock"));
    let address: SocketAddr = wait("the admin API's address", PATIENCE, || {
        let log = daemon.log();
        let (_, rest) = log.split_once("admin API listens on http://")?;
        rest.split_whitespace().next()?.parse().ok()
    });
    let snapshot = Client::connect(address).get("/v1/snapshot").unwrap().json();
    for part in ["store", "admin"] {
        of(&snapshot["degraded"], "part", part);
    }
    let listener = snapshot["listeners"][0]["address"].as_str().unwrap();
    let mut client = Client::connect(listener.parse().unwrap());
    assert_eq!(client.get("/").unwrap().status, 200);
    assert!(daemon.stop().success());
}

/// A limit on file sizes that any user may set stands for a disk that is full: every write to the database is refused
/// all the same.
#[test]
fn a_full_disk_stops_the_history_and_nothing_else() {
    let origin = Origin::start("web");
    let home = Home::new(&config(&origin, ""));
    let daemon = home.run_in_shell("trap '' XFSZ; exec \"$0\" \"$@\"");
    let mut client = Client::connect(daemon.address());
    let limit = |current| {
        let pid = i32::try_from(daemon.pid()).ok().and_then(Pid::from_raw);
        let limit = Rlimit {
            current,
            maximum: None,
        };
        prlimit(pid, Resource::Fsize, limit).expect("it is our child");
    };
    limit(Some(0));
    let announce = |version: &str| {
        let deployed = home.vestibule(&["deploy", "web", version]);
        assert!(deployed.status.success(), "{}", stderr(&deployed));
    };
    announce("v1");
    let degraded = daemon.until("the trouble to be told", PATIENCE, |snapshot| {
        let degraded = snapshot["degraded"].as_array()?;
        let store = degraded.iter().find(|part| part["part"] == "store")?;
        store["text"].as_str().map(str::to_owned)
    });
    assert!(degraded.contains("wait in memory"), "{degraded}");
    let metrics = daemon.metrics();
    assert_eq!(metrics.count("vestibule_degraded", &[("part", "store")]), 1);
    for _ in 0..50 {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    // Minutes are kept for later meanwhile.
    daemon.until("a minute to wait", MINUTE, |snapshot| {
        (snapshot["store"]["backlog"].as_u64()? >= 1).then_some(())
    });
    limit(None);
    daemon.until("the store to recover", MINUTE, |snapshot| {
        let backlog = snapshot["store"]["backlog"].as_u64()?;
        (snapshot["degraded"].as_array()?.is_empty() && backlog == 0).then_some(())
    });
    assert!(told(&daemon.snapshot(), "process", "store works again"));
    assert!(daemon.stop().success());
    let reader = Reader::open(&home.state()).unwrap();
    assert_eq!(reader.route_counts("web").unwrap().good, 50);
    let kept = reader.events(1_000).unwrap();
    assert!(kept.iter().any(|event| event.text == "web v1"));
}

#[test]
fn a_reload_can_still_be_asked_for_after_a_crash() {
    let origin = Origin::start("web");
    let home = Home::new(&config(&origin, ""));
    home.run().kill();
    // The socket of the process that died is still there and is replaced.
    assert!(home.state().join("vestibule.sock").exists());
    let daemon = home.run();
    daemon.signal(Signal::HUP);
    daemon.until("the reload", PATIENCE, |snapshot| {
        (snapshot["config"]["generation"] == 2).then_some(())
    });
    assert!(daemon.stop().success());
    assert!(!home.state().join("vestibule.sock").exists());
}

/// Requests one after another over a few connections, until the other side is gone.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let (stop, answered) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let threads = (0..3).map(|_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            thread::spawn(move || {
                let mut client = Client::connect(address);
                while !stop.load(Ordering::SeqCst)
                    && client.get("/").is_ok_and(|answer| answer.status == 200)
                {
                    answered.fetch_add(1, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(5));
                }
            })
        });
        Self {
            threads: threads.collect(),
            stop,
            answered,
        }
    }

    /// How many were answered.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("it ends with its connection");
        }
        self.answered.load(Ordering::SeqCst)
    }
}
