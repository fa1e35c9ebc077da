//! What exporting costs with 1,000 routes and 20,000 requests a second: processor time of the exporter's thread, and of
//! what request threads do for it. `cargo bench --bench otlp` prints figures and judges nothing.
//!
//! The daemon runs in this process first, so that the snapshot that is exported is a real one in which every route has
//! had requests of several kinds. Then it is exported to a receiver on loopback that takes everything, while records of
//! requests come as workers would write them.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures time, prints it, and may die of anything unexpected"
)]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use vestibule::app::{self, Options, Signal};
use vestibule::clock::SystemClock;
use vestibule::config;
use vestibule::export::otlp::{Ask, Baseline, Exporter, Inputs, Measured, write_record};
use vestibule::model::{
    AccessRecord, Attempt, Exponential, Fault, Latency, Observation, Outcome, RouteKey, Source,
    Timestamp,
};
use vestibule::snapshot::Snapshot;

const ROUTES: usize = 1_000;
const RATE: usize = 20_000;
/// Of so many requests one is bad.
const BAD: usize = 200;
/// As full as a worker's buffer gets before it is handed over.
const BATCH: usize = 128 * 1024;

fn main() {
    let seconds = std::env::var("BENCH_SECONDS").map_or(45, |text| text.parse().unwrap());
    let span = Duration::from_secs(seconds);
    let measured = measured();
    let records = records();
    println!(
        "{ROUTES} routes, {RATE} requests a second, 1 in {BAD} bad; the exporter's thread's share of one core over {seconds} s each"
    );
    let record = one_record(&records);
    println!(
        "a request thread writes a record in {} ns: {:.2} % for all",
        record.as_nanos(),
        record.as_secs_f64() * RATE as f64 * 100.0
    );
    for (name, otlp) in [
        ("metrics every 15 s", "[otlp.traces]\nenabled = false\n"),
        ("metrics and traces, as by default", ""),
        (
            "the same, not compressed",
            "compression = 'none'\n[otlp.traces]\n",
        ),
        (
            "metrics, traces, a log record each",
            "[otlp.logs]\nenabled = true\n",
        ),
    ] {
        let cost = cost(otlp, &measured, &records, span);
        let Cost {
            exporter,
            megabytes,
            dropped,
        } = cost;
        println!(
            "{name}: {:.2} %; {megabytes:.1} MB sent, {dropped} items dropped",
            exporter * 100.0
        );
    }
}

struct Cost {
    exporter: f64,
    megabytes: f64,
    dropped: u64,
}

/// Exports for `span` as the lines of `[otlp]` say.
fn cost(otlp: &str, measured: &Measured, records: &[Vec<u8>], span: Duration) -> Cost {
    let (receiver, taken) = receiver();
    let text = format!(
        "[[listener]]\nname = 'l'\naddress = '127.0.0.1:0'\n[otlp]\nendpoint = 'http://{receiver}'\n{otlp}"
    );
    let config = config::parse("bench", &text, Path::new(""), &|_| None);
    let config = config.unwrap_or_else(|report| panic!("{}", report.render(false)));
    let (asks, asked) = mpsc::channel(1);
    let (_keep, snapshots) = watch::channel(Some(Arc::clone(&measured.snapshot)));
    let inputs = Inputs {
        asks,
        snapshots,
        baseline: Baseline::default(),
    };
    let exporter = Exporter::start(&config.otlp, SystemClock::new(), inputs)
        .unwrap()
        .unwrap();
    let answered = measured.clone();
    thread::spawn(move || answer(asked, &answered));
    let meter = thread_named("otlp");
    let (began, before) = (Instant::now(), spent(&meter));
    let mut sent = 0;
    while began.elapsed() < span {
        let due = (began.elapsed().as_secs_f64() * RATE as f64) as usize;
        if let Some(sink) = &exporter.records {
            write(sink, records, sent..due);
        }
        sent = due;
        thread::sleep(Duration::from_millis(50));
    }
    let elapsed = began.elapsed().as_secs_f64();
    let share = spent(&meter).saturating_sub(before).as_secs_f64() / elapsed;
    let dropped = exporter
        .view()
        .iter()
        .flat_map(|signal| signal.dropped.values())
        .sum();
    exporter.finish(measured.clone());
    Cost {
        exporter: share,
        megabytes: taken.load(Ordering::Relaxed) as f64 / 1e6,
        dropped,
    }
}

/// Writes records as workers do, and hands them over.
fn write(sink: &SyncSender<Vec<u8>>, routes: &[Vec<u8>], range: Range<usize>) {
    let mut buffer = Vec::with_capacity(BATCH + 4_096);
    for request in range {
        request_record(&mut buffer, routes, request);
        if buffer.len() >= BATCH {
            let full = std::mem::replace(&mut buffer, Vec::with_capacity(BATCH + 4_096));
            sink.try_send(full).unwrap();
        }
    }
    if !buffer.is_empty() {
        sink.try_send(buffer).unwrap();
    }
}

/// The median time of writing one record.
fn one_record(routes: &[Vec<u8>]) -> Duration {
    const RECORDS: usize = 8_192;
    let mut buffer = Vec::with_capacity(RECORDS * 1_024);
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            buffer.clear();
            let began = Instant::now();
            for request in 0..RECORDS {
                request_record(&mut buffer, routes, request);
            }
            began.elapsed() / RECORDS as u32
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Route ids, kept so that making them is not measured.
fn records() -> Vec<Vec<u8>> {
    (0..ROUTES)
        .map(|route| format!("r{route}").into_bytes())
        .collect()
}

fn request_record(buffer: &mut Vec<u8>, routes: &[Vec<u8>], request: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bad = request.is_multiple_of(BAD);
    let (outcome, status) = if bad {
        (Fault::UpstreamStatus.outcome(), 500)
    } else {
        (Outcome::Good, 200)
    };
    let mixed = (request as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut trace = [b'0'; 32];
    for (place, digit) in trace.iter_mut().skip(16).enumerate() {
        *digit = DIGITS[(mixed >> (4 * place) & 15) as usize];
    }
    trace[0] = b'1';
    let observation = Observation {
        route: RouteKey(1),
        endpoint: None,
        source: Source::Proxy,
        outcome,
        status: Some(status),
        duration_us: 1_000 + mixed % 90_000,
        phases: [Some(12), None, Some(900), Some(80)],
        attempts: 1,
        bytes_in: 0,
        bytes_out: 2_048,
    };
    let attempt = Attempt {
        endpoint: "http://10.0.0.21:8080",
        ordinal: 0,
        began_us: 12,
        ended_us: None,
        status: Some(status),
        fault: None,
    };
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    write_record(
        buffer,
        &AccessRecord {
            at: Timestamp::from_millis(1_795_420_960_123 + request as u64 / 20),
            observation: &observation,
            route: text(&routes[request % routes.len()]),
            endpoint: attempt.endpoint,
            attempts: &[attempt],
            client: [192, 0, 2, 7].into(),
            scheme: "https",
            protocol: "HTTP/2.0",
            method: "GET",
            host: b"shop.example",
            path: "/checkout/cart/items",
            user_agent: b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            request_id: "00c0ffee00c0ffee00c0ffee00c0ffee",
            trace_id: text(&trace),
            span_id: text(&trace[16..]),
            parent_id: "",
            sampled: true,
        },
    );
}

fn answer(mut asks: mpsc::Receiver<Ask>, measured: &Measured) {
    while let Some(ask) = asks.blocking_recv() {
        // What is asked for later is later.
        let mut snapshot = Snapshot::clone(&measured.snapshot);
        snapshot.at = Timestamp::from_millis(unix_millis());
        let durations = measured.durations.clone();
        drop(ask.send(Measured {
            snapshot: Arc::new(snapshot),
            durations,
        }));
    }
}

fn unix_millis() -> u64 {
    std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_millis() as u64
}

/// A snapshot of the daemon after each route had some requests.
fn measured() -> Measured {
    let dir = tempfile::tempdir().unwrap();
    let text = configuration(dir.path(), backend());
    let resolved = config::parse("bench", &text, dir.path(), &|_| None);
    let resolved = resolved.unwrap_or_else(|report| panic!("{}", report.render(false)));
    let (stop, signals) = mpsc::channel(1);
    let (snapshots, mut watched) = watch::channel(None);
    let control = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let options = Options {
            resolved,
            reload: None,
            signals,
            snapshots,
        };
        runtime.unwrap().block_on(app::run(options)).unwrap();
    });
    let mut look = |found: &dyn Fn(&Snapshot) -> bool| loop {
        let snapshot: Option<Arc<Snapshot>> = watched.borrow_and_update().clone();
        if let Some(snapshot) = snapshot.filter(|snapshot| found(snapshot)) {
            break snapshot;
        }
        thread::sleep(Duration::from_millis(10));
    };
    let address: SocketAddr = look(&|_| true).listeners[0].address.parse().unwrap();
    drive(address);
    let has_all = |snapshot: &Snapshot| {
        let routes = snapshot.routes.iter().filter(|route| route.id != "none");
        routes.map(|route| route.good + route.bad).min() == Some(3)
    };
    let snapshot = look(&has_all);
    stop.blocking_send(Signal::Stop).unwrap();
    stop.blocking_send(Signal::Stop).unwrap_or_default();
    control.join().unwrap();
    let mut latency = Latency::new();
    for n in 0..5_000 {
        latency.record(300 + n * n % 900_000);
    }
    let mut durations = Exponential::default();
    durations.add(&latency);
    let routes = snapshot.routes.iter();
    Measured {
        durations: routes
            .map(|route| (route.id.clone(), durations.clone()))
            .collect(),
        snapshot,
    }
}

fn configuration(dir: &Path, backend: SocketAddr) -> String {
    let mut text = format!(
        "state.dir = '{}'\n[proxy]\nworkers = 1\n[[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n",
        dir.join("state").display()
    );
    for route in 0..ROUTES {
        write!(
            text,
            "[[upstream]]\nname = 'u{route}'\nendpoints = ['http://{backend}']\n\
             [[route]]\nid = 'r{route}'\nhosts = ['r{route}.test']\nupstream = 'u{route}'\n\
             [[slo]]\nid = 'r{route}-ok'\nroute = 'r{route}'\nsli = 'availability'\nobjective = '99.9%'\n\
             [[slo]]\nid = 'r{route}-fast'\nroute = 'r{route}'\nsli = 'latency'\nunder = '300ms'\nobjective = '95%'\n"
        )
        .unwrap();
    }
    text
}

/// Three requests to every route, of which one fails.
fn drive(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut answer = [0; 4_096];
    for request in 0..3 * ROUTES {
        let (route, path) = (request / 3, if request % 3 == 0 { "/fail" } else { "/" });
        let request = format!("GET {path} HTTP/1.1\r\nhost: r{route}.test\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        // Small enough to come in one piece.
        assert!(stream.read(&mut answer).unwrap() > 0);
    }
}

/// Answers every request on every connection; what asks for `/fail` fails.
fn backend() -> SocketAddr {
    serve(|line, stream, _| {
        let status = if line.contains("/fail") {
            "500 No"
        } else {
            "200 OK"
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
        drop(stream.write_all(answer.as_bytes()));
    })
}

/// Takes every message; with how many bytes it was sent.
fn receiver() -> (SocketAddr, Arc<AtomicU64>) {
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&taken);
    let address = serve(move |_, stream, bytes| {
        counted.fetch_add(bytes as u64, Ordering::Relaxed);
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    });
    (address, taken)
}

/// Reads request after request and has each answered, given its first line and how long its body was.
fn serve(answer: impl Fn(&str, &mut TcpStream, usize) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
                while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
                    if first.is_empty() {
                        first.clone_from(&line);
                    }
                    let lower = line.to_ascii_lowercase();
                    if let Some(value) = lower.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    if line == "\r\n" {
                        let mut body = vec![0; length];
                        reader.read_exact(&mut body).unwrap();
                        answer(&first, &mut stream, length);
                        (first, length) = (String::new(), 0);
                    }
                    line.clear();
                }
            });
        }
    });
    address
}

/// The meter of our thread of that name.
fn thread_named(name: &str) -> PathBuf {
    let is_named = |path: &PathBuf| {
        fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let mut threads = threads.map(|thread| thread.unwrap().path());
    threads.find(is_named).unwrap().join("schedstat")
}

/// Processor time that a thread has had.
fn spent(meter: &Path) -> Duration {
    let text = fs::read_to_string(meter).unwrap();
    let nanos = text.split_whitespace().next().unwrap().parse().unwrap();
    Duration::from_nanos(nanos)
}
