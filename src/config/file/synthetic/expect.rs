//! What must hold for a probe to be well.

use std::time::Duration;

use http::HeaderName;

use super::{DAY, MILLISECOND, SECOND};
use crate::config::finding::Span;
use crate::config::keys::{Item, Keys, Located, Section};
use crate::config::kind::{
    Count, FAILURE, Flag, HEADER_PATTERN, HEADER_TEXT, JSON_PATH, PATTERN, RCODE, SHARE, STATUSES,
    TEXT, Time, Word,
};
use crate::config::outline::Rule;
use crate::model::ProbeFailure;
use crate::probe::definition::{
    DnsSection, HttpVersionNumber, JsonPath, Pattern, RecordRule, Statuses,
};

/// `[probe.expect]`
#[derive(Debug)]
pub(in crate::config) struct Expect {
    pub(in crate::config) failure: Option<Located<ProbeFailure>>,
    pub(in crate::config) status: Vec<Located<Statuses>>,
    pub(in crate::config) headers: Vec<Located<(HeaderName, String)>>,
    pub(in crate::config) body: Vec<Located<String>>,
    pub(in crate::config) body_lacks: Vec<Located<String>>,
    pub(in crate::config) body_matches: Vec<Located<Pattern>>,
    pub(in crate::config) body_matches_none: Vec<Located<Pattern>>,
    pub(in crate::config) header_matches: Vec<Located<(HeaderName, Pattern)>>,
    pub(in crate::config) header_matches_none: Vec<Located<(HeaderName, Pattern)>>,
    pub(in crate::config) json: Vec<Item<JsonTable>>,
    pub(in crate::config) http_version: Vec<Located<HttpVersionNumber>>,
    pub(in crate::config) encrypted: Option<Located<bool>>,
    pub(in crate::config) answer: Answer,
    pub(in crate::config) answer_written: Option<Span>,
    pub(in crate::config) json_written: Option<Span>,
    pub(in crate::config) under: Option<Located<Duration>>,
    pub(in crate::config) certificate_left: Option<Located<u32>>,
}

impl Section for Expect {
    const TITLE: &'static str = "`[probe.expect]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            failure: keys.optional(
                "failure",
                &FAILURE,
                "it must succeed",
                "It is well when it fails for just this reason: that a port is closed, that a page is not public.",
            ),
            status: keys.list(
                "status",
                &STATUSES,
                20,
                "`2xx`",
                "The status is one of these. HTTP only.",
            ),
            headers: keys.list(
                "headers",
                &HEADER_TEXT,
                50,
                "any",
                "Each of these headers is there and contains the text, which may be empty. HTTP only.",
            ),
            body: keys.list(
                "body",
                &TEXT,
                50,
                "anything",
                "The body contains each of these; for `tcp://`, what the service says.",
            ),
            body_lacks: keys.list(
                "body_lacks",
                &TEXT,
                50,
                "anything",
                "The body contains none of these.",
            ),
            body_matches: keys.list(
                "body_matches",
                &PATTERN,
                50,
                "anything",
                "The body matches each of these regular expressions, somewhere.",
            ),
            body_matches_none: keys.list(
                "body_matches_none",
                &PATTERN,
                50,
                "anything",
                "The body matches none of these regular expressions.",
            ),
            header_matches: keys.list(
                "header_matches",
                &HEADER_PATTERN,
                50,
                "any",
                "A value of each of these headers matches. HTTP only.",
            ),
            header_matches_none: keys.list(
                "header_matches_none",
                &HEADER_PATTERN,
                50,
                "any",
                "No value of any of these headers matches. HTTP only.",
            ),
            json: keys.tables(
                "json",
                0,
                50,
                "What the body says as JSON. HTTP only.",
            ),
            http_version: keys.list(
                "http_version",
                &VERSION_NUMBERS,
                3,
                "any",
                "The response's version of HTTP is one of these.",
            ),
            encrypted: keys.optional(
                "encrypted",
                &Flag,
                "either",
                "Whether the last response, after redirects, comes over TLS. HTTP only.",
            ),
            answer: keys.table("answer", "What a resolver answers. Only with `dns://` targets."),
            answer_written: keys.key_span("answer"),
            json_written: keys.key_span("json"),
            under: keys.optional(
                "under",
                &Time(MILLISECOND..=SECOND * 120),
                "the timeout",
                "The whole run takes at most this long.",
            ),
            certificate_left: keys.optional(
                "certificate_left",
                &SHARE,
                "that it is valid",
                "At least this share of the certificate's life is left. Shares rather than days: a certificate may live \
                 for a year or for six days. TLS only.",
            ),
        }
    }
}

const VERSION_NUMBERS: Word<HttpVersionNumber> = Word(&[
    ("1.0", HttpVersionNumber::V10),
    ("1.1", HttpVersionNumber::V11),
    ("2", HttpVersionNumber::V2),
]);

/// `[[probe.expect.json]]`
#[derive(Debug)]
pub(in crate::config) struct JsonTable {
    pub(in crate::config) path: Option<Located<JsonPath>>,
    pub(in crate::config) equals: Option<Located<String>>,
    pub(in crate::config) matches: Option<Located<Pattern>>,
    pub(in crate::config) count: Option<Located<usize>>,
}

impl Section for JsonTable {
    const TITLE: &'static str = "`[[probe.expect.json]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        keys.rule(Rule::AtMostOne("equals", "matches"));
        keys.rule(Rule::AtMostOne("equals", "count"));
        keys.rule(Rule::AtMostOne("matches", "count"));
        Self {
            path: keys.required("path", &JSON_PATH, "Where in the document."),
            equals: keys.optional(
                "equals",
                &TEXT,
                "something is found",
                "All that is found is this: a text as it is, anything else as JSON without spaces (`true`, `3`).",
            ),
            matches: keys.optional(
                "matches",
                &PATTERN,
                "something is found",
                "All that is found, written like that, matches.",
            ),
            count: keys.optional(
                "count",
                &Count(0..=1_000_000),
                "something is found",
                "Just so many nodes are found. With 0 nothing may be.",
            ),
        }
    }
}

/// `[probe.expect.answer]`
#[derive(Debug)]
pub(in crate::config) struct Answer {
    pub(in crate::config) rcode: Vec<Located<String>>,
    pub(in crate::config) has: Vec<Located<String>>,
    pub(in crate::config) only: Located<bool>,
    pub(in crate::config) authoritative: Option<Located<bool>>,
    pub(in crate::config) ttl_least: Option<Located<Duration>>,
    pub(in crate::config) ttl_most: Option<Located<Duration>>,
    pub(in crate::config) may_be_stale: Located<bool>,
    pub(in crate::config) records: Vec<Item<RecordTable>>,
}

impl Section for Answer {
    const TITLE: &'static str = "`[probe.expect.answer]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            rcode: keys.list("rcode", &RCODE, 11, "`NOERROR`", "The response code is one of these."),
            has: keys.list(
                "has",
                &TEXT,
                100,
                "any",
                "The data of each of these records is there, as a zone file writes it: `192.0.2.1`, `10 mx.example`.",
            ),
            only: keys.or(
                "only",
                &Flag,
                false,
                "Nothing else is there: not the address of a server that was moved away from.",
            ),
            authoritative: keys.optional(
                "authoritative",
                &Flag,
                "either",
                "Whether the server answers for its own zone (the AA flag).",
            ),
            ttl_least: keys.optional(
                "ttl_least",
                &Time(SECOND..=DAY * 7),
                "any",
                "Records live at least so long: a short life that was meant for a move was not forgotten.",
            ),
            ttl_most: keys.optional(
                "ttl_most",
                &Time(SECOND..=DAY * 7),
                "any",
                "Records live at most so long: a move would be seen within that time.",
            ),
            may_be_stale: keys.or(
                "may_be_stale",
                &Flag,
                false,
                "Whether an answer may be an old one that the resolver kept because nobody could be asked (extended errors \
                 3 and 19).",
            ),
            records: keys.tables(
                "record",
                0,
                20,
                "A rule over the records of a section. Their lines are `name TTL IN type data`, with tabs between.",
            ),
        }
    }
}

/// `[[probe.expect.answer.record]]`
#[derive(Debug)]
pub(in crate::config) struct RecordTable {
    pub(in crate::config) section: Located<DnsSection>,
    pub(in crate::config) fails_if: Option<Located<RecordRule>>,
    pub(in crate::config) pattern: Option<Located<Pattern>>,
}

const SECTIONS: Word<DnsSection> = Word(&[
    ("answer", DnsSection::Answer),
    ("authority", DnsSection::Authority),
    ("additional", DnsSection::Additional),
]);

const RULES: Word<RecordRule> = Word(&[
    ("any_matches", RecordRule::AnyMatches),
    ("all_match", RecordRule::AllMatch),
    ("any_differs", RecordRule::AnyDiffers),
    ("none_matches", RecordRule::NoneMatches),
]);

impl Section for RecordTable {
    const TITLE: &'static str = "`[[probe.expect.answer.record]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            section: keys.or(
                "section",
                &SECTIONS,
                DnsSection::Answer,
                "Which records are looked at.",
            ),
            fails_if: keys.required("fails_if", &RULES, "When the probe fails."),
            pattern: keys.required(
                "pattern",
                &PATTERN,
                "A regular expression over a record's line.",
            ),
        }
    }
}
