//! One request and its response on an upstream connection.
//!
//! The request's body goes out and the response comes in on one task, driven by whoever wants the response: first the
//! request path for its head, then hyper for its body. So there is no channel between two tasks, back-pressure is the
//! absence of a poll, and every way to fail is seen here, where it is known whose fault it is.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::Method;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use super::config::Timeouts;
use super::gate::Permit;
use super::headers::{self, BodyFraming};
use super::observe::Tracker;
use super::pool::Connection;
use super::respond::Incomplete;
use super::worker::Worker;
use crate::clock::{Clock, SystemClock, Tick};
use crate::model::{EndpointKey, Fault};
use crate::net::http1::{Decoded, Decoder, Framing, Head, parse_head};
use crate::net::stream::Stream;

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) fault: Fault,
    /// The upstream closed a reused connection before it can have acted on this request's bytes being answered: the
    /// usual race with its keep-alive timeout. A request that may be repeated can go out again.
    pub(super) stale: bool,
}

/// One request and its response.
#[derive(Debug)]
pub(super) struct Exchange {
    connection: Connection,
    clock: SystemClock,
    timeouts: Timeouts,
    started: Tick,
    outgoing: Outgoing,
    decoder: Decoder,
    keep_alive: bool,
    /// A byte of the response arrived.
    answered: bool,
    informational: u8,
    /// When the request was sent whole.
    sent: Option<Tick>,
    /// Since when nothing moved while we wanted it to.
    waiting: Option<Tick>,
    /// Dropped with it.
    busy: Busy,
}

/// Counts an exchange among those under way at its endpoint, as long as it lives.
#[derive(Debug)]
pub(super) struct Busy {
    worker: Rc<Worker>,
    endpoint: EndpointKey,
    /// Its leave to be there; `None`: none is needed.
    permit: Option<Permit>,
}

impl Busy {
    pub(super) fn new(worker: &Rc<Worker>, endpoint: EndpointKey) -> Self {
        worker.pools.in_flight(endpoint, 1);
        Self {
            worker: Rc::clone(worker),
            endpoint,
            permit: None,
        }
    }

    pub(super) fn with(mut self, permit: Option<Permit>) -> Self {
        self.permit = permit;
        self
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.worker.pools.in_flight(self.endpoint, -1);
    }
}

/// The request's side.
#[derive(Debug)]
struct Outgoing {
    method: Method,
    /// Head, chunk framing and small pieces.
    bytes: BytesMut,
    /// A larger piece of body, not copied; follows `bytes`.
    piece: Bytes,
    /// Ends a chunk; follows `piece`.
    after_piece: &'static [u8],
    body: Option<Incoming>,
    framing: BodyFraming,
    body_bytes: u64,
    max_body_bytes: u64,
    /// Writing failed. The upstream may have answered before it stopped reading.
    broken: bool,
}

/// What sending waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    Done,
    Client,
    Upstream,
}

/// Pieces up to this size are copied next to their framing, to go out in one write.
const COPY: usize = 4 * 1024;
/// Room made for the first read; doubled while reads fill it.
const FIRST_READ: usize = 8 * 1024;
/// The most read at once.
const MAX_READ: usize = 64 * 1024;
/// More informational responses than this are an attack or a loop.
const MAX_INFORMATIONAL: u8 = 8;

impl Exchange {
    /// Begins: `head` is the request's head, whole.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a different fact of one request, known in one place"
    )]
    pub(super) fn new(
        connection: Connection,
        clock: SystemClock,
        timeouts: Timeouts,
        started: Tick,
        method: Method,
        head: BytesMut,
        (body, framing): (Option<Incoming>, BodyFraming),
        max_body_bytes: u64,
        busy: Busy,
    ) -> Self {
        let outgoing = Outgoing {
            method,
            bytes: head,
            piece: Bytes::new(),
            after_piece: b"",
            body,
            framing,
            body_bytes: 0,
            max_body_bytes,
            broken: false,
        };
        Self {
            connection,
            clock,
            timeouts,
            started,
            outgoing,
            decoder: Decoder::new(Framing::None),
            keep_alive: false,
            answered: false,
            informational: 0,
            sent: None,
            waiting: None,
            busy,
        }
    }

    /// It is known how the endpoint did.
    pub(super) fn judged(&mut self, good: bool, now: Tick) {
        if let Some(permit) = &mut self.busy.permit {
            permit.ends(good, now);
        }
    }

    /// Bytes of request body sent on so far.
    pub(super) fn request_bytes(&self) -> u64 {
        self.outgoing.body_bytes
    }

    /// Waits for the response's head, sending the request meanwhile.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Failure>> {
        let sending = match self.poll_send(cx) {
            Ok(sending) => sending,
            Err(fault) => {
                return Poll::Ready(Err(Failure {
                    fault,
                    stale: false,
                }));
            }
        };
        loop {
            if !self.connection.buffer.is_empty() {
                match parse_head(&mut self.connection.buffer, &self.outgoing.method) {
                    Ok(Some(head))
                        if is_interim(&head) && self.informational < MAX_INFORMATIONAL =>
                    {
                        self.informational += 1;
                        continue;
                    }
                    Ok(Some(head)) if is_interim(&head) => {
                        return Poll::Ready(Err(self.failure(Fault::UpstreamProtocol)));
                    }
                    Ok(Some(head)) => {
                        self.decoder = Decoder::new(head.framing);
                        self.keep_alive = head.keep_alive;
                        self.waiting = None;
                        return Poll::Ready(Ok(head));
                    }
                    Ok(None) => {}
                    Err(_) => return Poll::Ready(Err(self.failure(Fault::UpstreamProtocol))),
                }
            }
            match self.poll_read(cx, FIRST_READ) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    return Poll::Ready(Err(self.failure(Fault::UpstreamReset)));
                }
                Poll::Ready(Ok(_)) => self.answered = true,
                Poll::Pending => break,
            }
        }
        let (since, limit, late) = match (sending, self.sent) {
            (Sending::Done, Some(sent)) => {
                (sent, self.timeouts.first_byte, Fault::FirstByteTimeout)
            }
            (Sending::Client, _) => (
                self.waiting_since(),
                self.timeouts.idle,
                Fault::ClientStalled,
            ),
            (Sending::Upstream | Sending::Done, _) => {
                (self.waiting_since(), self.timeouts.idle, Fault::IdleTimeout)
            }
        };
        ready!(self.poll_late(cx, since.plus(limit)));
        let total = self
            .total_deadline()
            .is_some_and(|total| self.clock.tick() >= total);
        // Over the total while the client is the one we wait for is the client's doing too.
        let fault = if total && late != Fault::ClientStalled {
            Fault::TotalTimeout
        } else {
            late
        };
        Poll::Ready(Err(self.failure(fault)))
    }

    /// The next piece of the response's body; `None` at its proper end.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, Fault>> {
        if self.sent.is_none() {
            self.poll_send(cx)?;
        }
        let mut room = FIRST_READ;
        loop {
            match self.decoder.decode(&mut self.connection.buffer) {
                Ok(Decoded::Data(data)) => {
                    self.waiting = None;
                    return Poll::Ready(Ok(Some(Frame::data(data))));
                }
                Ok(Decoded::Trailers(mut trailers)) => {
                    headers::clean_trailers(&mut trailers);
                    return Poll::Ready(Ok(Some(Frame::trailers(trailers))));
                }
                Ok(Decoded::End) => return Poll::Ready(Ok(None)),
                Ok(Decoded::More) => {}
                Err(_) => return Poll::Ready(Err(Fault::UpstreamProtocol)),
            }
            if self
                .decoder
                .remaining()
                .is_none_or(|remaining| remaining > FIRST_READ as u64)
            {
                room = MAX_READ;
            }
            match self.poll_read(cx, room) {
                Poll::Ready(Ok(0)) if self.decoder.ends_with_connection() => {
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Fault::UpstreamReset)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        let deadline = self.waiting_since().plus(self.timeouts.idle);
        ready!(self.poll_late(cx, deadline));
        let total = self
            .total_deadline()
            .is_some_and(|total| self.clock.tick() >= total);
        Poll::Ready(Err(if total {
            Fault::TotalTimeout
        } else {
            Fault::IdleTimeout
        }))
    }

    /// Whether the response's body is complete.
    pub(super) fn is_end(&self) -> bool {
        self.decoder.is_end()
    }

    /// Bytes of body still to come, when known.
    pub(super) fn remaining(&self) -> Option<u64> {
        self.decoder.remaining()
    }

    /// Whether the request was read from the client and taken by the upstream to its end.
    fn is_sent(&self) -> bool {
        let Outgoing {
            body,
            bytes,
            piece,
            broken,
            ..
        } = &self.outgoing;
        body.is_none() && bytes.is_empty() && piece.is_empty() && !broken
    }

    /// The connection, if another exchange may use it: both messages are complete and nothing is left over.
    pub(super) fn into_reusable(self) -> Option<Connection> {
        let clean = self.keep_alive
            && self.is_sent()
            && self.decoder.is_end()
            && self.connection.buffer.is_empty();
        clean.then_some(self.connection)
    }

    /// The connection, whatever its state: for a tunnel.
    pub(super) fn into_connection(self) -> (Connection, Busy) {
        (self.connection, self.busy)
    }

    fn failure(&self, fault: Fault) -> Failure {
        let stale = fault == Fault::UpstreamReset && !self.answered && self.connection.uses > 0;
        Failure { fault, stale }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<Sending, Fault> {
        if self.sent.is_some() {
            return Ok(Sending::Done);
        }
        let before = self.outgoing.progress();
        let sending = self.outgoing.poll(cx, &mut self.connection.stream)?;
        if self.outgoing.progress() != before {
            self.waiting = None;
        }
        if sending == Sending::Done {
            self.sent = Some(self.clock.tick());
        }
        Ok(sending)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<std::io::Result<usize>> {
        let buffer = &mut self.connection.buffer;
        if buffer.capacity() - buffer.len() < room / 2 {
            buffer.reserve(room);
        }
        poll_read_buf(Pin::new(&mut self.connection.stream), cx, buffer)
    }

    fn waiting_since(&mut self) -> Tick {
        *self.waiting.get_or_insert_with(|| self.clock.tick())
    }

    fn total_deadline(&self) -> Option<Tick> {
        self.timeouts.total.map(|total| self.started.plus(total))
    }

    fn poll_late(&mut self, cx: &mut Context<'_>, deadline: Tick) -> Poll<()> {
        let deadline = self
            .total_deadline()
            .map_or(deadline, |total| total.min(deadline));
        self.connection.poll_deadline(cx, &self.clock, deadline)
    }
}

/// Informational, and not the one that ends HTTP on this connection.
fn is_interim(head: &Head) -> bool {
    head.status.is_informational() && head.status != http::StatusCode::SWITCHING_PROTOCOLS
}

impl Outgoing {
    fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Result<Sending, Fault> {
        loop {
            if !self.poll_write(cx, stream) {
                return Ok(Sending::Upstream);
            }
            let Some(body) = &mut self.body else {
                return Ok(Sending::Done);
            };
            match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Ok(Sending::Client),
                Poll::Ready(None) => {
                    self.body = None;
                    if self.framing == BodyFraming::Chunked {
                        self.bytes.put_slice(b"0\r\n\r\n");
                    }
                }
                Poll::Ready(Some(Err(error))) => return Err(client_fault(&error)),
                Poll::Ready(Some(Ok(frame))) => self.take(frame)?,
            }
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), Fault> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                if let (Ok(mut trailers), BodyFraming::Chunked) =
                    (frame.into_trailers(), self.framing)
                {
                    headers::write_trailers(&mut self.bytes, &mut trailers);
                    self.body = None;
                }
                return Ok(());
            }
        };
        self.body_bytes += data.len() as u64;
        if self.body_bytes > self.max_body_bytes {
            return Err(Fault::BodyTooLarge);
        }
        if self.broken || data.is_empty() {
            return Ok(());
        }
        let chunked = self.framing == BodyFraming::Chunked;
        if chunked {
            self.bytes
                .put_slice(format!("{:x}\r\n", data.len()).as_bytes());
        }
        let after: &[u8] = if chunked { b"\r\n" } else { b"" };
        if data.len() <= COPY {
            self.bytes.put_slice(&data);
            self.bytes.put_slice(after);
        } else {
            self.piece = data;
            self.after_piece = after;
        }
        Ok(())
    }

    /// Writes what is there; `false`: the upstream is not taking more now.
    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> bool {
        loop {
            let next = if self.bytes.is_empty() {
                &self.piece[..]
            } else {
                &self.bytes[..]
            };
            if next.is_empty() {
                if self.after_piece.is_empty() {
                    break;
                }
                self.bytes.put_slice(std::mem::take(&mut self.after_piece));
                continue;
            }
            match Pin::new(&mut *stream).poll_write(cx, next) {
                Poll::Pending => return false,
                Poll::Ready(Ok(count)) if count > 0 => {
                    if self.bytes.is_empty() {
                        self.piece.advance(count);
                    } else {
                        self.bytes.advance(count);
                    }
                }
                Poll::Ready(Ok(_) | Err(_)) => {
                    self.give_up();
                    return true;
                }
            }
        }
        match Pin::new(stream).poll_flush(cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => {
                self.give_up();
                true
            }
        }
    }

    /// The upstream reads no more. What is left of the request is not sent; its answer, if any, is still read.
    fn give_up(&mut self) {
        self.broken = true;
        self.bytes.clear();
        self.piece.clear();
        self.after_piece = b"";
        self.body = None;
    }

    /// Changes whenever something moved.
    fn progress(&self) -> (u64, usize, bool) {
        (
            self.body_bytes,
            self.bytes.len() + self.piece.len(),
            self.body.is_some(),
        )
    }
}

/// Whose fault it is that a request's body cannot be read: broken framing, or a client that left.
fn client_fault(error: &hyper::Error) -> Fault {
    let io =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    match io.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData) => {
            Fault::RequestInvalid
        }
        _ => Fault::ClientDisconnect,
    }
}

/// A response's body on its way to the client, and what follows its end: the connection goes back to the pool and the
/// observation is made.
#[derive(Debug)]
pub(super) struct UpstreamBody {
    /// `None` once the end was reached.
    exchange: Option<Exchange>,
    /// Index of the upstream and of the endpoint in the tracker's generation.
    place: (usize, usize),
    tracker: Tracker,
    /// It failed, but what came before has not had its chance to go out yet.
    failed: Option<Fault>,
}

impl UpstreamBody {
    pub(super) fn new(exchange: Exchange, place: (usize, usize), tracker: Tracker) -> Self {
        Self {
            exchange: Some(exchange),
            place,
            tracker,
            failed: None,
        }
    }

    pub(super) fn is_end(&self) -> bool {
        self.exchange.is_none() && self.failed.is_none()
    }

    pub(super) fn remaining(&self) -> Option<u64> {
        self.exchange.as_ref().map_or(Some(0), Exchange::remaining)
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Incomplete>>> {
        self.tracker.body_is_asked();
        if let Some(fault) = self.failed.take() {
            return Poll::Ready(Some(Err(Incomplete(fault))));
        }
        let Some(exchange) = &mut self.exchange else {
            return Poll::Ready(None);
        };
        let frame = match ready!(exchange.poll_frame(cx)) {
            Ok(frame) => frame,
            Err(fault) => {
                self.tracker.bytes_in(exchange.request_bytes());
                self.tracker.fail(fault);
                self.exchange = None;
                // hyper drops what it has buffered with the connection; waiting once makes it flush first, so that the
                // client sees a response cut off rather than none.
                self.failed = Some(fault);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        };
        if let Some(data) = frame.as_ref().and_then(Frame::data_ref) {
            self.tracker.hands_over(data.len());
        }
        // With the last bytes in hand the response is complete: hyper need not ask again to learn it.
        if frame.is_none() || exchange.is_end() {
            self.finish();
        }
        Poll::Ready(frame.map(Ok))
    }

    fn finish(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            let now = exchange.clock.tick();
            release(&mut self.tracker, exchange, self.place, now);
            self.tracker.completed(now);
        }
    }
}

/// Gives a finished exchange's connection back to the pool.
pub(super) fn release(
    tracker: &mut Tracker,
    exchange: Exchange,
    (upstream, endpoint): (usize, usize),
    now: Tick,
) {
    tracker.bytes_in(exchange.request_bytes());
    if exchange.is_sent() {
        tracker.body_is_read();
    }
    let worker: &Rc<Worker> = tracker.worker();
    if let Some(connection) = exchange.into_reusable() {
        let upstream = &tracker.generation().upstreams[upstream];
        let key = upstream.endpoints[endpoint].key;
        worker.pools.keep(key, upstream, connection, now);
    }
}
