//! Whether certificates of ours were revoked: their issuers' lists, fetched from where certificates say, or in files.
//!
//! Only certificates of the configuration are asked about, so that nobody else decides where we connect to. A list is fetched
//! once a day, or when half of its time is over; a file is read when it has changed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Full;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::sync::{mpsc, watch};

use super::inventory::Kept;
use crate::clock::{Clock as _, SystemClock};
use crate::model::Timestamp;
use crate::net::examine::facts;
use crate::net::revocation::{Listed, issuer_of, look_up};
use crate::net::{certificate, post, tls};
use crate::snapshot::{RevocationListView, RevocationView};

/// Where lists come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Whether they are fetched from where certificates say.
    pub fetch: bool,
    /// Lists in files, DER or PEM.
    pub files: Vec<PathBuf>,
    /// PEM certificates of issuers that are in no chain.
    pub issuers: Option<PathBuf>,
}

/// What is to be looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Where lists come from.
    pub config: Config,
    /// The certificates.
    pub certificates: Vec<Kept>,
}

/// What is known of one certificate's revocation, by its fingerprint.
pub type Known = BTreeMap<String, RevocationView>;

/// From one look at files and at what is due to the next.
const EVERY: Duration = Duration::from_secs(60);
/// For one list to be fetched.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest list that is read.
const LARGEST: usize = 16 << 20;
/// Lists of one certificate that are looked at.
const MOST_LISTS: usize = 4;
/// At the latest after this a list is fetched again, and at the earliest.
const AGAIN: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(86_400));
/// After this, when it could not be had.
const RETRY: Duration = Duration::from_secs(900);
/// Shorter lives end before their revocation would be known (CA/Browser Forum Baseline Requirements, 7.1.2.11.2).
const SHORT_MS: u64 = 10 * 86_400_000;

/// Looks and tells, until nobody listens any more. A new plan is looked at at once.
pub async fn run(mut plans: watch::Receiver<Plan>, tell: mpsc::Sender<Known>, clock: SystemClock) {
    let mut reader = Reader::default();
    loop {
        let plan = plans.borrow_and_update().clone();
        let known = reader.look(plan, clock).await;
        if tell.send(known).await.is_err() {
            return;
        }
        if let Ok(Err(_gone)) = tokio::time::timeout(EVERY, plans.changed()).await {
            return;
        }
    }
}

#[derive(Default)]
struct Reader {
    /// By the fingerprint of a certificate and the URL: what it said last, and when it is to be fetched again.
    fetched: BTreeMap<(String, String), (RevocationListView, Timestamp)>,
    /// By the fingerprint of a certificate and the file: what that said when it was read last.
    read: BTreeMap<(String, PathBuf), FromFile>,
    tls: Option<Arc<ClientConfig>>,
}

/// When a file was changed last, and how long it is.
type Stamp = (SystemTime, u64);

/// What a list in a file said of a certificate.
struct FromFile {
    stamp: Stamp,
    issuer: Option<CertificateDer<'static>>,
    said: Result<Listed, String>,
}

/// A certificate and who issued it.
struct Subject {
    leaf: CertificateDer<'static>,
    issuer: Option<CertificateDer<'static>>,
}

impl Reader {
    async fn look(&mut self, plan: Plan, clock: SystemClock) -> Known {
        let Plan {
            config,
            certificates,
        } = plan;
        let (issuers, paths) = (config.issuers.clone(), config.files.clone());
        // What cannot be read is told by whoever looks at the certificates themselves.
        let read = tokio::task::spawn_blocking(move || {
            let issuers = issuers.and_then(|path| certificate::certificates(&path).ok());
            let issuers = issuers.unwrap_or_default();
            let subjects: Vec<_> = certificates
                .iter()
                .filter_map(|kept| subject(&kept.path, &issuers))
                .collect();
            let stamped = paths.into_iter().map(|path| {
                let stamp = stamp(&path);
                (path, stamp)
            });
            (subjects, stamped.collect::<Vec<_>>())
        });
        let (subjects, files) = read.await.unwrap_or_default();
        let mut known = Known::new();
        let mut lists = BTreeMap::new();
        let mut had = BTreeMap::new();
        for subject in subjects {
            let Some(facts) = facts(&subject.leaf) else {
                continue;
            };
            let sha256 = facts.sha256.clone();
            if known.contains_key(&sha256) {
                continue;
            }
            let mut view = RevocationView::default();
            for (path, stamp) in &files {
                let said = match stamp {
                    Ok(stamp) => {
                        self.in_file(&subject, &sha256, (path, *stamp), &mut lists)
                            .await
                    }
                    Err(why) => Err(why.clone()),
                };
                // A file may hold the list of another issuer: that one says nothing of this certificate.
                if said.as_ref().is_err_and(|why| *why == OTHER_ISSUER) {
                    continue;
                }
                let place = path.display().to_string();
                view.lists.push(told(place, clock.now(), said));
            }
            let urls: Vec<&String> = facts.crls.iter().filter(|url| is_http(url)).collect();
            let is_short = facts.lifetime_ms() <= SHORT_MS;
            view.skipped = match (config.fetch, is_short) {
                _ if urls.is_empty() => None,
                (false, _) => Some("lists are not fetched"),
                (true, true) => Some("it lives for ten days at most"),
                (true, false) => None,
            }
            .map(str::to_owned);
            if view.skipped.is_none() {
                for url in urls.into_iter().take(MOST_LISTS) {
                    let list = self.asked(&subject, &sha256, url, &mut had, clock).await;
                    view.lists.push(list);
                }
            }
            known.insert(sha256, view);
        }
        self.fetched
            .retain(|(sha256, _), _| known.contains_key(sha256));
        self.read.retain(|(sha256, path), _| {
            known.contains_key(sha256) && files.iter().any(|(it, _)| it == path)
        });
        known
    }

    /// What the list in a file says: as it was read, or read anew when it has changed. `lists`: what was read in this round.
    async fn in_file(
        &mut self,
        subject: &Subject,
        sha256: &str,
        (path, stamp): (&Path, Stamp),
        lists: &mut BTreeMap<PathBuf, Result<Bytes, String>>,
    ) -> Result<Listed, String> {
        let key = (sha256.to_owned(), path.to_owned());
        if let Some(known) = self.read.get(&key)
            && known.stamp == stamp
            && known.issuer == subject.issuer
        {
            return known.said.clone();
        }
        let list = if let Some(list) = lists.get(path) {
            list.clone()
        } else {
            let of = path.to_owned();
            let read = tokio::task::spawn_blocking(move || read_file(&of)).await;
            let list = read.unwrap_or_else(|_panic| Err("it could not be read".to_owned()));
            lists.insert(path.to_owned(), list.clone());
            list
        };
        let said = match list {
            Ok(list) => judged(&list, subject).await,
            // Tried again in the next round.
            Err(why) => return Err(why),
        };
        let read = FromFile {
            stamp,
            issuer: subject.issuer.clone(),
            said: said.clone(),
        };
        self.read.insert(key, read);
        said
    }

    /// What the list at `url` says: as it was fetched, or fetched anew. `had`: what was fetched in this round.
    async fn asked(
        &mut self,
        subject: &Subject,
        sha256: &str,
        url: &str,
        had: &mut BTreeMap<String, Result<Bytes, String>>,
        clock: SystemClock,
    ) -> RevocationListView {
        let now = clock.now();
        let key = (sha256.to_owned(), url.to_owned());
        if let Some((view, again_at)) = self.fetched.get(&key)
            && now < *again_at
            // A clock that was ahead when it was fetched.
            && view.read_at <= now
        {
            return view.clone();
        }
        let list = if let Some(list) = had.get(url) {
            list.clone()
        } else {
            let list = self.fetch(url).await;
            had.insert(url.to_owned(), list.clone());
            list
        };
        let said = match list {
            Ok(list) => judged(&list, subject).await,
            Err(why) => Err(why),
        };
        let mut view = told(url.to_owned(), now, said);
        let wait = match (&view.error, view.next_update) {
            (Some(_), _) => RETRY,
            (None, Some(next)) => (next.since(now) / 2).clamp(AGAIN.0, AGAIN.1),
            (None, None) => AGAIN.1,
        };
        // What was known stays known: a list that cannot be had now was had before, and an older one than that is no news.
        if let Some((before, _)) = self.fetched.get(&key)
            && (view.error.is_some() || view.this_update < before.this_update)
        {
            view.this_update = before.this_update;
            view.next_update = before.next_update;
            view.revoked_at = before.revoked_at;
            view.reason.clone_from(&before.reason);
        }
        self.fetched.insert(key, (view.clone(), now.plus(wait)));
        view
    }

    async fn fetch(&mut self, url: &str) -> Result<Bytes, String> {
        let url: Uri = url.parse().map_err(|_bad| "it is no URL".to_owned())?;
        let tls = if url.scheme_str() == Some("http") {
            // Not used: what is signed needs no secrecy.
            tls::client_config(None, true).map_err(|error| error.to_string())?
        } else if let Some(tls) = &self.tls {
            Arc::clone(tls)
        } else {
            let made = tls::client_config(None, false).map_err(|error| error.to_string())?;
            Arc::clone(self.tls.insert(made))
        };
        let request = Request::builder().method(Method::GET).uri(url);
        let request = request.body(Full::default());
        let request = request.map_err(|error| error.to_string())?;
        let answer = post::send(&tls, request, LARGEST, PATIENCE).await;
        let answer = answer.map_err(|error| error.to_string())?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            other => Err(format!("answered {other}")),
        }
    }
}

fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

fn subject(path: &Path, issuers: &[CertificateDer<'static>]) -> Option<Subject> {
    let mut chain = certificate::certificates(path).ok()?;
    let leaf = chain.first()?.clone();
    chain.extend(issuers.iter().cloned());
    let issuer = issuer_of(&leaf, &chain).cloned();
    Some(Subject { leaf, issuer })
}

fn stamp(path: &Path) -> Result<Stamp, String> {
    let told = |error: std::io::Error| error.to_string();
    let known = std::fs::metadata(path).map_err(told)?;
    if !known.is_file() {
        return Err("it is no file".to_owned());
    }
    Ok((known.modified().map_err(told)?, known.len()))
}

fn read_file(path: &Path) -> Result<Bytes, String> {
    let told = |error: std::io::Error| error.to_string();
    let mut list = Vec::new();
    let file = std::fs::File::open(path).map_err(told)?;
    file.take(LARGEST as u64 + 1)
        .read_to_end(&mut list)
        .map_err(told)?;
    if list.len() > LARGEST {
        return Err(format!("it is longer than {} MiB", LARGEST >> 20));
    }
    Ok(Bytes::from(list))
}

const OTHER_ISSUER: &str = "it is of another issuer";

/// Long lists take a while to be read.
async fn judged(list: &Bytes, subject: &Subject) -> Result<Listed, String> {
    let Some(issuer) = subject.issuer.clone() else {
        return Err("the certificate of its issuer is not in the chain".to_owned());
    };
    let (list, leaf) = (list.clone(), subject.leaf.clone());
    let read = tokio::task::spawn_blocking(move || look_up(&list, &leaf, &issuer));
    match read.await {
        Ok(said) => said.map_err(|error| error.to_string()),
        Err(_panic) => Err("it could not be read".to_owned()),
    }
}

fn told(place: String, now: Timestamp, said: Result<Listed, String>) -> RevocationListView {
    let mut view = RevocationListView {
        place,
        read_at: now,
        ..RevocationListView::default()
    };
    match said {
        Ok(listed) => {
            view.this_update = Some(listed.this_update);
            view.next_update = listed.next_update;
            if let Some((at, reason)) = listed.revoked {
                view.revoked_at = Some(at);
                view.reason = Some(reason);
            }
        }
        Err(why) => view.error = Some(why),
    }
    view
}
