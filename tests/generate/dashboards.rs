//! Dashboards hold to what makes one usable by others than its author.
//!
//! The rules are those of Grafana's dashboard linter, as far as they concern a file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{ROOT, files};

/// Every dashboard that is committed, by file name.
pub(crate) fn dashboards() -> Vec<(String, Value)> {
    let read = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (
            name,
            serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap(),
        )
    };
    let files = files(&Path::new(ROOT).join("dashboards"));
    // Beside them is what draws them.
    let boards = files
        .iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    boards.map(read).collect()
}

pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Panels that show something.
fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    list(board, "panels")
        .iter()
        .filter(|panel| panel["type"] != "row")
}

/// Every query of every panel and annotation.
pub(crate) fn expressions() -> Vec<String> {
    let mut all = Vec::new();
    for (_, board) in dashboards() {
        for panel in panels(&board) {
            all.extend(
                list(panel, "targets")
                    .iter()
                    .map(|target| text(target, "expr").to_owned()),
            );
        }
        let marks = list(&board["annotations"], "list").iter();
        all.extend(marks.map(|mark| text(mark, "expr").to_owned()));
    }
    assert!(all.len() > 80, "{}", all.len());
    all
}

const UNITS: [&str; 8] = [
    "binBps",
    "bytes",
    "dateTimeFromNow",
    "none",
    "percentunit",
    "reqps",
    "s",
    "short",
];

/// What is wrong with a dashboard.
#[expect(clippy::too_many_lines, reason = "one rule after another")]
fn lint(board: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    check(board["schemaVersion"] == 39, "another schema");
    check(board["editable"] == false, "it can be edited");
    check(
        text(board, "uid").starts_with("vestibule-"),
        "no uid of ours",
    );
    check(!text(board, "title").is_empty(), "no title");
    check(!text(board, "description").is_empty(), "no description");
    check(
        list(board, "tags").contains(&Value::from("vestibule")),
        "no tag",
    );
    check(!list(board, "links").is_empty(), "no way to the others");

    let variables = list(&board["templating"], "list");
    let named = |name: &str| variables.iter().find(|variable| variable["name"] == name);
    let source = named("datasource");
    check(
        source.is_some_and(|source| {
            source["type"] == "datasource" && source["query"] == "prometheus"
        }),
        "no data source to choose",
    );
    for name in ["job", "instance"] {
        check(named(name).is_some(), &format!("no variable {name}"));
    }
    for variable in variables
        .iter()
        .filter(|variable| variable["type"] == "query")
    {
        check(
            variable["refresh"] == 2,
            "a variable is not refreshed with the time",
        );
        check(
            variable["datasource"]["uid"] == "${datasource}",
            "a variable of one data source",
        );
    }

    let ids: Vec<u64> = list(board, "panels")
        .iter()
        .filter_map(|panel| panel["id"].as_u64())
        .collect();
    let distinct: BTreeSet<u64> = ids.iter().copied().collect();
    check(
        ids.len() == list(board, "panels").len() && distinct.len() == ids.len(),
        "ids are not unique",
    );
    let mut titles = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in list(board, "panels") {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap_or(99);
        check(at("x") + at("w") <= 24, "a panel is wider than the page");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                check(taken.insert((x, y)), "panels lie upon each other");
            }
        }
    }
    for panel in panels(board) {
        let title = text(panel, "title");
        let mut check = |holds: bool, what: &str| {
            if !holds {
                wrong.push(format!("{title}: {what}"));
            }
        };
        check(
            titles.insert(title) && !title.is_empty(),
            "no title of its own",
        );
        check(text(panel, "description").ends_with('.'), "no description");
        check(
            UNITS.contains(&text(&panel["fieldConfig"]["defaults"], "unit")),
            "no unit",
        );
        check(
            panel["datasource"]["uid"] == "${datasource}",
            "one data source",
        );
        check(!list(panel, "targets").is_empty(), "no query");
        let mut letters = BTreeSet::new();
        for target in list(panel, "targets") {
            let expr = text(target, "expr");
            check(
                letters.insert(text(target, "refId")),
                "two queries of one name",
            );
            check(
                target["datasource"]["uid"] == "${datasource}",
                "a query of one data source",
            );
            check(
                !text(target, "legendFormat").is_empty() || panel["type"] == "table",
                "a line without a name",
            );
            for (at, _) in expr.match_indices("_total") {
                let before = expr.get(..at).unwrap();
                let open = before
                    .rfind('(')
                    .map_or("", |open| before.get(..open).unwrap());
                let wrapped = ["rate", "increase"].iter().any(|call| open.ends_with(call));
                check(wrapped, "a counter without rate or increase");
            }
            let ours = expr.contains("vestibule_") || expr.contains("process_");
            check(
                !ours || expr.contains("job=~\"$job\"") && expr.contains("instance=~\"$instance\""),
                "not of the chosen instances",
            );
        }
    }
    wrong
}

#[test]
fn dashboards_hold_to_the_linters_rules() {
    let boards = dashboards();
    let names: Vec<&str> = boards.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "debug.json",
            "executive.json",
            "on-call.json",
            "outside.json",
            "self.json",
            "slo.json"
        ]
    );
    let uids: BTreeSet<&str> = boards.iter().map(|(_, board)| text(board, "uid")).collect();
    assert_eq!(uids.len(), boards.len());
    for (name, board) in &boards {
        assert_eq!(lint(board), Vec::<String>::new(), "{name}");
        for link in list(board, "links") {
            let uid = text(link, "url")
                .trim_start_matches("/d/")
                .split('?')
                .next()
                .unwrap();
            assert!(uids.contains(uid), "{name}: there is no dashboard {uid}");
        }
    }
}

#[test]
fn a_dashboard_that_breaks_a_rule_is_refused() {
    let (_, whole) = dashboards().remove(0);
    for (path, value, why) in [
        ("/editable", Value::from(true), "it can be edited"),
        ("/panels/1/id", Value::from(1), "ids are not unique"),
        ("/panels/1/description", Value::from(""), "no description"),
        (
            "/panels/1/gridPos/x",
            Value::from(20),
            "wider than the page",
        ),
        ("/panels/2/gridPos/x", Value::from(0), "lie upon each other"),
        (
            "/panels/1/fieldConfig/defaults/unit",
            Value::from("fathoms"),
            "no unit",
        ),
        (
            "/panels/1/targets/0/datasource/uid",
            Value::from("abc"),
            "a query of one data source",
        ),
        (
            "/panels/2/targets/0/legendFormat",
            Value::from(""),
            "a line without a name",
        ),
        (
            "/panels/1/targets/0/expr",
            Value::from("vestibule_requests_total{job=~\"$job\",instance=~\"$instance\"}"),
            "a counter without rate",
        ),
        (
            "/panels/1/targets/0/expr",
            Value::from("vestibule_connections"),
            "not of the chosen",
        ),
        (
            "/templating/list/0/type",
            Value::from("query"),
            "no data source to choose",
        ),
    ] {
        let mut board = whole.clone();
        *board.pointer_mut(path).unwrap() = value;
        let said = lint(&board).join("\n");
        assert!(said.contains(why), "{path}: {said}");
    }
}
