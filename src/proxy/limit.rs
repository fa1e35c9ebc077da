//! Rate limits: so many requests in a time for each key, shared by all workers.
//!
//! Each key is one number, the moment at which it would have used up exactly what it was given (the generic cell rate
//! algorithm, ITU-T I.371, annex A): a token bucket without a timer. Keys stand in a table of fixed size whose cells are
//! atomic, so a request neither waits for another nor allocates, and a million made-up keys take no more room than ten.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;

use super::config::{LimitKey, RateLimit};
use crate::clock::Tick;

/// The limits of a configuration, in its order, with what each key has used up.
#[derive(Debug, Default)]
pub(super) struct Limits(Vec<Arc<Limiter>>);

/// One limit.
#[derive(Debug)]
pub(super) struct Limiter {
    pub(super) limit: RateLimit,
    table: Table,
    /// Requests that were over it.
    refused: AtomicU64,
    /// Requests that it let through, also those over it that it only reports.
    passed: AtomicU64,
    /// Requests that it turned away.
    denied: AtomicU64,
}

/// What a limit has come to since this process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitCount<'a> {
    /// Its name.
    pub name: &'a str,
    /// Requests over it: answered 429, or only counted.
    pub refused: u64,
    /// Keys forgotten before their time, for want of room.
    pub evicted: u64,
    /// Requests that it let through, also those over it that it only reports.
    pub passed: u64,
    /// Requests that it turned away: answered 429.
    pub denied: u64,
}

/// A request, as limits see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    pub(super) address: IpAddr,
    pub(super) headers: &'a HeaderMap,
    /// Index of the route.
    pub(super) route: usize,
}

/// How a request stands to the limit that leaves it the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quota {
    /// Requests at once at most.
    pub(super) burst: u32,
    /// Requests that may follow at once.
    pub(super) remaining: u32,
    /// Seconds until the next one may come (over the limit), or until all of `burst` may (under it).
    pub(super) reset_s: u64,
}

/// A request's standing to the limits of its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No limit applies to it.
    Free,
    Passes(Quota),
    Over(Quota),
}

impl Limits {
    /// Makes room for the limits of a configuration.
    pub(super) fn new(limits: &[RateLimit]) -> Self {
        let limiter = |limit: &RateLimit| {
            Arc::new(Limiter {
                table: Table::new(limit),
                limit: limit.clone(),
                refused: AtomicU64::new(0),
                passed: AtomicU64::new(0),
                denied: AtomicU64::new(0),
            })
        };
        Self(limits.iter().map(limiter).collect())
    }

    /// Takes over what was used up of the limits that `before` has too, so that a reload gives nobody a fresh burst.
    pub(super) fn adopt(&mut self, before: &Self) {
        for own in &mut self.0 {
            match before.0.iter().find(|it| it.limit.name == own.limit.name) {
                Some(known) if known.limit == own.limit => *own = Arc::clone(known),
                Some(known) => {
                    // What is counted goes on; buckets of another size begin anew.
                    for (own, known) in [
                        (&own.refused, &known.refused),
                        (&own.passed, &known.passed),
                        (&own.denied, &known.denied),
                    ] {
                        own.store(known.load(Ordering::Relaxed), Ordering::Relaxed);
                    }
                    let evicted = known.table.evicted.load(Ordering::Relaxed);
                    own.table.evicted.store(evicted, Ordering::Relaxed);
                }
                None => {}
            }
        }
    }

    /// What each has come to.
    pub(super) fn counts(&self) -> impl Iterator<Item = LimitCount<'_>> {
        self.0.iter().map(|limiter| LimitCount {
            name: &limiter.limit.name,
            refused: limiter.refused.load(Ordering::Relaxed),
            evicted: limiter.table.evicted.load(Ordering::Relaxed),
            passed: limiter.passed.load(Ordering::Relaxed),
            denied: limiter.denied.load(Ordering::Relaxed),
        })
    }

    /// Judges a request by those of these limits (by index) that apply to it, and takes it off them. What one of them took
    /// is given back when another refuses: a request that is not served uses nothing up.
    pub(super) fn take(&self, limits: &[usize], caller: Caller<'_>, now: Tick) -> Verdict {
        let mut least: Option<Quota> = None;
        // By place; a configuration allows eight.
        let mut took = 0_u64;
        for (place, at) in limits.iter().enumerate() {
            let limiter = &self.0[*at];
            if !limiter.applies(caller) {
                continue;
            }
            let key = limiter.table.key(&limiter.limit.key, caller);
            let (passes, quota) = limiter.table.take(key, now);
            if !passes {
                limiter.refused.fetch_add(1, Ordering::Relaxed);
                if limiter.limit.report {
                    limiter.passed.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                limiter.denied.fetch_add(1, Ordering::Relaxed);
                self.give_back(&limits[..place], took, caller);
                return Verdict::Over(quota);
            }
            limiter.passed.fetch_add(1, Ordering::Relaxed);
            took |= 1 << (place % 64);
            if !limiter.limit.report && least.is_none_or(|it| quota.remaining < it.remaining) {
                least = Some(quota);
            }
        }
        least.map_or(Verdict::Free, Verdict::Passes)
    }

    fn give_back(&self, limits: &[usize], took: u64, caller: Caller<'_>) {
        for (_, at) in limits
            .iter()
            .enumerate()
            .filter(|(place, _)| took >> (place % 64) & 1 == 1)
        {
            let limiter = &self.0[*at];
            let key = limiter.table.key(&limiter.limit.key, caller);
            limiter.table.give_back(key);
        }
    }
}

impl Limiter {
    fn applies(&self, caller: Caller<'_>) -> bool {
        self.limit.headers.iter().all(|it| it.takes(caller.headers))
    }
}

/// Keys and what they have used up.
#[derive(Debug)]
struct Table {
    /// A power of two of them, at least [`WAYS`].
    cells: Box<[Cell]>,
    /// Nobody outside can make two keys that meet.
    hasher: RandomState,
    /// Nanoseconds that one request uses up.
    step: u64,
    /// Nanoseconds that may be used up in advance.
    depth: u64,
    burst: u32,
    evicted: AtomicU64,
}

/// A key's cell.
#[derive(Debug, Default)]
struct Cell {
    /// 0: nobody's.
    key: AtomicU64,
    /// Nanoseconds since the process's fixed moment until which its key has used up what it is given.
    until: AtomicU64,
}

/// Cells that a key may stand in.
const WAYS: usize = 8;

impl Table {
    fn new(limit: &RateLimit) -> Self {
        let cells = limit.keys.max(WAYS).next_power_of_two();
        let step = limit.rate.step_ns();
        Self {
            cells: (0..cells).map(|_| Cell::default()).collect(),
            hasher: RandomState::new(),
            step,
            depth: step.saturating_mul(u64::from(limit.burst)),
            burst: limit.burst,
            evicted: AtomicU64::new(0),
        }
    }

    fn key(&self, key: &LimitKey, caller: Caller<'_>) -> u64 {
        let hash = match key {
            LimitKey::All => self.hasher.hash_one(0_u8),
            LimitKey::Route => self.hasher.hash_one((1_u8, caller.route)),
            LimitKey::Client => self.client(caller),
            LimitKey::Header(name) => match caller.headers.get(name) {
                Some(value) => self.hasher.hash_one((2_u8, value.as_bytes())),
                None => self.client(caller),
            },
        };
        hash.max(1)
    }

    fn client(&self, caller: Caller<'_>) -> u64 {
        match caller.address.to_canonical() {
            IpAddr::V4(address) => self.hasher.hash_one((3_u8, address.octets())),
            // Whoever has one address of a /64 has them all.
            IpAddr::V6(address) => self.hasher.hash_one((4_u8, &address.octets()[..8])),
        }
    }

    /// Takes a request off what a key is given; whether it passes, and what is left.
    fn take(&self, key: u64, now: Tick) -> (bool, Quota) {
        let now = now.micros_since(Tick::default()) * 1_000;
        let cell = self.cell(key, now);
        let mut passes = false;
        // The closure always gives a value.
        let before = cell
            .until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until| {
                let next = until.max(now).saturating_add(self.step);
                passes = next - now <= self.depth;
                Some(if passes { next } else { until })
            })
            .unwrap_or(now);
        let used = if passes {
            before.max(now).saturating_add(self.step) - now
        } else {
            before.max(now) - now
        };
        let left = self.depth.saturating_sub(used) / self.step;
        let wait = if passes {
            used
        } else {
            used.saturating_add(self.step).saturating_sub(self.depth)
        };
        let quota = Quota {
            burst: self.burst,
            remaining: u32::try_from(left).unwrap_or(u32::MAX).min(self.burst),
            reset_s: wait.div_ceil(1_000_000_000),
        };
        (passes, quota)
    }

    fn give_back(&self, key: u64) {
        if let Some(cell) = self
            .cells_of(key)
            .find(|it| it.key.load(Ordering::Relaxed) == key)
        {
            // Never below zero: a key that wrapped around would be over for ever.
            let back = |until: u64| Some(until.saturating_sub(self.step));
            // The closure always gives a value, so this always succeeds.
            let _before = cell
                .until
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, back);
        }
    }

    fn cells_of(&self, key: u64) -> impl Iterator<Item = &Cell> {
        let mask = self.cells.len() - 1;
        let first = (key >> 32) as usize;
        (0..WAYS).map(move |way| &self.cells[first.wrapping_add(way) & mask])
    }

    /// A key's cell; a new key gets a free one, or that of a key that has nothing used up, or that of the key that has used
    /// up the least.
    fn cell(&self, key: u64, now: u64) -> &Cell {
        let mut idlest: Option<(u64, u64, &Cell)> = None;
        for cell in self.cells_of(key) {
            let owner = cell.key.load(Ordering::Relaxed);
            if owner == key {
                return cell;
            }
            let until = match owner {
                0 => 0,
                _ => cell.until.load(Ordering::Relaxed),
            };
            if idlest.is_none_or(|(least, ..)| until < least) {
                idlest = Some((until, owner, cell));
            }
        }
        // There is always a cell to take.
        let (until, owner, cell) = idlest.unwrap_or((0, 0, &self.cells[0]));
        let taken = cell
            .key
            .compare_exchange(owner, key, Ordering::Relaxed, Ordering::Relaxed);
        if taken.is_ok() {
            cell.until.store(now, Ordering::Relaxed);
            if owner != 0 && until > now {
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
        }
        // Whoever was quicker shares the cell for this once: two keys that are new in the same instant.
        cell
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::proxy::config::Rate;

    fn limit(rate: &str, burst: u32) -> RateLimit {
        RateLimit {
            name: "test".to_owned(),
            key: LimitKey::Client,
            rate: rate.parse().unwrap(),
            burst,
            headers: Vec::new(),
            keys: 64,
            report: false,
        }
    }

    fn at(micros: u64) -> Tick {
        Tick::from_micros(micros)
    }

    fn passes(limits: &Limits, which: &[usize], address: &str, now: Tick) -> bool {
        let headers = HeaderMap::new();
        let caller = Caller {
            address: address.parse().unwrap(),
            headers: &headers,
            route: 0,
        };
        !matches!(limits.take(which, caller, now), Verdict::Over(_))
    }

    #[test]
    fn a_burst_passes_and_then_as_much_as_the_rate() {
        let limits = Limits::new(&[limit("10/s", 5)]);
        let passed = |from_ms: u64, to_ms: u64| {
            (from_ms..to_ms)
                .filter(|ms| passes(&limits, &[0], "192.0.2.1", at(ms * 1_000)))
                .count()
        };
        // Of one request a millisecond: five at once, then one every 100 ms.
        assert_eq!(passed(1_000, 2_000), 5 + 9);
        assert_eq!(passed(2_000, 12_000), 100);
        // Someone else has all of theirs.
        assert!(passes(&limits, &[0], "192.0.2.2", at(12_000_000)));
        assert_eq!(limits.counts().next().unwrap().refused, 11_000 - 114);
    }

    #[test]
    fn what_is_left_and_when_more_comes_is_said() {
        let table = Table::new(&limit("2/s", 3));
        let left = |ms: u64| {
            let (passes, quota) = table.take(7, at(ms * 1_000));
            (passes, quota.remaining, quota.reset_s)
        };
        assert_eq!(left(10_000), (true, 2, 1));
        assert_eq!(left(10_000), (true, 1, 1));
        assert_eq!(left(10_000), (true, 0, 2));
        assert_eq!(left(10_000), (false, 0, 1));
        assert_eq!(left(10_500), (true, 0, 2));
        assert_eq!(left(60_000), (true, 2, 1));
    }

    #[test]
    fn a_request_that_one_limit_refuses_uses_up_no_other() {
        let narrow = RateLimit {
            key: LimitKey::All,
            ..limit("1/h", 1)
        };
        let limits = Limits::new(&[limit("1/h", 3), narrow]);
        assert!(passes(&limits, &[0, 1], "192.0.2.1", at(1)));
        for _ in 0..10 {
            assert!(!passes(&limits, &[0, 1], "192.0.2.1", at(1)));
        }
        // Two of the wide one's three are left.
        assert!(passes(&limits, &[0], "192.0.2.1", at(1)));
        assert!(passes(&limits, &[0], "192.0.2.1", at(1)));
        assert!(!passes(&limits, &[0], "192.0.2.1", at(1)));
    }

    #[test]
    fn a_limit_that_only_reports_stops_nobody() {
        let limits = Limits::new(&[RateLimit {
            report: true,
            ..limit("1/h", 1)
        }]);
        for _ in 0..10 {
            assert!(passes(&limits, &[0], "192.0.2.1", at(1)));
        }
        assert_eq!(limits.counts().next().unwrap().refused, 9);
    }

    #[test]
    fn what_only_reports_and_took_nothing_gets_nothing_back() {
        let report = RateLimit {
            report: true,
            ..limit("1/h", 1)
        };
        let limits = Limits::new(&[report, limit("1/h", 1)]);
        assert!(passes(&limits, &[0, 1], "192.0.2.1", at(1)));
        for _ in 0..5 {
            assert!(!passes(&limits, &[0, 1], "192.0.2.1", at(1)));
        }
        let refused: Vec<u64> = limits.counts().map(|it| it.refused).collect();
        assert_eq!(refused, [5, 5]);
    }

    #[test]
    fn what_is_given_back_never_goes_below_nothing() {
        let table = Table::new(&limit("1/d", 3));
        assert!(table.take(9, at(1)).0);
        for _ in 0..5 {
            table.give_back(9);
        }
        for _ in 0..3 {
            assert!(table.take(9, at(2)).0);
        }
        assert!(!table.take(9, at(2)).0);
    }

    #[test]
    fn a_burst_of_years_is_no_overflow() {
        let table = Table::new(&limit("1/d", 1_000_000));
        for _ in 0..1_000 {
            assert!(table.take(9, at(1)).0);
        }
    }

    #[test]
    fn a_reload_gives_nobody_a_fresh_burst_unless_the_limit_changed() {
        let before = Limits::new(&[limit("1/h", 1)]);
        assert!(passes(&before, &[0], "192.0.2.1", at(1)));
        let mut same = Limits::new(&[limit("1/h", 1)]);
        same.adopt(&before);
        assert!(!passes(&same, &[0], "192.0.2.1", at(2)));
        let mut other = Limits::new(&[limit("1/h", 2)]);
        other.adopt(&before);
        assert!(passes(&other, &[0], "192.0.2.1", at(2)));
        assert_eq!(other.counts().next().unwrap().refused, 1);
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        let limits = Limits::new(&[limit("1/h", 1)]);
        assert!(passes(&limits, &[0], "2001:db8::1", at(1)));
        assert!(!passes(&limits, &[0], "2001:db8::ffff:2", at(1)));
        assert!(passes(&limits, &[0], "2001:db8:0:1::1", at(1)));
        assert!(passes(&limits, &[0], "192.0.2.1", at(1)));
        assert!(!passes(&limits, &[0], "::ffff:192.0.2.1", at(1)));
    }

    #[test]
    fn a_million_keys_take_no_more_room_and_the_busy_ones_are_remembered() {
        let table = Table::new(&limit("1/h", 1));
        assert_eq!(table.cells.len(), 64);
        let mut refused = 0;
        for key in 1..1_000_000_u64 {
            let spread = key.wrapping_mul(0x9e37_79b9_7f4a_7c15).max(1);
            refused += u32::from(!table.take(spread, at(1)).0);
        }
        assert_eq!(refused, 0);
        assert!(table.evicted.load(Ordering::Relaxed) > 900_000);
    }

    #[test]
    fn workers_together_let_no_more_pass_than_the_limit_says() {
        let table = Table::new(&limit("1/h", 1_000));
        let passed: usize = std::thread::scope(|scope| {
            let take = || (0..1_000).filter(|_| table.take(9, at(5)).0).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            workers.into_iter().map(|it| it.join().unwrap()).sum()
        });
        assert_eq!(passed, 1_000);
    }

    proptest! {
        /// Over any time no more pass than the burst and the rate's share of that time.
        #[test]
        fn never_more_than_the_rate_allows(
            count in 1_u32..1_000,
            burst in 1_u32..50,
            gaps in prop::collection::vec(0_u64..20_000, 1..300),
        ) {
            let rate = Rate::new(count, Duration::from_secs(1)).unwrap();
            let table = Table::new(&RateLimit { rate, ..limit("1/s", burst) });
            let (mut now, mut passed) = (1_000_000, 0_u64);
            let start = now;
            for gap in gaps {
                now += gap;
                passed += u64::from(table.take(3, at(now)).0);
                let due = u64::from(burst) + (now - start) * u64::from(count) / 1_000_000 + 1;
                prop_assert!(passed <= due, "{} of {}", passed, due);
            }
        }
    }
}
