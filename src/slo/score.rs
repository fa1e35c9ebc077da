//! How well alerts told of incidents that are known: what was caught, how soon, and what was told of nothing.
//!
//! A firing *catches* an incident when it is of an SLO that the incident concerns and starts from a quarter of an hour before
//! the incident to its end. Precision is the share of pages that catch one, recall the share of incidents that a page catches.
//! What is not defined is `None`: without a page there is no precision, and without an incident no recall.

use std::time::Duration;

use super::backtest::Firing;
use super::policy::Severity;
use crate::model::Timestamp;

/// So much before an incident begins a firing may start and still be about it: people who label incidents write down when they
/// noticed them.
pub const EARLY: Duration = Duration::from_secs(900);

/// Something that went wrong, whoever says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// When it began.
    pub from: Timestamp,
    /// When it ended; not before it began.
    pub to: Timestamp,
    /// The places of the SLOs that it concerns, rising.
    pub slos: Vec<usize>,
}

impl Trouble {
    /// Whether a firing of the SLO at this place catches it.
    pub fn is_caught_by(&self, slo: usize, firing: &Firing) -> bool {
        self.slos.binary_search(&slo).is_ok()
            && firing.from >= self.from.minus(EARLY)
            && firing.from <= self.to
    }
}

/// The first firing of a severity that caught an incident.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection<'f> {
    /// The place of its SLO.
    pub slo: usize,
    /// The firing.
    pub firing: &'f Firing,
    /// From the incident's beginning; nothing when it fired before.
    pub after: Duration,
}

/// How one profile fared.
#[derive(Clone, Debug, PartialEq)]
pub struct Score<'f> {
    /// Firings that page.
    pub pages: u64,
    /// Firings that open a ticket.
    pub tickets: u64,
    /// Pages that catch an incident.
    pub catching: u64,
    /// Incidents that a page catches.
    pub caught: u64,
    /// The first page of each incident, in the order of the incidents; `None`: no page caught it.
    pub paged: Vec<Option<Detection<'f>>>,
    /// The same of tickets.
    pub ticketed: Vec<Option<Detection<'f>>>,
}

impl<'f> Score<'f> {
    /// Of firings with the place of their SLO, in any order.
    pub fn new(troubles: &[Trouble], firings: &[(usize, &'f Firing)]) -> Self {
        let of = |severity: Severity| {
            firings
                .iter()
                .copied()
                .filter(move |(_, firing)| firing.row.severity == severity)
        };
        let catches = |slo: usize, firing: &Firing| {
            troubles
                .iter()
                .any(|trouble| trouble.is_caught_by(slo, firing))
        };
        let first = |trouble: &Trouble, severity: Severity| {
            let catching = of(severity).filter(|(slo, firing)| trouble.is_caught_by(*slo, firing));
            let (slo, firing) = catching.min_by_key(|(slo, firing)| (firing.from, *slo))?;
            let after = firing.from.since(trouble.from);
            Some(Detection { slo, firing, after })
        };
        let each = |severity| troubles.iter().map(move |it| first(it, severity));
        let paged: Vec<_> = each(Severity::Page).collect();
        Self {
            pages: of(Severity::Page).count() as u64,
            tickets: of(Severity::Ticket).count() as u64,
            catching: of(Severity::Page)
                .filter(|(slo, firing)| catches(*slo, firing))
                .count() as u64,
            caught: paged.iter().flatten().count() as u64,
            ticketed: each(Severity::Ticket).collect(),
            paged,
        }
    }

    /// Pages that catch an incident ÷ pages; `None` without a page.
    pub fn precision(&self) -> Option<f64> {
        (self.pages > 0).then(|| self.catching as f64 / self.pages as f64)
    }

    /// Incidents that a page catches ÷ incidents; `None` without an incident.
    pub fn recall(&self) -> Option<f64> {
        let incidents = self.paged.len();
        (incidents > 0).then(|| self.caught as f64 / incidents as f64)
    }

    /// The middle of how long the incidents that were caught had to wait for their page; `None` when none was.
    pub fn median_detection(&self) -> Option<Duration> {
        let caught = self.paged.iter().flatten();
        let seconds = median(caught.map(|it| it.after.as_secs_f64()).collect())?;
        Some(Duration::from_secs_f64(seconds))
    }
}

/// The middle of values, or the mean of the two in the middle; `None` of none.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (middle, is_odd) = (values.len() / 2, values.len() % 2 == 1);
    let upper = *values.get(middle)?;
    Some(if is_odd {
        upper
    } else {
        f64::midpoint(values[middle - 1], upper)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Window;
    use crate::slo::policy::{Factor, Row, Tier};

    const MINUTE: u64 = 60;

    fn firing(severity: Severity, minute: u64) -> Firing {
        Firing {
            alert: "a".to_owned(),
            row: Row {
                severity,
                tier: Tier::Fast,
                long: Window::hours(1),
                short: Window::minutes(5),
                factor: Factor::milli(14_400),
            },
            from: Timestamp::from_secs(minute * MINUTE),
            until: None,
            bad: 1,
            budget_ratio: None,
        }
    }

    fn trouble(from: u64, to: u64, slos: &[usize]) -> Trouble {
        Trouble {
            from: Timestamp::from_secs(from * MINUTE),
            to: Timestamp::from_secs(to * MINUTE),
            slos: slos.to_vec(),
        }
    }

    #[test]
    fn a_firing_catches_from_a_quarter_of_an_hour_before_to_the_end() {
        let incident = trouble(100, 130, &[1, 3]);
        for (slo, minute, caught) in [
            (1, 84, false),
            (1, 85, true),
            (3, 100, true),
            (1, 130, true),
            (1, 131, false),
            (2, 110, false),
        ] {
            let firing = firing(Severity::Page, minute);
            assert_eq!(
                incident.is_caught_by(slo, &firing),
                caught,
                "{slo} at {minute}"
            );
        }
    }

    #[test]
    fn what_is_not_defined_is_none() {
        let page = firing(Severity::Page, 5);
        let quiet = Score::new(&[], &[]);
        assert_eq!(
            (quiet.precision(), quiet.recall(), quiet.median_detection()),
            (None, None, None)
        );
        let noisy = Score::new(&[], &[(0, &page)]);
        assert_eq!((noisy.precision(), noisy.recall()), (Some(0.0), None));
        let ticket = firing(Severity::Ticket, 5);
        let told = Score::new(&[trouble(0, 9, &[0])], &[(0, &ticket)]);
        assert_eq!((told.precision(), told.recall()), (None, Some(0.0)));
        assert_eq!(told.median_detection(), None);
        let late = told.ticketed[0].map(|it| it.after.as_secs());
        assert_eq!(late, Some(300), "a ticket is told apart");
    }

    #[test]
    fn the_first_page_detects_and_one_that_is_early_does_so_at_once() {
        let firings = [80, 95, 112, 140].map(|minute| firing(Severity::Page, minute));
        let of_slo: Vec<(usize, &Firing)> = firings.iter().map(|it| (0, it)).collect();
        let troubles = [
            trouble(100, 130, &[0]),
            trouble(105, 115, &[0]),
            trouble(300, 310, &[0]),
            trouble(110, 120, &[0]),
        ];
        let score = Score::new(&troubles, &of_slo);
        let after: Vec<_> = score
            .paged
            .iter()
            .map(|it| it.map(|it| it.after.as_secs() / MINUTE))
            .collect();
        assert_eq!(after, [Some(0), Some(0), None, Some(0)]);
        assert_eq!((score.pages, score.catching, score.caught), (4, 2, 3));
        assert_eq!((score.precision(), score.recall()), (Some(0.5), Some(0.75)));
    }

    #[test]
    fn a_median_is_in_the_middle() {
        for (values, middle) in [
            (vec![], None),
            (vec![7.0], Some(7.0)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
            (vec![4.0, 1.0, 2.0, 9.0], Some(3.0)),
        ] {
            assert_eq!(median(values.clone()), middle, "{values:?}");
        }
    }

    proptest! {
        /// Counted one by one, with the definition and nothing else.
        #[test]
        fn scores_are_what_the_definition_counts(
            incidents in prop::collection::vec((0_u64..600, 0_u64..60, 0_usize..3), 0..6),
            fired in prop::collection::vec((0_usize..3, any::<bool>(), 0_u64..700), 0..30),
        ) {
            let troubles: Vec<Trouble> = incidents
                .iter()
                .map(|(from, lasts, slo)| trouble(*from, from + lasts, &[*slo]))
                .collect();
            let firings: Vec<(usize, Firing)> = fired
                .iter()
                .map(|(slo, pages, minute)| {
                    let severity = if *pages { Severity::Page } else { Severity::Ticket };
                    (*slo, firing(severity, *minute))
                })
                .collect();
            let given: Vec<(usize, &Firing)> = firings.iter().map(|(slo, it)| (*slo, it)).collect();
            let score = Score::new(&troubles, &given);
            let about = |slo: usize, minute: u64, incident: &(u64, u64, usize)| {
                incident.2 == slo && minute + 15 >= incident.0 && minute <= incident.0 + incident.1
            };
            let pages: Vec<_> = fired.iter().filter(|it| it.1).collect();
            let catching = pages.iter().filter(|it| incidents.iter().any(|one| about(it.0, it.2, one)));
            let caught = incidents.iter().filter(|one| pages.iter().any(|it| about(it.0, it.2, one)));
            prop_assert_eq!(score.pages, pages.len() as u64);
            prop_assert_eq!(score.catching, catching.count() as u64);
            prop_assert_eq!(score.caught, caught.count() as u64);
            for ratio in [score.precision(), score.recall()].into_iter().flatten() {
                prop_assert!((0.0..=1.0).contains(&ratio));
            }
            // A page of nothing costs precision, and changes nothing else.
            let noise = firing(Severity::Page, 10_000);
            let with_noise: Vec<_> = given.iter().copied().chain([(0, &noise)]).collect();
            let noisy = Score::new(&troubles, &with_noise);
            prop_assert_eq!(noisy.recall(), score.recall());
            prop_assert_eq!(noisy.median_detection(), score.median_detection());
            let before = score.precision().unwrap_or(1.0);
            prop_assert!(noisy.precision().is_some_and(|it| it < before || score.catching == 0));
            // One more page never catches less.
            let incident = Trouble { from: Timestamp::from_secs(0), ..trouble(0, 900, &[0]) };
            let mut more = troubles.clone();
            more.push(incident);
            let scored = Score::new(&more, &with_noise);
            prop_assert!(scored.catching >= noisy.catching);
        }
    }
}
