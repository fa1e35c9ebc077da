//! A client that sends at a fixed rate, whatever comes back: how users behave.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{HOST, USER_AGENT};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// Connections kept open between requests.
const KEPT: usize = 64;

/// Sends `rate` requests a second to the proxy at `address`, for ever.
pub(super) async fn send(address: String, host: &'static str, path: &'static str, rate: u32) {
    let (give_back, mut returned) = mpsc::channel::<SendRequest<Empty<Bytes>>>(KEPT);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    // What could not be sent in time is sent at once: the load does not wait for the service.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        ticks.tick().await;
        let (connection, give_back, address) =
            (returned.try_recv().ok(), give_back.clone(), address.clone());
        tokio::spawn(async move {
            if let Some(connection) = one(connection, &address, host, path).await {
                // More than are kept are closed.
                drop(give_back.try_send(connection));
            }
        });
    }
}

async fn one(
    kept: Option<SendRequest<Empty<Bytes>>>,
    address: &str,
    host: &str,
    path: &str,
) -> Option<SendRequest<Empty<Bytes>>> {
    let mut connection = if let Some(kept) = kept.filter(|kept| !kept.is_closed()) {
        kept
    } else {
        let stream = TcpStream::connect(address).await.ok()?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        sender
    };
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, "vestibule-demo")
        .body(Empty::new())
        .ok()?;
    let response = connection.send_request(request).await.ok()?;
    response.into_body().collect().await.ok()?;
    Some(connection)
}
