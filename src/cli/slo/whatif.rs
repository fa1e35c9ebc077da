//! `vestibule slo what-if`.

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::hours;
use crate::cli::outcome::{configured, tell};
use crate::cli::{DEFAULT_FILE, Exit};
use crate::clock::{Clock, SystemClock};
use crate::model::{Latency, Objective, Sli, Slo, Timestamp};
use crate::slo::whatif::Bounds;
use crate::store::{self, QueryError, Reader};

pub(super) const HELP: &str = "\
What was counted for the SLO is judged by other objectives exactly. Another threshold is read from the route's stored latency
distributions, which know a duration to 1 % and not which requests failed (those are no events of a latency SLO): so what
would have been bad is at least the first and at most the second figure of a range. A threshold at the end of a bucket has no
range where nothing failed; the nearest ends are told.

Distributions are kept by the hour for `history.hours`, less when the history has grown too large. An hour is left out unless
its distribution holds every request that was counted in it; how many requests were left out is told.

Exit codes:
   0  done
  64  there is no such SLO, or it has no threshold
  74  there is no history, or it cannot be read
  78  the configuration is wrong

Examples:
  vestibule slo what-if checkout-fast --under 250ms                     a shorter threshold
  vestibule slo what-if checkout-fast --under 200ms --under 250ms --objective 95% --objective 99%    each with each
  vestibule slo what-if checkout-available --objective 99.95%           a stricter objective
  vestibule slo what-if checkout-fast --under 250ms --days 7 --json     of the last week";

#[derive(Debug, Args)]
pub(in crate::cli) struct WhatIfArguments {
    /// The SLO
    slo: String,
    /// Another threshold of a latency SLO; may be repeated
    #[arg(long, value_name = "DURATION", value_parser = threshold)]
    under: Vec<Duration>,
    /// Another objective; may be repeated
    #[arg(long, value_name = "SHARE")]
    objective: Vec<Objective>,
    /// How many days to look back [default: the SLO's window, or its calendar's period so far]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=366))]
    days: Option<u64>,
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

fn threshold(text: &str) -> Result<Duration, String> {
    let read = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    // What the distributions tell apart.
    let range = Duration::from_micros(1)..Duration::from_secs(600);
    if range.contains(&read) {
        Ok(read)
    } else {
        Err("a threshold is from 1us to less than 10m".to_owned())
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    slo: String,
    /// The first hour that was looked at.
    from: Timestamp,
    /// The end of what was counted.
    to: Timestamp,
    /// The SLO's window in words.
    window: String,
    /// The share of that window that lies between `from` and `to`.
    window_ratio: f64,
    /// What is promised, first, and then every combination that was asked for.
    cases: Vec<Case>,
}

#[derive(Debug, Serialize)]
struct Case {
    /// Whether this is the SLO as it is configured.
    promised: bool,
    /// The threshold in microseconds; `null`: the SLO has none.
    under_us: Option<u64>,
    /// The bucket that the threshold lies in; `null` when the count is the SLO's own.
    bucket_us: Option<[u64; 2]>,
    objective: String,
    /// Valid events.
    valid: u64,
    bad: Range<u64>,
    /// Whether `bad` is exact.
    exact: bool,
    /// Good ÷ valid; `null` without a valid event.
    sli_ratio: Option<Range<f64>>,
    /// The share of these events' budget that would have been used; `null` without a valid event.
    budget_used_ratio: Option<Range<f64>>,
    /// The hour that would have burned fastest; `null` without a valid event.
    peak: Option<Peak>,
    /// Requests of hours without a whole distribution, which are not in `valid`.
    unknown: u64,
}

/// At least, and at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Range<T> {
    least: T,
    most: T,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Peak {
    /// The hour's beginning.
    at: Timestamp,
    /// Its burn rate.
    burn: Range<f64>,
}

pub(super) fn what_if(arguments: &WhatIfArguments) -> Exit {
    tell(outcome(arguments), arguments.json, text)
}

fn outcome(arguments: &WhatIfArguments) -> Result<Outcome, (Exit, String)> {
    let resolved = configured(&arguments.config, arguments.state_dir.as_ref())?;
    let id = &arguments.slo;
    let slo = resolved.slos.iter().find(|slo| slo.id == *id);
    let slo = slo.ok_or_else(|| {
        let wrong = format!("there is no SLO `{id}` in {}", resolved.source);
        (Exit::Usage, wrong)
    })?;
    let own = match slo.sli {
        Sli::Latency { under } if slo.slices.is_none() => Some(under),
        _ => None,
    };
    let is_readable = own.is_some() && slo.about.route().is_some();
    if !is_readable && !arguments.under.is_empty() {
        let wrong = format!(
            "`{id}` has no threshold that could be another: `--under` is for latency SLOs of one route that count requests"
        );
        return Err((Exit::Usage, wrong));
    }
    let dir = &resolved.store.dir;
    let now = SystemClock::new().now();
    let read = || -> Result<Option<Outcome>, QueryError> {
        let history = store::read(dir, now)?;
        let Some(end) = hours::ends(&history)? else {
            return Ok(None);
        };
        let reader = Reader::open(dir)?;
        let since = history.counting_since.as_secs();
        // Counts of another threshold or route are not this SLO's.
        let mut stored = history.slos.iter().zip(&history.origins);
        let is_counted =
            stored.any(|((id, _), origin)| *id == slo.id && origin.is_of(&slo.counted()));
        looked(arguments, &reader, slo, own, (since, end), is_counted).map(Some)
    };
    let failed = |wrong: String| (Exit::Io, format!("{}: {wrong}", dir.display()));
    read()
        .map_err(|error| failed(error.to_string()))?
        .ok_or_else(|| failed("nothing has been counted yet".to_owned()))
}

fn looked(
    arguments: &WhatIfArguments,
    reader: &Reader,
    slo: &Slo,
    own: Option<Duration>,
    (since, end): (u64, u64),
    is_counted: bool,
) -> Result<Outcome, QueryError> {
    let last = Timestamp::from_secs(end.saturating_sub(1));
    let (begin, whole) = match (&slo.calendar, arguments.days) {
        (_, Some(days)) => (end.saturating_sub(days * 86_400), days * 86_400),
        (Some(calendar), None) => {
            let period = calendar.period(last);
            (period.start_secs, period.length().as_secs())
        }
        (None, None) => {
            let window = slo.window.as_secs();
            (end.saturating_sub(window), window)
        }
    };
    let spans: Vec<(u64, u64)> = hours::spans(begin.max(since / 3_600 * 3_600), end).collect();
    let mut sums = vec![Sum::default(); 1 + arguments.under.len()];
    for (start, end) in spans.iter().filter(|_| is_counted) {
        let counted = reader.slo_over(&slo.id, *start, *end)?;
        sums[0].take(*start, Some(Bounds::exact(counted)), 0);
    }
    if let (Some(route), false) = (slo.about.route(), arguments.under.is_empty()) {
        let span = (begin.max(since / 3_600 * 3_600), end);
        hours::each(reader, route, span, |hour| {
            for (sum, under) in sums[1..].iter_mut().zip(&arguments.under) {
                let bounds = Bounds::slower_than(micros(*under), &hour.latency, hour.counts);
                sum.take(hour.start_secs, bounds, hour.counts.good);
            }
        })?;
    }
    let objectives = if arguments.objective.is_empty() {
        vec![slo.objective]
    } else {
        arguments.objective.clone()
    };
    let mut cases = vec![sums[0].case(true, own, slo.objective)];
    if arguments.under.is_empty() {
        let asked = objectives.iter().filter(|it| **it != slo.objective);
        cases.extend(asked.map(|objective| sums[0].case(false, own, *objective)));
    }
    for (sum, under) in sums[1..].iter().zip(&arguments.under) {
        let (shortest, longest) = Latency::new().bucket_of(micros(*under));
        cases.extend(objectives.iter().map(|objective| Case {
            bucket_us: Some([shortest, longest]),
            ..sum.case(false, Some(*under), *objective)
        }));
    }
    let from = spans.first().map_or(end, |(start, _)| *start);
    Ok(Outcome {
        slo: slo.id.clone(),
        from: Timestamp::from_secs(from),
        to: Timestamp::from_secs(end),
        window: match arguments.days {
            Some(days) => format!("{days}d"),
            None => slo.span(),
        },
        window_ratio: ((end - from) as f64 / whole.max(1) as f64).min(1.0),
        cases,
    })
}

/// What one way of counting came to.
#[derive(Clone, Debug, Default)]
struct Sum {
    all: Bounds,
    unknown: u64,
    /// The hours' own.
    hours: Vec<(u64, Bounds)>,
}

impl Sum {
    fn take(&mut self, start: u64, bounds: Option<Bounds>, requests: u64) {
        match bounds {
            Some(bounds) => {
                self.all += bounds;
                if bounds.most > 0 {
                    self.hours.push((start, bounds));
                }
            }
            None => self.unknown += requests,
        }
    }

    fn case(&self, promised: bool, under: Option<Duration>, objective: Objective) -> Case {
        let range = |(least, most)| Range { least, most };
        let sli = |bounds: Bounds| bounds.sli().map(|(least, most)| Range { least, most });
        let burns = self.hours.iter().filter_map(|(start, bounds)| {
            let (least, most) = bounds.budget_used(objective)?;
            let at = Timestamp::from_secs(*start);
            let burn = Range { least, most };
            Some(Peak { at, burn })
        });
        let peak = burns.max_by(|a, b| a.burn.most.total_cmp(&b.burn.most));
        Case {
            promised,
            under_us: under.map(micros),
            bucket_us: None,
            objective: objective.to_string(),
            valid: self.all.valid,
            bad: range((self.all.least, self.all.most)),
            exact: self.all.is_exact(),
            sli_ratio: sli(self.all),
            budget_used_ratio: self
                .all
                .budget_used(objective)
                .map(|(least, most)| Range { least, most }),
            peak,
            unknown: self.unknown,
        }
    }
}

fn micros(duration: Duration) -> u64 {
    // A threshold is below ten minutes.
    duration.as_micros() as u64
}

// === As people read it ===

const HEAD: [&str; 7] = [
    "UNDER",
    "OBJECTIVE",
    "EVENTS",
    "BAD",
    "SLI",
    "BUDGET USED",
    "FASTEST HOUR",
];

fn text(outcome: &Outcome) -> String {
    let Outcome {
        slo,
        from,
        to,
        window,
        window_ratio,
        cases,
    } = outcome;
    let mut text = format!(
        "{slo} from {from} to {to}, {:.1}% of {window}\n\n",
        window_ratio * 100.0
    );
    let mut rows = vec![HEAD.map(ToOwned::to_owned).to_vec()];
    rows.extend(cases.iter().map(row));
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let cells = cells.map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        put(&mut text, format_args!("{}\n", line.trim_end()));
    }
    text.push('\n');
    if cases.iter().any(|it| it.valid == 0) {
        text.push_str("-: nothing was counted\n");
    }
    let mut told = Vec::new();
    for case in cases {
        let (Some(us), Some([shortest, longest])) = (case.under_us, case.bucket_us) else {
            continue;
        };
        if told.contains(&us) {
            continue;
        }
        told.push(us);
        if us < longest {
            let before = shortest.saturating_sub(1);
            put(
                &mut text,
                format_args!(
                    "{}: durations from {shortest}us to {longest}us are kept as one; {before}us and {longest}us are exact\n",
                    length(us)
                ),
            );
        }
        if case.unknown > 0 {
            let all = case.valid + case.unknown;
            put(
                &mut text,
                format_args!(
                    "{}: {} of {all} requests are left out, the distributions of their hours are not whole\n",
                    length(us),
                    case.unknown
                ),
            );
        }
    }
    text
}

fn row(case: &Case) -> Vec<String> {
    let none = || "-".to_owned();
    let bad = case.bad;
    let objective = if case.promised {
        format!("{} (promised)", case.objective)
    } else {
        case.objective.clone()
    };
    vec![
        case.under_us.map_or_else(none, length),
        objective,
        case.valid.to_string(),
        if case.valid == 0 {
            none()
        } else {
            span(&bad.least.to_string(), &bad.most.to_string())
        },
        case.sli_ratio
            .map_or_else(none, |it| span(&share(it.least, 3), &share(it.most, 3))),
        case.budget_used_ratio
            .map_or_else(none, |it| span(&share(it.least, 1), &share(it.most, 1))),
        case.peak.map_or_else(none, |peak| {
            let burn = span(
                &format!("{:.1}x", peak.burn.least),
                &format!("{:.1}x", peak.burn.most),
            );
            let at: String = peak.at.to_string().chars().take(16).collect();
            format!("{burn} at {at}Z")
        }),
    ]
}

/// One figure when both are the same.
fn span(least: &str, most: &str) -> String {
    if least == most {
        least.to_owned()
    } else {
        format!("{least} to {most}")
    }
}

fn share(ratio: f64, digits: usize) -> String {
    format!("{:.digits$}%", ratio * 100.0)
}

fn length(us: u64) -> String {
    humantime::format_duration(Duration::from_micros(us)).to_string()
}

fn put(text: &mut String, arguments: fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string cannot fail");
}
