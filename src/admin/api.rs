//! What each request is answered.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN, VARY};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, oneshot, watch};

use super::{Deploy, DeployRefused, Handlers, SilenceCommand};
use crate::model::Timestamp;
use crate::slo::silence::SilenceRefused;
use crate::snapshot::{SloDetail, Snapshot, Spending};

/// The body of an answer: whole, or a stream.
pub(super) type Body = Either<Full<Bytes>, Channel<Bytes>>;

/// How a request reached us: what its sender has already shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// The unix socket; the other end is our own user or root.
    Socket,
    /// Loopback TCP: any local user, and any web page that a local browser shows.
    Loopback,
}

/// The largest request body.
const MAX_BODY: usize = 64 * 1024;

pub(super) async fn answer(
    handlers: Handlers,
    via: Via,
    request: Request<Incoming>,
) -> Response<Body> {
    if via == Via::Loopback && !is_from_here(&request) {
        return problem(
            StatusCode::FORBIDDEN,
            "only for programs on this machine: Host must be a loopback name, without Origin and without Sec-Fetch-Site of a page",
        );
    }
    let path = request.uri().path().to_owned();
    let query = query(request.uri().query().unwrap_or_default());
    match (request.method(), path.as_str()) {
        (&Method::GET, "/") => text(
            "GET /healthz /readyz /v1/snapshot /v1/stream /v1/events /v1/alerts /v1/slos /v1/slos/ID \
             /v1/slos/ID/spending /v1/routes/ID/explanation /v1/probes/NAME/slots /v1/silences /metrics /probe?target=TARGET&module=MODULE, \
             POST /v1/deploys /v1/silences /v1/certificates/NAME/renew /v1/certificates/NAME/preflight, \
             DELETE /v1/silences/ID\n",
        ),
        (&Method::GET, "/healthz") => text("ok\n"),
        (&Method::GET, "/readyz") => ready(&handlers),
        (&Method::GET, "/metrics") => metrics(&handlers, &request).await,
        (&Method::GET, "/probe") => probe(&handlers, &request).await,
        (&Method::GET, "/v1/snapshot") if query.contains_key("at") => past(&handlers, &query).await,
        (&Method::GET, "/v1/snapshot") => match fresh(&handlers).await {
            Some(snapshot) => json(StatusCode::OK, &*cut(&snapshot, &query)),
            None => starting(),
        },
        (&Method::GET, "/v1/events") => match fresh(&handlers).await {
            Some(snapshot) => {
                let limit = query
                    .get("limit")
                    .and_then(|limit| limit.parse().ok())
                    .unwrap_or(usize::MAX);
                let events: Vec<_> = snapshot.events.iter().take(limit).collect();
                json(StatusCode::OK, &events)
            }
            None => starting(),
        },
        (&Method::GET, "/v1/slos") => match fresh(&handlers).await {
            Some(snapshot) => json(StatusCode::OK, &snapshot.slos),
            None => starting(),
        },
        (&Method::GET, path) if route_of(path).is_some() => {
            explanation(&handlers, route_of(path).unwrap_or_default()).await
        }
        (&Method::GET, path) if slo_of(path).is_some() => {
            spending(&handlers, slo_of(path).unwrap_or_default()).await
        }
        (&Method::GET, path) if path.starts_with("/v1/slos/") => {
            slo(&handlers, path.trim_start_matches("/v1/slos/")).await
        }
        (&Method::GET, "/v1/alerts") => match fresh(&handlers).await {
            Some(snapshot) => json(StatusCode::OK, &snapshot.alerts),
            None => starting(),
        },
        (&Method::GET, path) if probe_of(path).is_some() => {
            slots(&handlers, probe_of(path).unwrap_or_default(), &query).await
        }
        (&Method::GET, "/v1/stream") => stream(&handlers, &query),
        (&Method::POST, "/v1/deploys") => deploy(&handlers, request).await,
        (&Method::GET, "/v1/silences") => match fresh(&handlers).await {
            Some(snapshot) => json(StatusCode::OK, &snapshot.silences),
            None => starting(),
        },
        (&Method::POST, "/v1/silences") => match read_json(request).await {
            Ok(wish) => silence(&handlers, SilenceCommand::Add(wish)).await,
            Err(refusal) => refusal,
        },
        (&Method::POST, path) if let Some((name, what)) = certificate_of(path) => match what {
            Wish::Renew => renew(&handlers, name).await,
            Wish::Preflight => preflight(&handlers, name).await,
        },
        (&Method::DELETE, path) if silence_of(path).is_some() => {
            let id = silence_of(path).unwrap_or_default().to_owned();
            silence(&handlers, SilenceCommand::Expire(id)).await
        }
        (
            _,
            "/" | "/healthz" | "/readyz" | "/metrics" | "/probe" | "/v1/snapshot" | "/v1/events"
            | "/v1/alerts" | "/v1/slos" | "/v1/silences" | "/v1/stream" | "/v1/deploys",
        ) => problem(StatusCode::METHOD_NOT_ALLOWED, "not with this method"),
        _ => problem(
            StatusCode::NOT_FOUND,
            "there is no such resource; GET / lists what there is",
        ),
    }
}

/// What a browser says of the page that asks; `none` when the user does (W3C Fetch Metadata Request Headers).
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Keeps web pages out (DNS rebinding, cross-site requests): they choose neither Host nor Origin nor Sec-Fetch-Site.
/// A plain GET, like that of an image or a link, has no Origin; that a page made it is in Sec-Fetch-Site, which browsers
/// send to loopback without TLS as well.
fn is_from_here<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
        && !headers.contains_key(ORIGIN)
        && sites.all(|site| site == "none")
}

fn query(text: &str) -> HashMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn ready(handlers: &Handlers) -> Response<Body> {
    let serving = *handlers.ready.borrow() && handlers.snapshots.borrow().is_some();
    if serving { text("ready\n") } else { starting() }
}

fn starting() -> Response<Body> {
    problem(StatusCode::SERVICE_UNAVAILABLE, "starting or stopping")
}

/// A snapshot that counts everything that ended before the question.
async fn fresh(handlers: &Handlers) -> Option<Arc<Snapshot>> {
    let (reply, answer) = oneshot::channel();
    if handlers.refresh.send(reply).await.is_ok()
        && let Ok(snapshot) = answer.await
    {
        return Some(snapshot);
    }
    handlers.snapshots.borrow().clone()
}

async fn metrics(handlers: &Handlers, request: &Request<Incoming>) -> Response<Body> {
    let accept: Vec<&str> = request
        .headers()
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let Some(page) = (handlers.metrics)(accept.join(",")).await else {
        return starting();
    };
    let mut response = text(page.body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, page.content_type);
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// By this Prometheus says how long it waits.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

async fn probe(handlers: &Handlers, request: &Request<Incoming>) -> Response<Body> {
    let timeout = request.headers().get(SCRAPE_TIMEOUT);
    let timeout = timeout.map(|value| value.to_str().unwrap_or_default().to_owned());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let (status, body) = (handlers.probe)(query, timeout).await;
    let mut response = text(body);
    *response.status_mut() = status;
    response
}

/// With `routes=N` only the first N of them, which cost the budget most.
fn cut(snapshot: &Arc<Snapshot>, query: &HashMap<String, String>) -> Arc<Snapshot> {
    let limit = query
        .get("routes")
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(usize::MAX);
    if snapshot.routes.len() <= limit {
        return Arc::clone(snapshot);
    }
    let mut fewer = Snapshot::clone(snapshot);
    fewer.routes.truncate(limit);
    Arc::new(fewer)
}

/// Lines a slow reader may be behind before it is waited for.
const LINES: usize = 2;

fn stream(handlers: &Handlers, query: &HashMap<String, String>) -> Response<Body> {
    let (sender, body) = Channel::new(LINES);
    tokio::spawn(feed(sender, handlers.snapshots.clone(), query.clone()));
    let mut response = Response::new(Either::Right(body));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Sends the newest snapshot whenever there is a new one and the reader is ready: a slow reader misses some, and never
/// holds old ones up.
async fn feed(
    mut sender: Sender<Bytes>,
    mut snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    query: HashMap<String, String>,
) {
    snapshots.mark_changed();
    while snapshots.changed().await.is_ok() {
        let Some(snapshot) = snapshots.borrow_and_update().clone() else {
            continue;
        };
        let Ok(mut line) = serde_json::to_vec(&*cut(&snapshot, &query)) else {
            break;
        };
        line.push(b'\n');
        if sender.send_data(line.into()).await.is_err() {
            break;
        }
    }
}

/// The probe that a path asks for the slots of.
fn probe_of(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/v1/probes/")?.strip_suffix("/slots")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// What is asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Renew,
    Preflight,
}

/// The certificate that a path names, and what is asked for it.
fn certificate_of(path: &str) -> Option<(&str, Wish)> {
    let (name, wish) = path.strip_prefix("/v1/certificates/")?.split_once('/')?;
    let wish = match wish {
        "renew" => Wish::Renew,
        "preflight" => Wish::Preflight,
        _ => return None,
    };
    (!name.is_empty()).then_some((name, wish))
}

async fn preflight(handlers: &Handlers, name: &str) -> Response<Body> {
    match (handlers.preflight)(name.to_owned()).await {
        Ok(found) => json(StatusCode::OK, &found),
        Err((true, why)) => problem(StatusCode::NOT_FOUND, &why),
        Err((false, why)) => problem(StatusCode::CONFLICT, &why),
    }
}

async fn renew(handlers: &Handlers, name: &str) -> Response<Body> {
    match (handlers.renew)(name.to_owned()).await {
        Ok(()) => json(
            StatusCode::ACCEPTED,
            &serde_json::json!({ "renewing": name }),
        ),
        Err((is_unknown, why)) => problem(
            if is_unknown {
                StatusCode::NOT_FOUND
            } else {
                StatusCode::CONFLICT
            },
            &why,
        ),
    }
}

/// The route that a path asks for the explanation of.
fn route_of(path: &str) -> Option<&str> {
    let id = path
        .strip_prefix("/v1/routes/")?
        .strip_suffix("/explanation")?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

async fn explanation(handlers: &Handlers, route: &str) -> Response<Body> {
    let Some(snapshot) = fresh(handlers).await else {
        return starting();
    };
    match snapshot.explanation(route) {
        Some(explanation) => json(StatusCode::OK, &explanation),
        None => problem(
            StatusCode::NOT_FOUND,
            &format!("there is no route `{route}`"),
        ),
    }
}

/// The SLO that a path asks for the spending of.
fn slo_of(path: &str) -> Option<&str> {
    let id = path.strip_prefix("/v1/slos/")?.strip_suffix("/spending")?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

async fn spending(handlers: &Handlers, slo: &str) -> Response<Body> {
    let Some(snapshot) = handlers.snapshots.borrow().clone() else {
        return starting();
    };
    if snapshot.slos.iter().all(|known| known.id != slo) {
        return problem(StatusCode::NOT_FOUND, &format!("there is no SLO `{slo}`"));
    }
    let parts = match detail(handlers, slo).await {
        Some(Some(detail)) => detail.spent,
        Some(None) => Vec::new(),
        None => return starting(),
    };
    let (read, slo) = (Arc::clone(&handlers.spending), slo.to_owned());
    look_back(move || {
        let spending = read(&snapshot, &slo)?;
        Ok(Spending { parts, ..spending })
    })
    .await
}

async fn past(handlers: &Handlers, query: &HashMap<String, String>) -> Response<Body> {
    let Some(live) = handlers.snapshots.borrow().clone() else {
        return starting();
    };
    let asked = query.get("at").map(String::as_str).unwrap_or_default();
    let Some(at) = moment(asked) else {
        return problem(
            StatusCode::BAD_REQUEST,
            "`at` is a moment: 2026-11-23T14:02:00Z, or seconds since 1970",
        );
    };
    let (read, query) = (Arc::clone(&handlers.past), query.clone());
    look_back(move || {
        let snapshot = Arc::new(read(&live, at)?);
        Ok(cut(&snapshot, &query))
    })
    .await
}

/// Looks back under way at once, at most: each reads a part of the history into memory.
static PASTS: Semaphore = Semaphore::const_new(2);

/// The answer of a look back, or that there are enough of them.
async fn look_back<T: Serialize + Send + 'static>(
    read: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Response<Body> {
    let Ok(turn) = PASTS.try_acquire() else {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "several are looking back already; try again",
        );
    };
    blocking(move || {
        // Held by the thread, which goes on when the asker does not wait for it.
        let _turn = turn;
        read()
    })
    .await
}

/// RFC 3339, or seconds since the epoch.
fn moment(text: &str) -> Option<Timestamp> {
    match text.parse::<u64>() {
        Ok(secs) => Some(Timestamp::from_secs(secs)),
        Err(_) => text.replace("%3A", ":").parse().ok(),
    }
}

/// The answer of something that blocks, in a thread of its own.
async fn blocking<T: Serialize + Send + 'static>(
    read: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Response<Body> {
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(value)) => json(StatusCode::OK, &value),
        Ok(Err(why)) => problem(StatusCode::SERVICE_UNAVAILABLE, &why),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Slots given when nobody says how many.
const SLOTS: u32 = 100;

async fn slots(
    handlers: &Handlers,
    probe: &str,
    query: &HashMap<String, String>,
) -> Response<Body> {
    let known = handlers
        .snapshots
        .borrow()
        .as_ref()
        .is_some_and(|snapshot| snapshot.probes.iter().any(|known| known.name == probe));
    if !known {
        return problem(
            StatusCode::NOT_FOUND,
            &format!("there is no probe `{probe}`"),
        );
    }
    let limit = query.get("limit").and_then(|limit| limit.parse().ok());
    let (read, probe) = (Arc::clone(&handlers.slots), probe.to_owned());
    blocking(move || read(&probe, limit.unwrap_or(SLOTS))).await
}

/// The JSON that a request carries, or the refusal of it.
async fn read_json<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Response<Body>> {
    // A form of a web page cannot set this type without asking first, and asking is refused.
    let is_json = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !is_json {
        return Err(problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send application/json",
        ));
    }
    let Ok(body) = Limited::new(request.into_body(), MAX_BODY).collect().await else {
        return Err(problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body could not be read, or is larger than 64 KiB",
        ));
    };
    serde_json::from_slice(&body.to_bytes())
        .map_err(|error| problem(StatusCode::BAD_REQUEST, &error.to_string()))
}

async fn slo(handlers: &Handlers, id: &str) -> Response<Body> {
    match detail(handlers, id).await {
        Some(Some(detail)) => json(StatusCode::OK, &detail),
        Some(None) => problem(StatusCode::NOT_FOUND, &format!("there is no SLO `{id}`")),
        None => starting(),
    }
}

/// An SLO in full, if there is one of this id; `None` when nobody answers.
async fn detail(handlers: &Handlers, id: &str) -> Option<Option<SloDetail>> {
    let (reply, answer) = oneshot::channel();
    let asked = handlers.details.send((id.to_owned(), reply)).await;
    asked.ok()?;
    answer.await.ok()
}

/// The silence that a path is about.
fn silence_of(path: &str) -> Option<&str> {
    let id = path.strip_prefix("/v1/silences/")?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

async fn silence(handlers: &Handlers, command: SilenceCommand) -> Response<Body> {
    let (reply, answer) = oneshot::channel();
    let status = match command {
        SilenceCommand::Add(_) => StatusCode::CREATED,
        SilenceCommand::Expire(_) => StatusCode::OK,
    };
    if handlers.silences.send((command, reply)).await.is_err() {
        return starting();
    }
    match answer.await {
        Ok(Ok(silence)) => json(status, &silence),
        Ok(Err(refused @ SilenceRefused::Unknown(_))) => {
            problem(StatusCode::NOT_FOUND, &refused.to_string())
        }
        Ok(Err(refused)) => problem(StatusCode::BAD_REQUEST, &refused.to_string()),
        Err(_) => starting(),
    }
}

async fn deploy(handlers: &Handlers, request: Request<Incoming>) -> Response<Body> {
    let deploy: Deploy = match read_json(request).await {
        Ok(deploy) => deploy,
        Err(refusal) => return refusal,
    };
    if let Err(refused) = deploy.check() {
        return problem(StatusCode::BAD_REQUEST, &refused.to_string());
    }
    let (reply, answer) = oneshot::channel();
    if handlers.deploys.send((deploy, reply)).await.is_err() {
        return starting();
    }
    match answer.await {
        Ok(Ok(event)) => json(StatusCode::CREATED, &event),
        Ok(Err(refused @ DeployRefused::UnknownUpstream { .. })) => {
            problem(StatusCode::NOT_FOUND, &refused.to_string())
        }
        Ok(Err(refused)) => problem(StatusCode::BAD_REQUEST, &refused.to_string()),
        Err(_) => starting(),
    }
}

fn text(text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(text.into())));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let Ok(mut bytes) = serde_json::to_vec(value) else {
        return problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "could not be written as JSON",
        );
    };
    bytes.push(b'\n');
    let mut response = text(bytes);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// RFC 9457.
fn problem(status: StatusCode, detail: &str) -> Response<Body> {
    #[derive(Serialize)]
    struct Problem<'a> {
        title: &'a str,
        status: u16,
        detail: &'a str,
    }
    let title = status.canonical_reason().unwrap_or_default();
    // Three plain fields always become JSON.
    let bytes = serde_json::to_vec(&Problem {
        title,
        status: status.as_u16(),
        detail,
    })
    .unwrap_or_default();
    let mut response = text(bytes);
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_a_web_page_makes_a_browser_ask_is_not_from_here() {
        let asked = |name: &str, value: &str| {
            let request = Request::get("/probe?target=a")
                .header(HOST, "127.0.0.1:9600")
                .header(name, value);
            is_from_here(&request.body(()).unwrap())
        };
        assert!(asked("accept", "*/*") && asked("sec-fetch-site", "none"));
        for site in ["cross-site", "same-site", "same-origin", "", "none, none"] {
            assert!(!asked("sec-fetch-site", site), "{site}");
        }
        assert!(!asked("origin", "null"));
    }

    #[tokio::test]
    async fn few_look_back_at_once_also_when_askers_hang_up() {
        let looking = async {
            let (finish, finished) = mpsc::sync_channel::<()>(1);
            let (tell, told) = mpsc::sync_channel(1);
            let finished = Arc::new(Mutex::new(finished));
            for _ in 0..2 {
                let (waits, tell) = (Arc::clone(&finished), tell.clone());
                let asker = tokio::spawn(look_back(move || {
                    tell.send(()).unwrap();
                    Ok(waits.lock().unwrap().recv().is_ok())
                }));
                while told.try_recv().is_err() {
                    tokio::task::yield_now().await;
                }
                asker.abort();
                assert!(asker.await.unwrap_err().is_cancelled());
            }
            let third = look_back(|| Ok(())).await;
            assert_eq!(third.status(), StatusCode::SERVICE_UNAVAILABLE);
            drop(finish);
            while look_back(|| Ok(())).await.status() != StatusCode::OK {
                tokio::task::yield_now().await;
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(30), looking).await;
        done.expect("turns are given back");
    }
}
