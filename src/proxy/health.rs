//! Active health checks: a question of our own, asked of every endpoint again and again.
//!
//! They run on the control thread, once for the process, and never count as traffic. Their answer reaches the workers as
//! one flag per endpoint. An endpoint that is down is tried last, not never: when no other can be connected to, trying it
//! is better than answering 503, so a check that is wrong cannot take a whole upstream away, and a lone endpoint keeps its
//! traffic.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use super::balance::Chance;
use super::config::{HealthCheck, Probe};
use super::generation::Generation;
use crate::clock::{Clock as _, SystemClock, Tick};
use crate::net::connect::{Target, connect};
use crate::net::http1;

/// What the checks of one endpoint have found. Written by its check.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Read by every worker for every request, so it is one atomic flag; nothing is ordered by it.
    down: AtomicBool,
    /// Read by the control thread only, which must miss none of several within a second.
    changes: AtomicU64,
    /// Written and read on the control thread only, so nobody ever waits for it.
    failed: Mutex<Option<Arc<str>>>,
}

impl Standing {
    pub(super) fn set(&self, up: bool) {
        if self.down.swap(!up, Ordering::Relaxed) == up {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the checks say that it does not answer. Before the first few, it is believed to.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    fn fail(&self, why: &str) {
        // Nothing that can panic is done while it is held.
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        *failed = Some(why.into());
    }

    /// Everything that the checks have found.
    pub(super) fn checked(&self) -> Checked {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        Checked {
            up: !self.is_down(),
            changes: self.changes.load(Ordering::Relaxed),
            failed: failed.clone(),
        }
    }
}

/// What the checks of one endpoint have found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Whether it answers.
    pub up: bool,
    /// How often that has changed since these checks began.
    pub changes: u64,
    /// Why a check failed last, in one line; `None`: none has.
    pub failed: Option<Arc<str>>,
}

/// The checks of one generation. Dropping them ends them.
#[derive(Debug, Default)]
pub struct Checks(JoinSet<()>);

impl Checks {
    /// Starts the checks that a generation asks for, on the runtime that this is called on.
    pub fn start(generation: &Generation, clock: SystemClock) -> Self {
        let mut tasks = JoinSet::new();
        for upstream in &generation.upstreams {
            let Some(check) = &upstream.upstream.health else {
                continue;
            };
            for endpoint in &upstream.endpoints {
                if let Some(standing) = &endpoint.standing {
                    tasks.spawn(
                        Check {
                            asks: check.clone(),
                            target: endpoint.target.clone(),
                            authority: endpoint.authority.clone(),
                            address: endpoint.address.clone(),
                            standing: Arc::clone(standing),
                            chance: Chance::new(
                                clock.tick().micros_since(Tick::default())
                                    ^ ((endpoint.key.index() as u64) << 32),
                            ),
                        }
                        .run(),
                    );
                }
            }
        }
        Self(tasks)
    }

    /// How many endpoints are checked.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

struct Check {
    asks: HealthCheck,
    target: Target,
    authority: String,
    address: String,
    standing: Arc<Standing>,
    chance: Chance,
}

impl Check {
    async fn run(mut self) {
        let mut judge = Judge::new(!self.standing.is_down());
        // Not all at once, nor long after the start: within a second or an interval.
        let first = self.asks.interval.min(Duration::from_secs(1));
        tokio::time::sleep(first.mul_f64(self.chance.share())).await;
        loop {
            let asked = ask(&self.target, &self.asks.probe, &self.authority);
            let answer = match tokio::time::timeout(self.asks.timeout, asked).await {
                Ok(answer) => answer,
                Err(_elapsed) => Err("no answer in time".to_owned()),
            };
            if let Err(why) = &answer {
                tracing::debug!(endpoint = self.address, why, "a health check failed");
                self.standing.fail(why);
            }
            if let Some(up) = judge.takes(answer.is_ok(), self.asks.rise, self.asks.fall) {
                self.standing.set(up);
            }
            // A tenth more or less, so that many instances do not fall into step.
            let share = 0.9 + 0.2 * self.chance.share();
            tokio::time::sleep(self.asks.interval.mul_f64(share)).await;
        }
    }
}

/// Asks once.
async fn ask(target: &Target, probe: &Probe, authority: &str) -> Result<(), String> {
    let mut stream = connect(target).await.map_err(|error| error.to_string())?;
    let path = match probe {
        Probe::Tcp => return Ok(()),
        Probe::Http { path } => path,
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: vestibule-health\r\nconnection: close\r\n\r\n"
    );
    let sent = stream.write_all(request.as_bytes()).await;
    sent.map_err(|error| error.to_string())?;
    let mut read = BytesMut::new();
    loop {
        let head = http1::parse_head(&mut read, &Method::GET).map_err(|error| error.to_string())?;
        match head {
            Some(head) if head.status.is_informational() => {}
            Some(head) if head.status.is_success() || head.status.is_redirection() => return Ok(()),
            Some(head) => return Err(format!("it answered {}", head.status.as_u16())),
            None => {
                let count = stream.read_buf(&mut read).await;
                if count.map_err(|error| error.to_string())? == 0 {
                    return Err("it closed the connection without an answer".to_owned());
                }
            }
        }
    }
}

/// Turns single answers into a standing: so many alike in a row change it.
#[derive(Clone, Copy, Debug)]
struct Judge {
    up: bool,
    /// Answers in a row that speak against the standing.
    against: u32,
}

impl Judge {
    fn new(up: bool) -> Self {
        Self { up, against: 0 }
    }

    /// The new standing, if it is one.
    fn takes(&mut self, good: bool, rise: u32, fall: u32) -> Option<bool> {
        if good == self.up {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let needed = if self.up { fall } else { rise };
        (self.against >= needed).then(|| {
            *self = Self::new(good);
            good
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn so_many_answers_in_a_row_change_the_standing() {
        let mut judge = Judge::new(true);
        let answers = [
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(false)),
            (false, None),
            (true, None),
            (false, None),
            (true, None),
            (true, Some(true)),
        ];
        for (at, (good, changed)) in answers.into_iter().enumerate() {
            assert_eq!(judge.takes(good, 2, 3), changed, "answer {at}");
        }
    }

    #[test]
    fn each_change_of_a_standing_is_counted_and_nothing_else() {
        let standing = Standing::default();
        for (up, changes) in [(true, 0), (false, 1), (false, 1), (true, 2), (false, 3)] {
            standing.set(up);
            let checked = standing.checked();
            assert_eq!((checked.up, checked.changes), (up, changes));
        }
        standing.fail("it answered 503");
        assert_eq!(
            standing.checked().failed.as_deref(),
            Some("it answered 503")
        );
    }

    proptest! {
        /// Between two changes lie at least as many answers as the second of them needs.
        #[test]
        fn a_standing_never_changes_faster_than_it_may(
            answers in prop::collection::vec(any::<bool>(), 0..200),
            rise in 1_u32..6,
            fall in 1_u32..6,
        ) {
            let (mut judge, mut since) = (Judge::new(true), 0);
            for good in answers {
                since += 1;
                if let Some(up) = judge.takes(good, rise, fall) {
                    prop_assert_eq!(up, good);
                    let needed = if up { rise } else { fall };
                    prop_assert!(since >= needed);
                    since = 0;
                }
            }
        }
    }
}
