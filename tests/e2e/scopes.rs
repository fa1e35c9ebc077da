//! Promises about several routes together, counted by the program as it is built: each scope against the access log, one
//! incident of what burns together, and the same after a restart.

use serde_json::Value;

use crate::client::Client;
use crate::daemon::{Daemon, until};
use crate::harness::{Home, PATIENCE, of, stdout, wait};
use crate::origin::{Origin, Then};

/// Answers with the status at the end of the path.
fn as_asked() -> Origin {
    Origin::start(|message, conn| {
        let status = message.target().rsplit('/').next().unwrap_or_default();
        conn.send(format!(
            "HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\nok"
        ));
        Then::KeepOpen
    })
}

/// Three routes to two upstreams with two owners, so that no scope is the same as another.
fn routes(origin: &Origin) -> String {
    let url = origin.url();
    format!(
        "[[upstream]]\nname = 'u'\nendpoints = ['{url}']\n[[upstream]]\nname = 'v'\nendpoints = ['{url}']\n\
         [[route]]\nid = 'a'\npath = '/a'\nupstream = 'u'\nowner = 'x'\n\
         [[route]]\nid = 'b'\npath = '/b'\nupstream = 'u'\nowner = 'y'\n\
         [[route]]\nid = 'c'\npath = '/c'\nupstream = 'v'\nowner = 'x'\n"
    )
}

const SCOPES: &str = "
[[slo]]\nid = 'of-a'\nroute = 'a'\nsli = 'availability'\nobjective = '99%'
[[slo]]\nid = 'of-u'\nupstream = 'u'\nsli = 'availability'\nobjective = '99%'
[[slo]]\nid = 'of-x'\nowner = 'x'\nsli = 'availability'\nobjective = '99%'
[[slo]]\nid = 'of-all'\ningress = true\nsli = 'availability'\nreading = 'all'\nobjective = '99%'
[[slo]]\nid = 'fast-u'\nupstream = 'u'\nsli = 'latency'\nunder = '10m'\nobjective = '95%'
";

fn counts(snapshot: &Value, id: &str) -> (u64, u64) {
    let slo = of(&snapshot["slos"], "id", id);
    let count = |key: &str| slo[key].as_u64().expect("a count");
    (count("good"), count("bad"))
}

/// Good and bad of the access log: independently of how the program counts.
fn recounted(lines: &[Value], id: &str) -> (u64, u64) {
    let mut counts = (0, 0);
    for line in lines {
        let route = line["route"].as_str().unwrap_or_default();
        let (is_in, by_status, by_speed) = match id {
            "of-a" => (route == "a", false, false),
            "of-u" => (matches!(route, "a" | "b"), false, false),
            "of-x" => (matches!(route, "a" | "c"), false, false),
            "fast-u" => (matches!(route, "a" | "b"), false, true),
            _ => (true, true, false),
        };
        let status = line["status"].as_u64();
        let good = match (by_status, line["outcome"].as_str()) {
            _ if !is_in => continue,
            (true, _) => status.is_some_and(|status| status < 400),
            (false, Some("good")) => true,
            (false, Some("bad")) if !by_speed => false,
            (false, _) => continue,
        };
        if good {
            counts.0 += 1;
        } else {
            counts.1 += 1;
        }
    }
    counts
}

#[test]
fn every_scope_of_a_mixed_run_equals_an_independent_count_of_the_access_log() {
    let origin = as_asked();
    let daemon = Daemon::start(&format!("{}{SCOPES}", routes(&origin)));
    let mut sent = 0;
    for round in 0..30 {
        // What no route takes counts for the ingress alone.
        for path in ["/a/200", "/b/200", "/c/200", "/c/404", "/nowhere/200"] {
            Client::connect(daemon.address()).get(path);
            sent += 1;
        }
        for (every, path) in [(2, "/a/503"), (3, "/b/500"), (5, "/c/502")] {
            if round % every == 0 {
                Client::connect(daemon.address()).get(path);
                sent += 1;
            }
        }
    }
    let lines = daemon.lines(sent);
    let ids = ["of-a", "of-u", "of-x", "of-all", "fast-u"];
    for id in ids {
        let expected = recounted(&lines, id);
        assert!(expected.0 > 0, "{id} {expected:?}");
        until(id, || {
            (counts(&daemon.snapshot(), id) == expected).then_some(())
        });
    }
    assert_eq!(recounted(&lines, "of-a"), (30, 15));
    assert_eq!(recounted(&lines, "of-u"), (60, 25));
    assert_eq!(recounted(&lines, "of-x"), (90, 21));
    assert_eq!(recounted(&lines, "of-all"), (90, 91));

    let snapshot = daemon.snapshot();
    for (id, scope, route, owner) in [
        ("of-a", "route:a", "a", Some("x")),
        ("of-u", "upstream:u", "", None),
        ("of-x", "owner:x", "", Some("x")),
        ("of-all", "ingress", "", None),
    ] {
        let slo = of(&snapshot["slos"], "id", id);
        let told = (
            slo["scope"].as_str(),
            slo["route"].as_str(),
            slo["owner"].as_str(),
        );
        assert_eq!(told, (Some(scope), Some(route), owner));
        let metrics = daemon.metrics();
        assert_eq!(
            metrics.count("vestibule_slo_info", &[("slo", id), ("scope", scope)]),
            1
        );
        let bad = metrics.sum(
            "vestibule_slo_events_total",
            &[("slo", id), ("result", "bad")],
        );
        assert_eq!(bad, recounted(&lines, id).1);
    }
}

#[test]
fn what_burns_together_is_one_incident_at_the_route_that_spends_it() {
    let (origin, hook) = (as_asked(), Origin::ok());
    let slo = |id: &str, about: &str| {
        format!(
            "[[slo]]\nid = '{id}'\n{about}\nsli = 'availability'\nobjective = '99%'\npolicy = 'quick'\n"
        )
    };
    let home = Home::new(&format!(
        "proxy.workers = 1\n[[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n{}{}{}{}{}\
         [[policy]]\nname = 'quick'\n\
         [[policy.row]]\nseverity = 'page'\ntier = 'fast'\nlong = '20s'\nshort = '10s'\nfactor = 2.0\n\
         [[notify]]\nname = 'pager'\nkind = 'webhook'\nurl = '{}'\n",
        routes(&origin),
        slo("a-available", "route = 'a'"),
        slo("u-available", "upstream = 'u'"),
        slo("x-available", "owner = 'x'"),
        slo("all-available", "ingress = true"),
        hook.url()
    ));
    let daemon = home.run();
    let mut client = Client::connect(daemon.address());
    for _ in 0..60 {
        client.get("/a/503");
        client.get("/b/200");
        client.get("/c/200");
    }
    let firing = |snapshot: &Value| {
        let alerts = snapshot["alerts"].as_array().expect("a list").iter();
        alerts.filter(|it| it["state"] == "firing").count()
    };
    let snapshot = daemon.until("all four fire", PATIENCE, |snapshot| {
        (firing(snapshot) == 4).then(|| snapshot.clone())
    });
    let verdict = &snapshot["verdict"];
    let text = verdict["text"].as_str().expect("a sentence");
    assert_eq!(verdict["route"], "a", "{text}");
    assert_eq!(verdict["slo"], "a-available", "{text}");
    assert!(
        text.contains("(u-available and 2 more too)") && text.contains("upstream, not edge"),
        "{text}"
    );
    assert_eq!(verdict["slos"].as_array().map(Vec::len), Some(4), "{text}");
    assert_eq!(snapshot["other_verdicts"].as_array().map(Vec::len), Some(0));
    let alert = of(&snapshot["alerts"], "slo", "x-available");
    assert_eq!(
        (&alert["scope"], &alert["owner"]),
        (&"owner:x".into(), &"x".into())
    );
    // One page: that of the route. The others say nothing that it does not.
    wait("the page", PATIENCE, || {
        (!hook.requests().is_empty()).then_some(())
    });
    // Three looks of the receivers later there is no other.
    let second = |snapshot: &Value| {
        let at = snapshot["at"].as_str().expect("a time");
        let place = |range: std::ops::Range<usize>| {
            at.get(range)
                .and_then(|part| part.parse::<u64>().ok())
                .expect("a number")
        };
        place(14..16) * 60 + place(17..19)
    };
    let begun = second(&snapshot);
    daemon.until("three seconds", PATIENCE, |later| {
        ((second(later) + 3_600 - begun) % 3_600 >= 3).then_some(())
    });
    let told: Vec<Value> = hook
        .requests()
        .iter()
        .map(|message| serde_json::from_str(&message.text()).expect("it is JSON"))
        .collect();
    let about: Vec<&Value> = told
        .iter()
        .flat_map(|it| it["alerts"].as_array().into_iter().flatten())
        .map(|it| &it["slo"])
        .collect();
    assert!(
        about.iter().all(|slo| *slo == "a-available"),
        "{about:?} {told:#?}"
    );

    // Where it went, by route, and that it is exact after a restart.
    let spent = |dimension: &str| {
        let shown = stdout(&home.vestibule(&["slo", "show", "all-available", "--json"]));
        let detail: Value = serde_json::from_str(&shown).expect("it is JSON");
        let parts = detail["spent"].as_array().expect("a list").iter();
        let of_it = parts.filter(|it| it["dimension"] == dimension);
        of_it
            .map(|it| (it["part"].as_str().map(str::to_owned), it["bad"].as_u64()))
            .collect::<Vec<_>>()
    };
    assert_eq!(spent("route"), [(Some("a".to_owned()), Some(60))]);
    assert_eq!(spent("status"), [(Some("5xx".to_owned()), Some(60))]);
    let list = stdout(&home.vestibule(&["slo", "list"]));
    assert!(
        list.contains("ABOUT") && list.contains("upstream:u"),
        "{list}"
    );
    assert!(daemon.stop().success());
    let daemon = home.run();
    let again = daemon.snapshot();
    for (id, expected) in [
        ("a-available", (0, 60)),
        ("u-available", (60, 60)),
        ("x-available", (60, 60)),
        ("all-available", (120, 60)),
    ] {
        assert_eq!(counts(&again, id), expected, "{id}");
    }
    assert_eq!(spent("route"), [(Some("a".to_owned()), Some(60))]);
}
