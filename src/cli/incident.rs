//! `vestibule incident`: what went wrong, from the stored history of a daemon that runs or has stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::outcome::configured;
use super::{DEFAULT_FILE, Exit, complain, say};
use crate::clock::{Clock, SystemClock};
use crate::model::Timestamp;

pub(in crate::cli) mod found;
mod page;

use found::{Found, Report};

pub(super) const HELP: &str = "\
Examples:
  vestibule incident list                      the last week, newest first
  vestibule incident show                      the newest, as Markdown
  vestibule incident show 2026-11-23T14:02Z    one of the list
  vestibule incident export --from 2026-11-23T14:00:00Z --to 2026-11-23T15:00:00Z --out postmortems/

An incident is a time in which a budget was spent faster than it may be, with an alert about it or 1 % of a budget gone.
It is read from the state directory: nothing needs to run, and a daemon that does is not disturbed. The newest minute is
stored when it is over.";

#[derive(Debug, Subcommand)]
pub(super) enum IncidentCommand {
    /// List what went wrong, the newest first: when, for how long, which routes, what it cost, how soon it was told
    List {
        #[command(flatten)]
        from: Source,
        /// How many days to look back
        #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=92))]
        days: u64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one incident as Markdown: the facts that a postmortem asks for, timeline, tables
    ///
    /// The exit code is 64 when there is none of this name.
    Show {
        /// Its name in the list; without one, the newest
        id: Option<String>,
        #[command(flatten)]
        from: Source,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write all incidents of a time as Markdown, and as JSON beside it
    ///
    /// Without --out the Markdown is printed. The exit code is 64 when the times are none.
    Export {
        /// The beginning, like 2026-11-23T14:00:00Z
        #[arg(long, value_name = "TIME")]
        from: String,
        /// The end; without it, now
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        #[command(flatten)]
        source: Source,
        /// The directory to write to: incidents-BEGINNING.md and .json
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Print JSON instead of Markdown
        #[arg(long, conflicts_with = "out")]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Source {
    /// The configuration file, which says what is promised and where the history is
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// The state directory whose history is read, instead of the configuration's
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

const DAY_S: u64 = 86_400;
/// How far back `show` looks.
const SHOWN_DAYS: u64 = 92;

pub(super) fn incident(command: IncidentCommand) -> Exit {
    match run(command) {
        Ok(text) => {
            say(&text);
            Exit::Ok
        }
        Err((why, exit)) => {
            complain(&why);
            exit
        }
    }
}

type Outcome = Result<String, (String, Exit)>;

fn run(command: IncidentCommand) -> Outcome {
    let now = SystemClock::new().now();
    match command {
        IncidentCommand::List { from, days, json } => {
            let begin = Timestamp::from_secs(now.as_secs().saturating_sub(days * DAY_S));
            let report = from.found(begin, now)?.report();
            Ok(if json {
                as_json(&report)
            } else {
                page::list(&report)
            })
        }
        IncidentCommand::Show { id, from, json } => {
            let begin = Timestamp::from_secs(now.as_secs().saturating_sub(SHOWN_DAYS * DAY_S));
            let mut found = from.found(begin, now)?;
            found
                .only(id.as_deref())
                .map_err(|why| (why, Exit::Usage))?;
            let report = found.full()?;
            Ok(if json {
                as_json(&report)
            } else {
                page::markdown(&report)
            })
        }
        IncidentCommand::Export {
            from,
            to,
            source,
            out,
            json,
        } => {
            let begin = moment(&from)?;
            let end = to.as_deref().map_or(Ok(now), moment)?;
            if begin >= end {
                let why = format!("there is no time between {begin} and {end}");
                return Err((why, Exit::Usage));
            }
            let report = source.found(begin, end)?.full()?;
            let (markdown, written) = (page::markdown(&report), as_json(&report));
            match out {
                Some(dir) => write(&dir, begin, &markdown, &written),
                None if json => Ok(written),
                None => Ok(markdown),
            }
        }
    }
}

impl Source {
    /// What is promised, and what went wrong between `from` and `to`.
    fn found(&self, from: Timestamp, to: Timestamp) -> Result<Found, (String, Exit)> {
        let resolved = configured(&self.config, self.state_dir.as_ref());
        let resolved = Arc::new(resolved.map_err(|(exit, why)| (why, exit))?);
        Found::read(&resolved, from, to).map_err(|error| {
            let why = format!("{}: {error}", resolved.store.dir.display());
            (why, Exit::Io)
        })
    }
}

fn moment(text: &str) -> Result<Timestamp, (String, Exit)> {
    text.parse().map_err(|error| {
        let why = format!("`{text}` is no moment like 2026-11-23T14:00:00Z: {error}");
        (why, Exit::Usage)
    })
}

fn as_json(report: &Report) -> String {
    // Plain data always becomes JSON.
    let text = serde_json::to_string_pretty(report).unwrap_or_default();
    format!("{text}\n")
}

/// Writes both files; says which.
fn write(dir: &Path, begin: Timestamp, markdown: &str, json: &str) -> Outcome {
    let stem = format!("incidents-{}", found::name(begin).replace(':', ""));
    let mut said = Vec::new();
    let failed = |path: &Path, error: &std::io::Error| {
        let why = format!("cannot write {}: {error}", path.display());
        (why, Exit::Io)
    };
    fs::create_dir_all(dir).map_err(|error| failed(dir, &error))?;
    for (ending, text) in [("md", markdown), ("json", json)] {
        let path = dir.join(format!("{stem}.{ending}"));
        fs::write(&path, text).map_err(|error| failed(&path, &error))?;
        said.push(format!("{}\n", path.display()));
    }
    Ok(said.concat())
}
