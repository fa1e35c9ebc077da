//! A certificate that nobody renews: overdue, ticket, page, end, and what its renewal puts right.
//!
//! The certificate is real and short-lived, on a real listener. A probe shakes hands every second as a client would, and an
//! SLO counts it. `files` makes it itself and puts a renewed one in place after the end; `acme` has it issued by an
//! authority, renewed under load for a while, and then stands between the two. Nothing restarts.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Expectation, GamedayError, Moment, Scratch, Timeline};
use crate::cert::expiry::Deadlines;
use crate::model::Timestamp;
use crate::snapshot::{Snapshot, Standing, Urgency};
use crate::telemetry;

mod acme;
mod files;

pub use acme::Authority;

/// Its name on the command line.
pub const NAME: &str = "tls-expiry";

/// How it is held.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who makes the certificate.
    pub made: Made,
    /// Keep state and log here; `None`: in a directory that is removed at the end.
    pub state_dir: Option<PathBuf>,
}

/// Who makes the certificate.
#[derive(Clone, Debug)]
pub enum Made {
    /// The game day itself; it lives for 20 s to an hour.
    Here(Duration),
    /// An authority that speaks ACME.
    By(Authority),
}

/// What it is for when nobody says.
pub const HOST: &str = "shop.gameday";
const PROBE: &str = "shop-handshake";

/// Holds it, telling each moment as it comes.
///
/// # Errors
/// When it cannot be held. That something did not come as expected is in the timeline.
pub fn run(options: &Options, tell: &mut dyn FnMut(&Moment)) -> Result<Timeline, GamedayError> {
    let scratch = Scratch::make(options.state_dir.as_deref())?;
    telemetry::to_file(File::create(scratch.dir.join("vestibule.log"))?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    match &options.made {
        Made::Here(life) => local.block_on(&runtime, files::hold(*life, &scratch.dir, tell)),
        Made::By(authority) => local.block_on(&runtime, acme::hold(authority, &scratch.dir, tell)),
    }
}

/// Where the expectations of the end stand in a timeline.
#[derive(Clone, Copy, Debug)]
struct Places {
    first: usize,
}

impl Places {
    const fn warn(self) -> usize {
        self.first
    }
    const fn ticket(self) -> usize {
        self.first + 1
    }
    const fn page(self) -> usize {
        self.first + 2
    }
    const fn expired(self) -> usize {
        self.first + 3
    }
    const fn burn(self) -> usize {
        self.first + 4
    }
    const fn renewed(self) -> usize {
        self.first + 5
    }
    const fn well(self) -> usize {
        self.first + 6
    }
}

/// What is expected of a certificate that nobody renews, in order.
fn expectations() -> Vec<Expectation> {
    [
        "warn: the renewal is overdue",
        "ticket",
        "page",
        "handshakes fail as `tls_expired`",
        "the SLO burns",
        "after the renewal, handshakes succeed, in the same process",
        "nothing is said of certificates any more",
    ]
    .map(Expectation::next)
    .into()
}

/// Says when that is expected of a certificate that lives for `life`, until `ends`.
fn expect(timeline: &mut Timeline, places: Places, life: Duration, ends: Timestamp) {
    let life_ms = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
    let deadlines = Deadlines::of(life_ms);
    // Looked at once in a sixtieth of the life, at least each second, and judged each second.
    let tolerance = Duration::from_secs(3).max(life / 30);
    for (place, left_ms) in [
        (places.warn(), deadlines.warn_ms),
        (places.ticket(), deadlines.ticket_ms),
        (places.page(), deadlines.page_ms),
        (places.expired(), 0),
    ] {
        let at = ends.minus(Duration::from_millis(left_ms));
        timeline.expectations[place].expect(at, tolerance);
    }
}

/// Looks for what is expected.
fn watch(timeline: &mut Timeline, places: Places, snapshot: &Snapshot, is_renewed: bool) {
    let at = snapshot.at;
    // By what its end says: that a renewal fails is told earlier, and of another kind. And of what is shown now: a probe may
    // have seen the one before it.
    let shown = snapshot.certificates.iter();
    let shown = shown.filter(|it| it.source == "listener");
    let ending = shown.filter(|it| matches!(it.kind.as_deref(), Some("expiry" | "expired")));
    match ending.filter_map(|it| it.urgency).max() {
        Some(Urgency::Warn) => drop(timeline.saw(places.warn(), at)),
        Some(Urgency::Ticket) => drop(timeline.saw(places.ticket(), at)),
        Some(Urgency::Page) => drop(timeline.saw(places.page(), at)),
        None => {}
    }
    let probe = snapshot.probes.iter().find(|probe| probe.name == PROBE);
    let reason = probe.and_then(|probe| probe.last.as_ref()?.reason.as_deref());
    if reason == Some("tls_expired") {
        timeline.saw(places.expired(), at);
    }
    let burns = snapshot.slos.iter().flat_map(|slo| slo.burn.values());
    let burn = burns.flatten().copied().fold(0.0, f64::max);
    if burn > 1.0 && timeline.saw(places.burn(), at) {
        timeline.moments.push(Moment {
            at,
            text: format!("the SLO burns {burn:.0} times too fast"),
        });
    }
    let started = timeline.began_at.minus(Duration::from_secs(60));
    if is_renewed && probe.is_some_and(|probe| probe.standing == Standing::Ok) {
        if snapshot.started_at >= started {
            timeline.saw(places.renewed(), at);
        }
        let is_well = snapshot.certificate_alerts.is_empty();
        if is_well && timeline.expectations[places.renewed()].seen_at.is_some() {
            timeline.saw(places.well(), at);
        }
    }
}

/// What is counted.
fn promise() -> String {
    format!(
        "[probes]\ndir = \"probes\"\n\
         [[slo]]\nid = \"shop-reachable\"\nroute = \"shop\"\nsli = \"probe\"\nprobe = \"{PROBE}\"\nobjective = \"99%\"\n"
    )
}

/// Shakes hands as a client would, and trusts what is in `ca.pem`.
fn probe_file(address: SocketAddr, host: &str) -> String {
    let host = toml::Value::from(host);
    format!(
        "[[probe]]\nname = \"{PROBE}\"\ntarget = \"tls://{address}\"\nroute = \"shop\"\nevery = \"1s\"\ntimeout = \"900ms\"\n\
         tls.server_name = {host}\ntls.roots_file = \"../ca.pem\"\n"
    )
}

fn prepared(error: impl std::fmt::Display) -> GamedayError {
    GamedayError::Preparation(error.to_string())
}
