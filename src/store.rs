//! History on disk.

use std::path::PathBuf;
use std::time::Duration;

/// What the store is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The state directory; the database is `history.db` in it.
    pub dir: PathBuf,
    /// How long one-minute counters are kept.
    pub minutes: Duration,
    /// How long one-minute latency distributions are kept.
    pub minute_latencies: Duration,
    /// How long one-hour counters and latency distributions are kept. At least the longest SLO window.
    pub hours: Duration,
    /// How large the database may grow; beyond it the oldest latency distributions go first, counters never.
    pub max_bytes: u64,
}

impl Config {
    /// The defaults, in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            dir,
            minutes: DAY * 14,
            minute_latencies: DAY * 2,
            hours: DAY * 92,
            max_bytes: 2 << 30,
        }
    }
}
