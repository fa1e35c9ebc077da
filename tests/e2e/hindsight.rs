//! Commands that look back on a stored history: nothing runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use vestibule::clock::{Clock, ManualClock, SystemClock};
use vestibule::model::{
    Calendar, CalendarUnit, Counts, Event, EventKind, Latency, Period, Scope, Tally, Timestamp,
    Zone,
};
use vestibule::store::{self, MinuteBatch, RouteMinute, SloMinute};

use crate::harness::{Home, stdout};

const CONFIG: &str = "\
[[listener]]
name = 'http'
address = '127.0.0.1:0'
[[upstream]]
name = 'u'
endpoints = ['http://127.0.0.1:1']
[[route]]
id = 'shop'
path = '/shop'
upstream = 'u'
owner = 'team-a'
[[route]]
id = 'bare'
path = '/bare'
upstream = 'u'
[[slo]]
id = 'shop-available'
route = 'shop'
sli = 'availability'
objective = '99.9%'
[[slo]]
id = 'shop-fast'
route = 'shop'
sli = 'latency'
under = '300ms'
objective = '95%'
";

const HOUR: u64 = 60;
/// Minutes of the history.
const MINUTES: u64 = 36 * HOUR;
/// Two fifths fail for half an hour.
const OUTAGE: std::ops::Range<u64> = 12 * HOUR..12 * HOUR + 30;
/// An eighth fails for four minutes: 1.1 % of the budget.
const BLIP: std::ops::Range<u64> = 30 * HOUR..30 * HOUR + 4;
/// Nothing is measured.
const GAP: std::ops::Range<u64> = 20 * HOUR..21 * HOUR;

/// The last week that is over.
fn week() -> Period {
    let weeks = Calendar {
        unit: CalendarUnit::Week,
        zone: Zone::UTC,
    };
    let running = weeks.period(SystemClock::new().now());
    weeks.period(Timestamp::from_secs(running.start_secs - 1))
}

/// A day and a half of a hundred requests a minute, from Tuesday of last week on; gives its first minute.
fn written(state: &Path) -> u64 {
    let first = week().start_secs / 60 + 24 * HOUR;
    let watch = Arc::new(ManualClock::new(Timestamp::from_secs(first * 60)));
    let config = store::Config::new(state.to_owned());
    let opened = store::open(&config, watch.clone()).expect("a store");
    // Of a hundred: 90 took 50 ms, 8 took 180 ms, 2 took 400 ms.
    let mut latency = Latency::new();
    for (micros, count) in [(50_000, 90), (180_000, 8), (400_000, 2)] {
        latency.record_many(micros, count);
    }
    for minute in 0..MINUTES {
        watch.advance(Duration::from_secs(60));
        if GAP.contains(&minute) {
            continue;
        }
        let bad = match minute {
            _ if OUTAGE.contains(&minute) => 40,
            _ if BLIP.contains(&minute) => 12,
            _ => 0,
        };
        let route = |id: &str, bad: u64| RouteMinute {
            route: id.to_owned(),
            counts: Counts {
                good: 100 - bad,
                bad,
                excluded: 0,
            },
            latency: Some(latency.clone()),
            ..RouteMinute::default()
        };
        let slo = |id: &str, counted: &str, tally| SloMinute {
            slo: id.to_owned(),
            counted: counted.to_owned(),
            tally,
        };
        let batch = MinuteBatch {
            minute: first + minute,
            routes: vec![route("shop", bad), route("bare", 0)],
            slos: vec![
                slo(
                    "shop-available",
                    "availability fault of route shop",
                    Tally {
                        good: 100 - bad,
                        bad,
                    },
                ),
                slo(
                    "shop-fast",
                    "latency up to 300000us of route shop",
                    Tally {
                        good: 98 - bad,
                        bad: 2,
                    },
                ),
            ],
        };
        opened.writer.minute(batch).expect("room");
        // A backlog gives distributions up.
        opened.writer.flush(Duration::from_secs(60)).expect("disk");
    }
    let event = |minute: u64, kind, scope, text: &str| Event {
        at: Timestamp::from_secs((first + minute) * 60 + 30),
        kind,
        scope,
        text: text.to_owned(),
    };
    let of_upstream = Scope {
        upstream: Some("u".to_owned()),
        ..Scope::default()
    };
    let of_slo = Scope {
        slo: Some("shop-available".to_owned()),
        ..Scope::default()
    };
    for event in [
        event(
            OUTAGE.start - 5,
            EventKind::Deploy,
            of_upstream,
            "u v7 | <b>![x](https://evil)\n# now",
        ),
        event(
            OUTAGE.start + 3,
            EventKind::Alert,
            of_slo,
            "shop-available: fast burn fires (page): burning 1h 20x",
        ),
        event(
            40,
            EventKind::Certificate,
            Scope::default(),
            "shop.example renewed",
        ),
    ] {
        opened.writer.event(event).expect("room");
    }
    let closed = opened.writer.close(Duration::from_secs(60));
    closed.expect("it is written");
    first
}

/// Compares what is printed with the file of this name; the days of the week stand there by number, since they are not always
/// the same.
fn compare(name: &str, printed: &str) {
    let days = (0..=7).map(|day| {
        let at = Timestamp::from_secs(week().start_secs + day * 86_400).to_string();
        (
            at.chars().take(10).collect::<String>(),
            format!("day-{day}"),
        )
    });
    let text = days.fold(printed.to_owned(), |text, (date, day)| {
        text.replace(&date, &day)
    });
    let path = Path::new("tests/e2e/hindsight").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("the tree can be written");
    }
    let golden = std::fs::read_to_string(&path).expect("a committed file");
    assert_eq!(
        text,
        golden,
        "{}; UPDATE_GOLDEN=1 writes it",
        path.display()
    );
}

fn json(home: &Home, arguments: &[&str]) -> Value {
    let run = home.vestibule(&[arguments, &["--json"]].concat());
    assert!(run.status.success(), "{arguments:?}: {run:?}");
    serde_json::from_str(&stdout(&run)).expect("it is JSON")
}

#[test]
fn profiles_are_judged_side_by_side_over_what_was_found_and_what_people_wrote_down() {
    let home = Home::new(CONFIG);
    let first = written(&home.state());
    let at = |minute: u64| Timestamp::from_secs((first + minute) * 60).to_string();
    let found = json(&home, &["slo", "backtest"]);
    assert_eq!(found["truth"]["source"], "history");
    assert_eq!(found["incidents"].as_array().map(Vec::len), Some(1));
    let outage = &found["incidents"][0];
    assert_eq!(outage["from"], at(OUTAGE.start));
    assert_eq!(outage["to"], at(OUTAGE.end));
    assert_eq!(outage["slos"], serde_json::json!(["shop-available"]));
    assert_eq!(found["gaps"][0]["from"], at(GAP.start), "{}", found["gaps"]);
    assert_eq!(found["gaps"][0]["to"], at(GAP.end));
    assert_eq!(found["measured_s"], (MINUTES - HOUR) * 60);
    let profiles = found["profiles"].as_array().expect("a list");
    let names: Vec<_> = profiles.iter().map(|it| it["profile"].as_str()).collect();
    assert_eq!(names, [Some("workbook"), Some("hourly")]);
    let (workbook, hourly) = (&profiles[0], &profiles[1]);
    assert_eq!(workbook["own"], true);
    for (profile, precision, pages) in [(workbook, 1.0, 2), (hourly, 2.0 / 3.0, 3)] {
        assert_eq!(profile["recall"], 1.0, "{profile:#}");
        let read = profile["precision"].as_f64().expect("a number");
        assert!((read - precision).abs() < 1e-9, "{profile:#}");
        assert_eq!(profile["pages"], pages, "{profile:#}");
        let page = &profile["detections"][0]["page"];
        // An eighth of what was spent by then, and both are told of the same budget.
        let (spent, whole) = (&page["budget_ratio"], &outage["budget_ratio"]);
        assert!(spent.as_f64() <= whole.as_f64(), "{spent} of {whole}");
        assert!(page["after_s"].as_u64().expect("a number") <= 600);
    }
    let faster = |profile: &Value| profile["detection_s"].as_u64();
    assert!(faster(hourly) <= faster(workbook));

    let table = stdout(&home.vestibule(&["slo", "backtest"]));
    for needed in [
        "workbook (own)",
        "hourly",
        "66.7%",
        "100.0% (1/1)",
        "not measured: ",
        "held against 1 incident found in this history",
        "INCIDENT",
    ] {
        assert!(table.contains(needed), "no {needed:?} in\n{table}");
    }
    compare("backtest.txt", &table);
    let one = stdout(&home.vestibule(&["slo", "backtest", "--policy", "hourly"]));
    compare("backtest-one.txt", &one);

    // What people wrote down: the blip was one, and one that nobody could have seen.
    let file = home.path("known.toml");
    let text = format!(
        "[[incident]]\nname = 'outage'\nfrom = '{}'\nto = '{}'\n\
         [[incident]]\nname = 'blip'\nfrom = '{}'\nto = '{}'\nslo = 'shop-available'\n\
         [[incident]]\nname = 'unseen'\nfrom = '{}'\nto = '{}'\n",
        at(OUTAGE.start),
        at(OUTAGE.end),
        at(BLIP.start),
        at(BLIP.end + 10),
        at(GAP.start + 5),
        at(GAP.start + 20),
    );
    std::fs::write(&file, &text).expect("a file");
    let file = file.to_str().expect("a path");
    let known = json(&home, &["slo", "backtest", "--incidents", file]);
    assert_eq!(known["left_out"][0]["name"], "unseen");
    let recalls: Vec<_> = known["profiles"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| (it["recall"].as_f64(), it["precision"].as_f64()))
        .collect();
    assert_eq!(recalls, [(Some(0.5), Some(1.0)), (Some(1.0), Some(1.0))]);
    assert!(known["profiles"][0]["detections"][1]["page"].is_null());

    // Bounds, for those who ask in CI.
    let bounds = |more: &[&str]| {
        let arguments = [&["slo", "backtest", "--incidents", file], more].concat();
        home.vestibule(&arguments).status.code()
    };
    assert_eq!(bounds(&["--fail-under-recall", "0.9"]), Some(1));
    let hourly = ["--policy", "hourly"];
    assert_eq!(
        bounds(&[&hourly[..], &["--fail-under-recall", "0.9"]].concat()),
        Some(0)
    );
    assert_eq!(bounds(&["--max-pages-per-week", "3"]), Some(1));
    assert_eq!(bounds(&["--fail-under-precision", "1.5"]), Some(64));

    // A looser objective pages about nothing: there is no precision then, and no number stands for it.
    let loose = json(
        &home,
        &[
            "slo",
            "backtest",
            "--slo",
            "shop-available",
            "--objective",
            "50%",
        ],
    );
    assert_eq!(loose["objective"], "50%");
    assert_eq!(loose["profiles"][0]["pages"], 0);
    assert!(loose["profiles"][0]["precision"].is_null());
    assert!(loose["profiles"][0]["recall"].is_null());

    std::fs::write(home.path("wrong.toml"), text.replace("slo =", "sol =")).expect("a file");
    let refused = home.vestibule(&["slo", "backtest", "--incidents", "wrong.toml"]);
    assert_eq!(refused.status.code(), Some(64), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("wrong.toml") && said.contains("line 9"),
        "{said}"
    );
}

#[test]
fn another_threshold_is_told_with_bounds_and_another_objective_exactly() {
    let home = Home::new(CONFIG);
    written(&home.state());
    let minutes = MINUTES - HOUR;
    // Whole hours; every minute of the outage and the blip has failures.
    let failed = 30 * 40 + 4 * 12;
    let told = json(
        &home,
        &[
            "slo",
            "what-if",
            "shop-fast",
            "--under",
            "100ms",
            "--under",
            "400ms",
            "--objective",
            "95%",
            "--objective",
            "80%",
        ],
    );
    let cases = told["cases"].as_array().expect("a list");
    let number = |case: &Value, key: &str| case["bad"][key].as_u64().expect("a number");
    assert_eq!(cases.len(), 5);
    assert_eq!(cases[0]["promised"], true);
    assert_eq!(
        (number(&cases[0], "least"), number(&cases[0], "most")),
        (2 * minutes, 2 * minutes)
    );
    // Ten of a hundred took longer than 100 ms; which of them failed is not known.
    assert_eq!(cases[1]["valid"], 100 * minutes - failed, "{}", cases[1]);
    let (least, most) = (number(&cases[1], "least"), number(&cases[1], "most"));
    assert!(least < 10 * minutes && most == 10 * minutes, "{}", cases[1]);
    let used = &cases[1]["budget_used_ratio"]["most"];
    let expected = most as f64 / ((100 * minutes - failed) as f64 * 0.05);
    assert!((used.as_f64().expect("a number") - expected).abs() < 1e-9);
    assert_eq!(cases[2]["objective"], "80%");
    // Those of 400 ms lie in the bucket of the threshold: none of them, or all.
    assert_eq!(number(&cases[3], "least"), 0);
    assert_eq!(number(&cases[3], "most"), 2 * minutes);
    assert_eq!(cases[3]["exact"], false);
    let end = cases[3]["bucket_us"][1].as_u64().expect("a number");
    let asked = ["shop-fast", "--under", "100ms", "--under", "400ms"];
    let printed = home.vestibule(&[&["slo", "what-if"], &asked[..]].concat());
    compare("what-if.txt", &stdout(&printed));
    let table = stdout(&home.vestibule(&[
        "slo",
        "what-if",
        "shop-fast",
        "--under",
        &format!("{end}us"),
        "--under",
        "400ms",
    ]));
    assert!(table.contains("are kept as one"), "{table}");
    assert!(table.contains(&format!("0 to {}", 2 * minutes)), "{table}");

    let told = json(
        &home,
        &["slo", "what-if", "shop-available", "--objective", "99.95%"],
    );
    let used = |place: usize| {
        let used = &told["cases"][place]["budget_used_ratio"];
        assert_eq!(used["least"], used["most"]);
        used["most"].as_f64().expect("a number")
    };
    assert!((used(1) / used(0) - 2.0).abs() < 1e-9);
    assert_eq!(number(&told["cases"][0], "most"), failed);
    let peak = &told["cases"][0]["peak"]["burn"]["most"];
    // Half an hour at two fifths.
    assert!((peak.as_f64().expect("a number") - 200.0).abs() < 1e-6);

    for (arguments, code) in [
        (&["nope"][..], 64),
        (&["shop-available", "--under", "1s"], 64),
        (&["shop-fast", "--under", "11m"], 64),
    ] {
        let run = home.vestibule(&[&["slo", "what-if"], arguments].concat());
        assert_eq!(run.status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn what_is_proposed_for_a_route_is_taken_as_it_is_printed() {
    let home = Home::new(CONFIG);
    written(&home.state());
    // A day and a half touches two days at least, and they are too few unless one says so.
    let few = json(&home, &["slo", "propose"]);
    let routes = few["routes"].as_array().expect("a list");
    assert_eq!(routes.len(), 1, "the other route has both: {few:#}");
    assert_eq!(routes[0]["route"], "bare");
    for proposal in routes[0]["proposals"].as_array().expect("a list") {
        assert_eq!(proposal["answer"], "insufficient", "{proposal:#}");
        assert!(proposal["id"].is_null());
    }
    let told = json(&home, &["slo", "propose", "--min-days", "2", "--all"]);
    let routes = told["routes"].as_array().expect("a list");
    let found: Vec<_> = routes
        .iter()
        .flat_map(|route| route["proposals"].as_array().expect("a list"))
        .map(|it| {
            (
                it["id"].as_str().expect("an id"),
                it["objective"].as_str().expect("an objective"),
                it["under_us"].as_u64(),
            )
        })
        .collect();
    // Of 300 ms a fiftieth is slower, and at 180 ms a tenth.
    assert_eq!(
        found,
        [
            ("shop-availability", "98%", None),
            ("shop-latency", "95%", Some(200_000)),
            ("bare-availability", "99.9%", None),
            ("bare-latency", "95%", Some(200_000)),
        ]
    );
    let shop = &routes[0]["proposals"][0];
    let used = shop["budget_used_ratio"].as_f64().expect("a number");
    let failed = f64::from(30 * 40 + 4 * 12);
    let all = (100 * (MINUTES - HOUR)) as f64;
    assert!((used - failed / (all * 0.02)).abs() < 1e-9, "{shop:#}");
    // Two fifths for half an hour burn it ten times too fast over the hour, which the workbook does not page about.
    assert_eq!(shop["told"]["pages"], 0, "{shop:#}");
    assert_eq!(routes[1]["proposals"][0]["told"]["pages"], 0);
    let p97_5 = shop_latency(routes)["p97_5_us"]
        .as_u64()
        .expect("a duration");
    assert!(p97_5.abs_diff(180_000) < 1_800, "{p97_5}");

    // As it is printed, it is a configuration.
    let printed = stdout(&home.vestibule(&["slo", "propose", "--min-days", "2", "--all"]));
    assert_eq!(printed.matches("[[slo]]").count(), 4, "{printed}");
    compare("propose.toml", &printed);
    home.configure(&format!("{CONFIG}\n{printed}"));
    let check = home.vestibule(&["check"]);
    assert!(check.status.success(), "{check:?}\n{printed}");
    let nothing = stdout(&home.vestibule(&["slo", "propose", "--min-days", "2"]));
    assert!(!nothing.contains("[[slo]]"), "{nothing}");
    let more = json(&home, &["slo", "propose", "--min-days", "2", "--all"]);
    assert_eq!(
        more["routes"][1]["proposals"][0]["id"],
        "bare-availability-2"
    );
    let unknown = home.vestibule(&["slo", "propose", "--route", "nope"]);
    assert_eq!(unknown.status.code(), Some(64));
}

fn shop_latency(routes: &[Value]) -> &Value {
    &routes[0]["proposals"][1]
}

#[test]
fn a_week_is_reported_with_what_was_kept_missed_and_not_measured() {
    let home = Home::new(CONFIG);
    let first = written(&home.state());
    let booked = serde_json::json!({
        "silences": [],
        "deploys": [{
            "id": "w", "upstream": "u", "version": "v7 | x",
            "from": Timestamp::from_secs((first + OUTAGE.start) * 60).to_string(),
            "until": Timestamp::from_secs((first + OUTAGE.start + 10) * 60).to_string(),
            "slos": [{
                "slo": "shop-available",
                "before": { "good": 1, "bad": 0 },
                "spent": { "good": 600, "bad": 400 }
            }]
        }]
    });
    let file = home.state().join("silences.json");
    std::fs::write(file, booked.to_string()).expect("a file");

    let report = json(&home, &["slo", "report", "--weekly"]);
    let minutes = MINUTES - HOUR;
    let failed = 30 * 40 + 4 * 12;
    assert_eq!(report["complete"], true);
    assert_eq!(
        report["from"],
        Timestamp::from_secs(week().start_secs).to_string()
    );
    assert_eq!(
        (&report["kept"], &report["missed"], &report["pages"]),
        (&Value::from(1), &Value::from(1), &Value::from(1)),
        "{report:#}"
    );
    let measured = report["measured_ratio"].as_f64().expect("a number");
    let expected = minutes as f64 / (7 * 24 * HOUR) as f64;
    assert!((measured - expected).abs() < 0.002, "{measured}");
    // The hour that was missed, and from the end of the history to that of the week.
    assert_eq!(
        report["gaps"].as_array().map(Vec::len),
        Some(2),
        "{report:#}"
    );
    let owner = &report["owners"][0];
    assert_eq!(owner["owner"], "team-a");
    let available = &owner["slos"][0];
    assert_eq!(
        (&available["bad"], &available["valid"]),
        (&Value::from(failed), &Value::from(100 * minutes))
    );
    let used = available["budget_used_ratio"].as_f64().expect("a number");
    assert!((used - f64::from(failed) / (minutes as f64 / 10.0)).abs() < 1e-9);
    assert!(available["before"].is_null(), "nothing was counted then");
    assert_eq!(available["worst_hour"]["bad"], 1_200);
    assert_eq!(available["pages"], 1);
    let incident = &report["incidents"][0];
    assert_eq!(incident["lasted_s"], 1_800, "{report:#}");
    assert_eq!(incident["detected_after_s"], 210);
    assert_eq!(incident["changed"]["kind"], "deploy");
    let share = &report["deploys"][0]["slos"][0]["budget_ratio"];
    let share = share.as_f64().expect("a number");
    assert!((share - used * 400.0 / f64::from(failed)).abs() < 1e-9);

    let page = stdout(&home.vestibule(&["slo", "report", "--weekly"]));
    for needed in [
        "# Service levels, week of ",
        "1 of 2 SLOs kept their objective; worst is shop-available with 99.4057 % of 99.9% promised",
        "## team-a",
        "**missed** 99.4057 % | 1248 | 210000 |",
        r"\| \<b\>!\[x\](https\://evil)",
        r"| u v7 \| x |",
        "## Certificates",
        "shop.example renewed",
        "Not measured:",
    ] {
        assert!(page.contains(needed), "no {needed:?} in\n{page}");
    }
    assert!(!page.contains("<b>") && !page.contains("\n# now"), "{page}");
    compare("report.md", &page);

    // The same days have another beginning elsewhere, and the month holds the week or a part of it.
    let there = json(
        &home,
        &["slo", "report", "--weekly", "--zone", "Asia/Kolkata"],
    );
    let begins = there["from"].as_str().expect("a moment");
    assert!(begins.ends_with("T18:30:00.000Z"), "{begins}");
    let day = report["owners"][0]["slos"][0]["worst_day"]["at"]
        .as_str()
        .expect("a day");
    let month = json(&home, &["slo", "report", "--monthly", "--at", day]);
    assert_eq!(month["unit"], "month");
    // The blip as well: it spent more than 1 %.
    assert_eq!(month["incidents"].as_array().map(Vec::len), Some(2));
    for wrong in [
        &["--weekly", "--at", "yesterday"][..],
        &["--weekly", "--at", "9000-01-01"],
        &["--weekly", "--monthly"],
        &["--weekly", "--zone", "Mars/Olympus"],
        &[],
    ] {
        let run = home.vestibule(&[&["slo", "report"], wrong].concat());
        assert_eq!(run.status.code(), Some(64), "{wrong:?}: {run:?}");
    }
}
