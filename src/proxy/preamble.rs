//! The PROXY protocol, by which a balancer in front says whose connection it hands on
//! (haproxy.org/download/2.9/doc/proxy-protocol.txt, versions 1 and 2).
//!
//! Only who is trusted may say so, and must: on a listener that expects it, one who does not is refused, for otherwise anybody
//! could choose an address. Exactly the header is read, so that TLS finds what follows untouched.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::config::Network;
use crate::model::PreambleFailure;

/// The longest header of version 1, its line's end included.
const LONGEST_TEXT: usize = 107;
/// What version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const FIXED: usize = 16;
/// The most that may follow a header of version 2: addresses, and what balancers add about TLS and themselves.
const LONGEST_REST: usize = 4 * 1024;

/// What is known of where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Its address is whose it is.
    Known,
    /// Its address is that of a balancer which speaks for somebody it does not name.
    Unsaid,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// The client's address.
    Client(SocketAddr),
    /// The balancer asks for itself.
    Own,
    /// There is a client, whose address it does not tell.
    Nothing,
}

/// Whose connection it is: what the header says, or `peer` if it says that it is the balancer's own. Who connects from this very
/// machine (our own looks at what is shown) need not say.
pub(super) async fn source(
    stream: &mut TcpStream,
    peer: SocketAddr,
    trusted: &[Network],
    limit: Duration,
) -> Result<(SocketAddr, Source), PreambleFailure> {
    let own = stream.local_addr().is_ok_and(|here| here.ip() == peer.ip());
    if !trusted.iter().any(|it| it.contains(peer.ip())) {
        return if own {
            Ok((peer, Source::Known))
        } else {
            Err(PreambleFailure::Untrusted)
        };
    }
    let read = timeout(limit, read(stream, own)).await;
    let named = read.unwrap_or(Err(PreambleFailure::Incomplete))?;
    Ok(match named {
        Said::Client(client) => (client, Source::Known),
        Said::Own => (peer, Source::Known),
        Said::Nothing => (peer, Source::Unsaid),
    })
}

/// The address that the header names, if it names one.
async fn read(stream: &mut TcpStream, own: bool) -> Result<Said, PreambleFailure> {
    const TEXT: &[u8] = b"PROXY ";
    let mut first = [0; SIGNATURE.len()];
    let seen = stream.peek(&mut first).await.map_err(broken)?;
    let seen = &first[..seen];
    let agree = |expected: &[u8]| seen.iter().zip(expected).all(|(a, b)| a == b);
    if seen.is_empty() {
        Err(PreambleFailure::Incomplete)
    } else if own && !seen.starts_with(TEXT) && !seen.starts_with(&SIGNATURE) {
        Ok(Said::Own)
    } else if agree(TEXT) {
        text(&read_text(stream).await?)
    } else if agree(&SIGNATURE) {
        read_binary(stream).await
    } else {
        Err(PreambleFailure::Absent)
    }
}

fn broken(_: io::Error) -> PreambleFailure {
    PreambleFailure::Incomplete
}

/// Reads up to the first line's end and no further.
async fn read_text(stream: &mut TcpStream) -> Result<Vec<u8>, PreambleFailure> {
    let mut line = Vec::with_capacity(LONGEST_TEXT);
    loop {
        let mut more = [0; LONGEST_TEXT];
        let room = LONGEST_TEXT - line.len();
        let seen = stream.peek(&mut more[..room]).await.map_err(broken)?;
        if seen == 0 {
            return Err(PreambleFailure::Incomplete);
        }
        let end = more[..seen].iter().position(|byte| *byte == b'\n');
        let belongs = &mut more[..end.map_or(seen, |end| end + 1)];
        stream.read_exact(belongs).await.map_err(broken)?;
        line.extend_from_slice(belongs);
        if end.is_some() {
            return Ok(line);
        }
        if line.len() == LONGEST_TEXT {
            return Err(PreambleFailure::Malformed);
        }
    }
}

async fn read_binary(stream: &mut TcpStream) -> Result<Said, PreambleFailure> {
    let mut fixed = [0; FIXED];
    stream.read_exact(&mut fixed).await.map_err(broken)?;
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > LONGEST_REST {
        return Err(PreambleFailure::Malformed);
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await.map_err(broken)?;
    binary(&fixed, &rest)
}

/// Whether `bytes` are a header of version 1, and of version 2.
#[cfg(fuzzing)]
pub(super) fn reads(bytes: &[u8]) -> (bool, bool) {
    let second = bytes.split_first_chunk::<FIXED>();
    let second = second.is_some_and(|(fixed, rest)| binary(fixed, rest).is_ok());
    (text(bytes).is_ok(), second)
}

/// Version 1, section 2.1.
fn text(line: &[u8]) -> Result<Said, PreambleFailure> {
    let words = line.strip_suffix(b"\r\n").and_then(|line| {
        let text = std::str::from_utf8(line).ok()?;
        Some(text.split(' ').collect::<Vec<_>>())
    });
    let named = match words.as_deref() {
        // Whatever follows is not looked at.
        Some(["PROXY", "UNKNOWN", ..]) => return Ok(Said::Nothing),
        Some(["PROXY", family, source, target, from, to]) => {
            let addresses = match *family {
                "TCP4" => of_family::<Ipv4Addr>(source, target),
                "TCP6" => of_family::<Ipv6Addr>(source, target),
                _ => None,
            };
            addresses.zip(port(from).zip(port(to)))
        }
        Some(_) | None => None,
    };
    let (address, (port, _)) = named.ok_or(PreambleFailure::Malformed)?;
    Ok(Said::Client(SocketAddr::new(address, port)))
}

/// The source, when both are addresses of one family.
fn of_family<A: std::str::FromStr + Into<IpAddr>>(source: &str, target: &str) -> Option<IpAddr> {
    target.parse::<A>().ok()?;
    Some(source.parse::<A>().ok()?.into())
}

/// A port as version 1 writes it: without sign or leading zero.
fn port(text: &str) -> Option<u16> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| plain)
}

/// Version 2, section 2.2.
fn binary(fixed: &[u8; FIXED], rest: &[u8]) -> Result<Said, PreambleFailure> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    let malformed = Err(PreambleFailure::Malformed);
    if fixed[..SIGNATURE.len()] != SIGNATURE {
        return malformed;
    }
    match (fixed[12], fixed[13]) {
        // A health check.
        (LOCAL, _) => Ok(Said::Own),
        // Over something that has no addresses, or a unix socket.
        (PROXY, 0x00 | 0x31) => Ok(Said::Nothing),
        (PROXY, 0x11) => named::<4>(rest, |source| Ipv4Addr::from(source).into()),
        (PROXY, 0x21) => named::<16>(rest, |source| Ipv6Addr::from(source).into()),
        _ => malformed,
    }
}

/// The source of two addresses of `N` bytes with their ports, which must all be there.
fn named<const N: usize>(
    rest: &[u8],
    address: impl Fn([u8; N]) -> IpAddr,
) -> Result<Said, PreambleFailure> {
    let source = rest.first_chunk::<N>();
    let port = rest.get(2 * N..).and_then(<[u8]>::first_chunk::<4>);
    let (source, [high, low, ..]) = source.zip(port).ok_or(PreambleFailure::Malformed)?;
    let port = u16::from_be_bytes([*high, *low]);
    Ok(Said::Client(SocketAddr::new(address(*source), port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(command: u8, family: u8) -> [u8; FIXED] {
        let mut fixed = [0; FIXED];
        fixed[..12].copy_from_slice(&SIGNATURE);
        (fixed[12], fixed[13]) = (command, family);
        fixed
    }

    #[test]
    fn version_1_says_who_the_client_is_or_that_it_does_not_know() {
        let says = |line: &str| text(line.as_bytes());
        let named = |address: &str| Ok(Said::Client(address.parse().unwrap()));
        for (line, said) in [
            (
                "PROXY TCP4 192.0.2.9 198.51.100.1 56324 443\r\n",
                named("192.0.2.9:56324"),
            ),
            (
                "PROXY TCP6 2001:db8::9 2001:db8::1 1 65535\r\n",
                named("[2001:db8::9]:1"),
            ),
            ("PROXY UNKNOWN\r\n", Ok(Said::Nothing)),
            ("PROXY UNKNOWN ffff::1 whatever\r\n", Ok(Said::Nothing)),
        ] {
            assert_eq!(says(line), said, "{line}");
        }
        for line in [
            "PROXY TCP4 192.0.2.9 198.51.100.1 56324 443\n",
            "PROXY TCP4 192.0.2.9 198.51.100.1 56324 443 \r\n",
            "PROXY  TCP4 192.0.2.9 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.9 198.51.100.1 56324\r\n",
            "PROXY TCP4 192.0.2.9 198.51.100.1 56324 65536\r\n",
            "PROXY TCP4 192.0.2.9 198.51.100.1 +1 443\r\n",
            "PROXY TCP4 192.0.2.9 198.51.100.1 01 443\r\n",
            "PROXY TCP4 192.0.2.009 198.51.100.1 1 443\r\n",
            "PROXY TCP4 2001:db8::9 2001:db8::1 1 2\r\n",
            "PROXY TCP4 192.0.2.9 2001:db8::1 1 2\r\n",
            "PROXY TCP6 192.0.2.9 198.51.100.1 1 2\r\n",
            "PROXY UDP4 192.0.2.9 198.51.100.1 1 2\r\n",
            "PROXY tcp4 192.0.2.9 198.51.100.1 1 2\r\n",
            "PROXY\r\n",
            "",
        ] {
            assert_eq!(says(line), Err(PreambleFailure::Malformed), "{line}");
        }
    }

    #[test]
    fn version_2_says_who_the_client_is_unless_it_is_the_balancer() {
        let v4 = [
            192, 0, 2, 9, 198, 51, 100, 1, 0xdc, 4, 1, 187, 3, 0, 4, 1, 2, 3, 4,
        ];
        let named = Ok(Said::Client("192.0.2.9:56324".parse().unwrap()));
        assert_eq!(binary(&framed(0x21, 0x11), &v4), named);
        assert_eq!(binary(&framed(0x21, 0x11), &v4[..12]), named);
        let mut v6 = [0; 36];
        v6[15] = 9;
        v6[33] = 7;
        let named = Ok(Said::Client("[::9]:7".parse().unwrap()));
        assert_eq!(binary(&framed(0x21, 0x21), &v6), named);
        for (command, family, said) in [
            (0x20, 0x11, Said::Own),
            (0x20, 0, Said::Own),
            (0x21, 0, Said::Nothing),
            (0x21, 0x31, Said::Nothing),
        ] {
            assert_eq!(binary(&framed(command, family), &[]), Ok(said));
        }
        let malformed = Err(PreambleFailure::Malformed);
        assert_eq!(binary(&framed(0x21, 0x11), &v4[..11]), malformed);
        assert_eq!(binary(&framed(0x21, 0x21), &v6[..35]), malformed);
        for (command, family) in [(0x11, 0x11), (0x22, 0x11), (0x21, 0x12), (0x21, 0x41)] {
            assert_eq!(binary(&framed(command, family), &v4), malformed);
        }
        let mut other = framed(0x21, 0x11);
        other[11] = b'\r';
        assert_eq!(binary(&other, &v4), malformed);
    }

    proptest::proptest! {
        #[test]
        fn an_address_reads_as_it_was_written_and_no_bytes_panic(
            address: Ipv6Addr,
            from: u16,
            line in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120),
            fixed: [u8; FIXED],
        ) {
            let named = Ok(Said::Client(SocketAddr::new(address.into(), from)));
            let written = format!("PROXY TCP6 {address} ::1 {from} 443\r\n");
            proptest::prop_assert_eq!(text(written.as_bytes()), named);
            let mut rest = [0; 36];
            rest[..16].copy_from_slice(&address.octets());
            rest[32..34].copy_from_slice(&from.to_be_bytes());
            proptest::prop_assert_eq!(binary(&framed(0x21, 0x21), &rest), named);
            let told = [text(&line), text(&[b"PROXY ", &line[..]].concat()), binary(&fixed, &line)];
            proptest::prop_assert!(told.iter().all(|it| !matches!(it, Ok(Said::Client(_)))));
        }
    }
}
