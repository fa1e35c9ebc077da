//! One history of many incidents, told to four judges: the live engine second by second, `vestibule slo backtest` over a
//! stored history, the generated rules in a real Prometheus over backfilled blocks, and the same rules in `vmalert -replay`.
//! Their alerts fire and end together, within one evaluation and one scrape.
//!
//! The generated rules stand as they are, but for a label `shape` by which the incidents are kept apart.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests wait for other programs, may panic, and say what they skip"
)]

mod cases;
mod peer;
#[path = "../scenario/policies.rs"]
mod policies;
mod shapes;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use vestibule::clock::ManualClock;
use vestibule::generate::{Links, Plan, What, generate};
use vestibule::model::{Slo, Tally, Timestamp};
use vestibule::slo::simulate::Shape;
use vestibule::store::{self, MinuteBatch, SloMinute};

use cases::{Case, cases};
use peer::{Server, run};
use policies::policies;
use shapes::{HOURS, shapes};

/// When the history begins: an hour's beginning, long ago, so that nobody takes it for something that goes on.
const START: u64 = 1_750_003_200;
const END: u64 = START + HOURS * 3_600;
/// Seconds between two samples, and between two evaluations, of the other tools.
const STEP: u64 = 15;
/// Seconds between two evaluations of a backtest.
const MINUTE: u64 = 60;
/// How long a condition must not hold before an alert ends.
const HOLD: u64 = 60;

/// When something fired and when it ended, in seconds after [`START`]. `None`: it goes on.
type Spell = (u64, Option<u64>);
/// What fired, by shape, policy and tier.
type Firings = BTreeMap<(String, String, String), Vec<Spell>>;

#[test]
fn everybody_says_the_same_of_many_incidents() {
    let lacks = |program: &str| Command::new(program).arg("--help").output().is_err();
    if lacks("prometheus") || lacks("promtool") {
        return skip("prometheus is not installed");
    }
    if lacks("victoria-metrics") || lacks("vmalert") {
        return skip("vmalert is not installed");
    }
    let dir = tempfile::tempdir().unwrap();
    let shapes = shapes();
    assert!(shapes.len() >= 20, "{}", shapes.len());
    let rules = rules();
    let (at, of) = (dir.path(), &shapes);
    let (live, tested, prometheus, vmalert) = std::thread::scope(|scope| {
        let live = scope.spawn(|| live(of));
        let tested = scope.spawn(|| tested(at, of));
        let prometheus = scope.spawn(|| by_prometheus(at, of, &rules));
        let vmalert = by_vmalert(at, of, &rules);
        let join = |judge: std::thread::ScopedJoinHandle<'_, Firings>| judge.join().unwrap();
        (join(live), join(tested), join(prometheus), vmalert)
    });
    // Or else nothing was compared.
    let shapes_that_fire = live.keys().map(|(shape, _, _)| shape);
    let shapes_that_fire = shapes_that_fire.collect::<std::collections::BTreeSet<_>>();
    assert!(shapes_that_fire.len() >= 15, "{shapes_that_fire:?}");
    for case in cases() {
        let fired = live
            .keys()
            .filter(|(_, slo, _)| *slo == case.slo.id)
            .count();
        assert!(fired >= 5, "{}: {fired}", case.slo.id);
    }
    let mut wrong = String::new();
    for (who, theirs, margin) in [
        ("slo backtest", &tested, MINUTE),
        ("Prometheus", &prometheus, 2 * STEP),
        ("vmalert", &vmalert, 2 * STEP),
    ] {
        compare(who, &live, theirs, margin, &mut wrong);
    }
    compare(
        "slo backtest beside Prometheus",
        &prometheus,
        &tested,
        MINUTE + STEP,
        &mut wrong,
    );
    assert!(wrong.is_empty(), "{wrong}");
}

/// Says that the test cannot be done here. Where everything must be there, it fails instead.
fn skip(why: &str) {
    assert!(
        std::env::var_os("VESTIBULE_CI").is_none_or(|value| value != "1"),
        "this must not be skipped here: {why}"
    );
    eprintln!("SKIPPED: {why}");
}

/// Complains of every firing that one has and the other has not, or more than `margin` seconds away.
fn compare(who: &str, ours: &Firings, theirs: &Firings, margin: u64, wrong: &mut String) {
    let none = Vec::new();
    let mut all: Vec<_> = ours.keys().chain(theirs.keys()).collect();
    all.sort();
    all.dedup();
    for alert in all {
        let (a, b) = (
            ours.get(alert).unwrap_or(&none),
            theirs.get(alert).unwrap_or(&none),
        );
        let near = |a: u64, b: u64| a.abs_diff(b) <= margin;
        let end = HOURS * 3_600;
        let alike = |(a, b): (&Spell, &Spell)| {
            near(a.0, b.0) && near(a.1.unwrap_or(end), b.1.unwrap_or(end))
        };
        if a.len() != b.len() || !a.iter().zip(b).all(alike) {
            writeln!(wrong, "{who}: {alert:?}: {b:?} instead of {a:?}").unwrap();
        }
    }
}

// === What is judged ===

/// The last of [`policies`], as a configuration has it.
const SURE: &str = "[[policy]]\nname = \"sure\"\nrows_of = \"hourly\"\npage_min_bad = 0\nticket_min_bad = 0\n\
                    volume_weight = false\nconfidence = true\n";

/// The live engine, second by second.
fn live(shapes: &[Shape]) -> Firings {
    let mut firings = Firings::new();
    for (shape, case) in judged(shapes) {
        for (tier, spell) in case.live(shape) {
            let alert = (shape.name.clone(), case.slo.id.clone(), tier);
            firings.entry(alert).or_default().push(spell);
        }
    }
    firings
}

/// Every incident with every case that is judged of it.
fn judged(shapes: &[Shape]) -> impl Iterator<Item = (&Shape, Case)> {
    let of = |shape| {
        cases()
            .into_iter()
            .filter(move |case| case.takes(shape))
            .map(move |case| (shape, case))
    };
    shapes.iter().flat_map(of)
}

fn tier(tier: &str) -> String {
    tier.to_owned()
}

// === By our own history ===

/// The real binary over a stored history.
fn tested(dir: &Path, shapes: &[Shape]) -> Firings {
    let state = dir.join("state");
    let watch = Arc::new(ManualClock::new(Timestamp::from_secs(START)));
    let opened = store::open(&store::Config::new(state.clone()), watch.clone()).unwrap();
    let counted: Vec<(String, Vec<Tally>)> = judged(shapes)
        .map(|(shape, case)| {
            let slo = format!("{}.{}", shape.name, case.slo.id);
            (slo, case.events(shape))
        })
        .collect();
    let minutes = HOURS * 60;
    for minute in 0..minutes {
        let mut slos = Vec::new();
        for (slo, seconds) in &counted {
            let from = (minute * MINUTE) as usize;
            let seconds = seconds[from..from + MINUTE as usize].iter();
            let tally = seconds.fold(Tally::default(), |sum, tally| sum + *tally);
            slos.push(SloMinute {
                slo: slo.clone(),
                counted: String::new(),
                tally,
            });
        }
        let batch = MinuteBatch {
            minute: START / MINUTE + minute,
            routes: Vec::new(),
            slos,
        };
        watch.advance(Duration::from_secs(MINUTE));
        opened.writer.minute(batch).unwrap();
        if minute % 20 == 19 {
            opened.writer.flush(Duration::from_secs(30)).unwrap();
        }
    }
    opened.writer.close(Duration::from_secs(30)).unwrap();

    let mut config = format!(
        "[state]\ndir = {:?}\n[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:0\"\n[[upstream]]\nname = \"u\"\n\
         endpoints = [\"http://127.0.0.1:1\"]\n[[route]]\nid = \"r\"\nupstream = \"u\"\nowner = \"o\"\n{SURE}",
        state.display().to_string()
    );
    for (shape, case) in judged(shapes) {
        config.push_str(&case.config(&shape.name));
    }
    let file = dir.join("vestibule.toml");
    fs::write(&file, config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(["slo", "backtest", "--json", "--policy", "own", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut firings = Firings::new();
    for slo in outcome["profiles"][0]["slos"].as_array().unwrap() {
        let (shape, policy) = slo["slo"].as_str().unwrap().rsplit_once('.').unwrap();
        for fired in slo["firings"].as_array().unwrap() {
            let second = |key: &str| {
                let at: Timestamp = fired[key].as_str()?.parse().unwrap();
                Some(at.as_secs() - START)
            };
            let (_, row) = fired["alert"].as_str().unwrap().rsplit_once(':').unwrap();
            let alert = (shape.to_owned(), policy.to_owned(), tier(row));
            let of_it = firings.entry(alert).or_default();
            of_it.push((second("from").unwrap(), second("until")));
        }
    }
    firings
}

// === By the generated rules ===

/// One rule, with incidents kept apart by a label.
#[derive(Clone)]
struct Rule {
    /// What it records; `None`: it is an alert.
    record: Option<String>,
    expr: String,
    labels: BTreeMap<String, String>,
}

/// The rules that Vestibule writes for an SLO of each policy: what is recorded in stages, each of which reads only what
/// earlier ones recorded, and then the alerts.
struct Rules {
    stages: Vec<Vec<Rule>>,
    alerts: Vec<Rule>,
}

fn rules() -> Rules {
    let slos: Vec<Slo> = cases().into_iter().map(|case| case.slo).collect();
    let plan = Plan {
        slos,
        policies: policies(),
        places: BTreeMap::new(),
        links: Links {
            grafana: "http://localhost".to_owned(),
            runbooks: None,
        },
        sloth: false,
        admin: None,
    };
    let mut all = Vec::new();
    for artifact in generate(&plan, What::Rules) {
        if artifact.path.contains("/slo-") {
            let file: Value = serde_saphyr::from_str(&artifact.text).unwrap();
            for group in file["groups"].as_array().unwrap() {
                all.extend(group["rules"].as_array().unwrap().iter().filter_map(rule));
            }
        }
    }
    let (mut open, alerts): (Vec<Rule>, Vec<Rule>) =
        all.into_iter().partition(|rule| rule.record.is_some());
    assert_eq!(
        alerts.len(),
        8 + 5 * 4,
        "four rows of one policy and two of each other, and four of each further case"
    );
    let mut stages = Vec::new();
    while !open.is_empty() {
        let names: Vec<String> = open.iter().filter_map(|rule| rule.record.clone()).collect();
        let reads_open = |rule: &Rule| {
            names
                .iter()
                .any(|name| rule.expr.contains(&format!("{name}{{")))
        };
        let (later, ready): (Vec<Rule>, Vec<Rule>) = open.into_iter().partition(reads_open);
        assert!(!ready.is_empty(), "rules read each other in a circle");
        stages.push(ready);
        open = later;
    }
    Rules { stages, alerts }
}

/// `None` for the alert that says that nothing is measured.
fn rule(rule: &Value) -> Option<Rule> {
    let expr = rule["expr"].as_str().unwrap();
    if expr.starts_with("absent(") {
        return None;
    }
    let expr = expr
        .replace("sum(", "sum by (shape) (")
        .replace("min(min_over_time", "min by (shape) (min_over_time")
        .replace("max(route:", "max by (shape) (route:")
        .replace("max(last_over_time", "max by (shape) (last_over_time");
    let labels = rule["labels"].as_object().unwrap().iter();
    let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
    Some(Rule {
        record: rule["record"].as_str().map(ToOwned::to_owned),
        expr,
        labels: labels.collect(),
    })
}

impl Rule {
    fn json(&self) -> Value {
        let Self {
            record,
            expr,
            labels,
        } = self;
        match record {
            Some(record) => json!({ "record": record, "expr": expr, "labels": labels }),
            None => json!({ "alert": "A", "expr": expr, "labels": labels }),
        }
    }
}

/// Writes rules into a file of their own. JSON is YAML.
fn written(dir: &Path, name: &str, rules: &[Rule]) -> String {
    let rules: Vec<Value> = rules.iter().map(Rule::json).collect();
    let file = dir.join(format!("{name}.yaml"));
    let group = json!({ "name": name, "interval": format!("{STEP}s"), "rules": rules });
    fs::write(&file, json!({ "groups": [group] }).to_string()).unwrap();
    file.display().to_string()
}

/// The counters of a shape at every scrape, as (seconds after [`START`], good, bad).
fn scrapes(shape: &Shape, case: &Case) -> Vec<(u64, Tally)> {
    let mut sum = Tally::default();
    let mut scrapes = vec![(0, sum)];
    for (second, tally) in (1..).zip(case.events(shape)) {
        sum += tally;
        if second % STEP == 0 {
            scrapes.push((second, sum));
        }
    }
    scrapes
}

/// The spells of the seconds that a condition holds at, with those that are not apart by more than the hold taken as one.
fn spells(mut seconds: Vec<u64>) -> Vec<Spell> {
    seconds.sort_unstable();
    let mut spells: Vec<(u64, u64)> = Vec::new();
    for second in seconds {
        match spells.last_mut() {
            // A spell may be longer by a scrape and an evaluation than is seen.
            Some((_, last)) if second - *last <= HOLD + 2 * STEP => *last = second,
            _ => spells.push((second, second)),
        }
    }
    let end = |last: u64| {
        let until = last + STEP + HOLD;
        (until < HOURS * 3_600).then_some(until)
    };
    let spells = spells.into_iter();
    spells.map(|(from, last)| (from, end(last))).collect()
}

fn by_prometheus(dir: &Path, shapes: &[Shape], rules: &Rules) -> Firings {
    let dir = dir.join("prometheus");
    let data = dir.join("data");
    fs::create_dir_all(&data).unwrap();
    let mut text = String::from("# TYPE vestibule_slo_events counter\n");
    for (shape, case) in judged(shapes) {
        let (scrapes, route) = (scrapes(shape, &case), case.route());
        for (result, count) in [
            ("good", (|tally| tally.good) as fn(Tally) -> u64),
            ("bad", |tally| tally.bad),
        ] {
            for (second, sum) in &scrapes {
                writeln!(
                    text,
                    "vestibule_slo_events_total{{shape=\"{}\",slo=\"{}\",route=\"{route}\",result=\"{result}\"}} {} {}",
                    shape.name,
                    case.slo.id,
                    count(*sum),
                    START + second
                )
                .unwrap();
            }
        }
    }
    text.push_str("# EOF\n");
    let (history, blocks) = (dir.join("history.txt"), data.display().to_string());
    fs::write(&history, text).unwrap();
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let backfill = ["tsdb", "create-blocks-from", "openmetrics", "--quiet"];
    let history = history.display().to_string();
    run(
        "promtool",
        &[words(&backfill), vec![history, blocks.clone()]].concat(),
    );
    fs::write(dir.join("empty.yaml"), "{}").unwrap();
    let serve = || {
        let arguments = |address| {
            vec![
                format!("--config.file={}", dir.join("empty.yaml").display()),
                format!("--storage.tsdb.path={blocks}"),
                "--storage.tsdb.retention.time=100y".to_owned(),
                format!("--web.listen-address={address}"),
                "--query.max-samples=500000000".to_owned(),
                // Nobody marks where backfilled series end.
                format!("--query.lookback-delta={}s", STEP + 1),
            ]
        };
        Server::start("prometheus", arguments, "/-/ready", &dir.join("log"))
    };
    for rules in &rules.stages {
        // Blocks are looked for at a start.
        let server = serve();
        // When within an interval a group is evaluated follows from its name and its file's: all are one.
        let file = written(&dir, "rules", rules);
        let arguments = [
            words(&["tsdb", "create-blocks-from", "rules"]),
            vec![
                format!("--start={START}"),
                format!("--end={END}"),
                format!("--eval-interval={STEP}s"),
                format!("--url=http://{}", server.address),
                format!("--output-dir={blocks}"),
                file,
            ],
        ];
        run("promtool", &arguments.concat());
    }
    let server = serve();
    let one = rules.stages[0][0].record.as_deref().unwrap();
    let evaluated = server.query_range(&format!("timestamp({one})"), END, END, STEP);
    let evaluated = evaluated[0]["values"][0][1].as_str().unwrap();
    let offset = evaluated.parse::<f64>().unwrap().ceil() as u64 % STEP;
    let mut firings = Firings::new();
    for alert in &rules.alerts {
        for found in server.query_range(&alert.expr, START + offset, END, STEP) {
            let samples = found["values"].as_array().unwrap().iter();
            let seconds = samples.map(|sample| sample[0].as_f64().unwrap() as u64 - START);
            let key = key(&found["metric"], &alert.labels);
            firings.insert(key, spells(seconds.collect()));
        }
    }
    firings
}

fn key(metric: &Value, labels: &BTreeMap<String, String>) -> (String, String, String) {
    let shape = metric["shape"].as_str().unwrap().to_owned();
    (shape, labels["slo"].clone(), tier(&labels["burnrate_tier"]))
}

fn by_vmalert(dir: &Path, shapes: &[Shape], rules: &Rules) -> Firings {
    let dir = dir.join("vmalert");
    fs::create_dir_all(&dir).unwrap();
    let data = dir.join("data");
    let arguments = |address| {
        vec![
            format!("-storageDataPath={}", data.display()),
            format!("-httpListenAddr={address}"),
            "-retentionPeriod=100y".to_owned(),
            "-search.disableCache".to_owned(),
            "-search.latencyOffset=1s".to_owned(),
            "-loggerLevel=ERROR".to_owned(),
        ]
    };
    let server = Server::start("victoria-metrics", arguments, "/health", &dir.join("log"));
    let mut lines = String::new();
    for (shape, case) in judged(shapes) {
        let scrapes = scrapes(shape, &case);
        let times: Vec<u64> = scrapes.iter().map(|(at, _)| (START + at) * 1_000).collect();
        for (result, count) in [
            ("good", (|tally| tally.good) as fn(Tally) -> u64),
            ("bad", |tally| tally.bad),
        ] {
            let values: Vec<u64> = scrapes.iter().map(|(_, sum)| count(*sum)).collect();
            let metric = json!({
                "__name__": "vestibule_slo_events_total",
                "shape": shape.name, "slo": case.slo.id, "route": case.route(), "result": result,
            });
            let series = json!({ "metric": metric, "values": values, "timestamps": times });
            writeln!(lines, "{series}").unwrap();
        }
    }
    server.post("/api/v1/import", "application/json", &lines);
    let all = rules.stages.iter().chain([&rules.alerts]);
    for (stage, rules) in all.enumerate() {
        // What was written is looked for from now on.
        server.get("/internal/force_flush");
        let file = written(&dir, &format!("stage{stage}"), rules);
        let url = format!("http://{}", server.address);
        let time = |second| Timestamp::from_secs(second).to_string();
        run(
            "vmalert",
            &[
                format!("-rule={file}"),
                format!("-datasource.url={url}"),
                format!("-remoteWrite.url={url}"),
                format!("-remoteRead.url={url}"),
                format!("-replay.timeFrom={}", time(START)),
                format!("-replay.timeTo={}", time(END)),
                format!("-datasource.queryStep={STEP}s"),
                // Rules of one stage do not read each other.
                "-replay.rulesDelay=0s".to_owned(),
                "-replay.maxDatapointsPerQuery=10000".to_owned(),
                "-replay.disableProgressBar".to_owned(),
                "-remoteWrite.flushInterval=100ms".to_owned(),
                "-httpListenAddr=127.0.0.1:0".to_owned(),
                "-loggerLevel=ERROR".to_owned(),
            ],
        );
    }
    server.get("/internal/force_flush");
    let mut firings = Firings::new();
    let exported = server.get("/api/v1/export?match[]=ALERTS%7Balertstate=%22firing%22%7D");
    for line in exported.lines() {
        let found: Value = serde_json::from_str(line).unwrap();
        let labels: BTreeMap<String, String> =
            serde_json::from_value(found["metric"].clone()).unwrap();
        let times = found["timestamps"].as_array().unwrap().iter();
        let seconds = times.map(|time| time.as_u64().unwrap() / 1_000 - START);
        firings.insert(key(&found["metric"], &labels), spells(seconds.collect()));
    }
    firings
}
