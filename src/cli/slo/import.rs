//! `vestibule slo import`.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::Format;
use crate::cli::{Exit, complain, fancy, say};
use crate::config::import::{Imported, Note, Source, import as read_specs, load_spec};
use crate::config::{self, Report};
use crate::slo::policy::Policy;

pub(super) const HELP: &str = "\
Formats: OpenSLO v1 (openslo/v1) and Sloth (prometheus/v1), several documents in a file.

Exit codes:
   0  everything is carried, if in other words (`changed` on standard error)
   1  written, but something is lost (`lost` on standard error)
  74  a file cannot be written
  78  a specification is wrong, or the result would not be a configuration: nothing is written

Examples:
  vestibule slo import slos.yaml                           print a whole file to begin with
  vestibule slo import slos/*.yaml --out vestibule.toml    the same, as a new file
  vestibule slo import a.yaml --into vestibule.toml        only the tables that this file lacks
  vestibule slo import a.yaml --json | jq .notes           what is not carried as it is written";

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArguments {
    /// The specifications; a file may hold several documents, of both formats
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Take documents of this format only; without it, each document says itself whose it is
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// A configuration that has a route for each service: only the tables that it lacks are printed
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// Write to a new file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What was imported, what is changed and lost, and the text, as JSON on standard output
    #[arg(long)]
    json: bool,
}

/// Prints, or writes to a new file, the promises of specifications as a configuration.
pub(super) fn import(asked: &ImportArguments) -> Exit {
    let sources: Result<Vec<Source>, Report> =
        asked.files.iter().map(|path| load_spec(path)).collect();
    let sources = match sources {
        Ok(sources) => sources,
        Err(report) => return refuse(&[report], asked.json),
    };
    let mut imported = match read_specs(&sources, asked.format.map(Format::spec)) {
        Ok(imported) => imported,
        Err(reports) => return refuse(&reports, asked.json),
    };
    let text = match configuration(&mut imported, asked.into.as_deref()) {
        Ok(text) => text,
        Err(report) => return refuse(&[report], asked.json),
    };
    if !asked.json {
        let mut lines = io::stderr().lock();
        for note in &imported.notes {
            // Nobody reads standard error any more: nothing is lost by it.
            drop(writeln!(lines, "{note}"));
        }
    }
    if let Some(out) = &asked.out
        && let Err(error) = write_new(out, &text)
    {
        complain(&format!("cannot write {}: {error}", out.display()));
        return Exit::Io;
    }
    if asked.json {
        say(&format!("{:#}\n", described(&imported, &text)));
    } else if asked.out.is_none() {
        say(&text);
    }
    if imported.has_losses() {
        Exit::Warn
    } else {
        Exit::Ok
    }
}

/// The text to print. It is read as `vestibule check` would read it, so that what is printed is a configuration.
fn configuration(imported: &mut Imported, into: Option<&Path>) -> Result<String, Report> {
    let env = |name: &str| std::env::var(name).ok();
    let Some(path) = into else {
        imported.without_surroundings();
        let text = imported.draft();
        config::parse("the imported configuration", &text, Path::new(""), &env)?;
        return Ok(text);
    };
    let known: Vec<Policy> = config::load(path)?.policies;
    let tables = imported.tables(&known);
    let before = load_spec(path)?.text;
    let base = path.parent().unwrap_or(Path::new(""));
    let name = format!("{} with what is imported", path.display());
    config::parse(&name, &format!("{before}\n{tables}"), base, &env)?;
    Ok(tables)
}

fn described(imported: &Imported, text: &str) -> serde_json::Value {
    let slos = imported.slos().map(|slo| {
        json!({
            "id": slo.id,
            "route": slo.about.route(),
            "scope": slo.about.scope(),
            "sli": slo.sli.as_str(),
            "objective": slo.objective.to_string(),
            "window": slo.span(),
            "policy": slo.policy,
        })
    });
    json!({
        "schema": 1,
        "slos": slos.collect::<Vec<_>>(),
        "notes": imported.notes.iter().map(Note::to_json).collect::<Vec<_>>(),
        "text": text,
    })
}

fn refuse(reports: &[Report], as_json: bool) -> Exit {
    if as_json {
        let reports: Vec<_> = reports.iter().map(Report::to_json).collect();
        say(&format!(
            "{:#}\n",
            json!({ "schema": 1, "refused": reports })
        ));
    } else {
        for report in reports {
            complain(&format!("{report}\n{}", report.render(fancy())));
        }
    }
    Exit::Config
}

/// Writes a file that is not there yet: an import must not replace a configuration that someone wrote.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::File::create_new(path)?;
    file.write_all(text.as_bytes())
}
