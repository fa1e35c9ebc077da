//! The standard variables of OpenTelemetry.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::config::kind::{ReceiverUrl, read_header, read_receiver};
use crate::export::otlp::{Protocol, Signal};

/// A variable that is read, and what it means here. `*` stands for nothing or for one of `METRICS_`, `TRACES_` and
/// `LOGS_`, which win.
const VARIABLES: [(&str, &str); 21] = [
    (
        "OTEL_SDK_DISABLED",
        "`true`: nothing is exported, whatever the file says.",
    ),
    (
        "OTEL_EXPORTER_OTLP_*ENDPOINT",
        "The receiver. Over HTTP the one of all is a base to which `/v1/metrics` and its like are appended. For gRPC it may be a host and port without a scheme.",
    ),
    (
        "OTEL_EXPORTER_OTLP_*INSECURE",
        "`true`: gRPC to an endpoint without a scheme goes without TLS.",
    ),
    (
        "OTEL_EXPORTER_OTLP_*PROTOCOL",
        "`http/protobuf`, the default, or `grpc`. `http/json` is not spoken.",
    ),
    (
        "OTEL_EXPORTER_OTLP_*HEADERS",
        "`name=value,…`, values percent-encoded.",
    ),
    (
        "OTEL_EXPORTER_OTLP_*TIMEOUT",
        "Milliseconds for one attempt; 10000.",
    ),
    (
        "OTEL_EXPORTER_OTLP_*COMPRESSION",
        "`gzip`, which is the default here, or `none`.",
    ),
    (
        "OTEL_EXPORTER_OTLP_*CERTIFICATE",
        "PEM file of the issuers that an https:// receiver is verified by, instead of the system's.",
    ),
    (
        "OTEL_EXPORTER_OTLP_*CLIENT_CERTIFICATE",
        "PEM file of our certificate chain.",
    ),
    ("OTEL_EXPORTER_OTLP_*CLIENT_KEY", "PEM file of its key."),
    ("OTEL_METRICS_EXPORTER", "`otlp` or `none`."),
    ("OTEL_TRACES_EXPORTER", "`otlp` or `none`."),
    (
        "OTEL_LOGS_EXPORTER",
        "`otlp` or `none`. Log records are only exported when this or the file asks for them.",
    ),
    (
        "OTEL_METRIC_EXPORT_INTERVAL",
        "Milliseconds between measurements; 15000.",
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "`cumulative`, the default, or `delta`; `lowmemory` is taken for `delta`.",
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "Only `base2_exponential_bucket_histogram`, which durations always are.",
    ),
    (
        "OTEL_SERVICE_NAME",
        "The resource attribute `service.name`; `vestibule`.",
    ),
    (
        "OTEL_RESOURCE_ATTRIBUTES",
        "`key=value,…`, values percent-encoded. They win over `service.instance.id`, `service.version` and `host.name` as found out.",
    ),
    (
        "OTEL_TRACES_SAMPLER",
        "`always_on`, `always_off`, `traceidratio`, or one of them with `parentbased_`: which of the traces that begin here are exported. A parent's decision always holds.",
    ),
    ("OTEL_TRACES_SAMPLER_ARG", "The share of `traceidratio`."),
    (
        "OTEL_PROPAGATORS",
        "Not read: context is passed on as W3C Trace Context, and other headers as they are.",
    ),
];

/// The table of the standard variables, as Markdown.
pub fn otlp_variables() -> String {
    let mut table = String::from("| variable | what |\n| --- | --- |\n");
    for (name, what) in VARIABLES {
        writeln!(table, "| `{name}` | {what} |").expect("writing to a string cannot fail");
    }
    table
}

/// The process's environment, and what is wrong with it.
pub(super) struct Variables<'e> {
    env: &'e dyn Fn(&str) -> Option<String>,
    complaints: Vec<String>,
}

impl<'e> Variables<'e> {
    pub(super) fn new(env: &'e dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            env,
            complaints: Vec::new(),
        }
    }

    /// What is wrong with those that were read, without their values.
    pub(super) fn into_complaints(self) -> Vec<String> {
        self.complaints
    }

    /// A variable's value. `None`: unset, empty or not understood.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = (self.env)(name)?;
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        match parse(text) {
            Ok(value) => Some(value),
            Err(why) => {
                let complaint = format!("the environment variable {name} is ignored: {why}");
                if !self.complaints.contains(&complaint) {
                    self.complaints.push(complaint);
                }
                None
            }
        }
    }

    /// The variable of one signal, else that of all.
    pub(super) fn of_signal<T>(
        &mut self,
        signal: Signal,
        what: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read(
            &format!("OTEL_EXPORTER_OTLP_{}_{what}", upper(signal)),
            &parse,
        )
        .or_else(|| self.read(&format!("OTEL_EXPORTER_OTLP_{what}"), &parse))
    }

    /// Where a signal goes: its own variable says so exactly, that of all is a base.
    ///
    /// An endpoint of gRPC may come without a scheme, and is then spoken to by TLS unless it is said to be insecure.
    pub(super) fn endpoint(&mut self, signal: Signal, protocol: Protocol) -> Option<ReceiverUrl> {
        let insecure = self.of_signal(signal, "INSECURE", boolean).unwrap_or(false);
        let read = |text: &str| {
            let bare = protocol == Protocol::Grpc && !text.contains("://");
            let scheme = if insecure { "http" } else { "https" };
            if bare {
                read_receiver(&format!("{scheme}://{text}"))
            } else {
                read_receiver(text)
            }
        };
        let own = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", upper(signal));
        self.read(&own, read).or_else(|| {
            let base = self.read("OTEL_EXPORTER_OTLP_ENDPOINT", read)?;
            Some(super::of_base(&base, signal))
        })
    }

    /// Only `true` is true; what is neither that nor `false` is false and worth a word.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        self.read(name, boolean).unwrap_or(false)
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        (self.env)(name).is_some_and(|text| !text.trim().is_empty())
    }

    /// The share that the standard sampler takes. Whether it minds its parent is not asked: ours always does.
    pub(super) fn sampler(&mut self) -> Option<f64> {
        let ratio = self.read("OTEL_TRACES_SAMPLER_ARG", |text| {
            let ratio = text
                .parse()
                .ok()
                .filter(|ratio| (0.0..=1.0).contains(ratio));
            ratio.ok_or("expected a share from 0 to 1".to_owned())
        });
        self.read("OTEL_TRACES_SAMPLER", |text| match text {
            "always_on" | "parentbased_always_on" => Ok(1.0),
            "always_off" | "parentbased_always_off" => Ok(0.0),
            // Without an argument it takes all, the specification says.
            "traceidratio" | "parentbased_traceidratio" => Ok(ratio.unwrap_or(1.0)),
            _ => Err(
                "expected always_on, always_off, traceidratio or one of them with parentbased_"
                    .to_owned(),
            ),
        })
    }

    /// Whether a signal's exporter is ours.
    pub(super) fn exporter(&mut self, signal: Signal) -> bool {
        let name = format!("OTEL_{}_EXPORTER", upper(signal));
        let exporter = self.read(&name, |text| match text {
            "none" => Ok(false),
            list if list.split(',').any(|word| word.trim() == "otlp") => Ok(true),
            _ => Err("expected otlp or none".to_owned()),
        });
        exporter.unwrap_or(true)
    }
}

fn upper(signal: Signal) -> String {
    signal.as_str().to_ascii_uppercase()
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

pub(super) fn millis(text: &str) -> Result<Duration, String> {
    let millis = text.parse().map(Duration::from_millis);
    millis.map_err(|_malformed| "expected a whole number of milliseconds".to_owned())
}

pub(super) fn headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    pairs(text)?
        .into_iter()
        .map(|(name, value)| read_header(&name, &value))
        .collect()
}

/// `key=value,key=value`, values percent-encoded (W3C Baggage without properties). Values are not shown: they may be
/// secrets.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    let pairs = pairs.map(|pair| {
        let (key, value) = pair
            .split_once('=')
            .filter(|(key, _)| !key.trim().is_empty())
            .ok_or("expected key=value pairs separated by commas")?;
        let value = decoded(value.trim()).ok_or("a value is not percent-encoded UTF-8")?;
        Ok((key.trim().to_owned(), value))
    });
    pairs.collect::<Result<_, &str>>().map_err(str::to_owned)
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push((high * 16 + low) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_the_table_says_is_what_is_read() {
        let asked = RefCell::new(BTreeSet::new());
        let env = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            let on = matches!(name, "OTEL_LOGS_EXPORTER");
            let endpoint = name == "OTEL_EXPORTER_OTLP_ENDPOINT";
            match (on, endpoint) {
                (true, _) => Some("otlp".to_owned()),
                (_, true) => Some("http://c:4318".to_owned()),
                _ => None,
            }
        };
        let file = "[[listener]]\nname = 'l'\naddress = '127.0.0.1:0'\n";
        crate::config::parse("f", file, Path::new(""), &env).expect("it is right");
        let mut listed = BTreeSet::new();
        for (name, what) in VARIABLES
            .iter()
            .filter(|(_, what)| !what.starts_with("Not read"))
        {
            assert!(what.ends_with('.'), "{name}");
            if name.contains('*') {
                for signal in ["", "METRICS_", "TRACES_", "LOGS_"] {
                    listed.insert(name.replace('*', signal));
                }
            } else {
                listed.insert((*name).to_owned());
            }
        }
        assert_eq!(*asked.borrow(), listed);
    }
}
