//! Where a fault lies: twelve of them, each broken into a real name server, listener, route or service behind the real
//! program, and what it makes of them within two slots.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::blackbox::free;
use super::resolvers::{Named, nsupdate};
use super::{Authority, DAY, install};
use crate::harness::{Daemon, Home, skip};

/// How the service behind the ingress fares.
#[derive(Clone, Copy)]
enum Mode {
    Well,
    /// It answers, after 300 ms.
    Slow,
    /// It answers 500.
    Broken,
    /// It takes requests and says nothing.
    Hanging,
    /// Nobody listens.
    Gone,
}

/// A service that fares as it is told.
struct Service {
    address: SocketAddr,
    mode: Arc<AtomicU8>,
}

impl Service {
    fn start() -> Self {
        let mut listener = Some(TcpListener::bind("127.0.0.1:0").expect("a port"));
        let address = listener.as_ref().map(|it| it.local_addr().expect("bound"));
        let address = address.expect("it listens");
        let mode = Arc::new(AtomicU8::new(Mode::Well as u8));
        let is = Arc::clone(&mode);
        thread::spawn(move || {
            while Arc::strong_count(&is) > 1 {
                let now = is.load(Ordering::SeqCst);
                if now == Mode::Gone as u8 {
                    listener = None;
                } else if listener.is_none() {
                    listener = TcpListener::bind(address).ok();
                }
                let Some(listening) = &listener else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                listening.set_nonblocking(true).expect("it is ours");
                match listening.accept() {
                    Ok((stream, _)) => drop(thread::spawn(move || serve(stream, now))),
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Self { address, mode }
    }

    fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }
}

fn serve(mut stream: TcpStream, mode: u8) {
    stream.set_nonblocking(false).expect("it is ours");
    let mut heard = [0; 4_096];
    // A health check connects and says nothing.
    if !matches!(stream.read(&mut heard), Ok(1..)) {
        return;
    }
    if mode == Mode::Hanging as u8 {
        thread::sleep(Duration::from_secs(3));
        return;
    }
    if mode == Mode::Slow as u8 {
        thread::sleep(Duration::from_millis(300));
    }
    let status = if mode == Mode::Broken as u8 {
        "500 Oh"
    } else {
        "200 OK"
    };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfine");
    // Whoever asked may have gone.
    drop(stream.write_all(answer.as_bytes()));
}

/// A listener with a certificate, and one route with these further keys.
fn config(listener: SocketAddr, service: SocketAddr, route: &str) -> String {
    format!(
        "proxy.workers = 1\nprobes.dir = 'synthetic'\n\
         [[certificate]]\nname = 'shop'\nchain_file = 'shop.pem'\nkey_file = 'shop-key.pem'\n\
         [[listener]]\nname = 'https'\naddress = '{listener}'\ncertificates = ['shop']\n\
         [[upstream]]\nname = 'u'\nendpoints = ['http://{service}']\n\
         [[route]]\nid = 'shop'\nupstream = 'u'\n{route}"
    )
}

fn probe(home: &Home, listener: SocketAddr, resolver: SocketAddr) {
    fs::create_dir_all(home.path("synthetic")).expect("made");
    fs::write(
        home.path("synthetic/shop.toml"),
        format!(
            "[[probe]]\nname = 'front'\ntarget = 'https://shop.example:{}/'\nroute = 'shop'\ncompare = true\n\
             every = '1s'\ntimeout = '900ms'\nresolver = '{resolver}'\ntls.roots_file = '../roots.pem'\n\
             expect.body = ['fine']\n",
            listener.port()
        ),
    )
    .expect("written");
}

/// What the verdict that a probe makes says, of whatever rank it is.
fn placed(snapshot: &Value) -> Option<(String, String, String)> {
    let others = snapshot["other_verdicts"].as_array().into_iter().flatten();
    let mut all = std::iter::once(&snapshot["verdict"]).chain(others);
    let verdict = all.find(|it| it["outside"]["probe"] == "front")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Some((
        text(&verdict["outside"]["place"]),
        text(&verdict["side"]),
        text(&verdict["text"]),
    ))
}

/// What breaks something, and what mends it.
type Act<'a> = Box<dyn FnOnce() + 'a>;

/// Breaks something, and says what is made of it, and after how many failed slots; then mends it.
fn broken(
    daemon: &Daemon,
    what: &str,
    breaks: impl FnOnce(),
    mends: impl FnOnce(),
) -> (String, String, u64) {
    let failed = |snapshot: &Value| snapshot["probes"][0]["failed"].as_u64();
    let before = failed(&daemon.snapshot()).expect("it is run");
    breaks();
    let (place, side, after) = daemon.until(what, crate::daemon::DEADLINE, |snapshot| {
        let (place, side, text) = placed(snapshot)?;
        assert!(!text.is_empty());
        Some((place, side, failed(snapshot)?))
    });
    mends();
    daemon.until("all well again", crate::daemon::DEADLINE, |snapshot| {
        let is_well = snapshot["probes"][0]["standing"] == "ok";
        (placed(snapshot).is_none() && is_well).then_some(())
    });
    (place, side, after - before)
}

#[test]
fn twelve_faults_are_placed_right_within_two_slots() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(named) = Named::start(dir.path(), "@ 1 IN A 127.0.0.1\n") else {
        skip("named is not installed");
        return;
    };
    let point_at = |addresses: &[&str]| nsupdate(named.address, "shop.example", addresses);
    if !point_at(&["127.0.0.1"]) {
        skip("nsupdate is not installed");
        return;
    }
    let (root, stranger) = (Authority::new("a root"), Authority::new("a stranger"));
    let (service, listener) = (Service::start(), free());
    let home = Home::new(&config(listener, service.address, ""));
    let good = root.vouch("shop.example", -DAY, 80 * DAY);
    install(&home, &good);
    fs::write(home.path("roots.pem"), &root.pem).expect("written");
    probe(&home, listener, named.address);
    let daemon = home.run();
    daemon.until("all four to be well", crate::daemon::DEADLINE, |snapshot| {
        let views = snapshot["probes"][0]["views"].as_array()?;
        let well = views.iter().filter(|view| view["reason"].is_null()).count();
        (well == 3 && snapshot["probes"][0]["standing"] == "ok").then_some(())
    });
    let show = |pair: &(String, String)| {
        install(&home, pair);
        daemon.signal(Signal::HUP);
    };
    let route = |keys: &str| {
        home.configure(&config(listener, service.address, keys));
        daemon.signal(Signal::HUP);
    };
    let mut wrong = Vec::new();
    let faults: Vec<(&str, &str, &str, Act<'_>, Act<'_>)> = vec![
        (
            "a name that is gone",
            "dns",
            "network",
            Box::new(|| assert!(point_at(&[]))),
            Box::new(|| assert!(point_at(&["127.0.0.1"]))),
        ),
        (
            "a resolver that is silent",
            "dns",
            "network",
            Box::new(|| named.signal(Signal::STOP)),
            Box::new(|| named.signal(Signal::CONT)),
        ),
        (
            "a name that leads elsewhere",
            "dns",
            "network",
            Box::new(|| assert!(point_at(&["127.0.0.77"]))),
            Box::new(|| assert!(point_at(&["127.0.0.1"]))),
        ),
        (
            "an expired certificate",
            "tls",
            "certificate",
            Box::new(|| show(&root.vouch("shop.example", -9 * DAY, -DAY))),
            Box::new(|| show(&good)),
        ),
        (
            "another's certificate",
            "tls",
            "certificate",
            Box::new(|| show(&root.vouch("bank.example", -DAY, 80 * DAY))),
            Box::new(|| show(&good)),
        ),
        (
            "a certificate of nobody who is trusted",
            "tls",
            "certificate",
            Box::new(|| show(&stranger.vouch("shop.example", -DAY, 80 * DAY))),
            Box::new(|| show(&good)),
        ),
        (
            "a route that takes something else",
            "ingress",
            "edge",
            Box::new(|| route("path = '/elsewhere'\n")),
            Box::new(|| route("")),
        ),
        (
            "a route that lets nobody in",
            "ingress",
            "edge",
            Box::new(|| route("deny_from = ['127.0.0.0/8']\n")),
            Box::new(|| route("")),
        ),
        (
            "a route that has no patience",
            "ingress",
            "edge",
            Box::new(|| {
                service.set(Mode::Slow);
                route("timeouts.first_byte = '100ms'\n");
            }),
            Box::new(|| {
                service.set(Mode::Well);
                route("");
            }),
        ),
        (
            "a service that answers 500",
            "upstream",
            "upstream",
            Box::new(|| service.set(Mode::Broken)),
            Box::new(|| service.set(Mode::Well)),
        ),
        (
            "a service that hangs",
            "upstream",
            "upstream",
            Box::new(|| service.set(Mode::Hanging)),
            Box::new(|| service.set(Mode::Well)),
        ),
        (
            "a service that is gone",
            "upstream",
            "upstream",
            Box::new(|| service.set(Mode::Gone)),
            Box::new(|| service.set(Mode::Well)),
        ),
    ];
    for (what, place, side, breaks, mends) in faults {
        let found = broken(&daemon, what, breaks, mends);
        if found.2 > 2 || (found.0.as_str(), found.1.as_str()) != (place, side) {
            wrong.push(format!("{what}: expected {place}, {side}; found {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_shipped_probe_places_what_it_finds() {
    let service = Service::start();
    let listener = free();
    let home = Home::new(&format!(
        "proxy.workers = 1\nprobes.dir = 'synthetic'\n\
         [[listener]]\nname = 'http'\naddress = '{listener}'\n\
         [[upstream]]\nname = 'u'\nendpoints = ['http://{}']\n[[route]]\nid = 'web'\nupstream = 'u'\n",
        service.address
    ));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("synthetic/vantages.toml");
    fs::create_dir(home.path("synthetic")).expect("made");
    fs::copy(shipped, home.path("synthetic/vantages.toml")).expect("it is shipped");
    let run = || {
        let output = home
            .command(&["probe", "run", "shop-from-everywhere", "--json"])
            .args(["--config", "vestibule.toml"])
            .env("SHOP", format!("http://{listener}"))
            .output()
            .expect("it runs");
        let all: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", crate::harness::stderr(&output)));
        let found = all["probes"][0].clone();
        let word = |value: &Value| value.as_str().unwrap_or("ok").to_owned();
        (word(&found["reason"]), word(&found["placing"]["place"]))
    };
    let daemon = home.run();
    assert_eq!(run(), ("ok".to_owned(), "ok".to_owned()));
    service.set(Mode::Broken);
    assert_eq!(run(), ("http_status".to_owned(), "upstream".to_owned()));
    service.set(Mode::Well);
    // The service is well, and nobody listens in front of it.
    drop(daemon);
    assert_eq!(run(), ("connect_refused".to_owned(), "ingress".to_owned()));
}

#[test]
fn one_shot_places_a_fault_by_the_configuration_of_the_proxy() {
    let service = Service::start();
    service.set(Mode::Broken);
    let (listener, root) = (free(), Authority::new("a root"));
    let home = Home::new(&config(listener, service.address, ""));
    install(&home, &root.vouch("shop.example", -DAY, 80 * DAY));
    fs::write(home.path("roots.pem"), &root.pem).expect("written");
    probe(&home, listener, free());
    let path = home.path("synthetic/shop.toml");
    let text = fs::read_to_string(&path).expect("written above");
    // No name server is needed for it.
    let text = text.lines().filter(|line| !line.starts_with("resolver"));
    let text: Vec<&str> = text.collect();
    let direct = format!("connect_to = '{listener}'");
    let text = text.join("\n").replace("every = '1s'", &direct);
    fs::write(&path, text).expect("written");
    let _daemon = home.run();
    let answer = home.vestibule(&["probe", "run", "front"]);
    let said = crate::harness::stdout(&answer);
    assert_eq!(answer.status.code(), Some(1), "{said}");
    assert!(said.contains("placed at upstream"), "{said}");
    let answer = home.vestibule(&["probe", "run", "front", "--json"]);
    let all: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
    let found = &all["probes"][0];
    assert_eq!(found["placing"]["place"], "upstream", "{all}");
    assert_eq!(found["views"].as_array().map(Vec::len), Some(3), "{all}");
}
