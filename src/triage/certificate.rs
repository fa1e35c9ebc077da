//! Certificates: what fails a handshake fails before there is a request that any route could count.

use std::cmp::Reverse;

use super::engine::{blank, firing};
use super::evidence::{CertificateEvidence, Evidence};
use super::onset::Onset;
use super::sentence::{changed, label};
use super::{Level, Locus, Topic, Verdict, suspect, words};
use crate::model::Timestamp;
use crate::slo::alert::{AlertKind, AlertStatus};
use crate::slo::policy::Severity;

/// The worst of what is wrong with certificates.
pub(super) fn verdict(now: Timestamp, evidence: &Evidence<'_>) -> Option<Verdict> {
    let worst = firing(evidence, AlertKind::Certificate)
        .max_by_key(|alert| (alert.severity, Reverse(alert.since)))?;
    let level = match worst.severity {
        Severity::Page => Level::Crit,
        Severity::Ticket => Level::Warn,
    };
    let more = match firing(evidence, AlertKind::Certificate).count() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let mut known = evidence.certificates.iter();
    // The alert says also how urgent it is.
    let about = worst
        .id
        .rsplit_once(':')
        .map_or(worst.id.as_str(), |(about, _)| about);
    let known = known.find(|it| it.alert == about);
    // A certificate that ends soon hurts nobody yet.
    let hurts = known.filter(|it| it.kind != "expiry");
    let began = began(worst, known);
    let onset = Onset {
        secs: began.as_secs(),
        within_s: 1,
        open: false,
    };
    let suspects = hurts.map(|_| suspect::of_anything(evidence.events, onset));
    let mut suspects = suspects.unwrap_or_default().into_iter();
    let suspect = suspects.next();
    let routes: Vec<String> = known.map_or_else(Vec::new, |known| {
        known.routes.iter().map(ToString::to_string).collect()
    });
    let reached = match routes.as_slice() {
        [] => String::new(),
        [one] => format!(", for route {one}"),
        [first, rest @ ..] => format!(", for route {first} and {} more", rest.len()),
    };
    let handshakes = evidence.handshakes;
    let failing = if hurts.is_some() && handshakes.valid() > 0 {
        format!(
            "{} of {} handshakes failed in the last minute; ",
            handshakes.bad,
            handshakes.valid()
        )
    } else {
        String::new()
    };
    let next_step = match known.map(|it| it.kind.as_str()) {
        _ if known.is_some_and(|it| !it.is_ours && !it.upstreams.is_empty()) => {
            "have it renewed there, and see `vestibule certs`"
        }
        Some("revoked") => {
            "have a new one issued with a new key, serve it, and see `vestibule certs`"
        }
        Some("crl") => {
            "ask its issuer for a newer list of revoked certificates, and see `vestibule certs`"
        }
        Some("preflight") => {
            "have that path of port 80 reach Vestibule, and see `vestibule certs preflight`"
        }
        Some("not_reloaded") => "reload Vestibule, and see `vestibule certs`",
        Some("name") => "serve a certificate that names this host, and see `vestibule certs`",
        _ => "renew it, reload, and see `vestibule certs`",
    };
    let changed = hurts.map_or_else(String::new, |_| changed(now, Some(onset), suspect.as_ref()));
    Some(Verdict {
        topic: Topic::Certificate,
        side: Locus::Certificate,
        route: routes.first().cloned(),
        routes,
        onset: Some(began),
        text: format!(
            "{}: certificate: {}{more}{reached}, since {}; {changed}{failing}{next_step}",
            label(level),
            words::long(&worst.text),
            words::time(began, now),
        ),
        suspect,
        further_suspects: suspects.collect(),
        next_step: next_step.to_owned(),
        runbook: worst.runbook.clone(),
        ..blank(level)
    })
}

/// When it began: what its dates say rather than when that was noticed.
fn began(alert: &AlertStatus, known: Option<&CertificateEvidence<'_>>) -> Timestamp {
    known.and_then(|it| it.began).unwrap_or(alert.since)
}
