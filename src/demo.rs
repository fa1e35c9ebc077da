//! A whole incident in two minutes: real upstreams, real sockets, a real store, and a bad deploy with its rollback.
//!
//! Nothing of Vestibule is played here. The same daemon that `run` starts stands in front of three small services on
//! loopback; a client sends them requests at a fixed rate, whatever comes back; and a script does what a deploy
//! pipeline would: it puts a new version of one service live, tells Vestibule through the admin API, and later rolls
//! it back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::app::{self, Options as AppOptions, RunError, Signal};
use crate::config::{self, Resolved};
use crate::net::address::Address;
use crate::snapshot::Snapshot;
use crate::telemetry;
use crate::tui;

mod headless;
mod load;
mod script;
mod service;

use service::Service;

/// How the demo is run.
#[derive(Debug)]
pub struct Options {
    /// One line per change instead of the full screen.
    pub headless: bool,
    /// Stop after this many seconds.
    pub seconds: Option<u64>,
    /// Keep state here; `None`: in a directory that is removed at the end.
    pub state_dir: Option<PathBuf>,
}

/// Why a demo ended early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Something of the machine: a directory, a socket, a thread.
    #[error("the demo cannot start: {0}")]
    Io(#[from] io::Error),
    /// The daemon.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The terminal.
    #[error(transparent)]
    Screen(#[from] tui::Error),
}

/// Runs the demo until it is left, or its seconds are over.
///
/// # Errors
/// When it cannot start, or the terminal cannot be used.
pub fn run(options: Options) -> Result<(), DemoError> {
    let state = State::new(options.state_dir)?;
    if options.headless {
        // Standard output is the demo's own; standard error is for trouble only.
        telemetry::to_stderr_from("warn");
    } else {
        telemetry::to_file(File::create(state.dir.join("vestibule.log"))?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(play(
        &state.dir,
        options.headless,
        options.seconds.map(Duration::from_secs),
    ))
}

async fn play(dir: &Path, headless: bool, limit: Option<Duration>) -> Result<(), DemoError> {
    // From the beginning: whoever is told to end leaves nothing behind.
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let services = [
        Service::start("checkout", 2).await?,
        Service::start("catalog", 2).await?,
        Service::start("web", 1).await?,
    ];
    let resolved = configuration(&services, dir);
    let socket = resolved.admin.socket.clone();
    let (snapshots, watched) = watch::channel(None);
    let (tell, signals) = mpsc::channel(4);
    let mut daemon = tokio::spawn(app::run(AppOptions {
        resolved,
        reload: None,
        signals,
        snapshots,
    }));
    let Some(first) = first_snapshot(watched.clone(), &mut daemon).await? else {
        return Ok(());
    };
    let address = first
        .listeners
        .first()
        .map(|listener| listener.address.clone())
        .unwrap_or_default();
    let [checkout, ..] = &services;
    let tasks = [
        tokio::spawn(load::send(
            address.clone(),
            "shop.demo",
            "/checkout/pay",
            60,
        )),
        tokio::spawn(load::send(address.clone(), "shop.demo", "/", 90)),
        tokio::spawn(load::send(address, "api.demo", "/v1/catalog/items", 120)),
        tokio::spawn(script::play(
            checkout.clone(),
            Address::Socket(socket.clone()),
        )),
    ];
    let shown = async {
        if headless {
            headless::print(watched).await;
            Ok(())
        } else {
            let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let address = Address::Socket(socket);
            tui::run(tui::Config {
                address,
                ascii: false,
                no_color,
                light: false,
                evidence: PathBuf::from("."),
            })
            .await
        }
    };
    let over = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        shown = shown => shown.map_err(DemoError::from),
        () = over => Ok(()),
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
        stopped = &mut daemon => return Ok(joined(stopped)?),
    };
    for task in tasks {
        task.abort();
    }
    // Twice: the second does not wait for requests under way.
    tell.send(Signal::Stop).await.unwrap_or_default();
    tell.send(Signal::Stop).await.unwrap_or_default();
    joined(daemon.await)?;
    ended
}

fn joined(ended: Result<Result<(), RunError>, tokio::task::JoinError>) -> Result<(), RunError> {
    ended.unwrap_or_else(|error| Err(RunError::Thread(io::Error::other(error))))
}

async fn first_snapshot(
    mut watched: watch::Receiver<Option<Arc<Snapshot>>>,
    daemon: &mut JoinHandle<Result<(), RunError>>,
) -> Result<Option<Arc<Snapshot>>, DemoError> {
    tokio::select! {
        changed = watched.changed() => {
            changed.map_err(io::Error::other)?;
            Ok(watched.borrow_and_update().clone())
        }
        stopped = daemon => {
            joined(stopped)?;
            Ok(None)
        }
    }
}

/// The file that a user would have written.
fn configuration(services: &[Service; 3], dir: &Path) -> Resolved {
    let upstream = |service: &Service| {
        let endpoints: Vec<String> = service
            .addresses()
            .iter()
            .map(|address| format!("\"http://{address}\""))
            .collect();
        format!(
            "\n[[upstream]]\nname = \"{}\"\nendpoints = [{}]\n",
            service.name(),
            endpoints.join(", ")
        )
    };
    let text = [FILE.to_owned()]
        .into_iter()
        .chain(services.iter().map(upstream))
        .collect::<String>();
    let mut resolved =
        config::parse("demo", &text, dir, &|_| None).expect("the demo's own file holds");
    resolved.override_state_dir(dir.to_owned());
    resolved
}

const FILE: &str = r#"
[instance]
name = "demo-edge"

[proxy]
workers = 1
drain = "1s"

[[listener]]
name = "http"
address = "127.0.0.1:0"

[[route]]
id = "shop-checkout"
hosts = ["shop.demo"]
path = "/checkout"
upstream = "checkout"
owner = "payments"

[[route]]
id = "shop-web"
hosts = ["shop.demo"]
upstream = "web"
owner = "storefront"

[[route]]
id = "api-catalog"
hosts = ["api.demo"]
path = "/v1/catalog"
upstream = "catalog"
owner = "catalog"

[[slo]]
id = "checkout-available"
route = "shop-checkout"
sli = "availability"
objective = "99.9%"

[[slo]]
id = "checkout-fast"
route = "shop-checkout"
sli = "latency"
under = "300ms"
objective = "95%"

[[slo]]
id = "web-available"
route = "shop-web"
sli = "availability"
objective = "99.9%"

[[slo]]
id = "catalog-available"
route = "api-catalog"
sli = "availability"
objective = "99.5%"

[[slo]]
id = "catalog-fast"
route = "api-catalog"
sli = "latency"
under = "100ms"
objective = "99%"
"#;

/// The state directory, removed at the end when it was made for the demo.
struct State {
    dir: PathBuf,
    ours: bool,
}

impl State {
    fn new(asked: Option<PathBuf>) -> io::Result<Self> {
        if let Some(dir) = asked {
            fs::create_dir_all(&dir)?;
            Ok(Self { dir, ours: false })
        } else {
            let dir = std::env::temp_dir().join(format!("vestibule-demo-{}", std::process::id()));
            fs::create_dir_all(&dir)?;
            Ok(Self { dir, ours: true })
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.ours {
            // What cannot be removed is in the system's directory for such things.
            drop(fs::remove_dir_all(&self.dir));
        }
    }
}
