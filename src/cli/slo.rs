//! `vestibule slo`.

use std::path::Path;

use super::{Exit, complain, fancy, generate, say};
use crate::config;
use crate::generate::spec::{Spec, specify};

/// Prints the promises of a configuration as `spec` has them.
pub(super) fn export(from: &Path, spec: Spec) -> Exit {
    match config::load(from) {
        Ok(resolved) => {
            say(&specify(&generate::plan(resolved), spec));
            Exit::Ok
        }
        Err(report) => {
            complain(&format!("{report}\n{}", report.render(fancy())));
            Exit::Config
        }
    }
}
