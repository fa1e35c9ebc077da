//! What became of a client's connection before its first request.

use serde::{Deserialize, Serialize};

use super::words::words;

words! {
    /// How a TLS handshake with a client ended.
    Handshake {
        /// It was completed.
        Ok = "ok",
        /// The client would not have the certificate that it was shown.
        ClientRefused = "client_refused",
        /// It could not be done here: a key that does not sign, no randomness, a defect.
        Internal = "internal",
        /// The client asked for no name (no SNI), so there is nothing to choose a certificate by.
        NoName = "no_name",
        /// No certificate of the listener speaks for the name that was asked for.
        UnknownName = "unknown_name",
        /// No version, cipher or protocol that both sides speak.
        NothingInCommon = "nothing_in_common",
        /// What was said is not TLS.
        NotTls = "not_tls",
        /// It did not end in time.
        Timeout = "timeout",
        /// The client went away.
        ClientGone = "client_gone",
        /// The client ended it with an alert that does not speak of our certificate.
        ClientAlert = "client_alert",
        /// The client has no certificate to show, and must.
        CertificateMissing = "certificate_missing",
        /// The client's certificate has expired, or is not valid yet.
        CertificateExpired = "certificate_expired",
        /// The client's certificate was issued by nobody who is trusted here.
        CertificateUntrusted = "certificate_untrusted",
        /// The client's certificate was revoked.
        CertificateRevoked = "certificate_revoked",
        /// No list of revoked certificates speaks of the issuer of the client's certificate.
        CertificateUnlisted = "certificate_unlisted",
        /// The client's certificate is not one for clients, not well-formed, or not the client's own.
        CertificateInvalid = "certificate_invalid",
        /// The client broke the protocol in another way.
        Protocol = "protocol",
    }
}

impl Handshake {
    /// Whether it was good; `None` when the service cannot be blamed: whoever scans the internet for names, offers what
    /// nobody speaks any more or goes away would otherwise spend a budget of one in ten thousand within minutes.
    pub const fn is_good(self) -> Option<bool> {
        match self {
            Self::Ok => Some(true),
            Self::ClientRefused | Self::Internal => Some(false),
            Self::NoName
            | Self::UnknownName
            | Self::NothingInCommon
            | Self::NotTls
            | Self::Timeout
            | Self::ClientGone
            | Self::ClientAlert
            | Self::CertificateMissing
            | Self::CertificateExpired
            | Self::CertificateUntrusted
            | Self::CertificateRevoked
            | Self::CertificateUnlisted
            | Self::CertificateInvalid
            | Self::Protocol => None,
        }
    }
}

/// Handshakes by [`Handshake::index`].
pub type Handshakes = [u64; Handshake::COUNT];

words! {
    /// Why the connection of a proxy in front was refused that should have said whose it is.
    PreambleFailure {
        /// It comes from nobody who is trusted to say so.
        Untrusted = "untrusted",
        /// It does not begin with a PROXY header.
        Absent = "absent",
        /// Its PROXY header is malformed, larger than any, or of another transport.
        Malformed = "malformed",
        /// Its PROXY header did not arrive in time, or the connection ended before.
        Incomplete = "incomplete",
    }
}
