//! Reading certificates and keys from files, and the names a certificate speaks for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::sign::CertifiedKey;
use x509_parser::oid_registry::{
    OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_SHA1WITHRSA, OID_PKIX_AUTHORITY_INFO_ACCESS,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file could not be read.
    #[error("failed to read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not PEM of the kind wanted.
    #[error("{path} holds no usable PEM {wanted}: {source}", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        wanted: &'static str,
        /// Why.
        source: pem::Error,
    },
    /// The leaf is not an X.509 certificate.
    #[error("{path} does not begin with an X.509 certificate", path = path.display())]
    Leaf {
        /// The file.
        path: PathBuf,
    },
    /// Key and certificate do not belong together, or the key's algorithm is not supported.
    #[error("{key} is not the key of {chain}: {source}", key = key.display(), chain = chain.display())]
    Key {
        /// The certificate's file.
        chain: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// It names no host.
    #[error("{path} names no host: it has no DNS name among its subject alternative names", path = path.display())]
    NoNames {
        /// The file.
        path: PathBuf,
    },
}

/// A certificate ready to be served.
#[derive(Debug)]
pub struct ServerCertificate {
    /// Chain and key.
    pub key: Arc<CertifiedKey>,
    /// The names it speaks for, lower case; a wildcard is written `*.example.com`.
    pub names: Vec<String>,
}

impl ServerCertificate {
    /// Reads and checks chain and key.
    ///
    /// # Errors
    /// When a file cannot be read or the two do not make a certificate to serve.
    pub fn load(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let certificates = certificates(chain)?;
        let leaf = certificates.first().ok_or_else(|| CertificateError::Leaf {
            path: chain.to_owned(),
        })?;
        let names = names(leaf).ok_or_else(|| CertificateError::Leaf {
            path: chain.to_owned(),
        })?;
        if names.is_empty() {
            return Err(CertificateError::NoNames {
                path: chain.to_owned(),
            });
        }
        let private = private_key(key)?;
        let key = CertifiedKey::from_der(certificates, private, &super::tls::provider()).map_err(
            |source| CertificateError::Key {
                chain: chain.to_owned(),
                key: key.to_owned(),
                source,
            },
        )?;
        Ok(Self {
            key: Arc::new(key),
            names,
        })
    }

    /// Whether the certificate speaks for `host`; a wildcard stands for exactly one label (RFC 6125, 6.4.3).
    pub fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(domain) => host
                .split_once('.')
                .is_some_and(|(_, parent)| parent == domain),
            None => name == host,
        })
    }
}

/// What a certificate and its chain say about themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The names it speaks for, as in [`ServerCertificate::names`].
    pub names: Vec<String>,
    /// When it begins to be valid, in seconds since 1970.
    pub not_before: i64,
    /// When it ends to be valid, in seconds since 1970.
    pub not_after: i64,
    /// What is missing between the leaf and its last issuer; `None`: nothing that can be seen from here.
    pub gap: Option<String>,
    /// A key or signature that clients refuse.
    pub weakness: Option<String>,
}

/// What the chain in a file says about itself.
///
/// # Errors
/// When it cannot be read or does not begin with a certificate.
pub fn facts(chain: &Path) -> Result<Facts, CertificateError> {
    let read = certificates(chain)?;
    let no_leaf = || CertificateError::Leaf {
        path: chain.to_owned(),
    };
    let mut parsed = Vec::with_capacity(read.len());
    for certificate in &read {
        parsed.push(
            X509Certificate::from_der(certificate)
                .ok()
                .ok_or_else(no_leaf)?
                .1,
        );
    }
    let leaf = parsed.first().ok_or_else(no_leaf)?;
    Ok(Facts {
        names: names(read.first().ok_or_else(no_leaf)?).ok_or_else(no_leaf)?,
        not_before: leaf.validity().not_before.timestamp(),
        not_after: leaf.validity().not_after.timestamp(),
        gap: gap(&parsed),
        weakness: weakness(leaf),
    })
}

/// Where the chain breaks. A leaf alone breaks it when it says where its issuer's certificate can be had: roots that clients
/// know sign no leaves.
fn gap(chain: &[X509Certificate<'_>]) -> Option<String> {
    let broken = chain
        .windows(2)
        .find(|pair| pair[0].issuer() != pair[1].subject());
    if let Some(pair) = broken {
        return Some(format!(
            "`{}` did not issue the certificate before it",
            pair[1].subject()
        ));
    }
    let [leaf] = chain else {
        return None;
    };
    let told = leaf
        .extensions()
        .iter()
        .any(|extension| extension.oid == OID_PKIX_AUTHORITY_INFO_ACCESS);
    (told && leaf.issuer() != leaf.subject())
        .then(|| format!("its issuer `{}` does not follow it", leaf.issuer()))
}

fn weakness(leaf: &X509Certificate<'_>) -> Option<String> {
    if let Ok(PublicKey::RSA(key)) = leaf.public_key().parsed()
        && key.key_size() < 2_048
    {
        return Some(format!("an RSA key of {} bits", key.key_size()));
    }
    let broken = [
        (OID_PKCS1_MD5WITHRSAENC, "MD5"),
        (OID_PKCS1_SHA1WITHRSA, "SHA-1"),
    ];
    let algorithm = leaf.signature_algorithm.oid();
    let hash = broken.iter().find(|(oid, _)| oid == algorithm)?.1;
    Some(format!("a signature with {hash}"))
}

/// Reads a file of PEM certificates; at least one.
///
/// # Errors
/// When it cannot be read or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let pem_error = |source| CertificateError::Pem {
        path: path.to_owned(),
        wanted: "certificate",
        source,
    };
    let bytes = read(path)?;
    let found = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem_error)?;
    if found.is_empty() {
        return Err(pem_error(pem::Error::NoItemsFound));
    }
    Ok(found)
}

/// Reads a file with a PEM private key.
///
/// # Errors
/// When it cannot be read or holds none.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|source| CertificateError::Pem {
        path: path.to_owned(),
        wanted: "private key",
        source,
    })
}

/// No PEM file that anyone serves is larger.
const MAX_FILE: u64 = 1 << 20;

pub(super) fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let read = || {
        let size = std::fs::metadata(path)?.len();
        if size > MAX_FILE {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "larger than 1 MiB",
            ));
        }
        std::fs::read(path)
    };
    read().map_err(|source| CertificateError::Read {
        path: path.to_owned(),
        source,
    })
}

pub(super) fn names(leaf: &CertificateDer<'_>) -> Option<Vec<String>> {
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let alternative = parsed.subject_alternative_name().ok().flatten();
    let names = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names);
    Some(
        names
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => address(bytes),
                _ => None,
            })
            .collect(),
    )
}

pub(super) fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(format!("[{}]", std::net::Ipv6Addr::from(v6)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(names: &[&str]) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(
            names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        );
        let made = made.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (chain, key) = (dir.path().join("chain.pem"), dir.path().join("key.pem"));
        std::fs::write(&chain, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (dir, chain, key)
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        let (_dir, chain, key) = written(&["shop.test", "*.api.test"]);
        let certificate = ServerCertificate::load(&chain, &key).unwrap();
        for (host, covered) in [
            ("shop.test", true),
            ("x.api.test", true),
            ("api.test", false),
            ("a.x.api.test", false),
            ("", false),
        ] {
            assert_eq!(certificate.covers(host), covered, "{host}");
        }
    }

    #[test]
    fn what_cannot_be_served_says_why() {
        let (dir, chain, key) = written(&["a.test"]);
        let (_other, _, other_key) = written(&["b.test"]);
        let missing = dir.path().join("missing.pem");
        let load = ServerCertificate::load;
        assert!(matches!(
            load(&missing, &key),
            Err(CertificateError::Read { .. })
        ));
        assert!(matches!(
            load(&key, &key),
            Err(CertificateError::Pem {
                wanted: "certificate",
                ..
            })
        ));
        assert!(matches!(
            load(&chain, &chain),
            Err(CertificateError::Pem {
                wanted: "private key",
                ..
            })
        ));
        assert!(matches!(
            load(&chain, &other_key),
            Err(CertificateError::Key { .. })
        ));
    }
}
