//! Other programs' definitions of probes as files of ours.
//!
//! YAML is read as a tree, and every key that is understood is taken out of it. What is left in the end is what could not
//! be carried over, and is said: nothing is dropped in silence.

use std::path::Path;

use serde_json::Value;

use super::synthetic::{self, Taken};

mod blackbox;
mod gatus;
mod hurl;
mod table;

/// A file of probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Its text.
    pub toml: String,
    /// What is not in it, a line each.
    pub left_out: Vec<String>,
}

/// Why a file cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no YAML.
    #[error("it is no YAML: {0}")]
    Syntax(String),
    /// It has neither.
    #[error(
        "it has no `modules`, as blackbox_exporter's configuration has, and no `endpoints`, as that of Gatus has"
    )]
    Shape,
    /// It is no file of Hurl.
    #[error("line {line}: {why}")]
    Hurl {
        /// Where it is none, from 1.
        line: usize,
        /// Why.
        why: String,
    },
}

impl Imported {
    fn headed(what: &str) -> Self {
        Self {
            toml: format!(
                "# Made by `vestibule probe import` of {what}. A path in it starts beside this file.\n"
            ),
            left_out: Vec::new(),
        }
    }

    /// Adds a table, and what of it could not be carried over.
    fn add(&mut self, what: &str, text: &str, left: Vec<String>) {
        self.toml.push('\n');
        for left in left {
            let left = format!("{what}: {left}");
            // A line end in a key must not begin a line of TOML.
            let plain = left.chars().map(|c| if c.is_control() { ' ' } else { c });
            let plain: String = plain.collect();
            self.toml.extend(["# not carried over: ", &plain, "\n"]);
            self.left_out.push(left);
        }
        self.toml.push_str(text);
    }
}

/// Reads a `blackbox.yml`, a configuration of Gatus, or a file of Hurl's, which is called `*.hurl`. `path` is its name.
///
/// # Errors
/// When it is none.
pub fn import(path: &Path, text: &str) -> Result<Imported, ImportError> {
    if path
        .extension()
        .is_some_and(|extension| extension == "hurl")
    {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        return hurl::import(&name, text);
    }
    // `no` is a text unless a flag is wanted. Bytes stay as they are written, and `blackbox` looks for their tag itself.
    let options =
        serde_saphyr::options! { strict_booleans: true, ignore_binary_tag_for_string: true };
    let whole: Value = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| ImportError::Syntax(error.to_string()))?;
    if let Some(modules) = whole.get("modules").and_then(Value::as_object) {
        return Ok(blackbox::import(modules, text));
    }
    match whole.get("endpoints").and_then(Value::as_array) {
        Some(endpoints) => Ok(gatus::import(endpoints, &whole)),
        None => Err(ImportError::Shape),
    }
}

/// Why a file of this table alone would be refused. That a file is not here is none: it may be where it will be used.
fn refused(text: &str) -> Option<String> {
    let taken = Taken::default();
    // Variables hold what they will; as a word or as a URL they must leave something that can be read.
    let read = |value: &'static str| {
        let env = |_: &str| Some(value.to_owned());
        synthetic::parse_probes("", text, Path::new(""), &taken, &env).err()
    };
    let (report, _) = (read("x")?, read("http://x")?);
    let serious = report.diagnostics().iter().find(|diagnostic| {
        let code = diagnostic.code.to_string();
        !matches!(code.as_str(), "config::unreadable_file" | "config::pem")
    });
    Some(serious?.message.clone())
}
