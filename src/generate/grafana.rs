//! Dashboards for Grafana, in its classic model, which Grafana 10 and later read, and in its model v2 ([`v2`]).
//!
//! A dashboard is a list of rows of panels; where each stands, its number and everything that all panels have in common
//! is filled in here. Numbers are given in reading order, so that the same configuration gives the same file.

use serde_json::{Value, json};

use super::promql::matching;
use super::{Artifact, Plan};
use crate::catalog::{self, Series};

mod boards;
mod v2;

/// Which of Grafana's models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    /// `schemaVersion` 39.
    Classic,
    /// `dashboard.grafana.app/v2`.
    V2,
}

/// The dashboards.
pub(super) fn dashboards(plan: &Plan, model: Model) -> Vec<Artifact> {
    let boards = boards::boards(plan);
    let links: Vec<(&str, &str)> = boards
        .iter()
        .map(|board| (board.uid, board.title))
        .collect();
    let artifact = |board: &Board| {
        let name = board.uid.trim_start_matches("vestibule-");
        let classic = board.json(&links);
        let (path, json) = match model {
            Model::Classic => (format!("dashboards/{name}.json"), classic),
            Model::V2 => (format!("dashboards/v2/{name}.json"), v2::resource(&classic)),
        };
        Artifact {
            path,
            text: format!("{json:#}\n"),
        }
    };
    boards.iter().map(artifact).collect()
}

/// What a figure is measured in, in Grafana's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Bytes,
    BytesPerSecond,
    Count,
    PerSecond,
    Share,
    Seconds,
    Since,
    Times,
}

impl Measure {
    const fn unit(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "binBps",
            Self::Count | Self::Times => "none",
            Self::PerSecond => "reqps",
            Self::Share => "percentunit",
            Self::Seconds => "s",
            Self::Since => "dateTimeFromNow",
        }
    }
}

/// How a panel draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// The latest figure.
    Stat,
    /// The latest figure of each, as bars.
    Bars,
    /// Lines over time.
    Lines,
    /// Where a distribution's requests lie, over time.
    Heatmap,
    /// The labels of each.
    Table,
}

/// One panel.
#[derive(Clone, Debug)]
struct Panel {
    title: &'static str,
    about: &'static str,
    look: Look,
    measure: Measure,
    /// Expressions with what their lines are called; `{{label}}` stands for a label.
    queries: Vec<(String, &'static str)>,
    /// From where on a figure is worth a look, and bad; a falling pair means that small is bad.
    limits: Option<(f64, f64)>,
    /// Of 24.
    width: u64,
}

impl Panel {
    fn new(
        look: Look,
        title: &'static str,
        measure: Measure,
        width: u64,
        about: &'static str,
    ) -> Self {
        Self {
            title,
            about,
            look,
            measure,
            queries: Vec::new(),
            limits: None,
            width,
        }
    }

    fn query(mut self, expr: impl Into<String>, legend: &'static str) -> Self {
        self.queries.push((expr.into(), legend));
        self
    }

    fn limits(mut self, look: f64, bad: f64) -> Self {
        self.limits = Some((look, bad));
        self
    }

    const fn height(&self) -> u64 {
        match self.look {
            Look::Stat => 4,
            Look::Bars | Look::Lines | Look::Heatmap | Look::Table => 8,
        }
    }

    fn thresholds(&self) -> Value {
        let step = |color: &str, value: Option<f64>| json!({ "color": color, "value": value });
        let steps = match self.limits {
            None => vec![step("text", None)],
            Some((look, bad)) if look <= bad => vec![
                step("green", None),
                step("yellow", Some(look)),
                step("red", Some(bad)),
            ],
            Some((look, bad)) => vec![
                step("red", None),
                step("yellow", Some(bad)),
                step("green", Some(look)),
            ],
        };
        json!({ "mode": "absolute", "steps": steps })
    }

    fn json(&self, id: u64, x: u64, y: u64) -> Value {
        let instant = matches!(self.look, Look::Stat | Look::Bars | Look::Table);
        let targets = self
            .queries
            .iter()
            .enumerate()
            .map(|(place, (expr, legend))| {
                let letter = char::from(b'A' + (place % 26) as u8);
                let format = match self.look {
                    Look::Heatmap => "heatmap",
                    Look::Table => "table",
                    Look::Stat | Look::Bars | Look::Lines => "time_series",
                };
                json!({
                    "datasource": datasource(),
                    "editorMode": "code",
                    "exemplar": self.look == Look::Heatmap || expr.contains("histogram_quantile"),
                    "expr": expr,
                    "format": format,
                    "instant": instant,
                    "legendFormat": legend,
                    "range": !instant,
                    "refId": letter.to_string(),
                })
            });
        let kind = match self.look {
            Look::Stat => "stat",
            Look::Bars => "bargauge",
            Look::Lines => "timeseries",
            Look::Heatmap => "heatmap",
            Look::Table => "table",
        };
        let mut defaults = json!({
            "unit": self.measure.unit(),
            "thresholds": self.thresholds(),
            "color": { "mode": if self.look == Look::Lines { "palette-classic" } else { "thresholds" } },
        });
        if self.look == Look::Lines {
            defaults["custom"] = json!({
                "drawStyle": "line",
                "fillOpacity": 8,
                "lineWidth": 1,
                "showPoints": "never",
                "spanNulls": false,
                "thresholdsStyle": { "mode": if self.limits.is_some() { "line" } else { "off" } },
            });
        }
        let mut panel = json!({
            "id": id,
            "type": kind,
            "title": self.title,
            "description": self.about,
            "datasource": datasource(),
            "gridPos": { "h": self.height(), "w": self.width, "x": x, "y": y },
            "fieldConfig": { "defaults": defaults, "overrides": [] },
            "options": self.options(),
            "targets": targets.collect::<Vec<_>>(),
        });
        if self.look == Look::Table {
            // Figures of several instances in one row each, without what says nothing here.
            panel["transformations"] = json!([{
                "id": "organize",
                "options": {
                    "excludeByName": { "Time": true, "Value": true, "__name__": true, "job": true },
                    "indexByName": {},
                    "renameByName": {},
                },
            }]);
        }
        panel
    }

    fn options(&self) -> Value {
        let reduce = json!({ "calcs": ["lastNotNull"], "fields": "", "values": false });
        match self.look {
            Look::Stat => json!({
                "colorMode": "value",
                "graphMode": "none",
                "justifyMode": "auto",
                "orientation": "auto",
                "reduceOptions": reduce,
                "textMode": if self.queries.iter().any(|(_, legend)| legend.contains("{{")) { "value_and_name" } else { "auto" },
            }),
            Look::Bars => json!({
                "displayMode": "basic",
                "orientation": "horizontal",
                "reduceOptions": reduce,
                "showUnfilled": true,
            }),
            Look::Lines => json!({
                "legend": { "calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": true },
                "tooltip": { "mode": "multi", "sort": "desc" },
            }),
            Look::Heatmap => json!({
                "calculate": false,
                "cellGap": 1,
                "color": { "mode": "scheme", "scheme": "Oranges", "steps": 64 },
                "exemplars": { "color": "rgba(255,0,255,0.7)" },
                "legend": { "show": true },
                "tooltip": { "mode": "single", "yHistogram": false },
                "yAxis": { "axisPlacement": "left", "unit": "s" },
            }),
            Look::Table => json!({ "cellHeight": "sm", "showHeader": true }),
        }
    }
}

/// One dashboard.
#[derive(Clone, Debug)]
struct Board {
    uid: &'static str,
    title: &'static str,
    about: &'static str,
    /// How far back it looks at first.
    from: &'static str,
    /// Variables beside the data source, job and instance.
    variables: Vec<Value>,
    /// Rows with their panels.
    rows: Vec<(&'static str, Vec<Panel>)>,
}

impl Board {
    fn json(&self, boards: &[(&str, &str)]) -> Value {
        let mut panels = Vec::new();
        let (mut id, mut y) = (0, 0);
        let mut next = || {
            id += 1;
            id
        };
        for (title, row) in &self.rows {
            panels.push(json!({
                "id": next(),
                "type": "row",
                "title": title,
                "collapsed": false,
                "gridPos": { "h": 1, "w": 24, "x": 0, "y": y },
                "panels": [],
            }));
            y += 1;
            let (mut x, mut tallest) = (0, 0);
            for panel in row {
                if x + panel.width > 24 {
                    (x, y, tallest) = (0, y + tallest, 0);
                }
                panels.push(panel.json(next(), x, y));
                x += panel.width;
                tallest = tallest.max(panel.height());
            }
            y += tallest;
        }
        let links = boards.iter().filter(|(uid, _)| *uid != self.uid);
        let links = links.map(|(uid, title)| {
            json!({
                "title": title,
                "type": "link",
                "icon": "dashboard",
                "tooltip": "",
                "tags": [],
                "asDropdown": false,
                "includeVars": false,
                "url": format!("/d/{uid}?${{datasource:queryparam}}"),
                "keepTime": true,
                "targetBlank": false,
            })
        });
        let mut variables = vec![
            json!({
                "name": "datasource",
                "label": "Data source",
                "type": "datasource",
                "query": "prometheus",
                "hide": 0,
            }),
            listed(
                "job",
                "Job",
                &format!("label_values({}, job)", catalog::BUILD_INFO.name),
            ),
            listed(
                "instance",
                "Instance",
                &format!(
                    "label_values({}, instance)",
                    matching(
                        catalog::BUILD_INFO.name,
                        &catalog::BUILD_INFO,
                        &[("job", "=~", "$job")]
                    )
                ),
            ),
        ];
        variables.extend(self.variables.iter().cloned());
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.about,
            "tags": ["vestibule"],
            "schemaVersion": 39,
            "version": 1,
            "editable": false,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": { "from": self.from, "to": "now" },
            "timepicker": {},
            "timezone": "browser",
            "weekStart": "",
            "links": links.collect::<Vec<_>>(),
            "templating": { "list": variables },
            "annotations": { "list": annotations() },
            "panels": panels,
        })
    }
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// A variable that holds some or all values of a label.
fn listed(name: &str, label: &str, query: &str) -> Value {
    json!({
        "name": name,
        "label": label,
        "type": "query",
        "datasource": datasource(),
        "definition": query,
        "query": { "query": query, "refId": "StandardVariableQuery" },
        "refresh": 2,
        "sort": 1,
        "multi": true,
        "includeAll": true,
        "allValue": ".*",
        "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
        "hide": 0,
    })
}

/// What happened, drawn through every panel.
fn annotations() -> Value {
    let mark = |name: &str, color: &str, expr: String, title: &str| {
        json!({
            "name": name,
            "datasource": datasource(),
            "enable": true,
            "hide": false,
            "iconColor": color,
            "expr": expr,
            "step": "60s",
            "titleFormat": title,
            "useValueForTime": false,
        })
    };
    json!([
        mark(
            "Deploys",
            "blue",
            format!("changes({}[1m]) > 0", of(&catalog::EVENTS, &[("kind", "=", "deploy")])),
            "a new version went live",
        ),
        mark(
            "Configuration changes",
            "purple",
            format!("changes({}[1m]) > 0", of(&catalog::CONFIG_GENERATION, &[])),
            "{{instance}} applied another configuration",
        ),
        mark(
            "Firing alerts",
            "red",
            "ALERTS{alertname=~\"Vestibule.+\",alertstate=\"firing\",alertname!=\"VestibuleWatchdog\"}".to_owned(),
            "{{alertname}} {{slo}}",
        ),
    ])
}

/// A series of the chosen instances.
fn of(series: &Series, matchers: &[(&str, &str, &str)]) -> String {
    part(series.name, series, matchers)
}

/// A part of a histogram of the chosen instances.
fn part(name: &str, series: &Series, matchers: &[(&str, &str, &str)]) -> String {
    let chosen = [("job", "=~", "$job"), ("instance", "=~", "$instance")];
    matching(name, series, &[&chosen[..], matchers].concat())
}

/// How often a series of the chosen instances grew in a second.
fn rate(series: &Series, matchers: &[(&str, &str, &str)]) -> String {
    format!("rate({}[$__rate_interval])", of(series, matchers))
}
