//! Pebble, the certificate authority that its authors made to test clients with, and the DNS server beside it.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Answer, Client, PATIENCE, fetched, wait};
use crate::tls::{Authority, handshake};

/// The authority, its DNS, and the ports at which it looks for what it asks to be shown.
pub(crate) struct Pebble {
    programs: Vec<Child>,
    dir: TempDir,
    api: SocketAddr,
    management: SocketAddr,
    /// Where its DNS is told what to answer, over HTTP.
    pub(crate) dns: SocketAddr,
    /// Where that answers.
    pub(crate) names: SocketAddr,
    /// Who vouches for its own HTTPS.
    own: Authority,
    /// Where it expects our plain listener.
    pub(crate) http: SocketAddr,
    /// Where it expects our TLS listener.
    pub(crate) https: SocketAddr,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for program in &mut self.programs {
            // It may have ended already.
            drop(program.kill());
            drop(program.wait());
        }
    }
}

/// What it is to do wrong or otherwise.
#[derive(Default)]
pub(crate) struct Whims {
    /// Of a hundred good nonces, so many are rejected.
    pub(crate) rejects: u32,
    /// Wants an account that it knows already: its id and its MAC key, base64url.
    pub(crate) binding: Option<(&'static str, &'static str)>,
}

fn free() -> SocketAddr {
    let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr());
    free.expect("there is a free port")
}

impl Pebble {
    /// `None`: it is not there, or too old to know profiles.
    pub(crate) fn start(whims: &Whims) -> Option<Self> {
        let (pebble, dns_server) = (fetched("pebble")?, fetched("pebble-challtestsrv")?);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let own = Authority::new("Pebble's own");
        own.write(&dir.path().join("ca.pem"));
        own.vouch_for(&["127.0.0.1"]).write(dir.path(), "pebble");
        let [api, management, dns, dns_management, http, https] = std::array::from_fn(|_| free());
        let config = json!({ "pebble": {
            "listenAddress": api.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": dir.path().join("pebble.pem"),
            "privateKey": dir.path().join("pebble-key.pem"),
            "httpPort": http.port(),
            "tlsPort": https.port(),
            "externalAccountBindingRequired": whims.binding.is_some(),
            "externalAccountMACKeys": whims.binding.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
            "domainBlocklist": ["blocked.test"],
            "retryAfter": { "authz": 1, "order": 1 },
            "keyAlgorithm": "ecdsa",
            "profiles": {
                "classic": { "description": "90 days", "validityPeriod": 90 * 86_400 },
                "moment": { "description": "15 seconds", "validityPeriod": 15 },
                "third": { "description": "a third of a minute", "validityPeriod": 20 },
                "half": { "description": "half a minute", "validityPeriod": 30 },
                "minute": { "description": "a minute", "validityPeriod": 60 },
            },
        }});
        let config_file = dir.path().join("pebble.json");
        fs::write(&config_file, config.to_string()).expect("the directory can be written");
        let start = |command: &mut Command, log: &str| {
            let log = fs::File::create(dir.path().join(log)).expect("it can be written");
            let child = command
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("a file can be shared"))
                .stderr(log)
                .spawn();
            child.expect("it is there and can be started")
        };
        let mut command = Command::new(dns_server);
        command.args(["-dnsserver", &dns.to_string()]);
        command.args(["-management", &dns_management.to_string()]);
        command.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
        command.args(["-doh", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]);
        let mut programs = vec![start(&mut command, "dns.log")];
        let mut command = Command::new(pebble);
        command.args(["-dnsserver", &dns.to_string(), "-config"]);
        command.arg(config_file).env("PEBBLE_VA_NOSLEEP", "1");
        command.env("PEBBLE_WFE_NONCEREJECT", whims.rejects.to_string());
        command.env("PEBBLE_AUTHZREUSE", "0");
        programs.push(start(&mut command, "pebble.log"));
        let mut pebble = Self {
            programs,
            dir,
            api,
            management,
            dns: dns_management,
            names: dns,
            own,
            http,
            https,
        };
        let directory = pebble.until_it_answers();
        directory["meta"]["profiles"]["moment"]
            .is_string()
            .then_some(pebble)
    }

    fn until_it_answers(&mut self) -> Value {
        wait("Pebble to answer", PATIENCE, || {
            for program in &mut self.programs {
                if let Some(status) = program.try_wait().expect("it is our child") {
                    panic!("it ended with {status}: {}", self.log());
                }
            }
            std::net::TcpStream::connect(self.dns).ok()?;
            std::net::TcpStream::connect(self.management).ok()?;
            std::net::TcpStream::connect(self.api).ok()?;
            Some(self.ask(self.api, "GET /dir", b"").json())
        })
    }

    fn ask(&self, address: SocketAddr, line: &str, body: &[u8]) -> Answer {
        let stream = handshake(address, self.own.trusting(), "127.0.0.1");
        let mut client = Client::over(stream.expect("it shows what we gave it"));
        let answer = client.ask(line, &["Connection: close", "User-Agent: test"], body);
        answer.expect("it answers")
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("pebble.log")).unwrap_or_default()
    }

    /// How many certificates it has issued.
    pub(crate) fn issued(&self) -> usize {
        self.log().matches("Issued certificate serial").count()
    }

    /// How many of its orders said that they replace another.
    pub(crate) fn replaced(&self) -> usize {
        self.log().matches("has been marked as replaced").count()
    }

    /// The file that its HTTPS is verified by.
    pub(crate) fn roots(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The URL of its directory.
    pub(crate) fn directory(&self) -> String {
        format!("https://{}/dir", self.api)
    }

    /// An `[[acme]]` table called `ca`.
    pub(crate) fn table(&self, more: &str) -> String {
        format!(
            "[[acme]]\nname = 'ca'\ndirectory = '{}'\naccept_terms = true\nroots_file = '{}'\n{more}\n",
            self.directory(),
            self.roots().display()
        )
    }

    /// How a client that trusts what it issues connects, with a whole handshake each time.
    pub(crate) fn trusting(&self) -> ClientConfig {
        let pem = self.ask(self.management, "GET /roots/0", b"").text();
        let root = CertificateDer::from_pem_slice(pem.as_bytes()).expect("it is a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(root).expect("it is a root");
        let provider = rustls::crypto::ring::default_provider();
        let mut config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        config
    }

    /// Says when the certificate in `chain` is to be renewed, in seconds from now.
    pub(crate) fn wants_renewed(&self, chain: &Path, from: i64, until: i64) {
        let pem = fs::read_to_string(chain).expect("it is there");
        let (_, pem) = pem
            .split_once("-----END PRIVATE KEY-----")
            .expect("a key first");
        let now = time::OffsetDateTime::now_utc();
        let at = |secs: i64| {
            let at = now + time::Duration::seconds(secs);
            at.format(&time::format_description::well_known::Rfc3339)
                .expect("a date of our time")
        };
        let told = json!({
            "suggestedWindow": { "start": at(from), "end": at(until) },
            "explanationURL": "https://ca.test/why",
        });
        let leaf_ends = "-----END CERTIFICATE-----\n";
        let leaf = pem.split_once(leaf_ends).expect("a leaf").0;
        let body = json!({
            "certificate": format!("{}{leaf_ends}", leaf.trim_start()),
            "ariResponse": told.to_string(),
        });
        let body = body.to_string();
        let answer = self.ask(self.management, "POST /set-renewal-info/", body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Tells the DNS server something.
    pub(crate) fn dns(&self, path: &str, body: &Value) {
        let mut client = Client::connect(self.dns);
        let body = body.to_string();
        let answer = client.ask(&format!("POST {path}"), &[], body.as_bytes());
        assert_eq!(answer.expect("it answers").status, 200);
    }

    /// A program that writes to that DNS server as `hook` is called, and notes each call in the file `calls` beside it.
    pub(crate) fn hook(&self, dir: &Path) -> PathBuf {
        let script = format!(
            "#!/bin/sh\nset -e\necho \"$1 $2\" >>\"$0.calls\"\n\
             case $1 in\npresent) curl -sSf -d \"{{\\\"host\\\":\\\"$2.\\\",\\\"value\\\":\\\"$3\\\"}}\" http://{0}/set-txt ;;\n\
             cleanup) curl -sSf -d \"{{\\\"host\\\":\\\"$2.\\\"}}\" http://{0}/clear-txt ;;\nesac\n",
            self.dns
        );
        let path = dir.join("hook");
        let mut file = fs::File::create(&path).expect("the directory can be written");
        file.write_all(script.as_bytes())
            .expect("it can be written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        file.set_permissions(mode).expect("it is ours");
        path
    }
}
