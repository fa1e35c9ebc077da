//! Changing the configuration of a running daemon.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::Value;

use super::harness::{Client, Daemon, Home, PATIENCE, of, stderr, stdout, told, wait};
use super::origin::Origin;
use crate::http2::{self, Http2};
use crate::tls::{Authority, handshake};

/// Reloads under load.
const RELOADS: u64 = 200;

fn config(web: &Origin, more: &str) -> String {
    format!(
        r#"
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
        {more}
        "#,
        web.address
    )
}

fn reload(daemon: &Daemon, generation: u64) -> Value {
    daemon.signal(Signal::HUP);
    daemon.until("the reload", PATIENCE, |snapshot| {
        (snapshot["config"]["generation"] == generation).then(|| snapshot.clone())
    })
}

/// What the snapshot and the page say of the configuration's hash.
fn hash(daemon: &Daemon) -> String {
    let hash = daemon.snapshot()["config"]["hash"]
        .as_str()
        .expect("there is one")
        .to_owned();
    let shown = daemon.metrics();
    assert_eq!(shown.count("vestibule_config_info", &[("hash", &hash)]), 1);
    hash
}

#[test]
fn instances_of_one_configuration_have_one_hash_and_a_change_has_another() {
    let web = Origin::start("web");
    let plain = config(&web, "");
    let homes = [Home::new(&plain), Home::new(&plain)];
    let [one, two] = homes.each_ref().map(Home::run);
    let first = hash(&one);
    assert_eq!(hash(&two), first);
    let checked = homes[0].vestibule(&["check"]);
    assert!(stdout(&checked).ends_with(&format!("hash {first}\n")));

    homes[0].configure(&format!("# only a word\n{plain}"));
    reload(&one, 2);
    assert_eq!(hash(&one), first);
    homes[0].configure(&plain.replace("99.9%", "99.8%"));
    reload(&one, 3);
    assert_ne!(hash(&one), first, "the objective changed");
    assert_eq!(hash(&two), first);
    homes[0].configure("no configuration");
    one.signal(Signal::HUP);
    let changed = hash(&one);
    one.until("the refusal", PATIENCE, |snapshot| {
        snapshot["config"]["refused"].as_str().map(|_| ())
    });
    assert_eq!(hash(&one), changed, "what is refused is not in force");
    homes[0].configure(&plain);
    reload(&one, 4);
    assert_eq!(hash(&one), first, "as before");
}

#[test]
fn reloads_under_load_fail_no_request_and_lose_no_count() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let plain = config(&one, "");
    let more = config(
        &two,
        &format!(
            r#"
            [[upstream]]
            name = "extra"
            endpoints = ["http://{}"]

            [[route]]
            id = "extra"
            path = "/extra"
            upstream = "extra"

            [[slo]]
            id = "extra-available"
            route = "extra"
            sli = "availability"
            objective = "99%"
            "#,
            one.address
        ),
    );
    let home = Home::new(&plain);
    let daemon = home.run();
    let address = daemon.address();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let (mut client, mut sent) = (Client::connect(address), 0_u64);
                while !stop.load(Ordering::SeqCst) {
                    let answer = client.get("/").expect("no request fails in a reload");
                    assert_eq!(answer.status, 200);
                    assert!(["one", "two"].contains(&answer.text().as_str()));
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    let new_ones: Vec<_> = (0..2)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut sent = 0_u64;
                while !stop.load(Ordering::SeqCst) {
                    let answer = Client::connect(address).get("/");
                    assert_eq!(answer.expect("no connection fails in a reload").status, 200);
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    let over_http2 = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            http2::run(async {
                let (mut client, mut sent) = (Http2::connect(address).await, 0_u64);
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(client.get("/").await.status, 200);
                    sent += 1;
                }
                sent
            })
        })
    };
    let clients = clients.into_iter().chain(new_ones).chain([over_http2]);
    let clients: Vec<_> = clients.collect();
    let mut counted = 0;
    for turn in 0..RELOADS {
        home.configure(if turn % 2 == 0 { &more } else { &plain });
        let snapshot = reload(&daemon, turn + 2);
        let route = of(&snapshot["routes"], "id", "web");
        let now = route["good"].as_u64().unwrap();
        assert!(now >= counted, "the counter goes on");
        counted = now;
        let extra = snapshot["routes"].as_array().unwrap();
        let extra = extra.iter().any(|route| route["id"] == "extra");
        assert_eq!(extra, turn % 2 == 0);
        if turn == 0 {
            // Everything new is in force at once.
            assert_eq!(Client::connect(address).get("/").unwrap().text(), "two");
            assert_eq!(
                Client::connect(address).get("/extra").unwrap().text(),
                "one"
            );
            let snapshot = daemon.snapshot();
            assert_eq!(of(&snapshot["routes"], "id", "extra")["requests"], 1);
            of(&snapshot["slos"], "id", "extra-available");
            assert!(told(&snapshot, "config", "+route extra"));
            assert!(told(&snapshot, "config", "~upstream web"));
        }
    }
    stop.store(true, Ordering::SeqCst);
    let sent: u64 = clients
        .into_iter()
        .map(|client| client.join().expect("no request failed"))
        .sum::<u64>()
        + 1;
    daemon.until("every request to be counted", PATIENCE, |snapshot| {
        let route = of(&snapshot["routes"], "id", "web");
        (route["requests"] == sent).then_some(())
    });
    let snapshot = daemon.snapshot();
    let route = of(&snapshot["routes"], "id", "web");
    assert_eq!((&route["good"], &route["bad"]), (&sent.into(), &0.into()));
    assert_eq!(of(&snapshot["slos"], "id", "available")["good"], sent);
    assert_eq!(daemon.address(), address, "the listener stayed");
    assert!(daemon.stop().success());
}

#[test]
fn a_bad_file_leaves_the_old_configuration_running_and_says_so() {
    let origin = Origin::start("web");
    let good = config(&origin, "");
    let home = Home::new(&good);
    let daemon = home.run();
    let mut client = Client::connect(daemon.address());
    assert_eq!(client.get("/").unwrap().status, 200);

    home.configure(&good.replace("99.9%", "101%"));
    daemon.signal(Signal::HUP);
    let snapshot = daemon.until("the refusal", PATIENCE, |snapshot| {
        snapshot["config"]["refused"]
            .is_string()
            .then(|| snapshot.clone())
    });
    let refused = snapshot["config"]["refused"].as_str().unwrap();
    assert!(refused.contains("objective"), "{refused}");
    assert_eq!(snapshot["config"]["generation"], 1);
    of(&snapshot["degraded"], "part", "config");
    assert!(told(&snapshot, "config", "reload refused"));
    let metrics = daemon.metrics();
    assert_eq!(
        metrics.count("vestibule_config_last_reload_refused", &[]),
        1
    );
    assert_eq!(
        metrics.count("vestibule_degraded", &[("part", "config")]),
        1
    );
    assert_eq!(metrics.count("vestibule_config_generation", &[]), 1);
    assert_eq!(client.get("/").unwrap().status, 200);

    home.configure(&good);
    let snapshot = reload(&daemon, 2);
    assert!(snapshot["config"]["refused"].is_null());
    assert!(snapshot["degraded"].as_array().unwrap().is_empty());
    let metrics = daemon.metrics();
    assert_eq!(
        metrics.count("vestibule_config_last_reload_refused", &[]),
        0
    );
    assert_eq!(
        metrics.count("vestibule_degraded", &[("part", "config")]),
        0
    );
    assert!(daemon.stop().success());
}

#[test]
fn what_the_command_line_overrides_holds_over_a_reload_or_the_file_is_refused() {
    let origin = Origin::start("web");
    let good = config(&origin, "");
    let home = Home::new(&good);
    let elsewhere = home.path("elsewhere");
    let state = elsewhere.to_str().unwrap();
    let daemon = home.run_with(
        &["--listen", "127.0.0.1:0", "--state-dir", state],
        &elsewhere.join("vestibule.sock"),
    );
    let address = daemon.address();
    // Now it is unclear which listener should be elsewhere.
    let second = "[[listener]]\nname = \"second\"\naddress = \"127.0.0.1:0\"\n";
    home.configure(&format!("{second}{good}"));
    daemon.signal(Signal::HUP);
    let refused = daemon.until("the refusal", PATIENCE, |snapshot| {
        snapshot["config"]["refused"].as_str().map(str::to_owned)
    });
    assert!(refused.contains("listeners"), "{refused}");
    assert_eq!(daemon.address(), address);
    home.configure(&good);
    let snapshot = reload(&daemon, 2);
    assert!(
        told(&snapshot, "config", "generation 2 applied: no change"),
        "{:#}",
        snapshot["events"]
    );
    assert_eq!(daemon.address(), address);
    assert!(daemon.stop().success());
}

#[test]
fn listeners_come_and_go() {
    let origin = Origin::start("web");
    let plain = config(&origin, "");
    let extra = "[[listener]]\nname = \"extra\"\naddress = \"127.0.0.1:0\"\n";
    let home = Home::new(&plain);
    let daemon = home.run();
    let first = daemon.address();

    home.configure(&format!("{extra}{plain}"));
    reload(&daemon, 2);
    let added = daemon.listener("extra").expect("it is there");
    for _ in 0..20 {
        assert_eq!(Client::connect(added).get("/").unwrap().status, 200);
    }
    assert_eq!(daemon.listener("http"), Some(first));

    home.configure(&plain);
    reload(&daemon, 3);
    assert_eq!(daemon.listener("extra"), None);
    wait("it to be closed", PATIENCE, || {
        TcpStream::connect(added).is_err().then_some(())
    });
    assert_eq!(Client::connect(first).get("/").unwrap().status, 200);

    // One that cannot be had is refused as a whole.
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap();
    home.configure(&format!(
        "[[listener]]\nname = \"extra\"\naddress = \"{address}\"\n{plain}"
    ));
    daemon.signal(Signal::HUP);
    let refused = daemon.until("the refusal", PATIENCE, |snapshot| {
        snapshot["config"]["refused"].as_str().map(str::to_owned)
    });
    assert!(refused.contains(&address.to_string()), "{refused}");
    assert_eq!(Client::connect(first).get("/").unwrap().status, 200);
    assert!(daemon.stop().success());
}

#[test]
fn a_new_certificate_is_served_after_a_reload() {
    let origin = Origin::start("web");
    let tls = config(&origin, "").replace(
        "address = \"127.0.0.1:0\"",
        "address = \"127.0.0.1:0\"\ncertificates = [\"edge\"]",
    );
    let home = Home::new(&format!(
        "{tls}\n[[certificate]]\nname = \"edge\"\nchain_file = \"edge.pem\"\nkey_file = \"edge-key.pem\"\n"
    ));
    let authority = Authority::new("ours");
    let first = renew(&home, &authority, "edge");
    let daemon = home.run();
    let address = daemon.address();
    assert_eq!(shown(address, &authority), first);

    let second = renew(&home, &authority, "edge");
    assert_ne!(first, second);
    assert_eq!(shown(address, &authority), first, "not by itself");
    let snapshot = reload(&daemon, 2);
    assert_eq!(shown(address, &authority), second);
    // The file is as it was, and yet this is a change that may have broken something.
    let renewed = "generation 2 applied: certificate edge renewed";
    assert!(
        told(&snapshot, "config", renewed),
        "{:#}",
        snapshot["events"]
    );
    let snapshot = reload(&daemon, 3);
    assert!(told(&snapshot, "config", "generation 3 applied: no change"));

    // A certificate of another key is refused, and the old pair goes on.
    renew(&home, &authority, "other");
    fs::copy(home.path("other.pem"), home.path("edge.pem")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.until("the refusal", PATIENCE, |snapshot| {
        snapshot["config"]["refused"].is_string().then_some(())
    });
    assert_eq!(shown(address, &authority), second);
    assert!(daemon.stop().success());
}

#[test]
fn a_deploy_is_recorded_and_an_unknown_upstream_is_refused_with_those_there_are() {
    let origin = Origin::start("web");
    let home = Home::new(&config(&origin, ""));
    let daemon = home.run();
    let deployed = home.vestibule(&["deploy", "web", "4f9c2", "--by", "ci"]);
    assert_eq!(deployed.status.code(), Some(0), "{}", stderr(&deployed));
    assert!(
        stdout(&deployed).contains("deploy web 4f9c2 by ci"),
        "{}",
        stdout(&deployed)
    );
    let snapshot = daemon.snapshot();
    assert!(told(&snapshot, "deploy", "web 4f9c2 by ci"));
    assert_eq!(
        of(&snapshot["upstreams"], "name", "web")["version"],
        "4f9c2"
    );

    let json = home.vestibule(&["deploy", "web", "5a000", "--json"]);
    let event: Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(event["kind"], "deploy");
    assert_eq!(event["scope"]["version"], "5a000");

    let unknown = home.vestibule(&["deploy", "wbe", "v1"]);
    assert_eq!(unknown.status.code(), Some(64));
    let said = stderr(&unknown);
    assert!(
        said.contains("`wbe`") && said.contains("there are: web"),
        "{said}"
    );
    let long = home.vestibule(&["deploy", "web", &"v".repeat(65)]);
    assert_eq!(long.status.code(), Some(64));
    assert!(daemon.stop().success());

    // It is part of the history.
    let daemon = home.run();
    let snapshot = daemon.snapshot();
    assert!(told(&snapshot, "deploy", "web 5a000"));
    assert_eq!(
        of(&snapshot["upstreams"], "name", "web")["version"],
        "5a000"
    );
    assert!(daemon.stop().success());
    assert_eq!(
        home.vestibule(&["deploy", "web", "v1"]).status.code(),
        Some(69)
    );
}

/// Writes a new certificate for `localhost` and its key as `name`; gives it as it is shown in a handshake.
fn renew(home: &Home, authority: &Authority, name: &str) -> Vec<u8> {
    let pair = authority.vouch_for(&["localhost"]);
    pair.write(&home.path(""), name);
    pair.der
}

/// The certificate that is shown to a client.
fn shown(address: SocketAddr, authority: &Authority) -> Vec<u8> {
    let stream = handshake(address, authority.trusting(), "localhost").expect("it is trusted");
    let chain = stream.conn.peer_certificates();
    chain.expect("the handshake is done")[0].to_vec()
}
