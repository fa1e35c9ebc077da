//! One worker's upstream connections.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::generation::{EndpointEntry, UpstreamEntry};
use crate::clock::{Clock, SystemClock, Tick};
use crate::model::{EndpointKey, Fault};
use crate::net::connect::{ConnectError, connect};
use crate::net::stream::Stream;

/// A connection to an endpoint, with the one timer that all its exchanges share.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    /// Bytes read and not yet used.
    pub(super) buffer: BytesMut,
    /// Exchanges completed on it.
    pub(super) uses: u32,
    timer: Pin<Box<Sleep>>,
    armed: Option<Tick>,
}

impl Connection {
    fn new(stream: Stream, clock: &SystemClock) -> Self {
        let now = Instant::from_std(clock.instant(clock.tick()));
        let timer = Box::pin(tokio::time::sleep_until(now));
        Self {
            stream,
            buffer: BytesMut::new(),
            uses: 0,
            timer,
            armed: None,
        }
    }

    /// Ready once `deadline` has passed.
    ///
    /// The timer is moved only when it would fire too late; when it fires early it is set again. So a connection whose
    /// exchanges are quick touches the timer wheel about once per timeout, not once per request.
    pub(super) fn poll_deadline(
        &mut self,
        cx: &mut Context<'_>,
        clock: &SystemClock,
        deadline: Tick,
    ) -> Poll<()> {
        if self.armed.is_some_and(|armed| armed <= deadline)
            && self.timer.as_mut().poll(cx).is_pending()
        {
            return Poll::Pending;
        }
        if clock.tick() >= deadline {
            return Poll::Ready(());
        }
        self.timer
            .as_mut()
            .reset(Instant::from_std(clock.instant(deadline)));
        self.armed = Some(deadline);
        self.timer.as_mut().poll(cx)
    }

    /// Whether an unused connection is still good: neither closed nor sent to unasked.
    fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut probe = ReadBuf::new(&mut byte);
        // Without a readiness event since the last read this costs no system call.
        Pin::new(&mut self.stream)
            .poll_read(&mut Context::from_waker(Waker::noop()), &mut probe)
            .is_pending()
    }
}

/// One worker's unused connections, by endpoint, and which endpoint comes next.
#[derive(Debug, Default)]
pub(super) struct Pools {
    /// By [`EndpointKey::index`].
    endpoints: RefCell<Vec<EndpointPool>>,
    /// Grows with every choice; all upstreams share it, which spreads as well as one each.
    turn: Cell<usize>,
}

#[derive(Debug, Default)]
struct EndpointPool {
    /// Oldest first: the newest is used first, so that the others can age out.
    idle: Vec<(Tick, Connection)>,
    idle_timeout: Duration,
    /// After failures to connect: others are preferred until then.
    avoid_until: Tick,
    failures: u32,
    /// Exchanges that failed in a row.
    bad_in_a_row: u32,
    /// After too many of those: left alone until then.
    ejected_until: Tick,
    /// How often that happened without a good exchange in between.
    ejections: u32,
}

impl EndpointPool {
    fn is_avoided(&self, now: Tick) -> bool {
        self.avoid_until > now || self.ejected_until > now
    }
}

/// The longest an endpoint is avoided after failing to connect.
const MAX_AVOID: Duration = Duration::from_secs(10);
/// How long an endpoint is left alone the first time that its exchanges fail too often in a row; twice as long each time
/// that it goes on.
const EJECTED: Duration = Duration::from_secs(10);
/// The longest it is left alone.
const MAX_EJECTED: Duration = Duration::from_secs(300);

impl Pools {
    /// The endpoints of an upstream in the order to try: round robin, those that failed lately after the others, and
    /// those that their health checks say are down last.
    pub(super) fn order(&self, upstream: &UpstreamEntry, now: Tick, order: &mut Vec<usize>) {
        order.clear();
        let count = upstream.endpoints.len();
        if count == 0 {
            return;
        }
        let first = self.turn.get();
        self.turn.set(first.wrapping_add(1));
        order.extend((0..count).map(|offset| first.wrapping_add(offset) % count));
        if count > 1 {
            let pools = self.endpoints.borrow();
            let avoided = |endpoint: &usize| {
                let entry = &upstream.endpoints[*endpoint];
                let down = entry.standing.as_ref().is_some_and(|it| it.is_down());
                let pool = pools.get(entry.key.index());
                (down, pool.is_some_and(|pool| pool.is_avoided(now)))
            };
            order.sort_by_key(avoided);
        }
    }

    /// A connection that was used before and is still good.
    pub(super) fn reuse(&self, endpoint: EndpointKey, now: Tick) -> Option<Connection> {
        let mut pools = self.endpoints.borrow_mut();
        let pool = pools.get_mut(endpoint.index())?;
        while let Some((since, mut connection)) = pool.idle.pop() {
            if !expired(now, since, pool.idle_timeout) && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for later.
    pub(super) fn keep(
        &self,
        endpoint: EndpointKey,
        upstream: &UpstreamEntry,
        mut connection: Connection,
        now: Tick,
    ) {
        connection.uses = connection.uses.saturating_add(1);
        if connection.buffer.is_empty() {
            // An unused connection holds no memory of ours.
            connection.buffer = BytesMut::new();
        }
        let mut pools = self.endpoints.borrow_mut();
        let pool = pool(&mut pools, endpoint);
        pool.idle_timeout = upstream.upstream.idle_timeout;
        if pool.idle.len() < upstream.upstream.idle_connections {
            pool.idle.push((now, connection));
        }
    }

    /// Opens a connection.
    pub(super) async fn open(
        &self,
        endpoint: &EndpointEntry,
        timeout: Duration,
        clock: &SystemClock,
    ) -> Result<Connection, Fault> {
        let opened = tokio::time::timeout(timeout, connect(&endpoint.target)).await;
        let opened = match opened {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                tracing::debug!(endpoint = %endpoint.address, %error, "no connection");
                Err(match error {
                    ConnectError::Dns(_) => Fault::Dns,
                    ConnectError::Refused => Fault::ConnectRefused,
                    ConnectError::Failed(_) => Fault::ConnectFailed,
                    ConnectError::Tls(_) => Fault::TlsHandshake,
                })
            }
            Err(_elapsed) => Err(Fault::ConnectTimeout),
        };
        let mut pools = self.endpoints.borrow_mut();
        let pool = pool(&mut pools, endpoint.key);
        match opened {
            Ok(stream) => {
                pool.failures = 0;
                pool.avoid_until = Tick::default();
                Ok(Connection::new(stream, clock))
            }
            Err(fault) => {
                let avoid = Duration::from_millis(250 << pool.failures.min(6)).min(MAX_AVOID);
                pool.failures = pool.failures.saturating_add(1);
                pool.avoid_until = clock.tick().plus(avoid);
                Err(fault)
            }
        }
    }

    /// An exchange with an endpoint went well, or failed by the endpoint's doing. After so many failures in a row as its
    /// upstream allows it is left alone for a while, by this worker: but never more than half of an upstream's
    /// endpoints are, and so never the only one. What is broken everywhere is not mended by sending it elsewhere.
    pub(super) fn exchanged(
        &self,
        upstream: &UpstreamEntry,
        endpoint: usize,
        good: bool,
        now: Tick,
    ) {
        let Some(most) = upstream.upstream.eject_after else {
            return;
        };
        let mut pools = self.endpoints.borrow_mut();
        let key = |at: usize| upstream.endpoints[at].key;
        let others = (0..upstream.endpoints.len()).filter(|at| *at != endpoint);
        let ejected = others
            .filter_map(|at| pools.get(key(at).index()))
            .filter(|pool| pool.ejected_until > now)
            .count();
        let pool = pool(&mut pools, key(endpoint));
        if good {
            (pool.bad_in_a_row, pool.ejections) = (0, 0);
            return;
        }
        pool.bad_in_a_row = pool.bad_in_a_row.saturating_add(1);
        if pool.bad_in_a_row >= most && (ejected + 1) * 2 <= upstream.endpoints.len() {
            let longer = EJECTED * (1 << pool.ejections.min(5));
            pool.ejected_until = now.plus(longer.min(MAX_EJECTED));
            pool.ejections = pool.ejections.saturating_add(1);
            pool.bad_in_a_row = 0;
        }
    }

    /// Lets go of connections that are too old, or that the other side closed.
    pub(super) fn sweep(&self, now: Tick) {
        for pool in self.endpoints.borrow_mut().iter_mut() {
            let timeout = pool.idle_timeout;
            pool.idle.retain_mut(|(since, connection)| {
                !expired(now, *since, timeout) && connection.is_quiet()
            });
        }
    }

    /// Lets go of every unused connection.
    pub(super) fn clear(&self) {
        self.endpoints.borrow_mut().clear();
    }
}

fn expired(now: Tick, since: Tick, timeout: Duration) -> bool {
    now >= since.plus(timeout)
}

fn pool(pools: &mut Vec<EndpointPool>, endpoint: EndpointKey) -> &mut EndpointPool {
    if pools.len() <= endpoint.index() {
        pools.resize_with(endpoint.index() + 1, EndpointPool::default);
    }
    &mut pools[endpoint.index()]
}
