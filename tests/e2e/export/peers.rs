//! Receivers that this project did not write: VictoriaMetrics, rotel, and Prometheus beside them.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use vestibule::store::Reader;

use super::receiver::{Receiver, by_key};
use super::{Daemon, Home, Origin, PATIENCE, counted, home, load};
use crate::harness::{Client, fetched, of, skip, wait};

/// A server in a directory of its own; killed when it goes.
struct Peer {
    child: Child,
    address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_port() -> SocketAddr {
    let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr());
    free.expect("there is a free port")
}

impl Peer {
    /// Starts `command`, whose log goes into the file `log` of `dir`.
    fn start(mut command: Command, dir: tempfile::TempDir, address: SocketAddr) -> Self {
        let log = fs::File::create(dir.path().join("log")).expect("the directory can be written");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .expect("it is there and can be started");
        Self {
            child,
            address,
            dir,
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Looks until there is something to see, as long as it runs.
    fn until<T>(&mut self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        wait(what, PATIENCE, || {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                panic!("it ended with {status}: {}", self.log());
            }
            look(self)
        })
    }

    /// VictoriaMetrics, which scrapes `scraped` if asked to; `None` when it is not there.
    fn victoria_metrics(scraped: Option<SocketAddr>) -> Option<Self> {
        let program = fetched("victoria-metrics")?;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(program);
        command
            .arg(format!(
                "-storageDataPath={}",
                dir.path().join("data").display()
            ))
            .args([
                "-httpListenAddr=127.0.0.1:0",
                "-opentelemetry.usePrometheusNaming",
                "-search.latencyOffset=1ms",
                "-search.disableCache",
                "-memory.allowedBytes=64MB",
            ]);
        if let Some(address) = scraped {
            let config = dir.path().join("scrape.yaml");
            let text = format!(
                "scrape_configs:\n- job_name: scraped\n  scrape_interval: 1s\n  static_configs:\n  \
                 - targets: ['{address}']\n"
            );
            fs::write(&config, text).expect("the directory can be written");
            command.arg(format!("-promscrape.config={}", config.display()));
        }
        let mut peer = Self::start(command, dir, ([127, 0, 0, 1], 0).into());
        peer.address = peer.until("VictoriaMetrics to listen", |peer| {
            let log = peer.log();
            let (_, rest) = log.split_once("started server at http://")?;
            rest.split('/').next()?.parse().ok()
        });
        Some(peer)
    }

    /// Prometheus that scrapes `scraped` every second; `None` when it is not there.
    fn prometheus(scraped: SocketAddr) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = format!(
            "scrape_configs:\n- job_name: scraped\n  scrape_interval: 1s\n  static_configs:\n  \
             - targets: ['{scraped}']\n"
        );
        fs::write(dir.path().join("prometheus.yaml"), config).expect("it can be written");
        Command::new("prometheus").arg("--version").output().ok()?;
        let address = free_port();
        let mut command = Command::new("prometheus");
        command
            .arg("--config.file=prometheus.yaml")
            .arg("--storage.tsdb.path=samples")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(dir.path());
        let mut peer = Self::start(command, dir, address);
        peer.until("Prometheus to serve", |peer| {
            let ready = Client::try_connect(peer.address)
                .ok()?
                .get("/-/ready")
                .ok()?;
            (ready.status == 200).then_some(())
        });
        Some(peer)
    }

    /// rotel, which passes everything on to `receiver`; with it, where its gRPC is. `None` when it is not there.
    fn rotel(receiver: &Receiver) -> Option<(Self, SocketAddr)> {
        let program = fetched("rotel-agent")?;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (http, grpc) = (free_port(), free_port());
        let mut command = Command::new(program);
        command
            .arg("start")
            .arg(format!("--otlp-http-endpoint={http}"))
            .arg(format!("--otlp-grpc-endpoint={grpc}"))
            .arg(format!("--pid-file={}", dir.path().join("pid").display()))
            .arg(format!(
                "--log-file={}",
                dir.path().join("own-log").display()
            ))
            .arg("--exporter=otlp")
            .arg("--otlp-exporter-protocol=http")
            .arg(format!("--otlp-exporter-endpoint={}", receiver.url()));
        let mut peer = Self::start(command, dir, http);
        peer.until("rotel to listen", |peer| {
            Client::try_connect(peer.address).ok()?;
            Client::try_connect(grpc).ok().map(drop)
        });
        Some((peer, grpc))
    }

    /// What a PromQL expression gives now: labels and value.
    fn query(&self, expr: &str) -> Vec<(Value, f64)> {
        let path = format!("/api/v1/query?query={}", escaped(expr));
        let answer = Client::connect(self.address)
            .get(&path)
            .expect("it answers")
            .json();
        assert_eq!(answer["status"], "success", "{expr}: {answer}");
        let result = answer["data"]["result"]
            .as_array()
            .expect("it gives a list");
        let sample = |sample: &Value| {
            let value = sample["value"][1].as_str().expect("a sample has a value");
            let value = value.parse().expect("it is a number");
            (sample["metric"].clone(), value)
        };
        result.iter().map(sample).collect()
    }

    /// The one value that an expression gives now.
    fn one(&self, expr: &str) -> Option<f64> {
        let samples = self.query(expr);
        assert!(samples.len() < 2, "{expr}: {samples:?}");
        samples.first().map(|(_, value)| *value)
    }

    /// Good, bad and excluded requests of route `shop`, and good and bad events of its SLOs.
    fn counts(&self, more: &str) -> Counts {
        let one = |expr: String| self.one(&expr).unwrap_or(0.0) as u64;
        let requests = |outcome| {
            one(format!(
                "vestibule_requests_total{{route=\"shop\",outcome=\"{outcome}\"{more}}}"
            ))
        };
        let events = |slo, result| {
            one(format!(
                "vestibule_slo_events_total{{slo=\"{slo}\",result=\"{result}\"{more}}}"
            ))
        };
        Counts {
            requests: ["good", "bad", "excluded"].map(requests),
            available: ["good", "bad"].map(|result| events("available", result)),
            fast: ["good", "bad"].map(|result| events("fast", result)),
        }
    }
}

fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// What is counted of the shop, wherever it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    /// Good, bad, excluded.
    requests: [u64; 3],
    /// Good and bad events of SLO `available`.
    available: [u64; 2],
    /// The same of SLO `fast`.
    fast: [u64; 2],
}

impl Counts {
    /// What `vestibule status --json` says.
    fn of_status(home: &Home, daemon: &Daemon) -> Self {
        let socket = daemon.socket().to_str().expect("it is text").to_owned();
        let said = home.vestibule(&["status", "--json", "--connect", &socket]);
        let snapshot: Value = serde_json::from_slice(&said.stdout).expect("it is JSON");
        let events = |slo| {
            let slo = of(&snapshot["slos"], "id", slo);
            ["good", "bad"].map(|result| slo[result].as_u64().expect("a number"))
        };
        let route = of(&snapshot["routes"], "id", "shop");
        Self {
            requests: ["good", "bad", "excluded"]
                .map(|outcome| route[outcome].as_u64().expect("a number")),
            available: events("available"),
            fast: events("fast"),
        }
    }

    /// What is on disk once the daemon has stopped.
    fn of_store(home: &Home) -> Self {
        let reader = Reader::open(&home.state()).expect("the history can be read");
        let route = reader.route_counts("shop").expect("it is there");
        let slo = |name| {
            let tally = reader.slo_over(name, 0, u64::MAX / 2);
            let tally = tally.expect("it is there");
            [tally.good, tally.bad]
        };
        Self {
            requests: [route.good, route.bad, route.excluded],
            available: slo("available"),
            fast: slo("fast"),
        }
    }
}

/// Requests of every kind over some connections at once, for as long as it is said; how many were good, bad, excluded.
fn mixed_load(daemon: &Daemon, lasts: Duration) -> [u64; 3] {
    let address = daemon.address();
    let connections = (0..4).map(|connection| {
        thread::spawn(move || {
            let began = Instant::now();
            let mut client = Client::connect(address);
            let mut sent = [0_u64; 3];
            for turn in 0.. {
                if began.elapsed() >= lasts {
                    break;
                }
                match turn % 40 {
                    7 => {
                        assert_eq!(client.get("/fail").expect("it is answered").status, 500);
                        sent[1] += 1;
                    }
                    19 if connection == 0 => {
                        let late = client.get("/delay/600").expect("it is answered");
                        assert_eq!(late.status, 200);
                        sent[0] += 1;
                    }
                    31 => {
                        let mut other = Client::connect(address);
                        let answer = other.ask("POST /echo", &[], &[b'x'; 1_025]);
                        assert_eq!(answer.expect("it is answered").status, 413);
                        sent[2] += 1;
                    }
                    _ => {
                        assert_eq!(client.get("/").expect("it is answered").status, 200);
                        sent[0] += 1;
                    }
                }
            }
            sent
        })
    });
    let connections: Vec<_> = connections.collect();
    let mut all = [0; 3];
    for connection in connections {
        let sent = connection.join().expect("every answer is as it should be");
        for (all, sent) in all.iter_mut().zip(sent) {
            *all += sent;
        }
    }
    all
}

/// How long the load lasts that everybody counts.
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_minute_of_load_is_the_same_wherever_it_is_read() {
    let scraped = free_port();
    let Some(victoria) = Peer::victoria_metrics(Some(scraped)) else {
        return skip("victoria-metrics is not installed");
    };
    let Some(prometheus) = Peer::prometheus(scraped) else {
        return skip("prometheus is not installed");
    };
    let origin = Origin::start("shop");
    let home = home(
        &origin,
        &format!(
            "[admin]\nlisten = '{scraped}'\n\
             [otlp.metrics]\nendpoint = 'http://{}/opentelemetry/v1/metrics'\ninterval = '1s'\n",
            victoria.address
        ),
    );
    let daemon = home.run();
    let sent = mixed_load(&daemon, MINUTE);
    daemon.until("all of it to be counted", PATIENCE, |snapshot| {
        let shop = of(&snapshot["routes"], "id", "shop");
        (shop["requests"].as_u64()? >= sent.iter().sum()).then_some(())
    });
    let status = Counts::of_status(&home, &daemon);
    assert_eq!(status.requests, sent);
    let [good, bad, _] = sent;
    assert_eq!(status.available, [good, bad]);
    assert!(sent.iter().all(|count| *count > 0), "{sent:?}");
    assert!(status.fast[1] > 0, "nothing was slow: {status:?}");

    for (reader, peer, more) in [
        ("Prometheus by scrape", &prometheus, ""),
        ("VictoriaMetrics by scrape", &victoria, ",job=\"scraped\""),
        ("VictoriaMetrics by OTLP", &victoria, ",job!=\"scraped\""),
    ] {
        let read = wait(reader, PATIENCE, || {
            let read = peer.counts(more);
            // It never has more than there are.
            assert!(read.requests[0] <= status.requests[0], "{reader}: {read:?}");
            (read.requests == status.requests && read.fast == status.fast).then_some(read)
        });
        assert_eq!(read, status, "{reader}");
    }
    assert!(daemon.stop().success());
    assert_eq!(Counts::of_store(&home), status, "on disk");
}

#[test]
fn victoria_metrics_takes_exponential_histograms_cumulative_and_as_differences() {
    for (temporality, over) in [("cumulative", ""), ("delta", "sum_over_time")] {
        let Some(victoria) = Peer::victoria_metrics(None) else {
            return skip("victoria-metrics is not installed");
        };
        let origin = Origin::start("shop");
        let home = home(
            &origin,
            &format!(
                "[otlp.metrics]\nendpoint = 'http://{}/opentelemetry/v1/metrics'\ninterval = '1s'\n\
                 temporality = '{temporality}'\n",
                victoria.address
            ),
        );
        let daemon = home.run();
        load(&daemon, 200, 5);
        let mut client = Client::connect(daemon.address());
        for _ in 0..50 {
            assert_eq!(client.get("/delay/350").expect("an answer").status, 200);
        }
        assert_eq!(counted(&daemon), [250, 5, 0]);
        // Differences are samples of their own; everything is their sum.
        let all = |series: &str| match over {
            "" => series.to_owned(),
            over => format!("{over}({series}[10m])"),
        };
        let one = |expr: String| victoria.one(&expr);
        wait("everything to have arrived", PATIENCE, || {
            let good = all("vestibule_requests_total{route=\"shop\",outcome=\"good\"}");
            (one(good) == Some(250.0)).then_some(())
        });
        let histogram = "http_server_request_duration_seconds";
        let of_shop = "{route=\"shop\",http_route=\"/*\"}";
        let count = one(all(&format!("{histogram}_count{of_shop}")));
        assert_eq!(count, Some(255.0), "{temporality}");
        let buckets = victoria.query(&all(&format!("{histogram}_bucket{of_shop}")));
        let inside: f64 = buckets.iter().map(|(_, count)| count).sum();
        assert_eq!(inside as u64, 255, "{buckets:?}");
        // 350 ms and a little, in buckets that are 9 % wide; one in five takes so long.
        let bucket = all(&format!("{histogram}_bucket{of_shop}"));
        let p90 = one(format!(
            "histogram_quantile(0.9, sum by (vmrange) ({bucket}))"
        ));
        let p90 = p90.expect("there is one");
        assert!((0.32..0.6).contains(&p90), "{temporality}: p90 is {p90} s");
        let quick = one(format!("histogram_share(0.3, sum by (vmrange) ({bucket}))"));
        let quick = quick.expect("there is one");
        assert!(
            (0.7..=0.81).contains(&quick),
            "{temporality}: {quick} under 300 ms"
        );
    }
}

#[test]
fn rotel_takes_all_signals_by_grpc_and_by_http_and_passes_on_the_same() {
    for protocol in ["grpc", "http/protobuf"] {
        let receiver = Receiver::http();
        let Some((rotel, grpc)) = Peer::rotel(&receiver) else {
            return skip("rotel-agent is not installed");
        };
        let address = if protocol == "grpc" {
            grpc
        } else {
            rotel.address
        };
        let origin = Origin::start("shop");
        let home = home(
            &origin,
            &format!(
                "[otlp]\nendpoint = 'http://{address}'\nprotocol = '{protocol}'\n\
                 [otlp.metrics]\ninterval = '1s'\n[otlp.traces]\nratio = 1\n[otlp.logs]\nenabled = true\n"
            ),
        );
        let daemon = home.run();
        load(&daemon, 60, 4);
        wait("everything to have come through", PATIENCE, || {
            let taken = receiver.taken();
            let all = taken.shop() == [60, 4, 0]
                && taken.spans.len() >= 2 * 64
                && taken.records.len() >= 64;
            all.then_some(())
        });
        assert!(daemon.stop().success());
        let taken = receiver.taken();
        assert_eq!((taken.spans.len(), taken.records.len()), (128, 64));
        let durations = taken.histograms.iter();
        let mut durations = durations.filter(|((_, attributes), _)| attributes["route"] == "shop");
        let ((name, _), (count, _)) = durations.next().expect("there are durations");
        assert_eq!(
            (name.as_str(), *count),
            ("http.server.request.duration", 64)
        );
        let mut statuses = BTreeMap::<String, usize>::new();
        for span in &taken.spans {
            let status = by_key(&span.attributes).expect("they are as they should be");
            *statuses
                .entry(status["http.response.status_code"].clone())
                .or_default() += 1;
        }
        assert_eq!(
            statuses,
            BTreeMap::from([("200".into(), 120), ("500".into(), 8)])
        );
        drop(rotel);
    }
}
