//! When a certificate is worth attention, in shares of its own life.
//!
//! Lifetimes go from a year to six days, and to a minute on a game day. Fixed days would be silent about the one and
//! never be silent about the other. So everything is a share of the life, and the first thing said is that a renewal is
//! overdue, not that the end is near; only the page is also bounded by 24 hours.

use crate::model::{CertificateFacts, Timestamp};

/// How far a certificate has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing is to be done yet.
    Fine,
    /// A renewal is due.
    Due,
    /// A renewal should have happened.
    Warn,
    /// Someone should look in working hours.
    Ticket,
    /// Someone should be woken.
    Page,
}

/// What is left of a certificate's life, in milliseconds, when each stage begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// A third of the life; half of one below ten days.
    pub due_ms: u64,
    /// A tenth of that later.
    pub warn_ms: u64,
    /// 15 % of the life; 30 % of one below ten days.
    pub ticket_ms: u64,
    /// 24 hours, at most 15 % of the life.
    pub page_ms: u64,
}

const DAY_MS: u64 = 86_400_000;
/// Below this, those who issue certificates expect them to be renewed at half of their life.
const SHORT_MS: u64 = 10 * DAY_MS;

impl Deadlines {
    /// Those of a certificate that lives for `lifetime_ms`.
    pub const fn of(lifetime_ms: u64) -> Self {
        let is_short = lifetime_ms < SHORT_MS;
        let due_ms = lifetime_ms / if is_short { 2 } else { 3 };
        let percent = lifetime_ms / 100;
        let page_ms = percent * 15;
        Self {
            due_ms,
            warn_ms: due_ms - due_ms / 10,
            ticket_ms: percent * if is_short { 30 } else { 15 },
            page_ms: if page_ms < DAY_MS { page_ms } else { DAY_MS },
        }
    }

    /// The same when a renewal is expected with `due_ms` left rather than with the usual share. One that would only be
    /// overdue when it is urgent, like a window that ends with the life, says nothing of when it should have come: then the
    /// usual share holds.
    #[must_use]
    pub const fn expected(self, due_ms: u64) -> Self {
        let warn_ms = due_ms - due_ms / 10;
        if warn_ms <= self.ticket_ms {
            return self;
        }
        Self {
            due_ms,
            warn_ms,
            ..self
        }
    }

    /// How far a certificate of this lifetime has come with `left_ms` to go.
    pub const fn stage(self, left_ms: i64) -> Stage {
        let Self {
            due_ms,
            warn_ms,
            ticket_ms,
            page_ms,
        } = self;
        if left_ms <= page_ms as i64 {
            Stage::Page
        } else if left_ms <= ticket_ms as i64 {
            Stage::Ticket
        } else if left_ms <= warn_ms as i64 {
            Stage::Warn
        } else if left_ms <= due_ms as i64 {
            Stage::Due
        } else {
            Stage::Fine
        }
    }
}

/// How far `certificate` has come at `now`. One that is not valid yet is at no stage of its life: see its dates. `expected`
/// is when its renewal is expected at the latest, where somebody said so.
pub fn stage(certificate: &CertificateFacts, expected: Option<Timestamp>, now: Timestamp) -> Stage {
    let deadlines = Deadlines::of(certificate.lifetime_ms());
    let deadlines = match expected {
        Some(at) => {
            let left_then = u64::try_from(certificate.left_ms(at)).unwrap_or(0);
            deadlines.expected(left_then.min(certificate.lifetime_ms()))
        }
        None => deadlines,
    };
    deadlines.stage(certificate.left_ms(now))
}

/// When its renewal is due.
pub const fn due_at(certificate: &CertificateFacts) -> Timestamp {
    let due_ms = Deadlines::of(certificate.lifetime_ms()).due_ms;
    Timestamp::from_millis((certificate.not_after.as_millis() + 1_000).saturating_sub(due_ms))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn deadlines_are_shares_of_the_life_and_the_page_at_most_a_day() {
        const HOUR: f64 = 3_600_000.0;
        const DAY: f64 = 24.0 * HOUR;
        for (lifetime, due, warn, ticket, page) in [
            (398.0 * DAY, 132.7 * DAY, 119.4 * DAY, 59.7 * DAY, DAY),
            (200.0 * DAY, 66.7 * DAY, 60.0 * DAY, 30.0 * DAY, DAY),
            (90.0 * DAY, 30.0 * DAY, 27.0 * DAY, 13.5 * DAY, DAY),
            (47.0 * DAY, 15.7 * DAY, 14.1 * DAY, 7.05 * DAY, DAY),
            (160.0 * HOUR, 80.0 * HOUR, 72.0 * HOUR, 48.0 * HOUR, DAY),
            (60_000.0, 30_000.0, 27_000.0, 18_000.0, 9_000.0),
        ] {
            let deadlines = Deadlines::of(lifetime as u64);
            for (is, wanted) in [
                (deadlines.due_ms, due),
                (deadlines.warn_ms, warn),
                (deadlines.ticket_ms, ticket),
                (deadlines.page_ms, page),
            ] {
                assert!(
                    (is as f64 / wanted - 1.0).abs() < 0.003,
                    "{lifetime}: {is} {wanted}"
                );
            }
        }
    }

    #[test]
    fn a_renewal_that_is_expected_later_is_overdue_later_and_the_page_stays() {
        let certificate = CertificateFacts {
            not_before: Timestamp::from_secs(0),
            not_after: Timestamp::from_millis(90 * DAY_MS - 1_000),
            ..CertificateFacts::default()
        };
        let left = |days: u64| Timestamp::from_millis((90 - days) * DAY_MS);
        let expected = Some(left(20));
        for (days, usual, later) in [
            (31, Stage::Fine, Stage::Fine),
            (26, Stage::Warn, Stage::Fine),
            (19, Stage::Warn, Stage::Due),
            (17, Stage::Warn, Stage::Warn),
            (13, Stage::Ticket, Stage::Ticket),
            (1, Stage::Page, Stage::Page),
        ] {
            assert_eq!(stage(&certificate, None, left(days)), usual, "{days}");
            assert_eq!(stage(&certificate, expected, left(days)), later, "{days}");
        }
    }

    #[test]
    fn a_window_that_ends_with_the_life_leaves_the_usual_deadlines() {
        let minute = Deadlines::of(60_000);
        for left_ms in [0, 10_000, 19_000] {
            assert_eq!(minute.expected(left_ms), minute, "{left_ms}");
        }
        assert_eq!(minute.expected(25_000).warn_ms, 22_500);
    }

    proptest! {
        /// For any life from ten seconds to ten years: the stages come in order, none while more than half is left, and
        /// an expired certificate is a page.
        #[test]
        fn stages_come_in_order(lifetime in 10_000_u64..315_360_000_000, a in 0.0..1.2, b in 0.0..1.2) {
            let deadlines = Deadlines::of(lifetime);
            let (earlier, later) = (f64::min(a, b), f64::max(a, b));
            let at = |passed: f64| deadlines.stage(((1.0 - passed) * lifetime as f64) as i64);
            prop_assert!(at(earlier) <= at(later));
            prop_assert_eq!(at(0.49), Stage::Fine);
            prop_assert_eq!(at(1.0), Stage::Page);
            let Deadlines { due_ms, warn_ms, ticket_ms, page_ms } = deadlines;
            prop_assert!(due_ms >= warn_ms && warn_ms >= ticket_ms && ticket_ms >= page_ms && page_ms <= DAY_MS);
        }
    }
}
