//! What `vestibule generate` writes, held to the real tools that will read it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

mod dashboards;
mod import;
mod models;
mod pictures;
mod queries;
mod routing;
mod sloth;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn vestibule(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(arguments)
        .current_dir(ROOT)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let all = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// Says that a test cannot be done here. Where everything must be there, it fails instead.
fn skip(why: &str) {
    assert!(
        std::env::var_os("VESTIBULE_CI").is_none_or(|value| value != "1"),
        "this must not be skipped here: {why}"
    );
    drop(writeln!(io::stderr(), "SKIPPED: {why}"));
}

fn answers(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok()
}

fn has_promtool() -> bool {
    let there = answers("promtool");
    if !there {
        skip("promtool is not installed");
    }
    there
}

fn has_amtool() -> bool {
    let there = answers("amtool");
    if !there {
        skip("amtool is not installed");
    }
    there
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Where [`UNUSUAL`] looks for its probe.
fn put_probes(dir: &Path) {
    fs::create_dir(dir.join("synthetic")).unwrap();
    fs::write(dir.join("synthetic/all.toml"), PROBES).unwrap();
}

/// Everything for a configuration, in a directory of its own.
fn generated(config: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("vestibule.toml");
    fs::write(&from, config).unwrap();
    put_probes(dir.path());
    let arguments = ["generate", "all", "--from", from.to_str().unwrap(), "--out"];
    let run = vestibule(&[&arguments[..], &[dir.path().to_str().unwrap()]].concat());
    assert!(run.status.success(), "{}", said(&run));
    dir
}

fn promtool(arguments: &[&str], files: &[PathBuf]) -> Output {
    promtool_at("promtool", arguments, files)
}

fn promtool_at(tool: &str, arguments: &[&str], files: &[PathBuf]) -> Output {
    Command::new(tool)
        .args(arguments)
        .args(files)
        .output()
        .unwrap()
}

/// Each promtool that there is: the installed one, the one that `.ci/peers` fetches, and those that
/// `VESTIBULE_PROMTOOLS` names, with `:` between them.
fn promtools() -> Vec<String> {
    let newer = Path::new(ROOT).join("target/peers/promtool-3");
    let newer = newer.exists().then(|| newer.to_str().unwrap().to_owned());
    if newer.is_none() {
        skip("promtool-3 is not installed");
    }
    let more = std::env::var("VESTIBULE_PROMTOOLS").unwrap_or_default();
    let more = more.split(':').filter(|tool| !tool.is_empty());
    std::iter::once("promtool".to_owned())
        .chain(newer)
        .chain(more.map(str::to_owned))
        .collect()
}

#[test]
fn what_is_committed_is_what_the_example_gives() {
    let run = vestibule(&[
        "generate",
        "all",
        "--from",
        "vestibule.example.toml",
        "--check",
    ]);
    assert!(run.status.success(), "{}", said(&run));
}

#[test]
fn a_stale_a_missing_and_a_leftover_file_are_named() {
    let dir =
        generated(&fs::read_to_string(Path::new(ROOT).join("vestibule.example.toml")).unwrap());
    let at = |path: &str| dir.path().join(path);
    let from = at("vestibule.toml");
    let arguments = [
        "generate",
        "all",
        "--from",
        from.to_str().unwrap(),
        "--check",
        "--out",
    ];
    let check = || vestibule(&[&arguments[..], &[dir.path().to_str().unwrap()]].concat());
    let fresh = check();
    assert!(fresh.status.success(), "{}", said(&fresh));

    let rules = at("alerts/rules/slo-checkout-fast.yaml");
    let text = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, text.replacen("> 0.72", "> 0.9", 1)).unwrap();
    fs::remove_file(at("alerts/tests/vestibule.yaml")).unwrap();
    fs::write(at("alerts/rules/slo-gone.yaml"), &text).unwrap();
    fs::write(at("alerts/rules/mine.yaml"), "groups: []\n").unwrap();
    let stale = check();
    assert_eq!(stale.status.code(), Some(1));
    let words = said(&stale);
    for word in [
        "slo-checkout-fast.yaml differs from line ",
        "tests/vestibule.yaml is missing",
        "slo-gone.yaml is no longer generated",
    ] {
        assert!(words.contains(word), "{word}: {words}");
    }
    assert!(!words.contains("mine.yaml"), "{words}");
}

#[test]
fn a_configuration_that_is_wrong_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("vestibule.toml");
    fs::write(&from, "nonsense").unwrap();
    let run = vestibule(&["generate", "all", "--from", from.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(78), "{}", said(&run));
    assert_eq!(files(dir.path()), [from]);
}

#[test]
fn a_window_that_prometheus_cannot_see_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("vestibule.toml");
    fs::write(&from, UNUSUAL.replace("\"7m\"", "\"20s\"")).unwrap();
    put_probes(dir.path());
    let run = vestibule(&[
        "generate",
        "rules",
        "--from",
        from.to_str().unwrap(),
        "--out",
        "-",
    ]);
    assert!(run.status.success(), "{}", said(&run));
    let words = String::from_utf8(run.stderr).unwrap();
    assert!(
        words.contains("policy `lone` has a window of 20s"),
        "{words}"
    );
}

#[test]
fn promises_are_exported_in_the_words_of_other_tools() {
    let export = |format| {
        let run = vestibule(&[
            "slo",
            "export",
            "--from",
            "vestibule.example.toml",
            "--format",
            format,
        ]);
        assert!(run.status.success(), "{}", said(&run));
        String::from_utf8(run.stdout).unwrap()
    };
    let (openslo, sloth) = (export("openslo"), export("sloth"));
    let promised = files(&Path::new(ROOT).join("alerts/rules")).len() - 1;
    assert_eq!(openslo.matches("\nkind: SLO\n").count(), promised);
    assert_eq!(sloth.matches("\n  - name: ").count(), promised);
    for (text, parts) in [
        (
            &openslo,
            [
                "  service: checkout\n",
                "      target: 0.9995\n",
                "query: 'sum(rate(vestibule_slo_events_total{slo=\"checkout-fast\",result=\"good\"}[{{.window}}]))'\n",
            ],
        ),
        (
            &sloth,
            [
                "version: prometheus/v1\nservice: checkout\n",
                "    objective: 99.95\n",
                "error_query: 'sum(rate(vestibule_slo_events_total{slo=\"checkout-fast\",result=\"bad\"}[{{.window}}]))'\n",
            ],
        ),
    ] {
        for part in parts {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}

#[test]
fn promtool_accepts_the_rules_without_a_word_of_lint() {
    if !has_promtool() {
        return;
    }
    let rules = files(&Path::new(ROOT).join("alerts/rules"));
    for tool in promtools() {
        let run = promtool_at(
            &tool,
            &["check", "rules", "--lint=all", "--lint-fatal"],
            &rules,
        );
        assert!(run.status.success(), "{tool}: {}", said(&run));
    }
}

#[test]
fn the_rules_pass_their_unit_tests() {
    if !has_promtool() {
        return;
    }
    let tests = files(&Path::new(ROOT).join("alerts/tests"));
    for tool in promtools() {
        let run = promtool_at(&tool, &["test", "rules"], &tests);
        assert!(run.status.success(), "{tool}: {}", said(&run));
    }
}

const PROBES: &str =
    "[[probe]]\nname = \"front\"\ntarget = \"http://127.0.0.1:1/\"\nevery = \"30s\"\n";

/// Policies, windows, objectives and kinds that the example does not have.
const UNUSUAL: &str = r#"
[generate]
sloth = true

[probes]
dir = "synthetic"

[[listener]]
name = "http"
address = "127.0.0.1:0"

[[upstream]]
name = "a"
endpoints = ["http://127.0.0.1:1"]

[[route]]
id = "a.b_c-d"
upstream = "a"

[[slo]]
id = "hour.ly"
route = "a.b_c-d"
sli = "availability"
objective = "99%"
window = "7d"
policy = "hourly"

[[slo]]
id = "tight"
route = "a.b_c-d"
sli = "availability"
objective = "99.999%"

[[slo]]
id = "one-row"
route = "a.b_c-d"
sli = "latency"
under = "1s"
objective = "99.9%"
policy = "lone"

[[slo]]
id = "from-outside"
route = "a.b_c-d"
sli = "probe"
probe = "front"
objective = "99%"

[[slo]]
id = "three-days"
route = "a.b_c-d"
sli = "availability"
objective = "99.9%"
window = "3d"
policy = "sure"

[[policy]]
name = "sure"
rows_of = "workbook"
confidence = true

[[policy]]
name = "lone"
page_min_bad = 0
ticket_min_bad = 0
volume_weight = false

[[policy.row]]
severity = "ticket"
tier = "slow"
long = "90m"
short = "7m"
factor = 0.5
"#;

#[test]
fn other_policies_windows_and_objectives_pass_theirs_too() {
    if !has_promtool() {
        return;
    }
    let dir = generated(UNUSUAL);
    let rules = files(&dir.path().join("alerts/rules"));
    assert!(
        rules
            .iter()
            .any(|path| path.ends_with("sloth-hour.ly.yaml"))
    );
    let run = promtool(&["check", "rules", "--lint=all", "--lint-fatal"], &rules);
    assert!(run.status.success(), "{}", said(&run));
    let run = promtool(&["test", "rules"], &files(&dir.path().join("alerts/tests")));
    assert!(run.status.success(), "{}", said(&run));
}

#[test]
fn the_unit_tests_notice_rules_that_are_wrong() {
    if !has_promtool() {
        return;
    }
    let rules = "alerts/rules/slo-web-available.yaml";
    for (what, right, wrong) in [
        ("a factor", "> 0.012", "> 0.12"),
        (
            "the short window",
            "and route:slo_errors_per_request:ratio_rate30m",
            "or route:slo_errors_per_request:ratio_rate30m",
        ),
        ("the guard against few events", "> 5.5", "> 0.5"),
        ("the other guard", "> 4.5", "> 0.5"),
        ("what little traffic weighs", "<= 0.012 *", "<= 0 *"),
        (
            "no data is not zero",
            "slo=\"web-available\"} > 0)",
            "slo=\"web-available\"})",
        ),
        (
            "history",
            "route:slo_coverage:ratio3d{slo=\"web-available\"} >= 0.5",
            "route:slo_coverage:ratio3d{slo=\"web-available\"} >= 0",
        ),
        (
            "what absent looks for",
            "absent(vestibule_slo_events_total{slo=\"web-available\"})",
            "vector(1)",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let text = fs::read_to_string(Path::new(ROOT).join(rules)).unwrap();
        let mutant = text.replace(right, wrong);
        assert_ne!(mutant, text, "`{right}` is not in the rules");
        put(rules, &mutant);
        let mut passed = true;
        for name in ["slo-web-available.yaml", "slow-web-available.yaml"] {
            let path = format!("alerts/tests/{name}");
            put(
                &path,
                &fs::read_to_string(Path::new(ROOT).join(&path)).unwrap(),
            );
            passed &= promtool(&["test", "rules"], &[dir.path().join(path)])
                .status
                .success();
        }
        assert!(!passed, "nothing notices when {what} is wrong");
    }
}
