//! The PROXY protocol: who the client is when a balancer says so, and who is refused.

use std::net::{Ipv4Addr, SocketAddr};

use tempfile::TempDir;

use crate::client::{Client, get, lines};
use crate::daemon::{Daemon, until};
use crate::origin::Origin;
use crate::tls::{Authority, handshake, handshake_after};

/// A daemon with a listener `balanced` that expects headers from `trusted`.
fn daemon(origin: &Origin, trusted: &str) -> Daemon {
    let dir = tempfile::tempdir().expect("a temporary directory");
    start(dir, origin, trusted, "")
}

fn start(dir: TempDir, origin: &Origin, trusted: &str, more: &str) -> Daemon {
    let config = format!(
        "[proxy]\nworkers = 1\ntrusted_proxies = ['{trusted}']\n[limits]\nhandshake_timeout = '1s'\n\
         [[upstream]]\nname = 'u'\nendpoints = ['{}']\n\
         [[route]]\nid = 'r'\nupstream = 'u'\ndeny_from = ['192.0.2.66']\n\
         [[listener]]\nname = 'balanced'\naddress = '127.0.0.1:0'\nproxy_protocol = true\n{more}\n",
        origin.url()
    );
    Daemon::start_in(dir, &config)
}

/// A connection from an address of this machine that is not the daemon's.
fn dial_from(host: u8, to: SocketAddr) -> Client {
    let domain = socket2::Domain::IPV4;
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0));
    socket.bind(&from.into()).expect("all of 127/8 is ours");
    socket.connect(&to.into()).expect("it connects");
    let stream = crate::client::patient(socket.into());
    Client::over(stream.try_clone().expect("it can be cloned"), stream)
}

fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("it is short");
    let head = b"\r\n\r\n\0\r\nQUIT\n";
    [&head[..], &[command, family], &length.to_be_bytes(), rest].concat()
}

const SOURCE: [u8; 12] = [192, 0, 2, 9, 198, 51, 100, 1, 0xdc, 4, 1, 187];
const TEXT: &[u8] = b"PROXY TCP4 192.0.2.9 198.51.100.1 56324 443\r\n";

#[test]
fn whose_connection_it_is_says_the_balancer_in_either_version() {
    let origin = Origin::ok();
    let daemon = daemon(&origin, "127.0.0.0/8");
    let to = daemon.listener("balanced");
    let with_more = [&SOURCE[..], &[0xea, 0, 4, b't', b'e', b's', b't']].concat();
    let headers: [(&[u8], &str); 6] = [
        (TEXT, "192.0.2.9"),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 1 2\r\n", "2001:db8::9"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.7"),
        (&version_2(0x21, 0x11, &SOURCE), "192.0.2.9"),
        (&version_2(0x21, 0x11, &with_more), "192.0.2.9"),
        (&version_2(0x20, 0, &[]), "127.0.0.7"),
    ];
    for (header, _) in headers {
        let mut client = dial_from(7, to);
        let request = lines("GET / HTTP/1.1", &["x-forwarded-for: 1.1.1.1"]);
        client.send([header, request.as_bytes()].concat());
        assert_eq!(client.response().status(), 200);
        // It is said once.
        assert_eq!(client.get("/").status(), 200);
        let mut slow = dial_from(7, to);
        for byte in header {
            slow.send([*byte]);
        }
        assert_eq!(slow.get("/").status(), 200);
    }
    let requests = origin.requests();
    assert_eq!(requests.len(), 18);
    for (asked, (_, address)) in requests.chunks(3).zip(headers) {
        for seen in asked {
            let told = seen.header("x-forwarded-for").expect("it is told");
            assert_eq!(told.rsplit(", ").next(), Some(address));
            // What a client says of others counts only if it is trusted itself, as the balancer is.
            assert!(told == address || address == "127.0.0.7", "{told}");
        }
    }
    let mut denied = dial_from(7, to);
    denied.send("PROXY TCP4 192.0.2.66 198.51.100.1 1 443\r\n");
    assert_eq!(denied.get("/").status(), 403);
    daemon.counted(&[("r good", 18), ("r downstream/forbidden", 1)]);
}

#[test]
fn tls_follows_the_header_untouched() {
    let origin = Origin::ok();
    let authority = Authority::new("ours");
    let dir = tempfile::tempdir().expect("a temporary directory");
    authority
        .vouch_for(&["shop.test"])
        .write(dir.path(), "shop");
    let more = "certificates = ['shop']\n\
                [[certificate]]\nname = 'shop'\nchain_file = 'shop.pem'\nkey_file = 'shop-key.pem'";
    let daemon = start(dir, &origin, "127.0.0.0/8", more);
    let to = daemon.listener("balanced");
    for header in [TEXT, &version_2(0x21, 0x11, &SOURCE)] {
        let stream = handshake_after(to, header, authority.trusting(), "shop.test");
        let stream = stream.expect("it shakes hands");
        let socket = stream.sock.try_clone().expect("a socket can be cloned");
        let mut client = Client::over(stream, socket);
        assert_eq!(client.get("/").status(), 200);
    }
    for seen in origin.requests() {
        assert_eq!(seen.header("x-forwarded-for"), Some("192.0.2.9"));
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    }
    // The daemon itself looks at what is shown, without a header.
    assert!(handshake(to, authority.trusting(), "shop.test").is_ok());
}

#[test]
fn who_may_not_say_it_or_says_it_wrongly_is_refused_and_counted() {
    let origin = Origin::ok();
    let daemon = daemon(&origin, "127.0.0.7");
    let to = daemon.listener("balanced");
    let refused = |from: u8, bytes: &[u8]| {
        let mut client = dial_from(from, to);
        client.push(&[bytes, get("/").as_bytes()].concat());
        assert_eq!(client.rest(), b"", "{bytes:?}");
    };
    refused(8, TEXT);
    refused(8, b"");
    refused(7, b"");
    refused(7, b"\r\n\r\n\0\r\nQUIX");
    refused(7, b"PROXY TCP4 192.0.2.9\r\n");
    refused(7, b"PROXY TCP4 192.0.2.9 198.51.100.1 56324 443\n");
    refused(7, &[&b"PROXY "[..], &[b'x'; 200]].concat());
    refused(7, &version_2(0x31, 0x11, &SOURCE));
    refused(7, &version_2(0x21, 0x11, &SOURCE[..8]));
    refused(7, &version_2(0x21, 0x12, &SOURCE));
    refused(7, &version_2(0x21, 0x11, &[0; 5_000]));
    // Not in time, or not to its end.
    let mut late = dial_from(7, to);
    late.send("PROXY TCP4");
    assert_eq!(late.rest(), b"");
    let mut partly = dial_from(7, to);
    partly.send(&version_2(0x21, 0x11, &SOURCE)[..20]);
    partly.half_close();
    assert_eq!(partly.rest(), b"");
    until("the counts", || {
        let metrics = daemon.metrics();
        let name = "vestibule_proxy_protocol_refused_total";
        let of = |reason| metrics.sum(name, &[("reason", reason)]);
        let counts = ["untrusted", "absent", "malformed", "incomplete"].map(of);
        (counts == [2, 2, 7, 2]).then_some(())
    });
    assert!(origin.requests().is_empty());
    // Whoever comes from the daemon's own address needs no word of another.
    assert_eq!(Client::connect(to).get("/").status(), 200);
    daemon.counted(&[("r good", 1)]);
}
