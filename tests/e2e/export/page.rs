//! The metrics page in each of its formats, read by those who will.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use rustix::process::Signal;
use serde_json::Value;

use super::receiver::Receiver;
use super::requests::hex;
use super::{PATIENCE, counted, home, load};
use crate::harness::{Answer, Client, Daemon, Home, of, skip, wait};
use crate::lifecycle::origin::Origin;
use crate::lifecycle::prometheus::{self, Prometheus, escaped};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";
fn page(daemon: &Daemon, accept: &str) -> Answer {
    let accept = format!("Accept: {accept}");
    let answer = daemon.try_ask("GET /metrics", &[&accept], b"");
    let answer = answer.expect("the admin API answers");
    assert_eq!(answer.status, 200);
    answer
}

/// Names and labels of all samples, with their values.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let line = line.split(" # {").next().unwrap();
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    });
    samples.collect()
}

/// The buckets of a route: bounds as they are written, and counts.
fn buckets(page: &str, route: &str) -> Vec<(String, u64)> {
    let begin = format!("vestibule_request_duration_seconds_bucket{{route=\"{route}\",le=\"");
    let lines = page.lines().filter_map(|line| line.strip_prefix(&begin));
    let buckets = lines.map(|line| {
        let (bound, rest) = line.split_once("\"} ").unwrap();
        let count = rest.split(' ').next().unwrap();
        (bound.to_owned(), count.parse().unwrap())
    });
    buckets.collect()
}

fn count_at(page: &str, bound: &str) -> u64 {
    let buckets = buckets(page, "shop");
    let found = buckets.iter().find(|(known, _)| known == bound);
    found
        .unwrap_or_else(|| panic!("no {bound} in {buckets:?}"))
        .1
}

#[test]
fn readers_get_the_format_that_they_prefer() {
    let origin = Origin::start("shop");
    let home = home(&origin, "");
    let daemon = home.run();
    for (accept, content_type) in [
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
             encoding=delimited;escaping=allow-utf-8;q=0.6,application/openmetrics-text;q=0.5",
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
             encoding=delimited; escaping=allow-utf-8",
        ),
    ] {
        let page = page(&daemon, accept);
        assert_eq!(page.header("content-type"), Some(content_type));
        assert_eq!(page.header("vary"), Some("accept"));
    }
    assert!(daemon.stop().success());
}

#[test]
fn a_promised_bound_is_counted_as_the_promise_is_and_outlives_it() {
    let origin = Origin::start("shop");
    let home = home(&origin, "[access_log]\noutput = 'access.log'\n");
    let daemon = home.run();
    // There before the first request, at zero, like every counter of a route.
    let fresh = page(&daemon, "*/*").text();
    assert!(buckets(&fresh, "shop").iter().all(|(_, count)| *count == 0));
    assert_eq!(count_at(&fresh, "0.3"), 0);
    assert!(
        buckets(&fresh, "none")
            .iter()
            .all(|(bound, _)| bound != "0.3")
    );
    for series in [
        "vestibule_requests_total{route=\"shop\",outcome=\"bad\"}",
        "vestibule_faults_total{route=\"shop\",side=\"upstream\",fault=\"upstream_5xx\"}",
        "vestibule_responses_total{route=\"shop\",class=\"5xx\"}",
        "vestibule_slo_events_total{slo=\"available\",route=\"shop\",result=\"bad\"}",
        "vestibule_faults_total{route=\"none\",side=\"downstream\",fault=\"no_route\"}",
    ] {
        assert_eq!(samples(&fresh).get(series), Some(&0.0), "{series}");
    }

    load(&daemon, 20, 0);
    let mut client = Client::connect(daemon.address());
    for path in ["/delay/260", "/delay/260", "/delay/310", "/delay/600"] {
        assert_eq!(client.get(path).unwrap().status, 200);
    }
    // What each of them took is in the log, however busy this machine is.
    let first = durations(&home, 24);
    let up_to = |durations: &[u64], bound: u64| {
        let below = durations.iter().filter(|micros| **micros <= bound);
        below.count() as u64
    };
    let before = page(&daemon, "*/*").text();
    assert_eq!(count_at(&before, "0.3"), up_to(&first, 300_000));
    assert_eq!(count_at(&before, "0.5"), up_to(&first, 500_000));
    assert_eq!(count_at(&before, "+Inf"), 24);
    let good = "vestibule_slo_events_total{slo=\"fast\",route=\"shop\",result=\"good\"}";
    assert_eq!(samples(&before)[good] as u64, count_at(&before, "0.3"));

    // Another promise: its bound is there, and the one before goes on.
    let config = fs::read_to_string(home.path("vestibule.toml")).unwrap();
    home.configure(&config.replace("under = \"300ms\"", "under = \"700ms\""));
    daemon.signal(Signal::HUP);
    daemon.until("the new promise", PATIENCE, |snapshot| {
        (of(&snapshot["slos"], "id", "fast")["under_us"] == 700_000).then_some(())
    });
    for path in ["/delay/260", "/delay/600", "/delay/720"] {
        assert_eq!(client.get(path).unwrap().status, 200);
    }
    let second = durations(&home, 27).split_off(24);
    let after = page(&daemon, "*/*").text();
    let (before, after) = (buckets(&before, "shop"), buckets(&after, "shop"));
    assert_eq!(after.len(), before.len() + 1);
    assert!(
        after.windows(2).all(|pair| pair[0].1 <= pair[1].1),
        "{after:?}"
    );
    let after: BTreeMap<String, u64> = after.into_iter().collect();
    for (bound, count) in &before {
        assert!(after[bound] >= *count, "{bound}: {after:?}");
    }
    assert_eq!(
        after["0.3"],
        up_to(&first, 300_000) + up_to(&second, 300_000)
    );
    // Which earlier ones were below the new bound is not known: they count as if above.
    assert_eq!(
        after["0.7"],
        up_to(&first, 500_000) + up_to(&second, 700_000)
    );
    assert_eq!(after["+Inf"], 27);
    assert!(daemon.stop().success());
}

/// How long the first `count` requests took in microseconds, as the access log has it.
fn durations(home: &Home, count: usize) -> Vec<u64> {
    let lines = wait("access lines", PATIENCE, || {
        let log = fs::read_to_string(home.path("access.log")).ok()?;
        let (whole, _part) = log.rsplit_once('\n')?;
        let lines: Vec<String> = whole.lines().map(ToOwned::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    });
    let duration = |line: &String| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["duration_us"].as_u64().unwrap()
    };
    lines.iter().map(duration).collect()
}

#[test]
fn what_strangers_ask_for_does_not_grow_the_page() {
    const REQUESTS: u64 = 20_000;
    let origin = Origin::start("shop");
    let home = home(&origin, "");
    let daemon = home.run();
    load(&daemon, 5, 1);
    let series = || {
        let page = page(&daemon, "*/*").text();
        samples(&page).into_keys().collect::<BTreeSet<String>>()
    };
    let before = series();
    let mut state = 7_u64;
    let mut random = move || {
        // SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB)
    };
    let mut client = Client::connect(daemon.address());
    for n in 0..REQUESTS {
        let host = format!("Host: h{:x}.example:{}", random(), 1 + random() % 60_000);
        let agent = format!("User-Agent: {:x}", random());
        // Some of them methods that nobody has heard of.
        let method = if n % 5 == 0 {
            format!("M{:X}", random())
        } else {
            "GET".to_owned()
        };
        let line = format!(
            "{method} /{:x}/%2e%2e/{:x}?q={:x}",
            random(),
            random(),
            random()
        );
        let answer = client.ask(&line, &[&host, &agent], b"").unwrap();
        assert_eq!(answer.status, 404, "{line}");
        if answer.header("connection") == Some("close") {
            client = Client::connect(daemon.address());
        }
    }
    let page = page(&daemon, "*/*").text();
    let none = "vestibule_faults_total{route=\"none\",side=\"downstream\",fault=\"no_route\"}";
    assert_eq!(samples(&page)[none] as u64, REQUESTS);
    assert_eq!(series(), before);
    assert_eq!(counted(&daemon), [5, 1, 0]);
    assert!(daemon.stop().success());
}

/// The trace of a request whose beginner wants it to be seen.
fn sampled(number: u64) -> (String, String) {
    let trace = format!("{number:032x}");
    let header = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01");
    (trace, header)
}

/// A daemon that exports the traces that others want to be seen.
fn traced(more: &str) -> (Home, Daemon, Receiver, Origin) {
    let (origin, receiver) = (Origin::start("shop"), Receiver::http());
    let otlp = format!(
        "[otlp]\nendpoint = '{}'\n[otlp.metrics]\nenabled = false\n[otlp.traces]\nratio = 0\n\
         keep_per_second = 0\n{more}",
        receiver.url()
    );
    let home = home(&origin, &otlp);
    let daemon = home.run();
    (home, daemon, receiver, origin)
}

/// Sends [`REQUESTS`] and gives their traces. Most are fast; of the slow ones some are above the promise.
fn trace_some(daemon: &Daemon) -> BTreeSet<String> {
    let mut traces = BTreeSet::new();
    let mut client = Client::connect(daemon.address());
    for n in 1..=REQUESTS {
        let path = match n % 100 {
            3 => "/delay/320",
            7 => "/delay/40",
            13 => "/fail",
            _ => "/",
        };
        let (trace, header) = sampled(n);
        let answer = client.ask(&format!("GET {path}"), &[&header], b"");
        answer.expect("it is answered");
        traces.insert(trace);
    }
    traces
}

const REQUESTS: u64 = 300;

/// The spans of serving a request that the receiver took: trace and span.
fn served(receiver: &Receiver) -> BTreeSet<(String, String)> {
    let taken = receiver.taken();
    let servers = taken
        .spans
        .iter()
        .filter(|span| span.kind() == SpanKind::Server);
    servers
        .map(|span| (hex(&span.trace_id), hex(&span.span_id)))
        .collect()
}

/// Reads OpenMetrics as strictly as its reference parser does, and prints every sample.
const READ_OPENMETRICS: &str = r#"
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for s in family.samples:
        exemplar = s.exemplar and {"labels": s.exemplar.labels, "value": s.exemplar.value, "at": float(s.exemplar.timestamp)}
        print(json.dumps({"family": family.name, "kind": family.type, "unit": family.unit, "name": s.name,
                          "labels": s.labels, "value": s.value, "exemplar": exemplar}))
"#;

/// The samples that Python finds on a page; `None` when it cannot look.
fn read_by_python(page: &str) -> Option<Vec<Value>> {
    let python = |script: &str| {
        let mut python = Command::new("python3");
        python
            .args(["-c", script])
            // Where `.ci/run` puts it.
            .env(
                "PYTHONPATH",
                concat!(env!("CARGO_MANIFEST_DIR"), "/target/python"),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        python
    };
    let has_parser = python("import prometheus_client.openmetrics.parser").output();
    if !has_parser.is_ok_and(|run| run.status.success()) {
        return None;
    }
    let mut python = python(READ_OPENMETRICS).spawn().unwrap();
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(page.as_bytes()).unwrap();
    drop(stdin);
    let read = python.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "{said}\n{page}");
    let lines = String::from_utf8(read.stdout).unwrap();
    Some(
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

#[test]
fn openmetrics_own_parser_reads_every_sample_and_exemplar() {
    let (_home, daemon, receiver, _origin) = traced("");
    let fresh = page(&daemon, OPENMETRICS).text();
    let traces = trace_some(&daemon);
    wait("every span", PATIENCE, || {
        (served(&receiver).len() as u64 == REQUESTS).then_some(())
    });
    let (text, open) = (
        page(&daemon, "*/*").text(),
        page(&daemon, OPENMETRICS).text(),
    );
    assert!(
        open.ends_with("\n# EOF\n") && !text.contains(" # {"),
        "{open}"
    );
    let (Some(empty), Some(read)) = (read_by_python(&fresh), read_by_python(&open)) else {
        return skip("prometheus_client is not installed");
    };
    assert!(empty.iter().all(|sample| sample["exemplar"].is_null()));

    // The same series with the same values, apart from what moves by itself.
    let wanted: BTreeMap<String, f64> = samples(&text)
        .into_iter()
        .filter(|(series, _)| series.starts_with("vestibule_") && !series.contains("_otlp_"))
        .collect();
    let mut found = BTreeMap::new();
    for sample in &read {
        let name = sample["name"].as_str().unwrap();
        let labels: BTreeMap<String, String> =
            serde_json::from_value(sample["labels"].clone()).unwrap();
        let of_text = |(series, _): &(&String, &f64)| {
            let (known, rest) = series.split_once('{').unwrap_or((series, ""));
            known == name
                && labels.iter().all(|(label, value)| {
                    // Bounds are written as floats.
                    let value = value
                        .strip_suffix(".0")
                        .filter(|_| label == "le")
                        .unwrap_or(value);
                    rest.contains(&format!("{label}=\"{value}\""))
                })
                && rest.matches("=\"").count() == labels.len()
        };
        if let Some((series, _)) = wanted.iter().find(of_text) {
            found.insert(series.clone(), sample["value"].as_f64().unwrap());
        }
    }
    assert_eq!(found.len(), wanted.len());
    for (series, value) in &wanted {
        assert!((found[series] - value).abs() < 1e-9, "{series}");
    }
    for (family, kind, unit) in [
        ("vestibule_request_duration_seconds", "histogram", "seconds"),
        ("vestibule_request_body_bytes", "counter", "bytes"),
        ("vestibule_slo_objective_ratio", "gauge", "ratio"),
        ("vestibule_requests", "counter", ""),
    ] {
        let sample = read.iter().find(|sample| sample["family"] == family);
        let sample = sample.unwrap_or_else(|| panic!("no {family}"));
        assert_eq!(
            (&sample["kind"], &sample["unit"]),
            (&kind.into(), &unit.into())
        );
    }

    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let served = served(&receiver);
    let mut bounds = Vec::new();
    for sample in read.iter().filter(|sample| !sample["exemplar"].is_null()) {
        let exemplar = &sample["exemplar"];
        let text = |label: &str| exemplar["labels"][label].as_str().unwrap().to_owned();
        let ids = (text("trace_id"), text("span_id"));
        assert!(traces.contains(&ids.0) && served.contains(&ids), "{sample}");
        assert_eq!(sample["labels"]["route"], "shop");
        let bound = sample["labels"]["le"].as_str().unwrap();
        assert!(
            exemplar["value"].as_f64() <= bound.replace('+', "").parse().ok(),
            "{sample}"
        );
        assert!(
            (exemplar["at"].as_f64().unwrap() - now).abs() < 120.0,
            "{sample}"
        );
        bounds.push(bound.to_owned());
    }
    assert!(bounds.contains(&"0.5".to_owned()), "{bounds:?}");
    assert!(!bounds.contains(&"+Inf".to_owned()), "{bounds:?}");
    assert!(daemon.stop().success());
}

#[test]
fn without_an_exported_trace_there_is_no_exemplar() {
    for otlp in [
        "",
        // No request of these is sampled by its parent, and none of those that begin here is.
        "[otlp]\nendpoint = 'http://127.0.0.1:9'\n[otlp.traces]\nratio = 0\nkeep_per_second = 0\n",
    ] {
        let origin = Origin::start("shop");
        let home = home(&origin, otlp);
        let daemon = home.run();
        load(&daemon, 20, 3);
        if otlp.is_empty() {
            let mut client = Client::connect(daemon.address());
            client.ask("GET /", &[&sampled(1).1], b"").unwrap();
        }
        let open = page(&daemon, OPENMETRICS).text();
        assert!(!open.contains("trace_id"), "{open}");
        drop(daemon);
    }
}

/// What a Prometheus calls itself.
fn version(program: &Path) -> (u32, u32) {
    let said = Command::new(program).arg("--version").output();
    let said = said.expect("it is there and can be started");
    let said = [said.stdout, said.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let (_, rest) = said.split_once("version ").expect("it says its version");
    let mut numbers = rest.split('.').map_while(|number| number.parse().ok());
    let mut number = || numbers.next().expect("a version has numbers");
    (number(), number())
}

#[test]
fn prometheus_takes_native_histograms_and_exemplars_in_protobuf() {
    match prometheus::installed() {
        Some(program) => takes_native_histograms_and_exemplars(&program),
        None => skip("prometheus is not installed"),
    }
}

#[test]
fn so_does_prometheus_3_and_classic_histograms_beside_them() {
    match prometheus::newer() {
        Some(program) => takes_native_histograms_and_exemplars(&program),
        None => skip("prometheus-3 is not installed"),
    }
}

fn takes_native_histograms_and_exemplars(program: &Path) {
    let version = version(program);
    let scraped = TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr());
    let scraped = scraped.expect("there is a free port");
    let (home, daemon, receiver, _origin) = traced(&format!("[admin]\nlisten = '{scraped}'\n"));
    // 2.42 takes one or the other, and later ones must be told to take both.
    let mut more = String::new();
    if version >= (3, 0) {
        more += "  always_scrape_classic_histograms: true\n";
    }
    if version >= (3, 8) {
        more += "  scrape_native_histograms: true\n";
    }
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: vestibule\n{more}  \
         static_configs: [{{targets: ['{scraped}']}}]\n"
    );
    fs::write(home.path("prometheus.yaml"), config).unwrap();
    let start = |features: &str| {
        let features = format!("--enable-feature={features}");
        Prometheus::start(program, &home, "prometheus.yaml", &[&features])
    };
    let native = start("exemplar-storage,native-histograms");
    let classic = start("exemplar-storage");
    let all = "vestibule_request_duration_seconds{route=\"shop\"}";
    // Without a request yet it is a native histogram already.
    wait("the first scrape", PATIENCE, || {
        (native.one(&format!("histogram_count({all})")) == Some(0.0)).then_some(())
    });
    trace_some(&daemon);
    wait("every request in native buckets", PATIENCE, || {
        (native.one(&format!("histogram_count({all})")) == Some(REQUESTS as f64)).then_some(())
    });
    let bucket = |le: &str| {
        format!("vestibule_request_duration_seconds_bucket{{route=\"shop\",le=\"{le}\"}}")
    };
    wait("every request in classic buckets", PATIENCE, || {
        (classic.one(&bucket("+Inf")) == Some(REQUESTS as f64)).then_some(())
    });

    let snapshot = daemon.snapshot();
    let route = of(&snapshot["routes"], "id", "shop");
    let engine = route["p99_us"].as_f64().unwrap() / 1e6;
    let read = native
        .one(&format!("histogram_quantile(0.99, {all})"))
        .unwrap();
    // Eight buckets double, and ours are within 1 %.
    let apart = (read / engine).log2().abs();
    assert!(
        apart < 1.0 / 8.0 + 0.02,
        "{read} in Prometheus, {engine} here"
    );
    let text = page(&daemon, "*/*").text();
    let sum = samples(&text)["vestibule_request_duration_seconds_sum{route=\"shop\"}"];
    let read = native.one(&format!("histogram_sum({all})")).unwrap();
    assert!((read - sum).abs() < 1e-9, "{read} beside {sum}");
    for (le, count) in buckets(&text, "shop") {
        // OpenMetrics' floats; Prometheus 3 makes the same of all.
        let le = if le.contains(['.', 'I']) {
            le
        } else {
            format!("{le}.0")
        };
        assert_eq!(classic.one(&bucket(&le)), Some(count as f64), "{le}");
        if version >= (3, 0) {
            assert_eq!(native.one(&bucket(&le)), Some(count as f64), "{le}");
        }
    }

    wait("every span", PATIENCE, || {
        (served(&receiver).len() as u64 == REQUESTS).then_some(())
    });
    let served = served(&receiver);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let exemplars = |prometheus: &Prometheus, query: &str| {
        let (query, start) = (escaped(query), now - 600);
        let path = format!(
            "/api/v1/query_exemplars?query={query}&start={start}&end={}",
            now + 60
        );
        let found = prometheus.ask(&path);
        let found = found.as_array().expect("it gives a list").clone();
        let all = found
            .iter()
            .flat_map(|series| series["exemplars"].as_array().unwrap());
        let ids = all.map(|exemplar| {
            let text = |label: &str| exemplar["labels"][label].as_str().unwrap().to_owned();
            (text("trace_id"), text("span_id"))
        });
        ids.collect::<BTreeSet<(String, String)>>()
    };
    for (prometheus, query) in [(&native, all.to_owned()), (&classic, bucket("0.5"))] {
        let found = exemplars(prometheus, &query);
        assert!(!found.is_empty(), "{query}");
        assert!(found.is_subset(&served), "{query}: {found:?}");
    }
    assert!(daemon.stop().success());
}
