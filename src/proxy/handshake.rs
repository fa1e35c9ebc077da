//! The TLS handshake with a client, and why it failed in one word of a closed set.

use std::io;
use std::pin::pin;

use rustls::server::Acceptor;
use rustls::{CertificateError, Error as TlsError, InvalidMessage};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::shown::ListenerTls;
use crate::model::HandshakeFailure;
use crate::net::challenge;

/// Shakes hands by what the listener shows. The client's first message is read before anything is decided by it, so that a
/// failure can say which name was missing, and an authority that validates a name is not asked for a certificate.
pub(super) async fn accept(
    stream: TcpStream,
    tls: &ListenerTls,
) -> Result<Box<TlsStream<TcpStream>>, HandshakeFailure> {
    let mut hello = pin!(LazyConfigAcceptor::new(Acceptor::default(), stream));
    let start = hello.as_mut().await.map_err(|error| reason(&error))?;
    let asked = start.client_hello();
    let validates = asked.alpn().is_some_and(|mut protocols| {
        protocols.next() == Some(challenge::ALPN) && protocols.next().is_none()
    });
    let unknown = match asked.server_name() {
        None => HandshakeFailure::NoName,
        Some(_) => HandshakeFailure::UnknownName,
    };
    let config = tls.config(validates);
    match start.into_stream(config).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(match tls_error(&error) {
            // What rustls says when the store has nothing for a client.
            Some(TlsError::General(_)) => unknown,
            Some(_) | None => reason(&error),
        }),
    }
}

fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

fn reason(error: &io::Error) -> HandshakeFailure {
    use HandshakeFailure as Failure;
    match tls_error(error) {
        None => Failure::ClientGone,
        Some(TlsError::PeerIncompatible(_) | TlsError::NoApplicationProtocol) => {
            Failure::NothingInCommon
        }
        Some(TlsError::InvalidMessage(InvalidMessage::InvalidContentType)) => Failure::NotTls,
        Some(TlsError::AlertReceived(_)) => Failure::ClientRefused,
        Some(TlsError::NoCertificatesPresented) => Failure::CertificateMissing,
        Some(TlsError::InvalidCertificate(error)) => match error {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Failure::CertificateExpired,
            CertificateError::UnknownIssuer => Failure::CertificateUntrusted,
            CertificateError::Revoked => Failure::CertificateRevoked,
            CertificateError::UnknownRevocationStatus => Failure::CertificateUnlisted,
            _ => Failure::CertificateInvalid,
        },
        Some(TlsError::InvalidCertRevocationList(_)) => Failure::CertificateUnlisted,
        Some(_) => Failure::Protocol,
    }
}
