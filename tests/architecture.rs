//! The rows of the tree: a module knows only rows below its own.
//!
//! Read from the text, so that it needs no compiler: every path that begins with `crate::`, and the words that only some
//! modules may say. Comments are not read, nor tests at a file's foot. Paths through `super` are not followed: they
//! stay within their module in this tree.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

/// Lowest first. Modules of one row do not know each other.
const ROWS: &str = "\
model
clock catalog
sli slo routing
triage
snapshot generate
net
proxy probe cert names store export notify admin tui telemetry
config
app
demo gameday
cli
lib main";

/// Words that only some modules may say.
const WORDS: [Words; 3] = [
    Words {
        list: "Instant::now SystemTime::now",
        are_for: |module| module == "clock",
        why: "only clock reads time",
    },
    Words {
        list: "rusqlite",
        are_for: |module| module == "store",
        why: "only store knows SQL",
    },
    Words {
        list: "async tokio fs:: thread:: TcpListener TcpStream UdpSocket",
        are_for: |module| row(module) >= row("net"),
        why: "what lies below net is pure",
    },
];

struct Words {
    list: &'static str,
    are_for: fn(&str) -> bool,
    why: &'static str,
}

/// Names that say nothing and gather everything.
const DRAWERS: [&str; 7] = [
    "mod", "util", "utils", "common", "helpers", "types", "manager",
];

#[test]
fn modules_know_only_the_rows_below() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = sources(&root.join("src"));
    assert!(files.iter().any(|file| file.ends_with("src/model.rs")));
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let file = file.strip_prefix(root).unwrap();
        let stem = file.file_stem().unwrap().to_str().unwrap();
        if DRAWERS.contains(&stem) {
            all.push(format!(
                "{}: a module's name says what it holds",
                file.display()
            ));
        }
        if stem != "tests" {
            let module = Path::new(file.iter().nth(1).unwrap()).with_extension("");
            for (line, complaint) in complaints(module.to_str().unwrap(), &text) {
                all.push(format!("{}:{line}: {complaint}", file.display()));
            }
        }
    }
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

/// The lines of a file of `module` that break a rule, and which.
fn complaints(module: &str, text: &str) -> Vec<(usize, String)> {
    let code = code(text);
    let mut complaints = Vec::new();
    if row(module).is_none() {
        complaints.push((1, format!("`{module}` stands in no row of this test")));
    }
    for (line, path) in occurrences(&code, "crate::") {
        for name in heads(path) {
            if row(&name).is_none() {
                complaints.push((line, format!("`{name}` stands in no row of this test")));
            } else if name != module && row(&name) >= row(module) {
                let what = format!("`{module}` imports `{name}`, which is not below it");
                complaints.push((line, what));
            }
        }
    }
    for Words { list, why, .. } in WORDS.iter().filter(|words| !(words.are_for)(module)) {
        for word in list.split(' ') {
            for (line, _) in occurrences(&code, word) {
                complaints.push((line, format!("`{word}` in `{module}`: {why}")));
            }
        }
    }
    complaints
}

fn row(module: &str) -> Option<usize> {
    ROWS.lines()
        .position(|row| row.split(' ').any(|name| name == module))
}

/// The text line for line, without comments and the tests at its foot.
fn code(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let begins_tests = |at: &usize| {
        let mut rest = lines[*at + 1..].iter();
        let item = rest.find(|line| !line.starts_with(['#', ' ', ')']));
        lines[*at] == "#[cfg(test)]"
            && item.is_some_and(|item| item.starts_with("mod ") && item.ends_with('{'))
    };
    let end = (0..lines.len()).find(begins_tests).unwrap_or(lines.len());
    let uncommented = |line: &&str| {
        let is_comment = line.trim_start().starts_with("//");
        let code = line.split(" // ").next().filter(|_| !is_comment);
        format!("{}\n", code.unwrap_or_default())
    };
    lines[..end].iter().map(uncommented).collect()
}

/// Where `word` stands by itself: the line, and what follows.
fn occurrences<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    code.match_indices(word).filter_map(move |(at, _)| {
        let (before, after) = code.split_at(at);
        let after = after.strip_prefix(word)?;
        let is_part =
            before.ends_with(is_name) || word.ends_with(is_name) && after.starts_with(is_name);
        (!is_part).then(|| (before.matches('\n').count() + 1, after))
    })
}

/// The first names of a path: one, or those of a list in braces.
fn heads(path: &str) -> Vec<String> {
    let head = |path: &str| {
        path.trim_start()
            .chars()
            .take_while(|c| is_name(*c))
            .collect()
    };
    let Some(list) = path.trim_start().strip_prefix('{') else {
        return vec![head(path)];
    };
    let (mut depth, mut outermost) = (1, String::new());
    for c in list.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match depth {
            0 => break,
            1 => outermost.push(c),
            _ => {}
        }
    }
    let items = outermost.split(',').filter(|item| !item.trim().is_empty());
    items.map(head).collect()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn what_breaks_a_rule_is_refused() {
    for (module, text, line, why) in [
        ("slo", "use crate::app::x;", 1, "`slo` imports `app`"),
        ("slo", "\n\nuse crate::sli;", 3, "`slo` imports `sli`"),
        ("admin", "use crate::export;", 1, "`admin` imports `export`"),
        (
            "model",
            "fn f() {\n    crate::clock::now()\n}",
            2,
            "`clock`",
        ),
        (
            "net",
            "use crate::{\n    model::{self, Fault},\n    tui::keys,\n};",
            1,
            "`tui`",
        ),
        ("store", "pub use crate::{model, app};", 1, "`app`"),
        (
            "app",
            "macro_rules! m { () => { $crate::cli::x } }",
            1,
            "`cli`",
        ),
        ("app", "use crate::*;", 1, "`` stands in no row"),
        (
            "app",
            "use crate::{self as all};",
            1,
            "`self` stands in no row",
        ),
        ("app", "use crate::colour;", 1, "`colour` stands in no row"),
        ("colour", "", 1, "`colour` stands in no row"),
        (
            "slo",
            "#[cfg(test)]\nmod fixture;\nuse crate::app;",
            3,
            "`app`",
        ),
        ("slo", "pub async fn f() {}", 1, "pure"),
        ("triage", "use tokio::sync;", 1, "pure"),
        ("routing", "use std::net::{IpAddr, TcpStream};", 1, "pure"),
        ("snapshot", "use std::fs::File;", 1, "pure"),
        ("proxy", "tokio::time::Instant::now()", 1, "only clock"),
        ("cli", "use rusqlite::Error;", 1, "only store"),
    ] {
        let said = complaints(module, text);
        assert!(said.len() == 1 && said[0].0 == line, "{text}: {said:?}");
        assert!(said[0].1.contains(why), "{text}: {said:?}");
    }
}

#[test]
fn what_breaks_none_is_taken() {
    for (module, text) in [
        ("slo", "use crate::model::{Slo, app};"),
        ("slo", "pub(in crate::slo) use crate::slo::policy;"),
        (
            "slo",
            "// use crate::app;\n/// As [`crate::app::Pipeline`].\nlet a = 1; // crate::app",
        ),
        (
            "slo",
            "let burn = other_crate::app::x + my_tokio + prefs::x;",
        ),
        (
            "slo",
            "use crate::model;\n\n#[cfg(test)]\n#[expect(\n    unused,\n)]\nmod tests {\n    use crate::app;\n}",
        ),
        (
            "app",
            "use crate::{\n    config::{a, b::{c}}, // cli\n    proxy,\n};\nasync fn f() {}",
        ),
        ("clock", "Instant::now()"),
        ("store", "use rusqlite::Connection;"),
    ] {
        assert_eq!(complaints(module, text), [], "{text}");
    }
}
