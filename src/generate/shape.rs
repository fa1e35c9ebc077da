//! Traffic of an SLO as a few stretches: written as promtool reads it, and judged by the live engine.
//!
//! What a generated unit test expects of the rules is what [`Engine`] says of the same counts. So the rules are held to
//! the engine by every test that is generated, whatever the policy.

use std::fmt::Write as _;

use crate::model::{Slo, SloKey, Span, Tally, Timestamp, Window};
use crate::slo::alert::AlertState;
use crate::slo::engine::Engine;
use crate::slo::guards::Guards;
use crate::slo::policy::{Policy, PolicyRow, Row};

/// One stretch of even traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stretch {
    /// The series are not there yet.
    Missing(u64),
    /// So many steps with so many events in each.
    Events(u64, Tally),
    /// The counters begin again at zero.
    Reset,
}

impl Stretch {
    /// The same with `times` as many events.
    pub(super) fn times(self, times: u64) -> Self {
        match self {
            Self::Events(steps, Tally { good, bad }) => Self::Events(
                steps,
                Tally {
                    good: good * times,
                    bad: bad * times,
                },
            ),
            Self::Missing(_) | Self::Reset => self,
        }
    }
}

/// Traffic of one SLO from the first sample on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Minutes between two samples.
    pub(super) step_min: u64,
    /// What happens, in order.
    pub(super) stretches: Vec<Stretch>,
}

/// Where one row's alert stands after each step; place *i* is after *i* steps.
pub(super) type Course = Vec<bool>;

impl Shape {
    /// How many steps there are.
    pub(super) fn steps(&self) -> u64 {
        let steps = self.stretches.iter().map(|stretch| match stretch {
            Stretch::Missing(steps) | Stretch::Events(steps, _) => *steps,
            Stretch::Reset => 0,
        });
        steps.sum()
    }

    /// The counter of good or of bad events, as promtool reads it.
    pub(super) fn series(&self, count: fn(Tally) -> u64) -> String {
        let mut parts: Vec<String> = Vec::new();
        // The value last written; none before the first sample.
        let mut value: Option<u64> = None;
        for stretch in &self.stretches {
            match *stretch {
                Stretch::Missing(0) | Stretch::Events(0, _) => {}
                // The sample before the first step is missing too.
                Stretch::Missing(steps) => parts.push(format!("_x{steps}")),
                Stretch::Events(steps, tally) => {
                    if value.is_none() {
                        parts.push("0".to_owned());
                    }
                    let each = count(tally);
                    let first = value.unwrap_or(0) + each;
                    parts.push(format!("{first}+{each}x{}", steps - 1));
                    value = Some(first + each * (steps - 1));
                }
                Stretch::Reset => value = Some(0),
            }
        }
        parts.join(" ")
    }

    /// What happens in each step; `None` while the series are not there.
    fn events(&self) -> Vec<Option<Tally>> {
        let mut events = Vec::new();
        for stretch in &self.stretches {
            match *stretch {
                Stretch::Missing(steps) => events.extend((0..steps).map(|_| None)),
                Stretch::Events(steps, tally) => events.extend((0..steps).map(|_| Some(tally))),
                Stretch::Reset => {}
            }
        }
        events
    }

    /// When the alert of each of `rows` fires, in the live engine's judgement.
    pub(super) fn judged(&self, slo: &Slo, rows: &[Row], guards: Guards) -> Vec<Course> {
        let policy = Policy {
            name: slo.policy.clone(),
            rows: rows.iter().copied().map(PolicyRow::from).collect(),
            guards,
        };
        // Rules know no calendar, and their factors are the policy's own.
        let rolling = Slo {
            calendar: None,
            ..slo.clone()
        };
        let mut engine = Engine::new(vec![(SloKey(0), rolling)], &[policy]);
        let step_s = self.step_min * 60;
        let events = self.events();
        // Everything before each step.
        let mut sums = vec![Tally::default()];
        for tally in &events {
            let last = sums[sums.len() - 1];
            sums.push(last + tally.unwrap_or_default());
        }
        let born = events.iter().position(Option::is_some).unwrap_or(0);
        let mut courses = vec![vec![false]; rows.len()];
        for step in 1..=events.len() {
            let read = |_: SloKey, window: Window| {
                let inside = (window.as_secs() / step_s).max(1) as usize;
                let alive = step.saturating_sub(born);
                let from = step - inside.min(alive);
                Span {
                    tally: sums[step] - sums[from],
                    covered_s: (alive as u64 * step_s).min(window.as_secs()),
                }
            };
            let evaluation = engine.evaluate(Timestamp::from_secs(step as u64 * step_s), &read);
            for (row, course) in rows.iter().zip(&mut courses) {
                let firing = evaluation.alerts.iter().any(|alert| {
                    alert.burn.is_some_and(|burn| burn.row == *row)
                        && alert.state == AlertState::Firing
                });
                course.push(firing);
            }
        }
        courses
    }
}

/// How many steps engine and rules may differ in time: a sample's, an evaluation's, and what a window's edge cuts off.
pub(super) const MARGIN: usize = 3;

/// How many looks are spread over a course beside those at its changes.
const LOOKS: usize = 8;

/// The steps at which `course` can be asked for: just clear of each change, at the end, and a few in between, at which
/// something could fire that should not.
pub(super) fn clear_steps(course: &Course) -> Vec<usize> {
    let last = course.len() - 1;
    let changes: Vec<usize> = (1..=last)
        .filter(|at| course[*at] != course[at - 1])
        .collect();
    let is_clear = |at: &usize| changes.iter().all(|change| at.abs_diff(*change) >= MARGIN);
    let mut steps: Vec<usize> = changes
        .iter()
        .flat_map(|change| [change.saturating_sub(MARGIN), change + MARGIN])
        .chain((1..=LOOKS).map(|look| last * look / LOOKS))
        .filter(|at| (1..=last).contains(at) && is_clear(at))
        .collect();
    steps.sort_unstable();
    steps.dedup();
    steps
}

/// Minutes as promtool reads them.
pub(super) fn minutes(minutes: u64) -> String {
    let mut text = String::new();
    write!(text, "{minutes}m").expect("writing to a string cannot fail");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{About, Sli};

    const CLEAN: Tally = Tally { good: 100, bad: 0 };
    const DEAD: Tally = Tally { good: 0, bad: 100 };

    #[test]
    fn counters_are_written_as_promtool_reads_them() {
        let shape = Shape {
            step_min: 1,
            stretches: vec![
                Stretch::Missing(2),
                Stretch::Events(3, CLEAN),
                Stretch::Events(1, DEAD),
                Stretch::Reset,
                Stretch::Events(2, CLEAN),
            ],
        };
        assert_eq!(
            shape.series(|tally| tally.good),
            "_x2 0 100+100x2 300+0x0 100+100x1"
        );
        assert_eq!(
            shape.series(|tally| tally.bad),
            "_x2 0 0+0x2 100+100x0 0+0x1"
        );
        assert_eq!(shape.steps(), 8);
    }

    #[test]
    fn an_outage_is_judged_as_the_engine_judges_it() {
        let slo = Slo {
            id: "a".into(),
            about: About::Route("r".into()),
            owner: None,
            sli: Sli::AVAILABILITY,
            slices: None,
            parts: Vec::new(),
            probe: None,
            objective: "99.9%".parse().unwrap(),
            window: Window::days(30),
            calendar: None,
            policy: "workbook".into(),
            runbook: None,
        };
        let shape = Shape {
            step_min: 1,
            stretches: vec![
                Stretch::Events(60, CLEAN),
                Stretch::Events(5, DEAD),
                Stretch::Events(20, CLEAN),
            ],
        };
        let rows = Policy::workbook().rows_over(slo.window);
        let fast = &shape.judged(&slo, &rows, Guards::default())[0];
        // 51.8 s after the outage began; five minutes and one after it ended.
        assert_eq!(fast.iter().position(|firing| *firing), Some(61));
        assert_eq!(fast.iter().rposition(|firing| *firing), Some(70));
        assert_eq!(clear_steps(fast), [10, 21, 31, 42, 53, 58, 64, 68, 74, 85]);
    }
}
