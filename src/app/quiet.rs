//! Silences and windows of deploys: kept by the daemon, beside the history.
//!
//! They are leases: one that crashed has forgotten what was agreed, so everybody is told of everything again. What
//! deploys spent is a fact, and stays.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Tally, Timestamp};
use crate::sli::blame::DeployPhase;
use crate::slo::alert::AlertStatus;
use crate::slo::booking::{Booking, Bookings};
use crate::slo::silence::{Silence, Silences, Subject};

/// The file in the state directory.
const FILE: &str = "silences.json";
/// The largest file that is read back.
const MAX_FILE: u64 = 8 << 20;

/// For so long after a deploy, or its window, its errors are told apart.
const AFTER: Duration = Duration::from_secs(3_600);

/// What is on purpose.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    kept: Kept,
    /// Where it is kept; `None`: nowhere.
    path: Option<PathBuf>,
    /// Why it could not be written.
    trouble: Option<String>,
}

/// As it lies on disk.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    silences: Silences,
    deploys: Bookings,
}

/// What ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Silences whose time is over, windows of deploys apart.
    pub(super) silences: Vec<Silence>,
    /// Windows of deploys, with what was spent in them.
    pub(super) deploys: Vec<Booking>,
}

impl Quiet {
    /// Takes up what is kept in `dir`. After a crash silences have lapsed; they are the second value.
    pub(super) fn load(dir: &Path, crashed: bool) -> (Self, Vec<Silence>) {
        let path = dir.join(FILE);
        let mut quiet = Self::default();
        match read(&path) {
            Ok(kept) => quiet.kept = kept,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "silences are not known and have lapsed");
            }
        }
        quiet.path = Some(path);
        let mut lapsed = Vec::new();
        if crashed {
            lapsed.extend(quiet.kept.silences.iter().cloned());
            quiet.kept.silences = Silences::default();
            quiet.save();
        }
        (quiet, lapsed)
    }

    /// The silences in force.
    pub(super) const fn silences(&self) -> &Silences {
        &self.kept.silences
    }

    /// What deploys spent, newest first.
    pub(super) fn deploys(&self) -> impl Iterator<Item = &Booking> {
        self.kept.deploys.iter()
    }

    /// How `now` lies to the deploys of an upstream, the last of which was `deployed`.
    pub(super) fn phase(
        &self,
        upstream: &str,
        deployed: Option<Timestamp>,
        now: Timestamp,
    ) -> DeployPhase {
        let own = || self.deploys().filter(|it| it.upstream == upstream);
        let ended = own().map(|it| it.until.unwrap_or(it.from)).max();
        let Some(newest) = ended.max(deployed) else {
            return DeployPhase::Before;
        };
        if own().any(|it| it.from <= now && it.until.is_none_or(|until| now < until)) {
            DeployPhase::InWindow
        } else if newest > now {
            // What was counted late, before the deploy.
            DeployPhase::Before
        } else if now.since(newest) < AFTER {
            DeployPhase::HourAfter
        } else {
            DeployPhase::Later
        }
    }

    /// Changes what is in force, and keeps it.
    pub(super) fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Silences, &mut Bookings) -> T,
    ) -> T {
        let changed = change(&mut self.kept.silences, &mut self.kept.deploys);
        self.save();
        changed
    }

    /// A second is over: what has ended by now. `read` is an SLO's counter.
    pub(super) fn second(&mut self, now: Timestamp, read: impl Fn(&str) -> Option<Tally>) -> Ended {
        let Kept { silences, deploys } = &mut self.kept;
        let over = silences.lapse(now);
        let is_open = |id: &str| silences.iter().any(|silence| silence.id == id);
        let closed = if deploys.has_open() {
            deploys.close(now, is_open, read)
        } else {
            Vec::new()
        };
        if !over.is_empty() || !closed.is_empty() {
            self.save();
        }
        let by_people = over.into_iter().filter(|silence| silence.deploy.is_none());
        Ended {
            silences: by_people.collect(),
            deploys: closed,
        }
    }

    /// The silence that keeps an alert from being told.
    pub(super) fn muting(
        &self,
        alert: &AlertStatus,
        owner: Option<&str>,
        now: Timestamp,
    ) -> Option<&Silence> {
        self.kept.silences.muting(&subject(alert, owner), now)
    }

    /// Why it could not be kept; `None`: it is.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    fn save(&mut self) {
        let Some(path) = &self.path else { return };
        let written = write(path, &self.kept);
        self.trouble = written
            .err()
            .map(|error| format!("silences cannot be kept in {}: {error}", path.display()));
    }
}

fn subject<'a>(alert: &'a AlertStatus, owner: Option<&'a str>) -> Subject<'a> {
    Subject {
        kind: alert.kind,
        severity: alert.severity,
        tier: alert.burn.map(|burn| burn.row.tier),
        slo: alert.slo.as_deref().unwrap_or_default(),
        route: alert.route.as_deref().unwrap_or_default(),
        scope: alert.scope.as_deref().unwrap_or_default(),
        owner: owner.unwrap_or_default(),
        about: &alert.about,
    }
}

/// What deploys spent, as it is kept in `dir`, newest first.
pub(super) fn booked(dir: &Path) -> io::Result<Vec<Booking>> {
    Ok(read(&dir.join(FILE))?.deploys.iter().cloned().collect())
}

fn read(path: &Path) -> io::Result<Kept> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Replaces what was kept, whole or not at all.
fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(kept)?)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::silence::Wish;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn silenced(dir: &Path) -> Quiet {
        let (mut quiet, lapsed) = Quiet::load(dir, false);
        assert_eq!(lapsed, []);
        let wish = Wish {
            matchers: vec!["slo=a".parse().unwrap()],
            seconds: 60,
            owner: "ada".to_owned(),
            reason: "x".to_owned(),
        };
        quiet
            .change(|silences, _| silences.add(wish, NOW).cloned())
            .unwrap();
        assert_eq!(quiet.trouble(), None);
        quiet
    }

    #[test]
    fn a_moment_is_before_in_or_after_a_deploy() {
        let mut quiet = Quiet::default();
        let at = Timestamp::from_secs;
        let phase = |quiet: &Quiet, deployed: Option<u64>, now| {
            quiet.phase("shop", deployed.map(at), at(now)).as_str()
        };
        assert_eq!(phase(&quiet, None, 1_000), "before");
        assert_eq!(phase(&quiet, Some(1_000), 999), "before", "counted late");
        assert_eq!(phase(&quiet, Some(1_000), 1_000), "hour_after");
        assert_eq!(phase(&quiet, Some(1_000), 4_600), "later");
        let booking = |upstream: &str, until| Booking {
            id: "1".to_owned(),
            upstream: upstream.to_owned(),
            version: "v2".to_owned(),
            from: at(5_000),
            until,
            slos: Vec::new(),
        };
        quiet.kept.deploys.open(booking("other", None));
        assert_eq!(phase(&quiet, Some(1_000), 5_100), "later");
        quiet.kept.deploys.open(booking("shop", None));
        assert_eq!(phase(&quiet, Some(5_000), 5_100), "in_window");
        quiet = Quiet::default();
        quiet.kept.deploys.open(booking("shop", Some(at(5_600))));
        for (now, expected) in [
            (5_599, "in_window"),
            (5_600, "hour_after"),
            (9_199, "hour_after"),
            (9_200, "later"),
        ] {
            assert_eq!(phase(&quiet, Some(5_000), now), expected, "{now}");
        }
    }

    #[test]
    fn a_silence_outlives_a_stop_and_lapses_with_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        drop(silenced(dir.path()));
        let (quiet, lapsed) = Quiet::load(dir.path(), false);
        assert_eq!((quiet.silences().iter().count(), lapsed.len()), (1, 0));
        let (quiet, lapsed) = Quiet::load(dir.path(), true);
        assert_eq!((quiet.silences().iter().count(), lapsed.len()), (0, 1));
        let (quiet, _) = Quiet::load(dir.path(), false);
        assert_eq!(quiet.silences().iter().count(), 0, "once lapsed, for good");
    }

    #[test]
    fn a_window_over_many_routes_outlives_a_stop_and_is_read_by_clients() {
        let dir = tempfile::tempdir().unwrap();
        let (mut quiet, _) = Quiet::load(dir.path(), false);
        let routes: Vec<String> = (0..40).map(|n| format!("a.long-route_{n}")).collect();
        let open = |silences: &mut Silences, _: &mut Bookings| {
            let names = routes.iter().map(String::as_str);
            let lasts = Duration::from_secs(600);
            let opened = silences.open_window("shop", (names, None), ("ci", "v1"), lasts, NOW);
            opened.cloned().unwrap()
        };
        let window = quiet.change(open);
        let (again, _) = Quiet::load(dir.path(), false);
        assert_eq!(again.silences(), quiet.silences());
        let view = crate::snapshot::SilenceView {
            id: window.id,
            matchers: window.matchers,
            owner: window.owner,
            reason: window.reason,
            from: window.from,
            until: window.until,
            deploy: window.deploy,
            muted: Vec::new(),
        };
        let text = serde_json::to_string(&view).unwrap();
        let read: crate::snapshot::SilenceView = serde_json::from_str(&text).unwrap();
        assert_eq!(read, view);
    }

    #[test]
    fn what_cannot_be_read_mutes_nobody() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        let (quiet, _) = Quiet::load(dir.path(), false);
        assert_eq!(quiet.silences().iter().count(), 0);
    }

    #[test]
    fn its_end_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut quiet = silenced(dir.path());
        let mut ended = |secs| {
            quiet
                .second(Timestamp::from_secs(secs), |_| None)
                .silences
                .len()
        };
        assert_eq!((ended(1_059), ended(1_060), ended(1_061)), (0, 1, 0));
    }
}
