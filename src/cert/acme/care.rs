//! One certificate, and the task that looks after it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::Wanted;
use super::budget::{self, Left};
use super::issuer::{Asked, Office, Told};
use super::keep::{Record, Stored};
use super::order::Purchase;
use super::renewal::{self, Held, Window};
use super::teller::Teller;
use super::trouble::{Phase, Stopwatch, Trouble};
use crate::clock::Clock as _;
use crate::model::Timestamp;
use crate::net::connect::reachable;
use crate::net::examine::Trust;
use crate::snapshot::IssuanceView;

/// Nothing is under way.
pub(super) const WAITING: &str = "waiting";
/// A clock that is set is noticed after this long, however far away the next thing to do is.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// One certificate being looked after.
pub(super) struct Care {
    office: Rc<Office>,
    teller: Rc<Teller>,
    wanted: Wanted,
    asked: Rc<Asked>,
    record: Record,
    stored: Option<Stored>,
    view: IssuanceView,
}

/// What is to be done about a certificate.
struct Next {
    /// When it is to be ordered, pauses included.
    at: Timestamp,
    /// When its renewal is due; `None`: at once.
    due: Option<(Timestamp, &'static str)>,
}

impl Care {
    /// Takes up what lies on disk.
    pub(super) fn new(
        office: Rc<Office>,
        teller: Rc<Teller>,
        wanted: Wanted,
        asked: Rc<Asked>,
        view: IssuanceView,
    ) -> Self {
        Self {
            stored: teller.keep().certificate(&wanted.name),
            record: teller.keep().record(&wanted.name),
            office,
            teller,
            wanted,
            asked,
            view,
        }
    }

    pub(super) async fn go_on(mut self) {
        loop {
            self.ask_when().await;
            let now = self.office.clock.now();
            let next = self.next(now);
            budget::tidy(now, &mut self.record.asked_for);
            let left = budget::left(now, &self.record.asked_for, self.lifetime_ms());
            self.tell_standing(&next, left);
            let is_time = next.at <= now || self.asked.now.get();
            match left {
                Left::Some(_) if is_time => {
                    self.asked.now.set(false);
                    self.attempt().await;
                    continue;
                }
                Left::Some(_) | Left::NoneBefore(_) => {}
            }
            let mut until = now.plus(LONGEST_SLEEP).min(match left {
                Left::Some(_) => next.at,
                Left::NoneBefore(at) => at.max(next.at),
            });
            if self.asks() {
                until = until.min(self.record.ask_at);
            }
            // A little at least, whatever the clock does meanwhile.
            let sleep = until.since(now).max(Duration::from_millis(10));
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                () = self.asked.wake.notified() => {}
            }
        }
    }

    fn lifetime_ms(&self) -> Option<u64> {
        Some(self.stored.as_ref()?.facts.lifetime_ms())
    }

    /// The certificate in use, if it is the one that is wanted.
    fn fitting(&self) -> Option<&Stored> {
        let stored = self.stored.as_ref()?;
        let hosts = &self.wanted.hosts;
        let is_it = self.record.directory == self.teller.authority.directory
            // Authorities may add names of their own to those that were ordered.
            && (self.record.hosts == *hosts || stored.facts.names.len() == hosts.len())
            && hosts.iter().all(|host| stored.facts.names.contains(host));
        is_it.then_some(stored)
    }

    fn next(&self, now: Timestamp) -> Next {
        let due = self.fitting().map(|stored| {
            let issued_at = self.record.issued_at.unwrap_or(stored.facts.not_before);
            let id = renewal::id(&stored.facts);
            let (at, word) = renewal::due(
                &Held::new(&stored.facts, issued_at),
                id.as_deref(),
                self.record.window.as_ref(),
                self.teller.authority.renew_before,
            );
            (at, word.as_str())
        });
        let at = due.map_or(Timestamp::default(), |(at, _)| at);
        Next {
            at: if self.record.failures > 0 {
                // A pause lasts no longer than a day, however far ahead a clock that has been set since wrote it.
                at.max(self.record.retry_at.min(now.plus(LONGEST_WORD)))
            } else {
                at
            },
            due,
        }
    }

    fn tell_standing(&mut self, next: &Next, left: Left) {
        let record = &self.record;
        let view = &mut self.view;
        WAITING.clone_into(&mut view.state);
        view.issued_at = self.stored.as_ref().and(record.issued_at);
        view.due_at = next.due.map(|(at, _)| at);
        view.due_by = next.due.map(|(_, word)| word.to_owned());
        view.window = record.window.as_ref().map(|it| (it.start, it.end));
        view.explanation = record.window.as_ref().and_then(|it| it.explanation.clone());
        view.failures = u64::from(record.failures);
        view.error = record.error.as_ref().map(|(_, error)| error.clone());
        view.error_at = record.error.as_ref().map(|(at, _)| *at);
        (view.budget_left, view.next_at) = match left {
            Left::Some(left) => (left, Some(next.at)),
            Left::NoneBefore(at) => (0, Some(at.max(next.at))),
        };
        let spent = match left {
            Left::Some(_) => None,
            Left::NoneBefore(at) => Some(format!(
                "the budget of `{}` is spent: no more before {at}",
                self.wanted.name
            )),
        };
        self.asked.spent.replace(spent);
        let asks = self.asks();
        self.view.ask_at = asks.then_some(self.record.ask_at);
        self.office.put_up(self.view.clone());
    }

    fn in_phase(&mut self, phase: Phase) {
        phase.as_str().clone_into(&mut self.view.state);
        self.office.put_up(self.view.clone());
    }

    /// Writes down what is known.
    fn note(&mut self) -> Result<(), Trouble> {
        let kept = self
            .teller
            .keep()
            .put_record(&self.wanted.name, &self.record);
        kept.map_err(|error| Trouble::new(Phase::Install, format!("cannot write: {error}")))
    }

    // === Renewal information ===

    /// Whether the authority can be asked when to renew.
    fn asks(&self) -> bool {
        self.fitting()
            .is_some_and(|stored| renewal::id(&stored.facts).is_some())
    }

    /// Asks the authority when to renew, if it is time to.
    async fn ask_when(&mut self) {
        let now = self.office.clock.now();
        // What lies further ahead was written by a clock that has been set since.
        let waits = self.record.ask_at > now && self.record.ask_at <= now.plus(LONGEST_WORD);
        if !self.asks() || waits {
            return;
        }
        let Some(id) = self.fitting().and_then(|it| renewal::id(&it.facts)) else {
            return;
        };
        let at_most = self.teller.authority.ask_every;
        let answer = self.renewal_info(&id).await;
        let wait = match answer {
            Ok(Some((told, again))) => {
                self.take_in(&id, told).await;
                renewal::ask_again(Some(again), at_most)
            }
            // It has none, or it says nothing that could be understood.
            Ok(None) => renewal::ask_again(None, at_most),
            Err(_) => renewal::ask_again(Some(Duration::ZERO), at_most),
        };
        self.record.ask_at = self.office.clock.now().plus(wait);
        // What cannot be written is asked for again after a restart.
        drop(self.note());
    }

    async fn renewal_info(
        &self,
        id: &str,
    ) -> Result<Option<(instant_acme::RenewalInfo, Duration)>, Trouble> {
        let account = self.teller.account().await?;
        let Some((key, serial)) = id.split_once('.') else {
            return Ok(None);
        };
        let named = instant_acme::CertificateIdentifier {
            authority_key_identifier: key.into(),
            serial: serial.into(),
        };
        Ok(account.0.renewal_info(&named).await.ok())
    }

    async fn take_in(&mut self, id: &str, told: instant_acme::RenewalInfo) {
        let at = |time: time::OffsetDateTime| {
            Timestamp::from_millis(
                u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0),
            )
        };
        let span = (
            at(told.suggested_window.start),
            at(told.suggested_window.end),
        );
        let explanation = told.explanation_url.filter(|url| url.len() <= 2_048);
        let known = self.record.window.as_ref();
        let Some(window) = Window::told(known, id, span, explanation, roll()) else {
            return;
        };
        let is_news = window.moved && known.is_none_or(|known| known.start != window.start);
        if is_news {
            let why = window.explanation.as_ref();
            let why = why.map_or_else(String::new, |page| format!(", see {page}"));
            let text = format!(
                "certificate {}: {} wants it renewed between {} and {}{why}",
                self.wanted.name, self.teller.authority.name, window.start, window.end
            );
            self.office.desk.say(text).await;
        }
        self.record.window = Some(window);
    }

    // === An order ===

    async fn attempt(&mut self) {
        let office = Rc::clone(&self.office);
        let Ok(_turn) = office.turns.acquire().await else {
            // It is never closed.
            return;
        };
        self.asked.busy.set(true);
        let mut watch = Stopwatch::new(office.clock);
        let outcome = self.purchase(&mut watch).await;
        self.asked.busy.set(false);
        let now = office.clock.now();
        match outcome {
            Ok(text) => {
                self.view.issued += 1;
                office.desk.say(text).await;
            }
            Err(trouble) => {
                watch.lap(trouble.phase);
                self.view.failed += 1;
                let told = self.teller.refused_for().await;
                self.teller.learn(&trouble).await;
                self.record.failures = self.record.failures.saturating_add(1);
                let failures = self.record.failures;
                let pause = renewal::pause(failures, self.lifetime_ms(), roll());
                let pause = pause.max(told.unwrap_or_default().min(LONGEST_WORD));
                self.record.retry_at = now.plus(pause);
                let text = format!(
                    "certificate {} was not issued by {} ({}): {trouble}; again at {}Z",
                    self.wanted.name,
                    self.teller.authority.name,
                    if failures == 1 {
                        "once".to_owned()
                    } else {
                        format!("{failures} times in a row")
                    },
                    self.record.retry_at.time_of_day()
                );
                self.record.error = Some((now, trouble.to_string()));
                drop(self.note());
                office.desk.say(text).await;
            }
        }
        self.view.phases = watch
            .phases
            .iter()
            .map(|(phase, took)| (phase.as_str().to_owned(), took.as_secs_f64()))
            .collect();
    }

    /// Gets a certificate and has it served; gives what to say about it.
    async fn purchase(&mut self, watch: &mut Stopwatch) -> Result<String, Trouble> {
        let office = Rc::clone(&self.office);
        let teller = Rc::clone(&self.teller);
        let hosts = self.wanted.hosts.clone();
        self.in_phase(Phase::Account);
        let account = teller.account().await?;
        watch.lap(Phase::Account);
        let replaces = self.fitting().and_then(|it| renewal::id(&it.facts));
        let purchase = Purchase {
            authority: &teller.authority,
            hosts: &hosts,
            replaces: replaces.as_deref(),
            desk: &office.desk,
            clock: office.clock,
        };
        let mut order = purchase
            .validated(&account.0, watch, |phase| self.in_phase(phase))
            .await?;
        // Counted before it is asked for: if we crash now, it was one.
        self.record.asked_for.push(office.clock.now());
        self.note()?;
        let (key, chain) = purchase
            .finalized(&mut order, watch, |phase| self.in_phase(phase))
            .await?;
        self.in_phase(Phase::Install);
        self.install(&key, &chain).await?;
        watch.lap(Phase::Install);
        self.in_phase(Phase::Serve);
        let shown = self.is_shown().await;
        watch.lap(Phase::Serve);
        self.ask_when().await;
        let took: Duration = watch.phases.iter().map(|(_, took)| *took).sum();
        let due = self.next(office.clock.now()).at;
        let text = format!(
            "certificate {} issued by {} in {:.1} s, renewal due {due}{}",
            self.wanted.name,
            teller.authority.name,
            took.as_secs_f64(),
            if shown {
                ""
            } else {
                "; no listener shows it yet"
            }
        );
        Ok(text)
    }

    async fn install(&mut self, key: &str, chain: &str) -> Result<(), Trouble> {
        let trouble = |text: String| Trouble::new(Phase::Install, text);
        let now = self.office.clock.now();
        let keep = self.teller.keep();
        let stored = keep.put_certificate(&self.wanted.name, key, chain, |facts| {
            if facts.left_ms(now) <= 0 {
                return Err(format!("what was issued ended {} already", facts.not_after));
            }
            let missing = self
                .wanted
                .hosts
                .iter()
                .find(|host| !facts.names.contains(*host));
            missing.map_or(Ok(()), |host| {
                Err(format!("what was issued is not for {host}"))
            })
        });
        let stored = stored.map_err(trouble)?;
        self.record = Record {
            directory: self.teller.authority.directory.clone(),
            issued_at: Some(now),
            hosts: self.wanted.hosts.clone(),
            asked_for: std::mem::take(&mut self.record.asked_for),
            ..Record::default()
        };
        self.note()?;
        let certificate = Arc::clone(&stored.served);
        self.stored = Some(stored);
        let name = self.wanted.name.clone();
        let handed = self.office.desk.hand_over(|done| Told::Issued {
            name,
            certificate,
            done,
        });
        if handed.await {
            Ok(())
        } else {
            Err(trouble("nobody serves any more".to_owned()))
        }
    }

    /// Shakes hands with our own listeners until one shows the certificate.
    async fn is_shown(&self) -> bool {
        /// For the first handshake that shows it.
        const PATIENCE: Duration = Duration::from_secs(5);
        let (Some(stored), Some(host)) = (&self.stored, self.wanted.hosts.first()) else {
            return false;
        };
        let places: Vec<SocketAddr> = self
            .office
            .shown_at
            .borrow()
            .iter()
            .filter(|(name, _)| *name == self.wanted.name)
            .map(|(_, address)| reachable(*address))
            .collect();
        let Ok(host) = ServerName::try_from(host.replace('*', "any")) else {
            return false;
        };
        let trust = Trust::anything();
        let looking = async {
            loop {
                for place in &places {
                    let Ok(tcp) = TcpStream::connect(place).await else {
                        continue;
                    };
                    let seen = trust.examine(tcp, host.clone(), &[]).await;
                    let leaf = seen.chain.first();
                    if leaf.is_some_and(|leaf| leaf.sha256 == stored.facts.sha256) {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        !places.is_empty() && tokio::time::timeout(PATIENCE, looking).await.is_ok()
    }
}

/// The longest that an authority's wish to be left alone is heeded.
const LONGEST_WORD: Duration = Duration::from_secs(86_400);

/// Uniform in 0..1.
fn roll() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness everything happens in the middle.
    if SystemRandom::new().fill(&mut bytes).is_err() {
        return 0.5;
    }
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
