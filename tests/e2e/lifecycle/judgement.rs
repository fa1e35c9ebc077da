//! From an outage to a page, in the time that the workbook promises. How a page ends is seen by a quicker policy in
//! `contract`, and with injected time in `tests/judging.rs`, as is why ten requests an hour page nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::harness::{Client, Home, PATIENCE, of, stderr, stdout};
use super::origin::Origin;

/// Between two requests: about fifty a second.
const PAUSE: Duration = Duration::from_millis(20);

#[test]
fn a_total_outage_of_a_fresh_daemon_pages_within_a_minute_and_is_explained() {
    let origin = Origin::start("web");
    let home = Home::new("");
    let url = format!("http://{}", origin.address);
    let daemon = home.run_with(
        &[&url, "--listen", "127.0.0.1:0"],
        &home.state().join("vestibule.sock"),
    );
    let address = daemon.address();
    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            let mut client = Client::connect(address);
            while !stop.load(Ordering::SeqCst) {
                let began = Instant::now();
                client.get("/").expect("it is answered");
                thread::sleep(PAUSE.saturating_sub(began.elapsed()));
            }
        })
    };
    daemon.until("some traffic", PATIENCE, |snapshot| {
        (of(&snapshot["routes"], "id", "default")["good"].as_u64()? > 100).then_some(())
    });
    let deployed = home.vestibule(&["deploy", "default", "4f9c2", "--by", "ci"]);
    assert!(deployed.status.success(), "{}", stderr(&deployed));
    origin.set_broken(true);
    let broken = Instant::now();

    // It is said at once, and paged when the budget is really in danger.
    let warned = daemon.until("a word of it", PATIENCE, |snapshot| {
        let route = &snapshot["verdict"]["route"];
        (route == "default").then(|| broken.elapsed())
    });
    let snapshot = daemon.until("the page", Duration::from_secs(120), |snapshot| {
        let alerts = snapshot["alerts"].as_array()?;
        let pages = alerts
            .iter()
            .any(|alert| alert["severity"] == "page" && alert["state"] == "firing");
        pages.then(|| snapshot.clone())
    });
    let paged = broken.elapsed();
    assert!(warned < Duration::from_secs(10), "{warned:?}");
    assert!(paged < Duration::from_secs(60), "{paged:?}");

    let verdict = &snapshot["verdict"];
    assert_eq!(verdict["severity"], "crit");
    assert_eq!(verdict["side"], "upstream");
    assert_eq!(verdict["route"], "default");
    assert_eq!(verdict["fault"], "upstream_5xx");
    let suspect = &verdict["suspect"];
    assert_eq!(suspect["event"]["kind"], "deploy", "{verdict:#}");
    assert_eq!(suspect["event"]["scope"]["version"], "4f9c2");
    let text = verdict["text"].as_str().unwrap();
    for part in ["upstream, not edge", "default", "4f9c2"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let endpoint = &of(&snapshot["upstreams"], "name", "default")["endpoints"][0];
    assert_eq!(endpoint["healthy"], false);
    let status = home.vestibule(&["status"]);
    assert_eq!(status.status.code(), Some(2));
    assert!(
        stdout(&status).starts_with(text.split_once(';').unwrap().0.split_once(':').unwrap().0)
    );

    // The budget's page survives a restart and is not told again.
    stop.store(true, Ordering::SeqCst);
    load.join().unwrap();
    assert!(daemon.stop().success());
    let daemon = home.run_with(
        &[&url, "--listen", "127.0.0.1:0"],
        &home.state().join("vestibule.sock"),
    );
    let again = daemon.snapshot();
    let alert = of(&again["alerts"], "severity", "page");
    assert_eq!(alert["state"], "firing");
    let fired = snapshot["alerts"].as_array().unwrap().iter();
    assert!(
        fired
            .map(|alert| &alert["since"])
            .any(|since| *since == alert["since"])
    );
    let announced = again["events"].as_array().unwrap().iter();
    let announced = announced.filter(|event| {
        event["kind"] == "alert"
            && event["text"]
                .as_str()
                .is_some_and(|text| text.contains("fast burn fires"))
    });
    assert_eq!(announced.count(), 1, "{:#}", again["events"]);
    assert!(daemon.stop().success());
}
