//! The admin API.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the admin API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The unix socket.
    pub socket: PathBuf,
    /// A loopback TCP address as well.
    pub listen: Option<SocketAddr>,
}
