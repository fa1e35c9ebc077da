//! `vestibule notify`.

use std::path::Path;

use super::{Exit, complain, fancy, runtime, say};
use crate::clock::{Clock, SystemClock};
use crate::config;
use crate::notify::{self, Receiver};

/// Sends every receiver, or the one called `only`, a message about nothing.
pub(super) fn test(path: &Path, only: Option<&str>, json: bool) -> Exit {
    let resolved = match config::load(path) {
        Ok(resolved) => resolved,
        Err(report) => {
            complain(&format!("{report}\n{}", report.render(fancy())));
            return Exit::Config;
        }
    };
    let wanted = |receiver: &&Receiver| only.is_none_or(|name| receiver.name == name);
    let receivers: Vec<&Receiver> = resolved.receivers.iter().filter(wanted).collect();
    if receivers.is_empty() {
        let names: Vec<&str> = resolved
            .receivers
            .iter()
            .map(|it| it.name.as_str())
            .collect();
        complain(&match only {
            Some(name) => format!(
                "no `[[notify]]` is called `{name}`; there are: {}",
                names.join(", ")
            ),
            None => format!("{} has no `[[notify]]`: nobody is told", path.display()),
        });
        return Exit::Usage;
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Io;
        }
    };
    let clock = SystemClock::new();
    let mut all_arrived = true;
    for receiver in receivers {
        let told = runtime.block_on(notify::test(receiver, &resolved.instance, clock.now()));
        all_arrived &= told.is_ok();
        let error = told.err().map(|failure| failure.text);
        if json {
            let line = serde_json::json!({ "receiver": receiver.name, "kind": receiver.kind.as_str(), "error": error });
            say(&format!("{line}\n"));
        } else {
            let outcome = error.unwrap_or_else(|| "told".to_owned());
            say(&format!(
                "{} ({}): {outcome}\n",
                receiver.name,
                receiver.kind.as_str()
            ));
        }
    }
    if all_arrived { Exit::Ok } else { Exit::Warn }
}
