//! What deploys spent of the budgets: counted apart, never subtracted.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::model::{Tally, Timestamp};

/// Deploys that are remembered at most.
pub const MOST: usize = 100;

/// One deploy with a window, and what happened in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// The id of its silence.
    pub id: String,
    /// The upstream that got a new version.
    pub upstream: String,
    /// The version.
    pub version: String,
    /// When its window began.
    pub from: Timestamp,
    /// When it ended; `None` while it is open.
    pub until: Option<Timestamp>,
    /// The SLOs of the upstream's routes.
    pub slos: Vec<Booked>,
}

/// One SLO in a deploy's window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booked {
    /// The SLO's id.
    pub slo: String,
    /// Its counter when the window began.
    pub before: Tally,
    /// What was counted in the window; `None` while it is open.
    pub spent: Option<Tally>,
}

/// All that are remembered, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bookings(VecDeque<Booking>);

impl Bookings {
    /// Begins to count for a deploy.
    pub fn open(&mut self, booking: Booking) {
        self.0.push_front(booking);
        self.0.truncate(MOST);
    }

    /// Ends the count of those whose silence is no longer `open`; gives them. `read` is an SLO's counter now; one that
    /// is gone counted nothing more.
    pub fn close(
        &mut self,
        now: Timestamp,
        open: impl Fn(&str) -> bool,
        read: impl Fn(&str) -> Option<Tally>,
    ) -> Vec<Booking> {
        let mut closed = Vec::new();
        for booking in &mut self.0 {
            if booking.until.is_some() || open(&booking.id) {
                continue;
            }
            booking.until = Some(now);
            for booked in &mut booking.slos {
                let after = read(&booked.slo).unwrap_or(booked.before);
                booked.spent = Some(after - booked.before);
            }
            closed.push(booking.clone());
        }
        closed
    }

    /// All of them, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Booking> {
        self.0.iter()
    }

    /// Whether one is open.
    pub fn has_open(&self) -> bool {
        self.0.iter().any(|booking| booking.until.is_none())
    }
}

impl Booked {
    /// What was counted in the window so far, where the SLO's counter stands at `now`.
    pub fn so_far(&self, now: Option<Tally>) -> Tally {
        self.spent
            .unwrap_or_else(|| now.map_or_else(Tally::default, |now| now - self.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booking(id: &str) -> Booking {
        Booking {
            id: id.to_owned(),
            upstream: "shop".to_owned(),
            version: "v2".to_owned(),
            from: Timestamp::from_secs(100),
            until: None,
            slos: vec![Booked {
                slo: "a".to_owned(),
                before: Tally { good: 10, bad: 1 },
                spent: None,
            }],
        }
    }

    #[test]
    fn a_window_counts_what_happened_in_it_and_no_more() {
        let mut bookings = Bookings::default();
        bookings.open(booking("w"));
        let read = |good, bad| move |_: &str| Some(Tally { good, bad });
        let now = Timestamp::from_secs(200);
        assert_eq!(bookings.close(now, |id| id == "w", read(20, 5)), []);
        let open = bookings.iter().next().unwrap();
        let so_far = open.slos[0].so_far(Some(Tally { good: 20, bad: 5 }));
        assert_eq!(so_far, Tally { good: 10, bad: 4 });
        let closed = bookings.close(now, |_| false, read(30, 8));
        assert_eq!(closed[0].slos[0].spent, Some(Tally { good: 20, bad: 7 }));
        assert_eq!(bookings.close(now, |_| false, read(90, 90)), [], "once");
        assert!(!bookings.has_open());
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut bookings = Bookings::default();
        for id in 0..MOST + 5 {
            bookings.open(booking(&id.to_string()));
        }
        assert_eq!(bookings.iter().count(), MOST);
        assert_eq!(bookings.iter().next().unwrap().id, (MOST + 4).to_string());
    }
}
