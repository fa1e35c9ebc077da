//! The access log: one JSON line per request, written off the request threads.
//!
//! A worker formats its lines into a buffer of its own and hands over whole batches through a bounded queue; a thread
//! here does the writing. When that thread cannot keep up, batches are dropped and counted: traffic never waits for a
//! log. Queries, cookies and authorization are left out, since they hold secrets.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::model::{AccessRecord, Phase};

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
pub const QUEUE: usize = 1_024;

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
pub fn write_line(line: &mut Vec<u8>, record: &AccessRecord<'_>) {
    let AccessRecord {
        at,
        observation,
        route,
        endpoint,
        client,
        scheme,
        protocol,
        method,
        host,
        path,
        user_agent,
        request_id,
        trace_id,
    } = record;
    put(
        line,
        format_args!("{{\"time\":\"{at}\",\"client\":\"{client}\",\"method\":"),
    );
    string(line, method.as_bytes());
    put(
        line,
        format_args!(",\"scheme\":\"{scheme}\",\"protocol\":\"{protocol}\",\"host\":"),
    );
    string(line, host);
    line.extend_from_slice(b",\"path\":");
    string(line, path.as_bytes());
    match observation.status {
        Some(status) => put(line, format_args!(",\"status\":{status}")),
        None => line.extend_from_slice(b",\"status\":null"),
    }
    line.extend_from_slice(b",\"route\":");
    string(line, route.as_bytes());
    line.extend_from_slice(b",\"endpoint\":");
    string(line, endpoint.as_bytes());
    put(
        line,
        format_args!(",\"outcome\":\"{}\"", observation.outcome.as_str()),
    );
    if let Some(fault) = observation.outcome.fault() {
        put(
            line,
            format_args!(
                ",\"side\":\"{}\",\"error.type\":\"{}\"",
                fault.side().as_str(),
                fault.as_str()
            ),
        );
    }
    put(
        line,
        format_args!(",\"duration_us\":{}", observation.duration_us),
    );
    for (phase, micros) in Phase::ALL.iter().zip(observation.phases) {
        if let Some(micros) = micros {
            put(line, format_args!(",\"{}_us\":{micros}", phase.as_str()));
        }
    }
    put(
        line,
        format_args!(
            ",\"attempts\":{},\"bytes_in\":{},\"bytes_out\":{}",
            observation.attempts, observation.bytes_in, observation.bytes_out
        ),
    );
    line.extend_from_slice(b",\"user_agent\":");
    string(line, user_agent);
    line.extend_from_slice(b",\"request_id\":");
    string(line, request_id.as_bytes());
    put(line, format_args!(",\"trace_id\":\"{trace_id}\"}}\n"));
}

fn put(line: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("writing to memory cannot fail");
}

/// The longest text taken over from a request.
const MAX_TEXT: usize = 2_048;

/// A JSON string of bytes from a stranger: cut when long, with everything but plain ASCII escaped, so that a line
/// stays one line and no terminal is told anything.
fn string(line: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    line.push(b'"');
    let text = text.get(..MAX_TEXT).unwrap_or(text);
    let plain = |byte: &u8| matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b'\\');
    if text.iter().all(plain) {
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
    use crate::model::{Fault, Observation, RouteKey, Source, Timestamp};

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
                client: "192.0.2.7".parse().unwrap(),
                scheme: "https",
                protocol: "HTTP/2.0",
                method: "GET",
                host: b"shop.test",
                path,
                user_agent,
                request_id: "r",
                trace_id: "t",
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
