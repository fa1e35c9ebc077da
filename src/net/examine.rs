//! Shaking hands with a server to learn what it shows, whether or not it deserves trust.
//!
//! An ordinary verifier refuses a bad chain, and all that is left is an error. The one here notes the chain first, asks
//! the ordinary verifier, and returns its answer: nothing is trusted that would not have been, and yet the dates of an
//! expired certificate are known.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::objects::{oid_registry, oid2abbrev, oid2sn};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Name;

use super::certificate::names;
use super::tls::{TlsError, provider, root_certificates, store_of};
use crate::model::{CertificateFacts, ProbeFailure, Timestamp};

/// How chains are judged. Cheap to clone, costly to make: the roots are read and indexed once.
#[derive(Clone, Debug)]
pub struct Trust {
    /// `None` takes any chain.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    /// What the roots say of themselves.
    roots: Arc<[CertificateFacts]>,
}

impl Trust {
    /// By the roots in a file, or the system's.
    ///
    /// # Errors
    /// When there are no roots.
    pub fn load(roots: Option<&Path>) -> Result<Self, TlsError> {
        let certificates = root_certificates(roots)?;
        let roots = certificates.iter().filter_map(facts).collect();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(store_of(certificates)?.into(), provider())
                .build()
                // The store has a root, and there are no revocation lists: nothing else can be wrong.
                .or(Err(TlsError::NoRoots))?;
        Ok(Self {
            verifier: Some(verifier),
            roots,
        })
    }

    /// Until when `chain` leads to a root that is trusted: of each way the certificate that ends first, and of these the
    /// one that ends last. Ways are found by names alone, so this is only to be asked of a chain that was verified.
    fn verified_until(&self, chain: &[CertificateFacts]) -> Option<Timestamp> {
        self.verifier.as_ref()?;
        let leaf = chain.first()?;
        self.ends(leaf, chain, LONGEST_CHAIN)
    }

    fn ends(
        &self,
        from: &CertificateFacts,
        chain: &[CertificateFacts],
        left: usize,
    ) -> Option<Timestamp> {
        if self.roots.iter().any(|root| root.sha256 == from.sha256) {
            return Some(from.not_after);
        }
        let roots = self.roots.iter().filter(|root| root.subject == from.issuer);
        let through_roots = roots.map(|root| root.not_after);
        let others = chain.iter().filter(|other| {
            left > 0 && other.subject == from.issuer && other.sha256 != from.sha256
        });
        let through_others = others.filter_map(|other| self.ends(other, chain, left - 1));
        let ends = through_roots.chain(through_others).max()?;
        Some(ends.min(from.not_after))
    }

    /// Takes any chain. The server must still hold the key of what it shows.
    pub fn anything() -> Self {
        Self {
            verifier: None,
            roots: Arc::default(),
        }
    }

    /// Shakes hands over `tcp`, offering `alpn`. Never resumes: a whole handshake is what is to be seen.
    pub async fn examine(
        &self,
        tcp: TcpStream,
        name: ServerName<'static>,
        alpn: &[&[u8]],
    ) -> Examined {
        let witness = Arc::new(Witness {
            inner: self.verifier.clone(),
            seen: Mutex::default(),
        });
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites of TLS 1.2 and 1.3");
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.resumption = Resumption::disabled();
        let shaken = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await;
        let chain =
            std::mem::take(&mut *witness.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let verified_until = match &shaken {
            Ok(_) => self.verified_until(&chain),
            Err(_) => None,
        };
        Examined {
            chain,
            verified_until,
            shaken,
        }
    }
}

/// What a handshake showed.
#[derive(Debug)]
pub struct Examined {
    /// The chain as it was sent, the server's own certificate first; empty when it did not come so far.
    pub chain: Vec<CertificateFacts>,
    /// Until when it leads to a root that is trusted; `None` when it was refused or nothing was verified.
    pub verified_until: Option<Timestamp>,
    /// The connection, or why there is none.
    pub shaken: io::Result<TlsStream<TcpStream>>,
}

/// Why a handshake failed, by the error and what had been seen of the chain.
pub fn failure(error: &io::Error, chain: &[CertificateFacts]) -> ProbeFailure {
    let Some(error) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    else {
        // The connection ended in the middle of it.
        return ProbeFailure::TlsAlert;
    };
    let rustls::Error::InvalidCertificate(error) = error else {
        return ProbeFailure::TlsAlert;
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ProbeFailure::TlsExpired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ProbeFailure::TlsNotYet
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            ProbeFailure::TlsName
        }
        CertificateError::UnknownIssuer if is_alone(chain) => ProbeFailure::TlsIncomplete,
        // Revoked, badly signed, of a wrong kind, … whatever rustls learns to refuse: no trust.
        _ => ProbeFailure::TlsUntrusted,
    }
}

/// Whether a server sent nothing about who issued its certificate, which it did not issue itself.
fn is_alone(chain: &[CertificateFacts]) -> bool {
    chain.first().is_some_and(|leaf| {
        let mut others = chain.iter().filter(|other| other.sha256 != leaf.sha256);
        !leaf.is_self_issued && !others.any(|other| other.subject == leaf.issuer)
    })
}

/// Notes the chain, then judges as it is told.
#[derive(Debug)]
struct Witness {
    inner: Option<Arc<WebPkiServerVerifier>>,
    // A mutex because verifiers are shared by type; one handshake takes it twice, uncontended.
    seen: Mutex<Vec<CertificateFacts>>,
}

/// Certificates of a chain that are looked at; a server may send many.
const LONGEST_CHAIN: usize = 10;

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
            chain.take(LONGEST_CHAIN).filter_map(facts).collect();
        match &self.inner {
            None => Ok(ServerCertVerified::assertion()),
            Some(verifier) => verifier.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Names listed of one certificate; some have hundreds.
const MOST_NAMES: usize = 200;

/// What a certificate says; `None` when it is not X.509.
pub fn facts(certificate: &CertificateDer<'_>) -> Option<CertificateFacts> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let millis = |seconds: i64| {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        Timestamp::from_secs(seconds)
    };
    let mut names = names(certificate).unwrap_or_default();
    names.truncate(MOST_NAMES);
    Some(CertificateFacts {
        subject: distinguished(parsed.subject()),
        issuer: distinguished(parsed.issuer()),
        serial: hex(parsed.raw_serial()),
        names,
        not_before: millis(parsed.validity().not_before.timestamp()),
        not_after: millis(parsed.validity().not_after.timestamp()),
        key: key(&parsed),
        signature: object(&parsed.signature_algorithm.algorithm),
        sha256: hex(digest(&SHA256, certificate).as_ref()),
        key_sha256: hex(digest(&SHA256, parsed.public_key().raw).as_ref()),
        authority_key: authority_key(&parsed),
        crls: crls(&parsed),
        is_ca: parsed.is_ca(),
        is_self_issued: parsed.subject().as_raw() == parsed.issuer().as_raw(),
    })
}

fn authority_key(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate.extensions().iter().find_map(|extension| {
        let ParsedExtension::AuthorityKeyIdentifier(named) = extension.parsed_extension() else {
            return None;
        };
        Some(hex(named.key_identifier.as_ref()?.0))
    })
}

/// Lists named of one certificate; one is usual.
const MOST_LISTS: usize = 10;

fn crls(certificate: &X509Certificate<'_>) -> Vec<String> {
    let points =
        certificate
            .extensions()
            .iter()
            .flat_map(|extension| match extension.parsed_extension() {
                ParsedExtension::CRLDistributionPoints(points) => points.points.as_slice(),
                _ => &[],
            });
    let names = points.flat_map(|point| match &point.distribution_point {
        Some(DistributionPointName::FullName(names)) => names.as_slice(),
        Some(DistributionPointName::NameRelativeToCRLIssuer(_)) | None => &[],
    });
    let urls = names.filter_map(|name| match name {
        GeneralName::URI(url) => Some((*url).to_owned()),
        _ => None,
    });
    urls.take(MOST_LISTS).collect()
}

/// A name as RFC 4514 writes it: the most specific part first, and what would be taken for markup escaped.
fn distinguished(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in name.iter_rdn() {
        let attributes = part.iter().map(|attribute| {
            let kind = attribute.attr_type();
            let short = oid2abbrev(kind, oid_registry()).ok();
            let kind = short.map_or_else(|| kind.to_id_string(), str::to_ascii_uppercase);
            match attribute.as_str() {
                Ok(text) => format!("{kind}={}", escaped(text)),
                // Section 2.4: `#` and the bytes.
                Err(_) => format!("{kind}=#{}", hex(attribute.as_slice())),
            }
        });
        parts.push(attributes.collect::<Vec<_>>().join("+"));
    }
    parts.reverse();
    parts.join(",")
}

/// RFC 4514, section 2.4.
fn escaped(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut escaped = String::with_capacity(text.len());
    for (place, c) in text.chars().enumerate() {
        let at_edge = (c == ' ' && (place == 0 || place == last)) || (c == '#' && place == 0);
        if at_edge || matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            escaped.push('\\');
        }
        if c == '\0' {
            escaped.push_str("\\00");
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn key(certificate: &X509Certificate<'_>) -> String {
    let key = certificate.public_key();
    match key.parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(key)) => match key.key_size() {
            // The size of a coordinate in whole bytes.
            528 => "EC P-521".to_owned(),
            size => format!("EC P-{size}"),
        },
        Ok(_) | Err(_) => match key.algorithm.algorithm.to_id_string().as_str() {
            // RFC 8410, section 3.
            "1.3.101.112" => "Ed25519".to_owned(),
            "1.3.101.113" => "Ed448".to_owned(),
            other => other.to_owned(),
        },
    }
}

fn object(id: &x509_parser::der_parser::Oid<'_>) -> String {
    let name = oid2sn(id, oid_registry()).ok();
    name.map_or_else(|| id.to_id_string(), ToOwned::to_owned)
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_a_certificate_are_those_that_it_was_made_with() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut wanted =
            rcgen::CertificateParams::new(vec!["shop.test".to_owned(), "*.api.test".to_owned()])
                .unwrap();
        wanted.not_before = rcgen::date_time_ymd(2026, 1, 1);
        wanted.not_after = rcgen::date_time_ymd(2026, 4, 1);
        wanted.serial_number = Some(rcgen::SerialNumber::from_slice(&[1, 0x2a, 0xff]));
        let mut name = rcgen::DistinguishedName::new();
        name.push(rcgen::DnType::OrganizationName, "Shop");
        name.push(rcgen::DnType::CommonName, "shop, +1");
        wanted.distinguished_name = name;
        let made = wanted.self_signed(&key).unwrap();
        let facts = facts(made.der()).unwrap();
        assert_eq!(facts.names, ["shop.test", "*.api.test"]);
        assert_eq!(facts.not_before.to_string(), "2026-01-01T00:00:00.000Z");
        assert_eq!(facts.not_after.to_string(), "2026-04-01T00:00:00.000Z");
        assert_eq!(facts.lifetime_ms(), (90 * 86_400 + 1) * 1_000);
        assert_eq!(
            facts.left_ms(facts.not_after.plus(std::time::Duration::from_secs(2))),
            -1_000
        );
        assert_eq!(
            (facts.serial.as_str(), facts.key.as_str()),
            ("012aff", "EC P-256")
        );
        assert_eq!(facts.signature, "ecdsa-with-SHA256");
        assert_eq!(facts.subject, "CN=shop\\, \\+1,O=Shop");
        assert!(facts.is_self_issued && !facts.is_ca);
        assert!(
            facts.covers("x.api.test") && !facts.covers("api.test") && !facts.covers(".api.test")
        );
        assert_eq!(facts.sha256.len(), 64);
    }

    #[test]
    fn what_is_no_certificate_has_no_facts() {
        assert_eq!(
            facts(&CertificateDer::from(vec![0x30, 0x82, 0xff, 0xff])),
            None
        );
    }
}
