//! From what is written to what probing is told.

use std::path::Path;
use std::time::Duration;

use super::journey;
use crate::config::file::{self, Answer, Expect, JsonTable, Manner, Probe, StepTable};
use crate::config::keys::Located;
use crate::probe::definition::{
    self, AnswerExpectation, Definition, Dialogue, Expectations, HttpRequest, JsonExpectation,
    JsonWants, Question, RecordExpectation, Step, TlsSettings,
};
use crate::probe::module::Module;

pub(super) fn definition(probe: Probe, base: &Path) -> Option<Definition> {
    let Probe {
        name,
        target,
        every,
        route,
        runbook,
        paused,
        maintenance,
        manner: written,
        steps,
        compare,
        hurry,
    } = probe;
    let manner = manner(written, base)?;
    let is_journey = !steps.is_empty();
    let steps = steps
        .into_iter()
        .map(|item| journey::step(item.value, &manner));
    Some(Definition {
        name: name?.value,
        target: target?.value,
        every: every.value,
        route: route.map(|route| route.value),
        runbook: runbook.map(|page| page.value),
        paused: paused.value,
        maintenance: plain(maintenance),
        steps: steps.collect::<Option<_>>()?,
        manner,
        hurry: hurry.map_or(!is_journey, |hurry| hurry.value),
        compare: compare.value,
        views: Vec::new(),
    })
}

pub(super) fn module(module: file::Module, base: &Path) -> Option<Module> {
    let file::Module {
        name,
        prober,
        manner: written,
    } = module;
    Some(Module {
        name: name?.value,
        prober: prober?.value,
        manner: manner(written, base)?,
    })
}

pub(super) fn plain<T>(list: Vec<Located<T>>) -> Vec<T> {
    list.into_iter().map(|located| located.value).collect()
}

fn manner(manner: Manner, base: &Path) -> Option<definition::Manner> {
    let Manner {
        timeout,
        connect_to,
        resolver,
        family,
        source,
        http,
        tcp,
        dns,
        grpc,
        tls,
        expect,
        written: _,
    } = manner;
    let password = http.password_file.map(|file| base.join(file.value));
    Some(definition::Manner {
        timeout: timeout.value,
        connect_to: connect_to.map(|address| address.value),
        resolver: resolver.map(|address| address.value),
        family: family.value,
        source: source.map(|address| address.value),
        http: HttpRequest {
            // A kind of the same letters, and shorter, than HTTP allows.
            method: http.method.value.parse().ok()?,
            headers: plain(http.headers),
            bearer_file: http.bearer_file.map(|file| base.join(file.value)),
            basic: http.user.map(|user| user.value).zip(password),
            body: http.body.map(|body| body.value).unwrap_or_default(),
            redirects: http.redirects.value as u32,
            version: http.version.value,
            max_body: http.max_body.value,
        },
        dialogue: Dialogue {
            send: tcp.send.map(|text| text.value),
            starttls: tls.starttls.map(|protocol| protocol.value),
            steps: tcp.steps.into_iter().map(|item| step(item.value)).collect(),
        },
        question: Question {
            name: dns.name.map(|name| name.value).unwrap_or_default(),
            kind: dns.kind.value,
            recurse: dns.recurse.value,
            tcp: dns.transport.value,
        },
        grpc_service: grpc.service.map(|name| name.value).unwrap_or_default(),
        tls: TlsSettings {
            server_name: tls.server_name.map(|name| name.value),
            roots: tls.roots_file.map(|path| base.join(path.value)),
            insecure: tls.insecure.value,
        },
        expect: expectations(expect)?,
        stands_for: None,
    })
}

fn step(step: StepTable) -> Step {
    let StepTable {
        expect,
        send,
        starttls,
    } = step;
    Step {
        expect: expect.map(|pattern| pattern.value),
        send: send.map(|text| text.value),
        starttls: starttls.value,
    }
}

pub(super) fn expectations(expect: Expect) -> Option<Expectations> {
    let json: Option<Vec<_>> = expect.json.into_iter().map(|it| json(it.value)).collect();
    Some(Expectations {
        failure: expect.failure.map(|failure| failure.value),
        statuses: plain(expect.status),
        headers: plain(expect.headers),
        body: plain(expect.body),
        body_lacks: plain(expect.body_lacks),
        body_matches: plain(expect.body_matches),
        body_matches_none: plain(expect.body_matches_none),
        header_matches: plain(expect.header_matches),
        header_matches_none: plain(expect.header_matches_none),
        json: json?,
        http_versions: plain(expect.http_version),
        encrypted: expect.encrypted.map(|flag| flag.value),
        answer: answer(expect.answer)?,
        under: expect.under.map(|under| under.value),
        certificate_left: expect.certificate_left.map(|share| share.value),
    })
}

fn json(table: JsonTable) -> Option<JsonExpectation> {
    let JsonTable {
        path,
        equals,
        matches,
        count,
    } = table;
    let wants = match (equals, matches, count) {
        (Some(text), _, _) => JsonWants::Equals(text.value),
        (None, Some(pattern), _) => JsonWants::Matches(pattern.value),
        (None, None, Some(count)) => JsonWants::Count(count.value),
        (None, None, None) => JsonWants::Found,
    };
    let path = path?.value;
    Some(JsonExpectation { path, wants })
}

fn answer(answer: Answer) -> Option<AnswerExpectation> {
    let seconds = |time: Option<Located<Duration>>| time.map(|time| time.value.as_secs() as u32);
    let records = answer.records.into_iter().map(|rule| {
        Some(RecordExpectation {
            section: rule.value.section.value,
            fails: rule.value.fails_if?.value,
            pattern: rule.value.pattern?.value,
        })
    });
    Some(AnswerExpectation {
        rcodes: plain(answer.rcode),
        has: plain(answer.has),
        only: answer.only.value,
        authoritative: answer.authoritative.map(|flag| flag.value),
        ttl_least: seconds(answer.ttl_least),
        ttl_most: seconds(answer.ttl_most),
        records: records.collect::<Option<_>>()?,
        may_be_stale: answer.may_be_stale.value,
    })
}
