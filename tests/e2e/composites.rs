//! Several promises weighed into one, by the program as it is built: by minutes and by events, against what the parts count, and
//! over a restart. Users and a probe among them: a blend.

use std::fs;
use std::net::TcpListener;

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
        "proxy.workers = 1\nprobes.dir = 'synthetic'\n\
         [[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n\
         [[upstream]]\nname = 'u'\nendpoints = ['{}']\n{}{}{}{BLEND}",
        origin.url(),
        routes.concat(),
        composite("by-minutes", "minutes"),
        composite("by-events", "events"),
    )
}

/// What users of a route see and what a probe finds, in one budget that says how.
const BLEND: &str = "[[slo]]\nid = 'a-from-outside'\nroute = 'a'\nsli = 'probe'\nprobe = 'door'\nobjective = '99%'\n\
    [[slo]]\nid = 'a-blended'\nsli = 'composite'\nobjective = '99%'\n\
    [[slo.part]]\nslo = 'a-available'\nweight = 3\n[[slo.part]]\nslo = 'a-from-outside'\n";

/// A probe that nobody answers.
fn door() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let nobody = listener.local_addr().expect("it is bound");
    format!("[[probe]]\nname = 'door'\ntarget = 'tcp://{nobody}'\nevery = '1s'\n")
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
    fs::create_dir(home.path("synthetic")).expect("made");
    fs::write(home.path("synthetic/door.toml"), door()).expect("written");
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
    // The probe may have found nobody in a minute before this one, without a user: that minute is worth nothing.
    let earlier = counts(&before, "a-blended");
    assert!(matches!(earlier, (0, 0 | 1_000_000)), "{earlier:?}");
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
    // 8 of 10 good for users, nothing for the probe, however many slots it had: (3 × 0.8 + 1 × 0) ÷ 4. Each is counted apart.
    let blended = counts(&after, "a-blended");
    assert_eq!(
        (blended.0 - earlier.0, blended.1 - earlier.1),
        (600_000, 400_000)
    );
    assert_eq!(counts(&after, "a-available"), (8, 2));
    let (good, bad) = counts(&after, "a-from-outside");
    assert!(good == 0 && bad > 0, "{bad}");
    let parts = &of(&after["slos"], "id", "a-blended")["parts"];
    assert_eq!(
        (&parts[0]["sli"], &parts[0]["good"], &parts[0]["bad"]),
        (&"availability".into(), &8.into(), &2.into())
    );
    assert_eq!(
        (&parts[1]["sli"], &parts[1]["bad"]),
        (&"probe".into(), &bad.into())
    );
    let shown = stdout(&home.vestibule(&["slo", "show", "a-blended"]));
    for line in [
        "parts    by minutes: 3 x a-available, 1 x a-from-outside\n",
        "  a-available     availability  8 good, 2 bad, 80.0%; ",
        "  a-from-outside  probe         0 good, ",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let shown = stdout(&home.vestibule(&["slo", "show", "by-minutes"]));
    assert!(
        shown.contains("3 x a-available, 1 x b-available, 7 x c-available"),
        "{shown}"
    );
    // The worst by its weight first: 3 × 2 of 10, 1 × 1 of 2, and nothing of c.
    for line in [
        "  a-available  availability  8 good, 2 bad, 80.0%; 20.0% bad in the last 5m",
        "  b-available  availability  1 good, 1 bad, 50.0%",
        "  c-available  availability  0 good, 0 bad, -;",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let shown = stdout(&home.vestibule(&["slo", "show", "by-events", "--json"]));
    let shown: Value = serde_json::from_str(&shown).expect("it is JSON");
    let parts = &shown["parts"];
    let tallies =
        [0, 1, 2].map(|place| (parts[place]["good"].as_u64(), parts[place]["bad"].as_u64()));
    assert_eq!(
        tallies,
        [(Some(8), Some(2)), (Some(1), Some(1)), (Some(0), Some(0))]
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
