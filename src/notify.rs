//! Telling people: what fires is handed to Alertmanager, to a webhook or to a chat.
//!
//! Nothing is queued. Each receiver has a ledger of what it was told, and is told the difference between that and
//! what is: so a receiver that was away for an hour hears of what fires now, once, and not of an hour's flapping. The
//! ledgers are kept beside the history, so a restart neither repeats a page nor forgets to take one back.
//!
//! Delivery runs on a thread of its own, one task a receiver. A slow or dead receiver holds up nobody: not traffic, not
//! judging, not the other receivers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, StatusCode, Uri};
use ring::hmac;
use rustls::ClientConfig;
use tokio::sync::watch;

use crate::clock::{Clock, SystemClock};
use crate::model::Timestamp;
use crate::net::post::{Answer, delete, post};
use crate::net::tls::{TlsError, client_config};
use crate::slo::policy::Severity;
use crate::snapshot::{ReceiverView, Snapshot};

mod ledger;
mod message;
mod mirror;

use ledger::{Book, Ledger};
pub use ledger::{Notice, Status};
use mirror::{Mirrors, Postponed, Step};

/// Someone to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Its unique name.
    pub name: String,
    /// What it understands.
    pub kind: Kind,
    /// Where it listens. May hold a secret: never shown whole.
    pub url: Uri,
    /// What it wants to hear of.
    pub severities: Vec<Severity>,
    /// Holds the key that messages of a webhook are signed with.
    pub key: Option<PathBuf>,
    /// Holds a bearer token.
    pub token: Option<PathBuf>,
    /// Issuers that are trusted instead of the system's.
    pub roots: Option<PathBuf>,
    /// The most that one delivery may take.
    pub timeout: Duration,
    /// Whether it is told every minute that alerting works; a chat never is.
    pub watchdog: bool,
}

/// What a receiver understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Alertmanager's API v2.
    Alertmanager,
    /// Our own JSON, one message for each change.
    Webhook,
    /// A text message, as Slack and Mattermost take it.
    Slack,
}

impl Kind {
    /// Its word in the configuration and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::Webhook => "webhook",
            Self::Slack => "slack",
        }
    }
}

/// The file in the state directory that holds what each receiver was told.
pub const FILE: &str = "notify.json";
/// The file that holds which copies of silences each Alertmanager has.
const COPIES: &str = "notify_silences.json";

/// The running deliveries.
#[derive(Debug)]
pub struct Notifier {
    shared: Arc<Shared>,
    receivers: watch::Sender<Arc<Vec<Receiver>>>,
    thread: JoinHandle<()>,
}

/// Wakes up after a failed delivery: at first so soon, then twice as late each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// At the latest.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// The longest a receiver may ask us to wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

#[derive(Debug)]
struct Shared {
    clock: SystemClock,
    path: PathBuf,
    copies: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    book: Book,
    mirrors: Mirrors,
    views: Vec<ReceiverView>,
    /// Why the ledgers could not be written.
    unwritten: Option<String>,
    /// Why silences could not be copied, by the receiver's name.
    uncopied: BTreeMap<String, String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in a delivery leaves numbers and texts, which are as good as before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notifier {
    /// Starts delivering what `snapshots` say to `receivers`, remembering it in `dir`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        receivers: Vec<Receiver>,
        dir: &Path,
        clock: SystemClock,
        snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    ) -> io::Result<Self> {
        let path = dir.join(FILE);
        let book = ledger::load(&path).unwrap_or_else(|error| {
            tracing::warn!(%error, path = %path.display(), "what receivers were told is not known; they may be told again");
            Book::default()
        });
        let copies = dir.join(COPIES);
        let mirrors = ledger::load(&copies).unwrap_or_else(|error| {
            tracing::warn!(%error, path = %copies.display(), "which silences Alertmanager has is not known; they end there by themselves");
            Mirrors::default()
        });
        let state = State {
            book,
            mirrors,
            views: receivers.iter().map(view).collect(),
            unwritten: None,
            uncopied: BTreeMap::new(),
        };
        let shared = Arc::new(Shared {
            clock,
            path,
            copies,
            state: Mutex::new(state),
        });
        let (receivers, changes) = watch::channel(Arc::new(receivers));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("notify".to_owned())
            .spawn(move || runtime.block_on(serve(for_thread, changes, snapshots)))?;
        Ok(Self {
            shared,
            receivers,
            thread,
        })
    }

    /// Tells others from now on. Who stays is not told again what it knows.
    pub fn replace(&self, receivers: Vec<Receiver>) {
        let mut state = self.shared.lock();
        state.views = receivers.iter().map(view).collect();
        state.uncopied.clear();
        drop(state);
        self.receivers.send_replace(Arc::new(receivers));
    }

    /// How each receiver fares.
    pub fn views(&self) -> Vec<ReceiverView> {
        self.shared.lock().views.clone()
    }

    /// What is wrong, in one line; `None`: nothing.
    pub fn trouble(&self) -> Option<String> {
        let state = self.shared.lock();
        let failing = state.views.iter().find_map(|view| {
            let error = view.last_error.as_ref()?;
            Some(format!("{} is not told: {error}", view.name))
        });
        let uncopied = || {
            let (name, error) = state.uncopied.first_key_value()?;
            Some(format!("{name} has not all silences: {error}"))
        };
        failing
            .or_else(|| state.unwritten.clone())
            .or_else(uncopied)
    }

    /// Ends it at once. What was under way is told again after the next start.
    pub fn finish(self) {
        let Self {
            shared: _,
            receivers,
            thread,
        } = self;
        drop(receivers);
        // A thread that panicked has nothing more to say.
        drop(thread.join());
    }
}

fn view(receiver: &Receiver) -> ReceiverView {
    ReceiverView {
        name: receiver.name.clone(),
        kind: receiver.kind.as_str().to_owned(),
        delivered: 0,
        failed: 0,
        last_delivered: None,
        last_error: None,
    }
}

async fn serve(
    shared: Arc<Shared>,
    mut receivers: watch::Receiver<Arc<Vec<Receiver>>>,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
) {
    loop {
        let now: Arc<Vec<Receiver>> = Arc::clone(&receivers.borrow_and_update());
        let mut deliveries = tokio::task::JoinSet::new();
        for receiver in now.iter() {
            let (receiver, shared) = (receiver.clone(), Arc::clone(&shared));
            deliveries.spawn(tell(receiver, shared, snapshots.clone()));
        }
        if receivers.changed().await.is_err() {
            return;
        }
    }
}

/// Tells one receiver whatever it does not know, for ever.
async fn tell(
    receiver: Receiver,
    shared: Arc<Shared>,
    mut snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
) {
    let mut retry = FIRST_RETRY;
    let mut postponed = Postponed::default();
    let mut repeated: Option<Timestamp> = None;
    loop {
        if snapshots.changed().await.is_err() {
            return;
        }
        let Some(snapshot) = snapshots.borrow_and_update().clone() else {
            continue;
        };
        let known = shared.lock().book.of(&receiver.name);
        let mut notices = known.news((&*snapshot).into(), &receiver.severities);
        let minute_over = repeated.is_none_or(|last| snapshot.at.since(last) >= message::REMIND);
        let is_due = match receiver.kind {
            // It forgets what it is not reminded of.
            Kind::Alertmanager => minute_over && (receiver.watchdog || !known.is_empty()),
            Kind::Webhook => minute_over && receiver.watchdog,
            Kind::Slack => false,
        };
        match receiver.kind {
            // It inhibits by rules of its own, and has to know all for that.
            Kind::Alertmanager => {}
            Kind::Webhook | Kind::Slack => {
                ledger::hold_back(&mut notices, (&*snapshot).into(), &receiver.severities);
            }
        }
        let steps = match receiver.kind {
            Kind::Alertmanager => {
                let Snapshot {
                    silences,
                    instance,
                    at,
                    ..
                } = &*snapshot;
                let mut state = shared.lock();
                let mut steps = state.mirrors.steps(&receiver.name, silences, instance, *at);
                if steps.is_empty() {
                    state.uncopied.remove(&receiver.name);
                } else if postponed.holds(&steps, *at) {
                    steps.clear();
                }
                steps
            }
            Kind::Webhook | Kind::Slack => Vec::new(),
        };
        if notices.is_empty() && !is_due && steps.is_empty() {
            continue;
        }
        // Silences first, so that nothing is told in between. One that cannot be copied holds up no alert.
        match copy_silences(&shared, &receiver, &steps).await {
            Ok(()) if steps.is_empty() => {}
            Ok(()) => postponed = Postponed::default(),
            Err(failure) => {
                let asked = failure.retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
                postponed.failed(steps, snapshot.at, asked);
                not_copied(&shared, &receiver, failure);
            }
        }
        match deliver(&receiver, &snapshot, &known, &notices).await {
            Ok(()) => {
                retry = FIRST_RETRY;
                repeated = Some(snapshot.at);
                delivered(&shared, &receiver, &notices);
            }
            Err(failure) => {
                failed(&shared, &receiver, &failure);
                // Silences come first again when it is back.
                postponed = Postponed::default();
                let asked = failure.retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
                tokio::time::sleep(retry.max(asked)).await;
                retry = (retry * 2).min(LAST_RETRY);
            }
        }
    }
}

fn delivered(shared: &Shared, receiver: &Receiver, notices: &[Notice]) {
    for notice in notices {
        tracing::info!(
            receiver = receiver.name,
            alert = notice.id,
            status = notice.status.as_str(),
            "told"
        );
    }
    let mut state = shared.lock();
    if !notices.is_empty() {
        state.book.note(&receiver.name, notices);
        let written = ledger::save(&state.book, &shared.path);
        state.unwritten = written.err().map(|error| {
            format!("what receivers were told cannot be kept, a restart may tell it again: {error}")
        });
    }
    let now = shared.clock.now();
    if let Some(view) = view_of(&mut state, receiver) {
        view.delivered += 1;
        view.last_delivered = Some(now);
        view.last_error = None;
    }
}

fn failed(shared: &Shared, receiver: &Receiver, failure: &Failure) {
    let mut state = shared.lock();
    if let Some(view) = view_of(&mut state, receiver) {
        view.failed += 1;
        if view.last_error.as_ref() != Some(&failure.text) {
            tracing::warn!(
                receiver = receiver.name,
                error = failure.text,
                "not told; trying again"
            );
        }
        view.last_error = Some(failure.text.clone());
    }
}

fn not_copied(shared: &Shared, receiver: &Receiver, failure: Failure) {
    let mut state = shared.lock();
    if let Some(view) = view_of(&mut state, receiver) {
        view.failed += 1;
    }
    let (name, error) = (receiver.name.clone(), failure.text);
    if state.uncopied.get(&name) != Some(&error) {
        tracing::warn!(
            receiver = name,
            error,
            "a silence is not copied; trying again"
        );
    }
    state.uncopied.insert(name, error);
}

fn view_of<'a>(state: &'a mut State, receiver: &Receiver) -> Option<&'a mut ReceiverView> {
    state
        .views
        .iter_mut()
        .find(|view| view.name == receiver.name)
}

/// Why something could not be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In one line, without the URL's path, which may be a secret.
    pub text: String,
    retry_after: Option<Duration>,
    /// Whether the receiver took the message for wrong, so that another may well be taken.
    refused: bool,
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self {
            text,
            retry_after: None,
            refused: false,
        }
    }
}

async fn deliver(
    receiver: &Receiver,
    snapshot: &Snapshot,
    known: &Ledger,
    notices: &[Notice],
) -> Result<(), Failure> {
    for message in message::messages(receiver, snapshot, known, notices) {
        send(receiver, message, snapshot.at).await?;
    }
    Ok(())
}

/// Makes and ends copies of silences, and remembers each. One that is refused holds up no other; the first failure is
/// given.
async fn copy_silences(
    shared: &Shared,
    receiver: &Receiver,
    steps: &[Step],
) -> Result<(), Failure> {
    let mut outcome = Ok(());
    for step in steps {
        let theirs = match copy_silence(receiver, step).await {
            Ok(theirs) => theirs,
            Err(failure) if failure.refused => {
                outcome = outcome.and(Err(failure));
                continue;
            }
            Err(failure) => return outcome.and(Err(failure)),
        };
        let mut state = shared.lock();
        state.mirrors.done(&receiver.name, step, theirs);
        let written = ledger::save(&state.mirrors, &shared.copies);
        if let Err(error) = written {
            tracing::warn!(%error, "which silences Alertmanager has cannot be kept; after a restart they end there by themselves");
        }
    }
    outcome
}

/// Gives the id of a copy that was made.
async fn copy_silence(receiver: &Receiver, step: &Step) -> Result<String, Failure> {
    let tls = tls(receiver).map_err(|error| Failure::from(error.to_string()))?;
    let patience = receiver.timeout;
    let (url, answered) = match step {
        Step::Make { body, .. } => {
            let url = mirror::silences(receiver);
            let message = Bytes::from(body.to_string());
            let headers = bearer(receiver)?;
            let answered = post(&url, &tls, &headers, message, patience).await;
            (url, answered)
        }
        Step::End { theirs, .. } => {
            let url = mirror::silence(receiver, theirs);
            let answered = delete(&url, &tls, &bearer(receiver)?, patience).await;
            (url, answered)
        }
    };
    let answer = answered.map_err(|error| format!("{}: {error}", place(&url)))?;
    let Answer {
        status,
        retry_after,
        detail,
    } = answer;
    match step {
        Step::Make { .. } if status.is_success() => {
            let given: Option<serde_json::Value> = serde_json::from_str(&detail).ok();
            let id = given.as_ref().and_then(|given| given["silenceID"].as_str());
            let is_id = |id: &&str| {
                id.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            };
            id.filter(is_id)
                .map(ToOwned::to_owned)
                .ok_or_else(|| Failure::from(format!("{} gave no id to a silence", place(&url))))
        }
        // Somebody else ended it there: it is as it should be.
        Step::End { .. }
            if status.is_success()
                || status == StatusCode::NOT_FOUND
                || detail.contains("expired") =>
        {
            Ok(String::new())
        }
        Step::Make { .. } | Step::End { .. } => Err(Failure {
            text: refusal(&url, status, &detail),
            retry_after,
            refused: status.is_client_error(),
        }),
    }
}

/// Sends a message that is about nothing, to see whether it arrives.
///
/// # Errors
/// Why it did not.
pub async fn test(receiver: &Receiver, instance: &str, now: Timestamp) -> Result<(), Failure> {
    send(receiver, message::test(receiver, instance, now), now).await
}

async fn send(receiver: &Receiver, message: Vec<u8>, now: Timestamp) -> Result<(), Failure> {
    let tls = tls(receiver).map_err(|error| Failure::from(error.to_string()))?;
    let headers = headers(receiver, &message, now)?;
    let url = message::url(receiver);
    let posted = post(&url, &tls, &headers, Bytes::from(message), receiver.timeout).await;
    match posted {
        Ok(Answer { status, .. }) if status.is_success() => Ok(()),
        Ok(Answer {
            status,
            retry_after,
            detail,
        }) => Err(Failure {
            text: refusal(&url, status, &detail),
            retry_after,
            refused: status.is_client_error(),
        }),
        Err(error) => Err(Failure::from(format!("{}: {error}", place(&url)))),
    }
}

/// Where a URL leads, without its path.
fn place(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("http");
    let port = url.port_u16().map(|port| format!(":{port}"));
    format!(
        "{scheme}://{}{}",
        url.host().unwrap_or_default(),
        port.unwrap_or_default()
    )
}

/// The longest piece of an answer that is quoted.
const MAX_DETAIL: usize = 200;

fn refusal(url: &Uri, status: StatusCode, detail: &str) -> String {
    let detail: String = detail
        .chars()
        .take(MAX_DETAIL)
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect();
    let place = place(url);
    if detail.is_empty() {
        format!("{place} answered {status}")
    } else {
        format!("{place} answered {status}: {detail}")
    }
}

fn tls(receiver: &Receiver) -> Result<Arc<ClientConfig>, TlsError> {
    // Roots are only looked for where they are needed: a machine may have none.
    let insecure = receiver.url.scheme_str() != Some("https");
    client_config(receiver.roots.as_deref(), insecure)
}

const SIGNATURE: HeaderName = HeaderName::from_static("x-vestibule-signature");
const SIGNED_AT: HeaderName = HeaderName::from_static("x-vestibule-timestamp");

fn headers(
    receiver: &Receiver,
    message: &[u8],
    now: Timestamp,
) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
    let mut headers = bearer(receiver)?;
    if let Some(path) = &receiver.key {
        let seconds = now.as_secs().to_string();
        let signature = sign(secret(path)?.as_bytes(), &seconds, message);
        for (name, value) in [(SIGNATURE, signature), (SIGNED_AT, seconds)] {
            let value = HeaderValue::from_str(&value).expect("digits are a header's value");
            headers.push((name, value));
        }
    }
    Ok(headers)
}

/// Who we are to the receiver.
fn bearer(receiver: &Receiver) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
    let Some(path) = &receiver.token else {
        return Ok(Vec::new());
    };
    let token = secret(path)?;
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_not_one| format!("{} holds no token", path.display()))?;
    value.set_sensitive(true);
    Ok(vec![(AUTHORIZATION, value)])
}

/// `sha256=` and the HMAC-SHA256 (RFC 2104) of the time, a point and the message, in hexadecimal. The time is signed
/// too, so that an old message cannot be sent again as a new one.
fn sign(key: &[u8], seconds: &str, message: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    context.update(seconds.as_bytes());
    context.update(b".");
    context.update(message);
    let tag = context.sign();
    let digits = tag.as_ref().iter().map(|byte| format!("{byte:02x}"));
    "sha256=".to_owned() + &digits.collect::<String>()
}

/// The longest secret.
const MAX_SECRET: u64 = 4 * 1024;

/// Read at each delivery, so that a rotated one is used at once.
fn secret(path: &Path) -> Result<String, Failure> {
    let read = || {
        let mut text = String::new();
        File::open(path)?
            .take(MAX_SECRET)
            .read_to_string(&mut text)?;
        io::Result::Ok(text.trim().to_owned())
    };
    match read() {
        Ok(text) if text.is_empty() => Err(format!("{} is empty", path.display()).into()),
        Ok(text) => Ok(text),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_others_compute() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        let expected = EXPECTED;
        assert_eq!(sign(b"secret", "1700000000", br#"{"a":1}"#), expected);
    }

    const EXPECTED: &str =
        "sha256=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686";

    /// Answers 400 to whatever holds `bad`, and gives all else an id.
    async fn fussy(listener: tokio::net::TcpListener) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        loop {
            let (mut conn, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            // All that is asked here ends with `}`.
            while !seen.ends_with(b"}") {
                assert_ne!(conn.read_buf(&mut seen).await.unwrap(), 0);
            }
            let is_bad = String::from_utf8_lossy(&seen).contains("bad");
            let (status, body) = if is_bad {
                ("400 Bad Request", "no")
            } else {
                ("200 OK", r#"{"silenceID":"x-1"}"#)
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            conn.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    #[test]
    fn a_silence_that_is_refused_holds_up_no_other() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let shared = Shared {
            clock: SystemClock::new(),
            path: dir.path().join(FILE),
            copies: dir.path().join(COPIES),
            state: Mutex::default(),
        };
        let silence = |id: &str| crate::snapshot::SilenceView {
            id: id.to_owned(),
            matchers: Vec::new(),
            owner: "ada".to_owned(),
            reason: id.to_owned(),
            from: Timestamp::from_secs(100),
            until: Timestamp::from_secs(200),
            deploy: None,
            muted: Vec::new(),
        };
        let silences = [silence("bad"), silence("good")];
        let steps = |shared: &Shared| {
            let mut state = shared.lock();
            let now = Timestamp::from_secs(110);
            state.mirrors.steps("am", &silences, "i", now)
        };
        let failure = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let place = listener.local_addr().unwrap();
            tokio::spawn(fussy(listener));
            let receiver = Receiver {
                name: "am".to_owned(),
                kind: Kind::Alertmanager,
                url: format!("http://{place}").parse().unwrap(),
                severities: Vec::new(),
                key: None,
                token: None,
                roots: None,
                timeout: Duration::from_secs(10),
                watchdog: false,
            };
            copy_silences(&shared, &receiver, &steps(&shared)).await
        });
        let failure = failure.unwrap_err();
        assert!(failure.text.contains("400"), "{failure:?}");
        let left = steps(&shared);
        assert!(
            matches!(&left[..], [Step::Make { ours, .. }] if ours == "bad"),
            "{left:?}"
        );
    }

    #[test]
    fn a_refusal_shows_no_secret_and_no_control_character() {
        let url = "https://hooks.example/services/T0/B0/very-secret"
            .parse()
            .unwrap();
        let text = refusal(&url, StatusCode::FORBIDDEN, "\x1b[2Jinvalid_token");
        assert_eq!(
            text,
            "https://hooks.example answered 403 Forbidden: \\u{1b}[2Jinvalid_token"
        );
    }
}
