//! A certificate that nobody renews: overdue, ticket, page, end, and what its renewal puts right.
//!
//! The certificate is real and short-lived, made by an authority of its own. A probe shakes hands every second as a client
//! would, and an SLO counts it. After the end a renewed pair is put in place and read by a reload; nothing restarts.

use std::fs::{self, DirBuilder, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use time::OffsetDateTime;

use super::{Expectation, GamedayError, Moment, Stage, Timeline};
use crate::app::{Reload, Signal};
use crate::cert::expiry::Deadlines;
use crate::clock::{Clock as _, SystemClock};
use crate::config;
use crate::model::Timestamp;
use crate::snapshot::{Snapshot, Standing, Urgency};
use crate::telemetry;

/// Its name on the command line.
pub const NAME: &str = "tls-expiry";

/// How it is held.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long the certificate lives: 20 s to an hour.
    pub life: Duration,
    /// Keep state and log here; `None`: in a directory that is removed at the end.
    pub state_dir: Option<PathBuf>,
}

const HOST: &str = "shop.gameday";
const PROBE: &str = "shop-handshake";

/// Holds it, telling each moment as it comes.
///
/// # Errors
/// When it cannot be held. That something did not come as expected is in the timeline.
pub fn run(options: &Options, tell: &mut dyn FnMut(&Moment)) -> Result<Timeline, GamedayError> {
    let dir = match &options.state_dir {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir().join(format!("vestibule-gameday-{}", std::process::id())),
    };
    if options.state_dir.is_some() {
        fs::create_dir_all(&dir)?;
    } else {
        // Nobody else's: keys are kept there.
        DirBuilder::new().mode(0o700).create(&dir)?;
    }
    telemetry::to_file(File::create(dir.join("vestibule.log"))?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let held = runtime.block_on(hold(options.life, &dir, tell));
    if options.state_dir.is_none() {
        // What cannot be removed is left for the system to tidy up.
        drop(fs::remove_dir_all(&dir));
    }
    held
}

/// Places of the expectations.
const WARN: usize = 0;
const TICKET: usize = 1;
const PAGE: usize = 2;
const EXPIRED: usize = 3;
const BURN: usize = 4;
const RENEWED: usize = 5;
const WELL: usize = 6;

async fn hold(
    life: Duration,
    dir: &Path,
    tell: &mut dyn FnMut(&Moment),
) -> Result<Timeline, GamedayError> {
    let clock = SystemClock::new();
    let authority = Authority::new()?;
    fs::write(dir.join("ca.pem"), authority.own.pem())?;
    // Certificates count in whole seconds.
    let begins = Timestamp::from_secs(clock.now().as_secs());
    let ends = begins.plus(life);
    authority.vouch(dir, begins, ends)?;
    let file = dir.join("vestibule.toml");
    // The probe has to know the port before anybody listens.
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    fs::write(&file, configuration(address))?;
    fs::create_dir_all(dir.join("probes"))?;
    fs::write(dir.join("probes/shop.toml"), probe_file(address))?;
    let load = move || config::load(&file).map_err(|report| report.render(false));
    let resolved = load().map_err(GamedayError::Preparation)?;
    let mut timeline = expected(clock.now(), life, ends);
    let reload: Reload = Box::new(load);
    let mut stage = Stage::start(resolved, Some(reload));
    // For as long as the SLO is to burn, so that it can be seen.
    let renew_at = ends.plus((life / 6).max(Duration::from_secs(5)));
    let give_up_at = renew_at.plus(Duration::from_secs(30));
    let mut is_renewed = false;
    loop {
        let snapshot = stage.next(&mut timeline, tell).await?;
        let now = snapshot.at;
        watch(&mut timeline, &snapshot, is_renewed);
        if !is_renewed && now >= renew_at {
            is_renewed = true;
            authority.vouch(dir, begins, now.plus(Duration::from_secs(90 * 86_400)))?;
            let moment = Moment {
                at: now,
                text: "a renewed certificate is in place; reloading".to_owned(),
            };
            tell(&moment);
            timeline.moments.push(moment);
            stage.signal(Signal::Reload).await;
        }
        if timeline.expectations[WELL].seen_at.is_some() || now >= give_up_at {
            break;
        }
    }
    stage.stop().await;
    timeline.judge(clock.now());
    Ok(timeline)
}

fn expected(now: Timestamp, life: Duration, ends: Timestamp) -> Timeline {
    let about = format!(
        "A certificate that lives for {} and that nobody renews in time, on a real listener; a probe shakes hands \
         every second, and an SLO of 99 % counts it. It is renewed after its end, by a reload.",
        humantime::format_duration(life)
    );
    let mut timeline = Timeline::begun(NAME, about, now);
    let life_ms = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
    let deadlines = Deadlines::of(life_ms);
    let left = |ms: u64| ends.minus(Duration::from_millis(ms));
    // Looked at once in a sixtieth of the life, at least each second, and judged each second.
    let tolerance = Duration::from_secs(3).max(life / 30);
    timeline.expectations = vec![
        Expectation::at(
            "warn: the renewal is overdue",
            left(deadlines.warn_ms),
            tolerance,
        ),
        Expectation::at("ticket", left(deadlines.ticket_ms), tolerance),
        Expectation::at("page", left(deadlines.page_ms), tolerance),
        Expectation::at("handshakes fail as `tls_expired`", ends, tolerance),
        Expectation::next("the SLO burns"),
        Expectation::next("after the renewal, handshakes succeed, in the same process"),
        Expectation::next("nothing is said of certificates any more"),
    ];
    timeline
}

/// Looks for what is expected.
fn watch(timeline: &mut Timeline, snapshot: &Snapshot, is_renewed: bool) {
    let at = snapshot.at;
    let worst = snapshot
        .certificate_alerts
        .iter()
        .map(|it| it.urgency)
        .max();
    match worst {
        Some(Urgency::Warn) => drop(timeline.saw(WARN, at)),
        Some(Urgency::Ticket) => drop(timeline.saw(TICKET, at)),
        Some(Urgency::Page) => drop(timeline.saw(PAGE, at)),
        None => {}
    }
    let probe = snapshot.probes.iter().find(|probe| probe.name == PROBE);
    let reason = probe.and_then(|probe| probe.last.as_ref()?.reason.as_deref());
    if reason == Some("tls_expired") {
        timeline.saw(EXPIRED, at);
    }
    let burns = snapshot.slos.iter().flat_map(|slo| slo.burn.values());
    let burn = burns.flatten().copied().fold(0.0, f64::max);
    if burn > 1.0 && timeline.saw(BURN, at) {
        timeline.moments.push(Moment {
            at,
            text: format!("the SLO burns {burn:.0} times too fast"),
        });
    }
    let started = timeline.began_at.minus(Duration::from_secs(60));
    if is_renewed && probe.is_some_and(|probe| probe.standing == Standing::Ok) {
        if snapshot.started_at >= started {
            timeline.saw(RENEWED, at);
        }
        if worst.is_none() && timeline.expectations[RENEWED].seen_at.is_some() {
            timeline.saw(WELL, at);
        }
    }
}

fn configuration(address: SocketAddr) -> String {
    format!(
        "[instance]\nname = \"gameday\"\n\
         [proxy]\nworkers = 1\n\
         [probes]\ndir = \"probes\"\n\
         [[listener]]\nname = \"https\"\naddress = \"{address}\"\ncertificates = [\"shop\"]\n\
         [[certificate]]\nname = \"shop\"\nchain_file = \"shop.pem\"\nkey_file = \"shop-key.pem\"\n\
         [[upstream]]\nname = \"shop\"\n\
         [[route]]\nid = \"shop\"\nhosts = [\"{HOST}\"]\nupstream = \"shop\"\n\
         [[slo]]\nid = \"shop-reachable\"\nroute = \"shop\"\nsli = \"probe\"\nprobe = \"{PROBE}\"\nobjective = \"99%\"\n"
    )
}

fn probe_file(address: SocketAddr) -> String {
    format!(
        "[[probe]]\nname = \"{PROBE}\"\ntarget = \"tls://{address}\"\nroute = \"shop\"\nevery = \"1s\"\ntimeout = \"900ms\"\n\
         tls.server_name = \"{HOST}\"\ntls.roots_file = \"../ca.pem\"\n"
    )
}

/// Who vouches for the shop.
struct Authority {
    own: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Result<Self, GamedayError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "Game day");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(prepared)?;
        let own = params.self_signed(&key).map_err(prepared)?;
        Ok(Self {
            own,
            issuer: Issuer::new(params, key),
        })
    }

    /// Writes a certificate that lives from `begins` until `ends`, and its key.
    fn vouch(&self, dir: &Path, begins: Timestamp, ends: Timestamp) -> Result<(), GamedayError> {
        let date = |at: Timestamp| {
            let secs = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
            OffsetDateTime::from_unix_timestamp(secs).map_err(prepared)
        };
        let mut params = CertificateParams::new([HOST.to_owned()]).map_err(prepared)?;
        params.not_before = date(begins)?;
        // The last second counts (RFC 5280, 4.1.2.5).
        params.not_after = date(ends.minus(Duration::from_secs(1)))?;
        let key = KeyPair::generate().map_err(prepared)?;
        let signed = params.signed_by(&key, &self.issuer).map_err(prepared)?;
        fs::write(dir.join("shop-key.pem"), key.serialize_pem())?;
        fs::write(dir.join("shop.pem"), signed.pem())?;
        Ok(())
    }
}

fn prepared(error: impl std::fmt::Display) -> GamedayError {
    GamedayError::Preparation(error.to_string())
}
