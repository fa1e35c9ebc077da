//! Real `amtool` reads the generated routing, and every alert of the rules finds its way to who should hear it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::{ROOT, UNUSUAL, files, generated, has_amtool, has_promtool, promtools, said};

/// The labels of every alert of the rules in `dir`, its name among them.
fn alerts(dir: &Path) -> Vec<BTreeMap<String, String>> {
    let mut all: Vec<BTreeMap<String, String>> = Vec::new();
    for path in files(&dir.join("alerts/rules")) {
        let (mut labels, mut within) = (BTreeMap::new(), false);
        for line in fs::read_to_string(path).unwrap().lines() {
            let indent = line.len() - line.trim_start().len();
            let (key, value) = line.trim().split_once(": ").unwrap_or((line.trim(), ""));
            match (indent, key) {
                (6, "- alert") => {
                    labels = BTreeMap::from([("alertname".to_owned(), value.to_owned())]);
                }
                (8, "labels:") => within = !labels.is_empty(),
                (8, _) if within => {
                    within = false;
                    all.push(std::mem::take(&mut labels));
                }
                (10, key) if within => {
                    labels.insert(key.to_owned(), value.trim_matches('"').to_owned());
                }
                _ => {}
            }
        }
    }
    assert!(all.len() > 30, "{}", all.len());
    all
}

#[test]
fn amtool_accepts_the_configuration() {
    if !has_amtool() {
        return;
    }
    let file = Path::new(ROOT).join("alerts/alertmanager.yaml");
    let run = Command::new("amtool")
        .arg("check-config")
        .arg(file)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", said(&run));
}

/// The version of a promtool.
fn version(tool: &str) -> (u32, u32) {
    let run = Command::new(tool).arg("--version").output().unwrap();
    let words = said(&run);
    let mut parts = words.split_once("version ").unwrap().1.split('.');
    let mut part = || parts.next().unwrap().parse().unwrap();
    (part(), part())
}

#[test]
fn promtool_accepts_the_configurations_that_scrape() {
    if !has_promtool() {
        return;
    }
    let alerts = Path::new(ROOT).join("alerts");
    let whole = alerts.join("prometheus.yaml");
    let of_versions = files(&alerts.join("scrape"));
    assert_eq!(of_versions.len(), 3);
    let mut checked = 0;
    for tool in promtools() {
        let version = version(&tool);
        let check = |file: &Path| {
            let run = Command::new(&tool)
                .args(["check", "config"])
                .arg(file)
                .output()
                .unwrap();
            assert!(
                run.status.success(),
                "{tool} {}: {}",
                file.display(),
                said(&run)
            );
        };
        check(&whole);
        for file in &of_versions {
            let name = file.file_stem().unwrap().to_str().unwrap();
            let (major, minor) = name.rsplit_once('-').unwrap().1.split_once('.').unwrap();
            if (major.parse().unwrap(), minor.parse().unwrap()) <= version {
                check(file);
                checked += 1;
            }
        }
    }
    assert!(checked > 0);
}

#[test]
fn every_alert_reaches_its_owner_as_loudly_as_it_speaks() {
    if !has_amtool() {
        return;
    }
    let unusual = generated(UNUSUAL);
    for dir in [Path::new(ROOT), unusual.path()] {
        reaches_owners(dir);
    }
}

fn reaches_owners(dir: &Path) {
    let file = dir.join("alerts/alertmanager.yaml");
    let run = Command::new("amtool")
        .arg("check-config")
        .arg(&file)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", said(&run));
    let file = file.to_str().unwrap();
    for labels in alerts(dir) {
        let team = labels.get("owner").map_or("vestibule", String::as_str);
        let receiver = match labels.get("slo_severity").map(String::as_str) {
            Some("page") => format!("{team}-pages"),
            Some(_) => format!("{team}-tickets"),
            None => "vestibule-watchdog".to_owned(),
        };
        let run = Command::new("amtool")
            .args(["config", "routes", "test", "--config.file", file])
            .arg(format!("--verify.receivers={receiver}"))
            .args(
                labels
                    .iter()
                    .map(|(label, value)| format!("{label}={value}")),
            )
            .output()
            .unwrap();
        assert!(run.status.success(), "{labels:?}: {}", said(&run));
    }
}

#[test]
fn every_alert_has_a_page_and_links_to_it() {
    let rules: String = files(&Path::new(ROOT).join("alerts/rules"))
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for labels in alerts(Path::new(ROOT)) {
        let name = &labels["alertname"];
        let page = Path::new(ROOT).join(format!("alerts/runbooks/{name}.md"));
        let text = fs::read_to_string(&page).unwrap_or_default();
        assert!(
            text.contains("## What to do") && text.contains("## The rule"),
            "{name}"
        );
    }
    let count = |what: &str| rules.matches(what).count();
    let alerts = count("- alert: ");
    for annotation in [
        "summary: ",
        "description: ",
        "runbook_url: ",
        "dashboard_url: ",
    ] {
        assert_eq!(
            count(&format!("          {annotation}")),
            alerts,
            "{annotation}"
        );
    }
    let boards = files(&Path::new(ROOT).join("dashboards"));
    for url in rules.split("dashboard_url: ").skip(1) {
        let uid = url.split("/d/vestibule-").nth(1).unwrap();
        let uid = uid.split(['?', '\n', '"']).next().unwrap();
        assert!(
            boards.iter().any(|path| path.file_stem().unwrap() == uid),
            "{uid}"
        );
    }
}
