//! Asking one resolver, or an authority for a zone, one question.
//!
//! The question is asked as it is written, without search lists, caches or a second server: the server is what is probed.

use std::io;

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;

use super::definition::{AnswerExpectation, DnsSection, HostPort, RecordExpectation, RecordRule};
use super::run::{Attempt, Failed, connect_failure};
use crate::model::{DnsAnswer, DnsRecord, ProbeFailure, ProbePhase};
use crate::net::dns;

/// Asks, and holds the answer to what is expected.
pub(super) async fn run(attempt: &mut Attempt<'_>, place: &HostPort) -> Result<(), Failed> {
    let question = &attempt.manner.question;
    let internal = |detail: String| Failed::new(ProbeFailure::Internal, detail);
    let name = dns::name(&question.name).ok_or_else(|| {
        internal(format!(
            "{:?} is no name that can be asked for",
            question.name
        ))
    })?;
    let kind: RecordType = question
        .kind
        .parse()
        .map_err(|_unknown| internal(format!("{:?} is no type of records", question.kind)))?;
    let asked = dns::question(name, kind, question.recurse);
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
    let whole = dns::decode(&answer);
    let judged = judge(&answer, &whole, kind, &attempt.manner.expect.answer);
    attempt.seen.answer = Some(cut(whole));
    judged
}

async fn over_udp(
    attempt: &mut Attempt<'_>,
    place: &HostPort,
    asked: &Message,
    bytes: &[u8],
) -> Result<Message, Failed> {
    let address = attempt.locate(place, attempt.manner.connect_to).await?;
    let exchanging = dns::over_udp(address, attempt.manner.source, asked, bytes);
    attempt
        .phase(
            ProbePhase::Processing,
            ProbeFailure::DnsTimeout,
            exchanging,
            |error| Failed::new(connect_failure(&error), format!("{address}: {error}")),
        )
        .await
}

async fn over_tcp(
    attempt: &mut Attempt<'_>,
    place: &HostPort,
    bytes: &[u8],
) -> Result<Message, Failed> {
    let mut stream = attempt.connect(place, attempt.manner.connect_to).await?;
    let exchanging = dns::over_tcp(&mut stream, bytes);
    attempt
        .phase(
            ProbePhase::Processing,
            ProbeFailure::DnsTimeout,
            exchanging,
            |error: io::Error| Failed::new(ProbeFailure::HttpReset, error.to_string()),
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
    if !expect.may_be_stale && seen.is_stale() {
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
    use hickory_proto::rr::{RData, Record};

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
            answer.add_answer(Record::from_rdata(
                dns::name("a.example").unwrap(),
                60,
                data,
            ));
        }
        let whole = dns::decode(&answer);
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
