//! `vestibule slo propose`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::hours;
use super::past::Unmeasured;
use crate::cli::outcome::{configured, tell};
use crate::cli::{DEFAULT_FILE, Exit};
use crate::clock::{Clock, SystemClock};
use crate::config::Resolved;
use crate::model::{
    About, Counts, Latency, Objective, ObjectiveError, Sli, Slo, Tally, Timestamp, Window,
};
use crate::slo::backtest::{Record, run};
use crate::slo::policy::{DEFAULT_POLICY, Policy, Severity};
use crate::slo::propose::{Answer, Lack, availability, figures, latency};
use crate::slo::whatif::Bounds;
use crate::store::{self, History, QueryError, Reader};

pub(super) const HELP: &str = "\
Proposed is, for every route that has no such SLO yet, the strictest availability and the shortest threshold at 95 % of which the
time seen would have used at most half of the budget, in figures that people say aloud, with a budget that holds at least ten
events. Why, and how often the alerts would have told somebody, stands beside it. Nothing is proposed from less than --min-days
days with requests or too few of them: `insufficient`. When even the mildest figure would have failed it says `unfit`.

What is printed can be pasted into the configuration. What was kept is not what users need: a proposal is where to begin.

Exit codes:
   0  done, also when nothing is proposed
  64  there is no such route
  74  there is no history, or it cannot be read
  78  the configuration is wrong

Examples:
  vestibule slo propose                              every route that lacks one
  vestibule slo propose --all --days 14              every route, by the last two weeks
  vestibule slo propose --route shop --at-most 99.99%
  vestibule slo propose >> vestibule.toml && vestibule check";

#[derive(Debug, Args)]
pub(in crate::cli) struct ProposeArguments {
    /// Only this route; may be repeated
    #[arg(long = "route", value_name = "ID")]
    routes: Vec<String>,
    /// Also for routes that have such an SLO
    #[arg(long)]
    all: bool,
    /// How many days to look back
    #[arg(long, value_name = "N", default_value_t = 28, value_parser = clap::value_parser!(u64).range(1..=366))]
    days: u64,
    /// Days with requests that are needed
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=366))]
    min_days: u64,
    /// The strictest availability to propose, at least 90%
    #[arg(long, value_name = "SHARE", default_value = "99.9%", value_parser = strictest)]
    at_most: Objective,
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

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    /// The first hour that was looked at.
    from: Timestamp,
    /// The end of what was counted.
    to: Timestamp,
    /// Every route that was looked at, in the configuration's order.
    routes: Vec<RouteOutcome>,
}

#[derive(Debug, Serialize)]
struct RouteOutcome {
    route: String,
    /// Days in universal time with requests.
    days: u64,
    good: u64,
    bad: u64,
    proposals: Vec<Proposal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Proposed,
    Insufficient,
    Unfit,
}

#[derive(Debug, Serialize)]
struct Proposal {
    /// `availability` or `latency`.
    sli: &'static str,
    answer: Said,
    /// Why, in words.
    why: String,
    /// The proposed SLO's id; `null` unless one is proposed.
    id: Option<String>,
    objective: Option<String>,
    /// The threshold in microseconds, of a latency.
    under_us: Option<u64>,
    /// The share of the budget that the time seen would have used, at most.
    budget_used_ratio: Option<f64>,
    /// The duration that 97.5 % of requests took at most, in microseconds, within 1 %: half of a 95 % objective's budget.
    p97_5_us: Option<u64>,
    /// The day that was worst by this indicator; `null` when nothing was bad on any.
    worst_day: Option<Worst>,
    /// What its alerts would have told; `null` when nothing is kept by the minute.
    told: Option<Told>,
}

#[derive(Clone, Debug, Serialize)]
struct Worst {
    date: String,
    /// The share of its requests that were bad, of an availability.
    bad_ratio: Option<f64>,
    /// What 97.5 % of its requests took at most, in microseconds, of a latency.
    p97_5_us: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Told {
    policy: &'static str,
    from: Timestamp,
    to: Timestamp,
    pages: u64,
    tickets: u64,
}

/// The window of what is proposed.
const WINDOW: Window = Window::days(30);
const DAY_S: u64 = 86_400;

pub(super) fn propose(arguments: &ProposeArguments) -> Exit {
    tell(outcome(arguments), arguments.json, text)
}

/// Below this nobody is promised anything.
fn strictest(text: &str) -> Result<Objective, String> {
    let objective: Objective = text
        .parse()
        .map_err(|error: ObjectiveError| error.to_string())?;
    if objective.ppm() < 900_000 {
        return Err("nothing below 90% is proposed".to_owned());
    }
    Ok(objective)
}

fn outcome(arguments: &ProposeArguments) -> Result<Outcome, (Exit, String)> {
    let resolved = configured(&arguments.config, arguments.state_dir.as_ref())?;
    for id in &arguments.routes {
        if !resolved.proxy.routes.iter().any(|route| route.id == *id) {
            let wrong = format!("there is no route `{id}` in {}", resolved.source);
            return Err((Exit::Usage, wrong));
        }
    }
    let dir = &resolved.store.dir;
    let now = SystemClock::new().now();
    let failed = |wrong: String| (Exit::Io, format!("{}: {wrong}", dir.display()));
    let read = || -> Result<Option<Outcome>, QueryError> {
        let history = store::read(dir, now)?;
        let Some(end) = hours::ends(&history)? else {
            return Ok(None);
        };
        proposed(arguments, &resolved, &history, end).map(Some)
    };
    read()
        .map_err(|error| failed(error.to_string()))?
        .ok_or_else(|| failed("nothing has been counted yet".to_owned()))
}

/// What one route did.
struct Seen {
    route: String,
    wanted: Vec<&'static str>,
    counts: Counts,
    days: BTreeMap<u64, Day>,
    /// What each figure would have come to.
    slower: Vec<(Duration, Bounds)>,
    /// Requests whose duration is not known.
    unknown: u64,
    durations: Latency,
    hours: Vec<(u64, Counts)>,
    /// By the minute, as far as that is kept.
    minutes: Vec<(u64, Counts)>,
}

#[derive(Default)]
struct Day {
    counts: Counts,
    durations: Latency,
}

const AVAILABILITY: &str = "availability";
const LATENCY: &str = "latency";

fn proposed(
    arguments: &ProposeArguments,
    resolved: &Resolved,
    history: &History,
    end: u64,
) -> Result<Outcome, QueryError> {
    let reader = Reader::open(&resolved.store.dir)?;
    let since = history.counting_since.as_secs() / 3_600 * 3_600;
    let begin = end.saturating_sub(arguments.days * DAY_S).max(since);
    let mut seen = Vec::new();
    for route in &resolved.proxy.routes {
        let is_asked = arguments.routes.is_empty() || arguments.routes.contains(&route.id);
        let wanted = wanted(arguments, resolved, &route.id);
        if is_asked && !wanted.is_empty() {
            seen.push(Seen::read(&reader, &route.id, wanted, (begin, end))?);
        }
    }
    let places: BTreeMap<&str, usize> = seen
        .iter()
        .enumerate()
        .map(|(place, it)| (it.route.as_str(), place))
        .collect();
    let place = |route: usize| places.get(history.routes[route].0.as_str()).copied();
    let mut minutes: Vec<Vec<(u64, Counts)>> = vec![Vec::new(); seen.len()];
    history.route_minutes(begin, |row| {
        if let Some(place) = place(row.route) {
            minutes[place].push((row.start_secs / 60, row.counts));
        }
    })?;
    let answers: Vec<_> = seen
        .iter()
        .map(|it| it.latency(arguments.min_days))
        .collect();
    // Read once, when it is known what is to be looked for in them.
    let mut slow: Vec<BTreeMap<u64, (u64, u64)>> = vec![BTreeMap::new(); seen.len()];
    history.route_durations(begin, |(route, start, durations)| {
        let Some(place) = place(route) else { return };
        if let Answer::Proposed((under, _)) = answers[place] {
            let (_, most) = durations.longer_than(under.as_micros() as u64);
            slow[place].insert(start / 60, (durations.count(), most));
        }
    })?;
    for (seen, minutes) in seen.iter_mut().zip(minutes) {
        seen.minutes = minutes;
    }
    let unmeasured = Unmeasured::of(history);
    let mut taken: BTreeSet<String> = resolved.slos.iter().map(|slo| slo.id.clone()).collect();
    let mut routes = Vec::new();
    for ((seen, slow), latency) in seen.iter().zip(&slow).zip(&answers) {
        let mut proposals = Vec::new();
        if seen.wanted.contains(&AVAILABILITY) {
            let proposal = seen.availability(arguments, &mut taken, &unmeasured);
            proposals.push(proposal);
        }
        if seen.wanted.contains(&LATENCY) {
            proposals.push(seen.promised_latency(latency, slow, &mut taken, &unmeasured));
        }
        routes.push(RouteOutcome {
            route: seen.route.clone(),
            days: seen.days.len() as u64,
            good: seen.counts.good,
            bad: seen.counts.bad,
            proposals,
        });
    }
    Ok(Outcome {
        from: Timestamp::from_secs(begin),
        to: Timestamp::from_secs(end),
        routes,
    })
}

/// The indicators that a route lacks.
fn wanted(arguments: &ProposeArguments, resolved: &Resolved, route: &str) -> Vec<&'static str> {
    let has = |sli: &str| {
        let mut slos = resolved.slos.iter();
        slos.any(|slo| slo.about.route() == Some(route) && slo.sli.as_str() == sli)
    };
    let mut wanted = vec![AVAILABILITY, LATENCY];
    wanted.retain(|sli| arguments.all || !has(sli));
    wanted
}

impl Seen {
    fn read(
        reader: &Reader,
        route: &str,
        wanted: Vec<&'static str>,
        span: (u64, u64),
    ) -> Result<Self, QueryError> {
        let mut seen = Self {
            route: route.to_owned(),
            wanted,
            counts: Counts::default(),
            days: BTreeMap::new(),
            slower: figures().map(|under| (under, Bounds::default())).collect(),
            unknown: 0,
            durations: Latency::new(),
            hours: Vec::new(),
            minutes: Vec::new(),
        };
        hours::each(reader, route, span, |hour| {
            seen.counts += hour.counts;
            let day = seen.days.entry(hour.start_secs / DAY_S).or_default();
            day.counts += hour.counts;
            seen.hours.push((hour.start_secs, hour.counts));
            let mut is_known = true;
            for (under, sum) in &mut seen.slower {
                let micros = under.as_micros() as u64;
                match Bounds::slower_than(micros, &hour.latency, hour.counts) {
                    Some(bounds) => *sum += bounds,
                    None => is_known = false,
                }
            }
            if is_known {
                day.durations.merge(&hour.latency);
                seen.durations.merge(&hour.latency);
            } else {
                seen.unknown += hour.counts.good;
            }
        })?;
        Ok(seen)
    }

    fn latency(&self, min_days: u64) -> Answer<(Duration, Objective)> {
        latency(
            &self.slower,
            self.unknown,
            (self.days.len() as u64, min_days),
        )
    }

    fn availability(
        &self,
        arguments: &ProposeArguments,
        taken: &mut BTreeSet<String>,
        unmeasured: &Unmeasured,
    ) -> Proposal {
        let days = (self.days.len() as u64, arguments.min_days);
        let answer = availability(self.counts, days, arguments.at_most);
        let share = |counts: Counts| counts.bad as f64 / counts.valid().max(1) as f64;
        let worst = self
            .days
            .iter()
            .filter(|(_, it)| it.counts.bad > 0)
            .max_by(|(_, a), (_, b)| share(a.counts).total_cmp(&share(b.counts)));
        let worst_day = worst.map(|(day, it)| Worst {
            date: date(*day),
            bad_ratio: Some(share(it.counts)),
            p97_5_us: None,
        });
        let Answer::Proposed(objective) = answer else {
            return Proposal {
                worst_day,
                ..refused(AVAILABILITY, &answer)
            };
        };
        let tally = Tally {
            good: self.counts.good,
            bad: self.counts.bad,
        };
        let used = Bounds::exact(tally).budget_used(objective);
        let used = used.map(|(_, most)| most);
        let id = free(&self.route, AVAILABILITY, taken);
        let slo = slo(&id, &self.route, Sli::AVAILABILITY, objective);
        let told = self.record(unmeasured).map(|it| told(&slo, it));
        Proposal {
            sli: AVAILABILITY,
            answer: Said::Proposed,
            why: format!(
                "the strictest, up to {}, of which this time would have used at most half of the budget: {}",
                arguments.at_most,
                used.map_or_else(String::new, percent)
            ),
            id: Some(id),
            objective: Some(objective.to_string()),
            under_us: None,
            budget_used_ratio: used,
            p97_5_us: None,
            worst_day,
            told,
        }
    }

    /// The route's minutes, with its hours before them; nothing when nothing is kept by the minute.
    fn record(&self, unmeasured: &Unmeasured) -> Option<Judged> {
        let tally = |counts: Counts| Tally {
            good: counts.good,
            bad: counts.bad,
        };
        // From a whole hour on, so that what is before it is known by the hour.
        let first = self.minutes.first()?.0.div_ceil(60) * 60;
        let end = self.minutes.last()?.0 + 1;
        if first >= end {
            return None;
        }
        let before = self.hours.iter().filter(|(start, _)| start / 60 < first);
        let hours = before.map(|(start, counts)| (*start, tally(*counts), 3_600));
        let mut minutes = self.minutes.iter().peekable();
        let minute = |place: u64| {
            let minute = first + place;
            while minutes.next_if(|(at, _)| *at < minute).is_some() {}
            let found = minutes.next_if(|(at, _)| *at == minute);
            let counted = found.map(|(_, counts)| tally(*counts));
            (
                counted.unwrap_or_default(),
                counted.is_some() || unmeasured.is_measured(minute),
            )
        };
        let record = Record::new(first, end - first, minute, hours.collect());
        Some(Judged { first, end, record })
    }

    fn promised_latency(
        &self,
        answer: &Answer<(Duration, Objective)>,
        slow: &BTreeMap<u64, (u64, u64)>,
        taken: &mut BTreeSet<String>,
        unmeasured: &Unmeasured,
    ) -> Proposal {
        let p97_5 = |durations: &Latency| durations.quantile(0.975);
        let worst = self.days.iter().max_by_key(|(_, it)| p97_5(&it.durations));
        let worst_day = worst
            .filter(|(_, it)| !it.durations.is_empty())
            .map(|(day, it)| Worst {
                date: date(*day),
                bad_ratio: None,
                p97_5_us: p97_5(&it.durations),
            });
        let Answer::Proposed((under, objective)) = *answer else {
            return Proposal {
                p97_5_us: p97_5(&self.durations),
                worst_day,
                ..refused(LATENCY, answer)
            };
        };
        let own = self.slower.iter().find(|(figure, _)| *figure == under);
        let used = own.and_then(|(_, bounds)| bounds.budget_used(objective));
        let used = used.map(|(_, most)| most);
        let id = free(&self.route, LATENCY, taken);
        let slo = slo(&id, &self.route, Sli::Latency { under }, objective);
        let told = self.slow_record(slow, unmeasured).map(|it| told(&slo, it));
        Proposal {
            sli: LATENCY,
            answer: Said::Proposed,
            why: format!(
                "97.5% took at most {}; {} is the shortest of which this time would have used at most half of the budget: {}",
                p97_5(&self.durations).map_or_else(String::new, |us| {
                    // Within 1 %: more digits would say more than is known.
                    millis(us.div_ceil(1_000))
                }),
                figure(under),
                used.map_or_else(String::new, percent)
            ),
            id: Some(id),
            objective: Some(objective.to_string()),
            under_us: Some(under.as_micros() as u64),
            budget_used_ratio: used,
            p97_5_us: p97_5(&self.durations),
            worst_day,
            told,
        }
    }

    /// Minutes with what was slow in them at most; of those without a whole distribution nothing is known.
    fn slow_record(
        &self,
        slow: &BTreeMap<u64, (u64, u64)>,
        unmeasured: &Unmeasured,
    ) -> Option<Judged> {
        let (first, end) = (*slow.keys().next()?, *slow.keys().next_back()? + 1);
        let counts: BTreeMap<u64, Counts> = self.minutes.iter().copied().collect();
        let minute = |place: u64| {
            let minute = first + place;
            let Some(counts) = counts.get(&minute) else {
                return (Tally::default(), unmeasured.is_measured(minute));
            };
            match slow.get(&minute) {
                Some((count, most)) if *count == counts.valid() => {
                    let bad = (*most).min(counts.good);
                    let good = counts.good - bad;
                    (Tally { good, bad }, true)
                }
                Some(_) | None => (Tally::default(), false),
            }
        };
        let record = Record::new(first, end - first, minute, Vec::new());
        Some(Judged { first, end, record })
    }
}

/// Minutes that can be judged.
struct Judged {
    first: u64,
    end: u64,
    record: Record,
}

fn told(slo: &Slo, judged: Judged) -> Told {
    let Judged { first, end, record } = judged;
    let firings = run(slo, &Policy::workbook(), &record);
    let count = |severity: Severity| {
        let of_it = firings.iter().filter(|it| it.row.severity == severity);
        of_it.count() as u64
    };
    Told {
        policy: DEFAULT_POLICY,
        from: Timestamp::from_secs(first * 60),
        to: Timestamp::from_secs(end * 60),
        pages: count(Severity::Page),
        tickets: count(Severity::Ticket),
    }
}

fn slo(id: &str, route: &str, sli: Sli, objective: Objective) -> Slo {
    Slo {
        id: id.to_owned(),
        about: About::Route(route.to_owned()),
        owner: None,
        sli,
        slices: None,
        probe: None,
        parts: Vec::new(),
        objective,
        window: WINDOW,
        calendar: None,
        policy: DEFAULT_POLICY.to_owned(),
        runbook: None,
    }
}

fn refused<T>(sli: &'static str, answer: &Answer<T>) -> Proposal {
    let (said, why) = match answer {
        Answer::Insufficient(Lack::Days { seen, needed }) => (
            Said::Insufficient,
            format!("requests on {seen} days, and {needed} are needed"),
        ),
        Answer::Insufficient(Lack::Requests { seen, needed }) => (
            Said::Insufficient,
            format!("{seen} requests, and {needed} are needed"),
        ),
        Answer::Insufficient(Lack::Durations { unknown, all }) => (
            Said::Insufficient,
            format!("the durations of {unknown} of {all} requests are not known"),
        ),
        Answer::Unfit | Answer::Proposed(_) => (
            Said::Unfit,
            "even the mildest figure would have used more than half of its budget: mend it first"
                .to_owned(),
        ),
    };
    Proposal {
        sli,
        answer: said,
        why,
        id: None,
        objective: None,
        under_us: None,
        budget_used_ratio: None,
        p97_5_us: None,
        worst_day: None,
        told: None,
    }
}

/// An id that no SLO has.
fn free(route: &str, sli: &str, taken: &mut BTreeSet<String>) -> String {
    let mut id = format!("{route}-{sli}");
    let mut number = 1;
    // Ends: only so many are taken.
    while !taken.insert(id.clone()) {
        number += 1;
        id = format!("{route}-{sli}-{number}");
    }
    id
}

// === As it is pasted ===

fn text(outcome: &Outcome) -> String {
    let Outcome { from, to, routes } = outcome;
    let mut text = format!(
        "# Proposed from what was counted from {from} to {to}.\n\
         # It is what was kept with room to spare, not what users need: paste what you mean to keep.\n"
    );
    if routes.is_empty() {
        text.push_str("# Every route has an availability and a latency already; --all proposes all the same.\n");
    }
    for it in routes {
        put(
            &mut text,
            format_args!(
                "\n# {}: {} valid requests on {} days, {} bad\n",
                it.route,
                it.good + it.bad,
                it.days,
                it.bad
            ),
        );
        for proposal in &it.proposals {
            block(&mut text, &it.route, proposal);
        }
    }
    text
}

fn block(text: &mut String, route: &str, proposal: &Proposal) {
    let Proposal {
        sli,
        answer,
        why,
        id,
        objective,
        under_us,
        worst_day,
        told,
        ..
    } = proposal;
    let word = match answer {
        Said::Proposed => "",
        Said::Insufficient => "insufficient: ",
        Said::Unfit => "unfit: ",
    };
    put(text, format_args!("# {sli}: {word}{why}\n"));
    if let Some(worst) = worst_day {
        let what = match (worst.bad_ratio, worst.p97_5_us) {
            (Some(ratio), _) => format!("{} bad", percent(ratio)),
            (None, Some(us)) => format!("97.5% took at most {}", millis(us.div_ceil(1_000))),
            (None, None) => return,
        };
        put(
            text,
            format_args!("#   worst day: {}, {what}\n", worst.date),
        );
    }
    if let Some(told) = told {
        put(
            text,
            format_args!(
                "#   judged by `{}` from {} to {}: {} pages, {} tickets\n",
                told.policy, told.from, told.to, told.pages, told.tickets
            ),
        );
    }
    let (Some(id), Some(objective)) = (id, objective) else {
        return;
    };
    put(
        text,
        format_args!("[[slo]]\nid = \"{id}\"\nroute = \"{route}\"\nsli = \"{sli}\"\n"),
    );
    if let Some(us) = under_us {
        let under = figure(Duration::from_micros(*us));
        put(text, format_args!("under = \"{under}\"\n"));
    }
    put(
        text,
        format_args!("objective = \"{objective}\"\nwindow = \"{WINDOW}\"\n"),
    );
}

fn date(day: u64) -> String {
    let at = Timestamp::from_secs(day * DAY_S).to_string();
    at.chars().take(10).collect()
}

fn figure(under: Duration) -> String {
    millis(under.as_millis() as u64)
}

/// `300ms`, `2s`.
fn millis(ms: u64) -> String {
    if ms >= 1_000 && ms.is_multiple_of(1_000) {
        format!("{}s", ms / 1_000)
    } else {
        format!("{ms}ms")
    }
}

fn percent(ratio: f64) -> String {
    if ratio > 0.0 && ratio < 0.000_05 {
        "<0.01%".to_owned()
    } else {
        format!("{:.2}%", ratio * 100.0)
    }
}

fn put(text: &mut String, arguments: fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string cannot fail");
}
