//! The pictures in the README are of the dashboards as they are. `dashboards/render/run` draws them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::ROOT;
use super::dashboards::{dashboards, list, text};

/// No picture is so large that a README loads slowly.
const LARGEST: u64 = 200_000;

/// What the panels of a dashboard show and where; `dashboards/render/render.mjs` has the same.
fn fingerprint(board: &Value) -> String {
    let panels = list(board, "panels")
        .iter()
        .filter(|panel| panel["type"] != "row");
    let shown = panels.map(|panel| {
        let at = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].to_string());
        let unit = text(&panel["fieldConfig"]["defaults"], "unit");
        let mut lines = vec![
            text(panel, "title").to_owned(),
            text(panel, "type").to_owned(),
            unit.to_owned(),
            at.join(" "),
        ];
        let targets = list(panel, "targets").iter();
        lines.extend(targets.map(|target| text(target, "expr").to_owned()));
        lines.join("\n")
    });
    let shown: Vec<String> = shown.collect();
    let hash = digest(&SHA256, shown.join("\n\n").as_bytes());
    let mut text = String::new();
    for byte in hash.as_ref() {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

#[test]
fn every_dashboard_has_a_picture_of_its_panels_as_they_are() {
    let pictures = Path::new(ROOT).join("docs/pictures");
    let drawn = fs::read_to_string(pictures.join("drawn.json")).unwrap();
    let drawn: BTreeMap<String, String> = serde_json::from_str(&drawn).unwrap();
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let mut stale = Vec::new();
    for (file, board) in dashboards() {
        let name = file.trim_end_matches(".json");
        if drawn.get(name) != Some(&fingerprint(&board)) {
            stale.push(name.to_owned());
        }
        let picture = pictures.join(format!("{name}.png"));
        let bytes = fs::metadata(&picture).map_or(0, |file| file.len());
        assert!(
            (1..LARGEST).contains(&bytes),
            "{}: {bytes} bytes",
            picture.display()
        );
        assert!(
            readme.contains(&format!("docs/pictures/{name}.png")),
            "the README does not show {name}"
        );
    }
    assert_eq!(drawn.len(), dashboards().len());
    assert!(
        stale.is_empty(),
        "the panels of {stale:?} changed after their pictures were drawn: run dashboards/render/run {}",
        stale.join(" ")
    );
}

#[test]
fn a_panel_that_changes_changes_the_fingerprint() {
    let (_, board) = dashboards().remove(0);
    for (path, value) in [
        ("/panels/1/title", Value::from("Another")),
        ("/panels/1/targets/0/expr", Value::from("up")),
        ("/panels/1/gridPos/w", Value::from(1)),
        ("/panels/1/type", Value::from("stat")),
    ] {
        let mut other = board.clone();
        *other.pointer_mut(path).unwrap() = value;
        assert_ne!(fingerprint(&other), fingerprint(&board), "{path}");
    }
}
