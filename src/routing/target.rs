//! One interpretation of a request's host and path.
//!
//! RFC 3986 allows many spellings of one path, and a proxy that matches one spelling but forwards another can be talked
//! past its own rules. So: unreserved triplets are decoded, all others written in upper case, dot segments resolved and
//! empty elements merged, before anything is matched; what comes out is what is forwarded. An encoded separator stays what
//! it is, data; since not everyone behind us reads it so, it is told, and a route has to allow it.

use std::borrow::Cow;

/// Why a request's target or host cannot be routed. Always the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A `%` that two hexadecimal digits do not follow.
    #[error("the path has a broken percent-encoding")]
    BrokenEncoding,
    /// A byte that RFC 3986 does not allow in a path.
    #[error("the path has a byte that must be percent-encoded")]
    RawByte,
    /// Not an absolute path.
    #[error("the path does not begin at the root")]
    Relative,
    /// A path that climbs above the root.
    #[error("the path climbs above the root")]
    AboveRoot,
    /// Empty, with an empty label, too long, or with characters no host has.
    #[error("the host is not a host name")]
    Host,
}

/// A path in its one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    /// Its text; borrowed when the path already had this form.
    pub text: Cow<'a, str>,
    /// It holds an encoded `/`, `\`, `?`, `#`, `;` or NUL: read as data here and as a separator by some servers.
    pub encoded_separator: bool,
}

/// The path in its one form.
///
/// # Errors
/// When the path has no unambiguous reading.
pub fn path(raw: &str) -> Result<Path<'_>, TargetError> {
    if !raw.starts_with('/') {
        return Err(TargetError::Relative);
    }
    let mut previous = 0;
    let mut plain = true;
    for &byte in raw.as_bytes() {
        match CLASS[byte as usize] {
            Class::Plain => {}
            Class::Look => plain &= byte != b'%' && previous != b'/',
            Class::Refuse => return Err(TargetError::RawByte),
        }
        previous = byte;
    }
    if plain {
        Ok(Path {
            text: Cow::Borrowed(raw),
            encoded_separator: false,
        })
    } else {
        rewrite(raw)
    }
}

/// The host in its one form: lower case, without port and trailing dot; borrowed when it already had it.
///
/// # Errors
/// When it cannot be a host name or address.
pub fn host(raw: &str) -> Result<Cow<'_, str>, TargetError> {
    let name = without_port(raw)?;
    let name = name.strip_suffix('.').unwrap_or(name);
    let address = name.starts_with('[');
    let fits = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_')
            || (address && matches!(byte, b'[' | b']' | b':'))
    };
    let empty_label =
        name.is_empty() || name.starts_with('.') || name.ends_with('.') || name.contains("..");
    if empty_label || name.len() > MAX_HOST || !name.bytes().all(fits) {
        return Err(TargetError::Host);
    }
    Ok(if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

/// A DNS name's longest text form.
const MAX_HOST: usize = 253;

fn without_port(raw: &str) -> Result<&str, TargetError> {
    let (name, port) = match raw.rfind(']') {
        Some(end) => raw.split_at(end + 1),
        None => raw.split_at(raw.find(':').unwrap_or(raw.len())),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    let is_port = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    if !digits.is_empty() && !is_port {
        return Err(TargetError::Host);
    }
    Ok(name)
}

fn rewrite(raw: &str) -> Result<Path<'static>, TargetError> {
    let mut decoded = String::with_capacity(raw.len());
    let mut encoded_separator = false;
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(char::from(byte));
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
            return Err(TargetError::BrokenEncoding);
        };
        let value = (high * 16 + low) as u8;
        match value {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                decoded.push(char::from(value));
            }
            _ => {
                encoded_separator |= matches!(value, b'/' | b'\\' | b'?' | b'#' | b';' | 0);
                decoded.push('%');
                decoded.push(char::from(HEX[usize::from(value >> 4)]));
                decoded.push(char::from(HEX[usize::from(value & 15)]));
            }
        }
    }
    Ok(Path {
        text: Cow::Owned(resolve(&decoded)?),
        encoded_separator,
    })
}

/// Resolves dot segments (RFC 3986, 5.2.4) and merges empty elements.
fn resolve(path: &str) -> Result<String, TargetError> {
    let mut elements: Vec<&str> = Vec::new();
    let mut directory = true;
    for element in path.split('/').skip(1) {
        directory = matches!(element, "" | "." | "..");
        match element {
            "" | "." => {}
            ".." => {
                elements.pop().ok_or(TargetError::AboveRoot)?;
            }
            _ => elements.push(element),
        }
    }
    let mut resolved = String::with_capacity(path.len());
    for element in &elements {
        resolved.push('/');
        resolved.push_str(element);
    }
    if directory || elements.is_empty() {
        resolved.push('/');
    }
    Ok(resolved)
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Says nothing.
    Plain,
    /// `%`, `/` or `.`: may need rewriting.
    Look,
    /// Not allowed raw.
    Refuse,
}

/// RFC 3986: `pchar` and `/`, by byte. A table, because this runs over every path.
const CLASS: [Class; 256] = {
    let mut table = [Class::Refuse; 256];
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        if value.is_ascii_alphanumeric()
            || matches!(
                value,
                b'-' | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
                    | b':'
                    | b'@'
            )
        {
            table[byte] = Class::Plain;
        }
        byte += 1;
    }
    table[b'%' as usize] = Class::Look;
    table[b'/' as usize] = Class::Look;
    table[b'.' as usize] = Class::Look;
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_has_one_form() {
        for (raw, form) in [
            ("/", "/"),
            ("/a/b.html", "/a/b.html"),
            ("/a//b", "/a/b"),
            ("//", "/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("/%61dmin", "/admin"),
            ("/%2e%2E/x", "climbs"),
            ("/a/%2e%2e/b", "/b"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%20b", "/a%20b"),
            ("/a;b=c", "/a;b=c"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
        ] {
            match path(raw) {
                Ok(found) => assert_eq!(found.text, form, "{raw}"),
                Err(error) => {
                    assert_eq!((error, form), (TargetError::AboveRoot, "climbs"), "{raw}");
                }
            }
        }
    }

    #[test]
    fn a_path_with_two_readings_is_refused() {
        for (raw, error) in [
            ("/a%", TargetError::BrokenEncoding),
            ("/a%4", TargetError::BrokenEncoding),
            ("/a%zz", TargetError::BrokenEncoding),
            ("/a\\b", TargetError::RawByte),
            ("/a b", TargetError::RawByte),
            ("/a\"b", TargetError::RawByte),
            ("/ä", TargetError::RawByte),
            ("a", TargetError::Relative),
            ("", TargetError::Relative),
            ("*", TargetError::Relative),
        ] {
            assert_eq!(path(raw), Err(error), "{raw}");
        }
    }

    #[test]
    fn an_encoded_separator_stays_data_and_is_told() {
        for (raw, form) in [
            ("/a%2fb", "/a%2Fb"),
            ("/a%2F..%2fb", "/a%2F..%2Fb"),
            ("/a/%2e%2e%2fb", "/a/..%2Fb"),
            ("/a%5cb", "/a%5Cb"),
            ("/a%00", "/a%00"),
            ("/a%3f%23%3b", "/a%3F%23%3B"),
        ] {
            let path = path(raw).unwrap();
            assert_eq!((path.text.as_ref(), path.encoded_separator), (form, true));
        }
        assert!(!path("/a%20;b").unwrap().encoded_separator);
    }

    #[test]
    fn a_host_has_one_form() {
        for (raw, form) in [
            ("shop.example.com", Some("shop.example.com")),
            ("Shop.Example.COM.:8080", Some("shop.example.com")),
            ("127.0.0.1:80", Some("127.0.0.1")),
            ("[::1]:80", Some("[::1]")),
            ("", None),
            (":80", None),
            ("a b", None),
            ("a,b", None),
            ("user@host", None),
            ("a/b", None),
            ("a:b", None),
            ("a:80:90", None),
            ("a:123456", None),
            (".a.test", None),
            ("a..test", None),
            ("a.test..", None),
        ] {
            assert_eq!(host(raw).ok().as_deref(), form, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn the_one_form_is_its_own_form(raw in "/[a-cA-F0-9%./;~ -]{0,24}") {
            if let Ok(once) = path(&raw) {
                prop_assert_eq!(path(&once.text).unwrap(), once.clone());
            }
        }

        #[test]
        fn no_text_makes_it_panic(raw in ".{0,40}") {
            drop(path(&raw));
            drop(host(&raw));
        }
    }
}
