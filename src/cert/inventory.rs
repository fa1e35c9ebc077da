//! Looking at certificates where they lie and where they are shown.
//!
//! A file says what will be served after the next reload; a handshake with our own listener says what is served now. Both
//! are looked at again and again, because the one is changed by others and the other only by us.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::model::{CertificateFacts, ProbeFailure};
use crate::net::certificate;
use crate::net::connect::reachable;
use crate::net::examine::{Trust, facts, failure};

/// What is to be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Certificates of the configuration.
    pub files: Vec<Kept>,
    /// What our listeners are asked for.
    pub asked: Vec<Asked>,
}

/// A host that a listener is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// The listener's name.
    pub listener: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The host, lower case.
    pub host: String,
}

/// A certificate of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// Its chain file.
    pub path: PathBuf,
    /// Whether it is issued while we run: then there may be none yet.
    pub issued: bool,
}

/// Hosts that are asked for at most in one round.
pub const MOST_HOSTS: usize = 1_000;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Where.
    pub place: Place,
    /// The chain, the certificate itself first; or why there is none, in one line.
    pub chain: Result<Vec<CertificateFacts>, String>,
}

/// Where a certificate was looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the chain file of a certificate of the configuration.
    File(Kept),
    /// At one of our listeners.
    Listener(Asked),
}

/// From one look to the next, unless a certificate lives for less than an hour.
const EVERY: Duration = Duration::from_secs(60);
/// For one handshake with ourselves.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks and tells, until nobody listens any more. A new plan is looked at at once.
pub async fn run(mut plans: watch::Receiver<Plan>, tell: mpsc::Sender<Vec<Sight>>) {
    loop {
        let plan = plans.borrow_and_update().clone();
        let sights = look(plan).await;
        let pause = pause(&sights);
        if tell.send(sights).await.is_err() {
            return;
        }
        if let Ok(Err(_gone)) = tokio::time::timeout(pause, plans.changed()).await {
            return;
        }
    }
}

/// A sixtieth of the shortest life, so that a certificate of a minute is looked at every second.
fn pause(sights: &[Sight]) -> Duration {
    let leaves = sights
        .iter()
        .filter_map(|sight| sight.chain.as_ref().ok()?.first());
    let shortest = leaves.map(CertificateFacts::lifetime_ms).min();
    let share = shortest.map_or(EVERY, |life| Duration::from_millis(life / 60));
    share.clamp(Duration::from_secs(1), EVERY)
}

async fn look(plan: Plan) -> Vec<Sight> {
    let Plan { files, asked } = plan;
    let reading = tokio::task::spawn_blocking(move || files.into_iter().map(read).collect());
    let mut sights: Vec<Sight> = reading.await.unwrap_or_default();
    let trust = Trust::anything();
    for asked in asked.into_iter().take(MOST_HOSTS) {
        let answer = ask(&trust, asked.address, &asked.host);
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        let chain = answer.unwrap_or_else(|_late| Err("no handshake in 5 s".to_owned()));
        sights.push(Sight {
            place: Place::Listener(asked),
            chain,
        });
    }
    sights
}

fn read(kept: Kept) -> Sight {
    let chain = certificate::certificates(&kept.path)
        .map(|chain| chain.iter().filter_map(facts).collect())
        .map_err(|error| error.to_string());
    Sight {
        place: Place::File(kept),
        chain,
    }
}

async fn ask(
    trust: &Trust,
    address: SocketAddr,
    host: &str,
) -> Result<Vec<CertificateFacts>, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let tcp = TcpStream::connect(reachable(address))
        .await
        .map_err(|error| error.to_string())?;
    let examined = trust.examine(tcp, name, &[]).await;
    match examined.shaken {
        Ok(_) => Ok(examined.chain),
        Err(error) => {
            let failure = failure(&error, &examined.chain);
            Err(match failure {
                // How a listener says that it has none.
                ProbeFailure::TlsAlert => format!("no certificate is shown for it ({error})"),
                other => format!("{}: {error}", other.as_str()),
            })
        }
    }
}
