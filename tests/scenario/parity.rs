//! The same incidents told to the live engine, second by second, and to the generated rules, by real `promtool`: their
//! alerts fire and resolve together.
//!
//! Both shipped policies and one with other guards watch every promise. A past of days is cut to [`PAST`], so that promtool has less to
//! replay: enough that the page's windows are judged as grown, and both sides see the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use vestibule::generate::{Links, Plan, What, generate};
use vestibule::model::{Tally, Window};
use vestibule::slo::alert::{AlertState, Transition};
use vestibule::slo::policy::Policy;

use super::{Promise, Scenario, World, scenarios, second};

/// The past that a scenario with a history has here.
const PAST: Window = Window::minutes(210);
/// How long an incident without an end goes on after the last thing that is expected of it, and what is watched.
const MORE_S: u64 = 1_800;
const AFTER_S: u64 = 5_400;
/// What the two may differ by: a sample's minute, an evaluation's, and what a window's edge cuts off.
const MARGIN_MIN: u64 = 3;

#[test]
fn the_live_engine_and_the_generated_rules_fire_and_resolve_together() {
    if Command::new("promtool").arg("--version").output().is_err() {
        return skip("promtool is not installed");
    }
    let (mut fired, mut resolved) = (0, 0);
    let runs: Vec<_> = scenarios()
        .into_iter()
        .map(|(file, scenario)| std::thread::spawn(move || replay(&file, scenario)))
        .collect();
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenario")).unwrap();
    let files = files.filter(|file| {
        file.as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|kind| kind == "toml")
    });
    assert_eq!(runs.len(), files.count(), "every scenario is replayed");
    let mut wrong = String::new();
    for run in runs {
        let replay = run.join().unwrap();
        fired += replay.count(AlertState::Firing);
        resolved += replay.count(AlertState::Resolved);
        wrong += &replay.wrong;
    }
    assert!(wrong.is_empty(), "{wrong}");
    // Or else nothing was compared.
    assert!(
        fired >= 10 && resolved >= 8,
        "{fired} fired, {resolved} resolved"
    );
}

/// Says that the test cannot be done here. Where everything must be there, it fails instead.
fn skip(why: &str) {
    assert!(
        std::env::var_os("VESTIBULE_CI").is_none_or(|value| value != "1"),
        "this must not be skipped here: {why}"
    );
    drop(writeln!(std::io::stderr(), "SKIPPED: {why}"));
}

struct Replay {
    transitions: Vec<Transition>,
    wrong: String,
}

impl Replay {
    fn count(&self, to: AlertState) -> usize {
        let changes = self.transitions.iter();
        changes.filter(|change| change.to == to).count()
    }
}

fn replay(file: &Path, mut scenario: Scenario) -> Replay {
    let of_others = scenario.slos.iter().flat_map(|slo| {
        ["hourly", "sure"].map(|policy| Promise {
            id: format!("{}-{policy}", slo.id),
            policy: Some(policy.to_owned()),
            ..slo.clone()
        })
    });
    scenario.slos = scenario.slos.iter().cloned().chain(of_others).collect();
    scenario.history = scenario.history.map(|history| history.min(PAST));
    let said = scenario
        .expect
        .iter()
        .map(|expect| second(&expect.at))
        .max()
        .unwrap();
    for incident in &mut scenario.incidents {
        let end = vestibule::model::Timestamp::from_secs(said + MORE_S).time_of_day();
        incident.to.get_or_insert(end);
    }
    let (begun, end) = (second(&scenario.start), said + MORE_S + AFTER_S);
    assert_eq!(begun % 60, 0, "minutes of both begin together");

    let mut world = World::new(&scenario);
    let mut transitions = Vec::new();
    // The counters at the end of each minute.
    let mut minutes: Vec<Vec<Tally>> = vec![world.sums.clone()];
    for now in begun..end {
        let evaluation = world.step(now);
        transitions.extend(evaluation.transitions);
        if (now + 1) % 60 == 0 {
            minutes.push(world.sums.clone());
        }
    }
    let past_min = scenario.history.map_or(0, |history| history.as_secs() / 60);
    let dir = tempfile::tempdir().unwrap();
    let series = series(&scenario, past_min, &minutes);
    let asked = asked(
        &scenario,
        &transitions,
        past_min,
        begun,
        minutes.len() as u64 - 1,
    );
    let wrong = promtool(dir.path(), &scenario, &series, &asked);
    let wrong = wrong.map_or_else(String::new, |wrong| format!("{}\n{wrong}", file.display()));
    let mut replay = Replay { transitions, wrong };
    let (fires, ends) = held(&asked);
    let unseen = [
        (AlertState::Firing, fires, "fires"),
        (AlertState::Resolved, ends, "ends"),
    ];
    for (state, seen, what) in unseen {
        if replay.count(state) > 0 && !seen {
            let line = format!("{}: nothing asks whether an alert {what}\n", file.display());
            replay.wrong.push_str(&line);
        }
    }
    replay
}

/// Whether an alert is asked for while it fires, and one after it has fired.
fn held(asked: &BTreeSet<(u64, String, bool)>) -> (bool, bool) {
    let mut fired = BTreeSet::new();
    let mut ends = false;
    for (_, labels, fires) in asked {
        if *fires {
            fired.insert(labels);
        } else {
            ends |= fired.contains(labels);
        }
    }
    (!fired.is_empty(), ends)
}

fn series(scenario: &Scenario, past_min: u64, minutes: &[Vec<Tally>]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (place, slo) in scenario.slos.iter().enumerate() {
        let each = scenario.route(&slo.route).rate * 60;
        for (result, each, count) in [
            ("good", each, (|tally| tally.good) as fn(Tally) -> u64),
            ("bad", 0, |tally| tally.bad),
        ] {
            let past = format!("0+{each}x{past_min}");
            let values = minutes[1..].iter().map(|sums| {
                let value = past_min * each + count(sums[place]);
                value.to_string()
            });
            let values: Vec<String> = [past].into_iter().chain(values).collect();
            let name = format!(
                "vestibule_slo_events_total{{slo=\"{}\",route=\"{}\",result=\"{result}\"}}",
                slo.id, slo.route
            );
            all.push((name, values.join(" ")));
        }
    }
    all
}

/// (minute, alert's labels, whether it fires), clear of the changes by the margin.
fn asked(
    scenario: &Scenario,
    transitions: &[Transition],
    past_min: u64,
    begun: u64,
    last_min: u64,
) -> BTreeSet<(u64, String, bool)> {
    let policies: BTreeMap<String, Policy> = super::policies::policies()
        .into_iter()
        .map(|policy| (policy.name.clone(), policy))
        .collect();
    let mut asked = BTreeSet::new();
    for slo in &scenario.slos {
        let policy = &policies[slo.policy.as_deref().unwrap_or("workbook")];
        for row in policy.rows_over(super::MONTH) {
            let (severity, tier) = (row.severity.as_str(), row.tier.as_str());
            let id = format!("{}:{severity}:{tier}", slo.id);
            let changes: Vec<(u64, bool)> = transitions
                .iter()
                .filter(|change| change.alert == id)
                .filter(|change| [change.from, change.to].contains(&AlertState::Firing))
                .map(|change| {
                    let minute = (change.at.as_secs() - begun).div_ceil(60);
                    (minute, change.to == AlertState::Firing)
                })
                .collect();
            let fires = |minute: u64| {
                let before = changes.iter().rev().find(|(at, _)| *at <= minute);
                before.is_some_and(|(_, fires)| *fires)
            };
            let clear = |minute: &u64| {
                changes
                    .iter()
                    .all(|(at, _)| at.abs_diff(*minute) >= MARGIN_MIN)
            };
            let around = changes
                .iter()
                .flat_map(|(at, _)| [at.saturating_sub(MARGIN_MIN), at + MARGIN_MIN])
                .chain([last_min])
                .filter(|minute| *minute <= last_min && clear(minute));
            let labels = format!(
                "slo=\"{}\",slo_severity=\"{severity}\",burnrate_tier=\"{tier}\"",
                slo.id
            );
            asked.extend(around.map(|minute| (past_min + minute, labels.clone(), fires(minute))));
        }
    }
    asked
}

/// What promtool has to complain about.
fn promtool(
    dir: &Path,
    scenario: &Scenario,
    series: &[(String, String)],
    asked: &BTreeSet<(u64, String, bool)>,
) -> Option<String> {
    let plan = Plan {
        slos: scenario.promised(),
        policies: super::policies::policies(),
        places: BTreeMap::new(),
        links: Links {
            grafana: "http://localhost".to_owned(),
            runbooks: None,
        },
        sloth: false,
        admin: None,
    };
    let mut rules = Vec::new();
    for artifact in generate(&plan, What::Rules) {
        let path = dir.join(&artifact.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, artifact.text).unwrap();
        rules.push(path);
    }
    // JSON is YAML.
    let series = series
        .iter()
        .map(|(series, values)| serde_json::json!({ "series": series, "values": values }));
    let asked = asked.iter().map(|(minute, labels, fires)| {
        let samples = if *fires {
            serde_json::json!([{ "labels": "{}", "value": 1 }])
        } else {
            serde_json::json!([])
        };
        serde_json::json!({
            "expr": format!("count(ALERTS{{alertstate=\"firing\",{labels}}})"),
            "eval_time": format!("{minute}m"),
            "exp_samples": samples,
        })
    });
    let tests = serde_json::json!({
        "rule_files": rules,
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": series.collect::<Vec<_>>(),
            "promql_expr_test": asked.collect::<Vec<_>>(),
        }],
    });
    let file = dir.join("tests.yaml");
    fs::write(&file, tests.to_string()).unwrap();
    let run = Command::new("promtool")
        .args(["test", "rules"])
        .arg(&file)
        .output()
        .unwrap();
    let said = [run.stdout, run.stderr].concat();
    (!run.status.success()).then(|| String::from_utf8_lossy(&said).into_owned())
}
