//! From a lane to its receiver, and what an answer means for a batch.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::answer::Answer;
use super::lane::{Lane, Reason};
use super::transport::Transport;
use crate::clock::{Clock as _, SystemClock};

/// Carries one signal.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) lane: Arc<Lane>,
    pub(super) transport: Transport,
    /// For one attempt.
    pub(super) timeout: Duration,
    pub(super) clock: SystemClock,
}

/// A batch in the hands of [`Delivery::run`]: lost with the process unless somebody says otherwise.
struct Held<'a> {
    lane: &'a Lane,
    items: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.lane.lost(Reason::Shutdown, self.items);
    }
}

impl Delivery {
    /// Sends batch after batch until the lane is closed and empty.
    pub(super) async fn run(mut self, mut ends: watch::Receiver<bool>) {
        let lane = Arc::clone(&self.lane);
        while let Some(batch) = lane.next().await {
            let mut held = Held {
                lane: &lane,
                items: batch.items,
            };
            let mut failures = 0;
            loop {
                let answer = tokio::time::timeout(self.timeout, self.transport.send(&batch)).await;
                let answer = answer.unwrap_or_else(|_late| Answer::Later {
                    error: format!("no answer within {:?}", self.timeout),
                    after: None,
                });
                let now = self.clock.now();
                match answer {
                    Answer::Taken { rejected, message } => {
                        if rejected > 0 || !message.is_empty() {
                            tracing::warn!(
                                signal = lane.signal().as_str(),
                                rejected,
                                message,
                                "the OTLP receiver complains"
                            );
                        }
                        lane.sent(now, batch.items, rejected, &message);
                        break;
                    }
                    Answer::Refused { error } => {
                        tracing::warn!(
                            signal = lane.signal().as_str(),
                            items = batch.items,
                            error,
                            "the OTLP receiver refuses"
                        );
                        lane.failed(now, error);
                        lane.lost(Reason::Refused, batch.items);
                        break;
                    }
                    Answer::Later { error, after } => {
                        tracing::debug!(
                            signal = lane.signal().as_str(),
                            error,
                            "an OTLP export is tried again"
                        );
                        lane.failed(now, error);
                        let ending = *ends.borrow();
                        let wait = wait(
                            failures,
                            after,
                            ending,
                            self.clock
                                .tick()
                                .micros_since(crate::clock::Tick::default()),
                        );
                        failures += 1;
                        tokio::select! {
                            () = tokio::time::sleep(wait) => {}
                            // A last try at once; whoever asked for patience gets it even now.
                            _ = ends.changed(), if !ending && after.is_none() => {}
                        }
                        if lane.is_superseded() {
                            break;
                        }
                    }
                }
            }
            held.items = 0;
        }
    }
}

/// How long to wait after so many failures before: twice as long each time, between half of it and all of it, so that
/// many instances do not come back at the same moment. `chance` is any number.
fn wait(failures: u32, after: Option<Duration>, ending: bool, chance: u64) -> Duration {
    let most = if ending { LONGEST_AT_THE_END } else { LONGEST };
    let backoff = FIRST.saturating_mul(1 << failures.min(10)).min(most);
    let mixed = chance.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let share = mixed as f64 / f64::from(1 << 24);
    let jittered = backoff.mul_f64(0.5 + share / 2.0);
    jittered.max(after.unwrap_or_default().min(LONGEST_ASKED))
}

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// While the process waits for its end.
const LONGEST_AT_THE_END: Duration = Duration::from_millis(500);
/// A receiver may ask for so much patience and no more: a wrong number must not end exporting.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_stay_within_bounds_and_respect_the_receiver() {
        for chance in [0, 1, 77, u64::MAX] {
            for failures in [0, 1, 5, 31, u32::MAX] {
                let wait = wait(failures, None, false, chance);
                assert!(wait >= FIRST / 2 && wait <= LONGEST, "{wait:?}");
            }
            let asked = Duration::from_secs(60);
            assert_eq!(wait(0, Some(asked), false, chance), asked);
            assert_eq!(wait(0, Some(Duration::MAX), false, chance), LONGEST_ASKED);
            assert!(wait(9, None, true, chance) <= LONGEST_AT_THE_END);
        }
    }
}
