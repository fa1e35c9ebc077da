//! Bodies and their framing: large ones whole in both directions, and none where there is none.

use std::convert::Infallible;
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use http_body_util::channel::Channel;

use crate::client::{Client, get, lines};
use crate::daemon::Daemon;
use crate::http2::{Http2, full, request, run};
use crate::origin::{Conn, Origin, Then};
use crate::wire::Message;

/// A large body.
const LARGE: usize = 8 << 20;
/// Clients that send and fetch one at the same time.
const AT_ONCE: usize = 4;
/// What the daemon may grow by while it carries [`AT_ONCE`] times [`LARGE`] up and down: a few buffers for each.
const ROOM: u64 = 12 << 20;

/// Bytes of which every 1 MiB differs, so that a piece left out, doubled or moved does not go unseen.
fn large(seed: usize) -> Vec<u8> {
    let word = |at: usize| (at as u64 ^ ((seed as u64) << 56)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..LARGE / 8)
        .flat_map(|at| word(at).to_le_bytes())
        .collect()
}

/// FNV-1a: enough to tell bodies apart, and told by whoever read them.
fn checksum(bytes: &[u8]) -> String {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// Gives a request's body back as it was framed; the trailer `x-sum` and the header `x-seen` say what was read.
fn mirror(request: &Message, conn: &mut Conn) -> Then {
    let seen = checksum(&request.body);
    if request.chunks.is_none() {
        conn.send(format!(
            "HTTP/1.1 200 OK\r\nx-seen: {seen}\r\ncontent-length: {}\r\n\r\n",
            request.body.len()
        ));
        conn.send(&request.body);
        return Then::KeepOpen;
    }
    let trailer = request.trailers.iter().find(|(name, _)| name == "x-sum");
    assert_eq!(trailer.map(|(_, sum)| sum), Some(&seen), "of the request");
    conn.send(format!(
        "HTTP/1.1 200 OK\r\nx-seen: {seen}\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n"
    ));
    conn.send(chunked(&request.body));
    Then::KeepOpen
}

/// In chunks of odd sizes, with the checksum as a trailer.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + body.len() / 1_000);
    for chunk in body.chunks(50_021) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(format!("0\r\nx-sum: {}\r\n\r\n", checksum(body)).bytes());
    bytes
}

#[test]
fn large_bodies_go_up_and_down_whole_in_little_memory() {
    let origin = Origin::start(mirror);
    let daemon = Daemon::routing(&[origin.url()], "max_body = '8MiB'");
    let address = daemon.address();
    // The first requests fill pools and tables, which stay.
    assert_eq!(Client::connect(address).get("/").status(), 200);
    let before = daemon.resident_bytes();
    let transfers = (0..AT_ONCE).map(|seed| {
        thread::spawn(move || {
            let body = large(seed);
            let mut client = Client::connect(address);
            let length = format!("content-length: {LARGE}");
            client.send(lines("POST /length HTTP/1.1", &[&length]));
            client.send(&body);
            let answer = client.response();
            assert_eq!(answer.header("content-length"), Some(&*LARGE.to_string()));
            assert_eq!(answer.header("x-seen"), Some(&*checksum(&body)));
            assert!(answer.whole && answer.body == body, "by length");

            let fields = [
                "transfer-encoding: chunked",
                "trailer: x-sum",
                "te: trailers",
            ];
            client.send(lines("POST /chunked HTTP/1.1", &fields));
            client.send(chunked(&body));
            let answer = client.response();
            assert!(answer.chunks.is_some() && !answer.has("content-length"));
            assert_eq!(answer.header("x-seen"), Some(&*checksum(&body)));
            assert!(answer.whole && answer.body == body, "chunked");
            assert_eq!(answer.trailers, [("x-sum".to_owned(), checksum(&body))]);
        })
    });
    let transfers: Vec<_> = transfers.collect();
    let mut grown = 0;
    while transfers.iter().any(|transfer| !transfer.is_finished()) {
        grown = grown.max(daemon.resident_bytes().saturating_sub(before));
        thread::yield_now();
    }
    for transfer in transfers {
        transfer.join().expect("it arrived whole");
    }
    assert!(grown < ROOM, "it grew by {} KiB", grown >> 10);
    daemon.counted(&[("r good", 1 + 2 * AT_ONCE as u64)]);
    let lines = daemon.access_log();
    let large = |key: &str| lines.iter().filter(|line| line[key] == LARGE).count();
    assert_eq!((large("bytes_in"), large("bytes_out")), (8, 8));
}

#[test]
fn large_bodies_go_up_and_down_whole_over_http2() {
    let origin = Origin::start(mirror);
    let daemon = Daemon::routing(&[origin.url()], "max_body = '8MiB'");
    run(async {
        let mut client = Http2::connect(daemon.address()).await;
        assert_eq!(client.get("/").await.status, 200);
        let before = daemon.resident_bytes();
        let body = large(7);
        for _ in 0..2 {
            let answer = client
                .ask(request(Method::POST, "/length", full(body.clone())))
                .await;
            assert_eq!(answer.headers["content-length"], *LARGE.to_string());
            assert_eq!(answer.headers["x-seen"], *checksum(&body));
            assert!(answer.body == body, "by length");
        }
        let (mut sender, unknown) = Channel::<Bytes, Infallible>::new(1);
        let whole = Bytes::from(body.clone());
        let sending = tokio::spawn(async move {
            for from in (0..LARGE).step_by(65_536) {
                let sent = sender.send_data(whole.slice(from..from + 65_536)).await;
                sent.expect("it is taken");
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", checksum(&whole).parse().expect("a value"));
            sender.send_trailers(trailers).await.expect("it is taken");
        });
        let mut asking = request(Method::POST, "/chunked", unknown.boxed_unsync());
        let te = "trailers".parse().expect("a value");
        asking.headers_mut().insert("te", te);
        let answer = client.ask(asking).await;
        sending.await.expect("no panic");
        assert!(answer.body == body, "without a length");
        let trailers = answer.trailers.expect("trailers");
        assert_eq!(trailers["x-sum"], *checksum(&body));
        let grown = daemon.resident_bytes().saturating_sub(before);
        assert!(grown < ROOM, "it grew by {} KiB", grown >> 10);
    });
    daemon.counted(&[("r good", 4)]);
}

#[test]
fn lengths_and_their_absence_go_through_as_they_are() {
    let origin = Origin::start(|request, conn| {
        conn.send(match request.target() {
            "/length" => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "/empty" => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "/head" => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            "/head-chunked" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "/head-nothing" => "HTTP/1.1 200 OK\r\n\r\n",
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n",
            "/304-length" => "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
            "/chunked" => {
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
            }
            target => panic!("{target}"),
        });
        Then::KeepOpen
    });
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    let cases = [
        ("GET", "/length", 200, Some("5"), "hello"),
        ("GET", "/empty", 200, Some("0"), ""),
        ("HEAD", "/head", 200, Some("5"), ""),
        ("HEAD", "/head-chunked", 200, None, ""),
        ("HEAD", "/head-nothing", 200, None, ""),
        ("GET", "/204", 204, None, ""),
        ("HEAD", "/204", 204, None, ""),
        ("GET", "/304", 304, None, ""),
        // The length of what is not sent may be left out (RFC 9110, 15.4.5), and hyper does.
        ("GET", "/304-length", 304, None, ""),
        ("GET", "/chunked", 200, None, "hello"),
    ];
    for (method, path, status, length, body) in cases {
        client.send(get(path).replace("GET", method));
        let answer = client.response_to(method);
        assert_eq!(answer.header("content-length"), length, "{method} {path}");
        assert_eq!(
            (answer.status(), &*answer.text()),
            (status, body),
            "{method} {path}"
        );
        assert_eq!(
            answer.chunks.is_some(),
            path == "/chunked",
            "{method} {path}"
        );
    }
    // All over one connection on either side: nobody ever waited for a body that does not come.
    daemon.counted(&[("r good", cases.len() as u64)]);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn trailers_go_to_clients_that_take_them() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\ncontent-length: 9\r\n\r\n",
    );
    let daemon = Daemon::routing(&[origin.url()], "");
    let mut client = Client::connect(daemon.address());
    client.send(lines("GET / HTTP/1.1", &["te: trailers"]));
    let answer = client.response();
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    let answer = client.get("/");
    assert_eq!((&*answer.text(), answer.trailers.len()), ("ok", 0));
    daemon.counted(&[("r good", 2)]);
}
