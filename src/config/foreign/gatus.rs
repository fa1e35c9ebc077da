//! Endpoints of Gatus.

use serde_json::Value;

use super::table::{Tree, Writing, said};
use super::{Imported, refused};
use crate::config::kind::time_text;

use crate::probe::module::LONGEST;

/// The endpoints of a configuration. What else the file holds is no probe.
pub(super) fn import(endpoints: &[Value], whole: &Value) -> Imported {
    let mut imported = Imported::headed("endpoints of Gatus");
    for endpoint in endpoints {
        let (name, text, left) = one(endpoint);
        imported.add(&format!("endpoint {name}"), &text, left);
    }
    let mut rest = Tree::new("", whole);
    drop(rest.list("endpoints"));
    imported.add("the file", "", rest.rest());
    imported
}

/// One endpoint's name, its table, and what is not in it.
fn one(endpoint: &Value) -> (String, String, Vec<String>) {
    let mut out = Writing::new("probe");
    let mut keys = Tree::new("", endpoint);
    let group = keys.text("group").map(|group| format!("{group}."));
    let name = keys.text("name").unwrap_or_default();
    let name = plain_name(&format!("{}{name}", group.unwrap_or_default()));
    out.put("name", name.clone());
    let url = keys.text("url").unwrap_or_default();
    let mut dns = keys.table("dns");
    let name_asked = dns.text("query-name");
    let target = match &name_asked {
        Some(_) if !url.contains("://") => format!("dns://{url}"),
        Some(_) | None => url,
    };
    let kind = Kind::of(&target);
    let Some(kind) = kind else {
        let what = format!("all of it: there is no probe for {target:?} here");
        return (name, String::new(), vec![what]);
    };
    let target = match kind {
        // SMTP, as there.
        Kind::StartTls => target.replacen("starttls://", "tls://", 1),
        _ => target,
    };
    out.put_open("target", &variables(&target));
    time(&mut keys, "interval", "every", &mut out);
    if keys.flag("enabled") == Some(false) {
        out.put("paused", true);
    }
    if let Some(asked) = name_asked {
        out.put("dns.name", asked.trim_end_matches('.'));
        let kind = dns.text("query-type");
        out.put("dns.type", kind.unwrap_or_else(|| "A".to_owned()));
    }
    if kind == Kind::StartTls {
        out.put("tls.starttls", "smtp");
    }
    if kind == Kind::Http {
        request(&mut keys, &mut out);
    } else if let Some(body) = keys.text("body") {
        match kind {
            Kind::Talk => out.put_open("tcp.send", &variables(&body)),
            _ => out.leave("body", "nothing is sent to such a target"),
        }
    }
    client(&mut keys, kind, &mut out);
    conditions(&mut keys, kind, &mut out);
    out.left.extend(dns.rest());
    out.left.extend(keys.rest());
    let text = out.finish();
    match refused(&text) {
        None => (name, text, out.left),
        Some(why) => (name, String::new(), vec![format!("all of it: {why}")]),
    }
}

/// What an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Talk,
    StartTls,
    Dns,
    Icmp,
}

impl Kind {
    fn of(target: &str) -> Option<Self> {
        Some(match target.split_once("://")?.0 {
            "http" | "https" => Self::Http,
            "tcp" | "tls" | "ws" | "wss" => Self::Talk,
            "starttls" => Self::StartTls,
            "dns" => Self::Dns,
            "icmp" => Self::Icmp,
            _ => return None,
        })
    }
}

/// Letters, digits, `.`, `_` and `-`, as names are here.
fn plain_name(text: &str) -> String {
    let plain = text.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') => c,
        _ => '-',
    });
    plain.take(64).collect()
}

fn time(keys: &mut Tree, from: &str, to: &str, out: &mut Writing) {
    let Some(text) = keys.text(from) else {
        return;
    };
    match humantime::parse_duration(&text) {
        Ok(time) => out.put(to, time_text(time)),
        Err(_) => out.leave(from, &format!("{text} is no time")),
    }
}

fn request(keys: &mut Tree, out: &mut Writing) {
    if let Some(method) = keys.text("method") {
        out.put("http.method", method);
    }
    let mut headers = Vec::new();
    for (name, value) in keys.table("headers").map() {
        headers.push(variables(&format!("{name}: {}", said(&value))));
    }
    let body = keys.text("body");
    if let Some(body) = &body {
        let body = if keys.flag("graphql") == Some(true) {
            headers.push("content-type: application/json".to_owned());
            serde_json::json!({ "query": body }).to_string()
        } else {
            body.clone()
        };
        out.put_open("http.body", &variables(&body));
    }
    out.put_open_list("http.headers", headers);
}

fn client(keys: &mut Tree, kind: Kind, out: &mut Writing) {
    let mut client = keys.table("client");
    if let Some(text) = client.text("timeout") {
        match humantime::parse_duration(&text) {
            Ok(time) if time <= LONGEST => out.put("timeout", time_text(time)),
            Ok(_) | Err(_) => out.leave(
                "client.timeout",
                "at most two minutes; it is ten seconds now",
            ),
        }
    }
    if client.flag("insecure") == Some(true) {
        out.put("tls.insecure", true);
    }
    if kind == Kind::Http {
        let follows = client.flag("ignore-redirect") != Some(true);
        out.put("http.redirects", if follows { 10 } else { 0 });
    }
    out.left.extend(client.rest());
}

/// What must hold.
fn conditions(keys: &mut Tree, kind: Kind, out: &mut Writing) {
    let mut wants = Wants::default();
    for condition in keys.list("conditions").unwrap_or_default() {
        let condition = said(&condition);
        if wants.take(&condition, kind).is_none() {
            out.leave(
                "conditions",
                &format!("`{condition}`: there is nothing like it here"),
            );
        }
    }
    if kind == Kind::Http {
        // There any status will do when none is asked for.
        if let Some((least, most)) = wants.range {
            wants.statuses.push(format!("{least}-{most}"));
        }
        let any = vec!["100-599".to_owned()];
        out.put_list(
            "expect.status",
            if wants.statuses.is_empty() {
                any
            } else {
                wants.statuses
            },
        );
    }
    out.put_list("expect.body_matches", wants.body);
    out.put_list("expect.answer.has", wants.records);
    out.put_list("expect.answer.rcode", wants.rcodes);
    if let Some(under) = wants.under_ms {
        out.put("expect.under", format!("{under}ms"));
    }
    if !wants.json.is_empty() {
        let tables = wants.json.into_iter().map(toml::Value::Table);
        out.lines.push((
            "expect.json".to_owned(),
            toml::Value::Array(tables.collect()),
        ));
    }
}

/// Conditions in our words.
#[derive(Default)]
struct Wants {
    statuses: Vec<String>,
    /// All that hold for the status as a range: conditions are met together.
    range: Option<(u16, u16)>,
    body: Vec<String>,
    json: Vec<toml::Table>,
    records: Vec<String>,
    rcodes: Vec<String>,
    under_ms: Option<u64>,
}

impl Wants {
    /// `None`: there is nothing like it here.
    fn take(&mut self, condition: &str, kind: Kind) -> Option<()> {
        let (left, operator, right) =
            ["==", "!=", "<=", ">=", "<", ">"]
                .into_iter()
                .find_map(|operator| {
                    let (left, right) = condition.split_once(operator)?;
                    Some((left.trim(), operator, right.trim()))
                })?;
        match (left, operator) {
            // A run that does not connect fails.
            ("[CONNECTED]", "==") if right == "true" => {}
            ("[STATUS]", "==") if self.statuses.is_empty() && self.range.is_none() => {
                self.statuses = alternatives(right);
            }
            ("[STATUS]", _) if operator != "==" && self.statuses.is_empty() => {
                let (least, most) = statuses(operator, right)?;
                let (lower, upper) = self.range.unwrap_or((100, 599));
                self.range = Some((least.max(lower), most.min(upper)));
            }
            ("[RESPONSE_TIME]", "<" | "<=") => {
                let ms: u64 = right.parse().ok()?;
                self.under_ms = Some(self.under_ms.map_or(ms, |other| other.min(ms)));
            }
            ("[DNS_RCODE]", "==") if self.rcodes.is_empty() => self.rcodes = alternatives(right),
            ("[BODY]", "==") if kind == Kind::Dns && !right.contains('(') => {
                self.records.push(right.to_owned());
            }
            ("[BODY]", "==") => self.body.push(pattern(right)),
            (_, "==") => self.json.push(json(left, right)?),
            _ => return None,
        }
        Some(())
    }
}

/// The statuses that fulfil a comparison, from and to.
fn statuses(operator: &str, right: &str) -> Option<(u16, u16)> {
    let number: u16 = right.parse().ok().filter(|it| (101..=598).contains(it))?;
    Some(match operator {
        "<" => (100, number - 1),
        "<=" => (100, number),
        ">" => (number + 1, 599),
        ">=" => (number, 599),
        _ => return None,
    })
}

/// `any(a, b)`, or the one that is written.
fn alternatives(text: &str) -> Vec<String> {
    let inner = text
        .strip_prefix("any(")
        .and_then(|text| text.strip_suffix(')'));
    match inner {
        Some(inner) => inner.split(',').map(|one| one.trim().to_owned()).collect(),
        None => vec![text.to_owned()],
    }
}

/// All of a text as a regular expression: `pat(…)` with `*` for anything, `any(…)`, or the text itself.
fn pattern(text: &str) -> String {
    let glob = text
        .strip_prefix("pat(")
        .and_then(|text| text.strip_suffix(')'));
    let inner = if let Some(glob) = glob {
        let parts: Vec<String> = glob.split('*').map(regex::escape).collect();
        parts.join(".*")
    } else {
        let each = alternatives(text);
        let each: Vec<String> = each.iter().map(|one| regex::escape(one)).collect();
        each.join("|")
    };
    format!("^(?s:{inner})$")
}

/// `[BODY].a == b`, `len([BODY].a) == 1`, `has([BODY].a) == true`.
fn json(left: &str, right: &str) -> Option<toml::Table> {
    let mut table = toml::Table::new();
    let inside = |function: &str| left.strip_prefix(function)?.strip_suffix(')');
    if let Some(inner) = inside("len(") {
        let count: i64 = right.parse().ok()?;
        table.insert("path".to_owned(), format!("{}[*]", path(inner)?).into());
        table.insert("count".to_owned(), count.into());
    } else if let Some(inner) = inside("has(") {
        table.insert("path".to_owned(), path(inner)?.into());
        match right {
            "true" => {}
            "false" => drop(table.insert("count".to_owned(), 0.into())),
            _ => return None,
        }
    } else {
        table.insert("path".to_owned(), path(left)?.into());
        let is_plain = !right.starts_with("pat(") && !right.starts_with("any(");
        let (key, value) = if is_plain {
            ("equals", right.to_owned())
        } else {
            ("matches", pattern(right))
        };
        table.insert(key.to_owned(), super::table::escaped(&value).into());
    }
    Some(table)
}

/// Where in the body, as RFC 9535 writes it.
fn path(text: &str) -> Option<String> {
    let rest = text.strip_prefix("[BODY]")?;
    let begins = rest.starts_with(['.', '[']);
    begins.then(|| format!("${rest}"))
}

/// `$NAME` and `${NAME}` are variables there, too.
fn variables(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let word = |text: &str| {
            let word = text
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_');
            word.count()
        };
        rest = after;
        if let Some(braced) = after.strip_prefix('{')
            && let Some((name, left)) = braced.split_once('}')
            && word(name) == name.len()
        {
            out.extend(["${", name, "}"]);
            rest = left;
        } else if let Some(left) = after.strip_prefix('$') {
            out.push_str("$$");
            rest = left;
        } else if let Some((name, left)) = after.split_at_checked(word(after))
            && !name.is_empty()
        {
            out.extend(["${", name, "}"]);
            rest = left;
        } else {
            out.push_str("$$");
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::import;
    use crate::config::synthetic::{self, Taken};
    use crate::probe::definition::{JsonWants, StartTls, Target};

    #[test]
    fn endpoints_become_probes_and_the_rest_is_said() {
        let imported = import(
            Path::new("config.yaml"),
            r#"
alerting: {slack: {webhook-url: "https://x"}}
endpoints:
  - name: front door
    group: core
    url: "https://shop.example/health?a=$A"
    interval: 1m
    headers: {X-Token: "${TOKEN}"}
    alerts: [{type: slack}]
    client: {timeout: 5s, insecure: true, ignore-redirect: true}
    conditions:
      - "[STATUS] == any(200, 204)"
      - "[STATUS] < 500"
      - "[BODY].status == UP"
      - "[BODY].name == pat(shop*)"
      - "len([BODY].items) == 2"
      - "has([BODY].errors) == false"
      - "[RESPONSE_TIME] < 300"
      - "[CERTIFICATE_EXPIRATION] > 48h"
  - name: name
    url: "192.0.2.1"
    dns: {query-name: "shop.example.", query-type: "A"}
    conditions: ["[BODY] == 192.0.2.7", "[DNS_RCODE] == NOERROR"]
  - name: mail
    url: "starttls://mail.example:25"
    conditions: ["[CONNECTED] == true"]
  - name: any
    url: "http://a.example"
    enabled: false
    conditions: ["[STATUS] >= 200", "[STATUS] < 300"]
  - name: shell
    url: "ssh://a.example:22"
"#,
        )
        .unwrap();
        assert_eq!(
            imported.left_out,
            [
                "endpoint core.front-door: conditions: `[STATUS] < 500`: there is nothing like it here",
                "endpoint core.front-door: conditions: `[CERTIFICATE_EXPIRATION] > 48h`: there is nothing like it here",
                "endpoint core.front-door: alerts: there is nothing like it here",
                "endpoint shell: all of it: there is no probe for \"ssh://a.example:22\" here",
                "the file: alerting: there is nothing like it here",
            ]
        );
        let env = |name: &str| Some(format!("v-{name}"));
        let taken = Taken::default();
        let read = synthetic::parse_probes("", &imported.toml, Path::new(""), &taken, &env);
        let probes = read
            .unwrap_or_else(|report| panic!("{}\n{}", report.render(false), imported.toml))
            .probes;
        let [front, name, mail, any] = probes.as_slice() else {
            panic!("{}", imported.toml)
        };
        let Target::Http(url) = &front.target else {
            panic!()
        };
        assert_eq!(url.target, "/health?a=v-A");
        assert_eq!(front.manner.http.headers[0].1, "v-TOKEN");
        assert_eq!(
            (front.every.as_secs(), front.manner.timeout.as_secs()),
            (60, 5)
        );
        assert_eq!(front.manner.http.redirects, 0);
        let expect = &front.manner.expect;
        assert_eq!(expect.under, Some(Duration::from_millis(300)));
        let statuses: Vec<_> = expect.statuses.iter().map(ToString::to_string).collect();
        assert_eq!(statuses, ["200", "204"]);
        let json: Vec<_> = expect
            .json
            .iter()
            .map(|it| (it.path.as_str(), &it.wants))
            .collect();
        assert_eq!(json[0], ("$.status", &JsonWants::Equals("UP".to_owned())));
        assert!(matches!(json[1], ("$.name", JsonWants::Matches(_))));
        assert_eq!(json[2], ("$.items[*]", &JsonWants::Count(2)));
        assert_eq!(json[3], ("$.errors", &JsonWants::Count(0)));
        assert_eq!(name.manner.expect.answer.has, ["192.0.2.7"]);
        assert_eq!(name.manner.question.name, "shop.example");
        assert_eq!(mail.manner.dialogue.starttls, Some(StartTls::Smtp));
        assert!(
            any.paused
                && any.manner.expect.statuses == [crate::probe::definition::Statuses::SUCCESS]
        );
        assert_eq!(any.manner.http.redirects, 10);
    }
}
