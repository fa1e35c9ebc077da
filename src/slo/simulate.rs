//! Incidents that have not happened: traffic as a few stretches, told to the live engine second by second in model time.
//!
//! What comes out is what a running Vestibule would do with that traffic, to the second: when somebody is told, by which
//! row, what is spent by then, and when it ends (SRE Workbook, chapter 5, "detection time" and "reset time").

use super::alert::AlertState;
use super::budget::Budget;
use super::engine::Engine;
use super::policy::{Policy, Row, Severity};
use crate::model::{Objective, Slo, SloKey, Span, Tally, Timestamp, Window};

/// What of a stretch's requests fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errors {
    /// A share, in parts per million: `1_000_000` is all of them.
    Share(u32),
    /// A multiple of what the objective allows, in thousandths: `2_000` spends the budget twice as fast as it may be.
    Burn(u32),
}

impl Errors {
    /// The share that fails, in parts per million, at most all.
    pub fn ppm(self, objective: Objective) -> u32 {
        match self {
            Self::Share(ppm) => ppm.min(WHOLE),
            Self::Burn(milli) => {
                let ppm = u64::from(milli) * u64::from(objective.budget_ppm()) / 1_000;
                u32::try_from(ppm).unwrap_or(WHOLE).min(WHOLE)
            }
        }
    }
}

/// One whole, in parts per million.
const WHOLE: u32 = 1_000_000;

/// Even traffic for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// How long, in seconds.
    pub lasts_s: u64,
    /// Requests an hour, evenly spread.
    pub per_hour: u64,
    /// What of them fails, evenly spread.
    pub errors: Errors,
}

/// An incident, and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its name, unique among shapes.
    pub name: String,
    /// What happens, in a few words.
    pub about: String,
    /// What happens, in order; before it there is nothing but success, at the pace of the first.
    pub stretches: Vec<Stretch>,
}

/// How long a shape may last: what is played second by second is kept in memory.
pub const LONGEST_S: u64 = 14 * 86_400;
/// How many requests an hour a stretch may have: a million a second.
pub const MOST_PER_HOUR: u64 = 3_600_000_000;

impl Shape {
    /// The shapes that need no file: what burn-rate alerts are commonly asked about.
    pub fn shipped() -> Vec<Self> {
        const BUSY: u64 = 50 * HOUR_S;
        const FEW: u64 = 10;
        let of = |per_hour, minutes: u64, errors| Stretch {
            lasts_s: minutes * 60,
            per_hour,
            errors,
        };
        let (all, none) = (Errors::Share(WHOLE), Errors::Share(0));
        let busy = |minutes, errors| of(BUSY, minutes, errors);
        let shape = |name: &str, about: &str, stretches| Self {
            name: name.to_owned(),
            about: about.to_owned(),
            stretches,
        };
        let mut flapping: Vec<Stretch> = Vec::new();
        for _ in 0..6 {
            flapping.extend([busy(3, Errors::Share(200_000)), busy(27, none)]);
        }
        flapping.push(busy(420, none));
        vec![
            shape(
                "total-outage",
                "every request fails for 10 minutes, at 50 a second",
                vec![busy(10, all), busy(420, none)],
            ),
            shape(
                "fifteen-percent",
                "15 % of the requests fail for 10 minutes, at 50 a second",
                vec![busy(10, Errors::Share(150_000)), busy(420, none)],
            ),
            shape(
                "slow-burn",
                "twice what the objective allows fails for 4 days, at 50 a second",
                vec![busy(4 * 1_440, Errors::Burn(2_000)), busy(1_440, none)],
            ),
            shape(
                "flapping",
                "a fifth fails for 3 minutes of every half hour, six times, at 50 a second",
                flapping,
            ),
            shape(
                "low-traffic-failure",
                "one request fails, at 10 an hour",
                vec![of(FEW, 6, all), of(FEW, 420, none)],
            ),
            shape(
                "low-traffic-outage",
                "every request fails for 2 hours, at 10 an hour",
                vec![of(FEW, 120, all), of(FEW, 600, none)],
            ),
            shape(
                "deploy-spike",
                "3 % fail for 4 minutes while a version is rolled out, at 50 a second",
                vec![busy(4, Errors::Share(30_000)), busy(420, none)],
            ),
        ]
    }

    /// How long it lasts, in seconds.
    pub fn lasts_s(&self) -> u64 {
        self.stretches.iter().map(|stretch| stretch.lasts_s).sum()
    }

    /// What is counted in each of its seconds.
    pub fn events(&self, objective: Objective) -> impl Iterator<Item = Tally> + '_ {
        // What has come due but is not a whole request or failure yet.
        let (mut valid_due, mut bad_due) = (0, 0);
        self.stretches.iter().flat_map(move |stretch| {
            let ppm = u64::from(stretch.errors.ppm(objective));
            let per_hour = stretch.per_hour.min(MOST_PER_HOUR);
            (0..stretch.lasts_s).map(move |_| {
                valid_due += per_hour;
                let valid = valid_due / HOUR_S;
                valid_due %= HOUR_S;
                bad_due += valid * ppm;
                let bad = (bad_due / u64::from(WHOLE)).min(valid);
                bad_due %= u64::from(WHOLE);
                Tally {
                    good: valid - bad,
                    bad,
                }
            })
        })
    }

    /// When the trouble lasts, in seconds after the beginning: from the first stretch that spends more than the objective
    /// allows to the end of the last; `None` when none does.
    pub fn trouble(&self, objective: Objective) -> Option<(u64, u64)> {
        let mut second = 0;
        let mut found: Option<(u64, u64)> = None;
        for stretch in &self.stretches {
            let end = second + stretch.lasts_s;
            if stretch.per_hour > 0 && stretch.errors.ppm(objective) > objective.budget_ppm() {
                found = Some((found.map_or(second, |(begun, _)| begun), end));
            }
            second = end;
        }
        found
    }
}

const HOUR_S: u64 = 3_600;

/// One time that an alert fired, in seconds after the beginning of the shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Fired {
    /// The row.
    pub row: Row,
    /// When it fired.
    pub from_s: u64,
    /// When it resolved; `None`: it still fired at the end.
    pub until_s: Option<u64>,
    /// The share of the SLO's budget that the shape had spent by then, where what is missing of the history is taken to
    /// have been as busy as the rest; `None` without a valid event.
    pub budget_ratio: Option<f64>,
}

/// What one policy made of a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Played {
    /// The policy's name.
    pub policy: String,
    /// Every firing, oldest first.
    pub firings: Vec<Fired>,
}

impl Played {
    /// The first firing of this severity.
    pub fn first(&self, severity: Severity) -> Option<&Fired> {
        self.of(severity).next()
    }

    /// How often this severity fired.
    pub fn count(&self, severity: Severity) -> usize {
        self.of(severity).count()
    }

    /// When the last firing of this severity ended; `None` when none fired, or one still does.
    pub fn quiet_since_s(&self, severity: Severity) -> Option<u64> {
        let mut last = None;
        for fired in self.of(severity) {
            last = last.max(Some(fired.until_s?));
        }
        last
    }

    fn of(&self, severity: Severity) -> impl Iterator<Item = &Fired> {
        let firings = self.firings.iter();
        firings.filter(move |fired| fired.row.severity == severity)
    }
}

/// Plays `shape` to the live engine once for each of `policies`, all of which judge `slo`, after `past_s` seconds of nothing
/// but success at the pace of the shape's first stretch.
pub fn play(shape: &Shape, slo: &Slo, policies: &[Policy], past_s: u64) -> Vec<Played> {
    let judged = policies.iter().enumerate().map(|(place, policy)| {
        let slo = Slo {
            id: policy.name.clone(),
            policy: policy.name.clone(),
            ..slo.clone()
        };
        (SloKey(place as u32), slo)
    });
    let mut engine = Engine::new(judged.collect(), policies);
    let mut past = Past::new(shape, past_s);
    let mut played: Vec<Played> = policies
        .iter()
        .map(|policy| Played {
            policy: policy.name.clone(),
            firings: Vec::new(),
        })
        .collect();
    let start_s = LONGEST_S + past_s;
    let mut spent = 0;
    for tally in shape.events(slo.objective) {
        past.push(tally);
        spent += tally.bad;
        let second = past.seconds();
        // Spans of one second are the same for every policy.
        let evaluation = engine.evaluate(Timestamp::from_secs(start_s + second), &|_, window| {
            past.over(window)
        });
        for change in evaluation.transitions {
            let Some((place, row)) = row_of(policies, slo.window, &change.alert) else {
                continue;
            };
            let firings = &mut played[place].firings;
            match change.to {
                AlertState::Firing => {
                    let whole = past.over(slo.window);
                    let covered = whole.covered_s as f64 / slo.window.as_secs() as f64;
                    let of_seen = Budget::new(slo.objective, whole.tally).share_of(spent);
                    firings.push(Fired {
                        row,
                        from_s: second,
                        until_s: None,
                        budget_ratio: of_seen.map(|ratio| ratio * covered),
                    });
                }
                AlertState::Resolved => {
                    let open = firings.iter_mut().rev();
                    let mut open = open.filter(|fired| fired.row == row);
                    if let Some(fired) = open.next() {
                        fired.until_s = Some(second);
                    }
                }
                AlertState::Inactive | AlertState::Pending => {}
            }
        }
    }
    played
}

/// The policy's place and the row that an alert's id names.
fn row_of(policies: &[Policy], window: Window, alert: &str) -> Option<(usize, Row)> {
    policies.iter().enumerate().find_map(|(place, policy)| {
        let rest = alert
            .strip_prefix(policy.name.as_str())?
            .strip_prefix(':')?;
        let row = policy.rows.iter().find(|row| {
            let named = rest.split_once(':');
            named == Some((row.severity.as_str(), row.tier.as_str()))
        })?;
        Some((place, row.over(window)))
    })
}

/// What has been counted, by the second.
struct Past {
    /// How long there was nothing but success.
    before_s: u64,
    /// Requests an hour then.
    per_hour: u64,
    /// Everything since, before each second; one more than there are seconds.
    sums: Vec<Tally>,
}

impl Past {
    fn new(shape: &Shape, before_s: u64) -> Self {
        let first = shape.stretches.first();
        Self {
            before_s,
            per_hour: first.map_or(0, |stretch| stretch.per_hour),
            sums: vec![Tally::default()],
        }
    }

    fn push(&mut self, tally: Tally) {
        let last = self.sums[self.sums.len() - 1];
        self.sums.push(last + tally);
    }

    /// How many seconds there have been.
    fn seconds(&self) -> u64 {
        self.sums.len() as u64 - 1
    }

    fn over(&self, window: Window) -> Span {
        let seconds = self.seconds();
        let inside = window.as_secs().min(seconds);
        let before = (window.as_secs() - inside).min(self.before_s);
        let past = Tally {
            good: self.per_hour.saturating_mul(before) / HOUR_S,
            bad: 0,
        };
        let newest = self.sums[seconds as usize];
        Span {
            tally: past + (newest - self.sums[(seconds - inside) as usize]),
            covered_s: inside + before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{About, Sli};

    fn slo() -> Slo {
        Slo {
            slices: None,
            calendar: None,
            id: "s".to_owned(),
            about: About::Route("r".to_owned()),
            owner: None,
            sli: Sli::AVAILABILITY,
            parts: Vec::new(),
            probe: None,
            objective: "99.9%".parse().unwrap(),
            window: Window::days(30),
            policy: String::new(),
            runbook: None,
        }
    }

    fn shipped(name: &str) -> Shape {
        let mut shapes = Shape::shipped().into_iter();
        shapes.find(|shape| shape.name == name).unwrap()
    }

    fn workbook(shape: &Shape) -> Played {
        let month = slo().window.as_secs();
        play(shape, &slo(), &[Policy::workbook()], month).remove(0)
    }

    #[test]
    fn requests_and_failures_are_spread_evenly_and_none_is_lost() {
        let objective = slo().objective;
        for (per_hour, ppm, valid, bad) in [
            (10, 100_000, 20, 2),
            (7, 1_000_000, 14, 14),
            (180_000, 1_000, 360_000, 360),
            (3_601, 0, 7_202, 0),
        ] {
            let shape = Shape {
                stretches: vec![Stretch {
                    lasts_s: 2 * HOUR_S,
                    per_hour,
                    errors: Errors::Share(ppm),
                }],
                ..shipped("total-outage")
            };
            let events: Vec<Tally> = shape.events(objective).collect();
            let sum = events.iter().fold(Tally::default(), |sum, one| sum + *one);
            assert_eq!((sum.valid(), sum.bad), (valid, bad), "{per_hour} an hour");
            let most = events.iter().map(|one| one.valid()).max().unwrap();
            assert!(most <= per_hour.div_ceil(HOUR_S), "{per_hour} an hour");
        }
    }

    #[test]
    fn the_workbooks_figures_come_out_to_the_second() {
        // 51.84 s and 345.6 s; the page ends a minute after the short window is clear.
        let outage = workbook(&shipped("total-outage"));
        assert_eq!(outage.first(Severity::Page).unwrap().from_s, 52);
        let part = workbook(&shipped("fifteen-percent"));
        let page = part.first(Severity::Page).unwrap();
        assert_eq!((page.from_s, page.until_s), (346, Some(600 + 272 + 60)));
        // 2 % of the budget, by definition.
        assert!((page.budget_ratio.unwrap() - 0.02).abs() < 1e-4, "{page:?}");
    }

    #[test]
    fn shapes_are_told_apart_as_they_should_be() {
        for (name, pages, tickets) in [
            ("total-outage", true, true),
            ("fifteen-percent", true, false),
            ("slow-burn", false, true),
            ("low-traffic-failure", false, false),
            ("low-traffic-outage", true, true),
            ("deploy-spike", false, false),
        ] {
            let played = workbook(&shipped(name));
            let found = [Severity::Page, Severity::Ticket].map(|it| played.count(it) > 0);
            assert_eq!(found, [pages, tickets], "{name}: {played:?}");
        }
    }

    #[test]
    fn trouble_begins_and_ends_with_what_the_objective_does_not_allow() {
        let objective = slo().objective;
        let trouble = |name| shipped(name).trouble(objective);
        assert_eq!(trouble("total-outage"), Some((0, 600)));
        assert_eq!(trouble("flapping"), Some((0, 5 * 1_800 + 180)));
        let quiet = Shape {
            stretches: vec![Stretch {
                lasts_s: 60,
                per_hour: 10,
                errors: Errors::Burn(1_000),
            }],
            ..shipped("total-outage")
        };
        assert_eq!(quiet.trouble(objective), None, "exactly what is allowed");
    }
}
