//! One request to someone else's server, with nothing kept from it but what the sender must know.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::connect::{ConnectError, Target, connect};

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The URL has no host, or is neither http nor https.
    #[error("not an http:// or https:// URL with a host")]
    Url,
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// What came was no HTTP, or broke off.
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    /// The answer broke off, or there was too much of it.
    #[error("no whole answer: {0}")]
    Body(String),
    /// It took too long.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Late(Duration),
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// How long not to ask again (RFC 9110, 10.2.3), when said in seconds.
    pub retry_after: Option<Duration>,
    /// The beginning of the body, for a person to read. Untrusted.
    pub detail: String,
}

/// The most of an answer that is read.
const MAX_ANSWER: usize = 4 * 1024;

/// Sends `body` to `url` as JSON on a connection of its own.
///
/// # Errors
/// When no whole answer came within `patience`.
pub async fn post(
    url: &Uri,
    tls: &Arc<ClientConfig>,
    headers: &[(HeaderName, HeaderValue)],
    body: Bytes,
    patience: Duration,
) -> Result<Answer, PostError> {
    let exchange = exchange(Method::POST, url, tls, headers, body);
    tokio::time::timeout(patience, exchange)
        .await
        .unwrap_or(Err(PostError::Late(patience)))
}

/// Asks to delete what `url` names, on a connection of its own.
///
/// # Errors
/// When no whole answer came within `patience`.
pub async fn delete(
    url: &Uri,
    tls: &Arc<ClientConfig>,
    headers: &[(HeaderName, HeaderValue)],
    patience: Duration,
) -> Result<Answer, PostError> {
    let exchange = exchange(Method::DELETE, url, tls, headers, Bytes::new());
    tokio::time::timeout(patience, exchange)
        .await
        .unwrap_or(Err(PostError::Late(patience)))
}

async fn exchange(
    method: Method,
    url: &Uri,
    tls: &Arc<ClientConfig>,
    headers: &[(HeaderName, HeaderValue)],
    body: Bytes,
) -> Result<Answer, PostError> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = url.clone();
    let fields = request.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.extend(headers.iter().cloned());
    converse(target(url, tls), request, |response| async {
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        // An answer that is too long or breaks off has said what matters with its status.
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        let body = body
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        Ok(Answer {
            status,
            retry_after: retry_after.map(Duration::from_secs),
            detail: String::from_utf8_lossy(&body).trim().to_owned(),
        })
    })
    .await
}

/// Sends a request with an absolute URI on a connection of its own, and gives the whole answer.
///
/// # Errors
/// When no whole answer came within `patience`, or it is longer than `most` bytes.
pub async fn send(
    tls: &Arc<ClientConfig>,
    request: Request<Full<Bytes>>,
    most: usize,
    patience: Duration,
) -> Result<Response<Bytes>, PostError> {
    let target = target(request.uri(), tls);
    let whole = converse(target, request, |response| whole(response, most));
    tokio::time::timeout(patience, whole)
        .await
        .unwrap_or(Err(PostError::Late(patience)))
}

/// Sends a request with an absolute URI to this address, whatever its host resolves to, and gives the whole answer.
///
/// # Errors
/// When no whole answer came within `patience`, or it is longer than `most` bytes.
pub async fn send_to(
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
    request: Request<Full<Bytes>>,
    most: usize,
    patience: Duration,
) -> Result<Response<Bytes>, PostError> {
    let target = target(request.uri(), tls).map(|target| Target {
        host: address.ip().to_string(),
        port: address.port(),
        tls: target.tls,
    });
    let whole = converse(target, request, |response| whole(response, most));
    tokio::time::timeout(patience, whole)
        .await
        .unwrap_or(Err(PostError::Late(patience)))
}

async fn whole(response: Response<Incoming>, most: usize) -> Result<Response<Bytes>, PostError> {
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, most).collect().await;
    let body = body.map_err(|error| PostError::Body(error.to_string()))?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}

/// Sends `request` there, and gives what `take` makes of the response.
async fn converse<T, F>(
    target: Option<Target>,
    mut request: Request<Full<Bytes>>,
    take: impl FnOnce(Response<Incoming>) -> F,
) -> Result<T, PostError>
where
    F: Future<Output = Result<T, PostError>>,
{
    let url = request.uri().clone();
    let stream = connect(&target.ok_or(PostError::Url)?).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let authority = url.authority().map_or("", |authority| authority.as_str());
    // Credentials in a URL are for the client, not for the Host header.
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_not_one| PostError::Url)?;
    let fields = request.headers_mut();
    fields.insert(
        HOST,
        HeaderValue::from_str(host).map_err(|_not_one| PostError::Url)?,
    );
    fields.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let asked = async {
        let response = sender.send_request(request).await?;
        take(response).await
    };
    let mut asked = pin!(asked);
    tokio::select! {
        biased;
        answer = &mut asked => answer,
        // It may end with the answer's last byte, before that has been taken.
        ended = connection => {
            ended?;
            asked.await
        }
    }
}

const AGENT: &str = concat!("vestibule/", env!("CARGO_PKG_VERSION"));

fn target(url: &Uri, tls: &Arc<ClientConfig>) -> Option<Target> {
    let host = url.host()?.trim_start_matches('[').trim_end_matches(']');
    let secure = match url.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return None,
    };
    let tls = if secure {
        let name = ServerName::try_from(host.to_owned()).ok()?;
        Some((Arc::clone(tls), name))
    } else {
        None
    };
    Some(Target {
        host: host.to_owned(),
        port: url.port_u16().unwrap_or(if secure { 443 } else { 80 }),
        tls,
    })
}
