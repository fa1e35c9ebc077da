//! `vestibule certs`: every certificate that a daemon knows of, as a table, as JSON, or as a calendar.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use http::{Method, StatusCode};

mod preflight;

use super::daemon::fetch;
use super::{Connect, Exit, complain, runtime, say};
use crate::admin::client::{AskError, ask};
use crate::model::Timestamp;
use crate::snapshot::{CertificateView, IssuanceView, RevocationView, Snapshot, Urgency};
use crate::tui::fmt;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct CertsArguments {
    #[command(subcommand)]
    command: Option<CertsCommand>,
    #[command(flatten)]
    connect: Connect,
    /// How to write them
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// The same as --format ics
    #[arg(long, conflicts_with_all = ["json", "format"])]
    ics: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for people
    Text,
    /// Everything that is known of them, chains included
    Json,
    /// When renewals are due and lives end, as an iCalendar file to subscribe to
    Ics,
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    /// Have a certificate issued anew now, whatever its age
    ///
    /// For a key that was lost, or to see that renewal works. The budget of issuances holds; the certificate in use is
    /// served until the new one is there. Returns once it has begun: `vestibule certs` shows how it goes. The exit code is
    /// 0 when it has begun and 1 when it may not.
    Renew {
        /// Its name in the configuration
        name: String,
        #[command(flatten)]
        connect: Connect,
    },
    /// Look whether an authority that asked now would find what it asks for
    ///
    /// For certificates that are issued by `http-01`. A text of our own is put at /.well-known/acme-challenge/ and asked for over
    /// plain HTTP by each host's public name, at every address that the name has, as an authority would; redirects to hosts of the
    /// certificate are followed. The authority is not asked, and nothing is issued. A daemon does the same each day
    /// (`preflight_every`). The exit code is 0 when every host was found, 1 when one was not or there is no such certificate, and
    /// that of a daemon that does not answer otherwise.
    Preflight {
        /// The name of one certificate in the configuration; without it, all that are issued so
        name: Option<String>,
        #[command(flatten)]
        connect: Connect,
        /// What each host came to as JSON, by certificate
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn certs(arguments: &CertsArguments) -> Exit {
    match &arguments.command {
        Some(CertsCommand::Renew { name, connect }) => return renew(name, connect),
        Some(CertsCommand::Preflight {
            name,
            connect,
            json,
        }) => return preflight::preflight(name.as_deref(), connect, *json),
        None => {}
    }
    let address = &arguments.connect.connect;
    let (_, snapshot): (Bytes, Snapshot) = match fetch(address, "/v1/snapshot") {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    let certificates = &snapshot.certificates;
    let format = match arguments {
        CertsArguments { json: true, .. } => Format::Json,
        CertsArguments { ics: true, .. } => Format::Ics,
        CertsArguments { format, .. } => *format,
    };
    say(&match format {
        Format::Json => {
            // Views are plain data and always become JSON.
            let listed: Vec<_> = certificates
                .iter()
                .map(|view| Listed {
                    view,
                    issuance: issuance_of(view, &snapshot.issuances),
                })
                .collect();
            let text = serde_json::to_string_pretty(&listed).unwrap_or_default();
            format!("{text}\n")
        }
        Format::Ics => calendar(certificates, snapshot.at),
        Format::Text => table(certificates, &snapshot.issuances),
    });
    match certificates.iter().filter_map(|view| view.urgency).max() {
        None => Exit::Ok,
        Some(Urgency::Warn | Urgency::Ticket) => Exit::Warn,
        Some(Urgency::Page) => Exit::Crit,
    }
}

/// A certificate, and how it is issued if it is issued here.
#[derive(serde::Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    view: &'a CertificateView,
    issuance: Option<&'a IssuanceView>,
}

fn issuance_of<'a>(
    view: &CertificateView,
    issuances: &'a [IssuanceView],
) -> Option<&'a IssuanceView> {
    let mut all = issuances.iter().filter(|_| view.source == "issued");
    all.find(|issuance| issuance.name == view.name)
}

/// Whether it could be a name: anything else would be another path.
fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.chars().all(fits)
}

fn renew(name: &str, connect: &Connect) -> Exit {
    if !is_name(name) {
        complain(&format!("`{name}` is no name of a certificate"));
        return Exit::Usage;
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Io;
        }
    };
    let path = format!("/v1/certificates/{name}/renew");
    match runtime.block_on(ask(&connect.connect, Method::POST, &path, Vec::new())) {
        Ok(_) => {
            say(&format!(
                "certificate {name} is being issued anew; `vestibule certs` shows how it goes\n"
            ));
            Exit::Ok
        }
        Err(AskError::Status(_, StatusCode::NOT_FOUND | StatusCode::CONFLICT, why)) => {
            complain(&why);
            Exit::Warn
        }
        Err(error) => {
            complain(&error.to_string());
            Exit::Unavailable
        }
    }
}

fn table(certificates: &[CertificateView], issuances: &[IssuanceView]) -> String {
    if certificates.is_empty() {
        return "no certificate has been seen: none is configured, and no probe speaks TLS\n"
            .to_owned();
    }
    let width = |of: fn(&CertificateView) -> &str| {
        let widths = certificates.iter().map(|view| of(view).chars().count());
        widths.max().unwrap_or(0)
    };
    let (name, place) = (width(|view| &view.name), width(|view| &view.place));
    let mut text = String::new();
    for view in certificates {
        let word = view.urgency.map_or("ok", Urgency::as_str);
        let (ends, left, names) = match (&view.certificate, view.left_s, view.left_ratio) {
            (Some(facts), Some(left), Some(ratio)) => (
                facts.not_after.to_string(),
                format!("{} ({:.0} %)", span(left), ratio * 100.0),
                facts.names.join(" "),
            ),
            _ => ("-".to_owned(), "-".to_owned(), String::new()),
        };
        put(
            &mut text,
            format_args!(
                "{word:<6}  {:<8}  {:<name$}  {:<place$}  {ends:<24}  {left:<16}  {}\n",
                view.source,
                view.name,
                fmt::visible(&view.place),
                fmt::visible(&names)
            ),
        );
        if let Some(problem) = &view.problem {
            put(
                &mut text,
                format_args!("        {}\n", fmt::visible(problem)),
            );
        }
        if let (Some(expected), Some(false)) = (&view.expected, view.as_expected) {
            let what = format!("another one than `{expected}`, which lies on disk for it");
            put(&mut text, format_args!("        {}\n", fmt::visible(&what)));
        }
        if let Some(known) = view
            .revocation
            .as_ref()
            .filter(|_| view.source != "listener")
        {
            let what = lists(known);
            if !what.is_empty() {
                put(&mut text, format_args!("        {}\n", fmt::visible(&what)));
            }
        }
        if let Some(issuance) = issuance_of(view, issuances) {
            for seen in issuance.preflights.iter().filter(|it| it.error.is_some()) {
                let what = preflight::line(seen);
                put(&mut text, format_args!("        {}\n", fmt::visible(&what)));
            }
            let how = issued_how(issuance);
            put(&mut text, format_args!("        {}\n", fmt::visible(&how)));
        }
    }
    text
}

/// What lists of revoked certificates say.
fn lists(known: &RevocationView) -> String {
    let lists = known.lists.iter().map(|list| {
        let mut text = match (list.this_update, list.revoked_at) {
            (_, Some(at)) => format!("revoked {at} by {}", list.place),
            (Some(_), None) => format!("not revoked by {}", list.place),
            (None, None) => format!("no word from {}", list.place),
        };
        if let Some(next) = list.next_update {
            put(&mut text, format_args!(" (until {next})"));
        }
        if let Some(error) = &list.error {
            put(&mut text, format_args!(": {error}"));
        }
        text
    });
    let skipped = known.skipped.iter();
    let skipped = skipped.map(|why| format!("revocation not asked for: {why}"));
    lists.chain(skipped).collect::<Vec<_>>().join("; ")
}

/// Who issues a certificate, and when it does again.
fn issued_how(issuance: &IssuanceView) -> String {
    let mut text = format!(
        "issued by {} ({}, {})",
        issuance.authority, issuance.challenge, issuance.directory
    );
    match (&issuance.due_at, &issuance.due_by) {
        (Some(due), Some(by)) => put(&mut text, format_args!(", renewal due {due} by {by}")),
        (Some(due), None) => put(&mut text, format_args!(", renewal due {due}")),
        (None, _) => text.push_str(", not issued yet"),
    }
    if issuance.state != "waiting" {
        put(&mut text, format_args!("; now: {}", issuance.state));
    }
    if let Some(page) = &issuance.explanation {
        put(&mut text, format_args!("; why: {page}"));
    }
    if let (Some(error), 1..) = (&issuance.error, issuance.failures) {
        let at = issuance.error_at.map(|at| at.to_string());
        let at = at.unwrap_or_default();
        put(
            &mut text,
            format_args!("; failed {} times, last {at}: {error}", issuance.failures),
        );
        if let Some(next) = issuance.next_at {
            put(&mut text, format_args!("; again {next}"));
        }
    }
    text
}

/// The largest unit that there are at least two of.
fn span(secs: i64) -> String {
    let past = if secs < 0 { "-" } else { "" };
    let secs = secs.unsigned_abs();
    let (count, unit) = match secs {
        0..120 => (secs, "s"),
        120..7_200 => (secs / 60, "m"),
        7_200..172_800 => (secs / 3_600, "h"),
        _ => (secs / 86_400, "d"),
    };
    format!("{past}{count}{unit}")
}

/// RFC 5545: two events for each certificate, wherever it was seen.
fn calendar(certificates: &[CertificateView], now: Timestamp) -> String {
    let mut lines = vec![
        "BEGIN:VCALENDAR".to_owned(),
        "VERSION:2.0".to_owned(),
        "PRODID:-//vestibule//certificates//EN".to_owned(),
    ];
    let mut told = BTreeSet::new();
    for view in certificates {
        let (Some(facts), Some(due)) = (&view.certificate, view.renewal_due_at) else {
            continue;
        };
        if !told.insert(&facts.sha256) {
            continue;
        }
        for (what, at, text) in [
            ("due", due, "renewal is due"),
            ("end", facts.not_after, "certificate expires"),
        ] {
            let about = format!(
                "{} at {}; {}; SHA-256 {}",
                view.source,
                view.place,
                facts.names.join(" "),
                facts.sha256
            );
            lines.extend([
                "BEGIN:VEVENT".to_owned(),
                format!("UID:{}-{what}@vestibule", facts.sha256),
                format!("DTSTAMP:{}", stamp(now)),
                format!("DTSTART:{}", stamp(at)),
                format!("DTEND:{}", stamp(at.plus(Duration::from_secs(900)))),
                format!("SUMMARY:{}", escaped(&format!("{}: {text}", view.name))),
                format!("DESCRIPTION:{}", escaped(&about)),
                "END:VEVENT".to_owned(),
            ]);
        }
    }
    lines.push("END:VCALENDAR".to_owned());
    lines.iter().map(|line| folded(line)).collect()
}

/// `20261231T235959Z`.
fn stamp(at: Timestamp) -> String {
    let text = at.to_string();
    let digits = text.chars().filter(|c| !matches!(c, '-' | ':'));
    let whole: String = digits.take_while(|c| *c != '.').collect();
    format!("{whole}Z")
}

/// RFC 5545, 3.3.11.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\\' | ';' | ',' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A content line of at most 75 octets, continued on lines that begin with a space (RFC 5545, 3.1).
fn folded(line: &str) -> String {
    let (mut text, mut octets) = (String::new(), 0);
    for c in line.chars() {
        if octets + c.len_utf8() > 75 {
            text.push_str("\r\n ");
            octets = 1;
        }
        text.push(c);
        octets += c.len_utf8();
    }
    text.push_str("\r\n");
    text
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CertificateFacts;

    #[test]
    fn the_calendar_has_short_lines_and_each_certificate_once() {
        let view = CertificateView {
            source: "file".to_owned(),
            name: "shop; main".to_owned(),
            place: "edge.pem".to_owned(),
            seen_at: Timestamp::default(),
            certificate: Some(CertificateFacts {
                names: vec!["ä".repeat(60)],
                not_after: Timestamp::from_secs(1_798_761_599),
                sha256: "ab".repeat(32),
                ..CertificateFacts::default()
            }),
            issuers: Vec::new(),
            left_s: Some(1),
            left_ratio: Some(0.5),
            renewal_due_at: Some(Timestamp::from_secs(1_798_000_000)),
            name_matches: None,
            expected: None,
            as_expected: None,
            revocation: None,
            urgency: None,
            kind: None,
            problem: None,
        };
        let text = calendar(&[view.clone(), view], Timestamp::from_secs(1_790_000_000));
        assert!(text.lines().all(|line| line.len() <= 75));
        assert_eq!(text.matches("BEGIN:VEVENT\r\n").count(), 2);
        assert!(text.contains("DTSTART:20261231T235959Z\r\n"));
        assert!(text.contains("SUMMARY:shop\\; main: certificate expires\r\n"));
    }
}
