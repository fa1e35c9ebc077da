//! What went wrong, to hold alerts against: labelled by people in a file, or found in the history itself.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cli::Exit;
use crate::model::{Slo, Timestamp};
use crate::slo::attribution::Piece;
use crate::slo::backtest::Record;
use crate::slo::incident::{Counted, incidents};
use crate::slo::policy::Share;
use crate::slo::score::Trouble;

/// Incidents in a file at most.
const MOST: usize = 10_000;

/// Where the incidents are from.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "source", rename_all = "lowercase")]
pub(super) enum Source {
    /// Spells that spent so much of a budget.
    History {
        /// The least share of a budget that makes a spell an incident.
        least_budget_ratio: f64,
    },
    /// People, who wrote them down.
    File {
        /// Where.
        file: PathBuf,
    },
}

/// One incident, with the places of the SLOs that it concerns.
#[derive(Clone, Debug)]
pub(super) struct Labelled {
    pub(super) name: String,
    pub(super) trouble: Trouble,
}

/// One of a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct Noted {
    name: Option<String>,
    from: Timestamp,
    to: Timestamp,
    route: Option<String>,
    slo: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    from: String,
    to: String,
    route: Option<String>,
    slo: Option<String>,
}

impl TryFrom<Written> for Noted {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written {
            name,
            from,
            to,
            route,
            slo,
        } = written;
        let moment = |text: &str| -> Result<Timestamp, String> {
            text.parse().map_err(|error| {
                format!("`{text}` is no moment like 2026-11-23T14:00:00Z: {error}")
            })
        };
        let (begun, ended) = (moment(&from)?, moment(&to)?);
        if ended <= begun {
            return Err(format!("it ends at {to}, which is not after {from}"));
        }
        Ok(Self {
            name,
            from: begun,
            to: ended,
            route,
            slo,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    incident: Vec<Noted>,
}

/// Whether an SLO counts the requests of the route of this id.
pub(super) type Counts<'a> = &'a dyn Fn(&Slo, &str) -> bool;

/// Reads a file of incidents; JSON when its name ends so, else TOML.
///
/// A route's incident concerns every SLO that counts its requests: its own, and those of its upstream, its owner or all.
pub(super) fn read(
    path: &Path,
    slos: &[&Slo],
    counts: Counts<'_>,
) -> Result<Vec<Labelled>, (Exit, String)> {
    let named = |wrong: String| format!("{}: {wrong}", path.display());
    let text = fs::read_to_string(path).map_err(|error| (Exit::Io, named(error.to_string())))?;
    let is_json = path.extension().is_some_and(|it| it == "json");
    parse(&text, is_json, slos, counts).map_err(|wrong| (Exit::Usage, named(wrong)))
}

fn parse(
    text: &str,
    is_json: bool,
    slos: &[&Slo],
    counts: Counts<'_>,
) -> Result<Vec<Labelled>, String> {
    let File { incident: noted } = if is_json {
        // Says line and column itself.
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        toml::from_str(text).map_err(|error| error.to_string())?
    };
    if noted.len() > MOST {
        return Err(format!("more than {MOST} incidents"));
    }
    let labelled = noted.into_iter().map(|noted| {
        let concerned = concerned(&noted, slos, counts).map_err(|(kind, name)| {
            // Whatever is unknown stands there once, in quotes.
            let quoted = [format!("\"{name}\""), format!("'{name}'")];
            let is_there = |line: &str| quoted.iter().any(|it| line.contains(it));
            let line = text.lines().position(is_there).map_or(0, |line| line + 1);
            format!("line {line}: there is no {kind} `{name}` among the SLOs that are judged")
        })?;
        let Noted { name, from, to, .. } = noted;
        Ok(Labelled {
            name: name.unwrap_or_else(|| minute(from)),
            trouble: Trouble {
                from,
                to,
                slos: concerned,
            },
        })
    });
    let mut labelled: Vec<Labelled> = labelled.collect::<Result<_, String>>()?;
    labelled.sort_by_key(|it| it.trouble.from);
    Ok(labelled)
}

/// The places of the SLOs that an incident concerns, or what is unknown.
fn concerned<'n>(
    noted: &'n Noted,
    slos: &[&Slo],
    counts: Counts<'_>,
) -> Result<Vec<usize>, (&'static str, &'n String)> {
    let places = |is_it: &dyn Fn(&Slo) -> bool| -> Vec<usize> {
        let numbered = slos.iter().enumerate();
        let of_it = numbered.filter(|(_, slo)| is_it(slo));
        of_it.map(|(place, _)| place).collect()
    };
    let (slo, route) = (noted.slo.as_ref(), noted.route.as_ref());
    if let Some(id) = slo.filter(|id| places(&|it| it.id == **id).is_empty()) {
        return Err(("SLO", id));
    }
    if let Some(id) = route.filter(|id| places(&|it| counts(it, id)).is_empty()) {
        return Err(("route", id));
    }
    Ok(places(&|it| {
        slo.is_none_or(|id| it.id == *id) && route.is_none_or(|id| counts(it, id))
    }))
}

/// The incidents in what was counted: spells that spent at least this share of a budget, put together. No alert takes part.
pub(super) fn found(slos: &[(&Slo, Option<&Record>)], least: Share) -> Vec<Labelled> {
    let pieces: Vec<Vec<Piece>> = slos
        .iter()
        .map(|(_, record)| {
            let pieces = record.map(Record::pieces);
            // What was good is in no spell, and is most.
            pieces
                .into_iter()
                .flatten()
                .filter(|it| it.tally.bad > 0)
                .collect()
        })
        .collect();
    let counted: Vec<Counted<'_>> = slos
        .iter()
        .zip(&pieces)
        .map(|((slo, _), pieces)| Counted { slo, pieces })
        .collect();
    let allowed = |slo: &Slo, at: Timestamp| -> Result<f64, Infallible> {
        let mut known = slos.iter().filter(|(it, _)| it.id == slo.id);
        let record = known.find_map(|(_, record)| *record);
        Ok(record.map_or(0.0, |record| record.allowed(slo, at)))
    };
    let Ok(found) = incidents(&counted, &[], least, allowed);
    let labelled = found.iter().map(|incident| {
        let hurt = |slo: &Slo| incident.damages.iter().any(|it| it.slo.id == slo.id);
        let numbered = slos.iter().enumerate();
        let concerned = numbered.filter(|(_, (slo, _))| hurt(slo));
        Labelled {
            name: minute(incident.from),
            trouble: Trouble {
                from: incident.from,
                to: incident.to,
                slos: concerned.map(|(place, _)| place).collect(),
            },
        }
    });
    labelled.collect()
}

/// The name of what has none, as `vestibule incident list` has it.
fn minute(at: Timestamp) -> String {
    let whole: String = at.to_string().chars().take(16).collect();
    format!("{whole}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{About, Sli, Window};

    fn slo(id: &str, route: &str) -> Slo {
        Slo {
            id: id.to_owned(),
            about: About::Route(route.to_owned()),
            owner: None,
            sli: Sli::AVAILABILITY,
            slices: None,
            probe: None,
            parts: Vec::new(),
            objective: "99.9%".parse().unwrap(),
            window: Window::days(30),
            calendar: None,
            policy: "workbook".to_owned(),
            runbook: None,
        }
    }

    fn counts(slo: &Slo, route: &str) -> bool {
        slo.about.holds(route, None, None)
    }

    const TOML: &str = "\
[[incident]]
name = 'second'
from = '2026-11-23T15:00:00Z'
to = '2026-11-23T15:30:00Z'
route = 'shop'

[[incident]]
from = '2026-11-23T14:00:00Z'
to = '2026-11-23T14:30:00Z'
slo = 'b'
";

    #[test]
    fn a_file_of_incidents_is_read_in_both_formats() {
        let slos = [slo("a", "shop"), slo("b", "shop"), slo("c", "cart")];
        let slos: Vec<&Slo> = slos.iter().collect();
        let json = r#"{ "incident": [
            { "name": "second", "from": "2026-11-23T15:00:00Z", "to": "2026-11-23T15:30:00Z", "route": "shop" },
            { "from": "2026-11-23T14:00:00Z", "to": "2026-11-23T14:30:00Z", "slo": "b" }
        ] }"#;
        for (text, is_json) in [(TOML, false), (json, true)] {
            let read = parse(text, is_json, &slos, &counts).unwrap();
            let told: Vec<_> = read
                .iter()
                .map(|it| (it.name.as_str(), it.trouble.slos.clone()))
                .collect();
            assert_eq!(
                told,
                [("2026-11-23T14:00Z", vec![1]), ("second", vec![0, 1])]
            );
        }
        assert_eq!(parse("", false, &slos, &counts).unwrap().len(), 0);
    }

    #[test]
    fn what_is_wrong_in_a_file_is_told_with_its_line() {
        let slos = [slo("a", "shop")];
        let slos: Vec<&Slo> = slos.iter().collect();
        for (text, is_json, line, why) in [
            (TOML, false, "line 10", "there is no SLO `b`"),
            (
                "[[incident]]\nfrom = 'yesterday'\nto = '2026-11-23T15:30:00Z'\n",
                false,
                "line 1",
                "`yesterday` is no moment",
            ),
            (
                "\n[[incident]]\nfrom = '2026-11-23T15:30:00Z'\nto = '2026-11-23T15:30:00Z'\n",
                false,
                "line 2",
                "not after",
            ),
            (
                "[[incident]]\nfrom = '2026-11-23T15:30:00Z'\n",
                false,
                "line 1",
                "missing field `to`",
            ),
            (
                "[[incident]]\nfrom = '2026-11-23T15:30:00Z'\nto = '2026-11-23T15:40:00Z'\nrout = 'a'\n",
                false,
                "line 4",
                "unknown field `rout`",
            ),
            ("[[incidents]]\n", false, "line 1", "unknown field"),
            (
                "{ \"incident\": [\n { \"from\": \"2026-11-23T15:30:00Z\",\n \"to\": \"2026-11-23T15:20:00Z\" } ] }",
                true,
                "line 3",
                "not after",
            ),
            (
                "{ \"incident\": [\n { \"from\": \"2026-11-23T15:30:00Z\",\n \"to\": \"2026-11-23T15:40:00Z\",\n \"route\": \"nope\" } ] }",
                true,
                "line 4",
                "there is no route `nope`",
            ),
        ] {
            let said = parse(text, is_json, &slos, &counts).unwrap_err();
            assert!(said.contains(why), "{said}");
            assert!(said.contains(line), "{line} of {said}");
        }
    }
}
