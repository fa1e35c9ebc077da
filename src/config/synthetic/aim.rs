//! Whether what is written goes with what a probe is aimed at.

use std::path::Path;

use crate::config::code::Code;
use crate::config::file::Manner;
use crate::config::finding::{Finding, Findings, Span};
use crate::config::pem::{self, Section};
use crate::probe::definition::Target;
use crate::probe::module::Prober;

/// What a probe or a module is aimed at, and where that is written.
pub(super) struct Aim {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) span: Span,
}

/// What a target understands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Http { tls: bool },
    Tcp,
    Tls,
    Dns,
    Grpc { tls: bool },
    WebSocket { tls: bool },
    Icmp,
}

impl Kind {
    pub(super) const fn of(target: &Target) -> Self {
        match target {
            Target::Http(url) => Self::Http { tls: url.tls },
            Target::Tcp(_) => Self::Tcp,
            Target::Tls(_) => Self::Tls,
            Target::Dns(_) => Self::Dns,
            Target::Grpc(_, tls) => Self::Grpc { tls: *tls },
            Target::WebSocket(url) => Self::WebSocket { tls: url.tls },
            Target::Icmp(_) => Self::Icmp,
        }
    }

    pub(super) const fn of_module(prober: Prober) -> Self {
        match prober {
            Prober::Http => Self::Http { tls: true },
            Prober::Tcp => Self::Tcp,
            Prober::Tls => Self::Tls,
            Prober::Dns => Self::Dns,
            Prober::Grpc => Self::Grpc { tls: false },
            Prober::Grpcs => Self::Grpc { tls: true },
            Prober::WebSocket => Self::WebSocket { tls: true },
            Prober::Icmp => Self::Icmp,
        }
    }
}

pub(super) fn check_manner(
    manner: &Manner,
    aim: Option<&Aim>,
    base: &Path,
    findings: &mut Findings,
) {
    if let Some(roots) = &manner.tls.roots_file
        && let Err(error) = pem::check(&base.join(&roots.value), Section::Certificate)
    {
        let written = roots.value.display();
        let finding = match error {
            pem::Error::Unreadable(error) => {
                let message = format!("cannot read `{written}`: {error}");
                Finding::new(Code::UnreadableFile, roots.span.clone(), message)
                    .help("a relative path starts in the directory of this file")
            }
            pem::Error::Absent => {
                let message = format!("`{written}` holds no certificate in PEM form");
                Finding::new(Code::Pem, roots.span.clone(), message)
                    .help(Section::Certificate.begins())
            }
        };
        findings.add(finding);
    }
    // Files of secrets are not looked for: they are read for each run, and may come later.
    let lonely = match (&manner.http.user, &manner.http.password_file) {
        (Some(user), None) => Some((&user.span, "`user` needs `password_file`")),
        (None, Some(file)) => Some((&file.span, "`password_file` needs `user`")),
        (Some(_), Some(_)) | (None, None) => None,
    };
    if let Some((span, message)) = lonely {
        findings.add(Finding::new(Code::MissingKey, span.clone(), message));
    }
    if let Some(aim) = aim {
        check_aim(manner, aim, findings);
    }
    if let (Some(under), timeout) = (&manner.expect.under, &manner.timeout)
        && under.value > timeout.value
    {
        let finding = Finding::new(
            Code::Conflict,
            under.span.clone(),
            "`under` is longer than `timeout`, so it could never be broken",
        )
        .help("shorten it, or raise `timeout`");
        findings.add(finding);
    }
}

/// Every key that is written goes with what it is aimed at.
fn check_aim(manner: &Manner, aim: &Aim, findings: &mut Findings) {
    let kind = aim.kind;
    let is_http = matches!(kind, Kind::Http { .. });
    let is_web = is_http || matches!(kind, Kind::WebSocket { .. });
    let is_talk = matches!(kind, Kind::Tcp | Kind::Tls);
    let begins_tls = manner
        .tcp
        .steps
        .iter()
        .any(|step| step.value.starttls.value);
    let may_be_tls = match kind {
        Kind::Http { tls } => tls || manner.http.redirects.value > 0,
        Kind::Grpc { tls } | Kind::WebSocket { tls } => tls,
        Kind::Tls => true,
        Kind::Tcp => begins_tls,
        Kind::Dns | Kind::Icmp => false,
    };
    let (written, expect) = (&manner.written, &manner.expect);
    let first = |spans: &[Option<&Span>]| spans.iter().flatten().next().map(|span| (*span).clone());
    let http_only = first(&[
        expect.status.first().map(|it| &it.span),
        expect.headers.first().map(|it| &it.span),
        expect.header_matches.first().map(|it| &it.span),
        expect.header_matches_none.first().map(|it| &it.span),
        expect.json_written.as_ref(),
        expect.http_version.first().map(|it| &it.span),
        expect.encrypted.as_ref().map(|it| &it.span),
    ]);
    let body_only = first(&[
        expect.body.first().map(|it| &it.span),
        expect.body_lacks.first().map(|it| &it.span),
        expect.body_matches.first().map(|it| &it.span),
        expect.body_matches_none.first().map(|it| &it.span),
    ]);
    let tls_only = first(&[
        written.tls.as_ref(),
        expect.certificate_left.as_ref().map(|it| &it.span),
    ]);
    let dns_only = first(&[written.dns.as_ref(), expect.answer_written.as_ref()]);
    let steps = manner.tcp.steps.first().map(|step| step.span.clone());
    let starttls = manner.tls.starttls.as_ref().map(|it| it.span.clone());
    for (fits, span, targets) in [
        (is_http, http_only, "`http://` and `https://`"),
        (
            is_web,
            written.http.clone(),
            "`http://`, `https://`, `ws://` and `wss://`",
        ),
        (
            is_talk || matches!(kind, Kind::WebSocket { .. }),
            written.tcp.clone(),
            "`tcp://`, `tls://`, `ws://` and `wss://`",
        ),
        (is_talk, steps, "`tcp://` and `tls://`"),
        (kind == Kind::Tls, starttls, "`tls://`"),
        (
            is_web || is_talk,
            body_only,
            "`http://`, `https://`, `tcp://`, `tls://`, `ws://` and `wss://`",
        ),
        (
            may_be_tls,
            tls_only,
            "`https://`, `tls://`, `grpcs://` and `wss://`",
        ),
        (kind == Kind::Dns, dns_only, "`dns://`"),
        (
            matches!(kind, Kind::Grpc { .. }),
            written.grpc.clone(),
            "`grpc://` and `grpcs://`",
        ),
    ] {
        let Some(span) = span.filter(|_| !fits) else {
            continue;
        };
        let finding = Finding::new(
            Code::Conflict,
            span,
            format!("this only goes with {targets} targets"),
        )
        .reason(format!("the target is {}", aim.text))
        .also(aim.span.clone(), "aimed at this")
        .help("leave it out, or write another target");
        findings.add(finding);
    }
}
