//! What dashboards made for Sloth ask for has the value there that they expect, by real `promtool`.

use std::fs;

use serde_json::json;

use super::{UNUSUAL, files, generated, has_promtool, promtool, said};

/// A promise of 99 % over seven days with its alerts; 0.5 % of 600 requests a minute fail.
const ID: &str = "{sloth_id=\"a.b_c-d-hour.ly\",sloth_service=\"a.b_c-d\",sloth_slo=\"hour.ly\"}";

#[test]
fn queries_of_sloths_dashboards_are_answered() {
    if !has_promtool() {
        return;
    }
    let dir = generated(UNUSUAL);
    let one = |query: &str, value: f64| {
        json!({
            "expr": query.replace("ID", ID),
            "eval_time": "2h",
            "exp_samples": [{ "labels": "{}", "value": value }],
        })
    };
    let asked = [
        // What a list of services and SLOs is made from.
        one("count(sloth_slo_info{sloth_service!=\"\"}) by ()", 5.0),
        one(
            "count(sloth_slo_info{sloth_objective=\"99\",sloth_slo=\"hour.ly\",sloth_version!=\"\",sloth_mode!=\"\",sloth_spec!=\"\"})",
            1.0,
        ),
        // Single figures.
        one("sum(slo:objective:ratioID)", 0.99),
        one("round(sum(slo:error_budget:ratioID), 0.0001)", 0.01),
        one("sum(slo:time_period:daysID)", 7.0),
        one(
            "1 - (max(slo:sli_error:ratio_rate5mID) OR on() vector(0))",
            0.995,
        ),
        one("round(sum(slo:current_burn_rate:ratioID), 0.0001)", 0.5),
        one("round(sum(slo:period_burn_rate:ratioID), 0.0001)", 0.5),
        one(
            "sum(slo:period_error_budget_remaining:ratioID) or on() vector(1)",
            0.5,
        ),
        // Each window has its series, labelled with it.
        one(
            "count(slo:sli_error:ratio_rate5m{sloth_window=\"5m\",sloth_slo=\"hour.ly\"})",
            1.0,
        ),
        one(
            "count(slo:sli_error:ratio_rate1h{sloth_window=\"1h\",sloth_slo=\"hour.ly\"})",
            1.0,
        ),
        one(
            "count(slo:sli_error:ratio_rate6h{sloth_window=\"6h\",sloth_slo=\"hour.ly\"})",
            1.0,
        ),
        one(
            "count(slo:sli_error:ratio_rate7d{sloth_window=\"7d\",sloth_slo=\"hour.ly\"})",
            1.0,
        ),
        // The burn-down of the month joins both by their id.
        one(
            "count(1 - (sum_over_time((slo:sli_error:ratio_rate1hID * on() group_left() (month() == bool 1))[32d:1h]) \
             / on(sloth_id) (slo:error_budget:ratioID * on() group_left() (24 * days_in_month()))))",
            1.0,
        ),
        // What is alerted, by severity.
        one(
            "count(ALERTS{alertstate=\"firing\",sloth_severity=\"page\",sloth_slo=\"tight\",sloth_service=\"a.b_c-d\",sloth_id!=\"\"}) by () > bool 0",
            1.0,
        ),
    ];
    let series = |slo: &str, good: u32, bad: u32| {
        [("good", good), ("bad", bad)].map(|(result, count)| {
            json!({
                "series": format!("vestibule_slo_events_total{{slo=\"{slo}\",route=\"a.b_c-d\",result=\"{result}\"}}"),
                "values": format!("0+{count}x130"),
            })
        })
    };
    let rules = files(&dir.path().join("alerts/rules"));
    let events = [series("hour.ly", 597, 3), series("tight", 300, 300)].concat();
    let tests = json!({
        "rule_files": rules,
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": events,
            "promql_expr_test": asked,
        }],
    });
    let file = dir.path().join("dashboards.yaml");
    fs::write(&file, tests.to_string()).unwrap();
    let run = promtool(&["test", "rules"], &[file]);
    assert!(run.status.success(), "{}", said(&run));
}
