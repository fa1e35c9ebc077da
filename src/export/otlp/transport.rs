//! One connection to one receiver: a batch in, its answer out.
//!
//! gRPC is done here as well: an export is a unary call, which is one message behind five bytes and a status in the
//! trailers. A gRPC stack would add more code than that to the binary, and a second set of rules for retrying.

use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;

use super::answer::{self, Answer};
use super::lane::Batch;
use super::{Protocol, Receiver, Signal};
use crate::net::connect::{ConnectError, Target, connect};
use crate::net::tls::{TlsError, receiver_config};

/// Sends batches of one signal to one receiver.
#[derive(Debug)]
pub(super) struct Transport {
    receiver: Receiver,
    path: Uri,
    target: Target,
    authority: HeaderValue,
    connection: Option<Connection>,
}

/// Why a receiver cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    /// Certificates or roots.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The host is no name that a certificate could have.
    #[error("`{0}` is not a host that can be verified")]
    Host(String),
    /// The path or the authority cannot be put into a request.
    #[error("`{0}` is not a URL")]
    Url(String),
}

#[derive(Debug)]
enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Why an attempt came to no answer.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the connection failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer could not be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("the request could not be made: {0}")]
    Request(#[from] http::Error),
}

/// The largest answer read.
const LARGEST_ANSWER: usize = 64 << 10;

impl Transport {
    pub(super) fn try_new(signal: Signal, receiver: Receiver) -> Result<Self, SetupError> {
        let url = || SetupError::Url(receiver.to_string());
        let path = match receiver.protocol {
            Protocol::Grpc => signal.grpc_path(),
            Protocol::Http => &receiver.path,
        };
        let tls = if receiver.tls {
            let protocol: &[u8] = match receiver.protocol {
                Protocol::Grpc => b"h2",
                Protocol::Http => b"http/1.1",
            };
            let identity = receiver.identity.as_ref();
            let config = receiver_config(
                receiver.roots.as_deref(),
                identity.map(|(chain, key)| (chain.as_path(), key.as_path())),
                protocol,
            )?;
            let name = ServerName::try_from(receiver.host.clone())
                .map_err(|_invalid| SetupError::Host(receiver.host.clone()))?;
            Some((config, name))
        } else {
            None
        };
        let scheme = if receiver.tls { "https" } else { "http" };
        let authority = receiver.authority();
        let uri = match receiver.protocol {
            Protocol::Grpc => format!("{scheme}://{authority}{path}"),
            Protocol::Http => path.to_owned(),
        };
        Ok(Self {
            path: uri.parse().map_err(|_invalid| url())?,
            authority: authority.parse().map_err(|_invalid| url())?,
            target: Target {
                host: receiver.host.clone(),
                port: receiver.port,
                tls,
            },
            connection: None,
            receiver,
        })
    }

    /// Sends a batch once. The caller has a timeout for it, after which the connection is not used again.
    pub(super) async fn send(&mut self, batch: &Batch) -> Answer {
        let kept = self.connection.take();
        let reused = kept.is_some();
        let attempt = match self.attempt(kept, batch).await {
            // The receiver may have closed a connection that it found idle just when we used it.
            Err(AttemptError::Http(_)) if reused => self.attempt(None, batch).await,
            other => other,
        };
        attempt.unwrap_or_else(|error| Answer::Later {
            error: error.to_string(),
            after: None,
        })
    }

    async fn attempt(
        &mut self,
        kept: Option<Connection>,
        batch: &Batch,
    ) -> Result<Answer, AttemptError> {
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.open().await?,
        };
        let response = connection.request(self.request(batch)?).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER)
            .collect()
            .await
            .map_err(AttemptError::Body)?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let body = body.to_bytes();
        // Read to its end, so the connection is good for the next batch.
        self.connection = Some(connection);
        Ok(match self.receiver.protocol {
            Protocol::Grpc => answer::of_grpc(head.status, &head.headers, &trailers, &body),
            Protocol::Http => answer::of_http(head.status, &head.headers, &body),
        })
    }

    async fn open(&self) -> Result<Connection, AttemptError> {
        let stream = TokioIo::new(connect(&self.target).await?);
        // Each driver ends with its connection, whose end the sender's next use shows.
        Ok(match self.receiver.protocol {
            Protocol::Http => {
                let (sender, driver) = http1::handshake(stream).await?;
                tokio::spawn(async move { driver.await.unwrap_or_default() });
                Connection::Http1(sender)
            }
            Protocol::Grpc => {
                let (sender, driver) = http2::handshake(TokioExecutor::new(), stream).await?;
                tokio::spawn(async move { driver.await.unwrap_or_default() });
                Connection::Http2(sender)
            }
        })
    }

    fn request(&self, batch: &Batch) -> Result<Request<Full<Bytes>>, http::Error> {
        let Receiver {
            protocol,
            headers,
            gzip,
            timeout,
            ..
        } = &self.receiver;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.path.clone());
        let fields = request.headers_mut();
        let mut all = HeaderMap::new();
        let body = match protocol {
            Protocol::Http => {
                all.insert(HOST, self.authority.clone());
                all.insert(
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/x-protobuf"),
                );
                if *gzip {
                    all.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                }
                batch.body.clone()
            }
            Protocol::Grpc => {
                all.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                all.insert("te", HeaderValue::from_static("trailers"));
                let millis = timeout.as_millis().min(99_999_999);
                all.insert("grpc-timeout", HeaderValue::try_from(format!("{millis}m"))?);
                if *gzip {
                    all.insert("grpc-encoding", HeaderValue::from_static("gzip"));
                }
                framed(&batch.body, *gzip)
            }
        };
        all.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        for (name, value) in headers {
            all.insert(name, value.clone());
        }
        if let Some(fields) = fields {
            *fields = all;
        }
        request.body(Full::new(body))
    }
}

impl Connection {
    async fn request(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

/// One gRPC message: whether it is compressed, its length, itself.
fn framed(message: &Bytes, compressed: bool) -> Bytes {
    let mut framed = BytesMut::with_capacity(answer::PREFIX + message.len());
    framed.put_u8(u8::from(compressed));
    framed.put_u32(message.len() as u32);
    framed.extend_from_slice(message);
    framed.freeze()
}

const AGENT: &str = concat!("vestibule-otlp/", env!("CARGO_PKG_VERSION"));

/// Compresses a message when the receiver wants it so.
pub(super) fn encoded(message: Vec<u8>, gzip: bool) -> Bytes {
    if !gzip {
        return message.into();
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let written = io::Write::write_all(&mut encoder, &message).and_then(|()| encoder.finish());
    written.expect("writing to memory cannot fail").into()
}
