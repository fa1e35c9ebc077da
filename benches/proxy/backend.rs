//! The server behind every proxy: one thread that answers any GET with a body of a fixed size.
//!
//! A process of its own (this bench run again with an argument), so that its processor time is nobody else's.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Makes this program the backend.
pub(crate) const ARGUMENT: &str = "serve-as-backend";

/// A running backend; it ends with this value.
pub(crate) struct Backend {
    process: Child,
    pub(crate) port: u16,
}

impl Backend {
    pub(crate) fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(ARGUMENT)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = process.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        Self {
            process,
            port: line.trim().parse().unwrap(),
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Serves until killed; says its port on standard output.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap().port());
        let responses: &'static Responses = Box::leak(Box::new(Responses::new()));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(answer(stream, responses));
        }
    });
}

/// Heads and bodies, ready to be sent.
struct Responses {
    usual: Vec<u8>,
    large: Vec<u8>,
    huge: Vec<u8>,
}

impl Responses {
    fn new() -> Self {
        Self {
            usual: response(1 << 10),
            large: response(64 << 10),
            huge: response(1 << 20),
        }
    }

    fn to(&self, request: &[u8]) -> &[u8] {
        if request.starts_with(b"GET /64k ") {
            &self.large
        } else if request.starts_with(b"GET /1m ") {
            &self.huge
        } else {
            &self.usual
        }
    }
}

fn response(length: usize) -> Vec<u8> {
    let mut response = format!(
        "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: backend\r\n\
         content-type: text/html; charset=utf-8\r\ncache-control: max-age=60\r\n\
         etag: \"5f3c-1b2a\"\r\ncontent-length: {length}\r\n\r\n"
    )
    .into_bytes();
    response.resize(response.len() + length, b'x');
    response
}

/// Answers one connection. Proxies neither pipeline nor send a body after a GET, so a head is the end of what was read.
async fn answer(mut stream: TcpStream, responses: &Responses) {
    let mut request = Vec::with_capacity(4 << 10);
    while stream
        .read_buf(&mut request)
        .await
        .is_ok_and(|count| count > 0)
    {
        if request.ends_with(b"\r\n\r\n") {
            if stream.write_all(responses.to(&request)).await.is_err() {
                return;
            }
            request.clear();
        }
    }
}
