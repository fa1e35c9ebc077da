//! Vital signs: what SLOs count that no request is an event of. Once a second each of them gets the events of that second;
//! what could not be measured is no event.

use std::collections::BTreeMap;
use std::time::Duration;

use super::health::Health;
use crate::model::{About, Directory, EndpointKey, Handshake, Handshakes, Sli, Slo, SloKey};
use crate::model::{Tally, Vital};
use crate::proxy::config::Upstream;
use crate::snapshot::ProcessView;

/// Every SLO of a vital sign, and what was seen last.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    slos: Vec<(SloKey, Vital, About)>,
    /// What became of configurations since the last second: how long one took, or that it was refused.
    applied: Vec<Option<Duration>>,
    /// The last of them.
    last_applied: Option<Result<Duration, String>>,
    /// How often each endpoint's health had changed a second ago.
    changes: BTreeMap<EndpointKey, u64>,
}

/// Configurations in one second that are told apart; nobody reloads as often.
const MOST_APPLIED: usize = 100;

impl Vitals {
    /// Counts for these SLOs from now on.
    pub(super) fn configure(&mut self, slos: &[(SloKey, Slo)]) {
        let vital = |(key, slo): &(SloKey, Slo)| match slo.sli {
            Sli::Vital(vital) => Some((*key, vital, slo.about.clone())),
            Sli::Availability(_)
            | Sli::Latency { .. }
            | Sli::Connection
            | Sli::RateLimit
            | Sli::Probe { .. }
            | Sli::Composite(_) => None,
        };
        self.slos = slos.iter().filter_map(vital).collect();
    }

    /// A configuration was to be applied: how long it took, or why it was refused.
    pub(super) fn applied(&mut self, outcome: Result<Duration, String>) {
        if self.applied.len() < MOST_APPLIED {
            self.applied.push(outcome.as_ref().ok().copied());
        }
        self.last_applied = Some(outcome);
    }

    /// What handshakes that are new count for.
    pub(super) fn handshakes(&self, fresh: Tally) -> Vec<(SloKey, Tally)> {
        let of_them = self.slos.iter();
        of_them
            .filter(|(_, vital, _)| *vital == Vital::Handshake && fresh.valid() > 0)
            .map(|(key, ..)| (*key, fresh))
            .collect()
    }

    /// A second is over: what it counts for.
    pub(super) fn second(
        &mut self,
        process: &ProcessView,
        health: &Health,
        upstreams: &[Upstream],
        directory: &Directory,
    ) -> Vec<(SloKey, Tally)> {
        let applied = std::mem::take(&mut self.applied);
        let endpoints = self.endpoints(health, upstreams, directory);
        let tallies = self.slos.iter().map(|(key, vital, about)| {
            let tally = match vital {
                // Counted as they come.
                Vital::Handshake => Tally::default(),
                Vital::Cpu { most } => is_under(cpu(process), *most),
                Vital::Memory { most } => is_under(memory(process), *most),
                Vital::Apply { within } => sum(applied
                    .iter()
                    .map(|took| took.is_some_and(|took| took <= *within))),
                Vital::Health => sum(endpoints
                    .iter()
                    .filter(|(upstream, _)| about.holds("", Some(upstream), None))
                    .map(|(_, good)| *good)),
            };
            (*key, tally)
        });
        tallies.filter(|(_, tally)| tally.valid() > 0).collect()
    }

    /// Every endpoint that something is known of, by its upstream, and whether it was in service all through.
    fn endpoints<'a>(
        &mut self,
        health: &Health,
        upstreams: &'a [Upstream],
        directory: &Directory,
    ) -> Vec<(&'a str, bool)> {
        let before = std::mem::take(&mut self.changes);
        let mut endpoints = Vec::new();
        if self.slos.iter().all(|it| it.1 != Vital::Health) {
            return endpoints;
        }
        for upstream in upstreams {
            for endpoint in &upstream.endpoints {
                let key = directory.find_endpoint(&upstream.name, &endpoint.to_string());
                let Some((key, works)) = key.and_then(|key| Some((key, health.stands(key)?)))
                else {
                    continue;
                };
                let (by_checks, by_traffic) = health.flaps(key);
                let changes = by_checks.saturating_add(by_traffic);
                let is_steady = before.get(&key).is_none_or(|before| *before == changes);
                self.changes.insert(key, changes);
                endpoints.push((upstream.name.as_str(), works && is_steady));
            }
        }
        endpoints
    }

    /// How a vital sign stands now, in words; empty when that is not known.
    pub(super) fn now(&self, vital: Vital, process: &ProcessView, lately: &Handshakes) -> String {
        match vital {
            Vital::Handshake => {
                let all = Handshake::ALL.iter().zip(lately);
                let blamed = all.filter(|(how, count)| how.is_good() == Some(false) && **count > 0);
                let blamed = blamed.map(|(how, count)| format!("{count} {}", how.as_str()));
                blamed.collect::<Vec<_>>().join(", ")
            }
            Vital::Cpu { .. } => match (process.cpu_ratio, usable(process)) {
                (Some(used), Some(cpus)) => format!("now {used:.2} of {cpus}"),
                _ => String::new(),
            },
            Vital::Memory { .. } => match (process.rss_bytes, process.memory_bytes) {
                (Some(held), Some(most)) => format!("now {} of {} MiB", held >> 20, most >> 20),
                _ => String::new(),
            },
            Vital::Apply { .. } => match &self.last_applied {
                Some(Ok(took)) => format!("the last took {:.1} s", took.as_secs_f64()),
                Some(Err(why)) => format!("the last was refused: {why}"),
                None => String::new(),
            },
            Vital::Health => String::new(),
        }
    }
}

/// One second.
fn is_under(share: Option<f64>, most: u8) -> Tally {
    sum(share.map(|share| share * 100.0 <= f64::from(most)))
}

fn sum(events: impl IntoIterator<Item = bool>) -> Tally {
    events.into_iter().fold(Tally::default(), |sum, good| {
        sum + Tally {
            good: u64::from(good),
            bad: u64::from(!good),
        }
    })
}

/// The processors that requests can be served on: a worker uses one at most.
fn usable(process: &ProcessView) -> Option<f64> {
    let cpus = process.cpus?.min(process.workers as f64);
    (cpus > 0.0).then_some(cpus)
}

/// Used ÷ usable.
fn cpu(process: &ProcessView) -> Option<f64> {
    Some(process.cpu_ratio? / usable(process)?)
}

/// Held ÷ what may be held.
fn memory(process: &ProcessView) -> Option<f64> {
    let most = process.memory_bytes.filter(|most| *most > 0)?;
    Some(process.rss_bytes? as f64 / most as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Window;

    fn slo(id: &str, vital: Vital, about: About) -> Slo {
        Slo {
            id: id.to_owned(),
            about,
            owner: None,
            sli: Sli::Vital(vital),
            slices: None,
            parts: Vec::new(),
            probe: None,
            objective: "95%".parse().unwrap(),
            window: Window::days(30),
            calendar: None,
            policy: "workbook".to_owned(),
            runbook: None,
        }
    }

    fn vitals(vitals: &[Vital]) -> Vitals {
        let slos = vitals.iter().zip(0..);
        let slos: Vec<(SloKey, Slo)> = slos
            .map(|(vital, key)| (SloKey(key), slo("s", *vital, About::Ingress)))
            .collect();
        let mut of_them = Vitals::default();
        of_them.configure(&slos);
        of_them
    }

    fn process(cpu: Option<f64>, held: Option<u64>) -> ProcessView {
        ProcessView {
            cpu_ratio: cpu,
            cpus: Some(8.0),
            rss_bytes: held,
            memory_bytes: Some(1_000),
            workers: 2,
            ..ProcessView::default()
        }
    }

    #[test]
    fn a_second_is_good_up_to_the_line_and_none_that_was_not_measured_is() {
        let mut both = vitals(&[Vital::Cpu { most: 70 }, Vital::Memory { most: 70 }]);
        let (good, bad) = (Tally { good: 1, bad: 0 }, Tally { good: 0, bad: 1 });
        for (what, process, expected) in [
            // Two workers use two of the eight processors at most.
            (
                "on the line",
                process(Some(1.4), Some(700)),
                [Some(good), Some(good)],
            ),
            (
                "over it",
                process(Some(1.41), Some(701)),
                [Some(bad), Some(bad)],
            ),
            ("not measured", process(None, None), [None, None]),
        ] {
            let found = both.second(&process, &Health::default(), &[], &Directory::default());
            let of = |key| found.iter().find(|it| it.0 == SloKey(key)).map(|it| it.1);
            assert_eq!([of(0), of(1)], expected, "{what}");
        }
    }

    #[test]
    fn a_configuration_that_is_late_or_refused_is_bad_and_counted_once() {
        let within = Duration::from_secs(30);
        let mut vitals = vitals(&[Vital::Apply { within }]);
        vitals.applied(Ok(within));
        vitals.applied(Ok(within + Duration::from_millis(1)));
        vitals.applied(Err("line 3".to_owned()));
        let mut second = || {
            let none = Health::default();
            vitals.second(&process(None, None), &none, &[], &Directory::default())
        };
        assert_eq!(second(), [(SloKey(0), Tally { good: 1, bad: 2 })]);
        assert_eq!(second(), []);
        let now = vitals.now(
            Vital::Apply { within },
            &process(None, None),
            &Handshakes::default(),
        );
        assert_eq!(now, "the last was refused: line 3");
    }

    #[test]
    fn handshakes_count_where_they_are_promised() {
        let fresh = Tally { good: 9, bad: 1 };
        let both = vitals(&[Vital::Cpu { most: 70 }, Vital::Handshake]);
        assert_eq!(both.handshakes(fresh), [(SloKey(1), fresh)]);
        assert_eq!(both.handshakes(Tally::default()), []);
        let mut lately = Handshakes::default();
        lately[Handshake::ClientGone.index()] = 90;
        lately[Handshake::ClientRefused.index()] = 4;
        let now = both.now(Vital::Handshake, &process(None, None), &lately);
        assert_eq!(now, "4 client_refused");
    }
}
