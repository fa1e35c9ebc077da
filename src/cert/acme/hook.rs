//! The program of an operator that writes to the DNS.
//!
//! It is not ours and may do anything: so it runs in a process group of its own, which is ended whole when its time is
//! over or nobody waits for it any more, it is given a closed environment, and of what it says no more than the end is kept.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStderr, Command};

/// A program that makes and removes TXT records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hook {
    /// The program.
    pub(super) program: PathBuf,
    /// Variables of our environment that it is given besides [`ALWAYS`], by name.
    pub(super) environment: Vec<String>,
}

/// What of our environment every hook is given, where it is set. Anything else may be a secret of ours.
pub(super) const ALWAYS: [&str; 5] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ"];

/// A TXT record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Txt {
    /// Its owner name, without a dot at its end.
    pub(super) name: String,
    /// Its text.
    pub(super) value: String,
}

/// For one call.
const PATIENCE: Duration = Duration::from_secs(120);
/// What is kept of what it says: the end, where the reason stands.
const LONGEST: usize = 4 * 1024;
/// For what it said just before it ended. Something that it has started may hold its standard error open for ever.
const LAST_WORDS: Duration = Duration::from_millis(200);

impl Hook {
    /// Has `txt` made (`present`) or removed (`cleanup`).
    ///
    /// # Errors
    /// When it cannot be started, does not end in time or with 0; in one line.
    pub(super) async fn call(&self, what: &str, txt: &Txt) -> Result<(), String> {
        self.call_within(PATIENCE, what, txt).await
    }

    async fn call_within(&self, patience: Duration, what: &str, txt: &Txt) -> Result<(), String> {
        let kept = ALWAYS
            .iter()
            .copied()
            .chain(self.environment.iter().map(String::as_str));
        let kept = kept.filter_map(|name| Some((name, std::env::var_os(name)?)));
        let child = Command::new(&self.program)
            .args([what, &txt.name, &txt.value])
            .env_clear()
            .envs(kept)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let mut group = Group::of(child.map_err(|error| error.to_string())?);
        let mut said = Tail::default();
        let ended = tokio::time::timeout(patience, group.ended(&mut said)).await;
        let status = match ended {
            Ok(status) => status.map_err(|error| error.to_string())?,
            Err(_late) => {
                let limit = humantime::format_duration(patience);
                return Err(format!("it did not end within {limit}"));
            }
        };
        if status.success() {
            return Ok(());
        }
        Err(format!("{status}: {}", said.last_line()))
    }
}

/// A program and all that it starts; ended when this is dropped before it has ended by itself.
struct Group {
    child: Child,
    leader: Option<Pid>,
}

impl Group {
    fn of(child: Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            leader: id.and_then(Pid::from_raw),
            child,
        }
    }

    /// Waits for the end of the program itself.
    async fn ended(&mut self, said: &mut Tail) -> io::Result<ExitStatus> {
        let mut stderr = self.child.stderr.take();
        let status = loop {
            tokio::select! {
                biased;
                is_more = said.take(&mut stderr), if stderr.is_some() => if !is_more {
                    stderr = None;
                },
                status = self.child.wait() => break status,
            }
        };
        // From here on its number may be another's.
        self.leader = None;
        let rest = async { while said.take(&mut stderr).await {} };
        // Held open by something that it has left behind: that is its business.
        drop(tokio::time::timeout(LAST_WORDS, rest).await);
        status
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // It may have ended this moment.
            kill_process_group(leader, Signal::KILL).unwrap_or_default();
        }
    }
}

/// The end of what was said.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    /// Takes in what there is; `false`: there will be no more.
    async fn take(&mut self, from: &mut Option<ChildStderr>) -> bool {
        let Some(stream) = from else { return false };
        let mut some = [0; 1_024];
        match stream.read(&mut some).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.0.extend_from_slice(&some[..count]);
                let surplus = self.0.len().saturating_sub(LONGEST);
                self.0.drain(..surplus);
                true
            }
        }
    }

    fn last_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let last = text.trim().lines().last();
        last.unwrap_or("it said nothing").to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};
    use std::fs;
    use std::path::Path;

    impl Hook {
        /// A shell script at `program`. It is put in place by another process: while a file is open for writing, be it in a
        /// child that another test is just about to start, it cannot be run.
        pub(in crate::cert::acme) fn scripted(program: &Path, script: &str) -> Self {
            let text = program.with_extension("txt");
            fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
            let mut install = std::process::Command::new("install");
            let installed = install.args(["-m", "755"]).arg(text).arg(program).status();
            assert!(installed.unwrap().success());
            Self {
                program: program.to_owned(),
                environment: Vec::new(),
            }
        }
    }

    fn hook(dir: &Path, script: &str) -> Hook {
        Hook::scripted(&dir.join("hook"), script)
    }

    fn call(hook: &Hook, patience: Duration) -> Result<(), String> {
        let txt = Txt {
            name: "_acme-challenge.shop.test".to_owned(),
            value: "v".to_owned(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(hook.call_within(patience, "present", &txt))
    }

    #[test]
    fn a_hook_knows_nothing_of_our_environment_but_what_is_listed() {
        let temp = tempfile::tempdir().unwrap();
        let seen = temp.path().join("seen");
        let mut hook = hook(temp.path(), &format!("env >{}", seen.display()));
        let names = |hook: &Hook| {
            call(hook, PATIENCE).unwrap();
            let seen = fs::read_to_string(&seen).unwrap();
            let names = seen.lines().filter_map(|line| line.split_once('='));
            // What a shell sets of its own.
            let names = names.map(|(name, _)| name.to_owned());
            let mut names: Vec<_> = names
                .filter(|it| !["PWD", "OLDPWD", "SHLVL", "_"].contains(&it.as_str()))
                .filter(|it| !ALWAYS.contains(&it.as_str()))
                .collect();
            names.sort();
            names
        };
        // Cargo sets it for every test.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        assert_eq!(names(&hook), Vec::<String>::new());
        hook.environment = ["CARGO_MANIFEST_DIR", "NOT_SET_ANYWHERE"]
            .map(str::to_owned)
            .to_vec();
        assert_eq!(names(&hook), ["CARGO_MANIFEST_DIR"]);
    }

    #[test]
    fn what_a_hook_says_last_is_told_and_the_rest_is_not_kept() {
        let temp = tempfile::tempdir().unwrap();
        let script = "head -c 3000000 /dev/zero | tr '\\0' 'x' >&2; echo >&2; echo 'no such zone' >&2; exit 3";
        let error = call(&hook(temp.path(), script), PATIENCE).unwrap_err();
        assert_eq!(error, "exit status: 3: no such zone");
        let script = "head -c 3000000 /dev/zero | tr '\\0' 'x' >&2; exit 3";
        let error = call(&hook(temp.path(), script), PATIENCE).unwrap_err();
        assert!(error.len() <= LONGEST + 100, "{}", error.len());
    }

    #[test]
    fn a_hook_that_does_not_end_is_ended_with_all_that_it_has_started() {
        let temp = tempfile::tempdir().unwrap();
        let pids = temp.path().join("pids");
        let script = format!("sleep 300 & echo $! >{}; sleep 300", pids.display());
        let error = call(&hook(temp.path(), &script), Duration::from_secs(1)).unwrap_err();
        assert_eq!(error, "it did not end within 1s");
        let child = fs::read_to_string(&pids).unwrap();
        let status = format!("/proc/{}/stat", child.trim());
        let clock = SystemClock::new();
        let began = clock.tick();
        // Whoever takes in orphans may leave it a zombie for a while.
        while fs::read_to_string(&status).is_ok_and(|stat| !stat.contains(") Z")) {
            assert!(clock.tick().micros_since(began) < 10_000_000, "it goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn something_left_behind_holds_nobody_up() {
        let temp = tempfile::tempdir().unwrap();
        let clock = SystemClock::new();
        let began = clock.tick();
        call(&hook(temp.path(), "sleep 20 & exit 0"), PATIENCE).unwrap();
        assert!(clock.tick().micros_since(began) < 10_000_000);
    }
}
