//! Several promises weighed into one, by the program as it is built: by minutes and by events, against what the parts count, and
//! over a restart.

use serde_json::Value;

use crate::client::Client;
use crate::harness::{Home, PATIENCE, of, stdout};
use crate::origin::{Origin, Then};

fn as_asked() -> Origin {
    Origin::start(|message, conn| {
        let status = message.target().rsplit('/').next().unwrap_or_default();
        conn.send(format!(
            "HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\nok"
        ));
        Then::KeepOpen
    })
}

fn config(origin: &Origin) -> String {
    let composite = |id: &str, weigh: &str| {
        format!(
            "[[slo]]\nid = '{id}'\nsli = 'composite'\nweigh = '{weigh}'\nobjective = '99%'\n\
             [[slo.part]]\nslo = 'a-available'\nweight = 3\n[[slo.part]]\nslo = 'b-available'\n\
             [[slo.part]]\nslo = 'c-available'\nweight = 7\n"
        )
    };
    let routes = ["a", "b", "c"].map(|id| {
        format!(
            "[[route]]\nid = '{id}'\npath = '/{id}'\nupstream = 'u'\nowner = 'team'\n\
             [[slo]]\nid = '{id}-available'\nroute = '{id}'\nsli = 'availability'\nobjective = '99%'\n"
        )
    });
    format!(
        "proxy.workers = 1\n[[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n\
         [[upstream]]\nname = 'u'\nendpoints = ['{}']\n{}{}{}",
        origin.url(),
        routes.concat(),
        composite("by-minutes", "minutes"),
        composite("by-events", "events"),
    )
}

fn counts(snapshot: &Value, id: &str) -> (u64, u64) {
    let slo = of(&snapshot["slos"], "id", id);
    let count = |key: &str| slo[key].as_u64().expect("a count");
    (count("good"), count("bad"))
}

#[test]
fn parts_are_weighed_by_minutes_and_by_events_and_go_on_after_a_restart() {
    let origin = as_asked();
    let home = Home::new(&config(&origin));
    let daemon = home.run();
    // Not so late in a minute that the restart would fall into the next one.
    daemon.until("time before the minute is over", PATIENCE * 4, |snapshot| {
        let at = snapshot["at"].as_str().expect("a time");
        let second: u64 = at.get(17..19)?.parse().ok()?;
        (second < 40).then_some(())
    });
    let ask = |daemon: &crate::harness::Daemon, path: &str, times: usize| {
        let mut client = Client::connect(daemon.address());
        for _ in 0..times {
            client.get(path);
        }
    };
    ask(&daemon, "/a/200", 8);
    ask(&daemon, "/a/503", 1);
    ask(&daemon, "/b/200", 1);
    // 3 × (8, 1) + 1 × (1, 0); nobody asked for c, however much it weighs.
    let before = daemon.until("events are weighed", PATIENCE, |snapshot| {
        (counts(snapshot, "by-events") == (25, 3)).then(|| snapshot.clone())
    });
    assert_eq!(counts(&before, "by-minutes"), (0, 0));
    let slo = of(&before["slos"], "id", "by-minutes");
    assert_eq!(
        (&slo["scope"], &slo["owner"]),
        (&"parts".into(), &"team".into())
    );
    assert_eq!(slo["parts"][2]["weight"], 7);
    assert!(daemon.stop().success());

    let daemon = home.run();
    assert_eq!(counts(&daemon.snapshot(), "by-events"), (25, 3));
    ask(&daemon, "/a/503", 1);
    ask(&daemon, "/b/503", 1);
    // a: 8 of 10 good, b: 1 of 2: (3 × 0.8 + 1 × 0.5) ÷ 4.
    let after = daemon.until("the minute is over", PATIENCE * 4, |snapshot| {
        (counts(snapshot, "by-minutes") != (0, 0)).then(|| snapshot.clone())
    });
    assert_eq!(counts(&after, "by-minutes"), (725_000, 275_000));
    assert_eq!(counts(&after, "by-events"), (25, 7));
    let metrics = daemon.metrics();
    let exported = |result: &str| {
        metrics.sum(
            "vestibule_slo_events_total",
            &[("slo", "by-minutes"), ("result", result)],
        )
    };
    assert_eq!((exported("good"), exported("bad")), (725_000, 275_000));
    let shown = stdout(&home.vestibule(&["slo", "show", "by-minutes"]));
    assert!(
        shown.contains("3 x a-available, 1 x b-available, 7 x c-available"),
        "{shown}"
    );

    // What is exported is imported again.
    let spec = stdout(&home.vestibule(&["slo", "export"]));
    assert!(
        spec.contains("3 a-available, 1 b-available, 7 c-available"),
        "{spec}"
    );
    assert!(daemon.stop().success());
    let daemon = home.run();
    assert_eq!(counts(&daemon.snapshot(), "by-minutes"), (725_000, 275_000));
    assert_eq!(counts(&daemon.snapshot(), "by-events"), (25, 7));
}
