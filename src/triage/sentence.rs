//! The words of an incident's sentence, in the order in which someone who was just woken asks for them.

use super::engine::{RECENT, Trouble, about, ratio};
use super::onset::Onset;
use super::outside::in_sentence;
use super::{Level, Locus, Suspect, Verdict, words};
use crate::model::{About, Reading, Sli, Timestamp};

/// The sentence: whose fault, which route, how much, since when; what changed; how fast; what to do.
pub(super) fn sentence(
    now: Timestamp,
    troubles: &[Trouble<'_>],
    verdict: &Verdict,
    onset: Option<Onset>,
    only: Option<&str>,
) -> String {
    let worst = &troubles[0];
    let (level, route) = (label(verdict.severity), worst.route.id);
    if worst.is_only_low {
        let left = worst.slo.expected_remaining_ratio.unwrap_or_default();
        let left = if left > 0.0 {
            format!("{} of its budget", words::percent(left))
        } else {
            "none of its budget".to_owned()
        };
        return format!(
            "{level}: {} has {left} left for {} on {}; it does not burn now; {}",
            about(worst),
            worst.slo.slo.span(),
            worst.slo.slo.id,
            verdict.next_step
        );
    }
    let side = match verdict.side {
        Locus::Edge => "edge, not upstream: ",
        Locus::Upstream => "upstream, not edge: ",
        Locus::Network if verdict.fault.is_none() && verdict.outside.is_some() => {
            "names or network: "
        }
        Locus::Network => "network, between edge and upstream: ",
        Locus::Client => "clients, not edge: ",
        Locus::Certificate => "certificate: ",
        Locus::Unknown => "side unknown: ",
        Locus::None => "",
    };
    let others = match &troubles[1..] {
        [] => String::new(),
        [one] => format!(" and {}", one.route.id),
        more => format!(" and {} more routes", more.len()),
    };
    let since = match onset {
        None => String::new(),
        Some(onset) => {
            let at = words::time(Timestamp::from_secs(onset.secs), now);
            let least = if onset.open { "at least " } else { "" };
            format!(" since {least}{at}")
        }
    };
    let what = if worst.is_slow() {
        slow(worst)
    } else if worst.is_probed() {
        probed(worst)
    } else if worst.is_hidden() {
        hidden(worst)
    } else if worst.is_refused {
        refused(worst)
    } else if worst.is_over() {
        "0% bad in the last minute, failing before that".to_owned()
    } else {
        bad(worst, verdict)
    };
    let only = only.unwrap_or_default();
    let changed = changed(now, onset, verdict.suspect.as_ref());
    let burn = burning(verdict, worst, &wider(troubles));
    let owner = match worst.route.owner {
        Some(owner) => format!(" (owner {})", words::plain(owner)),
        None => String::new(),
    };
    let outside = in_sentence(verdict.outside.as_ref());
    format!(
        "{level}: {side}{route}{others} {what}{only}{since}; {changed}{outside}{burn}; {}{owner}",
        verdict.next_step
    )
}

/// `61.3% bad (130/s, 99% of all errors)`; with counts below a thousand requests.
fn bad(worst: &Trouble<'_>, verdict: &Verdict) -> String {
    let minute = worst.route.last_minute;
    let Some(ratio) = verdict.bad_ratio else {
        return "without requests in the last minute".to_owned();
    };
    let many = if minute.valid() < 1_000 {
        format!("{}/{}", minute.bad, minute.valid())
    } else {
        words::per_second(verdict.bad_per_s.unwrap_or_default())
    };
    match verdict.share_of_bad.filter(|_| minute.bad > 0) {
        Some(share) => format!(
            "{} bad ({many}, {})",
            words::percent(ratio),
            words::of_all_errors(share)
        ),
        None => format!("{} bad ({many})", words::percent(ratio)),
    }
}

/// `fails probe shop-front: 40% of 5m bad (users: 0/1200 bad in the last minute)`.
fn probed(worst: &Trouble<'_>) -> String {
    let probe = worst.by.slo.probe.as_deref().unwrap_or_default();
    let minute = worst.route.last_minute;
    let users = match minute.valid() {
        0 => "no users in the last minute".to_owned(),
        valid => format!("users: {}/{valid} bad in the last minute", minute.bad),
    };
    let share = ratio(worst.recent.bad, worst.recent.valid()).unwrap_or_default();
    let verb = if worst.is_over() { "failed" } else { "fails" };
    format!(
        "{verb} probe {}: {} of {RECENT} bad ({users})",
        words::plain(probe),
        words::percent(share)
    )
}

/// `4.0% of attempts without a connection, of 5m (users: 0/1200 bad in the last minute)`.
fn hidden(worst: &Trouble<'_>) -> String {
    let what = match worst.by.slo.sli {
        Sli::Connection => "of attempts without a connection".to_owned(),
        _ => match &worst.by.slo.about {
            About::Limit(name) => format!("over rate limit {}", words::plain(name)),
            _ => "over its rate limits".to_owned(),
        },
    };
    let share = ratio(worst.recent.bad, worst.recent.valid()).unwrap_or_default();
    let minute = worst.route.last_minute;
    let users = match minute.valid() {
        0 => "no users in the last minute".to_owned(),
        valid => format!("users: {}/{valid} bad in the last minute", minute.bad),
    };
    format!("{} {what}, of {RECENT} ({users})", words::percent(share))
}

/// `34.0% answered 4xx or failed, of 5m`.
fn refused(worst: &Trouble<'_>) -> String {
    let Sli::Availability(reading) = worst.by.slo.sli else {
        return String::new();
    };
    let what = match reading {
        Reading::All => "answered 4xx or failed".to_owned(),
        Reading::Fault { also } => format!("answered {also} or failed"),
    };
    let share = ratio(worst.recent.bad, worst.recent.valid()).unwrap_or_default();
    format!("{} {what}, of {RECENT}", words::percent(share))
}

/// `12.3% slower than 300ms`, over five minutes.
fn slow(worst: &Trouble<'_>) -> String {
    let Sli::Latency { under } = worst.by.slo.sli else {
        return String::new();
    };
    let share = ratio(worst.recent.bad, worst.recent.valid()).unwrap_or_default();
    format!(
        "{} slower than {}",
        words::percent(share),
        words::latency(under.as_micros())
    )
}

/// `suspect deploy checkout v2 14:02:05Z, 35 s before; `
pub(super) fn changed(now: Timestamp, onset: Option<Onset>, suspect: Option<&Suspect>) -> String {
    match (onset, suspect) {
        (None, _) => String::new(),
        (Some(_), None) => "no change found in the hour before; ".to_owned(),
        (Some(_), Some(suspect)) => {
            let event = words::event(&suspect.event, now);
            match suspect.before_onset_s {
                0 => format!("suspect {event}, as it began; "),
                before => format!("suspect {event}, {} before; ", words::duration(before)),
            }
        }
    }
}

/// `burning 122x, budget gone in 4h02m`. Once it is over, the rate is what the window still holds and foretells
/// nothing.
fn burning(verdict: &Verdict, worst: &Trouble<'_>, wider: &str) -> String {
    let whose = match worst.slo.slo.about.route() {
        Some(_) => String::new(),
        None => format!(" of {}", words::plain(&worst.slo.slo.id)),
    };
    if worst.is_over() {
        let burn = verdict.burn.unwrap_or_default();
        let burn = words::multiple(burn);
        return format!("burn{whose} over {RECENT} still {burn}{wider}");
    }
    let burn = match verdict.burn {
        Some(burn) => format!("burning {}{whose}{wider}", words::multiple(burn)),
        None => format!("not burning{whose}"),
    };
    match verdict.time_to_empty_s {
        Some(0) => format!("{burn}, budget is spent"),
        Some(secs) => format!("{burn}, budget gone in {}", words::duration(secs)),
        None => format!("{burn}, budget lasts at this rate"),
    }
}

/// ` (ingress-available too)`: what burns with it.
fn wider(troubles: &[Trouble<'_>]) -> String {
    let worst = &troubles[0].slo.slo.id;
    let mut ids: Vec<&str> = Vec::new();
    for slo in troubles.iter().flat_map(|trouble| &trouble.wider) {
        if slo.slo.id != *worst && !ids.contains(&slo.slo.id.as_str()) {
            ids.push(&slo.slo.id);
        }
    }
    match ids.as_slice() {
        [] => String::new(),
        [one] => format!(" ({} too)", words::plain(one)),
        [first, more @ ..] => {
            format!(" ({} and {} more too)", words::plain(first), more.len())
        }
    }
}

/// A level as a sentence begins with it.
pub(super) fn label(level: Level) -> String {
    level.as_str().to_uppercase()
}
