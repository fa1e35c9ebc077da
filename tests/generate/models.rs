//! Dashboards in both models fit the schemas that Grafana's own types give, and ask the same.
//!
//! The schemas are generated from `@grafana/schema`: `tests/generate/schema/regenerate` writes them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::Value;

use super::dashboards::{dashboards, list, text};
use super::{ROOT, files, said, vestibule};

fn schema(name: &str) -> Validator {
    let path = Path::new(ROOT).join("tests/generate/schema").join(name);
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

/// What a schema has to complain about.
fn complaints(schema: &Validator, value: &Value) -> Vec<String> {
    let errors = schema.iter_errors(value);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// The dashboards in the newer model, by file name.
fn resources() -> Vec<(String, Value)> {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let from = "vestibule.example.toml";
    let arguments = [
        "generate",
        "dashboards",
        "--format",
        "v2",
        "--from",
        from,
        "--out",
        out,
    ];
    let run = vestibule(&arguments);
    assert!(run.status.success(), "{}", said(&run));
    let check = vestibule(&[&arguments[..], &["--check"]].concat());
    assert!(check.status.success(), "{}", said(&check));
    let read = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (
            name,
            serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap(),
        )
    };
    files(&dir.path().join("dashboards/v2"))
        .iter()
        .map(read)
        .collect()
}

/// A classic dashboard without what its types do not know, though Grafana itself writes it: a variable's `definition`, and
/// the query of an annotation, whose type says of itself that it is to be done.
fn as_typed(board: &Value) -> Value {
    let mut board = board.clone();
    let mut remove = |list: &str, keys: &[&str]| {
        let items = board.pointer_mut(list).unwrap().as_array_mut().unwrap();
        for item in items {
            let item = item.as_object_mut().unwrap();
            item.retain(|key, _| !keys.contains(&key.as_str()));
        }
    };
    remove("/templating/list", &["definition"]);
    let of_prometheus = ["expr", "step", "titleFormat", "useValueForTime"];
    remove("/annotations/list", &of_prometheus);
    board
}

#[test]
fn every_dashboard_fits_the_schema_of_its_model() {
    let (classic, v2) = (schema("classic.json"), schema("v2.json"));
    for (name, board) in dashboards() {
        let board = as_typed(&board);
        assert_eq!(complaints(&classic, &board), Vec::<String>::new(), "{name}");
    }
    for (name, resource) in resources() {
        assert_eq!(resource["apiVersion"], "dashboard.grafana.app/v2");
        assert_eq!(resource["kind"], "Dashboard");
        assert!(text(&resource["metadata"], "name").starts_with("vestibule-"));
        assert_eq!(
            complaints(&v2, &resource["spec"]),
            Vec::<String>::new(),
            "{name}"
        );
    }
}

#[test]
fn a_dashboard_that_does_not_fit_is_refused() {
    let (classic, v2) = (schema("classic.json"), schema("v2.json"));
    let board = as_typed(&dashboards().remove(0).1);
    let (_, resource) = resources().remove(0);
    for (schema, whole, path, value) in [
        (&classic, &board, "/schemaVersion", Value::from("39")),
        (&classic, &board, "/panels/1/gridPos/h", Value::from("8")),
        (&classic, &board, "/time/from", Value::from(1)),
        (&v2, &resource["spec"], "/cursorSync", Value::from("Both")),
        (
            &v2,
            &resource["spec"],
            "/elements/panel-2/spec/id",
            Value::from("2"),
        ),
        (
            &v2,
            &resource["spec"],
            "/elements/panel-2/kind",
            Value::from("Window"),
        ),
        (
            &v2,
            &resource["spec"],
            "/layout/spec/rows/0/spec/layout/kind",
            Value::from("Pile"),
        ),
    ] {
        let mut broken = whole.clone();
        *broken.pointer_mut(path).unwrap() = value;
        assert!(!complaints(schema, &broken).is_empty(), "{path}");
    }
}

/// Panels with what they ask and how they show it.
type Shown = BTreeSet<(String, String, String, Vec<(String, String)>)>;

fn of_classic(board: &Value) -> Shown {
    let panels = list(board, "panels")
        .iter()
        .filter(|panel| panel["type"] != "row");
    let shown = |panel: &Value| {
        let targets = list(panel, "targets").iter();
        let queries = targets.map(|target| {
            (
                text(target, "refId").to_owned(),
                text(target, "expr").to_owned(),
            )
        });
        (
            text(panel, "title").to_owned(),
            text(panel, "type").to_owned(),
            panel["fieldConfig"].to_string(),
            queries.collect(),
        )
    };
    panels.map(shown).collect()
}

fn of_v2(spec: &Value) -> Shown {
    let panels = spec["elements"].as_object().unwrap().values();
    let shown = |panel: &Value| {
        let panel = &panel["spec"];
        let queries = list(&panel["data"]["spec"], "queries").iter().map(|query| {
            let query = &query["spec"];
            assert_eq!(query["query"]["datasource"]["name"], "${datasource}");
            assert_eq!(query["query"]["group"], "prometheus");
            (
                text(query, "refId").to_owned(),
                text(&query["query"]["spec"], "expr").to_owned(),
            )
        });
        (
            text(panel, "title").to_owned(),
            text(&panel["vizConfig"], "group").to_owned(),
            panel["vizConfig"]["spec"]["fieldConfig"].to_string(),
            queries.collect(),
        )
    };
    panels.map(shown).collect()
}

#[test]
fn both_models_show_the_same() {
    let (classics, resources) = (dashboards(), resources());
    assert_eq!(classics.len(), resources.len());
    for ((name, classic), (other, resource)) in classics.iter().zip(&resources) {
        assert_eq!(name, other);
        let spec = &resource["spec"];
        assert_eq!(resource["metadata"]["name"], classic["uid"]);
        assert_eq!(spec["editable"], false);
        let panels = of_classic(classic);
        assert!(panels.len() > 5, "{name}");
        assert_eq!(of_v2(spec), panels, "{name}");
        let named =
            |list: &[Value], at: &dyn Fn(&Value) -> String| list.iter().map(at).collect::<Vec<_>>();
        assert_eq!(
            named(list(spec, "variables"), &|it| text(&it["spec"], "name")
                .to_owned()),
            named(list(&classic["templating"], "list"), &|it| text(it, "name")
                .to_owned()),
        );
        assert_eq!(
            named(list(spec, "annotations"), &|it| it["spec"]["query"]["spec"]
                ["expr"]
                .to_string()),
            named(list(&classic["annotations"], "list"), &|it| it["expr"]
                .to_string()),
        );

        // Each panel is placed once, and none upon another.
        let mut placed = BTreeSet::new();
        for row in list(&spec["layout"]["spec"], "rows") {
            let mut taken = BTreeSet::new();
            for item in list(&row["spec"]["layout"]["spec"], "items") {
                let item = &item["spec"];
                let at = |key: &str| item[key].as_u64().unwrap();
                assert!(at("x") + at("width") <= 24, "{name}");
                for x in at("x")..at("x") + at("width") {
                    for y in at("y")..at("y") + at("height") {
                        assert!(taken.insert((x, y)), "{name}: panels lie upon each other");
                    }
                }
                assert!(placed.insert(text(&item["element"], "name").to_owned()));
            }
        }
        let elements: BTreeSet<String> = spec["elements"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        assert_eq!(placed, elements, "{name}");
    }
}
