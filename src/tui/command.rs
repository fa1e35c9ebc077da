//! What a person types after `:`, and what it means.

use super::list::Sort;
use super::tab::Tab;
use crate::model::Timestamp;
use crate::snapshot::Snapshot;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Order {
    /// Show a screen.
    Show(Tab),
    /// Open a route's detail.
    Route(String),
    /// Show an upstream's row.
    Upstream(String),
    /// Filter the list of routes; empty drops the filter.
    Filter(String),
    Sort(Sort),
    Hold,
    /// Look back on this time, as it was typed.
    At(String),
    Live,
    /// Say in what the bad requests of a route differ; of what is looked at unless named.
    Explain(Option<String>),
    Runbook,
    Copy,
    /// Write what is shown to files.
    Evidence,
    /// Take the privacy mask off, or put it on.
    Mask,
    Theme,
    Help,
    Quit,
}

/// What comes after a command's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument {
    None,
    Route,
    Upstream,
    Sort,
    /// Anything, also nothing.
    Text,
}

struct Command {
    name: &'static str,
    argument: Argument,
    help: &'static str,
}

const fn command(name: &'static str, argument: Argument, help: &'static str) -> Command {
    Command {
        name,
        argument,
        help,
    }
}

/// Every command but those of the screens, which are named by their titles.
const COMMANDS: [Command; 15] = [
    command(
        "at",
        Argument::Text,
        "look back: 14:02, -30m, or a full time",
    ),
    command("live", Argument::None, "back to live"),
    command("route", Argument::Route, "open a route"),
    command("upstream", Argument::Upstream, "show an upstream"),
    command(
        "filter",
        Argument::Text,
        "filter routes, or drop the filter",
    ),
    command("sort", Argument::Sort, "order routes"),
    command("hold", Argument::None, "hold the display, or go on live"),
    command(
        "explain",
        Argument::Route,
        "in what bad requests differ, of this or of a route",
    ),
    command("runbook", Argument::None, "what to do"),
    command(
        "copy",
        Argument::None,
        "copy the row by way of the terminal",
    ),
    command(
        "evidence",
        Argument::None,
        "write what is shown: Markdown, JSON, SVG",
    ),
    command("mask", Argument::None, "privacy mask off, or on"),
    command("theme", Argument::None, "dark or light colours"),
    command("help", Argument::None, "the keys"),
    command("quit", Argument::None, "leave"),
];

/// Every command with what it does, for the help screen.
pub(crate) fn all() -> impl Iterator<Item = (String, &'static str)> {
    COMMANDS.iter().map(|command| {
        let argument = match command.argument {
            Argument::None => "",
            Argument::Route => " ID",
            Argument::Upstream => " NAME",
            Argument::Sort => " ORDER",
            Argument::Text => " TEXT",
        };
        (format!(":{}{argument}", command.name), command.help)
    })
}

/// Reads what was typed.
///
/// # Errors
/// What is wrong with it, in a few words.
pub(crate) fn parse(typed: &str, snapshot: Option<&Snapshot>) -> Result<Order, String> {
    let (name, rest) = split(typed);
    if let Some(tab) = screen(name) {
        return match rest {
            "" => Ok(Order::Show(tab)),
            _ => Err(format!("`{name}` takes nothing after it")),
        };
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        return Err(unknown(name));
    };
    if command.argument == Argument::None && !rest.is_empty() {
        return Err(format!("`{name}` takes nothing after it"));
    }
    let known = |names: Vec<String>, what: &str| {
        if names.iter().any(|known| known == rest) {
            Ok(rest.to_owned())
        } else if rest.is_empty() {
            Err(format!("which {what}?"))
        } else {
            Err(format!("there is no {what} `{rest}`"))
        }
    };
    Ok(match name {
        "route" => Order::Route(known(arguments(Argument::Route, snapshot), "route")?),
        "upstream" => Order::Upstream(known(arguments(Argument::Upstream, snapshot), "upstream")?),
        "filter" => Order::Filter(rest.to_owned()),
        "sort" => {
            let sort = Sort::ALL.into_iter().find(|sort| sort.word() == rest);
            let words = || Sort::ALL.map(Sort::word).join(", ");
            Order::Sort(sort.ok_or_else(|| format!("by {}", words()))?)
        }
        "at" if rest.is_empty() => return Err("when? 14:02, -30m".to_owned()),
        "at" => Order::At(rest.to_owned()),
        "live" => Order::Live,
        "explain" if rest.is_empty() => Order::Explain(None),
        "explain" => Order::Explain(Some(known(arguments(Argument::Route, snapshot), "route")?)),
        "hold" => Order::Hold,
        "runbook" => Order::Runbook,
        "copy" => Order::Copy,
        "evidence" => Order::Evidence,
        "mask" => Order::Mask,
        "theme" => Order::Theme,
        "help" => Order::Help,
        _ => Order::Quit,
    })
}

/// What may stand where the last word of `typed` stands, in order; the whole line each.
pub(crate) fn candidates(typed: &str, snapshot: Option<&Snapshot>) -> Vec<String> {
    if !typed.contains(' ') {
        let screens = Tab::ALL.iter().map(|tab| tab.title().to_lowercase());
        let commands = COMMANDS.iter().map(|command| command.name.to_owned());
        let mut names: Vec<String> = screens.chain(commands).collect();
        names.retain(|name| name.starts_with(&typed.to_lowercase()));
        names.sort();
        return names;
    }
    let (name, rest) = split(typed);
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        return Vec::new();
    };
    let mut names = arguments(command.argument, snapshot);
    names.retain(|name| name.starts_with(rest));
    names.sort();
    names
        .into_iter()
        .map(|rest| format!("{name} {rest}"))
        .collect()
}

/// `typed` with as much added as all candidates share; a space after the only one that takes more.
pub(crate) fn completed(typed: &str, snapshot: Option<&Snapshot>) -> String {
    let candidates = candidates(typed, snapshot);
    let Some((first, others)) = candidates.split_first() else {
        return typed.to_owned();
    };
    let mut shared = first.as_str();
    for other in others {
        let same = shared
            .char_indices()
            .zip(other.chars())
            .take_while(|((_, a), b)| a == b)
            .last()
            .map_or(0, |((at, c), _)| at + c.len_utf8());
        shared = shared.get(..same).unwrap_or_default();
    }
    let takes_more = COMMANDS
        .iter()
        .any(|command| command.name == shared && command.argument != Argument::None);
    if others.is_empty() && takes_more {
        return format!("{shared} ");
    }
    if shared.len() < typed.len() {
        return typed.to_owned();
    }
    shared.to_owned()
}

/// The moment that `text` means at `now`: a time of day that is not in the future (`14:02`, `14:02:30`), a span ago
/// (`-30m`), or RFC 3339.
pub(crate) fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(span) = text.strip_prefix('-') {
        return humantime::parse_duration(span)
            .ok()
            .map(|span| now.minus(span));
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let numbers = text.split(':').map(str::parse::<u64>);
    let numbers: Vec<u64> = numbers.collect::<Result<_, _>>().ok()?;
    let (hours, minutes, seconds) = match numbers.as_slice() {
        [hours, minutes] => (*hours, *minutes, 0),
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        _ => return None,
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let midnight = now.as_secs() / DAY_S * DAY_S;
    let at = midnight + hours * 3_600 + minutes * 60 + seconds;
    let past = if at > now.as_secs() {
        at.saturating_sub(DAY_S)
    } else {
        at
    };
    Some(Timestamp::from_secs(past))
}

const DAY_S: u64 = 86_400;

fn split(typed: &str) -> (&str, &str) {
    let typed = typed.trim_start();
    match typed.split_once(' ') {
        Some((name, rest)) => (name, rest.trim()),
        None => (typed, ""),
    }
}

fn screen(name: &str) -> Option<Tab> {
    let same = |tab: &Tab| tab.title().eq_ignore_ascii_case(name);
    Tab::ALL.into_iter().find(same)
}

fn arguments(argument: Argument, snapshot: Option<&Snapshot>) -> Vec<String> {
    match (argument, snapshot) {
        (Argument::Sort, _) => Sort::ALL
            .iter()
            .map(|sort| sort.word().to_owned())
            .collect(),
        (Argument::Route, Some(snapshot)) => {
            snapshot.routes.iter().map(|it| it.id.clone()).collect()
        }
        (Argument::Upstream, Some(snapshot)) => {
            let upstreams = snapshot.upstreams.iter();
            upstreams.map(|it| it.name.clone()).collect()
        }
        (Argument::Route | Argument::Upstream, None) | (Argument::None | Argument::Text, _) => {
            Vec::new()
        }
    }
}

fn unknown(name: &str) -> String {
    if name.is_empty() {
        return "a screen or a command; Tab completes".to_owned();
    }
    let screens = Tab::ALL.iter().map(|tab| tab.title().to_lowercase());
    let names = screens.chain(COMMANDS.iter().map(|command| command.name.to_owned()));
    let near = names.min_by_key(|known| strsim::damerau_levenshtein(known, name));
    match near.filter(|known| strsim::damerau_levenshtein(known, name) <= 2) {
        Some(near) => format!("no command `{name}`; did you mean `{near}`?"),
        None => format!("no command `{name}`; Tab lists them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_understood_and_mistakes_explained() {
        for (typed, expected) in [
            ("slo", Ok(Order::Show(Tab::Slos))),
            ("Upstreams", Ok(Order::Show(Tab::Upstreams))),
            (
                "filter err>1% shop",
                Ok(Order::Filter("err>1% shop".to_owned())),
            ),
            ("filter", Ok(Order::Filter(String::new()))),
            ("sort p99", Ok(Order::Sort(Sort::P99))),
            ("quit", Ok(Order::Quit)),
            ("quit now", Err("`quit` takes nothing after it")),
            ("slos", Err("no command `slos`; did you mean `slo`?")),
            ("route nowhere", Err("there is no route `nowhere`")),
            ("route", Err("which route?")),
            ("frobnicate", Err("no command `frobnicate`; Tab lists them")),
        ] {
            let expected = expected.map_err(ToOwned::to_owned);
            assert_eq!(parse(typed, None), expected, "{typed}");
        }
    }

    #[test]
    fn times_are_in_the_past() {
        let now: Timestamp = "2026-11-23T14:12:32Z".parse().unwrap();
        for (text, expected) in [
            ("14:02", Some("2026-11-23T14:02:00.000Z")),
            ("14:02:30", Some("2026-11-23T14:02:30.000Z")),
            ("23:59", Some("2026-11-22T23:59:00.000Z")),
            ("-30m", Some("2026-11-23T13:42:32.000Z")),
            ("2026-11-09T02:10:00Z", Some("2026-11-09T02:10:00.000Z")),
            ("24:00", None),
            ("soon", None),
            ("-", None),
        ] {
            let at = moment(text, now).map(|at| at.to_string());
            assert_eq!(at.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn completion_adds_what_is_certain() {
        for (typed, expected) in [
            ("ups", "upstream"),
            ("upstreams", "upstreams"),
            ("fil", "filter "),
            ("exe", "exec"),
            ("ex", "ex"),
            ("sort x", "sort x"),
            ("sort bu", "sort burn"),
            ("zzz", "zzz"),
            ("", ""),
        ] {
            assert_eq!(completed(typed, None), expected, "{typed}");
        }
        assert!(candidates("", None).len() > 15);
    }

    #[test]
    fn every_command_in_the_table_is_understood() {
        for command in &COMMANDS {
            let said = parse(command.name, None);
            let known = !matches!(&said, Err(why) if why.starts_with("no command"));
            assert!(known, "{}: {said:?}", command.name);
            let only_quit_quits = said == Ok(Order::Quit);
            assert_eq!(only_quit_quits, command.name == "quit", "{}", command.name);
        }
    }
}
