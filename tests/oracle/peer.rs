//! Programs that are started for a test, and HTTP to them.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server with an HTTP interface, stopped when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `program` and waits until `ready` answers; what it says goes to `log`.
    pub(crate) fn start(
        program: &str,
        arguments: impl Fn(SocketAddr) -> Vec<String>,
        ready: &str,
        log: &Path,
    ) -> Self {
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
        let address = free.expect("there is a free port");
        let said = File::create(log).expect("it can be written");
        let mut child = Command::new(program)
            .args(arguments(address))
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("it can be shared"))
            .stderr(said)
            .spawn()
            .expect("it can be started");
        let began = Instant::now();
        loop {
            if try_get(address, ready).is_ok_and(|(status, _)| status == 200) {
                return Self { child, address };
            }
            let ended = child.try_wait().expect("it can be asked");
            assert!(
                ended.is_none() && began.elapsed() < PATIENCE,
                "{program} does not get ready: {}",
                std::fs::read_to_string(log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The answer, which must be a success.
    pub(crate) fn get(&self, path: &str) -> String {
        answered(path, try_get(self.address, path))
    }

    /// As [`Server::get`], of a body that is sent.
    pub(crate) fn post(&self, path: &str, kind: &str, body: &str) -> String {
        let head = format!(
            "POST {path} HTTP/1.0\r\nhost: {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        answered(
            path,
            exchange(self.address, &[head.as_bytes(), body.as_bytes()]),
        )
    }

    /// What an expression was from `start` to `end`, by the API of Prometheus.
    pub(crate) fn query_range(&self, expr: &str, start: u64, end: u64, step: u64) -> Vec<Value> {
        let body = format!(
            "query={}&start={start}&end={end}&step={step}",
            escaped(expr)
        );
        let kind = "application/x-www-form-urlencoded";
        let answer = self.post("/api/v1/query_range", kind, &body);
        let answer: Value = serde_json::from_str(&answer).expect("it is JSON");
        let found = answer["data"]["result"].as_array();
        found.unwrap_or_else(|| panic!("{expr}: {answer}")).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already, perhaps.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs `program` to its end, which must be a success.
pub(crate) fn run(program: &str, arguments: &[String]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.expect("it can be started");
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(escape).collect()
}

fn answered(path: &str, answer: std::io::Result<(u16, String)>) -> String {
    let (status, body) = answer.expect("it answers");
    assert!((200..300).contains(&status), "{path}: {status} {body}");
    body
}

fn try_get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let head = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n");
    exchange(address, &[head.as_bytes()])
}

/// HTTP/1.0, so that an answer ends with its connection.
fn exchange(address: SocketAddr, parts: &[&[u8]]) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    for part in parts {
        stream.write_all(part)?;
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok((status.unwrap_or(0), body.to_owned()))
}
