//! Who of an upstream's endpoints is to be tried first, by what this worker knows of each now.

use std::time::Duration;

use super::{EndpointPool, pool};
use crate::clock::Tick;
use crate::proxy::balance::Chance;
use crate::proxy::config::Balance;
use crate::proxy::generation::UpstreamEntry;

/// How long an endpoint takes to answer, of late: a peak weighs at once, and fades (the moving average of Finagle's
/// "peak EWMA" balancer).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latency {
    seconds: f64,
    at: Tick,
}

/// In this time a peak fades to 37 %.
const FADES: Duration = Duration::from_secs(10);

impl Latency {
    pub(super) fn take(&mut self, took: Duration, now: Tick) {
        let took = took.as_secs_f64();
        let share = self.fades(now);
        self.seconds = took.max(self.seconds * share + took * (1.0 - share));
        self.at = now;
    }

    /// What is left of what was known.
    fn fades(&self, now: Tick) -> f64 {
        let passed = now.micros_since(self.at) as f64 / 1e6;
        (-passed / FADES.as_secs_f64()).exp()
    }
}

/// Who is to be tried before whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Good,
    /// It failed lately.
    Avoided,
    /// Its health checks say that it does not answer.
    Down,
    /// It has failed this very request.
    Tried,
}

impl Rank {
    pub(super) const ALL: [Self; 4] = [Self::Good, Self::Avoided, Self::Down, Self::Tried];
}

/// An upstream's endpoints as they stand now.
pub(super) struct Field<'a> {
    upstream: &'a UpstreamEntry,
    pools: &'a [EndpointPool],
    now: Tick,
    tried: &'a [usize],
    /// So few endpoints are up that the checks are not believed.
    panics: bool,
}

/// The least share that an endpoint gets that has just come back.
const LEAST_SHARE: f64 = 0.1;

impl<'a> Field<'a> {
    pub(super) fn new(
        upstream: &'a UpstreamEntry,
        pools: &'a mut Vec<EndpointPool>,
        now: Tick,
        tried: &'a [usize],
    ) -> Self {
        let (mut down, slow_start) = (0, !upstream.upstream.slow_start.is_zero());
        for endpoint in &upstream.endpoints {
            let is_down = endpoint.standing.as_ref().is_some_and(|it| it.is_down());
            down += usize::from(is_down);
            if slow_start {
                let pool = pool(pools, endpoint.key);
                pool.back_since = if is_down || pool.is_avoided(now) {
                    None
                } else {
                    Some(pool.back_since.unwrap_or(now))
                };
            }
        }
        let up = upstream.endpoints.len() - down;
        Self {
            upstream,
            pools,
            now,
            tried,
            panics: down > 0
                && up * 100 < upstream.endpoints.len() * usize::from(upstream.upstream.panic_below),
        }
    }

    fn pool(&self, endpoint: usize) -> Option<&EndpointPool> {
        self.pools
            .get(self.upstream.endpoints[endpoint].key.index())
    }

    pub(super) fn rank(&self, endpoint: usize) -> Rank {
        let standing = self.upstream.endpoints[endpoint].standing.as_ref();
        if self.tried.contains(&endpoint) {
            Rank::Tried
        } else if !self.panics && standing.is_some_and(|it| it.is_down()) {
            Rank::Down
        } else if self
            .pool(endpoint)
            .is_some_and(|it| it.is_avoided(self.now))
        {
            Rank::Avoided
        } else {
            Rank::Good
        }
    }

    /// How much of its share an endpoint gets while it starts slowly.
    fn warmth(&self, endpoint: usize) -> f64 {
        let slow_start = self.upstream.upstream.slow_start;
        let since = self.pool(endpoint).and_then(|pool| pool.back_since);
        match since {
            Some(since) if !slow_start.is_zero() => {
                let passed = self.now.micros_since(since) as f64 / 1e6;
                (passed / slow_start.as_secs_f64()).clamp(LEAST_SHARE, 1.0)
            }
            _ => 1.0,
        }
    }

    pub(super) fn first(&self, turn: usize, key: Option<u64>, chance: &mut Chance) -> usize {
        let shares = &self.upstream.shares;
        let best = (0..self.upstream.endpoints.len())
            .map(|it| self.rank(it))
            .min();
        let usable = |endpoint: usize| Some(self.rank(endpoint)) == best;
        let load = |it: usize| f64::from(self.pool(it).map_or(0, |pool| pool.in_flight));
        let chosen = match (&self.upstream.upstream.balance, key) {
            (Balance::Hash(_), Some(key)) => return shares.owner(key, usable).unwrap_or(0),
            (Balance::RoundRobin | Balance::Hash(_), _) => {
                let draw = chance.share();
                let warm = |it: usize| usable(it) && draw < self.warmth(it);
                shares
                    .next(turn, warm)
                    .or_else(|| shares.next(turn, usable))
            }
            (Balance::LeastRequests, _) => {
                shares.cheaper(chance, usable, |it| (load(it) + 1.0) / self.warmth(it))
            }
            (Balance::Latency, _) => shares.cheaper(chance, usable, |it| {
                let latency = self.pool(it).map_or(0.0, |pool| {
                    pool.latency.seconds * pool.latency.fades(self.now)
                });
                (latency + LEAST_LATENCY) * (load(it) + 1.0) / self.warmth(it)
            }),
        };
        chosen.unwrap_or(0)
    }
}

/// Added to every latency, so that requests in flight count where nothing is known yet, and microseconds decide nothing.
const LEAST_LATENCY: f64 = 0.000_1;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::default().plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_peak_of_latency_weighs_at_once_and_fades() {
        let mut latency = Latency::default();
        latency.take(Duration::from_millis(10), at(100));
        latency.take(Duration::from_secs(2), at(101));
        assert!((latency.seconds - 2.0).abs() < 1e-9);
        latency.take(Duration::from_millis(10), at(111));
        // 10 s later 37 % of it are left.
        assert!((0.7..0.8).contains(&latency.seconds), "{latency:?}");
    }
}
