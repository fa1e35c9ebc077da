//! The client's side of a connection: TLS, which HTTP it speaks, and the timeouts that keep strangers from holding it.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::config::Limits;
use super::forward;
use super::generation::ListenerTls;
use super::observe;
use super::tunnel::Tunnel;
use super::worker::{LocalExecutor, Worker};
use crate::clock::{Clock, Tick};
use crate::model::Fault;
use crate::net::certificate::ServerCertificate;

/// What a connection's requests share, and what its socket knows of them.
#[derive(Debug)]
pub(super) struct ConnectionState {
    pub(super) worker: Rc<Worker>,
    pub(super) peer: IpAddr,
    /// The certificate shown; `None` on a plain connection.
    pub(super) tls: Option<Arc<ServerCertificate>>,
    /// Set by the request that opened a tunnel.
    pub(super) tunnel: RefCell<Option<Tunnel>>,
    limits: Limits,
    /// Requests being served.
    open_requests: Cell<u32>,
    requests: Cell<u64>,
    /// Since when a request's head has been arriving; `None`: none is.
    head_began: Cell<Option<Tick>>,
    /// The head of a request did not arrive in time.
    head_late: Cell<bool>,
    /// The client took nothing of what waits for it for too long.
    stalled: Cell<bool>,
    /// Pieces of response bodies that were handed over and after which nothing more was asked for.
    waiting: Cell<u32>,
    /// Such a piece has gone since this was last looked at.
    taken: Cell<bool>,
    /// It carries HTTP/2, whose bytes between two requests are not yet the next one's head.
    http2: Cell<bool>,
    /// An HTTP/2 client has asked for nothing for long enough to be told so.
    idle: Cell<bool>,
}

impl ConnectionState {
    fn new(worker: &Rc<Worker>, peer: SocketAddr, tls: Option<Arc<ServerCertificate>>) -> Rc<Self> {
        Rc::new(Self {
            worker: Rc::clone(worker),
            peer: peer.ip().to_canonical(),
            tls,
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
        })
    }

    /// Whether this connection may carry requests for `host`: on TLS only what its certificate speaks for (RFC 9110,
    /// 15.5.20).
    pub(super) fn may_ask_for(&self, host: &str) -> bool {
        self.tls
            .as_ref()
            .is_none_or(|certificate| certificate.covers(host))
    }
}

/// Serves one accepted connection to its end.
///
/// What only some connections need is boxed: this future is as large as the largest of its states for as long as the
/// connection lives, and most connections are idle.
pub(super) async fn serve(
    worker: Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<ListenerTls>,
) {
    // Small responses must not wait for the acknowledgement of earlier ones; a socket that is gone says so soon enough.
    drop(stream.set_nodelay(true));
    let Some(tls) = tls else {
        let state = ConnectionState::new(&worker, peer, None);
        let mut io = ClientIo::new(stream, Rc::clone(&state));
        return match io.speaks_http2().await {
            Ok(true) => Box::pin(serve_http2(io, state)).await,
            Ok(false) => Box::pin(serve_http1(io, state)).await,
            Err(_) => {}
        };
    };
    let limit = worker.generation().limits.handshake_timeout;
    let accept = Box::pin(TlsAcceptor::from(tls.config).accept(stream));
    let accepted = timeout(limit, accept).await;
    let Ok(Ok(stream)) = accepted.map(|accepted| accepted.map(Box::new)) else {
        worker
            .handshakes_failed
            .set(worker.handshakes_failed.get() + 1);
        return;
    };
    worker.handshakes.set(worker.handshakes.get() + 1);
    let session = stream.get_ref().1;
    let certificate = session
        .server_name()
        .and_then(|name| tls.store.find(name))
        .map(Arc::clone);
    let http2 = session.alpn_protocol() == Some(b"h2");
    let state = ConnectionState::new(&worker, peer, certificate);
    let io = ClientIo::new(stream, Rc::clone(&state));
    if http2 {
        Box::pin(serve_http2(io, state)).await;
    } else {
        Box::pin(serve_http1(io, state)).await;
    }
}

async fn serve_http1<S>(io: ClientIo<S>, state: Rc<ConnectionState>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = {
        let state = Rc::clone(&state);
        service_fn(move |request| answer(Rc::clone(&state), request))
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
        Pin::new(&mut connection).poll(cx)
    })
    .await;
    let parts = connection.into_parts();
    let mut io = parts.io.into_inner();
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
        None => drop(io.inner.shutdown().await),
    }
}

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
        service_fn(move |request| answer(Rc::clone(&state), request))
    };
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_WINDOW as usize)
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
/// Bytes of one request body that may be on their way to us.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes of all request bodies of a connection that may be on their way to us.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

type Answered = Result<http::Response<super::respond::ResponseBody>, Infallible>;

async fn answer(state: Rc<ConnectionState>, request: Request<Incoming>) -> Answered {
    state.head_began.set(None);
    state.requests.set(state.requests.get() + 1);
    Ok(forward::serve(&state, request).await)
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
    fn read_some(&self) {
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

/// A client's socket under guard: what was read to tell the protocol is read again by hyper, and a client that sends or
/// takes nothing for too long is cut off.
#[derive(Debug)]
pub(super) struct ClientIo<S> {
    inner: S,
    state: Rc<ConnectionState>,
    /// Read already, not yet given on.
    first: Bytes,
    read_guard: Guard,
    write_guard: Guard,
    window_guard: Guard,
}

/// A deadline whose timer is moved only when it would fire too late.
#[derive(Debug, Default)]
struct Guard {
    /// Since when nothing moved.
    since: Option<Tick>,
    timer: Option<(Tick, Pin<Box<Sleep>>)>,
}

impl Guard {
    fn moved(&mut self) {
        self.since = None;
    }

    /// Ready once nothing has moved for `limit`.
    fn poll_late(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        limit: std::time::Duration,
    ) -> Poll<()> {
        let now = worker.clock.tick();
        let since = *self.since.get_or_insert(now);
        self.poll_until(cx, worker, since.plus(limit), now)
    }

    /// Ready once `deadline` has passed.
    fn poll_until(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        deadline: Tick,
        now: Tick,
    ) -> Poll<()> {
        if now >= deadline {
            return Poll::Ready(());
        }
        let instant = Instant::from_std(worker.clock.instant(deadline));
        let (armed, timer) = self
            .timer
            .get_or_insert_with(|| (deadline, Box::pin(tokio::time::sleep_until(instant))));
        if *armed <= deadline && timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        *armed = deadline;
        timer.as_mut().reset(instant);
        timer.as_mut().poll(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientIo<S> {
    fn new(inner: S, state: Rc<ConnectionState>) -> Self {
        Self {
            inner,
            state,
            first: Bytes::new(),
            read_guard: Guard::default(),
            write_guard: Guard::default(),
            window_guard: Guard::default(),
        }
    }

    /// Reads until it is clear whether the client opens with HTTP/2's preface (RFC 9113, 3.4).
    async fn speaks_http2(&mut self) -> io::Result<bool> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0";
        let mut read = BytesMut::with_capacity(FIRST_READ);
        let reading = async {
            while read.len() < PREFACE.len() && PREFACE.starts_with(&read) {
                if self.inner.read_buf(&mut read).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
                self.state.read_some();
            }
            Ok(())
        };
        match timeout(self.state.limits.header_timeout, reading).await {
            Ok(result) => result?,
            Err(_elapsed) if read.is_empty() => {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            // The beginning of what may be a POST as well: HTTP/1 it is, and its head is late.
            Err(_elapsed) => {}
        }
        let http2 = read.starts_with(PREFACE);
        self.first = read.freeze();
        Ok(http2)
    }

    /// Whether an HTTP/2 client has opened no window for what waits for it for too long. It may read its socket all the
    /// while, so writing does not tell.
    fn poll_window(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let state = &self.state;
        let waits = state.http2.get() && state.waiting.get() > 0;
        if state.taken.take() || !waits {
            self.window_guard.moved();
        }
        if !waits {
            return Poll::Pending;
        }
        let limit = state.limits.client_idle;
        ready!(self.window_guard.poll_late(cx, &state.worker, limit));
        state.stalled.set(true);
        Poll::Ready(())
    }

    /// Whether the client stays silent for too long. Never while a request is open: its own timeouts apply.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let state = &self.state;
        if state.open_requests.get() > 0 {
            self.read_guard.moved();
            state.idle.set(false);
            return self.poll_window(cx);
        }
        if state.idle.get() {
            // It was told to ask elsewhere, and has as long to leave as it would have for a head.
            let limit = state
                .limits
                .keep_alive
                .saturating_add(state.limits.header_timeout);
            return self.read_guard.poll_late(cx, &state.worker, limit);
        }
        if let Some(began) = state.head_began.get() {
            // Counted from its first byte: every further one would otherwise buy as much time again.
            let deadline = began.plus(state.limits.header_timeout);
            let now = state.worker.clock.tick();
            return self.read_guard.poll_until(cx, &state.worker, deadline, now);
        }
        let limit = if state.requests.get() == 0 {
            state.limits.header_timeout
        } else {
            state.limits.keep_alive
        };
        ready!(self.read_guard.poll_late(cx, &state.worker, limit));
        if state.http2.get() && state.requests.get() > 0 {
            state.idle.set(true);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// Bytes written as one piece though they come in several.
pub(super) const COPY: usize = 4 * 1024;
/// Fits a usual request's head.
const FIRST_READ: usize = 2 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClientIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.first.is_empty() {
            let count = this.first.len().min(buf.remaining());
            buf.put_slice(&this.first[..count]);
            this.first.advance(count);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        if Pin::new(&mut this.inner).poll_read(cx, buf)?.is_ready() {
            if buf.filled().len() > before {
                this.read_guard.moved();
                this.state.read_some();
            }
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_patience(cx));
        if this.state.stalled.get() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if this.state.head_began.get().is_some() {
            this.state.head_late.set(true);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        // A connection without a request in it just ends.
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientIo<S> {
    fn guard_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.write_guard.moved();
            return polled;
        }
        let limit = self.state.limits.client_idle;
        ready!(self.write_guard.poll_late(cx, &self.state.worker, limit));
        self.state.stalled.set(true);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.guard_write(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();
        let polled = if length <= COPY {
            // A small response's head and body as one piece: copying it costs less than the vectored system call.
            let mut flat = this.state.worker.flat.borrow_mut();
            flat.clear();
            for buf in bufs {
                flat.extend_from_slice(buf);
            }
            Pin::new(&mut this.inner).poll_write(cx, &flat)
        } else {
            Pin::new(&mut this.inner).poll_write_vectored(cx, bufs)
        };
        this.guard_write(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_flush(cx);
        this.guard_write(cx, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
