//! Looking at certificates where they lie and where they are shown.
//!
//! A file says what will be served after the next reload; a handshake with our own listener says what is served now. Both
//! are looked at again and again, because the one is changed by others and the other only by us. What upstreams show us is
//! looked at as well, and judged as the proxy does: a certificate of theirs that ends takes their routes down.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

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
    /// Endpoints whose certificates are verified.
    pub behind: Vec<Behind>,
}

/// An endpoint of an upstream that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Behind {
    /// The upstream's name.
    pub upstream: String,
    /// The endpoint as it is configured.
    pub endpoint: String,
    /// Its host: a name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The name that it is verified for.
    pub name: String,
    /// PEM roots; `None`: the system's.
    pub roots: Option<PathBuf>,
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
    /// Why the chain was refused, though it was seen: of an endpoint, whose chains are verified.
    pub refused: Option<(ProbeFailure, String)>,
}

/// Where a certificate was looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the chain file of a certificate of the configuration.
    File(Kept),
    /// At one of our listeners.
    Listener(Asked),
    /// At an endpoint of an upstream.
    Upstream(Behind),
}

/// From one look to the next, unless a certificate lives for less than an hour.
const EVERY: Duration = Duration::from_secs(60);
/// For one handshake with ourselves.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks and tells, until nobody listens any more. A new plan is looked at at once.
pub async fn run(mut plans: watch::Receiver<Plan>, tell: mpsc::Sender<Vec<Sight>>) {
    let mut trusts = Trusts::default();
    let mut before = Plan::default();
    let mut read_for = Duration::ZERO;
    loop {
        let plan = plans.borrow_and_update().clone();
        // What a file of roots holds may change though its name does not.
        if plan != before || read_for >= EVERY {
            trusts = Trusts::default();
            before.clone_from(&plan);
            read_for = Duration::ZERO;
        }
        let sights = look(plan, &mut trusts).await;
        let pause = pause(&sights);
        read_for += pause;
        if tell.send(sights).await.is_err() {
            return;
        }
        match tokio::time::timeout(pause, plans.changed()).await {
            Ok(Err(_gone)) => return,
            Ok(Ok(())) => read_for = EVERY,
            Err(_elapsed) => {}
        }
    }
}

/// A sixtieth of the shortest life, so that a certificate of a minute is looked at every second. What upstreams show has no
/// say in how often they are asked.
fn pause(sights: &[Sight]) -> Duration {
    let ours = |sight: &&Sight| !matches!(sight.place, Place::Upstream(_));
    let leaves = sights
        .iter()
        .filter(ours)
        .filter_map(|sight| sight.chain.as_ref().ok()?.first());
    let shortest = leaves.map(CertificateFacts::lifetime_ms).min();
    let share = shortest.map_or(EVERY, |life| Duration::from_millis(life / 60));
    share.clamp(Duration::from_secs(1), EVERY)
}

/// How chains of endpoints are judged, by their roots.
type Trusts = BTreeMap<Option<PathBuf>, Result<Trust, String>>;

async fn look(plan: Plan, trusts: &mut Trusts) -> Vec<Sight> {
    let Plan {
        files,
        asked,
        behind,
    } = plan;
    let mut endpoints = JoinSet::new();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    for behind in behind.into_iter().take(MOST_HOSTS) {
        let roots = behind.roots.clone();
        let trust = trusts.entry(roots).or_insert_with_key(|roots| {
            Trust::load(roots.as_deref()).map_err(|error| error.to_string())
        });
        endpoints.spawn(look_behind(trust.clone(), behind, Arc::clone(&turns)));
    }
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
            refused: None,
        });
    }
    while let Some(sight) = endpoints.join_next().await {
        // One whose look panicked is not seen.
        sights.extend(sight);
    }
    sights.sort_by(|a, b| a.place.cmp(&b.place));
    sights
}

/// Endpoints that are looked at together.
const AT_ONCE: usize = 8;

async fn look_behind(trust: Result<Trust, String>, behind: Behind, turns: Arc<Semaphore>) -> Sight {
    // It is never closed.
    let Ok(turn) = turns.acquire_owned().await else {
        return Sight {
            place: Place::Upstream(behind),
            chain: Err("it was not its turn".to_owned()),
            refused: None,
        };
    };
    let looked = async {
        let trust = trust?;
        let name = ServerName::try_from(behind.name.clone());
        let name = name.map_err(|error| error.to_string())?;
        let place = (behind.host.clone(), behind.port);
        // A resolver that hangs keeps a thread: it keeps the turn as well, so that there are few.
        let found = tokio::spawn(async move {
            let found = tokio::net::lookup_host(place).await;
            (found.map(Vec::from_iter), turn)
        });
        let (addresses, _turn) = found.await.map_err(|error| error.to_string())?;
        let addresses = addresses.map_err(|error| error.to_string())?;
        let tcp = TcpStream::connect(addresses.as_slice()).await;
        let tcp = tcp.map_err(|error| error.to_string())?;
        Ok(trust.examine(tcp, name, &[]).await)
    };
    let looked = tokio::time::timeout(PATIENCE, looked).await;
    let (chain, refused) = match looked {
        Err(_late) => (Err("no handshake in 5 s".to_owned()), None),
        Ok(Err(why)) => (Err(why), None),
        Ok(Ok(examined)) => match examined.shaken {
            Ok(_) => (Ok(examined.chain), None),
            Err(error) if examined.chain.is_empty() => (Err(error.to_string()), None),
            Err(error) => {
                let refused = match failure(&error, &examined.chain) {
                    // It broke off later, or wants a certificate of ours: the chain was good enough.
                    ProbeFailure::TlsAlert => None,
                    failure => Some((failure, error.to_string())),
                };
                (Ok(examined.chain), refused)
            }
        },
    };
    Sight {
        place: Place::Upstream(behind),
        chain,
        refused,
    }
}

fn read(kept: Kept) -> Sight {
    let chain = certificate::certificates(&kept.path)
        .map(|chain| chain.iter().filter_map(facts).collect())
        .map_err(|error| error.to_string());
    Sight {
        place: Place::File(kept),
        chain,
        refused: None,
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
