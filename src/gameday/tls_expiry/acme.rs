//! With an authority that speaks ACME and issues short-lived certificates, like Pebble.
//!
//! First the renewals work, under load. Then the road between the authority and our plain listener is closed, as a firewall
//! would: renewals fail, and the certificate comes to its end. When the road is open again the daemon must find out by
//! itself. Nobody reloads anything then.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{Places, expect, expectations, prepared, probe_file, promise, watch};
use crate::app::{Reload, Signal};
use crate::clock::{Clock as _, SystemClock};
use crate::config;
use crate::gameday::load::Load;
use crate::gameday::road::Road;
use crate::gameday::{Expectation, GamedayError, Moment, Stage, Timeline};
use crate::model::{CertificateFacts, Timestamp};
use crate::snapshot::{IssuanceView, Snapshot, Standing};

/// Who issues, and how it is reached and reaches us.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The URL of its directory.
    pub directory: String,
    /// PEM roots that its directory is verified by; `None`: the system's.
    pub roots: Option<PathBuf>,
    /// The profile of its certificates; `None`: it chooses.
    pub profile: Option<String>,
    /// The host that is ordered.
    pub host: String,
    /// Where it looks for HTTP-01 answers of that host: an address of this machine.
    pub http: SocketAddr,
    /// How many renewals are waited for before anything is broken.
    pub renewals: u32,
}

/// The renewals come first.
const RENEWALS: usize = 0;
const PLACES: Places = Places { first: 1 };
/// For the first certificate, and for the probe to trust it.
const START: Duration = Duration::from_secs(120);
/// A certificate that lives for longer is nothing to wait for.
const LONGEST: Duration = Duration::from_secs(3_600);
/// For the daemon to find out that the road is open, beyond what it pauses after failures.
const MENDING: Duration = Duration::from_secs(60);
/// How often an authority may issue without asking before the game day gives up.
const MEMORIES: u64 = 3;

pub(super) async fn hold(
    authority: &Authority,
    dir: &Path,
    tell: &mut dyn FnMut(&Moment),
) -> Result<Timeline, GamedayError> {
    let clock = SystemClock::new();
    let free = || TcpListener::bind(("127.0.0.1", 0))?.local_addr();
    let (plain, secure) = (free()?, free()?);
    let road = Road::open(authority.http, plain).await.map_err(|error| {
        let text = format!("cannot listen at {}: {error}", authority.http);
        GamedayError::Preparation(text)
    })?;
    let file = dir.join("vestibule.toml");
    let configuration = configuration(authority, plain, secure);
    fs::write(&file, &configuration)?;
    let loaded = file.clone();
    let load = move || config::load(&loaded).map_err(|report| report.render(false));
    let resolved = load().map_err(GamedayError::Preparation)?;
    let about = format!(
        "A certificate for {} that {} issues by HTTP-01, on a real listener, renewed {} times under steady handshakes. Then \
         the way from the authority to us is closed, so that nobody renews it; a probe shakes hands every second, and an \
         SLO of 99 % counts it. After its end the way is opened again.",
        authority.host, authority.directory, authority.renewals
    );
    let mut timeline = Timeline::begun(super::NAME, about, clock.now());
    let renewals = format!("{} renewals, and no handshake fails", authority.renewals);
    timeline.expectations = vec![Expectation::next(renewals)];
    timeline.expectations.extend(expectations());
    let reload: Reload = Box::new(load);
    let mut play = Play {
        stage: Stage::start(resolved, Some(reload))?,
        timeline,
        road,
        authority,
        secure,
        tell,
    };
    let played = play.all(dir, &configuration).await;
    let Play {
        stage,
        mut timeline,
        road,
        ..
    } = play;
    stage.stop().await;
    drop(road);
    played?;
    timeline.judge(clock.now());
    Ok(timeline)
}

struct Play<'a> {
    stage: Stage,
    timeline: Timeline,
    road: Road,
    authority: &'a Authority,
    secure: SocketAddr,
    tell: &'a mut dyn FnMut(&Moment),
}

impl Play<'_> {
    async fn all(&mut self, dir: &Path, configuration: &str) -> Result<(), GamedayError> {
        let (life, chain) = self.first().await?;
        self.promise(dir, &chain, configuration).await?;
        if !self.renewals(dir, life).await? {
            return Ok(());
        }
        self.road.close();
        self.did("the way from the authority to us is closed");
        let Some(ends) = self.end(life).await? else {
            return Ok(());
        };
        self.road.reopen().await?;
        self.did("the way from the authority to us is open again");
        let give_up_at = ends.plus(life / 2).plus(MENDING);
        loop {
            let snapshot = self.next().await?;
            watch(&mut self.timeline, PLACES, &snapshot, true);
            let is_well = self.timeline.expectations[PLACES.well()].seen_at.is_some();
            if is_well || snapshot.at >= give_up_at {
                return Ok(());
            }
        }
    }

    async fn next(&mut self) -> Result<Arc<Snapshot>, GamedayError> {
        self.stage.next(&mut self.timeline, self.tell).await
    }

    fn did(&mut self, what: impl Into<String>) {
        let now = SystemClock::new().now();
        self.timeline.did(now, what, self.tell);
    }

    /// Waits for the first certificate to be shown; gives how long it lives, and the file of its chain.
    async fn first(&mut self) -> Result<(Duration, PathBuf), GamedayError> {
        let give_up_at = SystemClock::new().now().plus(START);
        loop {
            let snapshot = self.next().await?;
            if let Some(error) = issuance(&snapshot).and_then(|it| it.error.as_ref()) {
                return Err(prepared(format!("there is no certificate: {error}")));
            }
            let kept = snapshot.certificates.iter();
            let mut kept = kept.filter(|it| it.source == "issued");
            if let (Some(leaf), Some(kept)) = (shown(&snapshot), kept.next()) {
                let life = Duration::from_millis(leaf.lifetime_ms());
                if life > LONGEST {
                    let life = humantime::format_duration(life);
                    return Err(prepared(format!(
                        "what is issued lives for {life}, and an hour is the most that is waited for: name a profile with a \
                         shorter life"
                    )));
                }
                return Ok((life, PathBuf::from(&kept.place)));
            }
            if snapshot.at >= give_up_at {
                return Err(prepared("there was no certificate within two minutes"));
            }
        }
    }

    /// Has a probe trust who issued the certificate, and an SLO count it.
    async fn promise(
        &mut self,
        dir: &Path,
        chain: &Path,
        configuration: &str,
    ) -> Result<(), GamedayError> {
        // The last of the chain is as near to its root as an authority tells.
        let chain = CertificateDer::pem_file_iter(chain).map_err(prepared)?;
        let last = chain.filter_map(Result::ok).last();
        let last = last.ok_or_else(|| prepared("the chain cannot be read"))?;
        fs::write(dir.join("ca.pem"), pem(&last))?;
        fs::create_dir_all(dir.join("probes"))?;
        let probe = probe_file(self.secure, &self.authority.host);
        fs::write(dir.join("probes/shop.toml"), probe)?;
        let file = dir.join("vestibule.toml");
        fs::write(file, format!("{configuration}{}", promise()))?;
        self.stage.signal(Signal::Reload).await;
        let give_up_at = SystemClock::new().now().plus(START);
        loop {
            let snapshot = self.next().await?;
            if let Some(why) = &snapshot.config.refused {
                return Err(prepared(why));
            }
            let mut probes = snapshot.probes.iter();
            if probes.any(|probe| probe.standing == Standing::Ok) {
                return Ok(());
            }
            if snapshot.at >= give_up_at {
                return Err(prepared(
                    "no handshake succeeded that trusts the last certificate of the chain",
                ));
            }
        }
    }

    /// Waits for the renewals under load. `false`: they did not come.
    async fn renewals(&mut self, dir: &Path, life: Duration) -> Result<bool, GamedayError> {
        let wanted = u64::from(self.authority.renewals);
        let load = Load::start(self.secure, &self.authority.host, &dir.join("ca.pem"))?;
        let snapshot = self.next().await?;
        let before = issuance(&snapshot).map_or(0, |it| it.issued);
        let patience = life.saturating_mul(self.authority.renewals) + MENDING;
        let give_up_at = snapshot.at.plus(patience);
        loop {
            let snapshot = self.next().await?;
            let renewed = issuance(&snapshot).map_or(0, |it| it.issued) - before;
            let is_done = renewed >= wanted;
            if !is_done && snapshot.at < give_up_at {
                continue;
            }
            let tally = load.tally();
            let failed = match &tally.first {
                None => "none failed".to_owned(),
                Some(why) => format!("{} failed, first: {why}", tally.bad),
            };
            let text = format!(
                "{renewed} renewals, {} handshakes, {failed}",
                tally.good + tally.bad
            );
            self.timeline.did(snapshot.at, text, self.tell);
            if is_done && tally.bad == 0 && tally.good > 0 {
                self.timeline.saw(RENEWALS, snapshot.at);
            }
            return Ok(is_done);
        }
    }

    /// Follows the certificate to its end and a little beyond; gives when that was. `None`: it does not come to an end.
    async fn end(&mut self, life: Duration) -> Result<Option<Timestamp>, GamedayError> {
        // What was seen last may have been seen before the last renewal.
        let closed_at = SystemClock::new().now();
        let snapshot = loop {
            let snapshot = self.next().await?;
            if snapshot
                .certificates
                .iter()
                .any(|it| it.source == "issued" && it.seen_at > closed_at)
            {
                break snapshot;
            }
        };
        let before = issuance(&snapshot).map_or(0, |it| it.issued);
        let mut known = before;
        loop {
            let snapshot = self.next().await?;
            let issued = issuance(&snapshot).map_or(0, |it| it.issued);
            if issued > known {
                known = issued;
                let text = "it was issued all the same: the authority remembers an earlier answer";
                self.timeline.did(snapshot.at, text, self.tell);
                if issued - before > MEMORIES {
                    return Ok(None);
                }
            }
            // What lies on disk is looked at together with what is shown: one that has just come is both or neither.
            let kept = snapshot.certificates.iter();
            let mut kept = kept.filter(|it| it.source == "issued");
            let kept = kept.find_map(|it| it.certificate.as_ref());
            let Some(leaf) = shown(&snapshot).filter(|leaf| Some(*leaf) == kept) else {
                continue;
            };
            let ends = leaf.not_after.plus(Duration::from_secs(1));
            if self.timeline.expectations[PLACES.warn()].seen_at.is_none() {
                expect(&mut self.timeline, PLACES, life, ends);
            }
            watch(&mut self.timeline, PLACES, &snapshot, false);
            // For as long as the SLO is to burn, so that it can be seen.
            if snapshot.at >= ends.plus((life / 6).max(Duration::from_secs(5))) {
                return Ok(Some(snapshot.at));
            }
        }
    }
}

fn issuance(snapshot: &Snapshot) -> Option<&IssuanceView> {
    snapshot.issuances.first()
}

/// What our listener shows, the newest.
fn shown(snapshot: &Snapshot) -> Option<&CertificateFacts> {
    let shown = snapshot.certificates.iter();
    let shown = shown.filter(|it| it.source == "listener");
    shown
        .filter_map(|it| it.certificate.as_ref())
        .max_by_key(|it| it.not_after)
}

fn configuration(authority: &Authority, plain: SocketAddr, secure: SocketAddr) -> String {
    let text = |text: &str| toml::Value::from(text).to_string();
    let optional = |key: &str, value: Option<String>| {
        value.map_or_else(String::new, |value| format!("{key} = {}\n", text(&value)))
    };
    let roots = authority.roots.as_ref();
    let roots = roots.map(|path| path.display().to_string());
    format!(
        "[instance]\nname = \"gameday\"\n\
         [proxy]\nworkers = 1\n\
         [[listener]]\nname = \"http\"\naddress = \"{plain}\"\n\
         [[listener]]\nname = \"https\"\naddress = \"{secure}\"\ncertificates = [\"shop\"]\n\
         [[certificate]]\nname = \"shop\"\nacme = \"ca\"\nhosts = [{host}]\n\
         [[acme]]\nname = \"ca\"\ndirectory = {}\naccept_terms = true\n{}{}\
         [[upstream]]\nname = \"shop\"\n\
         [[route]]\nid = \"shop\"\nhosts = [{host}]\nupstream = \"shop\"\n",
        text(&authority.directory),
        optional("roots_file", roots),
        optional("profile", authority.profile.clone()),
        host = text(&authority.host),
    )
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
