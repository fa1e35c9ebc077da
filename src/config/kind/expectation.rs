//! Kinds of what probes ask and expect.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue};

use super::Refusal;
use super::text::Text;
use crate::config::finding::did_you_mean;
use crate::model::ProbeFailure;
use crate::probe::definition::{
    JsonPath, Pattern, Statuses, Target, Template, Url, Writing, is_name,
};
use crate::probe::maintenance::Maintenance;

/// What a probe is aimed at.
pub(in crate::config) const TARGET: Text<Target> = Text {
    expects: "a target like `https://shop.example/health`, `tcp://db.example:5432` or `dns://192.0.2.1`",
    pattern: Some(r"(https?|tcp|tls|dns|grpcs?|wss?|icmp)://[^/?#@ ]+.*"),
    read: |text| {
        // Not quoted: whoever writes a user name here writes a password beside it.
        if text
            .split(['/', '?'])
            .nth(2)
            .is_some_and(|authority| authority.contains('@'))
        {
            return Err(
                Refusal::invalid("a target has no user name and no password")
                    .help("name them apart: `http.user` and `http.password_file`"),
            );
        }
        Target::parse(text).ok_or_else(|| {
            let help = match text.split_once("://") {
                Some(("tcp" | "tls" | "grpc" | "grpcs", _)) => {
                    "after the scheme write a host and a port, and no more"
                }
                Some(("dns", _)) => "after dns:// write a server, perhaps with a port",
                Some(("icmp", _)) => "after icmp:// write a host, and no more",
                Some(("http" | "https" | "ws" | "wss", _)) => "after the scheme write a host",
                _ => {
                    "begin with https://, http://, tcp://, tls://, dns://, grpc://, grpcs://, ws://, wss:// or \
                     icmp://, then a host"
                }
            };
            Refusal::invalid(format!("`{text}` is no target")).help(help)
        })
    },
    write: ToString::to_string,
};

/// Any text.
pub(in crate::config) const TEXT: Text<String> = Text {
    expects: "a text of 1 to 65536 bytes",
    pattern: None,
    read: |text| {
        if (1..=64 << 10).contains(&text.len()) {
            Ok(text.to_owned())
        } else {
            Err(Refusal::invalid("it is empty, or longer than 65536 bytes"))
        }
    },
    write: Clone::clone,
};

/// A header to send.
pub(in crate::config) const HEADER: Text<(HeaderName, HeaderValue)> = Text {
    expects: "a header like `Accept-Language: de`",
    pattern: Some(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+:.*"),
    read: |text| {
        let (name, value) = header(text)?;
        let value: HeaderValue = value.parse().ok().ok_or_else(|| {
            // Not quoted: it may be a secret.
            Refusal::invalid(format!("the value of `{name}` holds what no header may"))
        })?;
        Ok((name, value))
    },
    write: |(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())),
};

/// A header's name alone.
pub(in crate::config) const FIELD_NAME: Text<HeaderName> = Text {
    expects: "the name of a header like `location`",
    pattern: Some(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"),
    read: |text| {
        let name = text.parse();
        name.map_err(|_odd| Refusal::invalid(format!("`{text}` is no header's name")))
    },
    write: ToString::to_string,
};

/// Where a step of a journey leads.
pub(in crate::config) const STEP_TARGET: Text<String> = Text {
    expects: "a path like `/orders/{{id}}`, or a URL of http or https",
    pattern: Some(r"(/|https?://|\{\{).*"),
    read: |text| {
        // Values are not known yet; whatever they are, the rest must be one.
        let any = Template(text)
            .names()
            .map(|name| (name.to_owned(), "x".to_owned()));
        let filled = Template(text).filled(&any.collect(), Writing::Url);
        let filled = filled.unwrap_or_default();
        let absolute = match filled.strip_prefix('x').filter(|_| text.starts_with("{{")) {
            Some(rest) => format!("http://x/{rest}"),
            None if filled.starts_with('/') => format!("http://x{filled}"),
            None => filled,
        };
        if Url::parse(&absolute).is_some() && text.len() <= 8 << 10 {
            Ok(text.to_owned())
        } else {
            Err(
                Refusal::invalid("it is neither a path nor a URL of http or https")
                    .help("begin it with `/`, `http://`, `https://` or a captured `{{url}}`"),
            )
        }
    },
    write: Clone::clone,
};

/// The name of a captured value.
pub(in crate::config) const CAPTURE: Text<String> = Text {
    expects: "a name of letters, digits and `_`, which begins with no digit",
    pattern: Some("[A-Za-z_][A-Za-z0-9_]{0,63}"),
    read: |text| {
        if is_name(text) {
            Ok(text.to_owned())
        } else {
            Err(Refusal::invalid(format!(
                "`{text}` cannot be the name of a value"
            )))
        }
    },
    write: Clone::clone,
};

/// A header that is expected, and what it contains.
pub(in crate::config) const HEADER_TEXT: Text<(HeaderName, String)> = Text {
    expects: "a header and a text that it contains, like `content-type: text/html`",
    pattern: HEADER.pattern,
    read: |text| {
        let (name, value) = header(text)?;
        Ok((name, value.to_owned()))
    },
    write: |(name, text)| format!("{name}: {text}"),
};

fn header(text: &str) -> Result<(HeaderName, &str), Refusal> {
    let (name, value) = text.split_once(':').ok_or_else(|| {
        Refusal::invalid("a header has a colon after its name").help("write \"Name: value\"")
    })?;
    let parsed: Option<HeaderName> = name.trim().parse().ok();
    let name = parsed.ok_or_else(|| Refusal::invalid(format!("`{name}` is no header's name")))?;
    Ok((name, value.trim()))
}

/// Statuses that are expected.
pub(in crate::config) const STATUSES: Text<Statuses> = Text {
    expects: "a status like `204`, a class like `2xx` or a range like `200-206`",
    pattern: Some(r"\d{3}|[1-5]xx|\d{3}-\d{3}"),
    read: |text| {
        Statuses::parse(text).ok_or_else(|| {
            Refusal::invalid(format!("`{text}` is no status")).help("statuses go from 100 to 599")
        })
    },
    write: ToString::to_string,
};

/// A regular expression.
pub(in crate::config) const PATTERN: Text<Pattern> = Text {
    expects: "a regular expression (syntax of the Rust crate `regex`, which is near RE2's)",
    pattern: None,
    read: |text| {
        Pattern::try_new(text).map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            let why = last.strip_prefix("error: ").unwrap_or(last);
            Refusal::invalid(format!("this is no regular expression: {why}"))
                .help("in TOML, write it between single quotes, so that a backslash is one")
        })
    },
    write: |pattern| pattern.as_str().to_owned(),
};

/// A header, and a regular expression over its value.
pub(in crate::config) const HEADER_PATTERN: Text<(HeaderName, Pattern)> = Text {
    expects: "a header and a regular expression over its value, like `location: ^https://`",
    pattern: HEADER.pattern,
    read: |text| {
        let (name, value) = header(text)?;
        Ok((name, (PATTERN.read)(value)?))
    },
    write: |(name, pattern)| format!("{name}: {}", pattern.as_str()),
};

/// A query of a JSON document.
pub(in crate::config) const JSON_PATH: Text<JsonPath> = Text {
    expects: "a JSONPath (RFC 9535) like `$.checks[?@.up == false]`",
    pattern: Some(r"\$.*"),
    read: |text| {
        JsonPath::try_new(text).map_err(|error| {
            Refusal::invalid(format!("`{text}` is no JSONPath: {}", error.message()))
                .help("it begins with `$`, the whole document; RFC 9535 says how it goes on")
        })
    },
    write: |path| path.as_str().to_owned(),
};

/// A span of time in which nobody expects a probe to be well.
pub(in crate::config) const MAINTENANCE: Text<Maintenance> = Text {
    expects: "a span like `Sun 02:00-04:00`, `Mon-Fri 22:00-06:00` or `2026-12-01T00:00:00Z/2026-12-01T06:00:00Z`, in UTC",
    pattern: None,
    read: |text| {
        Maintenance::parse(text).ok_or_else(|| {
            Refusal::invalid(format!("`{text}` is no span of time")).help(
                "write days and hours (`Sun 02:00-04:00`), or two instants (`FROM/TO`, as 2026-12-01T00:00:00Z), in UTC",
            )
        })
    },
    write: ToString::to_string,
};

/// An IP address.
pub(in crate::config) const IP: Text<IpAddr> = Text {
    expects: "an IP address",
    pattern: Some(r"[0-9A-Fa-f.:]+"),
    read: |text| {
        let parsed = text.parse();
        parsed.map_err(|_none| Refusal::invalid(format!("`{text}` is no IP address")))
    },
    write: ToString::to_string,
};

/// A type of DNS records.
pub(in crate::config) const RECORD_TYPE: Text<String> = Text {
    expects: "a type of DNS records like `A`, `AAAA`, `MX` or `SOA`",
    pattern: Some("[A-Z0-9-]+"),
    read: |text| {
        let known: Result<hickory_proto::rr::RecordType, _> = text.parse();
        match known {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err(Refusal::invalid(format!(
                "`{text}` is no type of DNS records"
            ))),
        }
    },
    write: Clone::clone,
};

/// A name that a resolver is asked for.
pub(in crate::config) const DOMAIN: Text<String> = Text {
    expects: "a domain name like `shop.example`",
    pattern: None,
    read: |text| match hickory_proto::rr::Name::from_ascii(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(Refusal::invalid(format!("`{text}` is no domain name"))),
    },
    write: Clone::clone,
};

/// A response code of DNS.
pub(in crate::config) const RCODE: Text<String> = Text {
    expects: "a response code of DNS like `NOERROR` or `NXDOMAIN`",
    pattern: Some("[A-Z]+"),
    read: |text| {
        const KNOWN: [&str; 11] = [
            "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN",
            "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE",
        ];
        if KNOWN.contains(&text) {
            return Ok(text.to_owned());
        }
        let refusal = Refusal::invalid(format!("`{text}` is no response code of DNS"));
        Err(match did_you_mean(text, KNOWN) {
            Some(meant) => refusal.help(format!("did you mean \"{meant}\"?")),
            None => refusal,
        })
    },
    write: Clone::clone,
};

/// Why a negative test is to fail.
pub(in crate::config) const FAILURE: Text<ProbeFailure> = Text {
    expects: "a probe's failure, like `connect_refused` (docs/probes.md lists them)",
    pattern: Some("[a-z_]+"),
    read: |text| {
        ProbeFailure::parse(text).ok_or_else(|| {
            let refusal = Refusal::invalid(format!("`{text}` is no failure of a probe"));
            let known = ProbeFailure::ALL.iter().map(|failure| failure.as_str());
            match did_you_mean(text, known) {
                Some(meant) => refusal.help(format!("did you mean \"{meant}\"?")),
                None => refusal.help("docs/probes.md lists them"),
            }
        })
    },
    write: |failure| failure.as_str().to_owned(),
};

/// A share of a whole, in thousandths.
pub(in crate::config) const SHARE: Text<u32> = Text {
    expects: "a share like `33%` or `7.5%`, above 0% and below 100%",
    pattern: Some(r"\d{1,2}(\.\d)?%"),
    read: |text| {
        let parse = || {
            let number = text.strip_suffix('%')?;
            let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
            let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            if tenth.len() != 1 || whole.len() > 2 || !plain(whole) || !plain(tenth) {
                return None;
            }
            let share = whole.parse::<u32>().ok()? * 10 + tenth.parse::<u32>().ok()?;
            (share > 0).then_some(share)
        };
        parse().ok_or_else(|| {
            Refusal::invalid(format!("`{text}` is no share"))
                .help("write it with a percent sign and at most one digit after the point")
        })
    },
    write: |share| match (share / 10, share % 10) {
        (whole, 0) => format!("{whole}%"),
        (whole, tenth) => format!("{whole}.{tenth}%"),
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_scheme_and_a_place() {
        for text in [
            "https://shop.example/health?x=1",
            "tcp://[::1]:5432",
            "tls://mail.example:993",
        ] {
            assert_eq!((TARGET.read)(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "shop.example",
            "tcp://a",
            "tcp://a:1/x",
            "tls://:1",
            "udp://a:1",
            "https://u:p@a/",
            "ftp://a",
        ] {
            assert!((TARGET.read)(text).is_err(), "{text}");
        }
        let refusal = (TARGET.read)("https://me:secret@a/").unwrap_err();
        assert!(!format!("{refusal:?}").contains("secret"));
    }

    #[test]
    fn shares_are_read_to_the_thousandth() {
        for (text, share) in [("33%", 330), ("7.5%", 75), ("0.1%", 1), ("99.9%", 999)] {
            assert_eq!((SHARE.read)(text), Ok(share));
            assert_eq!((SHARE.write)(&share), text);
        }
        for text in ["", "%", "33", "100%", "0%", "1.23%", "-1%", "+1%", "1.%"] {
            assert!((SHARE.read)(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_that_is_none_says_why_in_one_line() {
        let refusal = (PATTERN.read)("a(b").unwrap_err();
        assert_eq!(
            refusal.message,
            "this is no regular expression: unclosed group"
        );
    }
}
