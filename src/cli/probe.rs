//! `vestibule probe`: probes by hand, and for continuous integration.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use http::{Method, StatusCode};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Connect, DEFAULT_FILE, Exit, complain, fancy, runtime, say};
use crate::admin::client::{AskError, ask};
use crate::clock::SystemClock;
use crate::config::{self, Probes, Report};
use crate::net::mark::MarkKey;
use crate::probe::definition::Definition;
use crate::probe::prepare::prepare;
use crate::snapshot::ProbeSlotView;

mod import;
mod progress;
mod report;
mod serve;

use progress::{Progress, interrupted};
use report::Finished;

#[derive(Debug, Subcommand)]
pub(super) enum ProbeCommand {
    /// Run probes once, now, without a daemon; the exit code says how they went
    ///
    /// 0: all were as expected. 1: one failed. 64: there is no such probe. 78: a file of probes is wrong.
    Run(RunArguments),
    /// List probes, or say everything that is wrong with their files
    List(ListArguments),
    /// Show how a daemon's probe went lately, newest first
    ///
    /// 64: there is no such probe. 69: no daemon answers.
    History(HistoryArguments),
    /// Answer `/probe?target=…&module=…` as `blackbox_exporter` does, without a daemon
    ///
    /// Whoever reaches the address can have this machine connect to whatever it can reach: keep it on loopback, or behind
    /// a firewall. A daemon answers the same on its admin API. 69: the address cannot be had. 78: a file is wrong.
    Serve(ServeArguments),
    /// Write other programs' definitions as a file of probes, and say what cannot be carried over
    ///
    /// Modules of `blackbox_exporter` become modules, endpoints of Gatus probes, a file of Hurl's a journey.
    ///
    /// 0: everything was carried over. 1: something was not; it is said on standard error, and in comments. 74: the file
    /// cannot be written. 78: the file cannot be read, is larger than 1 MiB, or is wrong.
    Import(ImportArguments),
}

#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    place: Place,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9115")]
    listen: SocketAddr,
    /// Mark requests with this key (a daemon's probe.key), so that its proxy keeps them out of users' SLOs
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// `blackbox.yml`, the configuration of Gatus, or a file of Hurl's that is called `*.hurl`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write to a new file instead of to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct HistoryArguments {
    /// The probe
    name: String,
    /// How many slots
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    #[command(flatten)]
    connect: Connect,
    /// The slots as JSON
    #[arg(long)]
    json: bool,
}

/// Where probes are written.
#[derive(Debug, Args)]
struct Place {
    /// The configuration whose `probes.dir` is read, vestibule.toml if there is one
    #[arg(long, short, value_name = "FILE", conflicts_with = "dir")]
    config: Option<PathBuf>,
    /// The directory of files of probes, instead of the configuration's; otherwise `synthetic`
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// Names of probes, or files of them (*.toml); all when nothing is named
    #[arg(value_name = "NAME|FILE")]
    what: Vec<String>,
    #[command(flatten)]
    place: Place,
    /// The results as JSON
    #[arg(long)]
    json: bool,
    /// The results as TAP version 14
    #[arg(long, conflicts_with = "json")]
    tap: bool,
    /// Write the results as `JUnit` XML to this file as well
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How many run at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// Mark requests with this key (a daemon's probe.key), so that its proxy keeps them out of users' SLOs
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    place: Place,
    /// The probes as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn probe(command: ProbeCommand) -> Exit {
    let done = match command {
        ProbeCommand::Run(arguments) => run(arguments),
        ProbeCommand::List(arguments) => list(&arguments),
        ProbeCommand::History(arguments) => history(&arguments),
        ProbeCommand::Serve(arguments) => serve::serve(arguments),
        ProbeCommand::Import(arguments) => import::import(&arguments),
    };
    done.unwrap_or_else(|exit| exit)
}

/// The directory that is meant when neither it nor a configuration is named.
const DEFAULT_DIR: &str = "synthetic";

impl Place {
    /// The probes there, or how to end after it has been said why there are none.
    fn probes(&self) -> Result<Probes, Exit> {
        if let Some(dir) = &self.dir {
            return config::load_probe_dir(dir).map_err(|reports| explain(&reports));
        }
        let default = Path::new(DEFAULT_FILE);
        let file = self
            .config
            .as_deref()
            .or(default.exists().then_some(default));
        let Some(file) = file else {
            return config::load_probe_dir(Path::new(DEFAULT_DIR)).map_err(|reports| {
                let exit = explain(&reports);
                complain("name a directory with --dir, or a configuration with --config");
                exit
            });
        };
        let resolved = config::load(file).map_err(|report| explain(&[report]))?;
        // Without a daemon the configuration says where we listen.
        let definitions = config::with_views(
            &resolved.probes.definitions,
            &resolved.proxy,
            |_configured| None,
        );
        let definitions = definitions.into_iter();
        Ok(Probes {
            definitions: definitions
                .map(|definition| (file.to_owned(), definition))
                .collect(),
            modules: resolved.probes.modules,
        })
    }
}

fn explain(reports: &[Report]) -> Exit {
    for report in reports {
        complain(&format!("{report}\n{}", report.render(fancy())));
    }
    Exit::Config
}

fn run(arguments: RunArguments) -> Result<Exit, Exit> {
    let RunArguments {
        what,
        place,
        json,
        tap,
        junit,
        jobs,
        key_file,
    } = arguments;
    let chosen = choose(&what, &place)?;
    let key = mark_key(key_file.as_deref())?;
    let runtime = runtime().map_err(|error| {
        complain(&error.to_string());
        Exit::Io
    })?;
    let finished = runtime.block_on(run_all(chosen, key, jobs.into()))?;
    // A name that is still being looked up would otherwise be waited for.
    runtime.shutdown_background();
    if let Some(path) = junit {
        fs::write(&path, report::junit(&finished)).map_err(|error| {
            complain(&format!("cannot write {}: {error}", path.display()));
            Exit::Io
        })?;
    }
    say(&if json {
        report::json(&finished)
    } else if tap {
        report::tap(&finished)
    } else {
        report::text(&finished)
    });
    Ok(if finished.iter().any(Finished::has_failed) {
        Exit::Warn
    } else {
        Exit::Ok
    })
}

/// The key in a file.
fn mark_key(path: Option<&Path>) -> Result<Option<MarkKey>, Exit> {
    let Some(path) = path else { return Ok(None) };
    // One that is not there is not made: no proxy would know it.
    if !path.exists() {
        complain(&format!("there is no key at {}", path.display()));
        return Err(Exit::Io);
    }
    let key = MarkKey::load_or_make(path).map_err(|error| {
        complain(&format!("cannot use the key {}: {error}", path.display()));
        Exit::Io
    })?;
    Ok(Some(key))
}

/// What is to be run, and whether each is really run: one that is paused is only when it was named.
fn choose(what: &[String], place: &Place) -> Result<Vec<(Definition, bool)>, Exit> {
    let is_file = |word: &&String| Path::new(word).extension().is_some_and(|it| it == "toml");
    let files: Vec<PathBuf> = what.iter().filter(is_file).map(PathBuf::from).collect();
    let names: Vec<&String> = what.iter().filter(|word| !is_file(word)).collect();
    let mut chosen = Vec::new();
    if !files.is_empty() {
        let probes = config::load_probe_files(&files).map_err(|reports| explain(&reports))?;
        chosen.extend(probes.definitions);
    }
    if names.is_empty() && !files.is_empty() {
        return Ok(with_pauses(chosen));
    }
    let probes = place.probes()?.definitions;
    if names.is_empty() {
        return Ok(with_pauses(probes));
    }
    let mut chosen = with_pauses(chosen);
    for name in names {
        let found = probes.iter().find(|(_, probe)| probe.name == *name);
        let Some((_, found)) = found else {
            let known: Vec<_> = probes
                .iter()
                .map(|(_, probe)| probe.name.as_str())
                .collect();
            complain(&format!(
                "there is no probe `{name}`; there are: {}",
                known.join(", ")
            ));
            return Err(Exit::Usage);
        };
        chosen.push((found.clone(), true));
    }
    Ok(chosen)
}

fn with_pauses(probes: Vec<(PathBuf, Definition)>) -> Vec<(Definition, bool)> {
    let probes = probes.into_iter();
    probes
        .map(|(_, probe)| {
            let runs = !probe.paused;
            (probe, runs)
        })
        .collect()
}

async fn run_all(
    chosen: Vec<(Definition, bool)>,
    key: Option<MarkKey>,
    jobs: usize,
) -> Result<Vec<Finished>, Exit> {
    let (clock, slots) = (SystemClock::new(), Arc::new(Semaphore::new(jobs)));
    let mut running = JoinSet::new();
    let mut finished: Vec<_> = chosen.iter().map(|(it, _)| Finished::new(it)).collect();
    let (definitions, runs): (Vec<_>, Vec<_>) = chosen.into_iter().unzip();
    let probes = prepare(definitions).map_err(|error| {
        complain(&error.to_string());
        Exit::Config
    })?;
    let chosen = probes.into_iter().zip(runs).enumerate();
    let stopped = CancellationToken::new();
    for (place, (probe, _)) in chosen.filter(|(_, (_, runs))| *runs) {
        let (key, slots, stopped) = (key.clone(), Arc::clone(&slots), stopped.clone());
        running.spawn(async move {
            // Nobody closes it.
            let _slot = slots.acquire_owned().await;
            let is_journey = !probe.definition().steps.is_empty();
            let run = probe.run_until(clock, key.as_ref(), stopped.cancelled());
            if is_journey {
                return (place, Some(run.await).filter(|_| !stopped.is_cancelled()));
            }
            tokio::select! {
                biased;
                () = stopped.cancelled() => (place, None),
                run = run => (place, Some(run)),
            }
        });
    }
    let all = running.len();
    let mut interrupted = std::pin::pin!(interrupted());
    let progress = Progress::new(all);
    while !running.is_empty() {
        let ended = tokio::select! {
            biased;
            () = &mut interrupted, if !stopped.is_cancelled() => {
                stopped.cancel();
                continue;
            }
            ended = running.join_next() => ended,
        };
        match ended {
            Some(Ok((place, run))) => finished[place].run = run,
            Some(Err(error)) => {
                complain(&format!("a probe broke: {error}"));
                return Err(Exit::Io);
            }
            None => {}
        }
        progress.show(all - running.len());
    }
    drop(progress);
    if stopped.is_cancelled() {
        let done = finished.iter().filter(|it| it.run.is_some()).count();
        complain(&format!(
            "interrupted after {done} of {all} probes; journeys under way were cleaned up after"
        ));
        return Err(Exit::Warn);
    }
    Ok(finished)
}

fn list(arguments: &ListArguments) -> Result<Exit, Exit> {
    let probes = arguments.place.probes()?;
    let definitions: Vec<_> = probes.definitions.iter().map(|(_, probe)| probe).collect();
    say(&if arguments.json {
        report::list_json(&definitions)
    } else {
        report::list(&definitions)
    });
    Ok(Exit::Ok)
}

fn history(arguments: &HistoryArguments) -> Result<Exit, Exit> {
    let HistoryArguments {
        name,
        limit,
        connect,
        json,
    } = arguments;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.chars().all(plain) {
        complain(&format!("`{name}` is no name of a probe"));
        return Err(Exit::Usage);
    }
    let runtime = runtime().map_err(|error| {
        complain(&error.to_string());
        Exit::Io
    })?;
    let path = format!("/v1/probes/{name}/slots?limit={limit}");
    let answer = runtime
        .block_on(ask(&connect.connect, Method::GET, &path, Vec::new()))
        .map_err(|error| {
            complain(&error.to_string());
            match error {
                AskError::Status(_, StatusCode::NOT_FOUND, _) => Exit::Usage,
                _ => Exit::Unavailable,
            }
        })?;
    if *json {
        say(&String::from_utf8_lossy(&answer));
        return Ok(Exit::Ok);
    }
    let slots: Vec<ProbeSlotView> = serde_json::from_slice(&answer).map_err(|error| {
        complain(&format!(
            "the answer of {} cannot be read: {error}",
            connect.connect
        ));
        Exit::Unavailable
    })?;
    say(&report::history(&slots));
    Ok(Exit::Ok)
}
