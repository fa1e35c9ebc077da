//! `vestibule top`.

use std::path::PathBuf;

use super::{Exit, complain, runtime};
use crate::net::address::Address;
use crate::tui;

pub(super) fn top(address: Address, ascii: bool, light: bool, evidence: PathBuf) -> Exit {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let watched = runtime().map_err(tui::Error::from).and_then(|runtime| {
        runtime.block_on(tui::run(tui::Config {
            address,
            ascii,
            no_color,
            light,
            evidence,
        }))
    });
    match watched {
        Ok(()) => Exit::Ok,
        Err(error) => {
            complain(&error.to_string());
            Exit::Warn
        }
    }
}
