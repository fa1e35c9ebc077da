//! A client's socket under guard, as hyper reads and writes it.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep, timeout};

use super::connection::ConnectionState;
use super::flood::FrameBudget;
use super::observe;
use super::worker::Worker;
use crate::clock::{Clock, Tick};
use crate::model::Fault;

/// A client's socket under guard: what was read to tell the protocol is read again by hyper, and a client that sends or
/// takes nothing for too long is cut off.
#[derive(Debug)]
pub(super) struct ClientIo<S> {
    pub(super) inner: S,
    state: Rc<ConnectionState>,
    /// Read already, not yet given on.
    first: Bytes,
    read_guard: Guard,
    write_guard: Guard,
    window_guard: Guard,
    held: Held,
    farewell: Farewell,
    /// Made with the first bytes of HTTP/2.
    frames: Option<Box<FrameBudget>>,
}

/// How the end of what we send is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// By closing the socket, which follows at once: one system call less.
    Close,
    /// By a message of its own.
    Say,
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
    fn poll_late(&mut self, cx: &mut Context<'_>, worker: &Worker, limit: Duration) -> Poll<()> {
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
    pub(super) fn new(inner: S, state: Rc<ConnectionState>, farewell: Farewell) -> Self {
        Self {
            inner,
            farewell,
            state,
            first: Bytes::new(),
            read_guard: Guard::default(),
            write_guard: Guard::default(),
            window_guard: Guard::default(),
            held: Held::default(),
            frames: None,
        }
    }

    /// Reads until it is clear whether the client opens with HTTP/2's preface (RFC 9113, 3.4).
    pub(super) async fn speaks_http2(&mut self) -> io::Result<bool> {
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
            // hyper, once told that there is nothing to read, does not ask again when the request is over. The timer
            // makes it ask, and only then is the time counted for which the client has been silent.
            let keep_alive = state.limits.keep_alive;
            let _looks_again = self.read_guard.poll_late(cx, &state.worker, keep_alive);
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
        } else if state.http2.get() || self.write_guard.since.is_some() {
            state.limits.keep_alive
        } else {
            let parks = state.limits.keep_alive.min(PARK_AFTER);
            ready!(self.read_guard.poll_late(cx, &state.worker, parks));
            state.parks.set(true);
            return Poll::Pending;
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

/// An HTTP/1 connection without a request for this long is parked.
const PARK_AFTER: Duration = Duration::from_secs(1);

impl<S: AsyncRead + AsyncWrite + Unpin> ClientIo<S> {
    /// Takes back what hyper read and did not use: the beginning of a head that came with the request before.
    pub(super) fn put_back(&mut self, read: Bytes) {
        debug_assert!(self.first.is_empty(), "hyper reads it before anything else");
        self.first = read;
    }

    /// Waits on a parked connection for the next request; `false`: none will come.
    pub(super) async fn comes_back(&mut self) -> bool {
        let worker = Rc::clone(&self.state.worker);
        let mut draining = pin!(worker.drain.notified());
        poll_fn(|cx| {
            if worker.draining.get() || draining.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            let mut bytes = [0; FIRST_READ];
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.inner).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    self.first = [&self.first, read.filled()].concat().into();
                    self.read_guard.moved();
                    self.state.read_some();
                    Poll::Ready(true)
                }
                Poll::Ready(_) => Poll::Ready(false),
                // Counted from when it became idle, not from when it was parked.
                Poll::Pending => self
                    .read_guard
                    .poll_late(cx, &worker, self.state.limits.keep_alive)
                    .map(|()| false),
            }
        })
        .await
    }

    /// Ends a parked connection.
    pub(super) async fn say_farewell(mut self) -> io::Result<()> {
        match self.farewell {
            Farewell::Close => Ok(()),
            Farewell::Say => self.inner.shutdown().await,
        }
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
            let first = this.first.split_to(count);
            buf.put_slice(&first);
            return Poll::Ready(this.count_frames(&first));
        }
        let before = buf.filled().len();
        if Pin::new(&mut this.inner).poll_read(cx, buf)?.is_ready() {
            let fresh = buf.filled().get(before..).unwrap_or_default();
            if !fresh.is_empty() {
                this.read_guard.moved();
                this.state.read_some();
            }
            return Poll::Ready(this.count_frames(fresh));
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

impl<S> ClientIo<S> {
    /// Ends a connection of HTTP/2 whose client sends more frames that carry nothing than it could have a reason to.
    fn count_frames(&mut self, fresh: &[u8]) -> io::Result<()> {
        if !self.state.http2.get() {
            return Ok(());
        }
        let frames = self
            .frames
            .get_or_insert_with(|| Box::new(FrameBudget::new()));
        let clock = &self.state.worker.clock;
        frames.take(fresh, || clock.tick()).map_err(|_flood| {
            observe::unreadable(&self.state, Fault::RequestInvalid);
            io::ErrorKind::InvalidData.into()
        })
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

/// Frames of HTTP/2 that wait to be written together.
///
/// h2 asks for a flush after every response, so each would be a TLS record and a system call of its own. Responses that
/// come in one turn of the event loop are held and leave as one.
#[derive(Debug, Default)]
struct Held {
    /// Allocated while something is held.
    bytes: Vec<u8>,
    /// A flush was asked for and nothing was written since: the next one is meant.
    settled: bool,
}

/// Held at most: one TLS record.
const HOLD: usize = 16 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> ClientIo<S> {
    fn hold(&mut self, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.held.bytes.len() >= HOLD {
            ready!(self.write_held(cx))?;
        }
        self.held.settled = false;
        let held = &mut self.held.bytes;
        let before = held.len();
        for buf in bufs {
            let room = HOLD - held.len();
            held.extend_from_slice(buf.get(..room).unwrap_or(buf));
        }
        Poll::Ready(Ok(held.len() - before))
    }

    fn write_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        let outcome = loop {
            let rest = &self.held.bytes[written..];
            if rest.is_empty() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.inner).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => {
                    break Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        if written < self.held.bytes.len() {
            self.held.bytes.drain(..written);
        } else {
            // An idle connection holds no memory for it.
            self.held.bytes = Vec::new();
        }
        outcome
    }

    fn poll_flush_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.held.bytes.is_empty() && !self.held.settled {
            // Asked again after whatever else is ready to run now.
            self.held.settled = true;
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        ready!(self.write_held(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = if this.state.http2.get() {
            this.hold(cx, &[io::IoSlice::new(buf)])
        } else {
            Pin::new(&mut this.inner).poll_write(cx, buf)
        };
        this.guard_write(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();
        let polled = if this.state.http2.get() {
            this.hold(cx, bufs)
        } else if length <= COPY {
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
        let polled = if this.state.http2.get() {
            this.poll_flush_held(cx)
        } else {
            Pin::new(&mut this.inner).poll_flush(cx)
        };
        this.guard_write(cx, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = this.write_held(cx);
        ready!(this.guard_write(cx, polled))?;
        match this.farewell {
            Farewell::Close => Poll::Ready(Ok(())),
            Farewell::Say => Pin::new(&mut this.inner).poll_shutdown(cx),
        }
    }
}
