//! Which alerts would have fired over a recorded history: the same conditions, guards and state machine that judge live
//! traffic, run over its minutes.
//!
//! A minute is judged when it is over, so that what is told is at most a minute later than it would have been live.

use std::time::Duration;

use super::alert::{Alert, AlertState, Condition};
use super::attribution::Piece;
use super::budget::Budget;
use super::policy::{Policy, Row};
use crate::model::{Period, Slo, Span, Tally, Timestamp, Window};

/// A minute, in seconds.
const MINUTE_S: u64 = 60;

/// An SLO's recorded events, summed up so that any window is read at once.
#[derive(Clone, Debug)]
pub struct Record {
    /// The first minute that is known, in minutes since the epoch.
    first: u64,
    /// Everything before each minute, and measured seconds; one more than there are minutes.
    sums: Vec<(Tally, u64)>,
    /// What lies before the first minute, by the hour, oldest first: (first second, its events, measured seconds).
    hours: Vec<(u64, Tally, u64)>,
}

impl Record {
    /// From minutes: `minute(i)` gives what was counted in the i-th minute after `first`, in minutes since the epoch, and
    /// whether it was measured; `count` of them. `hours` are older, by their first second.
    pub fn new(
        first: u64,
        count: u64,
        mut minute: impl FnMut(u64) -> (Tally, bool),
        hours: Vec<(u64, Tally, u64)>,
    ) -> Self {
        let mut sums = Vec::with_capacity(count as usize + 1);
        let mut sum = (Tally::default(), 0);
        // Hours are cumulated as well, from their own beginning.
        let mut hours = hours;
        let mut before = (Tally::default(), 0);
        for (_, tally, measured) in &mut hours {
            let (own, own_measured) = (*tally, *measured);
            (*tally, *measured) = before;
            before = (before.0 + own, before.1 + own_measured);
        }
        sum.0 += before.0;
        sum.1 += before.1;
        sums.push(sum);
        for place in 0..count {
            let (tally, measured) = minute(place);
            sum.0 += tally;
            sum.1 += if measured { MINUTE_S } else { 0 };
            sums.push(sum);
        }
        Self { first, sums, hours }
    }

    /// What happened in the `window` that ends with the `place`-th minute.
    fn over(&self, window: Window, place: u64) -> Span {
        let end = (self.first + place + 1) * MINUTE_S;
        let (newest, covered) = self.sums[place as usize + 1];
        let (oldest, covered_before) = self.at(end.saturating_sub(window.as_secs()));
        Span {
            tally: newest - oldest,
            covered_s: (covered - covered_before).min(window.as_secs()),
        }
    }

    /// Everything before `second`, from the minute or the hour that it lies in.
    fn at(&self, second: u64) -> (Tally, u64) {
        if let Some(place) = (second / MINUTE_S).checked_sub(self.first) {
            return self.sums[(place as usize).min(self.sums.len() - 1)];
        }
        let later = self.hours.partition_point(|(start, _, _)| *start <= second);
        match later.checked_sub(1) {
            Some(place) => (self.hours[place].1, self.hours[place].2),
            None => (Tally::default(), 0),
        }
    }

    fn minutes(&self) -> u64 {
        self.sums.len() as u64 - 1
    }

    /// What was counted between two moments within the minutes, each rounded down to its minute.
    pub fn between(&self, from: Timestamp, to: Timestamp) -> Tally {
        let (before, _) = self.at(from.as_secs());
        let (after, _) = self.at(to.as_secs());
        after - before
    }

    /// Measured seconds between two moments, as [`Record::between`].
    pub fn measured_s(&self, from: Timestamp, to: Timestamp) -> u64 {
        let (_, before) = self.at(from.as_secs());
        let (_, after) = self.at(to.as_secs());
        after.saturating_sub(before)
    }

    /// The minutes in which anything was counted, in rising order.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let minutes = self.sums.windows(2).zip(self.first..);
        minutes.filter_map(|(sums, minute)| {
            let tally = sums[1].0 - sums[0].0;
            (tally.valid() > 0).then_some(Piece {
                start_secs: minute * MINUTE_S,
                width_s: MINUTE_S,
                tally,
            })
        })
    }

    /// Bad events that the budget of `slo` allows as of `at`: over the window that ends then, or over the calendar's period that
    /// the second before it lies in, as far as the record goes. What is missing of either counts as busy as what was measured.
    pub fn allowed(&self, slo: &Slo, at: Timestamp) -> f64 {
        let last = Timestamp::from_secs(at.as_secs().saturating_sub(1));
        let (from, to, length) = match &slo.calendar {
            Some(calendar) => {
                let period = calendar.period(last);
                let to = Timestamp::from_secs(period.end_secs);
                (Timestamp::from_secs(period.start_secs), to, period.length())
            }
            None => (at.minus(slo.window.duration()), at, slo.window),
        };
        let valid = self.between(from, to).valid() as f64;
        let covered = self.measured_s(from, to).clamp(1, length.as_secs().max(1)) as f64;
        valid * f64::from(slo.objective.budget_ppm()) / 1e6 * length.as_secs() as f64 / covered
    }
}

/// One time that an alert would have fired.
#[derive(Clone, Debug, PartialEq)]
pub struct Firing {
    /// The alert's id, as live.
    pub alert: String,
    /// The row that fires.
    pub row: Row,
    /// When it would have fired.
    pub from: Timestamp,
    /// When it would have resolved; `None`: it still fired at the end.
    pub until: Option<Timestamp>,
    /// Bad events in the long window when it fired.
    pub bad: u64,
    /// The share of the SLO's budget that was spent in the long window when it fired, where what is missing of the history
    /// is taken to have been as busy as the rest; `None` without a valid event in the budget's window. With a calendar it is
    /// the period's budget, at the traffic of the period so far, and what was spent of it: not what the long window holds of
    /// the period before.
    pub budget_ratio: Option<f64>,
}

/// What an SLO's alerts would have done over its record, oldest first, as judged by `policy`.
pub fn run(slo: &Slo, policy: &Policy, record: &Record) -> Vec<Firing> {
    let guards = policy.guards.of(slo);
    let rows = policy.rows_over(slo.window);
    let mut rows: Vec<Watched> = rows.iter().map(Watched::new).collect();
    let mut firings: Vec<Firing> = Vec::new();
    let mut period: Option<Period> = None;
    for place in 0..record.minutes() {
        let end = Timestamp::from_secs((record.first + place + 1) * MINUTE_S);
        let last = Timestamp::from_secs(end.as_secs() - 1);
        if let Some(calendar) = &slo.calendar
            && !period.is_some_and(|period| period.holds(last))
        {
            let begun = calendar.period(last);
            for (watched, row) in rows.iter_mut().zip(&policy.rows) {
                watched.row = row.within(begun.length(), slo.window);
            }
            period = Some(begun);
        }
        for watched in &mut rows {
            let Watched {
                row, alert, open, ..
            } = watched;
            let long = record.over(row.long, place);
            // Most minutes are quiet, and a quiet one needs no other window.
            if long.tally.bad == 0 && alert.state() == AlertState::Inactive {
                continue;
            }
            let short = record.over(row.short, place);
            let whole = record.over(slo.window, place);
            let spans = (long, short, whole);
            let condition = Condition::of(row, slo.objective, spans, guards);
            if alert.evaluate(end, condition).is_none() {
                continue;
            }
            match alert.state() {
                AlertState::Firing => {
                    let (budgets, length) = match period {
                        None => (whole, slo.window),
                        Some(period) => (record.over(period.elapsed(last), place), period.length()),
                    };
                    let budget = Budget::new(slo.objective, budgets.tally);
                    let covered = budgets.covered_s as f64 / length.as_secs() as f64;
                    let spent = long.tally.bad.min(budgets.tally.bad);
                    *open = Some(firings.len());
                    firings.push(Firing {
                        alert: format!(
                            "{}:{}:{}",
                            slo.id,
                            row.severity.as_str(),
                            row.tier.as_str()
                        ),
                        row: *row,
                        from: end,
                        until: None,
                        bad: long.tally.bad,
                        budget_ratio: budget.share_of(spent).map(|share| share * covered),
                    });
                }
                AlertState::Resolved => {
                    if let Some(place) = open.take() {
                        firings[place].until = Some(end);
                    }
                }
                AlertState::Inactive | AlertState::Pending => {}
            }
        }
    }
    firings.sort_by(|a, b| a.from.cmp(&b.from).then_with(|| a.alert.cmp(&b.alert)));
    firings
}

struct Watched {
    row: Row,
    alert: Alert,
    /// The place of the firing that goes on.
    open: Option<usize>,
}

impl Watched {
    fn new(row: &Row) -> Self {
        Self {
            row: *row,
            alert: Alert::default(),
            open: None,
        }
    }
}

/// How long it fired, where `end` is that of the record.
pub fn lasted(firing: &Firing, end: Timestamp) -> Duration {
    firing.until.unwrap_or(end).since(firing.from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{About, Calendar, CalendarUnit, Sli, SloKey, Zone};
    use crate::slo::engine::Engine;
    use crate::slo::policy::{Factor, PolicyRow, Threshold};

    const FIRST: u64 = 2_000_000;

    fn slo() -> Slo {
        Slo {
            id: "s".to_owned(),
            about: About::Route("r".to_owned()),
            owner: None,
            sli: Sli::AVAILABILITY,
            slices: None,
            parts: Vec::new(),
            probe: None,
            objective: "99.9%".parse().unwrap(),
            window: Window::days(30),
            calendar: None,
            policy: "workbook".to_owned(),
            runbook: None,
        }
    }

    /// Minutes of a thousand requests, of which so many are bad.
    fn record(bad: &[u64]) -> Record {
        let minute = |place: u64| {
            let bad = bad[place as usize];
            (
                Tally {
                    good: 1_000 - bad,
                    bad,
                },
                true,
            )
        };
        Record::new(FIRST, bad.len() as u64, minute, Vec::new())
    }

    fn fired(bad: &[u64]) -> Vec<(String, u64, Option<u64>)> {
        let minute = |at: Timestamp| at.as_secs() / 60 - FIRST;
        run(&slo(), &Policy::workbook(), &record(bad))
            .into_iter()
            .map(|firing| (firing.alert, minute(firing.from), firing.until.map(minute)))
            .collect()
    }

    #[test]
    fn an_outage_fires_when_the_workbook_says_and_ends_with_its_short_window() {
        // A day without trouble, 15 % of errors for ten minutes, and no more.
        let mut bad = vec![0; 1_440];
        bad.extend([150; 10]);
        bad.extend([0; 600]);
        let firings = fired(&bad);
        let fast = firings.iter().find(|(id, _, _)| id == "s:page:fast");
        // 345.6 s are within the sixth minute; the short window clears 271.2 s after the end, and a minute passes.
        assert_eq!(
            fast,
            Some(&("s:page:fast".to_owned(), 1_446, Some(1_440 + 10 + 5 + 1)))
        );
    }

    #[test]
    fn a_quiet_month_fires_nothing_and_what_still_fires_has_no_end() {
        assert_eq!(fired(&vec![0; 43_200]), []);
        let mut bad = vec![0; 1_440];
        bad.extend([1_000; 30]);
        let firings = fired(&bad);
        assert!(
            firings.iter().all(|(_, _, until)| until.is_none()),
            "{firings:?}"
        );
        assert!(!firings.is_empty());
    }

    #[test]
    fn a_calendars_budget_is_that_of_its_period_and_begins_anew_with_it() {
        // Mondays begin at midnight in universal time; 1970-01-01 was a Thursday.
        let monday = |place: u64| (FIRST + place + 3 * 1_440).is_multiple_of(7 * 1_440);
        let begins = (0..7 * 1_440).find(|place| monday(*place)).unwrap();
        let weekly = Slo {
            window: Window::days(7),
            calendar: Some(Calendar {
                unit: CalendarUnit::Week,
                zone: Zone::UTC,
            }),
            ..slo()
        };
        // Total outage from an hour before the week to an hour into it, after days without trouble.
        let out = (begins - 60)..(begins + 60);
        let bad: Vec<u64> = (0..begins + 1_440)
            .map(|minute| if out.contains(&minute) { 1_000 } else { 0 })
            .collect();
        let record = record(&bad);
        let share = |firing: &Firing| firing.budget_ratio.unwrap();
        let firings = run(&weekly, &Policy::workbook(), &record);
        let page = firings.first().unwrap();
        // The old week: a thousand a minute, a thousandth of which may fail.
        let week = 7.0 * 1_440.0;
        assert!(
            (share(page) - page.bad as f64 / week).abs() < 1e-9,
            "{page:?}"
        );
        // A policy that fires only over six hours, which reach back into the old week: none of that is the new one's.
        let late = Policy {
            rows: vec![PolicyRow {
                long: Window::hours(6),
                short: Window::minutes(30),
                ..Policy::workbook().rows[1].over(Window::days(30)).into()
            }],
            ..Policy::workbook()
        };
        let mut late = late;
        late.rows[0].over = Threshold::Burn(Factor::milli(260_000));
        let firings = run(&weekly, &late, &record);
        let fired = firings.first().unwrap();
        let into = fired.from.as_secs() / 60 - FIRST - begins;
        assert!((1..=60).contains(&into), "{fired:?}");
        assert!(fired.bad > into * 1_000, "{fired:?}");
        assert!(
            (share(fired) - into as f64 * 1_000.0 / week).abs() < 1e-9,
            "{fired:?}"
        );
    }

    #[test]
    fn what_a_budget_allows_is_scaled_to_all_of_its_window() {
        // Two hours of a thousand a minute: a thirty-day budget of 99.9 % at that traffic is 43,200.
        let record = record(&vec![0; 120]);
        let at = |minute: u64| Timestamp::from_secs((FIRST + minute) * 60);
        for minute in [1, 60, 120] {
            let allowed = record.allowed(&slo(), at(minute));
            assert!((allowed - 43_200.0).abs() < 1e-6, "{minute}: {allowed}");
        }
        let monthly = Slo {
            calendar: Some(Calendar {
                unit: CalendarUnit::Month,
                zone: Zone::UTC,
            }),
            ..slo()
        };
        // 2,000,000 minutes after the epoch is in October 1973, which has 31 days.
        let allowed = record.allowed(&monthly, at(60));
        assert!((allowed - 44_640.0).abs() < 1e-6, "{allowed}");
        assert_eq!(record.between(at(10), at(12)).valid(), 2_000);
        assert_eq!(record.measured_s(at(10), at(12)), 120);
        assert_eq!(record.pieces().count(), 120);
    }

    #[test]
    fn older_hours_fill_the_long_windows() {
        // Three days of hours at four times the allowed rate, then minutes of the same.
        let hours = (0..72)
            .map(|hour| {
                let start = (FIRST - 72 * 60 + hour * 60) * 60;
                let tally = Tally {
                    good: 59_760,
                    bad: 240,
                };
                (start, tally, 3_600)
            })
            .collect();
        let minute = |_| (Tally { good: 996, bad: 4 }, true);
        let record = Record::new(FIRST, 10, minute, hours);
        assert_eq!(
            record.over(Window::days(3), 9).tally,
            Tally {
                good: 71 * 59_760 + 59_760 + 9_960,
                bad: 71 * 240 + 240 + 40
            },
            "the oldest hour is taken whole"
        );
        let firings = run(&slo(), &Policy::workbook(), &record);
        let ids: Vec<&str> = firings.iter().map(|firing| firing.alert.as_str()).collect();
        assert_eq!(ids, ["s:ticket:long", "s:ticket:slow"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// The live engine, asked at the end of each minute, says the same.
        #[test]
        fn it_says_what_the_live_engine_says(
            stretches in prop::collection::vec((1_usize..200, prop::sample::select(vec![0_u64, 1, 3, 20, 150, 1_000])), 1..12),
        ) {
            let bad: Vec<u64> = stretches
                .iter()
                .flat_map(|(minutes, bad)| std::iter::repeat_n(*bad, *minutes))
                .collect();
            let record = record(&bad);
            let key = SloKey(0);
            let mut engine = Engine::new(vec![(key, slo())], &Policy::shipped());
            let mut live = Vec::new();
            for place in 0..bad.len() as u64 {
                let end = Timestamp::from_secs((FIRST + place + 1) * 60);
                let evaluation = engine.evaluate(end, &|_, window| record.over(window, place));
                for change in evaluation.transitions {
                    match change.to {
                        AlertState::Firing => live.push((change.alert, change.at, None)),
                        AlertState::Resolved => {
                            let open = live.iter_mut().rev().find(|(id, _, _)| *id == change.alert);
                            open.unwrap().2 = Some(change.at);
                        }
                        AlertState::Inactive | AlertState::Pending => {}
                    }
                }
            }
            live.sort();
            let mut tested: Vec<_> = run(&slo(), &Policy::workbook(), &record)
                .into_iter()
                .map(|firing| (firing.alert, firing.from, firing.until))
                .collect();
            tested.sort();
            prop_assert_eq!(tested, live);
        }
    }
}
