//! A daemon in a directory of its own, and plain clients to it.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::metrics::Metrics;

/// How long anything is waited for: long, since the machine may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks: only so that looking does not take the processor from what is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Looks until there is something to see.
///
/// # Panics
/// When there is nothing within `patience`.
pub(crate) fn wait<T>(what: &str, patience: Duration, look: impl FnMut() -> Option<T>) -> T {
    try_wait(patience, look).unwrap_or_else(|| panic!("waited {patience:?} in vain for {what}"))
}

/// The same; `None` when there is nothing within `patience`.
pub(crate) fn try_wait<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if began.elapsed() >= patience {
            return None;
        }
        thread::sleep(LOOK);
    }
}

/// Says that a test cannot be done here. Where everything must be there, it fails instead.
pub(crate) fn skip(why: &str) {
    assert!(
        std::env::var_os("VESTIBULE_CI").is_none_or(|value| value != "1"),
        "this must not be skipped here: {why}"
    );
    let mut err = io::stderr();
    drop(writeln!(err, "SKIPPED: {why}"));
}

/// Where `.ci/peers` puts what it fetches; `None` when it was not run.
pub(crate) fn fetched(program: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/peers")
        .join(program);
    path.exists().then_some(path)
}

/// A directory with a configuration and a state.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    pub(crate) fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        Self::in_dir(dir, config)
    }

    /// The same in a directory that holds the configuration's other files already.
    pub(crate) fn in_dir(dir: TempDir, config: &str) -> Self {
        let home = Self { dir };
        home.configure(config);
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("vestibule-state")
    }

    /// Writes the configuration, which a running daemon does not notice.
    pub(crate) fn configure(&self, config: &str) {
        fs::write(self.path("vestibule.toml"), config).expect("the directory can be written");
    }

    /// The program with `arguments`, in this directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env_remove("VESTIBULE_CONNECT")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn vestibule(&self, arguments: &[&str]) -> Output {
        self.command(arguments)
            .output()
            .expect("the program can be started")
    }

    /// Starts a daemon by the configuration, and waits until it serves.
    pub(crate) fn run(&self) -> Daemon {
        self.run_with(&[], &self.state().join("vestibule.sock"))
    }

    /// The same with more arguments and a socket elsewhere.
    pub(crate) fn run_with(&self, more: &[&str], socket: &Path) -> Daemon {
        self.start_with(more, socket).ready()
    }

    /// The same without waiting for anything.
    pub(crate) fn start_with(&self, more: &[&str], socket: &Path) -> Daemon {
        let mut arguments = vec!["run"];
        arguments.extend(more);
        self.spawn(self.command(&arguments), socket)
    }

    /// As [`Home::run`] by a command of one's own.
    pub(crate) fn run_command(&self, command: Command) -> Daemon {
        self.spawn(command, &self.state().join("vestibule.sock"))
            .ready()
    }

    /// As [`Home::run`], by way of a shell that does `script` before it becomes the daemon.
    pub(crate) fn run_in_shell(&self, script: &str) -> Daemon {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script, env!("CARGO_BIN_EXE_vestibule"), "run"])
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        self.spawn(command, &self.state().join("vestibule.sock"))
            .ready()
    }

    fn spawn(&self, mut command: Command, socket: &Path) -> Daemon {
        let log = self.path("log");
        let err = File::options().create(true).append(true).open(&log);
        let child = command
            .stdout(Stdio::null())
            .stderr(err.expect("the directory can be written"))
            .spawn()
            .expect("the program can be started");
        Daemon {
            child,
            socket: socket.to_owned(),
            log,
        }
    }
}

/// A running daemon; killed when the test is over, however that comes.
pub(crate) struct Daemon {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Daemon {
    fn ready(mut self) -> Self {
        wait("the daemon to serve", PATIENCE, || {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                panic!("it ended with {status}: {}", self.log());
            }
            let ready = self.try_ask("GET /readyz", &[], b"").ok()?;
            (ready.status == 200).then_some(())
        });
        self
    }

    /// What it wrote to standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where it listens under `name`.
    pub(crate) fn listener(&self, name: &str) -> Option<SocketAddr> {
        let snapshot = self.snapshot();
        let listeners = snapshot["listeners"].as_array()?;
        let listener = listeners.iter().find(|listener| listener["name"] == name)?;
        listener["address"].as_str()?.parse().ok()
    }

    /// Where it listens first.
    pub(crate) fn address(&self) -> SocketAddr {
        let snapshot = self.snapshot();
        snapshot["listeners"][0]["address"]
            .as_str()
            .and_then(|address| address.parse().ok())
            .expect("a listener has an address")
    }

    /// Asks the admin API over its socket; `line` is method and path.
    pub(crate) fn try_ask(&self, line: &str, headers: &[&str], body: &[u8]) -> io::Result<Answer> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Client::over(stream).ask(line, headers, body)
    }

    pub(crate) fn ask(&self, line: &str) -> Answer {
        self.try_ask(line, &[], b"").expect("the admin API answers")
    }

    /// Everything, counted up to now.
    pub(crate) fn snapshot(&self) -> Value {
        self.ask("GET /v1/snapshot").json()
    }

    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::parse(self.ask("GET /metrics").text())
    }

    /// Waits until the snapshot shows something.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        patience: Duration,
        mut look: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        let mut last = Value::Null;
        let seen = try_wait(patience, || {
            let answer = self.try_ask("GET /v1/snapshot", &[], b"").ok()?;
            if answer.status == 200 {
                last = answer.json();
                return look(&last);
            }
            None
        });
        seen.unwrap_or_else(|| {
            let log = self.log();
            panic!("waited in vain for {what}; the last snapshot:\n{last}\nthe log:\n{log}")
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has a number"), signal).expect("it is our child");
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait("the daemon to end", PATIENCE, || {
            self.child.try_wait().expect("it is our child")
        })
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A keep-alive connection that speaks HTTP/1.1.
pub(crate) struct Client<S: Read + Write> {
    stream: BufReader<S>,
}

impl Client<TcpStream> {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("it listens")
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self::over(stream))
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.ask(&format!("GET {path}"), &[], b"")
    }

    /// One request and its whole answer. A `Host` is added unless given.
    pub(crate) fn ask(&mut self, line: &str, headers: &[&str], body: &[u8]) -> io::Result<Answer> {
        self.send(line, headers, body)?;
        self.answer()
    }

    pub(crate) fn send(&mut self, line: &str, headers: &[&str], body: &[u8]) -> io::Result<()> {
        let mut head = format!("{line} HTTP/1.1\r\n");
        let has = |name: &str| {
            headers
                .iter()
                .any(|header| header.to_ascii_lowercase().starts_with(name))
        };
        if !has("host:") {
            head.push_str("Host: localhost\r\n");
        }
        if !body.is_empty() && !has("content-length:") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for header in headers {
            head.push_str(&format!("{header}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.stream.get_mut().write_all(&bytes)
    }

    /// Bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The answer's head.
    pub(crate) fn head(&mut self) -> io::Result<Answer> {
        let mut line = self.line()?;
        let bad = |line: &str| io::Error::new(io::ErrorKind::InvalidData, line.to_owned());
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| bad(&line))?;
        let mut headers = Vec::new();
        loop {
            line = self.line()?;
            match line.split_once(':') {
                Some((name, value)) => {
                    headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
                None if line.is_empty() => break,
                None => return Err(bad(&line)),
            }
        }
        Ok(Answer {
            status,
            headers,
            body: Vec::new(),
        })
    }

    /// The whole answer.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        if answer.header("transfer-encoding").is_some() {
            while let Some(mut chunk) = self.chunk()? {
                answer.body.append(&mut chunk);
            }
        } else if let Some(length) = answer.header("content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            answer.body = vec![0; length];
            self.stream.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// The next chunk of a body; `None` at its end.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let length = usize::from_str_radix(&line, 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk)?;
        chunk.truncate(length);
        Ok((length > 0).then_some(chunk))
    }

    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Exactly so many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

/// The entry of a list whose `key` is `value`.
pub(crate) fn of<'a>(list: &'a Value, key: &str, value: &str) -> &'a Value {
    list.as_array()
        .and_then(|list| list.iter().find(|entry| entry[key] == value))
        .unwrap_or_else(|| panic!("no {key} = {value} in {list:#}"))
}

/// Whether an event with `text` in it was told.
pub(crate) fn told(snapshot: &Value, kind: &str, text: &str) -> bool {
    snapshot["events"].as_array().is_some_and(|events| {
        events.iter().any(|event| {
            event["kind"] == kind
                && event["text"]
                    .as_str()
                    .is_some_and(|said| said.contains(text))
        })
    })
}

/// Standard output of a command.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("it writes text")
}

/// Standard error of a command.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("it writes text")
}
