//! `vestibule slo report`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use crate::app;
use crate::cli::incident::found::{Found, Told};
use crate::cli::outcome::{configured, tell};
use crate::cli::{DEFAULT_FILE, Exit};
use crate::clock::{Clock, SystemClock};
use crate::config::Resolved;
use crate::model::{
    Calendar, CalendarUnit, Event, EventKind, Period, Slo, Span, Tally, Timestamp, Zone,
};
use crate::slo::booking::Booking;
use crate::slo::budget::Budget;
use crate::slo::forecast::expected_remaining_ratio;
use crate::snapshot::Gap;
use crate::store::{History, QueryError, Reader};

mod page;

pub(super) const HELP: &str = "\
Without --at it is the last week or month that is over. A promise was kept when no more than its objective allows was bad in the period;
the budget that is left is that of the SLO's own window at the period's end.

Exit codes:
   0  done, whatever was kept
  64  --at is no day
  74  there is no history, or it cannot be read
  78  the configuration is wrong

Examples:
  vestibule slo report --weekly                                     last week, in universal time
  vestibule slo report --monthly --zone Europe/Berlin               last month, as Berlin has it
  vestibule slo report --weekly --at 2026-11-23 > week.md           the week of that day; of one that goes on, so far
  vestibule slo report --monthly --json | jq .summary";

#[derive(Debug, Args)]
pub(in crate::cli) struct ReportArguments {
    #[command(flatten)]
    unit: Unit,
    /// A day of the period, like 2026-11-23, or a moment [default: the last one that is over]
    #[arg(long, value_name = "DATE")]
    at: Option<String>,
    /// Whose midnight begins a day: an IANA time zone
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: Zone,
    /// The configuration file
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// The state directory whose history is read, instead of the configuration's
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Everything, as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Unit {
    /// A week, from Monday
    #[arg(long)]
    weekly: bool,
    /// A month
    #[arg(long)]
    monthly: bool,
}

/// A week or a month.
#[derive(Debug, Serialize)]
struct Report {
    /// `week` or `month`.
    unit: &'static str,
    zone: String,
    from: Timestamp,
    /// Its end; of a period that goes on, the end of what was counted.
    to: Timestamp,
    /// The period's first day, and its last.
    days: [String; 2],
    /// Whether it is over.
    complete: bool,
    /// The share of the time that was measured.
    measured_ratio: f64,
    /// When the history begins.
    counting_since: Timestamp,
    /// What was not measured, the longest first.
    gaps: Vec<Gap>,
    /// For who reads one line.
    summary: String,
    kept: usize,
    missed: usize,
    /// SLOs of which nothing was counted.
    unknown: usize,
    pages: u64,
    tickets: u64,
    /// Alerts and other events before this moment are no longer kept; `null`: all of the period are known.
    events_since: Option<Timestamp>,
    /// By owner; SLOs without one last.
    owners: Vec<Owner>,
    /// The oldest first.
    incidents: Vec<IncidentLine>,
    /// Deploys with a window that began in the period, the oldest first; the newest hundred are remembered.
    deploys: Vec<Deploy>,
    /// Deploys that were announced, with a window or without.
    deploys_announced: usize,
    /// What probes found, the oldest first.
    probes: Vec<Line>,
    /// What became of certificates, the oldest first.
    certificates: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Owner {
    /// `null`: nobody is named.
    owner: Option<String>,
    slos: Vec<SloReport>,
}

#[derive(Debug, Serialize)]
struct SloReport {
    slo: String,
    /// What it is about: `route:checkout`, `upstream:web`, `owner:payments` or `ingress`.
    scope: String,
    /// Who answers for it.
    owner: Option<String>,
    objective: String,
    window: String,
    /// Whether the history counts something else under this name.
    counted_otherwise: bool,
    good: u64,
    bad: u64,
    valid: u64,
    /// Good ÷ valid; `null` without a valid event.
    sli_ratio: Option<f64>,
    /// Whether no more was bad than the objective allows, exactly; `null` without a valid event.
    kept: Option<bool>,
    /// The share of the period's own budget that was used; `null` without a valid event.
    budget_used_ratio: Option<f64>,
    /// The share of the budget of the SLO's own window that was left at the end; what is missing of the window counts as good.
    left_ratio: Option<f64>,
    /// The same of the period before; `null` without a valid event.
    before: Option<Before>,
    /// The hour with the most bad events; `null` without one.
    worst_hour: Option<Worst>,
    /// The day with the most bad events; `null` without one.
    worst_day: Option<Worst>,
    pages: u64,
    tickets: u64,
}

#[derive(Debug, Serialize)]
struct Before {
    sli_ratio: f64,
    budget_used_ratio: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Worst {
    /// The day's date, or the hour's beginning.
    at: String,
    bad: u64,
    valid: u64,
}

#[derive(Debug, Serialize)]
struct IncidentLine {
    id: String,
    began: Timestamp,
    ended: Timestamp,
    lasted_s: u64,
    /// `null`: no alert fired.
    detected_after_s: Option<u64>,
    slos: Vec<String>,
    /// The largest share of a budget that it spent.
    budget_ratio: Option<f64>,
    /// The newest change of the hour before, of what concerns it; a suspect, and no proof. Endpoints' health is left out.
    changed: Option<Line>,
}

/// An event.
#[derive(Debug, Serialize)]
struct Line {
    at: Timestamp,
    kind: EventKind,
    text: String,
}

#[derive(Debug, Serialize)]
struct Deploy {
    upstream: String,
    version: String,
    from: Timestamp,
    /// `null`: its window is open.
    until: Option<Timestamp>,
    slos: Vec<Booked>,
}

/// What was counted in the window of a deploy: of the budget as always, and told apart here.
#[derive(Debug, Serialize)]
struct Booked {
    slo: String,
    bad: u64,
    valid: u64,
    /// The share of the period's budget; `null` without one.
    budget_ratio: Option<f64>,
}

/// Events that are read at most: as many as are kept.
const EVENTS: u32 = 10_000;

pub(super) fn report(arguments: &ReportArguments) -> Exit {
    tell(made(arguments), arguments.json, page::markdown)
}

fn made(arguments: &ReportArguments) -> Result<Report, (Exit, String)> {
    let resolved = configured(&arguments.config, arguments.state_dir.as_ref())?;
    let calendar = Calendar {
        unit: if arguments.unit.weekly {
            CalendarUnit::Week
        } else {
            CalendarUnit::Month
        },
        zone: arguments.zone.clone(),
    };
    let now = SystemClock::new().now();
    let asked = arguments.at.as_ref().map(|text| {
        let day = calendar.zone.day(text);
        let moment = || text.parse::<Timestamp>().ok();
        let at = day.or_else(moment).filter(|at| *at <= now);
        at.ok_or_else(|| format!("`{text}` is no day of the past like 2026-11-23"))
    });
    let asked = asked.transpose().map_err(|wrong| (Exit::Usage, wrong))?;
    let period = asked.map_or_else(
        || {
            let running = calendar.period(now);
            calendar.period(Timestamp::from_secs(running.start_secs.saturating_sub(1)))
        },
        |at| calendar.period(at),
    );
    let resolved = Arc::new(resolved);
    let dir = resolved.store.dir.clone();
    let failed = |error: &dyn std::fmt::Display| (Exit::Io, format!("{}: {error}", dir.display()));
    let end = Timestamp::from_secs(period.end_secs).min(now);
    let deploys = app::booked(&dir).map_err(|error| failed(&error))?;
    let looked = Looked {
        resolved: &resolved,
        calendar: &calendar,
        period,
        end,
        now,
        deploys,
    };
    looked.report().map_err(|error| failed(&error))
}

/// What a report is made of.
struct Looked<'a> {
    resolved: &'a Arc<Resolved>,
    calendar: &'a Calendar,
    period: Period,
    /// The end of the period, or now.
    end: Timestamp,
    now: Timestamp,
    deploys: Vec<Booking>,
}

/// What an SLO counted by the hour: (first second, events), rising.
type Hours = Vec<(u64, Tally)>;

impl Looked<'_> {
    fn report(self) -> Result<Report, QueryError> {
        let dir = &self.resolved.store.dir;
        let history = History::read(dir, self.end)?;
        let reader = Reader::open(dir)?;
        let begun = Timestamp::from_secs(self.period.start_secs);
        let first = self.calendar.period(begun.minus(SECOND));
        let mut hours: Vec<Hours> = vec![Vec::new(); history.slos.len()];
        history.slo_hours(self.period.start_secs, |row| {
            hours[row.slo].push((row.start_secs, row.tally));
        })?;
        let events = reader.events_until(self.end, EVENTS)?;
        let is_full = events.len() == EVENTS as usize;
        let events_since = events.last().map(|event| event.at);
        let events_since = events_since.filter(|at| is_full && *at > begun);
        let mut events: Vec<Event> = events.into_iter().filter(|it| it.at >= begun).collect();
        events.reverse();
        let gaps = self.gaps(&history, history.reaches_to()?);
        let mut slos = Vec::new();
        for slo in &self.resolved.slos {
            slos.push(self.slo(slo, &reader, &history, &hours, &events, first)?);
        }
        let count = |severity: &str| {
            let fires = format!(" fires ({severity})");
            let alerts = events.iter().filter(|it| it.kind == EventKind::Alert);
            alerts.filter(|it| it.text.contains(&fires)).count() as u64
        };
        let (pages, tickets) = (count("page"), count("ticket"));
        let lines = |kind: EventKind| {
            let of_it = events.iter().filter(|it| it.kind == kind);
            of_it.map(line).collect::<Vec<_>>()
        };
        let incidents = Found::read(self.resolved, begun, self.end)?.report();
        let incidents: Vec<IncidentLine> = incidents.incidents.iter().map(incident).collect();
        let deploys = self.booked(&slos);
        let held = |is: Option<bool>| slos.iter().filter(|it| it.kept == is).count();
        let (kept, missed, unknown) = (held(Some(true)), held(Some(false)), held(None));
        let measured_ratio = self.measured(&history, &gaps);
        let last = Timestamp::from_secs(self.period.end_secs).minus(SECOND);
        let mut report = Report {
            unit: self.calendar.unit.as_str(),
            zone: self.calendar.zone.name().to_owned(),
            from: begun,
            to: self.end,
            days: [begun, last].map(|at| self.calendar.zone.date_of(at)),
            complete: self.period.end_secs <= self.now.as_secs(),
            measured_ratio,
            counting_since: history.counting_since,
            gaps,
            summary: String::new(),
            kept,
            missed,
            unknown,
            pages,
            tickets,
            events_since,
            owners: Vec::new(),
            incidents,
            deploys,
            deploys_announced: lines(EventKind::Deploy).len(),
            probes: lines(EventKind::Probe),
            certificates: lines(EventKind::Certificate),
        };
        report.summary = page::summary(&report, &slos);
        report.owners = by_owner(slos);
        Ok(report)
    }

    /// Spans of the period without history since it began, the longest first: also from its end on.
    fn gaps(&self, history: &History, reaches_to: Option<Timestamp>) -> Vec<Gap> {
        let begun = Timestamp::from_secs(self.period.start_secs);
        let begun = begun.max(history.counting_since).min(self.end);
        let cut = |at: Timestamp| at.max(begun).min(self.end);
        let ended = Gap {
            from: reaches_to.unwrap_or(begun),
            to: self.end,
        };
        let gaps = history.gaps.iter().copied().chain([ended]);
        let gaps = gaps.map(|gap| Gap {
            from: cut(gap.from),
            to: cut(gap.to),
        });
        let mut gaps: Vec<Gap> = gaps
            // Restarts of a few seconds are no news, and the newest minute is stored when it is over.
            .filter(|gap| gap.to.since(gap.from) > MINUTE * 2)
            .collect();
        gaps.sort_by_key(|gap| std::cmp::Reverse(gap.to.since(gap.from)));
        gaps
    }

    /// The share of the period that was measured: not before the history begins, nor after its last minute, nor in gaps.
    fn measured(&self, history: &History, gaps: &[Gap]) -> f64 {
        let begun = Timestamp::from_secs(self.period.start_secs);
        let all = self.end.since(begun).as_secs().max(1);
        let since = history.counting_since.max(begun);
        let missing: u64 = gaps
            .iter()
            .map(|gap| gap.to.since(gap.from.max(since)).as_secs())
            .sum();
        let known = self.end.since(since).as_secs();
        known.saturating_sub(missing) as f64 / all as f64
    }

    fn slo(
        &self,
        slo: &Slo,
        reader: &Reader,
        history: &History,
        hours: &[Hours],
        events: &[Event],
        before: Period,
    ) -> Result<SloReport, QueryError> {
        let stored = history.slos.iter().position(|(id, _)| *id == slo.id);
        let origin = stored.map(|place| &history.origins[place]);
        let counted_otherwise = origin.is_some_and(|origin| !origin.is_of(&slo.counted()));
        let place = stored.filter(|_| !counted_otherwise);
        let over = |from: u64, to: u64| match place {
            Some(_) => reader.slo_over(&slo.id, from, to),
            None => Ok(Tally::default()),
        };
        let end = self.end.as_secs();
        let tally = over(self.period.start_secs, end)?;
        let budget = Budget::new(slo.objective, tally);
        let earlier = Budget::new(slo.objective, over(before.start_secs, before.end_secs)?);
        // The window of the SLO's own, which has nothing to do with the report's period.
        let (begin, length) = match &slo.calendar {
            Some(calendar) => {
                let own = calendar.period(self.end.minus(SECOND));
                (own.start_secs, own.length())
            }
            None => (end.saturating_sub(slo.window.as_secs()), slo.window),
        };
        let since = origin.map_or(0, |origin| origin.since_secs);
        let since = since.max(history.counting_since.as_secs()).max(begin);
        let missing = history.gaps.iter().map(|gap| {
            let from = gap.from.as_secs().max(since);
            gap.to.as_secs().min(end).saturating_sub(from)
        });
        let reached = history
            .reaches_to()?
            .map_or(end, |at| at.as_secs().min(end));
        let covered = reached.saturating_sub(since).saturating_sub(missing.sum());
        let span = Span {
            tally: over(begin, end)?,
            covered_s: covered,
        };
        let hours = place.map_or(&[][..], |place| hours[place].as_slice());
        let (worst_hour, worst_day) = self.worst(hours);
        let fired = |severity: &str| {
            let fires = format!(" burn fires ({severity})");
            let own = events
                .iter()
                .filter(|it| it.kind == EventKind::Alert && it.scope.slo.as_ref() == Some(&slo.id));
            own.filter(|it| it.text.contains(&fires)).count() as u64
        };
        let used = |budget: Budget| budget.remaining_ratio().map(|left| 1.0 - left);
        Ok(SloReport {
            slo: slo.id.clone(),
            scope: slo.about.scope(),
            owner: slo.owner.clone(),
            objective: slo.objective.to_string(),
            window: slo.span(),
            counted_otherwise,
            good: tally.good,
            bad: tally.bad,
            valid: tally.valid(),
            sli_ratio: budget.sli_ratio(),
            kept: (tally.valid() > 0).then(|| budget.left_millionths() >= 0),
            budget_used_ratio: used(budget),
            left_ratio: expected_remaining_ratio(span, length, slo.objective),
            before: earlier
                .sli_ratio()
                .zip(used(earlier))
                .map(|(sli_ratio, budget_used_ratio)| Before {
                    sli_ratio,
                    budget_used_ratio,
                }),
            worst_hour,
            worst_day,
            pages: fired("page"),
            tickets: fired("ticket"),
        })
    }

    /// The hour, and the day, with the most bad events.
    fn worst(&self, hours: &[(u64, Tally)]) -> (Option<Worst>, Option<Worst>) {
        let inside = hours
            .iter()
            .filter(|(start, _)| self.period.holds(Timestamp::from_secs(*start)));
        let mut days: BTreeMap<String, Tally> = BTreeMap::new();
        for (start, tally) in inside.clone() {
            let date = self.calendar.zone.date_of(Timestamp::from_secs(*start));
            *days.entry(date).or_default() += *tally;
        }
        let worst = |at: String, tally: Tally| Worst {
            at,
            bad: tally.bad,
            valid: tally.valid(),
        };
        let hour = inside
            .filter(|(_, tally)| tally.bad > 0)
            // The first of those that are alike.
            .rev()
            .max_by_key(|(_, tally)| tally.bad);
        let day = days.into_iter().filter(|(_, tally)| tally.bad > 0);
        let day = day.rev().max_by_key(|(_, tally)| tally.bad);
        (
            hour.map(|(start, tally)| worst(Timestamp::from_secs(*start).to_string(), *tally)),
            day.map(|(date, tally)| worst(date, tally)),
        )
    }

    /// Deploys whose window began in the period.
    fn booked(&self, slos: &[SloReport]) -> Vec<Deploy> {
        let inside = |it: &&Booking| self.period.holds(it.from) && it.from < self.end;
        let deploys = self.deploys.iter().rev().filter(inside);
        let share = |id: &String, bad: u64| {
            let slo = slos.iter().find(|it| it.slo == *id)?;
            let used = slo.budget_used_ratio?;
            // Of nothing bad nothing was used, and a share of it says nothing.
            (slo.bad > 0).then(|| used * bad as f64 / slo.bad as f64)
        };
        deploys
            .map(|it| Deploy {
                upstream: it.upstream.clone(),
                version: it.version.clone(),
                from: it.from,
                until: it.until,
                slos: it
                    .slos
                    .iter()
                    .filter_map(|booked| {
                        let spent = booked.spent?;
                        Some(Booked {
                            slo: booked.slo.clone(),
                            bad: spent.bad,
                            valid: spent.valid(),
                            budget_ratio: share(&booked.slo, spent.bad),
                        })
                    })
                    .collect(),
            })
            .collect()
    }
}

fn by_owner(slos: Vec<SloReport>) -> Vec<Owner> {
    let names: BTreeSet<Option<String>> = slos.iter().map(|it| it.owner.clone()).collect();
    let mut owners: Vec<Owner> = names
        .into_iter()
        .map(|owner| Owner {
            owner,
            slos: Vec::new(),
        })
        .collect();
    // Nobody comes last.
    owners.sort_by_key(|it| it.owner.is_none());
    for slo in slos {
        if let Some(owner) = owners.iter_mut().find(|it| it.owner == slo.owner) {
            owner.slos.push(slo);
        }
    }
    owners
}

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);
const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

fn line(event: &Event) -> Line {
    Line {
        at: event.at,
        kind: event.kind,
        text: event.text.clone(),
    }
}

fn incident(told: &Told) -> IncidentLine {
    let shares = told.damages.iter().filter_map(|it| it.budget_ratio);
    let mut before = told.changed_before.iter();
    IncidentLine {
        id: told.id.clone(),
        began: told.began,
        ended: told.ended,
        lasted_s: told.lasted_s,
        detected_after_s: told.detected_after_s,
        slos: told.damages.iter().map(|it| it.slo.clone()).collect(),
        budget_ratio: shares.max_by(f64::total_cmp),
        changed: before.find(|it| it.kind != EventKind::Health).map(line),
    }
}
