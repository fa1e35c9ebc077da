//! What pages say about the code is the code's own word, and where they point to is there.
//!
//! `UPDATE_GOLDEN=1` writes the tables that are made from code, to be read before they are committed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use vestibule::catalog;
use vestibule::config;
use vestibule::model::{Fault, Side};
use vestibule::slo::policy::Policy;

#[test]
fn the_list_of_faults_is_the_codes() {
    let mut page = String::from(FAULTS);
    for (side, about) in SIDES {
        write!(
            page,
            "\n## {}\n\n{}\n\n",
            capital(side.as_str()),
            capital(about)
        )
        .unwrap();
        page.push_str("| fault | status | what happened |\n| --- | --- | --- |\n");
        for fault in Fault::ALL.iter().filter(|fault| fault.side() == side) {
            let (status, what) = (status(*fault), description(*fault));
            writeln!(page, "| `{}` | {status} | {what} |", fault.as_str()).unwrap();
        }
    }
    compare(Path::new("docs/faults.md"), &page);
}

#[test]
fn the_readme_tells_sides_and_policy_as_they_are() {
    let mut faults = String::from("| whose | counts as | faults, and the status answered |\n");
    faults.push_str("| --- | --- | --- |\n");
    for (side, about) in SIDES {
        let of_side: Vec<Fault> = Fault::ALL
            .iter()
            .copied()
            .filter(|fault| fault.side() == side)
            .collect();
        let names: Vec<String> = of_side
            .iter()
            .map(|fault| {
                format!("`{}` {}", fault.as_str(), status(*fault))
                    .trim_end()
                    .to_owned()
            })
            .collect();
        let (about, _) = about.split_once('.').unwrap();
        let outcome = of_side[0].outcome().as_str();
        writeln!(
            faults,
            "| **{}**: {about} | {outcome} | {} |",
            side.as_str(),
            names.join(", ")
        )
        .unwrap();
    }
    let mut policy = String::from("| severity | tier | long window | short window | factor |\n");
    policy.push_str("| --- | --- | --- | --- | --- |\n");
    for row in Policy::workbook().rows {
        let (severity, tier) = (row.severity.as_str(), row.tier.as_str());
        let factor = f64::from(row.factor.0) / 1_000.0;
        writeln!(
            policy,
            "| {severity} | {tier} | {} | {} | {factor} |",
            row.long, row.short
        )
        .unwrap();
    }
    let readme = fs::read_to_string("README.md").unwrap();
    let readme = with_block(&readme, "faults", &faults);
    compare(
        Path::new("README.md"),
        &with_block(&readme, "policy", &policy),
    );
}

#[test]
fn the_readmes_configuration_is_taken_without_a_word() {
    let readme = fs::read_to_string("README.md").unwrap();
    let text: Vec<&str> = fenced(&readme, "toml").collect();
    let read = config::parse("README.md", &text.concat(), Path::new(""), &|_| None);
    let resolved = read.unwrap_or_else(|report| panic!("{}", report.render(false)));
    assert!(
        resolved.warnings.is_empty(),
        "{}",
        resolved.warnings.render(false)
    );
}

#[test]
fn the_readmes_json_has_only_fields_that_there_are() {
    let readme = fs::read_to_string("README.md").unwrap();
    let mut keys = BTreeSet::new();
    for text in fenced(&readme, "json") {
        collect_keys(&serde_json::from_str(text).unwrap(), &mut keys);
    }
    assert!(keys.contains("verdict") && keys.contains("remaining_ratio"));
    let sources = ["src/snapshot.rs", "src/triage.rs", "src/model/event.rs"];
    let code: String = sources
        .map(|path| fs::read_to_string(path).unwrap())
        .concat();
    for key in keys {
        assert!(
            code.contains(&format!("    pub {key}: ")),
            "there is no field `{key}`"
        );
    }
}

#[test]
fn series_that_pages_name_are_exported() {
    let known: BTreeSet<&str> = catalog::ALL.iter().map(|series| series.name).collect();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if word.starts_with("vestibule_") || word.starts_with("process_") {
                assert!(
                    known.contains(word),
                    "{}: there is no series `{word}`",
                    page.display()
                );
            }
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1) {
            let target = target.split(')').next().unwrap();
            if target.starts_with("https://") {
                continue;
            }
            seen += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            assert!(file.exists(), "{}: {target} is not there", page.display());
            if !anchor.is_empty() {
                let found = anchors(&fs::read_to_string(&file).unwrap());
                assert!(
                    found.contains(anchor),
                    "{}: {target} is not among {found:?}",
                    page.display()
                );
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

const SIDES: [(Side, &str); 3] = [
    (
        Side::Upstream,
        "the service behind, or the way to it. Spends error budget.",
    ),
    (Side::Edge, "Vestibule itself. Spends error budget."),
    (
        Side::Downstream,
        "the client, or the way from it. Never spends error budget, for nobody here can mend it.",
    ),
];

const FAULTS: &str = "\
<!-- Written by tests/docs.rs from src/model/outcome.rs. -->

# Faults

Why a request was not good. The word is the label `fault` of `vestibule_faults_total`, `error.type` in the access log, and
what `vestibule status --json` and the screens say. The status is what the client is answered while no response has begun;
one that has is cut off, so that the client sees that it is not whole. Without a status there is nobody to answer, or the
upstream's own response is passed on.
";

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    first.chain(chars).collect()
}

fn status(fault: Fault) -> String {
    fault
        .status()
        .map_or(String::new(), |status| status.to_string())
}

/// The fault's documentation.
fn description(fault: Fault) -> String {
    let code = fs::read_to_string("src/model/outcome.rs").unwrap();
    let (_, code) = code.split_once("\nfaults! {\n").unwrap();
    let (before, _) = code
        .split_once(&format!("= \"{}\"", fault.as_str()))
        .unwrap();
    let mut lines: Vec<&str> = before.lines().map(str::trim).collect();
    lines.pop();
    let from = lines.iter().rposition(|line| !line.starts_with("///"));
    let lines = lines.iter().skip(from.map_or(0, |at| at + 1));
    let words: Vec<&str> = lines.map(|line| line.trim_start_matches("/// ")).collect();
    words.join(" ")
}

/// The text with what stands between the marks of `name` replaced.
fn with_block(text: &str, name: &str, body: &str) -> String {
    let (before, rest) = text.split_once(&format!("<!-- {name}:")).unwrap();
    let (mark, rest) = rest.split_once('\n').unwrap();
    let end = format!("<!-- /{name} -->");
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}<!-- {name}:{mark}\n{body}{end}{after}")
}

fn fenced<'a>(text: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let open = format!("```{language}\n");
    let blocks: Vec<&str> = text.split(&open).skip(1).collect();
    blocks
        .into_iter()
        .filter_map(|block| block.split("```").next())
}

fn collect_keys(value: &serde_json::Value, keys: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                // Windows are keys of their own.
                if !key.starts_with(|c: char| c.is_ascii_digit()) {
                    keys.insert(key.clone());
                }
                collect_keys(value, keys);
            }
        }
        serde_json::Value::Array(items) => {
            for item in items {
                collect_keys(item, keys);
            }
        }
        _ => {}
    }
}

/// A page's headings as they can be linked to.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|line| {
            line.chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = [".", "docs", "docs/runbooks"]
        .iter()
        .flat_map(|dir| fs::read_dir(dir).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    assert!(pages.len() > 8, "{pages:?}");
    pages
}

fn compare(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, text).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == text,
        "{} is stale: UPDATE_GOLDEN=1 writes it anew",
        path.display()
    );
}
