//! Rate limits that are promised something of: what each let through and turned away, second by second.

use std::collections::HashMap;

use crate::model::{About, Slo, SloKey, Tally};
use crate::proxy::limit::LimitCount;

/// Every SLO of a rate limit, and how far each limit had come.
#[derive(Debug, Default)]
pub(super) struct Tiers {
    slos: Vec<(SloKey, String)>,
    known: HashMap<String, Tally>,
}

impl Tiers {
    /// Counts for these SLOs from now on.
    pub(super) fn configure(&mut self, slos: &[(SloKey, Slo)]) {
        let tier = |(key, slo): &(SloKey, Slo)| match &slo.about {
            About::Limit(name) => Some((*key, name.clone())),
            About::Route(_)
            | About::Upstream(_)
            | About::Owner(_)
            | About::Ingress
            | About::Parts => None,
        };
        self.slos = slos.iter().filter_map(tier).collect();
    }

    /// What is new since this was last told.
    pub(super) fn absorb<'a>(
        &mut self,
        counts: impl Iterator<Item = LimitCount<'a>>,
    ) -> Vec<(SloKey, Tally)> {
        let mut fresh = Vec::new();
        let before = std::mem::take(&mut self.known);
        for count in counts {
            let all = Tally {
                good: count.passed,
                bad: count.denied,
            };
            // A limit that is new, or has come back, counts from zero.
            let known = before.get(count.name).copied().unwrap_or_default();
            let new = Tally {
                good: all.good.saturating_sub(known.good),
                bad: all.bad.saturating_sub(known.bad),
            };
            let of_it = self.slos.iter().filter(|(_, name)| name == count.name);
            fresh.extend(
                of_it
                    .filter(|_| new.valid() > 0)
                    .map(|(key, _)| (*key, new)),
            );
            self.known.insert(count.name.to_owned(), all);
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Sli, Window};

    #[test]
    fn each_limit_counts_for_what_is_promised_of_it_and_nothing_twice() {
        let slo = |limit: &str| Slo {
            id: limit.to_owned(),
            about: About::Limit(limit.to_owned()),
            owner: None,
            sli: Sli::RateLimit,
            slices: None,
            parts: Vec::new(),
            probe: None,
            objective: "99%".parse().unwrap(),
            window: Window::days(30),
            calendar: None,
            policy: "workbook".to_owned(),
            runbook: None,
        };
        let mut tiers = Tiers::default();
        tiers.configure(&[(SloKey(0), slo("gold")), (SloKey(1), slo("free"))]);
        let count = |name, passed, denied| LimitCount {
            name,
            refused: denied,
            evicted: 0,
            passed,
            denied,
        };
        let tally = |good, bad| Tally { good, bad };
        let first = tiers.absorb([count("gold", 10, 0), count("other", 5, 5)].into_iter());
        assert_eq!(first, [(SloKey(0), tally(10, 0))]);
        let second = tiers.absorb([count("gold", 12, 1), count("free", 0, 3)].into_iter());
        assert_eq!(second, [(SloKey(0), tally(2, 1)), (SloKey(1), tally(0, 3))]);
        assert_eq!(tiers.absorb([count("gold", 12, 1)].into_iter()), []);
    }
}
