//! Every query of rules and dashboards asks for series that are exported, by labels that they have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use promql_parser::parser::{self, AggregateExpr, Expr, LabelModifier, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use vestibule::catalog::{self, Kind};

use super::{ROOT, dashboards, files};

/// Series and the labels they can have.
type Known = BTreeMap<String, BTreeSet<String>>;

fn labels(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What Vestibule exports, what its rules record, and what Prometheus makes itself.
fn known() -> Known {
    let mut known = Known::new();
    for series in catalog::ALL {
        let own = series.labels.iter().map(|label| label.name);
        let own: BTreeSet<String> = own.chain(["job", "instance"]).map(str::to_owned).collect();
        if series.kind == Kind::Histogram {
            for part in ["_sum", "_count"] {
                known.insert(format!("{}{part}", series.name), own.clone());
            }
            let with_le = own.into_iter().chain(["le".to_owned()]).collect();
            known.insert(format!("{}_bucket", series.name), with_le);
        } else {
            known.insert(series.name.to_owned(), own);
        }
    }
    for name in ["up", "scrape_duration_seconds", "scrape_samples_scraped"] {
        known.insert(name.to_owned(), labels(&["job", "instance"]));
    }
    let of_alerts = [
        "alertname",
        "alertstate",
        "severity",
        "slo_severity",
        "burnrate_tier",
        "slo",
        "route",
    ];
    known.insert("ALERTS".to_owned(), labels(&of_alerts));
    for text in rules() {
        for line in text.lines() {
            if let Some(name) = line.trim().strip_prefix("- record: ") {
                known.insert(name.to_owned(), labels(&["slo", "route"]));
            }
        }
    }
    known
}

fn rules() -> Vec<String> {
    let rules = files(&Path::new(ROOT).join("alerts/rules"));
    rules
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

/// The expressions of the rules: blocks that follow `expr: |-`.
fn expressions() -> Vec<String> {
    let mut all = Vec::new();
    for text in rules() {
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if line.trim() != "expr: |-" {
                continue;
            }
            let indent = line.len() - line.trim_start().len();
            let mut expr = Vec::new();
            while let Some(line) =
                lines.next_if(|line| line.len() - line.trim_start().len() > indent)
            {
                expr.push(line.trim());
            }
            all.push(expr.join("\n"));
        }
    }
    assert!(all.len() > 50);
    all
}

/// Finds what an expression asks for.
struct Asks<'a> {
    known: &'a Known,
    /// Series that were asked for, and everything that is wrong.
    series: BTreeSet<String>,
    wrong: Vec<String>,
}

impl Asks<'_> {
    fn selector(&mut self, selector: &VectorSelector) {
        let of_name = selector
            .matchers
            .matchers
            .iter()
            .find(|matcher| matcher.name == "__name__");
        let names: Vec<String> = match (&selector.name, of_name) {
            (Some(name), _) => vec![name.clone()],
            (None, Some(matcher)) => {
                let pattern = matcher.value.trim_end_matches(".+");
                let pattern = pattern.split('(').next().unwrap();
                let names = self.known.keys().filter(|name| name.starts_with(pattern));
                names.cloned().collect()
            }
            (None, None) => Vec::new(),
        };
        if names.is_empty() {
            self.wrong
                .push(format!("nothing is selected by {selector:?}"));
        }
        for name in names {
            let Some(labels) = self.known.get(&name) else {
                self.wrong.push(format!("`{name}` is not exported"));
                continue;
            };
            for matcher in &selector.matchers.matchers {
                if matcher.name != "__name__" && !labels.contains(&matcher.name) {
                    self.wrong
                        .push(format!("`{name}` has no label `{}`", matcher.name));
                }
            }
            self.series.insert(name);
        }
    }

    fn grouping(&mut self, aggregate: &AggregateExpr) {
        let Some(LabelModifier::Include(by)) = &aggregate.modifier else {
            return;
        };
        let mut inner = Asks {
            known: self.known,
            series: BTreeSet::new(),
            wrong: Vec::new(),
        };
        walk_expr(&mut inner, &aggregate.expr).unwrap();
        for label in &by.labels {
            let has = |name: &String| self.known[name].contains(label);
            if !inner.series.iter().all(has) {
                let series = &inner.series;
                self.wrong
                    .push(format!("`{label}` is not a label of {series:?}"));
            }
        }
    }
}

impl ExprVisitor for Asks<'_> {
    type Error = ();

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, ()> {
        match expr {
            Expr::VectorSelector(selector) => self.selector(selector),
            Expr::MatrixSelector(matrix) => self.selector(&matrix.vs),
            Expr::Aggregate(aggregate) => self.grouping(aggregate),
            _ => {}
        }
        Ok(true)
    }
}

/// The series that `expr` asks for, or everything that is wrong with it.
fn asked(known: &Known, expr: &str) -> Result<BTreeSet<String>, String> {
    let plain = expr.replace("$__rate_interval", "5m");
    let parsed = parser::parse(&plain).map_err(|error| format!("{expr}: {error}"))?;
    let mut asks = Asks {
        known,
        series: BTreeSet::new(),
        wrong: Vec::new(),
    };
    walk_expr(&mut asks, &parsed).unwrap();
    if asks.wrong.is_empty() {
        Ok(asks.series)
    } else {
        Err(format!("{expr}: {}", asks.wrong.join("; ")))
    }
}

#[test]
fn rules_and_dashboards_ask_for_what_is_exported_and_for_all_of_it() {
    let known = known();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for expr in expressions().into_iter().chain(dashboards::expressions()) {
        match asked(&known, &expr) {
            Ok(series) => seen.extend(series),
            Err(error) => wrong.push(error),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unseen = catalog::ALL.iter().filter(|series| {
        let parts = ["", "_bucket", "_sum", "_count"];
        !parts
            .iter()
            .any(|part| seen.contains(&format!("{}{part}", series.name)))
    });
    let unseen: Vec<&str> = unseen.map(|series| series.name).collect();
    assert!(
        unseen.is_empty(),
        "nothing shows {unseen:?}: give them a panel in src/generate/grafana/boards.rs"
    );
}

#[test]
fn a_query_for_what_is_not_exported_is_refused() {
    let known = known();
    for (expr, why) in [
        (
            "rate(vestibule_request_total[5m])",
            "`vestibule_request_total` is not exported",
        ),
        ("vestibule_requests_total{slo=\"a\"}", "has no label `slo`"),
        (
            "sum by (fault) (vestibule_requests_total)",
            "`fault` is not a label",
        ),
        ("sum(vestibule_requests_total", "sum("),
        ("{__name__=~\"route:nothing.+\"}", "nothing is selected"),
    ] {
        let error = asked(&known, expr).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}
