//! Alerts of what has no budget take the same way as all others, each is told once, and what is on purpose is told to
//! nobody, here and at a real Alertmanager.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::client::Client;
use crate::harness::{Daemon, Home, PATIENCE, of, stdout, wait};
use crate::notify::Alertmanager;
use crate::origin::{Origin, Then};
use crate::wire::Message;

fn json(message: &Message) -> Value {
    serde_json::from_str(&message.text()).expect("it is JSON")
}

/// A service with two routes, told to a webhook.
fn config(origin: &Origin, hook: &Origin) -> String {
    format!(
        "proxy.workers = 1\n\
         [[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n\
         [[upstream]]\nname = 'u'\nendpoints = ['{}']\n\
         [[route]]\nid = 'a'\npath = '/a'\nupstream = 'u'\nowner = 'team-a'\n\
         [[route]]\nid = 'b'\npath = '/b'\nupstream = 'u'\n\
         [[slo]]\nid = 'a-available'\nroute = 'a'\nsli = 'availability'\nobjective = '99%'\npolicy = 'quick'\n\
         [[slo]]\nid = 'b-available'\nroute = 'b'\nsli = 'availability'\nobjective = '99%'\npolicy = 'quick'\n\
         [[policy]]\nname = 'quick'\n\
         [[policy.row]]\nseverity = 'page'\ntier = 'fast'\nlong = '20s'\nshort = '10s'\nfactor = 2.0\n\
         [[notify]]\nname = 'pager'\nkind = 'webhook'\nurl = '{}'\nwatchdog = true\n",
        origin.url(),
        hook.url()
    )
}

/// What the webhook was told of alerts, and how often it was told that alerting works.
fn told(hook: &Origin) -> (Vec<Value>, usize) {
    let all: Vec<Value> = hook.requests().iter().map(json).collect();
    let signs = all.iter().filter(|it| it["status"] == "watchdog").count();
    let news = all.into_iter().filter(|it| it["status"] != "watchdog");
    (news.collect(), signs)
}

#[test]
fn a_killed_process_pages_once_and_says_that_alerting_works() {
    let (origin, hook) = (Origin::ok(), Origin::ok());
    let home = Home::new(&config(&origin, &hook));
    let daemon = home.run();
    wait("a sign of life", PATIENCE, || {
        (told(&hook).1 == 1).then_some(())
    });
    daemon.kill();
    for _ in 0..2 {
        let daemon = home.run();
        wait("the page", PATIENCE, || {
            (!told(&hook).0.is_empty()).then_some(())
        });
        let alerts = daemon.ask("GET /v1/alerts").json();
        assert_eq!(alerts[0]["id"], "crash:vestibule", "{alerts}");
        assert_eq!(alerts[0]["state"], "firing");
        let status = home.vestibule(&["status"]);
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(
            status.contains("alert vestibule page crash firing"),
            "{status}"
        );
        daemon.kill();
    }
    let (news, _) = told(&hook);
    assert_eq!(news.len(), 1, "{news:#?}");
    assert_eq!(news[0]["alert"]["kind"], "crash");
    assert_eq!(news[0]["alert"]["severity"], "page");
    // One that was stopped is no crash.
    let daemon = home.run();
    daemon.signal(Signal::TERM);
    drop(daemon);
}

#[test]
fn an_outage_of_all_routes_is_one_page_until_it_is_over() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let origin = Origin::start(move |_, conn| {
        let status = if is_broken.load(Ordering::Relaxed) {
            "500 Internal Server Error"
        } else {
            "200 OK"
        };
        conn.send(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"));
        Then::KeepOpen
    });
    let hook = Origin::ok();
    let home = Home::new(&config(&origin, &hook));
    let daemon = home.run();
    let mut client = Client::connect(daemon.address());
    let mut drive = |what: &str, mut seen: Box<dyn FnMut(&Value) -> bool + '_>| {
        daemon.until(what, Duration::from_secs(180), |snapshot| {
            for path in ["/a", "/b"] {
                for _ in 0..3 {
                    client.get(path);
                }
            }
            seen(snapshot).then_some(())
        });
    };
    let state = |snapshot: &Value, id: &str| {
        let alerts = snapshot["alerts"].as_array().cloned().unwrap_or_default();
        let alert = alerts.into_iter().find(|alert| alert["id"] == id);
        alert.map_or(Value::Null, |alert| alert["state"].clone())
    };
    let both = ["a-available:page:fast", "b-available:page:fast"];
    drive(
        "the outage",
        Box::new(|snapshot| {
            state(snapshot, "outage:ingress") == "firing"
                && both.iter().all(|id| state(snapshot, id) == "firing")
        }),
    );
    drive("the page", Box::new(|_| !told(&hook).0.is_empty()));
    let (news, _) = told(&hook);
    let ids: Vec<_> = news.iter().map(|it| it["alert"]["id"].clone()).collect();
    assert_eq!(ids, ["outage:ingress"], "one page, not one for each route");
    broken.store(false, Ordering::Relaxed);
    drive(
        "its end",
        Box::new(|_| told(&hook).0.iter().any(|it| it["status"] == "resolved")),
    );
    assert!(daemon.stop().success());
}

/// A service whose page and ticket come at once when it fails, told to a webhook and to Alertmanager.
fn watched(origin: &Origin, hook: &Origin, manager: &Alertmanager) -> Home {
    Home::new(&format!(
        "instance.name = 'edge-1'\nproxy.workers = 1\n\
         [[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n\
         [[upstream]]\nname = 'web'\nendpoints = ['{}']\n\
         [[route]]\nid = 'web'\nupstream = 'web'\nowner = 'team-web'\n\
         [[slo]]\nid = 'available'\nroute = 'web'\nsli = 'availability'\nobjective = '99%'\npolicy = 'quick'\n\
         [[policy]]\nname = 'quick'\n\
         [[policy.row]]\nseverity = 'page'\ntier = 'fast'\nlong = '20s'\nshort = '10s'\nfactor = 2.0\n\
         [[policy.row]]\nseverity = 'ticket'\ntier = 'slow'\nlong = '20s'\nshort = '10s'\nfactor = 1.0\n\
         [[notify]]\nname = 'am'\nkind = 'alertmanager'\nurl = 'http://{}'\n\
         [[notify]]\nname = 'hook'\nkind = 'webhook'\nurl = '{}'\n",
        origin.url(),
        manager.address,
        hook.url()
    ))
}

/// A service that always fails.
fn failing() -> Origin {
    Origin::answering("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")
}

/// Sends requests until `seen`.
fn drive(daemon: &Daemon, what: &str, patience: u64, mut seen: impl FnMut(&Value) -> bool) {
    let mut client = Client::connect(daemon.address());
    daemon.until(what, Duration::from_secs(patience), |snapshot| {
        for _ in 0..5 {
            client.get("/");
        }
        seen(snapshot).then_some(())
    });
}

/// What Alertmanager makes of the alert of this severity: `active` or `suppressed`; nothing while it does not know it.
fn state_at(manager: &Alertmanager, severity: &str) -> String {
    let alerts = manager.alerts();
    let alert = alerts
        .iter()
        .find(|alert| alert["labels"]["slo_severity"] == severity);
    let state = alert.map(|alert| alert["status"]["state"].as_str().unwrap_or_default());
    state.unwrap_or_default().to_owned()
}

/// The severities of what the webhook was told to fire, in alphabetical order: which of two comes first within a second
/// is chance.
fn fired(hook: &Origin) -> Vec<String> {
    let (news, _) = told(hook);
    let firing = news.iter().filter(|it| it["status"] == "firing");
    let mut severities: Vec<String> = firing
        .filter_map(|it| Some(it["alert"]["severity"].as_str()?.to_owned()))
        .collect();
    severities.sort();
    severities
}

#[test]
fn a_silence_mutes_here_and_at_alertmanager_until_it_ends() {
    let Some(manager) = Alertmanager::start() else {
        return;
    };
    let (origin, hook) = (failing(), Origin::ok());
    let home = watched(&origin, &hook, &manager);
    let daemon = home.run();
    for (what, wrong) in [
        (&["slo=available", "--for", "25h"][..], "24 hours"),
        (&["colour=red"], "no label"),
        (&[], "MATCHER"),
    ] {
        let arguments = [&["silence", "add", "--reason", "x", "--owner", "ada"], what].concat();
        let refused = home.vestibule(&arguments);
        assert_eq!(refused.status.code(), Some(64), "{what:?}");
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(why.contains(wrong), "{why}");
    }
    let added = home.vestibule(&[
        "silence",
        "add",
        "slo=available",
        "kind=burn",
        "--for",
        "10m",
        "--owner",
        "ada",
        "--reason",
        "a load test",
        "--json",
    ]);
    let added: Value = serde_json::from_str(&stdout(&added)).expect("it is JSON");
    let id = added["id"].as_str().expect("it has an id").to_owned();
    drive(&daemon, "both alerts at Alertmanager", 180, |snapshot| {
        let alerts = snapshot["alerts"].as_array();
        alerts.is_some_and(|alerts| alerts.iter().all(|alert| alert["silenced_by"] == *id))
            && state_at(&manager, "page") == "suppressed"
            && state_at(&manager, "ticket") == "suppressed"
    });
    assert_eq!(fired(&hook), [] as [&str; 0]);
    let list = stdout(&home.vestibule(&["silence", "list"]));
    assert!(
        list.contains("by ada: a load test; mutes available:page:fast, available:ticket:slow"),
        "{list}"
    );
    let status = home.vestibule(&["status"]);
    assert_eq!(
        status.status.code(),
        Some(2),
        "a silence changes no verdict"
    );
    assert!(stdout(&status).contains("(silenced by ada until "));

    // It outlives a stop.
    assert!(daemon.stop().success());
    let daemon = home.run();
    let list = stdout(&home.vestibule(&["silence", "list"]));
    assert!(list.contains(&id), "{list}");
    let ended = home.vestibule(&["silence", "expire", &id]);
    assert!(ended.status.success(), "{ended:?}");
    let unknown = home.vestibule(&["silence", "expire", &id]);
    assert_eq!(unknown.status.code(), Some(64));
    drive(&daemon, "everybody to be told", 60, |_| {
        fired(&hook) == ["page", "ticket"]
            && state_at(&manager, "page") == "active"
            && state_at(&manager, "ticket") == "active"
    });

    // And lapses with a crash.
    let added = home.vestibule(&[
        "silence",
        "add",
        "slo=available",
        "--owner",
        "ada",
        "--reason",
        "x",
    ]);
    assert!(added.status.success());
    drive(&daemon, "Alertmanager to mute", 60, |_| {
        state_at(&manager, "page") == "suppressed"
    });
    daemon.kill();
    let daemon = home.run();
    let list = stdout(&home.vestibule(&["silence", "list"]));
    assert_eq!(list, "nothing is silenced\n");
    let events = daemon.snapshot()["events"].to_string();
    assert!(events.contains("1 silences have lapsed"), "{events}");
    drive(&daemon, "Alertmanager to speak again", 60, |_| {
        state_at(&manager, "page") == "active"
    });
}

#[test]
fn a_deploys_window_mutes_the_ticket_and_not_the_page_and_ends_by_itself() {
    let Some(manager) = Alertmanager::start() else {
        return;
    };
    let (origin, hook) = (failing(), Origin::ok());
    let home = watched(&origin, &hook, &manager);
    let daemon = home.run();
    let deploy = |window: &str| home.vestibule(&["deploy", "web", "v2", "--window", window]);
    assert_eq!(deploy("2h").status.code(), Some(64));
    assert!(deploy("1m").status.success());
    drive(&daemon, "the page and a muted ticket", 50, |_| {
        state_at(&manager, "page") == "active"
            && state_at(&manager, "ticket") == "suppressed"
            && fired(&hook) == ["page"]
    });
    drive(&daemon, "the end of the window", 120, |snapshot| {
        !snapshot["deploys"][0]["until"].is_null() && snapshot["silences"] == Value::Array(vec![])
    });
    drive(&daemon, "the ticket", 60, |_| {
        state_at(&manager, "ticket") == "active" && fired(&hook) == ["page", "ticket"]
    });
    let snapshot = daemon.snapshot();
    let spend = &snapshot["deploys"][0]["slos"][0];
    let whole = &snapshot["slos"][0];
    let (in_window, all) = (
        spend["bad"].as_u64().unwrap(),
        whole["bad"].as_u64().unwrap(),
    );
    assert!(0 < in_window && in_window < all, "{spend} of {whole}");
    let events = snapshot["events"].as_array().unwrap().iter();
    let mut said = events.filter_map(|event| event["text"].as_str());
    let expected =
        format!("the window of deploy web v2 is over: available {in_window} bad of {in_window}");
    assert!(
        said.any(|text| text == expected),
        "{:#}",
        snapshot["events"]
    );
}

#[test]
fn slos_are_listed_shown_in_full_and_judged_again_over_their_history() {
    let (origin, hook) = (failing(), Origin::ok());
    let home = Home::new(&config(&origin, &hook));
    let empty = home.vestibule(&["slo", "backtest"]);
    assert_eq!(empty.status.code(), Some(74), "{empty:?}");
    let daemon = home.run();
    let deployed = home.vestibule(&["deploy", "u", "v7", "--window", "1m"]);
    assert!(deployed.status.success());
    let mut client = Client::connect(daemon.address());
    for _ in 0..40 {
        client.get("/a");
    }
    let list = home.vestibule(&["slo", "list", "--json"]);
    let slos: Value = serde_json::from_str(&stdout(&list)).expect("it is JSON");
    assert_eq!(slos.as_array().map(Vec::len), Some(2), "{slos}");
    let table = stdout(&home.vestibule(&["slo", "list"]));
    assert!(table.starts_with("STATE"), "{table}");

    let shown = home.vestibule(&["slo", "show", "a-available", "--json"]);
    let detail: Value = serde_json::from_str(&stdout(&shown)).expect("it is JSON");
    let parts = detail["spent"].as_array().expect("a list");
    let bad = detail["slo"]["bad"].as_u64().expect("a number");
    assert_eq!(bad, 40);
    for (dimension, part) in [
        ("kind", "upstream_5xx"),
        ("status", "5xx"),
        ("endpoint", origin.url().as_str()),
        ("version", "v7"),
        ("deploy", "in_window"),
        ("route", "a"),
    ] {
        let of_it: Vec<&Value> = parts
            .iter()
            .filter(|it| it["dimension"] == dimension)
            .collect();
        assert_eq!(of_it.len(), 1, "{dimension}: {parts:#?}");
        assert_eq!(of_it[0]["part"], part);
        assert_eq!(of_it[0]["bad"], bad, "the parts sum to the whole");
        assert_eq!(of_it[0]["lately"], bad);
        assert!(
            of_it[0]["excess"].is_null(),
            "there is nothing before to compare with"
        );
    }
    assert_eq!(detail["deploys"][0]["slos"][0]["bad"], bad);
    let page = stdout(&home.vestibule(&["slo", "show", "a-available"]));
    assert!(
        page.contains("spent by endpoint") && page.contains("booked to deploys"),
        "{page}"
    );
    assert_eq!(
        home.vestibule(&["slo", "show", "nope"]).status.code(),
        Some(64)
    );

    // What spent it is known after a restart too.
    assert!(daemon.stop().success());
    let daemon = home.run();
    let shown = home.vestibule(&["slo", "show", "a-available", "--json"]);
    let again: Value = serde_json::from_str(&stdout(&shown)).expect("it is JSON");
    let sum = |dimension: &str, part: &str| {
        let parts = again["spent"].as_array().expect("a list").iter();
        let of_it = parts.filter(|it| it["dimension"] == dimension && it["part"] == part);
        of_it.filter_map(|it| it["bad"].as_u64()).sum::<u64>()
    };
    assert_eq!(
        (sum("version", "v7"), sum("kind", "upstream_5xx")),
        (bad, bad)
    );

    // Over the stored minutes, beside the daemon that writes them.
    let tested = home.vestibule(&["slo", "backtest", "--json"]);
    assert!(tested.status.success(), "{tested:?}");
    let tested: Value = serde_json::from_str(&stdout(&tested)).expect("it is JSON");
    assert_eq!(tested["slos"][0]["slo"], "a-available");
    let unknown = home.vestibule(&["slo", "backtest", "--policy", "nope"]);
    assert_eq!(unknown.status.code(), Some(64));
    assert!(daemon.stop().success());
}

#[test]
fn an_incident_is_listed_shown_and_exported_from_the_history_of_a_running_and_of_a_stopped_daemon()
{
    let (origin, hook) = (failing(), Origin::ok());
    let whole = "[[slo]]\nid = 'whole'\nsli = 'composite'\nweigh = 'events'\nobjective = '99%'\npolicy = 'quick'\n\
                 [[slo.part]]\nslo = 'a-available'\nweight = 2\n";
    let home = Home::new(&format!("{}{whole}", config(&origin, &hook)));
    let none = home.vestibule(&["incident", "list"]);
    assert_eq!(
        none.status.code(),
        Some(74),
        "there is no history yet: {none:?}"
    );
    let daemon = home.run();
    let began = vestibule_now();
    assert!(home.vestibule(&["deploy", "u", "v7"]).status.success());
    let mut client = Client::connect(daemon.address());
    daemon.until("a page", Duration::from_secs(60), |snapshot| {
        for _ in 0..5 {
            client.get("/a");
        }
        let alerts = snapshot["alerts"].as_array()?;
        let fires = |slo: &str| {
            let mut alerts = alerts.iter();
            alerts.any(|it| it["slo"] == slo && it["state"] == "firing")
        };
        (fires("a-available") && fires("whole")).then_some(())
    });
    assert!(
        home.vestibule(&["deploy", "u", "v6", "--by", "ada"])
            .status
            .success()
    );
    let running = home.vestibule(&["incident", "list"]);
    assert_eq!(running.status.code(), Some(0), "{running:?}");
    let bad = daemon.snapshot()["slos"]
        .as_array()
        .and_then(|slos| slos.iter().find(|it| it["id"] == "a-available").cloned())
        .and_then(|slo| slo["bad"].as_u64())
        .expect("it is counted");
    daemon.stop();

    let list = home.vestibule(&["incident", "list", "--json"]);
    let report: Value = serde_json::from_str(&stdout(&list)).expect("it is JSON");
    let told = &report["incidents"][0];
    assert_eq!(
        report["incidents"].as_array().map(Vec::len),
        Some(1),
        "{report:#}"
    );
    let damage = of(&told["damages"], "slo", "a-available");
    assert_eq!(damage["bad"], bad, "every bad request is in it");
    // What hurt the whole is told by its parts.
    let whole = of(&told["damages"], "slo", "whole");
    assert_eq!(whole["bad"], 2 * bad);
    let part = &whole["parts"][0];
    assert_eq!((&part["weight"], &part["bad"]), (&2.into(), &bad.into()));
    let name = told["id"].as_str().expect("a name");
    let table = stdout(&home.vestibule(&["incident", "list"]));
    assert!(table.starts_with("NAME") && table.contains(name), "{table}");

    let page = stdout(&home.vestibule(&["incident", "show", name]));
    for needed in [
        format!("# Incident of {name}"),
        "| owners | team-a |".to_owned(),
        "## What changed before".to_owned(),
        "deploy: u v7".to_owned(),
        "## What was done".to_owned(),
        "u v6".to_owned(),
        format!("| a | kind | upstream\\_5xx | {bad} | 100.00 % |"),
        format!(
            "| a | endpoint | {} | {bad} | 100.00 % |",
            origin.url().replacen(':', r"\:", 1)
        ),
        "burn fires (page)".to_owned(),
        "**it began**".to_owned(),
        format!("| · 2 x a-available | | {bad} |"),
        "| whose | upstream, not edge (upstream\\_5xx) |".to_owned(),
    ] {
        assert!(page.contains(&needed), "no {needed:?} in\n{page}");
    }
    let unknown = home.vestibule(&["incident", "show", "2001-01-01T00:00Z"]);
    assert_eq!(unknown.status.code(), Some(64));

    let out = home.path("postmortem");
    let out = out.to_str().expect("a path");
    let minute: String = began.chars().take(16).collect();
    let refused = home.vestibule(&["incident", "export", "--from", "yesterday"]);
    assert_eq!(refused.status.code(), Some(64));
    let from = format!("{minute}:00Z");
    let written = home.vestibule(&["incident", "export", "--from", &from, "--out", out]);
    assert_eq!(written.status.code(), Some(0), "{written:?}");
    let written = stdout(&written);
    let files: Vec<&str> = written.lines().collect();
    assert_eq!(files.len(), 2, "{written}");
    let markdown = std::fs::read_to_string(files[0]).expect("the Markdown");
    assert!(markdown.contains(&format!("# Incident of {name}")));
    let json = std::fs::read_to_string(files[1]).expect("the JSON");
    let json: Value = serde_json::from_str(&json).expect("it is JSON");
    let told = &json["incidents"][0];
    assert!(told["detected_after_s"].as_u64().is_some(), "{told:#}");
    assert_eq!(told["verdict"]["route"], "a");
    let kinds = told["parts"].as_array().expect("parts");
    let of_kind = kinds.iter().filter(|it| it["dimension"] == "kind");
    let sum: u64 = of_kind.filter_map(|it| it["bad"].as_u64()).sum();
    assert_eq!(sum, bad, "the parts sum to the whole");
}

/// The time as `vestibule` writes it.
fn vestibule_now() -> String {
    use vestibule::clock::Clock as _;
    vestibule::clock::SystemClock::new().now().to_string()
}

#[test]
fn incidents_are_played_to_the_alerts_of_a_configuration() {
    let (origin, hook) = (failing(), Origin::ok());
    let home = Home::new(&config(&origin, &hook));
    let json = |arguments: &[&str]| -> Value {
        let run = home.vestibule(&[&["slo", "simulate", "--json"], arguments].concat());
        assert!(run.status.success(), "{run:?}");
        serde_json::from_str(&stdout(&run)).expect("it is JSON")
    };
    let outage = json(&["--shape", "total-outage", "--policy", "workbook"]);
    let workbook = &outage["shapes"][0]["policies"][0];
    // 51.84 s.
    assert_eq!(workbook["page"]["detected_s"], 52, "{workbook}");
    assert_eq!(workbook["page"]["tier"], "fast");
    assert!(workbook["page"]["budget_ratio"].as_f64().expect("a number") > 0.02);
    let failure = json(&["--shape", "low-traffic-failure"]);
    for policy in failure["shapes"][0]["policies"].as_array().expect("a list") {
        assert_eq!(
            (&policy["page"], &policy["ticket"]),
            (&Value::Null, &Value::Null)
        );
    }
    let slo = home.vestibule(&[
        "slo",
        "simulate",
        "--shape",
        "deploy-spike",
        "--config",
        "vestibule.toml",
        "--slo",
        "a-available",
    ]);
    assert!(stdout(&slo).contains("DETECTED AFTER"), "{slo:?}");

    std::fs::write(
        home.path("own.toml"),
        "name = \"own\"\n[[stretch]]\nlasts = \"10m\"\nrequests = \"50/s\"\nerrors = \"20x\"\n",
    )
    .expect("it can be written");
    let own = json(&["--file", "own.toml", "--policy", "workbook", "--young"]);
    assert_eq!(own["past_s"], 0);
    assert_eq!(own["shapes"][0]["trouble_until_s"], 600);
    for (arguments, code) in [
        (&["--shape", "nope"][..], 64),
        (&["--policy", "nope"], 64),
        (&["--config", "vestibule.toml", "--slo", "nope"], 64),
        (&["--file", "nope.toml"], 74),
        (&["--file", "vestibule.toml"], 64),
        (&["--config", "own.toml"], 78),
    ] {
        let run = home.vestibule(&[&["slo", "simulate"], arguments].concat());
        assert_eq!(run.status.code(), Some(code), "{arguments:?}: {run:?}");
    }
}
