//! Steady handshakes, as clients would make them.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::GamedayError;
use crate::net::examine::{Trust, failure};

/// From one handshake to the next.
const EVERY: Duration = Duration::from_millis(50);
/// For one.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of the handshakes so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) good: u64,
    pub(super) bad: u64,
    /// Why the first bad one was.
    pub(super) first: Option<String>,
}

/// A client that shakes hands twenty times a second until this is dropped; verifies, and never resumes.
#[derive(Debug)]
pub(super) struct Load {
    tally: Rc<RefCell<Tally>>,
    task: AbortHandle,
}

impl Load {
    /// Must be called in a `LocalSet`.
    pub(super) fn start(
        address: SocketAddr,
        host: &str,
        roots: &Path,
    ) -> Result<Self, GamedayError> {
        let told = |error: &dyn std::fmt::Display| GamedayError::Preparation(error.to_string());
        let trust = Trust::load(Some(roots)).map_err(|error| told(&error))?;
        let name = ServerName::try_from(host.to_owned()).map_err(|error| told(&error))?;
        let tally = Rc::new(RefCell::new(Tally::default()));
        let counted = Rc::clone(&tally);
        let task = tokio::task::spawn_local(async move {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                let shaken = tokio::time::timeout(PATIENCE, shake(&trust, address, name.clone()));
                let shaken = shaken
                    .await
                    .unwrap_or_else(|_late| Err("it took 5 s".to_owned()));
                let mut tally = counted.borrow_mut();
                match shaken {
                    Ok(()) => tally.good += 1,
                    Err(why) => {
                        tally.bad += 1;
                        tally.first.get_or_insert(why);
                    }
                }
            }
        });
        Ok(Self {
            tally,
            task: task.abort_handle(),
        })
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally.borrow().clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn shake(
    trust: &Trust,
    address: SocketAddr,
    name: ServerName<'static>,
) -> Result<(), String> {
    let tcp = TcpStream::connect(address).await;
    let tcp = tcp.map_err(|error| error.to_string())?;
    let examined = trust.examine(tcp, name, &[]).await;
    match examined.shaken {
        Ok(_) => Ok(()),
        Err(error) => Err(failure(&error, &examined.chain).as_str().to_owned()),
    }
}
