//! What of the machine this process may use: its processors and its memory, by affinity, control groups and what there is.
//!
//! Control groups are looked at from the process's own upwards, since the tightest of them holds (cgroups(7); version 2:
//! `cpu.max` and `memory.max`, version 1: `cpu.cfs_quota_us` and `memory.limit_in_bytes`).

use std::fs;
use std::path::{Path, PathBuf};

/// What may be used. `None`: it cannot be told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Allowed {
    /// Processors; 1.0 is one.
    pub(super) cpus: Option<f64>,
    /// Bytes of memory.
    pub(super) memory: Option<u64>,
}

impl Allowed {
    /// What may be used now, read from the file systems that are mounted under `root`: `/`, but in tests.
    pub(super) fn read(root: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).ok();
        let affinity = text("proc/self/status").and_then(|text| listed(&text));
        let machine = text("proc/meminfo").and_then(|text| total(&text));
        let groups = text("proc/self/cgroup").unwrap_or_default();
        let mut allowed = Self {
            cpus: affinity,
            memory: machine,
        };
        for group in groups.lines() {
            let mut parts = group.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
                continue;
            };
            let has = |wanted: &str| controllers.split(',').any(|it| it == wanted);
            let mounted = |under: &str| root.join("sys/fs/cgroup").join(under);
            if controllers.is_empty() {
                for dir in upwards(&mounted(""), path) {
                    allowed.least(quota(&dir.join("cpu.max")), limit(&dir.join("memory.max")));
                }
            }
            if has("memory") {
                for dir in upwards(&mounted("memory"), path) {
                    allowed.least(None, limit(&dir.join("memory.limit_in_bytes")));
                }
            }
            if has("cpu") {
                for dir in upwards(&mounted("cpu"), path) {
                    allowed.least(quota_v1(&dir), None);
                }
            }
        }
        allowed
    }

    /// Takes over what is tighter.
    fn least(&mut self, cpus: Option<f64>, memory: Option<u64>) {
        self.cpus = [self.cpus, cpus].into_iter().flatten().reduce(f64::min);
        self.memory = [self.memory, memory].into_iter().flatten().min();
    }
}

/// Groups deeper than this are not looked at.
const DEEPEST: usize = 32;

/// The directory of a group and of each above it, as far as they are mounted: within a container the path may lead
/// nowhere, and the root is its own.
fn upwards(mount: &Path, path: &str) -> Vec<PathBuf> {
    let own = path.trim_start_matches('/');
    let mut dirs: Vec<PathBuf> = Vec::new();
    if !own.split('/').any(|part| part == "..") {
        let mut at = Path::new(own);
        while !at.as_os_str().is_empty() && dirs.len() < DEEPEST {
            dirs.push(mount.join(at));
            let Some(above) = at.parent() else { break };
            at = above;
        }
    }
    dirs.push(mount.to_owned());
    dirs
}

/// `max`, or bytes. What is larger than any memory stands for no limit in version 1.
fn limit(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.trim()
        .parse()
        .ok()
        .filter(|bytes| (1..1 << 60).contains(bytes))
}

/// `max 100000`, or microseconds of so many.
fn quota(file: &Path) -> Option<f64> {
    let text = fs::read_to_string(file).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    share(quota, period)
}

fn quota_v1(dir: &Path) -> Option<f64> {
    let read = |name: &str| fs::read_to_string(dir.join(name)).ok();
    let (quota, period) = (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?);
    share(quota.trim(), period.trim())
}

/// `None` without a limit, which is `max`, or -1 in version 1.
fn share(quota: &str, period: &str) -> Option<f64> {
    let quota: u32 = quota.parse().ok()?;
    let period: u32 = period.parse().ok()?;
    (quota > 0 && period > 0).then(|| f64::from(quota) / f64::from(period))
}

/// How many processors `Cpus_allowed_list` of a process's status names: `0-3,8`.
fn listed(status: &str) -> Option<f64> {
    let mut lines = status.lines();
    let list = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut count = 0_u32;
    for range in list.trim().split(',') {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
        count = count.saturating_add(to.checked_sub(from)?.saturating_add(1));
    }
    Some(f64::from(count))
}

/// `MemTotal` of the machine, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let mut lines = meminfo.lines();
    let text = lines.find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = text.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Allowed {
        let root = tempfile::tempdir().unwrap();
        let base = [
            (
                "proc/self/status",
                "Name:\tx\nCpus_allowed_list:\t0-3,8,10-11\n",
            ),
            (
                "proc/meminfo",
                "MemTotal:       16000000 kB\nMemFree: 1 kB\n",
            ),
        ];
        for (path, text) in base.iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Allowed::read(root.path())
    }

    #[test]
    fn without_a_group_it_is_what_the_machine_has() {
        let allowed = machine(&[]);
        assert_eq!(allowed.cpus, Some(7.0));
        assert_eq!(allowed.memory, Some(16_000_000 * 1_024));
    }

    #[test]
    fn the_tightest_group_above_the_process_holds() {
        let allowed = machine(&[
            ("proc/self/cgroup", "0::/pods/burstable/edge\n"),
            (
                "sys/fs/cgroup/pods/burstable/edge/cpu.max",
                "250000 100000\n",
            ),
            ("sys/fs/cgroup/pods/burstable/edge/memory.max", "max\n"),
            ("sys/fs/cgroup/pods/memory.max", "536870912\n"),
            ("sys/fs/cgroup/pods/cpu.max", "max 100000\n"),
        ]);
        assert_eq!(allowed.cpus, Some(2.5));
        assert_eq!(allowed.memory, Some(512 << 20));
    }

    #[test]
    fn the_first_version_is_understood_too_and_its_word_for_no_limit() {
        let allowed = machine(&[
            (
                "proc/self/cgroup",
                "5:cpu,cpuacct:/docker/1\n3:memory:/docker/1\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(allowed.cpus, Some(7.0));
        assert_eq!(allowed.memory, Some(256 << 20));
        let none = machine(&[
            ("proc/self/cgroup", "3:memory:/\n"),
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
        ]);
        assert_eq!(none.memory, Some(16_000_000 * 1_024));
    }

    #[test]
    fn here_it_can_be_told() {
        let allowed = Allowed::read(Path::new("/"));
        assert!(allowed.cpus.is_some_and(|cpus| cpus > 0.0));
        assert!(allowed.memory.is_some_and(|bytes| bytes > 1 << 20));
    }
}
