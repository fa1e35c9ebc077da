//! A thousand quiet days in model time, none of which may be told as anything but well: day and night, little traffic and
//! much, bursts, single failures within every budget, scanners, deploys and reloads without effect, an endpoint that blinks.
//!
//! What false alarms there are come from chance, so the days are random, and each is repeated by its seed.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::ops::Range;

use vestibule::model::{
    About, Counts, Event, EventKind, Fault, Scope, Sli, Slo, SloKey, Span, Tally, Timestamp, Window,
};
use vestibule::slo::engine::{Engine, Evaluation};
use vestibule::slo::policy::Policy;
use vestibule::slo::usual;
use vestibule::triage::engine::verdicts;
use vestibule::triage::evidence::{Detail, Evidence, History, Proof, RouteEvidence, Unsteady};
use vestibule::triage::{Level, Verdict};

/// How many days.
const DAYS: u64 = 1_000;
/// Minutes of a day.
const MINUTES: usize = 1_440;
const MONTH: Window = Window::days(30);
/// The first second of the day; thirty days of history lie before it.
const START: u64 = 1_795_392_000;
/// Of each objective's budget, how much is spent on a quiet day, in percent.
const SPENT: u64 = 50;

/// A small generator, so that a day is repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // Knuth's MMIX constants; the high bits are the random ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }

    /// How many of `count` happen that happen to `ppm` in a million, each by itself; of many the mean, give or take.
    fn of(&mut self, count: u64, ppm: u64) -> u64 {
        if count <= 400 {
            return (0..count).filter(|_| self.below(1_000_000) < ppm).count() as u64;
        }
        // The sum of twelve uniform numbers is all but normal, with a deviation of one.
        let normal = (0..12)
            .map(|_| self.below(1_000) as f64 / 1_000.0)
            .sum::<f64>()
            - 6.0;
        let mean = count as f64 * ppm as f64 / 1e6;
        (mean + normal * mean.sqrt())
            .round()
            .clamp(0.0, count as f64) as u64
    }
}

/// One route's day.
struct Route {
    id: String,
    /// Requests of each minute.
    minutes: Vec<Counts>,
    /// Of the good ones, those that were late.
    late: Vec<u64>,
    /// What every earlier day had, in all.
    usual_day: u64,
    objective: Slo,
    latency: Slo,
}

fn slo(route: &str, what: &str, sli: Sli, objective: &str) -> Slo {
    Slo {
        calendar: None,
        slices: None,
        id: format!("{route}-{what}"),
        about: About::Route(route.to_owned()),
        owner: None,
        sli,
        parts: Vec::new(),
        probe: None,
        objective: objective.parse().unwrap(),
        window: MONTH,
        policy: "workbook".to_owned(),
        runbook: None,
    }
}

impl Route {
    fn new(id: &str, random: &mut Random) -> Self {
        let objective = ["99%", "99.5%", "99.9%", "99.95%"][random.below(4) as usize];
        let objective = slo(id, "avail", Sli::AVAILABILITY, objective);
        let under = std::time::Duration::from_millis(300);
        let latency = slo(id, "fast", Sli::Latency { under }, "95%");
        // Requests in a minute at noon: from one in five minutes to a thousand a second.
        let noon = [0, 1, 3, 10, 60, 600, 6_000, 60_000][random.below(8) as usize];
        let bursty = random.below(4) == 0;
        let bad_ppm = u64::from(objective.objective.budget_ppm()) * SPENT / 100;
        let late_ppm = u64::from(latency.objective.budget_ppm()) * SPENT / 100;
        // Scanners are always there, and now and then there are more of them.
        let junk_ppm = random.below(250_000);
        let (mut minutes, mut late) = (Vec::new(), Vec::new());
        let mut burst = 0_u64;
        for minute in 0..MINUTES {
            // A fifth at night, all of it at noon.
            let phase = (minute as f64 / MINUTES as f64 - 0.5) * std::f64::consts::TAU;
            let rhythm = 0.6 + 0.4 * phase.cos();
            let mut rate = (noon as f64 * rhythm) as u64;
            if bursty {
                if burst == 0 && random.below(90) == 0 {
                    burst = 10 + random.below(20);
                }
                rate = if burst > 0 { noon } else { 0 };
                burst = burst.saturating_sub(1);
            }
            let valid = match rate {
                0 => u64::from(random.below(5) == 0 && !bursty),
                rate => rate * (80 + random.below(41)) / 100,
            };
            let bad = random.of(valid, bad_ppm);
            minutes.push(Counts {
                good: valid - bad,
                bad,
                excluded: random.of(valid, junk_ppm),
            });
            late.push(random.of(valid - bad, late_ppm));
        }
        let usual_day = minutes.iter().map(|it| it.valid()).sum();
        Self {
            id: id.to_owned(),
            minutes,
            late,
            usual_day,
            objective,
            latency,
        }
    }

    fn sum(&self, minutes: Range<usize>) -> Counts {
        let inside = self.minutes[minutes].iter();
        inside.fold(Counts::default(), |sum, it| sum + *it)
    }

    /// What an SLO counted in `minutes` of the day.
    fn tally(&self, is_latency: bool, minutes: Range<usize>) -> Tally {
        let counts = self.sum(minutes.clone());
        if is_latency {
            let late = self.late[minutes].iter().sum();
            Tally {
                good: counts.good - late,
                bad: late,
            }
        } else {
            Tally {
                good: counts.good,
                bad: counts.bad,
            }
        }
    }
}

/// Sums of an SLO's minutes from the beginning of the day on.
struct Sums {
    from_start: Vec<Tally>,
    /// An earlier day.
    day: Tally,
}

impl Sums {
    fn new(route: &Route, is_latency: bool) -> Self {
        let mut sum = Tally::default();
        let mut from_start = vec![sum];
        for minute in 0..MINUTES {
            sum += route.tally(is_latency, minute..minute + 1);
            from_start.push(sum);
        }
        let slo = if is_latency {
            &route.latency
        } else {
            &route.objective
        };
        let bad = route.usual_day * u64::from(slo.objective.budget_ppm()) * SPENT / 100 / 1_000_000;
        Self {
            from_start,
            day: Tally {
                good: route.usual_day - bad,
                bad,
            },
        }
    }

    /// Over a window that ends with the day's minute `end`.
    fn over(&self, window: Window, end: usize) -> Span {
        let width = (window.as_secs() / 60) as usize;
        let begin = end.saturating_sub(width);
        let before_s = (width - (end - begin)) as u64 * 60;
        let part = |count: u64| (u128::from(count) * u128::from(before_s) / 86_400) as u64;
        let before = Tally {
            good: part(self.day.good),
            bad: part(self.day.bad),
        };
        Span {
            tally: before + (self.from_start[end] - self.from_start[begin]),
            covered_s: window.as_secs(),
        }
    }
}

struct Day {
    seed: u64,
    routes: Vec<Route>,
    sums: Vec<Sums>,
    engine: Engine,
    /// Newest first.
    events: Vec<Event>,
    /// When an endpoint was lost for a moment.
    blinks_at: u64,
}

impl Day {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66);
        let routes: Vec<Route> = ["shop", "api", "admin"]
            .into_iter()
            .map(|id| Route::new(id, &mut random))
            .collect();
        let mut slos = Vec::new();
        let mut sums = Vec::new();
        for route in &routes {
            for (is_latency, slo) in [(false, &route.objective), (true, &route.latency)] {
                slos.push((SloKey(sums.len() as u32), slo.clone()));
                sums.push(Sums::new(route, is_latency));
            }
        }
        let mut events = Vec::new();
        for (kind, text) in [
            (EventKind::Deploy, "shop v2"),
            (EventKind::Deploy, "api v7"),
            (EventKind::Config, "generation 2 applied: ~limits"),
            (EventKind::Config, "generation 3 applied: ~route api"),
            (EventKind::Process, "Vestibule started"),
        ] {
            events.push(Event {
                at: Timestamp::from_secs(START + random.below(86_400)),
                kind,
                scope: Scope {
                    upstream: (kind == EventKind::Deploy).then(|| "shop".to_owned()),
                    ..Scope::default()
                },
                text: text.to_owned(),
            });
        }
        events.sort_by_key(|event| std::cmp::Reverse(event.at));
        Self {
            seed,
            routes,
            sums,
            engine: Engine::new(slos, &Policy::shipped()),
            events,
            blinks_at: START + random.below(86_400),
        }
    }

    /// The minutes after which everything is judged: each in which something failed and those that follow, and every
    /// tenth.
    fn looks(&self) -> Vec<usize> {
        let failed = |minute: usize| self.routes.iter().any(|it| it.minutes[minute].bad > 0);
        let busy = self.routes.iter().any(|it| it.usual_day > 50_000);
        (0..MINUTES)
            .filter(|minute| {
                let lately = minute.saturating_sub(1)..=*minute;
                // Where something fails in each minute, no single one is telling.
                minute % 10 == 9 || (!busy && lately.into_iter().any(failed))
            })
            .collect()
    }

    fn run(mut self) {
        for minute in self.looks() {
            let end = minute + 1;
            let now = Timestamp::from_secs(START + end as u64 * 60 - 1);
            let sums = &self.sums;
            let read = |key: SloKey, window| sums[key.index()].over(window, end);
            let evaluation = self.engine.evaluate(now, &read);
            for change in &evaluation.transitions {
                assert!(
                    !change.text.contains("firing"),
                    "day {}, minute {minute}: {}",
                    self.seed,
                    change.text
                );
            }
            self.nothing_unusual(end);
            for verdict in self.verdicts(now, end, &evaluation) {
                assert_eq!(
                    verdict.severity,
                    Level::Ok,
                    "day {}, minute {minute}: {}",
                    self.seed,
                    verdict.text
                );
            }
        }
    }

    /// Neither sudden errors nor sudden silence.
    fn nothing_unusual(&self, end: usize) {
        for route in &self.routes {
            let recent = route.tally(false, end.saturating_sub(5)..end);
            let hour = end.saturating_sub(65)..end.saturating_sub(5);
            let usually = route.tally(false, hour);
            let objective = Some(route.objective.objective);
            let surges = usual::surges(recent, usually, objective);
            assert!(
                !surges,
                "day {}, minute {end}: {recent:?} {usually:?}",
                self.seed
            );
        }
    }

    fn verdicts(&self, now: Timestamp, end: usize, evaluation: &Evaluation) -> Vec<Verdict> {
        let index = |at: u64| ((at.saturating_sub(START)) / 60) as usize;
        let route = |id: &str| self.routes.iter().find(|it| it.id == id).unwrap();
        let minutes = |id: &str, range: Range<u64>| {
            let of_day = index(range.start)..index(range.end.saturating_add(59)).min(end);
            let route = route(id);
            let inside = of_day.filter(|minute| route.minutes[*minute].requests() > 0);
            let steps = inside.map(|minute| (START + minute as u64 * 60, route.minutes[minute]));
            steps.filter(|(start, _)| range.contains(start)).collect()
        };
        // A minute's requests in its midst.
        let seconds = |id: &str, range: Range<u64>| -> Vec<(u64, Counts)> {
            let steps: Vec<(u64, Counts)> = minutes(id, range.start.saturating_sub(30)..range.end);
            let steps = steps
                .into_iter()
                .map(|(start, counts)| (start + 30, counts));
            steps.filter(|(at, _)| range.contains(at)).collect()
        };
        let blinked = now.as_secs() >= self.blinks_at && now.as_secs() < self.blinks_at + 600;
        let unsteady = blinked.then(|| Unsteady {
            upstream: "shop",
            address: "10.0.0.1:80",
            changes: 2,
            since: Timestamp::from_secs(self.blinks_at),
            ..Unsteady::default()
        });
        let known = self.events.iter().filter(|event| event.at <= now);
        let events: Vec<Event> = known.cloned().collect();
        let last_minute = |route: &Route| route.sum(end - 1..end);
        let routes = self.routes.iter().map(|route| RouteEvidence {
            id: &route.id,
            upstream: Some("shop"),
            slos: evaluation
                .slos
                .iter()
                .filter(|it| it.slo.about.route() == Some(&route.id))
                .collect(),
            alerts: evaluation
                .alerts
                .iter()
                .filter(|it| it.route.as_ref() == Some(&route.id))
                .collect(),
            last_minute: last_minute(route),
            covered_s: 60,
            ..RouteEvidence::default()
        });
        let detail = |id: &str| {
            let mut detail = Detail::default();
            let minute = last_minute(route(id));
            detail.faults_1m[Fault::UpstreamStatus.index()] = minute.bad;
            detail.faults_1m[Fault::RequestInvalid.index()] = minute.excluded;
            detail
        };
        let evidence = Evidence {
            routes: routes.collect(),
            wide: Vec::new(),
            vitals: Vec::new(),
            edge: self
                .routes
                .iter()
                .map(last_minute)
                .fold(Counts::default(), |sum, it| sum + it),
            events: &events,
            alerts: evaluation.alerts.iter().collect(),
            degraded: Vec::new(),
            certificates: Vec::new(),
            handshakes: Tally { good: 20, bad: 1 },
            handshakes_by_end: vestibule::model::Handshakes::default(),
            probes: Vec::new(),
            names: Vec::new(),
            unsteady: unsteady.into_iter().collect(),
            seconds: &seconds,
            minutes: &minutes,
            proof: &|id| {
                Some(Proof {
                    request: format!("GET http://{id}.test/"),
                    taken_by: Some(id.to_owned()),
                })
            },
            detail: &detail,
            history: &|_| History::default(),
        };
        verdicts(now, &evidence)
    }
}

#[test]
fn a_thousand_quiet_days_are_all_well() {
    let workers = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let threads: Vec<_> = (0..workers)
        .map(|worker| {
            std::thread::spawn(move || {
                for seed in (0..DAYS).filter(|seed| seed % workers == worker) {
                    Day::new(seed).run();
                }
            })
        })
        .collect();
    let loud: Vec<_> = threads
        .into_iter()
        .filter_map(|thread| thread.join().err())
        .collect();
    assert!(
        loud.is_empty(),
        "{} of the threads met a loud day, see above",
        loud.len()
    );
}

#[test]
fn a_day_on_which_a_route_fails_is_not_quiet() {
    let loud = std::panic::catch_unwind(|| {
        for seed in 0..20 {
            let mut day = Day::new(seed);
            for route in &mut day.routes {
                for minute in 600..630 {
                    let counts = &mut route.minutes[minute];
                    (counts.good, counts.bad) = (0, counts.valid());
                    route.late[minute] = 0;
                }
            }
            for (place, sums) in day.sums.iter_mut().enumerate() {
                *sums = Sums::new(&day.routes[place / 2], place % 2 == 1);
            }
            day.run();
        }
    });
    assert!(loud.is_err(), "this test would see nothing");
}
