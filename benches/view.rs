//! What the control thread costs with 1,000 routes: gathering, judging 2,000 SLOs, the verdict and the snapshot, once a
//! second. `cargo bench --bench view` prints figures and judges nothing.
//!
//! The whole daemon runs in this process, with an hour of history for every route. After a while without traffic 50 of
//! the routes get some, and then all of them.

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
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use vestibule::app::{self, Options, Signal};
use vestibule::clock::SystemClock;
use vestibule::config;
use vestibule::model::{Counts, Latency, Tally};
use vestibule::store::{self, MinuteBatch, RouteMinute, SloMinute};

const ROUTES: usize = 1_000;
/// Requests a second to all routes that get any.
const RATE: u32 = 500;
const WARM_UP: Duration = Duration::from_secs(5);
const SPAN: Duration = Duration::from_secs(20);

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let text = configuration(dir.path(), backend());
    let resolved = config::parse("bench", &text, dir.path(), &|_| None);
    let resolved = resolved.unwrap_or_else(|report| panic!("{}", report.render(false)));
    remember(&resolved.store);
    let (stop, signals) = mpsc::channel(1);
    let (snapshots, mut watched) = watch::channel(None);
    let (tell, told) = std::sync::mpsc::channel();
    let control = thread::spawn(move || {
        tell.send(fs::read_link("/proc/thread-self").unwrap())
            .unwrap();
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
    let meter = Path::new("/proc")
        .join(told.recv().unwrap())
        .join("schedstat");
    let address = loop {
        if let Some(snapshot) = watched.borrow_and_update().as_ref() {
            break snapshot.listeners[0].address.parse().unwrap();
        }
        thread::sleep(Duration::from_millis(10));
    };
    let busy = Arc::new(AtomicUsize::new(0));
    let load = Arc::clone(&busy);
    thread::spawn(move || drive(address, &load));
    println!(
        "{ROUTES} routes with two SLOs and an hour of history each; the control thread's share of one core"
    );
    for routes in [0, ROUTES / 20, ROUTES] {
        busy.store(routes, Ordering::SeqCst);
        thread::sleep(WARM_UP);
        let (began, before) = (Instant::now(), spent(&meter));
        thread::sleep(SPAN);
        let share =
            spent(&meter).saturating_sub(before).as_secs_f64() / began.elapsed().as_secs_f64();
        println!("{routes:>5} busy: {:.2} %", share * 100.0);
    }
    stop.blocking_send(Signal::Stop).unwrap();
    stop.blocking_send(Signal::Stop).unwrap_or_default();
    control.join().unwrap();
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

/// Leaves an hour of minutes as an earlier run would have.
fn remember(config: &store::Config) {
    let mut latency = Latency::new();
    for n in 0..600 {
        latency.record(800 + n * n % 90_000);
    }
    let writer = store::open(config, SystemClock::new()).unwrap().writer;
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let end = now.as_secs() / 60;
    for minute in end - 60..end {
        let route = |route| RouteMinute {
            route: format!("r{route}"),
            counts: Counts {
                good: 600,
                bad: 1,
                excluded: 1,
            },
            latency: Some(latency.clone()),
            phases: [None, None, None, None],
            duration_us: 12_345_678,
            bytes_in: 1_000_000,
            bytes_out: 90_000_000,
            retries: 2,
            bad_parts: Vec::new(),
        };
        let slo = |slo| SloMinute {
            slo,
            counted: String::new(),
            tally: Tally { good: 600, bad: 1 },
        };
        let ids = |kind: &'static str| (0..ROUTES).map(move |route| format!("r{route}-{kind}"));
        let batch = MinuteBatch {
            minute,
            routes: (0..ROUTES).map(route).collect(),
            slos: ids("ok").chain(ids("fast")).map(slo).collect(),
        };
        writer.minute(batch).unwrap();
        writer.flush(Duration::from_secs(120)).unwrap();
    }
    writer.close(Duration::from_secs(120)).unwrap();
}

/// Answers every request on every connection.
fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
                    if line == "\r\n" {
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                        drop(stream.write_all(answer));
                    }
                    line.clear();
                }
            });
        }
    });
    address
}

/// Sends requests to as many routes as `busy` says, in turn.
fn drive(address: SocketAddr, busy: &AtomicUsize) {
    let mut connection = None;
    let mut answer = [0; 4_096];
    for turn in 0_usize.. {
        thread::sleep(Duration::from_secs(1) / RATE);
        let routes = busy.load(Ordering::SeqCst);
        if routes > 0 {
            // Only now: an idle connection would be closed.
            let stream = connection.get_or_insert_with(|| TcpStream::connect(address).unwrap());
            let route = turn % routes;
            let request = format!("GET / HTTP/1.1\r\nhost: r{route}.test\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            // Small enough to come in one piece. Without one it is over.
            if stream.read(&mut answer).unwrap() == 0 {
                break;
            }
        }
    }
}

/// Processor time that a thread has had.
fn spent(meter: &Path) -> Duration {
    let text = fs::read_to_string(meter).unwrap();
    let nanos = text.split_whitespace().next().unwrap().parse().unwrap();
    Duration::from_nanos(nanos)
}
