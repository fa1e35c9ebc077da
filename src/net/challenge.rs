//! What a certificate authority is shown that asks whether a name is ours.
//!
//! Made by whoever orders certificates, shown by our own listeners while an order is open: a text at one path of plain
//! HTTP (RFC 8555, 8.3), or a certificate of its own in a handshake that asks for nothing else (RFC 8737).

use std::sync::Arc;

use bytes::Bytes;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustc_hash::FxHashMap;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::tls::provider;

/// Where HTTP-01 looks; the token follows.
pub const HTTP_PREFIX: &str = "/.well-known/acme-challenge/";

/// The protocol that TLS-ALPN-01 asks for, alone (RFC 8737, 6.2).
pub const ALPN: &[u8] = b"acme-tls/1";

/// Everything that is to be shown at the moment. As a rule nothing is.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// By token: what stands at its path.
    pub http: FxHashMap<String, Bytes>,
    /// By host: what is shown to a handshake for [`ALPN`].
    pub tls: FxHashMap<String, Arc<CertifiedKey>>,
}

impl Answers {
    /// Whether nothing is to be shown.
    pub fn is_empty(&self) -> bool {
        self.http.is_empty() && self.tls.is_empty()
    }

    /// What stands at `path`; `None`: it is not a token's, or not one of ours.
    pub fn at(&self, path: &str) -> Option<&Bytes> {
        self.http.get(path.strip_prefix(HTTP_PREFIX)?)
    }
}

/// The certificate that answers TLS-ALPN-01 for `host`: self-signed, with `digest`, the SHA-256 of the key authorization,
/// in a critical extension (RFC 8737, 3).
///
/// # Errors
/// When `host` is not a DNS name, or there is no randomness; in one line.
pub fn tls_answer(host: &str, digest: &[u8]) -> Result<CertifiedKey, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let key = KeyPair::generate().map_err(|error| told(&error))?;
    let mut params = CertificateParams::new([host.to_owned()]).map_err(|error| told(&error))?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).map_err(|error| told(&error))?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // rustls compares key and certificate, and does not know the extension, which is critical: so they are only put
    // together here.
    let signing = provider()
        .key_provider
        .load_private_key(private)
        .map_err(|error| told(&error))?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signing))
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    #[test]
    fn the_certificate_of_an_answer_holds_the_digest_in_a_critical_extension_and_the_host_alone() {
        let made = tls_answer("shop.test", &[7; 32]).unwrap();
        let (_, parsed) = X509Certificate::from_der(&made.cert[0]).unwrap();
        let id_pe_acme_identifier = "1.3.6.1.5.5.7.1.31";
        let found = parsed.extensions().iter();
        let found: Vec<_> = found
            .filter(|it| it.oid.to_id_string() == id_pe_acme_identifier)
            .collect();
        assert_eq!(found.len(), 1);
        assert!(found[0].critical);
        // An OCTET STRING of 32 bytes.
        assert_eq!(found[0].value[..2], [0x04, 0x20]);
        assert_eq!(found[0].value[2..], [7; 32]);
        assert_eq!(
            super::super::certificate::names(&made.cert[0]).unwrap(),
            ["shop.test"]
        );
    }

    #[test]
    fn only_the_exact_path_of_a_token_is_answered() {
        let mut answers = Answers::default();
        answers
            .http
            .insert("tok".to_owned(), Bytes::from("tok.key"));
        for (path, answered) in [
            ("/.well-known/acme-challenge/tok", true),
            ("/.well-known/acme-challenge/tok/", false),
            ("/.well-known/acme-challenge/", false),
            ("/.well-known/acme-challenge/other", false),
            ("/tok", false),
            ("/x/.well-known/acme-challenge/tok", false),
        ] {
            assert_eq!(answers.at(path).is_some(), answered, "{path}");
        }
    }
}
