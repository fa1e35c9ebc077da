//! Servers and clients that this project did not write: nginx, Python, curl, wrk and h2load around the real binary.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::daemon::until;
use crate::harness::{Daemon, Home, PATIENCE, of, skip, stdout};
use crate::tls::Authority;

/// What is fetched and sent.
const LARGE: usize = 8 << 20;

/// A server that is not ours. Killed when it goes.
struct Server {
    child: Child,
    address: SocketAddr,
    dir: tempfile::TempDir,
    /// Keeps its port from others.
    _port: Option<socket2::Socket>,
}

impl Server {
    /// nginx with a file `large`, an empty one and a place to upload to; `None` when it is not installed.
    fn nginx() -> Option<Self> {
        let dir = site();
        // nginx cannot choose a port. This one is bound, so nobody else gets it, and shared, so that nginx does.
        let port = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let port = port.expect("a socket");
        port.set_reuse_port(true).expect("ports can be shared");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        port.bind(&any.into()).expect("a free port");
        let address = port.local_addr().ok().and_then(|any| any.as_socket());
        let address = address.expect("it has an address");
        let root = dir.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {root}/{kind};\n"))
            .concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {root}/nginx.pid;\nerror_log {root}/error.log;\n\
             events {{}}\nhttp {{\naccess_log off;\n{temporary}keepalive_requests 1000000;\n\
             client_max_body_size 0;\nclient_body_in_file_only on;\n\
             server {{\nlisten {address} reuseport;\nroot {root}/www;\n\
             location /upload {{ proxy_pass http://{address}/taken; }}\n\
             location /taken {{ return 201 \"taken\"; }}\n\
             location /failing {{ return 500; }}\n}}\n}}\n"
        );
        fs::write(dir.path().join("nginx.conf"), config).expect("it can be written");
        let child = Command::new(in_sbin("nginx"))
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(dir.path().join("nginx.conf"))
            .arg("-e")
            .arg(dir.path().join("error.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let server = Self {
            child,
            address,
            dir,
            _port: Some(port),
        };
        until("nginx", || TcpStream::connect(address).ok());
        Some(server)
    }

    /// Python's own file server, which answers by HTTP/1.0; `None` when it is not installed.
    fn python() -> Option<Self> {
        let dir = site();
        let mut child = Command::new("python3")
            .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"])
            .current_dir(dir.path().join("www"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("it is piped");
        BufReader::new(out)
            .read_line(&mut line)
            .expect("it says where it listens");
        let port = line.split_whitespace().nth(5).and_then(|p| p.parse().ok());
        let port: u16 = port.unwrap_or_else(|| panic!("no port in {line:?}"));
        Some(Self {
            child,
            address: ([127, 0, 0, 1], port).into(),
            dir,
            _port: None,
        })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already, perhaps.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A directory `www` with what is served.
fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let www = dir.path().join("www");
    fs::create_dir(&www).expect("it can be made");
    fs::write(www.join("large"), large()).expect("it can be written");
    fs::write(www.join("empty"), "").expect("it can be written");
    dir
}

fn large() -> Vec<u8> {
    let word = |at: u64| at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..LARGE as u64 / 8)
        .flat_map(|at| word(at).to_le_bytes())
        .collect()
}

/// Debian keeps servers out of users' search paths.
fn in_sbin(program: &str) -> String {
    let there = format!("/usr/sbin/{program}");
    if Path::new(&there).exists() {
        there
    } else {
        program.to_owned()
    }
}

/// A daemon in front of `server` by its URL alone.
fn in_front_of(server: &Server) -> (Home, Daemon) {
    let home = Home::new("");
    let socket = home.state().join("vestibule.sock");
    let daemon = home.run_with(&[&server.url(), "--listen", "127.0.0.1:0"], &socket);
    (home, daemon)
}

/// What curl made of a request.
#[derive(Debug, PartialEq)]
struct Fetched {
    status: u16,
    version: String,
    body: Vec<u8>,
}

/// curl with `arguments`; `None` when it is not installed.
fn curl(dir: &Path, arguments: &[&str]) -> Option<Fetched> {
    let into = dir.join("fetched");
    drop(fs::remove_file(&into));
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--max-time",
            "60",
        ])
        .args(["--write-out", "%{http_code} %{http_version}", "--output"])
        .arg(&into)
        .args(arguments)
        .output()
        .ok()?;
    let said = stdout(&output);
    assert!(
        output.status.success(),
        "curl {arguments:?}: {said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let (status, version) = said.split_once(' ').expect("both were asked for");
    Some(Fetched {
        status: status.parse().expect("a status is a number"),
        version: version.to_owned(),
        body: fs::read(&into).unwrap_or_default(),
    })
}

/// Waits until everything has been counted.
fn counted(daemon: &Daemon, route: &str, good: u64, bad: u64) -> Value {
    daemon.until("every request to be counted", PATIENCE, |snapshot| {
        let route = of(&snapshot["routes"], "id", route);
        let counts = (&route["good"], &route["bad"], &route["excluded"]);
        let settled = snapshot["edge"]["in_flight"] == 0;
        (settled && counts == (&good.into(), &bad.into(), &0.into())).then(|| snapshot.clone())
    })
}

#[test]
fn nginx_behind_a_bare_url_serves_curl_in_every_http_it_speaks() {
    let Some(nginx) = Server::nginx() else {
        return skip("nginx is not installed");
    };
    let (home, daemon) = in_front_of(&nginx);
    let url = |path: &str| format!("http://{}{path}", daemon.address());
    let dir = home.path("");
    let sent = home.path("sent");
    fs::write(&sent, large()).unwrap();
    let sent = sent.to_str().unwrap();
    let ways = [
        ("--http1.1", "1.1"),
        // Offers to switch, which a proxy need not take up.
        ("--http2", "1.1"),
        ("--http2-prior-knowledge", "2"),
    ];
    for (way, version) in ways {
        let fetch = |arguments: &[&str]| {
            let all = [&[way], arguments].concat();
            let fetched = curl(&dir, &all);
            fetched.map(
                |Fetched {
                     status,
                     version: found,
                     body,
                 }| {
                    assert_eq!(found, version, "{all:?}");
                    (status, body)
                },
            )
        };
        let Some((status, body)) = fetch(&[&url("/large")]) else {
            return skip("curl is not installed");
        };
        assert!(status == 200 && body == large(), "{way}: whole");
        let is = |arguments: &[&str], expected: (u16, &[u8])| {
            let (status, body) = fetch(arguments).expect("curl is there");
            let (wanted, content) = expected;
            assert!(
                status == wanted && body == content,
                "{way} {arguments:?}: {status} and {} bytes",
                body.len()
            );
        };
        is(&[&url("/empty")], (200, b""));
        let (status, head) = fetch(&["--head", &url("/large")]).unwrap();
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let length = format!("content-length: {LARGE}\r\n");
        assert!(status == 200 && head.contains(&length), "{way}: {head}");
        is(&["--range", "8-15", &url("/large")], (206, &large()[8..16]));
        is(&["--upload-file", sent, &url("/upload")], (201, b"taken"));
        let uploaded: Vec<_> = fs::read_dir(nginx.dir.path().join("client_body"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(uploaded.len(), 1, "{way}");
        assert!(fs::read(&uploaded[0]).unwrap() == large(), "{way}: whole");
        fs::remove_file(&uploaded[0]).unwrap();
        let (status, _) = fetch(&[&url("/missing")]).unwrap();
        assert_eq!(status, 404, "{way}");
        let (status, _) = fetch(&[&url("/failing")]).unwrap();
        assert_eq!(status, 500, "{way}");
    }
    counted(&daemon, "default", 6 * 3, 3);
    assert!(daemon.stop().success());
}

#[test]
fn curl_gets_http2_over_tls() {
    let Some(nginx) = Server::nginx() else {
        return skip("nginx is not installed");
    };
    let home = Home::new(&format!(
        r#"
        [[certificate]]
        name = "shop"
        chain_file = "shop.pem"
        key_file = "shop-key.pem"

        [[listener]]
        name = "https"
        address = "127.0.0.1:0"
        certificates = ["shop"]

        [[upstream]]
        name = "nginx"
        endpoints = ["{}"]

        [[route]]
        id = "shop"
        upstream = "nginx"
        "#,
        nginx.url()
    ));
    let authority = Authority::new("ours");
    authority.write(&home.path("ca.pem"));
    let pair = authority.vouch_for(&["shop.test"]);
    pair.write(&home.path(""), "shop");
    let daemon = home.run();
    let port = daemon.address().port();
    let resolve = format!("shop.test:{port}:127.0.0.1");
    let (url, ca) = (
        format!("https://shop.test:{port}/large"),
        home.path("ca.pem"),
    );
    let common = [
        "--resolve",
        &resolve,
        "--cacert",
        ca.to_str().unwrap(),
        &url,
    ];
    for (way, version) in [
        (&["--http2"][..], "2"),
        (&["--http2", "--tls-max", "1.2"], "2"),
        (&["--http1.1"], "1.1"),
    ] {
        let Some(fetched) = curl(&home.path(""), &[way, &common].concat()) else {
            return skip("curl is not installed");
        };
        assert_eq!(
            (fetched.status, &*fetched.version),
            (200, version),
            "{way:?}"
        );
        assert!(fetched.body == large(), "{way:?}: whole");
    }
    counted(&daemon, "shop", 3, 0);
    assert!(daemon.stop().success());
}

#[test]
fn what_load_generators_count_is_what_is_counted() {
    const REQUESTS: u64 = 5_000;
    let Some(nginx) = Server::nginx() else {
        return skip("nginx is not installed");
    };
    let (_home, daemon) = in_front_of(&nginx);
    let url = |path: &str| format!("http://{}{path}", daemon.address());
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.ok().map(|output| stdout(&output))
    };
    let total = format!("-n{REQUESTS}");
    let mut sent = 0;
    for way in [&["--h1"][..], &["-m8"]] {
        let Some(said) = run(
            "h2load",
            &[&[&total, "-c32", "-t2"], way, &[&url("/empty")]].concat(),
        ) else {
            return skip("h2load is not installed");
        };
        assert!(
            said.contains(&format!("{REQUESTS} succeeded, 0 failed, 0 errored")),
            "{said}"
        );
        sent += REQUESTS;
        counted(&daemon, "default", sent, 0);
    }
    let said = run("h2load", &[&total, "-c32", "-t2", "--h1", &url("/failing")]);
    let said = said.expect("it is there");
    assert!(said.contains(&format!("{REQUESTS} 5xx")), "{said}");
    counted(&daemon, "default", sent, REQUESTS);

    // wrk leaves in the middle of things: each of its connections may end with a request that it did not count.
    let Some(said) = run("wrk", &["-t2", "-c64", "-d2s", &url("/empty")]) else {
        return skip("wrk is not installed");
    };
    let line = said.lines().find(|line| line.contains("requests in"));
    let theirs = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let theirs = theirs.unwrap_or_else(|| panic!("no count in {said}"));
    assert!(
        !said.contains("Socket errors") && !said.contains("Non-2xx"),
        "{said}"
    );
    let counts = daemon.until("the last requests", PATIENCE, |snapshot| {
        let route = of(&snapshot["routes"], "id", "default");
        let count = |key: &str| route[key].as_u64();
        (snapshot["edge"]["in_flight"] == 0 && snapshot["edge"]["connections"] == 0)
            .then(|| Some((count("good")? - sent, count("bad")?, count("excluded")?)))
            .flatten()
    });
    let (good, bad, excluded) = counts;
    assert_eq!(bad, REQUESTS, "no failure among wrk's");
    assert!(
        theirs <= good && good + excluded <= theirs + 64,
        "wrk counted {theirs}, we counted {counts:?}"
    );
    assert!(daemon.stop().success());
}

#[test]
fn pythons_file_server_is_served_and_blamed_as_it_deserves() {
    let Some(python) = Server::python() else {
        return skip("python3 is not installed");
    };
    let (home, daemon) = in_front_of(&python);
    let dir = home.path("");
    let url = |path: &str| format!("http://{}{path}", daemon.address());
    let Some(listing) = curl(&dir, &[&url("/")]) else {
        return skip("curl is not installed");
    };
    assert_eq!((listing.status, &*listing.version), (200, "1.1"));
    assert!(String::from_utf8_lossy(&listing.body).contains("large"));
    let fetched = curl(&dir, &[&url("/large")]).unwrap();
    assert!(fetched.status == 200 && fetched.body == large());
    let head = curl(&dir, &["--head", &url("/large")]).unwrap();
    let head = String::from_utf8_lossy(&head.body).to_lowercase();
    assert!(head.contains(&format!("content-length: {LARGE}")), "{head}");
    assert_eq!(curl(&dir, &[&url("/missing")]).unwrap().status, 404);
    counted(&daemon, "default", 4, 0);
    // It knows no POST and says so with a 501, which is a server's error like any other.
    let refused = curl(&dir, &["--data", "x=1", &url("/")]).unwrap();
    assert_eq!(refused.status, 501);
    let snapshot = counted(&daemon, "default", 4, 1);
    let route = of(&snapshot["routes"], "id", "default");
    assert_eq!(
        of(&route["faults"], "fault", "upstream_5xx")["side"],
        "upstream"
    );

    drop(python);
    let gone = curl(&dir, &[&url("/large")]).unwrap();
    assert_eq!(gone.status, 502);
    let snapshot = counted(&daemon, "default", 4, 2);
    let route = of(&snapshot["routes"], "id", "default");
    assert_eq!(of(&route["faults"], "fault", "connect_refused")["count"], 1);
    assert!(daemon.stop().success());
}
