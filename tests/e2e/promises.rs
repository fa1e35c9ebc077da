//! What is promised, counted by the program as it is built: each reading against the access log, and nothing inherited.

use rustix::process::Signal;
use serde_json::Value;

use crate::client::Client;
use crate::daemon::{Daemon, until};
use crate::harness::{Home, PATIENCE, of, stdout};
use crate::origin::{Origin, Then};

/// Answers as the path says: `/404`, `/cut` in the middle of an answer.
fn as_asked() -> Origin {
    Origin::start(|message, conn| {
        let path = message.target().trim_start_matches('/').to_owned();
        if path == "cut" {
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nok");
            return Then::Close;
        }
        conn.send(format!("HTTP/1.1 {path} x\r\ncontent-length: 2\r\n\r\nok"));
        Then::KeepOpen
    })
}

const PROMISES: &str = "
[[slo]]\nid = 'fault'\nroute = 'r'\nsli = 'availability'\nobjective = '99%'
[[slo]]\nid = 'some'\nroute = 'r'\nsli = 'availability'\nbad_status = ['401', '429']\nobjective = '99%'
[[slo]]\nid = 'all'\nroute = 'r'\nsli = 'availability'\nreading = 'all'\nobjective = '99%'
";

/// Good and bad of an access log as each promise reads it: independently of how the program counts.
fn recounted(lines: &[Value], id: &str) -> (u64, u64) {
    let mut counts = (0, 0);
    for line in lines {
        let status = line["status"].as_u64();
        let failed = line["outcome"] == "bad";
        let is_valid = line["outcome"] != "excluded";
        let (valid, bad) = match id {
            "fault" => (is_valid, failed),
            "some" => {
                let also = matches!(status, Some(401 | 429));
                (is_valid || also, failed || also)
            }
            _ => {
                let error = status.is_some_and(|status| status >= 400);
                (failed || status.is_some(), failed || error)
            }
        };
        match (valid, bad) {
            (true, true) => counts.1 += 1,
            (true, false) => counts.0 += 1,
            (false, _) => {}
        }
    }
    counts
}

fn counts(snapshot: &Value, id: &str) -> (u64, u64) {
    let slo = of(&snapshot["slos"], "id", id);
    let count = |key: &str| slo[key].as_u64().expect("a count");
    (count("good"), count("bad"))
}

#[test]
fn both_readings_of_a_mixed_run_equal_an_independent_count_of_the_access_log() {
    let origin = as_asked();
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'u'\nendpoints = ['{}']\n\
         [[rate_limit]]\nname = 'few'\nkey = 'header:x-key'\nrate = '1/h'\nburst = 3\n\
         [[route]]\nid = 'closed'\nupstream = 'u'\npath = '/closed'\nallow_from = ['10.0.0.0/8']\n\
         [[route]]\nid = 'r'\nupstream = 'u'\nrate_limits = ['few']\n{PROMISES}",
        origin.url()
    ));
    let mut sent = 0;
    for round in 0..40 {
        for (place, path) in ["200", "200", "302", "404", "401", "429", "503", "500"]
            .into_iter()
            .enumerate()
        {
            let mut client = Client::connect(daemon.address());
            // Every fifth comes from one who is limited after three.
            let key = if (round * 8 + place) % 5 == 0 {
                "greedy".to_owned()
            } else {
                format!("{round}-{place}")
            };
            client.send(format!(
                "GET /{path} HTTP/1.1\r\nhost: a.test\r\nx-key: {key}\r\n\r\n"
            ));
            client.response();
            sent += 1;
        }
    }
    for round in 0..5 {
        // Cut off by the upstream, refused by the edge, and left by the client.
        let mut client = Client::connect(daemon.address());
        client.send(format!(
            "GET /cut HTTP/1.1\r\nhost: a.test\r\nx-key: cut-{round}\r\n\r\n"
        ));
        client.head();
        drop(client.rest());
        let mut client = Client::connect(daemon.address());
        client.send("GET /200 HTTP/1.1\r\nhost: a.test\r\ncontent-length: x\r\n\r\n");
        client.response();
        sent += 2;
    }
    let lines = daemon.lines(sent);
    let own: Vec<Value> = lines
        .into_iter()
        .filter(|line| line["route"] == "r")
        .collect();
    for id in ["fault", "some", "all"] {
        let expected = recounted(&own, id);
        assert!(expected.0 > 0 && expected.1 > 0, "{id} {expected:?}");
        until(id, || {
            let counted = counts(&daemon.snapshot(), id);
            (counted == expected).then_some(())
        });
    }
    // They differ as they should: each counts more as bad than the one before.
    let bad = ["fault", "some", "all"].map(|id| recounted(&own, id).1);
    assert!(bad[0] < bad[1] && bad[1] < bad[2], "{bad:?}");
    let metrics = daemon.metrics();
    let exported = metrics.sum(
        "vestibule_slo_events_total",
        &[("slo", "all"), ("result", "bad")],
    );
    assert_eq!(exported, bad[2]);
    let all = daemon.snapshot();
    let all = of(&all["slos"], "id", "all");
    assert_eq!(all["reading"], "all");
}

#[test]
fn a_promise_that_counts_something_else_inherits_nothing_over_reload_and_restart() {
    let origin = as_asked();
    let config = |promise: &str| {
        format!(
            "[[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n[proxy]\nworkers = 1\n\
             [[upstream]]\nname = 'u'\nendpoints = ['{}']\n[[route]]\nid = 'r'\nupstream = 'u'\n\
             [[slo]]\nid = 'p'\nroute = 'r'\nsli = 'availability'\n{promise}\n",
            origin.url()
        )
    };
    let fault = config("objective = '99%'");
    let all = config("reading = 'all'\nobjective = '99%'");
    let home = Home::new(&fault);
    let daemon = home.run();
    let ask = |daemon: &crate::harness::Daemon, path: &str, times: usize| {
        for _ in 0..times {
            let mut client = Client::connect(daemon.address());
            client.get(path);
        }
    };
    ask(&daemon, "/404", 7);
    daemon.until("seven good ones", PATIENCE, |snapshot| {
        (counts(snapshot, "p") == (7, 0)).then_some(())
    });
    // Another objective judges the same counts; another reading counts anew.
    home.configure(&config("objective = '99.5%'"));
    daemon.signal(Signal::HUP);
    daemon.until("the reload", PATIENCE, |snapshot| {
        let slo = of(&snapshot["slos"], "id", "p");
        (slo["objective_ppm"] == 995_000).then(|| assert_eq!(counts(snapshot, "p"), (7, 0)))
    });
    home.configure(&all);
    daemon.signal(Signal::HUP);
    daemon.until("the other reading", PATIENCE, |snapshot| {
        let slo = of(&snapshot["slos"], "id", "p");
        (slo["reading"] == "all").then(|| assert_eq!(counts(snapshot, "p"), (0, 0)))
    });
    ask(&daemon, "/404", 3);
    daemon.until("three bad ones", PATIENCE, |snapshot| {
        (counts(snapshot, "p") == (0, 3)).then_some(())
    });
    assert!(daemon.stop().success());
    // The same promise finds its own counts again, and the other one none.
    let daemon = home.run();
    assert_eq!(counts(&daemon.snapshot(), "p"), (0, 3));
    ask(&daemon, "/200", 1);
    daemon.until("one more", PATIENCE, |snapshot| {
        (counts(snapshot, "p") == (1, 3)).then_some(())
    });
    let shown = stdout(&home.vestibule(&["slo", "show", "p"]));
    assert!(shown.contains("availability all of route r"), "{shown}");
    assert!(daemon.stop().success());
    home.configure(&fault);
    let daemon = home.run();
    assert_eq!(counts(&daemon.snapshot(), "p"), (0, 0));
}

#[test]
fn a_calendars_period_is_told_and_kept_over_a_restart() {
    let origin = as_asked();
    let home = Home::new(&format!(
        "[[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n[proxy]\nworkers = 1\n\
         [[upstream]]\nname = 'u'\nendpoints = ['{}']\n[[route]]\nid = 'r'\nupstream = 'u'\n\
         [[slo]]\nid = 'p'\nroute = 'r'\nsli = 'availability'\nobjective = '99%'\n\
         window = 'calendar month'\nzone = 'Asia/Kathmandu'\n",
        origin.url()
    ));
    let daemon = home.run();
    for path in ["/200", "/200", "/503"] {
        Client::connect(daemon.address()).get(path);
    }
    let first = daemon.until("three requests", PATIENCE, |snapshot| {
        (counts(snapshot, "p") == (2, 1)).then(|| snapshot.clone())
    });
    let slo = of(&first["slos"], "id", "p");
    let period = &slo["period"];
    assert_eq!(
        (&period["unit"], &period["zone"]),
        (&"month".into(), &"Asia/Kathmandu".into())
    );
    // A quarter to, everywhere else, and in force now.
    for edge in ["from", "to"] {
        let edge = period[edge].as_str().expect("a time");
        assert!(edge.ends_with("T18:15:00.000Z"), "{edge}");
    }
    let now = first["at"].as_str().expect("a time");
    let is_on = period["from"].as_str() <= Some(now) && Some(now) < period["to"].as_str();
    assert!(is_on, "{now} {period}");
    // Three requests of a month: overspent as counted, hardly touched as expected.
    assert!(slo["remaining_ratio"].as_f64() < Some(0.0));
    assert!(slo["expected_remaining_ratio"].as_f64() > Some(0.9));
    let shown = stdout(&home.vestibule(&["slo", "show", "p"]));
    assert!(
        shown.contains("the month from ") && shown.contains("(Asia/Kathmandu)"),
        "{shown}"
    );
    assert!(daemon.stop().success());
    let daemon = home.run();
    let again = daemon.snapshot();
    assert_eq!(counts(&again, "p"), (2, 1));
    assert_eq!(&of(&again["slos"], "id", "p")["period"], period);
    let metrics = daemon.metrics();
    let info = metrics.count("vestibule_slo_info", &[("slo", "p"), ("window", "month")]);
    assert_eq!(info, 1);
}

#[test]
fn a_minute_is_judged_when_it_is_over_with_what_was_counted_before_a_restart() {
    let origin = as_asked();
    let home = Home::new(&format!(
        "[[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n[proxy]\nworkers = 1\n\
         [[upstream]]\nname = 'u'\nendpoints = ['{}']\n[[route]]\nid = 'r'\nupstream = 'u'\n\
         [[slo]]\nid = 'p'\nroute = 'r'\nsli = 'availability'\nobjective = '99%'\n\
         budgeting = 'timeslices'\nslice = '1m'\nslice_objective = '70%'\nempty_slice = 'skip'\n\
         [[slo]]\nid = 'q'\nroute = 'r'\nsli = 'availability'\nobjective = '99%'\n\
         budgeting = 'ratio-timeslices'\nslice = '1m'\nempty_slice = 'skip'\n",
        origin.url()
    ));
    let daemon = home.run();
    // Not so late in a minute that the restart would fall into the next one.
    let begun = daemon.until("time before the minute is over", PATIENCE, |snapshot| {
        let at = snapshot["at"].as_str().expect("a time");
        let second: u64 = at.get(17..19)?.parse().ok()?;
        (second < 45).then(|| snapshot.clone())
    });
    assert_eq!(counts(&begun, "p"), (0, 0));
    for path in ["/200", "/503", "/503"] {
        Client::connect(daemon.address()).get(path);
    }
    assert!(daemon.stop().success());
    let daemon = home.run();
    Client::connect(daemon.address()).get("/200");
    // Two of four are good: too few for the one, a half for the other. The second half alone would be good.
    let over = daemon.until("the end of the minute", PATIENCE * 2, |snapshot| {
        let (good, bad) = counts(snapshot, "p");
        (good + bad > 0).then(|| snapshot.clone())
    });
    assert_eq!(counts(&over, "p"), (0, 1));
    assert_eq!(counts(&over, "q"), (500_000, 500_000));
    let slices = &of(&over["slos"], "id", "q")["slices"];
    assert_eq!(
        (&slices["every"], &slices["empty"]),
        (&"1m".into(), &"skip".into())
    );
    let shown = stdout(&home.vestibule(&["slo", "show", "p"]));
    assert!(
        shown.contains("slices of 1m, good from 70%, empty ones skip"),
        "{shown}"
    );
}

/// Each tier has a budget of its own, whichever route its requests take, and goes on with it after a restart.
#[test]
fn what_a_rate_limit_was_asked_is_promised_by_its_name_on_whatever_route() {
    use crate::harness::Client;
    let origin = Origin::ok();
    let tier = |name: &str, burst: u8| {
        format!(
            "[[rate_limit]]\nname = '{name}'\nkey = 'all'\nrate = '1/h'\nburst = {burst}\n\
             headers = ['x-tier: {name}']\n\
             [[slo]]\nid = '{name}-within'\nlimit = '{name}'\nsli = 'rate-limit'\n"
        )
    };
    let home = Home::new(&format!(
        "[[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n\
         [[upstream]]\nname = 'u'\nendpoints = ['{}']\n\
         [[route]]\nid = 'a'\npath = '/a'\nupstream = 'u'\nrate_limits = ['gold', 'free']\n\
         [[route]]\nid = 'b'\npath = '/b'\nupstream = 'u'\nrate_limits = ['gold']\n{}{}",
        origin.url(),
        tier("gold", 4),
        tier("free", 2)
    ));
    let daemon = home.run();
    let mut client = Client::connect(daemon.address());
    let mut ask = |path: &str, tier: &str, times: usize| {
        let header = format!("x-tier: {tier}");
        for _ in 0..times {
            let line = format!("GET {path}");
            client.ask(&line, &[&header], b"").expect("an answer");
        }
    };
    ask("/a", "gold", 3);
    ask("/b", "gold", 3);
    ask("/a", "free", 5);
    // Nobody's: no limit is asked.
    ask("/a", "none", 7);
    let counted = daemon.until("both are counted", PATIENCE, |snapshot| {
        let gold = counts(snapshot, "gold-within");
        let free = counts(snapshot, "free-within");
        (gold == (4, 2) && free == (2, 3)).then(|| snapshot.clone())
    });
    let slo = of(&counted["slos"], "id", "gold-within");
    assert_eq!(
        (&slo["scope"], &slo["route"]),
        (&"limit:gold".into(), &"".into())
    );
    assert!(daemon.stop().success());

    let daemon = home.run();
    let snapshot = daemon.snapshot();
    assert_eq!(counts(&snapshot, "gold-within"), (4, 2));
    assert_eq!(counts(&snapshot, "free-within"), (2, 3));
    let rules = stdout(&home.vestibule(&["slo", "export"]));
    assert!(rules.contains("limit:gold"), "{rules}");
}
