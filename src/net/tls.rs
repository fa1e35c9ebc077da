//! TLS on both sides: certificates by name for clients, verification of upstreams.

use std::path::Path;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

use super::certificate::{CertificateError, ServerCertificate, certificates, private_key};
use super::challenge::{self, Answers};

/// The one cryptography provider of this program.
///
/// ring: it builds without further tools, and was a little faster than aws-lc-rs on kept-alive connections.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate could not be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// rustls refused the settings.
    #[error("TLS could not be set up: {0}")]
    Setup(#[from] rustls::Error),
    /// No root certificate could be found to verify upstreams by.
    #[error(
        "no root certificates were found on this machine: name a file with the upstream's `tls.roots_file`"
    )]
    NoRoots,
}

/// Certificates by the name a client asks for: exact, then wildcard, else refused.
#[derive(Debug, Default)]
pub struct CertificateStore {
    exact: FxHashMap<String, Arc<ServerCertificate>>,
    wildcard: FxHashMap<String, Arc<ServerCertificate>>,
    /// What certificate authorities are shown that ask for nothing but that.
    answers: Arc<Answers>,
}

impl CertificateStore {
    /// Indexes certificates by their names; of two with the same name the first wins.
    pub fn new(certificates: &[Arc<ServerCertificate>]) -> Self {
        let mut store = Self::default();
        for certificate in certificates {
            for name in &certificate.names {
                let (index, name) = match name.strip_prefix("*.") {
                    Some(domain) => (&mut store.wildcard, domain),
                    None => (&mut store.exact, name.as_str()),
                };
                index
                    .entry(name.to_owned())
                    .or_insert_with(|| Arc::clone(certificate));
            }
        }
        store
    }

    /// The same, which also shows certificate authorities what they look for.
    #[must_use]
    pub fn answering(mut self, answers: Arc<Answers>) -> Self {
        self.answers = answers;
        self
    }

    /// The certificate for a lower-case host.
    pub fn find(&self, host: &str) -> Option<&Arc<ServerCertificate>> {
        self.exact.get(host).or_else(|| {
            let (_, parent) = host.split_once('.')?;
            self.wildcard.get(parent)
        })
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has already checked that the name is a DNS name, and made it lower case.
        let host = hello.server_name()?;
        if let Some(mut protocols) = hello.alpn()
            && protocols.next() == Some(challenge::ALPN)
            && protocols.next().is_none()
        {
            return self.answers.tls.get(host).map(Arc::clone);
        }
        let found = self.find(host)?;
        Some(Arc::clone(&found.key))
    }
}

/// What a TLS listener offers: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, one session ticket. `clients` judges the certificates
/// of clients, which are asked for one then.
///
/// # Errors
/// When the provider lacks what TLS needs.
pub fn server_config(
    store: &Arc<CertificateStore>,
    ticketer: Arc<dyn ProducesTickets>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, TlsError> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let asks = clients.is_some();
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::clone(store) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if !store.answers.tls.is_empty() {
        config.alpn_protocols.push(challenge::ALPN.to_vec());
    }
    if asks {
        // A session that is resumed shows no certificate again: one of another listener, or from before a revocation, would
        // go past the judge.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        // One ticket resumes as well as two, and costs a handshake a tenth less.
        config.send_tls13_tickets = 1;
        config.ticketer = ticketer;
    }
    Ok(config)
}

/// Session tickets' keys; shared by all listeners and kept over reloads, so that clients can resume.
///
/// # Errors
/// When the system has no randomness.
pub fn ticketer() -> Result<Arc<dyn ProducesTickets>, TlsError> {
    Ok(ring::Ticketer::new()?)
}

/// How an upstream's certificate is judged.
///
/// # Errors
/// When no roots can be had.
pub fn client_config(roots: Option<&Path>, insecure: bool) -> Result<Arc<ClientConfig>, TlsError> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = if insecure {
        let verifier = Arc::new(Unverified(provider()));
        builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth()
    } else {
        builder
            .with_root_certificates(root_store(roots)?)
            .with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// How a receiver of telemetry is verified, and who we say we are: `identity` is a certificate chain and its key.
///
/// # Errors
/// When no roots can be had or the identity cannot be used.
pub fn receiver_config(
    roots: Option<&Path>,
    identity: Option<(&Path, &Path)>,
    protocol: &[u8],
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(root_store(roots)?);
    let mut config = match identity {
        Some((chain, key)) => {
            builder.with_client_auth_cert(certificates(chain)?, private_key(key)?)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

/// The roots in a file, or the system's.
///
/// # Errors
/// When there is none.
fn root_store(roots: Option<&Path>) -> Result<RootCertStore, TlsError> {
    store_of(root_certificates(roots)?)
}

/// The certificates of roots in a file, or the system's, which may be none.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn root_certificates(
    roots: Option<&Path>,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    Ok(match roots {
        Some(path) => certificates(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    })
}

/// A store of these roots.
///
/// # Errors
/// When none of them is one.
pub(super) fn store_of(roots: Vec<CertificateDer<'static>>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let (added, _ignored) = store.add_parsable_certificates(roots);
    if added == 0 {
        Err(TlsError::NoRoots)
    } else {
        Ok(store)
    }
}

/// Accepts any certificate: what `tls.insecure` asks for. The signature over the handshake is still checked, so the
/// server holds the key of whatever it shows.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
