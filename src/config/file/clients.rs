//! `[listener.client_certificates]`: whom a TLS listener asks for a certificate, and what upstreams are told of it.

use std::path::PathBuf;

use crate::config::finding::Span;
use crate::config::keys::{Keys, Located, Section};
use crate::config::kind::{FILE, Word};
use crate::proxy::config::IdentityHeader;

/// `[listener.client_certificates]`
#[derive(Clone, Debug)]
pub(in crate::config) struct ClientCertificates {
    /// Where it is; `None`: nowhere.
    pub(in crate::config) written: Option<Span>,
    pub(in crate::config) ask: Located<Ask>,
    pub(in crate::config) ca_file: Option<Located<PathBuf>>,
    pub(in crate::config) crl_files: Vec<Located<PathBuf>>,
    pub(in crate::config) headers: Vec<Located<IdentityHeader>>,
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Ask {
    Optional,
    Required,
}

const ASK: Word<Ask> = Word(&[("optional", Ask::Optional), ("required", Ask::Required)]);

const HEADERS: Word<IdentityHeader> = Word(&[
    ("certificate", IdentityHeader::Certificate),
    ("subject", IdentityHeader::Subject),
    ("issuer", IdentityHeader::Issuer),
    ("serial", IdentityHeader::Serial),
    ("fingerprint", IdentityHeader::Fingerprint),
    ("names", IdentityHeader::Names),
]);

impl Section for ClientCertificates {
    const TITLE: &'static str = "`listener.client_certificates`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            written: keys.written(),
            ask: keys.or(
                "ask",
                &ASK,
                Ask::Required,
                "`required`: a handshake without a certificate fails. `optional`: a client may show none; routes with \
                 `client_certificate = \"required\"` answer it 403. A certificate that is shown and does not hold always \
                 fails the handshake.",
            ),
            ca_file: keys.optional(
                "ca_file",
                &FILE,
                "clients are asked for none",
                "The certificates of those who issue clients' certificates, as PEM. Read at the start and at each reload.",
            ),
            crl_files: keys.list(
                "crl_files",
                &FILE,
                100,
                "nothing is revoked",
                "Lists of revoked certificates (CRL), PEM or DER, read at the start and at each reload. When there is one, a \
                 list must speak of the issuer of every client's certificate. A list whose end has passed goes on being \
                 believed.",
            ),
            headers: keys.list(
                "headers",
                &HEADERS,
                6,
                "upstreams are told nothing",
                "What upstreams are told of a client's certificate. `certificate`: all of it, as `Client-Cert` (RFC 9440). \
                 `subject`, `issuer`, `serial`, `fingerprint` (SHA-256) and `names` (`DNS:`, `URI:`, `EMAIL:` and `IP:`): as \
                 `X-Client-Cert-…`. What is not plain ASCII is written `\\XX`. Clients cannot send such headers themselves.",
            ),
        }
    }
}
