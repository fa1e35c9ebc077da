//! The TLS handshake with a client, and why it failed in one word of a closed set.

use std::io;
use std::pin::pin;

use rustls::server::Acceptor;
use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::shown::ListenerTls;
use crate::model::Handshake;
use crate::net::challenge;

/// Shakes hands by what the listener shows. The client's first message is read before anything is decided by it, so that a
/// failure can say which name was missing, and an authority that validates a name is not asked for a certificate.
pub(super) async fn accept(
    stream: TcpStream,
    tls: &ListenerTls,
) -> Result<Box<TlsStream<TcpStream>>, Handshake> {
    let mut hello = pin!(LazyConfigAcceptor::new(Acceptor::default(), stream));
    let start = hello.as_mut().await.map_err(|error| reason(&error))?;
    let asked = start.client_hello();
    let validates = asked.alpn().is_some_and(|mut protocols| {
        protocols.next() == Some(challenge::ALPN) && protocols.next().is_none()
    });
    let unknown = match asked.server_name() {
        None => Handshake::NoName,
        Some(_) => Handshake::UnknownName,
    };
    let config = tls.config(validates);
    match start.into_stream(config).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(match tls_error(&error) {
            // Its words are all that rustls says when the store has nothing for a client; tests/e2e/tls.rs holds that it still does.
            Some(TlsError::General(text)) if text == "no server certificate chain resolved" => {
                unknown
            }
            Some(_) | None => reason(&error),
        }),
    }
}

fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

fn reason(error: &io::Error) -> Handshake {
    tls_error(error).map_or(Handshake::ClientGone, of)
}

fn of(error: &TlsError) -> Handshake {
    match error {
        TlsError::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA,
        ) => Handshake::ClientRefused,
        TlsError::AlertReceived(AlertDescription::CloseNotify | AlertDescription::UserCanceled) => {
            Handshake::ClientGone
        }
        TlsError::AlertReceived(_) => Handshake::ClientAlert,
        TlsError::PeerIncompatible(_) | TlsError::NoApplicationProtocol => {
            Handshake::NothingInCommon
        }
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => Handshake::NotTls,
        TlsError::NoCertificatesPresented => Handshake::CertificateMissing,
        TlsError::InvalidCertificate(error) => match error {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Handshake::CertificateExpired,
            CertificateError::UnknownIssuer => Handshake::CertificateUntrusted,
            CertificateError::Revoked => Handshake::CertificateRevoked,
            CertificateError::UnknownRevocationStatus => Handshake::CertificateUnlisted,
            _ => Handshake::CertificateInvalid,
        },
        TlsError::InvalidCertRevocationList(_) => Handshake::CertificateUnlisted,
        TlsError::InappropriateMessage { .. }
        | TlsError::InappropriateHandshakeMessage { .. }
        | TlsError::InvalidEncryptedClientHello(_)
        | TlsError::InvalidMessage(_)
        | TlsError::UnsupportedNameType
        | TlsError::DecryptError
        | TlsError::PeerMisbehaved(_)
        | TlsError::PeerSentOversizedRecord => Handshake::Protocol,
        _ => Handshake::Internal,
    }
}

#[cfg(test)]
mod tests {
    use rustls::PeerIncompatible;

    use super::*;

    #[test]
    fn only_a_refused_certificate_and_our_own_defects_are_blamed_on_the_service() {
        let alert = TlsError::AlertReceived;
        for (error, how) in [
            (
                alert(AlertDescription::CertificateExpired),
                Handshake::ClientRefused,
            ),
            (alert(AlertDescription::UnknownCA), Handshake::ClientRefused),
            (
                alert(AlertDescription::ProtocolVersion),
                Handshake::ClientAlert,
            ),
            (alert(AlertDescription::UserCanceled), Handshake::ClientGone),
            (
                TlsError::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
                Handshake::NothingInCommon,
            ),
            (
                TlsError::InvalidCertificate(CertificateError::Expired),
                Handshake::CertificateExpired,
            ),
            (
                TlsError::InvalidMessage(InvalidMessage::InvalidContentType),
                Handshake::NotTls,
            ),
            (TlsError::FailedToGetRandomBytes, Handshake::Internal),
        ] {
            let found = reason(&io::Error::new(io::ErrorKind::InvalidData, error.clone()));
            assert_eq!(found, how, "{error}");
            let is_blamed = found.is_good() == Some(false);
            let ours = [Handshake::ClientRefused, Handshake::Internal];
            assert_eq!(is_blamed, ours.contains(&found), "{error}");
        }
        for gone in [
            io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof"),
            io::Error::from(io::ErrorKind::ConnectionReset),
        ] {
            assert_eq!(reason(&gone), Handshake::ClientGone);
        }
    }
}
