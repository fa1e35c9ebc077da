//! `vestibule silence`.

use std::time::Duration;

use clap::{Args, Subcommand};
use http::{Method, StatusCode};

use super::{Connect, Exit, complain, runtime, say};
use crate::admin::client::{AskError, ask};
use crate::slo::silence::{Matcher, Silence, Wish};
use crate::snapshot::SilenceView;
use crate::tui::fmt;

#[derive(Debug, Subcommand)]
pub(super) enum SilenceCommand {
    /// Begin one
    ///
    /// Alerts that match are shown and go on spending the budget, and nobody is told of them. What still fires when it
    /// ends is told then. Alertmanager gets the same silence, for what this instance says.
    #[command(after_help = ADD_HELP)]
    Add(AddArguments),
    /// List those in force, with what each mutes now
    List {
        #[command(flatten)]
        connect: Connect,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// End one before its time; what still fires is told at once
    Expire {
        /// Its id, as `list` has it
        id: String,
        #[command(flatten)]
        connect: Connect,
        /// The silence that ended, as JSON
        #[arg(long)]
        json: bool,
    },
}

const ADD_HELP: &str = "\
Labels: slo, route, owner, severity (page, ticket), tier (fast, medium, slow, long), kind (burn, surge, no_data, slowdown,
outage, certificate, degraded, crash), name (of a certificate), part (of Vestibule). An absent label is empty.

Examples:
  vestibule silence add route=checkout --for 2h --reason 'moving the database'
  vestibule silence add 'route=~web|static' severity=ticket --for 30m --owner ada --reason 'load test'";

#[derive(Debug, Args)]
pub(super) struct AddArguments {
    /// What an alert must match, all of it: LABEL=VALUE, LABEL!=VALUE, LABEL=~EXPRESSION or LABEL!~EXPRESSION
    #[arg(required = true, value_name = "MATCHER")]
    matchers: Vec<Matcher>,
    /// For how long, a minute to 24 hours
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    lasts: Duration,
    /// Why, for those who wonder at the silence
    #[arg(long)]
    reason: String,
    /// Who answers for it
    #[arg(long, env = "USER")]
    owner: String,
    #[command(flatten)]
    connect: Connect,
    /// The silence as it was taken, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn silence(command: SilenceCommand) -> Exit {
    match command {
        SilenceCommand::Add(arguments) => add(arguments),
        SilenceCommand::List { connect, json } => list(&connect, json),
        SilenceCommand::Expire { id, connect, json } => {
            // What has other characters is no id, and would be another path.
            if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                complain(&format!("`{id}` is no id of a silence"));
                return Exit::Usage;
            }
            let path = format!("/v1/silences/{id}");
            told(&connect, (Method::DELETE, &path, Vec::new()), json, "ended")
        }
    }
}

fn add(arguments: AddArguments) -> Exit {
    let AddArguments {
        matchers,
        lasts,
        reason,
        owner,
        connect,
        json,
    } = arguments;
    let wish = Wish {
        matchers,
        seconds: lasts.as_secs(),
        owner,
        reason,
    };
    let body = serde_json::to_vec(&wish).unwrap_or_default();
    told(
        &connect,
        (Method::POST, "/v1/silences", body),
        json,
        "begun",
    )
}

/// Asks for a change, and says what became of it.
fn told(connect: &Connect, question: (Method, &str, Vec<u8>), json: bool, word: &str) -> Exit {
    let answer = match asked(connect, question) {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    if json {
        say(&String::from_utf8_lossy(&answer));
        return Exit::Ok;
    }
    match serde_json::from_slice::<Silence>(&answer) {
        Ok(silence) => {
            say(&format!(
                "silence {} {word}: {}, until {}\n",
                silence.id,
                fmt::visible(&matchers(&silence.matchers)),
                silence.until
            ));
            Exit::Ok
        }
        Err(error) => {
            complain(&error.to_string());
            Exit::Warn
        }
    }
}

fn list(connect: &Connect, json: bool) -> Exit {
    let answer = match asked(connect, (Method::GET, "/v1/silences", Vec::new())) {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    if json {
        say(&String::from_utf8_lossy(&answer));
        return Exit::Ok;
    }
    match serde_json::from_slice::<Vec<SilenceView>>(&answer) {
        Ok(silences) if silences.is_empty() => say("nothing is silenced\n"),
        Ok(silences) => silences.iter().for_each(|silence| say(&line(silence))),
        Err(error) => {
            complain(&error.to_string());
            return Exit::Warn;
        }
    }
    Exit::Ok
}

/// `19ab3 route=checkout until 2026-11-23T16:00:00Z by ada: moving the database; mutes checkout-available:page:fast`
fn line(silence: &SilenceView) -> String {
    let muted = match silence.muted.as_slice() {
        [] => "mutes nothing now".to_owned(),
        muted => format!("mutes {}", muted.join(", ")),
    };
    format!(
        "{} {} until {} by {}: {}; {}\n",
        silence.id,
        fmt::visible(&matchers(&silence.matchers)),
        silence.until,
        fmt::visible(&silence.owner),
        fmt::visible(&silence.reason),
        fmt::visible(&muted)
    )
}

fn matchers(matchers: &[Matcher]) -> String {
    let each: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    each.join(" ")
}

fn asked(connect: &Connect, question: (Method, &str, Vec<u8>)) -> Result<bytes::Bytes, Exit> {
    let (method, path, body) = question;
    let runtime = runtime().map_err(|error| {
        complain(&error.to_string());
        Exit::Io
    })?;
    runtime
        .block_on(ask(&connect.connect, method, path, body))
        .map_err(|error| match error {
            AskError::Status(_, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST, detail) => {
                complain(&detail);
                Exit::Usage
            }
            error => {
                complain(&error.to_string());
                Exit::Unavailable
            }
        })
}
