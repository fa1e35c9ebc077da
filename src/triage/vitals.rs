//! Vital signs: SLOs of the edge itself and of endpoints, of which no route is the matter. Each that is in trouble is an
//! incident of its own, told with how the sign stands now.

use super::engine::{RECENT, blank, is_only_low, judged, ratio};
use super::evidence::{Evidence, VitalEvidence};
use super::sentence::{changed, label};
use super::{Level, Locus, Topic, Verdict, onset, suspect, words};
use crate::model::{About, Handshake, Sli, Timestamp, Vital};

/// One for each vital sign in trouble.
pub(super) fn verdicts(now: Timestamp, evidence: &Evidence<'_>) -> Vec<Verdict> {
    let mut all: Vec<(Level, &VitalEvidence<'_>)> = evidence
        .vitals
        .iter()
        .map(|it| (judged(&it.alerts, it.slo), it))
        .filter(|(level, _)| *level > Level::Unknown)
        .collect();
    // Of a composite and its part the louder speaks for both.
    all.sort_by_key(|(level, it)| (std::cmp::Reverse(*level), it.slo.key));
    let mut told: Vec<(&VitalEvidence<'_>, Level, Vec<String>)> = Vec::new();
    for (level, it) in all {
        match told
            .iter_mut()
            .find(|(known, ..)| known.by.key == it.by.key)
        {
            Some((_, _, slos)) => slos.push(it.slo.slo.id.clone()),
            None => told.push((it, level, vec![it.slo.slo.id.clone()])),
        }
    }
    let told = told.into_iter();
    told.filter_map(|(it, level, slos)| verdict(now, it, level, slos, evidence))
        .collect()
}

fn verdict(
    now: Timestamp,
    it: &VitalEvidence<'_>,
    level: Level,
    slos: Vec<String>,
    evidence: &Evidence<'_>,
) -> Option<Verdict> {
    let Sli::Vital(vital) = it.by.slo.sli else {
        return None;
    };
    let (slo, recent) = (it.slo, it.by.recent);
    let side = side(vital, evidence);
    let routes: Vec<String> = match &it.by.slo.about {
        About::Upstream(name) => {
            let of_it = evidence.routes.iter();
            let of_it = of_it.filter(|route| route.upstream == Some(name));
            of_it.map(|route| route.id.to_owned()).collect()
        }
        About::Route(_) | About::Owner(_) | About::Limit(_) | About::Ingress | About::Parts => {
            Vec::new()
        }
    };
    let low = is_only_low(slo, level);
    let history = (evidence.history)(slo.key);
    let onset = onset::find(&history, now.as_secs()).filter(|_| !low);
    let mut suspects = onset.map_or_else(Vec::new, |onset| {
        suspect::of_anything(evidence.events, onset)
    });
    suspect::weigh(&mut suspects, &history, now);
    let mut suspects = suspects.into_iter();
    let suspect = suspects.next();
    let burn = slo.burn_over(RECENT);
    let next_step = next_step(vital, side, it);
    let begin = format!("{}: {}", label(level), words_of(side));
    let id = words::plain(&slo.slo.id);
    let text = if low {
        let left = slo.expected_remaining_ratio.unwrap_or_default();
        let left = if left > 0.0 {
            format!("{} of its budget", words::percent(left))
        } else {
            "none of its budget".to_owned()
        };
        format!(
            "{begin}{id} has {left} left for {}: it counts what {}; it does not burn now; {next_step}",
            slo.slo.span(),
            vital.bad(&it.by.slo.about),
        )
    } else {
        let share = ratio(recent.bad, recent.valid());
        let share = share.map_or_else(|| "none".to_owned(), words::percent);
        let stands = match it.now.as_str() {
            "" => String::new(),
            now => format!(" ({})", words::long(now)),
        };
        let since = onset.map_or_else(String::new, |onset| {
            let at = words::time(Timestamp::from_secs(onset.secs), now);
            let least = if onset.open { "at least " } else { "" };
            format!(" since {least}{at}")
        });
        let burning = match burn {
            Some(burn) => format!("burning {} of {id}", words::multiple(burn)),
            None => format!("not burning {id}"),
        };
        let gone = match slo.time_to_empty_s {
            Some(0) => ", budget is spent".to_owned(),
            Some(secs) => format!(", budget gone in {}", words::duration(secs)),
            None => ", budget lasts at this rate".to_owned(),
        };
        format!(
            "{begin}{share} {}, of {RECENT}{stands}{since}; {}{burning}{gone}; {next_step}",
            vital.bad(&it.by.slo.about),
            changed(now, onset, suspect.as_ref()),
        )
    };
    Some(Verdict {
        topic: topic(vital),
        side,
        route: routes.first().cloned(),
        routes,
        slo: Some(slo.slo.id.clone()),
        slos,
        onset: onset.map(|onset| Timestamp::from_secs(onset.secs)),
        suspect,
        further_suspects: suspects.collect(),
        burn,
        remaining_ratio: slo.expected_remaining_ratio,
        time_to_empty_s: slo.time_to_empty_s,
        next_step,
        runbook: slo.slo.runbook.clone(),
        text,
        ..blank(level)
    })
}

const fn topic(vital: Vital) -> Topic {
    match vital {
        Vital::Handshake => Topic::Handshakes,
        Vital::Cpu { .. } => Topic::Cpu,
        Vital::Memory { .. } => Topic::Memory,
        Vital::Apply { .. } => Topic::Configuration,
        Vital::Health => Topic::Flapping,
    }
}

fn side(vital: Vital, evidence: &Evidence<'_>) -> Locus {
    let count = |how: Handshake| evidence.handshakes_by_end[how.index()];
    match vital {
        Vital::Handshake if count(Handshake::ClientRefused) >= count(Handshake::Internal) => {
            Locus::Certificate
        }
        Vital::Handshake | Vital::Cpu { .. } | Vital::Memory { .. } | Vital::Apply { .. } => {
            Locus::Edge
        }
        Vital::Health => Locus::Upstream,
    }
}

const fn words_of(side: Locus) -> &'static str {
    match side {
        Locus::Certificate => "certificate: ",
        Locus::Upstream => "upstream, not edge: ",
        Locus::Edge | Locus::Client | Locus::Network | Locus::None | Locus::Unknown => {
            "edge, not upstream: "
        }
    }
}

/// One step, by what it is.
fn next_step(vital: Vital, side: Locus, it: &VitalEvidence<'_>) -> String {
    match vital {
        Vital::Handshake if side == Locus::Certificate => {
            "see which certificate is shown for which name, and how long it lives: `vestibule certs`"
                .to_owned()
        }
        Vital::Handshake => "read Vestibule's own log for why handshakes fail here".to_owned(),
        Vital::Cpu { .. } => {
            "see in `vestibule top` whether requests or handshakes grew; give it more processors, or shed load"
                .to_owned()
        }
        Vital::Memory { .. } => {
            "see in `vestibule top` whether connections or requests grew; lower `limits`, or give it more memory"
                .to_owned()
        }
        Vital::Apply { .. } => {
            "see what is wrong with the configuration: `vestibule check`".to_owned()
        }
        Vital::Health => match it.out.as_slice() {
            [] => "see which endpoints change, and what their checks ask: `vestibule top`".to_owned(),
            out => format!(
                "see why {} {} out of service",
                super::advice::addresses(out.iter().map(String::as_str)),
                if out.len() == 1 { "is" } else { "are" }
            ),
        },
    }
}
