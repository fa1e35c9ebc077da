//! `vestibule slo import`, as it is called.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{ROOT, said, vestibule};

const SLOTH: &str = r#"
version: prometheus/v1
service: shop
labels: {owner: team-shop}
slos:
  - name: available
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(http_requests_total{code=~"5.."}[{{.window}}]))
        total_query: sum(rate(http_requests_total[{{.window}}]))
    alerting: {page_alert: {}, ticket_alert: {}}
"#;

fn put(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_examples_promises_come_back_from_both_formats() {
    let dir = tempfile::tempdir().unwrap();
    let example = "vestibule.example.toml";
    let export = |from: &str, format: &str| {
        let run = vestibule(&["slo", "export", "--from", from, "--format", format]);
        assert!(run.status.success(), "{}", said(&run));
        String::from_utf8(run.stdout).unwrap()
    };
    for format in ["openslo", "sloth"] {
        let specs = export(example, format);
        let file = put(dir.path(), "specs.yaml", &specs);
        let out = dir.path().join(format!("{format}.toml"));
        let out = out.to_str().unwrap();
        let run = vestibule(&["slo", "import", &file, "--format", format, "--out", out]);
        assert_eq!(run.status.code(), Some(0), "{}", said(&run));
        assert_eq!(said(&run), "");
        let check = vestibule(&["check", "--config", out]);
        assert!(check.status.success(), "{}", said(&check));
        // The same promises, said in the same words again; where pages are published is no promise.
        let promises = |text: &str| {
            let lines = text.lines().filter(|line| !line.contains("runbook_url"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(promises(&export(out, format)), promises(&specs));
        // What is there is not written over.
        let again = vestibule(&["slo", "import", &file, "--out", out]);
        assert_eq!(again.status.code(), Some(74), "{}", said(&again));
    }
}

#[test]
fn what_is_lost_is_told_and_the_exit_code_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let whole = put(dir.path(), "whole.yaml", SLOTH);
    let run = vestibule(&["slo", "import", &whole]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let words = String::from_utf8(run.stderr).unwrap();
    assert!(
        words.contains("whole.yaml:9:7: changed: slos[0]: the query is not carried"),
        "{words}"
    );

    let silent = SLOTH.replace("page_alert: {}", "page_alert: {disable: true}");
    let less = put(dir.path(), "less.yaml", &silent);
    let run = vestibule(&["slo", "import", &less, "--json"]);
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    assert!(run.stderr.is_empty());
    let json: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(json["slos"][0]["id"], "available");
    let lost = json["notes"].as_array().unwrap();
    let lost = lost.iter().find(|note| note["fate"] == "lost").unwrap();
    assert_eq!(lost["field"], "slos[0].alerting.page_alert.disable");
    assert!(json["text"].as_str().unwrap().contains("[[slo]]"));
}

#[test]
fn tables_for_a_configuration_are_held_against_it() {
    let dir = tempfile::tempdir().unwrap();
    let specs = put(dir.path(), "specs.yaml", SLOTH);
    let routes = "[[listener]]\nname = \"http\"\naddress = \"127.0.0.1:0\"\n\n[[upstream]]\nname = \"a\"\n\
                  endpoints = [\"http://127.0.0.1:1\"]\n\n[[route]]\nid = \"shop\"\nupstream = \"a\"\n";
    let config = put(dir.path(), "vestibule.toml", routes);
    let run = vestibule(&["slo", "import", &specs, "--into", &config]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let tables = String::from_utf8(run.stdout).unwrap();
    assert!(!tables.contains("[[route]]"), "{tables}");
    let grown = put(dir.path(), "grown.toml", &format!("{routes}{tables}"));
    let check = vestibule(&["check", "--config", &grown]);
    assert!(check.status.success(), "{}", said(&check));

    // Without the route, and a second time.
    let other = put(
        dir.path(),
        "other.toml",
        &routes.replace("\"shop\"", "\"other\""),
    );
    for (config, why) in [(&other, "shop"), (&grown, "available")] {
        let run = vestibule(&["slo", "import", &specs, "--into", config]);
        assert_eq!(run.status.code(), Some(78), "{}", said(&run));
        assert!(said(&run).contains(why), "{}", said(&run));
        assert!(run.stdout.is_empty());
    }
}

#[test]
fn a_specification_that_is_wrong_is_refused_at_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = put(
        dir.path(),
        "wrong.yaml",
        &SLOTH.replace("objective: 99.9", "objective: [99.9]"),
    );
    let run = vestibule(&["slo", "import", &wrong]);
    assert_eq!(run.status.code(), Some(78), "{}", said(&run));
    let words = said(&run);
    assert!(words.contains("wrong.yaml:7:16"), "{words}");
    let run = vestibule(&["slo", "import", &format!("{ROOT}/no-such.yaml")]);
    assert_eq!(run.status.code(), Some(78), "{}", said(&run));
    let run = vestibule(&["slo", "import", &wrong, "--json"]);
    let json: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(json["refused"][0]["diagnostics"][0]["line"], 7);
}
