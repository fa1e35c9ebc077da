//! What a certificate says of itself.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// What a certificate says of itself; nothing here means that anybody verified it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// Whose it is, as RFC 4514 writes names.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// Its serial number, lower-case hexadecimal.
    pub serial: String,
    /// The names and addresses it speaks for; a wildcard is written `*.example.com`.
    pub names: Vec<String>,
    /// The first instant of its life.
    pub not_before: Timestamp,
    /// The last second of its life, inclusive (RFC 5280, 4.1.2.5).
    pub not_after: Timestamp,
    /// The key's algorithm and size, like `EC P-256` or `RSA 2048`.
    pub key: String,
    /// How it was signed, like `ecdsa-with-SHA256`.
    pub signature: String,
    /// SHA-256 of the whole certificate, lower-case hexadecimal.
    pub sha256: String,
    /// SHA-256 of its public key (SPKI): stays the same over a renewal that keeps the key.
    pub key_sha256: String,
    /// The key that signed it, as it names it (RFC 5280, 4.2.1.1), lower-case hexadecimal; `None`: it does not.
    #[serde(default)]
    pub authority_key: Option<String>,
    /// Where lists of revoked certificates are, its own number among them if it is revoked (RFC 5280, 4.2.1.13).
    #[serde(default)]
    pub crls: Vec<String>,
    /// Whether it may issue others.
    pub is_ca: bool,
    /// Whether subject and issuer are the same.
    pub is_self_issued: bool,
}

impl CertificateFacts {
    /// Its whole life in milliseconds: `not_after` is inclusive, so a second longer than the difference.
    pub const fn lifetime_ms(&self) -> u64 {
        let (from, to) = (self.not_before.as_millis(), self.not_after.as_millis());
        to.saturating_sub(from).saturating_add(1_000)
    }

    /// What is left of it at `now` in milliseconds; negative once it has expired.
    pub const fn left_ms(&self, now: Timestamp) -> i64 {
        self.not_after.as_millis() as i64 + 1_000 - now.as_millis() as i64
    }

    /// Whether it speaks for `host`, which is lower case; a wildcard stands for exactly one label (RFC 9525, 6.3).
    pub fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(domain) => host
                .split_once('.')
                .is_some_and(|(label, parent)| !label.is_empty() && parent == domain),
            None => name == host,
        })
    }
}
