//! `vestibule explain`: what the data plane would do with a request, and why.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::asked::Asked;
use super::decision::{Candidate, Decision, Table};
use super::{Exit, complain, say};

/// Explains one request.
pub(super) fn one(table: &Table, asked: &Asked, all: bool, json: bool) -> Exit {
    let decision = table.decide(asked);
    let candidates = table.candidates(asked);
    if json {
        let mut value = as_json(asked, &decision);
        value["candidates"] = json!(candidates);
        say(&format!("{value:#}\n"));
    } else {
        say(&lines(asked, &decision, &candidates, all));
    }
    if decision.refused.is_none() {
        Exit::Ok
    } else {
        Exit::Warn
    }
}

/// Says in one line each where the requests of a file go.
pub(super) fn many(table: &Table, file: &Path, listener: Option<&str>, json: bool) -> Exit {
    let mut asked = match read(file) {
        Ok(asked) => asked,
        Err(exit) => return exit,
    };
    let mut exit = Exit::Ok;
    for asked in &mut asked {
        asked.listener = listener.map(str::to_owned);
        let decision = table.decide(asked);
        if decision.refused.is_some() {
            exit = Exit::Warn;
        }
        if json {
            say(&format!("{}\n", as_json(asked, &decision)));
        } else {
            say(&format!("{asked}  ->  {}\n", short(&decision)));
        }
    }
    exit
}

/// The requests of a file, one a line; `-` is standard input.
pub(super) fn read(file: &Path) -> Result<Vec<Asked>, Exit> {
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|error| {
        complain(&format!("cannot read {}: {error}", file.display()));
        Exit::Io
    })?;
    let mut asked = Vec::new();
    for (number, line) in text.lines().enumerate() {
        match Asked::from_line(line) {
            Ok(read) => asked.extend(read),
            Err(error) => {
                complain(&format!("{}:{}: {error}", file.display(), number + 1));
                return Err(Exit::Usage);
            }
        }
    }
    Ok(asked)
}

/// Where a request goes, in a few words.
pub(super) fn short(decision: &Decision) -> String {
    let route = decision.route.as_deref().unwrap_or("no route");
    match (&decision.refused, &decision.upstream) {
        (Some(refused), _) => match refused.status {
            Some(status) => format!("{status} ({route}): {}", refused.reason),
            None => refused.reason.clone(),
        },
        (None, Some(upstream)) => format!("{route} -> {}", upstream.name),
        (None, None) => route.to_owned(),
    }
}

fn as_json(asked: &Asked, decision: &Decision) -> Value {
    let mut value = json!(decision);
    value["request"] = json!(asked.to_string());
    value["method"] = json!(asked.method.as_str());
    value
}

/// Routes that do not match and are shown unless all are asked for.
const MISSES: usize = 5;

fn lines(asked: &Asked, decision: &Decision, candidates: &[Candidate], all: bool) -> String {
    let mut text = format!("{asked}\n");
    let mut fact = |name: &str, value: &str| put(&mut text, &format!("  {name:<12} {value}"));
    fact("listener", decision.listener.as_deref().unwrap_or("none"));
    if let Some(certificate) = &decision.certificate {
        let covers = certificate.covers.join(", ");
        fact(
            "certificate",
            &format!("{}, for {covers}", certificate.name),
        );
    }
    if let Some(host) = &decision.host {
        fact("host", host);
    }
    if let Some(path) = &decision.path {
        let raw = asked.target.path();
        let read = if raw == path {
            String::new()
        } else {
            format!("   (sent as {raw})")
        };
        fact("path", &format!("{path}{read}"));
    }
    fact("route", decision.route.as_deref().unwrap_or("none"));
    if let Some(upstream) = &decision.upstream {
        let endpoints = upstream.endpoints.join(", ");
        fact("upstream", &format!("{}: {endpoints}", upstream.name));
    }
    if let Some(refused) = &decision.refused {
        let status = refused.status.map_or("-".to_owned(), |it| it.to_string());
        fact("answer", &format!("{status}: {}", refused.reason));
    }
    if !candidates.is_empty() {
        put(&mut text, "\nRoutes, the most specific first");
    }
    let mut misses = 0;
    for candidate in candidates {
        let Candidate {
            route,
            standing,
            tier,
            why,
        } = candidate;
        misses += usize::from(*standing == "misses");
        if misses > MISSES && !all && *standing == "misses" {
            continue;
        }
        let at = tier.map(|tier| format!(" at {tier}")).unwrap_or_default();
        put(&mut text, &format!("  {route:<20} {standing}{at}: {why}"));
    }
    if misses > MISSES && !all {
        let rest = misses - MISSES;
        put(
            &mut text,
            &format!("  and {rest} more that do not match; --all shows them"),
        );
    }
    if !decision.policy.is_empty() {
        put(&mut text, "\nWhat is done, in order");
        for step in &decision.policy {
            put(&mut text, &format!("  {:<20} {}", step.what, step.value));
        }
    }
    text
}

fn put(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}
