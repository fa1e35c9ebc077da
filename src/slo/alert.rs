//! The alert state machine: one alert for each SLO and policy row.
//!
//! ```text
//!               short and long window over the factor
//!  Inactive ──┬── but too little history ──► Pending ──┐
//!      ▲      └────────────────────────────────────────┴─► Firing ──┐ not for 60 s
//!      └───────────────── 15 minutes later ───────── Resolved ◄─────┘
//! ```
//!
//! A row's condition is exact and strict (see [`burn::exceeds`]); there is no "for" duration, the long window is one.
//! What stands before it, and can be switched off, is in [`Guards`].
//!
//! An alert resolves when its condition has not held for a minute, so that one that hovers at its factor is not told
//! twice a minute. Without traffic the windows drain, the condition does not hold, and it resolves and says so.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::burn;
use super::guards::Guards;
use super::policy::Row;
use crate::model::{Objective, Span, Timestamp};

mod status;
mod watch;

pub use status::{AlertKind, AlertStatus, RowStatus, Transition};
pub use watch::{Claim, Watch, Watched};

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Its condition does not hold.
    Inactive,
    /// Its condition holds, but not yet long enough, or there is too little history to trust it.
    Pending,
    /// Its condition holds.
    Firing,
    /// Its condition held until a moment ago.
    Resolved,
}

impl AlertState {
    /// The state's word in JSON, labels and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// What a row's two windows say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The long window is over the factor, and the guards for few events let it pass.
    pub long: bool,
    /// The short window is over the factor.
    pub short: bool,
    /// There is enough history to believe the long window.
    pub proven: bool,
}

impl Condition {
    /// What `row` says of the events in its long and short window, and in the whole window of the SLO.
    pub fn of(
        row: &Row,
        objective: Objective,
        (long, short, whole): (Span, Span, Span),
        guards: Guards,
    ) -> Self {
        let (tally, factor) = (long.tally, row.factor);
        Self {
            long: burn::exceeds(tally, objective, factor)
                && tally.bad >= guards.min_bad(row.severity)
                && (!guards.volume_weight
                    || burn::exceeds_by_volume(long, whole, objective, factor))
                && (!guards.confidence || burn::exceeds_surely(tally, objective, factor)),
            short: burn::exceeds(short.tally, objective, row.factor),
            proven: !guards.young_history
                || burn::is_grown(long, row.long)
                || burn::exceeds_young(long, row.long, objective, row.factor),
        }
    }

    /// Whether the alert is to fire.
    pub const fn holds(self) -> bool {
        self.long && self.short && self.proven
    }

    /// Whether it would fire if there were more history.
    pub const fn is_unproven(self) -> bool {
        self.long && self.short && !self.proven
    }
}

/// How long a condition must not hold before its alert resolves.
pub const HOLD: Duration = Duration::from_secs(60);
/// How long a resolved alert is still shown.
pub const SHOWN_RESOLVED: Duration = Duration::from_secs(15 * 60);

/// One alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    state: AlertState,
    since: Timestamp,
    /// Since when the condition of a firing alert has not held.
    quiet_since: Option<Timestamp>,
    /// It fired in an earlier process, and history has not proven it again since.
    is_carried: bool,
}

impl Default for Alert {
    fn default() -> Self {
        Self::restored(AlertState::Inactive, Timestamp::default())
    }
}

impl Alert {
    /// An alert that stood at `state` since `since` when the process ended.
    pub const fn restored(state: AlertState, since: Timestamp) -> Self {
        Self {
            state,
            since,
            quiet_since: None,
            is_carried: matches!(state, AlertState::Firing),
        }
    }

    /// Where it stands.
    pub const fn state(self) -> AlertState {
        self.state
    }

    /// Since when it stands there. Of no meaning while inactive.
    pub const fn since(self) -> Timestamp {
        self.since
    }

    /// Takes in what its row says at `now`; returns the state it left when it changed.
    pub fn evaluate(&mut self, now: Timestamp, condition: Condition) -> Option<AlertState> {
        // After a step back of the clock nothing lies in the future, or timers would stand still until then.
        self.since = self.since.min(now);
        self.quiet_since = self.quiet_since.map(|since| since.min(now));
        let from = self.state;
        let to = match from {
            AlertState::Inactive | AlertState::Pending => {
                if condition.holds() {
                    AlertState::Firing
                } else if condition.is_unproven() {
                    AlertState::Pending
                } else {
                    AlertState::Inactive
                }
            }
            AlertState::Firing if condition.holds() => {
                (self.quiet_since, self.is_carried) = (None, false);
                AlertState::Firing
            }
            // What fired before a restart is not silenced by what the restart forgot.
            AlertState::Firing if self.is_carried && condition.is_unproven() => {
                self.quiet_since = None;
                AlertState::Firing
            }
            AlertState::Firing => {
                let since = *self.quiet_since.get_or_insert(now);
                if now.since(since) >= HOLD {
                    AlertState::Resolved
                } else {
                    AlertState::Firing
                }
            }
            AlertState::Resolved if condition.holds() => AlertState::Firing,
            AlertState::Resolved if now.since(self.since) >= SHOWN_RESOLVED => AlertState::Inactive,
            AlertState::Resolved => AlertState::Resolved,
        };
        if to == from {
            return None;
        }
        *self = Self {
            state: to,
            since: now,
            quiet_since: None,
            is_carried: false,
        };
        Some(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Tally, Window};
    use crate::slo::policy::{Policy, Severity};

    const HOLDS: Condition = Condition {
        long: true,
        short: true,
        proven: true,
    };
    const UNPROVEN: Condition = Condition {
        proven: false,
        ..HOLDS
    };
    const CLEAR: Condition = Condition {
        short: false,
        ..HOLDS
    };

    /// Runs `steps` of (second, condition) and lists the changes as (second, state).
    fn run(steps: impl IntoIterator<Item = (u64, Condition)>) -> Vec<(u64, AlertState)> {
        let mut alert = Alert::default();
        steps
            .into_iter()
            .filter_map(|(second, condition)| {
                alert
                    .evaluate(Timestamp::from_secs(second), condition)
                    .map(|_| (second, alert.state()))
            })
            .collect()
    }

    #[test]
    fn it_fires_resolves_after_a_minute_and_is_forgotten_after_a_quarter_hour() {
        let steps = (0..2_000).map(|second| (second, if second < 100 { HOLDS } else { CLEAR }));
        assert_eq!(
            run(steps),
            [
                (0, AlertState::Firing),
                (160, AlertState::Resolved),
                (1_060, AlertState::Inactive)
            ]
        );
    }

    #[test]
    fn a_condition_that_comes_and_goes_within_a_minute_fires_once() {
        let steps = (0..1_000).map(|second| (second, if second % 59 == 0 { HOLDS } else { CLEAR }));
        assert_eq!(run(steps), [(0, AlertState::Firing)]);
    }

    #[test]
    fn it_is_pending_until_history_proves_it() {
        let steps = [
            (0, UNPROVEN),
            (1, UNPROVEN),
            (2, HOLDS),
            (3, UNPROVEN),
            (63, UNPROVEN),
        ];
        assert_eq!(
            run(steps),
            [
                (0, AlertState::Pending),
                (2, AlertState::Firing),
                (63, AlertState::Resolved)
            ],
            "good traffic makes up for it again"
        );
    }

    #[test]
    fn what_fired_before_a_restart_is_not_silenced_by_what_the_restart_forgot() {
        let mut alert = Alert::restored(AlertState::Firing, Timestamp::from_secs(7));
        let mut told = |second, condition| {
            let told = alert.evaluate(Timestamp::from_secs(second), condition);
            told.map(|_| alert.state())
        };
        assert_eq!([900, 1_900].map(|at| told(at, UNPROVEN)), [None, None]);
        assert_eq!(told(2_000, HOLDS), None);
        // From now on its history is its own.
        assert_eq!(told(2_001, UNPROVEN), None);
        assert_eq!(told(2_061, UNPROVEN), Some(AlertState::Resolved));
    }

    #[test]
    fn what_was_only_pending_goes_without_a_resolution() {
        assert_eq!(
            run([(0, UNPROVEN), (1, CLEAR)]),
            [(0, AlertState::Pending), (1, AlertState::Inactive)]
        );
    }

    #[test]
    fn it_fires_again_from_resolved() {
        let steps = [(0, HOLDS), (1, CLEAR), (61, CLEAR), (62, HOLDS)];
        assert_eq!(
            run(steps),
            [
                (0, AlertState::Firing),
                (61, AlertState::Resolved),
                (62, AlertState::Firing)
            ]
        );
    }

    #[test]
    fn a_clock_set_back_does_not_stop_its_timers() {
        let steps = [
            (10_000, HOLDS),
            (10_001, CLEAR),
            (500, CLEAR),
            (559, CLEAR),
            (560, CLEAR),
        ];
        assert_eq!(
            run(steps),
            [(10_000, AlertState::Firing), (560, AlertState::Resolved)]
        );
    }

    #[test]
    fn a_restored_firing_alert_is_not_told_again() {
        let mut alert = Alert::restored(AlertState::Firing, Timestamp::from_secs(7));
        assert_eq!(alert.evaluate(Timestamp::from_secs(900), HOLDS), None);
        assert_eq!(alert.since(), Timestamp::from_secs(7));
    }

    fn span(good: u64, bad: u64, covered_s: u64) -> Span {
        Span {
            tally: Tally { good, bad },
            covered_s,
        }
    }

    #[test]
    fn guards_keep_a_few_failures_from_waking_anyone() {
        let objective = "99.9%".parse().unwrap();
        let day = Window::days(1).as_secs();
        for (what, guards, bad, pages, tickets) in [
            (
                "one failure an hour of ten",
                Guards::default(),
                1,
                false,
                false,
            ),
            (
                "without guards it pages and files tickets",
                Guards::OFF,
                1,
                true,
                true,
            ),
            ("half of the requests", Guards::default(), 5, false, true),
            ("six of the requests", Guards::default(), 6, true, true),
            (
                "all of the requests, for sure",
                Guards {
                    confidence: true,
                    ..Guards::default()
                },
                10,
                true,
                true,
            ),
            ("all of the requests", Guards::default(), 10, true, true),
        ] {
            for row in Policy::workbook().rows_over(Window::days(30)) {
                let hours = row.long.as_secs() / 3_600;
                let long = span(hours * 10 - bad, bad, row.long.as_secs());
                let short = span(0, bad, 3 * day);
                let whole = span(7_200 - bad, bad, 30 * day);
                let holds = Condition::of(&row, objective, (long, short, whole), guards).holds();
                let expected = match row.severity {
                    Severity::Page => pages,
                    Severity::Ticket => tickets,
                };
                // Over long windows ten failures are few again.
                assert!(holds == expected, "{what}: {row:?}");
            }
        }
    }
}
