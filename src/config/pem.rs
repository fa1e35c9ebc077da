//! Whether a file holds what a key says it does. Whether a certificate is any good is for those who use it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What a PEM file should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Certificate,
    PrivateKey,
}

impl Section {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::PrivateKey => "private key",
        }
    }

    pub(super) const fn begins(self) -> &'static str {
        match self {
            Self::Certificate => "it should have a line `-----BEGIN CERTIFICATE-----`",
            Self::PrivateKey => "it should have a line `-----BEGIN PRIVATE KEY-----`",
        }
    }
}

/// Why it does not.
#[derive(Debug)]
pub(super) enum Error {
    Unreadable(io::Error),
    /// No such section.
    Absent,
}

/// Far above any chain or bundle of roots (the system's is a quarter of it).
const LARGEST: u64 = 1 << 20;

/// Looks for a first `section` in the file at `path`.
pub(super) fn check(path: &Path, section: Section) -> Result<(), Error> {
    let bytes = read(path).map_err(Error::Unreadable)?;
    let found = match section {
        Section::Certificate => CertificateDer::from_pem_slice(&bytes).is_ok(),
        Section::PrivateKey => PrivateKeyDer::from_pem_slice(&bytes).is_ok(),
    };
    if found { Ok(()) } else { Err(Error::Absent) }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Asked before opening: opening a pipe would wait for somebody to write to it.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_not_opened() {
        for path in ["/dev/zero", "/", "/no/such/file"] {
            let result = check(Path::new(path), Section::Certificate);
            assert!(matches!(result, Err(Error::Unreadable(_))), "{path}");
        }
    }
}
