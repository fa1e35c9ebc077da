//! From an account to a chain, one phase after the other.
//!
//! The library keeps to the protocol; what is here keeps on: a rejected nonce is no failure, an authorization that failed
//! says why, and whatever was put up for the authority to see is taken down again, however it ends.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, ExternalAccountKey,
    Identifier, NewAccount, NewOrder, OrderStatus, Problem,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::sign::CertifiedKey;
use tokio::sync::{mpsc, oneshot};

use super::http::Http;
use super::issuer::Told;
use super::keep::Keep;
use super::{Authority, Challenge};
use crate::clock::{Clock as _, SystemClock, Tick};
use crate::net::challenge::{Answers, tls_answer};
use crate::net::tls;

/// A part of the time that a certificate takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Finding the authority's directory, and our account with it.
    Account,
    /// The order, and what it asks to be shown.
    Order,
    /// Until all of that is shown.
    Present,
    /// Until the authority has seen it.
    Validate,
    /// Until the authority has signed.
    Finalize,
    /// Fetching the chain.
    Download,
    /// Until it is on disk and every worker has it.
    Install,
    /// Until it was shown in a handshake.
    Serve,
}

impl Phase {
    /// Its word in labels and text.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Order => "order",
            Self::Present => "present",
            Self::Validate => "validate",
            Self::Finalize => "finalize",
            Self::Download => "download",
            Self::Install => "install",
            Self::Serve => "serve",
        }
    }
}

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {text}", .phase.as_str())]
pub(super) struct Trouble {
    /// What was under way.
    pub(super) phase: Phase,
    /// In one line.
    pub(super) text: String,
    /// The authority does not know our account.
    pub(super) stranger: bool,
}

impl Trouble {
    pub(super) fn new(phase: Phase, text: impl std::fmt::Display) -> Self {
        Self {
            phase,
            text: one_line(&text.to_string()),
            stranger: false,
        }
    }

    fn told(phase: Phase, error: &Error) -> Self {
        let (text, stranger) = match error {
            Error::Api(problem) => (said(problem), is(problem, "accountDoesNotExist")),
            Error::Other(error) => (error.to_string(), false),
            other => (other.to_string(), false),
        };
        Self {
            stranger,
            ..Self::new(phase, text)
        }
    }
}

/// Text of a stranger, for a log and a screen.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 300;
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(LONGEST).collect()
}

fn said(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or("problem");
    let kind = kind.strip_prefix(ERRORS).unwrap_or(kind);
    let mut text = match &problem.detail {
        Some(detail) => format!("{kind}: {detail}"),
        None => kind.to_owned(),
    };
    for part in &problem.subproblems {
        write!(text, "; {part}").expect("writing to a string cannot fail");
    }
    text
}

/// RFC 8555, 6.7.
const ERRORS: &str = "urn:ietf:params:acme:error:";

fn is(problem: &Problem, kind: &str) -> bool {
    let told = problem.r#type.as_deref();
    told.and_then(|told| told.strip_prefix(ERRORS)) == Some(kind)
}

/// How often a request is repeated whose nonce was rejected. The library has tried three times by then; a server that rejects
/// every second one must not keep us from a certificate.
const NONCES: usize = 6;

async fn insist<T>(mut ask: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut left = NONCES;
    loop {
        match ask().await {
            Err(Error::Api(problem)) if is(&problem, "badNonce") && left > 0 => left -= 1,
            other => return other,
        }
    }
}

/// How long each phase took.
#[derive(Debug)]
pub(super) struct Stopwatch {
    clock: SystemClock,
    since: Tick,
    pub(super) phases: Vec<(Phase, Duration)>,
}

impl Stopwatch {
    pub(super) fn new(clock: SystemClock) -> Self {
        Self {
            clock,
            since: clock.tick(),
            phases: Vec::new(),
        }
    }

    /// A phase is over, and the next begins.
    pub(super) fn lap(&mut self, phase: Phase) {
        let now = self.clock.tick();
        let took = Duration::from_micros(now.micros_since(self.since));
        self.phases.push((phase, took));
        self.since = now;
    }
}

// === The account ===

/// One authority, and our account with it once it was asked for.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) authority: Authority,
    keep: Keep,
    // Across an await: who comes second waits for the account that the first one makes.
    account: tokio::sync::Mutex<Option<(Http, Rc<Shared>)>>,
}

/// An account; the library's does not print itself.
pub(super) struct Shared(pub(super) Account);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Shared").field(&self.0.id()).finish()
    }
}

impl Teller {
    pub(super) fn new(authority: Authority, keep: Keep) -> Self {
        Self {
            authority,
            keep,
            account: tokio::sync::Mutex::new(None),
        }
    }

    pub(super) fn keep(&self) -> &Keep {
        &self.keep
    }

    /// The account; made when there is none.
    pub(super) async fn account(&self) -> Result<(Http, Rc<Shared>), Trouble> {
        let mut held = self.account.lock().await;
        if let Some((http, account)) = &*held {
            return Ok((http.clone(), Rc::clone(account)));
        }
        let (http, account) = self.open().await?;
        let account = Rc::new(Shared(account));
        *held = Some((http.clone(), Rc::clone(&account)));
        Ok((http, account))
    }

    /// Lets go of what is known of the authority: the next one to ask finds it anew. `stranger`: it does not know the
    /// account that we have.
    pub(super) async fn forget(&self, stranger: bool) {
        *self.account.lock().await = None;
        if stranger {
            self.keep.forget_account(&self.authority.directory);
        }
    }

    async fn open(&self) -> Result<(Http, Account), Trouble> {
        let phase = Phase::Account;
        let authority = &self.authority;
        let config = tls::client_config(authority.roots.as_deref(), false)
            .map_err(|error| Trouble::new(phase, error))?;
        let http = Http::new(config);
        if let Some(known) = self.keep.account(&authority.directory) {
            let builder = Account::builder_with_http(Box::new(http.clone()));
            let account = builder.from_credentials(known).await;
            let account = account.map_err(|error| Trouble::told(phase, &error))?;
            return Ok((http, account));
        }
        let binding = match &authority.binding {
            Some(binding) => Some(mac_key(&binding.id, &binding.key)?),
            None => None,
        };
        let contact: Vec<&str> = authority.contacts.iter().map(String::as_str).collect();
        let wanted = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let made = insist(async || {
            let builder = Account::builder_with_http(Box::new(http.clone()));
            let directory = authority.directory.clone();
            builder.create(&wanted, directory, binding.as_ref()).await
        });
        let (account, credentials) = made.await.map_err(|error| Trouble::told(phase, &error))?;
        let kept = self.keep.put_account(&authority.directory, &credentials);
        kept.map_err(|error| Trouble::new(phase, format!("cannot keep the account: {error}")))?;
        Ok((http, account))
    }
}

fn mac_key(id: &str, file: &Path) -> Result<ExternalAccountKey, Trouble> {
    let trouble = |why: &dyn std::fmt::Display| {
        Trouble::new(
            Phase::Account,
            format!("no MAC key in {}: {why}", file.display()),
        )
    };
    let text = std::fs::read_to_string(file).map_err(|error| trouble(&error))?;
    let text = text.trim().trim_end_matches('=');
    let key = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|error| trouble(&error))?;
    Ok(ExternalAccountKey::new(id.to_owned(), &key))
}

// === What is shown meanwhile ===

/// What authorities are to be shown by our listeners, for all orders together.
#[derive(Debug)]
pub(super) struct Desk {
    answers: RefCell<Answers>,
    tell: mpsc::Sender<Told>,
}

impl Desk {
    pub(super) fn new(tell: mpsc::Sender<Told>) -> Self {
        Self {
            answers: RefCell::default(),
            tell,
        }
    }

    /// Hands something to those who serve, and waits until all of them have it. `false`: nobody is there any more.
    pub(super) async fn hand_over(&self, told: impl FnOnce(oneshot::Sender<()>) -> Told) -> bool {
        let (done, is_done) = oneshot::channel();
        self.tell.send(told(done)).await.is_ok() && is_done.await.is_ok()
    }

    pub(super) async fn say(&self, text: String) {
        // Who would have heard it is ending.
        drop(self.tell.send(Told::Happened(text)).await);
    }

    async fn publish(&self) -> bool {
        let answers = Arc::new(self.answers.borrow().clone());
        self.hand_over(|done| Told::Answers { answers, done }).await
    }
}

/// Takes down what one order put up.
struct Posted<'a> {
    desk: &'a Desk,
    http: Vec<String>,
    tls: Vec<(String, Arc<CertifiedKey>)>,
}

impl Drop for Posted<'_> {
    fn drop(&mut self) {
        let mut answers = self.desk.answers.borrow_mut();
        for token in &self.http {
            answers.http.remove(token);
        }
        for (host, key) in &self.tls {
            // Another order for the same host may have come since.
            if answers.tls.get(host).is_some_and(|it| Arc::ptr_eq(it, key)) {
                answers.tls.remove(host);
            }
        }
    }
}

// === The order ===

/// Something to be shown.
struct Task {
    host: String,
    token: String,
    text: String,
    digest: Vec<u8>,
    dns: String,
}

/// What is ordered, and with what.
pub(super) struct Purchase<'a> {
    pub(super) authority: &'a Authority,
    pub(super) hosts: &'a [String],
    /// The one that is replaced, as it is called in renewal information.
    pub(super) replaces: Option<&'a str>,
    pub(super) desk: &'a Desk,
    pub(super) clock: SystemClock,
}

/// From one look at an order to the next, at first and at most.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// For an authority to validate, and to sign.
const PATIENCE: Duration = Duration::from_secs(180);
/// For the program that writes to the DNS.
const HOOK_PATIENCE: Duration = Duration::from_secs(120);

impl Purchase<'_> {
    /// Orders, and shows what is to be shown; gives the order once it only has to be signed.
    pub(super) async fn validated(
        &self,
        account: &Account,
        watch: &mut Stopwatch,
        mut phase: impl FnMut(Phase),
    ) -> Result<instant_acme::Order, Trouble> {
        phase(Phase::Order);
        let mut order = self.order(account).await?;
        let tasks = self.tasks(&mut order).await?;
        watch.lap(Phase::Order);
        let mut posted = Posted {
            desk: self.desk,
            http: Vec::new(),
            tls: Vec::new(),
        };
        phase(Phase::Present);
        let outcome = match self.present(&tasks, &mut posted).await {
            Ok(()) => {
                watch.lap(Phase::Present);
                phase(Phase::Validate);
                let outcome = self.validate(&mut order).await;
                watch.lap(Phase::Validate);
                outcome
            }
            Err(trouble) => Err(trouble),
        };
        drop(posted);
        self.clean_up(&tasks).await;
        outcome.map(|()| order)
    }

    async fn order(&self, account: &Account) -> Result<instant_acme::Order, Trouble> {
        let identifiers = self.hosts.iter().cloned().map(Identifier::Dns);
        let identifiers: Vec<Identifier> = identifiers.collect();
        let ask = async |replaces: Option<&str>| {
            insist(async || {
                let mut order = NewOrder::new(&identifiers);
                if let Some((key, serial)) = replaces.and_then(|id| id.split_once('.')) {
                    order = order.replaces(CertificateIdentifier {
                        authority_key_identifier: Cow::Borrowed(key),
                        serial: Cow::Borrowed(serial),
                    });
                }
                if let Some(profile) = &self.authority.profile {
                    order = order.profile(profile);
                }
                account.new_order(&order).await
            })
            .await
        };
        let order = match (ask(self.replaces).await, self.replaces) {
            // What it replaces may have been replaced already, or be another authority's (RFC 9773, 5): it is issued all
            // the same.
            (Err(Error::Api(problem)), Some(_))
                if !is(&problem, "rateLimited") && !is(&problem, "accountDoesNotExist") =>
            {
                ask(None).await
            }
            (Err(Error::Unsupported(_) | Error::Other(_)), Some(_)) => ask(None).await,
            (order, _) => order,
        };
        order.map_err(|error| Trouble::told(Phase::Order, &error))
    }

    /// What is to be shown for the order.
    async fn tasks(&self, order: &mut instant_acme::Order) -> Result<Vec<Task>, Trouble> {
        let phase = Phase::Order;
        let fetched = insist(async || {
            // Those that were fetched are not fetched again.
            let mut authorizations = order.authorizations();
            while let Some(authorization) = authorizations.next().await {
                authorization?;
            }
            Ok(())
        });
        fetched
            .await
            .map_err(|error| Trouble::told(phase, &error))?;
        let mut tasks = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| Trouble::told(phase, &error))?;
            match authorization.status {
                AuthorizationStatus::Pending => {}
                AuthorizationStatus::Valid => continue,
                other => {
                    let host = authorization.identifier();
                    let text = format!("the authorization for {host} is {other:?} already");
                    return Err(Trouble::new(phase, text));
                }
            }
            let host = match authorization.identifier().identifier {
                Identifier::Dns(host) => host.clone(),
                other => format!("{other:?}"),
            };
            let offered: Vec<String> = authorization.challenges.iter().map(name).collect();
            let Some(challenge) = authorization.challenge(self.kind()) else {
                let text = format!(
                    "{} is not offered for {host}, only {}",
                    self.authority.challenge.as_str(),
                    offered.join(", ")
                );
                return Err(Trouble::new(phase, text));
            };
            let key = challenge.key_authorization();
            tasks.push(Task {
                host,
                token: challenge.token.clone(),
                text: key.as_str().to_owned(),
                digest: key.digest().as_ref().to_vec(),
                dns: key.dns_value(),
            });
        }
        Ok(tasks)
    }

    const fn kind(&self) -> ChallengeType {
        match self.authority.challenge {
            Challenge::Http => ChallengeType::Http01,
            Challenge::TlsAlpn => ChallengeType::TlsAlpn01,
            Challenge::Dns => ChallengeType::Dns01,
        }
    }

    async fn present(&self, tasks: &[Task], posted: &mut Posted<'_>) -> Result<(), Trouble> {
        let phase = Phase::Present;
        for task in tasks {
            match self.authority.challenge {
                Challenge::Http => {
                    posted.http.push(task.token.clone());
                    let text = Bytes::from(task.text.clone());
                    let mut answers = self.desk.answers.borrow_mut();
                    answers.http.insert(task.token.clone(), text);
                }
                Challenge::TlsAlpn => {
                    let made = tls_answer(&task.host, &task.digest);
                    let made = Arc::new(made.map_err(|error| Trouble::new(phase, error))?);
                    posted.tls.push((task.host.clone(), Arc::clone(&made)));
                    let mut answers = self.desk.answers.borrow_mut();
                    answers.tls.insert(task.host.clone(), made);
                }
                Challenge::Dns => self.hook("present", task).await?,
            }
        }
        match self.authority.challenge {
            Challenge::Dns if !tasks.is_empty() => {
                tokio::time::sleep(self.authority.hook_wait).await;
            }
            Challenge::Http | Challenge::TlsAlpn if !tasks.is_empty() => {
                if !self.desk.publish().await {
                    return Err(Trouble::new(phase, "nobody serves any more"));
                }
            }
            Challenge::Http | Challenge::TlsAlpn | Challenge::Dns => {}
        }
        Ok(())
    }

    async fn clean_up(&self, tasks: &[Task]) {
        match self.authority.challenge {
            Challenge::Http | Challenge::TlsAlpn => {
                // If nobody serves any more, nothing is shown either.
                self.desk.publish().await;
            }
            Challenge::Dns => {
                for task in tasks {
                    if let Err(trouble) = self.hook("cleanup", task).await {
                        self.desk.say(format!("certificate {trouble}")).await;
                    }
                }
            }
        }
    }

    async fn hook(&self, what: &str, task: &Task) -> Result<(), Trouble> {
        let trouble = |why: &dyn std::fmt::Display| {
            Trouble::new(
                Phase::Present,
                format!("hook {what} for {}: {why}", task.host),
            )
        };
        // The configuration holds them together.
        let program = self.authority.hook.as_deref().unwrap_or(Path::new(""));
        let name = format!("_acme-challenge.{}", task.host.trim_start_matches("*."));
        let run = tokio::process::Command::new(program)
            .args([what, &name, &task.dns])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Whose the service manager's are.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_PID")
            .kill_on_drop(true)
            .output();
        let output = match tokio::time::timeout(HOOK_PATIENCE, run).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(trouble(&error)),
            Err(_late) => return Err(trouble(&"it did not end within two minutes")),
        };
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.trim().lines().last().unwrap_or("it said nothing");
        Err(trouble(&format!("{}: {last}", output.status)))
    }

    /// Says that everything is shown, and waits until it was seen.
    async fn validate(&self, order: &mut instant_acme::Order) -> Result<(), Trouble> {
        let phase = Phase::Validate;
        let mut told = HashSet::new();
        let ready = insist(async || {
            let mut authorizations = order.authorizations();
            while let Some(authorization) = authorizations.next().await {
                let mut authorization = authorization?;
                let url = authorization.url().to_owned();
                if authorization.status != AuthorizationStatus::Pending || told.contains(&url) {
                    continue;
                }
                if let Some(mut challenge) = authorization.challenge(self.kind()) {
                    challenge.set_ready().await?;
                }
                told.insert(url);
            }
            Ok(())
        });
        ready.await.map_err(|error| Trouble::told(phase, &error))?;
        let status = self
            .settled(order, phase, |status| status != OrderStatus::Pending)
            .await?;
        match status {
            OrderStatus::Ready | OrderStatus::Processing | OrderStatus::Valid => Ok(()),
            OrderStatus::Pending | OrderStatus::Invalid => Err(Trouble::new(
                phase,
                self.refusal(order)
                    .await
                    .unwrap_or_else(|| "the authority refused, and does not say why".to_owned()),
            )),
        }
    }

    /// Why a name was not taken for ours.
    async fn refusal(&self, order: &mut instant_acme::Order) -> Option<String> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.ok()?;
            if authorization.refresh().await.is_err() {
                continue;
            }
            let failed = authorization
                .challenges
                .iter()
                .find_map(|it| it.error.as_ref());
            if let Some(problem) = failed {
                return Some(format!("{}: {}", authorization.identifier(), said(problem)));
            }
        }
        None
    }

    /// Looks until `is_settled`.
    async fn settled(
        &self,
        order: &mut instant_acme::Order,
        phase: Phase,
        is_settled: impl Fn(OrderStatus) -> bool,
    ) -> Result<OrderStatus, Trouble> {
        let deadline = self.clock.tick().plus(PATIENCE);
        let (mut pause, most) = LOOK;
        loop {
            let status = insist(async || Ok(order.refresh().await?.status)).await;
            let status = status.map_err(|error| Trouble::told(phase, &error))?;
            if is_settled(status) {
                return Ok(status);
            }
            if self.clock.tick() >= deadline {
                let text = format!("the order is still {status:?} after three minutes");
                return Err(Trouble::new(phase, text));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(most);
        }
    }

    /// Has a key of its own signed; gives the key and the chain as PEM.
    pub(super) async fn finalized(
        &self,
        order: &mut instant_acme::Order,
        watch: &mut Stopwatch,
        mut phase: impl FnMut(Phase),
    ) -> Result<(String, String), Trouble> {
        phase(Phase::Finalize);
        let made = self.request();
        let (key, csr) = made.map_err(|error| Trouble::new(Phase::Finalize, error))?;
        let told = |error: &Error| Trouble::told(Phase::Finalize, error);
        if order.state().status == OrderStatus::Ready {
            let asked = insist(async || order.finalize_csr(&csr).await).await;
            asked.map_err(|error| told(&error))?;
        }
        let is_signed = |status| matches!(status, OrderStatus::Valid | OrderStatus::Invalid);
        let mut status = order.state().status;
        if !is_signed(status) {
            status = self.settled(order, Phase::Finalize, is_signed).await?;
        }
        watch.lap(Phase::Finalize);
        if status == OrderStatus::Invalid {
            let problem = order.state().error.as_ref().map(said);
            let text = problem.unwrap_or_else(|| "the authority refused to sign".to_owned());
            return Err(Trouble::new(Phase::Finalize, text));
        }
        phase(Phase::Download);
        let chain = insist(async || order.certificate().await).await;
        let chain = chain.map_err(|error| Trouble::told(Phase::Download, &error))?;
        watch.lap(Phase::Download);
        let chain = chain.ok_or_else(|| Trouble::new(Phase::Download, "there is no chain"))?;
        Ok((key, chain))
    }

    /// A new key as PEM, and the request to sign it. Each certificate has its own key: one that was lost ends with it.
    fn request(&self) -> Result<(String, Vec<u8>), rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(self.hosts.to_vec())?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key)?;
        Ok((key.serialize_pem(), request.der().to_vec()))
    }
}

fn name(challenge: &instant_acme::Challenge) -> String {
    match &challenge.r#type {
        ChallengeType::Http01 => "http-01".to_owned(),
        ChallengeType::Dns01 => "dns-01".to_owned(),
        ChallengeType::TlsAlpn01 => "tls-alpn-01".to_owned(),
        ChallengeType::Unknown(name) => one_line(name),
        other => format!("{other:?}"),
    }
}
