//! Which endpoint of an upstream takes a request: round robin, the fewest requests in flight, the quickest, or always the
//! same one for the same key.
//!
//! Pure: who is usable and what it costs is asked of the caller, chance comes in as numbers.

use std::hash::{BuildHasher as _, Hasher as _};

use rustc_hash::FxBuildHasher;

/// What never changes about how an upstream's endpoints share its requests; compiled once per configuration.
#[derive(Debug)]
pub(super) struct Shares {
    /// Endpoints in the order that round robin takes them, each as often as its weight says and as evenly spread as can
    /// be. Drawn from at random it is also a sample by weight.
    schedule: Box<[u16]>,
    /// By endpoint.
    weights: Box<[u16]>,
    /// By endpoint: what tells it apart for consistent hashing.
    names: Box<[u64]>,
}

/// Names that are tried at random before everyone is looked at in turn.
const DRAWS: usize = 8;

impl Shares {
    /// Compiles the shares of endpoints with these addresses and weights (at least 1 each).
    pub(super) fn new<'a>(endpoints: impl Iterator<Item = (&'a str, u16)>) -> Self {
        let (names, weights): (Vec<u64>, Vec<u16>) = endpoints
            .map(|(address, weight)| (FxBuildHasher.hash_one(address), weight.max(1)))
            .unzip();
        Self {
            schedule: schedule(&weights),
            weights: weights.into(),
            names: names.into(),
        }
    }

    /// The next usable endpoint in turn; `None`: none is usable.
    pub(super) fn next(&self, turn: usize, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let length = self.schedule.len();
        (0..length)
            .map(|step| usize::from(self.schedule[turn.wrapping_add(step) % length]))
            .find(|endpoint| usable(*endpoint))
    }

    /// The cheaper of two usable endpoints drawn by weight: nearly as good as the cheapest of all, and without the herd
    /// that rushes there (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).
    pub(super) fn cheaper(
        &self,
        chance: &mut Chance,
        usable: impl Fn(usize) -> bool,
        cost: impl Fn(usize) -> f64,
    ) -> Option<usize> {
        let length = self.schedule.len();
        if length == 0 {
            return None;
        }
        let mut drawn: Option<usize> = None;
        for _ in 0..DRAWS {
            let endpoint = usize::from(self.schedule[chance.below(length)]);
            if Some(endpoint) == drawn || !usable(endpoint) {
                continue;
            }
            match drawn {
                None => drawn = Some(endpoint),
                Some(other) if cost(endpoint) < cost(other) => return Some(endpoint),
                Some(other) => return Some(other),
            }
        }
        // Few are usable, or one outweighs all others.
        drawn.or_else(|| self.next(chance.below(length), usable))
    }

    /// The endpoint that a key belongs to: the one with the highest score for it. When one goes only its own keys move,
    /// and when one comes only those that are now its own (Thaler and Ravishankar, "Using name-based mappings to
    /// increase hit rates", 1998; weights by the logarithmic method of Schindelhauer and Schomaker, 2005).
    pub(super) fn owner(&self, key: u64, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let mut best: Option<(f64, usize)> = None;
        for endpoint in (0..self.names.len()).filter(|endpoint| usable(*endpoint)) {
            // From above 0 to below 1, with 52 bits.
            let point =
                ((mix(key ^ self.names[endpoint]) >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
            let score = f64::from(self.weights[endpoint]) / -point.ln();
            if best.is_none_or(|(highest, _)| score > highest) {
                best = Some((score, endpoint));
            }
        }
        best.map(|(_, endpoint)| endpoint)
    }
}

/// A key's place for [`Shares::owner`]. Equal in every worker and after every restart.
pub(super) fn key(bytes: &[u8]) -> u64 {
    let mut hasher = FxBuildHasher.build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// Spreads neighbouring numbers over all bits (the finaliser of Appleby's `MurmurHash3`).
const fn mix(mut value: u64) -> u64 {
    value ^= value >> 33;
    value = value.wrapping_mul(0xff51_afd7_ed55_8ccd);
    value ^= value >> 33;
    value = value.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}

/// Everyone as often as its weight, as evenly spread as can be: whoever is due first comes first.
fn schedule(weights: &[u16]) -> Box<[u16]> {
    let common = weights.iter().copied().fold(0, divisor).max(1);
    let times = |weight: u16| u64::from(weight / common);
    let mut due: std::collections::BinaryHeap<_> = weights
        .iter()
        .enumerate()
        .map(|(endpoint, weight)| std::cmp::Reverse((EVERY / times(*weight), endpoint, 1)))
        .collect();
    let mut order = Vec::new();
    while let Some(std::cmp::Reverse((_, endpoint, taken))) = due.pop() {
        order.push(u16::try_from(endpoint).unwrap_or(u16::MAX));
        let all = times(weights[endpoint]);
        if taken < all {
            due.push(std::cmp::Reverse((
                EVERY * (taken + 1) / all,
                endpoint,
                taken + 1,
            )));
        }
    }
    order.into()
}

/// The time in which everyone is due as often as its weight says.
const EVERY: u64 = 1 << 32;

const fn divisor(a: u16, b: u16) -> u16 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Numbers to choose by; nothing secret hangs on them (splitmix64, Steele, Lea and Flood, 2014).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From 0 to below `count`, which is not 0.
    pub(super) fn below(&mut self, count: usize) -> usize {
        let wide = u128::from(self.next()) * count as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// From 0 to below 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares(weights: &[u16]) -> Shares {
        let names: Vec<String> = (0..weights.len())
            .map(|it| format!("http://e{it}"))
            .collect();
        Shares::new(
            names
                .iter()
                .map(String::as_str)
                .zip(weights.iter().copied()),
        )
    }

    #[test]
    fn round_robin_spreads_weights_evenly() {
        for (weights, order) in [
            (&[1, 1, 1][..], &[0, 1, 2][..]),
            (&[10, 10], &[0, 1]),
            (&[3, 1], &[0, 0, 0, 1]),
            (&[2, 2, 1], &[0, 1, 0, 1, 2]),
            (&[4, 2, 1], &[0, 0, 1, 0, 0, 1, 2]),
        ] {
            assert_eq!(*shares(weights).schedule, *order, "{weights:?}");
        }
    }

    #[test]
    fn what_is_not_usable_is_passed_over() {
        let shares = shares(&[1, 1, 1]);
        let turns: Vec<_> = (0..4).map(|turn| shares.next(turn, |it| it != 1)).collect();
        assert_eq!(turns, [Some(0), Some(2), Some(2), Some(0)]);
        assert_eq!(shares.next(0, |_| false), None);
        assert_eq!(
            shares.cheaper(&mut Chance::new(1), |_| false, |_| 0.0),
            None
        );
        assert_eq!(shares.owner(1, |_| false), None);
        assert_eq!(Shares::new(std::iter::empty()).next(3, |_| true), None);
    }

    #[test]
    fn of_two_the_one_with_less_to_do_is_taken() {
        let (shares, mut chance) = (shares(&[1, 1, 1, 1]), Chance::new(7));
        let loads = [9.0, 9.0, 9.0, 0.0];
        let taken =
            (0..1_000).filter(|_| shares.cheaper(&mut chance, |_| true, |it| loads[it]) == Some(3));
        // Whenever it is drawn: 1 - (3/4 x 2/3) of the time.
        assert!((450..550).contains(&taken.count()));
    }

    proptest! {
        #[test]
        fn everyone_comes_as_often_as_its_weight(weights in prop::collection::vec(1_u16..50, 1..20)) {
            let shares = shares(&weights);
            let common = weights.iter().copied().fold(0, divisor);
            for (endpoint, weight) in weights.iter().enumerate() {
                let times = shares.schedule.iter().filter(|it| usize::from(**it) == endpoint).count();
                prop_assert_eq!(times, usize::from(weight / common));
            }
        }

        /// At no point of a round has anyone had two turns more than its share.
        #[test]
        fn nobody_runs_ahead(weights in prop::collection::vec(1_u16..20, 1..10)) {
            let shares = shares(&weights);
            let all = shares.schedule.len() as f64;
            let mut had = vec![0.0; weights.len()];
            let sum: f64 = weights.iter().map(|it| f64::from(*it)).sum();
            for (step, endpoint) in shares.schedule.iter().enumerate() {
                had[usize::from(*endpoint)] += 1.0;
                for (had, weight) in had.iter().zip(&weights) {
                    let due = (step + 1) as f64 / all * (all * f64::from(*weight) / sum);
                    prop_assert!((had - due).abs() < 2.0 + weights.len() as f64 / 2.0, "{had} of {due}");
                }
            }
        }

        #[test]
        fn when_one_goes_only_its_own_keys_move(
            count in 2_usize..12,
            gone in 0_usize..12,
            keys in prop::collection::vec(any::<u64>(), 1..200),
        ) {
            let gone = gone % count;
            let shares = shares(&vec![1; count]);
            for key in keys {
                let before = shares.owner(key, |_| true);
                let after = shares.owner(key, |it| it != gone);
                prop_assert!(before == after || before == Some(gone));
                prop_assert_ne!(after, Some(gone));
            }
        }
    }

    #[test]
    fn keys_are_shared_by_weight() {
        let shares = shares(&[3, 1]);
        let of_the_first = (0..10_000_u64)
            .filter(|it| shares.owner(key(&it.to_le_bytes()), |_| true) == Some(0))
            .count();
        assert!((7_300..7_700).contains(&of_the_first), "{of_the_first}");
    }
}
