//! `vestibule slo backtest`.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::cli::{DEFAULT_FILE, Exit, complain, fancy, say};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Resolved};
use crate::model::{Slo, Tally, Timestamp};
use crate::slo::backtest::{Firing, Record, lasted, run};
use crate::slo::policy::{Policy, Severity};
use crate::store::{self, History, Origin};

pub(super) const HELP: &str = "\
Examples:
  vestibule slo backtest                                  this configuration, over all history there is
  vestibule slo backtest --days 7 --policy hourly         every SLO by another policy
  vestibule slo backtest --config tried.toml --json       what another configuration would have said

Requests were counted as good or bad when they happened, so another `under` of a latency SLO changes nothing here.";

#[derive(Debug, Args)]
pub(in crate::cli) struct BacktestArguments {
    /// The configuration to try
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// The state directory whose history is read, instead of the configuration's
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// How many days to look back, at most what is kept by the minute
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=92))]
    days: Option<u64>,
    /// Judge every SLO by this policy instead of its own
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Only this SLO; may be repeated
    #[arg(long = "slo", value_name = "ID")]
    slos: Vec<String>,
    /// Everything, as JSON
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    /// When the minutes that were judged begin.
    from: Timestamp,
    /// When they end.
    to: Timestamp,
    /// Every SLO, in the configuration's order.
    slos: Vec<SloOutcome>,
    /// Pages of all SLOs, scaled to a week; `null` of less than a day.
    pages_per_week: Option<f64>,
    /// Tickets of all SLOs, scaled to a week; `null` of less than a day.
    tickets_per_week: Option<f64>,
}

#[derive(Debug, Serialize)]
struct SloOutcome {
    slo: String,
    policy: String,
    objective: String,
    /// Whether anything of it is in the history.
    known: bool,
    /// Whether what is in the history counts something else: another reading, threshold, slice or route.
    counted_otherwise: bool,
    good: u64,
    bad: u64,
    firings: Vec<Fired>,
}

#[derive(Debug, Serialize)]
struct Fired {
    alert: String,
    severity: Severity,
    from: Timestamp,
    /// `null`: it still fired at the end.
    until: Option<Timestamp>,
    seconds: u64,
    /// Bad events in the long window when it fired.
    bad: u64,
    /// The share of the budget that they were; `null` when nothing else was counted.
    budget_ratio: Option<f64>,
}

pub(super) fn backtest(arguments: &BacktestArguments) -> Exit {
    let mut resolved = match config::load(&arguments.config) {
        Ok(resolved) => resolved,
        Err(report) => {
            complain(&format!("{report}\n{}", report.render(fancy())));
            return Exit::Config;
        }
    };
    if let Some(dir) = &arguments.state_dir {
        resolved.override_state_dir(dir.clone());
    }
    let tried = match chosen(arguments, &resolved) {
        Ok(tried) => tried,
        Err(wrong) => {
            complain(&wrong);
            return Exit::Usage;
        }
    };
    let now = SystemClock::new().now();
    let read = store::read(&resolved.store.dir, now)
        .and_then(|history| Past::read(&history, arguments.days, now, &resolved.slos));
    let past = match read {
        Ok(past) => past,
        Err(error) => {
            complain(&format!("{}: {error}", resolved.store.dir.display()));
            return Exit::Io;
        }
    };
    let Some(past) = past else {
        complain(&format!(
            "{}: nothing has been counted yet",
            resolved.store.dir.display()
        ));
        return Exit::Io;
    };
    let outcome = past.judge(&tried);
    say(&if arguments.json {
        // Plain data always becomes JSON.
        format!(
            "{}\n",
            serde_json::to_string_pretty(&outcome).unwrap_or_default()
        )
    } else {
        text(&outcome)
    });
    Exit::Ok
}

/// The SLOs that are tried, each with its policy.
fn chosen<'a>(
    arguments: &BacktestArguments,
    resolved: &'a Resolved,
) -> Result<Vec<(&'a Slo, &'a Policy)>, String> {
    let known = |name: &str| resolved.policies.iter().find(|policy| policy.name == name);
    if let Some(name) = &arguments.policy
        && known(name).is_none()
    {
        let names: Vec<&str> = resolved
            .policies
            .iter()
            .map(|it| it.name.as_str())
            .collect();
        return Err(format!(
            "there is no policy `{name}`; there are: {}",
            names.join(", ")
        ));
    }
    for id in &arguments.slos {
        if !resolved.slos.iter().any(|slo| slo.id == *id) {
            return Err(format!("there is no SLO `{id}` in {}", resolved.source));
        }
    }
    let wanted = |slo: &&Slo| arguments.slos.is_empty() || arguments.slos.contains(&slo.id);
    let tried = resolved.slos.iter().filter(wanted).filter_map(|slo| {
        let policy = known(arguments.policy.as_deref().unwrap_or(&slo.policy))?;
        Some((slo, policy))
    });
    Ok(tried.collect())
}

/// What was counted, by SLO.
struct Past {
    /// The first minute that is judged, in minutes since the epoch.
    first: u64,
    /// The minute after the last.
    end: u64,
    /// Minutes with an event, rising.
    minutes: BTreeMap<String, Vec<(u64, Tally)>>,
    /// Before the first minute, by the hour's first second.
    hours: BTreeMap<String, Vec<(u64, Tally)>>,
    /// Minutes in which nothing was measured.
    unmeasured: Vec<(u64, u64)>,
    /// SLOs of which something else was counted, which is left out.
    otherwise: HashSet<String>,
}

const DAY_MINUTES: u64 = 1_440;
const HOUR_S: u64 = 3_600;

impl Past {
    /// `None` when nothing was counted.
    fn read(
        history: &History,
        days: Option<u64>,
        now: Timestamp,
        slos: &[Slo],
    ) -> Result<Option<Self>, store::QueryError> {
        let is_other = |(id, origin): (&String, &Origin)| {
            let own = slos.iter().find(|slo| slo.id == *id);
            own.is_some_and(|slo| !origin.is_of(&slo.counted()))
        };
        let stored = history.slos.iter().map(|(id, _)| id);
        let others = stored.zip(&history.origins).map(is_other);
        let others: Vec<bool> = others.collect();
        let back = days.map_or(now.as_secs(), |days| days * 86_400);
        let since = now.as_secs().saturating_sub(back);
        let mut minutes: Vec<Vec<(u64, Tally)>> = vec![Vec::new(); history.slos.len()];
        let (mut first, mut end) = (u64::MAX, 0);
        history.slo_minutes(since, |row| {
            if others[row.slo] {
                return;
            }
            let minute = row.start_secs / 60;
            (first, end) = (first.min(minute), end.max(minute + 1));
            minutes[row.slo].push((minute, row.tally));
        })?;
        if end == 0 {
            return Ok(None);
        }
        let mut hours: BTreeMap<String, Vec<(u64, Tally)>> = BTreeMap::new();
        history.slo_hours(0, |row| {
            if others[row.slo] {
                return;
            }
            let id = history.slos[row.slo].0.clone();
            let of_slo = hours.entry(id).or_default();
            of_slo.push((row.start_secs, row.tally));
        })?;
        let begun = first / 60 * HOUR_S;
        if hours.values().flatten().any(|(start, _)| *start < begun) {
            // Minutes that are gone are in the hour of the first one: it is taken whole, and judged is what follows.
            first = first.div_ceil(60).saturating_mul(60).min(end);
        }
        let first_s = first * 60;
        for of_slo in hours.values_mut() {
            of_slo.retain(|(start, _)| start + HOUR_S <= first_s);
        }
        hours.retain(|_, of_slo| !of_slo.is_empty());
        let unmeasured = history.gaps.iter().map(|gap| {
            // A minute of which less than half was missed counts as measured.
            let (from, to) = (gap.from.as_secs() + 30, gap.to.as_secs() + 30);
            (from / 60, to / 60)
        });
        let otherwise = history
            .slos
            .iter()
            .zip(&others)
            .filter(|(_, other)| **other);
        Ok(Some(Self {
            first,
            end,
            otherwise: otherwise.map(|((id, _), _)| id.clone()).collect(),
            minutes: history
                .slos
                .iter()
                .map(|(id, _)| id.clone())
                .zip(minutes)
                .filter(|(_, minutes)| !minutes.is_empty())
                .collect(),
            hours,
            unmeasured: unmeasured.filter(|(from, to)| from < to).collect(),
        }))
    }

    fn record(&self, id: &str) -> Record {
        let minutes = self.minutes.get(id).map(Vec::as_slice).unwrap_or_default();
        let mut minutes = minutes.iter().copied().peekable();
        let is_measured = |minute: u64| {
            let mut gaps = self.unmeasured.iter();
            !gaps.any(|(from, to)| (*from..*to).contains(&minute))
        };
        let known = self.hours.get(id).map(Vec::as_slice).unwrap_or_default();
        // Hours without an event have no row, and are measured all the same.
        let mut hours = Vec::new();
        if let Some((oldest, _)) = known.first() {
            let counted: BTreeMap<u64, Tally> = known.iter().copied().collect();
            for start in (*oldest..self.first * 60).step_by(HOUR_S as usize) {
                let measured = (start / 60..start / 60 + 60).filter(|minute| is_measured(*minute));
                let tally = counted.get(&start).copied().unwrap_or_default();
                hours.push((start, tally, measured.count() as u64 * 60));
            }
        }
        let minute = |place: u64| {
            let minute = self.first + place;
            while minutes.next_if(|(start, _)| *start < minute).is_some() {}
            let found = minutes.next_if(|(start, _)| *start == minute);
            let tally = found.map_or_else(Tally::default, |(_, tally)| tally);
            (tally, tally.valid() > 0 || is_measured(minute))
        };
        Record::new(self.first, self.end - self.first, minute, hours)
    }

    fn judge(&self, tried: &[(&Slo, &Policy)]) -> Outcome {
        let to = Timestamp::from_secs(self.end * 60);
        let mut slos = Vec::new();
        for (slo, policy) in tried {
            let record = self.record(&slo.id);
            let firings = run(slo, policy, &record);
            let minutes = self.minutes.get(&slo.id);
            let counted = minutes
                .into_iter()
                .flatten()
                .filter(|(minute, _)| *minute >= self.first);
            let Tally { good, bad } =
                counted.fold(Tally::default(), |sum, (_, tally)| sum + *tally);
            slos.push(SloOutcome {
                slo: slo.id.clone(),
                policy: policy.name.clone(),
                objective: slo.objective.to_string(),
                known: minutes.is_some(),
                counted_otherwise: self.otherwise.contains(&slo.id),
                good,
                bad,
                firings: firings
                    .into_iter()
                    .map(|firing| fired(firing, to))
                    .collect(),
            });
        }
        let minutes = self.end - self.first;
        let weeks = minutes as f64 / (7 * DAY_MINUTES) as f64;
        let per_week = |severity: Severity| {
            let firings = slos.iter().flat_map(|slo| &slo.firings);
            let fired = firings.filter(|it| it.severity == severity).count();
            (minutes >= DAY_MINUTES).then(|| fired as f64 / weeks)
        };
        Outcome {
            from: Timestamp::from_secs(self.first * 60),
            to,
            pages_per_week: per_week(Severity::Page),
            tickets_per_week: per_week(Severity::Ticket),
            slos,
        }
    }
}

fn fired(firing: Firing, end: Timestamp) -> Fired {
    let seconds = lasted(&firing, end).as_secs();
    let Firing {
        alert,
        row,
        from,
        until,
        bad,
        budget_ratio,
    } = firing;
    Fired {
        alert,
        severity: row.severity,
        from,
        until,
        seconds,
        bad,
        budget_ratio,
    }
}

fn text(outcome: &Outcome) -> String {
    let Outcome {
        from,
        to,
        slos,
        pages_per_week,
        tickets_per_week,
    } = outcome;
    let days = to.since(*from).as_secs() as f64 / 86_400.0;
    let mut text = format!("judged by the minute from {from} to {to}, {days:.1} days\n");
    for slo in slos {
        let SloOutcome {
            slo: id,
            policy,
            objective,
            known,
            counted_otherwise,
            good,
            bad,
            firings,
        } = slo;
        let what = match (known, firings.len()) {
            (false, _) if *counted_otherwise => {
                "what was counted is something else, and is not judged by this".to_owned()
            }
            (false, _) => "nothing was counted for it".to_owned(),
            (true, 0) => format!("nothing fires; {bad} bad of {}", good + bad),
            (true, many) => format!("fires {many} times; {bad} bad of {}", good + bad),
        };
        put(
            &mut text,
            format_args!("\n{id}  {objective} by {policy}: {what}\n"),
        );
        for firing in firings {
            let until = firing
                .until
                .map_or_else(|| "the end".to_owned(), |until| until.to_string());
            let budget = firing.budget_ratio.map_or_else(String::new, |ratio| {
                format!(", {:.1}% of the budget", ratio * 100.0)
            });
            put(
                &mut text,
                format_args!(
                    "  {:<6}  {} to {until}  {}  after {} bad{budget}\n",
                    firing.severity.as_str(),
                    firing.from,
                    firing.alert,
                    firing.bad,
                ),
            );
        }
    }
    if let (Some(pages), Some(tickets)) = (pages_per_week, tickets_per_week) {
        put(
            &mut text,
            format_args!("\n{pages:.1} pages and {tickets:.1} tickets a week\n"),
        );
    }
    text
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string cannot fail");
}
