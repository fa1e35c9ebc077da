//! Certificates that come from files and those that are issued, and who issues them.

use crate::cert::acme::Challenge;
use crate::config::code::Code;
use crate::config::file::{self, File};
use crate::config::finding::{Finding, Findings, Span};
use crate::config::keys::{Item, Located};
use crate::routing::pattern::HostPattern;

pub(super) fn check(file: &File, findings: &mut Findings) {
    for certificate in &file.certificates {
        sources(certificate, findings);
        if let Some(name) = &certificate.value.acme {
            let named = |it: &&Item<file::Authority>| {
                let known = it.value.name.as_ref();
                known.is_some_and(|known| known.value == name.value)
            };
            if let Some(authority) = file.authorities.iter().find(named) {
                reachable(certificate, authority, findings);
            }
        }
    }
    for authority in &file.authorities {
        account(&authority.value, findings);
        asked_how(authority, findings);
    }
}

/// Either files or an authority and hosts.
fn sources(certificate: &Item<file::Certificate>, findings: &mut Findings) {
    let file::Certificate {
        name: _,
        chain_file,
        key_file,
        acme,
        hosts,
    } = &certificate.value;
    if !certificate.sound {
        return;
    }
    let mut missing = |key: &str, why: &str| {
        let message = format!("`{key}` is missing");
        let finding = Finding::new(Code::MissingKey, certificate.span.clone(), message)
            .reason("in this table")
            .help(why);
        findings.add(finding);
    };
    match (acme, chain_file) {
        (None, None) => missing(
            "chain_file",
            "add `chain_file` and `key_file`, or `acme` and `hosts`",
        ),
        (None, Some(_)) if key_file.is_none() => missing("key_file", "add the file of its key"),
        (Some(_), _) if hosts.is_empty() => {
            missing("hosts", "add the hosts that it is to be issued for");
        }
        _ => {}
    }
    let mut stray = |span: Span, key: &str, with: &str| {
        let message = format!("`{key}` only goes with `{with}`");
        let finding = Finding::new(Code::Conflict, span, message)
            .reason("never read")
            .help(format!("leave `{key}` out, or add `{with}`"));
        findings.add(finding);
    };
    if let (None, Some(host)) = (acme, hosts.first()) {
        stray(host.span.clone(), "hosts", "acme");
    }
    if let (Some(_), Some(key)) = (acme, key_file) {
        stray(key.span.clone(), "key_file", "chain_file");
    }
}

/// Whether the authority could ever be convinced.
fn reachable(
    certificate: &Item<file::Certificate>,
    authority: &Item<file::Authority>,
    findings: &mut Findings,
) {
    let challenge = &authority.value.challenge;
    let wildcard = |host: &&Located<HostPattern>| matches!(host.value, HostPattern::Below(_));
    if challenge.value != Challenge::Dns
        && let Some(host) = certificate.value.hosts.iter().find(wildcard)
    {
        let message = format!(
            "a certificate for `{}` is only issued by `dns-01`",
            host.value
        );
        let finding = Finding::new(Code::Conflict, host.span.clone(), message)
            .reason("a wildcard")
            .also(
                challenge.span.clone(),
                "asks a host, and a wildcard is none",
            )
            .help(
                "name the hosts, or use an `[[acme]]` with `challenge = \"dns-01\"` and a `hook`",
            );
        findings.add(finding);
    }
}

fn account(authority: &file::Authority, findings: &mut Findings) {
    if let Some(terms) = authority.accept_terms.as_ref().filter(|it| !it.value) {
        let finding = Finding::new(
            Code::Conflict,
            terms.span.clone(),
            "an authority issues nothing to somebody who does not agree to its terms",
        )
        .reason("must be `true`")
        .help(
            "read its terms of service, then set `accept_terms = true`, or remove the `[[acme]]`",
        );
        findings.add(finding);
    }
    let pair = match (&authority.eab_id, &authority.eab_key_file) {
        (Some(id), None) => Some((&id.span, "eab_key_file", "eab_id")),
        (None, Some(key)) => Some((&key.span, "eab_id", "eab_key_file")),
        (Some(_), Some(_)) | (None, None) => None,
    };
    if let Some((span, missing, given)) = pair {
        let message = format!("`{missing}` is missing");
        let finding = Finding::new(Code::MissingKey, span.clone(), message)
            .reason(format!("`{given}` needs it"))
            .help(format!("add `{missing}`"));
        findings.add(finding);
    }
}

/// What is about the port that only one challenge asks.
fn only_http(authority: &file::Authority, findings: &mut Findings) {
    let challenge = authority.challenge.value;
    if challenge == Challenge::Http {
        return;
    }
    let span = |it: Option<&Span>, key| it.map(|span| (key, span.clone()));
    let given = [
        span(authority.http_port.as_ref().map(|it| &it.span), "http_port"),
        span(authority.preflight.as_ref().map(|it| &it.span), "preflight"),
        span(
            authority.preflight_every.as_ref().map(|it| &it.span),
            "preflight_every",
        ),
        span(
            authority.preflight_resolver.as_ref().map(|it| &it.span),
            "preflight_resolver",
        ),
    ];
    for (key, span) in given.into_iter().flatten() {
        let message = format!("`{key}` only goes with `challenge = \"http-01\"`");
        let finding = Finding::new(Code::Conflict, span, message)
            .reason(format!(
                "`{}` asks nothing of that port",
                challenge.as_str()
            ))
            .help(format!("leave `{key}` out"));
        findings.add(finding);
    }
}

fn asked_how(item: &Item<file::Authority>, findings: &mut Findings) {
    let authority = &item.value;
    if let Some(directory) = &authority.directory
        && directory.value.scheme_str() != Some("https")
    {
        let finding = Finding::new(
            Code::InvalidValue,
            directory.span.clone(),
            "a directory is only asked by https (RFC 8555, 6.1)",
        )
        .reason("anyone on the way could change it")
        .help("write it with `https://`; for a private authority name its root in `roots_file`");
        findings.add(finding);
    }
    only_http(authority, findings);
    // Where it is written, a rule of the table holds it against the hook already.
    let is_default = authority.challenge.span == item.span;
    if let Some(hook) = authority.hook.as_ref().filter(|_| is_default) {
        let finding = Finding::new(
            Code::Conflict,
            hook.span.clone(),
            "`hook` only goes with `challenge = \"dns-01\"`",
        )
        .reason("never called")
        .help("leave it out, or set `challenge = \"dns-01\"`");
        findings.add(finding);
    }
}
