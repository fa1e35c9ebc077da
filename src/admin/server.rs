//! The sockets of the admin API.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::api::{Via, answer};
use super::{Config, Handlers};

/// The admin sockets, bound and not yet served.
#[derive(Debug)]
pub struct Bound {
    unix: Option<(UnixListener, PathBuf)>,
    tcp: Option<TcpListener>,
    trouble: Option<String>,
}

/// Why the admin API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Something that is not a socket stands where ours should be.
    #[error("{path} exists and is not a socket; move it away or choose another admin socket", path = .0.display())]
    NotASocket(PathBuf),
    /// Another process answers there.
    #[error("another process is listening on {path}", path = .0.display())]
    Taken(PathBuf),
    /// A unix socket's path must be short.
    #[error("{path} is longer than the {MAX_PATH} bytes that a unix socket's path may have; choose a shorter state directory or admin socket", path = .0.display())]
    TooLong(PathBuf),
    /// The socket could not be made.
    #[error("cannot listen on {path}: {source}", path = path.display())]
    Unix {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The TCP address could not be bound.
    #[error("cannot listen on {address} for the admin API: {source}")]
    Tcp {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// `sun_path` has 108 bytes, the closing zero included.
const MAX_PATH: usize = 107;

/// Binds the admin sockets.
///
/// # Errors
/// When one cannot be had. A socket left by a process that died is replaced.
pub async fn listen(config: &Config) -> Result<Bound, ListenError> {
    let tcp = match config.listen {
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            Some(bound.map_err(|source| ListenError::Tcp { address, source })?)
        }
        None => None,
    };
    match listen_on_socket(&config.socket).await {
        Ok(unix) => Ok(Bound {
            unix: Some((unix, config.socket.clone())),
            tcp,
            trouble: None,
        }),
        // A directory that cannot be written: the loopback address will do, if there is one.
        Err(error @ ListenError::Unix { .. }) if tcp.is_some() => Ok(Bound {
            unix: None,
            tcp,
            trouble: Some(error.to_string()),
        }),
        Err(error) => Err(error),
    }
}

async fn listen_on_socket(path: &Path) -> Result<UnixListener, ListenError> {
    if path.as_os_str().len() > MAX_PATH {
        return Err(ListenError::TooLong(path.to_owned()));
    }
    remove_stale(path).await?;
    let failed = |source| ListenError::Unix {
        path: path.to_owned(),
        source,
    };
    let unix = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(unix)
}

async fn remove_stale(path: &Path) -> Result<(), ListenError> {
    // Not following links: one planted here must not make us remove or use what it points to.
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(ListenError::NotASocket(path.to_owned()));
    }
    if UnixStream::connect(path).await.is_ok() {
        return Err(ListenError::Taken(path.to_owned()));
    }
    fs::remove_file(path).map_err(|source| ListenError::Unix {
        path: path.to_owned(),
        source,
    })
}

/// Connections served at a time; more wait.
const MAX_CONNECTIONS: usize = 64;
/// For a request's head to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

impl Bound {
    /// The TCP address, when there is one.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok())
    }

    /// Why there is no unix socket, though there should be one.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    /// Serves until dropped.
    pub async fn serve(self, handlers: Handlers) {
        let Self {
            unix,
            tcp,
            trouble: _,
        } = self;
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let loopback = async {
            match tcp {
                Some(tcp) => accept_tcp(tcp, &handlers, &slots).await,
                None => std::future::pending().await,
            }
        };
        let socket = async {
            match unix {
                Some((unix, path)) => {
                    let _remove = RemoveSocket(path);
                    accept_unix(unix, &handlers, &slots).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::join!(socket, loopback);
    }
}

/// Removes the socket's file when the API is no longer served.
struct RemoveSocket(PathBuf);

impl Drop for RemoveSocket {
    fn drop(&mut self) {
        // It may be gone already; a stale one is replaced at the next start anyway.
        drop(fs::remove_file(&self.0));
    }
}

async fn accept_unix(listener: UnixListener, handlers: &Handlers, slots: &Arc<Semaphore>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if is_allowed(&stream) => {
                start(stream, Via::Socket, handlers, slots).await;
            }
            Ok(_) => tracing::warn!("another user's connection to the admin socket was refused"),
            Err(error) => pause(&error).await,
        }
    }
}

async fn accept_tcp(listener: TcpListener, handlers: &Handlers, slots: &Arc<Semaphore>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => start(stream, Via::Loopback, handlers, slots).await,
            Err(error) => pause(&error).await,
        }
    }
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "an admin connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// The file's mode already keeps others out; this also holds where the directory was shared by mistake.
fn is_allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn start<S>(stream: S, via: Via, handlers: &Handlers, slots: &Arc<Semaphore>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
        return;
    };
    let handlers = handlers.clone();
    tokio::spawn(async move {
        let service = service_fn(|request| {
            let handlers = handlers.clone();
            async move { Ok::<_, Infallible>(answer(handlers, via, request).await) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_headers(64)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "an admin connection ended");
        }
        drop(slot);
    });
}
