//! Which route takes a request, live and explained: the two must never differ.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::client::Client;
use crate::daemon::Daemon;
use crate::origin::{Conn, Origin, Then};
use crate::wire::Message;

/// Answers with the request's target.
fn echo_target(request: &Message, conn: &mut Conn) -> Then {
    let target = request.target();
    let length = target.len();
    conn.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{target}"
    ));
    Then::KeepOpen
}

/// Runs the program beside the daemon, with `input`; what it printed.
fn vestibule(daemon: &Daemon, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(arguments)
        .current_dir(daemon.dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it is read");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8(output.stdout).expect("it prints text")
}

#[test]
fn conditions_expressions_and_listeners_choose_the_route() {
    let origin = Origin::start(echo_target);
    let daemon = Daemon::start(&format!(
        "[[listener]]\nname = 'inner'\naddress = '127.0.0.1:0'\n\
         [[upstream]]\nname = 'u'\nendpoints = ['{}']\n\
         [[route]]\nid = 'any'\nupstream = 'u'\n\
         [[route]]\nid = 'canary'\nupstream = 'u'\nheaders = ['x-canary: always']\n\
         [[route]]\nid = 'v2'\nupstream = 'u'\nquery = ['version=2']\n\
         [[route]]\nid = 'user'\nupstream = 'u'\npath_regex = '/users/[0-9]+'\n\
         [[route]]\nid = 'admin'\nupstream = 'u'\npath = '/admin'\nlisteners = ['inner']\n",
        origin.url(),
    ));
    let mut expected = Vec::new();
    for (listener, target, more, route) in [
        ("http", "/x", "", "any"),
        ("http", "/x", "x-canary: always\r\n", "canary"),
        ("http", "/x?version=2", "x-canary: always\r\n", "canary"),
        ("http", "/x", "x-canary: never\r\n", "any"),
        (
            "http",
            "/x",
            "x-canary: always\r\nx-canary: never\r\n",
            "any",
        ),
        ("http", "/x?version=2", "", "v2"),
        ("http", "/x?ver%73ion=%32", "", "v2"),
        ("http", "/x?version=1&version=2", "", "any"),
        ("http", "/users/17", "", "user"),
        ("http", "/users/17/x", "", "any"),
        ("http", "/users/x", "", "any"),
        ("inner", "/admin/x", "", "admin"),
        ("http", "/admin/x", "", "any"),
        ("inner", "/x", "", "any"),
    ] {
        let mut client = Client::connect(daemon.listener(listener));
        client.send(format!(
            "GET {target} HTTP/1.1\r\nhost: a.test\r\n{more}\r\n"
        ));
        let answer = client.response();
        assert_eq!((answer.status(), &*answer.text()), (200, target));
        expected.push(route);
    }
    let lines = daemon.lines(expected.len());
    let routes: Vec<&str> = lines
        .iter()
        .map(|line| line["route"].as_str().expect("a text"))
        .collect();
    assert_eq!(routes, expected);
}

#[test]
fn an_encoded_separator_is_refused_reported_or_kept_as_the_route_says() {
    let origin = Origin::start(echo_target);
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'u'\nendpoints = ['{}']\n\
         [[route]]\nid = 'refuse'\nupstream = 'u'\n\
         [[route]]\nid = 'report'\nupstream = 'u'\npath = '/report'\nencoded = 'report'\n\
         [[route]]\nid = 'keep'\nupstream = 'u'\npath = '/keep'\nencoded = 'keep'\n",
        origin.url(),
    ));
    for (target, status, forwarded) in [
        ("/a%2fb", 400, ""),
        ("/keep%2fb", 400, ""),
        ("/keep/..%2f..%2fb", 200, "/keep/..%2F..%2Fb"),
        ("/keep/%2e%2e/b%2f", 400, ""),
        ("/keep/a%5c%3f%23%3b", 200, "/keep/a%5C%3F%23%3B"),
        ("/report/a%2fb", 200, "/report/a%2Fb"),
        ("/report/a%2Fb", 200, "/report/a%2Fb"),
    ] {
        let mut client = Client::connect(daemon.address());
        client.send(format!("GET {target} HTTP/1.1\r\nhost: a.test\r\n\r\n"));
        let answer = client.response();
        assert_eq!(answer.status(), status, "{target}");
        if status == 200 {
            assert_eq!(answer.text(), forwarded);
        }
    }
    let metrics = daemon.counted(&[
        ("refuse downstream/request_invalid", 3),
        ("report good", 2),
        ("keep good", 2),
    ]);
    let counted = |result| metrics.sum("vestibule_encoded_separators_total", &[("result", result)]);
    assert_eq!((counted("refused"), counted("reported")), (3, 2));
}

/// A generator that gives the same numbers every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

const HOSTS: [&str; 6] = ["a.test", "b.a.test", "*.a.test", "*.test", "c.b.a.test", ""];
const PATHS: [&str; 9] = [
    "path = '/'",
    "path = '/x'",
    "path = '/x/y'",
    "path_exact = '/x'",
    "path_exact = '/x/y/'",
    "path_regex = '/x/[a-z]+'",
    "path_regex = '/.*'",
    "path_regex = '/x/.*%2F.*'",
    "path = '/x/y/z'",
];
const CONDITIONS: [&str; 7] = [
    "methods = ['GET']",
    "methods = ['POST', 'PUT']",
    "headers = ['x-a: 1']",
    "headers = ['x-a', 'x-b ~ [0-9]']",
    "query = ['v=1']",
    "query = ['v', 'w ~ .']",
    "listeners = ['inner']",
];
const PIECES: [&str; 12] = [
    "/x", "/y", "/z", "/", "//", "/.", "/..", "/%78", "%2f", "/%2e%2e", "/q;r", "/%C3%a9",
];

#[test]
fn explain_and_the_data_plane_agree_on_random_tables_and_requests() {
    let origin = Origin::start(echo_target);
    let mut chance = Chance(7);
    for round in 0..4 {
        let mut config = format!(
            "[[listener]]\nname = 'inner'\naddress = '127.0.0.1:0'\n\
             [[upstream]]\nname = 'u'\nendpoints = ['{}']\n",
            origin.url()
        );
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 12 {
            let host = chance.one_of(&HOSTS);
            let host = if host.is_empty() {
                String::new()
            } else {
                format!("hosts = ['{host}']\n")
            };
            let (path, condition) = (chance.one_of(&PATHS), chance.one_of(&CONDITIONS));
            let condition = if chance.below(3) == 0 { condition } else { "" };
            let encoded = chance.one_of(&["refuse", "report", "keep"]);
            // Two routes that ask for exactly the same are refused.
            if seen.insert(format!("{host}{path}{condition}")) {
                write!(
                    config,
                    "[[route]]\nid = 'r{}'\nupstream = 'u'\n{host}{path}\n{condition}\nencoded = '{encoded}'\n",
                    seen.len()
                )
                .expect("writing to a string cannot fail");
            }
        }
        let daemon = Daemon::start(&config);
        for listener in ["http", "inner"] {
            let before = daemon.access_log().len();
            let mut asked = String::new();
            let mut answers = Vec::new();
            for _ in 0..150 {
                let host = chance.one_of(&[
                    "a.test",
                    "b.a.test",
                    "C.b.A.test.",
                    "q.test",
                    "test",
                    "a_b.q",
                ]);
                let pieces = 1 + chance.below(4);
                let path: String = (0..pieces).map(|_| chance.one_of(&PIECES)).collect();
                let path = if path.starts_with('/') {
                    path
                } else {
                    format!("/{path}")
                };
                let query = chance.one_of(&["", "?v=1", "?v=2&w=1", "?w", "?%76=1&v=2"]);
                let method = chance.one_of(&["GET", "POST", "DELETE"]);
                let headers = chance.one_of(&["", "x-a: 1", "x-a: 2", "x-b: 7"]);
                let second = if headers == "x-b: 7" { "x-a: 1" } else { "" };
                let lines: Vec<&str> = [headers, second]
                    .into_iter()
                    .filter(|it| !it.is_empty())
                    .collect();
                write!(asked, "{method} http://{host}{path}{query}").expect("it is a string");
                let mut request = format!(
                    "{method} {path}{query} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n"
                );
                for line in lines {
                    write!(asked, " -H '{line}'").expect("it is a string");
                    write!(request, "{line}\r\n").expect("it is a string");
                }
                asked.push('\n');
                let mut client = Client::connect(daemon.listener(listener));
                client.send(request + "\r\n");
                let answer = client.response();
                answers.push((answer.status(), answer.text()));
            }
            let file = "vestibule.toml";
            let explain = [
                "explain",
                "--urls",
                "-",
                "--json",
                "--config",
                file,
                "--listener",
                listener,
            ];
            let explained = vestibule(&daemon, &explain, &asked);
            let log = daemon.lines(before + answers.len());
            assert_eq!(explained.lines().count(), answers.len());
            let mut taken = 0;
            for (((asked, line), (status, text)), logged) in asked
                .lines()
                .zip(explained.lines())
                .zip(&answers)
                .zip(&log[before..])
            {
                let explained: Value = serde_json::from_str(line).expect("it is JSON");
                let route = explained["route"].as_str().unwrap_or("none");
                assert_eq!(logged["route"], route, "round {round}: {asked}\n{config}");
                let refused = explained["refused"]["status"].as_u64();
                assert_eq!(
                    u64::from(*status),
                    refused.unwrap_or(200),
                    "{asked}\n{line}"
                );
                if refused.is_none() {
                    taken += 1;
                    let query = explained["query"].as_str().map(|query| format!("?{query}"));
                    let path = explained["path"].as_str().expect("a text");
                    assert_eq!(
                        *text,
                        format!("{path}{}", query.unwrap_or_default()),
                        "{asked}"
                    );
                }
            }
            assert!(
                taken > 20,
                "{taken} of {} requests were taken",
                answers.len()
            );
        }
    }
}

#[test]
fn explain_says_why_and_its_exit_code_whether() {
    let origin = Origin::ok();
    let daemon = Daemon::routing(&[origin.url()], "path = '/in'\nmethods = ['GET']");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .arg("explain")
            .args(arguments)
            .current_dir(daemon.dir())
            .output()
            .expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    };
    let (code, text) = run(&["http://a.test/in/x"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("r                    wins: every host /in/* GET"),
        "{text}"
    );
    let (code, text) = run(&["POST", "http://a.test/in"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("misses at method: POST is not GET"), "{text}");
    assert!(text.contains("404: no route takes it"), "{text}");
    let (code, text) = run(&["--json", "http://a.test/in/../../x"]);
    let json: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(code, Some(1));
    assert_eq!(json["refused"]["status"], 400);
    assert_eq!(json["refused"]["fault"], "request_invalid");
    assert_eq!(run(&["a.test/x"]).0, Some(64));
    assert_eq!(run(&[]).0, Some(64));
    assert_eq!(run(&["http://a/", "--config", "nothing.toml"]).0, Some(78));
}

#[test]
fn check_says_what_it_found_in_the_form_that_is_asked_for_and_its_exit_code_how_bad_it_is() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = "[[listener]]\nname = 'http'\naddress = '127.0.0.1:8080'\n\
         [[upstream]]\nname = 'u'\nendpoints = ['http://10.0.0.1']\n\
         [[route]]\nid = 'wide'\nupstream = 'u'\nhosts = ['a.test']\npath_regex = '/<?[a-z]*'\n\
         [[route]]\nid = 'narrow'\nupstream = 'u'\nhosts = ['a.test']\npath = '/'\nheaders = ['x: 1', 'x: 2']\n";
    std::fs::write(dir.path().join("vestibule.toml"), config).expect("it can be written");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .arg("check")
            .args(arguments)
            .current_dir(dir.path())
            .output()
            .expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    };
    assert_eq!(run(&[]).0, Some(0));
    assert_eq!(run(&["--fail-on", "warning"]).0, Some(1));
    assert_eq!(run(&["--fail-on", "never"]).0, Some(0));
    let (code, text) = run(&["--json"]);
    let json: Value = serde_json::from_str(&text).expect("it is JSON");
    let found = json["diagnostics"].as_array().expect("a list");
    let doubled = found
        .iter()
        .find(|it| it["code"] == "R018")
        .expect("it is found");
    assert_eq!((code, doubled["line"].as_u64()), (Some(0), Some(17)));
    assert_eq!(doubled["severity"], "warning");

    let (_, text) = run(&["--format", "sarif"]);
    let sarif: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(sarif["version"], "2.1.0");
    let run_of = &sarif["runs"][0];
    let results = run_of["results"].as_array().expect("a list");
    assert_eq!(results.len(), found.len());
    let rules: Vec<&str> = run_of["tool"]["driver"]["rules"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|rule| rule["id"].as_str())
        .collect();
    for result in results {
        assert!(rules.contains(&result["ruleId"].as_str().expect("an id")));
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "vestibule.toml");
        assert!(place["region"]["startLine"].as_u64().is_some());
    }

    let (code, text) = run(&["--format", "junit", "--fail-on", "warning"]);
    assert_eq!(code, Some(1));
    let cases = text.matches("<testcase ").count();
    assert_eq!(cases, found.len());
    let failures = found.iter().filter(|it| it["severity"] != "note").count();
    assert!(
        text.contains(&format!("tests=\"{cases}\" failures=\"{failures}\"")),
        "{text}"
    );
    assert_eq!(text.matches("<failure ").count(), failures);
}

#[test]
fn diff_names_the_requests_that_are_treated_differently() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = |api: &str| {
        format!(
            "[[listener]]\nname = 'http'\naddress = '127.0.0.1:8080'\n\
             [[upstream]]\nname = 'u'\nendpoints = ['http://10.0.0.1']\n\
             [[upstream]]\nname = 'v'\nendpoints = ['http://10.0.0.2']\n\
             [[route]]\nid = 'web'\nupstream = 'u'\nhosts = ['a.test']\n\
             [[route]]\nid = 'api'\nupstream = 'v'\nhosts = ['a.test']\n{api}\n"
        )
    };
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).expect("it can be written");
    };
    write("old.toml", &config("path = '/api'"));
    write(
        "same.toml",
        &format!("# moved about\n{}", config("path = '/api/'")),
    );
    write("moved.toml", &config("path = '/api/v2'"));
    write(
        "slower.toml",
        &config("path = '/api'\ntimeouts = { first_byte = '1s' }"),
    );
    write("urls", "http://a.test/x\nPOST http://a.test/api/v1\n");
    write(
        "access.jsonl",
        "{\"method\":\"GET\",\"scheme\":\"http\",\"host\":\"a.test\",\"path\":\"/api/v1\",\"status\":200}\n",
    );
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["diff", "--json", "old.toml"])
            .args(arguments)
            .current_dir(dir.path())
            .output()
            .expect("the program starts");
        let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), json)
    };
    let (code, json) = run(&["same.toml"]);
    assert_eq!(
        (code, json["changes"].as_array().map(Vec::len)),
        (Some(0), Some(0))
    );
    assert!(json["requests"].as_u64().is_some_and(|count| count >= 6));
    let (code, json) = run(&["moved.toml"]);
    assert_eq!(code, Some(1));
    let changes = json["changes"].as_array().expect("a list");
    let asked = |request: &str| changes.iter().find(|it| it["request"] == request);
    let change = asked("GET http://a.test/api/any").expect("it changes");
    assert_eq!(change["changes"][0]["what"], "route");
    assert_eq!(
        (&change["old"]["route"], &change["new"]["route"]),
        (&"api".into(), &"web".into())
    );
    assert!(asked("GET http://a.test/api/v2/any").is_none());
    let (code, json) = run(&["slower.toml"]);
    assert_eq!(code, Some(1));
    assert_eq!(json["changes"][0]["changes"][0]["what"], "first byte");
    let (code, json) = run(&["moved.toml", "--urls", "urls"]);
    assert_eq!((code, json["requests"].as_u64()), (Some(1), Some(2)));
    assert_eq!(json["changes"][0]["request"], "POST http://a.test/api/v1");
    assert_eq!(run(&["moved.toml", "--urls", "access.jsonl"]).0, Some(1));
    assert_eq!(run(&["same.toml", "--urls", "access.jsonl"]).0, Some(0));
    assert_eq!(run(&["nothing.toml"]).0, Some(78));
}
