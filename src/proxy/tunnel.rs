//! A connection after its upgrade: bytes both ways, no more HTTP.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};

use super::exchange::Busy;
use super::pool::Connection;
use super::worker::Worker;

/// An upgraded upstream connection that waits for the client's side to be handed over.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// The connection, and what counts it as under way for as long as it lasts.
    pub(super) upstream: (Connection, Busy),
    /// Closed after this long without a byte in either direction.
    pub(super) idle: Duration,
}

impl Tunnel {
    /// Carries bytes until both sides are done, one fails, or nothing moves for too long.
    pub(super) async fn run<S>(self, client: S, already_read: Bytes, worker: &Rc<Worker>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        worker.tunnels.set(worker.tunnels.get() + 1);
        let moved = Cell::new(0_u64);
        let (Connection { stream, buffer, .. }, _busy) = self.upstream;
        let mut client = Watched {
            inner: client,
            first: already_read,
            moved: &moved,
        };
        let mut upstream = Watched {
            inner: stream,
            first: buffer.freeze(),
            moved: &moved,
        };
        let idle = async {
            loop {
                let before = moved.get();
                tokio::time::sleep(self.idle).await;
                if moved.get() == before {
                    break;
                }
            }
        };
        tokio::select! {
            _done = copy_bidirectional(&mut client, &mut upstream) => {}
            () = idle => {}
            () = worker.cut.notified() => {}
        }
        worker.tunnels.set(worker.tunnels.get() - 1);
        // Both ends are being let go of; a failure to say goodbye changes nothing.
        drop(client.inner.shutdown().await);
        drop(upstream.inner.shutdown().await);
    }
}

/// A stream that first yields bytes read earlier, and counts what moves.
struct Watched<'a, S> {
    inner: S,
    first: Bytes,
    moved: &'a Cell<u64>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.moved.set(self.moved.get() + 1);
        if !self.first.is_empty() {
            let count = self.first.len().min(buf.remaining());
            let piece = self.first.split_to(count);
            buf.put_slice(&piece);
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if polled.is_pending() {
            self.moved.set(self.moved.get() - 1);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
