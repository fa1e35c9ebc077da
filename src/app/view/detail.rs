//! One SLO in full, made when somebody asks.

use super::super::pipeline::Pipeline;
use super::Surroundings;
use crate::model::{Sli, Timestamp, Window};
use crate::sli::blame::Dimension;
use crate::slo::budget::Budget;
use crate::slo::engine::SloStatus;
use crate::snapshot::{DeployView, SloDetail, Snapshot, SpentPart};

/// A day, in seconds.
const DAY_S: u64 = 86_400;
/// The part of what was not told apart yet when it was counted.
const EARLIER: &str = "earlier";
/// The part that failed only by its own SLO's reading: what was answered 4xx.
const CLIENT: &str = "4xx, no fault of edge or upstream";

/// The SLO of this id as of `snapshot`; `None` when there is none.
pub(in crate::app) fn detail(
    pipeline: &Pipeline,
    around: &Surroundings,
    snapshot: &Snapshot,
    id: &str,
) -> Option<SloDetail> {
    let slo = snapshot.slos.iter().find(|slo| slo.id == id)?;
    let mut statuses = pipeline.evaluation.slos.iter();
    let status = statuses.find(|status| status.slo.id == id)?;
    let budget = Budget::new(status.slo.objective, status.tally);
    let alerts = snapshot.alerts.iter().filter(|alert| alert.slo == id);
    let deploys = snapshot.deploys.iter().filter_map(|deploy| {
        let slos: Vec<_> = deploy
            .slos
            .iter()
            .filter(|it| it.slo == id)
            .cloned()
            .collect();
        (!slos.is_empty()).then(|| DeployView {
            slos,
            ..deploy.clone()
        })
    });
    Some(SloDetail {
        slo: slo.clone(),
        allowed: u64::try_from(budget.allowed_millionths() / 1_000_000).unwrap_or(u64::MAX),
        spent: spent(pipeline, around, status, snapshot.at),
        alerts: alerts.cloned().collect(),
        deploys: deploys.collect(),
    })
}

fn spent(
    pipeline: &Pipeline,
    around: &Surroundings,
    status: &SloStatus,
    now: Timestamp,
) -> Vec<SpentPart> {
    let whole = status.tally.bad;
    let mut parts = Parts {
        whole,
        list: Vec::new(),
    };
    parts.dimension("day", days(pipeline, status, now));
    parts.dimension("route", vec![(status.slo.route.clone(), whole)]);
    let configured = around.resolved.proxy.routes.iter();
    let is_configured = configured
        .map(|route| &route.id)
        .any(|id| *id == status.slo.route);
    if let (Sli::Availability(reading), true) =
        (status.slo.sli, is_configured && status.slo.slices.is_none())
    {
        let window = status.period.map(|period| period.elapsed(now));
        let window = window.unwrap_or(status.slo.window);
        let blame = pipeline.blame(&status.slo.route, window, now);
        for dimension in Dimension::ALL {
            let of_it = blame.parts().filter(|(it, _, _)| *it == dimension);
            let of_it = of_it.map(|(_, part, bad)| (part.to_owned(), bad));
            let mut of_it: Vec<_> = of_it.collect();
            if reading.counts_client_errors() {
                // What did not fail by anyone's fault but its client's is not told apart.
                let failed: u64 = of_it.iter().map(|(_, bad)| bad).sum();
                of_it.push((CLIENT.to_owned(), whole.saturating_sub(failed)));
            }
            parts.dimension(dimension.as_str(), of_it);
        }
    }
    parts.list
}

/// Bad events by day in UTC, the newest first; the oldest day is cut where the window begins.
fn days(pipeline: &Pipeline, status: &SloStatus, now: Timestamp) -> Vec<(String, u64)> {
    let end = now.as_secs() + 1;
    let begin = match status.period {
        None => end.saturating_sub(status.slo.window.as_secs()),
        Some(period) => period.start_secs.min(end),
    };
    let mut days = Vec::new();
    let (mut to, mut counted) = (end, 0);
    while to > begin {
        let from = ((to - 1) / DAY_S * DAY_S).max(begin);
        let window = Window::from_secs(u32::try_from(end - from).unwrap_or(u32::MAX));
        let since = if from == begin {
            status.tally.bad
        } else {
            pipeline.bad_over(status.key, window, now)
        };
        let bad = since.saturating_sub(counted);
        if bad > 0 {
            let date: String = Timestamp::from_secs(from)
                .to_string()
                .chars()
                .take(10)
                .collect();
            days.push((date, bad));
        }
        (to, counted) = (from, since.max(counted));
    }
    days
}

struct Parts {
    whole: u64,
    list: Vec<SpentPart>,
}

impl Parts {
    /// Adds a dimension, so that its parts sum to the whole: what is not known is said, and what is too much, since hours
    /// are not cut, is left out of the last parts.
    fn dimension(&mut self, dimension: &str, mut parts: Vec<(String, u64)>) {
        if dimension != "day" {
            parts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        }
        let mut left = self.whole;
        for (_, bad) in &mut parts {
            *bad = (*bad).min(left);
            left -= *bad;
        }
        parts.push((EARLIER.to_owned(), left));
        let whole = self.whole;
        let parts = parts.into_iter().filter(|(_, bad)| *bad > 0);
        self.list.extend(parts.map(|(part, bad)| SpentPart {
            dimension: dimension.to_owned(),
            part,
            bad,
            share: bad as f64 / whole as f64,
        }));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_parts_of_every_dimension_sum_to_the_whole(
            whole in 0_u64..1_000,
            counts in prop::collection::vec(0_u64..500, 0..9),
        ) {
            let mut parts = Parts { whole, list: Vec::new() };
            let named = counts.iter().enumerate().map(|(place, count)| (place.to_string(), *count));
            parts.dimension("kind", named.clone().collect());
            parts.dimension("day", named.collect());
            for dimension in ["kind", "day"] {
                let of_it = parts.list.iter().filter(|part| part.dimension == dimension);
                prop_assert_eq!(of_it.map(|part| part.bad).sum::<u64>(), whole);
            }
            prop_assert!(parts.list.iter().all(|part| part.bad > 0 && part.share.is_finite()));
        }
    }
}
