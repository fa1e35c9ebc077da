//! Files of Hurl: each is a journey.
//!
//! Hurl's own parser needs a C library for XML; of its grammar, what a probe can do is little enough to be read here.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::table::{Writing, escaped};
use super::{ImportError, Imported, refused};
use crate::probe::definition::{MOST_STEPS, Template};

mod assert;
mod read;

use assert::{Expected, capture};
use read::{Entry, Response};

/// A file; `name` is what it is called.
pub(super) fn import(name: &str, text: &str) -> Result<Imported, ImportError> {
    let entries = read::entries(text).map_err(|(line, why)| ImportError::Hurl { line, why })?;
    let mut imported = Imported::headed("a file of Hurl");
    let plain = name.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') => c,
        _ => '-',
    });
    let name: String = plain.take(64).collect();
    let Some(first) = entries.first() else {
        let why = "it asks for nothing".to_owned();
        return Err(ImportError::Hurl { line: 1, why });
    };
    let mut left = Vec::new();
    if entries.len() > MOST_STEPS {
        left.push(format!("all after the first {MOST_STEPS} requests"));
    }
    let origin = origin(&first.url);
    let mut known = BTreeSet::new();
    let mut probe = Writing::new("probe");
    probe.put("name", name.as_str());
    probe.put_open("target", &open(origin, &known));
    let mut steps = String::new();
    for (number, entry) in (1..).zip(&entries).take(MOST_STEPS) {
        let mut step = Writing::new("probe.step");
        one(number, entry, origin, &mut known, &mut step, &mut probe);
        steps.push('\n');
        steps.push_str(&step.finish());
        let line = entry.line;
        left.extend(step.left.iter().map(|left| format!("line {line}: {left}")));
    }
    left.extend(std::mem::take(&mut probe.left));
    let text = format!("{}{steps}", probe.finish());
    match refused(&text) {
        None => imported.add(&name, &text, left),
        Some(why) => imported.add(&name, "", vec![format!("all of it: {why}")]),
    }
    Ok(imported)
}

/// The scheme and the host of a URL, or the variable that it begins with.
fn origin(url: &str) -> &str {
    let end = match url.split_once("://") {
        Some((scheme, rest)) => scheme.len() + 3 + rest.find(['/', '?']).unwrap_or(rest.len()),
        None => url.find("}}").map_or(url.len(), |at| at + 2),
    };
    url.split_at(end).0
}

/// A text in which values that no step captured are variables of the environment.
fn open(text: &str, known: &BTreeSet<String>) -> String {
    let mut out = escaped(text);
    let names: BTreeSet<&str> = Template(text).names().collect();
    for name in names.into_iter().filter(|name| !known.contains(*name)) {
        // As a host or as the whole of a URL there must be something to be read.
        let usual = if text.contains("://") {
            "127.0.0.1"
        } else {
            "http://127.0.0.1"
        };
        let place = if origin(text).contains(name) {
            format!("${{{name}:-{usual}}}")
        } else {
            format!("${{{name}:-}}")
        };
        for written in [format!("{{{{{name}}}}}"), format!("{{{{ {name} }}}}")] {
            out = out.replace(&written, &place);
        }
    }
    out
}

fn one(
    number: usize,
    entry: &Entry,
    origin: &str,
    known: &mut BTreeSet<String>,
    out: &mut Writing,
    probe: &mut Writing,
) {
    let path = entry.url.strip_prefix(origin).unwrap_or(&entry.url);
    let words = path.split('?').next().unwrap_or_default();
    let words = words
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let mut name = format!("{number}-{}", entry.method.to_ascii_lowercase());
    for word in words.take(4) {
        name = format!("{name}-{word}");
    }
    name.truncate(64);
    out.put("name", name);
    let slash = if path.is_empty() || path.starts_with('?') {
        "/"
    } else {
        ""
    };
    let query: Vec<String> = entry
        .query
        .iter()
        .map(|(name, value)| pair(name, value))
        .collect();
    let joint = match (query.is_empty(), path.contains('?')) {
        (true, _) => "",
        (false, true) => "&",
        (false, false) => "?",
    };
    let target = format!("{slash}{path}{joint}{}", query.join("&"));
    out.put_open("target", &open(&target, known));
    out.put("method", entry.method.as_str());
    let mut headers: Vec<String> = entry
        .headers
        .iter()
        .map(|(name, value)| open(&format!("{name}: {value}"), known))
        .collect();
    if !entry.cookies.is_empty() {
        let pairs: Vec<String> = entry
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        headers.push(open(&format!("cookie: {}", pairs.join("; ")), known));
    }
    if let Some((user, password)) = &entry.basic {
        let text = format!("{user}:{password}");
        if Template(&text).names().next().is_some() {
            out.leave(
                "[BasicAuth]",
                "a variable in it; write `http.user` and `http.password_file`",
            );
        } else {
            headers.push(format!(
                "authorization: Basic {}",
                BASE64_STANDARD.encode(text)
            ));
        }
    }
    let mut body = entry.body.clone();
    if !entry.form.is_empty() {
        headers.push("content-type: application/x-www-form-urlencoded".to_owned());
        let pairs: Vec<String> = entry
            .form
            .iter()
            .map(|(name, value)| pair(name, value))
            .collect();
        body = Some(pairs.join("&"));
    } else if entry.body_is_json
        && !headers
            .iter()
            .any(|it| it.to_ascii_lowercase().starts_with("content-type:"))
    {
        headers.push("content-type: application/json".to_owned());
    }
    out.put_open_list("headers", headers);
    if let Some(body) = body {
        out.put_open("body", &open(&body, known));
    }
    options(entry, out, probe);
    for left in &entry.left {
        out.left.push(left.clone());
    }
    if let Some(response) = &entry.response {
        expectations(response, known, out);
    }
}

/// `name=value`, as a query and a form have it. A variable stays one.
fn pair(name: &str, value: &str) -> String {
    let encoded = |text: &str| {
        if Template(text).names().next().is_some() {
            return text.to_owned();
        }
        let byte = |byte: u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        };
        text.bytes().map(byte).collect::<String>()
    };
    format!("{}={}", encoded(name), encoded(value))
}

fn options(entry: &Entry, out: &mut Writing, probe: &mut Writing) {
    let option = |name: &str| {
        let found = entry.options.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    };
    if option("location") == Some("true") {
        let most: u32 = option("max-redirs")
            .and_then(|most| most.parse().ok())
            .unwrap_or(20);
        out.put("redirects", i64::from(most.min(20)));
    }
    let mut once = |key: &str, value: toml::Value| {
        if !probe.lines.iter().any(|(written, _)| written == key) {
            probe.lines.push((key.to_owned(), value));
        }
    };
    for (key, value) in &entry.options {
        match (key.as_str(), value.as_str()) {
            ("location" | "max-redirs", _) => {}
            ("insecure", "true") => once("tls.insecure", true.into()),
            ("http2", "true") => once("http.version", "2".into()),
            ("http1.1", "true") => once("http.version", "1.1".into()),
            (key, _) => out.leave(&format!("[Options] {key}"), "there is nothing like it here"),
        }
    }
}

fn expectations(response: &Response, known: &mut BTreeSet<String>, out: &mut Writing) {
    let mut expected = Expected::default();
    match response.status.as_str() {
        "*" => {}
        status => expected.statuses.push(status.to_owned()),
    }
    for (name, value) in &response.headers {
        expected.header(name, "==", value, &mut out.left);
    }
    for line in &response.asserts {
        if expected.take(line).is_none() {
            out.left
                .push(format!("[Asserts] {line}: there is nothing like it here"));
        }
    }
    if let Some(body) = &response.body {
        match body {
            Ok(line) if Template(line).names().next().is_none() => {
                expected
                    .body_matches
                    .push(format!("^{}$", regex::escape(line)));
            }
            Ok(_) | Err(()) => out
                .left
                .push("the whole body: write what matters of it".to_owned()),
        }
    }
    if expected.statuses.is_empty() {
        expected.statuses.push("100-599".to_owned());
    }
    expected.write(&|text| open(text, known), out);
    let mut captures = Vec::new();
    for (name, query) in &response.captures {
        match capture(name, query) {
            Some(table) => {
                captures.push(toml::Value::Table(table));
                known.insert(name.clone());
            }
            None => out
                .left
                .push(format!("[Captures] {name}: there is nothing like it here")),
        }
    }
    if !captures.is_empty() {
        out.lines
            .push(("capture".to_owned(), toml::Value::Array(captures)));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::import as import_file;
    use super::*;
    use crate::config::synthetic::{self, Taken};
    use crate::probe::definition::{CaptureSource, JsonWants};

    const FILE: &str = r#"# An order.
POST {{host}}/login?next=%2F
User-Agent: x$y
[Query]
lang: d e
[Options]
location: true
retry: 3
{
  "user": "a{b}", "password": "{{password}}"
}
HTTP 200
Content-Type: application/json
[Captures]
token: jsonpath "$.token"
sid: cookie "sid"
page: xpath "//a"
[Asserts]
jsonpath "$.user" == "a\"b"
jsonpath "$.roles" count == 2
jsonpath "$.old" not exists
header "X-A" contains "b"
duration < 1500
body contains "token"
sha256 == hex,00;

GET {{host}}/orders/{{token}}
Authorization: Bearer {{token}}
HTTP/1.1 *
[Asserts]
status >= 200
status < 300
jsonpath "$.id" == "{{token}}"
jsonpath "$.at" matches /^\d+$/

DELETE {{host}}/orders
[Form]
a: b c
HTTP 204
"#;

    #[test]
    fn a_file_becomes_a_journey_and_the_rest_is_said() {
        let imported = import_file(Path::new("an order.hurl"), FILE).unwrap();
        assert_eq!(
            imported.left_out,
            [
                "an-order: line 2: [Options] retry: there is nothing like it here",
                "an-order: line 2: [Asserts] sha256 == hex,00;: there is nothing like it here",
                "an-order: line 2: [Captures] page: there is nothing like it here",
            ]
        );
        let env = |name: &str| match name {
            "host" => Some("http://shop.example".to_owned()),
            "password" => Some("p$w".to_owned()),
            _ => None,
        };
        let taken = Taken::default();
        let read = synthetic::parse_probes("", &imported.toml, Path::new(""), &taken, &env);
        let probes = read
            .unwrap_or_else(|report| panic!("{}\n{}", report.render(false), imported.toml))
            .probes;
        let [probe] = probes.as_slice() else { panic!() };
        assert_eq!(
            (probe.name.as_str(), probe.target.to_string().as_str()),
            ("an-order", "http://shop.example/")
        );
        let [login, see, remove] = probe.steps.as_slice() else {
            panic!("{}", imported.toml)
        };
        assert_eq!(login.target, "/login?next=%2F&lang=d%20e");
        assert_eq!(login.manner.http.redirects, 20);
        assert!(
            login.manner.http.body.contains("\"password\": \"p$w\""),
            "{}",
            login.manner.http.body
        );
        assert!(
            login
                .manner
                .http
                .headers
                .iter()
                .any(|(_, value)| value == "x$y")
        );
        assert_eq!(login.captures.len(), 2);
        assert!(matches!(
            login.captures[1].source,
            CaptureSource::Header(_, Some(_))
        ));
        let json: Vec<_> = login
            .manner
            .expect
            .json
            .iter()
            .map(|it| (it.path.as_str(), &it.wants))
            .collect();
        assert_eq!(json[0], ("$.user", &JsonWants::Equals("a\"b".to_owned())));
        assert_eq!(json[1], ("$.roles[*]", &JsonWants::Count(2)));
        assert_eq!(json[2], ("$.old", &JsonWants::Count(0)));
        assert_eq!(login.manner.expect.under.unwrap().as_millis(), 1_500);
        assert_eq!(see.target, "/orders/{{token}}");
        let statuses: Vec<_> = see
            .manner
            .expect
            .statuses
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(statuses, ["2xx"]);
        assert_eq!(
            (
                remove.manner.http.method.as_str(),
                remove.manner.http.body.as_str()
            ),
            ("DELETE", "a=b%20c")
        );
    }

    #[test]
    fn what_is_no_file_of_hurl_says_in_which_line() {
        for (text, line) in [
            ("", 1),
            ("\nhello\n", 2),
            ("GET http://a\nHTTP 200\n[What\n", 3),
            ("GET http://a\n{\"a\":\n", 2),
        ] {
            let error = import_file(Path::new("a.hurl"), text).unwrap_err();
            let said = error.to_string();
            assert!(
                said.starts_with(&format!("line {line}: ")),
                "{text:?}: {said}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(?s).{0,200}") {
            drop(import("a", &text));
            drop(import("a", &format!("GET http://a/\nHTTP 200\n[Asserts]\n{text}\n[Captures]\n{text}")));
        }
    }
}
