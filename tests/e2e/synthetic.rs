//! Synthetic probes and certificates: every probe that is shipped is well against a real server, and fails for its own
//! reason when that server is broken in the way it guards against.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use serde_json::Value;
use time::OffsetDateTime;

use crate::daemon::{one_route, until};
use crate::harness::{Client, Home, PATIENCE, wait};
use crate::origin::Origin;

mod blackbox;
mod journeys;
mod names;
mod placing;
mod resolvers;
mod services;

/// A server that says the same to everyone, after `wait`, once it has heard something or at once.
fn says(text: &'static str, at_once: bool, wait: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            thread::spawn(move || {
                let mut heard = [0; 4_096];
                if !at_once && stream.read(&mut heard).is_err() {
                    return;
                }
                thread::sleep(wait);
                // Whoever asked may have gone.
                drop(stream.write_all(text.as_bytes()));
                drop(stream.shutdown(std::net::Shutdown::Write));
                drop(stream.read(&mut heard));
            });
        }
    });
    address
}

fn page(text: &'static str) -> SocketAddr {
    says(text, false, Duration::ZERO)
}

fn speaks(text: &'static str) -> SocketAddr {
    says(text, true, Duration::ZERO)
}

/// A port that nobody listens on.
fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// Runs one shipped probe; gives its reason, or `ok`, and all that was found.
fn probe(name: &str, variables: &[(&str, String)]) -> (String, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command
        .args(["probe", "run", name, "--json", "--dir"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("synthetic"))
        .current_dir(std::env::temp_dir());
    for (variable, value) in variables {
        command.env(variable, value);
    }
    let output = command.output().expect("it runs");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        panic!("{}", String::from_utf8_lossy(&output.stderr));
    });
    let found = found["probes"][0].clone();
    let reason = found["reason"].as_str().unwrap_or("ok").to_owned();
    let code = output.status.code();
    assert_eq!(code, Some(i32::from(reason != "ok")), "{found}");
    (reason, found)
}

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 35\r\n\r\n\
                    <html><title>shop</title>  </html>\n";

#[test]
fn pages_fail_for_their_own_reasons() {
    let slow = says(FINE, false, Duration::from_millis(2_300));
    for (name, server, reason) in [
        ("shop-front", page(FINE), "ok"),
        (
            "shop-front",
            page("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n"),
            "http_status",
        ),
        (
            "shop-front",
            page("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 7\r\n\r\n</html>"),
            "assert_header",
        ),
        (
            "shop-front",
            page("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"),
            "assert_body",
        ),
        (
            "shop-front",
            page(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 16\r\n\r\nTraceback</html>",
            ),
            "assert_body",
        ),
        (
            "shop-front",
            page("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 99\r\n\r\n</html>"),
            "http_reset",
        ),
        ("shop-front", page("smtp?\r\n"), "http_reset"),
        ("shop-front", slow, "assert_latency"),
        ("shop-front", closed(), "connect_refused"),
        ("shop-old-address", page(FINE), "ok"),
        (
            "shop-old-address",
            page("HTTP/1.1 301 Moved\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n"),
            "redirect_loop",
        ),
        (
            "shop-old-address",
            page("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            "assert_body",
        ),
        (
            "shop-admin-is-closed",
            page("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n"),
            "ok",
        ),
        ("shop-admin-is-closed", page(FINE), "http_status"),
    ] {
        let (found, all) = probe(name, &[("SHOP", format!("http://{server}"))]);
        assert_eq!(found, reason, "{name}: {all}");
    }
}

#[test]
fn a_failed_run_keeps_the_phases_it_came_to() {
    let hangs = says("", false, Duration::from_secs(60));
    let (reason, found) = probe("shop-front", &[("SHOP", format!("http://{hangs}"))]);
    assert_eq!(reason, "http_timeout_headers");
    let phases = found["phases"].as_object().expect("phases");
    assert!(
        phases.contains_key("connect_us") && !phases.contains_key("transfer_us"),
        "{found}"
    );
    let waited = phases["processing_us"].as_u64().expect("a time");
    assert!((4_000_000..6_500_000).contains(&waited), "{waited}");
}

#[test]
fn ports_fail_for_their_own_reasons() {
    for (name, variable, server, reason) in [
        (
            "mail-greets",
            "MAIL",
            speaks("220 mail.test ESMTP\r\n"),
            "ok",
        ),
        (
            "mail-greets",
            "MAIL",
            speaks("421 no room\r\n"),
            "assert_body",
        ),
        ("mail-greets", "MAIL", closed(), "connect_refused"),
        ("cache-answers", "CACHE", page("+PONG\r\n"), "ok"),
        ("cache-answers", "CACHE", page("-NOAUTH\r\n"), "assert_body"),
        ("database-is-not-public", "DATABASE", closed(), "ok"),
        (
            "database-is-not-public",
            "DATABASE",
            speaks("x"),
            "assert_failure",
        ),
    ] {
        let (found, all) = probe(name, &[(variable, server.to_string())]);
        assert_eq!(found, reason, "{name}: {all}");
    }
}

/// A root, and what is signed by it and below it.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a root").pem();
        Self { params, key, pem }
    }

    fn below(&self, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let pem = params.signed_by(&key, &issuer).expect("signed").pem();
        Self { params, key, pem }
    }

    /// A certificate that lives from `from` to `to` seconds from now, and its key.
    fn vouch(&self, name: &str, from: i64, to: i64) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        let now = OffsetDateTime::now_utc();
        params.not_before = now + time::Duration::seconds(from);
        params.not_after = now + time::Duration::seconds(to);
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let pem = params.signed_by(&key, &issuer).expect("signed").pem();
        (pem, key.serialize_pem())
    }
}

/// A running `openssl s_server`. Killed when it goes.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(dir: &Path, chain: &str, key: &str) -> Self {
        Self::with(dir, chain, key, &[])
    }

    /// One that is told this as well.
    fn with(dir: &Path, chain: &str, key: &str, more: &[&str]) -> Self {
        fs::write(dir.join("chain.pem"), chain).expect("written");
        fs::write(dir.join("key.pem"), key).expect("written");
        let mut child = Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                "127.0.0.1:0",
                "-www",
                "-cert_chain",
                "chain.pem",
            ])
            .args(["-cert", "chain.pem", "-key", "key.pem"])
            .args(more)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut told = lines.map_while(Result::ok);
        let address = told
            .find_map(|line| Some(line.strip_prefix("ACCEPT ")?.to_owned()))
            .expect("it says where it listens");
        thread::spawn(move || told.count());
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const DAY: i64 = 86_400;

#[test]
fn a_bad_chain_is_told_by_its_reason_and_still_described() {
    let dir = tempfile::tempdir().expect("a directory");
    let roots = dir.path().join("roots.pem");
    let root = Authority::new("a root");
    let between = root.below("an intermediate");
    fs::write(&roots, &root.pem).expect("written");
    let stranger = Authority::new("a stranger");
    let whole = |(leaf, key): (String, String)| (format!("{leaf}{}", between.pem), key);
    for (reason, chain, key) in [
        ("ok", whole(between.vouch("shop.example", -DAY, 80 * DAY))),
        (
            "tls_expired",
            whole(between.vouch("shop.example", -90 * DAY, -DAY)),
        ),
        (
            "tls_not_yet",
            whole(between.vouch("shop.example", DAY, 90 * DAY)),
        ),
        (
            "tls_name",
            whole(between.vouch("bank.example", -DAY, 80 * DAY)),
        ),
        (
            "tls_incomplete",
            between.vouch("shop.example", -DAY, 80 * DAY),
        ),
        ("tls_untrusted", {
            let (leaf, key) = stranger.vouch("shop.example", -DAY, 80 * DAY);
            (format!("{leaf}{}", stranger.pem), key)
        }),
        (
            "assert_certificate",
            whole(between.vouch("shop.example", -80 * DAY, 10 * DAY)),
        ),
    ]
    .map(|(reason, (chain, key))| (reason, chain, key))
    {
        let server = Server::start(dir.path(), &chain, &key);
        let (found, all) = probe(
            "shop-tls",
            &[
                ("SHOP_TLS", server.address.clone()),
                ("ROOTS", roots.display().to_string()),
            ],
        );
        assert_eq!(found, reason, "{all}");
        let leaf = &all["chain"][0];
        assert_eq!(
            leaf["names"].as_array().expect("names").len(),
            1,
            "{reason}"
        );
        assert!(
            leaf["not_after"].is_string() && leaf["not_before"].is_string(),
            "{reason}"
        );
        let phases = all["phases"].as_object().expect("phases");
        assert!(
            phases.contains_key("connect_us") && phases.contains_key("tls_us"),
            "{reason}"
        );
    }
    // A port that does not speak TLS at all.
    let plain = speaks("220 mail.test ESMTP\r\n").to_string();
    let (found, all) = probe(
        "shop-tls",
        &[("SHOP_TLS", plain), ("ROOTS", roots.display().to_string())],
    );
    assert_eq!(found, "tls_alert", "{all}");
}

/// A directory for a daemon with a TLS listener `https` for `shop.example`, with this certificate.
fn with_certificate(origin: &Origin, root: &Authority, pair: &(String, String)) -> Home {
    let home = Home::new(&format!(
        "proxy.workers = 1\n{}hosts = ['shop.example']\n\
         [[certificate]]\nname = 'shop'\nchain_file = 'shop.pem'\nkey_file = 'shop-key.pem'\n\
         [[listener]]\nname = 'https'\naddress = '127.0.0.1:0'\ncertificates = ['shop']\n",
        one_route(&[origin.url()])
    ));
    install(&home, pair);
    fs::write(home.path("roots.pem"), &root.pem).expect("written");
    home
}

fn install(home: &Home, (chain, key): &(String, String)) {
    fs::write(home.path("shop.pem"), chain).expect("written");
    fs::write(home.path("shop-key.pem"), key).expect("written");
}

#[test]
fn the_proxy_speaks_http2_to_a_probe_and_counts_it_for_nobody() {
    let (origin, root) = (Origin::ok(), Authority::new("a root"));
    let pair = root.vouch("shop.example", -DAY, 80 * DAY);
    let home = with_certificate(&origin, &root, &pair);
    let daemon = home.run();
    let variables = [
        (
            "SHOP_TLS",
            daemon.listener("https").expect("it listens").to_string(),
        ),
        ("ROOTS", home.path("roots.pem").display().to_string()),
    ];
    let (found, all) = probe("shop-over-http2", &variables);
    assert_eq!(found, "ok", "{all}");
    assert_eq!(all["http_version"], "HTTP/2");
    let counts = || {
        let metrics = daemon.metrics();
        let of = |series| metrics.sum(series, &[]);
        (
            of("vestibule_requests_total"),
            of("vestibule_probe_requests_total"),
        )
    };
    // A server that does not speak it says so in the handshake, or ignores what it is offered.
    let dir = tempfile::tempdir().expect("a directory");
    for (more, reason) in [
        (&["-alpn", "http/1.1"][..], "tls_alert"),
        (&[], "assert_protocol"),
    ] {
        let older = Server::with(dir.path(), &pair.0, &pair.1, more);
        let variables = [("SHOP_TLS", older.address.clone()), variables[1].clone()];
        let (found, all) = probe("shop-over-http2", &variables);
        assert_eq!(found, reason, "{all}");
    }
    // Without the key it is a user like any other; with it, it is nobody.
    until("a user", || (counts() == (1, 0)).then_some(()));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("synthetic");
    let marked = home
        .command(&["probe", "run", "shop-over-http2", "--key-file"])
        .arg(home.state().join("probe.key"))
        .arg("--dir")
        .arg(shipped)
        .envs(variables)
        .output()
        .expect("it runs");
    assert!(marked.status.success(), "{marked:?}");
    until("a probe", || (counts() == (1, 1)).then_some(()));
}

#[test]
fn a_daemon_runs_its_probes_and_a_killed_one_leaves_no_slot_unaccounted() {
    let origin = Origin::ok();
    let home = Home::new(&format!(
        "proxy.workers = 1\nprobes.dir = 'synthetic'\n{}\
         [[slo]]\nid = 's'\nroute = 'r'\nsli = 'probe'\nprobe = 'direct'\nobjective = '99%'\n\
         [[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n",
        one_route(&[origin.url()])
    ));
    fs::create_dir(home.path("synthetic")).expect("made");
    let hangs = says("", false, Duration::from_secs(60));
    fs::write(
        home.path("synthetic/a.toml"),
        format!(
            "[[probe]]\nname = 'direct'\ntarget = '{}'\nevery = '1s'\n\
             [[probe]]\nname = 'hanging'\ntarget = 'http://{hangs}'\nevery = '1s'\ntimeout = '3s'\n",
            origin.url()
        ),
    )
    .expect("written");
    let daemon = home.run();
    let of_probe =
        |snapshot: &Value, place: usize, key: &str| snapshot["probes"][place][key].clone();
    daemon.until(
        "six good slots and three bad ones",
        crate::daemon::DEADLINE,
        |snapshot| {
            let good = of_probe(snapshot, 0, "ok").as_u64()?;
            let bad = of_probe(snapshot, 1, "failed").as_u64()?;
            assert_eq!(of_probe(snapshot, 0, "failed"), 0);
            // What was handed to the store is five seconds old at most.
            (good >= 6 && bad >= 3).then_some(())
        },
    );
    let snapshot = daemon.snapshot();
    assert_eq!(
        of_probe(&snapshot, 1, "last")["reason"],
        "http_timeout_headers"
    );
    assert_eq!(
        of_probe(&snapshot, 0, "missed"),
        0,
        "one that hangs delays no other"
    );
    let slo = &snapshot["slos"][0];
    assert!(slo["good"].as_u64() >= Some(6) && slo["bad"] == 0, "{slo}");
    assert_eq!(snapshot["routes"][0]["requests"], 0, "probes are no users");
    daemon.kill();
    // Six slots, as 30 s are of a probe that is run every 5 s; schedules of all lengths are held to the same in model time.
    thread::sleep(Duration::from_secs(6));
    let daemon = home.run();
    daemon.until(
        "slots after the restart",
        crate::daemon::DEADLINE,
        |snapshot| {
            let now = of_probe(snapshot, 0, "last")["at"].as_str()?.to_owned();
            let started = snapshot["started_at"].as_str()?.to_owned();
            (now > started).then_some(())
        },
    );
    let answer = home.vestibule(&["probe", "history", "direct", "--json", "--limit", "1000"]);
    daemon.until("its record", crate::daemon::DEADLINE, |_| {
        // Slots of this life are in the store a little later.
        thread::sleep(Duration::from_secs(1));
        let answer = home.vestibule(&["probe", "history", "direct", "--json", "--limit", "1000"]);
        let slots: Vec<Value> = serde_json::from_slice(&answer.stdout).ok()?;
        let down = slots.iter().rposition(|slot| slot["reason"] == "down")?;
        (down > 0).then_some(())
    });
    assert!(answer.status.success());
    let answer = home.vestibule(&["probe", "history", "direct", "--json", "--limit", "1000"]);
    let mut slots: Vec<Value> = serde_json::from_slice(&answer.stdout).expect("JSON");
    slots.reverse();
    let at = |slot: &Value| {
        let text = slot["at"].as_str().expect("a time");
        let at: vestibule::model::Timestamp = text.parse().expect("a time");
        at.as_millis()
    };
    let mut next = at(&slots[0]);
    for slot in &slots {
        assert_eq!(
            at(slot),
            next,
            "no slot is missing and none is there twice: {slots:#?}"
        );
        next += slot["slots"].as_u64().expect("a number") * 1_000;
    }
    // Nothing is made up for: each slot that was run was run at its own time, and not at the start together.
    let lags = slots.iter().filter(|slot| slot["outcome"] == "ok");
    for lag in lags.map(|slot| slot["lag_us"].as_u64().expect("a number")) {
        assert!(lag < 900_000, "{slots:#?}");
    }
    let down = slots.iter().filter(|slot| slot["reason"] == "down");
    let down: u64 = down
        .map(|slot| slot["slots"].as_u64().expect("a number"))
        .sum();
    assert!((6..60).contains(&down), "{slots:#?}");
}

#[test]
fn a_probe_hurries_while_its_route_is_in_trouble_and_weighs_the_same() {
    let origin = Origin::answering("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n");
    let home = Home::new(&format!(
        "proxy.workers = 1\nprobes.dir = 'synthetic'\n{}\
         [[slo]]\nid = 'users'\nroute = 'r'\nsli = 'availability'\nobjective = '99%'\npolicy = 'quick'\n\
         [[slo]]\nid = 'outside'\nroute = 'r'\nsli = 'probe'\nprobe = 'direct'\nobjective = '99%'\n\
         [[policy]]\nname = 'quick'\n\
         [[policy.row]]\nseverity = 'page'\ntier = 'fast'\nlong = '20s'\nshort = '10s'\nfactor = 2.0\n\
         [[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n",
        one_route(&[origin.url()])
    ));
    fs::create_dir(home.path("synthetic")).expect("made");
    fs::write(
        home.path("synthetic/a.toml"),
        format!(
            "[[probe]]\nname = 'direct'\ntarget = '{}'\nevery = '6s'\nroute = 'r'\n",
            origin.url()
        ),
    )
    .expect("written");
    let daemon = home.run();
    let mut users = Client::connect(daemon.address());
    let counted = daemon.until("eight slots", PATIENCE, |snapshot| {
        // Users are what puts the route in trouble.
        assert_eq!(users.get("/").expect("it answers").status, 500);
        let failed = snapshot["probes"][0]["failed"].as_u64()?;
        (failed >= 8).then(|| {
            let slo = crate::harness::of(&snapshot["slos"], "id", "outside");
            (failed, slo["bad"].as_u64().expect("a number"))
        })
    });
    let (failed, seconds) = counted;
    assert!(
        seconds < failed * 6,
        "{failed} slots weigh {seconds} s: the short ones weigh less"
    );
}

#[test]
fn a_certificate_near_its_end_pages_until_it_is_renewed() {
    let (origin, root) = (Origin::ok(), Authority::new("a root"));
    // Five minutes of life, of which 40 seconds are left: below 15 %.
    let home = with_certificate(&origin, &root, &root.vouch("shop.example", -260, 40));
    let hook = Origin::ok();
    let config = fs::read_to_string(home.path("vestibule.toml")).expect("it was written");
    home.configure(&format!(
        "{config}[[notify]]\nname = 'pager'\nkind = 'webhook'\nurl = '{}'\n",
        hook.url()
    ));
    let daemon = home.run();
    let certs = |format: &str| {
        let output = home.vestibule(&["certs", format]);
        let text = String::from_utf8(output.stdout).expect("a text");
        (output.status.code(), text)
    };
    let listed = until("a page", || {
        let (code, text) = certs("--json");
        let seen: Vec<Value> = serde_json::from_str(&text).ok()?;
        (code == Some(2) && seen.len() == 2).then_some(seen)
    });
    let places: Vec<_> = listed.iter().map(|view| view["source"].clone()).collect();
    assert!(
        places.contains(&"file".into()) && places.contains(&"listener".into()),
        "{listed:?}"
    );
    let alerts = daemon.snapshot()["certificate_alerts"].clone();
    let alerts = alerts.as_array().expect("a list");
    assert_eq!(
        alerts.len(),
        1,
        "one certificate is one trouble: {alerts:?}"
    );
    assert_eq!(alerts[0]["urgency"], "page");
    let told = |place: usize| -> Value {
        // An end is told a minute after it.
        let patience = PATIENCE + Duration::from_secs(60);
        let message = wait("a message", patience, || {
            hook.requests().get(place).cloned()
        });
        serde_json::from_slice(&message.body).expect("it is JSON")
    };
    let paged = told(0);
    assert_eq!(paged["status"], "firing", "{paged}");
    assert_eq!(
        (&paged["alert"]["kind"], &paged["alert"]["severity"]),
        (&"certificate".into(), &"page".into())
    );
    let snapshot = daemon.snapshot();
    assert_eq!(snapshot["verdict"]["side"], "certificate");
    assert_eq!(snapshot["verdict"]["severity"], "crit");
    assert_eq!(snapshot["alerts"][0]["id"], paged["alert"]["id"]);
    assert_eq!(home.vestibule(&["status"]).status.code(), Some(2));
    assert!(certs("--ics").1.contains("SUMMARY:"));
    install(&home, &root.vouch("shop.example", -1, 80 * DAY));
    daemon.signal(Signal::HUP);
    until("all well", || (certs("--json").0 == Some(0)).then_some(()));
    let ended = told(1);
    assert_eq!(ended["status"], "resolved", "{ended}");
    assert_eq!(ended["alert"]["id"], paged["alert"]["id"]);
    assert_eq!(
        daemon
            .metrics()
            .sum("vestibule_certificate_name_match", &[]),
        1
    );
}
