//! A bundle of evidence: what is on the screen and what it was drawn from, as Markdown, JSON and a picture, for a ticket
//! or a postmortem. It obeys the privacy mask.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use serde_json::{Value, json};

use super::app::Model;
use super::fmt;
use super::markdown::cell;
use super::mask::masked;
use super::picture::svg;
use crate::snapshot::{Explanation, Series, Snapshot};
use crate::triage::{Locus, answers};

/// The files of a bundle, before they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The beginning of their names.
    pub stem: String,
    /// The page for people.
    pub markdown: String,
    /// Everything, as JSON.
    pub json: String,
    /// The screen.
    pub svg: String,
}

/// Events told.
const EVENTS: usize = 30;
/// Files of one name that are tried.
const TRIES: u32 = 100;
/// The smallest screen worth a picture.
const SMALLEST: (u16, u16) = (80, 24);

impl Bundle {
    /// What `model` shows; `None` before there is anything.
    pub fn of(model: &Model) -> Option<Self> {
        let shown = model.shown()?;
        let hidden;
        let shown: &Snapshot = if model.unmasked {
            shown
        } else {
            hidden = without_secrets(shown)?;
            &hidden
        };
        let (width, height) = (
            model.size.width.max(SMALLEST.0),
            model.size.height.max(SMALLEST.1),
        );
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        super::view(model, &mut buffer);
        let route = model.looked_at();
        let explained = route.and_then(|route| shown.explanation(&route));
        let moment: String = shown
            .at
            .to_string()
            .chars()
            .take(19)
            .filter(|c| *c != ':')
            .collect();
        let all = json!({
            "snapshot": shown,
            "explanation": explained,
            "stale": model.is_stale(),
            "unmasked": model.unmasked,
        });
        // Plain data always becomes JSON.
        let json = serde_json::to_string_pretty(&all).unwrap_or_default();
        Some(Self {
            stem: format!("vestibule-evidence-{moment}Z"),
            markdown: markdown(model, shown, explained.as_ref(), &buffer),
            json: format!("{json}\n"),
            svg: svg(&buffer, model.theme.palette),
        })
    }

    /// Writes it into `dir`, over nothing that is there; gives the files.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let parts = [
            ("md", &self.markdown),
            ("json", &self.json),
            ("svg", &self.svg),
        ];
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for turn in 1..=TRIES {
            let stem = match turn {
                1 => self.stem.clone(),
                _ => format!("{}-{turn}", self.stem),
            };
            let paths = parts.map(|(ending, _)| dir.join(format!("{stem}.{ending}")));
            let mut written = paths.iter().zip(parts);
            let failed = written.find_map(|(path, (_, text))| {
                let error = write_new(path, text).err()?;
                Some((path, error))
            });
            let Some((at, error)) = failed else {
                return Ok(paths.into());
            };
            // Half a bundle is none. What was there before stays.
            for path in paths.iter().take_while(|path| *path != at) {
                fs::remove_file(path)?;
            }
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            last = error;
        }
        Err(last)
    }
}

/// Never follows a link or writes over a file that somebody left there. For its owner alone, as the socket is that it came by.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())
}

/// The snapshot with every text in it masked, or nothing at all. Before anything is escaped: what is masked is known by its form.
fn without_secrets(shown: &Snapshot) -> Option<Snapshot> {
    let mut value = serde_json::to_value(shown).ok()?;
    hide(&mut value);
    serde_json::from_value(value).ok()
}

/// Masks every text of a JSON value.
fn hide(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let std::borrow::Cow::Owned(shown) = masked(text) {
                *text = shown;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide),
        Value::Object(fields) => fields.values_mut().for_each(hide),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn markdown(
    model: &Model,
    shown: &Snapshot,
    explained: Option<&Explanation>,
    buffer: &Buffer,
) -> String {
    let (verdict, ..) = model.verdict(shown);
    let mut text = format!("# Evidence of {}\n\n{}\n\n", shown.at, cell(&verdict.text));
    let kind = if shown.stored {
        "looked back on, by the minute".to_owned()
    } else if model.is_stale() {
        let age = fmt::or_none(model.age(), fmt::age);
        format!("the last before the daemon went away, {age} old")
    } else {
        "live".to_owned()
    };
    let config = &shown.config;
    for (name, value) in [
        ("instance", shown.instance.clone()),
        ("Vestibule", shown.version.clone()),
        ("data", kind),
        ("counting since", shown.counting_since.to_string()),
        (
            "configuration",
            format!("generation {}, hash {}", config.generation, config.hash),
        ),
    ] {
        put(&mut text, format_args!("- {name}: {}\n", cell(&value)));
    }
    if verdict.side != Locus::None {
        put(&mut text, format_args!("\n## Six answers\n\n"));
        let said = answers::of(verdict, shown.at);
        let rows = answers::QUESTIONS.iter().zip(said);
        let rows = rows.map(|(question, answer)| [(*question).to_owned(), answer]);
        table(&mut text, ["question", "answer"], rows);
    }
    if let Some(explained) = explained {
        differs(&mut text, explained);
    }
    suspects(&mut text, model, shown);
    standing(&mut text, shown);
    put(&mut text, format_args!("\n## What happened\n\n"));
    let events = shown.events.iter().take(EVENTS).map(|event| {
        let kind = event.kind.as_str().to_owned();
        [event.at.to_string(), kind, event.text.clone()]
    });
    table(&mut text, ["at", "kind", "what"], events);
    let route = explained.and_then(|it| shown.routes.iter().find(|route| route.id == it.route));
    minutes(&mut text, "The last hour, all routes", &shown.edge.series);
    if let Some(route) = route {
        let title = format!("The last hour, {}", cell(&route.id));
        minutes(&mut text, &title, &route.series);
    }
    screen(&mut text, buffer);
    put(
        &mut text,
        format_args!(
            "\n## To ask again\n\n```sh\nvestibule incident export --from {}\n\
             curl --unix-socket vestibule-state/vestibule.sock 'http://localhost/v1/snapshot?at={}'\n```\n",
            verdict.onset.unwrap_or(shown.at),
            shown.at.as_secs()
        ),
    );
    text
}

fn differs(text: &mut String, explained: &Explanation) {
    let route = cell(&explained.route);
    put(text, format_args!("\n## What differs, {route}\n\n"));
    if explained.differs.is_empty() {
        put(text, format_args!("Nothing that is measured.\n"));
    } else {
        let rows = explained.differs.iter().map(|it| {
            let share = |tally: crate::model::Tally| {
                let ratio = tally.bad as f64 / tally.valid().max(1) as f64;
                format!("{} of {} bad", fmt::share(ratio), tally.valid())
            };
            [
                it.dimension.clone(),
                it.parts.join(", "),
                share(it.there),
                share(it.elsewhere),
                it.lift.map_or("only there".to_owned(), fmt::times),
                it.over.clone(),
            ]
        });
        let heads = ["dimension", "part", "there", "elsewhere", "lift", "over"];
        table(text, heads, rows);
    }
    for remark in &explained.remarks {
        put(text, format_args!("\n- {}\n", cell(remark)));
    }
}

fn suspects(text: &mut String, model: &Model, shown: &Snapshot) {
    let (verdict, ..) = model.verdict(shown);
    let suspects = verdict.suspect.iter().chain(&verdict.further_suspects);
    let rows: Vec<[String; 3]> = suspects
        .map(|it| {
            let event = format!("{} {}", it.event.kind.as_str(), it.event.text);
            [it.event.at.to_string(), event, it.why.clone()]
        })
        .collect();
    put(text, format_args!("\n## Suspects\n\n"));
    if rows.is_empty() {
        put(text, format_args!("No change found in the hour before.\n"));
    } else {
        table(text, ["at", "change", "why"], rows.into_iter());
    }
}

fn standing(text: &mut String, shown: &Snapshot) {
    put(text, format_args!("\n## SLOs\n\n"));
    let slos = shown.slos.iter().map(|slo| {
        [
            slo.id.clone(),
            slo.state.as_str().to_owned(),
            fmt::or_none(slo.sli_ratio, fmt::success),
            fmt::or_none(slo.expected_remaining_ratio, fmt::remaining),
        ]
    });
    table(text, ["SLO", "state", "SLI", "budget left"], slos);
    put(text, format_args!("\n## Alerts\n\n"));
    let alerts = shown.alerts.iter().map(|alert| {
        [
            alert.id.clone(),
            alert.state.as_str().to_owned(),
            alert.since.to_string(),
            alert.text.clone(),
        ]
    });
    table(text, ["alert", "state", "since", "why"], alerts);
}

fn minutes(text: &mut String, title: &str, series: &Series) {
    put(text, format_args!("\n## {title}\n\n"));
    let number = |numbers: &[Option<u64>], column: usize| {
        let number = numbers.get(column).copied().flatten();
        fmt::or_none(number, |number| number.to_string())
    };
    let rows = (0..series.requests.len()).map(|column| {
        let at = series.start.as_secs() + column as u64 * series.step_s;
        let p99 = series.p99_us.get(column).copied().flatten();
        [
            crate::model::Timestamp::from_secs(at).time_of_day(),
            number(&series.requests, column),
            number(&series.bad, column),
            fmt::or_none(p99, fmt::micros),
        ]
    });
    table(text, ["from", "requests", "bad", "p99"], rows);
}

/// The screen in a fence that nothing on it can close.
fn screen(text: &mut String, buffer: &Buffer) {
    let area = buffer.area;
    let rows = (area.y..area.bottom()).map(|y| {
        let cells = (area.x..area.right()).filter_map(|x| buffer.cell((x, y)));
        let row: String = cells.map(ratatui::buffer::Cell::symbol).collect();
        row.trim_end().to_owned()
    });
    let rows: Vec<String> = rows.collect();
    let runs = rows.iter().flat_map(|row| row.split(|c| c != '`'));
    let longest = runs.map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let rows = rows.join("\n");
    put(
        text,
        format_args!("\n## The screen\n\n{fence}text\n{rows}\n{fence}\n"),
    );
}

fn table<const N: usize>(
    text: &mut String,
    heads: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    put(text, format_args!("| {} |\n", heads.join(" | ")));
    put(text, format_args!("| {} |\n", ["---"; N].join(" | ")));
    for row in rows {
        let cells = row.map(|it| cell(&it));
        put(text, format_args!("| {} |\n", cells.join(" | ")));
    }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a String takes all");
}
