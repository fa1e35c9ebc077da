//! A verdict's six answers, each on a line of its own: for readers who cannot scan a sentence, and for documents.

use super::{Locus, Outside, Suspect, Verdict, words};
use crate::model::{Tally, Timestamp};

/// What is asked of every incident, in this order.
pub const QUESTIONS: [&str; 6] = ["whose", "which", "since", "changed", "how fast", "do"];

/// The answers to [`QUESTIONS`], as of `now`; none of them is empty.
pub fn of(verdict: &Verdict, now: Timestamp) -> [String; 6] {
    [
        whose(verdict),
        which(verdict),
        since(verdict, now),
        changed(verdict, now),
        how_fast(verdict),
        next(verdict),
    ]
}

fn whose(verdict: &Verdict) -> String {
    let side = match verdict.side {
        Locus::None => "nobody's: nothing is wrong",
        Locus::Edge => "edge, not upstream",
        Locus::Upstream => "upstream, not edge",
        Locus::Client => "clients, not edge",
        // What only probes met may as well be in front of the edge.
        Locus::Network if verdict.fault.is_none() && verdict.outside.is_some() => {
            "names or network"
        }
        Locus::Network => "names or network, between edge and upstream",
        Locus::Certificate => "a certificate",
        Locus::Unknown => "unknown: the evidence does not say",
    };
    let side = match &verdict.fault {
        Some(fault) => format!("{side} ({fault})"),
        None => side.to_owned(),
    };
    match &verdict.outside {
        Some(Outside { probe, place, text }) => {
            let who = probe.as_ref().map_or_else(String::new, |probe| {
                let at =
                    place.map_or_else(String::new, |it| format!(" places it at {}", it.as_str()));
                format!("probe {}{at}: ", words::plain(probe))
            });
            format!("{side}; {who}{}", words::long(text))
        }
        None => side,
    }
}

fn which(verdict: &Verdict) -> String {
    let mut text = match verdict.routes.as_slice() {
        [] => verdict.route.clone().unwrap_or("no route".to_owned()),
        routes => {
            const SHOWN: usize = 4;
            let shown = routes.iter().take(SHOWN).cloned().collect::<Vec<_>>();
            match routes.len().saturating_sub(SHOWN) {
                0 => shown.join(", "),
                more => format!("{} and {more} more", shown.join(", ")),
            }
        }
    };
    if let Some(ratio) = verdict.bad_ratio {
        text = format!("{text}; {} bad", words::percent(ratio));
    }
    if let Some(differs) = &verdict.differs {
        text = format!(
            "{text}; {} {}: {}, elsewhere {}",
            differs.dimension,
            words::plain(&differs.part),
            share(differs.there),
            share(differs.elsewhere)
        );
    }
    text
}

fn since(verdict: &Verdict, now: Timestamp) -> String {
    match verdict.onset {
        Some(onset) => format!(
            "{}, {} ago",
            words::time(onset, now),
            words::duration(now.since(onset).as_secs())
        ),
        None => "not found in the data".to_owned(),
    }
}

fn changed(verdict: &Verdict, now: Timestamp) -> String {
    let Some(suspect) = &verdict.suspect else {
        return "no change found in the hour before".to_owned();
    };
    let further = verdict.further_suspects.iter();
    let further: Vec<String> = further.map(|it| words::event(&it.event, now)).collect();
    let mut text = format!("{} ({})", words::event(&suspect.event, now), suspect.why);
    if let Some(lift) = lift(suspect) {
        text = format!("{text}, {lift}");
    }
    if !further.is_empty() {
        text = format!("{text}; less likely: {}", further.join("; "));
    }
    text
}

/// `300 times as often`.
fn lift(suspect: &Suspect) -> Option<String> {
    let lift = suspect.lift().filter(|lift| *lift >= 1.5)?;
    Some(format!("{lift:.0} times as often"))
}

fn how_fast(verdict: &Verdict) -> String {
    let Some(burn) = verdict.burn else {
        return "no budget burns".to_owned();
    };
    let mut text = words::multiple(burn);
    if let Some(slo) = &verdict.slo {
        text = format!("{text} on {slo}");
    }
    if let Some(left) = verdict.remaining_ratio {
        let left = if left > 0.0 {
            format!("{} of the budget left", words::percent(left))
        } else {
            "no budget left".to_owned()
        };
        text = format!("{text}, {left}");
    }
    match verdict.time_to_empty_s {
        Some(0) | None => text,
        Some(secs) => format!("{text}, gone in {}", words::duration(secs)),
    }
}

fn next(verdict: &Verdict) -> String {
    let step = if verdict.next_step.is_empty() {
        "nothing"
    } else {
        &verdict.next_step
    };
    match &verdict.runbook {
        Some(runbook) => format!("{step} ({})", words::long(runbook)),
        None => step.to_owned(),
    }
}

/// `61.3% of 212 bad`.
fn share(tally: Tally) -> String {
    match tally.valid() {
        0 => "nothing".to_owned(),
        valid => format!(
            "{} of {valid} bad",
            words::percent(tally.bad as f64 / valid as f64)
        ),
    }
}
