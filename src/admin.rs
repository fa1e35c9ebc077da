//! The admin API: one HTTP interface for people, scripts and the terminal UI.
//!
//! Over a unix socket, readable by its owner alone, and when configured over loopback TCP. It only reads, except for
//! announcing a deploy, for silences and for renewing a certificate. What it answers is the [`Snapshot`], so nothing here can disagree with anything else.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /healthz` | 200 while the process lives |
//! | `GET /readyz` | 200 once it serves and measures, 503 while it starts or drains |
//! | `GET /v1/snapshot?routes=N` | everything, counted up to this moment |
//! | `GET /v1/snapshot?at=TIME` | everything as it was then, from the history; RFC 3339 or seconds since 1970 |
//! | `GET /v1/stream?routes=N` | the same as a line of JSON each second, until the reader leaves |
//! | `GET /v1/events?limit=N` | the newest events |
//! | `GET /v1/alerts` | every alert that is pending, firing or lately resolved |
//! | `GET /v1/slos`, `/v1/slos/ID` | every SLO; one in full, with what spent its budget |
//! | `GET /v1/probes/NAME/slots?limit=N` | how the probe's newest slots ended |
//! | `GET /v1/slos/ID/spending` | what spent the SLO's budget, from the history |
//! | `GET /v1/routes/ID/explanation` | what tells the route's bad and slow requests from the others, ranked |
//! | `POST /v1/deploys` | announces a deploy |
//! | `GET /v1/silences` | every silence in force |
//! | `POST /v1/silences` | begins one |
//! | `DELETE /v1/silences/ID` | ends one before its time |
//! | `POST /v1/certificates/NAME/renew` | has it issued anew, now |
//! | `POST /v1/certificates/NAME/preflight` | looks whether its authority would find what it asks for, and gives what each host came to |
//! | `GET /metrics` | everything for Prometheus, in the format that `Accept` prefers |
//! | `GET /probe?target=T&module=M` | runs a probe now; Prometheus text, as `blackbox_exporter` answers |

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::model::{Event, Timestamp};
use crate::slo::silence::{self, Silence, SilenceRefused, Wish};
use crate::snapshot::{PreflightView, ProbeSlotView, SloDetail, Snapshot, Spending};

mod api;
pub mod client;
mod server;

pub use server::{Bound, ListenError, listen};

/// Where the admin API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The unix socket.
    pub socket: PathBuf,
    /// A loopback TCP address as well.
    pub listen: Option<SocketAddr>,
}

/// Reads how the newest slots of the probe of this name ended, at most so many, newest first. Blocks; says in one line
/// why it could not.
pub type ReadSlots = Arc<dyn Fn(&str, u32) -> Result<Vec<ProbeSlotView>, String> + Send + Sync>;

/// Makes the metrics page for a reader that sent this `Accept`, counted up to now; `None` while nothing is measured.
pub type ReadMetrics =
    Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Option<MetricsPage>> + Send>> + Send + Sync>;

/// A metrics page.
#[derive(Clone, Debug)]
pub struct MetricsPage {
    /// What it is written in.
    pub content_type: HeaderValue,
    /// The page.
    pub body: Bytes,
}

/// Runs the probe that a query asks for, within the scrape's timeout in seconds if the asker has one; gives a status and a
/// text.
pub type RunProbe = Arc<
    dyn Fn(String, Option<String>) -> Pin<Box<dyn Future<Output = (StatusCode, String)> + Send>>
        + Send
        + Sync,
>;

/// Has the certificate of this name renewed now; gives whether there is none of that name, and why it does not begin.
pub type Renew = Arc<
    dyn Fn(String) -> Pin<Box<dyn Future<Output = Result<(), (bool, String)>> + Send>>
        + Send
        + Sync,
>;

/// Looks now whether the authority of the certificate of this name would find what it asks for; gives whether there is none of that
/// name, and why that cannot be looked at.
pub type Preflight = Arc<
    dyn Fn(
            String,
        )
            -> Pin<Box<dyn Future<Output = Result<Vec<PreflightView>, (bool, String)>> + Send>>
        + Send
        + Sync,
>;

/// Reads what spent the budget of the SLO of this id, as the snapshot has it. Blocks; says in one line why it could not.
pub type ReadSpending = Arc<dyn Fn(&Snapshot, &str) -> Result<Spending, String> + Send + Sync>;

/// Puts together the snapshot of an earlier moment. Blocks; says in one line why it could not.
pub type ReadPast = Arc<dyn Fn(&Snapshot, Timestamp) -> Result<Snapshot, String> + Send + Sync>;

/// What the API is wired to.
#[derive(Clone)]
pub struct Handlers {
    /// The newest snapshot; `None` until there is one.
    pub snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// Asks for one counted up to this moment.
    pub refresh: mpsc::Sender<oneshot::Sender<Arc<Snapshot>>>,
    /// Takes deploys.
    pub deploys: mpsc::Sender<(Deploy, oneshot::Sender<Result<Event, DeployRefused>>)>,
    /// Takes silences and their ends.
    pub silences: mpsc::Sender<(
        SilenceCommand,
        oneshot::Sender<Result<Silence, SilenceRefused>>,
    )>,
    /// Gives one SLO in full, by its id.
    pub details: mpsc::Sender<(String, oneshot::Sender<Option<SloDetail>>)>,
    /// Reads how a probe's newest slots ended; blocks.
    pub slots: ReadSlots,
    /// Runs a probe.
    pub probe: RunProbe,
    /// Has a certificate renewed.
    pub renew: Renew,
    /// Looks whether a certificate could be renewed.
    pub preflight: Preflight,
    /// Reads what spent a budget; blocks.
    pub spending: ReadSpending,
    /// Looks back; blocks.
    pub past: ReadPast,
    /// Makes the metrics page.
    pub metrics: ReadMetrics,
    /// Whether traffic is taken.
    pub ready: watch::Receiver<bool>,
}

/// A deploy as announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deploy {
    /// The upstream that got a new version.
    pub upstream: String,
    /// The version, 1 to 64 characters.
    pub version: String,
    /// Who or what deployed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// For how many seconds tickets about the upstream's routes are muted and what their SLOs spend is booked to the
    /// deploy; `None`: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_s: Option<u64>,
}

/// What is asked about silences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SilenceCommand {
    /// Begin one.
    Add(Wish),
    /// End the one of this id.
    Expire(String),
}

/// Why a deploy was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeployRefused {
    /// There is no such upstream.
    #[error("there is no upstream `{name}`; there are: {known}")]
    UnknownUpstream {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A text is empty or too long.
    #[error("{0} must have 1 to 64 characters")]
    Length(&'static str),
    /// The window is too short or too long.
    #[error("a deploy's window lasts from a minute to an hour")]
    WindowLength,
    /// No route leads to the upstream.
    #[error("no route leads to `{0}`, so a window would mute nothing")]
    NoRoutes(String),
    /// There are too many silences.
    #[error(transparent)]
    Window(SilenceRefused),
}

impl Deploy {
    /// Whether its texts have a sensible length.
    ///
    /// # Errors
    /// Naming the first that has not.
    pub fn check(&self) -> Result<(), DeployRefused> {
        let fits = |text: &str| (1..=64).contains(&text.chars().count());
        if !fits(&self.version) {
            return Err(DeployRefused::Length("version"));
        }
        if self.by.as_deref().is_some_and(|by| !fits(by)) {
            return Err(DeployRefused::Length("by"));
        }
        let allowed = silence::SHORTEST..=silence::LONGEST_WINDOW;
        let lasts = self.window_s.map(Duration::from_secs);
        if lasts.is_some_and(|lasts| !allowed.contains(&lasts)) {
            return Err(DeployRefused::WindowLength);
        }
        Ok(())
    }
}
