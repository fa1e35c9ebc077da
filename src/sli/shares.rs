//! Which routes the latest events of an SLO came from, when it is about several: of a budget that burns, that is where to
//! look first.

use std::collections::{BTreeMap, VecDeque};

use crate::model::{RouteKey, Tally};

/// Minutes that are kept: five whole ones and the one that goes on.
const MINUTES: u64 = 6;

/// Events of the last five to six minutes by route. It grows with the routes that had any, never with requests.
#[derive(Clone, Debug, Default)]
pub struct Shares(VecDeque<(u64, BTreeMap<RouteKey, Tally>)>);

impl Shares {
    /// Counts events of a second. Those older than the newest minute count in it, so that nothing is lost when a clock is
    /// set back.
    pub fn add(&mut self, second: u64, route: RouteKey, tally: Tally) {
        let minute = second / 60;
        if self.0.back().is_none_or(|(newest, _)| *newest < minute) {
            self.0.push_back((minute, BTreeMap::new()));
        }
        if let Some((_, routes)) = self.0.back_mut() {
            *routes.entry(route).or_default() += tally;
        }
        self.forget(second);
    }

    /// Forgets what is too old in second `now`.
    pub fn forget(&mut self, now: u64) {
        let oldest = (now / 60).saturating_sub(MINUTES - 1);
        while self.0.front().is_some_and(|(minute, _)| *minute < oldest) {
            self.0.pop_front();
        }
    }

    /// What every route counted, in the order of their keys.
    pub fn of_routes(&self) -> Vec<(RouteKey, Tally)> {
        let mut sums: BTreeMap<RouteKey, Tally> = BTreeMap::new();
        for (route, tally) in self.0.iter().flat_map(|(_, routes)| routes) {
            *sums.entry(*route).or_default() += *tally;
        }
        sums.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn bad(bad: u64) -> Tally {
        Tally { good: 0, bad }
    }

    #[test]
    fn what_is_older_than_five_minutes_is_forgotten_by_the_minute() {
        let (a, b) = (RouteKey(1), RouteKey(2));
        let mut shares = Shares::default();
        shares.add(600, a, bad(1));
        shares.add(659, b, bad(2));
        shares.add(700, a, bad(4));
        assert_eq!(shares.of_routes(), [(a, bad(5)), (b, bad(2))]);
        shares.forget(959);
        assert_eq!(shares.of_routes(), [(a, bad(5)), (b, bad(2))]);
        shares.forget(960);
        assert_eq!(shares.of_routes(), [(a, bad(4))]);
        shares.forget(2_000);
        assert_eq!(shares.of_routes(), []);
    }

    #[test]
    fn a_clock_that_was_set_back_loses_nothing() {
        let route = RouteKey(1);
        let mut shares = Shares::default();
        shares.add(600, route, bad(1));
        shares.add(60, route, bad(1));
        assert_eq!(shares.of_routes(), [(route, bad(2))]);
    }
}
