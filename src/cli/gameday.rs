//! `vestibule gameday`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Exit, complain, say};
use crate::gameday::{GamedayError, Moment, Timeline, tls_expiry};

#[derive(Debug, Subcommand)]
pub(super) enum GamedayCommand {
    /// A certificate that nobody renews: warn, ticket, page, end; the SLO burns, and a renewal puts it right
    ///
    /// Made on loopback with a certificate of its own, in a process of its own; needs nothing and harms nothing. A probe
    /// shakes hands every second as a client would.
    TlsExpiry(TlsExpiryArguments),
}

#[derive(Debug, Args)]
pub(super) struct TlsExpiryArguments {
    /// How long the certificate lives, 20s to 1h; all of it takes a sixth longer, and some seconds
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = life)]
    life: Duration,
    /// Where the timeline is written, as Markdown and as JSON
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Keep state and log here instead of in a directory that is removed at the end
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The timeline as JSON on standard output, and nothing else
    #[arg(long)]
    json: bool,
}

fn life(text: &str) -> Result<Duration, String> {
    let life = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let range = Duration::from_secs(20)..=Duration::from_secs(3_600);
    if range.contains(&life) {
        Ok(life)
    } else {
        Err("it must be from 20s to 1h".to_owned())
    }
}

pub(super) fn gameday(command: GamedayCommand) -> Exit {
    let GamedayCommand::TlsExpiry(arguments) = command;
    let TlsExpiryArguments {
        life,
        out,
        state_dir,
        json,
    } = arguments;
    let mut tell = |moment: &Moment| {
        if !json {
            say(&format!("{}Z  {}\n", moment.at.time_of_day(), moment.text));
        }
    };
    let options = tls_expiry::Options { life, state_dir };
    match tls_expiry::run(&options, &mut tell) {
        Ok(timeline) => conclude(&timeline, &out, json),
        Err(error) => {
            complain(&error.to_string());
            match error {
                GamedayError::Io(_) | GamedayError::Run(_) => Exit::Io,
                GamedayError::Preparation(_) => Exit::Warn,
            }
        }
    }
}

fn conclude(timeline: &Timeline, out: &std::path::Path, json: bool) -> Exit {
    let written = timeline.write(out);
    if json {
        // A timeline is plain data and always becomes JSON.
        let text = serde_json::to_string_pretty(timeline).unwrap_or_default();
        say(&format!("{text}\n"));
    } else {
        say("\n");
        for it in &timeline.expectations {
            let word = if it.held { "ok" } else { "NOT" };
            let late = it
                .late_s()
                .map_or_else(String::new, |late| format!(" ({late:+.1} s)"));
            let seen = it
                .seen_at
                .map_or_else(|| "never".to_owned(), |at| format!("{}Z", at.time_of_day()));
            say(&format!("{word:<4} {seen:<10} {}{late}\n", it.what));
        }
    }
    match written {
        Ok([document, data]) => {
            if !json {
                say(&format!("\n{}\n{}\n", document.display(), data.display()));
            }
        }
        Err(error) => {
            complain(&format!("cannot write into {}: {error}", out.display()));
            return Exit::Io;
        }
    }
    if timeline.held { Exit::Ok } else { Exit::Warn }
}
