//! A request's way: check, route, pick an endpoint, send, answer.

use std::borrow::Cow;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, UPGRADE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use super::balance;
use super::config::{Balance, Encoded, HashKey, Https, Network, Route};
use super::connection::ConnectionState;
use super::elsewhere::TO_TLS;
use super::exchange::{Busy, Exchange, Failure, UpstreamBody, release};
use super::generation::Generation;
use super::headers::{self, BodyFraming, Client, RequestHead, TRACEPARENT, X_REQUEST_ID};
use super::identity::{RequestId, TraceContext};
use super::limit::{Caller, Quota, Verdict};
use super::observe::{PathText, RequestFacts, Tracker, scheme};
use super::pool::{Connection, FAILURE_COUNTS_AS};
use super::preamble::Source;
use super::respond::{self, ResponseBody};
use super::retry::{self, Budget};
use super::tunnel::Tunnel;
use super::worker::{Serving, Worker};
use crate::clock::{Clock, Tick};
use crate::model::{Fault, Phase, Side};
use crate::net::http1::Head;
use crate::net::mark;
use crate::routing::{matcher, target};

/// Serves one request. Never fails: what goes wrong becomes a response, or a body that ends in an error.
///
/// All that needs no waiting is done before the future is first polled: hyper drops the future of a client that has left
/// already without ever polling it, and such a request is to be observed like any other.
pub(super) fn serve(
    connection: &Rc<ConnectionState>,
    request: Request<Incoming>,
) -> impl Future<Output = Response<ResponseBody>> + use<> {
    let prepared = Prepared::new(connection, request);
    async move {
        match prepared {
            Ok(prepared) => prepared.run().await,
            Err((tracker, Early::Fault(fault))) => respond::fault(*tracker, fault),
            Err((tracker, Early::Validation(text))) => respond::validation(*tracker, text),
            Err((tracker, Early::Redirect(to))) => {
                let mut response = respond::redirect(*tracker, to.status, &to.place);
                if let Some(hsts) = to.hsts {
                    headers::tell_hsts(response.headers_mut(), &hsts);
                }
                response
            }
            Err((tracker, Early::Limited(quota))) => {
                let mut response = respond::fault(*tracker, Fault::RateLimited);
                respond::quota(&mut response, quota, true);
                response
            }
        }
    }
}

/// What a request is answered that goes to no upstream.
enum Early {
    Fault(Fault),
    /// That it is to be sent there instead.
    Redirect(Box<Elsewhere>),
    /// That it is one too many.
    Limited(Quota),
    /// What a certificate authority looks for.
    Validation(Bytes),
}

/// Where a request is to be sent instead.
struct Elsewhere {
    status: StatusCode,
    place: String,
    hsts: Option<HeaderValue>,
}

/// A request that was checked and has a route.
struct Prepared {
    tracker: Tracker,
    connection: Rc<ConnectionState>,
    generation: Rc<Serving>,
    route: usize,
    upstream: usize,
    client: Client,
    /// It came over TLS.
    over_tls: bool,
    uri: Uri,
    /// Path and query in the form that was matched; `None`: the path as it came, without a query.
    target: Option<String>,
    host: HeaderValue,
    headers: HeaderMap,
    body: Incoming,
    framing: BodyFraming,
    websocket: bool,
    /// What its limits leave; `None`: it is under none.
    quota: Option<Quota>,
}

impl Prepared {
    /// Checks and routes a request.
    ///
    /// # Errors
    /// What to answer instead.
    #[expect(
        clippy::too_many_lines,
        reason = "one check after another, in an order that matters"
    )]
    fn new(
        connection: &Rc<ConnectionState>,
        request: Request<Incoming>,
    ) -> Result<Self, (Box<Tracker>, Early)> {
        let worker = &connection.worker;
        let started = worker.clock.tick();
        let generation = worker.generation();
        let (parts, body) = request.into_parts();
        let trusted: &[Network] = match connection.source {
            Source::Known => &generation.trusted_proxies,
            // A balancer that does not say whom it speaks for vouches for nobody.
            Source::Unsaid => &[],
        };
        let client = Client::new(connection.peer, &parts.headers, trusted);
        let (host, path) = (host(&parts), target::path(parts.uri.path()));
        let text = match path.as_ref().map(|path| &path.text) {
            Ok(Cow::Owned(path)) => PathText::Owned(path.clone()),
            Ok(Cow::Borrowed(_)) | Err(_) => shared_path(&parts.uri),
        };
        let facts = facts(connection, &parts, client, host.as_ref().ok(), text);
        let framing = body_framing(&body);
        connection.body_unread.set(framing != BodyFraming::None);
        let mut tracker = Tracker::new(connection, Rc::clone(&generation), started, facts);
        let refuse = |tracker, fault| Err((Box::new(tracker), Early::Fault(fault)));
        // Its target has no path, so it would not pass as a request for one.
        if tracker.facts().method == Method::CONNECT {
            return refuse(tracker, Fault::NotAllowed);
        }
        let (Ok(host), Ok(path)) = (host, path) else {
            return refuse(tracker, Fault::RequestInvalid);
        };
        if !is_plain(&parts) {
            return refuse(tracker, Fault::RequestInvalid);
        }
        // hyper counts those of HTTP/1 itself. Cookies come in crumbs, which are one header (RFC 9113, 8.2.3).
        if parts.version == Version::HTTP_2 && parts.headers.len() > connection.limits.max_headers {
            let crumbs = parts.headers.get_all(COOKIE).iter().count();
            let count = parts.headers.len() - crumbs.saturating_sub(1);
            if count > connection.limits.max_headers {
                return refuse(tracker, Fault::HeadersTooLarge);
            }
        }
        let Some(plain_host) = host.to_str().ok().and_then(|host| target::host(host).ok()) else {
            return refuse(tracker, Fault::RequestInvalid);
        };
        if let Some(early) = validation(connection, &path.text) {
            return Err((Box::new(tracker), early));
        }
        if !connection.may_ask_for(&plain_host) {
            return refuse(tracker, Fault::Misdirected);
        }
        let method = tracker.facts().method.clone();
        let request = matcher::Request {
            listener: generation.listener_place(&connection.listener),
            host: &plain_host,
            path: &path.text,
            query: parts.uri.query(),
            method: method.as_str(),
            headers: &parts.headers,
        };
        let found = generation.matcher.find(&request);
        let over_tls = headers::came_over_tls(connection.tls.is_some(), client, &parts.headers);
        if let Some(route) = found {
            tracker.routed(route);
            let route = &generation.routes[route].route;
            let asked = Asked {
                host: &plain_host,
                path: &path.text,
                query: parts.uri.query(),
                over_tls,
            };
            if let Some(early) = turned_away(connection, route, client, asked) {
                return Err((Box::new(tracker), early));
            }
        }
        let encoded = found.map(|route| generation.routes[route].route.encoded);
        if path.encoded_separator && !may_pass(encoded.unwrap_or_default(), worker) {
            return refuse(tracker, Fault::RequestInvalid);
        }
        let Some(route) = found else {
            return refuse(tracker, Fault::NoRoute);
        };
        let caller = Caller {
            address: client.address,
            headers: &parts.headers,
            route,
        };
        let quota = match limited(&generation, caller, &tracker) {
            Ok(quota) => quota,
            Err(quota) => return Err((Box::new(tracker), Early::Limited(quota))),
        };
        let entry = &generation.routes[route].route;
        if matches!(framing, BodyFraming::Length(length) if length > entry.max_body_bytes) {
            return refuse(tracker, Fault::BodyTooLarge);
        }
        // With a body on its way its bytes and the socket's could not be told apart.
        let websocket = entry.websocket
            && parts.version == Version::HTTP_11
            && framing == BodyFraming::None
            && headers::wants_websocket(&tracker.facts().method, &parts.headers);
        let path = match rewritten(connection, &generation, route, client, &request) {
            Ok(None) => path.text,
            Ok(Some(path)) => Cow::Owned(path),
            Err(fault) => return refuse(tracker, fault),
        };
        // A route without an upstream redirects, and does not come here.
        let Some(upstream) = generation.routes[route].upstream else {
            return refuse(tracker, Fault::Internal);
        };
        let target = match (parts.uri.query(), path) {
            (Some(query), path) => Some(format!("{path}?{query}")),
            (None, Cow::Owned(path)) => Some(path),
            (None, Cow::Borrowed(_)) => None,
        };
        drop(plain_host);
        Ok(Self {
            tracker,
            connection: Rc::clone(connection),
            generation,
            route,
            upstream,
            client,
            over_tls,
            uri: parts.uri,
            target,
            host,
            headers: parts.headers,
            body,
            framing,
            websocket,
            quota,
        })
    }

    async fn run(self) -> Response<ResponseBody> {
        let Self {
            mut tracker,
            connection,
            generation,
            route,
            upstream,
            client,
            over_tls,
            uri,
            target,
            host,
            headers,
            body,
            framing,
            websocket,
            quota,
        } = self;
        let call = Call {
            generation: &generation,
            upstream,
            route,
            client,
            target: target.as_deref().unwrap_or_else(|| uri.path()),
            client_host: host.as_bytes(),
            headers: &headers,
            framing,
            websocket,
            connection: &connection,
        };
        let body = (framing != BodyFraming::None).then_some(body);
        let mut response = match call.run(&mut tracker, body).await {
            Ok(answer) => answer.into_response(&connection, tracker, websocket),
            Err(fault) => respond::fault(tracker, fault),
        };
        if let Some(quota) = quota {
            respond::quota(&mut response, quota, false);
        }
        if let Some(hsts) = generation.routes[route]
            .route
            .hsts
            .as_ref()
            .filter(|_| over_tls)
        {
            headers::tell_hsts(response.headers_mut(), hsts);
        }
        response
    }
}

/// The path that the upstream is asked for, when its route says that it has gone elsewhere.
///
/// # Errors
/// The new path has no one form, or belongs to a route that would not answer this client: a rewrite is no way past a guard.
fn rewritten(
    connection: &ConnectionState,
    generation: &Generation,
    route: usize,
    client: Client,
    request: &matcher::Request<'_>,
) -> Result<Option<String>, Fault> {
    let Some(moved) = &generation.routes[route].route.rewrite else {
        return Ok(None);
    };
    let raw = moved.path(request.path);
    let path = target::path(&raw).map_err(|_error| Fault::RequestInvalid)?;
    if generation.guarded {
        let there = generation.matcher.find(&matcher::Request {
            path: &path.text,
            ..*request
        });
        let guard = there.map(|there| &generation.routes[there].route);
        if guard.is_some_and(|guard| !admits(connection, guard, client)) {
            return Err(Fault::Forbidden);
        }
    }
    Ok(Some(path.text.into_owned()))
}

/// Whether a route answers this client.
fn admits(connection: &ConnectionState, route: &Route, client: Client) -> bool {
    route.answers(client.address) && (!route.certified || connection.identity().is_some())
}

/// The longest method; the longest that is registered has 17 letters.
const MAX_METHOD: usize = 32;

/// Whether a request says in one way only what others could read in two: its scheme, its method (some servers take `get` for
/// GET, no rule of ours does), how its body is coded and how long it is.
fn is_plain(parts: &http::request::Parts) -> bool {
    let scheme = parts.uri.scheme_str();
    let method = parts.method.as_str().as_bytes();
    let of_method = |byte: &u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_');
    scheme.is_none_or(|scheme| matches!(scheme, "http" | "https"))
        && method.len() <= MAX_METHOD
        && method.iter().all(of_method)
        && headers::is_coded_plainly(&parts.headers)
        && headers::is_long_plainly(&parts.headers)
}

/// What a request asks for, in the form that was matched.
#[derive(Clone, Copy)]
struct Asked<'a> {
    host: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    over_tls: bool,
}

/// What a route answers itself: to clients it is not for, and that something is elsewhere.
fn turned_away(
    connection: &ConnectionState,
    route: &Route,
    client: Client,
    asked: Asked<'_>,
) -> Option<Early> {
    if !admits(connection, route, client) {
        return Some(Early::Fault(Fault::Forbidden));
    }
    let Asked {
        host,
        path,
        query,
        over_tls,
    } = asked;
    let to_tls = (route.https == Https::Redirect && !over_tls).then_some(const { &TO_TLS });
    let redirect = to_tls.or(route.redirect.as_ref())?;
    Some(Early::Redirect(Box::new(Elsewhere {
        status: redirect.status,
        place: redirect.place(scheme(over_tls), host, path, query),
        hsts: route.hsts.clone().filter(|_| over_tls),
    })))
}

/// What a certificate authority is answered that looks here over plain text. It goes before any route: whether a name is
/// ours does not depend on what is served under it.
fn validation(connection: &ConnectionState, path: &str) -> Option<Early> {
    let plain = connection.tls.is_none();
    let text = plain.then(|| connection.worker.answer_at(path)).flatten()?;
    Some(Early::Validation(text))
}

/// What a request's rate limits leave its client.
///
/// # Errors
/// It is over one of them.
fn limited(
    generation: &Generation,
    caller: Caller<'_>,
    tracker: &Tracker,
) -> Result<Option<Quota>, Quota> {
    let limits = &generation.routes[caller.route].rate_limits;
    // Probes measure the service, not how much of it a client is given.
    if limits.is_empty() || tracker.facts().is_probe {
        return Ok(None);
    }
    let taken = generation
        .rate_limits
        .take(limits, caller, tracker.started());
    match taken {
        Verdict::Free => Ok(None),
        Verdict::Passes(quota) => Ok(Some(quota)),
        Verdict::Over(quota) => Err(quota),
    }
}

/// Whether a path with an encoded separator may pass; counts it.
fn may_pass(encoded: Encoded, worker: &Worker) -> bool {
    let counter = match encoded {
        Encoded::Keep => return true,
        Encoded::Report => &worker.encoded_reported,
        Encoded::Refuse => &worker.encoded_refused,
    };
    counter.set(counter.get() + 1);
    encoded == Encoded::Report
}

/// Whether a request carries the mark of a probe of ours. Those that carry none, all but a few, cost a look-up.
fn is_probe(worker: &Worker, parts: &http::request::Parts, host: Option<&HeaderValue>) -> bool {
    let mark = parts.headers.get(&mark::HEADER);
    let (Some(mark), Some(key), Some(host)) = (mark, &worker.marks, host) else {
        return false;
    };
    let line = mark::Line {
        method: parts.method.as_str(),
        host: host.as_bytes(),
        path: parts.uri.path(),
    };
    key.knows(mark.as_bytes(), line, worker.clock.now())
}

fn facts(
    connection: &ConnectionState,
    parts: &http::request::Parts,
    client: Client,
    host: Option<&HeaderValue>,
    path: PathText,
) -> RequestFacts {
    let worker = &connection.worker;
    let header = |name| parts.headers.get(name);
    RequestFacts {
        client: client.address,
        tls: connection.tls.is_some(),
        version: parts.version,
        host: host.map_or_else(|| HeaderValue::from_static(""), HeaderValue::clone),
        path,
        user_agent: header(USER_AGENT).cloned(),
        request_id: RequestId::keep_or_make(header(X_REQUEST_ID), &worker.ids),
        trace: TraceContext::continue_or_begin(
            header(TRACEPARENT).map(HeaderValue::as_bytes),
            &worker.ids,
        ),
        is_probe: is_probe(worker, parts, host),
        method: parts.method.clone(),
    }
}

/// The one host a request asks for (RFC 9112, 3.2): exactly one Host, agreeing with the target's authority if it has
/// one.
fn host(parts: &http::request::Parts) -> Result<HeaderValue, Fault> {
    let authority = parts.uri.authority();
    let mut named = parts.headers.get_all(HOST).iter();
    let host = match (named.next(), authority) {
        (Some(host), None) => host.clone(),
        (Some(host), Some(authority))
            if host
                .as_bytes()
                .eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            host.clone()
        }
        (None, Some(authority)) if parts.version == Version::HTTP_2 => {
            HeaderValue::from_str(authority.as_str()).or(Err(Fault::RequestInvalid))?
        }
        // Older than the Host header: routes without a host may still take it.
        (None, None) if parts.version == Version::HTTP_10 => HeaderValue::from_static("localhost"),
        (Some(_), Some(_)) | (None, _) => return Err(Fault::RequestInvalid),
    };
    if named.next().is_some() {
        Err(Fault::RequestInvalid)
    } else {
        Ok(host)
    }
}

fn shared_path(uri: &Uri) -> PathText {
    uri.path_and_query().map_or_else(
        || PathText::Owned(String::new()),
        |target| PathText::Shared(target.clone()),
    )
}

fn body_framing(body: &Incoming) -> BodyFraming {
    if body.is_end_stream() {
        return BodyFraming::None;
    }
    match body.size_hint().exact() {
        Some(0) => BodyFraming::None,
        Some(length) => BodyFraming::Length(length),
        None => BodyFraming::Chunked,
    }
}

/// A routed request, ready to be sent.
struct Call<'a> {
    generation: &'a Generation,
    upstream: usize,
    route: usize,
    client: Client,
    target: &'a str,
    client_host: &'a [u8],
    headers: &'a HeaderMap,
    framing: BodyFraming,
    websocket: bool,
    connection: &'a ConnectionState,
}

/// A response whose head has arrived.
struct Answer {
    head: Head,
    exchange: Exchange,
    /// Index of the route.
    route: usize,
    /// Index of the upstream and of the endpoint.
    place: (usize, usize),
    idle: Duration,
}

/// Endpoints tried at most for a connection.
const MAX_ENDPOINTS: usize = 3;

/// Endpoints that have failed a request, at most as many as there can be retries.
#[derive(Debug, Default)]
struct Tried {
    endpoints: [usize; MAX_RETRIES],
    count: usize,
}

/// Retries that a configuration can ask for at most.
const MAX_RETRIES: usize = 5;

impl Tried {
    fn add(&mut self, endpoint: usize) {
        if let Some(place) = self.endpoints.get_mut(self.count) {
            *place = endpoint;
        }
        self.count += 1;
    }

    fn as_slice(&self) -> &[usize] {
        &self.endpoints[..self.count.min(MAX_RETRIES)]
    }
}

impl Call<'_> {
    /// Gets a connection and exchanges on it.
    ///
    /// Another endpoint is tried while nothing was sent. A request is repeated only when it may be and has no body: when
    /// it met a connection that had been closed behind our back, and when its route asks for it.
    async fn run(
        &self,
        tracker: &mut Tracker,
        mut body: Option<Incoming>,
    ) -> Result<Answer, Fault> {
        let route = &self.generation.routes[self.route];
        if let Some(retry) = &route.route.retry {
            self.budget(tracker, |budget| budget.earn(retry.budget_percent));
        }
        let (mut repeated, mut tried) = (false, Tried::default());
        loop {
            let (endpoint, connection, busy) =
                self.connect(tracker, repeated, tried.as_slice()).await?;
            tracker.connected();
            let mut exchange = self.exchange(tracker, (connection, busy), endpoint, body.take());
            let began = tracker.phase_began();
            let head = poll_fn(|cx| exchange.poll_head(cx)).await;
            tracker.phase_ends(Phase::Wait);
            match &head {
                Ok(head) => tracker.attempt_answered(head.status.as_u16()),
                Err(failure) => tracker.attempt_failed(failure.fault),
            }
            self.exchanged(tracker, endpoint, began, &head, &mut exchange);
            let stale = matches!(head, Err(Failure { stale: true, .. }));
            if stale && !repeated && self.may_repeat(tracker) {
                repeated = true;
                continue;
            }
            let status = head.as_ref().map(|head| head.status).map_err(|it| *it);
            if self.tries_again(tracker, status, &tried) {
                let place = (self.upstream, endpoint);
                tracker.retried(self.generation.upstreams[place.0].endpoints[endpoint].key);
                tried.add(endpoint);
                tracker.attempt_ended();
                // What it answered is not wanted. With nothing left to read, the connection is.
                if exchange.is_end() && head.is_ok() {
                    let now = tracker.worker().clock.tick();
                    release(tracker, exchange, place, now);
                }
                continue;
            }
            match head {
                Ok(head) => {
                    return Ok(Answer {
                        head,
                        exchange,
                        route: self.route,
                        place: (self.upstream, endpoint),
                        idle: route.route.timeouts.idle,
                    });
                }
                Err(Failure { fault, stale: _ }) => {
                    tracker.bytes_in(exchange.request_bytes());
                    return Err(fault);
                }
            }
        }
    }

    /// Whether an attempt that came to this is followed by another.
    fn tries_again(
        &self,
        tracker: &Tracker,
        answer: Result<StatusCode, Failure>,
        tried: &Tried,
    ) -> bool {
        let Some(retry) = &self.generation.routes[self.route].route.retry else {
            return false;
        };
        let wanted = retry::is_wanted(retry, answer)
            && tried.count < usize::from(retry.attempts)
            && self.may_repeat(tracker)
            && !self.websocket;
        if !wanted {
            return false;
        }
        let worker = tracker.worker();
        let now = worker.clock.tick();
        let total = self.generation.routes[self.route].route.timeouts.total;
        if total.is_some_and(|total| now >= tracker.started().plus(total)) {
            // There is no time left for another; the answer there is beats none.
            return false;
        }
        let gate = &self.generation.upstreams[self.upstream].gate;
        if gate.as_ref().is_some_and(|gate| gate.is_open(now)) {
            return false;
        }
        let spent = self.budget(tracker, |budget| budget.spend(now));
        if !spent {
            let refused = &worker.retries_refused;
            refused.set(refused.get() + 1);
        }
        spent
    }

    fn budget<T>(&self, tracker: &Tracker, with: impl FnOnce(&mut Budget) -> T) -> T {
        let index = self.generation.routes[self.route].key.index();
        let mut budgets = tracker.worker().retries.borrow_mut();
        if budgets.len() <= index {
            budgets.resize(index + 1, Budget::default());
        }
        with(&mut budgets[index])
    }

    /// Tells the pool and the upstream's gate how an exchange with an endpoint went. A connection that had been closed behind our back says
    /// nothing about the endpoint, nor does what the client did.
    fn exchanged(
        &self,
        tracker: &Tracker,
        endpoint: usize,
        began: Tick,
        head: &Result<Head, Failure>,
        exchange: &mut Exchange,
    ) {
        let good = match head {
            Ok(head) => !head.status.is_server_error(),
            Err(Failure { stale: true, .. }) => return,
            Err(Failure { fault, .. }) if fault.side() != Side::Upstream => return,
            Err(Failure { .. }) => false,
        };
        let worker = tracker.worker();
        let upstream = &self.generation.upstreams[self.upstream];
        let now = worker.clock.tick();
        if head.is_ok() && !tracker.facts().is_probe {
            let endpoint = upstream.endpoints[endpoint].key;
            worker.pools.waited(endpoint, now.micros_since(began));
        }
        worker.pools.exchanged(upstream, endpoint, good, now);
        exchange.judged(good, now);
        if upstream.upstream.balance == Balance::Latency {
            let took = Duration::from_micros(now.micros_since(began));
            let penalty = if good {
                Duration::ZERO
            } else {
                FAILURE_COUNTS_AS
            };
            let key = upstream.endpoints[endpoint].key;
            worker.pools.answered(key, took + penalty, now);
        }
    }

    fn may_repeat(&self, tracker: &Tracker) -> bool {
        let idempotent = tracker.facts().method.is_idempotent();
        idempotent && self.framing == BodyFraming::None
    }

    async fn connect(
        &self,
        tracker: &mut Tracker,
        fresh: bool,
        tried: &[usize],
    ) -> Result<(usize, Connection, Busy), Fault> {
        let worker = Rc::clone(tracker.worker());
        let upstream = &self.generation.upstreams[self.upstream];
        let now = worker.clock.tick();
        let mut order = [0; MAX_ENDPOINTS];
        let key = match &upstream.upstream.balance {
            Balance::Hash(key) => Some(self.hash(key)),
            Balance::RoundRobin | Balance::LeastRequests | Balance::Latency => None,
        };
        let count = worker.pools.order(upstream, key, now, tried, &mut order);
        tracker.phase_ended(Phase::Edge, now);
        let mut last = Fault::NoEndpoint;
        let gate = upstream.gate.as_ref().filter(|_| count > 0);
        let mut permit = gate.map(|gate| gate.enter(now)).transpose()?;
        for &endpoint in &order[..count] {
            let entry = &upstream.endpoints[endpoint];
            tracker.attempt(endpoint);
            // From here on, so that one who swallows connections looks as busy as it is.
            let busy = Busy::new(&worker, entry.key);
            if !fresh && let Some(connection) = worker.pools.reuse(entry.key, now) {
                return Ok((endpoint, connection, busy.with(permit)));
            }
            if let Some(permit) = &mut permit {
                permit
                    .waits()
                    .inspect_err(|fault| tracker.attempt_failed(*fault))?;
            }
            let opened = worker
                .pools
                .open(entry, upstream.upstream.connect_timeout, &worker.clock)
                .await;
            tracker.phase_ends(Phase::Connect);
            match opened {
                Ok(connection) => {
                    if let Some(permit) = &mut permit {
                        permit.connected();
                    }
                    return Ok((endpoint, connection, busy.with(permit)));
                }
                Err(fault) => {
                    if let Some(permit) = &permit {
                        permit.not_connected(worker.clock.tick());
                    }
                    tracker.attempt_failed(fault);
                    tracker.connect_failed(entry.key);
                    last = fault;
                }
            }
        }
        if let Some(permit) = &mut permit {
            permit.ends_unconnected(worker.clock.tick());
        }
        Err(last)
    }

    fn exchange(
        &self,
        tracker: &Tracker,
        (connection, busy): (Connection, Busy),
        endpoint: usize,
        body: Option<Incoming>,
    ) -> Exchange {
        let route = &self.generation.routes[self.route];
        let endpoint = &self.generation.upstreams[self.upstream].endpoints[endpoint];
        let facts = tracker.facts();
        let mut head = BytesMut::with_capacity(HEAD_ROOM);
        headers::write_request(
            &mut head,
            &RequestHead {
                method: &facts.method,
                target: self.target,
                host: route.host(self.client_host, endpoint),
                client_host: self.client_host,
                headers: self.headers,
                client: self.client,
                identity: self.connection.identity(),
                identity_believed: self.client.trusted && !self.connection.asks_for_certificates(),
                scheme: scheme(facts.tls),
                request_id: facts.request_id.as_bytes(),
                trace: &tracker.trace_of_attempt(),
                framing: self.framing,
                websocket: self.websocket,
                edits: &route.route.request_headers,
            },
        );
        Exchange::new(
            connection,
            tracker.worker().clock,
            if self.may_repeat(tracker) && !self.websocket {
                route.timeouts_of_attempt()
            } else {
                route.route.timeouts
            },
            tracker.started(),
            facts.method.clone(),
            head,
            (body, self.framing),
            route.route.max_body_bytes,
            busy,
        )
    }

    /// What decides which endpoint this request belongs to.
    fn hash(&self, key: &HashKey) -> u64 {
        let named = match key {
            HashKey::Client => None,
            HashKey::Path => Some(self.path().as_bytes()),
            HashKey::Header(name) => self.headers.get(name).map(HeaderValue::as_bytes),
            HashKey::Cookie(name) => headers::cookie(self.headers, name),
        };
        match (named, self.client.address) {
            (Some(named), _) => balance::key(named),
            (None, IpAddr::V4(address)) => balance::key(&address.octets()),
            (None, IpAddr::V6(address)) => balance::key(&address.octets()),
        }
    }

    fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(self.target, |(path, _)| path)
    }
}

/// A usual request's head with what we add fits without growing.
const HEAD_ROOM: usize = 1_024;

impl Answer {
    fn into_response(
        self,
        connection: &ConnectionState,
        mut tracker: Tracker,
        websocket: bool,
    ) -> Response<ResponseBody> {
        let Self {
            mut head,
            exchange,
            route,
            place,
            idle,
        } = self;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            if !websocket || !headers::opens_websocket(&head.headers) {
                return respond::fault(tracker, Fault::UpstreamProtocol);
            }
            headers::clean_response(&mut head.headers);
            head.headers.remove(CONTENT_LENGTH);
            head.headers
                .insert(CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers
                .insert(UPGRADE, HeaderValue::from_static("websocket"));
            connection.tunnel.replace(Some(Tunnel {
                upstream: exchange.into_connection(),
                idle,
            }));
            tracker.status(head.status.as_u16());
            tracker.complete();
            return response(head, ResponseBody::Empty);
        }
        headers::clean_response(&mut head.headers);
        let route = &tracker.generation().routes[route].route;
        headers::edit_response(&mut head.headers, &route.response_headers);
        if let Ok(id) = HeaderValue::from_bytes(tracker.facts().request_id.as_bytes()) {
            head.headers.insert(X_REQUEST_ID, id);
        }
        tracker.status(head.status.as_u16());
        let body = if exchange.is_end() {
            let now = connection.worker.clock.tick();
            release(&mut tracker, exchange, place, now);
            tracker.completed(now);
            ResponseBody::Empty
        } else {
            ResponseBody::Upstream(Box::new(UpstreamBody::new(exchange, place, tracker)))
        };
        response(head, body)
    }
}

fn response(head: Head, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}
