//! Journeys against a shop that keeps orders.

use std::fs;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use super::probe;
use crate::daemon::{one_route, until};
use crate::harness::{Home, PATIENCE, stderr, wait};
use crate::origin::{Conn, Origin, Then};
use crate::wire::Message;

/// What is wrong with a shop.
#[derive(Clone, Copy, PartialEq)]
enum Wrong {
    Nothing,
    Login,
    Token,
    Order,
    OtherOrder,
    Cancel,
    Hangs,
    Stalls,
}

const TOKEN: &str = "t0k\\\"en-that-nobody-may-see";

fn shop(wrong: Wrong) -> Origin {
    Origin::start(move |request: &Message, conn: &mut Conn| {
        let (method, _) = request.first_line.split_once(' ').unwrap_or_default();
        let (head, body) = match (method, request.target()) {
            ("POST", "/login") if wrong == Wrong::Login => ("500 Oh", String::new()),
            ("POST", "/login") if wrong == Wrong::Token => ("200 OK", "{}".to_owned()),
            ("POST", "/login") => (
                "200 OK\r\nset-cookie: sid=s1; Path=/; HttpOnly",
                format!("{{\"token\":\"{TOKEN}\"}}"),
            ),
            ("POST", "/orders") if wrong == Wrong::Order => ("409 No", String::new()),
            ("POST", "/orders") => ("201 Made\r\nlocation: /orders/o-7", String::new()),
            ("GET", "/orders/o-7") if wrong == Wrong::Hangs => {
                // Nobody is told anything until they go.
                conn.drain();
                return Then::Close;
            }
            ("GET", "/orders/o-7") if wrong == Wrong::Stalls => {
                conn.send("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"id\":");
                conn.drain();
                return Then::Close;
            }
            ("GET", "/orders/o-7") => {
                let id = if wrong == Wrong::OtherOrder {
                    "o-8"
                } else {
                    "o-7"
                };
                ("200 OK", format!("{{\"id\":\"{id}\"}}"))
            }
            ("DELETE", "/orders/o-7") if wrong == Wrong::Cancel => ("500 Oh", String::new()),
            ("DELETE", "/orders/o-7") => ("204 Gone", String::new()),
            _ => ("404 What", String::new()),
        };
        let length = body.len();
        conn.send(format!(
            "HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        Then::KeepOpen
    })
}

fn lines(shop: &Origin) -> Vec<String> {
    let line = |request: Message| {
        let line = request.first_line;
        line.trim_end_matches(" HTTP/1.1").to_owned()
    };
    shop.requests().into_iter().map(line).collect()
}

#[test]
fn a_journey_fails_with_its_first_step_and_cleans_up_in_any_case() {
    let (login, order) = ("POST /login", "POST /orders");
    let (see, cancel) = ("GET /orders/o-7", "DELETE /orders/o-7");
    for (wrong, reason, step, requests) in [
        (Wrong::Nothing, "ok", "", &[login, order, see, cancel][..]),
        (Wrong::Login, "http_status", "log-in", &[login]),
        (Wrong::Token, "assert_capture", "log-in", &[login]),
        (Wrong::Order, "http_status", "order", &[login, order]),
        (
            Wrong::OtherOrder,
            "assert_json",
            "see-it",
            &[login, order, see, cancel],
        ),
        (
            Wrong::Cancel,
            "http_status",
            "cancel",
            &[login, order, see, cancel],
        ),
        (
            Wrong::Hangs,
            "http_timeout_headers",
            "see-it",
            &[login, order, see, cancel],
        ),
        (
            Wrong::Stalls,
            "http_timeout_body",
            "see-it",
            &[login, order, see, cancel],
        ),
    ] {
        let shop = shop(wrong);
        let (found, all) = probe("shop-order", &[("SHOP", shop.url())]);
        assert_eq!(found, reason, "{all}");
        let detail = all["detail"].as_str().expect("a detail");
        assert!(
            step.is_empty() || detail.starts_with(&format!("step {step}: ")),
            "{all}"
        );
        shop.until_requests(requests.len());
        assert_eq!(lines(&shop), requests);
        assert!(!all.to_string().contains("nobody-may-see"), "{all}");
        // Left out is what had nothing to clean up after.
        let steps = all["steps"].as_array().expect("steps");
        let last = steps.last().expect("a step");
        assert_eq!(last["name"], "cancel");
        assert_eq!(
            last["duration_us"].is_null(),
            !requests.contains(&cancel),
            "{all}"
        );
        for request in shop.requests().iter().skip(1) {
            assert_eq!(request.header("cookie"), Some("sid=s1"));
            assert_eq!(
                request.header("authorization"),
                Some("Bearer t0k\"en-that-nobody-may-see")
            );
        }
    }
}

/// A journey whose second step is never answered.
fn home(shop: &Origin) -> Home {
    let home = Home::new(&format!(
        "proxy.workers = 1\nprobes.dir = 'synthetic'\n{}\
         [[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n",
        one_route(&[shop.url()])
    ));
    fs::create_dir(home.path("synthetic")).expect("made");
    let file = format!(
        "[[probe]]\nname = 'a'\ntarget = '{}'\nevery = '1m'\ntimeout = '100s'\n\
         [[probe.step]]\nname = 'make'\ntarget = '/orders'\nmethod = 'POST'\nexpect.status = ['201']\n\
         [[probe.step.capture]]\nname = 'url'\nheader = 'location'\n\
         [[probe.step]]\nname = 'unmake'\ncleanup = true\nmethod = 'DELETE'\ntarget = '{{{{url}}}}'\n\
         [[probe.step]]\nname = 'wait'\ntarget = '{{{{url}}}}'\n",
        shop.url()
    );
    fs::write(home.path("synthetic/a.toml"), file.replace("'1m'", "'1s'")).expect("written");
    home
}

fn is_cancelled(shop: &Origin) -> bool {
    lines(shop).contains(&"DELETE /orders/o-7".to_owned())
}

#[test]
fn a_daemon_that_stops_cleans_up_after_journeys_under_way() {
    let shop = shop(Wrong::Hangs);
    let home = home(&shop);
    let daemon = home.run();
    until("a journey to be under way", || {
        (shop.counted() + shop.connections() >= 2
            && lines(&shop).contains(&"POST /orders".to_owned()))
        .then_some(())
    });
    wait("the step that hangs", PATIENCE, || {
        (shop.connections() >= 2).then_some(())
    });
    assert!(!is_cancelled(&shop));
    assert!(daemon.stop().success());
    assert!(is_cancelled(&shop), "{:?}", lines(&shop));
}

#[test]
fn an_interrupted_run_cleans_up_and_says_so() {
    let shop = shop(Wrong::Hangs);
    let home = home(&shop);
    let mut command = home.command(&["probe", "run", "a", "--json", "--dir", "synthetic"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    wait("the step that hangs", PATIENCE, || {
        (shop.connections() >= 2).then_some(())
    });
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).expect("it is there");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("interrupted after 0 of 1 probes"), "{said}");
    assert!(is_cancelled(&shop), "{:?}", lines(&shop));
}

#[test]
fn what_a_step_needs_must_have_been_captured() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("a.toml");
    let text = "[[probe]]\nname = 'a'\ntarget = 'http://127.0.0.1:1/'\nexpect.status = ['200']\n\
                [[probe.step]]\nname = 'one'\ntarget = '/{{ordr}}'\n\
                [[probe.step.capture]]\nname = 'order'\njson = '$.id'\n\
                [[probe.step]]\nname = 'one'\ntarget = '/{{ordr}}'\nbody = '{{order}}'\n";
    fs::write(&file, text).expect("written");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(["probe", "run"])
        .arg(&file)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(78), "{said}");
    for words in [
        "this goes into a step",
        "no earlier step captures `ordr`",
        "did you mean `{{order}}`?",
        "another step of this journey is called `one`",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_file_of_hurl_is_imported_and_run() {
    let shop = shop(Wrong::Nothing);
    let home = home(&shop);
    let text = "POST {{shop}}/login\n{\"user\": \"probe\"}\nHTTP 200\n[Captures]\ntoken: jsonpath \"$.token\"\n\n\
                POST {{shop}}/orders\nAuthorization: Bearer {{token}}\nHTTP 201\n[Captures]\n\
                order: header \"Location\" regex \"([^/]+)$\"\n\n\
                GET {{shop}}/orders/{{order}}\nHTTP 200\n[Asserts]\njsonpath \"$.id\" == \"{{order}}\"\n\
                jsonpath \"$.lines\" not exists\nduration < 5000\n";
    fs::write(home.path("order.hurl"), text).expect("written");
    let imported = home.vestibule(&["probe", "import", "order.hurl", "--output", "order.toml"]);
    assert_eq!(imported.status.code(), Some(0), "{}", stderr(&imported));
    let run = home
        .command(&["probe", "run", "order.toml", "--json"])
        .env("shop", shop.url())
        .output()
        .expect("it runs");
    assert_eq!(
        run.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&run.stdout)
    );
    assert_eq!(
        lines(&shop),
        ["POST /login", "POST /orders", "GET /orders/o-7"]
    );
}
