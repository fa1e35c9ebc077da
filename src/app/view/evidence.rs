//! What the verdict is drawn from, gathered from all parts.

use std::collections::{BTreeMap, HashMap};

use super::{LATELY_S, MINUTE_S, View};
use crate::model::{About, EndpointTally, Sli, Tally, Timestamp, Vital};
use crate::names::Use;
use crate::proxy::config::Route;
use crate::routing::matcher::Matcher;
use crate::routing::pattern::HostPattern;
use crate::routing::witness::{Samples, stray};
use crate::sli::ring::RouteRing;
use crate::slo::alert::AlertStatus;
use crate::slo::engine::SloStatus;
use crate::snapshot::{CertificateView, Urgency};
use crate::triage::Verdict;
use crate::triage::engine::verdicts;
use crate::triage::evidence::{
    CertificateEvidence, CheckEvidence, Detail, EndpointEvidence, Evidence, Leads, NameEvidence,
    Proof, RouteEvidence, Unsteady, VitalEvidence, WideEvidence,
};

impl View<'_> {
    /// One sentence for each incident, worst first.
    pub(super) fn verdicts(&self, now: Timestamp) -> Vec<Verdict> {
        let pipeline = self.pipeline;
        let routes = self.routes.iter().map(|route| {
            let upstream = route.upstream();
            let versions = upstream.and_then(|upstream| pipeline.versions.get(upstream));
            let ring = &route.state.ring;
            RouteEvidence {
                id: route.id,
                upstream,
                version: versions.map(|(version, _)| version.as_str()),
                previous_version: versions.and_then(|(_, before)| before.as_deref()),
                owner: route.owner(),
                runbook: None,
                slos: route.slos.clone(),
                alerts: route.alerts.clone(),
                last_minute: ring.counts_over(MINUTE_S, self.now_secs),
                covered_s: ring.covered_over(MINUTE_S, self.now_secs),
            }
        });
        let routes = routes.collect();
        let slos = &pipeline.evaluation.slos;
        let wide = slos.iter().filter(|slo| slo.slo.about.route().is_none());
        let (vitals, wide): (Vec<_>, Vec<_>) =
            wide.partition(|slo| matches!(self.heaviest(slo).slo.sli, Sli::Vital(_)));
        let vitals = vitals.into_iter().filter_map(|slo| self.vital(slo));
        let wide = wide.into_iter().map(|slo| self.wide(slo)).collect();
        let events: Vec<_> = pipeline.events.iter().cloned().collect();
        let degraded = pipeline.degraded.values();
        let certificates = pipeline.certs.views();
        let rings: HashMap<&str, &RouteRing> = self
            .routes
            .iter()
            .map(|route| (route.id, &route.state.ring))
            .collect();
        let ring = |id: &str| rings.get(id).copied();
        let targets = pipeline.probes.targets();
        let evidence = Evidence {
            routes,
            wide,
            vitals: vitals.collect(),
            edge: pipeline.edge.counts_over(MINUTE_S, self.now_secs),
            events: &events,
            alerts: pipeline.alerts().collect(),
            degraded: degraded
                .map(|degradation| format!("{}: {}", degradation.part, degradation.text))
                .collect(),
            certificates: self.certificates(&certificates),
            handshakes: pipeline.handshakes.last_minute(self.now_secs),
            handshakes_by_end: pipeline.handshakes.lately(self.now_secs),
            unsteady: self.unsteady(now),
            probes: pipeline.probes.evidence(&targets),
            names: self.stale_names(now),
            seconds: &|id, range| {
                ring(id).map_or_else(Vec::new, |ring| ring.seconds(range).collect())
            },
            minutes: &|id, range| {
                ring(id).map_or_else(Vec::new, |ring| ring.minutes(range).collect())
            },
            proof: &|id| self.proof(id),
            detail: &|id| self.detail(id),
            history: &|key| pipeline.promises.history(key),
        };
        verdicts(now, &evidence)
    }

    /// An SLO about several routes, with those that it is about.
    fn wide<'a>(&'a self, slo: &'a SloStatus) -> WideEvidence<'a> {
        let by = self.heaviest(slo);
        let about = &by.slo.about;
        let shares = self.pipeline.promises.shares(by.key);
        let of_it = self
            .routes
            .iter()
            .filter(|route| self.is_about(about, route.id, route.upstream(), route.owner()));
        let routes = of_it.map(|route| {
            if about.route().is_some() {
                return (route.id, by.recent);
            }
            let place = shares.binary_search_by_key(&route.key, |(key, _)| *key);
            let tally = place.map_or_else(|_| Tally::default(), |place| shares[place].1);
            (route.id, tally)
        });
        let is_its = |alert: &&AlertStatus| alert.slo.as_ref() == Some(&slo.slo.id);
        WideEvidence {
            slo,
            by,
            alerts: self.pipeline.alerts().filter(is_its).collect(),
            routes: routes.collect(),
        }
    }

    /// Whether a route is one of those that an SLO is about.
    fn is_about(
        &self,
        about: &About,
        id: &str,
        upstream: Option<&str>,
        owner: Option<&str>,
    ) -> bool {
        let mut routes = self.around.resolved.proxy.routes.iter();
        match about {
            About::Limit(_) => routes.any(|route| route.id == id && route.is_in(about)),
            About::Route(_)
            | About::Upstream(_)
            | About::Owner(_)
            | About::Ingress
            | About::Parts => about.holds(id, upstream, owner),
        }
    }

    /// An SLO of a vital sign, with how that stands.
    fn vital<'a>(&'a self, slo: &'a SloStatus) -> Option<VitalEvidence<'a>> {
        let by = self.heaviest(slo);
        let Sli::Vital(vital) = by.slo.sli else {
            return None;
        };
        let pipeline = self.pipeline;
        let is_its = |alert: &&AlertStatus| alert.slo.as_ref() == Some(&slo.slo.id);
        let upstreams = self.around.resolved.proxy.upstreams.iter();
        let of_it = upstreams.filter(|it| by.slo.about.holds("", Some(&it.name), None));
        let endpoints = of_it.flat_map(|upstream| {
            upstream.endpoints.iter().filter_map(|endpoint| {
                let directory = &pipeline.directory;
                directory.find_endpoint(&upstream.name, &endpoint.to_string())
            })
        });
        let out = endpoints.filter(|key| pipeline.health.stands(*key) == Some(false));
        let out = out.map(|key| self.address(key).to_owned());
        let lately = pipeline.handshakes.lately(self.now_secs);
        Some(VitalEvidence {
            slo,
            by,
            alerts: pipeline.alerts().filter(is_its).collect(),
            now: pipeline.vitals.now(vital, &self.around.process, &lately),
            out: if vital == Vital::Health {
                out.collect()
            } else {
                Vec::new()
            },
        })
    }

    /// Of a composite the part whose bad share of the last five minutes weighs most; anything else is itself.
    fn heaviest<'a>(&'a self, slo: &'a SloStatus) -> &'a SloStatus {
        let slos = &self.pipeline.evaluation.slos;
        let weighed = slo.slo.parts.iter().filter_map(|part| {
            let of_it = slos.iter().find(|it| it.slo.id == part.slo)?;
            let recent = of_it.recent;
            let share = recent.bad as f64 / recent.valid().max(1) as f64;
            Some((f64::from(part.weight) * share, of_it))
        });
        weighed
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map_or(slo, |(_, of_it)| of_it)
    }

    /// Who goes by what names no longer lead to.
    fn stale_names(&self, now: Timestamp) -> Vec<NameEvidence<'_>> {
        let grace = self.around.resolved.names.grace;
        let stale = self.pipeline.looked_up.stale(now, grace);
        let routes = &self.around.resolved.proxy.routes;
        let evidence = stale.into_iter().map(|stale| {
            let of_route = stale.uses.iter().find_map(|it| match it {
                Use::Route(id) => routes.iter().find(|route| route.id == *id),
                Use::Probe(_) | Use::Upstream(_) => None,
            });
            NameEvidence {
                name: stale.name,
                since: stale.since,
                text: stale.text,
                uses: stale.uses.iter().map(Use::in_words).collect(),
                route: of_route.map(|route| route.id.as_str()),
            }
        });
        evidence.collect()
    }

    fn detail(&self, id: &str) -> Detail {
        let Some(route) = self.routes.iter().find(|route| route.id == id) else {
            return Detail::default();
        };
        let (ring, upstream) = (&route.state.ring, route.upstream());
        let tried = ring.endpoints_over(LATELY_S, self.now_secs);
        let upstreams = self.around.resolved.proxy.upstreams.iter();
        let endpoints = upstreams.filter(|found| Some(found.name.as_str()) == upstream);
        let endpoints = endpoints
            .flat_map(|upstream| &upstream.endpoints)
            .map(|endpoint| {
                let address = endpoint.to_string();
                let tally = tried
                    .iter()
                    .find(|(key, _)| self.address(*key) == address)
                    .map(|(_, tally)| *tally);
                let EndpointTally {
                    good,
                    bad,
                    connect_failures,
                    retried: _,
                } = tally.unwrap_or_default();
                let leads = self.pipeline.names.of(&endpoint.host);
                EndpointEvidence {
                    address,
                    good,
                    bad,
                    connect_failures,
                    leads: leads.map(|addresses| Leads {
                        name: endpoint.host.clone(),
                        to: addresses.map(ToString::to_string).collect(),
                    }),
                }
            });
        Detail {
            faults_1m: ring.faults_over_1m(self.now_secs),
            faults_5m: ring.faults_over_5m(self.now_secs),
            endpoints: endpoints.collect(),
            phases_p50_us: ring
                .phases_over_5m(self.now_secs)
                .map(|phase| Some(phase?.percentiles.p50_us)),
        }
    }

    /// What is worth an alert, with the routes that are reached by it.
    fn certificates<'a>(&'a self, views: &[CertificateView]) -> Vec<CertificateEvidence<'a>> {
        let mut troubles: BTreeMap<String, CertificateEvidence<'a>> = BTreeMap::new();
        for view in views {
            let (Some(Urgency::Ticket | Urgency::Page), Some(kind)) = (view.urgency, &view.kind)
            else {
                continue;
            };
            let leaf = view.certificate.as_ref();
            let about = leaf.map_or(&view.name, |leaf| &leaf.sha256);
            let id = format!("certificate:{about}");
            let trouble = troubles
                .entry(id.clone())
                .or_insert_with(|| CertificateEvidence {
                    alert: id,
                    kind: kind.clone(),
                    began: leaf.filter(|_| kind == "expired").map(|it| it.not_after),
                    routes: Vec::new(),
                    upstreams: Vec::new(),
                    is_ours: false,
                    text: format!(
                        "{}: {}",
                        view.place,
                        view.problem.as_deref().unwrap_or_default()
                    ),
                });
            if view.source == "upstream" {
                let routes = self.around.resolved.proxy.routes.iter();
                for route in routes.filter(|route| route.upstream == view.name) {
                    if !trouble.upstreams.contains(&route.upstream.as_str()) {
                        trouble.upstreams.push(&route.upstream);
                    }
                    if !trouble.routes.contains(&route.id.as_str()) {
                        trouble.routes.push(&route.id);
                    }
                }
                continue;
            }
            trouble.is_ours = true;
            let is_reached = |host: &HostPattern| match host {
                HostPattern::Exact(host) if view.source == "listener" => *host == view.name,
                HostPattern::Exact(host) => leaf.is_some_and(|leaf| leaf.covers(host)),
                HostPattern::Below(domain) => leaf
                    .is_some_and(|leaf| leaf.names.iter().any(|it| *it == format!("*.{domain}"))),
            };
            let routes = self.around.resolved.proxy.routes.iter();
            let reached = routes.filter(|route: &&Route| route.hosts.iter().any(is_reached));
            for route in reached {
                if !trouble.routes.contains(&route.id.as_str()) {
                    trouble.routes.push(&route.id);
                }
            }
        }
        troubles.into_values().collect()
    }

    fn unsteady(&self, now: Timestamp) -> Vec<Unsteady<'_>> {
        let pipeline = self.pipeline;
        let mut unsteady = Vec::new();
        for upstream in &self.around.resolved.proxy.upstreams {
            for endpoint in &upstream.endpoints {
                let address = endpoint.to_string();
                let key = pipeline.directory.find_endpoint(&upstream.name, &address);
                let Some((key, unrest)) =
                    key.and_then(|key| Some((key, pipeline.health.unrest(key, now)?)))
                else {
                    continue;
                };
                let check = upstream.health.as_ref().filter(|_| unrest.by_checks);
                let waits = pipeline.loads.of(key);
                let waits = waits.and_then(|load| load.last_minute(self.now_secs));
                unsteady.push(Unsteady {
                    upstream: &upstream.name,
                    address: pipeline.directory.endpoint_name(key).1,
                    changes: unrest.changes,
                    since: unrest.since,
                    check: check.map(|check| CheckEvidence {
                        timeout_us: u64::try_from(check.timeout.as_micros()).unwrap_or(u64::MAX),
                        fall: check.fall,
                        failed: pipeline.health.failed(key),
                    }),
                    p99_us: waits.and_then(|waits| waits.quantile(0.99)),
                });
            }
        }
        unsteady
    }

    /// A request of a route's own, and who takes it. Asked only for a route whose requests stay away, since it compiles the
    /// table anew.
    fn proof(&self, id: &str) -> Option<Proof> {
        let proxy = &self.around.resolved.proxy;
        let rules = proxy.rules();
        let place = proxy.routes.iter().position(|route| route.id == id)?;
        let samples = Samples::new(&rules, proxy.listeners.len());
        let (witness, by) = stray(&rules, place, &Matcher::new(&rules), &samples)?;
        let is_tls = |it: &crate::proxy::config::Listener| !it.certificates.is_empty();
        let scheme = if proxy.listeners.iter().any(is_tls) {
            "https"
        } else {
            "http"
        };
        Some(Proof {
            request: witness.asked(scheme),
            taken_by: by.map(|place| proxy.routes[place].id.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::{Memory, Surroundings, snapshot};
    use crate::app::names::Looked;
    use crate::app::pipeline::Pipeline;
    use crate::app::workers::Gathered;
    use crate::config::Resolved;
    use crate::model::{
        Counts, EndpointKey, EndpointTally, Event, EventKind, Fault, Handshake, Handshakes,
        ProbeFailure, ProbePhases, ProbeRun, RouteSlot, Scope, SlotRecord, Timestamp, Vantage,
        ViewRun,
    };
    use crate::probe::definition::{Definition, Manner, Target};
    use crate::probe::prepare::prepare;
    use crate::proxy::health::Checked;
    use crate::snapshot::{ProcessView, Snapshot};
    use crate::triage::blind::BlindKind;
    use crate::triage::placing::FaultPlace;
    use crate::triage::{Level, Locus};

    /// A pipeline that is fed as the daemon feeds it, in model time.
    struct Daemon {
        pipeline: Pipeline,
        around: Surroundings,
        now: u64,
        /// Since the start.
        handshakes: Handshakes,
    }

    const START: u64 = 1_000_000_200;

    fn resolved(table: &str) -> Arc<Resolved> {
        let text = format!(
            "state = {{ dir = '/tmp/none' }}\n[[listener]]\nname = 'l'\naddress = '127.0.0.1:0'\n\
             [[upstream]]\nname = 'u'\nendpoints = ['http://service.internal:80', 'http://10.0.0.2']\n\
             [upstream.health]\nprobe = 'http'\npath = '/up'\ntimeout = '500ms'\n{table}"
        );
        Arc::new(crate::config::parse("t", &text, Path::new(""), &|_| None).expect("it is valid"))
    }

    impl Daemon {
        fn new(table: &str) -> Self {
            let resolved = resolved(table);
            let mut pipeline = Pipeline::new(None);
            pipeline.configure(&resolved, &[]).unwrap();
            for endpoint in &resolved.proxy.upstreams[0].endpoints {
                pipeline
                    .directory
                    .endpoint("u", &endpoint.to_string())
                    .unwrap();
            }
            let at = Timestamp::from_secs(START);
            let around = Surroundings::new(resolved, at, at);
            Self {
                pipeline,
                around,
                now: START,
                handshakes: Handshakes::default(),
            }
        }

        fn reload(&mut self, table: &str, text: &str) {
            self.around.resolved = resolved(table);
            self.pipeline.configure(&self.around.resolved, &[]).unwrap();
            self.pipeline.note(Event {
                at: Timestamp::from_secs(self.now),
                kind: EventKind::Config,
                scope: Scope::default(),
                text: text.to_owned(),
            });
        }

        fn second(&mut self, slots: Vec<(&str, RouteSlot)>) {
            let keyed = slots.into_iter().map(|(id, slot)| {
                let key = self.pipeline.directory.route(id).unwrap();
                (key, Box::new(slot))
            });
            let gathered = Gathered {
                shards: vec![keyed.collect()],
                ..Gathered::default()
            };
            self.pipeline.absorb(self.now, &gathered);
            self.now += 1;
            self.pipeline.tick(Timestamp::from_secs(self.now));
        }

        fn snapshot(&mut self) -> Snapshot {
            let now = Timestamp::from_secs(self.now);
            self.pipeline.judge(now);
            let gathered = Gathered::default();
            snapshot(
                &self.pipeline,
                &self.around,
                &gathered,
                now,
                1,
                &mut Memory::default(),
            )
        }
    }

    fn good(good: u64) -> RouteSlot {
        RouteSlot {
            counts: Counts {
                good,
                bad: 0,
                excluded: 0,
            },
            ..RouteSlot::default()
        }
    }

    const ADMIN: &str = "[[route]]\nid = 'admin'\nupstream = 'u'\nhosts = ['*.example.com']\npath = '/admin'\n\
                         [[slo]]\nid = 's'\nroute = 'admin'\nsli = 'availability'\nobjective = '99.9%'\nwindow = '30d'\n";

    #[test]
    fn a_route_whose_requests_another_takes_since_a_reload_is_named_with_a_request_that_proves_it()
    {
        let mut daemon = Daemon::new(ADMIN);
        for _ in 0..720 {
            daemon.second(vec![("admin", good(3))]);
        }
        let before = daemon.snapshot().verdict;
        assert_ne!(before.side, Locus::Edge, "{}", before.text);
        let more =
            format!("{ADMIN}[[route]]\nid = 'ops'\nupstream = 'u'\nhosts = ['ops.example.com']\n");
        daemon.reload(&more, "generation 2 applied: +route ops");
        for _ in 0..40 {
            daemon.second(vec![("ops", good(3))]);
        }
        let verdict = daemon.snapshot().verdict;
        assert_eq!(
            (verdict.side, verdict.route.as_deref()),
            (Locus::Edge, Some("admin"))
        );
        assert_eq!(verdict.onset, Some(Timestamp::from_secs(START + 720)));
        assert!(verdict.text.contains("they go to ops"), "{}", verdict.text);
        assert!(
            verdict
                .next_step
                .contains("`vestibule explain GET http://ops.example.com/admin"),
            "{}",
            verdict.next_step
        );
    }

    #[test]
    fn a_service_that_is_looked_for_at_an_old_address_is_told_with_that_address() {
        let mut daemon = Daemon::new(ADMIN);
        let looked = |address: &str| -> Looked {
            vec![(
                "service.internal".to_owned(),
                Some([address.parse().unwrap()].into()),
            )]
        };
        for address in ["10.0.4.31", "10.0.9.9"] {
            for _ in 0..120 {
                daemon.second(vec![("admin", good(50))]);
            }
            let (now, resolved) = (Timestamp::from_secs(daemon.now), &daemon.around.resolved);
            for event in daemon.pipeline.names.absorb(now, looked(address), resolved) {
                daemon.pipeline.note(event);
            }
        }
        for _ in 0..60 {
            let mut slot = RouteSlot {
                counts: Counts {
                    good: 0,
                    bad: 50,
                    excluded: 0,
                },
                ..RouteSlot::default()
            };
            slot.faults[Fault::ConnectRefused.index()] = 50;
            let tally = EndpointTally {
                bad: 50,
                connect_failures: 50,
                ..EndpointTally::default()
            };
            slot.endpoints.push((EndpointKey(0), tally));
            let key = daemon.pipeline.directory.find_slo("s").unwrap();
            slot.slos
                .push((key, crate::model::Tally { good: 0, bad: 50 }));
            daemon.second(vec![("admin", slot)]);
        }
        let verdict = daemon.snapshot().verdict;
        assert_eq!(verdict.side, Locus::Network, "{}", verdict.text);
        let said = "service.internal leads to 10.0.9.9, before to 10.0.4.31";
        assert!(verdict.next_step.contains(said), "{}", verdict.text);
    }

    #[test]
    fn a_probe_says_where_a_fault_lies_or_that_it_does_not_see_it() {
        let mut daemon = Daemon::new(ADMIN);
        let definition = Definition {
            name: "front".to_owned(),
            target: Target::parse("http://ops.example.com/admin").unwrap(),
            every: Duration::from_secs(5),
            route: Some("admin".to_owned()),
            runbook: None,
            paused: false,
            maintenance: Vec::new(),
            manner: Manner::plain(Duration::from_secs(1)),
            steps: Vec::new(),
            hurry: false,
            compare: true,
            views: Vec::new(),
        };
        let probes = prepare(vec![definition]).unwrap();
        let resolved = Arc::clone(&daemon.around.resolved);
        daemon.pipeline.configure(&resolved, &probes).unwrap();
        let found = |failure: Option<ProbeFailure>| {
            let view = |vantage| ViewRun {
                vantage,
                at: "here".to_owned(),
                failure,
                detail: String::new(),
                duration_us: 1,
                phases: ProbePhases::default(),
                status: None,
                address: None,
            };
            ProbeRun {
                failure,
                views: [Vantage::Ingress, Vantage::Upstream].map(view).into(),
                ..ProbeRun::default()
            }
        };
        let slot = |daemon: &mut Daemon, failure: Option<ProbeFailure>| {
            let run = found(failure);
            let record = SlotRecord {
                probe: "front".to_owned(),
                at: Timestamp::from_secs(daemon.now),
                slots: 1,
                every: Duration::from_secs(5),
                outcome: run.outcome(),
                lag_us: 0,
                run: Some(run),
            };
            let now = Timestamp::from_secs(daemon.now);
            daemon.pipeline.absorb_slots(now, vec![record], false);
        };
        for _ in 0..120 {
            daemon.second(vec![("admin", good(5))]);
        }
        for _ in 0..2 {
            slot(&mut daemon, Some(ProbeFailure::HttpStatus));
            daemon.second(vec![("admin", good(5))]);
        }
        let snapshot = daemon.snapshot();
        let verdict = &snapshot.verdict;
        assert_eq!(verdict.side, Locus::Upstream, "{}", verdict.text);
        let outside = verdict.outside.as_ref().unwrap();
        assert_eq!(outside.place, Some(FaultPlace::Upstream));
        assert_eq!(snapshot.blind_spots[0].kind, BlindKind::Alone);
        // Now users fail, and it does not see it.
        for _ in 0..2 {
            slot(&mut daemon, None);
            daemon.second(vec![("admin", good(5))]);
        }
        for _ in 0..60 {
            let mut slot = RouteSlot {
                counts: Counts {
                    good: 0,
                    bad: 50,
                    excluded: 0,
                },
                ..RouteSlot::default()
            };
            slot.faults[Fault::UpstreamStatus.index()] = 50;
            let key = daemon.pipeline.directory.find_slo("s").unwrap();
            slot.slos
                .push((key, crate::model::Tally { good: 0, bad: 50 }));
            daemon.second(vec![("admin", slot)]);
        }
        let snapshot = daemon.snapshot();
        let verdict = &snapshot.verdict;
        assert_eq!(verdict.side, Locus::Upstream, "{}", verdict.text);
        assert!(
            verdict.text.contains("probe front does not see it"),
            "{}",
            verdict.text
        );
        assert_eq!(snapshot.blind_spots[0].kind, BlindKind::Unseen);
    }

    #[test]
    fn an_endpoint_whose_checks_flap_is_told_with_the_count_and_why_they_fail() {
        let mut daemon = Daemon::new(ADMIN);
        for flaps in 0..=6 {
            let checked = Checked {
                up: flaps % 2 == 0,
                changes: flaps,
                failed: (flaps > 0).then(|| "it answered 503".into()),
            };
            let now = Timestamp::from_secs(daemon.now);
            let standings = [(EndpointKey(1), checked)].into_iter();
            daemon.pipeline.checked(now, standings);
            for _ in 0..30 {
                daemon.second(vec![("admin", good(5))]);
            }
        }
        let snapshot = daemon.snapshot();
        let verdict = &snapshot.verdict;
        assert_eq!(verdict.side, Locus::Upstream, "{}", verdict.text);
        let said = "http://10.0.0.2:80 of u flaps: 6 changes in 10m by its health checks, last: it answered 503";
        assert!(verdict.text.contains(said), "{}", verdict.text);
        let endpoint = &snapshot.upstreams[0].endpoints[1];
        assert_eq!((endpoint.changes_10m, endpoint.changes_by_checks), (6, 6));
        let told = snapshot
            .events
            .iter()
            .filter(|it| it.text.contains("it answered 503"));
        assert_eq!(told.count(), 3);
    }

    /// A second in which the process used and held so much, of 2 processors and 1000 bytes.
    fn live(daemon: &mut Daemon, cpu: f64, held: u64, ends: [u64; 2]) {
        daemon.around.process = ProcessView {
            cpu_ratio: Some(cpu),
            cpus: Some(2.0),
            rss_bytes: Some(held),
            memory_bytes: Some(1_000 << 20),
            workers: 2,
            ..ProcessView::default()
        };
        let mut gathered = Gathered::default();
        let total = &mut daemon.handshakes;
        total[Handshake::Ok.index()] += ends[0];
        total[Handshake::ClientRefused.index()] += ends[1];
        total[Handshake::ClientGone.index()] += 100;
        gathered.handshakes = *total;
        daemon.pipeline.absorb(daemon.now, &gathered);
        let upstreams = &daemon.around.resolved.proxy.upstreams;
        daemon
            .pipeline
            .feel(daemon.now, &daemon.around.process, upstreams);
        daemon.now += 1;
        daemon.pipeline.tick(Timestamp::from_secs(daemon.now));
    }

    const VITALS: &str = "[[slo]]\nid = 'cpu'\nsli = 'cpu'\n[[slo]]\nid = 'memory'\nsli = 'memory'\n\
                          [[slo]]\nid = 'tls'\nsli = 'tls-handshake'\n[[slo]]\nid = 'apply'\nsli = 'config-apply'\n\
                          [[slo]]\nid = 'health'\nsli = 'health'\nupstream = 'u'\n";

    #[test]
    fn a_vital_sign_in_trouble_has_a_sentence_of_its_own_with_how_it_stands() {
        let mut daemon = Daemon::new(VITALS);
        for _ in 0..3_600 {
            live(&mut daemon, 1.0, 600 << 20, [10, 0]);
        }
        let calm = daemon.snapshot();
        assert_ne!(calm.verdict.severity, Level::Crit, "{}", calm.verdict.text);
        for _ in 0..2_900 {
            live(&mut daemon, 1.8, 900 << 20, [9, 1]);
        }
        for _ in 0..6 {
            daemon.pipeline.vitals.applied(Err("line 3".to_owned()));
        }
        live(&mut daemon, 1.8, 900 << 20, [9, 1]);
        let snapshot = daemon.snapshot();
        let mut verdicts = vec![snapshot.verdict.clone()];
        verdicts.extend(snapshot.other_verdicts.clone());
        let of = |slo: &str| {
            let mut all = verdicts.iter();
            all.find(|it| it.slo.as_deref() == Some(slo))
                .unwrap_or_else(|| panic!("{slo}: {verdicts:#?}"))
        };
        for (slo, level, side, words) in [
            (
                "cpu",
                Level::Crit,
                Locus::Edge,
                ["over 70% of its processors", "(now 1.80 of 2)"],
            ),
            (
                "memory",
                Level::Crit,
                Locus::Edge,
                ["over 70% of its memory", "(now 900 of 1000 MiB)"],
            ),
            (
                "tls",
                Level::Crit,
                Locus::Certificate,
                ["10.0% of the TLS handshakes", "client_refused"],
            ),
            (
                "apply",
                Level::Crit,
                Locus::Edge,
                ["100% of the configurations", "the last was refused: line 3"],
            ),
        ] {
            let verdict = of(slo);
            assert_eq!(
                (verdict.severity, verdict.side),
                (level, side),
                "{}",
                verdict.text
            );
            for words in words {
                assert!(verdict.text.contains(words), "{}", verdict.text);
            }
            assert!(
                verdict.burn.is_some_and(|burn| burn > 1.0),
                "{}",
                verdict.text
            );
            assert!(
                !verdict.next_step.is_empty() && verdict.routes.is_empty(),
                "{verdict:?}"
            );
        }
        // Where it began is found in the data.
        let onset = of("cpu").onset.unwrap().as_secs();
        assert!(onset.abs_diff(START + 3_600) <= 60, "{onset}");
        // Whoever only breaks off spends nothing: 6,500 times 100 of them.
        let tls = snapshot.slos.iter().find(|slo| slo.id == "tls").unwrap();
        assert_eq!((tls.good, tls.bad), (3_600 * 10 + 2_901 * 9, 2_901));
    }

    #[test]
    fn an_endpoint_out_of_service_spends_seconds_and_one_nobody_looked_at_none() {
        let mut daemon = Daemon::new(VITALS);
        let key = EndpointKey(1);
        for second in 0..100 {
            let up = second < 60;
            let checked = Checked {
                up,
                changes: u64::from(!up),
                failed: (!up).then(|| "503".into()),
            };
            let now = Timestamp::from_secs(daemon.now);
            if second >= 10 {
                daemon.pipeline.checked(now, [(key, checked)].into_iter());
            }
            live(&mut daemon, 0.1, 1, [0, 0]);
        }
        let snapshot = daemon.snapshot();
        let health = snapshot.slos.iter().find(|slo| slo.id == "health").unwrap();
        assert_eq!((health.good, health.bad), (50, 40));
        assert_eq!(health.scope, "upstream:u");
    }
}
