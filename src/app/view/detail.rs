//! One SLO in full, made when somebody asks.

use std::collections::{HashMap, HashSet};

use super::super::pipeline::Pipeline;
use super::Surroundings;
use crate::model::{Sli, Tally, Timestamp, Window};
use crate::sli::blame::{Blame, Dimension};
use crate::slo::attribution;
use crate::slo::budget::Budget;
use crate::slo::engine::SloStatus;
use crate::snapshot::{DeployView, PartDetail, SloDetail, Snapshot, SpentPart};

/// A day, in seconds.
const DAY_S: u64 = 86_400;
/// An hour, in seconds.
const HOUR_S: u64 = 3_600;
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
        lately_from: lately_from(snapshot.at),
        spent: spent(pipeline, around, status, snapshot.at),
        parts: parts(pipeline, status, snapshot.at),
        alerts: alerts.cloned().collect(),
        deploys: deploys.collect(),
    })
}

/// The window that a budget is counted over.
fn window_of(status: &SloStatus, now: Timestamp) -> Window {
    let elapsed = status.period.map(|period| period.elapsed(now));
    elapsed.unwrap_or(status.slo.window)
}

/// How each part of a composite fares over the composite's own window.
fn parts(pipeline: &Pipeline, status: &SloStatus, now: Timestamp) -> Vec<PartDetail> {
    let window = window_of(status, now);
    let ratio = |tally: Tally| (tally.valid() > 0).then(|| tally.bad as f64 / tally.valid() as f64);
    let of_it = status.slo.parts.iter().filter_map(|part| {
        let mut statuses = pipeline.evaluation.slos.iter();
        let own = statuses.find(|own| own.slo.id == part.slo)?;
        let Tally { good, bad } = pipeline.tally_over(own.key, window, now);
        Some(PartDetail {
            slo: part.slo.clone(),
            scope: own.slo.about.scope(),
            weight: part.weight,
            state: own.state,
            good,
            bad,
            bad_ratio: ratio(Tally { good, bad }),
            bad_ratio_5m: ratio(own.recent),
        })
    });
    let mut parts: Vec<PartDetail> = of_it.collect();
    let weighed = |it: &PartDetail| f64::from(it.weight) * it.bad_ratio.unwrap_or(0.0);
    parts.sort_by(|a, b| weighed(b).total_cmp(&weighed(a)));
    parts
}

fn spent(
    pipeline: &Pipeline,
    around: &Surroundings,
    status: &SloStatus,
    now: Timestamp,
) -> Vec<SpentPart> {
    let window = window_of(status, now);
    let lately_s = (now.as_secs() + 1).saturating_sub(lately_from(now).as_secs());
    // Of a calendar's period that has just begun, all is of lately.
    let lately_s = lately_s.min(window.as_secs());
    let lately = Window::from_secs(u32::try_from(lately_s).unwrap_or(u32::MAX));
    let all = status.tally;
    let lately_all = pipeline.tally_over(status.key, lately, now);
    let mut parts = Parts {
        all,
        lately: lately_all,
        list: Vec::new(),
    };
    parts.days(days(pipeline, status, now));
    if let Some(route) = status.slo.about.route() {
        parts.dimension("route", vec![(route.to_owned(), all.bad, lately_all.bad)]);
    }
    let configured = around.resolved.proxy.routes.iter();
    let routes: HashSet<&str> = configured
        .filter(|route| route.is_in(&status.slo.about))
        .map(|route| route.id.as_str())
        .collect();
    if let (Sli::Availability(reading), true) = (
        status.slo.sli,
        !routes.is_empty() && status.slo.slices.is_none(),
    ) {
        let blamed = |window| pipeline.blames(&routes, window, now);
        let (by_route, by_route_lately) = (blamed(window), blamed(lately));
        // What did not fail by anyone's fault but its client's is not told apart.
        let refused = |failed: u64, failed_lately: u64| {
            let more = (
                CLIENT.to_owned(),
                all.bad.saturating_sub(failed),
                lately_all.bad.saturating_sub(failed_lately),
            );
            reading.counts_client_errors().then_some(more)
        };
        if status.slo.about.route().is_none() {
            let mut of_it: Vec<_> = by_route
                .iter()
                .zip(&by_route_lately)
                .map(|((id, blame), (_, lately))| ((*id).to_owned(), blame.bad(), lately.bad()))
                .collect();
            of_it.extend(refused(
                of_it.iter().map(|(_, bad, _)| bad).sum(),
                of_it.iter().map(|(_, _, lately)| lately).sum(),
            ));
            parts.dimension("route", of_it);
        }
        let together = |all: Vec<(&str, Blame)>| {
            all.into_iter().fold(Blame::default(), |mut sum, (_, one)| {
                sum.merge(&one);
                sum
            })
        };
        let (blame, blame_lately) = (together(by_route), together(by_route_lately));
        let lately: HashMap<(Dimension, &str), u64> = blame_lately
            .parts()
            .map(|(dimension, part, bad)| ((dimension, part), bad))
            .collect();
        for dimension in Dimension::ALL {
            let of_it = blame.parts().filter(|(it, _, _)| *it == dimension);
            let of_it = of_it.map(|(_, part, bad)| {
                let lately = lately.get(&(dimension, part)).copied();
                (part.to_owned(), bad, lately.unwrap_or(0))
            });
            let mut of_it: Vec<_> = of_it.collect();
            of_it.extend(refused(
                of_it.iter().map(|(_, bad, _)| bad).sum(),
                of_it.iter().map(|(_, _, lately)| lately).sum(),
            ));
            parts.dimension(dimension.as_str(), of_it);
        }
    }
    parts.list
}

/// The beginning of the hour before the one that `now` lies in: what bad requests were is known by the hour.
fn lately_from(now: Timestamp) -> Timestamp {
    let begun = now.as_secs() - now.as_secs() % HOUR_S;
    Timestamp::from_secs(begun.saturating_sub(HOUR_S))
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
    /// Valid events of the window.
    all: Tally,
    /// Those of lately among them.
    lately: Tally,
    list: Vec<SpentPart>,
}

impl Parts {
    fn days(&mut self, mut days: Vec<(String, u64)>) {
        let mut left = self.all.bad;
        for (_, bad) in &mut days {
            *bad = (*bad).min(left);
            left -= *bad;
        }
        days.push((EARLIER.to_owned(), left));
        for (day, bad) in days {
            self.push("day", day, bad, None);
        }
    }

    /// Adds a dimension of (part, bad events, those of lately), so that its parts sum to the whole: what is not known is
    /// said, and what is too much, since hours are not cut, is left out of the last parts.
    fn dimension(&mut self, dimension: &str, mut parts: Vec<(String, u64, u64)>) {
        parts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let (mut left, mut left_lately) = (self.all.bad, self.lately.bad.min(self.all.bad));
        for (_, bad, lately) in &mut parts {
            *bad = (*bad).min(left);
            *lately = (*lately).min(*bad).min(left_lately);
            left -= *bad;
            left_lately -= *lately;
        }
        // No more of lately can be left over than of all: what is too much of it belongs to parts that are known.
        for (_, bad, lately) in &mut parts {
            let more = left_lately.saturating_sub(left).min(*bad - *lately);
            *lately += more;
            left_lately -= more;
        }
        parts.push((EARLIER.to_owned(), left, left_lately));
        for (part, bad, lately) in parts {
            self.push(dimension, part, bad, Some(lately));
        }
    }

    fn push(&mut self, dimension: &str, part: String, bad: u64, lately: Option<u64>) {
        if bad == 0 {
            return;
        }
        let before = self.all - self.lately;
        let excess = lately.and_then(|lately| {
            attribution::excess(lately, self.lately.valid(), bad - lately, before.valid())
        });
        self.list.push(SpentPart {
            dimension: dimension.to_owned(),
            part,
            bad,
            share: bad as f64 / self.all.bad as f64,
            lately,
            excess,
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is known of the parts: they sum to the whole, those of lately to lately's, and what they exceed the
        /// usual by to what the whole does.
        #[test]
        fn the_parts_of_every_dimension_sum_to_the_whole(
            good in (0_u64..100_000, 0_u64..100_000),
            bad in (0_u64..1_000, 0_u64..1_000),
            counts in prop::collection::vec((0_u64..500, 0_u64..500), 0..9),
        ) {
            let before = Tally { good: good.0, bad: bad.0 };
            let lately = Tally { good: good.1, bad: bad.1 };
            let all = before + lately;
            let mut parts = Parts { all, lately, list: Vec::new() };
            let named = counts.iter().enumerate();
            let named = named.map(|(place, (before, lately))| (place.to_string(), before + lately, *lately));
            parts.dimension("kind", named.clone().collect());
            parts.days(named.map(|(name, bad, _)| (name, bad)).collect());
            for dimension in ["kind", "day"] {
                let of_it = parts.list.iter().filter(|part| part.dimension == dimension);
                prop_assert_eq!(of_it.map(|part| part.bad).sum::<u64>(), all.bad);
            }
            let kinds = || parts.list.iter().filter(|part| part.dimension == "kind");
            let sum: u64 = kinds().filter_map(|part| part.lately).sum();
            prop_assert_eq!(sum, lately.bad);
            if let Some(whole) = attribution::excess(lately.bad, lately.valid(), before.bad, before.valid()) {
                let sum: f64 = kinds().filter_map(|part| part.excess).sum();
                prop_assert!((sum - whole).abs() < 1e-6, "{} is not {}", sum, whole);
            }
            prop_assert!(parts.list.iter().all(|part| part.bad > 0 && part.share.is_finite()));
        }
    }
}
