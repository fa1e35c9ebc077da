//! Names, asked of real servers: BIND for a zone, Unbound between it and users.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::blackbox::{Process, free};
use super::probe;
use crate::daemon::until;
use crate::harness::skip;

/// BIND with a zone `shop.example` that can be changed. Killed when it goes.
pub(super) struct Named {
    process: Process,
    pub(super) address: SocketAddr,
}

impl Named {
    /// One whose zone holds these lines; `None` when it is not installed.
    pub(super) fn start(dir: &Path, lines: &str) -> Option<Self> {
        let (process, address) = named(dir, lines)?;
        Some(Self { process, address })
    }

    /// What the system tells it.
    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.0.id()).ok();
        let pid = pid.and_then(Pid::from_raw).expect("a process has a number");
        kill_process(pid, signal).expect("it is our child");
    }
}

/// Has the name of a zone lead to these addresses and to no others, for a second at a time; whether that could be done.
pub(super) fn nsupdate(server: SocketAddr, name: &str, addresses: &[&str]) -> bool {
    let mut script = format!(
        "server {} {}\nzone {name}\nupdate delete {name} A\n",
        server.ip(),
        server.port()
    );
    for address in addresses {
        script.push_str(&format!("update add {name} 1 A {address}\n"));
    }
    script.push_str("send\n");
    let child = Command::new("nsupdate")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let mut input = child.stdin.take().expect("piped");
    input.write_all(script.as_bytes()).expect("it hears");
    drop(input);
    child.wait().expect("it is our child").success()
}

/// The head of a zone whose one server is on this machine.
const HEAD: &str = "@ IN SOA ns hostmaster 7 3600 600 86400 60\n@ IN NS ns\nns IN A 127.0.0.1\n";

/// BIND with a zone `shop.example` that holds these lines.
fn named(dir: &Path, lines: &str) -> Option<(Process, SocketAddr)> {
    let address = free();
    let zones = [
        ("shop.example", format!("$TTL 300\n{HEAD}{lines}")),
        ("localhost", format!("$TTL 1\n{HEAD}")),
        // One that it cannot load: what it answers for it is SERVFAIL.
        ("broken.example", "no zone\n".to_owned()),
    ];
    let process = bind(dir, address, &zones)?;
    until("BIND", || asked(address).then_some(()));
    Some((process, address))
}

/// BIND at this address with these zones, which can be changed; `None` when it is not installed.
pub(super) fn bind(dir: &Path, address: SocketAddr, zones: &[(&str, String)]) -> Option<Process> {
    let here = dir.display();
    let mut config = format!(
        "options {{ directory \"{here}\"; listen-on port {} {{ {}; }}; listen-on-v6 {{ none; }};\n\
         pid-file none; session-keyfile none; recursion no; dnssec-validation no; }};\ncontrols {{ }};\n",
        address.port(),
        address.ip()
    );
    for (zone, lines) in zones {
        fs::write(dir.join(zone), lines).expect("written");
        let table =
            format!("{{ type master; file \"{zone}\"; allow-update {{ 127.0.0.1; }}; }};\n");
        config.push_str(&format!("zone \"{zone}\" {table}"));
    }
    fs::write(dir.join("named.conf"), config).expect("written");
    let child = Command::new(in_sbin("named"))
        .args(["-g", "-n", "1", "-c"])
        .arg(dir.join("named.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(dir.join("named.log")).expect("a log"))
        .spawn()
        .ok()?;
    Some(Process(child))
}

/// Unbound, which asks BIND, and gives old answers when that is gone.
pub(super) fn unbound(
    dir: &Path,
    authority: SocketAddr,
    more: &str,
) -> Option<(Process, SocketAddr)> {
    unbound_for(dir, "shop.example", authority, more)
}

/// The same that asks this authority for another zone, and follows what it delegates.
pub(super) fn unbound_for(
    dir: &Path,
    zone: &str,
    authority: SocketAddr,
    more: &str,
) -> Option<(Process, SocketAddr)> {
    let address = free();
    fs::write(
        dir.join("unbound.conf"),
        format!(
            "server:\n username: \"\"\n chroot: \"\"\n directory: \"{}\"\n pidfile: \"\"\n do-daemonize: no\n \
             use-syslog: no\n interface: 127.0.0.1\n port: {}\n access-control: 127.0.0.0/8 allow\n \
             do-not-query-localhost: no\n module-config: \"iterator\"\n serve-expired: yes\n ede: yes\n \
             ede-serve-expired: yes\n num-threads: 1\n do-ip6: no\n {more}\n\
             remote-control:\n control-enable: no\n\
             stub-zone:\n name: \"{zone}\"\n stub-addr: 127.0.0.1@{}\n",
            dir.display(),
            address.port(),
            authority.port()
        ),
    )
    .expect("written");
    let process = start_unbound(dir)?;
    until("Unbound", || asked(address).then_some(()));
    Some((process, address))
}

/// Unbound as the authority for these zones, each with its records: unlike BIND it listens on any address of loopback.
pub(super) fn authority(
    dir: &Path,
    address: SocketAddr,
    zones: &[(&str, String)],
) -> Option<Process> {
    let mut config = format!(
        "server:\n username: \"\"\n chroot: \"\"\n directory: \"{}\"\n pidfile: \"\"\n do-daemonize: no\n \
         use-syslog: no\n interface: {}\n port: {}\n access-control: 127.0.0.0/8 allow\n num-threads: 1\n \
         module-config: \"iterator\"\n do-ip6: no\nremote-control:\n control-enable: no\n",
        dir.display(),
        address.ip(),
        address.port()
    );
    for (zone, lines) in zones {
        fs::write(dir.join(zone), lines).expect("written");
        config.push_str(&format!(
            "auth-zone:\n name: \"{zone}\"\n zonefile: \"{zone}\"\n for-downstream: yes\n for-upstream: no\n"
        ));
    }
    fs::write(dir.join("unbound.conf"), config).expect("written");
    let process = start_unbound(dir)?;
    until("an authority", || asked(address).then_some(()));
    Some(process)
}

/// Unbound with the file that lies there; `None` when it is not installed.
fn start_unbound(dir: &Path) -> Option<Process> {
    let child = Command::new(in_sbin("unbound"))
        .args(["-d", "-p", "-c"])
        .arg(dir.join("unbound.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(dir.join("unbound.log")).expect("a log"))
        .spawn();
    child.ok().map(Process)
}

fn in_sbin(name: &str) -> String {
    let path = format!("/usr/sbin/{name}");
    if Path::new(&path).exists() {
        path
    } else {
        name.to_owned()
    }
}

/// Whether a server answers at all.
fn asked(server: SocketAddr) -> bool {
    let (_, found) = run("shop-zone-answers", server, "192.0.2.1");
    found["answer"].is_object()
}

fn run(name: &str, server: SocketAddr, address: &str) -> (String, Value) {
    probe(
        name,
        &[
            ("RESOLVER", server.to_string()),
            ("AUTHORITY", server.to_string()),
            ("SHOP_ADDRESS", address.to_owned()),
        ],
    )
}

#[test]
fn names_fail_for_their_own_reasons() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some((process, server)) = named(dir.path(), "@ IN A 192.0.2.1\n") else {
        skip("named is not installed");
        return;
    };
    let (found, all) = run("shop-resolves", server, "192.0.2.1");
    assert_eq!(found, "ok", "{all}");
    let answer = &all["answer"];
    assert_eq!(answer["authoritative"], true);
    assert_eq!(answer["answers"][0]["ttl"], 300);
    assert_eq!(answer["answers"][0]["data"], "192.0.2.1");
    assert_eq!(
        run("shop-resolves", server, "192.0.2.9").0,
        "assert_answer",
        "it leads elsewhere"
    );
    assert_eq!(run("shop-zone-answers", server, "").0, "ok");
    let look_up = |name: &str, server: SocketAddr| {
        let variables = [
            ("RESOLVER", server.to_string()),
            ("SHOP_NAME", name.to_owned()),
        ];
        probe("shop-resolves", &variables).0
    };
    assert_eq!(look_up("gone.shop.example", server), "dns_nxdomain");
    assert_eq!(look_up("broken.example", server), "dns_servfail");
    assert_eq!(look_up("bank.example", server), "assert_answer", "refused");
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().map(|address| (silent, address));
    let (_nobody, silent) = silent.expect("it is bound");
    assert_eq!(look_up("shop.example", silent), "dns_timeout");
    // As a resolver between the two, and after the zone's server has gone.
    let Some((_unbound, resolver)) = unbound(dir.path(), server, "") else {
        skip("unbound is not installed");
        return;
    };
    let (found, all) = run("shop-resolves", resolver, "192.0.2.1");
    assert_eq!(
        (found.as_str(), &all["answer"]["authoritative"]),
        ("ok", &Value::from(false)),
        "{all}"
    );
    assert_eq!(
        run("shop-zone-answers", resolver, "").0,
        "assert_answer",
        "it is no authority"
    );
    drop(process);
    assert_eq!(
        run("shop-resolves", server, "192.0.2.1").0,
        "connect_refused"
    );
    for (lines, resolves, zone, why) in [
        (
            "@ IN A 192.0.2.1\n@ IN A 192.0.2.2\n",
            "assert_answer",
            "ok",
            "the old place is there too",
        ),
        (
            "www IN A 192.0.2.1\n",
            "assert_answer",
            "ok",
            "no address at all",
        ),
        (
            "@ 5 IN A 192.0.2.1\n",
            "ok",
            "assert_answer",
            "a short life",
        ),
        (
            "@ 9000 IN A 192.0.2.1\n",
            "ok",
            "assert_answer",
            "a long life",
        ),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let (_named, server) = named(dir.path(), lines).expect("it was there before");
        let (found, all) = run("shop-resolves", server, "192.0.2.1");
        assert_eq!(found, resolves, "{why}: {all}");
        let (found, all) = run("shop-zone-answers", server, "192.0.2.1");
        assert_eq!(found, zone, "{why}: {all}");
    }
}

#[test]
fn an_answer_that_a_resolver_kept_too_long_is_stale() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some((process, server)) = named(dir.path(), "@ 1 IN A 192.0.2.1\n") else {
        skip("named is not installed");
        return;
    };
    let Some((_unbound, resolver)) = unbound(dir.path(), server, "") else {
        skip("unbound is not installed");
        return;
    };
    assert_eq!(run("shop-resolves", resolver, "192.0.2.1").0, "ok");
    drop(process);
    let stale = until("a stale answer", || {
        thread::sleep(Duration::from_millis(300));
        let (found, all) = run("shop-resolves", resolver, "192.0.2.1");
        (found == "dns_stale").then_some(all)
    });
    assert_eq!(stale["answer"]["extended_errors"][0][0], 3, "{stale}");
    let unknown = [
        ("RESOLVER", resolver.to_string()),
        ("SHOP_NAME", "never-asked.shop.example".to_owned()),
    ];
    let (found, all) = probe("shop-resolves", &unknown);
    // How long it goes on asking a server that is gone is its own business.
    assert!(
        matches!(found.as_str(), "dns_servfail" | "dns_timeout"),
        "{all}"
    );
}
