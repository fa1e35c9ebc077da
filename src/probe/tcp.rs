//! Probing a port: that it takes connections, what it says, and whether it speaks TLS.

use std::convert::Infallible;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::definition::{Expectations, HostPort};
use super::run::{Attempt, Failed};
use crate::model::{ProbeFailure, ProbePhase};

/// Connects; says and hears what the definition wants.
pub(super) async fn run(attempt: &mut Attempt<'_>, place: &HostPort) -> Result<(), Failed> {
    let mut stream = attempt.connect(place, attempt.probe.connect_to).await?;
    let probe = attempt.probe;
    if let Some(text) = &probe.send {
        let broken = |error: std::io::Error| {
            Failed::new(ProbeFailure::HttpReset, format!("it took nothing: {error}"))
        };
        let sending = stream.write_all(text.as_bytes());
        attempt
            .phase(
                ProbePhase::Processing,
                ProbeFailure::HttpTimeoutHeaders,
                sending,
                broken,
            )
            .await?;
    }
    let expect = &probe.expect;
    if expect.body.is_empty() && expect.body_matches.is_empty() && expect.body_lacks.is_empty() {
        return Ok(());
    }
    hear(attempt, &mut stream, expect).await
}

/// Connects and shakes hands.
pub(super) async fn run_tls(attempt: &mut Attempt<'_>, place: &HostPort) -> Result<(), Failed> {
    let tcp = attempt.connect(place, attempt.probe.connect_to).await?;
    let mut stream = attempt.handshake(tcp, place, &[]).await?;
    // Told goodbye, a server does not log a broken connection. What comes of it is of no interest.
    drop(tokio::time::timeout(attempt.left(), stream.shutdown()).await);
    Ok(())
}

/// What is heard at most: a greeting or an answer, not a stream.
const MOST_HEARD: usize = 64 << 10;

/// Reads until everything expected was said, the other end is done, or the time is over.
async fn hear(
    attempt: &mut Attempt<'_>,
    stream: &mut TcpStream,
    expect: &Expectations,
) -> Result<(), Failed> {
    let mut heard = Vec::new();
    let mut over = None;
    while over.is_none() {
        if missing(&heard, expect).is_none() && !heard.is_empty() {
            break;
        }
        let mut piece = vec![0; 4_096];
        let phase = if heard.is_empty() {
            ProbePhase::Processing
        } else {
            ProbePhase::Transfer
        };
        let reading = async { Ok::<_, Infallible>(stream.read(&mut piece).await) };
        let never = |never: Infallible| match never {};
        match attempt
            .phase(phase, ProbeFailure::AssertBody, reading, never)
            .await
        {
            Ok(Ok(0)) => over = Some("and closed the connection".to_owned()),
            Ok(Ok(count)) => heard.extend(piece.iter().take(count)),
            Ok(Err(error)) => over = Some(format!("and then: {error}")),
            Err(_late) => over = Some("until the time was over".to_owned()),
        }
        if heard.len() >= MOST_HEARD {
            over = Some("and more than is read".to_owned());
        }
    }
    attempt.seen.body_bytes = heard.len() as u64;
    match missing(&heard, expect) {
        None => Ok(()),
        Some(missing) => {
            let start: Vec<u8> = heard.iter().copied().take(80).collect();
            let detail = format!(
                "{missing}; it said {:?} {}",
                String::from_utf8_lossy(&start),
                over.unwrap_or_default()
            );
            Err(Failed::new(ProbeFailure::AssertBody, detail))
        }
    }
}

/// What `bytes` lack, or have too much, in words.
pub(super) fn missing(bytes: &[u8], expect: &Expectations) -> Option<String> {
    let has = |text: &String| {
        let text = text.as_bytes();
        text.is_empty() || bytes.windows(text.len()).any(|window| window == text)
    };
    if let Some(text) = expect.body.iter().find(|text| !has(text)) {
        return Some(format!("{text:?} is not in it"));
    }
    if let Some(text) = expect.body_lacks.iter().find(|text| has(text)) {
        return Some(format!("{text:?} is in it and should not be"));
    }
    let unmatched = expect
        .body_matches
        .iter()
        .find(|pattern| !pattern.is_match(bytes));
    unmatched.map(|pattern| format!("/{}/ does not match it", pattern.as_str()))
}
