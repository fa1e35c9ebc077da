//! Which requests leave a trace.
//!
//! Whether a trace is looked at is its beginner's decision, which we follow; of those that begin here it is a share,
//! told by their ids. Beside that, what somebody will want to look at is kept whatever was decided: requests that ended
//! badly, and slow ones. A token bucket bounds that, so that an outage does not multiply the traffic to the receiver.
//! Spans of other services are missing from a trace that only we kept.

use std::time::Duration;

use super::record::Record;
use crate::clock::Tick;
use crate::model::{Outcome, TraceShare};

/// How spans are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// The share of traces that begin here.
    pub share: TraceShare,
    /// Bad and slow requests kept each second beside those.
    pub keep_per_second: u32,
    /// What is slow on any route; `None`: only what a latency SLO calls slow.
    pub slow: Option<Duration>,
}

/// Why a request leaves a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Whoever began the trace said so.
    Parent,
    /// It is one of the share.
    Ratio,
    /// It ended badly.
    Error,
    /// It took longer than a latency SLO of its route allows.
    Slo,
    /// It was slow.
    Slow,
}

impl Kept {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Parent => "parent",
            Self::Ratio => "ratio",
            Self::Error => "error",
            Self::Slo => "slo",
            Self::Slow => "slow",
        }
    }
}

/// Chooses spans.
#[derive(Debug)]
pub(super) struct Sampler {
    sampling: Sampling,
    /// Thousandths of a token.
    tokens: u64,
    filled: Tick,
}

/// A quiet time saves up for so many seconds.
const BURST_S: u64 = 10;
const MILLI: u64 = 1_000;

impl Sampler {
    pub(super) fn new(sampling: Sampling, now: Tick) -> Self {
        Self {
            sampling,
            tokens: u64::from(sampling.keep_per_second) * BURST_S * MILLI,
            filled: now,
        }
    }

    /// Whether a request leaves a trace, and why. `under_us` is the strictest latency SLO of its route.
    pub(super) fn keep(
        &mut self,
        record: &Record<'_>,
        under_us: Option<u64>,
        now: Tick,
    ) -> Option<Kept> {
        let low = low_half(record.trace_id)?;
        if record.parent_id.is_empty() {
            if self.sampling.share.is_sampled(low) {
                return Some(Kept::Ratio);
            }
        } else if record.sampled {
            return Some(Kept::Parent);
        }
        let why = self.worth(record, under_us)?;
        self.refill(now);
        self.tokens = self.tokens.checked_sub(MILLI)?;
        Some(why)
    }

    fn worth(&self, record: &Record<'_>, under_us: Option<u64>) -> Option<Kept> {
        let longer = |limit: u64| record.duration_us > limit;
        let slow = self.sampling.slow.map(|slow| slow.as_micros() as u64);
        match record.outcome {
            Outcome::Bad(_) => Some(Kept::Error),
            Outcome::Good if under_us.is_some_and(longer) => Some(Kept::Slo),
            Outcome::Good if slow.is_some_and(longer) => Some(Kept::Slow),
            // What is excluded is the client's doing: no error of ours, nor slow because of us.
            Outcome::Good | Outcome::Excluded(_) => None,
        }
    }

    fn refill(&mut self, now: Tick) {
        let rate = u64::from(self.sampling.keep_per_second);
        let millis = now.micros_since(self.filled) / 1_000;
        self.filled = self.filled.plus(Duration::from_millis(millis));
        self.tokens = self
            .tokens
            .saturating_add(millis.saturating_mul(rate))
            .min(rate * BURST_S * MILLI);
    }
}

/// The number that a trace id ends in; `None` when the request was never given one.
fn low_half(trace_id: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(trace_id.get(16..32)?).ok()?;
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::super::record::{records, tests::buffer};
    use super::*;
    use crate::model::Fault;

    const PARENT: &str = "00f067aa0ba902b7";

    fn sampler(share: f64, keep_per_second: u32) -> Sampler {
        let sampling = Sampling {
            share: TraceShare::new(share),
            keep_per_second,
            slow: Some(Duration::from_secs(2)),
        };
        Sampler::new(sampling, Tick::default())
    }

    fn kept(
        sampler: &mut Sampler,
        outcome: Outcome,
        duration_us: u64,
        parent: &str,
        marked: bool,
    ) -> Option<Kept> {
        let buffer = buffer(outcome, Some(200), duration_us, parent, marked);
        let record = records(&buffer).next().unwrap();
        sampler.keep(&record, Some(300_000), Tick::default())
    }

    #[test]
    fn a_parents_decision_holds_and_the_share_is_for_traces_that_begin_here() {
        let good = Outcome::Good;
        assert_eq!(
            kept(&mut sampler(0.0, 0), good, 1, PARENT, true),
            Some(Kept::Parent)
        );
        assert_eq!(kept(&mut sampler(1.0, 0), good, 1, PARENT, false), None);
        assert_eq!(
            kept(&mut sampler(1.0, 0), good, 1, "", true),
            Some(Kept::Ratio)
        );
        assert_eq!(kept(&mut sampler(0.0, 0), good, 1, "", true), None);
    }

    #[test]
    fn bad_and_slow_requests_are_kept_whatever_was_decided() {
        let bad = Fault::UpstreamReset.outcome();
        let left = Fault::ClientDisconnect.outcome();
        for (outcome, duration_us, wanted) in [
            (bad, 1, Some(Kept::Error)),
            (Outcome::Good, 300_000, None),
            (Outcome::Good, 300_001, Some(Kept::Slo)),
            (left, 9_000_000, None),
        ] {
            for parent in ["", PARENT] {
                assert_eq!(
                    kept(&mut sampler(0.0, 10), outcome, duration_us, parent, false),
                    wanted
                );
            }
        }
        let buffer = buffer(Outcome::Good, Some(200), 2_000_001, "", true);
        let record = records(&buffer).next().unwrap();
        assert_eq!(
            sampler(0.0, 10).keep(&record, None, Tick::default()),
            Some(Kept::Slow)
        );
    }

    #[test]
    fn an_outage_keeps_no_more_than_the_bucket_holds() {
        let mut sampler = sampler(0.0, 3);
        let bad = Fault::UpstreamReset.outcome();
        let buffer = buffer(bad, Some(502), 1, "", true);
        let record = records(&buffer).next().unwrap();
        let mut kept = |second: u64| {
            let now = Tick::from_micros(second * 1_000_000);
            (0..1_000)
                .filter(|_| sampler.keep(&record, None, now).is_some())
                .count()
        };
        assert_eq!(
            (kept(0), kept(0), kept(1), kept(3), kept(1_000)),
            (30, 0, 3, 6, 30)
        );
    }
}
