//! `vestibule probe import`: other programs' definitions as files of probes.

use std::fs;

use super::ImportArguments;
use crate::cli::{Exit, complain, say};
use crate::config::blackbox::{self, Imported};

/// Reads, writes, and says what was left out.
pub(super) fn import(arguments: &ImportArguments) -> Result<Exit, Exit> {
    let ImportArguments { file, output } = arguments;
    let refused = |why: String| {
        complain(&format!("{}: {why}", file.display()));
        Exit::Config
    };
    let text = fs::read_to_string(file).map_err(|error| refused(error.to_string()))?;
    let Imported { toml, left_out } =
        blackbox::import(&text).map_err(|e| refused(e.to_string()))?;
    match output {
        Some(path) => fs::write(path, toml).map_err(|error| {
            complain(&format!("cannot write {}: {error}", path.display()));
            Exit::Io
        })?,
        None => say(&toml),
    }
    for what in &left_out {
        complain(what);
    }
    Ok(if left_out.is_empty() {
        Exit::Ok
    } else {
        Exit::Warn
    })
}
