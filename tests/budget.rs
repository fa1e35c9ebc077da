//! Budgets from outside: integer truth, whatever the traffic, and periods of the calendar.

use proptest::prelude::*;
use vestibule::model::{
    About, Calendar, CalendarUnit, Objective, Sli, Slo, SloKey, Span, Tally, Timestamp, Window,
};
use vestibule::sli::ring::{Point, TallyRing};
use vestibule::slo::engine::{Engine, SloStatus};
use vestibule::slo::policy::{Factor, Policy};

const HOUR_S: u64 = 3_600;
const MONTH_HOURS: u64 = 30 * 24;

fn slo(calendar: Option<Calendar>) -> Slo {
    Slo {
        id: "a".to_owned(),
        about: About::Route("r".to_owned()),
        owner: None,
        sli: Sli::AVAILABILITY,
        slices: None,
        parts: Vec::new(),
        probe: None,
        objective: "99.9%".parse().expect("an objective"),
        window: Window::days(30),
        calendar,
        policy: "workbook".to_owned(),
        runbook: None,
    }
}

fn judged(slo: Slo, ring: &TallyRing, at: u64) -> SloStatus {
    let mut engine = Engine::new(vec![(SloKey(0), slo)], &Policy::shipped());
    let read = |_: SloKey, window: Window| ring.over(window, at);
    let evaluation = engine.evaluate(Timestamp::from_secs(at), &read);
    evaluation.slos[0].clone()
}

/// A ring of whole hours from the first second of the axis on.
fn hourly(hours: impl IntoIterator<Item = Tally>) -> (TallyRing, u64) {
    let mut ring = TallyRing::new(Window::days(92));
    let points: Vec<Point> = (0..)
        .zip(hours)
        .map(|(hour, tally)| Point {
            start_secs: hour * HOUR_S,
            width_s: HOUR_S,
            tally,
        })
        .collect();
    let end = points.len() as u64 * HOUR_S;
    ring.restore(points, end);
    (ring, end - 1)
}

/// The share of the budget that is used, from sums of integers; and what a mean of the hours' ratios would say.
fn used(hours: &[Tally], objective: Objective) -> (f64, f64) {
    let budget = f64::from(objective.budget_ppm()) / 1e6;
    let bad: u64 = hours.iter().map(|hour| hour.bad).sum();
    let valid: u64 = hours.iter().map(|hour| hour.valid()).sum();
    let ratios = hours.iter().filter(|hour| hour.valid() > 0);
    let ratios: Vec<f64> = ratios
        .map(|hour| hour.bad as f64 / hour.valid() as f64)
        .collect();
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    (bad as f64 / valid as f64 / budget, mean / budget)
}

#[test]
fn day_and_night_and_bursts_are_weighed_by_their_requests() {
    let tally = |valid: u64, bad| Tally {
        good: valid - bad,
        bad,
    };
    // Busy and well by day, nearly idle and failing by night; and the other way round, failing only in bursts.
    let night: Vec<Tally> = (0..MONTH_HOURS)
        .map(|hour| match hour % 2 {
            0 => tally(9_900_000, 3_873),
            _ => tally(100_000, 1_327),
        })
        .collect();
    let bursts: Vec<Tally> = (0..MONTH_HOURS)
        .map(|hour| match hour % 20 {
            0 => tally(674_500, 6_880),
            1 => tally(17_142, 0),
            _ => tally(17_131, 0),
        })
        .collect();
    for (hours, truth, mean) in [(night, 0.52, 6.83), (bursts, 6.88, 0.51)] {
        let (by_sums, by_mean) = used(&hours, slo(None).objective);
        assert!((by_sums - truth).abs() < 0.000_5, "{by_sums}");
        // What would be told if ratios were averaged, as is done elsewhere.
        assert!((by_mean - mean).abs() < 0.005, "{by_mean}");
        let (ring, at) = hourly(hours);
        let status = judged(slo(None), &ring, at);
        let left = status.remaining_ratio.unwrap();
        assert!((1.0 - left - truth).abs() < 0.000_5, "{left}");
        assert_eq!(status.remaining_ratio, status.expected_remaining_ratio);
    }
}

fn month(zone: &str) -> Calendar {
    Calendar {
        unit: CalendarUnit::Month,
        zone: zone.parse().expect("a zone"),
    }
}

fn at(text: &str) -> u64 {
    text.parse::<Timestamp>().expect("a time").as_secs()
}

/// A ring that is fed by the second from `from` to before `to`, as the program does it, with the period's beginning pinned.
fn fed(calendar: &Calendar, from: u64, to: u64, each: impl Fn(u64) -> Tally) -> TallyRing {
    let mut ring = TallyRing::new(Window::days(92));
    for second in from..to {
        ring.pin(calendar.period(Timestamp::from_secs(second)).start_secs);
        ring.advance(second);
        ring.add(second, each(second));
    }
    ring
}

#[test]
fn a_calendars_budget_begins_anew_at_the_midnight_of_its_zone() {
    // Half past the hour in universal time.
    let calendar = month("Asia/Kolkata");
    let midnight = at("2026-05-31T18:30:00Z");
    let each = |second| {
        let bad = u64::from(second < midnight);
        Tally {
            good: 10 - bad,
            bad,
        }
    };
    let slo = || Slo {
        calendar: Some(calendar.clone()),
        ..slo(None)
    };
    let begun = midnight - 2 * HOUR_S;
    let ring = fed(&calendar, begun, midnight, each);
    let before = judged(slo(), &ring, midnight - 1);
    let ring = fed(&calendar, begun, midnight + 1, each);
    let first = judged(slo(), &ring, midnight);
    let ring = fed(&calendar, begun, midnight + 700, each);
    let later = judged(slo(), &ring, midnight + 699);
    assert_eq!((before.tally.good, before.tally.bad), (64_800, 7_200));
    assert_eq!((first.tally.good, first.tally.bad), (10, 0));
    // More than the ten minutes that are kept by the second.
    assert_eq!((later.tally.good, later.tally.bad), (7_000, 0));
    let period = first.period.unwrap();
    assert_eq!(
        (period.start_secs, period.end_secs),
        (midnight, at("2026-06-30T18:30:00Z"))
    );
    // What burnt in the last hour is still seen, for alerts look at the last hour whatever the calendar says.
    let burn = first.burn_over(Window::hours(1)).unwrap();
    assert!((burn - 100.0).abs() < 0.1, "{burn}");
}

#[test]
fn factors_follow_the_real_month_and_the_forecast_ends_with_it() {
    let calendar = month("UTC");
    let slo = Slo {
        calendar: Some(calendar.clone()),
        ..slo(None)
    };
    // (a moment in the month, 14.4 of 30 days in it)
    for (now, milli) in [
        ("2026-02-20T00:00:00Z", 13_440),
        ("2024-02-20T00:00:00Z", 13_920),
        ("2026-04-20T00:00:00Z", 14_400),
        ("2026-05-20T00:00:00Z", 14_880),
    ] {
        let now = at(now);
        let mut engine = Engine::new(vec![(SloKey(0), slo.clone())], &Policy::shipped());
        let dead = |_: SloKey, window: Window| Span {
            tally: Tally { good: 0, bad: 100 },
            covered_s: window.as_secs(),
        };
        let evaluation = engine.evaluate(Timestamp::from_secs(now), &dead);
        let fast = evaluation.alerts.iter().find_map(|alert| alert.burn);
        assert_eq!(fast.unwrap().row.factor, Factor(milli), "{now}");
    }
    // Burning twice too fast from the 1st, 30 days of May would last 15.5 days; from the 25th it is not spent in May.
    let last = |day: &str| {
        let now = at(&format!("2026-05-{day}T00:00:00Z")) - 1;
        let start = at("2026-05-01T00:00:00Z");
        let read = move |_: SloKey, window: Window| {
            let seconds = window.as_secs().min(now + 1 - start);
            // Well until now, but for the last five minutes.
            let recent = seconds.min(300);
            Span {
                tally: Tally {
                    good: seconds * 1_000 - recent * 2,
                    bad: recent * 2,
                },
                covered_s: seconds,
            }
        };
        let mut engine = Engine::new(vec![(SloKey(0), slo.clone())], &Policy::shipped());
        let evaluation = engine.evaluate(Timestamp::from_secs(now), &read);
        evaluation.slos[0].clone()
    };
    let early = last("02");
    let secs = early.time_to_empty_s.unwrap();
    assert_eq!(secs, 31 * 43_200 - 300);
    // Spent against the month's expected total, and against what was counted so far.
    let expected = 1.0 - 600.0 / (0.001 * 1_000.0 * 31.0 * 86_400.0);
    let plain = 1.0 - 600.0 / (0.001 * 1_000.0 * 86_400.0);
    assert!((early.expected_remaining_ratio.unwrap() - expected).abs() < 1e-9);
    assert!((early.remaining_ratio.unwrap() - plain).abs() < 1e-9);
    assert_eq!(last("25").time_to_empty_s, None);
}

proptest! {
    #[test]
    fn what_is_used_is_the_integers_own_share_whatever_the_traffic(
        hours in prop::collection::vec((0_u64..1_000_000, 0_u64..1_000), 720),
        ppm in 500_000_u32..999_999,
    ) {
        let objective = Objective::try_from_ppm(ppm).unwrap();
        let hours: Vec<Tally> = hours.into_iter().map(|(good, bad)| Tally { good, bad }).collect();
        let (truth, _) = used(&hours, objective);
        let sum = hours.iter().fold(Tally::default(), |sum, hour| sum + *hour);
        let (ring, at) = hourly(hours);
        let status = judged(Slo { objective, ..slo(None) }, &ring, at);
        prop_assert_eq!(status.tally, sum);
        let left = status.remaining_ratio.unwrap();
        prop_assert!((1.0 - left - truth).abs() <= 1e-9 * truth.max(1.0), "{} {}", left, truth);
    }

    #[test]
    fn a_pinned_second_tells_what_came_before_it_from_what_came_after(
        before in 0_u64..9_000,
        after in 1_u64..9_000,
        restored in any::<bool>(),
    ) {
        // Restored by the hour, cut at the pinned second, as when a process starts.
        let start = 1_800_000_000_u64;
        let pinned = start + before;
        let each = Tally { good: 3, bad: 1 };
        let mut ring = TallyRing::new(Window::days(92));
        ring.pin(pinned);
        let times = |seconds: u64| Tally { good: 3 * seconds, bad: seconds };
        if restored {
            let edges: Vec<u64> = (start..pinned + after).filter(|at| at % HOUR_S == 0 && *at > start).chain([pinned]).collect();
            let mut edges: Vec<u64> = edges.into_iter().chain([start, pinned + after]).collect();
            edges.sort_unstable();
            edges.dedup();
            let points = edges.windows(2).map(|pair| Point {
                start_secs: pair[0],
                width_s: pair[1] - pair[0],
                tally: times(pair[1] - pair[0]),
            });
            ring.restore(points, pinned + after);
        } else {
            for second in start..pinned + after {
                ring.add(second, each);
            }
        }
        let window = Window::from_secs(after as u32);
        prop_assert_eq!(ring.over(window, pinned + after - 1).tally, times(after));
    }
}
