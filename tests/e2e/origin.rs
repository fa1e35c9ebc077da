//! An upstream that does what a script says, to the byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::SockRef;

use crate::daemon::DEADLINE;
use crate::wire::{Message, Reader};

/// An upstream.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    connections: AtomicUsize,
    bytes: AtomicUsize,
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    /// Whole requests and broken ones, in the order they ended.
    requests: Vec<Message>,
    /// Connections whose scripts have ended.
    ended: usize,
}

/// What follows a response.
pub(crate) enum Then {
    KeepOpen,
    Close,
}

impl Origin {
    /// Runs `script` over each connection.
    pub(crate) fn raw(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Self {
        Self::listen(None, script)
    }

    /// Answers each request by `script`.
    pub(crate) fn start(
        script: impl Fn(&Message, &mut Conn) -> Then + Send + Sync + 'static,
    ) -> Self {
        Self::listen(None, move |conn| serve(conn, &script))
    }

    /// Answers each request by `script`, over TLS.
    pub(crate) fn tls(
        config: Arc<ServerConfig>,
        script: impl Fn(&Message, &mut Conn) -> Then + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(config), move |conn| serve(conn, &script))
    }

    /// Answers every request with the same bytes and keeps the connection.
    pub(crate) fn answering(bytes: &'static str) -> Self {
        Self::start(move |_, conn| {
            conn.send(bytes);
            Then::KeepOpen
        })
    }

    /// Answers every request with `ok`.
    pub(crate) fn ok() -> Self {
        Self::answering(OK)
    }

    fn listen(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&mut Conn) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared::default());
        let (accepted, script) = (Arc::clone(&shared), Arc::new(script));
        thread::spawn(move || {
            for socket in listener.incoming() {
                if accepted.stopping.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(socket) = socket else { break };
                let number = accepted.connections.fetch_add(1, Ordering::SeqCst);
                let (shared, script, tls) =
                    (Arc::clone(&accepted), Arc::clone(&script), tls.clone());
                thread::spawn(move || {
                    if let Some(mut conn) = Conn::new(socket, tls, number, &shared) {
                        script(&mut conn);
                    }
                    shared.change(|seen| seen.ended += 1);
                });
            }
        });
        Self {
            address,
            scheme,
            shared,
        }
    }

    /// As an endpoint of an upstream.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Bytes that scripts have said they sent.
    pub(crate) fn counted(&self) -> usize {
        self.shared.bytes.load(Ordering::SeqCst)
    }

    /// The requests seen so far.
    pub(crate) fn requests(&self) -> Vec<Message> {
        lock(&self.shared.seen).requests.clone()
    }

    /// The one request seen so far.
    pub(crate) fn request(&self) -> Message {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }

    /// Waits until so many requests were seen.
    pub(crate) fn until_requests(&self, count: usize) -> Vec<Message> {
        let seen = self.until("requests", |seen| seen.requests.len() >= count);
        seen.requests.clone()
    }

    /// Waits until the scripts of so many connections have ended.
    pub(crate) fn until_ended(&self, count: usize) {
        drop(self.until("ended connections", |seen| seen.ended >= count));
    }

    fn until(&self, what: &str, wanted: impl Fn(&Seen) -> bool) -> MutexGuard<'_, Seen> {
        self.shared.until(what, wanted)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees that it is to stop.
        drop(TcpStream::connect(self.address));
    }
}

/// A port on which nobody listens, for as long as this lives.
pub(crate) struct Nobody(socket2::Socket);

impl Nobody {
    pub(crate) fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).expect("a free port");
        Self(socket)
    }

    pub(crate) fn url(&self) -> String {
        let address = self.0.local_addr().ok().and_then(|any| any.as_socket());
        format!("http://{}", address.expect("it has an address"))
    }
}

fn serve(conn: &mut Conn, script: &impl Fn(&Message, &mut Conn) -> Then) {
    while let Some(request) = conn.request() {
        if !request.whole {
            break;
        }
        match script(&request, conn) {
            Then::KeepOpen => {}
            Then::Close => break,
        }
    }
}

trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// One connection at the origin. Dropped, it is closed.
pub(crate) struct Conn {
    /// Counts up from 0 in the order of accepting.
    pub(crate) number: usize,
    reader: Reader<Box<dyn Stream>>,
    socket: TcpStream,
    shared: Arc<Shared>,
}

impl Conn {
    fn new(
        socket: TcpStream,
        tls: Option<Arc<ServerConfig>>,
        number: usize,
        shared: &Arc<Shared>,
    ) -> Option<Self> {
        socket.set_read_timeout(Some(DEADLINE)).ok()?;
        socket.set_write_timeout(Some(DEADLINE)).ok()?;
        socket.set_nodelay(true).ok()?;
        let kept = socket.try_clone().ok()?;
        let stream: Box<dyn Stream> = match tls {
            Some(config) => Box::new(StreamOwned::new(
                ServerConnection::new(config).ok()?,
                socket,
            )),
            None => Box::new(socket),
        };
        Some(Self {
            number,
            reader: Reader::new(stream),
            socket: kept,
            shared: Arc::clone(shared),
        })
    }

    /// The next request, noted; `None` at the connection's end.
    pub(crate) fn request(&mut self) -> Option<Message> {
        let mut message = self.reader.head()?;
        self.reader.body(&mut message, false);
        self.note(&message);
        Some(message)
    }

    /// The next request's head alone, noted.
    pub(crate) fn head(&mut self) -> Option<Message> {
        let message = self.reader.head()?;
        self.note(&message);
        Some(message)
    }

    fn note(&self, message: &Message) {
        self.shared
            .change(|seen| seen.requests.push(message.clone()));
    }

    /// Waits until so many requests were seen on all connections.
    pub(crate) fn until_requests(&self, count: usize) {
        drop(
            self.shared
                .until("requests", |seen| seen.requests.len() >= count),
        );
    }

    /// Sends bytes; whether they were taken.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let stream = self.reader.get_mut();
        stream.write_all(bytes.as_ref()).is_ok() && stream.flush().is_ok()
    }

    /// Notes that so many bytes were sent.
    pub(crate) fn count(&self, bytes: usize) {
        self.shared.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Gives back every byte until the other side is done.
    pub(crate) fn echo(&mut self) {
        loop {
            let bytes = self.reader.some();
            if bytes.is_empty() || !self.send(bytes) {
                break;
            }
        }
    }

    /// Reads and forgets until the other side is done.
    pub(crate) fn drain(&mut self) -> Vec<u8> {
        self.reader.rest()
    }

    /// Breaks the connection off. Nothing more can be sent.
    pub(crate) fn reset(&mut self) {
        let socket = SockRef::from(&self.socket);
        // What is dropped now is reset rather than closed.
        drop(socket.set_linger(Some(Duration::ZERO)));
    }
}

impl Shared {
    fn until(&self, what: &str, wanted: impl Fn(&Seen) -> bool) -> MutexGuard<'_, Seen> {
        let seen = lock(&self.seen);
        let (seen, wait) = self
            .changed
            .wait_timeout_while(seen, DEADLINE, |seen| !wanted(seen))
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            !wait.timed_out(),
            "too few {what} at the origin: {:?} requests, {} ended",
            seen.requests,
            seen.ended
        );
        seen
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut lock(&self.seen));
        self.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A plain good response.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
