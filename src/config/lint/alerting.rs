//! Alerts that speak when they should not, or too late.

use std::time::Duration;

use super::{Hits, Lint, Subject};
use crate::config::file;
use crate::model::{Sli, Weighing};
use crate::slo::policy::LASTING;

pub(super) fn check(subject: &Subject<'_>, hits: &mut Hits) {
    policies(subject, hits);
    for item in &subject.file.slos {
        blends(&item.value, subject, hits);
        slots(&item.value, subject, hits);
    }
}

/// Probes whose slots are too long for the budget that they spend, or for the windows that judge it.
fn slots(slo: &file::Slo, subject: &Subject<'_>, hits: &mut Hits) {
    const SLOTS: u64 = 10;
    let (Some(id), Some(probe)) = (&slo.id, &slo.probe) else {
        return;
    };
    let Some(known) = subject.slos.iter().find(|it| it.id == id.value) else {
        return;
    };
    let Sli::Probe { every } = known.sli else {
        return;
    };
    let every = every.as_secs();
    let budget = known.window.as_secs() * u64::from(known.objective.budget_ppm()) / 1_000_000;
    if every * SLOTS > budget {
        let message = format!(
            "one failed slot of `{}` spends {every} s of the {budget} s that `{}` may be bad",
            probe.value, id.value
        );
        hits.add(Lint::A507, &id.value, probe.span.clone(), message)
            .set_reason(format!("at most every {} s", (budget / SLOTS).max(1)));
        return;
    }
    let mut policies = subject.policies.iter();
    let policy = policies.find(|policy| policy.name == known.policy);
    let rows = policy.map(|policy| policy.rows_over(known.window));
    let shortest = rows.into_iter().flatten().map(|row| row.short).min();
    if let Some(shortest) = shortest.filter(|it| every * SLOTS > it.as_secs()) {
        let message = format!(
            "slots of `{}` are {every} s long, and the shortest window of policy `{}` is {shortest}",
            probe.value, known.policy
        );
        hits.add(Lint::A507, &id.value, probe.span.clone(), message)
            .set_reason(format!("at most every {} s", shortest.as_secs() / SLOTS));
    }
}

/// Probes that are run too rarely for a composite that is weighed by minutes.
fn blends(slo: &file::Slo, subject: &Subject<'_>, hits: &mut Hits) {
    const MINUTE: Duration = Duration::from_secs(60);
    let Some(id) = &slo.id else { return };
    if slo.weigh.as_ref().map(|it| it.value) == Some(Weighing::Events) {
        return;
    }
    for part in slo.parts.iter().filter_map(|it| it.value.slo.as_ref()) {
        let counted = subject.slos.iter().find(|it| it.id == part.value);
        let Some(Sli::Probe { every }) = counted.map(|it| it.sli) else {
            continue;
        };
        if every > MINUTE {
            let message = format!(
                "the probe of `{}` is run every {} s, and `{}` is weighed each minute",
                part.value,
                every.as_secs(),
                id.value
            );
            hits.add(Lint::A506, &id.value, part.span.clone(), message)
                .set_reason("says nothing in most minutes");
        }
    }
}

fn policies(subject: &Subject<'_>, hits: &mut Hits) {
    for item in &subject.file.slos {
        let (slo, named) = (&item.value, &item.value.policy);
        let Some(id) = &slo.id else { continue };
        let mut policies = subject.policies.iter();
        let Some(policy) = policies.find(|policy| policy.name == named.value) else {
            continue;
        };
        // Of a calendar's periods the shortest: its factors are the lowest.
        let window = slo.window.value.shortest();
        for row in policy.rows_over(window) {
            let tier = row.tier.as_str();
            if row.factor < LASTING {
                let factor = f64::from(row.factor.0) / 1_000.0;
                let message = format!(
                    "the {tier} row of policy `{}` fires at {factor} times the rate that `{}` can bear for {window}",
                    policy.name, id.value
                );
                hits.add(Lint::A501, &id.value, named.span.clone(), message)
                    .set_reason("below 1 the budget lasts");
            }
            if row.long >= window {
                let message = format!(
                    "the {tier} row of policy `{}` looks back {}, and `{}` promises {window}",
                    policy.name, row.long, id.value
                );
                hits.add(Lint::A502, &id.value, named.span.clone(), message)
                    .set_reason("not shorter than the promise");
            }
        }
    }
}
