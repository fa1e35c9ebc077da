//! Opening a connection, and saying exactly why it could not be opened.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::stream::Stream;

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name did not resolve.
    #[error("the name did not resolve: {0}")]
    Dns(#[source] io::Error),
    /// Refused.
    #[error("connection refused")]
    Refused,
    /// Unreachable, reset, out of descriptors, …
    #[error("failed to connect: {0}")]
    Failed(#[source] io::Error),
    /// The TLS handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
}

/// Where to connect to and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The TLS settings and the name to verify; `None`: plain text.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// Opens a connection: every address of the name is tried in turn. No timeout: the caller has one for the whole.
///
/// # Errors
/// Why the last address could not be connected to.
pub async fn connect(target: &Target) -> Result<Stream, ConnectError> {
    let tcp = match target.host.parse::<IpAddr>() {
        Ok(address) => dial(SocketAddr::new(address, target.port)).await?,
        Err(_) => dial_name(&target.host, target.port).await?,
    };
    let Some((config, name)) = &target.tls else {
        return Ok(Stream::Plain(tcp));
    };
    let connector = TlsConnector::from(Arc::clone(config));
    let tls = connector
        .connect(name.clone(), tcp)
        .await
        .map_err(ConnectError::Tls)?;
    Ok(Stream::Tls(Box::new(tls)))
}

async fn dial_name(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(ConnectError::Dns)?;
    let mut last = ConnectError::Dns(io::Error::new(io::ErrorKind::NotFound, "no address"));
    for address in addresses {
        match dial(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn dial(address: SocketAddr) -> Result<TcpStream, ConnectError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => ConnectError::Refused,
            _ => ConnectError::Failed(error),
        })?;
    // A request's head and its small body are two writes; they must not wait for each other's acknowledgement.
    stream.set_nodelay(true).map_err(ConnectError::Failed)?;
    Ok(stream)
}

/// Where a listener on `address` is reached from this machine.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
