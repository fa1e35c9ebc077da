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
    About, Counts, EndpointKey, EndpointTally, Event, EventKind, Fault, Latency, NO_ROUTE, Phase,
    RouteSlot, Scope, Side, Sli, Slo, SloKey, Tally, Timestamp, Window,
};
use vestibule::routing::matcher::{Listeners, Matcher, Rule};
use vestibule::routing::pattern::PathPattern;
use vestibule::routing::witness::{Samples, stray};
use vestibule::sli::ring::{Point, RouteRing, TallyRing};
use vestibule::slo::alert::{AlertKind, AlertStatus, Claim, Watch};
use vestibule::slo::engine::{Engine, Evaluation};
use vestibule::slo::policy::Severity;
use vestibule::triage::Verdict;
use vestibule::triage::engine::verdicts;
use vestibule::triage::evidence::{
    CertificateEvidence, CheckEvidence, Detail, EndpointEvidence, Evidence, History, Leads, Proof,
    RouteEvidence, Unsteady,
};

#[path = "scenario/meaning.rs"]
mod meaning;
#[path = "scenario/parity.rs"]
mod parity;
#[path = "scenario/policies.rs"]
mod policies;

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
    #[serde(default)]
    names: Vec<Name>,
    #[serde(default)]
    flaps: Vec<Flap>,
    #[serde(default)]
    certificates: Vec<Certificate>,
    #[serde(default)]
    handshakes: Vec<Handshakes>,
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
    /// Requests a second that its clients send, whoever takes them.
    rate: u64,
    endpoints: Vec<String>,
    /// The hosts it takes; none: every host.
    #[serde(default)]
    hosts: Vec<String>,
    /// The path prefix it takes.
    path: Option<String>,
    /// The host that its clients ask for; absent: any that it takes.
    asked: Option<String>,
    /// Since when it is in the table; absent: always.
    since: Option<String>,
}

/// Where the name of an endpoint leads from a time on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    endpoint: String,
    host: String,
    at: String,
    leads_to: Vec<String>,
}

/// An endpoint whose health checks find it lost and back in turns.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flap {
    upstream: String,
    endpoint: String,
    from: String,
    to: String,
    /// From one change to the next.
    every_s: u64,
    timeout_ms: u64,
    fall: u32,
    p99_ms: u64,
    failed: String,
}

/// A certificate that ends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Certificate {
    name: String,
    ends: String,
    routes: Vec<String>,
}

/// Handshakes a second from a time on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Handshakes {
    from: String,
    ok: u64,
    failed: u64,
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
    /// All routes concerned, the worst first.
    routes: Vec<String>,
    slo: String,
    onset: String,
    suspect: String,
    strength: String,
    /// What speaks for the suspect.
    why: String,
    /// Further suspects, the likeliest first.
    further: Vec<String>,
    /// The dimension and part that tell bad requests from good ones, with bad and valid ones there and elsewhere.
    differs: String,
    /// How fast, as on the screen.
    burn: String,
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
    watch: Watch,
    watched: Vec<AlertStatus>,
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
            engine: Engine::new(slos.collect(), &policies::policies()),
            endpoints: scenario
                .routes
                .iter()
                .flat_map(|route| route.endpoints.clone())
                .collect(),
            sums: vec![Tally::default(); scenario.slos.len()],
            watch: Watch::default(),
            watched: Vec::new(),
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
        let rates = self.scenario.rates(now);
        for ((ring, route), takes) in self.routes.iter_mut().zip(&self.scenario.routes).zip(rates) {
            let (slot, late) = self.scenario.slot(route, now, &self.endpoints, takes);
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
        let at = Timestamp::from_secs(now);
        self.watched = self.watch.evaluate(at, self.scenario.claims(now)).alerts;
        let slos = &self.slos;
        self.engine
            .evaluate(Timestamp::from_secs(now), &|key, window| {
                slos[key.index()].over(window, now)
            })
    }

    /// All requests of the last minute.
    fn edge(&self, now: u64) -> Counts {
        let routes = self.routes.iter().map(|ring| ring.counts_over(60, now));
        routes.fold(Counts::default(), |sum, counts| sum + counts)
    }

    fn verdicts(&self, now: u64, evaluation: &Evaluation) -> Vec<Verdict> {
        let health = self.scenario.flaps_until(now);
        let events = self.scenario.happened(&health, now);
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
                            leads: self.scenario.leads(address, now),
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
            upstream: (route.id != NO_ROUTE).then_some(&*route.upstream),
            version: versions(route).0,
            previous_version: versions(route).1,
            owner: route.owner.as_deref(),
            runbook: None,
            slos: evaluation
                .slos
                .iter()
                .filter(|slo| slo.slo.about.route() == Some(&route.id))
                .collect(),
            alerts: self
                .watched
                .iter()
                .chain(&evaluation.alerts)
                .filter(|alert| alert.route.as_ref() == Some(&route.id))
                .collect(),
            last_minute: ring.counts_over(60, now),
            covered_s: ring.covered_over(60, now),
        });
        let evidence = Evidence {
            routes: routes.collect(),
            wide: Vec::new(),
            vitals: Vec::new(),
            edge: self.edge(now),
            events: &events,
            alerts: self.watched.iter().chain(&evaluation.alerts).collect(),
            degraded: self.scenario.degraded.clone(),
            certificates: self.scenario.certificates(now),
            handshakes: self.scenario.handshakes(now),
            handshakes_by_end: vestibule::model::Handshakes::default(),
            probes: Vec::new(),
            names: Vec::new(),
            unsteady: self.scenario.unsteady(&health, now),
            seconds: &|id, range| self.routes[place(id)].seconds(range).collect(),
            minutes: &|id, range| self.routes[place(id)].minutes(range).collect(),
            proof: &|id| self.scenario.proof(id, now),
            detail: &detail,
            history: &history,
        };
        verdicts(Timestamp::from_secs(now), &evidence)
    }
}

impl Scenario {
    /// The table in force, and the route that each rule stands for.
    fn table(&self, now: u64) -> (Vec<&Route>, Vec<Rule>) {
        let routes = self.routes.iter().filter(|route| route.id != NO_ROUTE);
        let routes: Vec<&Route> = routes
            .filter(|route| route.since.as_deref().is_none_or(|it| second(it) <= now))
            .collect();
        let rule = |route: &&Route| Rule {
            listeners: Listeners::ALL,
            hosts: route.hosts.iter().map(|it| it.parse().unwrap()).collect(),
            path: PathPattern::try_prefix(route.path.as_deref().unwrap_or("/")).unwrap(),
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
        };
        let rules = routes.iter().map(rule).collect();
        (routes, rules)
    }

    fn proof(&self, id: &str, now: u64) -> Option<Proof> {
        let (routes, rules) = self.table(now);
        let place = routes.iter().position(|route| route.id == id)?;
        let samples = Samples::new(&rules, 1);
        let (witness, by) = stray(&rules, place, &Matcher::new(&rules), &samples)?;
        Some(Proof {
            request: witness.asked("https"),
            taken_by: by.map(|place| routes[place].id.clone()),
        })
    }

    /// Who takes what the clients of a route send.
    fn taker(&self, route: &Route, now: u64) -> Option<String> {
        let (routes, rules) = self.table(now);
        let own = routes.iter().position(|it| it.id == route.id)?;
        let samples = Samples::new(&rules, 1);
        let witness = samples.requests(&rules[own]).into_iter().next()?;
        let witness = route
            .asked
            .as_ref()
            .map_or(witness.clone(), |host| witness.to(host));
        let by = Matcher::new(&rules).find(&witness.request())?;
        Some(routes[by].id.clone())
    }

    /// How many requests a second each route takes: its clients' go where the table sends them.
    fn rates(&self, now: u64) -> Vec<u64> {
        let mut rates = vec![0; self.routes.len()];
        // Without a change of the table each takes its own.
        let changes = self.routes.iter().any(|route| route.since.is_some());
        for (place, route) in self.routes.iter().enumerate() {
            let taken_by = if changes && route.id != NO_ROUTE {
                self.taker(route, now)
            } else {
                Some(route.id.clone())
            };
            let taken_by = taken_by.unwrap_or(NO_ROUTE.to_owned());
            let taker = self.routes.iter().position(|it| it.id == taken_by);
            rates[taker.unwrap_or(place)] += route.rate;
        }
        rates
    }

    /// What happened up to `now`, newest first.
    fn happened(&self, health: &[(&Flap, Event)], now: u64) -> Vec<Event> {
        let told = self.events.iter().map(|change| Event {
            at: Timestamp::from_secs(second(&change.at)),
            kind: change.kind,
            scope: change.scope.clone(),
            text: change.text.clone(),
        });
        let mut events: Vec<Event> = told
            .chain(self.moves())
            .chain(health.iter().map(|(_, event)| event.clone()))
            .filter(|event| event.at.as_secs() <= now)
            .collect();
        events.sort_by_key(|event| std::cmp::Reverse(event.at));
        events
    }

    fn leads(&self, endpoint: &str, now: u64) -> Option<Leads> {
        let known = self.names.iter().filter(|it| it.endpoint == endpoint);
        let mut known = known.filter(|it| second(&it.at) <= now);
        let known = known.next_back()?;
        Some(Leads {
            name: known.host.clone(),
            to: known.leads_to.clone(),
        })
    }

    /// What the daemon makes of names that move.
    fn moves(&self) -> Vec<Event> {
        let pairs = self.names.iter().zip(self.names.iter().skip(1));
        let moved = pairs.filter(|(before, after)| before.host == after.host);
        moved
            .map(|(before, after)| Event {
                at: Timestamp::from_secs(second(&after.at)),
                kind: EventKind::Name,
                scope: Scope {
                    upstream: self
                        .routes
                        .iter()
                        .find(|route| route.endpoints.contains(&after.endpoint))
                        .map(|route| route.upstream.clone()),
                    endpoint: Some(after.endpoint.clone()),
                    ..Scope::default()
                },
                text: format!(
                    "{} leads to {}, before to {}",
                    after.host,
                    after.leads_to.join(", "),
                    before.leads_to.join(", ")
                ),
            })
            .collect()
    }

    /// What the daemon makes of endpoints that come and go.
    fn flaps_until(&self, now: u64) -> Vec<(&Flap, Event)> {
        let mut events = Vec::new();
        for flap in &self.flaps {
            let until = second(&flap.to).min(now + 1);
            let times = (second(&flap.from)..until).step_by(flap.every_s as usize);
            for (place, at) in times.enumerate() {
                let (address, upstream) = (&flap.endpoint, &flap.upstream);
                let text = if place % 2 == 0 {
                    format!(
                        "{address} of {upstream} does not answer its health checks: {}",
                        flap.failed
                    )
                } else {
                    format!("{address} of {upstream} answers its health checks again")
                };
                let event = Event {
                    at: Timestamp::from_secs(at),
                    kind: EventKind::Health,
                    scope: Scope {
                        upstream: Some(upstream.clone()),
                        endpoint: Some(address.clone()),
                        ..Scope::default()
                    },
                    text,
                };
                events.push((flap, event));
            }
        }
        events
    }

    fn unsteady<'a>(&'a self, health: &[(&'a Flap, Event)], now: u64) -> Vec<Unsteady<'a>> {
        let mut found = Vec::new();
        for flap in &self.flaps {
            let of_it = health
                .iter()
                .filter(|(it, event)| std::ptr::eq(*it, flap) && event.at.as_secs() + 600 > now);
            let times: Vec<Timestamp> = of_it.map(|(_, event)| event.at).collect();
            if times.is_empty() {
                continue;
            }
            found.push(Unsteady {
                upstream: &flap.upstream,
                address: &flap.endpoint,
                changes: times.len() as u64,
                since: Timestamp::from_secs(second(&flap.from)),
                check: Some(CheckEvidence {
                    timeout_us: flap.timeout_ms * 1_000,
                    fall: flap.fall,
                    failed: Some(&flap.failed),
                }),
                p99_us: Some(flap.p99_ms * 1_000),
            });
        }
        found
    }

    /// A certificate is worth a ticket in its last day here, and pages once it has ended.
    fn claims(&self, now: u64) -> Vec<Claim> {
        let claims = self.certificates.iter().map(|it| {
            let ends = Timestamp::from_secs(second(&it.ends));
            let (severity, text) = if ends.as_secs() <= now {
                (
                    Severity::Page,
                    format!("{} (file): expired {ends}", it.name),
                )
            } else {
                (Severity::Ticket, format!("{} (file): ends {ends}", it.name))
            };
            Claim {
                id: format!("certificate:{}:{}", it.name, severity.as_str()),
                kind: AlertKind::Certificate,
                severity,
                about: it.name.clone(),
                route: None,
                runbook: Some("https://runbooks.example/certificates".to_owned()),
                text,
                lasts: Duration::ZERO,
            }
        });
        claims.collect()
    }

    fn certificates(&self, now: u64) -> Vec<CertificateEvidence<'_>> {
        let found = self.certificates.iter().map(|it| {
            let ends = second(&it.ends);
            let has_ended = ends <= now;
            CertificateEvidence {
                alert: format!("certificate:{}", it.name),
                kind: if has_ended { "expired" } else { "expiry" }.to_owned(),
                began: has_ended.then(|| Timestamp::from_secs(ends)),
                routes: it.routes.iter().map(String::as_str).collect(),
                upstreams: Vec::new(),
                is_ours: true,
                text: String::new(),
            }
        });
        found.collect()
    }

    fn handshakes(&self, now: u64) -> Tally {
        let seconds = (now - 59..=now).filter_map(|at| {
            let known = self.handshakes.iter().rfind(|it| second(&it.from) <= at)?;
            Some(Tally {
                good: known.ok,
                bad: known.failed,
            })
        });
        seconds.fold(Tally::default(), |sum, it| sum + it)
    }

    fn promised(&self) -> Vec<Slo> {
        let promised = |slo: &Promise| Slo {
            id: slo.id.clone(),
            about: About::Route(slo.route.clone()),
            owner: None,
            slices: None,
            parts: Vec::new(),
            probe: None,
            sli: match slo.under_ms {
                None => Sli::AVAILABILITY,
                Some(under) => Sli::Latency {
                    under: Duration::from_millis(under),
                },
            },
            objective: slo.objective.parse().unwrap(),
            window: MONTH,
            calendar: None,
            policy: slo.policy.clone().unwrap_or("workbook".to_owned()),
            runbook: slo.runbook.clone(),
        };
        self.slos.iter().map(promised).collect()
    }

    fn route(&self, id: &str) -> &Route {
        self.routes.iter().find(|route| route.id == id).unwrap()
    }

    /// What `route` does in second `now`, and how many of its good requests are late.
    fn slot(&self, route: &Route, now: u64, endpoints: &[String], takes: u64) -> (RouteSlot, u64) {
        let incidents: Vec<&Incident> = self
            .incidents
            .iter()
            .filter(|incident| incident.route == route.id && second(&incident.from) <= now)
            .filter(|incident| incident.to.as_deref().is_none_or(|to| now < second(to)))
            .collect();
        let rate = incidents
            .iter()
            .find_map(|incident| incident.rate)
            .unwrap_or(takes);
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
        if route.endpoints.is_empty() {
            // What matches no route is refused.
            slot.faults[Fault::NoRoute.index()] = rate;
            slot.counts.excluded = rate;
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
        ("routes", format!("{:?}", first.routes)),
        ("slo", or_nothing(&first.slo)),
        ("why", suspect.map(|it| it.why.clone()).unwrap_or_default()),
        ("further", {
            let further = first.further_suspects.iter();
            format!("{:?}", further.map(|it| &it.event.text).collect::<Vec<_>>())
        }),
        ("differs", {
            let differs = first.differs.as_ref();
            let said = differs.map(|it| {
                let (there, elsewhere) = (it.there, it.elsewhere);
                format!(
                    "{} {}: {}/{}, elsewhere {}/{}",
                    it.dimension,
                    it.part,
                    there.bad,
                    there.valid(),
                    elsewhere.bad,
                    elsewhere.valid()
                )
            });
            said.unwrap_or_default()
        }),
        (
            "burn",
            first.burn.map(|it| format!("{it:.1}x")).unwrap_or_default(),
        ),
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
        routes,
        slo,
        onset,
        suspect,
        strength,
        why,
        further,
        differs,
        burn,
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
        ("routes", format!("{routes:?}")),
        ("slo", slo.clone()),
        ("why", why.clone()),
        ("further", format!("{further:?}")),
        ("differs", differs.clone()),
        ("burn", burn.clone()),
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
                assert!(
                    !verdict.text.contains("NaN") && !verdict.text.contains("cause"),
                    "{}",
                    verdict.text
                );
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
    assert!(files.len() >= 17, "the scenarios are missing: {files:?}");
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
