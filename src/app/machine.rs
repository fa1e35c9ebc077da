//! What this process uses of the machine, as the kernel tells it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::clock::Tick;
use crate::snapshot::ProcessView;

mod allowed;

use allowed::Allowed;

/// Reads and compares with the reading before.
#[derive(Debug, Default)]
pub(super) struct Machine {
    last: Option<(Tick, f64)>,
    /// What it may use, and when that was read.
    allowed: Option<(Tick, Allowed)>,
}

/// How often it is looked up what may be used: it hardly ever changes.
const ALLOWED_EVERY: Duration = Duration::from_secs(60);

impl Machine {
    /// What is used now. What the kernel does not tell is `None`.
    pub(super) fn read(&mut self, now: Tick, workers: usize) -> ProcessView {
        let cpu_seconds = cpu_seconds();
        let cpu_ratio = cpu_seconds
            .zip(self.last)
            .and_then(|(cpu, (then, before))| {
                let seconds = now.micros_since(then) as f64 / 1e6;
                (seconds > 0.1).then(|| ((cpu - before) / seconds).max(0.0))
            });
        self.last = cpu_seconds.map(|cpu| (now, cpu));
        let Allowed { cpus, memory } = self.allowed(now);
        ProcessView {
            cpu_seconds,
            cpu_ratio,
            cpus,
            rss_bytes: rss_bytes(),
            memory_bytes: memory,
            open_fds: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|entries| entries.count() as u64),
            max_fds: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
            workers: workers as u64,
        }
    }

    fn allowed(&mut self, now: Tick) -> Allowed {
        let is_due = |read: Tick| now.micros_since(read) >= ALLOWED_EVERY.as_micros() as u64;
        match self.allowed {
            Some((read, allowed)) if !is_due(read) => allowed,
            Some(_) | None => {
                let allowed = Allowed::read(Path::new("/"));
                self.allowed = Some((now, allowed));
                allowed
            }
        }
    }
}

/// User and system time: fields 14 and 15 of `stat`, in clock ticks (proc(5)).
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The command's name stands in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn rss_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_kernel_tells_about_this_process() {
        let mut machine = Machine::default();
        let now = Tick::default();
        let first = machine.read(now, 2);
        assert!(first.cpu_seconds.is_some() && first.cpu_ratio.is_none());
        assert!(first.rss_bytes.is_some_and(|rss| rss > 1 << 20));
        assert!(first.open_fds.is_some_and(|fds| fds >= 3));
        let second = machine.read(now.plus(Duration::from_secs(1)), 2);
        assert!(second.cpu_ratio.is_some_and(|ratio| ratio >= 0.0));
    }
}
