//! What differs between bad and good requests, and what changes, as the real daemon says it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Client, Home, wait};
use crate::origin::Origin;
use crate::terminal::Terminal;

const PATIENCE: Duration = Duration::from_secs(20);
const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

fn home(endpoints: &[String]) -> Home {
    Home::new(&format!(
        "{}[[slo]]\nid = 's'\nroute = 'r'\nsli = 'availability'\nobjective = '99.9%'\nwindow = '30d'\n\
         [[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n[proxy]\nworkers = 1\n",
        crate::daemon::one_route(endpoints)
    ))
}

#[test]
fn the_endpoint_that_fails_is_what_differs() {
    let (good, bad) = (Origin::ok(), Origin::answering(BROKEN));
    let home = home(&[good.url(), bad.url()]);
    let daemon = home.run();
    let mut client = Client::connect(daemon.address());
    for _ in 0..80 {
        client.get("/").expect("it answers");
    }
    let explained = wait("an endpoint that differs", PATIENCE, || {
        let explained = daemon.ask("GET /v1/routes/r/explanation").json();
        (explained["differs"][0]["dimension"] == "endpoint").then_some(explained)
    });
    let differs = &explained["differs"][0];
    let failing = differs["parts"][0].as_str().expect("a name");
    assert!(
        failing.contains(bad.url().trim_start_matches("http://")),
        "{differs}"
    );
    assert_eq!(differs["parts"].as_array().map(Vec::len), Some(1));
    assert_eq!(differs["there"]["good"], 0);
    assert_eq!(differs["elsewhere"]["bad"], 0);
    assert_eq!(
        (&differs["lift"], &differs["strength"]),
        (&Value::Null, &"strong".into())
    );
    let unknown = explained["unknown"].as_array().expect("a list");
    assert!(unknown.iter().any(|it| it["dimension"] == "client"));
    let nowhere = daemon.try_ask("GET /v1/routes/nowhere/explanation", &[], b"");
    assert_eq!(nowhere.expect("it answers").status, 404);

    let socket = daemon.socket().to_str().expect("a path of ours is UTF-8");
    let dir = home.path("kept");
    std::fs::create_dir(&dir).expect("the directory can be written");
    let dir = dir.to_str().expect("a path of ours is UTF-8");
    let arguments = ["top", "--connect", socket, "--evidence", dir];
    let mut terminal = Terminal::start(&arguments, &[], (120, 36));
    terminal.until_row(0, "LIVE");
    terminal.press(":explain r\r");
    terminal.until_row(1, "Explain · r");
    terminal.until_row(3, " 1 strong   endpoint ");
    terminal.until_row(3, "  only there");
    terminal.press("e");
    terminal.until_row(35, "evidence: ");
    let mut kept: Vec<String> = std::fs::read_dir(home.path("kept"))
        .expect("it is there")
        .map(|file| file.expect("it can be read").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    kept.sort();
    let endings: Vec<_> = kept
        .iter()
        .filter_map(|name| name.rsplit('.').next())
        .collect();
    assert_eq!(endings, ["json", "md", "svg"]);
    let page = std::fs::read_to_string(home.path("kept").join(&kept[1])).expect("a page");
    assert!(
        page.contains("## What differs, r") && page.contains("| endpoint |"),
        "{page}"
    );
    terminal.press("xqq");
    assert!(terminal.ended().success());
}

/// `vestibule watch`, and its lines as they come.
struct Watch {
    child: Child,
    lines: Receiver<String>,
}

impl Watch {
    fn start(home: &Home, arguments: &[&str]) -> Self {
        let mut command = home.command(&["watch"]);
        let mut child = command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program can be started");
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let (tell, lines) = mpsc::sync_channel(100);
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line that `wanted` says yes to; those before it are passed over.
    fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut passed = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if wanted(&line) => return line,
                Ok(line) => passed.push(line),
                Err(error) => panic!("waited for {what} in vain: {error}, after {passed:#?}"),
            }
        }
    }

    fn end(mut self) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has a number"), Signal::TERM).expect("it is our child");
        let ended = wait("the end of watch", PATIENCE, || {
            self.child.try_wait().expect("it is our child")
        });
        ended.code()
    }
}

#[test]
fn a_watcher_is_told_what_changes_and_nothing_else_over_a_crash_of_the_daemon() {
    let origin = Origin::ok();
    let home = home(&[origin.url()]);
    let daemon = home.run();
    let plain = Watch::start(&home, &["--plain"]);
    let json = Watch::start(&home, &["--json"]);
    let first: Value = serde_json::from_str(&json.until("how it stands", |_| true)).expect("JSON");
    assert_eq!(first["kind"], "verdict");
    let first = plain.until("how it stands", |_| true);
    let (at, said) = first.split_once(' ').expect("a time and a sentence");
    assert!(at.ends_with('Z') && !said.is_empty(), "{first}");

    assert!(home.vestibule(&["deploy", "u", "v2"]).status.success());
    plain.until("the deploy", |line| line.contains("deploy: u v2"));
    let line = json.until("the deploy", |line| line.contains("\"state\":\"deploy\""));
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&line["kind"], &line["about"]),
        (&"event".into(), &"u".into())
    );

    daemon.kill();
    plain.until("the loss", |line| line.contains("connection lost: "));
    json.until("the loss", |line| line.contains("\"state\":\"lost\""));
    let daemon = home.run();
    plain.until("the return", |line| line.contains("connected again to "));
    json.until("the return", |line| line.contains("connected again to "));
    let code = plain.end();
    let status = home.vestibule(&["status"]).status.code();
    assert_eq!(code, status, "the verdict is in the exit code");
    drop(daemon);
    json.until("the second loss", |line| {
        line.contains("\"state\":\"lost\"")
    });
    assert_eq!(json.end(), Some(69), "what it last saw is no longer so");
}

#[test]
fn nothing_to_watch_is_told_at_once() {
    let home = home(&["http://127.0.0.1:9".to_owned()]);
    let output = home.vestibule(&["watch", "--json"]);
    assert_eq!(output.status.code(), Some(69));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("no daemon answers: cannot connect to"),
        "{said}"
    );
}
