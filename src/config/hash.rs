//! One short word for what a configuration says, so that instances that should run the same can be compared.
//!
//! It is made of what was resolved, so neither comments, order of keys, spelling of durations nor defaults that are
//! written out change it. Left out is what differs between instances of one configuration: the instance's name, the
//! directory that the file is in, and how many worker threads it has, which is as many as cores where nobody says otherwise. So are values of headers, which are secrets
//! and do not print. What files that it names contain, such
//! as certificates, is not part of it.

use std::fmt::Write as _;
use std::path::Path;

use ring::digest::{SHA256, digest};

use super::Resolved;
use crate::export;

/// The first 64 bits of a SHA-256, in hexadecimal digits. Another version of Vestibule may give another word for the same
/// file.
pub(super) fn of(resolved: &Resolved, base: &Path) -> String {
    let Resolved {
        proxy,
        acme,
        revocation,
        store,
        admin,
        access_log,
        otlp,
        slos,
        policies,
        receivers,
        links,
        sloth,
        probes,
        names,
        instance: _,
        hash: _,
        source: _,
        warnings: _,
        socket_is_default: _,
        key_is_default: _,
    } = resolved;
    let otlp = shared(otlp);
    let mut proxy = proxy.clone();
    proxy.workers = 0;
    let mut text = String::new();
    // What is derived says everything that a part is told, of fields to come as well.
    write!(
        text,
        "{proxy:?}{acme:?}{revocation:?}{store:?}{admin:?}{access_log:?}{otlp:?}{slos:?}{policies:?}{receivers:?}{links:?}{sloth:?}{probes:?}{names:?}"
    )
    .expect("writing to a string cannot fail");
    if !base.as_os_str().is_empty() {
        text = text.replace(&format!("\"{}/", base.display()), "\"");
    }
    let digest = digest(&SHA256, text.as_bytes());
    let mut word = String::new();
    for byte in &digest.as_ref()[..8] {
        write!(word, "{byte:02x}").expect("writing to a string cannot fail");
    }
    word
}

/// What instances have alike.
fn shared(otlp: &export::otlp::Config) -> export::otlp::Config {
    let mut shared = otlp.clone();
    shared
        .resource
        .retain(|(key, _)| key != "service.instance.id" && key != "host.name");
    shared
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    use super::*;

    const FILE: &str = "[[listener]]\nname = 'l'\naddress = '127.0.0.1:0'\n\
        [[upstream]]\nname = 'u'\nendpoints = ['http://127.0.0.1:1']\n\
        [[route]]\nid = 'r'\nupstream = 'u'\n";

    fn hash(text: &str, base: &str) -> String {
        let env = |name: &str| (name == "TOKEN").then(|| base.to_owned());
        let resolved = parse("f", text, Path::new(base), &env);
        let resolved = resolved.unwrap_or_else(|report| panic!("{}", report.render(false)));
        resolved.hash
    }

    #[test]
    fn what_means_the_same_has_the_same_hash() {
        let known = hash(FILE, "/a");
        assert_eq!(known.len(), 16);
        for (text, base) in [
            (FILE.to_owned(), "/a"),
            (FILE.to_owned(), "/somewhere/else"),
            (format!("# a word\n{FILE}"), "/a"),
            (format!("{FILE}[instance]\nname = 'other'\n"), "/a"),
            (
                FILE.replace("id = 'r'\nupstream = 'u'", "upstream = 'u'\nid = 'r'"),
                "/a",
            ),
            (format!("{FILE}[proxy]\ndrain = '30s'\n"), "/a"),
        ] {
            assert_eq!(hash(&text, base), known, "{text}");
        }
        let secret = "[otlp]\nendpoint = 'http://c:4318'\nheaders = ['authorization=${TOKEN}']\n";
        let with_secret = format!("{FILE}{secret}");
        assert_eq!(hash(&with_secret, "/a"), hash(&with_secret, "/b"));
    }

    #[test]
    fn what_means_something_else_has_another_hash() {
        let known = hash(FILE, "/a");
        for (from, to) in [
            ("http://127.0.0.1:1", "http://127.0.0.1:2"),
            ("id = 'r'", "id = 's'"),
            ("upstream = 'u'\n", "upstream = 'u'\nmethods = ['GET']\n"),
        ] {
            let text = FILE.replacen(from, to, 1);
            assert_ne!(hash(&text, "/a"), known, "{text}");
        }
        let slow = format!("{FILE}[proxy]\ndrain = '31s'\n");
        assert_ne!(hash(&slow, "/a"), known);
    }
}
