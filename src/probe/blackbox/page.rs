//! A run as Prometheus reads it, and as a person does.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use crate::model::{CertificateFacts, ProbeFailure, ProbePhase, ProbeRun};
use crate::probe::definition::{Definition, Target};
use crate::probe::module::{Module, Prober};

/// The text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every series of the page: its name, its labels, whether it is an addition to what `blackbox_exporter` has, and its help.
pub const SERIES: &[(&str, &[&str], bool, &str)] = &[
    ("probe_success", &[], false, "Whether the probe succeeded"),
    (
        "probe_duration_seconds",
        &[],
        false,
        "How long the probe took",
    ),
    (
        "probe_dns_lookup_time_seconds",
        &[],
        false,
        "How long looking the target's name up took",
    ),
    (
        "probe_ip_protocol",
        &[],
        false,
        "4 or 6: the protocol of the address that was taken; 0 when there was none",
    ),
    (
        "probe_ip_addr_hash",
        &[],
        false,
        "A hash of the address that was taken, to see that it changes",
    ),
    (
        "probe_failed_due_to_regex",
        &[],
        false,
        "Whether it failed because of what the answer says",
    ),
    (
        "probe_failed_due_to_bytes",
        &[],
        false,
        "Always 0: what is heard is held to texts and regular expressions",
    ),
    (
        "probe_http_status_code",
        &[],
        false,
        "The last response's status; 0 when there was none",
    ),
    (
        "probe_http_content_length",
        &[],
        false,
        "The length of the last response's body by its head; -1 when that does not say",
    ),
    (
        "probe_http_uncompressed_body_length",
        &[],
        false,
        "How many bytes of the last response's body were read",
    ),
    (
        "probe_http_redirects",
        &[],
        false,
        "Redirects that were followed",
    ),
    (
        "probe_http_ssl",
        &[],
        false,
        "Whether the last response came over TLS",
    ),
    (
        "probe_http_version",
        &[],
        false,
        "The last response's version of HTTP",
    ),
    (
        "probe_http_duration_seconds",
        &["phase"],
        false,
        "Where an HTTP probe's time went, summed over redirects",
    ),
    (
        "probe_http_last_modified_timestamp_seconds",
        &[],
        false,
        "When the page last changed, by the response's head",
    ),
    (
        "probe_ssl_earliest_cert_expiry",
        &[],
        false,
        "When the first certificate of the chain as it was sent expires, in seconds since 1970",
    ),
    (
        "probe_ssl_last_chain_expiry_timestamp_seconds",
        &[],
        false,
        "Until when the chain can be verified, in seconds since 1970; absent when it was not",
    ),
    (
        "probe_ssl_last_chain_info",
        &[
            "fingerprint_sha256",
            "issuer",
            "serialnumber",
            "subject",
            "subjectalternative",
        ],
        false,
        "The server's own certificate",
    ),
    (
        "probe_tls_version_info",
        &["version"],
        false,
        "The version of TLS",
    ),
    (
        "probe_tls_cipher_info",
        &["cipher"],
        false,
        "The cipher suite",
    ),
    (
        "probe_dns_duration_seconds",
        &["phase"],
        false,
        "Where a DNS probe's time went",
    ),
    (
        "probe_dns_answer_rrs",
        &[],
        false,
        "Records in the answer section",
    ),
    (
        "probe_dns_authority_rrs",
        &[],
        false,
        "Records in the authority section",
    ),
    (
        "probe_dns_additional_rrs",
        &[],
        false,
        "Records in the additional section, without EDNS",
    ),
    (
        "probe_dns_query_succeeded",
        &[],
        false,
        "Whether an answer came at all",
    ),
    (
        "probe_dns_serial",
        &[],
        false,
        "The serial number of the SOA record in the answer",
    ),
    (
        "probe_grpc_duration_seconds",
        &["phase"],
        false,
        "Where a gRPC probe's time went",
    ),
    (
        "probe_grpc_healthcheck_response",
        &["serving_status"],
        false,
        "What the server says of the service",
    ),
    (
        "probe_grpc_ssl",
        &[],
        false,
        "Whether the server was asked over TLS",
    ),
    (
        "probe_grpc_status_code",
        &[],
        false,
        "The status of the call",
    ),
    (
        "probe_icmp_duration_seconds",
        &["phase"],
        false,
        "Where an ICMP probe's time went",
    ),
    (
        "probe_icmp_reply_hop_limit",
        &[],
        false,
        "How many hops the reply could still have made; over IPv4 with CAP_NET_RAW",
    ),
    (
        "probe_failure_info",
        &["reason"],
        true,
        "Why it failed; absent when it succeeded",
    ),
    (
        "probe_phase_seconds",
        &["phase"],
        true,
        "Where any probe's time went, as far as it got",
    ),
    (
        "probe_cert_not_before_seconds",
        &[],
        true,
        "The beginning of the life of the server's own certificate, in seconds since 1970; there also when it was refused",
    ),
    (
        "probe_cert_not_after_seconds",
        &["position"],
        true,
        "The end of the life of each certificate of the chain as it was sent, the server's own at 0; there also when it was refused",
    ),
    (
        "probe_cert_name_match",
        &[],
        true,
        "Whether the server's own certificate speaks for the name that was asked for",
    ),
    (
        "probe_dns_ttl_seconds",
        &["rr", "resolver"],
        true,
        "The lowest time to live of the answer's records of each type",
    ),
    (
        "probe_dns_authoritative",
        &[],
        true,
        "Whether the server answers for its own zone",
    ),
    (
        "probe_dns_extended_error_info",
        &["code"],
        true,
        "An extended error that came with the answer (RFC 8914)",
    ),
];

/// The page of a run.
pub(super) fn metrics(definition: &Definition, run: &ProbeRun) -> String {
    let mut page = Page::default();
    let seconds = |us: u64| us as f64 / 1e6;
    let phase = |phase: ProbePhase| run.phases[phase.index()].map_or(0.0, seconds);
    let phases = |page: &mut Page, name: &'static str, list: &[(&str, ProbePhase)]| {
        for (label, part) in list {
            page.labelled(name, &[label], phase(*part));
        }
    };
    page.set("probe_success", flag(run.failure.is_none()));
    page.set("probe_duration_seconds", seconds(run.duration_us));
    page.set("probe_dns_lookup_time_seconds", phase(ProbePhase::Resolve));
    let (protocol, hash) = address(run).map_or((0.0, 0.0), |address| {
        let protocol = if address.is_ipv4() { 4.0 } else { 6.0 };
        (protocol, f64::from(fnv1a(address)))
    });
    page.set("probe_ip_protocol", protocol);
    page.set("probe_ip_addr_hash", hash);
    if let Some(failure) = run.failure {
        page.labelled("probe_failure_info", &[failure.as_str()], 1.0);
    }
    for known in ProbePhase::ALL {
        if let Some(us) = run.phases[known.index()] {
            page.labelled("probe_phase_seconds", &[known.as_str()], seconds(us));
        }
    }
    let (resolve, connect) = (
        ("resolve", ProbePhase::Resolve),
        ("connect", ProbePhase::Connect),
    );
    match &definition.target {
        Target::Http(_) | Target::WebSocket(_) => {
            let list = ProbePhase::ALL.iter().map(|part| (part.as_str(), *part));
            let list: Vec<_> = list.collect();
            phases(&mut page, "probe_http_duration_seconds", &list);
            http(&mut page, run);
        }
        Target::Tcp(_) | Target::Tls(_) => {
            page.set("probe_failed_due_to_regex", flag(is_about_text(run)));
            page.set("probe_failed_due_to_bytes", 0.0);
        }
        Target::Dns(place) => {
            let request = ("request", ProbePhase::Processing);
            phases(
                &mut page,
                "probe_dns_duration_seconds",
                &[resolve, connect, request],
            );
            dns(&mut page, run, &place.to_string());
        }
        Target::Grpc(_, tls) => {
            let check: u64 = run.phases.iter().skip(1).flatten().sum();
            phases(&mut page, "probe_grpc_duration_seconds", &[resolve]);
            page.labelled("probe_grpc_duration_seconds", &["check"], seconds(check));
            let words = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
            for (word, number) in words.into_iter().zip(0..) {
                let is = flag(run.serving == Some(number));
                page.labelled("probe_grpc_healthcheck_response", &[word], is);
            }
            page.set("probe_grpc_ssl", flag(*tls && run.encrypted));
            page.set(
                "probe_grpc_status_code",
                f64::from(run.grpc_status.unwrap_or(0)),
            );
        }
        Target::Icmp(_) => {
            let list = [
                resolve,
                ("setup", ProbePhase::Connect),
                ("rtt", ProbePhase::Processing),
            ];
            phases(&mut page, "probe_icmp_duration_seconds", &list);
            if let Some(hops) = run.hop_limit {
                page.set("probe_icmp_reply_hop_limit", f64::from(hops));
            }
        }
    }
    tls(&mut page, definition, run);
    page.finish()
}

fn http(page: &mut Page, run: &ProbeRun) {
    page.set("probe_failed_due_to_regex", flag(is_about_text(run)));
    page.set("probe_http_status_code", f64::from(run.status.unwrap_or(0)));
    let length = match (run.content_length, run.status) {
        (Some(length), _) => length as f64,
        (None, Some(_)) => -1.0,
        (None, None) => 0.0,
    };
    page.set("probe_http_content_length", length);
    page.set("probe_http_uncompressed_body_length", run.body_bytes as f64);
    page.set("probe_http_redirects", f64::from(run.redirects));
    page.set(
        "probe_http_ssl",
        flag(run.encrypted && run.status.is_some()),
    );
    let version = match run.http_version.as_deref() {
        Some("HTTP/1.0") => 1.0,
        Some("HTTP/1.1") => 1.1,
        Some(_) => 2.0,
        None => 0.0,
    };
    page.set("probe_http_version", version);
    if let Some(modified) = run.last_modified {
        page.set(
            "probe_http_last_modified_timestamp_seconds",
            modified.as_secs() as f64,
        );
    }
}

fn dns(page: &mut Page, run: &ProbeRun, resolver: &str) {
    page.set("probe_dns_query_succeeded", flag(run.answer.is_some()));
    let nothing = crate::model::DnsAnswer::default();
    let answer = run.answer.as_ref().unwrap_or(&nothing);
    page.set("probe_dns_answer_rrs", answer.answers.len() as f64);
    page.set("probe_dns_authority_rrs", f64::from(answer.authorities));
    page.set("probe_dns_additional_rrs", f64::from(answer.additionals));
    if let Some(serial) = answer.serial {
        page.set("probe_dns_serial", f64::from(serial));
    }
    if run.answer.is_some() {
        page.set("probe_dns_authoritative", flag(answer.authoritative));
    }
    let mut lowest: BTreeMap<&str, u32> = BTreeMap::new();
    for record in &answer.answers {
        let ttl = lowest.entry(&record.kind).or_insert(record.ttl);
        *ttl = record.ttl.min(*ttl);
    }
    for (kind, ttl) in lowest {
        page.labelled("probe_dns_ttl_seconds", &[kind, resolver], f64::from(ttl));
    }
    for (code, _) in &answer.extended_errors {
        page.labelled("probe_dns_extended_error_info", &[&code.to_string()], 1.0);
    }
}

fn tls(page: &mut Page, definition: &Definition, run: &ProbeRun) {
    let Some(leaf) = run.chain.first() else {
        return;
    };
    page.set(
        "probe_cert_not_before_seconds",
        leaf.not_before.as_secs() as f64,
    );
    for (position, certificate) in run.chain.iter().enumerate() {
        let until = certificate.not_after.as_secs() as f64;
        page.labelled(
            "probe_cert_not_after_seconds",
            &[&position.to_string()],
            until,
        );
    }
    if let Some(name) = asked_for(definition).filter(|_| run.redirects == 0) {
        page.set("probe_cert_name_match", flag(leaf.covers(&name)));
    }
    // From here on as `blackbox_exporter` has it: of the last answer, and of a handshake that was accepted.
    let Some(version) = run.tls_version.as_deref().filter(|_| run.encrypted) else {
        return;
    };
    if let Some(first) = run.chain.iter().map(|it| it.not_after).min() {
        page.set("probe_ssl_earliest_cert_expiry", first.as_secs() as f64);
    }
    if let Some(until) = run.verified_until {
        page.set(
            "probe_ssl_last_chain_expiry_timestamp_seconds",
            until.as_secs() as f64,
        );
    }
    page.labelled(
        "probe_ssl_last_chain_info",
        &info(leaf).each_ref().map(String::as_str),
        1.0,
    );
    let version = version.replace("TLSv", "TLS ");
    page.labelled("probe_tls_version_info", &[&version], 1.0);
    if let Some(cipher) = &run.tls_cipher {
        // rustls names those of TLS 1.3 apart from the registry.
        let cipher = cipher.replace("TLS13_", "TLS_");
        page.labelled("probe_tls_cipher_info", &[&cipher], 1.0);
    }
}

/// The values of the labels of `probe_ssl_last_chain_info`.
fn info(leaf: &CertificateFacts) -> [String; 5] {
    let is_address = |name: &&String| name.parse::<IpAddr>().is_ok();
    let names: Vec<&str> = leaf
        .names
        .iter()
        .filter(|name| !is_address(name))
        .map(String::as_str)
        .collect();
    // As many bytes as the number has, two digits each, as version 0.28 of the original writes it; 0.23 leaves the first zero out.
    let mut serial = leaf.serial.as_str();
    while let Some(rest) = serial.strip_prefix("00").filter(|rest| !rest.is_empty()) {
        serial = rest;
    }
    [
        leaf.sha256.clone(),
        in_order(&leaf.issuer),
        serial.to_owned(),
        in_order(&leaf.subject),
        names.join(","),
    ]
}

/// A distinguished name in the order that Go's `crypto/x509/pkix` writes it, whatever the certificate's own: joins and
/// alerts compare it as a text.
fn in_order(name: &str) -> String {
    let mut attributes: Vec<(String, String)> = Vec::new();
    for part in unescaped_split(name) {
        if let Some((kind, value)) = part.split_once('=') {
            attributes.push((kind.to_owned(), value.to_owned()));
        }
    }
    let mut ordered: Vec<String> = Vec::new();
    for kind in ORDERED {
        // Several of one kind are one part, in the certificate's order, which the text has turned round.
        let of_kind = attributes.iter().rev().filter(|(found, _)| found == kind);
        let joined: Vec<String> = of_kind
            .map(|(_, value)| format!("{kind}={value}"))
            .collect();
        if !joined.is_empty() {
            ordered.push(joined.join("+"));
        }
    }
    for (kind, value) in &attributes {
        if !ORDERED.contains(&kind.as_str()) {
            ordered.push(format!("{kind}={value}"));
        }
    }
    ordered.join(",")
}

const ORDERED: [&str; 9] = [
    "SERIALNUMBER",
    "CN",
    "POSTALCODE",
    "STREET",
    "ST",
    "L",
    "OU",
    "O",
    "C",
];

/// The parts of a name between commas and plus signs that are not escaped.
fn unescaped_split(name: &str) -> Vec<String> {
    let (mut parts, mut part, mut escaped) = (Vec::new(), String::new(), false);
    for c in name.chars() {
        match c {
            ',' | '+' if !escaped => parts.push(std::mem::take(&mut part)),
            c => part.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(part);
    parts
}

/// The name that the certificate is to speak for.
fn asked_for(definition: &Definition) -> Option<String> {
    if let Some(name) = &definition.manner.tls.server_name {
        return Some(name.clone());
    }
    match &definition.target {
        Target::Http(url) | Target::WebSocket(url) => Some(url.place.host.clone()),
        Target::Tcp(place) | Target::Tls(place) | Target::Grpc(place, _) => {
            Some(place.host.clone())
        }
        Target::Dns(_) | Target::Icmp(_) => None,
    }
}

/// Whether something was said, and was not what was expected.
fn is_about_text(run: &ProbeRun) -> bool {
    match run.failure {
        Some(ProbeFailure::AssertHeader) => true,
        Some(ProbeFailure::AssertBody) => run.status.is_some() || run.body_bytes > 0,
        Some(_) | None => false,
    }
}

fn address(run: &ProbeRun) -> Option<IpAddr> {
    let text = run.address.as_deref()?;
    let with_port: Result<SocketAddr, _> = text.parse();
    with_port.map_or_else(|_| text.parse().ok(), |address| Some(address.ip()))
}

/// FNV-1a of 32 bits over the address's bytes.
fn fnv1a(address: IpAddr) -> u32 {
    let over = |bytes: &[u8]| {
        bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        })
    };
    match address {
        IpAddr::V4(address) => over(&address.octets()),
        IpAddr::V6(address) => over(&address.octets()),
    }
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// The page of `debug=true`: what happened, what would have been answered, and the module.
pub(super) fn debug(
    module: &Module,
    definition: &Definition,
    run: &ProbeRun,
    metrics: &str,
) -> String {
    let mut text = String::from("Logs for the probe:\n");
    let put = |text: &mut String, line: fmt::Arguments<'_>| {
        writeln!(text, "{line}").expect("writing to a string cannot fail");
    };
    put(
        &mut text,
        format_args!(
            "level=info msg=\"Beginning probe\" module={} target={} timeout_seconds={}",
            module.name,
            definition.target,
            definition.manner.timeout.as_secs_f64()
        ),
    );
    for phase in ProbePhase::ALL {
        if let Some(us) = run.phases[phase.index()] {
            let seconds = us as f64 / 1e6;
            let to = match (phase, &run.address) {
                (ProbePhase::Resolve | ProbePhase::Connect, Some(address)) => {
                    format!(" address={address}")
                }
                _ => String::new(),
            };
            put(
                &mut text,
                format_args!(
                    "level=info msg=\"Phase ended\" phase={} seconds={seconds}{to}",
                    phase.as_str()
                ),
            );
        }
    }
    for (position, certificate) in run.chain.iter().enumerate() {
        put(
            &mut text,
            format_args!(
                "level=info msg=\"Certificate\" position={position} subject={:?} issuer={:?} not_before={} not_after={} names={:?}",
                certificate.subject,
                certificate.issuer,
                certificate.not_before,
                certificate.not_after,
                certificate.names
            ),
        );
    }
    if let Some(status) = run.status {
        let version = run.http_version.as_deref().unwrap_or_default();
        put(
            &mut text,
            format_args!(
                "level=info msg=\"Received HTTP response\" status_code={status} version={version} redirects={} body_bytes={}",
                run.redirects, run.body_bytes
            ),
        );
    }
    if let Some(answer) = &run.answer {
        put(
            &mut text,
            format_args!(
                "level=info msg=\"Received DNS answer\" rcode={} authoritative={} extended_errors={:?}",
                answer.rcode, answer.authoritative, answer.extended_errors
            ),
        );
        for record in &answer.answers {
            put(
                &mut text,
                format_args!(
                    "level=info msg=\"Answer\" record={:?}",
                    format!(
                        "{} {} IN {} {}",
                        record.name, record.ttl, record.kind, record.data
                    )
                ),
            );
        }
    }
    let seconds = run.duration_us as f64 / 1e6;
    match run.failure {
        None => put(
            &mut text,
            format_args!("level=info msg=\"Probe succeeded\" duration_seconds={seconds}"),
        ),
        Some(failure) => put(
            &mut text,
            format_args!(
                "level=error msg=\"Probe failed\" reason={} detail={:?} duration_seconds={seconds}",
                failure.as_str(),
                run.detail
            ),
        ),
    }
    format!(
        "{text}\n\n\nMetrics that would have been returned:\n{metrics}\n\n\nModule configuration:\n{}",
        configuration(module)
    )
}

/// A module in words, its secrets left out.
fn configuration(module: &Module) -> String {
    let mut shown = module.clone();
    let http = &mut shown.manner.http;
    for (name, value) in &mut http.headers {
        // Who asks may not be who configured: a header may hold a credential under any name.
        if *name != http::header::HOST {
            *value = http::HeaderValue::from_static("<secret>");
        }
    }
    if !http.body.is_empty() {
        "<secret>".clone_into(&mut http.body);
    }
    let dialogue = &mut shown.manner.dialogue;
    let said = dialogue.steps.iter_mut().map(|step| &mut step.send);
    for send in said.chain([&mut dialogue.send]).flatten() {
        "<secret>".clone_into(send);
    }
    let prober = match shown.prober {
        Prober::Http => "http",
        Prober::Tcp => "tcp",
        Prober::Tls => "tls",
        Prober::Dns => "dns",
        Prober::Grpc => "grpc",
        Prober::Grpcs => "grpcs",
        Prober::WebSocket => "websocket",
        Prober::Icmp => "icmp",
    };
    format!("prober: {prober}\n{:#?}\n", shown.manner)
}

/// A page under construction: families by name, as the text format wants them together.
#[derive(Debug, Default)]
struct Page(BTreeMap<&'static str, Vec<(String, f64)>>);

impl Page {
    fn set(&mut self, name: &'static str, value: f64) {
        self.labelled(name, &[], value);
    }

    fn labelled(&mut self, name: &'static str, values: &[&str], value: f64) {
        let known = SERIES.iter().find(|(known, ..)| *known == name);
        let (_, labels, ..) = known.expect("every series of the page is in its table");
        debug_assert_eq!(labels.len(), values.len(), "{name}");
        let pairs: Vec<String> = labels
            .iter()
            .zip(values)
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let labels = if pairs.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", pairs.join(","))
        };
        self.0.entry(name).or_default().push((labels, value));
    }

    fn finish(self) -> String {
        let mut text = String::new();
        for (name, samples) in self.0 {
            let help = SERIES.iter().find(|(known, ..)| *known == name);
            let help = help.map_or("", |(.., help)| help);
            let mut put = |line: fmt::Arguments<'_>| {
                writeln!(text, "{line}").expect("writing to a string cannot fail");
            };
            put(format_args!("# HELP {name} {help}"));
            put(format_args!("# TYPE {name} gauge"));
            for (labels, value) in samples {
                put(format_args!("{name}{labels} {value}"));
            }
        }
        text
    }
}

/// A label's value, as the text format wants it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_hashed_as_the_original_does() {
        assert_eq!(fnv1a("127.0.0.1".parse().unwrap()), 3_668_918_509);
    }

    #[test]
    fn a_name_is_written_in_the_order_of_the_original() {
        for (name, ordered) in [
            ("CN=a root,O=Test Co", "CN=a root,O=Test Co"),
            ("O=Shop\\, Inc,CN=x,C=DE", "CN=x,O=Shop\\, Inc,C=DE"),
            ("CN=a,OU=2,OU=1,L=l,ST=s", "CN=a,ST=s,L=l,OU=1+OU=2"),
            ("", ""),
        ] {
            assert_eq!(in_order(name), ordered);
        }
    }

    #[test]
    fn a_debug_page_tells_no_secret() {
        let mut module = Module::standard();
        let secret = http::HeaderValue::from_static("Bearer hunter2");
        module
            .manner
            .http
            .headers
            .push((http::header::AUTHORIZATION, secret));
        module.manner.http.body = "hunter2".to_owned();
        module.manner.dialogue.send = Some("hunter2".to_owned());
        let shown = configuration(&module);
        assert!(
            !shown.contains("hunter2") && shown.contains("<secret>"),
            "{shown}"
        );
    }
}
