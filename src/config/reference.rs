//! The reference of the file, as Markdown.

use std::fmt::Write as _;

use super::code::{Code, Severity};
use super::file::{File, ProbeFile};
use super::keys::outline;
use super::outline::{Entry, Outline, Presence, Shape};

/// Every table and key of `vestibule.toml`, and every diagnostic: `docs/config.md`.
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    for entry in &outline::<File>().entries {
        section(&mut page, entry, "");
    }
    page.push_str(DIAGNOSTICS);
    for code in Code::ALL {
        let severity = match code.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        line(
            &mut page,
            &format!("| `{code}` | {severity} | {} |", code.about()),
        );
    }
    page
}

/// Every table and key of a file of probes: a part of `docs/probes.md`.
pub fn probe_reference() -> String {
    let mut page = String::new();
    for entry in &outline::<ProbeFile>().entries {
        // What modules have in common with probes is not told twice.
        match &entry.shape {
            Shape::Tables { outline, .. } if entry.key == "module" => {
                line(&mut page, &format!("\n## `[[module]]`\n\n{}", entry.doc));
                keys(&mut page, outline);
            }
            _ => section(&mut page, entry, ""),
        }
    }
    page
}

const INTRODUCTION: &str = "\
<!-- Written by `config::reference`; a test compares. -->

# `vestibule.toml`

`vestibule check --config vestibule.toml` reads a file and reports everything that is wrong with it at once, with the
place, the reason and the fix. Exit status 78 means that it is refused. A key that is not listed here is refused, too.

- **Durations** are numbers with a unit: `300ms`, `30s`, `5m`, `1h`, `14d`. **Sizes** are whole numbers with a unit:
  `64KiB`, `10MiB`, `2GiB`.
- **Variables**: in every string, `${NAME}` becomes what the environment variable holds and `${NAME:-default}` the default
  if it is unset or empty. `$$` is a plain `$`. A variable that is unset and has no default is an error.
- **Paths** are relative to the directory of the file.
- **Secrets** stay out of the file: keys are named by their files.
";

const DIAGNOSTICS: &str = "
## Diagnostics

Codes are stable. Warnings do not refuse a configuration, and come only once it has no errors.

| code | severity | what it says |
| --- | --- | --- |
";

fn section(page: &mut String, entry: &Entry, parent: &str) {
    let path = if parent.is_empty() {
        entry.key.to_owned()
    } else {
        format!("{parent}.{}", entry.key)
    };
    let (title, outline, count) = match &entry.shape {
        Shape::Table(outline) => (format!("[{path}]"), outline, None),
        Shape::Tables {
            outline,
            least,
            most,
        } => {
            let count = if *least > 0 {
                format!("From {least} to {most} of them.")
            } else {
                format!("At most {most} of them.")
            };
            (format!("[[{path}]]"), outline, Some(count))
        }
        Shape::Value { .. } | Shape::List { .. } => return,
    };
    let level = if parent.is_empty() { "##" } else { "###" };
    line(page, &format!("\n{level} `{title}`\n"));
    line(page, entry.doc);
    if let Some(count) = count {
        line(page, &format!("\n{count}"));
    }
    keys(page, outline);
    for entry in &outline.entries {
        section(page, entry, &path);
    }
}

fn keys(page: &mut String, outline: &Outline) {
    line(
        page,
        "\n| key | value | without it | what it is |\n| --- | --- | --- | --- |",
    );
    for entry in &outline.entries {
        let value = match &entry.shape {
            Shape::Value { expects, .. } => expects.clone(),
            Shape::List { expects, most, .. } => format!("a list of at most {most}: {expects}"),
            Shape::Table(_) | Shape::Tables { .. } => continue,
        };
        let without = match &entry.presence {
            Presence::Required => "**required**".to_owned(),
            Presence::Default(default) => format!("`{default}`"),
            Presence::Otherwise(otherwise) => (*otherwise).to_owned(),
        };
        line(
            page,
            &format!("| `{}` | {value} | {without} | {} |", entry.key, entry.doc),
        );
    }
}

fn line(page: &mut String, text: &str) {
    writeln!(page, "{text}").expect("writing to a string cannot fail");
}
