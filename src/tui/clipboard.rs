//! Copying by way of the terminal, which works over SSH: OSC 52.
//!
//! The terminal gives no answer, and tmux passes it on only with `set-clipboard on`; so we say that it was sent, not that
//! it arrived.

/// Longest text that terminals commonly take.
const LONGEST: usize = 64 << 10;

/// The bytes that ask the terminal to copy `text`; `None` when it is too long.
pub(crate) fn osc52(text: &str) -> Option<Vec<u8>> {
    (text.len() <= LONGEST).then(|| {
        let mut bytes = b"\x1b]52;c;".to_vec();
        encode(text.as_bytes(), &mut bytes);
        bytes.push(b'\x07');
        bytes
    })
}

/// Base64 with padding (RFC 4648, section 4).
fn encode(text: &[u8], bytes: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in text.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            let padded = digit > chunk.len();
            bytes.push(if padded { b'=' } else { DIGITS[index as usize] });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_encoded_as_it_says() {
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut bytes = Vec::new();
            encode(text.as_bytes(), &mut bytes);
            assert_eq!(bytes, expected.as_bytes());
        }
        assert_eq!(osc52("f").as_deref(), Some(&b"\x1b]52;c;Zg==\x07"[..]));
        assert_eq!(osc52(&"x".repeat(LONGEST + 1)), None);
    }
}
