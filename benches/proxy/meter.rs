//! What a process and its children used, from `/proc`.

use std::fs;
use std::time::{Duration, Instant};

use super::peer::Peer;

/// What a stretch of load came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Microseconds of processor time a request, user and system.
    pub(crate) cpu_us: f64,
}

/// Measures a peer while `load` runs, which gives the number of requests answered.
pub(crate) fn sample(peer: &Peer, load: impl FnOnce() -> u64) -> Sample {
    let (before, began) = (processor_time(peer.id()), Instant::now());
    let requests = load() as f64;
    let (after, took) = (processor_time(peer.id()), began.elapsed());
    let spent = after.saturating_sub(before);
    Sample {
        rate: requests / took.as_secs_f64(),
        cpu_us: spent.as_secs_f64() * 1e6 / requests,
    }
}

/// User and system time of a process and its children that still run.
fn processor_time(process: u32) -> Duration {
    let ticks: u64 = family(process).iter().map(|id| ticks(*id)).sum();
    Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second() as u32
}

/// Resident memory of a process and its children, in bytes. Pages they share count more than once; a difference does
/// not show that.
pub(crate) fn resident(process: u32) -> u64 {
    let pages = |id: &u32| -> u64 {
        let sizes = fs::read_to_string(format!("/proc/{id}/statm")).unwrap();
        sizes.split(' ').nth(1).unwrap().parse().unwrap()
    };
    let pages: u64 = family(process).iter().map(pages).sum();
    pages * rustix::param::page_size() as u64
}

/// utime + stime, fields 14 and 15 (proc(5)); the name in field 2 may hold spaces and ends with the last parenthesis.
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let mut fields = after_name.split_whitespace().skip(11);
    let mut next = || fields.next().unwrap().parse::<u64>().unwrap();
    next() + next()
}

fn family(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let children = children.unwrap_or_default();
    let mut all = vec![process];
    for child in children.split_whitespace() {
        all.extend(family(child.parse().unwrap()));
    }
    all
}
