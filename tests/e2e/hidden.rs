//! What availability hides: attempts without a connection that others made up for, and requests over a rate limit.

use std::net::TcpListener;

use serde_json::Value;

use crate::client::Client;
use crate::daemon::{Daemon, until};
use crate::harness::of;
use crate::origin::Origin;

fn counts(snapshot: &Value, id: &str) -> (u64, u64) {
    let slo = of(&snapshot["slos"], "id", id);
    let count = |key: &str| slo[key].as_u64().expect("a count");
    (count("good"), count("bad"))
}

#[test]
fn an_attempt_that_another_made_up_for_is_bad_for_connections_alone() {
    let origin = Origin::ok();
    // Nobody listens there any more, so that every attempt is refused.
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let nobody = closed.local_addr().expect("an address");
    drop(closed);
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'u'\nendpoints = ['{}', 'http://{nobody}']\neject_after = 0\n\
         [[rate_limit]]\nname = 'few'\nkey = 'header:x-key'\nrate = '1/h'\nburst = 3\n\
         [[route]]\nid = 'r'\npath = '/r'\nupstream = 'u'\n\
         [[route]]\nid = 'limited'\npath = '/limited'\nupstream = 'u'\nrate_limits = ['few']\n\
         [[slo]]\nid = 'available'\ningress = true\nsli = 'availability'\nobjective = '99%'\n\
         [[slo]]\nid = 'connects'\nupstream = 'u'\nsli = 'connection'\n\
         [[slo]]\nid = 'within'\nroute = 'limited'\nsli = 'rate-limit'\n\
         [[slo]]\nid = 'within-all'\ningress = true\nsli = 'rate-limit'\n",
        origin.url()
    ));
    for _ in 0..20 {
        Client::connect(daemon.address()).get("/r");
    }
    let mut client = Client::connect(daemon.address());
    for _ in 0..8 {
        client.send("GET /limited HTTP/1.1\r\nhost: a.test\r\nx-key: greedy\r\n\r\n");
        client.response();
    }
    // Three of eight came through; refused attempts are what the endpoint's own counter says.
    let refused = until("every request is counted", || {
        let snapshot = daemon.snapshot();
        let endpoints = &snapshot["upstreams"][0]["endpoints"];
        let refused = endpoints[1]["connect_failures"].as_u64().expect("a count");
        (counts(&snapshot, "available") == (23, 0) && counts(&snapshot, "within").1 == 5)
            .then_some(refused)
    });
    assert!(refused > 0);
    let snapshot = daemon.snapshot();
    assert_eq!(counts(&snapshot, "connects"), (23, refused));
    assert_eq!(counts(&snapshot, "within"), (3, 5));
    assert_eq!(counts(&snapshot, "within-all"), (23, 5));
    let slo = of(&snapshot["slos"], "id", "connects");
    assert_eq!(slo["objective_ppm"], 999_000);
    assert_eq!(
        of(&snapshot["slos"], "id", "within")["objective_ppm"],
        990_000
    );
}
