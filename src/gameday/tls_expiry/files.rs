//! With a certificate of our own making, in files.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use time::OffsetDateTime;

use super::{HOST, Places, expect, expectations, prepared, probe_file, promise, watch};
use crate::app::{Reload, Signal};
use crate::clock::{Clock as _, SystemClock};
use crate::config;
use crate::gameday::{GamedayError, Moment, Stage, Timeline};
use crate::model::Timestamp;

const PLACES: Places = Places { first: 0 };

pub(super) async fn hold(
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
    fs::write(dir.join("probes/shop.toml"), probe_file(address, HOST))?;
    let load = move || config::load(&file).map_err(|report| report.render(false));
    let resolved = load().map_err(GamedayError::Preparation)?;
    let about = format!(
        "A certificate that lives for {} and that nobody renews in time, on a real listener; a probe shakes hands \
         every second, and an SLO of 99 % counts it. It is renewed after its end, by a reload.",
        humantime::format_duration(life)
    );
    let mut timeline = Timeline::begun(super::NAME, about, clock.now());
    timeline.expectations = expectations();
    expect(&mut timeline, PLACES, life, ends);
    let reload: Reload = Box::new(load);
    let mut stage = Stage::start(resolved, Some(reload))?;
    // For as long as the SLO is to burn, so that it can be seen.
    let renew_at = ends.plus((life / 6).max(Duration::from_secs(5)));
    let renew =
        |now: Timestamp| authority.vouch(dir, begins, now.plus(Duration::from_secs(90 * 86_400)));
    let played = play(&mut stage, &mut timeline, renew_at, renew, tell).await;
    stage.stop().await;
    played?;
    timeline.judge(clock.now());
    Ok(timeline)
}

async fn play(
    stage: &mut Stage,
    timeline: &mut Timeline,
    renew_at: Timestamp,
    renew: impl Fn(Timestamp) -> Result<(), GamedayError>,
    tell: &mut dyn FnMut(&Moment),
) -> Result<(), GamedayError> {
    let give_up_at = renew_at.plus(Duration::from_secs(30));
    let mut is_renewed = false;
    loop {
        let snapshot = stage.next(timeline, tell).await?;
        let now = snapshot.at;
        watch(timeline, PLACES, &snapshot, is_renewed);
        if !is_renewed && now >= renew_at {
            is_renewed = true;
            renew(now)?;
            timeline.did(now, "a renewed certificate is in place; reloading", tell);
            stage.signal(Signal::Reload).await;
        }
        if timeline.expectations[PLACES.well()].seen_at.is_some() || now >= give_up_at {
            return Ok(());
        }
    }
}

fn configuration(address: SocketAddr) -> String {
    format!(
        "[instance]\nname = \"gameday\"\n\
         [proxy]\nworkers = 1\n\
         [[listener]]\nname = \"https\"\naddress = \"{address}\"\ncertificates = [\"shop\"]\n\
         [[certificate]]\nname = \"shop\"\nchain_file = \"shop.pem\"\nkey_file = \"shop-key.pem\"\n\
         [[upstream]]\nname = \"shop\"\n\
         [[route]]\nid = \"shop\"\nhosts = [\"{HOST}\"]\nupstream = \"shop\"\n{}",
        promise()
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
