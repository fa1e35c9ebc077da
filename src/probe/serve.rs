//! The stand-alone server of `/probe`.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::blackbox::{Answer, Blackbox, CONTENT_TYPE as TEXT};

/// The header by which Prometheus says how long it waits.
pub const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// Connections served at a time; more wait.
const MAX_CONNECTIONS: usize = 400;
/// For a request's head to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until dropped.
pub async fn serve(listener: TcpListener, blackbox: Blackbox) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let blackbox = blackbox.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let blackbox = blackbox.clone();
                async move { Ok::<_, Infallible>(answer(&blackbox, &request).await) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_headers(64)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection to /probe ended");
            }
            drop(place);
        });
    }
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn answer(blackbox: &Blackbox, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let plain = |status, body: &str| Answer {
        status,
        body: body.to_owned(),
    };
    let answer = match (request.method(), request.uri().path()) {
        (&Method::GET, "/probe") => {
            let timeout = request.headers().get(SCRAPE_TIMEOUT);
            let timeout = timeout.map(|value| value.to_str().unwrap_or_default());
            let query = request.uri().query().unwrap_or_default();
            blackbox.answer(query, timeout).await
        }
        (&Method::GET, "/healthz" | "/-/healthy") => plain(StatusCode::OK, "ok\n"),
        (&Method::GET, "/") => plain(StatusCode::OK, ABOUT),
        (_, "/" | "/probe" | "/healthz" | "/-/healthy") => {
            plain(StatusCode::METHOD_NOT_ALLOWED, "not with this method\n")
        }
        _ => plain(StatusCode::NOT_FOUND, ABOUT),
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    let kind = HeaderValue::from_static(TEXT);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

const ABOUT: &str =
    "GET /probe?target=TARGET&module=MODULE[&hostname=NAME][&debug=true] /healthz\n";
