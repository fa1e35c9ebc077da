//! The demo, as someone sees it who has just built the program.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::harness::{Home, PATIENCE, stderr, stdout, wait};

/// Long enough for the deploy, its page and its explanation.
const SECONDS: &str = "80";

#[test]
fn an_incident_is_shown_paged_and_explained_and_nothing_is_left_behind() {
    let home = Home::new("");
    fs::create_dir(home.path("tmp")).unwrap();
    let demo = home
        .command(&["demo", "--headless", "--seconds", SECONDS])
        .env("TMPDIR", home.path("tmp"))
        .output()
        .unwrap();
    let said = stdout(&demo);
    assert_eq!(demo.status.code(), Some(0), "{said}{}", stderr(&demo));
    let deploy = said.find("deploy   checkout 4f9c2").expect(&said);
    let page = said.find("verdict  CRIT").expect(&said);
    assert!(deploy < page, "{said}");
    let verdict = said
        .lines()
        .find(|line| line.contains("verdict  CRIT"))
        .unwrap();
    for part in ["upstream, not edge", "shop-checkout", "4f9c2"] {
        assert!(verdict.contains(part), "{part}: {said}");
    }
    assert!(said.contains("fires (page)"), "{said}");
    assert_eq!(fs::read_dir(home.path("tmp")).unwrap().count(), 0);
}

#[test]
fn it_tidies_up_when_it_is_told_to_end() {
    let home = Home::new("");
    fs::create_dir(home.path("tmp")).unwrap();
    let left = || fs::read_dir(home.path("tmp")).unwrap().count();
    for signal in [Signal::TERM, Signal::INT] {
        let mut demo = home
            .command(&["demo", "--headless"])
            .env("TMPDIR", home.path("tmp"))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        wait("the demo to begin", PATIENCE, || {
            let begun = fs::read_dir(home.path("tmp")).unwrap().flatten();
            let mut begun = begun.map(|entry| entry.path().join("vestibule.sock"));
            begun.any(|socket| socket.exists()).then_some(())
        });
        let pid = i32::try_from(demo.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.unwrap(), signal).unwrap();
        let ended = wait("the demo to end", Duration::from_secs(30), || {
            demo.try_wait().unwrap()
        });
        assert!(ended.success(), "{signal:?}: {ended}");
        assert_eq!(left(), 0, "{signal:?}");
    }
}
