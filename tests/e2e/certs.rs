//! What is told of certificates: by lists of revoked ones, made by a real openssl, and by the verdict.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Client, Home, PATIENCE, of, skip, stdout};
use crate::origin::{Origin, Then};
use crate::tls::Authority;

/// A certificate authority of openssl, and a certificate `shop` for shop.test with the chain.
struct Openssl {
    dir: TempDir,
}

impl Openssl {
    /// `None`: it is not installed. `lists`: where the certificate says that its issuer's lists are.
    fn start(lists: Option<&str>) -> Option<Self> {
        Command::new("openssl").arg("version").output().ok()?;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let write = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).expect("the directory can be written");
        };
        write(
            "ca.cnf",
            "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\ncrlnumber = crlnumber\ndefault_md = sha256\n",
        );
        write("index.txt", "");
        write("crlnumber", "1000\n");
        let lists = lists.map_or_else(String::new, |url| {
            format!("crlDistributionPoints = URI:{url}\n")
        });
        write(
            "leaf.cnf",
            &format!("subjectAltName = DNS:shop.test\n{lists}"),
        );
        let authority = Self { dir };
        run(
            authority.dir.path(),
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=ca \
             -days 300 -addext keyUsage=critical,keyCertSign,cRLSign",
        );
        run(
            authority.dir.path(),
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout shop-key.pem -out shop.csr -subj /CN=shop",
        );
        run(
            authority.dir.path(),
            "x509 -req -in shop.csr -CA ca.pem -CAkey ca.key -set_serial 77 -days 90 -extfile leaf.cnf -out leaf.pem",
        );
        let read =
            |name: &str| fs::read_to_string(authority.dir.path().join(name)).expect("it was made");
        fs::write(
            authority.dir.path().join("shop.pem"),
            read("leaf.pem") + &read("ca.pem"),
        )
        .expect("the directory can be written");
        Some(authority)
    }

    fn home(self, more: &str) -> Home {
        let config = format!(
            "[[listener]]\nname = 'https'\naddress = '127.0.0.1:0'\ncertificates = ['shop']\n\
             [[certificate]]\nname = 'shop'\nchain_file = 'shop.pem'\nkey_file = 'shop-key.pem'\n\
             [[upstream]]\nname = 'u'\nendpoints = ['http://127.0.0.1:9']\n\
             [[route]]\nid = 'shop'\nhosts = ['shop.test']\nupstream = 'u'\n{more}"
        );
        Home::in_dir(self.dir, &config)
    }
}

fn run(dir: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(dir)
        .output()
        .expect("it is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {said}");
}

fn revoke(dir: &Path) {
    run(
        dir,
        "ca -config ca.cnf -keyfile ca.key -cert ca.pem -revoke leaf.pem -crl_reason keyCompromise",
    );
}

/// Makes a list that holds for so many seconds, as PEM and as DER.
fn make_list(dir: &Path, secs: u64) {
    let list = format!(
        "ca -config ca.cnf -keyfile ca.key -cert ca.pem -gencrl -crlsec {secs} -out new.crl"
    );
    run(dir, &list);
    run(dir, "crl -in new.crl -outform DER -out ca.der");
    fs::rename(dir.join("new.crl"), dir.join("ca.crl")).expect("it was made");
}

/// The authority, or a skipped test.
fn openssl(lists: Option<&str>) -> Option<Openssl> {
    let authority = Openssl::start(lists);
    if authority.is_none() {
        skip("openssl is not installed");
    }
    authority
}

/// The alert of a kind.
fn alert(snapshot: &Value, kind: &str) -> Option<Value> {
    let alerts = snapshot["certificate_alerts"].as_array()?;
    alerts.iter().find(|it| it["kind"] == kind).cloned()
}

/// The list that the certificate's file was looked up in.
fn list(snapshot: &Value) -> Option<Value> {
    let seen = snapshot["certificates"].as_array()?;
    let file = seen.iter().find(|it| it["source"] == "file")?;
    file["revocation"]["lists"].get(0).cloned()
}

#[test]
fn a_list_in_a_file_tells_that_it_ends_and_then_that_the_certificate_is_revoked() {
    let Some(authority) = openssl(None) else {
        return;
    };
    make_list(authority.dir.path(), 5);
    let home = authority.home("[revocation]\nfiles = ['ca.crl']\n");
    let daemon = home.run();
    let known = daemon.until("the list to be read", PATIENCE, list);
    assert!(
        known["this_update"].is_string() && known["error"].is_null(),
        "{known}"
    );
    assert!(known["revoked_at"].is_null(), "{known}");
    let metrics = daemon.metrics();
    let labels = [("certificate", "shop")];
    assert_eq!(metrics.sum("vestibule_certificate_revoked", &labels), 0);
    assert!(metrics.sum("vestibule_certificate_crl_next_update_seconds", &labels) > 1_700_000_000);

    // Nobody makes another one in time.
    let ended = daemon.until("its end", PATIENCE, |snapshot| {
        alert(snapshot, "crl").filter(|it| it["urgency"] == "ticket")
    });
    assert!(
        ended["text"]
            .as_str()
            .is_some_and(|it| it.contains("ca.crl ended ")),
        "{ended}"
    );
    assert_eq!(
        home.vestibule(&["certs", "--connect", "vestibule-state/vestibule.sock"])
            .status
            .code(),
        Some(1)
    );

    let dir = home.path("");
    revoke(&dir);
    make_list(&dir, 86_400);
    daemon.signal(Signal::HUP);
    let revoked = daemon.until("the page", PATIENCE, |snapshot| alert(snapshot, "revoked"));
    assert_eq!(revoked["urgency"], "page");
    assert!(
        revoked["text"]
            .as_str()
            .is_some_and(|it| it.contains("ompromise")),
        "{revoked}"
    );
    assert_eq!(
        daemon
            .metrics()
            .sum("vestibule_certificate_revoked", &labels),
        1
    );
    // What is served is the same certificate, and the verdict says what to do.
    let verdict = daemon.until("the verdict", PATIENCE, |snapshot| {
        let shown = of(&snapshot["certificates"], "source", "listener")["kind"].clone();
        let verdict = snapshot["verdict"].clone();
        (shown == "revoked" && verdict["severity"] == "crit").then_some(verdict)
    });
    assert_eq!(verdict["side"], "certificate");
    let text = verdict["text"].as_str().expect("a sentence");
    for part in ["revoked", "for route shop", "new key"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_list_is_fetched_from_where_the_certificate_says() {
    let server = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = server.local_addr().expect("it is bound");
    let url = format!("http://{address}/ca.crl");
    let Some(authority) = openssl(Some(&url)) else {
        return;
    };
    revoke(authority.dir.path());
    make_list(authority.dir.path(), 86_400);
    let bytes = fs::read(authority.dir.path().join("ca.der")).expect("it was made");
    thread::spawn(move || {
        for stream in server.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4_096];
            let count = stream.read(&mut head).unwrap_or(0);
            assert!(head[..count].starts_with(b"GET /ca.crl HTTP/1.1\r\n"));
            let length = bytes.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            // Who asked may have gone.
            drop(stream.write_all(answer.as_bytes()));
            drop(stream.write_all(&bytes));
        }
    });
    let home = authority.home("");
    let daemon = home.run();
    let revoked = daemon.until("the page", PATIENCE, |snapshot| alert(snapshot, "revoked"));
    let text = revoked["text"].as_str().expect("a text");
    assert!(text.contains(&format!("says {url}")), "{text}");
    let said = home.vestibule(&["certs", "--connect", "vestibule-state/vestibule.sock"]);
    assert_eq!(said.status.code(), Some(2));
    assert!(
        stdout(&said).contains(&format!("by {url}")),
        "{}",
        stdout(&said)
    );
}

#[test]
fn an_upstream_whose_certificate_has_ended_is_told_as_such_before_and_after() {
    let root = Authority::new("a root");
    let ended = root.vouch(&["shop.internal"], |params| {
        let now = time::OffsetDateTime::now_utc();
        params.not_before = now - time::Duration::days(80);
        params.not_after = now - time::Duration::minutes(1);
    });
    let origin = Origin::tls(ended.serving(), |_, _| Then::KeepOpen);
    let dir = tempfile::tempdir().expect("a temporary directory");
    root.write(&dir.path().join("root.pem"));
    let port = origin.address.port();
    let home = Home::in_dir(
        dir,
        &format!(
            "[[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n\
             [[upstream]]\nname = 'shop'\nendpoints = ['https://127.0.0.1:{port}']\n\
             tls = {{ roots_file = 'root.pem', server_name = 'shop.internal' }}\n\
             [[route]]\nid = 'shop'\nupstream = 'shop'\n\
             [[slo]]\nid = 'shop-available'\nroute = 'shop'\nsli = 'availability'\nobjective = '99.9%'\n"
        ),
    );
    let daemon = home.run();
    // Before there is any traffic.
    let page = daemon.until("the page", PATIENCE, |snapshot| alert(snapshot, "expired"));
    assert_eq!(
        (&page["source"], &page["urgency"]),
        (&"upstream".into(), &"page".into())
    );
    let verdict = daemon.until("the verdict", PATIENCE, |snapshot| {
        let verdict = snapshot["verdict"].clone();
        (verdict["severity"] == "crit").then_some(verdict)
    });
    assert_eq!(verdict["side"], "certificate");
    let text = verdict["text"].as_str().expect("a sentence");
    for part in [
        "certificate: shop (upstream): expired",
        "for route shop",
        "have it renewed there",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // And when users meet it.
    let address = daemon.address();
    let verdict = daemon.until("the verdict of users", PATIENCE, |snapshot| {
        for _ in 0..20 {
            let status = Client::connect(address)
                .get("/")
                .expect("it answers")
                .status;
            assert_eq!(status, 502);
        }
        let verdict = snapshot["verdict"].clone();
        let text = verdict["text"].as_str()?;
        text.contains("have the certificate of shop renewed there")
            .then_some(verdict)
    });
    assert_eq!(verdict["side"], "certificate");
    let text = verdict["text"].as_str().expect("a sentence");
    let place = format!("https://127.0.0.1:{port}: expired ");
    assert!(text.contains(&place), "{text}");
}

#[test]
fn nothing_is_fetched_when_that_is_not_wanted() {
    let server = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = server.local_addr().expect("it is bound");
    let Some(authority) = openssl(Some(&format!("http://{address}/ca.crl"))) else {
        return;
    };
    let home = authority.home("[revocation]\nfetch = false\n");
    let daemon = home.run();
    let skipped = daemon.until("it to be looked up", PATIENCE, |snapshot| {
        let seen = snapshot["certificates"].as_array()?;
        let file = seen.iter().find(|it| it["source"] == "file")?;
        let skipped = file["revocation"]["skipped"].as_str();
        skipped.map(str::to_owned)
    });
    assert_eq!(skipped, "lists are not fetched");
    server.set_nonblocking(true).expect("it can be");
    assert!(server.accept().is_err());
}
