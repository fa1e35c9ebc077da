//! A PROXY header is read or refused, and is never of both versions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vestibule::proxy::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    let (first, second) = fuzzing::preamble(bytes);
    assert!(!(first && second));
    assert!(!first || bytes.starts_with(b"PROXY "));
    assert!(!second || bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n"));
});
