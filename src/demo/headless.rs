//! The demo without a screen: one line per change.

use std::io::{self, Write};
use std::sync::Arc;

use tokio::sync::watch;

use crate::model::Timestamp;
use crate::snapshot::Snapshot;
use crate::triage::Level;

/// Prints events and changes of the verdict until nobody publishes any more, or nobody reads.
pub(super) async fn print(mut watched: watch::Receiver<Option<Arc<Snapshot>>>) {
    let (mut last_event, mut last_verdict) = (Timestamp::default(), None);
    loop {
        let snapshot = watched.borrow_and_update().clone();
        if let Some(snapshot) = snapshot
            && tell(&snapshot, &mut last_event, &mut last_verdict).is_err()
        {
            return;
        }
        if watched.changed().await.is_err() {
            return;
        }
    }
}

/// What makes a verdict another one: not its numbers, which change every second.
type Gist = (Level, Option<String>, Option<Timestamp>, bool);

fn tell(
    snapshot: &Snapshot,
    last_event: &mut Timestamp,
    last_verdict: &mut Option<Gist>,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let news: Vec<_> = snapshot
        .events
        .iter()
        .take_while(|event| event.at > *last_event)
        .collect();
    for event in news.iter().rev() {
        writeln!(
            out,
            "{}Z  {:<8} {}",
            event.at.time_of_day(),
            event.kind.as_str(),
            event.text
        )?;
    }
    if let Some(newest) = news.first() {
        *last_event = newest.at;
    }
    let verdict = &snapshot.verdict;
    let gist = (
        verdict.severity,
        verdict.route.clone(),
        verdict.onset,
        verdict.suspect.is_some(),
    );
    if last_verdict.as_ref() != Some(&gist) {
        writeln!(
            out,
            "{}Z  verdict  {}",
            snapshot.at.time_of_day(),
            verdict.text
        )?;
        *last_verdict = Some(gist);
    }
    out.flush()
}
