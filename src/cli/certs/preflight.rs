//! `vestibule certs preflight`: whether certificates could be renewed.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::is_name;
use crate::admin::client::{AskError, ask};
use crate::cli::daemon::fetch;
use crate::cli::{Connect, Exit, complain, runtime, say};
use crate::snapshot::{IssuanceView, PreflightView, Snapshot};
use crate::tui::fmt;

/// The challenge that asks something over plain HTTP.
const HTTP: &str = "http-01";

pub(super) fn preflight(name: Option<&str>, connect: &Connect, json: bool) -> Exit {
    let names = match name {
        Some(name) if !is_name(name) => {
            complain(&format!("`{name}` is no name of a certificate"));
            return Exit::Usage;
        }
        Some(name) => vec![name.to_owned()],
        None => {
            let (_, snapshot): (Bytes, Snapshot) = match fetch(&connect.connect, "/v1/snapshot") {
                Ok(answer) => answer,
                Err(exit) => return exit,
            };
            let asked = |it: &&IssuanceView| it.challenge == HTTP;
            let asked = snapshot.issuances.iter().filter(asked);
            asked.map(|it| it.name.clone()).collect()
        }
    };
    let mut all = BTreeMap::new();
    for name in names {
        match ask_for(&name, connect) {
            Ok(found) => all.insert(name, found),
            Err(exit) => return exit,
        };
    }
    say(&if json {
        // Views are plain data and always become JSON.
        let text = serde_json::to_string_pretty(&all).unwrap_or_default();
        format!("{text}\n")
    } else {
        table(&all)
    });
    if all.values().flatten().any(|it| it.error.is_some()) {
        Exit::Warn
    } else {
        Exit::Ok
    }
}

fn ask_for(name: &str, connect: &Connect) -> Result<Vec<PreflightView>, Exit> {
    let runtime = runtime().map_err(|error| {
        complain(&error.to_string());
        Exit::Io
    })?;
    let path = format!("/v1/certificates/{name}/preflight");
    let asked = ask(&connect.connect, Method::POST, &path, Vec::new());
    let answer = runtime.block_on(asked).map_err(|error| match error {
        AskError::Status(_, StatusCode::NOT_FOUND | StatusCode::CONFLICT, why) => {
            complain(&why);
            Exit::Warn
        }
        error => {
            complain(&error.to_string());
            Exit::Unavailable
        }
    })?;
    serde_json::from_slice(&answer).map_err(|error| {
        complain(&format!("the daemon's answer cannot be read: {error}"));
        Exit::Unavailable
    })
}

fn table(all: &BTreeMap<String, Vec<PreflightView>>) -> String {
    if all.is_empty() {
        return format!("no certificate is issued by `{HTTP}` here\n");
    }
    let lines = all.iter().flat_map(|(name, found)| {
        found.iter().map(move |seen| {
            let word = if seen.error.is_some() { "FAILED" } else { "ok" };
            let line = line(seen);
            format!("{word:<6}  {name}  {}\n", fmt::visible(&line))
        })
    });
    lines.collect()
}

/// What one host came to.
pub(super) fn line(seen: &PreflightView) -> String {
    match &seen.error {
        None => format!("{}: found at {}", seen.host, seen.addresses.join(", ")),
        Some(why) => format!("{} would not be found: {why}", seen.host),
    }
}
