//! The proxies: each started with an equivalent configuration in a directory of its own.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Which proxy, and how it is set up.
#[derive(Clone, Copy)]
pub(crate) enum Program<'a> {
    /// Ours: one route with two SLOs.
    Vestibule { name: &'a str, binary: &'a Path },
    /// Ours with so many routes.
    Crowd { binary: &'a Path, routes: usize },
    /// Writes each access line by itself, which is its default.
    Nginx,
    /// Writes access lines in batches of 32 KiB.
    NginxBuffered,
    /// Sends each access line to a syslog socket, as it cannot write files.
    Haproxy,
}

impl Program<'_> {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Vestibule { name, .. } => (*name).to_owned(),
            Self::Crowd { routes, .. } => format!("vestibule, {routes} routes"),
            Self::Nginx => "nginx + log".to_owned(),
            Self::NginxBuffered => "nginx + buffered log".to_owned(),
            Self::Haproxy => "HAProxy + log".to_owned(),
        }
    }

    pub(crate) fn is_there(&self) -> bool {
        match self {
            Self::Vestibule { binary, .. } | Self::Crowd { binary, .. } => binary.exists(),
            Self::Nginx | Self::NginxBuffered => is_installed("nginx"),
            Self::Haproxy => is_installed("haproxy"),
        }
    }
}

/// Whether a program is on PATH.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).exists())
}

/// What all proxies have in common.
pub(crate) struct Site {
    backend: u16,
    /// The core they run on; `None`: any.
    core: Option<String>,
    certificate: String,
    key: String,
}

impl Site {
    pub(crate) fn new(backend: u16, core: Option<String>) -> Self {
        // ECDSA P-256, which is rcgen's default and what certificate authorities hand out.
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self {
            backend,
            core,
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        }
    }
}

/// A running proxy; it ends with this value.
pub(crate) struct Peer {
    pub(crate) name: String,
    process: Child,
    pub(crate) plain: u16,
    pub(crate) tls: u16,
    log: Log,
    /// Configuration, state and log.
    dir: TempDir,
}

enum Log {
    File(PathBuf),
    /// Lines that arrived.
    Syslog(Arc<AtomicU64>),
}

impl Peer {
    pub(crate) fn start(program: Program<'_>, site: &Site) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        file("edge.pem", &site.certificate);
        file("edge-key.pem", &site.key);
        file(
            "edge-both.pem",
            &format!("{}{}", site.certificate, site.key),
        );
        let (plain, tls) = (free_port(), free_port());
        let place = Place {
            dir: dir.path(),
            plain,
            tls,
            backend: site.backend,
        };
        let access = Log::File(dir.path().join("access.log"));
        let (command, log) = match program {
            Program::Vestibule { binary, .. } => (
                vestibule(binary, &file("v.toml", &place.vestibule(1))),
                access,
            ),
            Program::Crowd { binary, routes } => (
                vestibule(binary, &file("v.toml", &place.vestibule(routes))),
                access,
            ),
            Program::Nginx => (nginx(&file("nginx.conf", &place.nginx(""))), access),
            Program::NginxBuffered => {
                let config = place.nginx(" buffer=32k flush=1s");
                (nginx(&file("nginx.conf", &config)), access)
            }
            Program::Haproxy => {
                let (port, lines) = syslog();
                let config = file("haproxy.cfg", &place.haproxy(port));
                (haproxy(&config), Log::Syslog(lines))
            }
        };
        let process = pinned(&command, site.core.as_deref())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let mut peer = Self {
            name: program.name(),
            process,
            plain,
            tls,
            log,
            dir,
        };
        peer.wait_until_it_answers();
        peer
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether access lines were written, so that nobody is measured without their cost.
    pub(crate) fn has_logged(&self) -> bool {
        match &self.log {
            Log::File(path) => fs::metadata(path).is_ok_and(|file| file.len() > 0),
            Log::Syslog(lines) => lines.load(Ordering::Relaxed) > 0,
        }
    }

    fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !answers(self.plain) {
            let stderr = || fs::read_to_string(self.dir.path().join("stderr")).unwrap_or_default();
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("{} ended with {status}: {}", self.name, stderr());
            }
            assert!(
                Instant::now() < deadline,
                "{} does not answer: {}",
                self.name,
                stderr()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // A polite end: nginx's worker would outlive a master that is killed.
        let id = rustix::process::Pid::from_child(&self.process);
        // One that ended by itself has been waited for, and has said why.
        if rustix::process::kill_process(id, rustix::process::Signal::TERM).is_ok() {
            self.process.wait().unwrap();
        }
    }
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut answer = Vec::new();
    stream.write_all(request).is_ok()
        && stream.read_to_end(&mut answer).is_ok()
        && answer.starts_with(b"HTTP/1.1 200 ")
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

fn pinned(command: &[String], core: Option<&str>) -> Command {
    if let Some(core) = core {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", core]).args(command);
        return pinned;
    }
    let mut plain = Command::new(&command[0]);
    plain.args(&command[1..]);
    plain
}

fn line(program: &Path, arguments: &[&str], config: &Path) -> Vec<String> {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let arguments = arguments.iter().map(ToString::to_string);
    [text(program)]
        .into_iter()
        .chain(arguments)
        .chain([text(config)])
        .collect()
}

fn vestibule(binary: &Path, config: &Path) -> Vec<String> {
    line(binary, &["run", "--config"], config)
}

fn nginx(config: &Path) -> Vec<String> {
    line(Path::new("nginx"), &["-c"], config)
}

fn haproxy(config: &Path) -> Vec<String> {
    line(Path::new("haproxy"), &["-db", "-f"], config)
}

/// A socket that takes HAProxy's lines: its port, and how many came.
fn syslog() -> (u16, Arc<AtomicU64>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let lines = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&lines);
    std::thread::spawn(move || {
        let mut line = [0; 4_096];
        while socket.recv(&mut line).is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (port, lines)
}

struct Place<'a> {
    dir: &'a Path,
    plain: u16,
    tls: u16,
    backend: u16,
}

/// Unused upstream connections that may be kept: as many as the most client connections of any scenario.
const POOL: usize = 1_024;

impl Place<'_> {
    fn vestibule(&self, routes: usize) -> String {
        let Self {
            dir,
            plain,
            tls,
            backend,
        } = self;
        let dir = dir.display();
        let mut text = format!(
            r#"
            [[listener]]
            name = "http"
            address = "127.0.0.1:{plain}"
            [[listener]]
            name = "https"
            address = "127.0.0.1:{tls}"
            certificates = ["edge"]
            [[certificate]]
            name = "edge"
            chain_file = "{dir}/edge.pem"
            key_file = "{dir}/edge-key.pem"
            [[upstream]]
            name = "web"
            endpoints = ["http://127.0.0.1:{backend}"]
            idle_connections = {POOL}
            [[route]]
            id = "web"
            upstream = "web"
            [[slo]]
            id = "web-available"
            route = "web"
            sli = "availability"
            objective = "99.9%"
            [[slo]]
            id = "web-fast"
            route = "web"
            sli = "latency"
            under = "300ms"
            objective = "95%"
            [state]
            dir = "{dir}/state"
            [proxy]
            workers = 1
            [access_log]
            output = "{dir}/access.log"
            "#
        );
        for n in 1..routes {
            writeln!(
                text,
                "[[route]]\nid = \"r{n}\"\npath = \"/tenant-{n}\"\nupstream = \"web\""
            )
            .unwrap();
        }
        text
    }

    fn nginx(&self, log: &str) -> String {
        let Self {
            dir,
            plain,
            tls,
            backend,
        } = self;
        let dir = dir.display();
        format!(
            r"
            daemon off;
            user root;
            worker_processes 1;
            worker_rlimit_nofile 16384;
            pid {dir}/pid;
            error_log stderr error;
            events {{ worker_connections 8192; }}
            http {{
                access_log {dir}/access.log combined{log};
                client_body_temp_path {dir}/body;
                proxy_temp_path {dir}/proxy;
                fastcgi_temp_path {dir}/fastcgi;
                uwsgi_temp_path {dir}/uwsgi;
                scgi_temp_path {dir}/scgi;
                keepalive_requests 1000000000;
                upstream web {{
                    server 127.0.0.1:{backend};
                    keepalive {POOL};
                    keepalive_requests 1000000000;
                }}
                server {{
                    listen 127.0.0.1:{plain};
                    listen 127.0.0.1:{tls} ssl http2;
                    ssl_certificate {dir}/edge.pem;
                    ssl_certificate_key {dir}/edge-key.pem;
                    ssl_protocols TLSv1.2 TLSv1.3;
                    location / {{
                        proxy_pass http://web;
                        proxy_http_version 1.1;
                        proxy_set_header Connection '';
                        proxy_set_header Host $http_host;
                        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                        proxy_set_header X-Forwarded-Proto $scheme;
                    }}
                }}
            }}
            "
        )
    }

    fn haproxy(&self, syslog: u16) -> String {
        let Self {
            dir,
            plain,
            tls,
            backend,
        } = self;
        let dir = dir.display();
        format!(
            r"
            global
                nbthread 1
                maxconn 8192
                log 127.0.0.1:{syslog} len 2048 local0 info
            defaults
                mode http
                log global
                option httplog
                option forwardfor
                http-reuse always
                timeout connect 5s
                timeout client 75s
                timeout server 60s
            frontend edge
                bind 127.0.0.1:{plain}
                bind 127.0.0.1:{tls} ssl crt {dir}/edge-both.pem alpn h2,http/1.1
                http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
                http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
                default_backend web
            backend web
                server web 127.0.0.1:{backend}
"
        )
    }
}
