//! The service behind the proxy: does what the path asks for.
//!
//! | path | answer |
//! | --- | --- |
//! | `/fail` | 500 |
//! | `/delay/MS` | 200 after so many milliseconds |
//! | `/drip/N/MS` | N chunks of 1 KiB, so many milliseconds apart |
//! | `/echo` | what was sent |
//! | `/socket` | 101, then every byte back |
//! | anything else | 200 with the service's name, or 500 while it is broken |

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// A service on a port of its own. Its threads end with their connections.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    name: String,
    broken: AtomicBool,
    gone: AtomicBool,
    requests: AtomicU64,
}

impl Origin {
    pub(crate) fn start(name: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State {
            name: name.to_owned(),
            ..State::default()
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.gone.load(Ordering::SeqCst) {
                    break;
                }
                let shared = Arc::clone(&shared);
                if let Ok(stream) = stream {
                    // A connection that the proxy closes is its business.
                    thread::spawn(move || drop(serve(&stream, &shared)));
                }
            }
        });
        Self { address, state }
    }

    /// Answers 500 to everything from now on, or no longer.
    pub(crate) fn set_broken(&self, broken: bool) {
        self.state.broken.store(broken, Ordering::SeqCst);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.state.gone.store(true, Ordering::SeqCst);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(stream: &TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut out) = (BufReader::new(stream), stream);
    loop {
        let Some((path, length, chunked)) = head(&mut reader)? else {
            return Ok(());
        };
        state.requests.fetch_add(1, Ordering::SeqCst);
        let mut body = Vec::new();
        if chunked {
            while let Some(mut chunk) = chunk(&mut reader)? {
                body.append(&mut chunk);
            }
        } else {
            body.resize(length, 0);
            reader.read_exact(&mut body)?;
        }
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let millis = |text: &str| Duration::from_millis(text.parse().unwrap_or(0));
        match parts[..] {
            ["fail"] => answer(&mut out, "500 Internal Server Error", b"no")?,
            ["delay", pause] => {
                thread::sleep(millis(pause));
                answer(&mut out, "200 OK", b"late")?;
            }
            ["drip", count, pause] => {
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                out.write_all(head.as_bytes())?;
                for _ in 0..count.parse().unwrap_or(0) {
                    let mut chunk = b"400\r\n".to_vec();
                    chunk.extend([b'x'; 1_024]);
                    chunk.extend(b"\r\n");
                    out.write_all(&chunk)?;
                    thread::sleep(millis(pause));
                }
                out.write_all(b"0\r\n\r\n")?;
            }
            ["echo"] => answer(&mut out, "200 OK", &body)?,
            ["socket"] => {
                let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                out.write_all(head.as_bytes())?;
                io::copy(&mut reader, &mut out)?;
                return Ok(());
            }
            _ if state.broken.load(Ordering::SeqCst) => {
                answer(&mut out, "500 Internal Server Error", b"broken")?;
            }
            _ => answer(&mut out, "200 OK", state.name.as_bytes())?,
        }
    }
}

/// The path, the body's length and whether it comes in chunks; `None` when the connection is over.
fn head(reader: &mut impl BufRead) -> io::Result<Option<(String, usize, bool)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut length, mut chunked) = (0, false);
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let header = line.trim_end().to_ascii_lowercase();
        match header.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().unwrap_or(0),
            Some(("transfer-encoding", _)) => chunked = true,
            Some(_) => {}
            None => break,
        }
    }
    Ok(Some((path, length, chunked)))
}

fn chunk(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
    let mut chunk = vec![0; length + 2];
    reader.read_exact(&mut chunk)?;
    chunk.truncate(length);
    Ok((length > 0).then_some(chunk))
}

fn answer(out: &mut impl Write, status: &str, body: &[u8]) -> io::Result<()> {
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    out.write_all(&bytes)
}
