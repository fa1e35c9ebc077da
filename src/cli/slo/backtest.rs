//! `vestibule slo backtest`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::past::Past;
use crate::cli::outcome::{configured, json};
use crate::cli::{DEFAULT_FILE, Exit, complain, say};
use crate::clock::{Clock, SystemClock};
use crate::config::Resolved;
use crate::model::{Objective, Slo, Tally, Timestamp};
use crate::proxy::config::Route;
use crate::slo::backtest::{Firing, Record, lasted, run};
use crate::slo::policy::{Policy, Severity, Share};
use crate::slo::score::{Detection, Score, Trouble, median};
use crate::store;

mod page;
mod truth;

use truth::{Labelled, Source};

pub(super) const HELP: &str = "\
What is compared: for every profile, how long after an incident began the first page came, how much of the budget was spent
by then (both the median of incidents that were caught), which share of its pages was about an incident (precision), which
share of incidents a page caught (recall), and how often and how long it fired. A page catches an incident of its SLO when it
starts from 15 minutes before the incident to its end. Each row of a policy that fires is a page of its own.

Incidents are read from a file, TOML or JSON, or else found in the history: spells in which an SLO burned too fast and spent
at least --least-budget of its budget. No alert takes part in finding them, so no profile is favoured by what it told; but what
no SLO counts is not among them, and a profile that pages about less than that looks less precise than people may find it.

A file of incidents:
  [[incident]]
  name = \"INC-42\"                  # optional
  from = \"2026-11-23T14:00:00Z\"
  to = \"2026-11-23T14:40:00Z\"
  route = \"checkout\"               # optional: only pages of SLOs that count this route catch it
  slo = \"checkout-availability\"    # optional: only pages of this SLO catch it
In JSON: { \"incident\": [ { \"from\": .., \"to\": .. } ] }

Exit codes:
   0  done, and no bound was missed
   1  a bound was missed: --fail-under-recall, --fail-under-precision or --max-pages-per-week, of the first profile
  64  there is no such policy or SLO, or the file of incidents is wrong
  74  there is no history, or it cannot be read
  78  the configuration is wrong

Examples:
  vestibule slo backtest                                     every profile, over all history there is
  vestibule slo backtest --days 7 --policy hourly            every SLO by one policy, with each time that it fires
  vestibule slo backtest --objective 99.95%                  what a stricter objective would have told
  vestibule slo backtest --incidents postmortems.toml        against what people wrote down
  vestibule slo backtest --policy own --fail-under-recall 0.9 --max-pages-per-week 5       in CI
  vestibule slo backtest --config tried.toml --json          another configuration

Requests were counted as good or bad when they happened, so another `under` of a latency SLO changes nothing here:
`vestibule slo what-if` reads the stored latencies.";

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
    /// Only this profile: a policy's name, or `own`, each SLO's own policy; may be repeated
    #[arg(long = "policy", value_name = "NAME")]
    policies: Vec<String>,
    /// Judge every SLO by this objective instead of its own
    #[arg(long, value_name = "SHARE")]
    objective: Option<Objective>,
    /// Only this SLO; may be repeated
    #[arg(long = "slo", value_name = "ID")]
    slos: Vec<String>,
    /// What went wrong, as people wrote it down
    #[arg(long, value_name = "FILE", conflicts_with = "least_budget")]
    incidents: Option<PathBuf>,
    /// The share of a budget that makes a spell in the history an incident
    #[arg(long, value_name = "SHARE", default_value = "2%")]
    least_budget: Share,
    /// Exit with 1 when the first profile's recall is below this, 0 to 1
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    fail_under_recall: Option<f64>,
    /// Exit with 1 when the first profile's precision is below this, 0 to 1
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    fail_under_precision: Option<f64>,
    /// Exit with 1 when the first profile pages more often
    #[arg(long, value_name = "N")]
    max_pages_per_week: Option<u32>,
    /// Everything, as JSON
    #[arg(long)]
    json: bool,
}

fn ratio(text: &str) -> Result<f64, String> {
    let read = text.parse().ok();
    read.filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or_else(|| format!("`{text}` is no number from 0 to 1"))
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    /// When the minutes that were judged begin.
    from: Timestamp,
    /// When they end.
    to: Timestamp,
    /// Seconds of them that were measured.
    measured_s: u64,
    /// What was not, to the minute.
    gaps: Vec<Span>,
    /// The objective that was tried instead of the SLOs' own; `null`: their own.
    objective: Option<String>,
    /// Where the incidents are from.
    truth: Source,
    /// The incidents that were to be caught, the oldest first.
    incidents: Vec<IncidentOutcome>,
    /// Incidents that nothing could catch: none of their time, or of their SLOs, was measured.
    left_out: Vec<LeftOut>,
    /// Every SLO, in the configuration's order.
    slos: Vec<SloOutcome>,
    /// Every profile, in the order they were asked for.
    profiles: Vec<ProfileOutcome>,
    /// Bounds that the first profile missed, in words.
    missed: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Span {
    from: Timestamp,
    to: Timestamp,
}

#[derive(Debug, Serialize)]
struct IncidentOutcome {
    name: String,
    from: Timestamp,
    to: Timestamp,
    seconds: u64,
    /// The share of its time that was measured.
    measured_ratio: f64,
    /// The SLOs that it concerns.
    slos: Vec<String>,
    /// The largest share of a budget that was spent in it; `null` without a budget.
    budget_ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
struct LeftOut {
    name: String,
    from: Timestamp,
    to: Timestamp,
}

#[derive(Debug, Serialize)]
struct SloOutcome {
    slo: String,
    /// Its own policy.
    policy: String,
    /// The objective that was tried.
    objective: String,
    /// Whether anything of it is in the history.
    known: bool,
    /// Whether what is in the history counts something else: another reading, threshold, slice or route.
    counted_otherwise: bool,
    good: u64,
    bad: u64,
}

#[derive(Debug, Serialize)]
struct ProfileOutcome {
    /// A policy's name, or `own`.
    profile: String,
    /// Whether it judges each SLO as its configuration does.
    own: bool,
    /// Incidents that a page caught.
    caught: u64,
    /// Caught ÷ incidents; `null` without an incident.
    recall: Option<f64>,
    /// Pages that caught an incident ÷ pages; `null` without a page.
    precision: Option<f64>,
    /// The median of how long the incidents that were caught waited for their page; `null` when none was.
    detection_s: Option<u64>,
    /// The median of the share of the budget that was spent in them by then; `null` when none was caught.
    detection_budget_ratio: Option<f64>,
    pages: u64,
    tickets: u64,
    /// Pages of all SLOs, scaled to a measured week; `null` of less than a day.
    pages_per_week: Option<f64>,
    /// Tickets of all SLOs, scaled to a measured week; `null` of less than a day.
    tickets_per_week: Option<f64>,
    /// Seconds for which pages fired, summed over alerts.
    paging_s: u64,
    /// Seconds for which tickets fired, summed over alerts.
    ticketing_s: u64,
    /// How each incident fared, in the order of `incidents`.
    detections: Vec<Detected>,
    /// When what fired, by SLO.
    slos: Vec<ProfileSlo>,
}

#[derive(Debug, Serialize)]
struct Detected {
    incident: String,
    /// `null`: no page caught it.
    page: Option<Told>,
    /// `null`: no ticket caught it.
    ticket: Option<Told>,
}

#[derive(Debug, Serialize)]
struct Told {
    at: Timestamp,
    /// From the incident's beginning; 0 when it fired before.
    after_s: u64,
    slo: String,
    alert: String,
    /// The share of that SLO's budget that was spent in the incident by then; `null` without a budget.
    budget_ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
struct ProfileSlo {
    slo: String,
    policy: String,
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

/// The word for each SLO's own policy.
const OWN: &str = "own";

/// A way to judge every SLO.
struct Profile<'a> {
    name: String,
    own: bool,
    /// For each SLO.
    policies: Vec<&'a Policy>,
}

pub(super) fn backtest(arguments: &BacktestArguments) -> Exit {
    match outcome(arguments) {
        Ok(outcome) => {
            say(&if arguments.json {
                json(&outcome)
            } else {
                page::text(&outcome)
            });
            for missed in &outcome.missed {
                complain(missed);
            }
            if outcome.missed.is_empty() {
                Exit::Ok
            } else {
                Exit::Warn
            }
        }
        Err((exit, wrong)) => {
            complain(&wrong);
            exit
        }
    }
}

fn outcome(arguments: &BacktestArguments) -> Result<Outcome, (Exit, String)> {
    let mut resolved = configured(&arguments.config, arguments.state_dir.as_ref())?;
    if let Some(objective) = arguments.objective {
        for slo in &mut resolved.slos {
            slo.objective = objective;
        }
    }
    let slos = chosen(arguments, &resolved).map_err(|wrong| (Exit::Usage, wrong))?;
    let profiles =
        profiles(&arguments.policies, &resolved, &slos).map_err(|wrong| (Exit::Usage, wrong))?;
    let labelled = match &arguments.incidents {
        Some(path) => {
            let counts = |slo: &Slo, id: &str| {
                let mut routes = resolved.proxy.routes.iter();
                // A composite counts what its parts do.
                let is_part = |it: &&Slo| slo.parts.iter().any(|part| part.slo == it.id);
                let parts: Vec<&Slo> = resolved.slos.iter().filter(is_part).collect();
                let is_in = |route: &Route| {
                    route.is_in(&slo.about) || parts.iter().any(|part| route.is_in(&part.about))
                };
                routes.any(|route| route.id == id && is_in(route))
            };
            Some(truth::read(path, &slos, &counts)?)
        }
        None => None,
    };
    let dir = resolved.store.dir.display();
    let now = SystemClock::new().now();
    let read = store::read(&resolved.store.dir, now)
        .and_then(|history| Past::read(&history, arguments.days, now, &slos));
    let past = read
        .map_err(|error| (Exit::Io, format!("{dir}: {error}")))?
        .ok_or_else(|| (Exit::Io, format!("{dir}: nothing has been counted yet")))?;
    Ok(judged(arguments, past, &slos, &profiles, labelled))
}

/// The SLOs that are tried.
fn chosen<'a>(
    arguments: &BacktestArguments,
    resolved: &'a Resolved,
) -> Result<Vec<&'a Slo>, String> {
    for id in &arguments.slos {
        if !resolved.slos.iter().any(|slo| slo.id == *id) {
            return Err(format!("there is no SLO `{id}` in {}", resolved.source));
        }
    }
    let wanted = |slo: &&Slo| arguments.slos.is_empty() || arguments.slos.contains(&slo.id);
    Ok(resolved.slos.iter().filter(wanted).collect())
}

/// The profiles of these names; without any, the SLOs' own and every policy.
fn profiles<'a>(
    names: &[String],
    resolved: &'a Resolved,
    slos: &[&Slo],
) -> Result<Vec<Profile<'a>>, String> {
    let known = |name: &str| resolved.policies.iter().find(|policy| policy.name == name);
    let own = || -> Option<Vec<&Policy>> { slos.iter().map(|slo| known(&slo.policy)).collect() };
    let is_own = |policy: &Policy| slos.iter().all(|slo| slo.policy == policy.name);
    let of_policy = |policy: &'a Policy| Profile {
        name: policy.name.clone(),
        own: is_own(policy),
        policies: vec![policy; slos.len()],
    };
    // A configuration names only policies that it has.
    let of_slos = || Profile {
        name: OWN.to_owned(),
        own: true,
        policies: own().unwrap_or_default(),
    };
    if names.is_empty() {
        let mut profiles: Vec<Profile<'a>> = resolved.policies.iter().map(of_policy).collect();
        // Told once when all SLOs have the same one.
        match profiles.iter().position(|it| it.own) {
            Some(place) => profiles[..=place].rotate_right(1),
            None => profiles.insert(0, of_slos()),
        }
        return Ok(profiles);
    }
    let profile = |name: &String| match known(name) {
        Some(policy) => Ok(of_policy(policy)),
        None if name == OWN => Ok(of_slos()),
        None => {
            let names: Vec<&str> = resolved
                .policies
                .iter()
                .map(|it| it.name.as_str())
                .chain([OWN])
                .collect();
            Err(format!(
                "there is no policy `{name}`; there are: {}",
                names.join(", ")
            ))
        }
    };
    names.iter().map(profile).collect()
}

fn judged(
    arguments: &BacktestArguments,
    mut past: Past,
    slos: &[&Slo],
    profiles: &[Profile<'_>],
    labelled: Option<Vec<Labelled>>,
) -> Outcome {
    let (from, to) = (past.from(), past.to());
    // Summed up once, for every profile.
    let records: Vec<(&Slo, Option<Record>)> =
        slos.iter().map(|slo| (*slo, past.take(&slo.id))).collect();
    let known: Vec<(&Slo, Option<&Record>)> = records
        .iter()
        .map(|(slo, record)| (*slo, record.as_ref()))
        .collect();
    let gaps: Vec<Span> = past
        .gaps()
        .into_iter()
        .map(|(from, to)| Span { from, to })
        .collect();
    let missing: u64 = gaps.iter().map(|it| it.to.since(it.from).as_secs()).sum();
    let measured_s = to.since(from).as_secs() - missing;
    let truth = match &arguments.incidents {
        Some(file) => Source::File { file: file.clone() },
        None => Source::History {
            least_budget_ratio: f64::from(arguments.least_budget.as_ppm()) / 1e6,
        },
    };
    let labelled = labelled.unwrap_or_else(|| truth::found(&known, arguments.least_budget));
    let (labelled, left_out): (Vec<Labelled>, Vec<Labelled>) = labelled
        .into_iter()
        .partition(|it| measured(&it.trouble, &known, past.from()) > 0);
    let troubles: Vec<Trouble> = labelled.iter().map(|it| it.trouble.clone()).collect();
    let judge = |profile| fared(profile, &known, &labelled, &troubles, (measured_s, to));
    let profiles: Vec<ProfileOutcome> = profiles.iter().map(judge).collect();
    let missed = profiles
        .first()
        .map_or_else(Vec::new, |first| missed(arguments, first));
    Outcome {
        from,
        to,
        measured_s,
        gaps,
        objective: arguments.objective.map(|objective| objective.to_string()),
        truth,
        incidents: labelled
            .iter()
            .map(|it| incident(it, &known, past.from()))
            .collect(),
        left_out: left_out
            .into_iter()
            .map(|it| LeftOut {
                name: it.name,
                from: it.trouble.from,
                to: it.trouble.to,
            })
            .collect(),
        slos: known
            .iter()
            .map(|(slo, record)| {
                let tally = record.map(|record| record.between(from, to));
                let Tally { good, bad } = tally.unwrap_or_default();
                SloOutcome {
                    slo: slo.id.clone(),
                    policy: slo.policy.clone(),
                    objective: slo.objective.to_string(),
                    known: record.is_some(),
                    counted_otherwise: past.is_otherwise(&slo.id),
                    good,
                    bad,
                }
            })
            .collect(),
        profiles,
        missed,
    }
}

/// What is known of each SLO.
type Known<'a> = [(&'a Slo, Option<&'a Record>)];

/// Seconds of an incident in which one of its SLOs was measured, from `first` on: nothing is judged before that.
fn measured(trouble: &Trouble, known: &Known<'_>, first: Timestamp) -> u64 {
    let records = trouble.slos.iter().filter_map(|place| known[*place].1);
    let from = trouble.from.max(first);
    if trouble.to <= from {
        return 0;
    }
    let measured = records.map(|record| record.measured_s(from, trouble.to));
    measured.max().unwrap_or(0)
}

fn incident(labelled: &Labelled, known: &Known<'_>, first: Timestamp) -> IncidentOutcome {
    let Labelled { name, trouble } = labelled;
    let seconds = trouble.to.since(trouble.from).as_secs();
    let shares = trouble
        .slos
        .iter()
        .filter_map(|place| spent(known[*place], trouble, trouble.to));
    IncidentOutcome {
        name: name.clone(),
        from: trouble.from,
        to: trouble.to,
        seconds,
        // Minutes are whole, and an incident need not be.
        measured_ratio: (measured(trouble, known, first) as f64 / seconds.max(1) as f64).min(1.0),
        slos: trouble
            .slos
            .iter()
            .map(|place| known[*place].0.id.clone())
            .collect(),
        budget_ratio: shares.max_by(f64::total_cmp),
    }
}

/// The share of an SLO's budget that was spent in an incident until `at`; `None` without a budget.
fn spent((slo, record): (&Slo, Option<&Record>), trouble: &Trouble, at: Timestamp) -> Option<f64> {
    let record = record?;
    let allowed = record.allowed(slo, trouble.to.max(at));
    let bad = record.between(trouble.from.min(at), at).bad;
    (allowed > 0.0).then(|| bad as f64 / allowed)
}

fn fared(
    profile: &Profile<'_>,
    known: &Known<'_>,
    labelled: &[Labelled],
    troubles: &[Trouble],
    (measured_s, to): (u64, Timestamp),
) -> ProfileOutcome {
    let firings: Vec<Vec<Firing>> = known
        .iter()
        .zip(&profile.policies)
        .map(|((slo, record), policy)| record.map_or_else(Vec::new, |it| run(slo, policy, it)))
        .collect();
    let all: Vec<(usize, &Firing)> = firings
        .iter()
        .enumerate()
        .flat_map(|(place, firings)| firings.iter().map(move |firing| (place, firing)))
        .collect();
    let score = Score::new(troubles, &all);
    let told = |detection: &Option<Detection<'_>>, trouble: &Trouble| {
        detection.map(|Detection { slo, firing, after }| Told {
            at: firing.from,
            after_s: after.as_secs(),
            slo: known[slo].0.id.clone(),
            alert: firing.alert.clone(),
            budget_ratio: spent(known[slo], trouble, firing.from),
        })
    };
    let both = score.paged.iter().zip(&score.ticketed);
    let detections: Vec<Detected> = labelled
        .iter()
        .zip(both)
        .map(|(labelled, (page, ticket))| Detected {
            incident: labelled.name.clone(),
            page: told(page, &labelled.trouble),
            ticket: told(ticket, &labelled.trouble),
        })
        .collect();
    let budgets = detections.iter().filter_map(|it| it.page.as_ref());
    let budgets = budgets.filter_map(|page| page.budget_ratio).collect();
    let weeks = measured_s as f64 / (7.0 * 86_400.0);
    let per_week = |count: u64| (measured_s >= 86_400).then(|| count as f64 / weeks);
    let seconds = |severity: Severity| {
        let of_it = all.iter().filter(|(_, it)| it.row.severity == severity);
        of_it.map(|(_, it)| lasted(it, to).as_secs()).sum()
    };
    ProfileOutcome {
        profile: profile.name.clone(),
        own: profile.own,
        caught: score.caught,
        recall: score.recall(),
        precision: score.precision(),
        detection_s: score.median_detection().map(|it| it.as_secs()),
        detection_budget_ratio: median(budgets),
        pages: score.pages,
        tickets: score.tickets,
        pages_per_week: per_week(score.pages),
        tickets_per_week: per_week(score.tickets),
        paging_s: seconds(Severity::Page),
        ticketing_s: seconds(Severity::Ticket),
        detections,
        slos: known
            .iter()
            .zip(&profile.policies)
            .zip(&firings)
            .map(|(((slo, _), policy), firings)| ProfileSlo {
                slo: slo.id.clone(),
                policy: policy.name.clone(),
                firings: firings.iter().map(|firing| fired(firing, to)).collect(),
            })
            .collect(),
    }
}

fn fired(firing: &Firing, end: Timestamp) -> Fired {
    let Firing {
        alert,
        row,
        from,
        until,
        bad,
        budget_ratio,
    } = firing;
    Fired {
        alert: alert.clone(),
        severity: row.severity,
        from: *from,
        until: *until,
        seconds: lasted(firing, end).as_secs(),
        bad: *bad,
        budget_ratio: *budget_ratio,
    }
}

/// The bounds that a profile misses. What is not defined misses none.
fn missed(arguments: &BacktestArguments, profile: &ProfileOutcome) -> Vec<String> {
    let name = &profile.profile;
    let mut missed = Vec::new();
    let ratios = [
        ("recall", profile.recall, arguments.fail_under_recall),
        (
            "precision",
            profile.precision,
            arguments.fail_under_precision,
        ),
    ];
    for (what, found, least) in ratios {
        if let (Some(found), Some(least)) = (found, least)
            && found < least
        {
            missed.push(format!("{name}: {what} is {found:.3}, below {least}"));
        }
    }
    if let (Some(found), Some(most)) = (profile.pages_per_week, arguments.max_pages_per_week)
        && found > f64::from(most)
    {
        missed.push(format!("{name}: {found:.1} pages a week, more than {most}"));
    }
    missed
}
