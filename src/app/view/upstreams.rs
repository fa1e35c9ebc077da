//! Upstreams and their endpoints as a snapshot shows them.

use super::{MINUTE_S, View};
use crate::model::{EndpointTally, Spread, Timestamp};
use crate::snapshot::{EndpointView, UpstreamView};

/// Every upstream in the configuration's order.
pub(super) fn views(view: &View<'_>) -> Vec<UpstreamView> {
    let pipeline = view.pipeline;
    let lately = pipeline.edge.endpoints_over(MINUTE_S, view.now_secs);
    let tally = |key| {
        let place = lately.binary_search_by_key(&key, |(found, _)| *found);
        place.map(|place| lately[place].1).unwrap_or_default()
    };
    let upstreams = view.around.resolved.proxy.upstreams.iter();
    upstreams
        .map(|upstream| {
            let mut all: Option<Spread> = None;
            let endpoints = upstream.endpoints.iter().map(|endpoint| {
                let address = endpoint.to_string();
                let key = pipeline.directory.find_endpoint(&upstream.name, &address);
                let (healthy, since) = key.map_or((true, None), |key| pipeline.health.of(key));
                let EndpointTally {
                    good,
                    bad,
                    connect_failures,
                    retried,
                } = key.map(tally).unwrap_or_default();
                let load = key.and_then(|key| pipeline.loads.of(key));
                let waits = load.and_then(|load| load.last_minute(view.now_secs));
                if let Some(waits) = &waits {
                    all.get_or_insert_default().merge(waits);
                }
                let unrest = key.and_then(|key| {
                    pipeline
                        .health
                        .unrest(key, Timestamp::from_secs(view.now_secs))
                });
                let (by_checks, by_traffic) = key.map_or((0, 0), |key| pipeline.health.flaps(key));
                EndpointView {
                    address,
                    healthy,
                    since,
                    good,
                    bad,
                    connect_failures,
                    retried,
                    answers_checks: key.and_then(|key| pipeline.health.answers(key)),
                    changes_10m: unrest.map_or(0, |it| it.changes),
                    changes_by_checks: by_checks,
                    changes_by_traffic: by_traffic,
                    ejected_by: load.map_or(0, |load| load.ejected_by),
                    in_flight: load.map_or(0, |load| load.in_flight),
                    p50_us: quantile(waits.as_ref(), 0.50),
                    p99_us: quantile(waits.as_ref(), 0.99),
                }
            });
            let endpoints = endpoints.collect();
            UpstreamView {
                name: upstream.name.clone(),
                version: pipeline
                    .versions
                    .get(&upstream.name)
                    .map(|(version, _)| version.clone()),
                endpoints,
                breaker: pipeline.breakers.view(&upstream.name),
                p50_us: quantile(all.as_ref(), 0.50),
                p99_us: quantile(all.as_ref(), 0.99),
            }
        })
        .collect()
}

fn quantile(waits: Option<&Spread>, at: f64) -> Option<u64> {
    waits.and_then(|waits| waits.quantile(at))
}
