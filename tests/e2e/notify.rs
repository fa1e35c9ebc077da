//! Telling people: each change once, whatever fails on the way.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ring::hmac;
use serde_json::Value;

use crate::client::Client;
use crate::harness::{Daemon, Home, PATIENCE, of, skip, stdout, wait};
use crate::origin::{Origin, Then};
use crate::wire::Message;

/// A service that fails when told to.
fn service() -> (Origin, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = Arc::clone(&broken);
    let origin = Origin::start(move |_, conn| {
        let status = if is_broken.load(Ordering::Relaxed) {
            "500 Internal Server Error"
        } else {
            "200 OK"
        };
        conn.send(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"));
        Then::KeepOpen
    });
    (origin, broken)
}

/// A policy whose page comes and goes while a test watches.
fn config(origin: &Origin, notify: &str) -> String {
    format!(
        r#"
        instance.name = "edge-1"
        [[listener]]
        name = "http"
        address = "127.0.0.1:0"
        [[upstream]]
        name = "web"
        endpoints = ["{}"]
        [[route]]
        id = "web"
        upstream = "web"
        owner = "team-web"
        [[slo]]
        id = "available"
        route = "web"
        sli = "availability"
        objective = "99%"
        policy = "quick"
        runbook = "https://wiki.example/web"
        [[policy]]
        name = "quick"
        [[policy.row]]
        severity = "page"
        tier = "fast"
        long = "20s"
        short = "10s"
        factor = 2.0
        {notify}
        "#,
        origin.url()
    )
}

/// Sends requests until the snapshot shows something.
fn drive<T>(daemon: &Daemon, what: &str, look: impl Fn(&Value) -> Option<T>) -> T {
    let mut client = Client::connect(daemon.address());
    daemon.until(what, Duration::from_secs(150), |snapshot| {
        for _ in 0..10 {
            client.get("/");
        }
        look(snapshot)
    })
}

fn alert_is(snapshot: &Value, state: &str) -> Option<()> {
    (snapshot["alerts"][0]["state"] == state).then_some(())
}

fn json(message: &Message) -> Value {
    serde_json::from_str(&message.text()).expect("it is JSON")
}

#[test]
fn a_webhook_is_told_once_though_it_fails_at_first_and_we_are_started_again() {
    let (origin, broken) = service();
    let refusals = Arc::new(AtomicUsize::new(2));
    let left = Arc::clone(&refusals);
    let hook = Origin::start(move |_, conn| {
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        conn.send(match taken {
            Ok(_) => "HTTP/1.1 503 Unavailable\r\ncontent-length: 8\r\n\r\nnot\x1bnow\n",
            Err(_) => "HTTP/1.1 204 No Content\r\n\r\n",
        });
        Then::Close
    });
    let notify = format!(
        "[[notify]]\nname = \"oncall\"\nkind = \"webhook\"\nurl = \"{}/hook?token=hidden\"\n\
         key_file = \"hook.key\"\ntoken_file = \"hook.token\"\n",
        hook.url()
    );
    let home = Home::new(&config(&origin, &notify));
    fs::write(home.path("hook.key"), "a secret\n").expect("it can be written");
    fs::write(home.path("hook.token"), "a-token\n").expect("it can be written");
    let daemon = home.run();
    drive(&daemon, "history", |snapshot| {
        (snapshot["verdict"]["severity"] == "ok").then_some(())
    });
    broken.store(true, Ordering::Relaxed);
    let failing = drive(&daemon, "a refusal to be shown", |snapshot| {
        let trouble = of_part(snapshot, "notify")?;
        Some(trouble["text"].as_str().unwrap_or_default().to_owned())
    });
    assert!(
        failing.contains("oncall is not told") && failing.contains("503"),
        "{failing}"
    );
    assert!(
        !failing.contains("hidden") && !failing.contains('\x1b'),
        "{failing}"
    );
    drive(&daemon, "the delivery", |snapshot| {
        (snapshot["receivers"][0]["delivered"] == 1).then_some(())
    });
    let told = hook.until_requests(3);
    let page = json(&told[2]);
    assert_eq!(told[2].header("authorization"), Some("Bearer a-token"));
    assert_signed(&told[2], b"a secret");
    assert_eq!(page["status"], "firing");
    assert_eq!(page["instance"], "edge-1");
    assert_eq!(page["alert"]["id"], "available:page:fast");
    assert_eq!(page["alert"]["owner"], "team-web");
    assert_eq!(page["alert"]["runbook"], "https://wiki.example/web");
    assert_eq!(page["verdict"]["side"], "upstream");
    let text = page["alert"]["text"].as_str().unwrap();
    assert!(text.starts_with("CRIT: upstream, not edge: web"), "{text}");
    for earlier in &told[..2] {
        assert_eq!(
            json(earlier)["dedup_key"],
            page["dedup_key"],
            "the same thing again"
        );
    }
    let snapshot = daemon.snapshot();
    let receiver = of(&snapshot["receivers"], "name", "oncall");
    assert_eq!(receiver["failed"], 2);
    assert_eq!(receiver["last_error"], Value::Null);
    let count = |result| {
        let labels = [("receiver", "oncall"), ("result", result)];
        daemon
            .metrics()
            .count("vestibule_notifications_total", &labels)
    };
    assert_eq!((count("delivered"), count("failed")), (1, 2));
    assert!(daemon.stop().success());

    let daemon = home.run();
    drive(&daemon, "it to fire on", |snapshot| {
        alert_is(snapshot, "firing")
    });
    broken.store(false, Ordering::Relaxed);
    drive(&daemon, "its end", |snapshot| {
        alert_is(snapshot, "resolved")?;
        (snapshot["receivers"][0]["delivered"] == 1).then_some(())
    });
    let told = hook.requests();
    assert_eq!(told.len(), 4, "the page was not told again");
    let end = json(&told[3]);
    assert_eq!(end["status"], "resolved");
    assert_eq!(end["alert"]["id"], "available:page:fast");
    assert_eq!(end["dedup_key"], page["dedup_key"]);
    assert!(end["alert"]["until"].is_string(), "{end}");
    assert!(daemon.stop().success());
}

fn of_part(snapshot: &Value, part: &str) -> Option<Value> {
    let degraded = snapshot["degraded"].as_array()?;
    degraded.iter().find(|it| it["part"] == part).cloned()
}

fn assert_signed(message: &Message, key: &[u8]) {
    let at = message
        .header("x-vestibule-timestamp")
        .expect("it is signed");
    let signature = message
        .header("x-vestibule-signature")
        .expect("it is signed");
    let signed = [at.as_bytes(), b".", &message.body].concat();
    let digits = signature
        .strip_prefix("sha256=")
        .expect("it names its hash");
    let tag: Vec<u8> = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).expect("it is ASCII"))
        .map(|pair| u8::from_str_radix(pair, 16).expect("it is hexadecimal"))
        .collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::verify(&key, &signed, &tag).expect("it is signed with the key");
}

#[test]
fn notify_test_says_who_can_be_told() {
    let (origin, _) = service();
    let hook = Origin::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let notify = format!(
        "[[notify]]\nname = \"chat\"\nkind = \"slack\"\nurl = \"{}\"\n\
         [[notify]]\nname = \"away\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:1/\"\n",
        hook.url()
    );
    let home = Home::new(&config(&origin, &notify));
    let all = home.vestibule(&["notify", "test"]);
    assert_eq!(all.status.code(), Some(1));
    let text = stdout(&all);
    assert!(text.contains("chat (slack): told"), "{text}");
    assert!(
        text.contains("away (webhook): http://127.0.0.1:1: connection refused"),
        "{text}"
    );
    let sent = json(&hook.until_requests(1)[0]);
    assert!(
        sent["text"].as_str().unwrap().contains("nothing is wrong"),
        "{sent}"
    );
    let one = home.vestibule(&["notify", "test", "chat", "--json"]);
    assert_eq!(one.status.code(), Some(0));
    let line: Value = serde_json::from_str(&stdout(&one)).expect("it is JSON");
    assert_eq!(line["error"], Value::Null);
    assert_eq!(
        home.vestibule(&["notify", "test", "nobody"]).status.code(),
        Some(64)
    );
}

/// A real Alertmanager, killed when it goes.
pub(crate) struct Alertmanager {
    child: Child,
    pub(crate) address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Alertmanager {
    pub(crate) fn start() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let config = dir.path().join("alertmanager.yml");
        fs::write(
            &config,
            "route: { receiver: nobody }\nreceivers: [{ name: nobody }]\n",
        )
        .expect("it can be written");
        // It cannot choose a port: this one was free a moment ago.
        let free =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = free.expect("a free port");
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", dir.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            skip("prometheus-alertmanager is not installed");
            return None;
        };
        let started = Self {
            child,
            address,
            _dir: dir,
        };
        wait("Alertmanager to serve", PATIENCE, || {
            std::net::TcpStream::connect(address).ok()
        });
        Some(started)
    }

    /// Its alerts, those that have ended too when asked.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        let mut client = Client::connect(self.address);
        let answer = client.get("/api/v2/alerts");
        json(&answer).as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn alertmanager_takes_our_alerts_and_their_end() {
    let Some(manager) = Alertmanager::start() else {
        return;
    };
    let (origin, broken) = service();
    let notify = format!(
        "[[notify]]\nname = \"am\"\nkind = \"alertmanager\"\nurl = \"http://{}\"\n",
        manager.address
    );
    let home = Home::new(&config(&origin, &notify));
    let daemon = home.run();
    drive(&daemon, "history", |snapshot| {
        (snapshot["verdict"]["severity"] == "ok").then_some(())
    });
    broken.store(true, Ordering::Relaxed);
    drive(&daemon, "the delivery", |snapshot| {
        (snapshot["receivers"][0]["delivered"].as_u64() >= Some(1)).then_some(())
    });
    let alerts = manager.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let labels = &alerts[0]["labels"];
    for (name, value) in [
        ("alertname", "VestibuleErrorBudgetBurnsFast"),
        ("severity", "critical"),
        ("slo", "available"),
        ("route", "web"),
        ("owner", "team-web"),
        ("instance", "edge-1"),
    ] {
        assert_eq!(labels[name], value, "{labels}");
    }
    broken.store(false, Ordering::Relaxed);
    drive(&daemon, "its end", |snapshot| {
        alert_is(snapshot, "resolved")
    });
    wait("Alertmanager to know of the end", PATIENCE, || {
        manager.alerts().is_empty().then_some(())
    });
    assert!(daemon.stop().success());
}
