//! Why a client's connection came to nothing before its first request.

use serde::{Deserialize, Serialize};

use super::words::words;

words! {
    /// Why a TLS handshake with a client failed.
    HandshakeFailure {
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
        /// The client broke it off with an alert: as a rule it does not trust the certificate it was shown.
        ClientRefused = "client_refused",
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
