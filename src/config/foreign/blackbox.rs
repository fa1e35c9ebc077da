//! Modules of `blackbox_exporter`.

use std::collections::HashSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use super::table::{Tree, Writing, escaped, said};
use super::{Imported, refused};
use crate::config::kind::time_text;
use crate::probe::module::LONGEST;

/// The modules of a `blackbox.yml`, whose text is `whole`.
pub(super) fn import(modules: &Map<String, Value>, whole: &str) -> Imported {
    let bytes = tagged_as_bytes(whole);
    let mut imported = Imported::headed("modules of blackbox_exporter");
    for (name, module) in modules {
        let (text, left) = one(name, module, &bytes);
        imported.add(&format!("module {name}"), &text, left);
    }
    imported
}

/// The scalars that are tagged as bytes: base64 in the file, and no text that anybody means to send.
fn tagged_as_bytes(whole: &str) -> HashSet<String> {
    let tagged = whole.split("!!binary").skip(1);
    let is_of_it = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let scalars = tagged.map(|rest| {
        let begun = rest.trim_start_matches([' ', '\t', '"', '\'']);
        begun.split(|c| !is_of_it(c)).next().unwrap_or_default()
    });
    scalars.map(ToOwned::to_owned).collect()
}

/// One module's table, and what is not in it.
fn one(name: &str, module: &Value, bytes: &HashSet<String>) -> (String, Vec<String>) {
    let mut writing = Writing::new("module");
    let mut keys = Tree::new("", module);
    let prober = keys.text("prober").unwrap_or_default();
    writing.put("name", name);
    let timeout = keys.text("timeout");
    let mut part = keys.table(&prober);
    match prober.as_str() {
        "http" => http(&mut part, &mut writing),
        "tcp" => tcp(&mut part, &mut writing, bytes),
        "dns" => dns(&mut part, &mut writing),
        "grpc" => grpc(&mut part, &mut writing),
        "icmp" => icmp(&mut part, &mut writing),
        other => {
            let what = format!("all of it: there is no prober {other:?} here");
            return (String::new(), vec![what]);
        }
    }
    if let Some(timeout) = timeout {
        match humantime::parse_duration(&timeout) {
            Ok(time) if time.is_zero() => {}
            Ok(time) if time <= LONGEST => {
                let text = time_text(time);
                writing.put("timeout", text);
            }
            Ok(_) | Err(_) => writing.leave("timeout", "at most two minutes; it is that now"),
        }
    }
    writing.left.extend(part.rest());
    writing.left.extend(keys.rest());
    let text = writing.finish();
    match refused(&text) {
        None => (text, writing.left),
        Some(why) => (String::new(), vec![format!("all of it: {why}")]),
    }
}

fn http(keys: &mut Tree, out: &mut Writing) {
    out.put("prober", "http");
    family(keys, out);
    tls(keys, out);
    if let Some(method) = keys.text("method") {
        out.put("http.method", method);
    }
    if let Some(codes) = keys
        .list("valid_status_codes")
        .filter(|codes| !codes.is_empty())
    {
        let codes: Vec<String> = codes.iter().map(said).collect();
        out.put("expect.status", codes);
    }
    if let Some(versions) = keys.list("valid_http_versions") {
        let mut known = Vec::new();
        for version in versions.iter().map(said) {
            match version.as_str() {
                "HTTP/1.0" => known.push("1.0".to_owned()),
                "HTTP/1.1" => known.push("1.1".to_owned()),
                "HTTP/2" | "HTTP/2.0" => known.push("2".to_owned()),
                other => out.leave(
                    "http.valid_http_versions",
                    &format!("{other} is not spoken"),
                ),
            }
        }
        out.put_list("expect.http_version", known);
    }
    let mut headers: Vec<String> = Vec::new();
    for (name, value) in keys.table("headers").map() {
        headers.push(format!("{name}: {}", said(&value)));
    }
    let several = keys.table("http_headers");
    let path = several.path.clone();
    for (name, value) in several.map() {
        let mut value = Tree::new(&format!("{path}{name}."), &value);
        for key in ["values", "secrets"] {
            let values = value.list(key).unwrap_or_default();
            headers.extend(values.iter().map(|it| format!("{name}: {}", said(it))));
        }
        out.left.extend(value.rest());
    }
    if let Some(body) = keys.text("body") {
        out.put("http.body", body);
    }
    let follows = keys.flag("follow_redirects").unwrap_or(true)
        && !keys.flag("no_follow_redirects").unwrap_or(false);
    out.put("http.redirects", if follows { 10 } else { 0 });
    if keys.flag("enable_http2") == Some(false) {
        out.put("http.version", "1.1");
    }
    match (keys.flag("fail_if_ssl"), keys.flag("fail_if_not_ssl")) {
        (Some(true), _) => out.put("expect.encrypted", false),
        (_, Some(true)) => out.put("expect.encrypted", true),
        _ => {}
    }
    let matching = patterns(keys, "fail_if_body_not_matches_regexp");
    out.put_list("expect.body_matches", matching);
    let none = patterns(keys, "fail_if_body_matches_regexp");
    out.put_list("expect.body_matches_none", none);
    header_rules(keys, out);
    authorization(keys, out, &mut headers);
    out.put_list("http.headers", headers);
    let limit = keys.text("body_size_limit").map(|text| binary(&text));
    match limit {
        None | Some(Some(0)) => out.put("http.max_body", "64MiB"),
        Some(Some(bytes)) if bytes <= 64 << 20 => out.put("http.max_body", format!("{bytes}B")),
        Some(_) => {
            out.put("http.max_body", "64MiB");
            out.leave("http.body_size_limit", "at most 64MiB; it is that now");
        }
    }
}

fn header_rules(keys: &mut Tree, out: &mut Writing) {
    let (mut there, mut matching, mut none) = (Vec::new(), Vec::new(), Vec::new());
    for (key, wanted) in [
        ("fail_if_header_not_matches", true),
        ("fail_if_header_matches", false),
    ] {
        for rule in keys.list(key).unwrap_or_default() {
            let mut rule = Tree::new(&format!("{}{key}.", keys.path), &rule);
            let name = rule.text("header").unwrap_or_default();
            let pattern = translated(&rule.text("regexp").unwrap_or_default());
            let may_lack = rule.flag("allow_missing").unwrap_or(false);
            let line = format!("{name}: {pattern}");
            match (wanted, may_lack) {
                (true, false) => matching.push(line),
                (true, true) => out.leave(
                    &format!("http.{key}"),
                    &format!("a header {name} that may be missing and must match otherwise"),
                ),
                (false, true) => none.push(line),
                (false, false) => {
                    none.push(line);
                    there.push(format!("{name}:"));
                }
            }
            out.left.extend(rule.rest());
        }
    }
    out.put_list("expect.headers", there);
    out.put_list("expect.header_matches", matching);
    out.put_list("expect.header_matches_none", none);
}

fn authorization(keys: &mut Tree, out: &mut Writing, headers: &mut Vec<String>) {
    let mut basic = keys.table("basic_auth");
    if let Some(user) = basic.text("username") {
        if let Some(file) = basic.text("password_file") {
            out.put("http.user", user);
            out.put("http.password_file", file);
        } else {
            let password = basic.text("password").unwrap_or_default();
            let pair = BASE64_STANDARD.encode(format!("{user}:{password}"));
            headers.push(format!("Authorization: Basic {pair}"));
        }
    }
    out.left.extend(basic.rest());
    let mut general = keys.table("authorization");
    let kind = general.text("type").unwrap_or_else(|| "Bearer".to_owned());
    if let Some(credentials) = general.text("credentials") {
        headers.push(format!("Authorization: {kind} {credentials}"));
    }
    if let Some(file) = general.text("credentials_file") {
        if kind.eq_ignore_ascii_case("bearer") {
            out.put("http.bearer_file", file);
        } else {
            let why = format!("credentials of type {kind} from a file");
            out.leave("http.authorization.credentials_file", &why);
        }
    }
    out.left.extend(general.rest());
    if let Some(token) = keys.text("bearer_token") {
        headers.push(format!("Authorization: Bearer {token}"));
    }
    if let Some(file) = keys.text("bearer_token_file") {
        out.put("http.bearer_file", file);
    }
}

/// What a client of `PostgreSQL` sends to ask for TLS (`SSLRequest`), as base64.
const SSL_REQUEST: &str = "AAAACATSFi8=";

/// Whether a dialogue begins by asking `PostgreSQL` for TLS, which is a protocol of our own.
fn asks_postgres(steps: &[Value], bytes: &HashSet<String>) -> bool {
    let [asked, answer, begun, ..] = steps else {
        return false;
    };
    bytes.contains(SSL_REQUEST)
        && asked["send"] == SSL_REQUEST
        && answer["expect_bytes"] == "S"
        && begun["starttls"] == true
}

fn tcp(keys: &mut Tree, out: &mut Writing, bytes: &HashSet<String>) {
    family(keys, out);
    source(keys, out);
    let is_tls = keys.flag("tls").unwrap_or(false);
    let mut dialogue = keys.list("query_response").unwrap_or_default();
    let is_postgres = !is_tls && asks_postgres(&dialogue, bytes);
    if is_postgres {
        dialogue.drain(..3);
        out.put("tls.starttls", "postgres");
    }
    out.put("prober", if is_tls || is_postgres { "tls" } else { "tcp" });
    let mut steps = Vec::new();
    let mut begins_tls = is_tls || is_postgres;
    for step in dialogue {
        let mut step = Tree::new(&format!("{}query_response.", keys.path), &step);
        let mut table = toml::Table::new();
        if let Some(expect) = step.text("expect").filter(|text| !text.is_empty()) {
            table.insert("expect".to_owned(), escaped(&translated(&expect)).into());
        }
        let send = step.text("send").filter(|text| !text.is_empty());
        if let Some(send) = send.as_ref().filter(|send| bytes.contains(*send)) {
            out.leave(
                "tcp.query_response.send",
                &format!("the bytes {send}: only a text is sent"),
            );
        } else if let Some(send) = send {
            table.insert("send".to_owned(), escaped(&format!("{send}\n")).into());
        }
        if step.flag("starttls") == Some(true) {
            table.insert("starttls".to_owned(), true.into());
            begins_tls = true;
        }
        out.left.extend(step.rest());
        steps.push(toml::Value::Table(table));
    }
    if !steps.is_empty() {
        out.lines
            .push(("tcp.step".to_owned(), toml::Value::Array(steps)));
    }
    if begins_tls {
        tls(keys, out);
    } else {
        // It has no effect there either.
        drop(keys.table("tls_config"));
    }
}

fn dns(keys: &mut Tree, out: &mut Writing) {
    out.put("prober", "dns");
    family(keys, out);
    source(keys, out);
    if let Some(name) = keys.text("query_name") {
        out.put("dns.name", name);
    }
    let kind = keys.text("query_type").filter(|kind| !kind.is_empty());
    out.put("dns.type", kind.unwrap_or_else(|| "ANY".to_owned()));
    match keys.text("query_class").as_deref() {
        None | Some("" | "IN") => {}
        Some(other) => out.leave(
            "dns.query_class",
            &format!("{other}: IN alone is asked for"),
        ),
    }
    if keys.flag("recursion_desired") == Some(false) {
        out.put("dns.recurse", false);
    }
    if keys
        .text("transport_protocol")
        .is_some_and(|it| it.starts_with("tcp"))
    {
        out.put("dns.transport", "tcp");
    }
    let codes = keys.list("valid_rcodes").unwrap_or_default();
    out.put_list("expect.answer.rcode", codes.iter().map(said).collect());
    // It does not tell old answers from new ones either.
    out.put("expect.answer.may_be_stale", true);
    let mut rules = Vec::new();
    for (key, section) in [
        ("validate_answer_rrs", "answer"),
        ("validate_authority_rrs", "authority"),
        ("validate_additional_rrs", "additional"),
    ] {
        let mut part = keys.table(key);
        for (key, fails_if) in [
            ("fail_if_matches_regexp", "any_matches"),
            ("fail_if_all_match_regexp", "all_match"),
            ("fail_if_not_matches_regexp", "any_differs"),
            ("fail_if_none_matches_regexp", "none_matches"),
        ] {
            for pattern in patterns(&mut part, key) {
                let mut rule = toml::Table::new();
                rule.insert("section".to_owned(), section.into());
                rule.insert("fails_if".to_owned(), fails_if.into());
                rule.insert("pattern".to_owned(), escaped(&pattern).into());
                rules.push(toml::Value::Table(rule));
            }
        }
        out.left.extend(part.rest());
    }
    if !rules.is_empty() {
        out.lines
            .push(("expect.answer.record".to_owned(), toml::Value::Array(rules)));
    }
}

fn grpc(keys: &mut Tree, out: &mut Writing) {
    family(keys, out);
    let is_tls = keys.flag("tls").unwrap_or(false);
    out.put("prober", if is_tls { "grpcs" } else { "grpc" });
    if is_tls {
        tls(keys, out);
    } else {
        // It has no effect there either.
        drop(keys.table("tls_config"));
    }
    if let Some(service) = keys.text("service").filter(|text| !text.is_empty()) {
        out.put("grpc.service", service);
    }
}

fn icmp(keys: &mut Tree, out: &mut Writing) {
    out.put("prober", "icmp");
    family(keys, out);
    source(keys, out);
    if keys.flag("dont_fragment") == Some(true) {
        out.leave("icmp.dont_fragment", "requests are too short to be cut");
    }
}

fn family(keys: &mut Tree, out: &mut Writing) {
    let protocol = keys.text("preferred_ip_protocol");
    let falls_back = keys.flag("ip_protocol_fallback").unwrap_or(true);
    let word = match (protocol.as_deref(), falls_back) {
        (Some("ip4"), true) => "prefer_ipv4",
        (Some("ip4"), false) => "ipv4",
        (_, true) => "prefer_ipv6",
        (_, false) => "ipv6",
    };
    out.put("family", word);
}

fn source(keys: &mut Tree, out: &mut Writing) {
    if let Some(address) = keys
        .text("source_ip_address")
        .filter(|text| !text.is_empty())
    {
        out.put("source", address);
    }
}

fn tls(keys: &mut Tree, out: &mut Writing) {
    let mut part = keys.table("tls_config");
    if let Some(file) = part.text("ca_file") {
        out.put("tls.roots_file", file);
    }
    if let Some(name) = part.text("server_name") {
        out.put("tls.server_name", name);
    }
    if part.flag("insecure_skip_verify") == Some(true) {
        out.put("tls.insecure", true);
    }
    out.left.extend(part.rest());
}

/// `10MB`, `1KiB`: in powers of two either way, as that program reads them.
fn binary(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits)?;
    let shift = match unit {
        "" | "B" => 0,
        "KB" | "KiB" => 10,
        "MB" | "MiB" => 20,
        "GB" | "GiB" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn patterns(keys: &mut Tree, key: &str) -> Vec<String> {
    let list = keys.list(key).unwrap_or_default();
    list.iter().map(|item| translated(&said(item))).collect()
}

/// A regular expression of Go's as one of ours: `\Q…\E` is unknown here.
fn translated(pattern: &str) -> String {
    let mut translated = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once("\\Q") {
        let (literal, after) = after.split_once("\\E").unwrap_or((after, ""));
        translated.push_str(before);
        translated.push_str(&regex::escape(literal));
        rest = after;
    }
    translated.push_str(rest);
    translated
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::import;
    use crate::config::synthetic::{self, Taken};
    use crate::probe::module::Prober;

    #[test]
    fn what_is_carried_over_is_read_back_and_the_rest_is_said() {
        let imported = import(
            Path::new("blackbox.yml"),
            r#"
modules:
  http_2xx:
    prober: http
    timeout: 5s
    http:
      valid_status_codes: [200, 204]
      valid_http_versions: ["HTTP/1.1", "HTTP/3"]
      method: POST
      headers: {X-Money: "$5 ${HOME}"}
      proxy_url: http://proxy
      fail_if_body_matches_regexp: ['a\Q.*\Eb']
      fail_if_header_matches: [{header: X-A, regexp: no}]
      basic_auth: {username: me, password: secret}
      tls_config: {cert_file: x.pem}
      body_size_limit: 10MB
  banner:
    prober: tcp
    tcp:
      tls: true
      query_response:
      - expect: 'PING :([^ ]+)'
        send: "PONG ${1}"
  zone:
    prober: dns
    dns:
      query_name: a.example
      query_type: SOA
      validate_answer_rrs: {fail_if_none_matches_regexp: ['.*127.0.0.1']}
  socket:
    prober: unix
  database:
    prober: tcp
    tcp:
      query_response:
      - send: !!binary AAAACATSFi8= # SSLRequest
      - expect_bytes: S
      - starttls: true
  bytes:
    prober: tcp
    tcp:
      query_response: [{send: !!binary /w==}]
  headers:
    prober: http
    http:
      http_headers: {Accept-Language: {values: ["de"]}, X-Key: {files: [/key]}}
"#,
        )
        .unwrap();
        let super::Imported { toml, left_out } = imported;
        assert_eq!(
            left_out,
            [
                "module bytes: tcp.query_response.send: the bytes /w==: only a text is sent",
                "module headers: http.http_headers.X-Key.files: there is nothing like it here",
                "module http_2xx: http.tls_config.cert_file: there is nothing like it here",
                "module http_2xx: http.valid_http_versions: HTTP/3 is not spoken",
                "module http_2xx: http.proxy_url: there is nothing like it here",
                "module socket: all of it: there is no prober \"unix\" here",
            ]
        );
        let taken = Taken::default();
        let read = synthetic::parse_probes("", &toml, Path::new(""), &taken, &|_| None);
        let modules = read
            .unwrap_or_else(|report| panic!("{}\n{toml}", report.render(false)))
            .modules;
        let names: Vec<_> = modules.iter().map(|module| module.name.as_str()).collect();
        let expected = ["banner", "bytes", "database", "headers", "http_2xx", "zone"];
        assert_eq!(names, expected);
        let database = &modules[2];
        assert_eq!(database.prober, Prober::Tls);
        assert!(
            database.manner.dialogue.starttls.is_some()
                && database.manner.dialogue.steps.is_empty()
        );
        assert_eq!(modules[3].manner.http.headers.len(), 1);
        let http = &modules[4].manner;
        assert_eq!(http.timeout, Duration::from_secs(5));
        let (_, value) = &http.http.headers[0];
        assert_eq!(value, "$5 ${HOME}", "no variable");
        assert_eq!(http.expect.body_matches_none[0].as_str(), r"a\.\*b");
        assert_eq!(http.http.max_body, 10 << 20);
        assert_eq!(
            (
                http.expect.header_matches_none.len(),
                http.expect.headers.len()
            ),
            (1, 1)
        );
        let step = &modules[0].manner.dialogue.steps[0];
        assert_eq!(step.send.as_deref(), Some("PONG ${1}\n"));
        assert_eq!(modules[5].manner.expect.answer.records.len(), 1);
    }

    #[test]
    fn what_is_no_file_of_modules_is_refused() {
        assert!(import(Path::new("a.yml"), "a: [").is_err());
        assert!(import(Path::new("a.yml"), "a: b").is_err());
    }
}
