//! Commands that need no daemon.

use serde_json::Value;

use super::harness::{Home, stderr, stdout};

/// Wrong in five places.
const WRONG: &str = r#"
[[listener]]
name = "http"
address = "nowhere"

[[upstream]]
name = "web"
endpoints = ["ftp://127.0.0.1:1"]

[[route]]
id = "web"
upstream = "wbe"

[[slo]]
id = "available"
route = "web"
sli = "availability"
objective = "101%"
windwo = "30d"
"#;

const RIGHT: &str = r#"
[[listener]]
name = "http"
address = "127.0.0.1:0"

[[upstream]]
name = "web"
endpoints = ["http://127.0.0.1:1"]

[[route]]
id = "web"
upstream = "web"

[[slo]]
id = "available"
route = "web"
sli = "availability"
objective = "99.9%"
"#;

#[test]
fn check_names_every_mistake_at_once() {
    let home = Home::new(WRONG);
    let checked = home.vestibule(&["check"]);
    assert_eq!(checked.status.code(), Some(78));
    assert!(stdout(&checked).is_empty());
    let said = stderr(&checked);
    for part in ["5 errors", "nowhere", "ftp", "wbe", "101%", "windwo"] {
        assert!(said.contains(part), "{part}: {said}");
    }

    let json = home.vestibule(&["check", "--json"]);
    assert_eq!(json.status.code(), Some(78));
    let report: Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(report["errors"], 5, "{report:#}");
    let lines: Vec<u64> = report["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|diagnostic| {
            assert!(diagnostic["message"].is_string() && diagnostic["code"].is_string());
            diagnostic["line"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(lines, [4, 8, 12, 18, 19]);

    let run = home.vestibule(&["run"]);
    assert_eq!(run.status.code(), Some(78));
    assert!(stderr(&run).contains("5 errors"));
    assert!(!home.state().exists(), "nothing was begun");
}

#[test]
fn check_lets_a_right_file_pass() {
    let home = Home::new(RIGHT);
    let checked = home.vestibule(&["check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    let json = home.vestibule(&["check", "--json"]);
    assert_eq!(json.status.code(), Some(0));
    let report: Value = serde_json::from_str(&stdout(&json)).unwrap();
    let hash = report["hash"].as_str().unwrap();
    assert_eq!(
        stdout(&checked),
        format!("vestibule.toml is right: 1 routes, 1 SLOs, hash {hash}\n")
    );
    assert_eq!(report["errors"], 0);
    assert!(!home.state().exists(), "nothing was begun");
}

#[test]
fn check_as_json_says_what_only_building_shows() {
    let home = Home::new(&RIGHT.replace(
        "address = \"127.0.0.1:0\"",
        "address = \"127.0.0.1:0\"\ncertificates = [\"edge\"]\n[[certificate]]\nname = \"edge\"\nchain_file = \"edge.pem\"\nkey_file = \"edge-key.pem\"",
    ));
    let [one, other] =
        [0, 1].map(|_| rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap());
    std::fs::write(home.path("edge.pem"), one.cert.pem()).unwrap();
    std::fs::write(home.path("edge-key.pem"), other.signing_key.serialize_pem()).unwrap();
    let plain = home.vestibule(&["check"]);
    assert_eq!(plain.status.code(), Some(78));
    assert!(stderr(&plain).contains("edge"), "{}", stderr(&plain));
    let json = home.vestibule(&["check", "--json"]);
    assert_eq!(json.status.code(), Some(78));
    let report: Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(report["errors"], 1, "{report:#}");
    assert!(report["diagnostics"][0]["message"].is_string());
}

#[test]
fn the_schema_and_the_reference_are_printed() {
    let home = Home::new("");
    let schema = home.vestibule(&["config", "schema"]);
    assert_eq!(schema.status.code(), Some(0));
    let schema: Value = serde_json::from_str(&stdout(&schema)).unwrap();
    assert!(schema["properties"]["route"].is_object());
    let reference = home.vestibule(&["config", "reference"]);
    assert_eq!(reference.status.code(), Some(0));
    assert!(stdout(&reference).contains("## `[[route]]`"));
}

#[test]
fn a_wrong_command_line_is_told_from_a_wrong_file() {
    let home = Home::new(RIGHT);
    for arguments in [
        &["rnu"][..],
        &[],
        &["run", "--listen", "nowhere"],
        &["run", "ftp://127.0.0.1:1"],
        &["run", "http://127.0.0.1:1", "--config", "vestibule.toml"],
        &["status", "--connect", "https://10.0.0.1:1/x"],
        &["deploy", "web"],
        &["demo", "--seconds", "soon"],
    ] {
        let wrong = home.vestibule(arguments);
        assert_eq!(
            wrong.status.code(),
            Some(64),
            "{arguments:?}: {}",
            stderr(&wrong)
        );
        assert!(!wrong.stderr.is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["run", "--help"]] {
        let help = home.vestibule(arguments);
        assert_eq!(help.status.code(), Some(0), "{arguments:?}");
        assert!(!help.stdout.is_empty() && help.stderr.is_empty());
    }
    let missing = home.vestibule(&["run", "--config", "missing.toml"]);
    assert_eq!(missing.status.code(), Some(78));
    let said = stderr(&missing);
    assert!(
        said.contains("missing.toml") && said.contains("vestibule run http://"),
        "{said}"
    );

    // A file where a URL is expected, there or not, is told how files are given.
    for file in ["vestibule.toml", "conf/other.toml"] {
        let given = home.vestibule(&["run", file]);
        assert_eq!(given.status.code(), Some(64));
        let said = stderr(&given);
        assert!(
            said.contains(&format!("vestibule run --config {file}")),
            "{said}"
        );
        assert!(!said.contains("http://"), "{said}");
    }
    let host = stderr(&home.vestibule(&["run", "localhost:3000"]));
    assert!(
        host.contains("http://localhost:3000") && !host.contains("--config"),
        "{host}"
    );
}
