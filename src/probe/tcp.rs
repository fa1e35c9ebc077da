//! Probing a port: that it takes connections, what it says, and whether it speaks TLS, at once or after a word.

use std::convert::Infallible;
use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::definition::{Expectations, HostPort, Pattern, StartTls, Step};
use super::run::{Attempt, Failed};
use crate::model::{ProbeFailure, ProbePhase};
use crate::net::stream::Stream;

/// Connects, shakes hands at once or when the definition wants it; says and hears what it wants.
pub(super) async fn run(
    attempt: &mut Attempt<'_>,
    place: &HostPort,
    tls: bool,
) -> Result<(), Failed> {
    let manner = attempt.manner;
    let tcp = attempt.connect(place, manner.connect_to).await?;
    let mut talk = Talk {
        stream: Stream::Plain(tcp),
        unread: Vec::new(),
        heard: 0,
    };
    if let Some(protocol) = manner.dialogue.starttls {
        talk.ask_for_tls(attempt, protocol).await?;
    }
    if tls {
        talk = talk.encrypt(attempt, place).await?;
    }
    for step in &manner.dialogue.steps {
        talk.step(attempt, step).await?;
        if step.starttls {
            talk = talk.encrypt(attempt, place).await?;
        }
    }
    if let Some(text) = &manner.dialogue.send {
        talk.say(attempt, text.as_bytes()).await?;
    }
    let expect = &manner.expect;
    let is_over = expect.body.is_empty()
        && expect.body_matches.is_empty()
        && expect.body_lacks.is_empty()
        && expect.body_matches_none.is_empty();
    if !is_over {
        talk.hear(attempt, expect).await?;
    }
    attempt.seen.body_bytes = talk.heard;
    if let Stream::Tls(mut stream) = talk.stream {
        // Told goodbye, a server does not log a broken connection. What comes of it is of no interest.
        drop(tokio::time::timeout(attempt.left(), stream.shutdown()).await);
    }
    Ok(())
}

/// What is heard at most: a greeting or an answer, not a stream.
const MOST_HEARD: u64 = 64 << 10;
/// The longest line that is read to its end.
const LONGEST_LINE: usize = 8 << 10;

/// A connection that is talked over.
struct Talk {
    stream: Stream,
    /// Heard and not yet looked at.
    unread: Vec<u8>,
    /// Bytes heard.
    heard: u64,
}

/// Why there is no more to hear.
enum Over {
    Closed,
    Broken(io::Error),
    Late,
    TooMuch,
}

impl Over {
    fn text(&self) -> String {
        match self {
            Self::Closed => "and closed the connection".to_owned(),
            Self::Broken(error) => format!("and then: {error}"),
            Self::Late => "until the time was over".to_owned(),
            Self::TooMuch => "and more than is read".to_owned(),
        }
    }
}

impl Talk {
    async fn step(&mut self, attempt: &mut Attempt<'_>, step: &Step) -> Result<(), Failed> {
        let line = match &step.expect {
            Some(pattern) => Some((pattern, self.line(attempt, pattern, None).await?)),
            None => None,
        };
        let Some(text) = &step.send else {
            return Ok(());
        };
        let said = line.and_then(|(pattern, line)| pattern.expand(&line, text));
        let said = said.unwrap_or_else(|| text.clone().into_bytes());
        self.say(attempt, &said).await
    }

    async fn say(&mut self, attempt: &mut Attempt<'_>, text: &[u8]) -> Result<(), Failed> {
        let broken = |error: io::Error| {
            Failed::new(ProbeFailure::HttpReset, format!("it took nothing: {error}"))
        };
        let stream = &mut self.stream;
        let sending = async {
            stream.write_all(text).await?;
            stream.flush().await
        };
        let (phase, late) = (ProbePhase::Processing, ProbeFailure::HttpTimeoutHeaders);
        attempt.phase(phase, late, sending, broken).await
    }

    /// Hears a little more, or why there is no more.
    async fn more(&mut self, attempt: &mut Attempt<'_>) -> Option<Over> {
        if self.heard >= MOST_HEARD {
            return Some(Over::TooMuch);
        }
        let mut piece = vec![0; 4_096];
        let phase = if self.heard == 0 {
            ProbePhase::Processing
        } else {
            ProbePhase::Transfer
        };
        let stream = &mut self.stream;
        let reading = async { Ok::<_, Infallible>(stream.read(&mut piece).await) };
        let never = |never: Infallible| match never {};
        let late = ProbeFailure::AssertBody;
        match attempt.phase(phase, late, reading, never).await {
            Ok(Ok(0)) => Some(Over::Closed),
            Ok(Ok(count)) => {
                self.unread.extend(piece.iter().take(count));
                self.heard += count as u64;
                None
            }
            Ok(Err(error)) => Some(Over::Broken(error)),
            Err(_late) => Some(Over::Late),
        }
    }

    /// Reads lines until one matches, and gives it without its end; until one refuses, if anything does.
    async fn line(
        &mut self,
        attempt: &mut Attempt<'_>,
        pattern: &Pattern,
        refusal: Option<&Pattern>,
    ) -> Result<Vec<u8>, Failed> {
        let mut last = Vec::new();
        loop {
            let end = self.unread.iter().position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let mut line: Vec<u8> = self.unread.drain(..=end).collect();
                line.pop();
                line.pop_if(|byte| *byte == b'\r');
                if pattern.is_match(&line) {
                    return Ok(line);
                }
                if refusal.is_some_and(|refusal| refusal.is_match(&line)) {
                    attempt.seen.body_bytes = self.heard;
                    let detail = format!(
                        "no line matches /{}/: it said {}",
                        pattern.as_str(),
                        beginning(&line)
                    );
                    return Err(Failed::new(ProbeFailure::AssertBody, detail));
                }
                last = line;
                continue;
            }
            let over = if self.unread.len() > LONGEST_LINE {
                Some(Over::TooMuch)
            } else {
                self.more(attempt).await
            };
            let Some(over) = over else { continue };
            // A last line may have no end.
            if pattern.is_match(&self.unread) && matches!(over, Over::Closed) {
                return Ok(std::mem::take(&mut self.unread));
            }
            attempt.seen.body_bytes = self.heard;
            let last = if self.unread.is_empty() {
                &last
            } else {
                &self.unread
            };
            let detail = format!(
                "no line matches /{}/; it said {} {}",
                pattern.as_str(),
                beginning(last),
                over.text()
            );
            return Err(Failed::new(ProbeFailure::AssertBody, detail));
        }
    }

    /// Reads until everything expected was said, the other end is done, or the time is over.
    async fn hear(
        &mut self,
        attempt: &mut Attempt<'_>,
        expect: &Expectations,
    ) -> Result<(), Failed> {
        let mut over = None;
        while over.is_none() && (self.unread.is_empty() || missing(&self.unread, expect).is_some())
        {
            over = self.more(attempt).await;
        }
        attempt.seen.body_bytes = self.heard;
        match missing(&self.unread, expect) {
            None => Ok(()),
            Some(missing) => {
                let over = over.map_or_else(String::new, |over| over.text());
                let detail = format!("{missing}; it said {} {over}", beginning(&self.unread));
                Err(Failed::new(ProbeFailure::AssertBody, detail))
            }
        }
    }

    /// Says what a protocol says before TLS.
    async fn ask_for_tls(
        &mut self,
        attempt: &mut Attempt<'_>,
        protocol: StartTls,
    ) -> Result<(), Failed> {
        // What is waited for, what refuses it, and what is said then.
        let steps: &[(&str, &str, &str)] = match protocol {
            StartTls::Smtp => &[
                ("^220 ", "^[45]", "EHLO vestibule\r\n"),
                // A line with a space is the last one: TLS was not among what is offered.
                ("^250[ -]STARTTLS", "^[0-9]{3} ", "STARTTLS\r\n"),
                // The rest of what is offered is passed over.
                ("^220 ", "^[45]", ""),
            ],
            StartTls::Imap => &[
                ("^\\* OK", "^\\* BYE", "a STARTTLS\r\n"),
                ("^a OK", "^a ", ""),
            ],
            StartTls::Pop3 => &[("^\\+OK", "^-", "STLS\r\n"), ("^\\+OK", "^-", "")],
            StartTls::Ftp => &[
                ("^220 ", "^[45]", "AUTH TLS\r\n"),
                ("^234", "^[0-9]{3} ", ""),
            ],
            StartTls::Postgres => return self.ask_postgres(attempt).await,
        };
        let compiled = |text: &str| {
            Pattern::try_new(text)
                .map_err(|error| Failed::new(ProbeFailure::Internal, error.to_string()))
        };
        for (expect, refusal, send) in steps {
            let (pattern, refusal) = (compiled(expect)?, compiled(refusal)?);
            self.line(attempt, &pattern, Some(&refusal)).await?;
            if !send.is_empty() {
                self.say(attempt, send.as_bytes()).await?;
            }
        }
        Ok(())
    }

    async fn ask_postgres(&mut self, attempt: &mut Attempt<'_>) -> Result<(), Failed> {
        self.say(attempt, &SSL_REQUEST).await?;
        let over = self.more(attempt).await;
        match self.unread.as_slice() {
            [b'S'] => {
                self.unread.clear();
                Ok(())
            }
            said => {
                let over = over.map_or_else(String::new, |over| over.text());
                let detail = format!("it does not offer TLS; it said {} {over}", beginning(said));
                Err(Failed::new(ProbeFailure::AssertBody, detail))
            }
        }
    }

    async fn encrypt(self, attempt: &mut Attempt<'_>, place: &HostPort) -> Result<Self, Failed> {
        let Self {
            stream,
            unread,
            heard,
        } = self;
        let tcp: TcpStream = match stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(_) => {
                let detail = "the dialogue begins TLS twice";
                return Err(Failed::new(ProbeFailure::Internal, detail));
            }
        };
        // RFC 3207, section 6, and everywhere else: what was said in the clear must not be taken for what is said under TLS.
        if !unread.is_empty() {
            let detail = format!("it went on in plain text: {}", beginning(&unread));
            return Err(Failed::new(ProbeFailure::TlsAlert, detail));
        }
        let stream = attempt.handshake(tcp, place, &[]).await?;
        Ok(Self {
            stream: Stream::Tls(Box::new(stream)),
            unread: Vec::new(),
            heard,
        })
    }
}

/// Length 8, code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

fn beginning(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing".to_owned();
    }
    let start: Vec<u8> = bytes.iter().copied().take(80).collect();
    format!("{:?}", String::from_utf8_lossy(&start))
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
    let matches = |pattern: &&Pattern| pattern.is_match(bytes);
    if let Some(pattern) = expect.body_matches.iter().find(|it| !matches(it)) {
        return Some(format!("/{}/ does not match it", pattern.as_str()));
    }
    let wrong = expect.body_matches_none.iter().find(matches);
    wrong.map(|pattern| format!("/{}/ matches it and should not", pattern.as_str()))
}
