//! Kinds that are written as a string.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use http::{HeaderName, HeaderValue, Uri};
use serde_json::Value;

use super::{Kind, Refusal, Scalar, quoted, string_schema};
use crate::config::code::Code;
use crate::config::finding::did_you_mean;
use crate::config::lint::Lint;
use crate::export::accesslog;
use crate::model::{ClientErrors, Objective, Zone};
use crate::proxy::config::{HeaderEdits, HeaderLine, Network};
use crate::routing::condition::{HeaderCondition, QueryCondition};
use crate::routing::pattern::{HostPattern, PathPattern};
use crate::slo::policy::Share;

mod receiver;
mod upstream;

pub(in crate::config) use receiver::{
    ATTRIBUTE, HEADER_PAIR, RECEIVER, ReceiverUrl, read_header, read_receiver,
};
pub(in crate::config) use upstream::{ENDPOINT, HASH_KEY, LIMIT_KEY, RATE};

/// A kind whose values are read from a string and written back to one.
pub(in crate::config) struct Text<T> {
    pub(super) expects: &'static str,
    /// A regular expression that every such string matches.
    pub(super) pattern: Option<&'static str>,
    pub(super) read: fn(&str) -> Result<T, Refusal>,
    pub(super) write: fn(&T) -> String,
}

impl<T: PartialEq> Kind for Text<T> {
    type Value = T;

    fn expects(&self) -> String {
        self.expects.to_owned()
    }

    fn schema(&self) -> Value {
        string_schema(self.pattern)
    }

    fn read(&self, scalar: Scalar<'_>) -> Result<T, Refusal> {
        match scalar {
            Scalar::Text(text) => (self.read)(text),
            other => Err(Refusal::wrong_type(other, self)),
        }
    }

    fn write(&self, value: &T) -> String {
        quoted((self.write)(value))
    }
}

/// The name of a thing: it becomes a label, a word in alerts and part of an URL.
pub(in crate::config) const NAME: Text<String> = Text {
    expects: "a name of 1 to 64 letters, digits, `.`, `_` or `-`",
    pattern: Some("[A-Za-z0-9._-]{1,64}"),
    read: |text| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if (1..=64).contains(&text.len()) && text.chars().all(fits) {
            Ok(text.to_owned())
        } else {
            Err(Refusal::invalid(format!("`{text}` is not a name"))
                .help("use 1 to 64 letters, digits, `.`, `_` or `-`"))
        }
    },
    write: Clone::clone,
};

/// A name that is also a directory's, which must not lead out of where it is.
pub(in crate::config) const FOLDER_NAME: Text<String> = Text {
    expects: "a name of 1 to 64 letters, digits, `.`, `_` or `-`, with no `.` first",
    pattern: Some("[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}"),
    read: |text| {
        if text.starts_with('.') {
            return Err(
                Refusal::invalid(format!("`{text}` is not a name: it begins with a `.`"))
                    .help("a directory is called so; begin with a letter or a digit"),
            );
        }
        (NAME.read)(text)
    },
    write: Clone::clone,
};

/// A variable of the environment.
pub(in crate::config) const VARIABLE: Text<String> = Text {
    expects: "the name of a variable of the environment",
    pattern: Some("[A-Za-z_][A-Za-z0-9_]{0,127}"),
    read: |text| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_first_fine = !text.starts_with(|c: char| c.is_ascii_digit());
        if (1..=128).contains(&text.len()) && is_first_fine && text.chars().all(fits) {
            Ok(text.to_owned())
        } else {
            Err(
                Refusal::invalid(format!("`{text}` is not the name of a variable"))
                    .help("use letters, digits and `_`, without `$`"),
            )
        }
    },
    write: Clone::clone,
};

/// A person, a team or a channel.
pub(in crate::config) const OWNER: Text<String> = Text {
    expects: "a text of 1 to 128 characters on one line",
    pattern: Some(".{1,128}"),
    read: |text| {
        if (1..=128).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
            Ok(text.to_owned())
        } else {
            Err(Refusal::invalid(format!(
                "`{text}` is not one line of 1 to 128 characters"
            )))
        }
    },
    write: Clone::clone,
};

/// Whom a certificate authority may write to (RFC 8555, 7.3).
pub(in crate::config) const CONTACT: Text<String> = Text {
    expects: "an address like `mailto:ops@example.org`",
    pattern: Some("mailto:[^@ ,?]+@[^@ ,?]+"),
    read: |text| {
        let plain = |part: &str| {
            !part.is_empty() && !part.contains(|c: char| c.is_control() || " ,?@".contains(c))
        };
        let address = text.strip_prefix("mailto:");
        let parts = address.and_then(|address| address.split_once('@'));
        match parts {
            Some((local, domain)) if plain(local) && plain(domain) && text.len() <= 256 => {
                Ok(text.to_owned())
            }
            _ => Err(
                Refusal::invalid(format!("`{text}` is not an address to write to"))
                    .help("write it like \"mailto:ops@example.org\""),
            ),
        }
    },
    write: Clone::clone,
};

/// A lint.
pub(in crate::config) const LINT: Text<Lint> = Text {
    expects: "the id of a lint like `R005`",
    pattern: Some("[RLTSO][0-9]{3}"),
    read: |text| text.parse().map_err(Refusal::invalid),
    write: |lint| lint.id().to_owned(),
};

/// A page for people.
pub(in crate::config) const WEB_PAGE: Text<String> = Text {
    expects: "a URL like `https://wiki.example/runbook`",
    pattern: Some("https?://.+"),
    read: |text| {
        let refuse = || {
            Refusal::invalid(format!("`{text}` is not a URL"))
                .help("begin with https:// or http:// and a host")
        };
        // The fragment is checked with the rest: a parsed `Uri` has lost it.
        let uri: Uri = text.parse().ok().ok_or_else(refuse)?;
        let web = matches!(uri.scheme_str(), Some("https" | "http"));
        if web && uri.host().is_some_and(|host| !host.is_empty()) && text.len() <= 2_048 {
            Ok(text.to_owned())
        } else {
            Err(refuse())
        }
    },
    write: Clone::clone,
};

/// A service that is asked over HTTP.
pub(in crate::config) const SERVICE: Text<Uri> = Text {
    expects: "a URL like `https://alertmanager.example:9093`",
    pattern: Some("https?://.+"),
    read: |text| {
        // Not quoted: it may be a secret.
        let refuse = || {
            Refusal::invalid("this is not a URL".to_owned())
                .help("begin with https:// or http:// and a host")
        };
        let uri: Uri = text.parse().ok().ok_or_else(refuse)?;
        let web = matches!(uri.scheme_str(), Some("https" | "http"));
        if web && uri.host().is_some_and(|host| !host.is_empty()) {
            Ok(uri)
        } else {
            Err(refuse())
        }
    },
    write: ToString::to_string,
};

/// A file or directory.
pub(in crate::config) const FILE: Text<PathBuf> = Text {
    expects: "a path, relative to the directory of the configuration file",
    pattern: Some(".+"),
    read: read_path,
    write: |path| path.display().to_string(),
};

fn read_path(text: &str) -> Result<PathBuf, Refusal> {
    if text.is_empty() || text.contains('\0') {
        Err(Refusal::invalid(format!("`{text}` is not a path")))
    } else {
        Ok(PathBuf::from(text))
    }
}

/// Where access lines go.
pub(in crate::config) const ACCESS_LOG: Text<accesslog::Config> = Text {
    expects: "`off`, `stdout` or the path of a file",
    pattern: Some(".+"),
    read: |text| match text {
        "off" => Ok(accesslog::Config::Off),
        "stdout" => Ok(accesslog::Config::Stdout),
        // `stduot` is more likely a slip than a file's name.
        word if !word.contains(['/', '.']) => {
            let refusal = Refusal::invalid(format!(
                "`{word}` is neither `off` nor `stdout`, nor does it look like a path"
            ));
            Err(match did_you_mean(word, ["off", "stdout"]) {
                Some(meant) => refusal.help(format!("did you mean \"{meant}\"?")),
                None => refusal.help(format!("for a file of that name write \"./{word}\"")),
            })
        }
        path => read_path(path).map(accesslog::Config::File),
    },
    write: |output| match output {
        accesslog::Config::Off => "off".to_owned(),
        accesslog::Config::Stdout => "stdout".to_owned(),
        accesslog::Config::File(path) => path.display().to_string(),
    },
};

/// A socket address.
pub(in crate::config) const ADDRESS: Text<SocketAddr> = Text {
    expects: "an address and a port like `0.0.0.0:8080` or `[::]:8443`",
    pattern: Some(r"[0-9.]+:\d+|\[[0-9A-Fa-f:.%]+\]:\d+"),
    read: read_address,
    write: ToString::to_string,
};

fn read_address(text: &str) -> Result<SocketAddr, Refusal> {
    text.parse().ok().ok_or_else(|| {
        let refusal = Refusal::invalid(format!("`{text}` is not an address and a port"));
        let port = text.trim_start_matches(['*', ':']);
        if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) {
            refusal.help(format!(
                "for every address write \"0.0.0.0:{port}\" or \"[::]:{port}\""
            ))
        } else if let Some(port) = text.strip_prefix("localhost:") {
            refusal.help(format!(
                "names are not looked up here: write \"127.0.0.1:{port}\""
            ))
        } else {
            refusal.help("write it like \"0.0.0.0:8080\" or \"[::]:8443\"")
        }
    })
}

/// A socket address that only this machine reaches.
pub(in crate::config) const LOOPBACK: Text<SocketAddr> = Text {
    expects: "a loopback address and a port like `127.0.0.1:9190`",
    pattern: Some(r"127\.[0-9.]+:\d+|\[::1\]:\d+"),
    read: |text| {
        let address = read_address(text)?;
        if address.ip().is_loopback() {
            Ok(address)
        } else {
            let message = format!(
                "`{text}` is not a loopback address: the admin API has no authentication, so only this machine may \
                 reach it"
            );
            Err(Refusal::new(Code::Loopback, message).help(format!(
                "listen on \"127.0.0.1:{}\", and put a proxy with authentication in front of it",
                address.port()
            )))
        }
    },
    write: ToString::to_string,
};

/// A host or every host below a domain.
pub(in crate::config) const HOST: Text<HostPattern> = Text {
    expects: "a host like `shop.example` or `*.shop.example`",
    pattern: Some(r"(\*\.)?[A-Za-z0-9.-]+"),
    read: |text| {
        text.parse().map_err(|error| {
            let refusal = Refusal::invalid(error);
            match text.rsplit_once(':') {
                Some((host, _)) => refusal.help(format!(
                    "a route takes a host on every port: write \"{host}\""
                )),
                None if text == "*" => refusal.help("leave `hosts` out to take every host"),
                None => refusal,
            }
        })
    },
    write: ToString::to_string,
};

/// The name that a server's certificate is verified for.
pub(in crate::config) const SERVER_NAME: Text<String> = Text {
    expects: "a host name or an address",
    pattern: Some("[A-Za-z0-9.:-]+"),
    read: |text| {
        if text.parse::<IpAddr>().is_ok() {
            return Ok(text.to_owned());
        }
        match text.parse() {
            Ok(HostPattern::Exact(host)) => Ok(host),
            Ok(HostPattern::Below(_)) => Err(Refusal::invalid(format!(
                "`{text}` is not one name: a wildcard stands for many"
            ))),
            Err(error) => Err(Refusal::invalid(error)),
        }
    },
    write: Clone::clone,
};

/// A path and everything below it.
pub(in crate::config) const PATH_PREFIX: Text<PathPattern> = Text {
    expects: "a path like `/api`, which takes everything below it as well",
    pattern: Some("/.*"),
    read: |text| PathPattern::try_prefix(text).map_err(|error| path_refusal(text, &error)),
    write: |path| match path {
        PathPattern::Prefix(path) if path.is_empty() => "/".to_owned(),
        PathPattern::Prefix(path) | PathPattern::Exact(path) => path.clone(),
        PathPattern::Matching(expression) => expression.as_str().to_owned(),
    },
};

/// One path.
pub(in crate::config) const EXACT_PATH: Text<PathPattern> = Text {
    expects: "a path like `/healthz`, which takes nothing below it",
    pattern: Some("/.*"),
    read: |text| PathPattern::try_exact(text).map_err(|error| path_refusal(text, &error)),
    write: PATH_PREFIX.write,
};

/// An expression for whole paths.
pub(in crate::config) const PATH_REGEX: Text<PathPattern> = Text {
    expects: "a regular expression like `/users/[0-9]+/avatar`, which takes whole paths",
    pattern: Some(".+"),
    read: |text| PathPattern::try_matching(text).map_err(|error| path_refusal(text, &error)),
    write: PATH_PREFIX.write,
};

/// A header that a request must have.
pub(in crate::config) const HEADER_CONDITION: Text<HeaderCondition> = Text {
    expects: "a header like `x-canary`, `x-canary: always` or `x-tenant ~ beta-[0-9]+`",
    pattern: Some("[A-Za-z0-9-]+ *([:~].*)?"),
    read: |text| text.parse().map_err(Refusal::invalid),
    write: ToString::to_string,
};

/// A header to be written.
pub(in crate::config) const HEADER_LINE: Text<HeaderLine> = Text {
    expects: "a header and its value like `x-env: production`",
    pattern: Some("[A-Za-z0-9-]+ *:.*"),
    read: |text| {
        let (name, value) = text.split_once(':').ok_or_else(|| {
            Refusal::invalid(format!("`{text}` has no `:` between a name and a value"))
        })?;
        let value = value.trim();
        let refuse = || Refusal::invalid(format!("`{value}` is not the value of a header"));
        Ok(HeaderLine {
            name: read_editable(name.trim())?,
            value: HeaderValue::from_str(value).ok().ok_or_else(refuse)?,
        })
    },
    write: |line| format!("{}: {}", line.name, line.value.to_str().unwrap_or_default()),
};

/// A header to be removed.
pub(in crate::config) const HEADER_NAME: Text<HeaderName> = Text {
    expects: "the name of a header",
    pattern: Some("[A-Za-z0-9-]+"),
    read: read_editable,
    write: ToString::to_string,
};

fn read_editable(text: &str) -> Result<HeaderName, Refusal> {
    let name = HeaderName::from_bytes(text.as_bytes())
        .ok()
        .ok_or_else(|| Refusal::invalid(format!("`{text}` is not the name of a header")))?;
    if HeaderEdits::is_editable(&name) {
        Ok(name)
    } else {
        let message = format!("`{name}` cannot be edited");
        Err(Refusal::invalid(message).help(
            "what frames a message, speaks of one connection or says who the client is stays the proxy's",
        ))
    }
}

/// A query parameter that a request must have.
pub(in crate::config) const QUERY_CONDITION: Text<QueryCondition> = Text {
    expects: "a query parameter like `debug`, `version=2` or `version ~ [0-9]+`",
    pattern: Some(r"[A-Za-z0-9_.\[\]-]+ *([=~].*)?"),
    read: |text| text.parse().map_err(Refusal::invalid),
    write: ToString::to_string,
};

fn path_refusal(text: &str, error: &crate::routing::pattern::PathPatternError) -> Refusal {
    use crate::routing::pattern::PathPatternError::{
        Expression, NeverMatches, OtherForm, Relative,
    };
    let refusal = Refusal::invalid(error);
    match error {
        Relative(_) => refusal.help(format!("write \"/{text}\"")),
        NeverMatches(..) if text.ends_with("/*") => refusal.help("`path` takes everything below"),
        OtherForm(_, form) => refusal.help(format!("write \"{form}\"")),
        Expression(_) | NeverMatches(..) => refusal,
    }
}

/// A request's method.
pub(in crate::config) const METHOD: Text<String> = Text {
    expects: "a method like `GET`",
    pattern: Some("[A-Z][A-Z0-9_-]{0,31}"),
    read: |text| {
        let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if text.len() <= 32
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.chars().all(fits)
        {
            return Ok(text.to_owned());
        }
        let refusal = Refusal::invalid(format!("`{text}` is not a method"));
        Err(if text.chars().any(|c| c.is_ascii_lowercase()) {
            let upper = text.to_ascii_uppercase();
            refusal.help(format!("methods are upper case: write \"{upper}\""))
        } else {
            refusal
        })
    },
    write: Clone::clone,
};

/// A network.
pub(in crate::config) const NETWORK: Text<Network> = Text {
    expects: "a network like `10.0.0.0/8` or `2001:db8::/32`",
    pattern: Some(r"[0-9A-Fa-f:.]+(/\d+)?"),
    read: |text| text.parse().map_err(Refusal::invalid),
    write: ToString::to_string,
};

/// A status of a client's error, or all of them.
pub(in crate::config) const CLIENT_ERRORS: Text<ClientErrors> = Text {
    expects: "a status from `400` to `499`, or `4xx` for all of them",
    pattern: Some("4([0-9]{2}|xx)"),
    read: |text| {
        let refuse = || {
            Refusal::invalid(format!("`{text}` is not a client's error"))
                .help("write a status like \"429\", or \"4xx\"; 5xx count anyway")
        };
        let one = !text.contains(',');
        text.parse().ok().filter(|_| one).ok_or_else(refuse)
    },
    write: ToString::to_string,
};

/// A time zone.
pub(in crate::config) const ZONE: Text<Zone> = Text {
    expects: "an IANA time zone like `Europe/Berlin`",
    pattern: Some("[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*"),
    read: |text| {
        text.parse().map_err(|error| {
            let refusal = Refusal::invalid(error);
            let names = Zone::names();
            match did_you_mean(text, names.iter().map(String::as_str)) {
                Some(name) => refusal.help(format!("did you mean `{name}`?")),
                None => refusal.help("names are those of the IANA database, like `Europe/Berlin`"),
            }
        })
    },
    write: ToString::to_string,
};

/// The share that must be good.
pub(in crate::config) const OBJECTIVE: Text<Objective> = Text {
    expects: "a percentage like `99.9%`, above 0% and below 100%",
    pattern: Some(r"\d{1,2}(\.\d{1,4})? *%"),
    read: |text| {
        text.parse().map_err(|error| {
            let code = match error {
                crate::model::ObjectiveError::OutOfRange(_) => Code::Range,
                crate::model::ObjectiveError::NotAPercentage(_)
                | crate::model::ObjectiveError::TooFine(_) => Code::InvalidValue,
            };
            Refusal::new(code, error)
        })
    },
    write: ToString::to_string,
};

/// A whole share of something that can be used up.
pub(in crate::config) const PERCENT: Text<u8> = Text {
    expects: "a whole percentage like `70%`, from 1% to 99%",
    pattern: Some(r"[1-9]\d? *%"),
    read: |text| {
        let number = text.strip_suffix('%').map(str::trim_end);
        let percent: Option<u64> = number.and_then(|number| number.parse().ok());
        let refuse = |code| {
            Refusal::new(
                code,
                format!("`{text}` is not a whole percentage from 1% to 99%"),
            )
        };
        let percent = percent.ok_or_else(|| refuse(Code::InvalidValue))?;
        u8::try_from(percent)
            .ok()
            .filter(|percent| (1..100).contains(percent))
            .ok_or_else(|| refuse(Code::Range))
    },
    write: |percent| format!("{percent}%"),
};

/// A share of an error budget.
pub(in crate::config) const BUDGET_SHARE: Text<Share> = Text {
    expects: "a share like `2%`, above 0% and at most 100%",
    pattern: Some(r"\d{1,3}(\.\d{1,4})? *%"),
    read: |text| text.parse().map_err(Refusal::invalid),
    write: ToString::to_string,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_not_names() {
        for text in [
            "localhost:80",
            ":80",
            "*:80",
            "80",
            "0.0.0.0",
            "1.2.3.4:70000",
        ] {
            assert!(read_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_misspelt_log_output_is_not_taken_for_a_file() {
        assert!((ACCESS_LOG.read)("stdou").is_err());
        assert!((ACCESS_LOG.read)("access").is_err());
        let file = accesslog::Config::File(PathBuf::from("./access"));
        assert_eq!((ACCESS_LOG.read)("./access"), Ok(file));
    }

    #[test]
    fn only_loopback_is_loopback() {
        for (text, fine) in [
            ("127.0.0.1:9190", true),
            ("[::1]:0", true),
            ("0.0.0.0:9190", false),
            ("10.0.0.1:80", false),
            ("[::]:80", false),
        ] {
            assert_eq!((LOOPBACK.read)(text).is_ok(), fine, "{text}");
        }
    }
}
