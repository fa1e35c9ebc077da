//! Rules about who a client is: its certificate, and what a balancer in front says.

use std::path::Path;

use crate::config::code::Code;
use crate::config::file::{File, Listener};
use crate::config::finding::{Finding, Findings, Span};

/// A listener that is told whose connections it gets is told so by somebody.
pub(super) fn check_preambles(file: &File, findings: &mut Findings) {
    for listener in &file.listeners {
        let expects = &listener.value.proxy_protocol;
        if expects.value && file.proxy.trusted_proxies.is_empty() {
            let message = "a PROXY header is expected, and nobody is trusted to send one";
            let finding = Finding::new(Code::Conflict, expects.span.clone(), message)
                .reason("every connection is refused")
                .help("name the balancers in front: `trusted_proxies` in `[proxy]`");
            findings.add(finding);
        }
    }
}

/// A listener that asks for certificates speaks TLS, knows by whose word they hold, and can read what it is to refuse.
pub(super) fn check(file: &File, base: &Path, findings: &mut Findings) {
    for listener in &file.listeners {
        let Listener {
            certificates,
            clients,
            ..
        } = &listener.value;
        match &clients.ca_file {
            None => {
                if let Some(span) = &clients.written {
                    findings.add(without_issuers(span));
                }
            }
            Some(issuers) if certificates.is_empty() => {
                let message = "a plain-text listener cannot ask for certificates";
                let finding = Finding::new(Code::Conflict, issuers.span.clone(), message)
                    .reason("never looked at")
                    .help("add `certificates` to the listener, or leave `client_certificates` out");
                findings.add(finding);
            }
            Some(_) => {}
        }
        for path in &clients.crl_files {
            if let Err(error) = base.join(&path.value).metadata() {
                let message = format!("cannot read `{}`: {error}", path.value.display());
                findings.add(Finding::new(
                    Code::UnreadableFile,
                    path.span.clone(),
                    message,
                ));
            }
        }
    }
}

fn without_issuers(span: &Span) -> Finding {
    let message = "`ca_file` is missing";
    Finding::new(Code::MissingKey, span.clone(), message)
        .reason("without it nobody is asked for a certificate")
        .help("name those who issue clients' certificates: `ca_file = \"clients.pem\"`")
}
