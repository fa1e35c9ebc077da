//! Game days hold, and their timeline says so.

use std::fs;

use serde_json::Value;

use crate::harness::{Home, stdout};

#[test]
fn a_certificate_that_nobody_renews_is_announced_in_order_and_put_right_without_a_restart() {
    let home = Home::new("");
    let held = home.vestibule(&[
        "gameday",
        "tls-expiry",
        "--life",
        "20s",
        "--out",
        "days",
        "--json",
    ]);
    let timeline: Value = serde_json::from_slice(&held.stdout).expect("it is JSON");
    assert_eq!(held.status.code(), Some(0), "{timeline:#}");
    assert_eq!(timeline["held"], true);
    let expectations = timeline["expectations"].as_array().expect("a list");
    let seen: Vec<&str> = expectations
        .iter()
        .filter_map(|it| it["seen_at"].as_str())
        .collect();
    assert_eq!(seen.len(), 7, "{timeline:#}");
    assert!(seen.is_sorted(), "{seen:?}");
    let moments = timeline["moments"].as_array().expect("a list");
    let told = |text: &str| {
        moments
            .iter()
            .any(|it| it["text"].as_str().is_some_and(|said| said.contains(text)))
    };
    assert!(
        told("certificate shop renewed") && told("the SLO burns"),
        "{timeline:#}"
    );
    let files: Vec<_> = fs::read_dir(home.path("days"))
        .expect("it was made")
        .map(|file| file.expect("it can be read").path())
        .collect();
    assert_eq!(files.len(), 2, "{files:?}");
    let document = files
        .iter()
        .find(|path| path.extension().is_some_and(|it| it == "md"));
    let document = fs::read_to_string(document.expect("a document")).expect("it is text");
    assert!(
        document.starts_with("# Game day `tls-expiry`: held\n"),
        "{document}"
    );
}

#[test]
fn a_life_that_is_too_short_to_be_watched_is_refused() {
    let home = Home::new("");
    let refused = home.vestibule(&["gameday", "tls-expiry", "--life", "1s"]);
    assert_eq!(refused.status.code(), Some(64), "{}", stdout(&refused));
}
