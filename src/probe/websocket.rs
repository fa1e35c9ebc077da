//! Probing a `WebSocket`: the handshake, a ping and its pong, and, when something is sent, what comes back.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::HOST;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::definition::Url;
use super::run::{Attempt, Failed};
use super::tcp::missing;
use crate::clock::Clock as _;
use crate::model::{ProbeFailure, ProbePhase};
use crate::net::mark::{self, Line};
use crate::net::stream::Stream;

/// What a ping carries, and its pong must (RFC 6455, section 5.5.3).
const PING: &[u8] = b"vestibule";
/// For the other end to say goodbye as well.
const GOODBYE: Duration = Duration::from_millis(200);

/// Connects, switches, pings; sends what is to be sent and holds what comes to what is expected.
pub(super) async fn run(attempt: &mut Attempt<'_>, url: &Url) -> Result<(), Failed> {
    let tcp = attempt
        .connect(&url.place, attempt.manner.connect_to)
        .await?;
    let stream = if url.tls {
        let tls = attempt.handshake(tcp, &url.place, &[b"http/1.1"]).await?;
        Stream::Tls(Box::new(tls))
    } else {
        Stream::Plain(tcp)
    };
    let request = request(attempt, url)?;
    let limits = Some(limits(attempt.manner.http.max_body));
    let switching = tokio_tungstenite::client_async_with_config(request, stream, limits);
    let (socket, response) = attempt
        .phase(
            ProbePhase::Processing,
            ProbeFailure::HttpTimeoutHeaders,
            switching,
            refused,
        )
        .await?;
    attempt.seen.status = Some(response.status().as_u16());
    attempt.seen.http_version = Some("HTTP/1.1".to_owned());
    let mut socket = socket;
    let talked = talk(attempt, &mut socket).await;
    // Said goodbye to, and heard out, a server does not log a broken connection. What comes of it is of no interest.
    let goodbye = async {
        if socket.close(None).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    drop(tokio::time::timeout(attempt.left().min(GOODBYE), goodbye).await);
    talked
}

/// The longest control frame (RFC 6455, section 5.5), which a pong may be.
const LONGEST_CONTROL: usize = 125;

/// Nothing larger than `max_body` is gathered, in one frame or in many.
fn limits(max_body: u64) -> WebSocketConfig {
    let most = usize::try_from(max_body).unwrap_or(usize::MAX);
    WebSocketConfig::default()
        .max_message_size(Some(most))
        .max_frame_size(Some(most.max(LONGEST_CONTROL)))
}

fn request(attempt: &Attempt<'_>, url: &Url) -> Result<http::Request<()>, Failed> {
    let odd = |what: String| Failed::new(ProbeFailure::Internal, what);
    let scheme = if url.tls { "wss" } else { "ws" };
    let mut request = format!("{scheme}://{}{}", url.authority(), url.target)
        .into_client_request()
        .map_err(|error| odd(error.to_string()))?;
    let headers = request.headers_mut();
    for (name, value) in &attempt.manner.http.headers {
        headers.insert(name, value.clone());
    }
    if let Some(key) = attempt.key {
        let host = headers.get(HOST).map(|host| host.as_bytes().to_vec());
        let line = Line {
            method: "GET",
            host: &host.unwrap_or_default(),
            path: url.path(),
        };
        let mark = key.sign(attempt.name, line, attempt.clock.now());
        let mark = mark.parse().map_err(|_odd| odd("cannot sign".to_owned()))?;
        headers.insert(mark::HEADER, mark);
    }
    Ok(request)
}

fn refused(error: Error) -> Failed {
    match error {
        Error::Http(response) => {
            let detail = format!("it answered {} instead of switching", response.status());
            Failed::new(ProbeFailure::WebsocketRefused, detail)
        }
        Error::Capacity(CapacityError::MessageTooLong { size, .. }) => {
            let detail = format!("a message of {size} bytes or more is larger than `max_body`");
            Failed::new(ProbeFailure::TooLarge, detail)
        }
        Error::Io(error) => Failed::new(ProbeFailure::HttpReset, error.to_string()),
        other => Failed::new(ProbeFailure::WebsocketRefused, other.to_string()),
    }
}

/// Messages that are read while something is waited for.
const MOST_MESSAGES: usize = 1_000;

async fn talk(
    attempt: &mut Attempt<'_>,
    socket: &mut WebSocketStream<Stream>,
) -> Result<(), Failed> {
    let manner = attempt.manner;
    let expect = &manner.expect;
    let listens = !(expect.body.is_empty()
        && expect.body_matches.is_empty()
        && expect.body_lacks.is_empty()
        && expect.body_matches_none.is_empty());
    let (mut heard, mut too_large) = (Vec::<u8>::new(), false);
    let talking = async {
        if let Some(text) = &manner.dialogue.send {
            socket.send(Message::text(text.clone())).await?;
        }
        let ping = Message::Ping(Bytes::from_static(PING));
        socket.send(ping).await?;
        let mut ponged = false;
        for _ in 0..MOST_MESSAGES {
            if ponged && (!listens || (!heard.is_empty() && missing(&heard, expect).is_none())) {
                return Ok(true);
            }
            match socket.next().await {
                None | Some(Ok(Message::Close(_))) => break,
                Some(Ok(Message::Pong(data))) => ponged |= data.as_ref() == PING,
                Some(Ok(Message::Text(text))) => heard.extend(text.as_bytes()),
                Some(Ok(Message::Binary(data))) => heard.extend(data.as_ref()),
                Some(Ok(Message::Ping(_) | Message::Frame(_))) => {}
                Some(Err(error)) => {
                    too_large = matches!(error, Error::Capacity(_));
                    return Err(error);
                }
            }
            if heard.len() as u64 > manner.http.max_body {
                break;
            }
        }
        Ok(ponged)
    };
    let ended = attempt
        .phase(
            ProbePhase::Transfer,
            ProbeFailure::WebsocketRefused,
            talking,
            refused,
        )
        .await;
    attempt.seen.body_bytes = heard.len() as u64;
    let late = match ended {
        Ok(true) => None,
        Ok(false) => {
            let detail = "it did not answer a ping".to_owned();
            return Err(Failed::new(ProbeFailure::WebsocketRefused, detail));
        }
        Err(failed) => Some(failed),
    };
    match missing(&heard, expect).filter(|_| listens && !too_large) {
        Some(missing) => Err(Failed::new(ProbeFailure::AssertBody, missing)),
        None => late.map_or(Ok(()), Err),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    async fn heard(max_body: u64, message: Message) -> Result<Message, Error> {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let open = WebSocketStream::<DuplexStream>::from_raw_socket;
        let mut server = open(theirs, Role::Server, None).await;
        let mut client = open(ours, Role::Client, Some(limits(max_body))).await;
        server.send(message).await.unwrap();
        client.next().await.unwrap()
    }

    #[tokio::test]
    async fn a_message_larger_than_max_body_is_refused_and_a_pong_never_is() {
        assert!(heard(200, Message::text("x".repeat(200))).await.is_ok());
        assert!(heard(1, Message::Pong(PING.into())).await.is_ok());
        for (max_body, length) in [(1, 2), (200, 201)] {
            let error = heard(max_body, Message::text("x".repeat(length))).await;
            let error = error.unwrap_err();
            assert!(matches!(error, Error::Capacity(_)), "{error}");
            let failed = format!("{:?}", refused(error));
            assert!(failed.contains("TooLarge"), "{failed}");
        }
    }
}
