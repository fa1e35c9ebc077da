//! Clients that show certificates: who is let in, what upstreams are told, and why others are not.

use std::io;
use std::net::TcpStream;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, SerialNumber};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::client::{Client, lines};
use crate::daemon::{Daemon, until};
use crate::origin::Origin;
use crate::tls::{Authority, Pair, handshake};

const CLIENT: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ClientAuth;

/// A certificate for a client with this serial number.
fn client(authority: &Authority, serial: u64) -> Pair {
    client_with(authority, serial, |_| {})
}

fn client_with(
    authority: &Authority,
    serial: u64,
    change: impl Fn(&mut CertificateParams),
) -> Pair {
    authority.vouch(&["robot.test"], |params| {
        let name = &mut params.distinguished_name;
        name.push(DnType::OrganizationName, "Ops, \"x\"");
        name.push(DnType::CommonName, "robot");
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![CLIENT];
        let uri = "spiffe://shop/robot,DNS:admin.test";
        let uri = rcgen::SanType::URI(uri.try_into().expect("it is ASCII"));
        params.subject_alt_names.push(uri);
        change(params);
    })
}

/// A TLS listener `mtls` for `shop.test` and `www.shop.test` that asks for certificates of `ours`, and one that does not, with
/// the routes `open` and, below `/in`, `closed`.
fn daemon(origin: &Origin, servers: &Authority, ours: &Authority, keys: &str) -> Daemon {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let pair = servers.vouch_for(&["shop.test", "www.shop.test"]);
    pair.write(dir.path(), "shop");
    ours.write(&dir.path().join("clients.pem"));
    std::fs::write(dir.path().join("clients.crl"), ours.revoking(&[66])).expect("it is written");
    let config = format!(
        "[[upstream]]\nname = 'u'\nendpoints = ['{}']\n\
         [[route]]\nid = 'open'\nupstream = 'u'\n\
         [[route]]\nid = 'closed'\nupstream = 'u'\npath = '/in'\nclient_certificate = 'required'\n\
         [[certificate]]\nname = 'shop'\nchain_file = 'shop.pem'\nkey_file = 'shop-key.pem'\n\
         [[listener]]\nname = 'https'\naddress = '127.0.0.1:0'\ncertificates = ['shop']\n\
         [[listener]]\nname = 'mtls'\naddress = '127.0.0.1:0'\ncertificates = ['shop']\n\
         client_certificates = {{ ca_file = 'clients.pem', {keys} }}\n",
        origin.url()
    );
    Daemon::start_in(dir, &config)
}

type Secure = Client<StreamOwned<ClientConnection, TcpStream>>;

fn connected(daemon: &Daemon, listener: &str, config: ClientConfig) -> io::Result<Secure> {
    let stream = handshake(daemon.listener(listener), config, "shop.test")?;
    let socket = stream.sock.try_clone().expect("a socket can be cloned");
    Ok(Client::over(stream, socket))
}

/// Whether a client that connects so is answered.
fn is_served(daemon: &Daemon, config: ClientConfig) -> bool {
    let Ok(mut client) = connected(daemon, "mtls", config) else {
        return false;
    };
    // By TLS 1.3 a client has shaken hands before the server has judged it.
    client.push(lines("GET / HTTP/1.1", &[]).as_bytes());
    client.try_response("GET").is_some()
}

#[test]
fn a_client_is_let_in_only_with_a_certificate_that_holds_and_every_refusal_has_its_reason() {
    let [servers, ours, theirs] = ["servers", "ours", "theirs"].map(Authority::new);
    let origin = Origin::ok();
    let daemon = daemon(&origin, &servers, &ours, "crl_files = ['clients.crl']");
    assert!(is_served(&daemon, servers.showing(&client(&ours, 1))));
    assert_eq!(origin.requests().len(), 1);

    let expired = client_with(&ours, 2, |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let early = client_with(&ours, 3, |params| {
        params.not_before = rcgen::date_time_ymd(4000, 1, 1);
        params.not_after = rcgen::date_time_ymd(4001, 1, 1);
    });
    let server = client_with(&ours, 4, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    for (config, reason, count) in [
        (servers.trusting(), "certificate_missing", 0),
        (servers.showing(&expired), "certificate_expired", 1),
        (servers.showing(&early), "certificate_expired", 2),
        (
            servers.showing(&client(&theirs, 5)),
            "certificate_untrusted",
            1,
        ),
        (
            servers.showing(&client(&ours, 66)),
            "certificate_revoked",
            1,
        ),
        (servers.showing(&server), "certificate_invalid", 1),
        (theirs.showing(&client(&ours, 7)), "client_refused", 1),
    ] {
        assert!(!is_served(&daemon, config), "{reason}");
        // Whoever comes from this machine and shows nothing may be the daemon itself.
        until(reason, || failed(&daemon, reason, count));
    }
    assert_eq!(origin.requests().len(), 1, "nobody else came through");
}

/// `Some` when so many handshakes have failed for this reason.
fn failed(daemon: &Daemon, reason: &str, count: u64) -> Option<()> {
    let metrics = daemon.metrics();
    let name = "vestibule_tls_handshake_failures_total";
    (metrics.sum(name, &[("reason", reason)]) == count).then_some(())
}

#[test]
fn other_failed_handshakes_have_distinct_reasons_too() {
    let [servers, ours] = ["servers", "ours"].map(Authority::new);
    let origin = Origin::ok();
    let daemon = daemon(&origin, &servers, &ours, "");
    let address = daemon.listener("https");
    let named = |name: &str, change: fn(&mut ClientConfig)| {
        let mut config = servers.trusting();
        change(&mut config);
        assert!(handshake(address, config, name).is_err(), "{name}");
    };
    named("127.0.0.1", |_| {});
    named("other.test", |_| {});
    named("shop.test", |config| {
        config.alpn_protocols = vec![b"spdy/3".to_vec()];
    });
    named("SHOP.test", |config| config.enable_sni = false);
    let mut plain = Client::connect(address);
    plain.send(lines("GET / HTTP/1.1", &[]));
    plain.rest();
    let mut gone = Client::connect(address);
    gone.send([22, 3, 1]);
    drop(gone);
    for (reason, count) in [
        ("no_name", 2),
        ("unknown_name", 1),
        ("nothing_in_common", 1),
        ("not_tls", 1),
        ("client_gone", 1),
    ] {
        until(reason, || failed(&daemon, reason, count));
    }
    let failed = daemon
        .metrics()
        .sum("vestibule_tls_handshakes_total", &[("result", "failed")]);
    assert_eq!(failed, 6);
}

#[test]
fn an_upstream_is_told_who_the_client_is_and_no_client_says_so_itself() {
    let [servers, ours] = ["servers", "ours"].map(Authority::new);
    let origin = Origin::ok();
    let keys = "ask = 'optional', headers = ['certificate', 'subject', 'issuer', 'serial', 'fingerprint', 'names']";
    let daemon = daemon(&origin, &servers, &ours, keys);
    let forged = [
        "client-cert: :AAAA:",
        "client-cert-chain: :AAAA:",
        "X-Client-Cert-Subject: CN=admin",
        "x-client-cert-anything: 1",
        "x-ssl-client-verify: SUCCESS",
        "ssl-client-subject-dn: CN=admin",
        "x-forwarded-client-cert: By=me",
        "x-forwarded-tls-client-cert: MIIB",
    ];
    let ask = |client: &mut Secure, path: &str| {
        client.send(lines(&format!("GET {path} HTTP/1.1"), &forged));
        client.response().status()
    };
    let robot = client(&ours, 0x1234);
    let mut certified = connected(&daemon, "mtls", servers.showing(&robot)).expect("let in");
    assert_eq!(ask(&mut certified, "/"), 200);
    assert_eq!(ask(&mut certified, "/in"), 200);
    let mut stranger = connected(&daemon, "mtls", servers.trusting()).expect("it is optional");
    assert_eq!(ask(&mut stranger, "/"), 200);
    assert_eq!(ask(&mut stranger, "/in"), 403);
    let mut elsewhere = connected(&daemon, "https", servers.showing(&robot)).expect("not asked");
    assert_eq!(ask(&mut elsewhere, "/in"), 403);

    let requests = origin.requests();
    assert_eq!(requests.len(), 3);
    for seen in &requests[..2] {
        let told = |name: &str| seen.header(name).unwrap_or_default().to_owned();
        let subject = told("x-client-cert-subject");
        assert!(subject.contains(r#"O=Ops\, \"x\""#), "{subject}");
        assert!(told("x-client-cert-issuer").contains("CN=ours"));
        assert_eq!(told("x-client-cert-serial"), "1234");
        assert_eq!(told("x-client-cert-fingerprint").len(), 64);
        assert_eq!(
            told("x-client-cert-names"),
            r"DNS:robot.test, URI:spiffe://shop/robot\2CDNS:admin.test"
        );
        assert!(told("client-cert").len() > 300 && told("client-cert").starts_with(':'));
    }
    for seen in &requests {
        let mut names = seen.headers.iter().map(|(name, _)| name.as_str());
        let foreign = names.find(|name| {
            *name == "client-cert-chain"
                || *name == "x-client-cert-anything"
                || name.contains("ssl")
                || name.starts_with("x-forwarded-cl")
                || name.starts_with("x-forwarded-tls")
        });
        assert_eq!(foreign, None);
    }
    let told = requests[2]
        .headers
        .iter()
        .any(|(name, _)| name.contains("client-cert"));
    assert!(!told, "nothing is said of who showed nothing");
    daemon.counted(&[
        ("open good", 2),
        ("closed good", 1),
        ("closed downstream/forbidden", 2),
    ]);
}

#[test]
fn a_connection_with_certificates_carries_requests_for_its_own_name_alone() {
    let [servers, ours] = ["servers", "ours"].map(Authority::new);
    let origin = Origin::ok();
    let daemon = daemon(&origin, &servers, &ours, "");
    let robot = client(&ours, 1);
    let statuses = |listener: &str| {
        let mut client = connected(&daemon, listener, servers.showing(&robot)).expect("let in");
        ["shop.test", "SHOP.test:443", "www.shop.test"].map(|host| {
            client.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"));
            client.response().status()
        })
    };
    // The certificate speaks for both names.
    assert_eq!(statuses("mtls"), [200, 200, 421]);
    assert_eq!(statuses("https"), [200, 200, 200]);
}

#[test]
fn a_session_of_a_listener_that_does_not_ask_opens_none_that_does() {
    let [servers, ours] = ["servers", "ours"].map(Authority::new);
    let origin = Origin::ok();
    let daemon = daemon(&origin, &servers, &ours, "");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        // One memory of sessions for both listeners: to a client they are one server.
        let config = servers.trusting_over(version);
        let mut open = connected(&daemon, "https", config.clone()).expect("nobody asks");
        open.send(lines("GET / HTTP/1.1", &[]));
        assert_eq!(open.response().status(), 200);
        drop(open);
        assert!(!is_served(&daemon, config.clone()), "{version:?}");
        let again = connected(&daemon, "https", config).expect("nobody asks");
        drop(again);
    }
    assert_eq!(origin.requests().len(), 2);
}
