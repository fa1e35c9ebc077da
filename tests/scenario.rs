//! Incidents from first request to sentence: `scenario/*.toml` describes traffic and changes, the rings, the engine and
//! the verdict run over it second by second, and what is said is compared word for word.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use vestibule::model::{
    Counts, EndpointKey, EndpointTally, Event, EventKind, Fault, Latency, Phase, RouteSlot, Scope,
    Side, Sli, Slo, SloKey, Tally, Timestamp, Window,
};
use vestibule::sli::ring::{Point, RouteRing, TallyRing};
use vestibule::slo::engine::{Engine, Evaluation};
use vestibule::slo::policy::Policy;
use vestibule::triage::Verdict;
use vestibule::triage::engine::verdicts;
use vestibule::triage::evidence::{Detail, EndpointEvidence, Evidence, History, RouteEvidence};

#[path = "scenario/parity.rs"]
mod parity;

/// One scenario file. Times are times of day on one day in UTC.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    /// When the process starts.
    start: String,
    /// How long it has run before, healthy, at each route's rate; absent: it is fresh.
    history: Option<Window>,
    routes: Vec<Route>,
    slos: Vec<Promise>,
    #[serde(default)]
    incidents: Vec<Incident>,
    #[serde(default)]
    events: Vec<Change>,
    #[serde(default)]
    degraded: Vec<String>,
    expect: Vec<Expectation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    id: String,
    upstream: String,
    /// What runs before the first deploy.
    version: Option<String>,
    owner: Option<String>,
    /// Requests a second.
    rate: u64,
    endpoints: Vec<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Promise {
    id: String,
    route: String,
    objective: String,
    /// Milliseconds; absent: availability.
    under_ms: Option<u64>,
    runbook: Option<String>,
    /// Absent: the workbook's.
    policy: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Incident {
    route: String,
    from: String,
    /// Absent: it lasts.
    to: Option<String>,
    /// Requests a second instead of the route's.
    rate: Option<u64>,
    /// How many of a thousand requests to the endpoints concerned have the fault.
    #[serde(default)]
    per_mille: u64,
    fault: Option<Fault>,
    /// The endpoints concerned; absent: all.
    endpoints: Option<Vec<String>>,
    /// How many of a thousand good requests are slower than the route's latency objective.
    #[serde(default)]
    slow_per_mille: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    at: String,
    kind: EventKind,
    #[serde(default)]
    scope: Scope,
    text: String,
}

/// What must be said; an empty text is "nothing".
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    at: String,
    severity: String,
    side: String,
    route: String,
    slo: String,
    onset: String,
    suspect: String,
    strength: String,
    fault: String,
    next_step: String,
    runbook: String,
    text: String,
    /// The sentences after the first.
    others: Vec<String>,
}

const DAY: u64 = 1_795_392_000;

fn second(time: &str) -> u64 {
    let mut parts = time.split(':').map(|part| part.parse::<u64>().unwrap());
    let [hours, minutes, seconds] = [(); 3].map(|()| parts.next().unwrap());
    assert_eq!(parts.next(), None, "{time}");
    DAY + hours * 3_600 + minutes * 60 + seconds
}

struct World<'a> {
    scenario: &'a Scenario,
    routes: Vec<RouteRing>,
    slos: Vec<TallyRing>,
    engine: Engine,
    endpoints: Vec<String>,
    /// Events of each SLO since the start.
    sums: Vec<Tally>,
}

/// The window of every promise.
const MONTH: Window = Window::days(30);

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let slos = scenario.promised().into_iter().enumerate();
        let slos = slos.map(|(key, slo)| (SloKey(key as u32), slo));
        let mut world = Self {
            scenario,
            routes: vec![RouteRing::default(); scenario.routes.len()],
            slos: vec![TallyRing::new(MONTH); scenario.slos.len()],
            engine: Engine::new(slos.collect(), &Policy::shipped()),
            endpoints: scenario
                .routes
                .iter()
                .flat_map(|route| route.endpoints.clone())
                .collect(),
            sums: vec![Tally::default(); scenario.slos.len()],
        };
        if let Some(history) = scenario.history {
            world.restore(history);
        }
        world
    }

    fn restore(&mut self, history: Window) {
        let start = second(&self.scenario.start);
        let minutes = (start - history.as_secs()..start).step_by(60);
        for (ring, slo) in self.slos.iter_mut().zip(&self.scenario.slos) {
            let rate = self.scenario.route(&slo.route).rate;
            let points = minutes.clone().map(|start_secs| Point {
                start_secs,
                width_s: 60,
                tally: Tally {
                    good: rate * 60,
                    bad: 0,
                },
            });
            ring.restore(points, start);
        }
        for (ring, route) in self.routes.iter_mut().zip(&self.scenario.routes) {
            let good = route.rate * 60;
            let counts = Counts {
                good,
                bad: 0,
                excluded: 0,
            };
            ring.restore(minutes.clone().map(|start| (start, counts, None)), start);
        }
    }

    /// One second of everything.
    fn step(&mut self, now: u64) -> Evaluation {
        for (ring, route) in self.routes.iter_mut().zip(&self.scenario.routes) {
            let (slot, late) = self.scenario.slot(route, now, &self.endpoints);
            ring.advance(now);
            ring.add(now, &slot);
            let counted = self.slos.iter_mut().zip(&mut self.sums);
            for ((ring, sum), slo) in counted.zip(&self.scenario.slos) {
                if slo.route != route.id {
                    continue;
                }
                let tally = match slo.under_ms {
                    None => Tally {
                        good: slot.counts.good,
                        bad: slot.counts.bad,
                    },
                    Some(_) => Tally {
                        good: slot.counts.good - late,
                        bad: late,
                    },
                };
                ring.advance(now);
                ring.add(now, tally);
                *sum += tally;
            }
        }
        let slos = &self.slos;
        self.engine
            .evaluate(Timestamp::from_secs(now), &|key, window| {
                slos[key.index()].over(window, now)
            })
    }

    fn verdicts(&self, now: u64, evaluation: &Evaluation) -> Vec<Verdict> {
        let mut events: Vec<Event> = self
            .scenario
            .events
            .iter()
            .map(|change| Event {
                at: Timestamp::from_secs(second(&change.at)),
                kind: change.kind,
                scope: change.scope.clone(),
                text: change.text.clone(),
            })
            .filter(|event| event.at.as_secs() <= now)
            .collect();
        events.sort_by_key(|event| std::cmp::Reverse(event.at));
        let place = |id: &str| {
            self.scenario
                .routes
                .iter()
                .position(|route| route.id == id)
                .unwrap()
        };
        let detail = |id: &str| {
            let (ring, route) = (&self.routes[place(id)], &self.scenario.routes[place(id)]);
            let seen: BTreeMap<EndpointKey, EndpointTally> =
                ring.endpoints_over(300, now).into_iter().collect();
            let endpoints = self.endpoints.iter().enumerate();
            Detail {
                faults_1m: ring.faults_over_1m(now),
                faults_5m: ring.faults_over_5m(now),
                endpoints: endpoints
                    .filter(|(_, address)| route.endpoints.contains(address))
                    .map(|(key, address)| {
                        let tally = seen.get(&EndpointKey(key as u32)).copied();
                        let tally = tally.unwrap_or_default();
                        EndpointEvidence {
                            address: address.clone(),
                            good: tally.good,
                            bad: tally.bad,
                            connect_failures: tally.connect_failures,
                        }
                    })
                    .collect(),
                phases_p50_us: ring
                    .phases_over_5m(now)
                    .map(|phase| phase.map(|phase| phase.percentiles.p50_us)),
            }
        };
        let history = |key: SloKey| History {
            seconds: self.slos[key.index()].seconds().collect(),
            minutes: self.slos[key.index()].minutes().collect(),
        };
        // The version is the last word of a deploy's text.
        let versions = |route: &'a Route| {
            let mut known: Vec<&str> = self
                .scenario
                .events
                .iter()
                .filter_map(|change| {
                    let concerns = change.scope.upstream.as_deref() == Some(&route.upstream);
                    let deployed = change.kind == EventKind::Deploy && second(&change.at) <= now;
                    (concerns && deployed).then(|| change.text.rsplit(' ').next())?
                })
                .collect();
            known.insert(0, route.version.as_deref().unwrap_or_default());
            known.reverse();
            (known.first().copied(), known.get(1).copied())
        };
        let routes = self.scenario.routes.iter().zip(&self.routes);
        let routes = routes.map(|(route, ring)| RouteEvidence {
            id: &route.id,
            upstream: Some(&route.upstream),
            version: versions(route).0,
            previous_version: versions(route).1,
            owner: route.owner.as_deref(),
            runbook: None,
            slos: evaluation
                .slos
                .iter()
                .filter(|slo| slo.slo.route == route.id)
                .collect(),
            alerts: evaluation
                .alerts
                .iter()
                .filter(|alert| alert.route.as_ref() == Some(&route.id))
                .collect(),
            last_minute: ring.counts_over(60, now),
            covered_s: ring.covered_over(60, now),
        });
        let evidence = Evidence {
            routes: routes.collect(),
            edge: self
                .routes
                .iter()
                .map(|ring| ring.counts_over(60, now))
                .fold(Counts::default(), |sum, counts| sum + counts),
            events: &events,
            alerts: evaluation.alerts.iter().collect(),
            degraded: self.scenario.degraded.clone(),
            detail: &detail,
            history: &history,
        };
        verdicts(Timestamp::from_secs(now), &evidence)
    }
}

impl Scenario {
    fn promised(&self) -> Vec<Slo> {
        let promised = |slo: &Promise| Slo {
            id: slo.id.clone(),
            route: slo.route.clone(),
            probe: None,
            sli: match slo.under_ms {
                None => Sli::Availability,
                Some(under) => Sli::Latency {
                    under: Duration::from_millis(under),
                },
            },
            objective: slo.objective.parse().unwrap(),
            window: MONTH,
            policy: slo.policy.clone().unwrap_or("workbook".to_owned()),
            runbook: slo.runbook.clone(),
        };
        self.slos.iter().map(promised).collect()
    }

    fn route(&self, id: &str) -> &Route {
        self.routes.iter().find(|route| route.id == id).unwrap()
    }

    /// What `route` does in second `now`, and how many of its good requests are late.
    fn slot(&self, route: &Route, now: u64, endpoints: &[String]) -> (RouteSlot, u64) {
        let incidents: Vec<&Incident> = self
            .incidents
            .iter()
            .filter(|incident| incident.route == route.id && second(&incident.from) <= now)
            .filter(|incident| incident.to.as_deref().is_none_or(|to| now < second(to)))
            .collect();
        let rate = incidents
            .iter()
            .find_map(|incident| incident.rate)
            .unwrap_or(route.rate);
        // Spread so that a thousand requests in a row hold exactly the parts asked for.
        let part = |count: u64, per_mille: u64, before: u64| {
            (before + count) * per_mille / 1_000 - before * per_mille / 1_000
        };
        let mut slot = RouteSlot::default();
        for (key, endpoint) in endpoints.iter().enumerate() {
            let Some(place) = route.endpoints.iter().position(|own| own == endpoint) else {
                continue;
            };
            let (place, number) = (place as u64, route.endpoints.len() as u64);
            let tried = rate / number + u64::from(place < rate % number);
            let before = (now - DAY) * tried;
            let mut tally = EndpointTally::default();
            for incident in &incidents {
                let Some(fault) = incident.fault else {
                    continue;
                };
                if incident
                    .endpoints
                    .as_ref()
                    .is_some_and(|named| !named.contains(endpoint))
                {
                    continue;
                }
                let count = part(tried, incident.per_mille, before);
                slot.faults[fault.index()] += count;
                match fault.side() {
                    Side::Downstream => slot.counts.excluded += count,
                    Side::Edge => slot.counts.bad += count,
                    Side::Upstream => {
                        slot.counts.bad += count;
                        tally.bad += count;
                    }
                }
                if fault == Fault::ConnectRefused {
                    tally.connect_failures += count;
                }
            }
            let failed: u64 = tally.bad;
            tally.good = tried - failed;
            slot.endpoints.push((EndpointKey(key as u32), tally));
        }
        slot.counts.good = rate - slot.counts.bad - slot.counts.excluded;
        let slow_per_mille = incidents
            .iter()
            .map(|incident| incident.slow_per_mille)
            .sum();
        let late = part(slot.counts.good, slow_per_mille, (now - DAY) * rate);
        if slot.counts.good > 0 {
            let mut latency = Latency::new();
            latency.record_many(20_000, slot.counts.good - late);
            latency.record_many(900_000, late);
            let mut edge = Latency::new();
            edge.record_many(200, slot.counts.good);
            slot.phases[Phase::Edge.index()] = Some(edge);
            slot.phases[Phase::Wait.index()] = Some(latency.clone());
            slot.latency = Some(latency);
        }
        (slot, late)
    }
}

/// What was said, in the words of an expectation.
fn said(at: &str, verdicts: &[Verdict]) -> BTreeMap<&'static str, String> {
    let first = &verdicts[0];
    let or_nothing = |text: &Option<String>| text.clone().unwrap_or_default();
    let suspect = first.suspect.as_ref();
    BTreeMap::from([
        ("at", at.to_owned()),
        ("severity", first.severity.as_str().to_owned()),
        ("side", first.side.as_str().to_owned()),
        ("route", or_nothing(&first.route)),
        ("slo", or_nothing(&first.slo)),
        (
            "onset",
            first.onset.map(Timestamp::time_of_day).unwrap_or_default(),
        ),
        (
            "suspect",
            suspect
                .map(|suspect| suspect.event.text.clone())
                .unwrap_or_default(),
        ),
        (
            "strength",
            suspect
                .map(|suspect| format!("{:?}", suspect.strength).to_lowercase())
                .unwrap_or_default(),
        ),
        ("fault", or_nothing(&first.fault)),
        ("next_step", first.next_step.clone()),
        ("runbook", or_nothing(&first.runbook)),
        ("text", first.text.clone()),
        (
            "others",
            format!(
                "{:?}",
                verdicts[1..]
                    .iter()
                    .map(|verdict| &verdict.text)
                    .collect::<Vec<_>>()
            ),
        ),
    ])
}

fn expected(expectation: &Expectation) -> BTreeMap<&'static str, String> {
    let Expectation {
        at,
        severity,
        side,
        route,
        slo,
        onset,
        suspect,
        strength,
        fault,
        next_step,
        runbook,
        text,
        others,
    } = expectation;
    BTreeMap::from([
        ("at", at.clone()),
        ("severity", severity.clone()),
        ("side", side.clone()),
        ("route", route.clone()),
        ("slo", slo.clone()),
        ("onset", onset.clone()),
        ("suspect", suspect.clone()),
        ("strength", strength.clone()),
        ("fault", fault.clone()),
        ("next_step", next_step.clone()),
        ("runbook", runbook.clone()),
        ("text", text.clone()),
        ("others", format!("{others:?}")),
    ])
}

fn run(scenario: &Scenario) -> Vec<String> {
    let mut world = World::new(scenario);
    let mut wrong = Vec::new();
    let last = scenario
        .expect
        .iter()
        .map(|expect| second(&expect.at))
        .max();
    for now in second(&scenario.start)..=last.unwrap() {
        let evaluation = world.step(now);
        for expect in scenario
            .expect
            .iter()
            .filter(|expect| second(&expect.at) == now)
        {
            let verdicts = world.verdicts(now, &evaluation);
            for verdict in &verdicts {
                assert!(!verdict.text.contains("NaN") && !verdict.text.contains("cause"));
            }
            let said = said(&expect.at, &verdicts);
            for (field, expected) in expected(expect) {
                if said[field] != expected {
                    wrong.push(format!(
                        "at {}: {field}\n    expected {expected}\n    said     {}",
                        expect.at, said[field]
                    ));
                }
            }
        }
    }
    wrong
}

fn scenarios() -> Vec<(PathBuf, Scenario)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenario");
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    assert!(files.len() >= 8, "the scenarios are missing: {files:?}");
    let read = |file: PathBuf| {
        let scenario = toml::from_str(&fs::read_to_string(&file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        (file, scenario)
    };
    files.into_iter().map(read).collect()
}

#[test]
fn every_scenario_is_told_as_it_should_be() {
    let mut report = String::new();
    for (file, scenario) in scenarios() {
        assert!(!scenario.expect.is_empty(), "{}", file.display());
        for wrong in run(&scenario) {
            writeln!(report, "{}\n  {wrong}", file.display()).unwrap();
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn an_unknown_or_missing_field_is_refused() {
    let whole = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenario/bad_deploy.toml"),
    )
    .unwrap();
    assert!(toml::from_str::<Scenario>(&whole).is_ok());
    let unknown = format!("surprise = true\n{whole}");
    assert!(toml::from_str::<Scenario>(&unknown).is_err());
    let missing = whole.replacen("severity = ", "# severity = ", 1);
    assert!(toml::from_str::<Scenario>(&missing).is_err());
}
