//! Certificates by name for clients, and verification of upstreams.

use std::fs;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use rustls::{Error as TlsError, StreamOwned};
use tokio_rustls::TlsConnector;

use crate::client::{Client, dial, lines};
use crate::daemon::{Daemon, until};
use crate::http2::{Http2, run};
use crate::origin::{Conn, OK, Origin, Then};
use crate::websocket::{SWITCHING, UPGRADE};
use crate::wire::Message;

/// Someone who vouches for names.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

/// A certificate and its key.
pub(crate) struct Pair {
    chain: String,
    key: String,
    pub(crate) der: Vec<u8>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the system has randomness");
        let own = params.self_signed(&key).expect("it can be signed");
        Self {
            pem: own.pem(),
            der: own.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for `names`.
    pub(crate) fn vouch_for(&self, names: &[&str]) -> Pair {
        self.vouch(names, |_| {})
    }

    pub(crate) fn vouch(&self, names: &[&str], change: impl Fn(&mut CertificateParams)) -> Pair {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("they are names");
        change(&mut params);
        let key = KeyPair::generate().expect("the system has randomness");
        let signed = params.signed_by(&key, &self.issuer);
        let signed = signed.expect("it can be signed");
        Pair {
            chain: signed.pem(),
            key: key.serialize_pem(),
            der: signed.der().to_vec(),
        }
    }

    /// A list of what it has revoked, which is nothing, until tomorrow.
    pub(crate) fn list(&self) -> Vec<u8> {
        self.revoking(&[])
    }

    /// A list that these serial numbers are on.
    pub(crate) fn revoking(&self, serials: &[u64]) -> Vec<u8> {
        let now = time::OffsetDateTime::now_utc();
        let list = rcgen::CertificateRevocationListParams {
            this_update: now - time::Duration::minutes(1),
            next_update: now + time::Duration::days(1),
            crl_number: rcgen::SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials
                .iter()
                .map(|serial| rcgen::RevokedCertParams {
                    serial_number: rcgen::SerialNumber::from(*serial),
                    revocation_time: now - time::Duration::minutes(1),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let signed = list.signed_by(&self.issuer).expect("it can be signed");
        signed.der().to_vec()
    }

    /// Writes its own certificate, which others trust it by.
    pub(crate) fn write(&self, path: &Path) {
        fs::write(path, &self.pem).expect("the directory can be written");
    }

    /// How a client that trusts it alone connects.
    pub(crate) fn trusting(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let added = roots.add(self.der.clone());
        added.expect("it is a certificate");
        ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// The same over one version of TLS.
    pub(crate) fn trusting_over(
        &self,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let added = roots.add(self.der.clone());
        added.expect("it is a certificate");
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .expect("the provider has it")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// The same for a client that shows `pair`.
    pub(crate) fn showing(&self, pair: &Pair) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let added = roots.add(self.der.clone());
        added.expect("it is a certificate");
        let (chain, key) = pair.parts();
        ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .expect("the pair belongs together")
    }
}

impl Pair {
    /// Writes `NAME.pem` and `NAME-key.pem`.
    pub(crate) fn write(&self, dir: &Path, name: &str) {
        fs::write(dir.join(format!("{name}.pem")), &self.chain).expect("it can be written");
        fs::write(dir.join(format!("{name}-key.pem")), &self.key).expect("it can be written");
    }

    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        use rustls::pki_types::pem::PemObject as _;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("it is a key");
        (vec![CertificateDer::from(self.der.clone())], key)
    }

    /// How a server that shows it listens.
    pub(crate) fn serving(&self) -> Arc<ServerConfig> {
        let (chain, key) = self.parts();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Arc::new(config.expect("the pair belongs together"))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A connection after its handshake, or why there is none.
pub(crate) fn handshake(
    address: SocketAddr,
    config: ClientConfig,
    name: &str,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    handshake_after(address, b"", config, name)
}

/// The same after some bytes in the clear.
pub(crate) fn handshake_after(
    address: SocketAddr,
    first: &[u8],
    config: ClientConfig,
    name: &str,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).expect("it is a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("it is complete");
    let mut stream = StreamOwned::new(connection, dial(address));
    stream.sock.write_all(first)?;
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// A client that found the name it asked for.
fn connect(address: SocketAddr, authority: &Authority, name: &str) -> Client<Secure> {
    let stream = handshake(address, authority.trusting(), name).expect("the name is served");
    let socket = stream.sock.try_clone().expect("a socket can be cloned");
    Client::over(stream, socket)
}

type Secure = StreamOwned<ClientConnection, TcpStream>;

/// Keys of an upstream that is verified by `ca.pem`.
const TRUSTED: &str = "[upstream.tls]\nroots_file = 'ca.pem'\n";

/// A daemon with a TLS listener for `shop.test`, `www.shop.test` and `*.api.test`, and one route to `origin`.
fn daemon(origin: &Origin, authority: &Authority, route: &str) -> Daemon {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let shop = authority.vouch_for(&["shop.test", "www.shop.test"]);
    shop.write(dir.path(), "shop");
    authority
        .vouch_for(&["*.api.test"])
        .write(dir.path(), "api");
    authority.write(&dir.path().join("ca.pem"));
    let config = format!(
        "[[upstream]]\nname = 'u'\nendpoints = ['{}']\n{TRUSTED}\
         [[route]]\nid = 'r'\nupstream = 'u'\n{route}\n\
         [[certificate]]\nname = 'shop'\nchain_file = 'shop.pem'\nkey_file = 'shop-key.pem'\n\
         [[certificate]]\nname = 'api'\nchain_file = 'api.pem'\nkey_file = 'api-key.pem'\n\
         [[listener]]\nname = 'https'\naddress = '127.0.0.1:0'\ncertificates = ['shop', 'api']\n",
        origin.url()
    );
    Daemon::start_in(dir, &config)
}

#[test]
fn the_name_a_client_asks_for_chooses_the_certificate() {
    let (origin, authority) = (Origin::ok(), Authority::new("ours"));
    let daemon = daemon(&origin, &authority, "");
    let address = daemon.listener("https");
    let shown = |name: &str| {
        let stream = handshake(address, authority.trusting(), name)?;
        let chain = stream.conn.peer_certificates().expect("it was shown one");
        Ok::<_, io::Error>(chain[0].to_vec())
    };
    let [shop, www] = ["shop.test", "www.shop.test"].map(|name| shown(name).expect("served"));
    let api = shown("v1.api.test").expect("a wildcard stands for one label");
    assert_eq!(shop, www, "one certificate speaks for both");
    assert_ne!(shop, api);
    assert_eq!(shown("v2.api.test").expect("served"), api);
    assert_eq!(shown("SHOP.test").expect("names have no case"), shop);

    let unknown = ["other.test", "api.test", "a.v1.api.test", "shop.test.evil"];
    for name in unknown {
        assert_refused(shown(name), name);
    }
    // An address is no name that a client could ask for (RFC 6066, 3): this client asks for none.
    assert_refused(shown("127.0.0.1"), "no name at all");
    let metrics = daemon.counted(&[]);
    let handshakes = |result| metrics.sum("vestibule_tls_handshakes_total", &[("result", result)]);
    assert_eq!((handshakes("ok"), handshakes("failed")), (5, 5));
    let failed = |reason| {
        let name = "vestibule_tls_handshake_failures_total";
        metrics.sum(name, &[("reason", reason)])
    };
    assert_eq!((failed("unknown_name"), failed("no_name")), (4, 1));
    assert_eq!(origin.connections(), 0);
}

/// What clients and scanners do is told apart, and only a certificate that they refuse is blamed on the service.
#[test]
fn a_handshake_that_fails_is_counted_by_its_reason_and_spends_a_budget_only_when_it_is_ours() {
    use std::io::Write as _;
    let (origin, authority) = (Origin::ok(), Authority::new("ours"));
    let slo = "[[slo]]\nid = 'tls'\nsli = 'tls-handshake'\n";
    let daemon = daemon(&origin, &authority, slo);
    let address = daemon.listener("https");
    handshake(address, authority.trusting(), "shop.test").expect("it is served");
    let others = Authority::new("others");
    for _ in 0..2 {
        handshake(address, others.trusting(), "shop.test").expect_err("it trusts another");
    }
    let mut plain = dial(address);
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    drop(dial(address));
    let mut nothing = authority.trusting();
    nothing.alpn_protocols = vec![b"gopher/0".to_vec()];
    handshake(address, nothing, "shop.test").expect_err("nobody speaks it");
    let reasons = [
        ("client_refused", 2),
        ("not_tls", 1),
        ("client_gone", 1),
        ("nothing_in_common", 1),
        ("internal", 0),
    ];
    let counted = until("each is counted by its reason", || {
        let metrics = daemon.counted(&[]);
        let of = |reason| {
            let name = "vestibule_tls_handshake_failures_total";
            metrics.sum(name, &[("reason", reason)])
        };
        let all = reasons.iter().all(|(reason, count)| of(reason) == *count);
        all.then_some(metrics)
    });
    let events = |result| counted.sum("vestibule_slo_events_total", &[("result", result)]);
    assert_eq!((events("good"), events("bad")), (1, 2));
}

fn assert_refused(shown: io::Result<Vec<u8>>, name: &str) {
    let error = shown.expect_err(name);
    let inner = error.get_ref().and_then(|error| error.downcast_ref());
    assert!(
        matches!(
            inner,
            Some(TlsError::AlertReceived(AlertDescription::AccessDenied))
        ),
        "{name}: an alert, not silence: {error:?}"
    );
}

#[test]
fn over_tls_only_names_of_the_shown_certificate_may_be_asked_for() {
    let (origin, authority) = (Origin::ok(), Authority::new("ours"));
    let daemon = daemon(&origin, &authority, "");
    let mut client = connect(daemon.listener("https"), &authority, "shop.test");
    for (host, status) in [
        ("shop.test", 200),
        ("www.shop.test", 200),
        ("v1.api.test", 421),
        ("other.test", 421),
        ("SHOP.test:443", 200),
    ] {
        client.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        assert_eq!(client.response().status(), status, "{host}");
    }
    daemon.counted(&[("r good", 3), ("none downstream/misdirected", 2)]);
    let forwarded = origin.requests();
    assert_eq!(forwarded.len(), 3);
    for seen in forwarded {
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    }
}

#[test]
fn http2_is_spoken_when_a_client_offers_it() {
    let (origin, authority) = (Origin::ok(), Authority::new("ours"));
    let daemon = daemon(&origin, &authority, "");
    let address = daemon.listener("https");
    run(async {
        let mut config = authority.trusting();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let tcp = tokio::net::TcpStream::connect(address).await;
        let name = ServerName::try_from("shop.test").expect("it is a name");
        let connecting =
            TlsConnector::from(Arc::new(config)).connect(name, tcp.expect("it listens"));
        let stream = connecting.await.expect("the name is served");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut client = Http2::over_stream(stream).await;
        for _ in 0..3 {
            let answer = client.get("/").await;
            assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));
        }
    });
    // Who offers nothing gets HTTP/1.1, and who offers only what we do not speak gets an alert.
    let mut plain = connect(address, &authority, "shop.test");
    assert_eq!(plain.get("/").status(), 200);
    let mut config = authority.trusting();
    config.alpn_protocols = vec![b"spdy/3".to_vec()];
    assert!(handshake(address, config, "shop.test").is_err());
    daemon.counted(&[("r good", 4)]);
    let lines = daemon.access_log();
    let protocols = lines.iter().map(|line| line["protocol"].as_str());
    assert_eq!(protocols.flatten().filter(|p| *p == "HTTP/2.0").count(), 3);
}

#[test]
fn plain_text_on_a_tls_port_is_a_failed_handshake_and_no_request() {
    let (origin, authority) = (Origin::ok(), Authority::new("ours"));
    let daemon = daemon(&origin, &authority, "");
    let mut client = Client::connect(daemon.listener("https"));
    client.send(lines("GET / HTTP/1.1", &[]));
    let answer = client.rest();
    assert!(!answer.starts_with(b"HTTP/"), "no plain answer");
    until("the count", || {
        let failed = [("result", "failed")];
        let metrics = daemon.metrics();
        (metrics.sum("vestibule_tls_handshakes_total", &failed) == 1).then_some(())
    });
    daemon.counted(&[]);
}

#[test]
fn a_websocket_passes_through_tls_on_both_sides() {
    let authority = Authority::new("ours");
    let origin = Origin::tls(
        authority.vouch_for(&["127.0.0.1"]).serving(),
        |_, conn: &mut Conn| {
            conn.send([SWITCHING, "welcome"].concat());
            conn.echo();
            Then::Close
        },
    );
    let daemon = daemon(&origin, &authority, "websocket = true");
    let mut client = connect(daemon.listener("https"), &authority, "shop.test");
    client.send(lines("GET /chat HTTP/1.1", &UPGRADE) + "early");
    assert_eq!(client.response().status(), 101);
    assert_eq!(client.take(12), b"welcomeearly");
    for piece in [&b"late"[..], &[b'x'; 300_000]] {
        client.send(piece);
        assert_eq!(client.take(piece.len()), piece);
    }
    drop(client);
    origin.until_ended(1);
    daemon.counted(&[("r good", 1)]);
    daemon.until_unconnected();
}

/// What an upstream's certificate is, how it is asked for, and what comes of it.
struct Verified {
    name: &'static str,
    origin: Shows,
    keys: &'static str,
    result: Result<(), &'static str>,
}

#[derive(Clone, Copy)]
enum Shows {
    /// A certificate of the authority that is trusted.
    Trusted(&'static [&'static str]),
    /// One of an authority that nobody knows.
    Unknown,
    /// One whose time is over.
    Expired,
    /// No TLS at all.
    Nothing,
}

const VERIFIED: &[Verified] = &[
    Verified {
        name: "its address is in the certificate",
        origin: Shows::Trusted(&["127.0.0.1"]),
        keys: "roots_file = 'ca.pem'",
        result: Ok(()),
    },
    Verified {
        name: "a name is configured and in the certificate",
        origin: Shows::Trusted(&["origin.test"]),
        keys: "roots_file = 'ca.pem'\nserver_name = 'origin.test'",
        result: Ok(()),
    },
    Verified {
        name: "another name",
        origin: Shows::Trusted(&["origin.test"]),
        keys: "roots_file = 'ca.pem'\nserver_name = 'other.test'",
        result: Err("tls_handshake"),
    },
    Verified {
        name: "its address is not in the certificate",
        origin: Shows::Trusted(&["origin.test"]),
        keys: "roots_file = 'ca.pem'",
        result: Err("tls_handshake"),
    },
    Verified {
        name: "an unknown authority",
        origin: Shows::Unknown,
        keys: "roots_file = 'ca.pem'",
        result: Err("tls_handshake"),
    },
    Verified {
        name: "an unknown authority, and nobody minds",
        origin: Shows::Unknown,
        keys: "insecure = true",
        result: Ok(()),
    },
    Verified {
        name: "an expired certificate",
        origin: Shows::Expired,
        keys: "roots_file = 'ca.pem'",
        result: Err("tls_handshake"),
    },
    Verified {
        name: "plain text where TLS was expected",
        origin: Shows::Nothing,
        keys: "roots_file = 'ca.pem'",
        result: Err("tls_handshake"),
    },
];

impl Shows {
    fn start(self, trusted: &Authority) -> Origin {
        let answer = |_: &Message, conn: &mut Conn| {
            conn.send(OK);
            Then::KeepOpen
        };
        let pair = match self {
            Self::Trusted(names) => trusted.vouch_for(names),
            Self::Unknown => Authority::new("theirs").vouch_for(&["127.0.0.1"]),
            Self::Expired => trusted.vouch(&["127.0.0.1"], |params| {
                params.not_before = rcgen::date_time_ymd(2001, 1, 1);
                params.not_after = rcgen::date_time_ymd(2002, 1, 1);
            }),
            // Speaks first, so that nobody waits for nothing.
            Self::Nothing => {
                return Origin::raw(|conn| {
                    conn.send("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
                });
            }
        };
        Origin::tls(pair.serving(), answer)
    }
}

#[test]
fn an_upstream_is_spoken_to_only_when_its_certificate_is_right() {
    let trusted = Authority::new("ours");
    for Verified {
        name,
        origin,
        keys,
        result,
    } in VERIFIED
    {
        let origin = origin.start(&trusted);
        let dir = tempfile::tempdir().expect("a temporary directory");
        trusted.write(&dir.path().join("ca.pem"));
        let daemon = Daemon::start_in(
            dir,
            &format!(
                "[[upstream]]\nname = 'u'\nendpoints = ['https://{}']\n[upstream.tls]\n{keys}\n\
                 [[route]]\nid = 'r'\nupstream = 'u'\n",
                origin.address
            ),
        );
        let mut client = Client::connect(daemon.address());
        for _ in 0..2 {
            let answer = client.get("/");
            let expected = match result {
                Ok(()) => (200, "ok".to_owned()),
                Err(fault) => (502, format!("502 {}\n", fault.replace('_', " "))),
            };
            assert_eq!((answer.status(), answer.text()), expected, "{name}");
        }
        match result {
            Ok(()) => {
                daemon.counted(&[("r good", 2)]);
                // Where certificates are verified, they are also looked at, on connections of their own.
                if keys.contains("insecure") {
                    assert_eq!(origin.connections(), 1, "{name}: it is kept open");
                }
            }
            Err(fault) => {
                daemon.counted(&[(&format!("r upstream/{fault}"), 2)]);
                assert!(origin.requests().is_empty(), "{name}: it saw no request");
            }
        }
    }
}

#[test]
fn an_upstream_that_never_ends_its_handshake_runs_into_the_connect_timeout() {
    let origin = Origin::raw(|conn| drop(conn.drain()));
    let dir = tempfile::tempdir().expect("a temporary directory");
    Authority::new("ours").write(&dir.path().join("ca.pem"));
    let daemon = Daemon::start_in(
        dir,
        &format!(
            "[[upstream]]\nname = 'u'\nendpoints = ['https://{}']\nconnect_timeout = '300ms'\n{TRUSTED}\
             [[route]]\nid = 'r'\nupstream = 'u'\n",
            origin.address
        ),
    );
    assert_eq!(Client::connect(daemon.address()).get("/").status(), 504);
    daemon.counted(&[("r upstream/connect_timeout", 1)]);
}
