//! One echo request, and its reply.
//!
//! A raw socket needs `CAP_NET_RAW`, and over IPv4 tells how many hops the reply could still have made. Without that right a
//! datagram socket for ICMP does, which needs only the kernel's leave: `net.ipv4.ping_group_range` names the groups that
//! have it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::UdpSocket;

use super::definition::HostPort;
use super::run::{Attempt, Failed, connect_failure};
use crate::model::{ProbeFailure, ProbePhase};

/// Sends one request and waits for its reply.
pub(super) async fn run(attempt: &mut Attempt<'_>, host: &str) -> Result<(), Failed> {
    let place = HostPort {
        host: host.to_owned(),
        port: 0,
    };
    let instead = attempt.manner.connect_to;
    let address = attempt.locate(&place, instead).await?;
    attempt.seen.address = Some(address.ip().to_string());
    let source = attempt.manner.source;
    let opening = async { open(address, source) };
    let socket = attempt
        .phase(
            ProbePhase::Connect,
            ProbeFailure::Internal,
            opening,
            |error| not_opened(&error),
        )
        .await?;
    let echo = Echo::new(address.is_ipv6());
    let exchanging = exchange(&socket, &echo);
    let hops = attempt
        .phase(
            ProbePhase::Processing,
            ProbeFailure::IcmpTimeout,
            exchanging,
            |error| {
                // What a router or the host itself says in the place of a reply.
                let failure = match connect_failure(&error) {
                    ProbeFailure::ConnectRefused => ProbeFailure::ConnectUnreachable,
                    other => other,
                };
                Failed::new(failure, format!("{}: {error}", address.ip()))
            },
        )
        .await?;
    attempt.seen.hop_limit = hops;
    Ok(())
}

fn not_opened(error: &io::Error) -> Failed {
    if error.kind() == io::ErrorKind::PermissionDenied {
        let detail = "the kernel gives this process no ICMP socket: widen \
                      net.ipv4.ping_group_range to one of its groups, or give it CAP_NET_RAW";
        return Failed::new(ProbeFailure::NotPermitted, detail);
    }
    Failed::new(connect_failure(error), error.to_string())
}

fn open(address: SocketAddr, source: Option<IpAddr>) -> io::Result<UdpSocket> {
    let (domain, protocol) = if address.is_ipv4() {
        (Domain::IPV4, Protocol::ICMPV4)
    } else {
        (Domain::IPV6, Protocol::ICMPV6)
    };
    let socket = match Socket::new(domain, Type::RAW, Some(protocol)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Socket::new(domain, Type::DGRAM, Some(protocol))?
        }
        other => other?,
    };
    socket.set_nonblocking(true)?;
    if let Some(source) = source {
        socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
    }
    // Of a host that is reached through a router which says that it cannot be, this also hears.
    socket.connect(&SockAddr::from(address))?;
    // What sends and receives on a connected socket asks for no protocol.
    UdpSocket::from_std(socket.into())
}

/// A request, and how its reply is known.
struct Echo {
    v6: bool,
    /// Random, so that no other process's reply is taken for ours.
    token: [u8; 16],
}

impl Echo {
    fn new(v6: bool) -> Self {
        let mut token = [0; 16];
        // Without randomness, the process and its replies are told apart by the kernel alone.
        rustix::rand::getrandom(&mut token, rustix::rand::GetRandomFlags::empty())
            .unwrap_or_default();
        Self { v6, token }
    }

    /// RFC 792 and RFC 4443, section 4.1. The kernel sets the identifier of datagram sockets, and the checksum of `ICMPv6`.
    fn request(&self) -> Vec<u8> {
        let kind = if self.v6 { 128 } else { 8 };
        let (id, sequence) = ([self.token[0], self.token[1]], [0, 1]);
        let mut packet = vec![kind, 0, 0, 0, id[0], id[1], sequence[0], sequence[1]];
        packet.extend(self.token);
        let sum = checksum(&packet).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
        packet
    }

    fn is_answered_by(&self, packet: &[u8]) -> bool {
        let reply = if self.v6 { 129 } else { 0 };
        let header = ip_header(packet).filter(|_| !self.v6).unwrap_or(0);
        let icmp = packet.get(header..).unwrap_or_default();
        icmp.first() == Some(&reply) && icmp.get(8..) == Some(&self.token[..])
    }
}

/// Gives the reply's hop limit, where it can be seen.
async fn exchange(socket: &UdpSocket, echo: &Echo) -> io::Result<Option<u8>> {
    socket.send(&echo.request()).await?;
    loop {
        let mut packet = [0; 1_500];
        let length = socket.recv(&mut packet).await?;
        let packet = packet.get(..length).unwrap_or_default();
        if echo.is_answered_by(packet) {
            let header = ip_header(packet).filter(|_| !echo.v6);
            return Ok(header.and_then(|_| packet.get(TIME_TO_LIVE).copied()));
        }
    }
}

/// Where an IPv4 header has its time to live.
const TIME_TO_LIVE: usize = 8;

/// The length of the IPv4 header that a raw socket gives with a packet.
fn ip_header(packet: &[u8]) -> Option<usize> {
    let first = packet.first().filter(|first| *first >> 4 == 4)?;
    Some(usize::from(first & 0x0f) * 4)
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_over_a_packet_with_its_checksum_is_zero() {
        for v6 in [false, true] {
            assert_eq!(checksum(&Echo::new(v6).request()), 0);
        }
        assert_eq!(checksum(&[1]), !0x0100);
    }

    #[test]
    fn only_the_reply_to_the_own_request_counts() {
        let echo = Echo::new(false);
        let mut reply = echo.request();
        assert!(
            !echo.is_answered_by(&reply),
            "the request itself, on loopback"
        );
        reply[0] = 0;
        assert!(echo.is_answered_by(&reply));
        let mut raw = vec![0x45; 20];
        raw.extend(&reply);
        assert!(echo.is_answered_by(&raw), "behind an IP header");
        assert!(!Echo::new(false).is_answered_by(&reply), "another's");
        assert!(!echo.is_answered_by(&[]) && !echo.is_answered_by(&[0x4f]));
    }
}
