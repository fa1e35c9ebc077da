//! The same dashboards in Grafana's newer model, `dashboard.grafana.app/v2`: a resource whose panels are named elements
//! and whose layout stands apart from them.
//!
//! It is made of the classic model, so that both ask the same and look the same.

use serde_json::{Map, Value, json};

/// A classic dashboard as a resource.
pub(super) fn resource(classic: &Value) -> Value {
    let panels = list(classic, "panels");
    let mut elements = Map::new();
    let mut rows: Vec<Value> = Vec::new();
    // The top of the row that is being filled; places count from it.
    let mut top = 0;
    for panel in panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap_or(0);
        if panel["type"] == "row" {
            top = at("y") + 1;
            rows.push(row(&panel["title"]));
            continue;
        }
        let name = format!("panel-{}", panel["id"]);
        if let Some(row) = rows.last_mut()
            && let Some(items) = row["spec"]["layout"]["spec"]["items"].as_array_mut()
        {
            items.push(json!({
                "kind": "GridLayoutItem",
                "spec": {
                    "x": at("x"),
                    "y": at("y").saturating_sub(top),
                    "width": at("w"),
                    "height": at("h"),
                    "element": { "kind": "ElementReference", "name": name },
                },
            }));
        }
        elements.insert(name, element(panel));
    }
    let annotations = list(&classic["annotations"], "list").iter().map(annotation);
    let variables = list(&classic["templating"], "list").iter().map(variable);
    let links = list(classic, "links").iter().map(link);
    json!({
        "apiVersion": "dashboard.grafana.app/v2",
        "kind": "Dashboard",
        "metadata": { "name": classic["uid"] },
        "spec": {
            "title": classic["title"],
            "description": classic["description"],
            "tags": classic["tags"],
            "editable": classic["editable"],
            "cursorSync": "Crosshair",
            "preload": false,
            "timeSettings": {
                "from": classic["time"]["from"],
                "to": classic["time"]["to"],
                "autoRefresh": classic["refresh"],
                "autoRefreshIntervals": ["10s", "30s", "1m", "5m", "15m", "1h"],
                "fiscalYearStartMonth": 0,
                "hideTimepicker": false,
                "timezone": classic["timezone"],
            },
            "links": links.collect::<Vec<_>>(),
            "variables": variables.collect::<Vec<_>>(),
            "annotations": annotations.collect::<Vec<_>>(),
            "elements": elements,
            "layout": { "kind": "RowsLayout", "spec": { "rows": rows } },
        },
    })
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn row(title: &Value) -> Value {
    json!({
        "kind": "RowsLayoutRow",
        "spec": {
            "title": title,
            "collapse": false,
            "layout": { "kind": "GridLayout", "spec": { "items": [] } },
        },
    })
}

/// What is asked of the chosen data source.
fn query(spec: &Value) -> Value {
    json!({
        "kind": "DataQuery",
        "group": "prometheus",
        "version": "v0",
        "datasource": { "name": "${datasource}" },
        "spec": spec,
    })
}

fn element(panel: &Value) -> Value {
    let queries = list(panel, "targets").iter().map(|target| {
        let mut spec = target.clone();
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("datasource");
            spec.remove("refId");
        }
        json!({
            "kind": "PanelQuery",
            "spec": { "refId": target["refId"], "hidden": false, "query": query(&spec) },
        })
    });
    let transformations = list(panel, "transformations").iter().map(|transformation| {
        json!({
            "kind": "Transformation",
            "group": transformation["id"],
            "spec": { "options": transformation["options"] },
        })
    });
    json!({
        "kind": "Panel",
        "spec": {
            "id": panel["id"],
            "title": panel["title"],
            "description": panel["description"],
            "links": [],
            "data": {
                "kind": "QueryGroup",
                "spec": {
                    "queries": queries.collect::<Vec<_>>(),
                    "transformations": transformations.collect::<Vec<_>>(),
                    "queryOptions": {},
                },
            },
            "vizConfig": {
                "kind": "VizConfig",
                "group": panel["type"],
                "version": "",
                "spec": { "options": panel["options"], "fieldConfig": panel["fieldConfig"] },
            },
        },
    })
}

fn annotation(mark: &Value) -> Value {
    json!({
        "kind": "AnnotationQuery",
        "spec": {
            "name": mark["name"],
            "enable": mark["enable"],
            "hide": mark["hide"],
            "iconColor": mark["iconColor"],
            "query": query(&json!({ "expr": mark["expr"] })),
            "legacyOptions": {
                "step": mark["step"],
                "titleFormat": mark["titleFormat"],
                "useValueForTime": mark["useValueForTime"],
            },
        },
    })
}

fn variable(variable: &Value) -> Value {
    let has_query = variable["type"] == "query";
    let mut spec = json!({
        "name": variable["name"],
        "label": variable["label"],
        "hide": "dontHide",
        "skipUrlSync": false,
        "regex": "",
        "options": [],
        "multi": has_query,
        "includeAll": has_query,
        "allowCustomValue": true,
    });
    if !has_query {
        spec["pluginId"] = variable["query"].clone();
        spec["refresh"] = json!("onDashboardLoad");
        spec["current"] = json!({ "text": "", "value": "" });
        return json!({ "kind": "DatasourceVariable", "spec": spec });
    }
    spec["query"] = query(&variable["query"]);
    spec["definition"] = variable["definition"].clone();
    spec["refresh"] = json!("onTimeRangeChanged");
    spec["sort"] = json!("alphabeticalAsc");
    spec["allValue"] = variable["allValue"].clone();
    spec["current"] = variable["current"].clone();
    json!({ "kind": "QueryVariable", "spec": spec })
}

fn link(link: &Value) -> Value {
    json!({
        "title": link["title"],
        "type": link["type"],
        "icon": link["icon"],
        "tooltip": link["tooltip"],
        "url": link["url"],
        "tags": link["tags"],
        "asDropdown": link["asDropdown"],
        "targetBlank": link["targetBlank"],
        "includeVars": link["includeVars"],
        "keepTime": link["keepTime"],
    })
}
