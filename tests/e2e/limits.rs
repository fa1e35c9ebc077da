//! Rate limits.

use crate::client::{Client, get, lines};
use crate::daemon::{Daemon, until};
use crate::origin::Origin;

fn daemon(origin: &Origin, limits: &str, route: &str) -> Daemon {
    Daemon::start(&format!(
        "[proxy]\nworkers = 2\ntrusted_proxies = ['127.0.0.1']\n\
         [[upstream]]\nname = 'u'\nendpoints = ['{}']\n\
         {limits}\n\
         [[route]]\nid = 'r'\nupstream = 'u'\nrate_limits = {route}\n",
        origin.url()
    ))
}

const PER_CLIENT: &str = "[[rate_limit]]\nname = 'per-client'\nrate = '1/h'\nburst = 5";

#[test]
fn what_is_over_the_limit_is_told_so_and_spends_no_budget() {
    let origin = Origin::ok();
    let daemon = daemon(&origin, PER_CLIENT, "['per-client']");
    let mut left = Vec::new();
    for _ in 0..5 {
        // New connections, so that both workers see some.
        let mut client = Client::connect(daemon.address());
        client.send(get("/"));
        let response = client.response();
        assert_eq!(response.status(), 200);
        assert_eq!(response.header("ratelimit-limit"), Some("5"));
        left.push(response.header("ratelimit-remaining").unwrap().to_owned());
    }
    assert_eq!(left, ["4", "3", "2", "1", "0"]);
    for _ in 0..3 {
        let mut client = Client::connect(daemon.address());
        client.send(get("/"));
        let response = client.response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.text(), "429 rate limited\n");
        assert_eq!(response.header("ratelimit-remaining"), Some("0"));
        let wait: u64 = response.header("retry-after").unwrap().parse().unwrap();
        assert!((3_500..=3_600).contains(&wait), "{wait}");
    }
    // Another client has its own.
    let mut other = Client::connect(daemon.address());
    other.send(lines("GET / HTTP/1.1", &["x-forwarded-for: 192.0.2.7"]));
    assert_eq!(other.response().status(), 200);
    let metrics = daemon.counted(&[("r good", 6), ("r downstream/rate_limited", 3)]);
    let limited = [("limit", "per-client")];
    assert_eq!(
        metrics.sum("vestibule_rate_limited_requests_total", &limited),
        3
    );
    assert_eq!(origin.requests().len(), 6);
}

#[test]
fn tiers_are_told_apart_by_headers_and_a_report_stops_nobody() {
    let origin = Origin::ok();
    let daemon = daemon(
        &origin,
        "[[rate_limit]]\nname = 'gold'\nkey = 'header:x-key'\nrate = '1/h'\nburst = 4\nheaders = ['x-plan: gold']\n\
         [[rate_limit]]\nname = 'free'\nkey = 'header:x-key'\nrate = '1/h'\nburst = 2\nheaders = ['x-plan: free']\n\
         [[rate_limit]]\nname = 'watch'\nkey = 'all'\nrate = '1/h'\nburst = 1\nmode = 'report'",
        "['gold', 'free', 'watch']",
    );
    let mut client = Client::connect(daemon.address());
    let mut passed = |plan: &str, key: &str| {
        (0..6)
            .filter(|_| {
                let headers = [format!("x-plan: {plan}"), format!("x-key: {key}")];
                client.send(lines(
                    "GET / HTTP/1.1",
                    &headers.each_ref().map(String::as_str),
                ));
                client.response().status() == 200
            })
            .count()
    };
    assert_eq!(passed("gold", "a"), 4);
    assert_eq!(passed("free", "b"), 2);
    assert_eq!(passed("free", "c"), 2);
    assert_eq!(passed("none", "d"), 6);
    let metrics = daemon.counted(&[("r good", 14), ("r downstream/rate_limited", 10)]);
    let over = |limit| metrics.sum("vestibule_rate_limited_requests_total", &[("limit", limit)]);
    // The last one comes to see only what the others let pass, and all but the first of these are over it.
    assert_eq!([over("gold"), over("free"), over("watch")], [2, 8, 13]);
}

#[test]
fn a_reload_gives_nobody_a_fresh_burst() {
    let origin = Origin::ok();
    let daemon = daemon(&origin, PER_CLIENT, "['per-client']");
    let mut client = Client::connect(daemon.address());
    for _ in 0..5 {
        client.send(get("/"));
        assert_eq!(client.response().status(), 200);
    }
    daemon.signal(rustix::process::Signal::HUP);
    until("the reload", || {
        (daemon.snapshot()["config"]["generation"] == 2).then_some(())
    });
    client.send(get("/"));
    assert_eq!(client.response().status(), 429);
}
