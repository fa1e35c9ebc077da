//! A real Prometheus that scrapes the daemon under load by the generated configuration and rules: it counts what the daemon
//! counts, its alert fires with the daemon's, and no panel of a dashboard is empty.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{RData, Record, RecordType};
use serde_json::Value;

use super::harness::{Client, Daemon, Home, PATIENCE, fetched, of, skip, stderr, wait};
use super::origin::Origin;
use crate::origin::Origin as Receiver;
use crate::tls::Authority;

/// The one that is installed.
pub(crate) fn installed() -> Option<PathBuf> {
    let there = Command::new("prometheus").arg("--version").output().is_ok();
    there.then(|| PathBuf::from("prometheus"))
}

/// A 3.x.
pub(crate) fn newer() -> Option<PathBuf> {
    fetched("prometheus-3")
}

/// A server on a port of its own; killed when the test is over.
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Prometheus {
    /// Starts it by a file in `home`.
    pub(crate) fn start(program: &Path, home: &Home, config: &str, flags: &[&str]) -> Self {
        let address = TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr());
        let address = address.expect("there is a free port");
        let log =
            fs::File::create(home.path("prometheus.log")).expect("the directory can be written");
        let child = Command::new(program)
            .arg(format!("--config.file={config}"))
            .arg(format!("--storage.tsdb.path=samples-{}", address.port()))
            .arg(format!("--web.listen-address={address}"))
            .args(flags)
            .current_dir(home.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it is there and can be started");
        let mut prometheus = Self { child, address };
        wait("Prometheus to serve", PATIENCE, || {
            if let Some(status) = prometheus.child.try_wait().expect("it is our child") {
                let log = fs::read_to_string(home.path("prometheus.log"));
                panic!("it ended with {status}: {}", log.unwrap_or_default());
            }
            let ready = Client::try_connect(address).ok()?.get("/-/ready").ok()?;
            (ready.status == 200).then_some(())
        });
        prometheus
    }

    pub(crate) fn ask(&self, path: &str) -> Value {
        let mut client = Client::connect(self.address);
        let answer = client.get(path).expect("Prometheus answers").json();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// What an expression gives now: labels and value.
    pub(crate) fn query(&self, expr: &str) -> Vec<(Value, f64)> {
        let data = self.ask(&format!("/api/v1/query?query={}", escaped(expr)));
        let result = data["result"].as_array().expect("it gives a list");
        let sample = |sample: &Value| {
            let value = sample["value"][1].as_str().expect("a sample has a value");
            (
                sample["metric"].clone(),
                value.parse().expect("it is a number"),
            )
        };
        result.iter().map(sample).collect()
    }

    /// The one value that an expression gives now.
    pub(crate) fn one(&self, expr: &str) -> Option<f64> {
        let samples = self.query(expr);
        assert!(samples.len() < 2, "{expr}: {samples:?}");
        samples.first().map(|(_, value)| *value)
    }
}

pub(crate) fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// A daemon on a known port for scrapers, and everything generated for it. Windows are so short that this test sees
/// an alert; scrapes and evaluations come every second.
fn start(origin: &Origin, receiver: &Receiver) -> (Home, Daemon) {
    let scraped = TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr());
    let home = Home::new(&format!(
        r#"
        [generate]
        sloth = true

        [admin]
        listen = "{}"

        [[listener]]
        name = "http"
        address = "127.0.0.1:0"

        [[upstream]]
        name = "web"
        endpoints = ["http://{}"]
        breaker = {{ max_in_flight = 100000, failure_percent = 100, min_requests = 1000000 }}

        [[route]]
        id = "web"
        # The certificate is not for the second, which is worth a word.
        hosts = ["localhost", "other.example"]
        upstream = "web"
        owner = "team-web"
        rate_limits = ["everybody"]

        [[rate_limit]]
        name = "everybody"
        key = "client"
        rate = "100000/s"

        [[slo]]
        id = "available"
        route = "web"
        sli = "availability"
        objective = "99%"
        policy = "quick"

        [[slo]]
        id = "fast"
        route = "web"
        sli = "latency"
        under = "300ms"
        objective = "95%"

        [[policy]]
        name = "quick"

        [[policy.row]]
        severity = "page"
        tier = "fast"
        long = "20s"
        short = "10s"
        factor = 2.0

        # What else has panels: certificates, probes, an OTLP receiver, someone to tell.
        [[listener]]
        name = "https"
        address = "127.0.0.1:0"
        certificates = ["edge", "issued"]

        [[certificate]]
        name = "edge"
        chain_file = "edge.pem"
        key_file = "edge-key.pem"

        [[certificate]]
        name = "issued"
        acme = "nobody"
        hosts = ["issued.example"]

        [revocation]
        files = ["nobody.crl"]
        issuers_file = "nobody.pem"

        [[acme]]
        name = "nobody"
        directory = "https://127.0.0.1:1/"
        accept_terms = true
        preflight_every = "1s"
        preflight_resolver = "127.0.0.1:1"

        [dns]
        enabled = true
        resolvers = ["{names}"]
        every = "1s"

        [[dns.authority]]
        zone = "example"
        servers = ["{names}"]

        [probes]
        dir = "synthetic"

        [otlp]
        endpoint = "{receiver}"
        metrics.interval = "1s"

        [[notify]]
        name = "oncall"
        kind = "webhook"
        url = "{receiver}"
        "#,
        scraped.expect("there is a free port"),
        origin.address,
        receiver = receiver.url(),
        names = name_server(),
    ));
    let certificate = Authority::new("test").vouch_for(&["localhost"]);
    certificate.write(&home.path(""), "edge");
    // As if it had been issued: its authority does not answer now.
    let kept = home.state().join("acme/nobody");
    fs::create_dir_all(&kept).expect("the directory can be written");
    let nobody = Authority::new("nobody");
    nobody.write(&home.path("nobody.pem"));
    fs::write(home.path("nobody.crl"), nobody.list()).expect("it can be written");
    let issued = nobody.vouch_for(&["issued.example"]);
    issued.write(&kept, "issued");
    let pair = ["issued.pem", "issued-key.pem"].map(|name| fs::read_to_string(kept.join(name)));
    let pair: String = pair
        .into_iter()
        .map(|text| text.expect("it was written"))
        .collect();
    fs::write(kept.join("issued.pem"), pair).expect("it can be written");
    let record = "{ \"directory\": \"https://127.0.0.1:1/\" }";
    fs::write(kept.join("issued.json"), record).expect("it can be written");
    fs::create_dir(home.path("synthetic")).expect("the directory can be written");
    let probes = format!(
        "[[probe]]\nname = \"home\"\ntarget = \"http://{}/\"\nevery = \"1s\"\n\
         [[probe]]\nname = \"nobody\"\ntarget = \"tcp://127.0.0.1:1\"\nevery = \"1s\"\n\
         [[probe]]\nname = \"lost\"\ntarget = \"http://127.0.0.1:1/\"\nevery = \"1s\"\nroute = \"web\"\n\
         compare = true\n",
        origin.address
    );
    fs::write(home.path("synthetic/all.toml"), probes).expect("the directory can be written");
    let generated = home.vestibule(&["generate", "all"]);
    assert!(generated.status.success(), "{}", stderr(&generated));
    let config = home.path("alerts/prometheus.yaml");
    let text = fs::read_to_string(&config).expect("it was generated");
    fs::write(&config, text.replace("15s", "1s")).expect("the directory can be written");
    for rules in fs::read_dir(home.path("alerts/rules")).expect("they were generated") {
        let path = rules.expect("the directory can be read").path();
        let text = fs::read_to_string(&path).expect("it is text");
        fs::write(&path, text.replace("interval: 5m", "interval: 1s")).expect("it can be written");
    }
    let daemon = home.run();
    (home, daemon)
}

/// Who says of every name, on its own authority, that it is this machine.
fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    let address = socket.local_addr().expect("it is bound");
    thread::spawn(move || {
        let mut heard = [0; 1_500];
        while let Ok((length, from)) = socket.recv_from(&mut heard) {
            let Ok(asked) = Message::from_vec(&heard[..length]) else {
                continue;
            };
            let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
            answer.metadata.authoritative = true;
            for query in &asked.queries {
                let name = query.name().clone();
                let data = match query.query_type() {
                    RecordType::A => Some(RData::A(Ipv4Addr::LOCALHOST.into())),
                    RecordType::SOA => {
                        let soa = SOA::new(name.clone(), name.clone(), 7, 60, 60, 60, 60);
                        Some(RData::SOA(soa))
                    }
                    _ => None,
                };
                answer.add_query(query.clone());
                answer.add_answers(data.map(|data| Record::from_rdata(name, 60, data)));
            }
            let bytes = answer.to_vec().expect("it has room");
            // Whoever asked may have gone.
            drop(socket.send_to(&bytes, from));
        }
    });
    address
}

#[test]
fn prometheus_counts_what_the_daemon_counts_and_no_panel_is_empty() {
    match installed() {
        Some(program) => counts_what_the_daemon_counts(&program),
        None => skip("prometheus is not installed"),
    }
}

#[test]
fn so_does_prometheus_3() {
    match newer() {
        Some(program) => counts_what_the_daemon_counts(&program),
        None => skip("prometheus-3 is not installed"),
    }
}

fn counts_what_the_daemon_counts(program: &Path) {
    let origin = Origin::start("web");
    // Takes telemetry and alerts alike.
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let (home, daemon) = start(&origin, &receiver);
    let prometheus = Prometheus::start(program, &home, "alerts/prometheus.yaml", &[]);
    wait("the first scrape", PATIENCE, || {
        (prometheus.one("count(vestibule_build_info)") == Some(1.0)).then_some(())
    });
    let renewed = home.vestibule(&["certs", "renew", "issued"]);
    assert!(renewed.status.success(), "{}", stderr(&renewed));
    let deployed = home.vestibule(&["deploy", "web", "v2"]);
    assert!(deployed.status.success(), "{}", stderr(&deployed));

    // A third of the requests fails, until both say so.
    let mut client = Client::connect(daemon.address());
    let (mut good, mut bad, mut unrouted) = (0_u64, 0_u64, 0_u64);
    let fires = "count(ALERTS{alertname=\"VestibuleErrorBudgetBurnsFast\",alertstate=\"firing\"})";
    let began = Instant::now();
    loop {
        for path in ["/", "/", "/fail"] {
            let answer = client.get(path).expect("it is answered");
            match answer.status {
                200 => good += 1,
                500 => bad += 1,
                other => panic!("{other}"),
            }
        }
        let answer = client.ask("GET /", &["Host: nowhere.example"], b"");
        assert_eq!(answer.expect("it is answered").status, 404);
        unrouted += 1;
        let paged = daemon.snapshot()["alerts"][0]["state"] == "firing";
        let long_enough = began.elapsed() > Duration::from_secs(15);
        let enough = good > 100 && bad > 50;
        if long_enough && enough && paged && prometheus.one(fires) == Some(1.0) {
            break;
        }
        assert!(
            began.elapsed() < PATIENCE * 2,
            "the alert does not fire in both, after {good} good and {bad} bad requests"
        );
    }

    assert_alert_is_told(&prometheus);
    let empty = empty_panels(&prometheus, &home.path("dashboards"));
    assert!(
        empty.is_empty(),
        "nothing is shown by\n{}",
        empty.join("\n")
    );

    drop(client);
    let expected = [("good", good), ("bad", bad), ("excluded", 0)];
    wait("Prometheus to have the last count", PATIENCE, || {
        expected
            .iter()
            .all(|(outcome, count)| {
                let expr =
                    format!("vestibule_requests_total{{route=\"web\",outcome=\"{outcome}\"}}");
                prometheus.one(&expr) == Some(*count as f64)
            })
            .then_some(())
    });
    let none = "vestibule_faults_total{route=\"none\",fault=\"no_route\"}";
    wait("Prometheus to have the last of no route", PATIENCE, || {
        (prometheus.one(none) == Some(unrouted as f64)).then_some(())
    });
    assert_counters_agree(&prometheus, &daemon);
    assert_status_agrees(&prometheus, &daemon);
    assert_sloths_names_agree(&prometheus);
    assert!(daemon.stop().success());
}

/// The alert of Prometheus says every word that its template has.
fn assert_alert_is_told(prometheus: &Prometheus) {
    let alerts = prometheus.ask("/api/v1/alerts");
    let alerts = alerts["alerts"].as_array().expect("it gives a list");
    let alert = alerts
        .iter()
        .find(|alert| alert["labels"]["alertname"] == "VestibuleErrorBudgetBurnsFast")
        .expect("it fires");
    assert_eq!(alert["labels"]["owner"], "team-web");
    let description = alert["annotations"]["description"]
        .as_str()
        .expect("it is text");
    assert!(
        description.contains("% of the requests of route web failed"),
        "{description}"
    );
    for alert in alerts {
        for key in ["summary", "description", "runbook_url", "dashboard_url"] {
            let text = alert["annotations"][key].as_str().unwrap_or_default();
            assert!(
                !text.is_empty() && !text.contains("error expanding"),
                "{alert}"
            );
        }
    }
    let rules = prometheus.ask("/api/v1/rules");
    for group in rules["groups"].as_array().expect("it gives a list") {
        for rule in group["rules"].as_array().expect("it gives a list") {
            let error = rule["lastError"].as_str().unwrap_or_default();
            assert!(error.is_empty(), "{rule}");
        }
    }
}

/// What goes on counting though no client asks: our own work, probes, telemetry, and looks at our own certificates.
const MOVING: [&str; 5] = [
    "process_cpu_seconds_total",
    "vestibule_events_total",
    "vestibule_otlp_",
    "vestibule_probe_",
    "vestibule_tls_handshakes_total",
];

/// Every counter that stands still after the load is in Prometheus as it is on the page. What this test asks the admin
/// API is no request of a client.
fn assert_counters_agree(prometheus: &Prometheus, daemon: &Daemon) {
    let page = daemon.metrics().page;
    let counters: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .filter(|name| !MOVING.iter().any(|moving| name.starts_with(moving)))
        .collect();
    let mut compared = 0;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
        let name = series.split('{').next().unwrap_or_default();
        let is_bucket = name.starts_with("vestibule_request_duration_seconds");
        if !counters.contains(&name) && !is_bucket {
            continue;
        }
        let value: f64 = value.parse().expect("it is a number");
        // Prometheus asks for OpenMetrics, where bounds are floats.
        let asked = match series.split_once("le=\"") {
            Some((before, bound)) => {
                let (bound, after) = bound.split_once('"').expect("it is quoted");
                let is_float = bound.contains(['.', 'I']);
                let end = if is_float { "" } else { ".0" };
                format!("{before}le=\"{bound}{end}\"{after}")
            }
            None => series.to_owned(),
        };
        let read = wait(&asked, PATIENCE, || prometheus.one(&asked));
        assert!(
            (read - value).abs() < 1e-9,
            "{series}: {read} beside {value}"
        );
        compared += 1;
    }
    assert!(compared > 80, "{compared}");
}

/// The figures of `status --json`, too.
fn assert_status_agrees(prometheus: &Prometheus, daemon: &Daemon) {
    let status = daemon.snapshot();
    for id in ["web", "none"] {
        let route = of(&status["routes"], "id", id);
        for outcome in ["good", "bad", "excluded"] {
            let expr = format!("vestibule_requests_total{{route=\"{id}\",outcome=\"{outcome}\"}}");
            assert_eq!(prometheus.one(&expr), route[outcome].as_f64(), "{expr}");
        }
    }
    for id in ["available", "fast"] {
        let slo = of(&status["slos"], "id", id);
        for result in ["good", "bad"] {
            let expr = format!("vestibule_slo_events_total{{slo=\"{id}\",result=\"{result}\"}}");
            assert_eq!(prometheus.one(&expr), slo[result].as_f64(), "{expr}");
        }
    }
}

/// Under the names of Sloth there are the same figures.
fn assert_sloths_names_agree(prometheus: &Prometheus) {
    for (theirs, ours) in [
        (
            "slo:sli_error:ratio_rate1h{sloth_service=\"web\",sloth_slo=\"available\",sloth_window=\"1h\"}",
            "route:slo_errors_per_request:ratio_rate1h{slo=\"available\"}",
        ),
        (
            "slo:period_error_budget_remaining:ratio{sloth_id=\"web-available\"}",
            "vestibule_slo_error_budget_remaining_ratio{slo=\"available\"}",
        ),
        (
            "slo:objective:ratio{sloth_slo=\"available\"}",
            "vestibule_slo_objective_ratio{slo=\"available\"}",
        ),
        ("count(sloth_slo_info{sloth_objective=\"99\"})", "vector(1)"),
    ] {
        let near = || {
            let (theirs, ours) = (prometheus.one(theirs)?, prometheus.one(ours)?);
            ((theirs - ours).abs() <= 0.05 * ours.abs()).then_some(())
        };
        wait(theirs, PATIENCE, near);
    }
}

/// The panels and variables that show nothing, with what they ask for.
fn empty_panels(prometheus: &Prometheus, dashboards: &Path) -> Vec<String> {
    let mut asked = Vec::new();
    for path in fs::read_dir(dashboards).expect("they were generated") {
        let text = fs::read_to_string(path.expect("it can be read").path());
        let board: Value = serde_json::from_str(&text.expect("it is text")).expect("it is JSON");
        let title = &board["title"];
        for panel in board["panels"].as_array().expect("it has panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                asked.push((
                    format!("{title} {}", panel["title"]),
                    target["expr"].clone(),
                ));
            }
        }
        for variable in board["templating"]["list"]
            .as_array()
            .expect("it has variables")
        {
            let query = variable["definition"].as_str().unwrap_or_default();
            if let Some(series) = query.strip_prefix("label_values(") {
                let series = series.rsplit_once(", ").expect("a label follows").0;
                asked.push((format!("{title} {}", variable["name"]), Value::from(series)));
            }
        }
    }
    assert!(asked.len() > 80, "{}", asked.len());
    let shows = |expr: &str| {
        let plain = ["$job", "$instance", "$route", "$slo"]
            .iter()
            .fold(expr.to_owned(), |expr, name| expr.replace(name, ".*"));
        let plain = plain.replace("$__rate_interval", "10s");
        let samples = prometheus.query(&plain);
        !samples.is_empty() && samples.iter().any(|(_, value)| !value.is_nan())
    };
    asked
        .into_iter()
        .filter_map(|(panel, expr)| {
            let expr = expr.as_str().expect("a query is text");
            (!shows(expr)).then(|| format!("{panel}: {expr}"))
        })
        .collect()
}
