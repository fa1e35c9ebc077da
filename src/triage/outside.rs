//! What probes see: an incident of their own when nothing inside says so, and a word to an incident that is told already.
//!
//! A name that leads nowhere and a certificate that has expired keep users away before they are counted anywhere. Only a
//! probe sees them.

use std::cmp::Reverse;

use super::engine::{Trouble, blank};
use super::evidence::{Evidence, ProbeEvidence};
use super::onset::Onset;
use super::placing::FaultPlace;
use super::sentence::{changed, label};
use super::{Level, Locus, Outside, Topic, Verdict, suspect, words};
use crate::model::{Timestamp, Window};

/// Over how long users' requests are said to be well or not.
const LATELY: Window = Window::minutes(1);

/// The failing probes whose routes no incident is told of: one sentence, about the one that has failed for longest.
/// `told` are the routes that one is told of.
pub(super) fn verdict(now: Timestamp, evidence: &Evidence<'_>, told: &[String]) -> Option<Verdict> {
    let is_told = |probe: &ProbeEvidence<'_>| {
        let route = probe.route;
        route.is_some_and(|route| told.iter().any(|it| it == route))
    };
    let mut failing: Vec<(Timestamp, &ProbeEvidence<'_>)> = evidence
        .probes
        .iter()
        .filter(|probe| !is_told(probe))
        .filter_map(|probe| Some((probe.failing_since?, probe)))
        .collect();
    // What says most first: a fault that is placed, of a route.
    failing.sort_by_key(|(since, probe)| {
        let placed = probe.place() != FaultPlace::Unknown;
        (Reverse(placed), Reverse(probe.route.is_some()), *since)
    });
    let (since, probe) = *failing.first()?;
    let more = match failing.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let place = probe.place();
    let side = place.side();
    let onset = Onset {
        secs: since.as_secs(),
        within_s: probe.every_s,
        open: false,
    };
    let mut suspects = suspect::of_anything(evidence.events, onset).into_iter();
    let suspect = suspects.next();
    let route = probe.route.and_then(|id| {
        let routes = &evidence.routes;
        routes.iter().find(|route| route.id == id)
    });
    let of_route = match probe.route {
        Some(route) => format!(" of route {route}"),
        None => String::new(),
    };
    let users = match route.map(|route| route.last_minute) {
        Some(minute) if minute.valid() > 0 => {
            format!("users: {}/{} bad in {LATELY}; ", minute.bad, minute.valid())
        }
        Some(_) => format!("no users in {LATELY}; "),
        None => String::new(),
    };
    let next_step = next_step(probe);
    let why = probe.why();
    let changed = changed(now, Some(onset), suspect.as_ref());
    Some(Verdict {
        topic: Topic::Outside,
        side,
        route: probe.route.map(str::to_owned),
        routes: probe.route.iter().map(|it| (*it).to_owned()).collect(),
        onset: Some(since),
        bad_ratio: None,
        text: format!(
            "{}: {}probe {}{more}{of_route} fails since {}: {}; {changed}{users}{next_step}",
            label(Level::Warn),
            begin(side),
            words::plain(probe.name),
            words::time(since, now),
            words::long(&why),
        ),
        suspect,
        further_suspects: suspects.collect(),
        outside: Some(Outside {
            probe: Some(probe.name.to_owned()),
            place: Some(place),
            text: why,
        }),
        next_step,
        runbook: probe.runbook.map(str::to_owned),
        ..blank(Level::Warn)
    })
}

/// As an incident's sentence begins with whose it is.
const fn begin(side: Locus) -> &'static str {
    match side {
        Locus::Edge => "edge, not upstream: ",
        Locus::Upstream => "upstream, not edge: ",
        Locus::Network => "names or network, in front of the edge or behind it: ",
        Locus::Certificate => "certificate: ",
        Locus::Client | Locus::Unknown | Locus::None => "side unknown: ",
    }
}

/// One step, by where the fault is.
fn next_step(probe: &ProbeEvidence<'_>) -> String {
    let target = words::plain(probe.target);
    match probe.place() {
        FaultPlace::Dns => {
            format!("check where the name in {target} leads, and who says so: `vestibule names`")
        }
        FaultPlace::Network => {
            "check what is in front of this proxy: load balancer, firewall, cache".to_owned()
        }
        FaultPlace::Tls => format!("see what is shown for {target}: `vestibule certs`"),
        FaultPlace::Ingress => {
            format!("see what this proxy makes of it: `vestibule explain GET {target}`")
        }
        FaultPlace::Upstream => {
            let endpoints = probe.placing.as_ref().map(|it| it.endpoints.as_slice());
            let endpoints = endpoints.unwrap_or_default().iter().map(String::as_str);
            format!("read the log of {}", super::advice::addresses(endpoints))
        }
        FaultPlace::Unknown => format!("ask again by hand: `vestibule probe run {}`", probe.name),
    }
}

/// What probes say of a route that is in trouble; `None`: no probe is configured at all.
pub(super) fn of_trouble(trouble: &Trouble<'_>, evidence: &Evidence<'_>) -> Option<Outside> {
    if evidence.probes.is_empty() {
        return None;
    }
    let route = trouble.route.id;
    let of_route = || {
        let probes = evidence.probes.iter();
        probes.filter(|probe| probe.route == Some(route))
    };
    let failing = of_route().filter(|probe| probe.placing.is_some());
    let placed = failing.max_by_key(|probe| {
        (
            probe.place() != FaultPlace::Unknown,
            probe.failing_since.is_some(),
        )
    });
    if let Some(probe) = placed {
        return Some(Outside {
            probe: Some(probe.name.to_owned()),
            place: Some(probe.place()),
            text: probe.why(),
        });
    }
    let users_fail = trouble.route.last_minute.bad > 0;
    match of_route().find(|probe| probe.was_run) {
        Some(probe) if users_fail => Some(Outside {
            probe: Some(probe.name.to_owned()),
            place: None,
            text: "it is well: it does not ask what users ask".to_owned(),
        }),
        Some(_) => None,
        None => Some(Outside {
            probe: None,
            place: None,
            text: format!("no probe looks at {route}"),
        }),
    }
}

/// The same for the sentence; empty when there is nothing that helps whoever reads it.
pub(super) fn in_sentence(outside: Option<&Outside>) -> String {
    let Some(Outside {
        probe: Some(probe),
        place,
        text,
    }) = outside
    else {
        return String::new();
    };
    let probe = words::plain(probe);
    match place {
        Some(FaultPlace::Unknown) => format!("probe {probe} fails too; "),
        Some(place) => format!(
            "probe {probe} places it at {}: {}; ",
            place.as_str(),
            words::plain(text)
        ),
        None => format!("probe {probe} does not see it; "),
    }
}

impl ProbeEvidence<'_> {
    pub(super) fn place(&self) -> FaultPlace {
        let placing = self.placing.as_ref();
        placing.map_or(FaultPlace::Unknown, |placing| placing.place)
    }

    fn why(&self) -> String {
        let placing = self.placing.as_ref();
        placing.map_or_else(String::new, |placing| placing.why.clone())
    }
}
