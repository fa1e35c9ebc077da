//! What an upstream sends is read the same however it is cut, or refused; never more of it is held than it sent.
#![no_main]

use bytes::BytesMut;
use http::Method;
use libfuzzer_sys::fuzz_target;
use vestibule::net::http1::{Decoded, Decoder, parse_head};

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let method = if cut % 2 == 0 {
        Method::GET
    } else {
        Method::HEAD
    };
    let whole = read(&method, bytes, bytes.len().max(1));
    let pieces = read(&method, bytes, usize::from(cut / 2) + 1);
    assert_eq!(whole, pieces, "cutting it changed what it says");
});

/// The status, the body and whether it ended; or that it was refused.
fn read(method: &Method, bytes: &[u8], piece: usize) -> Option<(u16, Vec<u8>, bool)> {
    let mut pieces = bytes.chunks(piece);
    let mut buffer = BytesMut::new();
    let head = loop {
        match parse_head(&mut buffer, method) {
            Ok(Some(head)) => break head,
            Ok(None) => buffer.extend_from_slice(pieces.next()?),
            Err(_) => return None,
        }
    };
    let mut decoder = Decoder::new(head.framing);
    let mut body = Vec::new();
    loop {
        let ended = match decoder.decode(&mut buffer) {
            Ok(Decoded::Data(data)) => {
                body.extend_from_slice(&data);
                continue;
            }
            Ok(Decoded::Trailers(_)) => continue,
            Ok(Decoded::End) => true,
            Ok(Decoded::More) => match pieces.next() {
                Some(piece) => {
                    buffer.extend_from_slice(piece);
                    continue;
                }
                None => false,
            },
            Err(_) => return None,
        };
        assert!(body.len() <= bytes.len());
        return Some((head.status.as_u16(), body, ended));
    }
}
