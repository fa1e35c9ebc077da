//! Whether an authority would find what it asks for, looked at between renewals.

use std::process::Output;

use serde_json::{Value, json};

use super::{config, issuance, pebble, until_issued};
use crate::acme::pebble::{Pebble, Whims};
use crate::harness::{Home, PATIENCE, stderr, stdout};

/// A daemon's directory, whose authority sees our hosts by the DNS that it goes by itself.
fn home(pebble: &Pebble, every: &str) -> Home {
    let authority = format!(
        "profile = 'classic'\nhttp_port = {}\npreflight_every = '{every}'\npreflight_resolver = '{}'",
        pebble.http.port(),
        pebble.names
    );
    Home::new(&config(pebble, &["shop.test", "www.shop.test"], &authority))
}

fn preflight(home: &Home, more: &[&str]) -> Output {
    let socket = "vestibule-state/vestibule.sock";
    let mut arguments = vec!["certs", "preflight", "--connect", socket];
    arguments.extend(more);
    home.vestibule(&arguments)
}

#[test]
fn a_host_that_an_authority_would_not_find_is_a_ticket_long_before_its_renewal() {
    let Some(pebble) = pebble(&Whims::default()) else {
        return;
    };
    let home = home(&pebble, "1s");
    let daemon = home.run();
    until_issued(&daemon, 1);
    let seen = daemon.until("a look", PATIENCE, |snapshot| {
        let seen = issuance(snapshot)["preflights"].as_array()?.clone();
        (seen.len() == 2).then_some(seen)
    });
    for host in &seen {
        assert_eq!(
            (&host["addresses"], &host["failures"]),
            (&json!([pebble.http.to_string()]), &json!(0)),
            "{host}"
        );
    }
    let well = preflight(&home, &[]);
    let found = format!("ok      shop  www.shop.test: found at {}\n", pebble.http);
    assert!(stdout(&well).ends_with(&found), "{}", stdout(&well));
    assert_eq!(well.status.code(), Some(0), "{}", stderr(&well));
    // Nothing of it is left, and nothing was ordered.
    assert_eq!(pebble.issued(), 1);

    // The name moves to where nobody answers at that port. The certificate is good for months.
    let moved = |to: &str| json!({ "host": "shop.test", "addresses": [to] });
    pebble.dns("/add-a", &moved("127.0.0.9"));
    let alert = daemon.until("a ticket", PATIENCE, |snapshot| {
        let alerts = snapshot["certificate_alerts"].as_array()?;
        alerts.iter().find(|it| it["kind"] == "preflight").cloned()
    });
    assert_eq!(
        (&alert["urgency"], &alert["name"]),
        (&json!("ticket"), &json!("shop"))
    );
    let text = alert["text"].as_str().expect("a text");
    let why = format!(
        "the next renewal would fail: ca does not find us at shop.test: 127.0.0.9:{}: connection refused",
        pebble.http.port()
    );
    assert!(text.contains(&why), "{text}");
    let hosts = |result: &str| {
        let labels = [("certificate", "shop"), ("result", result)];
        daemon
            .metrics()
            .sum("vestibule_acme_preflight_hosts", &labels)
    };
    assert_eq!((hosts("ok"), hosts("failed")), (1, 1));
    let lost = preflight(&home, &["shop", "--json"]);
    assert_eq!(lost.status.code(), Some(1));
    let all: Value = serde_json::from_slice(&lost.stdout).expect("it is JSON");
    assert!(all["shop"][0]["error"].is_string(), "{all}");
    assert_eq!(all["shop"][1]["error"], Value::Null, "{all}");
    let listed = home.vestibule(&["certs", "--connect", "vestibule-state/vestibule.sock"]);
    assert!(
        stdout(&listed).contains("shop.test would not be found: 127.0.0.9:"),
        "{}",
        stdout(&listed)
    );
    assert_eq!(listed.status.code(), Some(1), "a ticket");

    pebble.dns("/clear-a", &json!({ "host": "shop.test" }));
    assert_eq!(preflight(&home, &["shop"]).status.code(), Some(0));
    daemon.until("the end of the ticket", PATIENCE, |snapshot| {
        (snapshot["certificate_alerts"] == json!([])).then_some(())
    });
}

#[test]
fn another_server_at_the_name_is_no_find_and_only_what_is_issued_so_is_looked_at() {
    let Some(pebble) = pebble(&Whims::default()) else {
        return;
    };
    // Pebble's own DNS answers HTTP at that port, and knows nothing of our text.
    let home = home(&pebble, "1d");
    let text = std::fs::read_to_string(home.path("vestibule.toml")).expect("it was written");
    let port = |port: u16| format!("http_port = {port}\n");
    home.configure(&text.replace(&port(pebble.http.port()), &port(pebble.dns.port())));
    let daemon = home.run();
    until_issued(&daemon, 1);
    let lost = preflight(&home, &["shop"]);
    assert_eq!(lost.status.code(), Some(1));
    assert!(
        stdout(&lost).contains("answered 404: another server"),
        "{}{}",
        stdout(&lost),
        stderr(&lost)
    );
    let unknown = preflight(&home, &["nothing"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains("there are: shop"));
    assert!(daemon.stop().success());

    let home = Home::new(&config(
        &pebble,
        &["shop.test"],
        "challenge = 'tls-alpn-01'\nprofile = 'classic'",
    ));
    let daemon = home.run();
    until_issued(&daemon, 1);
    let other = preflight(&home, &["shop"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(
        stderr(&other).contains("`shop` is issued by `tls-alpn-01`"),
        "{}",
        stderr(&other)
    );
    let none = preflight(&home, &[]);
    assert_eq!(none.status.code(), Some(0));
    assert!(stdout(&none).contains("no certificate is issued by `http-01` here"));
    assert_eq!(issuance(&daemon.snapshot())["preflights"], json!([]));
}
