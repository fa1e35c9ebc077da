//! Asking one resolver, or an authority for a zone, one question.
//!
//! The question is asked as it is written, without search lists, caches or a second server: the server is what is probed.
//! Over UDP an answer that was cut off is asked for again over TCP, as every resolver does (RFC 7766, section 5).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;

use super::definition::{AnswerExpectation, DnsSection, HostPort, RecordExpectation, RecordRule};
use super::run::{Attempt, Failed, connect_failure};
use crate::model::{DnsAnswer, DnsRecord, ProbeFailure, ProbePhase};

/// Asks, and holds the answer to what is expected.
pub(super) async fn run(attempt: &mut Attempt<'_>, place: &HostPort) -> Result<(), Failed> {
    let question = &attempt.manner.question;
    let internal = |detail: String| Failed::new(ProbeFailure::Internal, detail);
    let name = name(&question.name).ok_or_else(|| {
        internal(format!(
            "{:?} is no name that can be asked for",
            question.name
        ))
    })?;
    let kind: RecordType = question
        .kind
        .parse()
        .map_err(|_unknown| internal(format!("{:?} is no type of records", question.kind)))?;
    let mut asked = Message::query();
    asked.metadata.recursion_desired = question.recurse;
    asked.add_query(Query::query(name, kind));
    // Without EDNS a server cannot say more than a code.
    let mut edns = Edns::new();
    edns.set_max_payload(LARGEST_DATAGRAM as u16);
    asked.set_edns(edns);
    let bytes = asked
        .to_vec()
        .map_err(|error| internal(error.to_string()))?;
    let answer = if question.tcp {
        over_tcp(attempt, place, &bytes).await?
    } else {
        let answer = over_udp(attempt, place, &asked, &bytes).await?;
        if answer.metadata.truncation {
            over_tcp(attempt, place, &bytes).await?
        } else {
            answer
        }
    };
    if answer.metadata.id != asked.metadata.id {
        let detail = "it answered another question";
        return Err(Failed::new(ProbeFailure::HttpReset, detail));
    }
    let whole = seen(&answer);
    let judged = judge(&answer, &whole, kind, &attempt.manner.expect.answer);
    attempt.seen.answer = Some(cut(whole));
    judged
}

/// As DNS Flag Day 2020 recommends: no fragments on any path.
const LARGEST_DATAGRAM: usize = 1_232;

fn name(text: &str) -> Option<Name> {
    let text = if text.is_empty() { "." } else { text };
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

async fn over_udp(
    attempt: &mut Attempt<'_>,
    place: &HostPort,
    asked: &Message,
    bytes: &[u8],
) -> Result<Message, Failed> {
    let address = attempt.locate(place, attempt.manner.connect_to).await?;
    let any = if address.is_ipv4() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    let source = SocketAddr::new(attempt.manner.source.unwrap_or(any), 0);
    let exchanging = async {
        let socket = UdpSocket::bind(source).await?;
        // Only what this server sends is heard, and that its port is closed.
        socket.connect(address).await?;
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
    };
    attempt
        .phase(
            ProbePhase::Processing,
            ProbeFailure::DnsTimeout,
            exchanging,
            |error: io::Error| Failed::new(connect_failure(&error), format!("{address}: {error}")),
        )
        .await
}

async fn over_tcp(
    attempt: &mut Attempt<'_>,
    place: &HostPort,
    bytes: &[u8],
) -> Result<Message, Failed> {
    let mut stream = attempt.connect(place, attempt.manner.connect_to).await?;
    let exchanging = async {
        let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut whole = length.to_be_bytes().to_vec();
        whole.extend(bytes);
        stream.write_all(&whole).await?;
        let length = stream.read_u16().await?;
        let mut heard = vec![0; usize::from(length)];
        stream.read_exact(&mut heard).await?;
        Message::from_vec(&heard).map_err(io::Error::other)
    };
    attempt
        .phase(
            ProbePhase::Processing,
            ProbeFailure::DnsTimeout,
            exchanging,
            |error| Failed::new(ProbeFailure::HttpReset, error.to_string()),
        )
        .await
}

/// Records, and extended errors, that are kept of an answer once it is judged.
const MOST_RECORDS: usize = 100;
/// Characters kept of a record's data, and of what is said of an extended error.
const LONGEST_DATA: usize = 500;

/// What is kept of an answer.
fn cut(mut whole: DnsAnswer) -> DnsAnswer {
    whole.answers.truncate(MOST_RECORDS);
    whole.extended_errors.truncate(MOST_RECORDS);
    let data = whole.answers.iter_mut().map(|record| &mut record.data);
    for text in data.chain(whole.extended_errors.iter_mut().map(|(_, text)| text)) {
        if let Some((end, _)) = text.char_indices().nth(LONGEST_DATA) {
            text.truncate(end);
        }
    }
    whole
}

/// The whole of an answer; it had room in a message of 64 KiB.
fn seen(answer: &Message) -> DnsAnswer {
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

/// RFC 8914, section 2.
const EXTENDED_ERROR: u16 = 15;
/// "Stale Answer" and "Stale NXDOMAIN Answer" (RFC 8914, section 5.2).
const STALE: [u16; 2] = [3, 19];

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

fn judge(
    answer: &Message,
    seen: &DnsAnswer,
    kind: RecordType,
    expect: &AnswerExpectation,
) -> Result<(), Failed> {
    let extended = seen.extended_errors.iter().map(|(code, text)| {
        let text = if text.is_empty() {
            String::new()
        } else {
            format!(" {text:?}")
        };
        format!("; extended error {code}{text}")
    });
    let extended: String = extended.collect();
    let failed = |failure, detail: String| Err(Failed::new(failure, format!("{detail}{extended}")));
    let wants = if expect.rcodes.is_empty() {
        vec!["NOERROR".to_owned()]
    } else {
        expect.rcodes.clone()
    };
    if !wants.contains(&seen.rcode) {
        let failure = match seen.rcode.as_str() {
            "NXDOMAIN" => ProbeFailure::DnsNxdomain,
            "SERVFAIL" => ProbeFailure::DnsServfail,
            _ => ProbeFailure::AssertAnswer,
        };
        let detail = format!(
            "it answered {}, expected {}",
            seen.rcode,
            wants.join(" or ")
        );
        return failed(failure, detail);
    }
    let stale = |(code, _): &(u16, String)| STALE.contains(code);
    if !expect.may_be_stale && seen.extended_errors.iter().any(stale) {
        let detail = "the answer is an old one that the resolver kept".to_owned();
        return failed(ProbeFailure::DnsStale, detail);
    }
    if let Some(wanted) = expect.authoritative
        && wanted != seen.authoritative
    {
        let is = if wanted { "is not" } else { "is" };
        let detail = format!("the answer {is} authoritative");
        return failed(ProbeFailure::AssertAnswer, detail);
    }
    let asked_for: Vec<&DnsRecord> = seen
        .answers
        .iter()
        .filter(|record| record.kind == kind.to_string())
        .collect();
    let list = || {
        let data: Vec<_> = asked_for
            .iter()
            .map(|record| record.data.as_str())
            .collect();
        if data.is_empty() {
            "nothing".to_owned()
        } else {
            data.join(", ")
        }
    };
    if let Some(lacks) = expect.has.iter().find(|data| !has(&asked_for, data)) {
        return failed(
            ProbeFailure::AssertAnswer,
            format!("{lacks} is not in the answer: {}", list()),
        );
    }
    let is_known = |record: &&DnsRecord| expect.has.iter().any(|data| same(&record.data, data));
    if expect.only && !asked_for.iter().all(is_known) {
        let detail = format!("there is more than expected in the answer: {}", list());
        return failed(ProbeFailure::AssertAnswer, detail);
    }
    for record in &asked_for {
        let low = expect.ttl_least.is_some_and(|least| record.ttl < least);
        let high = expect.ttl_most.is_some_and(|most| record.ttl > most);
        if low || high {
            let bound = if low { "at least" } else { "at most" };
            let wanted = if low {
                expect.ttl_least
            } else {
                expect.ttl_most
            };
            let detail = format!(
                "{} lives {} s, expected {bound} {} s",
                record.data,
                record.ttl,
                wanted.unwrap_or_default()
            );
            return failed(ProbeFailure::AssertAnswer, detail);
        }
    }
    let broken = expect.records.iter().find_map(|rule| broken(rule, answer));
    match broken {
        Some(detail) => failed(ProbeFailure::AssertAnswer, detail),
        None => Ok(()),
    }
}

fn has(records: &[&DnsRecord], data: &str) -> bool {
    records.iter().any(|record| same(&record.data, data))
}

/// Names are the same with and without the closing dot, in any case.
fn same(found: &str, wanted: &str) -> bool {
    let plain = |text: &str| text.trim_end_matches('.').to_ascii_lowercase();
    plain(found) == plain(wanted) || found.trim_matches('"') == wanted
}

fn broken(rule: &RecordExpectation, answer: &Message) -> Option<String> {
    let (records, section) = match rule.section {
        DnsSection::Answer => (&answer.answers, "answer"),
        DnsSection::Authority => (&answer.authorities, "authority"),
        DnsSection::Additional => (&answer.additionals, "additional"),
    };
    let lines: Vec<String> = records
        .iter()
        .map(|record| {
            let (name, kind) = (record.name.to_ascii(), record.record_type());
            format!("{name}\t{}\tIN\t{kind}\t{}", record.ttl, record.data)
        })
        .collect();
    let matches = |line: &&String| rule.pattern.is_match(line.as_bytes());
    let (some, all) = (
        lines.iter().any(|it| matches(&it)),
        lines.iter().all(|it| matches(&it)),
    );
    let (fails, what) = match rule.fails {
        RecordRule::AnyMatches => (some, "a record matches"),
        RecordRule::AllMatch => (all && !lines.is_empty(), "every record matches"),
        RecordRule::AnyDiffers => (!all, "a record does not match"),
        RecordRule::NoneMatches => (!some && !lines.is_empty(), "no record matches"),
    };
    fails.then(|| format!("{section} section: {what} /{}/", rule.pattern.as_str()))
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::OpCode;
    use hickory_proto::rr::rdata::TXT;

    use super::*;

    #[test]
    fn an_answer_is_judged_whole_and_kept_in_part() {
        let long = "x".repeat(200) + &"y".repeat(55);
        let mut answer = Message::response(1, OpCode::Query);
        for number in 0..150 {
            let data = vec![
                format!("{number}"),
                long.clone(),
                long.clone(),
                long.clone(),
            ];
            let data = RData::TXT(TXT::new(data));
            answer.add_answer(Record::from_rdata(name("a.example").unwrap(), 60, data));
        }
        let whole = seen(&answer);
        let judged = |has: &[String]| {
            let expect = AnswerExpectation {
                has: has.to_vec(),
                only: true,
                ..AnswerExpectation::default()
            };
            judge(&answer, &whole, RecordType::TXT, &expect).is_ok()
        };
        let all: Vec<String> = whole.answers.iter().map(|it| it.data.clone()).collect();
        assert!(all.len() == 150 && all[0].len() > LONGEST_DATA);
        assert!(judged(&all));
        assert!(!judged(&all[..149]), "the last record is not expected");
        let mut other = all.clone();
        other[0].replace_range(all[0].len() - 2.., "zz");
        assert!(!judged(&other), "they differ where they are not kept");
        let kept = cut(whole.clone());
        assert_eq!(kept.answers.len(), MOST_RECORDS);
        assert!(kept.answers.iter().all(|it| it.data.len() == LONGEST_DATA));
    }
}
