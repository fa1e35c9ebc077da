//! `vestibule top` against a daemon that can be taken away.

#[path = "../screens/fixture.rs"]
mod fixture;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use vestibule::snapshot::Snapshot;

use crate::terminal::{Terminal, line};

const WIDE: (u16, u16) = (120, 36);

#[test]
fn an_operator_watches_filters_opens_loses_the_daemon_and_gets_it_back() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("v.sock");
    let daemon = Daemon::start(&socket, fixture::incident());
    let mut terminal = top(&socket, &[], WIDE);

    // The verdict stands in its place.
    terminal.until_row(1, "■ CRIT  1/2  UPSTREAM, not edge   checkout   61.3% bad");
    terminal.until_row(2, "  changed  D 14:02:05 deploy checkout 3be01 → 4f9c2");
    terminal.until_row(0, "LIVE 14:12:3");
    terminal.assert_taken();

    terminal.press("/is:warn");
    terminal.until_row(35, "1 of 8");
    terminal.until_row(14, " ▸ ▲ WARN  cart");
    terminal.press("\r");
    terminal.until_row(12, "filter is:warn");

    terminal.press("\r");
    terminal.until_row(5, "Routes › cart");
    terminal.press("q");
    terminal.until_row(12, "Routes by budget impact");

    daemon.stop();
    terminal.until_row(0, "◌ STALE");
    // First that it hung up, then that the socket is gone.
    terminal.until_row(0, "cannot connect to ");
    terminal.until_row(1, "■ CRIT");

    let mut changed = fixture::incident();
    changed.instance = "back-again".to_owned();
    let daemon = Daemon::start(&socket, changed);
    // Does not wait for the next attempt.
    terminal.press("R");
    terminal.until_row(0, "back-again");
    terminal.until_row(0, "LIVE");

    terminal.press("q");
    assert!(terminal.ended().success());
    terminal.assert_restored();
    daemon.stop();
}

/// A real daemon that is stopped, goes on, is killed and comes back, watched on each screen.
#[test]
fn every_screen_says_how_old_its_data_is_and_comes_back_by_itself() {
    let origin = crate::origin::Origin::ok();
    let config = format!(
        "{}[[slo]]\nid = 's'\nroute = 'r'\nsli = 'availability'\nobjective = '99.9%'\nwindow = '30d'\n",
        crate::daemon::one_route(&[origin.url()])
    );
    let daemon = crate::daemon::Daemon::start(&config);
    let socket = daemon.socket();
    let mut terminal = top(&socket, &[], WIDE);
    terminal.until_row(0, "LIVE");
    terminal.press("3");
    // The history answers, though nothing was spent of this budget yet.
    terminal.until("an answer from the history", |screen| {
        screen
            .contents()
            .contains("nothing: not one bad event in the window")
    });
    // Of the minute that is still being counted nothing is stored, and that is said.
    terminal.press("[");
    terminal.until_row(0, "◂ PAST");
    terminal.until_row(0, "the history");
    terminal.press("L");
    terminal.until_row(0, "LIVE");

    daemon.signal(Signal::STOP);
    for digit in ["1", "2", "3", "4", "5", "6", "7", "8", "0"] {
        terminal.press(digit);
        terminal.until_row(4, &format!("[{digit} "));
        terminal.until_row(0, "◌ STALE");
        terminal.until_row(0, "nothing new from the daemon");
    }
    daemon.signal(Signal::CONT);
    terminal.until_row(0, "LIVE");

    drop(daemon);
    terminal.until_row(0, "◌ STALE");
    terminal.until_row(0, "Try ");
    terminal.press("q");
    terminal.press("q");
    assert!(terminal.ended().success());
    terminal.assert_restored();
}

#[test]
fn the_terminal_is_given_back_when_the_program_is_told_to_end() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("v.sock");
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        // Without any daemon: the screen is taken all the same.
        let mut terminal = top(&socket, &[], (80, 24));
        terminal.until_row(2, "✕ DOWN");
        terminal.assert_taken();
        kill_process(terminal.process(), signal).unwrap();
        assert!(terminal.ended().success(), "{signal:?}");
        terminal.assert_restored();
    }
}

#[test]
fn another_size_is_another_layout() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("v.sock");
    let daemon = Daemon::start(&socket, fixture::incident());
    let mut terminal = top(&socket, &[], WIDE);
    terminal.until_row(35, "Enter open");
    terminal.resize(80, 24);
    terminal.until_row(23, "Enter open");
    terminal.until_row(2, "  since 14:02:40");
    terminal.resize(40, 10);
    terminal.until_row(0, "■ CRIT 1/2 UPSTREAM, not edge  14:12:3");
    terminal.press("q");
    assert!(terminal.ended().success());
    daemon.stop();
}

#[test]
fn ctrl_z_with_no_shell_to_wait_and_a_stop_from_outside_leave_it_working() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("v.sock");
    let daemon = Daemon::start(&socket, fixture::incident());
    let mut terminal = top(&socket, &[], WIDE);
    terminal.until_row(1, "■ CRIT");
    // The program leads its session, so the system ignores the stop.
    terminal.press("\u{1a}?");
    terminal.until_row(1, "Help");
    terminal.assert_taken();
    kill_process(terminal.process(), Signal::STOP).unwrap();
    kill_process(terminal.process(), Signal::CONT).unwrap();
    terminal.press("?");
    terminal.until_row(1, "■ CRIT");
    terminal.assert_taken();
    terminal.press("q");
    assert!(terminal.ended().success());
    terminal.assert_restored();
    daemon.stop();
}

#[test]
fn no_color_keeps_weight_and_reverse_and_drops_every_colour() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("v.sock");
    let daemon = Daemon::start(&socket, fixture::incident());
    for (variables, coloured) in [(&[("NO_COLOR", "1")][..], false), (&[][..], true)] {
        let mut terminal = top(&socket, variables, WIDE);
        terminal.until_row(14, "■ CRIT");
        let (reversed, bold, any_colour) = terminal.look(|screen| {
            let (rows, columns) = screen.size();
            let mut cells = (0..rows.get())
                .flat_map(|row| (0..columns.get()).map(move |column| (row, column)))
                .filter_map(|(row, column)| screen.cell(row, column));
            let any_colour = cells.any(|cell| {
                cell.fgcolor() != vt100::Color::Default || cell.bgcolor() != vt100::Color::Default
            });
            let badge = screen.cell(1, 2);
            let selected = screen.cell(14, 12);
            (
                badge.is_some_and(vt100::Cell::inverse),
                selected.is_some_and(vt100::Cell::bold),
                any_colour,
            )
        });
        assert_eq!(any_colour, coloured);
        assert_eq!(
            reversed, !coloured,
            "the badge is reversed when it has no colour"
        );
        assert!(bold, "the selected row is bold");
        terminal.press("q");
        assert!(terminal.ended().success());
    }
    daemon.stop();
}

#[test]
fn a_line_over_tcp_does_as_well() {
    let runtime = runtime();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0)))
        .unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        runtime.block_on(async {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream, fixture::all_well()).await;
        });
    });
    let mut terminal = Terminal::start(&["top", "--connect", &url, "--ascii"], &[], WIDE);
    terminal.until_row(1, "OK  All 3 SLOs within budget.");
    let ascii = terminal.look(|screen| (0..36).all(|row| line(screen, row).is_ascii()));
    assert!(ascii);
    terminal.press("\u{3}");
    assert!(terminal.ended().success());
    serving.join().unwrap();
}

#[test]
fn without_a_terminal_it_says_what_to_use_instead() {
    let output = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(["top", "--connect", "/nowhere"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("`vestibule status`"), "{said}");

    let mut terminal = Terminal::start(
        &["top", "--connect", "/nowhere"],
        &[("TERM", "dumb")],
        (80, 24),
    );
    terminal.until_row(0, "TERM=dumb");
    assert!(!terminal.ended().success());
    terminal.assert_restored();
}

fn top(socket: &Path, variables: &[(&str, &str)], size: (u16, u16)) -> Terminal {
    let socket = socket.to_str().expect("a path of ours is UTF-8");
    Terminal::start(&["top", "--connect", socket], variables, size)
}

/// The part of a daemon that `top` sees: `GET /v1/stream` on a unix socket.
struct Daemon {
    socket: PathBuf,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Daemon {
    fn start(socket: &Path, snapshot: Snapshot) -> Self {
        let runtime = runtime();
        let listener = {
            let _entered = runtime.enter();
            UnixListener::bind(socket).expect("the socket is free")
        };
        let (stop, stopped) = oneshot::channel();
        let serving = thread::spawn(move || {
            runtime.block_on(async {
                let accepting = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(serve(stream, snapshot.clone()));
                    }
                };
                tokio::select! {
                    () = accepting => {}
                    _ = stopped => {}
                }
            });
            // The runtime goes, and with it every connection.
        });
        Self {
            socket: socket.to_owned(),
            stop,
            serving,
        }
    }

    /// Ends it as a killed process would: every connection closes in the middle of its answer.
    fn stop(self) {
        drop(self.stop);
        self.serving.join().expect("it serves without panic");
        std::fs::remove_file(self.socket).expect("the socket was there");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system gives a runtime")
}

/// Answers one request with snapshots until the client leaves.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, first: Snapshot) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    assert!(request.starts_with(b"GET /v1/stream HTTP/1.1\r\n"));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    for second in 0.. {
        seconds.tick().await;
        let snapshot = fixture::later(&first, Duration::from_secs(second));
        let mut line = serde_json::to_vec(&snapshot).expect("a snapshot can be written");
        line.push(b'\n');
        let mut chunk = format!("{:x}\r\n", line.len()).into_bytes();
        chunk.extend(line);
        chunk.extend(b"\r\n");
        if stream.write_all(&chunk).await.is_err() {
            return;
        }
    }
}
