//! From an account to a chain, one phase after the other.
//!
//! The library keeps to the protocol; what is here keeps on: a rejected nonce is no failure, an authorization that failed
//! says why, and whatever was put up for the authority to see is taken down again, however it ends.

use std::borrow::Cow;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier,
    NewOrder, OrderStatus,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::desk::{Desk, Posted};
use super::hook::{Hook, Txt};
use super::trouble::{Phase, Stopwatch, Trouble, insist, is, one_line, said};
use super::{Authority, Challenge};
use crate::clock::{Clock as _, SystemClock};
use crate::net::challenge::tls_answer;

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
    pub(super) desk: &'a Rc<Desk>,
    pub(super) clock: SystemClock,
}

/// From one look at an order to the next, at first and at most.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// For an authority to validate, and to sign.
const PATIENCE: Duration = Duration::from_secs(180);

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
        let mut posted = Posted::on(self.desk);
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
        posted.withdraw().await;
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

    async fn present(&self, tasks: &[Task], posted: &mut Posted) -> Result<(), Trouble> {
        let phase = Phase::Present;
        for task in tasks {
            match self.authority.challenge {
                Challenge::Http => posted.put_http(&task.token, &task.text),
                Challenge::TlsAlpn => {
                    let made = tls_answer(&task.host, &task.digest);
                    let made = Arc::new(made.map_err(|error| Trouble::new(phase, error))?);
                    posted.put_tls(&task.host, made);
                }
                Challenge::Dns => {
                    let txt = Txt {
                        name: record(&task.host),
                        value: task.dns.clone(),
                    };
                    let put = posted.put_dns(&hook(self.authority), txt).await;
                    put.map_err(|why| {
                        Trouble::new(phase, format!("hook present for {}: {why}", task.host))
                    })?;
                }
            }
        }
        match self.authority.challenge {
            Challenge::Dns if !tasks.is_empty() => {
                tokio::time::sleep(self.authority.hook_wait).await;
            }
            Challenge::Http | Challenge::TlsAlpn if !tasks.is_empty() => {
                if !posted.publish().await {
                    return Err(Trouble::new(phase, "nobody serves any more"));
                }
            }
            Challenge::Http | Challenge::TlsAlpn | Challenge::Dns => {}
        }
        Ok(())
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

/// The program that writes to the DNS.
pub(super) fn hook(authority: &Authority) -> Hook {
    Hook {
        // The configuration holds the challenge and it together.
        program: authority.hook.clone().unwrap_or_default(),
        environment: authority.hook_environment.clone(),
    }
}

/// Where an authority looks for the record of a host (RFC 8555, 8.4).
pub(super) fn record(host: &str) -> String {
    format!("_acme-challenge.{}", host.trim_start_matches("*."))
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
