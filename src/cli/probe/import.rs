//! `vestibule probe import`: other programs' definitions as files of probes.

use std::fs;
use std::io::Write as _;

use super::{ImportArguments, explain};
use crate::cli::{Exit, complain, say};
use crate::config::foreign::{self, Imported};
use crate::config::import::load_spec;
use crate::tui::fmt;

/// Reads, writes, and says what was left out.
pub(super) fn import(arguments: &ImportArguments) -> Result<Exit, Exit> {
    let ImportArguments { file, output } = arguments;
    let source = load_spec(file).map_err(|report| explain(&[report]))?;
    let Imported { toml, left_out } = foreign::import(file, &source.text).map_err(|error| {
        complain(&format!("{}: {}", file.display(), shown(&error)));
        Exit::Config
    })?;
    match output {
        // One that is not there yet: an import must not replace what someone wrote.
        Some(path) => fs::File::create_new(path)
            .and_then(|mut file| file.write_all(toml.as_bytes()))
            .map_err(|error| {
                complain(&format!("cannot write {}: {error}", path.display()));
                Exit::Io
            })?,
        None => say(&toml),
    }
    for what in &left_out {
        complain(&shown(what));
    }
    Ok(if left_out.is_empty() {
        Exit::Ok
    } else {
        Exit::Warn
    })
}

/// Lines that hold pieces of the file, harmless to a terminal.
fn shown(text: &impl ToString) -> String {
    let text = text.to_string();
    let lines: Vec<_> = text.lines().map(fmt::visible).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const MODULE: &str = "modules: {up: {prober: tcp}}\n";

    fn imported(dir: &Path, text: &str) -> Result<Exit, Exit> {
        let file = dir.join("blackbox.yml");
        fs::write(&file, text).unwrap();
        let output = Some(dir.join("modules.toml"));
        import(&ImportArguments { file, output })
    }

    #[test]
    fn an_import_replaces_no_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(imported(dir.path(), MODULE), Ok(Exit::Ok));
        let file = dir.path().join("modules.toml");
        assert!(fs::read_to_string(&file).unwrap().contains("\"up\""));
        fs::write(&file, "mine").unwrap();
        assert_eq!(imported(dir.path(), MODULE), Err(Exit::Io));
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }

    #[test]
    fn a_file_that_is_too_large_is_not_imported() {
        let dir = tempfile::tempdir().unwrap();
        let large = format!("{MODULE}#{}", "x".repeat(1 << 20));
        assert_eq!(imported(dir.path(), &large), Err(Exit::Config));
        assert!(!dir.path().join("modules.toml").exists());
    }

    #[test]
    fn what_a_file_says_cannot_move_the_cursor() {
        assert_eq!(shown(&"a\u{1b}[2J\nb\u{202e}"), "a␛[2J\nb<U+202E>");
    }
}
