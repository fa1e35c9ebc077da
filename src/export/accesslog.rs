//! The access log: one JSON line per request, written off the request threads.
//!
//! A worker formats its lines into a buffer of its own and hands over whole batches through a bounded queue; a thread
//! here does the writing. When that thread cannot keep up, batches are dropped and counted: traffic never waits for a
//! log. Queries, cookies and authorization are left out, since they hold secrets.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::model::{AccessRecord, Phase, Source, Timestamp};

/// Where access lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Config {
    /// Nowhere.
    #[default]
    Off,
    /// Standard output.
    Stdout,
    /// A file, appended to, reopened on SIGHUP.
    File(PathBuf),
}

/// Batches that may wait for the writer: at most about 32 MB.
pub const QUEUE: usize = 256;

/// The writing thread.
#[derive(Debug)]
pub struct Writer {
    /// Takes batches of whole lines. Dropping every clone ends the writer once it has written what waits.
    pub batches: SyncSender<Vec<u8>>,
    /// Asks the writer to open its file anew, after rotation.
    reopen: Arc<AtomicBool>,
    /// Set while writing fails.
    failing: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Opens the log and starts its thread; `None` when it is off.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn start(config: &Config) -> io::Result<Option<Self>> {
        let output = match config {
            Config::Off => return Ok(None),
            Config::Stdout => Output::Stdout,
            Config::File(path) => Output::File {
                file: open(path)?,
                path: path.clone(),
            },
        };
        let (batches, received) = sync_channel(QUEUE);
        let (reopen, failing) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let (reopen_seen, failing_set) = (Arc::clone(&reopen), Arc::clone(&failing));
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write(output, &received, &reopen_seen, &failing_set))?;
        Ok(Some(Self {
            batches,
            reopen,
            failing,
            thread,
        }))
    }

    /// Opens the file anew before the next batch is written.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
    }

    /// Whether the last batch could not be written.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Waits until everything handed over is written. Every other sender must be gone.
    pub fn finish(self) {
        let Self {
            batches,
            reopen: _,
            failing: _,
            thread,
        } = self;
        drop(batches);
        // A writer that panicked has nothing more to write.
        drop(thread.join());
    }
}

enum Output {
    Stdout,
    File { file: File, path: PathBuf },
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn write(
    mut output: Output,
    batches: &Receiver<Vec<u8>>,
    reopen: &AtomicBool,
    failing: &AtomicBool,
) {
    for batch in batches {
        if reopen.swap(false, Ordering::Relaxed)
            && let Output::File { file, path } = &mut output
        {
            match open(path) {
                Ok(opened) => *file = opened,
                Err(error) => {
                    tracing::error!(%error, path = %path.display(), "the access log could not be reopened");
                }
            }
        }
        let written = match &mut output {
            Output::Stdout => io::stdout().lock().write_all(&batch),
            Output::File { file, .. } => file.write_all(&batch),
        };
        let failed = written.is_err();
        if failed && !failing.swap(failed, Ordering::Relaxed) {
            tracing::error!(error = %written.err().map_or_else(String::new, |error| error.to_string()), "the access log cannot be written");
        }
        failing.store(failed, Ordering::Relaxed);
    }
}

/// Appends one line. Names follow the semantic conventions where they have one.
///
/// A worker does this for every request, so numbers and times are written without the machinery of `format!`, which
/// takes several times as long.
pub fn write_line(line: &mut Vec<u8>, record: &AccessRecord<'_>) {
    let AccessRecord {
        at,
        observation,
        route,
        endpoint,
        attempts: _,
        client,
        scheme,
        protocol,
        method,
        host,
        path,
        user_agent,
        request_id,
        trace_id,
        span_id: _,
        parent_id: _,
        sampled: _,
    } = record;
    line.extend_from_slice(b"{\"time\":\"");
    time(line, *at);
    line.extend_from_slice(b"\",\"client\":\"");
    address(line, *client);
    line.extend_from_slice(b"\",\"method\":");
    string(line, method.as_bytes());
    plain(line, b",\"scheme\":\"", scheme);
    plain(line, b"\",\"protocol\":\"", protocol);
    line.extend_from_slice(b"\",\"host\":");
    string(line, host);
    line.extend_from_slice(b",\"path\":");
    string(line, path.as_bytes());
    match observation.status {
        Some(status) => number(line, b",\"status\":", status.into()),
        None => line.extend_from_slice(b",\"status\":null"),
    }
    line.extend_from_slice(b",\"route\":");
    string(line, route.as_bytes());
    line.extend_from_slice(b",\"endpoint\":");
    string(line, endpoint.as_bytes());
    plain(line, b",\"outcome\":\"", observation.outcome.as_str());
    match observation.source {
        Source::Proxy => {}
        // Counted in no route: whoever adds lines up leaves it out as well.
        Source::Probe => plain(line, b"\",\"source\":\"", "probe"),
    }
    if let Some(fault) = observation.outcome.fault() {
        plain(line, b"\",\"side\":\"", fault.side().as_str());
        plain(line, b"\",\"error.type\":\"", fault.as_str());
    }
    number(line, b"\",\"duration_us\":", observation.duration_us);
    for (phase, micros) in Phase::ALL.iter().zip(observation.phases) {
        if let Some(micros) = micros {
            plain(line, b",\"", phase.as_str());
            number(line, b"_us\":", micros.into());
        }
    }
    number(line, b",\"attempts\":", observation.attempts.into());
    number(line, b",\"bytes_in\":", observation.bytes_in);
    number(line, b",\"bytes_out\":", observation.bytes_out);
    line.extend_from_slice(b",\"user_agent\":");
    string(line, user_agent);
    line.extend_from_slice(b",\"request_id\":");
    string(line, request_id.as_bytes());
    plain(line, b",\"trace_id\":\"", trace_id);
    line.extend_from_slice(b"\"}\n");
}

/// Text of our own, which needs no escape.
fn plain(line: &mut Vec<u8>, before: &[u8], text: &str) {
    line.extend_from_slice(before);
    line.extend_from_slice(text.as_bytes());
}

fn number(line: &mut Vec<u8>, before: &[u8], number: u64) {
    line.extend_from_slice(before);
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn address(line: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                number(line, if index == 0 { b"" } else { b"." }, octet.into());
            }
        }
        IpAddr::V6(address) => {
            write!(line, "{address}").expect("writing to memory cannot fail");
        }
    }
}

/// A time's text up to the milliseconds, like `2026-11-23T14:02:40.`.
type Second = [u8; 20];

thread_local! {
    /// The last second written, and its text.
    static SECOND: Cell<(u64, Second)> = const { Cell::new((u64::MAX, [0; 20])) };
}

/// A time as [`Timestamp`] displays it. Lines of the same second share all but the milliseconds.
fn time(line: &mut Vec<u8>, at: Timestamp) {
    let seconds = at.as_millis() / 1_000;
    let (known, mut text) = SECOND.get();
    if known != seconds {
        // The one place a second that formats, into memory that is there.
        let mut rest = &mut text[..];
        // What does not fit are the milliseconds, which differ from line to line.
        write!(rest, "{}", Timestamp::from_secs(seconds)).unwrap_or_default();
        SECOND.set((seconds, text));
    }
    line.extend_from_slice(&text);
    let millis = (at.as_millis() % 1_000) as u16;
    let digit = |place: u16| b'0' + (millis / place % 10) as u8;
    line.extend_from_slice(&[digit(100), digit(10), digit(1), b'Z']);
}

/// The longest text taken over from a request.
const MAX_TEXT: usize = 2_048;

/// A JSON string of bytes from a stranger: cut when long, with everything but plain ASCII escaped, so that a line
/// stays one line and no terminal is told anything.
fn string(line: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    line.push(b'"');
    let text = text.get(..MAX_TEXT).unwrap_or(text);
    // Without leaving early, so that many bytes are looked at at once.
    let plain = |byte: u8| matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let is_plain = text.iter().fold(true, |all, byte| all & plain(*byte));
    if is_plain {
        line.extend_from_slice(text);
    } else {
        for &byte in text {
            match byte {
                b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
                0x20..=0x7e => line.push(byte),
                // Header bytes have no declared encoding: each is shown as the code point of the same number.
                _ => line.extend_from_slice(&[
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    HEX[usize::from(byte >> 4)],
                    HEX[usize::from(byte & 15)],
                ]),
            }
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Fault, Observation, RouteKey};

    fn line(path: &str, user_agent: &[u8]) -> String {
        let observation = Observation {
            route: RouteKey(1),
            endpoint: None,
            source: Source::Proxy,
            outcome: Fault::ConnectRefused.outcome(),
            status: Some(502),
            duration_us: 1_234,
            phases: [Some(3), Some(4), None, None],
            attempts: 1,
            bytes_in: 0,
            bytes_out: 23,
        };
        let mut line = Vec::new();
        write_line(
            &mut line,
            &AccessRecord {
                at: Timestamp::from_secs(0),
                observation: &observation,
                route: "shop",
                endpoint: "http://10.0.0.1:80",
                attempts: &[],
                client: "192.0.2.7".parse().unwrap(),
                scheme: "https",
                protocol: "HTTP/2.0",
                method: "GET",
                host: b"shop.test",
                path,
                user_agent,
                request_id: "r",
                trace_id: "t",
                span_id: "s",
                parent_id: "",
                sampled: true,
            },
        );
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_is_one_json_object() {
        let value: serde_json::Value = serde_json::from_str(&line("/a", b"curl/8")).unwrap();
        assert_eq!(value["status"], 502);
        assert_eq!(value["side"], "upstream");
        assert_eq!(value["error.type"], "connect_refused");
        assert_eq!(value["connect_us"], 4);
        assert!(value.get("wait_us").is_none());
    }

    #[test]
    fn times_read_as_they_are_displayed() {
        for millis in [
            0,
            7,
            1_000,
            1_795_000_000_042,
            1_795_000_000_999,
            1_795_000_001_000,
        ] {
            let at = Timestamp::from_millis(millis);
            let mut text = Vec::new();
            time(&mut text, at);
            assert_eq!(String::from_utf8(text).unwrap(), at.to_string());
        }
    }

    #[test]
    fn addresses_read_as_they_are_displayed() {
        for text in ["0.0.0.0", "192.0.2.255", "::1", "2001:db8::a:0:1"] {
            let mut written = Vec::new();
            address(&mut written, text.parse().unwrap());
            assert_eq!(String::from_utf8(written).unwrap(), text);
        }
    }

    #[test]
    fn what_a_stranger_sends_cannot_leave_its_string() {
        let text = line("/\"\\", b"\x1b[2J\n\xff\"}");
        assert_eq!(text.matches('\n').count(), 1);
        assert!(!text.contains('\x1b'));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["user_agent"], "\u{1b}[2J\n\u{ff}\"}");
        assert_eq!(value["path"], "/\"\\");
        assert!(line(&"x".repeat(100_000), b"").len() < 3_000);
    }
}
