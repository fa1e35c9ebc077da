//! `vestibule watch`: what changes, as lines, for readers of one line after the other.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use super::{Connect, Exit, complain, runtime, status};
use crate::clock::SystemClock;
use crate::snapshot::Snapshot;
use crate::tui::conn::{Feed, Link, follow};
use crate::tui::fmt;

mod change;

use change::{Change, changes, standing};

#[derive(Debug, Args)]
pub(super) struct WatchArguments {
    #[command(flatten)]
    connect: Connect,
    /// Lines of text, which is the default
    #[arg(long, conflicts_with = "json")]
    plain: bool,
    /// Each line as a JSON object: at, kind, about, state, text
    #[arg(long)]
    json: bool,
    /// End after this long
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    lasts: Option<Duration>,
}

pub(super) fn watch(arguments: &WatchArguments) -> Exit {
    let watched = runtime().and_then(|runtime| runtime.block_on(run(arguments)));
    watched.unwrap_or_else(|error| {
        complain(&error.to_string());
        Exit::Io
    })
}

async fn run(arguments: &WatchArguments) -> io::Result<Exit> {
    let (feed, mut news) = watch::channel(Feed {
        snapshot: None,
        link: Link::Connecting,
    });
    let retry = Arc::new(Notify::new());
    let address = arguments.connect.connect.clone();
    let following = tokio::spawn(follow(address, SystemClock::new(), feed, retry));
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let over = async {
        match arguments.lasts {
            Some(lasts) => tokio::time::sleep(lasts).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    let mut seen = Seen::default();
    let exit = loop {
        tokio::select! {
            _ = interrupt.recv() => break seen.exit(),
            _ = terminate.recv() => break seen.exit(),
            () = &mut over => break seen.exit(),
            changed = news.changed() => {
                if changed.is_err() {
                    break Exit::Io;
                }
            }
        }
        let feed = news.borrow_and_update().clone();
        if let (None, Link::Lost { why, .. }) = (&feed.snapshot, &feed.link) {
            complain(&format!("no daemon answers: {why}"));
            break Exit::Unavailable;
        }
        let lines = seen.take(feed);
        if !lines.iter().all(|change| print(change, arguments.json)) {
            // The reader has gone, which is no failure.
            break Exit::Ok;
        }
    };
    following.abort();
    Ok(exit)
}

/// What was told last.
#[derive(Default)]
struct Seen {
    snapshot: Option<Arc<Snapshot>>,
    /// Whether it was told that the daemon is away.
    is_away: bool,
}

impl Seen {
    /// What there is to tell of `feed`.
    fn take(&mut self, feed: Feed) -> Vec<Change> {
        let mut lines = Vec::new();
        match &feed.link {
            Link::Lost { why, .. } if !self.is_away => {
                self.is_away = true;
                lines.extend(self.snapshot.as_ref().map(|last| {
                    let text = format!("connection lost: {why}; the last data is of {}", last.at);
                    Change::new(last.at, "connection", "", "lost", text)
                }));
            }
            Link::Lost { .. } | Link::Connecting => {}
            Link::Live => {
                let Some((newest, _)) = feed.snapshot else {
                    return lines;
                };
                if std::mem::take(&mut self.is_away) {
                    let text = format!("connected again to {}", newest.instance);
                    lines.push(Change::new(newest.at, "connection", "", "live", text));
                }
                match &self.snapshot {
                    Some(before) => lines.extend(changes(before, &newest)),
                    None => lines.extend(standing(&newest)),
                }
                self.snapshot = Some(newest);
            }
        }
        lines
    }

    fn exit(&self) -> Exit {
        match &self.snapshot {
            Some(snapshot) if !self.is_away => status::exit(snapshot.verdict.severity),
            Some(_) | None => Exit::Unavailable,
        }
    }
}

/// Prints a line; `false` when nobody reads any more.
fn print(change: &Change, as_json: bool) -> bool {
    let Change {
        at,
        kind,
        about,
        state,
        text,
    } = change;
    let line = if as_json {
        json!({ "at": at, "kind": kind, "about": about, "state": state, "text": text }).to_string()
    } else {
        format!("{}Z {}", at.time_of_day(), fmt::visible(text))
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Tick;

    #[test]
    fn a_daemon_that_is_away_is_told_once_and_again_when_it_is_back() {
        let lost = || Link::Lost {
            why: "it hung up".to_owned(),
            attempt: 1,
            retry_at: Tick::from_micros(0),
        };
        let snapshot = Arc::new(change::tests::snapshot());
        let of = |link| Feed {
            snapshot: Some((Arc::clone(&snapshot), Tick::from_micros(0))),
            link,
        };
        let mut seen = Seen::default();
        assert_eq!(seen.exit(), Exit::Unavailable, "nothing was ever seen");
        assert!(!seen.take(of(Link::Live)).is_empty());
        assert_eq!(seen.exit(), Exit::Ok);
        assert_eq!(seen.take(of(Link::Live)), [], "nothing changed");
        let told = seen.take(of(lost()));
        assert_eq!(told.len(), 1);
        assert!(told[0].text.contains("it hung up"), "{told:?}");
        assert_eq!(seen.take(of(lost())), []);
        assert_eq!(seen.exit(), Exit::Unavailable);
        let told = seen.take(of(Link::Live));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].state, "live");
    }
}
