//! What TLS listeners show, compiled: the part of a configuration that also changes without one.
//!
//! A certificate that is issued while we run, and what a certificate authority looks for before it issues one, are put in
//! place by making this anew and handing it to every worker. Routes, upstreams and what is known about them are not touched,
//! handshakes under way keep what they began with, and nothing is locked.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use rustls::ServerConfig;
use rustls::server::ProducesTickets;
use rustls::server::danger::ClientCertVerifier;

use super::config::{Certificate, Config, IdentityHeader};
use crate::net::certificate::ServerCertificate;
use crate::net::challenge::Answers;
use crate::net::client::{self, ClientTrustError};
use crate::net::tls::{self, CertificateStore, TlsError};

/// What every listener shows.
#[derive(Clone, Debug)]
pub struct Shown {
    listeners: FxHashMap<String, ListenerTls>,
    /// By name, in the configuration's order. One that has not been issued yet is not among them.
    certificates: Vec<(String, Arc<ServerCertificate>)>,
    answers: Arc<Answers>,
    /// TLS listeners and the names of their certificates.
    plan: Arc<[(String, Vec<String>)]>,
    tickets: Arc<dyn ProducesTickets>,
    /// How listeners that ask clients for certificates judge them.
    clients: FxHashMap<String, Clients>,
}

/// How a listener judges clients' certificates.
#[derive(Clone, Debug)]
struct Clients {
    verifier: Arc<dyn ClientCertVerifier>,
    headers: Arc<[IdentityHeader]>,
}

/// What a TLS listener serves.
#[derive(Clone, Debug)]
pub(super) struct ListenerTls {
    config: Arc<ServerConfig>,
    /// For an authority that looks for its answer, and has no certificate to show.
    open: Arc<ServerConfig>,
    pub(super) store: Arc<CertificateStore>,
    /// What upstreams are told of a client's certificate; `None`: clients are not asked for one.
    pub(super) identity: Option<Arc<[IdentityHeader]>>,
}

impl ListenerTls {
    /// What a handshake goes by; `validates`: only an authority's answer is asked for.
    pub(super) fn config(&self, validates: bool) -> Arc<ServerConfig> {
        Arc::clone(if validates { &self.open } else { &self.config })
    }
}

/// Why what listeners show cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum ShownError {
    /// Our certificates, or TLS as a whole.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// How clients' certificates are judged.
    #[error("listener `{listener}`: {source}")]
    Clients {
        /// The listener.
        listener: String,
        /// Why.
        source: Box<ClientTrustError>,
    },
}

impl Shown {
    /// Reads the certificates of `config`.
    ///
    /// # Errors
    /// When one of them cannot be used. One that is issued while we run may be missing.
    pub fn build(config: &Config, tickets: &Arc<dyn ProducesTickets>) -> Result<Self, ShownError> {
        let mut certificates = Vec::with_capacity(config.certificates.len());
        for certificate in &config.certificates {
            if let Some(loaded) = load(certificate)? {
                certificates.push((certificate.name.clone(), Arc::new(loaded)));
            }
        }
        let mut clients = FxHashMap::default();
        for listener in &config.listeners {
            let Some(asked) = &listener.clients else {
                continue;
            };
            let verifier = client::verifier(&asked.issuers, &asked.lists, !asked.required);
            let verifier = verifier.map_err(|source| ShownError::Clients {
                listener: listener.name.clone(),
                source: Box::new(source),
            })?;
            let headers = asked.headers.clone().into();
            clients.insert(listener.name.clone(), Clients { verifier, headers });
        }
        let listeners = config.listeners.iter();
        let plan = listeners
            .filter(|listener| !listener.certificates.is_empty())
            .map(|listener| (listener.name.clone(), listener.certificates.clone()))
            .collect();
        let shown = Self {
            listeners: FxHashMap::default(),
            certificates,
            answers: Arc::default(),
            plan,
            tickets: Arc::clone(tickets),
            clients,
        };
        Ok(shown.compiled()?)
    }

    /// The same with `certificate` in the place of the one of that name.
    ///
    /// # Errors
    /// When the provider lacks what TLS needs.
    pub fn with_certificate(
        &self,
        name: &str,
        certificate: Arc<ServerCertificate>,
    ) -> Result<Self, TlsError> {
        let mut shown = self.clone();
        match shown.certificates.iter_mut().find(|(it, _)| it == name) {
            Some((_, old)) => *old = certificate,
            None => shown.certificates.push((name.to_owned(), certificate)),
        }
        shown.compiled()
    }

    /// The same, showing certificate authorities `answers`.
    ///
    /// # Errors
    /// When the provider lacks what TLS needs.
    pub fn with_answers(&self, answers: Arc<Answers>) -> Result<Self, TlsError> {
        let mut shown = self.clone();
        shown.answers = answers;
        shown.compiled()
    }

    /// The same with those of `names` that are missing here as they were `before`: what was issued and cannot be read at
    /// this moment goes on being shown.
    ///
    /// # Errors
    /// When the provider lacks what TLS needs.
    pub fn keeping<'a>(
        &self,
        before: &Self,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Self, TlsError> {
        let mut shown = self.clone();
        for name in names {
            let is_it = |(it, _): &&(String, Arc<ServerCertificate>)| it == name;
            if shown.certificates.iter().any(|it| is_it(&it)) {
                continue;
            }
            if let Some(kept) = before.certificates.iter().find(is_it) {
                tracing::warn!(
                    name,
                    "what was issued cannot be read, and is shown as it was"
                );
                shown.certificates.push(kept.clone());
            }
        }
        shown.compiled()
    }

    /// What certificate authorities are shown.
    pub fn answers(&self) -> &Arc<Answers> {
        &self.answers
    }

    /// Names of certificates that `before` has too, with another content: their files were written anew.
    pub fn renewed<'a>(&'a self, before: &Self) -> Vec<&'a str> {
        let chain_before = |name: &str| {
            let known = before.certificates.iter().find(|(known, _)| known == name);
            known.map(|(_, certificate)| &certificate.key.cert)
        };
        self.certificates
            .iter()
            .filter(|(name, now)| chain_before(name).is_some_and(|chain| *chain != now.key.cert))
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// What a listener serves; `None`: plain text.
    pub(super) fn listener(&self, name: &str) -> Option<&ListenerTls> {
        self.listeners.get(name)
    }

    fn compiled(mut self) -> Result<Self, TlsError> {
        let by_name: FxHashMap<&str, &Arc<ServerCertificate>> = self
            .certificates
            .iter()
            .map(|(name, certificate)| (name.as_str(), certificate))
            .collect();
        let mut listeners = FxHashMap::default();
        for (listener, names) in self.plan.iter() {
            let of_listener: Vec<_> = names
                .iter()
                .filter_map(|name| by_name.get(name.as_str()).copied().cloned())
                .collect();
            let store = CertificateStore::new(&of_listener).answering(Arc::clone(&self.answers));
            let store = Arc::new(store);
            let clients = self.clients.get(listener);
            let verifier = clients.map(|it| Arc::clone(&it.verifier));
            let open = tls::server_config(&store, Arc::clone(&self.tickets), None)?;
            let open = Arc::new(open);
            let config = match verifier {
                None => Arc::clone(&open),
                asks => {
                    let tickets = Arc::clone(&self.tickets);
                    Arc::new(tls::server_config(&store, tickets, asks)?)
                }
            };
            let listening = ListenerTls {
                config,
                open,
                store,
                identity: clients.map(|it| Arc::clone(&it.headers)),
            };
            listeners.insert(listener.clone(), listening);
        }
        self.listeners = listeners;
        Ok(self)
    }
}

/// `None`: it is issued while we run, and there is none that could be used yet.
fn load(certificate: &Certificate) -> Result<Option<ServerCertificate>, TlsError> {
    match ServerCertificate::load(&certificate.chain, &certificate.key) {
        Ok(loaded) => Ok(Some(loaded)),
        Err(_) if certificate.issued => Ok(None),
        Err(error) => Err(error.into()),
    }
}
