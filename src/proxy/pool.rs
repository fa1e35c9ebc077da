//! One worker's upstream connections.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::balance::Chance;
use super::generation::{EndpointEntry, UpstreamEntry};
use super::worker::EndpointLoad;
use crate::clock::{Clock, SystemClock, Tick};
use crate::model::{EndpointKey, Fault, Spread};
use crate::net::connect::{ConnectError, connect};
use crate::net::stream::Stream;

mod choice;

use choice::{Field, Latency, Rank};

/// A connection to an endpoint, with the one timer that all its exchanges share.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    /// Bytes read and not yet used.
    pub(super) buffer: BytesMut,
    /// Exchanges completed on it.
    pub(super) uses: u32,
    /// Where it leads, when a name was asked where that is.
    peer: Option<IpAddr>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Tick>,
}

impl Connection {
    fn new(stream: Stream, peer: Option<IpAddr>, clock: &SystemClock) -> Self {
        let now = Instant::from_std(clock.instant(clock.tick()));
        let timer = Box::pin(tokio::time::sleep_until(now));
        Self {
            stream,
            buffer: BytesMut::new(),
            uses: 0,
            peer,
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

/// One worker's unused connections, by endpoint, what it knows of each endpoint, and which comes next.
#[derive(Debug, Default)]
pub(super) struct Pools {
    /// By [`EndpointKey::index`].
    endpoints: RefCell<Vec<EndpointPool>>,
    /// Grows with every choice; all upstreams share it, which spreads as well as one each.
    turn: Cell<usize>,
    chance: Cell<Chance>,
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
    /// Exchanges under way.
    in_flight: u32,
    latency: Latency,
    /// How long the heads of responses took since this was last asked for; made once there is one.
    waits: Option<Box<Spread>>,
    /// Since when it has been worth its share: since it was first seen, or came back; `None`: it is new or away.
    back_since: Option<Tick>,
}

impl EndpointPool {
    fn is_avoided(&self, now: Tick) -> bool {
        self.avoid_until > now || self.ejected_until > now
    }
}

/// What a failure counts as beside the time it took, so that an endpoint that fails fast does not look quick.
pub(super) const FAILURE_COUNTS_AS: Duration = Duration::from_secs(1);

/// The longest an endpoint is avoided after failing to connect.
const MAX_AVOID: Duration = Duration::from_secs(10);
/// How long an endpoint is left alone the first time that its exchanges fail too often in a row; twice as long each time
/// that it goes on.
const EJECTED: Duration = Duration::from_secs(10);
/// The longest it is left alone.
const MAX_EJECTED: Duration = Duration::from_secs(300);

impl Pools {
    /// Those of the worker with this index: workers do not choose in step.
    pub(super) fn new(worker: usize) -> Self {
        Self {
            turn: Cell::new(worker),
            chance: Cell::new(Chance::new(worker as u64)),
            ..Self::default()
        }
    }

    /// The endpoints of an upstream in the order to try, at most as many as `order` has room for: the one that its
    /// balance chooses, then others. Those that failed lately come after the others, and those that their health checks
    /// say are down last, unless so many are that the checks are not believed. Those that were `tried` already come after
    /// all that were not. Returns how many there are.
    pub(super) fn order(
        &self,
        upstream: &UpstreamEntry,
        key: Option<u64>,
        now: Tick,
        tried: &[usize],
        order: &mut [usize],
    ) -> usize {
        let count = upstream.endpoints.len();
        if count == 0 || order.is_empty() {
            return 0;
        }
        let turn = self.turn.get();
        if tried.is_empty() {
            // A retry takes no turn: with two endpoints every request would begin at the one that fails.
            self.turn.set(turn.wrapping_add(1));
        }
        let mut pools = self.endpoints.borrow_mut();
        let field = Field::new(upstream, &mut pools, now, tried);
        let mut chance = self.chance.get();
        let first = field.first(turn, key, &mut chance);
        self.chance.set(chance);
        let rest = (1..count).map(|step| first.wrapping_add(step) % count);
        let mut filled = 1;
        order[0] = first;
        for rank in Rank::ALL {
            for endpoint in rest.clone().filter(|it| field.rank(*it) == rank) {
                if filled == order.len() {
                    return filled;
                }
                order[filled] = endpoint;
                filled += 1;
            }
        }
        filled
    }

    /// An attempt at an endpoint is under way, or over.
    pub(super) fn in_flight(&self, endpoint: EndpointKey, by: i32) {
        let mut pools = self.endpoints.borrow_mut();
        let pool = pool(&mut pools, endpoint);
        pool.in_flight = pool.in_flight.saturating_add_signed(by);
    }

    /// How long an endpoint took to answer.
    pub(super) fn answered(&self, endpoint: EndpointKey, took: Duration, now: Tick) {
        let mut pools = self.endpoints.borrow_mut();
        pool(&mut pools, endpoint).latency.take(took, now);
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
                let is_named = endpoint.target.host.parse::<IpAddr>().is_err();
                let peer = is_named.then(|| stream.peer()).flatten();
                Ok(Connection::new(stream, peer, clock))
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

    /// An endpoint answered with a response's head after `micros` microseconds.
    pub(super) fn waited(&self, endpoint: EndpointKey, micros: u64) {
        let mut pools = self.endpoints.borrow_mut();
        let waits = pool(&mut pools, endpoint).waits.get_or_insert_default();
        waits.record(micros);
    }

    /// Every endpoint that carries something, is left alone, or has answered since the last call.
    pub(super) fn loads(&self, now: Tick) -> Vec<(EndpointKey, EndpointLoad)> {
        let mut pools = self.endpoints.borrow_mut();
        let pools = pools.iter_mut().enumerate();
        let loads = pools.map(|(index, pool)| {
            // What was handed out once stays here, emptied, so that the next answer finds its place.
            let answered = pool.waits.as_mut().filter(|waits| waits.count() > 0);
            let load = EndpointLoad {
                in_flight: u64::from(pool.in_flight),
                ejected: pool.ejected_until > now,
                waits: answered.map(std::mem::take),
            };
            (EndpointKey(index as u32), load)
        });
        loads
            .filter(|(_, load)| *load != EndpointLoad::default())
            .collect()
    }

    /// Where unused connections to endpoints with a name lead, and how many do.
    pub(super) fn kept(&self) -> Vec<(EndpointKey, IpAddr, u64)> {
        let mut kept: Vec<(EndpointKey, IpAddr, u64)> = Vec::new();
        for (index, pool) in self.endpoints.borrow().iter().enumerate() {
            let key = EndpointKey(index as u32);
            for peer in pool.idle.iter().filter_map(|(_, it)| it.peer) {
                let known = kept.iter_mut().rev().take_while(|(of, ..)| *of == key);
                let mut known = known.filter(|(_, to, _)| *to == peer);
                match known.next() {
                    Some((.., count)) => *count += 1,
                    None => kept.push((key, peer, 1)),
                }
            }
        }
        kept
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::Directory;
    use crate::net::tls;
    use crate::proxy::generation::Generation;

    fn generation(upstream: &str) -> Generation {
        let text = format!(
            "[[listener]]\nname = 'l'\naddress = '127.0.0.1:0'\n\
             [[upstream]]\nname = 'u'\nendpoints = ['http://a', 'http://b']\n{upstream}\n"
        );
        let read = crate::config::parse("t", &text, Path::new(""), &|_| None).unwrap();
        let tickets = tls::ticketer().unwrap();
        Generation::build(&read.proxy, &mut Directory::default(), &tickets).unwrap()
    }

    fn at(seconds: u64) -> Tick {
        Tick::default().plus(Duration::from_secs(seconds))
    }

    /// Of a thousand requests, how many `a` is given.
    fn given_to_a(pools: &Pools, upstream: &UpstreamEntry, now: Tick) -> usize {
        let mut order = [0; 3];
        let mut given = 0;
        for _ in 0..1_000 {
            assert_eq!(pools.order(upstream, None, now, &[], &mut order), 2);
            given += usize::from(order[0] == 0);
        }
        given
    }

    #[test]
    fn an_endpoint_that_comes_back_gets_its_share_little_by_little() {
        for balance in ["round_robin", "least_requests", "latency"] {
            let generation = generation(&format!(
                "eject_after = 1\nslow_start = '100s'\nbalance = '{balance}'"
            ));
            let (pools, upstream) = (Pools::new(0), &generation.upstreams[0]);
            let _ = given_to_a(&pools, upstream, at(0));
            assert!((400..600).contains(&given_to_a(&pools, upstream, at(200))));
            pools.exchanged(upstream, 0, false, at(200));
            assert_eq!(given_to_a(&pools, upstream, at(201)), 0);
            let shares = [211, 250, 400].map(|now| given_to_a(&pools, upstream, at(now)));
            assert!(shares[0] < 150, "{balance}: {shares:?}");
            assert!((400..600).contains(&shares[2]), "{balance}: {shares:?}");
            // Round robin grows evenly; of two that cost the same the draw decides, so the others leap at the end.
            if balance == "round_robin" {
                assert!((150..300).contains(&shares[1]), "{shares:?}");
            }
        }
    }
}
