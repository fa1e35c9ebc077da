//! Binding the listening sockets: one per worker on the same address, the kernel spreads connections over them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// A listener bound for every worker.
#[derive(Debug)]
pub struct Bound {
    /// The listener's name.
    pub name: String,
    /// The address asked for; port 0 let the system choose.
    pub asked: SocketAddr,
    /// The address it has.
    pub address: SocketAddr,
    /// One socket per worker.
    pub sockets: Vec<TcpListener>,
}

/// Why an address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

/// Connections that wait to be accepted, per worker.
const BACKLOG: i32 = 4_096;

/// Binds `address` once per worker.
///
/// # Errors
/// When the address is taken or not ours.
pub fn bind(name: &str, address: SocketAddr, workers: usize) -> Result<Bound, BindError> {
    let failed = |source| BindError { address, source };
    // A plain socket first: SO_REUSEPORT would let us share the port with another process of the same user unnoticed.
    drop(socket(address, false).map_err(failed)?);
    let mut bound = address;
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers.max(1) {
        let socket: TcpListener = socket(bound, true).map_err(failed)?.into();
        bound = socket.local_addr().map_err(failed)?;
        sockets.push(socket);
    }
    Ok(Bound {
        name: name.to_owned(),
        asked: address,
        address: bound,
        sockets,
    })
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != SocketAddr::from(([0_u16; 8], 0)).ip())?;
    }
    // Accepted connections inherit it (Linux), which saves each of them the call: small responses must not wait for
    // the acknowledgement of earlier ones.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}
