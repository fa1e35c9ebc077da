//! Who a client says it is by a certificate: how one is judged, and what it says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{self, CertificateError};
use super::tls::{TlsError, provider, store_of};

/// Why clients' certificates cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum ClientTrustError {
    /// The issuers' certificates.
    #[error(transparent)]
    Roots(#[from] TlsError),
    /// A list of revoked certificates could not be read.
    #[error(transparent)]
    Read(CertificateError),
    /// A file holds no list of revoked certificates.
    #[error("{path} holds no list of revoked certificates (CRL), PEM or DER", path = path.display())]
    NoList {
        /// The file.
        path: PathBuf,
    },
    /// The verifier refused what it was given.
    #[error("clients' certificates cannot be judged: {0}")]
    Verifier(#[from] VerifierBuilderError),
}

/// A judge of clients' certificates: issued by one of those in `issuers`, in time, meant for clients, and in none of
/// `lists`. When there is a list, one must speak of the issuer of each certificate; a list goes on being believed when its
/// end has passed, for otherwise an issuer that is late would shut every client out. `optional`: a client may show none.
///
/// # Errors
/// When a file cannot be read or holds nothing of the kind.
pub fn verifier(
    issuers: &Path,
    lists: &[PathBuf],
    optional: bool,
) -> Result<Arc<dyn ClientCertVerifier>, ClientTrustError> {
    let issuers = certificate::certificates(issuers).map_err(TlsError::from)?;
    let roots = Arc::new(store_of(issuers)?);
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .only_check_end_entity_revocation();
    if optional {
        builder = builder.allow_unauthenticated();
    }
    if lists.is_empty() {
        builder = builder.allow_unknown_revocation_status();
    }
    for path in lists {
        builder = builder.with_crls(revoked(path)?);
    }
    Ok(builder.build()?)
}

fn revoked(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, ClientTrustError> {
    let bytes = certificate::read(path).map_err(ClientTrustError::Read)?;
    let no_list = || ClientTrustError::NoList {
        path: path.to_owned(),
    };
    // DER begins with a SEQUENCE, PEM with text.
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.into()]);
    }
    let lists = CertificateRevocationListDer::pem_slice_iter(&bytes);
    let lists: Result<Vec<_>, _> = lists.collect();
    let lists = lists.ok().filter(|lists| !lists.is_empty());
    lists.ok_or_else(no_list)
}

/// Names listed of one certificate.
const MOST_NAMES: usize = 20;

/// What a client's certificate names, as `DNS:shop.test`, `IP:192.0.2.1`, `EMAIL:a@shop.test` or `URI:spiffe://…`; the first
/// twenty.
pub fn names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(leaf) else {
        return Vec::new();
    };
    let alternative = parsed.subject_alternative_name().ok().flatten();
    let named = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names);
    let written = named.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{name}")),
        GeneralName::URI(uri) => Some(format!("URI:{uri}")),
        GeneralName::RFC822Name(mail) => Some(format!("EMAIL:{mail}")),
        GeneralName::IPAddress(bytes) => {
            certificate::address(bytes).map(|address| format!("IP:{address}"))
        }
        _ => None,
    });
    written.take(MOST_NAMES).collect()
}
