//! What an open connection holds while nothing is asked on it.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use vestibule::net::tls::client_config;

use super::meter::resident;
use super::peer::Peer;

const CONNECTIONS: u64 = 2_000;

/// Opens that many connections to each peer, asks once on each, and says how much the peer grew. The peers are fresh: one
/// that had been under load would have the memory already.
pub(crate) fn measure(peers: impl Iterator<Item = Peer>) -> String {
    let mut text =
        format!("| bytes per idle connection, {CONNECTIONS} open | plain | TLS |\n|---|---|---|\n");
    for peer in peers {
        let plain = growth(&peer, || Client::Plain(connect(peer.plain)));
        let tls = growth(&peer, || {
            let config = client_config(None, true).unwrap();
            let session =
                ClientConnection::new(Arc::clone(&config), "localhost".try_into().unwrap());
            let stream = StreamOwned::new(session.unwrap(), connect(peer.tls));
            Client::Tls(Box::new(stream))
        });
        writeln!(text, "| {} | {plain} | {tls} |", peer.name).unwrap();
    }
    text
}

enum Client {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).unwrap()
}

fn growth(peer: &Peer, mut open: impl FnMut() -> Client) -> u64 {
    // What the first connection of a kind sets up once is not a connection's.
    let first: Vec<Client> = (0..20).map(|_| ask(open())).collect();
    std::thread::sleep(SETTLE);
    let before = resident(peer.id());
    let clients: Vec<Client> = (0..CONNECTIONS).map(|_| ask(open())).collect();
    std::thread::sleep(SETTLE);
    let grown = resident(peer.id()).saturating_sub(before);
    drop((first, clients));
    grown / CONNECTIONS
}

/// For what a proxy does once a second.
const SETTLE: Duration = Duration::from_millis(1_500);

fn ask(client: Client) -> Client {
    fn ask(stream: &mut (impl Read + Write)) {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        let mut piece = [0; 4_096];
        let complete = |answer: &[u8]| {
            let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
            head.is_some_and(|head| answer.len() >= head + 4 + 1_024)
        };
        while !complete(&answer) {
            let count = stream.read(&mut piece).unwrap();
            assert!(count > 0, "the connection was closed instead of answered");
            answer.extend_from_slice(&piece[..count]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    }
    match client {
        Client::Plain(mut stream) => {
            ask(&mut stream);
            Client::Plain(stream)
        }
        Client::Tls(mut stream) => {
            ask(&mut *stream);
            Client::Tls(stream)
        }
    }
}
