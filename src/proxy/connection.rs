//! The client's side of a connection: TLS, which HTTP it speaks, and the timeouts that keep strangers from holding it.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::certified::{Certified, Identity};
use super::config::Limits;
use super::forward;
use super::handshake;
use super::observe;
use super::preamble;
use super::preamble::Source;
use super::shown::ListenerTls;
use super::socket::{ClientIo, Farewell};
use super::tunnel::Tunnel;
use super::worker::{LocalExecutor, Worker};
use crate::clock::{Clock, Tick};
use crate::model::{Fault, Handshake};
use crate::net::certificate::ServerCertificate;
use crate::net::challenge;

/// What a connection's requests share, and what its socket knows of them.
#[derive(Debug)]
pub(super) struct ConnectionState {
    pub(super) worker: Rc<Worker>,
    pub(super) peer: IpAddr,
    pub(super) source: Source,
    /// The name of the listener it came in by.
    pub(super) listener: Rc<str>,
    /// The certificate shown; `None` on a plain connection.
    pub(super) tls: Option<Arc<ServerCertificate>>,
    /// Who the client is by its own; `None`: the listener does not ask. Boxed: most do not.
    certified: Option<Box<Certified>>,
    /// Set by the request that opened a tunnel.
    pub(super) tunnel: RefCell<Option<Tunnel>>,
    pub(super) limits: Limits,
    /// Requests being served.
    pub(super) open_requests: Cell<u32>,
    pub(super) requests: Cell<u64>,
    /// Since when a request's head has been arriving; `None`: none is.
    pub(super) head_began: Cell<Option<Tick>>,
    /// The head of a request did not arrive in time.
    pub(super) head_late: Cell<bool>,
    /// The client took nothing of what waits for it for too long.
    pub(super) stalled: Cell<bool>,
    /// Pieces of response bodies that were handed over and after which nothing more was asked for.
    pub(super) waiting: Cell<u32>,
    /// Such a piece has gone since this was last looked at.
    pub(super) taken: Cell<bool>,
    /// It carries HTTP/2, whose bytes between two requests are not yet the next one's head.
    pub(super) http2: Cell<bool>,
    /// An HTTP/2 client has asked for nothing for long enough to be told so.
    pub(super) idle: Cell<bool>,
    /// An HTTP/1 client has asked for nothing for long enough to let go of what serves it.
    pub(super) parks: Cell<bool>,
    /// The last request on an HTTP/1 connection has a body that was not read to its end.
    pub(super) body_unread: Cell<bool>,
}

impl ConnectionState {
    fn new(
        worker: &Rc<Worker>,
        (peer, source): (SocketAddr, Source),
        listener: Rc<str>,
        tls: Option<Arc<ServerCertificate>>,
        certified: Option<Box<Certified>>,
    ) -> Rc<Self> {
        Rc::new(Self {
            worker: Rc::clone(worker),
            listener,
            peer: peer.ip().to_canonical(),
            source,
            tls,
            certified,
            tunnel: RefCell::new(None),
            limits: worker.generation().limits,
            open_requests: Cell::new(0),
            requests: Cell::new(0),
            head_began: Cell::new(None),
            head_late: Cell::new(false),
            stalled: Cell::new(false),
            waiting: Cell::new(0),
            taken: Cell::new(false),
            http2: Cell::new(false),
            idle: Cell::new(false),
            parks: Cell::new(false),
            body_unread: Cell::new(false),
        })
    }

    /// Whether this connection may carry requests for `host`: on TLS only what its certificate speaks for (RFC 9110,
    /// 15.5.20), and where clients are asked for certificates only the very name that it was made for.
    pub(super) fn may_ask_for(&self, host: &str) -> bool {
        let shown = self.tls.as_ref();
        let certified = self.certified.as_ref();
        shown.is_none_or(|certificate| certificate.covers(host))
            && certified.is_none_or(|certified| *certified.name == *host)
    }

    /// Who the client is by its certificate; `None`: it has shown none.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.certified.as_ref()?.identity.as_ref()
    }

    /// Whether it came by a listener that asks clients for certificates.
    pub(super) fn asks_for_certificates(&self) -> bool {
        self.certified.is_some()
    }
}

/// Serves one accepted connection to its end.
///
/// What only some connections need is boxed: this future is as large as the largest of its states for as long as the
/// connection lives, and most connections are idle.
pub(super) async fn serve(
    worker: Rc<Worker>,
    mut stream: TcpStream,
    peer: SocketAddr,
    listener: Rc<str>,
    tls: Option<ListenerTls>,
) {
    let generation = worker.generation();
    let mut whose = (peer, Source::Known);
    if generation.expects_preamble(&listener) {
        let limit = generation.limits.handshake_timeout;
        let trusted = &generation.trusted_proxies;
        match Box::pin(preamble::source(&mut stream, peer, trusted, limit)).await {
            Ok(said) => whose = said,
            Err(failure) => return worker.preamble_failed(failure),
        }
    }
    drop(generation);
    let Some(tls) = tls else {
        let state = ConnectionState::new(&worker, whose, listener, None, None);
        let mut io = ClientIo::new(stream, Rc::clone(&state), Farewell::Close);
        return match io.speaks_http2().await {
            Ok(true) => Box::pin(serve_http2(io, state)).await,
            Ok(false) => serve_http1(io, state).await,
            Err(_) => {}
        };
    };
    let limit = worker.generation().limits.handshake_timeout;
    let here = stream.local_addr().ok();
    let accepted = timeout(limit, Box::pin(handshake::accept(stream, &tls))).await;
    let stream = match accepted.unwrap_or(Err(Handshake::Timeout)) {
        Ok(stream) => stream,
        Err(failure) => {
            // Our own looks at what is shown here have no certificate to show.
            let own = failure == Handshake::CertificateMissing
                && here.is_some_and(|here| here.ip() == peer.ip());
            if !own {
                worker.shook_hands(failure);
            }
            return;
        }
    };
    worker.shook_hands(Handshake::Ok);
    let session = stream.get_ref().1;
    if session.alpn_protocol() == Some(challenge::ALPN) {
        // The certificate was all that was asked for (RFC 8737, 3).
        return;
    }
    let certificate = session
        .server_name()
        .and_then(|name| tls.store.find(name))
        .map(Arc::clone);
    let http2 = session.alpn_protocol() == Some(b"h2");
    let certified = tls.identity.as_ref().map(|headers| {
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        Box::new(Certified {
            name: session.server_name().unwrap_or_default().into(),
            identity: leaf.map(|leaf| Identity::new(leaf, headers)),
        })
    });
    let state = ConnectionState::new(&worker, whose, listener, certificate, certified);
    let io = ClientIo::new(stream, Rc::clone(&state), Farewell::Say);
    if http2 {
        Box::pin(serve_http2(io, state)).await;
    } else {
        serve_http1(io, state).await;
    }
}

/// Serves HTTP/1 for as long as the connection lives. Between requests that are far apart only the socket is kept:
/// hyper's buffers alone are 16 KiB, and a front has thousands of connections that wait for a person.
async fn serve_http1<S>(mut io: ClientIo<S>, state: Rc<ConnectionState>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    while let Some(parked) = Box::pin(serve_burst(io, &state)).await {
        io = parked;
        if !io.comes_back().await {
            // Nobody may be left to hear it.
            return drop(io.say_farewell().await);
        }
    }
}

/// Serves requests until the connection ends, or `Some`: until it has been idle for a while.
async fn serve_burst<S>(io: ClientIo<S>, state: &Rc<ConnectionState>) -> Option<ClientIo<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = {
        let state = Rc::clone(state);
        service_fn(move |request| answer(&state, request))
    };
    let mut builder = http1::Builder::new();
    // `pipeline_flush` stays off: with it hyper buffers a body without bound while the client reads slowly.
    builder
        .max_headers(state.limits.max_headers)
        .max_buf_size(state.limits.max_header_bytes.max(MIN_HEAD_BUFFER))
        .header_read_timeout(None);
    let mut connection = builder.serve_connection(TokioIo::new(io), service);
    let mut draining = pin!(state.worker.drain.notified());
    let mut told = false;
    if state.worker.draining.get() {
        told = true;
        Pin::new(&mut connection).graceful_shutdown();
    }
    let ended = poll_fn(|cx| {
        if !told && draining.as_mut().poll(cx).is_ready() {
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        let ended = Pin::new(&mut connection).poll(cx);
        if state.parks.take() && !told && ended.is_pending() {
            return Poll::Ready(None);
        }
        ended.map(Some)
    })
    .await;
    let parts = connection.into_parts();
    let mut io = parts.io.into_inner();
    let Some(ended) = ended else {
        io.put_back(parts.read_buf);
        return Some(io);
    };
    if let Err(error) = ended {
        state.count_unreadable(&error);
        if state.head_late.get() {
            // Nobody may be left to read it.
            drop(io.inner.write_all(REQUEST_TIMEOUT).await);
        }
    }
    let tunnel = state.tunnel.borrow_mut().take();
    match tunnel {
        Some(tunnel) => Box::pin(tunnel.run(io.inner, parts.read_buf, &state.worker)).await,
        None if state.body_unread.get() => linger(&mut io.inner, &state.worker).await,
        // Closing a plain socket says it, and hyper has said it on others.
        None => {}
    }
    None
}

/// Ends a connection whose client may still be sending a body that nobody wants.
///
/// Closing at once would make the kernel answer further bytes with a reset, upon which many clients throw away the
/// response that they have not read yet (RFC 9112, 9.6).
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(io: &mut S, worker: &Worker) {
    let reading = async {
        io.shutdown().await?;
        let mut unwanted = vec![0; 16 * 1024];
        while io.read(&mut unwanted).await? > 0 {}
        io::Result::Ok(())
    };
    tokio::select! {
        // However it ends, nothing is left to be said.
        _ended = timeout(LINGER, reading) => {}
        () = worker.cut.notified() => {}
    }
}

/// How long a body that nobody wants is read and thrown away.
const LINGER: std::time::Duration = std::time::Duration::from_secs(2);

/// hyper's smallest read buffer.
const MIN_HEAD_BUFFER: usize = 8 * 1024;

const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

async fn serve_http2<S>(io: ClientIo<S>, state: Rc<ConnectionState>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    state.http2.set(true);
    state.head_began.set(None);
    let service = {
        let state = Rc::clone(&state);
        service_fn(move |request| answer(&state, request))
    };
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_WINDOW as usize)
        .max_local_error_reset_streams(MAX_ERRORS)
        .max_header_list_size(u32::try_from(state.limits.max_header_bytes).unwrap_or(u32::MAX));
    let mut connection = builder.serve_connection(TokioIo::new(io), service);
    let mut draining = pin!(state.worker.drain.notified());
    let mut told = state.worker.draining.get();
    if told {
        Pin::new(&mut connection).graceful_shutdown();
    }
    // How an HTTP/2 connection ends says nothing about its requests: each has its own stream and its own observation.
    drop(
        poll_fn(|cx| {
            if !told && (draining.as_mut().poll(cx).is_ready() || state.idle.get()) {
                told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            Pin::new(&mut connection).poll(cx)
        })
        .await,
    );
}

/// Streams of one client at a time; Envoy's advice for an edge.
const MAX_STREAMS: u32 = 100;
/// Streams of one client that we have to end because it breaks the protocol in them (CVE-2025-8671), before we end all.
const MAX_ERRORS: usize = 256;
/// Bytes of one request body that may be on their way to us.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes of all request bodies of a connection that may be on their way to us.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

type Answered = Result<http::Response<super::respond::ResponseBody>, Infallible>;

fn answer(
    state: &Rc<ConnectionState>,
    request: Request<Incoming>,
) -> impl Future<Output = Answered> + use<> {
    state.head_began.set(None);
    state.requests.set(state.requests.get() + 1);
    let response = forward::serve(state, request);
    async move { Ok(response.await) }
}

/// Counts a request as open until its response has gone out or it is let go of.
#[derive(Debug)]
pub(super) struct OpenRequest {
    state: Rc<ConnectionState>,
    /// A piece of its response was handed over, and nothing more was asked for yet.
    waits: bool,
}

impl OpenRequest {
    pub(super) fn new(state: &Rc<ConnectionState>) -> Self {
        state.open_requests.set(state.open_requests.get() + 1);
        Self {
            state: Rc::clone(state),
            waits: false,
        }
    }

    pub(super) fn connection(&self) -> &ConnectionState {
        &self.state
    }

    /// A piece of the response is handed over.
    pub(super) fn hands_over(&mut self) {
        if !std::mem::replace(&mut self.waits, true) {
            self.state.waiting.set(self.state.waiting.get() + 1);
        }
    }

    /// More is asked for: there is room for it, so what was handed over is on its way.
    pub(super) fn is_asked(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.state.waiting.set(self.state.waiting.get() - 1);
            self.state.taken.set(true);
        }
    }

    /// Whether the connection ends because its client took nothing for too long.
    pub(super) fn client_stalled(&self) -> bool {
        self.state.stalled.get()
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.is_asked();
        let state = &self.state;
        state.open_requests.set(state.open_requests.get() - 1);
    }
}

impl ConnectionState {
    /// Bytes came in: of a request's head, unless they belong to a request that is open.
    pub(super) fn read_some(&self) {
        if self.open_requests.get() > 0 || self.http2.get() {
            self.head_began.set(None);
        } else if self.head_began.get().is_none() {
            self.head_began.set(Some(self.worker.clock.tick()));
        }
    }

    /// Counts a head that hyper could not make a request of. Bodies are their request's business.
    fn count_unreadable(&self, error: &hyper::Error) {
        let fault = if self.head_late.get() {
            Fault::RequestTimeout
        } else if error.is_parse_too_large() {
            Fault::HeadersTooLarge
        } else if error.is_parse() {
            Fault::RequestInvalid
        } else {
            return;
        };
        observe::unreadable(self, fault);
    }
}
