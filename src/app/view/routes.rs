//! Routes as a snapshot shows them, made anew only where something can have changed.

use std::collections::HashMap;

use super::measured::Measured;
use super::{LATELY_S, Surroundings, View};
use crate::app::pipeline::{Pipeline, RouteState};
use crate::model::{RouteKey, Window};
use crate::proxy::config;
use crate::sli::ring::{Mark, RouteRing};
use crate::slo::alert::AlertStatus;
use crate::slo::engine::SloStatus;
use crate::slo::state::SloState;
use crate::snapshot::{EndpointShare, Measure, RouteView, Standing};

/// A route in force, with what belongs to it.
pub(super) struct Route<'a> {
    pub(super) id: &'a str,
    pub(super) state: &'a RouteState,
    pub(super) slos: Vec<&'a SloStatus>,
    /// Those that are not inactive.
    pub(super) alerts: Vec<&'a AlertStatus>,
    pub(super) key: RouteKey,
    /// `None`: what matched no route.
    configured: Option<&'a config::Route>,
}

impl<'a> Route<'a> {
    pub(super) fn upstream(&self) -> Option<&'a str> {
        let upstream = self.configured.map(|route| route.upstream.as_str());
        upstream.filter(|name| !name.is_empty())
    }

    pub(super) fn owner(&self) -> Option<&'a str> {
        self.configured.and_then(|route| route.owner.as_deref())
    }
}

/// Routes in force; `none` comes first. SLOs and alerts are dealt to them once, since there may be thousands of each.
pub(super) fn in_force<'a>(pipeline: &'a Pipeline, around: &'a Surroundings) -> Vec<Route<'a>> {
    let routes = &around.resolved.proxy.routes;
    let configured: HashMap<&str, &config::Route> = routes
        .iter()
        .map(|route| (route.id.as_str(), route))
        .collect();
    let states = pipeline.routes.iter().enumerate();
    let mut routes: Vec<Route<'_>> = states
        .filter(|(_, state)| state.configured)
        .map(|(index, state)| {
            let key = RouteKey(index as u32);
            let id = pipeline.directory.route_id(key);
            Route {
                id,
                state,
                slos: Vec::new(),
                alerts: Vec::new(),
                key,
                configured: configured.get(id).copied(),
            }
        })
        .collect();
    let places: HashMap<&str, usize> = routes
        .iter()
        .enumerate()
        .map(|(place, route)| (route.id, place))
        .collect();
    for slo in &pipeline.evaluation.slos {
        let route = slo.slo.about.route();
        if let Some(place) = route.and_then(|route| places.get(route)) {
            routes[*place].slos.push(slo);
        }
    }
    for alert in pipeline.alerts() {
        let route = alert.route.as_deref();
        if let Some(place) = route.and_then(|route| places.get(route)) {
            routes[*place].alerts.push(alert);
        }
    }
    routes
}

/// What was made of each route's ring last time. An idle route's ring says the same for a minute at a time, and of a
/// thousand routes most are idle.
#[derive(Debug, Default)]
pub(in crate::app) struct Memory {
    /// By [`RouteKey::index`].
    rings: Vec<Option<(Mark, Measured)>>,
}

impl Memory {
    fn measured(&mut self, key: RouteKey, ring: &RouteRing, now_secs: u64) -> Measured {
        let index = key.index();
        if self.rings.len() <= index {
            self.rings.resize_with(index + 1, || None);
        }
        let mark = ring.mark(now_secs);
        match (&self.rings[index], mark) {
            (Some((known, measured)), Some(mark)) if *known == mark => measured.clone(),
            (_, mark) => {
                let measured = Measured::of(ring, now_secs);
                self.rings[index] = mark.map(|mark| (mark, measured.clone()));
                measured
            }
        }
    }
}

/// All routes, those first that spend most.
pub(super) fn views(view: &View<'_>, memory: &mut Memory) -> Vec<RouteView> {
    let edge = &view.pipeline.edge;
    let edge_bad = edge.counts_over(LATELY_S, view.now_secs).bad;
    let mut routes: Vec<RouteView> = view
        .routes
        .iter()
        .map(|route| {
            let measured = memory.measured(route.key, &route.state.ring, view.now_secs);
            shown(view, route, measured, edge_bad)
        })
        .collect();
    let impact = |route: &RouteView| {
        (
            route.burn_5m.unwrap_or(0.0),
            route.now.bad,
            route.now.requests,
        )
    };
    routes.sort_by(|a, b| {
        let ((a_burn, a_bad, a_all), (b_burn, b_bad, b_all)) = (impact(a), impact(b));
        b_burn
            .total_cmp(&a_burn)
            .then(b_bad.cmp(&a_bad))
            .then(b_all.cmp(&a_all))
            .then(a.id.cmp(&b.id))
    });
    routes
}

fn shown(view: &View<'_>, route: &Route<'_>, measured: Measured, edge_bad: u64) -> RouteView {
    let Measured {
        now,
        before,
        hour,
        series,
        bad_lately,
        faults,
        endpoints,
        phases,
    } = measured;
    let counts = route.state.counts;
    let burns = route
        .slos
        .iter()
        .filter_map(|slo| slo.burn_over(Window::minutes(5)));
    let hosts = route.configured.map(|route| route.hosts.iter());
    let endpoints = endpoints.into_iter().map(|(key, tally)| EndpointShare {
        endpoint: view.address(key).to_owned(),
        good: tally.good,
        bad: tally.bad,
        connect_failures: tally.connect_failures,
        retried: tally.retried,
    });
    RouteView {
        id: route.id.to_owned(),
        standing: standing(&route.slos, &now),
        hosts: hosts.map_or_else(Vec::new, |hosts| hosts.map(ToString::to_string).collect()),
        path: route
            .configured
            .map_or_else(String::new, |route| route.path.to_string()),
        upstream: route.upstream().map(ToOwned::to_owned),
        owner: route.owner().map(ToOwned::to_owned),
        requests: counts.requests(),
        good: counts.good,
        bad: counts.bad,
        excluded: counts.excluded,
        p50_us: hour.map(|hour| hour.p50_us),
        p95_us: hour.map(|hour| hour.p95_us),
        p99_us: hour.map(|hour| hour.p99_us),
        now,
        before,
        burn_5m: burns.max_by(f64::total_cmp),
        share_of_bad: (edge_bad > 0).then(|| bad_lately as f64 / edge_bad as f64),
        slos: route.slos.iter().map(|slo| slo.slo.id.clone()).collect(),
        series,
        faults,
        endpoints: endpoints.collect(),
        phases,
    }
}

/// A route without an SLO stands badly when one in twenty of its last minute's requests failed.
const BAD_WITHOUT_SLO: f64 = 0.05;

fn standing(slos: &[&SloStatus], now: &Measure) -> Standing {
    match slos.iter().map(|slo| slo.state).max() {
        Some(SloState::Critical) => Standing::Crit,
        Some(SloState::Rising | SloState::Low | SloState::Recovering) => Standing::Warn,
        _ if now.requests == 0 => Standing::None,
        None if now.bad_ratio.is_some_and(|ratio| ratio >= BAD_WITHOUT_SLO) => Standing::Warn,
        Some(SloState::Ok | SloState::Warming | SloState::NoData) | None => Standing::Ok,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Counts, Latency, RouteSlot};

    fn slot() -> RouteSlot {
        let mut latency = Latency::new();
        latency.record(1_000);
        RouteSlot {
            counts: Counts {
                good: 1,
                bad: 1,
                excluded: 0,
            },
            latency: Some(latency),
            ..RouteSlot::default()
        }
    }

    #[test]
    fn an_idle_route_is_looked_at_once_a_minute() {
        let (mut ring, mut memory) = (RouteRing::default(), Memory::default());
        ring.add(6_000, &slot());
        for now in 6_001..7_000 {
            ring.advance(now);
            memory.measured(RouteKey(0), &ring, now);
            assert_eq!(memory.rings[0].is_some(), now >= 6_360, "{now}");
        }
        let marks: HashSet<_> = (7_000..7_600)
            .map(|now| {
                ring.advance(now);
                ring.mark(now).expect("it is idle")
            })
            .collect();
        assert_eq!(marks.len(), 11, "ten minutes, the first of them begun");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_is_remembered_is_what_would_be_made_anew(
            events in prop::collection::vec(0_u64..200, 1..1_500),
        ) {
            let (mut ring, mut memory) = (RouteRing::default(), Memory::default());
            for (now, event) in (6_000..).zip(events) {
                match event {
                    0 => ring.add(now, &slot()),
                    // A second that is not ticked in time.
                    1 => {}
                    _ => ring.advance(now),
                }
                let measured = memory.measured(RouteKey(0), &ring, now);
                prop_assert_eq!(measured, Measured::of(&ring, now));
            }
        }
    }
}
