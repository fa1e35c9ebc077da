//! Who the client is: the nearest address from the right that no trusted proxy vouches for, and never the word of a
//! stranger.
#![no_main]

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use vestibule::proxy::fuzzing;

fuzz_target!(|input: (bool, Vec<Vec<u8>>)| {
    let (trusted_peer, values) = input;
    let trusted = ["10.0.0.0/8", "fd00::/8"];
    let peer: IpAddr = if trusted_peer {
        [10, 0, 0, 1].into()
    } else {
        [192, 0, 2, 1].into()
    };
    let mut headers = HeaderMap::new();
    for value in values.into_iter().take(20) {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.append(HeaderName::from_static("x-forwarded-for"), value);
        }
    }
    let (client, believed) = fuzzing::client(peer, &headers, &trusted);
    assert_eq!(believed, trusted_peer);
    if !trusted_peer {
        assert_eq!(client, peer, "a stranger was believed");
        return;
    }
    // Told once more, the plain way: every item in order, read from the right.
    let items: Vec<Option<IpAddr>> = headers
        .get_all("x-forwarded-for")
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|item| std::str::from_utf8(item.trim_ascii()).ok()?.parse().ok())
        .collect();
    let mut expected = peer;
    for item in items.iter().rev() {
        let Some(address) = item else { break };
        expected = *address;
        let vouched = match address {
            IpAddr::V4(address) => address.octets()[0] == 10,
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(mapped) => mapped.octets()[0] == 10,
                None => address.octets()[0] == 0xfd,
            },
        };
        if !vouched {
            break;
        }
    }
    assert_eq!(client.to_canonical(), expected.to_canonical());
});
