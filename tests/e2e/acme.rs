//! Certificates that are issued while it runs, by a real authority.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::harness::{Client, Daemon, Home, PATIENCE, of, skip, stderr, stdout, told, wait};
use crate::tls::{Authority, handshake};

pub(crate) mod pebble;
mod preflight;

use pebble::{Pebble, Whims};

/// The authority, or a skipped test.
fn pebble(whims: &Whims) -> Option<Pebble> {
    let pebble = Pebble::start(whims);
    if pebble.is_none() {
        skip("pebble is not installed");
    }
    pebble
}

/// A route for all hosts and a certificate `shop` for `hosts` that `ca` issues.
fn config(pebble: &Pebble, hosts: &[&str], authority: &str) -> String {
    format!(
        "[[listener]]\nname = 'http'\naddress = '{}'\n\
         [[listener]]\nname = 'https'\naddress = '{}'\ncertificates = ['shop']\n\
         [[certificate]]\nname = 'shop'\nacme = 'ca'\nhosts = {hosts:?}\n{}\
         [[upstream]]\nname = 'u'\nendpoints = ['http://127.0.0.1:9']\n\
         [[route]]\nid = 'shop'\nhosts = {hosts:?}\nupstream = 'u'\n",
        pebble.http,
        pebble.https,
        pebble.table(authority)
    )
}

/// What is known of the issuing of `shop`.
fn issuance(snapshot: &Value) -> Value {
    of(&snapshot["issuances"], "name", "shop").clone()
}

fn until_issued(daemon: &Daemon, count: u64) -> Value {
    daemon.until("a certificate", PATIENCE, |snapshot| {
        // Its own thread says how it stands, soon after the start.
        let issuance = snapshot["issuances"].as_array()?.first()?.clone();
        let is_idle = issuance["state"] == "waiting";
        (is_idle && issuance["issued"].as_u64() >= Some(count)).then_some(issuance)
    })
}

fn kept(home: &Home, file: &str) -> PathBuf {
    home.state().join("acme/ca").join(file)
}

/// The certificate that is shown for `host`, verified; DER.
fn shown(address: SocketAddr, trusting: &ClientConfig, host: &str) -> Vec<u8> {
    let stream = handshake(address, trusting.clone(), host).expect("the name is served");
    let chain = stream.conn.peer_certificates().expect("it was shown one");
    chain[0].to_vec()
}

fn mode(path: &Path) -> u32 {
    let meta = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    meta.permissions().mode() & 0o777
}

#[test]
fn a_certificate_is_issued_served_and_kept_over_a_restart() {
    // Every second nonce is rejected on the way.
    let whims = Whims {
        rejects: 50,
        ..Whims::default()
    };
    let Some(pebble) = pebble(&whims) else { return };
    let hosts = ["shop.test", "www.shop.test"];
    let home = Home::new(&config(&pebble, &hosts, "profile = 'classic'"));
    let daemon = home.run();
    let issuance = until_issued(&daemon, 1);
    let trusting = pebble.trusting();
    let first = shown(pebble.https, &trusting, "shop.test");
    assert_eq!(shown(pebble.https, &trusting, "www.shop.test"), first);

    // Known to its owner alone, from the first byte on.
    let dir = home.state().join("acme");
    assert_eq!((mode(&dir), mode(&dir.join("ca"))), (0o700, 0o700));
    let mut names = BTreeSet::new();
    for file in fs::read_dir(dir.join("ca")).expect("it is there") {
        let path = file.expect("it can be read").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.extend(path.extension().map(std::ffi::OsStr::to_os_string));
    }
    assert_eq!(names.len(), 2, "{names:?}");

    // Every phase was timed, the first handshake included, and the authority has said when to renew.
    let phases = issuance["phases"].as_array().expect("a list");
    let phases: Vec<&str> = phases.iter().filter_map(|it| it[0].as_str()).collect();
    let all = [
        "account", "order", "present", "validate", "finalize", "download", "install", "serve",
    ];
    assert_eq!(phases, all);
    assert!(issuance["window"].is_array() && issuance["due_at"].is_string());
    assert_eq!(issuance["budget_left"], 2);
    let snapshot = daemon.until("the listener to be looked at", PATIENCE, |snapshot| {
        let seen = snapshot["certificates"].as_array()?;
        let seen = seen.iter().filter(|it| it["certificate"].is_object());
        (seen.count() == 3).then(|| snapshot.clone())
    });
    assert!(told(&snapshot, "cert", "certificate shop issued by ca"));
    assert_eq!(snapshot["certificate_alerts"], json!([]));
    let metrics = daemon.metrics();
    let labels = [("certificate", "shop"), ("result", "issued")];
    assert_eq!(metrics.sum("vestibule_acme_orders_total", &labels), 1);

    // What authorities look for is shown no longer, and a path that only looks like it goes the usual way.
    let mut client = Client::connect(pebble.http);
    let path = "/.well-known/acme-challenge/nothing";
    let answer = client.ask(&format!("GET {path}"), &["Host: other.test"], b"");
    assert_eq!(answer.expect("it answers").status, 404);

    let said = stdout(&home.vestibule(&["certs", "--connect", "vestibule-state/vestibule.sock"]));
    assert!(said.contains("issued by ca (http-01, https://"), "{said}");
    assert!(said.contains("renewal due"), "{said}");

    // Neither a stop nor a crash asks for another one.
    daemon.stop();
    let daemon = home.run();
    assert_eq!(shown(pebble.https, &trusting, "shop.test"), first);
    daemon.kill();
    let daemon = home.run();
    assert_eq!(shown(pebble.https, &trusting, "shop.test"), first);
    let waits = daemon.until("it to be taken up", PATIENCE, |snapshot| {
        let list = snapshot["issuances"].as_array()?;
        list.first().filter(|it| it["due_at"].is_string()).cloned()
    });
    assert_eq!(
        (&waits["issued"], &waits["failures"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(pebble.issued(), 1);
}

#[test]
fn a_handshake_that_asks_for_nothing_else_convinces_the_authority() {
    let Some(pebble) = pebble(&Whims::default()) else {
        return;
    };
    let table = "challenge = 'tls-alpn-01'\nprofile = 'classic'";
    let home = Home::new(&config(&pebble, &["shop.test", "www.shop.test"], table));
    let daemon = home.run();
    let issuance = until_issued(&daemon, 1);
    assert_eq!(issuance["challenge"], "tls-alpn-01");
    let trusting = pebble.trusting();
    shown(pebble.https, &trusting, "shop.test");
    // It is over: the protocol is not spoken any more, and nobody is shown the certificate that was for the authority.
    let mut asking = trusting.clone();
    asking.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let error = handshake(pebble.https, asking, "shop.test").expect_err("nothing is to be shown");
    assert!(error.to_string().contains("alert"), "{error}");
}

#[test]
fn a_wildcard_is_issued_by_way_of_the_dns() {
    let Some(pebble) = pebble(&Whims::default()) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let hook = pebble.hook(dir.path());
    let table = format!(
        "challenge = 'dns-01'\nhook = '{}'\nhook_wait = '0s'\nprofile = 'classic'",
        hook.display()
    );
    let home = Home::new(&config(&pebble, &["*.shop.test", "shop.test"], &table));
    let daemon = home.run();
    until_issued(&daemon, 1);
    shown(pebble.https, &pebble.trusting(), "any.shop.test");
    let calls = fs::read_to_string(hook.with_extension("calls"))
        .or_else(|_| fs::read_to_string(dir.path().join("hook.calls")));
    let calls = calls.expect("it was called");
    let count = |what: &str| calls.matches(what).count();
    assert_eq!(
        (
            count("present _acme-challenge.shop.test"),
            count("cleanup _acme-challenge.shop.test")
        ),
        (2, 2),
        "{calls}"
    );
}

/// A program that notes how it is called and does nothing, and the file that it notes it in.
fn noting_hook(dir: &Path) -> (PathBuf, PathBuf) {
    let (hook, calls) = (dir.join("noting"), dir.join("noting.calls"));
    fs::write(&hook, "#!/bin/sh\necho \"$*\" >>\"$0.calls\"\n").expect("it can be written");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&hook, mode).expect("it is ours");
    (hook, calls)
}

#[test]
fn an_order_that_is_given_up_removes_its_record_from_the_dns() {
    let Some(pebble) = pebble(&Whims::default()) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (hook, calls) = noting_hook(dir.path());
    // The record needs long to be everywhere: in the middle of that, the order is given up.
    let table = format!(
        "challenge = 'dns-01'\nhook = '{}'\nhook_wait = '1h'\nprofile = 'classic'",
        hook.display()
    );
    let wanted = config(&pebble, &["shop.test"], &table);
    let home = Home::new(&wanted);
    let daemon = home.run();
    let made = |what: &str| {
        let calls = fs::read_to_string(&calls).unwrap_or_default();
        let calls = calls.lines().filter(|line| line.starts_with(what));
        calls.map(str::to_owned).collect::<Vec<_>>()
    };
    let until = |what: &str, count: usize| {
        wait(what, PATIENCE, || (made(what).len() == count).then_some(()));
    };
    until("present", 1);
    // By a reload that wants other hosts.
    home.configure(&wanted.replace("[\"shop.test\"]", "[\"www.shop.test\"]"));
    daemon.signal(rustix::process::Signal::HUP);
    until("cleanup", 1);
    until("present", 2);
    // By the end of the process.
    assert!(daemon.stop().success());
    let (made, removed) = (made("present"), made("cleanup"));
    let of = |calls: &[String]| -> BTreeSet<String> {
        let words = calls.iter().filter_map(|call| call.split_once(' '));
        words.map(|(_, record)| record.to_owned()).collect()
    };
    assert_eq!(of(&made), of(&removed), "{made:?} {removed:?}");
    assert_eq!(of(&made).len(), 2);
}

#[test]
fn an_answer_of_an_order_that_is_given_up_is_not_shown_any_longer() {
    let Some(pebble) = pebble(&Whims::default()) else {
        return;
    };
    // The authority looks elsewhere and waits for an answer there: the order stays open.
    let silent = TcpListener::bind(pebble.http).expect("it is free");
    let plain = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let plain = plain.expect("there is a free port");
    let wanted = config(&pebble, &["shop.test"], "profile = 'classic'");
    let wanted = wanted.replace(&pebble.http.to_string(), &plain.to_string());
    let home = Home::new(&wanted);
    let daemon = home.run();
    let (mut asking, _) = silent.accept().expect("the authority comes");
    let mut line = [0; 512];
    let count = asking.read(&mut line).expect("it asks");
    let line = String::from_utf8_lossy(&line[..count]);
    let path = line.split(' ').nth(1).expect("a path").to_owned();
    let answered = || {
        let answer = Client::connect(plain).ask(&format!("GET {path}"), &["Host: shop.test"], b"");
        answer.expect("it answers").status
    };
    assert_eq!(answered(), 200);
    let without: String = wanted
        .replace("certificates = ['shop']\n", "")
        .split("[[certificate]]")
        .map(|part| {
            part.split_once("[[upstream]]")
                .map_or(part, |(_, rest)| rest)
        })
        .collect::<Vec<_>>()
        .join("[[upstream]]");
    home.configure(&without);
    daemon.signal(rustix::process::Signal::HUP);
    wait("the answer to be gone", PATIENCE, || {
        (answered() != 200).then_some(())
    });
}

#[test]
fn an_authority_that_cannot_be_found_is_asked_once_for_each_attempt() {
    let deaf = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = deaf.local_addr().expect("it is bound");
    let home = Home::new(&format!(
        "[[listener]]\nname = 'https'\naddress = '127.0.0.1:0'\ncertificates = ['shop']\n\
         [[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n\
         [[certificate]]\nname = 'shop'\nacme = 'ca'\nhosts = ['shop.test']\n\
         [[acme]]\nname = 'ca'\ndirectory = 'https://{address}/dir'\naccept_terms = true\nroots_file = 'ca.pem'\n"
    ));
    Authority::new("Nobody's").write(&home.path("ca.pem"));
    let asked = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Who comes last is the test itself.
            for stream in deaf.incoming() {
                let mut first = [0; 1];
                let count = stream.and_then(|mut it| it.read(&mut first)).unwrap_or(0);
                if count == 1 && first[0] == b'.' {
                    return;
                }
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        let daemon = home.run();
        let failed = daemon.until("a failure", PATIENCE, |snapshot| {
            let issuance = snapshot["issuances"].as_array()?.first()?.clone();
            (issuance["failures"] == 1 && issuance["state"] == "waiting").then_some(issuance)
        });
        assert!(
            failed["error"]
                .as_str()
                .is_some_and(|it| it.starts_with("account: "))
        );
        drop(daemon);
        let mut last = std::net::TcpStream::connect(address).expect("it listens");
        last.write_all(b".").expect("it is read");
    });
    assert_eq!(asked.into_inner(), 1);
}

#[test]
fn an_authority_that_knows_us_already_is_told_who_we_are() {
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let whims = Whims {
        binding: Some(("kid-1", KEY)),
        ..Whims::default()
    };
    let Some(pebble) = pebble(&whims) else { return };
    let table = "eab_id = 'kid-1'\neab_key_file = 'eab.key'\nprofile = 'classic'";
    let home = Home::new(&config(&pebble, &["shop.test"], table));
    fs::write(home.path("eab.key"), format!("{KEY}\n")).expect("it can be written");
    let daemon = home.run();
    until_issued(&daemon, 1);
}

#[test]
fn short_lives_are_renewed_under_load_and_no_handshake_fails() {
    const RENEWALS: u64 = 5;
    let Some(pebble) = pebble(&Whims::default()) else {
        return;
    };
    let home = Home::new(&config(&pebble, &["shop.test"], "profile = 'moment'"));
    let daemon = home.run();
    until_issued(&daemon, 1);
    let trusting = pebble.trusting();
    let (stop, done, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let mut seen = BTreeSet::new();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    match handshake(pebble.https, trusting.clone(), "shop.test") {
                        Ok(_) => done.fetch_add(1, Ordering::Relaxed),
                        Err(error) => {
                            eprintln!("{error}");
                            failed.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                    thread::sleep(Duration::from_millis(20).saturating_sub(began.elapsed()));
                }
            });
        }
        wait("five renewals", PATIENCE * 2, || {
            seen.insert(shown(pebble.https, &trusting, "shop.test"));
            thread::sleep(Duration::from_millis(100));
            (seen.len() as u64 > RENEWALS).then_some(())
        });
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(failed.into_inner(), 0);
    assert!(done.into_inner() > 100);
    // Nothing was reloaded for it, and nothing failed.
    let snapshot = daemon.snapshot();
    assert_eq!(snapshot["config"]["generation"], 1);
    let issuance = issuance(&snapshot);
    assert_eq!(issuance["failed"], 0, "{issuance}");
    assert!(pebble.replaced() as u64 >= RENEWALS);
}

#[test]
fn a_window_that_moves_to_the_past_renews_once() {
    let Some(pebble) = pebble(&Whims::default()) else {
        return;
    };
    let table = "profile = 'classic'\nask_every = '1s'";
    let home = Home::new(&config(&pebble, &["shop.test"], table));
    let daemon = home.run();
    until_issued(&daemon, 1);
    let old = home.path("old.pem");
    fs::copy(kept(&home, "shop.pem"), &old).expect("it is there");
    let began = Instant::now();
    pebble.wants_renewed(&old, -7_200, -3_600);
    let issuance = until_issued(&daemon, 2);
    // It is asked every second, and an order takes one or two of Pebble's.
    assert!(began.elapsed() < Duration::from_secs(10), "{began:?}");
    assert!(told(&daemon.snapshot(), "cert", "see https://ca.test/why"));
    assert_eq!(pebble.replaced(), 1);
    // Said again of the one that is gone, it is nothing to the one in use.
    pebble.wants_renewed(&old, -7_200, -3_600);
    let asked = |snapshot: &Value| self::issuance(snapshot)["ask_at"].clone();
    let first = asked(&daemon.snapshot());
    daemon.until("it to be asked again, and again", PATIENCE, |snapshot| {
        let now = snapshot["at"].as_str()?.to_owned();
        (asked(snapshot) != first && now.as_str() > first.as_str()?).then_some(())
    });
    let after = self::issuance(&daemon.snapshot());
    assert_eq!(after["issued"], issuance["issued"]);
    assert_eq!((pebble.issued(), pebble.replaced()), (2, 1));
}

#[test]
fn what_the_authority_does_not_believe_is_a_ticket_that_says_why_and_ends_with_the_cause() {
    let Some(pebble) = pebble(&Whims::default()) else {
        return;
    };
    pebble.dns("/set-servfail", &json!({ "host": "shop.test" }));
    let home = Home::new(&config(&pebble, &["shop.test"], "profile = 'classic'"));
    let daemon = home.run();
    let alert = daemon.until("a ticket", PATIENCE, |snapshot| {
        let alerts = snapshot["certificate_alerts"].as_array()?;
        alerts.iter().find(|it| it["kind"] == "issuance").cloned()
    });
    assert_eq!(
        (&alert["urgency"], &alert["name"]),
        (&json!("ticket"), &json!("shop"))
    );
    let text = alert["text"].as_str().expect("a text");
    assert!(
        text.contains("there is no certificate yet: validate: shop.test: "),
        "{text}"
    );
    let failed = issuance(&daemon.snapshot());
    assert_eq!(
        (&failed["failures"], &failed["issued"]),
        (&json!(1), &json!(0))
    );
    // Not at once again, whatever is asked of it meanwhile.
    let said = home.vestibule(&["certs", "--connect", "vestibule-state/vestibule.sock"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(
        stdout(&said).contains("failed 1 times, last "),
        "{}",
        stdout(&said)
    );

    pebble.dns("/clear-servfail", &json!({ "host": "shop.test" }));
    let renewed = renew(&home);
    assert_eq!(renewed.status.code(), Some(0), "{}", stderr(&renewed));
    until_issued(&daemon, 1);
    shown(pebble.https, &pebble.trusting(), "shop.test");
    daemon.until("the end of the ticket", PATIENCE, |snapshot| {
        (snapshot["certificate_alerts"] == json!([])).then_some(())
    });
}

fn renew(home: &Home) -> std::process::Output {
    let socket = "vestibule-state/vestibule.sock";
    home.vestibule(&["certs", "renew", "shop", "--connect", socket])
}

#[test]
fn a_loop_ends_at_the_budget_and_a_restart_does_not_renew_it() {
    let Some(pebble) = pebble(&Whims::default()) else {
        return;
    };
    let home = Home::new(&config(&pebble, &["shop.test"], "profile = 'classic'"));
    let daemon = home.run();
    until_issued(&daemon, 1);
    for count in 2..=3 {
        let renewed = renew(&home);
        assert_eq!(renewed.status.code(), Some(0), "{}", stderr(&renewed));
        until_issued(&daemon, count);
    }
    let refused = |home: &Home| {
        let refused = renew(home);
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).contains("the budget of `shop` is spent"));
    };
    refused(&home);
    daemon.stop();
    let daemon = home.run();
    daemon.until("it to be taken up", PATIENCE, |snapshot| {
        let list = snapshot["issuances"].as_array()?;
        list.first().filter(|it| it["budget_left"] == 0).cloned()
    });
    refused(&home);
    assert_eq!(pebble.issued(), 3);
    let unknown = home.vestibule(&[
        "certs",
        "renew",
        "nothing",
        "--connect",
        "vestibule-state/vestibule.sock",
    ]);
    assert!(stderr(&unknown).contains("there are: shop"));
}
