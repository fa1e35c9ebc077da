//! `vestibule slo simulate`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::cli::Exit;
use crate::cli::outcome::{configured, tell};
use crate::model::{About, Objective, Sli, Slo, Window};
use crate::slo::policy::{DEFAULT_POLICY, Policy, Severity, Share, Tier};
use crate::slo::simulate::{Errors, LONGEST_S, MOST_PER_HOUR, Played, Shape, Stretch, play};

pub(super) const HELP: &str = "\
Shapes:
  total-outage         every request fails for 10 minutes
  fifteen-percent      15 % fail for 10 minutes
  slow-burn            twice what the objective allows fails for 4 days
  flapping             a fifth fails for 3 minutes of every half hour
  low-traffic-failure  one request fails, at 10 an hour
  low-traffic-outage   every request fails for 2 hours, at 10 an hour
  deploy-spike         3 % fail for 4 minutes

Examples:
  vestibule slo simulate                                         every shape, by the policies that come along
  vestibule slo simulate --shape total-outage --objective 99%    one of them, for another objective
  vestibule slo simulate --config vestibule.toml --slo shop      for an SLO, by its file's policies too
  vestibule slo simulate --file black-friday.toml --json         a shape of your own

A file of your own:
  name = \"black-friday\"
  about = \"ten times the traffic, and a cache that gives up\"

  [[stretch]]
  lasts = \"20m\"
  requests = \"500/s\"      # or 30000/m, or 10/h
  errors = \"0%\"

  [[stretch]]
  lasts = \"15m\"
  requests = \"500/s\"
  errors = \"4%\"           # or \"2x\": twice what the objective allows

Before the first stretch there was nothing but success, at its pace, for the SLO's whole window; with --young there was nothing.";

#[derive(Debug, Args)]
pub(in crate::cli) struct SimulateArguments {
    /// Only this shape; may be repeated
    #[arg(long = "shape", value_name = "NAME")]
    shapes: Vec<String>,
    /// A shape of your own instead; may be repeated
    #[arg(long = "file", value_name = "FILE", conflicts_with = "shapes")]
    files: Vec<PathBuf>,
    /// The configuration whose policies are tried as well
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The SLO of the configuration that is judged
    #[arg(long, value_name = "ID", requires = "config", conflicts_with_all = ["objective", "window"])]
    slo: Option<String>,
    /// The objective that is judged [default: 99.9%]
    #[arg(long, value_name = "SHARE")]
    objective: Option<Objective>,
    /// The window of its budget [default: 30d]
    #[arg(long, value_name = "WINDOW")]
    window: Option<Window>,
    /// Only this policy; may be repeated
    #[arg(long = "policy", value_name = "NAME")]
    policies: Vec<String>,
    /// Without a past: a process that has just been started for the first time
    #[arg(long)]
    young: bool,
    /// Everything, as JSON
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    objective: String,
    window: String,
    /// Seconds of success before each shape.
    past_s: u64,
    shapes: Vec<ShapeOutcome>,
}

#[derive(Debug, Serialize)]
struct ShapeOutcome {
    name: String,
    about: String,
    seconds: u64,
    /// When more fails than the objective allows, in seconds after the beginning; `null`: it never does.
    trouble_from_s: Option<u64>,
    trouble_until_s: Option<u64>,
    policies: Vec<PolicyOutcome>,
}

#[derive(Debug, Serialize)]
struct PolicyOutcome {
    policy: String,
    /// `null`: nobody is woken.
    page: Option<Told>,
    /// `null`: no ticket is opened.
    ticket: Option<Told>,
    firings: Vec<Firing>,
}

/// How a severity fared.
#[derive(Debug, Serialize)]
struct Told {
    /// Seconds from the beginning of the trouble to the first alert.
    detected_s: u64,
    /// The row that was first.
    tier: Tier,
    /// The share of the budget that was spent by then.
    budget_ratio: Option<f64>,
    /// Seconds from the end of the trouble to the end of the last alert; 0 when it ended before, `null` when it had not ended
    /// by the end of the shape.
    reset_s: Option<u64>,
    /// How often alerts of this severity fired.
    count: usize,
}

#[derive(Debug, Serialize)]
struct Firing {
    severity: Severity,
    tier: Tier,
    from_s: u64,
    /// `null`: it still fired at the end.
    until_s: Option<u64>,
    budget_ratio: Option<f64>,
}

pub(super) fn simulate(arguments: &SimulateArguments) -> Exit {
    let played = prepared(arguments).map(|(slo, policies, shapes)| {
        let past_s = if arguments.young {
            0
        } else {
            slo.window.as_secs()
        };
        outcome(&slo, &policies, &shapes, past_s)
    });
    tell(played, arguments.json, text)
}

/// What is judged, by whom, and what happens.
type Prepared = (Slo, Vec<Policy>, Vec<Shape>);

/// Or else how it ends and why.
fn prepared(arguments: &SimulateArguments) -> Result<Prepared, (Exit, String)> {
    let usage = |wrong: String| (Exit::Usage, wrong);
    let (mut slo, mut policies) = (bare(arguments), Policy::shipped());
    if let Some(path) = &arguments.config {
        let resolved = configured(path, None)?;
        if let Some(id) = &arguments.slo {
            let mut slos = resolved.slos.iter();
            let found = slos.find(|slo| slo.id == *id);
            let unknown = || usage(format!("there is no SLO `{id}` in {}", resolved.source));
            slo = found.ok_or_else(unknown)?.clone();
        }
        policies = resolved.policies;
    }
    for name in &arguments.policies {
        if !policies.iter().any(|policy| policy.name == *name) {
            let names = names(policies.iter().map(|it| it.name.as_str()));
            return Err(usage(format!(
                "there is no policy `{name}`; there are: {names}"
            )));
        }
    }
    policies.retain(|it| arguments.policies.is_empty() || arguments.policies.contains(&it.name));
    let mut shapes = Vec::new();
    for path in &arguments.files {
        shapes.push(read(path)?);
    }
    if shapes.is_empty() {
        shapes = Shape::shipped();
        for name in &arguments.shapes {
            if !shapes.iter().any(|shape| shape.name == *name) {
                let names = names(shapes.iter().map(|it| it.name.as_str()));
                return Err(usage(format!(
                    "there is no shape `{name}`; there are: {names}"
                )));
            }
        }
        shapes.retain(|it| arguments.shapes.is_empty() || arguments.shapes.contains(&it.name));
    }
    Ok((slo, policies, shapes))
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// The promise that is judged when none of a file is.
fn bare(arguments: &SimulateArguments) -> Slo {
    let usual = || Objective::try_from_ppm(999_000).expect("99.9 % is an objective");
    Slo {
        id: "simulated".to_owned(),
        about: About::Route("simulated".to_owned()),
        owner: None,
        sli: Sli::AVAILABILITY,
        calendar: None,
        slices: None,
        parts: Vec::new(),
        probe: None,
        objective: arguments.objective.unwrap_or_else(usual),
        window: arguments.window.unwrap_or(Window::days(30)),
        policy: DEFAULT_POLICY.to_owned(),
        runbook: None,
    }
}

// === A shape of one's own ===

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default)]
    about: String,
    #[serde(rename = "stretch")]
    stretches: Vec<WrittenStretch>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStretch {
    lasts: String,
    requests: String,
    errors: String,
}

fn read(path: &Path) -> Result<Shape, (Exit, String)> {
    let named = |wrong: &dyn std::fmt::Display| format!("{}: {wrong}", path.display());
    let text = fs::read_to_string(path).map_err(|error| (Exit::Io, named(&error)))?;
    parse(&text).map_err(|wrong| (Exit::Usage, named(&wrong)))
}

fn parse(text: &str) -> Result<Shape, String> {
    let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
    let stretches = written.stretches.iter().map(stretch);
    let stretches = stretches.collect::<Result<Vec<_>, _>>()?;
    let lasts = stretches
        .iter()
        .try_fold(0_u64, |sum, stretch| sum.checked_add(stretch.lasts_s));
    match lasts {
        Some(1..=LONGEST_S) => Ok(Shape {
            name: written.name,
            about: written.about,
            stretches,
        }),
        Some(0) => Err("nothing happens in it: give it a `[[stretch]]`".to_owned()),
        Some(_) | None => Err(format!("it lasts longer than {} days", LONGEST_S / 86_400)),
    }
}

fn stretch(written: &WrittenStretch) -> Result<Stretch, String> {
    let WrittenStretch {
        lasts,
        requests,
        errors,
    } = written;
    let lasts_s = humantime::parse_duration(lasts)
        .map_err(|error| format!("`{lasts}` is no duration like 10m: {error}"))?
        .as_secs();
    let per_hour = per_hour(requests).ok_or_else(|| {
        format!("`{requests}` is no rate like 50/s, 3000/m or 10/h, of at most a million a second")
    })?;
    let errors = self::errors(errors).ok_or_else(|| {
        format!("`{errors}` is neither a share like 15% nor a multiple of what is allowed like 2x")
    })?;
    Ok(Stretch {
        lasts_s,
        per_hour,
        errors,
    })
}

fn per_hour(text: &str) -> Option<u64> {
    let (count, unit) = text.split_once('/')?;
    let count: u64 = count.trim().parse().ok()?;
    let hours = match unit.trim() {
        "s" => 3_600,
        "m" => 60,
        "h" => 1,
        _ => return None,
    };
    count.checked_mul(hours).filter(|it| *it <= MOST_PER_HOUR)
}

fn errors(text: &str) -> Option<Errors> {
    if let Some(times) = text.strip_suffix('x') {
        let (whole, fraction) = times.split_once('.').unwrap_or((times, "0"));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || !(1..=3).contains(&fraction.len()) {
            return None;
        }
        return format!("{whole}{fraction:0<3}")
            .parse()
            .ok()
            .map(Errors::Burn);
    }
    // None is no share of anything, but a good part of most incidents.
    if text == "0%" {
        return Some(Errors::Share(0));
    }
    let share: Share = text.parse().ok()?;
    Some(Errors::Share(share.as_ppm()))
}

// === What came of it ===

fn outcome(slo: &Slo, policies: &[Policy], shapes: &[Shape], past_s: u64) -> Outcome {
    let shapes = shapes.iter().map(|shape| {
        let trouble = shape.trouble(slo.objective);
        let played = play(shape, slo, policies, past_s);
        ShapeOutcome {
            name: shape.name.clone(),
            about: shape.about.clone(),
            seconds: shape.lasts_s(),
            trouble_from_s: trouble.map(|(from, _)| from),
            trouble_until_s: trouble.map(|(_, until)| until),
            policies: played
                .iter()
                .map(|played| fared(played, trouble.unwrap_or((0, 0))))
                .collect(),
        }
    });
    Outcome {
        objective: slo.objective.to_string(),
        window: slo.window.to_string(),
        past_s,
        shapes: shapes.collect(),
    }
}

fn fared(played: &Played, trouble: (u64, u64)) -> PolicyOutcome {
    let told = |severity| {
        let first = played.first(severity)?;
        let quiet = played.quiet_since_s(severity);
        Some(Told {
            detected_s: first.from_s.saturating_sub(trouble.0),
            tier: first.row.tier,
            budget_ratio: first.budget_ratio,
            reset_s: quiet.map(|second| second.saturating_sub(trouble.1)),
            count: played.count(severity),
        })
    };
    let firings = played.firings.iter().map(|fired| Firing {
        severity: fired.row.severity,
        tier: fired.row.tier,
        from_s: fired.from_s,
        until_s: fired.until_s,
        budget_ratio: fired.budget_ratio,
    });
    PolicyOutcome {
        policy: played.policy.clone(),
        page: told(Severity::Page),
        ticket: told(Severity::Ticket),
        firings: firings.collect(),
    }
}

const HEAD: [&str; 7] = [
    "POLICY",
    "SEVERITY",
    "DETECTED AFTER",
    "BY",
    "BUDGET SPENT",
    "RESET AFTER",
    "TIMES",
];

fn text(outcome: &Outcome) -> String {
    let mut text = format!(
        "{} over {}, judged every second; detection counts from the beginning of the trouble, reset from its end\n",
        outcome.objective, outcome.window
    );
    for shape in &outcome.shapes {
        let about = if shape.about.is_empty() { "" } else { ": " };
        for part in ["\n", &shape.name, about, &shape.about, "\n"] {
            text.push_str(part);
        }
        if shape.trouble_from_s.is_none() {
            text.push_str("  nothing in it spends more than the objective allows\n");
        }
        text.push_str(&table(shape));
    }
    text
}

fn table(shape: &ShapeOutcome) -> String {
    let mut rows = vec![HEAD.map(ToOwned::to_owned)];
    for of_policy in &shape.policies {
        for (severity, told) in [
            (Severity::Page, &of_policy.page),
            (Severity::Ticket, &of_policy.ticket),
        ] {
            let none = || "-".to_owned();
            let cell = |value: Option<String>| value.unwrap_or_else(none);
            let told = told.as_ref();
            rows.push([
                of_policy.policy.clone(),
                severity.as_str().to_owned(),
                told.map_or_else(|| "never".to_owned(), |told| length(told.detected_s)),
                cell(told.map(|told| told.tier.as_str().to_owned())),
                cell(
                    told.and_then(|told| told.budget_ratio)
                        .map(|ratio| format!("{:.1}%", ratio * 100.0)),
                ),
                cell(told.map(|told| {
                    let still = || "not by the end".to_owned();
                    told.reset_s.map_or_else(still, length)
                })),
                told.map_or(0, |told| told.count).to_string(),
            ]);
        }
    }
    let mut widths = [0; HEAD.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; HEAD.len()]| {
        let cells = row.iter().zip(widths);
        let cells = cells.map(|(cell, width)| format!("{cell:<width$}"));
        format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn length(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_of_ones_own_is_read_and_its_mistakes_are_told() {
        let file = |lasts: &str, requests: &str, errors: &str| {
            format!(
                "name = \"own\"\n[[stretch]]\nlasts = \"{lasts}\"\nrequests = \"{requests}\"\nerrors = \"{errors}\"\n"
            )
        };
        let shape = parse(&file("90s", "10/m", "2.5x")).unwrap();
        assert_eq!(
            shape.stretches,
            [Stretch {
                lasts_s: 90,
                per_hour: 600,
                errors: Errors::Burn(2_500),
            }]
        );
        for (errors, share) in [("0%", 0), ("15%", 150_000), ("100%", 1_000_000)] {
            let shape = parse(&file("1m", "1/s", errors)).unwrap();
            assert_eq!(shape.stretches[0].errors, Errors::Share(share), "{errors}");
        }
        for (lasts, requests, errors, wrong) in [
            ("long", "1/s", "1%", "no duration"),
            ("1m", "1/day", "1%", "no rate"),
            ("1m", "1000001/s", "1%", "no rate"),
            ("1m", "1/s", "101%", "neither a share"),
            ("1m", "1/s", "-1x", "neither a share"),
            ("0s", "1/s", "1%", "nothing happens"),
            ("15d", "1/s", "1%", "longer than 14 days"),
        ] {
            let said = parse(&file(lasts, requests, errors)).unwrap_err();
            assert!(said.contains(wrong), "{said}");
        }
        assert!(parse("name = \"a\"\nstretches = 3\n").is_err());
    }

    #[test]
    fn the_help_names_every_shape() {
        for shape in Shape::shipped() {
            assert!(
                HELP.contains(&format!("  {} ", shape.name)),
                "{}",
                shape.name
            );
        }
    }
}
