//! Asking one server of the domain name system one question, and what its answer says.
//!
//! The question goes to the server that is named, as it is written: no search lists, no cache, no second server. Over UDP an
//! answer that was cut off is asked for again over TCP, as every resolver does (RFC 7766, section 5).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use crate::model::{DnsAnswer, DnsRecord};

/// As DNS Flag Day 2020 recommends: no fragments on any path.
const LARGEST_DATAGRAM: u16 = 1_232;

/// RFC 8914, section 2.
const EXTENDED_ERROR: u16 = 15;

/// `text` as a name from the root on; `None` when it is none. Empty is the root.
pub fn name(text: &str) -> Option<Name> {
    let text = if text.is_empty() { "." } else { text };
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// A question, with a number of its own.
pub fn question(name: Name, kind: RecordType, recurse: bool) -> Message {
    let mut asked = Message::query();
    asked.metadata.recursion_desired = recurse;
    asked.add_query(Query::query(name, kind));
    // Without EDNS a server cannot say more than a code.
    let mut edns = Edns::new();
    edns.set_max_payload(LARGEST_DATAGRAM);
    asked.set_edns(edns);
    asked
}

/// Asks over UDP, and over TCP when the answer was cut off. No timeout: the caller has one.
///
/// # Errors
/// When there is no answer to be had; what an answer says is none.
pub async fn ask(server: SocketAddr, asked: &Message) -> io::Result<Message> {
    let bytes = asked.to_vec().map_err(io::Error::other)?;
    let answer = over_udp(server, None, asked, &bytes).await?;
    if !answer.metadata.truncation {
        return Ok(answer);
    }
    let mut stream = TcpStream::connect(server).await?;
    let answer = over_tcp(&mut stream, &bytes).await?;
    if answer.metadata.id == asked.metadata.id {
        Ok(answer)
    } else {
        Err(io::Error::other("it answered another question"))
    }
}

/// Sends `bytes`, which are `asked`, and waits for the answer to it.
///
/// # Errors
/// When it cannot be sent, or the server's port is closed.
pub async fn over_udp(
    server: SocketAddr,
    source: Option<IpAddr>,
    asked: &Message,
    bytes: &[u8],
) -> io::Result<Message> {
    let any = if server.is_ipv4() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    let socket = UdpSocket::bind(SocketAddr::new(source.unwrap_or(any), 0)).await?;
    // Only what this server sends is heard, and that its port is closed.
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut heard = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut heard).await?;
        // Whoever guesses the port must guess the number and the question as well.
        let ours = |answer: &Message| {
            answer.metadata.id == asked.metadata.id && answer.queries == asked.queries
        };
        let answer = heard
            .get(..length)
            .and_then(|it| Message::from_vec(it).ok());
        if let Some(answer) = answer.filter(ours) {
            return Ok(answer);
        }
    }
}

/// Sends `bytes` in a stream, and waits for one message.
///
/// # Errors
/// When the stream breaks off, or what comes is no message.
pub async fn over_tcp(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<Message> {
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut whole = length.to_be_bytes().to_vec();
    whole.extend(bytes);
    stream.write_all(&whole).await?;
    let length = stream.read_u16().await?;
    let mut heard = vec![0; usize::from(length)];
    stream.read_exact(&mut heard).await?;
    Message::from_vec(&heard).map_err(io::Error::other)
}

/// The addresses of `host` as one resolver gives them.
///
/// # Errors
/// Why there are none.
pub async fn lookup(server: SocketAddr, host: &str, kinds: Kinds) -> Result<Looked, LookupError> {
    let name = name(host).ok_or(LookupError::Nameless)?;
    let mut found = Looked::default();
    let (mut refused, mut lost) = (None, None);
    for kind in [RecordType::A, RecordType::AAAA] {
        let wanted = match kind {
            RecordType::A => kinds != Kinds::V6,
            _ => kinds != Kinds::V4,
        };
        if !wanted {
            continue;
        }
        let answer = match ask(server, &question(name.clone(), kind, true)).await {
            Ok(answer) => answer,
            // The addresses of the other family are no worse for it.
            Err(error) => {
                lost = Some(error);
                continue;
            }
        };
        let seen = decode(&answer);
        if seen.rcode != "NOERROR" {
            refused = Some(seen.rcode);
            continue;
        }
        found.is_stale |= seen.is_stale();
        let records = answer.answers.iter().filter_map(|record| {
            let ip = match &record.data {
                RData::A(ip) => IpAddr::V4(ip.0),
                RData::AAAA(ip) => IpAddr::V6(ip.0),
                _ => return None,
            };
            Some((ip, record.ttl))
        });
        found.addresses.extend(records);
    }
    match refused {
        _ if !found.addresses.is_empty() => Ok(found),
        Some(rcode) if rcode == "NXDOMAIN" => Err(LookupError::Nxdomain),
        _ if lost.is_some() => Err(lost.map_or(LookupError::Nxdomain, LookupError::Io)),
        Some(rcode) => Err(LookupError::Refused(rcode)),
        None => Err(LookupError::Nxdomain),
    }
}

/// Which addresses are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kinds {
    /// Of both families.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// What a name leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Its addresses, those of IPv4 first, and how long each may be kept, in seconds.
    pub addresses: Vec<(IpAddr, u32)>,
    /// Whether the resolver says that it should have let go of the answer.
    pub is_stale: bool,
}

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// It is no name.
    #[error("it is no name that can be asked for")]
    Nameless,
    /// It does not exist, or has no address.
    #[error("it does not exist, or has no address")]
    Nxdomain,
    /// The resolver has no answer: the response code's word.
    #[error("the resolver answered {0}")]
    Refused(String),
    /// The resolver does not answer.
    #[error("the resolver does not answer: {0}")]
    Io(#[from] io::Error),
}

/// The whole of an answer; it had room in a message of 64 KiB.
pub fn decode(answer: &Message) -> DnsAnswer {
    let options = answer
        .edns
        .as_ref()
        .map(|edns| edns.options().options.as_slice());
    let extended = options
        .unwrap_or_default()
        .iter()
        .filter_map(|(code, option)| match (u16::from(*code), option) {
            (EXTENDED_ERROR, EdnsOption::Unknown(_, data)) => {
                let (code, text) = data.split_first_chunk()?;
                let text = String::from_utf8_lossy(text).into_owned();
                Some((u16::from_be_bytes(*code), text))
            }
            _ => None,
        });
    let serial = answer.answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    });
    DnsAnswer {
        rcode: rcode(answer),
        authoritative: answer.metadata.authoritative,
        answers: answer.answers.iter().map(record).collect(),
        authorities: answer.authorities.len() as u32,
        additionals: answer.additionals.len() as u32,
        serial,
        extended_errors: extended.collect(),
    }
}

fn record(record: &Record) -> DnsRecord {
    DnsRecord {
        name: record.name.to_ascii(),
        kind: record.record_type().to_string(),
        ttl: record.ttl,
        data: record.data.to_string(),
    }
}

/// The code's mnemonic (RFC 6895, section 2.3).
fn rcode(answer: &Message) -> String {
    let word = match answer.metadata.response_code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::YXDomain => "YXDOMAIN",
        ResponseCode::YXRRSet => "YXRRSET",
        ResponseCode::NXRRSet => "NXRRSET",
        ResponseCode::NotAuth => "NOTAUTH",
        ResponseCode::NotZone => "NOTZONE",
        other => return format!("RCODE{}", u16::from(other)),
    };
    word.to_owned()
}
