//! What a receiver was told, and what it should hear next.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::Timestamp;
use crate::slo::alert::{AlertKind, AlertState};
use crate::slo::policy::{Severity, Tier};
use crate::snapshot::{AlertView, RouteView, Series, Snapshot};
use crate::triage::Verdict;

/// What has become of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It fires.
    Firing,
    /// It no longer does.
    Resolved,
}

impl Status {
    /// Its word in JSON and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// One alert, as it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The alert's id, stable.
    pub id: String,
    /// What has become of it.
    pub status: Status,
    /// What it has noticed.
    #[serde(default)]
    pub kind: AlertKind,
    /// What it is about, in a word.
    #[serde(default)]
    pub about: String,
    /// The SLO it is about; empty when about none.
    pub slo: String,
    /// The route it is about; empty when about none or all.
    pub route: String,
    /// Several routes together that it is about: `upstream:web`, `owner:payments`, `ingress`; empty otherwise.
    #[serde(default)]
    pub scope: String,
    /// Who answers for the route.
    pub owner: Option<String>,
    /// `page` or `ticket`.
    pub severity: Severity,
    /// How fast the budget burns; `None` when no budget is concerned.
    pub tier: Option<Tier>,
    /// When it began to fire.
    pub since: Timestamp,
    /// When it ended; `None` while it fires.
    pub until: Option<Timestamp>,
    /// Burn over the long window; `None` where nothing was valid.
    pub burn_long: Option<f64>,
    /// Burn over the short window; `None` where nothing was valid.
    pub burn_short: Option<f64>,
    /// The burn rate both exceeded; `None` when no budget is concerned.
    pub factor: Option<f64>,
    /// Where a person finds what to do.
    pub runbook: Option<String>,
    /// The verdict's sentence when that is about the same route, else one about the alert alone.
    pub text: String,
}

/// What is known now, of what a notice is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present<'a> {
    pub(super) at: Timestamp,
    pub(super) started_at: Timestamp,
    pub(super) alerts: &'a [AlertView],
    pub(super) routes: &'a [RouteView],
    /// Worst first.
    pub(super) verdicts: [&'a [Verdict]; 2],
}

impl<'a> From<&'a Snapshot> for Present<'a> {
    fn from(snapshot: &'a Snapshot) -> Self {
        Self {
            at: snapshot.at,
            started_at: snapshot.started_at,
            alerts: &snapshot.alerts,
            routes: &snapshot.routes,
            verdicts: [
                std::slice::from_ref(&snapshot.verdict),
                &snapshot.other_verdicts,
            ],
        }
    }
}

/// What one receiver believes to be firing, by the alert's id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Ledger(BTreeMap<String, Notice>);

impl Ledger {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn firing(&self) -> impl Iterator<Item = &Notice> {
        self.0.values()
    }

    /// What the receiver does not know yet: what fires, and what no longer does. The loudest first.
    pub(super) fn news(&self, present: Present<'_>, severities: &[Severity]) -> Vec<Notice> {
        let wanted = |alert: &&AlertView| severities.contains(&alert.severity);
        let mut news: Vec<Notice> = present
            .alerts
            .iter()
            .filter(wanted)
            .filter(|alert| alert.state == AlertState::Firing && !self.0.contains_key(&alert.id))
            .map(|alert| firing(alert, present))
            .collect();
        for told in self.0.values() {
            let now = present.alerts.iter().find(|alert| alert.id == told.id);
            let (until, text) = match now {
                // Pending after firing: it held a moment ago and may hold again, which is not worth a word.
                Some(alert) if matches!(alert.state, AlertState::Firing | AlertState::Pending) => {
                    continue;
                }
                Some(alert) if alert.state == AlertState::Resolved => {
                    (alert.since, ending(told, present))
                }
                _ if is_young(present) => continue,
                _ => (present.at, format!("{} does not fire any more", told.id)),
            };
            news.push(Notice {
                status: Status::Resolved,
                until: Some(until),
                text,
                ..told.clone()
            });
        }
        news.sort_by_key(|notice| (notice.severity != Severity::Page, notice.since));
        news
    }
}

/// Leaves out what an outage of the whole ingress makes superfluous: one page, not one for each route. It is told when
/// the outage is over and it still fires. So that the outage is known in time, a route's alert waits for a moment.
///
/// `severities` are those that the receiver hears of.
///
/// What is silenced is told when the silence is over and it still fires; its end is told to who knew of it.
pub(super) fn hold_back(notices: &mut Vec<Notice>, present: Present<'_>, severities: &[Severity]) {
    let Present { at, alerts, .. } = present;
    let is_silenced = |notice: &Notice| {
        let alert = alerts.iter().find(|alert| alert.id == notice.id);
        alert.is_some_and(|alert| alert.silenced_by.is_some())
    };
    let goes_on = |alert: &AlertView| {
        alert.kind == AlertKind::Outage
            && matches!(alert.state, AlertState::Firing | AlertState::Pending)
    };
    let is_out = alerts.iter().any(goes_on);
    // Whoever was woken for a route's budget need not be woken for its errors.
    let burns = |route: &str| {
        let fires = |alert: &AlertView| {
            alert.kind == AlertKind::Burn
                && alert.severity == Severity::Page
                && alert.state == AlertState::Firing
        };
        alerts
            .iter()
            .any(|alert| fires(alert) && alert.route == route)
    };
    // Who hears of no pages was not told of any.
    let is_paged = severities.contains(&Severity::Page);
    // What is about several routes is told by the page about the one that spends it, while that fires.
    let is_told = |slo: &str| {
        let verdicts = present.verdicts.into_iter().flatten();
        let mut with_it = verdicts
            .filter(|verdict| verdict.slos.iter().any(|it| it == slo))
            .flat_map(|verdict| &verdict.slos);
        with_it.any(|other| {
            alerts.iter().any(|alert| {
                alert.slo == *other
                    && !alert.route.is_empty()
                    && alert.kind == AlertKind::Burn
                    && alert.severity == Severity::Page
                    && alert.state == AlertState::Firing
                    && alert.silenced_by.is_none()
            })
        })
    };
    notices.retain(|notice| {
        let is_said = (notice.kind == AlertKind::Surge && burns(&notice.route))
            || (is_paged && !notice.scope.is_empty() && is_told(&notice.slo));
        notice.status != Status::Firing || !is_said
    });
    notices.retain(|notice| {
        let of_route = matches!(notice.kind, AlertKind::Burn | AlertKind::Surge);
        let may_be_out = is_out || at.since(notice.since) < LOOK;
        notice.status != Status::Firing || !(is_silenced(notice) || (of_route && may_be_out))
    });
}

/// For whoever looks once a second at the ingress as a whole to have looked.
const LOOK: Duration = Duration::from_secs(2);

/// How an alert's end is said of what it was about.
fn ending(told: &Notice, present: Present<'_>) -> String {
    let about = &told.about;
    let successor = present.alerts.iter().find(|alert| {
        alert.kind == told.kind && alert.about == *about && alert.state == AlertState::Firing
    });
    let how = match (told.kind, successor) {
        (AlertKind::Certificate, Some(next)) => {
            let (next, told) = (next.severity.as_str(), told.severity.as_str());
            return format!(
                "{about} still has no good certificate: a {next} has taken this {told}'s place"
            );
        }
        (AlertKind::Certificate, None) => "has a good certificate",
        (AlertKind::Burn, _) => "no longer burns too fast",
        (AlertKind::Surge, _) => "no longer fails more than usual",
        (AlertKind::Slowdown, _) => "no longer grows slower by the day",
        (AlertKind::NoData, _) => {
            let mut routes = present.routes.iter();
            let route = routes.find(|route| route.id == told.route);
            if route.is_some_and(|route| got_requests(&route.series, told.since)) {
                "gets requests again"
            } else {
                "is not missed any more"
            }
        }
        (AlertKind::Outage, _) => "is no longer out",
        (AlertKind::Degraded | AlertKind::Crash, _) => "works again",
    };
    format!("{about} {how}")
}

/// Whether there were requests in a column that ends after `since`.
fn got_requests(series: &Series, since: Timestamp) -> bool {
    let start = series.start.as_secs();
    (1..).zip(&series.requests).any(|(columns, requests)| {
        start + columns * series.step_s > since.as_secs() && requests.is_some_and(|count| count > 0)
    })
}

/// After a start it takes a moment until what still burns is known to fire again. An alert that is not there before that
/// has not ended.
fn is_young(present: Present<'_>) -> bool {
    present.at.since(present.started_at).as_secs() < SETTLE
}

/// Seconds after a start in which nothing is taken back merely because it is not there.
const SETTLE: u64 = 330;

fn firing(alert: &AlertView, present: Present<'_>) -> Notice {
    // The verdict on a route knows more than an alert about it; what is no route's says itself what is the matter.
    let about_it = |verdict: &&Verdict| {
        verdict.route.as_ref() == Some(&alert.route) || verdict.slos.contains(&alert.slo)
    };
    let verdict = match alert.kind {
        AlertKind::Burn | AlertKind::Surge => present.verdicts.into_iter().flatten().find(about_it),
        AlertKind::NoData
        | AlertKind::Slowdown
        | AlertKind::Outage
        | AlertKind::Certificate
        | AlertKind::Degraded
        | AlertKind::Crash => None,
    };
    let text = verdict.map_or(&alert.text, |verdict| &verdict.text).clone();
    Notice {
        id: alert.id.clone(),
        status: Status::Firing,
        kind: alert.kind,
        about: alert.about.clone(),
        slo: alert.slo.clone(),
        route: alert.route.clone(),
        scope: alert.scope.clone(),
        owner: alert.owner.clone(),
        severity: alert.severity,
        tier: alert.tier,
        since: alert.since,
        until: None,
        burn_long: alert.burn_long,
        burn_short: alert.burn_short,
        factor: alert.factor,
        runbook: alert.runbook.clone(),
        text,
    }
}

/// The ledgers of all receivers, by their names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Book(BTreeMap<String, Ledger>);

/// The largest file that is read back.
const MAX_FILE: u64 = 64 << 20;

impl Book {
    pub(super) fn of(&self, receiver: &str) -> Ledger {
        self.0.get(receiver).cloned().unwrap_or_default()
    }

    pub(super) fn note(&mut self, receiver: &str, notices: &[Notice]) {
        let ledger = self.0.entry(receiver.to_owned()).or_default();
        for notice in notices {
            match notice.status {
                Status::Firing => drop(ledger.0.insert(notice.id.clone(), notice.clone())),
                Status::Resolved => drop(ledger.0.remove(&notice.id)),
            }
        }
    }
}

/// What was saved; empty when nothing ever was.
pub(super) fn load<T: Default + DeserializeOwned>(path: &Path) -> io::Result<T> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Replaces what was saved, whole or not at all.
pub(super) fn save(value: &impl Serialize, path: &Path) -> io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Window;

    fn alert(id: &str, severity: Severity, state: AlertState) -> AlertView {
        AlertView {
            id: id.to_owned(),
            kind: AlertKind::Burn,
            about: "s".to_owned(),
            slo: "s".to_owned(),
            route: "r".to_owned(),
            scope: String::new(),
            owner: None,
            severity,
            tier: Some(Tier::Fast),
            state,
            since: Timestamp::from_secs(1_000),
            long: Some(Window::hours(1)),
            short: Some(Window::hours(1)),
            burn_long: Some(20.0),
            burn_short: Some(30.0),
            factor: Some(14.4),
            runbook: None,
            text: String::new(),
            silenced_by: None,
        }
    }

    fn present(alerts: &[AlertView]) -> Present<'_> {
        Present {
            at: Timestamp::from_secs(10_000),
            started_at: Timestamp::from_secs(0),
            alerts,
            routes: &[],
            verdicts: [&[], &[]],
        }
    }

    const ALL: [Severity; 2] = [Severity::Page, Severity::Ticket];

    fn words(news: &[Notice]) -> Vec<(&str, Status)> {
        news.iter()
            .map(|notice| (notice.id.as_str(), notice.status))
            .collect()
    }

    #[test]
    fn what_fires_is_told_once_and_its_end_once() {
        use AlertState::{Firing, Inactive, Pending, Resolved};
        let mut book = Book::default();
        let mut told = Vec::new();
        for state in [
            Pending, Firing, Firing, Resolved, Firing, Pending, Firing, Inactive, Inactive,
        ] {
            let now = [alert("a", Severity::Page, state)];
            let news = book.of("x").news(present(&now), &ALL);
            told.extend(news.iter().map(|notice| notice.status));
            book.note("x", &news);
        }
        let expected = [
            Status::Firing,
            Status::Resolved,
            Status::Firing,
            Status::Resolved,
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn an_end_says_no_more_than_is_known() {
        use AlertState::{Firing, Resolved};
        let one = |id: &str, kind, severity, state| AlertView {
            kind,
            about: "shop".to_owned(),
            ..alert(id, severity, state)
        };
        let end = |kind, others: &[AlertView]| {
            let ticket = |state| one("x", kind, Severity::Ticket, state);
            let mut book = Book::default();
            book.note("x", &book.of("x").news(present(&[ticket(Firing)]), &ALL));
            let now = [&[ticket(Resolved)], others].concat();
            let news = book.of("x").news(present(&now), &[]);
            news[0].text.clone()
        };
        let page = one("y", AlertKind::Certificate, Severity::Page, Firing);
        let replaced = "shop still has no good certificate: a page has taken this ticket's place";
        assert_eq!(
            end(AlertKind::Certificate, std::slice::from_ref(&page)),
            replaced
        );
        let past = AlertView {
            state: Resolved,
            ..page.clone()
        };
        let elsewhere = AlertView {
            about: "web".to_owned(),
            ..page
        };
        assert_eq!(
            end(AlertKind::Certificate, &[past, elsewhere]),
            "shop has a good certificate"
        );
        assert_eq!(end(AlertKind::NoData, &[]), "shop is not missed any more");
    }

    #[test]
    fn requests_after_a_silence_are_told_from_those_before() {
        let series = |requests: [u64; 3]| Series {
            start: Timestamp::from_secs(600),
            step_s: 60,
            requests: requests.map(Some).to_vec(),
            ..Series::default()
        };
        for (requests, came) in [([9, 0, 0], false), ([0, 0, 1], true), ([9, 1, 0], true)] {
            let series = series(requests);
            assert_eq!(
                got_requests(&series, Timestamp::from_secs(690)),
                came,
                "{requests:?}"
            );
        }
    }

    #[test]
    fn pages_come_before_tickets_and_unwanted_severities_not_at_all() {
        let now = [
            alert("t", Severity::Ticket, AlertState::Firing),
            alert("p", Severity::Page, AlertState::Firing),
        ];
        let all = Ledger::default().news(present(&now), &ALL);
        assert_eq!(words(&all), [("p", Status::Firing), ("t", Status::Firing)]);
        let pages = Ledger::default().news(present(&now), &[Severity::Page]);
        assert_eq!(words(&pages), [("p", Status::Firing)]);
    }

    #[test]
    fn an_outage_is_one_page_and_routes_are_told_when_it_is_over() {
        let burns = |id| alert(id, Severity::Page, AlertState::Firing);
        let mut outage = alert("outage:ingress", Severity::Page, AlertState::Pending);
        outage.kind = AlertKind::Outage;
        let mut told = Vec::new();
        for state in [
            AlertState::Pending,
            AlertState::Firing,
            AlertState::Resolved,
        ] {
            outage.state = state;
            let now = [outage.clone(), burns("a"), burns("b")];
            let mut news = Ledger::default().news(present(&now), &ALL);
            hold_back(
                &mut news,
                present(&now),
                &[Severity::Page, Severity::Ticket],
            );
            told.push(news.into_iter().map(|notice| notice.id).collect::<Vec<_>>());
        }
        assert_eq!(
            told,
            [
                vec![],
                vec!["outage:ingress".to_owned()],
                vec!["a".to_owned(), "b".to_owned()]
            ]
        );
    }

    #[test]
    fn a_surge_of_a_route_whose_budget_pages_already_wakes_nobody_again() {
        let mut surge = alert("surge:r", Severity::Page, AlertState::Firing);
        surge.kind = AlertKind::Surge;
        let burn = alert("a", Severity::Page, AlertState::Firing);
        let mut elsewhere = burn.clone();
        elsewhere.route = "other".to_owned();
        for (burning, told) in [(burn, vec!["a"]), (elsewhere, vec!["surge:r", "a"])] {
            let now = [surge.clone(), burning];
            let mut news = Ledger::default().news(present(&now), &ALL);
            hold_back(
                &mut news,
                present(&now),
                &[Severity::Page, Severity::Ticket],
            );
            let ids: Vec<&str> = news.iter().map(|notice| notice.id.as_str()).collect();
            assert_eq!(ids, told);
        }
    }

    #[test]
    fn a_restart_neither_repeats_nor_takes_back_what_still_burns() {
        let firing = [alert("a", Severity::Page, AlertState::Firing)];
        let mut book = Book::default();
        let news = book.of("x").news(present(&firing), &ALL);
        book.note("x", &news);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify.json");
        save(&book, &path).unwrap();
        let book: Book = load(&path).unwrap();

        let mut young = present(&[]);
        young.started_at = Timestamp::from_secs(9_995);
        assert_eq!(book.of("x").news(young, &ALL), []);
        assert_eq!(book.of("x").news(present(&firing), &ALL), []);
        assert_eq!(
            words(&book.of("x").news(present(&[]), &ALL)),
            [("a", Status::Resolved)]
        );
    }

    #[test]
    fn what_was_never_saved_is_empty_and_what_is_broken_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify.json");
        assert_eq!(load::<Book>(&path).unwrap(), Book::default());
        std::fs::write(&path, "{").unwrap();
        assert!(load::<Book>(&path).is_err());
    }
}
