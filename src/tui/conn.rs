//! The line to the daemon: HTTP/1.1 over a unix socket or loopback TCP, one snapshot per line, and again when it breaks.
//!
//! Losing the connection costs nothing but freshness: the last snapshot stays, its age is told, and the next attempt is
//! never further away than [`LONGEST_WAIT`]. Only the newest snapshot is kept; a reader that is slower than the data
//! misses some, and queues none.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::clock::{Clock, Tick};
use crate::net::address::Address;
use crate::snapshot::Snapshot;

/// How the line stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The first attempt, or one after a loss, is under way.
    Connecting,
    /// Snapshots arrive.
    Live,
    /// There is none until the next attempt.
    Lost {
        /// Why, in words for people.
        why: String,
        /// The number of the next attempt, from 1.
        attempt: u32,
        /// When it will be made.
        retry_at: Tick,
    },
}

/// The newest of everything the line knows.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The newest snapshot and when it arrived.
    pub snapshot: Option<(Arc<Snapshot>, Tick)>,
    /// How the line stands.
    pub link: Link,
}

/// Why a line ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnError {
    /// No connection.
    #[error("cannot connect to {address}: {}", words(.error))]
    Connect {
        /// Where to.
        address: Address,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// No connection in time.
    #[error("{0} did not answer in time")]
    Slow(Address),
    /// HTTP went wrong.
    #[error("the connection broke: {0}")]
    Http(#[source] hyper::Error),
    /// The daemon answered something else than a stream.
    #[error("{0} answered {1}: is that a vestibule admin address?")]
    Status(Address, http::StatusCode),
    /// The daemon says why not.
    #[error("{0}")]
    Refused(String),
    /// The daemon will not talk to us.
    #[error("{0} answered {1}: this user may not read it")]
    Denied(Address, http::StatusCode),
    /// A line is no snapshot.
    #[error("the daemon sent something that is no snapshot: {0}")]
    NotASnapshot(#[from] serde_json::Error),
    /// A line is longer than any snapshot should be.
    #[error("the daemon sent a line of more than {} MiB", LONGEST_LINE >> 20)]
    TooLong,
    /// Nothing arrived for too long.
    #[error("the daemon went silent for {SILENCE_LIMIT:?}")]
    Silent,
    /// The daemon ended the stream.
    #[error("daemon closed the connection")]
    Closed,
}

/// Keeps `feed` fresh from the daemon at `address`, forever. `retry` cuts a wait short.
pub async fn follow(
    address: Address,
    clock: impl Clock,
    feed: watch::Sender<Feed>,
    retry: Arc<Notify>,
) {
    let mut failures = 0;
    loop {
        let arrived = |snapshot: Snapshot| {
            let now = clock.tick();
            feed.send_modify(|feed| {
                feed.snapshot = Some((Arc::new(snapshot), now));
                feed.link = Link::Live;
            });
        };
        let before = feed.borrow().snapshot.as_ref().map(|(_, at)| *at);
        let why = stream(&address, arrived).await;
        let after = feed.borrow().snapshot.as_ref().map(|(_, at)| *at);
        // Only a snapshot proves the line works: a daemon that accepts and hangs up is still backed off from.
        failures = if before == after { failures + 1 } else { 1 };
        let wait = backoff(failures, random());
        feed.send_modify(|feed| {
            feed.link = Link::Lost {
                why: why.to_string(),
                attempt: failures,
                retry_at: clock.tick().plus(wait),
            };
        });
        tokio::select! {
            () = sleep(wait) => {}
            () = retry.notified() => {}
        }
    }
}

/// How long to wait after the `failures`-th failure in a row: 0.25 s doubling to [`LONGEST_WAIT`], of which `chance`
/// (0 to 255) takes away up to a quarter, so that many clients do not come back together.
pub(crate) fn backoff(failures: u32, chance: u8) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let full = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
    full.saturating_sub(full * u32::from(chance) / (4 * 255))
}

const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait between two attempts.
pub const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// For the connection.
const SETUP_LIMIT: Duration = Duration::from_secs(5);
/// For an answer's head, and between pieces of one that is no stream.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// A snapshot comes each second; after this long the other side is gone without saying so.
const SILENCE_LIMIT: Duration = Duration::from_secs(15);
/// A thousand routes make about 1 MiB.
const LONGEST_LINE: usize = 16 << 20;

/// Reads snapshots until something ends it, which is what it gives.
async fn stream(address: &Address, arrived: impl FnMut(Snapshot)) -> ConnError {
    match follow_once(address, arrived).await {
        Ok(()) => ConnError::Closed,
        Err(error) => error,
    }
}

/// A connection, whatever it goes over.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection, and what its requests say as their host.
async fn open(address: &Address) -> Result<(Box<dyn Duplex>, String), ConnError> {
    let slow = |_elapsed| ConnError::Slow(address.clone());
    let refused = |error| ConnError::Connect {
        address: address.clone(),
        error,
    };
    match address {
        Address::Socket(path) => {
            let opened = timeout(SETUP_LIMIT, UnixStream::connect(path)).await;
            let stream = opened.map_err(slow)?.map_err(refused)?;
            Ok((Box::new(stream), "localhost".to_owned()))
        }
        Address::Url { host, port } => {
            let authority = if host.contains(':') {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            };
            let opened = timeout(SETUP_LIMIT, TcpStream::connect((host.as_str(), *port))).await;
            let stream = opened.map_err(slow)?.map_err(refused)?;
            Ok((Box::new(stream), authority))
        }
    }
}

async fn follow_once(
    address: &Address,
    mut arrived: impl FnMut(Snapshot),
) -> Result<(), ConnError> {
    let (stream, authority) = open(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let reading = async {
        let response = request(address, &mut sender, "/v1/stream", &authority).await?;
        match response.status() {
            http::StatusCode::OK => {}
            status => return Err(refusal(address, status)),
        }
        let mut body = response.into_body();
        let mut lines = Lines::default();
        loop {
            let frame = match timeout(SILENCE_LIMIT, body.frame()).await {
                Ok(Some(frame)) => frame?,
                Ok(None) => return Ok(()),
                Err(_) => return Err(ConnError::Silent),
            };
            if let Ok(data) = frame.into_data() {
                lines.push(&data)?;
            }
            // Of several that arrived together only the newest is worth parsing.
            if let Some(line) = lines.newest() {
                arrived(serde_json::from_slice(&line)?);
            }
        }
    };
    driven(reading, connection).await
}

/// Asks for `path` once; gives the answer's body.
///
/// # Errors
/// When there is no answer, or one that is no success.
pub(super) async fn get(address: &Address, path: &str) -> Result<Vec<u8>, ConnError> {
    let (stream, authority) = open(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let reading = async {
        let response = request(address, &mut sender, path, &authority).await?;
        let status = response.status();
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        loop {
            let frame = match timeout(ANSWER_LIMIT, body.frame()).await {
                Ok(Some(frame)) => frame?,
                Ok(None) => break,
                Err(_) => return Err(ConnError::Slow(address.clone())),
            };
            if let Ok(data) = frame.into_data() {
                if bytes.len() + data.len() > LONGEST_LINE {
                    return Err(ConnError::TooLong);
                }
                bytes.extend_from_slice(&data);
            }
        }
        match (status, problem(&bytes)) {
            (http::StatusCode::OK, _) => Ok(bytes),
            (http::StatusCode::UNAUTHORIZED | http::StatusCode::FORBIDDEN, _) | (_, None) => {
                Err(refusal(address, status))
            }
            (_, Some(why)) => Err(ConnError::Refused(why)),
        }
    };
    driven(reading, connection).await
}

/// What the daemon says is wrong with a question (RFC 9457).
fn problem(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Problem {
        detail: String,
    }
    let problem: Problem = serde_json::from_slice(body).ok()?;
    Some(problem.detail)
}

async fn request(
    address: &Address,
    sender: &mut http1::SendRequest<Empty<Bytes>>,
    path: &str,
    authority: &str,
) -> Result<hyper::Response<hyper::body::Incoming>, ConnError> {
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, authority)
        .header(
            hyper::header::ACCEPT,
            "application/json, application/x-ndjson",
        )
        .body(Empty::<Bytes>::new())
        .map_err(|_invalid| ConnError::Closed)?;
    match timeout(ANSWER_LIMIT, sender.send_request(request)).await {
        Ok(response) => Ok(response?),
        Err(_) => Err(ConnError::Slow(address.clone())),
    }
}

fn refusal(address: &Address, status: http::StatusCode) -> ConnError {
    match status {
        http::StatusCode::UNAUTHORIZED | http::StatusCode::FORBIDDEN => {
            ConnError::Denied(address.clone(), status)
        }
        status => ConnError::Status(address.clone(), status),
    }
}

/// What `reading` comes to, while `connection` is driven: without that its body does not move. When the connection
/// ends first, the reader sees why.
async fn driven<T>(
    reading: impl Future<Output = Result<T, ConnError>>,
    connection: impl Future<Output = Result<(), hyper::Error>>,
) -> Result<T, ConnError> {
    tokio::pin!(reading);
    tokio::select! {
        ended = &mut reading => ended,
        driven = connection => {
            driven?;
            reading.await
        }
    }
}

/// Bytes on their way to being lines.
#[derive(Debug, Default)]
struct Lines {
    partial: Vec<u8>,
    complete: Option<Vec<u8>>,
}

impl Lines {
    fn push(&mut self, data: &[u8]) -> Result<(), ConnError> {
        let mut pieces = data.split(|byte| *byte == b'\n');
        // Everything before the first line's end continues what was there.
        let mut piece = pieces.next().unwrap_or_default();
        loop {
            if self.partial.len() + piece.len() > LONGEST_LINE {
                return Err(ConnError::TooLong);
            }
            self.partial.extend_from_slice(piece);
            let Some(next) = pieces.next() else {
                return Ok(());
            };
            let line = std::mem::take(&mut self.partial);
            if !line.iter().all(u8::is_ascii_whitespace) {
                self.complete = Some(line);
            }
            piece = next;
        }
    }

    fn newest(&mut self) -> Option<Vec<u8>> {
        self.complete.take()
    }
}

impl From<hyper::Error> for ConnError {
    fn from(error: hyper::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        let mut hung_up = error.is_incomplete_message();
        while let Some(inner) = cause {
            hung_up |= inner.downcast_ref::<io::Error>().is_some_and(|error| {
                matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
            });
            cause = inner.source();
        }
        // In the middle of an answer or between two, to a person it is the same.
        if hung_up {
            Self::Closed
        } else {
            Self::Http(error)
        }
    }
}

/// An error of the system without its number, which helps nobody here.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

fn random() -> u8 {
    let mut byte = [0];
    // Without randomness the wait is merely the full one.
    match rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::NONBLOCK) {
        Ok(_) => byte[0],
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_and_never_passes_its_cap() {
        assert_eq!(backoff(1, 0), Duration::from_millis(250));
        assert_eq!(backoff(2, 0), Duration::from_millis(500));
        assert_eq!(backoff(5, 0), Duration::from_secs(4));
        for failures in [6, 7, 17, 18, 40, 1_000, u32::MAX] {
            assert_eq!(backoff(failures, 0), LONGEST_WAIT, "{failures}");
        }
        for failures in 0..200 {
            for chance in 0..=u8::MAX {
                let wait = backoff(failures, chance);
                assert!(
                    wait <= LONGEST_WAIT && wait >= FIRST_WAIT * 3 / 4,
                    "{wait:?}"
                );
            }
        }
    }

    #[test]
    fn lines_are_found_however_they_are_cut_and_the_newest_wins() {
        let mut lines = Lines::default();
        lines.push(b"{\"a\"").unwrap();
        assert_eq!(lines.newest(), None);
        lines.push(b":1}\n{\"b\":2}\n\n{\"c").unwrap();
        assert_eq!(lines.newest().as_deref(), Some(&b"{\"b\":2}"[..]));
        lines.push(b"\":3}\n").unwrap();
        assert_eq!(lines.newest().as_deref(), Some(&b"{\"c\":3}"[..]));
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; 1 << 20];
        let refused = (0..17).any(|_| lines.push(&piece).is_err());
        assert!(refused);
    }
}
