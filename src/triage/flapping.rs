//! Endpoints that come and go: each time, requests meet one that has just been lost or is not ready yet.

use super::engine::{RECENT, blank, ratio, runbook};
use super::evidence::{CheckEvidence, Evidence, Unsteady};
use super::onset::Onset;
use super::sentence::{changed, label};
use super::{Level, Locus, Topic, Verdict, suspect, words};
use crate::model::Timestamp;

/// Changes in ten minutes from which an endpoint flaps: lost and back, twice.
const FLAPS: u64 = 4;

/// The upstream with the most unsteady endpoint. `told` are upstreams that have an incident already: there, flapping is
/// what the trouble looks like.
pub(super) fn verdict(now: Timestamp, evidence: &Evidence<'_>, told: &[String]) -> Option<Verdict> {
    let flapping = |it: &&Unsteady<'_>| it.changes >= FLAPS;
    let all = evidence.unsteady.iter().filter(flapping);
    let worst = all
        .clone()
        .filter(|it| !told.iter().any(|upstream| upstream == it.upstream))
        .max_by_key(|it| it.changes)?;
    let beside = all.filter(|it| it.upstream == worst.upstream).count() - 1;
    let more = match beside {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let served = evidence
        .routes
        .iter()
        .filter(|route| route.upstream == Some(worst.upstream));
    let mut served: Vec<_> = served.collect();
    served.sort_by_key(|route| std::cmp::Reverse(route.last_minute.requests()));
    let onset = Onset {
        secs: worst.since.as_secs(),
        within_s: 1,
        open: false,
    };
    let route = served.first().copied();
    let found = route.map(|route| suspect::besides_health(evidence.events, route, onset));
    let mut found = found.unwrap_or_default().into_iter();
    let suspect = found.next();
    let next_step = next_step(worst);
    let (what, why) = match &worst.check {
        Some(CheckEvidence {
            failed: Some(why), ..
        }) => (
            "its health checks",
            format!(", last: {}", words::plain(why)),
        ),
        Some(CheckEvidence { failed: None, .. }) => ("its health checks", String::new()),
        None => ("traffic", String::new()),
    };
    let owner = match route.and_then(|route| route.owner) {
        Some(owner) => format!(" (owner {})", words::plain(owner)),
        None => String::new(),
    };
    let slos = served.iter().flat_map(|route| &route.slos);
    let burn = slos.filter_map(|slo| slo.burn_over(RECENT));
    let burn = burn.max_by(f64::total_cmp);
    let burning = match burn {
        Some(burn) => format!("burning {}", words::multiple(burn)),
        None => "not burning".to_owned(),
    };
    Some(Verdict {
        topic: Topic::Flapping,
        side: Locus::Upstream,
        route: route.map(|route| route.id.to_owned()),
        routes: served.iter().map(|route| route.id.to_owned()).collect(),
        onset: Some(worst.since),
        burn,
        bad_ratio: route.and_then(|it| ratio(it.last_minute.bad, it.last_minute.valid())),
        text: format!(
            "{}: upstream, not edge: {} of {}{more} flaps: {} changes in 10m by {what}{why}, since {}; {}{burning}; {next_step}{owner}",
            label(Level::Warn),
            worst.address,
            worst.upstream,
            worst.changes,
            words::time(worst.since, now),
            changed(now, Some(onset), suspect.as_ref()),
        ),
        suspect,
        further_suspects: found.collect(),
        runbook: route.and_then(runbook),
        next_step,
        ..blank(Level::Warn)
    })
}

/// Checks that are stricter than the service is quick are the likeliest reason; one bad answer must not be enough either.
fn next_step(worst: &Unsteady<'_>) -> String {
    let (address, upstream) = (worst.address, worst.upstream);
    let Some(check) = worst.check else {
        return format!("take {address} out of {upstream} and read its log");
    };
    let is_slow = worst
        .p99_us
        .is_some_and(|p99| p99.saturating_mul(2) >= check.timeout_us);
    if is_slow {
        let p99 = worst.p99_us.unwrap_or_default();
        // Twice what it takes, to a tenth of a second.
        let enough = (p99 * 2).div_ceil(100_000) * 100_000;
        return format!(
            "raise the timeout of the health check of {upstream} from {} to {}: {address} answers users in {} at the 99th percentile",
            words::latency(u128::from(check.timeout_us)),
            words::latency(u128::from(enough)),
            words::latency(u128::from(p99 / 1_000 * 1_000)),
        );
    }
    format!(
        "read the log of {address} at these times; if users fare well there, raise `fall` of the health check of {upstream} from {} to {}",
        check.fall,
        check.fall.saturating_add(2).max(3)
    )
}
