//! How an authority is spoken to: each request on a connection of its own, with a bound on time and size.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;

use crate::net::post;

/// For one request and its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer: a chain of a few certificates, or a list of revoked ones.
const LARGEST: usize = 1 << 20;

/// A client of one authority.
#[derive(Clone, Debug)]
pub(super) struct Http {
    tls: Arc<ClientConfig>,
    refused_for: Arc<Mutex<Option<Duration>>>,
}

impl Http {
    pub(super) fn new(tls: Arc<ClientConfig>) -> Self {
        Self {
            tls,
            refused_for: Arc::default(),
        }
    }

    /// For how long the authority wants to be left alone, as it said with the last refusal; told once.
    pub(super) fn refused_for(&self) -> Option<Duration> {
        self.refused().take()
    }

    // A mutex because the library asks for a client that could be shared by threads; here there is one.
    fn refused(&self) -> std::sync::MutexGuard<'_, Option<Duration>> {
        self.refused_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            let request = Request::from_parts(parts, Full::new(body));
            let answer = post::send(&this.tls, request, LARGEST, PATIENCE).await;
            let answer = answer.map_err(|error| Error::Other(Box::new(error)))?;
            if answer.status().is_client_error() || answer.status().is_server_error() {
                let said = answer.headers().get(RETRY_AFTER).and_then(seconds);
                if let Some(said) = said {
                    *this.refused() = Some(said);
                }
            }
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

fn seconds(value: &HeaderValue) -> Option<Duration> {
    let secs = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(secs))
}
