//! What a command that needs no daemon reads, and how it ends.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Exit, complain, fancy, say};
use crate::config::{self, Resolved};

/// Why a command came to nothing: how to exit, and what to say.
pub(super) type Wrong = (Exit, String);

/// The configuration in `file`, with another state directory if one is given.
pub(super) fn configured(file: &Path, state_dir: Option<&PathBuf>) -> Result<Resolved, Wrong> {
    let mut resolved = config::load(file).map_err(|report| {
        let text = format!("{report}\n{}", report.render(fancy()));
        (Exit::Config, text)
    })?;
    if let Some(dir) = state_dir {
        resolved.override_state_dir(dir.clone());
    }
    Ok(resolved)
}

/// Plain data as JSON, which it always becomes.
pub(super) fn json(data: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(data).unwrap_or_default();
    format!("{text}\n")
}

/// Says what a command found, as JSON or in words, or why there is nothing.
pub(super) fn tell<T: Serialize>(
    found: Result<T, Wrong>,
    as_json: bool,
    words: impl FnOnce(&T) -> String,
) -> Exit {
    match found {
        Ok(found) => {
            say(&if as_json { json(&found) } else { words(&found) });
            Exit::Ok
        }
        Err((exit, wrong)) => {
            complain(&wrong);
            exit
        }
    }
}
