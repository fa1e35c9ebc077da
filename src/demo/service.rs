//! A small service with two versions: one that works, one that mostly does not.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A service on loopback. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub(super) struct Service {
    name: &'static str,
    addresses: Vec<SocketAddr>,
    behaviour: Arc<Behaviour>,
}

#[derive(Debug, Default)]
struct Behaviour {
    // Read by every request, set by the script: plain atomics do.
    broken: AtomicBool,
    requests: AtomicU64,
}

impl Service {
    pub(super) async fn start(name: &'static str, endpoints: usize) -> io::Result<Self> {
        let behaviour = Arc::new(Behaviour::default());
        let mut addresses = Vec::new();
        for _ in 0..endpoints {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            addresses.push(listener.local_addr()?);
            tokio::spawn(serve(listener, Arc::clone(&behaviour)));
        }
        Ok(Self {
            name,
            addresses,
            behaviour,
        })
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Puts another version live on every endpoint.
    pub(super) fn set_broken(&self, broken: bool) {
        self.behaviour.broken.store(broken, Ordering::Relaxed);
    }
}

async fn serve(listener: TcpListener, behaviour: Arc<Behaviour>) {
    while let Ok((stream, _)) = listener.accept().await {
        let behaviour = Arc::clone(&behaviour);
        tokio::spawn(async move {
            let service = service_fn(|_request| answer(Arc::clone(&behaviour)));
            // A connection that the proxy closes is its business.
            drop(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

/// Of a hundred requests to the broken version so many fail.
const FAILING: u64 = 90;

async fn answer(behaviour: Arc<Behaviour>) -> Result<Response<Full<Bytes>>, Infallible> {
    // A stride that visits every residue, so that failures and slow answers are spread evenly and are the same in
    // every run.
    let turn = behaviour
        .requests
        .fetch_add(1, Ordering::Relaxed)
        .wrapping_mul(37)
        % 100;
    if behaviour.broken.load(Ordering::Relaxed) && turn < FAILING {
        let mut response = Response::new(Full::new(Bytes::from_static(
            b"{\"error\":\"PaymentIntent.v3 undefined\"}",
        )));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return Ok(response);
    }
    tokio::time::sleep(Duration::from_millis(4 + turn / 4)).await;
    Ok(Response::new(Full::new(Bytes::from_static(
        b"{\"ok\":true}",
    ))))
}
