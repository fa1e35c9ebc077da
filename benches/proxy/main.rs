//! What a request costs here, in nginx and in HAProxy: processor time per request, in interleaved rounds.
//!
//! `cargo bench --bench proxy` runs every scenario; words after `--` choose those whose names contain one of them.
//! The proxies have one thread on one core, generator and backend share the others; all of them keep upstream
//! connections alive, add forwarding headers and write an access log. Rates depend on what else the machine does. The
//! figure to read is the ratio of processor time per request within a round, of which median and range are printed.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `BENCH_ROUNDS` | rounds of each scenario | 7 |
//! | `BENCH_SECONDS` | seconds of load for each proxy and round | 3 |
//! | `BENCH_BASE` | another `vestibule` binary to compare with, for before and after | none |
//! | `BENCH_PEERS` | `no`: leave nginx and HAProxy out | yes |

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench measures time, prints it, and may die of anything unexpected"
)]

mod backend;
mod load;
mod memory;
mod meter;
mod peer;
mod table;

use std::path::Path;
use std::process::Command;

use backend::Backend;
use load::{Load, Tool};
use peer::{Peer, Program, Site};
use table::Table;

/// One way of putting load on a proxy.
struct Scenario {
    name: &'static str,
    load: Load,
    /// Ten routes against ten thousand of our own, instead of us against the others.
    crowd: bool,
}

const fn scenario(name: &'static str, tool: Tool, tls: bool, path: &'static str) -> Scenario {
    Scenario {
        name,
        load: Load { tool, tls, path },
        crowd: false,
    }
}

const fn wrk(connections: u32) -> Tool {
    Tool::Wrk {
        connections,
        close: false,
    }
}

const CLOSE: Tool = Tool::Wrk {
    connections: 64,
    close: true,
};

const H2: Tool = Tool::H2load {
    connections: 8,
    streams: 8,
};

const SCENARIOS: [Scenario; 9] = [
    scenario("plain keep-alive, 64 conns", wrk(64), false, "/"),
    scenario("TLS keep-alive, 64 conns", wrk(64), true, "/"),
    scenario("h2 over TLS, 8 conns x 8 streams", H2, true, "/"),
    scenario("new connection each", CLOSE, false, "/"),
    scenario("new TLS connection each", CLOSE, true, "/"),
    scenario("1,000 conns", wrk(1_000), false, "/"),
    scenario("64 KiB bodies", wrk(64), false, "/64k"),
    scenario("1 MiB bodies", wrk(16), false, "/1m"),
    Scenario {
        name: "10,000 routes",
        load: Load {
            tool: wrk(64),
            tls: false,
            path: "/",
        },
        crowd: true,
    },
];

const MEMORY: &str = "memory per idle connection";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .first()
        .is_some_and(|first| first == backend::ARGUMENT)
    {
        return backend::serve();
    }
    let wanted: Vec<&String> = arguments
        .iter()
        .filter(|word| !word.starts_with("--"))
        .collect();
    let is_wanted =
        |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    let rounds = setting("BENCH_ROUNDS", 7);
    let seconds = setting("BENCH_SECONDS", 3);
    let ours = Path::new(env!("CARGO_BIN_EXE_vestibule"));
    let base = std::env::var_os("BENCH_BASE");
    let mut programs = vec![Program::Vestibule {
        name: "vestibule",
        binary: ours,
    }];
    if let Some(base) = &base {
        programs.push(Program::Vestibule {
            name: "base",
            binary: Path::new(base),
        });
    }
    if std::env::var("BENCH_PEERS").as_deref() != Ok("no") {
        programs.extend([Program::Nginx, Program::NginxBuffered, Program::Haproxy]);
    }
    for tool in ["wrk", "h2load"] {
        if !peer::is_installed(tool) {
            eprintln!("skipped: what needs {tool}, which is not on PATH");
        }
    }
    programs.retain(|program| {
        let there = program.is_there();
        if !there {
            eprintln!("skipped: {}, which is not on PATH", program.name());
        }
        there
    });

    println!("{}", machine());
    let cores = Cores::find();
    let backend = Backend::start();
    let site = Site::new(backend.port, cores.proxy.clone());
    println!("{rounds} rounds of {seconds} s; {}\n", cores.text());

    if is_wanted(MEMORY) {
        let fresh = || programs.iter().map(|program| Peer::start(*program, &site));
        println!("{}", memory::measure(fresh()));
    }
    let peers: Vec<Peer> = programs
        .iter()
        .map(|program| Peer::start(*program, &site))
        .collect();
    let mut table = Table::new(&peers);
    for scenario in SCENARIOS.iter().filter(|scenario| is_wanted(scenario.name)) {
        if !peer::is_installed(scenario.load.program()) {
            continue;
        }
        if scenario.crowd {
            let pair = [10, 10_000].map(|routes| {
                let program = Program::Crowd {
                    binary: ours,
                    routes,
                };
                Peer::start(program, &site)
            });
            let mut table = Table::new(&pair);
            table.add(scenario.name, &run(&pair, &scenario.load, rounds, seconds));
            println!("{table}");
        } else {
            let samples = run(&peers, &scenario.load, rounds, seconds);
            table.add(scenario.name, &samples);
            eprintln!("{}", table.last());
        }
    }
    println!("{table}");
    for peer in &peers {
        assert!(peer.has_logged(), "{} wrote no access log", peer.name);
    }
}

/// One sample per round and peer: rounds first.
fn run(peers: &[Peer], load: &Load, rounds: u64, seconds: u64) -> Vec<Vec<meter::Sample>> {
    for peer in peers {
        let _warm = load.run(peer, 1);
    }
    (0..rounds)
        .map(|_| {
            peers
                .iter()
                .map(|peer| meter::sample(peer, || load.run(peer, seconds)))
                .collect()
        })
        .collect()
}

/// Which cores the proxies and the rest run on.
struct Cores {
    proxy: Option<String>,
    rest: Option<String>,
}

impl Cores {
    /// The first core for the proxies, if there is another for the rest; this process moves there at once, and its
    /// children with it.
    fn find() -> Self {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        if count < 2 || !peer::is_installed("taskset") {
            eprintln!("not pinned: that needs taskset and two cores");
            return Self {
                proxy: None,
                rest: None,
            };
        }
        let rest = format!("1-{}", count - 1);
        let moved = Command::new("taskset")
            .args(["-a", "-c", "-p", &rest, &std::process::id().to_string()])
            .output()
            .unwrap();
        assert!(moved.status.success(), "taskset could not move the bench");
        Self {
            proxy: Some("0".to_owned()),
            rest: Some(rest),
        }
    }

    fn text(&self) -> String {
        match (&self.proxy, &self.rest) {
            (Some(proxy), Some(rest)) => {
                format!("proxies on core {proxy}, generator and backend on {rest}")
            }
            (None, _) | (_, None) => "not pinned".to_owned(),
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => default,
    }
}

fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "));
    let load = read("/proc/loadavg");
    format!(
        "{}, {} cores; load average when started {}",
        model.unwrap_or("unknown processor"),
        std::thread::available_parallelism().map_or(1, usize::from),
        load.split(' ').next().unwrap_or("unknown"),
    )
}
