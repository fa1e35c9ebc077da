//! Clients that speak HTTP/2, here in plain text. Over TLS they are the same once both have agreed on it.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::channel::Channel;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::daemon::{DEADLINE, Daemon, one_route};
use crate::origin::{Conn, Origin, Then};
use crate::wire::Message;

/// A request's body.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An HTTP/2 connection to the daemon.
pub(crate) struct Http2 {
    sender: SendRequest<Body>,
    connection: JoinHandle<hyper::Result<()>>,
}

/// What came back, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Http2 {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it connects");
        Self::over_stream(stream).await
    }

    /// The same over a stream that is there already.
    pub(crate) async fn over_stream<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self::over(stream, &Builder::new(TokioExecutor::new())).await
    }

    pub(crate) async fn over<S>(stream: S, builder: &Builder<TokioExecutor>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .expect("both speak HTTP/2");
        Self {
            sender,
            connection: tokio::spawn(connection),
        }
    }

    /// Sends a request and waits for the response's head.
    pub(crate) async fn begin(
        &mut self,
        request: Request<Body>,
    ) -> hyper::Result<Response<Incoming>> {
        let sent = timeout(DEADLINE, self.sender.send_request(request)).await;
        sent.expect("a response begins in time")
    }

    /// Sends a request and reads its response.
    pub(crate) async fn ask(&mut self, request: Request<Body>) -> Answer {
        let response = self.begin(request).await.expect("a response");
        let (parts, body) = response.into_parts();
        let collected = timeout(DEADLINE, body.collect()).await;
        let collected = collected.expect("it ends in time").expect("it is whole");
        let trailers = collected.trailers().cloned();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: collected.to_bytes(),
            trailers,
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask(request(Method::GET, path, empty())).await
    }

    /// Waits until the daemon has ended the connection.
    async fn ended(self) -> hyper::Result<()> {
        let _open = self.sender;
        let ended = timeout(DEADLINE, self.connection).await;
        ended.expect("it ends in time").expect("no panic")
    }
}

pub(crate) fn empty() -> Body {
    Empty::new().boxed_unsync()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

pub(crate) fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(format!("http://shop.test{path}"))
        .body(body)
        .expect("a request")
}

/// Runs a test's asynchronous part.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test)
}

fn echo(request: &Message, conn: &mut Conn) -> Then {
    let length = request.body.len();
    conn.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"
    ));
    conn.send(&request.body);
    Then::KeepOpen
}

#[test]
fn lengths_and_their_absence_go_through_as_they_are() {
    let origin = Origin::start(|request, conn| {
        conn.send(match request.target() {
            "/length" => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned(),
            "/empty" => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
            "/head" => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n".to_owned(),
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            "/304" => "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n".to_owned(),
            "/chunked" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n".to_owned(),
            target => panic!("{target}"),
        });
        Then::KeepOpen
    });
    let daemon = Daemon::routing(&[origin.url()], "");
    run(async {
        let mut client = Http2::connect(daemon.address()).await;
        for (path, status, length, body) in [
            ("/length", 200, Some("5"), "hello"),
            ("/empty", 200, Some("0"), ""),
            ("/head", 200, Some("5"), ""),
            ("/204", 204, None, ""),
            ("/304", 304, None, ""),
            ("/chunked", 200, None, "hello"),
        ] {
            let method = if path == "/head" {
                Method::HEAD
            } else {
                Method::GET
            };
            let answer = client.ask(request(method, path, empty())).await;
            let found = answer.headers.get("content-length");
            assert_eq!(
                found.map(http::HeaderValue::as_bytes),
                length.map(str::as_bytes),
                "{path}"
            );
            assert_eq!(
                (answer.status, &answer.body[..]),
                (status, body.as_bytes()),
                "{path}"
            );
            assert!(answer.headers.contains_key("x-request-id"), "{path}");
        }
    });
    daemon.counted(&[("r good", 6)]);
    for line in daemon.access_log() {
        assert_eq!(
            (&line["protocol"], &line["host"]),
            (&"HTTP/2.0".into(), &"shop.test".into())
        );
    }
    for seen in origin.requests() {
        assert_eq!(seen.header("host"), Some("shop.test"));
        assert!(
            !seen.has("transfer-encoding") && !seen.has("content-length"),
            "{seen:?}"
        );
    }
}

#[test]
fn bodies_go_up_by_length_or_in_chunks() {
    let origin = Origin::start(echo);
    let daemon = Daemon::routing(&[origin.url()], "max_body = '100KiB'");
    run(async {
        let mut client = Http2::connect(daemon.address()).await;
        let answer = client
            .ask(request(Method::POST, "/known", full("known")))
            .await;
        assert_eq!(&answer.body[..], b"known");

        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        let sending = tokio::spawn(async move {
            for piece in ["un", "kno", "wn"] {
                sender.send_data(piece.into()).await.expect("it is taken");
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "7".parse().expect("a value"));
            sender
                .send_trailers(trailers)
                .await
                .expect("they are taken");
        });
        let answer = client
            .ask(request(Method::POST, "/unknown", body.boxed_unsync()))
            .await;
        sending.await.expect("no panic");
        assert_eq!(&answer.body[..], b"unknown");

        let large = client
            .ask(request(
                Method::POST,
                "/large",
                full(vec![b'x'; 200 * 1024]),
            ))
            .await;
        assert_eq!(large.status, 413);
        let after = client
            .ask(request(
                Method::POST,
                "/after",
                full("on the same connection"),
            ))
            .await;
        assert_eq!(after.status, 200);
    });
    daemon.counted(&[("r good", 3), ("r downstream/body_too_large", 1)]);
    let seen = origin.requests();
    assert_eq!(
        (seen[0].header("content-length"), seen[0].chunks),
        (Some("5"), None)
    );
    assert_eq!(
        (seen[1].text().as_str(), seen[1].chunks.is_some()),
        ("unknown", true)
    );
    assert_eq!(seen[1].trailers, [("x-sum".to_owned(), "7".to_owned())]);
    assert_eq!(seen.len(), 3, "the large one never got there");
}

#[test]
fn trailers_come_down() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ngrpc-status: 0\r\ncontent-length: 9\r\n\r\n",
    );
    let daemon = Daemon::routing(&[origin.url()], "");
    run(async {
        let mut client = Http2::connect(daemon.address()).await;
        let mut asking = request(Method::GET, "/", empty());
        asking
            .headers_mut()
            .insert("te", "trailers".parse().expect("a value"));
        let answer = client.ask(asking).await;
        let trailers = answer.trailers.expect("trailers");
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers.len(), 1, "what frames is no trailer: {trailers:?}");
    });
    assert_eq!(origin.request().header("te"), Some("trailers"));
}

#[test]
fn crumbs_of_a_cookie_are_put_together_again() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    run(async {
        let mut client = Http2::connect(daemon.address()).await;
        let mut asking = request(Method::GET, "/", empty());
        for crumb in ["a=1", "b=2", "c=3"] {
            asking
                .headers_mut()
                .append("cookie", crumb.parse().expect("a value"));
        }
        assert_eq!(client.ask(asking).await.status, 200);
    });
    let seen = origin.request();
    assert_eq!(
        seen.all("cookie").collect::<Vec<_>>(),
        ["a=1; b=2; c=3"],
        "RFC 9113, 8.2.3"
    );
}

#[test]
fn many_streams_at_once_are_each_counted_once() {
    let origin = Origin::start(echo);
    let daemon = Daemon::routing(&[origin.url()], "");
    run(async {
        let client = Http2::connect(daemon.address()).await;
        let asking = (0..100).map(|number| {
            let mut sender = client.sender.clone();
            tokio::spawn(async move {
                let body = format!("{number}").repeat(1_000);
                let asked = sender.send_request(request(Method::POST, "/", full(body.clone())));
                let response = asked.await.expect("a response");
                let collected = response.into_body().collect().await.expect("whole");
                assert_eq!(collected.to_bytes(), body);
            })
        });
        let asking: Vec<_> = asking.collect();
        for asked in asking {
            timeout(DEADLINE, asked)
                .await
                .expect("in time")
                .expect("no panic");
        }
    });
    daemon.counted(&[("r good", 100)]);
}

#[test]
fn a_stream_that_is_reset_is_the_clients_and_leaves_the_others_alone() {
    let origin = Origin::start(|request, conn| {
        match request.target() {
            "/silent" => drop(conn.drain()),
            "/endless" => {
                conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                while conn.send(format!("1000\r\n{}\r\n", "x".repeat(0x1000))) {}
            }
            _ => return echo(request, conn),
        }
        Then::Close
    });
    let daemon = Daemon::routing(&[origin.url()], "");
    run(async {
        let mut client = Http2::connect(daemon.address()).await;
        // Before the head.
        let silent = client
            .sender
            .send_request(request(Method::GET, "/silent", empty()));
        let silent = timeout(Duration::from_millis(300), silent).await;
        assert!(silent.is_err(), "nothing comes");
        // Within the response.
        let endless = client
            .begin(request(Method::GET, "/endless", empty()))
            .await;
        let mut endless = endless.expect("a response").into_body();
        for _ in 0..10 {
            endless.frame().await.expect("more").expect("good");
        }
        drop(endless);
        // Within the request.
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        let upload =
            client
                .sender
                .send_request(request(Method::POST, "/upload", body.boxed_unsync()));
        sender.send_data("half".into()).await.expect("it is taken");
        let upload = timeout(Duration::from_millis(300), upload).await;
        assert!(upload.is_err(), "nothing comes");
        drop(sender);
        assert_eq!(
            client
                .ask(request(Method::POST, "/", full("fine")))
                .await
                .status,
            200
        );
    });
    let metrics = daemon.metrics();
    assert!(metrics.sum("vestibule_requests_total", &[("outcome", "bad")]) == 0);
    daemon.counted(&[("r good", 1), ("r downstream/client_disconnect", 3)]);
}

#[test]
fn a_broken_response_never_ends_well() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    );
    let daemon = Daemon::routing(&[origin.url()], "");
    run(async {
        let mut client = Http2::connect(daemon.address()).await;
        let response = client
            .begin(request(Method::GET, "/", empty()))
            .await
            .expect("a head");
        let mut body = response.into_body();
        let first = body.frame().await.expect("something").expect("good so far");
        assert_eq!(first.into_data().ok().as_deref(), Some(&b"half"[..]));
        assert!(body.frame().await.expect("not the end").is_err());
        assert!(!body.is_end_stream() || body.frame().await.is_none());
    });
    daemon.counted(&[("r upstream/upstream_protocol", 1)]);
}

#[test]
fn a_client_that_opens_no_window_is_let_go_of() {
    let origin = Origin::raw(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        while conn.send([b'x'; 10_000]) {}
    });
    let daemon = Daemon::start(&format!(
        "{}[limits]\nclient_idle = '500ms'\n",
        one_route(&[origin.url()])
    ));
    run(async {
        let stream = TcpStream::connect(daemon.address())
            .await
            .expect("it connects");
        let mut builder = Builder::new(TokioExecutor::new());
        // Reads its socket all the time, answers and asks with pings, but takes no more than this of any body.
        builder.initial_stream_window_size(20_000);
        let mut client = Http2::over(stream, &builder).await;
        let response = client
            .begin(request(Method::GET, "/", empty()))
            .await
            .expect("a head");
        let body = response.into_body();
        let ended = client.ended().await;
        drop((body, ended));
    });
    origin.until_ended(1);
    daemon.counted(&[("r downstream/client_stalled", 1)]);
    daemon.until_unconnected();
}

#[test]
fn an_idle_connection_lives_as_long_as_keep_alive_and_is_ended_politely() {
    let origin = Origin::ok();
    let daemon = Daemon::start(&format!(
        "{}[limits]\nheader_timeout = '300ms'\nkeep_alive = '1500ms'\n",
        one_route(&[origin.url()])
    ));
    run(async {
        let mut client = Http2::connect(daemon.address()).await;
        assert_eq!(client.get("/").await.status, 200);
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(
            client.get("/").await.status,
            200,
            "longer than a head may take"
        );
        client.ended().await.expect("it was told before");

        // One that never asks for anything is not kept.
        let silent = Http2::connect(daemon.address()).await;
        drop(silent.ended().await);
    });
    daemon.counted(&[("r good", 2)]);
    daemon.until_unconnected();
}

#[test]
fn what_a_host_may_be_is_the_same_as_in_http1() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "");
    run(async {
        let mut client = Http2::connect(daemon.address()).await;
        let mut other = request(Method::GET, "/", empty());
        other
            .headers_mut()
            .insert("host", "other.test".parse().expect("a value"));
        assert_eq!(
            client.ask(other).await.status,
            400,
            "authority and host differ"
        );
        let escaped = client.get("/a%zz").await;
        assert_eq!(escaped.status, 400);
        assert!(!escaped.headers.contains_key("connection"));
        assert_eq!(client.get("/").await.status, 200, "the connection goes on");
    });
    daemon.counted(&[("r good", 1), ("none downstream/request_invalid", 2)]);
    assert_eq!(origin.requests().len(), 1);
}
