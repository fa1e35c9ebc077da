//! The mark by which a Vestibule knows its own probes.
//!
//! A probe's request carries `vestibule-probe: v1.<unix ms>.<name>.<HMAC-SHA-256>`, over the time, the name, the method,
//! the host and the path. A proxy that holds the same key counts such a request as a probe's and not as a user's. A mark
//! is good for one request line and for a minute, so one that was overheard hides no other traffic; without the key
//! nobody can make one, so no client can keep its requests out of an SLO.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use http::HeaderName;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::examine::hex;
use crate::model::Timestamp;

/// The header.
pub const HEADER: HeaderName = HeaderName::from_static("vestibule-probe");

/// How far a mark's time may be off: clocks of two machines, and the way between them.
const FRESH: Duration = Duration::from_secs(60);

/// The key that marks are made and known by.
#[derive(Clone, Debug)]
pub struct MarkKey(hmac::Key);

/// What a mark is about: the line of the request it stands in.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The method.
    pub method: &'a str,
    /// The Host header or `:authority`, as sent.
    pub host: &'a [u8],
    /// The path, as sent, without the query.
    pub path: &'a str,
}

/// A key's length in bytes: as long as the hash, which is all it can use (RFC 2104, section 3).
const LENGTH: usize = 32;

impl MarkKey {
    /// From a file of 64 hexadecimal digits, which is made, for its owner only, when it is not there.
    ///
    /// # Errors
    /// When it can neither be read nor made, or holds something else.
    pub fn load_or_make(path: &Path) -> io::Result<Self> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::make(path),
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        file.take(1_024).read_to_string(&mut text)?;
        let bytes = unhex(text.trim()).filter(|bytes| bytes.len() == LENGTH);
        let not_a_key = || {
            io::Error::other(
                "it does not hold a key of 64 hexadecimal digits; remove it to have one made",
            )
        };
        Ok(Self::new(&bytes.ok_or_else(not_a_key)?))
    }

    fn make(path: &Path) -> io::Result<Self> {
        let mut bytes = [0; LENGTH];
        SystemRandom::new()
            .fill(&mut bytes)
            .or(Err(io::Error::other("the system has no randomness")))?;
        // Of two processes that make it at once, one finds it there.
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        match made {
            Ok(mut file) => file.write_all(format!("{}\n", hex(&bytes)).as_bytes())?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Self::load_or_make(path);
            }
            Err(error) => return Err(error),
        }
        Ok(Self::new(&bytes))
    }

    fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The mark of a request that the probe called `name` is about to send.
    pub fn sign(&self, name: &str, line: Line<'_>, now: Timestamp) -> String {
        let millis = now.as_millis();
        let tag = hmac::sign(&self.0, &message(millis, name, line));
        format!("v1.{millis}.{name}.{}", hex(tag.as_ref()))
    }

    /// Whether `mark` was made with this key for this request, and lately.
    pub fn knows(&self, mark: &[u8], line: Line<'_>, now: Timestamp) -> bool {
        let read = || {
            let rest = std::str::from_utf8(mark).ok()?.strip_prefix("v1.")?;
            let (millis, rest) = rest.split_once('.')?;
            // A name may have dots, a tag has none.
            let (name, tag) = rest.rsplit_once('.')?;
            let millis: u64 = millis.parse().ok()?;
            let at = Timestamp::from_millis(millis);
            let off = now.since(at).max(at.since(now));
            let genuine = || hmac::verify(&self.0, &message(millis, name, line), &unhex(tag)?).ok();
            (off <= FRESH).then(genuine).flatten()
        };
        read().is_some()
    }
}

fn message(millis: u64, name: &str, line: Line<'_>) -> Vec<u8> {
    let Line { method, host, path } = line;
    let mut message = format!("v1\n{millis}\n{name}\n{method}\n{path}\n").into_bytes();
    // Last, because it alone may hold anything.
    message.extend(host.to_ascii_lowercase());
    message
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: Line<'_> = Line {
        method: "GET",
        host: b"shop.test",
        path: "/health",
    };
    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    #[test]
    fn a_mark_is_good_for_its_own_request_and_a_minute() {
        let key = MarkKey::new(&[7; LENGTH]);
        let mark = key.sign("shop.front", LINE, NOW);
        let minute = Duration::from_secs(60);
        let later = NOW.plus(minute + Duration::from_millis(1));
        for (what, known, line, now) in [
            ("its own", true, LINE, NOW),
            ("a minute later", true, LINE, NOW.plus(minute)),
            ("by a clock that is behind", true, LINE, NOW.minus(minute)),
            ("too late", false, LINE, later),
            (
                "another host's case",
                true,
                Line {
                    host: b"SHOP.test",
                    ..LINE
                },
                NOW,
            ),
            (
                "another host",
                false,
                Line {
                    host: b"bank.test",
                    ..LINE
                },
                NOW,
            ),
            (
                "another path",
                false,
                Line {
                    path: "/pay",
                    ..LINE
                },
                NOW,
            ),
            (
                "another method",
                false,
                Line {
                    method: "POST",
                    ..LINE
                },
                NOW,
            ),
        ] {
            assert_eq!(key.knows(mark.as_bytes(), line, now), known, "{what}");
        }
        assert!(!MarkKey::new(&[8; LENGTH]).knows(mark.as_bytes(), LINE, NOW));
    }

    #[test]
    fn what_is_no_mark_is_not_known() {
        let key = MarkKey::new(&[7; LENGTH]);
        let mark = key.sign("a", LINE, NOW);
        let cut = mark.get(..mark.len() - 2).unwrap();
        for text in [
            "",
            "v1",
            "v1.",
            "v1..",
            "v1.1.a.zz",
            "v1.99999999999999999999.a.00",
            "v2.1.a.00",
            cut,
        ] {
            assert!(!key.knows(text.as_bytes(), LINE, NOW), "{text}");
        }
        assert!(!key.knows(&[0xff, 0xfe], LINE, NOW));
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("probe.key");
        let mark = MarkKey::load_or_make(&path).unwrap().sign("a", LINE, NOW);
        let again = MarkKey::load_or_make(&path).unwrap();
        assert!(again.knows(mark.as_bytes(), LINE, NOW));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "hello\n").unwrap();
        assert!(MarkKey::load_or_make(&path).is_err());
    }
}
