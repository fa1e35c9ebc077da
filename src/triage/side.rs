//! Whose fault it is, and which endpoints carry it.

use super::Locus;
use super::evidence::{Detail, EndpointEvidence};
use crate::model::{Fault, Phase, Side};

/// The share of the bad requests from which names and the network are named rather than the service.
const CLEARLY: f64 = 0.8;

/// The faults that spent budget, most frequent first: of the last minute, or of the last five when that saw none.
pub(super) fn faults(detail: &Detail) -> Vec<(Fault, u64)> {
    let bad = |counts: &[u64; Fault::COUNT]| {
        let mut faults: Vec<(Fault, u64)> = Fault::ALL
            .iter()
            .zip(counts)
            .map(|(fault, count)| (*fault, *count))
            .filter(|(fault, count)| fault.side() != Side::Downstream && *count > 0)
            .collect();
        faults.sort_by_key(|(fault, count)| (std::cmp::Reverse(*count), fault.index()));
        faults
    };
    let minute = bad(&detail.faults_1m);
    if minute.is_empty() {
        bad(&detail.faults_5m)
    } else {
        minute
    }
}

/// The side that most of `faults` blame. Names and the network only when they make up at least four fifths: a few
/// timeouts among an application's errors do not make it the network's fault.
pub(super) fn of_faults(faults: &[(Fault, u64)]) -> Locus {
    let sum = |matches: &dyn Fn(Fault) -> bool| -> u64 {
        faults
            .iter()
            .filter(|(fault, _)| matches(*fault))
            .map(|(_, count)| count)
            .sum()
    };
    let all = sum(&|_| true);
    if all == 0 {
        return Locus::Unknown;
    }
    if sum(&|fault| is_network(fault)) as f64 >= CLEARLY * all as f64 {
        return Locus::Network;
    }
    let edge = sum(&|fault| fault.side() == Side::Edge);
    match (edge * 2).cmp(&all) {
        std::cmp::Ordering::Greater => Locus::Edge,
        std::cmp::Ordering::Equal => Locus::Unknown,
        std::cmp::Ordering::Less => Locus::Upstream,
    }
}

/// The side that slowness comes from: where more than half of the median time goes.
pub(super) fn of_phases(medians: &[Option<u64>; Phase::ALL.len()]) -> Locus {
    let all: u64 = medians.iter().flatten().sum();
    let slowest = Phase::ALL.into_iter().find(|phase| {
        medians[phase.index()].is_some_and(|median| u128::from(median) * 2 > u128::from(all))
    });
    match slowest {
        Some(Phase::Edge) => Locus::Edge,
        Some(Phase::Connect) => Locus::Network,
        Some(Phase::Wait) => Locus::Upstream,
        // The body's time may be the service's in making it, or the client's in taking it.
        Some(Phase::Body) | None => Locus::Unknown,
    }
}

const fn is_network(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::Dns | Fault::ConnectTimeout | Fault::ConnectFailed
    )
}

/// The endpoints that carry the errors when others do not: at least nine tenths of them, at a ratio at least five
/// times that of the rest. Empty when all are alike or there are too few errors to tell.
pub(super) fn culprits(endpoints: &[EndpointEvidence]) -> Vec<&EndpointEvidence> {
    /// Errors below which nothing is said about endpoints.
    const ENOUGH: u64 = 5;
    let ratio = |good: u64, bad: u64| bad as f64 / (good + bad).max(1) as f64;
    let worst = endpoints
        .iter()
        .map(|endpoint| ratio(endpoint.good, endpoint.bad))
        .fold(0.0, f64::max);
    let (failing, others): (Vec<_>, Vec<_>) = endpoints
        .iter()
        .filter(|endpoint| endpoint.good + endpoint.bad > 0)
        .partition(|endpoint| ratio(endpoint.good, endpoint.bad) >= worst / 2.0);
    let sum = |part: &[&EndpointEvidence]| {
        part.iter().fold((0, 0), |(good, bad), endpoint| {
            (good + endpoint.good, bad + endpoint.bad)
        })
    };
    let ((good, bad), (others_good, others_bad)) = (sum(&failing), sum(&others));
    let carries = bad >= ENOUGH && bad * 10 >= (bad + others_bad) * 9;
    let differs = ratio(good, bad) >= 5.0 * ratio(others_good, others_bad);
    if !others.is_empty() && carries && differs {
        failing
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_of_faults_names_the_side() {
        use Fault::{
            ConnectRefused, ConnectTimeout, Dns, Internal, Overload, UpstreamReset, UpstreamStatus,
        };
        for (what, faults, locus) in [
            (
                "errors of the service",
                vec![(UpstreamStatus, 90), (UpstreamReset, 10)],
                Locus::Upstream,
            ),
            (
                "a few timeouts among them",
                vec![(UpstreamStatus, 50), (ConnectTimeout, 50)],
                Locus::Upstream,
            ),
            (
                "names",
                vec![(Dns, 80), (UpstreamStatus, 20)],
                Locus::Network,
            ),
            (
                "an address that answers and refuses",
                vec![(ConnectRefused, 100)],
                Locus::Upstream,
            ),
            (
                "our own limit",
                vec![(Overload, 90), (UpstreamStatus, 10)],
                Locus::Edge,
            ),
            (
                "as many of both",
                vec![(Internal, 5), (UpstreamStatus, 5)],
                Locus::Unknown,
            ),
            ("nothing", vec![], Locus::Unknown),
        ] {
            assert_eq!(of_faults(&faults), locus, "{what}");
        }
    }

    #[test]
    fn a_clients_fault_is_not_counted_and_old_faults_only_without_new_ones() {
        let mut detail = Detail::default();
        detail.faults_1m[Fault::ClientDisconnect.index()] = 1_000;
        detail.faults_5m[Fault::UpstreamStatus.index()] = 7;
        assert_eq!(faults(&detail), [(Fault::UpstreamStatus, 7)]);
        detail.faults_1m[Fault::Overload.index()] = 1;
        assert_eq!(faults(&detail), [(Fault::Overload, 1)]);
    }

    #[test]
    fn slowness_is_where_the_time_goes() {
        for (medians, locus) in [
            ([Some(100), None, Some(300_000), Some(900)], Locus::Upstream),
            ([Some(9_000), None, Some(300), Some(900)], Locus::Edge),
            (
                [Some(100), Some(9_000), Some(300), Some(900)],
                Locus::Network,
            ),
            ([Some(100), None, Some(300), Some(90_000)], Locus::Unknown),
            ([None; 4], Locus::Unknown),
        ] {
            assert_eq!(of_phases(&medians), locus, "{medians:?}");
        }
    }

    #[test]
    fn an_endpoint_is_named_only_when_others_do_well() {
        let endpoint = |address: &str, good, bad| EndpointEvidence {
            address: address.to_owned(),
            good,
            bad,
            connect_failures: 0,
            leads: None,
        };
        for (what, endpoints, named) in [
            (
                "one of three",
                vec![
                    endpoint("a", 5, 95),
                    endpoint("b", 100, 0),
                    endpoint("c", 98, 2),
                ],
                vec!["a"],
            ),
            (
                "two of three",
                vec![
                    endpoint("a", 5, 95),
                    endpoint("b", 0, 90),
                    endpoint("c", 98, 0),
                ],
                vec!["a", "b"],
            ),
            (
                "all alike",
                vec![endpoint("a", 50, 50), endpoint("b", 40, 60)],
                vec![],
            ),
            ("the only one", vec![endpoint("a", 0, 100)], vec![]),
            (
                "beside one that is not tried",
                vec![endpoint("a", 0, 100), endpoint("b", 0, 0)],
                vec![],
            ),
            (
                "too few errors",
                vec![endpoint("a", 0, 4), endpoint("b", 100, 0)],
                vec![],
            ),
            (
                "no errors",
                vec![endpoint("a", 10, 0), endpoint("b", 10, 0)],
                vec![],
            ),
        ] {
            let found: Vec<_> = culprits(&endpoints)
                .into_iter()
                .map(|endpoint| endpoint.address.as_str())
                .collect();
            assert_eq!(found, named, "{what}");
        }
    }
}
