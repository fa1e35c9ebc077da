//! A client that sends exactly the bytes it is told to.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::daemon::DEADLINE;
use crate::wire::{Message, Reader};

/// A connection to the daemon.
pub(crate) struct Client<S = TcpStream> {
    reader: Reader<S>,
    socket: TcpStream,
    /// Statuses of interim responses seen so far.
    pub(crate) interim: Vec<u16>,
}

impl Client<TcpStream> {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = dial(address);
        Self::over(socket.try_clone().expect("a socket can be cloned"), socket)
    }

    /// A connection whose receive buffer is as small as the system allows.
    pub(crate) fn connect_narrow(address: SocketAddr) -> Self {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("it takes a size");
        socket.connect(&address.into()).expect("it connects");
        let socket = patient(socket.into());
        Self::over(socket.try_clone().expect("a socket can be cloned"), socket)
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn over(stream: S, socket: TcpStream) -> Self {
        Self {
            reader: Reader::new(stream),
            socket,
            interim: Vec::new(),
        }
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let stream = self.reader.get_mut();
        stream.write_all(bytes.as_ref()).expect("bytes are taken");
        stream.flush().expect("bytes are taken");
    }

    /// Sends bytes for as long as they are taken; how many were.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.reader.get_mut().write(&bytes[sent..]) {
                Ok(count @ 1..) => sent += count,
                Ok(_) | Err(_) => break,
            }
        }
        sent
    }

    /// Sends a GET and gives its response.
    pub(crate) fn get(&mut self, path: &str) -> Message {
        self.send(get(path));
        self.response()
    }

    /// The next final response.
    pub(crate) fn response(&mut self) -> Message {
        self.try_response("GET").expect("a response comes")
    }

    /// The next final response to a request with this method.
    pub(crate) fn response_to(&mut self, method: &str) -> Message {
        self.try_response(method).expect("a response comes")
    }

    /// The next final response; `None` when the connection ends first.
    pub(crate) fn try_response(&mut self, method: &str) -> Option<Message> {
        let mut message = self.reader.head()?;
        while (100..200).contains(&message.status()) && message.status() != 101 {
            self.interim.push(message.status());
            message = self.reader.head()?;
        }
        if method == "HEAD" || matches!(message.status(), 101 | 204 | 304) {
            message.whole = true;
        } else {
            self.reader.body(&mut message, true);
        }
        Some(message)
    }

    /// The head of the next response.
    pub(crate) fn head(&mut self) -> Message {
        self.reader.head().expect("a response begins")
    }

    /// The body that follows a head.
    pub(crate) fn body(&mut self, message: &mut Message) {
        self.reader.body(message, true);
    }

    /// So many bytes, or all there were.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        self.reader.take(count)
    }

    /// What still comes until the connection ends.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.reader.rest()
    }

    /// Says that nothing more will be sent.
    pub(crate) fn half_close(&mut self) {
        self.socket.shutdown(Shutdown::Write).expect("it is open");
    }

    /// Breaks the connection off.
    pub(crate) fn reset(self) {
        let linger = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
        linger.expect("a socket lingers");
    }
}

/// A TCP connection that waits no longer than the deadline.
pub(crate) fn dial(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect_timeout(&address, DEADLINE).expect("it connects"))
}

pub(crate) fn patient(socket: TcpStream) -> TcpStream {
    socket.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    socket
        .set_write_timeout(Some(DEADLINE))
        .expect("a deadline");
    socket.set_nodelay(true).expect("no delay");
    socket
}

/// A GET's head.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n\r\n")
}

/// A POST with a body of known length.
pub(crate) fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: shop.test\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// A request's head from its lines, the Host among them.
pub(crate) fn lines(first: &str, fields: &[&str]) -> String {
    let mut text = format!("{first}\r\nhost: shop.test\r\n");
    for field in fields {
        text.push_str(field);
        text.push_str("\r\n");
    }
    text + "\r\n"
}
