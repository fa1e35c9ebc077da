//! What tells a route's bad requests, and its slow ones, from the others: every dimension that is measured, ranked.

use serde::{Deserialize, Serialize};

use super::{FaultCount, Measure, RouteView, Snapshot};
use crate::model::{EventKind, Tally, Timestamp};
use crate::triage::Suspect;
use crate::triage::contrast::{Compared, Contrast, among, between, rank};

/// What tells a route's bad and slow requests from the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The route.
    pub route: String,
    /// As of when.
    pub at: Timestamp,
    /// In which parts bad requests gather: first what tells requests of the route apart, then what tells it from others and
    /// now from before; of each the most telling first.
    pub differs: Vec<Contrast>,
    /// Dimensions all of whose parts fare alike.
    pub alike: Vec<String>,
    /// Dimensions of which nothing can be said, and why.
    pub unknown: Vec<Unknown>,
    /// What the bad and excluded requests of the last five minutes were, most frequent first.
    pub faults: Vec<FaultCount>,
    /// Where requests take longer than elsewhere or before, the most telling first.
    pub slower: Vec<Slower>,
    /// What is easily misread, in words.
    pub remarks: Vec<String>,
}

/// A dimension of which nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// Which.
    pub dimension: String,
    /// Why.
    pub why: String,
}

/// Where requests take longer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slower {
    /// `endpoint`, `time` or `phase`.
    pub dimension: String,
    /// Which part of it.
    pub part: String,
    /// The median there in microseconds.
    pub there_us: u64,
    /// What it is compared with, in microseconds: the median of the other endpoints, of the hour before, or of all phases
    /// together.
    pub elsewhere_us: u64,
    /// What is compared, in words.
    pub over: String,
}

/// Medians below this are never called slow, in microseconds: two fast ones differ by nothing that anyone feels.
const FELT_US: u64 = 5_000;
/// How many times as long something takes that is called slower.
const SLOWER: u64 = 2;
/// The median is called lower below this share of the one before.
const MUCH_LOWER: f64 = 0.7;
/// The share of bad requests from which they make up the median.
const MAKE_THE_MEDIAN: f64 = 0.3;

/// What nobody counts here, and why.
const NOT_COUNTED: [(&str, &str); 4] = [
    (
        "client",
        "clients are not counted, since their number has no bound; the access log has them",
    ),
    ("method", "not counted; the access log has it"),
    ("protocol", "not counted; the access log has it"),
    ("zone", "endpoints have none here"),
];

impl Snapshot {
    /// What tells the bad and slow requests of the route of this id from the others; `None`: there is no such route.
    pub fn explanation(&self, route: &str) -> Option<Explanation> {
        let route = self.routes.iter().find(|known| known.id == route)?;
        let mut explained = Explanation {
            route: route.id.clone(),
            at: self.at,
            differs: Vec::new(),
            alike: Vec::new(),
            unknown: Vec::new(),
            faults: route.faults.clone(),
            slower: self.slower(route),
            remarks: Vec::new(),
        };
        explained.take("endpoint", self.by_endpoint(route));
        explained.take("version", self.by_version(route));
        explained.take("route", self.by_route(route));
        explained.take("upstream", self.by_upstream(route));
        let (now, before) = (valid(&route.now), valid(&route.before));
        explained.take(
            "time",
            between(
                "time",
                "the last minute, and the hour before",
                "now",
                now,
                before,
            ),
        );
        rank(&mut explained.differs);
        // That it is this route's upstream and that it is now is most often known.
        let is_wide = |it: &Contrast| matches!(it.dimension.as_str(), "upstream" | "time");
        explained.differs.sort_by_key(is_wide);
        let not_counted = NOT_COUNTED.iter().map(|(dimension, why)| Unknown {
            dimension: (*dimension).to_owned(),
            why: (*why).to_owned(),
        });
        explained.unknown.extend(not_counted);
        explained.remarks.extend(fast_failures(route));
        explained.remarks.extend(all_are_gone(route));
        Some(explained)
    }

    fn by_endpoint(&self, route: &RouteView) -> Compared {
        if self.stored {
            return Compared::TooLittle("the history does not hold it");
        }
        let parts: Vec<(String, Tally)> = route
            .endpoints
            .iter()
            .map(|it| {
                let tally = Tally {
                    good: it.good,
                    bad: it.bad,
                };
                (it.endpoint.clone(), tally)
            })
            .collect();
        among("endpoint", "the last 5 minutes", &parts)
    }

    /// The newest version of its upstream that an incident of the route suspects: since it, and before.
    fn by_version(&self, route: &RouteView) -> Compared {
        let verdicts = std::iter::once(&self.verdict).chain(&self.other_verdicts);
        let of_it = verdicts.filter(|verdict| verdict.routes.contains(&route.id));
        let mut suspects = of_it.flat_map(|verdict| {
            let first = verdict.suspect.iter();
            first.chain(&verdict.further_suspects)
        });
        let is_its_deploy = |suspect: &&Suspect| {
            let scope = &suspect.event.scope;
            suspect.event.kind == EventKind::Deploy
                && scope.upstream.is_some()
                && scope.upstream == route.upstream
        };
        let Some(suspect) = suspects.find(is_its_deploy) else {
            return Compared::TooLittle("no new one shortly before an incident");
        };
        let version = suspect.event.scope.version.as_deref();
        between(
            "version",
            "since it went live, and half an hour before",
            version.unwrap_or(&suspect.event.text),
            suspect.since,
            suspect.before,
        )
    }

    fn by_route(&self, route: &RouteView) -> Compared {
        let Some(upstream) = &route.upstream else {
            return Compared::TooLittle("it has no upstream");
        };
        let beside = self
            .routes
            .iter()
            .filter(|it| it.id != route.id && it.upstream.as_ref() == Some(upstream));
        between(
            "route",
            &format!("the last minute, and other routes of upstream {upstream}"),
            &route.id,
            valid(&route.now),
            sum(beside),
        )
    }

    fn by_upstream(&self, route: &RouteView) -> Compared {
        let Some(upstream) = &route.upstream else {
            return Compared::TooLittle("it has no upstream");
        };
        let (its, others): (Vec<&RouteView>, Vec<&RouteView>) = self
            .routes
            .iter()
            .filter(|it| it.upstream.is_some())
            .partition(|it| it.upstream.as_ref() == Some(upstream));
        between(
            "upstream",
            "the last minute, and all other upstreams",
            upstream,
            sum(its.into_iter()),
            sum(others.into_iter()),
        )
    }

    fn slower(&self, route: &RouteView) -> Vec<Slower> {
        let mut slower = Vec::new();
        if let (Some(now), Some(before)) = (route.now.p50_us, route.before.p50_us)
            && now >= FELT_US
            && now >= SLOWER * before
        {
            slower.push(Slower {
                dimension: "time".to_owned(),
                part: "now".to_owned(),
                there_us: now,
                elsewhere_us: before,
                over: "median of the last minute, and of the hour before".to_owned(),
            });
        }
        slower.extend(self.slowest_endpoint(route));
        let all: u64 = route.phases.iter().map(|phase| phase.p50_us).sum();
        let longest = route.phases.iter().max_by_key(|phase| phase.p50_us);
        if let Some(longest) = longest.filter(|it| it.p50_us * 2 > all && it.p50_us >= FELT_US) {
            slower.push(Slower {
                dimension: "phase".to_owned(),
                part: longest.phase.clone(),
                there_us: longest.p50_us,
                elsewhere_us: all,
                over: "its median, of the medians of all phases, last 5 minutes".to_owned(),
            });
        }
        let lift = |it: &Slower| it.there_us as f64 / it.elsewhere_us.max(1) as f64;
        slower.sort_by(|one, other| lift(other).total_cmp(&lift(one)));
        slower
    }

    /// The endpoint whose median is at least twice the median of the others'.
    fn slowest_endpoint(&self, route: &RouteView) -> Option<Slower> {
        let upstream = self
            .upstreams
            .iter()
            .find(|it| Some(&it.name) == route.upstream.as_ref())?;
        let mut medians: Vec<(u64, &str)> = upstream
            .endpoints
            .iter()
            .filter_map(|it| Some((it.p50_us?, it.address.as_str())))
            .collect();
        medians.sort_unstable();
        let (slowest, others) = medians.split_last()?;
        let (usual, _) = others.get(others.len() / 2)?;
        (slowest.0 >= FELT_US && slowest.0 >= SLOWER * usual).then(|| Slower {
            dimension: "endpoint".to_owned(),
            part: slowest.1.to_owned(),
            there_us: slowest.0,
            elsewhere_us: *usual,
            over: "median time to the head of its responses in the last minute, and the others'"
                .to_owned(),
        })
    }
}

impl Explanation {
    fn take(&mut self, dimension: &str, compared: Compared) {
        match compared {
            Compared::Differs(contrast) => self.differs.push(contrast),
            Compared::Alike => self.alike.push(dimension.to_owned()),
            Compared::TooLittle(why) => self.unknown.push(Unknown {
                dimension: dimension.to_owned(),
                why: why.to_owned(),
            }),
        }
    }
}

/// Valid requests of one span.
fn valid(measure: &Measure) -> Tally {
    let valid = measure.requests.saturating_sub(measure.excluded);
    Tally {
        good: valid.saturating_sub(measure.bad),
        bad: measure.bad,
    }
}

fn sum<'a>(routes: impl Iterator<Item = &'a RouteView>) -> Tally {
    routes.fold(Tally::default(), |sum, route| sum + valid(&route.now))
}

/// A median that fell because what fails is quick looks like good news.
fn fast_failures(route: &RouteView) -> Option<String> {
    let (now, before) = (route.now.p50_us?, route.before.p50_us?);
    let fails = route.now.bad_ratio? >= MAKE_THE_MEDIAN;
    (fails && (now as f64) < before as f64 * MUCH_LOWER)
        .then(|| "the median fell because failures are fast; it is no improvement".to_owned())
}

fn all_are_gone(route: &RouteView) -> Option<String> {
    let idle = route.now.requests == 0 && route.before.requests > 0;
    idle.then(|| "no request in the last minute, so nothing of now can be compared".to_owned())
}
