//! What workers say of endpoints, put together: requests on their way, who leaves which alone, how long answers take.

use std::collections::VecDeque;

use crate::model::{EndpointKey, Spread};
use crate::proxy::worker::EndpointLoad;

/// All endpoints, by [`EndpointKey::index`].
#[derive(Debug, Default)]
pub(super) struct Loads(Vec<Load>);

/// One endpoint.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Requests and tunnels on their way to it.
    pub(super) in_flight: u64,
    /// Workers that leave it alone.
    pub(super) ejected_by: u64,
    /// By tens of seconds, oldest first, only those in which it answered.
    waits: VecDeque<(u64, Spread)>,
}

/// Seconds in one piece of the last minute.
const PIECE_S: u64 = 10;
/// Pieces that make the last minute: the one being filled and those before.
const PIECES: u64 = 60 / PIECE_S;

impl Loads {
    /// Takes in what the workers said in second `second`.
    pub(super) fn absorb(&mut self, second: u64, loads: &[(EndpointKey, EndpointLoad)]) {
        let piece = second / PIECE_S;
        for load in &mut self.0 {
            (load.in_flight, load.ejected_by) = (0, 0);
            load.forget(piece);
        }
        for (key, said) in loads {
            let EndpointLoad {
                in_flight,
                ejected,
                waits,
            } = said;
            if self.0.len() <= key.index() {
                self.0.resize_with(key.index() + 1, Load::default);
            }
            let load = &mut self.0[key.index()];
            load.in_flight += in_flight;
            load.ejected_by += u64::from(*ejected);
            let Some(waits) = waits else {
                continue;
            };
            // Not always the last: who asks for a snapshot counts a second before it is over.
            match load.waits.iter_mut().find(|(at, _)| *at == piece) {
                Some((_, spread)) => spread.merge(waits),
                None => load.waits.push_back((piece, Spread::clone(waits))),
            }
        }
    }

    /// One endpoint; `None`: no worker ever had to do with it.
    pub(super) fn of(&self, endpoint: EndpointKey) -> Option<&Load> {
        self.0.get(endpoint.index())
    }
}

impl Load {
    /// How long it took to answer in the last minute, to ten seconds; `None`: it did not answer once.
    pub(super) fn last_minute(&self, now_secs: u64) -> Option<Spread> {
        let oldest = oldest(now_secs / PIECE_S);
        let mut sum: Option<Spread> = None;
        for (_, spread) in self.waits.iter().filter(|(piece, _)| *piece >= oldest) {
            match &mut sum {
                Some(sum) => sum.merge(spread),
                None => sum = Some(spread.clone()),
            }
        }
        sum
    }

    fn forget(&mut self, piece: u64) {
        // A clock that was set back leaves pieces in the future, which would never grow old.
        let kept = oldest(piece)..=piece + 1;
        self.waits.retain(|(at, _)| kept.contains(at));
    }
}

const fn oldest(piece: u64) -> u64 {
    (piece + 1).saturating_sub(PIECES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: EndpointKey = EndpointKey(2);

    fn said(in_flight: u64, micros: Option<u64>) -> (EndpointKey, EndpointLoad) {
        let waits = micros.map(|micros| {
            let mut spread = Box::<Spread>::default();
            spread.record(micros);
            spread
        });
        let load = EndpointLoad {
            in_flight,
            ejected: in_flight == 0,
            waits,
        };
        (KEY, load)
    }

    #[test]
    fn workers_add_up_and_what_nobody_says_any_more_is_over() {
        let mut loads = Loads::default();
        loads.absorb(100, &[said(3, Some(1_000)), said(0, None), said(4, None)]);
        let load = loads.of(KEY).unwrap();
        assert_eq!((load.in_flight, load.ejected_by), (7, 1));
        loads.absorb(101, &[]);
        let load = loads.of(KEY).unwrap();
        assert_eq!((load.in_flight, load.ejected_by), (0, 0));
        assert_eq!(load.last_minute(101).unwrap().count(), 1);
        assert!(loads.of(EndpointKey(0)).unwrap().last_minute(101).is_none());
    }

    #[test]
    fn answers_leave_after_a_minute() {
        let mut loads = Loads::default();
        for second in 0..300 {
            loads.absorb(second, &[said(1, Some(1_000))]);
        }
        let load = loads.of(KEY).unwrap();
        assert!((51..=60).contains(&load.last_minute(299).unwrap().count()));
        assert!(load.waits.len() <= 6);
        assert!(load.last_minute(400).is_none(), "silence is no latency");
    }
}
