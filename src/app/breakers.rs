//! How the breakers of upstreams stand, and when that changed.

use std::collections::BTreeMap;

use crate::model::{CircuitPhase, Event, EventKind, Scope, Timestamp};
use crate::proxy::gate::{GateCount, Reason};
use crate::snapshot::BreakerView;

/// All upstreams that have a breaker.
#[derive(Debug, Default)]
pub(super) struct Breakers(BTreeMap<String, Known>);

#[derive(Debug)]
struct Known {
    count: GateCount,
    /// When its circuit last changed its phase.
    since: Option<Timestamp>,
    /// Whether it was told that it is open, and not yet that it closed.
    told_open: bool,
}

impl Breakers {
    /// Takes in how they stand now, and says which circuits opened or closed. One that is half open is neither.
    pub(super) fn absorb(
        &mut self,
        now: Timestamp,
        gates: impl Iterator<Item = GateCount>,
    ) -> Vec<Event> {
        let mut before = std::mem::take(&mut self.0);
        let mut events = Vec::new();
        for count in gates {
            let known = before.remove(&count.upstream);
            let (opened, phase) = known
                .as_ref()
                .map_or((0, None), |it| (it.count.opened, it.count.phase));
            let (mut since, mut told_open) = known
                .as_ref()
                .map_or((None, false), |it| (it.since, it.told_open));
            if known.is_some() && count.phase != phase {
                since = Some(now);
            }
            let mut tell = |text: String| {
                events.push(Event {
                    at: now,
                    kind: EventKind::Health,
                    scope: Scope {
                        upstream: Some(count.upstream.clone()),
                        ..Scope::default()
                    },
                    text,
                });
            };
            let name = &count.upstream;
            // A trial that failed opened it once more; that it does not work was said.
            if count.opened > opened && !told_open {
                let (bad, all) = count.seen;
                tell(format!(
                    "the circuit breaker of {name} opened: {bad} of {all} attempts failed"
                ));
                told_open = true;
                since = Some(now);
            }
            let closed = matches!(count.phase, Some(CircuitPhase::Closed) | None);
            if told_open && closed {
                tell(format!("the circuit breaker of {name} is closed again"));
                told_open = false;
            }
            let known = Known {
                count,
                since,
                told_open,
            };
            self.0.insert(known.count.upstream.clone(), known);
        }
        events
    }

    /// One upstream's; `None`: it has none.
    pub(super) fn view(&self, upstream: &str) -> Option<BreakerView> {
        let Known { count, since, .. } = self.0.get(upstream)?;
        let refused = Reason::ALL.iter().zip(count.refused);
        Some(BreakerView {
            circuit: count.phase,
            since: *since,
            in_flight: count.in_flight,
            pending: count.pending,
            refused: refused
                .map(|(reason, count)| (reason.as_str().to_owned(), count))
                .collect(),
            opened: count.opened,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circuit_is_news_when_it_opens_and_when_it_closes() {
        use CircuitPhase::{Closed, HalfOpen, Open};
        let mut breakers = Breakers::default();
        let mut tell = |second, phase, opened| {
            let count = GateCount {
                upstream: "u".to_owned(),
                phase: Some(phase),
                opened,
                seen: (12, 20),
                ..GateCount::default()
            };
            let events = breakers.absorb(Timestamp::from_secs(second), std::iter::once(count));
            events.into_iter().map(|it| it.text).collect::<Vec<_>>()
        };
        let opened = "the circuit breaker of u opened: 12 of 20 attempts failed".to_owned();
        let closed = "the circuit breaker of u is closed again".to_owned();
        assert!(tell(1, Closed, 0).is_empty());
        assert_eq!(tell(2, Open, 1), std::slice::from_ref(&opened));
        assert!(tell(3, HalfOpen, 1).is_empty());
        assert!(tell(4, Open, 2).is_empty());
        assert_eq!(tell(5, Closed, 2), std::slice::from_ref(&closed));
        // Both within a second.
        assert_eq!(tell(6, Closed, 3), [opened, closed]);
        assert!(tell(7, Closed, 3).is_empty());
    }
}
