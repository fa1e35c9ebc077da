//! Whether the ingress as a whole is out, which is one page and not one for each route.

use crate::model::Tally;

/// The span that is looked at, in seconds.
pub const LOOK_S: u64 = 20;
/// Bad requests in it below which nothing is said.
const LEAST_BAD: u64 = 10;

/// What an outage looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Valid requests of all routes.
    pub tally: Tally,
    /// Routes of whose valid requests most were bad.
    pub failing: u64,
    /// Routes that had valid requests.
    pub busy: u64,
    /// Probes that fail.
    pub failing_probes: u64,
    /// Probes that were run.
    pub probes: u64,
}

impl Outage {
    /// Looks at each route's valid requests of the last [`LOOK_S`] seconds, and at each probe, whether it fails.
    ///
    /// `None` unless at least two routes, and most of those that are busy, fail most of their requests: one route alone
    /// is its own SLO's business. Without users the probes decide, when there are two or more and all fail.
    pub fn of(
        routes: impl IntoIterator<Item = Tally>,
        probes: impl IntoIterator<Item = bool>,
    ) -> Option<Self> {
        let mut seen = Self {
            tally: Tally::default(),
            failing: 0,
            busy: 0,
            failing_probes: 0,
            probes: 0,
        };
        let fails = |tally: Tally| u128::from(tally.bad) * 2 > u128::from(tally.valid());
        for route in routes {
            seen.tally += route;
            seen.busy += u64::from(route.valid() > 0);
            seen.failing += u64::from(fails(route));
        }
        for probe in probes {
            seen.probes += 1;
            seen.failing_probes += u64::from(probe);
        }
        let users = seen.tally.bad >= LEAST_BAD
            && fails(seen.tally)
            && seen.failing >= 2
            && seen.failing * 2 > seen.busy;
        let probes =
            seen.tally.valid() == 0 && seen.probes >= 2 && seen.failing_probes == seen.probes;
        (users || probes).then_some(seen)
    }

    /// In one line: `4 of 5 routes fail, 83 of 100 requests in 20 s; 2 of 2 probes fail`.
    pub fn text(&self) -> String {
        let Self {
            tally,
            failing,
            busy,
            failing_probes,
            probes,
        } = self;
        let users = (tally.valid() > 0).then(|| {
            format!(
                "{failing} of {busy} busy routes fail, {} of {} requests in {LOOK_S} s",
                tally.bad,
                tally.valid()
            )
        });
        let probes = (*probes > 0).then(|| format!("{failing_probes} of {probes} probes fail"));
        let both: Vec<String> = users.into_iter().chain(probes).collect();
        format!("the ingress is out: {}", both.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_routes_must_fail_most_requests_or_all_probes_where_there_are_no_users() {
        let (well, ill, idle) = (
            Tally { good: 90, bad: 10 },
            Tally { good: 10, bad: 90 },
            Tally::default(),
        );
        for (what, routes, probes, out) in [
            ("all fail", vec![ill, ill], vec![], true),
            ("most fail", vec![ill, ill, well, idle], vec![false], true),
            ("half fail", vec![ill, ill, well, well], vec![true], false),
            ("one route alone", vec![ill, idle], vec![true], false),
            (
                "few requests",
                vec![Tally { good: 0, bad: 4 }; 2],
                vec![],
                false,
            ),
            (
                "no users and all probes fail",
                vec![idle],
                vec![true, true],
                true,
            ),
            ("no users and one probe", vec![idle], vec![true], false),
            (
                "no users and a probe is well",
                vec![],
                vec![true, true, false],
                false,
            ),
            (
                "a large route is well",
                vec![
                    ill,
                    ill,
                    Tally {
                        good: 9_000,
                        bad: 0,
                    },
                ],
                vec![],
                false,
            ),
        ] {
            assert_eq!(Outage::of(routes, probes).is_some(), out, "{what}");
        }
        let text = Outage::of([ill, ill], [true]).unwrap().text();
        assert_eq!(
            text,
            "the ingress is out: 2 of 2 busy routes fail, 180 of 200 requests in 20 s; 1 of 1 probes fail"
        );
    }
}
