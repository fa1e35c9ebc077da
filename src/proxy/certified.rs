//! Who a client is by the certificate it showed, in the form that upstreams are told.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::CertificateDer;

use super::config::IdentityHeader;
use crate::net::{client, examine};

/// What a connection is known by on a listener that asks clients for certificates.
#[derive(Debug)]
pub(super) struct Certified {
    /// The name that the connection was made for; it carries requests for no other.
    pub(super) name: Box<str>,
    /// `None`: the client showed no certificate.
    pub(super) identity: Option<Identity>,
}

/// A client's verified certificate.
#[derive(Debug)]
pub(super) struct Identity {
    /// The lines that upstreams are told, ready to be sent.
    lines: Box<str>,
}

impl Identity {
    /// Reads a certificate that was verified, once for all requests of its connection.
    pub(super) fn new(leaf: &CertificateDer<'_>, wanted: &[IdentityHeader]) -> Self {
        let facts = examine::facts(leaf).unwrap_or_default();
        let mut lines = String::new();
        for header in wanted {
            let value = match header {
                // RFC 9440, section 2.2.
                IdentityHeader::Certificate => format!(":{}:", BASE64_STANDARD.encode(leaf)),
                IdentityHeader::Subject => plain(&facts.subject, false),
                IdentityHeader::Issuer => plain(&facts.issuer, false),
                IdentityHeader::Serial => facts.serial.clone(),
                IdentityHeader::Fingerprint => facts.sha256.clone(),
                IdentityHeader::Names => {
                    let names = client::names(leaf);
                    let names: Vec<_> = names.iter().map(|name| plain(name, true)).collect();
                    names.join(", ")
                }
            };
            write!(lines, "{}: {value}\r\n", header.name())
                .expect("writing to a string cannot fail");
        }
        Self {
            lines: lines.into(),
        }
    }

    pub(super) fn lines(&self) -> &[u8] {
        self.lines.as_bytes()
    }
}

/// `text` as a header's value: bytes that are none of plain ASCII, and commas where they would part one item in two, as
/// RFC 4514 writes them (`\2C`).
fn plain(text: &str, item: bool) -> String {
    let mut plain = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && !(item && matches!(byte, b',' | b'\\')) {
            plain.push(char::from(byte));
        } else {
            write!(plain, "\\{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_certificate_says_cannot_end_a_line_or_add_an_item() {
        assert_eq!(plain("CN=Zoë, O=x", false), "CN=Zo\\C3\\AB, O=x");
        assert_eq!(plain("a\r\nhost: b", false), "a\\0D\\0Ahost: b");
        assert_eq!(plain("DNS:a, DNS:admin\\", true), "DNS:a\\2C DNS:admin\\5C");
    }

    #[test]
    fn an_identity_is_written_as_its_listener_says_and_no_more() {
        let made = rcgen::generate_simple_self_signed(["client.test".to_owned()]).unwrap();
        let wanted = [IdentityHeader::Names, IdentityHeader::Fingerprint];
        let identity = Identity::new(made.cert.der(), &wanted);
        let text = std::str::from_utf8(identity.lines()).unwrap();
        let (names, fingerprint) = text.split_once("\r\n").unwrap();
        assert_eq!(names, "x-client-cert-names: DNS:client.test");
        assert!(fingerprint.starts_with("x-client-cert-fingerprint: "));
        assert!(Identity::new(made.cert.der(), &[]).lines().is_empty());
    }
}
