//! `vestibule gameday`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Exit, complain, say};
use crate::gameday::tls_expiry::{self, Authority, Made};
use crate::gameday::{GamedayError, Moment, Timeline};

#[derive(Debug, Subcommand)]
pub(super) enum GamedayCommand {
    /// A certificate that nobody renews: warn, ticket, page, end; the SLO burns, and a renewal puts it right
    ///
    /// Made on loopback with a certificate of its own, in a process of its own; needs nothing and harms nothing. A probe
    /// shakes hands every second as a client would.
    ///
    /// With --acme it is issued by a real authority, for tests, that issues short-lived certificates: first it is renewed some
    /// times under steady handshakes, of which none may fail; then the way from the authority to the HTTP-01 answers is closed
    /// until after its end, and opened again.
    TlsExpiry(TlsExpiryArguments),
}

#[derive(Debug, Args)]
pub(super) struct TlsExpiryArguments {
    /// How long the certificate lives, 20s to 1h; all of it takes a sixth longer, and some seconds
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = life)]
    life: Duration,
    /// Have it issued by the authority with this directory, whose terms of service you agree to; it says how long it lives
    #[arg(long, value_name = "URL", conflicts_with = "life")]
    acme: Option<String>,
    /// PEM roots that the authority's own HTTPS is verified by, instead of the system's
    #[arg(long, value_name = "FILE", requires = "acme")]
    acme_roots: Option<PathBuf>,
    /// The profile to order; it must be one of short-lived certificates, an hour at most
    #[arg(long, value_name = "NAME", requires = "acme")]
    acme_profile: Option<String>,
    /// The host to order; the authority must find this machine by it
    #[arg(long, value_name = "NAME", requires = "acme", default_value = tls_expiry::HOST)]
    host: String,
    /// Where the authority looks for HTTP-01 answers: port 80 of this machine, or what a test authority is told
    #[arg(
        long,
        value_name = "ADDRESS",
        requires = "acme",
        default_value = "0.0.0.0:80"
    )]
    http: SocketAddr,
    /// How many renewals under load come first
    #[arg(long, value_name = "N", requires = "acme", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=100))]
    renewals: u32,
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
        acme,
        acme_roots,
        acme_profile,
        host,
        http,
        renewals,
        out,
        state_dir,
        json,
    } = arguments;
    // The daemon is configured in another directory.
    let roots = match acme_roots.map(std::path::absolute).transpose() {
        Ok(roots) => roots,
        Err(error) => {
            complain(&format!("--acme-roots: {error}"));
            return Exit::Usage;
        }
    };
    let made = acme.map_or(Made::Here(life), |directory| {
        Made::By(Authority {
            directory,
            roots,
            profile: acme_profile,
            host,
            http,
            renewals,
        })
    });
    let mut tell = |moment: &Moment| {
        if !json {
            say(&format!("{}Z  {}\n", moment.at.time_of_day(), moment.text));
        }
    };
    let options = tls_expiry::Options { made, state_dir };
    match tls_expiry::run(&options, &mut tell) {
        Ok(timeline) => conclude(&timeline, &out, json),
        Err(error) => {
            complain(&error.to_string());
            match error {
                GamedayError::Io(_) | GamedayError::Run(_) => Exit::Io,
                GamedayError::Preparation(_) | GamedayError::Interrupted => Exit::Warn,
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
