//! Asking a daemon one thing over its admin API.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::net::address::Address;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error(
        "no daemon answers at {address}: {error}\n  is it running, and is this its admin socket? (--connect)"
    )]
    Connect {
        /// Where.
        address: Address,
        /// Why.
        error: io::Error,
    },
    /// It took too long.
    #[error("the daemon at {0} did not answer in time")]
    Late(Address),
    /// It said no, and why.
    #[error("the daemon at {0} answered {1}: {2}")]
    Status(Address, StatusCode, String),
    /// It is not an answer of the admin API.
    #[error("the answer of {0} cannot be read: {1}")]
    Answer(Address, String),
}

/// For a whole question and its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer.
const MAX_ANSWER: usize = 64 << 20;

/// Asks, and gives the body of a successful answer.
///
/// # Errors
/// When there is no answer, or it is not a success.
pub async fn ask(
    address: &Address,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<Bytes, AskError> {
    let asked = async {
        let refused = |error| AskError::Connect {
            address: address.clone(),
            error,
        };
        match address {
            Address::Socket(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(refused)?;
                exchange(address, stream, method, path, body).await
            }
            Address::Url { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port))
                    .await
                    .map_err(refused)?;
                exchange(address, stream, method, path, body).await
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(|_| Err(AskError::Late(address.clone())))
}

async fn exchange<S>(
    address: &Address,
    stream: S,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<Bytes, AskError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let unreadable =
        |error: &dyn std::fmt::Display| AskError::Answer(address.clone(), error.to_string());
    let authority = match address {
        Address::Socket(_) => "localhost".to_owned(),
        Address::Url { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        Address::Url { host, port } => format!("{host}:{port}"),
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreadable(&error))?;
    let driving = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, authority);
    let request = request
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)));
    let request = request.map_err(|error| unreadable(&error))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| unreadable(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await;
    let body = body.map_err(|error| unreadable(&error))?.to_bytes();
    driving.abort();
    if status.is_success() {
        return Ok(body);
    }
    let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let detail = problem
        .as_ref()
        .and_then(|problem| problem["detail"].as_str())
        .unwrap_or_default();
    Err(AskError::Status(address.clone(), status, detail.to_owned()))
}
