//! The program on a pseudo-terminal, seen through a terminal emulator.
//!
//! Nothing here sleeps: whoever looks for something waits until the emulator's screen shows it, and fails with the
//! screen's text when the deadline passes.

use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

/// How long anything may take on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// A program in a terminal.
pub(crate) struct Terminal {
    // The far end stays open here too, so that the terminal outlives the program and can be looked at.
    _far: Box<dyn portable_pty::SlavePty + Send>,
    near: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn std::io::Write + Send>,
    seen: Arc<Seen>,
    settings: String,
}

struct Seen {
    parser: Mutex<vt100::Parser>,
    changed: Condvar,
}

impl Terminal {
    /// Starts the `vestibule` program with `arguments` and `variables` on a terminal of this size.
    pub(crate) fn start(
        arguments: &[&str],
        variables: &[(&str, &str)],
        (columns, rows): (u16, u16),
    ) -> Self {
        let pair = native_pty_system()
            .openpty(size(columns, rows))
            .expect("the system has a pseudo-terminal");
        let settings = settings(&*pair.master);
        let mut command = CommandBuilder::new(Path::new(env!("CARGO_BIN_EXE_vestibule")));
        command.args(arguments);
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR");
        for (name, value) in variables {
            command.env(name, value);
        }
        let child = pair
            .slave
            .spawn_command(command)
            .expect("the program starts");
        let seen = Arc::new(Seen {
            parser: Mutex::new(vt100::Parser::new(cells(rows), cells(columns), 0)),
            changed: Condvar::new(),
        });
        let mut output = pair.master.try_clone_reader().expect("it can be read");
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1_024];
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                lock(&shared.parser).process(&buffer[..read]);
                shared.changed.notify_all();
            }
        });
        Self {
            keys: pair.master.take_writer().expect("it can be written"),
            near: pair.master,
            _far: pair.slave,
            child,
            seen,
            settings,
        }
    }

    /// Presses keys, as the bytes a terminal sends for them.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("it takes keys");
    }

    /// Waits until the screen satisfies `wanted`, called `what` in the failure.
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) {
        let parser = lock(&self.seen.parser);
        let (shown, wait) = self
            .seen
            .changed
            .wait_timeout_while(parser, DEADLINE, |parser| !wanted(parser.screen()))
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            !wait.timed_out(),
            "no {what} within {DEADLINE:?} on\n{}",
            shown.screen().contents()
        );
    }

    /// Waits until `text` stands in `row`, counted from 0.
    pub(crate) fn until_row(&self, row: usize, text: &str) {
        self.until(&format!("{text:?} in row {row}"), |screen| {
            line(screen, row).contains(text)
        });
    }

    /// What `look` finds on the screen now.
    pub(crate) fn look<T>(&self, look: impl Fn(&vt100::Screen) -> T) -> T {
        look(lock(&self.seen.parser).screen())
    }

    /// Gives the terminal another size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        lock(&self.seen.parser)
            .screen_mut()
            .set_size(cells(rows), cells(columns));
        self.near.resize(size(columns, rows)).expect("it resizes");
    }

    /// The program's process.
    pub(crate) fn process(&self) -> rustix::process::Pid {
        let id = self.child.process_id().expect("it runs");
        rustix::process::Pid::from_raw(id.cast_signed()).expect("no process has id 0")
    }

    /// Waits for the program to end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let mut killer = self.child.clone_killer();
        thread::spawn(move || {
            if told.recv_timeout(DEADLINE).is_err() {
                // The wait below then ends, and the status shows the signal.
                drop(killer.kill());
            }
        });
        let status = self.child.wait().expect("it can be waited for");
        // Nobody listens any more when the deadline passed.
        tell.send(()).ok();
        status
    }

    /// Asserts that the terminal is as it was before the program: main screen, cursor, line discipline.
    pub(crate) fn assert_restored(&self) {
        self.until("return from the alternate screen", |screen| {
            !screen.alternate_screen() && !screen.hide_cursor()
        });
        assert_eq!(settings(&*self.near), self.settings);
    }

    /// Asserts that the program holds the terminal: the test above would mean nothing otherwise.
    pub(crate) fn assert_taken(&self) {
        self.until("alternate screen", |screen| {
            screen.alternate_screen() && screen.hide_cursor()
        });
        assert_ne!(settings(&*self.near), self.settings, "raw mode is on");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Ended already, most of the time.
        drop(self.child.kill());
    }
}

/// The text of row `row`.
pub(crate) fn line(screen: &vt100::Screen, row: usize) -> String {
    let (_, columns) = screen.size();
    screen.rows(0, columns.get()).nth(row).unwrap_or_default()
}

fn settings(near: &dyn MasterPty) -> String {
    format!("{:?}", near.get_termios().expect("it has settings"))
}

fn size(cols: u16, rows: u16) -> PtySize {
    PtySize {
        rows,
        cols,
        pixel_width: 0,
        pixel_height: 0,
    }
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("a terminal has cells")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
