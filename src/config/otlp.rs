//! The export of telemetry, as the file and the standard variables of OpenTelemetry together want it.
//!
//! The file wins over variables, and a variable of one signal over the variable of all (OpenTelemetry specification,
//! "OpenTelemetry Protocol Exporter"). `OTEL_SDK_DISABLED=true` wins over everything: it is how telemetry is switched
//! off in a hurry. As the specification asks, a variable with a value that is not understood is complained about and
//! then ignored, and an empty one is as good as unset.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{Otlp, OtlpLogs, OtlpMetrics, OtlpTraces};
use super::keys::Located;
use super::kind::ReceiverUrl;
use crate::export::otlp::{
    Config, Metrics, Protocol, Receiver, Sampling, Signal, Temporality, Traces,
};
use crate::model::TraceShare;

mod variables;

pub use variables::otlp_variables;

use variables::{Variables, headers, millis, pairs};

/// What is exported, and complaints about variables.
pub(super) fn resolve(
    section: &Otlp,
    base: &Path,
    instance: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> (Config, Vec<String>) {
    let mut variables = Variables::new(env);
    let config = if variables.flag("OTEL_SDK_DISABLED") {
        Config::default()
    } else {
        Config {
            metrics: metrics(section, base, &mut variables),
            traces: traces(section, base, &mut variables),
            logs: logs(section, base, &mut variables),
            resource: resource(section, instance, &mut variables),
            flush: section.flush.value,
            queue_bytes: section.queue_size.value as usize,
        }
    };
    (config, variables.into_complaints())
}

fn metrics(section: &Otlp, base: &Path, variables: &mut Variables<'_>) -> Option<Metrics> {
    let OtlpMetrics {
        enabled,
        endpoint,
        interval,
        temporality,
    } = &section.metrics;
    let receiver = receiver(
        section,
        Signal::Metrics,
        enabled.as_ref(),
        endpoint.as_ref(),
        base,
        variables,
    )?;
    let from_variable = variables.read("OTEL_METRIC_EXPORT_INTERVAL", millis);
    let interval =
        value(interval.as_ref()).or(from_variable.filter(|interval| !interval.is_zero()));
    variables.read(
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        |text| match text.to_ascii_lowercase().as_str() {
            "base2_exponential_bucket_histogram" => Ok(()),
            _ => Err("durations are always base2_exponential_bucket_histogram".to_owned()),
        },
    );
    let from_variable = variables.read(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        |text| match text.to_ascii_lowercase().as_str() {
            "cumulative" => Ok(Temporality::Cumulative),
            // Low memory asks for delta where it saves the sender memory; here it is the same.
            "delta" | "lowmemory" => Ok(Temporality::Delta),
            _ => Err("expected cumulative, delta or lowmemory".to_owned()),
        },
    );
    Some(Metrics {
        receiver,
        interval: interval.unwrap_or(INTERVAL),
        temporality: value(temporality.as_ref())
            .or(from_variable)
            .unwrap_or_default(),
    })
}

fn traces(section: &Otlp, base: &Path, variables: &mut Variables<'_>) -> Option<Traces> {
    let OtlpTraces {
        enabled,
        endpoint,
        ratio,
        keep_per_second,
        slow,
        marks_all,
    } = &section.traces;
    let receiver = receiver(
        section,
        Signal::Traces,
        enabled.as_ref(),
        endpoint.as_ref(),
        base,
        variables,
    )?;
    let share = value(ratio.as_ref())
        .or_else(|| variables.sampler())
        .unwrap_or(RATIO);
    let share = TraceShare::new(share);
    Some(Traces {
        receiver,
        sampling: Sampling {
            share,
            keep_per_second: keep_per_second.value as u32,
            slow: value(slow.as_ref()),
        },
        marked: if marks_all.value {
            TraceShare::ALL
        } else {
            share
        },
    })
}

/// They are as many as requests, so an endpoint is not enough to ask for them.
fn logs(section: &Otlp, base: &Path, variables: &mut Variables<'_>) -> Option<Receiver> {
    let OtlpLogs { enabled, endpoint } = &section.logs;
    let asked = enabled.is_some() || variables.is_set("OTEL_LOGS_EXPORTER");
    if !asked {
        return None;
    }
    receiver(
        section,
        Signal::Logs,
        enabled.as_ref(),
        endpoint.as_ref(),
        base,
        variables,
    )
}

/// The share of traces that is exported unless said otherwise.
const RATIO: f64 = 0.01;
/// Between measurements that are not asked to come at another pace.
const INTERVAL: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where `signal` goes; `None`: it is not exported.
fn receiver(
    section: &Otlp,
    signal: Signal,
    enabled: Option<&Located<bool>>,
    endpoint: Option<&Located<ReceiverUrl>>,
    base: &Path,
    variables: &mut Variables<'_>,
) -> Option<Receiver> {
    let enabled = match enabled {
        Some(enabled) => enabled.value,
        None => variables.exporter(signal),
    };
    if !enabled {
        return None;
    }
    let protocol = variables.of_signal(signal, "PROTOCOL", |text| match text {
        "grpc" => Ok(Protocol::Grpc),
        "http/protobuf" => Ok(Protocol::Http),
        _ => Err("expected http/protobuf or grpc".to_owned()),
    });
    let protocol = value(section.protocol.as_ref())
        .or(protocol)
        .unwrap_or(Protocol::Http);
    let ReceiverUrl {
        tls,
        host,
        port,
        path,
    } = endpoint
        .map(|endpoint| endpoint.value.clone())
        .or_else(|| {
            section
                .endpoint
                .as_ref()
                .map(|endpoint| of_base(&endpoint.value, signal))
        })
        .or_else(|| variables.endpoint(signal, protocol))?;
    let gzip = variables.of_signal(signal, "COMPRESSION", |text| match text {
        "gzip" => Ok(true),
        "none" => Ok(false),
        _ => Err("expected gzip or none".to_owned()),
    });
    let timeout = variables
        .of_signal(signal, "TIMEOUT", millis)
        .filter(|timeout| !timeout.is_zero());
    let headers = variables.of_signal(signal, "HEADERS", headers);
    let mut file = |path: &Option<Located<PathBuf>>, what: &str| match path {
        Some(path) => Some(base.join(&path.value)),
        None => variables.of_signal(signal, what, |text| Ok(PathBuf::from(text))),
    };
    let roots = file(&section.roots_file, "CERTIFICATE");
    let chain = file(&section.certificate_file, "CLIENT_CERTIFICATE");
    let key = file(&section.key_file, "CLIENT_KEY");
    Some(Receiver {
        host,
        port,
        path: if path.is_empty() {
            "/".to_owned()
        } else {
            path
        },
        protocol,
        tls,
        roots,
        identity: chain.zip(key),
        headers: if section.headers.is_empty() {
            headers.unwrap_or_default()
        } else {
            section
                .headers
                .iter()
                .map(|header| header.value.clone())
                .collect()
        },
        gzip: value(section.gzip.as_ref()).or(gzip).unwrap_or(true),
        timeout: value(section.timeout.as_ref())
            .or(timeout)
            .unwrap_or(TIMEOUT),
    })
}

fn of_base(base: &ReceiverUrl, signal: Signal) -> ReceiverUrl {
    ReceiverUrl {
        path: format!("{}{}", base.path, signal.http_path()),
        ..base.clone()
    }
}

/// The file's attributes over the variable's over ours.
fn resource(
    section: &Otlp,
    instance: &str,
    variables: &mut Variables<'_>,
) -> Vec<(String, String)> {
    let mut all = BTreeMap::from([
        ("service.name".to_owned(), "vestibule".to_owned()),
        ("service.instance.id".to_owned(), instance.to_owned()),
        (
            "service.version".to_owned(),
            env!("CARGO_PKG_VERSION").to_owned(),
        ),
        ("host.name".to_owned(), super::resolve::host_name()),
    ]);
    all.extend(
        variables
            .read("OTEL_RESOURCE_ATTRIBUTES", pairs)
            .unwrap_or_default(),
    );
    let name = variables.read("OTEL_SERVICE_NAME", |text| Ok(text.to_owned()));
    all.extend(name.map(|name| ("service.name".to_owned(), name)));
    all.extend(
        section
            .resource
            .iter()
            .map(|attribute| attribute.value.clone()),
    );
    let name = section.service_name.as_ref().map(|name| name.value.clone());
    all.extend(name.map(|name| ("service.name".to_owned(), name)));
    all.into_iter().collect()
}

fn value<T: Clone>(located: Option<&Located<T>>) -> Option<T> {
    located.map(|located| located.value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn read(file: &str, env: &[(&str, &str)]) -> (Config, Vec<String>) {
        let text = format!(
            "[[listener]]\nname = 'l'\naddress = '127.0.0.1:0'\n[instance]\nname = 'i'\n{file}"
        );
        let env = |name: &str| {
            let found = env.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let resolved = parse("f", &text, Path::new("/etc"), &env);
        let resolved = resolved.unwrap_or_else(|report| panic!("{}", report.render(false)));
        let warnings = resolved.warnings.diagnostics().iter();
        let complaints = warnings
            .filter(|warning| warning.message.contains("OTEL_"))
            .map(|warning| warning.message.clone());
        (resolved.otlp, complaints.collect())
    }

    fn url(config: &Config) -> Option<String> {
        config
            .metrics
            .as_ref()
            .map(|metrics| metrics.receiver.to_string())
    }

    #[test]
    fn without_an_endpoint_nothing_is_exported() {
        assert!(read("", &[]).0.is_off());
        assert!(read("[otlp]\nprotocol = 'grpc'", &[]).0.is_off());
    }

    #[test]
    fn the_file_wins_over_a_signals_variable_and_that_over_the_one_of_all() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:1/base/");
        let one = (
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            "http://one:2/exactly",
        );
        for (file, env, wanted) in [
            ("", vec![all], "http://all:1/base/v1/metrics"),
            ("", vec![all, one], "http://one:2/exactly"),
            (
                "otlp.endpoint = 'https://file'",
                vec![all, one],
                "https://file:443/v1/metrics",
            ),
            (
                "otlp.endpoint = 'http://file:3'\notlp.metrics.endpoint = 'http://m:4/'",
                vec![all, one],
                "http://m:4/",
            ),
            (
                "otlp.endpoint = 'http://[::1]:5'",
                vec![],
                "http://[::1]:5/v1/metrics",
            ),
        ] {
            let (config, complaints) = read(&tables(file), &env);
            assert_eq!(url(&config).as_deref(), Some(wanted));
            assert!(complaints.is_empty(), "{complaints:?}");
        }
    }

    /// Dotted keys as tables, so that they may follow other tables.
    fn tables(dotted: &str) -> String {
        let mut begun = String::new();
        let mut table = |line: &str| {
            let (key, value) = line.split_once('=').unwrap();
            let (table, key) = key.trim().rsplit_once('.').unwrap();
            let header = if begun == table {
                String::new()
            } else {
                format!("[{table}]\n")
            };
            table.clone_into(&mut begun);
            format!("{header}{key} ={value}\n")
        };
        dotted.lines().map(&mut table).collect()
    }

    #[test]
    fn every_variable_is_understood() {
        let (config, complaints) = read(
            "",
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                (
                    "OTEL_EXPORTER_OTLP_HEADERS",
                    "authorization=Bearer%20x,tenant=a",
                ),
                ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/roots.pem"),
                ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/chain.pem"),
                ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem"),
                ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta"),
                ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
                ("OTEL_SERVICE_NAME", "edge"),
                ("OTEL_RESOURCE_ATTRIBUTES", "service.name=lost,team=a%2Cb"),
            ],
        );
        assert!(complaints.is_empty(), "{complaints:?}");
        let metrics = config.metrics.unwrap();
        assert_eq!(metrics.interval, Duration::from_secs(5));
        assert_eq!(metrics.temporality, Temporality::Delta);
        let receiver = metrics.receiver;
        assert_eq!(receiver.protocol, Protocol::Grpc);
        assert_eq!(receiver.timeout, Duration::from_millis(2_500));
        assert!(!receiver.gzip && receiver.tls);
        assert_eq!(receiver.roots, Some("/roots.pem".into()));
        assert_eq!(
            receiver.identity,
            Some(("/chain.pem".into(), "/key.pem".into()))
        );
        assert_eq!(receiver.headers[0].1, "Bearer x");
        let attribute = |key: &str| {
            let mut found = config.resource.iter().filter(|(known, _)| known == key);
            found.next().map(|(_, value)| value.as_str())
        };
        assert_eq!(attribute("service.name"), Some("edge"));
        assert_eq!(attribute("service.instance.id"), Some("i"));
        assert_eq!(attribute("team"), Some("a,b"));
    }

    #[test]
    fn a_signals_variable_wins_over_that_of_all() {
        for (what, of_all, of_metrics) in [
            ("PROTOCOL", "http/protobuf", "grpc"),
            ("HEADERS", "a=all", "a=one"),
            ("TIMEOUT", "1", "2"),
            ("COMPRESSION", "none", "gzip"),
            ("CERTIFICATE", "/all.pem", "/one.pem"),
        ] {
            let name = |signal: &str| format!("OTEL_EXPORTER_OTLP_{signal}{what}");
            let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
            let receivers = |env: &[(&str, &str)]| {
                let config = read("", env).0;
                (
                    config.metrics.unwrap().receiver,
                    config.traces.unwrap().receiver,
                )
            };
            let (all, metrics) = (name(""), name("METRICS_"));
            let both = receivers(&[endpoint, (&all, of_all), (&metrics, of_metrics)]);
            let only_all = receivers(&[endpoint, (&all, of_all)]);
            let only_metrics = receivers(&[endpoint, (&metrics, of_metrics)]);
            assert_eq!(both.0, only_metrics.0, "{what}");
            assert_eq!(both.1, only_all.1, "{what}");
            assert_ne!(both.0, only_all.0, "{what}");
        }
    }

    #[test]
    fn an_endpoint_of_grpc_needs_no_scheme() {
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        for (env, wanted) in [
            (vec![grpc], Some("https://collector:4317")),
            (
                vec![grpc, ("OTEL_EXPORTER_OTLP_INSECURE", "true")],
                Some("http://collector:4317"),
            ),
            (
                vec![
                    grpc,
                    ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
                    ("OTEL_EXPORTER_OTLP_METRICS_INSECURE", "false"),
                ],
                Some("https://collector:4317"),
            ),
            // Over HTTP it is no URL.
            (vec![], None),
        ] {
            let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
            let (config, complaints) = read("", &[env, vec![endpoint]].concat());
            assert_eq!(url(&config).as_deref(), wanted);
            assert_eq!(complaints.is_empty(), wanted.is_some());
        }
        // What has a scheme is what it says.
        let env = [
            grpc,
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:1"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
        ];
        assert_eq!(url(&read("", &env).0).as_deref(), Some("https://c:1"));
    }

    #[test]
    fn a_variable_that_is_not_understood_is_ignored_with_a_word_and_without_its_value() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_METRICS_EXPORTER", "prometheus"),
            (
                "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
                "explicit_bucket_histogram",
            ),
            ("OTEL_SDK_DISABLED", "yes"),
        ] {
            let (config, complaints) = read("", &[endpoint, (name, value)]);
            assert!(config.metrics.is_some(), "{name}");
            assert_eq!(complaints.len(), 1, "{name}: {complaints:?}");
            assert!(complaints[0].contains(name) && !complaints[0].contains("secret"));
        }
    }

    #[test]
    fn spans_come_along_with_an_endpoint_and_log_records_when_asked_for() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        let config = read("", &[endpoint]).0;
        assert_eq!(config.traces.unwrap().sampling.share, TraceShare::new(0.01));
        assert!(config.logs.is_none());
        let config = read(
            &tables("otlp.logs.enabled = true"),
            &[
                endpoint,
                ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
            ],
        )
        .0;
        assert_eq!(config.logs.unwrap().path, "/v1/logs");
        let traces = config.traces.unwrap();
        assert_eq!(traces.sampling.share, TraceShare::new(0.5));
        assert_eq!(traces.marked, TraceShare::ALL);
        let file = tables("otlp.traces.ratio = 0.25\notlp.traces.mark = 'ratio'");
        let traces = read(&file, &[endpoint, ("OTEL_TRACES_SAMPLER", "always_on")])
            .0
            .traces
            .unwrap();
        assert_eq!(traces.marked, TraceShare::new(0.25));
        assert!(
            read("", &[endpoint, ("OTEL_LOGS_EXPORTER", "otlp")])
                .0
                .logs
                .is_some()
        );
    }

    #[test]
    fn telemetry_can_be_switched_off_whatever_the_file_says() {
        let file = tables("otlp.endpoint = 'http://c:4318'");
        assert!(!read(&file, &[]).0.is_off());
        assert!(read(&file, &[("OTEL_SDK_DISABLED", "true")]).0.is_off());
        assert!(
            read(&file, &[("OTEL_METRICS_EXPORTER", "none")])
                .0
                .metrics
                .is_none()
        );
    }
}
